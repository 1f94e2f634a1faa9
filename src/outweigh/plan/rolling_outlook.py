"""What is known of rates at a moment: the only thing a rolling plan may look at."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from outweigh.core.errors import InvalidQuantity
from outweigh.plan.problem import Floats


class Outlook(Protocol):
    """Rates of IT energy [currency/kWh] as known at the start of a step.

    Steps are counted from the start of the whole horizon. Nothing that comes to be known later may show in an answer:
    tests alter what is later and want the same.
    """

    @property
    def name(self) -> str:
        """What it is, for reports."""

    def vintage(self, step: int) -> int:
        """A number that changes when something new is known, and only then."""

    def rates(self, step: int, until: int) -> Floats:
        """Of the steps [step, until), shape (S, until - step); NaN where nothing is known."""

    def settled(self, window: int) -> Floats | None:
        """Rates of all steps, shape (S, T), if what is said of a step is the same at all moments up to `window` steps
        before; None where it is revised. What is settled can be planned in one go."""


class Perfect:
    """What came, known before: the oracle."""

    def __init__(self, actual: Floats) -> None:
        self.actual, self.name = _checked(actual), "perfect foresight"

    def vintage(self, step: int) -> int:
        return 0

    def rates(self, step: int, until: int) -> Floats:
        return self.actual[:, step:until]

    def settled(self, window: int) -> Floats | None:
        return self.actual


class Persistence:
    """The last known value of the same hour: the forecast anybody has.

    Args:
        actual: what came, shape (S, T); at a step only what lies before it is looked at.
        period: steps after which days repeat, such as 24 hours.
        every: steps between vintages.
    """

    def __init__(self, actual: Floats, period: int, every: int = 1) -> None:
        if period < 1 or every < 1:
            raise InvalidQuantity("period", f"{period}, {every} steps", "give 1 step or more")
        self.actual, self.period, self.every = _checked(actual), period, every
        self.name = f"persistence of {period} steps"

    def vintage(self, step: int) -> int:
        return step // self.every

    def rates(self, step: int, until: int) -> Floats:
        issued = step - step % self.every
        ahead = np.arange(step, until)
        back = issued - self.period + (ahead - issued) % self.period
        known = self.actual[:, np.maximum(back, 0)]
        return np.where(back >= 0, known, np.nan)

    def settled(self, window: int) -> Floats | None:
        return None


class Recorded:
    """Forecasts as they were recorded, one a step, beside what came.

    Records of this kind say what was forecast for a step and not when. A step counts as known `ahead` steps before it;
    beyond that the last forecast of the same hour of the day stands in, and before there is one, nothing does.

    Args:
        forecast: shape (S, T).
        ahead: how many steps ahead it is known, >= 1.
        period: steps after which days repeat.
    """

    def __init__(self, forecast: Floats, ahead: int, period: int, name: str = "recorded forecast") -> None:
        if ahead < 1 or period < 1:
            raise InvalidQuantity("reach of the forecast", f"{ahead}, {period} steps", "give 1 step or more")
        self.forecast, self.ahead, self.period, self.name = _checked(forecast), ahead, period, name

    def vintage(self, step: int) -> int:
        return step

    def rates(self, step: int, until: int) -> Floats:
        steps = np.arange(step, until)
        reach = step + self.ahead
        beyond = np.maximum(steps - reach + self.period, 0) // self.period * self.period
        at = np.where(steps < reach, steps, steps - beyond)
        return np.where(at >= 0, self.forecast[:, np.maximum(at, 0)], np.nan)

    def settled(self, window: int) -> Floats | None:
        return self.forecast if window <= self.ahead else None


def _checked(rates: Floats) -> Floats:
    if rates.ndim != 2 or not rates.size or np.isinf(rates).any():
        raise InvalidQuantity("rates", f"shape {rates.shape}", "give (sites, steps), finite, NaN where unknown")
    return rates
