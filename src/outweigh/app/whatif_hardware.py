"""`outweigh whatif hardware`: what was typed into two fleets, and keep beside replace as a table."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from outweigh.app.estimating_asked import Asked as Place
from outweigh.app.estimating_asked import parse_range, place_of
from outweigh.app.estimating_rows import in_unit
from outweigh.core.errors import InvalidQuantity, UsageError
from outweigh.core.intervals import Bounds, Estimate
from outweigh.core.measurement import Grade, Missing
from outweigh.core.rounding import significant
from outweigh.core.units import parse_money, parse_share
from outweigh.data.embodied import embodied_carbon
from outweigh.data.hardware import device, devices
from outweigh.whatif.estimating.ranges import Ranged
from outweigh.whatif.hardware import Choice, Fleet, Replacement, Side, Site, weigh
from outweigh.whatif.hardware.keeping import Bound

SCHEMA = "outweigh.hardware/1"
EMBODIED = "embodied carbon"
_MOST_KG = 1e9
_DAYS = 365.2425


@dataclass(frozen=True, slots=True)
class Asked:
    """What the command line was told, as written."""

    old: str
    new: str
    count: int
    new_count: int | None = None
    busy: str = "60%"
    idle: str = ""
    years: float = 4.0
    bound: str = "arithmetic"
    zone: str = ""
    region: str = ""
    pue: str = ""
    intensity: str = ""
    intensity_scope: str = "lifecycle"
    price: str = ""
    file: Path | None = None
    cost: str = ""
    resale: str = ""
    embodied: str = ""
    discount: str = ""
    start: str = ""


@dataclass(frozen=True, slots=True)
class Weighed:
    """The answer as JSON, as a table, and what to say with it."""

    document: dict[str, Any]
    headings: tuple[str, ...]
    rows: list[tuple[str, ...]]
    lines: list[str]
    notes: list[str]


def weighed(asked: Asked, now: datetime | None = None) -> Weighed:
    """Keep or replace.

    Raises:
        UsageError, InvalidQuantity: devices, shares or prices that cannot be.
        UnknownZone, FactorMissing: a place that nobody knows.
    """
    now = now or datetime.now(UTC)
    old, new = device(asked.old), device(asked.new)
    place, notes = place_of(
        Place(
            zone=asked.zone, region=asked.region, pue=asked.pue, intensity=asked.intensity,
            intensity_scope=asked.intensity_scope, price=asked.price, file=asked.file,
        ),
        now,
    )  # fmt: skip
    if isinstance(place.pue, Missing):
        raise UsageError(place.pue.reason, "Without it there is no energy of the facility to compare")
    missing = [one.reason for one in (place.intensity, place.price) if isinstance(one, Missing)]
    cost, resale, currency = _money(asked, place.currency)
    embodied, told = _embodied(asked)
    site = Site(place.pue, _known(place.intensity), _known(place.price))
    fleet = Fleet(old, asked.count, _share("busy share", asked.busy), _share("idle share", asked.idle or "0"))
    if not asked.idle:
        fleet = Fleet(old, asked.count, fleet.busy, None)
    bought = Replacement(new, embodied, asked.new_count, cost, resale)
    discount = _share("discount rate", asked.discount or "0")
    found = weigh(fleet, bought, site, asked.years, Bound(asked.bound), discount)
    start = _day(asked.start, now)
    notes = [*found.notes, told, f"location-based {place.scope} carbon", *missing, *notes]
    if cost is None:
        notes.append('no purchase price: give --cost "30000 USD" for the money of replacing')
    return Weighed(
        _document(found, asked, site, place.scope, currency, start, notes),
        ("", found.keep.name, found.replacement.name, "difference"),
        _rows(found, currency),
        _lines(found, start),
        notes,
    )


def _embodied(asked: Asked) -> tuple[Ranged, str]:
    if asked.embodied:
        declared = parse_range(asked.embodied, EMBODIED, "kgCO2e")
        declared.at_most(_MOST_KG, f"kilograms of one device: at most {_MOST_KG:,.0f}")
        return declared, "embodied carbon of the new devices as declared"
    rows = embodied_carbon()
    row = rows.get(asked.new)
    if row is not None:
        known = row.provenance
        one = Ranged.between(EMBODIED, row.low_kg, row.high_kg, "kgCO2e", known.source, known.grade)
        return one, f"embodied carbon {row.low_kg:g} to {row.high_kg:g} kgCO2e each ({row.scope}; {known.source})"
    low, high = min(one.low_kg for one in rows.values()), max(one.high_kg for one in rows.values())
    source = f"no figure of {asked.new} is published that we know: the range of {', '.join(rows)}"
    return Ranged.between(EMBODIED, low, high, "kgCO2e", source, Grade.D), f"embodied carbon: {source}; --embodied says"


def _money(asked: Asked, currency: str) -> tuple[float | None, float, str]:
    found = {}
    for name, text in (("cost", asked.cost), ("resale", asked.resale)):
        if text:
            money = parse_money(text)
            if currency and money.currency != currency:
                raise UsageError(
                    f"power is in {currency} and --{name} in {money.currency}", "State both in one, at your own rate"
                )
            currency = money.currency
            found[name] = money.amount
    return found.get("cost"), found.get("resale", 0.0), currency


def _share(name: str, text: str) -> float:
    share = parse_share(text)
    if not math.isfinite(share):
        raise InvalidQuantity(name, text, "write a share such as 60%")
    return share


def _known(one: Ranged | Missing) -> Ranged | None:
    return None if isinstance(one, Missing) else one


def _day(text: str, now: datetime) -> datetime:
    if not text:
        return now
    try:
        day = datetime.fromisoformat(text)
    except ValueError as err:
        raise InvalidQuantity("day", repr(text), "write 2027-01-01") from err
    return day if day.tzinfo else day.replace(tzinfo=UTC)


# --- answers -------------------------------------------------------------------------------------------


def _rows(found: Choice, currency: str) -> list[tuple[str, ...]]:
    keep, other = found.keep, found.replacement
    rows = [
        ("devices", *(f"{side.count} {side.device}" for side in (keep, other)), ""),
        ("busy", f"{keep.busy:.0%}", f"{other.busy:.0%}", ""),
        ("energy", *(_spread(side.energy_j, "J") for side in (keep, other)),
         _less(keep.energy_j.value, other.energy_j.value, "J")),
    ]  # fmt: skip
    for name, ends in (("carbon of use", "use_g"), ("carbon in all", "carbon_g")):
        pair = [getattr(side, ends) for side in (keep, other)]
        if None in pair:
            rows.append((name, "missing", "missing", ""))
            continue
        rows.append((name, *(_spread(one, "gCO2e") for one in pair), _less(pair[0].value, pair[1].value, "gCO2e")))
    debt = other.embodied_g
    rows.insert(4, ("embodied debt", "0 (spent)", f"{in_unit(debt.low, 'gCO2e', debt.high)} to "
                    f"{in_unit(debt.high, 'gCO2e', debt.high)}", ""))  # fmt: skip
    if keep.power_money is None or other.power_money is None:
        rows.append(("money of power", "missing", "missing", ""))
    else:
        pair = [keep.power_money, other.power_money]
        rows.append(("money of power", *(_spread(one, currency) for one in pair),
                     _less(pair[0].value, pair[1].value, currency)))  # fmt: skip
    bought = "missing" if other.purchase is None else f"{other.purchase:,.0f} {currency}"
    rows.append(("purchase", f"0 {currency}".strip(), bought, ""))
    if keep.money is not None and other.money is not None:
        rows.append(("money in all", f"{keep.money:,.0f} {currency}", f"{other.money:,.0f} {currency}",
                     _less(keep.money, other.money, currency)))  # fmt: skip
    return rows


def _spread(one: Estimate, unit: str) -> str:
    central, low, high = (in_unit(end, unit, one.value) for end in (one.value, one.bounds.low, one.bounds.high))
    return f"{central} ({low} to {high})"


def _less(before: float, after: float, unit: str) -> str:
    change = after - before
    sign = "\N{MINUS SIGN}" if change < 0 else "+"
    size = in_unit(abs(change), unit, abs(change)) if unit in ("J", "gCO2e") else f"{abs(change):,.0f} {unit}"
    return f"{sign}{size}"


def _lines(found: Choice, start: datetime) -> list[str]:
    lines = []
    if found.replacement.use_g is not None:
        lines.append(f"carbon is {_when(found.carbon_even_years, start, found.years)}{_span(found.carbon_even_bounds)}")
    if found.replacement.money is not None:
        lines.append(f"money is {_when(found.money_even_years, start, found.years)}")
    for flip in found.flips:
        where = (
            "" if flip.at is None else f" at {significant(flip.at)} {flip.unit if flip.unit != '1' else ''}".rstrip()
        )
        lines.append(f"over {found.years:g} years {flip.of} turns with the {flip.quantity}{where}: {flip.sense}")
    return lines


def _when(years: float | None, start: datetime, horizon: float) -> str:
    if years is None:
        return "never even: replacing saves nothing"
    if years == 0:
        return "even at once"
    try:
        day = f"{start + timedelta(days=years * _DAYS):%Y-%m-%d}"
    except OverflowError:
        day = "no date that a calendar has"
    beyond = "" if years <= horizon else f", beyond the {horizon:g} years asked for"
    return f"even after {years:.2g} years, on {day}{beyond}"


def _span(bounds: Bounds | None) -> str:
    if bounds is None:
        return ""
    latest = "never" if math.isinf(bounds.high) else f"{bounds.high:.2g}"
    return f" ({bounds.low:.2g} to {latest})"


def _document(
    found: Choice, asked: Asked, site: Site, scope: str, currency: str, start: datetime, notes: list[str]
) -> dict[str, Any]:
    even = found.carbon_even_bounds
    return {
        "schema": SCHEMA,
        "years": found.years,
        "start": start.isoformat(),
        "bound_by": asked.bound,
        **_range("pue", site.pue),
        "carbon_basis": "location",
        "carbon_scope": str(scope),
        **_range("intensity_g_per_kwh", site.g_per_kwh),
        **_range("price_per_kwh", site.price_per_kwh),
        "currency": currency or None,
        "keep": _side(found.keep),
        "replace": _side(found.replacement),
        "carbon_even_years": found.carbon_even_years,
        "carbon_even_years_low": None if even is None else even.low,
        "carbon_even_years_high": None if even is None or math.isinf(even.high) else even.high,
        "money_even_years": found.money_even_years,
        "flips": [
            {"of": one.of, "quantity": one.quantity, "at": one.at, "unit": one.unit, "sense": one.sense}
            for one in found.flips
        ],
        "grade": found.grade.value,
        "projected": True,
        "sources": [devices()[key].source for key in (found.keep.device, found.replacement.device)],
        "notes": notes,
    }


def _range(name: str, one: Ranged | None) -> dict[str, Any]:
    if one is None:
        return {name: None}
    return {name: one.central, f"{name}_low": one.low, f"{name}_high": one.high, f"{name}_source": one.source}


def _side(side: Side) -> Mapping[str, Any]:
    def ends(name: str, one: Estimate | None) -> dict[str, Any]:
        if one is None:
            return {name: None}
        return {name: one.value, f"{name}_low": one.bounds.low, f"{name}_high": one.bounds.high}

    return {
        "device": side.device,
        "count": side.count,
        "busy": side.busy,
        **ends("facility_energy_j", side.energy_j),
        **ends("use_carbon_g", side.use_g),
        "embodied_carbon_g_low": side.embodied_g.low,
        "embodied_carbon_g_high": side.embodied_g.high,
        **ends("carbon_g", side.carbon_g),
        **ends("power_money", side.power_money),
        "purchase_money": side.purchase,
        "money": side.money,
    }
