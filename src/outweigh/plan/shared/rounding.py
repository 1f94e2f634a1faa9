"""From shares of shapes to whole jobs, then what does not fit is taken out and put elsewhere."""

from __future__ import annotations

import heapq

import numpy as np

from outweigh.plan.problem import Floats, Ints
from outweigh.plan.shared.classes import Shapes
from outweigh.plan.shared.columns import Columns
from outweigh.plan.shared.packing import Packing


def rounded(shapes: Shapes, counts: Ints, columns: Columns, kw: Floats) -> tuple[Ints, Ints, Ints]:
    """Whole jobs for columns: (row of jobs, column, how many), shares kept to within one job a column.

    The jobs of a shape stand in line, the largest first, each as long as its power; the columns beside them, each as
    long as its share. A job goes to the column beside its middle.

    Args:
        counts: jobs of each row, shape (J,).
        kw: share of each column, shape (P,).
    """
    used = np.flatnonzero(kw > 0)
    used = used[np.lexsort((-kw[used], columns.shape[used]))]
    owner = columns.shape[used]
    share = kw[used] * (shapes.weight_kw / np.bincount(owner, kw[used], minlength=len(shapes)))[owner]
    # One line for all shapes: each begins where the one before ends.
    begins = np.concatenate([[0.0], np.cumsum(shapes.weight_kw)])
    until = np.cumsum(share)
    last = np.flatnonzero(np.append(owner[1:] != owner[:-1], True))
    until[last] = begins[owner[last] + 1]

    order = np.lexsort((-shapes.kw, shapes.member))
    length = shapes.kw[order] * counts[order]
    end = np.cumsum(length)
    start = end - length
    each = shapes.kw[order]
    low = np.searchsorted(until, start + each / 2, side="right").clip(max=len(used) - 1)
    high = np.searchsorted(until, end - each / 2, side="left").clip(max=len(used) - 1)
    # Sums of floats along two lines: never into the columns of another shape.
    first_of, last_of = (
        np.searchsorted(owner, shapes.member[order]),
        np.searchsorted(owner, shapes.member[order], "right") - 1,
    )
    low, high = np.clip(low, first_of, last_of), np.clip(high, first_of, last_of)
    high = np.maximum(high, low)
    spread = high - low + 1
    row = np.repeat(np.arange(len(order)), spread)
    column = np.arange(spread.sum()) - np.repeat(np.cumsum(spread) - spread, spread) + low[row]
    n = counts[order][row]
    passed = np.clip(np.ceil((until[column] - start[row]) / each[row] - 0.5), 0, n).astype(np.int64)
    passed = np.where(column == high[row], n, passed)
    before = np.concatenate([[0], passed[:-1]])
    before[np.flatnonzero(column == low[row])] = 0
    return order[row], used[column], passed - before


def repair(packing: Packing, priced: Floats, *, patience: int = 20) -> list[int]:
    """Make everything fit: take jobs out of what is too full, put them where there is room.

    Where a job finds no room it goes where least is full, and that becomes dearer for everybody, until all fit or
    patience ends (negotiated congestion: McMurchie and Ebeling, PathFinder, FPGA 1995).

    Returns the rows of jobs that found no place (with repetitions).
    """
    dear = priced.copy()
    step_up = 0.1 * float(np.nanmean(np.abs(priced))) or 1.0
    waiting: list[int] = []
    for attempt in range(patience):
        packing.settle()
        out = _squeeze_out(packing)
        waiting += out
        if not waiting:
            return []
        size = packing.shapes.kw * packing.shapes.jobs.work[packing.shapes.member]
        waiting.sort(key=lambda row: -size[row])
        force = attempt < patience - 1
        left = [row for row in waiting if not packing.put(row, dear)]
        if not force:
            return left
        for row in left:
            packing.put(row, dear, force=True)
        waiting = []
        dear = dear + step_up * (packing.over() > 0)
        step_up *= 1.3
    return waiting


def _squeeze_out(packing: Packing) -> list[int]:
    """Take jobs out of every cell that is too full; returns their rows, with repetitions."""
    over = packing.over()
    if not over.any():
        return []
    columns, shape = packing.columns, over.shape
    cell = columns.cells(shape[1])
    order = np.argsort(packing.column, kind="stable")
    first = np.searchsorted(packing.column[order], np.arange(len(columns) + 1))
    touched = np.flatnonzero(over.ravel()[cell] > 0)
    touched = touched[np.argsort(cell[touched], kind="stable")]
    of_entry = columns.of_entry[touched]
    bounds = np.searchsorted(cell[touched], np.arange(over.size + 1))
    units = packing.units
    out: list[int] = []
    heap = [(-value, int(at)) for at, value in zip(np.flatnonzero(over), over[over > 0].tolist(), strict=True)]
    heapq.heapify(heap)
    while heap:
        _, at = heapq.heappop(heap)
        entries = slice(bounds[at], bounds[at + 1])
        users = [
            (int(a), touched[e])
            for e in range(entries.start, entries.stop)
            for a in order[first[of_entry[e]] : first[of_entry[e] + 1]]
        ]
        assigned = np.array([a for a, _ in users], dtype=np.int64)
        draws = columns.energy[[e for _, e in users]] / packing.field.step_h * units[packing.job[assigned]]
        while (excess := packing.over().ravel()[at]) > 0:
            live = np.flatnonzero((packing.count[assigned] > 0) & (draws > 0))
            if not live.size:
                break
            enough = live[draws[live] >= excess]
            pick = int(enough[np.argmin(draws[enough])]) if enough.size else int(live[np.argmax(draws[live])])
            many = max(1, min(int(packing.count[assigned[pick]]), int(excess // draws[pick])))
            packing.take_out(int(assigned[pick]), many)
            out += [int(packing.job[assigned[pick]])] * many
    return out
