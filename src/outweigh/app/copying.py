"""A ledger into another store: what `outweigh ledger copy` does."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack, closing
from typing import Any
from urllib.parse import urlsplit

from outweigh.ledger import open_ledger
from outweigh.ledger.copying import copy_ledger


def copy(source: str, target: str, *, told: Callable[[str, float], None]) -> dict[str, Any]:
    """Copy the ledger at one path or URL to the other. See `ledger.copying.copy_ledger` for the promises and errors.

    Args:
        told: what is done, and which part of it, in [0, 1].
    """
    names = (_named(source), _named(target))
    with ExitStack() as opened:
        here = opened.enter_context(closing(open_ledger(source, create=False)))
        there = opened.enter_context(closing(open_ledger(target)))
        told(f"verifying {names[0]}", 0.0)
        done = copy_ledger(
            here, there, names=names, told=lambda n, of: told(f"{n} of {of} receipts", n / of if of else 1.0)
        )
    return {
        "from": names[0],
        "to": names[1],
        "receipts": done.receipts,
        "receipts_before": done.receipts_before,
        "views": done.views,
        "views_before": done.views_before,
        "documents": done.documents,
        "chain": done.chain,
    }


def _named(location: str) -> str:
    """What messages call a ledger: a path, or a URL without user, password and parameters."""
    if "://" not in location:
        return location
    parts = urlsplit(location)
    port = f":{parts.port}" if parts.port else ""
    return f"{parts.scheme}://{parts.hostname or ''}{port}{parts.path}"
