"""What the verdict hangs on: eta, the ceiling, and the low volume, each moved with all else held.

A verdict that turns with a modest change of a declared number is one about that number; whoever declared it should
know. The grid is printed whole, and the eta at which the proportion turns is worked out exactly.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from scipy import optimize, stats

from outweigh.core.verdict import Outcome
from outweigh.gate.inputs import Contenders, Terms
from outweigh.gate.pair import Pair
from outweigh.gate.power import MOST_ITEMS
from outweigh.gate.rule import weigh

#: Between no price on energy and twice what compute-optimal scaling buys (Hoffmann et al. 2022: 0.154).
ETAS = (0.0, 0.05, 0.10, 0.15, 0.20, 0.30)
#: Times the declared low volume.
VOLUMES = (0.1, 0.5, 1.0, 2.0, 10.0)
#: Share of the way from the best measured quality to the declared ceiling, and to the metric's own limit of 1.
_CEILINGS = (0.25, 0.5, 0.75)
_MOST_ETA = 10.0  # halving the error for 7 % more energy: nobody asks that


@dataclass(frozen=True, slots=True)
class Setting:
    """The verdict with one declared number changed.

    Attributes:
        what: "eta", "ceiling" or "low volume".
        value: the number; the low volume in units a month.
        declared: whether it is the one the project declares.
    """

    what: str
    value: float
    outcome: Outcome
    decided_by: str
    declared: bool


@dataclass(frozen=True, slots=True)
class Sensitivity:
    """The grid, and where the proportion turns.

    Attributes:
        holds: the etas for which the proportion is shown to hold, (low, high), high infinite where more energy is not
            what is proposed; None when for none.
        refuted: the etas for which it is refuted; None when for none.
        smallest_gain: the relative cut in error that items and a pair like these show at the gate's confidence in
            80 % of the cases: what this evaluation can see at all. None where the error of the pair has no logarithm.
        cut_asked: the relative cut in error that eta asks for the growth in energy that was measured; None where the
            energy does not grow.
        items_for_cut_asked: items like these, in all, that would show a cut of just that size in 80 % of the cases.
    """

    settings: tuple[Setting, ...]
    holds: tuple[float, float] | None
    refuted: tuple[float, float] | None
    smallest_gain: float | None = None
    cut_asked: float | None = None
    items_for_cut_asked: int | None = None

    def turning(self, declared: Outcome) -> tuple[Setting, ...]:
        """Settings that come to another verdict than the declared one."""
        return tuple(setting for setting in self.settings if setting.outcome is not declared)


def sensitivity(
    contenders: Contenders,
    terms: Terms,
    *,
    volume_low: float | None = None,
    at_volume: Callable[[float], Contenders] | None = None,
    seed: int = 0,
    n_draws: int = 2_000,
) -> Sensitivity:
    """Weigh again with eta, ceiling and low volume moved one at a time.

    Args:
        volume_low: the declared low volume [units/month].
        at_volume: the same evidence with energy per unit worked out for another low volume [units/month]; without
            it the volume is left alone.
        n_draws: resamples of each weighing; fewer than a verdict's, since there are many.

    Raises:
        What `weigh` raises.
    """
    settings = list(_settings(contenders, terms, volume_low, at_volume, seed, n_draws))
    pair = Pair(contenders.incumbent, contenders.proposal, terms, seed, 5 * n_draws)
    holds, refuted = _turning_etas(pair)
    smallest = _smallest_gain(pair)
    asked = terms.spec.eta * pair.x.estimate  # of g, the log of the cut
    if asked <= 0 or smallest is None:
        return Sensitivity(tuple(settings), holds, refuted, smallest)
    # The standard error of g falls with the root of the items.
    items = pair.n_items * (math.log1p(-smallest) / asked) ** 2
    needed = math.ceil(items) if items <= MOST_ITEMS else None
    return Sensitivity(tuple(settings), holds, refuted, smallest, -math.expm1(-asked), needed)


def _settings(
    contenders: Contenders, terms: Terms, volume_low: float | None,
    at_volume: Callable[[float], Contenders] | None, seed: int, n_draws: int,
) -> Iterator[Setting]:  # fmt: skip
    spec, primary = terms.spec, terms.primary

    def weighed(what: str, value: float, on: Contenders, under: Terms, *, declared: bool) -> Setting:
        verdict = weigh(on, under, seed=seed, n_draws=n_draws)
        return Setting(what, value, verdict.outcome, verdict.decided_by, declared)

    for eta in sorted({*ETAS, spec.eta}):
        yield weighed("eta", eta, contenders, replace(terms, spec=replace(spec, eta=eta)), declared=eta == spec.eta)
    for ceiling in _ceilings(contenders, terms):
        moved = replace(terms, primary=replace(primary, ceiling=ceiling))
        yield weighed("ceiling", ceiling, contenders, moved, declared=ceiling == primary.ceiling)
    if at_volume is not None and volume_low is not None:
        for times in VOLUMES:
            value = times * volume_low
            yield weighed("low volume", value, at_volume(value), terms, declared=times == 1.0)


def _ceilings(contenders: Contenders, terms: Terms) -> tuple[float, ...]:
    """Ceilings above every measured quality, the declared one among them."""
    declared = terms.primary.ceiling
    best = max(evidence.metric(terms.primary.metric) for evidence in (contenders.incumbent, contenders.proposal))
    tops = {declared, *([1.0] if declared < 1 else [])}
    between = {best + share * (declared - best) for share in _CEILINGS} if declared > best else set()
    return tuple(sorted(tops | between))


def _smallest_gain(pair: Pair) -> float | None:
    """As `power.smallest_gain`, with the standard error of g that paired resampling of these very items shows."""
    if pair.above_ceiling:
        return None
    standard = float(np.std(pair.g_draws, ddof=1))
    z = float(stats.norm.ppf(1 - pair.terms.alpha) + stats.norm.ppf(0.8))
    return 1 - math.exp(-z * standard) if math.isfinite(standard) else None


def _turning_etas(pair: Pair) -> tuple[tuple[float, float] | None, tuple[float, float] | None]:
    """Where the one-sided bounds of T = g - eta x cross 0; x is paired with g draw by draw, so T is linear in eta."""
    if pair.above_ceiling:
        return None, None
    g, x = pair.g_draws, pair.x.draws(pair.rng("x"), pair.n_draws)
    alpha = pair.terms.alpha

    def low(eta: float) -> float:
        return float(np.quantile(g - eta * x, alpha))

    def high(eta: float) -> float:
        return float(np.quantile(g - eta * x, 1 - alpha))

    return _where(low), _where(lambda eta: -high(eta))


def _where(margin: Callable[[float], float]) -> tuple[float, float] | None:
    """The etas of at least 0 for which `margin` is above 0; it changes sign at most once where draws are linear."""
    at_none, at_most = margin(0.0) > 0, margin(_MOST_ETA) > 0
    if at_none == at_most:
        return (0.0, math.inf) if at_none else None
    turn = float(optimize.brentq(margin, 0.0, _MOST_ETA, xtol=1e-4))
    return (0.0, turn) if at_none else (turn, math.inf)
