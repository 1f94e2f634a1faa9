"""Carbon intensities and prices as people and providers write them ("353 gCO2e/kWh", "812 lb/MWh", "84.2 EUR/MWh")."""

from __future__ import annotations

import math
import re

from outweigh.core.errors import InvalidQuantity
from outweigh.core.quantities import Price, check_currency

# The international avoirdupois pound is exactly 0.45359237 kg (NIST SP 811, appendix B.8).
_G_PER = {"g": 1.0, "kg": 1e3, "t": 1e6, "lb": 453.59237, "lbs": 453.59237}
_KWH_PER = {"kWh": 1.0, "MWh": 1e3}
_GAS = re.compile(r"\s*(?:CO2(?:e|eq)?)?\s*", re.IGNORECASE)
_NUMBER = re.compile(r"\s*([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)(?![\d.])\s*(\S.*?)\s*")
_UNITS = "gCO2e/kWh, kgCO2e/MWh, kgCO2e/kWh, tCO2e/MWh or lbCO2e/MWh"


def g_per_kwh_in(unit: str) -> float:
    """How many gCO2e/kWh one of `unit` is. "CO2", "CO2e", "CO2eq" and nothing are taken alike.

    Raises:
        InvalidQuantity: none of the units we know; an intensity is never read without its unit.

    >>> g_per_kwh_in("kgCO2eq/MWh"), round(g_per_kwh_in("lb/MWh"), 6)
    (1.0, 0.453592)
    """
    mass, slash, energy = unit.partition("/")
    for symbol in sorted(_G_PER, key=len, reverse=True):
        rest = mass.strip().removeprefix(symbol)
        if rest != mass.strip() and _GAS.fullmatch(rest) and slash and energy.strip() in _KWH_PER:
            return _G_PER[symbol] / _KWH_PER[energy.strip()]
    raise InvalidQuantity("unit of carbon intensity", repr(unit), f"write {_UNITS}")


def price_unit(unit: str) -> tuple[str, float]:
    """Currency, and how many kWh the energy of `unit` is: what to divide a figure by.

    >>> price_unit("EUR/MWh")
    ('EUR', 1000.0)
    """
    currency, slash, energy = (part.strip() for part in unit.partition("/"))
    if not slash or energy not in _KWH_PER:
        raise InvalidQuantity("unit of price", repr(unit), "write money per energy, such as EUR/kWh or EUR/MWh")
    return check_currency(currency), _KWH_PER[energy]


def parse_intensity(text: str) -> float:
    """Carbon intensity [gCO2e/kWh].

    >>> parse_intensity("0.353 kgCO2e/kWh")
    353.0
    """
    value, unit = _split(text, "carbon intensity", "230 gCO2e/kWh")
    return value * g_per_kwh_in(unit)


def parse_price(text: str) -> Price:
    """
    >>> parse_price("-84.2 EUR/MWh")
    Price(amount_per_kwh=-0.0842, currency='EUR')
    """
    value, unit = _split(text, "price", "0.15 EUR/kWh")
    currency, kwh = price_unit(unit)
    return Price(value / kwh, currency)


def _split(text: str, what: str, example: str) -> tuple[float, str]:
    match = _NUMBER.fullmatch(text)
    value = float(match[1]) if match else math.nan
    if not match or not math.isfinite(value):
        raise InvalidQuantity(what, repr(text), f"write a number and a unit, such as {example!r}")
    return value, match[2]
