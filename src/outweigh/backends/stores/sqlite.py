"""Receipts in one SQLite file: the store everybody starts with."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

from outweigh.backends.stores._ledger import LedgerStore
from outweigh.core.errors import LedgerCorrupt, LedgerError
from outweigh.ports import Availability
from outweigh.registry import stores

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from outweigh.backends.stores._sql import SqlLedger

_BUSY_S = 30.0  # how long a writer waits for the others; an append holds the lock for milliseconds
_KEPT = "what was acknowledged before is kept"


@stores.register("sqlite")
class SqliteStore(LedgerStore):
    """Append-only receipts in a file; many processes may write to it at once.

    An address that `append` returned survives a crash and, where the disk honours a flush, a power cut (write-ahead
    log, synchronous=FULL: https://www.sqlite.org/pragma.html#pragma_synchronous). `get` raises UsageError for an
    address that is not there; everything that is wrong with the file is a LedgerError or LedgerCorrupt.

    Args:
        path: the ledger file. Its folder must exist.
        create: make the file when it is not there, and make sure at once that it can be written. False opens
            only what exists, to read.
    """

    name: ClassVar[str] = "sqlite"

    def __init__(self, path: Path, *, create: bool = True) -> None:
        super().__init__(create=create)
        self.path = Path(path)

    @classmethod
    def probe(cls) -> Availability:
        missing = [package for package in ("sqlalchemy", "alembic") if find_spec(package) is None]
        return Availability(
            name="sqlite",
            usable=not missing,
            sees=f"receipts in one file (SQLite {sqlite3.sqlite_version})",
            reason=f"{' and '.join(missing)} not installed" if missing else "",
            remedy="pip install outweigh" if missing else "",
        )

    @classmethod
    def open(cls, location: str | Path, *, create: bool = True) -> Self:
        """The store at `location`, opened and migrated now. Raises LedgerError when it cannot be used."""
        store = cls(Path(location), create=create)
        store._open_now()
        return store

    def verify(self) -> int:
        """Number of receipts, after a check of the file's pages and of address, columns and link of
        each receipt and each view."""
        with self._translated():
            ledger = self._ledger()
            with ledger.engine.connect() as connection:
                said = str(connection.exec_driver_sql("PRAGMA integrity_check(1)").scalar_one())
            if said != "ok":
                raise self._corrupt(said)
            return ledger.verify()

    # --- opening ------------------------------------------------------------------------------------

    def _preflight(self) -> str | None:
        """Schema version of the file, None when it is new; after a look whether it is ours and can be used.

        Plain sqlite3, because nothing may be written to a file that turns out to be somebody else's.
        """
        folder = self.path.parent
        if self.path.is_dir():
            raise LedgerError(str(self.path), "it is a folder", "Name a file in it")
        if folder.exists() and not folder.is_dir():
            raise LedgerError(str(self.path), f"{folder} is not a folder", "Keep the ledger in a folder")
        if not folder.is_dir() and self._create:
            raise LedgerError(str(self.path), f"there is no folder {folder}", f"Make it first: mkdir -p {folder}")
        if not self._create and not self.path.exists():
            raise LedgerError(
                str(self.path), "there is no such file", "`outweigh measure` or `outweigh review` starts one"
            )
        uri = f"{self.path.absolute().as_uri()}?mode={'rwc' if self._create else 'rw'}"
        with closing(sqlite3.connect(uri, uri=True, timeout=_BUSY_S, isolation_level=None)) as raw:
            tables = {name for (name,) in raw.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
            version: str | None = None
            if "outweigh_schema" in tables:
                (version,) = raw.execute("SELECT version_num FROM outweigh_schema").fetchone() or (None,)
            elif tables:
                from outweigh.backends.stores._migrate import foreign

                raise foreign(str(self.path))
            if self._create:
                # A read-only file would otherwise be found out only after the first measurement.
                raw.execute("BEGIN IMMEDIATE")
                raw.execute("ROLLBACK")
            self._keep_log(raw)
            return version

    def _keep_log(self, raw: sqlite3.Connection) -> None:
        # The file remembers its journal mode, so this writes once in its life. SQLite does not wait its
        # busy_timeout for this switch when two processes try at once: we wait ourselves.
        deadline = time.monotonic() + _BUSY_S
        while True:
            try:
                (mode,) = raw.execute("PRAGMA journal_mode = WAL").fetchone()
            except sqlite3.OperationalError as err:
                if _primary(err) != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                    raise
                time.sleep(0.01)
                continue
            if mode != "wal":
                raise LedgerError(
                    str(self.path),
                    f"its file system cannot keep a write-ahead log (journal mode {mode})",
                    "Keep the ledger on a local disk",
                )
            return

    def _connected(self) -> SqlLedger:
        version = self._preflight()
        from sqlalchemy import URL, create_engine, event

        from outweigh.backends.stores._sql import SCHEMA, SqlLedger

        engine = create_engine(
            URL.create("sqlite", database=str(self.path.absolute())), connect_args={"timeout": _BUSY_S}
        )

        @event.listens_for(engine, "connect")
        def configure(connection: Any, _record: object) -> None:
            # Python's sqlite3 begins transactions by its own lights, and not before a read; we begin them.
            connection.isolation_level = None
            connection.execute("PRAGMA synchronous = FULL")
            # Without it REPLACE would remove a row past the trigger that refuses removal.
            connection.execute("PRAGMA recursive_triggers = ON")

        @event.listens_for(engine, "begin")
        def begin(connection: Connection) -> None:
            # A writer takes the lock before it reads the head; a read lock cannot always be raised to it later.
            writing = connection.get_execution_options().get("outweigh_writing", False)
            connection.exec_driver_sql("BEGIN IMMEDIATE" if writing else "BEGIN")

        ledger = SqlLedger(engine, str(self.path))
        if version != SCHEMA:
            from outweigh.backends.stores._migrate import migrate

            with ExitStack() as undo:
                undo.callback(engine.dispose)
                migrate(str(self.path), ledger.writing())
                undo.pop_all()
        return ledger

    # --- errors -------------------------------------------------------------------------------------

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except _database_errors() as err:
            raise self._explained(err) from err
        except OSError as err:
            raise LedgerError(str(self.path), err.strerror or str(err), "Name a file that can be reached") from err

    def _explained(self, err: Exception) -> LedgerError:
        said = getattr(err, "orig", None) or err
        code = _primary(said)
        if code == sqlite3.SQLITE_CORRUPT or "Could not decode to UTF-8" in str(said):
            return self._corrupt(str(said))
        reason, remedy = {
            sqlite3.SQLITE_FULL: ("the disk is full", f"Free some space and repeat; {_KEPT}"),
            sqlite3.SQLITE_IOERR: (
                f"the disk refused ({said})",
                f"Check space, quota and the disk, and repeat; {_KEPT}",
            ),
            sqlite3.SQLITE_READONLY: ("it is read-only", "Make file and folder writable, or keep the ledger elsewhere"),
            sqlite3.SQLITE_CANTOPEN: (
                f"it cannot be opened ({said})",
                "Make file and folder readable and writable, or copy the ledger to where they are",
            ),
            sqlite3.SQLITE_PERM: ("access is denied", "Make file and folder readable and writable"),
            sqlite3.SQLITE_NOTADB: ("it is not a ledger", "Give the ledger a file of its own; nothing was changed"),
            sqlite3.SQLITE_BUSY: (
                f"another process held it for {_BUSY_S:g} s",
                f"Look for one that hangs, and repeat; {_KEPT}",
            ),
        }.get(code, (str(said), "`outweigh ledger verify` checks the file"))
        return LedgerError(str(self.path), reason, remedy)

    def _corrupt(self, said: str) -> LedgerCorrupt:
        return LedgerCorrupt(str(self.path), f"the file is damaged ({said})", "Restore it from a backup or an export")


def _database_errors() -> tuple[type[Exception], ...]:
    # Asked for only once something was raised, so that opening stays the first to import SQLAlchemy.
    from sqlalchemy.exc import DBAPIError

    return sqlite3.Error, DBAPIError


def _primary(err: BaseException) -> int:
    # The extended result codes carry their detail in the high bits (https://www.sqlite.org/rescode.html).
    return int(getattr(err, "sqlite_errorcode", sqlite3.SQLITE_ERROR)) & 0xFF
