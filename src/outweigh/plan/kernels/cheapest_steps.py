"""Runs that may pause for nothing: the cheapest steps of the window."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view

from outweigh.plan.kernels.prefix_sums import contiguous
from outweigh.plan.kernels.windows import Use, Windows, alike, check
from outweigh.plan.problem import Floats, Ints

# Ranks are made when the windows hold so many times the rates: as measured with 264 steps a window.
_RANKS_PAY: Final = 8


def interruptible(rate: Floats, rows: Windows) -> Floats:
    """Least cost of every row at unit power, shape (N,), if pausing is free.

    The `work` cheapest steps of the window; where the window or the work ends within a step, that much of it. It is a
    fractional knapsack, for which filling by price is optimal (Dantzig, Operations Research 5(2), 1957, p. 266-277).

    Args:
        rate: cost of a step at unit power, shape (S, T); negative allowed.
        rows: shape (N,).

    Raises: see `windows.check`.

    >>> interruptible(np.array([[3.0, 1.0, 2.0, 0.5]]), Windows.of(0, 0, [4, 3.5], [2, 2.5]))
    array([1.5 , 3.25])
    """
    check(rate, rows)
    cost = np.empty(len(rows))
    whole = rows.whole
    single = whole & (rows.work == 1)  # has nowhere to pause
    cost[single] = contiguous(rate, rows.take(single)).cost
    index = np.flatnonzero(whole & ~single)
    # The rank of a step is two bytes and sorts several times as fast as its rate; finding it sorts every rate once.
    ranked = np.sum(rows.deadline[index] - rows.release[index]) > _RANKS_PAY * rate.size
    rising, rank = _ranks(rate) if ranked else (None, rate)
    for lot, block in _windows(rank, rate.shape[1] if ranked else np.inf, rows, index):
        work = rows.work[lot].astype(np.int64)
        block.sort(axis=1)
        block = block[:, : work.max()]
        if rising is not None:
            block = rising.take(block + rows.site[lot, np.newaxis] * rising.shape[1])
        if work.min() == work.max():
            cost[lot] = block.sum(axis=1)
        else:
            cost[lot] = np.cumsum(block, axis=1)[np.arange(len(lot)), work - 1]
    for lot, block in _windows(rate, np.inf, rows, np.flatnonzero(~whole)):
        order, taken = _fill(block, rows.take(lot))
        prices = np.take_along_axis(block, order, axis=1)
        cost[lot] = np.sum(np.where(taken > 0, prices, 0.0) * taken, axis=1)
    return cost


def interruptible_use(rate: Floats, rows: Windows) -> Use:
    """The steps behind `interruptible`; of equally dear ones the earliest."""
    check(rate, rows)
    parts: list[tuple[Ints, Ints, Floats]] = []
    for lot, block in _windows(rate, np.inf, rows, np.arange(len(rows))):
        order, taken = _fill(block, rows.take(lot))
        at, rank = np.nonzero(taken)
        first = np.floor(rows.release[lot]).astype(np.int64)
        parts.append((lot[at], first[at] + order[at, rank], taken[at, rank]))
    if not parts:
        nothing = np.empty(0)
        return Use(np.empty(0, np.int64), np.empty(0, np.int64), nothing, nothing)
    row, step, share = (np.concatenate(column) for column in zip(*parts, strict=True))
    order = np.lexsort((step, row))
    return Use(row[order], step[order], share[order], share[order])


def _ranks(rate: Floats) -> tuple[Floats, npt.NDArray[Any]]:
    """Each site's rates in rising order, infinite at the end, shape (S, T + 1), and each step's place in it, (S, T)."""
    sites, steps = rate.shape
    order = np.argsort(rate, axis=1)
    rank = np.empty(rate.shape, np.min_scalar_type(steps))
    np.put_along_axis(rank, order, np.arange(steps)[np.newaxis], axis=1)
    return np.column_stack([np.take_along_axis(rate, order, axis=1), np.full(sites, np.inf)]), rank


def _windows(
    table: npt.NDArray[Any], beyond: float, rows: Windows, index: Ints
) -> Iterator[tuple[Ints, npt.NDArray[Any]]]:
    """Lots of rows with what `table`, shape (S, T), holds for their windows, shape (rows, widest).

    Args:
        beyond: stands outside a window: the highest there is, so never taken.
    """
    if not index.size:
        return
    first = np.floor(rows.release).astype(np.int64)
    width = np.ceil(rows.deadline).astype(np.int64) - first
    outside = np.full((table.shape[0], int(width[index].max())), beyond, table.dtype)
    padded = np.concatenate([table, outside], axis=1)
    for part in alike(width[index]):
        lot = index[part]
        widest = int(width[lot].max())
        block = sliding_window_view(padded, widest, axis=1)[rows.site[lot], first[lot]]
        short = np.flatnonzero(width[lot] < widest)
        over = np.arange(widest) >= width[lot][short, np.newaxis]
        block[short] = np.where(over, table.dtype.type(beyond), block[short])
        yield lot, block


def _fill(block: Floats, rows: Windows) -> tuple[Ints, Floats]:
    """Order of the steps by price, and how much of each (in that order) is taken; both shape (rows, width)."""
    order = np.argsort(block, axis=1, kind="stable")
    step = np.floor(rows.release)[:, np.newaxis] + order
    room = np.minimum(step + 1, rows.deadline[:, np.newaxis]) - np.maximum(step, rows.release[:, np.newaxis])
    room = np.maximum(room, 0.0)
    before = np.cumsum(room, axis=1) - room
    return order, np.clip(rows.work[:, np.newaxis] - before, 0.0, room)
