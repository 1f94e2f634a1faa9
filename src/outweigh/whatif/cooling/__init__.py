"""Cooling: what a hall draws and drinks by technology, load and weather, what changing costs, where the sign flips."""

from __future__ import annotations

from outweigh.whatif.cooling.plant import Plant, Rejection, Technology, Year, over_year, plant_of
from outweigh.whatif.cooling.weather import Weather, wet_bulb_c
from outweigh.whatif.cooling.weighing import Figure, Hall, Limits, Money, Option, weigh

__all__ = [
    "Figure",
    "Hall",
    "Limits",
    "Money",
    "Option",
    "Plant",
    "Rejection",
    "Technology",
    "Weather",
    "Year",
    "over_year",
    "plant_of",
    "weigh",
    "wet_bulb_c",
]
