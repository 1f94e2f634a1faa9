"""Schema versions of the ledger, by Alembic. Imported only when a ledger is new or old."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path

from alembic.migration import MigrationContext
from alembic.operations import Operations
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, inspect

from outweigh.core.errors import LedgerError

# A name of our own: a database may be shared with an application that keeps its own alembic_version.
VERSION_TABLE = "outweigh_schema"
_MIGRATIONS = Path(__file__).parent / "_migrations"


def revisions() -> tuple[str, ...]:
    """Every schema version this package knows, oldest first."""
    return tuple(revision.revision for revision in reversed(list(ScriptDirectory(str(_MIGRATIONS)).walk_revisions())))


def _revision(connection: Connection) -> str | None:
    context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE})
    return context.get_current_revision()


_OWN_FILE = "Give the ledger a file of its own; nothing was changed"


def migrate(location: str, writing: AbstractContextManager[Connection], *, own: str = _OWN_FILE) -> None:
    """Bring the schema to the version this package knows.

    `writing` is a write transaction not yet entered: of several processes that open a new ledger one makes it and
    the others wait, and an upgrade happens whole or not at all. Raises LedgerError for a ledger from a newer
    outweigh, and for a database that holds somebody else's tables; `own` is the remedy for that.
    """
    script = ScriptDirectory(str(_MIGRATIONS))
    with writing as connection:
        current = _revision(connection)
        if current is not None and current not in revisions():
            raise LedgerError(
                location,
                f"it has schema {current}, newer than the {script.get_current_head()} this outweigh knows",
                "Upgrade outweigh: pip install --upgrade outweigh",
            )
        if current is None and set(inspect(connection).get_table_names()) - {VERSION_TABLE}:
            raise foreign(location, own)
        context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE})
        with Operations.context(context):
            for revision in reversed(list(script.iterate_revisions("head", current or "base"))):
                revision.module.upgrade()
                context.stamp(script, revision.revision)


def foreign(location: str, own: str = _OWN_FILE) -> LedgerError:
    """The error for a database that is not ours: we do not put tables into it."""
    return LedgerError(
        location,
        "it is a database, but not an outweigh ledger",
        own,
    )
