"""Refusals as problem documents (RFC 9457), each with the remedy: `type`, `title`, `status`, `detail`, `remedy`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from starlette.responses import Response

from outweigh.core.errors import (
    FactorMissing,
    GridBusy,
    GridDataInvalid,
    GridUnavailable,
    LedgerCorrupt,
    LedgerError,
    OutweighError,
    ReceiptRefused,
    RunKeptAlready,
)

MEDIA_TYPE = "application/problem+json"
_RETRY_S = 5  # after a database that does not answer

SCHEMA: dict[str, Any] = {
    "type": "object",
    "description": "A problem document (RFC 9457).",
    "required": ["type", "title", "status", "detail", "remedy"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "remedy": {"type": "string", "description": "What to do next."},
        "errors": {"type": "array", "items": {"type": "object"}, "description": "What is wrong, and where."},
    },
}
_TOLD = {
    304: "It is as it was (If-None-Match)",
    400: "The request cannot be read",
    401: "Nobody, or a token that does not hold",
    403: "The token's role does not reach so far, or a page of another site asks",
    404: "There is nothing of that address",
    405: "Not a method of this path",
    408: "The body did not come in time",
    409: "It contradicts what is kept",
    413: "The body is too large",
    415: "The body is not JSON",
    421: "For another host",
    422: "A field cannot be followed",
    429: "Too many requests; Retry-After says when there is room",
    503: "The ledger cannot be reached; Retry-After says when to try again",
}


class Problem(Exception):
    """A refusal that is none of ours elsewhere. Also what a route raises to answer it."""

    def __init__(
        self, status: int, detail: str, remedy: str, *, errors: list[dict[str, Any]] | None = None, **headers: str
    ) -> None:
        super().__init__(status, detail, remedy)
        self.status, self.detail, self.remedy, self.errors = status, detail, remedy, errors
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}

    def response(self) -> Response:
        return problem(self.status, self.detail, self.remedy, errors=self.errors, headers=self.headers)


def problem(
    status: int,
    detail: str,
    remedy: str,
    *,
    errors: list[dict[str, Any]] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    body: dict[str, Any] = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "remedy": remedy,
    }
    if errors:
        body["errors"] = errors
    # Escaped: a half of a surrogate pair that somebody sent would not encode.
    return Response(json.dumps(body), status, dict(headers or {}), MEDIA_TYPE)


def of_error(err: OutweighError) -> Response:
    """Ours as an answer. What is wrong with us is 503, what is wrong with the request 4xx."""
    headers: dict[str, str] = {}
    match err:
        case RunKeptAlready():
            status = 409
        case ReceiptRefused():
            status = 422
        case LedgerError():
            status, headers = 503, {} if isinstance(err, LedgerCorrupt) else {"Retry-After": str(_RETRY_S)}
        case GridBusy():
            status, headers = 503, {"Retry-After": str(err.retry_after_s)}
        case GridUnavailable() | GridDataInvalid():
            status = 503
        case FactorMissing():
            status = 404
        case _:
            status = 422
    return problem(status, str(err), err.remedy, headers=headers)


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """These refusals for OpenAPI, and those any path may give."""
    found: dict[int | str, dict[str, Any]] = {}
    for status in sorted({*statuses, 400, 401, 403, 421, 422, 429, 503}):
        found[status] = {"description": _TOLD[status]}
        if status != 304:
            found[status]["content"] = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return found
