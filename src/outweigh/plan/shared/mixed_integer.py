"""Small sets of jobs: which column each whole job takes, as a mixed-integer programme for HiGHS."""

from __future__ import annotations

import time
from typing import Final

import numpy as np

from outweigh.plan.highs import whole_numbers
from outweigh.plan.kernels import Windows, contiguous_use
from outweigh.plan.problem import Jobs
from outweigh.plan.shared.classes import Shapes, lowest_kw
from outweigh.plan.shared.columns import Columns, Seen
from outweigh.plan.shared.finding import HOLDS_RTOL
from outweigh.plan.shared.packing import Packing
from outweigh.plan.shared.pricing import Field

# Pairs of a row of jobs and a column, at most: beyond them HiGHS takes longer than local search needs to be as good.
_PAIRS: Final = 20_000
_SECONDS: Final = 20.0


def enumerated(shapes: Shapes, field: Field, known: Columns) -> Columns:
    """The known columns and every start at an edge of every run through of one level."""
    jobs = shapes.jobs
    shape, site = np.nonzero(jobs.allowed)
    plain = (~jobs.preemptible & (jobs.speed == jobs.speed[:, :1]).all(axis=1))[shape]
    shape, site = shape[plain], site[plain]
    length = jobs.work[shape] / jobs.speed[shape, 0]
    first = np.ceil(jobs.release[shape])
    many = np.maximum(np.floor(jobs.deadline[shape] - length + 1e-9) - first + 1, 0).astype(np.int64)
    if many.sum() > _PAIRS:
        return known
    at = np.repeat(np.arange(len(shape)), many)
    start = first[at] + np.arange(len(at)) - np.repeat(np.cumsum(many) - many, many)
    shape, site, length = shape[at], site[at], length[at]
    use = contiguous_use(Windows(site, start, start + length, length), start)
    sizes = np.bincount(use.row, minlength=len(at))
    energy = use.draw * field.step_h
    every = Columns(
        shape, site, np.zeros(len(at)), np.concatenate([[0], np.cumsum(sizes)]), use.step,
        use.work * jobs.speed[shape[use.row], 0], energy,
    )  # fmt: skip
    every.cost[:] = every.dear(field.rate[site[use.row], use.step]) + jobs.entry_cost[shape, site]
    both = Columns.joined([known, every])
    return both.take(Seen(*field.limit.shape).fresh(both))


def solve_whole(
    packing: Packing, rows: Jobs, columns: Columns, *, better_than: float | None, goal: float, until: float | None
) -> bool:
    """Fill the packing with the best whole choice among these columns, if that is better; returns whether it is."""
    from scipy.sparse import coo_array, vstack

    shapes, field = packing.shapes, packing.field
    order = np.argsort(columns.shape, kind="stable")
    first = np.searchsorted(columns.shape[order], shapes.member)
    many = np.searchsorted(columns.shape[order], shapes.member, side="right") - first
    seconds = _SECONDS if until is None else min(_SECONDS, until - time.monotonic())
    if many.sum() > _PAIRS or seconds <= 0:
        return False
    row = np.repeat(np.arange(len(rows)), many)
    column = order[first[row] + np.arange(len(row)) - np.repeat(np.cumsum(many) - many, many)]
    sizes = columns.sizes[column]
    pair = np.repeat(np.arange(len(row)), sizes)
    entry = columns.offset[column][pair] + np.arange(len(pair)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    cell = columns.site[column[pair]] * field.limit.shape[1] + columns.step[entry]
    limit = field.limit.ravel()
    inside = np.isfinite(limit[cell])
    # A part of a step is no way to run where the site never gives the power of the job.
    lowest = (lowest_kw(shapes.jobs)[shapes.member] * packing.units)[row]
    shut = np.zeros(len(row), dtype=np.bool_)
    shut[pair[field.given.ravel()[cell] * (1 + HOLDS_RTOL) < lowest[pair]]] = True
    scale = float(limit[np.isfinite(limit)].max(initial=0.0)) or 1.0
    drawn = columns.energy[entry] * packing.units[row[pair]] / field.step_h / scale
    holds = coo_array((drawn[inside], (cell[inside], pair[inside])), shape=(len(limit), len(row))).tocsr()
    whole = coo_array((np.ones(len(row)), (row, np.arange(len(row)))), shape=(len(rows), len(row))).tocsr()
    cost = columns.cost[column] * shapes.kw[row]
    money = float(np.abs(cost).mean()) or 1.0
    found = whole_numbers(
        cost / money,
        vstack([whole, holds]).tocsr(),
        np.concatenate([rows.count, np.full(len(limit), -np.inf)]),
        np.concatenate([rows.count, np.where(np.isfinite(limit), limit, np.inf) / scale]),
        gap=goal / 10,
        seconds=seconds,
        most=np.where(shut, 0.0, np.inf),
    )
    if found.x is None:
        return False
    count = np.round(found.x).astype(np.int64)
    paid = float(count @ cost)
    if better_than is not None and paid >= better_than:
        return False
    old = packing.columns, packing.job, packing.column, packing.count
    packing.fill(columns, row, column, count)
    if packing.over().any():
        packing.fill(*old)
        return False
    packing.settle()
    return True
