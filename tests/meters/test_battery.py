"""A battery tells what the machine draws only while nothing else feeds it. The trees are made, after the kernel's."""

import runpy
from pathlib import Path
from types import SimpleNamespace

import pytest

from outweigh.backends.meters.battery import BatteryMeter
from outweigh.core.errors import MeterUnavailable
from outweigh.core.measurement import Grade, Scope
from outweigh.measure import FakeClock, MeterSession

further = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("further_meters.py"))))
battery = further.battery


def opened(root):
    meter = BatteryMeter(root=root)
    meter.open()
    return meter


@pytest.mark.parametrize(
    ("files", "watts"),
    [
        ({"power_now": 12_500_000}, 12.5),
        ({"power_now": -12_500_000}, 12.5),
        ({"current_now": -1_000_000, "voltage_now": 12_500_000}, 12.5),
        ({"current_now": 2_000_000, "voltage_now": 11_000_000}, 22.0),
    ],
)
def test_power_is_read_whichever_way_the_driver_tells_it(tmp_path, files, watts):
    battery(tmp_path, **files)
    meter = opened(tmp_path)
    assert meter.read().values == (pytest.approx(watts),)
    assert meter.channels[0].scope is Scope.NODE
    assert meter.grade is Grade.C


@pytest.mark.parametrize("status", ["Charging", "Full", "Not charging", "Unknown"])
def test_a_battery_that_does_not_discharge_says_nothing_of_the_draw(tmp_path, status):
    battery(tmp_path, status=status, power_now=5_000_000)
    with pytest.raises(MeterUnavailable, match=status):
        opened(tmp_path)


@pytest.mark.parametrize("online", [1, 2])  # 2: a supply whose voltage can be programmed
def test_mains_beside_a_discharging_battery_is_refused(tmp_path, online):
    battery(tmp_path, power_now=5_000_000)
    battery(tmp_path, "AC", type="Mains", online=online)
    with pytest.raises(MeterUnavailable, match="mains is connected"):
        opened(tmp_path)


def test_of_two_batteries_the_resting_one_gives_nothing(tmp_path):
    battery(tmp_path, "BAT0", status="Not charging", power_now=3)
    battery(tmp_path, "BAT1", power_now=9_000_000)
    assert opened(tmp_path).read().values == (0.0, 9.0)


def test_the_battery_of_a_mouse_is_not_the_machines(tmp_path):
    battery(tmp_path, "hidpp_battery_0", scope="Device", power_now=1)
    assert BatteryMeter.probe(root=tmp_path).reason == "this machine has no battery"


def test_a_battery_that_tells_neither_power_nor_current_is_refused(tmp_path):
    battery(tmp_path, energy_now=40_000_000)
    with pytest.raises(MeterUnavailable, match="neither power nor current"):
        opened(tmp_path)


def test_mains_plugged_in_during_a_run_makes_the_rest_unseen_and_not_zero(tmp_path):
    clock = FakeClock()
    folder = battery(tmp_path, power_now=20_000_000)
    meter = BatteryMeter(root=tmp_path, now=clock.monotonic_s)
    with MeterSession(meter, clock) as session, session.window() as window:
        clock.sleep(30.0)
        (folder / "status").write_text("Charging\n")
        clock.sleep(30.0)
    assert window.reading.status == "unusable"
    assert window.reading.coverage == pytest.approx(0.5, abs=0.05)
    assert any("does not run on battery alone" in note for note in window.reading.notes)
