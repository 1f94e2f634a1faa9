"""What every job would cost at every site if it were alone: the kernels, chosen by what the job can do.

This is the pricing step of anything that shares capacity: give it rates with the price of the capacity in them, and it
says which run of which job is the cheapest, exactly.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from outweigh.core.errors import InvalidQuantity
from outweigh.plan.kernels import (
    Use,
    Windows,
    check,
    contiguous,
    contiguous_use,
    elastic,
    elastic_use,
    now,
    resuming,
    resuming_use,
)
from outweigh.plan.problem import ROUNDING_STEPS, Bools, Floats, Ints, Jobs

W_PER_KW = 1e3


class How(IntEnum):
    """Which kernel a run came from."""

    THROUGH = 0  # one run at one level
    PAUSING = 1  # one level, pauses that cost
    ELASTIC = 2  # any level in any step, pauses that cost nothing


@dataclass(frozen=True, slots=True, eq=False)
class Offers:
    """The cheapest run of every job at every site, alone. All shape (J, S).

    Attributes:
        cost: [currency], of one job of the row, entry cost included; inf where it may not run or cannot be done.
        how: a `How`.
        level: of THROUGH and PAUSING runs; 0 for ELASTIC ones.
    """

    cost: Floats
    how: Ints
    level: Ints

    @property
    def site(self) -> Ints:
        """The cheapest site of every job, the first of equals, shape (J,)."""
        return np.asarray(np.argmin(self.cost, axis=1))


@dataclass(frozen=True, slots=True, eq=False)
class Runs:
    """What runs where and when: M entries in the order of jobs, then steps. All shape (M,).

    Attributes:
        job: row of `Jobs`.
        site, step: where and when.
        work: done there [steps at speed 1], of one job of the row.
        energy_kwh: IT energy [kWh], of one job of the row.
    """

    job: Ints
    site: Ints
    step: Ints
    work: Floats
    energy_kwh: Floats


def offers(jobs: Jobs, rate: Floats, step_h: float) -> Offers:
    """The cheapest run of every job at every site.

    - Not preemptible: one run at one level, the cheapest of the levels (`contiguous`).
    - Preemptible, resumptions free: any level in any step (`elastic`; with one level that is `interruptible`).
    - Preemptible, resumptions not free: one level, pauses where they pay (`resuming`), or none (`contiguous`). Pauses
      are at whole steps: the window is rounded inwards and the work up for them, the run without a pause keeps its
      fractions. Restoring takes the time it takes, and ends where a step does.

    Args:
        rate: cost of IT energy [currency/kWh], shape (S, T), negative allowed: `Places.rate`, plus what the capacity
            of a step is worth.
        step_h: length of a step [h], > 0.

    Raises:
        GapsTooLarge: a gap in the rate within the window of a job that may run there.
        InvalidQuantity, PlanInfeasible: see `kernels.check`.
    """
    job, site = np.nonzero(jobs.allowed)
    cost, how, level = _best(jobs, rate, step_h, job, site)
    shape = jobs.allowed.shape
    table = Offers(np.full(shape, np.inf), np.zeros(shape, np.int64), np.zeros(shape, np.int64))
    table.cost[job, site], table.how[job, site], table.level[job, site] = cost, how, level
    return table


def runs(jobs: Jobs, rate: Floats, step_h: float, found: Offers, site: Ints) -> Runs:
    """The runs behind `offers(jobs, rate, step_h)` with every job at `site`, shape (J,).

    Raises:
        InvalidQuantity: a job at a site where it may not run.
    """
    each = np.arange(len(jobs))
    shut = np.flatnonzero(~jobs.allowed[each, site])
    if shut.size:
        raise InvalidQuantity("site", str(site[shut[0]]), f"job {jobs.names[shut[0]]!r} may not run there")
    how, level = found.how[each, site], found.level[each, site]
    parts: list[Runs] = []

    def add(rows: Ints, use: Use, kw: Floats) -> None:
        job = rows[use.row]
        parts.append(Runs(job, site[job], use.step, use.work * jobs.speed[job, level[job]], use.draw * kw[use.row]))

    for kind, one in np.unique(np.stack([how, level]), axis=1).T.tolist():
        rows = np.flatnonzero((how == kind) & (level == one))
        window, kw = _window(jobs, rows, site[rows], one), jobs.power_w[rows, one] / W_PER_KW * step_h
        if kind == How.ELASTIC:
            use = elastic_use(rate, _window(jobs, rows, site[rows], None), jobs.speed[rows], jobs.power_w[rows])
            job = rows[use.row]
            parts.append(Runs(job, site[job], use.step, use.work, use.draw * (step_h / W_PER_KW)))
        elif kind == How.PAUSING:
            inner = _inwards(window)
            add(rows, resuming_use(rate, inner, *_resumption(jobs, rows, kw)), kw)
        else:
            add(rows, contiguous_use(window, contiguous(rate, window).start), kw)
    if not parts:
        nothing = np.empty(0, np.int64)
        return Runs(nothing, nothing, nothing, np.empty(0), np.empty(0))
    names = ("job", "site", "step", "work", "energy_kwh")
    columns = {name: np.concatenate([getattr(part, name) for part in parts]) for name in names}
    order = np.lexsort((columns["step"], columns["job"]))
    return Runs(**{name: column[order] for name, column in columns.items()})


def starting_now(jobs: Jobs, rate: Floats, step_h: float) -> Floats:
    """Cost [currency] of every job at every site if it starts at its release and runs through, shape (J, S).

    At the slowest level that meets the deadline. Entry cost included; inf where it may not run.
    """
    job, site = np.nonzero(jobs.allowed)
    fits = jobs.work[:, np.newaxis] / jobs.speed <= (jobs.deadline - jobs.release)[:, np.newaxis] + ROUNDING_STEPS
    level = np.argmax(fits, axis=1)[job]
    power = jobs.power_w[job, level] / W_PER_KW * step_h
    length = jobs.work[job] / jobs.speed[job, level]
    cost = np.full(jobs.allowed.shape, np.inf)
    window = Windows(site, jobs.release[job], jobs.deadline[job], length)
    cost[job, site] = now(rate, window) * power + jobs.entry_cost[job, site]
    return cost


def _best(jobs: Jobs, rate: Floats, step_h: float, job: Ints, site: Ints) -> tuple[Floats, Ints, Ints]:
    if not 0 < step_h < np.inf:
        raise InvalidQuantity("step", f"{step_h} h", "give a length above 0")
    cost, how, level = np.full(len(job), np.inf), np.zeros(len(job), np.int64), np.zeros(len(job), np.int64)

    def keep(rows: Ints, offered: Floats, kind: How, one: int) -> None:
        better = rows[offered < cost[rows]]
        cost[better] = offered[offered < cost[rows]]
        how[better], level[better] = kind, one

    free = (jobs.resume_steps == 0) & (jobs.resume_kwh == 0)
    flexible = np.flatnonzero((jobs.preemptible & free)[job])
    if flexible.size:
        these = job[flexible]
        window = _window(jobs, these, site[flexible], None)
        price = elastic(rate, window, jobs.speed[these], jobs.power_w[these])
        keep(flexible, price * (step_h / W_PER_KW), How.ELASTIC, 0)
    rigid = np.flatnonzero(~(jobs.preemptible & free)[job])
    for one in range(jobs.speed.shape[1]):
        rows = rigid[_worth(jobs, one)[job[rigid]]]
        if not rows.size:
            continue
        window = _window(jobs, job[rows], site[rows], one)
        kw = jobs.power_w[job[rows], one] / W_PER_KW * step_h
        keep(rows, contiguous(rate, window).cost * kw, How.THROUGH, one)
        inner = _inwards(window)
        can = np.flatnonzero(jobs.preemptible[job[rows]] & (inner.work <= inner.deadline - inner.release))
        if can.size:
            lost = _resumption(jobs, job[rows[can]], kw[can])
            keep(rows[can], resuming(rate, inner.take(can), *lost) * kw[can], How.PAUSING, one)
    if np.isinf(cost).any():
        # Says which row, and by how much it is too long.
        stuck = np.flatnonzero(np.isinf(cost))
        check(rate, _window(jobs, job[stuck], site[stuck], jobs.speed.shape[1] - 1))
    return cost + jobs.entry_cost[job, site], how, level


def _worth(jobs: Jobs, level: int) -> Bools:
    """Jobs for which this level is one of their own and fast enough, shape (J,)."""
    own = jobs.speed[:, level] > jobs.speed[:, level - 1] if level else np.ones(len(jobs), dtype=np.bool_)
    fits = jobs.work / jobs.speed[:, level] <= jobs.deadline - jobs.release + ROUNDING_STEPS
    return np.asarray(own & fits)


def _window(jobs: Jobs, job: Ints, site: Ints, level: int | None) -> Windows:
    """Windows with the work as time at `level`; None leaves it as work at speed 1."""
    speed = 1.0 if level is None else jobs.speed[job, level]
    length = jobs.work[job] / speed
    nearest = np.round(length)
    length = np.where((nearest > 0) & (abs(length - nearest) < ROUNDING_STEPS), nearest, length)
    return Windows(site, jobs.release[job], jobs.deadline[job], length)


def _inwards(window: Windows) -> Windows:
    """Whole steps that fit in the window, and the work rounded up to them."""
    return Windows(window.site, np.ceil(window.release), np.floor(window.deadline), np.ceil(window.work))


def _resumption(jobs: Jobs, job: Ints, kwh_per_step: Floats) -> tuple[Floats, float, Floats]:
    """What `resuming` takes: steps lost, no fee, and the extra draw in steps at the power of the level."""
    drawn = np.where(kwh_per_step > 0, kwh_per_step, 1.0)
    return jobs.resume_steps[job], 0.0, jobs.resume_kwh[job] / drawn
