"""A tariff as the text of its file: what `outweigh whatif tariff import` writes, and `load_tariff` reads back alike."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from decimal import Decimal

from outweigh.config.tariffs import MONTH_NAMES
from outweigh.whatif.tariff.terms import (
    ALL_DAYS,
    ALL_MONTHS,
    ALWAYS,
    DAY_NAMES,
    PEAK_MINUTES,
    WEEKDAYS,
    WEEKENDS,
    DemandCharge,
    Levy,
    Rounding,
    Tariff,
    Tier,
    TierVolume,
    Window,
    clock,
)

_DAYS = {ALL_DAYS: '"all"', WEEKDAYS: '"weekdays"', WEEKENDS: '"weekends"'}


def tariff_text(tariff: Tariff) -> str:
    """The TOML text of a tariff."""
    return "\n".join(_lines(tariff)) + "\n"


def _lines(tariff: Tariff) -> Iterator[str]:
    money = tariff.currency
    for key, value in (("name", tariff.name), ("currency", money), ("timezone", tariff.timezone)):
        yield f"{key} = {_text(value)}"
    if tariff.source:
        yield f"source = {_text(tariff.source)}"
    if tariff.holidays:
        yield f"holidays = [{', '.join(day.isoformat() for day in sorted(tariff.holidays))}]"
    if tariff.left_out:
        yield f"left_out = [{', '.join(_text(one) for one in tariff.left_out)}]"
    if tariff.tier_volume is not TierVolume.PERIOD:
        yield f'tiers_count = "{tariff.tier_volume}"'
    if tariff.peak_minutes != PEAK_MINUTES:
        yield f'tiers_peak = "{tariff.peak_minutes} min"'
    if tariff.rounding != Rounding():
        rule = tariff.rounding
        each = "line" if rule.each_line else "bill"
        yield f'rounding = {{ to = "{rule.to} {money}", by = "{rule.mode}", each = "{each}" }}'
    for rate in tariff.energy:
        yield from ("", "[[energy]]", f"name = {_text(rate.name)}")
        yield from _tiers(rate.tiers, str(rate.tier_unit), f"{money}/kWh")
        yield from _hours(rate.windows)
    for charge in tariff.demand:
        yield from _demand(charge, money)
    for block in tariff.blocks:
        yield from ("", "[[block]]", f"name = {_text(block.name)}", f'power = "{_plain(block.kw)} kW"')
        yield from (f'price = "{_plain(block.price)} {money}/kWh"', f"take_or_pay = {str(block.take_or_pay).lower()}")
        if block.resale is not None:
            yield f'resale = "{_plain(block.resale)}"'
        yield from _hours(block.windows)
    if tariff.spot is not None:
        yield from ("", "[spot]", f'multiplier = "{_plain(tariff.spot.multiplier)}"')
        yield f'adder = "{_plain(tariff.spot.adder)} {money}/kWh"'
    for fixed in tariff.fixed:
        yield from ("", "[[fixed]]", f"name = {_text(fixed.name)}", f'amount = "{_plain(fixed.amount)} {money}"')
        yield f'per = "{fixed.per}"'
    for kind, levies in (("rider", tariff.riders), ("tax", tariff.taxes)):
        for levy in levies:
            yield from _levy(kind, levy, money)
    if tariff.minimum_bill is not None:
        yield from ("", "[minimum_bill]", f'amount = "{_plain(tariff.minimum_bill)} {money}"')
    if (take := tariff.minimum_take) is not None:
        yield from ("", "[minimum_take]", f'energy = "{_plain(take.kwh)} kWh"', f'per = "{take.per}"')
        yield f'price = "{_plain(take.price)} {money}/kWh"'


def _demand(charge: DemandCharge, money: str) -> Iterator[str]:
    yield from ("", "[[demand]]", f"name = {_text(charge.name)}", f'window = "{charge.minutes} min"')
    yield from _tiers(charge.tiers, "kW", f"{money}/kW")
    if charge.months != ALL_MONTHS:
        yield f"months = [{_months(charge.months)}]"
    if charge.minimum_kw:
        yield f'minimum = "{_plain(charge.minimum_kw)} kW"'
    if charge.contract_kw is not None:
        yield f'contract = "{_plain(charge.contract_kw)} kW"'
    if charge.excess_price:
        yield f'excess = "{_plain(charge.excess_price)} {money}/kW"'
    if (ratchet := charge.ratchet) is not None:
        parts = [f'share = "{_plain(ratchet.share)}"', f"months = {ratchet.months_back}"]
        if ratchet.of_months != ALL_MONTHS:
            parts.append(f"of = [{_months(ratchet.of_months)}]")
        if ratchet.of_billed:
            parts.append('counts = "billed"')
        yield f"ratchet = {{ {', '.join(parts)} }}"
    yield from _hours(charge.windows)


def _levy(kind: str, levy: Levy, money: str) -> Iterator[str]:
    yield from ("", f"[[{kind}]]", f"name = {_text(levy.name)}")
    if levy.per_kwh is not None:
        yield f'price = "{_plain(levy.per_kwh)} {money}/kWh"'
    if levy.share is not None:
        yield f'share = "{_plain(levy.share)}"'
    yield f"of = [{', '.join(_text(str(one)) for one in sorted(levy.of))}]"


def _tiers(tiers: tuple[Tier, ...], unit: str, price: str) -> Iterator[str]:
    if len(tiers) == 1:
        yield f'price = "{_plain(tiers[0].price)} {price}"'
        return
    yield "tiers = ["
    for tier in tiers:
        limit = "" if tier.up_to is None else f'up_to = "{_plain(tier.up_to)} {unit}", '
        yield f'  {{ {limit}price = "{_plain(tier.price)} {price}" }},'
    yield "]"


def _hours(windows: tuple[Window, ...]) -> Iterator[str]:
    if windows == ALWAYS:
        return
    yield "hours = ["
    for window in windows:
        days = _DAYS.get(window.days) or f"[{', '.join(_text(DAY_NAMES[day]) for day in sorted(window.days))}]"
        months = "" if window.months == ALL_MONTHS else f", months = [{_months(window.months)}]"
        yield f'  {{ from = "{clock(window.start)}", to = "{clock(window.end)}", days = {days}{months} }},'
    yield "]"


def _months(months: Iterable[int]) -> str:
    return ", ".join(_text(MONTH_NAMES[month - 1]) for month in sorted(months))


def _plain(value: Decimal) -> str:
    """Without an exponent, and whole where it is whole.

    >>> _plain(Decimal("1E+4")), _plain(Decimal("0.0840"))
    ('10000', '0.0840')
    """
    return f"{value:f}"


def _text(value: str) -> str:
    return json.dumps(value, ensure_ascii=False)
