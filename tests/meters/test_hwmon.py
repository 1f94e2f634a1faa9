"""The hardware-monitoring tree: what each sensor sees, what is counted, what nobody may guess.

The trees are made: names and units are those of the kernel's documentation, no test machine has the chips.
"""

import runpy
from pathlib import Path
from types import SimpleNamespace

import pytest

from outweigh.backends.meters.hwmon import HwmonMeter
from outweigh.core.errors import MeterUnavailable, UsageError
from outweigh.core.measurement import Grade, Method, Scope
from outweigh.measure import FakeClock, MeterSession

further = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("further_meters.py"))))
chip = further.hwmon_chip


@pytest.fixture
def root(tmp_path):
    return tmp_path / "hwmon"


def opened(root, which="", **options):
    meter = HwmonMeter(which, root=root, **options)
    meter.open()
    return meter


def counted(meter):
    return [(c.id, c.scope) for c in meter.channels if c.counted]


def test_microwatts_become_watts_and_microjoules_joules(root):
    chip(root, 0, "amdgpu", power1_average=93_000_000)
    chip(root, 1, "i915", energy1_input=1_500_000)
    meter = opened(root)
    assert dict(zip([c.id for c in meter.channels], meter.read().values, strict=True)) == {"amdgpu": 93.0, "i915": 1.5}


def test_the_machine_is_counted_and_what_is_inside_it_is_shown(root):
    chip(root, 0, "power_meter", power1_average=400_000_000, power1_accuracy="95.0%", power1_average_interval=1000)
    chip(root, 1, "amdgpu", power1_average=90_000_000)
    chip(root, 2, "amd_energy", energy1_input=5, energy1_label="Esocket0", energy2_input=2, energy2_label="Ecore000")
    meter = opened(root)
    assert counted(meter) == [("power_meter", Scope.NODE)]
    assert sum("is shown, not added" in note for note in meter.notes) == 3
    (calibration,) = meter.components()
    assert calibration.standard == pytest.approx(0.05 / 3**0.5)
    assert meter.grade is Grade.B


def test_a_sockets_counter_is_counted_and_its_cores_are_a_part_of_it(root):
    chip(root, 0, "amd_energy", energy1_input=5, energy1_label="Esocket0", energy2_input=2, energy2_label="Ecore000")
    meter = opened(root)
    assert counted(meter) == [("amd_energy/Esocket0", Scope.PACKAGE)]
    assert meter.method is Method.COUNTER


def test_power_meters_of_a_grace_are_told_apart_by_what_the_firmware_calls_them(root):
    for i, name in enumerate(("Grace", "CPU", "SysIO")):
        chip(root, i, "power_meter", power1_average=50_000_000, power1_oem_info=f"{name} Power Socket 0")
    assert counted(opened(root)) == [("power_meter/Grace Power Socket 0", Scope.PACKAGE)]


def test_a_module_that_no_scope_names_is_left_to_the_user(root):
    chip(root, 0, "power_meter", power1_average=600_000_000, power1_oem_info="Module Power Socket 0")
    with pytest.raises(MeterUnavailable, match="Module Power Socket 0 is fitted to is not known"):
        opened(root)
    assert opened(root, "power_meter=node").grade is Grade.C


def test_several_nameless_power_meters_are_not_taken_for_the_machine(root):
    chip(root, 0, "power_meter", power1_average=1)
    chip(root, 1, "power_meter", power1_average=2)
    with pytest.raises(MeterUnavailable):
        opened(root)


def test_two_boards_of_one_kind_are_two_devices(root):
    chip(root, 0, "amdgpu", power1_average=1_000_000)
    chip(root, 1, "amdgpu", power1_average=2_000_000)
    meter = opened(root)
    assert [c.id for c in meter.channels] == ["amdgpu", "amdgpu #2"]
    assert len({c.device for c in meter.channels}) == 2


def test_the_moments_power_goes_before_the_average_of_the_same_sensor(root):
    chip(root, 0, "amdgpu", power1_input=7_000_000, power1_average=9_000_000)
    assert opened(root).read().values == (7.0,)


def test_a_counter_goes_before_the_power_beside_it(root):
    chip(root, 0, "xe", energy1_input=0, energy1_label="card", power1_input=10_000_000, power1_label="card")
    meter = opened(root)
    assert [(c.kind, c.counted) for c in meter.channels] == [("energy", True), ("power", False)]


def test_an_unknown_chip_is_not_guessed_and_can_be_named(root):
    chip(root, 0, "ina226", power1_input=12_000_000, power1_label="VDD_IN", power2_input=3_000_000)
    with pytest.raises(MeterUnavailable) as caught:
        opened(root)
    assert "ina226=node" in caught.value.remedy
    meter = opened(root, "ina226/VDD_IN=node")
    assert counted(meter) == [("ina226/VDD_IN", Scope.NODE)]
    assert meter.grade is Grade.C
    assert any("user's word" in note for note in meter.notes)


def test_a_scope_that_does_not_exist_is_refused_with_those_that_do():
    with pytest.raises(UsageError, match="package"):
        HwmonMeter("ina226=motherboard")


def test_sensors_registered_the_old_way_are_found_in_the_device_folder(root):
    folder = root / "hwmon0"
    (folder / "device").mkdir(parents=True)
    (folder / "device" / "name").write_text("power_meter\n")
    (folder / "device" / "power1_average").write_text("212000000\n")
    assert opened(root).read().values == (212.0,)


def test_a_sensor_that_is_listed_and_has_nothing_to_say_is_left_out(root):
    chip(root, 0, "amdgpu", power1_average="")
    chip(root, 1, "i915", energy1_input=5)
    assert counted(opened(root)) == [("i915", Scope.GPU)]


def test_a_probe_of_a_machine_without_the_tree_says_so(tmp_path):
    found = HwmonMeter.probe(root=tmp_path / "none")
    assert not found.usable
    assert found.remedy


def test_a_counter_that_a_driver_reload_set_to_zero_is_not_a_wrap(root):
    clock = FakeClock()
    card = chip(root, 0, "i915", energy1_input=0)

    def draw():
        drawn_j = 100 * (clock.monotonic_s() - (5 if clock.monotonic_s() > 5 else 0))
        (card / "energy1_input").write_text(str(round(drawn_j * 1e6)))

    clock.every(0.1, draw)
    meter = HwmonMeter(root=root, now=clock.monotonic_s)
    with MeterSession(meter, clock) as session, session.window() as window:
        clock.sleep(10.0)
    assert window.reading.status == "unusable"
    assert 0 < window.reading.total.value.joules <= 1000


def test_a_sleeping_board_is_not_woken_unless_it_is_named(root, tmp_path):
    chip(root, 0, "amdgpu", power1_average=93_000_000)
    board = tmp_path / "pci"
    (board / "power").mkdir(parents=True)
    (board / "power/runtime_status").write_text("suspended\n")
    (root / "hwmon0/device").symlink_to(board)

    with pytest.raises(MeterUnavailable, match="would wake it") as caught:
        opened(root)
    assert "--meter hwmon:amdgpu" in caught.value.remedy
    assert opened(root, "amdgpu").read().values == (93.0,)

    chip(root, 1, "i915", energy1_input=1_500_000)
    assert any("amdgpu is not read: it sleeps" in note for note in opened(root).notes)
