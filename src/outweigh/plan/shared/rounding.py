"""From shares of shapes to whole jobs."""

from __future__ import annotations

import numpy as np

from outweigh.plan.problem import Floats, Ints
from outweigh.plan.shared.classes import Shapes
from outweigh.plan.shared.columns import Columns

# Turns each shape's line by a share that no small number of shapes repeats (the golden ratio).
_TURN = 0.6180339887498949


def rounded(shapes: Shapes, counts: Ints, columns: Columns, kw: Floats) -> tuple[Ints, Ints, Ints]:
    """Whole jobs for columns: (row of jobs, column, how many), shares kept to within about one job a column.

    The jobs of a shape stand in line, the largest first, each as long as its power; the columns beside them, each as
    long as its share, turned by a part of the line that differs from shape to shape, so that shapes of one job do not
    all go to their first column. A job goes to the column beside its middle.

    Args:
        counts: jobs of each row, shape (J,).
        kw: share of each column, shape (P,).
    """
    used = np.flatnonzero(kw > 0)
    used = used[np.argsort(columns.shape[used], kind="stable")]
    begins = np.concatenate([[0.0], np.cumsum(shapes.weight_kw)])
    used, share = _turned(shapes, columns.shape[used], used, kw[used])
    owner = columns.shape[used]
    until = np.cumsum(share)
    last = np.flatnonzero(np.append(owner[1:] != owner[:-1], True))
    until[last] = begins[owner[last] + 1]

    order = np.lexsort((-shapes.kw, shapes.member))
    n_all, each = counts[order], shapes.kw[order]
    end = np.cumsum(each * n_all)
    start = end - each * n_all
    first_of = np.searchsorted(owner, shapes.member[order])
    last_of = np.searchsorted(owner, shapes.member[order], side="right") - 1
    # Sums of floats along two lines: never into the columns of another shape.
    low = np.clip(np.searchsorted(until, start + each / 2, side="right"), first_of, last_of)
    high = np.clip(np.searchsorted(until, end - each / 2, side="left"), low, last_of)
    spread = high - low + 1
    row = np.repeat(np.arange(len(order)), spread)
    column = np.arange(spread.sum()) - np.repeat(np.cumsum(spread) - spread, spread) + low[row]
    n = n_all[row]
    passed = np.clip(np.ceil((until[column] - start[row]) / each[row] - 0.5), 0, n).astype(np.int64)
    passed = np.where(column == high[row], n, passed)
    before = np.concatenate([[0], passed[:-1]])
    before[column == low[row]] = 0
    return order[row], used[column], passed - before


def _turned(shapes: Shapes, owner: Ints, used: Ints, kw: Floats) -> tuple[Ints, Floats]:
    """Columns in line, each shape's turned: the one that the turn cuts stands at both ends. Shares sum to the weight."""
    sums = np.bincount(owner, kw, minlength=len(shapes))
    share = kw / sums[owner]
    ahead = np.cumsum(share)
    ahead -= (ahead - share)[np.searchsorted(owner, owner)]
    turn = (np.arange(len(shapes)) * _TURN % 1.0)[owner]
    begins = ahead - share
    cut = (begins < turn) & (ahead > turn)
    place = np.where(begins >= turn, begins - turn, begins - turn + 1)
    place[cut] = 0.0
    length = share.copy()
    length[cut] = (ahead - turn)[cut]
    all_used, all_owner = np.concatenate([used, used[cut]]), np.concatenate([owner, owner[cut]])
    all_length = np.concatenate([length, (turn - begins)[cut]])
    all_place = np.concatenate([place, 1.0 - (turn - begins)[cut]])
    order = np.lexsort((all_place, all_owner))
    return all_used[order], all_length[order] * shapes.weight_kw[all_owner[order]]
