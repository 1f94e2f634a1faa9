"""`outweigh whatif supply`: files of hours into a site, its ways of supply, answers as rows."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from outweigh.app.whatif_series import Hours, read_hours
from outweigh.config.supply import SupplySpec, load_supply
from outweigh.core.errors import ConfigError, InvalidQuantity, OutputError, OutweighError
from outweigh.core.rates import g_per_kwh_in, price_unit
from outweigh.core.rounding import significant
from outweigh.core.units import parse_share
from outweigh.data.whole_file import write_whole
from outweigh.whatif.supply import (
    Battery,
    Contract,
    Generator,
    Grid,
    Outcome,
    Site,
    broken_laws,
    reaches_cap,
    ways,
)

SCHEMA = "outweigh.supply/1"
Progress = Callable[[str, float], None]
_MOST_OF_A_YEAR = 0.95
_REMEDY = "Name a file you may write, in a folder with room"


@dataclass(frozen=True, slots=True)
class Supplied:
    """The answer as JSON, as a table, and its notes."""

    document: Mapping[str, Any]
    headings: tuple[str, ...]
    rows: list[tuple[str, ...]]
    notes: list[str]


def supply(
    path: Path,
    *,
    share: str = "100%",
    residual: Path | None = None,
    progress: Progress = lambda _what, _share: None,
) -> Supplied:
    """The ways of supply of a file (docs/whatif.md).

    Args:
        share: of what the file says may be built; at 0 every way is the grid alone.
        residual: where to write what the last way still draws from the grid, as a load for `whatif tariff bill`.

    Raises:
        ConfigError, InvalidQuantity: a file says something we refuse.
        OutputError: the residual cannot be written.
        OutweighError: the independent check of a dispatch found something wrong; nothing is shown then.
    """
    spec = load_supply(path)
    load = read_hours(spec.load, spec.timezone, wanted=("kw",))
    site = _site(spec, load).scaled(parse_share(share))
    found = ways(site, progress)
    for one, asked in found:
        if wrong := broken_laws(asked, one.dispatch):
            raise OutweighError(f"the dispatch of {one.name} fails its own check ({'; '.join(wrong)})", "Report this")
    outcomes = [one for one, _ in found]
    on = load.start.date()
    if residual is not None:
        _write(residual, load, outcomes[-1])
    notes = _notes(spec, site, outcomes)
    if share != "100%":
        notes.append(f"{share} of what the file says may be built")
    return Supplied(
        document=_document(spec, site, load, outcomes, on, notes),
        headings=("way", f"cost {site.currency}", "of it grid", "carbon t", "hourly match", "yearly match", "peak kW",
                  "unused MWh", "at the cap", "gap"),
        rows=[_cells(one, spec, on) for one in outcomes],
        notes=notes,
    )  # fmt: skip


def _site(spec: SupplySpec, load: Hours) -> Site:
    grid = read_hours(spec.grid, spec.timezone)
    load.same_steps(grid)
    currency, price = _price(grid, spec.currency)
    if spec.currency and spec.currency != currency:
        problem = f"prices are in {currency}, {spec.source.name} in {spec.currency}"
        raise ConfigError(str(spec.grid), 1, problem, "Two currencies do not add: convert at a rate you state")
    contract, battery = spec.contract, spec.battery
    return Site(
        currency=currency,
        step_h=load.step_s / 3600,
        load_kw=load.column("kw", least=0.0),
        grid=Grid(price, _intensity(grid), grid.column("cfe", least=0.0, most=1.0) if "cfe" in grid.columns else None),
        generators=tuple(
            Generator(one.name, one.capacity.to_kw(), _output(spec, load, one.output), one.yearly)
            for one in spec.generators
        ),
        battery=None
        if battery is None
        else Battery(
            battery.power.to_kw(),
            battery.energy.to_kwh(),
            battery.efficiency,
            battery.start,
            battery.wear,
            battery.yearly,
        ),
        contract=None
        if contract is None
        else Contract(contract.capacity.to_kw(), _output(spec, load, contract.output), contract.strike),
        cap_kw=math.inf if spec.cap is None else spec.cap.to_kw(),
        export_per_kwh=None if spec.export is None else spec.export.amount_per_kwh,
        per_tonne=0.0 if spec.carbon_price is None else spec.carbon_price.amount,
    )


def _output(spec: SupplySpec, load: Hours, path: Path) -> np.ndarray:
    hours = read_hours(path, spec.timezone, wanted=("share",))
    load.same_steps(hours)
    return hours.column("share", least=0.0)


def _price(grid: Hours, currency: str) -> tuple[str, np.ndarray]:
    priced = [(name, *unit) for name in grid.columns if (unit := _as_price(name)) is not None]
    if len(priced) != 1:
        remedy = f"Write one, headed {currency or 'EUR'}/MWh"
        raise ConfigError(str(grid.path), 1, f"it has {len(priced)} columns of prices", remedy)
    name, found, kwh = priced[0]
    return found, grid.columns[name] / kwh


def _as_price(name: str) -> tuple[str, float] | None:
    try:
        return price_unit(name)
    except InvalidQuantity:
        return None


def _intensity(grid: Hours) -> np.ndarray:
    known = [(name, scale) for name in grid.columns if (scale := _as_intensity(name)) is not None]
    if len(known) != 1:
        raise ConfigError(
            str(grid.path), 1, f"it has {len(known)} columns of carbon intensity", "Write one, headed gCO2e/kWh"
        )
    name, scale = known[0]
    return grid.column(name, least=0.0) * scale


def _as_intensity(name: str) -> float | None:
    try:
        return g_per_kwh_in(name)
    except InvalidQuantity:
        return None


def _write(path: Path, load: Hours, found: Outcome) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("start", "kw"))
    for step, kw in enumerate(found.dispatch.grid_kw):
        writer.writerow(((load.start + timedelta(seconds=load.step_s * step)).isoformat(), f"{kw:.6f}"))
    # A pipe, /dev/stdout or a link is written to: replacing it would take it away.
    if not path.is_symlink() and (path.is_file() or not path.exists()):
        write_whole(path, text.getvalue(), mode=0o644, remedy=_REMEDY)
        return
    try:
        path.write_text(text.getvalue(), encoding="utf-8", newline="")
    except OSError as err:
        raise OutputError(str(path), err.strerror or type(err).__name__, _REMEDY) from err


def _notes(spec: SupplySpec, site: Site, outcomes: list[Outcome]) -> list[str]:
    notes = [
        "perfect foresight of load, output and prices: a battery run by a forecast earns less",
        "carbon is location-based: a contract does not change it; hourly match counts the contract, hour by hour",
    ]
    if site.years < _MOST_OF_A_YEAR:
        notes.append(f"the profiles cover {site.years * 8760:.0f} h, and so does the cost: other seasons may differ")
    notes += [
        f"{one.name} is no supply: the cap leaves {one.short_kwh:,.0f} kWh unserved, in {one.short_hours:g} h"
        for one in outcomes
        if one.short_hours > 0
    ]
    if spec.cap is not None and spec.growth == 0:
        notes.append("without growth the cap is met never or at once")
    notes.append("demand charges are not in the cost: --residual FILE writes a load for `outweigh whatif tariff bill`")
    return notes


def _cells(one: Outcome, spec: SupplySpec, on: date) -> tuple[str, ...]:
    reached = reaches_cap(one.factor, spec.growth, on)
    return (
        one.name,
        "not possible" if one.total is None else significant(one.total, 5),
        significant(one.grid_cost, 5),
        significant(one.carbon.to_tonnes(), 4),
        f"{100 * one.matched_share:.1f} %",
        f"{100 * one.matched_yearly:.1f} %",
        f"{one.peak.to_kw():,.0f}",
        f"{one.unused_kwh / 1e3:,.1f}",
        "no cap" if spec.cap is None else "never" if reached is None else reached.isoformat(),
        f"{100 * max(one.gap, 0.0):.3f} %",
    )


def _document(
    spec: SupplySpec, site: Site, load: Hours, outcomes: list[Outcome], on: date, notes: list[str]
) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "source": str(spec.source),
        "start": load.start.isoformat(),
        "step_s": load.step_s,
        "steps": site.load_kw.size,
        "currency": site.currency,
        "cap_w": None if spec.cap is None else spec.cap.watts,
        "growth_per_year": spec.growth,
        "carbon_price_per_tonne": site.per_tonne,
        "carbon_basis": "location",
        "grade": "D",
        "method": "modelled: cheapest dispatch with perfect foresight, from declared profiles",
        "ways": [_way(one, spec, on) for one in outcomes],
        "notes": notes,
    }


def _way(one: Outcome, spec: SupplySpec, on: date) -> dict[str, Any]:
    reached = reaches_cap(one.factor, spec.growth, on)
    return {
        "way": one.name,
        "total": one.total,
        "grid_cost": one.grid_cost, "contract_cost": one.contract_cost, "fixed_cost": one.fixed_cost,
        "wear_cost": one.wear_cost, "carbon_cost": one.carbon_cost, "earned": one.earned,
        "load_energy_j": one.load_kwh * 3.6e6, "grid_energy_j": one.grid_kwh * 3.6e6,
        "own_energy_j": one.own_kwh * 3.6e6, "unused_energy_j": one.unused_kwh * 3.6e6,
        "fed_in_energy_j": one.fed_in_kwh * 3.6e6, "lost_energy_j": one.lost_kwh * 3.6e6,
        "contract_energy_j": one.contract_kwh * 3.6e6,
        "carbon_g": one.carbon.grams,
        "matched_share": one.matched_share, "matched_with_grid_share": one.matched_with_grid,
        "matched_yearly_share": one.matched_yearly,
        "peak_power_w": one.peak.watts,
        "growth_factor_to_cap": None if math.isinf(one.factor) else one.factor,
        "at_cap_on": None if reached is None else reached.isoformat(),
        "short_energy_j": one.short_kwh * 3.6e6, "short_s": one.short_hours * 3600,
        "certificate": {
            "objective": one.dispatch.objective, "lower_bound": one.dispatch.bound, "gap": one.gap,
            "method": "weak duality of the linear programme, worked out from its prices",
        },
    }  # fmt: skip
