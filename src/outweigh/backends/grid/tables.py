"""The embedded tables as a grid source: works on day one, with no key and no network."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import ClassVar

from outweigh.core.errors import FactorMissing
from outweigh.core.measurement import Factor, Grade
from outweigh.core.quantities import CarbonIntensity, Price
from outweigh.data.tables import Provenance, industrial_prices, region_pues, zone_intensities
from outweigh.ports import Availability
from outweigh.registry import grid_sources


@grid_sources.register("tables")
class TablesGrid:
    """Yearly means: average, lifecycle, production-based carbon intensity; US industrial prices; PUE by region.

    Every figure is of grade D. However well the source metered it, here it stands in for another time (a past
    year for the coming month) and often for another place (a state for a zone, a fleet for a building): it is a
    default. `outweigh.data.tables.factor_drift` says by how much such a stand-in has been off.

    A zone we do not know raises FactorMissing with the nearest names, a country first when the zone lies in one;
    nothing is substituted in silence.
    """

    name: ClassVar[str]

    @classmethod
    def probe(cls) -> Availability:
        known = len({row.zone for row in zone_intensities().values()})
        return Availability(
            cls.name,
            usable=True,
            sees=f"yearly carbon intensity of {known} zones, US industrial prices, PUE of {len(region_pues())} regions",
            grade=Grade.D,
            improve="declare price and pue of your own sites in energy.toml",
        )

    def zones(self) -> tuple[str, ...]:
        """Zones with a carbon intensity, sorted; aliases are not listed twice."""
        return tuple(sorted({row.zone for row in zone_intensities().values()}))

    def intensity(self, zone: str) -> tuple[CarbonIntensity, Factor]:
        """
        >>> TablesGrid().intensity("DEU")[1].name
        'carbon intensity of DE'
        """
        rows = zone_intensities()
        if zone not in rows:
            raise FactorMissing(
                "carbon intensity",
                zone,
                _nearest(zone, {row.zone: (row.name, row.alias) for row in rows.values()}),
                "Choose a zone of the embedded tables; there is no average that could stand in for it",
            )
        row = rows[zone]
        factor = _factor(f"carbon intensity of {row.zone}", row.value.g_per_kwh, row.provenance)
        return row.value, factor

    def price(self, zone: str) -> tuple[Price, Factor]:
        """The latest year we have; the factor's `issued` is that year."""
        prices = industrial_prices()
        if zone not in prices:
            raise FactorMissing(
                "electricity price",
                zone,
                _nearest(zone, {key: (next(iter(rows.values())).name,) for key, rows in prices.items()}),
                'The embedded tables hold United States prices only: declare price = "0.15 EUR/kWh" for the site',
            )
        row = prices[zone][max(prices[zone])]
        detail = "; ".join(text for text in (row.kind, row.assumption) if text)
        name = f"electricity price of {zone} ({detail})"
        return row.value, _factor(name, row.value.amount_per_kwh, row.provenance)

    def pue(self, region: str) -> tuple[float, Factor]:
        """PUE of a cloud region, "provider:region"."""
        rows = region_pues()
        if region not in rows:
            raise FactorMissing(
                "PUE",
                region,
                _nearest(region, {key: (row.name,) for key, row in rows.items()}),
                "Declare pue for the site, or give the region as provider:region (aws:eu-central-1)",
            )
        row = rows[region]
        return row.value, _factor(f"PUE of {region} ({row.basis})", row.value, row.provenance)


def _factor(name: str, value: float, known: Provenance) -> Factor:
    return Factor(name, value, known.unit, known.source, known.year, known.retrieved, known.licence, known.grade)


def _nearest(asked: str, names: Mapping[str, tuple[str, ...]], n: int = 4) -> tuple[str, ...]:
    """Keys nearest to `asked` by key, name or alias, the enclosing country first ("CA" for "CA-QC").

    Args:
        names: key -> its name, then other keys it goes by; an empty text is no name.
    """
    wanted = asked.casefold()
    by_text: dict[str, str] = {}
    for key, others in names.items():
        for text in (key, *others):
            if text:
                by_text.setdefault(text.casefold(), key)
    # "eu-central-1" misses its provider and is contained in the full key: containment before similarity.
    inside = [key for text, key in by_text.items() if len(wanted) > 2 and wanted in text]
    country = [by_text[head] for head in wanted.split("-")[:1] if head in by_text]
    similar = [by_text[text] for text in difflib.get_close_matches(wanted, list(by_text), n=n)]
    nearest = list(dict.fromkeys([*country, *inside, *similar]))[:n]
    return tuple(f"{key} ({names[key][0]})" if names[key][0] else key for key in nearest)
