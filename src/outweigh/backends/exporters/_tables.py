"""The tables of a report, formatted for people. HTML and Markdown print the same cells."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from outweigh.backends.exporters import _words as words
from outweigh.core.rounding import decimals_between, decimals_for, fixed, plus_minus, si_prefix, significant

Document = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell: the figure, and in smaller print what it needs beside it.

    `mark` picks the drawing or colour HTML adds ("role", "split", "weigh", "outcome"); `of` is what it draws.
    """

    text: str
    sub: str = ""
    mark: str = ""
    of: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Column:
    label: str
    numeric: bool = False
    html_only: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    caption: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]


def variants(doc: Document) -> Table:
    unit = doc["project"]["unit"]
    metric = doc["variants"][0]["quality"]["metric"] if doc["variants"] else "quality"
    return Table(
        f"Variants, at {words.percent(doc['project']['confidence'])} confidence. Energy per {unit} is facility "
        "energy; its interval holds the meter's own uncertainty, the one below it only the scatter of rounds.",
        (
            Column("Variant"),
            Column(metric.capitalize(), numeric=True),
            Column(f"Energy per {unit}", numeric=True),
            Column("Work, hum, amortised", numeric=True),
            Column("p95 latency", numeric=True),
            Column("On disk", numeric=True),
            Column("Grade"),
            Column("Dominated by"),
        ),
        tuple(_variant_row(v, words.prefix(doc)) for v in doc["variants"]),
    )


def _variant_row(variant: Mapping[str, Any], scale: tuple[float, str]) -> tuple[Cell, ...]:
    made = [variant["role"]]
    if variant["levers"]:
        origin = f" of {variant['parent']}" if variant["parent"] else ""
        made.append(", ".join(variant["levers"]) + origin)
    found, latency = variant["energy_j_per_unit"], variant["latency_ms"]
    factor, letter = scale
    places = max(decimals_for(found["value"] / factor, 3) or 0, 0)
    parts_j = (variant[f"{part}_j_per_unit"] for part in ("work", "hum", "amortised"))
    split = " + ".join(_at_least_a_trace(part_j / factor, places) for part_j in parts_j)
    if found["low"] is None or found["high"] is None:
        scatter = found["method"]
    else:
        half = (found["high"] - found["low"]) / 2 / factor
        scatter = f"rounds ± {fixed(half, decimals_for(half) or 0)} {letter}J"
    return (
        Cell(variant["name"], " · ".join(made), mark="role", of=variant),
        Cell(words.quality(variant), f"{significant(variant['quality']['n'])} items"),
        Cell(words.energy(variant, scale), scatter),
        Cell(f"{split} {letter}J", mark="split", of=variant),
        Cell(
            f"{significant(latency['p95'])} ms",
            _ends(latency["p95_low"], latency["p95_high"]),
        ),
        Cell(words.size(variant["model_bytes"])),
        Cell(variant["grade"], variant["method"]),
        Cell(
            variant["dominated_by"] or ("none: on the frontier" if variant["on_frontier"] else "none"),
            variant["dominated_reason"],
        ),
    )


def _at_least_a_trace(value: float, places: int) -> str:
    """A part too small to show is not shown as nothing."""
    step = 10.0**-places
    return f"<{fixed(step, places)}" if 0 < value < step / 2 else fixed(value, places)


def _ends(low: float | None, high: float | None) -> str:
    if low is None and high is None:
        return "too few items for an interval"
    low_text, high_text = ("unbounded" if end is None else significant(end) for end in (low, high))
    return f"{low_text} to {high_text}"


def comparisons(doc: Document) -> Table:
    percent = words.is_percent(doc)
    scale, points = (100.0, " points") if percent else (1.0, "")
    rows = []
    for one in doc["comparisons"]:
        ratio, difference = one["energy_ratio"], one["quality_difference"]
        ends = [None if difference[end] is None else scale * difference[end] for end in ("low", "high")]
        verdict = {True: "yes", False: "no", None: "cannot tell"}[one["equivalent"]]
        rows.append(
            (
                Cell(f"{one['candidate']} against {one['against']}"),
                Cell(
                    f"× {plus_minus(ratio['value'], ratio['low'], ratio['high'])}",
                    f"{words.percent(ratio['confidence'])} interval",
                ),
                Cell(
                    f"{words.signed(scale * difference['value'], *ends)}{points}",
                    f"{words.percent(difference['confidence'])}, {difference['method']}",
                ),
                Cell(verdict),
                Cell(words.sentence(doc, one["statement"])),
            )
        )
    return Table(
        "Pairs, measured in the same rounds on the same items.",
        (
            Column("Pair"),
            Column("Energy ratio", numeric=True),
            Column("Quality difference", numeric=True),
            Column("Equivalent"),
            Column("In words"),
        ),
        tuple(rows),
    )


def parts(doc: Document) -> Table:
    return Table(
        "Every test of the gate. A pass needs all that apply to hold.",
        (
            Column("Test"),
            Column("", html_only=True),
            Column("Statistic", numeric=True),
            Column("Threshold", numeric=True),
            Column("Distance", numeric=True),
            Column("Outcome"),
            Column("What it says"),
        ),
        tuple(_part_row(doc, part) for part in doc["verdict"]["parts"]),
    )


def _part_row(doc: Document, part: Mapping[str, Any]) -> tuple[Cell, ...]:
    bounds = part["bounds"] or {"low": None, "high": None}
    figures = {key: part[key] for key in ("statistic", "threshold", "distance")} | {
        key: bounds[key] for key in ("low", "high")
    }
    unit = "" if part["unit"] == "1" else f" {part['unit']}"
    if part["unit"] in ("J", "W"):
        factor, letter = si_prefix(max((abs(f) for f in figures.values() if f is not None), default=1.0))
        figures = {key: None if figure is None else figure / factor for key, figure in figures.items()}
        unit = f" {letter}{part['unit']}"
    places = max(decimals_between(figures["low"], figures["high"], value=figures["statistic"]), 0)

    def shown(key: str) -> str:
        figure = figures[key]
        if figure is None:
            return "—"
        return ("+" if key == "distance" and figure > 0 else "") + fixed(figure, places) + unit

    interval = ""
    if part["bounds"] is not None:
        ends = (figures["low"], figures["high"])
        low, high = ("unbounded" if end is None else fixed(end, places) for end in ends)
        interval = f"{low} to {high} ({words.percent(bounds['confidence'])})"
    return (
        Cell(
            f"{part['part']}: {part['subject']}" if part["subject"] else part["part"],
            words.QUESTIONS.get(part["part"], ""),
        ),
        Cell("", mark="weigh", of=part),
        Cell(shown("statistic"), interval),
        Cell(shown("threshold")),
        Cell(shown("distance")),
        Cell(part["outcome"], "" if part["binding"] else "does not bind here", mark="outcome"),
        Cell(words.sentence(doc, part["explanation"])),
    )


def sites(doc: Document) -> Table:
    """One row a site: slices of time are added up, what varies between them is left to the JSON."""
    plan = doc["plan"]
    by_site: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for one in plan["assignments"]:
        by_site.setdefault((one["job"], one["site"]), []).append(one)
    rows = [_site_row(slices) for slices in by_site.values()]
    rows.append(
        (
            Cell("Plan, in all"),
            Cell("100 %" if rows else "0 %"),
            Cell(words.kwh(plan["energy_kwh"])),
            Cell(f"{significant(plan['cost'])} {plan['currency']}"),
            Cell(words.carbon(plan["carbon_kg"])),
            *[Cell("")] * 3,
        )
    )
    rows.append(
        (
            Cell(f"All at {plan['home']}, at once", "the baseline"),
            Cell("100 %"),
            Cell("—"),
            Cell(f"{significant(plan['baseline_cost'])} {plan['currency']}"),
            Cell(words.carbon(plan["baseline_carbon_kg"])),
            *[Cell("")] * 3,
        )
    )
    return Table(
        f"Carbon is {plan['carbon_basis']}-based, {plan['carbon_scope']}.",
        (
            Column("Site"),
            Column("Share", numeric=True),
            Column("Energy", numeric=True),
            Column("Cost", numeric=True),
            Column("Carbon (CO2e)", numeric=True),
            Column("PUE", numeric=True),
            Column("Intensity", numeric=True),
            Column("Price", numeric=True),
        ),
        tuple(rows),
    )


def _site_row(slices: list[Mapping[str, Any]]) -> tuple[Cell, ...]:
    first = slices[0]
    start, end = min(one["start"] for one in slices)[:10], max(one["end"] for one in slices)[:10]
    zone = f"zone {first['zone']}, " if first["zone"] else ""

    def common(key: str, unit: str) -> str:
        values = {one[key] for one in slices}
        value = next(iter(values))
        if len(values) > 1:
            return "varies"
        return "not known" if value is None else significant(value) + unit

    total = {key: sum(one[key] for one in slices) for key in ("share", "energy_kwh", "cost", "carbon_kg")}
    return (
        Cell(first["site"], f"{zone}{first['job']}, {start} to {end}"),
        Cell(f"{significant(100 * total['share'])} %"),
        Cell(words.kwh(total["energy_kwh"])),
        Cell(f"{significant(total['cost'])} {first['currency']}"),
        Cell(words.carbon(total["carbon_kg"])),
        Cell(common("pue", "")),
        Cell(common("intensity_g_per_kwh", " g/kWh")),
        Cell(common("price_per_kwh", f" {first['currency']}/kWh")),
    )


def factors(doc: Document) -> Table:
    return Table(
        "Every factor that shaped a figure.",
        (
            Column("Factor"),
            Column("Value", numeric=True),
            Column("Source"),
            Column("Issued"),
            Column("Retrieved"),
            Column("Licence"),
            Column("Grade"),
        ),
        tuple(
            (
                Cell(one["name"], one["used_for"]),
                Cell(significant(one["value"]) + ("" if one["unit"] in ("", "1") else f" {one['unit']}")),
                Cell(one["source"]),
                Cell(one["issued"] or "not stated"),
                Cell(one["retrieved"] or "not stated"),
                Cell(one["licence"] or "not stated"),
                Cell(one["grade"]),
            )
            for one in doc["factors"]
        ),
    )


def rounds(doc: Document) -> Table:
    """Work and hum by variant: the power trace for those who do not see it."""
    by_variant: dict[str, list[Mapping[str, Any]]] = {}
    for one in doc["rounds"]:
        by_variant.setdefault(one["variant"], []).append(one)
    unit = doc["project"]["unit"]
    return Table(
        "The measured rounds behind the trace: IT energy in the meter's scope, work and hum apart.",
        (
            Column("Variant"),
            Column("Rounds", numeric=True),
            Column(f"{unit}s".capitalize(), numeric=True),
            Column("Time", numeric=True),
            Column("Work", numeric=True),
            Column("Hum", numeric=True),
            Column("Mean work power", numeric=True),
            Column("Mean hum power", numeric=True),
        ),
        tuple(_rounds_row(name, found) for name, found in by_variant.items()),
    )


def _rounds_row(name: str, found: list[Mapping[str, Any]]) -> tuple[Cell, ...]:
    seconds = sum(one["service_s"] for one in found)

    def total(key: str) -> tuple[Cell, Cell]:
        if any(one[key] is None for one in found):
            return Cell("not known"), Cell("not known")
        energy_j = sum(one[key] for one in found)
        return Cell(words.joules(energy_j)), Cell(f"{significant(energy_j / seconds)} W")

    work, work_power = total("work_j")
    idle, idle_power = total("hum_j")
    return (
        Cell(name),
        Cell(str(len(found))),
        Cell(significant(sum(one["units"] for one in found))),
        Cell(f"{significant(seconds)} s"),
        work,
        idle,
        work_power,
        idle_power,
    )


def passed_over(doc: Document) -> Table:
    return Table(
        "Better meters, and why they were not used.",
        (Column("Meter"), Column("Why not"), Column("What would help")),
        tuple(
            (Cell(one["name"]), Cell(one["reason"]), Cell(one["remedy"] or "—")) for one in doc["meter"]["passed_over"]
        ),
    )


_WAIVER_STATES = {"applied": "counts", "expired": "ran out", "other": "not of what was weighed"}


def waivers(doc: Document) -> Table:
    return Table(
        "Every waiver that is declared. A waiver changes what a verdict ends with, never what it says.",
        (
            Column("Waiver"),
            Column("Of"),
            Column("Owner"),
            Column("Reason"),
            Column("Until"),
            Column("Parts"),
            Column("Of verdict"),
        ),
        tuple(
            (
                Cell(_WAIVER_STATES.get(one["state"], one["state"])),
                Cell(one["proposal"], f"content `{one['content'][:12]}`"),
                Cell(one["owner"]),
                Cell(one["reason"]),
                Cell(one["expires"][:10]),
                Cell(", ".join(one["parts"]) or "all"),
                Cell(f"`{one['verdict']}`"),
            )
            for one in doc["weighing"]["waivers"]
        ),
    )


def settings(doc: Document) -> Table:
    """What the verdict would be with one declared number changed."""
    return Table(
        "The verdict with one declared number moved at a time, all else held.",
        (Column("Number"), Column("Value", numeric=True), Column("Verdict"), Column("Decided by"), Column("")),
        tuple(
            (
                Cell(one["what"]),
                Cell(significant(one["value"]) if one["what"] == "low volume" else f"{one['value']:.4g}"),
                Cell(one["outcome"], mark="outcome"),
                Cell(one["decided_by"]),
                Cell("declared" if one["declared"] else "turns" if one["turns"] else ""),
            )
            for one in doc["weighing"]["sensitivity"]["settings"]
        ),
    )


def ranking(doc: Document) -> Table:
    """Variants by value, where money is declared."""
    return Table(
        "Variants by value: what a month gains for sure over what it may cost, each in place of the incumbent.",
        (
            Column("Variant"), Column("Ratio", numeric=True), Column("Benefit at least", numeric=True),
            Column("Cost at most", numeric=True),
        ),
        tuple(
            (
                Cell(one["variant"]),
                Cell("nothing to lose" if one["ratio"] is None else f"{one['ratio']:.3g}"),
                Cell(f"{significant(one['benefit_low_per_month'])} {one['currency']}"),
                Cell(f"{significant(one['cost_high_per_month'])} {one['currency']}"),
            )
            for one in doc["weighing"]["ranking"]
        ),
    )  # fmt: skip
