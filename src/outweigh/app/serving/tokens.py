"""Tokens: who may ask a server for what. A secret is shown once, when it is made, and kept nowhere."""

from __future__ import annotations

import hashlib
import re
import secrets
from datetime import datetime, timedelta
from typing import Any

from outweigh.core.errors import UsageError
from outweigh.core.measurement import utc
from outweigh.ports.serving import Access, Role, Token

PREFIX = "ow_"  # so that scanners for lost secrets know one when they see it
LONGEST_NAME = 100
_LONGEST_LIFE = timedelta(days=3660)


def digest_of(secret: str) -> str:
    """SHA-256 [hex] of a secret. It is 256 random bits: a salt or a slow hash would add nothing."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def make_token(
    access: Access, name: str, role: Role, *, now: datetime, lifetime: timedelta | None = None
) -> tuple[Token, str]:
    """A new token, and its secret, which nobody can show again.

    Raises:
        UsageError: the name has control characters or is empty or long, or the lifetime is not above 0.
    """
    name = name.strip()
    if not name or len(name) > LONGEST_NAME or not name.isprintable():
        raise UsageError(
            f"a token needs a name of 1 to {LONGEST_NAME} printable characters", "Say what or who will use it"
        )
    if lifetime is not None and not timedelta(0) < lifetime <= _LONGEST_LIFE:
        raise UsageError("a token lives for more than no time and at most ten years", "Write 90d, or leave it out")
    secret = PREFIX + secrets.token_urlsafe(32)
    token = Token(
        id=secrets.token_hex(4),
        name=name,
        role=role,
        digest=digest_of(secret),
        made_at=utc(now),
        expires_at=None if lifetime is None else utc(now + lifetime),
    )
    access.make_token(token)
    return token, secret


def token_rows(access: Access, now: datetime) -> list[dict[str, Any]]:
    """All tokens as rows, in the order made: never a secret, nor its hash."""
    return [token_row(token, now) for token in access.tokens()]


def token_row(token: Token, now: datetime) -> dict[str, Any]:
    state = "revoked" if token.revoked_at else "holds" if token.holds(utc(now)) else "expired"
    return {
        "id": token.id,
        "name": token.name,
        "role": token.role.value,
        "state": state,
        "made_at": token.made_at,
        "expires_at": token.expires_at,
        "revoked_at": token.revoked_at,
    }


def revoke_token(access: Access, token: str, *, now: datetime) -> None:
    """Raises UsageError where there is no token of that id."""
    if not re.fullmatch("[0-9a-f]{8}", token) or not access.revoke_token(token, at=utc(now)):
        raise UsageError(f"no token has the id {token[:40]!r}", "`outweigh serve token list` shows them")


def lifetime_of(text: str) -> timedelta:
    """
    >>> lifetime_of("90d"), lifetime_of("12h")
    (datetime.timedelta(days=90), datetime.timedelta(seconds=43200))
    """
    found = re.fullmatch(r"([0-9]{1,5})([dh])", text.strip())
    if found is None:
        raise UsageError(f"{text[:40]!r} is not a lifetime", "Write 90d or 12h")
    return timedelta(days=int(found[1])) if found[2] == "d" else timedelta(hours=int(found[1]))
