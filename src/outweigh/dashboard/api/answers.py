"""What the routes share: reading bodies and fields, cursors, and answers with an ETag."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, TypeVar

from fastapi import Header, Path, Query, Request
from pydantic import BaseModel, ValidationError
from starlette.responses import Response

from outweigh.core.errors import InvalidQuantity
from outweigh.core.intervals import Interval
from outweigh.dashboard.guard.asking import Asker
from outweigh.dashboard.problems import Problem

_DEEPEST = 64
_EARLIEST, _LATEST = datetime.fromisoformat("0001-01-02T00:00Z"), datetime.fromisoformat("9999-12-30T00:00Z")

Limit = Annotated[int, Query(ge=1, le=500, description="How many at most.")]
After = Annotated[
    str | None,
    Query(max_length=20, pattern="^[0-9]{1,18}$", description="The `next` of the page before this one; opaque."),
]
Order = Annotated[str, Query(pattern="^(oldest|newest)$", description="`oldest` first, or `newest`.")]
Wanted = Annotated[str, Query(max_length=500)]
When = Annotated[
    str | None,
    Query(
        max_length=40,
        description="ISO 8601 with its distance from UTC.",
        json_schema_extra={"format": "date-time"},
    ),
]
Address = Annotated[
    str, Path(min_length=6, max_length=64, pattern="^[0-9a-fA-F]+$", description="Its SHA-256, or the start of it.")
]
IfNoneMatch = Annotated[str | None, Header(max_length=1000, description="ETags that are known.")]
IdempotencyKey = Annotated[
    str,
    Header(
        max_length=200,
        pattern="^[!-~]*$",
        description="The same key with the same body is answered as before; with another body it is refused.",
    ),
]

M = TypeVar("M", bound=BaseModel)


def asker(request: Request) -> Asker:
    found = request.scope["state"]["asker"]
    if not isinstance(found, Asker):
        raise TypeError(f"the gate left {found!r} in the request")
    return found


def noted(request: Request, text: str) -> None:
    """What the audit log says beside the path. Never a secret."""
    request.scope["state"]["noted"] = text


def answered(text: str, if_none_match: str | None, status: int = 200, *, fixed: bool = False) -> Response:
    """JSON text with its ETag, or 304 where that is known. `fixed`: what lies there never changes."""
    body = text.encode()
    tag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
    headers = {"ETag": tag, "Cache-Control": "private, max-age=31536000, immutable" if fixed else "private, no-cache"}
    known = (if_none_match or "").split(",")
    if any(one.strip().removeprefix("W/") in (tag, "*") for one in known):
        return Response(status_code=304, headers=headers)
    return Response(body, status, headers, "application/json")


def dumped(body: object) -> str:
    return json.dumps(body, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def page(items: Sequence[tuple[int, str]], name: str, limit: int) -> str:
    """A page of JSON texts by number, and the cursor of the next one where there may be more."""
    following = f'"{items[-1][0]}"' if len(items) == limit else "null"
    return f'{{"{name}":[{",".join(text for _, text in items)}],"next":{following}}}'


def within(since: str | None, until: str | None) -> Interval | None:
    """Raises Problem."""
    if since is None and until is None:
        return None
    start, end = _stamp("since", since, _EARLIEST), _stamp("until", until, _LATEST)
    try:
        return Interval(start, end)
    except InvalidQuantity as err:
        raise refused("until", str(err)) from err


def _stamp(field: str, text: str | None, default: datetime) -> datetime:
    if text is None:
        return default
    try:
        stamp = datetime.fromisoformat(text)
    except ValueError:
        hint = " (write + as %2B)" if " " in text.strip() else ""
        raise refused(field, f"{text!r} is not an ISO 8601 time{hint}") from None
    if stamp.tzinfo is None:
        raise refused(field, f"{text!r} has no distance from UTC: write 2026-10-25T02:30Z")
    if not _EARLIEST <= stamp <= _LATEST:
        raise refused(field, f"{text!r} is no time that anything ran at")
    return stamp


def refused(field: str, what: str) -> Problem:
    return Problem(422, f"{field}: {what}", "Mend the field and ask again", errors=[{"field": field, "problem": what}])


async def shaped(request: Request, shape: type[M]) -> tuple[M, bytes]:
    """The body as that shape, and its bytes. Raises Problem."""
    raw = await _json(request)
    try:
        return shape.model_validate_json(raw), raw
    except ValidationError as err:
        raise _problem_of(err) from err


async def table(request: Request) -> tuple[dict[str, Any], bytes]:
    """The body as any JSON object, and its bytes. Raises Problem."""
    raw = await _json(request)
    try:
        body = json.loads(raw, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        raise Problem(400, "the body is not JSON", "Send one JSON object in UTF-8") from None
    if not isinstance(body, dict) or _too_deep(body):
        raise Problem(
            422, f"the body is no JSON object of at most {_DEEPEST} levels", "Send the file as it was written"
        )
    return body, raw


async def _json(request: Request) -> bytes:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    # A form of another site can send text, and never this.
    if kind != "application/json":
        raise Problem(415, "the body is not said to be JSON", "Send `Content-Type: application/json`")
    return await request.body()


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is no JSON")


def _too_deep(body: object) -> bool:
    level: list[object] = [body]
    for _ in range(_DEEPEST):
        level = [
            inner
            for one in level
            if isinstance(one, dict | list)
            for inner in (one.values() if isinstance(one, dict) else one)
        ]
        if not level:
            return False
    return True


def _problem_of(err: ValidationError) -> Problem:
    found = err.errors(include_url=False, include_context=False, include_input=False)
    if found[0]["type"] == "json_invalid":
        return Problem(400, f"the body is not JSON: {found[0]['msg']}", "Send one JSON object in UTF-8")
    errors = [{"field": ".".join(str(part) for part in one["loc"])[:200], "problem": one["msg"]} for one in found[:20]]
    first = errors[0]
    return Problem(422, f"{first['field']}: {first['problem']}", "Mend the fields in `errors`", errors=errors)
