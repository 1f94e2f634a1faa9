"""Machines made of files and objects: a powercap tree, an NVML, a processor."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import pytest

RANGE_UJ = 262_143_328_850  # as read from an Intel server: 32 bits of 61 µJ


class PowercapTree:
    """A powercap tree under a folder, laid out flat as /sys/class/powercap is."""

    def __init__(self, root: Path) -> None:
        self.root = root
        root.mkdir(parents=True, exist_ok=True)

    def zone(self, folder: str, name: str, energy_j: float = 100.0, range_uj: int = RANGE_UJ) -> Path:
        path = self.root / folder
        path.mkdir()
        (path / "name").write_text(f"{name}\n")
        (path / "max_energy_range_uj").write_text(f"{range_uj}\n")
        (path / "energy_uj").write_text("0\n")
        self.set_j(folder, energy_j)
        return path

    def set_j(self, folder: str, energy_j: float) -> None:
        (self.root / folder / "energy_uj").write_text(f"{round(energy_j * 1e6)}\n")

    def server(self, sockets: int = 2) -> PowercapTree:
        """An Intel server: a package and its memory per socket."""
        for socket in range(sockets):
            self.zone(f"intel-rapl:{socket}", f"package-{socket}", 1_000.0 * (socket + 1))
            self.zone(f"intel-rapl:{socket}:0", "dram", 300.0 * (socket + 1))
        return self


@pytest.fixture
def powercap(tmp_path: Path) -> PowercapTree:
    return PowercapTree(tmp_path / "powercap")


def write_cpuinfo(path: Path, sockets: int = 2, flags: str = "fpu sse", **fields: str) -> Path:
    shown = {"vendor_id": "GenuineIntel", "cpu family": "6", "model": "143", "stepping": "8", **fields}
    blocks = []
    for socket in range(sockets):
        lines = [f"processor\t: {socket}", *(f"{key}\t: {value}" for key, value in shown.items())]
        blocks.append("\n".join([*lines, f"physical id\t: {socket}", f"flags\t\t: {flags}"]))
    path.write_text("\n\n".join(blocks) + "\n")
    return path


@pytest.fixture
def cpuinfo(tmp_path: Path) -> Callable[..., Path]:
    def make(**fields: object) -> Path:
        return write_cpuinfo(tmp_path / "cpuinfo", **fields)

    return make


class FakeNvmlError(Exception):
    pass


@dataclass
class FakeBoard:
    uuid: str
    name: str = "NVIDIA H100 80GB HBM3"
    energy_mj: int | None = 5_000_000
    power_mw: int | None = 120_000
    instant_mw: int | None = 125_000
    limit_mw: int = 700_000


@dataclass
class FakeNvml:
    """The part of pynvml we call, answering from a list of boards."""

    boards: list[FakeBoard]
    mig_parents: Mapping[str, str] = field(default_factory=dict)
    driver: bool = True
    started: int = 0

    NVMLError = FakeNvmlError
    NVML_SUCCESS = 0
    NVML_ERROR_NOT_SUPPORTED = 3
    NVML_FI_DEV_POWER_INSTANT = 186

    def nvmlInit(self) -> None:  # noqa: N802
        if not self.driver:
            raise FakeNvmlError("Driver Not Loaded")
        self.started += 1

    def nvmlShutdown(self) -> None:  # noqa: N802
        self.started -= 1

    def nvmlSystemGetDriverVersion(self) -> str:  # noqa: N802
        return "570.86.15"

    def nvmlDeviceGetCount(self) -> int:  # noqa: N802
        return len(self.boards)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> FakeBoard:  # noqa: N802
        return self.boards[index]

    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> str:  # noqa: N802
        if uuid not in self.mig_parents:
            raise FakeNvmlError("Not Found")
        return uuid

    def nvmlDeviceGetDeviceHandleFromMigDeviceHandle(self, handle: str) -> FakeBoard:  # noqa: N802
        return next(b for b in self.boards if b.uuid == self.mig_parents[handle])

    def nvmlDeviceGetUUID(self, handle: FakeBoard) -> str:  # noqa: N802
        return handle.uuid

    def nvmlDeviceGetName(self, handle: FakeBoard) -> bytes:  # noqa: N802
        return handle.name.encode()

    def nvmlDeviceGetEnforcedPowerLimit(self, handle: FakeBoard) -> int:  # noqa: N802
        return handle.limit_mw

    def nvmlDeviceGetTotalEnergyConsumption(self, handle: FakeBoard) -> int:  # noqa: N802
        if handle.energy_mj is None:
            raise FakeNvmlError("Not Supported")
        return handle.energy_mj

    def nvmlDeviceGetPowerUsage(self, handle: FakeBoard) -> int:  # noqa: N802
        if handle.power_mw is None:
            raise FakeNvmlError("Not Supported")
        return handle.power_mw

    def nvmlDeviceGetFieldValues(self, handle: FakeBoard, fields: list[int]) -> list[SimpleNamespace]:  # noqa: N802
        code = self.NVML_SUCCESS if handle.instant_mw is not None else self.NVML_ERROR_NOT_SUPPORTED
        return [SimpleNamespace(nvmlReturn=code, value=SimpleNamespace(uiVal=handle.instant_mw or 0)) for _ in fields]


@pytest.fixture
def nvml() -> FakeNvml:
    return FakeNvml(
        boards=[
            FakeBoard("GPU-aaaaaaaa-0000-0000-0000-000000000001"),
            FakeBoard("GPU-bbbbbbbb-0000-0000-0000-000000000002"),
        ],
        mig_parents={
            "MIG-11111111-0000-0000-0000-000000000001": "GPU-bbbbbbbb-0000-0000-0000-000000000002",
            "MIG-22222222-0000-0000-0000-000000000002": "GPU-bbbbbbbb-0000-0000-0000-000000000002",
        },
    )
