"""What no calendar and no memory can hold is refused with a sentence, where it is read."""

from __future__ import annotations

import copy
from datetime import UTC, datetime
from pathlib import Path

import pytest

from outweigh.app.backtesting import backtest_file
from outweigh.app.planning import plan_file
from outweigh.config.jobs import load_jobs
from outweigh.core.errors import ConfigError, UsageError
from outweigh.core.intervals import Interval
from outweigh.plan.plancheck import faults, rebuild
from outweigh.plan.planfile import MOST_COPIES, plan_id

NOW = datetime(2026, 11, 27, tzinfo=UTC)
ONE = """
[plan]
from = "2026-12-01T00:00Z"
horizon = "24 h"
queue = "queue.csv"
[site.here]
zone = "US-CAL-CISO"
pue = 1.2
price = "0.10 USD/kWh"
intensity = "300 gCO2e/kWh"
[[job]]
name = "a"
within = "12 h"
work = "6 h"
power = "8 kW"
"""
QUEUE = "name,release,within,work,power,count\nq,{release},6 h,1 h,1 kW,{count}\n"


def jobs_file(folder: Path, text: str = ONE, release: str = "", count: str = "1") -> Path:
    (folder / "queue.csv").write_text(QUEUE.format(release=release, count=count), encoding="utf-8")
    (folder / "jobs.toml").write_text(text, encoding="utf-8")
    return folder / "jobs.toml"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("2026-12-01T00:00Z", "0001-01-01T00:00+14:00"),
        ('within = "12 h"', 'deadline = "9999-12-31T23:59-14:00"'),
    ],
)
def test_a_time_that_utc_has_no_year_for_is_refused_with_its_line(tmp_path: Path, old: str, new: str):
    with pytest.raises(ConfigError, match="outside the years 1 to 9999") as caught:
        load_jobs(jobs_file(tmp_path, ONE.replace(old, new)), NOW)
    assert caught.value.line > 0


def test_such_a_time_in_a_queue_is_refused_with_its_row(tmp_path: Path):
    with pytest.raises(ConfigError, match=r"queue\.csv:2.*outside the years 1 to 9999"):
        load_jobs(jobs_file(tmp_path, release="0001-01-01T00:00+14:00"), NOW)


@pytest.mark.parametrize("count", ["99999999999999999999", str(MOST_COPIES + 1), "9" * 5000, "0"])
def test_a_count_beyond_what_is_planned_at_once_is_refused_in_the_queue_and_in_the_file(tmp_path: Path, count: str):
    with pytest.raises(ConfigError, match=r"queue\.csv:2.*"):
        load_jobs(jobs_file(tmp_path, count=count), NOW)
    with pytest.raises(ConfigError):
        load_jobs(jobs_file(tmp_path, f"{ONE}count = {count}\n"), NOW)


def test_the_most_jobs_that_are_planned_at_once_can_be_planned(tmp_path: Path):
    planned = plan_file(jobs_file(tmp_path, count=str(MOST_COPIES)), frontier=False, now=NOW)

    assert faults(planned.document, "plan.json") == ()


def test_a_back_test_before_there_was_a_grid_is_refused(tmp_path: Path):
    with pytest.raises(UsageError, match="no history of 0001"):
        backtest_file(jobs_file(tmp_path, ONE.replace("2026-12-01T00:00Z", "0001-01-01T00:00Z")), now=NOW)
    late = Interval(datetime(9990, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, tzinfo=UTC))
    with pytest.raises(UsageError, match="no history of 9990 to 9999"):
        backtest_file(jobs_file(tmp_path), window=late, now=NOW)


def many_parts(body):
    body["jobs"][0]["runs"][0]["steps"] = [[0, 10**12, 1.0, 1.0]]


def many_runs(body):
    body["jobs"][0]["runs"] = body["jobs"][0]["runs"] * 900_000
    for run in body["jobs"][0]["runs"][:1]:
        run["steps"] = [[0, 24, 1.0, 1.0]]


def many_steps(body):
    body["horizon"]["steps"] = 10**10
    body["sites"][0]["capacity_kw"] = None


def many_copies(body):
    body["jobs"][0]["count"] = 10**20


def many_in_a_run(body):
    body["jobs"][0]["runs"][0]["count"] = 10**20


def part_outside(body):
    body["jobs"][0]["runs"][0]["steps"] = [[-5, 3, 1.0, 1.0]]


@pytest.mark.parametrize("forge", [many_parts, many_runs, many_steps, many_copies, many_in_a_run, part_outside])
def test_a_file_of_few_letters_that_asks_for_any_amount_of_memory_is_refused(tmp_path: Path, forge):
    body = copy.deepcopy(plan_file(jobs_file(tmp_path), frontier=False, now=NOW).document)
    forge(body)
    body["plan_id"] = plan_id({**body, "jobs": []})

    with pytest.raises(UsageError):
        rebuild(body, "plan.json")
