"""Receipts out of one ledger and into another, one JSON object a line. Addresses are kept, since they are content."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

from outweigh.core.errors import LedgerCorrupt, UsageError
from outweigh.core.receipt import Receipt, content_hash
from outweigh.ports import ReceiptFilter, Store


def export_jsonl(store: Store, which: ReceiptFilter | None = None) -> Iterator[str]:
    """One line a receipt, `{"receipt": address, "body": {...}}`, without its line end, in the order written."""
    for address, receipt in store.receipts(which or ReceiptFilter()):
        yield json.dumps(
            {"receipt": address, "body": receipt.to_dict()}, ensure_ascii=False, allow_nan=False, separators=(",", ":")
        )


def import_jsonl(store: Store, lines: Sequence[str], *, source: str = "import") -> tuple[int, int]:
    """Append what `export_jsonl` wrote. Every line is checked before the first is kept; empty lines are passed over.

    Args:
        lines: the lines, read twice.
        source: what the lines came from, for messages.

    Returns:
        (new, known): receipts that were added, and those the ledger had already.

    Raises:
        UsageError: a line is not an exported receipt, or has a newer schema.
        LedgerCorrupt: a receipt is not what its address says.
        LedgerError: the ledger cannot be written, or keeps one of these runs with other content. What was appended
            before stays, and importing again goes on from there.
    """
    for _ in _parsed(lines, source):
        pass
    new = known = 0
    for address, receipt in _parsed(lines, source):
        if _has(store, address):
            known += 1
        else:
            store.append(receipt)
            new += 1
    return new, known


def _parsed(lines: Sequence[str], source: str) -> Iterator[tuple[str, Receipt]]:
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        where = f"{source}, line {number}"
        try:
            entry = json.loads(line)
            address, body = entry["receipt"], entry["body"]
            receipt = Receipt.from_dict(body)
            # Both: a field this version does not know would be lost by from_dict, and the address with it.
            found = {content_hash(body), receipt.content_hash}
        except (KeyError, TypeError, ValueError, AttributeError) as err:
            raise UsageError(
                f"{where} is not an exported receipt ({err!r})", "Use a file of `outweigh ledger export`"
            ) from err
        if found != {address}:
            raise LedgerCorrupt(
                where, f"the receipt is not what its address {str(address)[:12]} says", "Export it again"
            )
        yield address, receipt


def _has(store: Store, address: str) -> bool:
    try:
        store.get(address)
    except UsageError:
        return False
    return True
