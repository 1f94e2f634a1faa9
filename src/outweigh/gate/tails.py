"""A statistic held against a threshold, seen from both sides: bounds and p-values that agree with each other."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Self

import numpy as np
from scipy import stats

from outweigh.compare.evidence import Floats
from outweigh.core.intervals import Bounds
from outweigh.core.verdict import Outcome


@dataclass(frozen=True, slots=True)
class Tails:
    """One test, both ways.

    Attributes:
        estimate: point estimate.
        low, high: one-sided bounds, each at confidence 1 - alpha.
        threshold: what the estimate is held against.
        p_good: p-value against "not on the good side of the threshold": small means shown to be good.
        p_bad: p-value against "not on the bad side": small means shown to be bad.
        unit: of estimate, bounds and threshold.
        lower_is_better: which side is good.
    """

    estimate: float
    low: float
    high: float
    threshold: float
    p_good: float
    p_bad: float
    alpha: float
    unit: str = "1"
    lower_is_better: bool = False

    @classmethod
    def of_draws(
        cls, estimate: float, draws: Floats, threshold: float, alpha: float, *, lower_is_better: bool = False
    ) -> Self:
        """Percentile tails of resampled draws, shape (n,).

        p = (1 + k) / (n + 1) with k draws on the wrong side, never 0 (Davison and Hinkley 1997, Bootstrap
        Methods and their Application, chapter 4), and the bound is the order statistic that lies beyond the
        threshold exactly when p <= alpha.
        """
        n = draws.size
        rank = min(n, max(1, math.floor(alpha * (n + 1) + 1e-9)))
        ends = np.partition(draws, (rank - 1, n - rank))
        p_above = (1 + int(np.count_nonzero(draws <= threshold))) / (n + 1)
        p_below = (1 + int(np.count_nonzero(draws >= threshold))) / (n + 1)
        p_good, p_bad = (p_below, p_above) if lower_is_better else (p_above, p_below)
        low, high = float(ends[rank - 1]), float(ends[n - rank])
        return cls(estimate, low, high, threshold, p_good, p_bad, alpha, lower_is_better=lower_is_better)

    @classmethod
    def of_normal_cap(cls, estimate: float, standard: float, cap: float, alpha: float, unit: str) -> Self:
        """Normal tails of an estimate that should not exceed a cap; without uncertainty the estimate decides."""
        spread = float(stats.norm.isf(alpha)) * standard
        certain = 0.0 if estimate <= cap else 1.0
        p_good = float(stats.norm.sf((cap - estimate) / standard)) if standard > 0 else certain
        return cls(
            estimate, estimate - spread, estimate + spread, cap, p_good, 1 - p_good, alpha, unit, lower_is_better=True
        )

    @property
    def outcome(self) -> Outcome:
        """Of this test alone."""
        if self.p_good <= self.alpha:
            return Outcome.PASS
        return Outcome.FAIL if self.p_bad <= self.alpha else Outcome.INCONCLUSIVE

    @property
    def bounds(self) -> Bounds:
        return Bounds(self.low, self.high, 1 - 2 * self.alpha)

    @property
    def gap(self) -> float:
        """How far the estimate lies on the good side; negative on the bad side."""
        return (self.threshold - self.estimate) if self.lower_is_better else (self.estimate - self.threshold)

    @property
    def room(self) -> float:
        """How far the worse bound lies on the good side: 0 or more when the test is passed."""
        return (self.threshold - self.high) if self.lower_is_better else (self.low - self.threshold)

    @property
    def excess(self) -> float:
        """How far the better bound lies on the bad side: 0 or more when the test is failed."""
        return (self.low - self.threshold) if self.lower_is_better else (self.threshold - self.high)

    @property
    def distance(self) -> float:
        """Signed distance of the deciding bound: positive is passed, negative is failed or not shown."""
        return -self.excess if self.outcome is Outcome.FAIL else self.room

    @property
    def variance(self) -> float:
        """Read back from the bounds as if normal; for planning, not for deciding."""
        return ((self.high - self.low) / 2 / float(stats.norm.isf(self.alpha))) ** 2


def standard_of(bounds: Bounds) -> float:
    """Standard uncertainty behind a symmetric interval, read as normal."""
    return bounds.half_width / float(stats.norm.ppf((1 + bounds.confidence) / 2))
