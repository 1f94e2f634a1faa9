"""How far the saving of a plan can be off because its carbon and prices are forecasts with intervals."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from statistics import NormalDist
from typing import Final

import numpy as np

from outweigh.core.constants import S_PER_HOUR
from outweigh.core.meaning import DataQuality, Gap
from outweigh.core.series import CarbonSeries, PriceSeries
from outweigh.plan.problem import Floats

#: How long an error of a forecast lasts [h]: until its correlation has fallen to 1/e.
LASTING_H: Final = (0.0, 6.0, 24.0, math.inf)
# What is no forecast: a meter's reading, a settled price, a contract.
KNOWN: Final = (DataQuality.MEASURED, DataQuality.DECLARED)
Series = CarbonSeries | PriceSeries


@dataclass(frozen=True, slots=True)
class Moved:
    """Energy that a plan moves at a site, and one of the factors that weighs it.

    Attributes:
        kwh: facility energy by step that starting now draws there and the plan does not (negative: the other way
            round), shape (T,).
        series: the factor. weight: currency per unit of it and kWh: 1 for a price, the price of a gram for carbon.
    """

    site: str
    kwh: Floats
    series: Series
    weight: float


def error_of_saving(moved: Iterable[Moved], edges_s: Floats) -> float | str:
    """Standard uncertainty (k = 1) of the saving [currency], or what is not known of it, in words.

    The half-width of a prediction interval over the quantile of the normal law is the error of a slot. Errors of one
    series are correlated by exp(-distance / lasting); how long they last is not published, so the largest outcome over
    `LASTING_H` is taken. Carbon and price of a zone are taken as fully correlated (they have the weather in common),
    zones as independent (JCGM 100:2008, 5.1.2 and 5.2.2).

    Args:
        edges_s: of the steps [s, UTC epoch], shape (T + 1,).
    """
    each = list(moved)
    unknown = dict.fromkeys(_unknown(one, edges_s) for one in each)
    unknown.pop("", None)
    if unknown:
        return ", ".join(unknown)
    by_series: dict[tuple[str, str, str], Floats] = defaultdict(lambda: np.zeros(len(edges_s) - 1))
    for one in each:
        key = (one.series.origin.zone, one.series.origin.source, one.series.meaning.unit)
        by_series[key] = by_series[key] + np.nan_to_num(one.kwh * one.weight * _spread(one.series, edges_s))
    step_h = float(edges_s[1] - edges_s[0]) / S_PER_HOUR
    return max(_together(by_series, lasting, step_h) for lasting in LASTING_H)


def _together(by_series: dict[tuple[str, str, str], Floats], lasting_h: float, step_h: float) -> float:
    keeps = math.exp(-step_h / lasting_h) if lasting_h else 0.0
    by_zone: dict[str, float] = defaultdict(float)
    for (zone, _, _), errors in by_series.items():
        variance = carried = 0.0
        for error in errors.tolist():
            variance += error * error + 2 * error * carried
            carried = keeps * (carried + error)
        by_zone[zone] += math.sqrt(max(variance, 0.0))
    return math.hypot(*by_zone.values())


def _unknown(one: Moved, edges_s: Floats) -> str:
    """Which factor has no interval where it matters; "" where it has."""
    series = one.series
    size = float(np.abs(one.kwh).sum())
    if not size or not one.weight or (len(series) == 1 and abs(float(one.kwh.sum())) <= 1e-9 * size):
        return ""
    at = np.abs(one.kwh) > 1e-12 * size
    if np.isnan(_spread(series, edges_s)[at]).any():
        return f"{'carbon' if isinstance(series, CarbonSeries) else 'price'} at {one.site} ({series.worst_quality})"
    return ""


def _spread(series: Series, edges_s: Floats) -> Floats:
    """Standard deviation of the mean of every step [unit of the series], not a number where it has none, shape (T,)."""
    bounds = series.bounds or (None,) * len(series.values)
    sds = [
        _sd(value, interval.low, interval.high, interval.confidence)
        if interval is not None
        else 0.0 if quality in KNOWN and not isinstance(value, Gap) else math.nan
        for value, interval, quality in zip(series.values, bounds, series.qualities, strict=True)
    ]  # fmt: skip
    edges = np.asarray(series.edges_s, dtype=np.float64)
    # Within a step errors are taken as the same, which is on the safe side.
    sums = np.concatenate([[0.0], np.cumsum(np.nan_to_num(np.array(sds)) * np.diff(edges))])
    holes = np.concatenate([[0.0], np.cumsum(np.isnan(sds) * np.diff(edges))])
    mean = np.diff(np.interp(edges_s, edges, sums)) / np.diff(edges_s)
    missing = np.diff(np.interp(edges_s, edges, holes))
    outside = (edges_s[:-1] < edges[0] - 1e-6) | (edges_s[1:] > edges[-1] + 1e-6)
    return np.asarray(np.where((missing > 1e-6) | outside, math.nan, mean))


def _sd(value: float | Gap, low: float, high: float, confidence: float) -> float:
    """Of a normal law with this interval; the wider side counts, and an infinite one is not known."""
    if isinstance(value, Gap) or not math.isfinite(high - low):
        return math.nan
    return max(high - value, value - low, 0.0) / NormalDist().inv_cdf((1 + confidence) / 2)
