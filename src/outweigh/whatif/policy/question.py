"""What is asked of policy: a load, the places it may be, and what may befall them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from outweigh.core.constants import G_PER_TONNE
from outweigh.core.errors import InvalidQuantity
from outweigh.core.quantities import check_currency


@dataclass(frozen=True, slots=True)
class Place:
    """A place for the load.

    Attributes:
        price_per_kwh: [currency/kWh] at the gate; g_per_kwh: location-based, lifecycle [gCO2e/kWh].
        pue: facility over IT energy, 1 or more.
        governance: mean percentile rank of the World Bank's indicators, 0 to 100; None where not known.
        import_share: net imports over the use of electricity; negative exports, None where not known.
    """

    name: str
    country: str
    price_per_kwh: float
    g_per_kwh: float
    pue: float
    governance: float | None = None
    import_share: float | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.pue < math.inf:
            raise InvalidQuantity("PUE", f"{self.pue:g}", "a facility draws at least what its machines draw: 1 or more")
        if not math.isfinite(self.price_per_kwh):
            raise InvalidQuantity("price", f"{self.price_per_kwh:g}", "it is a finite number")
        if not 0 <= self.g_per_kwh < math.inf:
            raise InvalidQuantity("carbon intensity", f"{self.g_per_kwh:g}", "an average intensity is not negative")
        if self.governance is not None and not 0 <= self.governance <= 100:
            raise InvalidQuantity("governance", f"{self.governance:g}", "a percentile rank lies between 0 and 100")
        if self.import_share is not None and not -10 <= self.import_share <= 1:
            remedy = "net imports over use: at most 100 %, below 0 for an exporter"
            raise InvalidQuantity("import share", f"{self.import_share:g}", remedy)

    def rate(self, hit: Hit, per_tonne: float) -> float:
        """Cost of an IT kWh that runs here [currency]: PUE x (price + carbon x its price)."""
        carbon = self.g_per_kwh / G_PER_TONNE * per_tonne
        return self.pue * (self.price_per_kwh * hit.price_factor + hit.price_added + carbon)


@dataclass(frozen=True, slots=True)
class Hit:
    """What befalls one place.

    Attributes:
        price_factor, price_added: on the price of electricity [1], and on top of it [currency/kWh].
        duty: share of the hours in which it must be off, 0 up to 1.
        moratorium: no new load is let in: the part of the load that is new goes elsewhere.
        lost: nothing runs there.
    """

    price_factor: float = 1.0
    price_added: float = 0.0
    duty: float = 0.0
    moratorium: bool = False
    lost: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.price_factor < math.inf:
            raise InvalidQuantity("change of price", f"{self.price_factor:g}", "prices are multiplied by 0 or more")
        if not math.isfinite(self.price_added):
            raise InvalidQuantity("change of price", f"{self.price_added:g}", "it is a finite number")
        if not 0 <= self.duty < 1:
            raise InvalidQuantity("curtailment duty", f"{self.duty:g}", "it is a share of the hours, from 0 to below 1")

    @property
    def lets_in(self) -> bool:
        """Whether load from elsewhere may come: wherever it ran before, it is new here."""
        return not self.lost and not self.moratorium

    def displaced(self, new_share: float) -> float:
        """Share of the load that cannot run there."""
        return 1.0 if self.lost else 1 - (1 - self.duty) * (1 - (new_share if self.moratorium else 0.0))


@dataclass(frozen=True, slots=True)
class Shock:
    """A declared change. It has no probability: that is for a placement (docs/placement.md).

    Attributes:
        per_tonne: price of carbon everywhere [currency/t]; None leaves it as it is today.
        at: what befalls named places, whoever is asked about.
        each: what befalls the place that is asked about, and no other.
    """

    name: str
    per_tonne: float | None = None
    at: Mapping[str, Hit] = field(default_factory=dict)
    each: Hit | None = None

    def __post_init__(self) -> None:
        if self.per_tonne is not None and not 0 <= self.per_tonne < math.inf:
            raise InvalidQuantity("price of carbon", f"{self.per_tonne:g}", "it is 0 or more")

    def on(self, place: str, asked: str) -> Hit:
        """What befalls a place where another, or the same, is asked about."""
        if place in self.at:
            return self.at[place]
        return self.each if self.each is not None and place == asked else Hit()


@dataclass(frozen=True, slots=True)
class Load:
    """A year's load.

    Attributes:
        it_kwh: IT energy, before PUE.
        new_share: of it that is new this year, 0 to 1: what a moratorium keeps out.
        per_tonne: price of carbon today [currency/t].
        unserved_per_kwh: cost of an IT kWh that runs nowhere: the dearest way out.
    """

    it_kwh: float
    currency: str
    unserved_per_kwh: float
    per_tonne: float = 0.0
    new_share: float = 0.0

    def __post_init__(self) -> None:
        check_currency(self.currency)
        if not 0 < self.it_kwh < math.inf:
            raise InvalidQuantity("energy of a load", f"{self.it_kwh:g} kWh", "it is above 0")
        if not 0 <= self.new_share <= 1:
            raise InvalidQuantity("share that is new", f"{self.new_share:g}", "it lies between 0 and 1")
        if not 0 < self.unserved_per_kwh < math.inf or not 0 <= self.per_tonne < math.inf:
            raise InvalidQuantity("price", f"{self.unserved_per_kwh:g}", "unserved load costs money, carbon 0 or more")


TODAY = Shock("as today")


def everyday(
    carbon_prices: tuple[float, ...] = (0.0, 70.0, 150.0), tariff: float = 0.5, duty: float = 0.1, currency: str = "EUR"
) -> tuple[Shock, ...]:
    """The shocks that leaders argue about, declared and not forecast: each befalls the place that is asked about.

    Args:
        carbon_prices: [currency/t], everywhere.
        tariff: rise of the price; 0.5 is +50 %.
        duty: share of the hours off.
    """
    return (
        *(Shock(f"carbon {price:g} {currency}/t", per_tonne=price) for price in carbon_prices),
        Shock(f"tariff {tariff:+.0%}", each=Hit(price_factor=1 + tariff)),
        Shock(f"off {duty:.0%} of hours", each=Hit(duty=duty)),
        Shock("moratorium", each=Hit(moratorium=True)),
        Shock("site lost", each=Hit(lost=True)),
    )
