"""Published figures of what data centres draw [TWh a year], each with its scope, year, source and how it was checked.

docs/whatif.md says how they are used. The rows are written by hand; a figure that could not be found again at a page
that quotes its source is not in the table.

>>> world_figures()["iea-ai-2024"].central_twh
415.0
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
class WorldFigure:
    """One published figure.

    Attributes:
        kind: claim (to be tested), estimate (of a year that has been) or projection.
        measure: consumption or generation.
        low_twh, central_twh, high_twh: [TWh] in `year`; None where the source gives none.
        checked: how we know that the source says so.
    """

    key: str
    name: str
    year: int
    low_twh: float | None
    central_twh: float | None
    high_twh: float | None
    scope: str
    kind: str
    measure: str
    published: int
    checked: str
    provenance: Provenance


@cache
def world_figures() -> Mapping[str, WorldFigure]:
    """Scenario ("iea-ai-2030") -> row, in the order of the table: the article's claim first."""
    text = resources.files("outweigh.data").joinpath("world_electricity.csv").read_text(encoding="utf-8")
    found: dict[str, WorldFigure] = {}
    for row in csv.DictReader(text.splitlines()):
        if row["unit"] != "TWh":
            raise ValueError(f"world_electricity.csv: {row['scenario']} is in {row['unit']}, not in TWh")
        low, central, high = (float(row[name]) if row[name] else None for name in ("low", "central", "high"))
        found[row["scenario"]] = WorldFigure(
            row["scenario"], row["name"], int(row["year"]), low, central, high, row["scope"], row["kind"],
            row["measure"], int(row["published"]), row["checked"],
            Provenance(row["unit"], row["published"], row["source"], row["licence"], row["retrieved"],
                       Grade(row["grade"])),
        )  # fmt: skip
    return MappingProxyType(found)
