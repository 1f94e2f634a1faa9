"""Every measured variant by what it is worth, where money is declared: LCB(benefit) / UCB(full marginal cost)."""

from __future__ import annotations

import math
from dataclasses import dataclass

from outweigh.gate.inputs import Contenders, Terms
from outweigh.gate.pair import Pair
from outweigh.gate.value import Worth, worth


@dataclass(frozen=True, slots=True)
class Ranked:
    """One variant against the incumbent.

    Attributes:
        worth: bounds of benefit and marginal cost for a month.
        ratio: the lower bound of the benefit over the upper bound of the cost. Where the cost falls for sure it is
            what is saved for sure over what may be lost; infinite where nothing may be.
    """

    name: str
    worth: Worth
    ratio: float


def ranking(contenders: Contenders, terms: Terms, *, seed: int = 0) -> tuple[Ranked, ...]:
    """Best first; nothing where no money is declared or the full cost is not known.

    Raises:
        UsageError: a benefit we cannot count, or prices in another currency.
    """
    found = []
    for other in (contenders.proposal, *contenders.alternatives):
        one = worth(Pair(contenders.incumbent, other, terms, seed, 1))
        if one is None:
            return ()
        found.append(Ranked(other.variant.name, one, _ratio(one)))
    return tuple(sorted(found, key=lambda ranked: (-ranked.ratio, -ranked.worth.net_low)))


def _ratio(one: Worth) -> float:
    if one.cost_high > 0:
        return one.benefit_low / one.cost_high
    return -one.cost_high / -one.benefit_low if one.benefit_low < 0 else math.inf
