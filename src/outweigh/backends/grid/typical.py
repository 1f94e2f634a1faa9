"""Typical days of the year 2022, for demonstrations: never a reading, and never taken by itself."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import ClassVar, Self

from outweigh.backends.grid._answering import meaning_of, no_argument, not_offered, unknown_zone
from outweigh.core.errors import InvalidQuantity
from outweigh.core.intervals import Interval
from outweigh.core.measurement import Grade
from outweigh.core.quantities import CarbonScope
from outweigh.core.series import (
    Accounting,
    CarbonKind,
    CarbonMeaning,
    CarbonSeries,
    DataQuality,
    Origin,
    PriceSeries,
    Slot,
)
from outweigh.data.places import typical_days, zone_names
from outweigh.ports import Availability, Offer, SourceLimits
from outweigh.registry import grid_sources

_MEANING = CarbonMeaning(CarbonKind.AVERAGE, CarbonScope.LIFECYCLE, Accounting.PRODUCTION)
_HOUR = timedelta(hours=1)
_LONGEST_S = 400 * 86400.0


@grid_sources.register("typical")
class TypicalGrid:
    """The mean of each UTC hour in each month of 2022, repeated over any window: eight US balancing authorities.

    It has the shape of a day and none of its weather: what a plan saves on it is an example, not a forecast.
    """

    name: ClassVar[str]

    @classmethod
    def probe(cls) -> Availability:
        return Availability(
            cls.name, usable=True, sees=f"typical days of {len(typical_days())} US zones, for demos", grade=Grade.D
        )

    @classmethod
    def make(cls, argument: str = "") -> Self:
        no_argument(cls.name, argument)
        return cls()

    @property
    def limits(self) -> SourceLimits:
        return SourceLimits(
            frozenset({Offer.CARBON}), (_MEANING,), steps_s=(_HOUR.total_seconds(),), window_s=_LONGEST_S
        )

    def zones(self) -> tuple[str, ...]:
        return tuple(sorted(typical_days()))

    def carbon(self, zone: str, window: Interval, meaning: CarbonMeaning | None = None) -> CarbonSeries:
        asked = meaning_of(self.limits, meaning, self.name, zone)
        if zone not in typical_days():
            unknown_zone(self.name, zone, {key: (zone_names()[key].name,) for key in typical_days()})
        if window.seconds > _LONGEST_S:
            raise InvalidQuantity("window", f"{window.seconds / 86400:.0f} d", "a typical day says nothing of years")
        known = typical_days()[zone][1].provenance
        origin = Origin("EIA-930", zone, known.source, known.licence, "mean by UTC month and hour", vintage=known.year)
        return CarbonSeries.of(_hours(zone, window), window, asked, origin)

    def forecast(self, zone: str, window: Interval, meaning: CarbonMeaning | None = None) -> CarbonSeries:
        not_offered(self.name, "carbon forecast", zone)

    def prices(self, zone: str, window: Interval) -> PriceSeries:
        not_offered(self.name, "electricity price", zone)


def _hours(zone: str, window: Interval) -> Iterator[Slot]:
    months = typical_days()[zone]
    start: datetime = window.start.replace(minute=0, second=0, microsecond=0)
    while start < window.end:
        yield Slot(start, start + _HOUR, months[start.month].hours[start.hour], DataQuality.TYPICAL)
        start += _HOUR
