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
from dataclasses import replace
from typing import NamedTuple, TypeVar

import numpy as np

from outweigh.plan.kernels.windows import alike
from outweigh.plan.offers import How, Offers, offers
from outweigh.plan.problem import ROUNDING_STEPS, Bools, Floats, Ints
from outweigh.plan.shared.capacity import CapacityPrices
from outweigh.plan.shared.classes import Shapes
from outweigh.plan.shared.columns import Columns, Seen
from outweigh.plan.shared.pricing import Field, columns_at
from outweigh.plan.shared.soft.known import Known
from outweigh.plan.shared.soft.options import Options, Pairs
from outweigh.plan.shared.soft.pausing import Elastic, Pausing
from outweigh.plan.shared.soft.through import Through

Array = TypeVar("Array", Floats, Bools)


class Answer(NamedTuple):
    """What spread shapes cost and use.

    Attributes:
        value: sum of the smoothed least costs [currency].
        use_kw: mean IT power over each step, by ratio of units to kW, shape (R, S, T).
    """

    value: float
    use_kw: Floats


class Smooth:
    """Answers smoothed prices for all shapes. `ratios` are the different units a kW takes, shape (R,)."""

    def __init__(self, shapes: Shapes, field: Field) -> None:
        self.shapes, self.field = shapes, field
        self.ratios = np.unique(shapes.units_per_kw)
        jobs = shapes.jobs
        plain = (jobs.speed == jobs.speed[:, :1]).all(axis=1)
        free = jobs.preemptible & (jobs.resume_steps == 0) & (jobs.resume_kwh == 0)
        self._fixed: list[_Lot] = []
        self._learners: list[_Learner] = []
        for ratio, units in enumerate(self.ratios.tolist()):
            here = shapes.units_per_kw == units
            for pairs in _chunks(shapes, here & ~jobs.preemptible):
                self._fixed.append(_Lot(shapes, [Through(shapes, field, _at_levels(shapes, pairs))], ratio))
            for pairs in _chunks(shapes, here & free & plain):
                self._fixed.append(_Lot(shapes, [Pausing(shapes, field, pairs)], ratio))
            for pairs in _chunks(shapes, here & free & ~plain):
                self._fixed.append(_Lot(shapes, [Elastic(shapes, field, pairs)], ratio))
            paid = here & jobs.preemptible & ~free
            if paid.any():
                self._learners.append(_Learner(shapes, field, paid, ratio))
        self._all: list[_Lot] = self._fixed + [learner.lot for learner in self._learners]
        self._lots = self._all

    @property
    def learns(self) -> bool:
        """Whether some shapes have more runs than are softened, so that `learn` may add to them."""
        return bool(self._learners)

    def learn(self, prices: CapacityPrices) -> None:
        """From now on count the runs that are cheapest at these prices, too."""
        rates = self._rates(prices)
        for learner in self._learners:
            learner.learn(rates[learner.ratio])
        self._all = self._fixed + [learner.lot for learner in self._learners]
        self._lots = self._all

    def focus(self, prices: CapacityPrices, margin: float) -> None:
        """From now on leave out sites that cost a shape `margin` [currency/kWh] more than its best at these prices."""
        rates = self._rates(prices)
        self._lots = [lot.near(rates[lot.ratio], margin, self.field.step_h) for lot in self._all]

    def answer(self, prices: CapacityPrices, temperature: float) -> Answer:
        rates = self._rates(prices)
        use = np.zeros((len(rates), *self.field.rate.shape))
        value = 0.0
        for lot in self._lots:
            part, drawn = lot.answer(rates[lot.ratio], temperature, self.field.step_h)
            value += part
            use[lot.ratio] += drawn
        return Answer(value, use)

    def spread(self, prices: CapacityPrices, temperature: float) -> tuple[Columns, Floats]:
        """The runs over which the shapes spread at these prices, and the power on each [kW]."""
        rates = self._rates(prices)
        parts: list[Columns] = []
        kw: list[Floats] = [np.empty(0)]
        for lot in self._lots:
            for columns, power in lot.spread(rates[lot.ratio], temperature, self.field.step_h):
                parts.append(columns)
                kw.append(power)
        columns = Columns.joined(parts)
        of = columns.of_entry
        entry = self.shapes.jobs.entry_cost[columns.shape, columns.site]
        columns.cost[:] = columns.dear(self.field.rate[columns.site[of], columns.step]) + entry
        return columns, np.concatenate(kw)

    def _rates(self, prices: CapacityPrices) -> list[Floats]:
        return [self.field.priced(prices, units) for units in self.ratios.tolist()]


class _Lot:
    """Shapes of one ratio with all their options, softened over pairs of a shape and a site."""

    def __init__(self, shapes: Shapes, kinds: Sequence[Options], ratio: int) -> None:
        self.ratio, self._kinds, self._shapes = ratio, kinds, shapes
        self._order: Ints | None
        shape = np.concatenate([kind.pairs.shape for kind in kinds])
        self._order = None
        if len(kinds) > 1:
            self._order = np.argsort(shape, kind="stable")
            shape = shape[self._order]
        self._groups = np.flatnonzero(np.append(True, shape[1:] != shape[:-1]))
        self._sizes = np.diff(np.append(self._groups, len(shape)))
        row, jobs = shape[self._groups], shapes.jobs
        self._weight = shapes.weight_kw[row]
        self._need = jobs.work[row] / jobs.speed[row, 0]  # kWh of 1 kW, in steps

    def answer(self, rate: Floats, temperature: float, step_h: float) -> tuple[float, Floats]:
        """Value [currency], and mean power over each step [kW]."""
        value, parts = self._soften(rate, temperature, step_h)
        drawn = np.zeros(rate.size)
        for kind, kw in zip(self._kinds, parts, strict=True):
            drawn += kind.drawn(kw, rate.size)
        return value, drawn.reshape(rate.shape)

    def spread(self, rate: Floats, temperature: float, step_h: float) -> list[tuple[Columns, Floats]]:
        """The runs that count, and the power of each [kW]. Columns have no cost yet."""
        _, parts = self._soften(rate, temperature, step_h)
        return [kind.columns(kw, rate) for kind, kw in zip(self._kinds, parts, strict=True)]

    def near(self, rate: Floats, margin: float, step_h: float) -> _Lot:
        """The same without the pairs that cost more than the best by this much a kWh, which hardly count."""
        cost = self._costs(rate, margin / 30)
        least = np.repeat(np.minimum.reduceat(cost, self._groups), self._sizes)
        keep = self._split(cost <= least + margin * step_h * np.repeat(self._need, self._sizes))
        kinds = [
            kind.of(kind.pairs.take(kept)) for kind, kept in zip(self._kinds, keep, strict=True) if kept.any()
        ]  # fmt: skip
        return _Lot(self._shapes, kinds, self.ratio)

    def _costs(self, rate: Floats, temperature: float) -> Floats:
        """By pair, in the order of shapes."""
        cost = [kind.cost(rate, temperature) for kind in self._kinds]
        return cost[0] if self._order is None else np.concatenate(cost)[self._order]

    def _split(self, each: Array) -> list[Array]:
        """What is in the order of shapes, by kind."""
        if self._order is None:
            return [each]
        back = np.empty_like(each)
        back[self._order] = each
        return np.split(back, np.cumsum([len(kind.pairs.shape) for kind in self._kinds])[:-1])

    def _soften(self, rate: Floats, temperature: float, step_h: float) -> tuple[float, list[Floats]]:
        """Value [currency] of all, and the power of each pair [kW] by kind."""
        cost = self._costs(rate, temperature)
        least = np.minimum.reduceat(cost, self._groups)
        heat = temperature * step_h * self._need
        share = np.exp((np.repeat(least, self._sizes) - cost) / np.repeat(heat, self._sizes))
        total = np.add.reduceat(share, self._groups)
        value = float(self._weight @ (least - heat * np.log(total)))
        return value, self._split(share * np.repeat(self._weight / total, self._sizes))


class _Learner:
    """Shapes whose pauses cost: all their runs in one piece, and those with pauses that were once the cheapest."""

    def __init__(self, shapes: Shapes, field: Field, which: Bools, ratio: int) -> None:
        self.ratio = ratio
        self._shapes, self._field, self._rows = shapes, field, np.flatnonzero(which)
        self._seen = Seen(*field.rate.shape)
        self._known = Columns.none()
        self._through = [Through(shapes, field, _at_levels(shapes, pairs)) for pairs in _chunks(shapes, which)]
        self.lot = _Lot(shapes, self._through, ratio)

    def learn(self, rate: Floats) -> None:
        """Of every site, as the cheapest of all says nothing about the others."""
        jobs = self._shapes.jobs.take(self._rows)
        found = offers(jobs, rate, self._field.step_h)
        parts = []
        for site in range(len(rate)):
            here = np.flatnonzero((found.how[:, site] == How.PAUSING) & jobs.allowed[:, site])
            if here.size:
                some = Offers(found.cost[here], found.how[here], found.level[here])
                columns = columns_at(jobs.take(here), self._field, rate, some, np.full(len(here), site))
                parts.append(replace(columns, shape=self._rows[here]))
        new = Columns.joined(parts)
        self._known = Columns.joined([self._known, new.take(self._seen.fresh(new))])
        if len(self._known):
            self.lot = _Lot(self._shapes, [*self._through, Known(self._shapes, self._field, self._known)], self.ratio)


def _chunks(shapes: Shapes, which: Bools) -> Iterator[Pairs]:
    """Pairs at the first level, few enough at once for memory."""
    rows = np.flatnonzero(which)
    if rows.size:
        jobs = shapes.jobs
        width = (np.ceil(jobs.deadline[rows]) - np.floor(jobs.release[rows])).astype(np.int64)
        for part in alike(width, per_row=jobs.allowed.shape[1]):
            these = np.sort(rows[part])
            row, site = np.nonzero(jobs.allowed[these])
            yield Pairs(these[row], site, np.zeros(len(row), np.int64))


def _at_levels(shapes: Shapes, pairs: Pairs) -> Pairs:
    """Every pair at every level that is its own and fast enough, in the order of shapes."""
    jobs, row = shapes.jobs, pairs.shape
    window = (jobs.deadline - jobs.release)[row, np.newaxis]
    fits = jobs.work[row, np.newaxis] / jobs.speed[row] <= window + ROUNDING_STEPS
    fits[:, 1:] &= jobs.speed[row, 1:] > jobs.speed[row, :-1]
    at, level = np.nonzero(fits)
    return Pairs(row[at], pairs.site[at], level)


def total_use(answer: Answer, ratios: Sequence[float] | Floats) -> tuple[Floats, Floats]:
    """Units of capacity and kW of IT power used, both shape (S, T)."""
    return np.tensordot(np.asarray(ratios), answer.use_kw, axes=1), answer.use_kw.sum(axis=0)
