"""Technologies weighed against the one in place: savings with limits, payback, and the points where the sign flips."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from outweigh.core.constants import G_PER_TONNE, J_PER_KWH
from outweigh.core.errors import InvalidQuantity, UsageError
from outweigh.core.quantities import CarbonIntensity, Power, check_currency
from outweigh.whatif.cooling.plant import Rejection, Technology, Year, over_year, plant_of
from outweigh.whatif.cooling.weather import Weather

_L_PER_M3 = 1000.0
_LOADS = np.linspace(0.05, 1.0, 20)
_SHIFTS_K = np.linspace(-20.0, 20.0, 21)
_HALVINGS = 30
_LEAST_PRICE = 1e-9


@dataclass(frozen=True, slots=True)
class Limits:
    """A parameter with the limits it lies between; anything between them alike."""

    value: float
    low: float
    high: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.low) and self.low <= self.value <= self.high < math.inf):
            given = f"{self.value:g} between {self.low:g} and {self.high:g}"
            raise InvalidQuantity("parameter", given, "low <= value <= high, all finite")


Parameters = Mapping[str, Mapping[str, Limits]]
"""Technology (or "all") -> parameter -> limits."""


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure and about where it lies (95 %), by the limits of the parameters; they are modelled, grade D."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Money:
    """Prices, declared. Yearly rent of capital is by annuity at `rate` over `years`.

    Attributes:
        per_kwh: of electricity [currency/kWh].
        per_tonne, intensity: of carbon, location-based; None where it is not priced.
        water_per_m3, heat_per_kwh: of water bought and heat sold.
        capex_per_kw: extra capital over the technology in place [currency per kW of IT under air]; absent: not known.
    """

    currency: str
    per_kwh: float
    intensity: CarbonIntensity | None = None
    per_tonne: float = 0.0
    water_per_m3: float = 0.0
    heat_per_kwh: float = 0.0
    capex_per_kw: Mapping[Technology, float] = field(default_factory=dict)
    years: float = 10.0
    rate: float = 0.0

    def __post_init__(self) -> None:
        check_currency(self.currency)
        for name, value in (("price of carbon", self.per_tonne), ("price of water", self.water_per_m3)):
            if not 0 <= value < math.inf:
                raise InvalidQuantity(name, f"{value:g}", "it is 0 or more")
        if not (math.isfinite(self.per_kwh) and math.isfinite(self.heat_per_kwh)):
            raise InvalidQuantity("price", f"{self.per_kwh:g}", "it is a finite number")
        if not 0 < self.years <= 100 or not 0 <= self.rate < 1:
            given = f"{self.years:g} years at {self.rate:g}"
            raise InvalidQuantity("term", given, "years above 0 and up to 100, a rate from 0 to below 1")
        if self.per_tonne > 0 and self.intensity is None:
            raise UsageError("a price of carbon needs an intensity", 'Give --intensity "350 gCO2e/kWh"')

    @property
    def annuity(self) -> float:
        """Share of the capital that is due each year."""
        if self.rate == 0:
            return 1 / self.years
        # The same as r / (1 - (1 + r) ** -n), without the loss of digits at small rates.
        return self.rate / -math.expm1(-self.years * math.log1p(self.rate))

    def of(self, year: Year) -> float:
        """Running cost of a year: electricity, carbon, water, less heat sold."""
        kwh = year.facility_j / J_PER_KWH
        carbon = 0.0 if self.intensity is None else self.per_tonne * self.intensity.g_per_kwh / G_PER_TONNE
        heat = self.heat_per_kwh * year.reused_j / J_PER_KWH
        return kwh * (self.per_kwh + carbon) + self.water_per_m3 * year.water_l / _L_PER_M3 - heat


@dataclass(frozen=True, slots=True)
class Hall:
    """What stays the same while technologies are tried.

    Attributes:
        it: IT power at full load under air, server fans included.
        now: the technology in place: its row is what doing nothing gives.
        share: of the hall that is converted, 0 to 1; at 0 every row is the first one.
        reuse: share of the heat of the warmest loop that is handed on by the converted part.
    """

    it: Power
    weather: Weather
    rejection: Rejection = Rejection.WET
    now: Technology = Technology.AIR
    share: float = 1.0
    reuse: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.share <= 1:
            raise InvalidQuantity("share that is converted", f"{self.share:g}", "it lies between 0 and 1")


@dataclass(frozen=True, slots=True)
class Option:
    """A technology, per year of 8,760 h.

    Attributes:
        saved_j, saved_l, saved: against the technology in place; negative is more.
        capex: extra capital; None where not declared.
        payback_years: capex over savings; None where not known, infinite where nothing is saved.
        most_capex_per_kw: the extra capital per kW of IT that the savings carry, over the term.
        flips: by "load" [1], "temperature" [K warmer] and "price" [currency/kWh]: where the saving, rent of capital
            paid, changes its sign; empty where it does not within what was looked at.
    """

    technology: Technology
    year: Year
    pue: Figure
    tue: Figure
    facility_j: Figure
    saved_j: Figure
    saved_l: float
    saved: float | None
    capex: float | None
    payback_years: float | None
    most_capex_per_kw: float | None
    flips: Mapping[str, tuple[float, ...]]


def weigh(hall: Hall, parameters: Parameters, money: Money | None = None) -> tuple[Option, ...]:
    """All technologies against the one in place, which comes first.

    Raises:
        UsageError: a parameter is unknown or missing.
        InvalidQuantity: one cannot be what it is said to be.
    """
    order = [hall.now, *(one for one in Technology if one is not hall.now)]
    values = {key: {name: one.value for name, one in rows.items()} for key, rows in parameters.items()}
    yearly = 1 / hall.weather.years
    base = {one: _year(hall, values, one) for one in order}
    moved = [_moved(hall, values, order, key, name, one) for key, name, one in _uncertain(parameters)]
    found = []
    for one in order:
        year = base[one]
        saved = base[hall.now].facility_j - year.facility_j
        spread = [(low[one], high[one], low[hall.now], high[hall.now]) for low, high in moved]
        money_saved = None if money is None else (money.of(base[hall.now]) - money.of(year)) * yearly
        capex = _capex(hall, money, one)
        found.append(
            Option(
                technology=one,
                year=year,
                pue=_figure(year.pue, [(low.pue, high.pue) for low, high, _, _ in spread], 1.0),
                tue=_figure(year.tue, [(low.tue, high.tue) for low, high, _, _ in spread], 1.0),
                facility_j=_scaled(
                    _figure(year.facility_j, [(low.facility_j, high.facility_j) for low, high, _, _ in spread], 0.0),
                    yearly,
                ),
                saved_j=_scaled(
                    _figure(
                        saved,
                        [(a.facility_j - low.facility_j, b.facility_j - high.facility_j) for low, high, a, b in spread],
                        -math.inf,
                    ),
                    yearly,
                ),
                saved_l=(base[hall.now].water_l - year.water_l) * yearly,
                saved=money_saved,
                capex=capex,
                payback_years=_payback(capex, money_saved),
                most_capex_per_kw=_most_capex(hall, money, money_saved, one),
                flips={} if one is hall.now or hall.share == 0 else _flips(hall, values, one, money),
            )
        )
    return tuple(found)


def _year(hall: Hall, values: Mapping[str, Mapping[str, float]], technology: Technology) -> Year:
    def of(one: Technology, reuse: float) -> Year:
        # The server fans of air are those that liquid takes away.
        own = {**values.get("all", {}), **values.get(Technology.AIR, {}), **values.get(one, {})}
        return over_year(plant_of(own), hall.weather, hall.it, hall.rejection, reuse)

    now = of(hall.now, 0.0)
    return now if technology is hall.now else now.mixed(of(technology, hall.reuse), hall.share)


def _uncertain(parameters: Parameters) -> list[tuple[str, str, Limits]]:
    return [(key, name, one) for key, rows in parameters.items() for name, one in rows.items() if one.low < one.high]


def _moved(
    hall: Hall, values: Mapping[str, Mapping[str, float]], order: Sequence[Technology], key: str, name: str, one: Limits
) -> tuple[dict[Technology, Year], dict[Technology, Year]]:
    """Every technology with one parameter at its low and at its high limit, the others as they are."""
    low, high = ({**values, key: {**values[key], name: end}} for end in (one.low, one.high))
    return {each: _year(hall, low, each) for each in order}, {each: _year(hall, high, each) for each in order}


def _figure(value: float, ends: Sequence[tuple[float, float]], floor: float) -> Figure:
    """Twice the combined standard uncertainty of rectangular parameters (JCGM 100:2008, 4.3.7 and 5.1.2)."""
    half = [(high - low) / 2 for low, high in ends]
    spread = 2 * math.sqrt(math.fsum(one * one / 3 for one in half))
    return Figure(value, max(floor, value - spread), value + spread)


def _scaled(figure: Figure, by: float) -> Figure:
    return Figure(figure.value * by, figure.low * by, figure.high * by)


def _capex(hall: Hall, money: Money | None, technology: Technology) -> float | None:
    if technology is hall.now or hall.share == 0:
        return 0.0
    if money is None or technology not in money.capex_per_kw:
        return None
    return money.capex_per_kw[technology] * hall.it.to_kw() * hall.share


def _payback(capex: float | None, saved: float | None) -> float | None:
    if capex is None or saved is None or (capex == 0 and saved == 0):
        return None
    if capex <= 0:
        return 0.0
    return capex / saved if saved > 0 else math.inf


def _most_capex(hall: Hall, money: Money | None, saved: float | None, technology: Technology) -> float | None:
    if money is None or saved is None or technology is hall.now or hall.share == 0:
        return None
    return saved / money.annuity / (hall.it.to_kw() * hall.share)


def _flips(
    hall: Hall, values: Mapping[str, Mapping[str, float]], technology: Technology, money: Money | None
) -> dict[str, tuple[float, ...]]:
    """Where the yearly saving less the rent of capital changes its sign; in energy where there are no prices."""
    capex = _capex(hall, money, technology)
    rent = 0.0 if money is None or capex is None else capex * money.annuity

    def gain(weather: Weather) -> float:
        moved = replace(hall, weather=weather)
        now, then = _year(moved, values, hall.now), _year(moved, values, technology)
        if money is None:
            return (now.facility_j - then.facility_j) / weather.years
        return (money.of(now) - money.of(then)) / weather.years - rent

    found = {
        "load": _crossings(lambda load: gain(hall.weather.at_load(load)), _LOADS),
        "temperature": _crossings(lambda by_k: gain(hall.weather.warmer(by_k)), _SHIFTS_K),
    }
    if money is not None:
        now, then = _year(hall, values, hall.now), _year(hall, values, technology)
        kwh = (now.facility_j - then.facility_j) / J_PER_KWH / hall.weather.years
        rest = (money.of(now) - money.of(then)) / hall.weather.years - rent - kwh * money.per_kwh
        # In the price the gain is a line: it crosses once, or never. At a price of 0 every saving is nothing.
        crossing = -rest / kwh if kwh != 0 else -1.0
        found["price"] = (crossing,) if crossing > _LEAST_PRICE else ()
    return found


def _crossings(of: Callable[[float], float], grid: Sequence[float] | np.ndarray) -> tuple[float, ...]:
    values = [of(float(at)) for at in grid]
    found = []
    for (left, at_left), (right, at_right) in zip(
        zip(grid[:-1], values[:-1], strict=True), zip(grid[1:], values[1:], strict=True), strict=True
    ):
        if at_left == 0 or at_left * at_right >= 0:
            continue
        low, high = float(left), float(right)
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            low, high = (middle, high) if of(middle) * at_left > 0 else (low, middle)
        found.append((low + high) / 2)
    return tuple(found)
