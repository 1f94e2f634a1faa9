"""The tokens of a ledger, from the command line: whoever may write the ledger owns what is served from it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from outweigh.app.files import opened
from outweigh.app.serving.tokens import lifetime_of, make_token, revoke_token, token_row, token_rows
from outweigh.core.errors import UsageError
from outweigh.ports.serving import Access, Role


def created(ledger: str | None, name: str, role: str, expires: str | None) -> tuple[dict[str, Any], str]:
    """A new token's row, and its secret. Raises UsageError, LedgerError."""
    lifetime = None if expires is None else lifetime_of(expires)
    now = datetime.now(UTC)
    with _access(ledger) as access:
        token, secret = make_token(access, name, Role(role), now=now, lifetime=lifetime)
    return token_row(token, now), secret


def listed(ledger: str | None) -> list[dict[str, Any]]:
    """All tokens as rows. Raises LedgerError."""
    with _access(ledger, create=False) as access:
        return token_rows(access, datetime.now(UTC))


def revoked(ledger: str | None, token: str) -> None:
    """Raises UsageError where there is no token of that id, LedgerError."""
    with _access(ledger, create=False) as access:
        revoke_token(access, token, now=datetime.now(UTC))


@contextmanager
def _access(ledger: str | None, *, create: bool = True) -> Iterator[Access]:
    with opened(ledger, create=create) as store:
        if not isinstance(store, Access):
            raise UsageError(
                f"the store {type(store).__name__} keeps no tokens", "Serve from a SQLite file or a PostgreSQL database"
            )
        yield store
