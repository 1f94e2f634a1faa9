"""What is PostgreSQL's own: URLs and passwords, rights, the schema, tampering, servers that go away."""

import subprocess
import sys
from contextlib import closing

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from outweigh.backends.stores._migrate import VERSION_TABLE
from outweigh.backends.stores._sql import metadata
from outweigh.backends.stores.postgresql import PostgresqlStore
from outweigh.core.errors import LedgerCorrupt, LedgerError, UsageError
from outweigh.ledger import open_ledger
from outweigh.ports import ReceiptFilter

psycopg = pytest.importorskip("psycopg")  # `make test` has it; the frameworks' environment need not


def execute(url, *statements):
    with psycopg.connect(url, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement)


@pytest.fixture
def url(new_database):
    return new_database()


@pytest.fixture
def ledger(url, made_receipt):
    with closing(PostgresqlStore.open(url)) as store:
        for index in range(10):
            store.append(made_receipt(index))
    return url


def test_a_ledger_opens_by_its_url(url, made_receipt):
    with closing(open_ledger(url)) as store:
        address = store.append(made_receipt(1))

    with closing(open_ledger(url.replace("postgresql://", "postgresql+psycopg://"), create=False)) as store:
        assert store.get(address) == made_receipt(1)


@pytest.mark.parametrize("url", ["postgresql://me:secret@host:nonsense/db", "postgresql://me:secret@[::1/db"])
def test_a_url_that_is_none_is_refused_without_repeating_it(url):
    with pytest.raises(UsageError, match="not the URL") as caught:
        open_ledger(url)

    assert "secret" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_a_server_that_does_not_answer_is_named_and_its_password_is_not(postgres):
    address = f"postgresql://me:secret@127.0.0.1:1/ledger?application_name=secret&connect_timeout=2&port={1}"

    with pytest.raises(LedgerError, match="cannot be reached") as caught:
        PostgresqlStore.open(address)

    said, error = [], caught.value
    while error is not None:
        said.append(str(error))
        error = error.__cause__ or error.__context__
    assert "postgresql://127.0.0.1:1/ledger" in said[0]
    assert "secret" not in " ".join(said)
    assert caught.value.exit_code == 3


def test_a_database_that_is_not_there_says_how_to_make_it(postgres):
    with pytest.raises(LedgerError, match="no such database") as caught:
        PostgresqlStore.open(postgres.url("nowhere"))

    assert "createdb" in caught.value.remedy


def test_reading_makes_no_ledger(url):
    with pytest.raises(LedgerError, match="there is no ledger in it"):
        PostgresqlStore.open(url, create=False)

    with psycopg.connect(url) as connection:
        assert connection.execute("SELECT * FROM pg_tables WHERE schemaname = 'public'").fetchall() == []


def test_a_database_of_somebody_else_is_left_as_it_is_and_a_schema_of_our_own_beside_it_serves(url, made_receipt):
    execute(url, "CREATE TABLE bookmarks (url text)", "CREATE SCHEMA ledger")

    with pytest.raises(LedgerError, match="not an outweigh ledger") as caught:
        PostgresqlStore.open(url)
    with closing(PostgresqlStore.open(f"{url}?options=-csearch_path%3Dledger")) as store:
        store.append(made_receipt(1))
        assert store.verify() == 1

    assert "search_path" in caught.value.remedy


def test_a_role_that_may_only_read_can_read_and_is_told_so_before_it_measures(ledger, postgres, made_receipt):
    grant = "GRANT SELECT ON ALL TABLES IN SCHEMA public TO reader"
    execute(ledger, "DROP ROLE IF EXISTS reader", "CREATE ROLE reader LOGIN", grant)
    as_reader = ledger.replace("postgres@", "reader@")

    with closing(PostgresqlStore.open(as_reader, create=False)) as store:
        assert store.verify() == 10
    with pytest.raises(LedgerError, match="lacks a right"):
        PostgresqlStore.open(as_reader)

    execute(ledger, "DROP OWNED BY reader", "DROP ROLE reader")


def test_a_ledger_of_a_newer_outweigh_says_to_upgrade(ledger):
    execute(ledger, f"UPDATE {VERSION_TABLE} SET version_num = '9999'")

    with pytest.raises(LedgerError, match="schema 9999, newer than"):
        PostgresqlStore.open(ledger)


def test_the_tables_in_code_are_those_the_migrations_make(ledger):
    with closing(PostgresqlStore.open(ledger)) as store, store._ledger().engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE})
        assert compare_metadata(context, metadata) == []


def test_every_append_is_flushed_even_where_the_server_is_lax(url):
    execute(url, "ALTER DATABASE {} SET synchronous_commit = off".format(url.rsplit("/", 1)[1]))

    with closing(PostgresqlStore.open(url)) as store, store._ledger().engine.connect() as connection:
        assert connection.exec_driver_sql("SHOW synchronous_commit").scalar_one() == "on"


def test_a_head_that_another_process_holds_says_so(ledger, monkeypatch, made_receipt):
    monkeypatch.setattr("outweigh.backends.stores.postgresql._BUSY_S", 1)
    with closing(PostgresqlStore.open(ledger)) as store, psycopg.connect(ledger) as other:
        other.execute("SELECT * FROM ledger_head FOR UPDATE")

        with pytest.raises(LedgerError, match="another process held it"):
            store.append(made_receipt(99))

        other.rollback()
        store.append(made_receipt(99))
        assert store.verify() == 11


def test_a_connection_that_was_cut_is_made_again(ledger, made_receipt):
    with closing(PostgresqlStore.open(ledger)) as store:
        assert store.verify() == 10
        execute(ledger, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()")

        store.append(made_receipt(99))
        assert store.verify() == 11


# --- many writers -----------------------------------------------------------------------------------


def test_eight_processes_that_start_one_ledger_at_once_lose_and_double_nothing(url, writer, made_receipt):
    writers = [
        subprocess.Popen(
            [sys.executable, str(writer), url, str(number * 25), "25"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(8)
    ]
    said = [process.communicate(timeout=240) for process in writers]

    assert [process.returncode for process in writers] == [0] * 8, said
    acknowledged = [address for out, _ in said for address in out.split()]
    with closing(PostgresqlStore.open(url)) as store:
        assert store.verify() == 200
        kept = dict(store.receipts(ReceiptFilter()))
    assert set(kept) == set(acknowledged)
    assert sorted(kept.values(), key=lambda receipt: receipt.run_id) == [made_receipt(index) for index in range(200)]


def test_a_reader_beside_a_writer_sees_a_whole_chain_at_every_moment(url, writer):
    PostgresqlStore.open(url).close()
    process = subprocess.Popen([sys.executable, str(writer), url, "0", "100"], stdout=subprocess.DEVNULL)
    counts = []
    with closing(PostgresqlStore.open(url, create=False)) as store:
        while process.poll() is None:
            counts.append(store.verify())
        assert process.returncode == 0
        assert store.verify() == 100

    assert counts == sorted(counts)


# --- tampering --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE receipts SET energy_j = 1 WHERE seq = 5",
        "DELETE FROM receipts WHERE seq = 5",
        "TRUNCATE receipts CASCADE",
        "UPDATE ledger_head SET kept = 5",
        "DELETE FROM ledger_head",
        "TRUNCATE ledger_head",
    ],
)
def test_the_ledger_refuses_to_be_changed(ledger, statement):
    with pytest.raises(psycopg.errors.RestrictViolation):
        execute(ledger, statement)


@pytest.mark.parametrize(
    ("tampering", "found"),
    [
        ("UPDATE receipts SET body = replace(body, '105.0', '10.0') WHERE seq = 6", r"receipt 6 .* was altered"),
        ("UPDATE receipts SET energy_j = 1.0 WHERE seq = 3", "receipt 3 was altered in energy_j"),
        ("DELETE FROM receipts WHERE seq = 5", "receipt 5 is missing"),
        ("DELETE FROM receipts WHERE seq = 10", "the last 1 receipts are missing"),
        ("UPDATE ledger_head SET chain = 'x'", "or the chain differs"),
        ("DELETE FROM ledger_head", "its head is missing"),
    ],
)
def test_tampering_past_the_triggers_is_found(ledger, tampering, found):
    execute(
        ledger, "ALTER TABLE receipts DISABLE TRIGGER ALL", "ALTER TABLE ledger_head DISABLE TRIGGER ALL", tampering
    )

    with closing(PostgresqlStore.open(ledger, create=False)) as store, pytest.raises(LedgerCorrupt, match=found):
        store.verify()
