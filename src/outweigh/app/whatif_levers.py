"""`outweigh whatif levers`: declared and measured levers on one abatement curve, as a document, rows and a page."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from outweigh import __version__
from outweigh.app.levers_measured import Measured, costed, of_ledger, of_review
from outweigh.config.levers import load_levers
from outweigh.core.constants import J_PER_KWH
from outweigh.core.errors import UsageError
from outweigh.core.rounding import fixed, plus_minus, significant
from outweigh.core.units import parse_energy
from outweigh.whatif.levers_curve import Base, Curve, Lever, Ratio, Step, curve

SCHEMA = "outweigh.levers/1"
RULE = (
    "cheapest per tonne first, before savings are paid back; each lever takes its share of what the ones before it "
    "left, so the total is the joint effect"
)


@dataclass(frozen=True, slots=True)
class Asked:
    """What the command line was told."""

    levers: Path
    review: Path | None = None
    ledger: Path | None = None
    batch: str = ""
    incumbent: str = ""
    energy: str = ""


@dataclass(frozen=True, slots=True)
class Levered:
    """The curve as JSON, as a table, what is not counted, and its notes."""

    document: dict[str, Any]
    headings: tuple[str, ...]
    rows: list[tuple[str, ...]]
    passed_headings: tuple[str, ...]
    passed_rows: list[tuple[str, ...]]
    lines: list[str]
    notes: list[str]


def levers(asked: Asked) -> Levered:
    """All levers on one curve.

    Raises:
        ConfigError: the file says something we refuse.
        UsageError: options that do not go together, or no energy of a year is known.
    """
    declared = load_levers(asked.levers)
    measured = _measured(asked)
    if measured is None and declared.costs:
        variant = next(iter(declared.costs))
        raise UsageError(f"{variant!r} was measured somewhere", "Name the review.json with --review, or the --ledger")
    kwh = parse_energy(asked.energy).to_kwh() if asked.energy else declared.kwh
    if kwh is None and measured is not None:
        kwh = measured.kwh
    if kwh is None:
        raise UsageError("the energy of a year is not known", 'Write base.energy = "480 MWh", or give --energy')
    found = curve(
        declared.base(kwh),
        [*declared.projected, *([] if measured is None else costed(measured, declared.costs))],
    )
    notes = list(() if measured is None else measured.notes)
    if any(not step.lever.measured for step in found.steps):
        notes.append("projected levers are declared, grade D: nobody measured them here; try them")
    free = [step.lever.name for step in found.steps if step.lever.measured and not step.lever.cost]
    if free:
        notes.append(f"no cost was declared of {', '.join(free)}: docs/levers-curve.md shows how")
    if found.steps and found.summed_tonnes > found.base.tonnes:
        notes.append("added up one by one the levers would save more than there is: that is why they are multiplied")
    document = _document(found, declared.source, notes)
    return Levered(
        document=document,
        headings=headings(found.base.currency),
        rows=rows(document),
        passed_headings=("not counted", "saves alone", "basis", "why"),
        passed_rows=passed_rows(document),
        lines=list(_lines(found)),
        notes=notes,
    )


def headings(currency: str) -> tuple[str, ...]:
    return ("lever", "tCO2e/a", "MWh/a", f"cost {currency}/a", f"saves {currency}/a", f"{currency}/t before savings",
            "net of savings", "basis", "try")  # fmt: skip


def rows(document: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """Rows of the table, from the document: doing nothing first, all levers together last."""
    base, total = document["base"], document["total"]
    made: list[tuple[str, ...]] = [
        ("do nothing", f"emits {significant(base['carbon_g'] / 1e6, 4)}", f"draws {_mwh(base['energy_j'])}", "0", "0",
         "-", "-", "-", "-")
    ]  # fmt: skip
    made += [
        (
            one["name"],
            _tonnes(one["carbon_g"], one["carbon_low_g"], one["carbon_high_g"]),
            _mwh(one["energy_j"]),
            fixed(one["cost"], 0),
            fixed(one["saved"], 0),
            fixed(one["gross_per_tonne"], 0),
            fixed(one["net_per_tonne"], 0),
            _basis(one),
            one["command"] or "-",
        )
        for one in document["steps"]
    ]
    made.append(
        ("all of them", _tonnes(total["carbon_g"], total["carbon_low_g"], total["carbon_high_g"]),
         _mwh(total["energy_j"]), fixed(total["cost"], 0), fixed(total["saved"], 0), "-", "-", "-", "-")
    )  # fmt: skip
    return made


def passed_rows(document: Mapping[str, Any]) -> list[tuple[str, ...]]:
    return [(one["name"], _alone(one), _basis(one), one["why"]) for one in document["passed_over"]]


def _measured(asked: Asked) -> Measured | None:
    if asked.review is not None and asked.ledger is not None:
        raise UsageError("measured levers come from --review or from --ledger", "Give one of them")
    if asked.ledger is None and (asked.batch or asked.incumbent):
        raise UsageError("--batch and --incumbent belong to --ledger", "Name the ledger")
    if asked.review is not None:
        return of_review(asked.review)
    return None if asked.ledger is None else of_ledger(asked.ledger, asked.batch, asked.incumbent)


def _lines(found: Curve) -> list[str]:
    if not found.steps:
        return ["no lever is counted: the year goes on as it is"]
    together, apart = found.tonnes / found.base.tonnes, found.summed_tonnes / found.base.tonnes
    return [
        f"together {100 * together:.1f} % of the carbon and {100 * found.kwh / found.base.kwh:.1f} % of the energy; "
        f"added up one by one they would promise {100 * apart:.1f} % of the carbon",
        f"order: {RULE}",
    ]


def _basis(one: Mapping[str, Any]) -> str:
    return f"{'measured' if one['measured'] else 'projected'}, grade {one['grade']}"


def _alone(one: Mapping[str, Any]) -> str:
    saved, low, high = (100 * (1 - one[key]) for key in ("carbon_ratio", "carbon_ratio_high", "carbon_ratio_low"))
    return f"{plus_minus(saved, low, high) if low < high else significant(saved)} %"


def _tonnes(grams: float, low: float, high: float) -> str:
    if low == high:
        return significant(grams / 1e6)
    return plus_minus(grams / 1e6, low / 1e6, high / 1e6)


def _mwh(joules: float) -> str:
    return significant(joules / J_PER_KWH / 1e3, 3 if abs(joules) < 1e4 * J_PER_KWH else 4)


def _document(found: Curve, source: str, notes: list[str]) -> dict[str, Any]:
    base: Base = found.base
    return {
        "schema": SCHEMA,
        "outweigh_version": __version__,
        "created": datetime.now(UTC).isoformat(),
        "source": source,
        "currency": base.currency,
        "rule": RULE,
        "base": {
            "energy_j": base.kwh * J_PER_KWH,
            "carbon_g": base.tonnes * 1e6,
            "price_per_kwh": base.price,
            "intensity_g_per_kwh": base.g_per_kwh,
            "carbon_price_per_tonne": base.carbon_price,
            "cost": base.money,
        },
        "steps": [_step(step) for step in found.steps],
        "total": {
            "energy_j": found.kwh * J_PER_KWH,
            "carbon_g": found.tonnes * 1e6,
            "carbon_low_g": found.low_tonnes * 1e6,
            "carbon_high_g": found.high_tonnes * 1e6,
            "saved": found.money,
            "cost": found.cost,
            "summed_carbon_g": found.summed_tonnes * 1e6,
        },
        "passed_over": [{**_lever(lever), "why": why} for lever, why in found.passed_over],
        "notes": notes,
    }


def _step(step: Step) -> dict[str, Any]:
    return {
        **_lever(step.lever),
        "before_carbon_g": step.before * 1e6,
        "energy_j": step.kwh * J_PER_KWH,
        "carbon_g": step.tonnes * 1e6,
        "carbon_low_g": step.low_tonnes * 1e6,
        "carbon_high_g": step.high_tonnes * 1e6,
        "saved": step.saved,
        "gross_per_tonne": step.gross_per_tonne,
        "net_per_tonne": step.net_per_tonne,
    }


def _lever(lever: Lever) -> dict[str, Any]:
    return {
        "name": lever.name,
        "measured": lever.measured,
        "grade": lever.grade,
        "method": lever.method,
        "source": lever.source,
        **_ratio("energy", lever.energy),
        **_ratio("carbon", lever.carbon),
        "price_ratio": lever.price.value,
        "cost": lever.cost,
        "kind": None if lever.kind is None else str(lever.kind),
        "excludes": lever.excludes or None,
        "together": lever.together or None,
        "keeps_quality": lever.keeps_quality,
        "command": lever.command or None,
    }


def _ratio(what: str, ratio: Ratio) -> dict[str, float]:
    return {f"{what}_ratio": ratio.value, f"{what}_ratio_low": ratio.low, f"{what}_ratio_high": ratio.high}
