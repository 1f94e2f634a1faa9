"""Intervals that hold what they promise: a model's own ends, moved by how far it was off lately.

Conformalised quantile regression, each end by itself, with newer days weighing more, so that a grid that changes
carries its intervals along. Every hour that comes enters the next issue's calibration.

Sources: Romano, Patterson and Candès, Conformalized quantile regression, NeurIPS 2019 (section 4: separate tails);
Barber, Candès, Ramdas and Tibshirani, Conformal prediction beyond exchangeability, Annals of Statistics 51(2), 2023
(weights that decay with age).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

CALIBRATION_DAYS = 180
HALF_LIFE_DAYS = 60.0


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
