"""The gate before the routes: host, origin, who asks, what they may, how often, how much; and the log of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime
from urllib.parse import quote

from anyio.to_thread import current_default_thread_limiter, run_sync
from starlette.datastructures import Headers
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from outweigh.core.errors import LedgerError
from outweigh.core.measurement import utc
from outweigh.dashboard.guard import bodies, rules
from outweigh.dashboard.guard.asking import NOBODY, Asker, Askers, shown
from outweigh.dashboard.guard.headers import with_ours
from outweigh.dashboard.guard.hosts import is_from_elsewhere, is_hidden_by_proxy, is_ours, own_names
from outweigh.dashboard.guard.limiting import Limiter
from outweigh.dashboard.problems import of_error, problem
from outweigh.ports.serving import Access, AuditLine, Role

# Threads of a worker that wait for the database: fewer than the 15 connections its pool may open.
_THREADS = 12
_LONGEST_PATH = 2048
_LOGIN = ("POST", "/login")
_TOKEN = "Send a token: `Authorization: Bearer ...`; `outweigh serve token create NAME --role reader` makes one"


class Gate:
    """An ASGI application before another: whatever it does not refuse goes on with `scope["state"]["asker"]`.

    Every answer, a refusal too, carries the headers of `headers`. What changes something is written into the audit log
    before it is answered: with the log out of reach nobody is told that it was done, and asking again is safe.

    Args:
        app: what is guarded. Its paths must be those the rules see: whatever rewrites them stands before the gate.
        wide: whether others than this machine can connect.
        names: host names that requests may be for, beside those of this machine.
        per_minute: requests by token or address; 0 without limit.
    """

    def __init__(
        self,
        app: ASGIApp,
        access: Access,
        askers: Askers,
        *,
        wide: bool,
        names: tuple[str, ...],
        per_minute: int,
        now: Callable[[], datetime],
    ) -> None:
        self._app, self._access, self._askers, self._now, self._wide = app, access, askers, now, wide
        self._names = own_names(names, wide=wide)
        self._per_minute = per_minute
        self._limiter: Limiter | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        if self._limiter is None:
            # Here and not before: both belong to the event loop that is running now.
            self._limiter = Limiter(self._per_minute)
            current_default_thread_limiter().total_tokens = _THREADS
        if scope["method"] == "HEAD":
            # RFC 9110, 9.3.2: as GET, without the body, which the server itself leaves out.
            scope = {**scope, "method": "GET"}
        headers = Headers(scope=scope)
        answer = _Answer(send, private=rules.needed(scope["method"], scope["path"]) is not None)
        asker, refusal = NOBODY, self._misdirected(scope, headers)
        if refusal is None:
            try:
                asker, refusal = await self._admitted(scope, headers)
            except LedgerError as err:
                refusal = of_error(err)
        if _has_body(headers):
            if refusal is None:
                try:
                    receive = await bodies.read(scope, receive, headers.get("content-length"))
                except bodies.BodyRefused as err:
                    refusal = problem(err.status, err.detail, "Send less, or faster")
            if refusal is not None:
                # The answer does not wait for whatever is still to come, and the connection ends here.
                refusal.headers["Connection"] = "close"
        if self._to_be_noted(scope, headers, refusal):
            answer.noting = lambda status: self._note(scope, asker, status)
        if refusal is not None:
            await refusal(scope, receive, bodies.lingering(answer, receive) if _has_body(headers) else answer)
            return
        scope.setdefault("state", {})["asker"] = asker
        await self._app(scope, receive, answer)

    def _misdirected(self, scope: Scope, headers: Headers) -> Response | None:
        hosts = headers.getlist("host")
        if len(hosts) != 1 or not is_ours(hosts[0], self._names, wide=self._wide):
            return problem(
                421, "this server does not answer for that host", "Use the address it printed, or start it with --name"
            )
        if len(scope["path"]) > _LONGEST_PATH or len(scope["query_string"]) > 4 * _LONGEST_PATH:
            return problem(400, "the address is too long", f"Stay below {_LONGEST_PATH} characters")
        if scope["method"] not in rules.SAFE and is_from_elsewhere(headers, scope["scheme"]):
            return _from_elsewhere(scope, headers)
        return None

    async def _admitted(self, scope: Scope, headers: Headers) -> tuple[Asker, Response | None]:
        limiter = self._limiter
        assert limiter is not None
        needs = rules.needed(scope["method"], scope["path"])
        address = scope["client"][0] if scope["client"] else ""
        asker = self._askers.remembered(headers)
        secret, _ = shown(headers)
        if asker is None:
            guessed = secret is not None and not self._askers.held_before(headers)
            if guessed and (wait_s := await limiter.wrong_wait_s(address)):
                return NOBODY, _busy(wait_s, "too many tokens from that address did not hold")
            asker = await run_sync(self._askers.found, headers)
        if secret is not None and asker.role is None:
            # A secret that was revoked is no guess, but whoever goes on with it would fill the log all the same.
            if wait_s := await limiter.wrong_wait_s(address):
                return NOBODY, _busy(wait_s, "too many tokens from that address did not hold")
            await limiter.was_wrong(address)
        who = address if asker.role is None or asker.who == "local" else asker.who
        if wait_s := await limiter.wait_s(who):
            return asker, _busy(wait_s, "too many requests")
        if (scope["method"], scope["path"]) == _LOGIN and (wait_s := await limiter.wrong_wait_s(address)):
            return asker, _busy(wait_s, "too many tokens from that address did not hold")
        if needs is None:
            return asker, None
        if asker.role is None:
            return asker, self._nobody(scope, headers)
        if not rules.allows(asker.role, needs):
            if asker.who == "local":
                return asker, self._nobody(scope, headers)
            return asker, problem(
                403, f"this asks for the role {needs}, and the token has {asker.role}", "Use a token of that role"
            )
        if asker.by_cookie and scope["method"] not in rules.SAFE and "origin" not in headers:
            # Browsers say where a write comes from; without that word a cookie proves nothing.
            return asker, problem(403, "a session may write only from a page of this server", "Send a token instead")
        return asker, None

    def _nobody(self, scope: Scope, headers: Headers) -> Response:
        if scope["method"] == "GET" and "authorization" not in headers and "text/html" in headers.get("accept", ""):
            query = scope["query_string"].decode("latin-1")
            wanted = scope["path"] + (f"?{query}" if query else "")
            return RedirectResponse(f"/login?next={quote(wanted, safe='')}", 303)
        given = "authorization" in headers or "cookie" in headers
        detail = "the token does not hold: unknown, expired or revoked" if given else "this asks for a token"
        return problem(401, detail, _TOKEN, headers={"WWW-Authenticate": 'Bearer realm="outweigh"'})

    @staticmethod
    def _to_be_noted(scope: Scope, headers: Headers, refusal: Response | None) -> bool:
        if refusal is None:
            return rules.audited(scope["method"], scope["path"])
        # Refusals for who somebody is, where they said who: anything else would let anybody fill the log.
        return refusal.status_code in (401, 403) and shown(headers)[0] is not None

    async def _note(self, scope: Scope, asker: Asker, status: int) -> None:
        if (
            (scope["method"], scope["path"]) == _LOGIN
            and status == 401
            and self._limiter is not None
            and scope["client"]
        ):
            await self._limiter.was_wrong(scope["client"][0])
        line = AuditLine(
            at=utc(self._now()),
            who=asker.who,
            role=asker.role.value if isinstance(asker.role, Role) else "",
            address=scope["client"][0] if scope["client"] else "",
            method=_clean(scope["method"], 20),
            path=_clean(scope["path"], 300),
            status=status,
            detail=_clean(scope.get("state", {}).get("noted", ""), 300),
        )
        # Whoever asked may be gone by now; what was done is written down all the same.
        await asyncio.shield(run_sync(self._access.note, line))


class _Answer:
    """Sends an answer with our headers, once what is to be noted is."""

    def __init__(self, send: Send, *, private: bool) -> None:
        self._send, self._private = send, private
        self._replaced = False
        self.noting: Callable[[int], object] | None = None

    async def __call__(self, message: Message) -> None:
        if self._replaced:
            return
        if message["type"] == "http.response.start":
            if self.noting is not None:
                noting, self.noting = self.noting, None
                try:
                    await noting(message["status"])  # type: ignore[misc]
                except LedgerError as err:
                    self._replaced = True
                    instead = of_error(err)
                    headers = with_ours(list(instead.raw_headers), private=True)
                    await self._send({"type": "http.response.start", "status": instead.status_code, "headers": headers})
                    await self._send({"type": "http.response.body", "body": instead.body})
                    return
            message = {**message, "headers": with_ours(list(message.get("headers", [])), private=self._private)}
        await self._send(message)


def _busy(wait_s: int, detail: str) -> Response:
    return problem(429, detail, f"Wait {wait_s} s", headers={"Retry-After": str(wait_s)})


def _from_elsewhere(scope: Scope, headers: Headers) -> Response:
    if not is_hidden_by_proxy(headers, scope["scheme"]):
        return problem(403, "a page of another site asks", "Ask from a page of this server, or with a token")
    asked = f"{scope['scheme']}://{headers['host']}"
    return problem(
        403,
        f"a page of another site asks: it is at {headers['origin']}, and this server was asked by {asked}",
        "With a proxy in front, start with --behind and the proxy's address, and let the proxy send the browser's own "
        "Host with its port, and X-Forwarded-Proto",
    )


def _has_body(headers: Headers) -> bool:
    return "transfer-encoding" in headers or headers.get("content-length", "0") != "0"


def _clean(text: str, longest: int) -> str:
    """What a line of the log can hold: no control characters, and a database's text knows no NUL."""
    return "".join(sign if sign.isprintable() else "\N{REPLACEMENT CHARACTER}" for sign in text)[:longest]
