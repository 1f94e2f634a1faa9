"""A plan file, read for being carried out: what each job asks, and when and where each of its like is to run."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import groupby
from typing import Any, Final

from outweigh.core.errors import InvalidQuantity, UsageError
from outweigh.core.jobs import Checkpoint
from outweigh.plan.planfile import SCHEMA
from outweigh.plan.problem import Job, Level
from outweigh.run.checking import problem_in

_AGAIN: Final = "Make it with `outweigh plan JOBS.toml --out plan.json`"
S_PER_HOUR: Final = 3600.0


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch in which one job runs, at one power [W] of IT."""

    site: str
    start: datetime
    end: datetime
    power_w: float

    @property
    def seconds(self) -> float:
        return (self.end - self.start).total_seconds()

    def moved(self, seconds: float) -> Piece:
        by = timedelta(seconds=seconds)
        return Piece(self.site, self.start + by, self.end + by, self.power_w)


@dataclass(frozen=True, slots=True)
class Terms:
    """What a job asks, as the plan file says it. All like jobs share one.

    Attributes:
        job: as the planner sees it.
        command: program and arguments.
        checkpoint: how it saves; None where it cannot.
        cpus, gpus, nodes: of the scheduler.
        power_known: False where nobody said what it draws: its energy is then what a meter says, or not known.
        work_known: False where nobody said how long it runs: its run time is then no prediction.
    """

    job: Job
    command: tuple[str, ...]
    checkpoint: Checkpoint | None
    cpus: int
    gpus: int
    nodes: int
    power_known: bool = True
    work_known: bool = True

    @property
    def name(self) -> str:
        return self.job.name


@dataclass(frozen=True, slots=True)
class PlanRead:
    """A plan file, read.

    Attributes:
        terms: one each job of the file.
        pieces: (position in `terms`, which of its like, when and where), one each single job.
    """

    plan_id: str
    terms: tuple[Terms, ...]
    pieces: tuple[tuple[int, int, tuple[Piece, ...]], ...]


def read_plan(document: Mapping[str, Any], source: str) -> PlanRead:
    """What a plan of schema outweigh.plan/1 tells to do.

    Raises:
        UsageError: it is no such plan, it lacks what carrying it out or telling of it reads, or a job of it has no
            command.
    """
    if not isinstance(document, Mapping) or document.get("schema") != SCHEMA:
        given = document.get("schema") if isinstance(document, Mapping) else None
        raise UsageError(f"{source} is no plan of schema {SCHEMA} (it says {given!r})", _AGAIN)
    if problem := problem_in(document):
        raise UsageError(f"{source} cannot be carried out: {problem}", _AGAIN)
    try:
        terms = tuple(_terms(job) for job in document["jobs"])
        pieces = tuple(_single(position, job) for position, job in enumerate(document["jobs"]))
    except InvalidQuantity as err:
        raise UsageError(f"{source}: {err.given} is not a valid {err.quantity}", err.remedy) from err
    return PlanRead(str(document["plan_id"]), terms, tuple(one for each in pieces for one in each))


def terms_to_dict(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The jobs of a plan without their pieces, which are kept job by job."""
    return [{key: value for key, value in job.items() if key != "pieces"} for job in document["jobs"]]


def terms_of(jobs: list[dict[str, Any]]) -> tuple[Terms, ...]:
    return tuple(_terms(job) for job in jobs)


def _terms(body: Mapping[str, Any]) -> Terms:
    command = tuple(str(part) for part in body["command"])
    if not command:
        raise UsageError(
            f"job {body['name']!r} has no command", 'Add command = ["sbatch", "train.sh"] to the file of jobs'
        )
    allowed = tuple(str(site) for site in body["allowed_sites"])
    signal = str(body["checkpoint_signal"])
    job = Job(
        name=str(body["name"]),
        release=_stamp(body["release"]),
        deadline=_stamp(body["deadline"]),
        work_h=float(body["work_h"]),
        levels=tuple(Level(float(one["speed"]), float(one["power_w"])) for one in body["levels"]),
        preemptible=bool(body["preemptible"]),
        home=str(body["home"]) or allowed[0],
        sites=frozenset(allowed),
        checkpoint_h=float(body["checkpoint_h"]),
        checkpoint_kwh=float(body["checkpoint_kwh"]),
        data_gb=float(body["data_gb"]),
        count=int(body["count"]),
        run_factor=float(body.get("run_factor", 1.0)),
        power_factor=float(body.get("power_factor", 1.0)),
    )
    return Terms(
        job,
        command,
        Checkpoint(signal, float(body["checkpoint_grace_s"])) if signal else None,
        int(body["cpus"]),
        int(body["gpus"]),
        int(body["nodes"]),
        bool(body.get("power_known", True)),
        bool(body.get("work_known", True)),
    )


def _single(position: int, body: Mapping[str, Any]) -> Iterator[tuple[int, int, tuple[Piece, ...]]]:
    levels = [float(level["power_w"]) for level in body["levels"]]
    which = 0
    for _, group in groupby(body["pieces"], key=lambda piece: piece["run"]):
        each = list(group)
        pieces = tuple(_trimmed(piece, levels, to_end=not i and len(each) > 1) for i, piece in enumerate(each))
        for _ in range(int(each[0]["count"])):
            yield position, which, pieces
            which += 1
    if which != int(body["count"]):
        raise UsageError(f"job {body['name']!r} has {body['count']} like it, and the plan places {which}", _AGAIN)


def _trimmed(body: Mapping[str, Any], levels: list[float], *, to_end: bool) -> Piece:
    """A piece at the power the job has: a plan may spread a part of a step over the whole of it."""
    start, end, power_w = _stamp(body["start"]), _stamp(body["end"]), float(body["power_w"])
    if not start < end or not 0 < power_w < math.inf:
        raise UsageError(f"a piece of the plan runs from {start} to {end} at {power_w} W", _AGAIN)
    if len(levels) == 1 and power_w < levels[0] * (1 - 1e-6):
        length = (end - start) * (power_w / levels[0])
        start, end = (end - length, end) if to_end else (start, start + length)
        power_w = levels[0]
    return Piece(str(body["site"]), start, end, power_w)


def _stamp(text: str) -> datetime:
    stamp = datetime.fromisoformat(text)
    if stamp.tzinfo is None:
        raise InvalidQuantity("time", text, "give it a time zone; we keep UTC")
    return stamp.astimezone(UTC)
