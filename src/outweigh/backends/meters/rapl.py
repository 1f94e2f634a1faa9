"""`rapl`: energy counters of Intel and AMD processors, through Linux: the powercap tree, else perf events.

Every zone is read, an antichain is counted: packages and, beside them, memory. A zone that contains others
(psys) or is contained (core, uncore) is shown and not added. The same domain reached by a second control type
(`intel-rapl-mmio`, `intel-rapl-tpmi`) is dropped, and so is a zone per die that mirrors one counter of the
socket. Files stay open: a reading is one `pread` a zone.

A counter has no time stamp, is refreshed about every millisecond and starts again at `max_energy_range_uj`.
It counts the package, not this process: whatever else runs there is in it.

Where `energy_uj` may not be read, or no powercap driver is loaded, the `power` PMU of perf gives the same counters to
whoever may open its events: one event for each domain, on one processor of each package as its `cpumask` says. They
start at 0 when they are opened, and the kernel follows their wraps. An AMD socket has one counter, which some kernels
offer once for each die: the first stands for it.

Sources: Linux Documentation/power/powercap/powercap.rst (tree, units, ranges); CVE-2020-8694 (why energy_uj is
readable by root only since Linux 5.10); powercap/powercap#3 (memory lies beside the package although nested there);
arch/x86/events/rapl.c (energy-pkg, -cores, -ram, -gpu, -psys, in Joules by a scale; AMD by package since Linux 6.12:
"perf/x86/rapl: Fix the energy-pkg event for AMD CPUs"); Documentation/admin-guide/perf-security.rst (CAP_PERFMON since
Linux 5.8, perf_event_paranoid).
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import ClassVar

from outweigh.backends._files import text_of
from outweigh.backends._perf import Door, Event, KernelDoor, Pmu, find_pmu, read_count
from outweigh.backends._probing import probed
from outweigh.core.errors import MeterUnavailable
from outweigh.core.measurement import Factor, Grade, Method, Scope, UncertaintyComponent
from outweigh.ports import Availability, Channel, ChannelKind, Sample
from outweigh.registry import meters

POWERCAP = Path("/sys/class/powercap")
CPUINFO = Path("/proc/cpuinfo")

_J_PER_UJ = 1e-6
_UPDATE_S = 1e-3
_RESOLUTION_J = 61e-6  # the coarser of the two usual units, 1/2^14 J; sysfs does not tell which one applies
_LONGEST_TEXT = 64

# Plausibility bounds, not ratings: a domain that draws more than this is misread. They tell a wrap from a reset.
_MAX_POWER_W = {
    Scope.PSYS: 4_000.0,
    Scope.PACKAGE: 1_000.0,
    Scope.DRAM: 500.0,
    Scope.CORE: 1_000.0,
    Scope.UNCORE: 500.0,
}
# One domain, several ways to its register: the model-specific registers first, they are always there.
_CONTROLS = ("intel-rapl", "intel-rapl-tpmi", "intel-rapl-mmio")

_ZONE = re.compile(r"(?P<control>intel-rapl(?:-mmio|-tpmi)?)(?P<path>(?::\d+)+)")
_NAME = re.compile(r"(?P<domain>psys|package|core|uncore|dram)(?:-(?P<socket>\d+))?(?:-die-(?P<die>\d+))?")

# Counters of two dies that read the same to a part in a million are one counter seen twice; two real ones that
# have counted tens of joules do not meet so closely.
_MIRROR_RELATIVE = 1e-6
_MIRROR_J = 1.0
_MIRROR_FLOOR_J = 50.0

# HongyuHe/energat#4, citing Khan et al. 2018 (doi:10.1145/3177754) and Hackenberg et al. 2013: systematic error
# stays below 5 % at no more than about 20 reads a second. Taken as rectangular: 0.05 / sqrt(3).
_CALIBRATION = 0.05 / 3**0.5
_CALIBRATION_SOURCE = "5 % limit, rectangular: Khan et al. 2018, doi:10.1145/3177754, through HongyuHe/energat#4"

_GROUP_REMEDY = (
    "As root, give a group read access by a udev rule, "
    'SUBSYSTEM=="powercap", ACTION=="add", RUN+="/bin/sh -c \'chgrp power /sys/class/powercap/intel-rapl*/energy_uj; '
    "chmod g+r /sys/class/powercap/intel-rapl*/energy_uj'\", and join it; CAP_DAC_READ_SEARCH does too. "
    "Not readable by all: that reopens the side channel of CVE-2020-8694"
)
_PERF_REMEDY = (
    "Or let perf read it: give the interpreter CAP_PERFMON (as root, `setcap cap_perfmon=ep` on a copy of it that only "
    "your group may run; in a container, --cap-add PERFMON). kernel.perf_event_paranoid=0 does too, on a machine of "
    "your own: it lets every user in"
)

_PERF_SCOPES = {
    "energy-psys": Scope.PSYS,
    "energy-pkg": Scope.PACKAGE,
    "energy-cores": Scope.CORE,
    "energy-gpu": Scope.UNCORE,
    "energy-ram": Scope.DRAM,
}
_ONE_COUNTER_A_SOCKET = ("AuthenticAMD", "HygonGenuine")


@dataclass(frozen=True, slots=True)
class Zone:
    """One directory of the tree.

    Attributes:
        folder: where it lies.
        label: unique and stable name, such as "package-0" or "package-0/dram".
        socket: number of the package it belongs to; -1 for psys.
        wrap_j: value at which its counter starts again [J]; None when the kernel does not say.
        excluded: why it is not counted, "" when it is.
    """

    folder: Path
    label: str
    scope: Scope
    socket: int
    wrap_j: float | None
    excluded: str = ""


@dataclass(frozen=True, slots=True)
class Survey:
    """What the tree holds: zones to read, what was left out altogether, how many sockets there should be."""

    zones: tuple[Zone, ...]
    dropped: tuple[str, ...]
    sockets: int | None

    @property
    def notes(self) -> tuple[str, ...]:
        notes = [f"{zone.label} is shown, not added: {zone.excluded}" for zone in self.zones if zone.excluded]
        notes += self.dropped
        seen = len({z.socket for z in self.zones if z.scope is Scope.PACKAGE and not z.excluded})
        if self.sockets is not None and seen != self.sockets:
            notes.append(f"{seen} of {self.sockets} processor packages have a counter; the rest is not seen")
        return tuple(notes)


@dataclass(frozen=True, slots=True)
class PerfRoute:
    """The way round through perf: where sysfs describes the `power` PMU, and how its events are opened."""

    sysfs: Path = Path("/sys")
    paranoid: Path = Path("/proc/sys/kernel/perf_event_paranoid")
    door: Door = field(default_factory=KernelDoor)

    def pmu(self) -> Pmu | None:
        return find_pmu(self.sysfs / "bus/event_source/devices/power")

    def place(self, cpu: int) -> tuple[int, int]:
        """(package, die) that a processor belongs to; -1 where the kernel does not say."""
        topology = self.sysfs / f"devices/system/cpu/cpu{cpu}/topology"
        package, die = text_of(topology / "physical_package_id"), text_of(topology / "die_id")
        return int(package) if package.isdigit() else -1, int(die) if die.isdigit() else -1


@meters.register("rapl")
class RaplMeter:
    """Energy counters of processor packages and memory [J]. Grade B; Linux on bare metal.

    Args:
        root: the powercap tree.
        cpuinfo: where the kernel lists processors, for the number of sockets.
        now: monotonic time [s].
        opener: how a counter file is opened; None for the system's way.
        perf: the way round where powercap cannot be read; None for this machine's, of which a `root` elsewhere is no
            part.
    """

    name: ClassVar[str] = "rapl"

    def __init__(
        self,
        root: Path | str = POWERCAP,
        *,
        cpuinfo: Path = CPUINFO,
        now: Callable[[], float] = time.monotonic,
        opener: Callable[[Path], int] | None = None,
        perf: PerfRoute | None = None,
    ) -> None:
        self._root, self._cpuinfo, self._now = Path(root), cpuinfo, now
        self._opener = opener if opener is not None else _open
        self._perf = PerfRoute() if perf is None and self._root == POWERCAP else perf
        self._survey = Survey((), (), None)
        self._files: list[int] = []
        self._scales: tuple[float, ...] = ()  # joules a count, of perf; empty where powercap is read
        self.grade = Grade.B
        self.method = Method.COUNTER
        self.source = "rapl (powercap)"
        self.factors: tuple[Factor, ...] = ()
        self.notes: tuple[str, ...] = ()

    @classmethod
    def probe(
        cls, root: Path | str = POWERCAP, cpuinfo: Path = CPUINFO, *, perf: PerfRoute | None = None
    ) -> Availability:
        meter = cls(root, cpuinfo=cpuinfo, perf=perf)
        if meter._root == POWERCAP and meter._root.is_dir() and _hypervisor(cpuinfo):
            return Availability("rapl", usable=False, reason=_VIRTUAL, remedy=_VIRTUAL_REMEDY)
        return probed(meter, lambda: " + ".join(meter._counted()))

    @property
    def channels(self) -> tuple[Channel, ...]:
        return tuple(
            Channel(
                id=zone.label,
                device=zone.label.partition("/")[0],
                scope=zone.scope,
                kind=ChannelKind.ENERGY,
                wrap_j=zone.wrap_j,
                update_s=_UPDATE_S,
                resolution=_RESOLUTION_J,
                max_power_w=_MAX_POWER_W[zone.scope],
                counted=not zone.excluded,
            )
            for zone in self._survey.zones
        )

    def open(self) -> None:
        """Find the domains and open their counters. Raises MeterUnavailable with the ways to mend it."""
        self.close()
        self.notes = ()
        try:
            how = self._open_powercap()
        except MeterUnavailable as err:
            how = self._open_perf(err)
        self.source = f"rapl ({how}): {' + '.join(self._counted())}"
        self.notes += self._survey.notes
        if _has_flag(self._cpuinfo, "sgx"):
            self.notes += ("the processor has SGX: with energy filtering on, its counters are blurred on purpose",)

    def read(self) -> Sample:
        now_s = self._now()
        values: tuple[float | None, ...]
        if self._scales:
            counts = [read_count(self._perf.door, file) for file in self._files] if self._perf is not None else []
            values = tuple(
                None if count is None else count * scale for count, scale in zip(counts, self._scales, strict=True)
            )
        else:
            try:
                # One pass without a call of ours each: this is what the two edges of every window wait for.
                values = tuple([int(os.pread(file, _LONGEST_TEXT, 0)) * _J_PER_UJ for file in self._files])
            except (OSError, ValueError):
                values = tuple(_read_j(file) for file in self._files)
        if not values or values.count(None) == len(values):
            raise MeterUnavailable("rapl", "no counter answers", "Open the meter again, or see the kernel's log")
        return Sample(now_s, values)

    def _counted(self) -> list[str]:
        return [zone.label for zone in self._survey.zones if not zone.excluded]

    def _open_powercap(self) -> str:
        if not self._root.is_dir():
            raise MeterUnavailable("rapl", *_why_no_tree(self._root, self._cpuinfo))
        found = survey(self._root, self._cpuinfo)
        opened: list[tuple[Zone, int]] = []
        refused: list[Path] = []
        for zone in found.zones:
            try:
                opened.append((zone, self._opener(zone.folder / "energy_uj")))
            except PermissionError:
                refused.append(zone.folder / "energy_uj")
            except OSError:
                continue  # a zone that went away between listing and opening is not there
        self._files = [file for _, file in opened]
        if refused and not any(zone.scope is Scope.PACKAGE for zone, _ in opened):
            self.close()
            raise MeterUnavailable("rapl", f"{refused[0]} may not be read by this user", _GROUP_REMEDY)
        if not any(not zone.excluded for zone, _ in opened):
            self.close()
            raise MeterUnavailable("rapl", f"{self._root} holds no energy counter", "Load the intel_rapl_msr module")
        zones = _without_mirrors([zone for zone, _ in opened], [_read_j(file) for file in self._files])
        dropped = (*found.dropped, *(f"{path} may not be read by this user" for path in refused))
        self._survey = Survey(tuple(zones), dropped, found.sockets)
        return "powercap"

    def _open_perf(self, powercap: MeterUnavailable) -> str:
        """Open the events of the `power` PMU. Raises `powercap`, with what would mend this way, where they are shut."""
        pmu = self._perf.pmu() if self._perf is not None else None
        if self._perf is None or pmu is None or _hypervisor(self._cpuinfo):
            raise powercap
        found, events, dropped = _survey_perf(self._perf, pmu, self._cpuinfo)
        opened: list[tuple[Zone, Event]] = []
        why = "its `power` unit names no event in joules"
        for zone, (event, cpu) in zip(found, events, strict=True):
            try:
                self._files.append(self._perf.door.open(pmu, event, cpu))
                opened.append((zone, event))
            except PermissionError:
                level = text_of(self._perf.paranoid)
                why = "this user may not open its events"
                why += f" (perf_event_paranoid is {level})" if level else ""
            except OSError as err:
                why = f"its events do not open ({err.strerror or err})"
        if not any(not zone.excluded for zone, _ in opened):
            self.close()
            reason = f"{powercap.reason}; and by perf, {why}"
            raise MeterUnavailable("rapl", reason, f"{powercap.remedy}. {_PERF_REMEDY}") from powercap
        self._scales = tuple(event.scale for _, event in opened)
        self._survey = Survey(tuple(_choose([zone for zone, _ in opened])), dropped, _sockets(self._cpuinfo))
        self.notes = (f"read through perf events, for {powercap.reason}",)
        return "perf"

    def components(self) -> tuple[UncertaintyComponent, ...]:
        return (UncertaintyComponent("calibration", _CALIBRATION, _CALIBRATION_SOURCE),)

    def close(self) -> None:
        for file in self._files:
            os.close(file)
        self._files, self._scales = [], ()


def survey(root: Path, cpuinfo: Path = CPUINFO) -> Survey:
    """All zones below `root`, and which of them are counted. Opens no counter."""
    found: dict[str, dict[str, Zone]] = {}
    for folder in sorted(root.iterdir()):
        match = _ZONE.fullmatch(folder.name)
        if match is None:
            continue
        zone = _zone(root, folder, match["control"], match["path"])
        if zone is None:
            continue
        if match["control"] in found.get(zone.label, {}):  # two zones of one name: a kernel that does not number dies
            zone = replace(zone, label=f"{zone.label} ({folder.name})")
        found.setdefault(zone.label, {})[match["control"]] = zone
    zones: list[Zone] = []
    dropped: list[str] = []
    for label, by_control in found.items():
        chosen = min(by_control, key=_CONTROLS.index)
        zones.append(by_control[chosen])
        dropped += [f"{label} of {other} is the same domain again" for other in by_control if other != chosen]
    return Survey(tuple(_choose(zones)), tuple(dropped), _sockets(cpuinfo))


def _survey_perf(
    perf: PerfRoute, pmu: Pmu, cpuinfo: Path
) -> tuple[list[Zone], list[tuple[Event, int]], tuple[str, ...]]:
    """Zones, the event and processor of each, and what was left out."""
    places = {cpu: perf.place(cpu) for cpu in pmu.cpus}
    sockets = [package for package, _ in places.values()]
    one_a_socket = _text_of(cpuinfo, "vendor_id") in _ONE_COUNTER_A_SOCKET
    zones: list[Zone] = []
    events: list[tuple[Event, int]] = []
    dropped: list[str] = []
    seen: set[int] = set()
    for cpu, (package, die) in places.items():
        if one_a_socket and package in seen:
            dropped.append(f"the event of processor {cpu} counts package-{package} again")
            continue
        first = not seen
        seen.add(package)
        several = sockets.count(package) > 1 and not one_a_socket
        name = f"package-{package}-die-{die if die >= 0 else cpu}" if several else f"package-{package}"
        for event in pmu.events:
            scope = _PERF_SCOPES.get(event.name)
            if scope is None or event.unit != "Joules" or (scope is Scope.PSYS and not first):
                continue
            inside = scope not in (Scope.PACKAGE, Scope.PSYS)
            label = f"{name}/{scope}" if inside else name if scope is Scope.PACKAGE else "psys"
            zones.append(Zone(perf.sysfs, label, scope, -1 if scope is Scope.PSYS else package, wrap_j=None))
            events.append((event, cpu))
    return _choose(zones), events, tuple(dropped)


def _zone(root: Path, folder: Path, control: str, path: str) -> Zone | None:
    name = text_of(folder / "name")
    match = _NAME.fullmatch(name)
    if match is None:
        return None
    scope = Scope(match["domain"])
    # intel-rapl:1:0 lies in intel-rapl:1, whose name says which socket it is.
    parent = text_of(root / f"{control}{path.rpartition(':')[0]}" / "name") if path.count(":") > 1 else name
    owner = _NAME.fullmatch(parent)
    socket = int(owner["socket"]) if owner is not None and owner["socket"] else -1
    range_uj = text_of(folder / "max_energy_range_uj")
    return Zone(
        folder=folder,
        label=name if parent == name else f"{parent}/{name}",
        scope=scope,
        socket=socket,
        wrap_j=int(range_uj) * _J_PER_UJ if range_uj.isdigit() and int(range_uj) > 0 else None,
    )


def _choose(zones: Sequence[Zone]) -> list[Zone]:
    """Mark what is counted: packages and memory; without a package, the outermost of what there is."""
    scopes = {zone.scope for zone in zones}
    chosen = []
    for zone in zones:
        excluded = ""
        if zone.scope is Scope.PSYS and Scope.PACKAGE in scopes:
            excluded = "it contains the packages and memory, and boards disagree on what else"
        elif zone.scope in (Scope.CORE, Scope.UNCORE) and scopes & {Scope.PACKAGE, Scope.PSYS}:
            excluded = "it is a part of its package"
        elif zone.scope is Scope.DRAM and Scope.PACKAGE not in scopes and Scope.PSYS in scopes:
            excluded = "it is a part of psys"
        chosen.append(replace(zone, excluded=excluded))
    return chosen


def _without_mirrors(zones: Sequence[Zone], values: Sequence[float | None]) -> list[Zone]:
    kept: list[Zone] = []
    seen: list[tuple[Zone, float]] = []
    for zone, value in zip(zones, values, strict=True):
        excluded = zone.excluded
        if zone.scope is Scope.PACKAGE and not excluded and value is not None:
            twin = next(
                (
                    other
                    for other, known in seen
                    if min(known, value) > _MIRROR_FLOOR_J
                    and abs(known - value) <= max(_MIRROR_J, _MIRROR_RELATIVE * known)
                ),
                None,
            )
            if twin is not None:
                excluded = f"its counter mirrors that of {twin.label}"
            else:
                seen.append((zone, value))
        kept.append(replace(zone, excluded=excluded))
    return kept


def _open(path: Path) -> int:
    return os.open(path, os.O_RDONLY | os.O_CLOEXEC)


def _read_j(file: int) -> float | None:
    try:
        return int(os.pread(file, _LONGEST_TEXT, 0)) * _J_PER_UJ
    except (OSError, ValueError):
        return None


def _sockets(cpuinfo: Path) -> int | None:
    try:
        text = cpuinfo.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    found = {line.partition(":")[2].strip() for line in text.splitlines() if line.startswith("physical id")}
    return len(found) or None


def _has_flag(cpuinfo: Path, flag: str) -> bool:
    try:
        text = cpuinfo.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    return any(line.startswith("flags") and flag in line.split() for line in text.splitlines())


def _text_of(cpuinfo: Path, key: str) -> str:
    """The first value of that key, "" when there is none."""
    try:
        text = cpuinfo.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    return next((v.strip() for k, _, v in (line.partition(":") for line in text.splitlines()) if k.strip() == key), "")


def _hypervisor(cpuinfo: Path) -> bool:
    return _has_flag(cpuinfo, "hypervisor")


_VIRTUAL = "this is a virtual machine, whose processor counters are not passed through or count other guests too"
_VIRTUAL_REMEDY = "Use a bare-metal host, or let `cpu-model` model the energy and say so"


def _why_no_tree(root: Path, cpuinfo: Path) -> tuple[str, str]:
    if _hypervisor(cpuinfo):
        return f"there is no {root}, and {_VIRTUAL}", _VIRTUAL_REMEDY
    if not cpuinfo.exists():
        return f"there is no {root}: powercap is a part of Linux", "Use another meter; `outweigh doctor` lists them"
    return (
        f"there is no {root}: the kernel has no powercap driver loaded, or a container hides /sys",
        "Load intel_rapl_msr (modprobe intel_rapl_msr), or mount /sys/class/powercap into the container read-only",
    )
