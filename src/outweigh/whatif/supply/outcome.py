"""What a supply comes to: cost, residual carbon, matching by the hour, peak at the gate."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from outweigh.core.constants import G_PER_TONNE
from outweigh.core.quantities import LocationCarbon, Power
from outweigh.whatif.supply.dispatch import Dispatch, dispatch
from outweigh.whatif.supply.headroom import headroom
from outweigh.whatif.supply.question import Site

_TINY_KW = 1e-6
Progress = Callable[[str, float], None]


@dataclass(frozen=True, slots=True)
class Outcome:
    """A way of supply over the time of the profiles.

    Attributes:
        load_kwh, grid_kwh, own_kwh, unused_kwh, fed_in_kwh, lost_kwh, contract_kwh: energies; `lost` in the battery.
        grid_cost, contract_cost, fixed_cost, wear_cost, carbon_cost, earned: [currency]; `total` is their sum.
        carbon: of what the grid delivers, location-based and lifecycle. A contract does not change it.
        matched_share: energy of each step matched in that step, over the load; what the grid charges into the battery
            counts as unmatched, its losses too.
        matched_with_grid: the same with the grid's own carbon-free share; None where not known.
        matched_yearly: own output that is used or stored, and contracts, over the load, whenever they come: what
            certificates count.
        factor: by how much all of the load may grow under the cap (`headroom`).
        short_kwh, short_hours: load that the cap leaves unserved. `total` is None then: it is no supply.
    """

    name: str
    dispatch: Dispatch
    load_kwh: float
    grid_kwh: float
    own_kwh: float
    unused_kwh: float
    fed_in_kwh: float
    lost_kwh: float
    contract_kwh: float
    grid_cost: float
    contract_cost: float
    fixed_cost: float
    wear_cost: float
    carbon_cost: float
    earned: float
    carbon: LocationCarbon
    matched_share: float
    matched_with_grid: float | None
    matched_yearly: float
    peak: Power
    factor: float
    short_kwh: float
    short_hours: float

    @property
    def total(self) -> float | None:
        if self.short_hours > 0:
            return None
        return self.grid_cost + self.contract_cost + self.fixed_cost + self.wear_cost + self.carbon_cost - self.earned

    @property
    def gap(self) -> float:
        return self.dispatch.gap


def outcome(name: str, site: Site) -> Outcome:
    """The cheapest dispatch of a site, and what it comes to.

    Raises:
        PlanInfeasible: as `dispatch` does.
    """
    found, h = dispatch(site), site.step_h
    price, contract_kw = site.grid.price_per_kwh, site.contract_kw
    load_kwh = float(site.load_kw.sum()) * h
    unmatched_kw = np.maximum(found.grid_kw - contract_kw, 0.0)
    clean = site.grid.clean_share
    grams = float((found.grid_kw * site.grid.g_per_kwh).sum()) * h
    strike = 0.0 if site.contract is None else site.contract.strike_per_kwh
    lost = float((found.charging_kw - found.discharging_kw).sum()) * h
    bought = float((site.own_kw - found.fed_in_kw - found.unused_kw + contract_kw).sum()) * h
    short = np.where(found.short_kw > _TINY_KW, found.short_kw, 0.0)
    return Outcome(
        name=name,
        dispatch=found,
        load_kwh=load_kwh,
        grid_kwh=float(found.grid_kw.sum()) * h,
        own_kwh=float(site.own_kw.sum()) * h,
        unused_kwh=float(found.unused_kw.sum()) * h,
        fed_in_kwh=float(found.fed_in_kw.sum()) * h,
        lost_kwh=lost,
        contract_kwh=float(contract_kw.sum()) * h,
        grid_cost=float((found.grid_kw * price).sum()) * h,
        contract_cost=float((contract_kw * (strike - price)).sum()) * h,
        fixed_cost=site.yearly * site.years,
        wear_cost=0.0 if site.battery is None else site.battery.wear_per_kwh * float(found.discharging_kw.sum()) * h,
        carbon_cost=grams / G_PER_TONNE * site.per_tonne,
        earned=(site.export_per_kwh or 0.0) * float(found.fed_in_kw.sum()) * h,
        carbon=LocationCarbon(grams),
        matched_share=_matched(float(unmatched_kw.sum()) * h, load_kwh),
        matched_with_grid=None if clean is None else _matched(float((unmatched_kw * (1 - clean)).sum()) * h, load_kwh),
        matched_yearly=min(1.0, bought / load_kwh) if load_kwh else 1.0,
        peak=Power.kw(float(found.grid_kw.max())),
        factor=headroom(site),
        short_kwh=float(short.sum()) * h,
        short_hours=float(np.count_nonzero(short)) * h,
    )


def _matched(unmatched_kwh: float, load_kwh: float) -> float:
    """1 less what is unmatched over the load, and not below 0 (the hourly score of Google, 24/7 Carbon-Free Energy:
    Methodologies and Metrics, 2021, in which an hour's surplus does not count for another hour)."""
    return 1.0 if load_kwh == 0 else max(0.0, 1.0 - unmatched_kwh / load_kwh)


def ways(site: Site, progress: Progress = lambda _what, _share: None) -> tuple[tuple[Outcome, Site], ...]:
    """The grid alone, which is doing nothing; each thing that may be built alone; and all of it; each with its site."""
    alone = site.alone()
    asked = [("grid alone (as now)", alone)]
    asked += [(one.name, replace(alone, generators=(one,))) for one in site.generators]
    if site.battery is not None:
        asked.append(("battery", replace(alone, battery=site.battery)))
    if site.contract is not None:
        asked.append(("contract", replace(alone, contract=site.contract)))
    if len(asked) > 2:
        asked.append(("all of it", site))
    found = []
    for number, (name, one) in enumerate(asked):
        progress(name, number / len(asked))
        found.append((outcome(name, one), one))
    return tuple(found)
