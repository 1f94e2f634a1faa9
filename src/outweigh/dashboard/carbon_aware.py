"""The Web API of the Green Software Foundation's Carbon Aware SDK, so that its clients can point at us.

docs/carbon-aware-api.md has the contract and where we differ. Field names, status codes and the error body are the
SDK's; what it has no field for stands in an object `outweigh`. Ratings are in gCO2e/kWh, unrounded; times are UTC.

Source: github Green-Software-Foundation/carbon-aware-sdk, casdk-docs/docs/tutorial-basics/carbon-aware-webapi.md
@ 137cd721 and src/CarbonAware.WebApi/src @ 074ad3bd.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, PlainTextResponse
from pydantic import BaseModel, ConfigDict, Field, StrictInt, StrictStr, TypeAdapter, ValidationError
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Receive, Scope, Send

from outweigh.app.carbon_aware import CarbonAnswers, Forecast, Observed, Rated
from outweigh.core.errors import (
    FactorMissing,
    GapsTooLarge,
    GridBusy,
    GridDataInvalid,
    GridUnavailable,
    InvalidQuantity,
    OutweighError,
    UnknownZone,
)

MAX_BATCH = 100
MAX_BODY_BYTES = 256 * 1024
_PROBLEM = "application/problem+json"
# What ASP.NET, which the SDK's server is, calls each of them.
_TYPES = {
    400: "https://tools.ietf.org/html/rfc9110#section-15.5.1",
    404: "https://tools.ietf.org/html/rfc9110#section-15.5.5",
    405: "https://tools.ietf.org/html/rfc9110#section-15.5.6",
    500: "https://tools.ietf.org/html/rfc9110#section-15.6.1",
    501: "https://tools.ietf.org/html/rfc9110#section-15.6.2",
    503: "https://tools.ietf.org/html/rfc9110#section-15.6.4",
}
_WRONG = "One or more validation errors occurred."


class Refused(Exception):
    """A request we do not answer: which field, and what is wrong with it."""

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(field, problem)
        self.field, self.problem = field, problem


class _AskedForecast(BaseModel):
    model_config = ConfigDict(extra="ignore")

    location: StrictStr
    requested_at: StrictStr = Field(alias="requestedAt")
    data_start_at: StrictStr | None = Field(None, alias="dataStartAt")
    data_end_at: StrictStr | None = Field(None, alias="dataEndAt")
    window_size: StrictInt | None = Field(None, alias="windowSize")


class _AskedAverage(BaseModel):
    model_config = ConfigDict(extra="ignore")

    location: StrictStr
    start_time: StrictStr = Field(alias="startTime")
    end_time: StrictStr = Field(alias="endTime")


def _taking(item: type[BaseModel]) -> dict[str, Any]:
    """For OpenAPI: the body is read from its bytes, so that it can be refused as the SDK's server refuses it."""
    many = {"type": "array", "maxItems": MAX_BATCH, "items": item.model_json_schema()}
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": many}}}}


_FORECASTS = TypeAdapter(list[_AskedForecast])
_AVERAGES = TypeAdapter(list[_AskedAverage])

#: The problem document as the SDK's server writes it; what the gate refuses is ours, with a remedy.
PROBLEM_SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "errors": {"type": "object", "additionalProperties": {"type": "array", "items": {"type": "string"}}},
        "remedy": {"type": "string"},
    },
}
_AS_PROBLEM = {_PROBLEM: {"schema": {"$ref": "#/components/schemas/CarbonAwareProblem"}}}
_SAID = {
    204: "Nothing is known of that time; Outweigh-Reason says why",
    400: "The field named in `errors` cannot be followed",
    401: "Nobody, or a token that does not hold",
    403: "A page of another site asks",
    408: "The body did not come in time",
    413: "The body is too large",
    421: "For another host",
    422: "Never sent: what cannot be followed is 400 here",
    429: "Too many requests",
    500: "A source gave data that cannot be right",
    501: "Nothing that is asked has a forecast",
    503: "A source cannot be asked now",
}
#: For OpenAPI: what any endpoint may answer beside what was asked for.
RESPONSES: dict[int | str, dict[str, Any]] = {
    status: {"description": told} | ({} if status == 204 else {"content": _AS_PROBLEM})
    for status, told in _SAID.items()
}

Locations = Annotated[list[str], Query(description="A region or zone; may be repeated.")]
Time = Annotated[str | None, Query(description="ISO 8601; without its distance from UTC it is UTC.")]
Minutes = Annotated[str | None, Query(description="Length of the work in whole minutes.")]


def router(answers: CarbonAnswers) -> APIRouter:
    """The endpoints over these answers."""
    routes = APIRouter()

    @routes.get("/health", response_class=PlainTextResponse)
    def health() -> str:
        return "Healthy"

    @routes.get("/locations")
    def locations() -> Response:
        # The SDK's documentation has the names with a capital, and its generated clients read them without.
        return JSONResponse(
            {
                name: {
                    "Latitude": latitude,
                    "Longitude": longitude,
                    "Name": name,
                    "latitude": latitude,
                    "longitude": longitude,
                    "name": name,
                }
                for name, (latitude, longitude) in answers.locations().items()
            }
        )

    @routes.get("/emissions/bylocation")
    def by_location(location: Locations, time: Time = None, toTime: Time = None) -> Response:  # noqa: N803
        one = [_only(location)]
        return _observed(answers.observed(one, _time("time", time), _time("toTime", toTime)))

    @routes.get("/emissions/bylocations")
    def by_locations(location: Locations, time: Time = None, toTime: Time = None) -> Response:  # noqa: N803
        return _observed(answers.observed(_some(location), _time("time", time), _time("toTime", toTime)))

    @routes.get("/emissions/bylocations/best")
    def best(location: Locations, time: Time = None, toTime: Time = None) -> Response:  # noqa: N803
        return _observed(answers.best(_some(location), _time("time", time), _time("toTime", toTime)))

    @routes.get("/emissions/forecasts/current")
    def current(
        location: Locations,
        dataStartAt: Time = None,  # noqa: N803
        dataEndAt: Time = None,  # noqa: N803
        windowSize: Minutes = None,  # noqa: N803
    ) -> Response:
        start, end, minutes = _time("dataStartAt", dataStartAt), _time("dataEndAt", dataEndAt), _minutes(windowSize)
        return JSONResponse([_forecast(answers.forecast(one, start, end, minutes)) for one in _some(location)])

    @routes.post("/emissions/forecasts/batch", openapi_extra=_taking(_AskedForecast))
    async def forecasts(request: Request) -> Response:
        asked = await _body(request, _FORECASTS)

        def answered() -> list[dict[str, Any]]:
            return [
                _forecast(
                    answers.forecast(
                        _named(one.location),
                        _time("dataStartAt", one.data_start_at),
                        _time("dataEndAt", one.data_end_at),
                        one.window_size,
                        _needed("requestedAt", one.requested_at),
                    )
                )
                for one in asked
            ]

        return JSONResponse(await run_in_threadpool(answered))

    @routes.get("/emissions/average-carbon-intensity")
    def average(location: Locations, startTime: Time = None, endTime: Time = None) -> Response:  # noqa: N803
        start, end = _needed("startTime", startTime), _needed("endTime", endTime)
        return JSONResponse(_average(_told(answers.average, _only(location), start, end), start, end))

    @routes.post("/emissions/average-carbon-intensity/batch", openapi_extra=_taking(_AskedAverage))
    async def averages(request: Request) -> Response:
        asked = await _body(request, _AVERAGES)

        def answered() -> list[dict[str, Any]]:
            found = []
            for one in asked:
                start, end = _needed("startTime", one.start_time), _needed("endTime", one.end_time)
                found.append(_average(_told(answers.average, _named(one.location), start, end), start, end))
            return found

        return JSONResponse(await run_in_threadpool(answered))

    return routes


def refused(err: Refused) -> Response:
    """A refusal as the problem document (RFC 9457) that the SDK's server sends."""
    return _problem(400, _WRONG, err.problem, {err.field: [err.problem]})


def unbound(err: RequestValidationError) -> Response:
    """What is not there or not of its kind."""
    fields = dict.fromkeys(str(one["loc"][-1]) for one in err.errors())
    errors = {field: [f"The {field} field is required."] for field in fields}
    return _problem(400, _WRONG, "; ".join(text for (text,) in errors.values()), errors)


def unrouted(request: Request, err: HTTPException) -> Response:
    """No such path, or no such method of it."""
    detail = f"{request.method} {request.url.path} is not part of this API"
    return _problem(err.status_code, str(err.detail), detail, headers=dict(err.headers or {}))


def is_of_the_sdk(path: str) -> bool:
    """Whether a path is one of this API, however it is spelt.

    >>> is_of_the_sdk("/Emissions/byLocation"), is_of_the_sdk("/health/"), is_of_the_sdk("/healthz")
    (True, True, False)
    """
    spelt = path.lower()
    return spelt.startswith(("/emissions", "/locations")) or spelt.rstrip("/") == "/health"


class AsTheSdkReads:
    """Paths and query names in any case, as the SDK's server takes them, and `locations` for `location`.

    The SDK's documentation writes `bylocations?locations=`, its server reads `location`: both are in use.
    """

    _NAMES = ("location", "time", "toTime", "dataStartAt", "dataEndAt", "windowSize", "startTime", "endTime")

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._spelt = {name.lower(): name for name in self._NAMES} | {"locations": "location"}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and is_of_the_sdk(scope["path"]):
            fields = (field.partition("=") for field in scope["query_string"].decode("latin-1").split("&"))
            query = "&".join(self._spelt.get(name.lower(), name) + eq + value for name, eq, value in fields)
            path = scope["path"].lower()
            path = path.rstrip("/") or "/"
            scope = {**scope, "path": path, "raw_path": path.encode("utf-8"), "query_string": query.encode("latin-1")}
        await self._app(scope, receive, send)


# --- reading what was asked ---------------------------------------------------------------------------


def _time(field: str, text: str | None) -> datetime | None:
    return None if text is None or text == "" else _needed(field, text)


def _needed(field: str, text: str | None) -> datetime:
    if not text:
        raise Refused(field, f"The {field} field is required.")
    try:
        stamp = datetime.fromisoformat(text)
    except ValueError:
        hint = ", with + written as %2B" if " " in text.strip() else ""
        raise Refused(field, f"{text[:40]!r} is not an ISO 8601 time; write 2026-10-25T02:30Z{hint}") from None
    if stamp.tzinfo is None:
        return stamp.replace(tzinfo=UTC)
    try:
        return stamp.astimezone(UTC)
    except OverflowError:
        raise Refused(field, f"{text[:40]!r} is not a time that any grid has figures of") from None


def _minutes(text: str | None) -> int | None:
    if text is None or text == "":
        return None
    if not (text.isascii() and text.removeprefix("-").isdigit() and len(text) < 10):
        raise Refused("windowSize", f"{text[:40]!r} is not a whole number of minutes")
    return int(text)


def _named(location: str) -> str:
    if not location.strip():
        raise Refused("location", "The location field is required.")
    return location.strip()


def _some(locations: list[str]) -> list[str]:
    return [_named(location) for location in locations]


def _only(locations: list[str]) -> str:
    if len(locations) > 1:
        raise Refused("location", f"{len(locations)} were given; /emissions/bylocations takes several")
    return _named(locations[0])


M = TypeVar("M")


async def _body(request: Request, shape: TypeAdapter[list[M]]) -> list[M]:
    read = bytearray()
    async for chunk in request.stream():
        read += chunk
        if len(read) > MAX_BODY_BYTES:
            raise Refused("$", f"the body is over {MAX_BODY_BYTES // 1024} KiB; send {MAX_BATCH} items at a time")
    try:
        asked = json.loads(read)
    except (ValueError, RecursionError):
        raise Refused("$", "the body is not JSON") from None
    if isinstance(asked, list) and len(asked) > MAX_BATCH:
        raise Refused("$", f"{len(asked)} items were sent; send {MAX_BATCH} at a time")
    try:
        return shape.validate_python(asked)
    except ValidationError as err:
        first = err.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "$"
        raise Refused(where, first["msg"]) from None


# --- writing what is known ----------------------------------------------------------------------------


def _observed(found: Observed) -> Response:
    if not found.points:
        # The contract has no body for "no data", so the reason goes where a person can still find it.
        reason = "; ".join(found.reasons).encode("ascii", "replace").decode("ascii")
        return Response(status_code=204, headers={"Outweigh-Reason": " ".join(reason.split())[:500]})
    return JSONResponse(
        [
            {
                "location": point.location,
                "time": point.start.isoformat(),
                "rating": point.g_per_kwh,
                "duration": _span(point.end - point.start),
                "outweigh": _about(point),
            }
            for point in found.points
        ]
    )


def _forecast(found: Forecast) -> dict[str, Any]:
    optimal = [_point(point) for point in found.optimal]
    return {
        "generatedAt": found.generated_at.isoformat(timespec="seconds"),
        "requestedAt": found.requested_at.isoformat(timespec="seconds"),
        "location": found.location,
        "dataStartAt": found.start.isoformat(),
        "dataEndAt": found.end.isoformat(),
        "windowSize": found.window_min,
        # The SDK's documentation has one optimal point; its server lists all that are equally good.
        "optimalDataPoint": optimal[0],
        "optimalDataPoints": optimal,
        "forecastData": [_point(point) for point in found.points],
        "outweigh": _about(found.optimal[0]) | {"interval_g_per_kwh": None, "interval_confidence": None},
    }


def _point(point: Rated) -> dict[str, Any]:
    bounds = point.bounds
    return {
        "location": point.location,
        "timestamp": point.start.isoformat(),
        "duration": round((point.end - point.start).total_seconds() / 60),
        "value": point.g_per_kwh,
        "outweigh": {
            "interval_g_per_kwh": [bounds.low, bounds.high] if bounds else None,
            "interval_confidence": bounds.confidence if bounds else None,
            "quality": point.quality.value,
            "grade": point.quality.grade.value,
        },
    }


def _average(found: Rated, start: datetime, end: datetime) -> dict[str, Any]:
    return {
        "location": found.location,
        "startTime": start.isoformat(),
        "endTime": end.isoformat(),
        "carbonIntensity": found.g_per_kwh,
        "outweigh": _about(found),
    }


def _about(point: Rated) -> dict[str, Any]:
    said, bounds = point.said, point.bounds
    meaning, origin = said.series.meaning, said.series.origin
    return {
        "interval_g_per_kwh": [bounds.low, bounds.high] if bounds else None,
        "interval_confidence": bounds.confidence if bounds else None,
        "zone": origin.zone,
        "kind": meaning.kind.value,
        "scope": meaning.scope.value,
        "accounting": meaning.accounting.value,
        "quality": point.quality.value,
        "grade": point.quality.grade.value,
        "year": origin.vintage or None,
        "level": said.level.value if said.level else "demo",
        "backend": said.backend,
        "provider": origin.provider,
        "source": origin.source,
        "licence": origin.licence,
        "method": origin.method or None,
        "issued_at": origin.issued_at.isoformat() if origin.issued_at else None,
        "notes": list(said.notes),
        "passed_over": [
            {"level": one.level.value, "backend": one.source, "reason": one.reason} for one in said.passed_over
        ],
    }


def _span(length: timedelta) -> str:
    """
    >>> _span(timedelta(minutes=30)), _span(timedelta(days=7, hours=1))
    ('00:30:00', '7.01:00:00')
    """
    # As .NET writes a TimeSpan: days, where there are any, before a point.
    hours, rest = divmod(length.seconds, 3600)
    days = f"{length.days}." if length.days else ""
    return f"{days}{hours:02}:{rest // 60:02}:{rest % 60:02}"


# --- refusing -----------------------------------------------------------------------------------------


def _told(ask: Callable[..., Rated], *asked: Any) -> Rated:
    """An average, or 400 where too little is known: the SDK's server refuses so what its data do not cover."""
    try:
        return ask(*asked)
    except UnknownZone:
        raise
    except (FactorMissing, GapsTooLarge) as err:
        raise Refused("startTime", str(err)) from err


def failed(err: OutweighError) -> Response:
    """An error of ours."""
    what = type(err).__name__
    if isinstance(err, UnknownZone):
        return _problem(400, _WRONG, str(err), {"location": [str(err)]})
    if isinstance(err, InvalidQuantity):
        return _problem(400, _WRONG, str(err), {err.quantity: [str(err)]})
    if isinstance(err, FactorMissing):
        return _problem(501, "NotImplemented", str(err))
    if isinstance(err, GridBusy):
        return _problem(503, what, str(err), headers={"Retry-After": str(err.retry_after_s)})
    if isinstance(err, GridUnavailable):
        return _problem(503, what, str(err))
    return _problem(500 if isinstance(err, GridDataInvalid) else 400, what, str(err))


def _problem(
    status: int,
    title: str,
    detail: str,
    errors: dict[str, list[str]] | None = None,
    headers: dict[str, str] | None = None,
) -> Response:
    body = {"type": _TYPES.get(status, "about:blank"), "title": title, "status": status, "detail": detail}
    return JSONResponse(body | {"errors": errors or {}}, status_code=status, media_type=_PROBLEM, headers=headers or {})
