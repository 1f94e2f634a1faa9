"""`hwmon`: power and energy sensors of the Linux hardware-monitoring tree.

Units are the tree's: microwatts for `power*_input` (at this moment) and `power*_average`, microjoules for
`energy*_input`, cumulative since the driver was loaded. Files stay open: a reading is one `pread` a sensor.

The tree does not say what a sensor is fitted to. For the drivers below it is known; any other sensor is listed by
`outweigh doctor`, and counted only when its scope is named: `hwmon:ina226=node`, `hwmon:ina226/VDD_GPU=gpu`,
several with commas. A name without a scope picks among the known ones.

- `power_meter` (ACPI): the whole machine, where there is one and it has no label. On NVIDIA Grace there are several,
  told apart by `power*_oem_info`: "Grace Power Socket" is the processor, "CPU" and "SysIO Power Socket" parts of it;
  "Module Power Socket" is processor and GPU of a superchip, which no scope here names, so it is left to the user.
- `amdgpu`, `i915`, `xe`: the graphics board; of `xe` the card, its package being a part of it. On a processor with
  built-in graphics, `amdgpu` reads the processor with them.
- `amd_energy`: "Esocket" the processor package, "Ecore" a core in it.

A device in runtime suspend is left asleep unless its chip is named: reading a sensor wakes a laptop's graphics board,
which then draws some watts for being looked at.

An antichain is counted, the widest scopes first; an energy counter goes before a power sensor of the same thing.
How often a driver asks its chip is rarely said: the update interval is 1 s unless `power*_average_interval` tells.

Sources: Linux Documentation/hwmon/sysfs-interface.rst (names, units), acpi_power_meter.rst and
drivers/hwmon/acpi_power_meter.c (power1_accuracy in percent, averaging interval in ms), amd_energy.rst,
ABI/testing/sysfs-driver-intel-i915-hwmon and -xe-hwmon; NVIDIA Grace Performance Tuning Guide, power telemetry;
Linux Documentation/gpu/amdgpu/thermal.rst (power of the SoC on APUs).
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

from outweigh.backends._files import text_of
from outweigh.backends._probing import probed
from outweigh.core.errors import MeterUnavailable, UsageError
from outweigh.core.measurement import Factor, Grade, Method, Scope, UncertaintyComponent
from outweigh.ports import Availability, Channel, ChannelKind, Sample
from outweigh.registry import meters

HWMON = Path("/sys/class/hwmon")

_J_PER_UJ = 1e-6
_W_PER_UW = 1e-6
_S_PER_MS = 1e-3
_LONGEST_TEXT = 64
_UPDATE_S = 1.0

_VALUE = re.compile(r"(?P<kind>energy|power)(?P<number>\d+)_(?P<what>input|average)")

# Plausibility bounds, not ratings: more than this is a sensor misread.
_MAX_POWER_W = {Scope.NODE: 20_000.0, Scope.GPU: 3_000.0, Scope.PACKAGE: 1_000.0, Scope.CORE: 1_000.0}

# Widest first: what is counted is looked for in this order.
_ORDER = (
    Scope.FACILITY,
    Scope.RACK,
    Scope.NODE,
    Scope.PSYS,
    Scope.PACKAGE,
    Scope.GPU,
    Scope.DRAM,
    Scope.CORE,
    Scope.UNCORE,
)

_NAME_IT = "Name it with its scope, such as --meter hwmon:{chip}=node, if you know what it is fitted to"


@dataclass(frozen=True, slots=True)
class Sensor:
    """One value file.

    Attributes:
        label: "chip/label", unique.
        device: the physical device it sits on.
        scope: what it sees; None when nobody says.
        update_s: how often it is refreshed [s].
        limit: relative limit of error its driver states, 0 when none.
        declared: whether the scope is the user's word.
        excluded: why it is not counted, "" when it is.
    """

    path: Path
    label: str
    chip: str
    device: str
    kind: ChannelKind
    scope: Scope | None
    update_s: float
    limit: float
    declared: bool = False
    excluded: str = ""


@meters.register("hwmon")
class HwmonMeter:
    """Sensors of /sys/class/hwmon [W, J]. Grade B for drivers known to it, C where the scope is the user's word.

    Args:
        which: "chip", "chip/label" or either with "=scope", separated by commas; "" for every known one.
        root: the tree.
        now: monotonic time [s].
    """

    name: ClassVar[str] = "hwmon"

    def __init__(self, which: str = "", *, root: Path | str = HWMON, now: Callable[[], float] = time.monotonic) -> None:
        self._which, self._root, self._now = _wanted(which), Path(root), now
        self._sensors: tuple[Sensor, ...] = ()
        self._files: list[int] = []
        self.grade = Grade.B
        self.method = Method.COUNTER
        self.source = "hwmon"
        self.factors: tuple[Factor, ...] = ()
        self.notes: tuple[str, ...] = ()

    @classmethod
    def probe(cls, which: str = "", root: Path | str = HWMON) -> Availability:
        meter = cls(which, root=root)
        return probed(meter, lambda: " + ".join(f"{s.label} ({s.scope})" for s in meter._sensors if not s.excluded))

    @property
    def channels(self) -> tuple[Channel, ...]:
        return tuple(
            Channel(
                id=sensor.label,
                device=sensor.device,
                scope=sensor.scope,
                kind=sensor.kind,
                update_s=sensor.update_s,
                resolution=_J_PER_UJ,
                max_power_w=_MAX_POWER_W.get(sensor.scope),
                counted=not sensor.excluded,
            )
            for sensor in self._sensors
            if sensor.scope is not None
        )

    def open(self) -> None:
        """Find the sensors and open their files. Raises MeterUnavailable with the way to mend it."""
        self.close()
        if not self._root.is_dir():
            raise MeterUnavailable(
                "hwmon",
                f"there is no {self._root}: hardware monitoring is a part of Linux, and a container may hide it",
                "Use another meter, or mount /sys/class/hwmon into the container read-only",
            )
        found = survey(self._root, self._which)
        unknown = [s for s in found if s.scope is None]
        opened: list[tuple[Sensor, int]] = []
        refused: list[Path] = []
        asleep = [s for s in found if s.scope is not None and not self._which and _suspended(s)]
        for sensor in (s for s in found if s.scope is not None and s not in asleep):
            try:
                file = os.open(sensor.path, os.O_RDONLY | os.O_CLOEXEC)
            except PermissionError:
                refused.append(sensor.path)
                continue
            except OSError:
                continue  # a sensor that went away between listing and opening is not there
            if _read(file) is None:  # a driver may list a sensor the hardware does not have
                os.close(file)
                continue
            opened.append((sensor, file))
        if not opened:
            raise MeterUnavailable("hwmon", *_why_none(self._root, found, refused, unknown, asleep))
        self._files = [file for _, file in opened]
        self._sensors = tuple(_choose([sensor for sensor, _ in opened]))
        counted = [s for s in self._sensors if not s.excluded]
        self.grade = Grade.C if any(s.declared for s in counted) else Grade.B
        self.method = Method.COUNTER if all(s.kind is ChannelKind.ENERGY for s in counted) else Method.INTEGRATED
        self.source = f"hwmon: {' + '.join(s.label for s in counted)}"
        notes = [f"{s.label} is shown, not added: {s.excluded}" for s in self._sensors if s.excluded]
        notes += [f"the scope of {s.label} is the user's word" for s in counted if s.declared]
        notes += [f"{path} may not be read by this user" for path in refused]
        notes += [f"{s.label} is not read: it sleeps, and asking it would wake it" for s in asleep]
        notes += [f"{s.label} is not read: what it is fitted to is not known" for s in unknown]
        if not any(s.limit for s in counted):
            notes.append("no accuracy is stated for these sensors: the interval holds only what sampling adds")
        self.notes = tuple(notes)

    def read(self) -> Sample:
        now_s = self._now()
        values = tuple(
            None if raw is None else raw * (_J_PER_UJ if sensor.kind is ChannelKind.ENERGY else _W_PER_UW)
            for sensor, raw in zip(self._sensors, (_read(file) for file in self._files), strict=False)
        )
        if all(v is None for v, s in zip(values, self._sensors, strict=False) if not s.excluded):
            raise MeterUnavailable("hwmon", "no sensor answers", "Open the meter again, or see the kernel's log")
        return Sample(now_s, values)

    def components(self) -> tuple[UncertaintyComponent, ...]:
        limit = max((s.limit for s in self._sensors if not s.excluded), default=0.0)
        if limit <= 0:
            return ()
        source = f"{limit:.1%} limit by power*_accuracy of the driver, rectangular"
        return (UncertaintyComponent("calibration", limit / 3**0.5, source),)

    def close(self) -> None:
        for file in self._files:
            os.close(file)
        self._files = []


def survey(root: Path, which: Sequence[tuple[str, str, Scope | None]] = ()) -> tuple[Sensor, ...]:
    """All power and energy sensors below `root`, the wanted ones only where some are wanted. Opens no sensor.

    Args:
        which: (chip, label or "", scope or None) triples.
    """
    sensors: list[Sensor] = []
    for folder in sorted(root.iterdir()):
        chip = text_of(folder / "name") or text_of(folder / "device" / "name")
        device = str((folder / "device").resolve()) if (folder / "device").exists() else folder.name
        # Drivers registered the old way keep their files in device/.
        for place in (folder, folder / "device"):
            values = [(path, m) for path in sorted(place.glob("*_*")) if (m := _VALUE.fullmatch(path.name))]
            names = {path.name for path, _ in values}
            for path, match in values:
                if match["what"] == "average" and f"power{match['number']}_input" in names:
                    continue  # the moment's power is there too
                sensors.append(_sensor(path, match, chip, folder.name, device))
            if values:
                break
    meters_of_machine = [s for s in sensors if s.chip == "power_meter" and s.label == "power_meter"]
    if len(meters_of_machine) > 1:  # which of them is the machine's, nobody says
        sensors = [replace(s, scope=None) if s in meters_of_machine else s for s in sensors]
    sensors = _told_apart(sensors)
    if not which:
        return tuple(sensors)
    chosen = []
    for sensor in sensors:
        for chip, label, scope in which:
            if chip == sensor.chip and label in ("", sensor.label.partition("/")[2]):
                known = scope is None or scope is sensor.scope
                chosen.append(sensor if known else replace(sensor, scope=scope, declared=True))
                break
    return tuple(chosen)


def _sensor(path: Path, match: re.Match[str], chip: str, folder: str, device: str) -> Sensor:
    kind = ChannelKind.ENERGY if match["kind"] == "energy" else ChannelKind.POWER
    stem = f"{match['kind']}{match['number']}"
    text = text_of(path.with_name(f"{stem}_label")) or text_of(path.with_name(f"{stem}_oem_info"))
    interval = text_of(path.with_name(f"{stem}_average_interval"))
    accuracy = text_of(path.with_name(f"{stem}_accuracy")).rstrip("%")
    limit = 1 - float(accuracy) / 100 if re.fullmatch(r"\d{1,2}(\.\d+)?", accuracy) else 0.0
    label = f"{chip or folder}/{text}" if text else chip or folder
    return Sensor(
        path=path,
        label=label,
        chip=chip or folder,
        device=device,
        kind=kind,
        scope=_scope(chip, text, stem),
        update_s=int(interval) * _S_PER_MS if interval.isdigit() and int(interval) > 0 else _UPDATE_S,
        limit=limit,
    )


def _scope(chip: str, text: str, stem: str) -> Scope | None:
    """What a known driver's sensor sees; None for every other."""
    if chip == "power_meter":
        parts = {"Grace": Scope.PACKAGE, "CPU": Scope.CORE, "SysIO": Scope.UNCORE, "": Scope.NODE}
        return parts.get(text.partition(" Power Socket")[0] if text else "")
    if chip == "amdgpu":
        return Scope.GPU
    if chip in ("i915", "xe"):
        # The card is the first sensor; of `xe` the second is the package on it, of `i915` the tiles have other names.
        return Scope.GPU if stem.endswith("1") and text in ("", "card") else None
    if chip == "amd_energy":
        return Scope.PACKAGE if text.startswith("Esocket") else Scope.CORE if text.startswith("Ecore") else None
    return None


def _told_apart(sensors: Sequence[Sensor]) -> list[Sensor]:
    """Make labels unique: two boards of one kind bear the same names."""
    seen: dict[str, int] = {}
    named = []
    for sensor in sensors:
        seen[sensor.label] = seen.get(sensor.label, 0) + 1
        again = seen[sensor.label]
        named.append(sensor if again == 1 else replace(sensor, label=f"{sensor.label} #{again}"))
    return named


def _choose(sensors: Sequence[Sensor]) -> list[Sensor]:
    counted: list[Sensor] = []
    why: dict[str, str] = {}
    ranked = sorted(
        sensors, key=lambda s: (_ORDER.index(s.scope or Scope.UNCORE), s.kind is not ChannelKind.ENERGY, s.label)
    )
    for sensor in ranked:
        if sensor.scope is None:
            continue
        for other in counted:
            if other.scope is sensor.scope and other.device == sensor.device:
                why[sensor.label] = f"{other.label} counts the same"
                break
            if other.scope is not None and other.scope is not sensor.scope and other.scope.contains(sensor.scope):
                why[sensor.label] = f"it is a part of {other.label}"
                break
        else:
            counted.append(sensor)
    return [replace(s, excluded=why.get(s.label, "")) for s in sensors]


def _wanted(which: str) -> tuple[tuple[str, str, Scope | None], ...]:
    wanted = []
    for part in filter(None, (p.strip() for p in which.split(","))):
        sensor, _, scope = part.partition("=")
        chip, _, label = sensor.partition("/")
        if scope and scope not in set(Scope):
            raise UsageError(f"hwmon: {scope!r} is not a scope", f"Use one of {', '.join(Scope)}")
        wanted.append((chip, label, Scope(scope) if scope else None))
    return tuple(wanted)


def _why_none(
    root: Path,
    found: Sequence[Sensor],
    refused: Sequence[Path],
    unknown: Sequence[Sensor],
    asleep: Sequence[Sensor],
) -> tuple[str, str]:
    if asleep:
        reason = f"{', '.join(s.label for s in asleep)} sleeps, and asking it would wake it"
        return reason, f"Start the work first, or name it (--meter hwmon:{asleep[0].chip}) to wake it"
    if refused:
        return f"{refused[0]} may not be read by this user", "Give a group read access by a udev rule and join it"
    if unknown:
        listed = ", ".join(s.label for s in unknown)
        return f"what {listed} is fitted to is not known", _NAME_IT.format(chip=unknown[0].chip)
    if found:
        return "the sensors are listed and do not answer", "See the kernel's log"
    return f"{root} holds no such power or energy sensor", "`sensors -u` lists what there is; use another meter"


def _suspended(sensor: Sensor) -> bool:
    return text_of(Path(sensor.device) / "power" / "runtime_status") == "suspended"


def _read(file: int) -> int | None:
    try:
        return int(os.pread(file, _LONGEST_TEXT, 0))
    except (OSError, ValueError):
        return None
