"""The master programme: which of the known runs to use, and what that says capacity is worth. Solved by HiGHS.

Over columns p of shapes k, in kW: minimise ``sum cost_p x_p`` so that the columns of a shape sum to its weight, what
they hold in a site and step fits, and the demand charge pays the highest step of a site. What does not fit is bought at
a price far above everything (`overload`), so that the programme always has an answer, and its answer says what is missing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from outweigh.core.errors import OutweighError
from outweigh.plan.problem import Floats, Ints
from outweigh.plan.shared.capacity import CapacityPrices
from outweigh.plan.shared.classes import Shapes
from outweigh.plan.shared.columns import Columns
from outweigh.plan.shared.pricing import Field

_INF: Final = float("inf")


@dataclass(frozen=True, slots=True, eq=False)
class MasterAnswer:
    """What the master says.

    Attributes:
        value: least cost over the known columns [currency], overload included.
        kw: of each column, shape (P,).
        prices: what capacity is worth by it.
        shape_price: what a kW of each shape costs by it [currency/kW], shape (K,).
        overload: units of capacity bought beyond the limit, shape (S, T).
    """

    value: float
    kw: Floats
    prices: CapacityPrices
    shape_price: Floats
    overload: Floats


class Master:
    """The programme, growing by columns.

    Args:
        overload_price: of a unit of capacity beyond the limit for a step [currency].
    """

    def __init__(self, shapes: Shapes, field: Field, overload_price: float) -> None:
        self._shapes, self._field = shapes, field
        self.overload_price = overload_price
        self.columns = Columns.none()
        self._parts: list[Columns] = []
        self._highs: Any = None
        self._cells = np.flatnonzero(np.isfinite(field.limit).ravel())
        self._row_of = np.full(field.limit.size, -1, dtype=np.int64)
        self._row_of[self._cells] = len(shapes) + np.arange(len(self._cells))
        # Numbers HiGHS sees are near 1: kW in shares of a typical shape, money in what a typical kW costs.
        self._kw = float(np.mean(shapes.weight_kw)) or 1.0
        self._money = 1.0

    def add(self, columns: Columns) -> None:
        """Columns that are not in it yet."""
        if self._highs is None:
            self._build(columns)
        cost = columns.cost / self._money
        start, index, value = self._entries(columns)
        self._highs.addCols(
            len(columns), cost, np.zeros(len(columns)), np.full(len(columns), _INF), len(index), start, index, value
        )
        self._parts.append(columns)

    def solve(self, *, exact: bool = False) -> MasterAnswer:
        """The best mix of the known columns."""
        highs = self._highs
        status = highs.run()
        solution = highs.getSolution()
        if not solution.value_valid or not solution.dual_valid:
            raise OutweighError(f"HiGHS did not solve the master programme ({status}, {highs.getModelStatus()})")
        primal, dual = np.asarray(solution.col_value), np.asarray(solution.row_dual)
        shapes, cells = len(self._shapes), len(self._cells)
        shape = self._field.limit.shape
        self.columns = Columns.joined([self.columns, *self._parts])
        self._parts = []
        overload = np.zeros(self._field.limit.size)
        extra = self._extra
        overload[self._cells] = primal[:cells] * self._kw
        limit = np.zeros(self._field.limit.size)
        # The dual of a row that says "at most" is not positive; a tolerance of the solver may have left it a little so.
        limit[self._cells] = np.maximum(-dual[shapes : shapes + cells], 0.0) * self._money / self._field.step_h
        demand = np.zeros((0, 0))
        if self._field.charged:
            demand = np.maximum(-dual[shapes + cells :], 0.0).reshape(shape) * self._money
            over = demand.sum(axis=1) / np.where(self._field.demand_rate > 0, self._field.demand_rate, 1.0)
            demand = np.where((self._field.demand_rate > 0)[:, np.newaxis], demand, 0.0)
            demand /= np.maximum(over, 1.0)[:, np.newaxis]
        return MasterAnswer(
            float(highs.getInfo().objective_function_value) * self._money * self._kw,
            np.maximum(primal[extra:], 0.0) * self._kw,
            CapacityPrices(limit.reshape(shape), demand),
            dual[:shapes] * self._money,
            overload.reshape(shape),
        )

    def _build(self, columns: Columns) -> None:
        import highspy

        self._money = float(np.mean(np.abs(columns.cost))) or 1.0
        highs = highspy.Highs()
        highs.setOptionValue("output_flag", False)
        highs.setOptionValue("threads", 1)
        shapes, field = self._shapes, self._field
        cells = len(self._cells)
        weight = shapes.weight_kw / self._kw
        lower = [weight, np.full(cells, -_INF)]
        upper = [weight, field.limit.ravel()[self._cells] / self._kw]
        if field.charged:
            lower.append(np.full(field.limit.size, -_INF))
            upper.append(field.spare_kw.ravel() / self._kw)
        low, high = np.concatenate(lower), np.concatenate(upper)
        nothing = np.empty(0, np.int32)
        highs.addRows(len(low), low, high, 0, np.zeros(len(low), np.int32), nothing, np.empty(0))
        each = np.arange(cells, dtype=np.int32)
        highs.addCols(
            cells, np.full(cells, self.overload_price / self._money), np.zeros(cells), np.full(cells, _INF),
            cells, each, (each + len(shapes)).astype(np.int32), np.full(cells, -1.0),
        )  # fmt: skip
        self._extra = cells
        if field.charged:
            sites, steps = field.limit.shape
            rows = len(shapes) + cells + np.arange(sites * steps)
            highs.addCols(
                sites, field.demand_rate / self._money, np.zeros(sites), np.full(sites, _INF), sites * steps,
                (np.arange(sites) * steps).astype(np.int32), rows.astype(np.int32), np.full(sites * steps, -1.0),
            )  # fmt: skip
            self._extra += sites
        self._highs = highs

    def _entries(self, columns: Columns) -> tuple[Ints, Ints, Floats]:
        """The matrix by columns: start, row and value."""
        field, of = self._field, columns.of_entry
        cell = columns.cells(field.limit.shape[1])
        kw = columns.energy / field.step_h
        row = self._row_of[cell]
        parts = [(np.arange(len(columns)), columns.shape, np.ones(len(columns)))]
        bounded = row >= 0
        parts.append((of[bounded], row[bounded], (kw * self._shapes.units_per_kw[columns.shape[of]])[bounded]))
        if field.charged:
            base = len(self._shapes) + len(self._cells)
            parts.append((of, base + cell, kw * field.pue.ravel()[cell]))
        column, row, value = (np.concatenate(each) for each in zip(*parts, strict=True))
        order = np.argsort(column, kind="stable")
        start = np.concatenate([[0], np.cumsum(np.bincount(column, minlength=len(columns)))])[:-1]
        return start.astype(np.int32), row[order].astype(np.int32), value[order]
