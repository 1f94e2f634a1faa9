"""Plans: where and when each job runs, and a proof of how far from the optimum that can be."""

from __future__ import annotations

from dataclasses import dataclass

from outweigh.core.intervals import Interval
from outweigh.core.quantities import Carbon, Energy, Money


@dataclass(frozen=True, slots=True)
class Assignment:
    """A share of one job at one site over one interval. Energy is facility energy (PUE included)."""

    job: str
    site: str
    interval: Interval
    share: float
    energy: Energy
    cost: Money
    carbon: Carbon


@dataclass(frozen=True, slots=True)
class Certificate:
    """A lower bound on the objective that holds for every feasible plan, or for those `within`, and the gap to it.

    Attributes:
        objective: of the plan, in `currency`: cost + carbon x price of carbon.
        lower_bound: in the same unit; recomputed from the dual without trusting the solver.
        gap: (objective - lower_bound) / objective; 0 for an empty plan.
        method: how the bound was computed.
        within: the plans it holds for, as words that follow "no plan"; empty is all of them.
    """

    objective: float
    lower_bound: float
    gap: float
    currency: str
    method: str
    within: str = ""


@dataclass(frozen=True, slots=True)
class Plan:
    """What to run where and when, against doing nothing clever.

    Attributes:
        baseline: "start now, here": all of it at the home site.
        carbon_price_per_tonne: in the currency of the certificate.
        notes: what the plan does not consider, in sentences.
    """

    assignments: tuple[Assignment, ...]
    energy: Energy
    cost: Money
    carbon: Carbon
    home: str
    baseline_cost: Money
    baseline_carbon: Carbon
    carbon_price_per_tonne: float
    certificate: Certificate
    notes: tuple[str, ...] = ()
