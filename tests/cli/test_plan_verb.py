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


@pytest.mark.parametrize(
    ("old", "new", "args", "code", "said"),
    [
        ("2026-12-01", "9999-12-31", (), 2, "beyond the year 9999"),
        ('within = "12 h"', 'within = "1e300 h"', (), 2, "beyond the year 9999"),
        ('name = "a"', 'name = "a"', ("--time-limit", "nan"), 2, "time limit"),
        ('name = "a"', 'name = "a"', ("--file", "no-such.csv"), 2, "no-such.csv"),
        ('name = "a"', 'name = "a"', ("--backtest", "--every", "1e-9"), 2, "--every"),
        (
            'name = "a"',
            'name = "a"',
            ("--backtest", "--from", "0001-01-01T00:00Z", "--to", "0001-02-01T00:00Z"),
            2,
            "no history",
        ),
    ],
)
def test_arguments_beyond_reason_are_said_and_no_traceback(
    tmp_path: Path, old: str, new: str, args: tuple[str, ...], code: int, said: str
):
    done = refused(tmp_path, TWO.replace(old, new), *args)

    assert done.returncode == code
    assert said in done.stderr


@pytest.mark.parametrize(
    ("row", "said"),
    [("b,1e20 h,1 h,1 kW", "beyond the year 9999"), ("b,12 h,1 h,1 kW,7", "more cells"), ("b,12 h,nan h,1 kW", "nan")],
)
def test_a_row_of_a_queue_that_cannot_be_is_refused_with_its_line(tmp_path: Path, row: str, said: str):
    (tmp_path / "queue.csv").write_text(f"name,within,work,power\n{row}\n", encoding="utf-8")

    done = refused(tmp_path, TWO.replace('horizon = "24 h"', 'horizon = "24 h"\nqueue = "queue.csv"'))

    assert (done.returncode, "queue.csv:2" in done.stderr) == (2, True)
    assert said in done.stderr


def test_a_plan_is_checked_with_1_where_it_was_changed_and_0_where_not(tmp_path: Path):
    (tmp_path / "jobs.toml").write_text(TWO, encoding="utf-8")
    plan = tmp_path / "plan.json"
    assert outweigh(str(tmp_path / "jobs.toml"), "--no-frontier", "--out", str(plan)).returncode == 0

    sound = outweigh("--check", str(plan))
    again = outweigh("--replay", str(plan), "--json")
    plan.write_text(plan.read_text(encoding="utf-8").replace("5.76", "5.75"), encoding="utf-8")
    forged = outweigh("--check", str(plan), "--json")

    assert (sound.returncode, again.returncode, forged.returncode) == (0, 0, 1)
    assert sound.stdout.startswith("SOUND")
    assert json.loads(again.stdout)["same"] is True
    assert json.loads(forged.stdout)["sound"] is False


def test_a_gap_names_the_site_the_job_and_its_window(tmp_path: Path):
    lines = ["zone,start,end,value,unit,kind,scope,accounting,quality,source,licence"]
    for hour in (*range(5), *range(7, 24)):
        of = "gCO2e/kWh,average,lifecycle,production,declared,mine,CC0"
        end = f"2026-12-01T{hour + 1:02d}:00Z" if hour < 23 else "2026-12-02T00:00Z"
        lines.append(f"US-CAL-CISO,2026-12-01T{hour:02d}:00Z,{end},300,{of}")
    (tmp_path / "carbon.csv").write_text("\n".join(lines), encoding="utf-8")

    done = refused(
        tmp_path, TWO.replace('intensity = "300 gCO2e/kWh"\n', ""), "--file", str(tmp_path / "carbon.csv")
    )  # fmt: skip

    assert done.returncode == 4
    assert "carbon intensity at here" in done.stderr
    assert "window of job 'a'" in done.stderr
