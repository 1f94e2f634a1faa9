"""The embedded tables as a grid source: works on day one, with no key and no network."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar, Self

from outweigh.backends.grid._answering import meaning_of, nearest, no_argument, not_offered, unknown_zone
from outweigh.core.errors import FactorMissing
from outweigh.core.intervals import Interval
from outweigh.core.measurement import Factor, Grade
from outweigh.core.quantities import CarbonIntensity, CarbonScope, Price
from outweigh.core.series import (
    Accounting,
    CarbonKind,
    CarbonMeaning,
    CarbonSeries,
    DataQuality,
    Market,
    Origin,
    PriceMeaning,
    PriceSeries,
)
from outweigh.data.places import country_years, wholesale_years
from outweigh.data.tables import Provenance, industrial_prices, region_pues, zone_intensities
from outweigh.ports import Availability, Offer, SourceLimits
from outweigh.registry import grid_sources


@grid_sources.register("tables")
class TablesGrid:
    """Yearly means: average, lifecycle, production-based carbon intensity; what industry pays for power; PUE by region.

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
            sees=f"yearly carbon intensity of {known} zones, what industry pays in {len(industrial_prices())} places, "
            f"PUE of {len(region_pues())} regions",
            grade=Grade.D,
            improve="declare price and pue of your own sites in energy.toml",
        )

    @classmethod
    def make(cls, argument: str = "") -> Self:
        no_argument(cls.name, argument)
        return cls()

    @property
    def limits(self) -> SourceLimits:
        return SourceLimits(
            frozenset({Offer.CARBON, Offer.PRICES}),
            (_MEANING,),
            attribution="Ember; Energy Institute; processed by Our World in Data (CC BY 4.0). "
            "Eurostat (CC BY 4.0). Bundesnetzagentur | SMARD.de (CC BY 4.0)",
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
                nearest(zone, {row.zone: (row.name, row.alias) for row in rows.values()}),
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
                nearest(zone, {key: (next(iter(rows.values())).name,) for key, rows in prices.items()}),
                "The embedded tables have prices of the United States and most of Europe: "
                'declare price = "0.15 EUR/kWh" for the site',
            )
        row = prices[zone][max(prices[zone])]
        detail = "; ".join(text for text in (row.kind, row.assumption) if text)
        name = f"electricity price of {zone} ({detail})"
        return row.value, _factor(name, row.value.amount_per_kwh, row.provenance)

    def carbon(self, zone: str, window: Interval, meaning: CarbonMeaning | None = None) -> CarbonSeries:
        """The yearly mean as a flat series: of the window's own year where we have it, else of the nearest to it."""
        asked = meaning_of(self.limits, meaning, self.name, zone)
        rows = zone_intensities()
        if zone not in rows:
            unknown_zone(self.name, zone, {row.zone: (row.name, row.alias) for row in rows.values()})
        row = rows[zone]
        value, known = row.value.g_per_kwh, row.provenance
        years = country_years().get(row.zone)
        if years is not None:
            year = years[_nearest_year(years, window)]
            value, known = year.g_per_kwh, year.provenance
        return CarbonSeries.flat(value, window, DataQuality.YEARLY_DEFAULT, asked, _origin(row.zone, known))

    def forecast(self, zone: str, window: Interval, meaning: CarbonMeaning | None = None) -> CarbonSeries:
        not_offered(self.name, "carbon forecast", zone)

    def prices(self, zone: str, window: Interval) -> PriceSeries:
        """The yearly mean as a flat series: what industry paid, or where that is of a year further from the window's
        than the day-ahead market's, the market's."""
        paid, traded = industrial_prices().get(zone), wholesale_years().get(zone)
        if paid is not None and (traded is None or _years_off(paid, window) <= _years_off(traded, window)):
            retail = paid[_nearest_year(paid, window)]
            value, known, market = retail.value, retail.provenance, Market.RETAIL
            area, remark = retail.area, "; ".join(text for text in (retail.kind, retail.assumption) if text)
        elif traded is not None:
            mean = traded[_nearest_year(traded, window)]
            value, known, market = mean.value, mean.provenance, Market.DAY_AHEAD
            area, remark = mean.area, "the wholesale price of energy alone, without network charges"
        else:
            unknown_zone(self.name, zone, {key: (rows[max(rows)].name,) for key, rows in industrial_prices().items()})
        meaning = PriceMeaning(value.currency, market, taxes=False)
        origin = _origin(area, known, remark)
        return PriceSeries.flat(value.amount_per_kwh, window, DataQuality.YEARLY_DEFAULT, meaning, origin)

    def pue(self, region: str) -> tuple[float, Factor]:
        """PUE of a cloud region, "provider:region"."""
        rows = region_pues()
        if region not in rows:
            raise FactorMissing(
                "PUE",
                region,
                nearest(region, {key: (row.name,) for key, row in rows.items()}),
                "Declare pue for the site, or give the region as provider:region (aws:eu-central-1)",
            )
        row = rows[region]
        return row.value, _factor(f"PUE of {region} ({row.basis})", row.value, row.provenance)


_MEANING = CarbonMeaning(CarbonKind.AVERAGE, CarbonScope.LIFECYCLE, Accounting.PRODUCTION)


def _nearest_year(years: Iterable[int], window: Interval) -> int:
    """The window's own year, or the nearest; of two equally near the later one."""
    return min(years, key=lambda year: (abs(year - window.start.year), -year))


def _years_off(years: Iterable[int], window: Interval) -> int:
    return abs(_nearest_year(years, window) - window.start.year)


def _origin(zone: str, known: Provenance, method: str = "") -> Origin:
    return Origin(
        known.source.split(",")[0].split(";")[0].split(" hourly")[0],
        zone,
        known.source,
        known.licence,
        method,
        vintage=known.year,
    )


def _factor(name: str, value: float, known: Provenance) -> Factor:
    return Factor(name, value, known.unit, known.source, known.year, known.retrieved, known.licence, known.grade)
