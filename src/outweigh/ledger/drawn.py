"""What receipts draw a budget down by. Energy is never counted twice."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from outweigh.core.budget import Phase
from outweigh.core.errors import OverlappingScopes
from outweigh.core.intervals import Interval
from outweigh.core.measurement import Grade, check_disjoint
from outweigh.core.quantities import Energy
from outweigh.core.receipt import Receipt, RunStatus
from outweigh.ports import ReceiptFilter, Store

MACHINE, DEVICE = "machine", "device"  # the labels that tell two meters apart
#: Label of a receipt written inside a job that somebody follows: the job's key, which is the run id of its own receipt.
OF_JOB = "outweigh.of_job"


@dataclass(frozen=True, slots=True)
class Drawdown:
    """What a set of runs drew.

    Attributes:
        energy: sum over the runs whose figure holds; failed and interrupted runs drew theirs all the same.
        receipts: how many runs are in the sum.
        failed: how many of them did not complete.
        unusable: run ids whose meter readings do not carry a figure. They drew something; it is missing from
            `energy`, and whoever shows the sum says so.
        grade: the worst of the runs in the sum; None when there is none.
    """

    energy: Energy
    receipts: int
    failed: int
    unusable: tuple[str, ...]
    grade: Grade | None


def drawn(store: Store, phase: Phase, within: Interval, *, project: str = "") -> Energy:
    """Energy of a phase that runs drew in the half-open interval: `drawdown(...).energy`."""
    return drawdown(store, phase, within, project=project).energy


def drawdown(store: Store, phase: Phase, within: Interval, *, project: str = "") -> Drawdown:
    """What runs of a phase drew in `within`, failed runs included.

    A run that straddles an end of the interval is charged by the share of its time inside, as if its power were
    even; so the parts of any partition add up to the whole. A run of no length belongs to the instant it started at.

    Raises:
        OverlappingScopes: two receipts counted the same joules; see `add_up`.
        LedgerError: the ledger cannot be read.
    """
    which = ReceiptFilter(project=project, phase=phase.value, within=within)
    return add_up((receipt for _, receipt in store.receipts(which)), within)


def add_up(receipts: Iterable[Receipt], within: Interval | None = None) -> Drawdown:
    """Add receipts up, each by its share inside `within` (whole when None).

    Within a receipt only `total` counts; its `overlapping` readings are shown, never added. Two receipts that ran
    at one time on one machine must see different things: their (device, scope) pairs are held to
    `check_disjoint`. They are of one machine when both carry the same label `machine`, or when they belong to one
    batch and no label says that the machines differ. The label `device` tells two meters of one scope apart (two
    GPUs). Runs of different batches that name no machine may come from anywhere, and are added.

    Raises:
        OverlappingScopes: a nested or simultaneous measurement would be counted twice.
    """
    energies_j: list[float] = []
    counted: list[Receipt] = []
    unusable: list[str] = []
    for receipt in receipts:
        share = 1.0 if within is None else _share(receipt.interval, within)
        if share == 0.0:
            continue
        if receipt.status is RunStatus.UNUSABLE:
            unusable.append(receipt.run_id)
            continue
        counted.append(receipt)
        energies_j.append(share * receipt.total.value.joules)
    refuse_double_counting(counted)
    return Drawdown(
        energy=Energy(math.fsum(energies_j)),
        receipts=len(counted),
        failed=sum(receipt.status is not RunStatus.COMPLETED for receipt in counted),
        unusable=tuple(unusable),
        grade=Grade.worst(receipt.grade for receipt in counted) if counted else None,
    )


def _share(run: Interval, within: Interval) -> float:
    if run.seconds == 0:
        return 1.0 if within.contains(run.start) else 0.0
    return run.overlap_s(within) / run.seconds


def refuse_double_counting(receipts: Sequence[Receipt]) -> None:
    """Raises OverlappingScopes where two receipts counted the same joules; `add_up` says when that is."""
    labels = {receipt.run_id: dict(receipt.labels) for receipt in receipts}
    groups: dict[tuple[str, str], list[Receipt]] = {}
    for receipt in receipts:
        if machine := labels[receipt.run_id].get(MACHINE, ""):
            groups.setdefault((MACHINE, machine), []).append(receipt)
        if receipt.batch:
            groups.setdefault(("batch", receipt.batch), []).append(receipt)
    for (kind, _), group in groups.items():
        group.sort(key=lambda receipt: receipt.interval)
        running: list[Receipt] = []
        for receipt in group:
            running = [other for other in running if other.interval.end > receipt.interval.start]
            for other in running:
                machines = {labels[r.run_id].get(MACHINE, "") for r in (receipt, other)}
                if kind == MACHINE or len(machines) == 1 or "" in machines:
                    _refuse_overlap(receipt, other)
            running.append(receipt)


def _refuse_overlap(receipt: Receipt, other: Receipt) -> None:
    if receipt.interval.overlap_s(other.interval) == 0:
        return
    try:
        check_disjoint((dict(r.labels).get(DEVICE, ""), r.total.scope) for r in (receipt, other))
    except OverlappingScopes as err:
        outer, inner = (receipt, other) if receipt.total.scope.contains(other.total.scope) else (other, receipt)
        raise OverlappingScopes(
            f"run {outer.run_id} ({outer.total.scope})",
            f"run {inner.run_id} ({inner.total.scope}), measured at the same time",
            f"Where they saw different hardware, label the runs with {MACHINE}= or {DEVICE}=; "
            "else keep one of them in this ledger",
        ) from err
