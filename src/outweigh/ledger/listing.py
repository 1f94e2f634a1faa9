"""Rows for people and programs: plain JSON types, unit in every key."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from outweigh.core.budget import Phase
from outweigh.core.measurement import Grade, utc
from outweigh.core.quantities import Energy
from outweigh.core.receipt import Receipt
from outweigh.ledger.drawn import add_up
from outweigh.ports import ReceiptFilter, Store


def list_rows(store: Store, which: ReceiptFilter | None = None) -> Iterator[dict[str, object]]:
    """One row a receipt, oldest first; a limit keeps the latest. What is not known is None, never 0."""
    for address, receipt in store.receipts(which or ReceiptFilter()):
        yield _row(address, receipt)


def show(store: Store, address: str) -> dict[str, Any]:
    """The whole receipt as `Receipt.to_dict` gives it, with its address under `receipt`.

    `address` is its SHA-256 or the start of it; UsageError when none or several begin so.
    """
    found = store.get(address)
    return {"receipt": found.content_hash, **found.to_dict()}


def verify(store: Store) -> dict[str, object]:
    """How many receipts were checked. Raises LedgerCorrupt at the first that was altered or is missing."""
    return {"receipts": store.verify(), "whole": True}


@dataclass(frozen=True, slots=True)
class PhaseSummary:
    """The runs of one phase. `energy` leaves out the `unusable` ones, whose figure is missing."""

    phase: Phase
    receipts: int
    failed: int
    unusable: int
    energy: Energy
    grade: Grade | None
    first: datetime
    last: datetime


def summary(store: Store, which: ReceiptFilter | None = None) -> tuple[PhaseSummary, ...]:
    """One line a phase, in the order of `Phase`; energy by `ledger.drawn.add_up`, which refuses to count twice."""
    by_phase: dict[Phase, list[Receipt]] = {}
    for _, receipt in store.receipts(which or ReceiptFilter()):
        by_phase.setdefault(receipt.phase, []).append(receipt)
    return tuple(_summary(phase, by_phase[phase]) for phase in Phase if phase in by_phase)


def _summary(phase: Phase, receipts: list[Receipt]) -> PhaseSummary:
    total = add_up(receipts)
    return PhaseSummary(
        phase=phase,
        receipts=len(receipts),
        failed=total.failed,
        unusable=len(total.unusable),
        energy=total.energy,
        grade=total.grade,
        first=min(receipt.interval.start for receipt in receipts),
        last=max(receipt.interval.end for receipt in receipts),
    )


def _row(address: str, receipt: Receipt) -> dict[str, object]:
    return {
        "receipt": address,
        "run_id": receipt.run_id,
        "project": receipt.project,
        "batch": receipt.batch,
        "phase": receipt.phase.value,
        "variant": receipt.variant,
        "status": receipt.status.value,
        "start": utc(receipt.interval.start),
        "end": utc(receipt.interval.end),
        "duration_s": receipt.interval.seconds,
        "energy_j": receipt.total.value.joules,
        "standard_uncertainty_j": receipt.total.standard_uncertainty.joules,
        "hum_j": receipt.hum.value.joules if receipt.hum is not None else None,
        "work_j": receipt.work.value.joules if receipt.work is not None else None,
        "units": receipt.units,
        "unit": receipt.unit,
        "scope": receipt.total.scope.value,
        "grade": receipt.grade.value,
        "method": receipt.total.method.value,
        "meter": receipt.meter,
    }
