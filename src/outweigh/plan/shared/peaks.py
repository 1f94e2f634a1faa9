"""Where peaks cost: the plan made again below lower peaks, while that pays.

Below given peaks nothing is charged, so all that finds room for whole jobs does it there, too; what is searched for is
the peaks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Final

import numpy as np

from outweigh.plan.problem import Floats
from outweigh.plan.shared.fitting import fit
from outweigh.plan.shared.local_search import improve
from outweigh.plan.shared.packing import Packing
from outweigh.plan.shared.pricing import Field
from outweigh.plan.shared.repair import repair

# How much lower a peak is tried, as a share of it, coarse first.
_LOWER: Final = (0.2, 0.1, 0.05, 0.02, 0.01)
# Attempts at making room below it: a job, and in all.
_TURNS_A_JOB: Final = 20
_TURNS: Final = 60_000


def paid(packing: Packing) -> float:
    """What the whole jobs and their peaks cost [currency]."""
    field = packing.field
    return packing.paid + float(field.demand_rate @ risen(packing)) if field.charged else packing.paid


def risen(packing: Packing) -> Floats:
    """How far each site's facility power rises above what is free of charge [kW], shape (S,)."""
    field = packing.field
    return np.asarray(np.maximum((field.pue * packing.load(packing.shapes.kw) - field.spare_kw).max(axis=1), 0.0))


def below(field: Field, peaks_kw: Floats, units_per_kw: Floats) -> Field:
    """The field with these rises as limits where they cost, shape (S,)."""
    most = (field.spare_kw + peaks_kw[:, np.newaxis]) / field.pue * float(units_per_kw.max())
    charged = (field.demand_rate > 0)[:, np.newaxis]
    limit = np.where(charged, np.minimum(field.limit, np.maximum(most, 0.0)), field.limit)
    return replace(field, limit=limit, holds=field.given)


def shave(packing: Packing, field: Field, least: Floats, *, enough: Callable[[Packing], bool]) -> Packing:
    """The plan with lower peaks where that is cheaper, one site at a time, all together, or one for another.

    Args:
        packing: where all jobs have room.
        field: without the peaks as limits.
        least: what a kW of each shape costs where there is room for all, shape (K,).
        enough: asked now and then, whether to stop.
    """
    jobs = int(packing.count.sum())
    turns = min(_TURNS_A_JOB * jobs, _TURNS // 10)
    left = _TURNS
    best = packing
    for lower in _LOWER:
        better = True
        while better:
            better = False
            for scale in _moves(field, lower):
                if enough(best) or left <= 0:
                    return best
                peaks = risen(best)
                if not (peaks * (scale < 1)).any():
                    continue
                left -= max(turns, 1)
                tried = _again(best, below(field, peaks * scale, packing.shapes.units_per_kw), least, turns)
                if tried is not None and paid(tried) < paid(best) - 1e-9 * abs(paid(best)):
                    best, better = tried, True
    return best


def _moves(field: Field, lower: float) -> Iterator[Floats]:
    charged = np.flatnonzero(field.demand_rate > 0)
    everywhere = np.where(field.demand_rate > 0, 1 - lower, 1.0)
    yield everywhere
    if len(charged) == 1:
        return
    for raised in (1.0, 1 + lower):
        for site in charged.tolist():
            scale = np.where(field.demand_rate > 0, raised, 1.0)
            scale[site] = 1 - lower
            yield scale


def _again(packing: Packing, field: Field, least: Floats, turns: int) -> Packing | None:
    """The same plan within another field; None where no room was found for all."""
    tried = Packing(packing.shapes, field)
    tried.fill(packing.columns, packing.job.copy(), packing.column.copy(), packing.count.copy())
    left = repair(tried, field.rate, patience=10)
    tried.settle()
    if left and fit(tried, left, field.rate, turns=turns):
        return None
    improve(tried, field.rate, least, stop=lambda: False)
    return tried
