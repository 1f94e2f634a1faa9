"""Exact answers for one job at a time: each kernel takes many rows (job, site, window) and solves every one."""

from outweigh.plan.kernels.cheapest_steps import interruptible, interruptible_use
from outweigh.plan.kernels.dynamic import resuming, resuming_use, resumptions
from outweigh.plan.kernels.greedy import Hull, elastic, elastic_use, hull
from outweigh.plan.kernels.prefix_sums import Starts, contiguous, contiguous_use, now
from outweigh.plan.kernels.windows import Use, Windows, check

__all__ = [
    "Hull",
    "Starts",
    "Use",
    "Windows",
    "check",
    "contiguous",
    "contiguous_use",
    "elastic",
    "elastic_use",
    "hull",
    "interruptible",
    "interruptible_use",
    "now",
    "resuming",
    "resuming_use",
    "resumptions",
]
