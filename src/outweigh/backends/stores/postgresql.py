"""Receipts in PostgreSQL: the store for many machines."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, ClassVar, Self

from outweigh.backends.stores._ledger import LedgerStore
from outweigh.core.errors import LedgerCorrupt, LedgerError, MissingExtra, ReceiptRefused, UsageError
from outweigh.core.receipt import Receipt
from outweigh.ports import Availability, ReceiptFilter
from outweigh.ports.serving import KeptText
from outweigh.registry import stores

if TYPE_CHECKING:
    from sqlalchemy import URL, Connection, Engine

    from outweigh.backends.stores._sql import SqlLedger

_BUSY_S = 30  # how long a writer waits for the others; an append holds the head's lock for milliseconds
_CONNECT_S = 10
_KEPT = "what was acknowledged before is kept"
_INSTALL = "pip install 'outweigh[postgres]'"
_WRITE = "postgresql://user@host:5432/database"
_OWN = "Give the ledger a database of its own, or a schema: ?options=-csearch_path%3Dledger; nothing was changed"
# Any number will do, as long as every outweigh uses the same: the first 8 bytes of SHA-256("outweigh schema").
_SCHEMA_LOCK = -5_789_886_800_452_556_747


@stores.register("postgresql")
class PostgresqlStore(LedgerStore):
    """Append-only receipts on a PostgreSQL server; many processes on many machines may write at once.

    An address that `append` returned was flushed by the server before (synchronous_commit is put on where it was off;
    a server that runs with fsync = off voids this). Writers stand in a line at the head row, which each locks FOR
    UPDATE; readers never wait. An append whose answer was lost may be repeated: the same receipt is kept once.

    PostgreSQL text holds no NUL character: a receipt with one in its run id, batch, project or variant is refused.

    Args:
        url: `postgresql://user:password@host:port/database`, with libpq's parameters after `?`. A password is
            better kept in the environment or the password file that libpq reads.
        create: make the tables when they are not there, and make sure at once that they can be written. False opens
            only what exists, to read.
    """

    name: ClassVar[str] = "postgresql"

    def __init__(self, url: str, *, create: bool = True) -> None:
        super().__init__(create=create)
        self._url = url
        self.location = _label(url)

    @classmethod
    def probe(cls) -> Availability:
        missing = [package for package in ("sqlalchemy", "alembic", "psycopg") if find_spec(package) is None]
        return Availability(
            name="postgresql",
            usable=not missing,
            sees="receipts on a PostgreSQL server, given by its URL",
            reason=f"{' and '.join(missing)} not installed" if missing else "",
            remedy=_INSTALL if missing else "",
        )

    @classmethod
    def open(cls, location: str, *, create: bool = True) -> Self:
        """The store at the URL, opened and migrated now. Raises LedgerError when it cannot be used."""
        store = cls(location, create=create)
        store._open_now()
        return store

    def append(self, receipt: Receipt) -> str:
        self._without_nul(receipt)
        return super().append(receipt)

    def append_all(self, receipts: Sequence[Receipt]) -> tuple[str, ...]:
        for receipt in receipts:
            self._without_nul(receipt)
        return super().append_all(receipts)

    def append_new(self, receipts: Sequence[Receipt]) -> tuple[tuple[str, bool], ...]:
        for receipt in receipts:
            self._without_nul(receipt)
        return super().append_new(receipts)

    def texts(
        self, which: ReceiptFilter, *, after: int | None = None, limit: int, newest: bool = False
    ) -> tuple[KeptText, ...]:
        if any("\0" in str(wanted) for wanted in (which.batch, which.project, which.phase, which.run_id)):
            return ()
        return super().texts(which, after=after, limit=limit, newest=newest)

    def _without_nul(self, receipt: Receipt) -> None:
        # Only the columns: in the body JSON spells the character out as \\u0000.
        for field in ("run_id", "batch", "project", "variant"):
            if "\0" in getattr(receipt, field):
                raise ReceiptRefused(
                    self.location,
                    f"the {field} of a receipt holds a NUL character, which PostgreSQL text cannot",
                    f"Give a {field} without it, or keep this receipt in a SQLite ledger",
                )

    def receipts(self, which: ReceiptFilter) -> Iterator[tuple[str, Receipt]]:
        """In the order they were written; `limit` keeps the latest. `within` takes every run that overlaps it."""
        if any("\0" in str(wanted) for wanted in (which.batch, which.project, which.phase, which.run_id)):
            return
        yield from super().receipts(which)

    # --- opening ------------------------------------------------------------------------------------

    def _connected(self) -> SqlLedger:
        from outweigh.backends.stores._sql import SCHEMA, SqlLedger

        engine = _engine(self._url)
        # Readers see one moment from their first look to their last, so that writers at work raise no false alarm.
        # A writer must see what the others wrote while it waited for the head's lock, which is READ COMMITTED.
        ledger = SqlLedger(engine, self.location, writer=engine.execution_options(isolation_level="READ COMMITTED"))
        with ExitStack() as undo:
            undo.callback(engine.dispose)
            self._prepare(ledger, SCHEMA)
            undo.pop_all()
        return ledger

    def _prepare(self, ledger: SqlLedger, schema: str) -> None:
        from sqlalchemy import inspect, select, text

        from outweigh.backends.stores._sql import head

        with ledger.engine.connect() as connection:
            tables = set(inspect(connection).get_table_names())
            version = None
            if "outweigh_schema" in tables:
                version = connection.execute(text("SELECT version_num FROM outweigh_schema")).scalar_one_or_none()
        if version is None and not self._create:
            raise LedgerError(
                self.location, "there is no ledger in it", "`outweigh measure` or `outweigh review` starts one"
            )
        if version != schema:
            from outweigh.backends.stores._migrate import migrate

            migrate(self.location, self._alone(ledger), own=_OWN)
        elif self._create:
            # A role that may only read would otherwise be found out after the first measurement.
            with ledger.writing() as connection:
                connection.execute(select(head.c.id).with_for_update())

    @contextmanager
    def _alone(self, ledger: SqlLedger) -> Iterator[Connection]:
        """A write transaction in which no other process changes the schema."""
        from sqlalchemy import text

        with ledger.writing() as connection:
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _SCHEMA_LOCK})
            yield connection

    # --- errors -------------------------------------------------------------------------------------

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except _database_errors() as err:
            raise self._explained(err) from err

    def _explained(self, err: Exception) -> LedgerError:
        said = getattr(err, "orig", None) or err
        state = str(getattr(said, "sqlstate", None) or "")
        if state in ("XX001", "XX002"):  # data_corrupted, index_corrupted
            return LedgerCorrupt(self.location, f"the server found damage ({_line(said)})", "Restore it from a backup")
        # Refused while connecting, an error carries no state, only the server's words.
        for words, meant in (("password", "28P01"), ("authentication", "28000"), ("does not exist", "3D000")):
            if not state and "FATAL" in str(said) and words in str(said):
                state = meant
        reasons: Sequence[tuple[str, str, str]] = (
            ("53100", "the server's disk is full", f"Free some space there and repeat; {_KEPT}"),
            ("53", f"the server is short of resources ({_line(said)})", f"Wait and repeat; {_KEPT}"),
            ("55P03", f"another process held it for {_BUSY_S} s", f"Look for one that hangs, and repeat; {_KEPT}"),
            ("28", "the server refused the user or its password", "Check user, password and pg_hba.conf"),
            ("3D000", "there is no such database", "Make it first: createdb NAME"),
            (
                "42501",
                f"the role lacks a right ({_line(said)})",
                "Grant CREATE on the schema, or SELECT to read",
            ),
            ("25006", "the server takes no writes (read-only)", "Write to the primary server"),
            ("23001", f"it refused a change ({_line(said)})", "A ledger only grows; record something new"),
        )
        for prefix, reason, remedy in reasons:
            if state.startswith(prefix):
                return LedgerError(self.location, reason, remedy)
        if getattr(err, "connection_invalidated", False) or not state or state.startswith(("08", "57")):
            return LedgerError(
                self.location,
                f"the server cannot be reached or went away ({_line(said)})",
                f"Start it and repeat; {_KEPT}, and the same receipt is kept once",
            )
        return LedgerError(self.location, _line(said), "`outweigh ledger verify` checks it")


def _parsed(url: str) -> URL:
    from sqlalchemy import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        # Nothing of the URL is repeated, nor is the cause chained: either may hold a password.
        raise UsageError("this is not the URL of a PostgreSQL database", f"Write {_WRITE}") from None
    if parsed.drivername.split("+")[0] != "postgresql" or "\0" in url:
        raise UsageError("this is not the URL of a PostgreSQL database", f"Write {_WRITE}")
    return parsed.set(drivername="postgresql+psycopg")


def _label(url: str) -> str:
    """What messages call the ledger: no user, no password, none of the parameters."""
    try:
        parsed = _parsed(url)
    except ModuleNotFoundError as err:
        raise MissingExtra("sqlalchemy", "the postgresql store", _INSTALL) from err
    host = str(parsed.host or parsed.query.get("host", "") or "")
    port = f":{parsed.port}" if parsed.port else ""
    return f"postgresql://{host}{port}/{parsed.database or ''}"


def _engine(url: str) -> Engine:
    if find_spec("psycopg") is None:
        raise MissingExtra("psycopg", "the postgresql store", _INSTALL)
    from sqlalchemy import create_engine, event

    parsed = _parsed(url)
    waits = {} if "connect_timeout" in parsed.query else {"connect_timeout": _CONNECT_S}
    engine = create_engine(
        parsed, isolation_level="REPEATABLE READ", pool_pre_ping=True, connect_args=waits, hide_parameters=True
    )

    @event.listens_for(engine, "connect")
    def configure(connection: Any, _record: object) -> None:
        with connection.cursor() as cursor:
            cursor.execute(f"SET lock_timeout = '{_BUSY_S}s'")
            cursor.execute("SHOW synchronous_commit")
            # Only raised, never lowered: an operator may have asked for the standby's word as well.
            if cursor.fetchone()[0] == "off":
                cursor.execute("SET synchronous_commit = on")
        connection.commit()

    return engine


def _database_errors() -> tuple[type[Exception], ...]:
    # Asked for only once something was raised, so that opening stays the first to import SQLAlchemy.
    # TimeoutError is the pool's: everybody waits for a server that does not answer.
    from sqlalchemy.exc import DBAPIError, TimeoutError  # noqa: A004

    return DBAPIError, TimeoutError


def _line(said: object) -> str:
    return next((line.strip() for line in str(said).splitlines() if line.strip()), "no reason given")
