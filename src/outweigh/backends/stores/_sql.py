"""The ledger in SQL, the same on every database: one table of receipts, hash-chained, and one head row.

Private to the stores: SQLAlchemy is imported here at the top, so a store imports this module only when it opens.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import asdict
from threading import Lock
from typing import Any

from sqlalchemy import (
    JSON,
    CheckConstraint,
    Column,
    Connection,
    Double,
    Engine,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    RowMapping,
    Select,
    Table,
    Text,
    UniqueConstraint,
    cast,
    func,
    insert,
    or_,
    select,
    update,
)

from outweigh.core.chain import GENESIS, link
from outweigh.core.errors import LedgerCorrupt, LedgerError, ReceiptRefused, RunKeptAlready, UsageError
from outweigh.core.measurement import Factor, Grade, utc
from outweigh.core.receipt import Receipt
from outweigh.ports import ReceiptFilter, View, ViewKind
from outweigh.ports.serving import KeptText

SCHEMA = "0004"  # the revision of `_migrations` that these tables are
_PAGE = 500

metadata = MetaData()

# `seq` is given by us, not by a sequence: a rolled-back transaction would leave a gap there, and a gap is
# how a missing row is found.
receipts = Table(
    "receipts",
    metadata,
    Column("seq", Integer, primary_key=True, autoincrement=False),
    Column("address", Text, nullable=False, unique=True),
    Column("run_id", Text, nullable=False, unique=True),
    Column("batch", Text, nullable=False),
    Column("project", Text, nullable=False),
    Column("phase", Text, nullable=False),
    Column("variant", Text, nullable=False),
    Column("started", Text, nullable=False),
    Column("ended", Text, nullable=False),
    Column("energy_j", Double, nullable=False),
    Column("grade", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("body", Text, nullable=False),
    Column("prev_chain", Text, nullable=False),
    Column("chain", Text, nullable=False),
    Index("receipts_by_batch", "batch"),
    Index("receipts_by_start", "started"),
)

head = Table(
    "ledger_head",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("kept", Integer, nullable=False),
    Column("chain", Text, nullable=False),
    CheckConstraint("id = 1", name="ledger_head_is_one_row"),
)

# Carbon and money of receipts, chained in the same way beside them: a receipt gets new views, never new content.
views = Table(
    "views",
    metadata,
    Column("seq", Integer, primary_key=True, autoincrement=False),
    Column("address", Text, nullable=False, unique=True),
    Column("receipt", Text, ForeignKey("receipts.address"), nullable=False),
    Column("kind", Text, nullable=False),
    Column("factor_set", Text, nullable=False),
    Column("method", Text, nullable=False),
    Column("body", Text, nullable=False),
    Column("prev_chain", Text, nullable=False),
    Column("chain", Text, nullable=False),
    UniqueConstraint("receipt", "kind", "factor_set", "method", name="views_are_kept_once"),
)

views_head = Table(
    "views_head",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("kept", Integer, nullable=False),
    Column("chain", Text, nullable=False),
    CheckConstraint("id = 1", name="views_head_is_one_row"),
)

# Plans that are followed. These rows change, so they are in no chain: what came of a job is its receipt.
followings = Table(
    "followings",
    metadata,
    Column("id", Text, primary_key=True),
    Column("body", Text, nullable=False),
    Column("begun", Double, nullable=False),
    Column("holder", Text, nullable=False),
    Column("fence", Integer, nullable=False),
    Column("expires", Double, nullable=False),
    Column("steps", Integer, nullable=False),
    Column("over", Integer, nullable=False),
)

followed_jobs = Table(
    "followed_jobs",
    metadata,
    Column("key", Text, primary_key=True),
    Column("following", Text, ForeignKey("followings.id"), nullable=False),
    Column("body", Text, nullable=False),
    Index("followed_jobs_by_following", "following"),
)

followed_steps = Table(
    "followed_steps",
    metadata,
    Column("following", Text, ForeignKey("followings.id"), primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("key", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("detail", Text, nullable=False),
    Column("at", Text, nullable=False),
    Column("fence", Integer, nullable=False),
    Column("outcome", Text, nullable=False),
)

# Plans and verdicts that were sent in. Their address is their content; who may send any is below.
documents = Table(
    "documents",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=True),
    Column("kind", Text, nullable=False),
    Column("address", Text, nullable=False),
    Column("id", Text, nullable=False),
    Column("project", Text, nullable=False),
    Column("body", Text, nullable=False),
    Column("kept_at", Text, nullable=False),
    UniqueConstraint("kind", "address", name="documents_are_kept_once"),
)

tokens = Table(
    "tokens",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=True),
    Column("id", Text, nullable=False, unique=True),
    Column("name", Text, nullable=False),
    Column("role", Text, nullable=False),
    Column("digest", Text, nullable=False, unique=True),
    Column("made_at", Text, nullable=False),
    Column("expires_at", Text),
    Column("revoked_at", Text),
)

sessions = Table(
    "sessions",
    metadata,
    Column("digest", Text, primary_key=True),
    Column("token", Text, ForeignKey("tokens.id"), nullable=False),
    Column("begun_at", Text, nullable=False),
    Column("until", Text, nullable=False),
)

audit_lines = Table(
    "audit_lines",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=True),
    Column("at", Text, nullable=False),
    Column("who", Text, nullable=False),
    Column("role", Text, nullable=False),
    Column("address", Text, nullable=False),
    Column("method", Text, nullable=False),
    Column("path", Text, nullable=False),
    Column("status", Integer, nullable=False),
    Column("detail", Text, nullable=False),
)

answers = Table(
    "answers",
    metadata,
    Column("who", Text, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("request", Text, nullable=False),
    Column("status", Integer, nullable=False),
    Column("body", Text, nullable=False),
    Column("at", Text, nullable=False),
    Index("answers_by_time", "at"),
)

_RESTORE = "Restore the ledger from a backup or an export; keep this file to see what happened to it"


# --- rows -------------------------------------------------------------------------------------------


def _canonical(body: dict[str, Any]) -> str:
    # The form whose SHA-256 is Receipt.content_hash.
    return json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def _columns(body: dict[str, Any]) -> dict[str, Any]:
    """The searchable copies of what the body says; `verify` holds them against it."""
    total = body["total"]
    return {
        "run_id": body["run_id"],
        "batch": body["batch"],
        "project": body["project"],
        "phase": body["phase"],
        "variant": body["variant"],
        "started": total["start"],
        "ended": total["end"],
        "energy_j": float(total["energy_j"]),
        "grade": total["grade"],
        "status": body["status"],
    }


def _row(receipt: Receipt, location: str) -> dict[str, Any]:
    body = receipt.to_dict()
    try:
        text = _canonical(body)
        address = hashlib.sha256(text.encode()).hexdigest()
    except ValueError as err:  # NaN, infinity or half a surrogate pair: no JSON reader would take it back
        raise ReceiptRefused(
            location,
            f"receipt {receipt.run_id} cannot be written as JSON ({err})",
            "Give finite numbers and valid text",
        ) from err
    return {"address": address, **_columns(body), "body": text}


def _checked(row: RowMapping, location: str) -> Receipt:
    """The receipt of a row whose body still has its address. Nothing altered is ever handed out."""
    text = row["body"]
    if not isinstance(text, str) or hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest() != row["address"]:
        raise LedgerCorrupt(location, f"receipt {row['seq']} ({str(row['address'])[:12]}) was altered", _RESTORE)
    try:
        return Receipt.from_dict(json.loads(text))
    except (AttributeError, KeyError, TypeError, ValueError) as err:
        raise LedgerCorrupt(location, f"receipt {row['seq']} is not a receipt ({err!r})", _RESTORE) from err


def _as_kept(row: RowMapping, location: str) -> KeptText:
    """The text of a row, which still has its address. A server hands it on without building the receipt."""
    text = row["body"]
    if not isinstance(text, str) or hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest() != row["address"]:
        raise LedgerCorrupt(location, f"receipt {row['seq']} ({str(row['address'])[:12]}) was altered", _RESTORE)
    return KeptText(int(row["seq"]), row["address"], text)


def _view_columns(view: View) -> dict[str, Any]:
    return {
        "receipt": view.receipt,
        "kind": view.kind.value,
        "factor_set": view.factor_set,
        "method": view.method,
    }


def _view_row(view: View, location: str) -> dict[str, Any]:
    body = {
        **_view_columns(view),
        "factors": [{**asdict(factor), "grade": factor.grade.value} for factor in view.factors],
        "value": dict(view.value),
        "computed_at": view.computed_at,
    }
    try:
        text = _canonical(body)
        address = hashlib.sha256(text.encode()).hexdigest()
    except ValueError as err:
        raise LedgerError(
            location, f"a view of {view.receipt[:12]} cannot be written as JSON ({err})", "Give finite numbers"
        ) from err
    return {"address": address, **_view_columns(view), "body": text}


def _same_view(row: dict[str, Any]) -> Select[Any]:
    named = [views.c[name] == row[name] for name in ("receipt", "kind", "factor_set", "method")]
    return select(views.c.seq).where(*named)


def _checked_view(row: RowMapping, location: str) -> View:
    text = row["body"]
    if not isinstance(text, str) or hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest() != row["address"]:
        raise LedgerCorrupt(location, f"view {row['seq']} ({str(row['address'])[:12]}) was altered", _RESTORE)
    try:
        body = json.loads(text)
        return View(
            receipt=body["receipt"],
            kind=ViewKind(body["kind"]),
            factor_set=body["factor_set"],
            factors=tuple(Factor(**{**factor, "grade": Grade(factor["grade"])}) for factor in body["factors"]),
            value=tuple(sorted(body["value"].items())),
            method=body["method"],
            computed_at=body["computed_at"],
        )
    except (AttributeError, KeyError, TypeError, ValueError) as err:
        raise LedgerCorrupt(location, f"view {row['seq']} is not a view ({err!r})", _RESTORE) from err


def _matching(which: ReceiptFilter) -> Select[Any]:
    query = select(receipts.c.seq, receipts.c.address, receipts.c.body)
    for column in ("batch", "project", "phase", "run_id"):
        if wanted := getattr(which, column):
            query = query.where(receipts.c[column] == str(wanted))
    if which.within is not None:
        # Half-open on both sides; a run of no length belongs to the instant it started at. Times are text of
        # fixed width in UTC, so they sort as they read.
        start, end = utc(which.within.start), utc(which.within.end)
        query = query.where(
            receipts.c.started < end,
            or_(receipts.c.ended > start, receipts.c.started >= start),
        )
    return query


# --- the ledger -------------------------------------------------------------------------------------


def _drawn_in(done: int, last: int, dialect: str) -> Select[Any]:
    """Count and energy of what is usable behind number `done`, by project, phase, grade and scope."""
    body = receipts.c.body
    scope = (
        func.json_extract(body, "$.total.scope")
        if dialect == "sqlite"
        else cast(body, JSON)["total"]["scope"].as_string()
    )
    rows = (
        select(receipts.c.project, receipts.c.phase, receipts.c.grade, scope.label("scope"), receipts.c.energy_j)
        .where(receipts.c.status != "unusable", receipts.c.seq > done, receipts.c.seq <= last)
        .subquery()
    )
    named = (rows.c.project, rows.c.phase, rows.c.grade, rows.c.scope)
    return select(*named, func.count(), func.sum(rows.c.energy_j)).group_by(*named)


class SqlLedger:
    """Receipts in an open database. `engine.connect()` reads; `writing()` begins a transaction that holds the lock.

    `writer` is the engine with the options a writer needs, where they differ from a reader's.
    """

    def __init__(self, engine: Engine, location: str, *, writer: Engine | None = None) -> None:
        self.engine = engine
        self.location = location
        self._drawn_lock = Lock()
        self._drawn: tuple[int, dict[tuple[str, str, str, str], tuple[int, float]]] = 0, {}
        self._writer = (writer or engine).execution_options(outweigh_writing=True)

    def writing(self) -> AbstractContextManager[Connection]:
        return self._writer.begin()

    @contextmanager
    def lined_up(self) -> Iterator[Connection]:
        """A write transaction that no other of this kind runs beside: for what is looked up and then written."""
        with self.writing() as connection:
            connection.execute(select(views_head.c.id).with_for_update())
            yield connection

    def append(self, receipt: Receipt) -> str:
        return self.append_all((receipt,))[0]

    def append_all(self, new: Sequence[Receipt]) -> tuple[str, ...]:
        return tuple(address for address, _ in self.append_new(new))

    def append_new(self, new: Sequence[Receipt]) -> tuple[tuple[str, bool], ...]:
        fresh: list[bool] = []
        rows = [_row(receipt, self.location) for receipt in new]
        with self.writing() as connection:
            # The head comes first: where the database locks rows, this is the lock that puts writers in a line.
            last = connection.execute(select(head.c.kept, head.c.chain).with_for_update()).one_or_none()
            if last is None:
                raise LedgerCorrupt(self.location, "its head is missing", _RESTORE)
            count, chain = last.kept, last.chain
            for row in rows:
                kept = connection.execute(
                    select(receipts.c.address).where(receipts.c.run_id == row["run_id"])
                ).scalar_one_or_none()
                fresh.append(kept is None)
                if kept == row["address"]:
                    continue
                if kept is not None:
                    raise RunKeptAlready(
                        self.location,
                        f"run {row['run_id']} is kept already with other content ({str(kept)[:12]})",
                        "A receipt never changes: record a new run under a new id",
                    )
                following = link(chain, row["address"])
                connection.execute(insert(receipts).values(**row, seq=count + 1, prev_chain=chain, chain=following))
                # One by one: the trigger lets the head move by no more than one.
                connection.execute(update(head).values(kept=count + 1, chain=following))
                count, chain = count + 1, following
        return tuple((str(row["address"]), is_new) for row, is_new in zip(rows, fresh, strict=True))

    def get(self, address: str) -> Receipt:
        return _checked(self._found(address), self.location)

    def text(self, address: str) -> KeptText:
        return _as_kept(self._found(address), self.location)

    def _found(self, address: str) -> RowMapping:
        prefix = address.lower()
        if not re.fullmatch("[0-9a-f]{1,64}", prefix):
            raise UsageError(
                f"{address!r} is not a receipt's address",
                "Give its SHA-256 or the start of it; `ledger list` shows them",
            )
        # A range rather than LIKE: it uses the index, and "g" follows every hex digit in any collation.
        query = select(receipts.c.seq, receipts.c.address, receipts.c.body).where(
            receipts.c.address >= prefix, receipts.c.address < prefix + "g"
        )
        with self.engine.connect() as connection:
            found = connection.execute(query.order_by(receipts.c.address).limit(2)).mappings().all()
        if not found:
            raise UsageError(
                f"no receipt's address starts with {prefix!r}", "`outweigh ledger list` shows what is kept"
            )
        if len(found) > 1:
            raise UsageError(
                f"{prefix!r} could be {found[0]['address'][:16]}… or {found[1]['address'][:16]}…", "Give more digits"
            )
        return found[0]

    def receipts(self, which: ReceiptFilter) -> Iterator[tuple[str, Receipt]]:
        # Pages rather than one long cursor: a reader that dawdles must not keep the log from being checkpointed.
        # Rows are only ever added, so the highest number at the start makes the pages one consistent view.
        if which.within is not None and which.within.seconds == 0:
            return
        query = _matching(which)
        with self.engine.connect() as connection:
            newest = query.with_only_columns(receipts.c.seq).order_by(receipts.c.seq.desc())
            last = connection.execute(newest.limit(1)).scalar_one_or_none()
            done = 0
            if which.limit is not None and which.limit > 0:
                first = connection.execute(newest.offset(which.limit - 1).limit(1)).scalar_one_or_none()
                done = first - 1 if first is not None else 0
        if last is None or (which.limit is not None and which.limit <= 0):
            return
        while True:
            page = query.where(receipts.c.seq > done, receipts.c.seq <= last).order_by(receipts.c.seq).limit(_PAGE)
            with self.engine.connect() as connection:
                rows = connection.execute(page).mappings().all()
            for row in rows:
                yield row["address"], _checked(row, self.location)
            if len(rows) < _PAGE:
                return
            done = rows[-1]["seq"]

    def texts(
        self, which: ReceiptFilter, *, after: int | None = None, limit: int, newest: bool = False
    ) -> tuple[KeptText, ...]:
        if limit <= 0 or (which.within is not None and which.within.seconds == 0):
            return ()
        query = _matching(which).order_by(receipts.c.seq.desc() if newest else receipts.c.seq).limit(limit)
        if after is not None:
            query = query.where(receipts.c.seq < after if newest else receipts.c.seq > after)
        with self.engine.connect() as connection:
            rows = connection.execute(query).mappings().all()
        return tuple(_as_kept(row, self.location) for row in rows)

    def drawn(self) -> tuple[tuple[str, str, str, str, int, float], ...]:
        with self._drawn_lock, self.engine.connect() as connection:
            done, sums = self._drawn
            last = connection.execute(select(func.max(receipts.c.seq))).scalar_one() or 0
            if last < done:  # another ledger lies there now
                done, sums = 0, {}
            # Receipts only ever come to the end: those that are added up are not read again.
            for row in connection.execute(_drawn_in(done, last, connection.dialect.name)):
                named = row[0], row[1], row[2], row[3]
                runs, energy_j = sums.get(named, (0, 0.0))
                sums[named] = runs + int(row[4]), energy_j + float(row[5])
            self._drawn = last, sums
            return tuple((*named, *sums[named]) for named in sorted(sums))

    def append_views(self, new: Sequence[View]) -> int:
        kept = 0
        with self.writing() as connection:
            last = connection.execute(select(views_head.c.kept, views_head.c.chain).with_for_update()).one_or_none()
            if last is None:
                raise LedgerCorrupt(self.location, "the head of its views is missing", _RESTORE)
            count, chain = last.kept, last.chain
            for view in new:
                row = _view_row(view, self.location)
                if connection.execute(_same_view(row)).first() is not None:
                    continue
                if connection.execute(select(receipts.c.seq).where(receipts.c.address == view.receipt)).first() is None:
                    raise UsageError(
                        f"no receipt at {view.receipt[:12]} to take a view of", "`outweigh ledger list` shows them"
                    )
                following = link(chain, row["address"])
                connection.execute(insert(views).values(**row, seq=count + 1, prev_chain=chain, chain=following))
                # One by one: the trigger lets the head move by no more than one.
                connection.execute(update(views_head).values(kept=count + 1, chain=following))
                count, chain, kept = count + 1, following, kept + 1
        return kept

    def views(self, address: str = "") -> Iterator[View]:
        query = select(views).order_by(views.c.seq)
        if address:
            query = query.where(views.c.receipt == address)
        done = 0
        while True:
            with self.engine.connect() as connection:
                rows = connection.execute(query.where(views.c.seq > done).limit(_PAGE)).mappings().all()
            for row in rows:
                yield _checked_view(row, self.location)
            if len(rows) < _PAGE:
                return
            done = rows[-1]["seq"]

    def verify(self) -> int:
        """Walk both chains in one read transaction, so that writers at work raise no false alarm."""
        with self.engine.connect() as connection:
            count = self._walk(connection, "receipt", receipts, head)
            self._walk(connection, "view", views, views_head)
        return count

    def _walk(self, connection: Connection, what: str, table: Table, its_head: Table) -> int:
        count, chain = 0, GENESIS
        last = connection.execute(select(its_head.c.kept, its_head.c.chain)).one_or_none()
        if last is None:
            its = "its head" if table is receipts else "the head of its views"
            raise LedgerCorrupt(self.location, f"{its} is missing", _RESTORE)
        # Closed here: a server's cursor must not outlive its connection when a row is refused.
        with closing(
            connection.execution_options(yield_per=_PAGE).execute(select(table).order_by(table.c.seq))
        ) as rows:
            for row in rows.mappings():
                count += 1
                self._verify_row(row, count, chain, what)
                chain = row["chain"]
        if count < last.kept:
            raise LedgerCorrupt(self.location, f"the last {last.kept - count} {what}s are missing", _RESTORE)
        if (count, chain) != (last.kept, last.chain):
            raise LedgerCorrupt(
                self.location,
                f"its head says {last.kept} {what}s, and {count} are there or the chain differs",
                _RESTORE,
            )
        return count

    def _verify_row(self, row: RowMapping, expected: int, chain: str, what: str) -> None:
        if row["seq"] != expected:
            raise LedgerCorrupt(self.location, f"{what} {expected} is missing", _RESTORE)
        if what == "receipt":
            _checked(row, self.location)
            said = _columns(json.loads(row["body"]))
        else:
            said = _view_columns(_checked_view(row, self.location))
        if altered := [name for name, value in said.items() if row[name] != value]:
            raise LedgerCorrupt(self.location, f"{what} {row['seq']} was altered in {', '.join(altered)}", _RESTORE)
        if row["prev_chain"] != chain or row["chain"] != link(chain, row["address"]):
            raise LedgerCorrupt(
                self.location,
                f"{what} {row['seq']} ({row['address'][:12]}) does not follow the one before it",
                _RESTORE,
            )

    def head(self) -> tuple[int, str]:
        with self.engine.connect() as connection:
            last = connection.execute(select(head.c.kept, head.c.chain)).one()
        return last.kept, last.chain
