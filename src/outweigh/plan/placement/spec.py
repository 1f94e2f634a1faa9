"""A placement as declared in a file: sites not yet looked up, the rest of the question as it stands."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from outweigh.core.intervals import Interval
from outweigh.core.project import SiteSpec
from outweigh.core.quantities import Energy, Money, Price
from outweigh.core.site import Site
from outweigh.plan.placement.problem import Candidate, Caps, Question, Scenario, Shock


@dataclass(frozen=True, slots=True)
class DeclaredSite:
    """A site with what only placement asks of it; see `Candidate`. `country` is "" where it is to be looked up."""

    spec: SiteSpec
    country: str = ""
    provider: str = ""
    opening: Money | None = None


@dataclass(frozen=True, slots=True)
class PlacementSpec:
    """Everything a placement file says; fields as in `Question`."""

    sites: tuple[DeclaredSite, ...]
    energy_it: Energy
    interval: Interval
    home: str
    carbon_price_per_tonne: Money
    scenarios: tuple[Scenario, ...]
    unserved: Price
    shocks: tuple[Shock, ...]
    caps: Caps
    moving: Money | None
    risk_weight: float
    tail: float
    samples: int
    seed: int
    source: str

    def question(self, sites: Sequence[Site], countries: Sequence[str]) -> Question:
        """The question with what was looked up, both in the order of `sites`."""
        candidates = tuple(
            Candidate(site, declared.country or country, declared.provider, declared.opening)
            for declared, site, country in zip(self.sites, sites, countries, strict=True)
        )
        return Question(
            candidates, self.energy_it, self.interval, self.home, self.carbon_price_per_tonne, self.scenarios,
            self.unserved, self.shocks, self.caps, self.moving, self.risk_weight, self.tail, self.samples, self.seed,
        )  # fmt: skip
