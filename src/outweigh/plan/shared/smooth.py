"""The dual, smoothed: every run of a shape counts a little, the cheaper the more, so that prices move without jumping.

The bound ``L(pi) = sum_k W_k min_p (c_p + pi a_p) - pi C`` is concave but has a kink wherever a shape changes its mind,
and methods that follow kinks (subgradients, cutting planes) are slow. With a temperature m the minimum becomes

    ``softmin(v) = -m log sum exp(-v / m)``,   ``min v - m log n <= softmin(v) <= min v``

whose slope is the use of capacity when shapes spread over their runs. It is maximised by a quasi-Newton method at
falling temperatures. The smooth value is never used as a bound: the prices it finds are put into the exact one.

Sources: Nesterov, Smooth minimization of non-smooth functions, Mathematical Programming 103, 2005, section 4 (entropy
smoothing and its error); Byrd, Lu, Nocedal and Zhu, SIAM J. Sci. Comput. 16(5), 1995 (L-BFGS-B).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol

import numpy as np

from outweigh.plan.kernels import Windows, contiguous_use
from outweigh.plan.kernels.windows import alike
from outweigh.plan.problem import Bools, Floats, Ints, Jobs
from outweigh.plan.shared.capacity import CapacityPrices
from outweigh.plan.shared.classes import Shapes
from outweigh.plan.shared.columns import Columns
from outweigh.plan.shared.pricing import Field, cheapest

# exp(-40) of a shape is nothing.
_COLD: Final = 40.0
# A step that is outside of a window costs more than any other; not inf, which would make NaN of differences.
_NEVER: Final = 1e200
# Shares of steps sum to the need this closely [steps]: the value is flat there, its error is the square of this.
_EXACT: Final = 1e-5
_STRIDE: Final = 4.0
# Mixed runs of a shape at a site that may pause, at most.
_MIXES: Final = 16


class Answer(NamedTuple):
    """What spread shapes cost and use.

    Attributes:
        value: sum of the smoothed least costs [currency].
        use_kw: mean IT power over each step, by ratio of units to kW, shape (R, S, T).
    """

    value: float
    use_kw: Floats


class _Lot(Protocol):
    """Shapes of one kind, few enough for memory."""

    ratio: int

    def answer(self, rate: Floats, temperature: float) -> tuple[float, Floats]:
        """Value, and mean power over each step."""

    def spread(self, rate: Floats, temperature: float) -> tuple[Columns, Floats]:
        """The runs that count, and the power of each [kW]. Columns have no cost yet."""

    def near(self, rate: Floats, margin: float) -> _Lot:
        """The same without the sites that cost more than the best by this much a kWh, which hardly count."""


class Smooth:
    """Answers smoothed prices for all shapes. `ratios` are the different units a kW takes, shape (R,)."""

    def __init__(self, shapes: Shapes, field: Field) -> None:
        self.shapes, self.field = shapes, field
        self.ratios = np.unique(shapes.units_per_kw)
        jobs = shapes.jobs
        plain = (jobs.speed == jobs.speed[:, :1]).all(axis=1)
        free = (jobs.resume_steps == 0) & (jobs.resume_kwh == 0)
        self._lots: list[_Lot] = []
        for ratio, units in enumerate(self.ratios.tolist()):
            here = shapes.units_per_kw == units
            for pairs in _chunks(shapes, here & plain & ~jobs.preemptible):
                self._lots.append(_Through(shapes, field, pairs, ratio))
            for pairs in _chunks(shapes, here & plain & jobs.preemptible & free):
                self._lots.append(_Pausing(shapes, field, pairs, ratio))
            rest = np.flatnonzero(here & ~(plain & (free | ~jobs.preemptible)))
            if rest.size:
                self._lots.append(_Sharp(shapes, field, rest, ratio))
        self._all = self._lots

    def focus(self, prices: CapacityPrices, margin: float) -> None:
        """From now on leave out sites that cost a shape `margin` [currency/kWh] more than its best at these prices."""
        rates = self._rates(prices)
        self._lots = [lot.near(rates[lot.ratio], margin) for lot in self._all]

    def answer(self, prices: CapacityPrices, temperature: float) -> Answer:
        rates = self._rates(prices)
        use = np.zeros((len(rates), *self.field.rate.shape))
        value = 0.0
        for lot in self._lots:
            part, drawn = lot.answer(rates[lot.ratio], temperature)
            value += part
            use[lot.ratio] += drawn
        return Answer(value, use)

    def spread(self, prices: CapacityPrices, temperature: float) -> tuple[Columns, Floats]:
        """The runs over which the shapes spread at these prices, and the power on each [kW]."""
        rates = self._rates(prices)
        parts, kw = [], [np.empty(0)]
        for lot in self._lots:
            columns, power = lot.spread(rates[lot.ratio], temperature)
            parts.append(columns)
            kw.append(power)
        columns = Columns.joined(parts)
        of = columns.of_entry
        entry = self.shapes.jobs.entry_cost[columns.shape, columns.site]
        columns.cost[:] = columns.dear(self.field.rate[columns.site[of], columns.step]) + entry
        return columns, np.concatenate(kw)

    def _rates(self, prices: CapacityPrices) -> list[Floats]:
        return [self.field.priced(prices, units) for units in self.ratios.tolist()]


class _Pairs(NamedTuple):
    """Shapes at sites where they may run, in the order of shapes; shape (n,)."""

    shape: Ints
    site: Ints

    @property
    def groups(self) -> Ints:
        """Where the pairs of each shape begin."""
        return np.flatnonzero(np.append(True, self.shape[1:] != self.shape[:-1]))


def _chunks(shapes: Shapes, which: Bools) -> Iterator[_Pairs]:
    rows = np.flatnonzero(which)
    if rows.size:
        jobs = shapes.jobs
        width = (np.ceil(jobs.deadline[rows]) - np.floor(jobs.release[rows])).astype(np.int64)
        for part in alike(width, per_row=jobs.allowed.shape[1]):
            row, site = np.nonzero(jobs.allowed[rows[part]])
            yield _Pairs(rows[part][row], site)


class _Softened(NamedTuple):
    """Pairs of shape and site, softened: value [currency] of all, and the power of each pair [kW], shape (n,)."""

    value: float
    kw: Floats


class _OfPairs:
    """What lots of pairs have in common: the softened minimum over the sites of each shape."""

    def __init__(self, shapes: Shapes, field: Field, pairs: _Pairs, ratio: int) -> None:
        self.ratio = ratio
        self._shapes, self._field, self._pairs = shapes, field, pairs
        jobs = shapes.jobs
        row, site = pairs
        self._length = jobs.work[row] / jobs.speed[row, 0]
        self._kwh = self._length * field.step_h  # of 1 kW
        self._entry = jobs.entry_cost[row, site]
        self._groups = pairs.groups
        self._sizes = np.diff(np.append(self._groups, len(row)))
        self._weight = shapes.weight_kw[row[self._groups]]

    def _soften(self, cost: Floats, temperature: float) -> _Softened:
        """Of what each pair costs [currency/kW], shape (n,)."""
        least = np.minimum.reduceat(cost, self._groups)
        heat = temperature * self._kwh[self._groups]
        share = np.exp((np.repeat(least, self._sizes) - cost) / np.repeat(heat, self._sizes))
        total = np.add.reduceat(share, self._groups)
        value = float(self._weight @ (least - heat * np.log(total)))
        return _Softened(value, share * np.repeat(self._weight / total, self._sizes))

    def _near(self, cost: Floats, margin: float) -> _Pairs:
        least = np.repeat(np.minimum.reduceat(cost, self._groups), self._sizes)
        keep = cost <= least + margin * self._kwh
        return _Pairs(self._pairs.shape[keep], self._pairs.site[keep])


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


class _Through(_OfPairs):
    """Runs without a pause: one option for every start."""

    def __init__(self, shapes: Shapes, field: Field, pairs: _Pairs, ratio: int) -> None:
        super().__init__(shapes, field, pairs, ratio)
        row, site = pairs
        jobs, steps = shapes.jobs, field.rate.shape[1]
        self._start, real = _starts(jobs.release[row], jobs.deadline[row], self._length)
        self._from = _Times.of(self._start, site, steps)
        self._to = _Times.of(np.minimum(self._start + self._length[:, np.newaxis], steps), site, steps)
        self._whole = not (self._from.part.any() or self._to.part.any())
        self._extra = np.where(real, self._entry[:, np.newaxis], np.inf)
        self._plain = bool(real.all() and not self._entry.any())

    def near(self, rate: Floats, margin: float) -> _Through:
        kept = self._near(self._costs(rate).min(axis=1), margin)
        return _Through(self._shapes, self._field, kept, self.ratio)

    def _costs(self, rate: Floats) -> Floats:
        sums = np.zeros((len(rate), rate.shape[1] + 2))
        np.cumsum(np.nan_to_num(rate) * self._field.step_h, axis=1, out=sums[:, 1:-1])
        sums[:, -1] = sums[:, -2]
        cost = self._to.read(sums, whole=self._whole)
        cost -= self._from.read(sums, whole=self._whole)
        if not self._plain:
            cost += self._extra
        return cost

    def _weights(self, rate: Floats, temperature: float) -> tuple[float, Floats]:
        cost = self._costs(rate)
        heat = (temperature * self._kwh)[:, np.newaxis]
        least = cost.min(axis=1)
        np.subtract(least[:, np.newaxis], cost, out=cost)
        cost /= heat
        share = np.exp(cost, out=cost)
        total = share.sum(axis=1)
        value, kw = self._soften(least - heat[:, 0] * np.log(total), temperature)
        share *= (kw / total)[:, np.newaxis]
        return value, share

    def answer(self, rate: Floats, temperature: float) -> tuple[float, Floats]:
        value, kw = self._weights(rate, temperature)
        sites, steps = rate.shape
        size = sites * (steps + 2)
        flat = kw.ravel()
        # A run draws from its start on and no more from its end on: sum the changes.
        change = np.bincount(self._from.at.ravel(), flat, size) - np.bincount(self._to.at.ravel(), flat, size)
        if not self._whole:
            for time, sign in ((self._from, -1.0), (self._to, 1.0)):
                late = (kw * time.part).ravel() * sign
                change += np.bincount(time.at.ravel(), late, size) - np.bincount(time.at.ravel() + 1, late, size)[:size]
        return value, np.cumsum(change.reshape(sites, -1), axis=1)[:, :steps]

    def spread(self, rate: Floats, temperature: float) -> tuple[Columns, Floats]:
        _, kw = self._weights(rate, temperature)
        pair, which = np.nonzero(kw > 1e-4 * np.repeat(self._weight, self._sizes)[:, np.newaxis])
        start, site = self._start[pair, which], self._pairs.site[pair]
        use = contiguous_use(Windows(site, start, start, self._length[pair]), start)
        offset = np.concatenate([[0], np.cumsum(np.bincount(use.row, minlength=len(site)))])
        shape = self._pairs.shape[pair]
        work = use.work * self._shapes.jobs.speed[shape[use.row], 0]
        energy = use.draw * self._field.step_h
        return Columns(shape, site, np.zeros(len(site)), offset, use.step, work, energy), kw[pair, which]


def _starts(release: Floats, deadline: Floats, length: Floats) -> tuple[Floats, Bools]:
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


class _Pausing(_OfPairs):
    """Runs of one level that may pause for nothing: every step of the window counts by how cheap it is.

    With y the share of a step that runs, ``min sum r y`` over ``sum y = need`` is softened by the entropy of y and
    1 - y, which gives ``y = 1 / (1 + exp((r - level) / temperature))`` with the level at which they sum to the need.
    """

    def __init__(self, shapes: Shapes, field: Field, pairs: _Pairs, ratio: int) -> None:
        super().__init__(shapes, field, pairs, ratio)
        row, site = pairs
        jobs, steps = shapes.jobs, field.rate.shape[1]
        self._first = np.floor(jobs.release[row]).astype(np.int64)
        width = int((np.ceil(jobs.deadline[row]) - self._first).max())
        step = self._first[:, np.newaxis] + np.arange(width)
        room = np.minimum(step + 1, jobs.deadline[row, np.newaxis]) - np.maximum(step, jobs.release[row, np.newaxis])
        self._room = np.maximum(room, 0.0)
        self._full = bool((self._room == 1).all())
        self._cell = np.minimum(step, steps - 1) + (site * steps)[:, np.newaxis]
        self._last: Floats | None = None

    def near(self, rate: Floats, margin: float) -> _Pausing:
        cost, _ = self._costs(rate, margin / 30)
        return _Pausing(self._shapes, self._field, self._near(cost, margin), self.ratio)

    def _costs(self, rate: Floats, temperature: float) -> tuple[Floats, Floats]:
        """What each pair costs [currency/kW], softened, shape (n,), and the share of each step that runs, (n, U)."""
        each = np.nan_to_num(rate).take(self._cell)
        if not self._full:
            each[self._room == 0] = _NEVER
        level = self._ranked(each, temperature) if self._last is None else self._last
        level, on = self._level(each, level, temperature, 5)
        if self._off(on) > _EXACT and self._last is not None:
            level, on = self._level(each, self._ranked(each, temperature), temperature, 20)
        self._last = level
        # ln(1 + exp(x)) by the share: x + ln(1 + exp(-x)) where x > 0, so that neither end overflows.
        rest = (level[:, np.newaxis] - each) / temperature
        soft = np.maximum(rest, 0.0) - np.log(np.maximum(on, 1 - on))
        soft = (soft if self._full else soft * self._room).sum(axis=1)
        return (level * self._length - temperature * soft) * self._field.step_h + self._entry, on

    def _ranked(self, each: Floats, temperature: float) -> Floats:
        """Between the dearest step that runs and the cheapest that does not."""
        rank = np.clip(np.ceil(self._length).astype(np.int64) - 1, 0, each.shape[1] - 1)
        ranked = np.sort(each, axis=1)
        at = np.arange(len(each))
        low, above = ranked[at, rank], ranked[at, np.minimum(rank + 1, each.shape[1] - 1)]
        return np.asarray(np.where(above < _NEVER, (low + above) / 2, low + 10 * temperature))

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

    def answer(self, rate: Floats, temperature: float) -> tuple[float, Floats]:
        cost, on = self._costs(rate, temperature)
        value, kw = self._soften(cost, temperature)
        drawn = on * kw[:, np.newaxis] if self._full else on * self._room * kw[:, np.newaxis]
        use = np.bincount(self._cell.ravel(), drawn.ravel(), rate.size)
        return value, use.reshape(rate.shape).astype(np.float64)

    def spread(self, rate: Floats, temperature: float) -> tuple[Columns, Floats]:
        cost, on = self._costs(rate, temperature)
        _, kw = self._soften(cost, temperature)
        all_kw = np.repeat(self._weight, self._sizes)
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
        shape, site = self._pairs.shape[of], self._pairs.site[of]
        return (
            Columns(
                shape, site, np.zeros(len(of)), np.concatenate([[0], np.cumsum(sizes)]),
                self._first[of[line]] + offset, amount * self._shapes.jobs.speed[shape[line], 0],
                amount * self._field.step_h,
            ),
            np.repeat(power / mixes, mixes),
        )  # fmt: skip


def _filled(share: Floats, room: Floats, need: float) -> Floats:
    """The steps with the largest shares, filled until the work is done."""
    order = np.argsort(-np.where(room > 0, share / np.maximum(room, 1e-12), -1.0), kind="stable")
    before = np.cumsum(room[order]) - room[order]
    taken = np.zeros(len(room))
    taken[order] = np.clip(need - before, 0.0, room[order])
    return taken


class _Sharp:
    """All others: their exact answer, kinks and all."""

    def __init__(self, shapes: Shapes, field: Field, rows: Ints, ratio: int) -> None:
        self.ratio, self._rows, self._field = ratio, rows, field
        self._jobs: Jobs = shapes.jobs.take(rows)
        self._weight = shapes.weight_kw[rows]

    def near(self, rate: Floats, margin: float) -> _Sharp:
        return self

    def answer(self, rate: Floats, temperature: float) -> tuple[float, Floats]:
        cost, columns = cheapest(self._jobs, self._field, rate)
        drawn = columns.energy / self._field.step_h * self._weight[columns.shape[columns.of_entry]]
        use = np.bincount(columns.cells(rate.shape[1]), drawn, rate.size)
        return float(self._weight @ cost), use.reshape(rate.shape).astype(np.float64)

    def spread(self, rate: Floats, temperature: float) -> tuple[Columns, Floats]:
        _, columns = cheapest(self._jobs, self._field, rate)
        kw = self._weight[columns.shape]
        columns.shape[:] = self._rows[columns.shape]
        return columns, kw


def total_use(answer: Answer, ratios: Sequence[float] | Floats) -> tuple[Floats, Floats]:
    """Units of capacity and kW of IT power used, both shape (S, T)."""
    return np.tensordot(np.asarray(ratios), answer.use_kw, axes=1), answer.use_kw.sum(axis=0)
