"""rapl through perf events: the same domains and the same rules, where powercap may not be read."""

from __future__ import annotations

import os
import runpy
from pathlib import Path
from types import SimpleNamespace

import pytest

from outweigh.backends._perf import Event, KernelDoor, Pmu, find_pmu, read_count
from outweigh.backends.meters.rapl import RaplMeter
from outweigh.core.errors import MeterUnavailable
from outweigh.core.measurement import check_disjoint
from outweigh.measure import FakeClock, MeterSession

further = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("further_meters.py"))))


def refused(path):
    raise PermissionError(13, "Permission denied", str(path))


@pytest.fixture
def perf(tmp_path):
    return lambda **options: further.PerfMachine(tmp_path / "perf", **options)


def opened(powercap, cpuinfo, machine, **options):
    meter = RaplMeter(powercap.root, cpuinfo=cpuinfo, opener=refused, perf=machine.route, **options)
    meter.open()
    return meter


def counted(meter):
    return {c.id for c in meter.channels if c.counted}


def test_where_powercap_may_not_be_read_perf_gives_the_same_joules_and_says_why(powercap, cpuinfo, perf):
    machine = perf()
    meter = opened(powercap.server(), cpuinfo(), machine)
    machine.set_j("energy-pkg", 0, 40.0)
    machine.set_j("energy-pkg", 18, 30.0)
    values = dict(zip([c.id for c in meter.channels], meter.read().values, strict=True))

    assert values == pytest.approx({"package-0": 40.0, "package-1": 30.0, "package-0/dram": 0, "package-1/dram": 0})
    assert counted(meter) == set(values)
    assert meter.source.startswith("rapl (perf)")
    assert "energy_uj may not be read" in meter.notes[0]
    check_disjoint((c.device, c.scope) for c in meter.channels if c.counted)


def test_powercap_goes_first_where_it_can_be_read(powercap, cpuinfo, perf):
    meter = RaplMeter(powercap.server().root, cpuinfo=cpuinfo(), perf=perf().route)
    meter.open()
    assert meter.source.startswith("rapl (powercap)")


def test_without_a_powercap_driver_perf_is_enough(tmp_path, cpuinfo, perf):
    found = RaplMeter.probe(tmp_path / "nothing", cpuinfo(), perf=perf().route)
    assert found.usable
    assert found.sees == "package-0 + package-0/dram + package-1 + package-1/dram"
    assert "perf events" in found.improve


def test_parts_of_a_package_and_the_platform_are_shown_and_not_added(powercap, cpuinfo, perf):
    machine = perf(events=tuple(further.PERF_EVENTS))
    meter = opened(powercap.server(), cpuinfo(), machine)
    assert counted(meter) == {"package-0", "package-0/dram", "package-1", "package-1/dram"}
    shown = {c.id for c in meter.channels if not c.counted}
    # One platform, however many packages it has.
    assert shown == {"psys", "package-0/core", "package-0/uncore", "package-1/core", "package-1/uncore"}


def test_an_amd_socket_whose_dies_repeat_one_counter_is_counted_once(powercap, cpuinfo, perf):
    machine = perf(events=("energy-pkg",), cpus="0,8,16", packages=(0, 0, 1))
    meter = opened(powercap.server(), cpuinfo(vendor_id="AuthenticAMD"), machine)
    assert counted(meter) == {"package-0", "package-1"}
    assert any("processor 8 counts package-0 again" in note for note in meter.notes)


def test_dies_of_an_intel_package_have_counters_of_their_own(powercap, cpuinfo, perf):
    machine = perf(events=("energy-pkg",), cpus="0,8", packages=(0, 0))
    assert counted(opened(powercap.server(), cpuinfo(sockets=1), machine)) == {"package-0-die-0", "package-0-die-1"}


def test_a_socket_without_an_event_is_missed_aloud(powercap, cpuinfo, perf):
    meter = opened(powercap.server(), cpuinfo(sockets=2), perf(cpus="0", packages=(0,)))
    assert any("1 of 2 processor packages" in note for note in meter.notes)


def test_when_both_ways_are_shut_each_is_named_with_what_mends_it(powercap, cpuinfo, perf):
    machine = perf(level=4)
    machine.refuse = PermissionError(1, "Operation not permitted")
    with pytest.raises(MeterUnavailable) as caught:
        opened(powercap.server(), cpuinfo(), machine)
    assert "energy_uj may not be read" in caught.value.reason
    assert "perf_event_paranoid is 4" in caught.value.reason
    for way in ("udev", "CAP_PERFMON", "perf_event_paranoid=0"):
        assert way in caught.value.remedy
    assert "a+r" not in caught.value.remedy


def test_events_that_the_kernel_does_not_know_are_no_way_either(powercap, cpuinfo, perf):
    machine = perf()
    machine.refuse = OSError(2, "No such file or directory")
    with pytest.raises(MeterUnavailable, match="events do not open"):
        opened(powercap.server(), cpuinfo(), machine)


def test_a_virtual_machine_does_not_come_in_by_the_side_door(tmp_path, cpuinfo, perf):
    found = RaplMeter.probe(tmp_path / "nothing", cpuinfo(flags="fpu hypervisor"), perf=perf().route)
    assert not found.usable
    assert "virtual machine" in found.reason


def test_an_event_in_another_unit_is_left_alone(powercap, cpuinfo, perf):
    machine = perf()
    (machine.root / "bus/event_source/devices/power/events/energy-ram.unit").write_text("Watts\n")
    assert counted(opened(powercap.server(), cpuinfo(), machine)) == {"package-0", "package-1"}


def test_a_processor_that_is_switched_off_gives_no_value_and_not_zero_joules(powercap, cpuinfo, perf):
    machine = perf()
    meter = opened(powercap.server(), cpuinfo(), machine)
    machine.counter("energy-pkg", 18).write_bytes(b"")
    values = dict(zip([c.id for c in meter.channels], meter.read().values, strict=True))
    assert values["package-1"] is None
    assert values["package-0"] == 0.0


def test_the_count_goes_on_past_the_range_of_the_hardware(powercap, cpuinfo, perf):
    machine = perf(events=("energy-pkg",))
    meter = opened(powercap.server(), cpuinfo(), machine)
    machine.set_j("energy-pkg", 0, 3e6)  # the register itself starts again after 262 kJ
    assert meter.read().values[0] == pytest.approx(3e6)
    assert all(channel.wrap_j is None for channel in meter.channels)


def test_a_session_reads_a_window_through_perf(powercap, cpuinfo, perf):
    clock, machine = FakeClock(), perf(events=("energy-pkg",), cpus="0", packages=(0,))
    meter = RaplMeter(powercap.root, cpuinfo=cpuinfo(sockets=1), now=clock.monotonic_s, perf=machine.route)
    with MeterSession(meter, clock) as session, session.window() as window:
        machine.set_j("energy-pkg", 0, 40.0)
        clock.sleep(0.5)
    assert window.reading.status == "completed"
    assert window.reading.total.value.joules == pytest.approx(40.0, abs=0.5)


def test_what_the_kernel_writes_about_a_unit_is_understood(perf):
    found = find_pmu(perf(cpus="0,18").root / "bus/event_source/devices/power")
    assert (found.type, found.cpus) == (23, (0, 18))
    assert found.events[0] == Event("energy-pkg", 2, 2.0**-32, "Joules")


def test_the_system_call_counts_on_this_kernel():
    # The clock of processor 0, PERF_TYPE_SOFTWARE and PERF_COUNT_SW_CPU_CLOCK of perf_event_open(2), in nanoseconds:
    # no counter of energy, but the same call, permission and reading.
    door, clock = KernelDoor(), Event("cpu-clock", 0, 1e-9, "s")
    try:
        file = door.open(Pmu(1, (0,), (clock,)), clock, 0)
    except OSError as err:
        pytest.skip(f"perf events may not be opened here: {err}")
    try:
        first, second = read_count(door, file), read_count(door, file)
    finally:
        os.close(file)
    assert 0 < first < second


def test_the_system_call_says_what_the_kernel_refused():
    door, nothing = KernelDoor(), Event("nothing", 0, 1.0, "Joules")
    with pytest.raises(OSError, match="perf event nothing of processor 0"):
        door.open(Pmu(0x7FFFFFFF, (0,), (nothing,)), nothing, 0)
