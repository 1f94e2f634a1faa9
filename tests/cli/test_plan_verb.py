"""`outweigh plan`: a file of jobs in, a plan, a page and a proof out; and what it says of bad ones."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import datetime
from pathlib import Path

import pytest

OUTWEIGH = str(Path(sys.executable).with_name("outweigh"))
EXAMPLE = Path(__file__).parents[2] / "examples" / "plan" / "jobs.toml"
TWO = """
[plan]
from = "2026-12-01T00:00Z"
horizon = "24 h"
[site.here]
zone = "US-CAL-CISO"
pue = 1.2
capacity = "10 kW"
price = "0.10 USD/kWh"
intensity = "300 gCO2e/kWh"
[[job]]
name = "a"
within = "12 h"
work = "6 h"
power = "8 kW"
"""


def outweigh(*args: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run([OUTWEIGH, "plan", *args], capture_output=True, text=True, timeout=240, check=False)
    assert "Traceback" not in done.stderr, done.stderr
    return done


def refused(folder: Path, text: str, *args: str) -> subprocess.CompletedProcess[str]:
    (folder / "jobs.toml").write_text(text, encoding="utf-8")
    done = outweigh(str(folder / "jobs.toml"), *args)
    assert done.stdout == ""
    return done


@pytest.fixture(scope="module")
def planned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("plan")
    done = outweigh(
        str(EXAMPLE), "--source", "typical", "--out", str(folder / "plan.json"), "--out", str(folder / "plan.html")
    )
    assert done.returncode == 0, done.stderr
    assert "finetune" in done.stdout
    assert "certificate: cost and priced carbon come to" in done.stderr
    return folder


def test_the_plan_file_keeps_every_job_in_its_window_and_every_site_in_its_capacity(planned: Path):
    plan = json.loads((planned / "plan.json").read_text(encoding="utf-8"))

    for job in plan["jobs"]:
        assert datetime.fromisoformat(job["release"]) <= datetime.fromisoformat(job["start"])
        assert datetime.fromisoformat(job["end"]) <= datetime.fromisoformat(job["deadline"])
        assert sum(piece["energy_kwh"] * piece["count"] for piece in job["pieces"]) == pytest.approx(job["energy_kwh"])
    for site in plan["sites"]:
        assert all(kw <= limit + 1e-6 for kw, limit in zip(site["load_kw"], site["capacity_kw"], strict=True))
    assert next(job for job in plan["jobs"] if job["name"] == "nightly-eval")["sites"] == ["california"]


def test_the_figures_of_the_plan_add_up_and_its_certificate_holds_a_bound_below_it(planned: Path):
    plan = json.loads((planned / "plan.json").read_text(encoding="utf-8"))

    facility = sum(site["facility_energy_kwh"] for site in plan["sites"])
    carbon_kg = sum(site["carbon_kg"] for site in plan["sites"])
    certificate = plan["certificate"]
    assert facility == pytest.approx(plan["facility_energy_kwh"])
    assert carbon_kg == pytest.approx(plan["plan"]["carbon_kg"])
    assert plan["plan"]["objective"] == pytest.approx(plan["plan"]["cost"] + plan["plan"]["carbon_kg"] / 1e3 * 100)
    assert certificate["lower_bound"] <= certificate["objective"] <= plan["against"][0]["objective"]
    assert {source["grade"] for site in plan["sites"] for source in site["sources"].values()} == {"D"}


def test_the_page_holds_the_jobs_and_loads_nothing_from_anywhere(planned: Path):
    page = (planned / "plan.html").read_text(encoding="utf-8")

    assert "default-src 'none'" in page
    assert "pretrain-ablation" in page
    assert 'src="http' not in page
    assert "typical day" in page


def test_json_is_one_object_with_units_in_the_keys(tmp_path: Path):
    (tmp_path / "jobs.toml").write_text(TWO, encoding="utf-8")

    body = json.loads(outweigh(str(tmp_path / "jobs.toml"), "--json", "--no-frontier").stdout)

    # 6 h x 8 kW x 1.2 = 57.6 kWh, at 0.10 USD and 300 g each.
    assert body["facility_energy_kwh"] == pytest.approx(57.6)
    assert body["plan"]["cost"] == pytest.approx(5.76)
    assert body["plan"]["carbon_kg"] == pytest.approx(17.28)
    assert body["frontier"] == []


@pytest.mark.parametrize(
    ("old", "new", "code", "said"),
    [
        ('work = "6 h"', 'work = "13 h"', 2, "longer than its window"),
        ('capacity = "10 kW"', 'capacity = "0 W"', 2, "draws 8 kW"),
        ('capacity = "10 kW"', 'capacity = "7 kW"', 2, "'a'"),
        ('zone = "US-CAL-CISO"', 'zone = "US-CAL-CIS"', 2, "US-CAL-CISO"),
        (
            'zone = "US-CAL-CISO"\npue = 1.2\ncapacity = "10 kW"\nprice = "0.10 USD/kWh"',
            'zone = "JP"\npue = 1.2\ncapacity = "10 kW"',
            4,
            "electricity price",
        ),
        ('horizon = "24 h"', 'horizon = "5 h"', 2, "what is known ends before"),
        ("pue = 1.2\n", "", 4, "pue = 1.25"),
    ],
)
def test_what_cannot_be_planned_is_said_with_the_job_and_what_to_do(
    tmp_path: Path, old: str, new: str, code: int, said: str
):
    text = TWO.replace(old, new)
    assert text != TWO

    done = refused(tmp_path, text)

    assert done.returncode == code
    assert said in done.stderr


def test_a_file_that_is_not_there_or_a_page_nobody_may_write_is_no_traceback(tmp_path: Path):
    assert "no such file" in refused_path(tmp_path / "none.toml").stderr
    (tmp_path / "jobs.toml").write_text(TWO, encoding="utf-8")
    done = outweigh(str(tmp_path / "jobs.toml"), "--out", str(tmp_path / "no" / "such" / "plan.json"))
    assert done.returncode == 2
    assert "plan.json" in done.stderr


def refused_path(path: Path) -> subprocess.CompletedProcess[str]:
    done = outweigh(str(path))
    assert (done.returncode, done.stdout) == (2, "")
    return done
