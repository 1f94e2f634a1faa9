"""Builds the report document: plain JSON types, everything the three exporters show, nothing they must compute."""

from __future__ import annotations

import math
from datetime import timedelta

import numpy as np

from outweigh.core.intervals import Bounds, Estimate
from outweigh.core.measurement import Method, Missing, utc
from outweigh.core.plan import Plan
from outweigh.core.rounding import plus_minus, si_prefix, significant
from outweigh.core.verdict import PartResult
from outweigh.report.facts import MeterFacts, ReviewFacts, Role, VariantFacts
from outweigh.report.figures import energy_interval, finite, latency_figures, score_interval
from outweigh.report.shape import (
    AssignmentShape,
    BoundsShape,
    ComparisonShape,
    CostShape,
    EvidenceShape,
    HumShape,
    MeterShape,
    PartShape,
    PlanShape,
    RangeShape,
    ReviewDocument,
    RoundShape,
    TraceShape,
    VariantShape,
    VerdictShape,
)

SCHEMA = 1
KIND = "outweigh.review"

_HOW = {
    Method.COUNTER: "read from a counter",
    Method.INTEGRATED: "integrated from sampled power",
    Method.MODELLED: "modelled",
    Method.REPLAYED: "replayed from a recorded trace",
    Method.DECLARED: "declared by a person",
}


def review_document(facts: ReviewFacts) -> dict[str, object]:
    """The whole review as one JSON document; its shape is `outweigh.report.shape.ReviewDocument`.

    Intervals are made here, at the gate's confidence: Wilson or t for scores, t on rounds for energy, with the
    meter's own uncertainty beside it. Non-finite numbers become null; nothing is rounded.
    """
    variants = [_variant(one, facts) for one in facts.variants]
    document: ReviewDocument = {
        "schema": SCHEMA,
        "kind": KIND,
        "review_id": facts.review_id,
        "created": utc(facts.created),
        "outweigh_version": facts.outweigh_version,
        "project": {
            "name": facts.project.name,
            "unit": facts.project.unit,
            "volume_per_month": facts.project.volume_per_month,
            "volume_low_per_month": facts.project.volume_low_per_month,
            "horizon_months": facts.project.horizon_months,
            "task": facts.project.task.adapter,
            "dataset_hash": facts.dataset_hash,
            "n_items": max((int(one.evidence.items.size) for one in facts.variants), default=0),
            "rounds": max((int(one.evidence.units.size) for one in facts.variants), default=0),
            "seed": facts.project.protocol.seed,
            "confidence": facts.project.gate.confidence,
        },
        "evidence": _evidence(facts),
        "meter": _meter(facts.meter),
        "hum": _hum(facts),
        "variants": variants,
        "comparisons": _comparisons(facts),
        "verdict": _verdict(facts),
        "plan": None if isinstance(facts.plan, Missing) else _plan(facts.plan, facts, variants),
        "plan_missing": facts.plan.reason if isinstance(facts.plan, Missing) else "",
        "trace": _trace(facts),
        "trace_missing": facts.trace.reason if isinstance(facts.trace, Missing) else "",
        "rounds": [row for one in facts.variants for row in _rounds(one)],
        "factors": [
            {
                "name": use.factor.name,
                "value": use.factor.value,
                "unit": use.factor.unit,
                "source": use.factor.source,
                "issued": use.factor.issued,
                "retrieved": use.factor.retrieved,
                "licence": use.factor.licence,
                "grade": use.factor.grade.value,
                "used_for": use.used_for,
            }
            for use in facts.factors
        ],
        "cost_of_review": _cost(facts, variants),
        "receipts": _receipts(facts),
        "versions": dict(sorted(facts.versions.items())),
        "notes": list(facts.notes),
    }
    return {**document}


def _evidence(facts: ReviewFacts) -> EvidenceShape:
    verdict, meter = facts.verdict, facts.meter
    named = "" if meter.name in meter.source else f"meter {meter.name}, "
    how = f"{_HOW[meter.method]} ({meter.source}; {named}grade {meter.grade.value})"
    if not verdict.provisional:
        statement = f"Energy is {how}."
    elif meter.method.is_measured:
        statement = f"Provisional: energy is {how}, but the evidence as a whole is of grade {verdict.grade.value}."
    else:
        statement = f"Provisional: energy is {how}, not read from a counter."
    return {
        "provisional": verdict.provisional,
        "grade": verdict.grade.value,
        "method": meter.method.value,
        "statement": statement,
    }


def _meter(meter: MeterFacts) -> MeterShape:
    return {
        "name": meter.name,
        "grade": meter.grade.value,
        "method": meter.method.value,
        "scope": meter.scope.value,
        "sees": meter.sees,
        "source": meter.source,
        "relative_standard_uncertainty": meter.relative_standard_uncertainty,
        "passed_over": [
            {"name": other.name, "reason": other.reason, "remedy": other.remedy} for other in meter.passed_over
        ],
    }


def _hum(facts: ReviewFacts) -> HumShape:
    hum = facts.hum
    if isinstance(hum, Missing):
        return {
            "power_w": None,
            "low_w": None,
            "high_w": None,
            "grade": None,
            "method": "",
            "source": "",
            "seconds": None,
            "owner": facts.hum_owner,
            "reason": hum.reason,
        }
    seconds, bounds = hum.interval.seconds, hum.bounds_j
    return {
        "power_w": hum.value.joules / seconds,
        "low_w": bounds.low / seconds,
        "high_w": bounds.high / seconds,
        "grade": hum.grade.value,
        "method": hum.method.value,
        "source": hum.source,
        "seconds": seconds,
        "owner": facts.hum_owner,
        "reason": "",
    }


def _variant(one: VariantFacts, facts: ReviewFacts) -> VariantShape:
    evidence, confidence = one.evidence, facts.project.gate.confidence
    primary = facts.project.task.primary
    intervals = {name: score_interval(scores, confidence) for name, scores in evidence.scores.items()}
    metrics = {name: evidence.metric(name) if found["n"] else None for name, found in intervals.items()}
    first = intervals[primary.metric]
    return {
        "name": evidence.variant.name,
        "role": one.role.value,
        "parent": evidence.variant.parent,
        "levers": list(evidence.variant.levers),
        "model_bytes": one.model_bytes,
        "content_hash": evidence.variant.content_hash,
        "quality": {
            "metric": primary.metric,
            "value": metrics[primary.metric],
            "low": first["low"],
            "high": first["high"],
            "n": first["n"],
            "ceiling": primary.ceiling,
            "method": first["method"],
        },
        "metrics": metrics,
        "metric_intervals": intervals,
        "latency_ms": latency_figures(evidence.latency_ms, confidence),
        "energy_j_per_unit": energy_interval(
            evidence.energy_j_per_unit, confidence, facts.meter.relative_standard_uncertainty
        ),
        "work_j_per_unit": evidence.work_j_per_unit,
        "hum_j_per_unit": evidence.hum_j_per_unit,
        "amortised_j_per_unit": evidence.amortised_j_per_unit,
        "service_ms_per_unit": 1e3 * float(np.sum(evidence.service_s) / np.sum(evidence.units)),
        "grade": evidence.grade.value,
        "method": evidence.method.value,
        "on_frontier": one.on_frontier,
        "frontier_probability": finite(one.frontier_probability),
        "dominated_by": one.dominated_by,
        "dominated_reason": one.dominated_reason,
    }


def _range(estimate: Estimate) -> RangeShape:
    bounds = estimate.bounds
    return {
        "value": estimate.value,
        "low": finite(bounds.low),
        "high": finite(bounds.high),
        "confidence": bounds.confidence,
    }


def _comparisons(facts: ReviewFacts) -> list[ComparisonShape]:
    return [
        {
            "candidate": one.candidate,
            "against": one.against,
            "energy_ratio": _range(one.energy_ratio),
            "quality_difference": {**_range(one.quality_difference), "method": one.quality_method},
            "equivalent": one.equivalent,
            "statement": one.statement,
        }
        for one in facts.comparisons
    ]


def _bounds(bounds: Bounds) -> BoundsShape:
    return {"low": finite(bounds.low), "high": finite(bounds.high), "confidence": bounds.confidence}


def _part(part: PartResult) -> PartShape:
    return {
        "part": part.part,
        "subject": part.subject,
        "outcome": part.outcome.value,
        "statistic": finite(part.statistic),
        "bounds": _bounds(part.bounds) if part.bounds is not None else None,
        "threshold": finite(part.threshold),
        "unit": part.unit,
        "distance": finite(part.distance),
        "p_hold": finite(part.p_hold),
        "p_refute": finite(part.p_refute),
        "binding": part.binding,
        "explanation": part.explanation,
    }


def _verdict(facts: ReviewFacts) -> VerdictShape:
    verdict = facts.verdict
    return {
        "outcome": verdict.outcome.value,
        "exit_code": verdict.outcome.exit_code,
        "provisional": verdict.provisional,
        "grade": verdict.grade.value,
        "min_grade": verdict.min_grade.value,
        "may_block": verdict.may_block,
        "incumbent": verdict.incumbent,
        "proposal": verdict.proposal,
        "confidence": verdict.confidence,
        "eta": verdict.eta,
        "decided_by": verdict.decided_by,
        "distance": finite(verdict.distance),
        "items_needed": verdict.items_needed,
        "rounds_needed": verdict.rounds_needed,
        "cheapest_pass": verdict.cheapest_pass,
        "advice": verdict.advice,
        "parts": [_part(part) for part in verdict.parts],
    }


def _plan(plan: Plan, facts: ReviewFacts, variants: list[VariantShape]) -> PlanShape:
    energy_kwh = plan.energy.to_kwh()
    served = next((v["energy_j_per_unit"] for v in variants if v["name"] == facts.planned_variant), None)
    low = high = None
    if served is not None and served["absolute_low"] is not None and served["absolute_high"] is not None:
        low = energy_kwh * served["absolute_low"] / served["value"]
        high = energy_kwh * served["absolute_high"] / served["value"]
    return {
        "home": plan.home,
        "variant": facts.planned_variant,
        "assignments": _assignments(plan, facts),
        "energy_kwh": energy_kwh,
        "energy_low_kwh": low,
        "energy_high_kwh": high,
        "grade": facts.verdict.grade.value,
        "cost": plan.cost.amount,
        "currency": plan.cost.currency,
        "carbon_kg": plan.carbon.to_kg(),
        "carbon_basis": plan.carbon.basis.value,
        "carbon_scope": plan.carbon.scope.value,
        "baseline_cost": plan.baseline_cost.amount,
        "baseline_carbon_kg": plan.baseline_carbon.to_kg(),
        "carbon_price_per_tonne": plan.carbon_price_per_tonne,
        "certificate": {
            "objective": plan.certificate.objective,
            "lower_bound": plan.certificate.lower_bound,
            "gap": plan.certificate.gap,
            "currency": plan.certificate.currency,
            "method": plan.certificate.method,
        },
        "notes": list(plan.notes),
    }


def _assignments(plan: Plan, facts: ReviewFacts) -> list[AssignmentShape]:
    sites = {site.name: site for site in facts.sites}
    rows: list[AssignmentShape] = []
    for one in plan.assignments:
        site = sites.get(one.site)
        # A sloped curve has no one PUE without the planner's load; a flat one has.
        flat = site.pue.idle if site is not None and site.pue.idle == site.pue.full else None
        rows.append(
            {
                "job": one.job,
                "site": one.site,
                "zone": site.zone if site is not None else None,
                "start": utc(one.interval.start),
                "end": utc(one.interval.end),
                "share": one.share,
                "energy_kwh": one.energy.to_kwh(),
                "cost": one.cost.amount,
                "currency": one.cost.currency,
                "carbon_kg": one.carbon.to_kg(),
                "pue": facts.site_pue.get(one.site, flat),
                "intensity_g_per_kwh": site.intensity.g_per_kwh if site is not None else None,
                "price_per_kwh": site.price.amount_per_kwh if site is not None else None,
            }
        )
    return rows


def _trace(facts: ReviewFacts) -> TraceShape | None:
    trace = facts.trace
    if isinstance(trace, Missing):
        return None
    return {
        "t_s": [float(t) for t in trace.t_s],
        "power_w": [finite(power) for power in trace.power_w],
        "hum_w": _hum(facts)["power_w"],
        "marks": [{"start_s": mark.start_s, "end_s": mark.end_s, "label": mark.label} for mark in trace.marks],
        "method": trace.method,
        "note": trace.note,
    }


def _rounds(one: VariantFacts) -> list[RoundShape]:
    evidence = one.evidence
    return [
        {
            "round": index,
            "variant": evidence.variant.name,
            "receipt": evidence.receipts[index] if index < len(evidence.receipts) else "",
            "units": float(evidence.units[index]),
            "work_j": finite(evidence.work_j[index]),
            "hum_j": finite(evidence.hum_j[index]),
            "service_s": float(evidence.service_s[index]),
        }
        for index in range(evidence.units.size)
    ]


def _receipts(facts: ReviewFacts) -> list[str]:
    ordered = [*facts.receipts, *(address for one in facts.variants for address in one.evidence.receipts)]
    return list(dict.fromkeys(ordered))


def _cost(facts: ReviewFacts, variants: list[VariantShape]) -> CostShape:
    cost = facts.cost
    energy_j = None if isinstance(cost.energy, Missing) else cost.energy.joules
    low = finite(cost.bounds_j.low) if cost.bounds_j is not None else None
    high = finite(cost.bounds_j.high) if cost.bounds_j is not None else None
    served = next((v["energy_j_per_unit"]["value"] for v in variants if v["role"] == Role.INCUMBENT), 0.0)
    equals = energy_j / served if energy_j is not None and served > 0 else None
    return {
        "wall_s": cost.wall_s,
        "energy_j": energy_j,
        "low_j": low,
        "high_j": high,
        "grade": cost.grade.value,
        "method": cost.method.value,
        "meter_cpu_s": cost.meter_cpu_s,
        "levers_j": cost.levers.joules if cost.levers is not None else None,
        "training_j": cost.training.joules if cost.training is not None else None,
        "equals_units": equals,
        "statement": _cost_statement(facts, energy_j, low, high, equals),
    }


def _cost_statement(
    facts: ReviewFacts, energy_j: float | None, low: float | None, high: float | None, equals: float | None
) -> str:
    took = _duration(facts.cost.wall_s)
    if isinstance(facts.cost.energy, Missing) or energy_j is None:
        reason = facts.cost.energy.reason if isinstance(facts.cost.energy, Missing) else ""
        return f"This review took {took}; its energy is not known: {reason}."
    factor, prefix = si_prefix(energy_j)
    ends = (end / factor if end is not None else None for end in (low, high))
    figure = plus_minus(energy_j / factor, *ends)
    amount = f"({figure}) {prefix}J" if " " in figure else f"{figure} {prefix}J"
    sentence = f"This review took {took} and {amount} (grade {facts.cost.grade.value}, {facts.cost.method.value})"
    if equals is not None and math.isfinite(equals):
        sentence += f", as much as the incumbent draws for {significant(float(f'{equals:.2g}'))} {facts.project.unit}s"
    return sentence + "."


def _duration(seconds: float) -> str:
    """
    >>> _duration(192.4), _duration(42.0), _duration(3700.0)
    ('3 min 12 s', '42 s', '1 h 1 min')
    """
    whole = timedelta(seconds=round(seconds))
    minutes, rest = divmod(int(whole.total_seconds()), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
