"""What each shock costs a load at each place, and what support would keep it at home."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from outweigh.core.constants import G_PER_TONNE
from outweigh.core.errors import UsageError
from outweigh.whatif.policy.question import TODAY, Load, Place, Shock

_KWH_PER_MWH = 1e3


@dataclass(frozen=True, slots=True)
class Exposure:
    """A year's cost of the load at a place [currency]: as today, and in each shock by its name."""

    place: Place
    today: float
    shocked: Mapping[str, float]

    def more(self, shock: str) -> float:
        """What the shock adds [currency]; negative is less."""
        return self.shocked[shock] - self.today

    @property
    def worst(self) -> float:
        """The highest of all its costs, today's among them."""
        return max([self.today, *self.shocked.values()])


@dataclass(frozen=True, slots=True)
class Gap:
    """What support makes home as cheap as its best rival, in one state of the world.

    Attributes:
        rival: the cheapest other place; "" where there is none.
        gap: a year's support [currency]; 0 where home is the cheapest.
        per_mwh: of facility energy that runs at home [currency/MWh]; None where nothing can run there.
        tonnes: carbon of what runs at home less that of the same at the rival [t]: below 0 home is the cleaner one.
        per_tonne: support over the tonnes that it changes, whichever way [currency/t]; None where it changes none.
            Where home is the cleaner one it is the price of a tonne saved, else what is paid with each tonne more.
    """

    shock: str
    home_cost: float
    rival: str
    rival_cost: float | None
    gap: float
    per_mwh: float | None
    tonnes: float | None
    per_tonne: float | None


def exposures(load: Load, places: Sequence[Place], shocks: Sequence[Shock]) -> tuple[Exposure, ...]:
    """The cost of the whole load at each place, today and in each shock.

    What a shock keeps from running at its place runs at the cheapest other one in the same shock, or nowhere, whichever
    is cheaper. The other places are taken to have room.

    Raises:
        UsageError: no place, two of one name, or a shock on a place that is not there.
    """
    _check(places, shocks)
    return tuple(
        Exposure(
            place,
            cost(load, place, places, TODAY),
            {shock.name: cost(load, place, places, shock) for shock in shocks},
        )
        for place in places
    )


def cost(load: Load, place: Place, places: Sequence[Place], shock: Shock) -> float:
    """A year's cost of the load at a place [currency]."""
    per_tonne = load.per_tonne if shock.per_tonne is None else shock.per_tonne
    hit = shock.on(place.name, place.name)
    displaced = hit.displaced(load.new_share)
    elsewhere = load.unserved_per_kwh
    for other in places:
        there = shock.on(other.name, place.name)
        if other.name != place.name and not there.lost:
            elsewhere = min(elsewhere, other.rate(there, per_tonne))
    return load.it_kwh * ((1 - displaced) * place.rate(hit, per_tonne) + displaced * elsewhere)


def incentive_gap(
    load: Load, places: Sequence[Place], home: str, shocks: Sequence[Shock], *, today: bool = True
) -> tuple[Gap, ...]:
    """Per state of the world, today first: what support makes home equal its best rival.

    A shock on `each` place befalls home here, and the rivals not.

    Raises:
        UsageError: home is not among the places.
    """
    _check(places, shocks)
    named = {place.name: place for place in places}
    if home not in named:
        raise UsageError(f"no place is called {home!r}", f"There are {', '.join(named)}")
    return tuple(_gap(load, named[home], places, shock) for shock in ((TODAY, *shocks) if today else shocks))


def _gap(load: Load, home: Place, places: Sequence[Place], shock: Shock) -> Gap:
    home_cost = cost(load, home, places, shock)
    per_tonne = load.per_tonne if shock.per_tonne is None else shock.per_tonne
    rivals = [
        (load.it_kwh * other.rate(there, per_tonne), other)
        for other in places
        if other.name != home.name
        and not (there := shock.on(other.name, home.name)).lost
        and there.displaced(load.new_share) == 0
    ]
    if not rivals:
        return Gap(shock.name, home_cost, "", None, 0.0, 0.0, None, None)
    rival_cost, rival = min(rivals, key=lambda pair: pair[0])
    gap = max(0.0, home_cost - rival_cost)
    stays = 1 - shock.on(home.name, home.name).displaced(load.new_share)
    kwh = load.it_kwh * home.pue * stays
    # What is displaced runs elsewhere either way.
    tonnes = stays * load.it_kwh * (home.pue * home.g_per_kwh - rival.pue * rival.g_per_kwh) / G_PER_TONNE
    return Gap(
        shock=shock.name,
        home_cost=home_cost,
        rival=rival.name,
        rival_cost=rival_cost,
        gap=gap,
        per_mwh=0.0 if gap == 0 else gap / (kwh / _KWH_PER_MWH) if kwh > 0 else None,
        tonnes=tonnes,
        per_tonne=gap / abs(tonnes) if tonnes != 0 else None,
    )


def _check(places: Sequence[Place], shocks: Sequence[Shock]) -> None:
    names = [place.name for place in places]
    if not names:
        raise UsageError("there is no place", "Declare a site")
    if len(set(names)) < len(names):
        raise UsageError("two places have one name", "Give each its own")
    for shock in shocks:
        if unknown := [name for name in shock.at if name not in names]:
            raise UsageError(f"{shock.name} befalls {unknown[0]!r}, which is no place", f"There are {', '.join(names)}")
