"""What a comparison hands on: for each variant, quality item by item and energy round by round, from one run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from outweigh.core.measurement import Grade, Measurement, Method
from outweigh.core.variant import Variant

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Evidence:
    """Everything measured of one variant. n items, R rounds; items are aligned across variants.

    Attributes:
        variant: with its content hash.
        items: index of each evaluation item, shape (n,); the same array for every variant of a comparison.
        scores: metric -> score of each item, shape (n,); NaN where an item has no say in the metric. A
            metric's value is the mean of its non-NaN scores; higher is better.
        latency_ms: wall time of each item, shape (n,).
        units: functional units of each round, shape (R,).
        work_j, hum_j: IT energy of each round, split, shape (R,).
        service_s: wall time of each round, shape (R,).
        energy_j_per_unit: facility energy per functional unit over the horizon, round by round, shape (R,):
            work + share of the hum + amortised training and development. This is E of the gate.
        work_j_per_unit, hum_j_per_unit, amortised_j_per_unit: its three parts (means over rounds), facility side.
        fit: energy of what the task trained for this variant, None when it trains nothing.
        receipts: content hash of the receipt of each round.
        counts: further figures a task counts (`ItemResults.counts`), summed over each round, shape (R,).
        item_rounds: the round each item was run in, counted from 0, shape (n,); None where nobody kept it.
    """

    variant: Variant
    items: Ints
    scores: Mapping[str, Floats]
    latency_ms: Floats
    units: Floats
    work_j: Floats
    hum_j: Floats
    service_s: Floats
    energy_j_per_unit: Floats
    work_j_per_unit: float
    hum_j_per_unit: float
    amortised_j_per_unit: float
    grade: Grade
    method: Method
    fit: Measurement | None = None
    receipts: tuple[str, ...] = ()
    item_rounds: Ints | None = None
    counts: Mapping[str, Floats] = field(default_factory=dict)

    def metric(self, name: str) -> float:
        """Mean of the scores that count. Raises KeyError for a metric the task does not have."""
        return float(np.nanmean(self.scores[name]))
