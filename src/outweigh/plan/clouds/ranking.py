"""Regions in order: a weighted score with its doubts, how far the order rests on the weights, the Pareto front."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from outweigh.core.errors import InvalidQuantity
from outweigh.plan.clouds.criteria import Criterion, Region, check_weights

Floats = NDArray[np.float64]
_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a region stands among those that enough is known of.

    Attributes:
        rank: by score, from 1.
        best, worst: rank if all that is missing of it were the best or the worst there is, all else as it is; a tie
            counts for it and against it.
        stays: share of random weights at which it is among the first.
    """

    rank: int
    best: int
    worst: int
    stays: float


@dataclass(frozen=True, slots=True)
class Ranked:
    """A region and how good it is.

    Attributes:
        score: weighted mean of its scaled figures, 0 the worst of all regions in everything, 1 the best; over what is
            known of it alone.
        known: share of the weights that its figures carry.
        standing: None where too little is known of it to stand beside the others.
        dominated_by: a region that is nowhere worse and somewhere better in all that is known of this one; "" for the
            Pareto front.
    """

    region: Region
    score: float
    known: float
    standing: Standing | None
    dominated_by: str


def rank(
    regions: Sequence[Region],
    weights: Mapping[Criterion, float],
    *,
    least_known: float = 0.5,
    first: int = 5,
    draws: int = 1000,
    seed: int = 0,
) -> tuple[Ranked, ...]:
    """Regions from the best score down, ties by name; after them those that too little is known of.

    Each criterion is scaled linearly, from 0 for the worst of these regions to 1 for the best; where all are alike it
    is 1. What is missing of a region is left out of its mean and never filled in, so its score is of less; `known`
    and the span of ranks say how much less.

    `stays` is the rank acceptability of Lahdelma and Salminen (SMAA-2, Operations Research 49(3), 2001): of weights
    drawn evenly from all there are (Dirichlet with every parameter 1), the share at which it is among the `first`.

    Args:
        weights: >= 0, of the criteria of the regions; one that is not named counts nothing.
        least_known: share of the weights that must be known of a region to rank it: one good figure out of five is no
            reason to go anywhere.

    Raises:
        InvalidQuantity: a negative weight, or none above 0; a share outside 0 to 1.
    """
    check_weights(weights)
    if not 0 <= least_known <= 1:
        raise InvalidQuantity("share that must be known", repr(least_known), "it lies between 0 and 1")
    criteria = [criterion for criterion in regions[0].cells if weights.get(criterion, 0.0) > 0]
    check_weights({criterion: weights[criterion] for criterion in criteria})
    scaled = scale(regions, criteria)
    given = np.array([weights[criterion] for criterion in criteria])
    given = given / given.sum()
    score = weighted(scaled, given[np.newaxis])[0]
    known = np.where(np.isnan(scaled), 0.0, given).sum(axis=1)
    names = [region.key for region in regions]
    order = sorted(range(len(names)), key=lambda i: (-score[i], names[i]))
    enough = [i for i in order if known[i] >= least_known - _ROUNDING and known[i] > 0]
    low, high = (np.where(np.isnan(scaled), end, scaled) @ given for end in (0.0, 1.0))
    drawn = np.random.default_rng(seed).dirichlet(np.ones(len(criteria)), size=draws)
    stays = _among_first(weighted(scaled[enough], drawn), first)
    standing = {}
    for place, i in enumerate(enough):
        others = np.array([score[j] for j in enough if j != i])
        best, worst = int((others > high[i] + _ROUNDING).sum()) + 1, int((others >= low[i] - _ROUNDING).sum()) + 1
        standing[i] = Standing(place + 1, best, worst, float(stays[place]))
    return tuple(
        Ranked(regions[i], float(score[i]), float(known[i]), standing.get(i), _dominated_by(i, scaled, names))
        for i in (*enough, *(i for i in order if i not in standing))
    )


def scale(regions: Sequence[Region], criteria: Sequence[Criterion]) -> Floats:
    """From 0 (worst) to 1 (best), NaN where missing; shape (regions, criteria)."""
    values = np.array(
        [[np.nan if (v := region.value(c)) is None else v for c in criteria] for region in regions], dtype=np.float64
    )
    signed = values * np.array([1.0 if criterion.higher_is_better else -1.0 for criterion in criteria])
    scaled: Floats = np.full_like(signed, np.nan)
    for column in range(len(criteria)):
        known = ~np.isnan(signed[:, column])
        if known.any():
            low, high = signed[known, column].min(), signed[known, column].max()
            scaled[known, column] = (signed[known, column] - low) / (high - low) if high > low else 1.0
    return scaled


def weighted(scaled: Floats, weights: Floats) -> Floats:
    """Means over what is known; weights (W, criteria) -> (W, regions). 0 where nothing is."""
    known = ~np.isnan(scaled)
    total = weights @ known.T
    sums = weights @ np.where(known, scaled, 0.0).T
    return np.asarray(np.divide(sums, total, out=np.zeros_like(total), where=total > 0))


def _among_first(scores: Floats, first: int) -> Floats:
    """Share of rows in which a region's score is among the `first` highest, shape (regions,)."""
    count = scores.shape[1]
    if not count:
        return np.zeros(0)
    limit = np.sort(scores, axis=1)[:, max(count - first, 0)]
    return np.asarray((scores >= limit[:, np.newaxis]).mean(axis=0))


def _dominated_by(one: int, scaled: Floats, names: Sequence[str]) -> str:
    """The first region that has a figure wherever this one has, is nowhere worse there and somewhere better."""
    known = ~np.isnan(scaled[one])
    if not known.any():
        return ""
    others = scaled[:, known]
    mine = scaled[one, known]
    with np.errstate(invalid="ignore"):
        better = (others >= mine).all(axis=1) & (others > mine).any(axis=1)
    found = [names[i] for i in np.flatnonzero(better).tolist()]
    return min(found) if found else ""
