"""What a forecast looks at: the zone's own past up to the hour of issue, and the clocks of the hour ahead.

Every row is one hour ahead of one issue. All figures are taken relative to a *usual* value (the mean of that local hour
over the last seven days) and in units of the zone's own *spread* (standard deviation over the last fortnight). What is
learnt in a cheap year so holds in a dear one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from outweigh.grid.forecasting.hourly import Hourly

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

DAY_H, WEEK_H = 24, 168
# A value further out than this many spreads is taken to be this far: one day of a price crisis must not be all that
# a year teaches. Intervals are calibrated on errors as they came, uncut.
CUT = 8.0
LEAST_KNOWN_H = 84  # a quarter of the fortnight that the spread is of
N_CLOCK = 4  # the last columns: horizon [h], local hour, weekday, local hour of issue


class Rows(NamedTuple):
    """Rows for a model.

    Attributes:
        looks: shape (n, k); NaN where the past is unknown.
        usual: in the series' unit, shape (n,).
        spread: in the series' unit, > 0, shape (n,).
        yesterday: the same local hour of the last known day: persistence, shape (n,).
        last_week: the same local hour of the week before, shape (n,).
    """

    looks: NDArray[np.float64]
    usual: NDArray[np.float64]
    spread: NDArray[np.float64]
    yesterday: NDArray[np.float64]
    last_week: NDArray[np.float64]


class Past:
    """Sums over a history, made once and asked for many rows."""

    def __init__(self, hours: Hourly) -> None:
        import numpy as np

        self.hours = hours
        known = ~np.isnan(hours.values)
        filled = np.where(known, hours.values, 0.0)
        self._count = np.concatenate([[0], np.cumsum(known)])
        self._sum = np.concatenate([[0.0], np.cumsum(filled)])
        self._square = np.concatenate([[0.0], np.cumsum(filled * filled)])

    def rows(self, issue: NDArray[np.int64], ahead_h: NDArray[np.int64]) -> Rows:
        """
        Args:
            issue: row of the hour that begins at the issue; only rows before it are looked at, shape (n,).
            ahead_h: horizon [h], 1 for the hour that begins at the issue, shape (n,).
        """
        import numpy as np

        target = issue + ahead_h - 1
        days = self._same_hour(target, issue, DAY_H, 14)
        weeks = self._same_hour(target, issue, WEEK_H, 4)
        week_mean = self._mean(issue, 0, WEEK_H)
        usual = _first_known(_mean_of(days[:, :7]), _mean_of(days), week_mean, self._mean(issue, 0, 4 * WEEK_H))
        # After a long gap, the few hours since tell no spread; all that was before does.
        known_h = self._count[np.minimum(issue, len(self.hours))] - self._count[np.maximum(issue - 2 * WEEK_H, 0)]
        recent, ever = (self._variance(issue, back_h) for back_h in (2 * WEEK_H, len(self.hours)))
        variance = np.where(known_h >= LEAST_KNOWN_H, recent, ever)
        # A constant history has no spread; a thousandth of its level keeps the division harmless.
        least = 1e-3 * np.abs(np.nan_to_num(usual)) + 1e-9
        spread = np.fmax(np.sqrt(np.maximum(np.nan_to_num(variance), 0.0)), least)
        levels = [
            *(days[:, k] for k in (0, 1, 2, 6)),
            weeks[:, 0],
            weeks[:, 1],
            _mean_of(weeks),
            _mean_of(days),
            _mean_of(days[:, :3]),
            *(self._at(issue - back) for back in (1, 2, 4)),
            *(self._mean(issue, 0, length) for length in (3, 6, 12)),
        ]
        day_mean, day_before = self._mean(issue, 0, DAY_H), self._mean(issue, DAY_H, 2 * DAY_H)
        moves = [
            *(self._at(issue - back) - self._usual_then(issue - back) for back in (1, 3, 6, 12)),
            day_mean - week_mean,
            day_mean - day_before,
            week_mean - self._mean(issue, 0, 4 * WEEK_H),
            self._mean(issue, 0, 2 * DAY_H) - week_mean,
            usual - week_mean,
            _spread_of(days[:, :7]),
        ]
        relative = [np.clip((level - usual) / spread, -CUT, CUT) for level in levels]
        relative += [np.clip(move / spread, -CUT, CUT) for move in moves]
        clocks = [ahead_h, self.hours.hour[target], self.hours.weekday[target], self.hours.hour[issue]]
        looks = np.stack([*relative, *(np.asarray(clock, dtype=np.float64) for clock in clocks)], axis=1)
        return Rows(looks, usual, spread, days[:, 0], weeks[:, 0])

    def _at(self, index: NDArray[np.int64]) -> NDArray[np.float64]:
        import numpy as np

        values = self.hours.values
        inside = (index >= 0) & (index < len(values))
        return np.where(inside, values[np.clip(index, 0, len(values) - 1)], np.nan)

    def _same_hour(
        self, target: NDArray[np.int64], issue: NDArray[np.int64], step_h: int, n: int
    ) -> NDArray[np.float64]:
        """The n latest values before the issue at the same local time, whole days or weeks before, shape (rows, n)."""
        import numpy as np

        offset = self.hours.offset_h
        first = -(-(target + 1 - issue) // step_h)
        out = np.empty((len(target), n))
        for k in range(n):
            there = target - step_h * (first + k)
            # Clocks that changed in between: the same time on the wall is an hour earlier or later.
            moved = np.round(offset[target] - offset[np.clip(there, 0, len(offset) - 1)]).astype(np.int64)
            there = there + moved
            out[:, k] = self._at(np.where(there < issue, there, there - step_h))
        return out

    def _variance(self, issue: NDArray[np.int64], back_h: int) -> NDArray[np.float64]:
        import numpy as np

        return np.asarray(self._mean(issue, 0, back_h, self._square) - self._mean(issue, 0, back_h) ** 2)

    def _usual_then(self, index: NDArray[np.int64]) -> NDArray[np.float64]:
        import numpy as np

        return _mean_of(np.stack([self._at(index - DAY_H * day) for day in range(1, 8)], axis=1))

    def _mean(
        self, issue: NDArray[np.int64], skip_h: int, back_h: int, sums: NDArray[np.float64] | None = None
    ) -> NDArray[np.float64]:
        """Mean of what is known of `[issue - back_h, issue - skip_h)`, NaN where nothing is."""
        import numpy as np

        sums = self._sum if sums is None else sums
        first, last = (np.clip(issue - back, 0, len(self.hours)) for back in (back_h, skip_h))
        count = self._count[last] - self._count[first]
        return np.where(count > 0, (sums[last] - sums[first]) / np.maximum(count, 1), np.nan)


def _mean_of(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean of what is known in each row, NaN where nothing is."""
    import numpy as np

    known = ~np.isnan(values)
    count = known.sum(axis=1)
    total = np.where(known, values, 0.0).sum(axis=1)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _spread_of(values: NDArray[np.float64]) -> NDArray[np.float64]:
    import numpy as np

    mean = _mean_of(values)
    return np.asarray(np.sqrt(_mean_of((values - mean[:, np.newaxis]) ** 2)))


def _first_known(*choices: NDArray[np.float64]) -> NDArray[np.float64]:
    import numpy as np

    out = choices[0]
    for choice in choices[1:]:
        out = np.where(np.isnan(out), choice, out)
    return np.asarray(out)
