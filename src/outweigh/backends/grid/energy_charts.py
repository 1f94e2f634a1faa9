"""`energy-charts`: carbon intensity with its forecast, and day-ahead prices, of Europe, from Fraunhofer ISE. No key.

    outweigh grid show DE --source energy-charts
    outweigh grid show FR --price --source energy-charts

Confirmed in accounts of its OpenAPI document (version 2.0 of 2026-07-20) and in recorded answers: base address,
`/co2eq?country=` with `unix_seconds`, `co2eq`, `co2eq_forecast` (gCO2eq/kWh, quarter-hours, null where not known), and
`/price?bzn=` with `unix_seconds`, `price` (EUR/MWh) and `license_info`; `start` and `end` as times in UTC; stamps are
the starts of intervals; two requests a minute and endpoint, a burst of two for prices; CC BY 4.0 with attribution to
Energy-Charts.info, and prices per zone: CC BY 4.0 from Bundesnetzagentur | SMARD.de for some (DE-LU, FR, NL ...),
"private and internal use only" for the others. The answer's own word on its licence is kept with the figures.
Version 2 has another shape (`data` of `timestamp` and `values`); for prices it is read too, where version 1 is gone.

Not checked against a live call: which countries have carbon (a country without answers 404), the longest window (a
month at a time has worked for others), whether `/co2eq` has a version 2. **Its documentation does not say whether its
intensity is direct or life-cycle.** We take it as life-cycle, since it is in CO2 equivalents, and say so with the
figures; `energy-charts:direct` takes it as direct.

How the number can be wrong: it is computed from the generation mix of the country, imports not counted, with factors
that are not published with it; the newest hours are revised as meters come in. Recorded prices give their unit as
"No Unit"; they are in EUR/MWh.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import ClassVar, Self

from outweigh.backends.grid._answering import meaning_of, unknown_zone
from outweigh.backends.grid._http import Reply, Web, clock, fresh_until, probed
from outweigh.backends.grid._shapes import (
    check_grams,
    check_window,
    from_starts,
    invalid,
    known_or_forecast,
    number,
    reading,
    rows_of,
    spans,
    stamp,
)
from outweigh.core.errors import FactorMissing, UsageError
from outweigh.core.intervals import Interval
from outweigh.core.measurement import Grade
from outweigh.core.quantities import CarbonScope
from outweigh.core.series import (
    Accounting,
    CarbonKind,
    CarbonMeaning,
    CarbonSeries,
    DataQuality,
    Gap,
    Market,
    Origin,
    PriceMeaning,
    PriceSeries,
    Slot,
)
from outweigh.data.places import zone_names
from outweigh.data.tables import zone_intensities
from outweigh.ports import Availability, Offer, SourceLimits
from outweigh.registry import grid_sources

_STEP_S = 900.0
_WINDOW_S = 31 * 86400.0
_GONE = (404, 410)
_PER_MINUTE = 2.0
_LICENCE = "CC BY 4.0"
_EUR_PER_MWH = {"", "EUR/MWh", "EUR / MWh", "No Unit"}
_SCOPES = {"": CarbonScope.LIFECYCLE, "lifecycle": CarbonScope.LIFECYCLE, "direct": CarbonScope.DIRECT}
# The provider's own codes where they are not the zone's in small letters.
_COUNTRIES = {
    zone: zone.lower()
    for zone in (
        *("AL", "AT", "BA", "BE", "BG", "CH", "CY", "CZ", "DE", "DK", "EE", "ES", "FI", "FR", "GE", "GR", "HR", "HU"),
        *("IE", "IT", "LT", "LU", "LV", "MD", "ME", "MK", "MT", "NL", "NO", "PL", "PT", "RO", "RS", "SE", "SI", "SK"),
        *("UA", "XK"),
    )
} | {"GB": "uk", "GB-NIR": "nie"}
_BIDDING_ZONES = (
    {
        zone: zone
        for zone in (
            *("AT", "BE", "BG", "CH", "CZ", "EE", "ES", "FI", "FR", "GR", "HR", "HU", "LT", "LV", "ME", "NL", "PL"),
            *("PT", "RO", "RS", "SI", "SK"),
        )
    }
    | {"DE": "DE-LU", "LU": "DE-LU"}
    | {f"{zone[:2]}-{zone}": zone for zone in ("DK1", "DK2", "NO1", "NO2", "NO3", "NO4", "NO5")}
    | {f"SE-{zone}": zone for zone in ("SE1", "SE2", "SE3", "SE4")}
    | {"IT-NO": "IT-North", "IT-CNO": "IT-Centre-North", "IT-CSO": "IT-Centre-South", "IT-SO": "IT-South"}
    | {"IT-SAR": "IT-Sardinia", "IT-SIC": "IT-Sicily"}
)


@grid_sources.register("energy-charts")
class EnergyChartsGrid:
    """Average intensity by generation, with its forecast, and day-ahead prices in EUR without taxes.

    Args:
        scope: what its intensity is taken as; its documentation does not say.
    """

    name: ClassVar[str]

    def __init__(self, scope: CarbonScope = CarbonScope.LIFECYCLE, *, now: Callable[[], datetime] = clock) -> None:
        self._meaning, self._now = CarbonMeaning(CarbonKind.AVERAGE, scope, Accounting.PRODUCTION), now
        home = "https://api.energy-charts.info"
        self._carbon, self._prices = (
            Web(self.name, home, now=now, requests_per_minute=_PER_MINUTE, lane=lane) for lane in ("co2eq", "price")
        )

    @classmethod
    def probe(cls) -> Availability:
        return probed(
            cls.name,
            f"carbon of {len(_COUNTRIES)} European countries with its forecast, day-ahead prices of "
            f"{len(_BIDDING_ZONES)} zones",
            Grade.C,
        )

    @classmethod
    def make(cls, argument: str = "") -> Self:
        if argument not in _SCOPES:
            raise UsageError(
                f"energy-charts:{argument} is no scope", "Write energy-charts:lifecycle or energy-charts:direct"
            )
        return cls(_SCOPES[argument])

    @property
    def limits(self) -> SourceLimits:
        return SourceLimits(
            frozenset({Offer.CARBON, Offer.FORECAST, Offer.PRICES}),
            (self._meaning,),
            steps_s=(_STEP_S, 3600.0),
            window_s=_WINDOW_S,
            requests_per_hour=60 * _PER_MINUTE,
            attribution="Energy-Charts.info (Fraunhofer ISE), CC BY 4.0; prices: Bundesnetzagentur | SMARD.de",
        )

    def zones(self) -> tuple[str, ...]:
        return tuple(sorted({*_COUNTRIES, *_BIDDING_ZONES}))

    def carbon(self, zone: str, window: Interval, meaning: CarbonMeaning | None = None) -> CarbonSeries:
        """What was; what is to come is the forecast and says so."""
        return self._intensity(zone, window, meaning, forecast=False)

    def forecast(self, zone: str, window: Interval, meaning: CarbonMeaning | None = None) -> CarbonSeries:
        """The forecast column. When it was issued is not said: it is taken as issued when it was fetched."""
        return self._intensity(zone, window, meaning, forecast=True)

    def prices(self, zone: str, window: Interval) -> PriceSeries:
        if zone not in _BIDDING_ZONES:
            self._unknown(zone, _BIDDING_ZONES)
        check_window(window)
        slots: list[Slot] = []
        replies: list[Reply] = []
        licences: dict[str, None] = {}
        for piece in spans(window, 3600.0, _WINDOW_S):
            reply = self._price_reply(zone, piece)
            replies.append(reply)
            with reading(reply):
                slots += self._priced(zone, reply, licences)
        origin = self._origin(zone, replies, "; ".join(licences) or "no licence in its answer", "")
        return PriceSeries.of(_once(slots), window, PriceMeaning("EUR", Market.DAY_AHEAD, taxes=False), origin)

    def _intensity(self, zone: str, window: Interval, meaning: CarbonMeaning | None, *, forecast: bool) -> CarbonSeries:
        if zone not in _COUNTRIES:
            self._unknown(zone, _COUNTRIES)
        check_window(window)
        asked = meaning_of(self.limits, meaning, self.name, zone)
        slots: list[Slot] = []
        replies: list[Reply] = []
        for piece in spans(window, 3600.0, _WINDOW_S):
            fresh = fresh_until(piece, self._now(), _STEP_S)
            query = {"country": _COUNTRIES[zone], **_times(piece)}
            reply = self._carbon.get("/co2eq", query, fresh_until=fresh, allow=_GONE)
            if reply.status in _GONE:
                raise FactorMissing(
                    "carbon intensity", zone, (), f"Energy-Charts has none of it ({reply.status}); take another source"
                )
            replies.append(reply)
            with reading(reply):
                read = list(self._columns(reply, forecast=forecast))
            check_grams(reply, read)
            slots += read
        method = f"taken as {self._meaning.scope}: the provider does not say"
        return CarbonSeries.of(
            _once(slots), window, asked, self._origin(zone, replies, _LICENCE, method, forecast=forecast)
        )

    def _columns(self, reply: Reply, *, forecast: bool) -> Iterator[Slot]:
        body = reply.json()
        starts, actuals, ahead = body["unix_seconds"], body["co2eq"], body["co2eq_forecast"]
        if not len(starts) == len(actuals) == len(ahead):
            raise ValueError(f"{len(starts)} times, {len(actuals)} values and {len(ahead)} forecasts")
        points = []
        for second, actual, expected in zip(starts, actuals, ahead, strict=True):
            start = _time(second)
            if forecast:
                points.append((start, number(expected), DataQuality.FORECAST))
                continue
            value, quality = known_or_forecast(
                number(actual), number(expected), start, reply.retrieved_at, DataQuality.ESTIMATED
            )
            points.append((start, value, quality))
        return from_starts(points, _STEP_S)

    def _price_reply(self, zone: str, piece: Interval) -> Reply:
        query = {"bzn": _BIDDING_ZONES[zone], **_times(piece)}
        fresh = fresh_until(piece, self._now(), _STEP_S)
        reply = self._prices.get("/price", query, fresh_until=fresh, allow=_GONE)
        if reply.status in _GONE:
            reply = self._prices.get("/v2/price", query, fresh_until=fresh, allow=_GONE)
        if reply.status in _GONE:
            raise FactorMissing(
                "electricity price", zone, (), f"Energy-Charts has none of it ({reply.status}); take another source"
            )
        return reply

    def _priced(self, zone: str, reply: Reply, licences: dict[str, None]) -> Iterator[Slot]:
        body = reply.json()
        said = body.get("license_info", body.get("license", ""))
        if said:
            licences[" ".join(str(said).split())] = None
        unit = body.get("unit", "")
        if unit not in _EUR_PER_MWH:
            raise invalid(reply, f"its unit is {unit!r}, not EUR/MWh")
        if "data" in body:
            if body.get("bidding_zone", _BIDDING_ZONES[zone]) != _BIDDING_ZONES[zone]:
                raise invalid(reply, f"it answers for {body['bidding_zone']!r}, not {_BIDDING_ZONES[zone]}")
            rows = [(stamp(row["timestamp"]), _price_in(row)) for row in rows_of(body["data"], "data")]
        else:
            starts, prices = body["unix_seconds"], body["price"]
            if len(starts) != len(prices):
                raise ValueError(f"{len(starts)} times and {len(prices)} prices")
            rows = [(_time(second), number(price)) for second, price in zip(starts, prices, strict=True)]
        points = (
            (start, Gap.NULL if price is None else PriceSeries.per_mwh(price), DataQuality.MEASURED)
            for start, price in rows
        )
        return from_starts(points, _STEP_S)

    def _origin(self, zone: str, replies: list[Reply], licence: str, method: str, *, forecast: bool = False) -> Origin:
        retrieved_at = max(reply.retrieved_at for reply in replies)
        return Origin(
            "Energy-Charts",
            zone,
            f"Energy-Charts.info (Fraunhofer ISE), {replies[0].where}",
            licence,
            method,
            issued_at=retrieved_at if forecast else None,
            retrieved_at=retrieved_at,
        )

    def _unknown(self, zone: str, known: dict[str, str]) -> None:
        names = {row.zone: row.name for row in zone_intensities().values()}
        names |= {key: entry.name for key, entry in zone_names().items()}
        unknown_zone(self.name, zone, {key: (names.get(key, ""), code) for key, code in known.items()})


def _times(piece: Interval) -> dict[str, str]:
    return {"start": f"{piece.start:%Y-%m-%dT%H:%MZ}", "end": f"{piece.end:%Y-%m-%dT%H:%MZ}"}


def _once(slots: list[Slot]) -> list[Slot]:
    """Two pieces may share the slot at their seam (the provider's `end` is included): the later piece has it whole."""
    return list({slot.start: slot for slot in slots}.values())


def _time(second: object) -> datetime:
    if isinstance(second, bool) or not isinstance(second, int):
        raise TypeError(f"{second!r} is no time in seconds")
    return datetime.fromtimestamp(second, UTC)


def _price_in(row: dict[str, object]) -> float | None:
    values = row["values"]
    if not isinstance(values, dict):
        raise TypeError("values is no object")
    return number(values["day_ahead_price"])
