"""Planning the rest again: what has not begun, what is paused, and what may pause; all else is committed."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Final

import numpy as np

from outweigh.core.errors import GapsTooLarge, PlanInfeasible
from outweigh.core.jobs import Ability, JobState
from outweigh.plan.planfile import pieces as pieces_of
from outweigh.plan.problem import G_PER_TONNE, Job, Places
from outweigh.plan.shared import Capacity, Committed, Schedule, plan_jobs
from outweigh.run.deciding import Rules
from outweigh.run.rates import Drawn, Floats, Rates
from outweigh.run.terms import S_PER_HOUR, Piece
from outweigh.run.tracked import Stage, Tracked

W_PER_KW: Final = 1e3
_GOAL_GAP: Final = 0.01
_TIME_LIMIT_S: Final = 30.0
#: Currency a step later costs where only being early counts; any positive number would do.
_SLOPE: Final = 1e-3
#: The cheapest of some sites, for some pieces.
Known = dict[tuple[tuple[Piece, ...], tuple[str, ...]], str]


@dataclass(frozen=True, slots=True, eq=False)
class SiteTerms:
    """What a plan says of its sites beside their rates. S sites, T steps.

    Attributes:
        capacity_kw: IT power they can give, shape (S, T); inf is no limit.
        move_cost_per_gb, demand_rate, peak_kw: as in `Places` and `Capacity`, shape (S,).
        carbon_price: of a tonne [currency].
        currency: of all prices.
    """

    capacity_kw: Floats
    move_cost_per_gb: Floats
    demand_rate: Floats
    peak_kw: Floats
    carbon_price: float
    currency: str

    @classmethod
    def of_plan(cls, document: Mapping[str, Any]) -> SiteTerms:
        sites, steps = document["sites"], int(document["horizon"]["steps"])
        limits = [site["capacity_kw"] or [None] * steps for site in sites]
        return cls(
            np.array([[math.inf if each is None else each for each in row] for row in limits], dtype=np.float64),
            _column(sites, "move_cost_per_gb"),
            _column(sites, "demand_rate_per_kw"),
            _column(sites, "peak_so_far_kw"),
            float(document["carbon_price_per_tonne"]),
            str(document["currency"]),
        )


def _column(sites: Sequence[Mapping[str, Any]], name: str) -> Floats:
    return np.array([site[name] for site in sites], dtype=np.float64)


@dataclass(frozen=True, slots=True, eq=False)
class Question:
    """What is to be planned again; holds nothing that changes, so that another thread may answer.

    Attributes:
        first: step of the plan's horizon that `places` begins with.
        jobs: to plan; those alike are one with a `count`. keys: of each, so many.
        fixed: pieces of what runs or must run now, by key: given, not asked.
        stranded: of jobs whose site is gone, their plan at another one: what is left where all together have no plan.
        worth: what the plan in force would cost from now on, for the jobs asked [currency]; inf where it is past.
        pausing: extra cost of a pause at once, by key of those that run [currency].
        urgent: something that has not begun is fixed otherwise than planned: its plan is past or comes too late.
    """

    now: datetime
    places: Places
    capacity: Capacity
    frozen: Committed
    jobs: tuple[Job, ...]
    keys: tuple[tuple[str, ...], ...]
    fixed: Mapping[str, tuple[Piece, ...]]
    stranded: Mapping[str, tuple[Piece, ...]]
    worth: float
    pausing: Mapping[str, float]
    rates: Rates
    terms: SiteTerms
    early: bool
    urgent: bool


@dataclass(frozen=True, slots=True)
class Answered:
    """A new plan for some jobs, or why there is none.

    Attributes:
        pieces: by key. cost: of them, with what pauses cost [currency]. worth: of the plan before.
        problem: why nothing was planned, in a sentence.
    """

    pieces: Mapping[str, tuple[Piece, ...]] = field(default_factory=dict)
    cost: float = 0.0
    worth: float = 0.0
    forced: bool = False
    problem: str = ""

    def pays(self, rules: Rules) -> bool:
        """Whether it is to take the place of the plan in force."""
        return self.forced or self.cost < self.worth - rules.hysteresis * abs(self.worth)


def question(
    jobs: Iterable[Tracked], now: datetime, rates: Rates, terms: SiteTerms, can: frozenset[Ability], rules: Rules, *,
    gone: frozenset[str] = frozenset(), early: bool = False,
) -> Question:  # fmt: skip
    """What planning again at `now` would have to answer.

    Args:
        gone: sites that are there no longer: nothing new is planned at them.
        early: as soon as there is room, whatever it costs; where nothing is known of what is to come.
    """
    steps = rates.steps
    first = min(max(math.floor((now - rates.start).total_seconds() / rates.step_s), 0), steps - 1)
    start = rates.start + timedelta(seconds=first * rates.step_s)
    horizon = rates.start + timedelta(seconds=steps * rates.step_s)
    price, carbon = rates.price[:, first:], rates.carbon[:, first:]
    # Of what nobody knows anything, nothing is weighed: a plan by carbon alone, or by price alone.
    price, carbon = (np.zeros_like(each) if np.isnan(each).all() else each for each in (price, carbon))
    if early:
        price = np.broadcast_to(_SLOPE * np.arange(1.0, steps - first + 1), price.shape).copy()
        carbon = np.zeros_like(carbon)
    use = np.zeros(price.shape)
    asked: dict[tuple[object, ...], tuple[Job, list[str]]] = {}
    fixed: dict[str, tuple[Piece, ...]] = {}
    pausing: dict[str, float] = {}
    stranded: dict[str, tuple[Piece, ...]] = {}
    known: Known = {}
    worth, urgent = 0.0, False
    for job in jobs:
        if job.stage is Stage.OVER:
            continue
        left_s = job.left_s(now)
        window_end = min(job.deadline, horizon)
        # Step ends are where a plan may pause or begin: what is tighter than one is not for planning.
        fits = (window_end - now).total_seconds() >= left_s + rules.guard_s
        movable = not job.works or (
            job.terms.job.preemptible and Ability.PAUSE in can and "pause" not in job.cannot and job.state is not None
            and job.state is not JobState.PAUSING
        )  # fmt: skip
        allowed = sites_open(job, rates, gone)
        if not fits or not movable or not allowed or left_s <= 0:
            rest = _rest(job, now, left_s, allowed, rates, terms, known)
            if job.works or allowed:
                fixed[job.key] = rest
                urgent |= not job.works and rest != tuple(piece for piece in job.pieces if piece.end > now)
                _commit(use, rest, rates, first)
            continue
        if gone and not job.works and job.next_piece(now).site in gone:
            ahead = tuple(piece for piece in job.pieces if piece.end > now)
            stranded[job.key] = (
                _moved(ahead, allowed, rates, terms, known) if ahead else
                at_once(job, now, allowed, rates, terms, known)
            )  # fmt: skip
        like = _job(job, now, left_s, allowed, rules)
        kind = (job.position, allowed) if not job.begun else (job.key,)
        if kind in asked:
            asked[kind][1].append(job.key)
        else:
            asked[kind] = (like, [job.key])
        worth += _worth(job, now, left_s, rates, terms, gone, rules)
        if job.works:
            pausing[job.key] = _pause_cost(job, rates, terms, now)
    sizes = [(replace(like, count=len(keys)), tuple(keys)) for like, keys in asked.values()]
    limit = terms.capacity_kw[:, first:].copy()
    for name in gone:
        if name in rates.sites:
            limit[rates.sites.index(name)] = use[rates.sites.index(name)]
    return Question(
        now, Places(rates.sites, start, rates.step_s, price[np.newaxis], carbon[np.newaxis], rates.pue,
                    move_cost_per_gb=terms.move_cost_per_gb),
        Capacity(limit, demand_rate=terms.demand_rate, peak_kw=terms.peak_kw), Committed(use),
        tuple(like for like, _ in sizes), tuple(keys for _, keys in sizes), fixed, stranded, worth, pausing, rates,
        terms, early, urgent,
    )  # fmt: skip


def answer(asked: Question) -> Answered:
    """Plan it. Never raises for a problem that has no plan: it says so, and what is fixed is given all the same."""
    if not asked.jobs:
        return Answered(asked.fixed, 0.0, 0.0, forced=asked.urgent)
    try:
        schedule = plan_jobs(
            asked.jobs, asked.places, asked.capacity, carbon_price_per_tonne=0.0 if asked.early else
            asked.terms.carbon_price, goal_gap=_GOAL_GAP, time_limit_s=_TIME_LIMIT_S, frozen=asked.frozen,
            currency=asked.terms.currency,
        )  # fmt: skip
    except (PlanInfeasible, GapsTooLarge) as err:
        kept = {**asked.fixed, **asked.stranded}
        return Answered(kept, 0.0, 0.0, forced=asked.urgent or bool(asked.stranded), problem=str(err))
    planned = dict(asked.fixed)
    cost = 0.0
    for position, keys in enumerate(asked.keys):
        singles = _singles(schedule, position, asked.places, asked.jobs[position], asked.now)
        for key, pieces in zip(keys, singles, strict=True):
            planned[key] = pieces
            cost += _cost(pieces, asked.now, asked.rates, asked.terms)
            if key in asked.pausing and pieces[0].start > asked.now + timedelta(seconds=1):
                cost += asked.pausing[key]
    return Answered(planned, cost, asked.worth, forced=asked.early or asked.urgent or not math.isfinite(asked.worth))


def sites_open(job: Tracked, rates: Rates, gone: frozenset[str]) -> tuple[str, ...]:
    """Where a job may go from now on; empty where it can only wait for what is gone."""
    if job.begun and job.seen is not None:
        # Where a job starts it stays; what was lost with its site starts again elsewhere.
        here = job.seen.site if job.seen.site in rates.sites else job.site
        if here not in gone:
            return (here,)
    return tuple(sorted(site for site in job.terms.job.sites if site not in gone and site in rates.sites))


def _job(job: Tracked, now: datetime, left_s: float, allowed: tuple[str, ...], rules: Rules) -> Job:
    asked = job.terms.job
    share = left_s / job.needs_s()
    # What runs pays for a pause with a restart: room for it is kept, wanted or not.
    restart_h = asked.checkpoint_h * asked.levels[0].speed if job.works else 0.0
    spare_s = rules.guard_s + rules.guard_share * left_s
    release = max(asked.release, now)
    work_h = asked.work_h * share + restart_h
    fastest_s = work_h / asked.levels[-1].speed * S_PER_HOUR
    latest = asked.deadline - timedelta(seconds=spare_s)
    return replace(
        asked,
        name=job.key,
        release=release,
        deadline=max(latest, release + timedelta(seconds=fastest_s * (1 + 1e-9) + 1e-3)),
        work_h=work_h,
        sites=frozenset(allowed),
        movable=True,
        work_quantiles=(),
        count=1,
        data_gb=0.0 if job.begun else asked.data_gb,
    )


def _rest(
    job: Tracked, now: datetime, left_s: float, allowed: tuple[str, ...], rates: Rates, terms: SiteTerms, known: Known
) -> tuple[Piece, ...]:
    """The plan of one that is not planned again, from now: as it was, or at once where that is over or too late.

    What does not work yet and was planned where it may not go any more goes where it is cheapest from now on.
    """
    ahead = [piece for piece in job.pieces if piece.end > now]
    power_w = job.power_w()
    left = timedelta(seconds=max(left_s, 1.0))
    if job.works:
        site = job.seen.site if job.seen is not None and job.seen.site else job.next_piece(now).site
        if len(ahead) <= 1 or not job.terms.job.preemptible:
            return (Piece(site, now, now + left, power_w),)
    elif (site := job.next_piece(now).site) not in allowed:
        return at_once(job, now, allowed, rates, terms, known) if allowed else tuple(ahead)
    if ahead and ahead[0].start >= now and job.deadline - ahead[-1].end >= timedelta(0):
        return tuple(ahead)
    return (Piece(site, now, now + left, power_w),)


def _commit(use: Floats, pieces: Sequence[Piece], rates: Rates, first: int) -> None:
    for piece in pieces:
        if piece.site not in rates.sites:
            continue
        at = rates.sites.index(piece.site)
        begin = (piece.start - rates.start).total_seconds() / rates.step_s - first
        until = (piece.end - rates.start).total_seconds() / rates.step_s - first
        begin, until = max(begin, 0.0), min(until, use.shape[1])
        if until <= begin:
            continue
        low, high = math.floor(begin), math.ceil(until)
        edges = np.clip(np.arange(low, high + 1, dtype=np.float64), begin, until)
        use[at, low:high] += np.diff(edges) * piece.power_w / W_PER_KW


def _worth(
    job: Tracked, now: datetime, left_s: float, rates: Rates, terms: SiteTerms, gone: frozenset[str], rules: Rules
) -> float:
    ahead = [piece for piece in job.pieces if piece.end > now]
    if not ahead or any(piece.site in gone for piece in ahead):
        return math.inf
    planned_s = sum((piece.end - max(piece.start, now)).total_seconds() for piece in ahead)
    missed = not job.works and (now - ahead[0].start).total_seconds() > rules.slip_s
    if missed or planned_s < left_s - max(rules.slip_s, 0.05 * left_s):
        return math.inf
    return _cost(ahead, now, rates, terms)


def _cost(pieces: Iterable[Piece], now: datetime, rates: Rates, terms: SiteTerms) -> float:
    total = 0.0
    for piece in pieces:
        drawn = rates.over(piece.site, max(piece.start, now), piece.end, piece.power_w)
        total += drawn.cost + drawn.carbon_g / G_PER_TONNE * terms.carbon_price
    return total


def at_once(
    job: Tracked, now: datetime, allowed: tuple[str, ...], rates: Rates, terms: SiteTerms, known: Known | None = None
) -> tuple[Piece, ...]:
    """The rest of a job from now on, without a pause, at the cheapest of these sites.

    Args:
        known: what was found for others like it.
    """
    left = timedelta(seconds=max(job.left_s(now), 1.0))
    return _moved((Piece("", now, now + left, job.power_w()),), allowed, rates, terms, {} if known is None else known)


def _moved(
    pieces: tuple[Piece, ...], allowed: tuple[str, ...], rates: Rates, terms: SiteTerms, known: Known
) -> tuple[Piece, ...]:
    """The same pieces at the cheapest of these sites; one of which less is known comes after one of which more is."""

    def rank(site: str) -> tuple[float, float]:
        drawn = Drawn()
        for piece in pieces:
            drawn = drawn.plus(rates.over(site, piece.start, piece.end, piece.power_w))
        unknown = (drawn.unpriced_kwh + drawn.unseen_kwh) / drawn.facility_kwh
        return round(unknown, 9), drawn.cost + drawn.carbon_g / G_PER_TONNE * terms.carbon_price

    if (pieces, allowed) not in known:
        known[pieces, allowed] = min(allowed, key=rank)
    site = known[pieces, allowed]
    return tuple(replace(piece, site=site) for piece in pieces)


def _pause_cost(job: Tracked, rates: Rates, terms: SiteTerms, now: datetime) -> float:
    asked = job.terms.job
    kwh = asked.checkpoint_kwh + asked.checkpoint_h * job.power_w() / W_PER_KW
    hour = Piece(job.next_piece(now).site, now, now + timedelta(seconds=S_PER_HOUR), kwh * W_PER_KW)
    return _cost((hour,), now, rates, terms) if kwh > 0 else 0.0


def _singles(schedule: Schedule, position: int, places: Places, job: Job, now: datetime) -> list[tuple[Piece, ...]]:
    found: list[tuple[Piece, ...]] = []
    runs = schedule.runs
    for row in schedule.of_job(position).tolist():
        site = places.names[int(runs.site[row])]
        drawn: list[Piece] = []
        for start, end, kwh in pieces_of(runs, row, job.levels, places.step_h):
            begin, until = (places.start + timedelta(seconds=each * places.step_s) for each in (start, end))
            power_w = kwh / ((end - start) * places.step_h) * W_PER_KW
            if drawn and drawn[-1].end == begin and abs(drawn[-1].power_w - power_w) <= 1e-6 * power_w:
                drawn[-1] = replace(drawn[-1], end=until)
            else:
                drawn.append(Piece(site, max(begin, now), until, power_w))
        found.extend([tuple(drawn)] * int(runs.count[row]))
    return found
