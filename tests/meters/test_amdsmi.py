"""AMD boards, whose counter is used only when it agrees with the power beside it.

AMD SMI is a made object with the documented dictionaries: no test machine has an AMD board, and the faults played
are those reported of real ones (ROCm/amdsmi#22, #38, #115; mlco2/codecarbon#1097).
"""

import runpy
from pathlib import Path
from types import SimpleNamespace

import pytest

from outweigh.backends.meters.amdsmi import AmdsmiMeter, asleep
from outweigh.core.errors import MeterUnavailable, MissingExtra
from outweigh.core.measurement import Grade, Method
from outweigh.measure import FakeClock, MeterSession

further = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("further_meters.py"))))


@pytest.fixture(autouse=True)
def every_board_visible(monkeypatch):
    for name in ("HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES"):
        monkeypatch.delenv(name, raising=False)


def machine(*courses, power_w=200.0):
    """A meter on boards that draw `power_w`, each counting by its own course of energy over time."""
    clock = FakeClock()
    boards = [{"power_w": power_w} for _ in courses]

    def draw():
        for board, course in zip(boards, courses, strict=True):
            board["energy_j"] = course(clock.monotonic_s())

    draw()
    clock.every(0.01, draw)
    meter = AmdsmiMeter(smi=further.FakeAmdsmi(boards), now=clock.monotonic_s, wait=clock.sleep)
    return meter, clock, boards


def honest(t_s):
    return 1e6 + 200.0 * t_s


def test_a_counter_that_agrees_with_its_power_is_counted_in_joules():
    meter, _, _ = machine(honest)
    meter.open()
    assert (meter.grade, meter.method) == (Grade.B, Method.COUNTER)
    assert [c.counted for c in meter.channels] == [True, False]
    assert meter.read().values == (pytest.approx(1e6 + 100.0, abs=3.0), 200.0)


FAULTS = {
    "is absent": lambda t_s: None,
    "stood still": lambda t_s: 1e6,
    "ran backwards": lambda t_s: 1e6 - 200 * t_s,
    "times the power sensor": lambda t_s: 1e6 + 100 * 200 * t_s,
    "gives 0.0": lambda t_s: 1e6 + 0.01 * 200 * t_s,
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_counter_that_fails_its_test_gives_way_to_integrated_power_a_grade_lower(fault):
    meter, clock, _ = machine(FAULTS[fault])
    with MeterSession(meter, clock) as session, session.window() as window:
        clock.sleep(10.0)
    reading = window.reading
    assert reading.total.value.joules == pytest.approx(2000.0)
    assert (reading.total.grade, reading.total.method) == (Grade.C, Method.INTEGRATED)
    assert any(fault in note and "integrated instead" in note for note in reading.notes)


def test_one_bad_counter_among_good_ones_lowers_the_whole():
    meter, _, _ = machine(honest, FAULTS["stood still"])
    meter.open()
    assert meter.grade is Grade.C
    assert [c.id.rpartition(" ")[2] for c in meter.channels if c.counted] == ["energy", "power"]


def test_a_counter_that_goes_wrong_after_its_test_is_still_seen():
    meter, clock, _ = machine(lambda t_s: honest(t_s) if t_s < 1 else honest(1) + 0.5 * 200 * (t_s - 1))
    with MeterSession(meter, clock) as session, session.window() as window:
        clock.sleep(20.0)
    assert window.reading.total.grade == "C"
    assert any(note.startswith("sensors disagree") for note in window.reading.notes)


def test_a_counter_that_runs_backwards_later_makes_the_window_unusable():
    meter, clock, _ = machine(lambda t_s: honest(t_s) if t_s < 5 else honest(t_s) - 500)
    with MeterSession(meter, clock) as session, session.window() as window:
        clock.sleep(10.0)
    assert window.reading.status == "unusable"


def test_a_second_die_without_sensors_of_its_own_is_left_to_the_first():
    meter, _, boards = machine(honest, lambda t_s: 0.0)
    boards[1]["power_w"] = 0
    meter.open()
    assert [c.id for c in meter.channels if c.counted] == ["gpu-0 AMD Instinct MI300X energy"]
    assert meter.grade is Grade.B
    assert any("another die" in note for note in meter.notes)


def test_a_counter_without_power_beside_it_is_used_a_grade_lower():
    meter, _, boards = machine(honest)
    boards[0]["power_w"] = None
    meter.open()
    assert meter.grade is Grade.C
    assert any("could not be tested" in note for note in meter.notes)


def test_boards_that_give_nothing_at_all_are_refused():
    meter, _, _ = machine(lambda t_s: None, power_w=None)
    with pytest.raises(MeterUnavailable, match="no board gives energy or power"):
        meter.open()


@pytest.mark.parametrize(
    ("rocr", "hip", "expected"),
    [
        ("1,2", None, [1, 2]),
        (None, "2,0", [2, 0]),
        ("1,2", "1", [2]),
        ("GPU-02ff74a1", None, [2]),
        (None, "GPU-01ff74a100001000", [1]),
    ],
)
def test_visible_devices_are_found_by_index_and_uuid(rocr, hip, expected):
    boards = [{"power_w": 100.0} for _ in range(3)]
    meter = AmdsmiMeter(smi=further.FakeAmdsmi(boards), rocr_visible=rocr, hip_visible=hip, wait=lambda s: None)
    meter.open()
    assert [c.id for c in meter.channels] == [f"gpu-{i} AMD Instinct MI300X power" for i in expected]


@pytest.mark.parametrize("visible", ["3", "GPU-", "GPU-77", "card0", ""])
def test_a_device_that_is_not_there_is_an_error_and_not_ignored(visible):
    smi = further.FakeAmdsmi([{"power_w": 100.0}] * 3)
    with pytest.raises(MeterUnavailable):
        AmdsmiMeter(smi=smi, rocr_visible=visible).open()
    assert smi.started == 0


def test_without_the_package_the_remedy_names_it(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "amdsmi", None)
    with pytest.raises(MissingExtra, match="amdsmi"):
        AmdsmiMeter().open()
    found = AmdsmiMeter.probe()
    assert not found.usable
    assert "pip install amdsmi" in found.remedy


def test_without_a_driver_the_probe_says_so():
    smi = further.FakeAmdsmi([])
    smi.driver = False
    assert "no amdgpu driver" in AmdsmiMeter.probe(smi=smi).reason


def test_a_sleeping_board_is_not_woken_by_the_doctor(tmp_path):
    folder = tmp_path / "0000:03:00.0"
    (folder / "power").mkdir(parents=True)
    for name, text in (("vendor", "0x1002"), ("class", "0x030000"), ("power/runtime_status", "suspended")):
        (folder / name).write_text(f"{text}\n")
    assert asleep(tmp_path)
    assert "would wake it" in AmdsmiMeter.probe(pci=tmp_path).reason
