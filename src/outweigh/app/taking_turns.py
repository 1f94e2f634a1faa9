"""Grid sources that several threads of a server ask: each source one at a time, and none waits for another."""

from __future__ import annotations

import threading
from typing import ClassVar, Self

from outweigh.core.intervals import Interval
from outweigh.core.series import CarbonMeaning, CarbonSeries, PriceSeries
from outweigh.ports import Availability, GridSource, SourceLimits
from outweigh.ports.names import TakesNames


class TakingTurns:
    """A source whose files, connections and caches were not made for two threads at once.

    Args:
        at_hand: it reads a folder or a file, so that its zones are read in turn too. A provider's are a table, which
            nobody waits for.
    """

    name: ClassVar[str]

    def __init__(self, source: GridSource, *, at_hand: bool) -> None:
        self._source, self._at_hand, self._turn = source, at_hand, threading.Lock()
        self.name = source.name  # type: ignore[misc]  # of the instance: it stands for its source

    @classmethod
    def probe(cls) -> Availability:
        raise NotImplementedError("it stands for a source that is open")

    @classmethod
    def make(cls, argument: str = "") -> Self:
        raise NotImplementedError("it stands for a source that is open")

    @property
    def limits(self) -> SourceLimits:
        return self._source.limits

    def zones(self) -> tuple[str, ...]:
        if not self._at_hand:
            return self._source.zones()
        with self._turn:
            return self._source.zones()

    def takes(self, name: str) -> bool:
        return isinstance(self._source, TakesNames) and self._source.takes(name)

    def carbon(self, zone: str, window: Interval, meaning: CarbonMeaning | None = None) -> CarbonSeries:
        with self._turn:
            return self._source.carbon(zone, window, meaning)

    def forecast(self, zone: str, window: Interval, meaning: CarbonMeaning | None = None) -> CarbonSeries:
        with self._turn:
            return self._source.forecast(zone, window, meaning)

    def prices(self, zone: str, window: Interval) -> PriceSeries:
        with self._turn:
            return self._source.prices(zone, window)
