"""Small tables of places: countries by year, names of zones, cloud regions, governance, typical days, wholesale prices.

docs/grid.md says where every row comes from; `scripts/build_grid_tables.py` rebuilds them. An absent key is absent:
there is no world average.

>>> country_years()["DE"][2024].name, zone_names()["CL-SIC"].now
('Germany', 'CL-SEN')
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from types import MappingProxyType

from outweigh.core.measurement import Grade
from outweigh.core.quantities import Price
from outweigh.data.tables import Provenance


@dataclass(frozen=True, slots=True)
class CountryYear:
    """Generation of a country in a year: mean intensity (average, lifecycle, production-based) and its mix.

    Attributes:
        mix_pct: fuel -> share of generation [%]; "other" is what the named fuels leave (biomass, geothermal, waste).
            A fuel the source has no figure for is absent.
    """

    zone: str
    name: str
    year: int
    g_per_kwh: float
    generation_twh: float
    mix_pct: Mapping[str, float]
    provenance: Provenance


@dataclass(frozen=True, slots=True)
class ZoneName:
    """A name of a zone within a country; `now` is what a renamed one is called today, and `note` what happened."""

    zone: str
    name: str
    country: str
    now: str
    note: str
    source: str


@dataclass(frozen=True, slots=True)
class CloudRegion:
    """A region of a cloud ("aws:eu-central-1"): where it lies [degrees, WGS 84] and in which grid zone.

    `zone` is "" where none was found; `zone_basis` says how it was. Factors are those published: "WUE" [L/kWh],
    "CFE" [share of hours, 1]; PUE is in `outweigh.data.tables.region_pues`.
    """

    region: str
    name: str
    country: str
    latitude: float | None
    longitude: float | None
    zone: str
    zone_basis: str
    factors: Mapping[str, tuple[float, Provenance]]
    provenance: Provenance


@dataclass(frozen=True, slots=True)
class GovernanceRow:
    """A World Bank governance indicator: estimate (about -2.5 to 2.5, higher is better) and percentile rank."""

    zone: str
    quantity: str
    score: float
    percentile: float | None
    provenance: Provenance


@dataclass(frozen=True, slots=True)
class WholesaleYear:
    """Mean day-ahead price of a year, over the `cases` hours that are known."""

    zone: str
    area: str
    value: Price
    year: int
    cases: int
    provenance: Provenance


@dataclass(frozen=True, slots=True)
class TypicalDay:
    """Mean intensity [gCO2e/kWh] of the 24 UTC hours of a UTC month, of the year in `provenance`."""

    zone: str
    month: int
    hours: tuple[float, ...]
    provenance: Provenance


_FUELS = ("coal", "gas", "oil", "nuclear", "hydro", "wind", "solar", "other")
_MIX = tuple((fuel, f"{fuel}_pct") for fuel in _FUELS)


@cache
def country_years() -> Mapping[str, Mapping[int, CountryYear]]:
    """Country (ISO 3166-1 alpha-2) -> year -> row."""
    found: dict[str, dict[int, CountryYear]] = {}
    for row in _rows("country_electricity.csv"):
        shares = {fuel: float(row[column]) for fuel, column in _MIX if row[column]}
        year = int(row["year"])
        found.setdefault(row["zone"], {})[year] = CountryYear(
            row["zone"],
            row["name"],
            year,
            float(row["value"]),
            float(row["generation_twh"]),
            MappingProxyType(shares),
            _provenance(row),
        )
    return MappingProxyType({zone: MappingProxyType(years) for zone, years in found.items()})


@cache
def zone_names() -> Mapping[str, ZoneName]:
    """Zone within a country, or old name -> row."""
    rows = (
        ZoneName(row["zone"], row["name"], row["country"], row["now"], row["note"], row["source"])
        for row in _rows("zone_name.csv")
    )
    return MappingProxyType({row.zone: row for row in rows})


@cache
def cloud_regions() -> Mapping[str, CloudRegion]:
    """Region ("provider:region") -> row."""
    factors: dict[str, dict[str, tuple[float, Provenance]]] = {}
    for row in _rows("region_factor.csv"):
        factors.setdefault(row["region"], {})[row["quantity"]] = (float(row["value"]), _provenance(row))
    return MappingProxyType(
        {
            row["region"]: CloudRegion(
                row["region"],
                row["name"],
                row["country"],
                float(row["latitude"]) if row["latitude"] else None,
                float(row["longitude"]) if row["longitude"] else None,
                row["zone"],
                row["zone_basis"],
                MappingProxyType(factors.get(row["region"], {})),
                _provenance(row),
            )
            for row in _rows("cloud_region.csv")
        }
    )


@cache
def governance() -> Mapping[str, Mapping[str, GovernanceRow]]:
    """Country (ISO 3166-1 alpha-2) -> indicator ("rule of law") -> row of the latest year."""
    found: dict[str, dict[str, GovernanceRow]] = {}
    for row in _rows("governance.csv"):
        percentile = float(row["percentile"]) if row["percentile"] else None
        found.setdefault(row["zone"], {})[row["quantity"]] = GovernanceRow(
            row["zone"], row["quantity"], float(row["value"]), percentile, _provenance(row)
        )
    return MappingProxyType({zone: MappingProxyType(rows) for zone, rows in found.items()})


@cache
def wholesale_years() -> Mapping[str, Mapping[int, WholesaleYear]]:
    """Zone -> year -> row."""
    found: dict[str, dict[int, WholesaleYear]] = {}
    for row in _rows("wholesale_price.csv"):
        currency, _, per = row["unit"].partition("/")
        if per != "kWh":
            raise ValueError(f"wholesale_price.csv: {row['zone']} is in {row['unit']}, not in money per kWh")
        year = int(row["year"])
        found.setdefault(row["zone"], {})[year] = WholesaleYear(
            row["zone"], row["area"], Price(float(row["value"]), currency), year, int(row["cases"]), _provenance(row)
        )
    return MappingProxyType({zone: MappingProxyType(years) for zone, years in found.items()})


@cache
def typical_days() -> Mapping[str, Mapping[int, TypicalDay]]:
    """Zone -> month (1 to 12) -> row."""
    found: dict[str, dict[int, TypicalDay]] = {}
    for row in _rows("typical_day.csv"):
        hours = tuple(float(row[f"h{hour:02}"]) for hour in range(24))
        month = int(row["month"])
        found.setdefault(row["zone"], {})[month] = TypicalDay(row["zone"], month, hours, _provenance(row))
    return MappingProxyType({zone: MappingProxyType(months) for zone, months in found.items()})


def _rows(name: str) -> Iterator[dict[str, str]]:
    # The csv module keeps "NA" a string; readers that turn it into a missing value lose Namibia.
    text = resources.files("outweigh.data").joinpath(name).read_text(encoding="utf-8")
    return csv.DictReader(text.splitlines())


def _provenance(row: Mapping[str, str]) -> Provenance:
    return Provenance(row["unit"], row["year"], row["source"], row["licence"], row["retrieved"], Grade(row["grade"]))
