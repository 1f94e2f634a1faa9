"""One board, several processes: the card's joules as measured, and the run's part of them allocated, never measured."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from outweigh.backends.meters.nvml import NvmlMeter
from outweigh.core.budget import Phase
from outweigh.core.errors import MeterUnavailable
from outweigh.core.measurement import Grade, Method, Scope
from outweigh.measure import CombinedMeter, FakeClock, MeterSession, measure_command
from outweigh.ports import Availability, Completed

FIRST, SECOND = "GPU-aaaaaaaa-0000-0000-0000-000000000001", "GPU-bbbbbbbb-0000-0000-0000-000000000002"
MIG_ONE, MIG_TWO = "MIG-11111111-0000-0000-0000-000000000001", "MIG-22222222-0000-0000-0000-000000000002"
OURS, OTHER = 101, 202


class Bench:
    """A board that draws 100 W, and who is busy on it; ids in `here` exist on this machine."""

    def __init__(self, nvml, clock, tmp_path, here=(OURS, OTHER)):
        self.nvml, self.clock, self.busy, self.on_board = nvml, clock, {}, set()
        self.samples_at_us = 0
        for board in nvml.boards:
            board.name = "NVIDIA L40S"  # its sensor looks all the time, so that short windows can be used
        for pid in here:
            (tmp_path / str(pid)).mkdir(exist_ok=True)
        self.proc = tmp_path
        nvml.nvmlDeviceGetProcessUtilization = self.utilisation
        nvml.nvmlDeviceGetComputeRunningProcesses = lambda handle: [SimpleNamespace(pid=p) for p in self.on_board]
        clock.every(0.1, self.draw)

    def draw(self):
        self.samples_at_us += 100_000
        for board in self.nvml.boards:
            board.energy_mj += 10_000
            board.instant_mw = 100_000

    def utilisation(self, handle, since_us):
        found = [
            SimpleNamespace(pid=pid, smUtil=share, timeStamp=self.samples_at_us)
            for pid, share in self.busy.items()
            if self.samples_at_us > since_us
        ]
        if not found:
            raise self.nvml.NVMLError("Not Found")
        return found

    def meter(self, visible="0"):
        return NvmlMeter(nvml=self.nvml, visible=visible, now=self.clock.monotonic_s, proc=self.proc)


@pytest.fixture
def bench(nvml, tmp_path):
    return Bench(nvml, FakeClock(), tmp_path)


def watched(bench, meter, seconds=10.0, pids=(OURS,)):
    """(card, shares, notes) of a stretch on a meter, whose run has these processes."""
    with MeterSession(meter, bench.clock) as session:
        with session.window() as window:
            meter.watch(lambda: pids)
            bench.clock.sleep(seconds)
            meter.watch(None)
        total = window.reading.total
        shares, notes = meter.allocated(total.interval)
        return total, shares, notes


def test_the_card_is_measured_and_the_runs_part_of_it_allocated_a_grade_lower(bench):
    bench.busy, bench.on_board = {OURS: 30, OTHER: 60}, {OURS, OTHER}

    total, (share,), notes = watched(bench, bench.meter())

    assert total.value.joules == pytest.approx(1000.0, rel=0.02)
    assert (total.method, total.grade) == (Method.COUNTER, Grade.B)
    assert share.value.joules == pytest.approx(total.value.joules / 3, rel=0.03)
    assert (share.method, share.grade, share.scope) == (Method.MODELLED, Grade.C, Scope.GPU)
    assert "allocated" in share.source
    assert any("whole card's" in note and "not measured" in note for note in notes)
    # Not knowing how joules fall is the larger doubt by far: a third, give or take all of it.
    assert {c.name: c.standard for c in share.components}["allocation"] == pytest.approx(
        share.value.joules / 3**0.5, rel=0.03
    )


def test_a_board_that_the_run_had_for_itself_needs_no_allocation(bench):
    bench.busy, bench.on_board = {OURS: 80}, {OURS}

    _, shares, notes = watched(bench, bench.meter())

    assert shares == notes == ()


def test_a_neighbour_that_was_busy_for_a_part_of_the_time_has_its_part_of_that_time(bench):
    bench.busy, bench.on_board = {OURS: 50}, {OURS, OTHER}
    bench.clock.every(5.0, lambda: bench.busy.update({OTHER: 50}))

    total, (share,), _ = watched(bench, bench.meter())

    assert share.value.joules == pytest.approx(0.75 * total.value.joules, rel=0.07)


def test_joules_of_an_idle_card_are_allocated_to_nobody(bench):
    bench.busy, bench.on_board = {}, {OURS, OTHER}
    bench.clock.every(60.0, lambda: bench.busy.update({OURS: 50, OTHER: 50}))

    total, (share,), _ = watched(bench, bench.meter(), seconds=100.0)

    # Half of the last 40 s; the board is looked at once a second, so that one second may fall to either side.
    assert share.value.joules == pytest.approx(0.2 * total.value.joules, abs=100.0)


def test_what_was_busy_before_the_run_is_not_counted(bench):
    bench.busy, bench.on_board = {OTHER: 100}, {OURS, OTHER}
    bench.clock.sleep(3.0)
    bench.busy = {OURS: 100}

    total, (share,), _ = watched(bench, bench.meter())

    assert share.value.joules == pytest.approx(total.value.joules, rel=0.03)


@settings(max_examples=30, deadline=None)
@given(busy=st.dictionaries(st.integers(2, 9), st.integers(0, 100), min_size=2, max_size=6))
def test_the_shares_of_all_processes_add_up_to_at_most_the_card(nvml_maker, tmp_path_factory, busy):
    parts, card_j = [], []
    for pid in busy:
        bench = Bench(nvml_maker(), FakeClock(), tmp_path_factory.mktemp("proc"), here=busy)
        bench.busy, bench.on_board = busy, set(busy)
        total, shares, _ = watched(bench, bench.meter(), seconds=4.0, pids=(pid,))
        card_j.append(total.value.joules)
        parts.append(sum(share.value.joules for share in shares))
    assert sum(parts) <= min(card_j) * (1 + 1e-9)
    if any(busy.values()):
        assert sum(parts) == pytest.approx(min(card_j), rel=0.1)


@pytest.fixture(scope="module")
def nvml_maker():
    """Makes boards as the `nvml` fixture does, as often as a law wants them."""
    return lambda: SimpleNamespace(
        NVMLError=LookupError,
        boards=[board := SimpleNamespace(energy_mj=5_000_000, instant_mw=100_000, name="NVIDIA L40S")],
        nvmlInit=lambda: None,
        nvmlShutdown=lambda: None,
        nvmlSystemGetDriverVersion=lambda: "570.86.15",
        nvmlDeviceGetCount=lambda: 1,
        nvmlDeviceGetHandleByIndex=lambda index: board,
        nvmlDeviceGetUUID=lambda handle: FIRST,
        nvmlDeviceGetName=lambda handle: handle.name,
        nvmlDeviceGetEnforcedPowerLimit=lambda handle: 700_000,
        nvmlDeviceGetTotalEnergyConsumption=lambda handle: handle.energy_mj,
        nvmlDeviceGetPowerUsage=lambda handle: handle.instant_mw,
    )


def test_ids_of_another_namespace_are_not_taken_for_other_processes_of_this_machine(bench):
    # In a container the driver may name processes as the host knows them: none of them is ours by its id.
    bench.busy, bench.on_board = {90_001: 30, 90_002: 60}, {90_001, 90_002}

    total, shares, notes = watched(bench, bench.meter())

    assert shares == ()
    assert total.value.joules == pytest.approx(1000.0, rel=0.02)
    assert any("does not say which part" in note for note in notes)


def test_a_driver_that_does_not_say_who_is_busy_leaves_the_share_unknown(bench):
    bench.on_board = {OURS, OTHER}

    _, shares, notes = watched(bench, bench.meter())

    assert shares == ()
    assert any("does not say which part" in note for note in notes)


def test_clients_of_one_mps_server_share_its_board(bench):
    bench.nvml.nvmlDeviceGetComputeRunningProcesses = lambda handle: []
    bench.nvml.nvmlDeviceGetMPSComputeRunningProcesses = lambda handle: [
        SimpleNamespace(pid=pid) for pid in (OURS, OTHER)
    ]
    bench.busy = {OURS: 25, OTHER: 75}

    total, (share,), notes = watched(bench, bench.meter())

    assert share.value.joules == pytest.approx(0.25 * total.value.joules, rel=0.03)
    assert any("allocated to this run" in note for note in notes)


def divide(nvml):
    """Two instances on the second board, of 16 and 98 multiprocessors."""
    sizes = {MIG_ONE: 16, MIG_TWO: 98}
    real = nvml.nvmlDeviceGetUUID
    nvml.nvmlDeviceGetMaxMigDeviceCount = lambda handle: 7 if handle.uuid == SECOND else 0

    def instance(handle, index):
        if index >= 2:
            raise nvml.NVMLError("Not Found")
        return list(sizes)[index]

    nvml.nvmlDeviceGetMigDeviceHandleByIndex = instance
    nvml.nvmlDeviceGetAttributes = lambda handle: SimpleNamespace(multiprocessorCount=sizes[handle])
    nvml.nvmlDeviceGetUUID = lambda handle: handle if isinstance(handle, str) else real(handle)


@pytest.mark.parametrize(("visible", "part"), [(MIG_ONE, 16 / 114), (MIG_TWO, 98 / 114), (f"{MIG_ONE},{MIG_TWO}", 1.0)])
def test_an_instance_is_allocated_its_size_of_the_card_and_never_measured(bench, visible, part):
    divide(bench.nvml)

    total, (share,), notes = watched(bench, bench.meter(visible))

    assert total.value.joules == pytest.approx(1000.0, rel=0.02)
    assert share.value.joules == pytest.approx(part * total.value.joules, rel=0.03)
    assert (share.method, share.grade) == (Method.MODELLED, Grade.C)
    assert any("MIG" in note and "not measured" in note for note in notes)


def test_a_divided_card_whose_instance_nobody_names_has_no_share(bench):
    divide(bench.nvml)
    meter = bench.meter(SECOND)

    _, shares, notes = watched(bench, meter)

    assert shares == ()
    assert any("does not say which part" in note for note in notes)
    assert any("divided (MIG)" in note for note in meter.notes)


def test_a_virtual_gpu_is_a_grade_lower_and_says_so(bench):
    bench.nvml.nvmlDeviceGetVirtualizationMode = lambda handle: 2
    meter = bench.meter()

    total, _, _ = watched(bench, meter)

    assert total.grade is Grade.C
    assert any("virtual GPU" in note for note in meter.notes)


class OnTheBoard:
    """An executor whose command keeps the board busy for ten seconds."""

    name = "on-the-board"

    def __init__(self, clock):
        self.clock = clock

    @classmethod
    def probe(cls):
        return Availability(cls.name, usable=True)

    def run(self, command):
        self.clock.sleep(10.0)
        return Completed(0, 1.0)


@pytest.mark.parametrize("combined", [False, True])
def test_the_receipt_of_a_command_has_the_card_in_its_total_and_the_share_beside_it(bench, combined):
    bench.busy, bench.on_board = {OTHER: 60}, {OTHER}
    meter = CombinedMeter([bench.meter()]) if combined else bench.meter()

    with MeterSession(meter, bench.clock) as session:
        receipt = measure_command(
            session, OnTheBoard(bench.clock), ["train"], project="p", phase=Phase.TRAINING, hum_s=0
        )

    allocated = [m for m in receipt.overlapping if "allocated" in m.source]
    assert receipt.total.value.joules == pytest.approx(1000.0, rel=0.05)
    assert receipt.total.method is Method.COUNTER
    # All of it was the neighbour's: that is known too, and is not the same as unknown.
    assert [m.value.joules for m in allocated] == [0.0]
    assert any("not measured" in note for note in receipt.notes)


@pytest.mark.parametrize("visible", ["7", "GPU-zzzz", "MIG-33333333-0000", "MIG-GPU-none/1/0", "gpu0", "0;1"])
def test_a_device_that_nobody_knows_is_refused_before_anything_is_measured(nvml, visible):
    with pytest.raises(MeterUnavailable, match="no such device") as caught:
        NvmlMeter(nvml=nvml, visible=visible).open()
    assert SECOND in caught.value.remedy
