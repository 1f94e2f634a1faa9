"""The linear programme under a plan: shares of jobs over sites and steps, and a bound nobody has to believe.

Arrays are (J, S, T): jobs, sites, time steps. A share x[j, s, t] >= 0 is the part of job j that runs at site s in
step t; the shares of a job sum to 1. Minimise sum(cost * x) subject to sum_j(power_w * x) <= capacity_w.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from outweigh.core.errors import PlanInfeasible

Floats = NDArray[np.float64]

# HiGHS' own defaults (1e-7, absolute) are loose beside what we print; 1e-10 is the tightest it takes.
_TOLERANCE = 1e-10
_INFEASIBLE = 2  # status of scipy.optimize.linprog


@dataclass(frozen=True, slots=True, eq=False)
class Program:
    """What the shares cost and what they draw.

    Attributes:
        cost: of running all of job j at site s in step t [currency], shape (J, S, T).
        power_w: mean facility power that would draw there [W], >= 0, shape (J, S, T).
        capacity_w: what the site can give in the step [W], >= 0, shape (S, T).
    """

    cost: Floats
    power_w: Floats
    capacity_w: Floats


@dataclass(frozen=True, slots=True, eq=False)
class Solution:
    """Shares, shape (J, S, T), and the multipliers of the capacity rows [currency/W], >= 0, shape (S, T)."""

    shares: Floats
    multipliers: Floats


def solve(program: Program) -> Solution:
    """The cheapest shares, by HiGHS.

    Raises:
        PlanInfeasible: the capacities cannot carry the jobs; says the least power to add.
    """
    jobs, sites, steps = program.cost.shape
    # HiGHS' tolerances are absolute, so the numbers it sees are made to be about 1, whether the month costs
    # a cent or a million. A capacity far beyond what all jobs could draw only spoils the scale: cut it there.
    unit_cost = float(np.max(np.abs(program.cost))) or 1.0
    unit_w = float(np.max(program.power_w)) or 1.0
    enough_w = 2 * jobs * unit_w
    rows = _capacity_rows(program.power_w / unit_w)
    capacity = np.minimum(program.capacity_w, enough_w).ravel() / unit_w

    result = _linprog((program.cost / unit_cost).ravel(), rows, capacity, program.cost.shape)
    if result.x is None or result.marginals is None:
        short_w = _shortfall(rows, capacity, program.cost.shape) * unit_w
        problem = "the sites together cannot carry the load" if result.status == _INFEASIBLE else result.message
        raise PlanInfeasible(
            problem, f"{short_w / 1e3:.3g} kW", "Raise the capacity of a site, add a site, or serve less"
        )

    shares = np.clip(result.x.reshape(program.cost.shape), 0.0, 1.0)
    shares[shares < 10 * _TOLERANCE] = 0.0
    shares /= shares.sum(axis=(1, 2), keepdims=True)
    # scipy reports the change of the minimum per unit of right-hand side: <= 0 for a capacity that binds.
    multipliers = np.maximum(-result.marginals, 0.0) * unit_cost / unit_w
    return Solution(shares, multipliers.reshape(sites, steps))


def lower_bound(program: Program, multipliers: Floats) -> float:
    """A bound that no feasible plan can beat, whatever the multipliers and wherever they came from.

    Lagrangian dual: for l >= 0, with c the cost, p the power and C the capacity,
    ``g(l) = sum_j min_(s,t) (c + l p) - sum_(s,t) l C`` is at most the optimum (weak duality; Boyd and
    Vandenberghe, Convex Optimization, 2004, section 5.1.3). Bad multipliers make it loose, never wrong. It is
    evaluated in exact rational arithmetic and rounded down, so no rounding can lift it above the optimum.

    Two sites, costs 1 and 6, each able to carry half of a 10 W job; the optimum is 0.5 + 3 = 3.5:

    >>> program = Program(np.array([[[1.0], [6.0]]]), np.full((1, 2, 1), 10.0), np.full((2, 1), 5.0))
    >>> lower_bound(program, np.zeros((2, 1))), lower_bound(program, np.array([[0.25], [0.0]]))
    (1.0, 2.25)
    >>> round(lower_bound(program, solve(program).multipliers), 12)
    3.5
    """
    price = [[Fraction(max(value, 0.0)) for value in row] for row in multipliers.tolist()]
    total = Fraction(0)
    for costs, powers in zip(program.cost.tolist(), program.power_w.tolist(), strict=True):
        total += min(
            Fraction(cost) + multiplier * Fraction(power)
            for row in zip(costs, powers, price, strict=True)
            for cost, power, multiplier in zip(*row, strict=True)
        )
    for capacities, row_price in zip(program.capacity_w.tolist(), price, strict=True):
        total -= sum(multiplier * Fraction(cap) for multiplier, cap in zip(row_price, capacities, strict=True))
    bound = float(total)
    return bound if Fraction(bound) <= total else math.nextafter(bound, -math.inf)


def _capacity_rows(power: Floats) -> Floats:
    """Shape (S * T, J * S * T): row (s, t) holds what each share draws there."""
    jobs, sites, steps = power.shape
    rows = np.zeros((sites * steps, jobs, sites * steps))
    cells = np.arange(sites * steps)
    rows[cells, :, cells] = power.reshape(jobs, -1).T
    return rows.reshape(sites * steps, -1)


class _Result(NamedTuple):
    """What we use of scipy's answer; `x` and `marginals` are None when there is no optimum."""

    status: int
    message: str
    value: float | None
    x: Floats | None
    marginals: Floats | None


def _linprog(cost: Floats, rows: Floats, capacity: Floats, shape: tuple[int, ...]) -> _Result:
    # A third of a second to import, and only a plan needs it.
    from scipy.optimize import linprog

    jobs, cells = shape[0], shape[1] * shape[2]
    whole = np.zeros((jobs, cost.size))  # columns beyond the shares (the shortfall's) are in no job
    for job in range(jobs):
        whole[job, job * cells : (job + 1) * cells] = 1.0
    found = linprog(
        cost,
        A_ub=rows,
        b_ub=capacity,
        A_eq=whole,
        b_eq=np.ones(jobs),
        bounds=(0, None),
        method="highs",
        options={"primal_feasibility_tolerance": _TOLERANCE, "dual_feasibility_tolerance": _TOLERANCE},
    )
    if found.status != 0 or found.fun is None:
        return _Result(int(found.status), str(found.message), None, None, None)
    return _Result(0, "", float(found.fun), np.asarray(found.x), np.asarray(found.ineqlin.marginals))


def _shortfall(rows: Floats, capacity: Floats, shape: tuple[int, ...]) -> float:
    """The least capacity to add, over all sites and steps, that makes the programme feasible."""
    cells, shares = rows.shape
    cost = np.concatenate([np.zeros(shares), np.ones(cells)])
    result = _linprog(cost, np.hstack([rows, -np.eye(cells)]), capacity, shape)
    return result.value or 0.0
