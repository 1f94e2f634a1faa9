"""What a tariff says, as frozen types: energy by time and volume, demand, ratchet, minimum take, riders, taxes.

Money is exact: prices are decimal fractions of the tariff's one currency, as printed. Nothing here is a float.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_EVEN, ROUND_HALF_UP, Decimal, InvalidOperation
from enum import StrEnum
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from outweigh.core.errors import InvalidQuantity
from outweigh.core.quantities import check_currency

ALL_MONTHS = frozenset(range(1, 13))
# Monday is 0; a public holiday is a day of its own, whatever day of the week it falls on.
HOLIDAY = 7
WEEKDAYS, WEEKENDS, ALL_DAYS = frozenset(range(5)), frozenset({5, 6, HOLIDAY}), frozenset(range(8))
DAY_NAMES = ("mon", "tue", "wed", "thu", "fri", "sat", "sun", "holiday")
MINUTES_PER_DAY = 24 * 60
# Meters read quarters of an hour; a window edge between two readings could not be billed.
EDGE_MINUTES = 15
# Over which the peak is averaged that hours of use count, where a tariff says nothing else.
PEAK_MINUTES = 15
# Far beyond any tariff in print, and small enough that every product on a bill keeps all its digits.
_MOST, _MOST_DIGITS = Decimal(10) ** 15, 30
_MOST_MONTHS_BACK = 60


def check_figure(what: str, figure: Decimal | None) -> None:
    """Refuses a price, a power or a share beyond what a bill can carry to its last digit; None is none."""
    if figure is None:
        return
    digits, least = figure.as_tuple().digits, figure.as_tuple().exponent
    # A string exponent is an infinity or no number.
    if isinstance(least, str) or figure.copy_abs() > _MOST or len(digits) > _MOST_DIGITS or least < -_MOST_DIGITS:
        given = f"{figure:.6g}" if len(digits) > _MOST_DIGITS else str(figure)
        remedy = f"write a figure up to {_MOST:.0e}, with at most {_MOST_DIGITS} digits"
        raise InvalidQuantity(what, given, remedy)


def check_minutes(minutes: int) -> None:
    """Refuses a length over which no meter averages demand."""
    if minutes not in (15, 30, 60):
        raise InvalidQuantity("demand window", f"{minutes} min", "demand is metered over 15, 30 or 60 minutes")


class Kind(StrEnum):
    """What a line of a bill is for."""

    ENERGY = "energy"
    DEMAND = "demand"
    RATCHET = "ratchet"
    FIXED = "fixed"
    RIDER = "rider"
    MINIMUM = "minimum"
    TAX = "tax"
    ROUNDING = "rounding"


BEFORE_RIDERS = frozenset({Kind.ENERGY, Kind.DEMAND, Kind.RATCHET, Kind.FIXED})
BEFORE_TAXES = BEFORE_RIDERS | {Kind.RIDER, Kind.MINIMUM}


@dataclass(frozen=True, slots=True)
class Window:
    """Hours of the local clock, `[start, end)` in minutes of the day, on these days of these months."""

    start: int = 0
    end: int = MINUTES_PER_DAY
    days: frozenset[int] = ALL_DAYS
    months: frozenset[int] = ALL_MONTHS

    def __post_init__(self) -> None:
        inside = 0 <= self.start < self.end <= MINUTES_PER_DAY
        if not inside or self.start % EDGE_MINUTES or self.end % EDGE_MINUTES:
            remedy = "hours run from 00:00 to 24:00 in quarters; write a night that passes midnight as two windows"
            raise InvalidQuantity("window of hours", f"{clock(self.start)} to {clock(self.end)}", remedy)


ALWAYS = (Window(),)


@dataclass(frozen=True, slots=True)
class Tier:
    """A price that holds up to a volume; None is without end. The unit of the volume is its group's."""

    up_to: Decimal | None
    price: Decimal


class TierUnit(StrEnum):
    """What the limits of energy tiers count: the month's kWh, or its hours of use (kWh per kW of the month's peak).

    That peak is the highest of all hours, whatever hours the demand charges count; `Tariff.peak_minutes` averages it.
    """

    KWH = "kWh"
    KWH_PER_KW = "kWh/kW"


class TierVolume(StrEnum):
    """What fills the tiers of energy: the month of each time-of-use period, or the month of all of them together.

    Under MONTH the tiers are filled once, with all of the month, and each tier is shared out over the periods by their
    use. So does the calculator of NREL's System Advisor Model.
    """

    PERIOD = "period"
    MONTH = "month"


@dataclass(frozen=True, slots=True)
class EnergyRate:
    """Price of energy [currency/kWh] in the hours of a time-of-use period; its tiers count what `TierVolume` says."""

    name: str
    tiers: tuple[Tier, ...]
    windows: tuple[Window, ...] = ALWAYS
    tier_unit: TierUnit = TierUnit.KWH

    def __post_init__(self) -> None:
        check_tiers(self.tiers, "energy tiers", str(self.tier_unit))


@dataclass(frozen=True, slots=True)
class Ratchet:
    """A floor of the billed demand: a share of the highest one of earlier months.

    Attributes:
        share: of that peak; 0.8 is 80 %.
        months_back: how many months before the billed one count.
        of_months: calendar months whose peaks count; the summer's, say.
        of_billed: count billed demand, which may itself be ratcheted, instead of metered demand.
    """

    share: Decimal
    months_back: int = 11
    of_months: frozenset[int] = ALL_MONTHS
    of_billed: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.share <= 1:
            raise InvalidQuantity("ratchet share", str(self.share), "it lies between 0 and 1 (100 %)")
        if not 1 <= self.months_back <= _MOST_MONTHS_BACK:
            remedy = f"it looks back one month or more, and {_MOST_MONTHS_BACK} at most"
            raise InvalidQuantity("ratchet look-back", f"{self.months_back} months", remedy)


@dataclass(frozen=True, slots=True)
class DemandCharge:
    """A price of the month's highest mean power [currency/kW and month].

    Attributes:
        tiers: limits in kW.
        minutes: length of the window over which power is averaged: 15, 30 or 60.
        windows: when demand counts.
        months: calendar months in which it is charged.
        minimum_kw: least billed demand; a contract's floor.
        contract_kw: agreed capacity.
        excess_price: on top, for each kW above `contract_kw` [currency/kW and month].
    """

    name: str
    tiers: tuple[Tier, ...]
    minutes: int = 15
    windows: tuple[Window, ...] = ALWAYS
    months: frozenset[int] = ALL_MONTHS
    ratchet: Ratchet | None = None
    minimum_kw: Decimal = Decimal(0)
    contract_kw: Decimal | None = None
    excess_price: Decimal = Decimal(0)

    def __post_init__(self) -> None:
        check_tiers(self.tiers, "demand tiers", "kW")
        check_minutes(self.minutes)
        check_figure("excess price", self.excess_price)
        for what, kw in (("minimum demand", self.minimum_kw), ("contract capacity", self.contract_kw or Decimal(0))):
            check_figure(what, kw)
            if kw < 0:
                raise InvalidQuantity(what, f"{kw} kW", "a negative demand cannot be billed; write 0 or more")


class Per(StrEnum):
    """What a fixed charge or a minimum take counts."""

    DAY = "day"
    MONTH = "month"
    YEAR = "year"


@dataclass(frozen=True, slots=True)
class Fixed:
    """A charge that is there whether or not anything is drawn."""

    name: str
    amount: Decimal
    per: Per = Per.MONTH

    def __post_init__(self) -> None:
        check_figure("fixed charge", self.amount)
        if self.per is Per.YEAR:
            raise InvalidQuantity("fixed charge", "per year", "write it per month or per day, as it is billed")


@dataclass(frozen=True, slots=True)
class Levy:
    """A rider or a tax: a price per kWh, or a share of other lines."""

    name: str
    of: frozenset[Kind]
    per_kwh: Decimal | None = None
    share: Decimal | None = None

    def __post_init__(self) -> None:
        check_figure("rider or tax", self.per_kwh)
        check_figure("rider or tax", self.share)
        if (self.per_kwh is None) == (self.share is None):
            raise InvalidQuantity("rider or tax", repr(self.name), "give a price per kWh or a share, one of the two")

    @property
    def may_fall(self) -> bool:
        """Whether it takes a share of a line that falls as load rises, and not of what that line makes up for.

        A ratchet makes up for demand, a minimum for everything before taxes: together with those their sum rises.
        """
        alone = Kind.RATCHET in self.of and Kind.DEMAND not in self.of
        return bool(self.share) and (alone or (Kind.MINIMUM in self.of and not self.of >= BEFORE_TAXES))


@dataclass(frozen=True, slots=True)
class MinimumTake:
    """Take-or-pay: energy [kWh] that is paid for whether or not it is drawn, and the price of what was not."""

    kwh: Decimal
    price: Decimal
    per: Per = Per.MONTH

    def __post_init__(self) -> None:
        check_figure("minimum take", self.kwh)
        check_figure("price of a minimum take", self.price)
        if self.kwh < 0:
            raise InvalidQuantity("minimum take", f"{self.kwh} kWh", "it is 0 or more")


@dataclass(frozen=True, slots=True)
class Block:
    """Energy bought ahead at one price: a PPA or a forward. What is drawn beyond it is billed by the other terms.

    Attributes:
        kw: contracted power in its windows.
        price: [currency/kWh].
        take_or_pay: pay for all of it; otherwise for what is drawn.
        resale: share of the spot price that what was paid and not drawn earns; None where it earns nothing.
    """

    name: str
    kw: Decimal
    price: Decimal
    windows: tuple[Window, ...] = ALWAYS
    take_or_pay: bool = True
    resale: Decimal | None = None

    def __post_init__(self) -> None:
        for what, figure in (("block", self.kw), ("price of a block", self.price), ("resale", self.resale)):
            check_figure(what, figure)
        if self.kw < 0:
            raise InvalidQuantity("block", f"{self.kw} kW", "a block buys 0 kW or more")


@dataclass(frozen=True, slots=True)
class Spot:
    """Energy at the market's price of its hour: spot x multiplier + adder [currency/kWh]."""

    multiplier: Decimal = Decimal(1)
    adder: Decimal = Decimal(0)

    def __post_init__(self) -> None:
        check_figure("multiplier of spot prices", self.multiplier)
        check_figure("adder to spot prices", self.adder)


ROUNDINGS = {"half-up": ROUND_HALF_UP, "half-even": ROUND_HALF_EVEN, "up": ROUND_CEILING, "down": ROUND_FLOOR}


@dataclass(frozen=True, slots=True)
class Rounding:
    """The tariff's rounding rule: to what, how, and whether each line or only the month's sum is rounded."""

    to: Decimal = Decimal("0.01")
    mode: str = "half-up"
    each_line: bool = True

    def __post_init__(self) -> None:
        check_figure("rounding", self.to)
        if self.to <= 0 or self.mode not in ROUNDINGS:
            remedy = f"round to an amount above 0, by {', '.join(ROUNDINGS)}"
            raise InvalidQuantity("rounding", f"{self.mode} to {self.to}", remedy)

    def __call__(self, amount: Decimal) -> Decimal:
        """
        >>> Rounding()(Decimal("26.125")), Rounding(Decimal("0.05"), "down")(Decimal("1.99"))
        (Decimal('26.13'), Decimal('1.95'))
        """
        try:
            steps = (amount / self.to).quantize(Decimal(1), ROUNDINGS[self.mode])
        except InvalidOperation as err:
            remedy = (
                f"it has more digits than a bill carries when it is rounded to {self.to}; check prices and rounding"
            )
            raise InvalidQuantity("amount", f"{amount:.6g}", remedy) from err
        return (steps * self.to).quantize(self.to) if self.to < 1 else steps * self.to


@dataclass(frozen=True, slots=True)
class Tariff:
    """All terms under which a site is billed, by calendar months of its own clock.

    Attributes:
        currency: ISO 4217; every price of the tariff is in it.
        timezone: IANA name of the clock that windows, days and months follow; daylight saving is part of it.
        energy: partition the hours: every quarter of an hour of the year lies in exactly one (`schedules` checks it).
        tier_volume: what fills the tiers of energy; under MONTH the rates of a month have the same limits.
        peak_minutes: over how long the month's peak is averaged that tiers in kWh/kW count: 15, 30 or 60.
        minimum_bill: least sum of a month before taxes.
        source: where the terms are printed.
        left_out: what the source says and the tariff does not hold, named.
    """

    name: str
    currency: str
    timezone: str = "UTC"
    energy: tuple[EnergyRate, ...] = ()
    tier_volume: TierVolume = TierVolume.PERIOD
    demand: tuple[DemandCharge, ...] = ()
    fixed: tuple[Fixed, ...] = ()
    riders: tuple[Levy, ...] = ()
    taxes: tuple[Levy, ...] = ()
    minimum_bill: Decimal | None = None
    minimum_take: MinimumTake | None = None
    blocks: tuple[Block, ...] = ()
    spot: Spot | None = None
    rounding: Rounding = Rounding()
    holidays: frozenset[date] = frozenset()
    source: str = ""
    left_out: tuple[str, ...] = ()
    peak_minutes: int = PEAK_MINUTES

    def __post_init__(self) -> None:
        check_currency(self.currency)
        try:
            ZoneInfo(self.timezone)
        # A folder of the time zone database ("Europe") is an OSError.
        except (ZoneInfoNotFoundError, ValueError, OSError) as err:
            remedy = "write an IANA name such as Europe/Berlin or America/Chicago"
            raise InvalidQuantity("time zone", repr(self.timezone), remedy) from err
        if not (self.energy or self.spot or self.blocks):
            raise InvalidQuantity("tariff", f"{self.name!r} without a price of energy", "add [[energy]] or [spot]")
        names = [charge.name for charge in self.demand]
        if twice := {name for name in names if names.count(name) > 1}:
            raise InvalidQuantity("demand charge", repr(min(twice)), "two charges bear this name; name them apart")
        check_volume(self.energy, self.tier_volume)
        check_minutes(self.peak_minutes)
        check_figure("minimum bill", self.minimum_bill)
        self._check_levies()

    def _check_levies(self) -> None:
        """Refuse a share of lines that come later on the bill: it would be 0 in every month, in silence."""
        later = {Kind.TAX, Kind.ROUNDING}
        if self.minimum_take is not None or self.minimum_bill is not None or not any(d.minimum_kw for d in self.demand):
            later.add(Kind.MINIMUM)
        for rider in self.riders:
            if early := sorted(rider.of & later):
                remedy = "riders come before minimums and taxes: make it a [[tax]], or leave that kind out of 'of'"
                raise InvalidQuantity("rider", f"{rider.name!r} of {', '.join(early)}", remedy)
        for levies, own in ((self.riders, Kind.RIDER), (self.taxes, Kind.TAX)):
            if levies and own in levies[0].of:
                remedy = f"it is the first {own}, and a {own} counts only those above it"
                raise InvalidQuantity(str(own), f"{levies[0].name!r} of {own}", remedy)

    @property
    def contract_kw(self) -> Decimal | None:
        """The tightest agreed capacity."""
        return min((one.contract_kw for one in self.demand if one.contract_kw is not None), default=None)

    @property
    def rises_with_load(self) -> bool:
        """Whether drawing more can never make the bill smaller.

        False where a price may be negative, where tiers count hours of use (a higher peak widens the first, dear
        tier) or are shared over periods of different prices (more cheap hours thin out the dear ones), where what a
        block did not deliver is sold, and where a rider or tax is a share of a ratchet or minimum by itself.
        """
        prices = [
            *(tier.price for rate in self.energy for tier in rate.tiers),
            *(tier.price for charge in self.demand for tier in charge.tiers),
            *(charge.excess_price for charge in self.demand),
            *(levy.per_kwh if levy.per_kwh is not None else levy.share for levy in (*self.riders, *self.taxes)),
            *(block.price for block in self.blocks),
        ]
        take = self.minimum_take
        # A shortfall that costs more than a drawn kWh rewards drawing.
        dearest_shortfall = take is not None and take.price > min(
            (tier.price for rate in self.energy for tier in rate.tiers), default=Decimal(0)
        )
        return not (
            any(price is not None and price < 0 for price in prices)
            or any(rate.tier_unit is TierUnit.KWH_PER_KW for rate in self.energy)
            or (self.tier_volume is TierVolume.MONTH and shares_tiers(self.energy))
            or any(block.resale for block in self.blocks)
            or any(levy.may_fall for levy in (*self.riders, *self.taxes))
            or self.spot is not None
            or dearest_shortfall
            or (take is not None and bool(self.blocks))
        )


def rates_of(rates: tuple[EnergyRate, ...], month: int) -> tuple[int, ...]:
    """Which rates have hours in this month of the calendar, by index."""
    return tuple(i for i, rate in enumerate(rates) if any(month in window.months for window in rate.windows))


def limits(rate: EnergyRate) -> tuple[TierUnit | None, tuple[Decimal | None, ...]]:
    """What the tiers of a rate have to share with those of another to be filled together; one tier has no unit."""
    return rate.tier_unit if len(rate.tiers) > 1 else None, tuple(tier.up_to for tier in rate.tiers)


def check_volume(rates: tuple[EnergyRate, ...], volume: TierVolume) -> None:
    """Refuses tiers that are to be filled by the whole month, and differ between its periods."""
    for month in sorted(ALL_MONTHS) if volume is TierVolume.MONTH else ():
        if len({limits(rates[index]) for index in rates_of(rates, month)}) > 1:
            given = f"periods of month {month} with different limits, and tiers that count the whole month"
            remedy = "give the periods of a month the same limits, or let each count its own"
            raise InvalidQuantity("energy tiers", given, remedy)


def shares_tiers(rates: tuple[EnergyRate, ...]) -> bool:
    """Whether some month has two rates of which one has tiers, so that what fills them matters."""
    return any(
        len(found) > 1 and any(len(rates[index].tiers) > 1 for index in found)
        for found in (rates_of(rates, month) for month in ALL_MONTHS)
    )


def clock(minutes: int) -> str:
    """
    >>> clock(1110)
    '18:30'
    """
    return f"{minutes // 60:02d}:{minutes % 60:02d}"


def check_tiers(tiers: tuple[Tier, ...], what: str, unit: str) -> None:
    """Refuses tiers that overlap, leave a hole or do not reach up to any volume."""
    if not tiers:
        raise InvalidQuantity(what, "none", "give one price, or tiers of which the last has no up_to")
    for tier in tiers:
        check_figure(f"price of {what}", tier.price)
        check_figure(what, tier.up_to)
    below = Decimal(0)
    for tier in tiers[:-1]:
        if tier.up_to is None:
            raise InvalidQuantity(what, "a tier without up_to before the last", "only the last tier is without end")
        if tier.up_to <= below:
            remedy = f"each tier starts where the one before ends: write up_to above {below} {unit}"
            raise InvalidQuantity(what, f"tiers that overlap at {tier.up_to} {unit}", remedy)
        below = tier.up_to
    if tiers[-1].up_to is not None:
        remedy = "leave up_to out of the last tier, or what is drawn beyond it would have no price"
        raise InvalidQuantity(what, f"tiers that end at {tiers[-1].up_to} {unit}", remedy)


def tiered(quantity: Decimal, tiers: tuple[Tier, ...], scale: Decimal = Decimal(1)) -> list[tuple[int, Decimal]]:
    """Parts of a quantity by tier, as (index, part); `scale` multiplies the limits (kW, where they count hours of use).

    >>> tiered(Decimal(300), (Tier(Decimal(250), Decimal(2)), Tier(None, Decimal(1))))
    [(0, Decimal('250')), (1, Decimal('50'))]
    """
    parts, below = [], Decimal(0)
    for index, tier in enumerate(tiers):
        top = quantity if tier.up_to is None else min(quantity, tier.up_to * scale)
        if top > below:
            parts.append((index, top - below))
            below = top
    return parts


def cost(quantity: Decimal, tiers: tuple[Tier, ...]) -> Decimal:
    """What a quantity costs under the tiers."""
    return sum((part * tiers[index].price for index, part in tiered(quantity, tiers)), Decimal(0))
