"""Forecasts of our own while a server runs: fitted when somebody asks, and kept for the hour."""

from __future__ import annotations

import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from outweigh.core.intervals import Interval
from outweigh.core.series import CarbonSeries, DataQuality, Gap

HISTORY = timedelta(days=400)
REACH = timedelta(hours=72)
_KEPT = 64
# What nobody measured teaches nothing of what will be measured.
_NO_OUTCOME = frozenset({DataQuality.FORECAST, DataQuality.FILLED})


class OwnForecasts:
    """One forecast a zone and hour; whoever asks for one that is being fitted waits for it, and nobody else does.

    The seasonal method: it fits in seconds, where the boosted one takes minutes (docs/carbon-aware-api.md).
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._made: dict[tuple[str, datetime], CarbonSeries] = {}
        self._fitting: dict[str, threading.Lock] = {}

    def forecast(self, zone: str, history: CarbonSeries, at: datetime) -> CarbonSeries:
        """The next 72 hours from the hour of `at` on, with intervals of 90 %.

        Raises:
            GapsTooLarge: fewer than 42 days of known hours.
            InvalidQuantity: a history that is no outcome hour by hour (yearly, typical).
        """
        from outweigh.grid.forecasting import Method, forecast

        hour = at.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
        with self._lock:
            fitting = self._fitting.setdefault(zone, threading.Lock())
        with fitting:
            with self._lock:
                made = self._made.get((zone, hour))
            if made is None:
                made = forecast(_outcomes(history), hour, Interval(hour, hour + REACH), method=Method.SEASONAL)
                with self._lock:
                    while len(self._made) >= _KEPT:
                        del self._made[next(iter(self._made))]
                    self._made[zone, hour] = made
            return made


def _outcomes(history: CarbonSeries) -> CarbonSeries:
    """Outcomes alone, from the first to the last that is known."""
    values = tuple(
        Gap.MISSING if quality in _NO_OUTCOME else value
        for value, quality in zip(history.values, history.qualities, strict=True)
    )
    known = [i for i, value in enumerate(values) if not isinstance(value, Gap)]
    if not known:
        return replace(history, values=values, bounds=())
    first, last = known[0], known[-1] + 1
    return replace(
        history,
        edges_s=history.edges_s[first : last + 1],
        values=values[first:last],
        qualities=history.qualities[first:last],
        bounds=(),
    )
