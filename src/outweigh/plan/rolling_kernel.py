"""The rest of a run that has begun and whose pauses cost: go on, or pause and resume later."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np

from outweigh.plan.kernels import Windows, check
from outweigh.plan.problem import ROUNDING_STEPS, Bools, Floats, Ints


@dataclass(frozen=True, slots=True, eq=False)
class Rest:
    """N rows, W steps from the release of each.

    Attributes:
        cost: at unit power, shape (N,); inf where it cannot be done in time.
        works, restores: in which steps it runs with and without progress, shape (N, W).
        resumes: in which steps a resumption begins, shape (N, W).
    """

    cost: Floats
    works: Bools
    restores: Bools
    resumes: Bools


def continuing(rate: Floats, rows: Windows, lost: Floats | Ints, extra: Floats, running: Bools) -> Rest:
    """The cheapest way to finish runs that have begun, exactly.

    As `kernels.resuming`, but for what has begun: going on at once is free for a row that is running, and every other
    way on costs a resumption, the first one too. A dynamic programme over steps and work left, backwards, so that the
    decisions read forwards.

    Args:
        rate: cost of a step at unit power, shape (S, T); negative allowed.
        rows: what is left of each, whole steps; shape (N,).
        lost: steps run without progress at every resumption, >= 0, shape (N,). A fraction begins within a step.
        extra: steps at unit power that a resumption draws on top, at the rate of its first step, >= 0, shape (N,).
        running: whether the row ran in the step before its release, shape (N,).

    Raises: see `kernels.check`, but for rows longer than their window: those cost inf.

    >>> rate, one = np.array([[1.0, 9.0, 1.0, 1.0]]), np.ones(2, dtype=np.int64)
    >>> rows = Windows.of(0, 0, [4, 4], 2)
    >>> continuing(rate, rows, one, np.zeros(2), np.array([True, False])).cost
    array([ 3., 11.])
    """
    check(rate, Windows(rows.site, rows.release, rows.deadline, np.minimum(rows.work, rows.deadline - rows.release)))
    width = (rows.deadline - rows.release).astype(np.int64)
    shape = (len(rows), int(width.max(initial=0)))
    found = Rest(np.full(len(rows), np.inf), *np.zeros((3, *shape), dtype=np.bool_))
    steps = np.ceil(lost - ROUNDING_STEPS).astype(np.int64)
    # What the first step of a resumption draws beyond or below a whole one: of a fraction it is only the end.
    first = extra + np.where(steps > 0, np.minimum(lost - steps, 0.0), 0.0)
    for each in np.unique(steps).tolist():
        lot = np.flatnonzero(steps == each)
        _solve(rate, rows.take(lot), each, first[lot], running[lot], found, lot)
    return found


def _solve(rate: Floats, rows: Windows, lost: int, beyond: Floats, running: Bools, found: Rest, lot: Ints) -> None:
    first = rows.release.astype(np.int64)
    width = (rows.deadline - rows.release).astype(np.int64)
    work = rows.work.astype(np.int64)
    steps, most = int(width.max()), int(work.max())
    offset = np.arange(steps)
    price = rate[rows.site[:, np.newaxis], first[:, np.newaxis] + np.minimum(offset, width[:, np.newaxis] - 1)]
    price = np.where(offset < width[:, np.newaxis], price, np.inf)

    done = np.full((len(rows), most + 1), np.inf)
    done[:, 0] = 0.0
    # on[j], off[j]: least cost from step t + 1 + j on, if the run is on, or paused.
    on, off = deque([done]), done
    goes, resumes = np.zeros((2, steps, *done.shape), dtype=np.bool_)
    for t in range(steps - 1, -1, -1):
        waits = off
        off = waits
        if t + lost < steps:
            restore = beyond * np.where(np.isinf(price[:, t]), 0.0, price[:, t]) + price[:, t : t + lost + 1].sum(
                axis=1
            )
            resumed = restore[:, np.newaxis] + on[lost][:, :-1]
            resumes[t, :, 1:] = resumed < waits[:, 1:]
            off = waits.copy()
            off[:, 1:] = np.minimum(waits[:, 1:], resumed)
        went = price[:, t, np.newaxis] + on[0][:, :-1]
        # What is on cannot resume: to pause it must rest for a step at least.
        goes[t, :, 1:] = went <= waits[:, 1:]
        best = waits.copy()
        best[:, 1:] = np.minimum(waits[:, 1:], went)
        on.appendleft(best)
        if len(on) > lost + 1:
            on.pop()
    each = np.arange(len(rows))
    found.cost[lot] = np.where(running, on[0][each, work], off[each, work])

    left, is_on = work.copy(), running.copy()
    restoring = np.full(len(rows), -1)  # steps of a restoration still to come; -1 is none
    for t in range(steps):
        idle = restoring < 0
        go = idle & is_on & goes[t, each, left]
        wake = idle & ~is_on & resumes[t, each, left]
        found.resumes[lot, t] = wake
        restoring[wake] = lost
        restores = restoring > 0
        works = go | (restoring == 0)
        found.restores[lot, t], found.works[lot, t] = restores, works
        left[works] -= 1
        is_on = works
        restoring[restoring >= 0] -= 1
