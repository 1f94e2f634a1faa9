"""`simulated`: jobs that only take time, on a clock it is given. Nothing runs, and every status says so.

For trying a plan before it is run, for tests, and for a day in a second: give it a clock that is moved by hand. A job
takes `work_s` of its request; it draws `power_w` while it works. What can go wrong with a scheduler is in `Faults`.

Typed as `simulated`, `simulated:se,fr` or `simulated:se=8,fr=8`: sites, with the hardware threads each has.
"""

from __future__ import annotations

import heapq
import itertools
from collections import deque
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import ClassVar, Final, Self

from outweigh.backends.executors._options import known_site, system_now
from outweigh.backends.executors._places import places
from outweigh.core.errors import (
    ExecutorUnavailable,
    JobOver,
    JobRefused,
    JobUnknown,
    NotOffered,
    NotPermitted,
)
from outweigh.core.intervals import Interval
from outweigh.core.jobs import Ability, JobRequest, JobState, JobStatus, Stint
from outweigh.core.measurement import Grade, Measurement, Method, Scope
from outweigh.core.quantities import Energy
from outweigh.ports import Availability
from outweigh.registry import executors

_NAME: Final = "simulated"
_TIMED_OUT: Final = 124  # as timeout(1) says it
_TERMINATED: Final = 143


@dataclass(slots=True)
class Faults:
    """What goes wrong, until it is set back.

    Attributes:
        silent: it does not answer.
        lost_answers: so many of the next changes are made, and their answers lost.
        forbidden: verbs this user may not use ("hold").
        deaf: keys of jobs that ignore the signal to save.
    """

    silent: bool = False
    lost_answers: int = 0
    forbidden: set[str] = field(default_factory=set)
    deaf: set[str] = field(default_factory=set)


@dataclass(slots=True, eq=False)
class _Job:
    request: JobRequest
    id: str
    submitted: datetime
    left_s: float
    site: str
    state: JobState = JobState.HELD
    begin: datetime | None = None
    restarts: int = 0
    starts: int = 0
    unsaved_s: float = 0.0  # of its work, done since it was last saved
    stints: list[Stint] = field(default_factory=list)
    ended: datetime | None = None
    exit_code: int | None = None
    reason: str = ""
    notes: list[str] = field(default_factory=list)
    version: int = 0  # events of an earlier one are void
    in_place: bool = False
    said: tuple[tuple[object, ...], JobStatus] | None = None  # what was said of it last, and when that still holds


@executors.register(_NAME)
class SimulatedExecutor:
    """Jobs that only take time. Not thread-safe.

    Args:
        sites: name -> hardware threads, None without limit; empty is one place without a name or a limit.
        now: the time in UTC, never going back.
        work_s: how long a job takes [s], where it is not its request's `work_s`.
        exit_code: what a job ends with.
        save_s: how long a checkpoint takes [s].
        restore_s: run without progress after a checkpoint [s].
    """

    name: ClassVar[str] = _NAME
    simulated: ClassVar[bool] = True

    def __init__(
        self,
        sites: Mapping[str, int | None] | None = None,
        *,
        now: Callable[[], datetime] = system_now,
        work_s: Callable[[JobRequest], float] | None = None,
        exit_code: Callable[[JobRequest], int] = lambda _: 0,
        save_s: float = 0.0,
        restore_s: float = 0.0,
    ) -> None:
        self.faults = Faults()
        self._sites: dict[str, int | None] = dict(sites or {})
        self._free = dict(self._sites)
        self._now, self._exit_code = now, exit_code
        self._work_s = work_s or _declared_work_s
        self._save_s, self._restore_s = save_s, restore_s
        self._jobs: dict[str, _Job] = {}
        self._events: list[tuple[datetime, int, str, int]] = []
        self._order = itertools.count()
        self._queues: dict[str, deque[tuple[str, int]]] = {}

    @classmethod
    def probe(cls) -> Availability:
        return Availability(name=_NAME, usable=True, sees="jobs that only take time; nothing runs")

    @classmethod
    def make(cls, argument: str = "", *, folder: Path | None = None, now: Callable[[], datetime] | None = None) -> Self:
        """Sites, each with or without its hardware threads: "se=8,fr"."""
        return cls(places(_NAME, argument), now=now or system_now)

    @property
    def abilities(self) -> frozenset[Ability]:
        return frozenset(Ability) - {Ability.POWER_CAP, Ability.SURVIVES}

    def sites(self) -> tuple[str, ...]:
        self._answering()
        return tuple(sorted(self._sites))

    def submit(self, request: JobRequest) -> JobStatus:
        self._asked("submit")
        job = self._jobs.get(request.key)
        if job is None:
            known_site(_NAME, request.site, self._sites)
            self._fits(request)
            job = _Job(request, str(len(self._jobs) + 1), self._now(), self._work_s(request), request.site)
            job.begin = request.begin
            self._jobs[request.key] = job
            if not request.hold:
                self._wait(job)
        self._advance()
        self._answered()
        return self._status(job)

    def find(self, key: str) -> JobStatus | None:
        return self.observe((key,)).get(key)

    def hold(self, key: str) -> None:
        job = self._open("hold", key)
        if job.state is JobState.WAITING:
            job.state, job.version = JobState.HELD, job.version + 1
        elif job.state is not JobState.HELD:
            raise NotOffered(_NAME, f"job {key} has started", "Pause it")
        self._answered()

    def release(self, key: str, *, begin: datetime | None = None) -> None:
        job = self._open("release", key)
        if job.state in (JobState.HELD, JobState.WAITING):
            job.begin = begin
            self._wait(job)
            self._advance()
        self._answered()

    def pause(self, key: str) -> None:
        job = self._open("pause", key)
        if job.state is JobState.RUNNING:
            checkpoint = job.request.checkpoint
            if checkpoint is None:
                self._stop(job, self._now(), JobState.PAUSED)
                job.in_place = True
            else:
                job.state, job.version = JobState.PAUSING, job.version + 1
                deaf = key in self.faults.deaf or self._save_s > checkpoint.grace_s
                self._at(self._now() + timedelta(seconds=checkpoint.grace_s if deaf else self._save_s), job)
                self._advance()
        elif job.state not in (JobState.PAUSING, JobState.PAUSED):
            raise NotOffered(_NAME, f"job {key} does not run", "Hold it")
        self._answered()

    def resume(self, key: str) -> None:
        job = self._open("resume", key)
        if job.state is JobState.PAUSED and job.in_place:
            job.in_place = False
            self._run(job, self._now())
        elif job.state is JobState.PAUSED:
            job.begin = None
            self._wait(job)
            self._advance()
        self._answered()

    def move(self, key: str, site: str) -> None:
        job = self._open("move", key)
        known_site(_NAME, site, self._sites)
        if job.state.draws or job.in_place:
            raise NotOffered(_NAME, f"job {key} is in place at {job.site or 'its site'}", "Pause it by its checkpoint")
        job.site = site
        if job.state is JobState.WAITING:
            self._wait(job)
            self._advance()
        self._answered()

    def cancel(self, key: str) -> None:
        self._asked("cancel")
        job = self._known(key)
        if not job.state.over:
            self._end(job, self._now(), JobState.CANCELLED, _TERMINATED, "cancelled")
        self._advance()
        self._answered()

    def observe(self, keys: Collection[str] | None = None) -> Mapping[str, JobStatus]:
        self._answering()
        self._advance()
        wanted = self._jobs.keys() if keys is None else keys
        return {key: self._status(self._jobs[key]) for key in wanted if key in self._jobs}

    def close(self) -> None:
        """Nothing is held open."""

    # What only a simulation can do.

    def crash(self, site: str) -> None:
        """The machines of a site go down and come back: what ran there starts again from its last checkpoint."""
        self._advance()
        for job in self._jobs.values():
            if job.site == site and (job.state.draws or job.in_place):
                now = self._now()
                if job.state.draws:
                    self._stop(job, now, JobState.WAITING)
                job.left_s += job.unsaved_s
                job.unsaved_s, job.in_place = 0.0, False
                self._give_back(job, now)
                self._wait(job)

    def vanish(self, site: str) -> None:
        """The site is there no longer; what ran there starts again, when it is moved."""
        self.crash(site)
        del self._sites[site], self._free[site]

    def _answering(self) -> None:
        if self.faults.silent:
            raise ExecutorUnavailable(_NAME, "it does not answer (a fault that was set)", "Look again later")

    def _asked(self, verb: str) -> None:
        self._answering()
        if verb in self.faults.forbidden:
            raise NotPermitted(_NAME, f"this user may not {verb} (a fault that was set)", "Ask who may")
        self._advance()

    def _answered(self) -> None:
        if self.faults.lost_answers:
            self.faults.lost_answers -= 1
            raise ExecutorUnavailable(_NAME, "its answer was lost (a fault that was set)", "Look what came of it")

    def _known(self, key: str) -> _Job:
        if key not in self._jobs:
            raise JobUnknown(_NAME, key, "it is not there", "Submit it")
        return self._jobs[key]

    def _open(self, verb: str, key: str) -> _Job:
        self._asked(verb)
        job = self._known(key)
        if job.state.over:
            raise JobOver(_NAME, key, f"it has ended ({job.state})", "Leave it out of the plan")
        return job

    def _fits(self, request: JobRequest) -> None:
        threads = request.cpus * request.nodes
        room = [self._sites[request.site]] if request.site else list(self._sites.values())
        if room and all(limit is not None and limit < threads for limit in room):
            raise JobRefused(_NAME, request.key, f"{threads} CPUs are more than there are", "Ask for less")

    def _at(self, when: datetime, job: _Job) -> None:
        heapq.heappush(self._events, (when, next(self._order), job.request.key, job.version))

    def _wait(self, job: _Job) -> None:
        job.state, job.version = JobState.WAITING, job.version + 1
        self._at(max(job.begin or self._now(), self._now()), job)

    def _advance(self) -> None:
        """Let everything happen that is due by now, in order of time."""
        now = self._now()
        while self._events and self._events[0][0] <= now:
            when, _, key, version = heapq.heappop(self._events)
            job = self._jobs[key]
            if version != job.version:
                continue
            if job.state is JobState.WAITING:
                self._queues.setdefault(job.site, deque()).append((key, version))
                self._fill(job.site, when)
            elif job.state is JobState.PAUSING:
                self._paused(job, when)
            elif job.state is JobState.RUNNING:
                self._finish(job, when)

    def _fill(self, site: str, when: datetime) -> None:
        """Start who waits for this site, in the order they came, while there is room."""
        queue = self._queues.get(site, deque())
        while queue:
            key, version = queue[0]
            job = self._jobs[key]
            if version == job.version:
                place = self._room(job)
                if place is None:
                    job.reason = "no room" if not job.site or job.site in self._sites else "its site is gone"
                    return
                job.site = place
                free = self._free.get(place)
                if free is not None:
                    self._free[place] = free - job.request.cpus * job.request.nodes
                queue.popleft()
                job.restarts, job.starts = job.starts, job.starts + 1
                job.left_s += self._restore_s if job.restarts else 0.0
                self._run(job, when)
            else:
                queue.popleft()

    def _room(self, job: _Job) -> str | None:
        if not self._sites and not job.site:
            return ""
        threads = job.request.cpus * job.request.nodes
        for site in [job.site] if job.site else sorted(self._sites):
            if site not in self._sites:
                continue
            free = self._free[site]
            if free is None or free >= threads:
                return site
        return None

    def _run(self, job: _Job, when: datetime) -> None:
        job.state, job.version, job.reason = JobState.RUNNING, job.version + 1, ""
        job.stints.append(Stint(job.site, when))
        limit_s = job.request.limit_s
        self._at(when + timedelta(seconds=job.left_s if limit_s is None else min(job.left_s, limit_s)), job)

    def _stop(self, job: _Job, when: datetime, state: JobState) -> None:
        last = job.stints[-1]
        job.stints[-1] = Stint(last.site, last.start, when)
        worked_s = (when - last.start).total_seconds()
        job.left_s -= worked_s
        job.unsaved_s += worked_s
        job.state, job.version = state, job.version + 1

    def _paused(self, job: _Job, when: datetime) -> None:
        self._stop(job, when, JobState.PAUSED)
        grace_s = job.request.checkpoint.grace_s if job.request.checkpoint else 0.0
        if job.request.key in self.faults.deaf or self._save_s > grace_s:
            job.in_place = True
            job.notes.append(f"it did not save within {grace_s:g} s: stopped in place, its memory kept")
            return
        job.unsaved_s = 0.0
        self._give_back(job, when)

    def _finish(self, job: _Job, when: datetime) -> None:
        if timedelta(seconds=job.left_s) > when - job.stints[-1].start:
            self._end(job, when, JobState.FAILED, _TIMED_OUT, "time limit")
            return
        code = self._exit_code(job.request)
        self._end(job, when, JobState.FAILED if code else JobState.COMPLETED, code, "")

    def _end(self, job: _Job, when: datetime, state: JobState, code: int, reason: str) -> None:
        held = job.state.draws or job.in_place
        if job.state.draws:
            self._stop(job, when, state)
        job.state, job.version, job.in_place = state, job.version + 1, False
        job.ended, job.exit_code, job.reason = when, code, reason
        if held:
            self._give_back(job, when)

    def _give_back(self, job: _Job, when: datetime) -> None:
        free = self._free.get(job.site)
        if free is not None:
            self._free[job.site] = free + job.request.cpus * job.request.nodes
        for site in (job.site, ""):
            self._fill(site, when)

    def _status(self, job: _Job) -> JobStatus:
        if job.state.draws:
            return self._made(job)
        holds = (job.version, job.site, job.begin, job.reason, len(job.notes))
        if job.said is None or job.said[0] != holds:
            job.said = (holds, self._made(job))
        return job.said[1]

    def _made(self, job: _Job) -> JobStatus:
        return JobStatus(
            key=job.request.key,
            id=job.id,
            state=job.state,
            site=job.site,
            restarts=job.restarts,
            submitted=job.submitted,
            begin=job.begin,
            started=job.stints[0].start if job.stints else None,
            ended=job.ended,
            stints=tuple(job.stints),
            exit_code=job.exit_code,
            energy=self._drawn(job),
            reason=job.reason,
            notes=tuple(job.notes),
            simulated=True,
        )

    def _drawn(self, job: _Job) -> Measurement | None:
        if not job.stints or not job.request.power_w:
            return None
        now = self._now()
        worked_s = sum(((stint.end or now) - stint.start).total_seconds() for stint in job.stints)
        return Measurement(
            Energy(worked_s * job.request.power_w),
            Interval(job.stints[0].start, job.stints[-1].end or now),
            Scope.NODE,
            Grade.D,
            Method.DECLARED,
            "simulated: declared power times simulated time; nothing ran",
        )


def _declared_work_s(request: JobRequest) -> float:
    if request.work_s is None:
        raise JobRefused(_NAME, request.key, "nobody said how long it takes", "Give work_s")
    return request.work_s
