"""Electricity Maps (API v3): hourly average intensity with imports traced, life-cycle or direct, and its forecast.

What was checked, and where:
- Endpoints `carbon-intensity/{latest,history,past-range,forecast}`, header `auth-token`, fields `zone`, `datetime`,
  `updatedAt`, `isEstimated`, `estimationMethod`, `emissionFactorType`, `temporalGranularity`; 24 hours of history, ten
  days an hourly past-range with its end left out, horizons of 24, 48 and 72 hours: the provider's documentation as
  clients in public repositories follow it, and recorded answers of 2023-07 and 2025-03.
- A request without a zone answers for where the caller's address seems to be. Every request here names its zone and
  sets `disableCallerLookup`, and an answer for another zone is refused.
- Test keys ("sandbox") get made-up numbers, marked `SANDBOX_MODE_DATA`; they are refused too.
- Rates depend on the plan and are not published as numbers.
Not checked against a live call: whether `forecast` names its `emissionFactorType`. Where it does not, its figures are
taken as life-cycle, the documented default, and a direct forecast is refused.
Day-ahead prices exist in the API; they are not offered here, because what we could read does not tell auctioned
prices from modelled ones. Terms: those of the plan; averages by year are under ODbL.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from functools import cache
from types import MappingProxyType
from typing import ClassVar, NamedTuple, Self

from outweigh.backends.grid._answering import meaning_of, no_argument, not_offered, unknown_zone
from outweigh.backends.grid._http import Reply, Web, clock, fresh_until, key_of, probed
from outweigh.backends.grid._shapes import check_grams, check_window, invalid, number, reading, rows_of, spans, stamp
from outweigh.core.errors import FactorMissing, GridDataInvalid
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
from outweigh.data.places import country_years, zone_names
from outweigh.data.tables import zone_intensities
from outweigh.ports import Availability, Offer, SourceLimits
from outweigh.registry import grid_sources

_LIFECYCLE = CarbonMeaning(CarbonKind.AVERAGE, CarbonScope.LIFECYCLE, Accounting.CONSUMPTION)
_DIRECT = CarbonMeaning(CarbonKind.AVERAGE, CarbonScope.DIRECT, Accounting.CONSUMPTION)
_HOUR = timedelta(hours=1)
_NEVER = datetime.min.replace(tzinfo=UTC)
_HISTORY = timedelta(hours=24)
_PAST_RANGE = timedelta(days=10)
_HORIZONS_H = (24, 48, 72)
_A_ZONE = re.compile(r"[A-Z]{2}(-[A-Z0-9]+){0,3}")
_SANDBOX = "SANDBOX_MODE_DATA"
_GET_A_KEY = "Get one at https://portal.electricitymaps.com (one zone is free)"


@grid_sources.register("electricity-maps")
class ElectricityMapsGrid:
    """Hourly average intensity of some 350 zones, flow-traced. Needs a key, which opens the zones of its plan."""

    name: ClassVar[str]

    def __init__(self, *, now: Callable[[], datetime] = clock) -> None:
        self._now = now
        self._web: Web | None = None

    @classmethod
    def probe(cls) -> Availability:
        sees = "hourly average intensity with imports traced, and its forecast, in the zones of your plan"
        return probed(cls.name, sees, Grade.B, key=True, where_to_get=_GET_A_KEY)

    @classmethod
    def make(cls, argument: str = "") -> Self:
        no_argument(cls.name, argument)
        return cls()

    @property
    def limits(self) -> SourceLimits:
        return SourceLimits(
            frozenset({Offer.CARBON, Offer.FORECAST}),
            (_LIFECYCLE, _DIRECT),
            steps_s=(3600.0,),
            ahead_s=_HORIZONS_H[-1] * 3600.0,
            window_s=_PAST_RANGE.total_seconds(),
            needs_key=True,
            attribution="Electricity Maps",
        )

    def zones(self) -> tuple[str, ...]:
        """Those we have a name for; any other that looks like one is asked for, and the provider decides."""
        return tuple(sorted(_known()))

    def takes(self, name: str) -> bool:
        country, inside, _ = name.partition("-")
        return bool(inside) and _A_ZONE.fullmatch(name) is not None and country in zone_intensities()

    def carbon(self, zone: str, window: Interval, meaning: CarbonMeaning | None = None) -> CarbonSeries:
        self._check_zone(zone)
        asked = meaning_of(self.limits, meaning, self.name, zone)
        check_window(window)
        now = self._now()
        if window.start >= now:
            raise FactorMissing(str(asked), zone, (), "The window is still to come: ask for a forecast")
        replies = self._replies(zone, window, asked, now)
        points = [point for reply in replies for point in self._points(reply, zone, asked)]
        slots = [Slot(one.start, one.end, one.value, one.quality(now)) for one in _newest(points)]
        revised = max((one.updated_at for one in points if one.updated_at), default=None)
        return CarbonSeries.of(slots, window, asked, self._origin(zone, replies, revised))

    def forecast(self, zone: str, window: Interval, meaning: CarbonMeaning | None = None) -> CarbonSeries:
        self._check_zone(zone)
        asked = meaning_of(self.limits, meaning, self.name, zone)
        check_window(window)
        now = self._now()
        hours = (window.end - now) / _HOUR
        horizon = next((h for h in _HORIZONS_H if h >= hours), _HORIZONS_H[-1])
        reply = self._get(zone, "forecast", {"horizonHours": str(horizon)}, asked, fresh_until(window, now, 3600.0))
        points = self._points(reply, zone, asked)
        with reading(reply):
            body = reply.json()
            issued, scope = stamp(body["updatedAt"]), body.get("emissionFactorType")
        if asked.scope is not CarbonScope.LIFECYCLE and scope is None:
            raise FactorMissing(f"forecast of {asked}", zone, (), "It does not say which scope its forecast has")
        slots = [Slot(one.start, one.end, one.value, DataQuality.FORECAST) for one in _newest(points)]
        return CarbonSeries.of(slots, window, asked, self._origin(zone, [reply], issued))

    def prices(self, zone: str, window: Interval) -> PriceSeries:
        self._check_zone(zone)
        not_offered(self.name, "electricity price", zone)

    # --- asking -------------------------------------------------------------------------------------

    def _replies(self, zone: str, window: Interval, asked: CarbonMeaning, now: datetime) -> list[Reply]:
        """From what every plan has, where that is enough; the endpoint for any past is not in all of them."""
        if window.start >= now - _HISTORY + _HOUR:
            fresh = fresh_until(window, now, 3600.0)
            replies = [self._get(zone, "history", {}, asked, fresh)]
            starts = [one.start for one in self._points(replies[0], zone, asked)]
            if window.contains(now) and not any(start <= now < start + _HOUR for start in starts):
                replies.append(self._get(zone, "latest", {}, asked, fresh))
            return replies
        replies = []
        past = Interval(window.start, min(window.end, now))
        for span in spans(past, 3600.0, _PAST_RANGE.total_seconds()):
            ends = {"start": f"{span.start:%Y-%m-%dT%H:%MZ}", "end": f"{span.end:%Y-%m-%dT%H:%MZ}"}
            replies.append(self._get(zone, "past-range", ends, asked, fresh_until(span, now, 3600.0)))
        return replies

    def _get(self, zone: str, endpoint: str, params: Mapping[str, str], asked: CarbonMeaning, fresh: datetime) -> Reply:
        query = {
            "zone": zone,
            "disableCallerLookup": "true",
            "emissionFactorType": asked.scope.value,
            "temporalGranularity": "hourly",
            **params,
        }
        reply = self._asked().get(f"/v3/carbon-intensity/{endpoint}", query, fresh_until=fresh, allow=(404,))
        if reply.status == 404:
            if zone not in _known():
                unknown_zone(self.name, zone, _known())
            raise FactorMissing(str(asked), zone, (), "Electricity Maps has no recent data for it; ask another source")
        return reply

    def _asked(self) -> Web:
        if self._web is None:
            self._web = Web(
                self.name,
                "https://api.electricitymaps.com",
                headers={"auth-token": key_of(self.name, _GET_A_KEY)},
                now=self._now,
                key_remedy=f"{_GET_A_KEY}, then set OUTWEIGH_ELECTRICITY_MAPS_KEY; it opens the zones of its plan",
            )
        return self._web

    def _check_zone(self, zone: str) -> None:
        if not _A_ZONE.fullmatch(zone):
            unknown_zone(self.name, zone, _known())

    # --- reading ------------------------------------------------------------------------------------

    def _points(self, reply: Reply, zone: str, asked: CarbonMeaning) -> list[_Point]:
        """Checked points of an answer, which is one row itself or holds them as data, history or forecast."""
        with reading(reply):
            body = reply.json()
            held = next((body[name] for name in ("data", "history", "forecast") if name in body), [body])
            rows = rows_of(held, "its data")
            for row in (body, *rows):
                if row.get("zone", zone) != zone:
                    raise invalid(reply, f"it answers for zone {row['zone']!r}, and {zone!r} was asked")
                if row.get("emissionFactorType", asked.scope.value) != asked.scope.value:
                    raise invalid(reply, f"it answers {row['emissionFactorType']!r}, not {asked.scope.value!r}")
                if row.get("temporalGranularity", "hourly") != "hourly":
                    raise invalid(reply, f"its steps are {row['temporalGranularity']!r}, not hourly")
                if row.get("estimationMethod") == _SANDBOX:
                    raise GridDataInvalid(
                        self.name, reply.where, "the key is a test key, and its numbers are made up", _GET_A_KEY
                    )
            starts = [stamp(row["datetime"]) for row in rows]
            points = [
                _Point(
                    start,
                    start + _HOUR,
                    number(row["carbonIntensity"]),
                    # What does not say that it is measured is not taken as such.
                    row.get("isEstimated") is False,
                    stamp(row["updatedAt"]) if row.get("updatedAt") else None,
                )
                for start, row in zip(starts, rows, strict=True)
            ]
        check_grams(reply, [Slot(one.start, one.end, one.value, DataQuality.ESTIMATED) for one in points])
        return points

    def _origin(self, zone: str, replies: list[Reply], issued: datetime | None) -> Origin:
        return Origin(
            "Electricity Maps",
            zone,
            f"Electricity Maps, {replies[0].where}",
            "Electricity Maps terms of your plan",
            "flow-traced, API v3",
            issued_at=issued,
            retrieved_at=max(reply.retrieved_at for reply in replies),
        )


class _Point(NamedTuple):
    start: datetime
    end: datetime
    value: float | None
    measured: bool
    updated_at: datetime | None

    def quality(self, now: datetime) -> DataQuality:
        if self.start > now:
            return DataQuality.FORECAST
        return DataQuality.MEASURED if self.measured else DataQuality.ESTIMATED


def _newest(points: Iterable[_Point]) -> Iterable[_Point]:
    """One point for each hour: the one revised last."""
    ordered = sorted(points, key=lambda one: one.updated_at or _NEVER)
    return {one.start: one for one in ordered}.values()


@cache
def _known() -> Mapping[str, tuple[str, ...]]:
    known: dict[str, tuple[str, ...]] = {}
    known |= {zone: (next(iter(years.values())).name,) for zone, years in country_years().items()}
    known |= {row.zone: (row.name, row.alias) for row in zone_intensities().values()}
    known |= {zone: (row.name,) for zone, row in zone_names().items() if not row.now}
    return MappingProxyType({zone: names for zone, names in known.items() if _A_ZONE.fullmatch(zone)})
