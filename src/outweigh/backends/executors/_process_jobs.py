"""Jobs as processes of this machine, which go on when who started them is gone.

Each is the leader of a session of its own, behind the few lines of `_wrapper`. Who looks after a restart finds it by
process id and start time, so that a number the kernel has given away again is not mistaken for it. Nobody watches
between two questions: a job whose time has come is started by the next `observe`.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import ClassVar, Final

from outweigh.backends.executors._options import known_site, system_now
from outweigh.backends.executors._recorded import RecordedJobs
from outweigh.backends.executors._records import Record
from outweigh.backends.executors._wrapper import WRAPPER, Begin, read_begin, read_end
from outweigh.core.errors import ExecutorUnavailable, JobRefused, NotOffered, UsageError
from outweigh.core.jobs import Ability, Checkpoint, JobRequest, JobState, JobStatus, Stint
from outweigh.data.processes import ProcessTree, read_process

_BOOT: Final = Path("/proc/sys/kernel/random/boot_id")
_SHELL: Final = "/bin/sh"
_GRACE_S: Final = 10.0  # between SIGTERM and SIGKILL, for a job that declares no checkpoint
_BEGINS_WITHIN_S: Final = 10.0  # after which an attempt without a begin is launched again; it cannot run twice
_HEARS_WITHIN: Final = timedelta(seconds=1)  # of its begin mark, a job has its processes
_KILLED: Final = 128 + 9
# Ignored by who started us, they could not be trapped in a shell.
_RESTORED: Final = tuple(
    getattr(signal, name)
    for name in ("SIGINT", "SIGTERM", "SIGPIPE", "SIGXFSZ", "SIGUSR1", "SIGUSR2")
    if hasattr(signal, name)
)


class ProcessJobs(RecordedJobs):
    """What `local` promises of jobs.

    Args:
        sites: name -> hardware threads that jobs may hold there at once, None without limit; all are this machine.
        folder: of the records; None is `jobs/<name>` in the folder for state (OUTWEIGH_STATE).
        now: the time in UTC.
        bound: jobs end when the process that started them does.
    """

    name: ClassVar[str]

    def __init__(
        self,
        sites: Mapping[str, int | None] | None = None,
        *,
        folder: Path | None = None,
        now: Callable[[], datetime] = system_now,
        bound: bool = False,
    ) -> None:
        super().__init__(folder, now)
        self._bound = bound
        self._sites = dict(sites or {})
        self._children: set[int] = set()

    @property
    def abilities(self) -> frozenset[Ability]:
        found = {Ability.HOLD, Ability.PAUSE, Ability.PAUSE_IN_PLACE, Ability.MOVE_WAITING, Ability.MOVE_PAUSED}
        return frozenset(found if self._bound else found | {Ability.SURVIVES})

    def sites(self) -> tuple[str, ...]:
        return tuple(sorted(self._sites))

    def submit(self, request: JobRequest) -> JobStatus:
        self._must_be_linux()
        with self._records.locked():
            if self._records.get(request.key) is None:
                known_site(self.name, request.site, self._sites)
                self._must_fit(request)
                self._records.put(self._enter(request))
            return self._bring_up_to_date((request.key,))[request.key].status()

    def in_place(self, key: str) -> bool:
        """Whether it is paused with its memory kept."""
        with self._records.locked():
            return self._known(key).in_place

    def close(self) -> None:
        self._reap()

    def _must_be_linux(self) -> None:
        if not _BOOT.exists():
            raise NotOffered(self.name, f"{sys.platform} has no /proc, by which jobs are found again", "Use Linux")

    def _must_fit(self, request: JobRequest) -> None:
        if request.nodes > 1:
            raise JobRefused(self.name, request.key, f"{request.nodes} nodes are more than this one", "Ask for one")
        rooms = [self._sites[request.site]] if request.site else list(self._sites.values())
        if rooms and all(room is not None and room < request.cpus for room in rooms):
            raise JobRefused(self.name, request.key, f"{request.cpus} CPUs are more than there are", "Ask for less")

    def _keep_from_starting(self, record: Record) -> None:
        """Nobody but the next look starts it."""

    def _pause(self, record: Record) -> None:
        checkpoint = record.request.checkpoint
        if checkpoint is None:
            self._stop_in_place(record)
        else:
            record.state, record.asked = JobState.PAUSING, self._now()
            self._records.put(record)
            self._tell_to_save(record, checkpoint)

    def _go_on(self, record: Record) -> None:
        self._signal(record, signal.SIGCONT)
        record.state, record.in_place = JobState.RUNNING, False
        record.stints.append(Stint(record.site, self._now(), None, _here()))
        self._records.put(record)

    def _place(self, record: Record, site: str) -> None:
        record.site = site
        self._records.put(record)

    def _end(self, record: Record) -> None:
        if record.state.draws or record.in_place:
            self._signal(record, signal.SIGTERM)
            self._signal(record, signal.SIGCONT)  # one that is stopped hears nothing
        else:
            record.over(JobState.CANCELLED, self._now(), None)
            self._records.put(record)

    def _bring_up_to_date(self, keys: Collection[str] | None = None) -> dict[str, Record]:
        """Note what has ended, end what was given its grace, and start what is due, the longest waiting first: of all
        jobs, for they share the room."""
        self._reap()
        known = {record.key: record for record in self._records.all()}
        for record in known.values():
            if record.state.draws or record.in_place:
                before = record.summary()
                self._follow(record)
                if record.summary() != before:
                    self._records.put(record)
        due = [
            record
            for record in known.values()
            if record.state is JobState.WAITING and (record.begin is None or record.begin <= self._now())
        ]
        for record in sorted(due, key=lambda each: (each.begin or each.submitted, each.submitted, each.key)):
            site = self._room(record, known)
            if site is None:
                record.reason = "no room"
                continue
            record.site = site
            self._launch(record)
        return known if keys is None else {key: known[key] for key in keys if key in known}

    def _room(self, record: Record, known: Mapping[str, Record]) -> str | None:
        if not self._sites:
            return record.site
        for site in [record.site] if record.site else sorted(self._sites):
            if site not in self._sites:  # of another day's list of sites
                continue
            room = self._sites[site]
            held = sum(
                other.request.cpus
                for other in known.values()
                if other.site == site and (other.state.draws or other.in_place)
            )
            if room is None or held + record.request.cpus <= room:
                return site
        return None

    def _launch(self, record: Record) -> None:
        record.attempt += 1
        record.state, record.asked, record.reason, record.boot = JobState.RUNNING, None, "", _boot()
        record.launched = self._now()
        record.stints.append(Stint(record.site, record.launched, None, _here()))
        self._records.put(record)  # before it starts: an attempt that was written down cannot be run twice
        self._spawn(record)

    def _spawn(self, record: Record) -> None:
        request = record.request
        output = request.output or str(self._records.prefix(record.key)) + ".out"
        environment = {
            **os.environ,
            "OUTWEIGH_SITE": record.site,
            "OUTWEIGH_RESTARTS": str(record.attempt),
            "OUTWEIGH_JOB": record.key,
            **dict(request.environment),
        }
        words = [
            _SHELL,
            "-c",
            WRAPPER + "exit $code_\n",
            f"outweigh-{record.key}",
            str(self._records.prefix(record.key)),
            str(record.attempt),
            "bound" if self._bound else "once",
            request.checkpoint.signal if request.checkpoint else "",
            request.cwd,
            *request.command,
        ]
        try:
            child = os.posix_spawn(
                _SHELL,
                words,
                environment,
                setsid=True,
                setsigmask=(),
                setsigdef=_RESTORED,
                file_actions=(
                    (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                    (os.POSIX_SPAWN_OPEN, 1, output, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644),
                    (os.POSIX_SPAWN_DUP2, 1, 2),
                ),
            )
        except (OSError, ValueError) as err:  # ValueError: a NUL in an argument
            record.over(JobState.FAILED, self._now(), 126, f"it cannot be started: {err}")
            self._records.put(record)
            return
        self._children.add(child)

    def _follow(self, record: Record) -> None:
        end = read_end(self._records.prefix(record.key), str(record.attempt))
        if end is None and self._lives(record):
            self._press(record)
            return
        # It may have ended between the two looks.
        end = end or read_end(self._records.prefix(record.key), str(record.attempt))
        if end is not None:
            self._ended(record, end.at, end.exit_code)
        elif record.boot != _boot():
            record.stop(self._now())
            record.note("the machine was started again while it ran: it starts again from before")
            record.state, record.in_place, record.begin = JobState.WAITING, False, None
        elif record.cancelled:
            record.over(JobState.CANCELLED, self._now(), _KILLED)
        else:
            record.over(JobState.FAILED, self._now(), _KILLED, "it was killed, and left no exit code")

    def _ended(self, record: Record, at: datetime, code: int) -> None:
        checkpoint = record.request.checkpoint
        if record.cancelled:
            record.over(JobState.CANCELLED, at, code)
        elif checkpoint is not None and code == checkpoint.saved_exit:
            record.stop(at)
            # Unasked it only gives way, and goes on when there is room.
            record.state = JobState.PAUSED if record.asked or record.in_place else JobState.WAITING
            record.in_place, record.begin = False, None
        elif checkpoint is not None and record.state is JobState.PAUSING and code == 128 + _number(checkpoint.signal):
            record.stop(at)
            record.note(f"it was ended by {checkpoint.signal} instead of saving: it starts again from before")
            record.state = JobState.PAUSED
        else:
            record.over(JobState.COMPLETED if code == 0 else JobState.FAILED, at, code)

    def _press(self, record: Record) -> None:
        """Go a step further with one that was asked and has not moved."""
        if record.asked is None:
            return
        checkpoint = record.request.checkpoint
        grace_s = checkpoint.grace_s if checkpoint else _GRACE_S
        begin = self._begin(record)
        if begin is not None and begin.at >= record.asked - _HEARS_WITHIN:  # told before there was anybody to hear
            if record.cancelled:
                self._signal(record, signal.SIGTERM)
            elif record.state is JobState.PAUSING and checkpoint is not None and begin.at >= record.asked:
                self._tell_to_save(record, checkpoint)
        if self._now() - record.asked < timedelta(seconds=grace_s):
            return
        if record.cancelled:
            self._signal(record, signal.SIGKILL)
        elif record.state is JobState.PAUSING and checkpoint is not None:
            record.note(
                f"it did not save within {grace_s:g} s of {checkpoint.signal}: stopped in place, its memory kept"
            )
            self._stop_in_place(record)

    def _stop_in_place(self, record: Record) -> None:
        self._signal(record, signal.SIGSTOP)
        record.stop(self._now())
        record.state, record.in_place, record.asked = JobState.PAUSED, True, None
        self._records.put(record)

    def _tell_to_save(self, record: Record, checkpoint: Checkpoint) -> None:
        begin = self._begin(record)
        if begin is not None and _is_there(begin):
            with suppress(ProcessLookupError):
                os.kill(begin.pid, _number(checkpoint.signal))

    def _signal(self, record: Record, number: int) -> None:
        """To all of its session, and to what has left it and still descends from it."""
        begin = self._begin(record)
        if begin is None:
            return
        for pid in _members(begin):
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, number)

    def _lives(self, record: Record) -> bool:
        begin = self._begin(record)
        if begin is not None:
            return _is_there(begin) or bool(_members(begin))
        launched = record.launched or record.submitted
        if record.boot != _boot():
            return False
        if self._now() - launched > timedelta(seconds=_BEGINS_WITHIN_S):
            # Whoever launched it may have been killed before it could. A second launch of an attempt does nothing.
            record.launched = self._now()
            self._spawn(record)
        return True

    def _begin(self, record: Record) -> Begin | None:
        begin = read_begin(self._records.prefix(record.key), str(record.attempt))
        return begin if begin is not None and record.boot == _boot() else None

    def _reap(self) -> None:
        for child in list(self._children):
            try:
                gone, _ = os.waitpid(child, os.WNOHANG)
            except ChildProcessError:
                gone = child
            if gone:
                self._children.discard(child)


def _number(name: str) -> int:
    try:
        return signal.Signals[f"SIG{name}"]
    except KeyError as err:
        raise UsageError(f"there is no signal {name}", "Give one of `kill -l`") from err


def _is_there(begin: Begin) -> bool:
    found = read_process(begin.pid)
    return found is not None and found.started == begin.started and not found.ended


def _members(begin: Begin) -> set[int]:
    """Living processes of the session it leads, and of its tree."""
    members = set()
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            with suppress(OSError, ValueError, IndexError):
                fields = (folder / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
                # proc_pid_stat(5): state, ppid, pgrp, session, ... starttime is the 20th after the name.
                if int(fields[3]) == begin.pid and int(fields[19]) >= begin.started and fields[0] not in "ZX":
                    members.add(int(folder.name))
    if _is_there(begin):
        with suppress(UsageError):
            members.update(ProcessTree(begin.pid).living())
            members.add(begin.pid)
    return members


def _boot() -> str:
    try:
        return _BOOT.read_text(encoding="ascii").strip()
    except OSError as err:
        raise ExecutorUnavailable("local", f"{_BOOT} cannot be read ({err.strerror})", "Run it on Linux") from err


def _here() -> tuple[str, ...]:
    return (os.uname().nodename,)
