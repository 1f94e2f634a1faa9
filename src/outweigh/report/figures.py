"""Intervals for the figures of a report: scores, energy between rounds, latency percentiles."""

from __future__ import annotations

import math

import numpy as np
from scipy import stats

from outweigh.compare.evidence import Floats
from outweigh.report.shape import EnergyShape, LatencyShape, MetricIntervalShape


def finite(value: float | None) -> float | None:
    """The number as JSON can hold it: None for what is missing, NaN or unbounded."""
    return float(value) if value is not None and math.isfinite(value) else None


def score_interval(scores: Floats, confidence: float) -> MetricIntervalShape:
    """Two-sided interval for the mean of the scores that count (NaN has no say), shape (n,).

    Wilson's score interval where every score is 0 or 1 (Wilson 1927, JASA 22, 209-212, by scipy), Student's t
    otherwise. Both ends are None on fewer than one (Wilson) or two (t) scores, and `method` says so.

    >>> import numpy as np
    >>> found = score_interval(np.array([1.0] * 9 + [0.0]), 0.95)
    >>> round(found["low"], 3), round(found["high"], 3), found["n"]
    (0.596, 0.982, 10)
    """
    counted = scores[~np.isnan(scores)]
    n = int(counted.size)
    if n and bool(np.all((counted == 0) | (counted == 1))):
        wilson = stats.binomtest(int(counted.sum()), n).proportion_ci(confidence, method="wilson")
        return {"low": float(wilson.low), "high": float(wilson.high), "n": n, "method": "Wilson score interval"}
    low, high = _t_ends(counted, confidence)
    method = "Student's t on item scores" if low is not None else "no interval: fewer than two scored items"
    return {"low": low, "high": high, "n": n, "method": method}


def energy_interval(rounds_j: Floats, confidence: float, relative_standard: float | None) -> EnergyShape:
    """Energy per unit: mean over rounds [J], the scatter between them, and the meter's own uncertainty on top.

    Args:
        rounds_j: energy per unit, round by round, shape (R,).
        relative_standard: relative standard uncertainty (k = 1) of the meter; None when unknown.

    The meter's uncertainty is a factor and may be large, so the absolute ends are the mean over and times the same
    factor: they never reach below zero, and for a few per cent they are the usual ±.

    Source: Student's t on R - 1 degrees of freedom; the two are independent and added in quadrature at the same
    coverage (JCGM 100:2008, 5.1.2), the meter's as a log-normal factor of that relative standard deviation.
    """
    mean = float(np.mean(rounds_j))
    low, high = _t_ends(rounds_j, confidence)
    if low is None or high is None:
        method = "no interval: one round shows no scatter"
    else:
        method = f"Student's t on {rounds_j.size} rounds"
    absolute_low = absolute_high = None
    if relative_standard is None:
        absolute_method = "no interval: the meter's own uncertainty is not known"
    elif low is None or high is None:
        absolute_method = "no interval: one round shows no scatter"
    elif mean <= 0:
        absolute_method = "no interval: the mean is not positive"
    else:
        log_standard = math.sqrt(math.log1p(relative_standard**2))
        meter = float(stats.norm.ppf(0.5 + confidence / 2)) * log_standard
        factor = math.exp(math.hypot((high - low) / 2 / mean, meter))
        # Where the meter adds next to nothing, the symmetric interval reaches a little lower than the factor does;
        # what it reaches below zero is the symmetry's doing, not the data's.
        absolute_low = min(mean / factor, low) if low > 0 else mean / factor
        absolute_high = max(mean * factor, high)
        absolute_method = "scatter between rounds and the meter's own uncertainty, in quadrature, as a factor"
    return {
        "value": mean,
        "low": low,
        "high": high,
        "method": method,
        "absolute_low": absolute_low,
        "absolute_high": absolute_high,
        "absolute_method": absolute_method,
    }


def latency_figures(latency_ms: Floats, confidence: float) -> LatencyShape:
    """Mean and percentiles [ms], shape (n,), n >= 1; p95 with its distribution-free interval.

    The interval is between two order statistics whose ranks are binomial quantiles (Conover 1999, Practical
    Nonparametric Statistics, 3.2). An end is None where the sample is too small to bound p95 on that side.
    """
    n, ordered = latency_ms.size, np.sort(latency_ms)
    below = int(stats.binom.ppf(0.5 - confidence / 2, n, 0.95))
    above = int(stats.binom.ppf(0.5 + confidence / 2, n, 0.95)) + 1
    return {
        "mean": float(np.mean(latency_ms)),
        "p50": float(np.percentile(latency_ms, 50)),
        "p95": float(np.percentile(latency_ms, 95)),
        "p95_low": float(ordered[below - 1]) if below >= 1 else None,
        "p95_high": float(ordered[above - 1]) if above <= n else None,
    }


def _t_ends(values: Floats, confidence: float) -> tuple[float | None, float | None]:
    if values.size < 2:
        return None, None
    mean = float(np.mean(values))
    standard_error = float(np.std(values, ddof=1)) / math.sqrt(values.size)
    spread = float(stats.t.ppf(0.5 + confidence / 2, values.size - 1)) * standard_error
    return mean - spread, mean + spread
