"""The price of the next run: bill(load + run) - bill(load), split by cause, beside what the average price would say.

A run sets peaks, climbs tiers and fills floors, so the next one rarely costs what the average kWh does. The engine
finds the sign: tiers may fall with volume, demand and contract steps rise, and under a take-or-pay floor a run may be
free. What cools the run is priced on top of the run itself: bill(load + IT + cooling) - bill(load + IT).

A ratchet bills a run's peak for months after it. A load that repeats is repeated to the end of that tail; one that does
not repeat may cut it off, and then the answer says so and only starts with equal tails are compared.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from outweigh.core.constants import G_PER_TONNE
from outweigh.core.errors import InvalidQuantity, PlanInfeasible, SeriesMismatch
from outweigh.core.quantities import CarbonIntensity, Money, Power
from outweigh.core.series import PriceSeries
from outweigh.whatif.tariff.billing import Bill, History, bill
from outweigh.whatif.tariff.cooling import Cooling
from outweigh.whatif.tariff.load import MILLI_WH_PER_KWH, Load, Run, power_mw_per_step
from outweigh.whatif.tariff.tails import Tails, reach, tail_words, tails
from outweigh.whatif.tariff.terms import Kind, Tariff

_HOUR_S = 3600
_LONGEST_EVERY_S = 366 * 24 * 3600
# Each is billed, at some milliseconds: a year of hours takes a minute or two.
MOST_STARTS = 10_000

Progress = Callable[[str, float], None]


def _quiet(_what: str, _share: float) -> None:
    pass


@dataclass(frozen=True, slots=True)
class CarbonPrice:
    """A declared price of carbon [currency/tCO2e] and the intensity of what is drawn."""

    per_tonne: Money
    intensity: CarbonIntensity


@dataclass(frozen=True, slots=True)
class Marginal:
    """What a run adds to the bill.

    Attributes:
        kwh: at the meter, cooling included.
        cooling_kwh: what of it cools.
        parts: what the run's IT adds, by kind of line.
        cooling_parts: what its cooling adds on top of that; with `parts` they sum to `total`, to the last digit.
        naive: kWh x the average price of the bill before the run; None where nothing was drawn before.
        carbon: at the declared price; never part of `total`, which is what the supplier bills.
        peak_kw: the site's highest demand with the run.
        notes: what was done to the load for it.
        left_out: what this figure does not count: a tail that is cut off, starts that do not compare.
    """

    run: Run
    start: datetime
    end: datetime
    kwh: Decimal
    cooling_kwh: Decimal
    currency: str
    parts: dict[Kind, Decimal]
    cooling_parts: dict[Kind, Decimal]
    total: Decimal
    naive: Decimal | None
    carbon: Decimal | None
    peak_kw: float
    before: Bill
    after: Bill
    notes: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()

    @property
    def cooling(self) -> Decimal:
        return sum(self.cooling_parts.values(), Decimal(0))

    @property
    def total_with_carbon(self) -> Decimal:
        return self.total + (self.carbon or Decimal(0))

    @property
    def per_kwh(self) -> Decimal | None:
        return self.total / self.kwh if self.kwh else None

    @property
    def times_naive(self) -> Decimal | None:
        """How many times the average price the run costs."""
        return self.total / self.naive if self.naive else None


@dataclass(frozen=True, slots=True)
class Question:
    """What stays the same while runs are tried: tariff, load at the meter, history, spot prices, carbon price, cooling.

    Without `cooling`, a run's power is its power at the meter; with it, its IT power.

    Attributes:
        repeats: the same load up to another end, where it repeats; a metered one ends where it ends.
        notes: what was done to the load that was asked about.
    """

    tariff: Tariff
    load: Load
    history: History | None = None
    spot: PriceSeries | None = None
    carbon: CarbonPrice | None = None
    cooling: Cooling | None = None
    repeats: Callable[[datetime], Load] | None = None
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.carbon is not None and self.carbon.per_tonne.currency != self.tariff.currency:
            raise SeriesMismatch(
                f"a carbon price in {self.carbon.per_tonne.currency}",
                f"a tariff in {self.tariff.currency}",
                "Declare the carbon price in the tariff's currency",
            )

    def bill(self, load: Load | None = None) -> Bill:
        return bill(self.tariff, load or self.load, history=self.history, spot=self.spot)

    def reaching(self, end: datetime) -> Question:
        """With the load repeated to the end of what ratchets bill of a run that ends then, where it can be.

        A market's prices are known as far as they are given: under a spot tariff the load does not go beyond them.
        """
        until = reach(self.tariff, end)
        if self.repeats is None or until <= self.load.end:
            return self
        if self.tariff.spot is not None and (self.spot is None or self.spot.edges_s[-1] < until.timestamp()):
            return self
        told = f"the load is repeated up to {until:%Y-%m-%d}, as long as a ratchet may bill the run's peak"
        return replace(self, load=self.repeats(until), notes=(told,))

    def carbon_of(self, kwh: Decimal) -> Decimal | None:
        """Carbon of so much energy at its declared price, beside any bill; None where none is declared."""
        return _carbon(self, kwh)

    def cooled(self, drawn: NDArray[np.int64], load: Load | None = None) -> NDArray[np.int64]:
        """What cooling draws on top of IT energy in each step [milliwatt-hours], shape (n,)."""
        load = load or self.load
        if self.cooling is None or self.cooling.free:
            return np.zeros_like(drawn)
        kw_per_milli_wh = power_mw_per_step(load) / MILLI_WH_PER_KWH
        added = self.cooling.added_kw(load.milli_wh * kw_per_milli_wh, drawn * kw_per_milli_wh) / kw_per_milli_wh
        # Rounding the running total, and not each step, keeps the sum.
        total: NDArray[np.int64] = np.rint(np.cumsum(added)).astype(np.int64)
        whole: NDArray[np.int64] = np.diff(total, prepend=np.int64(0))
        return whole


def marginal(question: Question, run: Run) -> Marginal:
    """What `run` adds to the bill of the question's load.

    A load that repeats is repeated as far beyond the run as the tariff's ratchets look back.

    Raises:
        InvalidQuantity: the run does not lie within the load.
    """
    question.load.steps_of(run)
    question = question.reaching(run.end)
    return _difference(question, run, question.load.steps_of(run), question.bill())


def _difference(question: Question, run: Run, drawn: NDArray[np.int64], before: Bill) -> Marginal:
    bare = question.load.adding(drawn)
    cooled = question.cooled(drawn)
    load = bare.adding(cooled)
    after = question.bill(load)
    middle = question.bill(bare) if cooled.any() else after
    kwh = after.kwh - before.kwh
    steps = np.flatnonzero(drawn)
    first, last = (int(steps[0]), int(steps[-1]) + 1) if steps.size else (0, 0)
    price = before.average_price
    return Marginal(
        run=run,
        start=run.start if steps.size else question.load.start,
        end=question.load.start + timedelta(seconds=question.load.step_s * last) if steps.size else run.start,
        kwh=kwh,
        cooling_kwh=Decimal(int(cooled.sum())) / MILLI_WH_PER_KWH,
        currency=question.tariff.currency,
        parts={kind: middle.of(kind) - before.of(kind) for kind in Kind},
        cooling_parts={kind: after.of(kind) - middle.of(kind) for kind in Kind},
        total=after.total - before.total,
        naive=None if price is None else question.tariff.rounding(kwh * price),
        carbon=_carbon(question, kwh),
        peak_kw=int(load.milli_wh[first : max(last, first + 1)].max()) * power_mw_per_step(load) / MILLI_WH_PER_KWH,
        before=before,
        after=after,
        notes=question.notes,
        left_out=tail_words(tails(question.tariff, before, after), after.months[-1]),
    )


def _carbon(question: Question, kwh: Decimal) -> Decimal | None:
    if question.carbon is None:
        return None
    tonnes = kwh * Decimal(repr(question.carbon.intensity.g_per_kwh)) / Decimal(int(G_PER_TONNE))
    return question.tariff.rounding(tonnes * Decimal(repr(question.carbon.per_tonne.amount)))


class Way(StrEnum):
    """When and how a run is done."""

    NOW = "now"
    BEST_START = "best start"
    HELD = "held under the contract"


@dataclass(frozen=True, slots=True)
class _Tried:
    """A start, what the run adds there, carbon included, and the tails that the load cuts off."""

    start: datetime
    cost: Decimal
    tails: Tails


def best_start(
    question: Question, run: Run, latest: datetime, *, every_s: int = _HOUR_S, progress: Progress = _quiet
) -> Marginal:
    """The cheapest of the starts from `run.start` to `latest`, `every_s` [s] apart; the earliest of equals.

    Carbon counts where a price is declared. Starts whose ratchet's tail the load cuts off look cheaper than they are:
    only those are compared whose tails lie within the load, or, where none does, that end in the same months as the
    first one's.

    Raises:
        InvalidQuantity: the run does not lie within the load, or there are more starts than can be billed.
    """
    latest = _last_start(question, run, latest, every_s)
    question = question.reaching(run.at(latest).end)
    return _best_start(question, run, latest, every_s, question.bill(), progress)


def _last_start(question: Question, run: Run, latest: datetime, every_s: int) -> datetime:
    """The last start to look at: not after `latest`, and the run within the load."""
    if not 0 < every_s <= _LONGEST_EVERY_S:
        raise InvalidQuantity("distance of starts", f"{every_s:g} s", "give above 0, and a year at most")
    if latest < run.start:
        raise InvalidQuantity("latest start", latest.isoformat(), "it is not before the run's own start")
    question.load.steps_of(run)
    latest = max(run.start, min(latest, question.load.end - timedelta(seconds=run.seconds)))
    starts = int((latest - run.start).total_seconds()) // every_s + 1
    if starts > MOST_STARTS:
        remedy = f"each is billed: look at {MOST_STARTS:,} at most, further apart or up to an earlier one"
        raise InvalidQuantity("number of starts", f"{starts:,}", remedy)
    return latest


def _best_start(
    question: Question, run: Run, latest: datetime, every_s: int, before: Bill, progress: Progress
) -> Marginal:
    starts = int((latest - run.start).total_seconds()) // every_s + 1
    tried: list[_Tried] = []
    for number in range(starts):
        at = run.start + timedelta(seconds=every_s * number)
        drawn = question.load.steps_of(run.at(at))
        after = question.bill(question.load.adding(drawn + question.cooled(drawn)))
        carbon = _carbon(question, after.kwh - before.kwh) or Decimal(0)
        tried.append(_Tried(at, after.total - before.total + carbon, tails(question.tariff, before, after)))
        progress(f"start {number + 1:,} of {starts:,}", (number + 1) / starts)
    whole = [one for one in tried if not one.tails]
    equal = whole or [one for one in tried if one.tails == tried[0].tails]
    best = run.at(min(equal, key=lambda one: (one.cost, one.start)).start)
    made = _difference(question, best, question.load.steps_of(best), before)
    if len(equal) == len(tried):
        return made
    left = f"{len(tried) - len(equal):,} of {len(tried):,} starts are not compared"
    told = f"{left}: a ratchet may bill them beyond the load; give one that reaches as far as it looks back"
    return replace(made, left_out=(*made.left_out, told))


def held(question: Question, run: Run, limit: Power) -> Marginal:
    """The run from its start on, drawing at each step only what fits under `limit`, until its energy is done.

    It ends later, and sets no peak above the limit. The run must stand being slowed down.

    Raises:
        PlanInfeasible: what fits before the load ends is less than the run needs.
    """
    drawn = _held_steps(question, run, limit)
    wide = question.reaching(_end_of(question, drawn))
    if wide is not question:
        question, drawn = wide, _held_steps(wide, run, limit)
    return _difference(question, run, drawn, question.bill())


def _end_of(question: Question, drawn: NDArray[np.int64]) -> datetime:
    steps = np.flatnonzero(drawn)
    return question.load.start + timedelta(seconds=question.load.step_s * (int(steps[-1]) + 1 if steps.size else 1))


def _held_steps(question: Question, run: Run, limit: Power) -> NDArray[np.int64]:
    load = question.load
    per_step = power_mw_per_step(load)
    room = np.maximum(int(limit.watts * 1e3) // per_step - load.milli_wh, 0)
    if question.cooling is not None and not question.cooling.free:
        kw = per_step / MILLI_WH_PER_KWH
        most_it, it = question.cooling.it_kw(limit.to_kw()), question.cooling.it_kw(load.milli_wh * kw)
        # Two milliwatt-hours less than fit, so that rounding cannot pass the limit.
        room = np.maximum(np.floor((most_it - it) / kw).astype(np.int64) - 2, 0)
    most = round(run.power.watts * 1e3) // per_step
    begins = (run.start.timestamp() - load.start_s) / load.step_s
    first = int(np.ceil(begins))
    room = np.where(np.arange(len(load)) < first, 0, np.minimum(room, most))
    need = round(run.energy.joules / _HOUR_S * 1e3)
    total = np.cumsum(room)
    if int(total[-1]) < need:
        short = (need - int(total[-1])) / MILLI_WH_PER_KWH
        remedy = "Give a load that reaches further, a lower power, or more capacity"
        raise PlanInfeasible(f"{run.name} does not fit under {limit.to_kw():g} kW", f"{short:,.0f} kWh", remedy)
    drawn: NDArray[np.int64] = np.diff(np.minimum(total, need), prepend=0)
    return drawn


def ways(
    question: Question, run: Run, latest: datetime, *, every_s: int = _HOUR_S, progress: Progress = _quiet
) -> dict[Way, Marginal]:
    """The run now, at its best start, and (where the tariff names a contract and it fits) held under the contract.

    All on one load, so that they compare: it is repeated to the end of the longest tail.
    """
    latest = _last_start(question, run, latest, every_s)
    question = question.reaching(run.at(latest).end)
    drawn, contract = None, question.tariff.contract_kw
    if contract is not None:
        try:
            drawn = _held_steps(question, run, Power.kw(float(contract)))
            question = question.reaching(_end_of(question, drawn))
            drawn = _held_steps(question, run, Power.kw(float(contract)))
        except PlanInfeasible:
            drawn = None
    before = question.bill()
    found = {
        Way.NOW: _difference(question, run, question.load.steps_of(run), before),
        Way.BEST_START: _best_start(question, run, latest, every_s, before, progress),
    }
    if drawn is not None:
        found[Way.HELD] = _difference(question, run, drawn, before)
    return found


class Slope(StrEnum):
    """Where the price of one more run goes as there are more of them."""

    FALLS = "falls"
    RISES = "rises"
    FLAT = "stays the same"
    MIXED = "falls and rises"


@dataclass(frozen=True, slots=True)
class Step:
    """The n-th run of the month.

    Attributes:
        cost: of this run, after the ones before it.
        parts: of its IT, by kind.
        cooling: what its cooling adds on top.
        crosses: the contract's capacity is passed by this run for the first time.
    """

    number: int
    cost: Decimal
    parts: dict[Kind, Decimal]
    cooling: Decimal
    peak_kw: float
    crosses: bool


@dataclass(frozen=True, slots=True)
class Curve:
    """Marginal cost over the number of runs, and where it goes."""

    steps: tuple[Step, ...]
    slope: Slope
    currency: str
    notes: tuple[str, ...] = ()

    @property
    def edge(self) -> Step | None:
        """The run that passes the contract."""
        return next((step for step in self.steps if step.crosses), None)


def curve(question: Question, run: Run, runs: int, *, progress: Progress = _quiet) -> Curve:
    """What the first, second … n-th run of the month costs, all side by side from the run's start on."""
    if runs < 1:
        raise InvalidQuantity("number of runs", str(runs), "ask for one or more")
    question.load.steps_of(run)
    question = question.reaching(run.end)
    each = question.load.steps_of(run)
    before, steps = question.bill(), list[Step]()
    none = before
    contract = question.tariff.contract_kw
    passed = contract is not None and question.load.peak_kw > contract
    load = question.load
    for number in range(1, runs + 1):
        bare, cooled = load.adding(each), question.cooled(each, load)
        load = bare.adding(cooled)
        after = question.bill(load)
        middle = question.bill(bare) if cooled.any() else after
        above = contract is not None and load.peak_kw > contract
        steps.append(
            Step(
                number=number,
                cost=after.total - before.total,
                parts={kind: middle.of(kind) - before.of(kind) for kind in Kind},
                cooling=after.total - middle.total,
                peak_kw=load.peak_kw,
                crosses=above and not passed,
            )
        )
        before, passed = after, above
        progress(f"run {number:,} of {runs:,}", number / runs)
    cut = tail_words(tails(question.tariff, none, before), before.months[-1])
    return Curve(
        tuple(steps),
        slope([step.cost for step in steps], question.tariff.rounding.to),
        question.tariff.currency,
        notes=(*question.notes, *before.notes, *cut),
    )


def slope(costs: Sequence[Decimal], grain: Decimal) -> Slope:
    """Where a row of costs goes; changes that rounding alone can make are none.

    >>> slope([Decimal(5), Decimal(4), Decimal(4)], Decimal("0.01")), slope([Decimal(1), Decimal(1)], Decimal("0.01"))
    (<Slope.FALLS: 'falls'>, <Slope.FLAT: 'stays the same'>)
    """
    # Each bill has some dozens of rounded lines, each half a grain off at most.
    noise = grain * 50
    changes = [after - before for before, after in pairwise(costs)]
    falls, rises = any(one < -noise for one in changes), any(one > noise for one in changes)
    if falls and rises:
        return Slope.MIXED
    return Slope.FALLS if falls else Slope.RISES if rises else Slope.FLAT
