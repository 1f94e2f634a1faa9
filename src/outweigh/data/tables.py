"""Small tables of grid facts, read once: yearly carbon intensity, industrial price, PUE, and how far each drifts.

docs/data.md says where every row comes from; `scripts/build_tables.py` rebuilds them. The mappings are keyed by
what people type in `zone` and `region`; an absent key is absent, there is no world average to fall back on.

>>> zone_intensities()["US-TEX-ERCO"].value
CarbonIntensity(g_per_kwh=353.1, basis=<CarbonBasis.LOCATION: 'location'>, scope=<CarbonScope.LIFECYCLE: 'lifecycle'>)
>>> zone_intensities()["NA"].name
'Namibia'
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from types import MappingProxyType

from outweigh.core.measurement import Grade
from outweigh.core.quantities import CarbonBasis, CarbonIntensity, CarbonScope, Price


@dataclass(frozen=True, slots=True)
class Provenance:
    """What every row carries beside its value. `year` is what the value is of, as the table writes it."""

    unit: str
    year: str
    source: str
    licence: str
    retrieved: str
    grade: Grade


@dataclass(frozen=True, slots=True)
class IntensityRow:
    """Yearly mean carbon intensity of a zone.

    Attributes:
        zone: Electricity Maps style name: ISO 3166-1 alpha-2 for a country ("DE"), "US-CAL-CISO" within one.
        alias: another key for the same row: alpha-3 ("DEU"), or the balancing authority's own code ("CISO").
        kind: average or marginal.
        accounting: production (generation in the zone) or consumption (imports traced).
    """

    zone: str
    alias: str
    name: str
    value: CarbonIntensity
    kind: str
    accounting: str
    provenance: Provenance


@dataclass(frozen=True, slots=True)
class PriceRow:
    """Yearly mean price. `area` is where it was paid; `assumption` says so when that is not the zone itself.

    The newest may be of half a year, and its provenance says so ("2025-S1").
    """

    zone: str
    area: str
    name: str
    value: Price
    kind: str
    assumption: str
    provenance: Provenance


@dataclass(frozen=True, slots=True)
class PueRow:
    """Yearly mean PUE of a cloud region ("aws:eu-central-1"), or of the larger area that `basis` names."""

    region: str
    name: str
    value: float
    basis: str
    provenance: Provenance


@dataclass(frozen=True, slots=True)
class DriftRow:
    """RMS of ln(later / earlier) between yearly means `lag_years` apart; for lag 0, of a month against its year.

    To first order the relative standard uncertainty (k = 1) of using the one for the other.
    """

    quantity: str
    lag_years: int
    value: float
    cases: int
    provenance: Provenance


@cache
def zone_intensities() -> Mapping[str, IntensityRow]:
    """Zone or alias -> row."""
    found: dict[str, IntensityRow] = {}
    for row in _rows("zone_intensity.csv"):
        value = CarbonIntensity(float(row["value"]), CarbonBasis(row["basis"]), CarbonScope(row["scope"]))
        entry = IntensityRow(
            row["zone"], row["alias"], row["name"], value, row["kind"], row["accounting"], _provenance(row)
        )
        found[entry.zone] = found[entry.alias] = entry
    return MappingProxyType(found)


@cache
def industrial_prices() -> Mapping[str, Mapping[int, PriceRow]]:
    """Zone -> year -> row. US states go by ISO 3166-2 ("US-CA"): plain "DE" is Germany, not Delaware."""
    found: dict[str, dict[int, PriceRow]] = {}
    for row in _rows("industrial_price.csv"):
        currency, _, per = row["unit"].partition("/")
        if per != "kWh":
            raise ValueError(f"industrial_price.csv: {row['zone']} is in {row['unit']}, not in money per kWh")
        value = Price(float(row["value"]), currency)
        entry = PriceRow(row["zone"], row["area"], row["name"], value, row["kind"], row["assumption"], _provenance(row))
        found.setdefault(entry.zone, {})[int(row["year"][:4])] = entry
    return MappingProxyType({zone: MappingProxyType(by_year) for zone, by_year in found.items()})


@cache
def region_pues() -> Mapping[str, PueRow]:
    """Region ("provider:region") -> row."""
    rows = (
        PueRow(row["region"], row["name"], float(row["value"]), row["basis"], _provenance(row))
        for row in _rows("region_pue.csv")
    )
    return MappingProxyType({row.region: row for row in rows})


@cache
def factor_drift() -> Mapping[tuple[str, int], DriftRow]:
    """("carbon intensity" or "price", lag in years) -> row."""
    rows = (
        DriftRow(row["quantity"], int(row["lag_years"]), float(row["value"]), int(row["cases"]), _provenance(row))
        for row in _rows("factor_drift.csv")
    )
    return MappingProxyType({(row.quantity, row.lag_years): row for row in rows})


def _rows(name: str) -> list[dict[str, str]]:
    # The csv module keeps "NA" a string; readers that turn it into a missing value lose Namibia.
    text = resources.files("outweigh.data").joinpath(name).read_text(encoding="utf-8")
    return list(csv.DictReader(text.splitlines()))


def _provenance(row: Mapping[str, str]) -> Provenance:
    return Provenance(row["unit"], row["year"], row["source"], row["licence"], row["retrieved"], Grade(row["grade"]))
