"""Placement over months: shares of load over sites under declared scenarios, with risk, concentration and a proof."""

from outweigh.plan.placement.checking import verify
from outweigh.plan.placement.placing import AS_NOW, CHEAPEST, HEDGED, Declared, Placement, Way, place_load
from outweigh.plan.placement.problem import Candidate, Caps, Change, Grouping, Question, Scenario, Shock
from outweigh.plan.placement.sensitivity import Stable

__all__ = [
    "AS_NOW",
    "CHEAPEST",
    "HEDGED",
    "Candidate",
    "Caps",
    "Change",
    "Declared",
    "Grouping",
    "Placement",
    "Question",
    "Scenario",
    "Shock",
    "Stable",
    "Way",
    "place_load",
    "verify",
]
