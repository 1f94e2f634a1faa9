"""A ledger of every past schema version opens, verifies and lists.

To add version 5: write `_migrations/versions/0005_*.py` (its down_revision is "0004"), bring the tables and `SCHEMA` in
`_sql.py` to the same state, run `python tests/stores/ledgers/generate.py v5`, commit the file, and add its line to
FIXTURES below. Leave the files of earlier versions and their lines as they are.
"""

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from outweigh.backends.stores._migrate import VERSION_TABLE, revisions
from outweigh.backends.stores._sql import SCHEMA, metadata
from outweigh.backends.stores.sqlite import SqliteStore
from outweigh.ports import ReceiptFilter

LEDGERS = Path(__file__).with_name("ledgers")

# Addresses are content: they never move.
ADDRESSES = (
    "0a2a5ff955a561dc3549ab3f1f1efd4922794fe33b131904b1341fa19b8a304f",
    "7c9663eea73b6762c8e41b1fecae5115e41461d1a23f6b4c7be073e2597f9bc6",
    "3064d774179d54d7339564a93385c5770256972c3eb8ba306b9694e29ae19a14",
)

# file -> (schema it was written with, addresses it must still hold, how many views it must still hold)
FIXTURES = {
    "v1.sqlite": ("0001", ADDRESSES, 0),
    "v2.sqlite": ("0002", ADDRESSES, 6),
    "v3.sqlite": ("0003", ADDRESSES, 6),
    "v4.sqlite": ("0004", ADDRESSES, 6),
}


@pytest.mark.parametrize("name", FIXTURES)
def test_a_ledger_of_every_past_version_opens_verifies_lists_and_goes_on(tmp_path, name, made_receipt):
    schema, addresses, views = FIXTURES[name]
    path = tmp_path / name
    shutil.copy(LEDGERS / name, path)
    with closing(sqlite3.connect(path)) as raw:
        assert raw.execute(f"SELECT version_num FROM {VERSION_TABLE}").fetchone() == (schema,)

    with closing(SqliteStore.open(path)) as store:
        assert store.verify() == len(addresses)
        listed = list(store.receipts(ReceiptFilter()))
        assert tuple(address for address, _ in listed) == addresses
        assert all(receipt.project == "synthetic" for _, receipt in listed)
        assert [view.receipt for view in store.views()] == [*addresses, *addresses][:views]
        store.append(made_receipt(7))
        assert store.verify() == len(addresses) + 1

    with closing(sqlite3.connect(path)) as raw:
        assert raw.execute(f"SELECT version_num FROM {VERSION_TABLE}").fetchone() == (SCHEMA,)


def test_every_schema_version_has_a_fixture():
    assert {schema for schema, _, _ in FIXTURES.values()} == set(revisions())
    assert {path.name for path in LEDGERS.glob("*.sqlite")} == set(FIXTURES)


def test_the_tables_in_code_are_those_the_migrations_make(tmp_path):
    assert revisions()[-1] == SCHEMA
    with closing(SqliteStore(tmp_path / "ledger.sqlite")) as store:
        store.verify()
        with store._ledger().engine.connect() as connection:
            context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE})
            assert compare_metadata(context, metadata) == []


def test_an_upgrade_that_fails_leaves_no_half_made_schema(tmp_path, monkeypatch):
    path = tmp_path / "ledger.sqlite"

    def stop(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(MigrationContext, "stamp", stop)
        with pytest.raises(KeyboardInterrupt):
            SqliteStore.open(path)

    with closing(sqlite3.connect(path)) as raw:
        assert raw.execute("SELECT name FROM sqlite_master").fetchall() == []
    with closing(SqliteStore.open(path)) as store:
        assert store.verify() == 0
