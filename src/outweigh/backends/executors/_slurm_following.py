"""What became of a Slurm job: what its controller says, and what the job itself has left, brought to one state.

The job's own marks are believed first. They are kept by turn (`_slurm_turns`), so a controller that shows an ended job
as running again, or starts one anew that it has forgotten to have started, changes nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Final

from outweigh.backends.executors._records import Record, Records
from outweigh.backends.executors._slurm_tools import SlurmJob, SlurmTools
from outweigh.backends.executors._slurm_turns import Turn, read_done, read_turns
from outweigh.backends.executors._wrapper import Begin, End
from outweigh.core.errors import JobOver, JobUnknown, NotOffered, NotPermitted
from outweigh.core.jobs import JobState

_CANCELLED: Final = frozenset({"CANCELLED", "REVOKED"})
_ENDED: Final = _CANCELLED | {
    "COMPLETED", "FAILED", "TIMEOUT", "NODE_FAIL", "OUT_OF_MEMORY", "DEADLINE", "BOOT_FAIL", "PREEMPTED",
}  # fmt: skip
_GHOST_S: Final = 30.0  # shown as running so long after its end, a job only keeps others from its node
_KILLED: Final = 137
_TASK_CANCELLED: Final = -1
_TIMED_OUT: Final = 124  # as timeout(1) says it
_LISTED_WITHIN: Final = timedelta(seconds=10)  # shown as waiting so soon after its begin, it began as it was listed
_MEMORY_S: Final = 300.0  # MinJobAge, where the cluster does not say
# A launch that slurmd refuses ("Job credential revoked": it was told to end in the same second, or a controller that
# was killed gave its id to another) ends a job at once, with 1, before its script has begun.
_REFUSED_CODE: Final = 1
_REFUSED_WITHIN: Final = timedelta(seconds=5)
_MOST_REFUSED: Final = 3


class Following:
    """Brings records up to date; the caller writes them down."""

    def __init__(self, records: Records, tools: SlurmTools, now: Callable[[], datetime]) -> None:
        self._records, self._tools, self._now = records, tools, now
        self._memory_s: float | None = None

    def follow(self, record: Record, tasks: Sequence[SlurmJob]) -> bool:
        """One job, or all tasks of an array; True when it has to be submitted again."""
        job = tasks[0]
        if len(tasks) > 1 or job.task:
            self._follow_array(record, tasks)
            return False
        prefix = self._records.prefix(record.key)
        turns = read_turns(prefix, record.turn)
        self._catch_up(record, job, turns)
        last = turns[-1] if turns and turns[-1].attempt == f"{job.id}.{job.restarts}" else None
        end = read_done(prefix, turns, self._now()) or (last.end if last is not None else None)
        if end is not None and end.terminated and not self._is_saved(record, end):
            # Ended by Slurm: for good, or to be queued again. Only Slurm knows which, and it may not have said so yet.
            record.stop(end.at)
            if job.state in _ENDED or job.state == "PENDING":
                end = None
            elif not self._is_late(end):
                return False
        if end is not None:
            return self._has_ended(record, job, end, _begun(turns))
        if job.state in _ENDED:
            if self._never_began(record, job, turns):
                record.refused += 1
                self._again(record, f"Slurm did not start job {job.id}")
                return True
            self._was_ended(record, job)
        elif job.state == "PENDING":
            self._waits(record, job)
        elif job.state == "COMPLETING":
            record.reason = ""  # on its way to its end, or back to the queue: the next look tells
        elif job.state == "SUSPENDED":
            record.stop(job.suspended or self._now())
            record.state, record.in_place, record.reason = JobState.PAUSED, True, ""
        else:
            self._runs(record, job, turns, last)
        return False

    def suspend(self, record: Record) -> None:
        self._tools.run("scontrol", "suspend", record.handle, key=record.key)
        record.stop(self._now())
        record.state, record.in_place, record.asked = JobState.PAUSED, True, None
        self._records.put(record)

    def forgotten(self, record: Record, seen: datetime | None) -> bool:
        """Slurm knows no such job. True when it never ended and can be submitted again; else its end is noted.

        Args:
            seen: when it was known last; a controller keeps ended jobs for MinJobAge, and one that crashed forgets what
                it had not written down, so a job that was there a moment ago has not been put away.
        """
        prefix = self._records.prefix(record.key)
        turns = read_turns(prefix, record.turn)
        begin = _begun(turns)
        end = read_done(prefix, turns, self._now())
        if end is None and turns and turns[-1].attempt.partition(".")[0] == record.handle:
            end = turns[-1].end
        forgets_by_age = self._has_put_away(record, seen)
        if end is not None and not self._is_saved(record, end) and (not end.terminated or forgets_by_age):
            if begin is not None:
                record.work(begin.at, (begin.host,))
            self._over(record, end)
            return False
        if record.cancelled:
            record.over(JobState.CANCELLED, self._now(), None)
            return False
        if forgets_by_age and (begin is not None or record.stints):
            record.over(JobState.LOST, self._now(), None, "Slurm knows it no longer, and it left no end")
            return False
        if begin is not None:
            record.work(begin.at, (begin.host,))
        record.stop(end.at if end is not None else self._now())
        self._again(record, f"Slurm had forgotten job {record.handle}")
        return True

    def _again(self, record: Record, why: str) -> None:
        """To be submitted once more: held where it was to wait, with the begin that it had."""
        held = record.state in (JobState.HELD, JobState.PAUSED, JobState.PAUSING)
        record.note(f"{why}: it was submitted again")
        record.state = JobState.HELD if held else JobState.WAITING
        record.attempt, record.asked, record.in_place = -1, None, False

    def _waits(self, record: Record, job: SlurmJob) -> None:
        record.stop(self._now())
        record.reason, record.in_place = job.reason, False
        record.begin = None if job.held else job.begin
        if job.held:
            record.state = JobState.PAUSED if job.restarts > 0 or record.stints else JobState.HELD
        else:
            record.state = JobState.WAITING

    def _runs(self, record: Record, job: SlurmJob, turns: Sequence[Turn], mine: Turn | None) -> None:
        begin = mine.begin if mine is not None and mine.end is None else None
        record.site = record.site or _site_of(job)
        if begin is not None or not turns:  # one that leaves marks has not begun before its mark
            at = begin.at if begin is not None else job.started or self._now()
            last = record.stints[-1].end if record.stints else None
            record.work(max(at, last or at), job.nodes)
        record.refused = 0 if begin is not None else record.refused
        record.reason, record.in_place = "", False
        checkpoint = record.request.checkpoint
        if record.state is not JobState.PAUSING or checkpoint is None or record.asked is None:
            record.state = JobState.RUNNING
            return
        if begin is not None and begin.at >= record.asked:  # it was told before there was anybody to hear
            self._ask("scancel", "--batch", f"--signal={checkpoint.signal}", record.handle, key=record.key)
        if self._now() - record.asked >= timedelta(seconds=checkpoint.grace_s):
            said = f"it did not save within {checkpoint.grace_s:g} s of {checkpoint.signal}"
            try:
                with suppress(JobOver, JobUnknown, NotOffered):  # it has ended meanwhile: the next look tells
                    self.suspend(record)
                    record.note(f"{said}: suspended in place, its memory kept")
            except NotPermitted:
                record.state, record.asked = JobState.RUNNING, None
                record.note(f"{said}, and this user may not suspend jobs here: it runs on")

    def _ask(self, *command: str, key: str) -> None:
        """A step that is not worth more than a try: what it is about may be gone, and the next look tells."""
        with suppress(JobOver, JobUnknown, NotOffered, NotPermitted):
            self._tools.run(*command, key=key)

    def _catch_up(self, record: Record, job: SlurmJob, turns: Sequence[Turn]) -> None:
        """Note the turns that went by since we looked last."""
        if not turns and job.restarts > max(record.attempt, 0):
            record.stop(self._now())  # it leaves no marks
        for turn, following in pairwise(turns):
            if turn.begin is None:
                continue
            record.work(turn.begin.at, (turn.begin.host,))
            over = turn.end or following.begin
            if over is not None and record.stints[-1].start <= over.at:  # else it is the next one's, by Slurm's word
                record.stop(over.at)
        begin = turns[-1].begin if turns else None
        if begin is not None and (
            job.state in _ENDED or (job.state == "PENDING" and self._now() - begin.at > _LISTED_WITHIN)
        ):
            # It had begun, and was ended before we looked. Slurm's name of the node may not be that of its host.
            own = turns[-1].attempt == f"{job.id}.{job.restarts}" and job.state in _ENDED
            record.work(begin.at, (own and job.nodes) or (begin.host,))
        record.turn = turns[-1].number if turns else record.turn
        record.attempt = max(record.attempt, job.restarts)

    def _has_ended(self, record: Record, job: SlurmJob, end: End, begin: Begin | None) -> bool:
        """It has left its end, whatever Slurm says; True when it has saved and Slurm has not queued it again."""
        record.site = record.site or _site_of(job)
        if begin is not None:
            record.work(begin.at, job.nodes or (begin.host,))
        record.stop(end.at)
        if not self._is_saved(record, end):
            self._over(record, end)
            if job.state == "PENDING":  # to be run again, by a controller that did not hear of its end
                self._ask("scancel", str(job.id), key=record.key)
            elif job.state not in _ENDED and self._is_late(end):
                record.note("Slurm showed it running long after its end: its job there was cancelled")
                self._ask("scancel", str(job.id), key=record.key)
        elif job.state in _CANCELLED:
            record.over(JobState.CANCELLED, end.at, None, job.reason)
        elif job.state in _ENDED:  # neither the job nor RequeueExit could put it back
            self._again(record, f"it saved, and job {job.id} could not be requeued")
            return True
        elif job.state == "PENDING":
            self._waits(record, job)
        else:  # its script is about to put it back: until then it can neither be let go nor moved
            record.state = JobState.PAUSING if record.asked is not None else JobState.RUNNING
        return False

    def _never_began(self, record: Record, job: SlurmJob, turns: Sequence[Turn]) -> bool:
        """Whether slurmd would not launch it. Only where jobs are seen to leave marks: else nobody could tell."""
        if job.state != "FAILED" or job.exit_code != _REFUSED_CODE or record.refused >= _MOST_REFUSED:
            return False
        if job.started is None or job.ended is None or job.ended - job.started > _REFUSED_WITHIN:
            return False
        label = f"{job.id}.{job.restarts}"  # which an earlier start may have had, before it was forgotten
        if any(turn.attempt == label and (turn.begin is None or turn.begin.at >= job.started) for turn in turns):
            return False
        return bool(turns) or any(self._records.folder.glob("*.turn"))

    def _was_ended(self, record: Record, job: SlurmJob) -> None:
        """By Slurm, or without a mark of its own."""
        at = job.ended or self._now()
        record.site = record.site or _site_of(job)
        if job.started is not None and job.nodes and not record.stints:
            record.work(min(job.started, at), job.nodes)
        if job.state in _CANCELLED:
            record.over(JobState.CANCELLED, at, None, job.reason)
        elif job.state == "COMPLETED":
            record.over(JobState.COMPLETED, at, 0)
        else:
            record.over(JobState.FAILED, at, _code_of(job), job.state.replace("_", " ").lower())

    def _over(self, record: Record, end: End) -> None:
        if record.cancelled and record.asked is not None and (end.exit_code or end.at >= record.asked):
            record.over(JobState.CANCELLED, end.at, end.exit_code)
        else:
            record.over(JobState.FAILED if end.exit_code else JobState.COMPLETED, end.at, end.exit_code)

    def _is_late(self, end: End) -> bool:
        return self._now() - end.at > timedelta(seconds=_GHOST_S)

    def _is_saved(self, record: Record, end: End) -> bool:
        checkpoint = record.request.checkpoint
        return checkpoint is not None and end.exit_code == checkpoint.saved_exit

    def _follow_array(self, record: Record, tasks: Sequence[SlurmJob]) -> None:
        """An array as one job: it works while any of its tasks does, and is over when all are.

        The controller forgets tasks that ended early while others go on, so how they ended is kept.
        """
        for task in tasks:
            record.tasks.pop(task.task, None)  # one that failed with its node may have been put back
            if task.state in _ENDED and task.state != "COMPLETED":
                record.tasks[task.task] = _TASK_CANCELLED if task.state in _CANCELLED else _code_of(task)
        record.attempt = max(record.attempt, sum(task.restarts for task in tasks))
        working = [task for task in tasks if task.state not in (*_ENDED, "PENDING", "SUSPENDED")]
        waiting = [task for task in tasks if task.state == "PENDING"]
        starts = [task.started for task in tasks if task.started is not None and task.state != "PENDING"]
        record.reason = next((task.reason for task in waiting), "")
        if starts:
            record.work(min(starts), tuple(sorted({node for task in tasks for node in task.nodes})))
        if working:
            record.state = JobState.PAUSING if record.state is JobState.PAUSING else JobState.RUNNING
        elif any(task.state == "SUSPENDED" for task in tasks):
            record.stop(self._now())
            record.state, record.in_place = JobState.PAUSED, True
        elif waiting:
            record.stop(self._now())
            held = JobState.PAUSED if record.stints else JobState.HELD
            record.state = held if all(task.held for task in waiting) else JobState.WAITING
        else:
            at = max(task.ended or self._now() for task in tasks)
            failed = {name: code for name, code in record.tasks.items() if code != _TASK_CANCELLED}
            cancelled = len(record.tasks) - len(failed)
            state = JobState.CANCELLED if cancelled else JobState.FAILED if failed else JobState.COMPLETED
            said = [f"{n} tasks {how}" for n, how in ((len(failed), "failed"), (cancelled, "were cancelled")) if n]
            record.over(state, at, max(failed.values(), default=0), ", ".join(said))

    def _has_put_away(self, record: Record, seen: datetime | None) -> bool:
        last = max((at for at in (seen, record.launched) if at is not None), default=record.submitted)
        return self._now() - last >= timedelta(seconds=self._remembers_s())

    def _remembers_s(self) -> float:
        if self._memory_s is None:
            found = re.search(r"^MinJobAge\s*=\s*(\d+)", self._tools.run("scontrol", "show", "config"), re.MULTILINE)
            self._memory_s = float(found[1]) if found else _MEMORY_S
        return self._memory_s


def _code_of(job: SlurmJob) -> int:
    """Exit code of one that did not end well; what Slurm ended may have none of its own."""
    return job.exit_code or (_TIMED_OUT if job.state == "TIMEOUT" else _KILLED)


def _site_of(job: SlurmJob) -> str:
    """The site that a job names, where it names one feature and no more."""
    return job.features if re.fullmatch(r"\w[\w.-]*", job.features) else ""


def _begun(turns: Sequence[Turn]) -> Begin | None:
    """Begin of the last turn whose command was started."""
    return next((turn.begin for turn in reversed(turns) if turn.begin is not None), None)
