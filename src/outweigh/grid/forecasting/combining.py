"""How much of a forecast is the model, how much yesterday and how much last week: as each has done lately.

A model that learnt from one year may be no better than yesterday's value in the next; where a few hours cost a hundred
times the usual, mostly so. What each would have said at every issue lately is known, so the share of each is found on
that: rolling origins, none of which the model had seen.

Sources: Bates and Granger, The combination of forecasts, Operational Research Quarterly 20(4), 1969 (weights from past
errors, the newer ones counting more); Granger and Ramanathan, Improved methods of combining forecasts, Journal of
Forecasting 3(2), 1984 (weights by regression, here of least absolute deviations and within the simplex); Timmermann,
Forecast combinations, Handbook of Economic Forecasting 1, 2006 (why they are shrunk).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from outweigh.grid.forecasting.conformal import HALF_LIFE_DAYS

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# A miss of more spreads counts as this many: a few hours at a hundred times the usual, which nobody foretells, must not
# choose for all the others.
MOST_MISSED = 2.0
STEPS = 5  # a share is a multiple of a fifth: what a season can tell
TRUST_DAYS = 14.0  # the model alone, worth as many days of evidence: a forecaster without a record is its model


def shares(
    said: NDArray[np.float64],
    came: NDArray[np.float64],
    spread: NDArray[np.float64],
    age_days: NDArray[np.float64],
    issues: int,
) -> NDArray[np.float64]:
    """The shares that would have missed least, drawn towards the first forecast where there is little to go by.

    Args:
        said: what the model, yesterday and last week said, in that order, shape (3, n), no NaN.
        came: outcomes in the same unit, no NaN, shape (n,).
        spread: of the zone at each issue, in the same unit, > 0, shape (n,).
        age_days: of each outcome, shape (n,).
        issues: how many issues the n are of, > 0.

    Returns:
        Shape (3,), none below 0, their sum 1: of least mean absolute error over past issues, each miss in spreads and
        cut at 2, older ones fading. Of shares that did equally well, those with most of the model.
    """
    import numpy as np

    choices = np.array([(STEPS - a - b, a, b) for a in range(STEPS + 1) for b in range(STEPS + 1 - a)]) / STEPS
    weight = 0.5 ** (age_days / HALF_LIFE_DAYS)
    missed = np.minimum(np.abs(choices @ said - came) / spread, MOST_MISSED) @ weight
    # Where all say the same, rounding must not choose.
    best = choices[np.flatnonzero(missed <= missed.min() + 1e-9 * weight.sum())[0]]
    return np.asarray((issues * best + TRUST_DAYS * np.array([1.0, 0.0, 0.0])) / (issues + TRUST_DAYS))
