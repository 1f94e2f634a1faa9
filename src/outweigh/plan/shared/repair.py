"""Take jobs out of what is too full, and put them where there is room."""

from __future__ import annotations

import heapq

import numpy as np

from outweigh.plan.problem import Floats
from outweigh.plan.shared.finding import Priced
from outweigh.plan.shared.packing import Packing


def repair(packing: Packing, prices: Floats, *, patience: int = 40) -> list[int]:
    """Make everything fit, the largest jobs first.

    Where a job finds no room it goes where least is full, and that becomes dearer for everybody, until all fit or
    patience ends (negotiated congestion: McMurchie and Ebeling, PathFinder, FPGA 1995, p. 111-117).

    Args:
        prices: rate with the capacity in it [currency/kWh], shape (S, T).

    Returns:
        The rows of jobs that found no place, each as often as it has such jobs.
    """
    known = np.abs(prices[np.isfinite(prices)])
    step_up = 0.1 * float(known.mean()) or 1.0
    dear = np.zeros(prices.shape)
    for attempt in range(patience):
        packing.settle()
        out = squeeze_out(packing, loose_first=attempt % 2 == 1)
        if not out:
            return []
        priced = Priced(prices + dear)
        left = []
        for row in packing.hardest(np.array(out)).tolist():
            spot = packing.find(row, priced)
            if spot is None:
                left.append(row)
            else:
                packing.put(row, spot)
        if not left:
            continue
        if attempt == patience - 1:
            packing.settle()
            return left
        for row in left:
            spot = packing.find(row, priced, shut=20 * step_up)
            if spot is None:
                return left
            packing.put(row, spot)
        dear += step_up * (packing.over() > 0)
        step_up *= 1.25
    packing.settle()
    return squeeze_out(packing)


def squeeze_out(packing: Packing, *, loose_first: bool = False) -> list[int]:
    """Take jobs out of every cell that is too full; returns their rows, with repetitions.

    Of those in a cell, the smallest that is as large as the excess, else the largest; with `loose_first` of those that
    may pause for nothing while there are any, as they find room in pieces.
    """
    over = packing.over()
    if not over.any():
        return []
    columns = packing.columns
    cell = columns.cells(over.shape[1])
    order = np.argsort(packing.column, kind="stable")
    ends = np.searchsorted(packing.column[order], np.arange(len(columns) + 1))
    of_entry = columns.of_entry
    touched = np.flatnonzero(over.ravel()[cell] > 0)
    touched = touched[np.argsort(cell[touched], kind="stable")]
    # One line for every assignment in every such cell.
    many = ends[of_entry[touched] + 1] - ends[of_entry[touched]]
    entry = np.repeat(touched, many)
    nth = np.arange(len(entry)) - np.repeat(np.cumsum(many) - many, many)
    assigned = order[ends[of_entry[entry]] + nth]
    draws = columns.energy[entry] / packing.field.step_h * packing.units[packing.job[assigned]]
    bounds = np.searchsorted(cell[entry], np.arange(over.size + 1))
    out: list[int] = []
    full = np.flatnonzero(over)
    heap = list(zip((-over.ravel()[full]).tolist(), full.tolist(), strict=True))
    heapq.heapify(heap)
    while heap:
        _, at = heapq.heappop(heap)
        here = slice(int(bounds[at]), int(bounds[at + 1]))
        users, draw = assigned[here], draws[here]
        site, step = divmod(at, over.shape[1])
        while (excess := -float(packing.free[site, step]) - float(packing.tolerance[site, step])) > 0:
            live = np.flatnonzero((packing.count[users] > 0) & (draw > 0))
            if not live.size:
                break
            loose = live[~packing.rigid[packing.job[users[live]]]]
            live = loose if loose_first and loose.size else live
            enough = live[draw[live] >= excess]
            pick = int(enough[np.argmin(draw[enough])]) if enough.size else int(live[np.argmax(draw[live])])
            gone = max(1, min(int(packing.count[users[pick]]), int(excess // draw[pick])))
            packing.take_out(int(users[pick]), gone)
            out += [int(packing.job[users[pick]])] * gone
    return out
