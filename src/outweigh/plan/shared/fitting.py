"""Jobs that found no room: a few jobs at a time are taken out and put in again, until all are in or patience ends."""

from __future__ import annotations

from typing import Final

import numpy as np

from outweigh.plan.problem import Floats
from outweigh.plan.shared.finding import Priced, Spot
from outweigh.plan.shared.local_search import spot_of
from outweigh.plan.shared.packing import Packing

# Attempts a job and in all, and the work more that may be out after one at first, in jobs of mean size.
_TURNS_A_JOB: Final = 100
_TURNS: Final = 40_000
_HEAT: Final = 0.5
# Rates by which jobs look for room, and how far they are from the true one: all by the same would all go there.
_RATES: Final = 8
_NOISE: Final = 1.0


def fit(packing: Packing, left: list[int], prices: Floats, *, turns: int | None = None) -> list[int]:
    """Find room for the jobs of these rows, at any cost.

    One of those that are out goes where it would like to be, some who are there make room and look for another, and who
    finds none is out. The work that is out may rise now and then, less and less (simulated annealing). Taking out and
    putting in what stays out in a bank: Ropke and Pisinger, Transportation Science 40(4), 2006.

    Args:
        left: rows of jobs that are not in, each as often as it has such jobs.
        prices: rate with what capacity is worth in it [currency/kWh], shape (S, T).
        turns: attempts; as many as pay if not given.

    Returns:
        The rows that are still out. That there is room for them is not refuted by it.
    """
    bank = _Bank(packing, left, prices)
    turns = min(_TURNS, _TURNS_A_JOB * bank.jobs) if turns is None else turns
    for turn in range(turns):
        if not bank.out:
            break
        bank.turn((3, 6, 10)[turn % 3], _HEAT * (1 - turn / turns) ** 2)
    return bank.finish()


class _Bank:
    def __init__(self, packing: Packing, left: list[int], prices: Floats) -> None:
        packing.settle()
        self._packing = packing
        # The plan made twice is the same plan.
        self._chance = np.random.default_rng(20260303)
        self._rows: list[int] = []
        self._spots: list[Spot | None] = []
        for row, column, count in zip(
            packing.job.tolist(), packing.column.tolist(), packing.count.tolist(), strict=True
        ):
            self._rows += [row] * count
            self._spots += [spot_of(packing.columns, column)] * count
        self.jobs = len(self._rows) + len(left)
        self.out = list(range(len(self._rows), self.jobs))
        self._rows += left
        self._spots += [None] * len(left)
        shapes = packing.shapes
        size: Floats = shapes.kw[self._rows] * shapes.jobs.work[shapes.member[self._rows]]
        self._size = size / size.mean()
        known = np.where(np.isfinite(prices), prices, 0.0)
        self._unit = float(np.abs(known).mean()) or 1.0
        self._priced = [Priced(known)]
        for _ in range(_RATES - 1):
            self._priced.append(Priced(known + _NOISE * self._unit * self._chance.random(known.shape)))
        self._site = np.full(self.jobs, -1)
        self._begin, self._end = np.zeros((2, self.jobs), dtype=np.int64)
        for item, spot in enumerate(self._spots):
            self._note(item, spot)
        self._best = self._missing, list(self._spots)

    @property
    def _missing(self) -> float:
        return float(self._size[self.out].sum())

    def turn(self, many: int, heat: float) -> None:
        packing, chance = self._packing, self._chance
        before, missing = packing.free.copy(), self._missing
        first = self.out[int(chance.integers(len(self.out)))]
        priced = self._priced[int(chance.integers(_RATES))]
        wish = packing.find(self._rows[first], priced, shut=float(chance.choice((0.0, 0.3, 3.0))) * self._unit)
        assert wish is not None  # with `shut` there always is one: `Places.jobs` checked the windows
        there = (self._site == wish.site) & (self._begin <= wish.step[-1]) & (self._end >= wish.step[0])
        near = chance.permutation(np.flatnonzero(there))[:many].tolist()
        old = {item: self._spots[item] for item in (first, *near)}
        for item in near:
            self._draw(item, old[item], 1.0)
        found: dict[int, Spot | None] = dict.fromkeys(old)
        if self._fits(first, wish):
            found[first] = wish
            self._draw(first, wish, -1.0)
        rest = [item for item in old if found[item] is None]
        for item in sorted(rest, key=lambda item: -self._size[item] * chance.uniform(0.5, 1.5)):
            found[item] = packing.find(self._rows[item], priced)
            self._draw(item, found[item], -1.0)
        out = [item for item in self.out if item not in found] + [item for item in found if found[item] is None]
        if float(self._size[out].sum()) > missing + heat * float(chance.exponential()):
            packing.free[:] = before
            return
        self.out = out
        for item, spot in found.items():
            self._spots[item] = spot
            self._note(item, spot)
        if self._missing < self._best[0] - 1e-9:
            self._best = self._missing, list(self._spots)

    def finish(self) -> list[int]:
        """Hand back the plan with the least work out, and who is out."""
        packing = self._packing
        packing.empty()
        out = []
        for row, spot in zip(self._rows, self._best[1], strict=True):
            if spot is None:
                out.append(row)
            else:
                packing.put(row, spot)
        packing.settle()
        return out

    def _note(self, item: int, spot: Spot | None) -> None:
        self._site[item] = -1 if spot is None else spot.site
        if spot is not None:
            self._begin[item], self._end[item] = spot.step[0], spot.step[-1]

    def _draw(self, item: int, spot: Spot | None, sign: float) -> None:
        if spot is not None:
            units = float(self._packing.units[self._rows[item]]) / self._packing.field.step_h
            self._packing.free[spot.site, spot.step] += spot.energy * (sign * units)

    def _fits(self, item: int, spot: Spot) -> bool:
        packing = self._packing
        units = float(packing.units[self._rows[item]]) / packing.field.step_h
        room = packing.free[spot.site, spot.step] + packing.tolerance[spot.site, spot.step]
        return bool((spot.energy * units <= room).all())
