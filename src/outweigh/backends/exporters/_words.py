"""The sentences of a report, for both HTML and Markdown. Input is the report document, schema 1."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from outweigh.core.rounding import decimals_between, fixed, plus_minus, si_prefix, significant

Document = Mapping[str, Any]

# What each test of the gate asks, in words; the rule is in the docs of the gate.
QUESTIONS = {
    "proportion": "Does the gain outweigh the growth in energy?",
    "caps": "Does every budget line hold?",
    "guards": "Is no guarded metric worse than its margin?",
    "necessity": "Is no cheaper variant just as good?",
    "anchor": "Does it hold against the last release too?",
    "gain": "Is the gain itself real?",
    "value": "Is the benefit worth its full cost in money?",
}


def title(doc: Document) -> str:
    verdict = doc["verdict"]
    return f"{verdict['proposal']} in place of {verdict['incumbent']}"


def badge(doc: Document) -> str:
    """The provisional badge, or "" where the evidence carries the verdict."""
    evidence = doc["evidence"]
    if not evidence["provisional"]:
        return ""
    return f"PROVISIONAL · energy is {evidence['method']}, grade {evidence['grade']}"


def decided(doc: Document) -> str:
    """What decided it, in the words of the test that did."""
    verdict = doc["verdict"]
    for part in verdict["parts"]:
        if verdict["decided_by"] in (part["part"], f"{part['part']}: {part['subject']}"):
            subject = f" ({part['subject']})" if part["subject"] else ""
            return f"Decided by {part['part']}{subject}: {sentence(doc, part['explanation'], start=False)}"
    return f"Decided by {verdict['decided_by']}."


def waived(doc: Document) -> list[str]:
    """Who lets it go ahead, until when and why, and whose word has run out; what speaks of others is in the table."""
    said = {"applied": "Waived", "expired": "A waiver of this proposal"}
    found = doc.get("weighing", {}).get("waivers", ())
    return [sentence(doc, f"{said[one['state']]} {one['statement']}") for one in found if one["state"] in said]


def sentence(doc: Document, text: str, *, start: bool = True) -> str:
    """Text from another room as a sentence: closed, and opened with a capital unless it opens with a name."""
    text = text.strip()
    if not text:
        return ""
    first = text.split()[0].rstrip(":,;")
    if start and first.isalpha() and first not in {v["name"] for v in doc["variants"]}:
        text = text[0].upper() + text[1:]
    return text if text[-1] in ".!?" else f"{text}."


def percent(share: float) -> str:
    """A confidence as people write it; 2 x 0.95 - 1 is 90 % in spite of its last bit.

    >>> percent(2 * 0.95 - 1), percent(0.975)
    ('90 %', '97.5 %')
    """
    return f"{100 * share:.4g} %"


def next_steps(doc: Document) -> list[str]:
    """What to do next: the gate's advice, and what would settle it where the advice does not say so already."""
    verdict = doc["verdict"]
    steps = [sentence(doc, verdict["advice"])] if verdict["advice"] else []
    wanted = [
        f"{significant(verdict[key])} more {word}"
        for key, word in (("items_needed", "evaluation items"), ("rounds_needed", "interleaved rounds"))
        if verdict[key] is not None and not _mentions(verdict["advice"], verdict[key])
    ]
    if wanted:
        steps.append(f"{' or '.join(wanted)} would settle it, if the estimates stay as they are.")
    return steps


def _mentions(text: str, count: int) -> bool:
    return str(count) in re.findall(r"\d+", text.replace(",", ""))


def cheapest(doc: Document) -> str:
    name = doc["verdict"]["cheapest_pass"]
    if not name:
        return "No measured variant meets the rule."
    return f"{name}{_standing(doc, name)}"


def _standing(doc: Document, name: str) -> str:
    found = {variant["name"]: variant for variant in doc["variants"]}
    one, base = found.get(name), found.get(doc["verdict"]["incumbent"])
    if one is None:
        return ""
    words = f": {quality(one)} {one['quality']['metric']} at {energy(one, prefix(doc))} per {doc['project']['unit']}"
    if base is None or base is one or base["energy_j_per_unit"]["value"] <= 0:
        return words + "."
    change = one["energy_j_per_unit"]["value"] / base["energy_j_per_unit"]["value"] - 1
    direction = "more" if change > 0 else "less"
    return f"{words}, {significant(abs(100 * change), 2)} % {direction} energy than {base['name']}."


def is_percent(doc: Document) -> bool:
    """Whether quality reads as a percentage: every score lies between 0 and 1."""
    values = [v["quality"][key] for v in doc["variants"] for key in ("value", "low", "high")]
    return all(value is None or 0 <= value <= 1 for value in values)


def quality(variant: Mapping[str, Any]) -> str:
    found = variant["quality"]
    if found["value"] is None:
        return f"not known ({found['method']})"
    if not 0 <= found["value"] <= 1:
        return plus_minus(found["value"], found["low"], found["high"])
    low, high = (None if end is None else 100 * end for end in (found["low"], found["high"]))
    return f"{plus_minus(100 * found['value'], low, high)} %"


def prefix(doc: Document) -> tuple[float, str]:
    """One SI prefix for the energy per unit of all variants, so that they read against each other."""
    return si_prefix(max((v["energy_j_per_unit"]["value"] for v in doc["variants"]), default=1.0))


def energy(variant: Mapping[str, Any], scale: tuple[float, str]) -> str:
    """Energy per unit with the widest interval that is known, in the prefix given."""
    found = variant["energy_j_per_unit"]
    low, high = found["absolute_low"], found["absolute_high"]
    if low is None or high is None:
        low, high = found["low"], found["high"]
    return joules(found["value"], low, high, scale=scale)


def joules(
    value: float, low: float | None = None, high: float | None = None, *, scale: tuple[float, str] | None = None
) -> str:
    """
    >>> joules(0.11302, 0.11078, 0.11526), joules(8213.0)
    ('0.1130 ± 0.0022 J', '8.21 kJ')
    """
    factor, letter = scale or si_prefix(value)
    ends = (None if end is None else end / factor for end in (low, high))
    return f"{plus_minus(value / factor, *ends)} {letter}J"


def kwh(value: float, low: float | None = None, high: float | None = None) -> str:
    """
    >>> kwh(0.0942), kwh(35000.0), kwh(94.2, 90.0, 98.4)
    ('94.2 Wh', '35 MWh', '94.2 ± 4.2 kWh')
    """
    factor, letter = si_prefix(value * 1e3)
    ends = (None if end is None else end * 1e3 / factor for end in (low, high))
    return f"{plus_minus(value * 1e3 / factor, *ends)} {letter}Wh"


def carbon(kg: float) -> str:
    """
    >>> carbon(0.0213), carbon(21.3), carbon(2130.0)
    ('21.3 g', '21.3 kg', '2.13 t')
    """
    if abs(kg) >= 1000:
        return f"{significant(kg / 1000)} t"
    return f"{significant(kg)} kg" if abs(kg) >= 1 or kg == 0 else f"{significant(kg * 1000)} g"


def size(count: int | None) -> str:
    """
    >>> size(17_400_000), size(None)
    ('17.4 MB', 'not known')
    """
    if count is None:
        return "not known"
    factor, letter = si_prefix(float(count))
    return f"{significant(count / factor)} {letter}B"


def signed(value: float, low: float | None, high: float | None) -> str:
    """
    >>> signed(0.5, -0.6, 1.6)
    '+0.5 (−0.6 to +1.6)'
    """
    places = decimals_between(low, high, value=value)

    def shown(number: float | None) -> str:
        return "unbounded" if number is None else ("+" if number > 0 else "") + fixed(number, places)

    return f"{shown(value)} ({shown(low)} to {shown(high)})"


def plan_sentences(doc: Document) -> list[str]:
    """The plan against doing nothing clever, its certificate, and what its carbon figures mean."""
    plan = doc["plan"]
    money = plan["currency"]
    saved, avoided = plan["baseline_cost"] - plan["cost"], plan["baseline_carbon_kg"] - plan["carbon_kg"]
    certificate = plan["certificate"]
    serves = f" of {plan['variant']}" if plan["variant"] else ""
    months = doc["project"]["volume_per_month"]
    return [
        f"Serving {significant(months)} {doc['project']['unit']}s a month{serves} takes "
        f"{kwh(plan['energy_kwh'], plan['energy_low_kwh'], plan['energy_high_kwh'])} of facility energy, "
        f"{significant(plan['cost'])} {money} and {carbon(plan['carbon_kg'])} CO2e "
        f"({plan['carbon_basis']}-based, {plan['carbon_scope']}; evidence grade {plan['grade']}).",
        f"All of it at {plan['home']} would cost {significant(plan['baseline_cost'])} {money} and "
        f"{carbon(plan['baseline_carbon_kg'])}: the plan {_saves(saved, money)} and "
        f"{'avoids' if avoided >= 0 else 'adds'} {carbon(abs(avoided))}.",
        f"Objective: money plus carbon at {significant(plan['carbon_price_per_tonne'])} "
        f"{certificate['currency']} a tonne. Certificate: no feasible plan costs less than "
        f"{significant(certificate['lower_bound'], 4)} {certificate['currency']}; this one costs "
        f"{significant(certificate['objective'], 4)}, a gap of {significant(100 * certificate['gap'], 2)} % "
        f"({certificate['method']}).",
    ]


def _saves(amount: float, currency: str) -> str:
    return (
        f"{'saves' if amount >= 0 else 'costs'} {significant(abs(amount))} {currency}{'' if amount >= 0 else ' more'}"
    )


def measured(doc: Document) -> list[tuple[str, str]]:
    """How it was measured, as (term, description) pairs."""
    meter, project = doc["meter"], doc["project"]
    relative = meter["relative_standard_uncertainty"]
    known = "not known" if relative is None else _coverage(relative)
    return [
        ("Meter", f"{meter['name']}: {meter['sees']} (scope {meter['scope']})"),
        ("Grade", f"{meter['grade']}, {meter['method']}; source: {meter['source']}"),
        (
            "Its own uncertainty",
            f"{known} on any energy; what two variants share of it cancels in their ratio",
        ),
        ("Hum", hum(doc)),
        (
            "Protocol",
            f"{project['rounds']} rounds in random order, variants interleaved, seed {project['seed']}; "
            f"{significant(project['n_items'])} evaluation items; "
            f"intervals at {percent(project['confidence'])}",
        ),
        ("Task", f"{project['task']}; the functional unit is one {project['unit']}"),
        (
            "Volume",
            f"{significant(project['volume_per_month'])} a month, at least "
            f"{significant(project['volume_low_per_month'])}; horizon {significant(project['horizon_months'])} months",
        ),
        ("Data set", f"SHA-256 {project['dataset_hash']}"),
    ]


def _coverage(relative: float) -> str:
    """An expanded uncertainty (k = 2): ± while that is small, a factor where ± would reach towards zero.

    >>> _coverage(0.02), _coverage(0.5)
    ('± 4 % (k = 2)', 'within a factor of 2.6 (k = 2)')
    """
    if relative <= 0.125:
        return f"± {significant(200 * relative, 2)} % (k = 2)"
    return f"within a factor of {significant(math.exp(2 * math.sqrt(math.log1p(relative * relative))), 2)} (k = 2)"


def hum(doc: Document) -> str:
    found = doc["hum"]
    owner = f"; owner {found['owner']}" if found["owner"] else ""
    if found["power_w"] is None:
        return f"not known: {found['reason']}{owner}"
    value = plus_minus(found["power_w"], found["low_w"], found["high_w"])
    over = "" if found["seconds"] is None else f" over {significant(found['seconds'])} s"
    return (
        f"{value} W{over}, grade {found['grade']}, {found['method']}{owner}; "
        "kept in every figure, never subtracted away"
    )


def cost_details(doc: Document) -> list[str]:
    cost = doc["cost_of_review"]
    parts = [cost["statement"]]
    spent = [
        f"{joules(cost[key])} {what}"
        for key, what in (("levers_j", "to make cheaper variants"), ("training_j", "to fit what the task fits"))
        if cost[key] is not None
    ]
    if spent:
        parts.append(f"Of that, {' and '.join(spent)}.")
    if cost["meter_cpu_s"] is not None:
        parts.append(f"Looking itself took {significant(cost['meter_cpu_s'], 2)} CPU s.")
    return parts


def key_figures(doc: Document) -> list[tuple[str, str]]:
    """Proposal against incumbent in two figures, where the pair was compared."""
    verdict = doc["verdict"]
    for one in doc["comparisons"]:
        if (one["candidate"], one["against"]) != (verdict["proposal"], verdict["incumbent"]):
            continue
        ratio, difference = one["energy_ratio"], one["quality_difference"]
        scale, unit = (100.0, " points") if is_percent(doc) else (1.0, "")
        ends = (None if difference[end] is None else scale * difference[end] for end in ("low", "high"))
        metric = doc["variants"][0]["quality"]["metric"]
        return [
            (
                f"Energy per {doc['project']['unit']}, against {one['against']}",
                f"× {plus_minus(ratio['value'], ratio['low'], ratio['high'])}",
            ),
            (f"Change in {metric}", f"{signed(scale * difference['value'], *ends)}{unit}"),
            ("Confidence", percent(verdict["confidence"])),
        ]
    return []


def rule(doc: Document) -> str:
    eta = doc["verdict"]["eta"]
    return (
        f"With g the log of the cut in error and x the log of the growth in energy, T = g − {eta:g} x "
        "must be above zero; the other tests must hold beside it."
    )


def blocking(doc: Document) -> str:
    verdict = doc["verdict"]
    if verdict["may_block"]:
        return (
            f"Evidence of grade {verdict['grade']} may block a merge here (grade {verdict['min_grade']} is asked for)."
        )
    # Grades are letters, A the best: "B" <= "C".
    if verdict["grade"] <= verdict["min_grade"]:
        return "This verdict does not block a merge: the gate is set to warn."
    return (
        f"This verdict does not block a merge: evidence is of grade {verdict['grade']}, "
        f"and an enforcing gate asks for {verdict['min_grade']}."
    )
