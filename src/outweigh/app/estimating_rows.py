"""Estimates and reconciliations as JSON, and as the tables that people read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from outweigh.core.measurement import Missing
from outweigh.core.rounding import plus_minus, si_prefix, significant
from outweigh.whatif.estimating.estimate import Estimate, Figure
from outweigh.whatif.estimating.learning import Learned, Reconciled
from outweigh.whatif.estimating.ranges import METHOD
from outweigh.whatif.estimating.work import Work

SCHEMA = "outweigh.estimate/1"
Table = tuple[str, tuple[str, ...], list[tuple[str, ...]]]
"""Title, headings, rows."""

_KEYS = {"J": "j", "gCO2e": "g", "L": "litres", "s": "s"}


def _figures(row: Estimate) -> tuple[Figure, ...]:
    return row.device_s, row.it_energy, row.facility_energy, row.carbon, row.money, row.water


def document(row: Estimate, work: Work) -> dict[str, Any]:
    body: dict[str, Any] = {
        "schema": SCHEMA,
        "device": row.device,
        "operations": work.operations,
        "grade": row.grade.value,
        "method": row.method.value,
        "propagation": METHOD,
        "carbon_basis": "location",
        "carbon_scope": row.scope.value,
        "currency": row.currency or None,
    }
    names = ("device_time", "it_energy", "facility_energy", "carbon", "money", "water")
    for name, figure in zip(names, _figures(row), strict=True):
        key = f"{name}_{_KEYS.get(figure.unit, '')}".rstrip("_")
        if isinstance(figure.result, Missing):
            body |= {key: None, f"{name}_missing": figure.result.reason}
            continue
        body |= {
            key: figure.result.value,
            f"{key}_low": figure.result.bounds.low,
            f"{key}_high": figure.result.bounds.high,
            f"{name}_grade": figure.grade.value,
        }
    widest = row.it_energy.known.contributions
    body["contributions"] = [
        {"input": name, "it_energy_j_low": low, "it_energy_j_high": high} for name, (low, high) in widest.items()
    ]
    body["inputs"] = [
        {"name": one.name, "central": one.central, "low": one.low, "high": one.high, "unit": one.unit,
         "grade": one.grade.value, "source": one.source}
        for one in row.inputs
    ]  # fmt: skip
    body["notes"] = list(row.notes)
    return body


def table_of(row: Estimate, work: Work) -> Table:
    lines = [_shown(figure, row) for figure in _figures(row)]
    for one in row.inputs:
        ends = plus_minus(one.central, one.low, one.high) if one.low < one.high else significant(one.central)
        lines.append((f"  {one.name}", "", f"{ends} {one.unit if one.unit != '1' else ''}".strip(), "", one.grade.value,
                      one.source))  # fmt: skip
    done = "" if work.operations is None else f", {work.operations:.3g} operations"
    return f"{row.device}{done}", ("what", "low", "central", "high", "grade", "how known"), lines


def _shown(figure: Figure, row: Estimate) -> tuple[str, ...]:
    how = {"carbon": f"location-based, {row.scope}"}.get(figure.name, row.method.value)
    if isinstance(figure.result, Missing):
        return figure.name, "", "missing", "", "", figure.result.reason
    ends = (figure.result.bounds.low, figure.result.value, figure.result.bounds.high)
    low, central, high = (in_unit(end, figure.unit, ends[1]) for end in ends)
    return figure.name, low, central, high, figure.grade.value, how


def in_unit(value: float, unit: str, like: float) -> str:
    """A figure in the unit that people read it in, scaled as `like` is.

    >>> in_unit(3.6e9, "J", 3.6e9), in_unit(2.5e6, "gCO2e", 2.5e6), in_unit(7200.0, "s", 7200.0)
    ('1 MWh', '2.50 tCO2e', '2 device hours')
    """
    if unit == "J":
        factor, prefix = si_prefix(like / 3600)
        return f"{significant(value / 3600 / factor)} {prefix}Wh"
    if unit == "gCO2e":
        return f"{significant(value / 1e6)} tCO2e" if like >= 1e6 else f"{significant(value / 1e3)} kgCO2e"
    if unit == "s":
        return f"{significant(value / 3600)} device hour{'s' * (value != 3600)}"
    return f"{significant(value)} {unit}"


def compared(rows: Sequence[Estimate]) -> Table:
    lines: list[tuple[str, ...]] = [("not run (do nothing)", "0", "0", "0", "0", "")]
    for row in rows:
        cells = []
        for figure in (row.facility_energy, row.carbon, row.money, row.water):
            one = row.it_energy if figure is row.facility_energy and isinstance(figure.result, Missing) else figure
            if isinstance(one.result, Missing):
                cells.append("missing")
                continue
            ends = (one.result.value, one.result.bounds.low, one.result.bounds.high)
            central, low, high = (in_unit(end, one.unit, ends[0]) for end in ends)
            mark = " (no PUE)" if one is row.it_energy else ""
            cells.append(f"{central} ({low} to {high}){mark}")
        lines.append((row.device, *cells, row.grade.value))
    return "", ("device", "energy", "carbon", "money", "water", "grade"), lines


def reconciled_document(found: Reconciled, learned: Learned | None, kept: str) -> dict[str, Any]:
    body: dict[str, Any] = {
        "schema": "outweigh.reconciled/1",
        "estimated_j": found.estimated_j,
        "estimated_j_low": found.estimated_bounds.low,
        "estimated_j_high": found.estimated_bounds.high,
        "measured_j": found.measured_j,
        "measured_j_low": found.measured_bounds.low,
        "measured_j_high": found.measured_bounds.high,
        "ratio": found.ratio,
        "ratio_low": found.ratio_bounds.low,
        "ratio_high": found.ratio_bounds.high,
        "inside": found.inside,
        "runs": found.runs,
        "receipts": found.receipts,
        "grade": found.grade.value,
        "scope": found.scope,
        "kept": bool(learned),
        "note": kept,
    }
    if learned is not None:
        body |= {
            "learned_factor": learned.factor,
            "learned_low": None if learned.bounds is None else learned.bounds.low,
            "learned_high": None if learned.bounds is None else learned.bounds.high,
            "learned_grade": learned.grade.value,
            "learned_runs": learned.runs,
            "learned_receipts": learned.receipts,
        }
    return body


def reconciled_lines(found: Reconciled, learned: Learned | None, kept: str) -> list[str]:
    ratio = plus_minus(found.ratio, found.ratio_bounds.low, found.ratio_bounds.high)
    where = "within the estimate's interval" if found.inside else "outside the estimate's interval"
    measured, estimated = (in_unit(one, "J", one) for one in (found.measured_j, found.estimated_j))
    lines = [
        f"measured {measured} for {estimated} estimated, {ratio} times, {where}",
        f"from {found.receipts} receipts of {found.runs} runs, grade {found.grade}, scope {found.scope}",
    ]
    if learned is not None:
        span = "" if learned.bounds is None else f" ({learned.bounds.low:.3g} to {learned.bounds.high:.3g})"
        lines.append(f"next time: times {learned.factor:.3g}{span}, {learned.told}; {kept}")
    elif kept:
        lines.append(kept)
    return lines
