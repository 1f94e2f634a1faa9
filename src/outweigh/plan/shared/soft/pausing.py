"""Runs that may pause for nothing, softened over the steps of their windows."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import numpy as np

from outweigh.plan.kernels import Hull, hull
from outweigh.plan.offers import W_PER_KW, offers
from outweigh.plan.problem import Floats
from outweigh.plan.shared.classes import Shapes
from outweigh.plan.shared.columns import Columns
from outweigh.plan.shared.pricing import Field, columns_at
from outweigh.plan.shared.soft.options import Pairs

# exp(-40) of a shape is nothing.
_COLD: Final = 40.0
# A step that is outside of a window costs more than any other; not inf, which would make NaN of differences.
_NEVER: Final = 1e200
# Shares of steps sum to the need this closely [steps]: the value is flat there, its error is the square of this.
_EXACT: Final = 1e-5
_STRIDE: Final = 4.0
# Mixed runs of a shape at a site that may pause, at most.
_MIXES: Final = 16


class Pausing:
    """Runs of one level that may pause for nothing: every step of the window counts by how cheap it is.

    With y the share of a step that runs, ``min sum r y`` over ``sum y = need`` is softened by the entropy of y and
    1 - y, which gives ``y = 1 / (1 + exp((r - level) / temperature))`` with the level at which they sum to the need.
    """

    def __init__(self, shapes: Shapes, field: Field, pairs: Pairs) -> None:
        self.pairs = pairs
        self._shapes, self._field = shapes, field
        row, site = pairs.shape, pairs.site
        jobs, steps = shapes.jobs, field.rate.shape[1]
        self._length = pairs.length(shapes)
        self._entry = jobs.entry_cost[row, site]
        self._first = np.floor(jobs.release[row]).astype(np.int64)
        width = int((np.ceil(jobs.deadline[row]) - self._first).max())
        step = self._first[:, np.newaxis] + np.arange(width)
        room = np.minimum(step + 1, jobs.deadline[row, np.newaxis]) - np.maximum(step, jobs.release[row, np.newaxis])
        self._room = np.maximum(room, 0.0)
        self._full = bool((self._room == 1).all())
        self._steps = bool((self._length % 1 == 0).all())
        self._cell = np.minimum(step, steps - 1) + (site * steps)[:, np.newaxis]
        self._last: Floats | None = None
        self._share: Floats = np.empty((0, 0))

    def of(self, pairs: Pairs) -> Pausing:
        return Pausing(self._shapes, self._field, pairs)

    def cost(self, rate: Floats, temperature: float) -> Floats:
        each = self._prices(rate)
        level = self._ranked(each, temperature) if self._last is None else self._last
        level, on = self._level(each, level, temperature, 5)
        if self._off(on) > _EXACT and self._last is not None:
            level, on = self._level(each, self._ranked(each, temperature), temperature, 60)
        self._last = level
        # ln(1 + exp(x)) by the share: x + ln(1 + exp(-x)) where x > 0, so that neither end overflows.
        rest = (level[:, np.newaxis] - each) / temperature
        soft = np.maximum(rest, 0.0) - np.log(np.maximum(on, 1 - on))
        soft = (soft if self._full else soft * self._room).sum(axis=1)
        self._share = on
        return np.asarray((level * self._length - temperature * soft) * self._field.step_h + self._entry)

    def _prices(self, rate: Floats) -> Floats:
        each = np.nan_to_num(rate).take(self._cell)
        if not self._full:
            each[self._room == 0] = _NEVER
        return np.asarray(each)

    def _ranked(self, each: Floats, temperature: float) -> Floats:
        """Between the dearest step that runs and the cheapest that does not; of parts, the one that runs in part."""
        if not (self._full and self._steps):
            return self._partly(each)
        rank = np.clip(np.ceil(self._length).astype(np.int64) - 1, 0, each.shape[1] - 1)
        ranked = np.sort(each, axis=1)
        at = np.arange(len(each))
        low, above = ranked[at, rank], ranked[at, np.minimum(rank + 1, each.shape[1] - 1)]
        return np.asarray(np.where(above < _NEVER, (low + above) / 2, low + 10 * temperature))

    def _partly(self, each: Floats) -> Floats:
        order = np.argsort(each, axis=1)
        ahead = np.cumsum(np.take_along_axis(self._room, order, axis=1), axis=1)
        last = np.minimum((ahead < self._length[:, np.newaxis] - 1e-9).sum(axis=1), each.shape[1] - 1)
        at = np.arange(len(each))
        return np.asarray(np.minimum(each[at, order[at, last]], _NEVER / 2))

    def _level(self, each: Floats, level: Floats, temperature: float, turns: int) -> tuple[Floats, Floats]:
        """Newton's method between ends that close in."""
        down = each.min(axis=1) - _COLD * temperature
        up = np.where(self._room > 0, each, -_NEVER).max(axis=1) + _COLD * temperature
        level = np.clip(level, down, up)
        for _ in range(turns):
            on = self._on(each, level, temperature)
            drawn = on if self._full else self._room * on
            error = drawn.sum(axis=1) - self._length
            if np.abs(error).max() < _EXACT:
                return level, on
            up, down = np.where(error > 0, level, up), np.where(error < 0, level, down)
            slope = (drawn * (1 - on)).sum(axis=1) / temperature
            # Never further than a few temperatures at once: the sum of sigmoids is far from straight.
            ahead = level - np.clip(error / np.maximum(slope, 1e-300), -_STRIDE * temperature, _STRIDE * temperature)
            level = np.where((ahead >= down) & (ahead <= up), ahead, (up + down) / 2)
        return level, self._on(each, level, temperature)

    def _off(self, on: Floats) -> float:
        drawn = on if self._full else self._room * on
        return float(np.abs(drawn.sum(axis=1) - self._length).max())

    @staticmethod
    def _on(each: Floats, level: Floats, temperature: float) -> Floats:
        over = (each - level[:, np.newaxis]) / temperature
        np.clip(over, -_COLD, _COLD, out=over)
        np.exp(over, out=over)
        over += 1
        return np.asarray(np.reciprocal(over, out=over))

    def drawn(self, kw: Floats, cells: int) -> Floats:
        drawn = self._share * kw[:, np.newaxis] if self._full else self._share * self._room * kw[:, np.newaxis]
        return np.asarray(np.bincount(self._cell.ravel(), drawn.ravel(), cells), dtype=np.float64)

    def columns(self, kw: Floats, rate: Floats) -> tuple[Columns, Floats]:
        on, row = self._share, self.pairs.shape
        all_kw = self._shapes.weight_kw[row]
        pair = np.flatnonzero(kw > 1e-4 * all_kw)
        power = kw[pair]
        mixes = np.clip(np.round(_MIXES * power / all_kw[pair]), 1, _MIXES).astype(np.int64)
        of = np.repeat(pair, mixes)
        nth = np.arange(len(of)) - np.repeat(np.cumsum(mixes) - mixes, mixes)
        # Steps stand in line, each as long as its share; a mix takes those beside equally spaced marks, so that all
        # mixes together run every step for its share (systematic sampling: Madow, Ann. Math. Stat. 20(3), 1949).
        room, need = self._room[of], self._length[of]
        share = on[of] * room
        share *= (need / share.sum(axis=1))[:, np.newaxis]
        mark = ((nth + 0.5) / np.repeat(mixes, mixes))[:, np.newaxis]
        ahead = np.cumsum(share, axis=1)
        taken = np.floor(ahead + mark + 1e-12) - np.floor(ahead - share + mark + 1e-12)
        sums = taken.sum(axis=1)
        simple = (need % 1 == 0) & (sums == need) & (taken <= room).all(axis=1)
        for at in np.flatnonzero(~simple).tolist():
            taken[at] = _filled(share[at], room[at], float(need[at]))
        line, offset = np.nonzero(taken)
        amount = taken[line, offset]
        sizes = np.bincount(line, minlength=len(of))
        shape, site = self.pairs.shape[of], self.pairs.site[of]
        return (
            Columns(
                shape, site, np.zeros(len(of)), np.concatenate([[0], np.cumsum(sizes)]),
                self._first[of[line]] + offset, amount * self._shapes.jobs.speed[shape[line], 0],
                amount * self._field.step_h,
            ),
            np.repeat(power / mixes, mixes),
        )  # fmt: skip


class Elastic(Pausing):
    """Runs of several levels that may pause and change for nothing: as `Pausing`, of pieces of steps.

    A piece is what a level on the hull adds in a step: so much more work, at so much more power for each of it. A kWh
    that is paid for being used (a negative rate) would turn the hull over; that is left to the exact bound.
    """

    def __init__(self, shapes: Shapes, field: Field, pairs: Pairs) -> None:
        super().__init__(shapes, field, pairs)
        jobs = shapes.jobs
        kinds: dict[bytes, Hull] = {}
        hulls = []
        for row in pairs.shape.tolist():
            levels = jobs.speed[row], jobs.power_w[row] / W_PER_KW
            key = levels[0].tobytes() + levels[1].tobytes()
            if key not in kinds:
                kinds[key] = hull(*levels)
            hulls.append(kinds[key])
        most = max(len(one.speed) for one in hulls)
        speed, slope = np.zeros((len(hulls), most)), np.ones((len(hulls), most))
        for at, one in enumerate(hulls):
            speed[at, : len(one.speed)] = one.speed
            slope[at, : len(one.speed)] = one.power_w / one.speed
        shape = (len(hulls), self._cell.shape[1] * most)
        self._length = jobs.work[pairs.shape]
        self._room = (self._room[:, :, np.newaxis] * speed[:, np.newaxis]).reshape(shape)
        self._slope = np.tile(slope, (1, self._cell.shape[1]))
        self._cell = np.repeat(self._cell, most, axis=1)
        self._full = False

    def of(self, pairs: Pairs) -> Elastic:
        return Elastic(self._shapes, self._field, pairs)

    def _prices(self, rate: Floats) -> Floats:
        each = np.nan_to_num(rate).take(self._cell) * self._slope
        each[self._room == 0] = _NEVER
        return np.asarray(each)

    def drawn(self, kw: Floats, cells: int) -> Floats:
        drawn = self._share * self._room * self._slope * kw[:, np.newaxis]
        return np.asarray(np.bincount(self._cell.ravel(), drawn.ravel(), cells), dtype=np.float64)

    def columns(self, kw: Floats, rate: Floats) -> tuple[Columns, Floats]:
        """The cheapest run of each pair that counts."""
        pair = np.flatnonzero(kw > 1e-4 * self._shapes.weight_kw[self.pairs.shape])
        shape, site = self.pairs.shape[pair], self.pairs.site[pair]
        jobs = self._shapes.jobs.take(shape)
        found = columns_at(jobs, self._field, rate, offers(jobs, rate, self._field.step_h), site)
        return replace(found, shape=shape), kw[pair]


def _filled(share: Floats, room: Floats, need: float) -> Floats:
    """The steps with the largest shares, filled until the work is done."""
    order = np.argsort(-np.where(room > 0, share / np.maximum(room, 1e-12), -1.0), kind="stable")
    before = np.cumsum(room[order]) - room[order]
    taken = np.zeros(len(room))
    taken[order] = np.clip(need - before, 0.0, room[order])
    return taken
