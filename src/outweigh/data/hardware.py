"""What data sheets say of accelerators: rated power, dense arithmetic, memory. Grade D, whoever prints them.

Figures with structured sparsity are twice the dense ones and are not used: a network that is not pruned so never sees
them.
"""

from __future__ import annotations

import csv
import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from types import MappingProxyType

from outweigh.core.errors import UsageError
from outweigh.core.measurement import Factor, Grade


@dataclass(frozen=True, slots=True)
class Device:
    """One row.

    Attributes:
        rated_w: the most the board is allowed to draw [W].
        flop_per_s: dense bf16 operations [1/s] (fp16 where a board has no bf16).
        bytes_per_s: memory bandwidth [B/s].
        checked: how we know that the source says so.
    """

    key: str
    name: str
    rated_w: float
    flop_per_s: float
    bytes_per_s: float
    year: str
    source: str
    licence: str
    retrieved: str
    checked: str

    @property
    def factors(self) -> tuple[Factor, ...]:
        return tuple(
            Factor(f"{what} of {self.name}", value, unit, self.source, self.year, self.retrieved, self.licence, Grade.D)
            for what, value, unit in (
                ("rated power", self.rated_w, "W"),
                ("dense bf16 arithmetic", self.flop_per_s, "FLOP/s"),
                ("memory bandwidth", self.bytes_per_s, "B/s"),
            )
        )


@cache
def devices() -> Mapping[str, Device]:
    """Every device by its key, such as "nvidia-h100-sxm"."""
    text = resources.files("outweigh.data").joinpath("hardware.csv").read_text(encoding="utf-8")
    return MappingProxyType(
        {
            row["device"]: Device(
                row["device"], row["name"], float(row["rated_w"]), 1e12 * float(row["bf16_dense_tflops"]),
                1e9 * float(row["memory_gb_s"]), row["year"], row["source"], row["licence"], row["retrieved"],
                row["checked"],
            )
            for row in csv.DictReader(text.splitlines())
        }
    )  # fmt: skip


def device(key: str) -> Device:
    """Raises UsageError, with the nearest keys, for one that is not in the table."""
    try:
        return devices()[key]
    except KeyError:
        raise UsageError(f"the hardware table has no device {key!r}", nearest_devices(key)) from None


def nearest_devices(key: str) -> str:
    """A sentence with the keys that are like it: those that hold it first; all of them where none is.

    >>> nearest_devices("a100")
    'Did you mean nvidia-a100-sxm-80gb, amd-mi300x, nvidia-h100-sxm?'
    """
    wanted = key.casefold().strip()
    holding = [one for one in devices() if wanted and wanted in one]
    like = difflib.get_close_matches(wanted, devices(), n=3, cutoff=0.4)
    near = list(dict.fromkeys([*holding, *like]))[:3]
    return f"Did you mean {', '.join(near)}?" if near else f"Known: {', '.join(devices())}"
