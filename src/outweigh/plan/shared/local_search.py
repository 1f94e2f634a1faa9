"""Make a plan cheaper one job at a time: whoever could run cheaper where there is room now, does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np

from outweigh.plan.problem import Floats
from outweigh.plan.shared.columns import Columns
from outweigh.plan.shared.finding import Priced, Spot
from outweigh.plan.shared.packing import Packing

# How often pauses that cost are looked for; a run in one piece is found much faster.
_THOROUGH: Final = 0.2


def improve(packing: Packing, rate: Floats, least: Floats, *, stop: Callable[[], bool]) -> float:
    """One pass over all assignments, those with most to gain first. Returns what was gained [currency].

    Args:
        rate: true cost of energy [currency/kWh], shape (S, T).
        least: what a kW of each shape costs at this rate where there is room for all, shape (K,).
        stop: asked now and then.
    """
    packing.settle()
    priced = Priced(rate)
    shapes = packing.shapes
    kw = shapes.kw[packing.job]
    now = packing.columns.cost[packing.column]
    could = (now - least[shapes.member[packing.job]]) * kw
    order = np.argsort(-could, kind="stable")
    order = order[could[order] > 1e-9 * max(float(np.max(np.abs(now * kw), initial=0.0)), 1e-300)]
    gained = 0.0
    for number, assignment in enumerate(order.tolist()):
        if number % 64 == 0 and stop():
            break
        row = int(packing.job[assignment])
        left = int(packing.count[assignment])
        while left:
            packing.take_out(assignment)
            spot = packing.find(row, priced)
            if spot is None or spot.cost >= now[assignment] - 1e-12 * abs(now[assignment]):
                packing.put_back(assignment)
                break
            packing.put(row, spot)
            # Where one of many moves to, others may, too.
            many = packing.fitting(row, spot, left - 1) if left > 1 else 0
            if many:
                packing.take_out(assignment, many)
                packing.put(row, spot, many)
            left -= 1 + many
            gained += (float(now[assignment]) - spot.cost) * float(shapes.kw[row]) * (1 + many)
    packing.settle()
    return gained


class Neighbourhood:
    """Large neighbourhoods: take some jobs out that are in each other's way, put them in again in another order.

    Source: Shaw, Using constraint programming and local search methods to solve vehicle routing problems, CP 1998.

    Args:
        rate: true cost [currency/kWh], shape (S, T).
        worth: what capacity is worth [currency/kWh of a unit], shape (S, T).
    """

    def __init__(self, packing: Packing, rate: Floats, worth: Floats, least: Floats) -> None:
        packing.settle()
        self._packing = packing
        # The plan made twice is the same plan.
        self._chance = np.random.default_rng(20260302)
        shapes = packing.shapes
        self._rate = rate
        self._priced = [Priced(rate + share * worth) for share in (0.0, 0.5, 1.0, 1.0)]
        self._rows: list[int] = []
        self._spots: list[Spot] = []
        for row, column, count in zip(
            packing.job.tolist(), packing.column.tolist(), packing.count.tolist(), strict=True
        ):
            spot = spot_of(packing.columns, column)
            self._rows += [row] * count
            self._spots += [spot] * count
        self._kw = shapes.kw[self._rows]
        self._size = self._kw * shapes.jobs.work[shapes.member[self._rows]]
        self._regret = np.array([
            (spot.cost - least[shapes.member[row]]) * shapes.kw[row]
            for row, spot in zip(self._rows, self._spots, strict=True)
        ])  # fmt: skip
        self._least = least[shapes.member[self._rows]] * self._kw
        self._site = np.array([spot.site for spot in self._spots])
        self._begin = np.array([spot.step[0] for spot in self._spots])
        self._end = np.array([spot.step[-1] for spot in self._spots])
        self._scale = self.paid
        self._best = self.paid, list(self._spots)
        self._floor = 1e-3 * max(float(self._regret.mean()), 1e-300)
        self._weight = np.maximum(self._regret, 0.0) + self._floor
        known = float(np.abs(self._priced[0].rate).mean())
        self._shut = (0.0, 0.1 * known, 0.3 * known)

    @property
    def paid(self) -> float:
        return float((self._regret + self._least).sum())

    def turn(self, many: int, heat: float = 0.0) -> float:
        """One attempt: a job goes where it would be cheapest, others make room. Returns the gain [currency], or 0.

        Args:
            many: others that are taken out, at most.
            heat: a loss of this size is accepted about every third time [currency] (simulated annealing: Kirkpatrick,
                Gelatt and Vecchi, Science 220, 1983).
        """
        packing, before = self._packing, self._packing.free.copy()
        first, wish, others = self._choose(many)
        out = [first, *others]
        for item in out:
            self._lift(item)
        priced = self._priced[int(self._chance.integers(len(self._priced)))]
        found: dict[int, Spot] = {}
        if self._fits(first, wish):
            found[first] = wish
            self._place(first, wish)
        rest = [item for item in out if item not in found]
        for item in sorted(rest, key=lambda item: -self._size[item] * self._chance.uniform(0.5, 1.5)):
            spot = packing.find(self._rows[item], priced, thorough=self._chance.random() < _THOROUGH)
            if spot is None:
                break
            found[item] = spot
            self._place(item, spot)
        if len(found) == len(out):
            regret = {item: self._true(item, spot) - self._least[item] for item, spot in found.items()}
            gain = float(sum(self._regret[item] - regret[item] for item in out))
            if gain > 1e-12 * abs(self._scale) - heat * float(self._chance.exponential()):
                for item, spot in found.items():
                    self._take(item, spot, regret[item])
                return gain
        packing.free[:] = before
        return 0.0

    def keep(self) -> None:
        """Remember this plan if it is the best so far."""
        if self.paid < self._best[0]:
            self._best = self.paid, list(self._spots)

    def finish(self) -> None:
        """Hand the best plan back."""
        self.keep()
        packing = self._packing
        packing.empty()
        for row, spot in zip(self._rows, self._best[1], strict=True):
            packing.put(row, spot)
        packing.settle()

    def _choose(self, many: int) -> tuple[int, Spot, list[int]]:
        """A job that loses much, where it would like to be, and some of those who are there or thereabouts."""
        chance = self._chance
        first = int(np.searchsorted(np.cumsum(self._weight), chance.random() * float(self._weight.sum())))
        first = min(first, len(self._rows) - 1)
        priced = self._priced[int(chance.integers(len(self._priced)))]
        shut = float(chance.choice(self._shut))
        wish = self._packing.find(self._rows[first], priced, shut=shut, thorough=chance.random() < _THOROUGH)
        assert wish is not None  # it has a place now
        there = (self._site == wish.site) & (self._begin <= wish.step[-1]) & (self._end >= wish.step[0])
        there[first] = False
        near = np.flatnonzero(there)
        return first, wish, chance.permutation(near)[:many].tolist()

    def _fits(self, item: int, spot: Spot) -> bool:
        packing = self._packing
        units = float(packing.units[self._rows[item]]) / packing.field.step_h
        room = packing.free[spot.site, spot.step] + packing.tolerance[spot.site, spot.step]
        return bool((spot.energy * units <= room).all())

    def _take(self, item: int, spot: Spot, regret: float) -> None:
        self._spots[item], self._regret[item] = spot, regret
        self._weight[item] = max(regret, 0.0) + self._floor
        self._site[item], self._begin[item], self._end[item] = spot.site, spot.step[0], spot.step[-1]

    def _lift(self, item: int) -> None:
        spot = self._spots[item]
        units = float(self._packing.units[self._rows[item]]) / self._packing.field.step_h
        self._packing.free[spot.site, spot.step] += spot.energy * units

    def _place(self, item: int, spot: Spot) -> None:
        units = float(self._packing.units[self._rows[item]]) / self._packing.field.step_h
        self._packing.free[spot.site, spot.step] -= spot.energy * units

    def _true(self, item: int, spot: Spot) -> float:
        shapes = self._packing.shapes
        entry = shapes.jobs.entry_cost[shapes.member[self._rows[item]], spot.site]
        return float((self._rate[spot.site, spot.step] @ spot.energy + entry) * self._kw[item])


def spot_of(columns: Columns, column: int) -> Spot:
    """A column as a spot."""
    entry = slice(int(columns.offset[column]), int(columns.offset[column + 1]))
    return Spot(
        float(columns.cost[column]),
        int(columns.site[column]),
        columns.step[entry],
        columns.work[entry],
        columns.energy[entry],
    )
