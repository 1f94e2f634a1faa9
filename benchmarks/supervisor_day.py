"""Sixty jobs over one day at three sites, for a real scheduler with a fast clock. Shared by the benchmarks of `run`.

Carbon is the typical December day of three US grids of 2022 (EIA-930); jobs, powers and slack are made up by a seed.
"""

from __future__ import annotations

import json
import os
import random
import runpy
import tempfile
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from outweigh.app.planning import plan_file
from outweigh.app.supervising import Options, run_plan, write_report
from outweigh.plan.planfile import plan_id
from outweigh.run.deciding import Rules
from outweigh.run.following import Following

ROOT = Path(__file__).parents[1]
START = datetime(2026, 12, 1, tzinfo=UTC)
SITES = ("california", "texas", "northwest")
#: Plan seconds in a wall second: a day in six minutes. A second that a scheduler takes to start a job is four minutes.
FACTOR = float(os.environ.get("OUTWEIGH_BENCH_FACTOR", "240"))
JOBS = int(os.environ.get("OUTWEIGH_BENCH_JOBS", "60"))

_HEAD = """
[plan]
from = "2026-12-01T00:00Z"
horizon = "24 h"
step = "30 min"
carbon_price = "1000 USD/t"
[site.california]
zone = "US-CAL-CISO"
pue = 1.2
capacity = "150 kW"
price = "0.10 USD/kWh"
[site.texas]
zone = "US-TEX-ERCO"
pue = 1.2
capacity = "80 kW"
price = "0.10 USD/kWh"
[site.northwest]
zone = "US-NW-BPAT"
pue = 1.2
capacity = "30 kW"
price = "0.10 USD/kWh"
"""

# Works for so many tenths of seconds, keeps what is left when told, goes on from there, and leaves one line for each
# completion; what was killed in its sleep has completed nothing. It asks the clock: counting its own steps it would
# take longer on a busy machine, and draw more. Its own log says how much was left when it started.
_SAVING = """
left=$(cat "$1" 2>/dev/null || echo $2) began=$(date +%s%N)
echo "start $left" >> "$1.log"
trap 'kill $child; echo $((left - ($(date +%s%N) - began) / 100000000)) > "$1"; echo save 0 >> "$1.log"; exit 85' USR1
[ $left -gt 0 ] || left=0
sleep $((left / 10)).$((left % 10)) & child=$!; wait $child || exit 1
echo "$3" >> "$1.done"
"""
_THROUGH = 'echo "start -1" >> "$1.log"; sleep "$2" && echo "$3" >> "$1.done"'


@dataclass
class Day:
    """A folder with a file of jobs, its plan, and what the jobs themselves left."""

    folder: Path
    factor: float = FACTOR
    plan: dict[str, Any] = field(default_factory=dict)

    def completions(self, arm: str) -> list[int]:
        """How often each job was run to its end, by its own word."""
        return [
            len(path.read_text().splitlines()) if path.exists() else 0
            for path in (self.folder / arm / f"job-{i}.done" for i in range(JOBS))
        ]

    def log(self, i: int) -> list[tuple[str, int]]:
        """What job `i` says it did: ("start", tenths of a second that were left; -1 is all), or "save"."""
        path = self.folder / "planned" / f"job-{i}.log"
        lines = path.read_text().split("\n")[:-1] if path.exists() else []
        return [(word, int(tenths)) for word, tenths in (line.split() for line in lines)]

    def options(self, on: str, executor: Any, **more: Any) -> Options:
        return Options(
            on=on,
            executor=executor,
            clock_factor=self.factor,
            ledger=self.folder / "ledger.sqlite",
            every_s=every_s(self.factor),
            **more,
        )


def every_s(factor: float) -> float:
    """Wall seconds between two looks: two minutes of the plan."""
    return 120 / factor


def made_day(folder: Path, factor: float = FACTOR, jobs: int = JOBS) -> Day:
    """Jobs of half an hour to four hours, a third of which may pause, planned over the three sites."""
    chance = random.Random(8)
    text = [_HEAD]
    (folder / "planned").mkdir()
    (folder / "at-once").mkdir()
    for i in range(jobs):
        work_h = chance.choice([0.5, 1, 1.5, 2, 3, 4])
        release_h = chance.choice([0, 1, 2, 4, 6, 8, 10])
        deadline_h = min(release_h + work_h + chance.choice([3, 5, 8, 12]), 23.0)
        preemptible = i % 3 == 0 and work_h >= 2
        place = str(folder / "planned" / f"job-{i}")
        wall_s = work_h * 3600 / factor
        if preemptible:
            command = ["sh", "-c", _SAVING, "job", place, str(round(wall_s * 10)), f"job-{i}"]
        else:
            command = ["sh", "-c", _THROUGH, "job", place, f"{wall_s:.3f}", f"job-{i}"]
        text.append(
            f'[[job]]\nname = "job-{i}"\nrelease = "{(START + timedelta(hours=release_h)).isoformat()}"\n'
            f'deadline = "{(START + timedelta(hours=deadline_h)).isoformat()}"\nwork = "{work_h} h"\n'
            f'power = "{chance.choice([4, 6, 8, 10])} kW"\nhome = "california"\ncommand = {json.dumps(command)}\n'
            + (
                'preemptible = true\ncheckpoint = { time = "10 min", signal = "USR1", grace = "20 s" }\n'
                if preemptible
                else ""
            )
        )
    path = folder / "jobs.toml"
    path.write_text("\n".join(text))
    return Day(folder, factor, plan_file(path, sources=("typical",), frontier=False, time_limit_s=20).document)


def at_once(day: Day) -> dict[str, Any]:
    """The same jobs, each at its release at home: what `sbatch` does where nobody plans."""
    document = json.loads(json.dumps(day.plan))
    for job in document["jobs"]:
        start = datetime.fromisoformat(job["release"])
        power_w = job["levels"][0]["power_w"]
        job["pieces"] = [{
            "run": 0, "site": job["home"], "start": start.isoformat(), "count": 1, "power_w": power_w,
            "end": (start + timedelta(hours=job["work_h"])).isoformat(), "energy_kwh": power_w * job["work_h"] / 1e3,
        }]  # fmt: skip
        job["command"] = [word.replace("/planned/", "/at-once/") for word in job["command"]]
        job["preemptible"], job["checkpoint_signal"] = False, ""
    return {**document, "plan_id": plan_id(document)}


def both_arms(day: Day, on: str, executors: list[Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The plan and *submit at once*, on one scheduler at one time; their reports."""
    found: dict[str, Any] = {}

    def follow(arm: str, document: dict[str, Any], executor: Any) -> None:
        # Whoever submits at once plans nothing, and nothing again.
        rules = Rules(every_s=every_s(day.factor), guard_s=0, guard_share=0, slip_s=1e9) if arm == "at-once" else None
        found[arm] = run_plan(document, arm, day.options(on, executor, project=arm, rules=rules), told=lambda _: None)

    # One makes the ledger before the other looks for it.
    from outweigh.backends.stores.sqlite import SqliteStore

    with closing(SqliteStore.open(day.folder / "ledger.sqlite")):
        pass
    arms = [("planned", day.plan), ("at-once", at_once(day))]
    threads = [threading.Thread(target=follow, args=(*arm, each)) for arm, each in zip(arms, executors, strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found["planned"], found["at-once"]


def page_of(report: dict[str, Any], name: str) -> Path:
    """Where the page of a run is now."""
    place = Path(os.environ.get("OUTWEIGH_BENCH_PAGES") or tempfile.gettempdir()) / f"outweigh-supervisor-{name}.html"
    write_report(report, place)
    return place


#: Jobs share a node by its CPUs: by default each would be given all of its memory.
SETTINGS = "SelectTypeParameters=CR_CPU"


def slurm_helper() -> SimpleNamespace:
    """The cluster that the tests use."""
    return SimpleNamespace(**runpy.run_path(str(ROOT / "tests" / "executors" / "slurm_cluster.py")))


@contextmanager
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="day") as name:
        yield Path(name)


def followings(ledger: Path) -> list[str]:
    from outweigh.backends.stores.sqlite import SqliteStore

    with closing(SqliteStore.open(ledger)) as store:
        return [name for name, _ in store.followings()]


__all__ = [
    "FACTOR", "JOBS", "SITES", "Day", "Following", "at_once", "both_arms", "folder", "followings", "made_day",
    "page_of",
]  # fmt: skip
