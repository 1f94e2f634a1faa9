"""A file of sites and scenarios (TOML) -> what placement is asked. docs/placement.md shows one."""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, PlainValidator, WithJsonSchema

from outweigh.config.documents import read_model, read_text
from outweigh.config.locate import Path as KeyPath
from outweigh.config.reading import Benefit, CarbonPrice, Day, EnergyLimit, EnergyPrice, PowerLimit, Pue, Share
from outweigh.config.refusals import Refusal, dotted, unknown_name
from outweigh.core.errors import InvalidQuantity
from outweigh.core.intervals import Interval
from outweigh.core.project import SiteSpec
from outweigh.core.quantities import Money, Price
from outweigh.core.units import parse_money, parse_share
from outweigh.plan.placement.problem import Caps, Change, Scenario, Shock
from outweigh.plan.placement.spec import DeclaredSite, PlacementSpec

PAGE = "docs/placement.md"
_SUM_TOLERANCE = 1e-6
_MOST_SAMPLES = 1_000_000
_Text = Annotated[str, Field(min_length=1)]
_Relative = tuple[float, Price | None]  # factor, and what is added per kWh


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


def _read_price_change(value: object) -> _Relative:
    remedy = "write '+50%', '-10%' or '+0.05 EUR/kWh'"
    text = value.strip() if isinstance(value, str) else ""
    if text[:1] not in ("+", "-") or len(text) < 2:
        raise InvalidQuantity("change of price", repr(value), remedy)
    if text.endswith("%"):
        return 1 + parse_share(text), None
    amount, slash, per = text.partition("/")
    if not slash or per.strip() not in ("kWh", "MWh"):
        raise InvalidQuantity("change of price", repr(value), remedy)
    money = parse_money(amount)
    return 1.0, Price(money.amount / (1e3 if per.strip() == "MWh" else 1.0), money.currency)


def _read_cut(value: object) -> float:
    """The share that is left after '-30%'."""
    text = value.strip() if isinstance(value, str) else ""
    if not (text.startswith("-") and text.endswith("%")):
        raise InvalidQuantity("cut of capacity", repr(value), "write '-30%'")
    left = 1 + parse_share(text)
    if not 0 <= left <= 1:
        raise InvalidQuantity("cut of capacity", repr(value), "it lies between '-0%' and '-100%'")
    return left


def _read_odds(value: object) -> float:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    odds = parse_share(value) if number or isinstance(value, str) else math.nan  # type: ignore[arg-type]
    if not 0 <= odds <= 1:
        raise InvalidQuantity("probability", repr(value), "write 0.05 or '5%', between 0 and 1")
    return odds


_PriceChange = Annotated[
    _Relative, PlainValidator(_read_price_change), WithJsonSchema({"type": "string", "examples": ["+50%"]})
]
_Cut = Annotated[float, PlainValidator(_read_cut), WithJsonSchema({"type": "string", "examples": ["-30%"]})]
_Odds = Annotated[float, PlainValidator(_read_odds), WithJsonSchema({"type": ["number", "string"]})]


class _Caps(_Table):
    site: Share = Field(default=1.0, examples=["60%"], description="Largest planned share at one site.")
    country: Share = Field(default=1.0, examples=["70%"], description="In one country.")
    grid: Share = Field(default=1.0, examples=["60%"], description="In one grid zone.")
    provider: Share = Field(default=1.0, examples=["80%"], description="With one provider.")


class _Placement(_Table):
    """The load, the term and what is weighed."""

    energy: EnergyLimit = Field(examples=["8.76 GWh"], description="IT energy of the whole term, before PUE.")
    start: Day = Field(alias="from", examples=["2027-01-01"], description="First day of the term (UTC).")
    months: int = Field(default=12, ge=1, le=600, examples=[12], description="Length of the term in calendar months.")
    home: str = Field(default="", examples=["fra-1"], description="Where it all runs today. Default: the first site.")
    carbon_price: CarbonPrice | None = Field(
        default=None, examples=["80 EUR/t"], description="Where a scenario names none. Default: money alone is weighed."
    )
    unserved: EnergyPrice = Field(examples=["2 EUR/kWh"], description="What an IT kWh costs that runs nowhere.")
    moving: Benefit | None = Field(
        default=None,
        examples=["50000 EUR"],
        description="Of moving all of the load once a scenario is known. Default: it stays where it was put.",
    )
    risk_weight: float = Field(
        default=0.5, ge=0, le=1, examples=[0.5], description="Of the tail in the objective; 0 is the mean alone."
    )
    tail: float = Field(default=0.95, ge=0, lt=1, examples=[0.95], description="Level of the CVaR.")
    samples: int = Field(
        default=1000, ge=1, le=_MOST_SAMPLES, examples=[1000], description="Draws, where shocks are too many to list."
    )
    seed: int = Field(default=0, ge=0, examples=[0], description="Seed of the draws.")
    caps: _Caps = Field(default_factory=_Caps, examples=[{"country": "70%"}], description="Caps on planned shares.")


class _Site(_Table):
    zone: _Text = Field(examples=["DE"], description="Grid zone, as `outweigh grid zones` lists it.")
    capacity: PowerLimit = Field(examples=["1.5 MW"], description="Facility power the site can give.")
    pue: Pue | None = Field(default=None, examples=[1.25], description="At least 1; by region where it is left out.")
    price: EnergyPrice | None = Field(
        default=None, examples=["0.15 EUR/kWh"], description="Price. Default: the table's for the zone."
    )
    region: str = Field(default="", examples=["aws:eu-central-1"], description="Cloud region; looks up PUE.")
    country: str = Field(
        default="", pattern="^([A-Z]{2})?$", examples=["DE"], description="Of the site. Default: that of the zone."
    )
    provider: str = Field(default="", examples=["aws"], description="Who runs it. Default: that of the region.")
    opening: Benefit | None = Field(
        default=None, examples=["30000 EUR"], description="Paid once for the term when load is planned here."
    )


class _Scenario(_Table):
    """A state of the world for the whole term."""

    probability: _Odds = Field(examples=[0.2], description="How likely; those of all scenarios sum to 1.")
    carbon_price: CarbonPrice | None = Field(default=None, examples=["200 EUR/t"], description="Price of carbon in it.")
    price: dict[str, _PriceChange] = Field(
        default={}, examples=[{"fra-1": "+50%"}], description="Change of the price of electricity, by site."
    )
    capacity: dict[str, _Cut] = Field(default={}, examples=[{"fra-1": "-30%"}], description="Cut of capacity, by site.")
    curtail: dict[str, Share] = Field(
        default={}, examples=[{"fra-1": "10%"}], description="Share of the hours a site must be off, by site."
    )
    lost: list[_Text] = Field(default=[], examples=[["fra-1"]], description="Sites where nothing runs.")


class _Shock(_Table):
    """What befalls each of its sites on its own."""

    probability: _Odds = Field(examples=["5%"], description="At each site, whatever befalls the others.")
    sites: list[_Text] = Field(default=[], examples=[["fra-1"]], description="Default: all sites.")
    price: _PriceChange | None = Field(default=None, examples=["+150%"], description="Change of the price.")
    capacity: _Cut | None = Field(default=None, examples=["-30%"], description="Cut of capacity.")
    curtail: Share | None = Field(default=None, examples=["10%"], description="Share of the hours off.")
    lost: bool = Field(default=False, examples=[True], description="Nothing runs there.")


class PlacementToml(_Table):
    """Where to place a load for months: sites, scenarios and shocks."""

    placement: _Placement
    site: dict[str, _Site] = Field(description="Places with power, by name.")
    scenario: dict[str, _Scenario] = Field(description="What may happen, by name.")
    shock: dict[str, _Shock] = Field(default={}, description="What may happen to each site on its own, by name.")


def load_placement(path: Path) -> PlacementSpec:
    """Read a placement file.

    Raises:
        ConfigError: it is missing or unreadable, is not TOML, or says something we refuse.
    """
    text = read_text(path, f"Write one as {PAGE} shows")
    document = read_model(text, str(path), PlacementToml, PAGE, lambda tables: list(_check(tables)))
    asked = document.placement
    currency = asked.unserved.currency
    return PlacementSpec(
        sites=tuple(_declared(name, table) for name, table in document.site.items()),
        energy_it=asked.energy,
        interval=Interval(asked.start, _months_later(asked.start, asked.months)),
        home=asked.home or next(iter(document.site)),
        carbon_price_per_tonne=asked.carbon_price or Money(0.0, currency),
        scenarios=tuple(_scenario(name, table) for name, table in document.scenario.items()),
        unserved=asked.unserved,
        shocks=tuple(_shock(name, table) for name, table in document.shock.items()),
        caps=Caps(asked.caps.site, asked.caps.country, asked.caps.grid, asked.caps.provider),
        moving=asked.moving,
        risk_weight=asked.risk_weight,
        tail=asked.tail,
        samples=asked.samples,
        seed=asked.seed,
        source=str(path),
    )


def _declared(name: str, table: _Site) -> DeclaredSite:
    spec = SiteSpec(name, table.zone, table.capacity, table.pue, table.price, table.region)
    provider = table.provider or table.region.partition(":")[0] if ":" in table.region else table.provider
    return DeclaredSite(spec, table.country, provider, table.opening)


def _scenario(name: str, table: _Scenario) -> Scenario:
    named = [*table.price, *table.capacity, *table.curtail, *table.lost]
    changes = {}
    for site in dict.fromkeys(named):
        factor, added = table.price.get(site, (1.0, None))
        left, duty = table.capacity.get(site, 1.0), table.curtail.get(site, 0.0)
        changes[site] = Change(factor, added, left, duty, site in table.lost)
    return Scenario(name, table.probability, table.carbon_price, changes)


def _shock(name: str, table: _Shock) -> Shock:
    factor, added = table.price or (1.0, None)
    left = 1.0 if table.capacity is None else table.capacity
    return Shock(name, table.probability, Change(factor, added, left, table.curtail or 0.0, table.lost),
                 tuple(table.sites))  # fmt: skip


def _months_later(start: datetime, months: int) -> datetime:
    """The same day of the month so many months on; the last day of a month that is shorter.

    >>> from datetime import UTC
    >>> _months_later(datetime(2027, 1, 31, tzinfo=UTC), 1).date().isoformat()
    '2027-02-28'
    """
    year, month = divmod(start.year * 12 + start.month - 1 + months, 12)
    for day in range(start.day, 0, -1):
        try:
            return start.replace(year=year, month=month + 1, day=day)
        except ValueError:
            continue
    raise InvalidQuantity("term", f"{months} months from {start:%Y-%m-%d}", "end it before the year 10000")


def _check(document: PlacementToml) -> Iterator[Refusal]:
    if not document.site:
        yield Refusal(("site",), "the file declares no site", "Add a table [site.fra-1]")
    if not document.scenario:
        yield Refusal(("scenario",), "the file declares no scenario", 'Add a table [scenario."as today"]')
    asked = document.placement
    if asked.energy.joules <= 0:
        yield Refusal(("placement", "energy"), "placement.energy is 0", 'Write energy = "8.76 GWh"')
    if asked.unserved.amount_per_kwh <= 0:
        problem = "placement.unserved says that leaving load unserved costs nothing"
        yield Refusal(("placement", "unserved"), problem, 'Write unserved = "2 EUR/kWh"')
    if asked.home and asked.home not in document.site:
        yield unknown_name(("placement", "home"), asked.home, "site", document.site)
    total = math.fsum(scenario.probability for scenario in document.scenario.values())
    if document.scenario and abs(total - 1) > _SUM_TOLERANCE:
        remedy = 'Add what else may happen, [scenario."as today"] at the least' if total < 1 else "Lower some of them"
        yield Refusal(("scenario",), f"the probabilities of the scenarios sum to {total:.6g}, not to 1", remedy)
    for name, scenario in document.scenario.items():
        path: KeyPath = ("scenario", name)
        for key, sites in (
            ("price", scenario.price), ("capacity", scenario.capacity), ("curtail", scenario.curtail),
            ("lost", scenario.lost),
        ):  # fmt: skip
            for number, site in enumerate(sites):
                if site not in document.site:
                    inner = number if key == "lost" else site
                    yield unknown_name((*path, key, inner), site, "site", document.site)
        for site, duty in scenario.curtail.items():
            if duty >= 1:
                problem = f"{dotted((*path, 'curtail', site))} takes all hours"
                yield Refusal((*path, "curtail", site), problem, f"Write lost = [{site!r}] instead")
    for name, shock in document.shock.items():
        for number, site in enumerate(shock.sites):
            if site not in document.site:
                yield unknown_name(("shock", name, "sites", number), site, "site", document.site)
        if shock.curtail is not None and shock.curtail >= 1:
            yield Refusal(("shock", name, "curtail"), f"shock.{name}.curtail takes all hours", "Write lost = true")
    for site in document.site:
        if document.scenario and all(site in scenario.lost for scenario in document.scenario.values()):
            yield Refusal(("site", site), f"{site} is lost in every scenario", "Leave the site out of the file")
    yield from _one_currency(document)


def _one_currency(document: PlacementToml) -> Iterator[Refusal]:
    asked = document.placement
    stated: list[tuple[KeyPath, str]] = [(("placement", "unserved"), asked.unserved.currency)]
    stated += [
        (("placement", key), money.currency)
        for key, money in (("carbon_price", asked.carbon_price), ("moving", asked.moving))
        if money is not None
    ]
    stated += [
        (("site", name, key), money.currency)
        for name, site in document.site.items()
        for key, money in (("price", site.price), ("opening", site.opening))
        if money is not None
    ]
    for name, scenario in document.scenario.items():
        if scenario.carbon_price is not None:
            stated.append((("scenario", name, "carbon_price"), scenario.carbon_price.currency))
        stated += [
            (("scenario", name, "price", site), added.currency)
            for site, (_, added) in scenario.price.items()
            if added is not None
        ]
    stated += [
        (("shock", name, "price"), shock.price[1].currency)
        for name, shock in document.shock.items()
        if shock.price is not None and shock.price[1] is not None
    ]
    first = stated[0][1]
    for path, currency in stated:
        if currency != first:
            remedy = "Two currencies do not add: convert at a rate you state"
            yield Refusal(path, f"{dotted(path)} is in {currency}, placement.unserved in {first}", remedy)
