"""Budgets as they burn: what is drawn and left, how fast it goes, and when it will be gone.

Pure functions of budget lines and receipts. A receipt is charged to the lines of its phase, or, where it carries the
label "budget", to that line alone; and to every line those are part of. Failed and interrupted runs drew theirs all
the same. Energy here is IT energy, as metered.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from itertools import accumulate
from statistics import NormalDist

from outweigh.core.budget import Budget, Period
from outweigh.core.errors import InvalidQuantity
from outweigh.core.intervals import Bounds, Interval
from outweigh.core.nesting import nesting_problems
from outweigh.core.quantities import Energy
from outweigh.core.receipt import Receipt, RunStatus
from outweigh.ledger.drawn import Drawdown, add_up
from outweigh.ledger.humming import hum_power

#: Label of a receipt that names the line it is charged to.
LINE = "budget"

#: Windows of the burn rate as parts of the period: 3 days and 6 hours of a month. Both must burn too fast for a
#: warning, the long one to be sure and the short one so that it ends with its cause. Source: Beyer et al., The Site
#: Reliability Workbook (2018), chapter 5, table 5-8, the burn rate of 1.
WINDOWS = (1 / 10, 1 / 120)

_STEPS = 30  # of history, and as many to a period
_LEAST_STEPS = 3  # below, a scatter says nothing
_NINETY_FIVE = (0.025, 0.5, 0.975)


class State(StrEnum):
    OK = "ok"
    WARNING = "warning"
    BREACHED = "breached"


@dataclass(frozen=True, slots=True)
class BurnRate:
    """Energy drawn in a window over what an even use of the period would draw in it; 1 uses it up exactly."""

    window: Interval
    rate: float


@dataclass(frozen=True, slots=True)
class Exhaustion:
    """When a line will be used up, if it goes on as it did.

    Attributes:
        at: the median; None when that lies beyond the period, at whose end the line begins anew.
        earliest, latest: a 95 % interval; None beyond the period.
        probability: that it is used up before the period ends.
        steps: how many days (hours, of a daily budget) of history it rests on.
    """

    at: datetime | None
    earliest: datetime | None
    latest: datetime | None
    probability: float
    steps: int


@dataclass(frozen=True, slots=True)
class Burn:
    """One budget line at a time.

    Attributes:
        budget: with the limits in force.
        period: what the total is counted over; for a line without one, the month.
        drawn: what receipts charged to the line drew in the period so far.
        bounds_j: 95 % interval of the drawn energy [J]. Meters err alike from run to run, so standard uncertainties
            add up in full (JCGM 100:2008, 5.2.2, note 1).
        share: of the total that is drawn; None for a line without one.
        per_unit_j: energy per functional unit over the receipts that delivered any [J]; None without one.
        hum_w: mean idle draw of the machines whose receipts know theirs, added up over machines [W]; None without one.
        rates: over the long and the short window; empty for a line without a total.
        exhaustion: None where too little is known to say.
        reasons: why it is not ok, a sentence each.
    """

    budget: Budget
    period: Interval
    drawn: Drawdown
    bounds_j: Bounds
    share: float | None
    per_unit_j: float | None
    hum_w: float | None
    rates: tuple[BurnRate, ...]
    exhaustion: Exhaustion | None
    state: State
    reasons: tuple[str, ...]

    @property
    def left(self) -> Energy | None:
        """What is left of the total; negative when it is overdrawn, None for a line without one."""
        return None if self.budget.total is None else self.budget.total - self.drawn.energy


def check_nesting(budgets: Sequence[Budget], now: datetime) -> None:
    """Refuse lines whose parts promise more than the whole; `core.nesting` says what is held against what.

    Raises:
        InvalidQuantity: the first problem there is.
    """
    for problem in nesting_problems(budgets, now):
        raise InvalidQuantity(problem.what, problem.given, problem.remedy)


def burn_down(budgets: Sequence[Budget], receipts: Iterable[Receipt], now: datetime) -> tuple[Burn, ...]:
    """Every line as it stands at `now`, in the order declared.

    Args:
        receipts: of the project; those before the period are used to see how it usually goes.

    Raises:
        InvalidQuantity: see `check_nesting`.
        OverlappingScopes: two receipts of a line counted the same joules.
    """
    check_nesting(budgets, now)
    kept = tuple(receipts)
    return tuple(_burn(budget, budgets, kept, now) for budget in budgets)


def charged(budget: Budget, budgets: Sequence[Budget], receipt: Receipt) -> bool:
    """Whether a receipt draws this line, itself or one of its parts."""
    named = dict(receipt.labels).get(LINE, "")
    own = named == budget.name if named else budget.phase is receipt.phase
    return own or any(part.parent == budget.name and charged(part, budgets, receipt) for part in budgets)


def _burn(declared: Budget, budgets: Sequence[Budget], receipts: Sequence[Receipt], now: datetime) -> Burn:
    budget = declared.at(now)
    whole_period = (budget.period or Period.MONTH).containing(now)
    so_far = Interval(whole_period.start, now)
    own = [receipt for receipt in receipts if charged(declared, budgets, receipt)]
    drawn = add_up(own, so_far)
    inside = [r for r in own if r.status is not RunStatus.UNUSABLE and r.interval.overlap_s(so_far) > 0]
    standard_j = sum(r.total.standard_uncertainty.joules * _inside(r, so_far) for r in inside)
    energy_j = drawn.energy.joules
    bounds_j = Bounds(max(0.0, energy_j - 1.96 * standard_j), energy_j + 1.96 * standard_j, 0.95)
    delivered = [r for r in inside if r.units]
    units = sum(r.units or 0.0 for r in delivered)
    hum = hum_power(inside, so_far)
    per_unit_j = sum(r.total.value.joules for r in delivered) / units if units > 0 else None
    hum_w = None if hum is None else hum.power_w
    total_j = None if budget.total is None else budget.total.joules
    rates = () if total_j is None else tuple(_rates(own, total_j, whole_period, now))
    exhaustion = None if total_j is None else _exhaustion(own, total_j - energy_j, budget, whole_period, now)
    state, reasons = _state(budget, bounds_j, energy_j, rates, exhaustion, per_unit_j, hum_w)
    return Burn(
        budget=budget,
        period=whole_period,
        drawn=drawn,
        bounds_j=bounds_j,
        share=None if total_j is None else (energy_j / total_j if total_j > 0 else math.inf),
        per_unit_j=per_unit_j,
        hum_w=hum_w,
        rates=rates,
        exhaustion=exhaustion,
        state=state,
        reasons=reasons,
    )


def _rates(own: Sequence[Receipt], total_j: float, period: Interval, now: datetime) -> Iterable[BurnRate]:
    for part in WINDOWS:
        window = Interval(max(period.start, now - timedelta(seconds=part * period.seconds)), now)
        even_j = total_j * window.seconds / period.seconds
        yield BurnRate(window, drawn_j(own, window) / even_j if even_j > 0 else math.inf)


def _exhaustion(
    own: Sequence[Receipt], left_j: float, budget: Budget, period: Interval, now: datetime
) -> Exhaustion | None:
    """When the sum of the steps to come reaches what is left.

    Steps are taken as independent, with the mean and scatter of those seen; the sum of k more of them then has the
    mean k m and the variance k s^2 (1 + k/n), the doubt of the mean of n included (Hahn and Meeker, Statistical
    Intervals, 1991, section 4.7, for the normal case).
    """
    if left_j <= 0:
        return Exhaustion(now, now, now, 1.0, 0)
    step = timedelta(hours=1) if budget.period is Period.DAY else timedelta(days=1)
    begun = min((r.interval.start for r in own if r.status is not RunStatus.UNUSABLE), default=now)
    steps = min(_STEPS, int((now - begun) / step))
    if steps < _LEAST_STEPS:
        return None
    seen_j = [drawn_j(own, Interval(now - (i + 1) * step, now - i * step)) for i in range(steps)]
    mean_j = math.fsum(seen_j) / steps
    variance_j2 = math.fsum((one - mean_j) ** 2 for one in seen_j) / (steps - 1)

    def reached(k: float) -> float:
        """Probability that k more steps draw what is left."""
        standard_j = math.sqrt(k * variance_j2 * (1 + k / steps))
        gap_j = k * mean_j - left_j
        return float(gap_j >= 0) if standard_j == 0 else NormalDist().cdf(gap_j / standard_j)

    ahead = (period.end - now) / step
    early, middle, late = (_when(reached, level, ahead) for level in _NINETY_FIVE)

    def stamp(k: float | None) -> datetime | None:
        return None if k is None else now + k * step

    return Exhaustion(stamp(middle), stamp(early), stamp(late), reached(ahead) if ahead > 0 else 0.0, steps)


def _when(reached: Callable[[float], float], level: float, ahead: float) -> float | None:
    """The first of a hundred-odd points of time ahead at which the probability is reached; None when none is."""
    points = 240
    return next((i * ahead / points for i in range(1, points + 1) if reached(i * ahead / points) >= level), None)


def _state(
    budget: Budget, bounds_j: Bounds, energy_j: float, rates: Sequence[BurnRate], exhaustion: Exhaustion | None,
    per_unit_j: float | None, hum_w: float | None,
) -> tuple[State, tuple[str, ...]]:  # fmt: skip
    breached, warnings = [], []
    if budget.total is not None:
        total_j = budget.total.joules
        if bounds_j.low > total_j:
            breached.append("more is drawn than the line allows")
        elif bounds_j.high > total_j:
            warnings.append("what is drawn lies so close to the limit that the meter cannot tell on which side")
        elif energy_j >= budget.warn_at * total_j:
            warnings.append(f"{energy_j / total_j:.0%} of it is drawn, and the warning is set at {budget.warn_at:.0%}")
        if rates and all(rate.rate > 1 for rate in rates) and not breached:
            fastest = ", ".join(f"{rate.rate:.2g}" for rate in rates)
            warnings.append(f"it burns faster than an even use in both windows ({fastest} times)")
        if exhaustion is not None and exhaustion.probability > 0.5 and not breached:
            warnings.append(f"it is used up before the period ends with a probability of {exhaustion.probability:.0%}")
    for limit, value, what in (
        (None if budget.per_unit is None else budget.per_unit.joules, per_unit_j, "the energy per unit"),
        (None if budget.hum is None else budget.hum.watts, hum_w, "the hum"),
    ):
        if limit is not None and value is not None:
            if value > limit:
                breached.append(f"{what} is {value / limit:.3g} times what the line allows")
            elif value >= budget.warn_at * limit:
                warnings.append(f"{what} is at {value / limit:.0%} of the limit")
    state = State.BREACHED if breached else State.WARNING if warnings else State.OK
    return state, (*breached, *warnings)


def drawn_j(own: Iterable[Receipt], window: Interval) -> float:
    """Energy that runs drew in a window [J], each by the share of its time inside. Nothing is held against overlap."""
    return math.fsum(
        r.total.value.joules * _inside(r, window) for r in own if r.status is not RunStatus.UNUSABLE
    )  # fmt: skip


def burnt_so_far(
    declared: Budget, budgets: Sequence[Budget], receipts: Iterable[Receipt], now: datetime
) -> tuple[tuple[datetime, float], ...]:
    """How a line was drawn down in its period: instants from its start to `now`, and the energy drawn until each [J].

    Steps are as those of the forecast: hours of a daily budget, days of any other. A receipt counts as in `drawn_j`.
    """
    period = (declared.at(now).period or Period.MONTH).containing(now)
    step_s = (timedelta(hours=1) if declared.at(now).period is Period.DAY else timedelta(days=1)).total_seconds()
    end_s = (min(now, period.end) - period.start).total_seconds()
    edges_s = [i * step_s for i in range(math.ceil(end_s / step_s))] + [end_s]
    steps_j = [0.0] * (len(edges_s) - 1)
    for one in receipts:
        if one.status is RunStatus.UNUSABLE or not charged(declared, budgets, one):
            continue
        begun_s = (one.interval.start - period.start).total_seconds()
        ended_s = begun_s + one.interval.seconds
        first = max(0, min(int(begun_s // step_s), len(steps_j)))
        for index in range(first, len(steps_j)):
            if ended_s < edges_s[index] or begun_s >= edges_s[index + 1]:
                break
            # What is cut off is taken away, rather than two times of the month from each other: a short run would be
            # lost in their last digits.
            cut_s = max(edges_s[index] - begun_s, 0.0) + max(ended_s - edges_s[index + 1], 0.0)
            share = 1.0 - cut_s / one.interval.seconds if one.interval.seconds else 1.0
            steps_j[index] += one.total.value.joules * share
    sums_j = accumulate(steps_j, initial=0.0)
    return tuple((period.start + timedelta(seconds=at), drawn) for at, drawn in zip(edges_s, sums_j, strict=True))


def _inside(receipt: Receipt, window: Interval) -> float:
    if receipt.interval.seconds == 0:
        return float(window.contains(receipt.interval.start))
    return receipt.interval.overlap_s(window) / receipt.interval.seconds


def by_parent(budgets: Sequence[Budget]) -> Mapping[str, tuple[Budget, ...]]:
    """Lines by the name of the one they are part of; "" for those of none."""
    names = dict.fromkeys(budget.parent for budget in budgets)
    return {name: tuple(budget for budget in budgets if budget.parent == name) for name in names}
