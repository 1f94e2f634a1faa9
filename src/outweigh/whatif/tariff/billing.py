"""The bill of a load under a tariff: month by month, line by line, exact to the tariff's rounding rule.

How a month is billed, in this order: blocks bought ahead, energy by period and tier (or spot), demand with its ratchet
and contract floor, fixed charges, riders, minimum take (take-or-pay), minimum bill, taxes, rounding. Energy sums are
whole milliwatt-hours and prices decimals, so nothing is lost before the rule rounds.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal, localcontext
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from outweigh.core.errors import GapsTooLarge, InvalidQuantity, SeriesMismatch
from outweigh.core.quantities import Money
from outweigh.core.series import Gap, PriceSeries
from outweigh.whatif.tariff.clocks import (
    Calendar,
    Month,
    Schedule,
    after,
    calendar,
    grain_minutes,
    label,
    offsets,
    schedule,
)
from outweigh.whatif.tariff.load import MILLI_WH_PER_KWH, Load, power_mw_per_step
from outweigh.whatif.tariff.terms import (
    BEFORE_TAXES,
    Block,
    DemandCharge,
    EnergyRate,
    Fixed,
    Kind,
    Levy,
    Per,
    Ratchet,
    Tariff,
    Tier,
    TierUnit,
    TierVolume,
    cost,
    tiered,
)

_NONE = Decimal(0)
_KWH = Decimal(MILLI_WH_PER_KWH)
# Prices of a market come as binary floats; nine decimals of a currency per kWh are more than any market quotes.
_SPOT_DECIMALS = 9
_MINUTE_S = 60
_DIGITS = 60

History = Mapping[str, Mapping[Month, Decimal]]
"""Metered demand [kW] of months before the load, by name of the demand charge: what a ratchet looks back on."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a bill. `amount` is in the bill's currency; `price` is None where no single price made it."""

    month: Month
    kind: Kind
    name: str
    amount: Decimal
    quantity: Decimal | None = None
    unit: str = ""
    price: Decimal | None = None


@dataclass(frozen=True, slots=True)
class Demand:
    """Demand of a month under one charge [kW]: as metered, and as billed after ratchet and contract floor."""

    month: Month
    charge: str
    metered_kw: Decimal
    billed_kw: Decimal


@dataclass(frozen=True, slots=True)
class Bill:
    """An itemised bill. The lines of a month add up to its total, to the last digit.

    Attributes:
        kwh: energy drawn.
        history: demand that ratchets look back on: of the bill's months, and what was given of months before.
        notes: what the bill does not know: months covered in part, ratchets without history.
    """

    tariff: str
    currency: str
    months: tuple[Month, ...]
    lines: tuple[Line, ...]
    demands: tuple[Demand, ...]
    kwh: Decimal
    notes: tuple[str, ...] = ()
    history: History = field(default_factory=dict)

    @property
    def total(self) -> Decimal:
        return sum((line.amount for line in self.lines), _NONE)

    @property
    def money(self) -> Money:
        """The total as a value type; `total` is the exact one."""
        return Money(float(self.total), self.currency)

    def of(self, kind: Kind) -> Decimal:
        return sum((line.amount for line in self.lines if line.kind is kind), _NONE)

    def by_kind(self) -> dict[Kind, Decimal]:
        return {kind: self.of(kind) for kind in Kind}

    def month_total(self, month: Month) -> Decimal:
        return sum((line.amount for line in self.lines if line.month == month), _NONE)

    @property
    def average_price(self) -> Decimal | None:
        """Total over energy [currency/kWh]; None where nothing was drawn."""
        return self.total / self.kwh if self.kwh else None


def bill(tariff: Tariff, load: Load, *, history: History | None = None, spot: PriceSeries | None = None) -> Bill:
    """What `load` costs under `tariff`.

    Args:
        history: demand of earlier months [kW], by charge; without it a ratchet only sees the load's own months, and
            the bill says so.
        spot: prices of the market [currency/kWh], where the tariff has a spot part.

    Returns:
        The bill, rounded by the tariff's rule.

    Raises:
        InvalidQuantity: the time-of-use schedule has a hole or an overlap, demand windows do not fit the load, energy
            is drawn that no term prices, or the history is of a charge that the tariff does not have.
        GapsTooLarge: a spot price of the load's time is missing.
        SeriesMismatch: the spot prices are in another currency.
    """
    with localcontext() as context:
        context.prec = _DIGITS
        return _Billing(tariff, load, history or {}, spot).bill()


@dataclass(slots=True)
class _Sheet:
    """The lines of one month, before rounding."""

    month: Month
    lines: list[Line] = field(default_factory=list)

    def put(
        self,
        kind: Kind,
        name: str,
        amount: Decimal,
        quantity: Decimal | None = None,
        unit: str = "",
        price: Decimal | None = None,
    ) -> None:
        self.lines.append(Line(self.month, kind, name, amount, quantity, unit, price))

    def sum(self, kinds: Iterable[Kind]) -> Decimal:
        wanted = frozenset(kinds)
        return sum((line.amount for line in self.lines if line.kind in wanted), _NONE)


class _Billing:
    def __init__(self, tariff: Tariff, load: Load, history: History, spot: PriceSeries | None) -> None:
        names = [charge.name for charge in tariff.demand]
        if unknown := sorted(set(history) - set(names)):
            remedy = f"the tariff's are {', '.join(map(repr, names)) or 'none'}"
            raise InvalidQuantity("demand charge of earlier months", repr(unknown[0]), remedy)
        self._tariff, self._history = tariff, history
        self._known: dict[str, dict[Month, Decimal]] = {}
        self._load = load.split(_parts(tariff, load))
        self._calendar: Calendar = calendar(
            tariff.timezone, self._load.start_s, self._load.step_s, len(self._load), tariff.holidays
        )
        self._spot = None if tariff.spot is None else _spot_prices(tariff, self._load, spot)
        self._sheets = [_Sheet(month) for month in self._calendar.months]
        self._demands: list[Demand] = []
        self._notes: list[str] = []

    def bill(self) -> Bill:
        drawn = self._load.milli_wh
        per_month = self._per_month(drawn)
        peaks = {charge.name: self._peaks(charge) for charge in self._tariff.demand}
        rest = drawn
        for block in self._tariff.blocks:
            rest = self._bill_block(block, rest)
        self._check_priced(rest)
        self._bill_energy(rest)
        if self._tariff.spot is not None:
            self._bill_spot(rest)
        for charge in self._tariff.demand:
            self._bill_demand(charge, peaks[charge.name])
        for index, sheet in enumerate(self._sheets):
            kwh = Decimal(int(per_month[index])) / _KWH
            for fixed in self._tariff.fixed:
                _bill_fixed(sheet, fixed, self._calendar.days[index])
            for rider in self._tariff.riders:
                _bill_levy(sheet, Kind.RIDER, rider, kwh)
            self._bill_minimum_take(index, per_month)
            if self._tariff.minimum_bill is not None:
                short = self._tariff.minimum_bill - sheet.sum(BEFORE_TAXES)
                if short > 0:
                    sheet.put(Kind.MINIMUM, "minimum bill", short)
        for index, sheet in enumerate(self._sheets):
            self._round(sheet)
            kwh = Decimal(int(per_month[index])) / _KWH
            for tax in self._tariff.taxes:
                _bill_levy(sheet, Kind.TAX, tax, kwh)
            self._round(sheet)
            self._round_sum(sheet)
        self._note_parts()
        return Bill(
            tariff=self._tariff.name,
            currency=self._tariff.currency,
            months=self._calendar.months,
            lines=tuple(line for sheet in self._sheets for line in sheet.lines),
            demands=tuple(self._demands),
            kwh=Decimal(int(drawn.sum())) / _KWH,
            notes=tuple(self._notes),
            history=self._known,
        )

    def _per_month(self, milli_wh: NDArray[np.int64]) -> NDArray[np.int64]:
        sums: NDArray[np.int64] = np.add.reduceat(milli_wh, self._calendar.starts)
        return sums

    # --- energy -------------------------------------------------------------------------------------

    def _bill_block(self, block: Block, drawn: NDArray[np.int64]) -> NDArray[np.int64]:
        """Bills a block and returns what it leaves to the other terms."""
        step = Decimal(1) / power_mw_per_step(self._load)
        bought_each = int((block.kw * _KWH * step).to_integral_value())
        where = schedule([(block.name, block.windows)], complete=False).reshape(-1)[self._calendar.slot] == 0
        bought = np.where(where, bought_each, 0)
        taken = np.minimum(drawn, bought)
        paid = bought if block.take_or_pay else taken
        for index, milli_wh in enumerate(self._per_month(paid)):
            kwh = Decimal(int(milli_wh)) / _KWH
            self._sheets[index].put(Kind.ENERGY, block.name, kwh * block.price, kwh, "kWh", block.price)
        if block.take_or_pay and block.resale and self._spot is not None:
            unused = bought - taken
            for index, part in enumerate(self._months(unused)):
                earned = _times(part, self._months(self._spot)[index]) * block.resale
                kwh = Decimal(int(part.sum())) / _KWH
                self._sheets[index].put(Kind.ENERGY, f"{block.name}, sold on", -earned, kwh, "kWh")
        return drawn - taken

    def _check_priced(self, milli_wh: NDArray[np.int64]) -> None:
        """Refuse energy beyond the blocks where nothing else prices it: it would be free in silence."""
        if self._tariff.energy or self._tariff.spot is not None or not milli_wh.any():
            return
        at = datetime.fromtimestamp(self._load.start_s + self._load.step_s * int(np.flatnonzero(milli_wh)[0]), UTC)
        kwh = Decimal(int(milli_wh.sum())) / _KWH
        given = f"{kwh:,.0f} kWh beyond what {self._tariff.name!r} buys in blocks, first at {at.isoformat()},"
        raise InvalidQuantity("load of a tariff of blocks alone", given, "add [[energy]] or [spot], which price it")

    def _bill_energy(self, milli_wh: NDArray[np.int64]) -> None:
        rates = self._tariff.energy
        if not rates:
            return
        period = _energy_schedule(rates).reshape(-1)[self._calendar.slot]
        drawn = [self._per_month(milli_wh if len(rates) == 1 else np.where(period == i, milli_wh, 0)).tolist()
                 for i in range(len(rates))]  # fmt: skip
        shared = self._tariff.tier_volume is TierVolume.MONTH
        in_hours = any(rate.tier_unit is TierUnit.KWH_PER_KW for rate in rates)
        hours_of_use = self._all_peaks() if in_hours else []
        for number, rate in enumerate(rates):
            for index, sheet in enumerate(self._sheets):
                kwh = Decimal(drawn[number][index]) / _KWH
                # What fills the tiers, and this period's share of it.
                filling, share = kwh, Decimal(1)
                if shared and (whole := sum(one[index] for one in drawn)):
                    filling = Decimal(whole) / _KWH
                    share = kwh / filling
                scale = Decimal(1)
                if rate.tier_unit is TierUnit.KWH_PER_KW:
                    scale = hours_of_use[index]
                for tier, part in tiered(filling, rate.tiers, scale) if kwh else ():
                    price, used = rate.tiers[tier].price, part * share
                    sheet.put(Kind.ENERGY, _tier_name(rate.name, rate.tiers, tier), used * price, used, "kWh", price)

    def _bill_spot(self, milli_wh: NDArray[np.int64]) -> None:
        terms, prices = self._tariff.spot, self._spot
        if terms is None or prices is None:
            return
        for index, (part, price) in enumerate(zip(self._months(milli_wh), self._months(prices), strict=True)):
            kwh = Decimal(int(part.sum())) / _KWH
            self._sheets[index].put(Kind.ENERGY, "spot", _times(part, price) * terms.multiplier, kwh, "kWh")
            if terms.adder:
                self._sheets[index].put(Kind.ENERGY, "spot adder", kwh * terms.adder, kwh, "kWh", terms.adder)

    def _months(self, values: NDArray[np.int64]) -> list[NDArray[np.int64]]:
        return np.split(values, self._calendar.starts[1:])

    # --- demand -------------------------------------------------------------------------------------

    def _all_peaks(self) -> list[Decimal]:
        return self._peaks(DemandCharge("all hours", (Tier(None, _NONE),), self._tariff.peak_minutes))

    def _peaks(self, charge: DemandCharge) -> list[Decimal]:
        """Highest mean power over the charge's window in each month [kW]."""
        load = self._load
        window_s = charge.minutes * _MINUTE_S
        slot, starts, power = self._calendar.slot, self._calendar.starts, load.milli_wh
        scale = Decimal(power_mw_per_step(load)) / _KWH
        if load.step_s < window_s:
            if window_s % load.step_s:
                remedy = f"give the load in steps that divide {charge.minutes} min"
                raise InvalidQuantity("demand window", f"{charge.minutes} min over {load.step_s} s steps", remedy)
            # Meters' windows start on the local hour, and a month starts on one, so no window crosses into the next.
            # A change of the clock by half an hour ends a window early: it starts the next one on the new clock.
            edge, changed = self._calendar.local_s // window_s, np.diff(self._calendar.local_s) != load.step_s
            first = np.flatnonzero(np.concatenate(([True], (np.diff(edge) != 0) | changed)))
            power = np.add.reduceat(power, first)
            starts = np.searchsorted(first, starts)
            slot = slot[first]
            scale = Decimal(60 // charge.minutes) / _KWH
        counted = schedule([(charge.name, charge.windows)], complete=False).reshape(-1)[slot] == 0
        highest = np.maximum.reduceat(np.where(counted, power, 0), starts)
        return [Decimal(int(one)) * scale for one in highest]

    def _bill_demand(self, charge: DemandCharge, metered: Sequence[Decimal]) -> None:
        known = self._known[charge.name] = dict(self._history.get(charge.name, {}))
        unseen: list[Month] = []
        for sheet, kw in zip(self._sheets, metered, strict=True):
            floor = _NONE
            if charge.ratchet is not None:
                unseen += [month for month in _looks_back(charge.ratchet, sheet.month) if month not in known]
                floor = floor_kw(charge.ratchet, known, sheet.month)
            billed = max(kw, floor, charge.minimum_kw)
            known[sheet.month] = billed if charge.ratchet is not None and charge.ratchet.of_billed else kw
            if sheet.month[1] not in charge.months:
                continue
            self._demands.append(Demand(sheet.month, charge.name, kw, billed))
            for tier, part in tiered(kw, charge.tiers):
                price = charge.tiers[tier].price
                sheet.put(Kind.DEMAND, _tier_name(charge.name, charge.tiers, tier), part * price, part, "kW", price)
            if billed > kw:
                kind = Kind.RATCHET if floor >= charge.minimum_kw else Kind.MINIMUM
                what = "ratchet" if kind is Kind.RATCHET else "contract floor"
                more = cost(billed, charge.tiers) - cost(kw, charge.tiers)
                sheet.put(kind, f"{charge.name}, {what} to {_short(billed)} kW", more, billed - kw, "kW")
            if charge.contract_kw is not None and kw > charge.contract_kw and charge.excess_price:
                above = kw - charge.contract_kw
                name = f"{charge.name}, above the contract's {_short(charge.contract_kw)} kW"
                sheet.put(Kind.DEMAND, name, above * charge.excess_price, above, "kW", charge.excess_price)
        if unseen:
            self._notes.append(
                f"the ratchet of {charge.name!r} looks back to {label(min(unseen))}; demand of "
                f"{len(set(unseen))} earlier months is not given, so its floor may be higher"
            )

    # --- floors and rounding ------------------------------------------------------------------------

    def _bill_minimum_take(self, index: int, per_month: NDArray[np.int64]) -> None:
        take = self._tariff.minimum_take
        if take is None:
            return
        sheet, months = self._sheets[index], self._calendar.months
        if take.per is Per.MONTH:
            due, drawn = take.kwh, Decimal(int(per_month[index])) / _KWH
        else:
            year = sheet.month[0]
            of_year = [i for i, month in enumerate(months) if month[0] == year]
            if index != of_year[-1]:
                return
            # A load that ends within a year owes the part of the year's take that its months are.
            due = take.kwh * len(of_year) / 12
            drawn = Decimal(sum(int(per_month[i]) for i in of_year)) / _KWH
            if len(of_year) < 12:
                self._notes.append(f"the take of {year} is counted for the {len(of_year)} months of the load")
        if due > drawn:
            short = due - drawn
            sheet.put(Kind.MINIMUM, f"minimum take per {take.per}", short * take.price, short, "kWh", take.price)

    def _round(self, sheet: _Sheet) -> None:
        rule = self._tariff.rounding
        if rule.each_line:
            sheet.lines = [
                Line(one.month, one.kind, one.name, rule(one.amount), one.quantity, one.unit, one.price)
                for one in sheet.lines
            ]

    def _round_sum(self, sheet: _Sheet) -> None:
        total = sheet.sum(Kind)
        if (gap := self._tariff.rounding(total) - total) != 0:
            sheet.put(Kind.ROUNDING, "rounding", gap)

    def _note_parts(self) -> None:
        parts = [label(m) for m, whole in zip(self._calendar.months, self._calendar.whole, strict=True) if not whole]
        if parts:
            self._notes.append(
                f"the load covers {', '.join(parts)} in part: monthly charges and tiers are counted in full there"
            )


def floor_kw(ratchet: Ratchet, known: Mapping[Month, Decimal], month: Month) -> Decimal:
    """The least demand a ratchet bills in a month, by the demand of earlier months as far as it is known [kW]."""
    return ratchet.share * max((known.get(one, _NONE) for one in _looks_back(ratchet, month)), default=_NONE)


def _looks_back(ratchet: Ratchet, month: Month) -> list[Month]:
    back = (after(month, -ago) for ago in range(1, ratchet.months_back + 1))
    return [one for one in back if one[1] in ratchet.of_months]


def _bill_fixed(sheet: _Sheet, fixed: Fixed, days: int) -> None:
    count = Decimal(days if fixed.per is Per.DAY else 1)
    sheet.put(Kind.FIXED, fixed.name, fixed.amount * count, count, str(fixed.per), fixed.amount)


def _bill_levy(sheet: _Sheet, kind: Kind, levy: Levy, kwh: Decimal) -> None:
    if levy.per_kwh is not None:
        sheet.put(kind, levy.name, kwh * levy.per_kwh, kwh, "kWh", levy.per_kwh)
    elif levy.share is not None:
        base = sheet.sum(levy.of)
        sheet.put(kind, levy.name, base * levy.share, base, "of other lines", levy.share)


def _parts(tariff: Tariff, load: Load) -> int:
    """Into how many parts a step is split, so that no part straddles an edge of a window or of a local hour."""
    end_s = load.start_s + load.step_s * len(load)
    changes = offsets(tariff.timezone, load.start_s, end_s)
    step, start = load.step_s / _MINUTE_S, load.start_s // _MINUTE_S
    if step < 1 or step != int(step):
        return 1
    edges = {(start + offset // _MINUTE_S) % 60 for _, offset in changes}
    edges |= {(at // _MINUTE_S - start) % 60 for at, _ in changes}
    return int(step) // math.gcd(int(step), grain_minutes(tariff), *edges)


@lru_cache(maxsize=64)
def _energy_schedule(rates: tuple[EnergyRate, ...]) -> Schedule:
    return schedule([(rate.name, rate.windows) for rate in rates], complete=True)


def _spot_prices(tariff: Tariff, load: Load, spot: PriceSeries | None) -> NDArray[np.int64]:
    """Market price at each step [currency/kWh x 10^9], shape (n,): the mean where a step holds several prices."""
    if spot is None:
        remedy = "give the market's prices of the load's time"
        raise InvalidQuantity("bill", f"{tariff.name!r} has a spot part and no prices were given", remedy)
    if spot.meaning.currency != tariff.currency:
        remedy = "convert at a stated rate first: two currencies never mix in silence"
        raise SeriesMismatch(f"spot prices in {spot.meaning.currency}", f"a tariff in {tariff.currency}", remedy)
    edges = np.asarray(spot.edges_s)
    known = np.array([not isinstance(value, Gap) for value in spot.values])
    values = np.array([0.0 if isinstance(value, Gap) else value for value in spot.values])
    at = load.start_s + load.step_s * np.arange(len(load) + 1, dtype=np.float64)
    if at[0] < edges[0] or at[-1] > edges[-1]:
        outside = float(np.clip(edges[0] - at[0], 0, None) + np.clip(at[-1] - edges[-1], 0, None))
        percent = max(1, round(100 * min(1.0, outside / (at[-1] - at[0]))))
        raise GapsTooLarge("the series of spot prices", _span(load), percent, "Give prices of all of the load's time")
    lacking = np.concatenate(([0.0], np.cumsum(np.where(known, 0.0, np.diff(edges)))))
    if missing := float(np.interp(at[-1], edges, lacking) - np.interp(at[0], edges, lacking)):
        percent = max(1, round(100 * missing / (at[-1] - at[0])))
        remedy = "Fill the gaps and say how; an hour without a price is never free"
        raise GapsTooLarge("the series of spot prices", _span(load), percent, remedy)
    first = np.searchsorted(edges, at[:-1], side="right") - 1
    last = np.searchsorted(edges, at[1:], side="left") - 1
    # Within one slot the price is the slot's, to the digit; only a step over several takes their mean.
    means = values[first]
    if (wide := first != last).any():
        paid = np.concatenate(([0.0], np.cumsum(values * np.diff(edges))))
        means = np.where(wide, np.diff(np.interp(at, edges, paid)) / load.step_s, means)
    whole: NDArray[np.int64] = np.rint(means * 10**_SPOT_DECIMALS).astype(np.int64)
    return whole


def _span(load: Load) -> str:
    return f"{load.start.isoformat()} to {(load.start + timedelta(seconds=load.step_s * len(load))).isoformat()}"


def _times(milli_wh: NDArray[np.int64], price: NDArray[np.int64]) -> Decimal:
    """Sum of energy x price, exact: Python's whole numbers do not overflow."""
    product: Callable[[int, int], int] = operator.mul
    total = sum(map(product, milli_wh.tolist(), price.tolist()))
    return Decimal(total) / _KWH / Decimal(10) ** _SPOT_DECIMALS


def _tier_name(name: str, tiers: tuple[Tier, ...], index: int) -> str:
    return name if len(tiers) == 1 else f"{name}, tier {index + 1}"


def _short(kw: Decimal) -> str:
    """
    >>> _short(Decimal("5600.000000")), _short(Decimal("16.25"))
    ('5,600', '16.25')
    """
    text = f"{kw:,.3f}".rstrip("0").rstrip(".")
    return text or "0"
