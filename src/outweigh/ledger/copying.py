"""A whole ledger into another store, link by link: the copy has the same chain, or there is none."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import TypeVar

from outweigh.core.chain import GENESIS
from outweigh.core.errors import LedgerCorrupt, LedgerError, UsageError
from outweigh.ports import KeepsChain, KeepsViews, Store, View
from outweigh.ports.serving import Documents

_PAGE = 500
_DOCUMENTS = ("plan", "verdict")
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Copied:
    """What a copy did: what is new in the target, what it had before, and the link its receipts end in."""

    receipts: int
    receipts_before: int
    views: int
    views_before: int
    documents: int
    chain: str


def copy_ledger(
    source: Store,
    target: Store,
    *,
    names: tuple[str, str] = ("the source", "the target"),
    told: Callable[[int, int], None] = lambda _done, _of: None,
) -> Copied:
    """Bring `target` to where `source` is: every receipt in its order, then every view, then plans and verdicts.

    What belongs to a server and not to the record is not copied: tokens, sessions, the audit log, plans that are
    being followed.

    Both chains of the source are verified before, those of the target after, and the target's link is compared with
    the source's after every page. What an interrupt leaves behind is the beginning of a copy; the next call goes on
    from there. The source may grow meanwhile; the target may be written by nobody else.

    Args:
        names: what the two are called in messages; not their URLs, which may hold a password.
        told: after each page, with receipts done and in all.

    Raises:
        UsageError: the target holds something that the source does not (it diverged): nothing was written. Or one of
            them is a store that keeps no chain.
        LedgerCorrupt: the source does not verify: nothing was written. Or the target does not, afterwards.
        LedgerError: one of them cannot be used, or somebody else wrote to the target meanwhile.
    """
    here, there = names
    if not isinstance(source, KeepsChain) or not isinstance(target, KeepsChain):
        raise UsageError("a ledger is copied by its hash chain, and one of the two keeps none", "Use export and import")
    source.verify()
    before = _common_beginning(source, target, here, there)
    seen = _common_views(source, target, here, there)
    done = before
    while source.head() != target.head():
        for page in _pages(source.chained(done)):
            target.append_all([entry.receipt for entry in page])
            done = page[-1].number
            if target.head() != (done, page[-1].chain):
                raise LedgerError(
                    there,
                    "somebody else wrote to it while it was copied to, so its chain is another now",
                    "Copy into an empty one that nobody uses yet; `outweigh ledger import` merges two that are used",
                )
            told(done, source.head()[0])
    views = _copy_views(source, target, seen)
    documents = _copy_documents(source, target)
    target.verify()
    number, chain = target.head()
    return Copied(number - before, before, views, seen, documents, chain)


def _common_beginning(source: KeepsChain, target: KeepsChain, here: str, there: str) -> int:
    """How many receipts of the source the target has. Raises UsageError where it has anything else."""
    kept, chain = target.head()
    if kept == 0:
        return 0
    in_all, _ = source.head()
    # The link of the same place covers everything before it: where it agrees, all of that does.
    same = kept <= in_all and _link_at(source, kept) == chain
    if not same:
        first = _first_difference(source, target, min(kept, in_all))
        raise UsageError(
            f"{there} is no beginning of {here}: they differ from receipt {first} on, and nothing was written",
            "Copy into an empty one; `outweigh ledger export` and `import` merge two ledgers",
        )
    return kept


def _link_at(ledger: KeepsChain, number: int) -> str:
    return GENESIS if number == 0 else next(iter(ledger.chained(number - 1))).chain


def _first_difference(source: KeepsChain, target: KeepsChain, shorter: int) -> int:
    """The first number at which two ledgers differ; agreeing links agree in all before, so halving will do."""
    low, high = 0, shorter
    while low < high:
        middle = (low + high + 1) // 2
        if _link_at(source, middle) == _link_at(target, middle):
            low = middle
        else:
            high = middle - 1
    return low + 1


def _common_views(source: Store, target: Store, here: str, there: str) -> int:
    """How many views of the source the target has, in the same order."""
    if not isinstance(target, KeepsViews):
        return 0
    theirs = source.views() if isinstance(source, KeepsViews) else iter(())
    count = 0
    for view in target.views():
        count += 1
        if next(theirs, None) != view:
            raise UsageError(
                f"{there} is no beginning of {here}: they differ from view {count} on, and nothing was written",
                "Copy into an empty one",
            )
    return count


def _copy_views(source: Store, target: Store, seen: int) -> int:
    if not isinstance(source, KeepsViews):
        return 0
    left = islice(source.views(), seen, None)
    if not isinstance(target, KeepsViews):
        if next(left, None) is not None:
            raise UsageError("the source has carbon and money of receipts, and the target keeps none", "Recompute them")
        return 0
    count = 0
    for page in _pages(left):
        count += _appended(target, page)
    return count


def _appended(target: KeepsViews, page: list[View]) -> int:
    kept = target.append_views(page)
    if kept != len(page):
        raise LedgerCorrupt("the target", "it has a view of the source in another place", "Copy into an empty one")
    return kept


def _copy_documents(source: Store, target: Store) -> int:
    """Those the target has not; a document is its content, so it is kept once however often it is sent."""
    if not isinstance(source, Documents) or not isinstance(target, Documents):
        return 0
    new = 0
    for kind in _DOCUMENTS:
        after = 0
        while page := source.documents(kind, after=after, limit=_PAGE):
            for one in page:
                _, fresh = target.keep_document(kind, one.body, named=one.id, project=one.project, at=one.kept_at)
                new += fresh
            after = page[-1].number
    return new


def _pages(entries: Iterable[_T]) -> Iterator[list[_T]]:
    left = iter(entries)
    while page := list(islice(left, _PAGE)):
        yield page
