"""`amdsmi`: energy of AMD Instinct and Radeon boards, from the energy accumulator where it passes a test.

    joules = energy_accumulator x counter_resolution [uJ] x 1e-6, since the driver was loaded or the board reset

The accumulator is not to be trusted unseen: it has been reported absent, frozen, running backwards and about a
hundredfold off, by board, driver and release. On opening, each is therefore held against the power sensor for half a
second. One that passes is counted, with the power sensor beside it, shown and not added, so that every window of some
seconds is checked again; one that fails is not used: power is integrated instead, the grade is one lower and a note
says what was wrong. A second die that reports neither power nor energy of its own (MI250) is left out: the first die
of its package reads for both.

Which boards: ROCR_VISIBLE_DEVICES, then HIP_VISIBLE_DEVICES, by index or GPU-uuid; unset means all, and a device that
does not exist is an error.

Sources: ROCm documentation, AMD SMI Python API (amdsmi_get_energy_count: accumulator x resolution in microjoules, not
on virtual machines; amdsmi_get_power_info: watts) and HIP environment variables; ROCm/amdsmi#22 (frozen), #38
(hundredfold), #115 (backwards); mlco2/codecarbon#1097 (MI250). The half-second test is ml-energy/zeus's idea.
"""

from __future__ import annotations

import importlib
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from outweigh.backends._files import text_of
from outweigh.backends._probing import probed
from outweigh.core.errors import MeterUnavailable, MissingExtra
from outweigh.core.measurement import Factor, Grade, Method, Scope, UncertaintyComponent
from outweigh.ports import Availability, Channel, ChannelKind, Sample
from outweigh.registry import meters

PCI_DEVICES = Path("/sys/bus/pci/devices")

_J_PER_UJ = 1e-6
_UPDATE_S = 0.1
_STEP_W = 1.0
_TRIAL_S = 0.5
# Power moves within half a second, and both sensors average in their own way: a factor of two is no fault, 100 is.
_AGREES = (0.5, 2.0)
_MAX_POWER_W = 3_000.0  # a plausibility bound, not a rating
_AMD_VENDOR = "0x1002"
_DISPLAY_CLASSES = ("0x03", "0x12")  # displays, and accelerators without one

# No accuracy is published. What is checked is that two sensors agree to 10 %: within it nobody can tell who is right.
_CALIBRATION = 0.10 / 3**0.5
_CALIBRATION_SOURCE = "accumulator and power sensor count as agreeing within 10 %, rectangular; AMD states no accuracy"

_INSTALL = "pip install amdsmi, in the release of the installed ROCm; or pip install /opt/rocm/share/amd_smi"


@dataclass(frozen=True, slots=True)
class _Board:
    handle: Any
    uuid: str
    label: str
    has_counter: bool
    step_j: float
    has_power: bool


@meters.register("amdsmi")
class AmdsmiMeter:
    """Energy of the AMD boards this process may use [J]. Grade B, C where a counter fails its test.

    Args:
        smi: the AMD SMI module; None for the installed `amdsmi`.
        rocr_visible, hip_visible: which boards; None to take them from the environment.
        now: monotonic time [s].
        wait: how to let the half second of the test pass.
    """

    name: ClassVar[str] = "amdsmi"

    def __init__(
        self,
        *,
        smi: Any = None,
        rocr_visible: str | None = None,
        hip_visible: str | None = None,
        now: Callable[[], float] = time.monotonic,
        wait: Callable[[float], None] = time.sleep,
    ) -> None:
        self._smi, self._now, self._wait = smi, now, wait
        self._visible = tuple(
            (name, given if given is not None else os.environ.get(name))
            for name, given in (("ROCR_VISIBLE_DEVICES", rocr_visible), ("HIP_VISIBLE_DEVICES", hip_visible))
        )
        self._boards: tuple[_Board, ...] = ()
        self._open = False
        self.grade = Grade.B
        self.method = Method.COUNTER
        self.source = "amdsmi"
        self.factors: tuple[Factor, ...] = ()
        self.notes: tuple[str, ...] = ()

    @classmethod
    def probe(cls, smi: Any = None, pci: Path = PCI_DEVICES) -> Availability:
        if smi is None and asleep(pci):
            return Availability(
                "amdsmi",
                usable=False,
                reason="the board sleeps, and asking it would wake it",
                remedy="Start the work first, or name the meter (--meter amdsmi) to wake it",
            )
        meter = cls(smi=smi)
        return probed(meter, lambda: ", ".join(board.label for board in meter._boards))

    @property
    def channels(self) -> tuple[Channel, ...]:
        return tuple(channel for board in self._boards for channel in _channels(board))

    def open(self) -> None:
        """Start AMD SMI, find the boards and test them. Raises MissingExtra or MeterUnavailable."""
        if self._smi is None:
            self._smi = _amdsmi()
        smi = self._smi
        try:
            smi.amdsmi_init()
        except smi.AmdSmiException as err:
            raise MeterUnavailable(
                "amdsmi",
                f"there is no amdgpu driver to talk to ({err})",
                "Load amdgpu and join the groups render and video",
            ) from err
        self._open = True
        try:
            handles = self._chosen(list(smi.amdsmi_get_processor_handles()))
            boards, notes = self._tested(handles)
        except smi.AmdSmiException as err:
            self.close()
            raise MeterUnavailable("amdsmi", f"the driver answers with an error ({err})", "See amd-smi") from err
        except MeterUnavailable:
            self.close()
            raise
        if not boards:
            self.close()
            raise MeterUnavailable("amdsmi", "no board gives energy or power", "See `amd-smi metric --power --energy`")
        self._boards = tuple(boards)
        sound = all(board.has_counter for board in boards)
        self.grade = Grade.B if sound and all(board.has_power for board in boards) else Grade.C
        self.method = Method.COUNTER if sound else Method.INTEGRATED
        how = "counter" if sound else "integrated power"
        self.source = f"amdsmi {how}: {', '.join(board.label for board in boards)}"
        self.notes = tuple(notes)

    def read(self) -> Sample:
        if not self._open:
            raise MeterUnavailable("amdsmi", "it is not open", "Call open() first")
        now_s = self._now()
        values: list[float | None] = []
        for board in self._boards:
            if board.has_counter:
                counted = self._energy(board.handle)
                values.append(None if counted is None else counted[0])
            if board.has_power:
                values.append(self._power_w(board.handle))
        if all(v is None for v, c in zip(values, self.channels, strict=True) if c.counted):
            raise MeterUnavailable("amdsmi", "no board answers", "See amd-smi: the board may have fallen off the bus")
        return Sample(now_s, tuple(values))

    def components(self) -> tuple[UncertaintyComponent, ...]:
        return (UncertaintyComponent("calibration", _CALIBRATION, _CALIBRATION_SOURCE),)

    def close(self) -> None:
        if self._open:
            self._open = False
            try:
                self._smi.amdsmi_shut_down()
            except self._smi.AmdSmiException:
                return  # the driver is gone: there is nothing left to close

    def _chosen(self, handles: list[Any]) -> list[tuple[int, Any]]:
        if not handles:
            raise MeterUnavailable("amdsmi", "the driver sees no board", "Use another meter")
        chosen = list(enumerate(handles))
        for variable, visible in self._visible:
            if visible is None:
                continue
            kept = []
            for entry in filter(None, (part.strip() for part in visible.split(","))):
                matches = [
                    place
                    for i, place in enumerate(chosen)
                    if entry == str(i) or (entry.startswith("GPU-") and _same(entry, self._uuid(place[1])))
                ]
                if len(matches) != 1:
                    raise MeterUnavailable(
                        "amdsmi",
                        f"{variable} names {entry!r}, and no such device is here",
                        f"Use an index below {len(chosen)} or a uuid of `amd-smi list`",
                    )
                kept += matches
            chosen = kept
            if not chosen:
                raise MeterUnavailable(
                    "amdsmi", f"{variable} hides every board", f"Set {variable} to this run's boards"
                )
        return chosen

    def _tested(self, handles: Sequence[tuple[int, Any]]) -> tuple[list[_Board], list[str]]:
        """Hold each accumulator against the power sensor for half a second."""
        before = [(self._now(), self._energy(h), self._power_w(h)) for _, h in handles]
        self._wait(_TRIAL_S)
        boards, notes = list[_Board](), list[str]()
        for (index, handle), (t0_s, first, power0_w) in zip(handles, before, strict=True):
            t1_s, second, power1_w = self._now(), self._energy(handle), self._power_w(handle)
            label = f"gpu-{index} {self._market_name(handle)}".strip()
            powers_w = [w for w in (power0_w, power1_w) if w is not None]
            mean_w = sum(powers_w) / len(powers_w) if powers_w else None
            if not mean_w and (first is None or second is None or first[0] == second[0]):
                notes.append(f"{label} has no power or energy of its own: another die of its package reads for it")
                continue
            fault = _fault(first, second, mean_w, t1_s - t0_s)
            if fault and not mean_w:
                notes.append(f"{label} is not read: its energy counter {fault} and it gives no power")
                continue
            if fault:
                notes.append(f"{label}: the energy counter {fault}; its power is integrated instead")
            elif not mean_w:
                notes.append(f"{label}: the energy counter could not be tested, for there is no power beside it")
            step_j = second[1] if second is not None else 0.0
            boards.append(_Board(handle, self._uuid(handle), label, not fault, step_j, bool(mean_w)))
        return boards, notes

    def _energy(self, handle: Any) -> tuple[float, float] | None:
        """(energy, its step) [J], or None."""
        try:
            told = self._smi.amdsmi_get_energy_count(handle)
        except self._smi.AmdSmiException:
            return None
        # The field was called "power" before ROCm 6.
        ticks, step_uj = told.get("energy_accumulator", told.get("power")), told.get("counter_resolution")
        if not isinstance(ticks, int | float) or not isinstance(step_uj, int | float):
            return None  # "N/A"
        return ticks * step_uj * _J_PER_UJ, step_uj * _J_PER_UJ

    def _power_w(self, handle: Any) -> float | None:
        try:
            told = self._smi.amdsmi_get_power_info(handle)
        except self._smi.AmdSmiException:
            return None
        for key in ("current_socket_power", "average_socket_power", "socket_power"):
            value = told.get(key)
            if isinstance(value, int | float) and value > 0:
                return float(value)
        return None

    def _uuid(self, handle: Any) -> str:
        return str(self._smi.amdsmi_get_gpu_device_uuid(handle))

    def _market_name(self, handle: Any) -> str:
        try:
            return str(self._smi.amdsmi_get_gpu_asic_info(handle).get("market_name", ""))
        except self._smi.AmdSmiException:
            return ""


def asleep(pci: Path = PCI_DEVICES) -> bool:
    """Whether there are AMD boards and all of them are in runtime suspend. Touches no driver."""
    states = [
        text_of(folder / "power" / "runtime_status")
        for folder in sorted(pci.glob("*"))
        if text_of(folder / "vendor") == _AMD_VENDOR and text_of(folder / "class").startswith(_DISPLAY_CLASSES)
    ]
    return bool(states) and all(state == "suspended" for state in states)


def _fault(
    first: tuple[float, float] | None, second: tuple[float, float] | None, mean_w: float | None, dt_s: float
) -> str:
    """What is wrong with a counter, "" when nothing is."""
    if first is None or second is None:
        return "is absent"
    counted_j = second[0] - first[0]
    if counted_j < 0:
        return "ran backwards"
    if counted_j == 0:
        return f"stood still for {dt_s:.2g} s"
    if mean_w is None or dt_s <= 0:
        return ""
    ratio = counted_j / (mean_w * dt_s)
    return "" if _AGREES[0] <= ratio <= _AGREES[1] else f"gives {ratio:.3g} times the power sensor's energy"


def _channels(board: _Board) -> tuple[Channel, ...]:
    power = Channel(
        id=f"{board.label} power",
        device=board.uuid,
        scope=Scope.GPU,
        kind=ChannelKind.POWER,
        update_s=_UPDATE_S,
        resolution=_STEP_W,
        max_power_w=_MAX_POWER_W,
        counted=not board.has_counter,
    )
    if not board.has_counter:
        return (power,)
    energy = Channel(
        id=f"{board.label} energy",
        device=board.uuid,
        scope=Scope.GPU,
        kind=ChannelKind.ENERGY,
        update_s=_UPDATE_S,
        resolution=board.step_j,
        max_power_w=_MAX_POWER_W,
    )
    return (energy, power) if board.has_power else (energy,)


def _same(given: str, uuid: str) -> bool:
    # HIP writes GPU- and hexadecimal digits, AMD SMI a dashed uuid: the digits have to agree as far as given.
    wanted, known = (text.removeprefix("GPU-").replace("-", "").lower() for text in (given, uuid))
    return bool(wanted) and known.startswith(wanted)


def _amdsmi() -> Any:
    try:
        return importlib.import_module("amdsmi")
    except (ImportError, KeyError, OSError) as err:  # the package is there and the library of ROCm is not
        raise MissingExtra("amdsmi", "the meter amdsmi", _INSTALL) from err
