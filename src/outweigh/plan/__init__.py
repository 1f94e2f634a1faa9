"""Plan: where and when each job runs, with a proof of how far from the optimum that can be."""

from outweigh.plan.check import check
from outweigh.plan.serving import plan_serving, planning_pue

__all__ = ["check", "plan_serving", "planning_pue"]
