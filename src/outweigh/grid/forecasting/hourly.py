"""A series as whole UTC hours, with what the clocks of its zone show in each."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from typing import TYPE_CHECKING

from outweigh.core.errors import GapsTooLarge, InvalidQuantity
from outweigh.core.series import CarbonSeries, DataQuality, PriceSeries
from outweigh.grid.arrays import as_arrays

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

HOUR_S = 3600
LEAST_KNOWN = 0.5  # share of an hour that must be known for the hour to count

# What was said before it came is no outcome, and what stands in for a day has no weather to learn from.
_STANDING_IN = (DataQuality.TYPICAL, DataQuality.YEARLY_DEFAULT)


@dataclass(frozen=True, slots=True, eq=False)
class Hourly:
    """Outcomes hour by hour, and clocks that run on beyond them.

    Attributes:
        first_h: hours from 1970-01-01T00:00Z to the first one.
        values: means over their hours in the series' unit, NaN where unknown, shape (n,).
        offset_h: local time minus UTC [h], shape (n + ahead,).
        hour: of the local day, in [0, 24), shape (n + ahead,).
        weekday: local, Monday is 0, shape (n + ahead,).
    """

    first_h: int
    values: NDArray[np.float64]
    offset_h: NDArray[np.float64]
    hour: NDArray[np.float64]
    weekday: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.values)

    def index(self, stamp: datetime) -> int:
        """Row of the hour that holds `stamp`; may lie outside."""
        return math.floor(stamp.timestamp() / HOUR_S) - self.first_h

    def start_of(self, index: int) -> datetime:
        return datetime.fromtimestamp((self.first_h + index) * HOUR_S, UTC)

    def known_until(self, index: int) -> int:
        """One more than the last known row before `index`; 0 where none is."""
        import numpy as np

        known = np.flatnonzero(~np.isnan(self.values[: max(0, index)]))
        return int(known[-1]) + 1 if known.size else 0


def hourly(series: CarbonSeries | PriceSeries, clocks: tzinfo, ahead_h: int) -> Hourly:
    """Hour by hour what was; finer steps are averaged, and an hour with more than half of it missing is unknown.

    Forecasts and filled slots within the series are no outcomes and count as unknown.

    Args:
        ahead_h: for how long after the last hour clocks are kept [h].

    Raises:
        InvalidQuantity: steps above an hour or across a full hour, or figures that stand in for days (typical, yearly).
        GapsTooLarge: nothing is known.
    """
    import numpy as np

    arrays = as_arrays(series)
    if any(quality in _STANDING_IN for quality in set(series.qualities)):
        raise InvalidQuantity(
            "history",
            f"{series.worst_quality} figures of {series.origin.zone}",
            "a forecast learns from days that were; give measured ones (outweigh grid fetch, or --file)",
        )
    said_before = np.fromiter(
        (quality is DataQuality.FORECAST for quality in series.qualities), dtype=np.bool_, count=len(series)
    )
    known = arrays.known & ~said_before
    length_s = np.diff(arrays.edges_s)
    longest_s = float(length_s[known].max(initial=0.0))
    if longest_s > HOUR_S:
        raise InvalidQuantity("history", f"a step of {longest_s / HOUR_S:g} h", "give steps of an hour or less")
    if not known.any():
        raise GapsTooLarge(_what(series), str(series.interval), 100, "Give a history with measured values")
    ends_s = arrays.edges_s[1:] - 1e-6
    if np.any((np.floor(arrays.edges_s[:-1] / HOUR_S) != np.floor(ends_s / HOUR_S)) & known):
        raise InvalidQuantity("history", "a step across a full hour", "give steps that begin and end within one hour")
    first_h, last_h = math.floor(arrays.edges_s[0] / HOUR_S), math.ceil(arrays.edges_s[-1] / HOUR_S)
    edges_s = np.arange(first_h, last_h + 1, dtype=np.float64) * HOUR_S
    # Sums run forwards only: nothing that comes later can touch an hour before it.
    known_s = _between(edges_s, arrays.edges_s, np.where(known, length_s, 0.0))
    total = _between(edges_s, arrays.edges_s, np.where(known, np.where(known, arrays.values, 0.0) * length_s, 0.0))
    enough = known_s >= LEAST_KNOWN * HOUR_S
    values = np.full(len(known_s), np.nan)
    values[enough] = total[enough] / known_s[enough]
    if len(length_s) == len(values) and np.all(length_s == HOUR_S):
        values[enough] = arrays.values[enough]  # hours as they are, to the last digit
    hours = np.arange(first_h, last_h + ahead_h)
    offset_h = np.array([_offset_h(int(hour), clocks) for hour in hours])
    local_h = hours + offset_h
    # 1970-01-01 was a Thursday.
    return Hourly(first_h, values, offset_h, local_h % 24, (np.floor(local_h / 24).astype(np.int64) + 3) % 7)


def _between(
    edges_s: NDArray[np.float64], given_s: NDArray[np.float64], parts: NDArray[np.float64]
) -> NDArray[np.float64]:
    import numpy as np

    sums = np.concatenate([[0.0], np.cumsum(parts)])
    return np.asarray(np.diff(np.interp(edges_s, given_s, sums)))


def _offset_h(hour: int, clocks: tzinfo) -> float:
    offset = datetime.fromtimestamp(hour * HOUR_S, UTC).astimezone(clocks).utcoffset()
    return offset.total_seconds() / HOUR_S if offset is not None else 0.0


def _what(series: CarbonSeries | PriceSeries) -> str:
    return f"{series.meaning} of {series.origin.zone} from {series.origin.provider}"
