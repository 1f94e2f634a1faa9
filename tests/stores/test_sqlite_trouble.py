"""Everything that goes wrong with a file: typed, with a remedy, and what was acknowledged stays."""

import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing

import pytest

from outweigh.backends.stores.sqlite import SqliteStore
from outweigh.core.errors import LedgerCorrupt, LedgerError
from outweigh.ports import ReceiptFilter, View, ViewKind


@pytest.fixture
def tmpfs(tmp_path):
    """A file system of 1 MiB of its own, and a way to mount it anew with other options."""
    folder = tmp_path / "small"
    folder.mkdir()

    def mount(*options):
        return subprocess.run(["mount", *options], capture_output=True, text=True, check=False)

    if not sys.platform.startswith("linux") or shutil.which("mount") is None:
        pytest.skip("needs Linux and mount(8)")
    if (done := mount("-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder))).returncode:
        pytest.skip(f"cannot mount a small file system here: {done.stderr.strip()}")
    yield folder, lambda options: mount("-o", f"remount,{options}", str(folder))
    subprocess.run(["umount", str(folder)], check=True)


def fails(open_, match):
    with pytest.raises(LedgerError, match=match) as caught:
        open_()
    assert caught.value.exit_code == 3
    assert caught.value.remedy
    return caught.value


def test_a_missing_folder_is_named_and_not_made(tmp_path):
    path = tmp_path / "no" / "such" / "ledger.sqlite"

    error = fails(lambda: SqliteStore.open(path), "there is no folder")

    assert str(path.parent) in error.remedy
    assert not (tmp_path / "no").exists()


def test_a_folder_that_is_a_file_is_refused(tmp_path):
    (tmp_path / "file").write_text("")

    fails(lambda: SqliteStore.open(tmp_path / "file" / "ledger.sqlite"), "is not a folder")


def test_a_ledger_that_is_a_folder_is_refused(tmp_path):
    fails(lambda: SqliteStore.open(tmp_path), "it is a folder")


def test_a_name_the_file_system_cannot_hold_is_refused(tmp_path):
    fails(lambda: SqliteStore.open(tmp_path / ("x" * 300)), "ledger")


def test_reading_makes_no_ledger(tmp_path):
    path = tmp_path / "ledger.sqlite"

    fails(lambda: SqliteStore.open(path, create=False), "no such file")

    assert not path.exists()


@pytest.mark.skipif(getattr(os, "geteuid", lambda: 0)() == 0, reason="root may write anywhere; see the read-only mount")
def test_a_folder_without_permission_is_refused(tmp_path):
    tmp_path.chmod(0o500)
    try:
        fails(lambda: SqliteStore.open(tmp_path / "ledger.sqlite"), "writable")
    finally:
        tmp_path.chmod(0o700)


@pytest.mark.parametrize("content", [b"not a database, but a letter to a friend" * 50, bytes(range(256)) * 64])
def test_a_file_that_is_no_database_is_refused_and_left_as_it_is(tmp_path, content):
    path = tmp_path / "letter.txt"
    path.write_bytes(content)

    fails(lambda: SqliteStore.open(path), "not a ledger")

    assert path.read_bytes() == content


def test_a_database_of_somebody_else_is_refused_and_left_as_it_is(tmp_path):
    path = tmp_path / "bookmarks.sqlite"
    with closing(sqlite3.connect(path)) as raw:
        raw.execute("CREATE TABLE bookmarks (url TEXT)")
    before = path.read_bytes()

    fails(lambda: SqliteStore.open(path), "not an outweigh ledger")

    assert path.read_bytes() == before


def test_a_ledger_of_a_newer_outweigh_says_to_upgrade(tmp_path):
    path = tmp_path / "ledger.sqlite"
    SqliteStore.open(path).close()
    with closing(sqlite3.connect(path)) as raw, raw:
        raw.execute("UPDATE outweigh_schema SET version_num = '9999'")

    error = fails(lambda: SqliteStore.open(path), "schema 9999, newer than")

    assert "Upgrade outweigh" in error.remedy


def test_a_read_only_disk_is_refused_before_anything_is_measured(tmpfs, made_receipt):
    folder, remount = tmpfs
    path = folder / "ledger.sqlite"
    store = SqliteStore.open(path)
    store.append(made_receipt(1))
    store.close()
    remount("ro")

    fails(lambda: SqliteStore.open(path), "read-only|cannot be opened")
    fails(lambda: SqliteStore.open(folder / "another.sqlite"), "cannot be opened")


def test_a_full_disk_keeps_what_was_acknowledged_and_goes_on_once_there_is_room(tmpfs, made_receipt):
    folder, remount = tmpfs
    store = SqliteStore.open(folder / "ledger.sqlite")
    acknowledged = []

    def fill():
        while len(acknowledged) < 1000:
            address = store.append(made_receipt(len(acknowledged)))
            acknowledged.append(address)

    fails(fill, "the disk is full")
    remount("size=8m")

    assert acknowledged
    assert [address for address, _ in store.receipts(ReceiptFilter())] == acknowledged
    store.append(made_receipt(5000))
    assert store.verify() == len(acknowledged) + 1
    store.close()


LIMITED = """
import resource, runpy, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))
from outweigh.core.errors import LedgerError
try:
    runpy.run_path(sys.argv[1])["main"](sys.argv[2], 0, 1000)
except LedgerError as err:
    sys.exit(str(err))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs a limit on file size (POSIX)")
def test_a_quota_that_is_used_up_keeps_what_was_acknowledged(tmp_path, writer):
    path = tmp_path / "ledger.sqlite"

    done = subprocess.run(
        [sys.executable, "-c", LIMITED, str(writer), str(path)],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )

    acknowledged = done.stdout.split()
    assert 0 < len(acknowledged) < 1000
    assert "acknowledged before is kept" in done.stderr
    assert "Traceback" not in done.stderr
    with closing(SqliteStore.open(path)) as store:
        assert store.verify() >= len(acknowledged)
        assert {address for address, _ in store.receipts(ReceiptFilter())} >= set(acknowledged)


def test_a_ledger_held_by_another_process_says_so(tmp_path, monkeypatch, made_receipt):
    monkeypatch.setattr("outweigh.backends.stores.sqlite._BUSY_S", 0.05)
    path = tmp_path / "ledger.sqlite"
    with closing(SqliteStore.open(path)) as store, closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")

        fails(lambda: store.append(made_receipt(1)), "another process held it")

        other.execute("ROLLBACK")
        store.append(made_receipt(1))
        assert store.verify() == 1


# --- tampering --------------------------------------------------------------------------------------


@pytest.fixture
def ledger(tmp_path, made_receipt):
    path = tmp_path / "ledger.sqlite"
    with closing(SqliteStore.open(path)) as store:
        for index in range(10):
            store.append(made_receipt(index))
    return path


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE receipts SET energy_j = 1 WHERE seq = 5",
        "DELETE FROM receipts WHERE seq = 5",
        "UPDATE ledger_head SET kept = 5",
        "DELETE FROM ledger_head",
    ],
)
def test_the_ledger_refuses_to_be_changed(ledger, statement):
    with closing(sqlite3.connect(ledger)) as raw, pytest.raises(sqlite3.IntegrityError):
        raw.execute(statement)


BODY = "UPDATE receipts SET body = replace(body, '\"energy_j\":105.0', '\"energy_j\":10.0') WHERE seq = 6"
REFILL = "DELETE FROM receipts WHERE seq = 5; UPDATE receipts SET seq = 5 WHERE seq = 10"
SLIPPED_IN = """
INSERT INTO receipts SELECT 11, 'x', 'y', batch, project, phase, variant, started, ended, energy_j, grade, status, body,
prev_chain, chain FROM receipts WHERE seq = 10
"""
SWAP = """
UPDATE receipts SET seq = 99 WHERE seq = 4; UPDATE receipts SET seq = 4 WHERE seq = 5;
UPDATE receipts SET seq = 5 WHERE seq = 99
"""


@pytest.mark.parametrize(
    ("tampering", "found"),
    [
        (BODY, r"receipt 6 .* was altered"),
        ("UPDATE receipts SET body = CAST(body AS BLOB) WHERE seq = 6", r"receipt 6 .* was altered"),
        ("UPDATE receipts SET body = CAST(x'ff' AS TEXT) WHERE seq = 6", "damaged"),
        ("UPDATE receipts SET energy_j = 1.0 WHERE seq = 3", "receipt 3 was altered in energy_j"),
        ("UPDATE receipts SET started = '2020', grade = 'A' WHERE seq = 3", "receipt 3 was altered in started, grade"),
        ("DELETE FROM receipts WHERE seq = 1", "receipt 1 is missing"),
        ("DELETE FROM receipts WHERE seq = 5", "receipt 5 is missing"),
        (REFILL, "receipt 5 .* does not follow"),
        ("DELETE FROM receipts WHERE seq = 10", "the last 1 receipts are missing"),
        ("DELETE FROM receipts", "the last 10 receipts are missing"),
        ("DELETE FROM receipts WHERE seq = 10; UPDATE ledger_head SET kept = 9", "or the chain differs"),
        ("UPDATE ledger_head SET chain = 'x'", "or the chain differs"),
        ("DELETE FROM ledger_head", "its head is missing"),
        (SWAP, "receipt 4 .* does not follow"),
        ("UPDATE receipts SET chain = 'x' WHERE seq = 2", "receipt 2 .* does not follow"),
        (SLIPPED_IN, "receipt 11 .* was altered"),
    ],
)
def test_tampering_past_the_triggers_is_found(ledger, tampering, found):
    with closing(sqlite3.connect(ledger)) as raw:
        for (trigger,) in raw.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            raw.execute(f"DROP TRIGGER {trigger}")
        raw.executescript(tampering)

    with closing(SqliteStore.open(ledger)) as store, pytest.raises(LedgerCorrupt, match=found) as caught:
        store.verify()

    assert "Restore" in caught.value.remedy


def test_an_altered_receipt_is_never_handed_out(ledger, made_receipt):
    with closing(sqlite3.connect(ledger)) as raw, raw:
        raw.execute("DROP TRIGGER receipts_are_never_changed")
        raw.execute(BODY)

    with closing(SqliteStore.open(ledger)) as store:
        with pytest.raises(LedgerCorrupt):
            list(store.receipts(ReceiptFilter()))
        with pytest.raises(LedgerCorrupt):
            store.get(made_receipt(5).content_hash)


def test_a_ledger_rewritten_from_its_beginning_shows_against_a_head_kept_elsewhere(tmp_path, made_receipt):
    heads = []
    for name, joules in (("honest", 100.0), ("rewritten", 10.0)):
        with closing(SqliteStore.open(tmp_path / f"{name}.sqlite")) as store:
            store.append(made_receipt(1, joules=joules))
            assert store.verify() == 1
            heads.append(store.head())

    assert heads[0] != heads[1]


@pytest.mark.parametrize("page", [1, 3, 5])
def test_a_damaged_page_is_found(ledger, page):
    with ledger.open("r+b") as file:
        file.seek(page * 4096)
        file.write(b"\xa5" * 4096)

    with closing(SqliteStore(ledger)) as store, pytest.raises(LedgerError):
        store.verify()


def test_a_file_cut_short_is_found(ledger):
    with ledger.open("r+b") as file:
        file.truncate(ledger.stat().st_size // 2)

    with closing(SqliteStore(ledger)) as store, pytest.raises(LedgerCorrupt):
        store.verify()


@pytest.mark.parametrize(
    ("tampering", "found"),
    [
        ("UPDATE views SET body = replace(body, '1.5', '0.5') WHERE seq = 2", r"view 2 .* was altered"),
        ("UPDATE views SET kind = 'cost' WHERE seq = 2", "view 2 was altered in kind"),
        ("DELETE FROM views WHERE seq = 1", "view 1 is missing"),
        ("DELETE FROM views WHERE seq = 3", "the last 1 views are missing"),
        ("DELETE FROM views_head", "the head of its views is missing"),
    ],
)
def test_tampering_with_views_is_found_too(ledger, made, made_receipt, tampering, found):
    address = made_receipt(1).content_hash
    with closing(SqliteStore.open(ledger)) as store:
        store.append_views(
            View(address, ViewKind.CARBON, f"{number:064x}", (made.FACTOR,), (("carbon_g", 1.5),), "made up 1", "")
            for number in range(3)
        )
    with closing(sqlite3.connect(ledger)) as raw:
        with pytest.raises(sqlite3.IntegrityError):
            raw.execute(tampering)
        for (trigger,) in raw.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            raw.execute(f"DROP TRIGGER {trigger}")
        raw.executescript(tampering)

    with closing(SqliteStore.open(ledger)) as store, pytest.raises(LedgerCorrupt, match=found):
        store.verify()
