"""Quantities as people write them in files ("1.2 Wh", "35 MWh", "180 W", "10%"), read into value types."""

from __future__ import annotations

import math
import re

from outweigh.core.constants import J_PER_KWH, J_PER_MWH, J_PER_WH, S_PER_DAY, S_PER_HOUR, S_PER_MINUTE
from outweigh.core.errors import InvalidQuantity
from outweigh.core.quantities import Energy, Money, Power, check_currency

_ENERGY_J = {
    "mJ": 1e-3, "J": 1.0, "kJ": 1e3, "MJ": 1e6, "GJ": 1e9, "mWh": J_PER_WH / 1e3, "Wh": J_PER_WH, "kWh": J_PER_KWH,
    "MWh": J_PER_MWH, "GWh": J_PER_MWH * 1e3, "TWh": J_PER_MWH * 1e6,
}  # fmt: skip
_POWER_W = {"mW": 1e-3, "W": 1.0, "kW": 1e3, "MW": 1e6, "GW": 1e9}
_TIME_S = {"ms": 1e-3, "s": 1.0, "min": S_PER_MINUTE, "h": S_PER_HOUR, "d": S_PER_DAY}

_NUMBER_UNIT = re.compile(r"\s*([-+]?(?:\d[\d_]*\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)\s*(\S*(?:\s*/\s*\S+)?)\s*")


def _split(text: str, what: str, example: str) -> tuple[float, str]:
    match = _NUMBER_UNIT.fullmatch(text)
    if not match:
        raise InvalidQuantity(what, repr(text), f"write a number and a unit, such as {example!r}")
    value = float(match[1])
    if not math.isfinite(value):
        raise InvalidQuantity(what, repr(text), f"write a finite number, such as {example!r}")
    return value, match[2]


def _scaled(text: str, units: dict[str, float], what: str, example: str) -> float:
    value, unit = _split(text, what, example)
    if unit not in units:
        raise InvalidQuantity(what, repr(text), f"the unit must be one of {', '.join(units)}; for example {example!r}")
    return value * units[unit]


def parse_energy(text: str) -> Energy:
    """
    >>> parse_energy("1.2 Wh").joules
    4320.0
    """
    return Energy(_scaled(text, _ENERGY_J, "energy", "1.2 Wh"))


def parse_power(text: str) -> Power:
    """
    >>> parse_power("7.0 MW").watts
    7000000.0
    """
    return Power(_scaled(text, _POWER_W, "power", "180 W"))


def parse_seconds(text: str) -> float:
    """
    >>> parse_seconds("1.5 h")
    5400.0
    """
    return _scaled(text, _TIME_S, "duration", "30 s")


def parse_share(value: str | float) -> float:
    """A fraction written as a number or as a percentage.

    >>> parse_share("80%"), parse_share(0.8)
    (0.8, 0.8)
    """
    if isinstance(value, int | float):
        return float(value)
    number, unit = _split(value, "share", "80%")
    if unit == "%":
        return number / 100
    if unit == "":
        return number
    raise InvalidQuantity("share", repr(value), "write it as 0.8 or as '80%'")


def parse_money(text: str) -> Money:
    """
    >>> parse_money("0.90 EUR")
    Money(amount=0.9, currency='EUR')
    """
    value, unit = _split(text, "money", "0.90 EUR")
    return Money(value, check_currency(unit))


def parse_money_per_hour(text: str) -> Money:
    """The amount of a price per hour.

    >>> parse_money_per_hour("0.05 USD/h")
    Money(amount=0.05, currency='USD')
    """
    value, unit = _split(text, "price per hour", "0.05 USD/h")
    code, slash, per = unit.replace(" ", "").partition("/")
    if not slash or per != "h":
        raise InvalidQuantity("price per hour", repr(text), "write it as '0.05 USD/h'")
    return Money(value, check_currency(code))
