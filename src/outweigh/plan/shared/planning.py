"""Plan jobs that share capacity: prices of capacity, whole jobs, a certificate."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Final

import numpy as np

from outweigh.core.errors import InvalidQuantity, PlanInfeasible
from outweigh.core.plan import Certificate
from outweigh.plan.offers import starting_now
from outweigh.plan.problem import G_PER_TONNE, Floats, Job, Jobs, Places
from outweigh.plan.shared.capacity import Capacity, CapacityPrices, Committed
from outweigh.plan.shared.classes import Shapes
from outweigh.plan.shared.columns import Columns, Seen
from outweigh.plan.shared.master import Master
from outweigh.plan.shared.packing import Packing
from outweigh.plan.shared.pricing import Field, LocalPricer
from outweigh.plan.shared.rounding import repair, rounded
from outweigh.plan.shared.schedule import Outcome, Runs, Schedule

METHOD: Final = "Lagrangian dual of the capacity rows at the prices stored with the plan"


def plan_jobs(
    jobs: Sequence[Job],
    places: Places,
    capacity: Capacity,
    *,
    carbon_price_per_tonne: float,
    goal_gap: float = 0.005,
    time_limit_s: float | None = None,
    warm: CapacityPrices | None = None,
    frozen: Committed | None = None,
    progress: Callable[[float], None] | None = None,
    currency: str = "",
    work_quantile: float = 0.5,
) -> Schedule:
    """Where and when every job runs, so that what they share is enough and cost + carbon x price of carbon is least.

    Args:
        goal_gap: stop improving once the plan is proven within this share of the best.
        time_limit_s: stop improving then, with the plan and the bound there are; None is until it no longer pays.
        warm: prices of an earlier plan of the same shape, to begin with.
        frozen: what is committed already: its capacity is gone.
        progress: called with the gap between bound and fractional plan.
        currency: of the prices; for the certificate.

    Raises:
        PlanInfeasible: the jobs do not fit, with which, where and how much is missing.
        GapsTooLarge: a gap of the forecast in a window. InvalidQuantity: see `Capacity`, `Places`, `Jobs`.
    """
    began = time.monotonic()
    rows = places.jobs(jobs, work_quantile=work_quantile)
    field = _field(places, capacity, carbon_price_per_tonne, frozen)
    shapes = Shapes.of(rows, capacity.unit)
    columns, kw, prices, bound = _generate(shapes, field, warm, goal_gap, time_limit_s, began, progress)

    packing = Packing(shapes, field)
    packing.fill(columns, *rounded(shapes, rows.count, columns, kw))
    left = repair(packing, field.rate)
    packing.settle()
    if left:
        names = ", ".join(dict.fromkeys(rows.names[row] for row in left[:5]))
        missing = float(sum(rows.work[row] * places.step_h * shapes.kw[row] for row in left))
        raise PlanInfeasible(
            f"{len(left)} whole jobs found no room, though parts of them would: {names}",
            f"{missing:.3g} kWh",
            "Raise the capacity, move a deadline, or split the jobs",
        )
    used = _runs(packing, rows)
    outcome = evaluate("this plan", used, rows, places, capacity, carbon_price_per_tonne, frozen)
    alone = _alone(rows, places, carbon_price_per_tonne)
    bound = min(bound, outcome.objective)
    scale = abs(outcome.objective) or abs(bound) or 1.0
    return Schedule(
        names=rows.names,
        sites=places.names,
        runs=used,
        outcome=outcome,
        baseline=alone,
        best_constant=alone,
        alone=alone,
        it_energy_kwh=float(used.it_kwh(len(places.names), places.steps).sum()),
        carbon_price_per_tonne=carbon_price_per_tonne,
        certificate=Certificate(outcome.objective, bound, (outcome.objective - bound) / scale, currency, METHOD),
        prices=prices,
        notes=(),
    )


def _field(places: Places, capacity: Capacity, carbon_price: float, frozen: Committed | None) -> Field:
    limit = capacity.by_step(places)
    pue = places.pue if places.pue.ndim == 2 else places.pue[:, np.newaxis]
    pue = np.array(np.broadcast_to(pue, limit.shape))
    committed_kw = np.zeros(limit.shape)
    if frozen is not None:
        if frozen.use.shape != limit.shape:
            raise InvalidQuantity("committed use", str(frozen.use.shape), f"the plan has (sites, steps) {limit.shape}")
        limit = np.maximum(limit - frozen.use, 0.0)
        committed_kw = frozen.it_kw if frozen.it_kw.size else frozen.use
    spare = np.empty((0, 0))
    if capacity.charged:
        peak = capacity.peak_kw if capacity.peak_kw.size else np.zeros(len(limit))
        spare = peak[:, np.newaxis] - pue * committed_kw
    return Field(
        places.rate(carbon_price),
        places.step_h,
        limit,
        pue,
        capacity.demand_rate if capacity.charged else np.empty(0),
        spare,
    )


def _generate(
    shapes: Shapes,
    field: Field,
    warm: CapacityPrices | None,
    goal: float,
    limit_s: float | None,
    began: float,
    progress: Callable[[float], None] | None,
) -> tuple[Columns, Floats, CapacityPrices, float]:
    pricer = LocalPricer(shapes, field)
    at = warm or CapacityPrices.none((field.limit.shape[0], field.limit.shape[1]), charged=field.charged)
    reach = float(np.nanmax(np.abs(field.rate), initial=1e-6))
    master = Master(shapes, field, overload_price=20 * reach * field.step_h)
    seen = Seen(*field.limit.shape)
    bound, best = -np.inf, at
    priced = pricer.price(at)
    master.add(priced.columns.take(seen.fresh(priced.columns)))
    while True:
        value = float(shapes.weight_kw @ priced.best) - field.worth(at)
        if value > bound:
            bound, best = value, at
        answer = master.solve()
        gap = (answer.value - bound) / max(abs(answer.value), 1e-300)
        if progress is not None:
            progress(gap)
        if gap < goal / 5 or (limit_s is not None and time.monotonic() - began > limit_s):
            break
        at = answer.prices
        priced = pricer.price(at)
        fresh = seen.fresh(priced.columns)
        if not fresh.any():
            value = float(shapes.weight_kw @ priced.best) - field.worth(at)
            bound, best = max(bound, value), (at if value > bound else best)
            break
        master.add(priced.columns.take(fresh))
    if answer.overload.sum() > 1e-6 * shapes.weight_kw.sum():
        raise PlanInfeasible(
            "the capacity cannot carry the jobs",
            f"{answer.overload.sum() * field.step_h:.3g} kWh",
            "Raise the capacity",
        )
    return master.columns, answer.kw, best, bound


def _runs(packing: Packing, rows: Jobs) -> Runs:
    columns = packing.columns.take(packing.column)
    job = packing.job
    kw = packing.shapes.kw[job]
    of = columns.of_entry
    # The time a job is on in a step is not in the energy alone; of runs through, the start follows from the first share.
    first, last = columns.offset[:-1], columns.offset[1:] - 1
    start = np.maximum(columns.step[first], rows.release[job])
    end = np.minimum(columns.step[last] + 1.0, rows.deadline[job])
    return Runs(
        job, columns.site, packing.count, start, end, columns.offset, columns.step, columns.work,
        columns.energy * kw[of],
    )  # fmt: skip


def evaluate(
    policy: str, used: Runs, rows: Jobs, places: Places, capacity: Capacity, carbon_price: float,
    frozen: Committed | None = None, late: int = 0,
) -> Outcome:  # fmt: skip
    """What runs come to, expected over the scenarios."""
    it_kwh = used.it_kwh(len(places.names), places.steps)
    pue = places.pue if places.pue.ndim == 2 else places.pue[:, np.newaxis]
    chance = places.probability if places.probability.size else np.full(len(places.price), 1 / len(places.price))
    facility = it_kwh * pue
    drawn = facility > 0
    price, carbon = (
        np.tensordot(chance[chance > 0], each[chance > 0], axes=1) for each in (places.price, places.carbon)
    )
    cost = float(np.sum(facility[drawn] * price[drawn]))
    grams = float(np.sum(facility[drawn] * carbon[drawn]))
    cost += float(np.sum(rows.entry_cost[used.job, used.site] * used.count))
    if capacity.charged:
        peak = capacity.peak_kw if capacity.peak_kw.size else np.zeros(len(places.names))
        before = np.zeros_like(facility)
        if frozen is not None:
            before = pue * (frozen.it_kw if frozen.it_kw.size else frozen.use)
        top = (facility / places.step_h + before).max(axis=1)
        cost += float(capacity.demand_rate @ np.maximum(top - peak, 0.0))
    return Outcome(policy, cost, grams, cost + grams / G_PER_TONNE * carbon_price, late)


def _alone(rows: Jobs, places: Places, carbon_price: float) -> Outcome:
    zero, price = places.rate(0.0), places.rate(carbon_price)
    total = starting_now(rows, price, places.step_h)
    cost = starting_now(rows, zero, places.step_h)
    each = np.arange(len(rows))
    home = np.where(rows.home >= 0, rows.home, np.argmax(rows.allowed, axis=1))
    home = np.where(rows.allowed[each, home], home, np.argmax(rows.allowed, axis=1))
    objective = float(np.sum(total[each, home] * rows.count))
    money = float(np.sum(cost[each, home] * rows.count))
    grams = (objective - money) / carbon_price * G_PER_TONNE if carbon_price else 0.0
    return Outcome("start now, here", money, grams, objective)
