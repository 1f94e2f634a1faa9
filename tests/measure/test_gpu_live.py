"""On a machine with an NVIDIA board: the counter against integrated power, the split of a receipt, sharing a board.

Skipped where there is no board, no driver or no torch. The loads are matrix products on the first visible board.
"""

from __future__ import annotations

import math
import subprocess
import sys
import time

import pytest

from outweigh.core.budget import Phase
from outweigh.measure import MeterSession, receipt_for

pytestmark = pytest.mark.gpu

LOAD_S = 30.0

# The same load as a process of its own: argument 1 is how long [s], 2 the side of the matrices.
LOAD = """
import sys, time, torch
matrix = torch.randn(int(sys.argv[2]), int(sys.argv[2]), device="cuda")
torch.cuda.synchronize()
print("ready", flush=True)
sys.stdin.readline()
end_s = time.monotonic() + float(sys.argv[1])
while time.monotonic() < end_s:
    for _ in range(20):
        matrix = torch.nn.functional.normalize(matrix @ matrix)
    torch.cuda.synchronize()
"""


@pytest.fixture
def torch():
    torch = pytest.importorskip("torch")
    pytest.importorskip("pynvml")
    if not torch.cuda.is_available():
        pytest.skip("there is no NVIDIA board here")
    return torch


@pytest.fixture
def visible(torch):
    """The first board by uuid, so that CUDA and the driver mean the same one whatever the order of either."""
    uuid = getattr(torch.cuda.get_device_properties(0), "uuid", None)
    if uuid is None:
        return "0"
    return str(uuid) if str(uuid).startswith("GPU-") else f"GPU-{uuid}"


@pytest.fixture
def meter(visible):
    from outweigh.backends.meters.nvml import NvmlMeter

    return NvmlMeter(visible=visible)


def load(torch, seconds):
    matrix = torch.randn(8_192, 8_192, device="cuda")
    end_s = time.monotonic() + seconds
    while time.monotonic() < end_s:
        for _ in range(20):
            matrix = torch.nn.functional.normalize(matrix @ matrix)
        torch.cuda.synchronize()


def process(seconds, side):
    return subprocess.Popen(
        [sys.executable, "-c", LOAD, str(seconds), str(side)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def test_counter_and_integrated_power_agree_and_the_receipt_splits_hum_and_work(torch, meter, record_property):
    load(torch, 1.0)  # the context and the kernels are there before the hum is heard
    with MeterSession(meter, synchronise=torch.cuda.synchronize) as session:
        if not any(channel.counted and channel.kind == "energy" for channel in meter.channels):
            pytest.skip("this board has no energy counter")
        hum = session.hum(10.0)
        with session.window() as window:
            load(torch, LOAD_S)
        cost = session.cost()
    reading = window.reading
    receipt = receipt_for(reading, project="live", phase=Phase.INFERENCE, meter=meter.name, meter_cost=cost)

    assert reading.status == "completed", reading.notes
    (power,) = reading.overlapping
    apart_j = reading.total.value.joules - power.value.joules
    record_property("counter less integrated power [J]", apart_j)
    wide_j = 2 * math.hypot(reading.total.standard_uncertainty.joules, power.standard_uncertainty.joules)
    assert abs(apart_j) <= wide_j
    assert receipt.hum.value.joules == pytest.approx(hum.power.watts * reading.seconds)
    assert receipt.work.value.joules > receipt.work.bounds_j.half_width
    assert receipt.hum.value.joules + receipt.work.value.joules == pytest.approx(receipt.total.value.joules)
    assert receipt.meter_cost.cpu_s > 0


def test_an_aligned_window_of_a_second_agrees_with_a_long_one_on_a_steady_load(torch, meter):
    load(torch, 5.0)
    with MeterSession(meter, synchronise=torch.cuda.synchronize) as session:
        powers_w = []
        for seconds in (1.0, 1.0, 1.0, 5.0):
            with session.window() as window:
                load(torch, seconds)
            total = window.reading.total
            edges = sum(c.standard for c in total.components if c.name == "reading age at the edges")
            assert edges <= 0.01 * total.value.joules
            powers_w.append(total.value.joules / window.reading.seconds)
    assert max(powers_w) / min(powers_w) < 1.1


def test_two_processes_on_one_board_share_its_energy_without_overlap(torch, meter, visible):
    other_meter = type(meter)(visible=visible)
    with process(LOAD_S / 2, 8_192) as large, process(LOAD_S / 2, 2_048) as small:
        for run in (large, small):
            assert run.stdout.readline() == "ready\n"
        with MeterSession(meter) as session, MeterSession(other_meter):
            meter.watch(lambda: [large.pid])
            other_meter.watch(lambda: [small.pid])
            with session.window() as window:
                since_us = time.time_ns() // 1_000
                for run in (large, small):
                    run.stdin.write("\n")
                    run.stdin.flush()
                time.sleep(LOAD_S / 2 - 2.0)
                parts = [*meter.shares([large.pid], since_us).values(), *meter.shares([small.pid], since_us).values()]
                together = meter.shares([large.pid, small.pid], since_us)
            meter.watch(None)
            other_meter.watch(None)
            total = window.reading.total
            allocated = [m.allocated(total.interval)[0] for m in (meter, other_meter)]
    if not all(together.values()):
        pytest.skip("the driver does not tell these processes apart: no accounting, or a process namespace of its own")

    (whole,) = together.values()
    assert all(0 < part < 1 for part in parts)
    # Asked for one after the other, so by samples that are not quite the same.
    assert sum(parts) == pytest.approx(whole, abs=0.1)
    assert all(len(given) == 1 for given in allocated)
    given_j = [given[0].value.joules for given in allocated]
    assert all(joules > 0 for joules in given_j)
    # Watched a little longer than the window lasts, by two meters that look at different moments.
    assert sum(given_j) <= 1.1 * total.value.joules
