"""How far the saving of a plan could be off because its factors are yearly means of another time."""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence

from outweigh.core.constants import G_PER_TONNE
from outweigh.core.measurement import Factor, Grade
from outweigh.core.quantities import Energy
from outweigh.core.site import Site
from outweigh.data.tables import factor_drift

_OF_A_YEAR = re.compile(r"(\d{4})(?:-S[12])?")  # a year, or one half of it, as Eurostat writes it
_MONTH_IN_YEAR = 0  # the lag under which the table keeps a month against its own year


def saving_uncertainty(
    sites: Sequence[Site], moved: Mapping[str, Energy], year: int, carbon_price_per_tonne: float
) -> float:
    """Standard uncertainty (k = 1) of the saving, in the currency of the sites' prices.

    Args:
        moved: site name -> facility energy that leaves it (positive) or comes to it (negative).
        year: of the plan; a factor's age is counted from the year it was issued for.

    The saving is ``sum_s moved_s (price_s + carbon price x intensity_s)``; the relative errors of its factors are
    taken as independent between zones and fully shared within one (JCGM 100:2008, 5.1.2 and 5.2.2). Their size is
    the drift of such yearly means in the embedded tables. Only yearly defaults (grade D with a year) have one: a
    declared price is taken as the team's contract, and PUE as it is published, for want of data on either.
    """
    price_error: dict[str, float] = defaultdict(float)
    carbon_error: dict[str, float] = defaultdict(float)
    for site in sites:
        kwh = moved.get(site.name, Energy(0.0)).to_kwh()
        for factor in site.factors:
            of_year = _year_of(factor)
            if of_year is None:
                continue
            age = max(0, year - of_year)
            if factor.unit == "gCO2e/kWh":
                relative = math.hypot(_drift("carbon intensity", _MONTH_IN_YEAR), _aged("carbon intensity", age))
                tonnes = kwh * site.intensity.g_per_kwh / G_PER_TONNE
                carbon_error[site.zone] += relative * tonnes * carbon_price_per_tonne
            elif factor.unit == f"{site.price.currency}/kWh":
                price_error[site.zone] += _aged("price", age) * kwh * site.price.amount_per_kwh
    return math.hypot(*price_error.values(), *carbon_error.values())


def _year_of(factor: Factor) -> int | None:
    """The year a yearly default is of; None for every other factor."""
    found = _OF_A_YEAR.fullmatch(factor.issued) if factor.grade is Grade.D else None
    return int(found[1]) if found else None


def _aged(quantity: str, years: int) -> float:
    """0 for a factor of the plan's own year; an age beyond the table counts as its longest."""
    known = [lag for name, lag in factor_drift() if name == quantity]
    return _drift(quantity, min(years, max(known))) if years > 0 else 0.0


def _drift(quantity: str, lag_years: int) -> float:
    return factor_drift()[quantity, lag_years].value
