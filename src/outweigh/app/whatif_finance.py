"""`outweigh whatif finance`: a business case from its file, as tables with doing nothing in their first column."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from outweigh.config.finance import load_case
from outweigh.core.rounding import fixed, significant
from outweigh.whatif.finance import Case, Flows, Scenarios, draw, irr, payback, tornado
from outweigh.whatif.finance.case import DO_NOTHING
from outweigh.whatif.finance.cash import sign_changes

SCHEMA = "outweigh.finance/1"
_J_PER_KWH = 3.6e6
_PERCENT = {"growth", "price_growth", "carbon_growth", "running_growth", "rate", "change", "rebound"}
Table = tuple[str, tuple[str, ...], list[tuple[str, ...]]]


@dataclass(frozen=True, slots=True)
class Financed:
    """The case as JSON, as tables (title, headings, rows), and its notes."""

    document: Mapping[str, Any]
    tables: list[Table]
    lines: list[str]
    notes: list[str]


def finance(path: Path, *, scenarios: int = 1000, seed: int = 0, option: str = "", bars: int = 10) -> Financed:
    """Years of cash flow of doing nothing and of every option.

    Args:
        option: whose tornado is shown; by default that of the largest gain.

    Raises:
        ConfigError: the file says something we refuse.
        UsageError: no option bears that name.
    """
    case = load_case(path)
    ways = [DO_NOTHING, *(one.name for one in case.options)]
    flows = {way: case.flows(way) for way in ways}
    gains = {one.name: float(case.gain(one.name)) for one in case.options}
    drawn = draw(case, scenarios, seed)
    chosen = case.option(option).name if option else max(gains, key=lambda name: gains[name], default="")
    tables: list[Table] = [
        ("", ("", *ways), list(_summary(case, flows, gains, drawn))),
        (f"cash flow, {case.currency}", ("year", *ways), _years(flows)),
    ]
    if chosen:
        tables.append(_tornado(case, chosen, bars))
    notes = [
        f"{scenarios:,} scenarios, seed {seed}: triangular draws of every input with a range, each on its own",
        "an option's change of energy is as its grade says; D is a projection that nobody measured",
    ]
    if not any(one.spread for one in case.ranged().values()):
        notes[0] = "no input has a range, so there is no tornado and every scenario is the same: give low and high"
    return Financed(_document(case, flows, gains, drawn, bars), tables, list(_words(case, flows)), notes)


def _summary(
    case: Case, flows: Mapping[str, Flows], gains: Mapping[str, float], drawn: Scenarios
) -> Iterator[tuple[str, ...]]:
    nothing, rate, money = flows[DO_NOTHING], case.inputs["rate"].value, case.currency
    options = [(one, flows[one.name]) for one in case.options]
    yield (f"present value, {money}", *(_money(float(case.npv(way))) for way in flows))
    yield (f"gain over doing nothing, {money}", "0", *(_money(gains[one.name]) for one, _ in options))
    yield ("5 % to 95 % of the scenarios", "0", *(_range(drawn, one.name) for one, _ in options))
    yield ("better in", "-", *(f"{100 * drawn.better(one.name):.0f} %" for one, _ in options))
    yield ("internal rate of return", "-", *(_irr_words(one.cash - nothing.cash) for _, one in options))
    yield ("payback", "-", *(_payback_words(payback(one.cash - nothing.cash)) for _, one in options))
    yield ("payback, discounted", "-", *(_payback_words(payback(one.cash - nothing.cash, rate)) for _, one in options))
    yield (f"Wh per {case.unit}", *(significant(1e3 * _each(one)) for one in flows.values()))
    for label, year in (("year 1", 1), (f"year {case.years}", case.years)):
        yield (f"MWh in {label}", *(significant(float(one.kwh[year]) / 1e3, 4) for one in flows.values()))
    yield ("MWh in all", *(significant(float(one.kwh.sum()) / 1e3, 4) for one in flows.values()))
    yield ("tCO2e in all", *(significant(float(one.tonnes.sum()), 3) for one in flows.values()))
    yield ("grade", "-", *(one.grade for one, _ in options))


def _years(flows: Mapping[str, Flows]) -> list[tuple[str, ...]]:
    years = len(next(iter(flows.values())).cash)
    return [(str(year), *(_money(float(one.cash[year])) for one in flows.values())) for year in range(years)]


def _tornado(case: Case, option: str, most: int) -> Table:
    found = tornado(case, option, most)
    rows: list[tuple[str, ...]] = [
        (
            f"{_money(bar.nothing_low)} to {_money(bar.nothing_high)}",
            bar.name.removeprefix(f"{option}: "),
            _input(bar.name, bar.ranged.low),
            _input(bar.name, bar.ranged.high),
            _money(bar.gain_low),
            _money(bar.gain_high),
            _money(bar.swing),
        )
        for bar in found
    ]
    title = f"what the gain of {option} hangs on, {case.currency} ({_money(float(case.gain(option)))} as declared)"
    return title, (DO_NOTHING, "input", "low", "high", "gain at low", "gain at high", "swing"), rows


def _words(case: Case, flows: Mapping[str, Flows]) -> Iterator[str]:
    nothing = flows[DO_NOTHING]
    for option in case.options:
        one = flows[option.name]
        if option.rebound.value == 0 or option.change.value >= 0 or not nothing.kwh.sum():
            continue
        per_unit, total = _each(one) / _each(nothing) - 1, float(one.kwh.sum() / nothing.kwh.sum()) - 1
        units = float(one.units.sum() / nothing.units.sum()) - 1
        what = "rebound: per unit down, total up (backfire)" if total > 0 else "rebound"
        yield (
            f"{option.name}: {what}: {_signed(per_unit)} per {case.unit}, {_signed(units)} {case.unit}s, "
            f"{_signed(total)} in all"
        )
    for option in case.options:
        one = flows[option.name]
        if nothing.kwh[1] < one.kwh[-1] < nothing.kwh[-1]:
            yield (
                f"{option.name}: growth outruns it: year {case.years} draws "
                f"{significant(float(one.kwh[-1] / nothing.kwh[1]), 3)} times the first year of doing nothing"
            )


def _each(flows: Flows) -> float:
    """Energy of a unit [kWh]; 0 where none is delivered."""
    units = float(flows.units.sum())
    return float(flows.kwh.sum()) / units if units else 0.0


def _irr_words(change: NDArray[np.float64]) -> str:
    found = irr(change)
    if found is not None:
        return f"{100 * found:.1f} %"
    turns = sign_changes(change)
    return f"not defined ({turns} changes of sign)"


def _payback_words(years: float | None) -> str:
    return "never" if years is None else "at once" if years == 0 else f"{years:.1f} years"


def _range(drawn: Scenarios, option: str) -> str:
    low, _, high = drawn.quantiles(option)
    return f"{_money(low)} to {_money(high)}"


def _input(name: str, value: float) -> str:
    key = name.rpartition(": ")[2]
    relative = key in _PERCENT or (": " in name and key in ("price", "intensity"))
    if relative:
        return f"{100 * value:g} %"
    return f"{significant(1e3 * value)} Wh" if key == "energy" else significant(value, 4)


def _money(amount: float) -> str:
    return fixed(amount, 0)


def _signed(share: float) -> str:
    return f"{100 * share:+.1f} %".replace("-", "\N{MINUS SIGN}")


def _document(
    case: Case, flows: Mapping[str, Flows], gains: Mapping[str, float], drawn: Scenarios, bars: int
) -> dict[str, Any]:
    nothing = flows[DO_NOTHING]
    grades = {one.name: (one.grade, one.source or None) for one in case.options}

    def way(name: str, one: Flows) -> dict[str, Any]:
        change = one.cash - nothing.cash
        low, middle, high = drawn.quantiles(name)
        grade, source = grades.get(name, (None, None))
        return {
            "way": name,
            "present_value": float(case.npv(name)),
            "gain": gains.get(name, 0.0),
            "scenario_p05": low, "scenario_p50": middle, "scenario_p95": high,
            "better_share": None if name == DO_NOTHING else drawn.better(name),
            "irr": irr(change),
            "sign_changes": sign_changes(change),
            "payback_years": None if name == DO_NOTHING else payback(change),
            "discounted_payback_years": None if name == DO_NOTHING else payback(change, case.inputs["rate"].value),
            "cash": one.cash.tolist(),
            "energy_j": (one.kwh * _J_PER_KWH).tolist(),
            "carbon_g": (one.tonnes * 1e6).tolist(),
            "units": one.units.tolist(),
            "grade": grade,
            "source": source,
        }  # fmt: skip

    return {
        "schema": SCHEMA,
        "source": case.source or None,
        "currency": case.currency,
        "unit": case.unit,
        "years": case.years,
        "rate": case.inputs["rate"].value,
        "scenarios": len(drawn.nothing),
        "seed": drawn.seed,
        "method": "modelled",
        "scenario_values": "present value for doing nothing, gain over it for an option",
        "ways": [way(name, one) for name, one in flows.items()],
        "tornado": {
            option.name: [
                {
                    "input": bar.name,
                    "value": bar.ranged.value, "low": bar.ranged.low, "high": bar.ranged.high,
                    "nothing_low": bar.nothing_low, "nothing_high": bar.nothing_high,
                    "gain": bar.gain, "gain_low": bar.gain_low, "gain_high": bar.gain_high,
                    "swing": bar.swing,
                }
                for bar in tornado(case, option.name, bars)
            ]
            for option in case.options
        },
    }  # fmt: skip
