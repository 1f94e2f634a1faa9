"""What a site has and may have: its load, the grid's hours, plants of its own, a battery, contracts, a cap."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from outweigh.core.errors import InvalidQuantity
from outweigh.core.quantities import check_currency

Floats = NDArray[np.float64]
_MOST = 1e9  # kW, kWh or money: a terawatt of anything is a slip of units
_MOST_OUTPUT = 1.5  # of rated power: a module in cold sun may pass its rating, a tenfold is a slip of units


@dataclass(frozen=True, slots=True, eq=False)
class Grid:
    """The grid in each step.

    Attributes:
        price_per_kwh: shape (n,), [currency/kWh]; negative is a real price.
        g_per_kwh: average location-based lifecycle intensity, shape (n,), [gCO2e/kWh].
        clean_share: carbon-free share of what the grid delivers, shape (n,), 0 to 1; None where not known.
    """

    price_per_kwh: Floats
    g_per_kwh: Floats
    clean_share: Floats | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Generator:
    """A plant on the site. `output` is power over rated power in each step, shape (n,); `yearly` [currency]."""

    name: str
    capacity_kw: float
    output: Floats
    yearly: float = 0.0

    def __post_init__(self) -> None:
        _at_least_0(f"capacity of {self.name}", self.capacity_kw, "kW")
        _profile(f"output of {self.name}", self.output, _MOST_OUTPUT)


@dataclass(frozen=True, slots=True)
class Battery:
    """A store on the site.

    Attributes:
        power_kw: of charging and of discharging, at its terminals.
        energy_kwh: usable.
        efficiency: of a round trip; half of the loss falls in each direction.
        start_share: state of charge at the start of the first step, and again at the end of the last.
        wear_per_kwh: declared cost of a kWh discharged [currency/kWh].
    """

    power_kw: float
    energy_kwh: float
    efficiency: float
    start_share: float = 0.5
    wear_per_kwh: float = 0.0
    yearly: float = 0.0

    def __post_init__(self) -> None:
        _at_least_0("battery power", self.power_kw, "kW")
        _at_least_0("battery energy", self.energy_kwh, "kWh")
        _at_least_0("wear of a battery", self.wear_per_kwh, "per kWh")
        if not 0 < self.efficiency <= 1:
            remedy = "what comes out is above 0 and at most what went in"
            raise InvalidQuantity("battery efficiency", f"{self.efficiency:g}", remedy)
        if not 0 <= self.start_share <= 1:
            raise InvalidQuantity("state of charge", f"{self.start_share:g}", "it lies between 0 and 1")

    @property
    def one_way(self) -> float:
        return math.sqrt(self.efficiency)


@dataclass(frozen=True, slots=True, eq=False)
class Contract:
    """A power purchase agreement, pay as produced: the strike is paid for all output, the market's price received."""

    capacity_kw: float
    output: Floats
    strike_per_kwh: float

    def __post_init__(self) -> None:
        _at_least_0("capacity of a contract", self.capacity_kw, "kW")
        _profile("output of a contract", self.output, _MOST_OUTPUT)


@dataclass(frozen=True, slots=True, eq=False)
class Site:
    """What is asked. Power is the mean of a step of `step_h` hours; all arrays have shape (n,).

    Attributes:
        cap_kw: what the connection gives, a hard limit; infinite where there is none.
        export_per_kwh: what feeding in earns; None where nothing may be fed in.
        per_tonne: declared price of carbon [currency/t].
    """

    currency: str
    step_h: float
    load_kw: Floats
    grid: Grid
    generators: tuple[Generator, ...] = ()
    battery: Battery | None = None
    contract: Contract | None = None
    cap_kw: float = math.inf
    export_per_kwh: float | None = None
    per_tonne: float = 0.0

    def __post_init__(self) -> None:
        check_currency(self.currency)
        _profile("load", self.load_kw, _MOST)
        if not 0 < self.step_h <= 24:
            raise InvalidQuantity("step", f"{self.step_h:g} h", "steps are of a day at most")
        if not self.cap_kw > 0:
            raise InvalidQuantity("site cap", f"{self.cap_kw:g} kW", "it is above 0")
        _at_least_0("price of carbon", self.per_tonne, "per tonne")
        shapes = [self.grid.price_per_kwh.shape, self.grid.g_per_kwh.shape]
        shapes += [one.output.shape for one in self.generators]
        shapes += [] if self.contract is None else [self.contract.output.shape]
        if any(shape != self.load_kw.shape for shape in shapes):
            raise InvalidQuantity("profile", str(shapes), f"all have the {self.load_kw.size} steps of the load")
        if not np.isfinite(self.grid.price_per_kwh).all():
            raise InvalidQuantity("price", "a step without one", "what is missing stays missing: cut the year there")
        _profile("intensity of the grid", self.grid.g_per_kwh, math.inf)
        if self.grid.clean_share is not None:
            _profile("carbon-free share of the grid", self.grid.clean_share, 1.0)
        if self.export_per_kwh is not None and not math.isfinite(self.export_per_kwh):
            raise InvalidQuantity("price of what is fed in", f"{self.export_per_kwh:g}", "it is a finite number")

    @property
    def own_kw(self) -> Floats:
        """What the plants on the site could give."""
        total = np.zeros_like(self.load_kw)
        for one in self.generators:
            total = total + one.capacity_kw * one.output
        return total

    @property
    def contract_kw(self) -> Floats:
        return (
            np.zeros_like(self.load_kw) if self.contract is None else self.contract.capacity_kw * self.contract.output
        )

    @property
    def years(self) -> float:
        return self.load_kw.size * self.step_h / 8760

    @property
    def yearly(self) -> float:
        """Fixed cost of what is built, a year [currency]."""
        battery = 0.0 if self.battery is None else self.battery.yearly
        return math.fsum(one.yearly for one in self.generators) + battery

    def alone(self) -> Site:
        """The site with the grid and nothing else: what doing nothing is."""
        return replace(self, generators=(), battery=None, contract=None)

    def scaled(self, effort: float) -> Site:
        """So much of what would be built, 0 to 1. At 0 it is `alone` in all but name."""
        if not 0 <= effort <= 1:
            raise InvalidQuantity("share that is built", f"{effort:g}", "it lies between 0 and 1")
        battery, contract = self.battery, self.contract
        return replace(
            self,
            generators=tuple(
                replace(one, capacity_kw=one.capacity_kw * effort, yearly=one.yearly * effort)
                for one in self.generators
            ),
            battery=None
            if battery is None
            else replace(
                battery,
                power_kw=battery.power_kw * effort,
                energy_kwh=battery.energy_kwh * effort,
                yearly=battery.yearly * effort,
            ),
            contract=None if contract is None else replace(contract, capacity_kw=contract.capacity_kw * effort),
        )


def _at_least_0(name: str, value: float, unit: str) -> None:
    if not 0 <= value < _MOST:
        raise InvalidQuantity(name, f"{value:g} {unit}", f"it is 0 or more, and below {_MOST:g}")


def _profile(name: str, values: Floats, most: float) -> None:
    if values.ndim != 1 or not values.size:
        raise InvalidQuantity(name, f"shape {values.shape}", "give one figure or more, in one row")
    outside = values[~((values >= 0) & (values <= most) & np.isfinite(values))]
    if outside.size:
        bound = "0 or more" if math.isinf(most) else f"between 0 and {most:g}"
        raise InvalidQuantity(name, f"{outside[0]:g}", f"it is {bound} in every step")
