"""`compare` and `shrink` end to end on a small task that really computes, with the meter that every machine has."""

import json
import math
import shutil
import time
from dataclasses import replace

import numpy as np
import pytest

from outweigh.app.comparing import compare, compared_rows, energy_rows, shrink
from outweigh.app.sweeping import Sweep, parse_sweep
from outweigh.cli.main import run
from outweigh.core.errors import LeverError, ModelError, UsageError
from outweigh.ports import Availability, ItemResults
from outweigh.registry import levers, tasks

ROUNDS = 4


class CountingRunner:
    def __init__(self, variant):
        self.variant = replace(variant, content_hash=f"{variant.options}{variant.levers}")
        self.size = int(variant.option("size", 60))
        self.broken = "test:breaks" in variant.levers

    def fit(self):
        pass

    def run(self, items):
        times_ms = []
        for _ in items:
            start = time.perf_counter()
            values = np.full(self.size**2, 0.5)  # elementwise: one thread, however many cores there are
            for _ in range(20):
                values = np.sqrt(values + 1.0)
            times_ms.append(1e3 * (time.perf_counter() - start))
        score = math.nan if self.broken else 1.0
        return ItemResults(
            tuple(items),
            {"accuracy": tuple(score for _ in items)},
            tuple(times_ms),
            {"tokens_in": (10.0,) * len(items), "tokens_out": (5.0,) * len(items)},
        )

    def close(self):
        pass


class CountingTask:
    name = "test-counting"
    n_items, metrics, content_hash = 12, ("accuracy",), "twelve"

    @classmethod
    def probe(cls):
        return Availability("test-counting", True)

    def load(self, spec, root):
        pass

    def runner(self, variant):
        return CountingRunner(variant)


class Does:
    """A lever; `what` says how it goes wrong."""

    what = ""

    def __init__(self, argument=""):
        pass

    @classmethod
    def probe(cls):
        return Availability("test", True)

    def apply(self, variant, workdir):
        if self.what == "refuses":
            raise LeverError("test:refuses", variant.name, "it has no layer of that kind", "Try another lever")
        made = workdir / f"{variant.name}-{self.what}.bin"
        shutil.copy(variant.model, made)
        return replace(variant, model=str(made), levers=(*variant.levers, f"test:{self.what}"))


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.setattr(tasks, "_classes", dict(tasks._classes) | {"test-counting": CountingTask})
    made = {f"test:{what}": type("Made", (Does,), {"what": what}) for what in ("works", "refuses", "breaks")}
    monkeypatch.setattr(levers, "_classes", dict(levers._classes) | made)
    (tmp_path / "small.bin").write_bytes(b"0" * 1000)
    (tmp_path / "large.bin").write_bytes(b"0" * 4000)
    (tmp_path / "energy.toml").write_text(
        f"""
[project]
name = "counting"
unit = "count"
volume = {{ per_month = 1e9 }}
[task]
adapter = "test-counting"
dataset = "small.bin"
primary = {{ metric = "accuracy" }}
[variants.small]
model = "small.bin"
[variants.large]
model = "large.bin"
[variants.large.options]
size = 120
[protocol]
rounds = {ROUNDS}
window = "0.02 s"
""",
        encoding="utf-8",
    )
    return tmp_path


def sat(project, *names, **options):
    return compare(project, names, ledger=project / "ledger.sqlite", meter="cpu-model", **options)


def test_a_comparison_says_ratio_noise_floor_frontier_and_energy_three_ways(project):
    done = sat(project, "small", "large")

    small, large = done.rows
    assert large["energy_ratio"] > 1
    assert small["noise_floor"] == large["noise_floor"] > 0
    assert isinstance(large["within_noise"], bool)
    assert small["frontier_probability"] == 1.0
    for row in done.rows:
        assert 0 < row["net_j_per_unit"] <= row["gross_j_per_unit"]
        assert row["all_in_j_per_correct"] == pytest.approx(row["all_in_j_per_unit"])
        assert row["gross_j_per_token_tokens"] == pytest.approx(row["gross_j_per_unit"] / 15)
        assert row["gross_j_per_unit_low"] <= row["gross_j_per_unit"] <= row["gross_j_per_unit_high"]
        assert row["power_w"] > 0
    assert any(note.startswith("A/A: small against itself drew x ") for note in done.notes)
    assert json.dumps(done.rows, allow_nan=False)
    assert len(compared_rows(done)) == len(energy_rows(done)) == 2


def test_twelve_items_are_too_few_and_how_many_are_needed_is_said(project):
    done = sat(project, "small", "large")

    assert done.rows[1]["equivalent"] is None
    (said,) = [note for note in done.notes if "12 items cannot tell" in note]
    assert "about " in said
    assert "would show it" in said


def test_a_lever_that_does_not_apply_and_one_that_breaks_the_model_are_left_out_and_named(project):
    done = shrink(
        project, "small", ["test:works", "test:refuses", "test:breaks"],
        ledger=project / "ledger.sqlite", meter="cpu-model",
    )  # fmt: skip

    assert [row["variant"] for row in done.rows] == ["small", "small+test:works"]
    assert any("small+test:refuses is left out: " in note and "no layer of that kind" in note for note in done.notes)
    assert any("small+test:breaks is left out: " in note and "not a finite number" in note for note in done.notes)


@pytest.mark.parametrize(("lever", "error"), [("test:refuses", LeverError), ("test:breaks", ModelError)])
def test_where_the_only_lever_fails_its_failure_is_the_answer(project, lever, error):
    with pytest.raises(error):
        shrink(project, "small", [lever], ledger=project / "ledger.sqlite", meter="cpu-model")


def test_a_sweep_turns_an_option_and_fits_the_exponent_of_the_energy(project):
    done = sat(project, "small", sweep="size=40,80,160")

    assert [row["variant"] for row in done.rows] == ["small@size=40", "small@size=80", "small@size=160"]
    assert done.sweep["sweep"] == "size"
    # n^2 numbers, and a fixed cost of calling numpy: steeper than none.
    assert 0 < done.sweep["exponent"] < 3
    assert done.sweep["exponent_low"] < done.sweep["exponent"] < done.sweep["exponent_high"]
    assert [point["size"] for point in done.sweep["points"]] == [40.0, 80.0, 160.0]
    assert done.sweep["points"][0]["step_exponent"] is None
    assert len(done.sweep_rows) == 3
    assert "to the power" in done.notes[0]


def test_a_sweep_over_sizes_takes_them_from_the_model_files(project):
    done = sat(project, "large", "small", sweep="bytes")
    assert [point["bytes"] for point in done.sweep["points"]] == [1000.0, 4000.0]


@pytest.mark.parametrize(
    ("names", "sweep", "problem"),
    [
        (["small", "large"], "size=1,2", "turns one variant"),
        (["small"], "bytes", "needs two variants"),
        (["small"], "size=1", "fewer than two values"),
        (["small"], "size=1,big", "not a number"),
        (["small"], "size=0,1", "not above zero"),
        (["small"], "=1,2", "names nothing"),
        (["nobody"], "size=1,2", "no variant 'nobody'"),
    ],
)
def test_a_sweep_that_makes_no_sense_is_refused_before_anything_is_measured(project, names, sweep, problem):
    with pytest.raises(UsageError, match=problem):
        sat(project, *names, sweep=sweep)
    assert not (project / "ledger.sqlite").exists()


def test_sizes_that_nobody_declared_are_asked_for(project):
    with pytest.raises(UsageError, match="does not say its parameters"):
        sat(project, "small", "large", sweep="parameters")


def test_values_of_a_sweep_are_numbers_in_order_each_once():
    assert parse_sweep("batch = 8,1, 8,2.5") == Sweep("batch", (1, 2.5, 8))
    assert parse_sweep("bytes") == Sweep("bytes")


def test_a_precision_stops_early_and_says_after_how_many_rounds(project):
    text = (project / "energy.toml").read_text(encoding="utf-8").replace(f"rounds = {ROUNDS}", "rounds = 12")
    (project / "energy.toml").write_text(text, encoding="utf-8")

    done = sat(project, "small", "large", precision="99%")

    assert 4 <= done.rows[0]["rounds"] <= 12
    assert any("rounds" in note and "the error is spent over the looks" in note for note in done.notes)


def test_the_command_prints_the_sweep_as_one_more_json_line(project, capsys):
    code = run(
        ["compare", "small", "--project", str(project), "--ledger", str(project / "l.sqlite"), "--meter", "cpu-model",
         "--sweep", "size=40,80", "--json"]
    )  # fmt: skip

    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert code == 0
    assert [line.get("variant") for line in lines] == ["small@size=40", "small@size=80", None]
    assert lines[-1]["sweep"] == "size"
