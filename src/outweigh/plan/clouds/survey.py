"""The embedded cloud regions with their figures: carbon, PUE, water, prices, governance, distance, data."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from outweigh.core.errors import FactorMissing, InvalidQuantity, UsageError
from outweigh.core.intervals import Interval
from outweigh.core.measurement import Factor, Grade, Missing
from outweigh.core.quantities import CarbonScope, Money, check_currency
from outweigh.core.series import Accounting, CarbonKind, CarbonMeaning, Market
from outweigh.data.places import CloudRegion, cloud_regions, governance
from outweigh.data.tables import region_pues
from outweigh.grid import Sources, resolve_carbon, resolve_prices
from outweigh.plan.clouds.criteria import Cell, Criterion, Region

EARTH_KM = 6371.0088  # mean radius, IUGG (Moritz, Geodetic Reference System 1980)
# Light in fibre runs at about two thirds of that in vacuum: 200 km a millisecond, there and back 100.
KM_PER_MS_OF_ROUND_TRIP = 100.0
INDICATORS = ("government effectiveness", "political stability", "regulatory quality", "rule of law")
# Member states as of 2020-02-01 (europa.eu); the EEA adds Iceland, Liechtenstein and Norway.
EU = frozenset(
    "AT BE BG HR CY CZ DK EE FI FR DE GR HU IE IT LV LT LU MT NL PL PT RO SK SI ES SE".split()  # noqa: SIM905
)
UNIONS: Mapping[str, frozenset[str]] = {"EU": EU, "EEA": EU | {"IS", "LI", "NO"}}

# One question for every region: figures that answer another one are not looked at.
ONE_QUESTION = CarbonMeaning(CarbonKind.AVERAGE, CarbonScope.LIFECYCLE, Accounting.PRODUCTION)
DECLARED = "declared on the command line"


@dataclass(frozen=True, slots=True)
class GpuPrice:
    """List price of one GPU [USD/h] in a region, as of a day."""

    region: str
    gpu: str
    usd_per_h: float
    as_of: str
    source: str


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is asked of the regions.

    Attributes:
        countries: allowed ones, ISO 3166-1 alpha-2, or "EU" and "EEA": where data must reside. None: all.
        providers: allowed ones; none: all.
        near: a place, (latitude, longitude) in degrees; distance becomes a criterion.
        max_km: great-circle distance beyond which a region is left out; needs `near`.
        data_gb, egress, data_at: data to move, its price per GB, and the region it is in.
        currency: of prices; those in another one count where `rates` has its price in this currency.
        gpu: name of the GPU whose price counts, and `gpu_prices` to take it from.
    """

    countries: tuple[str, ...] = ()
    providers: tuple[str, ...] = ()
    near: tuple[float, float] | None = None
    max_km: float | None = None
    data_gb: float | None = None
    egress: Money | None = None
    data_at: str = ""
    currency: str = "USD"
    rates: Mapping[str, float] = field(default_factory=dict)
    gpu: str = ""
    gpu_prices: Sequence[GpuPrice] = ()

    def __post_init__(self) -> None:
        check_currency(self.currency)
        for code, rate in self.rates.items():
            check_currency(code)
            if not 0 < rate < math.inf:
                raise InvalidQuantity(
                    f"rate of {code}", repr(rate), f"it is the price of one {code} in {self.currency}"
                )
        if self.near is not None:
            latitude, longitude = self.near
            if not (-90 <= latitude <= 90 and -180 <= longitude <= 180):
                raise InvalidQuantity("place", f"{latitude}, {longitude}", "write latitude, longitude in degrees")
        if self.max_km is not None and (self.near is None or not self.max_km > 0):
            raise UsageError("a largest distance needs a place and a length", "Give --near 50.1,8.7 --max-km 1500")
        stated = (self.data_gb is not None, self.egress is not None, bool(self.data_at))
        if any(stated) and not all(stated):
            raise UsageError(
                "data to move needs its size, its price and where it is",
                'Give --data-gb 500 --egress "0.09 USD/GB" --data-at aws:us-east-1',
            )
        if self.data_gb is not None and not 0 <= self.data_gb < math.inf:
            raise InvalidQuantity("amount of data", repr(self.data_gb), "give 0 GB or more")
        if self.egress is not None and self.egress.currency != self.currency:
            raise UsageError(f"moving is priced in {self.egress.currency}, the rest in {self.currency}",
                             f"Give --egress in {self.currency}, or --currency {self.egress.currency}")  # fmt: skip

    @property
    def criteria(self) -> tuple[Criterion, ...]:
        """Those there is something to say about."""
        found = [Criterion.CARBON, Criterion.PUE, Criterion.WATER, Criterion.PRICE, Criterion.GOVERNANCE]
        if self.gpu:
            found.append(Criterion.GPU)
        if self.near is not None:
            found.append(Criterion.DISTANCE)
        if self.data_gb is not None:
            found.append(Criterion.DATA)
        return tuple(found)


@dataclass(frozen=True, slots=True)
class Surveyed:
    """The regions that pass the filters, and sentences on those that could not be judged."""

    regions: tuple[Region, ...]
    notes: tuple[str, ...]


def survey(wanted: Wanted, at: datetime, sources: Sources | None = None) -> Surveyed:
    """Every embedded region that passes the filters, with a cell for every criterion.

    Carbon is location-based, average, of one scope (lifecycle): the question of the embedded tables, whatever the
    sources offer besides.

    Args:
        at: the moment; yearly figures are the nearest there are.
        sources: asked before the tables; see `outweigh.grid`.

    Raises:
        UsageError: an unknown provider, country or region in a filter, or no region left.
    """
    _check_names(wanted)
    countries = frozenset().union(*(UNIONS.get(name, frozenset({name})) for name in wanted.countries))
    window = Interval.starting(at.replace(minute=0, second=0, microsecond=0), 3600.0)
    figures = _Figures(wanted, window, sources or Sources())
    regions, unplaced = [], []
    for key, row in cloud_regions().items():
        if wanted.providers and key.partition(":")[0] not in wanted.providers:
            continue
        if countries and row.country not in countries:
            continue
        if wanted.near is not None and wanted.max_km is not None:
            if row.latitude is None or row.longitude is None:
                unplaced.append(key)
                continue
            if great_circle_km(wanted.near, (row.latitude, row.longitude)) > wanted.max_km:
                continue
        regions.append(figures.region(row))
    if not regions:
        raise UsageError("no region passes the filters", "Allow another country or provider, or a longer way")
    notes = []
    if unplaced:
        notes.append(f"Left out, as where they lie is not published: {', '.join(unplaced)}.")
    return Surveyed(tuple(regions), tuple(notes))


def great_circle_km(one: tuple[float, float], other: tuple[float, float]) -> float:
    """Distance on a sphere of the Earth's mean radius, by the haversine formula (Sinnott, Sky & Telescope 68, 1984).

    A quarter of the way round:

    >>> round(great_circle_km((0, 0), (0, 90)))
    10008
    """
    lat1, lon1, lat2, lon2 = (math.radians(angle) for angle in (*one, *other))
    h = math.sin((lat2 - lat1) / 2) ** 2 + math.cos(lat1) * math.cos(lat2) * math.sin((lon2 - lon1) / 2) ** 2
    return 2 * EARTH_KM * math.asin(math.sqrt(min(1.0, h)))


def _check_names(wanted: Wanted) -> None:
    import difflib

    rows = cloud_regions()
    known = (
        ("provider", wanted.providers, {key.partition(":")[0] for key in rows}),
        ("country", wanted.countries, {row.country for row in rows.values()} | UNIONS.keys()),
        ("region", (wanted.data_at,) if wanted.data_at else (), set(rows)),
    )
    for what, asked, all_names in known:
        for name in asked:
            if name not in all_names:
                near = difflib.get_close_matches(name, sorted(all_names), n=1)
                remedy = (
                    f"Did you mean {near[0]!r}?" if near else f"Known: {', '.join(sorted(filter(None, all_names)))}"
                )
                raise UsageError(f"no cloud region has {what} {name!r}", remedy)
    if wanted.gpu and wanted.gpu not in {price.gpu for price in wanted.gpu_prices}:
        names = sorted({price.gpu for price in wanted.gpu_prices})
        raise UsageError(f"the prices have no GPU {wanted.gpu!r}", f"They have: {', '.join(names) or 'none'}")


class _Figures:
    """Looks up cells; a zone is asked for once."""

    def __init__(self, wanted: Wanted, window: Interval, sources: Sources) -> None:
        self._wanted, self._window, self._sources = wanted, window, sources
        self._carbon: dict[str, Cell] = {}
        self._price: dict[str, Cell] = {}
        self._gpu: dict[str, list[GpuPrice]] = {}
        for price in wanted.gpu_prices:
            if price.gpu == wanted.gpu:
                self._gpu.setdefault(price.region, []).append(price)

    def region(self, row: CloudRegion) -> Region:
        by: Mapping[Criterion, Callable[[CloudRegion], Cell]] = {
            Criterion.CARBON: self._of_zone(self._carbon, self._intensity),
            Criterion.PUE: _pue,
            Criterion.WATER: _water,
            Criterion.PRICE: self._of_zone(self._price, self._electricity),
            Criterion.GPU: self._gpu_price,
            Criterion.GOVERNANCE: _governance,
            Criterion.DISTANCE: self._distance,
            Criterion.DATA: self._data,
        }
        cells = {criterion: by[criterion](row) for criterion in self._wanted.criteria}
        return Region(row.region, row.name, row.country, row.zone, row.latitude, row.longitude, cells)

    @staticmethod
    def _of_zone(kept: dict[str, Cell], ask: Callable[[str], Cell]) -> Callable[[CloudRegion], Cell]:
        def cell(row: CloudRegion) -> Cell:
            if not row.zone:
                return Missing("grid zone", f"where {row.region} draws its power is not known")
            if row.zone not in kept:
                kept[row.zone] = ask(row.zone)
            return kept[row.zone]

        return cell

    def _intensity(self, zone: str) -> Cell:
        try:
            answer = resolve_carbon(zone, self._window, self._sources, meaning=ONE_QUESTION)
        except FactorMissing as err:
            return Missing("carbon intensity", str(err))
        series, origin = answer.series, answer.series.origin
        name = "; ".join((f"carbon intensity of {origin.zone} ({series.meaning})", *answer.notes))
        return Factor(name, series.mean_value(), "gCO2e/kWh", origin.source, origin.vintage, "", origin.licence,
                      series.worst_quality.grade)  # fmt: skip

    def _electricity(self, zone: str) -> Cell:
        try:
            answer = resolve_prices(zone, self._window, self._sources)
        except FactorMissing as err:
            return Missing("electricity price", str(err))
        series, origin, wanted = answer.series, answer.series.origin, self._wanted
        money = series.meaning
        if money.market is not Market.RETAIL:
            return Missing("electricity price", f"only a {money.market} price is known, without what a network charges")
        rate = 1.0 if money.currency == wanted.currency else wanted.rates.get(money.currency)
        if rate is None:
            reason = f"known in {money.currency} only; say what one is worth with --rate {money.currency}=..."
            return Missing("electricity price", reason)
        words = [f"electricity price of {origin.zone} ({money})", *answer.notes]
        if rate != 1.0:
            words.append(f"at {rate:g} {wanted.currency} for one {money.currency}, as declared")
        return Factor("; ".join(words), series.mean_value() * rate, f"{wanted.currency}/kWh", origin.source,
                      origin.vintage, "", origin.licence, series.worst_quality.grade)  # fmt: skip

    def _gpu_price(self, row: CloudRegion) -> Cell:
        what = f"price of {self._wanted.gpu}"
        offered = self._gpu.get(row.region, [])
        dated = [price for price in offered if _is_day(price.as_of)]
        if not dated:
            return Missing(what, "its price there has no date" if offered else "no price is given there")
        # The newest list first: a price of years ago is lower and no longer offered.
        best = min(dated, key=lambda price: (-_day(price.as_of), price.usd_per_h))
        return Factor(what, best.usd_per_h, "USD/h", best.source, best.as_of, "", "", Grade.D)

    def _distance(self, row: CloudRegion) -> Cell:
        if row.latitude is None or row.longitude is None or self._wanted.near is None:
            return Missing("distance", f"where {row.region} lies is not published")
        km = great_circle_km(self._wanted.near, (row.latitude, row.longitude))
        name = f"great-circle distance (light in fibre needs {km / KM_PER_MS_OF_ROUND_TRIP:.1f} ms there and back)"
        known = row.provenance
        return Factor(name, km, "km", known.source, known.year, known.retrieved, known.licence, known.grade)

    def _data(self, row: CloudRegion) -> Cell:
        wanted = self._wanted
        moved = 0.0 if row.region == wanted.data_at else (wanted.data_gb or 0.0)
        price = wanted.egress.amount if wanted.egress else 0.0
        name = f"moving {moved:g} GB from {wanted.data_at}"
        return Factor(name, moved * price, wanted.currency, DECLARED, "", "", "", Grade.D)


def _pue(row: CloudRegion) -> Cell:
    known = region_pues().get(row.region)
    if known is None:
        return Missing("PUE", f"{row.region.partition(':')[0]} publishes none for it")
    p = known.provenance
    return Factor(f"PUE ({known.basis})", known.value, "1", p.source, p.year, p.retrieved, p.licence, p.grade)


def _water(row: CloudRegion) -> Cell:
    if "WUE" not in row.factors:
        return Missing("WUE", f"{row.region.partition(':')[0]} publishes none for it")
    value, p = row.factors["WUE"]
    return Factor("water usage effectiveness", value, "L/kWh", p.source, p.year, p.retrieved, p.licence, p.grade)


def _governance(row: CloudRegion) -> Cell:
    found = governance().get(row.country, {})
    if lacking := [name for name in INDICATORS if name not in found]:
        return Missing("governance", f"the World Bank's figures of {row.country or 'its country'} lack {lacking[0]}")
    rows = [found[name] for name in INDICATORS]
    p = rows[0].provenance
    name = f"governance of {row.country}: mean of {', '.join(INDICATORS)}"
    value = math.fsum(one.score for one in rows) / len(rows)
    years = min(one.provenance.year for one in rows)
    return Factor(name, value, "WGI score", p.source, years, p.retrieved, p.licence, p.grade)


def _is_day(text: str) -> bool:
    try:
        _day(text)
    except ValueError:
        return False
    return True


def _day(text: str) -> int:
    return datetime.fromisoformat(text).date().toordinal()
