"""`neso`: carbon intensity of Great Britain and its fourteen regions, from NESO's Carbon Intensity API. No key.

    outweigh grid show GB --source neso
    outweigh grid show GB-C --source neso        London; the letter is the grid supply point group's

Confirmed in the API's own documentation (carbon-intensity/api-definitions) and its published samples: base address,
`/intensity/{from}/{to}`, `/intensity/{from}/fw48h`, `/regional/intensity/{from}/{to}/regionid/{id}`, half-hourly
slots in UTC with `from`, `to`, `intensity.forecast`, `intensity.actual` (national only, null until it is known),
gCO2/kWh, CC BY 4.0, failures as `error.code` and `error.message`; what is counted: "CO2 emissions related to
electricity generation only", large power stations, interconnector imports, losses, embedded wind and solar. Windows of
14 days and the numbers of the regions: its users' accounts of it, which agree. No rate limit is published; "a rate
limit is applied" say its terms, so we keep to 60 a minute.

Not checked against a live call: whether `data` of a region is an object or a list (both are read), and how long after
a slot its actual comes (some minutes, say users).

How the number can be wrong: it is CO2 alone, not CO2e, without what fuels and plants took to make; nuclear, wind and
sun count 0. The national actual is NESO's estimate. Regions have no actual at all: all of theirs is a forecast.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from typing import ClassVar, Self

from outweigh.backends.grid._answering import meaning_of, no_argument, not_offered, unknown_zone
from outweigh.backends.grid._gb import NAMES, REGIONS
from outweigh.backends.grid._http import Reply, Web, clock, fresh_until, probed
from outweigh.backends.grid._shapes import (
    check_grams,
    check_window,
    invalid,
    known_or_forecast,
    number,
    reading,
    rows_of,
    spans,
    stamp,
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
    Origin,
    PriceSeries,
    Slot,
)
from outweigh.ports import Availability, Offer, SourceLimits
from outweigh.registry import grid_sources

_MEANING = CarbonMeaning(CarbonKind.AVERAGE, CarbonScope.DIRECT, Accounting.CONSUMPTION)
_STEP_S = 1800.0
_AHEAD_S = 48 * 3600.0
_WINDOW_S = 14 * 86400.0
_LICENCE = "CC BY 4.0"
_NATIONAL = "GB"


@grid_sources.register("neso")
class NesoGrid:
    """Average direct intensity, imports counted: half-hours, national with estimated actuals, regions as forecasts."""

    name: ClassVar[str]

    def __init__(self, now: Callable[[], datetime] = clock) -> None:
        self._now = now
        self._web = Web(self.name, "https://api.carbonintensity.org.uk", now=now, requests_per_minute=60)

    @classmethod
    def probe(cls) -> Availability:
        return probed(cls.name, "carbon of Great Britain and 14 regions, half-hours, 48 h ahead", Grade.C)

    @classmethod
    def make(cls, argument: str = "") -> Self:
        no_argument(cls.name, argument)
        return cls()

    @property
    def limits(self) -> SourceLimits:
        return SourceLimits(
            frozenset({Offer.CARBON, Offer.FORECAST}),
            (_MEANING,),
            steps_s=(_STEP_S,),
            ahead_s=_AHEAD_S,
            window_s=_WINDOW_S,
            attribution="NESO Carbon Intensity API (CC BY 4.0)",
        )

    def zones(self) -> tuple[str, ...]:
        return (_NATIONAL, *REGIONS)

    def carbon(self, zone: str, window: Interval, meaning: CarbonMeaning | None = None) -> CarbonSeries:
        """Actuals where there are any; what is to come, and all of a region, is the forecast and says so."""
        asked = self._asked(zone, window, meaning)
        replies = [
            self._web.get(
                self._path(zone, f"/intensity/{piece.start:%Y-%m-%dT%H:%MZ}/{piece.end:%Y-%m-%dT%H:%MZ}"),
                fresh_until=fresh_until(piece, self._now(), _STEP_S),
            )
            for piece in spans(window, _STEP_S, _WINDOW_S)
        ]
        return self._series(zone, window, asked, replies, forecast=False)

    def forecast(self, zone: str, window: Interval, meaning: CarbonMeaning | None = None) -> CarbonSeries:
        """The latest forecast for 48 h from the window's start. NESO does not say when it was issued: it is taken as
        issued when it was fetched, before which nobody here knew it."""
        asked = self._asked(zone, window, meaning)
        start = next(spans(window, _STEP_S, _WINDOW_S)).start
        reply = self._web.get(
            self._path(zone, f"/intensity/{start:%Y-%m-%dT%H:%MZ}/fw48h"),
            fresh_until=fresh_until(window, self._now(), _STEP_S),
        )
        return self._series(zone, window, asked, [reply], forecast=True)

    def prices(self, zone: str, window: Interval) -> PriceSeries:
        not_offered(self.name, "electricity price", zone)

    def _asked(self, zone: str, window: Interval, meaning: CarbonMeaning | None) -> CarbonMeaning:
        if zone != _NATIONAL and zone not in REGIONS:
            unknown_zone(self.name, zone, {_NATIONAL: ("Great Britain",), **NAMES})
        check_window(window)
        return meaning_of(self.limits, meaning, self.name, zone)

    @staticmethod
    def _path(zone: str, path: str) -> str:
        return path if zone == _NATIONAL else f"/regional{path}{REGIONS[zone].path}"

    def _series(
        self, zone: str, window: Interval, meaning: CarbonMeaning, replies: list[Reply], *, forecast: bool
    ) -> CarbonSeries:
        slots: list[Slot] = []
        for reply in replies:
            with reading(reply):
                read = list(self._slots(zone, reply, forecast=forecast))
            check_grams(reply, read)
            slots += read
        retrieved_at = max(reply.retrieved_at for reply in replies)
        origin = Origin(
            "NESO",
            zone,
            f"NESO Carbon Intensity API, {replies[0].where}",
            _LICENCE,
            "regional forecast" if zone != _NATIONAL else "",
            issued_at=retrieved_at if forecast else None,
            retrieved_at=retrieved_at,
        )
        return CarbonSeries.of(slots, window, meaning, origin)

    def _slots(self, zone: str, reply: Reply, *, forecast: bool) -> Iterator[Slot]:
        data = reply.json()["data"]
        if zone != _NATIONAL:
            region = data[0] if isinstance(data, list) else data
            if region["regionid"] != REGIONS[zone].number:
                raise invalid(reply, f"it answers for region {region['regionid']}, not {REGIONS[zone].number}")
            data = region["data"]
        for row in rows_of(data, "data"):
            start, end, said = stamp(row["from"]), stamp(row["to"]), row["intensity"]
            if not isinstance(said, dict):
                raise TypeError("intensity is no object")
            ahead = number(said["forecast"])
            if forecast or zone != _NATIONAL:
                yield Slot(start, end, ahead, DataQuality.FORECAST)
            else:
                known = known_or_forecast(number(said["actual"]), ahead, end, reply.retrieved_at, DataQuality.ESTIMATED)
                yield Slot(start, end, *known)
