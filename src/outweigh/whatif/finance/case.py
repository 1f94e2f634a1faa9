"""A business case: units delivered a year, energy of each, prices that move, and options that change them.

Units grow, each takes energy, energy has a price and emits. An option changes the energy of a unit and costs money,
now and every year. What it saves per unit may come back as more units: the rebound, R of the expected saving. With s
the cut per unit, units grow to (1 - s (1 - R)) / (1 - s) of what they were, so that energy falls by s (1 - R); above
R = 100 % the total rises though each unit takes less (backfire).

Source of the rebound as a share of the expected saving: Sorrell, The Rebound Effect, UK Energy Research Centre, 2007.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from outweigh.core.errors import InvalidQuantity, UsageError
from outweigh.whatif.finance.cash import npv

Floats = NDArray[np.float64]
DO_NOTHING = "do nothing"
_G_PER_TONNE = 1e6
_MOST_YEARS = 60
# What of the base is above -100 %, and what is 0 or more.
_GROWING = ("growth", "price_growth", "carbon_growth", "running_growth", "rate")
_POSITIVE = ("units", "energy", "intensity", "carbon", "value", "running")
BASE = (*_POSITIVE[:2], "price", *_POSITIVE[2:], *_GROWING)
OF_OPTION = ("change", "capex", "running", "rebound", "price", "intensity")


@dataclass(frozen=True, slots=True)
class Ranged:
    """An input and the range it may lie in."""

    value: float
    low: float
    high: float

    def __post_init__(self) -> None:
        if not (self.low <= self.value <= self.high) or not math.isfinite(self.high - self.low):
            given = f"{self.value:g} in {self.low:g} to {self.high:g}"
            raise InvalidQuantity("range", given, "the value lies between low and high, and all are finite")

    @classmethod
    def exactly(cls, value: float) -> Ranged:
        return cls(value, value, value)

    @property
    def spread(self) -> bool:
        return self.low < self.high


@dataclass(frozen=True, slots=True)
class Option:
    """Something that could be done instead of nothing.

    Attributes:
        change: of the energy of a unit: -0.4 takes 40 % off.
        capex: paid at the start.
        running: paid every year on top.
        rebound: share of the expected saving that comes back as more units.
        price, intensity: change of the price of energy and of its carbon: another contract, another place.
    """

    name: str
    change: Ranged = Ranged(0.0, 0.0, 0.0)
    capex: Ranged = Ranged(0.0, 0.0, 0.0)
    running: Ranged = Ranged(0.0, 0.0, 0.0)
    rebound: Ranged = Ranged(0.0, 0.0, 0.0)
    price: Ranged = Ranged(0.0, 0.0, 0.0)
    intensity: Ranged = Ranged(0.0, 0.0, 0.0)
    grade: str = "D"
    source: str = ""

    def __post_init__(self) -> None:
        for key in ("change", "price", "intensity"):
            if getattr(self, key).low <= -1:
                given = f"{100 * getattr(self, key).low:g} %"
                raise InvalidQuantity(f"{self.name}: {key}", given, "it lies above -100 %: nothing is done for nothing")
        if self.rebound.low < 0:
            given = f"{100 * self.rebound.low:g} %"
            raise InvalidQuantity(f"{self.name}: rebound", given, "it is 0 or more; above 100 % it backfires")


@dataclass(frozen=True, slots=True)
class Flows:
    """What one way of going on pays and draws, year by year; arrays have shape (..., years + 1), year 0 first.

    Attributes:
        cash: money in the case's currency, coming in positive.
        kwh, tonnes, units: of each year.
    """

    cash: Floats
    kwh: Floats
    tonnes: Floats
    units: Floats


@dataclass(frozen=True, slots=True)
class Case:
    """What stays and what could change.

    Attributes:
        inputs: of the base, by the names of `BASE`: units a year, energy of a unit [kWh], price [currency/kWh],
            intensity [g/kWh], carbon [currency/t], value of a unit [currency], running cost [currency/year], and the
            yearly growth of units, price, carbon price and running cost; `rate` discounts.
    """

    currency: str
    years: int
    inputs: Mapping[str, Ranged]
    options: tuple[Option, ...]
    unit: str = "unit"
    source: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        if not 1 <= self.years <= _MOST_YEARS:
            raise InvalidQuantity("years of the case", str(self.years), f"look 1 to {_MOST_YEARS} years ahead")
        if missing := set(BASE) - set(self.inputs):
            raise UsageError(f"the case lacks {', '.join(sorted(missing))}", "Give each, 0 where there is none")
        for name, one in self.inputs.items():
            if name in _GROWING and one.low <= -1:
                raise InvalidQuantity(name, f"{100 * one.low:g} %", "it lies above -100 % a year")
            if name in _POSITIVE and one.low < 0:
                raise InvalidQuantity(name, f"{one.low:g}", "it is 0 or more")
        names = [option.name for option in self.options]
        if twice := {name for name in (*names, DO_NOTHING) if (*names, DO_NOTHING).count(name) > 1}:
            raise UsageError(f"two ways are called {min(twice)!r}", "Name them apart")
        object.__setattr__(self, "inputs", MappingProxyType(dict(self.inputs)))

    def ranged(self) -> dict[str, Ranged]:
        """Every input by name; those of an option as `name: input`."""
        found = dict(self.inputs)
        for option in self.options:
            found |= {f"{option.name}: {key}": getattr(option, key) for key in OF_OPTION}
        return found

    def option(self, name: str) -> Option:
        found = next((option for option in self.options if option.name == name), None)
        if found is None:
            raise UsageError(f"no option is called {name!r}", f"There are {', '.join(o.name for o in self.options)}")
        return found

    def flows(self, option: str = DO_NOTHING, given: Mapping[str, Floats | float] | None = None) -> Flows:
        """Payments and energy of a way of going on.

        Args:
            given: inputs by the names of `ranged` in place of the case's own, scalars or arrays of shape (n,).

        Returns:
            Arrays of shape (years + 1,), or (n, years + 1) where arrays were given.
        """
        with np.errstate(over="ignore", invalid="ignore"):
            found = self._flows(option, given)
        if not all(np.isfinite(one).all() for one in (found.cash, found.kwh, found.tonnes, found.units)):
            remedy = "check units, growth and prices: some figure is beyond what can be counted"
            raise InvalidQuantity("business case", f"{option!r} over {self.years} years", remedy)
        return found

    def _flows(self, option: str, given: Mapping[str, Floats | float] | None) -> Flows:
        values = {name: one.value for name, one in self.ranged().items()} | dict(given or {})
        base = {name: np.asarray(values[name], dtype=np.float64)[..., None] for name in BASE}
        if option == DO_NOTHING:
            own = {key: np.zeros(1) for key in OF_OPTION}
        else:
            self.option(option)
            own = {key: np.asarray(values[f"{option}: {key}"], dtype=np.float64)[..., None] for key in OF_OPTION}
        year = np.arange(1, self.years + 1)
        grown = {name: (1 + base[name]) ** (year - 1) for name in _GROWING if name != "rate"}
        saved = np.maximum(-own["change"], 0.0)
        units = base["units"] * grown["growth"] * (1 - saved * (1 - own["rebound"])) / (1 - saved)
        kwh = units * base["energy"] * (1 + own["change"])
        tonnes = kwh * base["intensity"] * (1 + own["intensity"]) / _G_PER_TONNE
        cash = (
            units * base["value"]
            - kwh * base["price"] * (1 + own["price"]) * grown["price_growth"]
            - tonnes * base["carbon"] * grown["carbon_growth"]
            - (base["running"] + own["running"]) * grown["running_growth"]
        )
        drawn = np.broadcast_shapes(*(one.shape[:-1] for one in (cash, own["capex"])))
        start = np.broadcast_to(-own["capex"], (*drawn, 1))
        nothing = np.zeros_like(start)
        return Flows(*(
            np.concatenate([first, np.broadcast_to(rest, (*drawn, self.years))], axis=-1)
            for first, rest in ((start, cash), (nothing, kwh), (nothing, tonnes), (nothing, units))
        ))  # fmt: skip

    def npv(self, option: str = DO_NOTHING, given: Mapping[str, Floats | float] | None = None) -> Floats:
        """Present value of a way of going on, shape () or (n,)."""
        rate = (given or {}).get("rate", self.inputs["rate"].value)
        return npv(self.flows(option, given).cash, rate)

    def gain(self, option: str, given: Mapping[str, Floats | float] | None = None) -> Floats:
        """Present value of an option less that of doing nothing, shape () or (n,)."""
        return self.npv(option, given) - self.npv(DO_NOTHING, given)
