"""Plan time and wall time: the same, unless a day is tried in minutes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from outweigh.core.errors import InvalidQuantity

_SLOWEST: Final = 1e-3
_FASTEST: Final = 1e5


def system_now() -> datetime:
    """The system's clock, UTC."""
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class PlanClock:
    """Plan time as a straight line over wall time.

    Attributes:
        plan, wall: a moment in both; aware.
        factor: plan seconds in a wall second; 1 is the world's time.
        read: the wall clock.

    >>> day = datetime(2026, 12, 1, tzinfo=UTC)
    >>> clock = PlanClock(plan=day, wall=day + timedelta(days=9), factor=60, read=lambda: day + timedelta(days=9.1))
    >>> clock.now().isoformat()
    '2026-12-07T00:00:00+00:00'
    """

    plan: datetime
    wall: datetime
    factor: float = 1.0
    read: Callable[[], datetime] = system_now

    def __post_init__(self) -> None:
        # Beyond these a day of waiting leaves the years that a date can have.
        if not _SLOWEST <= self.factor <= _FASTEST:
            raise InvalidQuantity(
                "clock factor", str(self.factor), "give 0.001 to 100000, such as 480 for a day in 3 min"
            )

    @classmethod
    def real(cls, read: Callable[[], datetime] = system_now) -> PlanClock:
        """Plan time is wall time."""
        now = read()
        return cls(now, now, 1.0, read)

    @property
    def is_real(self) -> bool:
        return self.factor == 1.0 and self.plan == self.wall

    def now(self) -> datetime:
        """Plan time."""
        return self.to_plan(self.read())

    def to_plan(self, wall: datetime) -> datetime:
        return wall if self.is_real else self.plan + (wall - self.wall) * self.factor

    def to_wall(self, plan: datetime) -> datetime:
        return plan if self.is_real else self.wall + (plan - self.plan) / self.factor

    def wall_s(self, plan_s: float) -> float:
        """Wall seconds that so many plan seconds take."""
        return plan_s / self.factor

    def plan_s(self, wall_s: float) -> float:
        return wall_s * self.factor

    def to_dict(self) -> dict[str, Any]:
        return {"plan": self.plan.isoformat(), "wall": self.wall.isoformat(), "factor": self.factor}

    @classmethod
    def from_dict(cls, body: Mapping[str, Any], read: Callable[[], datetime] = system_now) -> PlanClock:
        plan, wall = (datetime.fromisoformat(body[name]) for name in ("plan", "wall"))
        return cls(plan, wall, float(body["factor"]), read)


def later(stamp: datetime, seconds: float) -> datetime:
    return stamp + timedelta(seconds=seconds)
