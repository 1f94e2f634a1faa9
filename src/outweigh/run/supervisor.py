"""The supervisor: looks, plans again where that pays, decides, writes down what it will ask, and asks.

It may be killed at any moment and started again, or twice: what it knows is in the ledger's database, written before
it acts, and an executor knows each job by a key, so that asking again changes nothing.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor as Pool
from concurrent.futures import Future
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from outweigh.core.errors import (
    ExecutorError,
    ExecutorUnavailable,
    JobOver,
    JobRefused,
    JobUnknown,
    NotOffered,
    NotPermitted,
    SiteUnknown,
)
from outweigh.core.following import Lease, StepKind
from outweigh.core.jobs import JobState, JobStatus
from outweigh.ports import JobExecutor, KeepsFollowings
from outweigh.run.asking import ask, detail
from outweigh.run.clock import PlanClock
from outweigh.run.deciding import Rules, Wanted, cancelling, decide, is_late, must_run, patience_s
from outweigh.run.following import Following
from outweigh.run.lags import Lags
from outweigh.run.leading import holder_is_gone, holder_name
from outweigh.run.outlook import Outlook
from outweigh.run.replanning import Answered, SiteTerms, answer, at_once, question, sites_open
from outweigh.run.sites import SitesThere
from outweigh.run.statuses import in_plan_time, told_apart, without_sites
from outweigh.run.tracked import Fate, Stage, Tracked

Told = Callable[[str], None]
_FATES: Final = {
    JobState.COMPLETED: Fate.COMPLETED,
    JobState.FAILED: Fate.FAILED,
    JobState.CANCELLED: Fate.CANCELLED,
    JobState.LOST: Fate.LOST,
}
#: Steps in one write, and wall time a cycle gives to steps [s]: what does not fit is for the next one. Within a write
#: it is the time between two looks: with a scheduler that is slow to answer, what it does must not go unseen.
_STEPS: Final = 200
_ACTING_S: Final = 0.3
#: Receipts of one cycle: they share one flush.
_RECEIPTS: Final = 100
#: A job that is cancelled has so long to go before it is told again [wall s].
_ENDING_S: Final = 60.0
#: A job that was submitted so long before it was followed was followed before; clocks may differ a little [wall].
_BEFORE: Final = timedelta(seconds=5)
#: Jobs that one message names.
_NAMED: Final = 5


@dataclass(slots=True)
class Cycle:
    """What one cycle saw and did.

    Attributes:
        steps: asked of the executor. ended: jobs that were seen to end. over: whether all have.
        more: steps were left for the next cycle, which is to come at once.
        states: how many jobs are in each state, by word.
        seconds: wall time it took [s].
    """

    steps: int = 0
    ended: int = 0
    over: bool = False
    more: bool = False
    states: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0


class Supervisor:
    """Follows one plan. Not thread-safe; another thread may answer its planning questions.

    Args:
        keeper: store of the ledger.
        executor: where jobs run.
        following: what is followed, as the keeper has it.
        clock: plan time over wall time.
        outlook: prices and carbon, and where newer ones come from.
        settle: called with jobs that have ended, to make their receipts: returns the body of each.
        append: puts bodies of receipts into the ledger, all or none; the same one twice is kept once. Returns their
            addresses.
        planner: who answers planning questions; None answers in the cycle.
        holder: names this process among all; by default its pid, its start and its machine.

    Raises:
        LeaseLost: from `cycle`, when another supervisor has taken over. Nothing was done after that.
        LedgerError: the database cannot be reached; nothing is asked of the executor without it.
    """

    def __init__(
        self,
        keeper: KeepsFollowings,
        executor: JobExecutor,
        following: Following,
        clock: PlanClock,
        outlook: Outlook,
        *,
        settle: Callable[[Sequence[Tracked]], Sequence[Mapping[str, object]]],
        append: Callable[[Sequence[Mapping[str, object]]], Sequence[str]],
        rules: Rules | None = None,
        planner: Pool | None = None,
        told: Told = lambda _: None,
        holder: str | None = None,
    ) -> None:
        self.keeper, self.executor, self.following = keeper, executor, following
        self.clock, self.outlook, self.rules = clock, outlook, rules or Rules()
        self._settle, self._append, self._planner, self._told = settle, append, planner, told
        self.holder = holder or holder_name()
        self.lease: Lease | None = None
        self.jobs: dict[str, Tracked] = {}
        self.sites = SitesThere(self.rules)
        self._terms = SiteTerms.of_plan(following.document)
        self._replan: str = ""
        self._asked_plan: datetime | None = None
        self._pending: tuple[Future[Answered], str] | None = None
        self._unseen: type[ExecutorError] | None = None  # what the last look failed with
        self._stale = False
        self._slipped: set[str] = set()
        self._renewed_s = float("-inf")
        self._open: dict[int, str] = {}
        self._outcomes: dict[int, str] = {}
        self._to_append: list[Tracked] = []
        self._lags = Lags()
        self._of_before = False
        self._fits = _STEPS  # steps that there was time for

    # --- leading ------------------------------------------------------------------------------------

    def lead(self) -> bool:
        """Take the lead, where nobody has it; then what is followed is read anew. False while another one leads."""
        self.lease = self.keeper.lead(self.following.id, self.holder, ttl_s=self.rules.ttl_s, gone=holder_is_gone)
        if self.lease is None:
            return False
        self._renewed_s = time.monotonic()
        self.following, self.jobs = Following.read(self.keeper, self.following.id)
        self._open = {step.number: step.key for step in self.keeper.steps(self.following.id, still_open=True)}
        self._to_append = [job for job in self.jobs.values() if job.receipt is not None and not job.address]
        now = self.clock.now()
        if self.following.refuse_past:
            self._refuse_past(now)
        return True

    def keeper_says_over(self) -> bool:
        """Whether all is done, by the database."""
        return self.following.id in {each for each, _ in self.keeper.followings(over=True)}

    def say(self, text: str) -> None:
        """To who watches; it is not kept."""
        self._told(text)

    def let_go(self) -> None:
        """Let another one lead at once."""
        if self.lease is not None:
            self.keeper.let_go(self.lease)
            self.lease = None

    def cancel(self) -> None:
        """End what has not ended, from the next cycle on; who leads after this one goes on with that. Lead first."""
        self.following.cancelled = self.following.changed = True
        for job in self.jobs.values():
            job.wait_until = None
        self._say("cancelled: its jobs are ended")

    # --- one cycle ----------------------------------------------------------------------------------

    def cycle(self) -> Cycle:
        """Look, decide, write, act; call it again after `rules.every_s`."""
        begun_s = time.perf_counter()
        now = self.clock.now()
        done = Cycle()
        if self._look(now, done):
            if not self.following.cancelled:
                self._vintage(now)
                self._slips(now)
                self._plan_again(now)
            done.steps, done.more = self._act(now, begun_s)
        self._settle_some()
        self._write_changes()
        self._append_some()
        for job in self.jobs.values():
            word = job.fate.value if job.fate is not None else job.state.value if job.state else job.stage.value
            done.states[word] = done.states.get(word, 0) + 1
        if all(job.stage is Stage.OVER for job in self.jobs.values()) and self._settled and not self._open:
            self._write(over=True)
            done.over = True
        done.seconds = time.perf_counter() - begun_s
        return done

    # --- looking ------------------------------------------------------------------------------------

    def _look(self, now: datetime, done: Cycle) -> bool:
        asked = [job.key for job in self.jobs.values() if job.stage is Stage.ASKED]
        try:
            seen = self.executor.observe(asked) if asked else {}
        except ExecutorError as err:
            return self._unseen_for(err)
        for key in asked:
            job, status = self.jobs[key], seen.get(key)
            if status is None:
                self._absent(job)
            else:
                done.ended += self._absorb(job, status)
        # Whatever was open was either done, and shows, or not, and is decided again.
        for number, key in self._open.items():
            state = self.jobs[key].state if key in self.jobs else None
            self._outcomes[number] = f"looked up: {state.value if state else 'not there'}"
        self._open.clear()
        try:
            self._look_at_sites(now)
        except ExecutorError as err:
            return self._unseen_for(err)
        if self._unseen is not None:
            self._unseen = None
            self._say(f"{self.executor.name} answers again")
        return True

    def _unseen_for(self, err: ExecutorError) -> bool:
        # Whatever it is, what it means is that nothing was seen: a login that ran out, a limit, a word of it that we
        # do not know. All of these pass, and none is a reason to leave the other jobs alone.
        if self._unseen is not type(err):
            self._say(f"{err}. Nothing is decided meanwhile; jobs with a begin time start by themselves")
        self._unseen = type(err)
        return False

    def _look_at_sites(self, now: datetime) -> None:
        if not self.sites.due(now, pressed=True):
            return
        rules = self._lags.guarded(self.rules, now)
        waiting = [job for job in self.jobs.values() if job.stage is not Stage.OVER and not job.works]
        pressed = [job for job in waiting if job.deadline > now and must_run(job, now, rules)]
        if not self.sites.due(now, pressed=bool(pressed)):
            return
        wanted = self.outlook.rates.sites if self.following.names_sites else ()
        if self.sites.look(self.executor, wanted, now, self._say):
            self._replan = "sites changed"
            self._asked_plan = None  # this one does not wait
        if self.sites.away:
            self._leave(pressed, now)
        if self.sites.gone:
            self._name_bound(waiting)

    def _leave(self, pressed: Sequence[Tracked], now: datetime) -> None:
        """What must run now has no time to see whether its site comes back: it goes elsewhere, alone."""
        rates, away = self.outlook.rates, self.sites.away
        for job in pressed:
            site = job.next_piece(now).site
            if site not in away or not (allowed := sites_open(job, rates, away)):
                continue
            job.pieces, job.changed = at_once(job, now, allowed, rates, self._terms), True
            job.wait_until, job.vain = None, 0  # it was refused elsewhere
            self._note(job, f"{job.name} must run now, and its site {site} is not there: it runs at {job.site}")

    def _name_bound(self, waiting: Sequence[Tracked]) -> None:
        """Say which jobs have to wait for what is gone."""
        bound = [job for job in waiting if not sites_open(job, self.outlook.rates, self.sites.gone)]
        new = [job.name for job in bound if job.say("it had to wait for its site, which was gone")]
        if new:
            more = f" and {len(new) - _NAMED} more" if len(new) > _NAMED else ""
            self._say(f"{', '.join(new[:_NAMED])}{more} may go nowhere else: waiting for the site to come back")

    def _absorb(self, job: Tracked, status: JobStatus) -> int:
        """Take in what is seen of a job; 1 when it has ended now. What has ended stays so, whatever is shown later."""
        job.missing, job.sighted = 0, self.clock.now()
        status = in_plan_time(status, self.clock)
        if not self.following.names_sites:
            status = without_sites(status)
        if job.seen is None or told_apart(job.seen) != told_apart(status):
            job.changed = True
            for text in status.notes:
                if job.say(text):
                    self._say(f"{job.name}: {text}")
        if not job.begun and status.started is not None and (due := job.asked_begin or job.asked_at) is not None:
            self._lags.started(due, status.started)
        job.seen = status
        if not status.state.over:
            job.seen_over = False
            return 0
        if status.state is not JobState.COMPLETED and not job.seen_over:
            # A scheduler may start again what failed with a node: it is over when that is seen twice.
            job.seen_over = job.changed = True
            return 0
        return self._end(job, _FATES[status.state])

    def _absent(self, job: Tracked) -> None:
        job.missing += 1
        if job.begun:
            if job.missing >= self.rules.misses:
                job.say("it had begun and is not there any more; nobody can tell how it ended, so it is not run again")
                self._say(f"{job.name} is lost: {job.notes[-1]}")
                self._end(job, Fate.LOST)
        elif job.seen is None or job.missing >= self.rules.misses:
            if job.seen is not None:
                job.say("it was gone before it had begun, and was asked for again")
                self._say(f"{job.name}: {job.notes[-1]}")
            job.stage, job.seen, job.missing, job.asked_begin, job.changed = Stage.KEPT, None, 0, None, True

    def _end(self, job: Tracked, fate: Fate) -> int:
        job.stage, job.fate, job.changed = Stage.OVER, fate, True
        return 1

    # --- planning again -----------------------------------------------------------------------------

    def _vintage(self, now: datetime) -> None:
        outlook = self.outlook
        if outlook.due(now, self.rules.look_s):
            had_trouble = bool(outlook.trouble)
            if outlook.ask(now):
                self._say(f"new prices or carbon as of {now:%Y-%m-%d %H:%M} UTC")
                self._replan = self._replan or "new vintage"
                self.following.rates = outlook.rates
                self.following.changed = True
            if outlook.trouble and not had_trouble:
                self._say(f"{outlook.trouble}. The last vintage stays in force")
            if had_trouble and not outlook.trouble:
                self._say("prices and carbon are known again")
        stale = outlook.silent_s(now) > self.rules.stale_s
        if stale and not self._stale:
            self._say("prices and carbon were not to be had for too long: what waits runs as soon as there is room")
            self._replan = "stale"
        self._stale = stale

    def _slips(self, now: datetime) -> None:
        """Jobs that run later than their plan; each is counted once for every plan it has."""
        for job in self.jobs.values():
            if job.stage is not Stage.OVER and job.key not in self._slipped and is_late(job, now, self.rules):
                self._slipped.add(job.key)
                self._replan = self._replan or f"{job.name} is late"

    def _plan_again(self, now: datetime) -> None:
        if self._pending is not None:
            future, why = self._pending
            if future.done():
                self._pending = None
                self._adopt(future.result(), why, now)
            return
        if not self._replan:
            return
        wait = self._asked_plan is not None and (now - self._asked_plan).total_seconds() < self.rules.replan_s
        if wait:
            return
        why, self._replan, self._asked_plan = self._replan, "", now
        asked = question(
            self.jobs.values(), now, self.outlook.rates, self._terms, self.executor.abilities,
            self._lags.guarded(self.rules, now),
            gone=self.sites.gone, early=self._stale,
        )  # fmt: skip
        if self._planner is None:
            self._adopt(answer(asked), why, now)
        else:
            self._pending = self._planner.submit(answer, asked), why

    def _adopt(self, found: Answered, why: str, now: datetime) -> None:
        if found.problem:
            rest = "Only what cannot stay as it is is moved" if found.forced else "The plan in force stays"
            self._say(f"{why}: {found.problem}. {rest}, and deadlines come first")
        if not found.pays(self.rules):
            return
        changed, news = 0, False
        for key, pieces in found.pieces.items():
            job = self.jobs[key]
            if job.stage is Stage.OVER or not pieces or pieces == job.pieces:
                continue
            if job.works and job.seen is not None and job.seen.site not in ("", pieces[0].site):
                continue  # it began while the answer was on its way
            moved, before = pieces[0].site != job.pieces[0].site, job.next_piece(now).start
            # What is due, and goes on waiting for room where it is, is no news.
            still = not moved and not job.works and before <= now >= pieces[0].start
            news |= not still
            changed += moved or not (job.works or still)
            if moved:
                job.wait_until, job.vain = None, 0  # it was refused elsewhere
            job.pieces, job.changed = pieces, True
        self._slipped.clear()
        if not news:
            return
        self.following.replans += 1
        self.following.changed = True
        saved = found.worth - found.cost
        gain = f", for {saved:.3g} less" if saved > 0 and saved != float("inf") and not found.forced else ""
        self._say(f"planned again ({why}): {changed} jobs changed{gain}")

    # --- acting -------------------------------------------------------------------------------------

    def _act(self, now: datetime, begun_s: float) -> tuple[int, bool]:
        """How many steps were taken, and whether there are more."""
        can, rules = self.executor.abilities, self._lags.guarded(self.rules, now)
        wanted: list[tuple[Tracked, Wanted]] = []
        for job in self.jobs.values():
            if self.following.cancelled:
                if job.stage is Stage.KEPT:
                    self._end(job, Fate.CANCELLED)
                wanted.extend((job, each) for each in cancelling(job, now))
            elif job.stage is not Stage.OVER:
                wanted.extend((job, each) for each in decide(job, now, can, rules))
        # What is to start now goes before what is only told of its time.
        wanted.sort(key=lambda one: (one[1].begin is not None, one[1].begin or now))
        taken = 0
        while taken < len(wanted) and (not taken or time.perf_counter() - begun_s < _ACTING_S):
            batch = wanted[taken : taken + self._fits]
            number = self._take(batch, now)
            if number is None:
                return taken, False
            taken += number
            self._fits = min(2 * self._fits, _STEPS) if number == len(batch) else max(number, 1)
            if number < len(batch):
                break
        self._lags.acted(now)
        return taken, taken < len(wanted)

    def _take(self, wanted: list[tuple[Tracked, Wanted]], now: datetime) -> int | None:
        """Write these down, then take them, as many as there is time for; None when the executor fell silent."""
        begun_s = time.monotonic()
        for job, each in wanted:
            if each.kind is StepKind.SUBMIT:
                job.stage, job.asked_begin, job.changed = Stage.ASKED, each.begin, True
        taking = [(job.key, each.kind, detail(each), now.isoformat()) for job, each in wanted]
        steps = self._write(taking=taking)
        for taken, ((job, each), number) in enumerate(zip(wanted, steps, strict=True)):
            if taken and time.monotonic() - begun_s > self.rules.every_s:
                self._outcomes.update((later, "left for the next look") for later in steps[taken:])
                self._not_asked(wanted[taken:])
                return taken
            if time.monotonic() - self._renewed_s > self.rules.ttl_s / 2:
                self._write()
            try:
                self._outcomes[number] = self._ask(job, each)
            except ExecutorUnavailable as err:
                # It may or may not have been done. The next look tells, by the job's key.
                self._say(f"{job.name}, {each.kind}: {err}")
                self._open.update({n: j.key for n, (j, _) in zip(steps, wanted, strict=True) if n >= number})
                self._not_asked(wanted[taken + 1 :])
                return None
            except ExecutorError as err:
                self._outcomes[number] = str(err)
                self._refused(job, each, err, now)
        return len(wanted)

    def _not_asked(self, wanted: list[tuple[Tracked, Wanted]]) -> None:
        """These were written down and not taken."""
        for job, _ in wanted:
            if job.seen is None and job.stage is Stage.ASKED:
                job.stage, job.changed = Stage.KEPT, True

    def _ask(self, job: Tracked, each: Wanted) -> str:
        begin = None if each.begin is None else self.clock.to_wall(each.begin)
        job.asked_at = self.clock.now() if begin is None else job.asked_at
        status = ask(self.executor, job, each, begin, self.clock, self.following)
        if status is not None:
            self._is_of_before(job, status)
            self._absorb(job, status)
        if each.kind is StepKind.RELEASE:
            job.asked_begin, job.changed = each.begin, True
        elif each.kind is StepKind.CANCEL:
            job.wait_until = self.clock.now() + timedelta(seconds=self.clock.plan_s(_ENDING_S))
        job.vain = 0
        return "done"

    def _is_of_before(self, job: Tracked, status: JobStatus) -> None:
        """Say that a job is taken for what it is: the executor had it before this following began."""
        if status.submitted is None or status.submitted >= self.clock.wall - _BEFORE:
            return
        since = f"since {status.submitted:%Y-%m-%d %H:%M} UTC"
        job.say(f"{self.executor.name} had it before, {since}: it is not run again")
        if not self._of_before:
            self._say(
                f"{self.executor.name} has had jobs of this plan {since}, of another ledger: they are taken for what "
                "they are and not run again. --again runs them once more"
            )
        self._of_before = True

    def _refused(self, job: Tracked, each: Wanted, err: ExecutorError, now: datetime) -> None:
        """The next safe step after a refusal, said once."""
        if isinstance(err, JobOver):
            return  # the next look shows how it ended
        said = f"{job.name}, {each.kind}: {err}"
        if isinstance(err, JobUnknown):
            self._absent(job)
        elif isinstance(err, JobRefused):
            job.say(str(err))
            self._end(job, Fate.REFUSED)
            said = f"{said}. It is not run"
        elif isinstance(err, SiteUnknown):
            if each.kind is StepKind.SUBMIT:
                job.stage, job.changed = Stage.KEPT, True
            self.sites.miss(err.site, now)
        elif each.kind is StepKind.SUBMIT:
            job.stage, job.changed = Stage.KEPT, True
            if (each.hold or each.begin is not None) and isinstance(err, NotPermitted | NotOffered):
                job.cannot |= {"hold"}
                said = f"{said}. It is kept back here instead, and starts only while a supervisor runs"
                self._note(job, said)
                return
        elif each.kind in (StepKind.PAUSE, StepKind.MOVE):
            job.cannot |= {each.kind.value}
            said = f"{said}. It {'runs through' if each.kind is StepKind.PAUSE else 'stays where it is'}"
        elif each.kind in (StepKind.RELEASE, StepKind.RESUME) and not job.vain:
            said = ""  # it may have started in between: the next look tells
        job.vain += 1
        job.wait_until = now + timedelta(seconds=patience_s(job, now, self.rules, self.clock.plan_s(1.0)))
        if said:
            self._note(job, said)

    def _refuse_past(self, now: datetime) -> None:
        """What should have been done before it was ever followed is not started: its plan is an old one."""
        for job in self.jobs.values():
            if job.stage is Stage.KEPT and job.deadline <= now:
                job.say(f"its deadline ({job.deadline:%Y-%m-%d %H:%M} UTC) was over before; it is not started")
                self._end(job, Fate.PAST)
                self._say(f"{job.name}: {job.notes[-1]}")
            elif job.stage is Stage.KEPT and (short_s := job.short_s(now)) > 0:
                when = "at once" if job.release <= now else f"from its release on ({job.release:%Y-%m-%d %H:%M} UTC)"
                self._note(job, f"{job.name} cannot be done by its deadline (short by {short_s / 3600:.3g} h); it runs "
                                f"{when}")  # fmt: skip
        self.following.refuse_past, self.following.changed = False, True

    # --- keeping ------------------------------------------------------------------------------------

    @property
    def _settled(self) -> bool:
        return not self._to_append and all(job.receipt is not None or not job.begun for job in self.jobs.values())

    def _settle_some(self) -> None:
        # As many as a cycle appends: what is more is for the next one.
        room = _RECEIPTS - len(self._to_append)
        ended = (job for job in self.jobs.values() if job.stage is Stage.OVER and job.receipt is None and job.begun)
        jobs = list(itertools.islice(ended, max(room, 0)))
        if not jobs:
            return
        for job, body in zip(jobs, self._settle(jobs), strict=True):
            job.receipt, job.changed = dict(body), True
        self._to_append.extend(jobs)

    def _append_some(self) -> None:
        """Receipts into the ledger, with one flush; what is more is for the next cycle."""
        jobs = self._to_append[:_RECEIPTS]
        if not jobs:
            return
        addresses = self._append([job.receipt or {} for job in jobs])
        for job, address in zip(jobs, addresses, strict=True):
            job.address, job.changed = address, True
        del self._to_append[: len(jobs)]

    def _write_changes(self) -> None:
        worth = self._outcomes or self.following.changed or any(job.changed for job in self.jobs.values())
        if worth or time.monotonic() - self._renewed_s > self.rules.ttl_s / 3:
            self._write()

    def _write(
        self, *, taking: list[tuple[str, StepKind, str, str]] | None = None, over: bool | None = None
    ) -> list[int]:
        assert self.lease is not None, "lead first"
        changed = [job for job in self.jobs.values() if job.changed]
        outcomes = dict(self._outcomes)
        steps = self.keeper.write(
            self.lease,
            ttl_s=self.rules.ttl_s,
            body=self.following.to_text() if self.following.changed else None,
            bodies={job.key: job.to_text() for job in changed},
            taking=taking or (),
            outcomes=outcomes,
            over=over,
        )
        self._renewed_s = time.monotonic()
        for job in changed:
            job.changed = False
        self.following.changed = False
        for number in outcomes:
            del self._outcomes[number]
        return [step.number for step in steps]

    def _note(self, job: Tracked, text: str) -> None:
        if job.say(text):
            self._say(text)

    def _say(self, text: str) -> None:
        self._told(text)
        self.following.say(f"{self.clock.now():%Y-%m-%d %H:%M} {text}")
