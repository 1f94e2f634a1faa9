"""What to ask of an executor for one job now: its plan, unless its deadline says otherwise."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from outweigh.core.errors import InvalidQuantity
from outweigh.core.following import StepKind
from outweigh.core.jobs import Ability, JobState
from outweigh.run.tracked import Stage, Tracked

_AT_ONCE: Final = timedelta(seconds=1)
_HOUR_S: Final = 3600.0
_LONGEST_CYCLE_S: Final = 86_400.0
_PATIENCE_S, _MOST_PATIENCE_S, _MOST_DOUBLINGS = 10.0, 600.0, 6


@dataclass(frozen=True, slots=True)
class Rules:
    """How a plan is followed. Times in plan seconds, unless said otherwise.

    Attributes:
        guard_s: a job is started so long before the last moment that its deadline leaves.
        guard_share: and by this share of the run time that is left.
        lead_s: a begin time that is given to a scheduler keeps so much before the last moment, should nobody watch.
        slip_s: later than planned by more than this is late, and the rest is planned again.
        hysteresis: share of what is planned that a new plan must save to take its place.
        replan_s: least time between two plans.
        look_s: how often prices and carbon are looked up again.
        stale_s: when they could not be for so long, what waits is run now.
        every_s: wall seconds between two cycles.
        ttl_s: wall seconds after which a leader that wrote nothing may be replaced.
        misses: so often in a row a job may be absent from what an executor shows before that is believed.
    """

    guard_s: float = 120.0
    guard_share: float = 0.02
    lead_s: float = 120.0
    slip_s: float = 900.0
    hysteresis: float = 0.01
    replan_s: float = 900.0
    look_s: float = 900.0
    stale_s: float = 48 * _HOUR_S
    every_s: float = 5.0
    ttl_s: float = 60.0
    misses: int = 3

    def __post_init__(self) -> None:
        for name in (
            "guard_s",
            "guard_share",
            "lead_s",
            "slip_s",
            "hysteresis",
            "replan_s",
            "look_s",
            "stale_s",
            "ttl_s",
        ):
            if not 0 <= getattr(self, name) < float("inf"):
                raise InvalidQuantity(name, str(getattr(self, name)), "give 0 or more")
        if not 0 < self.every_s <= _LONGEST_CYCLE_S:
            raise InvalidQuantity(
                "time between two cycles", f"{self.every_s} s", "give more than 0 seconds and up to a day (86400)"
            )


@dataclass(frozen=True, slots=True)
class Wanted:
    """A step that is to be taken. `begin` is plan time; None is at once."""

    kind: StepKind
    site: str = ""
    begin: datetime | None = None
    hold: bool = False


def must_run(job: Tracked, now: datetime, rules: Rules) -> bool:
    """Whether its deadline leaves no time to wait. Before its release there is nothing to run yet."""
    return now >= max(job.latest_start(now, rules.guard_s + rules.guard_share * job.left_s(now)), job.release)


def is_late(job: Tracked, now: datetime, rules: Rules) -> bool:
    """Whether it runs later than planned, by more than a slip."""
    limit = timedelta(seconds=rules.slip_s)
    if job.works:
        ends = now + timedelta(seconds=job.left_s(now))
        return ends > job.end_planned() + limit and (len(job.pieces) == 1 or now > job.end_planned())
    return job.next_piece(now).start + limit < now and now >= job.pieces[0].start + limit


def patience_s(job: Tracked, now: datetime, rules: Rules, second: float) -> float:
    """How long a job is left alone after its last refusal, `job.vain` in a row [plan s]: twice as long after each.

    While its deadline leaves no time to wait that is a quarter of the guard at most, for the guard is there to be used;
    once it is over, as long as ever.

    Args:
        second: plan time of a wall second [s].
    """
    patience = second * min(_PATIENCE_S * 2.0 ** min(job.vain - 1, _MOST_DOUBLINGS), _MOST_PATIENCE_S)
    return min(patience, rules.guard_s / 4) if job.deadline > now and must_run(job, now, rules) else patience


def decide(job: Tracked, now: datetime, can: frozenset[Ability], rules: Rules) -> list[Wanted]:
    """The steps to take for a job at `now` [plan time], in order; mostly none.

    Its plan says when and where. It is not waited for when that would cost the deadline: what must run runs, wherever
    it is. A pause that leaves too little time for itself is not made.
    """
    if job.stage is Stage.OVER or (job.wait_until is not None and now < job.wait_until):
        return []
    piece = job.next_piece(now)
    latest = job.latest_start(now, rules.lead_s + rules.guard_share * job.left_s(now))
    begin = max(min(piece.start, latest), job.release)
    due = now >= job.release and (begin <= now + _AT_ONCE or must_run(job, now, rules))
    if job.stage is Stage.KEPT:
        return _asking(job, piece.site, None if due else begin, can)
    if job.seen is None:
        return []  # asked, and the answer is not known: the next look tells
    state = job.seen.state
    if state in (JobState.HELD, JobState.WAITING):
        return _waiting(job, piece.site, None if due else begin, now, can)
    if state is JobState.RUNNING:
        return _running(job, now, can, rules)
    if state is JobState.PAUSED and due:
        moving = _moving(job, piece.site, Ability.MOVE_PAUSED, can)
        return [*moving, Wanted(StepKind.RESUME, piece.site)]
    return []


def cancelling(job: Tracked, now: datetime) -> list[Wanted]:
    """The step to take for a job that is to be ended; asked again with patience, for it may take its time."""
    waits = job.wait_until is not None and now < job.wait_until
    asked = job.stage is Stage.ASKED and job.seen is not None and not job.seen.state.over
    return [Wanted(StepKind.CANCEL)] if asked and not waits else []


def _asking(job: Tracked, site: str, begin: datetime | None, can: frozenset[Ability]) -> list[Wanted]:
    if begin is None:
        return [Wanted(StepKind.SUBMIT, site)]
    if "hold" in job.cannot:
        return []  # kept back here until it is due
    if Ability.BEGIN in can:
        # The scheduler keeps the time by itself, so the job starts even if nobody watches any more.
        return [Wanted(StepKind.SUBMIT, site, begin)]
    return [Wanted(StepKind.SUBMIT, site, hold=True)] if Ability.HOLD in can else []


def _waiting(job: Tracked, site: str, begin: datetime | None, now: datetime, can: frozenset[Ability]) -> list[Wanted]:
    assert job.seen is not None
    moving = _moving(job, site, Ability.MOVE_WAITING, can)
    if job.seen.state is JobState.HELD:
        if begin is None:
            return [*moving, Wanted(StepKind.RELEASE, site)]
        return [*moving, Wanted(StepKind.RELEASE, site, begin)] if Ability.BEGIN in can else moving
    if Ability.BEGIN not in can:
        return moving
    set_to = job.seen.begin
    if begin is None:
        late = set_to is not None and set_to > now + _AT_ONCE
        return [*moving, Wanted(StepKind.RELEASE, site)] if late else moving
    # Held against what was asked, not what is shown: a scheduler rounds to seconds, and would be asked for ever.
    off = job.asked_begin is None or abs(job.asked_begin - begin) > _AT_ONCE
    return [*moving, Wanted(StepKind.RELEASE, site, begin)] if off else moving


def _moving(job: Tracked, site: str, ability: Ability, can: frozenset[Ability]) -> list[Wanted]:
    assert job.seen is not None
    other = bool(site) and job.seen.site != site and job.seen.site != ""
    return [Wanted(StepKind.MOVE, site)] if other and ability in can and "move" not in job.cannot else []


def _running(job: Tracked, now: datetime, can: frozenset[Ability], rules: Rules) -> list[Wanted]:
    if not job.terms.job.preemptible or Ability.PAUSE not in can or "pause" in job.cannot:
        return []
    following = next((piece for piece in job.pieces if piece.start > now), None)
    if following is None or any(piece.start <= now < piece.end for piece in job.pieces):
        return []
    gap_s = (following.start - now).total_seconds()
    restoring_s = job.terms.job.checkpoint_h * _HOUR_S
    left_s = job.left_s(now) + restoring_s
    spare_s = (job.deadline - following.start).total_seconds() - left_s * (1 + rules.guard_share) - rules.guard_s
    # What is nearly done is let end: saving and restoring would take longer than the rest.
    worth = gap_s > max(restoring_s, rules.guard_s) and left_s > 2 * restoring_s + rules.guard_s
    return [Wanted(StepKind.PAUSE)] if worth and spare_s >= 0 else []
