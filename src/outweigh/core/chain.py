"""The hash chain of a ledger: each receipt's link covers all that were kept before it."""

from __future__ import annotations

import hashlib

#: What the first receipt follows.
GENESIS = "0" * 64


def link(prev_chain: str, address: str) -> str:
    """The chain value [SHA-256, hex] of a receipt at `address` that follows `prev_chain`.

    >>> link(GENESIS, "ab")[:12]
    '27dc4e130f54'
    """
    return hashlib.sha256((prev_chain + address).encode()).hexdigest()
