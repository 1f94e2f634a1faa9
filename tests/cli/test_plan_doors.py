"""The doors of `outweigh plan`: limits that hold, files refused in time, names that a terminal does not obey."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from click.testing import CliRunner

from outweigh.app import planning
from outweigh.app.checking_plans import check_file
from outweigh.app.planning import check_pages, plan_file, write_page
from outweigh.cli import plan_backtest, plan_jobs
from outweigh.core.errors import OutputError, UsageError

NOW = datetime(2026, 11, 27, tzinfo=UTC)
JOBS = """
[plan]
from = "2026-12-01T00:00Z"
horizon = "24 h"
carbon_price = "100 USD/t"
[site.here]
zone = "US-CAL-CISO"
pue = 1.2
price = "0.10 USD/kWh"
intensity = "300 gCO2e/kWh"
[[job]]
name = "a\\u001b[31mb"
within = "12 h"
work = "6 h"
power = "8 kW"
"""


@pytest.fixture
def jobs_file(tmp_path: Path) -> Path:
    (tmp_path / "jobs.toml").write_text(JOBS, encoding="utf-8")
    return tmp_path / "jobs.toml"


class Clock:
    """Every plan takes as long as it may, and half a second where it may take none."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now, self.limits = 0.0, list[float]()
        plan_jobs = planning.plan_jobs

        def slow(*args: object, time_limit_s: float, **kwargs: object) -> object:
            self.limits.append(time_limit_s)
            self.now += max(time_limit_s, 0.5)
            return plan_jobs(*args, time_limit_s=None, **kwargs)  # type: ignore[arg-type]

        monkeypatch.setattr(planning, "plan_jobs", slow)
        monkeypatch.setattr(planning.time, "monotonic", lambda: self.now)


def test_a_time_limit_is_for_the_plan_and_its_frontier_together(jobs_file: Path, monkeypatch: pytest.MonkeyPatch):
    clock = Clock(monkeypatch)

    planned = plan_file(jobs_file, frontier=True, time_limit_s=10.0, now=NOW)

    assert clock.limits == pytest.approx([5.0, 1.0, 1.0, 1.0, 1.0, 1.0])
    assert len(planned.document["frontier"]) == 6


def test_points_that_no_time_is_left_for_are_left_out_and_a_note_says_so(
    jobs_file: Path, monkeypatch: pytest.MonkeyPatch
):
    clock = Clock(monkeypatch)

    planned = plan_file(jobs_file, time_limit_s=10.0, now=NOW)

    assert clock.limits == [10.0]
    assert planned.document["frontier"] == []
    assert "The frontier lacks 5 of 6 points: the time limit was up." in planned.notes


@pytest.mark.parametrize(("name", "error"), [("x.txt", UsageError), ("no/such/x.json", OutputError)])
@pytest.mark.parametrize("command", [plan_jobs.command, plan_backtest.command])
def test_a_file_that_cannot_be_written_is_refused_before_anything_is_planned(tmp_path: Path, command, name, error):
    out = tmp_path / name
    args = ["--backtest"] if command is plan_backtest.command else []

    # There is no such file of jobs: reading it would be refused otherwise.
    done = CliRunner().invoke(command, [str(tmp_path / "none.toml"), *args, "--out", str(out)])

    assert isinstance(done.exception, error)
    with pytest.raises(error):
        check_pages([out])


def test_a_name_that_a_terminal_would_obey_is_shown_escaped_in_the_table_and_in_notes(jobs_file: Path):
    planned = plan_file(jobs_file, frontier=False, now=NOW)

    assert planned.rows[0][0] == r"a\x1b[31mb"
    assert "\x1b" not in "".join(planned.notes)
    assert planned.document["jobs"][0]["name"] == "a\x1b[31mb"


def test_a_check_names_what_it_leaves_unchecked(jobs_file: Path):
    planned = plan_file(jobs_file, frontier=False, now=NOW)
    write_page(planned.document, jobs_file.parent / "plan.json")

    found = check_file(jobs_file.parent / "plan.json")

    assert found.sound
    for what in ("--replay", "sources and grades", "forecasts' error", "best constant", "frontier"):
        assert what in found.notes[0]
    assert found.document["not_checked"]
