"""The pricing step: the cheapest run of every shape when capacity has a price, and the bound that follows from it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from outweigh.plan.offers import offers, runs
from outweigh.plan.problem import Floats, Ints, Jobs
from outweigh.plan.shared.capacity import CapacityPrices
from outweigh.plan.shared.classes import Shapes
from outweigh.plan.shared.columns import Columns


@dataclass(frozen=True, slots=True, eq=False)
class Field:
    """What all sites ask for energy and offer as capacity. S sites, T steps.

    Attributes:
        rate: cost of IT energy [currency/kWh], shape (S, T).
        step_h: length of a step [h].
        limit: what is left for the jobs to plan, in units of capacity, >= 0, shape (S, T); inf is no limit.
        pue: facility over IT power, shape (S, T).
        demand_rate: [currency per facility kW], shape (S,); empty where peaks cost nothing.
        spare_kw: how far facility power can rise in a step before a new peak is paid, shape (S, T).
            Negative where what is committed is a new peak already.
        holds: what a site can give at any moment of a step, in units, shape (S, T); as `limit` if not given. A plan
            below lower peaks has a lower limit to the mean of a step, and the site is still as large as it is.
    """

    rate: Floats
    step_h: float
    limit: Floats
    pue: Floats
    demand_rate: Floats
    spare_kw: Floats
    holds: Floats | None = None

    @property
    def given(self) -> Floats:
        return self.limit if self.holds is None else self.holds

    @property
    def charged(self) -> bool:
        return bool(self.demand_rate.size)

    def priced(self, prices: CapacityPrices, units_per_kw: float) -> Floats:
        """The rate with the capacity a kWh takes in it [currency/kWh], shape (S, T)."""
        rate = self.rate + units_per_kw * prices.limit
        return rate + self.pue * prices.demand / self.step_h if self.charged else rate

    def worth(self, prices: CapacityPrices) -> float:
        """What all capacity together is worth at these prices [currency]: what the bound pays back."""
        bounded = np.isfinite(self.limit)
        paid = float(np.sum(prices.limit[bounded] * self.limit[bounded])) * self.step_h
        if self.charged:
            paid += float(np.sum(prices.demand * self.spare_kw))
        return paid


@dataclass(frozen=True, slots=True, eq=False)
class Priced:
    """The answer to prices of capacity.

    Attributes:
        best: least priced cost of each shape [currency/kW], shape (K,).
        columns: a run that costs that, of each shape in order.
    """

    best: Floats
    columns: Columns


class Pricer(Protocol):
    """Whoever finds the cheapest runs: this process, or several."""

    def price(self, prices: CapacityPrices) -> Priced: ...


class LocalPricer:
    """Prices all shapes in this process."""

    def __init__(self, shapes: Shapes, field: Field) -> None:
        self._field = field
        self._lots = [
            (ratio, rows, shapes.jobs.take(rows))
            for ratio in np.unique(shapes.units_per_kw).tolist()
            for rows in (np.flatnonzero(shapes.units_per_kw == ratio),)
        ]
        self._count = len(shapes)

    def price(self, prices: CapacityPrices) -> Priced:
        best, parts = np.empty(self._count), []
        for ratio, rows, jobs in self._lots:
            cost, columns = cheapest(jobs, self._field, self._field.priced(prices, ratio))
            best[rows] = cost
            columns.shape[:] = rows[columns.shape]
            parts.append(columns)
        joined = Columns.joined(parts)
        if len(parts) > 1:
            joined = joined.take(np.argsort(joined.shape, kind="stable"))
        return Priced(best, joined)


def cheapest(jobs: Jobs, field: Field, priced: Floats) -> tuple[Floats, Columns]:
    """Least cost of each job at the priced rate, and a run that costs that, as a column with its cost at the rate."""
    found = offers(jobs, priced, field.step_h)
    site = found.site
    each = np.arange(len(jobs))
    return found.cost[each, site], columns_at(jobs, field, priced, found, site)


def columns_at(jobs: Jobs, field: Field, priced: Floats, found: object, site: Ints) -> Columns:
    """The runs of `found` at these sites as columns, one a job."""
    use = runs(jobs, priced, field.step_h, found, site)  # type: ignore[arg-type]
    sizes = np.bincount(use.job, minlength=len(jobs))
    offset = np.concatenate([[0], np.cumsum(sizes)])
    each = np.arange(len(jobs))
    paid = np.bincount(use.job, use.energy_kwh * field.rate[use.site, use.step], minlength=len(jobs))
    return Columns(each, site, paid + jobs.entry_cost[each, site], offset, use.step, use.work, use.energy_kwh)
