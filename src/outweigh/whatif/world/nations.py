"""National comparisons that do not mix years, nor use with production; and tonnes as a range between countries."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from outweigh.core.errors import FactorMissing, InvalidQuantity, SeriesMismatch
from outweigh.core.quantities import CarbonIntensity, CarbonScope, Energy, LocationCarbon
from outweigh.data.places import CountryYear

_SMALL_TWH = 1.0  # Ember's figures come to 0.01 TWh and 0.01 Mt: below, an intensity is mostly rounding


class Measure(StrEnum):
    """What is counted of a country. They differ by losses, own use of power stations and trade."""

    CONSUMPTION = "consumption"
    GENERATION = "generation"


@dataclass(frozen=True, slots=True)
class National:
    """Electricity of a country in a year [TWh], and what it counts."""

    country: str
    name: str
    year: int
    twh: float
    measure: Measure
    source: str

    def __post_init__(self) -> None:
        if not 0 < self.twh < float("inf"):
            raise InvalidQuantity("electricity of a country", f"{self.twh:g} TWh", "it is a finite figure above 0")


Nations = Mapping[str, Mapping[int, CountryYear]]


def compare(twh: float, year: int, measure: Measure, country: National) -> float:
    """How many times a country's electricity an amount is.

    Args:
        twh: the amount [TWh] in `year`, of `measure`.

    Raises:
        SeriesMismatch: the years differ, or one is use and the other production.

    >>> japan = National("JP", "Japan", 2024, 1034.0, Measure.GENERATION, "declared")
    >>> round(compare(415.0, 2024, Measure.GENERATION, japan), 3)
    0.401
    """
    if year != country.year:
        remedy = f"Take a scenario of {country.year}, or declare what {country.name} has in {year}"
        raise SeriesMismatch(f"a scenario of {year}", f"{country.name} in {country.year}", remedy)
    if measure is not country.measure:
        remedy = f"Declare the {measure} of {country.name}, or ask for a comparison with {country.measure} by its name"
        raise SeriesMismatch(f"{measure} of {year}", f"{country.measure} of {country.name}", remedy)
    return twh / country.twh


def known_countries(nations: Nations, asked: str, year: int) -> National:
    """Generation of a country in a year, from the table that ships.

    Raises:
        FactorMissing: no such country or no such year of it, with the nearest names or the years there are.
    """
    by_name = {next(iter(years.values())).name.casefold(): key for key, years in nations.items()}
    key = asked if asked in nations else by_name.get(asked.casefold(), "")
    if not key:
        wanted = asked.casefold()
        close = difflib.get_close_matches(wanted, [*by_name, *(key.casefold() for key in nations)], n=4)
        keys = dict.fromkeys(by_name.get(one, one.upper()) for one in close)
        names = tuple(f"{near} ({_name(nations, near)})" for near in keys)
        raise FactorMissing("electricity of a country", asked, names, "Write its ISO 3166-1 code, such as JP")
    years = nations[key]
    if year not in years:
        known = tuple(str(one) for one in sorted(years, reverse=True)[:4])
        raise FactorMissing(f"generation of {key}", str(year), known, "Take one of its years, or declare the figure")
    row = years[year]
    return National(key, row.name, year, row.generation_twh, Measure.GENERATION, row.provenance.source)


def _name(nations: Nations, key: str) -> str:
    return next(iter(nations[key].values())).name if key in nations else key


@dataclass(frozen=True, slots=True)
class TonnesRange:
    """Carbon if all of it were drawn in the country with the lowest intensity, and in that with the highest.

    Not an interval with a probability: where the energy is drawn is not known, and both ends are possible places.
    """

    low: LocationCarbon
    high: LocationCarbon
    low_at: str
    high_at: str
    year: int
    source: str


def tonnes_range(
    energy: Energy, nations: Nations, year: int, *, declared: tuple[CarbonIntensity, CarbonIntensity] | None = None
) -> TonnesRange:
    """Tonnes of an amount of electricity, as a range: lowest to highest country of a year, or as declared.

    Countries that generate less than 1 TWh are left out: their intensity is mostly rounding. There is no world average.

    Raises:
        FactorMissing: the table has no country in that year.
        InvalidQuantity: the declared range is upside down.
    """
    if declared is not None:
        low, high = declared
        if high < low:
            given = f"{low.g_per_kwh:g} to {high.g_per_kwh:g} g/kWh"
            raise InvalidQuantity("range of intensity", given, "write the lower one first")
        return TonnesRange(_carbon(energy, low), _carbon(energy, high), "declared", "declared", year, "declared")
    rows = [years[year] for years in nations.values() if year in years and years[year].generation_twh >= _SMALL_TWH]
    if not rows:
        known = tuple(str(one) for one in sorted({year for years in nations.values() for year in years})[-4:])
        raise FactorMissing("intensity of countries", str(year), known, "Take a year of the table, or declare a range")
    first = min(rows, key=lambda row: row.g_per_kwh)
    last = max(rows, key=lambda row: row.g_per_kwh)
    return TonnesRange(
        _carbon(energy, CarbonIntensity(first.g_per_kwh)),
        _carbon(energy, CarbonIntensity(last.g_per_kwh)),
        f"{first.name}, {first.g_per_kwh:g} g/kWh",
        f"{last.name}, {last.g_per_kwh:g} g/kWh",
        year,
        first.provenance.source,
    )


def _carbon(energy: Energy, intensity: CarbonIntensity) -> LocationCarbon:
    if intensity.scope is not CarbonScope.LIFECYCLE:
        raise InvalidQuantity("intensity", str(intensity.scope), "the countries' figures are lifecycle ones")
    carbon = energy * intensity
    if not isinstance(carbon, LocationCarbon):
        raise InvalidQuantity("intensity", str(intensity.basis), "give a location-based one")
    return carbon
