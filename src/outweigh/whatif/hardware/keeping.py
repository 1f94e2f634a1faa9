"""Keep or replace: the same yearly work on the devices that are there, and on new ones.

Work is what the old fleet delivers a year, by the roofline (Williams, Waterman, Patterson, CACM 52(4), 2009): both are
taken to reach the same share of their own, so the ratio of time is that of the rates. The carbon of making the old
devices is spent either way and is in neither column; that of the new ones is a debt on their first day. Everything is
linear in years, so break-even is a division. Money is of power and purchase, undiscounted unless a rate is given.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from outweigh.core.constants import J_PER_KWH, S_PER_YEAR
from outweigh.core.errors import InvalidQuantity
from outweigh.core.intervals import Bounds, Estimate
from outweigh.core.measurement import Grade
from outweigh.data.hardware import Device
from outweigh.whatif.estimating.ranges import Model, Ranged, propagate

POWER_OLD, POWER_NEW, SPEED = "power of the old", "power of the new", "speed ratio"
POWER_DOUBT, SPEED_DOUBT = 0.30, 0.30


class Bound(StrEnum):
    """Which roof of the roofline the work hits."""

    ARITHMETIC = "arithmetic"
    MEMORY = "memory"


@dataclass(frozen=True, slots=True)
class Fleet:
    """Devices that are there.

    Attributes:
        busy: share of the year at work, above 0 to 1.
        idle: what an idle device draws, as a share of its rated power; None counts no hum at all.
    """

    device: Device
    count: int
    busy: float
    idle: float | None = None

    def __post_init__(self) -> None:
        if self.count < 1:
            raise InvalidQuantity("number of devices", str(self.count), "1 or more")
        if not 0 <= self.busy <= 1:
            raise InvalidQuantity("busy share", f"{self.busy:g}", "a share of the year: 0 to 1")
        if self.idle is not None and not 0 <= self.idle <= 1:
            raise InvalidQuantity("idle share", f"{self.idle:g}", "a share of the rated power: 0 to 1")


@dataclass(frozen=True, slots=True)
class Replacement:
    """What would stand in their place.

    Attributes:
        count: None takes as few as do the same work in the same busy hours or fewer.
        embodied_kg: carbon of making one [kgCO2e].
        price: of buying and installing one; None where nobody said. `resale` is got for an old one.
    """

    device: Device
    embodied_kg: Ranged
    count: int | None = None
    price: float | None = None
    resale: float = 0.0


@dataclass(frozen=True, slots=True)
class Site:
    """PUE, intensity [gCO2e/kWh, location-based] and price [currency/kWh], each with its range; None is missing."""

    pue: Ranged
    g_per_kwh: Ranged | None
    price_per_kwh: Ranged | None

    def __post_init__(self) -> None:
        self.pue.at_least(1, "a facility draws at least what its machines draw: 1 or more")

    @property
    def known(self) -> tuple[Ranged, ...]:
        return tuple(one for one in (self.pue, self.g_per_kwh, self.price_per_kwh) if one is not None)

    @property
    def exact(self) -> Site:
        """The same, without a range."""
        g, price = self.g_per_kwh, self.price_per_kwh
        return Site(_exact(self.pue), None if g is None else _exact(g), None if price is None else _exact(price))


@dataclass(frozen=True, slots=True)
class Side:
    """One column: over all the years together. None is missing.

    Attributes:
        energy_j: of the facility [J], and its bounds at about 95 %.
        use_g, embodied_g: carbon of use and of making [gCO2e].
        power_money, purchase: in the currency of the site.
    """

    name: str
    device: str
    count: int
    busy: float
    energy_j: Estimate
    use_g: Estimate | None
    embodied_g: Bounds
    power_money: Estimate | None
    purchase: float | None

    @property
    def carbon_g(self) -> Estimate | None:
        """Use and making together: the middle takes the middle of the embodied range."""
        if self.use_g is None:
            return None
        middle = math.sqrt(self.embodied_g.low * self.embodied_g.high)
        return Estimate(
            self.use_g.value + middle,
            Bounds(self.use_g.bounds.low + self.embodied_g.low, self.use_g.bounds.high + self.embodied_g.high),
        )

    @property
    def money(self) -> float | None:
        if self.power_money is None or self.purchase is None:
            return None
        return self.power_money.value + self.purchase


@dataclass(frozen=True, slots=True)
class Flip:
    """Where the answer turns: with `at` of `quantity` both are even over the years asked for.

    `sense` says on which side replacing is better; "never" and "always" are flips that do not exist.
    """

    of: str
    quantity: str
    at: float | None
    unit: str
    sense: str


@dataclass(frozen=True, slots=True)
class Choice:
    """Both columns, keep first, and what separates them.

    Attributes:
        carbon_even_years, money_even_years: after how long replacing has paid itself back; None where it never does or
            a figure is missing; 0 at once. Bounds of the carbon one from the ranges of saving and embodied debt.
    """

    keep: Side
    replacement: Side
    years: float
    carbon_even_years: float | None
    carbon_even_bounds: Bounds | None
    money_even_years: float | None
    flips: tuple[Flip, ...]
    notes: tuple[str, ...]
    grade: Grade = Grade.D


def weigh(fleet: Fleet, new: Replacement, site: Site, years: float, bound: Bound, discount: float = 0.0) -> Choice:
    """Keep the fleet, or replace it, over `years` of the same work.

    Args:
        discount: yearly rate on money, in [0, 1).

    Raises:
        InvalidQuantity: years, rates or counts that cannot be, or too few new devices for the work.
    """
    if not (math.isfinite(years) and years > 0):
        raise InvalidQuantity("horizon", f"{years:g}", "give years above 0")
    if not 0 <= discount < 1:
        raise InvalidQuantity("discount rate", f"{discount:g}", "a share a year: 0 to below 1")
    for name, value in (("purchase price", new.price), ("resale", new.resale)):
        if value is not None and not (math.isfinite(value) and value >= 0):
            raise InvalidQuantity(name, f"{value:g}", "0 or more")
    speed = _rate(new.device, bound) / _rate(fleet.device, bound)
    demand = fleet.count * fleet.busy  # old devices that are busy on average
    count = new.count if new.count is not None else max(1, math.ceil(fleet.count / speed - 1e-9))
    if count < 1 or demand / speed > count * (1 + 1e-9):
        least = max(1, math.ceil(demand / speed - 1e-9))
        raise InvalidQuantity("number of new devices", str(count), f"the work needs {least} or more of them")
    new_busy = demand / speed / count
    inputs = (
        _doubted(POWER_OLD, fleet.device.rated_w, POWER_DOUBT, "W"),
        _doubted(POWER_NEW, new.device.rated_w, POWER_DOUBT, "W"),
        _doubted(SPEED, speed, SPEED_DOUBT, "1"),
    )
    seconds = years * S_PER_YEAR
    pue = site.pue.name

    def old_j(x: Mapping[str, float]) -> float:
        return x[pue] * seconds * x[POWER_OLD] * (demand + (fleet.idle or 0.0) * (fleet.count - demand))

    def new_j(x: Mapping[str, float]) -> float:
        busy = demand / x[SPEED]
        return x[pue] * seconds * x[POWER_NEW] * (busy + (fleet.idle or 0.0) * max(0.0, count - busy))

    def sides(there: Site) -> tuple[Side, Side]:
        return (
            _side(
                "keep (do nothing)", fleet.device.key, fleet.count, fleet.busy, old_j, inputs, there, years, discount
            ),
            _side("replace", new.device.key, count, new_busy, new_j, inputs, there, years, discount),
        )

    keep, other = sides(site)
    other = replace(
        other,
        embodied_g=Bounds(1e3 * count * new.embodied_kg.low, 1e3 * count * new.embodied_kg.high),
        purchase=None if new.price is None else count * new.price - fleet.count * new.resale,
    )
    keep = replace(keep, purchase=0.0)
    even = _carbon_even(*sides(site.exact), other.embodied_g, site, years)
    return Choice(
        keep, other, years, *even, _money_even(keep, other, years, discount),
        tuple(_flips(keep, other, fleet, site, _annuity(years, discount) / years)),
        tuple(_notes(fleet, other, discount)),
    )  # fmt: skip


def _side(
    name: str, device: str, count: int, busy: float, energy: Model, inputs: Sequence[Ranged], site: Site,
    years: float, discount: float,
) -> Side:  # fmt: skip
    def times(factor: Ranged | None, scale: float) -> Estimate | None:
        if factor is None:
            return None
        found = propagate(lambda x: energy(x) * x[factor.name] * scale, [*inputs, site.pue, factor])
        return Estimate(found.value, found.bounds)

    found = propagate(energy, [*inputs, site.pue])
    joules = Estimate(found.value, found.bounds)
    carbon = times(site.g_per_kwh, 1 / J_PER_KWH)
    money = times(site.price_per_kwh, _annuity(years, discount) / years / J_PER_KWH)
    return Side(name, device, count, busy, joules, carbon, Bounds(0.0, 0.0), money, None)


def _annuity(years: float, discount: float) -> float:
    """Years of equal payments, worth today: continuous, at the rate ln(1 + discount)."""
    rate = math.log1p(discount)
    return years if rate == 0 else -math.expm1(-rate * years) / rate


def _exact(one: Ranged) -> Ranged:
    return Ranged.exactly(one.name, one.central, one.unit, one.source, one.grade)


def _doubted(name: str, value: float, doubt: float, unit: str) -> Ranged:
    return Ranged(name, value, value * (1 - doubt), value * (1 + doubt), unit, "data sheets, ± 30 %", Grade.D)


def _rate(device: Device, bound: Bound) -> float:
    return device.flop_per_s if bound is Bound.ARITHMETIC else device.bytes_per_s


def _carbon_even(keep: Side, other: Side, debt: Bounds, site: Site, years: float) -> tuple[float | None, Bounds | None]:
    """Of sides whose bounds are those of the devices alone: what both have in common moves them together."""
    if keep.use_g is None or other.use_g is None or site.g_per_kwh is None:
        return None, None
    middle = math.sqrt(debt.low * debt.high)
    saving = keep.use_g.value - other.use_g.value
    value = _even(middle, saving / years)
    common = (site.pue, site.g_per_kwh)
    least = saving * math.exp(-math.hypot(*(math.log(one.central / one.low) for one in common)))
    most = saving * math.exp(math.hypot(*(math.log(one.high / one.central) for one in common)))
    # Ends of the saving: each fleet at the end of its range that helps, or hurts, by itself, and the site at its own
    # (combined in quadrature).
    down = math.hypot(
        keep.use_g.value - keep.use_g.bounds.low, other.use_g.bounds.high - other.use_g.value, saving - min(least, most)
    )
    up = math.hypot(
        keep.use_g.bounds.high - keep.use_g.value, other.use_g.value - other.use_g.bounds.low, max(least, most) - saving
    )
    soonest, latest = _even(debt.low, (saving + up) / years), _even(debt.high, (saving - down) / years)
    if soonest is None:
        return value, None
    return value, Bounds(soonest, math.inf if latest is None else latest)


def _money_even(keep: Side, other: Side, years: float, discount: float) -> float | None:
    if keep.power_money is None or other.power_money is None or other.purchase is None:
        return None
    per_year = (keep.power_money.value - other.power_money.value) / _annuity(years, discount)
    simple = _even(other.purchase, per_year)
    rate = math.log1p(discount)
    if simple is None or rate == 0:
        return simple
    worth = rate * simple
    return None if worth >= 1 else -math.log1p(-worth) / rate


def _even(debt: float, saving_per_year: float) -> float | None:
    """Years until a debt is saved; None where it never is, 0 where there is none."""
    if debt <= 0:
        return 0.0 if saving_per_year >= 0 else None
    return debt / saving_per_year if saving_per_year > 0 else None


def _flips(keep: Side, other: Side, fleet: Fleet, site: Site, worth: float) -> list[Flip]:
    saved_j = keep.energy_j.value - other.energy_j.value
    kwh = saved_j / J_PER_KWH
    debt_g = math.sqrt(other.embodied_g.low * other.embodied_g.high)
    flips = [_flip("carbon", "carbon intensity", debt_g, kwh, "gCO2e/kWh")]
    if other.purchase is not None:
        flips.append(_flip("money", "price of power", other.purchase, kwh * worth, "per kWh"))
    if site.g_per_kwh is not None and fleet.idle is None and fleet.busy > 0 and kwh > 0:
        # Without a hum the energy of both goes with the busy share, and so does what is saved.
        even = fleet.busy * debt_g / (kwh * site.g_per_kwh.central)
        sense = "replacing is better above it" if even <= 1 else "never: not even devices that are always busy"
        flips.append(Flip("carbon", "busy share", even if even <= 1 else None, "1", sense))
    return flips


def _flip(of: str, quantity: str, debt: float, kwh: float, unit: str) -> Flip:
    if kwh <= 0:
        sense = "never: the new devices draw no less" if debt >= 0 else "keeping is better above it"
        return Flip(of, quantity, None if debt >= 0 or kwh == 0 else debt / kwh, unit, sense)
    if debt <= 0:
        return Flip(of, quantity, None, unit, "always: there is nothing to pay back")
    return Flip(of, quantity, debt / kwh, unit, "replacing is better above it")


def _notes(fleet: Fleet, other: Side, discount: float) -> list[str]:
    notes = [
        "by data sheets and the roofline, nothing here was measured: grade D",
        "the carbon and the money of the old devices are spent either way and stand in no column",
        f"the same work: {other.count} new devices busy {other.busy:.0%} of the time for {fleet.count} old ones busy "
        f"{fleet.busy:.0%}",
    ]
    if fleet.idle is None:
        notes.append("idle devices are taken to draw nothing: --idle counts them")
    if discount:
        notes.append(f"money is worth {discount:.1%} less a year")
    if other.busy < fleet.busy - 1e-9 or other.count < fleet.count:
        notes.append("faster devices invite more work: what they save a unit may be spent on more units (rebound)")
    return notes
