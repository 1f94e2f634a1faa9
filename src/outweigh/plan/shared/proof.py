"""An independent check of a plan under shared capacity: trusts neither the solver nor the arithmetic that made it.

Nothing of the solver is imported here, not even its kernels. Everything is counted again from the jobs and the places
in the simplest way there is: runs entry by entry, the bound by trying every start and by sorting steps.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

import numpy as np

from outweigh.plan.problem import Floats, Job, Places
from outweigh.plan.shared.capacity import Capacity, CapacityUnit, Committed
from outweigh.plan.shared.schedule import Schedule

# Sums of many floats in another order; far below anything that is printed.
_RELATIVE: Final = 1e-8
_STEPS: Final = 1e-6
_MOST: Final = 20


def verify(
    schedule: Schedule,
    jobs: Sequence[Job],
    places: Places,
    capacity: Capacity,
    *,
    frozen: Committed | None = None,
    work_quantile: float = 0.5,
) -> tuple[str, ...]:
    """Everything that is wrong with a plan of `plan_jobs`, as sentences; empty when it is sound.

    - Every job runs as often as there are like it, at a site where it may, within its window, at levels it has, without
      a pause if it may not pause, and does all of its work for the energy that takes.
    - No capacity is exceeded.
    - Energy, cost, carbon and objective are what the runs come to.
    - The bound is at most ``sum_jobs min_runs (cost + prices x use) - prices x capacity`` at the prices stored with the
      plan, which no plan can beat whatever the prices (weak duality: Boyd and Vandenberghe, Convex Optimization, 2004,
      section 5.1.3), and the gap is the distance from the bound to the objective.

    Args:
        jobs, places, capacity, frozen, work_quantile: what the plan was made for.
    """
    look = _Look(schedule, jobs, places, capacity, frozen, work_quantile)
    faults: list[str] = []
    for fault in look.faults():
        faults.append(fault)
        if len(faults) == _MOST:
            faults.append("and more")
            break
    return tuple(faults)


class _Look:
    def __init__(
        self,
        schedule: Schedule,
        jobs: Sequence[Job],
        places: Places,
        capacity: Capacity,
        frozen: Committed | None,
        quantile: float,
    ) -> None:
        self.plan, self.jobs, self.places, self.capacity, self.frozen = schedule, jobs, places, capacity, frozen
        self.quantile = quantile
        self.sites, self.steps = len(places.names), places.price.shape[2]
        self.step_h = places.step_s / 3600
        self.pue = np.ones((self.sites, self.steps)) * (
            places.pue if places.pue.ndim == 2 else places.pue[:, np.newaxis]
        )
        weights = places.probability if places.probability.size else np.ones(len(places.price)) / len(places.price)
        self.price = self._expected(places.price, weights)
        self.carbon = self._expected(places.carbon, weights)
        self.rate = self.pue * (self.price + self.carbon * schedule.carbon_price_per_tonne / 1e6)
        limit = capacity.limit if capacity.limit.ndim == 2 else capacity.limit[:, np.newaxis]
        self.limit = np.ones((self.sites, self.steps)) * limit
        self.base_kw = np.zeros((self.sites, self.steps))
        if frozen is not None:
            self.limit = np.maximum(self.limit - frozen.use, 0.0)
            self.base_kw = self.pue * (frozen.it_kw if frozen.it_kw.size else frozen.use)
        peak = capacity.peak_kw if capacity.peak_kw.size else np.zeros(self.sites)
        self.peak_kw = np.maximum(peak, self.base_kw.max(axis=1))

    @staticmethod
    def _expected(scenarios: Floats, weights: Floats) -> Floats:
        total = np.zeros(scenarios.shape[1:])
        for values, weight in zip(scenarios, weights.tolist(), strict=True):
            if weight > 0:
                total = total + weight * values
        return total

    def faults(self) -> Iterator[str]:
        names = tuple(job.name for job in self.jobs)
        if self.plan.names != names or self.plan.sites != self.places.names:
            yield "the plan is for other jobs or other places"
            return
        runs = self.plan.runs
        inside = len(runs) == 0 or (
            runs.job.min() >= 0 and runs.job.max() < len(names)
            and runs.site.min() >= 0 and runs.site.max() < self.sites
            and (len(runs.step) == 0 or (runs.step.min() >= 0 and runs.step.max() < self.steps))
        )  # fmt: skip
        if not inside or len(runs.offset) != len(runs) + 1 or np.any(np.diff(runs.offset) <= 0):
            yield "the runs name jobs, sites or steps that are not there"
            return
        yield from self._count_faults()
        for run in range(len(runs)):
            yield from self._run_faults(run)
        yield from self._capacity_faults()
        yield from self._sum_faults()
        yield from self._bound_faults()

    # --- runs -----------------------------------------------------------------------------------------

    def _window(self, job: Job) -> tuple[float, float, float]:
        """Release, deadline and work, in steps of the horizon."""
        start = self.places.start.timestamp()
        release = (job.release.timestamp() - start) / self.places.step_s
        deadline = min((job.deadline.timestamp() - start) / self.places.step_s, float(self.steps))
        return release, deadline, job.work_at(self.quantile) / self.step_h

    def _may(self, job: Job, site: int) -> bool:
        name = self.places.names[site]
        return name == job.home if not job.movable else not job.sites or name in job.sites

    def _count_faults(self) -> Iterable[str]:
        done = np.bincount(self.plan.runs.job, self.plan.runs.count, minlength=len(self.jobs))
        if np.any(self.plan.runs.count < 1):
            yield "a run stands for no job"
        for job, many in zip(self.jobs, done.tolist(), strict=True):
            if many != job.count:
                yield f"{job.name} runs {many:g} times, not {job.count}"

    def _run_faults(self, run: int) -> Iterable[str]:
        runs = self.plan.runs
        job, site = self.jobs[int(runs.job[run])], int(runs.site[run])
        if not self._may(job, site):
            yield f"{job.name} runs at {self.places.names[site]}, where it may not"
        entry = slice(int(runs.offset[run]), int(runs.offset[run + 1]))
        step, work, energy = runs.step[entry], runs.work[entry], runs.energy_kwh[entry]
        if np.any(np.diff(step) <= 0) or not (np.isfinite(work).all() and np.isfinite(energy).all()):
            yield f"{job.name}: its steps do not follow each other"
            return
        release, deadline, need = self._window(job)
        room = np.minimum(step + 1.0, deadline) - np.maximum(step.astype(float), release)
        if room.min() <= 0 or runs.start[run] < release - _STEPS or runs.end[run] > deadline + _STEPS:
            yield f"{job.name} runs outside its window"
            return
        if np.any(self._lowest(job) > self.limit[site, step] * (1 + _RELATIVE) + 1e-12):
            yield f"{job.name} runs at {self.places.names[site]} when that gives less than its lowest level draws"
            return
        if work.min() < 0 or float(work.sum()) < need * (1 - _RELATIVE) - _STEPS:
            yield f"{job.name} does {work.sum() * self.step_h:.6g} h of its {need * self.step_h:.6g} h of work"
        if job.preemptible and not (job.checkpoint_h or job.checkpoint_kwh):
            yield from self._elastic_faults(job, work, energy, room)
        else:
            yield from self._level_faults(job, step, work, energy, room, need)
            if runs.start[run] > step[0] + 1 or runs.end[run] < step[-1]:
                yield f"{job.name}: its start and end are not those of its steps"

    def _elastic_faults(self, job: Job, work: Floats, energy: Floats, room: Floats) -> Iterable[str]:
        """In each step, some mix of the levels and rest that does the work and draws the energy."""
        speeds = [0.0, *(level.speed for level in job.levels)]
        powers = [0.0, *(level.power_w / 1e3 for level in job.levels)]
        for done, drawn, time in zip(work.tolist(), energy.tolist(), room.tolist(), strict=True):
            speed, kw = done / time, drawn / (time * self.step_h)
            mixes = [
                p + (q - p) * (speed - v) / (u - v)
                for v, p in zip(speeds, powers, strict=True)
                for u, q in zip(speeds, powers, strict=True)
                if v <= speed + _STEPS and speed - _STEPS <= u and v < u
            ]
            slack = 1e-6 * powers[-1]
            if not mixes or not min(mixes) - slack <= kw <= max(mixes) + slack:
                yield f"{job.name}: {drawn:.6g} kWh is not what {done * self.step_h:.6g} h of work take in a step"
                return

    def _level_faults(
        self, job: Job, step: np.ndarray, work: Floats, energy: Floats, room: Floats, need: float
    ) -> Iterable[str]:
        """One level all the time; a pause only if it may, and then what a resumption costs."""
        gaps = np.flatnonzero(np.diff(step) > 1) + 1
        if gaps.size and not job.preemptible:
            yield f"{job.name} pauses, which it may not"
            return
        lost, share = self._restoring(job)
        for level in job.levels:
            time = work / level.speed
            expected = time * level.power_w / 1e3 * self.step_h
            for begin in gaps.tolist():
                expected[begin : begin + lost] = level.power_w / 1e3 * self.step_h
                if lost:
                    expected[begin] *= share
                expected[begin] += job.checkpoint_kwh
            paused = gaps.size > 0
            # What may pause at a price may be planned in whole steps, and where energy is paid for stay in one piece.
            most = np.ceil(need / level.speed - 1e-9) * level.speed if job.preemptible else need
            right = (
                np.allclose(energy, expected, rtol=1e-6, atol=1e-9)
                and np.all(time <= room + _STEPS)
                and float(work.sum()) <= most * (1 + _RELATIVE) + _STEPS
                and all(work[begin : begin + lost].sum() <= _STEPS for begin in gaps.tolist())
            )
            # Without a pause, all steps but the first and the last are full.
            inner = time[1:-1]
            if right and (paused or np.all(inner >= 1 - _STEPS)):
                return
        yield f"{job.name}: no level of it does that work for that energy without a pause"

    def _restoring(self, job: Job) -> tuple[int, float]:
        """Steps in which a resumption restores, and the share of the first that it takes: it ends at an edge."""
        exact = job.checkpoint_h / self.step_h
        steps = math.ceil(exact - 1e-9)
        return steps, min(1.0, exact - steps + 1) if steps else 1.0

    # --- sums -----------------------------------------------------------------------------------------

    def _facility_kwh(self) -> Floats:
        runs = self.plan.runs
        total = np.zeros((self.sites, self.steps))
        many = np.repeat(runs.count, np.diff(runs.offset))
        np.add.at(total, (np.repeat(runs.site, np.diff(runs.offset)), runs.step), runs.energy_kwh * many)
        return total * self.pue

    def _units(self, job: Job) -> float:
        """Of capacity for a kW of IT power."""
        if self.capacity.unit is CapacityUnit.KW:
            return 1.0
        return job.devices / (job.levels[-1].power_w / 1e3)

    def _capacity_faults(self) -> Iterable[str]:
        runs = self.plan.runs
        sizes = np.diff(runs.offset)
        each = np.array([self._units(job) for job in self.jobs])[runs.job] * runs.count if len(runs) else np.empty(0)
        used = np.zeros((self.sites, self.steps))
        np.add.at(used, (np.repeat(runs.site, sizes), runs.step), runs.energy_kwh * np.repeat(each, sizes))
        used /= self.step_h
        over = used - self.limit * (1 + _RELATIVE) - 1e-12
        for site, step in zip(*np.nonzero(over > 0), strict=True):
            yield (
                f"{self.places.names[site]} holds {used[site, step]:.6g} {self.capacity.unit} in step {step}, over its "
                f"capacity of {self.limit[site, step]:.6g}"
            )

    def _sum_faults(self) -> Iterable[str]:
        facility, runs = self._facility_kwh(), self.plan.runs
        drawn = facility != 0
        cost = float(np.sum(facility[drawn] * self.price[drawn]))
        grams = float(np.sum(facility[drawn] * self.carbon[drawn]))
        per_gb = self.places.move_cost_per_gb
        for job, site, many in zip(runs.job.tolist(), runs.site.tolist(), runs.count.tolist(), strict=True):
            if per_gb.size and self.places.names[site] != self.jobs[job].home:
                cost += self.jobs[job].data_gb * float(per_gb[site]) * many
        if self.capacity.demand_rate.size:
            top = (facility / self.step_h + self.base_kw).max(axis=1)
            cost += float(self.capacity.demand_rate @ np.maximum(top - self.peak_kw, 0.0))
        objective = cost + grams / 1e6 * self.plan.carbon_price_per_tonne
        size = float(np.sum(np.abs(facility[drawn] * self.price[drawn]))) + abs(objective)
        stated = self.plan.outcome
        for name, said, found in (
            ("cost", stated.cost, cost),
            ("carbon", stated.carbon_g, grams),
            ("objective", stated.objective, objective),
            ("objective of the certificate", self.plan.certificate.objective, objective),
            ("IT energy", self.plan.it_energy_kwh, float((facility / self.pue).sum())),
        ):
            scale = (
                max(size, abs(found))
                if name != "carbon"
                else float(np.sum(np.abs(facility[drawn] * self.carbon[drawn])))
            )
            if not abs(said - found) <= _RELATIVE * scale + 1e-12:
                yield f"the {name} is stated as {said!r}, the runs come to {found!r}"

    # --- the bound ------------------------------------------------------------------------------------

    def _bound_faults(self) -> Iterable[str]:
        stated, prices = self.plan.certificate, self.plan.prices
        shape = (self.sites, self.steps)
        charged = self.capacity.demand_rate.size > 0 and bool(self.capacity.demand_rate.any())
        if prices.limit.shape != shape or not np.all((prices.limit >= 0) & (prices.limit < np.inf)):
            yield "the prices of capacity are not 0 or more in every site and step"
            return
        paid = np.where(np.isfinite(self.limit), prices.limit * np.where(np.isfinite(self.limit), self.limit, 0.0), 0.0)
        if np.any(prices.limit[~np.isfinite(self.limit)] > 0):
            yield "capacity without a limit has a price"
            return
        worth = float(paid.sum()) * self.step_h
        demand = np.zeros(shape)
        if charged:
            demand = prices.demand
            if demand.shape != shape or not np.all(demand >= 0):
                yield "the shares of the demand rates are not 0 or more in every site and step"
                return
            if np.any(demand.sum(axis=1) > self.capacity.demand_rate * (1 + _RELATIVE) + 1e-12):
                yield "the shares of a demand rate sum to more than the rate"
                return
            worth += float(np.sum(demand * (self.peak_kw[:, np.newaxis] - self.base_kw)))
        total, size = -worth, worth
        known: dict[object, float] = {}
        for job in self.jobs:
            units = self._units(job)
            key = (
                job.release, job.deadline, job.work_at(self.quantile), job.levels, job.preemptible, job.home,
                job.movable, job.sites, job.checkpoint_h, job.checkpoint_kwh, job.data_gb, units,
            )  # fmt: skip
            if key not in known:
                rate = self.rate + units * prices.limit + self.pue * demand / self.step_h
                known[key] = self._cheapest(job, rate)
            total += known[key] * job.count
            size += abs(known[key]) * job.count
        if stated.lower_bound > total + _RELATIVE * size + 1e-12:
            yield f"the lower bound {stated.lower_bound!r} is above what the prices of capacity prove, {total!r}"
        if stated.within != self._within():
            yield f"the bound holds for {self._within() or 'all plans'}, and is stated for {stated.within or 'all'}"
        if stated.lower_bound > stated.objective + 1e-12 * abs(stated.objective):
            yield f"the lower bound {stated.lower_bound!r} is above the objective {stated.objective!r}"
        scale = abs(stated.objective) or abs(stated.lower_bound) or 1.0
        if not abs(stated.gap - (stated.objective - stated.lower_bound) / scale) <= _RELATIVE:
            yield f"the gap {stated.gap!r} is not the distance of objective and bound"

    def _within(self) -> str:
        """The plans that the bound below is over: `_cheapest` tries no others."""
        costly = [job for job in self.jobs if not job.preemptible or job.checkpoint_h or job.checkpoint_kwh]
        said = []
        if any(len(job.levels) > 1 for job in costly):
            said.append("keeps one level through a run")
        if any(job.preemptible for job in costly):
            said.append("pauses at whole steps")
        return f"that {' and '.join(said)}" if said else ""

    def _cheapest(self, job: Job, rate: Floats) -> float:
        """Least cost of one job of this kind at this rate, over all sites [currency]."""
        release, deadline, need = self._window(job)
        best = math.inf
        for site in range(self.sites):
            if not self._may(job, site) or self._never_fits(job, site):
                continue
            per_gb = self.places.move_cost_per_gb
            away = self.places.names[site] != job.home
            entry = job.data_gb * float(per_gb[site]) if per_gb.size and away else 0.0
            first, last = math.floor(release + 1e-9), math.ceil(deadline - 1e-9)
            row = rate[site, first:last]
            room = np.minimum(np.arange(first, last) + 1.0, deadline) - np.maximum(np.arange(first, last), release)
            if job.preemptible and not (job.checkpoint_h or job.checkpoint_kwh):
                best = min(best, entry + self._mixed(job, row, room, need))
                continue
            for level in job.levels:
                length, kw = need / level.speed, level.power_w / 1e3 * self.step_h
                if length > deadline - release + 1e-9:
                    continue
                best = min(best, entry + kw * _through(row, release - first, deadline - first, length))
                if job.preemptible:
                    inner = rate[site, math.ceil(release - 1e-9) : math.floor(deadline + 1e-9)]
                    lost, share = self._restoring(job)
                    extra = job.checkpoint_kwh / kw
                    steps = math.ceil(length - 1e-9)
                    best = min(best, entry + kw * _with_pauses(inner, steps, lost, share, extra))
        return best

    def _never_fits(self, job: Job, site: int) -> bool:
        """Whether the job draws more there at its lowest level than the site gives in any step."""
        return self._lowest(job) > float(self.limit[site].max()) * (1 + _RELATIVE) + 1e-12

    def _lowest(self, job: Job) -> float:
        """The least it can draw while it runs, in units of capacity; of a mean over a step it may be a part."""
        release, deadline, need = self._window(job)
        free = job.preemptible and not (job.checkpoint_h or job.checkpoint_kwh)
        powers = [one.power_w for one in job.levels if free or need / one.speed <= deadline - release + 1e-9]
        return min(powers, default=math.inf) / 1e3 * self._units(job)

    def _mixed(self, job: Job, row: Floats, room: Floats, need: float) -> float:
        """The cheapest work first: between two levels, a unit of work costs the power it adds over the speed."""
        pieces: list[tuple[float, float]] = []
        for rate, time in zip(row.tolist(), room.tolist(), strict=True):
            points = [(0.0, 0.0)]
            rest = [(level.speed, level.power_w / 1e3 * rate * self.step_h) for level in job.levels]
            while rest:  # the lower hull, by the least slope from where it is
                v, cost = points[-1]
                slope, speed, at = min(((c - cost) / (s - v), -s, c) for s, c in rest)
                points.append((-speed, at))
                pieces.append((slope, (-speed - v) * time))
                rest = [(s, c) for s, c in rest if s > -speed]
        total, left = 0.0, need
        for slope, amount in sorted(pieces):
            taken = min(left, amount)
            total, left = total + slope * taken, left - taken
            if left <= 0:
                break
        return total


def _through(row: Floats, release: float, deadline: float, length: float) -> float:
    """Every start at which the run begins or ends at an edge, and the first and last start there are."""
    sums = np.concatenate([[0.0], np.cumsum(row)])
    edges = np.arange(len(sums), dtype=np.float64)
    starts = np.concatenate([[release, deadline - length], edges, edges - length])
    starts = starts[(starts >= release - 1e-9) & (starts <= deadline - length + 1e-9)]
    starts = np.append(np.maximum(starts, release), release)
    return float(np.min(np.interp(starts + length, edges, sums) - np.interp(starts, edges, sums)))


def _with_pauses(row: Floats, need: int, lost: int, share: float, extra: float) -> float:
    """Least cost by stages: f(t, w) of having w steps of work done when a piece of the run ends at t.

    Restoring takes `lost` steps, of the first of them `share`.
    """
    steps = len(row)
    if need > steps:
        return math.inf
    sums = np.concatenate([[0.0], np.cumsum(row)])
    best = np.full((steps + 1, need + 1), math.inf)  # a piece ends exactly at t
    before = np.full((steps + 1, need + 1), math.inf)  # some piece ended at or before t
    for end in range(1, steps + 1):
        for done in range(1, min(need, end) + 1):
            best[end, done] = sums[end] - sums[end - done] if done <= end else math.inf
            for part in range(1, done):
                begin = end - part - lost  # where this piece starts to restore; the one before ended earlier than that
                if begin < 1 or math.isinf(before[begin - 1, done - part]):
                    continue
                first = extra - (1 - share if lost else 0.0)
                cost = before[begin - 1, done - part] + sums[end] - sums[begin] + first * float(row[begin])
                best[end, done] = min(best[end, done], cost)
        before[end] = np.minimum(before[end - 1], best[end])
    return float(before[steps, need])
