"""A verdict in a few lines for a terminal, read from the review document alone."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Mapping
from typing import Any, cast

from outweigh.app.review import Reviewed
from outweigh.core.rounding import plus_minus, si_prefix, significant
from outweigh.core.verdict import Outcome

_WIDTH = max(40, min(100, shutil.get_terminal_size((100, 24)).columns))


def _item(name: str, text: str) -> list[str]:
    return textwrap.wrap(text, _WIDTH, initial_indent=f"  {name:<12}", subsequent_indent=" " * 14)


def exit_code_of(document: Mapping[str, object], *, only_blocking: bool = False) -> int:
    """The verdict's; 0 where it was waived when the review was made.

    Args:
        only_blocking: 0 as well for a verdict that may not block a merge: the gate is set to warn, or the evidence is
            below its grade.
    """
    verdict = _dict(document["verdict"])
    if _dict(document.get("weighing", {})).get("waived") or (only_blocking and not verdict["may_block"]):
        return 0
    return Outcome(verdict["outcome"]).exit_code


def review_lines(done: Reviewed) -> list[str]:
    """The verdict, what decided it, the variants, the cost of finding out, and where everything lies."""
    document = done.document
    return [
        *gate_lines(document),
        "",
        *_variant_lines(document),
        "",
        *textwrap.wrap(str(_dict(document["cost_of_review"])["statement"]), _WIDTH),
        "  ".join(str(path) for path in done.paths),
        f"{len(cast('list[str]', document['receipts']))} receipts in {done.ledger}",
    ]


def gate_lines(document: Mapping[str, object], *, explain: bool = False) -> list[str]:
    """The verdict, provisional or not, the deciding test and the next step; every test with `explain`."""
    verdict, evidence = _dict(document["verdict"]), _dict(document["evidence"])
    parts = cast("list[dict[str, Any]]", verdict["parts"])
    deciding = next((p for p in parts if verdict["decided_by"] in (p["part"], f"{p['part']}: {p['subject']}")), None)
    weighing = _dict(document.get("weighing", {}))
    lines = [
        f"{str(verdict['outcome']).upper()}{'  (provisional)' if verdict['provisional'] else ''}"
        f"{'  WAIVED' if weighing.get('waived') else ''}  {verdict['proposal']} against {verdict['incumbent']}",
        *_item("decided by", str(verdict["decided_by"])),
    ]
    if deciding is not None:
        lines += _item("", str(deciding["explanation"]))
    lines += [*_item("how", str(evidence["statement"])), *_item("next", str(verdict["advice"]))]
    for waiver in weighing.get("waivers", []):
        if waiver["state"] != "other" or explain:
            lines += _item("waiver", str(waiver["statement"]))
    if explain:
        lines.append("")
        for part in parts:
            name = f"{part['part']}: {part['subject']}" if part["subject"] else part["part"]
            state = part["outcome"] if part["binding"] else "not asked"
            lines.append(f"  {state:<13} {name}")
            lines += textwrap.wrap(
                str(part["explanation"]), _WIDTH, initial_indent=" " * 16, subsequent_indent=" " * 16
            )
        if weighing.get("ranking"):
            lines += [
                "",
                "by value, a month: what is gained for sure, over what it may cost",
                *_ranking_lines(weighing),
            ]
        if weighing:
            lines += ["", *_hanging_lines(weighing["sensitivity"])]
            if weighing["waiver_to_paste"]:
                lines += ["", "to waive it, fill in and add to energy.toml:", "", str(weighing["waiver_to_paste"])]
    return lines


def _ranking_lines(weighing: Mapping[str, Any]) -> list[str]:
    lines = []
    for one in weighing["ranking"]:
        ratio = "nothing to lose" if one["ratio"] is None else f"{one['ratio']:.3g}"
        lines.append(
            f"  {one['variant']:<12} {ratio:>15}  benefit at least {significant(one['benefit_low_per_month'])}, "
            f"cost at most {significant(one['cost_high_per_month'])} {one['currency']}"
        )
    return lines


def _hanging_lines(sensitivity: Mapping[str, Any]) -> list[str]:
    """The verdict with one declared number changed at a time, those that turn it marked."""
    lines = ["what it hangs on, one number moved at a time:"]
    settings = sensitivity["settings"]
    values = [significant(one["value"]) if one["what"] == "low volume" else f"{one['value']:.4g}" for one in settings]
    width = max(map(len, values), default=0)
    for one, value in zip(settings, values, strict=True):
        mark = "declared" if one["declared"] else "turns" if one["turns"] else ""
        line = f"  {one['what']:<11} {value:>{width}}  {one['outcome']:<13} {mark:<9} {one['decided_by']}"
        lines.append(line.rstrip())
    lines += [*_item("", str(sensitivity["statement"])), *_item("power", str(sensitivity["power_statement"]))]
    return lines


def _variant_lines(document: Mapping[str, object]) -> list[str]:
    lines = []
    incumbent = _dict(document["verdict"])["incumbent"]
    ratios = {c["candidate"]: c["energy_ratio"] for c in cast("list[dict[str, Any]]", document["comparisons"])}
    unit = _dict(document["project"])["unit"]
    for one in cast("list[dict[str, Any]]", document["variants"]):
        quality, energy = one["quality"], one["energy_j_per_unit"]
        score = plus_minus(100 * quality["value"], _times(100, quality["low"]), _times(100, quality["high"]))
        low, high = energy["absolute_low"], energy["absolute_high"]
        factor, prefix = si_prefix(energy["value"])
        joules = plus_minus(energy["value"] / factor, _times(1 / factor, low), _times(1 / factor, high))
        ratio = ratios.get(one["name"])
        against = f"   x {plus_minus(ratio['value'], ratio['low'], ratio['high'])} of {incumbent}" if ratio else ""
        beaten = f"   dominated by {one['dominated_by']}" if one["dominated_by"] else ""
        lines.append(
            f"  {one['name']:<12} {one['role']:<12} {quality['metric']} {score} %   {joules} {prefix}J/{unit}   "
            f"p95 {significant(one['latency_ms']['p95'])} ms"
        )
        if against or beaten:
            lines.append(f"{'':<28}{against.strip()}{beaten}")
    return lines


def _times(factor: float, value: float | None) -> float | None:
    return None if value is None else factor * value


def _dict(value: object) -> dict[str, Any]:
    return cast("dict[str, Any]", value)
