"""Whole jobs in whole places: who runs how, what room that leaves, and where one more job costs least."""

from __future__ import annotations

from typing import Final

import numpy as np

from outweigh.plan.problem import Bools, Floats, Ints
from outweigh.plan.shared.classes import Shapes
from outweigh.plan.shared.columns import Columns
from outweigh.plan.shared.finding import Finder, Priced, Spot
from outweigh.plan.shared.pricing import Field

# Room is compared with this much slack, relative to the limit: sums of floats in another order.
ROOM_RTOL: Final = 1e-9


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
        self.units: Floats = shapes.kw * shapes.units_per_kw[shapes.member]
        self.tolerance: Floats = ROOM_RTOL * np.where(np.isfinite(field.limit), field.limit, 0.0)
        self._new: list[tuple[int, Spot, int]] = []
        self._finder = Finder(shapes, field, self.tolerance)
        jobs = shapes.jobs
        free = jobs.preemptible & (jobs.resume_steps == 0) & (jobs.resume_kwh == 0)
        self.rigid: Bools = ~free[shapes.member]
        self._size: Floats = shapes.kw * jobs.work[shapes.member]

    def hardest(self, rows: Ints) -> Ints:
        """Rows in the order in which to look for room: in one piece, then pauses that cost, then the others; the
        largest first."""
        pauses = self.shapes.jobs.preemptible[self.shapes.member[rows]]
        return rows[np.lexsort((rows, -self._size[rows], ~self.rigid[rows], pauses))]

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
            rows = np.array([row for row, _, _ in self._new], dtype=np.int64)
            spots = [spot for _, spot, _ in self._new]
            shape, site = self.shapes.member[rows], np.array([spot.site for spot in spots], dtype=np.int64)
            sizes = [len(spot.step) for spot in spots]
            step, work, energy = (
                np.concatenate([getattr(spot, name) for spot in spots]) for name in ("step", "work", "energy")
            )
            added = Columns(
                shape, site, np.zeros(len(rows)), np.concatenate([[0], np.cumsum(sizes)]), step, work, energy
            )
            paid = added.dear(self.field.rate[site[added.of_entry], step])
            added.cost[:] = paid + self.shapes.jobs.entry_cost[shape, site]
            at = len(self.columns) + np.arange(len(rows))
            self.columns = Columns.joined([self.columns, added])
            self.job = np.concatenate([self.job, rows])
            self.column = np.concatenate([self.column, at])
            self.count = np.concatenate([self.count, np.array([many for _, _, many in self._new], dtype=np.int64)])
            self._new = []
        used = self.count > 0
        self.job, self.count = self.job[used], self.count[used]
        kept, self.column = np.unique(self.column[used], return_inverse=True)
        self.columns = self.columns.take(kept)

    def load(self, per_job: Floats) -> Floats:
        """Mean over each step of `per_job` for each kWh/h at 1 kW, shape (S, T)."""
        columns, shape = self.columns, self.field.limit.shape
        weight = np.bincount(self.column, self.count * per_job[self.job], minlength=len(columns))
        drawn = columns.energy * weight[columns.of_entry] / self.field.step_h
        cell = columns.cells(shape[1])
        return np.bincount(cell, drawn, minlength=shape[0] * shape[1]).reshape(shape).astype(np.float64)

    def over(self) -> Floats:
        """Units beyond the limit, shape (S, T)."""
        return np.maximum(-self.free - self.tolerance, 0.0)

    @property
    def paid(self) -> float:
        """What all assignments cost at the rate of the sites [currency]."""
        return float(np.sum(self.count * self.shapes.kw[self.job] * self.columns.cost[self.column]))

    # --- one by one -----------------------------------------------------------------------------------

    def take_out(self, assignment: int, count: int = 1) -> None:
        """`count` jobs of an assignment leave."""
        row, column = int(self.job[assignment]), int(self.column[assignment])
        self.count[assignment] -= count
        entry = slice(int(self.columns.offset[column]), int(self.columns.offset[column + 1]))
        drawn = self.columns.energy[entry] * (count * float(self.units[row]) / self.field.step_h)
        self.free[self.columns.site[column], self.columns.step[entry]] += drawn

    def put_back(self, assignment: int) -> None:
        """One that was taken out comes back where it was."""
        self.take_out(assignment, -1)

    def find(self, row: int, priced: Priced, *, shut: float = np.inf, thorough: bool = True) -> Spot | None:
        """Where one job of the row is cheapest: where there is room, or where what is full costs `shut` more a kWh."""
        room, shape = self.free + self.tolerance, int(self.shapes.member[row])
        return self._finder.find(shape, room, float(self.units[row]), priced, shut, thorough=thorough)

    def put(self, row: int, spot: Spot, count: int = 1) -> None:
        self.free[spot.site, spot.step] -= spot.energy * (count * float(self.units[row]) / self.field.step_h)
        self._new.append((row, spot, count))

    def fitting(self, row: int, spot: Spot, most: int) -> int:
        """How many jobs of the row fit there, at most `most`."""
        drawn = spot.energy * (float(self.units[row]) / self.field.step_h)
        room = self.free[spot.site, spot.step] + self.tolerance[spot.site, spot.step]
        many = (room[drawn > 0] / drawn[drawn > 0]).min(initial=float(most))
        return max(0, int(many))

    def empty(self) -> None:
        """Nobody runs."""
        self.fill(Columns.none(), *(np.empty(0, np.int64) for _ in range(3)))
