"""Writes that may be asked twice and are done once: by their key, over all workers, and by their content anyway."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from datetime import datetime, timedelta

from outweigh.core.errors import OutweighError
from outweigh.core.measurement import utc
from outweigh.ports.serving import Access

#: How long a key is remembered. An agent that was away for longer sends under a new one, and content decides.
REMEMBERED = timedelta(hours=24)


class KeyReused(OutweighError):
    """A key came a second time, with another body."""

    def __init__(self, key: str, remedy: str) -> None:
        super().__init__(key, remedy)
        self.key = key

    def __str__(self) -> str:
        return f"the key {self.key[:40]!r} came before with another body. {self.remedy}"


def once(
    access: Access, *, who: str, key: str, request: bytes, now: datetime, do: Callable[[], tuple[int, str]]
) -> tuple[int, str]:
    """Status and body of a write: those of the first time where this key was seen before.

    What `do` does must be the same when done twice (receipts and documents are, by their content): a worker that dies
    between doing and answering leaves a key whose answer is outstanding, and the next one does it again. Of two at
    once, both are told what the first to finish says. What fails is not remembered, so it can be tried again.

    Args:
        who: id of the token; keys of different ones are different.
        key: "" does without.
        request: what is asked, path and body.

    Raises:
        KeyReused: the key was seen with another request.
    """
    if not key:
        return do()
    asked = hashlib.sha256(request).hexdigest()
    before = access.asked_before(who, key, asked, at=utc(now), forget=utc(now - REMEMBERED))
    if before.request != asked:
        raise KeyReused(key, "Use a new key for what is new")
    if before.status:
        return before.status, before.body
    status, body = do()
    told = access.answered(who, key, status, body)
    return told.status, told.body


def canonical(body: object) -> str:
    """The one way a document is written as text; its SHA-256 is its address. Raises ValueError for NaN."""
    return json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
