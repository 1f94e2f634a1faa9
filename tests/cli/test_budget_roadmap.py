"""`outweigh budget roadmap`: feature by quarter, measured where it can be, an estimate where it cannot."""

import csv
import importlib.util
import io
import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from outweigh.app.roadmapping import ESTIMATE_FACTOR, roadmap_rows, roadmap_sentences
from outweigh.core.budget import Phase
from outweigh.core.constants import J_PER_KWH, S_PER_MONTH
from outweigh.core.receipt import Latency, Quality
from outweigh.core.roadmap import Quarter
from outweigh.ledger import open_ledger

OUTWEIGH = str(Path(sys.executable).with_name("outweigh"))
MADE = Path(__file__).parents[1] / "stores" / "made_receipts.py"
NOW = datetime(2026, 11, 24, tzinfo=UTC)
PROJECT = """
[project]
name = "p"
unit = "item"
volume = { per_month = 1000.0 }
[task]
adapter = "text-classification"
dataset = "items.csv"
primary = { metric = "accuracy" }
[variants.base]
model = "base.onnx"
[variants.later]
model = "later.onnx"
[budget.company]
phase = "inference"
total = { limit = "1 kWh", per = "month" }
[budget.serve]
phase = "inference"
parent = "company"
total = { limit = "0.9 kWh", per = "month" }
[site.home]
zone = "DE"
capacity = "1 kW"
pue = 1.5
price = "0.20 EUR/kWh"
[[roadmap]]
feature = "triage"
quarter = "2026Q3"
volume_per_month = 1000.0
variant = "base"
budget = "serve"
energy_per_unit = "50 J"
source = "a guess"
[[roadmap]]
feature = "triage"
quarter = "2027Q2"
volume_per_month = 0.0
[[roadmap]]
feature = "summaries"
quarter = "2027Q1"
volume_per_month = 20000.0
budget = "serve"
energy_per_unit = "100 J"
source = "a data sheet"
[[roadmap]]
feature = "search"
quarter = "2027Q1"
volume_per_month = 5.0
variant = "later"
"""


@pytest.fixture
def project(tmp_path):
    """Two sittings measured `base`: an old one at 400 J a unit, and one at about 100 J."""
    spec = importlib.util.spec_from_file_location("made_receipts_for_the_roadmap", MADE)
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    (tmp_path / "energy.toml").write_text(PROJECT)
    store = open_ledger(tmp_path / ".outweigh" / "ledger.sqlite", create=True)
    for number, joules in enumerate([4000.0, 4000.0, 990.0, 1000.0, 1010.0]):
        receipt = made.made_receipt(
            number, joules=joules, start=made.EPOCH + timedelta(hours=number), phase=Phase.DEVELOPMENT,
            batch="old" if number < 2 else "new", variant="base", project="p",
        )  # fmt: skip
        for field, value in {
            "round_index": number,
            "units": 10.0,
            "quality": (Quality("accuracy", 0.9 + number / 1000, 400),),
            "latency": Latency(5.0, 5.0, 8.0 + number, 10),
        }.items():
            object.__setattr__(receipt, field, value)
        store.append(receipt)
    store.close()
    return tmp_path


def rows_of(project):
    return {(row["feature"], row["quarter"]): row for row in roadmap_rows(project / "energy.toml", now=NOW)}


def test_each_feature_holds_from_its_quarter_until_its_next_entry(project):
    assert list(rows_of(project)) == [
        ("triage", "2026Q4"), ("triage", "2027Q1"), ("summaries", "2027Q1"), ("search", "2027Q1"),
        ("summaries", "2027Q2"), ("search", "2027Q2"),
    ]  # fmt: skip


def test_what_was_measured_last_counts_with_its_interval_and_grade_and_is_held_against_the_plan(project):
    row = rows_of(project)["triage", "2026Q4"]
    assert row["state"] == "measured"
    assert row["energy_per_unit_j"] == pytest.approx(100.0)
    assert row["energy_per_unit_low_j"] < 100.0 < row["energy_per_unit_high_j"]
    assert row["measured_over_planned"] == pytest.approx(2.0)
    assert row["quality"] == pytest.approx(0.903)
    assert row["p95_ms"] == pytest.approx(11.0)
    assert row["source"]


def test_what_was_not_measured_is_an_estimate_of_grade_d_with_a_wide_interval_and_its_source(project):
    row = rows_of(project)["summaries", "2027Q1"]
    assert (row["state"], row["grade"], row["source"]) == ("estimate", "D", "a data sheet")
    assert row["energy_per_unit_high_j"] / row["energy_per_unit_low_j"] == pytest.approx(ESTIMATE_FACTOR**2)


def test_a_variant_without_receipt_or_plan_has_no_figure_and_is_never_zero(project):
    row = rows_of(project)["search", "2027Q1"]
    figures = ("energy_per_unit_j", "energy_j", "money", "carbon_kg", "quality", "grade")
    assert [row[key] for key in figures] == [None] * len(figures)


def test_energy_money_and_carbon_add_up_by_hand(project):
    row = rows_of(project)["summaries", "2027Q1"]
    months = Quarter(2027, 1).interval.seconds / S_PER_MONTH
    assert row["energy_j"] == pytest.approx(100.0 * 20_000 * months)
    assert row["money"] == pytest.approx(row["energy_j"] / J_PER_KWH * 1.5 * 0.20)
    assert row["currency"] == "EUR"
    assert row["carbon_kg"] > 0
    assert row["factors"]


def test_the_headroom_is_that_of_the_tightest_line_once_every_feature_is_served(project):
    rows = rows_of(project)
    month_share = Quarter(2027, 1).interval.seconds / S_PER_MONTH
    drawn_j = rows["triage", "2027Q1"]["energy_j"] + rows["summaries", "2027Q1"]["energy_j"]
    row = rows["summaries", "2027Q1"]
    assert row["headroom_line"] == "serve"
    assert row["headroom_j"] == pytest.approx(0.9 * J_PER_KWH * month_share - drawn_j)
    assert row["headroom_low_j"] < row["headroom_j"]


def test_a_line_that_does_not_hold_what_is_planned_is_said(project):
    text = PROJECT.replace("20000.0", "40000.0")
    (project / "energy.toml").write_text(text)
    said = roadmap_sentences(list(rows_of(project).values()))
    assert any(one.startswith("2027Q1: serve is short of") for one in said)


@pytest.mark.parametrize("as_format", ["table", "markdown", "csv"])
def test_the_roadmap_is_a_table_a_markdown_table_and_csv_at_full_precision(project, as_format):
    done = subprocess.run(
        [OUTWEIGH, "budget", "roadmap", "--format", as_format], capture_output=True, text=True, check=True, cwd=project
    )
    assert "summaries" in done.stdout
    if as_format == "csv":
        found = {row["feature"]: row for row in csv.DictReader(io.StringIO(done.stdout))}
        assert float(found["summaries"]["energy_per_unit_j"]) == 100.0
        assert found["search"]["energy_j"] == ""
    else:
        assert "an estimate of grade D, from a data sheet" in done.stdout


def test_a_project_without_a_roadmap_says_how_to_begin_one(project):
    (project / "energy.toml").write_text(PROJECT[: PROJECT.index("[[roadmap]]")])
    done = subprocess.run([OUTWEIGH, "budget", "roadmap"], capture_output=True, text=True, check=False, cwd=project)
    assert (done.returncode, done.stdout) == (0, "")
    assert "[[roadmap]]" in done.stderr
    as_json = subprocess.run(
        [OUTWEIGH, "budget", "roadmap", "--json"], capture_output=True, text=True, check=True, cwd=project
    )
    assert [json.loads(line) for line in as_json.stdout.splitlines()] == []
