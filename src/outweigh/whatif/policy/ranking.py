"""A ranking of places, and how often it stays when the weights move."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from outweigh.core.errors import InvalidQuantity, UsageError
from outweigh.whatif.policy.exposure import Exposure


class Criterion(StrEnum):
    """What places are ranked by. All but governance are better when lower."""

    COST = "cost"  # of a year, as today
    WORST = "worst"  # cost in the worst of the shocks
    CARBON = "carbon"  # location-based, per IT energy
    GOVERNANCE = "governance"
    IMPORTS = "imports"


CRITERIA = tuple(Criterion)


@dataclass(frozen=True, slots=True)
class Ranked:
    """A place and its rank.

    Attributes:
        score: 1 where it is best by every criterion, 0 where worst.
        rank: by the weights as given, from 1.
        first_share: share of the drawn weights under which it is first.
        low, high: ranks that hold 90 % of the draws.
    """

    name: str
    score: float
    rank: int
    first_share: float
    low: int
    high: int
    by: Mapping[Criterion, float]


def rank(
    found: Sequence[Exposure],
    weights: Mapping[Criterion, float],
    *,
    draws: int = 2000,
    seed: int = 0,
    concentration: float | None = None,
) -> tuple[tuple[Ranked, ...], tuple[str, ...]]:
    """Rank places by a weighted sum of criteria, each scaled to 0 (worst of them) to 1 (best).

    Weights are drawn from a Dirichlet distribution around those given: with equal weights and the default
    concentration every mix of them is as likely as any other; a higher one keeps closer to what was given.

    Args:
        weights: 0 or more, not all 0; a criterion with weight 0 does not count.
        concentration: sum of the distribution's parameters; by default the number of criteria that count.

    Returns:
        The ranked places, best first, and the names of those that lack a figure: they are not ranked, as a figure that
        is missing is neither 0 nor a mean.

    Raises:
        InvalidQuantity: weights that are negative or all 0, no draws, or a concentration that is not above 0.
        UsageError: no place has all that is asked of it.
    """
    counted = [one for one in Criterion if weights.get(one, 0.0) != 0]
    if not counted or any(not 0 <= weights.get(one, 0.0) < math.inf for one in Criterion):
        given = ", ".join(f"{one}={weights.get(one, 0.0):g}" for one in Criterion)
        raise InvalidQuantity("set of weights", given, "each is 0 or more, and one above 0")
    concentration = float(len(counted)) if concentration is None else concentration
    if draws < 1 or not 0 < concentration < math.inf:
        given = f"{draws} draws, concentration {concentration:g}"
        raise InvalidQuantity("draws", given, "at least one draw, and a concentration above 0")
    whole = [(one, [_of(one, criterion) for criterion in counted]) for one in found]
    known = [(one, [value for value in values if value is not None]) for one, values in whole if None not in values]
    missing = tuple(one.place.name for one, values in whole if None in values)
    if not known:
        raise UsageError("no place has a figure for every criterion", "Give one that lacks weight 0")
    figures = np.array([values for _, values in known])
    span = figures.max(axis=0) - figures.min(axis=0)
    scaled = np.where(span > 0, (figures.max(axis=0) - figures) / np.where(span > 0, span, 1.0), 1.0)
    centre = np.array([weights[one] for one in counted])
    centre = centre / centre.sum()
    drawn = np.random.default_rng(seed).dirichlet(concentration * centre, size=draws)
    ranks = _ranks(drawn @ scaled.T)
    own = scaled @ centre
    order = _ranks(own[None, :])[0]
    ranked = [
        Ranked(
            name=one.place.name,
            score=float(own[at]),
            rank=int(order[at]),
            first_share=float((ranks[:, at] == 1).mean()),
            low=int(np.quantile(ranks[:, at], 0.05, method="inverted_cdf")),
            high=int(np.quantile(ranks[:, at], 0.95, method="inverted_cdf")),
            by=dict(zip(counted, scaled[at].tolist(), strict=True)),
        )
        for at, (one, _) in enumerate(known)
    ]
    return tuple(sorted(ranked, key=lambda one: (one.rank, one.name))), missing


def _of(found: Exposure, criterion: Criterion) -> float | None:
    """The figure, turned so that lower is better."""
    place = found.place
    return {
        Criterion.COST: found.today,
        Criterion.WORST: found.worst,
        Criterion.CARBON: place.pue * place.g_per_kwh,
        Criterion.GOVERNANCE: None if place.governance is None else -place.governance,
        Criterion.IMPORTS: place.import_share,
    }[criterion]


def _ranks(scores: NDArray[np.float64]) -> NDArray[np.int64]:
    """Rank of each column within its row, from 1; equals share the better rank."""
    better: NDArray[np.int64] = (scores[:, None, :] > scores[:, :, None] + 1e-12).sum(axis=2)
    return better + 1
