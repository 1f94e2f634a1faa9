"""How far the load may grow before the connection no longer carries it, and on which day that is."""

from __future__ import annotations

import math
from datetime import date, timedelta

import numpy as np

from outweigh.core.errors import InvalidQuantity, PlanInfeasible
from outweigh.whatif.supply.question import Site

_DAYS_PER_YEAR = 365.2425
_LATEST = date(9999, 12, 31)
_TINY_KW = 1e-6


def headroom(site: Site) -> float:
    """The factor by which all of the load may be multiplied and still be served under the cap, each step of it.

    Infinite without a cap. With a battery the most is found by a linear programme, in which it does nothing else:
    a battery that shaves a peak earns nothing meanwhile.

    Raises:
        PlanInfeasible: the solver found none.
    """
    drawn = site.load_kw > _TINY_KW
    if math.isinf(site.cap_kw) or not drawn.any():
        return math.inf
    alone = float(((site.cap_kw + site.own_kw[drawn]) / site.load_kw[drawn]).min())
    if site.battery is None or site.battery.power_kw == 0 or site.battery.energy_kwh == 0:
        return alone
    from scipy import sparse
    from scipy.optimize import linprog

    n, h, battery = site.load_kw.size, site.step_h, site.battery
    eye, none = sparse.identity(n, format="csr"), sparse.csr_matrix((n, n))
    before = sparse.csr_matrix(sparse.eye(n, k=-1))
    factor, blank = sparse.csr_matrix(site.load_kw[:, None]), sparse.csr_matrix((n, 1))
    # factor x load + charging - discharging is at most cap + own; states of charge follow from one another.
    served = sparse.hstack([factor, eye, -eye, none])
    follows = sparse.hstack([blank, -battery.one_way * h * eye, h / battery.one_way * eye, eye - before])
    start = battery.start_share * battery.energy_kwh
    right = np.zeros(n)
    right[0] = start
    upper = np.concatenate([[np.inf], np.full(2 * n, battery.power_kw), np.full(n, battery.energy_kwh)])
    lower = np.zeros_like(upper)
    lower[-1] = upper[-1] = start
    # The stubs know no sparse constraints, which scipy takes; the ignore can go once they do.
    found = linprog(  # type: ignore[call-overload]
        np.concatenate([[-1.0], np.zeros(3 * n)]),
        A_ub=served.tocsc(),
        b_ub=site.cap_kw + site.own_kw,
        A_eq=follows.tocsc(),
        b_eq=right,
        bounds=np.column_stack([lower, upper]),
        method="highs",
    )
    if found.x is None:
        raise PlanInfeasible("the load has no headroom", str(found.message), "Check the cap and the profiles")
    return max(alone, float(found.x[0]))


def reaches_cap(factor: float, growth: float, on: date) -> date | None:
    """The day on which a load that grows by a share a year has used up its headroom.

    Args:
        factor: of `headroom`; 1 or less is used up already.
        growth: 0.2 is a fifth more each year, compounded.
        on: the day the load is of.

    Returns:
        None where it never does: no cap, no growth, or a day after the year 9999. `on` where it is there.

    Raises:
        InvalidQuantity: a growth of -100 % or less.

    >>> reaches_cap(2.0, 0.25, date(2027, 1, 1)).isoformat()
    '2030-02-08'
    """
    if not -1 < growth < math.inf:
        raise InvalidQuantity("growth", f"{growth:g}", "it is above -100 % a year")
    if factor <= 1:
        return on
    if math.isinf(factor) or growth <= 0:
        return None
    years = math.log(factor) / math.log1p(growth)
    if years > (_LATEST - on).days / _DAYS_PER_YEAR:
        return None
    return on + timedelta(days=years * _DAYS_PER_YEAR)
