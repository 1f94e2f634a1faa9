"""What executors have in common that keep a record of every job: questions and orders by key, under one lock.

What may be asked of a job in which state, and what is said where it may not, stands here once; how a scheduler is asked
for it is the executor's.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping
from datetime import datetime
from pathlib import Path
from typing import ClassVar

from outweigh.backends.executors._options import known_site
from outweigh.backends.executors._records import Record, Records
from outweigh.core.errors import JobOver, JobUnknown, NotOffered
from outweigh.core.jobs import JobRequest, JobState, JobStatus


class RecordedJobs(ABC):
    """Jobs with records, for a scheduler that keeps no begin time: the next look starts what is due.

    Args:
        folder: of the records; None is `jobs/<name>` in the folder for state.
        now: the time in UTC.
    """

    name: ClassVar[str]

    def __init__(self, folder: Path | None, now: Callable[[], datetime]) -> None:
        self._records = Records(self.name, folder)
        self._now = now

    @abstractmethod
    def _bring_up_to_date(self, keys: Collection[str] | None = None) -> dict[str, Record]:
        """Records of these keys, None of all, as they are now; what is due is started. Under the lock."""

    @abstractmethod
    def _keep_from_starting(self, record: Record) -> None:
        """Take back from the scheduler what would let this job start, which has not. Under the lock."""

    @abstractmethod
    def _pause(self, record: Record) -> None:
        """Stop one that runs, and write that down. Under the lock."""

    @abstractmethod
    def _end(self, record: Record) -> None:
        """End one that is not over, and is noted as cancelled. Under the lock."""

    @abstractmethod
    def _place(self, record: Record, site: str) -> None:
        """Let one whose processes and memory are nowhere start at that site, and write that down. Under the lock."""

    def _go_on(self, record: Record) -> None:
        """Let one go on that is paused in place, and write that down. Under the lock."""
        raise NotOffered(self.name, f"job {record.key} has no memory that was kept", "Look what became of it")

    @abstractmethod
    def sites(self) -> tuple[str, ...]: ...

    def find(self, key: str) -> JobStatus | None:
        return self.observe((key,)).get(key)

    def observe(self, keys: Collection[str] | None = None) -> Mapping[str, JobStatus]:
        with self._records.locked():
            return {key: record.status() for key, record in self._bring_up_to_date(keys).items()}

    def hold(self, key: str) -> None:
        with self._records.locked():
            record = self._open(key)
            if record.state is JobState.WAITING:
                self._keep_from_starting(record)
                record.state = JobState.HELD
                self._records.put(record)
            elif record.state is not JobState.HELD:
                raise NotOffered(self.name, f"job {key} has started", "Pause it")

    def release(self, key: str, *, begin: datetime | None = None) -> None:
        with self._records.locked():
            record = self._open(key)
            if record.state in (JobState.HELD, JobState.WAITING):
                self._let_go(record, begin)

    def pause(self, key: str) -> None:
        with self._records.locked():
            record = self._open(key)
            if record.state is JobState.RUNNING:
                self._pause(record)
            elif record.state not in (JobState.PAUSING, JobState.PAUSED):
                raise NotOffered(self.name, f"job {key} does not run", "Hold it")

    def resume(self, key: str) -> None:
        with self._records.locked():
            record = self._open(key)
            if record.state is JobState.PAUSED and record.in_place:
                self._go_on(record)
            elif record.state is JobState.PAUSED:
                self._let_go(record, None)

    def move(self, key: str, site: str) -> None:
        known_site(self.name, site, self.sites())
        with self._records.locked():
            record = self._open(key)
            if record.state.draws or record.in_place:
                where = record.site or "its site"
                raise NotOffered(self.name, f"job {key} is in place at {where}", "Pause it by its checkpoint")
            self._place(record, site)

    def cancel(self, key: str) -> None:
        with self._records.locked():
            record = self._known(key)
            if record.state.over:
                return
            if not record.cancelled:
                record.cancelled, record.asked = True, self._now()
                self._records.put(record)
            self._end(record)

    def _let_go(self, record: Record, begin: datetime | None) -> None:
        """It may start, not before `begin`."""
        if begin is not None and begin > self._now():
            self._keep_from_starting(record)
        record.state, record.begin, record.asked = JobState.WAITING, begin, None
        self._records.put(record)
        self._bring_up_to_date((record.key,))

    def _enter(self, request: JobRequest) -> Record:
        """A record of a job that is not there yet. It is not written."""
        state = JobState.HELD if request.hold else JobState.WAITING
        return Record(request, self._now(), state, request.site, request.begin)

    def _known(self, key: str) -> Record:
        """Raises JobUnknown."""
        record = self._bring_up_to_date((key,)).get(key)
        if record is None:
            raise JobUnknown(self.name, key, "it is not there", "Submit it")
        return record

    def _open(self, key: str) -> Record:
        """Raises JobUnknown, JobOver."""
        record = self._known(key)
        if record.state.over:
            raise JobOver(self.name, key, f"it has ended ({record.state})", "Leave it out of the plan")
        return record
