"""Budgets: limits on energy, drawn down by receipts."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from outweigh.core.constants import S_PER_DAY, S_PER_MONTH, S_PER_YEAR
from outweigh.core.errors import InvalidQuantity
from outweigh.core.quantities import Energy, Power


class Phase(StrEnum):
    """What a run was for. A published model family spent 82 % of its energy on development."""

    DEVELOPMENT = "development"
    TRAINING = "training"
    INFERENCE = "inference"
    IDLE = "idle"


class Period(StrEnum):
    DAY = "day"
    WEEK = "week"
    MONTH = "month"
    QUARTER = "quarter"
    YEAR = "year"

    @property
    def seconds(self) -> float:
        """Mean length [s]; a month is a twelfth of the Gregorian year."""
        return {
            Period.DAY: S_PER_DAY,
            Period.WEEK: 7 * S_PER_DAY,
            Period.MONTH: S_PER_MONTH,
            Period.QUARTER: 3 * S_PER_MONTH,
            Period.YEAR: S_PER_YEAR,
        }[self]


@dataclass(frozen=True, slots=True)
class Budget:
    """One budget line. At least one of the three limits is set.

    Attributes:
        per_unit: limit on facility energy per functional unit.
        total: limit on energy per `period`.
        hum: limit on the idle draw.
        warn_at: fraction of the limit at which status turns to a warning, in (0, 1].
    """

    name: str
    phase: Phase
    per_unit: Energy | None = None
    total: Energy | None = None
    period: Period | None = None
    hum: Power | None = None
    warn_at: float = 0.8
    owner: str = ""

    def __post_init__(self) -> None:
        if self.per_unit is None and self.total is None and self.hum is None:
            raise InvalidQuantity("budget", self.name, "set per_unit, total or limit")
        limits = [e.joules for e in (self.per_unit, self.total) if e is not None]
        limits += [self.hum.watts] if self.hum is not None else []
        if any(limit < 0 for limit in limits):
            raise InvalidQuantity("budget limit", f"{min(limits)}", "a limit is not negative")
        if (self.total is None) != (self.period is None):
            raise InvalidQuantity("budget", self.name, "a total needs a period, and a period a total")
        if not 0 < self.warn_at <= 1:
            raise InvalidQuantity("warn_at", repr(self.warn_at), "give it as a share between 0 and 1 (80%)")
