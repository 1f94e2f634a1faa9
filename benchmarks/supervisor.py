"""Following a plan: sixty jobs over a fast day on real schedulers, and ten thousand under one supervisor.

`python benchmarks/supervisor.py [slurm] [local] [ray] [many]`: all by default. Sixty jobs are run twice on the same
scheduler at the same time: by their plan, and each at its release at home (*submit at once*). OUTWEIGH_BENCH_FACTOR is
how many times as fast the clock runs, OUTWEIGH_BENCH_PAGES the folder for the pages of the runs (the temporary one).
"""

from __future__ import annotations

import resource
import shutil
import sys
import time
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from outweigh.registry import job_executors
from outweigh.run.gantt import gantt
from shape import Row, finish
from supervisor_day import FACTOR, JOBS, SETTINGS, SITES, both_arms, folder, made_day, page_of, slurm_helper

_TOLERANCE = 0.05


def sixty(name: str, executors: list[Any], on: str, at: Path) -> list[Row]:
    day = made_day(at)
    planned, at_once = both_arms(day, on, executors)
    if "--json" not in sys.argv[1:]:
        from outweigh.app.supervising import lines

        print(f"\n{name}: {JOBS} jobs, a day in {86400 / FACTOR:.0f} s")
        print(gantt(planned))
        print("\n".join(lines(planned)), "\n")
    print(f"the page of the run: {page_of(planned, name)}", file=sys.stderr)
    counts, other = planned["counts"], sum(n != 1 for n in day.completions("planned"))
    actual, predicted, baseline = (
        planned["actual"]["carbon_kg"], planned["predicted"]["carbon_kg"], at_once["actual"]["carbon_kg"],
    )  # fmt: skip
    saving = 1 - actual / baseline
    starts = [
        abs((_stamp(j["actual"]["start"]) - _stamp(j["planned"]["start"])).total_seconds())
        for j in planned["jobs"] if j["actual"]
    ]  # fmt: skip
    return [
        Row(f"{name}: deadlines missed", counts["late"], "jobs", None, "0", counts["late"] == 0,
            f"of {counts['jobs']}; {counts['restarted']} started more than once, {planned['replans']} plans more"),
        Row(f"{name}: run to completion other than once", other, "jobs", None, "0", not other, "by the jobs' own word"),
        Row(f"{name}: realised carbon over the plan's", actual / predicted, "", 1.0, "±5 %",
            abs(actual / predicted - 1) <= _TOLERANCE, f"{actual:.4g} kg, planned {predicted:.4g} kg"),
        Row(f"{name}: carbon saved against submit at once", saving, "", 1 - predicted / baseline, None, None,
            f"{actual:.4g} kg against {baseline:.4g} kg in the same run; at once {at_once['counts']['late']} late"),
        Row(f"{name}: start after its time, median", sorted(starts)[len(starts) // 2] / FACTOR, "s", None, None, None,
            "wall time; early where a deadline asks"),
    ]  # fmt: skip


def _stamp(text: str) -> datetime:
    return datetime.fromisoformat(text)


def on_slurm() -> list[Row]:
    tools = slurm_helper()
    missing = [tool for tool in tools.TOOLS if shutil.which(tool) is None]
    if missing:
        return [Row("slurm: sixty jobs", None, "", note=f"not there: {', '.join(missing)}")]
    with folder() as at, tools.SlurmCluster(at / "c", sites=SITES, cpus=2 * JOBS, settings=SETTINGS) as cluster:
        kind = job_executors.get("slurm")
        made = [kind(folder=at / f"jobs-{i}", environment={"SLURM_CONF": str(cluster.conf)}) for i in range(2)]
        return sixty("slurm", made, "slurm", at)


def on_local() -> list[Row]:
    with folder() as at:
        kind = job_executors.get("local")
        made = [kind(dict.fromkeys(SITES), folder=at / f"jobs-{i}") for i in range(2)]
        return sixty("local", made, f"local:{','.join(SITES)}", at)


def on_ray() -> list[Row]:
    try:
        import ray  # noqa: F401
    except ImportError:
        return [Row("ray: sixty jobs", None, "", note="ray is not installed")]
    from supervisor_ray import nodes

    with folder() as at, nodes((SITES[:1], SITES[1:]), 2 * JOBS) as address:
        kind = job_executors.get("ray")
        made = [kind.make(f"address={address}", folder=at / f"jobs-{i}") for i in range(2)]
        return sixty("ray", made, "ray", at)


def many(count: int = 10_000) -> list[Row]:
    """Ten thousand jobs of a hundred kinds over a simulated day, one supervisor, every cycle timed."""
    import json

    import numpy as np

    from outweigh.backends.executors.simulated import SimulatedExecutor
    from outweigh.backends.stores.sqlite import SqliteStore
    from outweigh.core.receipt import Receipt
    from outweigh.plan.planfile import SCHEMA, plan_body, plan_id
    from outweigh.plan.problem import Job, Level, Places
    from outweigh.plan.shared import Capacity, plan_jobs
    from outweigh.plan.sites import Ask
    from outweigh.run.clock import PlanClock
    from outweigh.run.deciding import Rules
    from outweigh.run.following import Following, begin
    from outweigh.run.outlook import Outlook
    from outweigh.run.settling import receipt_body
    from outweigh.run.supervisor import Supervisor

    start = datetime(2026, 12, 1, tzinfo=UTC)
    chance = np.random.default_rng(8)
    hours = np.arange(24)
    carbon = np.array([300 + 150 * np.cos(2 * np.pi * (hours - peak) / 24) for peak in (18, 20, 8)])
    places = Places(SITES, start, 3600.0, np.full((1, 3, 24), 0.1), carbon[np.newaxis], np.full(3, 1.2))
    jobs = []
    for i, (r, w) in enumerate(zip(chance.integers(0, 14, 100), chance.integers(1, 4, 100), strict=True)):
        release, deadline = (start + timedelta(hours=float(each)) for each in (r, min(r + w + 6, 23.5)))
        level = (Level(1.0, 1e3),)
        jobs.append(Job(f"class-{i}", release, deadline, float(w), level, home=SITES[0], count=count // 100))
    schedule = plan_jobs(
        jobs, places, Capacity(np.full(3, 0.1 * count)), carbon_price_per_tonne=100.0, goal_gap=0.02, time_limit_s=20
    )
    document = {
        "schema": SCHEMA, "created": start.isoformat(), "currency": "EUR", "carbon_price_per_tonne": 100.0,
        "carbon_meaning": "made up",
        **plan_body(jobs, places, Capacity(np.full(3, 0.1 * count)), schedule, {j.name: Ask(("true",)) for j in jobs}),
    }  # fmt: skip
    document = json.loads(json.dumps({**document, "plan_id": plan_id(document)}))
    now = [start]
    executor = SimulatedExecutor(dict.fromkeys(SITES), now=lambda: now[0])
    took: list[float] = []
    with folder() as at, closing(SqliteStore.open(at / "ledger.sqlite")) as store:
        clock = {"plan": start.isoformat(), "wall": start.isoformat(), "factor": 1.0}
        name, _ = begin(store, document, "plan", on="simulated", clock=clock, project="many", phase="training")
        following, _ = Following.read(store, name)
        box: list[Any] = []
        supervisor = Supervisor(
            store, executor, following, PlanClock(start, start, read=lambda: now[0]), Outlook(following.rates, start),
            settle=lambda jobs: [receipt_body(job, box[0].following, trial=True) for job in jobs],
            append=lambda bodies: store.append_all([Receipt.from_dict(dict(body)) for body in bodies]), rules=Rules(),
        )  # fmt: skip
        box.append(supervisor)
        supervisor.lead()
        over = False
        while not over and now[0] < start + timedelta(hours=40):
            done = supervisor.cycle()
            took.append(done.seconds)
            over = done.over
            now[0] += timedelta(minutes=15)
        in_time = sum(
            job.seen is not None and job.seen.ended is not None and job.seen.ended <= job.deadline
            for job in supervisor.jobs.values()
        )
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    took.sort()
    return [
        Row(f"{count:,} jobs: longest cycle", took[-1], "s", None, "1 s", took[-1] < 1.0, f"of {len(took)} cycles"),
        Row(f"{count:,} jobs: 99 of 100 cycles take less than", took[int(0.99 * len(took))], "s"),
        Row(f"{count:,} jobs: median cycle", took[len(took) // 2], "s"),
        Row(f"{count:,} jobs: memory at its highest", peak_mb, "MB", None, "500 MB", peak_mb < 500,
            "of the whole benchmark, planning and the simulation included"),
        Row(f"{count:,} jobs: not in time", len(supervisor.jobs) - in_time, "jobs", None, "0",
            in_time == len(supervisor.jobs)),
    ]  # fmt: skip


def main() -> int:
    parts = {"many": many, "slurm": on_slurm, "local": on_local, "ray": on_ray}
    chosen = [name for name in parts if name in sys.argv[1:]] or list(parts)
    begun_s = time.monotonic()
    found = [row for name in chosen for row in parts[name]()]
    if "--json" not in sys.argv[1:]:
        print(f"took {time.monotonic() - begun_s:.0f} s")
    return finish("supervisor", found)


if __name__ == "__main__":
    sys.exit(main())
