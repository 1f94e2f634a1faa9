"""The accuracy benchmark, a tenth of it: energy on a known truth, and intervals that hold it."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def benchmark_module(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    spec = importlib.util.spec_from_file_location("meter_accuracy", BENCHMARKS / "meter_accuracy.py")
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "meter_accuracy", module)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("family", ["made_curve", "training_curve", "wandering_curve"])
@pytest.mark.parametrize("meter", ["rapl", "nvml"])
def test_energy_on_a_known_truth_is_within_half_a_percent_and_its_interval_holds_95_of_100(
    benchmark_module, tmp_path, meter, family
):
    make = benchmark_module.rapl if meter == "rapl" else benchmark_module.nvml(period_s=None, stalls=0.2)
    draw = getattr(benchmark_module, family)
    trials = [benchmark_module.tried(make, seed, tmp_path, gain=False, draw=draw) for seed in range(100)]
    assert max(t.error for t in trials) <= 0.005
    # 95 of 100, with three standard deviations of a binomial down; up there is no room for three.
    assert sum(t.held(False) for t in trials) >= 95 - 7
    assert all(t.reading.status == "completed" for t in trials)


def test_a_gain_anywhere_within_the_stated_limits_is_within_the_interval_95_times_of_100(benchmark_module, tmp_path):
    trials = [benchmark_module.tried(benchmark_module.rapl, seed, tmp_path, gain=True) for seed in range(300)]
    # Three standard deviations of a binomial to each side.
    assert 0.95 * 300 - 11 <= sum(t.held(True) for t in trials) <= 0.95 * 300 + 11


@pytest.mark.parametrize("board", [False, True])
def test_a_reset_and_a_stalled_counter_are_never_believed(benchmark_module, tmp_path, board):
    for spoil in (benchmark_module.reset, benchmark_module.stall):
        assert benchmark_module.never_believed("made", spoil, range(30), tmp_path, board=board).value == 0
