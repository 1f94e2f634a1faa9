"""Bad input, end to end: a typed error with a remedy, the right exit code, no traceback, nothing measured lost.

A made-up corpus and ONNX encoders small enough to read stand in for the example; everything else is the real
command line in a process of its own.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

OUTWEIGH = str(Path(sys.executable).with_name("outweigh"))

PROJECT = """
[project]
name = "made-up"
unit = "text"
volume = { per_month = 1_000_000 }
[task]
adapter = "text-classification"
dataset = "corpus"
primary = { metric = "accuracy" }
[task.options]
tokenizer = "tokenizer.json"
train = 60
[variants.small]
model = "small.onnx"
[variants.large]
model = "large.onnx"
[gate]
incumbent = "small"
proposal = "large"
[protocol]
rounds = 3
hum = "0.1 s"
[budget.serve]
phase = "inference"
per_unit = "1 J"
"""


@pytest.fixture
def project(tmp_path, corpus, tokenizer_file, encoder):
    """A folder with a project that works; `project(old, new)` changes its energy.toml first."""
    encoder(name="small.onnx")
    encoder(name="large.onnx", outputs=("tokens", "pooled"))

    def write(old="", new=""):
        assert old in PROJECT
        (tmp_path / "energy.toml").write_text(PROJECT.replace(old, new) if old else PROJECT, encoding="utf-8")
        return tmp_path

    return write


def outweigh(*args, **kwargs):
    done = subprocess.run(
        [OUTWEIGH, *map(str, args)], capture_output=True, text=True, timeout=120, check=False, **kwargs
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done


def review(folder, *options, **kwargs):
    return outweigh("review", folder, "--out", folder / "out", *options, **kwargs)


def test_the_made_up_project_itself_is_sound(project):
    folder = project()

    done = review(folder)

    found = json.loads((folder / "out" / "review.json").read_text())
    assert done.returncode == {"pass": 0, "fail": 1, "inconclusive": 5}[found["verdict"]["outcome"]]
    assert outweigh("ledger", "verify", "--ledger", folder / ".outweigh/ledger.sqlite").returncode == 0


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('unit = "text"', 'unit = "text"\nvolumne = 3', "'volume'"),
        ('per_unit = "1 J"', 'per_unit = "1 W"', "Wh"),
        ('per_unit = "1 J"', 'per_unit = "-1 J"', "negative"),
        ('proposal = "large"', 'proposal = "huge"', "large"),
        ('dataset = "corpus"', 'dataset = "corpse"', "corpse"),
        ('model = "large.onnx"', 'model = "gone.onnx"', "gone.onnx"),
        ('model = "large.onnx"', 'model = "energy.toml"', "ONNX"),
        ('tokenizer = "tokenizer.json"', 'tokenizer = "energy.toml"', "tokenizer"),
        ('adapter = "text-classification"', 'adapter = "text-classificaton"', "text-classification"),
        ('metric = "accuracy"', 'metric = "f1"', "accuracy"),
        ("train = 60", "train = 6000", "6000"),
    ],
)
def test_what_the_file_gets_wrong_ends_with_2_and_says_what_to_write(project, old, new, says):
    done = review(project(old, new))

    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith("outweigh: ")
    assert says in done.stderr
    assert done.stdout == ""


def test_a_mistake_in_the_file_is_told_with_its_line(project):
    done = review(project('per_unit = "1 J"', 'per_unit = "1 W"'))

    line = PROJECT.splitlines().index('per_unit = "1 J"') + 1
    assert f"energy.toml:{line}:" in done.stderr


def test_a_missing_project_names_init(tmp_path):
    done = outweigh("review", tmp_path / "nowhere")

    assert done.returncode == 2
    assert "outweigh init" in done.stderr


def test_a_quality_set_with_one_class_is_refused(project, corpus):
    folder = project()
    for topic in sorted(corpus.iterdir())[1:]:
        for text in topic.iterdir():
            text.unlink()
        topic.rmdir()

    done = review(folder)

    assert done.returncode == 2
    assert "one class" in done.stderr


def test_a_zone_nobody_knows_ends_with_4_and_lists_the_nearest(project):
    folder = project()
    with (folder / "energy.toml").open("a") as file:
        file.write('[site.here]\nzone = "US-CAL-CSIO"\ncapacity = "1 kW"\npue = 1.2\n')

    done = review(folder)

    assert done.returncode == 4
    assert "US-CAL-CISO" in done.stderr


def test_a_meter_that_is_not_here_ends_with_3_and_says_why(project):
    done = review(project(), "--meter", "ipmi" if Path("/sys/class/powercap").exists() else "rapl")

    assert done.returncode == 3
    assert "cannot be read" in done.stderr


def test_an_unwritable_ledger_ends_with_3_before_anything_is_measured(project):
    folder = project()
    (folder / ".outweigh").write_text("a file where the folder should be")

    done = review(folder)

    assert done.returncode == 3
    assert "ledger" in done.stderr


def test_an_unwritable_report_folder_is_found_before_measuring(project):
    folder = project()
    (folder / "out").write_text("a file where the folder should be")

    done = review(folder)

    assert done.returncode == 2
    assert "--out" in done.stderr
    assert not (folder / ".outweigh").exists()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_behind_standard_output_is_told_and_not_shown_as_a_traceback():
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [OUTWEIGH, "doctor", "--json"], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )

    assert done.returncode == 2
    assert "No space left" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_model_that_gives_nan_is_refused_and_what_was_measured_before_stays(project, encoder):
    folder = project('model = "large.onnx"', 'model = "nan.onnx"')
    encoder(name="nan.onnx", fill=float("nan"))

    done = review(folder)

    assert done.returncode == 2
    assert "large" in done.stderr
    kept = outweigh("ledger", "list", "--json", "--ledger", folder / ".outweigh/ledger.sqlite")
    assert kept.returncode == 0


@pytest.mark.parametrize(("command", "code"), [(["no-such-command"], 127), (["/"], 126), (["sh", "-c", "exit 7"], 7)])
def test_measure_passes_the_exit_code_through_and_fails_like_env(tmp_path, command, code):
    done = outweigh("measure", "--hum", "0", "--", *command, cwd=tmp_path)

    assert done.returncode == code


def test_measure_that_cannot_keep_a_receipt_ends_with_125_and_runs_nothing(tmp_path):
    (tmp_path / ".outweigh").write_text("a file where the folder should be")

    done = outweigh("measure", "--", "touch", tmp_path / "ran", cwd=tmp_path)

    assert done.returncode == 125
    assert not (tmp_path / "ran").exists()


def test_measure_keeps_command_line_environment_and_host_out_of_the_receipt(tmp_path):
    import platform

    secret = {**os.environ, "SECRET_TOKEN": "hush-hush"}
    done = outweigh(
        "measure", "--hum", "0", "--json", "--project", "p", "--", "sh", "-c", ": quiet-word", cwd=tmp_path, env=secret
    )

    assert done.returncode == 0
    for word in ("hush-hush", "quiet-word", platform.node(), str(tmp_path)):
        assert word not in done.stdout


def test_a_plan_that_cannot_be_made_leaves_the_verdict_and_says_why(project):
    folder = project()
    with (folder / "energy.toml").open("a") as file:
        file.write('[site.here]\nzone = "US-CAL-CISO"\ncapacity = "0 W"\npue = 1.2\n')

    done = review(folder)

    found = json.loads((folder / "out" / "review.json").read_text())
    assert done.returncode in (0, 1, 5), done.stderr
    assert found["plan"] is None
    assert "short by" in found["plan_missing"]


def test_a_metric_nobody_measures_is_found_before_anything_is_measured(project):
    folder = project('metric = "accuracy"', 'metric = "acuracy"')

    done = review(folder)

    assert done.returncode == 2
    assert "'accuracy'" in done.stderr
    assert outweigh("ledger", "list", "--json", "--ledger", folder / ".outweigh/ledger.sqlite").stdout == ""


def test_levers_are_charged_to_the_variant_they_made_and_the_reuse_of_an_artefact_is_said(project):
    folder = project()

    first = outweigh("shrink", "small", "--project", folder, "--json")
    again = outweigh("shrink", "small", "--project", folder)

    rows = [json.loads(line) for line in first.stdout.splitlines()]
    assert rows[1]["applying_levers_j"] > 0
    assert rows[1]["energy_j_per_unit_low"] < rows[1]["energy_j_per_unit_scatter_low"]
    assert "from an earlier run" in again.stderr


def test_shrinking_a_variant_nobody_declared_lists_the_declared_ones_only(project):
    done = outweigh("shrink", "nope", "--project", project())

    assert done.returncode == 2
    assert done.stderr.rstrip().endswith("It declares: small, large")


def test_a_review_that_is_told_to_stop_keeps_what_it_measured(project):
    import signal
    import time

    folder = project("rounds = 3", "rounds = 40")
    process = subprocess.Popen(
        [OUTWEIGH, "review", folder, "--out", folder / "out"],
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    ledger = folder / ".outweigh" / "ledger.sqlite"
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None and kept(ledger) < 2:
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    _, stderr = process.communicate(timeout=60)

    assert process.returncode == 143, stderr
    assert "Traceback" not in stderr
    assert outweigh("ledger", "verify", "--ledger", ledger).returncode == 0
    assert kept(ledger) >= 2


def kept(ledger):
    """Receipts in a ledger that somebody is writing, read without starting a process."""
    import contextlib
    import sqlite3

    with (
        contextlib.suppress(sqlite3.OperationalError),
        contextlib.closing(sqlite3.connect(f"{ledger.as_uri()}?mode=ro", uri=True)) as connection,
    ):
        return connection.execute("select count(*) from receipts").fetchone()[0]
    return 0
