"""The conditions of a run: what the machine was set to and how warm it was, at the edges of a window.

The same work draws differently under another governor, on battery, or on a processor that is already hot. None of
that is in an energy counter, so it goes on the receipt beside the figure, and what changed goes there as a note.
Linux: /sys and /proc are read and nothing is written; elsewhere, and in a container that hides them, every field
is None. A condition the machine does not tell is missing, never assumed.

Sources: Linux Documentation/admin-guide/pm/cpufreq.rst (scaling_governor, scaling_max_freq in kHz, boost) and
intel_pstate.rst (no_turbo); Documentation/ABI/testing/sysfs-class-power (type, online, status) and
sysfs-devices-system-cpu (core_throttle_count, package_throttle_count); Documentation/hwmon/sysfs-interface.rst,
coretemp.rst and k10temp.rst (millidegrees Celsius; Tctl may lie above the true Tdie);
Documentation/power/powercap/powercap.rst (power limits in microwatts); proc(5) for /proc/stat and /proc/loadavg.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

# Below these a difference is not worth a sentence: sensors step by 1 K, a fan's rhythm moves a processor by a few.
_WARMER_K = 5.0
_OTHERS_SHARE = 0.05
_STOLEN_SHARE = 0.01
# /proc/stat counts in ticks of 10 ms by sampling: below a second its shares are mostly chance.
_SHORTEST_S = 1.0

_LONGEST_TEXT = 4096
_CELSIUS_PER_MILLI = 1e-3
_W_PER_UW = 1e-6
_MHZ_PER_KHZ = 1e-3

# Chips that sit on a processor, and the sensor of each that speaks for the whole of it, best first.
_CPU_CHIPS = ("coretemp", "k10temp", "zenpower", "cpu_thermal")
_WHOLE = ("Package id", "Tdie", "Tctl")
_CPU_ZONES = ("x86_pkg_temp", "cpu-thermal", "cpu_thermal")


@dataclass(frozen=True, slots=True)
class Conditions:
    """What was found at one moment; None is what the machine does not tell.

    Attributes:
        t_s: monotonic time [s].
        governor: of the processors' frequency; several, sorted and joined by "+", where they differ.
        frequency_limit_mhz: highest frequency the governor may choose, the least of all processors [MHz].
        boost: whether frequencies above the nominal one are allowed.
        power_limit_w: long-term limit of all packages together [W].
        power: "mains" or "battery"; None for a machine without a battery, which says nothing of its supply.
        cpu_celsius: hottest processor [°C].
        throttle_events: events of slowing for heat since boot, over all hardware threads, of which several count the
            same one: that it grew means something, by how much does not.
        load: runnable threads, mean of the last minute.
        machine_s: CPU seconds of the whole machine since boot, all threads and programs [s].
        stolen_s: CPU seconds a hypervisor gave to other guests [s].
        own_s: CPU seconds of this process and of children it has waited for [s].
        threads: hardware threads that are switched on.
    """

    t_s: float
    governor: str | None = None
    frequency_limit_mhz: float | None = None
    boost: bool | None = None
    power_limit_w: float | None = None
    power: str | None = None
    cpu_celsius: float | None = None
    throttle_events: int | None = None
    load: float | None = None
    machine_s: float | None = None
    stolen_s: float | None = None
    own_s: float = 0.0
    threads: int | None = None

    def as_labels(self) -> dict[str, str]:
        """Labels for a receipt, one for each condition that is known, the unit in the key.

        >>> Conditions(0.0, governor="performance", boost=True, cpu_celsius=54.25).as_labels()
        {'cpu_governor': 'performance', 'cpu_boost': 'on', 'cpu_celsius': '54'}
        """
        known: dict[str, str] = {}
        if self.governor is not None:
            known["cpu_governor"] = self.governor
        if self.frequency_limit_mhz is not None:
            known["cpu_limit_mhz"] = f"{self.frequency_limit_mhz:.0f}"
        if self.boost is not None:
            known["cpu_boost"] = "on" if self.boost else "off"
        if self.power_limit_w is not None:
            known["cpu_limit_w"] = f"{self.power_limit_w:.0f}"
        if self.power is not None:
            known["power"] = self.power
        if self.cpu_celsius is not None:
            known["cpu_celsius"] = f"{self.cpu_celsius:.0f}"
        if self.load is not None:
            known["load"] = f"{self.load:.2f}"
        return known


def conditions_at(root: Path = Path("/")) -> Conditions:
    """The conditions now; raises nothing.

    Args:
        root: where /sys and /proc hang, for tests and for a host's tree mounted into a container.
    """
    cpus = str(root / "sys/devices/system/cpu")
    used = os.times()
    governors, limits_khz = set(), []
    for policy in _named(f"{cpus}/cpufreq", "policy"):
        if governor := _text(f"{policy}/scaling_governor"):
            governors.add(governor)
        if (khz := _number(f"{policy}/scaling_max_freq")) is not None:
            limits_khz.append(khz)
    machine_s, stolen_s, threads = _used(str(root / "proc/stat"))
    load = _text(str(root / "proc/loadavg")).partition(" ")[0]
    return Conditions(
        t_s=time.monotonic(),
        governor="+".join(sorted(governors)) or None,
        frequency_limit_mhz=min(limits_khz) * _MHZ_PER_KHZ if limits_khz else None,
        boost=_boost(cpus),
        power_limit_w=_power_limit_w(str(root / "sys/class/powercap")),
        power=_power(str(root / "sys/class/power_supply")),
        cpu_celsius=_hottest(str(root / "sys/class")),
        throttle_events=_throttled(cpus),
        load=_float(load),
        machine_s=machine_s,
        stolen_s=stolen_s,
        own_s=used.user + used.system + used.children_user + used.children_system,
        threads=threads,
    )


def changes(before: Conditions, after: Conditions, *, run_s: float | None = None) -> tuple[str, ...]:
    """What changed between the edges of a window, and who else was at work, as notes for its receipt.

    Args:
        run_s: CPU seconds of the run [s], where the caller knows them (`Completed.cpu_s`); without them it is this
            process and the children it has waited for in the window, and a live child counts as another program.
    """
    notes: list[str] = []
    if before.power != after.power and before.power and after.power:
        notes.append(
            "mains was pulled during the run" if after.power == "battery" else "mains was plugged in during the run"
        )
    if before.governor != after.governor and before.governor and after.governor:
        notes.append(f"the processor's governor changed during the run, from {before.governor} to {after.governor}")
    if before.boost is not None and after.boost is not None and before.boost is not after.boost:
        notes.append(f"the processor's boost was switched {'on' if after.boost else 'off'} during the run")
    for what, unit, first, last in (
        ("frequency", "MHz", before.frequency_limit_mhz, after.frequency_limit_mhz),
        ("power", "W", before.power_limit_w, after.power_limit_w),
    ):
        if first is not None and last is not None and first != last:
            notes.append(f"the processor's {what} limit changed during the run, from {first:.0f} to {last:.0f} {unit}")
    if before.cpu_celsius is not None and after.cpu_celsius is not None:
        warmer_k = after.cpu_celsius - before.cpu_celsius
        if abs(warmer_k) >= _WARMER_K:
            way = "warmer" if warmer_k > 0 else "cooler"
            notes.append(f"the processor was {abs(warmer_k):.0f} K {way} at the end")
    events = before.throttle_events, after.throttle_events
    if events[0] is not None and events[1] is not None and events[1] > events[0]:
        notes.append("the processor was slowed for heat")
    return (*notes, *_others(before, after, run_s))


def _others(before: Conditions, after: Conditions, run_s: float | None) -> Iterator[str]:
    window_s = after.t_s - before.t_s
    if window_s < _SHORTEST_S or not after.threads:
        return
    whole_s = window_s * after.threads
    if before.machine_s is not None and after.machine_s is not None:
        ours_s = after.own_s - before.own_s if run_s is None else run_s
        share = (after.machine_s - before.machine_s - ours_s) / whole_s
        if share >= _OTHERS_SHARE:
            yield f"other programs used {share:.0%} of the processors during the run"
    if before.stolen_s is not None and after.stolen_s is not None:
        share = (after.stolen_s - before.stolen_s) / whole_s
        if share >= _STOLEN_SHARE:
            yield f"the hypervisor gave {share:.0%} of the processors' time to other guests during the run"


def _boost(cpus: str) -> bool | None:
    stated = _number(f"{cpus}/cpufreq/boost")
    if stated is not None:
        return stated == 1
    refused = _number(f"{cpus}/intel_pstate/no_turbo")
    return None if refused is None else refused == 0


def _power(supplies: str) -> str | None:
    states: list[str] = []
    fed = False
    for supply in _named(supplies):
        kind = _text(f"{supply}/type")
        if kind == "Battery":
            if _text(f"{supply}/scope") != "Device":  # the battery of a mouse or a headset
                states.append(_text(f"{supply}/status"))
        elif _text(f"{supply}/online") in ("1", "2"):  # 2 is a supply whose voltage can be programmed
            fed = True
    if fed:
        return "mains" if states else None
    if "Discharging" in states:
        return "battery"
    return "mains" if {"Charging", "Full", "Not charging"} & set(states) else None


def _power_limit_w(powercap: str) -> float | None:
    limits_w = []
    for zone in _named(powercap, "intel-rapl:"):
        if zone.count(":") != 1 or not _text(f"{zone}/name").startswith("package"):
            continue
        if _text(f"{zone}/constraint_0_name") == "long_term":
            limit_uw = _number(f"{zone}/constraint_0_power_limit_uw")
            if limit_uw is not None:
                limits_w.append(limit_uw * _W_PER_UW)
    return sum(limits_w) if limits_w else None


def _hottest(classes: str) -> float | None:
    """Hottest processor [°C], by the sensors that speak for a whole one; else by the thermal zones."""
    found: list[float] = []
    for chip in _named(f"{classes}/hwmon"):
        if _text(f"{chip}/name") not in _CPU_CHIPS:
            continue
        inputs = [path for path in _named(chip, "temp") if path.endswith("_input")]
        labels = {path: _text(f"{path.removesuffix('_input')}_label") for path in inputs}
        # Asking a core's own sensor can wake that core: the package's is asked alone where there is one.
        whole = next((got for word in _WHOLE if (got := [p for p in inputs if labels[p].startswith(word)])), inputs)
        found += [milli * _CELSIUS_PER_MILLI for path in whole if (milli := _number(path)) is not None]
    if not found:
        for zone in _named(f"{classes}/thermal", "thermal_zone"):
            if _text(f"{zone}/type") in _CPU_ZONES and (milli := _number(f"{zone}/temp")) is not None:
                found.append(milli * _CELSIUS_PER_MILLI)
    return max(found, default=None)


def _throttled(cpus: str) -> int | None:
    counts: list[int] = []
    for cpu in _named(cpus, "cpu"):
        if not cpu[-1].isdigit():
            continue
        core = _number(f"{cpu}/thermal_throttle/core_throttle_count")
        if core is None:
            if not counts:
                return None  # no such counters on this processor: do not ask hundreds of others
            continue
        counts += [core, _number(f"{cpu}/thermal_throttle/package_throttle_count") or 0]
    return sum(counts) if counts else None


def _used(stat: str) -> tuple[float | None, float | None, int | None]:
    """CPU seconds of all programs, those stolen, and the number of hardware threads."""
    lines = _text(stat, 1 << 20).splitlines()
    try:
        # proc(5): user nice system idle iowait irq softirq steal guest guest_nice, in ticks. User holds guest.
        user, nice, system, _idle, _iowait, irq, softirq, stolen = (int(ticks) for ticks in lines[0].split()[1:9])
    except (IndexError, ValueError):
        return None, None, None
    tick_s = 1 / os.sysconf("SC_CLK_TCK")
    threads = sum(line.startswith("cpu") for line in lines[1:])
    return (user + nice + system + irq + softirq) * tick_s, stolen * tick_s, threads or None


def _named(folder: str, prefix: str = "") -> list[str]:
    try:
        with os.scandir(folder) as entries:
            return sorted(entry.path for entry in entries if entry.name.startswith(prefix))
    except OSError:
        return []


def _text(path: str, longest: int = _LONGEST_TEXT) -> str:
    # Not by pathlib: a machine of 256 processors has a thousand of these files, and this stands at a window's edge.
    try:
        file = os.open(path, os.O_RDONLY)
    except OSError:
        return ""
    try:
        return os.read(file, longest).decode("utf-8", "replace").strip()
    except OSError:  # a sensor may be listed and not answer
        return ""
    finally:
        os.close(file)


def _number(path: str) -> int | None:
    try:
        return int(_text(path))
    except ValueError:
        return None


def _float(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
