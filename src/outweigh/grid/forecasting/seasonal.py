"""The seasonal baseline: a linear blend of the recent days and the hour of the week, by horizon. Needs numpy only."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, NamedTuple, Protocol, Self

from outweigh.grid.forecasting.features import CUT, N_CLOCK

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# Horizons [h] that share a set of weights; the last known hour says much of the next and little of tomorrow's.
BUCKETS_H = ((1, 2), (3, 4), (5, 8), (9, 12), (13, 18), (19, 24), (25, 48), (49, 96), (97, 168))
SHRINKAGE = 100.0  # ridge penalty on weights, in rows: a history of weeks leans on its usual day, one of years does not


class Ahead(NamedTuple):
    """A model's answer relative to the usual value in spreads, shape (n,) each. `low` and `high` are not calibrated."""

    point: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]


class Model(Protocol):
    """Learns from rows, answers for rows."""

    version: ClassVar[str]

    @classmethod
    def fitted(cls, looks: NDArray[np.float64], came: NDArray[np.float64], tails: float) -> Self:
        """
        Args:
            looks: shape (n, k).
            came: what came, relative to usual, in spreads, no NaN, shape (n,).
            tails: share that lies below `low`, and above `high`.
        """

    def ahead(self, looks: NDArray[np.float64]) -> Ahead: ...


class Seasonal:
    """Ridge regression on the looks, harmonics of the local day and weekdays; a set of weights a bucket of horizons.

    Its interval is the spread of its own errors at that hour of the day.

    Source: Hoerl and Kennard, Ridge regression, Technometrics 12(1), 1970.
    """

    version: ClassVar[str] = "seasonal-2"

    def __init__(self, weights: NDArray[np.float64], low: NDArray[np.float64], high: NDArray[np.float64]) -> None:
        self._weights = weights
        self._low, self._high = low, high

    @classmethod
    def fitted(cls, looks: NDArray[np.float64], came: NDArray[np.float64], tails: float) -> Self:
        import numpy as np

        came = np.clip(came, -CUT, CUT)
        design, bucket = _design(looks), _bucket(looks)
        weights = np.zeros((len(BUCKETS_H), design.shape[1]))
        penalty = SHRINKAGE * np.eye(design.shape[1])
        penalty[-1, -1] = 1e-6  # the intercept is not shrunk
        for which in np.unique(bucket):
            some = bucket == which
            part = design[some]
            weights[which] = np.linalg.solve(part.T @ part + penalty, part.T @ came[some])
        left = came - np.einsum("ij,ij->i", design, weights[bucket])
        hour = _hour(looks)
        low, high = np.empty(24), np.empty(24)
        for of_day in range(24):
            some = hour == of_day
            low[of_day], high[of_day] = np.quantile(left[some] if some.any() else left, (tails, 1 - tails))
        return cls(weights, low, high)

    def ahead(self, looks: NDArray[np.float64]) -> Ahead:
        import numpy as np

        hour = _hour(looks)
        point = np.einsum("ij,ij->i", _design(looks), self._weights[_bucket(looks)])
        return Ahead(point, point + self._low[hour], point + self._high[hour])


def _design(looks: NDArray[np.float64]) -> NDArray[np.float64]:
    """Shape (n, k'); an unknown look is taken to be as usual. The last column is the intercept."""
    import numpy as np

    angle = 2 * np.pi * looks[:, -3] / 24
    weekday = looks[:, -2]
    day = [wave(times * angle) for times in (1, 2, 3) for wave in (np.sin, np.cos)]
    week = [(weekday == which).astype(np.float64) for which in range(7)]
    # The shape of a Monday, a Saturday and a Sunday differs, and not only its level.
    shape = [week[which] * wave(angle) for which in (0, 5, 6) for wave in (np.sin, np.cos)]
    return np.column_stack([np.nan_to_num(looks[:, :-N_CLOCK]), *day, *week, *shape, np.ones(len(looks))])


def _bucket(looks: NDArray[np.float64]) -> NDArray[np.int64]:
    import numpy as np

    last = np.array([last for _, last in BUCKETS_H])
    return np.asarray(np.searchsorted(last, looks[:, -4]), dtype=np.int64)


def _hour(looks: NDArray[np.float64]) -> NDArray[np.int64]:
    import numpy as np

    return np.asarray(looks[:, -3], dtype=np.int64)
