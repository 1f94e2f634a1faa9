"""The roadmap: what is to be delivered, from which quarter on, and what that is thought to draw."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime

from outweigh.core.errors import InvalidQuantity
from outweigh.core.intervals import Interval
from outweigh.core.quantities import Energy

_WRITTEN = re.compile(r"(\d{4})Q([1-4])")
_FIRST, _LAST = 1970, 9998  # the calendar ends in 9999


@dataclass(frozen=True, slots=True, order=True)
class Quarter:
    """A calendar quarter in UTC.

    >>> Quarter.parse("2026Q4").next
    Quarter(year=2027, number=1)
    """

    year: int
    number: int

    @staticmethod
    def parse(text: str) -> Quarter:
        """Raises InvalidQuantity for what is not written "2026Q4"."""
        match = _WRITTEN.fullmatch(text)
        if not match or not _FIRST <= int(match[1]) <= _LAST:
            raise InvalidQuantity("quarter", repr(text), "write year and quarter, such as '2026Q4'")
        return Quarter(int(match[1]), int(match[2]))

    @property
    def next(self) -> Quarter:
        return Quarter(self.year + 1, 1) if self.number == 4 else Quarter(self.year, self.number + 1)

    @property
    def interval(self) -> Interval:
        return Interval(self._start, self.next._start)

    @property
    def _start(self) -> datetime:
        return datetime(self.year, 3 * self.number - 2, 1, tzinfo=UTC)

    def __str__(self) -> str:
        return f"{self.year}Q{self.number}"


@dataclass(frozen=True, slots=True)
class Planned:
    """What somebody expects of a feature before anything was measured. Grade D, whoever says so.

    Attributes:
        energy_per_unit: IT energy per functional unit, hum included, as receipts have it.
        source: where the figure comes from.
        quality: of the project's primary metric; None where nobody said.
        p95_ms: latency of single units [ms]; None where nobody said.
    """

    energy_per_unit: Energy
    source: str
    quality: float | None = None
    p95_ms: float | None = None

    def __post_init__(self) -> None:
        if not self.energy_per_unit.joules > 0:
            raise InvalidQuantity("planned energy per unit", repr(self.energy_per_unit), "nothing runs on nothing")
        if not self.source.strip():
            raise InvalidQuantity("source", repr(self.source), "say where the planned figure comes from")


@dataclass(frozen=True, slots=True)
class Feature:
    """One entry of the roadmap: from `quarter` on, until a later entry of the same feature takes its place.

    Attributes:
        volume_per_month: functional units a month; 0 ends the feature.
        variant: the variant that delivers it, or "" while there is none.
        planned: what it was thought to draw; kept when it ships, to be held against what was measured.
        budget: name of the line it draws, or "".
    """

    feature: str
    quarter: Quarter
    volume_per_month: float
    variant: str = ""
    planned: Planned | None = None
    budget: str = ""

    def __post_init__(self) -> None:
        if not self.feature.strip():
            raise InvalidQuantity("feature", repr(self.feature), "give it a name")
        if self.volume_per_month > 0 and not self.variant and self.planned is None:
            raise InvalidQuantity(
                "roadmap entry", self.feature, "name a variant, or say what energy_per_unit is expected, and its source"
            )
