"""Carbon of purchased power by the GHG Protocol: location-based and market-based side by side, as a sum and by hour.

Source: World Resources Institute, GHG Protocol Scope 2 Guidance (2015): two totals beside each other, instruments that
cover a quantity of energy, the residual mix for the rest (its hierarchy of market-based factors, table 6.3). Scope 2
counts what generation emits at the stack; what a life-cycle factor has beyond it is scope 3, category 3, so a
life-cycle factor is shown as what it is and never called scope 2.

By hour, a contract counts up to what was drawn in the same hour: matched = min(load, generation). The Guidance of 2015
lets a contract count over a year. Both are given, and neither is added to the other.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from outweigh.core.constants import J_PER_KWH, S_PER_HOUR
from outweigh.core.errors import UsageError
from outweigh.core.measurement import Grade, Scope
from outweigh.core.quantities import CarbonBasis, CarbonScope
from outweigh.core.receipt import RunStatus
from outweigh.core.rounding import significant
from outweigh.report.declared import Given, Instrument
from outweigh.report.sheet import Asked, Row, Section, Sheet
from outweigh.report.standards import asking
from outweigh.report.totals import Addressed, carbon_text, energy_text, total

SOURCE = "WRI, GHG Protocol Scope 2 Guidance, 2015"
RESIDUAL = Asked(
    "residual mix", "the market-based figure of energy that no instrument covers",
    '[market]\nresidual = "690 gCO2e/kWh"',
)  # fmt: skip


_COLUMNS = ("basis", "matching", "carbon", "factor", "grade", "source")


@dataclass(frozen=True, slots=True)
class Matched:
    """Market-based carbon of a load.

    Attributes:
        carbon_g: None where energy is left that no instrument covers and no residual mix is known for.
        covered_j: what instruments cover [J].
        covered_g: carbon of that [gCO2e].
    """

    carbon_g: float | None
    covered_j: float
    covered_g: float


def hourly_loads(receipts: Iterable[Addressed], pue: float | None) -> dict[float, float]:
    """Energy drawn [J] by the hour's start [s, UTC epoch], each run spread evenly over its time.

    Energy is that of the facility where a PUE is given; a meter that sees the building is taken as it is.
    """
    loads: dict[float, float] = {}
    for _, one in receipts:
        if one.status is RunStatus.UNUSABLE:
            continue
        factor = 1.0 if pue is None or one.total.scope is Scope.FACILITY else pue
        start_s, end_s = one.interval.start.timestamp(), one.interval.end.timestamp()
        hour = math.floor(start_s / S_PER_HOUR) * S_PER_HOUR
        while hour < end_s or hour <= start_s:
            inside = min(end_s, hour + S_PER_HOUR) - max(start_s, hour)
            share = inside / (end_s - start_s) if end_s > start_s else 1.0
            loads[hour] = loads.get(hour, 0.0) + one.total.value.joules * factor * share
            hour += S_PER_HOUR
    return dict(sorted(loads.items()))


def located(loads: Mapping[float, float], hours: Mapping[float, float | None]) -> tuple[float | None, float, int]:
    """Location-based carbon by hour.

    Returns:
        Carbon of all hours [gCO2e], None where one of them is not known; carbon of those that are; how many are not.
    """
    known = [(joules, hours.get(hour)) for hour, joules in loads.items()]
    grams = math.fsum(joules / J_PER_KWH * rate for joules, rate in known if rate is not None)
    unknown = sum(rate is None for _, rate in known)
    return (None if unknown else grams), grams, unknown


def over_period(load_j: float, instruments: Sequence[Instrument], residual_g_per_kwh: float | None) -> Matched:
    """Market-based carbon with instruments matched over the whole period, in the order declared.

    Args:
        load_j: energy drawn [J].
    """
    left_j, covered_g = load_j, 0.0
    for one in instruments:
        own_j = math.inf if one.energy is None else one.energy.joules
        used_j = min(left_j, own_j)
        covered_g += used_j / J_PER_KWH * one.g_per_kwh
        left_j -= used_j
    return _matched(load_j, left_j, covered_g, residual_g_per_kwh)


def by_hour(
    loads: Mapping[float, float], instruments: Sequence[Instrument], residual_g_per_kwh: float | None
) -> Matched:
    """The same hour by hour: an instrument covers at most what it generated in the hour.

    One whose hours are not known covers nothing here, unless it covers everything (a supplier's rate).
    """
    left_total_j, covered_g = 0.0, 0.0
    for hour, load_j in loads.items():
        left_j = load_j
        for one in instruments:
            own_j = dict(one.hourly).get(hour, 0.0) if one.hourly else (math.inf if one.energy is None else 0.0)
            used_j = min(left_j, own_j)
            covered_g += used_j / J_PER_KWH * one.g_per_kwh
            left_j -= used_j
        left_total_j += left_j
    return _matched(math.fsum(loads.values()), left_total_j, covered_g, residual_g_per_kwh)


def _matched(load_j: float, left_j: float, covered_g: float, residual: float | None) -> Matched:
    covered_j = load_j - left_j
    if left_j <= 1e-9 * load_j:
        return Matched(covered_g, load_j, covered_g)
    whole = None if residual is None else covered_g + left_j / J_PER_KWH * residual
    return Matched(whole, covered_j, covered_g)


def scope2(receipts: Iterable[Addressed], given: Given) -> Sheet:
    """Location-based and market-based carbon over the receipts of a ledger.

    Raises:
        UsageError: nothing usable, an intensity that is not location-based, or contracts that mix what generation emits
            with life cycles.
    """
    kept = list(receipts)
    of = total(kept)
    pue = None if given.pue is None else given.pue[0]
    energy_j = of.at(pue)
    if given.intensity is not None and given.intensity[0].basis is not CarbonBasis.LOCATION:
        raise UsageError("scope 2 takes no marginal intensity", "Give the average of the grid, location-based")
    scopes = {one.scope for one in given.instruments} | ({given.residual[0].scope} if given.residual else set())
    if len(scopes) > 1:
        raise UsageError(
            "direct and life-cycle factors are mixed in [market]", "Give all instruments and the residual mix of one"
        )
    loads = hourly_loads(kept, pue)
    residual = None if given.residual is None else given.residual[0].g_per_kwh
    rows, figures = [], {**of.about(), "energy_j": energy_j[0], "pue": pue, "hours": len(loads)}
    missing: list[Asked] = []

    place = None if given.intensity is None else given.intensity[0]
    if place is None and not given.hours:
        missing.append(asking.INTENSITY)
    if place is not None and given.intensity is not None:
        factor = given.intensity[1]
        value, low, high = (joules / J_PER_KWH * place.g_per_kwh for joules in energy_j)
        grade = Grade.worst((of.grade, factor.grade))
        rows.append(
            _row("location-based", "one figure for the period", (value, low, high), place.scope, grade, factor.source)
        )
    if given.hours:
        rates = dict(given.hours)
        whole, part, unknown = located(loads, rates)
        note = f"{unknown} of {len(loads)} hours are not known; those that are come to {carbon_text(part)}"
        ends = tuple(located(_scaled(loads, energy_j, end), rates)[0] for end in (1, 2))
        rows.append(
            _row("location-based", "hour by hour", (whole, *ends), given.hours_scope,
                 Grade.worst((of.grade, given.hours_grade)), given.hours_source, why=note if unknown else "",
                 known_hours_carbon_g=part, hours_unknown=unknown)
        )  # fmt: skip
    if given.instruments or given.residual:
        market = next(iter(scopes))
        contracts = given.instruments
        annual = [over_period(joules, contracts, residual) for joules in energy_j]
        hourly = [by_hour(_scaled(loads, energy_j, end), contracts, residual) for end in range(3)]
        for name, found in (("matched over the period", annual), ("matched hour by hour", hourly)):
            share = found[0].covered_j / energy_j[0] if energy_j[0] else 0.0
            known = found[0].carbon_g is not None
            why = "" if known else (
                f"instruments cover {100 * share:.0f} %; the residual mix of the rest is not declared"
            )  # fmt: skip
            carbon = tuple(one.carbon_g for one in found)
            rows.append(
                _row("market-based", name, carbon, market, Grade.D, _contracts(given), why=why, covered_share=share)
            )
        if residual is None and any(one[0].carbon_g is None for one in (annual, hourly)):
            missing.append(RESIDUAL)
    else:
        missing.append(
            Asked("contracts", "a market-based figure stands beside the location-based one",
                  '[market]\nresidual = "690 gCO2e/kWh"\n\n[[market.instrument]]\nname = "wind, guarantees of origin"\n'
                  'intensity = "0 gCO2e/kWh"\nenergy = "12 MWh"')
        )  # fmt: skip
    if pue is None and of.it_j:
        missing.append(asking.PUE)
    notes = [*of.sentences(), "location-based and market-based figures answer different questions and are never added"]
    if any(row.figures["factor_scope"] == "lifecycle" for row in rows):
        notes.append(
            "a figure marked lifecycle is not scope 2: its part beyond the stack is scope 3, category 3; declare a "
            'direct factor to report scope 2: intensity = "310 gCO2e/kWh" with scope = "direct"'
        )
    figures["rows"] = [dict(row.figures) for row in rows]
    first = next((row for row in rows if row.figures["carbon_g"] is not None), None)
    return Sheet(
        report="scope2",
        title="Carbon of purchased power, GHG Protocol scope 2",
        lead=f"{energy_text(*energy_j)} were drawn"
        + (f": {first.cells[2]} {first.cells[0]}, {first.cells[3]}." if first else "; no factor is known for it yet."),
        key=(("energy", energy_text(*energy_j)), *((f"{row.cells[0]}, {row.cells[1]}", row.cells[2]) for row in rows)),
        sections=(
            Section("totals", "Totals, side by side", _COLUMNS, rows,
                    text=frozenset({1, 3, 4, 5}), empty="No factor is declared."),
            Section("hours", "By hour", ("hour (UTC)", "energy", "g/kWh", "location-based"),
                    list(_hours(loads, dict(given.hours))), empty="", most=24),
        ),
        figures=figures,
        missing=tuple(missing),
        notes=tuple(notes),
        sources=(SOURCE,),
        complete=bool(rows) and all(row.figures["carbon_g"] is not None for row in rows),
    )  # fmt: skip


def _contracts(given: Given) -> str:
    names = [one.name for one in given.instruments]
    return ", ".join([*names, *(["residual mix"] if given.residual else [])])


def _scaled(loads: Mapping[float, float], energy_j: tuple[float, float, float], end: int) -> dict[float, float]:
    """The load with the energy of an end of its interval: meters err alike in every hour."""
    factor = energy_j[end] / energy_j[0] if energy_j[0] else 1.0
    return {hour: joules * factor for hour, joules in loads.items()}


def _row(
    basis: str, matching: str, carbon_g: Sequence[float | None], scope: CarbonScope, grade: Grade, source: str, *,
    why: str = "", **more: Any,
) -> Row:  # fmt: skip
    """A total; `carbon_g` is (value, low, high), the ends those of the metered energy."""
    value, low, high = carbon_g
    shown = f"not given: {why}" if value is None else carbon_text(value, low, high)
    return Row(
        (basis, matching, shown, str(scope), str(grade), source),
        {"basis": basis, "matching": matching, "carbon_g": value, "carbon_low_g": low, "carbon_high_g": high,
         "factor_scope": str(scope), "is_scope_2": scope is CarbonScope.DIRECT, "grade": str(grade), "source": source,
         "why": why or None, **more},
    )  # fmt: skip


def _hours(loads: Mapping[float, float], rates: Mapping[float, float | None]) -> Iterable[Row]:
    for hour, joules in loads.items():
        stamp, rate = datetime.fromtimestamp(hour, UTC), rates.get(hour)
        grams = None if rate is None else joules / J_PER_KWH * rate
        yield Row(
            (f"{stamp:%Y-%m-%d %H:%M}", energy_text(joules, joules, joules),
             "-" if rate is None else significant(rate), "-" if grams is None else carbon_text(grams)),
            {"hour": stamp.isoformat(), "energy_j": joules, "intensity_g_per_kwh": rate, "carbon_location_g": grams},
        )  # fmt: skip
