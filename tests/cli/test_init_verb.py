"""`outweigh init`: a project to start from, and what an evaluation set of a size can show."""

import subprocess
import sys
from pathlib import Path

import pytest

from outweigh.config import load_project

OUTWEIGH = str(Path(sys.executable).with_name("outweigh"))


def init(folder, *options):
    done = subprocess.run([OUTWEIGH, "init", folder, *options], capture_output=True, text=True, timeout=60, check=False)
    assert "Traceback" not in done.stderr, done.stderr
    return done


def test_init_writes_a_project_that_loads_and_says_what_usual_evaluation_sets_can_show(tmp_path):
    done = init(tmp_path, "--name", "triage", "--unit", "ticket", "--error", "0.2")

    assert done.returncode == 0, done.stderr
    assert load_project(tmp_path).unit == "ticket"
    shown = done.stdout.splitlines()
    assert shown[0] == str(tmp_path / "energy.toml")
    assert [line.split()[0] for line in shown[1:4]] == ["500", "2,000", "10,000"]


# z = 1.6449 + 0.8416, Var(g) = 2 (1 - e) / (e n): n = 2,000 and e = 0.2 give 1 - exp(-2.4865 x 0.063246) = 14.55 %;
# a cut of 1 - 2^-0.15 = 9.88 % is g = 0.10397, and 8 (2.4865 / 0.10397)^2 = 4,575.6 items.
def test_the_smallest_gain_and_the_items_asked_for_are_those_of_the_formula(tmp_path):
    done = init(tmp_path, "--items", "2000", "--error", "0.2")

    assert "2,000 evaluation items at an error of 20.0% show a relative cut in error of 15% or more" in done.stdout
    assert "twice the energy asks for a cut of 10% (eta 0.15)" in done.stdout
    assert "takes 4,576 items" in done.stdout


@pytest.mark.parametrize("options", [("--error", "0"), ("--error", "1.5"), ("--items", "1")])
def test_a_size_or_an_error_that_is_none_ends_with_2(tmp_path, options):
    done = init(tmp_path, *options)

    assert done.returncode == 2
    assert not (tmp_path / "energy.toml").exists()


def test_a_project_that_is_there_is_never_written_over_unasked(tmp_path):
    init(tmp_path)
    (tmp_path / "energy.toml").write_text("mine")

    done = init(tmp_path)

    assert done.returncode == 2
    assert (tmp_path / "energy.toml").read_text() == "mine"
