"""What receipts say of an estimate: the ratio of measured to estimated, kept and used next time.

The ratio stands for everything that the estimate only assumed of a device and a kind of work: the watts drawn and the
share of the roofline reached. Ratios of several runs are combined as logarithms; what the next run may do is the
prediction interval of a t-distribution (s x sqrt(1 + 1/n)), with what the meters doubt of themselves added.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from outweigh.core.errors import UnusableMeasurement
from outweigh.core.intervals import Bounds
from outweigh.core.measurement import Grade
from outweigh.whatif.estimating.ranges import Ranged

LEARNED = "learned factor"
_ENOUGH = 2  # runs that show a spread
# From so many runs on, their range is known to about a quarter (t(0.975, 7) sqrt(1 + 1/8) is 2.5, of countless runs
# 2.0): it then stands for the inputs' even where it is the wider one. Fewer may scatter by chance.
_SURE = 8


@dataclass(frozen=True, slots=True)
class Observation:
    """One run that had been estimated.

    Attributes:
        receipts: content hashes of its receipts: the same run is not counted twice.
        ratio: measured over estimated IT energy, the estimate as it is without anything learned.
        relative: standard uncertainty of the measured energy, relative (k = 1).
        grade: of the worst of its receipts; `scope` what their meter saw.
    """

    receipts: tuple[str, ...]
    ratio: float
    relative: float
    grade: Grade
    scope: str
    at: str


@dataclass(frozen=True, slots=True)
class Learned:
    """The factor on an estimate that receipts suggest."""

    factor: float
    bounds: Bounds | None
    grade: Grade
    runs: int
    receipts: int
    scope: str

    @property
    def told(self) -> str:
        return f"learned from {self.receipts} receipt{'s' * (self.receipts != 1)} of {self.runs} " + (
            f"run{'s' * (self.runs != 1)} (scope {self.scope}, grade {self.grade})"
        )

    def in_place_of(self, inputs: Sequence[Ranged]) -> tuple[list[Ranged], str]:
        """The inputs with the factor beside them, and a sentence on what was done.

        One run moves the middle and narrows nothing: how far runs lie apart is not known from one. From two on the
        factor's own range stands for the ranges of the inputs, which keep their middle; unless it is the wider one and
        of fewer than eight runs.
        """
        prior = Bounds(
            math.exp(-math.sqrt(sum(max(_apart(one)) ** 2 for one in inputs))),
            math.exp(math.sqrt(sum(max(_apart(one)) ** 2 for one in inputs))),
        )
        wider = self.bounds is not None and self.bounds.high / self.bounds.low >= prior.high / prior.low
        if self.bounds is None or (wider and self.runs < _SURE):
            factor = Ranged.exactly(LEARNED, self.factor, "1", self.told, self.grade)
            few = f"too few runs ({self.runs} of {_SURE}) to widen the range" if wider else "one run narrows no range"
            return [*inputs, factor], f"{self.told}: it moves the middle; {few}"
        fixed = [Ranged.exactly(one.name, one.central, one.unit, one.source, one.grade) for one in inputs]
        factor = Ranged(LEARNED, self.factor, self.bounds.low, self.bounds.high, "1", self.told, self.grade)
        return [*fixed, factor], f"{self.told}: its range stands for those of power and utilisation"


@dataclass(frozen=True, slots=True)
class Reconciled:
    """Estimate and measurement of the same work [J].

    Attributes:
        ratio: measured over estimated; `ratio_bounds` from the meters' doubt and, of several runs, their spread.
        inside: whether what was measured lies within the estimate's interval.
    """

    estimated_j: float
    estimated_bounds: Bounds
    measured_j: float
    measured_bounds: Bounds
    ratio: float
    ratio_bounds: Bounds
    runs: int
    receipts: int
    grade: Grade
    scope: str

    @property
    def inside(self) -> bool:
        return self.estimated_bounds.contains(self.measured_j)


def reconcile(estimated_j: float, estimated_bounds: Bounds, prior_j: float, seen: Sequence[Observation]) -> Reconciled:
    """The runs in `seen` against the estimate of one of them.

    Args:
        estimated_j, estimated_bounds: the estimate as it was made.
        prior_j: the same without what had been learned: what the ratios of `seen` are ratios to.

    Raises:
        UnusableMeasurement: no run, or an estimate of nothing.
    """
    if not seen or estimated_j <= 0 or prior_j <= 0:
        raise UnusableMeasurement("the reconciliation", "there is no energy to compare", "Name receipts of the run")
    scope = _one_scope(seen)
    middle, low, high = _mean(seen)
    measured = middle * prior_j
    ends = Bounds(low * prior_j, high * prior_j)
    return Reconciled(
        estimated_j, estimated_bounds, measured, ends, measured / estimated_j,
        Bounds(ends.low / estimated_j, ends.high / estimated_j), len(seen), sum(len(one.receipts) for one in seen),
        Grade.worst(one.grade for one in seen), scope,
    )  # fmt: skip


def learned_factor(seen: Sequence[Observation]) -> Learned | None:
    """What all runs seen so far say of the next; None where there are none.

    From a fitted model it is of grade C at best (a factor is a model, however well it was measured), and of grade D
    while it rests on one run or on receipts of grade D.

    Raises:
        UnusableMeasurement: runs whose meters saw different scopes.
    """
    if not seen:
        return None
    scope = _one_scope(seen)
    logs = [math.log(one.ratio) for one in seen]
    n = len(logs)
    mean = sum(logs) / n
    bounds = None
    grade = Grade.D
    if n >= _ENOUGH:
        from scipy import stats

        spread = math.sqrt(sum((one - mean) ** 2 for one in logs) / (n - 1))
        doubt = math.sqrt(sum(one.relative**2 for one in seen) / n)
        half = float(stats.t.ppf(0.975, n - 1)) * spread * math.sqrt(1 + 1 / n)
        half = math.hypot(half, 2 * doubt)
        bounds = Bounds(math.exp(mean - half), math.exp(mean + half))
        grade = Grade.worst([Grade.C, *(one.grade for one in seen)])
    return Learned(math.exp(mean), bounds, grade, n, sum(len(one.receipts) for one in seen), scope)


def _mean(seen: Sequence[Observation]) -> tuple[float, float, float]:
    """Geometric mean of the ratios and its ends at 95 %."""
    logs = [math.log(one.ratio) for one in seen]
    n = len(logs)
    mean = sum(logs) / n
    half = 2 * math.sqrt(sum(one.relative**2 for one in seen) / n)
    if n >= _ENOUGH:
        from scipy import stats

        spread = math.sqrt(sum((one - mean) ** 2 for one in logs) / (n - 1))
        half = math.hypot(half, float(stats.t.ppf(0.975, n - 1)) * spread / math.sqrt(n))
    return math.exp(mean), math.exp(mean - half), math.exp(mean + half)


def _one_scope(seen: Sequence[Observation]) -> str:
    scopes = {one.scope for one in seen}
    if len(scopes) > 1:
        raise UnusableMeasurement(
            "the reconciliation", f"its receipts see different things ({', '.join(sorted(scopes))})",
            "Reconcile receipts of one meter at a time",
        )  # fmt: skip
    return scopes.pop()


def _apart(one: Ranged) -> tuple[float, float]:
    return math.log(one.central / one.low), math.log(one.high / one.central)
