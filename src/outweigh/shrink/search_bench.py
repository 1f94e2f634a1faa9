"""Where a search measures: makes a combination, loads it, and runs it beside the variant it is made from.

Everything that draws is metered, and leaves a receipt of the development phase labelled with the search and the step:
reading the data, applying levers, loading with fit and warm-up, rounds.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

from outweigh.compare.perunit import Facility
from outweigh.compare.protocol import Comparison, Sitting, run_protocol
from outweigh.core.budget import Phase
from outweigh.core.errors import LeverError, MissingExtra, ModelError, TaskError, UnusableMeasurement
from outweigh.core.measurement import Measurement
from outweigh.core.project import Project, VariantSpec
from outweigh.core.receipt import Receipt, RunStatus
from outweigh.core.variant import Variant
from outweigh.measure.reading import WindowReading
from outweigh.measure.receipts import receipt_for
from outweigh.measure.session import MeterSession
from outweigh.ports import ItemResults, Runner, TaskAdapter
from outweigh.shrink.making import make_variants
from outweigh.shrink.search_kept import HELD_OUT, Failure
from outweigh.shrink.search_series import Series, series_of
from outweigh.shrink.search_space import Combination, name_of

ROUNDS = 4  # of a part: as few as show scatter that is worth something
_WARMUP_ITEMS = 8
_KEPT_BYTES = 2**30  # of models that stay loaded between looks
#: What a lever or a model may raise that says something about the combination, and nothing about the search.
_UNFIT = (LeverError, ModelError, MissingExtra, TaskError, UnusableMeasurement)


@dataclass(frozen=True, slots=True)
class Order:
    """A part of a look: these combinations, interleaved with the base, on these items."""

    combinations: tuple[Combination, ...]
    rung: int
    part: int
    items: tuple[int, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Done:
    """What came of an order: `own` for every combination of it, or the first failure."""

    order: Order
    base: Series | None = None
    own: Mapping[Combination, Series] = field(default_factory=dict)
    steps: Mapping[Combination, float] = field(default_factory=dict)
    failure: Failure | None = None


class Sweep(Protocol):
    """Runs orders, here or elsewhere. Results come as they are ready."""

    def run(self, orders: Sequence[Order]) -> Iterator[Done]: ...

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Setup:
    """What a bench needs to know; it can be sent to another process.

    Attributes:
        base: name of the variant that combinations are made from.
        search: id of the search: the batch of its receipts.
        workdir: where levers keep what they make.
    """

    project: Project
    base: str
    search: str
    facility: Facility
    workdir: Path


class Bench:
    """One process's place to measure at.

    Args:
        session: open.
        task: loaded.
        keep: takes each receipt as soon as it exists; returns its address.
    """

    def __init__(self, setup: Setup, session: MeterSession, task: TaskAdapter, keep: Callable[[Receipt], str]) -> None:
        self._setup, self._session, self._task, self._keep = setup, session, task, keep
        self._ready: OrderedDict[Combination, tuple[Runner, int]] = OrderedDict()

    def run(self, orders: Sequence[Order]) -> Iterator[Done]:
        for order in orders:
            yield self.look(order)

    def look(self, order: Order) -> Done:
        """Measure one order.

        Raises:
            ModelError, LeverError, ...: the base itself fails; what befalls a combination is on `Done`.
        """
        steps: dict[Combination, float] = {}
        wanted: list[Runner] = [self._opened((), order, steps)]
        for combination in order.combinations:
            try:
                runner = self._opened(combination, order, steps)
            except _UNFIT as err:
                return Done(order, steps=steps, failure=_failure(combination, err))
            if runner.variant.content_hash and runner.variant.content_hash == wanted[0].variant.content_hash:
                self._close(combination)
                reason = f"it does what {self._setup.base} does already: the same model and options"
                return Done(order, steps=steps, failure=Failure(combination, reason, combination))
            wanted.append(runner)
        taken: list[Receipt] = []

        def keep(receipt: Receipt) -> str:
            taken.append(receipt)
            return self._keep(receipt)

        window = self._session.window()
        try:
            with window:
                measured = self._measured(wanted, order, keep)
        except ModelError as err:
            return self._without(order, wanted, err.variant, str(err), steps, err)
        except UnusableMeasurement as err:
            if len(order.combinations) != 1:
                raise
            return Done(order, steps=steps, failure=_failure(order.combinations[0], err))
        finally:
            self._keep_rest(window.reading, taken, order)
        for name, reason in measured.failed.items():
            return self._without(order, wanted, name, reason, steps)
        base, *others = (series_of(measured.evidence[runner.variant.name], order.items) for runner in wanted)
        return Done(order, base, dict(zip(order.combinations, others, strict=True)), steps)

    def _measured(self, runners: Sequence[Runner], order: Order, keep: Callable[[Receipt], str]) -> Comparison:
        setup, project = self._setup, self._setup.project
        return run_protocol(
            self._session,
            [_Chosen(runner, order.items) for runner in runners],
            n_items=len(order.items),
            protocol=replace(
                project.protocol,
                rounds=min(ROUNDS, len(order.items)),
                # Warmed up when it was loaded; a block more tells how long an item takes.
                warmup=1,
                warmup_most=1,
                max_items=None,
                # The same for every look: what is held against what is known, and all items are wanted.
                aa=False,
                precision=None,
                seed=_seed(project.protocol.seed, order),
            ),
            sitting=Sitting(
                project=project.name,
                unit=project.unit,
                batch=setup.search,
                labels=tuple(({"step": "rounds"} | _labels(order)).items()),
            ),
            facility=setup.facility,
            on_receipt=keep,
        )

    def _without(
        self,
        order: Order,
        runners: Sequence[Runner],
        name: str,
        reason: str,
        steps: Mapping[Combination, float],
        cause: ModelError | None = None,
    ) -> Done:
        """The look failed for one of its combinations; that the base fails is nobody's finding but the caller's."""
        at = [runner.variant.name for runner in runners].index(name)
        if at == 0 and cause is not None:
            raise cause
        combination = order.combinations[at - 1]
        self._close(combination)
        return Done(order, steps=steps, failure=Failure(combination, reason, combination))

    def _keep_rest(self, whole: WindowReading, taken: Sequence[Receipt], order: Order) -> None:
        """A receipt for what a look drew beside its rounds: warming up, deciding, writing."""
        left = max(0.0, whole.total.value.joules - sum(receipt.total.value.joules for receipt in taken))
        if left > 0:
            share = left / whole.total.value.joules
            rest = replace(
                whole,
                total=_share(whole.total, share),
                hum=None if whole.hum is None else _share(whole.hum, share),
                work=None if whole.work is None else _share(whole.work, share),
                overlapping=(),
            )
            self._receipt(rest, RunStatus.COMPLETED, self._setup.base, {"step": "between rounds", **_labels(order)})

    def close(self) -> None:
        for combination in list(self._ready):
            self._close(combination)

    def _close(self, combination: Combination) -> None:
        self._ready.pop(combination)[0].close()

    def _opened(self, combination: Combination, order: Order, steps: dict[Combination, float]) -> Runner:
        if combination in self._ready:
            self._ready.move_to_end(combination)
            return self._ready[combination][0]
        variant = self._made(combination, steps)
        with self._metered(variant, "loading, fit and warm-up"):
            runner = self._task.runner(variant)
            runner.fit()
            for _ in range(self._setup.project.protocol.warmup):
                runner.run(list(order.items[:_WARMUP_ITEMS]))
        self._make_room(order)
        model = Path(runner.variant.model)
        self._ready[combination] = (runner, model.stat().st_size if model.is_file() else 0)
        return runner

    def _make_room(self, order: Order) -> None:
        """Close what was used longest ago, and neither the base nor what this order needs."""
        for combination in list(self._ready):
            if sum(size for _, size in self._ready.values()) <= _KEPT_BYTES:
                return
            if combination and combination not in order.combinations:
                self._close(combination)

    def _made(self, combination: Combination, steps: dict[Combination, float]) -> Variant:
        setup = self._setup
        chain = [combination[: length + 1] for length in range(len(combination))]
        names = [name_of(setup.base, prefix) for prefix in chain]
        specs = [
            VariantSpec(name, parent=parent, levers=(prefix[-1],))
            for name, parent, prefix in zip(names, [setup.base, *names], chain, strict=False)
        ]
        project = replace(setup.project, variants=(*setup.project.variants, *specs))
        if not combination:
            return make_variants(project, setup.workdir, names=[setup.base], task=self._task)[0].variant
        with self._metered(Variant(names[-1], "", levers=combination), "applying levers"):
            made = make_variants(project, setup.workdir, names=names, measure=self._session.window, task=self._task)
        came_from = ""
        for prefix, one in zip(chain, made, strict=True):
            # One that only sets an option keeps the model it was given, which is no artefact of an earlier run.
            if one.applying is not None and (not one.reused or one.variant.model == came_from):
                steps[prefix] = one.applying.total.value.joules
            came_from = one.variant.model
        return made[-1].variant

    @contextmanager
    def _metered(self, variant: Variant, step: str) -> Iterator[None]:
        """A receipt for what is done here, also when it fails: its energy was drawn all the same."""
        window, status = self._session.window(), RunStatus.FAILED
        try:
            with window:
                yield
            status = RunStatus.COMPLETED
        except KeyboardInterrupt:
            status = RunStatus.INTERRUPTED
            raise
        finally:
            labels = {"step": step, **({"levers": ", ".join(variant.levers)} if variant.levers else {})}
            self._receipt(window.reading, status, variant.name, labels, variant.content_hash)

    def _receipt(
        self, reading: WindowReading, status: RunStatus, name: str, labels: Mapping[str, str], content_hash: str = ""
    ) -> None:
        self._keep(
            receipt_for(
                reading, meter=self._session.meter.name, project=self._setup.project.name, phase=Phase.DEVELOPMENT,
                status=status, batch=self._setup.search, variant=name, variant_hash=content_hash, labels=labels,
            )
        )  # fmt: skip


class _Chosen:
    """A runner that is ready, on some of the task's items; the protocol counts those from 0."""

    def __init__(self, runner: Runner, items: Sequence[int]) -> None:
        self.variant = runner.variant
        self._runner, self._items = runner, items

    def fit(self) -> None:
        """Fitted and metered when it was loaded."""

    def run(self, items: Sequence[int]) -> ItemResults:
        found = self._runner.run([self._items[item] for item in items])
        places = {self._items[item]: item for item in items}
        # An item that was not asked for stays what it is, and the protocol refuses it.
        return replace(found, items=tuple(places.get(item, -1) for item in found.items))

    def close(self) -> None:
        """Stays open for the next look."""


def _failure(combination: Combination, err: Exception) -> Failure:
    dead = combination
    if isinstance(err, LeverError):
        # The levers before it applied: whatever begins as this did up to the lever that failed will fail there too.
        at = [lever == err.lever or lever.startswith(f"{err.lever}:") for lever in combination]
        dead = combination[: at.index(True) + 1] if True in at else combination
    return Failure(combination, str(err), dead)


def _labels(order: Order) -> dict[str, str]:
    return {"rung": "held-out" if order.rung == HELD_OUT else str(order.rung), "part": str(order.part)}


def _share(measurement: Measurement, share: float) -> Measurement:
    return replace(
        measurement,
        value=share * measurement.value,
        components=tuple(replace(one, standard=share * one.standard) for one in measurement.components),
    )


def _seed(seed: int, order: Order) -> int:
    return seed + 1_000 * (order.rung + 1) + order.part
