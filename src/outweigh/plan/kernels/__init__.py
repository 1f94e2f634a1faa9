"""Exact answers for one job at a time: each kernel takes many rows (job, site, window) and solves every one."""

from outweigh.plan.kernels.contiguous import Starts, contiguous, contiguous_use, now
from outweigh.plan.kernels.elastic import Hull, elastic, elastic_use, hull
from outweigh.plan.kernels.interruptible import interruptible, interruptible_use
from outweigh.plan.kernels.resuming import resuming, resuming_use, resumptions
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
