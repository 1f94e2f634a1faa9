"""Budgets: limits on energy, drawn down by receipts."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from outweigh.core.constants import S_PER_DAY, S_PER_MONTH, S_PER_YEAR
from outweigh.core.errors import InvalidQuantity
from outweigh.core.intervals import Interval
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

    def containing(self, now: datetime) -> Interval:
        """The calendar period in UTC that `now` falls in; weeks begin on Monday.

        >>> Period.QUARTER.containing(datetime(2026, 11, 23, tzinfo=UTC)).start.isoformat()
        '2026-10-01T00:00:00+00:00'
        """
        day = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        if self is Period.DAY:
            return Interval(day, day + timedelta(days=1))
        if self is Period.WEEK:
            monday = day - timedelta(days=day.weekday())
            return Interval(monday, monday + timedelta(days=7))
        months = {Period.MONTH: 1, Period.QUARTER: 3, Period.YEAR: 12}[self]
        first = (day.month - 1) // months * months
        start = day.replace(month=first + 1, day=1)
        end_year, end_month = divmod(first + months, 12)
        return Interval(start, start.replace(year=start.year + end_year, month=end_month + 1))


@dataclass(frozen=True, slots=True)
class BudgetChange:
    """A dated entry that sets limits anew from an instant on; a limit it does not name stays. Never an edit.

    Attributes:
        since: when it comes into force.
        reason, owner: why, and who says so; both are required.
    """

    since: datetime
    reason: str
    owner: str
    per_unit: Energy | None = None
    total: Energy | None = None
    hum: Power | None = None

    def __post_init__(self) -> None:
        if not self.reason.strip() or not self.owner.strip():
            raise InvalidQuantity("budget change", self.since.date().isoformat(), "give it a reason and an owner")
        if self.since.tzinfo is None:
            raise InvalidQuantity("budget change", repr(self.since), "give it a time zone; we keep UTC")


@dataclass(frozen=True, slots=True)
class Budget:
    """One budget line. At least one of the three limits is set.

    Attributes:
        per_unit: limit on facility energy per functional unit.
        total: limit on energy per `period`.
        hum: limit on the idle draw.
        warn_at: fraction of the limit at which status turns to a warning, in (0, 1].
        parent: name of the line this one is a part of, or "": what is drawn here is drawn there too.
        changes: dated entries, in any order; `at` gives the line as it stood at a time.
    """

    name: str
    phase: Phase
    per_unit: Energy | None = None
    total: Energy | None = None
    period: Period | None = None
    hum: Power | None = None
    warn_at: float = 0.8
    owner: str = ""
    parent: str = ""
    changes: tuple[BudgetChange, ...] = ()

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

    def at(self, when: datetime) -> Budget:
        """The line with the limits in force at `when`."""
        line = self
        for change in sorted(self.changes, key=lambda one: one.since):
            if change.since <= when:
                line = replace(
                    line,
                    per_unit=change.per_unit if change.per_unit is not None else line.per_unit,
                    total=change.total if change.total is not None else line.total,
                    hum=change.hum if change.hum is not None else line.hum,
                )
        return line
