"""Supply: sun, wind, battery and contracts of a site against the grid alone, hour by hour, under a hard cap."""

from __future__ import annotations

from outweigh.whatif.supply.dispatch import Dispatch, broken_laws, dispatch
from outweigh.whatif.supply.headroom import headroom, reaches_cap
from outweigh.whatif.supply.outcome import Outcome, outcome, ways
from outweigh.whatif.supply.question import Battery, Contract, Generator, Grid, Site

__all__ = [
    "Battery",
    "Contract",
    "Dispatch",
    "Generator",
    "Grid",
    "Outcome",
    "Site",
    "broken_laws",
    "dispatch",
    "headroom",
    "outcome",
    "reaches_cap",
    "ways",
]
