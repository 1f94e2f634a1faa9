"""Sites: places with power."""

from __future__ import annotations

from dataclasses import dataclass

from outweigh.core.errors import InvalidQuantity
from outweigh.core.measurement import Factor
from outweigh.core.quantities import CarbonIntensity, Power, Price


@dataclass(frozen=True, slots=True)
class PueCurve:
    """Power usage effectiveness as a line between idle and full load (ISO/IEC 30134-2), >= 1.

    >>> PueCurve(1.6, 1.2).at(0.5)
    1.4
    """

    idle: float
    full: float

    def __post_init__(self) -> None:
        if self.idle < 1 or self.full < 1:
            raise InvalidQuantity("PUE", f"{self.idle}/{self.full}", "facility energy over IT energy is at least 1")

    @property
    def worst(self) -> float:
        """The worse end: what to plan with where the load is not known."""
        return max(self.idle, self.full)

    def at(self, load: float) -> float:
        """PUE at a load fraction in [0, 1]."""
        if not 0 <= load <= 1:
            raise InvalidQuantity("load", repr(load), "give the load as a fraction between 0 and 1")
        return self.idle + (self.full - self.idle) * load


@dataclass(frozen=True, slots=True)
class Site:
    """A place with power: grid zone, price, PUE, capacity; `factors` say where each came from."""

    name: str
    zone: str
    pue: PueCurve
    capacity: Power
    intensity: CarbonIntensity
    price: Price
    factors: tuple[Factor, ...] = ()
