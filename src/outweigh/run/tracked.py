"""One job that is being carried out: its plan in force, what was seen of it, and what came of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from outweigh.core.jobs import JobState, JobStatus
from outweigh.run.statuses import from_dict, to_dict
from outweigh.run.terms import S_PER_HOUR, Piece, Terms


class Stage(StrEnum):
    """How far a job is, to its supervisor."""

    KEPT = "kept"  # not asked of the executor yet, or to be asked again
    ASKED = "asked"
    OVER = "over"


class Fate(StrEnum):
    """How it ended."""

    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    LOST = "lost"  # it had begun, and nobody can tell how it ended; it is not run a second time
    REFUSED = "refused"  # the executor would not have it
    PAST = "past"  # its deadline was over before it was followed; it was not started


@dataclass(slots=True, eq=False)
class Tracked:
    """Mutable: the supervisor's picture of one job. Times are plan time.

    Attributes:
        key: to the executor. position: of its terms in the plan file. which: of its like.
        pieces: the plan in force. first: the plan it began with, which it is held against.
        seen: what the executor said last.
        seen_over: it was said to have ended otherwise than well; believed when said twice.
        missing: how often in a row it was not among those observed.
        sighted: when it was last among them; kept when something else of it is.
        fate: once it is over.
        cannot: what was refused for it and is not asked again ("pause", "move", "hold").
        wait_until: nothing is asked of it before; after a refusal.
        vain: refusals in a row.
        asked_begin: what its begin was last set to. asked_at: when it was last let go at once; not kept.
        receipt: its body, written down before it is appended. address: in the ledger, once it is there.
        notes: what a person should know, in sentences.
        changed: differs from what the database has.
    """

    key: str
    terms: Terms
    position: int
    which: int
    pieces: tuple[Piece, ...]
    first: tuple[Piece, ...]
    stage: Stage = Stage.KEPT
    seen: JobStatus | None = None
    seen_over: bool = False
    missing: int = 0
    sighted: datetime | None = None
    fate: Fate | None = None
    cannot: frozenset[str] = frozenset()
    wait_until: datetime | None = None
    vain: int = 0
    asked_begin: datetime | None = None
    asked_at: datetime | None = None
    receipt: dict[str, Any] | None = None
    address: str = ""
    notes: tuple[str, ...] = ()
    changed: bool = field(default=False, compare=False)

    @property
    def name(self) -> str:
        """For people: like jobs are numbered."""
        return self.terms.name if self.terms.job.count == 1 else f"{self.terms.name}-{self.which + 1}"

    @property
    def deadline(self) -> datetime:
        return self.terms.job.deadline

    @property
    def release(self) -> datetime:
        """It is not started before, whatever its deadline says."""
        return self.terms.job.release

    @property
    def begun(self) -> bool:
        """Whether it was ever seen to work."""
        return self.seen is not None and bool(self.seen.stints or self.seen.started)

    @property
    def state(self) -> JobState | None:
        return None if self.seen is None else self.seen.state

    @property
    def site(self) -> str:
        """Where it is to run next, by its plan."""
        return self.pieces[0].site

    def needs_s(self) -> float:
        """Run time its plan gives it in all, resumptions included [s]."""
        job = self.terms.job
        if len(job.levels) > 1:
            return sum(piece.seconds for piece in self.first)
        gaps = sum(one.end < two.start for one, two in zip(self.first, self.first[1:], strict=False))
        return (job.work_h / job.levels[0].speed + gaps * job.checkpoint_h) * S_PER_HOUR

    def left_s(self, now: datetime) -> float:
        """Run time that is left, as far as its time at work tells [s]; restoring after a pause is on top."""
        left = max(self.needs_s() - self._behind_s(now), 0.0)
        return left + (self.terms.job.checkpoint_h * S_PER_HOUR if self.begun and not self.works else 0.0)

    def _behind_s(self, now: datetime) -> float:
        """Time at work that counts [s]. What waits again was put back by its scheduler, and nobody can tell what it
        kept; what cannot save begins anew with each stint."""
        if self.seen is None or self.seen.state in (JobState.WAITING, JobState.HELD):
            return 0.0
        if self.terms.job.preemptible or len(self.seen.stints) < 2:
            return self.seen.worked_s(now)
        last = self.seen.stints[-1]
        return ((last.end or now) - last.start).total_seconds()

    @property
    def works(self) -> bool:
        return self.seen is not None and self.seen.state.draws

    def latest_start(self, now: datetime, guard_s: float) -> datetime:
        """When it must run from now on, to be done by its deadline with this much to spare."""
        return self.deadline - timedelta(seconds=self.left_s(now) + guard_s)

    def short_s(self, now: datetime) -> float:
        """By how much it will be late if it starts as soon as it may [s]; below 0 where it need not be."""
        return self.left_s(now) - (self.deadline - max(now, self.release)).total_seconds()

    def next_piece(self, now: datetime) -> Piece:
        """The piece that is on at `now`, or comes next; the last one where all are over."""
        for piece in self.pieces:
            if piece.end > now:
                return piece
        return self.pieces[-1]

    def power_w(self) -> float:
        """Mean IT power of its plan [W]."""
        seconds = sum(piece.seconds for piece in self.pieces)
        return sum(piece.seconds * piece.power_w for piece in self.pieces) / seconds

    def end_planned(self) -> datetime:
        return self.pieces[-1].end

    def say(self, note: str) -> bool:
        """Add a note, once; whether it is new."""
        if note in self.notes:
            return False
        self.notes, self.changed = (*self.notes, note), True
        return True

    def to_text(self) -> str:
        """Its row in the database."""
        body = {
            "position": self.position,
            "which": self.which,
            "pieces": _pieces_to(self.pieces),
            "first": None if self.first is self.pieces else _pieces_to(self.first),
            "stage": self.stage.value,
            "seen": None if self.seen is None else to_dict(self.seen),
            "seen_over": self.seen_over,
            "sighted": None if self.sighted is None else self.sighted.isoformat(),
            "fate": None if self.fate is None else self.fate.value,
            "cannot": sorted(self.cannot),
            "asked_begin": None if self.asked_begin is None else self.asked_begin.isoformat(),
            "receipt": self.receipt,
            "address": self.address,
            "notes": list(self.notes),
        }
        return json.dumps(body, ensure_ascii=False, allow_nan=False, separators=(",", ":"))

    @classmethod
    def from_text(cls, key: str, text: str, terms: tuple[Terms, ...]) -> Tracked:
        body: Mapping[str, Any] = json.loads(text)
        pieces = _pieces_from(body["pieces"])
        return cls(
            key=key,
            terms=terms[body["position"]],
            position=body["position"],
            which=body["which"],
            pieces=pieces,
            first=pieces if body["first"] is None else _pieces_from(body["first"]),
            stage=Stage(body["stage"]),
            seen=None if body["seen"] is None else from_dict(body["seen"]),
            seen_over=body["seen_over"],
            sighted=None if body.get("sighted") is None else datetime.fromisoformat(body["sighted"]),
            fate=None if body["fate"] is None else Fate(body["fate"]),
            cannot=frozenset(body["cannot"]),
            asked_begin=None if body["asked_begin"] is None else datetime.fromisoformat(body["asked_begin"]),
            receipt=body["receipt"],
            address=body["address"],
            notes=tuple(body["notes"]),
        )


def _pieces_to(pieces: tuple[Piece, ...]) -> list[list[Any]]:
    return [[p.site, p.start.isoformat(), p.end.isoformat(), p.power_w] for p in pieces]


def _pieces_from(body: list[list[Any]]) -> tuple[Piece, ...]:
    return tuple(
        Piece(site, datetime.fromisoformat(start), datetime.fromisoformat(end), power_w)
        for site, start, end, power_w in body
    )
