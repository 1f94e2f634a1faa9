"""The weather outside, hour by hour, as somebody has it: never an invented climate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from outweigh.core.errors import InvalidQuantity

Floats = NDArray[np.float64]
YEAR_S = 8760 * 3600.0
_COLDEST, _HOTTEST = -70.0, 60.0  # of the records of the Earth's surface
_FIT_COLDEST = -20.0
_FIT_DRIEST, _FIT_DAMPEST = 5.0, 99.0
_SLACK_K = 0.5  # two sensors, read to a few tenths


@dataclass(frozen=True, slots=True, eq=False)
class Weather:
    """Outdoor air in steps of one length, and the load in each.

    Attributes:
        dry_c, wet_c: dry-bulb and wet-bulb temperature [degC], shape (n,); wet is not above dry.
        load: computing power over that of full load, shape (n,), above 0 and up to 1.
        step_s: length of a step [s].
        source: where it is from, as shown beside every answer.
    """

    dry_c: Floats
    wet_c: Floats
    load: Floats
    step_s: float
    source: str

    def __post_init__(self) -> None:
        if not (self.dry_c.ndim == 1 and self.dry_c.size and self.dry_c.shape == self.wet_c.shape == self.load.shape):
            raise InvalidQuantity("weather", f"shape {self.dry_c.shape}", "give as many loads as temperatures, and one")
        if not 0 < self.step_s <= YEAR_S:
            raise InvalidQuantity("step of the weather", f"{self.step_s:g} s", "steps are of a year at most")
        for name, values in (("outdoor temperature", self.dry_c), ("wet-bulb temperature", self.wet_c)):
            if not (np.isfinite(values).all() and values.min() >= _COLDEST and values.max() <= _HOTTEST):
                given = f"{_first_outside(values, _COLDEST, _HOTTEST):g} degC"
                remedy = f"it lies between {_COLDEST:g} and {_HOTTEST:g} degC; what is missing stays missing: cut it"
                raise InvalidQuantity(name, given, remedy)
        if (self.wet_c > self.dry_c + _SLACK_K).any():
            at = int(np.argmax(self.wet_c - self.dry_c))
            given = f"{self.wet_c[at]:g} degC in air of {self.dry_c[at]:g} degC"
            raise InvalidQuantity("wet-bulb temperature", given, "wet-bulb is at most dry-bulb: are columns swapped?")
        if not (np.isfinite(self.load).all() and self.load.min() > 0 and self.load.max() <= 1):
            given = f"{_first_outside(self.load, 1e-12, 1.0):g}"
            raise InvalidQuantity("load", given, "it is a share of full load, above 0 and up to 1")

    @classmethod
    def steady(cls, dry_c: float, wet_c: float, load: float, source: str = "declared") -> Weather:
        """The same weather and load for a year of 8,760 h."""
        one = np.ones(1)
        return cls(dry_c * one, wet_c * one, load * one, YEAR_S, source)

    @property
    def years(self) -> float:
        """How much of a year of 8,760 h it covers."""
        return self.dry_c.size * self.step_s / YEAR_S

    def at_load(self, load: float) -> Weather:
        return Weather(self.dry_c, self.wet_c, np.full(self.dry_c.shape, load), self.step_s, self.source)

    def warmer(self, by_k: float) -> Weather:
        """Both temperatures moved by so much [K], within what the Earth has."""
        dry = np.clip(self.dry_c + by_k, _COLDEST, _HOTTEST)
        return Weather(dry, np.clip(self.wet_c + by_k, _COLDEST, _HOTTEST), self.load, self.step_s, self.source)


def wet_bulb_c(dry_c: ArrayLike, humidity_pct: ArrayLike) -> Floats:
    """Wet-bulb temperature [degC] at sea level from dry-bulb temperature [degC] and relative humidity [%].

    The fit is good to -1 to +0.65 K from -20 to 50 degC and 5 to 99 %. Damper or colder air is taken to be at its
    wet-bulb temperature, which there is less than a kelvin away.

    Raises:
        InvalidQuantity: a humidity outside 5 to 100 %, or air above 50 degC.

    Source: Stull, Journal of Applied Meteorology and Climatology 50 (2011) 2267, equation 1.

    >>> round(float(wet_bulb_c([20.0], [50.0])[0]), 1)
    13.7
    """
    t, rh = np.asarray(dry_c, np.float64), np.asarray(humidity_pct, np.float64)
    if not (np.isfinite(rh).all() and rh.min() >= _FIT_DRIEST and rh.max() <= 100):
        remedy = "it lies between 5 and 100 %; give the column wet_c for drier air"
        raise InvalidQuantity("relative humidity", f"{_first_outside(rh, _FIT_DRIEST, 100.0):g} %", remedy)
    if t.max() > 50:
        raise InvalidQuantity("outdoor temperature", f"{t.max():g} degC", "above 50 degC give the column wet_c")
    wet = (
        t * np.arctan(0.151977 * np.sqrt(rh + 8.313659))
        + np.arctan(t + rh)
        - np.arctan(rh - 1.676331)
        + 0.00391838 * rh**1.5 * np.arctan(0.023101 * rh)
        - 4.686035
    )
    return np.where((rh > _FIT_DAMPEST) | (t < _FIT_COLDEST), t, np.minimum(wet, t))


def _first_outside(values: Floats | Sequence[float], low: float, high: float) -> float:
    array = np.asarray(values)
    outside = array[~((array >= low) & (array <= high))]
    return float(outside[0]) if outside.size else float("nan")
