"""A plan that is carried out, as the ledger's database keeps it: the plan, the clock, the vintage in force."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from outweigh.core.errors import LedgerError
from outweigh.ports import KeepsFollowings
from outweigh.run.rates import Rates
from outweigh.run.terms import Terms, read_plan, terms_of, terms_to_dict
from outweigh.run.tracked import Tracked

SCHEMA: Final = "outweigh.following/1"
_MOST_SAID: Final = 200
_ID: Final = 20


@dataclass(slots=True, eq=False)
class Following:
    """Mutable: what is followed beside its jobs.

    Attributes:
        document: the plan, without pieces. terms: of its jobs.
        on: the executor as it was typed.
        clock: as `PlanClock.to_dict` gives it.
        rates: vintage in force. first_rates: those the plan was made on.
        project, phase: its receipts are booked on.
        cwd: where jobs run.
        names_sites: whether the executor has places of the plan's names.
        cancelled: its jobs are to be ended.
        refuse_past: jobs whose deadline is over have still to be sorted out.
        said: what happened, last at the end; old lines go.
        changed: differs from what the database has.
    """

    id: str
    document: dict[str, Any]
    terms: tuple[Terms, ...]
    on: str
    clock: dict[str, Any]
    rates: Rates
    first_rates: Rates
    project: str
    phase: str
    cwd: str = ""
    names_sites: bool = True
    refuse_past: bool = True
    replans: int = 0
    cancelled: bool = False
    said: list[str] = field(default_factory=list)
    changed: bool = False

    def say(self, text: str) -> None:
        self.said = [*self.said[-_MOST_SAID:], text]
        self.changed = True

    def to_text(self) -> str:
        body = {
            "schema": SCHEMA,
            "document": self.document,
            "on": self.on,
            "clock": self.clock,
            "rates": self.rates.to_dict(),
            "first_rates": None if self.first_rates is self.rates else self.first_rates.to_dict(),
            "project": self.project,
            "phase": self.phase,
            "cwd": self.cwd,
            "names_sites": self.names_sites,
            "refuse_past": self.refuse_past,
            "replans": self.replans,
            "cancelled": self.cancelled,
            "said": self.said,
        }
        return json.dumps(body, ensure_ascii=False, allow_nan=False, separators=(",", ":"))

    @classmethod
    def from_text(cls, following: str, text: str) -> Following:
        body = json.loads(text)
        if body.get("schema") != SCHEMA:
            raise LedgerError(
                following[:12], f"it follows a plan in a form we do not know ({body.get('schema')!r})",
                "Upgrade outweigh: pip install --upgrade outweigh",
            )  # fmt: skip
        rates = Rates.from_dict(body["rates"])
        return cls(
            following, body["document"], terms_of(body["document"]["jobs"]), body["on"], body["clock"], rates,
            rates if body["first_rates"] is None else Rates.from_dict(body["first_rates"]), body["project"],
            body["phase"], body["cwd"], body["names_sites"], body["refuse_past"], body["replans"],
            body.get("cancelled", False), body["said"],
        )  # fmt: skip

    @classmethod
    def read(cls, keeper: KeepsFollowings, following: str) -> tuple[Following, dict[str, Tracked]]:
        """It and its jobs, as they were written last. Raises UsageError where there is none of that id."""
        body, jobs = keeper.followed(following)
        found = cls.from_text(following, body)
        return found, {key: Tracked.from_text(key, text, found.terms) for key, text in jobs.items()}


def is_followed(keeper: KeepsFollowings, document: Mapping[str, Any], on: str, factor: float) -> bool:
    """Whether this plan is on its way on this executor, on a clock that is so many times as fast."""
    return _name(str(document.get("plan_id")), on, factor, 0) in {each for each, _ in keeper.followings()}


def _name(plan_id: str, on: str, factor: float, round_: int) -> str:
    # What was tried on a fast clock has not been run.
    trial = "" if factor == 1 else f" x{factor!r}"
    return hashlib.sha256(f"{plan_id} {on} {round_}{trial}".encode()).hexdigest()[:_ID]


def begin(
    keeper: KeepsFollowings,
    document: Mapping[str, Any],
    source: str,
    *,
    on: str,
    clock: Mapping[str, Any],
    project: str,
    phase: str,
    cwd: str = "",
    names_sites: bool = True,
    again: bool = False,
    taken: Callable[[str], bool] = lambda _: False,
) -> tuple[str, bool]:
    """Begin to follow a plan, or go on with it: the same plan on the same executor and clock is one following.

    Args:
        source: what messages call the plan.
        again: follow it once more where it was followed to its end, here or in another ledger.
        taken: whether the executor has a job of that key.

    Returns:
        Id of the following, and whether it is new.

    Raises:
        UsageError: see `read_plan`.
    """
    plan = read_plan(document, source)
    rates = Rates.of_plan(document)
    known = {each for each, _ in keeper.followings()} if again else set()
    over = {each for each, _ in keeper.followings(over=True)} if again else set()
    round_ = 0
    name = _name(plan.plan_id, on, clock["factor"], round_)
    while again and (name in over if name in known else taken(f"{name}-0")):
        round_ += 1
        name = _name(plan.plan_id, on, clock["factor"], round_)
    following = Following(
        name, {**{k: v for k, v in document.items() if k != "frontier"}, "jobs": terms_to_dict(document)},
        plan.terms, on, dict(clock), rates, rates, project, phase, cwd, names_sites,
    )  # fmt: skip
    jobs = {}
    for number, (position, which, pieces) in enumerate(plan.pieces):
        key = f"{name}-{number}"
        jobs[key] = Tracked(key, plan.terms[position], position, which, pieces, pieces).to_text()
    return name, keeper.follow(name, following.to_text(), jobs)
