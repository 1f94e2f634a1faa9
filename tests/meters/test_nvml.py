"""The NVIDIA meter: which boards, counter before power, and two sensors that must agree."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from outweigh.backends.meters.nvml import NvmlMeter, asleep
from outweigh.core.errors import MeterUnavailable
from outweigh.core.measurement import Method
from outweigh.measure import FakeClock, MeterSession

FIRST, SECOND = "GPU-aaaaaaaa-0000-0000-0000-000000000001", "GPU-bbbbbbbb-0000-0000-0000-000000000002"
MIG_ONE, MIG_TWO = "MIG-11111111-0000-0000-0000-000000000001", "MIG-22222222-0000-0000-0000-000000000002"


def devices(nvml, visible):
    meter = NvmlMeter(nvml=nvml, visible=visible)
    meter.open()
    found = [c.device for c in meter.channels if c.counted]
    meter.close()
    return found


@pytest.mark.parametrize(
    ("visible", "expected"),
    [
        ("0", [FIRST]),
        ("1", [SECOND]),
        ("1,0", [SECOND, FIRST]),
        ("0,-1,1", [FIRST]),
        (SECOND, [SECOND]),
        ("GPU-bbbb", [SECOND]),
        (MIG_ONE, [SECOND]),
        (f"{MIG_ONE},{MIG_TWO}", [SECOND]),
        (f"MIG-{SECOND}/1/0", [SECOND]),
    ],
)
def test_visible_devices_are_found_by_index_uuid_and_instance(nvml, visible, expected):
    assert devices(nvml, visible) == expected


@pytest.mark.parametrize("visible", ["2", "GPU-cccc", "GPU-", "MIG-99999999-0000", "cuda:0"])
def test_a_device_that_is_not_there_is_an_error_and_not_ignored(nvml, visible):
    with pytest.raises(MeterUnavailable, match="no such device"):
        devices(nvml, visible)
    assert nvml.started == 0


def test_all_boards_are_read_when_nothing_is_said(nvml, monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert devices(nvml, None) == [FIRST, SECOND]


def test_hidden_boards_are_not_read(nvml):
    with pytest.raises(MeterUnavailable, match="hides every board"):
        devices(nvml, "")


def test_the_energy_counter_is_read_in_joules_and_power_stands_beside_it(nvml):
    meter = NvmlMeter(nvml=nvml, visible="0")
    meter.open()
    assert meter.method is Method.COUNTER
    assert [c.counted for c in meter.channels] == [True, False]
    assert meter.read().values == (5_000.0, 125.0)


def test_a_board_without_counter_is_integrated_from_its_instantaneous_power(nvml):
    nvml.boards[0].energy_mj = None
    meter = NvmlMeter(nvml=nvml, visible="0")
    meter.open()
    assert meter.method is Method.INTEGRATED
    assert meter.read().values == (125.0,)


def test_a_board_without_the_instantaneous_field_is_marked_as_averaging(nvml):
    nvml.boards[0].energy_mj = nvml.boards[0].instant_mw = None
    meter = NvmlMeter(nvml=nvml, visible="0")
    meter.open()
    assert meter.read().values == (120.0,)
    assert meter.channels[0].update_s == 1.0
    assert any("one-second average" in note for note in meter.notes)


def test_an_instance_says_that_the_card_is_read_whole(nvml):
    meter = NvmlMeter(nvml=nvml, visible=MIG_ONE)
    meter.open()
    assert any("whole card" in note for note in meter.notes)


def test_a_counter_far_from_the_power_beside_it_loses_a_grade_and_says_so(nvml):
    clock = FakeClock()
    board = nvml.boards[0]

    def draw():
        board.energy_mj += 10_000  # 100 W
        board.instant_mw = 200_000

    clock.every(0.1, draw)
    meter = NvmlMeter(nvml=nvml, visible="0", now=clock.monotonic_s)
    with MeterSession(meter, clock) as session, session.window() as window:
        clock.sleep(10.0)
    assert window.reading.status == "completed"
    assert window.reading.total.grade == "C"
    assert any(note.startswith("sensors disagree") for note in window.reading.notes)
    assert len(window.reading.overlapping) == 1


def test_a_board_that_falls_off_the_bus_ends_the_window_with_what_was_seen(nvml):
    clock = FakeClock()
    board = nvml.boards[0]

    def draw():
        if board.energy_mj is not None:
            board.energy_mj += 10_000  # 100 W

    clock.every(0.1, draw)
    meter = NvmlMeter(nvml=nvml, visible="0", now=clock.monotonic_s)
    with MeterSession(meter, clock) as session, session.window() as window:
        clock.sleep(5.0)
        board.energy_mj = board.instant_mw = board.power_mw = None
        clock.sleep(5.0)
    assert window.reading.status == "unusable"
    assert window.reading.total.value.joules == pytest.approx(500.0, abs=10.0)
    assert any("stopped answering" in note for note in window.reading.notes)


def test_without_a_driver_the_probe_says_so(nvml):
    nvml.driver = False
    found = NvmlMeter.probe(nvml)
    assert not found.usable
    assert "driver" in found.reason


def test_a_sleeping_board_is_seen_without_waking_it(tmp_path):
    board = tmp_path / "0000:01:00.0"
    (board / "power").mkdir(parents=True)
    (board / "vendor").write_text("0x10de\n")
    (board / "class").write_text("0x030000\n")
    (board / "power" / "runtime_status").write_text("suspended\n")
    assert asleep(tmp_path)
    assert "wake" in NvmlMeter.probe(pci=tmp_path).reason
    (board / "power" / "runtime_status").write_text("active\n")
    assert not asleep(tmp_path)


def test_a_machine_without_boards_is_not_asleep(tmp_path):
    assert not asleep(tmp_path)


def test_two_processes_on_one_board_share_its_work_without_overlap(nvml, monkeypatch):
    busy = [SimpleNamespace(pid=1, smUtil=30), SimpleNamespace(pid=2, smUtil=60), SimpleNamespace(pid=1, smUtil=10)]
    monkeypatch.setattr(nvml, "nvmlDeviceGetProcessUtilization", lambda handle, since: busy, raising=False)
    meter = NvmlMeter(nvml=nvml, visible="0")
    meter.open()
    one, two = meter.shares([1])[FIRST], meter.shares([2])[FIRST]
    assert one == pytest.approx(0.4)
    assert one + two == pytest.approx(1.0)


def test_a_board_that_does_not_say_who_is_busy_gives_no_share(nvml, monkeypatch):
    def refuse(handle, since):
        raise nvml.NVMLError("Not Supported")

    monkeypatch.setattr(nvml, "nvmlDeviceGetProcessUtilization", refuse, raising=False)
    meter = NvmlMeter(nvml=nvml, visible="0")
    meter.open()
    assert meter.shares([1]) == {FIRST: None}


@pytest.mark.parametrize(("name", "part_time"), [("NVIDIA H100 80GB HBM3", True), ("NVIDIA L40S", False)])
def test_boards_that_look_a_quarter_of_the_time_say_so_and_need_a_longer_window(nvml, name, part_time):
    nvml.boards[0].name = name
    meter = NvmlMeter(nvml=nvml, visible="0")
    meter.open()
    assert (meter.seen_share < 1) is part_time
    assert (meter.shortest_s >= 5) is part_time
    assert any("of the time" in note for note in meter.notes) is part_time
