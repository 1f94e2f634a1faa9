"""On a machine with an NVIDIA board: two processes on it share its energy without overlap."""

from __future__ import annotations

import subprocess
import sys

import pytest

from outweigh.backends.meters.nvml import NvmlMeter
from outweigh.core.measurement import Grade, Method
from outweigh.measure import MeterSession

LOAD = """
import sys, time, torch
matrix = torch.randn(4096, 4096, device="cuda")
torch.cuda.synchronize()
print("ready", flush=True)
sys.stdin.readline()
end = time.monotonic() + 20
while time.monotonic() < end:
    for _ in range(20):
        matrix = torch.nn.functional.normalize(matrix @ matrix)
    torch.cuda.synchronize()
print("done", flush=True)
sys.stdin.readline()
"""


@pytest.mark.gpu
def test_two_processes_on_one_board_share_its_energy_without_overlap():
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("there is no NVIDIA board here")
    pair = [subprocess.Popen([sys.executable, "-c", LOAD], stdin=subprocess.PIPE, stdout=subprocess.PIPE) for _ in "ab"]
    meters = [NvmlMeter(visible="0") for _ in pair]
    with MeterSession(meters[0]) as one, MeterSession(meters[1]) as two:
        for process in pair:
            assert process.stdout.readline() == b"ready\n"
        with one.window() as window, two.window():
            for meter, process in zip(meters, pair, strict=True):
                meter.watch(lambda pid=process.pid: (pid,))
                process.stdin.write(b"go\n")
                process.stdin.flush()
            for process in pair:
                assert process.stdout.readline() == b"done\n"
            for meter in meters:
                meter.watch(None)
        card = window.reading.total
        shares = [meter.allocated(card.interval)[0] for meter in meters]
    for process in pair:
        process.communicate(timeout=60)

    assert all(len(found) == 1 for found in shares)
    parts = [found[0] for found in shares]
    assert all((part.method, part.grade) == (Method.MODELLED, Grade.C) for part in parts)
    # Two observers look at the driver's samples at moments of their own, a second apart at most.
    assert 0 < sum(part.value.joules for part in parts) <= 1.05 * card.value.joules
