"""For owners: tokens made and revoked, and the audit log. For everybody: who one is, and logging in with a browser."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any
from urllib.parse import parse_qs

from fastapi import APIRouter, Path, Query, Request
from fastapi.concurrency import run_in_threadpool
from starlette.responses import HTMLResponse, RedirectResponse, Response

from outweigh.app.serving import Served
from outweigh.app.serving.tokens import lifetime_of, make_token, revoke_token, token_row, token_rows
from outweigh.core.errors import UsageError
from outweigh.dashboard.api.answers import After, Limit, answered, asker, dumped, noted, shaped
from outweigh.dashboard.api.shapes import TokenIn
from outweigh.dashboard.guard.asking import COOKIE, SESSION, Askers
from outweigh.dashboard.problems import Problem, documented
from outweigh.ports.serving import Role

_TOKEN: dict[str, Any] = {
    "type": "object",
    "required": ["id", "name", "role", "state", "made_at", "expires_at", "revoked_at"],
    "properties": {
        "id": {"type": "string"},
        "name": {"type": "string"},
        "role": {"enum": [role.value for role in Role]},
        "state": {"enum": ["holds", "expired", "revoked"]},
        "made_at": {"type": "string"},
        "expires_at": {"type": ["string", "null"]},
        "revoked_at": {"type": ["string", "null"]},
    },
}
_MADE = {**_TOKEN, "properties": {**_TOKEN["properties"], "token": {"type": "string", "description": "Shown once."}}}


def router(served: Served, askers: Askers) -> APIRouter:
    """`/api/v1/tokens`, `/api/v1/audit`, `/api/v1/me`."""
    routes = APIRouter(tags=["access"])

    @routes.get(
        "/api/v1/me",
        summary="Who asks, and in which role",
        response_class=Response,
        responses={
            200: {
                "content": {
                    "application/json": {
                        "schema": {
                            "type": "object",
                            "properties": {"who": {"type": "string"}, "role": {"type": "string"}},
                        }
                    }
                }
            },
            **documented(),
        },
    )
    def me(request: Request) -> Response:
        found = asker(request)
        return answered(dumped({"who": found.who, "role": found.role}), None)

    @routes.get(
        "/api/v1/tokens",
        summary="All tokens there ever were, without their secrets",
        response_class=Response,
        responses={
            200: {
                "content": {
                    "application/json": {
                        "schema": {"type": "object", "properties": {"tokens": {"type": "array", "items": _TOKEN}}}
                    }
                }
            },
            **documented(),
        },
    )
    def tokens() -> Response:
        return answered(dumped({"tokens": token_rows(served.access, served.now())}), None)

    @routes.post(
        "/api/v1/tokens",
        status_code=201,
        summary="Make a token; its secret is shown this once",
        response_class=Response,
        responses={201: {"content": {"application/json": {"schema": _MADE}}}, **documented(408, 413, 415)},
        openapi_extra={
            "requestBody": {
                "required": True,
                "content": {"application/json": {"schema": {"$ref": "#/components/schemas/TokenIn"}}},
            }
        },
    )
    async def make(request: Request) -> Response:
        body, _ = await shaped(request, TokenIn)
        lifetime = None if body.expires is None else lifetime_of(body.expires)
        now = served.now()
        token, secret = await run_in_threadpool(
            lambda: make_token(served.access, body.name, Role(body.role), now=now, lifetime=lifetime)
        )
        askers.forget()
        noted(request, f"token {token.id} of role {token.role} made")
        text = dumped({**token_row(token, now), "token": secret})
        return Response(text, 201, {"Cache-Control": "no-store"}, "application/json")

    @routes.delete(
        "/api/v1/tokens/{id}",
        status_code=204,
        summary="Revoke a token; other workers follow within seconds",
        responses=documented(404),
    )
    def revoke(
        request: Request,
        id: Annotated[str, Path(min_length=8, max_length=8, pattern="^[0-9a-f]+$")],  # noqa: A002
    ) -> Response:
        try:
            revoke_token(served.access, id, now=served.now())
        except UsageError as err:
            raise Problem(404, err.problem, err.remedy) from err
        askers.forget()
        noted(request, f"token {id} revoked")
        return Response(status_code=204)

    @routes.get(
        "/api/v1/audit",
        summary="The audit log, newest first",
        response_class=Response,
        responses={
            200: {
                "content": {
                    "application/json": {
                        "schema": {
                            "type": "object",
                            "properties": {"lines": {"type": "array", "items": {"type": "object"}}, "next": {}},
                        }
                    }
                }
            },
            **documented(),
        },
    )
    def audit(limit: Limit = 100, after: After = None) -> Response:
        found = served.access.audit(after=None if after is None else int(after), limit=limit)
        following = str(found[-1].number) if len(found) == limit else None
        return answered(dumped({"lines": [asdict(line) for line in found], "next": following}), None)

    return routes


# --- browsers -----------------------------------------------------------------------------------------

_FORM = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Log in - outweigh</title>
<style>
:root {{ color-scheme: light dark; font: 1rem/1.5 system-ui, sans-serif; }}
main {{ max-width: 26rem; margin: 15vh auto; padding: 0 1rem; }}
input, button {{ font: inherit; padding: .5rem; width: 100%; box-sizing: border-box; margin-top: .5rem; }}
</style></head>
<body><main><h1>outweigh</h1>{told}
<form method="post" action="/login{query}">
<label for="token">Token</label>
<input id="token" name="token" type="password" autocomplete="current-password" required autofocus>
<button>Log in</button></form>
<p>An owner makes one with <code>outweigh serve token create NAME --role reader</code>.</p>
</main></body></html>"""


def browser_router(askers: Askers) -> APIRouter:
    """`/login`, which exchanges a token for a cookie that no script can read, and `/logout`."""
    routes = APIRouter(include_in_schema=False)

    @routes.get("/login")
    def form(following: Annotated[str, Query(alias="next", max_length=2000)] = "/") -> Response:
        return _form("", following)

    @routes.post("/login")
    async def log_in(
        request: Request, following: Annotated[str, Query(alias="next", max_length=2000)] = "/"
    ) -> Response:
        raw = (await request.body())[:4096].decode("utf-8", "replace")
        given = parse_qs(raw, max_num_fields=5).get("token", [""])[0].strip()
        found = await run_in_threadpool(askers.log_in, given)
        if found is None:
            return _form("<p role='alert'>That token does not hold.</p>", following, status=401)
        session, token = found
        noted(request, f"token {token.id} logged in")
        answer = RedirectResponse(_own_path(following), 303)
        answer.set_cookie(
            COOKIE,
            session,
            max_age=round(SESSION.total_seconds()),
            httponly=True,
            samesite="strict",
            secure=request.url.scheme == "https",
        )
        return answer

    @routes.post("/logout")
    def log_out(request: Request) -> Response:
        askers.log_out(request.headers)
        answer = RedirectResponse("/login", 303)
        answer.delete_cookie(COOKIE)
        return answer

    return routes


def _form(told: str, following: str, *, status: int = 200) -> Response:
    from urllib.parse import quote

    own = _own_path(following)
    query = "" if own == "/" else f"?next={quote(own, safe='')}"
    return HTMLResponse(_FORM.format(told=told, query=query), status, {"Cache-Control": "no-store"})


def _own_path(text: str) -> str:
    """Where to go on to: a path of this server, never another one's address.

    >>> _own_path("/runs?limit=5"), _own_path("//elsewhere.example"), _own_path("https://elsewhere.example")
    ('/runs?limit=5', '/', '/')
    """
    own = text.startswith("/") and not text.startswith(("//", "/\\")) and text.isprintable() and "\\" not in text
    return text if own else "/"
