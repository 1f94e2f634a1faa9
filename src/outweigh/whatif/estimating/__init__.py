"""What a piece of work will draw, before it runs; and what was learned when it had."""

from outweigh.whatif.estimating.estimate import Estimate, Figure, Place, estimate, power_of, utilisation_of
from outweigh.whatif.estimating.learning import Learned, Observation, Reconciled, learned_factor, reconcile
from outweigh.whatif.estimating.ranges import Propagated, Ranged, propagate
from outweigh.whatif.estimating.work import DeviceHours, Serving, Training, Work

__all__ = [
    "DeviceHours",
    "Estimate",
    "Figure",
    "Learned",
    "Observation",
    "Place",
    "Propagated",
    "Ranged",
    "Reconciled",
    "Serving",
    "Training",
    "Work",
    "estimate",
    "learned_factor",
    "power_of",
    "propagate",
    "reconcile",
    "utilisation_of",
]
