"""Whole jobs in whole places: who runs how, what room that leaves, and putting one more job where it costs least."""

from __future__ import annotations

import numpy as np

from outweigh.plan.problem import Floats, Ints
from outweigh.plan.shared.classes import Shapes
from outweigh.plan.shared.columns import Columns
from outweigh.plan.shared.pricing import Field, cheapest

# Room is compared with this much slack, relative to the limit: sums of floats in another order.
ROOM_RTOL = 1e-9


class Packing:
    """Assignments of jobs to columns, and the room they leave.

    An assignment is (row of jobs, column, how many). Columns are of shapes; a job's row scales them by its power.
    """

    def __init__(self, shapes: Shapes, field: Field) -> None:
        self.shapes, self.field = shapes, field
        self.free = field.limit.copy()
        self.columns = Columns.none()
        self.job: Ints = np.empty(0, np.int64)
        self.column: Ints = np.empty(0, np.int64)
        self.count: Ints = np.empty(0, np.int64)
        self._tolerance = ROOM_RTOL * np.where(np.isfinite(field.limit), field.limit, 0.0)
        self._new: list[tuple[int, Columns, int]] = []
        # Far above any sum of rates, so that a run that avoids what is full is always cheaper; far below 1e300.
        reach = float(np.nanmax(np.abs(field.rate), initial=1.0))
        self._shut = 1e4 * reach * field.limit.shape[1]

    # --- many at once ---------------------------------------------------------------------------------

    def fill(self, columns: Columns, job: Ints, column: Ints, count: Ints) -> None:
        """Begin with these assignments, whether there is room or not."""
        some = count > 0
        self.columns, self.job, self.column, self.count = columns, job[some], column[some], count[some]
        self._new = []
        self.free = self.field.limit - self.load(self.units)

    def settle(self) -> None:
        """Take what was put in one by one among the others, and drop what nobody uses."""
        if self._new:
            jobs, parts, counts = zip(*self._new, strict=True)
            at = len(self.columns) + np.arange(len(parts))
            self.columns = Columns.joined([self.columns, *parts])
            self.job = np.concatenate([self.job, np.array(jobs, np.int64)])
            self.column = np.concatenate([self.column, at])
            self.count = np.concatenate([self.count, np.array(counts, np.int64)])
            self._new = []
        used = self.count > 0
        self.job, self.count = self.job[used], self.count[used]
        kept, self.column = np.unique(self.column[used], return_inverse=True)
        self.columns = self.columns.take(kept)

    @property
    def units(self) -> Floats:
        """Units of capacity for a kWh/h of each row of jobs, shape (J,)."""
        return self.shapes.kw * self.shapes.units_per_kw[self.shapes.member]

    def load(self, per_job: Floats) -> Floats:
        """Mean over each step of `per_job` for each kWh/h at 1 kW, shape (S, T)."""
        columns, shape = self.columns, self.field.limit.shape
        weight = np.bincount(self.column, self.count * per_job[self.job], minlength=len(columns))
        drawn = columns.energy * weight[columns.of_entry] / self.field.step_h
        cell = columns.cells(shape[1])
        return np.bincount(cell, drawn, minlength=shape[0] * shape[1]).reshape(shape).astype(np.float64)

    # --- one by one -----------------------------------------------------------------------------------

    def over(self) -> Floats:
        """Units beyond the limit, shape (S, T)."""
        return np.maximum(-self.free - self._tolerance, 0.0)

    def take_out(self, assignment: int, count: int) -> None:
        """`count` jobs of an assignment leave."""
        row, column = int(self.job[assignment]), int(self.column[assignment])
        self.count[assignment] -= count
        self._change(row, self.columns, column, -count)

    def put(self, row: int, priced: Floats, *, force: bool = False) -> bool:
        """One job of the row where it is cheapest at this rate and where there is room; with `force`, where least is full.

        Returns whether it found a place.
        """
        shape = int(self.shapes.member[row])
        need = float(self.shapes.kw[row]) * float(self.shapes.units_per_kw[shape])
        jobs = self.shapes.jobs.take(np.array([shape]))
        most = float(jobs.power_w[0, -1]) / 1e3
        full = self.free + self._tolerance < need * most
        cost, columns = cheapest(jobs, self.field, np.where(full, priced + self._shut, priced))
        if not force and cost[0] > self._shut / 2:
            clear = np.add.reduce(full[columns.site[0], columns.step] * columns.energy) == 0
            if not clear:
                return False
        columns.shape[:] = shape
        self._change(row, columns, 0, 1)
        self._new.append((row, columns, 1))
        return True

    def _change(self, row: int, columns: Columns, column: int, count: int) -> None:
        entry = slice(int(columns.offset[column]), int(columns.offset[column + 1]))
        unit = float(self.shapes.kw[row]) * float(self.shapes.units_per_kw[self.shapes.member[row]])
        self.free[columns.site[column], columns.step[entry]] -= columns.energy[entry] * (
            count * unit / self.field.step_h
        )
