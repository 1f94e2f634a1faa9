"""A claim beside what is published: how many times it, in which year, and whether the two count the same thing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from outweigh.core.errors import InvalidQuantity, UsageError
from outweigh.core.quantities import Energy
from outweigh.data.world import WorldFigure

J_PER_TWH = 3.6e15


@dataclass(frozen=True, slots=True)
class Beside:
    """A figure beside the claim.

    Attributes:
        claim_over: claim over the figure's central value; None where the years differ, as then the ratio would mix
            growth with disagreement, or where there is no central value.
        within: whether the claim lies within the published range of its own year; None likewise.
        own_share: own energy over the central value (the middle of the range where there is none).
        note: why a ratio is missing.
    """

    figure: WorldFigure
    claim_over: float | None
    within: bool | None
    own_share: float
    note: str


def centre_of(figure: WorldFigure) -> float:
    """Central value [TWh], or the middle of the range where the source gives only that."""
    if figure.central_twh is not None:
        return figure.central_twh
    if figure.low_twh is None or figure.high_twh is None:
        raise InvalidQuantity("published figure", figure.key, "it needs a central value, or both ends of a range")
    return (figure.low_twh + figure.high_twh) / 2


def latest_estimate(figures: Sequence[WorldFigure], scope: str = "data centres") -> WorldFigure:
    """The newest figure of a year that has been and of the whole world: what is drawn if nobody does anything."""
    past = [one for one in figures if one.kind == "estimate" and one.scope.startswith(scope)]
    world = [one for one in past if "United States" not in one.scope]
    if not world:
        raise UsageError("there is no estimate of a year that has been", "Add one to the figures")
    return max(world, key=lambda one: one.year)


def beside(claim: WorldFigure, figures: Sequence[WorldFigure], own: Energy) -> tuple[Beside, ...]:
    """A claim beside published figures.

    Args:
        own: what one draws in a year; 0 has no share of anything.

    Raises:
        InvalidQuantity: the own energy is negative.
    """
    if own.joules < 0:
        raise InvalidQuantity("energy", f"{own.to_kwh():g} kWh", "what is drawn is 0 or more")
    return tuple(_one(claim, figure, own) for figure in figures)


def _one(claim: WorldFigure, figure: WorldFigure, own: Energy) -> Beside:
    share = own.joules / (centre_of(figure) * J_PER_TWH)
    if claim.year != figure.year:
        return Beside(figure, None, None, share, f"of {figure.year}, the claim of {claim.year}: no ratio")
    if claim.measure != figure.measure:
        return Beside(figure, None, None, share, f"{figure.measure}, the claim is {claim.measure}: no ratio")
    low = figure.low_twh if figure.low_twh is not None else figure.central_twh
    high = figure.high_twh if figure.high_twh is not None else figure.central_twh
    centre = centre_of(claim)
    within = None if low is None or high is None else low <= centre <= high
    note = "" if claim.scope == figure.scope else "the scopes differ"
    return Beside(figure, centre / centre_of(figure), within, share, note)


def between(earlier: WorldFigure, later: WorldFigure, year: int) -> WorldFigure:
    """What two figures of one publication say of a year between them, at constant growth.

    Ours, not the publisher's: the row says so.

    Raises:
        InvalidQuantity: the year does not lie between them, or they are not of one publication and measure.
    """
    if not earlier.year < year < later.year:
        given = f"{year} between {earlier.year} and {later.year}"
        raise InvalidQuantity("year", given, "only a year between two figures is worked out from them")
    if (earlier.name, earlier.measure) != (later.name, later.measure):
        given = f"{earlier.key} and {later.key}"
        raise InvalidQuantity("pair of figures", given, "take two of one publication: others differ in what they count")
    share = (year - earlier.year) / (later.year - earlier.year)
    central = math.exp((1 - share) * math.log(centre_of(earlier)) + share * math.log(centre_of(later)))
    return replace(
        later,
        key=f"{later.key}-in-{year}",
        year=year,
        low_twh=None,
        central_twh=central,
        high_twh=None,
        kind="interpolation",
        scope=f"data centres; worked out here at constant growth from {earlier.year} to {later.year}",
        checked="worked out here from two figures of the table",
    )
