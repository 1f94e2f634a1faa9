"""Several regions at once: the best set under caps on country, grid and provider."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from outweigh.core.errors import InvalidQuantity, PlanInfeasible, UsageError
from outweigh.plan.clouds.criteria import Region
from outweigh.plan.clouds.ranking import Ranked
from outweigh.plan.highs import whole_numbers
from outweigh.plan.placement.measures import concentration
from outweigh.plan.placement.problem import Caps, Grouping

_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class Spread:
    """Regions that share a load evenly.

    Attributes:
        regions: the best first.
        score: their mean score, and `bound`, which no other set under these caps exceeds.
        hhi: by grouping; 1/n is as even as n regions can be.
    """

    regions: tuple[Ranked, ...]
    score: float
    bound: float
    hhi: dict[Grouping, float]


def spread(ranked: Sequence[Ranked], count: int, caps: Caps) -> Spread:
    """The `count` ranked regions of the highest mean score, with equal shares that keep the caps.

    A cap of 50 % on countries allows two of four regions in one. A 0-1 programme on HiGHS; its bound is on the mean
    score. What is not known (a region without a grid zone) counts as a group of its own.

    Raises:
        InvalidQuantity: a count below 1. UsageError: fewer regions than that.
        PlanInfeasible: no such set; says how many regions the caps allow.
    """
    if count < 1:
        raise InvalidQuantity("number of regions", str(count), "give 1 or more")
    ranked = [one for one in ranked if one.standing is not None]
    if count > len(ranked):
        raise UsageError(f"{count} regions are asked for and {len(ranked)} are left", "Ask for fewer, or filter less")
    # A third of a second to import, and only this needs it.
    from scipy.sparse import csr_array

    # As typed: 33 % of three regions is none. What is added is the rounding of the product.
    rows, limits = _rows(ranked, lambda by: math.floor(caps.of(by) * count + _ROUNDING))
    score = np.array([one.score for one in ranked])
    every = np.ones((1, len(ranked)))
    all_of_it = csr_array(np.concatenate([every, rows.reshape(-1, len(ranked))]))
    low, high = np.full(len(limits), -np.inf), np.array(limits, dtype=np.float64)
    found = whole_numbers(-score, all_of_it, np.r_[count, low], np.r_[count, high], most=1.0)
    if found.x is None:
        most = whole_numbers(-every[0], all_of_it, np.r_[0.0, low], np.r_[count, high], most=1.0)
        fits = 0 if most.x is None else round(float(most.x.sum()))
        raise PlanInfeasible(
            f"the caps allow {fits} of the {count} regions asked for, of which each is {100 / count:.3g} %",
            f"{count - fits} region{'' if count - fits == 1 else 's'}",
            "Raise a cap, ask for fewer regions, or allow more countries and providers",
        )  # fmt: skip
    chosen = tuple(one for one, taken in zip(ranked, found.x, strict=True) if taken > 0.5)
    mean = math.fsum(one.score for one in chosen) / count
    proven = -found.bound / count
    shares = {by: [(_group(one.region, by), 1 / count) for one in chosen] for by in Grouping}
    return Spread(chosen, mean, max(proven, mean), {by: concentration(shares[by]) for by in Grouping})


def _rows(ranked: Sequence[Ranked], limit: Callable[[Grouping], int]) -> tuple[NDArray[np.float64], list[int]]:
    rows, limits = [], []
    for by in (Grouping.COUNTRY, Grouping.GRID, Grouping.PROVIDER):
        names = [_group(one.region, by) for one in ranked]
        for name in dict.fromkeys(names):
            rows.append([float(one == name) for one in names])
            limits.append(limit(by))
    return np.array(rows), limits


def _group(region: Region, by: Grouping) -> str:
    names = {
        Grouping.SITE: region.key,
        Grouping.COUNTRY: region.country,
        Grouping.GRID: region.zone,
        Grouping.PROVIDER: region.provider,
    }
    return names[by] or region.key
