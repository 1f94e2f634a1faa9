"""A fixed clock of the GPU."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from outweigh.backends.levers._device_settings import check, in_force, probe_boards, restore
from outweigh.backends.levers._making import levered, spelled, whole
from outweigh.core.variant import Variant
from outweigh.ports import Availability
from outweigh.registry import levers

_NAME = "clock"


@levers.register(_NAME)
class Clock:
    """Hold the graphics clock of NVIDIA boards at one frequency while the variant runs ("clock:1200", MHz).

    Below the top of the curve voltage falls with frequency, so that the same work takes longer and less energy. Nothing
    is made. The clock is set on the boards CUDA_VISIBLE_DEVICES names, only with --allow-device-settings, and taken off
    again: at the end of the run, or at the next start after a kill. NVML does not tell whether a clock was fixed
    before, so one that somebody else had fixed is taken off too; the power limit has no such gap.

    Source: NVML API reference, nvmlDeviceSetGpuLockedClocks (Volta and newer; needs root), nvmlDeviceGetMaxClockInfo.
    """

    name: ClassVar[str] = _NAME
    needs_argument: ClassVar[bool] = True

    def __init__(self, mhz: str = "", *, nvml: Any = None) -> None:
        self._mhz, self._nvml = mhz, nvml

    @classmethod
    def probe(cls) -> Availability:
        return probe_boards(_NAME, "their graphics clock")

    def apply(self, variant: Variant, workdir: Path) -> Variant:
        """Check the value; changes nothing. Raises LeverError or MissingExtra."""
        mhz = whole(self._mhz, _NAME, variant, 1)
        check(_Locked(mhz), variant.name, self._nvml)
        return levered(variant, spelled(_NAME, self._mhz))

    def held(self) -> AbstractContextManager[object]:
        """The clock in force; see `_device_settings.in_force`."""
        return in_force(_Locked(int(self._mhz)), self._nvml)

    @classmethod
    def restore(cls, nvml: Any = None) -> tuple[str, ...]:
        """Take off what a killed run left fixed; says what was done."""
        return restore(_Locked(0), nvml)


@dataclass(frozen=True, slots=True)
class _Locked:
    wanted_mhz: int
    name: str = _NAME

    def read(self, nvml: Any, board: Any) -> int:
        return 0  # not fixed: NVML has no word for what was before

    def check(self, nvml: Any, board: Any) -> str:
        most_mhz = nvml.nvmlDeviceGetMaxClockInfo(board, nvml.NVML_CLOCK_GRAPHICS)
        return "" if self.wanted_mhz <= most_mhz else f"the board's graphics clock goes up to {most_mhz} MHz"

    def change(self, nvml: Any, board: Any) -> None:
        nvml.nvmlDeviceSetGpuLockedClocks(board, self.wanted_mhz, self.wanted_mhz)

    def put_back(self, nvml: Any, board: Any, former: int) -> None:
        nvml.nvmlDeviceResetGpuLockedClocks(board)

    def by_hand(self, former: int) -> str:
        return "nvidia-smi -rgc"
