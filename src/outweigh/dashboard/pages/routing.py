"""The addresses of the pages: HTML for people, the same as JSON for programs, every table as CSV, and static files."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response

from outweigh.app.pages.asked import Asked, FieldRefused, PageMissing
from outweigh.core.errors import OutweighError
from outweigh.dashboard.pages import rendering
from outweigh.dashboard.pages.page import Page

if TYPE_CHECKING:
    from outweigh.app.serving import Served

API = "/api/v1/pages"
_PROBLEM = "application/problem+json"
_TITLES = {400: "Not understood", 404: "Not found", 503: "Not available"}
_YEAR_S = 31_536_000
_NO_BRACES = str.maketrans("", "", "{}")


def router(served: Served, pages: Sequence[Page]) -> APIRouter:
    """The routes of all pages. Reading only: none of them changes anything."""
    routes = APIRouter()
    # The longest paths first, so that "/runs/x.csv" is a table and no receipt of that name.
    for page in pages:
        _add(routes, served, page, pages)

    @routes.get("/static/{name}", include_in_schema=False)
    def static(name: str, request: Request) -> Response:
        try:
            text = rendering.asset_text(name)
        except KeyError:
            return PlainTextResponse("no such file", 404)
        tag = f'"{rendering.asset_digest(name)}"'
        fixed = request.query_params.get("v") == rendering.asset_digest(name)
        headers = {"ETag": tag, "Cache-Control": f"public, max-age={_YEAR_S}, immutable" if fixed else "no-cache"}
        if request.headers.get("if-none-match") == tag:
            return Response(status_code=304, headers=headers)
        return Response(text, media_type=rendering.asset_type(name), headers=headers)

    @routes.get("/favicon.ico", include_in_schema=False)
    def icon() -> Response:
        return static_icon()

    return routes


def static_icon() -> Response:
    return Response(rendering.asset_text("icon.svg"), media_type="image/svg+xml")


def _add(routes: APIRouter, served: Served, page: Page, pages: Sequence[Page]) -> None:
    takes = (*page.takes, "table")

    def table(request: Request) -> Response:
        try:
            asked = _asked(request, page, takes)
            data = page.told(served, asked)
            tables = data.get("tables", {})
            name = asked.choice("table", tuple(tables), next(iter(tables), ""))
            if not name:
                raise PageMissing("this page has no table", "Ask for its JSON")
        except OutweighError as err:
            return PlainTextResponse(str(err), _status(err))
        file = f"outweigh-{page.name.partition('/')[0]}-{name}.csv"
        headers = {"Content-Disposition": f'attachment; filename="{file}"', "Cache-Control": "private, no-cache"}
        return Response(rendering.table_csv(tables[name]), media_type="text/csv; charset=utf-8", headers=headers)

    def shown(request: Request) -> Response:
        around = rendering.served_around(served.now())
        try:
            asked, data, status = _answered(served, page, request)
        except OutweighError as err:
            status = _status(err)
            return HTMLResponse(rendering.error_text(status, err, around, pages), status)
        headers = _headers(data)
        if status == 200 and _unchanged(request, headers["ETag"]):
            return Response(status_code=304, headers=headers)
        return HTMLResponse(rendering.page_text(page, data, asked, around, pages), status, headers=headers)

    def plain(request: Request) -> Response:
        try:
            data = page.told(served, _asked(request, page, page.takes))
        except OutweighError as err:
            return _problem(err)
        headers = _headers(data)
        if _unchanged(request, headers["ETag"]):
            return Response(status_code=304, headers=headers)
        return JSONResponse({**data, "as_of": served.now().isoformat()}, headers=headers)

    suffix = page.name if page.path == "/" else page.path.strip("/")
    routes.add_api_route(f"/{suffix}.csv", table, methods=["GET"], include_in_schema=False)
    routes.add_api_route(
        f"{API}/{suffix}",
        plain,
        methods=["GET"],
        summary=f"{page.title}: {page.question}",
        description="The data of the dashboard's page, with every figure's interval, grade, method and source.",
        tags=["pages"],
        operation_id=f"page_{suffix.replace('/', '_').translate(_NO_BRACES)}",
        openapi_extra={"parameters": _parameters(page)},
        response_class=JSONResponse,
        responses=_RESPONSES,
    )
    routes.add_api_route(page.path, shown, methods=["GET"], include_in_schema=False, response_class=HTMLResponse)


_PROBLEM_BODY: dict[str, Any] = {
    "content": {
        _PROBLEM: {
            "schema": {
                "type": "object",
                "required": ["type", "title", "status", "detail", "remedy"],
                "properties": {
                    "type": {"type": "string"},
                    "title": {"type": "string"},
                    "status": {"type": "integer"},
                    "detail": {"type": "string"},
                    "remedy": {"type": "string"},
                    "field": {"type": "string"},
                },
            }
        }
    }
}
_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {"description": "The page's data", "content": {"application/json": {"schema": {"type": "object"}}}},
    304: {"description": "It is as it was (If-None-Match)"},
    400: {"description": "A field cannot be followed", **_PROBLEM_BODY},
    404: {"description": "There is nothing at that address", **_PROBLEM_BODY},
    503: {"description": "The ledger or a source cannot be read", **_PROBLEM_BODY},
}


_TIMES = ("since", "until")
_TIME: dict[str, Any] = {
    "type": "string",
    "anyOf": [{"format": "date"}, {"format": "date-time"}],
    "description": "A day or an instant of 1970 to 2199; without its distance from UTC it is UTC.",
}


def _parameters(page: Page) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = [
        {"name": name, "in": "query", "required": False, "schema": _TIME if name in _TIMES else {"type": "string"}}
        for name in page.takes
    ]
    if "{address}" in page.path:
        found.insert(0, {"name": "address", "in": "path", "required": True, "schema": {"type": "string"}})
    return found


def _asked(request: Request, page: Page, takes: Sequence[str]) -> Asked:
    address = str(request.path_params.get("address", ""))
    return Asked.of(request.query_params.multi_items(), takes=takes, address=address)


def _answered(served: Served, page: Page, request: Request) -> tuple[Asked, dict[str, Any], int]:
    """What was asked, what the page shows, and the status; a refused field is told on the page it stands on."""
    address = str(request.path_params.get("address", ""))
    try:
        asked = _asked(request, page, page.takes)
        data = page.told(served, asked)
        return asked, data, 400 if data.get("refused") else 200
    except FieldRefused as err:
        data = page.told(served, Asked({}, address))
        refused = {"field": err.field, "problem": err.problem, "remedy": err.remedy}
        given = {name: text for name, text in request.query_params.items() if name in page.takes}
        return Asked(given, address), {**data, "refused": refused}, 400


def _headers(data: dict[str, Any]) -> dict[str, str]:
    return {"ETag": f'W/"{rendering.digest(data)}"', "Cache-Control": "private, no-cache"}


def _unchanged(request: Request, tag: str) -> bool:
    return tag in (one.strip() for one in request.headers.get("if-none-match", "").split(","))


def _status(error: OutweighError) -> int:
    if isinstance(error, PageMissing):
        return 404
    return 400 if error.exit_code == 2 else 503


def _problem(error: OutweighError) -> Response:
    status = _status(error)
    body = {
        "type": "about:blank",
        "title": _TITLES[status],
        "status": status,
        "detail": str(error),
        "remedy": error.remedy,
    }
    if isinstance(error, FieldRefused):
        body["field"] = error.field
    return JSONResponse(body, status, media_type=_PROBLEM)
