"""Runs that are cut off. The processes and the kills are real."""

import errno
import importlib.util
import json
import multiprocessing
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from outweigh.core import Energy, Method, RunStatus
from outweigh.core.errors import LedgerError, RunUnreadable, UsageError
from outweigh.ledger import RunJournal, add_up, default_path, in_flight, open_ledger, recover, running_folder
from outweigh.ledger.drawn import OF_JOB
from outweigh.ledger.journal import started_ticks, writer
from outweigh.ports import ReceiptFilter

SCRIPT = Path(__file__).with_name("journalling.py")
linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="tells processes apart by /proc")


@pytest.fixture(scope="module")
def made_run():
    spec = importlib.util.spec_from_file_location("journalling", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "running"


class Full:
    """A ledger whose disk is full."""

    def append(self, receipt):
        raise OSError(errno.ENOSPC, "full")


class Process:
    """A process of `journalling.py`, driven one note at a time."""

    def __init__(self, *arguments):
        self.process = subprocess.Popen(
            [sys.executable, str(SCRIPT), *map(str, arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout.readline() == "begun\n"

    def note(self):
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().strip()

    def kill(self):
        self.process.kill()
        self.process.communicate(timeout=60)


def listed(store):
    return [receipt for _, receipt in store.receipts(ReceiptFilter())]


@linux
@pytest.mark.parametrize("notes", [1, 7])
def test_a_killed_run_is_closed_as_interrupted_with_the_energy_seen_so_far(store, folder, notes):
    run = Process(folder, "abc")
    said = [run.note() for _ in range(notes)]
    run.kill()

    (receipt,) = recover(store, folder)

    assert said[-1] == str(notes)
    assert (receipt.run_id, receipt.status) == ("abc", RunStatus.INTERRUPTED)
    assert receipt.total.value == Energy(float(notes))
    assert receipt.interval.seconds == notes
    assert receipt.labels == (("team", "made up"),)
    assert "energy up to its last note" in receipt.notes[-1]
    assert listed(store) == [receipt]
    assert list(folder.iterdir()) == []


@linux
def test_a_run_that_lives_is_left_alone_and_its_notes_go_on(store, folder):
    run = Process(folder, "abc")
    run.note()

    assert recover(store, folder) == []

    assert run.note() == "2"
    run.kill()
    assert recover(store, folder)[0].total.value == Energy(2.0)


@linux
def test_a_run_killed_before_its_first_reading_has_no_figure_and_not_a_zero(store, folder):
    Process(folder, "abc").kill()

    (receipt,) = recover(store, folder)

    assert receipt.status is RunStatus.UNUSABLE
    assert receipt.interval.seconds == 0


@linux
def test_recovering_twice_closes_once(store, folder):
    run = Process(folder, "abc")
    run.note()
    run.kill()
    kept = next(folder.iterdir())
    copy = kept.read_bytes()
    assert len(recover(store, folder)) == 1

    kept.write_bytes(copy)  # the starter was killed after the ledger had it, before the file was gone
    assert recover(store, folder) == []

    assert len(listed(store)) == 1
    assert not kept.exists()


@linux
def test_starters_that_recover_at_once_double_nothing(tmp_path, folder):
    for number in range(5):
        run = Process(folder, f"run{number}")
        run.note()
        run.kill()
    path = tmp_path / "ledger.sqlite"
    open_ledger(path).close()

    def start(_):
        with closing(open_ledger(path)) as store:
            return recover(store, folder)

    with ThreadPoolExecutor(4) as pool:
        found = {receipt.run_id for receipts in pool.map(start, range(4)) for receipt in receipts}

    with closing(open_ledger(path)) as store:
        assert {receipt.run_id for receipt in listed(store)} == found == {f"run{number}" for number in range(5)}
        assert store.verify() == 5
    assert list(folder.iterdir()) == []


@linux
def test_a_run_that_finished_leaves_nothing_to_recover(tmp_path, folder):
    path = tmp_path / "ledger.sqlite"
    run = Process(folder, "abc", path)
    assert [run.note() for _ in range(20)][-1] == "finished"
    run.kill()

    with closing(open_ledger(path)) as store:
        assert recover(store, folder) == []
        assert [receipt.status for receipt in listed(store)] == [RunStatus.COMPLETED]


def as_if_killed(path, **changed):
    """Make the writer of a journal one that is no more."""
    lines = path.read_bytes().split(b"\n")
    head = json.loads(lines[0])
    head.update({"started_ticks": 1, **changed})
    path.write_bytes(b"\n".join([json.dumps(head).encode(), *lines[1:]]))


@linux
def test_a_final_receipt_that_the_ledger_had_not_got_yet_is_brought_in_as_it_is(store, folder, made_run):
    class Gone:
        def append(self, receipt):
            raise LedgerError("ledger", "gone", "wait")

    with made_run.journal(folder) as journal:
        journal.seen(made_run.reading(3.0))
        with pytest.raises(LedgerError):
            journal.finish(Gone(), made_run.final())
    as_if_killed(journal.path)

    assert recover(store, folder) == [made_run.final()]
    assert listed(store) == [made_run.final()]


@linux
def test_a_file_that_cannot_be_looked_at_holds_up_no_other(store, folder):
    run = Process(folder, "abc")
    run.note()
    run.kill()
    (folder / "aaa.jsonl").mkdir()

    with pytest.raises(RunUnreadable, match=r"aaa\.jsonl"):
        recover(store, folder)

    assert [receipt.run_id for receipt in listed(store)] == ["abc"]


@linux
def test_a_file_that_is_gone_when_it_is_looked_at_was_closed_by_its_process(store, folder, made_run, monkeypatch):
    with made_run.journal(folder) as journal:
        journal.seen(made_run.reading(3.0))
    as_if_killed(journal.path)
    found = type(folder).glob

    def glob(self, pattern):
        paths = list(found(self, pattern))
        journal.path.unlink()
        return paths

    monkeypatch.setattr(type(folder), "glob", glob)

    assert recover(store, folder) == []
    assert listed(store) == []


@linux
def test_what_was_measured_inside_a_job_is_shown_and_not_counted_again_where_the_job_was_charged(
    store, folder, made_run
):
    within = replace(made_run.final(), labels=((OF_JOB, "plan-0"),))
    with made_run.journal(folder) as journal, pytest.raises(OSError):
        journal.finish(Full(), within)
    as_if_killed(journal.path)
    charged = replace(made_run.reading(25.0), method=Method.DECLARED, value=Energy(60.0))
    store.append(replace(made_run.final(run_id="plan-0"), total=charged))

    (receipt,) = recover(store, folder)

    assert receipt.total.value == Energy(0.0)
    assert receipt.overlapping == (within.total,)
    assert add_up(listed(store)).energy == Energy(60.0)


@linux
def test_what_was_measured_inside_a_job_is_counted_where_the_job_was_charged_with_nothing(store, folder, made_run):
    within = replace(made_run.final(), labels=((OF_JOB, "plan-0"),))
    with made_run.journal(folder) as journal, pytest.raises(OSError):
        journal.finish(Full(), within)
    as_if_killed(journal.path)
    store.append(replace(made_run.final(run_id="plan-0"), total=replace(made_run.reading(20.0), value=Energy(0.0))))

    assert recover(store, folder) == [within]


@linux
def test_a_run_that_appended_and_had_no_time_to_close_its_journal_is_not_doubled(store, folder, made_run):
    with made_run.journal(folder) as journal:
        journal.seen(made_run.reading(3.0))
        store.append(made_run.final())
    as_if_killed(journal.path)

    assert recover(store, folder) == []
    assert listed(store) == [made_run.final()]
    assert not journal.path.exists()


@linux
@pytest.mark.parametrize(
    "torn", [b'{"receipt": {"run_id"', b"\0" * 512, b"\0" * 512 + b"\n", b'"text"\n', b"\xff\xfe\n"]
)
def test_a_torn_end_costs_one_entry(store, folder, made_run, torn):
    with made_run.journal(folder) as journal:
        journal.seen(made_run.reading(3.0))
    as_if_killed(journal.path)
    with journal.path.open("ab") as file:
        file.write(torn)

    assert recover(store, folder)[0].total.value == Energy(3.0)


@pytest.mark.parametrize("content", [b"", b"{", b"a letter\n", b'{"receipt": {}}\n'])
def test_a_file_that_is_no_journal_is_put_aside_once_it_is_old_and_never_deleted(store, folder, content):
    folder.mkdir()
    path = folder / "abc.jsonl"
    path.write_bytes(content)

    assert recover(store, folder) == []
    assert path.exists()
    os.utime(path, (0, 0))
    assert recover(store, folder) == []

    assert (folder / "abc.unreadable").read_bytes() == content


@linux
def test_a_journal_of_a_newer_outweigh_is_left_to_it(store, folder, made_run):
    with made_run.journal(folder) as journal:
        journal.seen(made_run.reading(3.0))
    as_if_killed(journal.path, outweigh_running=2)

    assert recover(store, folder) == []
    assert journal.path.exists()


@linux
def test_a_pid_used_again_is_another_process(store, folder, made_run):
    with made_run.journal(folder) as journal:
        journal.seen(made_run.reading(3.0))
        as_if_killed(journal.path, pid=os.getpid())

    assert len(recover(store, folder)) == 1


@linux
def test_a_run_from_before_this_machine_was_started_anew_is_over(store, folder, made_run, monkeypatch):
    here = writer()
    monkeypatch.setattr("outweigh.ledger.recovering.writer", lambda: {**here, "machine": "a"})
    with made_run.journal(folder) as journal:
        journal.seen(made_run.reading(3.0))
    as_if_killed(journal.path, boot="an earlier one", machine="a")

    assert len(recover(store, folder)) == 1


@linux
@pytest.mark.parametrize("elsewhere", [{"boot": "b", "machine": "b"}, {"pid_namespace": "pid:[1]"}])
def test_a_writer_that_cannot_be_seen_lives_while_it_holds_its_lock_or_wrote_lately(store, folder, made_run, elsewhere):
    journal = made_run.journal(folder)
    journal.seen(made_run.reading(3.0))
    as_if_killed(journal.path, **elsewhere)
    os.utime(journal.path, (0, 0))
    assert recover(store, folder) == []  # it holds the lock

    with journal:
        pass
    os.utime(journal.path)
    assert recover(store, folder) == []  # it wrote a moment ago

    os.utime(journal.path, (0, 0))
    assert len(recover(store, folder)) == 1


def test_there_is_nothing_to_recover_where_nothing_ran(store, tmp_path):
    assert recover(store, tmp_path / "running") == []


def test_the_journals_are_beside_the_ledger(tmp_path):
    assert running_folder(tmp_path).parent == default_path(tmp_path).parent


def test_notes_are_written_no_more_often_than_asked(folder, made_run):
    journal = made_run.journal(folder, every_s=3600)
    size = journal.path.stat().st_size

    assert not any(journal.seen(made_run.reading(float(joules))) for joules in range(1000))

    assert journal.path.stat().st_size == size
    journal.close()


def test_finishing_keeps_the_receipt_and_takes_the_journal_away(store, folder, made_run):
    journal = made_run.journal(folder)
    journal.seen(made_run.reading(3.0))

    address = journal.finish(store, made_run.final())

    assert store.get(address) == made_run.final()
    assert list(folder.iterdir()) == []


def test_a_receipt_of_another_run_is_refused(store, folder, made_run):
    with made_run.journal(folder) as journal, pytest.raises(UsageError, match="other"):
        journal.finish(store, replace(made_run.final(), run_id="other"))

    assert listed(store) == []


def test_a_run_of_the_same_id_is_refused_while_the_other_is_there(folder, made_run):
    made_run.journal(folder)

    with pytest.raises(LedgerError, match="in flight or was cut off"):
        made_run.journal(folder)


@pytest.mark.parametrize("run_id", ["", "..", "../a", "a/b", "a b", ".hidden", "x" * 200, "a\0"])
def test_an_id_that_cannot_name_a_file_is_refused(folder, made_run, run_id):
    with pytest.raises(UsageError):
        made_run.journal(folder, run_id)

    assert not folder.exists() or list(folder.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_refused_before_anything_is_measured(tmp_path, made_run):
    with pytest.raises(LedgerError, match="cannot be journalled"):
        made_run.journal(tmp_path / "no" / "such")


def test_a_disk_that_is_full_stops_neither_the_run_nor_what_was_noted(store, folder, made_run, monkeypatch):
    journal = made_run.journal(folder)
    journal.seen(made_run.reading(3.0))
    whole, write = journal.path.read_bytes(), os.write

    with monkeypatch.context() as patched:
        patched.setattr(os, "write", lambda handle, data: write(handle, data[:100]))
        assert not journal.seen(made_run.reading(4.0))
        assert "No space left" in str(journal.trouble)
    assert journal.path.read_bytes() == whole

    assert journal.seen(made_run.reading(5.0))
    assert journal.trouble is None
    journal.finish(store, made_run.final())


@linux
def test_a_forked_child_writes_nothing_and_takes_nothing_away(folder, made_run):
    journal = made_run.journal(folder)
    journal.seen(made_run.reading(3.0))
    whole = journal.path.read_bytes()

    def child():
        journal.seen(made_run.reading(9.0))
        journal.close()

    process = multiprocessing.get_context("fork").Process(target=child)
    process.start()
    process.join(60)

    assert process.exitcode == 0
    assert journal.path.read_bytes() == whole
    journal.close()


@linux
def test_a_process_is_known_by_its_start_until_it_ends():
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    alive = started_ticks(process.pid)

    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # dead, and not reaped yet
    zombie = started_ticks(process.pid)
    process.communicate()

    assert alive > started_ticks(1) >= 0
    assert zombie is None
    assert started_ticks(process.pid) is None


def test_a_journal_names_no_host_and_no_command(folder, made_run):
    import socket

    journal = made_run.journal(folder)
    said = journal.path.read_text()
    journal.close()

    assert socket.gethostname() not in said
    assert sys.argv[0] not in said
    assert isinstance(journal, RunJournal)


@linux
def test_a_run_in_flight_is_listed_until_its_process_is_gone(made_run, folder):
    run = Process(folder, "theirs")
    with made_run.journal(folder, "mine"):
        flights = {flight.run_id: flight for flight in in_flight(folder)}
        run.kill()
        left = in_flight(folder)

    assert (flights["mine"].pid, flights["theirs"].pid) == (os.getpid(), run.process.pid)
    assert flights["theirs"].here
    assert flights["theirs"].project == "synthetic"
    assert [flight.run_id for flight in left] == ["mine"]


class Refusing:
    """A ledger on the same full disk."""

    def append(self, receipt):
        raise LedgerError("ledger", "no space left", "make room")


def test_a_disk_that_fills_up_meanwhile_keeps_room_for_the_final_receipt(made_run, store, folder, monkeypatch):
    noted = made_run.journal(folder, "run")
    reserve = folder / "run.reserve"
    receipt = made_run.final(20.0, "run")
    assert reserve.stat().st_size > 4 * len(json.dumps(receipt.to_dict()))
    write, refused = os.write, []

    def write_while_full(handle, line):
        """What a full disk says for as long as the reserve holds the last room on it."""
        if reserve.exists():
            refused.append(line)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(handle, line)

    monkeypatch.setattr(os, "write", write_while_full)
    with pytest.raises(LedgerError):
        noted.finish(Refusing(), receipt)
    monkeypatch.undo()
    noted.__exit__(None, None, None)

    assert refused
    assert noted.trouble is None
    assert [path.name for path in folder.iterdir()] == ["run.jsonl"]
    last = json.loads((folder / "run.jsonl").read_text().splitlines()[-1])
    assert last["final"]["status"] == "completed"
