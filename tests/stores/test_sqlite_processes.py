"""Several processes, real ones, and what is left when one is killed."""

import subprocess
import sys
from contextlib import closing

import pytest

from outweigh.backends.stores.sqlite import SqliteStore
from outweigh.ports import ReceiptFilter

PROCESSES, EACH = 8, 25


def start(writer, path, first, count):
    return subprocess.Popen(
        [sys.executable, str(writer), str(path), str(first), str(count)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def test_eight_processes_that_start_one_ledger_at_once_lose_and_double_nothing(tmp_path, writer, made_receipt):
    path = tmp_path / "ledger.sqlite"

    writers = [start(writer, path, number * EACH, EACH) for number in range(PROCESSES)]
    said = [process.communicate(timeout=240) for process in writers]

    assert [process.returncode for process in writers] == [0] * PROCESSES, said
    acknowledged = [address for out, _ in said for address in out.split()]
    assert len(acknowledged) == PROCESSES * EACH
    with closing(SqliteStore.open(path)) as store:
        assert store.verify() == PROCESSES * EACH
        kept = dict(store.receipts(ReceiptFilter()))
    assert set(kept) == set(acknowledged)
    assert sorted(kept.values(), key=lambda receipt: receipt.run_id) == [
        made_receipt(index) for index in range(PROCESSES * EACH)
    ]


def test_processes_that_write_the_same_receipts_keep_each_once(tmp_path, writer):
    path = tmp_path / "ledger.sqlite"

    writers = [start(writer, path, 0, 20) for _ in range(3)]
    said = [process.communicate(timeout=240)[0].split() for process in writers]

    assert said[0] == said[1] == said[2]
    with closing(SqliteStore.open(path)) as store:
        assert store.verify() == 20


@pytest.mark.parametrize("after", [1, 17, 60])
def test_a_writer_killed_in_the_middle_loses_nothing_it_acknowledged(tmp_path, writer, made_receipt, after):
    path = tmp_path / "ledger.sqlite"
    process = start(writer, path, 0, 100_000)
    acknowledged = [process.stdout.readline().strip() for _ in range(after)]

    process.kill()
    acknowledged += process.communicate(timeout=60)[0].split()

    with closing(SqliteStore.open(path)) as store:
        kept = [address for address, _ in store.receipts(ReceiptFilter())]
        assert kept[: len(acknowledged)] == acknowledged
        # One more may have been kept without the writer having had the time to say so.
        assert len(kept) - len(acknowledged) in (0, 1)
        assert store.verify() == len(kept)
        store.append(made_receipt(999_999))
        assert store.verify() == len(kept) + 1


def test_a_reader_beside_a_writer_sees_a_whole_chain_at_every_moment(tmp_path, writer):
    path = tmp_path / "ledger.sqlite"
    SqliteStore.open(path).close()
    process = start(writer, path, 0, 150)
    counts = []
    with closing(SqliteStore.open(path, create=False)) as store:
        while process.poll() is None:
            counts.append(store.verify())
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors
        assert store.verify() == 150

    assert counts == sorted(counts)


def test_every_connection_flushes_before_it_acknowledges(tmp_path):
    with closing(SqliteStore(tmp_path / "ledger.sqlite")) as store:
        store.verify()
        with store._ledger().engine.connect() as connection:
            assert connection.exec_driver_sql("PRAGMA journal_mode").scalar_one() == "wal"
            assert connection.exec_driver_sql("PRAGMA synchronous").scalar_one() == 2  # FULL
            assert connection.exec_driver_sql("PRAGMA busy_timeout").scalar_one() == 30_000
