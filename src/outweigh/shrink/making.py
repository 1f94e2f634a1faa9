"""From variants as declared to variants that can be run: models found, levers applied and metered."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from outweigh.core.errors import LeverError, MissingExtra, ModelError, OutweighError, UsageError
from outweigh.core.project import Project, VariantSpec
from outweigh.core.variant import Option, Variant
from outweigh.data.artefacts import resolve_artefact
from outweigh.data.torch_models import WEIGHTS, torch_reference
from outweigh.measure.reading import WindowReading
from outweigh.ports import Lever, TaughtLever, TeachesLevers
from outweigh.registry import levers


class Metered(Protocol):
    """A stretch of work whose reading is there once it has ended; `outweigh.measure.session.Window` is one."""

    @property
    def reading(self) -> WindowReading: ...


#: Opens a metered stretch of work: `session.window` of an open meter session.
Metering = Callable[[], AbstractContextManager[Metered]]


@dataclass(frozen=True, slots=True)
class MadeVariant:
    """A variant that can be run, and what making it took.

    Attributes:
        applying: what its own levers drew, its parent's not included; None when it has none, or nobody metered.
        reused: its model lay in the work folder already, so `applying` is only the cost of looking.
    """

    variant: Variant
    applying: WindowReading | None = None
    reused: bool = False


def make_variants(
    project: Project,
    workdir: Path,
    *,
    names: Iterable[str] | None = None,
    measure: Metering | None = None,
    task: object | None = None,
    on_refusal: Callable[[str, OutweighError], None] | None = None,
) -> tuple[MadeVariant, ...]:
    """Make the declared variants. A parent is made once, however many are made from it.

    Args:
        project: says which variants there are; relative paths start from its root.
        workdir: where levers put what they make; made if need be. What an earlier run left there is used again.
        names: which variants to make, in the order to return them; all, as declared, by default.
        measure: opens a meter window around the application of each variant's levers.
        task: the task they are for, loaded; levers that learn take its training items, where it offers them.
        on_refusal: told of each variant that a lever does not apply to, which is then left out; without it, the first
            such error is raised.

    Returns:
        One for each name but those left out. Options of a parent hold for its children, whose own are laid over them.

    Raises:
        UsageError: no variant has that name, or variants are made from each other in a circle.
        ModelError: a model file is not there.
        LeverError: a lever does not apply, or learns and the task has nothing to teach it.
        MissingExtra: a lever needs a package that is not installed.
        UnknownBackend: no lever has that name.
    """
    workshop = _Workshop(project, workdir, measure, task if isinstance(task, TeachesLevers) else None)
    made = []
    for name in [spec.name for spec in project.variants] if names is None else names:
        try:
            made.append(workshop.make(name, ()))
        except (LeverError, MissingExtra) as refusal:
            if on_refusal is None:
                raise
            on_refusal(name, refusal)
    return tuple(made)


class _Workshop:
    def __init__(self, project: Project, workdir: Path, measure: Metering | None, task: TeachesLevers | None) -> None:
        self._specs = {spec.name: spec for spec in project.variants}
        self._root = Path(project.root)
        self._workdir, self._measure, self._task = workdir, measure, task
        self._made: dict[str, MadeVariant] = {}

    def make(self, name: str, children: tuple[str, ...]) -> MadeVariant:
        if name in children:
            circle = " from ".join((*children[children.index(name) :], name))
            raise UsageError(f"variants are made from each other: {circle}", "Give one of them a `model`")
        if name not in self._specs:
            known = ", ".join(self._specs) or "none"
            raise UsageError(f"there is no variant {name!r}", f"Declared: {known}")
        if name not in self._made:
            spec = self._specs[name]
            start = self._child(spec, (*children, name)) if spec.parent else self._founder(spec)
            self._made[name] = self._levered(start, spec)
        return self._made[name]

    def _founder(self, spec: VariantSpec) -> Variant:
        torch = torch_reference(spec.model)
        try:
            model = str(resolve_artefact(spec.model if torch is None else str(torch.file), self._root))
        except UsageError as err:
            raise ModelError(spec.name, err.problem, err.remedy) from err
        model = model if torch is None else f"{model}:{torch.factory}"
        return Variant(spec.name, model, options=Variant.freeze_options(self._options(spec)))

    def _child(self, spec: VariantSpec, line: tuple[str, ...]) -> Variant:
        parent = self.make(spec.parent, line).variant
        options = Variant.freeze_options(dict(parent.options) | self._options(spec))
        return replace(parent, name=spec.name, parent=parent.name, options=options, content_hash="")

    def _options(self, spec: VariantSpec) -> dict[str, Option]:
        """A variant's own options; weights are a file like the model, and start from the same folder."""
        options = dict(spec.options)
        if options.get(WEIGHTS):
            try:
                options[WEIGHTS] = str(resolve_artefact(str(options[WEIGHTS]), self._root))
            except UsageError as err:
                raise ModelError(spec.name, f"weights: {err.problem}", err.remedy) from err
        return options

    def _levered(self, start: Variant, spec: VariantSpec) -> MadeVariant:
        if not spec.levers:
            return MadeVariant(start)
        chosen = [(name, _lever(name, spec.name, self._root)) for name in spec.levers]
        self._make_workdir(spec)
        before = {str(path) for path in self._workdir.iterdir()}

        def apply() -> Variant:
            made = start
            for name, lever in chosen:
                made = self._pulled(name, lever, made)
            # A lever knows only what it was given: the name and parent are the declared ones.
            return replace(made, name=start.name, parent=start.parent)

        if self._measure is None:
            made, reading = apply(), None
        else:
            with self._measure() as window:
                made = apply()
            reading = window.reading
        return MadeVariant(made, reading, reused=_artefact(made) in before)

    def _pulled(self, name: str, lever: Any, variant: Variant) -> Variant:
        if isinstance(lever, TaughtLever):
            if self._task is not None:
                return lever.apply_taught(variant, self._workdir, self._task)
            if not isinstance(lever, Lever):
                problem = "it learns from training items, and the task gives none"
                remedy = "Use a task with a training split, or a lever that needs none"
                raise LeverError(name, variant.name, problem, remedy)
        made: Variant = lever.apply(variant, self._workdir)
        return made

    def _make_workdir(self, spec: VariantSpec) -> None:
        try:
            self._workdir.mkdir(parents=True, exist_ok=True)
        except OSError as err:
            problem = f"{self._workdir} cannot be made ({err.strerror})"
            raise LeverError(", ".join(spec.levers), spec.name, problem, "Choose another folder") from err


def _artefact(variant: Variant) -> str:
    """The file that the last lever made, where one did: the model, or a torch model's weights."""
    return str(variant.option(WEIGHTS, "")) or variant.model


def _lever(name: str, variant: str, root: Path) -> Any:
    """The lever of that name with its argument, where it takes one."""
    kind, argument = levers.named(name)
    if not argument:
        return kind()
    try:
        inspect.signature(kind).bind(argument)
    except TypeError as err:
        problem = f"it takes no argument, and got {argument!r}"
        raise LeverError(name, variant, problem, f"Write {name.removesuffix(':' + argument)!r}") from err
    if getattr(kind, "takes_path", False):
        path, hash_sign, pin = argument.partition("#")
        try:
            argument = f"{resolve_artefact(path, root)}{hash_sign}{pin}"
        except UsageError as err:
            raise LeverError(name, variant, err.problem, err.remedy) from err
    made: Any = kind
    return made(argument)
