"""Inputs that are known to a range, and what their ranges make of a result.

The method is that of JCGM 100:2008 (GUM), 5.1.2 with the sensitivities found by moving one input at a time to its ends
(5.1.3, note 2), in logarithms: estimates are products, and ranges of a factor of two have no symmetric `±`. Downward
and upward changes are combined apart, each as the root of the sum of squares, so a lopsided input stays lopsided.
Inputs are taken as independent. Every range, and so every result, is meant to hold about 95 %.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from outweigh.core.errors import InvalidQuantity
from outweigh.core.intervals import Bounds
from outweigh.core.measurement import Grade

METHOD = "GUM in logarithms: one input at a time to its ends, changes combined in quadrature, each side apart"
Model = Callable[[Mapping[str, float]], float]


@dataclass(frozen=True, slots=True)
class Ranged:
    """An input: a positive figure, its ends, and where they come from.

    >>> Ranged.between("utilisation", 0.25, 1.0, "1", "a convention", Grade.D).central
    0.5
    """

    name: str
    central: float
    low: float
    high: float
    unit: str
    source: str
    grade: Grade

    def __post_init__(self) -> None:
        ends = (self.low, self.central, self.high)
        if not all(math.isfinite(end) and end > 0 for end in ends):
            raise InvalidQuantity(self.name, " to ".join(f"{end:g}" for end in ends), "give figures above 0")
        # A geometric middle of two equal ends may be off by a rounding.
        if not self.low * (1 - 1e-12) <= self.central <= self.high * (1 + 1e-12):
            said = f"{self.low:g} to {self.high:g} around {self.central:g}"
            raise InvalidQuantity(self.name, said, "write low:central:high, each no smaller than the one before")

    @classmethod
    def exactly(cls, name: str, value: float, unit: str, source: str, grade: Grade) -> Ranged:
        return cls(name, value, value, value, unit, source, grade)

    @classmethod
    def between(cls, name: str, low: float, high: float, unit: str, source: str, grade: Grade) -> Ranged:
        """The geometric middle of two ends: as many times above the one as below the other."""
        middle = math.sqrt(low * high) if min(low, high) > 0 else low
        return cls(name, middle, low, high, unit, source, grade)

    def at_most(self, ceiling: float, remedy: str) -> Ranged:
        """Itself. Raises InvalidQuantity where an end lies above `ceiling`."""
        if self.high > ceiling:
            raise InvalidQuantity(self.name, f"{self.high:g}", remedy)
        return self

    def at_least(self, floor: float, remedy: str) -> Ranged:
        """Itself. Raises InvalidQuantity where an end lies below `floor`."""
        if self.low < floor:
            raise InvalidQuantity(self.name, f"{self.low:g}", remedy)
        return self


@dataclass(frozen=True, slots=True)
class Propagated:
    """A result with its ends at about 95 %.

    Attributes:
        contributions: input -> (low, high), what the result is with that input alone at its ends; widest first.
    """

    value: float
    bounds: Bounds
    contributions: Mapping[str, tuple[float, float]]


def propagate(model: Model, inputs: Sequence[Ranged]) -> Propagated:
    """What `model` gives for the central inputs, and the ends that the ranges of the inputs lend it.

    Args:
        model: from the inputs by name to a result that is positive, or 0 for no work at all.

    Raises:
        InvalidQuantity: a result that is no finite positive number.

    >>> found = propagate(
    ...     lambda x: x["a"] * x["b"],
    ...     [Ranged.between("a", 1, 4, "1", "", Grade.D), Ranged.exactly("b", 5, "1", "", Grade.D)],
    ... )
    >>> found.value, round(found.bounds.low, 9), round(found.bounds.high, 9)
    (10.0, 5.0, 20.0)
    """
    centre = {one.name: one.central for one in inputs}
    value = model(centre)
    if not (math.isfinite(value) and value >= 0):
        raise InvalidQuantity("estimate", f"{value:g}", "the figures are beyond what can be computed: check them")
    if value == 0:
        return Propagated(0.0, Bounds(0.0, 0.0), {})
    down = up = 0.0
    contributions: dict[str, tuple[float, float]] = {}
    for one in inputs:
        results = [model({**centre, one.name: end}) for end in (one.low, one.high)]
        low, high = min(value, *results), max(value, *results)
        if not (low > 0 and math.isfinite(high)):
            raise InvalidQuantity("estimate", f"{high:g}", "the figures are beyond what can be computed: check them")
        down += math.log(value / low) ** 2
        up += math.log(high / value) ** 2
        if low < high:
            contributions[one.name] = (low, high)
    ends = Bounds(value * math.exp(-math.sqrt(down)), value * math.exp(math.sqrt(up)))
    ordered = sorted(contributions.items(), key=lambda pair: pair[1][0] / pair[1][1])
    return Propagated(value, ends, dict(ordered))
