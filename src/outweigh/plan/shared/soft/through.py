"""Runs in one piece, softened over their starts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from outweigh.plan.kernels import Windows, contiguous_use
from outweigh.plan.problem import Bools, Floats, Ints
from outweigh.plan.shared.classes import Shapes
from outweigh.plan.shared.columns import Columns
from outweigh.plan.shared.pricing import Field
from outweigh.plan.shared.soft.options import Pairs


@dataclass(frozen=True, slots=True)
class _Times:
    """Points in time: where the edge before them is in sums of (S, T + 2), and the fraction of a step after it."""

    at: Ints
    part: Floats

    @classmethod
    def of(cls, time: Floats, site: Ints, steps: int) -> _Times:
        edge = np.floor(time)
        return cls(edge.astype(np.int64) + (site * (steps + 2))[:, np.newaxis], time - edge)

    def read(self, sums: Floats, *, whole: bool) -> Floats:
        left = sums.take(self.at)
        return left if whole else left + self.part * (sums.take(self.at + 1) - left)


class Through:
    """Runs without a pause at one level: one option for every start."""

    def __init__(self, shapes: Shapes, field: Field, pairs: Pairs) -> None:
        self.pairs = pairs
        self._shapes, self._field = shapes, field
        row, site = pairs.shape, pairs.site
        jobs, steps = shapes.jobs, field.rate.shape[1]
        self._length, self._kw = pairs.length(shapes), pairs.kw(shapes)
        self._kwh = self._length * field.step_h * self._kw
        self._start, real = starts(jobs.release[row], jobs.deadline[row], self._length)
        self._from = _Times.of(self._start, site, steps)
        self._to = _Times.of(np.minimum(self._start + self._length[:, np.newaxis], steps), site, steps)
        self._whole = not (self._from.part.any() or self._to.part.any())
        entry = jobs.entry_cost[row, site]
        self._extra = np.where(real, entry[:, np.newaxis], np.inf)
        self._plain = bool(real.all() and not entry.any())
        self._one = bool((self._kw == 1).all())
        self._share: Floats = np.empty((0, 0))
        self._total: Floats = np.empty(0)

    def of(self, pairs: Pairs) -> Through:
        return Through(self._shapes, self._field, pairs)

    def cost(self, rate: Floats, temperature: float) -> Floats:
        sums = np.zeros((len(rate), rate.shape[1] + 2))
        np.cumsum(np.nan_to_num(rate) * self._field.step_h, axis=1, out=sums[:, 1:-1])
        sums[:, -1] = sums[:, -2]
        cost = self._to.read(sums, whole=self._whole)
        cost -= self._from.read(sums, whole=self._whole)
        if not self._one:
            cost *= self._kw[:, np.newaxis]
        if not self._plain:
            cost += self._extra
        heat = (temperature * self._kwh)[:, np.newaxis]
        least = cost.min(axis=1)
        np.subtract(least[:, np.newaxis], cost, out=cost)
        cost /= heat
        share = np.exp(cost, out=cost)
        self._share, self._total = share, share.sum(axis=1)
        return np.asarray(least - heat[:, 0] * np.log(self._total))

    def drawn(self, kw: Floats, cells: int) -> Floats:
        sites, steps = self._field.rate.shape
        size = sites * (steps + 2)
        held = self._share
        held *= (kw * self._kw / self._total)[:, np.newaxis]  # asked once for every cost
        flat = held.ravel()
        # A run draws from its start on and no more from its end on: sum the changes.
        change = np.bincount(self._from.at.ravel(), flat, size) - np.bincount(self._to.at.ravel(), flat, size)
        if not self._whole:
            for time, sign in ((self._from, -1.0), (self._to, 1.0)):
                late = (held * time.part).ravel() * sign
                change += np.bincount(time.at.ravel(), late, size) - np.bincount(time.at.ravel() + 1, late, size)[:size]
        return np.cumsum(change.reshape(sites, -1), axis=1)[:, :steps].ravel()

    def columns(self, kw: Floats, rate: Floats) -> tuple[Columns, Floats]:
        each = self._share * (kw / self._total)[:, np.newaxis]
        pair, which = np.nonzero(each > 1e-4 * self._shapes.weight_kw[self.pairs.shape][:, np.newaxis])
        start, site = self._start[pair, which], self.pairs.site[pair]
        use = contiguous_use(Windows(site, start, start, self._length[pair]), start)
        offset = np.concatenate([[0], np.cumsum(np.bincount(use.row, minlength=len(site)))])
        of = pair[use.row]
        work = use.work * self._shapes.jobs.speed[self.pairs.shape[of], self.pairs.level[of]]
        energy = use.draw * self._field.step_h * self._kw[of]
        columns = Columns(self.pairs.shape[pair], site, np.zeros(len(site)), offset, use.step, work, energy)
        return columns, each[pair, which]


def starts(release: Floats, deadline: Floats, length: Floats) -> tuple[Floats, Bools]:
    """Starts worth looking at, and which of them are real and not padding; shape (n, U).

    The cost of a run is linear between starts at which it begins or ends at an edge (see `contiguous`).
    """
    latest = np.maximum(deadline - length, release)
    first, ends = np.ceil(release), np.ceil(release + length) - length
    parts = [release[:, np.newaxis], latest[:, np.newaxis]]
    real = [np.ones((len(release), 1), dtype=np.bool_), (latest > release)[:, np.newaxis]]
    whole = (release % 1 == 0) & (length % 1 == 0) & (deadline % 1 == 0)
    wide = int(np.max(latest - release, initial=0.0)) + 2
    for begin, skip in ((first, np.zeros_like(whole)), (ends, whole)):
        offered = begin[:, np.newaxis] + np.arange(wide)
        inside = (offered > release[:, np.newaxis] + 1e-9) & (offered < latest[:, np.newaxis] - 1e-9)
        parts.append(np.clip(offered, release[:, np.newaxis], latest[:, np.newaxis]))
        real.append(inside & ~skip[:, np.newaxis])
    start, true = np.concatenate(parts, axis=1), np.concatenate(real, axis=1)
    keep = true.any(axis=0)
    return start[:, keep], true[:, keep]
