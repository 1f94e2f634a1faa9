"""What waits to be sent to one server: one SQLite file, of one ledger, that outlives a kill and a power cut.

A receipt goes in together with how far the ledger was read, and comes out together with the server's answer: whatever
happens between is done again, and the server keeps the same receipt once. The queue is bounded. When it is full, the
ledger is not read on: nothing is dropped, what has no room yet waits where it is.

A batch is what is sent at once. Its key is written down before it is first sent and stays its own until it is answered,
over retries and restarts, so that the server knows a batch it has had (Idempotency-Key,
draft-ietf-httpapi-idempotency-key-header).
"""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
import uuid
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

from outweigh.core.chain import GENESIS
from outweigh.core.errors import LedgerError
from outweigh.core.measurement import utc
from outweigh.ports import ChainedReceipt, KeepsChain

FORMAT = 1
#: The most a queue holds unless told otherwise. A receipt is about 2 kB.
MOST_RECEIPTS = 10_000
MOST_BYTES = 64_000_000
#: The most a server takes in one request (the write API).
BATCH_RECEIPTS = 500
BATCH_BYTES = 900_000

_BUSY_S = 30.0
_PAGE = 500
_TABLES = """
CREATE TABLE IF NOT EXISTS about (
    id INTEGER PRIMARY KEY CHECK (id = 1), format INTEGER NOT NULL, taken INTEGER NOT NULL, chain TEXT NOT NULL,
    sent INTEGER NOT NULL, already INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS waiting (
    number INTEGER PRIMARY KEY AUTOINCREMENT, address TEXT NOT NULL UNIQUE, body TEXT NOT NULL, bytes INTEGER NOT NULL,
    batch TEXT NOT NULL DEFAULT '');
CREATE INDEX IF NOT EXISTS waiting_by_batch ON waiting (batch);
CREATE TABLE IF NOT EXISTS aside (
    address TEXT PRIMARY KEY, body TEXT NOT NULL, bytes INTEGER NOT NULL, status INTEGER NOT NULL,
    reason TEXT NOT NULL, at TEXT NOT NULL);
"""


def queue_path(folder: Path, url: str, ledger: str = "") -> Path:
    """The queue of a server among those in `folder`.

    Args:
        url: of the server; what could be a secret in it does not become part of the name.
        ledger: what tells the ledger from others whose queues are in the same folder; "" where it is the only one.

    >>> queue_path(Path("push"), "https://energy.example/outweigh").name.startswith("energy.example-")
    True
    """
    parts = urlsplit(url)
    host = "".join(letter if letter.isalnum() or letter in ".-" else "-" for letter in parts.hostname or "server")
    place = f"{parts.scheme}://{parts.hostname}:{parts.port}{parts.path.rstrip('/')} {ledger}"
    return folder / f"{host[:60]}-{hashlib.sha256(place.encode()).hexdigest()[:8]}.sqlite"


@dataclass(frozen=True, slots=True)
class Batch:
    """What is sent at once, under one key: addresses, and the receipts' canonical JSON."""

    key: str
    addresses: tuple[str, ...]
    bodies: tuple[str, ...]

    @property
    def body(self) -> bytes:
        """`{"receipts": [...]}` in UTF-8, the same bytes whenever it is asked."""
        return ('{"receipts":[' + ",".join(self.bodies) + "]}").encode()


@dataclass(frozen=True, slots=True)
class Filled:
    """What a look into the ledger brought: receipts taken, and whether the queue was full before its end.

    `anew` is set where the ledger is not the one that was read before, so that it was read from its beginning.
    """

    taken: int
    full: bool
    anew: bool = False


@dataclass(frozen=True, slots=True)
class SetAside:
    """A receipt the server refused: kept here with what it said, until somebody decides."""

    address: str
    status: int
    reason: str
    at: str


@dataclass(frozen=True, slots=True)
class Counts:
    """How a queue stands. `taken` is how far the ledger was read; `already` of `sent` the server had before."""

    waiting: int
    waiting_bytes: int
    aside: int
    taken: int
    sent: int
    already: int


class PushQueue:
    """The queue in the file `path`, whose folder is made when it is missing; a context manager.

    Args:
        most, most_bytes: how much it holds at the most: receipts, and bytes of their JSON.

    Raises:
        LedgerError: the file cannot be written, is damaged or of a newer outweigh; from every method.
    """

    def __init__(self, path: Path, *, most: int = MOST_RECEIPTS, most_bytes: int = MOST_BYTES) -> None:
        self.path, self._most, self._most_bytes = path, most, most_bytes
        self._lock = -1
        with self._translated():
            path.parent.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(path, timeout=_BUSY_S, isolation_level=None)
        with ExitStack() as undo:
            undo.callback(self._db.close)
            with self._translated():
                self._prepare()
            undo.pop_all()

    def alone(self) -> bool:
        """Take the queue for this process until it is closed; False when another one empties it.

        For politeness: two that send the same send it twice, and the server keeps it once. Where there are no such
        locks (not POSIX, some network file systems), nobody is turned away.
        """
        try:
            import fcntl
        except ImportError:
            return True
        with self._translated():
            self._lock = os.open(self.path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError:
            return True
        return True

    # --- in -----------------------------------------------------------------------------------------

    def fill(self, ledger: KeepsChain) -> Filled:
        """Take in what the ledger has beyond where it was last read, as far as there is room.

        Raises:
            LedgerCorrupt: the ledger's chain does not hold where it was read.
        """
        if ledger.head() == self._cursor():
            return Filled(0, full=False)  # the usual look: one row on either side
        anew = self._is_another(ledger)
        if anew:
            self._set_cursor(0, GENESIS)
        taken, page = 0, list[tuple[ChainedReceipt, str, int]]()
        room, room_bytes = self._room()
        for entry in ledger.chained(self._cursor()[0]):
            body = _canonical(entry)
            size = len(body.encode())
            if room < 1 or room_bytes < size:
                self._take(page)
                return Filled(taken, full=True, anew=anew)
            page.append((entry, body, size))
            room, room_bytes, taken = room - 1, room_bytes - size, taken + 1
            if len(page) == _PAGE:
                self._take(page)
                page = []
        self._take(page)
        return Filled(taken, full=False, anew=anew)

    def _is_another(self, ledger: KeepsChain) -> bool:
        """Whether the ledger is not the one the cursor stands in: it was started anew, or another took its place."""
        taken, chain = self._cursor()
        if taken == 0:
            return False
        kept, head = ledger.head()
        if kept <= taken:
            return (kept, head) != (taken, chain)
        return next(iter(ledger.chained(taken - 1))).chain != chain

    def _take(self, page: Sequence[tuple[ChainedReceipt, str, int]]) -> None:
        if not page:
            return
        with self._changing() as db:
            db.executemany(
                "INSERT OR IGNORE INTO waiting (address, body, bytes) "
                "SELECT ?1, ?2, ?3 WHERE NOT EXISTS (SELECT 1 FROM aside WHERE address = ?1)",
                [(entry.address, body, size) for entry, body, size in page],
            )
            last = page[-1][0]
            db.execute("UPDATE about SET taken = ?, chain = ?", (last.number, last.chain))

    # --- out ----------------------------------------------------------------------------------------

    def next_batch(self, most: int = BATCH_RECEIPTS, most_bytes: int = BATCH_BYTES) -> Batch | None:
        """The oldest that wait, as one batch that keeps its key until it is answered; None when nothing waits.

        Args:
            most, most_bytes: of a batch that is made now. One receipt is a batch however large it is.
        """
        with self._changing() as db:
            first = db.execute("SELECT batch FROM waiting ORDER BY number LIMIT 1").fetchone()
            if first is None:
                return None
            key = first[0]
            if not key:
                key, size, numbers = uuid.uuid4().hex, 0, list[tuple[str, int]]()
                free = db.execute(
                    "SELECT number, bytes FROM waiting WHERE batch = '' ORDER BY number LIMIT ?", (max(1, most),)
                )
                for number, weighs in free:
                    size += weighs + 1
                    if numbers and size > most_bytes:
                        break
                    numbers.append((key, number))
                db.executemany("UPDATE waiting SET batch = ? WHERE number = ?", numbers)
            return self._batch(db, key)

    def done(self, batch: Batch, *, already: int) -> None:
        """The server has it, durably. `already` of it the server had before."""
        with self._changing() as db:
            db.execute("DELETE FROM waiting WHERE batch = ?", (batch.key,))
            db.execute("UPDATE about SET sent = sent + ?, already = already + ?", (len(batch.addresses), already))

    def split(self, batch: Batch) -> None:
        """Make two batches of one that the server will not take whole, each with a key of its own."""
        with self._changing() as db:
            half = (len(batch.addresses) + 1) // 2
            for part in (batch.addresses[:half], batch.addresses[half:]):
                key = uuid.uuid4().hex
                db.executemany("UPDATE waiting SET batch = ? WHERE address = ?", [(key, each) for each in part])

    def set_aside(self, batch: Batch, status: int, reason: str) -> None:
        """Put what the server refuses out of the way of the others, with its reason."""
        with self._changing() as db:
            db.execute(
                "INSERT OR REPLACE INTO aside SELECT address, body, bytes, ?, ?, ? FROM waiting WHERE batch = ?",
                (status, reason, utc(datetime.now(UTC)), batch.key),
            )
            db.execute("DELETE FROM waiting WHERE batch = ?", (batch.key,))

    def take_back(self) -> int:
        """Let everything that was set aside wait again; how many."""
        with self._changing() as db:
            db.execute(
                "INSERT OR IGNORE INTO waiting (address, body, bytes) "
                "SELECT address, body, bytes FROM aside ORDER BY at, address"
            )
            return db.execute("DELETE FROM aside").rowcount

    # --- how it stands ------------------------------------------------------------------------------

    def aside(self) -> Iterator[SetAside]:
        with self._translated():
            for row in self._db.execute("SELECT address, status, reason, at FROM aside ORDER BY at, address"):
                yield SetAside(*row)

    def counts(self) -> Counts:
        with self._translated():
            waiting, size = self._db.execute("SELECT COUNT(*), COALESCE(SUM(bytes), 0) FROM waiting").fetchone()
            (aside,) = self._db.execute("SELECT COUNT(*) FROM aside").fetchone()
            taken, sent, already = self._db.execute("SELECT taken, sent, already FROM about").fetchone()
        return Counts(waiting, size, aside, taken, sent, already)

    def close(self) -> None:
        self._db.close()
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    # --- the file -----------------------------------------------------------------------------------

    def _prepare(self) -> None:
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = FULL")
        tables = {name for (name,) in self._db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        if tables and "about" not in tables:
            raise LedgerError(str(self.path), "it is not a queue of ours", "Move it away; nothing was changed")
        self._db.executescript(_TABLES)
        self._db.execute("INSERT OR IGNORE INTO about VALUES (1, ?, 0, ?, 0, 0)", (FORMAT, GENESIS))
        (version,) = self._db.execute("SELECT format FROM about").fetchone()
        if version != FORMAT:
            raise LedgerError(str(self.path), f"its format is {version}, and this version reads 1", "Upgrade outweigh")

    def _batch(self, db: sqlite3.Connection, key: str) -> Batch:
        rows = db.execute("SELECT address, body FROM waiting WHERE batch = ? ORDER BY number", (key,)).fetchall()
        return Batch(key, tuple(address for address, _ in rows), tuple(body for _, body in rows))

    def _cursor(self) -> tuple[int, str]:
        with self._translated():
            taken, chain = self._db.execute("SELECT taken, chain FROM about").fetchone()
        return taken, chain

    def _set_cursor(self, taken: int, chain: str) -> None:
        with self._changing() as db:
            db.execute("UPDATE about SET taken = ?, chain = ?", (taken, chain))

    def _room(self) -> tuple[int, int]:
        counts = self.counts()
        with self._translated():
            (aside_bytes,) = self._db.execute("SELECT COALESCE(SUM(bytes), 0) FROM aside").fetchone()
        return self._most - counts.waiting - counts.aside, self._most_bytes - counts.waiting_bytes - aside_bytes

    @contextmanager
    def _changing(self) -> Iterator[sqlite3.Connection]:
        """A transaction: all of it, flushed, or nothing."""
        with self._translated(), self._db:
            self._db.execute("BEGIN IMMEDIATE")
            yield self._db

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as err:
            code = int(getattr(err, "sqlite_errorcode", sqlite3.SQLITE_ERROR)) & 0xFF
            if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
                remedy = "Move it away: the ledger is read from its beginning then, and no receipt is kept twice"
                raise LedgerError(str(self.path), f"the queue is damaged ({err})", remedy) from err
            raise LedgerError(
                str(self.path),
                f"the queue cannot be written ({err})",
                "Check the folder and the space on its disk; the receipts are in the ledger",
            ) from err
        except OSError as err:
            raise LedgerError(
                str(self.path), f"the queue cannot be kept there ({err.strerror})", "Make its folder writable"
            ) from err


def _canonical(entry: ChainedReceipt) -> str:
    # The form whose SHA-256 is the address, so that what arrives can be held against it.
    return json.dumps(
        entry.receipt.to_dict(), sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )
