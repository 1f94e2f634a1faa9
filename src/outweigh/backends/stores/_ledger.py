"""What every store in SQL does alike: open late, hand on to the ledger, and say in our words what the database said."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from outweigh.core.following import Lease, StepKind, StepTaken
from outweigh.core.receipt import Receipt
from outweigh.ports import ReceiptFilter, View

if TYPE_CHECKING:
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

    def _ledger(self) -> SqlLedger:
        if self._opened is None:
            self._opened = self._connected()
        return self._opened
