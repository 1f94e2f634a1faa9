"""Sites of a plan with what their power costs and carries over the horizon, and where each figure comes from."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from outweigh.core.errors import FactorMissing, SeriesMismatch, UsageError
from outweigh.core.intervals import Interval
from outweigh.core.meaning import Gap
from outweigh.core.series import CarbonSeries, PriceSeries, check_same_question
from outweigh.grid import (
    Answer,
    Level,
    Sources,
    find_zone,
    open_source,
    resolve_carbon,
    resolve_prices,
    site_factors,
)
from outweigh.plan.problem import Places
from outweigh.plan.sites import PlanSite, PlanSpec

if TYPE_CHECKING:
    from outweigh.plan.shared import Capacity

W_PER_KW = 1e3
S = TypeVar("S", CarbonSeries, PriceSeries)


@dataclass(frozen=True, slots=True)
class Sited:
    """A site with the series that were found for it."""

    site: PlanSite
    pue: float
    carbon: Answer[CarbonSeries]
    price: Answer[PriceSeries]


@dataclass(frozen=True, slots=True, eq=False)
class Surveyed:
    """The places of a plan, what they share, and what a reader should know of the figures."""

    places: Places
    capacity: Capacity
    sited: tuple[Sited, ...]
    currency: str
    notes: tuple[str, ...]


def survey(spec: PlanSpec, sources: Sources) -> Surveyed:
    """Carbon and price of every site over the horizon, from the best level that has them.

    A step that is not known stays a gap: a job whose window holds one is refused by the planner.

    Raises:
        UnknownZone, FactorMissing: a zone nobody knows, or without a figure.
        SeriesMismatch: two sites whose carbon answers different questions, or whose prices were looked up and are of
            different markets, where the plan does not say that it mixes them.
        UsageError: two currencies.
    """
    from outweigh.plan.shared import Capacity

    window = Interval(spec.start, spec.start + timedelta(seconds=spec.steps * spec.step_s))
    sited = tuple(_sited(site, window, sources) for site in spec.sites)
    for one in sited[1:]:
        check_same_question(sited[0].carbon.series, one.carbon.series)
    currency = _one_currency(spec, sited)
    if not spec.mixed_prices:
        check_one_market([one.price for one in sited], "or say mixed_prices = true in [plan]")
    edges = [spec.start.timestamp() + i * spec.step_s for i in range(spec.steps + 1)]
    places = Places(
        names=tuple(one.site.name for one in sited),
        start=spec.start,
        step_s=spec.step_s,
        price=np.array([[_values(one.price.series, edges) for one in sited]]),
        carbon=np.array([[_values(one.carbon.series, edges) for one in sited]]),
        pue=np.array([one.pue for one in sited]),
        move_cost_per_gb=np.array([0.0 if s.move_per_gb is None else s.move_per_gb.amount for s in spec.sites]),
    )
    capacity = Capacity(
        np.array([np.inf if s.capacity is None else s.capacity.watts / W_PER_KW for s in spec.sites]),
        demand_rate=np.array([0.0 if s.demand_charge is None else s.demand_charge.amount for s in spec.sites]),
        peak_kw=np.array([s.peak_so_far.watts / W_PER_KW for s in spec.sites]),
    )
    return Surveyed(places, capacity, sited, currency, tuple(_notes(sited)))


def check_one_market(prices: Sequence[Answer[PriceSeries]], otherwise: str) -> None:
    """Refuse to weigh prices of different markets: one of wholesale lacks what network and state charge, and wins.

    A declared price is of no market: whoever types it says what is paid there, and that it may be compared.

    Args:
        otherwise: how to compare them all the same, as the end of a remedy.

    Raises:
        SeriesMismatch: two that were looked up differ in market, taxes or money.
    """
    found = [one.series for one in prices if one.level is not Level.DECLARED and one.source != "static"]
    for one in found[1:]:
        if one.meaning != found[0].meaning:
            raise SeriesMismatch(
                f"{found[0].meaning} ({found[0].origin.provider}, {found[0].origin.zone})",
                f"{one.meaning} ({one.origin.provider}, {one.origin.zone})",
                f"Take both from one market (--source, --file), declare what is paid there, {otherwise}",
            )


def mixed_note(prices: Sequence[Answer[PriceSeries]]) -> Iterator[str]:
    kinds = dict.fromkeys(str(one.series.meaning) for one in prices)
    if len(kinds) > 1:
        yield f"Prices are not of one kind ({'; '.join(kinds)}): what a wholesale price leaves out may turn the choice"


def _sited(site: PlanSite, window: Interval, sources: Sources) -> Sited:
    carbon: Answer[CarbonSeries]
    price: Answer[PriceSeries]
    # What the site's owner declares always wins: they know their contract.
    if site.intensity is None:
        carbon = resolve_carbon(site.zone, window, sources)
    else:
        fixed = open_source(f"static:{site.zone}={site.intensity.g_per_kwh!r} gCO2e/kWh")
        carbon = _declared(site, fixed.name, fixed.carbon(site.zone, window))
    if site.price is None:
        price = resolve_prices(site.zone, window, sources)
    else:
        fixed = open_source(f"static:{site.zone}={site.price.amount_per_kwh!r} {site.price.currency}/kWh")
        price = _declared(site, fixed.name, fixed.prices(site.zone, window))
    return Sited(site, _pue(site), carbon, price)


def _declared(site: PlanSite, source: str, series: S) -> Answer[S]:
    return Answer(find_zone(site.zone), Level.DECLARED, source, series, (), ())


def _pue(site: PlanSite) -> float:
    if site.pue is not None:
        return site.pue.worst
    if not site.region:
        remedy = 'Write pue = 1.25 for the site, or region = "aws:eu-central-1" for the provider\'s figure'
        raise FactorMissing("PUE", site.name, (), remedy)
    return site_factors().pue(site.region)[0]


def _one_currency(spec: PlanSpec, sited: Sequence[Sited]) -> str:
    money = {one.price.series.meaning.currency: one.site.name for one in reversed(sited)}
    if spec.carbon_price is not None:
        money[spec.carbon_price.currency] = "the price of carbon"
    for site in spec.sites:
        for stated in (site.move_per_gb, site.demand_charge):
            if stated is not None:
                money.setdefault(stated.currency, site.name)
    if len(money) > 1:
        which = ", ".join(f"{code} ({where})" for code, where in sorted(money.items()))
        raise UsageError(f"the plan mixes currencies: {which}", "Declare every price in one, at your own rate")
    return next(iter(money))


def _values(series: CarbonSeries | PriceSeries, edges_s: Sequence[float]) -> list[float]:
    """Means over the steps; NaN where a step is not known."""
    return [math.nan if isinstance(value, Gap) else value for value in series.onto(edges_s).values]


def _notes(sited: Sequence[Sited]) -> Iterator[str]:
    yield from mixed_note([one.price for one in sited])
    flat = [one.site.name for one in sited if len(one.carbon.series) == 1 and len(one.price.series) == 1]
    if flat:
        yield f"One figure holds all through the horizon at {', '.join(flat)}: there, where is planned and not when"
    for one in sited:
        for answer in (one.carbon, one.price):
            yield from (f"{one.site.name}: {text}" for text in answer.notes)
