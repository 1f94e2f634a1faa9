"""The pytest plugin, in pytest runs of their own."""

import json
import os
import subprocess
import sys
import xml.etree.ElementTree as Tree
from importlib.metadata import entry_points

import pytest

from outweigh.app import opened
from outweigh.core.receipt import RunStatus
from outweigh.ports import ReceiptFilter

TESTS = """
import time
import pytest

@pytest.mark.energy_budget({budget!r})
def test_marked():
    time.sleep(0.2)

def test_unmarked():
    pass
"""


@pytest.fixture
def run(tmp_path):
    """Run pytest on TESTS with a meter that plays `watts`; energy is exact but for the sleep's own length."""

    def go(budget, *options, watts=50.0, body=TESTS):
        (tmp_path / "trace.csv").write_text(f"t_s,power_w\n0,{watts}\n", encoding="utf-8")
        (tmp_path / "test_it.py").write_text(body.format(budget=budget), encoding="utf-8")
        (tmp_path / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
        load = [] if entry_points(group="pytest11", name="outweigh") else ["-p", "outweigh.integrations.pytest_plugin"]
        command = [sys.executable, "-m", "pytest", *load, "-p", "no:cacheprovider", *options, "test_it.py"]
        # A worker of pytest-xdist runs us, and what it says of itself is not true of the tests inside.
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_XDIST")}
        done = subprocess.run(
            command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False, env=environment
        )
        return done.returncode, done.stdout + done.stderr

    return go


REPLAY = "--energy-meter=replay:trace.csv"


def test_a_test_over_its_budget_fails_and_says_by_how_much(run):
    # The idle draw is listened to first and equals the draw, so the budget of the work is broken by a negative limit.
    code, out = run("-5 J", REPLAY)
    assert code == 1
    assert "over its energy budget" in out
    assert "1 failed, 1 passed" in out


def test_a_test_within_its_budget_passes_and_shows_in_the_summary_as_provisional(run):
    code, out = run("5 J", REPLAY)
    assert code == 0, out
    assert "within its budget of 5 J" in out
    assert "energy (replay, replayed, grade D, provisional)" in out
    assert "test_unmarked" not in out


def test_an_interval_that_straddles_the_budget_is_a_warning_and_no_failure(run):
    # Work modelled from CPU seconds is known to about 45 %.
    body = TESTS.replace(
        "time.sleep(0.2)", "end = time.process_time() + 0.3\n    while time.process_time() < end: pass"
    )
    code, out = run("1 kJ", "--energy-meter=cpu-model", body=body)
    assert code == 0, out
    joules = float(out.split(" ± ")[0].split()[-1])
    code, out = run(f"{joules} J", "--energy-meter=cpu-model", body=body)
    assert code == 0, out
    assert "EnergyBudgetWarning" in out
    assert "inconclusive" in out
    assert "modelled" in out


def test_every_test_can_be_measured_and_leave_a_receipt(run, tmp_path):
    code, out = run("5 J", REPLAY, "--energy", "--energy-ledger=kept.sqlite")
    assert code == 0, out
    assert "test_it.py::test_unmarked" in out
    with opened(tmp_path / "kept.sqlite") as store:
        receipts = [r for _, r in store.receipts(ReceiptFilter())]
    assert [dict(r.labels)["test"] for r in receipts] == ["test_it.py::test_marked", "test_it.py::test_unmarked"]
    assert receipts[0].total.value.joules == pytest.approx(50.0 * receipts[0].interval.seconds, rel=1e-3)
    assert {r.status for r in receipts} == {RunStatus.COMPLETED}


def test_a_test_that_fails_by_itself_fails_for_its_own_reason(run):
    code, out = run("5 J", REPLAY, body=TESTS.replace("time.sleep(0.2)", "assert 'mine' == 'yours'"))
    assert code == 1
    assert "'mine' == 'yours'" in out
    assert "over its energy budget" not in out


def test_a_budget_that_is_no_energy_is_explained(run):
    code, out = run("three joules", REPLAY)
    assert code == 1
    assert "write a number and a unit" in out


def test_a_suite_without_budgets_opens_no_meter(run):
    code, out = run("5 J", "--energy-meter=no-such-meter", "-k", "unmarked")
    assert code == 0, out
    code, out = run("5 J", "--energy-meter=no-such-meter")
    assert code == 1
    assert "no-such-meter" in out


def test_figures_reach_the_junit_report(run, tmp_path):
    run("5 J", REPLAY, "--junitxml=out.xml")
    properties = {p.get("name"): p.get("value") for p in Tree.parse(tmp_path / "out.xml").iter("property")}
    assert properties["outweigh_energy_outcome"] == "within"
    assert json.loads(properties["outweigh_energy_j"]) == pytest.approx(0.0, abs=0.5)
