"""Fifty agents push receipts to one server while PostgreSQL is killed under it: nothing lost, nothing doubled.

Each node has a ledger of its own, in which receipts keep appearing, and a process that runs
`outweigh ledger push URL --follow` on it. All push to one `outweigh serve` of two workers on a real PostgreSQL that
flushes. Meanwhile

- PostgreSQL is killed (SIGKILL to the postmaster and all its children) and, a second or two later, started again;
- agents are killed at random moments (SIGKILL), and others start on the queues they left behind.

In the end, when every queue says that nothing waits, the server's ledger is held against those of the nodes: every
receipt of every node is there once, with its content, and `verify` finds the chain whole.

`--nodes N` (50), `--receipts N` of each (40), `--cuts N` of PostgreSQL (4), `--kills N` of agents (25), `--seed N` (1).
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import ModuleType

from outweigh.app import pushing
from outweigh.cli.main import run
from outweigh.core import Energy, Grade, Interval, Measurement, Method, Phase, Receipt, RunStatus, Scope
from outweigh.ledger import open_ledger
from outweigh.ports import ReceiptFilter
from shape import Row, finish

# Imported before any fork, so that an agent starts at once.
for name in (
    "outweigh.backends.stores._migrate", "outweigh.backends.stores._sql", "outweigh.backends.stores._chain",
    "outweigh.cli.ledger", "outweigh.ledger.pushing.http", "httpx", "httpx_retries",
):  # fmt: skip
    importlib.import_module(name)
START = datetime(2026, 1, 1, tzinfo=UTC)
OUTWEIGH = str(Path(sys.executable).with_name("outweigh"))
EVERY_S = 2.0
ARRIVED_S = 180.0  # longest we wait for the last receipt once everything is up again
WORKERS = 2
AT_ONCE = 2  # receipts that a node writes at a time


class Node:
    """A machine: its ledger, and the agent that pushes it."""

    def __init__(self, folder: Path, number: int, url: str) -> None:
        self.ledger, self.number, self.pid = folder / f"node-{number:02d}" / "ledger.sqlite", number, 0
        self.ledger.parent.mkdir()
        shutil.copyfile(folder / "empty.sqlite", self.ledger)  # migrated once, and not fifty times
        self.outgoing = pushing.Outgoing.named(url, str(self.ledger))
        self.written = 0

    def write(self, count: int) -> None:
        """What a measuring process would do; its ledger is open only while it writes, never over a fork."""
        with closing(open_ledger(self.ledger)) as store:
            for _ in range(count):
                end = START + timedelta(minutes=self.written + 1)
                total = Measurement(
                    Energy(100.0 + self.number), Interval(START, end), Scope.NODE, Grade.B, Method.REPLAYED, "synthetic"
                )
                run_id = f"node{self.number}-{self.written}"
                store.append(Receipt(run_id, "synthetic", Phase.TRAINING, RunStatus.COMPLETED, total, None, None))
                self.written += 1

    def start(self, log: Path) -> None:
        self.pid = os.fork()
        if self.pid == 0:
            handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
            os.dup2(handle, 1)
            os.dup2(handle, 2)
            code = 99
            try:
                code = run(
                    ["ledger", "push", self.outgoing.address.url, "--follow", "--every", str(EVERY_S),
                     "--patience", "5", "--ledger", str(self.ledger)]
                )  # fmt: skip
            finally:
                os._exit(code)

    def kill(self) -> bool:
        """Whether it was still there to be killed."""
        os.kill(self.pid, signal.SIGKILL)
        _, status = os.waitpid(self.pid, 0)
        return os.WIFSIGNALED(status)

    @property
    def unsent(self) -> int:
        row, _ = pushing.standing(self.outgoing)
        return self.written - row["sent_ever"]


@contextmanager
def serving(ledger: str, folder: Path) -> Iterator[str]:
    """The server that ships, on a port that is free; its URL once it answers."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with (folder / "server.log").open("w") as log:
        process = subprocess.Popen(
            [OUTWEIGH, "serve", "--ledger", ledger, "--project", str(folder), "--port", str(port), "--workers",
             str(WORKERS), "--per-minute", "0"],
            stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(600):
            try:
                urllib.request.urlopen(f"{url}/healthz", timeout=2).close()
                break
            except (urllib.error.URLError, OSError) as err:
                if process.poll() is not None:
                    raise RuntimeError((folder / "server.log").read_text()[-2000:]) from err
                time.sleep(0.1)
        yield url
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def token_for(ledger: str) -> str:
    made = subprocess.run(
        [OUTWEIGH, "serve", "token", "create", "agents", "--role", "writer", "--ledger", ledger],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return made.stdout.split()[-1]


def stormed(
    nodes: list[Node], server: object, receipts: int, cuts: int, kills: int, dice: random.Random, log: Path
) -> tuple[int, int, int]:
    """Receipts keep appearing while things are killed: (PostgreSQL, agents, those of them that were gone before)."""
    order = [node for node in nodes for _ in range(receipts // AT_ONCE)]
    steps = len(order)
    moments = [("cut", dice.uniform(0.1, 0.9)) for _ in range(cuts)] + [("kill", dice.random()) for _ in range(kills)]
    moments.sort(key=lambda moment: moment[1])
    back_at: float | None = None
    cut = killed = gone = 0
    dice.shuffle(order)
    for step, node in enumerate(order):
        node.write(AT_ONCE)
        while moments and moments[0][1] * steps <= step:
            what, _ = moments.pop(0)
            if what == "cut" and back_at is None:
                server.kill()
                cut += 1
                back_at = time.monotonic() + dice.uniform(1.0, 2.5)
            elif what == "kill":
                victim = dice.choice(nodes)
                gone += not victim.kill()
                killed += 1
                victim.start(log)
        if back_at is not None and time.monotonic() > back_at:
            server.start()
            back_at = None
    if back_at is not None:
        server.start()
    return cut, killed, gone


def rows_of(nodes_count: int, receipts: int, cuts: int, kills: int, seed: int) -> list[Row]:
    servers = server_module()
    if importlib.util.find_spec("psycopg") is None or servers.binaries() is None:
        why = "no PostgreSQL server or no psycopg here: apt-get install postgresql-15, pip install 'outweigh[postgres]'"
        return [Row("receipts lost", None, "", goal="== 0", note=why)]
    dice = random.Random(seed)
    with tempfile.TemporaryDirectory(prefix="agents") as root, servers.serving() as server:
        folder = Path(root)
        open_ledger(server.url()).close()
        os.environ[pushing.TOKEN] = token_for(server.url())
        with serving(server.url(), folder) as url:
            open_ledger(folder / "empty.sqlite").close()
            nodes = [Node(folder, number, url) for number in range(nodes_count)]
            log = folder / "agents.log"
            for node in nodes:
                node.start(log)
            began = time.monotonic()
            cut, killed, gone = stormed(nodes, server, receipts, cuts, kills, dice, log)
            calm = time.monotonic()
            while (unsent := sum(node.unsent for node in nodes)) and time.monotonic() < calm + ARRIVED_S:
                time.sleep(0.5)
            ended = time.monotonic()
            gone += sum(not node.kill() for node in nodes)
            said = log.read_text(errors="replace")
        return found(nodes, server.url(), cut, killed, gone, unsent, ended - began, ended - calm, said)


def found(
    nodes: list[Node], location: str, cuts: int, killed: int, gone: int, unsent: int, took_s: float, last_s: float,
    said: str,
) -> list[Row]:  # fmt: skip
    sent: set[str] = set()
    for node in nodes:
        with closing(open_ledger(node.ledger, create=False)) as store:
            sent |= {address for address, _ in store.receipts(ReceiptFilter())}
    with closing(open_ledger(location, create=False)) as store:
        checked = store.verify()
        there = Counter(address for address, _ in store.receipts(ReceiptFilter()))
        runs = Counter(receipt.run_id for _, receipt in store.receipts(ReceiptFilter()))
    doubled = sum(count - 1 for count in there.values()) + sum(count - 1 for count in runs.values())
    zeros = [
        ("receipts lost", len(sent - there.keys()), f"of {len(sent)}"),
        ("receipts kept twice", doubled, f"of {len(there)}"),
        ("receipts that nobody sent", len(there.keys() - sent), ""),
        ("receipts that verify does not find whole", abs(checked - len(there)), f"{checked} checked"),
        ("receipts still waiting at the end", unsent, ""),
        ("agents that ended on their own", gone, last_words(said) if gone else ""),
    ]
    return [
        Row("agents", len(nodes), "processes", note=f"killed {killed} times, each time started again"),
        Row("PostgreSQL killed", cuts, "times", note="postmaster and all children, SIGKILL"),
        Row("receipts that arrived", len(there) / took_s, "1/s", note=f"{len(there)} in {took_s:.0f} s"),
        Row("from the last start of PostgreSQL to the last receipt", last_s, "s"),
        *(Row(case, count, "", reference="0", goal="== 0", holds=count == 0, note=note) for case, count, note in zeros),
    ]


def last_words(said: str) -> str:
    return " / ".join(said.strip().splitlines()[-3:])[:400]


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
    rows = rows_of(
        option("--nodes", 50), option("--receipts", 40), option("--cuts", 4), option("--kills", 25), option("--seed", 1)
    )
    return finish("agents", rows)


if __name__ == "__main__":
    sys.exit(main())
