"""The cheapest spot for one job, given the room there is: each kind of job looked up directly where it can be."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np

from outweigh.plan.kernels import Windows, contiguous_use, hull
from outweigh.plan.offers import W_PER_KW
from outweigh.plan.problem import ROUNDING_STEPS, Bools, Floats, Ints
from outweigh.plan.shared.classes import Shapes, lowest_kw
from outweigh.plan.shared.pricing import Field, cheapest
from outweigh.plan.shared.soft.through import starts

# What a site gives is compared with this much slack: powers and limits are sums in another order.
HOLDS_RTOL: Final = 1e-9
# A kernel is asked again without the steps in which its answer did not fit, at most so often.
_TRIES: Final = 4


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


class Priced:
    """A rate [currency/kWh], shape (S, T), and its sums over steps."""

    def __init__(self, rate: Floats) -> None:
        self.rate = np.where(np.isfinite(rate), rate, 0.0)
        self.sums = np.concatenate([np.zeros((len(rate), 1)), np.cumsum(self.rate, axis=1)], axis=1)


class Finder:
    """The cheapest spot for one job of a shape, given the room there is.

    Jobs of whole steps and one level are looked up most quickly, then runs in one piece, start by start, and runs that
    pause for nothing, piece by piece. Pauses that cost are left to the kernel, which sees what is full as dear.
    """

    def __init__(self, shapes: Shapes, field: Field, tolerance: Floats) -> None:
        self._shapes, self._field = shapes, field
        # What fills a step to the brim must not run over by a rounding.
        self._brim = 2 * tolerance
        self._holds = field.given * (1 + HOLDS_RTOL)
        self._least_held = float(self._holds.min(initial=np.inf))
        self._lowest = lowest_kw(shapes.jobs).tolist()
        jobs = shapes.jobs
        plain = (jobs.speed == jobs.speed[:, :1]).all(axis=1)
        length = jobs.work / jobs.speed[:, 0]
        near = np.abs(length - np.round(length)) < 1e-9
        whole = near & (jobs.release % 1 == 0) & (jobs.deadline % 1 == 0)
        free = (jobs.resume_steps == 0) & (jobs.resume_kwh == 0)
        self._direct = (plain & whole & (free | ~jobs.preemptible)).tolist()
        self._in_pieces, self._in_one = (free & jobs.preemptible).tolist(), (~jobs.preemptible).tolist()
        self._pieces: dict[int, _Pieces] = {}
        self._starts: dict[int, list[_Starts]] = {}
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

    def find(
        self, shape: int, room: Floats, units: float, priced: Priced, shut: float, *, thorough: bool = True
    ) -> Spot | None:
        """Without `thorough`, jobs whose pauses cost are looked up in one piece only.

        Capacity is the mean over a step, but where a site never gives what the job draws at its lowest level, no part
        of a step will do, whatever `shut` is.
        """
        need_now = self._lowest[shape] * units
        closed = self._holds < need_now if need_now > self._least_held else None
        if not self._direct[shape]:
            if self._in_pieces[shape]:
                spot = self._by_pieces(shape, room, units, priced, shut, closed)
                if spot is not _DEAR:
                    return spot
            elif self._in_one[shape]:
                return self._by_starts(shape, room, units, priced, shut, closed)
            else:
                through = self._by_starts(shape, room, units, priced, shut, closed)
                if not thorough:
                    return through
                paused = self._by_kernel(shape, room, units, priced, shut, closed)
                return through if paused is None or (through and through.cost <= paused.cost) else paused
            return self._by_kernel(shape, room, units, priced, shut, closed)
        begin, end, need = self._from[shape], self._until[shape], self._steps[shape]
        fits: Bools = room[:, begin:end] >= units
        ways = self._paused if self._pauses[shape] else self._through
        here = None if closed is None else closed[:, begin:end]
        found = ways(shape, fits, begin, end, need, priced, shut, here)
        if found is None:
            return None
        cost, site, step = found
        return Spot(
            cost, site, step, np.full(need, self._speed[shape]), np.full(need, self._field.step_h)
        )  # one level, so 1 kW

    def _through(
        self,
        shape: int,
        fits: Bools,
        begin: int,
        end: int,
        need: int,
        priced: Priced,
        shut: float,
        closed: Bools | None,
    ) -> tuple[float, int, Ints] | None:
        sums = priced.sums
        cost = (sums[:, begin + need : end + 1] - sums[:, begin : end - need + 1]) * self._field.step_h
        cost = self._with_entry(shape, cost)
        if not fits.all():
            blocked = _within(~fits, need)
            cost = np.where(
                blocked > 0, np.inf if np.isinf(shut) else cost + blocked * (shut * self._field.step_h), cost
            )
        if closed is not None:
            cost = np.where(_within(closed, need) > 0, np.inf, cost)
        at = int(np.argmin(cost))
        site, start = divmod(at, cost.shape[1])
        least = float(cost[site, start])
        return None if np.isinf(least) else (least, site, np.arange(begin + start, begin + start + need))

    def _paused(
        self,
        shape: int,
        fits: Bools,
        begin: int,
        end: int,
        need: int,
        priced: Priced,
        shut: float,
        closed: Bools | None,
    ) -> tuple[float, int, Ints] | None:
        each = priced.rate[:, begin:end]
        if not fits.all():
            each = np.where(fits, each, np.inf if np.isinf(shut) else each + shut)
        if closed is not None:
            each = np.where(closed, np.inf, each)
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

    def _by_pieces(
        self, shape: int, room: Floats, units: float, priced: Priced, shut: float, closed: Bools | None
    ) -> Spot | None:
        """The cheapest pieces of steps that fit; `_DEAR` if the levels are not in the order of what they cost."""
        known = self._pieces.get(shape) or self._pieces.setdefault(shape, _Pieces.of(self._shapes, shape))
        begin, end, many = known.begin, known.end, known.kw.shape[1]
        rate = priced.rate[:, begin:end]
        if many > 1 and rate.min() < 0:
            return _DEAR
        cap = ((room - self._brim)[:, begin:end] / units)[:, :, np.newaxis]
        # What pauses for nothing may run for a part of a step: capacity is the mean of one.
        open_kw = np.clip(cap - known.before, 0.0, known.kw)
        most_kw = np.broadcast_to(known.kw, open_kw.shape)
        if closed is not None:
            shuts = closed[:, begin:end, np.newaxis]
            open_kw, most_kw = np.where(shuts, 0.0, open_kw), np.where(shuts, 0.0, most_kw)
        sites = len(rate)
        each = (rate[:, :, np.newaxis] * known.slope).reshape(sites, -1)
        kw = open_kw.reshape(sites, -1)
        slope = np.broadcast_to(known.slope, known.kw.shape).ravel()
        step = np.repeat(np.arange(begin, end), many)
        if np.isfinite(shut):
            each = np.concatenate([each, each + shut * slope], axis=1)
            kw = np.concatenate([kw, most_kw.reshape(sites, -1) - kw], axis=1)
            slope, step = np.tile(slope, 2), np.tile(step, 2)
        order = np.argsort(each, axis=1, kind="stable")
        line = np.arange(sites)[:, np.newaxis]
        amount = (kw / slope)[line, order]
        ahead = np.cumsum(amount, axis=1)
        taken = np.clip(known.need - (ahead - amount), 0.0, amount)
        cost = self._with_entry(shape, (taken * each[line, order]).sum(axis=1) * self._field.step_h)
        cost = np.where(ahead[:, -1] < known.need * (1 - 1e-12), np.inf, cost)
        site = int(np.argmin(cost))
        if np.isinf(cost[site]):
            return None
        at = order[site]
        work: Floats = np.bincount(step[at] - begin, taken[site], end - begin).astype(np.float64)
        drawn: Floats = np.bincount(step[at] - begin, taken[site] * slope[at], end - begin).astype(np.float64)
        used = np.flatnonzero(work > 0)
        return Spot(float(cost[site]), site, begin + used, work[used], drawn[used] * self._field.step_h)

    def _by_starts(
        self, shape: int, room: Floats, units: float, priced: Priced, shut: float, closed: Bools | None
    ) -> Spot | None:
        """The cheapest run in one piece over all levels and starts."""
        known = self._starts.get(shape) or self._starts.setdefault(shape, _Starts.of(self._shapes, shape))
        best: tuple[float, int, int, _Starts] | None = None
        for one in known:
            cost = (one.upto(one.end, priced) - one.upto(one.begin, priced)) * (self._field.step_h * one.kw)
            lacks = one.lacks(room / (units * one.kw))
            cost = self._with_entry(shape, cost)
            if np.isinf(shut):
                cost = np.where(lacks > 0, np.inf, cost)
            else:
                cost = cost + lacks * (shut * self._field.step_h * one.kw)
            if closed is not None:
                cost = np.where(one.lacks(np.where(closed, 0.0, np.inf)) > 0, np.inf, cost)
            at = int(np.argmin(cost))
            site, start = divmod(at, cost.shape[1])
            least = float(cost[site, start])
            if least < np.inf and (best is None or least < best[0]):
                best = least, site, start, one
        if best is None:
            return None
        cost_, site, start, one = best
        window = Windows(*(np.array([each]) for each in (site, one.begin[start], one.end[start], one.length)))
        use = contiguous_use(window, one.begin[start : start + 1])
        return Spot(cost_, site, use.step, use.work * one.speed, use.draw * (one.kw * self._field.step_h))

    def _by_kernel(
        self, shape: int, room: Floats, units: float, priced: Priced, shut: float, closed: Bools | None
    ) -> Spot | None:
        one = self._shapes.jobs.take(np.array([shape]))
        full = room < units * self._most[shape]
        dear = self._never if np.isinf(shut) else shut
        for _ in range(_TRIES):
            rate = np.where(full, priced.rate + dear, priced.rate)
            if closed is not None:
                rate = np.where(closed, priced.rate + 1e3 * self._never, rate)
            cost, columns = cheapest(one, self._field, rate)
            site = int(columns.site[0])
            if closed is not None and closed[site, columns.step].any():
                return None
            # A part of a step, or a level below the highest, may fit where the whole would not; what going on again
            # draws may not fit where the level alone would.
            short = columns.energy * (units / self._field.step_h) > room[site, columns.step]
            if not short.any():
                paid = columns.dear(priced.rate[site, columns.step]) + self._entry[shape, site]
                return Spot(float(paid[0]), site, columns.step, columns.work, columns.energy)
            if np.isfinite(shut):
                break
            known = full[site, columns.step[short]]
            if known.all():
                return None
            full[site, columns.step[short]] = True
        return None if np.isinf(shut) else Spot(float(cost[0]), site, columns.step, columns.work, columns.energy)


def _within(blocked: Bools, need: int) -> Ints:
    """How many steps are blocked of each run of `need` steps, shape (S, W - need + 1)."""
    full = np.zeros((len(blocked), blocked.shape[1] + 1), dtype=np.int64)
    np.cumsum(blocked, axis=1, out=full[:, 1:])
    return full[:, need:] - full[:, :-need]


# There is a cheapest run, but pieces do not find it.
_DEAR = Spot(np.inf, -1, np.empty(0, np.int64), np.empty(0), np.empty(0))


class _Pieces(NamedTuple):
    """A shape that may pause and change level for nothing, of 1 kW at its first level. W steps, P levels on the hull.

    Attributes:
        need: work [steps at speed 1].
        kw: mean power that each level adds in each step, shape (W, P).
        before: mean power of the levels below, shape (W, P).
        slope: power for a unit of work per step, shape (P,).
    """

    begin: int
    end: int
    need: float
    kw: Floats
    before: Floats
    slope: Floats

    @classmethod
    def of(cls, shapes: Shapes, shape: int) -> _Pieces:
        jobs = shapes.jobs
        release, deadline = float(jobs.release[shape]), float(jobs.deadline[shape])
        begin, end = int(np.floor(release)), int(np.ceil(deadline))
        step = np.arange(begin, end)
        share = np.minimum(step + 1, deadline) - np.maximum(step, release)
        levels = hull(jobs.speed[shape], jobs.power_w[shape] / W_PER_KW)
        kw = share[:, np.newaxis] * levels.power_w
        before = np.cumsum(kw, axis=1) - kw
        return cls(begin, end, float(jobs.work[shape]), kw, before, levels.power_w / levels.speed)


class _Starts(NamedTuple):
    """A shape in one piece at one level, and the starts at which its run begins or ends at an edge; shape (U,)."""

    begin: Floats
    end: Floats
    length: float
    speed: float
    kw: float

    @classmethod
    def of(cls, shapes: Shapes, shape: int) -> list[_Starts]:
        jobs = shapes.jobs
        release, deadline, work = jobs.release[shape], jobs.deadline[shape], jobs.work[shape]
        found = []
        for level, speed in enumerate(jobs.speed[shape].tolist()):
            length = work / speed
            slower = level > 0 and speed <= jobs.speed[shape, level - 1]
            if slower or length > deadline - release + ROUNDING_STEPS:
                continue
            nearest = np.round(length)
            length = nearest if nearest > 0 and abs(length - nearest) < ROUNDING_STEPS else length
            start, real = starts(*(np.array([each]) for each in (release, deadline, length)))
            begin = np.unique(start[0][real[0]])
            kw = float(jobs.power_w[shape, level] / W_PER_KW)
            found.append(cls(begin, begin + length, float(length), float(speed), kw))
        return found

    @staticmethod
    def upto(time: Floats, priced: Priced) -> Floats:
        """The rate summed from the start of the horizon, shape (S, U)."""
        edge = np.minimum(np.floor(time).astype(np.int64), priced.rate.shape[1] - 1)
        return np.asarray(priced.sums[:, edge] + (time - edge) * priced.rate[:, edge])

    def lacks(self, room: Floats) -> Floats:
        """Steps of each run at which its power finds no room, shape (S, U). `room` is in shares of its power."""
        steps = room.shape[1]
        full = np.zeros((len(room), steps + 1))
        np.cumsum(room < 1, axis=1, out=full[:, 1:])
        first, last = np.ceil(self.begin).astype(np.int64), np.floor(self.end).astype(np.int64)
        inside = last > first
        lacks = np.where(inside, full[:, np.maximum(last, first)] - full[:, first], 0.0)
        before = np.minimum(first, self.end) - self.begin
        after = np.where(last >= first, self.end - last, 0.0)
        for cell, share in ((first - 1, before), (np.minimum(last, steps - 1), after)):
            lacks = lacks + np.where((share > 0) & (room[:, np.maximum(cell, 0)] < share), share, 0.0)
        return np.asarray(lacks)
