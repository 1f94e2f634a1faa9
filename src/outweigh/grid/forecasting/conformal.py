"""Intervals that hold what they promise: a model's own ends, moved by how far it was off lately.

Conformalised quantile regression, each end by itself, with newer days weighing more, so that a grid that changes
carries its intervals along. Every hour that comes enters the next issue's calibration. Where a grid changes faster than
that follows, the share that an end is moved for is held to what came as well: too many misses lower it, too few raise
it.

Sources: Romano, Patterson and Candès, Conformalized quantile regression, NeurIPS 2019 (section 4: separate tails);
Barber, Candès, Ramdas and Tibshirani, Conformal prediction beyond exchangeability, Annals of Statistics 51(2), 2023
(weights that decay with age); Gibbs and Candès, Adaptive conformal inference under distribution shift, NeurIPS 2021
(equation 2: the share that follows the misses).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

CALIBRATION_DAYS = 180
HALF_LIFE_DAYS = 60.0
#: How far the share of an end follows the misses of one issue; the least and most it may become, in shares of its aim.
FOLLOWING = 0.05
LEAST, MOST = 0.02, 2.0


def shift(score: NDArray[np.float64], age_days: NDArray[np.float64], beyond: float, coming: float = 1.0) -> float:
    """How far an end has to move so that a share `beyond` of the outcomes lies beyond it.

    Args:
        score: by how much each outcome lay beyond the end; negative where it lay within, shape (n,), n > 0.
        age_days: of each score, shape (n,).
        beyond: in (0, 1).
        coming: weight of the outcome to come, in scores. Where scores come in bundles that go up and down together, a
            bundle is one observation: give its size.

    Returns:
        The weighted quantile of the scores at 1 - `beyond`, the outcome to come counted as lying beyond all of them;
        where that leaves no room, the largest score.
    """
    import numpy as np

    order = np.argsort(score, kind="stable")
    weight = 0.5 ** (age_days[order] / HALF_LIFE_DAYS)
    reached = np.cumsum(weight) / (weight.sum() + coming)
    at = int(np.searchsorted(reached, 1 - beyond))
    return float(score[order[min(at, len(order) - 1)]])


def followed(beyond: float, missed: float, aim: float) -> float:
    """The share for the next issue, after one in which a share `missed` of the hours lay beyond the end.

    >>> followed(0.05, missed=0.05, aim=0.05), followed(0.05, missed=1.0, aim=0.05) < 0.05
    (0.05, True)
    """
    return min(max(beyond + FOLLOWING * (aim - missed), LEAST * aim), MOST * aim)
