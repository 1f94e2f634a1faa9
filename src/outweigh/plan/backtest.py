"""A stretch of history planned again with what was known at each decision, policy by policy, charged by what came."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from outweigh.core.errors import GapsTooLarge, InvalidQuantity
from outweigh.plan.backtest_policies import ORACLE, START_NOW, Case, Policy, Promised
from outweigh.plan.offers import Runs
from outweigh.plan.problem import G_PER_TONNE, ROUNDING_STEPS, Bools, Floats, Ints, Jobs, Places

WEEK_S: Final = 7 * 86400.0
#: Resamples of the weeks, and the confidence of the interval they give.
RESAMPLES, CONFIDENCE = 2000, 0.95
#: Below so many weeks an interval over weeks would be made up.
FEWEST_WEEKS = 4


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
        saving: of the objective against starting now. saving_cost, saving_carbon: of its two parts.
        of_oracle: share of the oracle's saving; None where there was nothing to save.
        regret: what it cost beyond the oracle [currency].
        late: jobs not done in time. begun_at: step each began in, shape (J,). site: of each, shape (J,).
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
    saving: Share
    saving_cost: float
    saving_carbon: float
    of_oracle: float | None
    regret: float
    late: int
    begun_at: Ints
    site: Ints
    pauses: int
    hourly_kwh: Floats
    error: float | None
    within_error: float | None
    noise: bool


@dataclass(frozen=True, slots=True, eq=False)
class Backtest:
    """Policies side by side over the same jobs.

    Attributes:
        fared: in the order asked, starting now first and the oracle last.
        jobs: those that were played. left_out: names of those whose window holds a gap in what came.
        week_of: week each job was released in, shape (J,); weeks are counted from the first step.
    """

    fared: tuple[Fared, ...]
    jobs: Jobs
    left_out: tuple[str, ...]
    week_of: Ints

    def of(self, name: str) -> Fared:
        return next(one for one in self.fared if one.name == name)


def backtest(
    jobs: Jobs,
    came: Places,
    policies: Sequence[Policy],
    *,
    carbon_price_per_tonne: float,
    seed: int = 0,
) -> Backtest:
    """Play all policies over the same jobs and the same history.

    Args:
        jobs: rows on the steps of `came`. Releases within a step count at its end, for every policy.
        came: what came, one scenario; NaN where it is not known. Jobs whose window holds such a step are left out, as
            nobody can say what they would have cost.
        policies: beside starting now and the oracle, which are always played.
        seed: of the resampling of weeks.

    The saving's interval resamples whole weeks (moving them whole keeps what days of one week share): percentile
    bootstrap over blocks, Kuensch, Annals of Statistics 17(3), 1989; Efron and Tibshirani, An Introduction to the
    Bootstrap, 1993, section 13.3.

    Raises:
        InvalidQuantity: several scenarios of what came.
        GapsTooLarge: no job is left.
        PlanInfeasible: a job longer than its window.
    """
    if len(came.price) != 1:
        raise InvalidQuantity("what came", f"{len(came.price)} scenarios", "history is one")
    rate = came.rate(carbon_price_per_tonne)
    jobs = replace(jobs, release=np.ceil(jobs.release - ROUNDING_STEPS))
    known = _known(jobs, rate)
    left_out = tuple(name for name, kept in zip(jobs.names, known, strict=True) if not kept)
    jobs = jobs.take(known)
    if not len(jobs):
        raise GapsTooLarge("what came", "the windows of the jobs", 100, "Take a stretch that is covered")
    case = Case(jobs, rate, came.step_h, _home(jobs))
    week_of = (jobs.release * came.step_s // WEEK_S).astype(np.int64)
    played = []
    for policy in (START_NOW, *policies, ORACLE):
        kept, promised = policy.play(case)
        played.append((policy, kept, promised))
    now = _objective(case, played[0][1])
    best = _objective(case, played[-1][1])
    fared = tuple(
        _fared(policy, entries, promised, case, came, carbon_price_per_tonne, now, best, week_of, seed)
        for policy, entries, promised in played
    )
    return Backtest(fared, jobs, left_out, week_of)


def _known(jobs: Jobs, rate: Floats) -> Bools:
    gaps = np.cumsum(np.isnan(rate), axis=1)
    before = np.concatenate([np.zeros((len(rate), 1), dtype=np.int64), gaps], axis=1)
    first, last = np.floor(jobs.release).astype(np.int64), np.ceil(jobs.deadline).astype(np.int64)
    missing = (before[:, last] - before[:, first]).T
    return np.asarray(~((missing > 0) & jobs.allowed).any(axis=1))


def _home(jobs: Jobs) -> Ints:
    """Where each runs if nobody plans: its home, or the first site it may run at."""
    named = (jobs.home >= 0) & jobs.allowed[np.arange(len(jobs)), np.maximum(jobs.home, 0)]
    return np.asarray(np.where(named, jobs.home, np.argmax(jobs.allowed, axis=1)))


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
    now: Floats,
    best: Floats,
    week_of: Ints,
    seed: int,
) -> Fared:
    jobs, n = case.jobs, len(case.jobs)
    pue = came.pue if came.pue.ndim == 2 else np.repeat(came.pue[:, np.newaxis], came.steps, axis=1)
    facility = entries.energy_kwh * pue[entries.site, entries.step]
    grams = float((facility * came.carbon[0, entries.site, entries.step]).sum())
    each = _objective(case, entries)
    objective = float(each.sum())
    cost = objective - grams / G_PER_TONNE * carbon_price
    base_grams, base_cost = case.of_now(came, carbon_price)
    base, least = float(now.sum()), float(best.sum())
    weeks = np.bincount(week_of, each, minlength=int(week_of.max()) + 1).astype(np.float64)
    saving = _share(now, each, week_of, seed)
    order = np.lexsort((entries.step, entries.job))
    job, step = entries.job[order], entries.step[order]
    pauses = int(np.count_nonzero((job[1:] == job[:-1]) & (step[1:] > step[:-1] + 1)))
    begun = np.full(n, case.rate.shape[1])
    np.minimum.at(begun, entries.job, entries.step)
    ended = np.zeros(n)
    np.maximum.at(ended, entries.job, entries.step + 1.0)
    late = int(np.count_nonzero(ended > np.ceil(jobs.deadline)))
    error, within = None, None
    noise = saving.low is not None and saving.low <= 0
    if promised is not None:
        off = promised.saving - (now - each)
        error = float(np.sqrt(np.mean(off**2)))
        within = float(np.mean(promised.saving < promised.error)) if promised.error is not None else None
        # Jobs of one week share the weather, so the error of the sum is that of weeks, not of jobs.
        by_week = np.bincount(week_of, off)
        noise = noise or base - objective <= np.sqrt(float((by_week**2).sum()))
    possible = base - least
    return Fared(
        policy.name, policy.what, cost, grams, objective, each, weeks, saving,
        saving_cost=_part(base_cost, cost), saving_carbon=_part(base_grams, grams),
        of_oracle=(base - objective) / possible if possible > 0 else None,
        regret=objective - least, late=late, begun_at=begun, site=_site(entries, n), pauses=pauses,
        hourly_kwh=np.bincount(entries.step, facility, minlength=came.steps).astype(np.float64),
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
