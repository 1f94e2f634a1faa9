"""A straight line through power and load, with errors that own up to samples in a row; and how late a sensor is.

Pure functions and the standard library: the numbers are few, and measuring has no required dependency.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Sequence
from statistics import NormalDist
from typing import NamedTuple

#: Fewest points a line is fitted to: a parabola through as many leaves three degrees of freedom.
FEWEST_POINTS = 6

_CONFIDENCE = 0.95


class Course:
    """A sum that grows with time (joules, CPU seconds), read now and then; linear in between.

    Args:
        t_s: times [s], not falling.
        total: the sum at each.
    """

    __slots__ = ("t_s", "total")

    def __init__(self, t_s: Sequence[float], total: Sequence[float]) -> None:
        self.t_s, self.total = t_s, total

    def at(self, t_s: float) -> float:
        """The sum at a time; before the first reading and after the last it is that reading."""
        after = bisect_right(self.t_s, t_s)
        if after == 0:
            return self.total[0]
        if after == len(self.t_s):
            return self.total[-1]
        start_s, end_s = self.t_s[after - 1], self.t_s[after]
        start, end = self.total[after - 1], self.total[after]
        return start + (end - start) * (t_s - start_s) / (end_s - start_s)

    def rate(self, start_s: float, end_s: float) -> float:
        """Mean growth per second between two times: watts of joules, threads of CPU seconds."""
        return (self.at(end_s) - self.at(start_s)) / (end_s - start_s)


class LineFit(NamedTuple):
    """y = intercept + slope·x, and whether that is the right shape.

    Attributes:
        intercept_standard, slope_standard: standard uncertainties, made so that ± 2 of them hold 95 %.
        curvature, curvature_standard: the term in x² of the fitted parabola.
        straight: whether the curvature cannot be told from 0 at 95 %.
        bend_slope, bend_intercept: what is doubtful about slope and intercept because it is not straight; 0 when it is.
        residual_sd, residual_max: what the line leaves over.
    """

    intercept: float
    intercept_standard: float
    slope: float
    slope_standard: float
    curvature: float
    curvature_standard: float
    straight: bool
    bend_slope: float
    bend_intercept: float
    residual_sd: float
    residual_max: float
    r_squared: float
    points: int


def fit_line(x: Sequence[float], y: Sequence[float]) -> LineFit:
    """Least squares on points in the order they were taken.

    Args:
        x: load [busy threads], not all alike.
        y: power [W], same length, at least FEWEST_POINTS.

    The points follow each other in time, so their errors may be alike (a machine that warms up). Variances are the
    larger of the ordinary one and that of Newey and West with m = floor(4·(n/100)^(2/9)) lags, which is consistent
    under autocorrelation and unequal scatter but runs small on few points. They are widened by Student's t over 2,
    so that the coverage factor of 2 under which everything is stated gives 95 % (JCGM 100:2008, G.3).

    When the curve bends, its slope runs from b to b + 2·c·R over a load range R: the fitted slope lies amid a
    rectangular spread of half-width |c|·R (JCGM 100:2008, 4.3.7); the intercept is off by what line and parabola
    differ at no load, taken as such a half-width too.

    Raises:
        ValueError: too few points, or x without spread.

    Source: Newey and West, Econometrica 55 (1987), 703-708, doi:10.2307/1913610; the number of lags after Newey and
    West, Review of Economic Studies 61 (1994), 631-653, doi:10.2307/2297912.

    >>> fit = fit_line([0, 1, 2, 0, 1, 2, 0, 1, 2], [10.1, 14.9, 20.0, 9.9, 15.1, 20.0, 10.0, 15.0, 20.0])
    >>> round(fit.intercept, 2), round(fit.slope, 2), fit.straight
    (10.0, 5.0, True)
    """
    n = len(x)
    if n != len(y) or n < FEWEST_POINTS:
        raise ValueError(f"{n} points of x and {len(y)} of y: {FEWEST_POINTS} are the fewest")
    mean_x, mean_y = math.fsum(x) / n, math.fsum(y) / n
    away = [value - mean_x for value in x]
    sxx = math.fsum(a * a for a in away)
    if sxx <= 1e-12 * max(1.0, mean_x * mean_x):
        raise ValueError("x does not vary")
    slope = math.fsum(a * (value - mean_y) for a, value in zip(away, y, strict=True)) / sxx
    intercept = mean_y - slope * mean_x
    residuals = [b - intercept - slope * a for a, b in zip(x, y, strict=True)]
    # Every estimate is a weighted sum of y: the slope, the intercept, and, with what x² has beyond a line, the bend.
    for_slope = [a / sxx for a in away]
    for_intercept = [1 / n - mean_x * w for w in for_slope]
    squares = [a * a for a in away]
    tilt = math.fsum(a * q for a, q in zip(away, squares, strict=True)) / sxx
    level = math.fsum(squares) / n
    beyond = [q - level - tilt * a for q, a in zip(squares, away, strict=True)]
    szz = math.fsum(z * z for z in beyond)
    residual_sd = math.sqrt(math.fsum(r * r for r in residuals) / (n - 2))
    curvature = curvature_standard = bend_slope = bend_intercept = 0.0
    straight, chance = True, residuals
    if szz > 1e-9 * sxx * sxx / n:  # more than two levels of load
        for_bend = [z / szz for z in beyond]
        curvature = math.fsum(w * value for w, value in zip(for_bend, y, strict=True))
        left = [r - curvature * z for r, z in zip(residuals, beyond, strict=True)]
        curvature_standard = _standard(for_bend, left, n - 3)
        straight = abs(curvature) <= 2 * curvature_standard
        if not straight:
            # What the line leaves over is bend, and no chance: scatter is judged about the parabola.
            chance = left
            bend_slope = abs(curvature) * (max(x) - min(x)) / math.sqrt(3)
            at_none = mean_x * mean_x - level + tilt * mean_x
            bend_intercept = abs(curvature * at_none) / math.sqrt(3)
    total = math.fsum((value - mean_y) ** 2 for value in y)
    return LineFit(
        intercept=intercept,
        intercept_standard=_standard(for_intercept, chance, n - 2),
        slope=slope,
        slope_standard=_standard(for_slope, chance, n - 2),
        curvature=curvature,
        curvature_standard=curvature_standard,
        straight=straight,
        bend_slope=bend_slope,
        bend_intercept=bend_intercept,
        residual_sd=residual_sd,
        residual_max=max(abs(r) for r in residuals),
        r_squared=1 - math.fsum(r * r for r in residuals) / total if total > 0 else 0.0,
        points=n,
    )


def newey_west_variance(weights: Sequence[float], residuals: Sequence[float], lags: int) -> float:
    """Variance of the sum of weights·y whose errors are alike for up to so many neighbours (Bartlett weights).

    Never negative. Without lags it is White's: the sum of (w·e)².

    >>> newey_west_variance([1.0, 1.0], [1.0, 1.0], 0), newey_west_variance([1.0, 1.0], [1.0, 1.0], 1)
    (2.0, 3.0)
    """
    scores = [w * e for w, e in zip(weights, residuals, strict=True)]
    variance = math.fsum(s * s for s in scores)
    for lag in range(1, min(lags, len(scores) - 1) + 1):
        together = math.fsum(a * b for a, b in zip(scores, scores[lag:], strict=False))
        variance += 2 * (1 - lag / (lags + 1)) * together
    return max(0.0, variance)


def student_t(freedom: int, confidence: float = _CONFIDENCE) -> float:
    """Two-sided quantile of Student's t; within 0.002 from 6 degrees of freedom on.

    Source: Abramowitz and Stegun, Handbook of Mathematical Functions, 26.7.5.

    >>> round(student_t(18), 3)
    2.101
    """
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    return (
        z
        + (z**3 + z) / (4 * freedom)
        + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * freedom**2)
        + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * freedom**3)
        + (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / (92160 * freedom**4)
    )


def lag_between(energy: Course, busy: Course, *, longest_s: float, window_s: float, step_s: float) -> float | None:
    """How much later power shows what the load did [s], in [0, longest_s]: where the two correlate best.

    Both are taken as means over `window_s`, which must be no less than the sensor's update interval; the peak between
    two trials `step_s` apart is that of the parabola through three. What comes out is the mean delay: transport,
    averaging in the sensor, and the age of a reading that is held until the next. None when nothing correlates.

    Source: Knapp and Carter, IEEE Transactions on Acoustics, Speech, and Signal Processing 24 (1976), 320-327,
    doi:10.1109/TASSP.1976.1162830, for the delay at the peak of the cross-correlation.
    """
    ends = [t for t in energy.t_s if energy.t_s[0] + longest_s + window_s <= t <= energy.t_s[-1]]
    if len(ends) < FEWEST_POINTS:
        return None
    watts = [energy.rate(t - window_s, t) for t in ends]

    def likeness(lag_s: float) -> float:
        return _correlation([busy.rate(t - window_s - lag_s, t - lag_s) for t in ends], watts)

    tried = [min(longest_s, step_s * number) for number in range(math.ceil(longest_s / step_s) + 1)]
    best_s = max(tried, key=likeness)
    if likeness(best_s) <= 0:
        return None
    fine_s = step_s / 4
    around = [lag for lag in (best_s + fine_s * k for k in range(-4, 5)) if 0 <= lag <= longest_s]
    best_s = max(around, key=likeness)
    return _peak(likeness, best_s, fine_s, longest_s)


def _peak(likeness: Callable[[float], float], at_s: float, step_s: float, longest_s: float) -> float:
    if not step_s <= at_s <= longest_s - step_s:
        return at_s
    before, here, after = likeness(at_s - step_s), likeness(at_s), likeness(at_s + step_s)
    hollow = before - 2 * here + after
    return at_s + step_s * (before - after) / (2 * hollow) if hollow < 0 else at_s


def _correlation(x: Sequence[float], y: Sequence[float]) -> float:
    mean_x, mean_y = math.fsum(x) / len(x), math.fsum(y) / len(y)
    sxx = math.fsum((a - mean_x) ** 2 for a in x)
    syy = math.fsum((b - mean_y) ** 2 for b in y)
    sxy = math.fsum((a - mean_x) * (b - mean_y) for a, b in zip(x, y, strict=True))
    return sxy / math.sqrt(sxx * syy) if sxx > 0 and syy > 0 else 0.0


def _standard(weights: Sequence[float], residuals: Sequence[float], freedom: int) -> float:
    n = len(residuals)
    lags = math.floor(4 * (n / 100) ** (2 / 9))
    ordinary = math.fsum(e * e for e in residuals) / freedom * math.fsum(w * w for w in weights)
    in_a_row = newey_west_variance(weights, residuals, lags) * n / freedom
    return math.sqrt(max(ordinary, in_a_row)) * student_t(freedom) / 2
