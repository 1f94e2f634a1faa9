"""`energinet`: carbon intensity and its prognosis every five minutes, and day-ahead prices, of Denmark. No key.

    outweigh grid show DK-DK1 --source energinet

Confirmed in the guide and the data set pages of Energi Data Service and in recorded answers: base address
`https://api.energidataservice.dk/dataset/`, `start` (included) and `end` (not), `timezone=UTC` (Danish time without
it), `filter` as JSON, `sort`, `limit=0` for all; at most 40 requests in 10 s, a ban of five minutes else (429);
CC BY 4.0, "Source: Energinet (www.energidataservice.dk)". `CO2Emis`: CO2 of the electricity consumed in an area
[g/kWh], `Minutes5UTC`, `PriceArea`, `CO2Emission`; updated every 15 minutes. `CO2EmisProg`: the same for at least 9
hours ahead. `DayAheadPrices`: `TimeUTC`, `DayAheadPriceEUR` [EUR/MWh], quarter-hours; it follows `Elspotprices`
(`HourUTC`, `SpotPriceEUR`, hours), which ended with the delivery day 2025-09-30. Both are asked, each for its time.

Not checked against a live call: the exact last hour of `Elspotprices`, and whether `CO2EmisProg` keeps past issues
(only the newest is taken).

How the number can be wrong: CO2 alone and no other gases; of a power and heat plant, heat bears fuel at an efficiency
of 125 %, which leaves less to power than other methods; plants below 10 MW are one plant. An older issue of the data
set said that both areas carry Denmark's total.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import ClassVar, NamedTuple, Self

from outweigh.backends.grid._answering import meaning_of, no_argument, unknown_zone
from outweigh.backends.grid._http import Reply, Web, clock, fresh_until, probed
from outweigh.backends.grid._shapes import (
    check_grams,
    check_window,
    from_starts,
    invalid,
    number,
    reading,
    rows_of,
    spans,
)
from outweigh.core.intervals import Interval
from outweigh.core.measurement import Grade
from outweigh.core.quantities import CarbonScope
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
    Slot,
)
from outweigh.ports import Availability, Offer, SourceLimits
from outweigh.registry import grid_sources

_MEANING = CarbonMeaning(CarbonKind.AVERAGE, CarbonScope.DIRECT, Accounting.CONSUMPTION)
_CARBON_AREAS = {"DK-DK1": "DK1", "DK-DK2": "DK2"}
# What else the price data sets carry, of the neighbours' zones.
_PRICE_AREAS = {**_CARBON_AREAS, "DE": "DE", "NO-NO2": "NO2", "SE-SE3": "SE3", "SE-SE4": "SE4"}
_NAMES = {
    "DK-DK1": ("West Denmark", "DK1"),
    "DK-DK2": ("East Denmark", "DK2"),
    "DE": ("Germany",),
    "NO-NO2": ("Southwest Norway", "NO2"),
    "SE-SE3": ("South Central Sweden", "SE3"),
    "SE-SE4": ("South Sweden", "SE4"),
}
_STEP_S = 300.0
_UPDATED_S = 900.0
_WINDOW_S = 31 * 86400.0
_BAN_S = 300.0
# Midnight in Denmark that begins the delivery day 2025-10-01, on which the market went from hours to quarters.
_QUARTERS_FROM = datetime(2025, 9, 30, 22, tzinfo=UTC)


class _DataSet(NamedTuple):
    name: str
    time: str
    value: str
    step_s: float


_ACTUAL = _DataSet("CO2Emis", "Minutes5UTC", "CO2Emission", _STEP_S)
_PROGNOSIS = _DataSet("CO2EmisProg", "Minutes5UTC", "CO2Emission", _STEP_S)
_HOURS = _DataSet("Elspotprices", "HourUTC", "SpotPriceEUR", 3600.0)
_QUARTERS = _DataSet("DayAheadPrices", "TimeUTC", "DayAheadPriceEUR", 900.0)


@grid_sources.register("energinet")
class EnerginetGrid:
    """Average direct intensity of what is consumed, its prognosis, and day-ahead prices in EUR without taxes."""

    name: ClassVar[str]

    def __init__(self, now: Callable[[], datetime] = clock) -> None:
        self._now = now
        self._web = Web(self.name, "https://api.energidataservice.dk", now=now, rates=[(40.0, 10.0)], ban_s=_BAN_S)

    @classmethod
    def probe(cls) -> Availability:
        return probed(cls.name, "carbon of Denmark every 5 min and 9 h ahead, day-ahead prices", Grade.C)

    @classmethod
    def make(cls, argument: str = "") -> Self:
        no_argument(cls.name, argument)
        return cls()

    @property
    def limits(self) -> SourceLimits:
        return SourceLimits(
            frozenset({Offer.CARBON, Offer.FORECAST, Offer.PRICES}),
            (_MEANING,),
            steps_s=(_STEP_S, 900.0, 3600.0),
            window_s=_WINDOW_S,
            requests_per_hour=40 * 360.0,
            attribution="Source: Energinet (www.energidataservice.dk), CC BY 4.0",
        )

    def zones(self) -> tuple[str, ...]:
        return tuple(sorted(_PRICE_AREAS))

    def carbon(self, zone: str, window: Interval, meaning: CarbonMeaning | None = None) -> CarbonSeries:
        """What was, some quarter of an hour ago at the newest; what is to come is the prognosis and says so."""
        asked = self._asked(zone, window, meaning)
        slots, replies = self._slots(_ACTUAL, _CARBON_AREAS[zone], window, DataQuality.ESTIMATED)
        if window.end > self._now():
            # What is metered goes before what was expected for the same five minutes.
            ahead, more = self._slots(_PROGNOSIS, _CARBON_AREAS[zone], window, DataQuality.FORECAST)
            until = max((slot.end for slot in slots), default=window.start)
            slots += [slot for slot in ahead if slot.start >= max(until, self._last_known(window))]
            replies += more
        return CarbonSeries.of(slots, window, asked, _origin(zone, replies))

    def forecast(self, zone: str, window: Interval, meaning: CarbonMeaning | None = None) -> CarbonSeries:
        """The newest prognosis. When it was issued is not said: it is taken as issued when it was fetched."""
        asked = self._asked(zone, window, meaning)
        slots, replies = self._slots(_PROGNOSIS, _CARBON_AREAS[zone], window, DataQuality.FORECAST)
        return CarbonSeries.of(slots, window, asked, _origin(zone, replies, forecast=True))

    def prices(self, zone: str, window: Interval) -> PriceSeries:
        if zone not in _PRICE_AREAS:
            unknown_zone(self.name, zone, _NAMES)
        check_window(window)
        slots: list[Slot] = []
        replies: list[Reply] = []
        for data_set, part in _parts(window):
            read, answered = self._slots(data_set, _PRICE_AREAS[zone], part, DataQuality.MEASURED)
            slots += read
            replies += answered
        meaning = PriceMeaning("EUR", Market.DAY_AHEAD, taxes=False)
        return PriceSeries.of(slots, window, meaning, _origin(zone, replies))

    def _asked(self, zone: str, window: Interval, meaning: CarbonMeaning | None) -> CarbonMeaning:
        if zone not in _CARBON_AREAS:
            unknown_zone(self.name, zone, {key: _NAMES[key] for key in _CARBON_AREAS})
        check_window(window)
        return meaning_of(self.limits, meaning, self.name, zone)

    def _last_known(self, window: Interval) -> datetime:
        """From when on the prognosis may stand in: what is older has been metered, or is not known."""
        return max(window.start, datetime.fromtimestamp(self._now().timestamp() - 2 * 3600.0, UTC))

    def _slots(
        self, data_set: _DataSet, area: str, window: Interval, quality: DataQuality
    ) -> tuple[list[Slot], list[Reply]]:
        slots: list[Slot] = []
        replies: list[Reply] = []
        for piece in spans(window, max(data_set.step_s, 3600.0), _WINDOW_S):
            reply = self._web.get(
                f"/dataset/{data_set.name}",
                {
                    "start": f"{piece.start:%Y-%m-%dT%H:%M}",
                    "end": f"{piece.end:%Y-%m-%dT%H:%M}",
                    "timezone": "UTC",
                    "filter": json.dumps({"PriceArea": [area]}, separators=(",", ":")),
                    "sort": f"{data_set.time} asc",
                    "limit": "0",
                },
                fresh_until=fresh_until(piece, self._now(), _UPDATED_S),
            )
            replies.append(reply)
            with reading(reply):
                read = list(from_starts(_points(data_set, area, reply, quality), data_set.step_s))
            if data_set.value == "CO2Emission":
                check_grams(reply, read)
            slots += read
        return slots, replies


def _points(
    data_set: _DataSet, area: str, reply: Reply, quality: DataQuality
) -> Iterator[tuple[datetime, float | None, DataQuality]]:
    for row in rows_of(reply.json()["records"], "records"):
        if row["PriceArea"] != area:
            raise invalid(reply, f"it answers for {row['PriceArea']!r}, not {area}")
        value = number(row[data_set.value])
        if value is not None and quality is DataQuality.MEASURED:
            value = PriceSeries.per_mwh(value)
        yield _utc(row[data_set.time]), value, quality


def _utc(text: object) -> datetime:
    """The columns that end with UTC carry no sign of it."""
    moment = datetime.fromisoformat(str(text))
    return (moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment).astimezone(UTC)


def _parts(window: Interval) -> Iterator[tuple[_DataSet, Interval]]:
    if window.start < _QUARTERS_FROM:
        yield _HOURS, Interval(window.start, min(window.end, _QUARTERS_FROM))
    if window.end > _QUARTERS_FROM:
        yield _QUARTERS, Interval(max(window.start, _QUARTERS_FROM), window.end)


def _origin(zone: str, replies: list[Reply], *, forecast: bool = False) -> Origin:
    retrieved_at = max(reply.retrieved_at for reply in replies)
    return Origin(
        "Energinet",
        zone,
        f"Energi Data Service, {replies[0].where}",
        "CC BY 4.0",
        "heat at an efficiency of 125 %" if "CO2" in replies[0].where else "",
        issued_at=retrieved_at if forecast else None,
        retrieved_at=retrieved_at,
    )
