"""What a plan is held against: policies that look at no hour, within the same capacity."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from outweigh.plan.kernels import Windows, contiguous_use, now
from outweigh.plan.offers import W_PER_KW, starting_now
from outweigh.plan.problem import G_PER_TONNE, ROUNDING_STEPS, Floats, Ints, Jobs, Places
from outweigh.plan.shared.packing import ROOM_RTOL
from outweigh.plan.shared.schedule import Outcome, Runs


class Placed(NamedTuple):
    """Runs, and how many jobs found no room in time."""

    runs: Runs
    late: int


def homes(jobs: Jobs) -> Ints:
    """Where each job runs if nobody plans: its home, else the first site where it may run; shape (J,)."""
    each = np.arange(len(jobs))
    first = np.argmax(jobs.allowed, axis=1)
    named = np.where(jobs.home >= 0, jobs.home, first)
    return np.where(jobs.allowed[each, named], named, first)


class Constant(NamedTuple):
    """A policy that looks at no hour: the sites in this order, everything so many hours later than it could start."""

    name: str
    order: Ints
    home_first: bool
    delay_h: int


def constants(jobs: Jobs, rate: Floats, step_h: float, names: tuple[str, ...]) -> list[Constant]:
    """Always at home, or always at one site, at once or up to 23 h later; the cheapest first.

    By what they come to with room for all, moved data included; of equal ones the earlier. Jobs that may not run at a
    site go where the mean rate is lowest.

    Args:
        rate: cost of IT energy [currency/kWh], shape (S, T).
        names: of the sites.
    """
    level = _slowest(jobs)
    each = np.arange(len(jobs))
    length, kwh = jobs.work / jobs.speed[each, level], jobs.power_w[each, level] / W_PER_KW * step_h
    mean = np.nan_to_num(rate, nan=np.inf).mean(axis=1)
    by_mean = np.argsort(mean, kind="stable")
    orders = [("always at home", by_mean, homes(jobs))]
    for site, name in enumerate(names):
        order = np.concatenate([[site], by_mean[by_mean != site]])
        orders.append((f"always at {name}", order, order[np.argmax(jobs.allowed[:, order], axis=1)]))
    found: list[tuple[float, Constant]] = []
    for number, (name, order, where) in enumerate(orders):
        for hours in range(24):
            begin = np.clip(
                jobs.release + hours / step_h, jobs.release, np.maximum(jobs.deadline - length, jobs.release)
            )
            paid = now(rate, Windows(where, begin, jobs.deadline, length)) * kwh + jobs.entry_cost[each, where]
            words = f"{name}, {f'{hours} h later' if hours else 'at once'}"
            found.append((float(paid @ jobs.count), Constant(words, order, not number, hours)))
    # Sums in another order are off in their last digits: nobody waits, or moves, for those.
    unit = max(abs(cost) for cost, _ in found) or 1.0
    return [one for _, one in sorted(found, key=lambda each: round(each[0] / unit, 9))]


def _slowest(jobs: Jobs) -> Ints:
    """The slowest level that is in time, shape (J,)."""
    fits = jobs.work[:, np.newaxis] / jobs.speed <= (jobs.deadline - jobs.release)[:, np.newaxis] + ROUNDING_STEPS
    return np.asarray(np.argmax(fits, axis=1))


def first_come(
    jobs: Jobs, limit: Floats, units_per_kw: Floats, step_h: float, order: Ints, *, home_first: bool, delay: float = 0.0
) -> Placed:
    """Jobs in the order of release, each as early as there is room, at the first site of the order that has any.

    Each runs through, at its slowest level that is in time.

    Args:
        limit: units of capacity, shape (S, T).
        units_per_kw: of each job, shape (J,).
        order: of the sites, shape (S,).
        home_first: whether a job looks at home before it follows the order.
        delay: steps that all wait first, as far as their deadline allows.
    """
    free = limit * (1 + ROOM_RTOL)
    steps = limit.shape[1]
    home = homes(jobs)
    level = _slowest(jobs)
    each = np.arange(len(jobs))
    length, kw = jobs.work / jobs.speed[each, level], jobs.power_w[each, level] / W_PER_KW
    found: list[tuple[int, int, int, float]] = []
    late = 0
    for row in np.lexsort((each, jobs.release)).tolist():
        run, need = float(length[row]), float(kw[row] * units_per_kw[row])
        latest = max(float(jobs.deadline[row]) - run, float(jobs.release[row]))
        begin = min(float(jobs.release[row]) + delay, latest)
        starts = np.unique(np.clip(np.append(begin, np.arange(np.ceil(begin), latest + 1)), begin, latest))
        sites = order[jobs.allowed[row, order]]
        if home_first:
            sites = np.concatenate([[home[row]], sites[sites != home[row]]])
        left = int(jobs.count[row])
        first = np.floor(starts).astype(np.int64)
        last = np.minimum(np.ceil(starts + run - ROUNDING_STEPS).astype(np.int64), steps)
        for site in sites.tolist():
            if not left:
                break
            room = free[site]
            full = np.concatenate([[0], np.cumsum(room < need)])
            for at in np.flatnonzero(full[last] == full[first]).tolist():
                here = slice(int(first[at]), int(last[at]))
                most = float(room[here].min()) / need if need else float(left)
                many = left if most >= left else int(most)  # a site without a limit has room for any number
                if many <= 0:
                    continue
                share = np.minimum(np.arange(here.start, here.stop) + 1, starts[at] + run) - np.maximum(
                    np.arange(here.start, here.stop), starts[at]
                )
                room[here] -= share * (need * many)
                found.append((row, site, many, float(starts[at])))
                left -= many
                if not left:
                    break
        late += left
    return Placed(_runs(found, length, jobs.speed[each, level], kw * step_h), late)


def _runs(found: list[tuple[int, int, int, float]], length: Floats, speed: Floats, kwh_per_step: Floats) -> Runs:
    job, site, count = (np.array([line[i] for line in found], dtype=np.int64) for i in range(3))
    start = np.array([line[3] for line in found], dtype=np.float64)
    use = contiguous_use(Windows(site, start, start + length[job], length[job]), start)
    offset = np.concatenate([[0], np.cumsum(np.bincount(use.row, minlength=len(job)))])
    return Runs(
        job, site, count, start, start + length[job], offset, use.step, use.work * speed[job[use.row]],
        use.draw * kwh_per_step[job[use.row]],
    )  # fmt: skip


def alone(jobs: Jobs, places: Places, carbon_price: float) -> Outcome:
    """Start now, here, as if there were room for all."""
    each, home = np.arange(len(jobs)), homes(jobs)
    cost = starting_now(jobs, places.rate(0.0), places.step_h)[each, home]
    # At 1 a gram what is added to the cost is the carbon.
    both = starting_now(jobs, places.rate(G_PER_TONNE), places.step_h)[each, home]
    money, grams = float(cost @ jobs.count), float((both - cost) @ jobs.count)
    return Outcome("start now, here, with room for all", money, grams, money + grams / G_PER_TONNE * carbon_price)
