"""Carbon that went into making an accelerator [kgCO2e], as ranges: there is one study a device at most, or two.

The lower end is the card alone, the upper one has a share of its server in it. docs/hardware.md says how.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from types import MappingProxyType

from outweigh.core.measurement import Grade
from outweigh.data.tables import Provenance


@dataclass(frozen=True, slots=True)
class Embodied:
    """One row. `checked` says how we know that the source says so."""

    device: str
    low_kg: float
    high_kg: float
    scope: str
    checked: str
    provenance: Provenance


@cache
def embodied_carbon() -> Mapping[str, Embodied]:
    """Key of the hardware table -> row; most devices have none.

    >>> embodied_carbon()["nvidia-h100-sxm"].low_kg
    164.0
    """
    text = resources.files("outweigh.data").joinpath("embodied.csv").read_text(encoding="utf-8")
    return MappingProxyType(
        {
            row["device"]: Embodied(
                row["device"], float(row["low_kg"]), float(row["high_kg"]), row["scope"], row["checked"],
                Provenance("kgCO2e", row["year"], row["source"], row["licence"], row["retrieved"], Grade(row["grade"])),
            )
            for row in csv.DictReader(text.splitlines())
        }
    )  # fmt: skip
