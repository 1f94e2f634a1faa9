"""Published figures of links between chips, and of what it takes to keep one cold. All of grade D.

docs/hardware.md says where each comes from and how it can be wrong.
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
class LinkFact:
    """A figure with its ends, in the unit of `provenance`. `checked` says how we know that the source says so."""

    name: str
    low: float
    high: float
    what: str
    checked: str
    provenance: Provenance


@cache
def link_facts() -> Mapping[str, LinkFact]:
    """
    >>> link_facts()["superconducting"].low
    0.005
    """
    text = resources.files("outweigh.data").joinpath("link.csv").read_text(encoding="utf-8")
    return MappingProxyType(
        {
            row["fact"]: LinkFact(
                row["fact"], float(row["low"]), float(row["high"]), row["what"], row["checked"],
                Provenance(row["unit"], row["year"], row["source"], row["licence"], row["retrieved"],
                           Grade(row["grade"])),
            )
            for row in csv.DictReader(text.splitlines())
        }
    )  # fmt: skip
