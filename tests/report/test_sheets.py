"""The Monday digest, the roadmap and a business case: one model each, four forms."""

from __future__ import annotations

import json
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from outweigh.app.reporting import SHEET_FORMATS, sheet_report
from outweigh.app.sheets import digest, finance_sheet, roadmap
from outweigh.core.errors import UsageError
from outweigh.core.measurement import Grade
from outweigh.data.learned import Row, keep_rows
from outweigh.ledger import open_ledger

CASE = Path(__file__).parents[2] / "examples" / "finance" / "case.toml"
MONDAY = datetime(2026, 11, 23, 8, 0, tzinfo=UTC)
PROJECT = """
[project]
name = "support-triage"
unit = "ticket"
volume = {{ per_month = 3.0e6, low = 1.8e6 }}
[task]
adapter = "text-classification"
dataset = "tickets"
primary = {{ metric = "accuracy" }}
[variants.base]
model = "a.onnx"
[variants.int8]
from = "base"
levers = ["quantize:int8-dynamic"]
[variants.wider]
model = "c.onnx"
[gate]
incumbent = "base"
proposal = "int8"
[budget.serve]
phase = "inference"
total = {{ limit = "{limit}", per = "month" }}
owner = "team-support"
[[waiver]]
proposal = "int8"
content = "0123456789ab"
verdict = "0123456789ab"
owner = "product"
reason = "the fair"
expires = 2026-12-01
[[waiver]]
proposal = "wider"
content = "0123456789ab"
verdict = "0123456789ab"
owner = "product"
reason = "next spring"
expires = 2027-06-01
[[roadmap]]
feature = "filing"
quarter = "2026Q4"
variant = "base"
volume_per_month = 1.0e6
budget = "serve"
energy_per_unit = "50 J"
source = "a guess of 2025"
"""


@pytest.fixture
def project(tmp_path, made_run, monkeypatch):
    monkeypatch.setenv("OUTWEIGH_CALIBRATION", str(tmp_path / "calibration.json"))

    def make(limit="1 kWh"):
        (tmp_path / "energy.toml").write_text(PROJECT.format(limit=limit), encoding="utf-8")
        runs = []
        for index in range(6):
            # Int8 draws half of what is in service; the wider one the same, as near as six rounds tell.
            for turn, (variant, joules) in enumerate((("base", 1000.0), ("int8", 500.0), ("wider", 1000.0))):
                start = MONDAY - timedelta(days=2) + timedelta(minutes=index, seconds=20 * turn)
                joules *= 1 + 0.01 * ((index * 7 + len(variant)) % 3 - 1)
                runs.append(
                    made_run(joules, start=start, seconds=20.0, units=10.0, unit="ticket", variant=variant,
                             batch="b" * 8, round_index=index, half_j=1.0, labels=(("owner", "team-support"),))
                )  # fmt: skip
        store = open_ledger(tmp_path / "ledger.sqlite")
        store.append_all(runs)
        store.close()
        return tmp_path

    return make


def section(sheet, name):
    return next(one for one in sheet.sections if one.name == name)


def test_the_digest_says_whose_the_hum_is(project):
    folder = project()

    found = section(digest(folder, ledger=folder / "ledger.sqlite", now=MONDAY), "hum").rows

    assert [row.figures["owner"] for row in found] == ["team-support"]
    # A quarter of what 18 runs drew, by how the runs were made.
    assert found[0].figures["hum_j"] == pytest.approx(6 * (1000 + 500 + 1000) / 4, rel=0.02)


def test_the_digest_names_only_levers_that_are_sure_to_save(project):
    folder = project()

    rows = section(digest(folder, ledger=folder / "ledger.sqlite", now=MONDAY), "levers").rows

    assert [row.figures["lever"] for row in rows] == ["int8"]
    assert rows[0].figures["saving"] == pytest.approx(0.5, abs=0.02)
    assert rows[0].figures["keeps_quality"] is None


def test_the_digest_heads_itself_with_a_saving_only_where_quality_was_judged_and_kept(project):
    folder = project()

    key = dict(digest(folder, ledger=folder / "ledger.sqlite", now=MONDAY).key)

    assert key["largest saving that keeps quality"] == "none judged"


def test_the_digest_tells_nothing_of_another_project_in_the_same_ledger(project):
    folder = project()
    path = folder / "energy.toml"
    path.write_text(path.read_text().replace('name = "support-triage"', 'name = "another"'))

    sheet = digest(folder, ledger=folder / "ledger.sqlite", now=MONDAY)

    assert not section(sheet, "hum").rows
    assert not section(sheet, "levers").rows


def test_most_of_the_hum_is_somebody_s_only_above_half(project, made_run):
    folder = project()
    ledger = folder / "ledger.sqlite"
    with closing(open_ledger(ledger)) as store:
        for team in ("team-a", "team-b", "team-c"):
            start = MONDAY - timedelta(hours=12)
            store.append(made_run(20_000.0, start=start, seconds=60.0, labels=(("owner", team),)))

    lead = digest(folder, ledger=ledger, now=MONDAY).lead

    assert "most" not in lead
    assert "%" in lead


@pytest.mark.parametrize(("limit", "lines"), [("1 kWh", 0), ("1 Wh", 1)])
def test_the_digest_shows_budgets_at_risk_and_no_others(project, limit, lines):
    folder = project(limit)

    sheet = digest(folder, ledger=folder / "ledger.sqlite", now=MONDAY)

    assert len(section(sheet, "budgets").rows) == lines
    assert not sheet.calm  # a waiver ends soon either way


def test_the_digest_tells_of_waivers_before_they_end(project):
    folder = project()

    rows = section(digest(folder, ledger=folder / "ledger.sqlite", now=MONDAY), "waivers").rows

    assert [(row.figures["proposal"], row.cells[2]) for row in rows] == [("int8", "8 d")]


def test_the_digest_holds_what_was_planned_against_what_was_measured(project):
    folder = project()

    (row,) = section(digest(folder, ledger=folder / "ledger.sqlite", now=MONDAY), "drift").rows

    # 100 J a ticket were measured where 50 J were planned.
    assert row.figures["ratio"] == pytest.approx(2.0, rel=0.01)
    assert row.figures["ratio_low"] < 2.0 < row.figures["ratio_high"]


def test_an_estimate_that_was_reconciled_this_week_is_told_of_with_its_doubt(project):
    folder = project()
    for days, ratio in ((1, 1.2), (30, 3.0)):
        at = (MONDAY - timedelta(days=days)).isoformat()
        keep_rows([Row("nvidia-l4 training", (f"receipt-{days}",), ratio, 0.05, Grade.B, "gpu", at)])

    rows = section(digest(folder, ledger=folder / "ledger.sqlite", now=MONDAY), "drift").rows

    (own,) = [row for row in rows if row.figures["what"] == "nvidia-l4 training"]
    assert own.figures["ratio"] == 1.2
    assert (own.figures["ratio_low"], own.figures["ratio_high"]) == pytest.approx((1.08, 1.32))


def test_a_week_without_receipts_is_said_and_not_zero(project):
    folder = project()

    sheet = digest(folder, ledger=folder / "ledger.sqlite", now=MONDAY + timedelta(days=60))

    assert dict(sheet.key)["hum"] == "not measured"
    assert sheet.figures["hum_j"] is None


def test_the_roadmap_as_a_sheet_holds_the_rows_of_the_command(project):
    from outweigh.app.roadmapping import roadmap_rows

    folder = project()

    rows = section(roadmap(folder, ledger=folder / "ledger.sqlite", now=MONDAY), "roadmap").rows

    assert [row.figures for row in rows] == roadmap_rows(folder, ledger=folder / "ledger.sqlite", now=MONDAY)


def test_a_business_case_as_a_sheet_holds_the_figures_of_the_what_if():
    from outweigh.app.whatif_finance import finance

    sheet = finance_sheet(CASE, scenarios=50)
    document = finance(CASE, scenarios=50).document

    assert [row.figures["gain"] for row in section(sheet, "ways").rows] == [way["gain"] for way in document["ways"]]
    cash = [row.figures["int8, cash in EUR"] for row in section(sheet, "cash-flow").rows]
    assert cash == next(way["cash"] for way in document["ways"] if way["way"] == "int8")
    swings = [row.figures["swing"] for row in section(sheet, "tornado").rows]
    assert swings == [bar["swing"] for bar in document["tornado"]["int8"]]


@pytest.mark.parametrize("form", SHEET_FORMATS)
def test_every_form_of_a_sheet_can_be_written_and_holds_its_title(project, tmp_path, form):
    folder = project()
    sheet = digest(folder, ledger=folder / "ledger.sqlite", now=MONDAY)

    sheet_report(sheet, form, MONDAY).write(tmp_path / "out")

    text = (tmp_path / "out").read_text(encoding="utf-8")
    assert ("team-support" if form == "csv" else "support-triage: energy this week") in text
    if form == "json":
        assert json.loads(text)["schema"] == "outweigh.report/1"


def test_a_table_is_chosen_by_name_and_an_unknown_one_names_those_there_are(project):
    folder = project()
    sheet = digest(folder, ledger=folder / "ledger.sqlite", now=MONDAY)

    assert sheet_report(sheet, "csv", MONDAY, table="levers").text().startswith("lever,energy_ratio")
    with pytest.raises(UsageError, match="hum"):
        sheet_report(sheet, "csv", MONDAY, table="levels").text()
