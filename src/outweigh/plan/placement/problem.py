"""What is asked of a placement: candidates, what may happen to them, and what is allowed."""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from outweigh.core.errors import InvalidQuantity, UsageError
from outweigh.core.intervals import Interval
from outweigh.core.quantities import Energy, Money, Price
from outweigh.core.site import Site

_SUM_TOLERANCE = 1e-6  # probabilities are written by people, with so many digits


class Grouping(StrEnum):
    """What sites can have in common, so that one event hits them together."""

    SITE = "site"
    COUNTRY = "country"
    GRID = "grid"
    PROVIDER = "provider"


@dataclass(frozen=True, slots=True)
class Candidate:
    """A site where load may be placed.

    Attributes:
        country: ISO 3166-1 alpha-2; "" where not known, which no cap and no concentration counts as one country.
        provider: who runs it; "" likewise.
        opening: paid once for the term when any load is planned here; None where nothing is.
    """

    site: Site
    country: str = ""
    provider: str = ""
    opening: Money | None = None

    def group(self, by: Grouping) -> str:
        names = {
            Grouping.SITE: self.site.name,
            Grouping.COUNTRY: self.country,
            Grouping.GRID: self.site.zone,
            Grouping.PROVIDER: self.provider,
        }
        return names[by]


@dataclass(frozen=True, slots=True)
class Change:
    """What happens to one site.

    Attributes:
        price_factor: on the price of electricity; 1.5 is 50 % more.
        price_added: [currency/kWh] on top of it, None for nothing.
        capacity_left: share of the capacity that is left, 0 to 1.
        duty: share of the hours in which the site must be off (a duty to curtail), 0 up to 1.
        lost: nothing runs there.
    """

    price_factor: float = 1.0
    price_added: Price | None = None
    capacity_left: float = 1.0
    duty: float = 0.0
    lost: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.price_factor < math.inf:
            raise InvalidQuantity("change of price", repr(self.price_factor), "prices are multiplied by 0 or more")
        if not 0 <= self.capacity_left <= 1:
            raise InvalidQuantity("share of capacity", repr(self.capacity_left), "it lies between 0 and 1")
        if not 0 <= self.duty < 1:
            raise InvalidQuantity("curtailment duty", repr(self.duty), "it is a share of the hours, from 0 to below 1")


@dataclass(frozen=True, slots=True)
class Scenario:
    """One state of the world for the whole term. `at` names the sites that are not as they were."""

    name: str
    probability: float
    carbon_price: Money | None = None
    at: Mapping[str, Change] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _probability(self.name, self.probability)


@dataclass(frozen=True, slots=True)
class Shock:
    """A change that befalls each of its sites on its own, whatever befalls the others. No sites: all of them."""

    name: str
    probability: float
    change: Change
    sites: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _probability(self.name, self.probability)


@dataclass(frozen=True, slots=True)
class Caps:
    """The largest planned share in one site, country, grid zone and provider; 1 is no cap."""

    site: float = 1.0
    country: float = 1.0
    grid: float = 1.0
    provider: float = 1.0

    def __post_init__(self) -> None:
        for by in Grouping:
            if not 0 < self.of(by) <= 1:
                raise InvalidQuantity(f"cap per {by}", repr(self.of(by)), "it is a share above 0 and up to 1")

    def of(self, by: Grouping) -> float:
        caps = {
            Grouping.SITE: self.site,
            Grouping.COUNTRY: self.country,
            Grouping.GRID: self.grid,
            Grouping.PROVIDER: self.provider,
        }
        return caps[by]


@dataclass(frozen=True, slots=True)
class Question:
    """A placement to be found.

    Attributes:
        candidates: with prices in one currency and intensities of one basis and scope.
        energy_it: IT energy of the term, before PUE, > 0; its mean power is what counts against capacities.
        home: where it all runs today.
        carbon_price_per_tonne: where a scenario names none.
        unserved: price of an IT kWh that runs nowhere.
        moving: price of moving all of the load once, after a scenario has come true; None: it stays where it was put.
        risk_weight: of CVaR in the objective, 0 (the mean alone) to 1 (the tail alone).
        tail: level of the CVaR, 0.95 for the worst 5 %.
        samples: draws of the shocks, where there are too many combinations to list.
        seed: of the draws.
    """

    candidates: tuple[Candidate, ...]
    energy_it: Energy
    interval: Interval
    home: str
    carbon_price_per_tonne: Money
    scenarios: tuple[Scenario, ...]
    unserved: Price
    shocks: tuple[Shock, ...] = ()
    caps: Caps = field(default_factory=Caps)
    moving: Money | None = None
    risk_weight: float = 0.5
    tail: float = 0.95
    samples: int = 1000
    seed: int = 0

    @property
    def currency(self) -> str:
        return self.carbon_price_per_tonne.currency

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(candidate.site.name for candidate in self.candidates)

    def __post_init__(self) -> None:
        _check_candidates(self)
        _check_money(self)
        _check_scenarios(self)
        for what, value in (("weight of risk", self.risk_weight),):
            if not 0 <= value <= 1:
                raise InvalidQuantity(what, repr(value), "it lies between 0 and 1")
        if not 0 <= self.tail < 1:
            raise InvalidQuantity("tail", repr(self.tail), "0.95 stands for the worst 5 %")
        if self.energy_it.joules <= 0:
            raise InvalidQuantity("energy to place", f"{self.energy_it.to_kwh()} kWh", "give more than 0")
        if self.samples < 1:
            raise InvalidQuantity("number of samples", str(self.samples), "give 1 or more")


def _probability(name: str, value: float) -> None:
    if not 0 <= value <= 1:
        raise InvalidQuantity(f"probability of {name}", repr(value), "it lies between 0 and 1")


def _check_candidates(question: Question) -> None:
    names = question.names
    if not names:
        raise UsageError("there is no site to place load at", "Declare one under [site.NAME] in energy.toml")
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise UsageError(f"two sites are called {twice!r}", "Give every site a name of its own")
    known_site(question.home, names, "home")
    if len({(c.site.intensity.basis, c.site.intensity.scope) for c in question.candidates}) > 1:
        raise UsageError("the sites' carbon is of two kinds", "Take one basis and one scope for all of them")


def _check_money(question: Question) -> None:
    found: dict[str, str] = {question.currency: "the price of carbon"}
    for candidate in question.candidates:
        found.setdefault(candidate.site.price.currency, f"the price at {candidate.site.name}")
        if candidate.opening is not None:
            found.setdefault(candidate.opening.currency, f"opening {candidate.site.name}")
            if candidate.opening.amount < 0:
                what = f"cost of opening {candidate.site.name}"
                raise InvalidQuantity(what, str(candidate.opening.amount), "give 0 or more")
        if candidate.site.capacity.watts < 0:
            what = f"capacity of {candidate.site.name}"
            raise InvalidQuantity(what, f"{candidate.site.capacity.watts} W", "give 0 or more")
    found.setdefault(question.unserved.currency, "the price of unserved load")
    if question.moving is not None:
        found.setdefault(question.moving.currency, "the price of moving")
        if question.moving.amount < 0:
            raise InvalidQuantity("price of moving", str(question.moving.amount), "give 0 or more")
    for scenario in question.scenarios:
        if scenario.carbon_price is not None:
            found.setdefault(scenario.carbon_price.currency, f"the price of carbon in {scenario.name}")
    for name, change in _changes(question):
        if change.price_added is not None:
            found.setdefault(change.price_added.currency, f"the price in {name}")
    prices = [question.carbon_price_per_tonne, *(s.carbon_price for s in question.scenarios if s.carbon_price)]
    for price in prices:
        if price.amount < 0:
            raise InvalidQuantity("price of carbon", str(price.amount), "give 0 or more per tonne")
    if question.unserved.amount_per_kwh <= 0:
        given = f"{question.unserved.amount_per_kwh} {question.unserved.currency}/kWh"
        raise InvalidQuantity("price of unserved load", given, "leaving load unserved costs more than nothing")
    if len(found) > 1:
        each = ", ".join(f"{where} in {currency}" for currency, where in found.items())
        raise UsageError(f"two currencies do not add: {each}", "Convert them at a rate you state, and declare one")


def _check_scenarios(question: Question) -> None:
    if not question.scenarios:
        raise UsageError("there is no scenario", "Declare at least one, with probability 1")
    total = math.fsum(scenario.probability for scenario in question.scenarios)
    if abs(total - 1) > _SUM_TOLERANCE:
        remedy = "Declare what else may happen, 'as today' at the least" if total < 1 else "Lower some of them"
        raise UsageError(f"the probabilities of the scenarios sum to {total:.6g}, not to 1", remedy)
    for scenario in question.scenarios:
        for name in scenario.at:
            known_site(name, question.names, f"scenario {scenario.name}")
    for shock in question.shocks:
        for name in shock.sites:
            known_site(name, question.names, f"shock {shock.name}")
    for name in question.names:
        if all(name in s.at and s.at[name].lost for s in question.scenarios):
            raise UsageError(f"{name} is lost in every scenario", "Leave the site out of the question")


def _changes(question: Question) -> Sequence[tuple[str, Change]]:
    declared = [(scenario.name, change) for scenario in question.scenarios for change in scenario.at.values()]
    return [*declared, *((shock.name, shock.change) for shock in question.shocks)]


def known_site(name: str, names: Sequence[str], who: str) -> None:
    """Raises UsageError with the nearest name where no site is called that."""
    if name not in names:
        near = difflib.get_close_matches(name, names, n=1)
        remedy = f"Did you mean {near[0]!r}?" if near else f"The sites are {', '.join(names)}"
        raise UsageError(f"{who} names {name!r}, but no site is called that", remedy)
