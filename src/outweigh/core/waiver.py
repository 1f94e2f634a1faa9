"""Waivers: dated exceptions that somebody answers for."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime

from outweigh.core.errors import InvalidQuantity

_HASH = re.compile(r"[0-9a-f]{12,64}")


@dataclass(frozen=True, slots=True)
class Waiver:
    """Lets a proposal go ahead against the verdict, until a day.

    It excuses what was weighed and nothing else: a proposal of another content is another proposal.

    Attributes:
        proposal: name of the variant.
        content: its content hash, or the first twelve digits of it or more.
        verdict: id of the verdict that is waived, likewise.
        owner, reason: who answers for it, and why.
        expires: the instant from which it no longer counts.
        parts: the parts of the gate it excuses ("caps: serve"); all of them when empty.
    """

    proposal: str
    content: str
    verdict: str
    owner: str
    reason: str
    expires: datetime
    parts: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name, text in (("owner", self.owner), ("reason", self.reason), ("proposal", self.proposal)):
            if not text.strip():
                raise InvalidQuantity(f"waiver {name}", repr(text), f"a waiver without {name} is refused: write it")
        for name, text in (("content", self.content), ("verdict", self.verdict)):
            if not _HASH.fullmatch(text):
                raise InvalidQuantity(
                    f"waiver {name}", repr(text), "give twelve digits or more of it, as `outweigh gate` prints it"
                )
        if self.expires.tzinfo is None:
            raise InvalidQuantity("waiver expires", repr(self.expires), "give it a time zone; we keep UTC")

    def counts(self, now: datetime, proposal: str, content: str) -> bool:
        """Whether it speaks of this proposal, and still holds."""
        return now < self.expires and self.proposal == proposal and bool(content) and content.startswith(self.content)

    def excuses(self, part: str) -> bool:
        return not self.parts or part in self.parts
