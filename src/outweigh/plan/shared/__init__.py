"""Jobs that share capacity: planned together, with a bound that says how far from the best the plan can be."""

from outweigh.plan.shared.capacity import Capacity, CapacityPrices, CapacityUnit, Committed
from outweigh.plan.shared.planning import plan_jobs, with_foresight
from outweigh.plan.shared.proof import verify
from outweigh.plan.shared.schedule import Outcome, Runs, Schedule

__all__ = [
    "Capacity",
    "CapacityPrices",
    "CapacityUnit",
    "Committed",
    "Outcome",
    "Runs",
    "Schedule",
    "plan_jobs",
    "verify",
    "with_foresight",
]  # fmt: skip
