"""What regions are compared by, and what is known of one: a figure with its source, or why there is none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from outweigh.core.errors import InvalidQuantity
from outweigh.core.measurement import Factor, Missing

Cell = Factor | Missing


class Criterion(StrEnum):
    """One column. Lower is better in all but governance."""

    CARBON = "carbon"
    PUE = "pue"
    WATER = "water"
    PRICE = "price"
    GPU = "gpu"
    GOVERNANCE = "governance"
    DISTANCE = "distance"
    DATA = "data"

    @property
    def higher_is_better(self) -> bool:
        return self is Criterion.GOVERNANCE


@dataclass(frozen=True, slots=True)
class Region:
    """A cloud region with its cells, one for every criterion asked for.

    Attributes:
        key: "provider:region". country: ISO 3166-1 alpha-2, "" where not known. zone: of the grid, likewise.
        latitude, longitude: [degrees, WGS 84], None where not published.
    """

    key: str
    name: str
    country: str
    zone: str
    latitude: float | None
    longitude: float | None
    cells: Mapping[Criterion, Cell]

    @property
    def provider(self) -> str:
        return self.key.partition(":")[0]

    def value(self, criterion: Criterion) -> float | None:
        cell = self.cells[criterion]
        return cell.value if isinstance(cell, Factor) else None

    @property
    def missing(self) -> tuple[Criterion, ...]:
        return tuple(criterion for criterion, cell in self.cells.items() if isinstance(cell, Missing))


def check_weights(weights: Mapping[Criterion, float]) -> None:
    """Raises InvalidQuantity for a weight that is negative or not finite, or where all are 0."""
    for criterion, weight in weights.items():
        if not 0 <= weight < float("inf"):
            raise InvalidQuantity(f"weight of {criterion}", repr(weight), "give 0 or more")
    if not any(weights.values()):
        raise InvalidQuantity("set of weights", "all of them 0", "give one criterion a weight above 0")
