"""Providers that need a key, as they answer on this machine: recorded shapes, filled for the times that are asked.

A test loads this file by its path; test modules cannot import one another.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from outweigh.core.intervals import Interval
from outweigh.registry import grid_sources

DAY = Interval.starting(datetime(2026, 3, 29, tzinfo=UTC), 86400)
NOW = datetime(2026, 3, 30, 6, 20, tzinfo=UTC)
KEY = "k3y-Of/this+test"
HOUR = timedelta(hours=1)
# MWh in every hour: 1,000 MWh with the medians of IPCC AR5 WG3 Annex III beside, and a battery that is left out.
EIA_MIX = {"NG": 600, "COL": 100, "NUC": 100, "SUN": 100, "WND": 100, "BAT": -80}
EIA_G_PER_KWH = (600 * 490 + 100 * 820 + 100 * 12 + 100 * 41 + 100 * 11) / 1000


def at_work(name: str, provider: Any, now: datetime = NOW, argument: str = "") -> Any:
    """The source of that name, asking `provider`, at a time."""
    provider.stands_in_for(name, key=f"me:{KEY}" if name == "watttime" else KEY)
    cls: Any = grid_sources.get(name)
    if argument:
        source = cls.make(argument)
        source._now = lambda: now
        return source
    return cls(now=lambda: now)


def answer(provider: Any, *given: Any, **more: Any) -> Any:
    return sys.modules[type(provider).__module__].Answer(*given, **more)


def stamps(start: datetime, end: datetime, step: timedelta) -> Iterator[datetime]:
    while start < end:
        yield start
        start += step


# --- EIA --------------------------------------------------------------------------------------------


def eia_row(period: datetime, fuel: str, value: object, respondent: str = "CISO") -> dict[str, object]:
    """As in eia_fuel_type_data_shape.json. `period` is the end of the hour."""
    return {
        "period": f"{period:%Y-%m-%dT%H}",
        "respondent": respondent,
        "respondent-name": "a balancing authority",
        "fueltype": fuel,
        "type-name": fuel,
        "value": value,
        "value-units": "megawatthours",
    }


def eia_body(rows: Sequence[Mapping[str, object]], total: object = None) -> dict[str, object]:
    return {
        "response": {
            "total": str(len(rows)) if total is None else total,
            "dateFormat": 'YYYY-MM-DD"T"HH24',
            "frequency": "hourly",
            "data": list(rows),
        },
        "request": {"command": "/v2/electricity/rto/fuel-type-data/data/", "params": {}},
        "apiVersion": "2.1.12",
    }


def eia(provider: Any, mix: Mapping[str, object] = EIA_MIX, until: datetime = NOW) -> Any:
    """Every hour alike, up to `until`, in pages of `length` from `offset`."""

    def respond(asked: Any) -> Any:
        query = asked.query
        first, last = (datetime.strptime(query[end], "%Y-%m-%dT%H").replace(tzinfo=UTC) for end in ("start", "end"))
        respondent = query["facets[respondent][]"]
        rows = [
            eia_row(period, fuel, str(value), respondent)
            for period in stamps(first, min(last, until) + HOUR, HOUR)
            for fuel, value in mix.items()
        ]
        page = rows[int(query["offset"]) :][: int(query["length"])]
        return answer(provider, eia_body(page, str(len(rows))))

    provider.on("/v2/electricity/rto/fuel-type-data/data/", respond)
    return at_work("eia", provider)


# --- ENTSO-E ----------------------------------------------------------------------------------------

_PRICES = "urn:iec62325.351:tc57wg16:451-3:publicationdocument:7:3"
_GENERATION = "urn:iec62325.351:tc57wg16:451-6:generationloaddocument:3:0"
_ACKNOWLEDGED = "urn:iec62325.351:tc57wg16:451-1:acknowledgementdocument:7:0"
CREATED = datetime(2026, 3, 28, 12, 5, 21, tzinfo=UTC)


def entsoe_series(
    fields: Mapping[str, str], span: Interval, resolution: str, points: Mapping[int, float], curve: str = "A03"
) -> str:
    """One TimeSeries in the element order of entsoe_a44_a03_gap_shape.xml."""
    name = "quantity" if "psrType" in fields else "price.amount"
    plain = "".join(f"<{tag}>{text}</{tag}>" for tag, text in fields.items() if tag != "psrType")
    plant = f"<MktPSRType><psrType>{fields['psrType']}</psrType></MktPSRType>" if "psrType" in fields else ""
    steps = "".join(f"<Point><position>{at}</position><{name}>{value}</{name}></Point>" for at, value in points.items())
    return (
        f"<TimeSeries><mRID>1</mRID>{plain}<curveType>{curve}</curveType>{plant}<Period>"
        f"<timeInterval><start>{span.start:%Y-%m-%dT%H:%MZ}</start><end>{span.end:%Y-%m-%dT%H:%MZ}</end></timeInterval>"
        f"<resolution>{resolution}</resolution>{steps}</Period></TimeSeries>"
    )


def entsoe_prices(*series: str, created: datetime = CREATED) -> bytes:
    return (
        f'<?xml version="1.0" encoding="utf-8"?><Publication_MarketDocument xmlns="{_PRICES}"><mRID>m</mRID>'
        f"<type>A44</type><createdDateTime>{created:%Y-%m-%dT%H:%M:%SZ}</createdDateTime>{''.join(series)}"
        "</Publication_MarketDocument>"
    ).encode()


def entsoe_generation(*series: str, created: datetime = CREATED) -> bytes:
    return (
        f'<?xml version="1.0" encoding="utf-8"?><GL_MarketDocument xmlns="{_GENERATION}"><mRID>m</mRID>'
        f"<type>A75</type><createdDateTime>{created:%Y-%m-%dT%H:%M:%SZ}</createdDateTime>{''.join(series)}"
        "</GL_MarketDocument>"
    ).encode()


def entsoe_acknowledgement(text: str, code: str = "999") -> bytes:
    return (
        f'<?xml version="1.0" encoding="UTF-8"?><Acknowledgement_MarketDocument xmlns="{_ACKNOWLEDGED}"><mRID>m</mRID>'
        f"<createdDateTime>2026-03-28T12:00:00Z</createdDateTime><Reason><code>{code}</code><text>{text}</text>"
        "</Reason></Acknowledgement_MarketDocument>"
    ).encode()


def price_fields(area: str = "10Y1001A1001A82H", sequence: str = "1", **more: str) -> dict[str, str]:
    return {
        "auction.type": "A01",
        "businessType": "A62",
        "in_Domain.mRID": area,
        "out_Domain.mRID": area,
        "contract_MarketAgreement.type": "A01",
        "currency_Unit.name": "EUR",
        "price_Measure_Unit.name": "MWH",
        "classificationSequence_AttributeInstanceComponent.position": sequence,
        **more,
    }


def plant_fields(kind: str, area: str = "10Y1001A1001A82H", way: str = "inBiddingZone_Domain.mRID") -> dict[str, str]:
    return {way: area, "quantity_Measure_Unit.name": "MAW", "psrType": kind}


def entsoe(provider: Any, until: datetime = DAY.end + HOUR) -> Any:
    """Prices and generation that change every hour of the day of `DAY`; nothing after `until`."""

    def respond(asked: Any) -> Any:
        first = datetime.strptime(asked.query["periodStart"], "%Y%m%d%H%M").replace(tzinfo=UTC)
        last = min(until, datetime.strptime(asked.query["periodEnd"], "%Y%m%d%H%M").replace(tzinfo=UTC))
        xml = {"headers": {"Content-Type": "text/xml"}}
        if last <= first:
            return answer(provider, entsoe_acknowledgement("No matching data found for Data item"), **xml)
        span, area = Interval(first, last), asked.query["in_Domain"]
        hours = range(1, int(span.seconds // 3600) + 1)
        if asked.query["documentType"] == "A44":
            curve = {n: 50.0 + n for n in hours}
            return answer(provider, entsoe_prices(entsoe_series(price_fields(area), span, "PT60M", curve)), **xml)
        kinds = {"B04": 300.0, "B14": 400.0, "B16": 300.0}
        curves = [
            entsoe_series(plant_fields(kind, area), span, "PT60M", {n: mw + n for n in hours})
            for kind, mw in kinds.items()
        ]
        return answer(provider, entsoe_generation(*curves), **xml)

    provider.on("/api", respond)
    return at_work("entsoe", provider)


# --- Electricity Maps -------------------------------------------------------------------------------


def em_row(zone: str, start: datetime, value: object = 369, **more: object) -> dict[str, object]:
    """As in electricitymaps_past_range.json."""
    return {
        "zone": zone,
        "carbonIntensity": value,
        "datetime": f"{start:%Y-%m-%dT%H:%M:%S}.000Z",
        "updatedAt": f"{start + HOUR:%Y-%m-%dT%H:%M:%S}.617Z",
        "createdAt": f"{start:%Y-%m-%dT%H:%M:%S}.052Z",
        "emissionFactorType": "lifecycle",
        "isEstimated": False,
        "estimationMethod": None,
        **more,
    }


def electricity_maps(provider: Any, zones: tuple[str, ...] = ("US-CAR-DUK", "NA", "DE"), now: datetime = NOW) -> Any:
    hour = now.replace(minute=0, second=0, microsecond=0)

    def respond(asked: Any) -> Any:
        zone, endpoint = asked.query.get("zone", "XX"), asked.path.rpartition("/")[2]
        if zone not in zones:
            return answer(provider, {"error": f"Zone '{zone}' does not exist."}, 404)
        more = {"emissionFactorType": asked.query["emissionFactorType"]}
        if endpoint == "latest":
            return answer(provider, em_row(zone, hour, 300, isEstimated=True, **more))
        if endpoint == "history":
            rows = [em_row(zone, start, **more) for start in stamps(hour - 24 * HOUR, hour, HOUR)]
            return answer(provider, {"zone": zone, "history": rows})
        if endpoint == "forecast":
            ahead = stamps(hour - 48 * HOUR, hour + int(asked.query["horizonHours"]) * HOUR, HOUR)
            points = [{"carbonIntensity": 326, "datetime": f"{start:%Y-%m-%dT%H:%M:%S}.000Z"} for start in ahead]
            return answer(provider, {"zone": zone, "updatedAt": f"{hour:%Y-%m-%dT%H:%M:%S}.000Z", "forecast": points})
        start, end = (datetime.fromisoformat(asked.query[name]) for name in ("start", "end"))
        rows = [em_row(zone, one, **more) for one in stamps(start, min(end, hour), HOUR)]
        return answer(provider, {"zone": zone, "data": rows})

    provider.on("/v3/carbon-intensity/", respond)
    return at_work("electricity-maps", provider, now)


# --- WattTime ---------------------------------------------------------------------------------------


def wt_body(of: str, starts: Sequence[datetime], value: object = 412.5, **meta: object) -> dict[str, object]:
    """As in watttime_forecast_shape.json."""
    return {
        "meta": {
            "region": of,
            "signal_type": "co2_moer",
            "model": {"date": "2026-03-01"},
            "units": "lbs_co2_per_mwh",
            "data_point_period_seconds": 300,
            **meta,
        },
        "data": [{"point_time": start.isoformat(), "value": value} for start in starts],
    }


def watttime(provider: Any, now: datetime = NOW) -> Any:
    step = timedelta(minutes=5)

    def historical(asked: Any) -> Any:
        start, end = (datetime.fromisoformat(asked.query[name].replace(" ", "+")) for name in ("start", "end"))
        if asked.query["region"] != "CAISO_NORTH":
            return answer(provider, {"error": "Access to this region is restricted"}, 403)
        return answer(provider, wt_body("CAISO_NORTH", list(stamps(start, min(end, now), step))))

    def forecast(asked: Any) -> Any:
        start = now.replace(minute=0)
        starts = list(stamps(start - 48 * HOUR, start + int(asked.query["horizon_hours"]) * HOUR, step))
        return answer(provider, wt_body(asked.query["region"], starts, generated_at=start.isoformat()))

    provider.on("/login", answer(provider, {"token": "t0ken-0ne"}))
    provider.on("/v3/historical", historical).on("/v3/forecast", forecast)
    return at_work("watttime", provider, now)


# --- Carbon Aware SDK -------------------------------------------------------------------------------


def sdk_forecast(location: str, starts: Sequence[datetime], minutes: float = 10, **more: object) -> dict[str, object]:
    """As in carbon_aware_sdk_forecast_current.json."""
    return {
        "requestedAt": f"{NOW:%Y-%m-%dT%H:%M:%S}+00:00",
        "generatedAt": f"{NOW - HOUR:%Y-%m-%dT%H:%M:%S}+00:00",
        "location": location,
        "windowSize": minutes,
        "optimalDataPoint": None,
        "forecastData": [
            {"location": "IE", "timestamp": f"{start:%Y-%m-%dT%H:%M:%S}+00:00", "duration": minutes, "value": 532.02}
            for start in starts
        ],
        **more,
    }


def carbon_aware_sdk(provider: Any) -> Any:
    def observed(asked: Any) -> Any:
        start, end = (datetime.fromisoformat(asked.query[name]) for name in ("time", "toTime"))
        first = start.replace(minute=0)
        rows = [
            {"location": "northeurope", "time": one.isoformat(), "rating": 416, "duration": "01:00:00"}
            for one in stamps(first, min(end, NOW), HOUR)
        ]
        return answer(provider, rows) if rows else answer(provider, b"", 204)

    starts = list(stamps(DAY.start, NOW + 24 * HOUR, timedelta(minutes=10)))
    places = {name: {"Latitude": 53.3, "Longitude": -6.3, "Name": name} for name in ("eastus", "northeurope")}
    provider.on("/locations", answer(provider, places))
    provider.on("/emissions/bylocation", observed)
    provider.on("/emissions/forecasts/current", answer(provider, [sdk_forecast("northeurope", starts)]))
    return at_work("carbon-aware-sdk", provider, argument="marginal-direct")


# --- gridstatus -------------------------------------------------------------------------------------


CAISO_HEADER = (
    "Time,Solar,Wind,Geothermal,Biomass,Biogas,Small hydro,Coal,Nuclear,Natural gas,Large hydro,Batteries,Imports,Other"
)
# Solar and batteries below zero, as at night; imports are of elsewhere. The rest sums to 9,000 MW.
CAISO_ROW = "-38,2000,800,200,200,200,0,1200,4000,400,-500,6000,0"
CAISO_G_PER_KWH = (2000 * 11 + 800 * 38 + 400 * 230 + 600 * 24 + 1200 * 12 + 4000 * 490) / 9000


def led_here(provider: Any) -> None:
    """Every request of the library goes to `provider`, whichever address it names."""
    requests = pytest.importorskip("requests")
    send = requests.Session.send

    def redirected(session: Any, request: Any, **options: Any) -> Any:
        request.url = provider.url + "/" + request.url.split("//", 1)[1].partition("/")[2]
        return send(session, request, **options)

    provider._patch.setattr(requests.Session, "send", redirected)


def gridstatus(provider: Any, now: datetime = NOW, hours: Sequence[int] = range(24), empty: Sequence[int] = ()) -> Any:
    """The operator's file of a day, every five minutes of `hours` by the clock on its wall, some of them empty."""
    pytest.importorskip("gridstatus", reason="gridstatus is not installed; `make test-frameworks` has it")
    led_here(provider)
    rows = [
        f"{hour:02d}:{minute:02d}," + ("," * 12 if hour in empty else CAISO_ROW)
        for hour in hours
        for minute in range(0, 60, 5)
    ]
    csv = "\n".join([CAISO_HEADER, *rows]).encode()

    def day(asked: Any) -> Any:
        known = asked.path.split("/")[3] <= f"{now:%Y%m%d}"
        return answer(provider, csv, headers={"Content-Type": "text/csv"}) if known else answer(provider, {}, 404)

    provider.on("/outlook/history/", day)
    return grid_sources.get("gridstatus")(now=lambda: now)  # type: ignore[call-arg]


CASES: list[tuple[str, Callable[..., Any], str, Interval]] = [
    ("eia", lambda _, provider: eia(provider), "US-CAL-CISO", DAY),
    ("entsoe", lambda _, provider: entsoe(provider), "DE", DAY),
    ("electricity-maps", lambda _, provider: electricity_maps(provider), "US-CAR-DUK", DAY),
    ("watttime", lambda _, provider: watttime(provider), "US-CAL-CISO", DAY),
    ("gridstatus", lambda _, provider: gridstatus(provider), "US-CAL-CISO", DAY),
    ("carbon-aware-sdk", lambda _, provider: carbon_aware_sdk(provider), "northeurope", DAY),
]
