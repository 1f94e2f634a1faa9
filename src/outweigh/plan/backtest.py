"""A stretch of history planned again with what was known at each decision, policy by policy, charged by what came."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC
from typing import Final

import numpy as np

from outweigh.core.errors import GapsTooLarge, InvalidQuantity, PlanInfeasible, UsageError
from outweigh.plan.backtest_capacity import ROOM_RTOL, OracleWithin, StartNow
from outweigh.plan.backtest_policies import ORACLE, START_NOW, Case, Policy, Promised
from outweigh.plan.offers import W_PER_KW, Runs
from outweigh.plan.problem import G_PER_TONNE, ROUNDING_STEPS, Bools, Floats, Ints, Jobs, Places

WEEK_S: Final = 7 * 86400.0
#: Resamples of the weeks, and the confidence of the interval they give.
RESAMPLES, CONFIDENCE = 2000, 0.95
#: Below so many weeks an interval over weeks would be made up.
FEWEST_WEEKS = 4
#: Where capacity binds, like jobs are placed one by one; more than so many would take too long.
MOST_PLACED = 50_000


@dataclass(frozen=True, slots=True)
class Share:
    """A saving as a share of what starting now costs, with its interval over weeks; None where there are too few."""

    value: float
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True, eq=False)
class Fared:
    """How a policy fared. J jobs, W weeks.

    Attributes:
        name: of the policy. what: it does, in a sentence.
        cost: of energy and moved data [currency]. carbon_g: [gCO2e]. objective: cost + carbon x price of carbon.
        each: objective of every job, shape (J,).
        week: objective of the jobs released in every week, shape (W,).
        saving: of the objective against starting now; None where either left jobs undone, as less work is no saving.
        saving_cost, saving_carbon: of its two parts; None as well.
        of_oracle: share of the oracle's saving; None where there was nothing to save.
        regret: what it cost beyond the oracle [currency]; None where either left jobs undone.
        late: jobs done after their deadline. undone: that found no room before the history ends.
        begun_at: step each began in, shape (J,). site: of each, shape (J,).
        pauses: in all. hourly_kwh: facility energy by step, shape (T,).
        error: of the saving this policy expected of one job, root mean square [currency]; None without expectation.
        within_error: share of jobs whose expected saving lay below that error.
        noise: whether its saving lies inside what chance would give: the interval reaches 0, or the saving is below
            the forecast's own error over as many jobs.
    """

    name: str
    what: str
    cost: float
    carbon_g: float
    objective: float
    each: Floats
    week: Floats
    saving: Share | None
    saving_cost: float | None
    saving_carbon: float | None
    of_oracle: float | None
    regret: float | None
    late: int
    undone: int
    begun_at: Ints
    site: Ints
    pauses: int
    hourly_kwh: Floats
    error: float | None
    within_error: float | None
    noise: bool


@dataclass(frozen=True, slots=True, eq=False)
class _Base:
    """What all are held against: starting now, and the oracle. `each`, `oracle`: objective of every job, shape (J,);
    None where jobs are undone."""

    each: Floats | None
    grams: float
    cost: float
    oracle: Floats | None


@dataclass(frozen=True, slots=True, eq=False)
class Backtest:
    """Policies side by side over the same jobs.

    Attributes:
        fared: in the order asked, starting now first and the oracle last.
        jobs: those that were played. left_out: names of those whose window holds a gap in what came.
        week_of: week each job was released in, shape (J,); weeks are counted from the first step.
        within_capacity: whether every policy kept to the capacity of the sites; otherwise none did.
    """

    fared: tuple[Fared, ...]
    jobs: Jobs
    left_out: tuple[str, ...]
    week_of: Ints
    within_capacity: bool = False

    def of(self, name: str) -> Fared:
        return next(one for one in self.fared if one.name == name)


def backtest(
    jobs: Jobs,
    came: Places,
    policies: Sequence[Policy],
    *,
    carbon_price_per_tonne: float,
    seed: int = 0,
    capacity_kw: Floats | None = None,
) -> Backtest:
    """Play all policies over the same jobs, the same history and the same capacity.

    Args:
        jobs: rows on the steps of `came`. Releases within a step count at its end, for every policy.
        came: what came, one scenario; NaN where it is not known. Jobs whose window holds such a step are left out, as
            nobody can say what they would have cost.
        policies: beside starting now and the oracle, which are always played. Where capacity binds, they must be of
            `backtest_capacity`, or `PlanRolling` with the same capacity.
        seed: of the resampling of weeks.
        capacity_kw: IT power the sites can give [kW], shape (S,) or (S, T); None is no limit.

    The saving's interval resamples whole weeks (moving them whole keeps what days of one week share): percentile
    bootstrap over blocks, Kuensch, Annals of Statistics 17(3), 1989; Efron and Tibshirani, An Introduction to the
    Bootstrap, 1993, section 13.3.

    Raises:
        InvalidQuantity: several scenarios of what came.
        GapsTooLarge: no job is left.
        PlanInfeasible: a job longer than its window, or that draws more than any of its sites can give.
        UsageError: more like jobs than can be placed one by one within a capacity.
    """
    if len(came.price) != 1:
        raise InvalidQuantity("what came", f"{len(came.price)} scenarios", "history is one")
    limit = _limit(capacity_kw, came)
    rate = came.rate(carbon_price_per_tonne)
    jobs = replace(jobs, release=np.ceil(jobs.release - ROUNDING_STEPS))
    known = _known(jobs, rate)
    left_out = tuple(name for name, kept in zip(jobs.names, known, strict=True) if not kept)
    jobs = jobs.take(known)
    if not len(jobs):
        raise GapsTooLarge("what came", "the windows of the jobs", 100, "Take a stretch that is covered")
    jobs = _where_they_fit(_one_by_one(jobs), limit) if limit.size else _together(jobs)
    began = came.start.astimezone(UTC)
    day_s = (began - began.replace(hour=0, minute=0, second=0, microsecond=0)).total_seconds()
    case = Case(jobs, rate, came.step_h, _home(jobs, limit), limit, came.names, day_s)
    week_of = (jobs.release * came.step_s // WEEK_S).astype(np.int64)
    first = StartNow() if limit.size else START_NOW
    played = [(policy, *policy.play(case)) for policy in (first, *policies)]
    in_time = [entries for _, entries, _ in played if not (_undone(case, entries) | _late(case, entries)).any()]
    oracle = OracleWithin(in_time) if limit.size else ORACLE
    played.append((oracle, *oracle.play(case)))
    base = _base(case, came, carbon_price_per_tonne, played[0][1], played[-1][1])
    fared = tuple(
        _fared(policy, entries, promised, case, came, carbon_price_per_tonne, base, week_of, seed)
        for policy, entries, promised in played
    )
    return Backtest(fared, jobs, left_out, week_of, within_capacity=bool(limit.size))


def _limit(capacity_kw: Floats | None, came: Places) -> Floats:
    if capacity_kw is None or np.isinf(capacity_kw).all():
        return np.empty(0)
    shape = len(came.names), came.steps
    if capacity_kw.shape not in (shape[:1], shape) or not np.all(capacity_kw >= 0):
        given = f"shape {capacity_kw.shape}"
        raise InvalidQuantity("capacity", given, f"give 0 or more kW by site, or by (sites, steps) {shape}")
    rows = capacity_kw if capacity_kw.ndim == 2 else capacity_kw[:, np.newaxis]
    return np.array(np.broadcast_to(rows, shape), dtype=np.float64)


def _together(jobs: Jobs) -> Jobs:
    """Like jobs as one that draws as much as all: without a capacity they all do the same."""
    many = jobs.count.astype(np.float64)
    return replace(
        jobs,
        power_w=jobs.power_w * many[:, np.newaxis],
        resume_kwh=jobs.resume_kwh * many,
        entry_cost=jobs.entry_cost * many[:, np.newaxis],
    )


def _one_by_one(jobs: Jobs) -> Jobs:
    if jobs.count.sum() > MOST_PLACED:
        raise UsageError(
            f"{jobs.count.sum()} jobs would be placed one by one within the capacity of the sites",
            f"Play at most {MOST_PLACED}: a shorter stretch, a larger distance (--every), or sites without a capacity",
        )
    many = jobs.take(np.repeat(np.arange(len(jobs)), jobs.count))
    return replace(many, count=np.ones(len(many), dtype=np.int64))


def _where_they_fit(jobs: Jobs, limit: Floats) -> Jobs:
    """The jobs without the sites that never give the power of one of them; where that is none, with all.

    Jobs of several levels keep theirs: policies may run them slower.
    """
    kw = jobs.power_w.min(axis=1) / W_PER_KW
    fits = limit.max(axis=1) * (1 + ROOM_RTOL) >= kw[:, np.newaxis]
    fits |= ~(fits & jobs.allowed).any(axis=1)[:, np.newaxis]
    return replace(jobs, allowed=jobs.allowed & fits)


def _base(case: Case, came: Places, carbon_price: float, now: Runs, oracle: Runs) -> _Base:
    grams = _grams(now, came)
    each = _objective(case, now)
    whole = not _undone(case, now).any()
    best = None if _undone(case, oracle).any() else _objective(case, oracle)
    return _Base(each if whole else None, grams, float(each.sum()) - grams / G_PER_TONNE * carbon_price, best)


def _undone(case: Case, entries: Runs) -> Bools:
    done = np.bincount(entries.job, entries.work, minlength=len(case.jobs))
    return np.asarray(done < case.jobs.work * (1 - ROOM_RTOL) - ROUNDING_STEPS)


def _late(case: Case, entries: Runs) -> Bools:
    ended = np.zeros(len(case.jobs))
    np.maximum.at(ended, entries.job, entries.step + 1.0)
    return np.asarray(ended > np.ceil(case.jobs.deadline - ROUNDING_STEPS))


def _grams(entries: Runs, came: Places) -> float:
    pue = came.pue if came.pue.ndim == 2 else np.repeat(came.pue[:, np.newaxis], came.steps, axis=1)
    facility = entries.energy_kwh * pue[entries.site, entries.step]
    return float((facility * came.carbon[0, entries.site, entries.step]).sum())


def _known(jobs: Jobs, rate: Floats) -> Bools:
    gaps = np.cumsum(np.isnan(rate), axis=1)
    before = np.concatenate([np.zeros((len(rate), 1), dtype=np.int64), gaps], axis=1)
    first, last = np.floor(jobs.release).astype(np.int64), np.ceil(jobs.deadline).astype(np.int64)
    missing = (before[:, last] - before[:, first]).T
    return np.asarray(~((missing > 0) & jobs.allowed).any(axis=1))


def _home(jobs: Jobs, limit: Floats) -> Ints:
    """Where each runs if nobody plans: its home, or the first site it may run at and that can hold it.

    Raises:
        PlanInfeasible: no site can.
    """
    allowed = jobs.allowed
    if limit.size:
        fits = jobs.work[:, np.newaxis] / jobs.speed <= (jobs.deadline - jobs.release)[:, np.newaxis] + ROUNDING_STEPS
        level = np.where(fits.any(axis=1), np.argmax(fits, axis=1), jobs.speed.shape[1] - 1)
        kw = jobs.power_w[np.arange(len(jobs)), level] / W_PER_KW
        most = np.where(allowed, limit.max(axis=1), 0.0)
        allowed = allowed & (most * (1 + ROOM_RTOL) >= kw[:, np.newaxis])
        for row in np.flatnonzero(~allowed.any(axis=1))[:1]:
            raise PlanInfeasible(
                f"job {jobs.names[row]!r} draws more than any site it may run at can give",
                f"{kw[row] - most[row].max():.3g} kW",
                "Raise the capacity, give it a slower level or more time, or let it run at more sites",
            )
    named = (jobs.home >= 0) & allowed[np.arange(len(jobs)), np.maximum(jobs.home, 0)]
    return np.asarray(np.where(named, jobs.home, np.argmax(allowed, axis=1)))


def _objective(case: Case, entries: Runs) -> Floats:
    """Of every job [currency], entry cost included, shape (J,)."""
    paid = np.bincount(
        entries.job, entries.energy_kwh * case.rate[entries.site, entries.step], minlength=len(case.jobs)
    )
    site = _site(entries, len(case.jobs))
    return np.asarray(paid + case.jobs.entry_cost[np.arange(len(case.jobs)), site])


def _site(entries: Runs, n: int) -> Ints:
    site = np.zeros(n, dtype=np.int64)
    site[entries.job] = entries.site
    return site


def _fared(
    policy: Policy,
    entries: Runs,
    promised: Promised | None,
    case: Case,
    came: Places,
    carbon_price: float,
    base: _Base,
    week_of: Ints,
    seed: int,
) -> Fared:
    jobs, n = case.jobs, len(case.jobs)
    grams = _grams(entries, came)
    each = _objective(case, entries)
    objective = float(each.sum())
    cost = objective - grams / G_PER_TONNE * carbon_price
    weeks = np.bincount(week_of, each, minlength=int(week_of.max()) + 1).astype(np.float64)
    order = np.lexsort((entries.step, entries.job))
    job, step = entries.job[order], entries.step[order]
    pauses = (job[1:] == job[:-1]) & (step[1:] > step[:-1] + 1)
    begun = np.full(n, case.rate.shape[1])
    np.minimum.at(begun, entries.job, entries.step)
    undone = _undone(case, entries)
    late = ~undone & _late(case, entries)
    now = None if undone.any() else base.each
    error, within, noise = None, None, False
    saving = None if now is None else _share(now, each, week_of, seed)
    if saving is not None and saving.low is not None:
        noise = saving.low <= 0
    if promised is not None and now is not None:
        off = promised.saving - ((now if promised.against is None else promised.against) - each)
        error = float(np.sqrt(np.mean(off**2)))
        within = float(np.mean(promised.saving < promised.error)) if promised.error is not None else None
        # Jobs of one week share the weather, so the error of the sum is that of weeks, not of jobs.
        by_week = np.bincount(week_of, off)
        noise = noise or float(now.sum()) - objective <= np.sqrt(float((by_week**2).sum()))
    possible = 0.0 if now is None or base.oracle is None else float(now.sum() - base.oracle.sum())
    pue = came.pue if came.pue.ndim == 2 else np.repeat(came.pue[:, np.newaxis], came.steps, axis=1)
    return Fared(
        policy.name, policy.what, cost, grams, objective, each, weeks, saving,
        saving_cost=None if now is None else _part(base.cost, cost),
        saving_carbon=None if now is None else _part(base.grams, grams),
        of_oracle=(float(now.sum()) - objective) / possible if now is not None and possible > 0 else None,
        regret=None if base.oracle is None or undone.any() else objective - float(base.oracle.sum()),
        late=int(jobs.count[late].sum()), undone=int(jobs.count[undone].sum()), begun_at=begun, site=_site(entries, n),
        pauses=int(jobs.count[job[1:][pauses]].sum()),
        hourly_kwh=np.bincount(
            entries.step, entries.energy_kwh * pue[entries.site, entries.step], minlength=came.steps
        ).astype(np.float64),
        error=error, within_error=within, noise=bool(noise),
    )  # fmt: skip


def _part(base: float, value: float) -> float:
    return (base - value) / abs(base) if base else 0.0


def _share(now: Floats, each: Floats, week_of: Ints, seed: int) -> Share:
    base, came = np.bincount(week_of, now), np.bincount(week_of, each)
    value = _part(float(base.sum()), float(came.sum()))
    filled = np.unique(week_of)
    if len(filled) < FEWEST_WEEKS:
        return Share(value, None, None)
    drawn = np.random.default_rng(seed).choice(filled, (RESAMPLES, len(filled)))
    sums = base[drawn].sum(axis=1)
    saved = (sums - came[drawn].sum(axis=1)) / np.where(sums == 0, 1.0, np.abs(sums))
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(saved, [tail, 1 - tail])
    return Share(value, float(low), float(high))
