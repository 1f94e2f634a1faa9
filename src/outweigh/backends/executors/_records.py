"""Jobs in a folder, one small JSON file each, for executors whose scheduler keeps less than we need.

Every change is made under one lock, so that two supervisors on one folder see whole states of each other.
"""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from outweigh.core.errors import ExecutorUnavailable
from outweigh.core.jobs import Checkpoint, JobRequest, JobState, JobStatus, Stint
from outweigh.data.device_journal import state_folder

_VERSION: Final = 1
_PRIVATE: Final = 0o700  # commands and environments are nobody else's business


@dataclass(slots=True, eq=False)
class Record:
    """A job, as its executor left it.

    Attributes:
        attempt: of its starts, counted from 0; -1 before the first.
        launched: when the attempt was asked for.
        asked: when it was told to save, or to end.
        in_place: paused with its memory kept.
        cancelled: it was told to end.
        boot: of the machine, when the attempt was launched.
        kept: how many of the stints are of earlier attempts.
        turn: the last of its turns that was seen (Slurm). refused: how often in a row it ended before it had begun.
        handle: the scheduler's name of the attempt, where it differs from the key; empty while it is to be asked for.
        spent: earlier handles that its scheduler may still show, and that are not this attempt.
        tasks: exit codes of the tasks of an array that did not end well; -1 of those that were cancelled.
    """

    request: JobRequest
    submitted: datetime
    state: JobState
    site: str = ""
    begin: datetime | None = None
    attempt: int = -1
    launched: datetime | None = None
    asked: datetime | None = None
    in_place: bool = False
    cancelled: bool = False
    boot: str = ""
    kept: int = 0
    turn: int = 0
    refused: int = 0
    handle: str = ""
    spent: list[str] = field(default_factory=list)
    tasks: dict[str, int] = field(default_factory=dict)
    stints: list[Stint] = field(default_factory=list)
    ended: datetime | None = None
    exit_code: int | None = None
    reason: str = ""
    notes: list[str] = field(default_factory=list)

    @property
    def key(self) -> str:
        return self.request.key

    def note(self, said: str) -> None:
        if said not in self.notes:
            self.notes.append(said)

    def stop(self, at: datetime) -> None:
        """It no longer works, since then."""
        if self.stints and self.stints[-1].end is None:
            last = self.stints[-1]
            self.stints[-1] = Stint(last.site, last.start, max(at, last.start), last.nodes)

    def work(self, at: datetime, nodes: tuple[str, ...]) -> None:
        """It works since then, unless that is known already."""
        last = self.stints[-1] if self.stints else None
        if last is None or (last.end is not None and last.end <= at):
            self.stints.append(Stint(self.site, at, None, nodes))

    def summary(self) -> tuple[object, ...]:
        """What is worth writing down when it has changed."""
        return (
            self.state, self.site, self.begin, self.attempt, self.turn, self.handle, self.in_place, self.asked,
            self.reason, self.refused, tuple(self.stints), len(self.notes), tuple(sorted(self.tasks.items())),
        )  # fmt: skip

    def over(self, state: JobState, at: datetime, exit_code: int | None, reason: str = "") -> None:
        self.stop(at)
        self.state, self.ended, self.exit_code, self.reason = state, at, exit_code, reason
        self.in_place = False

    def status(self) -> JobStatus:
        return JobStatus(
            key=self.key,
            id=self.handle or self.key,
            state=self.state,
            site=self.site,
            restarts=max(0, self.attempt),
            submitted=self.submitted,
            begin=self.begin,
            started=self.stints[0].start if self.stints else None,
            ended=self.ended,
            stints=tuple(self.stints),
            exit_code=self.exit_code,
            reason=self.reason,
            notes=tuple(self.notes),
        )


class Records:
    """The jobs of one executor in one folder."""

    def __init__(self, executor: str, folder: Path | None) -> None:
        self._executor = executor
        self.folder = folder if folder is not None else state_folder() / "jobs" / executor
        # What is over does not change, and soon is most of what there is.
        self._over: dict[str, tuple[tuple[int, int], Record]] = {}

    def prefix(self, key: str) -> Path:
        """What the names of a job's other files begin with."""
        return self.folder / key

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Alone with the folder. Raises ExecutorUnavailable where it cannot be had."""
        try:
            import fcntl
        except ImportError as err:
            raise ExecutorUnavailable(
                self._executor, "this system has no locks that end with their process", "Use Linux"
            ) from err
        try:
            self.folder.mkdir(mode=_PRIVATE, parents=True, exist_ok=True)
            handle = os.open(self.folder / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as err:
            raise self._unavailable(err) from err
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)

    def all(self) -> list[Record]:
        return [found for key in self.keys() if (found := self.get(key)) is not None]

    def keys(self) -> list[str]:
        try:
            return sorted(path.stem for path in self.folder.glob("*.json"))
        except OSError as err:
            raise self._unavailable(err) from err

    def get(self, key: str) -> Record | None:
        """Raises ExecutorUnavailable where the file is not one of ours."""
        path = self.folder / f"{key}.json"
        try:
            found = path.stat()
            written, kept = (found.st_ino, found.st_mtime_ns), self._over.get(key)
            if kept is not None and kept[0] == written:
                return kept[1]
            body = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as err:
            raise self._unreadable(path, str(err)) from err
        try:
            record = _decoded(body)
        except (KeyError, TypeError, ValueError) as err:
            raise self._unreadable(path, f"{type(err).__name__} {err}") from err
        if record.state.over:
            self._over[key] = (written, record)
        return record

    def drop(self, key: str) -> None:
        """As if it had never been there."""
        with contextlib.suppress(FileNotFoundError):
            (self.folder / f"{key}.json").unlink()

    def put(self, record: Record) -> None:
        """Whole or not at all, and on the disk before it returns."""
        try:
            handle, name = tempfile.mkstemp(dir=self.folder, prefix=f".{record.key}.", suffix=".part")
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                json.dump({"version": _VERSION, **asdict(record)}, file, default=datetime.isoformat)
                file.flush()
                os.fsync(file.fileno())
            Path(name).replace(self.folder / f"{record.key}.json")
        except OSError as err:
            raise self._unavailable(err) from err

    def _unavailable(self, err: OSError) -> ExecutorUnavailable:
        return ExecutorUnavailable(
            self._executor,
            f"its folder {self.folder} cannot be used ({err.strerror})",
            "Give one that is writable and has room",
        )

    def _unreadable(self, path: Path, why: str) -> ExecutorUnavailable:
        return ExecutorUnavailable(
            self._executor, f"{path} cannot be read ({why})", "Move it away, and look what became of its job"
        )


def _decoded(body: dict[str, Any]) -> Record:
    if body.pop("version") != _VERSION:
        raise ValueError("written by another version of outweigh")
    request = dict(body.pop("request"))
    checkpoint = request.pop("checkpoint")
    asked = JobRequest(
        **{
            **request,
            "command": tuple(request["command"]),
            "environment": tuple((name, value) for name, value in request["environment"]),
            "begin": _time(request["begin"]),
            "checkpoint": None if checkpoint is None else Checkpoint(**checkpoint),
        }
    )
    stints = [
        Stint(each["site"], datetime.fromisoformat(each["start"]), _time(each["end"]), tuple(each["nodes"]))
        for each in body.pop("stints")
    ]
    times: dict[str, Any] = {name: _time(body.pop(name)) for name in ("begin", "launched", "asked", "ended")}
    submitted = datetime.fromisoformat(body.pop("submitted"))
    state = JobState(body.pop("state"))
    return Record(request=asked, submitted=submitted, state=state, stints=stints, **times, **body)


def _time(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
