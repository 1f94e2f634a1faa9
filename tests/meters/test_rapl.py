"""The powercap meter: which counters are one, which are added, and what is said when none can be read."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from outweigh.backends.meters.rapl import RaplMeter
from outweigh.core.errors import MeterUnavailable
from outweigh.core.measurement import Scope
from outweigh.measure import FakeClock, MeterSession


def opened(powercap, cpuinfo, **options):
    meter = RaplMeter(powercap.root, cpuinfo=cpuinfo, **options)
    meter.open()
    return meter


def counted(meter):
    return {c.id for c in meter.channels if c.counted}


def test_packages_and_memory_of_both_sockets_are_added(powercap, cpuinfo):
    meter = opened(powercap.server(), cpuinfo())
    assert counted(meter) == {"package-0", "package-0/dram", "package-1", "package-1/dram"}


def test_cores_and_uncore_are_shown_but_not_added_to_their_package(powercap, cpuinfo):
    powercap.zone("intel-rapl:0", "package-0")
    powercap.zone("intel-rapl:0:0", "core")
    powercap.zone("intel-rapl:0:1", "uncore")
    meter = opened(powercap, cpuinfo(sockets=1))
    assert counted(meter) == {"package-0"}
    assert {c.id for c in meter.channels} == {"package-0", "package-0/core", "package-0/uncore"}


def test_the_platform_domain_is_not_taken_for_a_second_processor(powercap, cpuinfo):
    powercap.server(sockets=1)
    powercap.zone("intel-rapl:1", "psys", 5_000.0)
    meter = opened(powercap, cpuinfo(sockets=1))
    assert counted(meter) == {"package-0", "package-0/dram"}
    assert any(note.startswith("psys is shown, not added") for note in meter.notes)


def test_the_platform_domain_alone_is_counted(powercap, cpuinfo):
    powercap.zone("intel-rapl:0", "psys")
    assert counted(opened(powercap, cpuinfo(sockets=1))) == {"psys"}


def test_the_same_package_through_mmio_is_dropped(powercap, cpuinfo):
    powercap.zone("intel-rapl:0", "package-0", 1_000.0)
    powercap.zone("intel-rapl-mmio:0", "package-0", 1_000.0)
    meter = opened(powercap, cpuinfo(sockets=1))
    assert [c.id for c in meter.channels] == ["package-0"]
    assert "package-0 of intel-rapl-mmio is the same domain again" in meter.notes


def test_a_die_that_mirrors_the_counter_of_its_socket_is_counted_once(powercap, cpuinfo):
    # 68 W + 68 W shown as 137 W on a two-die Zen: mlco2/codecarbon#1274
    powercap.zone("intel-rapl:0", "package-0-die-0", 20_000.0)
    powercap.zone("intel-rapl:1", "package-0-die-1", 20_000.01)
    meter = opened(powercap, cpuinfo(sockets=1))
    assert counted(meter) == {"package-0-die-0"}


def test_two_dies_with_counters_of_their_own_are_both_counted(powercap, cpuinfo):
    powercap.zone("intel-rapl:0", "package-0-die-0", 20_000.0)
    powercap.zone("intel-rapl:1", "package-0-die-1", 18_000.0)
    clock = FakeClock()
    with MeterSession(RaplMeter(powercap.root, cpuinfo=cpuinfo(sockets=1), now=clock.monotonic_s), clock) as session:
        assert counted(session.meter) == {"package-0-die-0", "package-0-die-1"}


def test_a_socket_without_a_counter_is_missed_aloud(powercap, cpuinfo):
    meter = opened(powercap.server(sockets=1), cpuinfo(sockets=2))
    assert any("1 of 2 processor packages" in note for note in meter.notes)


def test_a_counter_that_may_not_be_read_names_the_file_and_a_group_not_the_world(powercap, cpuinfo):
    def refuse(path):
        raise PermissionError(13, "Permission denied", str(path))

    meter = RaplMeter(powercap.server().root, cpuinfo=cpuinfo(), opener=refuse)
    with pytest.raises(MeterUnavailable) as caught:
        meter.open()
    assert "energy_uj may not be read" in caught.value.reason
    assert "udev" in caught.value.remedy
    assert "group" in caught.value.remedy
    assert "a+r" not in caught.value.remedy


@pytest.fixture
def nobody(tmp_path, monkeypatch):
    """A user without rights, in a folder of the test: root reads what nobody else may."""
    tmp_path.chmod(0o755)
    monkeypatch.chdir(tmp_path)  # the folders above are root's alone, and a relative path need not pass them
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65_534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def shut_tree(powercap, cpuinfo):
    cpuinfo()
    for zone in powercap.server().root.iterdir():
        (zone / "energy_uj").chmod(0)


def test_the_probe_says_so_when_the_kernel_lets_only_root_read(shut_tree, nobody):
    found = RaplMeter.probe("powercap", Path("cpuinfo"))
    assert not found.usable
    assert "energy_uj may not be read by this user" in found.reason
    assert "udev" in found.remedy


def test_a_virtual_machine_is_told_that_its_energy_is_only_modelled(tmp_path, cpuinfo):
    found = RaplMeter.probe(tmp_path / "nothing", cpuinfo(flags="fpu hypervisor"))
    assert not found.usable
    assert "virtual machine" in found.reason
    assert "cpu-model" in found.remedy


def test_a_machine_without_the_driver_is_told_which_module_to_load(tmp_path, cpuinfo):
    found = RaplMeter.probe(tmp_path / "nothing", cpuinfo())
    assert "modprobe intel_rapl_msr" in found.remedy


def test_a_tree_that_works_says_what_it_sees(powercap, cpuinfo):
    found = RaplMeter.probe(powercap.server(sockets=1).root, cpuinfo(sockets=1))
    assert found.usable
    assert found.sees == "package-0 + package-0/dram"
    assert found.grade == "B"


def test_a_session_counts_a_wrap_in_the_middle_of_a_window(powercap, cpuinfo):
    range_j = 262_143.328850
    powercap.zone("intel-rapl:0", "package-0", range_j - 50.0)
    clock = FakeClock()
    meter = RaplMeter(powercap.root, cpuinfo=cpuinfo(sockets=1), now=clock.monotonic_s)
    with MeterSession(meter, clock) as session:
        with session.window() as window:
            powercap.set_j("intel-rapl:0", 70.0)
            clock.sleep(1.0)
        assert window.reading.total.value.joules == pytest.approx(120.0, abs=1.0)
        assert window.reading.status == "completed"


def test_a_session_never_adds_the_range_after_a_reset(powercap, cpuinfo):
    powercap.zone("intel-rapl:0", "package-0", 10_000.0)
    clock = FakeClock()
    meter = RaplMeter(powercap.root, cpuinfo=cpuinfo(sockets=1), now=clock.monotonic_s)
    with MeterSession(meter, clock) as session:
        with session.window() as window:
            clock.sleep(1.0)
            powercap.set_j("intel-rapl:0", 10_050.0)
            clock.sleep(1.0)
            powercap.set_j("intel-rapl:0", 3.0)
            clock.sleep(1.0)
        reading = window.reading
    assert reading.status == "unusable"
    assert reading.total.value.joules == pytest.approx(50.0)
    assert reading.total.grade == "D"
    assert any("the counter fell" in note for note in reading.notes)


def test_package_and_memory_bear_a_label_that_neither_can_be_added_to(powercap, cpuinfo):
    clock = FakeClock()
    meter = RaplMeter(powercap.server(sockets=1).root, cpuinfo=cpuinfo(sockets=1), now=clock.monotonic_s)
    with MeterSession(meter, clock) as session, session.window() as window:
        powercap.set_j("intel-rapl:0", 1_040.0)
        powercap.set_j("intel-rapl:0:0", 305.0)
        clock.sleep(0.5)
    assert window.reading.total.value.joules == pytest.approx(45.0, abs=0.5)
    assert window.reading.total.scope.contains(Scope.PACKAGE)
    assert window.reading.total.scope.contains(Scope.DRAM)
