"""The receipts of a ledger in SQL with the links of their chain, from any place on, each checked as it is read."""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import select

from outweigh.backends.stores._sql import _PAGE, _RESTORE, SqlLedger, _checked, head, receipts
from outweigh.core.chain import GENESIS, link
from outweigh.core.errors import LedgerCorrupt
from outweigh.ports import ChainedReceipt


def chained(ledger: SqlLedger, after: int) -> Iterator[ChainedReceipt]:
    """Receipts `after` + 1 and on, up to the last when it is first asked, in pages as `SqlLedger.receipts`.

    Raises:
        LedgerCorrupt: one is missing, was altered or does not follow the one before it.
    """
    with ledger.engine.connect() as connection:
        last = connection.execute(select(head.c.kept)).scalar_one_or_none()
        before = connection.execute(select(receipts.c.chain).where(receipts.c.seq == after)).scalar_one_or_none()
    if last is None:
        raise LedgerCorrupt(ledger.location, "its head is missing", _RESTORE)
    if after > 0 and after <= last and before is None:
        raise LedgerCorrupt(ledger.location, f"receipt {after} is missing", _RESTORE)
    chain, done = GENESIS if before is None else str(before), after
    query = select(receipts).where(receipts.c.seq <= last).order_by(receipts.c.seq)
    while done < last:
        with ledger.engine.connect() as connection:
            rows = connection.execute(query.where(receipts.c.seq > done).limit(_PAGE)).mappings().all()
        if not rows:
            raise LedgerCorrupt(ledger.location, f"the last {last - done} receipts are missing", _RESTORE)
        for row in rows:
            if row["seq"] != done + 1:
                raise LedgerCorrupt(ledger.location, f"receipt {done + 1} is missing", _RESTORE)
            receipt = _checked(row, ledger.location)
            if row["prev_chain"] != chain or row["chain"] != link(chain, row["address"]):
                raise LedgerCorrupt(
                    ledger.location,
                    f"receipt {row['seq']} ({row['address'][:12]}) does not follow the one before it",
                    _RESTORE,
                )
            chain, done = row["chain"], done + 1
            yield ChainedReceipt(done, row["address"], chain, receipt)
