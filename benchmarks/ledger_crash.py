"""What `kill -9` costs a ledger: processes killed at random moments while eight of them write to it at once.

Each process begins run after run: it journals what the run has drawn, hands the receipt to the ledger, and says over a
pipe what has begun and what was acknowledged. It is killed at a random moment, from its first system call on; another
takes its place. Afterwards the runs cut off are recovered, and the ledger is held against what was said:

- every acknowledged receipt is there, with its content; no run is there twice;
- every run that had begun is there once: with its receipt, or closed with the energy seen so far;
- recovering again adds nothing, and `verify` finds both chains whole.

The same on PostgreSQL, where there is a server to start; and there once more with the server itself killed, postmaster
and children, while eight write. `--kills N` (default 200) and `--seed N` say how much and which moments.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import random
import select
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import ModuleType

from outweigh.core import Energy, Grade, Interval, Measurement, Method, Phase, Receipt, RunStatus, Scope
from outweigh.core.errors import LedgerError
from outweigh.ledger import RunJournal, open_ledger, recover
from outweigh.ports import ReceiptFilter
from shape import Row, finish

# Imported before any fork, so that a new writer starts at once.
for name in ("_migrate", "_sql"):
    importlib.import_module(f"outweigh.backends.stores.{name}")
WRITERS = 8
LONGEST_S = 0.6  # a writer lives this long at most
START = datetime(2026, 1, 1, tzinfo=UTC)


# --- the process that is killed -----------------------------------------------------------------------


def reading(joules: float) -> Measurement:
    interval = Interval(START, START + timedelta(seconds=joules))
    return Measurement(Energy(joules), interval, Scope.PACKAGE, Grade.B, Method.REPLAYED, "synthetic")


def write_runs(location: str, folder: Path, name: str, say: int) -> None:
    """Run after run until killed. One line for each begun, one for each acknowledged; a pipe takes a line whole."""
    store = open_ledger(location)
    number = 0
    while True:
        run_id = f"{name}-{number}"
        number += 1
        journal = RunJournal(
            folder, run_id, project="synthetic", phase=Phase.TRAINING, meter="replay", scope=Scope.PACKAGE,
            grade=Grade.B, method=Method.REPLAYED, source="synthetic", started=START, every_s=0.0,
        )  # fmt: skip
        os.write(say, f"begun {run_id}\n".encode())
        for joules in (1.0, 2.0):
            journal.seen(reading(joules))
        final = Receipt(run_id, "synthetic", Phase.TRAINING, RunStatus.COMPLETED, reading(3.0), None, None)
        while True:
            try:
                address = journal.finish(store, final)
            except LedgerError:  # the server is away: the receipt waits for it
                time.sleep(0.02)
                continue
            break
        os.write(say, f"kept {address} {run_id}\n".encode())


# --- the one who kills and looks ----------------------------------------------------------------------


@dataclass
class Crash:
    """What was said by processes that are no more."""

    begun: set[str] = field(default_factory=set)
    kept: dict[str, str] = field(default_factory=dict)  # run id -> acknowledged address
    kills: int = 0
    ended: int = 0  # writers that ended on their own: none should

    def hear(self, said: bytes) -> None:
        for line in said.decode().split("\n")[:-1]:
            word, *rest = line.split(" ")
            if word == "begun":
                self.begun.add(rest[0])
            else:
                self.kept[rest[1]] = rest[0]


@dataclass
class Writer:
    pid: int
    pipe: int
    dies_at: float
    said: bytes = b""


def start(location: str, folder: Path, name: str, lives_s: float) -> Writer:
    hear, say = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(hear)
        try:
            write_runs(location, folder, name, say)
        finally:
            os._exit(1)
    os.close(say)
    return Writer(pid, hear, time.monotonic() + lives_s)


def listen(writers: list[Writer], until: float) -> None:
    """Take in what is said, so that no pipe fills up, until the moment has come."""
    while (left_s := until - time.monotonic()) > 0:
        ready, _, _ = select.select([writer.pipe for writer in writers], [], [], left_s)
        for writer in writers:
            if writer.pipe in ready:
                chunk = os.read(writer.pipe, 1 << 16)
                writer.said += chunk
                if not chunk:  # it ended on its own; do not spin on its pipe
                    time.sleep(min(0.005, max(0.0, left_s)))


def kill(writer: Writer, crash: Crash) -> None:
    os.kill(writer.pid, signal.SIGKILL)
    while chunk := os.read(writer.pipe, 1 << 16):
        writer.said += chunk
    os.close(writer.pipe)
    _, status = os.waitpid(writer.pid, 0)
    crash.ended += not os.WIFSIGNALED(status)
    crash.kills += 1
    crash.hear(writer.said)


def kill_writers(location: str, folder: Path, kills: int, dice: random.Random) -> Crash:
    crash = Crash()
    writers = [start(location, folder, f"w{n}", dice.uniform(0, LONGEST_S)) for n in range(min(WRITERS, kills))]
    started = len(writers)
    while writers:
        dies = min(writers, key=lambda writer: writer.dies_at)
        listen(writers, dies.dies_at)
        writers.remove(dies)
        kill(dies, crash)
        if started < kills:
            writers.append(start(location, folder, f"w{started}", dice.uniform(0, LONGEST_S)))
            started += 1
    return crash


def kill_server(location: str, folder: Path, again: Callable[[], None], times: int, dice: random.Random) -> Crash:
    """Eight writers that live on while the server is killed under them, several times."""
    crash = Crash()
    writers = [start(location, folder, f"s{number}", 0.0) for number in range(WRITERS)]
    for _ in range(times):
        listen(writers, time.monotonic() + dice.uniform(0.3, 0.9))
        again()
    listen(writers, time.monotonic() + 0.5)
    for writer in writers:
        kill(writer, crash)
    return crash


def looked_at(case: str, location: str, folder: Path, crash: Crash, seconds: float) -> list[Row]:
    with closing(open_ledger(location)) as store:
        recovered = recover(store, folder)
        again = recover(store, folder)
        checked = store.verify()
        there = [(address, receipt.run_id) for address, receipt in store.receipts(ReceiptFilter())]
    runs = Counter(run_id for _, run_id in there)
    addresses = {address for address, _ in there}
    lost = sum(address not in addresses for address in crash.kept.values())
    doubled = sum(count - 1 for count in runs.values())
    # A run may be begun and killed before it could say so: it is there all the same, and owed to nobody.
    missing = sum(run_id not in runs for run_id in crash.begun)
    # A file without a whole line is of a run killed before it had begun; it is put aside after a minute.
    left = sum(b"\n" in path.read_bytes() for path in folder.glob("*.jsonl"))
    rate = len(crash.kept) / seconds
    zeros = [
        ("acknowledged receipts lost", lost, f"of {len(crash.kept)}, at {rate:.0f} a second"),
        ("receipts kept twice", doubled, f"of {len(there)}"),
        ("begun runs without a receipt", missing, f"of {len(crash.begun)}; {len(recovered)} closed by recovery"),
        ("receipts added by recovering again", len(again) + left, ""),
        ("receipts that verify does not find whole", abs(checked - len(there)), f"{checked} checked"),
        ("writers that ended on their own", crash.ended, ""),
    ]
    rows = [Row(f"{case}: processes killed", crash.kills, "kills", note=f"{WRITERS} writers, in {seconds:.1f} s")]
    return rows + [
        Row(f"{case}: {what}", count, "", reference="0", goal="== 0", holds=count == 0, note=note)
        for what, count, note in zeros
    ]


# --- the cases ----------------------------------------------------------------------------------------


def on_sqlite(kills: int, dice: random.Random) -> list[Row]:
    with tempfile.TemporaryDirectory(prefix="crash") as root:
        location, folder = str(Path(root, "ledger.sqlite")), Path(root, "running")
        began = time.monotonic()
        crash = kill_writers(location, folder, kills, dice)
        return looked_at("sqlite", location, folder, crash, time.monotonic() - began)


def on_postgresql(kills: int, dice: random.Random) -> list[Row]:
    servers = server_module()
    if importlib.util.find_spec("psycopg") is None or servers.binaries() is None:
        why = "no PostgreSQL server or no psycopg here: apt-get install postgresql-15, pip install 'outweigh[postgres]'"
        cases = ("postgresql", "postgresql, server killed")
        return [Row(f"{case}: acknowledged receipts lost", None, "", goal="== 0", note=why) for case in cases]
    rows = []
    with tempfile.TemporaryDirectory(prefix="crash") as root, servers.serving() as server:
        for database in ("writers", "server"):
            server.sql(f"CREATE DATABASE {database}")
        location, folder = server.url("writers"), Path(root, "writers")
        began = time.monotonic()
        crash = kill_writers(location, folder, kills, dice)
        rows += looked_at("postgresql", location, folder, crash, time.monotonic() - began)

        def power_cut() -> None:
            server.kill()
            server.start()

        location, folder = server.url("server"), Path(root, "server")
        open_ledger(location).close()
        began = time.monotonic()
        times = max(1, kills // 40)
        crash = kill_server(location, folder, power_cut, times, dice)
        rows.append(Row("postgresql, server killed: servers killed", times, "kills", note="postmaster and children"))
        rows += looked_at("postgresql, server killed", location, folder, crash, time.monotonic() - began)
    return rows


def server_module() -> ModuleType:
    path = Path(__file__).parents[1] / "tests" / "stores" / "postgres_server.py"
    spec = importlib.util.spec_from_file_location("postgres_server", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def option(name: str, default: int) -> int:
    given = sys.argv[1:]
    return int(given[given.index(name) + 1]) if name in given else default


def main() -> int:
    kills, seed = option("--kills", 200), option("--seed", 1)
    rows = on_sqlite(kills, random.Random(seed)) + on_postgresql(kills, random.Random(seed))
    return finish("ledger_crash", rows)


if __name__ == "__main__":
    sys.exit(main())
