"""`outweigh run` from the outside."""

import json
import subprocess
import sys
from contextlib import closing

import pytest

from outweigh.backends.stores.sqlite import SqliteStore
from outweigh.cli.main import run
from outweigh.ports import ReceiptFilter
from outweigh.run.settling import JOB, PREDICTED_J, PREDICTED_S, RAN_S

FLAT = "static:DE=300 gCO2e/kWh"


def outweigh(*args, cwd):
    return subprocess.run(
        [sys.executable, "-m", "outweigh", *args], cwd=cwd, capture_output=True, text=True, timeout=120, check=False
    )


@pytest.fixture
def plan(tmp_path, day):
    path = tmp_path / "plan.json"
    jobs = [day.job(f"train-{i}", work_h=2.0, deadline=20) for i in range(3)]
    path.write_text(json.dumps(day.planned(jobs)))
    return path


def test_a_plan_is_tried_on_a_fast_clock_and_reported(plan, tmp_path):
    out = tmp_path / "run.json"

    done = outweigh(
        "run", str(plan), "--on", "simulated:fr,se", "--clock-factor", "20000", "--every", "0.1", "--json", "--gantt",
        "--out", str(out), "--out", "run.html", cwd=tmp_path,
    )  # fmt: skip

    report = json.loads(done.stdout)
    assert done.returncode == 0, done.stderr
    assert report == json.loads(out.read_text())
    assert report["counts"]["completed"] == 3
    assert report["trial"]
    assert {"saved_kg", "low_kg", "high_kg", "share"} <= set(report["saving"]["carbon"])
    assert "3 of 3 jobs done in time" in (tmp_path / "run.html").read_text(encoding="utf-8")


def test_a_trial_leaves_no_receipt_for_anybody_to_add_up(plan, tmp_path):
    tried = ("run", str(plan), "--on", "simulated:fr,se", "--clock-factor", "20000", "--every", "0.1")

    done = outweigh(*tried, cwd=tmp_path)
    kept = outweigh("ledger", "list", "--json", cwd=tmp_path)
    again = outweigh(*tried, "--json", cwd=tmp_path)

    assert "no receipt is kept" in done.stderr
    assert (kept.returncode, kept.stdout) == (0, "")
    assert json.loads(again.stdout)["counts"]["completed"] == 3


def test_the_table_and_the_chart_name_every_job(plan, tmp_path):
    done = outweigh(
        "run",
        str(plan),
        "--on",
        "simulated:fr,se",
        "--clock-factor",
        "20000",
        "--every",
        "0.1",
        "--gantt",
        cwd=tmp_path,
    )

    assert done.returncode == 0, done.stderr
    assert all(done.stdout.count(f"train-{i}") == 2 for i in range(3))
    assert "gCO2e/kWh" in done.stdout
    assert "a trial" in done.stderr


def test_a_command_that_waits_for_nothing_passes_output_and_code_through(tmp_path):
    done = outweigh(
        "run", "--when", "now", "--deadline", "1h", "--expect", "1s", "--zone", "DE", "--", sys.executable, "-c",
        "print('hello'); raise SystemExit(7)", cwd=tmp_path,
    )  # fmt: skip

    assert done.returncode == 7
    assert done.stdout == "hello\n"
    assert "receipt" in done.stderr


def test_a_command_learns_how_long_it_runs_from_the_times_it_ran_here(tmp_path):
    ask = ("run", "--when", "now", "--deadline", "6h", "--zone", "DE", "--offline", "--name", "nightly")
    command = ("--", sys.executable, "-c", "import time; time.sleep(0.5)")

    nobody_said = outweigh(*ask, *command, cwd=tmp_path)
    outweigh(*ask, "--expect", "30min", "--power", "100W", *command, cwd=tmp_path)
    third = outweigh(*ask, "--json", *command, cwd=tmp_path)

    assert "nobody says how long it runs" in nobody_said.stderr
    assert "the mean of 2 earlier receipts" in third.stderr
    with closing(SqliteStore.open(tmp_path / ".outweigh" / "ledger.sqlite")) as store:
        first, second, last = (dict(receipt.labels) for _, receipt in store.receipts(ReceiptFilter()))
    assert not {PREDICTED_S, PREDICTED_J} & set(first)  # half of a window is no prediction
    assert (second[PREDICTED_S], second[PREDICTED_J]) == ("1800.0", "180000.0")
    assert PREDICTED_J not in last  # nobody said what it draws
    assert 0.5 < float(last[PREDICTED_S]) < 60


def test_a_command_is_not_waited_for_where_every_hour_is_alike(tmp_path):
    done = outweigh(
        "run", "--when", "clean", "--deadline", "12h", "--expect", "1h", "--zone", "DE", "--source", FLAT, "--json",
        "--", "true", cwd=tmp_path,
    )  # fmt: skip

    assert done.returncode == 0, done.stderr
    assert "would save 0.0% only" in json.loads(done.stdout)["why"]


def test_with_its_source_out_of_reach_the_command_runs_now_and_that_is_said(tmp_path, monkeypatch):
    monkeypatch.setenv("OUTWEIGH_GRID_URL_ENERGY_CHARTS", "http://127.0.0.1:9")
    monkeypatch.setenv("OUTWEIGH_CACHE_DIR", str(tmp_path / "cache"))

    done = outweigh(
        "run",
        "--when",
        "clean",
        "--expect",
        "1h",
        "--zone",
        "DE",
        "--source",
        "energy-charts",
        "--",
        "true",
        cwd=tmp_path,
    )

    assert done.returncode == 0, done.stderr
    assert "says where, and not when" in done.stderr
    assert "starts now" in done.stderr


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["run"], "give one"),
        (["run", "--", "true"], "--zone"),
        (["run", "--when", "sunny", "--zone", "DE", "--", "true"], "sunny"),
        (["run", "--deadline", "soon", "--zone", "DE", "--", "true"], "72h"),
        (["run", "--deadline", "0h", "--zone", "DE", "--", "true"], "window"),
        (["run", "--expect=-1h", "--zone", "DE", "--", "true"], "run time"),
        (["run", "--power", "much", "--zone", "DE", "--", "true"], "2kW"),
        (["run", "nothing.json"], "cannot be read"),
        (["run", "--zone", "Atlantis", "--offline", "--", "true"], "Atlantis"),
        (["run", "--on", "cloud9", "--zone", "DE", "--offline", "--", "true"], "cloud9"),
        (["run", "--frobnicate"], "frobnicate"),
        (["run", "--out", "run.html", "--zone", "DE", "--", "true"], "a page is made of a PLAN"),
        (["run", "plan.json", "--out", "run.pdf"], "run.html"),
        (["run", "plan.json", "--out", "nowhere/run.html"], "Make the folder"),
    ],
)
def test_slips_end_with_125_and_a_sentence(args, said, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("OUTWEIGH_ZONE", raising=False)

    assert run(args) == 125
    assert said in capsys.readouterr().err


def test_a_command_that_is_not_there_ends_with_127(tmp_path):
    done = outweigh(
        "run", "--when", "now", "--expect", "1s", "--zone", "DE", "--", "no-such-command-here", cwd=tmp_path
    )

    assert done.returncode == 127


def test_a_plan_for_sites_that_the_executor_has_not_is_refused(plan, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)

    assert run(["run", str(plan), "--on", "simulated:mars"]) == 125
    assert "mars" in capsys.readouterr().err
    assert run(["run", str(plan), "--on", "simulated"]) == 125
    assert "none to choose from" in capsys.readouterr().err


def test_plans_that_are_followed_are_listed(plan, tmp_path):
    outweigh("run", str(plan), "--on", "simulated:fr,se", "--clock-factor", "20000", "--every", "0.1", cwd=tmp_path)

    listed = json.loads(outweigh("run", "--list", "--json", cwd=tmp_path).stdout)

    assert (listed["jobs"], listed["over"], listed["leader"]) == (3, True, "nobody")


def test_a_plan_is_corrected_by_receipts_and_says_from_how_many(tmp_path, monkeypatch, capsys):
    from datetime import UTC, datetime, timedelta

    from outweigh.core.budget import Phase
    from outweigh.core.intervals import Interval
    from outweigh.core.measurement import Grade, Measurement, Method, Scope
    from outweigh.core.quantities import Energy
    from outweigh.core.receipt import Receipt, RunStatus

    monkeypatch.chdir(tmp_path)
    began = datetime(2026, 11, 1, tzinfo=UTC)
    with closing(SqliteStore.open(tmp_path / "ledger.sqlite")) as store:
        for i in range(3):
            # Predicted 2 h at 10 kW; it took 4 h at 5 kW.
            total = Measurement(
                Energy(7.2e7),
                Interval(began, began + timedelta(hours=4)),
                Scope.NODE,
                Grade.B,
                Method.COUNTER,
                "made up",
            )
            labels = {JOB: "train", RAN_S: "14400.0", PREDICTED_S: "7200.0", PREDICTED_J: "7.2e7"}
            store.append(
                Receipt(
                    f"run-{i}",
                    "made-up",
                    Phase.TRAINING,
                    RunStatus.COMPLETED,
                    total,
                    None,
                    None,
                    labels=tuple(sorted(labels.items())),
                )
            )
    (tmp_path / "jobs.toml").write_text(
        '[plan]\nfrom = "2026-12-01T00:00Z"\nhorizon = "24 h"\n[site.fr]\nzone = "FR"\npue = 1.2\n'
        'price = "0.1 EUR/kWh"\nintensity = "50 gCO2e/kWh"\n'
        '[[job]]\nname = "train"\nwithin = "20 h"\nwork = "2 h"\npower = "10 kW"\n'
        '[[job]]\nname = "new"\nwithin = "20 h"\nwork = "2 h"\npower = "10 kW"\n'
    )

    assert run(["plan", "jobs.toml", "--learn", "ledger.sqlite", "--json", "--no-frontier"]) == 0

    plan = json.loads(capsys.readouterr().out)
    train, new = plan["jobs"]
    # n receipts weigh n / (n + 1): here 2 to the power of 3/4, and its inverse.
    assert train["work_h"] == pytest.approx(2 * 2**0.75)
    assert train["levels"][0]["power_w"] == pytest.approx(1e4 / 2**0.75)
    assert (new["work_h"], new["levels"][0]["power_w"]) == (2.0, 1e4)
    assert any("3 receipts" in text for text in plan["notes"])
