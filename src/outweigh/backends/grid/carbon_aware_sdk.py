"""A Carbon Aware SDK of the Green Software Foundation, asked over its Web API.

It passes on the figures of whatever it is set up with (WattTime: marginal; Electricity Maps: average), in g/kWh, and
does not say which. So the user does: `carbon-aware-sdk:marginal-direct`.

What was checked, and where:
- `/emissions/bylocation` (location, time, toTime; rows of location, time, rating, duration "01:00:00"; 204 where
  there is nothing), `/emissions/forecasts/current` (generatedAt, forecastData of timestamp, duration in minutes,
  value; 501 where its provider has none), `/locations`: the project's documentation, its `CarbonAwareController` and
  `EmissionsData`, and a recorded answer of 2026-05.
- dataStartAt and dataEndAt outside of the forecast are an error there, so the whole forecast is asked for and cut here.
Not checked against a live call. There is no public server: OUTWEIGH_GRID_URL_CARBON_AWARE_SDK says where yours is.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import ClassVar, Self

from outweigh.backends.grid._answering import meaning_of, not_offered, plain_names, unknown_zone
from outweigh.backends.grid._http import Reply, Web, clock, fresh_until, probed
from outweigh.backends.grid._shapes import check_grams, check_window, from_starts, number, reading, rows_of, stamp
from outweigh.core.errors import FactorMissing, GridUnavailable, UsageError
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

_WHERE = "OUTWEIGH_GRID_URL_CARBON_AWARE_SDK"
_SET_IT = f"Set {_WHERE} to the address of your Carbon Aware SDK Web API"
_EXAMPLE = (
    "Write carbon-aware-sdk:KIND-SCOPE, with what it is set up with: marginal-direct for WattTime, average-lifecycle "
    "or average-direct for Electricity Maps; -production behind it where imports are not traced"
)
_LONGEST = timedelta(days=1)
_AZURE = "azure:"
_A_LOCATION = re.compile(r"[A-Za-z0-9][A-Za-z0-9:_.-]*")
_LEAST_STEP_S = 300.0
# A .NET TimeSpan: [days.]hours:minutes:seconds[.fraction]
_TIME_SPAN = re.compile(r"(?:(\d{1,4})\.)?(\d{1,2}):(\d{1,2}):(\d{1,2})(?:\.\d+)?")


@grid_sources.register("carbon-aware-sdk")
class CarbonAwareSdkGrid:
    """Emissions and forecasts by its own location names ("eastus").

    Args:
        meaning: what its provider publishes; the API itself does not say.
    """

    name: ClassVar[str]

    def __init__(self, meaning: CarbonMeaning, *, now: Callable[[], datetime] = clock) -> None:
        self._meaning, self._now = meaning, now
        self._web: Web | None = None

    @classmethod
    def probe(cls) -> Availability:
        sees = "emissions and forecasts of your own Carbon Aware SDK server"
        found = probed(cls.name, sees, Grade.C)
        if found.usable and not os.environ.get(_WHERE):
            return replace(found, usable=False, grade=None, reason="there is no public server of it", remedy=_SET_IT)
        return found

    @classmethod
    def make(cls, argument: str = "") -> Self:
        """
        >>> CarbonAwareSdkGrid.make("marginal-direct").limits.meanings[0].kind
        <CarbonKind.MARGINAL: 'marginal'>
        """
        if not argument:
            raise UsageError("carbon-aware-sdk has to be told what its server publishes", _EXAMPLE)
        words = argument.split("-")
        if len(words) == 2:
            words.append(Accounting.CONSUMPTION.value)
        try:
            kind, scope, accounting = words
            return cls(CarbonMeaning(CarbonKind(kind), CarbonScope(scope), Accounting(accounting)))
        except ValueError as err:
            raise UsageError(f"carbon-aware-sdk does not know {argument!r}", _EXAMPLE) from err

    @property
    def limits(self) -> SourceLimits:
        return SourceLimits(
            frozenset({Offer.CARBON, Offer.FORECAST}),
            (self._meaning,),
            attribution="the provider behind your Carbon Aware SDK",
        )

    def zones(self) -> tuple[str, ...]:
        return ()

    def takes(self, name: str) -> bool:
        return _A_LOCATION.fullmatch(name) is not None

    def carbon(self, zone: str, window: Interval, meaning: CarbonMeaning | None = None) -> CarbonSeries:
        check_window(window)
        zone = self._location(zone)
        asked = meaning_of(self.limits, meaning, self.name, zone)
        query = {"location": zone, "time": _iso(window.start), "toTime": _iso(window.end)}
        reply = self._get("/emissions/bylocation", query, window)
        slots: list[Slot] = []
        if reply.status != 204:
            with reading(reply):
                slots = _observed(rows_of(reply.json(), "its answer"))
            check_grams(reply, slots)
        return CarbonSeries.of(slots, window, asked, self._origin(zone, reply))

    def forecast(self, zone: str, window: Interval, meaning: CarbonMeaning | None = None) -> CarbonSeries:
        check_window(window)
        zone = self._location(zone)
        asked = meaning_of(self.limits, meaning, self.name, zone)
        reply = self._get("/emissions/forecasts/current", {"location": zone}, window, allow=(501,))
        if reply.status == 501:
            raise FactorMissing(f"forecast of {asked}", zone, (), "The provider behind the SDK has no forecasts")
        with reading(reply):
            forecasts = rows_of(reply.json(), "its answer")
            mine = [one for one in forecasts if one["location"] == zone]
            if not mine:
                raise ValueError(f"it answers for {[one['location'] for one in forecasts]}, not {zone!r}")
            issued = stamp(mine[0]["generatedAt"])
            slots = [_forecast(row) for row in rows_of(mine[0]["forecastData"], "forecastData")]
        check_grams(reply, slots)
        return CarbonSeries.of(slots, window, asked, self._origin(zone, reply, issued))

    def prices(self, zone: str, window: Interval) -> PriceSeries:
        not_offered(self.name, "electricity price", zone)

    # --- asking -------------------------------------------------------------------------------------

    def _get(self, path: str, query: Mapping[str, str], window: Interval, allow: tuple[int, ...] = ()) -> Reply:
        fresh = fresh_until(window, self._now(), 300.0)
        # "text" because nothing at all is an answer too (204).
        return self._asked().get(path, query, fresh_until=fresh, expects="text", allow=allow)

    def _asked(self) -> Web:
        if self._web is None:
            address = os.environ.get(_WHERE, "")
            if not address:
                raise GridUnavailable(self.name, "there is no public server of it", _SET_IT)
            self._web = Web(self.name, address, now=self._now)
        return self._web

    def _location(self, zone: str) -> str:
        """Its own name for it: a region of Azure goes by its bare name there, as a rule."""
        reply = self._asked().get("/locations", fresh_until=self._now() + timedelta(days=1))
        with reading(reply):
            known = [str(name) for name in dict(reply.json())]
        found = next((name for name in (zone, zone.removeprefix(_AZURE)) if name in known), "")
        if not found:
            unknown_zone(self.name, zone, plain_names(known))
        return found

    def _origin(self, zone: str, reply: Reply, issued: datetime | None = None) -> Origin:
        return Origin(
            "Carbon Aware SDK",
            zone,
            f"Carbon Aware SDK, {reply.where}",
            "terms of its provider",
            "what its provider publishes, in the meaning declared by the user",
            issued_at=issued,
            retrieved_at=reply.retrieved_at,
        )


def _observed(rows: list[dict[str, object]]) -> list[Slot]:
    """Older servers give no duration, and some a zero: then a row lasts until its neighbour."""
    points = [(stamp(row["time"]), number(row["rating"]), _lasts(row.get("duration"))) for row in rows]
    if all(lasts for _, _, lasts in points):
        return [Slot(start, start + lasts, value, DataQuality.ESTIMATED) for start, value, lasts in points]
    return list(from_starts(((start, value, DataQuality.ESTIMATED) for start, value, _ in points), _LEAST_STEP_S))


def _forecast(row: Mapping[str, object]) -> Slot:
    start, minutes = stamp(row["timestamp"]), number(row["duration"])
    if minutes is None or not 0 < minutes <= _LONGEST / timedelta(minutes=1):
        raise ValueError(f"a duration is {row['duration']!r} minutes")
    return Slot(start, start + timedelta(minutes=minutes), number(row["value"]), DataQuality.FORECAST)


def _lasts(text: object) -> timedelta:
    if text is None:
        return timedelta(0)
    matched = _TIME_SPAN.fullmatch(str(text))
    if matched is None:
        raise ValueError(f"a duration is {text!r}")
    days, hours, minutes, seconds = (int(part or 0) for part in matched.groups())
    lasts = timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)
    if lasts > _LONGEST:
        raise ValueError(f"a duration is {text!r}")
    return lasts


def _iso(stamp: datetime) -> str:
    return f"{stamp:%Y-%m-%dT%H:%M:%SZ}"
