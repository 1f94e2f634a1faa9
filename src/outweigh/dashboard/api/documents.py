"""Verdicts and plans in and out, and the budget lines they are weighed against."""

from __future__ import annotations

import time
from datetime import datetime
from threading import Lock
from typing import Any

from fastapi import APIRouter, Request
from fastapi.concurrency import run_in_threadpool
from starlette.responses import Response

from outweigh.app.budgeting import lines_of
from outweigh.app.pages.shape import stated
from outweigh.app.serving import Served
from outweigh.app.serving.documents import PLAN, VERDICT, Known, looked_over
from outweigh.app.serving.receiving import canonical, once
from outweigh.core.errors import UsageError
from outweigh.core.measurement import utc
from outweigh.dashboard.api.answers import (
    Address,
    After,
    IdempotencyKey,
    IfNoneMatch,
    Limit,
    Order,
    Wanted,
    answered,
    asker,
    dumped,
    noted,
    page,
    table,
)
from outweigh.dashboard.problems import Problem, documented
from outweigh.ports.serving import Document

_ENTRY: dict[str, Any] = {
    "type": "object",
    "required": ["address", "id", "project", "kept_at", "body"],
    "properties": {
        "address": {"type": "string"},
        "id": {"type": "string"},
        "project": {"type": "string"},
        "kept_at": {"type": "string"},
        "body": {"type": "object"},
    },
}
_KEPT = {
    "type": "object",
    "required": ["address", "new"],
    "properties": {"address": {"type": "string"}, "new": {"type": "boolean"}},
}
_BUDGETS = {
    "type": "object",
    "required": ["project", "budgets"],
    "properties": {
        "project": {"type": ["string", "null"], "description": "null where the server has no project: no lines then."},
        "budgets": {"type": "array", "items": {"type": "object"}},
    },
}


def router(served: Served) -> APIRouter:
    """`/api/v1/verdicts`, `/api/v1/plans` and `/api/v1/budgets`."""
    routes = APIRouter()
    for kind, told in (
        (VERDICT, "a review.json: what was weighed, on what evidence, and the verdict"),
        (PLAN, "a plan file: where and when each job runs, with its certificate"),
    ):
        _add(routes, served, kind, told)
    lines = _Lines(served)

    @routes.get(
        "/api/v1/budgets",
        tags=["budgets"],
        summary="Every budget line as it stands",
        response_class=Response,
        responses={200: {"content": {"application/json": {"schema": _BUDGETS}}}, **documented(304)},
    )
    def budgets(if_none_match: IfNoneMatch = None) -> Response:
        return answered(lines.text(), if_none_match)

    return routes


def _add(routes: APIRouter, served: Served, kind: str, told: str) -> None:
    path, name = f"/api/v1/{kind}s", f"{kind}s"
    shape = {"type": "object", "properties": {name: {"type": "array", "items": _ENTRY}, "next": {}}}

    def listed(
        limit: Limit = 20,
        after: After = None,
        order: Order = "newest",
        project: Wanted = "",
        id: Wanted = "",  # noqa: A002
        if_none_match: IfNoneMatch = None,
    ) -> Response:
        if "\0" in project + id:
            return answered(page([], name, limit), if_none_match)
        found = served.documents.documents(
            kind,
            named=id,
            project=project,
            after=None if after is None else int(after),
            limit=limit,
            newest=order == "newest",
        )
        return answered(page([(one.number, _text(one)) for one in found], name, limit), if_none_match)

    def one(address: Address, if_none_match: IfNoneMatch = None) -> Response:
        try:
            found = served.documents.document(kind, address)
        except UsageError as err:
            raise Problem(404, err.problem, err.remedy) from err
        return answered(_text(found), if_none_match, fixed=len(address) == len(found.address))

    async def keep(request: Request, idempotency_key: IdempotencyKey = "") -> Response:
        body, raw = await table(request)

        def kept() -> tuple[int, str]:
            # Looked over first: what is refused binds no key.
            known, written = _looked_over(kind, body)
            return once(
                served.access,
                who=asker(request).who,
                key=idempotency_key,
                request=path.encode() + b"\n" + raw,
                now=served.now(),
                do=lambda: _keep(served, kind, known, written),
            )

        status, text = await run_in_threadpool(kept)
        noted(request, f"{kind} {text[12:24]}")
        return Response(text, status, media_type="application/json")

    tags: list[Any] = [name]
    routes.add_api_route(
        path,
        listed,
        methods=["GET"],
        tags=tags,
        operation_id=f"{name}_list",
        summary=f"The {name} that were sent in, a page at a time",
        response_class=Response,
        responses={200: {"content": {"application/json": {"schema": shape}}}, **documented(304)},
    )
    routes.add_api_route(
        f"{path}/{{address}}",
        one,
        methods=["GET"],
        tags=tags,
        operation_id=f"{name}_one",
        summary=f"One {kind}, by its address",
        response_class=Response,
        responses={200: {"content": {"application/json": {"schema": _ENTRY}}}, **documented(304, 404)},
    )
    routes.add_api_route(
        path,
        keep,
        methods=["POST"],
        tags=tags,
        operation_id=f"{name}_keep",
        status_code=201,
        summary=f"Keep {told}",
        response_class=Response,
        responses={201: {"content": {"application/json": {"schema": _KEPT}}}, **documented(408, 413, 415)},
        openapi_extra={
            "requestBody": {"required": True, "content": {"application/json": {"schema": {"type": "object"}}}}
        },
    )


def _looked_over(kind: str, body: dict[str, Any]) -> tuple[Known, str]:
    known = looked_over(kind, body)
    try:
        text = canonical(body)
        text.encode()
    except ValueError as err:
        raise UsageError(f"the {kind} cannot be written as JSON ({err})", "Send finite numbers and valid text") from err
    for field, said in (("id", known.id), ("project", known.project)):
        if len(said) > 500 or (said and not said.isprintable()):
            raise UsageError(f"the {field} of the {kind} is no name", "Send the file as it was written")
    return known, text


def _keep(served: Served, kind: str, known: Known, text: str) -> tuple[int, str]:
    address, new = served.documents.keep_document(
        kind, text, named=known.id, project=known.project, at=utc(served.now())
    )
    return 201, dumped({"address": address, "new": new})


def _text(one: Document) -> str:
    head = dumped({"address": one.address, "id": one.id, "project": one.project, "kept_at": one.kept_at})
    return f'{head[:-1]},"body":{one.body}}}'


class _Lines:
    """Budget lines, worked out again when the ledger has grown or a minute has gone by."""

    _FRESH_S = 60.0

    def __init__(self, served: Served) -> None:
        self._served, self._lock = served, Lock()
        self._known: tuple[tuple[int, str], float, str] | None = None

    def text(self) -> str:
        project = self._served.project
        if project is None:
            return dumped({"project": None, "budgets": []})
        head, moment = self._served.texts.head(), time.monotonic()
        # One at a time: the others wait for the same answer.
        with self._lock:
            known = self._known
            if known is None or known[0] != head or moment - known[1] > self._FRESH_S:
                now: datetime = self._served.now()
                rows = lines_of(project, self._served.ledger, now)
                known = self._known = head, moment, dumped(stated({"project": project.name, "budgets": rows}))
        return known[2]
