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


@pytest.mark.parametrize("meter", ["rapl", "nvml"])
def test_energy_on_a_known_truth_is_within_half_a_percent_and_its_interval_holds_95_of_100(
    benchmark_module, tmp_path, meter
):
    make, align = (benchmark_module.rapl, False) if meter == "rapl" else (benchmark_module.nvml(), True)
    trials = [benchmark_module.tried(make, seed, tmp_path, align=align, gain=False) for seed in range(150)]
    assert benchmark_module.worst_of_95([t.error for t in trials]) <= 0.5
    # 95 % of 150 trials, with three standard deviations of a binomial to each side.
    assert 0.95 * 150 - 8 <= sum(t.held(False) for t in trials) <= 0.95 * 150 + 7
    assert all(t.reading.status == "completed" for t in trials)


def test_a_reset_and_a_stalled_counter_are_never_believed(benchmark_module, tmp_path):
    for spoil in (benchmark_module.reset, benchmark_module.stall):
        assert benchmark_module.never_believed("made", spoil, 30, tmp_path).value == 0
