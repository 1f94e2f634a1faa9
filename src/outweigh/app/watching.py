"""Sources as a plan asks them: what is to come first by their forecast, and noted where that can be replayed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar, Self

from outweigh.core.errors import FactorMissing, GapsTooLarge, GridUnavailable
from outweigh.core.intervals import Interval
from outweigh.core.series import CarbonMeaning, CarbonSeries, PriceSeries
from outweigh.grid import open_source
from outweigh.grid.archive import Archive, digest_of
from outweigh.grid.vintages import Noted, noted
from outweigh.ports import Availability, GridSource, Offer, SourceLimits

_WITHOUT = (FactorMissing, GridUnavailable, GapsTooLarge)


class Watched:
    """A source that a plan is made on.

    For a window that is not over, its forecast is asked for, and what it says of that time otherwise only where the
    forecast has more gaps. Every answer is noted where it comes from an archive, or is to be kept in one.

    Args:
        now: the present.
        into: archive that answers are kept in; None keeps none.
    """

    name: ClassVar[str] = "watched"

    def __init__(self, source: GridSource, now: datetime, into: Archive | None = None) -> None:
        self._now = now
        self.noted: Noted | None = noted(source, into)
        self._source: GridSource | Noted = self.noted or source
        # The answer names the source, not who watches it.
        self.name = source.name  # type: ignore[misc]

    @classmethod
    def probe(cls) -> Availability:
        return Availability(cls.name, usable=True, sees="what another source says, noted")

    @classmethod
    def make(cls, argument: str = "") -> Self:
        """Of the name of a source."""
        return cls(open_source(argument), datetime.now(UTC))

    @property
    def limits(self) -> SourceLimits:
        return self._source.limits

    def zones(self) -> tuple[str, ...]:
        return self._source.zones()

    def carbon(self, zone: str, window: Interval, meaning: CarbonMeaning | None = None) -> CarbonSeries:
        if window.end <= self._now or Offer.FORECAST not in self._source.limits.offers:
            return self._source.carbon(zone, window, meaning)
        try:
            ahead = self._source.forecast(zone, window, meaning)
        except _WITHOUT:
            return self._source.carbon(zone, window, meaning)
        if ahead.missing_share == 0:
            return ahead
        try:
            known = self._source.carbon(zone, window, meaning)
        except _WITHOUT:
            return ahead
        return known if known.missing_share < ahead.missing_share else ahead

    def forecast(self, zone: str, window: Interval, meaning: CarbonMeaning | None = None) -> CarbonSeries:
        return self._source.forecast(zone, window, meaning)

    def prices(self, zone: str, window: Interval) -> PriceSeries:
        return self._source.prices(zone, window)


def watched(names: Iterable[str], now: datetime, into: Path | None = None) -> list[Watched]:
    """The sources of these names ("name" or "name:argument"), watched; `into` is the folder of an archive."""
    archive = None if into is None else Archive(into)
    return [Watched(open_source(name), now, archive) for name in names]


def record_of(series: CarbonSeries | PriceSeries, sources: Sequence[Watched]) -> dict[str, Any] | None:
    """What replays this answer, if one of the sources noted it."""
    for one in sources:
        for record in one.noted.records if one.noted is not None else ():
            # What was kept says when it was retrieved, even where its source does not.
            at = series.origin.retrieved_at or (datetime.fromisoformat(record["at"]) if record["at"] else None)
            dated = replace(series, origin=replace(series.origin, retrieved_at=at))
            if record["series"] in (digest_of(series), digest_of(dated)):
                return record
    return None
