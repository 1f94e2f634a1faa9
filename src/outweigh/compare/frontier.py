"""Which variants are worth choosing from: quality up, energy down.

By point estimates; whether a lead is real is the gate's question, which has the intervals.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from outweigh.compare.evidence import Evidence
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
        if _kind(point.method) != _kind(points[0].method):
            raise NotRankable(
                points[0].name,
                point.name,
                f"the energy of the one is {_kind(points[0].method)}, that of the other {_kind(point.method)}",
                "Compare them in one sitting with one meter",
            )


def _kind(method: Method) -> str:
    if method.is_measured:
        return "measured"
    return "replayed" if method is Method.REPLAYED else "modelled"
