"""What a server asks of a store: receipts as text, documents, and who may ask for what.

A store may offer these beside `Store`; one that does can be served from.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from outweigh.core.receipt import Receipt
    from outweigh.ports import ReceiptFilter


class Role(StrEnum):
    """What somebody who shows a token may do: each may do what those before it may."""

    READER = "reader"  # everything that is shown
    WRITER = "writer"  # and receipts, plans and verdicts sent in
    OWNER = "owner"  # and tokens made and revoked, and the audit log read


@dataclass(frozen=True, slots=True)
class KeptText:
    """A receipt or a document as the text it was kept as.

    Attributes:
        number: its place in the order of writing, from 1; pages go on from it.
        address: SHA-256 [hex] of the text.
        text: canonical JSON.
    """

    number: int
    address: str
    text: str


@runtime_checkable
class KeepsTexts(Protocol):
    """What a store may offer beside `Store`: receipts as the text they were kept as, a page at a time.

    For a server, which hands them on and need not build each of them. Nothing altered is handed out: a text that is
    not what its address says raises LedgerCorrupt. Fails with LedgerError.
    """

    def append_new(self, receipts: Sequence[Receipt]) -> tuple[tuple[str, bool], ...]:
        """Keep many with one flush, all or none: (address, whether it was new) of each."""

    def texts(
        self, which: ReceiptFilter, *, after: int | None = None, limit: int, newest: bool = False
    ) -> tuple[KeptText, ...]:
        """Up to `limit` of them in the order written, or the other way round, from behind number `after` on."""

    def text(self, address: str) -> KeptText:
        """By content hash or a unique prefix of it. Raises UsageError where there is none."""

    def head(self) -> tuple[int, str]:
        """How many receipts there are, and the last link [SHA-256] of their chain."""

    def drawn(self) -> tuple[tuple[str, str, str, str, int, float], ...]:
        """(project, phase, grade, scope, receipts, energy [J]) of what is kept and usable.

        A scope may lie in another one: energies of two scopes are never added. Within one, runs that were measured
        side by side on one machine each hold what the machine drew.
        """


@dataclass(frozen=True, slots=True)
class Document:
    """A plan or a verdict that was sent in. What it says is fixed: another text is another document.

    Attributes:
        number: its place in the order of writing, from 1.
        kind: "plan", "verdict".
        address: SHA-256 [hex] of `body`.
        id: its sender's name for it; several documents may have one, the last of them is the one that holds.
        project: whose it is, or "".
        body: canonical JSON.
        kept_at: ISO 8601 in UTC.
    """

    number: int
    kind: str
    address: str
    id: str
    project: str
    body: str
    kept_at: str


@runtime_checkable
class Documents(Protocol):
    """What a store may offer beside `Store`: plans and verdicts by kind, id and address. Fails with LedgerError."""

    def keep_document(self, kind: str, body: str, *, named: str, project: str, at: str) -> tuple[str, bool]:
        """Its address, and whether it was new. The same body of the same kind is kept once, under its first id."""

    def documents(
        self,
        kind: str,
        *,
        named: str = "",
        project: str = "",
        after: int | None = None,
        limit: int = 100,
        newest: bool = False,
    ) -> tuple[Document, ...]:
        """Up to `limit` of them in the order written, or the other way round, from behind number `after` on."""

    def document(self, kind: str, address: str) -> Document:
        """By address or a unique prefix of it. Raises UsageError where there is none."""


@dataclass(frozen=True, slots=True)
class Token:
    """Who may ask a server for what. The secret itself is kept nowhere.

    Attributes:
        id: what people call it by; no secret.
        digest: SHA-256 [hex] of the secret.
        made_at, expires_at, revoked_at: ISO 8601 in UTC; None where that has not happened or never will.
    """

    id: str
    name: str
    role: Role
    digest: str
    made_at: str
    expires_at: str | None = None
    revoked_at: str | None = None

    def holds(self, at: str) -> bool:
        """Whether it is good at that time (ISO 8601 in UTC, as `core.measurement.utc` writes it)."""
        return self.revoked_at is None and (self.expires_at is None or at < self.expires_at)


@dataclass(frozen=True, slots=True)
class AuditLine:
    """One line of the audit log: who did what, when, and what came of it. Never a secret, never a body.

    Attributes:
        number: its place, from 1; 0 before it is kept.
        who: id of the token, or "nobody".
        address: where it came from.
        status: of the answer (HTTP).
    """

    at: str
    who: str
    role: str
    address: str
    method: str
    path: str
    status: int
    detail: str = ""
    number: int = 0


@dataclass(frozen=True, slots=True)
class Answered:
    """What was answered to a write under its key; `status` is 0 while the answer is outstanding."""

    request: str
    status: int
    body: str


@runtime_checkable
class Access(Protocol):
    """What a store may offer beside `Store`: tokens, sessions, the audit log, and answers by key. LedgerError."""

    def make_token(self, token: Token) -> None: ...

    def tokens(self) -> tuple[Token, ...]:
        """All there ever were, in the order made."""

    def token_of(self, digest: str) -> Token | None:
        """The token of that secret's SHA-256; whether it holds is for the caller to ask."""

    def revoke_token(self, token: str, *, at: str) -> bool:
        """By its id; False where there is none of it. One that was revoked stays revoked as of then."""

    def any_token(self, *, at: str) -> bool:
        """Whether there is one that holds."""

    def begin_session(self, digest: str, token: str, *, at: str, until: str) -> None:
        """Remember a browser by the SHA-256 of its secret, for a token's id. Those that are over are forgotten."""

    def session_of(self, digest: str, *, at: str) -> Token | None:
        """The token of a session that is not over."""

    def end_session(self, digest: str) -> None: ...

    def note(self, line: AuditLine) -> None: ...

    def audit(self, *, after: int | None = None, limit: int = 100) -> tuple[AuditLine, ...]:
        """The newest first, from before number `after` on."""

    def asked_before(self, who: str, key: str, request: str, *, at: str, forget: str) -> Answered:
        """What is known of a write under this key, which is entered if it is new.

        Args:
            request: SHA-256 of what is asked now. What comes back is that of what was asked first.
            forget: keys older than this time are forgotten first.
        """

    def answered(self, who: str, key: str, status: int, body: str) -> Answered:
        """Keep the answer; where there is one already, that one stands, and comes back."""
