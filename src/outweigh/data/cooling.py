"""Parameters of ways to cool a data centre, each with range, source, year and how it was checked.

docs/whatif.md says how they are used. They are written by hand and of grade D: a building has its own figures, and
`outweigh whatif cooling --parameters FILE` takes them.

>>> cooling_parameters()["air"]["server_fan_share"].value
0.125
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
class CoolingParameter:
    """One figure. `low` and `high` are limits: anything between them alike. `checked` is how we know it."""

    technology: str
    name: str
    value: float
    low: float
    high: float
    checked: str
    provenance: Provenance


@cache
def cooling_parameters() -> Mapping[str, Mapping[str, CoolingParameter]]:
    """Technology ("all" is for every one of them) -> parameter -> row."""
    text = resources.files("outweigh.data").joinpath("cooling.csv").read_text(encoding="utf-8")
    found: dict[str, dict[str, CoolingParameter]] = {}
    for row in csv.DictReader(text.splitlines()):
        found.setdefault(row["technology"], {})[row["parameter"]] = CoolingParameter(
            row["technology"], row["parameter"], float(row["value"]), float(row["low"]), float(row["high"]),
            row["checked"],
            Provenance(row["unit"], row["year"], row["source"], row["licence"], row["retrieved"], Grade(row["grade"])),
        )  # fmt: skip
    return MappingProxyType({key: MappingProxyType(rows) for key, rows in found.items()})
