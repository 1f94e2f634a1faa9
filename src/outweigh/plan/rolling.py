"""Planning again and again as time goes on: what is committed stays, and a plan changes only where that pays.

At every step the jobs that may still be planned are priced on what is known then. A job changes its plan if the new
one is cheaper by more than a share of the forecast's regret band; what pausing and resuming costs is in the prices.
Whatever is asked, a plan meets its deadlines, so a job whose slack is gone runs.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np

from outweigh.core.errors import InvalidQuantity, PlanInfeasible
from outweigh.plan.kernels import Windows, contiguous_use, interruptible
from outweigh.plan.offers import W_PER_KW, How, Offers, Runs, offers, runs, starting_now
from outweigh.plan.problem import ROUNDING_STEPS, Bools, Floats, Ints, Jobs
from outweigh.plan.rolling_kernel import continuing
from outweigh.plan.rolling_outlook import Outlook

# A plan that is cheaper by less than this share is the same plan in other words.
_SAME: Final = 1e-9
# How many reckonings of the regret band count: four weeks of hourly steps at one a week.
_BAND_EVERY, _BAND_KEPT = 168, 4
# A job without room in time is let run so many steps later at a time, and so often.
_LATER, _LATEST = 24, 60


@dataclass(frozen=True, slots=True, eq=False)
class Rules:
    """How a plan may change.

    Attributes:
        lead: steps between a decision and the first one it concerns; the slots between are frozen. 0 decides for the
            step that begins.
        hysteresis: what a change must gain beyond its own costs, as a share of the regret band of the forecast.
        now_within_band: start a job at once where waiting is expected to save less than the regret band.
        capacity_kw: IT power the sites can give [kW], shape (S,) or (S, T); empty is no limit.
    """

    lead: int = 0
    hysteresis: float = 0.25
    now_within_band: bool = False
    capacity_kw: Floats = field(default_factory=lambda: np.empty(0))

    def __post_init__(self) -> None:
        if self.lead < 0:
            raise InvalidQuantity("lead", f"{self.lead} steps", "give 0 or more")
        if not 0 <= self.hysteresis < np.inf:
            raise InvalidQuantity("hysteresis", str(self.hysteresis), "give a finite share of the band, 0 or more")


@dataclass(frozen=True, slots=True, eq=False)
class Rolled:
    """What came of it. J jobs.

    Attributes:
        runs: what ran where and when.
        site: where each job ran, -1 if it never began, shape (J,).
        start, end: the first step it ran in, and the end of the last one; shape (J,).
        late: jobs not done by their deadline, shape (J,).
        changes: how often the plan of each job was changed, shape (J,).
        moves: how often to another site, before it began, shape (J,). Where a job starts it stays.
        resumptions: how often it went on after a pause, shape (J,).
        blind: started at once because too little was known of its window, shape (J,).
        edge: planned on less than its window because what is known ends in it, shape (J,).
        replans: steps in which something was priced again.
    """

    runs: Runs
    site: Ints
    start: Ints
    end: Ints
    late: Bools
    changes: Ints
    moves: Ints
    resumptions: Ints
    blind: Bools
    edge: Bools
    replans: int


class Rolling:
    """Jobs planned while time goes on: `step` once for every step, in order.

    A job is known from its release on, and decided on at steps: a release within a step counts at the step's end.

    Args:
        jobs: rows over the whole horizon; deadlines may lie within steps.
        outlook: what is known when.
        step_h: length of a step [h].
        came: rates that came, for the regret band; only what lies before the moment is looked at. Without it the band
            is 0 and any gain changes a plan.

    Raises:
        PlanInfeasible: a job longer than its window once its release is rounded to a step, or that draws more than any
            of its sites can give.
    """

    def __init__(
        self,
        jobs: Jobs,
        outlook: Outlook,
        step_h: float,
        *,
        rules: Rules | None = None,
        came: Floats | None = None,
    ) -> None:
        self.jobs, self.outlook, self.step_h = jobs, outlook, step_h
        self.rules, self.came = rules or Rules(), came
        n = len(jobs)
        self._release = np.ceil(jobs.release - ROUNDING_STEPS).astype(np.int64)
        short = jobs.work / jobs.speed[:, -1] - (jobs.deadline - self._release)
        if n and short.max() > ROUNDING_STEPS:
            worst = int(np.argmax(short))
            raise PlanInfeasible(
                f"job {jobs.names[worst]!r} cannot be done in time once it waits for the next step",
                f"{short[worst] * step_h:.3g} h",
                "Release it at the start of a step, move its deadline, or plan with shorter steps",
            )
        self._check_room()
        self._free = (jobs.resume_steps == 0) & (jobs.resume_kwh == 0)
        self._order = np.argsort(self._release, kind="stable")
        self._arrived = 0
        self._live = np.empty(0, dtype=np.int64)
        self._left = jobs.work.copy()
        self._deadline = jobs.deadline.copy()  # later than the job's own once it cannot be kept
        self._site = np.full(n, -1)
        self._level = np.zeros(n, dtype=np.int64)
        self._begun, self._late, self._blind, self._edge = np.zeros((4, n), dtype=np.bool_)
        self._start, self._end, self._ran = np.full((3, n), -1)
        self._restoring = np.zeros(n, dtype=np.bool_)
        self._changes, self._moves, self._resumptions = np.zeros((3, n), dtype=np.int64)
        nothing = np.empty(0, dtype=np.int64)
        self._plan = Runs(nothing, nothing, nothing, np.empty(0), np.empty(0))
        self._past: list[Runs] = []
        self._vintage: int | None = None
        self._now = -1
        self._replans = 0
        self._band: list[tuple[float, float]] = []
        self._to_judge: list[int] = []
        self._spent = np.zeros(n)

    def _check_room(self) -> None:
        if not self.rules.capacity_kw.size:
            return
        limit = self.rules.capacity_kw
        most = limit if limit.ndim == 1 else limit.max(axis=1)
        offered = np.where(self.jobs.allowed, most, 0.0).max(axis=1)
        over = self.jobs.power_w.max(axis=1) / W_PER_KW - offered
        for i in np.flatnonzero(over > _SAME * offered)[:1]:
            raise PlanInfeasible(
                f"job {self.jobs.names[i]!r} draws more than any site it may run at can give",
                f"{over[i]:.3g} kW",
                "Raise the capacity, leave out its higher levels, or let it run at more sites",
            )

    # --- looking --------------------------------------------------------------------------------------------

    @property
    def planned(self) -> Runs:
        """What is planned from here on: entries in the order of jobs, then steps."""
        order = np.lexsort((self._plan.step, self._plan.job))
        return _take(self._plan, order)

    @property
    def live(self) -> Ints:
        """Rows of the jobs released and not done."""
        return self._live.copy()

    @property
    def band(self) -> float:
        """Regret of the forecast: what decisions cost beyond the best in hindsight, as a share of that."""
        over, best = (sum(column) for column in zip(*self._band, strict=True)) if self._band else (0.0, 0.0)
        return max(0.0, over / best) if best > 0 else 0.0

    # --- going on -------------------------------------------------------------------------------------------

    def step(self, now: int) -> Runs:
        """Plan again on what is known at the start of step `now`, and run it: what runs in it.

        Raises:
            PlanInfeasible: the capacity cannot hold what must run in time.
        """
        if self.came is not None and now and now % _BAND_EVERY == 0:
            self._reckon(now)
        self._now = now
        fresh = self._arrive(now)
        vintage = self.outlook.vintage(now)
        ask = self._live if vintage != self._vintage else fresh
        self._vintage = vintage
        if ask.size and self._replan(now, ask) and self.rules.capacity_kw.size:
            self._fit(now)
        return self._execute(now)

    def result(self) -> Rolled:
        """What came of it so far."""
        done = joined(self._past)
        order = np.lexsort((done.step, done.job))
        late = self._late.copy()
        late[self._live] |= self.jobs.deadline[self._live] <= self._now + 1
        return Rolled(
            _take(done, order), self._site, self._start, self._end, late, self._changes, self._moves,
            self._resumptions, self._blind, self._edge, self._replans,
        )  # fmt: skip

    # --- in private -----------------------------------------------------------------------------------------

    def _arrive(self, now: int) -> Ints:
        until = int(np.searchsorted(self._release[self._order], now, side="right"))
        fresh = self._order[self._arrived : until]
        self._arrived = until
        self._live = np.concatenate([self._live, fresh])
        return fresh

    def _replan(self, now: int, ask: Ints) -> bool:
        """Price these jobs anew and keep what is better; whether any plan changed."""
        ask, part, begun = self._open(now, ask)
        if not ask.size:
            return False
        self._replans += 1
        base = now + self.rules.lead
        rate = self._rates(now, now + int(np.ceil(part.deadline.max())))
        part, seen = self._within_what_is_known(ask, part, rate, begun, now)
        changed = bool((~seen).any())
        ask, begun = ask[seen], begun[seen]
        if not ask.size:
            return changed
        return self._choose(ask, part, begun, rate, self._worth_of_plan(ask, begun, rate, now, base), now) or changed

    def _rates(self, now: int, until: int) -> Floats:
        known = self.outlook.rates(now, until)
        missing = until - now - known.shape[1]
        return np.pad(known, ((0, 0), (0, missing)), constant_values=np.nan) if missing else known

    def _open(self, now: int, ask: Ints) -> tuple[Ints, Jobs, Bools]:
        """Which of these may still be planned, what is left of them in steps from `now`, and which have begun."""
        base = now + self.rules.lead
        plan, jobs = self._plan, self.jobs
        kept = plan.step < base
        committed = np.bincount(plan.job[kept], plan.work[kept], minlength=len(jobs))[ask]
        begun = self._begun[ask] | (committed > 0)
        left = self._left[ask] - committed
        open_ = (left > _SAME * jobs.work[ask]) & ~(begun & ~jobs.preemptible[ask]) & ~self._mid_restore(ask, base)
        ask, begun, left = ask[open_], begun[open_], left[open_]
        # Who came too late for the lead starts within it: deadlines before savings.
        first = np.full(len(ask), float(base - now))
        tight = ~begun & (left / jobs.speed[ask, -1] > self._deadline[ask] - base + ROUNDING_STEPS)
        first[tight] = 0.0
        part = replace(
            jobs.take(ask),
            release=first,
            deadline=self._deadline[ask] - now,
            work=left,
            allowed=_only(jobs.allowed[ask], begun, self._site[ask]),
            entry_cost=np.where(begun[:, np.newaxis], 0.0, jobs.entry_cost[ask]),
        )
        return ask, part, begun

    def _choose(self, ask: Ints, part: Jobs, begun: Bools, rate: Floats, value: Floats, now: int) -> bool:
        costed = begun & ~self._free[ask]
        changed = self._price(ask[~costed], part.take(~costed), rate, value[~costed], begun[~costed], now)
        return self._price_rest(ask[costed], part.take(costed), rate, value[costed], now) or changed

    def _mid_restore(self, ask: Ints, base: int) -> Bools:
        """Whether the step before `base` restores: what has been restored by half is not asked again."""
        at = self._plan.step == base - 1
        restoring = self._restoring.copy()
        restoring[self._plan.job[at]] = self._plan.work[at] == 0
        return np.asarray(restoring[ask] & self._begun[ask])

    def _within_what_is_known(self, ask: Ints, part: Jobs, rate: Floats, begun: Bools, now: int) -> tuple[Jobs, Bools]:
        """Windows cut to what is known; who knows too little keeps its plan, or starts at once."""
        gaps = np.isnan(rate)
        if not gaps.any():
            return part, np.ones(len(ask), dtype=np.bool_)
        known = np.where(gaps.any(axis=1), np.argmax(gaps, axis=1), rate.shape[1]).astype(np.float64)
        reach = np.where(part.allowed, known, np.inf).min(axis=1)
        ends = np.minimum(part.deadline, reach)
        fits = part.work / part.speed[:, -1] <= ends - part.release + ROUNDING_STEPS
        self._edge[ask[fits & (ends < part.deadline)]] = True
        has_plan = np.zeros(len(self.jobs), dtype=np.bool_)
        has_plan[self._plan.job] = True
        blind = ~fits & ~begun & ~has_plan[ask]
        if blind.any():
            self._blind[ask[blind]] = True
            nearest = np.argmin(np.where(part.allowed, part.entry_cost, np.inf), axis=1)
            each = np.arange(len(part))
            at_home = (part.home >= 0) & part.allowed[each, np.maximum(part.home, 0)]
            nearest = np.where(at_home, part.home, nearest)
            entries = self._at_once(ask[blind], part.take(blind), nearest[blind])
            self._keep(ask[blind], _moved(entries, now), nearest[blind], now)
        return replace(part, deadline=ends).take(fits), fits

    def _at_once(self, ask: Ints, part: Jobs, site: Ints) -> Runs:
        fits = part.work[:, np.newaxis] / part.speed <= (part.deadline - part.release)[:, np.newaxis] + ROUNDING_STEPS
        level = np.where(fits.any(axis=1), np.argmax(fits, axis=1), part.speed.shape[1] - 1)
        each = np.arange(len(part))
        speed, kw = part.speed[each, level], part.power_w[each, level] / W_PER_KW
        self._level[ask] = level
        use = contiguous_use(Windows(site, part.release, part.deadline, part.work / speed), part.release)
        return Runs(use.row, site[use.row], use.step, use.work * speed[use.row], use.draw * kw[use.row] * self.step_h)

    def _worth_of_plan(self, ask: Ints, begun: Bools, rate: Floats, now: int, base: int) -> Floats:
        """What the plans in force would cost from `base` on at these rates; inf where there is none, shape (A,)."""
        plan, row = self._plan, np.full(len(self.jobs), -1)
        row[ask] = np.arange(len(ask))
        mine = (row[plan.job] >= 0) & (plan.step >= base) & (plan.step - now < rate.shape[1])
        at = row[plan.job[mine]]
        cost = np.bincount(
            at, plan.energy_kwh[mine] * rate[plan.site[mine], plan.step[mine] - now], minlength=len(ask)
        ).astype(np.float64)
        planned = np.bincount(at, minlength=len(ask)) > 0
        site = self._site[ask]
        entry = np.where(begun | (site < 0), 0.0, self.jobs.entry_cost[ask, np.maximum(site, 0)])
        return np.asarray(np.where(planned & ~np.isnan(cost), cost + entry, np.inf))

    def _price(self, ask: Ints, part: Jobs, rate: Floats, value: Floats, begun: Bools, now: int) -> bool:
        if not ask.size:
            return False
        base = now + self.rules.lead
        filled = np.nan_to_num(rate) if np.isnan(rate).any() else rate
        hope = self._could_pay(part, filled, value)
        open_ = np.asarray(hope.any(axis=1))
        if not open_.all():
            ask, value, begun = ask[open_], value[open_], begun[open_]
        if not ask.size:
            return False
        part = replace(part.take(open_), allowed=hope[open_])
        found = offers(part, filled, self.step_h)
        site = found.site
        cost = found.cost[np.arange(len(ask)), site]
        through = np.zeros(len(ask), dtype=np.bool_)
        if self.rules.now_within_band:
            once = starting_now(part, filled, self.step_h)
            at_once = once.min(axis=1)
            through = ~begun & (at_once - cost < self.band * np.abs(at_once)) & np.isinf(value)
            site = np.where(through, np.argmin(once, axis=1), site)
        better = self._pays(value, cost) | through
        if not better.any():
            return False
        rows = np.flatnonzero(better)
        self._count(ask[rows], site[rows], np.isfinite(value[rows]))
        planned = better & ~through
        if planned.any():
            chosen = part.take(planned)
            table = Offers(found.cost[planned], found.how[planned], found.level[planned])
            entries = runs(chosen, filled, self.step_h, table, site[planned])
            each = np.arange(len(chosen))
            level = found.level[planned][each, site[planned]]
            elastic = found.how[planned][each, site[planned]] == How.ELASTIC
            self._level[ask[planned]] = np.where(elastic, 0, level)
            self._keep(ask[planned], _moved(entries, now), site[planned], base)
        if through.any():
            entries = self._at_once(ask[through], part.take(through), site[through])
            self._keep(ask[through], _moved(entries, now), site[through], base)
        return True

    def _price_rest(self, ask: Ints, part: Jobs, rate: Floats, value: Floats, now: int) -> bool:
        """Jobs that began and whose pauses cost: the level stays, and how they go on is priced."""
        if not ask.size:
            return False
        hope = np.asarray(self._could_pay(part, np.nan_to_num(rate), value).any(axis=1))
        ask, part, value = ask[hope], part.take(hope), value[hope]
        if not ask.size:
            return False
        base = now + self.rules.lead
        each, level, site = np.arange(len(ask)), self._level[ask], self._site[ask]
        speed = part.speed[each, level]
        kwh = part.power_w[each, level] / W_PER_KW * self.step_h
        last = np.floor(part.deadline)
        steps = np.ceil(part.work / speed - ROUNDING_STEPS)
        fits = last > part.release
        ran = self._ran[ask] == base - 1
        before = self._plan.step == base - 1
        kept = np.zeros(len(self.jobs), dtype=np.bool_)
        kept[self._plan.job[before]] = True
        ask, part, site, speed, kwh, value = ask[fits], part.take(fits), site[fits], speed[fits], kwh[fits], value[fits]
        if not ask.size:
            return False
        rest = continuing(
            np.nan_to_num(rate),
            Windows(site, part.release, last[fits], steps[fits]),
            part.resume_steps,
            part.resume_kwh / kwh,
            ran[fits] | kept[ask],
        )
        better = np.flatnonzero(self._pays(value, rest.cost * kwh) & np.isfinite(rest.cost))
        if not better.size:
            return False
        self._count(ask[better], site[better], np.isfinite(value[better]))
        at, offset = np.nonzero(rest.works[better] | rest.restores[better])
        row = better[at]
        works = rest.works[row, offset]
        done = np.where(works, speed[row], 0.0)
        # Whole steps are planned; of the last one only what is left is work.
        so_far = np.cumsum(done) - done
        start = np.searchsorted(at, at, side="left")
        done = np.minimum(done, np.maximum(part.work[row] - (so_far - so_far[start]), 0.0))
        # Restoring ends at an edge, so a fraction of a step begins within one.
        restoring = np.ceil(part.resume_steps - ROUNDING_STEPS)
        begun = np.where(restoring > 0, np.minimum(part.resume_steps - restoring + 1, 1.0), 1.0)
        draw = kwh[row] * np.where(rest.resumes[row, offset], begun[row], 1.0)
        draw += np.where(rest.resumes[row, offset], part.resume_kwh[row], 0.0)
        step = now + part.release[row].astype(np.int64) + offset
        self._keep(ask[better], Runs(at, site[row], step, done, draw), site[better], base)
        return True

    def _could_pay(self, part: Jobs, rate: Floats, value: Floats) -> Bools:
        """Sites at which a run might beat the plan in force, shape (A, S).

        The cheapest steps of the window are a bound on every run there at one level, and take a fraction of the time
        that the runs themselves do. Most plans of the step before cannot be beaten.
        """
        level = part.power_w[:, 0] / part.speed[:, 0]
        one = (part.power_w / part.speed == level[:, np.newaxis]).all(axis=1) & (part.speed[:, 0] == part.speed[:, -1])
        sure = one & np.isfinite(value)
        # Where energy is paid for being used, what a resumption draws can lower the cost.
        if not sure.any() or (rate < 0).any():
            return part.allowed
        row, site = np.nonzero(part.allowed & sure[:, np.newaxis])
        length = part.work[row] / part.speed[row, 0]
        fits = length <= part.deadline[row] - part.release[row]
        row, site, length = row[fits], site[fits], length[fits]
        least = interruptible(rate, Windows(site, part.release[row], part.deadline[row], length))
        least = least * (part.power_w[row, 0] / W_PER_KW * self.step_h) + part.entry_cost[row, site]
        hope = part.allowed.copy()
        hope[row, site] = self._pays(value[row], least)
        return hope

    def _pays(self, value: Floats, cost: Floats) -> Bools:
        """Whether the new plan gains more than the hysteresis over the plan in force."""
        scale = np.where(np.isfinite(value), np.abs(value), 0.0)
        margin = np.maximum(self.rules.hysteresis * self.band, _SAME) * scale
        return np.asarray(value - cost > margin)

    def _count(self, ask: Ints, site: Ints, had: Bools) -> None:
        self._changes[ask[had]] += 1
        self._moves[ask[had & (site != self._site[ask])]] += 1

    def _keep(self, ask: Ints, entries: Runs, site: Ints, base: int) -> None:
        """Put these plans (entries by row of `ask`, steps of the horizon) in the place of what was from `base` on."""
        mine = np.zeros(len(self.jobs), dtype=np.bool_)
        mine[ask] = True
        stays = ~mine[self._plan.job] | (self._plan.step < base)
        self._site[ask] = site
        self._plan = joined([_take(self._plan, stays), replace(entries, job=ask[entries.job])])

    def _fit(self, now: int) -> None:
        """Where plans together exceed the capacity, place jobs again one by one, least slack first.

        First those that do not fit beside the others, then, if that leaves any without room, all that may still be
        planned. What still finds none in time runs as soon after its deadline as there is room, and is late.
        """
        over = self._overload(now)
        if not over.any():
            return
        steps = over.shape[1]
        for who, at_last in ((self._displaced(now, over), False), (self._live, False), (self._live, True)):
            self._place(now, who, at_last)
            over = self._overload(now)
            if not over.any():
                return
        site, step = np.argwhere(over)[0]
        stuck = self._plan.job[(self._plan.site == site) & (self._plan.step == now + step)]
        load, room = self._load(now, steps), self._room(now, steps)
        names = ", ".join(self.jobs.names[job] for job in stuck[:5])
        raise PlanInfeasible(
            f"site {site} cannot hold in step {now + step} what must run: {names}",
            f"{load[site, step] - room[site, step]:.3g} kW",
            "Raise its capacity, move a deadline, or let the jobs run at more sites",
        )

    def _displaced(self, now: int, over: Bools) -> Ints:
        """Jobs planned where there is too little room that are left over once those with least slack have it."""
        plan, steps = self._plan, over.shape[1]
        crowded = over[plan.site, plan.step - now]
        ask, part, _ = self._open(now, np.unique(plan.job[crowded]))
        rank = np.full(len(self.jobs), -1)
        slack = part.deadline - part.release - part.work / part.speed[:, -1]
        rank[ask[np.argsort(slack, kind="stable")]] = np.arange(len(ask))
        may_move = (rank[plan.job] >= 0) & (plan.step >= now + self.rules.lead)
        load, room = self._load(now, steps, ~may_move), self._room(now, steps) * (1 + _SAME)
        mine = np.flatnonzero(may_move)
        mine = mine[np.argsort(rank[plan.job[mine]], kind="stable")]
        displaced = []
        for entries in np.split(mine, np.flatnonzero(np.diff(plan.job[mine])) + 1):
            cells = plan.site[entries], plan.step[entries] - now
            drawn = load[cells] + plan.energy_kwh[entries] / self.step_h
            if (drawn <= room[cells]).all():
                load[cells] = drawn
            else:
                displaced.append(plan.job[entries[0]])
        return np.array(displaced, dtype=np.int64)

    def _place(self, now: int, who: Ints, at_last: bool) -> None:
        """These one by one into the room that is left; `at_last` lets those without any be late."""
        base = now + self.rules.lead
        ask, part, begun = self._open(now, who)
        if not ask.size:
            return
        mine = np.isin(self._plan.job, ask) & (self._plan.step >= base)
        self._plan = _take(self._plan, ~mine)
        slack = part.deadline - part.release - part.work / part.speed[:, -1]
        for i in np.argsort(slack, kind="stable").tolist():
            row = np.array([i])
            one, late = part.take(row), 0
            while not self._finds_room(now, ask[row], one, begun[row]) and at_last and late < _LATEST:
                late += 1
                self._deadline[ask[i]] += _LATER
                one = replace(one, deadline=one.deadline + _LATER)
        self._changes[ask] += 1

    def _finds_room(self, now: int, ask: Ints, part: Jobs, begun: Bools) -> bool:
        """Plan one job where there is room for all of its power; whether there was."""
        base = now + self.rules.lead
        steps = int(np.ceil(part.deadline.max()))
        rate = self._rates(now, now + steps)
        rate = np.where(np.isnan(rate), np.nanmax(rate, initial=0.0), rate)
        others = self._plan.job != ask[0]
        load, room = self._load(now, steps, others), self._room(now, steps)
        most_kw = part.power_w.max() / W_PER_KW + part.resume_kwh.max() / self.step_h
        full = load + most_kw > room * (1 + _SAME)
        # Above any way round, and small enough that what it is added to is still seen.
        above = 1e4 * max(float(np.abs(rate).max()), 1e-6)
        self._choose(ask, part, begun, np.where(full, rate + above, rate), np.full(1, np.inf), now)
        entries = (self._plan.job == ask[0]) & (self._plan.step >= base)
        return not full[self._plan.site[entries], self._plan.step[entries] - now].any()

    def _overload(self, now: int) -> Bools:
        steps = int(self._plan.step.max(initial=now)) + 1 - now
        return np.asarray(self._load(now, steps) > self._room(now, steps) * (1 + _SAME))

    def _room(self, now: int, steps: int) -> Floats:
        """IT power each site can give [kW], shape (S, steps)."""
        limit = self.rules.capacity_kw
        if limit.ndim == 1:
            return np.repeat(limit[:, np.newaxis], steps, axis=1)
        beyond = np.maximum(np.arange(now, now + steps) - limit.shape[1] + 1, 0)
        return np.asarray(limit[:, np.arange(now, now + steps) - beyond])

    def _load(self, now: int, steps: int, rows: Bools | None = None) -> Floats:
        """IT power planned at each site [kW], shape (S, steps)."""
        plan, sites = self._plan, self.jobs.allowed.shape[1]
        inside = plan.step - now < steps
        plan = _take(plan, inside if rows is None else inside & rows)
        cell = plan.site * steps + plan.step - now
        drawn = np.bincount(cell, plan.energy_kwh / self.step_h, minlength=sites * steps).astype(np.float64)
        return drawn.reshape(sites, steps)

    def _execute(self, now: int) -> Runs:
        plan = self._plan
        due = plan.step <= now
        ran = _take(plan, due)
        if not due.any():
            return ran
        self._plan = _take(plan, ~due)
        self._past.append(ran)
        job = ran.job
        first = ~self._begun[job]
        self._start[job[first]] = now
        self._resumptions[job[~first & (self._ran[job] < now - 1)]] += 1
        self._begun[job], self._ran[job], self._end[job] = True, now, now + 1
        self._restoring[job] = ran.work == 0
        np.subtract.at(self._left, job, ran.work)
        finished = self._left[job] <= _SAME * self.jobs.work[job]
        over = job[finished]
        if over.size:
            self._late[over] = now + 1 > np.ceil(self.jobs.deadline[over])
            gone = np.zeros(len(self.jobs), dtype=np.bool_)
            gone[over] = True
            self._live = self._live[~gone[self._live]]
            self._plan = _take(self._plan, ~gone[self._plan.job])
            self._to_judge.extend(over.tolist())
        if self.came is not None:
            np.add.at(self._spent, job, ran.energy_kwh * np.nan_to_num(self.came[ran.site, now]))
        return ran

    def _reckon(self, now: int) -> None:
        """The regret of the jobs whose windows have passed, against the best in hindsight."""
        past_rates = self.came[:, :now] if self.came is not None else np.empty((0, 0))
        done = np.array(self._to_judge, dtype=np.int64)
        past = self.jobs.deadline[done] <= now if done.size else np.empty(0, dtype=np.bool_)
        self._to_judge = done[~past].tolist() if done.size else []
        done = done[past] if done.size else done
        if not done.size or np.isnan(past_rates).any():
            return
        part = self.jobs.take(done)
        part = replace(part, release=np.ceil(part.release - ROUNDING_STEPS))
        best = offers(part, past_rates, self.step_h).cost.min(axis=1)
        entry = self.jobs.entry_cost[done, self._site[done]]
        over = float((self._spent[done] + entry - best).sum())
        self._band = [*self._band[1 - _BAND_KEPT :], (over, float(np.abs(best).sum()))]


def _only(allowed: Bools, begun: Bools, site: Ints) -> Bools:
    """Where a job starts it stays."""
    here = np.arange(allowed.shape[1]) == site[:, np.newaxis]
    return np.asarray(np.where(begun[:, np.newaxis], here, allowed))


def _take(entries: Runs, rows: Bools | Ints) -> Runs:
    return Runs(entries.job[rows], entries.site[rows], entries.step[rows], entries.work[rows], entries.energy_kwh[rows])


def _moved(entries: Runs, by: int) -> Runs:
    return replace(entries, step=entries.step + by)


def joined(parts: list[Runs]) -> Runs:
    """Entries of all, one after the other."""
    if not parts:
        nothing = np.empty(0, dtype=np.int64)
        return Runs(nothing, nothing, nothing, np.empty(0), np.empty(0))
    names = ("job", "site", "step", "work", "energy_kwh")
    return Runs(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in names})
