"""From variants as declared to variants that can be run: models found, levers applied and metered."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from outweigh.core.errors import LeverError, ModelError, UsageError
from outweigh.core.project import Project, VariantSpec
from outweigh.core.variant import Variant
from outweigh.data.artefacts import resolve_artefact
from outweigh.measure.reading import WindowReading
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
) -> tuple[MadeVariant, ...]:
    """Make the declared variants. A parent is made once, however many are made from it.

    Args:
        project: says which variants there are; relative paths start from its root.
        workdir: where levers put what they make; made if need be. What an earlier run left there is used again.
        names: which variants to make, in the order to return them; all, as declared, by default.
        measure: opens a meter window around the application of each variant's levers.

    Returns:
        One for each name. Options of a parent hold for its children, whose own are laid over them.

    Raises:
        UsageError: no variant has that name, or variants are made from each other in a circle.
        ModelError: a model file is not there.
        LeverError: a lever does not apply.
        UnknownBackend: no lever has that name.
    """
    workshop = _Workshop(project, workdir, measure)
    wanted = [spec.name for spec in project.variants] if names is None else list(names)
    return tuple(workshop.make(name, ()) for name in wanted)


class _Workshop:
    def __init__(self, project: Project, workdir: Path, measure: Metering | None) -> None:
        self._specs = {spec.name: spec for spec in project.variants}
        self._root = Path(project.root)
        self._workdir, self._measure = workdir, measure
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
        try:
            model = resolve_artefact(spec.model, self._root)
        except UsageError as err:
            raise ModelError(spec.name, err.problem, err.remedy) from err
        return Variant(spec.name, str(model), options=Variant.freeze_options(dict(spec.options)))

    def _child(self, spec: VariantSpec, line: tuple[str, ...]) -> Variant:
        parent = self.make(spec.parent, line).variant
        options = Variant.freeze_options(dict(parent.options) | dict(spec.options))
        return replace(parent, name=spec.name, parent=parent.name, options=options, content_hash="")

    def _levered(self, start: Variant, spec: VariantSpec) -> MadeVariant:
        if not spec.levers:
            return MadeVariant(start)
        chosen = [levers.get(name)() for name in spec.levers]
        self._make_workdir(spec)
        before = set(self._workdir.iterdir())

        def apply() -> Variant:
            made = start
            for lever in chosen:
                made = lever.apply(made, self._workdir)
            # A lever knows only what it was given: the name and parent are the declared ones.
            return replace(made, name=start.name, parent=start.parent)

        if self._measure is None:
            made, reading = apply(), None
        else:
            with self._measure() as window:
                made = apply()
            reading = window.reading
        return MadeVariant(made, reading, reused=Path(made.model) in before)

    def _make_workdir(self, spec: VariantSpec) -> None:
        try:
            self._workdir.mkdir(parents=True, exist_ok=True)
        except OSError as err:
            problem = f"{self._workdir} cannot be made ({err.strerror})"
            raise LeverError(", ".join(spec.levers), spec.name, problem, "Choose another folder") from err
