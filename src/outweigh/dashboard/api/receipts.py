"""Receipts in and out."""

from __future__ import annotations

import json
from typing import Any

from fastapi import APIRouter, Request
from fastapi.concurrency import run_in_threadpool
from starlette.responses import Response

from outweigh.app.serving import Served
from outweigh.app.serving.receiving import once
from outweigh.core.budget import Phase
from outweigh.core.errors import OutweighError, UsageError
from outweigh.core.receipt import Receipt
from outweigh.dashboard.api.answers import (
    Address,
    After,
    IdempotencyKey,
    IfNoneMatch,
    Limit,
    Order,
    Wanted,
    When,
    answered,
    asker,
    dumped,
    noted,
    page,
    refused,
    shaped,
    within,
)
from outweigh.dashboard.api.shapes import ReceiptsIn
from outweigh.dashboard.problems import Problem, documented
from outweigh.ports import ReceiptFilter

_PAGE: dict[str, Any] = {
    "type": "object",
    "required": ["receipts", "next"],
    "properties": {
        "receipts": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["address", "receipt"],
                "properties": {"address": {"type": "string"}, "receipt": {"$ref": "#/components/schemas/ReceiptIn"}},
            },
        },
        "next": {"type": ["string", "null"], "description": "`after` of the next page; null at the end."},
    },
}
_KEPT = {
    "type": "object",
    "required": ["addresses", "kept", "already"],
    "properties": {
        "addresses": {"type": "array", "items": {"type": "string"}, "description": "SHA-256, in the order sent."},
        "kept": {"type": "integer", "description": "How many were new."},
        "already": {"type": "integer", "description": "How many the ledger had."},
    },
}


def router(served: Served) -> APIRouter:
    """`/api/v1/receipts`."""
    routes = APIRouter(tags=["receipts"])

    @routes.get(
        "/api/v1/receipts",
        summary="Receipts, a page at a time",
        response_class=Response,
        responses={200: {"content": {"application/json": {"schema": _PAGE}}}, **documented(304)},
    )
    def receipts(
        limit: Limit = 100,
        after: After = None,
        order: Order = "oldest",
        project: Wanted = "",
        phase: Wanted = "",
        batch: Wanted = "",
        since: When = None,
        until: When = None,
        if_none_match: IfNoneMatch = None,
    ) -> Response:
        if phase and phase not in tuple(Phase):
            raise refused("phase", f"there is no phase {phase[:40]!r}; there are {', '.join(Phase)}")
        which = ReceiptFilter(project=project, phase=phase, batch=batch, within=within(since, until))
        found = served.texts.texts(
            which, after=None if after is None else int(after), limit=limit, newest=order == "newest"
        )
        # The text as it was kept is JSON already: nothing is read and written again on the way.
        items = [(one.number, f'{{"address":"{one.address}","receipt":{one.text}}}') for one in found]
        return answered(page(items, "receipts", limit), if_none_match)

    @routes.get(
        "/api/v1/receipts/{address}",
        summary="One receipt, by its address",
        response_class=Response,
        responses={
            200: {"content": {"application/json": {"schema": _PAGE["properties"]["receipts"]["items"]}}},
            **documented(304, 404),
        },
    )
    def receipt(address: Address, if_none_match: IfNoneMatch = None) -> Response:
        try:
            found = served.texts.text(address)
        except UsageError as err:
            raise Problem(404, err.problem, err.remedy) from err
        text = f'{{"address":"{found.address}","receipt":{found.text}}}'
        # The start of an address may come to mean another receipt; the whole of it cannot.
        return answered(text, if_none_match, fixed=len(address) == len(found.address))

    @routes.post(
        "/api/v1/receipts",
        status_code=201,
        summary="Keep receipts, all or none",
        description="By their content, so the same receipt is kept once whoever sends it, and however often.",
        response_class=Response,
        responses={
            201: {"content": {"application/json": {"schema": _KEPT}}},
            **documented(408, 409, 413, 415),
        },
        openapi_extra={
            "requestBody": {
                "required": True,
                "content": {"application/json": {"schema": {"$ref": "#/components/schemas/ReceiptsIn"}}},
            }
        },
    )
    async def keep(request: Request, idempotency_key: IdempotencyKey = "") -> Response:
        body, raw = await shaped(request, ReceiptsIn)

        def kept() -> tuple[int, str]:
            # Looked over first: what is refused binds no key.
            found = _receipts(body)
            return once(
                served.access,
                who=asker(request).who,
                key=idempotency_key,
                request=b"/api/v1/receipts\n" + raw,
                now=served.now(),
                do=lambda: _keep(served, found),
            )

        status, text = await run_in_threadpool(kept)
        told = json.loads(text)
        noted(request, f"{told['kept']} receipts kept, {told['already']} already there")
        return Response(text, status, media_type="application/json")

    return routes


def _receipts(body: ReceiptsIn) -> list[Receipt]:
    found = []
    for index, one in enumerate(body.receipts):
        said = one.as_dict()
        try:
            receipt = Receipt.from_dict(said)
            kept = receipt.to_dict()
        except (OutweighError, ValueError, TypeError, KeyError, OverflowError) as err:
            raise refused(f"receipts.{index}", f"it is no receipt: {err}") from err
        # What is kept is what was sent, to the letter: else its sender would know it by another address.
        if kept != said:
            where = next(name for name in said if kept.get(name) != said[name])
            raise refused(f"receipts.{index}.{where}", "it says what `outweigh ledger export` would write otherwise")
        found.append(receipt)
    return found


def _keep(served: Served, receipts: list[Receipt]) -> tuple[int, str]:
    kept = served.texts.append_new(receipts)
    new = sum(is_new for _, is_new in kept)
    body = {"addresses": [address for address, _ in kept], "kept": new, "already": len(kept) - new}
    return 201, dumped(body)
