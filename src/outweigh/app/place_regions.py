"""`plan --place`: cloud regions ranked and spread over, as a document and rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from outweigh.config.gpu_prices import load_gpu_prices
from outweigh.core.errors import InvalidQuantity, UsageError
from outweigh.core.measurement import Factor, Missing
from outweigh.core.quantities import Money
from outweigh.core.rounding import significant
from outweigh.core.units import parse_money, parse_share
from outweigh.data.places import cloud_regions
from outweigh.grid import Sources, open_source
from outweigh.plan.clouds import Criterion, Ranked, Spread, Surveyed, Wanted, rank, spread, survey
from outweigh.plan.clouds.criteria import Cell
from outweigh.plan.clouds.survey import KM_PER_MS_OF_ROUND_TRIP
from outweigh.plan.placement.problem import Caps, Grouping

SCHEMA = "outweigh.regions/1"
_HEADINGS = {
    Criterion.CARBON: "gCO2e/kWh", Criterion.PUE: "PUE", Criterion.WATER: "water L/kWh", Criterion.PRICE: "{}/kWh",
    Criterion.GPU: "GPU USD/h", Criterion.GOVERNANCE: "WGI", Criterion.DISTANCE: "km", Criterion.DATA: "data {}",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Asked:
    """What a person asks of the regions, as typed; each field is an option of `outweigh plan --place`."""

    countries: Sequence[str] = ()
    providers: Sequence[str] = ()
    weights: Sequence[str] = ()
    near: str = ""
    max_km: float | None = None
    max_ms: float | None = None
    data_gb: float | None = None
    egress: str = ""
    data_at: str = ""
    currency: str = "USD"
    rates: Sequence[str] = ()
    gpu: str = ""
    gpu_prices: Path | None = None
    home: str = ""
    first: int = 5
    least_known: str = "50%"
    spread: int | None = None
    caps: Sequence[str] = ()
    seed: int = 0
    files: Sequence[Path] = ()


@dataclass(frozen=True, slots=True, eq=False)
class PlacedRegions:
    """Regions as JSON, as table rows (home first), and notes."""

    document: Mapping[str, Any]
    columns: tuple[str, ...]
    rows: list[tuple[str, ...]]
    notes: list[str]


def place(asked: Asked, *, top: int = 15, now: datetime | None = None) -> PlacedRegions:
    """Rank the embedded cloud regions by what is asked, and spread over some of them.

    Args:
        top: rows of the table; the document has all regions.
        now: the present; the clock's by default.

    Raises:
        UsageError, InvalidQuantity: something that cannot be asked. ConfigError: the file of GPU prices.
        PlanInfeasible: no set of regions keeps the caps.
    """
    wanted = _wanted(asked)
    weights = _weights(asked.weights, wanted)
    caps = _caps(asked.caps)
    sources = Sources(files=[open_source(f"file:{path}") for path in asked.files])
    surveyed = survey(wanted, now or datetime.now(UTC), sources)
    ranked = rank(
        surveyed.regions, weights, least_known=parse_share(asked.least_known), first=asked.first, seed=asked.seed
    )
    home = _home(asked.home, ranked)
    chosen = spread(ranked, asked.spread, caps) if asked.spread is not None else None
    shown = _shown(ranked, home, top)
    return PlacedRegions(
        document=_document(asked, wanted, weights, ranked, home, chosen),
        columns=_columns(asked, wanted),
        rows=[_row(one, wanted, one is home) for one in shown],
        notes=_notes(asked, wanted, surveyed, ranked, chosen),
    )


def _wanted(asked: Asked) -> Wanted:
    if asked.max_km is not None and asked.max_ms is not None:
        raise UsageError("--max-km and --max-ms say one thing twice", "Give one of them")
    max_km = asked.max_km if asked.max_ms is None else asked.max_ms * KM_PER_MS_OF_ROUND_TRIP
    if bool(asked.gpu) != (asked.gpu_prices is not None):
        raise UsageError("a GPU needs its prices, and prices a GPU", "Give --gpu H100-80GB --gpu-prices prices.csv")
    return Wanted(
        countries=tuple(asked.countries),
        providers=tuple(asked.providers),
        near=_place(asked.near) if asked.near else None,
        max_km=max_km,
        data_gb=asked.data_gb,
        egress=_per_gb(asked.egress) if asked.egress else None,
        data_at=asked.data_at,
        currency=asked.currency,
        rates=_named_numbers(asked.rates, "rate", "--rate EUR=1.08"),
        gpu=asked.gpu,
        gpu_prices=load_gpu_prices(asked.gpu_prices) if asked.gpu_prices is not None else (),
    )


def _place(text: str) -> tuple[float, float]:
    region = cloud_regions().get(text)
    if region is not None:
        if region.latitude is None or region.longitude is None:
            raise UsageError(f"where {text} lies is not published", "Give --near LATITUDE,LONGITUDE")
        return region.latitude, region.longitude
    try:
        latitude, longitude = (float(part) for part in text.split(","))
    except ValueError as err:
        raise UsageError(f"--near {text!r} is no place", "Give --near 50.1,8.7 or a region (gcp:europe-west3)") from err
    return latitude, longitude


def _per_gb(text: str) -> Money:
    money, slash, per = text.partition("/")
    if not slash or per.strip() != "GB":
        raise InvalidQuantity("price of moving data", repr(text), "write it as '0.09 USD/GB'")
    price = parse_money(money)
    if price.amount < 0:
        raise InvalidQuantity("price of moving data", repr(text), "give 0 or more")
    return price


def _named_numbers(texts: Sequence[str], what: str, example: str) -> dict[str, float]:
    found = {}
    for text in texts:
        name, equals, number = text.partition("=")
        try:
            value = float(number)
        except ValueError:
            equals = ""
        if not equals or not name.strip():
            raise InvalidQuantity(what, repr(text), f"write {example}")
        found[name.strip()] = value
    return found


def _weights(texts: Sequence[str], wanted: Wanted) -> dict[Criterion, float]:
    """Those given; 1 for every criterion where none is."""
    if not texts:
        return dict.fromkeys(wanted.criteria, 1.0)
    weights = {}
    for name, value in _named_numbers(texts, "weight", "--weight carbon=3").items():
        if name not in {criterion.value for criterion in wanted.criteria}:
            import difflib

            names = [criterion.value for criterion in wanted.criteria]
            near = difflib.get_close_matches(name, names, n=1)
            remedy = f"Did you mean {near[0]!r}?" if near else f"Here they are {', '.join(names)}"
            raise UsageError(f"there is no criterion {name!r} to weigh", remedy)
        weights[Criterion(name)] = value
    return weights


def _caps(texts: Sequence[str]) -> Caps:
    found: dict[str, float] = {}
    allowed = [by.value for by in Grouping if by is not Grouping.SITE]
    for text in texts:
        name, equals, share = text.partition("=")
        if not equals or name.strip() not in allowed:
            raise InvalidQuantity("cap", repr(text), f"write --cap country=50%; groups are {', '.join(allowed)}")
        found[name.strip()] = parse_share(share)
    return Caps(**found)


def _home(name: str, ranked: Sequence[Ranked]) -> Ranked | None:
    if not name:
        return None
    for one in ranked:
        if one.region.key == name:
            return one
    known = "it does not pass the filters" if name in cloud_regions() else "no region is called that"
    raise UsageError(f"--home {name!r}: {known}", "Name a region such as aws:eu-central-1, or filter less")


def _shown(ranked: Sequence[Ranked], home: Ranked | None, top: int) -> list[Ranked]:
    """Home first, as what is done now; then the best."""
    best = [one for one in ranked if one is not home][:top]
    return best if home is None else [home, *best]


def _columns(asked: Asked, wanted: Wanted) -> tuple[str, ...]:
    headings = (_heading(criterion, wanted) for criterion in wanted.criteria)
    return ("", "region", "country", *headings, "score", "known", "rank may be", f"in first {asked.first}",
            "dominated by")  # fmt: skip


def _heading(criterion: Criterion, wanted: Wanted) -> str:
    return _HEADINGS[criterion].format(wanted.currency)


def _row(one: Ranked, wanted: Wanted, is_home: bool) -> tuple[str, ...]:
    region, standing = one.region, one.standing
    cells = []
    for criterion in wanted.criteria:
        cell = region.cells[criterion]
        if isinstance(cell, Factor):
            age = f" ’{cell.issued[2:4]}" if cell.issued else ""
            cells.append(f"{significant(cell.value)}{age}")
        else:
            cells.append("missing")
    if standing is None:
        place: tuple[str, ...] = ("not ranked", "", "")
    else:
        place = (str(standing.rank), f"{standing.best} to {standing.worst}", f"{100 * standing.stays:.0f} %")
    first = f"home {place[0]}" if is_home else place[0]
    return (
        first, region.key, region.country, *cells, f"{one.score:.2f}", f"{100 * one.known:.0f} %", *place[1:],
        one.dominated_by or "nobody",
    )  # fmt: skip


def _notes(
    asked: Asked, wanted: Wanted, surveyed: Surveyed, ranked: Sequence[Ranked], chosen: Spread | None
) -> list[str]:
    notes = list(surveyed.notes)
    if chosen is not None:
        names = ", ".join(one.region.key for one in chosen.regions)
        hhi = ", ".join(f"{chosen.hhi[by]:.2f} {by}" for by in (Grouping.COUNTRY, Grouping.GRID, Grouping.PROVIDER))
        notes.append(
            f"spread over {len(chosen.regions)}: {names}; mean score {chosen.score:.3f} (no set under these caps has "
            f"more than {chosen.bound:.3f}); HHI {hhi}, {1 / len(chosen.regions):.2f} is as even as it gets"
        )
    for criterion in wanted.criteria:
        reasons = Counter(_reason(one.region.cells[criterion]) for one in ranked if criterion in one.region.missing)
        if reasons:
            total = sum(reasons.values())
            common, count = reasons.most_common(1)[0]
            notes.append(f"{criterion} is missing for {total} of {len(ranked)} regions ({count}: {common})")
    fewer = sum(one.standing is None for one in ranked)
    if fewer:
        notes.append(f"{fewer} regions are not ranked: less than {asked.least_known} of the weights is known of them.")
    notes += [
        "’24 says of which year a figure is; --json has the source of each.",
        "A missing figure is left out and never filled in; 'rank may be' spans the best and the worst it could be.",
        "Carbon is location-based, average and life-cycle, of the zone's (or where there is none, the country's) year.",
    ]
    if wanted.near is not None:
        notes.append(
            "Distance is the great circle's, a stand-in for latency: routes are longer, and queues come on top."
        )
    if Criterion.GPU in wanted.criteria:
        notes.append("GPU prices are the list's of the day given; what is on offer may differ.")
        elsewhere = {price.region for price in wanted.gpu_prices if price.gpu == wanted.gpu} - cloud_regions().keys()
        if elsewhere:
            notes.append(f"Of no region in the tables, and left out: prices in {', '.join(sorted(elsewhere))}.")
    return notes


def _reason(cell: Cell) -> str:
    """Reasons alike but for the name of a zone or a provider count as one."""
    import re

    text = cell.reason if isinstance(cell, Missing) else ""
    named = re.sub(r"\b(aws|azure|gcp)(:\S+)?", "the provider", re.sub(r"'[^']*'", "its zone", text))
    return named.partition(". ")[0]


def _document(
    asked: Asked, wanted: Wanted, weights: Mapping[Criterion, float], ranked: Sequence[Ranked], home: Ranked | None,
    chosen: Spread | None,
) -> dict[str, Any]:  # fmt: skip
    return {
        "schema": SCHEMA,
        "currency": wanted.currency,
        "rates": dict(wanted.rates),
        "weights": {criterion.value: weight for criterion, weight in weights.items()},
        "first": asked.first,
        "seed": asked.seed,
        "home": home.region.key if home else None,
        "regions": [_region(one) for one in ranked],
        "spread": None if chosen is None else {
            "regions": [one.region.key for one in chosen.regions], "share": 1 / len(chosen.regions),
            "score": chosen.score, "bound": chosen.bound, "hhi": {by.value: hhi for by, hhi in chosen.hhi.items()},
        },
    }  # fmt: skip


def _region(one: Ranked) -> dict[str, Any]:
    region, standing = one.region, one.standing
    return {
        "region": region.key, "name": region.name, "country": region.country or None, "zone": region.zone or None,
        "latitude_deg": region.latitude, "longitude_deg": region.longitude, "score": one.score, "known": one.known,
        "rank": standing.rank if standing else None, "best_rank": standing.best if standing else None,
        "worst_rank": standing.worst if standing else None, "stays_first": standing.stays if standing else None,
        "dominated_by": one.dominated_by or None,
        "cells": {
            criterion.value: {
                "value": cell.value, "unit": cell.unit, "what": cell.name, "source": cell.source,
                "issued": cell.issued or None, "retrieved": cell.retrieved or None, "licence": cell.licence or None,
                "grade": cell.grade.value,
            }
            if isinstance(cell, Factor)
            else {"missing": cell.reason}
            for criterion, cell in region.cells.items()
        },
    }  # fmt: skip
