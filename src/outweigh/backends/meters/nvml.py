"""`nvml`: energy of NVIDIA boards, from the total-energy counter, or from integrated power where there is none.

The counter (Volta and newer) is read at the edges of a window; the power sensor stands beside it, shown and not
added, so that a window of some seconds can be checked one against the other. Boards without the counter have their
power integrated from background samples. The power field asked for is the instantaneous one: `PowerUsage` is a
one-second average on Ampere and newer, GA100 excepted.

Which boards: CUDA_VISIBLE_DEVICES by index, GPU uuid (or its beginning) or MIG uuid; unset means all of them, and a
device that does not exist is an error. A MIG instance has no sensor of its own: the reading is the whole card's, and
so it is under MPS and where several processes use one board. The joules are then given as measured, for the card, and
beside them what falls to one run, allocated and a grade lower (`watch`, `allocated`): by busy multiprocessors, or by
the size of its MIG instances. A virtual GPU is a part of a card whose sensors are another machine's.

Sources: NVML API reference, nvmlDeviceGetTotalEnergyConsumption (millijoules since the driver was loaded),
nvmlDeviceGetPowerUsage (milliwatts, +/- 5 %, one-second average), NVML_FI_DEV_POWER_INSTANT;
nvmlDeviceGetProcessUtilization (one sample for each process that was busy in the last period, none under MIG).
"""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

from outweigh.core.errors import MeterUnavailable, MissingExtra
from outweigh.core.intervals import Interval
from outweigh.core.measurement import Factor, Grade, Measurement, Method, Scope, UncertaintyComponent
from outweigh.core.quantities import Energy
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

_SHARE_S = 1.0  # between two looks at who is busy: the driver keeps samples for some seconds
_VGPU = 2  # NVML_GPU_VIRTUALIZATION_MODE_VGPU
_ALLOCATION_SOURCE = (
    "how joules fall to the processes of a board is not known: the share may be off by all of the smaller part, "
    "rectangular (JCGM 100:2008, 4.3.7)"
)

_NOTHING = frozenset({"", "-1", "NoDevFiles", "none", "void"})


@dataclass(frozen=True, slots=True)
class _Board:
    handle: Any
    uuid: str
    label: str
    limit_w: float | None
    has_counter: bool
    has_instant: bool
    instances: tuple[Any, ...] = ()  # the MIG instances of it that were named


@dataclass(slots=True)
class _Tally:
    """What is known of the sharing of one board since it is watched."""

    energy_j: float
    at_s: float
    seen_us: int = 0
    card_j: float = 0.0
    owned_j: float = 0.0  # of card_j, while somebody was seen to be busy
    ours_j: float = 0.0
    ours: bool = False
    others: set[int] = field(default_factory=set)
    foreign: bool = False  # ids that this machine's /proc does not know: another namespace's

    @property
    def share(self) -> float:
        """The run's share of the joules that had an owner."""
        return self.ours_j / self.owned_j if self.owned_j > 0 else 0.0


@meters.register("nvml")
class NvmlMeter:
    """Energy of the NVIDIA boards this process may use [J]. Grade B; needs the package nvidia-ml-py.

    Args:
        nvml: the NVML module; None for the installed `pynvml`.
        visible: which boards, as in CUDA_VISIBLE_DEVICES; None to take it from there.
        now: monotonic time [s].
        proc: where processes are told by their id.
    """

    name: ClassVar[str] = "nvml"

    def __init__(
        self,
        *,
        nvml: Any = None,
        visible: str | None = None,
        now: Callable[[], float] = time.monotonic,
        proc: Path = Path("/proc"),
    ) -> None:
        self._nvml, self._now, self._proc = nvml, now, proc
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
        self._sharing = threading.Lock()
        self._living: Callable[[], Collection[int]] | None = None
        self._run_pids: set[int] = set()
        self._tallies: tuple[_Tally, ...] = ()
        self._shared_at_s = 0.0

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
        virtual = [b.label for b in self._boards if _ask(nvml, "nvmlDeviceGetVirtualizationMode", b.handle) == _VGPU]
        if virtual:
            self.grade = Grade.C
            notes.append(
                f"{', '.join(virtual)}: a virtual GPU, whose reading is not its own but the card's, shared out"
            )
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
        if self._living is not None and now_s >= self._shared_at_s + _SHARE_S:
            self._share_out(now_s)
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
        shares: dict[str, float | None] = {}
        for board in self._boards:
            busy, _ = self._busy(board, since_us)
            whole = sum(busy.values())
            shares[board.uuid] = sum(busy.get(pid, 0) for pid in set(pids)) / whole if whole > 0 else None
        return shares

    def watch(self, living: Callable[[], Collection[int]] | None) -> None:
        """Share the boards out by these processes from now on, about once a second; None to stop.

        Args:
            living: ids of the run's processes that are alive.
        """
        now_s = self._now()
        if living is None:
            if self._living is not None:
                self._share_out(now_s)
                self._living = None
            return
        with self._sharing:
            self._run_pids = set()
            self._tallies = tuple(_Tally(self._energy_j(board) or 0.0, now_s) for board in self._boards)
            for board, tally in zip(self._boards, self._tallies, strict=True):
                _, tally.seen_us = self._busy(board, 0)  # what was before is not the run's
            self._shared_at_s, self._living = now_s, living

    def allocated(self, interval: Interval) -> tuple[tuple[Measurement, ...], tuple[str, ...]]:
        """What of each shared board fell to the run while it was watched; nothing for a board it had for itself.

        An allocation: joules are handed out by who kept the multiprocessors busy, second by second, and under MIG by
        the size of the instances. Joules of moments in which nobody was busy have no owner and are handed to nobody,
        so the shares of all processes of a board add up to at most what it drew.

        Returns:
            A measurement for each shared board, modelled and at grade C, and notes.
        """
        found: list[Measurement] = []
        notes: list[str] = []
        for board, tally in zip(self._boards, self._tallies, strict=True):
            current, _ = _instances(self._nvml, board.handle)
            if current:
                share, how = self._instance_share(board), "the size of its MIG instances"
                given_j = None if share is None else share * tally.card_j
            elif not tally.others:
                continue
            elif tally.foreign and not tally.ours:
                share, given_j, how = None, None, ""
            else:
                share, given_j, how = tally.share, tally.ours_j, "busy multiprocessors"
                if tally.owned_j == 0:
                    share = given_j = None
            if share is None or given_j is None:
                notes.append(
                    f"{board.label} is shared, and the driver does not say which part was this run's: the joules are "
                    "the whole card's"
                )
                continue
            notes.append(
                f"{board.label} is shared: the joules are the whole card's, of which {given_j:.4g} J are allocated to "
                f"this run by {how}, not measured"
            )
            spread_j = min(share, 1 - share) * (tally.card_j if current else tally.owned_j) / 3**0.5
            found.append(
                Measurement(
                    Energy(given_j),
                    interval,
                    Scope.GPU,
                    Grade.worst((self.grade, Grade.C)),
                    Method.MODELLED,
                    f"{self.source} allocated: {100 * share:.3g} % of {board.label} by {how}",
                    (
                        UncertaintyComponent("allocation", spread_j, _ALLOCATION_SOURCE),
                        UncertaintyComponent("calibration", _CALIBRATION * given_j, _CALIBRATION_SOURCE),
                    ),
                )
            )
        return tuple(found), tuple(notes)

    def components(self) -> tuple[UncertaintyComponent, ...]:
        return (UncertaintyComponent("calibration", _CALIBRATION, _CALIBRATION_SOURCE),)

    def close(self) -> None:
        if self._open:
            self._open = False
            try:
                self._nvml.nvmlShutdown()
            except self._nvml.NVMLError:
                return  # the driver is gone: there is nothing left to close

    def _share_out(self, now_s: float) -> None:
        """Hand out what the boards drew since the last look, by who was busy meanwhile."""
        with self._sharing:
            if self._living is None:
                return
            self._shared_at_s = now_s
            self._run_pids |= set(self._living())
            for board, tally in zip(self._boards, self._tallies, strict=True):
                drawn_j = self._drawn_j(board, tally, now_s)
                busy, tally.seen_us = self._busy(board, tally.seen_us)
                present = {pid for pid, share in busy.items() if share > 0} | _on_board(self._nvml, board.handle)
                tally.ours |= bool(present & self._run_pids)
                others = present - self._run_pids - {os.getpid()}
                tally.others |= others
                tally.foreign |= any(not (self._proc / str(pid)).exists() for pid in others)
                tally.card_j += drawn_j
                whole = sum(busy.values())
                if whole > 0:
                    tally.owned_j += drawn_j
                    tally.ours_j += drawn_j * sum(busy.get(pid, 0) for pid in self._run_pids) / whole

    def _drawn_j(self, board: _Board, tally: _Tally, now_s: float) -> float:
        """Energy of a board since the last look [J]; 0 where it does not answer or its counter began again."""
        since_s, tally.at_s = now_s - tally.at_s, now_s
        if not board.has_counter:
            return max(0.0, (self._power_w(board) or 0.0) * since_s)
        energy_j = self._energy_j(board)
        if energy_j is None:
            return 0.0
        before_j, tally.energy_j = tally.energy_j, energy_j
        return max(0.0, energy_j - before_j)

    def _busy(self, board: _Board, since_us: int) -> tuple[dict[int, int], int]:
        """How busy each process was after a moment of the driver's clock [µs], and the last moment it tells of."""
        samples = _ask(self._nvml, "nvmlDeviceGetProcessUtilization", board.handle, since_us) or []
        busy: dict[int, int] = {}
        for sample in samples:
            busy[sample.pid] = busy.get(sample.pid, 0) + sample.smUtil
        return busy, max((getattr(sample, "timeStamp", 0) for sample in samples), default=since_us)

    def _instance_share(self, board: _Board) -> float | None:
        """Multiprocessors of the MIG instances that were named, of those of all instances of the card."""
        instances, sizes = _instances(self._nvml, board.handle)
        named = {_string(uuid) for i in board.instances if (uuid := _ask(self._nvml, "nvmlDeviceGetUUID", i))}
        if not named or not sum(sizes):
            return None
        own = sum(size for uuid, size in zip(instances, sizes, strict=True) if uuid in named)
        return own / sum(sizes) if own else None

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
        instances: dict[int, list[Any]] = {}
        if self._visible is not None:
            chosen = []
            for entry in [part.strip() for part in self._visible.split(",")]:
                if entry in _NOTHING:
                    break  # CUDA stops here too
                chosen.append(self._index(entry, uuids, notes))
                if (
                    entry.startswith("MIG-")
                    and (instance := _ask(nvml, "nvmlDeviceGetHandleByUUID", entry)) is not None
                ):
                    instances.setdefault(chosen[-1], []).append(instance)
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
        boards = [
            replace(self._board(i, handles[i], uuids[i]), instances=tuple(instances.get(i, ())))
            for i in dict.fromkeys(chosen)
        ]
        notes += [
            f"{board.label} is divided (MIG): the reading is the whole card's"
            for board in boards
            if not board.instances and _instances(nvml, board.handle)[0]
        ]
        return tuple(boards), notes

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


def _ask(nvml: Any, function: str, *args: Any) -> Any:
    """What NVML answers; None where the package, the driver or the board does not have this."""
    call = getattr(nvml, function, None)
    if call is None:
        return None
    try:
        return call(*args)
    except nvml.NVMLError:
        return None


def _on_board(nvml: Any, handle: Any) -> set[int]:
    """Processes that have a compute context on a board, by themselves or through MPS."""
    lists = ("nvmlDeviceGetComputeRunningProcesses", "nvmlDeviceGetMPSComputeRunningProcesses")
    return {process.pid for function in lists for process in _ask(nvml, function, handle) or []}


def _instances(nvml: Any, handle: Any) -> tuple[list[str], list[int]]:
    """The MIG instances of a card and how many multiprocessors each has; none where it is not divided."""
    uuids, sizes = [], []
    for index in range(_ask(nvml, "nvmlDeviceGetMaxMigDeviceCount", handle) or 0):
        instance = _ask(nvml, "nvmlDeviceGetMigDeviceHandleByIndex", handle, index)
        if instance is None:
            continue  # a place that no instance has
        attributes = _ask(nvml, "nvmlDeviceGetAttributes", instance)
        uuids.append(_string(_ask(nvml, "nvmlDeviceGetUUID", instance) or ""))
        sizes.append(0 if attributes is None else int(attributes.multiprocessorCount))
    return uuids, sizes


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
