"""Verdicts of the gate and of its parts."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from outweigh.core.intervals import Bounds
from outweigh.core.measurement import Grade


class Outcome(StrEnum):
    PASS = "pass"
    FAIL = "fail"
    INCONCLUSIVE = "inconclusive"

    @property
    def exit_code(self) -> int:
        return {Outcome.PASS: 0, Outcome.FAIL: 1, Outcome.INCONCLUSIVE: 5}[self]


@dataclass(frozen=True, slots=True)
class PartResult:
    """One test of the gate.

    Attributes:
        part: name of the test: proportion, caps, guards, necessity, anchor, gain or value.
        subject: what it was applied to (a budget line, a guard metric, an alternative), or "".
        outcome: of this test alone, at the gate's confidence, before any correction.
        statistic: point estimate of the tested quantity.
        bounds: one-sided bounds at the gate's confidence, as a two-sided interval of 2c - 1.
        threshold: what the statistic is held against.
        unit: of statistic, bounds and threshold; "1" when dimensionless.
        distance: how far the deciding bound is from the threshold, signed: positive is on the passing side.
        p_hold: p-value against "the part does not hold": small means shown to hold.
        p_refute: p-value against "the part holds": small means refuted.
        binding: False when the test does not apply (no alternative needed, no money declared).
        explanation: one sentence a person can act on.
    """

    part: str
    subject: str
    outcome: Outcome
    statistic: float | None
    bounds: Bounds | None
    threshold: float | None
    unit: str
    distance: float | None
    p_hold: float | None
    p_refute: float | None
    binding: bool
    explanation: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the gate says, what decided it, and what would change it.

    Attributes:
        provisional: True when the evidence is of grade C or D; every output says so.
        min_grade: the grade below which the verdict may not block a merge.
        may_block: whether the evidence reaches `min_grade` in an enforcing gate.
        decided_by: the part that decided, as "part" or "part: subject".
        distance: how far away that part was, in its own unit.
        items_needed / rounds_needed: how many more evaluation items or interleaved rounds would settle an
            inconclusive verdict if the estimates stay as they are; None when none would or none is needed.
        cheapest_pass: name of the cheapest measured variant that meets the rule, or "".
        advice: the next command or step.
    """

    outcome: Outcome
    provisional: bool
    grade: Grade
    min_grade: Grade
    may_block: bool
    incumbent: str
    proposal: str
    confidence: float
    eta: float
    parts: tuple[PartResult, ...]
    decided_by: str
    distance: float | None
    items_needed: int | None
    rounds_needed: int | None
    cheapest_pass: str
    advice: str
