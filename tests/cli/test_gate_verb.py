"""`outweigh gate`: what it does without being asked to weigh."""

import importlib.util
import json
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from outweigh.core.budget import Phase
from outweigh.core.receipt import Quality
from outweigh.ledger import open_ledger

OUTWEIGH = str(Path(sys.executable).with_name("outweigh"))
MADE = Path(__file__).parents[1] / "stores" / "made_receipts.py"
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
"""


def outweigh(*args, cwd):
    done = subprocess.run([OUTWEIGH, *args], capture_output=True, text=True, timeout=120, check=False, cwd=cwd)
    assert "Traceback" not in done.stderr, done.stderr
    return done


@pytest.fixture
def project(tmp_path):
    """A project whose ledger holds three comparisons in which doubling the energy always cut the error by 20 %."""
    spec = importlib.util.spec_from_file_location("made_receipts_for_the_gate", MADE)
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    (tmp_path / "energy.toml").write_text(PROJECT)
    store = open_ledger(tmp_path / ".outweigh" / "ledger.sqlite", create=True)
    for comparison in range(3):
        for step in range(3):
            receipt = made.made_receipt(
                10 * comparison + step, joules=100.0 * 2**step,
                start=made.EPOCH + timedelta(hours=comparison, minutes=step),
                phase=Phase.DEVELOPMENT, batch=f"b{comparison}", variant=f"v{step}", project="p",
            )  # fmt: skip
            error = 0.2 * (1 + comparison) * 0.8**step
            quality = (Quality("accuracy", 1 - error, 400),)
            object.__setattr__(receipt, "quality", quality)
            store.append(receipt)
    store.close()
    return tmp_path


def test_eta_is_what_the_teams_own_comparisons_bought(project):
    done = outweigh("gate", "calibrate-eta", "--json", cwd=project)

    fitted = json.loads(done.stdout)
    assert done.returncode == 0
    assert fitted["eta"] == pytest.approx(0.3219, abs=1e-3)  # -log2(0.8)
    assert fitted["declared_eta"] == 0.15
    assert (fitted["comparisons"], fitted["variants"]) == (3, 9)


def test_eta_of_an_empty_ledger_is_not_known_and_the_answer_says_what_to_measure(tmp_path):
    (tmp_path / "energy.toml").write_text(PROJECT)
    open_ledger(tmp_path / ".outweigh" / "ledger.sqlite", create=True).close()

    done = outweigh("gate", "calibrate-eta", cwd=tmp_path)

    assert done.returncode == 3
    assert "Compare three variants or more" in done.stderr


def test_gate_with_a_path_weighs(tmp_path):
    done = outweigh("gate", str(tmp_path / "nothing-here"), cwd=tmp_path)

    assert done.returncode == 2
    assert "energy.toml" in done.stderr


def test_a_review_that_lacks_its_figures_is_told_what_it_lacks(tmp_path):
    (tmp_path / "review.json").write_text('{"kind": "outweigh.review", "schema": 1}')
    for arguments in (("report", "review.json"), ("gate", "--from", "review.json")):
        done = outweigh(*arguments, cwd=tmp_path)
        assert done.returncode == 2
        assert "it lacks comparisons" in done.stderr
