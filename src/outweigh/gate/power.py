"""How large an evaluation set must be: the smallest gain it can show, and what would settle a verdict.

All formulas are large-sample. With e the error rate of both variants, phi the correlation between their
errors item by item and n items, the delta method gives

    Var(ln err_base - ln err_cand) = 2 (1 - phi) (1 - e) / (e n)

(the delta method on the log of a proportion: Agresti 2013, Categorical Data Analysis, chapter 3).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from scipy import stats

from outweigh.core.errors import InvalidQuantity

# Beyond this many items or rounds nobody measures on; the answer is then "not this way".
MOST_ITEMS = 10_000_000
MOST_ROUNDS = 100_000


def gain_standard_error(n_items: int, error: float, correlation: float) -> float:
    """Standard error of g, the log ratio of two error rates, for `n_items` paired items.

    Args:
        error: distance of the metric to its ceiling, as a rate in (0, 1).
        correlation: of the two variants' errors item by item, in [-1, 1); 0 when they err independently.

    Raises:
        InvalidQuantity: an argument outside its range.
    """
    if n_items < 1:
        raise InvalidQuantity("number of items", repr(n_items), "give at least one evaluation item")
    if not 0 < error < 1:
        raise InvalidQuantity("error rate", repr(error), "give it between 0 and 1, both excluded")
    if not -1 <= correlation < 1:
        raise InvalidQuantity("correlation", repr(correlation), "give it between -1 and 1, 1 excluded")
    return math.sqrt(2 * (1 - correlation) * (1 - error) / (error * n_items))


def smallest_gain(
    n_items: int, error: float, *, correlation: float = 0.0, confidence: float = 0.95, power: float = 0.8
) -> float:
    """Smallest relative cut in error that `n_items` will show at `confidence` in a share `power` of the cases.

    Source: two-quantile sample-size formula, z_alpha + z_beta standard errors (Connor 1987, Biometrics 43,
    207-211, for paired proportions).

    >>> round(smallest_gain(2000, 0.20, correlation=0.45), 3)
    0.11
    """
    z = float(stats.norm.ppf(confidence) + stats.norm.ppf(power))
    return 1 - math.exp(-z * gain_standard_error(n_items, error, correlation))


def items_for_gain(
    cut: float, error: float, *, correlation: float = 0.0, confidence: float = 0.95, power: float = 0.8
) -> int:
    """Items needed to show a relative cut in error of `cut` in (0, 1); the inverse of `smallest_gain`.

    >>> items_for_gain(0.10, 0.20, correlation=0.45)
    2451
    """
    if not 0 < cut < 1:
        raise InvalidQuantity("cut in error", repr(cut), "give it between 0 and 1, both excluded")
    z = float(stats.norm.ppf(confidence) + stats.norm.ppf(power))
    return math.ceil((z * gain_standard_error(1, error, correlation) / math.log(1 - cut)) ** 2)


@dataclass(frozen=True, slots=True)
class Spread:
    """Where the variance of a part's statistic comes from, on the scale of its distance to the threshold.

    Attributes:
        items, rounds: variance that falls as 1/n with more evaluation items, or more interleaved rounds.
        fixed: variance that more measuring on this testbed does not touch (instruction mix, meter gain).
    """

    items: float = 0.0
    rounds: float = 0.0
    fixed: float = 0.0


def more_items(gap: float, spread: Spread, n_items: int, alpha: float) -> int | None:
    """How many more items would settle a part whose estimate lies `gap` from its threshold and stays there.

    None when no number would, because the estimate lies on the threshold or other errors are too large.
    """
    z2 = float(stats.norm.isf(alpha)) ** 2
    room = gap * gap / z2 - spread.rounds - spread.fixed
    if spread.items <= 0 or room <= 0:
        return None
    needed = math.ceil(n_items * spread.items / room)
    return max(1, needed - n_items) if needed <= MOST_ITEMS else None


def more_rounds(gap: float, spread: Spread, n_rounds: int, alpha: float) -> int | None:
    """How many more interleaved rounds would settle it; counts the t quantile of the rounds then had."""
    if spread.rounds <= 0 or spread.items + spread.fixed >= (gap / float(stats.norm.isf(alpha))) ** 2:
        return None

    def settled(rounds: int) -> bool:
        total = spread.items + spread.fixed + spread.rounds * n_rounds / rounds
        return abs(gap) >= float(stats.t.isf(alpha, rounds - 1)) * math.sqrt(total)

    needed = _first(settled, n_rounds + 1, MOST_ROUNDS)
    return None if needed is None else needed - n_rounds


def _first(holds: Callable[[int], bool], low: int, most: int) -> int | None:
    """Smallest integer in [low, most] from which `holds` is true, for a claim that stays true once it is."""
    high = low
    while not holds(high):
        if high >= most:
            return None
        low, high = high + 1, min(most, high * 2)
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(middle) else (middle + 1, high)
    return high
