"""`nvml`: energy of NVIDIA boards, from the total-energy counter, or from integrated power where there is none.

The counter (Volta and newer) is read at the edges of a window; the power sensor stands beside it, shown and not
added, so that a window of some seconds can be checked one against the other. Boards without the counter have their
power integrated from background samples. The power field asked for is the instantaneous one: `PowerUsage` is a
one-second average on Ampere and newer, GA100 excepted.

Which boards: CUDA_VISIBLE_DEVICES by index, GPU uuid (or its beginning) or MIG uuid; unset means all of them, and a
device that does not exist is an error. A MIG instance has no sensor of its own: the reading is the whole card's.

Sources: NVML API reference, nvmlDeviceGetTotalEnergyConsumption (millijoules since the driver was loaded),
nvmlDeviceGetPowerUsage (milliwatts, +/- 5 %, one-second average), NVML_FI_DEV_POWER_INSTANT.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from outweigh.core.errors import MeterUnavailable, MissingExtra
from outweigh.core.measurement import Factor, Grade, Method, Scope, UncertaintyComponent
from outweigh.ports import Availability, Channel, ChannelKind, Sample
from outweigh.registry import meters

PCI_DEVICES = Path("/sys/bus/pci/devices")

_J_PER_MJ = 1e-3
_W_PER_MW = 1e-3
# Boards whose power sensor looks at a quarter of each period only: Yang, Adamek and Armour, "Accurate and Convenient
# Energy Measurements for GPUs", SC24, arXiv:2312.02741. What it does not see is bounded by the scatter of what it does,
# and windows of less than some seconds are refused.
_PART_TIME = re.compile(r"\b(A100|H100)\b")
_PART_TIME_SHARE = 0.25
_PART_TIME_SHORTEST_S = 5.0
_ENERGY_UPDATE_S = 0.1  # slowest refresh seen: 20 to 100 ms by board (PETSc manual; ml-energy/zeus)
_POWER_UPDATE_S = 0.1
_AVERAGED_UPDATE_S = 1.0
_NVIDIA_VENDOR = "0x10de"
_DISPLAY_CLASS = "0x03"

# The +/- 5 % of the NVML reference is given for Fermi and Kepler; for want of a newer one it is kept. Rectangular.
_CALIBRATION = 0.05 / 3**0.5
_CALIBRATION_SOURCE = "NVML API reference, nvmlDeviceGetPowerUsage: +/- 5 % (stated for Fermi and Kepler), rectangular"

_NOTHING = frozenset({"", "-1", "NoDevFiles", "none", "void"})


@dataclass(frozen=True, slots=True)
class _Board:
    handle: Any
    uuid: str
    label: str
    limit_w: float | None
    has_counter: bool
    has_instant: bool


@meters.register("nvml")
class NvmlMeter:
    """Energy of the NVIDIA boards this process may use [J]. Grade B; needs the package nvidia-ml-py.

    Args:
        nvml: the NVML module; None for the installed `pynvml`.
        visible: which boards, as in CUDA_VISIBLE_DEVICES; None to take it from there.
        now: monotonic time [s].
    """

    name: ClassVar[str] = "nvml"

    def __init__(
        self,
        *,
        nvml: Any = None,
        visible: str | None = None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._nvml, self._now = nvml, now
        self._visible = visible if visible is not None else os.environ.get("CUDA_VISIBLE_DEVICES")
        self._boards: tuple[_Board, ...] = ()
        self._open = False
        self.grade = Grade.B
        self.method = Method.COUNTER
        self.source = "nvml"
        self.factors: tuple[Factor, ...] = ()
        self.notes: tuple[str, ...] = ()
        self.seen_share = 1.0
        self.shortest_s = 0.0
        self._channels: tuple[Channel, ...] = ()

    @classmethod
    def probe(cls, nvml: Any = None, visible: str | None = None, pci: Path = PCI_DEVICES) -> Availability:
        if nvml is None and asleep(pci):
            return Availability(
                "nvml",
                usable=False,
                reason="the board sleeps, and asking it would wake it",
                remedy="Start the work first, or name the meter (--meter nvml) to wake it",
            )
        meter = cls(nvml=nvml, visible=visible)
        try:
            meter.open()
            meter.read()
        except (MeterUnavailable, MissingExtra) as err:
            reason = err.reason if isinstance(err, MeterUnavailable) else f"the package {err.package} is not installed"
            return Availability("nvml", usable=False, reason=reason, remedy=err.remedy)
        finally:
            meter.close()
        boards = ", ".join(board.label for board in meter._boards)
        return Availability("nvml", usable=True, sees=boards, grade=meter.grade, improve="; ".join(meter.notes))

    @property
    def channels(self) -> tuple[Channel, ...]:
        return self._channels

    def open(self) -> None:
        """Start NVML and find the boards. Raises MissingExtra without the package, MeterUnavailable otherwise."""
        if self._nvml is None:
            self._nvml = _pynvml()
        nvml = self._nvml
        try:
            nvml.nvmlInit()
        except nvml.NVMLError as err:
            raise MeterUnavailable(
                "nvml", f"there is no NVIDIA driver to talk to ({err})", "Install the driver, or use another meter"
            ) from err
        self._open = True
        try:
            self._boards, notes = self._find()
            driver = _string(nvml.nvmlSystemGetDriverVersion())
        except nvml.NVMLError as err:
            self.close()
            raise MeterUnavailable("nvml", f"the driver answers with an error ({err})", "See nvidia-smi") from err
        except MeterUnavailable:
            self.close()
            raise
        counters = [board.has_counter for board in self._boards]
        self.method = Method.COUNTER if all(counters) else Method.INTEGRATED
        how = "counter" if all(counters) else "integrated power"
        self.source = f"nvml {driver} {how}: {', '.join(board.label for board in self._boards)}"
        if not all(board.has_instant for board in self._boards) and not all(counters):
            notes.append("power is a one-second average on Ampere and newer: windows of seconds are smeared")
        self._channels = tuple(channel for board in self._boards for channel in _channels(board))
        part_time = [board.label for board in self._boards if _PART_TIME.search(board.label)]
        if part_time:
            self.seen_share, self.shortest_s = _PART_TIME_SHARE, _PART_TIME_SHORTEST_S
            notes.append(
                f"the sensor of {', '.join(part_time)} looks {_PART_TIME_SHARE:.0%} of the time: several windows of "
                f"{_PART_TIME_SHORTEST_S:g} s and more, begun at random moments, tell more than one"
            )
        self.notes = tuple(notes)

    def read(self) -> Sample:
        if not self._open:
            raise MeterUnavailable("nvml", "it is not open", "Call open() first")
        now_s = self._now()
        values: list[float | None] = []
        for board in self._boards:
            if board.has_counter:
                values.append(self._energy_j(board))
            values.append(self._power_w(board))
        counted = [value for channel, value in zip(self._channels, values, strict=True) if channel.counted]
        if all(value is None for value in counted):
            raise MeterUnavailable("nvml", "no board answers", "See nvidia-smi: the board may have fallen off the bus")
        return Sample(now_s, tuple(values))

    def shares(self, pids: Collection[int], since_us: int = 0) -> dict[str, float | None]:
        """Which part of each board's work these processes did, by its own count of busy multiprocessors.

        An allocation, not a measurement: the driver samples it about six times a second, and idle joules have no
        owner in it. Shares of all processes of a board add up to 1.

        Args:
            pids: the processes of the run.
            since_us: only samples after this moment of the driver's clock [µs].

        Returns:
            Board uuid -> share in [0, 1]; None where the board does not say (MIG, older drivers, or nothing ran).
        """
        nvml = self._nvml
        shares: dict[str, float | None] = {}
        for board in self._boards:
            try:
                samples = nvml.nvmlDeviceGetProcessUtilization(board.handle, since_us)
            except nvml.NVMLError:
                samples = []
            all_busy = sum(sample.smUtil for sample in samples)
            busy = sum(sample.smUtil for sample in samples if sample.pid in pids)
            shares[board.uuid] = busy / all_busy if all_busy > 0 else None
        return shares

    def components(self) -> tuple[UncertaintyComponent, ...]:
        return (UncertaintyComponent("calibration", _CALIBRATION, _CALIBRATION_SOURCE),)

    def close(self) -> None:
        if self._open:
            self._open = False
            try:
                self._nvml.nvmlShutdown()
            except self._nvml.NVMLError:
                return  # the driver is gone: there is nothing left to close

    def _energy_j(self, board: _Board) -> float | None:
        try:
            return float(self._nvml.nvmlDeviceGetTotalEnergyConsumption(board.handle)) * _J_PER_MJ
        except self._nvml.NVMLError:
            return None

    def _power_w(self, board: _Board) -> float | None:
        nvml = self._nvml
        try:
            if board.has_instant:
                return _instant_w(nvml, board.handle)
            return float(nvml.nvmlDeviceGetPowerUsage(board.handle)) * _W_PER_MW
        except nvml.NVMLError:
            return None

    def _find(self) -> tuple[tuple[_Board, ...], list[str]]:
        nvml = self._nvml
        handles = [nvml.nvmlDeviceGetHandleByIndex(i) for i in range(nvml.nvmlDeviceGetCount())]
        uuids = [_string(nvml.nvmlDeviceGetUUID(handle)) for handle in handles]
        notes: list[str] = []
        chosen = list(range(len(handles)))
        if self._visible is not None:
            chosen = []
            for entry in [part.strip() for part in self._visible.split(",")]:
                if entry in _NOTHING:
                    break  # CUDA stops here too
                chosen.append(self._index(entry, uuids, notes))
            indexed = any(entry.strip().isdigit() for entry in self._visible.split(","))
            names = {_string(nvml.nvmlDeviceGetName(handle)) for handle in handles}
            if indexed and len(names) > 1 and os.environ.get("CUDA_DEVICE_ORDER") != "PCI_BUS_ID":
                notes.append("boards of several kinds, picked by index: set CUDA_DEVICE_ORDER=PCI_BUS_ID or use uuids")
        if not chosen:
            raise MeterUnavailable(
                "nvml",
                "CUDA_VISIBLE_DEVICES hides every board" if handles else "the driver sees no board",
                "Set CUDA_VISIBLE_DEVICES to the boards of this run, or use another meter",
            )
        # Several MIG instances of one card are one board here: its joules are counted once.
        return tuple(self._board(i, handles[i], uuids[i]) for i in dict.fromkeys(chosen)), notes

    def _index(self, entry: str, uuids: list[str], notes: list[str]) -> int:
        nvml = self._nvml
        unknown = MeterUnavailable(
            "nvml",
            f"CUDA_VISIBLE_DEVICES names {entry!r}, and no such device is here",
            f"Use an index below {len(uuids)} or one of {', '.join(uuids) or 'none'}",
        )
        if entry.isdigit():
            if int(entry) >= len(uuids):
                raise unknown
            return int(entry)
        if entry.startswith("MIG-"):
            notes.append("a MIG instance has no power sensor of its own: the reading is the whole card's")
            if entry.startswith("MIG-GPU-"):  # the older form MIG-GPU-<uuid>/<gpu instance>/<compute instance>
                entry = entry.removeprefix("MIG-").partition("/")[0]
            else:
                try:
                    parent = nvml.nvmlDeviceGetDeviceHandleFromMigDeviceHandle(nvml.nvmlDeviceGetHandleByUUID(entry))
                except nvml.NVMLError as err:
                    raise unknown from err
                entry = _string(nvml.nvmlDeviceGetUUID(parent))
        matches = [i for i, uuid in enumerate(uuids) if entry.startswith("GPU-") and uuid.startswith(entry)]
        if len(matches) != 1:
            raise unknown
        return matches[0]

    def _board(self, index: int, handle: Any, uuid: str) -> _Board:
        nvml = self._nvml
        try:
            limit_w = float(nvml.nvmlDeviceGetEnforcedPowerLimit(handle)) * _W_PER_MW
        except nvml.NVMLError:
            limit_w = None
        try:
            nvml.nvmlDeviceGetTotalEnergyConsumption(handle)
            has_counter = True
        except nvml.NVMLError:
            has_counter = False
        try:
            has_instant = _instant_w(nvml, handle) is not None
        except nvml.NVMLError:
            has_instant = False
        label = f"gpu-{index} {_string(nvml.nvmlDeviceGetName(handle))}"
        return _Board(handle, uuid, label, limit_w, has_counter, has_instant)


def asleep(pci: Path = PCI_DEVICES) -> bool:
    """Whether there are NVIDIA boards and all of them are in runtime suspend. Touches no driver."""
    states = [
        _text(folder / "power" / "runtime_status")
        for folder in sorted(pci.glob("*"))
        if _text(folder / "vendor") == _NVIDIA_VENDOR and _text(folder / "class").startswith(_DISPLAY_CLASS)
    ]
    return bool(states) and all(state == "suspended" for state in states)


def _channels(board: _Board) -> tuple[Channel, ...]:
    device = board.uuid
    power = Channel(
        id=f"{board.label} power",
        device=device,
        scope=Scope.GPU,
        kind=ChannelKind.POWER,
        update_s=_POWER_UPDATE_S if board.has_instant else _AVERAGED_UPDATE_S,
        resolution=_W_PER_MW,
        counted=not board.has_counter,
    )
    if not board.has_counter:
        return (power,)
    energy = Channel(
        id=f"{board.label} energy",
        device=device,
        scope=Scope.GPU,
        kind=ChannelKind.ENERGY,
        update_s=_ENERGY_UPDATE_S,
        resolution=_J_PER_MJ,
        # The enforced limit is an average that boards overshoot for milliseconds; twice of it is a fault.
        max_power_w=None if board.limit_w is None else 2 * board.limit_w,
    )
    return (energy, power)


def _instant_w(nvml: Any, handle: Any) -> float | None:
    """The instantaneous power field [W]; None where the driver or the board does not have it."""
    field = getattr(nvml, "NVML_FI_DEV_POWER_INSTANT", None)
    if field is None:
        return None
    answer = nvml.nvmlDeviceGetFieldValues(handle, [field])[0]
    return float(answer.value.uiVal) * _W_PER_MW if answer.nvmlReturn == nvml.NVML_SUCCESS else None


def _pynvml() -> Any:
    try:
        import pynvml
    except ImportError as err:
        raise MissingExtra("nvidia-ml-py", "the meter nvml", "pip install 'outweigh[nvidia]'") from err
    return pynvml


def _string(text: str | bytes) -> str:
    return text.decode() if isinstance(text, bytes) else text


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return ""
