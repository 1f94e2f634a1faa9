"""The benchmark of one block stack: whole on a board, its arithmetic of energies anywhere torch is."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def torch():
    return pytest.importorskip("torch")


@pytest.fixture
def gpu_blocks(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    spec = importlib.util.spec_from_file_location("gpu_blocks", BENCHMARKS / "gpu_blocks.py")
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "gpu_blocks", module)
    spec.loader.exec_module(module)
    return module


def test_without_a_board_nothing_is_measured_and_nothing_made_up(gpu_blocks, monkeypatch, capsys):
    def none():
        raise gpu_blocks.Missing("there is no NVIDIA board here")

    monkeypatch.setattr(gpu_blocks, "board", none)
    monkeypatch.setattr(sys, "argv", ["gpu_blocks.py"])
    assert gpu_blocks.main() == 0
    assert "could not run" in capsys.readouterr().out


@pytest.mark.timeout(280)
def test_a_small_stack_on_the_processor_gives_joules_per_token_and_an_exponent(torch, gpu_blocks):
    from outweigh.backends.meters.cpu_model import CpuModelMeter

    sizes = gpu_blocks.Sizes(blocks=1, width=64, heads=2, tokens=16, batch=4, sequences=8)
    rows = gpu_blocks.compared(
        CpuModelMeter(), "cpu", sizes, rounds=2, window_s=0.05, ways=("bf16",), batches=(1, 2, 4)
    )
    found = {row.case: row for row in rows}
    assert found["bf16, J per token, hum included"].value > 0
    assert "cosine 1.00000" in found["bf16, J per token, hum included"].note
    assert found["exponent of J per token over batch"].value < 0.5


@pytest.mark.gpu
@pytest.mark.timeout(900)
def test_on_a_board_every_way_that_runs_has_joules_per_token_and_larger_batches_never_cost_more(torch, gpu_blocks):
    if not torch.cuda.is_available():
        pytest.skip("there is no NVIDIA board here")
    rows = gpu_blocks.compared(gpu_blocks.board(), "cuda", gpu_blocks.Sizes(), rounds=6, window_s=2.0)
    found = {row.case: row for row in rows}
    assert found["bf16, J per token, hum included"].value > 0
    assert found["exponent of J per token over batch"].holds
    for way in ("fp8", "int8"):
        assert found[f"{way} over bf16"].value is not None or found[f"{way} over bf16"].note
