"""How good a forecast is, next to the two that cost nothing: yesterday, and the same day last week."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from outweigh.core.errors import GapsTooLarge, InvalidQuantity
from outweigh.core.intervals import Interval
from outweigh.core.series import CarbonSeries
from outweigh.grid.forecasting.features import DAY_H
from outweigh.grid.forecasting.fitting import Forecaster, Issue, S

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SIGNIFICANCE = 0.05


@dataclass(frozen=True, slots=True)
class Errors:
    """Of one forecast: mean absolute error in the series' unit, and in % of what came; None where that means nothing.

    A percentage means nothing for prices, which may be zero or negative, nor for carbon where an hour is zero.
    """

    mae: float
    mape_percent: float | None


@dataclass(frozen=True, slots=True)
class Skill:
    """A back-test: every forecast was issued with what was known by then.

    Attributes:
        model, persistence, last_week: over the same hours: those for which all three and the outcome are known.
        coverage: share of outcomes within the 90 % interval.
        width: mean width of the interval, in the series' unit.
        days: issues that count.
        hours: outcomes that count.
        window: from the first issue to the end of the last target.
        p_no_better: chance of a lead over persistence like this or larger if there were none (see `backtest`).
    """

    model: Errors
    persistence: Errors
    last_week: Errors
    coverage: float
    width: float
    days: int
    hours: int
    window: Interval
    p_no_better: float

    @property
    def better(self) -> bool:
        """Whether it beats persistence by more than chance does (5 %)."""
        return self.p_no_better < SIGNIFICANCE

    @property
    def lead(self) -> float:
        """Share of persistence's mean absolute error that the model saves; negative where it is worse."""
        return 1 - self.model.mae / self.persistence.mae if self.persistence.mae else 0.0

    def __str__(self) -> str:
        if self.better:
            return f"better than yesterday's value by {100 * self.lead:.0f} % of its mean absolute error"
        if self.lead > 0:
            return (
                f"no better than yesterday's value, as far as {self.days} days can tell "
                f"({100 * self.lead:.0f} % ahead, p = {self.p_no_better:.2f}): take either"
            )
        return f"no better than yesterday's value ({-100 * self.lead:.0f} % worse): take yesterday's value"


def backtest(
    forecaster: Forecaster[S],
    window: Interval,
    *,
    every_h: int = DAY_H,
    hours: int = DAY_H,
) -> Skill:
    """Issue at the window's start and every `every_h` after, `hours` ahead each, and compare with what came.

    The test of the lead is that of Diebold and Mariano (Journal of Business & Economic Statistics 13(3), 1995): a
    one-sided t-test on the issues' differences of mean absolute error, with the correlation of neighbours taken in.

    Raises:
        InvalidQuantity: an issue before the end of what the model was fitted on, a horizon beyond its reach.
        GapsTooLarge: fewer than two issues have outcomes to compare with.
    """
    import numpy as np

    first, end = forecaster.hours.index(window.start), forecaster.hours.index(window.end)
    if first < forecaster.fitted_until:
        until = forecaster.hours.start_of(forecaster.fitted_until)
        raise InvalidQuantity("test window", str(window), f"the model has seen outcomes up to {until:%Y-%m-%dT%H:%MZ}")
    if not 1 <= hours <= forecaster.reach_h or every_h < 1:
        raise InvalidQuantity("horizon", f"{hours} h", f"this forecast reaches 1 to {forecaster.reach_h} h")
    values = forecaster.hours.values
    issues = list(range(first, min(end, len(values)) - hours + 1, every_h))
    forecaster.prepare(issues)
    kept, columns = [], []
    for issue in issues:
        said: Issue = forecaster.calibrated(issue)
        came = values[issue : issue + hours]
        part = np.stack(
            [came, *(column[:hours] for column in (said.point, said.yesterday, said.last_week, said.low, said.high))]
        )
        part = part[:, ~np.isnan(part).any(axis=0)]
        if part.shape[1]:
            kept.append(issue)
            columns.append(part)
    if len(kept) < 2:
        raise GapsTooLarge("the history", str(window), 100, "Give one with outcomes to compare with")
    came, point, yesterday, last_week, low, high = np.concatenate(columns, axis=1)
    lead = [float(np.abs(part[2] - part[0]).mean() - np.abs(part[1] - part[0]).mean()) for part in columns]
    percent = isinstance(forecaster.history, CarbonSeries) and bool((came > 0).all())
    return Skill(
        _errors(point, came, percent),
        _errors(yesterday, came, percent),
        _errors(last_week, came, percent),
        float(((came >= low) & (came <= high)).mean()),
        float((high - low).mean()),
        len(kept),
        len(came),
        Interval(forecaster.hours.start_of(kept[0]), forecaster.hours.start_of(kept[-1] + hours)),
        _p_no_better(np.array(lead)),
    )


def _errors(said: NDArray[np.float64], came: NDArray[np.float64], percent: bool) -> Errors:
    import numpy as np

    off = np.abs(said - came)
    return Errors(float(off.mean()), float(100 * (off / came).mean()) if percent else None)


def _p_no_better(lead: NDArray[np.float64]) -> float:
    """Newey and West (Econometrica 55(3), 1987) with as many lags as the cube root of n."""
    from scipy.special import stdtr

    n = len(lead)
    centred = lead - lead.mean()
    variance = float((centred @ centred) / n)
    lags = math.floor(n ** (1 / 3))
    for lag in range(1, min(lags, n - 1) + 1):
        variance += 2 * (1 - lag / (lags + 1)) * float(centred[lag:] @ centred[:-lag]) / n
    if variance <= 0:
        return 0.0 if lead.mean() > 0 else 1.0
    return float(1 - stdtr(n - 1, lead.mean() / math.sqrt(variance / n)))
