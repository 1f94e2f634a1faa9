"""One sitting: meter, hum, variants, interleaved rounds; every receipt in the ledger as soon as it exists."""

from __future__ import annotations

import math
import os
import uuid
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from outweigh.compare.evidence import Evidence
from outweigh.compare.frontier import frontier_probability
from outweigh.compare.perunit import Facility
from outweigh.compare.protocol import Comparison, Sitting, run_protocol
from outweigh.core.budget import Phase
from outweigh.core.constants import S_PER_MONTH
from outweigh.core.errors import LeverError, ModelError, UsageError
from outweigh.core.measurement import Scope, UncertaintyComponent, combine
from outweigh.core.project import Project
from outweigh.core.receipt import MeterCost, Receipt
from outweigh.core.site import Site
from outweigh.gate import check_metric_names
from outweigh.measure import IDLE_INTERCEPT, INSTRUCTION_MIX, MeterSession, WindowReading, choose_meter
from outweigh.measure.receipts import receipt_for, versions
from outweigh.plan import planning_pue
from outweigh.ports import Availability, Meter, Runner, Store, TaskAdapter
from outweigh.registry import tasks
from outweigh.shrink import MadeVariant, holding, make_variants

Progress = Callable[[str, float], None]


def silent(_what: str, _fraction: float) -> None:
    """Progress for those who do not watch."""


@dataclass(slots=True)
class _Kept:
    """Receipts of this sitting, as they went into the ledger."""

    store: Store
    receipts: list[tuple[str, Receipt]] = field(default_factory=list)

    def keep(self, receipt: Receipt) -> str:
        address = self.store.append(receipt)
        self.receipts.append((address, receipt))
        return address


@dataclass(frozen=True, slots=True, eq=False)
class Sat:
    """What one sitting gave.

    Attributes:
        batch: id that its receipts share.
        whole: reading over all of it, from the first look at the data to the last round.
        trace: (seconds since `started`, power [W]).
        doubts: what the figures are uncertain by, beyond the scatter of rounds.
        failed: variant name -> why it was left out: it could not be made, or did not run.
        notes: what happened to it after it was over, a sentence each.
    """

    project: Project
    batch: str
    started: datetime
    task: TaskAdapter
    made: tuple[MadeVariant, ...]
    comparison: Comparison
    facility: Facility
    meter: Meter
    scope: Scope
    passed_over: tuple[Availability, ...]
    whole: WindowReading
    trace: tuple[tuple[float, float], ...]
    meter_cost: MeterCost
    receipts: tuple[tuple[str, Receipt], ...]
    versions: tuple[tuple[str, str], ...]
    doubts: Doubts
    failed: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def frontier_probability(self, metric: str) -> dict[str, float]:
        """Variant name -> how probable it is that no other dominates it; reproduced by the protocol's seed."""
        return frontier_probability(
            tuple(self.comparison.evidence.values()),
            metric,
            np.random.default_rng(self.project.protocol.seed),
            mix_standard=self.doubts.ratio,
        )


@dataclass(frozen=True, slots=True)
class Doubts:
    """Relative standard uncertainties (k = 1) that more rounds do not shrink.

    Attributes:
        ratio: of the ratio of two variants of unlike instruction mix; 0 for counters.
        absolute: of an absolute energy per unit, all of it: gain, instruction mix, idle constant. The largest of the
            variants'.
        hum: of the idle draw.
    """

    ratio: float
    absolute: float
    hum: float

    @staticmethod
    def of(components: Sequence[UncertaintyComponent], evidence: Iterable[Evidence]) -> Doubts:
        """From the meter's components and the split of each variant's energy into work and hum.

        A model doubts its idle constant and its curve apart, the one on the hum, the other on the work; a counter
        has one gain over everything. Two workloads' instruction mixes are doubted independently, on work alone.
        """
        mix = combine(c for c in components if c.name == INSTRUCTION_MIX)
        idle = combine(c for c in components if c.name == IDLE_INTERCEPT)
        gain = combine(c for c in components if c.name not in (INSTRUCTION_MIX, IDLE_INTERCEPT))
        work_shares = [e.work_j_per_unit / (e.work_j_per_unit + e.hum_j_per_unit) for e in evidence]
        if idle == 0:
            return Doubts(math.sqrt(2) * mix * max(work_shares), math.hypot(gain, mix * max(work_shares)), gain)
        absolute = max(math.hypot(gain * share, mix * share, idle * (1 - share)) for share in work_shares)
        return Doubts(math.sqrt(2) * mix * max(work_shares), absolute, idle)


def sit(
    project: Project,
    names: Sequence[str],
    *,
    home: Site | None,
    store: Store,
    meter: str | None = None,
    progress: Progress = silent,
    essential: Collection[str] = (),
    every_round: bool = False,
    allow_device_settings: bool = False,
) -> Sat:
    """Measure variants of a project against each other.

    Args:
        names: declared variants, each once.
        home: where they would serve, for the PUE of the energy per unit; None counts IT energy alone (PUE 1).
        store: takes each receipt as soon as it exists; an interrupt loses nothing.
        meter: by name; the best that works here by default.
        essential: names without which there is nothing to say, beside the first; any other that cannot be made or run
            is left out and named in `Sat.failed`.
        every_round: run all rounds, whatever the protocol says of stopping early.
        allow_device_settings: whether levers may change settings of a device while their variant runs.
    """
    if every_round:
        project = replace(project, protocol=replace(project.protocol, precision=None))
    for name in names:
        _check_declared(project, name)
    chosen, passed_over = choose_meter(meter)
    batch = uuid.uuid4().hex
    kept = _Kept(store)
    with MeterSession(chosen) as session:
        started = datetime.now(UTC)
        facility = facility_of(project, home, session)
        with session.window() as whole:
            progress("reading the data", 0.0)
            task = tasks.get(project.task.adapter)()
            task.load(project.task, Path(project.root))
            check_metric_names(project.task, task.metrics)
            progress("hum", 0.01)
            session.hum(project.protocol.hum_s)

            progress("making variants", 0.02)
            failed: dict[str, str] = {}
            needed = {names[0], *essential}
            made = _made(project, names, needed, failed, session, task)
            for one in made:
                if one.applying is not None:
                    kept.keep(_lever_receipt(one, chosen.name, project, batch))
            made = _permitted(made, needed, failed, allow_device_settings)
            runners = _runners(task, made, needed, failed)
            made = tuple(one for one in made if one.variant.name not in failed)
            around = holding(made, allow_device_settings)
            try:
                comparison = run_protocol(
                    session,
                    runners,
                    n_items=task.n_items,
                    protocol=project.protocol,
                    sitting=Sitting(project=project.name, unit=project.unit, batch=batch),
                    facility=facility,
                    on_receipt=kept.keep,
                    making_j={one.variant.name: _making_j(one) for one in made},
                    progress=lambda what, done: progress(what, 0.05 + 0.93 * done),
                    around=around,
                    essential=needed,
                    confidence=project.gate.confidence,
                    mix_standard=math.sqrt(2) * combine(c for c in chosen.components() if c.name == INSTRUCTION_MIX),
                )
            finally:
                _close(runners)
        return Sat(
            project=project,
            batch=batch,
            started=started,
            task=task,
            made=made,
            comparison=comparison,
            facility=facility,
            meter=chosen,
            scope=whole.reading.total.scope,
            passed_over=passed_over,
            whole=whole.reading,
            trace=tuple(session.trace()),
            meter_cost=session.cost(),
            receipts=tuple(kept.receipts),
            versions=versions(chosen.source),
            doubts=Doubts.of(chosen.components(), comparison.evidence.values()),
            failed={**failed, **comparison.failed},
        )


def _made(
    project: Project,
    names: Sequence[str],
    needed: Collection[str],
    failed: dict[str, str],
    session: MeterSession,
    task: TaskAdapter,
) -> tuple[MadeVariant, ...]:
    """Each variant that can be made, in the order of `names`; the others in `failed`."""
    parents = {spec.name: spec.parent for spec in project.variants}

    def depth(name: str) -> int:
        line: list[str] = []
        while name and name not in line:
            line.append(name)
            name = parents.get(name, "")
        return len(line)

    found: dict[str, MadeVariant] = {}
    # Parents first: what making one drew belongs to it, not to the first child that needed it.
    for name in sorted(dict.fromkeys(names), key=depth):
        try:
            (found[name],) = make_variants(project, workdir(project), names=[name], measure=session.window, task=task)
        except (LeverError, ModelError) as error:
            _left_out(name, error, needed, failed, len(names))
    return tuple(found[name] for name in names if name in found)


def _permitted(
    made: Sequence[MadeVariant], needed: Collection[str], failed: dict[str, str], allowed: bool
) -> tuple[MadeVariant, ...]:
    """Those that change no setting of the device, or may."""
    for one in made:
        try:
            holding([one], allowed)
        except LeverError as error:
            _left_out(one.variant.name, error, needed, failed, len(made) + len(failed))
    return tuple(one for one in made if one.variant.name not in failed)


def _runners(
    task: TaskAdapter, made: Sequence[MadeVariant], needed: Collection[str], failed: dict[str, str]
) -> list[Runner]:
    runners = []
    for one in made:
        try:
            runners.append(task.runner(one.variant))
        except ModelError as error:
            _left_out(one.variant.name, error, needed, failed, len(made) + len(failed))
    return runners


def _left_out(
    name: str, error: LeverError | ModelError, needed: Collection[str], failed: dict[str, str], asked: int
) -> None:
    # With nothing left to hold against the first variant, its failure is the answer.
    if name in needed or len(failed) + 2 >= asked:
        raise error
    failed[name] = str(error)


def workdir(project: Project) -> Path:
    """Where levers keep what they make, content-addressed: beside the ledger, never in the repository."""
    return Path(project.root) / ".outweigh" / "artefacts"


def _check_declared(project: Project, name: str) -> None:
    """Before anything is measured, not after."""
    known = [variant.name for variant in project.variants]
    if name not in known:
        raise UsageError(f"{project.source} declares no variant {name!r}", f"It declares: {', '.join(known)}")


def _making_j(made: MadeVariant) -> float:
    return 0.0 if made.applying is None else made.applying.total.value.joules


def _lever_receipt(made: MadeVariant, meter: str, project: Project, batch: str) -> Receipt:
    assert made.applying is not None
    labels = {"step": "applying levers", "levers": ", ".join(made.variant.levers)}
    return receipt_for(
        made.applying, meter=meter, project=project.name, phase=Phase.DEVELOPMENT, batch=batch,
        variant=made.variant.name, labels=labels,
        notes=["the artefact of an earlier run was used again"] if made.reused else [],
    )  # fmt: skip


def facility_of(project: Project, home: Site | None, session: MeterSession) -> Facility:
    """Where the project's variants would serve, with this session's meter."""
    return Facility(
        pue=1.0 if home is None else planning_pue(home),
        serving=project.serving,
        volume_low_per_month=project.volume_low_per_month,
        horizon_months=project.horizon_months,
        threads_total=_threads_sharing_the_hum(session.meter),
    )


def _threads_sharing_the_hum(meter: Meter) -> int:
    """Hardware threads whose idle draw the meter sees: all of the machine, or those a model was told of."""
    from outweigh.backends.meters.cpu_model import available_threads

    scopes = {channel.scope for channel in meter.channels if channel.counted}
    if scopes == {Scope.CPU_THREADS}:
        return max(1, round(available_threads()))
    return os.cpu_count() or 1


def _close(runners: Sequence[Runner]) -> None:
    for runner in runners:
        runner.close()


def monthly_it_energy_j(sat: Sat, name: str) -> float:
    """IT energy [J] of a month's serving at the expected volume: work and the replicas' hum, before PUE.

    The hum is that of the replicas the expected volume needs, not the low volume's share times more units.
    """
    evidence, serving = sat.comparison.evidence[name], sat.project.serving
    volume = sat.project.volume_per_month
    busy_s = volume * float(evidence.service_s.sum() / evidence.units.sum())
    replica_s = max(busy_s / serving.utilisation, serving.min_replicas * S_PER_MONTH)
    hum_w = sat.comparison.hum.power.watts * serving.threads / sat.facility.threads_total
    return volume * float(evidence.work_j.sum() / evidence.units.sum()) + hum_w * replica_s
