"""The policies of a back-test: each sees what its outlook knew at the time, and nothing later."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import NamedTuple, Protocol

import numpy as np

from outweigh.core.constants import S_PER_HOUR
from outweigh.core.errors import InvalidQuantity
from outweigh.plan.kernels import Windows, contiguous_use, now
from outweigh.plan.offers import W_PER_KW, Runs, offers, runs, starting_now
from outweigh.plan.online import PauseResume, Player
from outweigh.plan.problem import ROUNDING_STEPS, Bools, Floats, Ints, Jobs
from outweigh.plan.rolling import Rolling, Rules, joined
from outweigh.plan.rolling_outlook import Outlook


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """What all policies are played on.

    Attributes:
        jobs: released at steps. rate: what came [currency/kWh of IT], shape (S, T). step_h: [h].
        home: where each job runs if nobody plans, shape (J,).
        limit_kw: IT power the sites can give [kW], shape (S, T); empty is no limit.
        sites: their names; empty where they have none. day_s: how far into its day (UTC) step 0 begins [s].
    """

    jobs: Jobs
    rate: Floats
    step_h: float
    home: Ints
    limit_kw: Floats = field(default_factory=lambda: np.empty(0))
    sites: tuple[str, ...] = ()
    day_s: float = 0.0

    def rule(self, place: int, step: int) -> str:
        """A rule in words: always from this step of the day on (-1: at once), at this site (-1: at home)."""
        minutes = round((self.day_s + step * self.step_h * S_PER_HOUR) / 60) % (24 * 60)
        when = "at once" if step < 0 else f"from {minutes // 60:02d}:{minutes % 60:02d} UTC"
        where = "home" if place < 0 else self.sites[place] if place < len(self.sites) else f"site {place}"
        return f"{when}, at {where}"

    def at_home(self) -> Jobs:
        here = np.arange(self.rate.shape[0]) == self.home[:, np.newaxis]
        return replace(self.jobs, allowed=here)

    def slowest(self) -> tuple[Floats, Floats, Floats]:
        """Of every job, at the slowest level in time: its run time [steps], speed and power [W], all shape (J,)."""
        jobs, each = self.jobs, np.arange(len(self.jobs))
        fits = jobs.work[:, np.newaxis] / jobs.speed <= (jobs.deadline - jobs.release)[:, np.newaxis] + ROUNDING_STEPS
        level = np.where(fits.any(axis=1), np.argmax(fits, axis=1), jobs.speed.shape[1] - 1)
        speed = jobs.speed[each, level]
        return jobs.work / speed, speed, jobs.power_w[each, level]

    def through(self, start: Floats, site: Ints) -> Runs:
        """Runs without a pause from `start` at `site`, both shape (J,), at the slowest level in time."""
        length, speed, power = self.slowest()
        use = contiguous_use(Windows(site, start, self.jobs.deadline, length), start)
        kw = power[use.row] / W_PER_KW
        return Runs(use.row, site[use.row], use.step, use.work * speed[use.row], use.draw * kw * self.step_h)


class Promised(NamedTuple):
    """What a policy expected of each job when it decided, shape (J,) [currency]: the saving, and how far such
    expectations had been off before, root mean square; None where nothing was known of that. `against`: what the runs
    that the saving was promised against came to; None where these are the runs of starting now."""

    saving: Floats
    error: Floats | None
    against: Floats | None = None


class Policy(Protocol):
    """Decides over all jobs of a case. It keeps deadlines; where capacity binds, as far as there is room."""

    @property
    def name(self) -> str: ...

    @property
    def what(self) -> str: ...

    def play(self, case: Case) -> tuple[Runs, Promised | None]: ...


class _StartNow:
    name = "start now"
    what = "starts at its release, at home, and runs through"

    def play(self, case: Case) -> tuple[Runs, Promised | None]:
        return case.through(case.jobs.release, case.home), None


class _Oracle:
    name = "oracle"
    what = "perfect foresight: the best run of every job at any site it may run at"

    def play(self, case: Case) -> tuple[Runs, Promised | None]:
        found = offers(case.jobs, case.rate, case.step_h)
        return runs(case.jobs, case.rate, case.step_h, found, found.site), None


START_NOW: Policy = _StartNow()
ORACLE: Policy = _Oracle()


class BestConstant:
    """The best that one rule for all jobs gives, chosen in hindsight: always this site, always from this hour on."""

    name = "best constant"

    def __init__(self, per_day: int = 24) -> None:
        if per_day < 1:
            raise InvalidQuantity("steps of a day", str(per_day), "give 1 or more")
        self.per_day, self.what = per_day, "one site and one hour to start at for all, the best of them in hindsight"

    def play(self, case: Case) -> tuple[Runs, Promised | None]:
        jobs, each = case.jobs, np.arange(len(case.jobs))
        length, _, power = case.slowest()
        kwh = power / W_PER_KW * case.step_h
        best = (np.inf, jobs.release, case.home)
        for place in range(-1, case.rate.shape[0]):
            # -1 is everybody's home; who may not run at the site stays there.
            site = case.home if place < 0 else np.where(jobs.allowed[:, place], place, case.home)
            for hour in range(-1, self.per_day):
                wait = np.zeros(len(jobs)) if hour < 0 else (hour - jobs.release) % self.per_day
                start = np.where(jobs.release + wait + length <= jobs.deadline, jobs.release + wait, jobs.release)
                paid = now(case.rate, Windows(site, start, jobs.deadline, length)) * kwh + jobs.entry_cost[each, site]
                total = float(paid.sum())
                if total < best[0]:
                    best, self.what = (total, start, site), case.rule(place, hour)
        return case.through(best[1], best[2]), None


class Threshold:
    """Runs while the rate at home is at or below a percentile of the past; deadlines before savings.

    A job that may not pause, or whose resumptions take time, starts at the first such step. Only what came before the
    step is looked at, and for the step itself what the outlook says.

    Args:
        percentile: of the past; None takes the job's own share, its run time over its window.
        back: steps of the past that are looked at.
        adaptive: look again at every step; otherwise the threshold of the release holds.
    """

    def __init__(
        self, outlook: Outlook, *, percentile: float | None = 25.0, back: int = 168, adaptive: bool = False
    ) -> None:
        if percentile is not None and not 0 <= percentile <= 100:
            raise InvalidQuantity("percentile", str(percentile), "give 0 to 100")
        self.outlook, self.percentile, self.back, self.adaptive = outlook, percentile, back, adaptive
        kind = "adaptive" if adaptive else "static"
        level = "own share" if percentile is None else f"{percentile:g} %"
        self.name = f"threshold, {kind}, {level}"
        which = "at every step" if adaptive else "at the release"
        self.what = f"at home, while the rate is at most the {level} percentile of the {back} steps before, {which}"

    def play(self, case: Case) -> tuple[Runs, Promised | None]:
        jobs = case.jobs
        length, speed, power = case.slowest()
        shares = 100 * length / (jobs.deadline - jobs.release) if self.percentile is None else None
        levels = shares if shares is not None else np.full(len(jobs), self.percentile)
        threshold = np.full(len(jobs), np.nan)
        left, running = length.copy(), np.zeros(len(jobs), dtype=np.bool_)
        pausable = jobs.preemptible & (jobs.resume_steps == 0)
        parts: list[Runs] = []
        order, arrived, live = np.argsort(jobs.release, kind="stable"), 0, np.empty(0, dtype=np.int64)
        released = jobs.release[order]
        for step in range(case.rate.shape[1]):
            until = int(np.searchsorted(released, step, side="right"))
            fresh, arrived = order[arrived:until], until
            live = np.concatenate([live, fresh])
            if not live.size:
                continue
            threshold = self._look(case, step, live if self.adaptive else fresh, levels, threshold)
            seen = self.outlook.rates(step, step + 1)[case.home[live], 0]
            # Unknown is no reason to wait.
            wants = ~(seen > threshold[live])
            must = left[live] > jobs.deadline[live] - step - 1 + ROUNDING_STEPS
            goes = wants | must | (running[live] & ~pausable[live])
            running[live] = goes
            job = live[goes]
            done = np.minimum(np.minimum(1.0, left[job]), jobs.deadline[job] - step)
            parts.append(
                Runs(job, case.home[job], np.full(len(job), step), done * speed[job],
                     done * power[job] / W_PER_KW * case.step_h + self._resumed(case, parts, job, step, length, left))
            )  # fmt: skip
            left[job] -= done
            live = live[left[live] > ROUNDING_STEPS]
        return joined(parts), None

    def _look(self, case: Case, step: int, who: Ints, levels: Floats, threshold: Floats) -> Floats:
        past = case.rate[:, max(0, step - self.back) : step]
        if not who.size or not past.shape[1]:
            return threshold
        for site in np.unique(case.home[who]).tolist():
            rows = who[case.home[who] == site]
            threshold[rows] = np.nanpercentile(past[site], levels[rows])
        return threshold

    @staticmethod
    def _resumed(case: Case, parts: list[Runs], job: Ints, step: int, length: Floats, left: Floats) -> Floats:
        """IT energy of the resumptions that begin in this step [kWh]."""
        before = np.zeros(len(case.jobs), dtype=np.bool_)
        if parts and len(parts[-1].step) and parts[-1].step[0] == step - 1:
            before[parts[-1].job] = True
        resumes = (left[job] < length[job] - ROUNDING_STEPS) & ~before[job]
        return np.where(resumes, case.jobs.resume_kwh[job], 0.0)


class Online:
    """Pauses and resumes without a forecast, at home, with a guarantee: `online.Player` with no trust.

    As the published problem has it, it sees the rate of the step that it decides on. Bounds of the price are the least
    and the most of the past; a rate beyond them counts as the bound. Where rates can be 0 or below, no ratio holds:
    they are lifted by as much as makes the least one a twentieth of their range. Jobs that may not pause, or whose
    resumptions take time, start now.
    """

    name = "double threshold"
    what = "at home, pausing and resuming at prices that keep a competitive ratio, no forecast"

    def __init__(self, back: int = 672) -> None:
        self.back = back

    def play(self, case: Case) -> tuple[Runs, Promised | None]:
        jobs = case.jobs
        length, speed, power = case.slowest()
        steps = np.ceil(length - ROUNDING_STEPS)
        can = jobs.preemptible & (jobs.resume_steps == 0) & (np.floor(jobs.deadline) - jobs.release >= steps)
        stays = case.through(jobs.release, case.home)
        paused = [
            self._one(case, job, int(steps[job]), float(speed[job]), float(power[job]))
            for job in np.flatnonzero(can).tolist()
        ]
        return joined([of_jobs(stays, ~can), *paused]), None

    def _one(self, case: Case, job: int, steps: int, speed: float, power_w: float) -> Runs:
        jobs, site = case.jobs, int(case.home[job])
        first, last = int(jobs.release[job]), int(np.floor(jobs.deadline[job]))
        past = case.rate[site, max(0, first - self.back) : first]
        past = past[~np.isnan(past)]
        kwh = power_w / W_PER_KW * case.step_h
        if not len(past) or past.max() <= past.min():
            step = np.arange(first, first + steps)
            runs_ = np.ones(steps, dtype=np.bool_)
        else:
            span = float(past.max() - past.min())
            lift = max(0.0, span / 20 - float(past.min()))
            low, high = float(past.min()) + lift, float(past.max()) + lift
            fee = float(jobs.resume_kwh[job]) / kwh * high
            player = Player(PauseResume(steps, low, high, switch=fee))
            step = np.arange(first, last)
            prices = np.clip(case.rate[site, first:last] + lift, low, high).tolist()
            runs_ = np.array([player.decide(price, last - first - i) for i, price in enumerate(prices)])
        ran = step[runs_]
        resumes = np.diff(ran, prepend=ran[0] - 1) > 1
        done = np.minimum(speed, np.maximum(jobs.work[job] - speed * np.arange(len(ran)), 0.0))
        return Runs(
            np.full(len(ran), job), np.full(len(ran), site), ran, done,
            kwh * done / speed + np.where(resumes, jobs.resume_kwh[job], 0.0),
        )  # fmt: skip


class PlanOnce:
    """Plans each job at its release on what is known then, and keeps to it.

    Args:
        within_error: a job whose expected saving is below the error such expectations have had so far starts now.
    """

    def __init__(self, outlook: Outlook, *, within_error: bool = False) -> None:
        self.outlook, self.within_error = outlook, within_error
        self.name = f"plan once, {outlook.name}" + (", now if within its error" if within_error else "")
        self.what = "planned at the release and kept" + (
            "; starts now where the expected saving is below the error of such expectations" if within_error else ""
        )

    def play(self, case: Case) -> tuple[Runs, Promised | None]:
        jobs, each = case.jobs, np.arange(len(case.jobs))
        entries, expected, at_home = self._planned(case)
        paid = paid_by(case, entries)
        base = paid_by(case, case.through(jobs.release, case.home))
        entry = jobs.entry_cost[each, _sites(entries, len(jobs))] - jobs.entry_cost[each, case.home]
        promised = at_home - expected
        off = promised - (base - paid - entry)
        error = _error_before(jobs, off)
        if self.within_error:
            stay = promised < error
            entries = joined([of_jobs(entries, ~stay), of_jobs(case.through(jobs.release, case.home), stay)])
            promised = np.where(stay, 0.0, promised)
        return entries, Promised(promised, error)

    def _planned(self, case: Case) -> tuple[Runs, Floats, Floats]:
        """Runs, and what each job was expected to cost so and if it started now, shape (J,)."""
        jobs, steps = case.jobs, case.rate.shape[1]
        window = int(np.ceil(jobs.deadline - jobs.release).max())
        settled = self.outlook.settled(window)
        if settled is not None and not np.isnan(settled).any():
            return self._lot(case, np.arange(len(jobs)), settled, 0)
        expected, at_home, parts = np.zeros(len(jobs)), np.zeros(len(jobs)), []
        for step in np.unique(jobs.release).astype(np.int64).tolist():
            lot = np.flatnonzero(jobs.release == step)
            until = min(steps, int(np.ceil(jobs.deadline[lot].max())))
            rate = self.outlook.rates(step, until)
            known = _all_known(jobs.take(lot), rate, step)
            if not known.all():
                blind = np.zeros(len(jobs), dtype=np.bool_)
                blind[lot[~known]] = True
                parts.append(of_jobs(case.through(jobs.release, case.home), blind))
                lot = lot[known]
            if lot.size:
                entries, expected[lot], at_home[lot] = self._lot(case, lot, np.nan_to_num(rate), step)
                parts.append(entries)
        return joined(parts), expected, at_home

    def _lot(self, case: Case, lot: Ints, rate: Floats, origin: int) -> tuple[Runs, Floats, Floats]:
        part = case.jobs.take(lot)
        part = replace(part, release=part.release - origin, deadline=part.deadline - origin)
        found = offers(part, rate, case.step_h)
        entries = runs(part, rate, case.step_h, found, found.site)
        rows = np.arange(len(lot))
        once = starting_now(replace(part, allowed=case.at_home().allowed[lot]), rate, case.step_h)
        moved = replace(entries, job=lot[entries.job], step=entries.step + origin)
        return moved, found.cost[rows, found.site], once[rows, case.home[lot]]


class PlanRolling:
    """Planned again at every step, as `rolling.Rolling` does."""

    def __init__(self, outlook: Outlook, rules: Rules | None = None) -> None:
        self.outlook, self.rules = outlook, rules or Rules()
        self.name = f"rolling, {outlook.name}"
        self.what = "planned again at every step; a plan changes only where that gains more than the band"

    def play(self, case: Case) -> tuple[Runs, Promised | None]:
        planner = Rolling(case.jobs, self.outlook, case.step_h, rules=self.rules, came=case.rate)
        for step in range(case.rate.shape[1]):
            planner.step(step)
        return planner.result().runs, None


def paid_by(case: Case, entries: Runs) -> Floats:
    """What the energy of every job came to [currency], shape (J,)."""
    cost = entries.energy_kwh * case.rate[entries.site, entries.step]
    return np.bincount(entries.job, cost, minlength=len(case.jobs)).astype(np.float64)


def _sites(entries: Runs, n: int) -> Ints:
    site = np.zeros(n, dtype=np.int64)
    site[entries.job] = entries.site
    return site


def of_jobs(entries: Runs, jobs: Bools) -> Runs:
    """The entries of these jobs; `jobs` shape (J,)."""
    keep = jobs[entries.job]
    return Runs(*(getattr(entries, name)[keep] for name in ("job", "site", "step", "work", "energy_kwh")))


def _all_known(jobs: Jobs, rate: Floats, step: int) -> Bools:
    ends = np.ceil(jobs.deadline).astype(np.int64) - step
    gaps = np.cumsum(np.isnan(rate), axis=1)
    missing = gaps[:, np.minimum(ends, rate.shape[1]) - 1].T
    return np.asarray(~((missing > 0) & jobs.allowed).any(axis=1))


def _error_before(jobs: Jobs, off: Floats) -> Floats:
    """How far expectations had been off, root mean square over the jobs whose windows had passed by each release;
    0 where there was none. Shape (J,)."""
    order = np.argsort(jobs.deadline, kind="stable")
    sums = np.concatenate([[0.0], np.cumsum(off[order] ** 2)])
    count = np.searchsorted(jobs.deadline[order], jobs.release, side="right")
    return np.asarray(np.sqrt(sums[count] / np.maximum(count, 1)))
