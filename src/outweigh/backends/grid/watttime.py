"""WattTime (API v3): marginal operating emissions every five minutes, and their forecast.

`co2_moer` is what one more megawatt-hour of load adds at the power stations that answer for it [lb CO2/MWh]: marginal
and direct. It is a model, never a reading, so no figure is better than `estimated`. It must not be mixed with average
intensities, and its type does not let it.

What was checked, and where:
- `/login` with a name and a password gives a token for 30 minutes; `/v3/forecast` (1 to 72 hours), `/v3/historical`
  (32 days a request); `meta.units` "lbs_co2_per_mwh"; 3,000 requests in five minutes, 100 of them logins:
  https://docs.watttime.org and its openapi.json.
- Without a subscription only CAISO_NORTH answers (docs.watttime.org).
- One pound is 0.45359237 kg exactly, so 1 lb/MWh is 0.45359237 g/kWh (NIST SP 811, appendix B.8).
Not checked against a live call: whether `end` of `/v3/historical` is inside the answer; the series is cut anyway.
Terms: WattTime's; figures may not be passed on.
"""

from __future__ import annotations

import base64
import math
import re
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import ClassVar, Self

from outweigh.backends.grid._answering import meaning_of, no_argument, not_offered, unknown_zone
from outweigh.backends.grid._http import Reply, Web, clock, fresh_until, key_of, probed
from outweigh.backends.grid._shapes import check_window, number, reading, rows_of, spans, stamp
from outweigh.core.errors import FactorMissing, GridUnavailable, UsageError
from outweigh.core.intervals import Interval
from outweigh.core.measurement import Grade
from outweigh.core.quantities import CarbonScope
from outweigh.core.rates import g_per_kwh_in
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

MEANING = CarbonMeaning(CarbonKind.MARGINAL, CarbonScope.DIRECT, Accounting.CONSUMPTION)
_UNITS: Mapping[str, float] = {"lbs_co2_per_mwh": g_per_kwh_in("lb/MWh")}
_SIGNAL = "co2_moer"
_FREE = "CAISO_NORTH"
# Zone -> WattTime's region in it, as the Green Software Foundation's Real Time Cloud assigns it; where a zone has
# several regions, the one here is a part of it, and the origin names it.
_ZONES: Mapping[str, str] = {
    "AT": "AT",
    "AU-NSW": "NEM_NSW",
    "AU-VIC": "NEM_VIC",
    "BE": "BE",
    "CA-QC": "HQ",
    "CH": "CH",
    "DE": "DE",
    "ES": "ES",
    "FI": "FI",
    "FR": "FR",
    "GB": "UK",
    "GR": "GR",
    "IE": "IE",
    "NL": "NL",
    "PL": "PL",
    "US-CAL-CISO": _FREE,
    "US-CAR-SC": "SC",
    "US-NW-BPAT": "BPA",
    "US-NW-NEVP": "NEVP",
    "US-NW-PACE": "PACE",
    "US-SE-SOCO": "SOCO",
    "US-SW-AZPS": "AZPS",
}
_THE_WORLD = "OWID_WRL"
_A_REGION = re.compile(r"[A-Z][A-Z0-9]*(_[A-Z0-9]+)+")  # theirs have parts; "DE" alone is a zone

_A_REQUEST = timedelta(days=31)
_TOKEN_S = 30 * 60 - 60
_GET_A_KEY = "Register free as docs.watttime.org says"
_SET_IT = f"{_GET_A_KEY}, then set OUTWEIGH_WATTTIME_KEY to NAME:PASSWORD"


@grid_sources.register("watttime")
class WattTimeGrid:
    """Marginal intensity in five-minute steps. Needs a name and a password; free for CAISO_NORTH (US-CAL-CISO).

    A zone is one of ours, or a region of WattTime's ("ERCOT_NORTHCENTRAL").
    """

    name: ClassVar[str]

    def __init__(self, *, now: Callable[[], datetime] = clock) -> None:
        self._now = now
        self._web: Web | None = None
        self._token = ""
        self._token_until = now()

    @classmethod
    def probe(cls) -> Availability:
        sees = "marginal intensity every five minutes, and its forecast; CAISO_NORTH without a subscription"
        return probed(cls.name, sees, Grade.C, key=True, where_to_get=_GET_A_KEY)

    @classmethod
    def make(cls, argument: str = "") -> Self:
        no_argument(cls.name, argument)
        return cls()

    @property
    def limits(self) -> SourceLimits:
        return SourceLimits(
            frozenset({Offer.CARBON, Offer.FORECAST}),
            (MEANING,),
            steps_s=(300.0,),
            ahead_s=72 * 3600.0,
            window_s=_A_REQUEST.total_seconds(),
            requests_per_hour=36_000.0,
            needs_key=True,
            attribution="WattTime",
        )

    def zones(self) -> tuple[str, ...]:
        """Zones with a region that we know of; a region's own name is asked for as it is."""
        return tuple(sorted({*_ZONES, _FREE}))

    def takes(self, name: str) -> bool:
        return _A_REGION.fullmatch(name) is not None and name != _THE_WORLD

    def carbon(self, zone: str, window: Interval, meaning: CarbonMeaning | None = None) -> CarbonSeries:
        """What was; where the window runs on beyond now, the rest of it is the forecast, and says so."""
        region = self._region(zone)
        asked = meaning_of(self.limits, meaning, self.name, zone)
        check_window(window)
        now = self._now()
        if window.start >= now:
            raise FactorMissing(str(asked), zone, (), "The window is still to come: ask for a forecast")
        slots: list[Slot] = []
        replies: list[Reply] = []
        for span in spans(Interval(window.start, min(window.end, now)), 300.0, _A_REQUEST.total_seconds()):
            query = {"region": region, "signal_type": _SIGNAL, "start": _iso(span.start), "end": _iso(span.end)}
            reply = self._get("/v3/historical", query, fresh_until(span, now, 300.0))
            slots += [slot for slot in self._slots(reply, region, DataQuality.ESTIMATED) if span.contains(slot.start)]
            replies.append(reply)
        if window.end > now:
            known_until = max((slot.end for slot in slots), default=now)
            reply = self._ahead(region, window, now)
            ahead = self._slots(reply, region, DataQuality.FORECAST)
            slots += [slot for slot in ahead if slot.start >= known_until]
            replies.append(reply)
        return CarbonSeries.of(slots, window, asked, self._origin(region, replies))

    def forecast(self, zone: str, window: Interval, meaning: CarbonMeaning | None = None) -> CarbonSeries:
        region = self._region(zone)
        asked = meaning_of(self.limits, meaning, self.name, zone)
        check_window(window)
        now = self._now()
        reply = self._ahead(region, window, now)
        slots = self._slots(reply, region, DataQuality.FORECAST)
        with reading(reply):
            issued = stamp(reply.json()["meta"]["generated_at"])
        return CarbonSeries.of(slots, window, asked, self._origin(region, [reply], issued))

    def prices(self, zone: str, window: Interval) -> PriceSeries:
        self._region(zone)
        not_offered(self.name, "electricity price", zone)

    # --- asking -------------------------------------------------------------------------------------

    def _get(self, path: str, query: Mapping[str, str], fresh: datetime) -> Reply:
        web = self._asked()
        for again in (False, True):
            bearer = {"Authorization": f"Bearer {self._login(anew=again)}"}
            reply = web.get(path, query, fresh_until=fresh, allow=(401, 403), headers=bearer)
            # A token can end before its time: one more, and not a loop.
            if reply.status != 401:
                break
        if reply.status == 401:
            raise GridUnavailable(self.name, "it refuses the token that it has just given", _SET_IT)
        if reply.status == 403:
            raise GridUnavailable(
                self.name,
                f"your plan does not include {query['region']}",
                f"{_FREE} (US-CAL-CISO) is free; https://watttime.org has plans for other regions",
            )
        return reply

    def _ahead(self, region: str, window: Interval, now: datetime) -> Reply:
        # One hour more than is needed: its horizon counts from when it was made, which is before now.
        hours = min(72, max(1, math.ceil((window.end - now).total_seconds() / 3600) + 1))
        query = {"region": region, "signal_type": _SIGNAL, "horizon_hours": str(hours)}
        return self._get("/v3/forecast", query, fresh_until(window, now, 300.0))

    def _asked(self) -> Web:
        if self._web is None:
            self._web = Web(
                self.name,
                "https://api.watttime.org",
                now=self._now,
                requests_per_minute=600.0,
                key_remedy=_SET_IT,
            )
        return self._web

    def _login(self, *, anew: bool) -> str:
        if anew or not self._token or self._now() >= self._token_until:
            key = key_of(self.name, _GET_A_KEY)
            if ":" not in key:
                raise UsageError("OUTWEIGH_WATTTIME_KEY is not NAME:PASSWORD", _SET_IT)
            basic = {"Authorization": f"Basic {base64.b64encode(key.encode()).decode()}"}
            reply = self._asked().get("/login", headers=basic)
            with reading(reply):
                token = reply.json()["token"]
                if not isinstance(token, str) or not token:
                    raise ValueError("the token in it is empty")
            self._token, self._token_until = token, self._now() + timedelta(seconds=_TOKEN_S)
        return self._token

    def _region(self, zone: str) -> str:
        if zone in _ZONES:
            return _ZONES[zone]
        if not self.takes(zone):
            unknown_zone(self.name, zone, {key: (region,) for key, region in _ZONES.items()})
        return zone

    # --- reading ------------------------------------------------------------------------------------

    def _slots(self, reply: Reply, region: str, quality: DataQuality) -> list[Slot]:
        with reading(reply):
            body = reply.json()
            meta = body["meta"]
            factor = _UNITS.get(meta["units"])
            if factor is None:
                raise ValueError(f"its units are {meta['units']!r}, not {' or '.join(_UNITS)}")
            if meta["region"] != region:
                raise ValueError(f"it answers for {meta['region']!r}, and {region} was asked")
            if meta["signal_type"] != _SIGNAL:
                raise ValueError(f"its signal is {meta['signal_type']!r}, not {_SIGNAL}")
            lasts = timedelta(seconds=float(meta["data_point_period_seconds"]))
            if not timedelta(0) < lasts <= timedelta(hours=1):
                raise ValueError(f"its step is {meta['data_point_period_seconds']!r} s")
            slots = []
            for row in rows_of(body["data"], "data"):
                start, value = stamp(row["point_time"]), number(row["value"])
                slots.append(Slot(start, start + lasts, None if value is None else value * factor, quality))
            return slots

    def _origin(self, region: str, replies: list[Reply], issued: datetime | None = None) -> Origin:
        found = (reply.json()["meta"].get("model") for reply in replies)
        models = {str(model.get("date", "")) for model in found if isinstance(model, dict)}
        return Origin(
            "WattTime",
            region,
            f"WattTime, {replies[0].where}",
            "WattTime terms",
            f"{_SIGNAL}, model of {', '.join(sorted(models)) or 'no date'}",
            issued_at=issued,
            retrieved_at=max(reply.retrieved_at for reply in replies),
        )


def _iso(stamp: datetime) -> str:
    return f"{stamp:%Y-%m-%dT%H:%M:%S}+00:00"
