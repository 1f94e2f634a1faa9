"""A first plan in several dives: place the hardest jobs, ask again what capacity is worth to the others, go on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final

import numpy as np

from outweigh.plan.problem import Floats, Ints
from outweigh.plan.shared.ascent import climb
from outweigh.plan.shared.capacity import CapacityPrices
from outweigh.plan.shared.classes import Shapes
from outweigh.plan.shared.greedy import place
from outweigh.plan.shared.packing import Packing
from outweigh.plan.shared.pricing import Field, LocalPricer
from outweigh.plan.shared.repair import repair
from outweigh.plan.shared.smooth import Smooth

# Shares of the mean rate: warm enough to follow what has changed, and what is placed by them is whole anyway.
_TEMPERATURES: Final = (0.01, 0.003)


def dive(
    packing: Packing, counts: Ints, field: Field, prices: CapacityPrices, *, dives: int, unit: float,
    stop: Callable[[], bool],
) -> list[int]:  # fmt: skip
    """Fill an empty packing. Prices of the whole programme are those of jobs in parts: every whole job that is placed
    takes another room than its parts did, and the prices of the next ones take that in.

    Args:
        counts: jobs of each row, shape (J,).
        dives: how often, each about as much energy.
        unit: price that temperatures are shares of [currency per unit and hour].

    Returns:
        The rows of jobs that found no place, each as often as it has such jobs.
    """
    packing.empty()
    shapes = packing.shapes
    order = packing.hardest(np.arange(len(counts)))
    done = np.cumsum((shapes.kw * counts * shapes.jobs.work[shapes.member])[order])
    batch = np.minimum((dives * (done - 1e-12) / done[-1]).astype(np.int64), dives - 1)
    at = prices
    for number in range(dives):
        if number and not stop():
            at = _again(packing, counts, field, at, order[batch >= number], unit)
        place(packing, order[batch == number], counts, field.rate + at.limit)
    return repair(packing, field.rate + at.limit)


def _again(
    packing: Packing, counts: Ints, field: Field, at: CapacityPrices, rows: Ints, unit: float
) -> CapacityPrices:  # fmt: skip
    """What the room that is left is worth to the jobs that are left."""
    shapes = packing.shapes
    weight: Floats = np.bincount(
        shapes.member[rows], shapes.kw[rows] * counts[rows], minlength=len(shapes)
    ).astype(np.float64)  # fmt: skip
    some = np.flatnonzero(weight > 0)
    left: Shapes = replace(shapes.take(some), weight_kw=weight[some])
    room = replace(field, limit=np.maximum(packing.free, 0.0))
    found = climb(
        Smooth(left, room), LocalPricer(left, room), room, at, weight=left.weight_kw, goal=0.0, unit=unit,
        temperatures=_TEMPERATURES, most=20 * unit, turns=40, lessons=1,
    )  # fmt: skip
    return found.prices
