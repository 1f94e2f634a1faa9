"""What waivers make of a verdict. They change what it ends with, never what it says."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from outweigh.core.verdict import Outcome, PartResult, Verdict
from outweigh.core.waiver import Waiver


@dataclass(frozen=True, slots=True)
class Waived:
    """A verdict under the waivers there are.

    Attributes:
        applied: waivers that count for this proposal today.
        expired: waivers of this proposal that counted once.
        others: all the rest: they speak of another proposal, or of another content of this one.
        open_parts: names of the parts that did not hold and nobody excused.
    """

    verdict: Verdict
    applied: tuple[Waiver, ...]
    expired: tuple[Waiver, ...]
    open_parts: tuple[str, ...]
    others: tuple[Waiver, ...] = ()

    @property
    def waived(self) -> bool:
        """Whether the proposal may go ahead though the verdict is no pass."""
        return self.verdict.outcome is not Outcome.PASS and bool(self.applied) and not self.open_parts

    @property
    def exit_code(self) -> int:
        return 0 if self.waived else self.verdict.outcome.exit_code


def under_waivers(verdict: Verdict, content: str, waivers: Sequence[Waiver], now: datetime) -> Waived:
    """Hold waivers against a verdict.

    Args:
        content: content hash of the proposal that was weighed.
        waivers: all that are declared.
        now: a waiver counts up to, not including, its expiry.
    """
    applied = tuple(waiver for waiver in waivers if waiver.counts(now, verdict.proposal, content))
    expired = tuple(
        waiver
        for waiver in waivers
        if now >= waiver.expires and waiver.proposal == verdict.proposal and content.startswith(waiver.content)
    )
    short = [part_name(part) for part in verdict.parts if part.binding and part.outcome is not Outcome.PASS]
    still = tuple(name for name in short if not any(waiver.excuses(name) for waiver in applied))
    others = tuple(waiver for waiver in waivers if waiver not in applied and waiver not in expired)
    return Waived(verdict, applied, expired, still, others)


def part_name(part: PartResult) -> str:
    """As `decided_by` and waivers name it: "caps: serve"."""
    return f"{part.part}: {part.subject}" if part.subject else part.part


def verdict_id(verdict: Verdict, content: str) -> str:
    """SHA-256 of what a verdict rests on and says: content of the proposal, and every part with its figures."""
    said = {
        "incumbent": verdict.incumbent,
        "proposal": verdict.proposal,
        "content": content,
        "outcome": str(verdict.outcome),
        "parts": [
            (part_name(part), str(part.outcome), part.binding, part.statistic, part.threshold) for part in verdict.parts
        ],
    }
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


def waiver_to_paste(verdict: Verdict, content: str) -> str:
    """The lines of energy.toml that would waive this verdict, owner, reason and day still to be written."""
    parts = [part_name(part) for part in verdict.parts if part.binding and part.outcome is not Outcome.PASS]
    return "\n".join(
        (
            "[[waiver]]",
            f"proposal = {json.dumps(verdict.proposal)}",
            f'content  = "{content[:16]}"',
            f'verdict  = "{verdict_id(verdict, content)[:16]}"',
            f"parts    = {json.dumps(parts)}",
            'owner    = ""                # who answers for it',
            'reason   = ""',
            "expires  =                   # a day, such as 2027-01-31",
        )
    )
