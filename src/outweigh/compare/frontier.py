"""Which variants are worth choosing from: quality up, energy down.

Who dominates whom is said by point estimates; how sure it is that a variant belongs on the frontier, by resampling what
was measured. Whether a lead is real is the gate's question, which has the tests.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from outweigh.compare.evidence import Evidence, Floats
from outweigh.core.errors import MeasurementError
from outweigh.core.measurement import Grade, Method


class NotRankable(MeasurementError):
    """Two variants whose energy is known in different ways: no order between them means anything."""

    def __init__(self, first: str, second: str, reason: str, remedy: str) -> None:
        super().__init__(first, second, reason, remedy)
        self.first, self.second, self.reason = first, second, reason

    def __str__(self) -> str:
        return f"{self.first} and {self.second} cannot be ranked together: {self.reason}. {self.remedy}"


@dataclass(frozen=True, slots=True)
class Point:
    """One variant as the frontier sees it. Higher quality and lower energy are better."""

    name: str
    quality: float
    energy_j_per_unit: float
    grade: Grade
    method: Method

    @staticmethod
    def of(evidence: Evidence, metric: str) -> Point:
        """Mean quality and mean facility energy per unit. Raises KeyError for a metric the task does not have."""
        return Point(
            name=evidence.variant.name,
            quality=evidence.metric(metric),
            energy_j_per_unit=float(evidence.energy_j_per_unit.mean()),
            grade=evidence.grade,
            method=evidence.method,
        )


@dataclass(frozen=True, slots=True)
class Domination:
    """`by` is at least as good as `name` in both ways and better in one; `reason` says so with figures."""

    name: str
    by: str
    reason: str


def frontier(points: Iterable[Point]) -> tuple[Point, ...]:
    """The variants that no other dominates, cheapest first. Raises NotRankable (see `dominated_by`)."""
    candidates = tuple(points)
    beaten = {domination.name for domination in dominated_by(candidates)}
    left = [point for point in candidates if point.name not in beaten]
    return tuple(sorted(left, key=lambda point: (point.energy_j_per_unit, -point.quality, point.name)))


def dominated_by(points: Sequence[Point]) -> tuple[Domination, ...]:
    """Each dominated variant with the cheapest one that dominates it, in the order given.

    A variant of grade D dominates only others of grade D: a nameplate figure never outranks a better one. Names
    are unique.

    Raises:
        NotRankable: energies come from measuring, from a model and from a replayed trace mixed together.

    >>> small = Point("small", 0.95, 9.5, Grade.B, Method.COUNTER)
    >>> dominated_by([small, Point("large", 0.95, 38.0, Grade.B, Method.COUNTER)])[0].reason
    'small takes 75 % less energy per unit (9.5 against 38 J) at the same quality (0.95)'
    """
    _check_rankable(points)
    found = []
    for point in points:
        better = [other for other in points if _dominates(other, point)]
        if better:
            best = min(better, key=lambda other: (other.energy_j_per_unit, -other.quality, other.name))
            found.append(Domination(point.name, best.name, _reason(best, point)))
    return tuple(found)


_CELLS = 4_000_000  # indices held at once while resampling: 32 MB


def frontier_probability(
    evidence: Sequence[Evidence],
    metric: str,
    rng: np.random.Generator,
    *,
    n_draws: int = 2_000,
    mix_standard: float = 0.0,
) -> dict[str, float]:
    """How probable it is that each variant is on the frontier: the share of draws in which no other dominates it.

    A joint bootstrap (Efron, Tibshirani 1993, chapters 6 and 8): in each draw the evaluation items are resampled once
    for all variants, and the rounds once for all variants, so that what is hard for all and what drifted for all stays
    common to them. Quality is the mean over the drawn items, energy the mean over the drawn rounds. Resampling R rounds
    shows (R - 1) / R of their variance; spreading the draws about their centre by sqrt(R / (R - 1)) makes up for it.
    Two variants with one content hash, or with the same scores, tie in quality in every draw.

    Args:
        evidence: of variants of one comparison: the same items and rounds.
        metric: higher is better.
        rng: seeded by the caller.
        mix_standard: relative standard uncertainty (k = 1) of the ratio of two variants' energies that no round shrinks
            (`Doubts.ratio`); each variant gets its share of it, 1 / sqrt(2), as a log-normal factor.

    Returns:
        Variant name -> probability in [0, 1].

    Raises:
        NotRankable: see `dominated_by`.
        KeyError: the task has no such metric.
    """
    _check_rankable([Point.of(one, metric) for one in evidence])
    scores = np.stack([one.scores[metric] for one in evidence])
    energy = np.stack([one.energy_j_per_unit for one in evidence])
    n, rounds = scores.shape[1], energy.shape[1]
    counted, values = np.isfinite(scores).astype(float), np.nan_to_num(scores)
    quality = np.empty((n_draws, len(evidence)))
    step = max(1, _CELLS // n)
    for start in range(0, n_draws, step):
        size = min(step, n_draws - start)
        # How often each item is drawn is all that a mean needs.
        times = rng.multinomial(n, np.full(n, 1 / n), size).astype(float)
        quality[start : start + size] = (times @ values.T) / np.maximum(times @ counted.T, 1e-300)
    drawn = rng.multinomial(rounds, np.full(rounds, 1 / rounds), n_draws) @ energy.T / rounds
    centre = energy.mean(axis=1)
    drawn = centre + (drawn - centre) * math.sqrt(rounds / max(1, rounds - 1))
    hashes = [one.variant.content_hash or one.variant.name for one in evidence]
    factors = {h: np.exp(mix_standard / math.sqrt(2) * rng.standard_normal(n_draws)) for h in dict.fromkeys(hashes)}
    drawn = drawn * np.stack([factors[h] for h in hashes], axis=1)
    return {
        one.variant.name: float(np.mean(~_beaten(place, quality, drawn, [e.grade for e in evidence])))
        for place, one in enumerate(evidence)
    }


def _beaten(place: int, quality: Floats, energy: Floats, grades: Sequence[Grade]) -> np.ndarray:
    """In which draws another dominates the variant at `place`: `_dominates` for arrays, shape (draws, variants)."""
    may = np.array([grade is not Grade.D or grades[place] is Grade.D for grade in grades])
    may[place] = False
    no_worse = (quality >= quality[:, [place]]) & (energy <= energy[:, [place]])
    better = (quality > quality[:, [place]]) | (energy < energy[:, [place]])
    return np.asarray(np.any(no_worse & better & may, axis=1))


def _dominates(other: Point, point: Point) -> bool:
    if other.grade is Grade.D and point.grade is not Grade.D:
        return False
    no_worse = other.quality >= point.quality and other.energy_j_per_unit <= point.energy_j_per_unit
    better = other.quality > point.quality or other.energy_j_per_unit < point.energy_j_per_unit
    return no_worse and better


def _reason(best: Point, point: Point) -> str:
    if best.energy_j_per_unit < point.energy_j_per_unit:
        figures = f"({best.energy_j_per_unit:.3g} against {point.energy_j_per_unit:.3g} J)"
        # A share of a figure that is not positive says nothing.
        cut = 1 - best.energy_j_per_unit / point.energy_j_per_unit if best.energy_j_per_unit > 0 else None
        energy = f"takes {f'{100 * cut:.2g} % ' if cut is not None else ''}less energy per unit {figures}"
    else:
        energy = f"takes the same energy per unit ({best.energy_j_per_unit:.3g} J)"
    if best.quality > point.quality:
        return f"{best.name} {energy} at higher quality ({best.quality:.4g} against {point.quality:.4g})"
    return f"{best.name} {energy} at the same quality ({best.quality:.4g})"


def _check_rankable(points: Sequence[Point]) -> None:
    for point in points[1:]:
        if kind_of(point.method) != kind_of(points[0].method):
            raise NotRankable(
                points[0].name,
                point.name,
                f"the energy of the one is {kind_of(points[0].method)}, that of the other {kind_of(point.method)}",
                "Compare them in one sitting with one meter",
            )


def kind_of(method: Method) -> str:
    """Measured, modelled or replayed: figures of different kinds are never ranked against each other."""
    if method.is_measured:
        return "measured"
    return "replayed" if method is Method.REPLAYED else "modelled"
