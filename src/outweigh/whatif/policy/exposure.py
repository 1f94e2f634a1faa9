"""What each shock costs a load at each place, and what support would keep it at home."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from outweigh.core.constants import G_PER_TONNE
from outweigh.core.errors import UsageError
from outweigh.whatif.policy.question import TODAY, Load, Place, Shock

_KWH_PER_MWH = 1e3


@dataclass(frozen=True, slots=True)
class Exposure:
    """A year's cost of the load at a place [currency]: as today, and in each shock by its name.

    Attributes:
        unserved: share of the load that runs nowhere, by shock.
    """

    place: Place
    today: float
    shocked: Mapping[str, float]
    unserved: Mapping[str, float]

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

    What a shock keeps from running at its place runs at the cheapest other one that the same shock lets take it, or
    nowhere, whichever is cheaper. Places that let it in are taken to have room, in the hours in which they are on.

    Raises:
        UsageError: no place, two of one name, or a shock on a place that is not there.
    """
    _check(places, shocks)
    found = []
    for place in places:
        shocked = {shock.name: _weighed(load, place, places, shock) for shock in shocks}
        found.append(
            Exposure(
                place,
                cost(load, place, places, TODAY),
                {name: amount for name, (amount, _) in shocked.items()},
                {name: unserved for name, (_, unserved) in shocked.items()},
            )
        )
    return tuple(found)


def cost(load: Load, place: Place, places: Sequence[Place], shock: Shock) -> float:
    """A year's cost of the load at a place [currency]."""
    return _weighed(load, place, places, shock)[0]


def _weighed(load: Load, place: Place, places: Sequence[Place], shock: Shock) -> tuple[float, float]:
    """The cost [currency], and the share of the load that runs nowhere.

    Hours in which several places must be off are taken to be the same ones, as what takes power away takes it in its
    worst hours: a place that is off takes nothing from its neighbour then.
    """
    per_tonne = load.per_tonne if shock.per_tonne is None else shock.per_tonne
    hit = shock.on(place.name, place.name)
    others = [
        (other.rate(there, per_tonne), there.duty)
        for other in places
        if other.name != place.name and (there := shock.on(other.name, place.name)).lets_in
    ]
    displaced = hit.displaced(load.new_share)
    barred = 1.0 if hit.lost else load.new_share if hit.moratorium else 0.0
    edges = sorted({0.0, 1.0, hit.duty, *(duty for _, duty in others)})
    elsewhere = unserved = 0.0
    for start, end in pairwise(edges):
        moving = (end - start) * (1.0 if start < hit.duty else barred)
        best = min((rate for rate, duty in others if duty <= start), default=math.inf)
        elsewhere += moving * min(best, load.unserved_per_kwh)
        unserved += moving if best > load.unserved_per_kwh else 0.0
    return load.it_kwh * ((1 - displaced) * place.rate(hit, per_tonne) + elsewhere), unserved


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
        if other.name != home.name and (there := shock.on(other.name, home.name)).lets_in and there.duty == 0
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
