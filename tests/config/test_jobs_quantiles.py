"""Uncertain durations in a file of jobs: `work` is the median, and a plan says how many may overrun."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from outweigh.app.planning import plan_file
from outweigh.config.jobs import load_jobs
from outweigh.core.errors import ConfigError

NOW = datetime(2026, 11, 27, tzinfo=UTC)
JOBS = """
[plan]
from = "2026-12-01T00:00Z"
horizon = "48 h"
work_quantile = {quantile}
[site.here]
zone = "US-CAL-CISO"
pue = 1.0
price = "0.10 USD/kWh"
intensity = "300 gCO2e/kWh"
[[job]]
name = "a"
within = "48 h"
work = "24 h"
power = "1 kW"
quantiles = [{given}]
"""
ONE = '{ p = 0.9, work = "30 h" }'


def jobs_file(folder: Path, given: str = ONE, quantile: float = 0.5) -> Path:
    (folder / "jobs.toml").write_text(JOBS.format(given=given, quantile=quantile), encoding="utf-8")
    return folder / "jobs.toml"


@pytest.mark.parametrize(
    ("given", "read"),
    [
        (ONE, ((0.5, 24.0), (0.9, 30.0))),
        ('{ p = 0.1, work = "20 h" }', ((0.1, 20.0), (0.5, 24.0))),
        ('{ p = 0.5, work = "1440 min" }, { p = 0.8, work = "25 h" }', ((0.5, 24.0), (0.8, 25.0))),
    ],
)
def test_work_is_the_median_of_an_uncertain_duration_whatever_quantiles_stand_beside_it(tmp_path: Path, given, read):
    assert load_jobs(jobs_file(tmp_path, given), NOW).jobs[0].work_quantiles == read


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ('{ p = 0.5, work = "20 h" }', "says its median duration twice"),
        ('{ p = 0.9, work = "20 h" }', "quantiles of job 'a'"),
    ],
)
def test_quantiles_that_contradict_work_are_refused(tmp_path: Path, given: str, said: str):
    with pytest.raises(ConfigError, match=said):
        load_jobs(jobs_file(tmp_path, given), NOW)


@pytest.mark.parametrize(
    ("quantile", "hours", "says"),
    [
        (0.5, 24.0, "up to 50% may take longer"),
        (0.9, 30.0, "up to 10% may take longer"),
        (0.95, 30.0, "No quantile up to p = 0.95 is given for a"),
    ],
)
def test_a_plan_says_what_share_of_uncertain_jobs_may_overrun(tmp_path: Path, quantile, hours: float, says: str):
    planned = plan_file(jobs_file(tmp_path, quantile=quantile), frontier=False, now=NOW)

    assert planned.document["jobs"][0]["planned_work_h"] == pytest.approx(hours)
    assert any(says in note for note in planned.notes)
