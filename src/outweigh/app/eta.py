"""Eta from what a project's ledger has seen."""

from __future__ import annotations

import math
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

from outweigh.app.files import find_ledger
from outweigh.core.budget import Phase
from outweigh.core.receipt import RunStatus

if TYPE_CHECKING:
    from collections.abc import Iterable

    from outweigh.core.receipt import Receipt
    from outweigh.gate import EtaFit, Tried


def eta_of_project(project: Path, *, ledger: Path | str | None = None) -> tuple[EtaFit, float]:
    """Eta as the project's own comparisons have it, and the one it declares.

    Energy is IT energy per unit as metered, hum included; quality is the primary metric of the same runs.

    Raises:
        UnusableMeasurement: the ledger holds too few comparisons.
    """
    from outweigh.config import load_project
    from outweigh.gate import calibrate_eta
    from outweigh.ledger import open_ledger
    from outweigh.ports import ReceiptFilter

    declared = load_project(project)
    primary = declared.task.primary
    store = open_ledger(find_ledger(ledger, Path(declared.root)))
    try:
        which = ReceiptFilter(project=declared.name, phase=Phase.DEVELOPMENT.value)
        tried = list(_tried((one for _, one in store.receipts(which)), primary.metric, primary.ceiling))
    finally:
        store.close()
    return calibrate_eta(tried, confidence=declared.gate.confidence), declared.gate.eta


def _tried(receipts: Iterable[Receipt], metric: str, ceiling: float) -> Iterable[Tried]:
    from outweigh.gate import Tried

    rounds: dict[tuple[str, str], list[tuple[float, float, float, float]]] = defaultdict(list)
    for receipt in receipts:
        quality = next((one for one in receipt.quality if one.metric == metric), None)
        if receipt.batch and receipt.units and quality is not None and receipt.status is RunStatus.COMPLETED:
            key = (receipt.batch, receipt.variant_hash or receipt.variant)
            rounds[key].append((receipt.total.value.joules, receipt.units, quality.value * quality.n, quality.n))
    for (batch, variant), seen in rounds.items():
        energy_j, units, scored, items = (math.fsum(column) for column in zip(*seen, strict=True))
        yield Tried(batch, variant, ceiling - scored / items, energy_j / units)
