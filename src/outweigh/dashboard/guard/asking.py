"""Who asks: a token, a browser that showed one, somebody on this machine, or nobody."""

from __future__ import annotations

import hmac
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from http.cookies import CookieError, SimpleCookie

from outweigh.app.serving.tokens import digest_of
from outweigh.core.measurement import utc
from outweigh.ports.serving import Access, Role, Token

COOKIE = "outweigh_session"
SESSION = timedelta(hours=12)
#: For so long a worker goes by what it knows of a token [s]: a revoked one may be good for that much longer.
REMEMBERED_S = 5.0
_MOST_REMEMBERED = 4096
_LONGEST_SECRET = 200


@dataclass(frozen=True, slots=True)
class Asker:
    """Who asks, and what they may do. `by_cookie`: the browser sent it of its own accord, whoever made it ask."""

    who: str
    role: Role | None
    by_cookie: bool = False


NOBODY = Asker("nobody", None)
LOCAL = Asker("local", Role.READER)


class Askers:
    """Finds out who asks, and remembers it for a few seconds. Its methods read the database: not for an event loop."""

    def __init__(self, access: Access, *, wide: bool, now: Callable[[], datetime]) -> None:
        self._access, self._wide, self._now = access, wide, now
        self._known: dict[str, tuple[float, Token]] = {}
        self._any_token: tuple[float, bool] = (0.0, True)

    def remembered(self, headers: Mapping[str, str]) -> Asker | None:
        """Who it is, where that takes no look at the database; else None."""
        secret, by_cookie = shown(headers)
        moment = time.monotonic()
        if secret is None:
            until, there_are = self._any_token
            return None if moment >= until and not self._wide else self._unnamed(headers, there_are=there_are)
        digest = digest_of(secret)
        known = self._known.get(digest)
        if known is None or moment >= known[0]:
            return None
        return self._asker(known[1], by_cookie=by_cookie)

    def held_before(self, headers: Mapping[str, str]) -> bool:
        """Whether this worker has seen that secret hold: it is no guess, though it may be revoked by now."""
        secret, _ = shown(headers)
        return secret is not None and digest_of(secret) in self._known

    def found(self, headers: Mapping[str, str]) -> Asker:
        """Who it is. A secret that is not known makes nobody of them. Raises LedgerError."""
        secret, by_cookie = shown(headers)
        moment, at = time.monotonic(), utc(self._now())
        if secret is None:
            if not self._wide:
                self._any_token = (moment + REMEMBERED_S, self._access.any_token(at=at))
            return self._unnamed(headers, there_are=self._any_token[1])
        digest = digest_of(secret)
        if by_cookie:
            token = self._access.session_of(digest, at=at)
        else:
            token = self._access.token_of(digest)
            if token is not None and not hmac.compare_digest(token.digest, digest):
                token = None
        if token is not None:
            if len(self._known) >= _MOST_REMEMBERED:
                self._known.clear()
            self._known[digest] = (moment + REMEMBERED_S, token)
        else:
            self._known.pop(digest, None)
        return self._asker(token, by_cookie=by_cookie)

    def forget(self) -> None:
        """What this worker remembers: a token was made or revoked. That a secret held it goes on knowing."""
        self._known = {digest: (0.0, token) for digest, (_, token) in list(self._known.items())}
        self._any_token = (0.0, True)

    def log_in(self, secret: str) -> tuple[str, Token] | None:
        """A session's secret for a token's, or None where that one does not hold."""
        token = self._access.token_of(digest_of(secret)) if len(secret) <= _LONGEST_SECRET else None
        now = self._now()
        if token is None or not token.holds(utc(now)):
            return None
        session = secrets.token_urlsafe(32)
        self._access.begin_session(digest_of(session), token.id, at=utc(now), until=utc(now + SESSION))
        return session, token

    def log_out(self, headers: Mapping[str, str]) -> None:
        secret, by_cookie = shown(headers)
        if secret is not None and by_cookie:
            self._known.pop(digest_of(secret), None)
            self._access.end_session(digest_of(secret))

    def _unnamed(self, headers: Mapping[str, str], *, there_are: bool) -> Asker:
        # On this machine alone, and as long as nobody made a token, all may read; as soon as there is one, it counts.
        # Who comes through a proxy is not on this machine, whatever the connection says.
        proxied = any(name in headers for name in ("x-forwarded-for", "x-real-ip", "forwarded", "via"))
        return NOBODY if self._wide or there_are or proxied else LOCAL

    def _asker(self, token: Token | None, *, by_cookie: bool) -> Asker:
        if token is None or not token.holds(utc(self._now())):
            return NOBODY
        return Asker(token.id, token.role, by_cookie)


def shown(headers: Mapping[str, str]) -> tuple[str | None, bool]:
    """The secret that came along, and whether in a cookie. A bearer's goes first; "" where it is none at all."""
    given = headers.get("authorization")
    if given is not None:
        scheme, _, secret = given.partition(" ")
        secret = secret.strip()
        return (secret if scheme.lower() == "bearer" and len(secret) <= _LONGEST_SECRET else ""), False
    try:
        cookies = SimpleCookie(headers.get("cookie", ""))
    except CookieError:
        return None, False
    found = cookies.get(COOKIE)
    return (None, False) if found is None or not found.value else (found.value[:_LONGEST_SECRET], True)
