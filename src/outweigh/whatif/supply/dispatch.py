"""Who supplies each step, at least cost over all of them: a linear programme, with a bound that needs no solver.

Every step has a balance (grid + own plants + battery = load + charging + feeding in), every state of charge follows
from the one before. The programme is solved by HiGHS (through scipy). Its optimum is known to be within `gap`: for
any prices put on the balances, weak duality gives a lower bound on the cost of every dispatch, and the bound is worked
out here from those prices in plain arrays (Bertsimas and Tsitsiklis, Introduction to Linear Optimization, 1997,
section 4.3).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from outweigh.core.constants import G_PER_TONNE
from outweigh.core.errors import PlanInfeasible
from outweigh.whatif.supply.question import Site

Floats = NDArray[np.float64]
_TINY_KW = 1e-6
_SHORT_FACTOR = 1e3  # short load is dearer than any other way out, so it is the last one
_PARTS = ("grid", "fed_in", "unused", "charging", "discharging", "state", "short")


@dataclass(frozen=True, slots=True, eq=False)
class Dispatch:
    """What each step draws on [kW], shape (n,); `state_kwh` is the state of charge at the end of each step.

    Attributes:
        unused_kw: own output that is neither used, stored nor fed in.
        short_kw: load that nothing serves: the cap is a hard limit.
        objective, bound: cost of this dispatch with carbon at its price [currency], and a lower bound on that of any.
    """

    grid_kw: Floats
    fed_in_kw: Floats
    unused_kw: Floats
    charging_kw: Floats
    discharging_kw: Floats
    state_kwh: Floats
    short_kw: Floats
    objective: float
    bound: float

    @property
    def gap(self) -> float:
        """How far above the bound it can be, as a share of the cost."""
        return (self.objective - self.bound) / max(abs(self.objective), 1.0)

    @property
    def fits(self) -> bool:
        return bool(self.short_kw.max() <= _TINY_KW)


def dispatch(site: Site) -> Dispatch:
    """The cheapest dispatch, with perfect foresight of load, output and prices.

    Raises:
        PlanInfeasible: the solver found no dispatch.
    """
    from scipy import sparse
    from scipy.optimize import linprog

    n, h = site.load_kw.size, site.step_h
    cost, upper = _terms(site)
    eye, none = sparse.identity(n, format="csr"), sparse.csr_matrix((n, n))
    balance = sparse.hstack([eye, -eye, -eye, -eye, eye, none, eye])
    one_way = site.battery.one_way if site.battery is not None else 1.0
    before = sparse.csr_matrix(sparse.eye(n, k=-1))
    follows = sparse.hstack([none, none, none, -one_way * h * eye, h / one_way * eye, eye - before, none])
    first, right = _ends(site)
    matrix = sparse.vstack([balance, follows]).tocsc()
    low = np.zeros_like(upper)
    # The last state of charge is the first one again: what the battery gives is not taken from its first day.
    low[6 * n - 1] = upper[6 * n - 1] = first
    limits = np.column_stack([low, upper])
    # The stubs know no sparse constraints, which scipy takes; the ignore can go once they do.
    found = linprog(cost, A_eq=matrix, b_eq=right, bounds=limits, method="highs")  # type: ignore[call-overload]
    if found.x is None:
        raise PlanInfeasible("the supply of the site has no dispatch", str(found.message), "Check caps and profiles")
    reduced = cost - matrix.T @ found.eqlin.marginals
    bound = float(right @ found.eqlin.marginals + np.where(reduced > 0, low * reduced, upper * reduced).sum())
    return _without_burning(site, np.clip(found.x, low, upper), cost, bound)


def _terms(site: Site) -> tuple[Floats, Floats]:
    """Cost per kW of each variable [currency] and its upper limit, in the order of `_PARTS`."""
    n, h, own = site.load_kw.size, site.step_h, site.own_kw
    per_kwh = site.grid.price_per_kwh + site.per_tonne * site.grid.g_per_kwh / G_PER_TONNE
    power = 0.0 if site.battery is None else site.battery.power_kw
    energy = 0.0 if site.battery is None else site.battery.energy_kwh
    wear = 0.0 if site.battery is None else site.battery.wear_per_kwh
    zero, one = np.zeros(n), np.ones(n)
    worst = _SHORT_FACTOR * (1.0 + float(np.abs(per_kwh).max()))
    export = 0.0 if site.export_per_kwh is None else site.export_per_kwh
    cost = np.concatenate([per_kwh * h, -export * h * one, zero, zero, wear * h * one, zero, worst * h * one])
    most = np.concatenate(
        [
            np.minimum(site.load_kw + power + own, site.cap_kw),
            zero if site.export_per_kwh is None else own,
            own,
            power * one,
            power * one,
            energy * one,
            site.load_kw,
        ]
    )
    return cost, most


def _ends(site: Site) -> tuple[float, Floats]:
    first = 0.0 if site.battery is None else site.battery.start_share * site.battery.energy_kwh
    right = np.concatenate([site.load_kw - site.own_kw, np.zeros(site.load_kw.size)])
    right[site.load_kw.size] = first
    return first, right


def _without_burning(site: Site, x: Floats, cost: Floats, bound: float) -> Dispatch:
    """The same states of charge without charging and discharging at once, which no battery does.

    A programme is free to burn a surplus in the battery's losses. What is not burned stays unused, or is not bought.
    """
    n, h = site.load_kw.size, site.step_h
    grid, fed_in, unused, charging, discharging, state, short = (x[i * n : (i + 1) * n].copy() for i in range(7))
    if site.battery is not None and (both := np.minimum(charging, discharging) > _TINY_KW).any():
        one_way = site.battery.one_way
        start = site.battery.start_share * site.battery.energy_kwh
        rise = np.diff(state, prepend=start) / h
        alone_in, alone_out = np.maximum(rise, 0) / one_way, np.maximum(-rise, 0) * one_way
        more = np.where(both, (alone_out - alone_in) - (discharging - charging), 0.0)
        spare = np.minimum(more, site.own_kw - unused)
        fixed = both & (more - spare <= grid + _TINY_KW)
        charging, discharging = np.where(fixed, alone_in, charging), np.where(fixed, alone_out, discharging)
        unused = np.where(fixed, unused + spare, unused)
        grid = np.where(fixed, np.maximum(grid - (more - spare), 0.0), grid)
    made = np.concatenate([grid, fed_in, unused, charging, discharging, state, short])
    return Dispatch(grid, fed_in, unused, charging, discharging, state, short, float(cost @ made), bound)


def broken_laws(site: Site, found: Dispatch, tolerance_kw: float = 1e-5) -> tuple[str, ...]:
    """What of energy conservation and limits a dispatch breaks, worked out again from the figures alone; () is none."""
    h = site.step_h
    scale = max(1.0, float(site.load_kw.max()), float(site.own_kw.max()))
    tolerance = tolerance_kw * scale
    wrong = []
    into = found.grid_kw + site.own_kw + found.discharging_kw + found.short_kw
    out = site.load_kw + found.charging_kw + found.fed_in_kw + found.unused_kw
    if float(np.abs(into - out).max()) > tolerance:
        wrong.append(f"a step does not balance by {float(np.abs(into - out).max()):g} kW")
    if float(found.grid_kw.max()) > site.cap_kw + tolerance:
        wrong.append(f"the grid gives {float(found.grid_kw.max()):g} kW, above the cap")
    parts = (found.grid_kw, found.fed_in_kw, found.unused_kw, found.charging_kw, found.discharging_kw, found.short_kw)
    if min(float(part.min()) for part in parts) < -tolerance:
        wrong.append("a flow is negative")
    if site.battery is None:
        return (*wrong, *(["a battery that is not there is used"] if found.charging_kw.max() > tolerance else ()))
    battery = site.battery
    start = battery.start_share * battery.energy_kwh
    change = (found.charging_kw * battery.one_way - found.discharging_kw / battery.one_way) * h
    drift = np.abs(start + np.cumsum(change) - found.state_kwh).max()
    if float(drift) > tolerance * max(1.0, math.sqrt(site.load_kw.size)):
        wrong.append(f"a state of charge is off by {float(drift):g} kWh")
    if found.state_kwh.min() < -tolerance or found.state_kwh.max() > battery.energy_kwh + tolerance:
        wrong.append("a state of charge is out of its limits")
    if max(float(found.charging_kw.max()), float(found.discharging_kw.max())) > battery.power_kw + tolerance:
        wrong.append("the battery passes its power")
    return tuple(wrong)
