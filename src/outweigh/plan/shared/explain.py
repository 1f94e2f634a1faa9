"""Why jobs do not fit: which, where, when, and how much is missing."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import numpy as np

from outweigh.core.errors import PlanInfeasible, PlanNotFound
from outweigh.plan.problem import Floats, Jobs, Places
from outweigh.plan.shared.ascent import climb
from outweigh.plan.shared.capacity import CapacityPrices
from outweigh.plan.shared.classes import Shapes, lowest_kw
from outweigh.plan.shared.finding import Priced
from outweigh.plan.shared.master import generate
from outweigh.plan.shared.packing import Packing
from outweigh.plan.shared.pricing import Field, LocalPricer
from outweigh.plan.shared.smooth import Smooth

# Below this many, column generation says to the last digit how much is missing.
_FEW_SHAPES = 120
_REMEDY = "Raise the capacity there, move a deadline, or let a job run elsewhere"


def shortage(shapes: Shapes, field: Field, jobs: Jobs, places: Places, unit: str) -> PlanInfeasible | None:
    """The error that says what is missing, or None where the jobs fit, at least in parts.

    Energy costs nothing and a unit of capacity at most 1: the dual of that is the least capacity to add, and the sites
    and steps where it is worth most are the bottleneck. Whatever the prices, so much is missing (weak duality).
    """
    ones = np.ones_like(field.rate)
    empty = np.empty(0)
    bare = Field(0.0 * ones, field.step_h, field.limit, field.pue, empty, np.empty((0, 0)))
    free_jobs = replace(shapes.jobs, entry_cost=np.zeros_like(shapes.jobs.entry_cost))
    free_shapes = replace(shapes, jobs=free_jobs)
    pricer = LocalPricer(free_shapes, bare)
    smooth = Smooth(free_shapes, bare)
    top = climb(
        smooth, pricer, bare, CapacityPrices.none((ones.shape[0], ones.shape[1])), weight=shapes.weight_kw, goal=0.0,
        most=1.0, unit=1.0,
    )  # fmt: skip
    missing, prices, best = top.bound, top.prices, top.priced.best
    if missing > 0 and len(shapes) <= _FEW_SHAPES:
        seeds, _ = smooth.spread(prices, top.temperature)
        # Here a unit beyond the limit costs 1 a step, not 1 an hour.
        by_step = CapacityPrices(prices.limit / field.step_h)
        found = generate(free_shapes, bare, pricer, seeds, by_step, goal=1e-9)
        if found.bound * field.step_h > missing:
            prices = CapacityPrices(found.prices.limit * field.step_h)
            missing, best = found.bound * field.step_h, pricer.price(prices).best
    load = float(np.sum(shapes.weight_kw * shapes.units_per_kw * shapes.jobs.work)) * field.step_h
    if missing <= 1e-6 * load:
        return None
    worth = np.where(np.isfinite(field.limit), prices.limit, 0.0)
    stuck = np.flatnonzero((best > 0.5 * field.step_h * shapes.units_per_kw)[shapes.member])
    stuck = stuck[np.argsort(-(shapes.kw * best[shapes.member])[stuck], kind="stable")]
    return PlanInfeasible(
        f"{_named(jobs, stuck)} together need more than there is {_where(worth, places)}",
        f"at least {missing:.4g} {'kWh' if unit == 'kW' else 'device-hours'}",
        _REMEDY,
    )


def too_large(empty: Packing, jobs: Jobs, unit: str) -> PlanInfeasible | None:
    """The error for a job that no site could take even if it were alone, or None: no site gives what it draws at its
    lowest level for as long as it runs."""
    field, shapes = empty.field, empty.shapes
    lowest = lowest_kw(shapes.jobs)[shapes.member] * empty.units
    # Only rows larger than some limit can be.
    for row in np.flatnonzero(lowest > field.limit.min(initial=np.inf)).tolist():
        # Where it may take what is full, only a site that never gives that much stands in its way.
        if empty.find(row, Priced(np.zeros_like(field.rate)), shut=1.0) is None:
            first, last = int(np.floor(jobs.release[row])), int(np.ceil(jobs.deadline[row]))
            most = float(field.limit[jobs.allowed[row], first:last].max(initial=0.0))
            short = float(lowest[row]) - most
            long = "that much in its window" if short > 0 else "that much for long enough in its window"
            return PlanInfeasible(
                f"job {jobs.names[row]!r} draws {lowest[row]:.4g} {unit} and no site has {long}",
                f"{short:.4g} {unit}" if short > 0 else "the time in which there is less",
                "Raise the capacity of a site where it may run, or split the job",
            )
    return None


def indivisible(jobs: Jobs, shapes: Shapes, places: Places, left: list[int], missing: Floats) -> PlanNotFound:
    """The error for jobs that would fit in parts but found no room whole; whether they could is not known."""
    rows = np.array(sorted(set(left)), dtype=np.int64)
    rows = rows[np.argsort(-shapes.kw[rows], kind="stable")]
    kwh = float(sum(shapes.kw[row] * jobs.work[row] for row in left)) * places.step_h
    return PlanNotFound(
        f"no room was found for {_named(jobs, rows)} as a whole, though their parts would fit; what is full is "
        f"{_where(missing, places)}",
        f"{kwh:.4g} kWh of {len(left)} jobs",
        "Raise the capacity a little, move a deadline, or split the largest jobs",
    )


def _named(jobs: Jobs, rows: object, most: int = 5) -> str:
    names = [jobs.names[row] for row in np.asarray(rows)[:most].tolist()]
    more = len(np.asarray(rows)) - len(names)
    listed = ", ".join(names) or "the jobs"
    return f"{listed} and {more} more" if more > 0 else listed


def _where(worth: Floats, places: Places, most: int = 3) -> str:
    """The sites and hours where capacity is worth most, as stretches of time."""
    tight = worth > 0.5 * float(worth.max(initial=0.0))
    parts = []
    weight = np.where(tight, worth, 0.0).sum(axis=1)
    near = np.round(weight / max(float(weight.max()), 1e-300), 6)
    sites = [site for site in np.argsort(-near, kind="stable").tolist() if weight[site] > 0]
    for site in sites[:most]:
        steps = np.flatnonzero(tight[site])
        edges = np.flatnonzero(np.append(True, np.diff(steps) > 1))
        stretches = [
            f"{_stamp(places, int(steps[a]))} to {_stamp(places, int(steps[b - 1]) + 1)}"
            for a, b in zip(edges.tolist(), [*edges[1:].tolist(), len(steps)], strict=True)
        ]
        more = f" and {len(stretches) - most} more times" if len(stretches) > most else ""
        parts.append(f"at {places.names[site]} from {', '.join(stretches[:most])}{more}")
    if len(sites) > most:
        parts.append(f"and at {len(sites) - most} more sites")
    return "; ".join(parts) or "anywhere"


def _stamp(places: Places, step: int) -> str:
    return f"{places.start + timedelta(seconds=step * places.step_s):%Y-%m-%dT%H:%MZ}"
