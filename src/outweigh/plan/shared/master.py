"""The master programme: which of the known runs to use, and what capacity is worth by that. Solved by HiGHS.

Over columns p of shapes k, in kW: minimise ``sum cost_p x_p`` so that the columns of a shape sum to its weight, what
they hold in a site and step fits, and the demand charge pays for the highest step of a site. What does not fit is
bought at a price far above everything, so that there always is an answer.

This closes the last per mille of the bound where that is wanted; prices near the best come from `ascent`, which is much
faster. Far from them, column generation alone took 30 s where the ascent took 3 (1,000 jobs, 10 sites, 168 h).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from outweigh.core.errors import PlanInfeasible
from outweigh.plan.problem import Floats
from outweigh.plan.shared.capacity import CapacityPrices
from outweigh.plan.shared.classes import Shapes
from outweigh.plan.shared.columns import Columns, Seen
from outweigh.plan.shared.pricing import Field, Pricer

_TOLERANCE = 1e-10  # the tightest that HiGHS takes


@dataclass(frozen=True, slots=True, eq=False)
class MasterAnswer:
    """What the master says: least cost [currency], power on each column [kW], prices, and units beyond the limits."""

    value: float
    kw: Floats
    prices: CapacityPrices
    overload: float


@dataclass(frozen=True, slots=True, eq=False)
class Generated:
    """The end of column generation: the best bound [currency], its prices, and the columns with their power [kW]."""

    bound: float
    prices: CapacityPrices
    value: float
    columns: Columns
    kw: Floats


def generate(
    shapes: Shapes,
    field: Field,
    pricer: Pricer,
    columns: Columns,
    start: CapacityPrices,
    *,
    goal: float,
    turns: int = 200,
    stop: Callable[[], bool] = lambda: False,
) -> Generated:
    """Column generation (Dantzig and Wolfe, Operations Research 8(1), 1960) from known columns and prices.

    Prices are taken half-way between the master's and the best so far, which keeps them from swinging (Wentges,
    International Transactions in Operational Research 4(2), 1997); where that finds nothing new, the master's own.

    Args:
        goal: stop once the bound is within this share of the master's value.
    """
    seen = Seen(*field.limit.shape)
    known = columns.take(seen.fresh(columns))
    priced = pricer.price(start)
    bound, best = float(shapes.weight_kw @ priced.best) - field.worth(start), start
    known = Columns.joined([known, priced.columns.take(seen.fresh(priced.columns))])
    answer = solve(shapes, field, known)
    for _ in range(turns):
        if answer.value - bound <= goal * abs(answer.value) or stop():
            break
        added = False
        for share in (0.5, 1.0):
            at = _between(best, answer.prices, share)
            priced = pricer.price(at)
            value = float(shapes.weight_kw @ priced.best) - field.worth(at)
            if value > bound:
                bound, best = value, at
            fresh = seen.fresh(priced.columns)
            if fresh.any():
                known = Columns.joined([known, priced.columns.take(fresh)])
                added = True
                break
        if not added:
            break
        answer = solve(shapes, field, known)
    return Generated(bound, best, answer.value, known, answer.kw)


def _between(a: CapacityPrices, b: CapacityPrices, share: float) -> CapacityPrices:
    return CapacityPrices(a.limit + share * (b.limit - a.limit), a.demand + share * (b.demand - a.demand))


def solve(shapes: Shapes, field: Field, columns: Columns) -> MasterAnswer:
    """The best mix of these columns.

    Raises:
        PlanInfeasible: HiGHS gives no answer.
    """
    from scipy.optimize import linprog
    from scipy.sparse import coo_array

    sites, steps = field.limit.shape
    bounded = np.flatnonzero(np.isfinite(field.limit).ravel())
    row_of = np.full(field.limit.size, -1, dtype=np.int64)
    row_of[bounded] = np.arange(len(bounded))
    # Numbers HiGHS sees are near 1, as its tolerances are absolute: kW in shares of a shape, money in what a kW costs.
    unit_kw = float(shapes.weight_kw.max())
    money = float(np.mean(np.abs(columns.cost))) or 1.0
    dear = 100.0 * float(np.abs(columns.cost).max()) / money + 1.0

    of, cell = columns.of_entry, columns.cells(steps)
    kw = columns.energy / field.step_h
    inside = row_of[cell] >= 0
    rows, cols = [row_of[cell][inside]], [of[inside]]
    values = [(kw * shapes.units_per_kw[columns.shape[of]])[inside]]
    count, extra = len(columns), len(columns) + len(bounded)
    rows.append(np.arange(len(bounded)))
    cols.append(count + np.arange(len(bounded)))
    values.append(np.full(len(bounded), -1.0))
    upper = [field.limit.ravel()[bounded] / unit_kw]
    cost = [columns.cost / money, np.full(len(bounded), dear)]
    if field.charged:
        rows += [len(bounded) + cell, len(bounded) + np.arange(sites * steps)]
        cols += [of, extra + np.repeat(np.arange(sites), steps)]
        values += [kw * field.pue.ravel()[cell], np.full(sites * steps, -1.0)]
        upper.append(field.spare_kw.ravel() / unit_kw)
        cost.append(field.demand_rate / money)
    price = np.concatenate(cost)
    high = np.concatenate(upper)
    at_most = coo_array(
        (np.concatenate(values), (np.concatenate(rows), np.concatenate(cols))), shape=(len(high), len(price))
    )
    whole = coo_array((np.ones(count), (columns.shape, np.arange(count))), shape=(len(shapes), len(price)))
    # The stubs of scipy know no sparse arrays here.
    solver: Any = linprog
    found = solver(
        price, A_ub=at_most.tocsr() if len(high) else None, b_ub=high if len(high) else None,
        A_eq=whole.tocsr(), b_eq=shapes.weight_kw / unit_kw, bounds=(0, None), method="highs-ds",
        options={"primal_feasibility_tolerance": _TOLERANCE, "dual_feasibility_tolerance": _TOLERANCE},
    )  # fmt: skip
    if found.x is None:
        raise PlanInfeasible(f"HiGHS did not solve the master programme ({found.message})", "unknown", "Report this")
    limit = np.zeros(field.limit.size)
    dual = np.maximum(-np.asarray(found.ineqlin.marginals), 0.0) if len(high) else np.empty(0)
    limit[bounded] = dual[: len(bounded)] * money / field.step_h
    demand = np.zeros((0, 0))
    if field.charged:
        demand = dual[len(bounded) :].reshape(sites, steps) * money
        total = demand.sum(axis=1)
        demand *= np.where(total > field.demand_rate, field.demand_rate / np.maximum(total, 1e-300), 1.0)[:, np.newaxis]
    x = np.maximum(np.asarray(found.x), 0.0) * unit_kw
    return MasterAnswer(
        float(found.fun) * money * unit_kw,
        x[:count],
        CapacityPrices(limit.reshape(sites, steps), demand),
        float(x[count:extra].sum()),
    )
