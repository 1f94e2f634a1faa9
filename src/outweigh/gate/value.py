"""Part (f): where money is declared, LCB(benefit) / UCB(full marginal cost) >= 1, hardware time included.

Per functional unit, benefit b is the avoided errors times what one is worth, and marginal cost c the extra
facility energy times its price plus the extra replica time times its price. The test is LCB(b) >= UCB(c): where
the cost rises that is the ratio of the rule, and where the cost falls it says that what is saved makes up for
whatever quality may have been lost. The volume multiplies both sides and cancels.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from scipy import optimize, stats

from outweigh.compare.quality import PairedQuality
from outweigh.core.constants import J_PER_KWH, S_PER_HOUR
from outweigh.core.errors import UsageError
from outweigh.gate.judged import Judged, cannot_tell, from_tails, not_binding
from outweigh.gate.pair import Pair
from outweigh.gate.power import Spread
from outweigh.gate.tails import Tails
from outweigh.gate.wording import with_ends

PER = "avoided error"
_LEAST_P = 1e-9  # p-values below this say nothing more


@dataclass(frozen=True, slots=True)
class MarginalCost:
    """Extra cost of a unit [currency]: its mean over rounds, and the standard error with its dof."""

    mean: float
    scatter: float
    fixed: float
    dof: int

    @property
    def standard(self) -> float:
        return math.hypot(self.scatter, self.fixed)

    def end(self, alpha: float, sign: int) -> float:
        return self.mean + sign * float(stats.t.isf(alpha, self.dof)) * self.standard


def value(pair: Pair) -> Judged:
    """Raises UsageError for a benefit we cannot count, or prices in another currency than the benefit."""
    declared, prices = pair.terms.spec.value, pair.terms.prices
    if declared is None:
        return not_binding("value", "no money is declared")
    currency = declared.amount.currency
    if declared.per != PER:
        raise UsageError(f"gate.value is declared per {declared.per!r}", f"We can count: {PER!r}")
    missing = [
        word
        for word, price in (("electricity price", prices.electricity), ("hardware price", prices.hardware_per_hour))
        if price is None
    ]
    if prices.electricity is None or prices.hardware_per_hour is None:
        return cannot_tell(
            "value", f"the full marginal cost is not known: declare the {' and the '.join(missing)} of the site"
        )
    for price_currency in (prices.electricity.currency, prices.hardware_per_hour.currency):
        if price_currency != currency:
            raise UsageError(
                f"an avoided error is worth {currency}, and a price is in {price_currency}",
                "Declare both in one currency; we do not convert in silence",
            )
    cost = _marginal_cost(pair, prices.electricity.amount_per_kwh, prices.hardware_per_hour.amount)
    return _weigh(pair, pair.primary, declared.amount.amount, cost, currency)


@dataclass(frozen=True, slots=True)
class Worth:
    """Of a variant in place of the incumbent, for a month: one-sided bounds at the gate's confidence [currency]."""

    benefit_low: float
    cost_high: float
    currency: str

    @property
    def net_low(self) -> float:
        return self.benefit_low - self.cost_high


def worth(pair: Pair) -> Worth | None:
    """None where no money is declared, or the full cost is not known. Raises UsageError, as `value`."""
    declared, prices = pair.terms.spec.value, pair.terms.prices
    if declared is None or prices.electricity is None or prices.hardware_per_hour is None:
        return None
    currency = declared.amount.currency
    if declared.per != PER or {prices.electricity.currency, prices.hardware_per_hour.currency} != {currency}:
        value(pair)  # says what is wrong
        return None
    alpha, volume = pair.terms.alpha, pair.terms.volume_per_month
    cost = _marginal_cost(pair, prices.electricity.amount_per_kwh, prices.hardware_per_hour.amount)
    low = declared.amount.amount * pair.primary.bounds(1 - 2 * alpha).low
    return Worth(volume * low, volume * cost.end(alpha, +1), currency)


def _marginal_cost(pair: Pair, per_kwh: float, per_hour: float) -> MarginalCost:
    base, candidate, terms = pair.base, pair.candidate, pair.terms
    extra_j = candidate.energy_j_per_unit - base.energy_j_per_unit
    extra_s = candidate.service_s / candidate.units - base.service_s / base.units
    rounds = extra_j / J_PER_KWH * per_kwh + extra_s / S_PER_HOUR * per_hour
    mix_j = float(candidate.energy_j_per_unit.mean()) * pair.x.mix_standard
    gain_j = float(extra_j.mean()) * terms.absolute_standard
    return MarginalCost(
        mean=float(rounds.mean()),
        scatter=float(rounds.std(ddof=1)) / math.sqrt(rounds.size),
        fixed=abs(per_kwh) / J_PER_KWH * math.hypot(mix_j, gain_j),
        dof=int(rounds.size) - 1,
    )


def _weigh(pair: Pair, quality: PairedQuality, amount: float, cost: MarginalCost, currency: str) -> Judged:
    alpha, volume = pair.terms.alpha, pair.terms.volume_per_month

    def benefit_end(level: float, sign: int) -> float:
        bounds = quality.bounds(1 - 2 * level)
        return amount * (bounds.high if sign > 0 else bounds.low)

    benefit = amount * quality.difference
    net = benefit - cost.mean
    p_hold = _crossing(net, lambda level: benefit_end(level, -1) - cost.end(level, +1))
    p_refute = _crossing(-net, lambda level: cost.end(level, -1) - benefit_end(level, +1))
    low, high = benefit_end(alpha, -1), benefit_end(alpha, +1)
    cost_low, cost_high = cost.end(alpha, -1), cost.end(alpha, +1)
    said = (
        "a month's avoided errors are worth "
        f"{with_ends(volume * benefit, volume * low, volume * high, currency)} and its extra energy and hardware time "
        f"cost {with_ends(volume * cost.mean, volume * cost_low, volume * cost_high, currency)}"
    )
    spread = Spread(
        items=((high - low) / 2 / float(stats.norm.isf(alpha))) ** 2, rounds=cost.scatter**2, fixed=cost.fixed**2
    )
    if cost_low > 0:
        # Each end of the benefit over the end of the cost that makes the ratio of the rule.
        tails = Tails(
            benefit / cost.mean,
            low / (cost_high if low > 0 else cost_low),
            high / (cost_low if high > 0 else cost_high),
            threshold=1.0,
            p_good=p_hold,
            p_bad=p_refute,
            alpha=alpha,
        )
    else:
        tails = Tails(
            volume * net,
            volume * (low - cost_high),
            volume * (high - cost_low),
            threshold=0.0,
            p_good=p_hold,
            p_bad=p_refute,
            alpha=alpha,
            unit=f"{currency}/month",
        )
    return from_tails("value", "", tails, said, spread, gap=net)


def _crossing(net: float, room: Callable[[float], float]) -> float:
    """The one-sided level at which two bounds that lie apart by `room(level)` touch: a p-value below one half.

    `room` rises with the level up to `net` at 0.5. Where `net` is not positive the claim is not shown at any level
    below one half, and 1 stands for that.
    """
    if net <= 0:
        return 1.0
    if room(_LEAST_P) >= 0:
        return _LEAST_P
    if room(0.5 - _LEAST_P) <= 0:
        return 0.5
    return float(optimize.brentq(room, _LEAST_P, 0.5 - _LEAST_P, xtol=1e-12))
