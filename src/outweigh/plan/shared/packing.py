"""Whole jobs in whole places: who runs how, what room that leaves, and where one more job costs least."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from outweigh.plan.problem import Bools, Floats, Ints
from outweigh.plan.shared.classes import Shapes
from outweigh.plan.shared.columns import Columns
from outweigh.plan.shared.pricing import Field, cheapest

# Room is compared with this much slack, relative to the limit: sums of floats in another order.
ROOM_RTOL: Final = 1e-9


@dataclass(frozen=True, slots=True, eq=False)
class Spot:
    """Where one job of a shape would run, for 1 kW.

    Attributes:
        cost: priced [currency/kW]; what is full is in it if it was asked for anyway.
        step, work, energy: by step of the run, shape (n,); energy is IT energy [kWh/kW].
    """

    cost: float
    site: int
    step: Ints
    work: Floats
    energy: Floats


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
        self._finder = Finder(shapes, field)

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

    def find(self, row: int, priced: Priced, *, shut: float = np.inf) -> Spot | None:
        """Where one job of the row is cheapest: where there is room, or where what is full costs `shut` more a kWh."""
        return self._finder.find(
            int(self.shapes.member[row]), self.free + self.tolerance, float(self.units[row]), priced, shut
        )

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


class Priced:
    """A rate [currency/kWh], shape (S, T), and its sums over steps."""

    def __init__(self, rate: Floats) -> None:
        self.rate = np.where(np.isfinite(rate), rate, 0.0)
        self.sums = np.concatenate([np.zeros((len(rate), 1)), np.cumsum(self.rate, axis=1)], axis=1)


class Finder:
    """The cheapest spot for one job of a shape, given the room there is.

    Jobs of whole steps and one level are looked up directly; all others are left to the kernels, which see what is full
    as dear.
    """

    def __init__(self, shapes: Shapes, field: Field) -> None:
        self._shapes, self._field = shapes, field
        jobs = shapes.jobs
        plain = (jobs.speed == jobs.speed[:, :1]).all(axis=1)
        length = jobs.work / jobs.speed[:, 0]
        near = np.abs(length - np.round(length)) < 1e-9
        whole = near & (jobs.release % 1 == 0) & (jobs.deadline % 1 == 0)
        free = (jobs.resume_steps == 0) & (jobs.resume_kwh == 0)
        self._direct = (plain & whole & (free | ~jobs.preemptible)).tolist()
        self._pauses = jobs.preemptible.tolist()
        self._from, self._until = jobs.release.astype(int).tolist(), jobs.deadline.astype(int).tolist()
        self._steps = np.round(length).astype(int).tolist()
        self._speed = jobs.speed[:, 0].tolist()
        self._anywhere = [bool(row.all()) for row in jobs.allowed]
        self._most = (jobs.power_w.max(axis=1) / 1e3).tolist()
        self._entry = jobs.entry_cost
        self._costs_nothing = [not row.any() for row in jobs.entry_cost]
        reach = float(np.nanmax(np.abs(field.rate), initial=1.0))
        self._never = 1e4 * reach * field.limit.shape[1]

    def find(self, shape: int, room: Floats, units: float, priced: Priced, shut: float) -> Spot | None:
        if not self._direct[shape]:
            return self._by_kernel(shape, room, units, priced, shut)
        begin, end, need = self._from[shape], self._until[shape], self._steps[shape]
        fits: Bools = room[:, begin:end] >= units
        found = (self._paused if self._pauses[shape] else self._through)(shape, fits, begin, end, need, priced, shut)
        if found is None:
            return None
        cost, site, step = found
        return Spot(
            cost, site, step, np.full(need, self._speed[shape]), np.full(need, self._field.step_h)
        )  # one level, so 1 kW

    def _through(
        self, shape: int, fits: Bools, begin: int, end: int, need: int, priced: Priced, shut: float
    ) -> tuple[float, int, Ints] | None:
        sums = priced.sums
        cost = (sums[:, begin + need : end + 1] - sums[:, begin : end - need + 1]) * self._field.step_h
        cost = self._with_entry(shape, cost)
        if not fits.all():
            full = np.zeros((len(fits), end - begin + 1), dtype=np.int64)
            np.cumsum(~fits, axis=1, out=full[:, 1:])
            blocked = full[:, need:] - full[:, :-need]
            cost = np.where(
                blocked > 0, np.inf if np.isinf(shut) else cost + blocked * (shut * self._field.step_h), cost
            )
        at = int(np.argmin(cost))
        site, start = divmod(at, cost.shape[1])
        least = float(cost[site, start])
        return None if np.isinf(least) else (least, site, np.arange(begin + start, begin + start + need))

    def _paused(
        self, shape: int, fits: Bools, begin: int, end: int, need: int, priced: Priced, shut: float
    ) -> tuple[float, int, Ints] | None:
        each = priced.rate[:, begin:end]
        if not fits.all():
            each = np.where(fits, each, np.inf if np.isinf(shut) else each + shut)
        cost = np.partition(each, need - 1, axis=1)[:, :need].sum(axis=1) * self._field.step_h
        cost = self._with_entry(shape, cost)
        site = int(np.argmin(cost))
        least = float(cost[site])
        if np.isinf(least):
            return None
        return least, site, begin + np.sort(np.argpartition(each[site], need - 1)[:need])

    def _with_entry(self, shape: int, cost: Floats) -> Floats:
        if not self._costs_nothing[shape]:
            entry = self._entry[shape]
            cost = cost + (entry[:, np.newaxis] if cost.ndim == 2 else entry)
        if not self._anywhere[shape]:
            cost = cost.copy()
            may_not: Bools = np.logical_not(self._shapes.jobs.allowed[shape])
            cost[may_not] = np.inf
        return cost

    def _by_kernel(self, shape: int, room: Floats, units: float, priced: Priced, shut: float) -> Spot | None:
        one = self._shapes.jobs.take(np.array([shape]))
        full = room < units * self._most[shape]
        dear = self._never if np.isinf(shut) else shut
        cost, columns = cheapest(one, self._field, np.where(full, priced.rate + dear, priced.rate))
        site = int(columns.site[0])
        # A part of a step, or a level below the highest, may fit where the whole would not.
        fits = bool((columns.energy * (units / self._field.step_h) <= room[site, columns.step]).all())
        if np.isinf(shut) and not fits:
            return None
        if fits:
            cost = columns.dear(priced.rate[site, columns.step]) + self._entry[shape, site]
        return Spot(float(cost[0]), site, columns.step, columns.work, columns.energy)
