"""Measures of risk and concentration.

Sources: CVaR of a discrete distribution, Rockafellar and Uryasev, Journal of Banking & Finance 26(7), 2002
(proposition 8); as a linear programme, the same, Journal of Risk 2(3), 2000. Value of perfect information and of the
stochastic solution, Birge and Louveaux, Introduction to Stochastic Programming, 2nd edition, 2011, chapter 4.
Herfindahl-Hirschman index on shares: 1 is all in one place, 1/n an even spread over n.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def tail_weights(cost: Floats, probability: Floats, tail: float) -> Floats:
    """Weights at which CVaR is the weighted mean of the costs, shape (S,), sum to 1: the worst scenarios, of which
    the last one counts in part.

    Six scenarios of equal odds at a level of 7/12, of Sarykalin, Serraino and Uryasev, INFORMS Tutorials 2008:

    >>> tail_weights(np.arange(1.0, 7), np.full(6, 1 / 6), 7 / 12).round(12).tolist()
    [0.0, 0.0, 0.0, 0.2, 0.4, 0.4]
    """
    worst_first = np.argsort(-cost, kind="stable")
    size = 1 - tail
    odds = probability[worst_first]
    weights = np.empty_like(probability)
    weights[worst_first] = np.clip(size - (np.cumsum(odds) - odds), 0.0, odds) / size
    return weights


def cvar(cost: Floats, probability: Floats, tail: float) -> float:
    """Mean cost of the worst ``1 - tail`` of what may happen, in the unit of the cost.

    >>> round(cvar(np.array([100.0, 250.0]), np.array([0.95, 0.05]), 0.95), 9)
    250.0
    """
    return float(tail_weights(cost, probability, tail) @ cost)


def concentration(shares: Iterable[tuple[str, float]]) -> float:
    """Herfindahl-Hirschman index over names; shares of one name add up, and each "" stands for itself.

    >>> round(concentration([("DE", 0.3), ("DE", 0.2), ("FR", 0.5)]), 9)
    0.5
    """
    by_name: dict[str, float] = defaultdict(float)
    for number, (name, share) in enumerate(shares):
        by_name[name or f"\0{number}"] += share
    return math.fsum(share**2 for share in by_name.values())
