"""The page of a run: complete, offline, safe against what a name may hold, and plain about what was not saved."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from outweigh.app.planning import plan_file
from outweigh.app.supervising import Options, run_plan, write_report
from outweigh.registry import exporters, job_executors

from .test_report_exporters import ATTACK, Page

FAST = 40_000.0
JOBS = """
[plan]
from = "2026-12-01T00:00Z"
horizon = "24 h"
carbon_price = "100 EUR/t"
[site.{site}]
zone = "DE"
pue = 1.2
capacity = "40 kW"
price = "0.10 EUR/kWh"
[[job]]
name = {job}
within = "20 h"
work = "6 h"
power = "8 kW"
count = 2
command = ["true"]
[[job]]
name = "second"
within = "22 h"
work = "2 h"
power = "10 kW"
command = ["true"]
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What came of a plan of three jobs at one site that is as clean at any time; simulated."""
    folder = tmp_path_factory.mktemp("jobs")
    (folder / "jobs.toml").write_text(
        JOBS.format(site=json.dumps(ATTACK), job=json.dumps(f"job {ATTACK}")), encoding="utf-8"
    )
    plan = plan_file(folder / "jobs.toml", frontier=False).document
    options = Options(
        on="simulated", executor=job_executors.get("simulated")({ATTACK: None}), clock_factor=FAST, every_s=0.05,
        ledger=folder / "ledger.sqlite", project="made-up",
    )  # fmt: skip
    return json.loads(json.dumps(run_plan(plan, "plan.json", options)))


def page(document: dict[str, Any], folder: Path) -> tuple[str, Page]:
    path = folder / "run.html"
    write_report(document, path)
    text = path.read_text(encoding="utf-8")
    return text, Page(text)


def words(parsed: Page) -> str:
    return parsed.text().replace("\N{NO-BREAK SPACE}", " ")


def saved(document: dict[str, Any], kg: float, low: float | None, high: float | None) -> dict[str, Any]:
    """The document as if so much carbon had been saved."""
    changed = copy.deepcopy(document)
    carbon = changed["saving"]["carbon"]
    carbon.update(saved_kg=kg, low_kg=low, high_kg=high, share=kg / carbon["at_once_kg"])
    return changed


def test_a_page_of_a_run_closes_its_tags_loads_nothing_and_shows_hostile_names_as_text(
    run: dict[str, Any], tmp_path: Path
):
    text, parsed = page(run, tmp_path)

    assert parsed.open == []
    assert "default-src 'none'" in text
    assert not any(tag in ("img", "link", "iframe") or "src" in of for tag, of in parsed.tags)
    assert "evil.example" in parsed.text()
    data = json.loads(parsed.scripts[0])
    assert data["sites"][0]["name"] == ATTACK
    assert len(data["jobs"]) == 3


def test_every_job_stands_beside_its_prediction_and_a_trial_says_so(run: dict[str, Any], tmp_path: Path):
    _, parsed = page(run, tmp_path)

    shown = words(parsed)
    # 6 h x 8 kW; with the PUE, of all three: (2 x 48 + 20) x 1.2
    assert shown.count("48 kWh, ±0 %") == 2
    assert "139 kWh" in shown
    assert "planned 12-01" in shown
    assert "3 of 3 jobs done in time" in shown
    assert "A trial: its clock ran 40000 times as fast" in shown
    assert "grade D" in shown
    assert "Ember" in shown


def test_nothing_saved_is_said_and_drawn_as_nothing(run: dict[str, Any], tmp_path: Path):
    _, parsed = page(run, tmp_path)

    # The zone's year says where and not when: at one site no hour is cleaner than another.
    carbon = run["saving"]["carbon"]
    assert (carbon["saved_kg"], carbon["low_kg"], carbon["high_kg"]) == (0.0, 0.0, 0.0)
    assert "No less carbon" in words(parsed)
    assert "It holds zero: as much may be chance" in words(parsed)
    assert json.loads(parsed.scripts[0])["savings"][0]["share"] == 0.0


def test_a_loss_is_shown_as_one(run: dict[str, Any], tmp_path: Path):
    text, parsed = page(saved(run, -4.0, -6.0, -2.0), tmp_path)

    assert 'class="band fail"' in text
    assert "% more carbon" in words(parsed)
    assert "4 kg of CO2e more than" in words(parsed)
    assert json.loads(parsed.scripts[0])["savings"][0]["high"] < 0


def test_a_saving_of_one_job_has_no_interval_and_none_is_made_up(run: dict[str, Any], tmp_path: Path):
    text, parsed = page(saved(run, 4.0, None, None), tmp_path)

    assert 'class="band inconclusive"' in text
    assert "needs two jobs" in words(parsed)
    assert json.loads(parsed.scripts[0])["savings"][0]["low"] is None


def test_deadlines_come_before_savings_in_the_headline(run: dict[str, Any], tmp_path: Path):
    document = saved(run, 4.0, 2.0, 6.0)
    job = document["jobs"][0]
    job["deadline"], job["deadline_met"] = "2026-12-01T00:10:00+00:00", False
    document["counts"].update(late=1, in_time=2)

    text, parsed = page(document, tmp_path)

    assert 'class="band fail"' in text
    assert "1 of 3 jobs not in time" in words(parsed)
    assert "min late" in words(parsed)
    assert "than starting at once;" not in words(parsed)


def test_carbon_that_is_not_known_is_no_saving_of_zero(run: dict[str, Any], tmp_path: Path):
    document = copy.deepcopy(run)
    for each in (document["predicted"], document["actual"], document["at_once"]):
        each["carbon_kg"] = None
    for job in document["jobs"]:
        job["actual"]["carbon_kg"] = job["planned"]["carbon_kg"] = None
    for of, unit in (("carbon", "kg"), ("objective", "currency")):
        nothing = dict.fromkeys((f"saved_{unit}", f"low_{unit}", f"high_{unit}", f"at_once_{unit}", "share"))
        document["saving"][of].update(nothing, jobs=0, left_out=document["saving"][of]["jobs"])
    for site in document["sites"]:
        site["intensity_g_per_kwh"] = [None] * len(site["intensity_g_per_kwh"])

    _, parsed = page(document, tmp_path)

    assert "Carbon not known" in words(parsed)
    assert [one["what"] for one in json.loads(parsed.scripts[0])["savings"]] == ["cost of energy"]


def test_a_job_that_never_began_is_listed_with_its_plan(run: dict[str, Any], tmp_path: Path):
    document = copy.deepcopy(run)
    job = document["jobs"][2]
    job.update(actual=None, at_once=None, stints=[], state="refused", deadline_met=False)

    _, parsed = page(document, tmp_path)

    assert "refused" in words(parsed)
    assert any(one["stints"] == [] for one in json.loads(parsed.scripts[0])["jobs"])


def test_the_exporter_is_known_by_its_file_name():
    assert exporters.get("run-html")().name == "run-html"
