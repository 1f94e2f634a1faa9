"""`outweigh whatif policy`: a placement file's sites under declared shocks, as tables and a document."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from outweigh.config.placements import load_placement
from outweigh.core.errors import InvalidQuantity, UsageError
from outweigh.core.measurement import Factor
from outweigh.core.quantities import Money
from outweigh.core.rounding import fixed, significant
from outweigh.core.units import parse_money, parse_share
from outweigh.data.places import governance
from outweigh.grid import find_zone, resolve_site, site_factors
from outweigh.plan.placement import Change, Scenario
from outweigh.plan.placement.spec import PlacementSpec
from outweigh.whatif.policy import (
    CRITERIA,
    Criterion,
    Exposure,
    Gap,
    Hit,
    Load,
    Place,
    Ranked,
    Shock,
    everyday,
    exposures,
    incentive_gap,
    rank,
)

SCHEMA = "outweigh.policy/1"
Table = tuple[str, tuple[str, ...], list[tuple[str, ...]]]
_DAYS_PER_YEAR = 365.2425


@dataclass(frozen=True, slots=True)
class Asked:
    """What the command line was told, as written."""

    carbon_prices: tuple[str, ...] = ()
    tariff: str = "+50%"
    curtail: str = "10%"
    new: str = "20%"
    imports: tuple[str, ...] = ()
    weights: tuple[str, ...] = ()
    draws: int = 2000
    seed: int = 0
    concentration: float | None = None


@dataclass(frozen=True, slots=True)
class Answered:
    """The answer as JSON, as tables with their titles, and its notes."""

    document: Mapping[str, Any]
    tables: list[Table]
    notes: list[str]


def policy(path: Path, asked: Asked) -> Answered:
    """Exposure, incentive gap and ranking of the sites of a placement file (docs/placement.md, docs/whatif.md).

    Raises:
        ConfigError, FactorMissing, UnknownZone: as reading and looking up do.
        UsageError, InvalidQuantity: options that name nothing, or figures that cannot be.
    """
    spec = load_placement(path)
    currency = spec.unserved.currency
    places, factors, ruled = _places(spec, asked)
    load = _load(spec, asked)
    shocks = (*_everyday(asked, currency), *(_shock(one) for one in spec.scenarios if _changes(one)))
    found = exposures(load, places, shocks)
    gaps = incentive_gap(load, places, spec.home, shocks)
    weights = _weights(asked.weights, places)
    ranked, missing = rank(found, weights, draws=asked.draws, seed=asked.seed, concentration=asked.concentration)
    notes = _notes(places, missing, weights, ruled) + _unserved(found, load) + _room(spec, places)
    return Answered(
        document=_document(spec, asked, load, found, gaps, ranked, missing, weights, factors, ruled, notes),
        tables=[
            _exposure_table(found, currency),
            _place_table(found),
            _gap_table(gaps, spec.home, currency),
            _rank_table(ranked, weights),
        ],
        notes=notes,
    )


def _places(
    spec: PlacementSpec, asked: Asked
) -> tuple[list[Place], list[tuple[str, Factor]], dict[str, dict[str, Any]]]:
    shares = _imports(asked.imports, [declared.spec.name for declared in spec.sites])
    places, factors, ruled = [], [], {}
    source = site_factors()
    for declared in spec.sites:
        site = resolve_site(declared.spec, source)
        country = declared.country or find_zone(site.zone).country
        rows = governance().get(country, {})
        percentiles = {name: row.percentile for name, row in rows.items() if row.percentile is not None}
        known = fmean(percentiles.values()) if percentiles else None
        if rows:
            first = next(iter(rows.values())).provenance
            ruled[country] = {"percentiles": percentiles, "year": first.year, "source": first.source,
                              "licence": first.licence, "grade": first.grade.value}  # fmt: skip
        if site.price.currency != spec.unserved.currency:
            raise UsageError(
                f"the price of {site.name} is in {site.price.currency}, the file in {spec.unserved.currency}",
                "Declare the site's price in the file's currency: conversion is never silent",
            )
        places.append(
            Place(site.name, country, site.price.amount_per_kwh, site.intensity.g_per_kwh, site.pue.worst, known,
                  shares.get(site.name))
        )  # fmt: skip
        factors += [(site.name, factor) for factor in site.factors]
    return places, factors, ruled


def _imports(given: Iterable[str], names: list[str]) -> dict[str, float]:
    found = {}
    for text in given:
        name, equals, share = text.partition("=")
        if not equals or name not in names:
            raise UsageError(f"--imports {text!r} names no site", f"Write NAME=12%; there are {', '.join(names)}")
        found[name] = parse_share(share)
    return found


def _load(spec: PlacementSpec, asked: Asked) -> Load:
    years = spec.interval.seconds / 86_400 / _DAYS_PER_YEAR
    return Load(
        it_kwh=spec.energy_it.to_kwh() / years,
        currency=spec.unserved.currency,
        unserved_per_kwh=spec.unserved.amount_per_kwh,
        per_tonne=spec.carbon_price_per_tonne.amount,
        new_share=parse_share(asked.new),
    )


def _everyday(asked: Asked, currency: str) -> tuple[Shock, ...]:
    prices = tuple(_carbon_price(text, currency) for text in asked.carbon_prices) or (0.0, 70.0, 150.0)
    return everyday(prices, parse_share(asked.tariff), parse_share(asked.curtail), currency)


def _carbon_price(text: str, currency: str) -> float:
    amount, slash, per = text.partition("/")
    if slash and per.strip() != "t":
        raise InvalidQuantity("carbon price", repr(text), f"it is per tonne of CO2e; write it as '80 {currency}/t'")
    money: Money = parse_money(amount)
    if money.currency != currency:
        raise UsageError(f"{text!r} is not in {currency}", "Two currencies do not add: convert at a rate you state")
    return money.amount


def _changes(scenario: Scenario) -> bool:
    return scenario.carbon_price is not None or bool(scenario.at)


def _shock(scenario: Scenario) -> Shock:
    """A scenario of the file, without its probability. A cut of capacity has no cost here: sites are taken to have
    room."""
    price = None if scenario.carbon_price is None else scenario.carbon_price.amount
    return Shock(scenario.name, price, {name: _hit(change) for name, change in scenario.at.items()})


def _hit(change: Change) -> Hit:
    added = 0.0 if change.price_added is None else change.price_added.amount_per_kwh
    return Hit(change.price_factor, added, change.duty, moratorium=False, lost=change.lost)


def _weights(given: Iterable[str], places: list[Place]) -> dict[Criterion, float]:
    """As given, over 1 for every criterion that all places have a figure for."""
    lacking = {
        Criterion.GOVERNANCE: any(place.governance is None for place in places),
        Criterion.IMPORTS: any(place.import_share is None for place in places),
    }
    found = {one: 0.0 if lacking.get(one, False) else 1.0 for one in CRITERIA}
    for text in given:
        name, equals, number = text.partition("=")
        if name not in list(Criterion) or not equals:
            raise UsageError(f"--weight {text!r} names no criterion", f"Write cost=3; there are {', '.join(CRITERIA)}")
        try:
            found[Criterion(name)] = float(number)
        except ValueError as err:
            raise InvalidQuantity("weight", repr(text), "write cost=3") from err
    return found


def _notes(
    places: list[Place], missing: tuple[str, ...], weights: Mapping[Criterion, float], ruled: Mapping[str, Any]
) -> list[str]:
    notes = ["shocks are declared and have no probability here: `outweigh plan --scenarios` weighs them"]
    if unknown := [place.name for place in places if place.import_share is None]:
        notes.append(f"imports are not known of {', '.join(unknown)}: --imports {unknown[0]}=12% declares them")
    if absent := [place.name for place in places if place.country not in ruled]:
        notes.append(f"no governance figures of {', '.join(absent)}")
    if missing:
        notes.append(f"not ranked, as a figure is missing: {', '.join(missing)}")
    if zero := [str(one) for one in CRITERIA if weights.get(one, 0.0) == 0]:
        notes.append(f"not counted in the ranking: {', '.join(zero)}")
    if ruled:
        sources = sorted({f"{row['source']}, {row['year']}" for row in ruled.values()})
        notes.append(f"governance is the mean of a country's percentile ranks: {'; '.join(sources)}")
    return notes


def _unserved(found: tuple[Exposure, ...], load: Load) -> list[str]:
    """What runs nowhere, as its cost is not that of any place."""
    price = f"{load.unserved_per_kwh:g} {load.currency}/kWh"
    said = [
        f"{name}: {', '.join(f'{share:.0%} of {where}' for where, share in shares)}"
        for name in found[0].unserved
        if (shares := [(one.place.name, one.unserved[name]) for one in found if one.unserved[name] > 0])
    ]
    return [f"runs nowhere, at {price}: {'; '.join(said)}"] if said else []


def _room(spec: PlacementSpec, places: list[Place]) -> list[str]:
    """Sites that could not take all of the load: a cost there is then that of a larger site of the same kind."""
    mean_w = spec.energy_it.joules / spec.interval.seconds
    short = [
        f"{place.name} ({declared.spec.capacity.watts / 1e6:.3g} MW of {mean_w * place.pue / 1e6:.3g})"
        for declared, place in zip(spec.sites, places, strict=True)
        if declared.spec.capacity.watts < mean_w * place.pue
    ]
    notes = ["what a shock displaces moves at once and at no cost"]
    return [*notes, f"all of the load does not fit at {', '.join(short)}"] if short else notes


# --- answers ------------------------------------------------------------------------------------------


def _exposure_table(found: tuple[Exposure, ...], currency: str) -> Table:
    rows: list[tuple[str, ...]] = [("as today", *(significant(one.today, 4) for one in found))]
    rows += [(name, *(_more(one.more(name), one.today) for one in found)) for name in found[0].shocked]
    headings = ("state", *(one.place.name for one in found))
    return f"a year's cost [{currency}], and what each shock adds to it", headings, rows


def _place_table(found: tuple[Exposure, ...]) -> Table:
    rows: list[tuple[str, ...]] = [
        (
            place.name,
            place.country or "-",
            f"{place.pue * place.g_per_kwh:,.0f}",
            "-" if place.governance is None else f"{place.governance:.0f}",
            "not known" if place.import_share is None else f"{100 * place.import_share:.0f} %",
        )
        for place in (one.place for one in found)
    ]
    return "the sites", ("site", "country", "g per IT kWh", "governance", "imports"), rows


def _more(more: float, today: float) -> str:
    if abs(more) < 1e-9 * max(1.0, abs(today)):
        return "0"
    sign = "+" if more > 0 else ""
    share = f" ({sign}{fixed(100 * more / today, 1)} %)" if today > 0 else ""
    return f"{sign}{significant(more, 3)}{share}"


def _gap_table(gaps: tuple[Gap, ...], home: str, currency: str) -> Table:
    rows: list[tuple[str, ...]] = [
        (
            gap.shock,
            significant(gap.home_cost, 4),
            gap.rival or "none",
            "-" if gap.rival_cost is None else significant(gap.rival_cost, 4),
            significant(gap.gap, 4),
            "nothing runs there" if gap.per_mwh is None else significant(gap.per_mwh, 3),
            "-" if gap.tonnes is None else significant(gap.tonnes, 3),
            _per_tonne_words(gap),
        )
        for gap in gaps
    ]
    return f"support that makes {home} equal its best rival", (
        "state", f"{home} [{currency}]", "best rival", f"rival [{currency}]", f"gap [{currency}/a]",
        f"per MWh [{currency}]", "t more at home", f"per t [{currency}]",
    ), rows  # fmt: skip


def _per_tonne_words(gap: Gap) -> str:
    if gap.gap == 0 or gap.tonnes is None or gap.per_tonne is None:
        return "-"
    return f"{significant(gap.per_tonne, 3)} a t {'saved' if gap.tonnes < 0 else 'more'}"


def _rank_table(ranked: tuple[Ranked, ...], weights: Mapping[Criterion, float]) -> Table:
    counted = [one for one in CRITERIA if weights.get(one, 0.0) != 0]
    rows: list[tuple[str, ...]] = [
        (
            str(one.rank), one.name, f"{one.score:.2f}", f"{100 * one.first_share:.0f} %", f"{one.low} to {one.high}",
            *(f"{one.by[criterion]:.2f}" for criterion in counted),
        )
        for one in ranked
    ]  # fmt: skip
    return "ranking, and how it holds when weights move", (
        "rank", "site", "score", "first in", "ranks (90 %)", *map(str, counted)
    ), rows  # fmt: skip


def _document(
    spec: PlacementSpec,
    asked: Asked,
    load: Load,
    found: tuple[Exposure, ...],
    gaps: tuple[Gap, ...],
    ranked: tuple[Ranked, ...],
    missing: tuple[str, ...],
    weights: Mapping[Criterion, float],
    factors: list[tuple[str, Factor]],
    ruled: Mapping[str, Any],
    notes: list[str],
) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "source": spec.source,
        "home": spec.home,
        "currency": load.currency,
        "energy_it_per_year_j": load.it_kwh * 3.6e6,
        "carbon_price_per_tonne": load.per_tonne,
        "carbon_basis": "location",
        "new_share": load.new_share,
        "grade": "D",
        "method": "declared shocks on declared and looked-up prices",
        "exposure": [
            {
                "site": one.place.name, "country": one.place.country, "price_per_kwh": one.place.price_per_kwh,
                "intensity_g_per_kwh": one.place.g_per_kwh, "pue": one.place.pue,
                "governance_percentile": one.place.governance, "import_share": one.place.import_share,
                "cost_today": one.today, "cost": dict(one.shocked),
                "unserved_share": dict(one.unserved),
            }
            for one in found
        ],
        "incentive_gap": [
            {
                "state": gap.shock, "home_cost": gap.home_cost, "rival": gap.rival or None,
                "rival_cost": gap.rival_cost, "gap_per_year": gap.gap, "gap_per_mwh": gap.per_mwh,
                "carbon_more_at_home_g": None if gap.tonnes is None else gap.tonnes * 1e6,
                "gap_per_tonne": gap.per_tonne,
            }
            for gap in gaps
        ],
        "ranking": [
            {
                "site": one.name, "rank": one.rank, "score": one.score, "first_share": one.first_share,
                "rank_low": one.low, "rank_high": one.high, "by": {str(name): value for name, value in one.by.items()},
            }
            for one in ranked
        ],
        "not_ranked": list(missing),
        "weights": {str(name): value for name, value in weights.items()},
        "draws": asked.draws,
        "seed": asked.seed,
        "governance": dict(ruled),
        "factors": [
            {"site": site, "name": f.name, "value": f.value, "unit": f.unit, "source": f.source, "issued": f.issued,
             "retrieved": f.retrieved, "licence": f.licence, "grade": f.grade.value}
            for site, f in factors
        ],
        "notes": notes,
    }  # fmt: skip
