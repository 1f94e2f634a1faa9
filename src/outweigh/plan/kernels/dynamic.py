"""Runs that may pause, when going on again costs time and money."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from outweigh.core.errors import InvalidQuantity
from outweigh.plan.kernels.windows import Use, Windows, alike, check
from outweigh.plan.problem import ROUNDING_STEPS, Bools, Floats, Ints

# How a run came to its next step.
_WENT_ON, _RESUMED, _STARTED = range(3)


def resuming(
    rate: Floats, rows: Windows, lost: Floats | Ints | float, fee: Floats | float = 0.0, extra: Floats | float = 0.0
) -> Floats:
    """Least cost of every row at unit power, shape (N,), if every resumption takes `lost` steps and costs `fee`.

    A dynamic programme over the steps of the window and the work left. The first start is free; after a pause, `lost`
    steps run without progress, in one piece with the work that follows. Work begins and ends at edges: between them a
    pause could have any length and the states no end. `offers` rounds fractions inwards first. What is lost may be a
    fraction: it begins within a step, so that the work after it begins at an edge.

    Args:
        rate: cost of a step at unit power, shape (S, T); negative allowed.
        rows: shape (N,), whole steps.
        lost: steps run without progress at every resumption, >= 0; one, or shape (N,).
        fee: what a resumption costs beyond those steps, in the unit of `rate`, >= 0; one, or shape (N,).
        extra: steps at unit power that a resumption draws on top, at the rate of its first step, >= 0; as `fee`.

    Raises:
        InvalidQuantity: windows or work in fractions of a step, `lost`, `fee` or `extra` below 0 or not a number. More
            in `windows.check`.

    >>> rate = np.array([[1.0, 5.0, 1.0, 1.0, 1.0]])
    >>> resuming(rate, Windows.of(0, 0, [5, 5, 5], 3), [0, 0, 1], 0.5)
    array([3., 3., 3.])
    >>> resuming(rate, Windows.of(0, 0, [4, 4, 5], 3), [0, 0, 1], [9.0, 0.5, 0.0])
    array([7. , 3.5, 3. ])
    >>> resuming(np.array([[1.0, 5.0, 5.0, 1.0]]), Windows.of(0, 0, 4, 2), [0.2])  # the last 0.2 of the step at 5
    array([3.])
    """
    check(rate, rows)
    cost = np.empty(len(rows))
    for lot, programme in _lots(rate, rows, lost, fee, extra, cells=8):
        cost[lot] = programme.forward(follow=False)
    return cost


def resuming_use(
    rate: Floats, rows: Windows, lost: Floats | Ints | float, fee: Floats | float = 0.0, extra: Floats | float = 0.0
) -> Use:
    """The steps behind `resuming`. Steps that restore draw and do no work; the fees are in no step."""
    check(rate, rows)
    row: list[Ints] = [np.empty(0, np.int64)]
    step: list[Ints] = [np.empty(0, np.int64)]
    work: list[Floats] = [np.empty(0)]
    draw: list[Floats] = [np.empty(0)]
    for lot, programme in _lots(rate, rows, lost, fee, extra, cells=int(rows.work.max(initial=1))):
        programme.forward(follow=True)
        runs, restores, resumes = programme.back()
        at, offset = np.nonzero(runs | restores)
        begins = resumes[at, offset]
        draw.append(np.where(begins, programme.first_share[at] + programme.extra[at], 1.0))
        row.append(lot[at])
        step.append(programme.first[at] + offset)
        work.append(runs[at, offset].astype(np.float64))
    rows_, steps, done = np.concatenate(row), np.concatenate(step), np.concatenate(work)
    order = np.lexsort((steps, rows_))
    return Use(rows_[order], steps[order], done[order], np.concatenate(draw)[order])


def resumptions(rows: Windows, use: Use) -> Ints:
    """How often every row goes on after a pause, shape (N,)."""
    begins = np.ones(len(use.row), dtype=np.bool_)
    begins[1:] = (use.row[1:] != use.row[:-1]) | (use.step[1:] != use.step[:-1] + 1)
    return np.asarray(np.maximum(np.bincount(use.row[begins], minlength=len(rows)) - 1, 0))


def _lots(
    rate: Floats, rows: Windows, lost: object, fee: object, extra: object, cells: int
) -> Iterator[tuple[Ints, _Programme]]:
    """Rows of one loss and of like width, few enough for memory: `cells` numbers for every step of a window."""
    lost_each, fee_each = _one_each(lost, rows, "lost"), _one_each(fee, rows, "fee")
    extra_each = _one_each(extra, rows, "extra")
    if not rows.whole.all():
        raise InvalidQuantity("window", "a fraction of a step", "round inwards, or plan with shorter steps")
    width = (rows.deadline - rows.release).astype(np.int64)
    # A loss that is whole but for a rounding must not take a step more.
    steps_lost = np.ceil(lost_each - ROUNDING_STEPS)
    # The step in which restoring begins draws for what is left of it; where nothing is lost, it is a step of work.
    share = np.where(steps_lost > 0, np.minimum(lost_each - (steps_lost - 1), 1.0), 1.0)
    for loss in np.unique(steps_lost):
        same = np.flatnonzero(steps_lost == loss)
        for part in alike(width[same], per_row=cells):
            lot = same[part]
            yield lot, _Programme(rate, rows.take(lot), int(loss), share[lot], fee_each[lot], extra_each[lot])


def _one_each(value: object, rows: Windows, name: str) -> Floats:
    each = np.broadcast_to(np.asarray(value, dtype=np.float64), (len(rows),))
    if not (np.isfinite(each).all() and (each >= 0).all()):
        raise InvalidQuantity(name, str(value), "give finite numbers, 0 or more")
    return each


class _Programme:
    """The programme over one lot of n rows. States are (n, r): r steps of work left, before each step of the window."""

    def __init__(self, rate: Floats, rows: Windows, lost: int, first_share: Floats, fee: Floats, extra: Floats) -> None:
        self.first = rows.release.astype(np.int64)
        self.width = rows.deadline.astype(np.int64) - self.first
        self.work = rows.work.astype(np.int64)
        self.lost, self.first_share, self.fee, self.extra = lost, first_share, fee, extra
        self.steps = int(self.width.max())
        offsets = np.minimum(np.arange(self.steps), self.width[:, np.newaxis] - 1)
        self.price = rate[rows.site[:, np.newaxis], self.first[:, np.newaxis] + offsets]
        self._came: list[NDArray[np.uint8]] = []  # by step: how the run that does it came there
        self._stopped: list[Bools] = []  # by step: whether the pause that holds it began there
        self._ends_running: Bools = np.empty(0, dtype=np.bool_)

    def forward(self, *, follow: bool) -> Floats:
        """Least cost of every row, shape (n,); with `follow` the decisions are kept for `back`."""
        shape = (len(self.work), int(self.work.max()) + 1)
        each = np.arange(shape[0])
        nowhere = np.full(shape, np.inf)
        running, paused = nowhere, nowhere
        spent = np.concatenate([np.zeros((shape[0], 1)), np.cumsum(self.price, axis=1)], axis=1)
        before: list[Floats] = []  # what `paused` was before each step
        for t in range(self.steps):
            before.append(paused)
            if t > self.lost:
                since = t - self.lost
                begins = self.extra + self.first_share - 1.0  # its first step draws for less than all of it
                restore = self.fee + begins * self.price[:, since] + spent[:, t] - spent[:, since]
                resumed = before[since] + restore[:, np.newaxis]
                before[since] = nowhere  # no longer needed
            else:
                resumed = nowhere
            go = np.minimum(running, resumed)
            start = go[each, self.work] > 0
            go[each[start], self.work[start]] = 0.0
            if follow:
                came = np.where(running <= resumed, _WENT_ON, _RESUMED).astype(np.uint8)
                came[each[start], self.work[start]] = _STARTED
                self._came.append(came)
                self._stopped.append(running < paused)
            inside = (t < self.width)[:, np.newaxis]
            done = np.full(shape, np.inf)
            done[:, :-1] = go[:, 1:] + self.price[:, t, np.newaxis]
            running, paused = (
                np.where(inside, done, running),
                np.where(inside, np.minimum(paused, running), paused),
            )
        self._ends_running = running[:, 0] <= paused[:, 0]
        return np.asarray(np.minimum(running[:, 0], paused[:, 0]))

    def back(self) -> tuple[Bools, Bools, Bools]:
        """Which steps of the window work, which restore, and which a resumption begins with; all shape (n, steps)."""
        n = len(self.work)
        works, restores, resumes = np.zeros((3, n, self.steps), dtype=np.bool_)
        left, runs = np.zeros(n, dtype=np.int64), self._ends_running.copy()
        until, fresh = self.width.copy(), np.zeros(n, dtype=np.bool_)
        for t in range(self.steps - 1, -1, -1):
            known = ~fresh & (t < until)
            ran = np.flatnonzero(known & runs)
            rested = np.flatnonzero(known & ~runs)
            works[ran, t] = True
            left[ran] += 1
            came = self._came[t][ran, left[ran]]
            fresh[ran[came == _STARTED]] = True
            again = ran[came == _RESUMED]
            runs[again] = False
            until[again] = t - self.lost
            restores[again, max(t - self.lost, 0) : t] = True
            resumes[again, max(t - self.lost, 0)] = True
            runs[rested] = self._stopped[t][rested, left[rested]]
        return works, restores, resumes
