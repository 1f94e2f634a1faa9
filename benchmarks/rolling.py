"""A year of hourly re-plans: time, deadlines, moves and what it saves, on recorded carbon, prices and jobs.

Carbon intensity and wholesale prices of five zones in 2023, hour by hour, and the jobs of a cluster trace with their
own arrival and length. They are in the team's data folder (OUTWEIGH_SHARED_DATA, or ../shared/data beside the
repository) and do not ship; without it every row says so and nothing is judged.

What the trace does not say is assumed, and the same for every policy: 72 h of slack, 100 W of IT a processor, one half
of the jobs may pause at the price of 5 minutes' energy a resumption. Prices are taken into euros at 1.08 USD, 1.46 CAD
and 1.63 AUD, about their means of the year. Carbon is charged at 100 EUR a tonne. The forecast is persistence: what the
same hour of the day before was, a new vintage every hour, so that every hour all live jobs are priced again.

    python benchmarks/rolling.py [--json]
"""

from __future__ import annotations

import csv
import gzip
import os
import time
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from outweigh.plan.offers import offers, starting_now
from outweigh.plan.problem import Jobs, Places
from outweigh.plan.rolling import Rolled, Rolling, Rules
from outweigh.plan.rolling_outlook import Persistence
from shape import Row, finish

ROOT = Path(os.environ.get("OUTWEIGH_SHARED_DATA", Path(__file__).parents[2] / "shared" / "data"))
START, HOURS, YEAR_S = datetime(2023, 1, 1, tzinfo=UTC), 8760, 300.0
# Zone: units of its currency to the euro.
ZONES = {"DE": 1.0, "US-CAL-CISO": 1.08, "US-TEX-ERCO": 1.08, "CA-ON": 1.46, "AU-NSW": 1.63}
SLACK_H, WATTS, CARBON_PRICE = 72.0, 100.0, 100.0
TAIL_H = 24 * 7  # after the year, for the jobs that arrive at its end


def column(path: Path, name: str, hours: int) -> np.ndarray:
    """Values of consecutive hours from START on; NaN where the file has none."""
    values = np.full(hours, np.nan)
    with gzip.open(path, "rt", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            at = int((datetime.fromisoformat(row["utc"]) - START).total_seconds() // 3600)
            if 0 <= at < hours:
                values[at] = float(row[name])
    return values


def day_before(values: np.ndarray) -> tuple[np.ndarray, int]:
    """Hours without a value take that of the day before; how many there were."""
    gaps = np.flatnonzero(np.isnan(values))
    for at in gaps:
        values[at] = values[at - 24] if at >= 24 else values[at + 24]
    return values, len(gaps)


def places() -> tuple[Places, int]:
    hours, filled, price, carbon = HOURS + TAIL_H, 0, [], []
    for zone, per_euro in ZONES.items():
        one, gaps = day_before(column(ROOT / f"grid/price/{zone}.csv.gz", "price", hours))
        two, more = day_before(column(ROOT / f"grid/carbon/{zone}.csv.gz", "ci_lca", hours))
        price.append(one / per_euro / 1e3)
        carbon.append(two)
        filled += gaps + more
    both = np.array([price]), np.array([carbon])
    return Places(tuple(ZONES), START, 3600.0, *both, pue=np.full(len(ZONES), 1.2)), filled


def trace(sites: int) -> Jobs:
    rng = np.random.default_rng(7)
    with gzip.open(ROOT / "jobs/alibaba_pai_2020_50k.csv.gz", "rt", encoding="utf-8") as file:
        rows = [(float(r["arrival_h"]), float(r["length_h"]), float(r["cpus"])) for r in csv.DictReader(file)]
    arrival, length, cpus = np.array([row for row in rows if row[0] < HOURS - 1]).T
    # An hour's worth of a second is work too, and a file that says 0 means less than it can show.
    release, work, n = np.ceil(arrival), np.maximum(length, 1 / 60), len(arrival)
    kw = cpus * WATTS / 1e3
    preemptible = rng.random(n) < 0.5
    return Jobs(
        tuple(f"job-{i}" for i in range(n)),
        release=release,
        deadline=release + np.ceil(work) + SLACK_H,
        work=work,
        speed=np.ones((n, 1)),
        power_w=(kw * 1e3)[:, np.newaxis],
        preemptible=preemptible,
        allowed=np.ones((n, sites), dtype=np.bool_),
        resume_steps=np.zeros(n),
        resume_kwh=kw * 5 / 60,
        entry_cost=np.zeros((n, sites)),
        count=np.ones(n, dtype=np.int64),
        home=rng.integers(0, sites, n),
        devices=np.zeros(n),
        cut=np.zeros(n, dtype=np.bool_),
    )


def roll(jobs: Jobs, rate: np.ndarray, rules: Rules) -> tuple[Rolled, float, float, list[int]]:
    planner = Rolling(jobs, Persistence(rate, 24), 1.0, rules=rules, came=rate)
    live, wall, cpu = [], time.perf_counter(), time.process_time()
    for hour in range(rate.shape[1]):
        planner.step(hour)
        live.append(len(planner.live))
    return planner.result(), time.perf_counter() - wall, time.process_time() - cpu, live[:HOURS]


def rows_of(case: str, jobs: Jobs, rate: np.ndarray, rules: Rules, note: str) -> list[Row]:
    rolled, wall, cpu, live = roll(jobs, rate, rules)
    spent = float((rolled.runs.energy_kwh * rate[rolled.runs.site, rolled.runs.step]).sum())
    each = np.arange(len(jobs))
    best = float(offers(jobs, rate, 1.0).cost.min(axis=1).sum())
    base = float(starting_now(jobs, rate, 1.0)[each, jobs.home].sum())
    load = np.bincount(rolled.runs.site * rate.shape[1] + rolled.runs.step, rolled.runs.energy_kwh)
    late, moves = int(rolled.late.sum()), float(rolled.moves.mean())
    rows = [
        Row(f"{case}, jobs live on average", float(np.mean(live)), "", note=note),
        Row(f"{case}, time", wall, "s", None, f"< {YEAR_S:g}", wall < YEAR_S, f"{cpu:.0f} s of processor time"),
        Row(f"{case}, deadlines missed", float(late), "", 0.0, "0", late == 0, f"of {len(jobs)} jobs"),
        Row(f"{case}, migrations a job", 0.0, "", note="where a job starts it stays"),
        Row(f"{case}, plans changed a job", float(rolled.changes.mean()), "", note=f"{moves:.3f} to another site"),
        Row(f"{case}, resumptions a job", float(rolled.resumptions.mean()), ""),
        Row(
            f"{case}, saving", 100 * (1 - spent / base), "%", 100 * (1 - best / base),
            note="against starting now, at home; beside it perfect foresight, each job alone",
        ),
    ]  # fmt: skip
    if rules.capacity_kw.size:
        most = float(rules.capacity_kw[0])
        rows.append(
            Row(f"{case}, highest load", float(load.max()), "kW", most, f"<= {most:g}", load.max() <= most + 1e-6)
        )
    return rows


def main() -> int:
    if not ROOT.is_dir():
        return finish("rolling", [Row("a year of hourly re-plans", None, "", note="no data: set OUTWEIGH_SHARED_DATA")])
    here, filled = places()
    rate, jobs = here.rate(CARBON_PRICE), trace(len(ZONES))
    note = f"5 sites, {filled} hours without a price or intensity take those of the day before"
    mean_kw = float((jobs.power_w[:, 0] * jobs.work).sum() / 1e3 / HOURS)
    rows = rows_of("8,760 hourly re-plans", jobs, rate, Rules(), note)
    shared = Rules(capacity_kw=np.full(len(ZONES), 10 * mean_kw))
    rows += rows_of("the same, each site 10 x the mean load", jobs, rate, shared, note)
    return finish("rolling", rows)


if __name__ == "__main__":
    raise SystemExit(main())
