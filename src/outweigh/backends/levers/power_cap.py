"""A lower power limit of the GPU."""

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

_NAME = "power-cap"
_MW_PER_W = 1_000


@levers.register(_NAME)
class PowerCap:
    """Hold NVIDIA boards to a power limit while the variant runs ("power-cap:300", watts a board).

    The board lowers its clocks to stay below it. Work takes longer and, near the top of the curve, less energy; far
    down, the board's idle draw over the longer time eats the saving. Nothing is made. The limit is set on the boards
    CUDA_VISIBLE_DEVICES names, only with --allow-device-settings, and what it was is put back: at the end of the run,
    or at the next start after a kill.

    Source: NVML API reference, nvmlDeviceSetPowerManagementLimit (milliwatts; needs root).
    """

    name: ClassVar[str] = _NAME
    needs_argument: ClassVar[bool] = True

    def __init__(self, watts: str = "", *, nvml: Any = None) -> None:
        self._watts, self._nvml = watts, nvml

    @classmethod
    def probe(cls) -> Availability:
        return probe_boards(_NAME, "their power limit")

    def apply(self, variant: Variant, workdir: Path) -> Variant:
        """Check the value; changes nothing. Raises LeverError or MissingExtra."""
        watts = whole(self._watts, _NAME, variant, 1)
        check(_Limit(watts * _MW_PER_W), variant.name, self._nvml)
        return levered(variant, spelled(_NAME, self._watts))

    def held(self) -> AbstractContextManager[object]:
        """The limit in force; see `_device_settings.in_force`."""
        return in_force(_Limit(int(self._watts) * _MW_PER_W), self._nvml)

    @classmethod
    def restore(cls, nvml: Any = None) -> tuple[str, ...]:
        """Put back what a killed run left changed; says what was done."""
        return restore(_Limit(0), nvml)


@dataclass(frozen=True, slots=True)
class _Limit:
    wanted_mw: int
    name: str = _NAME

    def read(self, nvml: Any, board: Any) -> int:
        return int(nvml.nvmlDeviceGetPowerManagementLimit(board))

    def check(self, nvml: Any, board: Any) -> str:
        least_mw, most_mw = nvml.nvmlDeviceGetPowerManagementLimitConstraints(board)
        if least_mw <= self.wanted_mw <= most_mw:
            return ""
        return f"the board takes limits from {least_mw / _MW_PER_W:g} to {most_mw / _MW_PER_W:g} W"

    def change(self, nvml: Any, board: Any) -> None:
        nvml.nvmlDeviceSetPowerManagementLimit(board, self.wanted_mw)

    def put_back(self, nvml: Any, board: Any, former: int) -> None:
        nvml.nvmlDeviceSetPowerManagementLimit(board, former)

    def by_hand(self, former: int) -> str:
        return f"nvidia-smi -pl {former / _MW_PER_W:g}"
