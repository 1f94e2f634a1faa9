"""A part's result with what the power analysis needs to know about it."""

from __future__ import annotations

from dataclasses import dataclass

from outweigh.core.verdict import Outcome, PartResult
from outweigh.gate.power import Spread
from outweigh.gate.tails import Tails

NO_SPREAD = Spread()


@dataclass(frozen=True, slots=True)
class Judged:
    """`gap` is the distance of the estimate to the threshold on the scale on which `spread` is the variance."""

    part: PartResult
    gap: float = 0.0
    spread: Spread = NO_SPREAD


def from_tails(
    name: str, subject: str, tails: Tails, explanation: str, spread: Spread, *, gap: float | None = None,
    binding: bool = True,
) -> Judged:  # fmt: skip
    """The result of a part that comes down to one test."""
    return Judged(
        PartResult(
            part=name,
            subject=subject,
            outcome=tails.outcome,
            statistic=tails.estimate,
            bounds=tails.bounds,
            threshold=tails.threshold,
            unit=tails.unit,
            distance=tails.distance,
            p_hold=tails.p_good,
            p_refute=tails.p_bad,
            binding=binding,
            explanation=explanation,
        ),
        tails.gap if gap is None else gap,
        spread,
    )


def not_binding(name: str, explanation: str, subject: str = "") -> Judged:
    """A part that asks nothing of this proposal."""
    return Judged(PartResult(name, subject, Outcome.PASS, None, None, None, "1", None, None, None, False, explanation))


def cannot_tell(name: str, explanation: str, subject: str = "") -> Judged:
    """A part that binds and has nothing to go by yet; the explanation says what to do."""
    return Judged(
        PartResult(name, subject, Outcome.INCONCLUSIVE, None, None, None, "1", None, None, None, True, explanation)
    )
