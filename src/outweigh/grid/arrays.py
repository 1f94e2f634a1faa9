"""Series as arrays for planners and forecasts, and days as the people of a zone count them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from typing import TYPE_CHECKING

from outweigh.core.series import CarbonSeries, DataQuality, Gap, PriceSeries

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from outweigh.core.intervals import Interval


@dataclass(frozen=True, slots=True)
class Arrays:
    """A series for fast loops.

    Attributes:
        edges_s: slot edges [s, UTC epoch], shape (n + 1,).
        values: in the series' unit, shape (n,); +inf where it is not known, so that a gap never wins a minimum and a
            mean over one is infinite, too. There is no NaN.
        known: True where there is a value, shape (n,); a filled slot has a value and is not known.
    """

    edges_s: NDArray[np.float64]
    values: NDArray[np.float64]
    known: NDArray[np.bool_]


def as_arrays(series: CarbonSeries | PriceSeries, *, fills_count: bool = False) -> Arrays:
    """The series as arrays.

    Args:
        fills_count: take filled slots at their value; False takes them as not known, like gaps.
    """
    import numpy as np

    known = np.fromiter(
        (
            not isinstance(value, Gap) and quality is not DataQuality.FILLED
            for value, quality in zip(series.values, series.qualities, strict=True)
        ),
        dtype=np.bool_,
        count=len(series),
    )
    values = np.fromiter(
        (np.inf if isinstance(value, Gap) else value for value in series.values), dtype=np.float64, count=len(series)
    )
    if not fills_count:
        values[~known] = np.inf
    return Arrays(np.asarray(series.edges_s, dtype=np.float64), values, known)


def local_days(window: Interval, zone: tzinfo) -> tuple[float, ...]:
    """Edges [s, UTC epoch] of the window and of the midnights in it by the clocks of `zone`, for `Series.onto`.

    A day on which clocks change has 23 or 25 hours here (at Lord Howe 23.5 and 24.5).

    >>> from zoneinfo import ZoneInfo
    >>> from outweigh.core.intervals import Interval
    >>> berlin = ZoneInfo("Europe/Berlin")
    >>> day = Interval(datetime(2026, 10, 25, tzinfo=berlin), datetime(2026, 10, 26, tzinfo=berlin))
    >>> [(b - a) / 3600 for a, b in zip(local_days(day, berlin), local_days(day, berlin)[1:])]
    [25.0]
    """
    start_s, end_s = window.start.timestamp(), window.end.timestamp()
    edges = [start_s]
    day = window.start.astimezone(zone).date()
    while True:
        day += timedelta(days=1)
        midnight_s = datetime(day.year, day.month, day.day, tzinfo=zone).astimezone(UTC).timestamp()
        if midnight_s >= end_s:
            break
        if midnight_s > start_s:
            edges.append(midnight_s)
    return (*edges, end_s)
