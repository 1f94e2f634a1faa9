"""What jobs share: the capacity of every site in every step, and what the peak of the month costs."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np

from outweigh.core.errors import InvalidQuantity
from outweigh.plan.problem import Floats, Places


class CapacityUnit(StrEnum):
    """What capacity is counted in."""

    KW = "kW"  # mean IT power over a step
    DEVICES = "devices"  # mean number of devices held over a step


@dataclass(frozen=True, slots=True, eq=False)
class Capacity:
    """What the sites can give our jobs together. S sites, T steps.

    Attributes:
        limit: of the mean over a step, in `unit`, >= 0, shape (S,) or (S, T); inf is no limit.
        unit: kW of IT power, or devices. Facility kW over PUE is kW of IT.
        demand_rate: what a kW of the highest mean facility power of a step costs [currency/kW], >= 0, shape (S,); empty
            is nothing.
        peak_kw: the highest so far in the billing period [facility kW]: only what goes beyond is paid, shape (S,).

    Raises:
        InvalidQuantity: negative or missing values, shapes that do not fit.
    """

    limit: Floats
    unit: CapacityUnit = CapacityUnit.KW
    demand_rate: Floats = field(default_factory=lambda: np.empty(0))
    peak_kw: Floats = field(default_factory=lambda: np.empty(0))

    def __post_init__(self) -> None:
        if self.limit.ndim not in (1, 2) or not np.all(self.limit >= 0):
            given = f"shape {self.limit.shape}, lowest {np.min(self.limit, initial=np.inf):g}"
            raise InvalidQuantity("capacity", given, "give 0 or more by site, or by site and step")
        for name in ("demand_rate", "peak_kw"):
            each = getattr(self, name)
            if each.size and (each.shape != self.limit.shape[:1] or not np.all((each >= 0) & (each < np.inf))):
                raise InvalidQuantity(name, str(each.tolist()), "give one a site, finite, 0 or more")

    @classmethod
    def of(cls, places: Places) -> Capacity:
        """The capacity that `places` came with; none is no limit."""
        if places.capacity_kw.size:
            return cls(places.capacity_kw)
        return cls(np.full(len(places.names), np.inf))

    def by_step(self, places: Places) -> Floats:
        """The limit, shape (S, T).

        Raises:
            InvalidQuantity: sites or steps other than those of `places`.
        """
        shape = len(places.names), places.steps
        if self.limit.shape not in (shape[:1], shape):
            raise InvalidQuantity("capacity", f"shape {self.limit.shape}", f"the plan has (sites, steps) {shape}")
        rows = self.limit if self.limit.ndim == 2 else self.limit[:, np.newaxis]
        return np.array(np.broadcast_to(rows, shape))

    @property
    def charged(self) -> bool:
        """Whether peaks cost anything."""
        return bool(self.demand_rate.size and self.demand_rate.any())


@dataclass(frozen=True, slots=True, eq=False)
class CapacityPrices:
    """What a unit of capacity is worth: the multipliers of the capacity rows. Shape (S, T), >= 0.

    Attributes:
        limit: [currency per unit and hour]: per kWh of IT energy, or per device-hour.
        demand: share of the demand rate that falls on the step [currency per facility kW]; sums to at most the rate of
            the site. Empty where peaks cost nothing.
    """

    limit: Floats
    demand: Floats = field(default_factory=lambda: np.empty((0, 0)))

    @classmethod
    def none(cls, shape: tuple[int, int], *, charged: bool = False) -> CapacityPrices:
        return cls(np.zeros(shape), np.zeros(shape if charged else (0, 0)))


@dataclass(frozen=True, slots=True, eq=False)
class Committed:
    """What is promised already and not planned again: its capacity is gone, and its peak counts.

    Attributes:
        use: in the unit of the capacity, mean over a step, >= 0, shape (S, T).
        it_kw: IT power of it [kW], for the peak, shape (S, T); empty where the unit is kW, or peaks cost nothing.
    """

    use: Floats
    it_kw: Floats = field(default_factory=lambda: np.empty((0, 0)))

    def __post_init__(self) -> None:
        for name in ("use", "it_kw"):
            each = getattr(self, name)
            if each.ndim != 2 or not np.all((each >= 0) & (each < np.inf)):
                raise InvalidQuantity(f"committed {name}", f"shape {each.shape}", "give 0 or more by site and step")
