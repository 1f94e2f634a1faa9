"""`outweigh budget`: lines against the ledger, from the command line."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

OUTWEIGH = str(Path(sys.executable).with_name("outweigh"))
PROJECT = """
[project]
name = "p"
unit = "item"
volume = {{ per_month = 1000.0 }}
[task]
adapter = "text-classification"
dataset = "items.csv"
primary = {{ metric = "accuracy" }}
[variants.base]
model = "base.onnx"
[budget.work]
phase = "development"
total = {{ limit = "{limit}", per = "month" }}
owner = "team-a"
"""


def outweigh(*args, cwd):
    done = subprocess.run([OUTWEIGH, *args], capture_output=True, text=True, timeout=120, check=False, cwd=cwd)
    assert "Traceback" not in done.stderr, done.stderr
    return done


@pytest.fixture
def project(tmp_path):
    def make(limit):
        (tmp_path / "energy.toml").write_text(PROJECT.format(limit=limit))
        done = outweigh("measure", "--hum", "0", "--", sys.executable, "-c", "sum(range(10**6))",
                        cwd=tmp_path)  # fmt: skip
        assert done.returncode == 0, done.stderr
        return tmp_path

    return make


def test_a_command_measured_in_the_project_s_folder_draws_its_line_whatever_the_folder_is_called(project):
    done = outweigh("budget", "status", "--json", cwd=project("1 MWh"))

    (row,) = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 0
    assert row["state"] == "ok"
    assert 0 < row["drawn_j"] < 3.6e9
    assert row["drawn_low_j"] <= row["drawn_j"] <= row["drawn_high_j"]
    assert row["left_j"] == pytest.approx(3.6e9 - row["drawn_j"])
    assert row["receipts"] == 1
    assert row["exhausted_at"] is None


def test_a_breached_line_ends_with_1_and_says_why(project):
    done = outweigh("budget", "status", cwd=project("0.001 mWh"))

    assert done.returncode == 1
    assert "breached" in done.stdout
    assert "work: more is drawn than the line allows" in done.stdout
    assert "team-a" in done.stdout


def test_without_a_project_the_answer_is_a_sentence_and_exit_code_2(tmp_path):
    done = outweigh("budget", "status", cwd=tmp_path)

    assert done.returncode == 2
    assert "energy.toml" in done.stderr


def test_looking_at_budgets_starts_no_ledger(tmp_path):
    (tmp_path / "energy.toml").write_text(PROJECT.format(limit="1 MWh"))

    done = outweigh("budget", "status", "--json", cwd=tmp_path)

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["drawn_j"] == 0
    assert not (tmp_path / ".outweigh").exists()


def test_the_first_look_at_a_ledger_says_what_starts_one(tmp_path):
    done = outweigh("ledger", "list", cwd=tmp_path)

    assert "`outweigh measure` or `outweigh review` starts one" in done.stderr
    assert "mkdir" not in done.stderr
