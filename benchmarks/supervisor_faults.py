"""A day of sixty jobs on a real Slurm while something is killed again and again, twenty times each.

`python benchmarks/supervisor_faults.py [supervisor] [slurmctld] [slurmd] [source] [database]`: all by default, one day
each. Every job writes a line when it is done: a job without one is lost, a job with two was run twice. A job that is
late counts, unless it was killed after it had begun, and what it had yet to do was longer than the time to its deadline
when its nodes were back: it says itself where it started and saved, the report when it stopped, and Slurm when its
nodes answer. For a job that was not killed it is no excuse that nothing could be started for a while: a margin is the
supervisor's to keep.

OUTWEIGH_BENCH_FAULTS is how often (20), OUTWEIGH_BENCH_FACTOR how many times as fast the clock runs (240), and
OUTWEIGH_BENCH_KEEP a folder to keep what was said and left in.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import runpy
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from outweigh.app.supervising import run_plan
from outweigh.backends.stores.sqlite import SqliteStore
from outweigh.core.errors import GridUnavailable
from outweigh.registry import job_executors
from outweigh.run.clock import PlanClock
from outweigh.run.following import Following
from outweigh.run.rates import Rates
from shape import Row, finish
from supervisor_day import JOBS, ROOT, SETTINGS, SITES, Day, folder, followings, made_day, slurm_helper

FAULTS = int(os.environ.get("OUTWEIGH_BENCH_FAULTS", "20"))
KEEP = os.environ.get("OUTWEIGH_BENCH_KEEP", "")
KINDS = ("supervisor", "slurmctld", "slurmd", "source", "database")
_UP = ("idle", "mixed", "allocated", "completing")
_SOCKETS = shutil.ignore_patterns("*.sock", "*.sock.lock", "key")


@dataclass
class Follower:
    """A supervisor in a process of its own, that can be killed and started again."""

    day: Day
    cluster: Any
    ledger: str
    process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        command = [
            sys.executable, "-m", "outweigh", "run", str(self.day.folder / "plan.json"), "--on", "slurm", "--json",
            "--clock-factor", str(self.day.factor), "--every", "0.5", "--ledger", self.ledger,
        ]  # fmt: skip
        environment = {**self.cluster.environment, "OUTWEIGH_STATE": str(self.day.folder / "state")}
        with (self.day.folder / "told").open("a") as told, (self.day.folder / "report.json").open("w") as report:
            self.process = subprocess.Popen(command, env=environment, stdout=report, stderr=told, cwd=self.day.folder)

    def kill(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    @property
    def done(self) -> bool:
        return self.process is not None and self.process.poll() is not None


def day_with(kind: str) -> list[Row]:
    tools = slurm_helper()
    missing = [tool for tool in tools.TOOLS if shutil.which(tool) is None]
    if missing:
        return [Row(f"{kind}: killed {FAULTS} times", None, "", note=f"not there: {', '.join(missing)}")]
    with folder() as at, tools.SlurmCluster(at / "c", sites=SITES, cpus=2 * JOBS, settings=SETTINGS) as cluster:
        day = made_day(at)
        (at / "plan.json").write_text(json.dumps(day.plan))
        if kind == "source":
            return judged(kind, day, *source_down(day, cluster))
        if kind == "database":
            server = runpy.run_path(str(ROOT / "tests" / "stores" / "postgres_server.py"))
            if server["binaries"]() is None:
                return [Row("database: killed", None, "", note="there is no PostgreSQL server here")]
            with server["serving"]() as running:
                running.sql("CREATE DATABASE ledger")
                return judged(kind, day, *killing(day, cluster, running.url("ledger"), lambda _: (
                    running.kill, running.start, 0.5)))  # fmt: skip

        def how(follower: Follower) -> tuple[Callable[[], None], Callable[[], None], float]:
            if kind == "supervisor":
                return follower.kill, follower.start, 0.2
            if kind == "slurmctld":
                return cluster.kill_controller, cluster.start_controller, 1.0
            chance = random.Random(1)
            hit: list[str] = []

            def strike() -> None:
                hit.append(chance.choice(SITES))
                cluster.kill_node(hit[-1])

            return strike, lambda: cluster.start_node(hit[-1]), 2.0

        back: list[datetime] = []
        with tended(cluster, back, resumes=kind == "slurmctld"):
            return judged(kind, day, *killing(day, cluster, str(at / "ledger.sqlite"), how), back)


@contextlib.contextmanager
def tended(cluster: Any, back: list[datetime], *, resumes: bool) -> Iterator[None]:
    """Looks every half second whether all nodes answer, and notes when they do again.

    A slurmctld that was killed starts jobs anew that its last note does not know to run, and drains nodes that still
    have them ("Duplicate jobid"): an operator lets them go on, and so do we where `resumes`.
    """
    over = threading.Event()

    def tend() -> None:
        away = True
        while not over.wait(0.5):
            with contextlib.suppress(subprocess.SubprocessError):
                nodes = [line.split() for line in cluster.run("sinfo", "-h", "-N", "-o", "%N %T").splitlines()]
                for name, state in nodes:
                    if resumes and state.startswith("drain"):
                        cluster.run("scontrol", "update", f"nodename={name}", "state=resume")
                up = len(nodes) == len(SITES) and all(state in _UP for _, state in nodes)
                if up and away:
                    back.append(datetime.now(UTC))
                away = not up
                continue
            away = True

    thread = threading.Thread(target=tend)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def killing(day: Day, cluster: Any, ledger: str, how: Callable[[Follower], Any]) -> tuple[dict[str, Any], int]:
    """The report of the day, and how often something was killed and brought back in it."""
    follower = Follower(day, cluster, ledger)
    kill, bring_back, dead_s = how(follower)
    follower.start()
    chance = random.Random(2)
    day_s = 86_400 * 0.9 / day.factor
    times = 0
    while "following plan" not in (day.folder / "told").read_text() and not follower.done:
        time.sleep(0.2)
    time.sleep(2.0)
    begun_s = time.monotonic()
    while times < FAULTS and not (follower.done and kill != follower.kill):
        if follower.done:
            break
        kill()
        # Of ten times one is long enough for the node to be taken for dead (SlurmdTimeout is 10 s).
        time.sleep(14.0 if dead_s == 2.0 and times % 10 == 4 else dead_s * chance.uniform(0.5, 1.5))
        bring_back()
        times += 1
        # Evenly over the day, but for a chance; what takes long to come back leaves less time to the next.
        next_s = begun_s + times * day_s / FAULTS + chance.uniform(-0.2, 0.2) * day_s / FAULTS
        time.sleep(max(next_s - time.monotonic(), 1.0))
    assert follower.process is not None
    end_s = time.monotonic() + 900
    while follower.process.poll() is None and time.monotonic() < end_s:
        time.sleep(2.0)
    text = (day.folder / "report.json").read_text()
    if not text.strip():
        raise RuntimeError((day.folder / "told").read_text()[-3000:])
    return json.loads(text), times


def source_down(day: Day, cluster: Any) -> tuple[dict[str, Any], int]:
    """A source that is down every other time it is asked, and says something a little else in between."""
    asked = [0]

    def look(now: datetime, rates: Rates) -> Rates:
        asked[0] += 1
        if asked[0] % 2:
            raise GridUnavailable("made-up", "it is down", "Wait for it")
        return replace(rates, carbon=rates.carbon * (1 + 0.002 * random.Random(asked[0]).random()))

    executor = job_executors.get("slurm")(folder=day.folder / "jobs", environment={"SLURM_CONF": str(cluster.conf)})
    report: dict[str, Any] = {}

    def follow() -> None:
        report.update(run_plan(day.plan, "day", day.options("slurm", executor, look=look), told=lambda _: None))

    thread = threading.Thread(target=follow)
    thread.start()
    thread.join()
    return report, (asked[0] + 1) // 2


def judged(kind: str, day: Day, report: dict[str, Any], times: int, back: Sequence[datetime] = ()) -> list[Row]:
    if KEEP:
        shutil.copytree(day.folder, Path(KEEP) / kind, symlinks=True, dirs_exist_ok=True, ignore=_SOCKETS)
        (Path(KEEP) / kind / "report.json").write_text(json.dumps(report))
    done = day.completions("planned")
    lost, twice = done.count(0), sum(n > 1 for n in done)
    late = [job for job in report["jobs"] if not job["deadline_met"]]
    able = [_clock(day).to_plan(each) for each in back] if late else []
    hopeless = [
        job for job in late if not _could(job, day.log(int(job["name"].removeprefix("job-"))), day.factor, able)
    ]
    name = f"{kind} down" if kind == "source" else f"{kind} killed"
    note = f"{times} times in the day; {report['counts']['restarted']} jobs restarted or paused"
    missed = len(late) - len(hopeless)
    carbon = report["actual"]["carbon_kg"] / report["predicted"]["carbon_kg"]
    return [
        Row(f"{name}: jobs lost", lost, "jobs", None, "0", lost == 0, note),
        Row(f"{name}: jobs run twice to completion", twice, "jobs", None, "0", twice == 0),
        Row(f"{name}: late that could have been in time", missed, "jobs", None, "0", missed == 0,
            f"{len(hopeless)} late that could not be in time any more when they were killed" if hopeless else ""),
        Row(f"{name}: realised carbon over the plan's", carbon, ""),
        Row(f"{name}: times", times, "", None, f"{FAULTS}", times >= FAULTS),
    ]  # fmt: skip


def _clock(day: Day) -> PlanClock:
    ledger = day.folder / "ledger.sqlite"
    with closing(SqliteStore.open(ledger)) as store:
        following, _ = Following.read(store, followings(ledger)[0])
    return PlanClock.from_dict(following.clock)


def _could(job: dict[str, Any], log: list[tuple[str, int]], factor: float, able: Sequence[datetime]) -> bool:
    """Whether its deadline could be kept after each time it was killed; that it could, where that cannot be told.

    Args:
        able: when all nodes were back, each time, in plan time.
    """
    stints, deadline = job["stints"], datetime.fromisoformat(job["deadline"])
    if len(stints) != sum(word == "start" for word, _ in log):
        return True
    started = 0
    for before, (word, tenths) in pairwise([("save", 0), *log]):
        if word == "start":
            if before[0] == "start":  # without having saved
                killed, again = (
                    datetime.fromisoformat(stints[which][what])
                    for which, what in ((started - 1, "end"), (started, "start"))
                )
                left_s = tenths / 10 * factor if tenths >= 0 else job["planned"]["run_s"]
                since = max([killed, *(each for each in able if killed <= each <= again)])
                if (deadline - since).total_seconds() < left_s:
                    return False
            started += 1
    return True


def main() -> int:
    chosen = [kind for kind in KINDS if kind in sys.argv[1:]] or list(KINDS)
    return finish("supervisor_faults", [row for kind in chosen for row in day_with(kind)])


if __name__ == "__main__":
    sys.exit(main())
