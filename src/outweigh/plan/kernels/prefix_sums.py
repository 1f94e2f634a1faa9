"""One run without a pause: the cheapest start, from prefix sums."""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np

from outweigh.plan.kernels.windows import Use, Windows, alike, check
from outweigh.plan.problem import Floats, Ints

# Of sums, as a share of them: the last digits of a few thousand steps added up.
_ROUNDING: Final = 1e-14


class Starts(NamedTuple):
    """Cheapest starts [steps], the earliest of equals, and what they cost at unit power; both shape (N,)."""

    cost: Floats
    start: Floats


def contiguous(rate: Floats, rows: Windows) -> Starts:
    """Cheapest uninterrupted run of every row.

    With F the integral of the rate, a run costs F(start + work) - F(start): one subtraction. That is piecewise linear
    in the start, and bends only where the start or the end crosses an edge between steps, so the optimum over all
    starts, not only those at edges, is at an edge, at the release or at the deadline.

    Args:
        rate: cost of a step at unit power, shape (S, T); negative allowed.
        rows: shape (N,).

    Raises: see `windows.check`.

    >>> rate = np.array([[3.0, 1.0, 2.0, 5.0]])
    >>> contiguous(rate, Windows.of(0, 0, [4, 4, 3.5], [2, 1.5, 0.5]))
    Starts(cost=array([3. , 2. , 0.5]), start=array([1., 1., 1.]))
    """
    check(rate, rows)
    sums = _integral(rate)
    best = Starts(np.full(len(rows), np.inf), np.zeros(len(rows)))
    whole = rows.whole
    if whole.any():
        index = np.flatnonzero(whole)
        _keep(best, index, *_whole(sums, rows.take(index)))
    if not whole.all():
        index = np.flatnonzero(~whole)
        _fractional(rate, sums, rows.take(index), best, index)
    # Equal costs differ in the last digits of the sums: nobody waits for those.
    until = _at(sums, rows.site, np.minimum(rows.release + rows.work, rate.shape[1]))
    at_once = until - _at(sums, rows.site, rows.release)
    rounding = _ROUNDING * (np.abs(at_once) + np.abs(until))
    same = at_once - best.cost <= rounding
    best.start[same] = rows.release[same]
    return best


def now(rate: Floats, rows: Windows) -> Floats:
    """Cost of starting at the release and running through, at unit power, shape (N,): what a plan is held against.

    >>> now(np.array([[3.0, 1.0, 2.0]]), Windows.of(0, [0, 0.5], 3, 2))
    array([4. , 3.5])
    """
    check(rate, rows)
    return _run_cost(rate, _integral(rate), rows.site, rows.release, rows.release + rows.work)


def contiguous_use(rows: Windows, start: Floats) -> Use:
    """What runs from `start` [steps], shape (N,), take in every step."""
    end = start + rows.work
    first, last = np.floor(start).astype(np.int64), np.ceil(end).astype(np.int64)
    count = last - first
    row = np.repeat(np.arange(len(rows)), count)
    step = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count) + first[row]
    share = np.minimum(step + 1, end[row]) - np.maximum(step, start[row])
    return Use(row, step, share, share)


def _integral(rate: Floats) -> Floats:
    """Shape (S, T + 2): cost of the steps before each edge. Unknown steps count nothing, as no window holds one."""
    sums = np.zeros((rate.shape[0], rate.shape[1] + 2))
    np.cumsum(np.nan_to_num(rate), axis=1, out=sums[:, 1:-1])
    sums[:, -1] = sums[:, -2]  # so that the edge at the end has a right neighbour, too
    return sums


def _at(sums: Floats, site: Ints, time: Floats) -> Floats:
    edge = time.astype(np.int64)  # not negative, so this is its floor
    index = site * sums.shape[1] + edge
    left, within = sums.take(index), time - edge
    return np.asarray(left + within * (sums.take(index + 1) - left) if within.any() else left)


def _run_cost(rate: Floats, sums: Floats, site: Ints, start: Floats, end: Floats) -> Floats:
    end = np.minimum(end, rate.shape[1])
    return _at(sums, site, end) - _at(sums, site, start)


def _keep(best: Starts, index: Ints, cost: Floats, start: Floats) -> None:
    better = (cost < best.cost[index]) | ((cost == best.cost[index]) & (start < best.start[index]))
    best.cost[index[better]] = cost[better]
    best.start[index[better]] = start[better]


def _whole(sums: Floats, rows: Windows) -> tuple[Floats, Floats]:
    """Whole steps only: the best of the starts at edges, each row over its own range."""
    work = rows.work.astype(np.int64)
    first = rows.release.astype(np.int64)
    choices = (rows.deadline - rows.work).astype(np.int64) - first + 1
    kinds, kind = np.unique(rows.site * sums.shape[1] + work, return_inverse=True)
    levels = int(choices.max()).bit_length()
    # Both are exact; a table over all starts pays when many rows share site and work.
    if len(kinds) * sums.shape[1] * levels < int(choices.sum()):
        return _by_table(sums, kinds, kind, first, choices)
    cost, start = np.empty(len(rows)), np.empty(len(rows))
    for lot in alike(choices):
        offered = first[lot, np.newaxis] + np.minimum(np.arange(choices[lot].max()), choices[lot, np.newaxis] - 1)
        site = rows.site[lot, np.newaxis]
        each = sums[site, offered + work[lot, np.newaxis]] - sums[site, offered]
        chosen = np.argmin(each, axis=1)
        inside = np.arange(len(lot))
        cost[lot], start[lot] = each[inside, chosen], offered[inside, chosen]
    return cost, start


def _by_table(sums: Floats, kinds: Ints, kind: Ints, first: Ints, choices: Ints) -> tuple[Floats, Floats]:
    """Range minima by doubling: level k holds the cheapest of 2^k starts, and two of them cover any range.

    `kinds` are site x number of edges + work, and `kind` says which of them each row is.

    Source: Bender and Farach-Colton, The LCA problem revisited, LATIN 2000, section 3 (sparse table).
    """
    cost, start = np.empty(len(kind)), np.empty(len(kind))
    level_of = np.frexp(choices)[1] - 1  # floor of log2, exact
    order = np.argsort(kind, kind="stable")
    ends = np.cumsum(np.bincount(kind, minlength=len(kinds)))
    for key, lot in zip(kinds.tolist(), np.split(order, ends[:-1]), strict=True):
        site, work = divmod(key, sums.shape[1])
        value = sums[site, work:-1] - sums[site, : sums.shape[1] - 1 - work]
        where = np.arange(len(value))
        for level in range(int(level_of[lot].max()) + 1):
            rows = lot[level_of[lot] == level]
            left, right = first[rows], first[rows] + choices[rows] - (1 << level)
            take_right = value[right] < value[left]
            cost[rows] = np.where(take_right, value[right], value[left])
            start[rows] = np.where(take_right, where[right], where[left])
            half = 1 << level
            if half >= len(value):
                break
            take_right = value[half:] < value[:-half]
            where = np.where(take_right, where[half:], where[:-half])
            value = np.where(take_right, value[half:], value[:-half])
    return cost, start


def _fractional(rate: Floats, sums: Floats, rows: Windows, best: Starts, index: Ints) -> None:
    latest = np.maximum(rows.deadline - rows.work, rows.release)
    for start in (rows.release, latest):
        _keep(best, index, _run_cost(rate, sums, rows.site, start, start + rows.work), start)
    for ends in (False, True):
        low = np.ceil(rows.release + rows.work * ends).astype(np.int64)
        high = np.floor(latest + rows.work * ends).astype(np.int64)
        some = np.flatnonzero(high >= low)
        if not some.size:
            continue
        choices = high[some] - low[some] + 1
        for lot in alike(choices):
            these = some[lot]
            offered = np.minimum(np.arange(choices[lot].max()), choices[lot, np.newaxis] - 1) + low[these, np.newaxis]
            # An end at an edge may come from a start a rounding before the release.
            start = np.maximum(offered - ends * rows.work[these, np.newaxis], rows.release[these, np.newaxis])
            each = _run_cost(rate, sums, rows.site[these, np.newaxis], start, start + rows.work[these, np.newaxis])
            chosen = np.argmin(each, axis=1)
            inside = np.arange(len(lot))
            _keep(best, index[these], each[inside, chosen], start[inside, chosen])
