"""Conditions of a run (pitfalls 21 and 28), on made trees of /sys and /proc."""

from __future__ import annotations

import subprocess
import sys
import time
from dataclasses import replace

import pytest

from outweigh.measure.conditions import Conditions, changes, conditions_at

SYS_CPU = "sys/devices/system/cpu"


def write(root, files):
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}\n")
    return root


def laptop(root, *, online=1, status="Charging"):
    return write(
        root,
        {
            f"{SYS_CPU}/cpufreq/policy0/scaling_governor": "powersave",
            f"{SYS_CPU}/cpufreq/policy0/scaling_max_freq": "4700000",
            f"{SYS_CPU}/cpufreq/policy1/scaling_governor": "powersave",
            f"{SYS_CPU}/cpufreq/policy1/scaling_max_freq": "3600000",
            f"{SYS_CPU}/intel_pstate/no_turbo": "0",
            f"{SYS_CPU}/cpu0/thermal_throttle/core_throttle_count": "3",
            f"{SYS_CPU}/cpu0/thermal_throttle/package_throttle_count": "4",
            f"{SYS_CPU}/cpu1/thermal_throttle/core_throttle_count": "0",
            f"{SYS_CPU}/cpu1/thermal_throttle/package_throttle_count": "4",
            "sys/class/power_supply/AC/type": "Mains",
            "sys/class/power_supply/AC/online": str(online),
            "sys/class/power_supply/BAT0/type": "Battery",
            "sys/class/power_supply/BAT0/status": status,
            "sys/class/power_supply/hid-mouse/type": "Battery",
            "sys/class/power_supply/hid-mouse/scope": "Device",
            "sys/class/power_supply/hid-mouse/status": "Discharging",
            "sys/class/powercap/intel-rapl:0/name": "package-0",
            "sys/class/powercap/intel-rapl:0/constraint_0_name": "long_term",
            "sys/class/powercap/intel-rapl:0/constraint_0_power_limit_uw": "28000000",
            "sys/class/powercap/intel-rapl:0:0/name": "core",
            "sys/class/powercap/intel-rapl:0:0/constraint_0_power_limit_uw": "1",
            "sys/class/hwmon/hwmon0/name": "nvme",
            "sys/class/hwmon/hwmon0/temp1_input": "71850",
            "sys/class/hwmon/hwmon3/name": "coretemp",
            "sys/class/hwmon/hwmon3/temp1_label": "Package id 0",
            "sys/class/hwmon/hwmon3/temp1_input": "54000",
            "sys/class/hwmon/hwmon3/temp2_label": "Core 0",
            "sys/class/hwmon/hwmon3/temp2_input": "99000",
            "proc/loadavg": "0.52 0.58 0.59 2/1107 12345",
            "proc/stat": "cpu  1000 100 500 90000 10 20 30 200 0 0\ncpu0 1\ncpu1 1\nintr 12345\nctxt 1",
        },
    )


def test_what_the_machine_tells_is_read_and_labelled_with_units(tmp_path):
    found = conditions_at(laptop(tmp_path))

    assert found.as_labels() == {
        "cpu_governor": "powersave",
        "cpu_limit_mhz": "3600",
        "cpu_boost": "on",
        "cpu_limit_w": "28",
        "power": "mains",
        "cpu_celsius": "54",
        "load": "0.52",
    }
    assert found.throttle_events == 11
    assert found.threads == 2
    assert found.machine_s == pytest.approx((1000 + 100 + 500 + 20 + 30) / 100)  # idle, iowait and stolen are not work
    assert found.stolen_s == pytest.approx(2.0)


def test_a_machine_that_tells_nothing_gives_no_label(tmp_path):
    found = conditions_at(tmp_path)
    assert found.as_labels() == {}
    assert replace(found, t_s=0.0, own_s=0.0) == Conditions(0.0)
    assert changes(found, conditions_at(tmp_path)) == ()


def test_a_machine_without_a_battery_says_nothing_of_its_supply(tmp_path):
    write(tmp_path, {"sys/class/power_supply/AC/type": "Mains", "sys/class/power_supply/AC/online": "1"})
    assert conditions_at(tmp_path).power is None


@pytest.mark.parametrize(
    ("online", "status", "power"),
    [(1, "Charging", "mains"), (2, "Full", "mains"), (1, "Discharging", "mains"), (0, "Discharging", "battery"),
     (0, "Not charging", "mains"), (0, "Unknown", None)],
)  # fmt: skip
def test_supply_goes_by_what_feeds_the_machine_and_a_mouse_does_not(tmp_path, online, status, power):
    assert conditions_at(laptop(tmp_path, online=online, status=status)).power == power


@pytest.mark.parametrize(("files", "boost"), [({"cpufreq/boost": "0"}, False), ({"intel_pstate/no_turbo": "1"}, False),
                                              ({"cpufreq/boost": "1"}, True), ({}, None)])  # fmt: skip
def test_boost_is_read_from_either_driver(tmp_path, files, boost):
    write(tmp_path, {f"{SYS_CPU}/{name}": text for name, text in files.items()})
    assert conditions_at(tmp_path).boost is boost


def test_the_true_temperature_goes_before_the_one_for_the_fan(tmp_path):
    # Linux Documentation/hwmon/k10temp.rst: Tctl is for fan control and may carry an offset, Tdie does not.
    chip = "sys/class/hwmon/hwmon1"
    write(tmp_path, {f"{chip}/name": "k10temp", f"{chip}/temp1_label": "Tctl", f"{chip}/temp1_input": "77000",
                     f"{chip}/temp2_label": "Tdie", f"{chip}/temp2_input": "50000"})  # fmt: skip
    assert conditions_at(tmp_path).cpu_celsius == 50.0


def test_without_a_sensor_chip_the_thermal_zone_of_the_processor_speaks(tmp_path):
    zones = "sys/class/thermal/thermal_zone"
    write(tmp_path, {f"{zones}0/type": "acpitz", f"{zones}0/temp": "90000",
                     f"{zones}1/type": "x86_pkg_temp", f"{zones}1/temp": "61000"})  # fmt: skip
    assert conditions_at(tmp_path).cpu_celsius == 61.0


def test_two_governors_are_both_named(tmp_path):
    write(laptop(tmp_path), {f"{SYS_CPU}/cpufreq/policy1/scaling_governor": "performance"})
    assert conditions_at(tmp_path).governor == "performance+powersave"


def test_a_pulled_plug_another_governor_and_heat_are_told(tmp_path):
    before = conditions_at(laptop(tmp_path))
    write(
        laptop(tmp_path, online=0, status="Discharging"),
        {
            f"{SYS_CPU}/cpufreq/policy0/scaling_governor": "performance",
            f"{SYS_CPU}/cpufreq/policy1/scaling_governor": "performance",
            f"{SYS_CPU}/cpufreq/policy1/scaling_max_freq": "2400000",
            f"{SYS_CPU}/intel_pstate/no_turbo": "1",
            f"{SYS_CPU}/cpu1/thermal_throttle/core_throttle_count": "2",
            "sys/class/powercap/intel-rapl:0/constraint_0_power_limit_uw": "15000000",
            "sys/class/hwmon/hwmon3/temp1_input": "68000",
        },
    )
    assert changes(before, conditions_at(tmp_path)) == (
        "mains was pulled during the run",
        "the processor's governor changed during the run, from powersave to performance",
        "the processor's boost was switched off during the run",
        "the processor's frequency limit changed during the run, from 3600 to 2400 MHz",
        "the processor's power limit changed during the run, from 28 to 15 W",
        "the processor was 14 K warmer at the end",
        "the processor was slowed for heat",
    )


def test_a_condition_known_at_one_edge_only_is_no_change():
    known = Conditions(0.0, governor="powersave", boost=True, power="mains", cpu_celsius=40.0, throttle_events=0)
    assert changes(known, Conditions(10.0)) == ()
    assert changes(Conditions(0.0), replace(known, t_s=10.0)) == ()


def test_a_few_kelvin_are_not_worth_a_note():
    assert changes(Conditions(0.0, cpu_celsius=50.0), Conditions(10.0, cpu_celsius=54.0)) == ()


def test_a_cooler_end_is_told_too():
    assert changes(Conditions(0.0, cpu_celsius=70.0), Conditions(10.0, cpu_celsius=50.0)) == (
        "the processor was 20 K cooler at the end",
    )


def test_work_of_other_programs_is_told_and_our_own_is_not():
    before = Conditions(0.0, machine_s=100.0, own_s=1.0, threads=4)
    ours = Conditions(10.0, machine_s=121.0, own_s=21.0, threads=4)
    shared = Conditions(10.0, machine_s=129.0, own_s=21.0, threads=4)

    assert changes(before, ours) == ()
    assert changes(before, shared) == ("other programs used 22% of the processors during the run",)
    assert changes(before, shared, run_s=28.5) == ()


def test_shares_of_a_blink_are_chance_and_not_told():
    before = Conditions(0.0, machine_s=100.0, threads=1)
    assert changes(before, Conditions(0.5, machine_s=100.4, threads=1)) == ()


def test_time_stolen_by_other_guests_is_told():
    before = Conditions(0.0, stolen_s=5.0, threads=2)
    assert changes(before, Conditions(10.0, stolen_s=7.0, threads=2)) == (
        "the hypervisor gave 10% of the processors' time to other guests during the run",
    )


def test_a_window_in_which_only_a_waited_child_works_has_no_other_programs_by_its_own_account():
    before = conditions_at()
    subprocess.run([sys.executable, "-c", "sum(range(3_000_000))"], check=True)
    after = conditions_at()
    assert after.own_s > before.own_s


def test_looking_costs_under_five_milliseconds_on_a_machine_of_a_hundred_and_twenty_eight_threads(tmp_path):
    files = {"proc/stat": "cpu  1 1 1 1 1 1 1 1 0 0\n" + "\n".join(f"cpu{n} 1" for n in range(128))}
    for n in range(128):
        files[f"{SYS_CPU}/cpufreq/policy{n}/scaling_governor"] = "performance"
        files[f"{SYS_CPU}/cpufreq/policy{n}/scaling_max_freq"] = "3000000"
        files[f"{SYS_CPU}/cpu{n}/thermal_throttle/core_throttle_count"] = "0"
        files[f"{SYS_CPU}/cpu{n}/thermal_throttle/package_throttle_count"] = "0"
    laptop(write(tmp_path, files))

    costs_s = []
    for _ in range(7):
        begin_s = time.thread_time()  # CPU seconds: what other programs do to the wall clock is not its cost
        conditions_at(tmp_path)
        costs_s.append(time.thread_time() - begin_s)

    assert min(costs_s) < 0.005  # 512 files of 5 µs each; a machine of 16 threads is below 1 ms


def test_looking_loads_no_package_beside_the_standard_library():
    seen = "import sys, outweigh.measure.conditions; print(*sorted({m.partition('.')[0] for m in sys.modules}))"
    names = subprocess.run([sys.executable, "-c", seen], check=True, capture_output=True, text=True).stdout.split()
    assert not {"numpy", "pydantic", "click", "sqlalchemy"} & set(names)
