"""Options that are too many or too costly to soften one and all: those among them that were once the cheapest.

A run that pauses for a price is a path through a dynamic programme. It is softened over the runs that were best at
prices met on the way; new ones join between two climbs (column generation, with entropy to steady it).
"""

from __future__ import annotations

import numpy as np

from outweigh.plan.problem import Floats, Ints
from outweigh.plan.shared.classes import Shapes
from outweigh.plan.shared.columns import Columns
from outweigh.plan.shared.pricing import Field
from outweigh.plan.shared.soft.options import Pairs


class Known:
    """Columns, each a pair of its own."""

    def __init__(self, shapes: Shapes, field: Field, columns: Columns) -> None:
        self._shapes, self._field = shapes, field
        self._columns = columns.take(np.argsort(columns.shape, kind="stable"))
        found = self._columns
        self.pairs = Pairs(found.shape, found.site, np.zeros(len(found), np.int64))
        self._of, self._cell = found.of_entry, found.cells(field.rate.shape[1])
        self._entry = shapes.jobs.entry_cost[found.shape, found.site]

    def of(self, pairs: Pairs) -> Known:
        """All: there are few, and those of a shape stand or fall together."""
        return self

    def cost(self, rate: Floats, temperature: float) -> Floats:
        return self._columns.dear(np.nan_to_num(rate).take(self._cell)) + self._entry

    def drawn(self, kw: Floats, cells: int) -> Floats:
        held = self._columns.energy / self._field.step_h * kw[self._of]
        return np.asarray(np.bincount(self._cell, held, cells), dtype=np.float64)

    def columns(self, kw: Floats, rate: Floats) -> tuple[Columns, Floats]:
        weight = self._shapes.weight_kw[self._columns.shape]
        kept: Ints = np.flatnonzero(kw > 1e-4 * weight)
        return self._columns.take(kept), kw[kept]
