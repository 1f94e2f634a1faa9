"""The policies of a back-test where the sites' capacity binds: the same rules, one queue, and never more than fits.

Jobs take room in the order of their release. Where a policy finds none in time, the job runs as soon after its
deadline as there is room, and is counted as late; what finds none before the history ends is counted as undone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

import numpy as np

from outweigh.plan.backtest_policies import BestConstant, Case, PlanOnce, Promised, Threshold, paid_by
from outweigh.plan.kernels import Windows, contiguous_use
from outweigh.plan.offers import W_PER_KW, Runs, offers, runs
from outweigh.plan.problem import ROUNDING_STEPS, Bools, Floats, Ints, Jobs
from outweigh.plan.rolling import joined
from outweigh.plan.rolling_outlook import Outlook, Perfect

#: Sums of floats in another order differ by less, as a share of the capacity.
ROOM_RTOL: Final = 1e-9
# The oracle goes over its jobs so often at most, and stops where a pass gains less than this share.
_PASSES: Final = 8
_PAYS: Final = 1e-4
_SAME: Final = 1e-9


class Room:
    """IT power that is left [kW], shape (S, T), as jobs take it."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.free = case.limit_kw * (1 + ROOM_RTOL)

    def holds(self, entries: Runs) -> bool:
        """Whether the runs of one job fit, beside all that were taken."""
        kw = entries.energy_kwh / self.case.step_h
        return bool((kw <= self.free[entries.site, entries.step]).all())

    def take(self, entries: Runs) -> None:
        np.subtract.at(self.free, (entries.site, entries.step), entries.energy_kwh / self.case.step_h)

    def give(self, entries: Runs) -> None:
        """Back what was taken."""
        np.add.at(self.free, (entries.site, entries.step), entries.energy_kwh / self.case.step_h)

    def through(self, run: Through, begin: float) -> tuple[float, int] | None:
        """Where and when a run without a pause finds room first: (start [steps], site), or None before the end.

        At home in time, then at another site in time, then the earliest of all.
        """
        latest = max(run.deadline - run.length, begin)
        for site in run.sites:
            start = self._first(run, site, begin, latest)
            if start is not None:
                return start, site
        end = self.free.shape[1] - run.length
        found = [
            (start, place, site)
            for place, site in enumerate(run.sites)
            if (start := self._first(run, site, float(np.floor(latest) + 1), end)) is not None
        ]
        return (min(found)[0], min(found)[2]) if found else None

    def _first(self, run: Through, site: int, begin: float, latest: float) -> float | None:
        row = self.free[site]
        if begin <= latest + ROUNDING_STEPS and row[int(begin) : _last(begin + run.length)].min() >= run.kw:
            return begin
        first = int(np.ceil(begin))
        starts = np.arange(first, int(np.floor(latest + ROUNDING_STEPS)) + 1)
        if not starts.size:
            return None
        ends = np.ceil(starts + run.length - ROUNDING_STEPS).astype(np.int64) - first
        full = np.concatenate([[0], np.cumsum(row[first : first + int(ends[-1])] < run.kw)])
        clear = np.flatnonzero(full[ends] == full[starts - first])
        return float(starts[clear[0]]) if clear.size else None


class Through(NamedTuple):
    """A job that runs through: its length and deadline [steps], power [kW], and sites, home first."""

    length: float
    deadline: float
    kw: float
    sites: list[int]


@dataclass(frozen=True, slots=True, eq=False)
class Queued:
    """Runs of jobs placed one by one. `undone`: found no room before the end, shape (J,)."""

    runs: Runs
    undone: Bools


def queue(case: Case, begin: Floats, site: Ints, only: Bools | None = None, room: Room | None = None) -> Queued:
    """Jobs in the order of release, each from `begin` [steps] on at `site`, both shape (J,), or where there is room.

    Args:
        only: these; the others are left out.
        room: what is left of the capacity, and is taken from.
    """
    room = room or Room(case)
    jobs = case.jobs
    throughs = list(_throughs(case, site))
    start, where = np.full(len(jobs), np.nan), site.copy()
    for job in np.argsort(jobs.release, kind="stable").tolist():
        if only is not None and not only[job]:
            continue
        found = room.through(throughs[job], float(begin[job]))
        if found is None:
            continue
        start[job], where[job] = found
        _reserve(room, throughs[job], *found)
    placed = np.flatnonzero(~np.isnan(start))
    return Queued(_through_runs(case, placed, start[placed], where[placed]), np.isnan(start))


def _reserve(room: Room, run: Through, start: float, site: int) -> None:
    step = np.arange(int(start), _last(start + run.length))
    share = np.minimum(step + 1, start + run.length) - np.maximum(step, start)
    room.free[site, step] -= run.kw * share


def _last(end: float) -> int:
    return int(np.ceil(end - ROUNDING_STEPS))


def _throughs(case: Case, site: Ints) -> Iterator[Through]:
    length, _, power = case.slowest()
    for job in range(len(case.jobs)):
        others = [s for s in np.flatnonzero(case.jobs.allowed[job]).tolist() if s != site[job]]
        yield Through(
            float(length[job]), float(case.jobs.deadline[job]), float(power[job]) / W_PER_KW, [int(site[job]), *others]
        )


def _through_runs(case: Case, job: Ints, start: Floats, site: Ints) -> Runs:
    length, speed, power = (each[job] for each in case.slowest())
    use = contiguous_use(Windows(site, start, start + length, length), start)
    kw = power[use.row] / W_PER_KW
    return Runs(job[use.row], site[use.row], use.step, use.work * speed[use.row], use.draw * kw * case.step_h)


class StartNow:
    """Starts at its release, at home; waits where there is no room, and goes elsewhere where home has none in time."""

    name = "start now"
    what = (
        "starts at its release, at home, in the order of release; waits for room, or goes where there is some in time"
    )

    def play(self, case: Case) -> tuple[Runs, Promised | None]:
        return queue(case, case.jobs.release, case.home).runs, None


class BestConstantWithin(BestConstant):
    """The best that one rule for all jobs gives within the capacity, chosen in hindsight."""

    def play(self, case: Case) -> tuple[Runs, Promised | None]:
        jobs = case.jobs
        best: tuple[int, int, float] | None = None
        kept, every = queue(case, jobs.release, case.home).runs, max(1, self.per_day // 24)
        length, _, _ = case.slowest()
        for place in range(-1, case.rate.shape[0]):
            site = case.home if place < 0 else np.where(jobs.allowed[:, place], place, case.home)
            for hour in (-1, *range(0, self.per_day, every)):
                wait = np.zeros(len(jobs)) if hour < 0 else (hour - jobs.release) % self.per_day
                begin = np.where(jobs.release + wait + length <= jobs.deadline, jobs.release + wait, jobs.release)
                found = queue(case, begin, site)
                ended = np.zeros(len(jobs))
                np.maximum.at(ended, found.runs.job, found.runs.step + 1.0)
                entry = jobs.entry_cost[found.runs.job, found.runs.site]
                first = np.unique(found.runs.job, return_index=True)[1]
                total = float(paid_by(case, found.runs).sum() + entry[first].sum())
                late = int((ended > np.ceil(jobs.deadline)).sum())
                rank = (int(found.undone.sum()), late, total)
                if best is None or rank < best:
                    best, kept = rank, found.runs
                    self.what = f"{case.rule(place, hour)}, waiting for room"
        return kept, None


class ThresholdWithin(Threshold):
    """The threshold within the capacity: who may not pause keeps its room, then who must run, then by release."""

    def play(self, case: Case) -> tuple[Runs, Promised | None]:
        jobs, room = case.jobs, Room(case)
        length, speed, power = case.slowest()
        kw = power / W_PER_KW
        shares = 100 * length / (jobs.deadline - jobs.release) if self.percentile is None else None
        levels = shares if shares is not None else np.full(len(jobs), self.percentile)
        threshold, left = np.full(len(jobs), np.nan), length.copy()
        ran_at = np.full(len(jobs), -2)
        pausable = jobs.preemptible & (jobs.resume_steps == 0)
        parts: list[Runs] = []
        order = np.argsort(jobs.release, kind="stable")
        released, arrived, live = jobs.release[order], 0, np.empty(0, dtype=np.int64)
        for step in range(case.rate.shape[1]):
            until = int(np.searchsorted(released, step, side="right"))
            fresh, arrived = order[arrived:until], until
            live = np.concatenate([live, fresh])
            if not live.size:
                continue
            threshold = self._look(case, step, live if self.adaptive else fresh, levels, threshold)
            seen = self.outlook.rates(step, step + 1)[case.home[live], 0]
            wants = ~(seen > threshold[live])
            must = left[live] > jobs.deadline[live] - step - 1 + ROUNDING_STEPS
            goes = live[wants | must]
            goes = goes[np.argsort(~must[wants | must], kind="stable")]
            gone = np.zeros(len(jobs), dtype=np.bool_)
            for job in goes.tolist():
                site = int(case.home[job])
                if pausable[job]:
                    done = min(1.0, float(left[job]))
                    if step < jobs.deadline[job]:
                        done = min(done, float(jobs.deadline[job]) - step)
                    resumes = left[job] < length[job] - ROUNDING_STEPS and ran_at[job] != step - 1
                    extra = float(jobs.resume_kwh[job]) if resumes else 0.0
                    entries = _one(job, site, step, done * speed[job], done * kw[job] * case.step_h + extra)
                    if not room.holds(entries):
                        continue
                    left[job] -= done
                else:
                    fits = room._first(Through(length[job], 0.0, kw[job], [site]), site, float(step), float(step))
                    if step + length[job] > case.rate.shape[1] or fits is None:
                        continue
                    entries = _through_runs(case, np.array([job]), np.array([float(step)]), np.array([site]))
                    left[job] = 0.0
                room.take(entries)
                parts.append(entries)
                ran_at[job], gone[job] = step, left[job] <= ROUNDING_STEPS
            live = live[~gone[live]]
        return joined(parts), None


def _one(job: int, site: int, step: int, work: float, kwh: float) -> Runs:
    return Runs(np.array([job]), np.array([site]), np.array([step]), np.array([work]), np.array([kwh]))


class PlanOnceWithin(PlanOnce):
    """Plans each job at its release, on what is known then and in the room that those before it left.

    What a job expects to save is against starting at its release at home, as if there were room.

    Args:
        first: order in which jobs of one moment take room; shape (J,), the least first. By position by default.
        beforehand: take the jobs in that order all through, and not by release: for an oracle.
    """

    def __init__(self, outlook: Outlook, *, within_error: bool = False, first: Floats | None = None) -> None:
        super().__init__(outlook, within_error=within_error)
        self._order = first

    def play(self, case: Case) -> tuple[Runs, Promised | None]:
        jobs, n = case.jobs, len(case.jobs)
        alone, expected, at_home = self._planned(case)
        alone = taken(alone, np.lexsort((alone.step, alone.job)))
        each = np.arange(n)
        promised = at_home - expected
        base = paid_by(case, case.through(jobs.release, case.home)) + jobs.entry_cost[each, case.home]
        first, last = _slices(alone, n)
        room, parts = Room(case), list[Runs]()
        off, errors = np.zeros(n), np.zeros(n)
        throughs = list(_throughs(case, case.home))
        passed = _Passed(jobs)
        order = self._order if self._order is not None else jobs.release
        for job in np.argsort(order, kind="stable").tolist():
            mine = slice(first[job], last[job])
            entries = taken(alone, mine)
            if not room.holds(entries):
                found = self.elsewhere(case, room, job)
                entries = entries if found is None else found[0]
                promised[job] = promised[job] if found is None else at_home[job] - found[1]
                fits = found is not None
            else:
                fits = True
            came = float((entries.energy_kwh * case.rate[entries.site, entries.step]).sum())
            came += float(jobs.entry_cost[job, entries.site[0]])
            off[job] = promised[job] - (base[job] - came)
            errors[job] = passed.error(float(jobs.release[job]), off) if self._order is None else 0.0
            stays = self.within_error and promised[job] < errors[job]
            if stays or not fits:
                promised[job] = 0.0 if stays else promised[job]
                at = room.through(throughs[job], float(jobs.release[job]))
                if at is None:
                    continue
                entries = _through_runs(case, np.array([job]), np.array([at[0]]), np.array([at[1]]))
            room.take(entries)
            parts.append(entries)
        return joined(parts), Promised(promised, errors, base)

    def elsewhere(self, case: Case, room: Room, job: int) -> tuple[Runs, float] | None:
        """The best run that keeps out of full steps, with what it is expected to cost; None where there is none.

        Tried with all of its levels, then without the highest: what a job draws at most must fit.
        """
        row = np.array([job])
        one = case.jobs.take(row)
        now = int(np.ceil(one.release[0] - ROUNDING_STEPS))
        until = int(np.ceil(one.deadline[0]))
        known = self.outlook.rates(now, until)
        if np.isnan(known[one.allowed[0]]).any():
            return None
        rate = np.nan_to_num(known)
        part = replace(one, release=one.release - now, deadline=one.deadline - now)
        above = 1e4 * max(float(np.abs(rate).max()), 1e-6)
        for top in range(part.speed.shape[1], 0, -1):
            cut = replace(part, speed=part.speed[:, :top], power_w=part.power_w[:, :top])
            if cut.work[0] / cut.speed[0, -1] > cut.deadline[0] - cut.release[0] + ROUNDING_STEPS:
                return None
            most = float(cut.power_w.max()) / W_PER_KW + float(cut.resume_kwh[0]) / case.step_h
            full = room.free[:, now:until] < most
            found = offers(cut, np.where(full, rate + above, rate), case.step_h)
            entries = runs(cut, np.where(full, rate + above, rate), case.step_h, found, found.site)
            if not full[entries.site, entries.step].any():
                paid = float((entries.energy_kwh * rate[entries.site, entries.step]).sum())
                paid += float(one.entry_cost[0, entries.site[0]])
                return replace(entries, job=np.full(len(entries.job), job), step=entries.step + now), paid
        return None


class _Passed:
    """How far expectations had been off, over the jobs whose windows had passed: root mean square [currency]."""

    def __init__(self, jobs: Jobs) -> None:
        self._order = np.argsort(jobs.deadline, kind="stable")
        self._ends = jobs.deadline[self._order]
        self._seen, self._sum = 0, 0.0

    def error(self, release: float, off: Floats) -> float:
        until = int(np.searchsorted(self._ends, release, side="right"))
        self._sum += float((off[self._order[self._seen : until]] ** 2).sum())
        self._seen = until
        return float(np.sqrt(self._sum / max(until, 1)))


def taken(entries: Runs, rows: Ints | slice) -> Runs:
    """These entries."""
    return Runs(*(getattr(entries, name)[rows] for name in ("job", "site", "step", "work", "energy_kwh")))


def _slices(entries: Runs, n: int) -> tuple[Ints, Ints]:
    """Where the entries of every job begin and end; `entries` in the order of jobs, both shape (J,)."""
    counts = np.bincount(entries.job, minlength=n)
    last = np.cumsum(counts)
    return last - counts, last


class OracleWithin:
    """Perfect foresight within the capacity: the best of some ways to fill it, then job by job while that pays.

    Among those ways are the runs of the other policies, so none that keeps all deadlines does better. How far it can
    be from best is told by the oracle that has no capacity to keep.

    Args:
        seeds: runs that keep to the capacity and to all deadlines.
    """

    name = "oracle"
    what = "perfect foresight"

    def __init__(self, seeds: Sequence[Runs] = ()) -> None:
        self.seeds = seeds

    def play(self, case: Case) -> tuple[Runs, Promised | None]:
        jobs, n = case.jobs, len(case.jobs)
        planner = PlanOnceWithin(Perfect(case.rate))
        orders = (jobs.release, -jobs.work * jobs.power_w[:, 0])
        ways = [*self.seeds, *(PlanOnceWithin(planner.outlook, first=order).play(case)[0] for order in orders)]
        entries = min(ways, key=lambda way: (n - len(np.unique(way.job)), total(case, way)))
        found = offers(jobs, case.rate, case.step_h)
        least = found.cost.min(axis=1)
        if len(np.unique(entries.job)) == n:
            entries = self._improved(case, planner, entries, least)
        above = (total(case, entries) - float(least.sum())) / (abs(float(least.sum())) or 1.0)
        self.what = (
            "perfect foresight within the capacity, improved job by job; at most "
            f"{100 * above:.1f} % above what the jobs would cost with room for all"
        )
        return entries, None

    @staticmethod
    def _improved(case: Case, planner: PlanOnceWithin, entries: Runs, least: Floats) -> Runs:
        n, room = len(case.jobs), Room(case)
        room.take(entries)
        entries = taken(entries, np.lexsort((entries.step, entries.job)))
        first, last = _slices(entries, n)
        mine = [taken(entries, slice(a, b)) for a, b in zip(first.tolist(), last.tolist(), strict=True)]
        entry = case.jobs.entry_cost[np.arange(n), [int(one.site[0]) for one in mine]]
        paid = paid_by(case, entries) + entry
        for _ in range(_PASSES):
            before = float(paid.sum())
            for job in np.argsort(least - paid, kind="stable").tolist():
                if paid[job] <= least[job] + _SAME * abs(least[job]):
                    continue
                room.give(mine[job])
                better = planner.elsewhere(case, room, job)
                if better is not None and better[1] < paid[job] - _SAME * abs(paid[job]):
                    mine[job], paid[job] = better
                room.take(mine[job])
            if before - float(paid.sum()) <= _PAYS * abs(before):
                break
        return joined(mine)


def total(case: Case, entries: Runs) -> float:
    """Objective of all runs [currency], entry costs included."""
    first = np.unique(entries.job, return_index=True)[1]
    entry = case.jobs.entry_cost[entries.job, entries.site][first]
    return float(paid_by(case, entries).sum() + entry.sum())
