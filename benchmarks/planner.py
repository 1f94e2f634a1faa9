"""How fast and how close to the best jobs that share capacity are planned, against HiGHS on the whole linear programme.

Jobs are of a real trace (Alibaba PAI 2020, lengths and CPUs), folded into one week; sites are zones with their carbon
intensity of one week of 2022, and their day-ahead or spot price where it is at hand. The data is in the team's data
folder (OUTWEIGH_SHARED_DATA, or ../shared/data beside the repository) and does not ship; without it every row says so.

Assumed, as no trace has it: 50 W a CPU; jobs below 2 h may end 6 h later than they could, others 24 h; every second job
may pause; prices in their own currency as if they were one, and a fixed 0.10 a kWh for zones without a price; PUE 1.2.
Lengths are rounded up to whole hours, capacities up to whole CPUs, alike for all sites and hours. The 1,000 jobs are of
4 h or longer and 4 CPUs at most (a site has 14 there), the 10,000 of 64 and, at 60 % load, 16 CPUs at most (sites have
204 and 32); others are the whole trace.

Every figure is of a process of its own. Memory is what it holds beyond what it held before it began to solve. CPU
seconds stand beside those of the clock, as other programs may run on the machine.

    python benchmarks/planner.py [--json] [--full]
"""

from __future__ import annotations

import argparse
import csv
import gzip
import json
import os
import resource
import subprocess
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np

from outweigh.plan.problem import Job, Level, Places
from outweigh.plan.shared import Capacity, plan_jobs, verify
from shape import Row, finish

ROOT = Path(os.environ.get("OUTWEIGH_SHARED_DATA", Path(__file__).parents[2] / "shared" / "data"))
ZONES = (
    "DE", "US-CAL-CISO", "US-TEX-ERCO", "CA-ON", "FR", "AU-NSW", "GB", "SE", "PL", "ES", "IT-NO", "NL", "BE", "AT",
    "PT", "FI", "DK-DK1", "IE", "US-NY-NYIS", "US-MIDA-PJM", "NO-NO1", "CH", "CZ", "GR", "IN-WE",
)  # fmt: skip
WEEK = datetime(2022, 6, 6, tzinfo=UTC)
HOURS = 168
W_PER_CPU, PUE, CARBON_PRICE, FIXED_PRICE = 50.0, 1.2, 100.0, 0.10
LP_SECONDS = 200.0

# Name: jobs, sites, capacity over mean load, shortest job [h], most CPUs, goal for the gap.
CASES = {
    "1k": (1_000, 10, 1.5, 4.0, 4.0, 0.005),
    "10k": (10_000, 10, 3.0, 0.0, 64.0, 0.005),
    "10k-20": (10_000, 20, 1 / 0.6, 0.0, 16.0, 0.01),
    "100k-20": (100_000, 20, 1 / 0.6, 0.0, 400.0, 0.01),
    "1M-20": (1_000_000, 20, 1 / 0.6, 0.0, 400.0, 0.01),
}


def read(path: str) -> list[dict[str, str]]:
    with gzip.open(ROOT / path, "rt", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def places(sites: int) -> Places:
    rows = read("grid/carbon_2022_115zones.csv.gz")
    zones = [zone for zone in ZONES if zone in rows[0]][:sites]
    first = (WEEK - datetime(2022, 1, 1, tzinfo=UTC)) // timedelta(hours=1)
    carbon = [[float(row[zone]) for row in rows[first : first + HOURS]] for zone in zones]
    stamps = [f"{WEEK + timedelta(hours=hour):%Y-%m-%dT%H:%MZ}" for hour in range(HOURS)]
    price = []
    for zone in zones:
        if (ROOT / f"grid/price/{zone}.csv.gz").exists():
            known = {row["utc"]: float(row["price"]) / 1000 for row in read(f"grid/price/{zone}.csv.gz")}
            price.append([known[stamp] for stamp in stamps])
        else:
            price.append([FIXED_PRICE] * HOURS)
    return Places(tuple(zones), WEEK, 3600.0, np.array([price]), np.array([carbon]), np.full(len(zones), PUE))


def trace_jobs(count: int, there: Places, shortest_h: float, most_cpus: float) -> list[Job]:
    """Rows of the trace drawn at random, with repetition where there are more than it has; equal ones are one class."""
    rows = read("jobs/alibaba_pai_2020_50k.csv.gz")
    arrival, length, cpus = (np.array([float(row[name]) for row in rows]) for name in ("arrival_h", "length_h", "cpus"))
    kept = (length >= shortest_h) & (cpus <= most_cpus)
    arrival, length, cpus = arrival[kept], length[kept], cpus[kept]
    drawn = np.random.default_rng(1).choice(len(arrival), count, replace=count > len(arrival))
    hours, slack = np.ceil(length).astype(int), np.where(length < 2, 6, 24)
    release = np.floor(arrival % (HOURS - hours - slack + 1)).astype(int)
    classes: dict[tuple[int, int, int, float, bool], int] = {}
    for row, many in zip(*np.unique(drawn, return_counts=True), strict=True):
        key = int(release[row]), int(hours[row]), int(slack[row]), float(cpus[row]), bool(row % 2)
        classes[key] = classes.get(key, 0) + int(many)
    hour = timedelta(hours=1)
    return [
        Job(
            f"{number}", WEEK + first * hour, WEEK + (first + run + wait) * hour, run,
            (Level(1.0, size * W_PER_CPU),), preemptible=pauses, home=there.names[number % len(there.names)],
            count=many,
        )
        for number, ((first, run, wait, size, pauses), many) in enumerate(classes.items())
    ]  # fmt: skip


def one_by_one(per_kind: int, *, named: bool) -> tuple[list[Job], Places, Capacity]:
    """200 kinds of jobs and so many of each: as one job with a count, or as jobs that differ in name alone."""
    there = places(20)
    kinds = [replace(kind, count=per_kind) for kind in trace_jobs(300, there, 0.0, 16.0)[:200]]
    kwh = sum(kind.count * kind.work_h * kind.levels[0].power_w / 1000 for kind in kinds)
    each = Capacity(np.full(20, max(1.0, kwh / (20 * HOURS) / 0.6)))
    if named:
        kinds = [replace(kind, name=f"{kind.name}.{n}", count=1) for kind in kinds for n in range(per_kind)]
    return kinds, there, each


def instance(case: str) -> tuple[list[Job], Places, Capacity]:
    count, sites, room, shortest, most, _ = CASES[case]
    there = places(sites)
    jobs = trace_jobs(count, there, shortest, most)
    kwh = sum(job.count * job.work_h * job.levels[0].power_w / 1000 for job in jobs)
    cpu_kw = W_PER_CPU / 1000
    each = np.ceil(room * kwh / (sites * HOURS) / cpu_kw - 1e-9) * cpu_kw
    return jobs, there, Capacity(np.full(sites, each))


def names(case: str) -> dict[str, float]:
    jobs, there, capacity = one_by_one(int(case.split("-")[1]), named=case.startswith("names"))
    cpu = time.process_time()
    plan = plan_jobs(jobs, there, capacity, carbon_price_per_tonne=CARBON_PRICE, goal_gap=0.02)
    return {"cpu_s": time.process_time() - cpu, "gap": plan.certificate.gap, "rows": len(jobs)}


def memory_mb(*, restart: bool = False) -> float:
    """The most this process has held since it was last told to restart [MiB]; where that cannot be, since it began."""
    status, refs = Path("/proc/self/status"), Path("/proc/self/clear_refs")
    if not status.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    if restart:
        refs.write_text("5")  # proc(5): resets the peak resident set size
    line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def ours(case: str) -> dict[str, float]:
    jobs, there, capacity = instance(case)
    import scipy.optimize
    import scipy.sparse  # noqa: F401 - loading them is not solving

    before, clock, cpu = memory_mb(restart=True), time.perf_counter(), time.process_time()
    plan = plan_jobs(jobs, there, capacity, carbon_price_per_tonne=CARBON_PRICE, goal_gap=CASES[case][5])
    done = {
        "seconds": time.perf_counter() - clock, "cpu_s": time.process_time() - cpu, "memory_mb": memory_mb() - before,
        "peak_mb": memory_mb(),
    }  # fmt: skip
    faults = verify(plan, jobs, there, capacity)
    return done | {
        "gap": plan.certificate.gap, "objective": plan.objective, "bound": plan.certificate.lower_bound,
        "classes": len(jobs), "faults": len(faults), "saving": 1 - plan.objective / plan.baseline.objective,
        "late": plan.baseline.late,
    }  # fmt: skip


def whole_programme(case: str) -> dict[str, float]:
    """HiGHS on all starts of all jobs at all sites; a job that may pause has a share of every step instead."""
    from scipy.optimize import linprog
    from scipy.sparse import coo_array

    jobs, there, capacity = instance(case)
    before, clock, cpu = memory_mb(restart=True), time.perf_counter(), time.process_time()
    rows, rate = there.jobs(jobs), there.rate(CARBON_PRICE)
    sites, steps = rate.shape
    sums = np.concatenate([np.zeros((sites, 1)), np.cumsum(rate, axis=1)], axis=1)
    cost: list[np.ndarray] = []
    upper: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    equal: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    columns, below, exact, sums_to = 0, sites * steps, 0, []
    for number in range(len(rows)):
        first, end, need = int(rows.release[number]), int(rows.deadline[number]), int(rows.work[number])
        kw = float(rows.power_w[number, 0] / 1000 * rows.count[number])
        job_row, exact = exact, exact + 1
        sums_to.append(1.0)
        for site in range(sites):
            if rows.preemptible[number]:
                step = np.arange(first, end)
                here, share = columns, columns + 1 + np.arange(len(step))
                cost.append(np.concatenate([[0.0], kw * rate[site, step]]))
                equal.append((np.array([job_row]), np.array([here]), np.ones(1)))
                equal.append(
                    (np.full(len(step) + 1, exact), np.append(share, here), np.append(np.ones(len(step)), -need))
                )
                upper.append((site * steps + step, share, np.full(len(step), kw)))
                line = below + np.arange(len(step))
                upper.append(
                    (np.tile(line, 2), np.append(share, np.full(len(step), here)), np.repeat([1.0, -1.0], len(step)))
                )
                exact, below, columns = exact + 1, below + len(step), columns + 1 + len(step)
                sums_to.append(0.0)
            else:
                start = np.arange(first, end - need + 1)
                run = columns + np.arange(len(start))
                cost.append(kw * (sums[site, start + need] - sums[site, start]))
                equal.append((np.full(len(start), job_row), run, np.ones(len(start))))
                cell = site * steps + (start[:, np.newaxis] + np.arange(need)).ravel()
                upper.append((cell, np.repeat(run, need), np.full(len(cell), kw)))
                columns += len(start)
    parts = [
        coo_array(
            (
                np.concatenate([one[2] for one in block]),
                tuple(np.concatenate([one[i] for one in block]) for i in (0, 1)),
            ),
            shape=(size, columns),
        ).tocsr()
        for block, size in ((upper, below), (equal, exact))
    ]
    limit = np.concatenate([capacity.by_step(there).ravel(), np.zeros(below - sites * steps)])
    found = linprog(
        np.concatenate(cost), A_ub=parts[0], b_ub=limit, A_eq=parts[1], b_eq=np.array(sums_to), method="highs",
        options={"time_limit": LP_SECONDS},
    )  # fmt: skip
    return {
        "seconds": time.perf_counter() - clock, "cpu_s": time.process_time() - cpu, "memory_mb": memory_mb() - before,
        "variables": columns, "value": 0.0 if found.fun is None else float(found.fun), "solved": found.status == 0,
    }  # fmt: skip


def child(what: str, case: str) -> dict[str, float]:
    asked = [sys.executable, __file__, "--child", what, case]
    done = subprocess.run(asked, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def row_of(case: str, words: str, limit_s: float | None, limit_gb: float | None, goal_gap: float) -> list[Row]:
    got = child("ours", case)
    note = (
        f"{got['classes']:,.0f} classes; {got['cpu_s']:.1f} s of CPU; saves {got['saving']:.1%} against now, here, "
        f"{got['late']:,.0f} of whose jobs come late; verify found {got['faults']:.0f} faults"
    )
    sound = got["faults"] == 0
    return [
        Row(f"{words}: gap", 100 * got["gap"], "%", "certificate", f"<= {100 * goal_gap:g}",
            sound and got["gap"] <= goal_gap, note),
        Row(f"{words}: time", got["seconds"], "s", None, f"< {limit_s:g}" if limit_s else None,
            got["seconds"] < limit_s if limit_s else None),
        Row(f"{words}: memory of the process", got["peak_mb"] / 1024, "GiB", None,
            f"< {limit_gb:g}" if limit_gb else None, got["peak_mb"] / 1024 < limit_gb if limit_gb else None),
    ]  # fmt: skip


def against_highs(case: str, words: str) -> list[Row]:
    got, lp = child("ours", case), child("lp", case)
    solved = "" if lp["solved"] else f" (stopped after {LP_SECONDS:g} s, not solved)"
    note = (
        f"HiGHS: {lp['variables']:,.0f} variables, {lp['cpu_s']:.1f} s of CPU{solved}; ours {got['cpu_s']:.1f} s of CPU"
    )
    tight = (
        "" if not lp["solved"] else f"; its optimum is {100 * (lp['value'] / got['bound'] - 1):.2f} % above our bound"
    )
    sound = got["faults"] == 0
    # Stopped by the clock while other programs had the machine, it says nothing.
    faster = got["seconds"] <= lp["seconds"] if lp["solved"] or lp["cpu_s"] >= got["cpu_s"] else None
    return [
        Row(f"{words}: gap", 100 * got["gap"], "%", "certificate", "<= 0.5", sound and got["gap"] <= 0.005,
            f"{got['classes']:,.0f} classes; verify found {got['faults']:.0f} faults{tight}"),
        Row(f"{words}: time", got["seconds"], "s", lp["seconds"], "<= ref", faster, note),
        Row(f"{words}: memory to solve", got["memory_mb"], "MiB", lp["memory_mb"], "<= ref / 5",
            got["memory_mb"] <= lp["memory_mb"] / 5),
    ]  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--full", action="store_true", help="also HiGHS on the whole programme of 10,000 jobs")
    parser.add_argument("--child", nargs=2, metavar=("WHAT", "CASE"), help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.child:
        what, case = asked.child
        print(json.dumps({"ours": ours, "lp": whole_programme, "names": names}[what](case)))
        return 0
    if not (ROOT / "jobs/alibaba_pai_2020_50k.csv.gz").exists():
        return finish("planner", [Row("all", None, "", note=f"no data in {ROOT}")])
    rows = against_highs("1k", "1,000 jobs x 10 sites x 168 h, capacity 1.5 x mean load")
    rows += row_of("10k", "10,000 jobs x 10 sites, capacity 3 x mean load", 10.0, 1.0, 0.005)
    for case, words in (("10k-20", "10,000"), ("100k-20", "100,000")):
        rows += row_of(case, f"{words} jobs x 20 sites x 168 h, 60 % loaded", None, None, 0.02)
    rows += row_of("1M-20", "1,000,000 jobs x 20 sites x 168 h, 60 % loaded", 120.0, 6.0, 0.02)
    many, few = child("names", "names-100"), child("names", "counts-100")
    rows.append(
        Row("20,000 jobs of 200 kinds, each with a name of its own: CPU", many["cpu_s"], "s", few["cpu_s"],
            "<= ref * 2", many["cpu_s"] <= 2 * few["cpu_s"], "the reference is one job a kind with a count of 100")
    )  # fmt: skip
    if asked.full:
        lp = child("lp", "10k")
        rows.append(
            Row("HiGHS on the whole programme of 10,000 jobs: time", lp["seconds"], "s",
                note=f"{lp['variables']:,.0f} variables, {lp['memory_mb']:.0f} MiB, solved: {lp['solved']}")
        )  # fmt: skip
    return finish("planner", rows)


if __name__ == "__main__":
    raise SystemExit(main())
