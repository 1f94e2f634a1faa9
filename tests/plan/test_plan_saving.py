"""What a plan says it saves: nothing where starting now leaves jobs out, and every sentence of it can be checked."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from outweigh.app.planning import plan_file
from outweigh.backends.exporters.plan_html import render
from outweigh.plan.plancheck import faults
from outweigh.plan.planfile import plan_id
from outweigh.plan.saving import saving_body

NOW = datetime(2026, 11, 27, tzinfo=UTC)
# "loose" comes first and takes the only place for as long as "tight" could wait.
LATE = """
[plan]
from = "2026-12-01T00:00Z"
horizon = "10 h"
carbon_price = "100 USD/t"
[site.here]
zone = "US-CAL-CISO"
pue = 1.0
capacity = "10 kW"
price = "0.10 USD/kWh"
intensity = "300 gCO2e/kWh"
[[job]]
name = "loose"
within = "10 h"
work = "3 h"
power = "10 kW"
[[job]]
name = "tight"
release = "2026-12-01T01:00Z"
within = "5 h"
work = "5 h"
power = "10 kW"
"""


@pytest.fixture
def late(tmp_path: Path):
    (tmp_path / "late.toml").write_text(LATE, encoding="utf-8")
    return plan_file(tmp_path / "late.toml", frontier=False, now=NOW)


def test_where_starting_now_misses_a_deadline_no_saving_is_stated_and_nobody_is_told_to_run_now(late):
    saving, baseline = late.document["saving"], late.document["against"][0]

    assert baseline["late_jobs"] == 1
    assert (saving["objective"], saving["share"], saving["noise"]) == (None, None, None)
    assert "leaves 1 job without room in time" in saving["statement"]
    assert "no saving is stated" in saving["statement"]
    said = " ".join(late.notes)
    assert "run it now" not in said
    assert "1 jobs" not in said
    page = render(late.document)
    assert "All jobs in time" in page
    assert "Run it now" not in page
    assert faults(late.document, "plan.json") == ()


def outcome(objective: float, late: int = 0) -> dict:
    return {"policy": "start now", "cost": objective, "carbon_kg": objective, "objective": objective, "late_jobs": late}


@pytest.mark.parametrize(
    ("error", "noise", "says"),
    [(None, None, "less of cost"), (1.0, False, "more."), (3.0, True, "run it now.")],
)
def test_a_saving_is_noise_only_where_the_error_is_known_and_twice_it_is_not_less(error, noise, says):
    plan = {**outcome(5.0), "carbon_kg": 12.0}

    saving = saving_body(plan, outcome(10.0), "EUR", error)

    assert (saving["objective"], saving["share"], saving["noise"]) == (5.0, 0.5, noise)
    assert says in saving["statement"]


@pytest.mark.parametrize(
    ("key", "value"),
    [("statement", "It saves half of all."), ("noise", False), ("error_objective", -1.0), ("error_objective", "none")],
)
def test_a_sentence_or_a_verdict_on_the_saving_that_was_made_up_is_found(late, key: str, value: object):
    body = {**late.document, "saving": {**late.document["saving"], key: value}}
    body["plan_id"] = plan_id(body)

    assert any(f"saving.{key}" in fault for fault in faults(body, "plan.json"))


def test_a_plan_says_why_perfect_foresight_is_not_among_what_it_is_held_against(tmp_path: Path, late):
    typical = LATE.replace('intensity = "300 gCO2e/kWh"\n', "")
    (tmp_path / "typical.toml").write_text(typical, encoding="utf-8")

    planned = plan_file(tmp_path / "typical.toml", sources=["typical"], frontier=False, now=NOW)

    assert planned.document["perfect_foresight"].startswith("Not known before the time has come")
    assert "could not do better than the certificate's bound" in late.document["perfect_foresight"]


def test_a_plan_says_that_it_does_not_count_the_devices_its_jobs_ask_for(tmp_path: Path, late):
    (tmp_path / "gpus.toml").write_text(f"{LATE}gpus = 4\n", encoding="utf-8")

    planned = plan_file(tmp_path / "gpus.toml", frontier=False, now=NOW)

    assert any(note.startswith("GPUs are not counted") and "tight" in note for note in planned.notes)
    assert not any("GPUs" in note for note in late.notes)
