"""A month of hum: what it costs and emits at a site, if it is drawn all month. A projection, and it says so."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from outweigh.app.pages.shape import Column, figure, keyed
from outweigh.app.weighing import sites_of
from outweigh.core.constants import S_PER_MONTH
from outweigh.core.errors import ConfigError, FactorMissing
from outweigh.core.measurement import Grade
from outweigh.core.quantities import Energy

if TYPE_CHECKING:
    from outweigh.app.serving import Served
    from outweigh.core.site import Site


@dataclass(frozen=True, slots=True)
class Rates:
    """What hum is turned into money and carbon with, or why it cannot be."""

    site: Site | None
    why: str

    def cost(self, power_w: float | None, why: str = "") -> dict[str, Any]:
        """A month of a power, as the keys of a row: of facility energy, the PUE being that of an idle site."""
        if power_w is None or self.site is None:
            return keyed("month", "money", None, why=why or self.why)
        money = Energy(power_w * S_PER_MONTH * self.site.pue.at(0.0)) * self.site.price
        return {**keyed("month", "money", money.amount), "month_currency": money.currency}


def _carbon_g(site: Site, power_w: float) -> float:
    """A month of a power as carbon, of facility energy."""
    return (Energy(power_w * S_PER_MONTH * site.pue.at(0.0)) * site.intensity).grams


def home_rates(served: Served) -> Rates:
    if served.project is None:
        return Rates(None, "no energy.toml here declares a site")
    try:
        sites = sites_of(served.project)
    except (FactorMissing, ConfigError) as err:
        return Rates(None, str(err))
    return Rates(sites[0], "") if sites else Rates(None, "energy.toml declares no [site]")


def fleet_rates(served: Served, site: str, sites: Sequence[str]) -> Rates:
    """The declared site of that name; a fleet of one site is that one. Several sites have no price in common."""
    name = site or (sites[0] if len(sites) == 1 else "")
    if served.project is None:
        return Rates(None, "no energy.toml here declares a site")
    if not name:
        return Rates(None, "the sites have prices of their own: choose one above")
    try:
        declared = {one.name: one for one in sites_of(served.project)}
    except (FactorMissing, ConfigError) as err:
        return Rates(None, str(err))
    return Rates(declared[name], "") if name in declared else Rates(None, f"energy.toml declares no [site.{name}]")


def with_money(columns: Sequence[Column], rates: Rates) -> list[Column]:
    """Where no money is known, why stands once among the figures, and not in every row."""
    return [one for one in columns if one.key != "month" or rates.site is not None]


def month_figures(
    rates: Rates, hum_w: float | None, ends_w: tuple[float, float] | None, how: dict[str, Any], why: str
) -> list[dict[str, Any]]:
    """Figures of a month of it: energy, money, carbon; their intervals are the power's."""
    if hum_w is None:
        return [figure("energy", "a month of it", None, why=why)]
    said = "if it draws so all month; projected"
    parts = [1.0, *(end / hum_w for end in ends_w)] if ends_w and hum_w else [1.0]
    shown = [figure("energy", "a month of it", *(hum_w * S_PER_MONTH * part for part in parts), note=said, **how)]
    site = rates.site
    if site is None:
        return [*shown, figure("money", "a month costs", None, why=rates.why)]
    cost = rates.cost(hum_w)
    grades = [one.grade for one in site.factors]
    grade: dict[str, Any] = {"grade": Grade.worst([*grades, Grade(how["grade"])]).value} if "grade" in how else {}
    factors = "; ".join(f"{one.name}: {one.source}, {one.issued}" for one in site.factors) or "as declared"
    at = f"at {site.name}, PUE {site.pue.at(0.0):g} (idle); projected"
    shown.append(
        figure(
            "money",
            "a month costs",
            *(cost["month"] * part for part in parts),
            value_currency=cost["month_currency"],
            note=at,
            source=factors,
            **grade,
        )
    )
    shown.append(
        figure(
            "carbon", f"a month emits ({site.intensity.basis}, {site.intensity.scope})",
            *(_carbon_g(site, hum_w * part) for part in parts), note=at, source=factors, **grade,
        )
    )  # fmt: skip
    return shown
