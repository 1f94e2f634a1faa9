"""Half-open time intervals in UTC, and confidence bounds on a number."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from outweigh.core.errors import InvalidQuantity


@dataclass(frozen=True, slots=True, order=True)
class Interval:
    """Time from `start` up to but not including `end`, both timezone-aware; stored as UTC.

    >>> from datetime import datetime, UTC
    >>> Interval(datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC)).seconds
    86400.0
    """

    start: datetime
    end: datetime

    def __post_init__(self) -> None:
        for name, stamp in (("start", self.start), ("end", self.end)):
            if stamp.tzinfo is None:
                raise InvalidQuantity(f"interval {name}", repr(stamp), "give it a time zone; we keep UTC")
            object.__setattr__(self, name, stamp.astimezone(UTC))
        if self.end < self.start:
            raise InvalidQuantity("interval", f"[{self.start}, {self.end})", "it ends before it starts")

    @classmethod
    def starting(cls, start: datetime, seconds: float) -> Interval:
        return cls(start, start + timedelta(seconds=seconds))

    @property
    def seconds(self) -> float:
        return (self.end - self.start).total_seconds()

    def contains(self, stamp: datetime) -> bool:
        return self.start <= stamp < self.end

    def overlap_s(self, other: Interval) -> float:
        """Seconds that both intervals cover; 0 when they only touch."""
        return max(0.0, (min(self.end, other.end) - max(self.start, other.start)).total_seconds())


@dataclass(frozen=True, slots=True)
class Bounds:
    """A confidence interval `[low, high]` in the unit of the estimate it stands beside.

    `confidence` is two-sided coverage. A one-sided bound at 95 % is one end of `confidence = 0.90`.
    Infinite ends are allowed: they say that the data do not bound the number on that side.
    """

    low: float
    high: float
    confidence: float = 0.95

    def __post_init__(self) -> None:
        if math.isnan(self.low) or math.isnan(self.high) or self.low > self.high:
            raise InvalidQuantity("bounds", f"[{self.low}, {self.high}]", "low must not exceed high, nor be NaN")
        if not 0 < self.confidence < 1:
            raise InvalidQuantity("confidence", repr(self.confidence), "give it as a fraction between 0 and 1")

    @property
    def half_width(self) -> float:
        return (self.high - self.low) / 2

    def contains(self, value: float) -> bool:
        return self.low <= value <= self.high


@dataclass(frozen=True, slots=True)
class Estimate:
    """A point estimate with its bounds; dimensionless or in the unit its field name carries."""

    value: float
    bounds: Bounds
