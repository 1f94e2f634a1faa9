"""What every store in SQL does alike: open late, hand on to the ledger, and say in our words what the database said."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from outweigh.core.following import Lease, StepKind, StepTaken
from outweigh.core.receipt import Receipt
from outweigh.ports import ChainedReceipt, ReceiptFilter, View
from outweigh.ports.serving import Answered, AuditLine, Document, KeptText, Token

if TYPE_CHECKING:
    from outweigh.backends.stores._access import SqlAccess
    from outweigh.backends.stores._documents import SqlDocuments
    from outweigh.backends.stores._followings import SqlFollowings
    from outweigh.backends.stores._sql import SqlLedger


class LedgerStore(ABC):
    """A store whose ledger lies in a database, connected to when it is first used.

    `get` raises UsageError for an address that is not there; what is wrong with the database is a LedgerError or
    LedgerCorrupt.
    """

    def __init__(self, *, create: bool) -> None:
        self._create = create
        self._opened: SqlLedger | None = None

    @abstractmethod
    def _connected(self) -> SqlLedger:
        """The ledger, migrated and looked over."""

    @abstractmethod
    def _translated(self) -> AbstractContextManager[None]:
        """Inside it, errors of the database become ours."""

    def append(self, receipt: Receipt) -> str:
        with self._translated():
            return self._ledger().append(receipt)

    def get(self, address: str) -> Receipt:
        with self._translated():
            return self._ledger().get(address)

    def receipts(self, which: ReceiptFilter) -> Iterator[tuple[str, Receipt]]:
        """In the order they were written; `limit` keeps the latest. `within` takes every run that overlaps it."""
        with self._translated():
            yield from self._ledger().receipts(which)

    def append_views(self, views: Sequence[View]) -> int:
        """Keep views of receipts, all or none; how many were new. See `ports.KeepsViews`."""
        with self._translated():
            return self._ledger().append_views(views)

    def views(self, address: str = "") -> Iterator[View]:
        """Views of the receipt at that whole address, or of all, in the order written."""
        with self._translated():
            yield from self._ledger().views(address)

    def verify(self) -> int:
        """Number of receipts, after a check of address, columns and link of each receipt and each view."""
        with self._translated():
            return self._ledger().verify()

    def head(self) -> tuple[int, str]:
        """(count, chain) of the last receipt. Kept elsewhere, it also shows a ledger rewritten from its beginning."""
        with self._translated():
            return self._ledger().head()

    def chained(self, after: int = 0) -> Iterator[ChainedReceipt]:
        """Receipts after that number with their links, each checked as it is read. See `ports.KeepsChain`."""
        with self._translated():
            from outweigh.backends.stores._chain import chained

            yield from chained(self._ledger(), after)

    # Followings: see `ports.KeepsFollowings`.

    def append_all(self, receipts: Sequence[Receipt]) -> tuple[str, ...]:
        with self._translated():
            return self._ledger().append_all(receipts)

    def follow(self, following: str, body: str, bodies: Mapping[str, str]) -> bool:
        with self._translated():
            return self._followings().follow(following, body, bodies)

    def followings(self, *, over: bool | None = None) -> Iterator[tuple[str, str]]:
        with self._translated():
            yield from self._followings().followings(over=over)

    def followed(self, following: str) -> tuple[str, Mapping[str, str]]:
        with self._translated():
            return self._followings().followed(following)

    def lead(self, following: str, holder: str, *, ttl_s: float, gone: Callable[[str], bool]) -> Lease | None:
        with self._translated():
            return self._followings().lead(following, holder, ttl_s=ttl_s, gone=gone)

    def leader(self, following: str) -> str:
        with self._translated():
            return self._followings().leader(following)

    def write(
        self,
        lease: Lease,
        *,
        ttl_s: float,
        body: str | None = None,
        bodies: Mapping[str, str] | None = None,
        taking: Sequence[tuple[str, StepKind, str, str]] = (),
        outcomes: Mapping[int, str] | None = None,
        over: bool | None = None,
    ) -> tuple[StepTaken, ...]:
        with self._translated():
            return self._followings().write(
                lease, ttl_s=ttl_s, body=body, bodies=bodies, taking=taking, outcomes=outcomes, over=over
            )

    def steps(self, following: str, *, still_open: bool = False) -> Iterator[StepTaken]:
        with self._translated():
            yield from self._followings().steps(following, still_open=still_open)

    def let_go(self, lease: Lease) -> None:
        with self._translated():
            self._followings().let_go(lease)

    # Texts: see `ports.KeepsTexts`.

    def append_new(self, receipts: Sequence[Receipt]) -> tuple[tuple[str, bool], ...]:
        with self._translated():
            return self._ledger().append_new(receipts)

    def texts(
        self, which: ReceiptFilter, *, after: int | None = None, limit: int, newest: bool = False
    ) -> tuple[KeptText, ...]:
        with self._translated():
            return self._ledger().texts(which, after=after, limit=limit, newest=newest)

    def text(self, address: str) -> KeptText:
        with self._translated():
            return self._ledger().text(address)

    def drawn(self) -> tuple[tuple[str, str, str, str, int, float], ...]:
        with self._translated():
            return self._ledger().drawn()

    # Documents: see `ports.Documents`.

    def keep_document(self, kind: str, body: str, *, named: str, project: str, at: str) -> tuple[str, bool]:
        with self._translated():
            return self._documents().keep(kind, body, named=named, project=project, at=at)

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
        with self._translated():
            return self._documents().page(kind, named=named, project=project, after=after, limit=limit, newest=newest)

    def document(self, kind: str, address: str) -> Document:
        with self._translated():
            return self._documents().one(kind, address)

    # Access: see `ports.Access`.

    def make_token(self, token: Token) -> None:
        with self._translated():
            self._access().make_token(token)

    def tokens(self) -> tuple[Token, ...]:
        with self._translated():
            return self._access().tokens()

    def token_of(self, digest: str) -> Token | None:
        with self._translated():
            return self._access().token_of(digest)

    def revoke_token(self, token: str, *, at: str) -> bool:
        with self._translated():
            return self._access().revoke_token(token, at=at)

    def any_token(self, *, at: str) -> bool:
        with self._translated():
            return self._access().any_token(at=at)

    def begin_session(self, digest: str, token: str, *, at: str, until: str) -> None:
        with self._translated():
            self._access().begin_session(digest, token, at=at, until=until)

    def session_of(self, digest: str, *, at: str) -> Token | None:
        with self._translated():
            return self._access().session_of(digest, at=at)

    def end_session(self, digest: str) -> None:
        with self._translated():
            self._access().end_session(digest)

    def note(self, line: AuditLine) -> None:
        with self._translated():
            self._access().note(line)

    def audit(self, *, after: int | None = None, limit: int = 100) -> tuple[AuditLine, ...]:
        with self._translated():
            return self._access().audit(after=after, limit=limit)

    def asked_before(self, who: str, key: str, request: str, *, at: str, forget: str) -> Answered:
        with self._translated():
            return self._access().asked_before(who, key, request, at=at, forget=forget)

    def answered(self, who: str, key: str, status: int, body: str) -> Answered:
        with self._translated():
            return self._access().answered(who, key, status, body)

    def close(self) -> None:
        if self._opened is not None:
            self._opened.engine.dispose()
            self._opened = None

    def _open_now(self) -> None:
        with self._translated():
            self._ledger()

    def _followings(self) -> SqlFollowings:
        from outweigh.backends.stores._followings import SqlFollowings

        return SqlFollowings(self._ledger())

    def _documents(self) -> SqlDocuments:
        from outweigh.backends.stores._documents import SqlDocuments

        return SqlDocuments(self._ledger())

    def _access(self) -> SqlAccess:
        from outweigh.backends.stores._access import SqlAccess

        return SqlAccess(self._ledger())

    def _ledger(self) -> SqlLedger:
        if self._opened is None:
            self._opened = self._connected()
        return self._opened
