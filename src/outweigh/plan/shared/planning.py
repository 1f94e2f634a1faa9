"""Plan jobs that share capacity: prices of capacity, then whole jobs, then a certificate."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

import numpy as np

from outweigh.core.errors import InvalidQuantity
from outweigh.core.plan import Certificate
from outweigh.plan.kernels import Windows, check
from outweigh.plan.offers import W_PER_KW
from outweigh.plan.problem import G_PER_TONNE, Floats, Job, Jobs, Places
from outweigh.plan.shared import claims, explain, policies
from outweigh.plan.shared.alike import Alike
from outweigh.plan.shared.ascent import COLD, climb
from outweigh.plan.shared.capacity import Capacity, CapacityPrices, CapacityUnit, Committed
from outweigh.plan.shared.classes import Shapes, lowest_kw
from outweigh.plan.shared.dive import dive
from outweigh.plan.shared.fitting import fit
from outweigh.plan.shared.greedy import by_size
from outweigh.plan.shared.local_search import Neighbourhood, improve
from outweigh.plan.shared.master import generate
from outweigh.plan.shared.mixed_integer import enumerated, solve_whole
from outweigh.plan.shared.packing import ROOM_RTOL, Packing
from outweigh.plan.shared.peaks import below, paid, shave
from outweigh.plan.shared.pricing import Field, LocalPricer, Pricer
from outweigh.plan.shared.repair import repair
from outweigh.plan.shared.schedule import Outcome, Runs, Schedule
from outweigh.plan.shared.smooth import Smooth

METHOD: Final = (
    "Lagrangian dual of the capacity rows, at the prices stored with the plan; check it with plan.shared.verify"
)
# Sums of floats in another order differ by this share of what is summed: the bound is lowered by it.
_ROUNDING: Final = 1e-11
# Gaps are compared with this much slack: a goal of 0 is met up to rounding.
_ROUNDING_GAP: Final = 1e-7
# Below these sizes the exact programmes are quick: columns in column generation, and in the mixed-integer programme.
_FEW_SHAPES: Final = 120
_FEW_JOBS: Final = 20_000
# Attempts of local search, in all and a job, and the loss it accepts at first, as a share of what a job costs.
_TURNS: Final = 60_000
_TURNS_A_JOB: Final = 20
_HEAT: Final = 0.035
# Jobs that are placed by constant policies, in all of those that are played.
_PLAYED: Final = 5_000
# Between them prices are asked for again.
_DIVES: Final = 4


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
    pricer: Callable[[Shapes, Field], Pricer] = LocalPricer,
) -> Schedule:
    """Where and when every job runs, so that what they share suffices and cost + carbon x price of carbon is least.

    Args:
        jobs: each one, or many alike (`count`).
        places: rates; their own capacity is not looked at, see `Capacity.of`.
        goal_gap: stop improving once the plan is proven to be within this share of the best.
        time_limit_s: stop improving then, with the plan and the bound there are; a first plan is always made. None is
            until it no longer pays, and gives the same plan every time. A note says where the goal was not met.
        warm: prices of an earlier plan over the same sites and steps, to begin with.
        frozen: what is committed already: its capacity is gone.
        progress: called now and then with the share of the way from 0 to 1.
        currency: of the prices; for the certificate.
        work_quantile: which quantile of an uncertain duration is planned for.
        pricer: who prices the shapes; `ray.RayPricer` shares that over machines.

    Raises:
        PlanInfeasible: the jobs do not fit, with which, where, when and how much is missing.
        PlanNotFound: parts of them fit and the search found no room for whole ones; no proof that there is none.
        GapsTooLarge: a gap of the forecast within the window of a job.
        InvalidQuantity: see `Capacity`, `Places` and `Job`.
    """
    until = None if time_limit_s is None else time.monotonic() + time_limit_s
    told = progress or (lambda share: None)

    def stop() -> bool:
        return until is not None and time.monotonic() > until

    if not 0 <= goal_gap < 1:
        raise InvalidQuantity("gap to aim for", str(goal_gap), "give a share from 0 to below 1")
    rows = places.jobs(jobs, work_quantile=work_quantile)
    field = _field(places, capacity, carbon_price_per_tonne, frozen)
    _check_gaps(rows, field)
    rows = _where_they_fit(rows, field, capacity.unit)
    alike = Alike.of(rows)
    shapes = Shapes.of(alike.jobs, capacity.unit)
    alone = policies.alone(rows, places, carbon_price_per_tonne)
    start = _start(warm, field)
    if not len(rows):
        return _schedule(
            rows, alike, places, capacity, carbon_price_per_tonne, frozen, Packing(shapes, field), 0.0, start, alone,
            currency,
        )  # fmt: skip
    large = explain.too_large(Packing(shapes, field), alike.jobs, capacity.unit)
    if large is not None:
        raise large

    prices_of = pricer(shapes, field)
    least = prices_of.price(CapacityPrices.none(_shape(field), charged=field.charged)).best
    smooth = Smooth(shapes, field)
    summit = climb(
        smooth, prices_of, field, start, weight=shapes.weight_kw, goal=goal_gap / 5, until=until,
        progress=lambda _: told(0.3),
    )  # fmt: skip
    bound, prices = summit.bound, summit.prices
    over = float(np.maximum(summit.use - field.limit, 0.0).sum()) / max(float(summit.use.sum()), 1e-300)
    if over > 0.01:
        missing = explain.shortage(Shapes.of(rows, capacity.unit), field, rows, places, capacity.unit)
        if missing is not None:
            raise missing

    columns = None
    if len(shapes) <= _FEW_SHAPES:
        seeds, _ = smooth.spread(prices, summit.temperature)
        found = generate(shapes, field, prices_of, seeds, prices, goal=min(1e-9, goal_gap / 5), stop=stop)
        if found.bound > bound:
            bound, prices = found.bound, found.prices
        columns = found.columns
    told(0.6)
    packing, left = _whole(shapes, alike.jobs, field, prices, summit.use)
    if not left:
        _descend(packing, field, least, bound, goal_gap, stop)
    if not field.charged and rows.count.sum() <= _FEW_JOBS and (left or _gap(paid(packing), bound) > goal_gap):
        packing, left = _dived(packing, left, alike.jobs, prices, least, bound, goal_gap, stop)
    if left and rows.count.sum() <= _FEW_JOBS:
        left = fit(packing, left, field.rate + prices.limit)
        if not left:
            _descend(packing, field, least, bound, goal_gap, stop)
    if field.charged and not left and rows.count.sum() <= _FEW_JOBS:
        packing = shave(packing, field, least, enough=lambda made: stop() or _gap(paid(made), bound) <= goal_gap)
    turns = _TURNS_A_JOB
    if columns is not None and (left or _gap(paid(packing), bound) > goal_gap) and not field.charged:
        better = None if left else packing.paid
        every = enumerated(shapes, field, columns)
        if solve_whole(packing, alike.jobs, every, better_than=better, goal=goal_gap, until=until):
            left, turns = [], _TURNS_A_JOB // 10
    elif not left and columns is None and _gap(paid(packing), bound) > goal_gap and not stop():
        colder = climb(
            smooth, prices_of, field, prices, weight=shapes.weight_kw, goal=0.0, until=until, temperatures=COLD
        )
        if colder.bound > bound:
            bound, prices = colder.bound, colder.prices
    if not left:
        _anneal(packing, field, prices, least, bound, goal_gap, turns, stop, lambda share: told(0.6 + 0.3 * share))
    if left:
        missing = explain.shortage(Shapes.of(rows, capacity.unit), field, rows, places, capacity.unit)
        raise missing or explain.indivisible(
            rows, Shapes.of(rows, capacity.unit), places, alike.members(left), prices.limit
        )
    told(1.0)
    made = _schedule(
        rows, alike, places, capacity, carbon_price_per_tonne, frozen, packing, bound, prices, alone, currency
    )
    gap = made.certificate.gap
    return replace(made, notes=(*made.notes, _far(gap, goal_gap))) if gap > goal_gap + _ROUNDING_GAP else made


def _far(gap: float, goal: float) -> str:
    return (
        f"The plan is {gap:.2%} above its bound, and {goal:.2%} was asked for: the search ended before. How much of "
        "that a better plan could save, and how much is the bound's, which counts jobs in parts, is not known."
    )


def _where_they_fit(rows: Jobs, field: Field, unit: CapacityUnit) -> Jobs:
    """The jobs without the sites that never give the power of one of them.

    The bound counts jobs in parts, and half of a job would fit there; a whole one does not, so no plan is lost.
    """
    units = rows.devices / (rows.power_w[:, -1] / W_PER_KW) if unit is CapacityUnit.DEVICES else 1.0
    fits = (lowest_kw(rows) * units)[:, np.newaxis] <= field.limit.max(axis=1) * (1 + ROOM_RTOL)
    # A job that fits nowhere keeps its sites: what is missing is said of them.
    fits |= ~(fits & rows.allowed).any(axis=1)[:, np.newaxis]
    return replace(rows, allowed=rows.allowed & fits)


def _shape(field: Field) -> tuple[int, int]:
    return field.limit.shape[0], field.limit.shape[1]


def _gap(paid: float, bound: float) -> float:
    return (paid - bound) / (abs(paid) or 1.0)


def _start(warm: CapacityPrices | None, field: Field) -> CapacityPrices:
    nothing = CapacityPrices.none(_shape(field), charged=field.charged)
    if warm is None:
        return nothing
    if warm.limit.shape != field.limit.shape:
        given = f"shape {warm.limit.shape}"
        raise InvalidQuantity("prices to begin with", given, f"the plan has (sites, steps) {field.limit.shape}")
    if not (np.isfinite(warm.limit).all() and (warm.limit >= 0).all()):
        raise InvalidQuantity("prices to begin with", "negative or not a number", "give those of an earlier plan")
    demand = warm.demand if warm.demand.shape == nothing.demand.shape else nothing.demand
    return CapacityPrices(np.where(np.isfinite(field.limit), warm.limit, 0.0), demand)


def _field(places: Places, capacity: Capacity, carbon_price: float, frozen: Committed | None) -> Field:
    limit = capacity.by_step(places)
    pue = places.pue if places.pue.ndim == 2 else places.pue[:, np.newaxis]
    pue = np.array(np.broadcast_to(pue, limit.shape))
    committed_kw = np.zeros(limit.shape)
    if frozen is not None:
        if frozen.use.shape != limit.shape:
            raise InvalidQuantity("committed use", str(frozen.use.shape), f"the plan has (sites, steps) {limit.shape}")
        limit = np.maximum(limit - frozen.use, 0.0)
        committed_kw = _committed_kw(frozen, capacity)
    spare = np.empty((0, 0))
    if capacity.charged:
        # What is committed may be a new peak already; only what goes beyond is this plan's.
        facility = pue * committed_kw
        peak = capacity.peak_kw if capacity.peak_kw.size else np.zeros(len(limit))
        spare = np.maximum(peak, facility.max(axis=1))[:, np.newaxis] - facility
    return Field(
        places.rate(carbon_price), places.step_h, limit, pue,
        capacity.demand_rate if capacity.charged else np.empty(0), spare,
    )  # fmt: skip


def _committed_kw(frozen: Committed, capacity: Capacity) -> Floats:
    if frozen.it_kw.size or not capacity.charged:
        return frozen.it_kw if frozen.it_kw.size else np.zeros(frozen.use.shape)
    if capacity.unit is CapacityUnit.DEVICES:
        raise InvalidQuantity("committed power", "none", "capacity is in devices and peaks cost: give it_kw, too")
    return frozen.use


def _check_gaps(rows: Jobs, field: Field) -> None:
    job, site = np.nonzero(rows.allowed)
    check(field.rate, Windows(site, rows.release[job], rows.deadline[job], rows.work[job] / rows.speed[job, -1]))


def _whole(shapes: Shapes, rows: Jobs, field: Field, prices: CapacityPrices, use: Floats) -> tuple[Packing, list[int]]:
    """A first plan of whole jobs, and the rows that found no room.

    Where peaks cost, whole jobs are kept below the peaks that their shares have, or one or two jobs above them,
    whichever is cheapest with what the peak costs.
    """
    rate = field.rate + prices.limit
    if field.charged:
        rate = field.priced(CapacityPrices(prices.limit, prices.demand), 1.0)
    best: tuple[Packing, list[int]] | None = None
    for above in (0.0, 0.5, 1.0, 2.0, np.inf) if field.charged else (np.inf,):
        packing = Packing(shapes, _near_peaks(field, use, shapes, above) if np.isfinite(above) else field)
        by_size(packing, rows.count, rate)
        left = repair(packing, rate)
        packing.settle()
        if best is None or (len(left), paid(packing)) < (len(best[1]), paid(best[0])):
            best = packing, left
    assert best is not None
    return best


def _dived(
    first: Packing, missing: list[int], rows: Jobs, prices: CapacityPrices, least: Floats, bound: float, goal: float,
    stop: Callable[[], bool],
) -> tuple[Packing, list[int]]:  # fmt: skip
    """The first plan or one made in several dives, whichever is better."""
    field = first.field
    unit = float(np.abs(field.rate[np.isfinite(field.rate)]).mean()) or 1.0
    packing = Packing(first.shapes, field)
    left = dive(packing, rows.count, field, prices, dives=_DIVES, unit=unit, stop=stop)
    packing.settle()
    if not left:
        _descend(packing, field, least, bound, goal, stop)
    return min(((first, missing), (packing, left)), key=lambda made: (len(made[1]), paid(made[0])))


def _near_peaks(field: Field, use: Floats, shapes: Shapes, above: float) -> Field:
    """The field with the peaks of `use` as limits where they cost, and `above` times the largest job more."""
    kw_per_unit = 1 / float(shapes.units_per_kw.max())
    highest = np.maximum((field.pue * use * kw_per_unit - field.spare_kw).max(axis=1), 0.0)
    # The shares are only near the best; a peak that is all but free is free.
    return below(field, highest * 1.001 + above * float(shapes.kw.max()), shapes.units_per_kw)


def _descend(
    packing: Packing, field: Field, least: Floats, bound: float, goal: float, stop: Callable[[], bool]
) -> None:
    """Job by job, while that pays."""
    for _ in range(3):
        if stop() or _gap(paid(packing), bound) <= goal / 5:
            return
        if improve(packing, field.rate, least, stop=stop) < 1e-4 * goal * abs(packing.paid):
            return


def _anneal(
    packing: Packing, field: Field, prices: CapacityPrices, least: Floats, bound: float, goal: float,
    turns_a_job: int, stop: Callable[[], bool], told: Callable[[float], None],
) -> None:  # fmt: skip
    """A few jobs at a time, until the goal is met or patience ends."""
    if packing.count.sum() > _FEW_JOBS or stop() or _gap(paid(packing), bound) <= goal:
        return
    peaks = paid(packing) - packing.paid
    near = Neighbourhood(packing, field.rate, prices.limit, least)
    turns = min(_TURNS, turns_a_job * int(packing.count.sum()))
    hot = _HEAT * abs(near.paid) / float(packing.count.sum())
    for turn in range(turns):
        if turn % 100 == 0:
            near.keep()
            told(turn / turns)
            if stop() or _gap(near.paid + peaks, bound) <= goal:
                break
        near.turn((3, 6, 10)[turn % 3], hot * (1 - turn / turns) ** 2)
    near.finish()


def _schedule(
    rows: Jobs, alike: Alike, places: Places, capacity: Capacity, carbon_price: float, frozen: Committed | None,
    packing: Packing, bound: float, prices: CapacityPrices, alone: Outcome, currency: str,
) -> Schedule:  # fmt: skip
    used = alike.shared_out(_runs(packing, alike.jobs))
    outcome = evaluate("this plan", used, rows, places, capacity, carbon_price, frozen)
    limit = packing.shapes.units_per_kw[packing.shapes.member]
    listed = np.arange(len(places.names))
    fixed = _field(places, capacity, carbon_price, frozen).limit

    def judged(name: str, jobs: Jobs, placed: policies.Placed) -> Outcome:
        return evaluate(name, placed.runs, jobs, places, capacity, carbon_price, frozen, placed.late)

    # Who comes first is a matter of each job, so this looks at every one.
    first = policies.first_come(rows, fixed, limit[alike.row], places.step_h, listed, home_first=True)
    baseline = judged("start now, here, in the order of release", rows, first)
    constants = policies.constants(alike.jobs, packing.field.rate, places.step_h, places.names)
    # What they come to without room for all is known; with what room there is, each has to be played.
    played = constants[: 1 if np.isinf(fixed).all() and not capacity.charged else 1 + _PLAYED // (len(alike.jobs) + 1)]
    best = min(
        (
            judged(
                one.name,
                alike.jobs,
                policies.first_come(
                    alike.jobs,
                    fixed,
                    limit,
                    places.step_h,
                    one.order,
                    home_first=one.home_first,
                    delay=one.delay_h / places.step_h,
                ),
            )
            for one in played
        ),
        key=lambda one: (one.late, round(one.objective, 9)),
    )
    bound -= _ROUNDING * (
        abs(bound) + float(np.sum(prices.limit[np.isfinite(fixed)] * fixed[np.isfinite(fixed)])) * places.step_h
    )
    bound = min(bound, outcome.objective)
    scale = abs(outcome.objective) or abs(bound) or 1.0
    within = claims.among(rows)
    certificate = Certificate(outcome.objective, bound, (outcome.objective - bound) / scale, currency, METHOD, within)
    notes = _notes(rows, places, baseline, outcome, capacity, first.runs, used, carbon_price)
    if within:
        loose = claims.untied(packing.shapes, packing.field, prices)
        notes = (*notes, claims.note(within, bound, loose, currency))
    return Schedule(
        names=rows.names, sites=places.names, runs=used, outcome=outcome, baseline=baseline, best_constant=best,
        alone=alone, it_energy_kwh=float(used.energy_kwh @ used.count[used.of_entry]),
        carbon_price_per_tonne=carbon_price, certificate=certificate, prices=prices,
        notes=notes,
    )  # fmt: skip


def _runs(packing: Packing, rows: Jobs) -> Runs:
    packing.settle()
    columns, job = packing.columns.take(packing.column), packing.job
    kw = packing.shapes.kw[job]
    first, last = columns.offset[:-1], columns.offset[1:] - 1
    # A run through that begins within a step begins as late in it as its share of the step says.
    through = ~rows.preemptible[job] & (columns.sizes > 1)
    full = columns.energy[np.minimum(first + 1, last)] if len(columns) else np.empty(0)
    lead = np.where(through & (columns.sizes > 2), columns.energy[first] / np.where(full > 0, full, 1.0), 1.0)
    start = np.maximum(columns.step[first] + 1.0 - np.minimum(lead, 1.0), rows.release[job])
    end = np.minimum(columns.step[last] + 1.0, rows.deadline[job])
    order = np.lexsort((start, job))
    index = columns.take(order)
    return Runs(
        job[order], index.site, packing.count[order], start[order], end[order], index.offset, index.step, index.work,
        index.energy * kw[order][index.of_entry],
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
    some = chance > 0
    price, carbon = (np.tensordot(chance[some], each[some], axes=1) for each in (places.price, places.carbon))
    cost = float(np.sum(facility[drawn] * price[drawn]))
    grams = float(np.sum(facility[drawn] * carbon[drawn]))
    cost += float(np.sum(rows.entry_cost[used.job, used.site] * used.count))
    if capacity.charged:
        peak = capacity.peak_kw if capacity.peak_kw.size else np.zeros(len(places.names))
        before = np.zeros_like(facility) if frozen is None else pue * _committed_kw(frozen, capacity)
        peak = np.maximum(peak, before.max(axis=1))
        top = (facility / places.step_h + before).max(axis=1)
        cost += float(capacity.demand_rate @ np.maximum(top - peak, 0.0))
    return Outcome(policy, cost, grams, cost + grams / G_PER_TONNE * carbon_price, late)


def _notes(
    rows: Jobs,
    places: Places,
    baseline: Outcome,
    plan: Outcome,
    capacity: Capacity,
    now: Runs,
    used: Runs,
    carbon_price: float,
) -> tuple[str, ...]:
    notes = []
    cut = int(rows.count[rows.cut].sum())
    if cut:
        notes.append(f"{cut} jobs have deadlines beyond what is known: the optimum lies at the edge of what is known.")
    if baseline.late:
        late = f"{baseline.late} job{'s' if baseline.late != 1 else ''}"
        notes.append(
            f"Starting now, here, in the order of release leaves {late} "
            "without room in time; what they would draw is not in its figures, so a saving against it is understated."
        )
    elif baseline.objective <= plan.objective:
        notes.append("No plan is cheaper than starting now, here.")
    if len(rows):
        notes.append(_noise(places, carbon_price, now, used))
    if capacity.unit is CapacityUnit.KW:
        notes.append("Capacity is IT power, and PUE is taken as given: it does not follow the load of the plan.")
    return tuple(notes)


def _noise(places: Places, carbon_price: float, baseline: Runs, plan: Runs) -> str:
    """Whether the saving is larger than what the scenarios of the rates make of it."""
    if len(places.price) == 1:
        return "The rates are one forecast: how far the saving could be off is not known from it."
    chance = places.probability if places.probability.size else np.full(len(places.price), 1 / len(places.price))
    pue = places.pue if places.pue.ndim == 2 else places.pue[:, np.newaxis]
    moved = pue * (baseline.it_kwh(len(places.names), places.steps) - plan.it_kwh(len(places.names), places.steps))
    at = moved != 0
    each = (places.price + places.carbon * (carbon_price / G_PER_TONNE))[:, at] @ moved[at]
    some = chance > 0
    mean = float(each[some] @ chance[some])
    spread = float(np.sqrt((each[some] - mean) ** 2 @ chance[some]))
    stated = f"Over the scenarios the saving of energy and carbon is {mean:.4g} +- {2 * spread:.2g} (k = 2)"
    if abs(mean) <= 2 * spread:
        return f"{stated}: a saving within the spread of the forecast is called noise."
    return f"{stated}: it is larger than the spread of the forecast."


def with_foresight(
    jobs: Sequence[Job], places: Places, capacity: Capacity, *, carbon_price_per_tonne: float, goal_gap: float = 0.005
) -> Outcome:
    """What plans would come to that knew which scenario comes: each planned for alone, weighed by its probability.

    No plan for all scenarios can be expected to do better, but for the gaps of both. With one scenario it is the plan.

    Raises: see `plan_jobs`.
    """
    chance = places.probability if places.probability.size else np.full(len(places.price), 1 / len(places.price))
    cost = grams = 0.0
    for number in np.flatnonzero(chance > 0).tolist():
        one = replace(places, price=places.price[[number]], carbon=places.carbon[[number]], probability=np.empty(0))
        plan = plan_jobs(jobs, one, capacity, carbon_price_per_tonne=carbon_price_per_tonne, goal_gap=goal_gap)
        cost += float(chance[number]) * plan.cost
        grams += float(chance[number]) * plan.carbon_g
    objective = cost + grams / G_PER_TONNE * carbon_price_per_tonne
    return Outcome("each scenario planned as if it were known", cost, grams, objective)
