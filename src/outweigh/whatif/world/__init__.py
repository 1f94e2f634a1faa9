"""The world's figures beside each other: what is claimed, what is published, and one's own share of it."""

from __future__ import annotations

from outweigh.whatif.world.beside import Beside, beside, between, centre_of, latest_estimate
from outweigh.whatif.world.nations import (
    Measure,
    National,
    Nations,
    TonnesRange,
    compare,
    known_countries,
    tonnes_range,
)

__all__ = [
    "Beside",
    "Measure",
    "National",
    "Nations",
    "TonnesRange",
    "beside",
    "between",
    "centre_of",
    "compare",
    "known_countries",
    "latest_estimate",
    "tonnes_range",
]
