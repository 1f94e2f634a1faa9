"""Life-cycle carbon of a kilowatt-hour by fuel, for mixing with a zone's generation.

docs/grid-sources.md says what each row stands for. A fuel without a row has no factor: peat, oil shale and gas from
coal are published by some grids, and no source we may ship has a median for them.

>>> fuel_intensities()["gas"].g_per_kwh, "peat" in fuel_intensities()
(490.0, False)
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
class FuelIntensity:
    """Average life-cycle intensity of generation from one fuel [gCO2e/kWh]. `basis` says of which plants."""

    fuel: str
    g_per_kwh: float
    basis: str
    provenance: Provenance


@cache
def fuel_intensities() -> Mapping[str, FuelIntensity]:
    """Fuel -> row."""
    text = resources.files("outweigh.data").joinpath("fuel_intensity.csv").read_text(encoding="utf-8")
    return MappingProxyType(
        {
            row["fuel"]: FuelIntensity(
                row["fuel"],
                float(row["value"]),
                row["basis"],
                Provenance(
                    row["unit"],
                    row["year"],
                    row["source"],
                    row["licence"],
                    row["retrieved"],
                    Grade(row["grade"]),
                ),
            )
            for row in csv.DictReader(text.splitlines())
        }
    )
