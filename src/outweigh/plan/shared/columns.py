"""Columns: ways to run one kW of a shape, as sparse rows of energy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from outweigh.plan.problem import Bools, Floats, Ints


@dataclass(frozen=True, slots=True, eq=False)
class Columns:
    """P ways to run shapes, for 1 kW at the first level; M entries in the order of columns, then steps.

    Attributes:
        shape: which shape, shape (P,).
        site: where, shape (P,).
        cost: [currency/kW] at the rate of the sites, entry cost included, the price of capacity not, shape (P,).
        offset: where the entries of each column begin, and where the last end, shape (P + 1,).
        step: shape (M,).
        work: [steps at speed 1], shape (M,).
        energy: IT energy [kWh/kW], shape (M,).
    """

    shape: Ints
    site: Ints
    cost: Floats
    offset: Ints
    step: Ints
    work: Floats
    energy: Floats

    def __len__(self) -> int:
        return len(self.shape)

    @property
    def sizes(self) -> Ints:
        """Entries of each column, shape (P,)."""
        return np.diff(self.offset)

    @property
    def of_entry(self) -> Ints:
        """Which column each entry is of, shape (M,)."""
        return np.repeat(np.arange(len(self)), self.sizes)

    def cells(self, steps: int) -> Ints:
        """site x steps + step of each entry, shape (M,)."""
        return self.site[self.of_entry] * steps + self.step

    def take(self, rows: Ints | Bools) -> Columns:
        """The columns of these rows, in this order."""
        index = np.arange(len(self))[rows]
        sizes = self.sizes[index]
        offset = np.concatenate([[0], np.cumsum(sizes)])
        entry = np.arange(offset[-1]) + np.repeat(self.offset[index] - offset[:-1], sizes)
        return Columns(
            self.shape[index], self.site[index], self.cost[index], offset,
            self.step[entry], self.work[entry], self.energy[entry],
        )  # fmt: skip

    def dear(self, weight: Floats) -> Floats:
        """Sum over the entries of each column of energy x weight, which is one an entry; shape (P,)."""
        return np.add.reduceat(np.append(self.energy * weight, 0.0), self.offset[:-1]) * (self.sizes > 0)

    @classmethod
    def none(cls) -> Columns:
        nothing, empty = np.empty(0, np.int64), np.empty(0)
        return cls(nothing, nothing, empty, np.zeros(1, np.int64), nothing, empty, empty)

    @classmethod
    def joined(cls, parts: Sequence[Columns]) -> Columns:
        parts = [part for part in parts if len(part)]
        if not parts:
            return cls.none()
        shift = np.cumsum([0, *(part.offset[-1] for part in parts)])
        offset = [part.offset[:-1] + by for part, by in zip(parts, shift[:-1].tolist(), strict=True)]
        names = ("shape", "site", "cost", "step", "work", "energy")
        columns = {name: np.concatenate([getattr(part, name) for part in parts]) for name in names}
        return cls(offset=np.concatenate([*offset, shift[-1:]]), **columns)


class Seen:
    """Which columns are known already, by a hash of what they take where."""

    def __init__(self, sites: int, steps: int) -> None:
        # Fixed, so that a plan made twice is the same plan.
        self._mix = np.random.default_rng(20260301).random((sites, steps))
        self._known: set[tuple[int, int, float]] = set()

    def fresh(self, columns: Columns) -> Bools:
        """Which of them are new; they are known from now on."""
        mixed = columns.dear(self._mix[columns.site[columns.of_entry], columns.step])
        keys = zip(columns.shape.tolist(), columns.site.tolist(), np.round(mixed, 9).tolist(), strict=True)
        new = np.zeros(len(columns), dtype=np.bool_)
        for row, key in enumerate(keys):
            if key not in self._known:
                self._known.add(key)
                new[row] = True
        return new
