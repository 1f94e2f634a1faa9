"""Plans and verdicts that are sent in: looked over at the door, kept as what they say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from outweigh.core.errors import UsageError

PLAN, VERDICT = "plan", "verdict"


@dataclass(frozen=True, slots=True)
class Known:
    """What a document says of itself: its id, and the project it belongs to ("" where it names none)."""

    id: str
    project: str


def looked_over(kind: str, body: Mapping[str, Any]) -> Known:
    """Raises UsageError for what is no whole review (review.json), or no sound plan (plan.json)."""
    return _verdict(body) if kind == VERDICT else _plan(body)


def _verdict(body: Mapping[str, Any]) -> Known:
    from outweigh.report.checking import trouble_with

    remedy = "Send the review.json that `outweigh review` or `outweigh gate` wrote"
    if body.get("kind") != "outweigh.review" or body.get("schema") != 1:
        raise UsageError("it is no review of schema 1", remedy)
    if trouble := trouble_with(body):
        raise UsageError(f"it is no whole review: {trouble}", remedy)
    return Known(str(body["review_id"]), str(body["project"]["name"]))


def _plan(body: Mapping[str, Any]) -> Known:
    from outweigh.plan.plancheck import faults

    if found := faults(body, "it"):
        raise UsageError(
            f"the plan is not sound: {'; '.join(found)[:1000]}", "Send the file that `outweigh plan` wrote"
        )
    return Known(str(body["plan_id"]), "")
