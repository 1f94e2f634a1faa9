"""A plan that is being followed: who leads it, and the steps taken for it, each written down before it is taken."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class StepKind(StrEnum):
    """What a supervisor asks of an executor."""

    SUBMIT = "submit"
    RELEASE = "release"
    MOVE = "move"
    PAUSE = "pause"
    RESUME = "resume"
    CANCEL = "cancel"


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to lead a following until it expires.

    Attributes:
        following: its id.
        holder: who has it, in words that tell one process from any other.
        fence: grows with every change of the leader; what was written under a lower one is refused.
    """

    following: str
    holder: str
    fence: int


@dataclass(frozen=True, slots=True)
class StepTaken:
    """One thing that is about to be asked of an executor, or was.

    Attributes:
        number: of the step within its following, from 1, without a gap.
        key: of the job.
        detail: site and times, as JSON.
        at: plan time, ISO 8601 in UTC.
        fence: of the lease under which it was written.
        outcome: what came of it; empty while nobody knows.
    """

    number: int
    key: str
    kind: StepKind
    detail: str
    at: str
    fence: int
    outcome: str = ""
