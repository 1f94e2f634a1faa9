"""Runs whose speed may change from step to step: work goes where another unit of it is cheapest."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from outweigh.core.errors import InvalidQuantity, PlanInfeasible
from outweigh.plan.kernels.cheapest_steps import interruptible
from outweigh.plan.kernels.windows import Use, Windows, alike, check
from outweigh.plan.problem import ROUNDING_STEPS, Floats, Ints


class Hull(NamedTuple):
    """Levels worth using, from rest upwards. Both shape (H,): what a level adds to the speed and to the power [W]."""

    speed: Floats
    power_w: Floats


def hull(speed: Floats, power_w: Floats, *, dearest: bool = False) -> Hull:
    """The levels on the lower convex hull of power over speed, with rest at (0, 0), as what each adds.

    A level above the hull is never needed: mixing its neighbours within a step does the same work for less. On the hull
    every further unit of work costs at least as much power as the one before, which is what makes greedy exact. Where
    energy is paid for being used (a negative rate) the upper hull takes its place: `dearest`.

    Args:
        speed: relative to speed 1, > 0, increasing (equal ones are one), shape (L,).
        power_w: IT power [W], >= 0, shape (L,).

    Raises:
        InvalidQuantity: no level, speeds that fall, anything negative or not finite.

    Source: Andrew, Information Processing Letters 9(5), 1979, p. 216-219 (monotone chain).

    >>> hull(np.array([1.0, 2.0, 3.0]), np.array([100.0, 250.0, 330.0]))  # the middle one wastes
    Hull(speed=array([1., 2.]), power_w=array([100., 230.]))
    """
    if not speed.size or speed.shape != power_w.shape or speed.ndim != 1:
        raise InvalidQuantity(
            "levels", f"{speed.shape} and {power_w.shape}", "give as many speeds as powers, one or more"
        )
    if not (np.isfinite(speed).all() and np.isfinite(power_w).all() and speed[0] > 0 and (power_w >= 0).all()):
        raise InvalidQuantity("levels", f"{speed.tolist()}, {power_w.tolist()} W", "speeds above 0, powers 0 or more")
    if (np.diff(speed) < 0).any():
        raise InvalidQuantity("levels", str(speed.tolist()), "speeds increase")
    sign = -1.0 if dearest else 1.0
    chain: list[tuple[float, float]] = [(0.0, 0.0)]
    for v, p in zip(speed.tolist(), (sign * power_w).tolist(), strict=True):
        if v == chain[-1][0]:
            if p >= chain[-1][1]:
                continue
            chain.pop()
        while len(chain) > 1:
            (v0, p0), (v1, p1) = chain[-2:]
            if (p1 - p0) * (v - v1) < (p - p1) * (v1 - v0):
                break
            chain.pop()
        chain.append((v, p))
    points = np.array(chain)
    return Hull(np.diff(points[:, 0]), sign * np.diff(points[:, 1]))


def elastic(rate: Floats, rows: Windows, speed: Floats, power_w: Floats) -> Floats:
    """Least cost of every row, shape (N,), if its speed may change from step to step and rest is free.

    Work is bought where another unit of it is cheapest: by rate x marginal power / marginal speed on the hull. That is
    the fractional knapsack again, exact because the marginals of a step come in order. At most one step ends up between
    two levels; there, the lower one runs for a part of it. The idea is that of CarbonScaler (Hanafy et al., Proc. ACM
    Meas. Anal. Comput. Syst. 7(3), 2023, algorithm 1), which takes whole levels, so that its last one can overshoot.

    Args:
        rate: cost of a step at 1 W, shape (S, T); negative allowed.
        rows: shape (N,); `work` in steps at speed 1.
        speed, power_w: levels, shape (L,) for all rows or (N, L); see `hull`.

    Raises:
        PlanInfeasible: a row that even its highest speed cannot finish. More in `windows.check` and `hull`.

    >>> rate = np.array([[1.0, 3.0]])
    >>> elastic(rate, Windows.of(0, 0, 2, [2, 3]), np.array([1.0, 2.0]), np.array([10.0, 24.0]))
    array([24., 54.])
    """
    cost = np.empty(len(rows))
    speeds, powers = _levels(rows, speed, power_w)
    single = (speeds[:, 0] == speeds[:, -1]) & (powers == powers[:, :1]).all(axis=1)
    if single.any():
        # One level: the cheapest steps, without the sorting of levels.
        length = Windows(rows.site, rows.release, rows.deadline, rows.work / speeds[:, 0])
        cost[single] = interruptible(rate, length.take(single)) * powers[single, 0]
    if not single.all():
        index = np.flatnonzero(~single)
        for lot, _, taken, price, _ in _bought(rate, rows.take(index), speeds[index], powers[index]):
            cost[index[lot]] = np.sum(np.where(taken > 0, price, 0.0) * taken, axis=1)
    return cost


def elastic_use(rate: Floats, rows: Windows, speed: Floats, power_w: Floats) -> Use:
    """The steps behind `elastic`: work in each [steps at speed 1] and draw [W x steps]."""
    row: list[Ints] = [np.empty(0, np.int64)]
    step: list[Ints] = [np.empty(0, np.int64)]
    work: list[Floats] = [np.empty(0)]
    draw: list[Floats] = [np.empty(0)]
    for lot, when, taken, _, per_work in _bought(rate, rows, *_levels(rows, speed, power_w), stable=True):
        width = int(when.max()) + 1
        cell = (np.arange(len(lot))[:, np.newaxis] * width + when).ravel()
        done = np.bincount(cell, taken.ravel(), minlength=len(lot) * width).astype(np.float64)
        drawn = np.bincount(cell, (taken * per_work).ravel(), minlength=len(lot) * width).astype(np.float64)
        at, offset = np.divmod(np.flatnonzero(done > 0), width)
        row.append(lot[at])
        step.append(np.floor(rows.release[lot[at]]).astype(np.int64) + offset)
        work.append(done[done > 0])
        draw.append(drawn[done > 0])
    rows_, steps = np.concatenate(row), np.concatenate(step)
    order = np.lexsort((steps, rows_))
    return Use(rows_[order], steps[order], np.concatenate(work)[order], np.concatenate(draw)[order])


class _Bought(NamedTuple):
    """Of a lot of n rows, cheapest first, shape (n, steps x hull): step of the window, work, price and power of it."""

    lot: Ints
    when: Ints
    taken: Floats
    price: Floats
    per_work: Floats


def _levels(rows: Windows, speed: Floats, power_w: Floats) -> tuple[Floats, Floats]:
    """Levels of every row, both shape (N, L)."""
    if (
        not speed.size
        or speed.shape != power_w.shape
        or speed.ndim > 2
        or (speed.ndim == 2 and len(speed) != len(rows))
    ):
        given = f"speeds {speed.shape} and powers {power_w.shape}"
        raise InvalidQuantity("levels", given, f"give both as (L,) or ({len(rows)}, L)")
    shape = (len(rows), speed.shape[-1])
    return np.broadcast_to(speed, shape), np.broadcast_to(power_w, shape)


def _bought(rate: Floats, rows: Windows, speed: Floats, power_w: Floats, *, stable: bool = False) -> Iterator[_Bought]:
    for levels, same in _profiles(speed, power_w):
        one, unit_w = levels[: speed.shape[1]], levels[speed.shape[1] :]
        both = hull(one, unit_w), hull(one, unit_w, dearest=True)
        # Whether a row fits depends on its highest speed, so that is what the common checks are asked.
        alone = rows.take(same)
        check(rate, Windows(alone.site, alone.release, alone.deadline, alone.work / one[-1]))
        first = np.floor(alone.release).astype(np.int64)
        width = np.ceil(alone.deadline).astype(np.int64) - first
        for part in alike(width, per_row=3 * max(len(both[0].speed), len(both[1].speed))):
            lot = same[part]
            yield _buy(rate, rows.take(lot), lot, power_w[lot, 0], both, stable=stable)


def _profiles(speed: Floats, power_w: Floats) -> Iterator[tuple[Floats, Ints]]:
    """The different profiles, with powers as multiples of the first (to 12 digits), and which rows have each."""
    lowest = power_w[:, :1]
    if not (np.isfinite(power_w).all() and (lowest > 0).all()):
        raise InvalidQuantity("power of a level", f"{power_w.min()} W", "give finite numbers above 0")
    profile = np.concatenate([speed, np.round(power_w / lowest, 12)], axis=1)
    if (profile == profile[:1]).all():
        kinds, kind = profile[:1], np.zeros(len(profile), dtype=np.int64)
    else:
        kinds, kind = np.unique(profile, axis=0, return_inverse=True)
    order = np.argsort(kind.reshape(-1), kind="stable")
    ends = np.cumsum(np.bincount(kind.reshape(-1), minlength=len(kinds)))
    yield from zip(kinds, np.split(order, ends[:-1]), strict=True)


def _buy(rate: Floats, rows: Windows, lot: Ints, unit_w: Floats, both: tuple[Hull, Hull], *, stable: bool) -> _Bought:
    first = np.floor(rows.release)[:, np.newaxis]
    widest = int((np.ceil(rows.deadline) - first[:, 0]).max())
    step = first + np.arange(widest)
    room = np.minimum(step + 1, rows.deadline[:, np.newaxis]) - np.maximum(step, rows.release[:, np.newaxis])
    room = np.maximum(room, 0.0)
    price = rate[rows.site[:, np.newaxis], np.minimum(step.astype(np.int64), rate.shape[1] - 1)]
    price = np.where(room > 0, price, 0.0)

    pieces = max(len(one.speed) for one in both)
    speed, per_work = np.zeros((2, pieces)), np.zeros((2, pieces))
    for i, one in enumerate(both):
        speed[i, : len(one.speed)] = one.speed
        per_work[i, : len(one.speed)] = one.power_w / one.speed
    sign = (price < 0).astype(np.int64)
    shape = (len(lot), widest * pieces)
    amount = (room[:, :, np.newaxis] * speed[sign]).reshape(shape)
    watts = (per_work[sign] * unit_w[:, np.newaxis, np.newaxis]).reshape(shape)
    each = np.where(amount > 0, np.repeat(price, pieces, axis=1) * watts, np.inf)

    order = np.argsort(each, axis=1, kind="stable" if stable else None)
    amount = np.take_along_axis(amount, order, axis=1)
    before = np.cumsum(amount, axis=1) - amount
    missing = rows.work - amount.sum(axis=1)
    if (missing > ROUNDING_STEPS * np.maximum(rows.work, 1)).any():
        worst = int(np.argmax(missing))
        raise PlanInfeasible(
            f"row {lot[worst]} is longer than its window at full speed",
            f"{missing[worst]:.6g} steps of work",
            "Give it a later deadline",
        )
    taken = np.clip(rows.work[:, np.newaxis] - before, 0.0, amount)
    return _Bought(
        lot, order // pieces, taken, np.take_along_axis(each, order, axis=1), np.take_along_axis(watts, order, axis=1)
    )
