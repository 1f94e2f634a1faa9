"""Plans and verdicts in the database of the ledger, by kind, id and address."""

from __future__ import annotations

import hashlib
import re

from sqlalchemy import ColumnElement, RowMapping, and_, insert, select

from outweigh.backends.stores._sql import SqlLedger, documents
from outweigh.core.errors import LedgerCorrupt, UsageError
from outweigh.ports.serving import Document

_RESTORE = "Restore the ledger from a backup, or send the document in again"


class SqlDocuments:
    """Documents in an open ledger. Errors of the database are translated by the store."""

    def __init__(self, ledger: SqlLedger) -> None:
        self._ledger = ledger

    def keep(self, kind: str, body: str, *, named: str, project: str, at: str) -> tuple[str, bool]:
        address = hashlib.sha256(body.encode()).hexdigest()
        row = {"kind": kind, "address": address, "id": named, "project": project, "body": body, "kept_at": at}
        same = and_(documents.c.kind == kind, documents.c.address == address)
        # Two at once would both find nothing: the lock of the writers' line decides who is first.
        with self._ledger.lined_up() as connection:
            if connection.execute(select(documents.c.number).where(same)).first() is not None:
                return address, False
            connection.execute(insert(documents).values(**row))
        return address, True

    def page(
        self, kind: str, *, named: str, project: str, after: int | None, limit: int, newest: bool
    ) -> tuple[Document, ...]:
        wanted: list[ColumnElement[bool]] = [documents.c.kind == kind]
        if named:
            wanted.append(documents.c.id == named)
        if project:
            wanted.append(documents.c.project == project)
        if after is not None:
            wanted.append(documents.c.number < after if newest else documents.c.number > after)
        order = documents.c.number.desc() if newest else documents.c.number
        with self._ledger.engine.connect() as connection:
            rows = connection.execute(select(documents).where(*wanted).order_by(order).limit(limit)).mappings().all()
        return tuple(self._document(row) for row in rows)

    def one(self, kind: str, address: str) -> Document:
        prefix = address.lower()
        if not re.fullmatch("[0-9a-f]{1,64}", prefix):
            raise UsageError(f"{address[:80]!r} is not the address of a {kind}", "Give its SHA-256 or the start of it")
        wanted = (documents.c.kind == kind, documents.c.address >= prefix, documents.c.address < prefix + "g")
        with self._ledger.engine.connect() as connection:
            found = connection.execute(select(documents).where(*wanted).limit(2)).mappings().all()
        if not found:
            raise UsageError(f"no {kind} is kept whose address starts with {prefix!r}", f"List the {kind}s first")
        if len(found) > 1:
            raise UsageError(f"several {kind}s have an address that starts with {prefix!r}", "Give more digits")
        return self._document(found[0])

    def _document(self, row: RowMapping) -> Document:
        if hashlib.sha256(str(row["body"]).encode(errors="surrogatepass")).hexdigest() != row["address"]:
            raise LedgerCorrupt(
                self._ledger.location, f"the {row['kind']} {str(row['address'])[:12]} was altered", _RESTORE
            )
        return Document(**row)
