"""Gradient-boosted trees beside the seasonal baseline; scikit-learn does the boosting."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Self

from outweigh.core.errors import MissingExtra
from outweigh.grid.forecasting.features import CUT
from outweigh.grid.forecasting.seasonal import Ahead, Seasonal

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# Small steps and large leaves: a year holds a few dozen weather spells, however many rows are cut from it.
_TREES = {"max_iter": 100, "max_leaf_nodes": 31, "learning_rate": 0.03, "early_stopping": False, "random_state": 0}
_TAILS = {"max_iter": 60, "max_leaf_nodes": 16, "learning_rate": 0.06, "early_stopping": False, "random_state": 0}
_LEAF_ROWS, _LEAF_SHARE = 150, 0.02


class Boosted:
    """The mean of the seasonal baseline and of trees; trees for the two ends of the interval.

    Linear weights follow a level that trees have never seen; trees see that a windy night is not a windy noon. On what
    this was developed on, their mean is as good as the line for carbon and better than either for prices.

    Source: Friedman, Greedy function approximation, Annals of Statistics 29(5), 2001; Bates and Granger, The
    combination of forecasts, Operational Research Quarterly 20(4), 1969.
    """

    version: ClassVar[str] = "boosted-2"

    def __init__(self, linear: Seasonal, middle: Any, low: Any, high: Any) -> None:
        self._linear, self._middle, self._low, self._high = linear, middle, low, high

    @classmethod
    def fitted(cls, looks: NDArray[np.float64], came: NDArray[np.float64], tails: float) -> Self:
        import numpy as np

        regressor = _regressor()
        came = np.clip(came, -CUT, CUT)
        linear = Seasonal.fitted(looks, came, tails)
        leaf = min(_LEAF_ROWS, max(20, int(_LEAF_SHARE * len(came))))
        left = came - linear.ahead(looks).point
        with _alone():
            middle = regressor(loss="squared_error", min_samples_leaf=leaf, **_TREES).fit(looks, came)
            low, high = (
                regressor(loss="quantile", quantile=at, min_samples_leaf=leaf, **_TAILS).fit(looks, left)
                for at in (tails, 1 - tails)
            )
        return cls(linear, middle, low, high)

    def ahead(self, looks: NDArray[np.float64]) -> Ahead:
        line = self._linear.ahead(looks).point
        with _alone():
            middle, low, high = (trees.predict(looks) for trees in (self._middle, self._low, self._high))
        return Ahead((line + middle) / 2, line + low, line + high)


def _alone() -> Any:
    """One thread: beside other work, threads that wait for each other take ten times as long as one alone."""
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    return threadpool_limits(1, user_api="openmp")


def _regressor() -> Any:
    try:
        from sklearn.ensemble import HistGradientBoostingRegressor
    except ImportError as err:
        raise MissingExtra(
            "scikit-learn", "the boosted forecast", "pip install 'outweigh[forecast]', or take --method seasonal"
        ) from err
    return HistGradientBoostingRegressor
