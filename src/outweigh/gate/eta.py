"""Eta from a team's own record: what growth in energy has bought in error so far.

For variants measured side by side in one comparison, ln(err) falls by `eta` for every unit that ln(E) rises, if the
team's own choices had been made at that price. The slope is fitted over all comparisons at once, each with a level of
its own (a task that is harder or a machine that draws more shifts a whole comparison and no slope), by ordinary least
squares; its interval treats comparisons as clusters where there are five or more.

Source: fixed-effects (within) estimator and cluster-robust variance, Cameron and Miller 2015, Journal of Human
Resources 50, 317-372, equations 10 and 12.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from scipy import stats

from outweigh.core.errors import UnusableMeasurement
from outweigh.core.intervals import Bounds, Estimate

_CLUSTERED_FROM = 5  # fewer clusters make a robust variance that is far too small (Cameron and Miller, section VI)
_LEAST_SPREAD = 0.05  # ln E: variants within 5 % of each other say nothing about what energy buys


@dataclass(frozen=True, slots=True)
class Tried:
    """One variant of one comparison.

    Attributes:
        comparison: id of the sitting; only variants of one sitting are held against each other.
        error: distance of the primary metric to its ceiling, above 0.
        energy_j: energy per functional unit [J], above 0.
    """

    comparison: str
    variant: str
    error: float
    energy_j: float


@dataclass(frozen=True, slots=True)
class EtaFit:
    """Eta as the record has it.

    Attributes:
        eta: fitted, with its two-sided interval; negative where more energy went with more error.
        comparisons, variants: how many carried the fit.
        clustered: whether the interval is by comparison (five or more) or by variant.
    """

    eta: Estimate
    comparisons: int
    variants: int
    clustered: bool


def calibrate_eta(tried: Iterable[Tried], *, confidence: float = 0.95) -> EtaFit:
    """Fit eta to what was tried.

    Args:
        tried: variants with their comparison; those at or above the ceiling (no error left) are passed over.

    Raises:
        UnusableMeasurement: fewer than three variants in comparisons of at least two, or no spread in energy.
    """
    groups: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for one in tried:
        if one.error > 0 and one.energy_j > 0:
            groups[one.comparison].append((math.log(one.energy_j), math.log(one.error)))
    within = [np.array(points) - np.mean(points, axis=0) for points in groups.values() if len(points) > 1]
    count = sum(len(points) for points in within)
    dof = count - len(within) - 1
    if dof < 1:
        raise UnusableMeasurement(
            "eta",
            f"{count} variants in {len(within)} comparisons carry no slope",
            "Compare three variants or more in one sitting (`outweigh compare`), or keep the default of 0.15",
        )
    stacked = np.concatenate(within)
    sxx = float(stacked[:, 0] @ stacked[:, 0])
    if math.sqrt(sxx / count) < _LEAST_SPREAD:
        raise UnusableMeasurement("eta", "all variants draw much the same energy", "Compare variants of different size")
    slope = float(stacked[:, 0] @ stacked[:, 1]) / sxx
    clustered = len(within) >= _CLUSTERED_FROM
    if clustered:
        g = len(within)
        scores = [float(points[:, 0] @ (points[:, 1] - slope * points[:, 0])) for points in within]
        correction = g / (g - 1) * (count - 1) / dof
        standard, free = math.sqrt(correction * sum(score**2 for score in scores)) / sxx, g - 1
    else:
        residual = stacked[:, 1] - slope * stacked[:, 0]
        standard, free = math.sqrt(float(residual @ residual) / dof / sxx), dof
    reach = float(stats.t.ppf((1 + confidence) / 2, free)) * standard
    return EtaFit(Estimate(-slope, Bounds(-slope - reach, -slope + reach, confidence)), len(within), count, clustered)
