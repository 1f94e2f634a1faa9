"""Budgets: what is left of each line and for how long, what the roadmap asks of it, and who may go over."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest

pytest.importorskip("fastapi")

from outweigh.app.pages.asked import Asked, FieldRefused
from outweigh.app.pages.budgets import budgets
from outweigh.core.measurement import Scope

NOW = datetime(2026, 11, 16, tzinfo=UTC)  # half of November is gone
PROJECT = """
[project]
name = "synthetic"
unit = "ticket"
volume = { per_month = 1e6 }

[task]
adapter = "tabular"
dataset = "data.csv"
primary = { metric = "accuracy" }

[variants.base]
model = "base.onnx"

[gate]
incumbent = "base"
"""
LINES = """
[budget.serve]
phase = "inference"
total = { limit = "1 kWh", per = "month" }
owner = "team-a"

[budget.hum]
phase = "idle"
limit = "25 W"
owner = "team-b"
"""
J_PER_KWH = 3.6e6


@pytest.fixture
def daily(made_receipt):
    """A receipt an hour long on each of the last fifteen days."""

    def make(kwh, **fields):
        return [
            made_receipt(day, joules=kwh * J_PER_KWH, start=NOW - timedelta(days=15 - day, hours=-6), seconds=3600.0,
                         **fields)
            for day in range(15)
        ]  # fmt: skip

    return make


def lines_of(document):
    return {row["budget"]: row for row in document["tables"]["lines"]["rows"]}


def test_a_folder_without_a_project_says_how_to_begin_one(served_folder):
    document = budgets(served_folder(now=NOW), Asked())

    assert document["commands"] == ["outweigh init"]


def test_a_project_without_a_budget_has_one_to_paste(served_folder):
    document = budgets(served_folder(PROJECT, now=NOW), Asked())

    assert "[budget.serve]" in document["commands"][0]


def test_what_is_left_has_its_interval_and_the_course_ends_there(served_folder, daily):
    document = budgets(served_folder(PROJECT + LINES, *daily(0.04), now=NOW), Asked())

    line, (burn,) = lines_of(document)["serve"], document["burn"]
    assert line["left_j"] == pytest.approx(0.4 * J_PER_KWH)
    assert burn["left_low_j"] <= line["left_j"] <= burn["left_high_j"]
    assert burn["left_j"][0] == J_PER_KWH
    assert burn["left_j"][-1] == pytest.approx(line["left_j"])
    assert burn["left_j"] == sorted(burn["left_j"], reverse=True)


def test_a_line_that_burns_too_fast_shows_the_day_it_is_used_up_with_its_interval(served_folder, daily):
    document = budgets(served_folder(PROJECT + LINES, *daily(0.055), now=NOW), Asked())

    (burn,) = document["burn"]
    assert burn["state"] == "warning"
    assert burn["earliest_s"] <= burn["exhausted_s"] <= burn["latest_s"]
    # 0.175 kWh are left at 0.055 a day: three days and some hours.
    assert NOW + timedelta(days=2) < datetime.fromtimestamp(burn["exhausted_s"], UTC) < NOW + timedelta(days=5)
    assert "95 %" in lines_of(document)["serve"]["exhausted"]


def test_with_too_little_history_the_day_is_missing_and_says_why(served_folder, made_receipt):
    one = made_receipt(joules=3.6e5, start=NOW - timedelta(hours=3), seconds=60.0)

    document = budgets(served_folder(PROJECT + LINES, one, now=NOW), Asked())

    assert document["burn"][0]["exhausted_s"] is None
    assert "three days" in document["burn"][0]["forecast_why"]


def test_a_limit_of_nothing_has_no_share_and_the_page_stands(served_folder, daily, page_client):
    text = PROJECT + LINES.replace("1 kWh", "0 kWh")

    client = page_client(served_folder(text, *daily(0.01), now=NOW))

    assert client.get("/budgets").status_code == 200
    row = client.get("/api/v1/pages/budgets").json()["tables"]["lines"]["rows"][0]
    assert row["share"] is None
    assert row["share_why"] == "the limit is 0"


def test_the_same_joules_twice_in_a_line_are_said_and_not_added(served_folder, made_receipt):
    begun = NOW - timedelta(hours=3)
    twice = [
        made_receipt(index, joules=1.0, start=begun, seconds=60.0, scope=scope, batch="a" * 32)
        for index, scope in enumerate((Scope.NODE, Scope.PACKAGE))
    ]

    document = budgets(served_folder(PROJECT + LINES, *twice, now=NOW), Asked())

    assert document["tables"]["lines"]["rows"] == []
    assert any("cannot be added up" in note for note in document["notes"])


def test_filters_keep_what_matches_and_refuse_what_nobody_is_called(served_folder, daily, page_client):
    served = served_folder(PROJECT + LINES, *daily(0.01), now=NOW)

    assert set(lines_of(budgets(served, Asked({"owner": "team-b"})))) == {"hum"}
    assert set(lines_of(budgets(served, Asked({"phase": "inference"})))) == {"serve"}
    with pytest.raises(FieldRefused):
        budgets(served, Asked({"owner": "team-c"}))
    assert page_client(served).get("/budgets?owner=team-c").status_code == 400


WAIVER = """
[[waiver]]
proposal = "larger"
content = "9c1185a5c5e9"
verdict = "2b8f61a9e1c4"
owner = "<img src=x onerror=alert(1)>"
reason = "a fair"
expires = {day}
"""


@pytest.mark.parametrize(
    ("day", "state"),
    [
        ("2026-11-16", "expired"),
        ("2026-11-17", "expires soon"),
        ("2026-11-30", "expires soon"),
        ("2027-06-30", "in force"),
    ],
)
def test_a_waiver_counts_up_to_its_day_and_not_on_it(served_folder, day, state):
    document = budgets(served_folder(PROJECT + LINES + WAIVER.format(day=day), now=NOW), Asked())

    (row,) = document["tables"]["waivers"]["rows"]
    assert row["state"] == state
    assert row["expires"].startswith(day)


def test_who_signs_a_waiver_is_shown_as_text(served_folder, page_client):
    text = page_client(served_folder(PROJECT + LINES + WAIVER.format(day="2027-06-30"), now=NOW)).get("/budgets").text

    assert "<img src=x" not in text
    assert "&lt;img src=x onerror=alert(1)&gt;" in text


ROADMAP = """
[[roadmap]]
feature = "search"
quarter = "2027Q1"
volume_per_month = 1e6
budget = "serve"
energy_per_unit = "1.1 J"
source = "an estimate"

[[roadmap]]
feature = "search"
quarter = "2027Q2"
volume_per_month = 1e8
budget = "serve"
energy_per_unit = "1.1 J"
source = "an estimate"
"""


def test_the_roadmap_is_a_grid_of_quarters_that_says_where_a_line_is_short(served_folder):
    document = budgets(served_folder(PROJECT + LINES + ROADMAP, now=NOW), Asked())

    grid = document["grid"]
    assert grid["quarters"] == ["2027Q1", "2027Q2"]
    (search,), (serve,) = grid["features"], grid["lines"]
    # 1e6 a month of 1.1 J over the 90 days of a quarter, a month being a twelfth of 365.2425 days.
    assert search["cells"][0]["energy_j"] == pytest.approx(1e6 * 1.1 * 90 / (365.2425 / 12))
    assert search["cells"][0]["state"] == "estimate"
    assert [cell["state"] for cell in serve["cells"]] == ["fits", "short"]


def test_two_looks_within_a_minute_are_alike(served_folder, daily, page_client):
    client = page_client(served_folder(PROJECT + LINES, *daily(0.01), now=NOW))

    first = client.get("/budgets")

    assert client.get("/budgets", headers={"If-None-Match": first.headers["etag"]}).status_code == 304
    json.dumps(client.get("/api/v1/pages/budgets").json(), allow_nan=False)
