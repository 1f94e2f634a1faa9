"""Jobs as a scheduler sees them: what is asked of it, and what it says became of it.

A job is known by a key that its owner made before asking, so that a request whose answer was lost is found again
and never doubled. The scheduler's own id is there for people.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final

from outweigh.core.errors import InvalidQuantity
from outweigh.core.measurement import Measurement

#: Safe in every scheduler's labels, comments and file names.
_KEY: Final = re.compile(r"[a-z0-9]([a-z0-9-]{0,44}[a-z0-9])?")
#: What a job ends with to say: progress is saved, start me again. No code of sysexits(3), of a shell or of a signal.
SAVED_EXIT: Final = 85


class JobState(StrEnum):
    """Where a job is. Only `RUNNING` and `PAUSING` draw power for work; a paused one may still hold its node."""

    HELD = "held"  # starts only when released
    WAITING = "waiting"  # starts by itself, when its time or room has come
    RUNNING = "running"
    PAUSING = "pausing"  # was told to save and stop, and has not yet
    PAUSED = "paused"  # goes on only when resumed
    COMPLETED = "completed"  # ended with 0
    FAILED = "failed"  # ended otherwise
    CANCELLED = "cancelled"
    LOST = "lost"  # the scheduler had it, and nobody can tell how it ended

    @property
    def over(self) -> bool:
        """Whether nothing more will come of it."""
        return self in _OVER

    @property
    def draws(self) -> bool:
        """Whether it works, and so draws power."""
        return self in (JobState.RUNNING, JobState.PAUSING)


_OVER: Final = frozenset({JobState.COMPLETED, JobState.FAILED, JobState.CANCELLED, JobState.LOST})


class Ability(StrEnum):
    """What a scheduler can do here, beyond submit, cancel and observe."""

    BEGIN = "begin"  # a not-before time it keeps by itself, even when nobody watches
    HOLD = "hold"
    PAUSE = "pause"  # by a checkpoint that the job declares
    PAUSE_IN_PLACE = "pause-in-place"  # without one, its memory kept
    MOVE_WAITING = "move-waiting"  # to another site before it starts
    MOVE_PAUSED = "move-paused"  # to another site between two stretches; the job must save its progress
    POWER_CAP = "power-cap"  # refuses to start what would go beyond a site's watts
    ENERGY = "energy"  # says what a job drew
    SURVIVES = "survives"  # jobs go on when the process that submitted them is gone


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """How a job is asked to save its progress and stop.

    Attributes:
        signal: sent to the command ("USR1"); it saves, and ends with `saved_exit`. With any other code it has ended.
        grace_s: how long that may take [s]; then it is stopped without, and that is said.
        saved_exit: the exit code that means: saved, start me again to go on.
    """

    signal: str = "USR1"
    grace_s: float = 30.0
    saved_exit: int = SAVED_EXIT

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[A-Z][A-Z0-9]{1,9}", self.signal) or self.signal in ("KILL", "STOP"):
            raise InvalidQuantity("checkpoint signal", repr(self.signal), "give one that can be caught, such as USR1")
        if not 0 <= self.grace_s < float("inf"):
            raise InvalidQuantity("grace of a checkpoint", f"{self.grace_s} s", "give 0 or more seconds")
        if not 1 <= self.saved_exit <= 125:
            raise InvalidQuantity("exit code of a checkpoint", str(self.saved_exit), "give 1 to 125")


@dataclass(frozen=True, slots=True)
class JobRequest:
    """One job to be run.

    Attributes:
        key: made by who asks, and never used for another job: lower-case letters, digits and -, up to 46.
        command: program and arguments, as typed. Executors with a submit command of their own (`sbatch`) take one
            that begins with it, and add what is asked for here.
        name: for people; the key where it is empty.
        site: where it is to run; empty is anywhere.
        begin: not before; aware. None is at once.
        hold: wait for `release`, whatever `begin` says.
        checkpoint: how it saves its progress; None where it cannot, and a pause keeps its memory instead.
        power_w: IT power it draws at most [W]; 0 where it is not known. Counted where the executor caps power.
        cpus: hardware threads it needs on each node.
        gpus: devices it needs on each node.
        nodes: it needs at once.
        limit_s: ended by the scheduler after this run time [s]; None without.
        work_s: run time it is expected to take [s]; None where nobody knows. A simulation lives by it.
        cwd: where it runs; empty is where the executor is.
        environment: (name, value) pairs added to what the executor gives.
        output: file that standard output and error are appended to; empty is the executor's own choice.
    """

    key: str
    command: tuple[str, ...]
    name: str = ""
    site: str = ""
    begin: datetime | None = None
    hold: bool = False
    checkpoint: Checkpoint | None = None
    power_w: float = 0.0
    cpus: int = 1
    gpus: int = 0
    nodes: int = 1
    limit_s: float | None = None
    work_s: float | None = None
    cwd: str = ""
    environment: tuple[tuple[str, str], ...] = ()
    output: str = ""

    def __post_init__(self) -> None:
        if not _KEY.fullmatch(self.key):
            raise InvalidQuantity("key of a job", repr(self.key), "use up to 46 of a-z, 0-9 and -, no - at its ends")
        what = f"of job {self.key}"
        if not self.command or not self.command[0]:
            raise InvalidQuantity(f"command {what}", repr(self.command), "give a program and its arguments")
        for name, value in self.environment:
            if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name) or "\0" in value:
                raise InvalidQuantity(f"environment {what}", repr(name), "use letters, digits and _, and no NUL")
        if any("\0" in word for word in (*self.command, self.cwd, self.output)):
            raise InvalidQuantity(f"command {what}", "a text with a NUL in it", "leave it out")
        if self.begin is not None:
            if self.begin.tzinfo is None:
                raise InvalidQuantity(f"begin {what}", self.begin.isoformat(), "give it a time zone; we keep UTC")
            object.__setattr__(self, "begin", self.begin.astimezone(UTC))
        if not 0 <= self.power_w < float("inf"):
            raise InvalidQuantity(f"power {what}", f"{self.power_w} W", "give 0 or more")
        if min(self.cpus, self.nodes) < 1 or self.gpus < 0:
            given = f"{self.cpus} CPUs, {self.gpus} GPUs, {self.nodes} nodes"
            raise InvalidQuantity(f"size {what}", given, "give at least one CPU and one node")
        for name, seconds in (("time limit", self.limit_s), ("expected run time", self.work_s)):
            if seconds is not None and not 0 < seconds < float("inf"):
                raise InvalidQuantity(f"{name} {what}", f"{seconds} s", "give more than 0, or none")


@dataclass(frozen=True, slots=True)
class Stint:
    """One stretch in which a job worked at one place without a break. `end` is None while it lasts."""

    site: str
    start: datetime
    end: datetime | None = None
    nodes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class JobStatus:
    """What an executor knows of a job now.

    Attributes:
        key: as in its request.
        id: the scheduler's.
        state: where it is.
        site: where it runs, or will; empty is anywhere.
        restarts: how often it was started again since its first start; a scheduler may count a start as soon as the
            job is queued for it. (`id`, `restarts`) names an attempt: what is done once an attempt is done by this, for
            schedulers show ended jobs as running after a crash of theirs.
        submitted, begin, started, ended: UTC; `started` is the first start, `ended` is None until it is over.
        stints: when and where it worked, as far as known, in order.
        exit_code: as a shell reports it (128 + signal); None until it is over, and where nobody knows.
        energy: what it drew so far, where the scheduler measures it.
        reason: why it waits or failed, in the scheduler's words.
        notes: what a person should know (a signal that was ignored), in sentences.
        simulated: nothing ran.
    """

    key: str
    id: str
    state: JobState
    site: str = ""
    restarts: int = 0
    submitted: datetime | None = None
    begin: datetime | None = None
    started: datetime | None = None
    ended: datetime | None = None
    stints: tuple[Stint, ...] = ()
    exit_code: int | None = None
    energy: Measurement | None = None
    reason: str = ""
    notes: tuple[str, ...] = field(default=())
    simulated: bool = False

    @property
    def attempt(self) -> str:
        """Names this start of it among all."""
        return f"{self.id}.{self.restarts}"

    def worked_s(self, now: datetime) -> float:
        """Time it has worked until now [s]: the sum of its stints."""
        return sum(((stint.end or now) - stint.start).total_seconds() for stint in self.stints)

    def noting(self, note: str) -> JobStatus:
        """The same with one more note, once."""
        return self if note in self.notes else replace(self, notes=(*self.notes, note))
