"""What was measured of one variant, in a form that can be kept and joined: items, scores, rounds."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from outweigh.compare.evidence import Evidence, Floats, Ints
from outweigh.core.measurement import Grade, Method


@dataclass(frozen=True, slots=True, eq=False)
class Series:
    """n items and R rounds of one variant; beside it, in the same rounds, ran the variant it is held against.

    Attributes:
        items: indices of the items in the task, shape (n,).
        scores: metric -> score of each item, shape (n,), NaN where it has no say.
        latency_ms: of each item, shape (n,).
        item_rounds: the round each item was run in, shape (n,).
        energy_j_per_unit: facility energy per unit by round, shape (R,): work and share of the hum. What making the
            variant took is not in it.
        work_j, hum_j: IT energy of each round [J], shape (R,).
        units, service_s: units and wall time [s] of each round, shape (R,).
    """

    items: Ints
    scores: Mapping[str, Floats]
    latency_ms: Floats
    item_rounds: Ints
    energy_j_per_unit: Floats
    work_j: Floats
    hum_j: Floats
    units: Floats
    service_s: Floats
    grade: Grade
    method: Method
    content_hash: str
    receipts: tuple[str, ...] = ()

    def metric(self, name: str) -> float:
        """Mean of the scores that count; NaN when none does."""
        scores = self.scores[name]
        counted = scores[np.isfinite(scores)]
        return float(counted.mean()) if counted.size else math.nan

    def latency_quantile_ms(self, quantile: float) -> float:
        return float(np.quantile(self.latency_ms, quantile))


def series_of(evidence: Evidence, items: Sequence[int]) -> Series:
    """From one comparison over `items`, whose evidence counts them from 0."""
    places = np.asarray(items, dtype=np.int64)[evidence.items]
    rounds = evidence.item_rounds if evidence.item_rounds is not None else np.zeros(places.size, dtype=np.int64)
    return Series(
        items=places,
        scores=dict(evidence.scores),
        latency_ms=evidence.latency_ms,
        item_rounds=rounds,
        energy_j_per_unit=evidence.energy_j_per_unit - evidence.amortised_j_per_unit,
        work_j=evidence.work_j,
        hum_j=evidence.hum_j,
        units=evidence.units,
        service_s=evidence.service_s,
        grade=evidence.grade,
        method=evidence.method,
        content_hash=evidence.variant.content_hash,
        receipts=evidence.receipts,
    )


def joined(series: Sequence[Series]) -> Series:
    """One variant over several parts, in the order given; rounds are counted on."""
    first = series[0]
    offsets = np.cumsum([0, *(one.energy_j_per_unit.size for one in series[:-1])])
    rounds = [one.item_rounds + offset for one, offset in zip(series, offsets, strict=True)]
    return Series(
        items=np.concatenate([one.items for one in series]),
        scores={metric: np.concatenate([one.scores[metric] for one in series]) for metric in first.scores},
        latency_ms=np.concatenate([one.latency_ms for one in series]),
        item_rounds=np.concatenate(rounds),
        energy_j_per_unit=np.concatenate([one.energy_j_per_unit for one in series]),
        work_j=np.concatenate([one.work_j for one in series]),
        hum_j=np.concatenate([one.hum_j for one in series]),
        units=np.concatenate([one.units for one in series]),
        service_s=np.concatenate([one.service_s for one in series]),
        grade=Grade.worst(one.grade for one in series),
        method=first.method,
        content_hash=first.content_hash,
        receipts=tuple(receipt for one in series for receipt in one.receipts),
    )


_ARRAYS = (
    "items", "latency_ms", "item_rounds", "energy_j_per_unit", "work_j", "hum_j", "units", "service_s",
)  # fmt: skip


def to_plain(series: Series) -> dict[str, Any]:
    """Plain JSON types; a score that has no say is null."""
    return {name: getattr(series, name).tolist() for name in _ARRAYS} | {
        "scores": {m: [None if math.isnan(s) else s for s in scores.tolist()] for m, scores in series.scores.items()},
        "grade": series.grade.value,
        "method": series.method.value,
        "content_hash": series.content_hash,
        "receipts": list(series.receipts),
    }


def from_plain(body: Mapping[str, Any]) -> Series:
    def floats(name: str) -> Floats:
        return np.asarray(body[name], dtype=np.float64)

    scores = {
        metric: np.array([math.nan if score is None else score for score in values], dtype=np.float64)
        for metric, values in body["scores"].items()
    }
    return Series(
        items=np.asarray(body["items"], dtype=np.int64),
        scores=scores,
        latency_ms=floats("latency_ms"),
        item_rounds=np.asarray(body["item_rounds"], dtype=np.int64),
        energy_j_per_unit=floats("energy_j_per_unit"),
        work_j=floats("work_j"),
        hum_j=floats("hum_j"),
        units=floats("units"),
        service_s=floats("service_s"),
        grade=Grade(body["grade"]),
        method=Method(body["method"]),
        content_hash=body["content_hash"],
        receipts=tuple(body["receipts"]),
    )
