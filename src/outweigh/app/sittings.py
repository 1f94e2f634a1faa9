"""Sittings that were: the variants of each review, and of each batch of a ledger, with what beats what in it.

Within a sitting variants are ranked by `compare.frontier`; between sittings nothing is: machines, meters and data may
differ. A review counts facility energy per unit; a ledger knows the IT energy alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import numpy as np

from outweigh.compare.frontier import Point, dominated_by, kind_of
from outweigh.core.measurement import Grade, Method, utc
from outweigh.core.receipt import Quality, Receipt, RunStatus
from outweigh.report.figures import energy_interval, score_interval

FACILITY = "facility energy: work, its share of the hum, training and development written off"
IT = "IT energy as metered, hum included; no PUE, nothing written off"
_CONFIDENCE = 0.95
_MIXED = "its energy is known in another way: figures of two kinds are never ranked together"
_FEWEST = 2  # variants that make a sitting

Sitting = dict[str, Any]


def of_review(document: Mapping[str, Any], where: str) -> Sitting:
    """The sitting of a review, as its document has it.

    Args:
        document: of the shape `outweigh.report.shape.ReviewDocument`.
        where: file or address it was read from.
    """
    verdict, project = document["verdict"], document["project"]
    against = {
        one["candidate"]: one for one in document["comparisons"] if one["against"] == verdict["incumbent"]
    }  # fmt: skip
    kinds = {one["name"]: kind_of(Method(one["method"])) for one in document["variants"]}
    return {
        "id": document["review_id"],
        "created": document["created"],
        "from": "review",
        "where": where,
        "project": project["name"],
        "unit": project["unit"],
        "metric": document["variants"][0]["quality"]["metric"] if document["variants"] else "",
        "confidence": project["confidence"],
        "energy_is": FACILITY,
        "outcome": verdict["outcome"],
        "provisional": verdict["provisional"],
        "decided_by": verdict["decided_by"],
        "advice": verdict["advice"],
        "meter": f"{document['meter']['name']} ({document['meter']['source']})",
        "items": project["n_items"],
        "rounds": project["rounds"],
        "variants": [_of_review(one, against.get(one["name"]), kinds) for one in document["variants"]],
    }


def _of_review(
    one: Mapping[str, Any], against: Mapping[str, Any] | None, kinds: Mapping[str, str]
) -> dict[str, Any]:  # fmt: skip
    quality, energy = one["quality"], one["energy_j_per_unit"]
    ratio = None if against is None else against["energy_ratio"]
    crossed = bool(one["dominated_by"]) and kinds.get(one["dominated_by"]) != kinds[one["name"]]
    return {
        "variant": one["name"],
        "role": one["role"],
        "levers": list(one["levers"]),
        "quality": quality["value"], "quality_low": quality["low"], "quality_high": quality["high"],
        "energy_j": energy["value"], "energy_low_j": energy["absolute_low"], "energy_high_j": energy["absolute_high"],
        "scatter_low_j": energy["low"], "scatter_high_j": energy["high"],
        "ratio": None if ratio is None else ratio["value"],
        "ratio_low": None if ratio is None else ratio["low"], "ratio_high": None if ratio is None else ratio["high"],
        "p95_ms": one["latency_ms"]["p95"],
        "p95_low_ms": one["latency_ms"]["p95_low"], "p95_high_ms": one["latency_ms"]["p95_high"],
        "on_frontier": one["on_frontier"],
        "frontier_probability": one.get("frontier_probability"),
        "dominated_by": "" if crossed else one["dominated_by"],
        "dominated_reason": _MIXED if crossed else one["dominated_reason"],
        "kind": kinds[one["name"]],
        "grade": one["grade"],
        "method": one["method"],
        "source": energy["absolute_method"],
    }  # fmt: skip


def of_receipts(receipts: Iterable[tuple[str, Receipt]], metric: str = "") -> list[Sitting]:
    """The sittings whose rounds are among the receipts: batches of two variants or more, oldest first.

    Args:
        metric: what quality is judged by; the first that the receipts name by default.
    """
    batches: dict[str, list[Receipt]] = {}
    for _, one in receipts:
        if one.batch and one.variant and one.round_index is not None and one.units and _ended(one):
            batches.setdefault(one.batch, []).append(one)
    found = [_sitting(batch, rounds, metric) for batch, rounds in batches.items() if _variants(rounds) >= _FEWEST]
    return sorted(found, key=lambda one: one["created"])


def _ended(one: Receipt) -> bool:
    return one.status is RunStatus.COMPLETED


def _variants(rounds: Sequence[Receipt]) -> int:
    return len({one.variant for one in rounds})


def _sitting(batch: str, rounds: Sequence[Receipt], metric: str) -> Sitting:
    last: datetime = max(one.interval.end for one in rounds)
    named = [figure.metric for one in rounds for figure in one.quality]
    judged = metric if metric in named or not named else named[0]
    by_variant: dict[str, list[Receipt]] = {}
    for one in rounds:
        by_variant.setdefault(one.variant, []).append(one)
    variants = [_of_rounds(name, own, judged) for name, own in by_variant.items()]
    _rank(variants)
    return {
        "id": batch,
        "created": utc(last),
        "from": "ledger",
        "where": f"ledger, batch {batch[:8]}",
        "project": rounds[0].project,
        "unit": rounds[0].unit,
        "metric": judged,
        "confidence": _CONFIDENCE,
        "energy_is": IT,
        "outcome": "",
        "provisional": any(one["grade"] > Grade.B.value for one in variants),
        "decided_by": "",
        "advice": "",
        "meter": f"{rounds[0].meter} ({rounds[0].total.source})",
        "items": None,
        "rounds": max(len({one.round_index for one in own}) for own in by_variant.values()),
        "variants": variants,
    }


def _of_rounds(name: str, own: Sequence[Receipt], metric: str) -> dict[str, Any]:
    per_unit = np.array([one.total.value.joules / (one.units or 1.0) for one in own])
    drawn_j = sum(one.total.value.joules for one in own)
    # Meters err alike from round to round: their relative uncertainty is that of the sum.
    doubt_j = sum(one.total.standard_uncertainty.joules for one in own)
    energy = energy_interval(per_unit, _CONFIDENCE, doubt_j / drawn_j if drawn_j > 0 else None)
    quality, quality_low, quality_high = _quality([q for one in own for q in one.quality if q.metric == metric])
    p95s = [one.latency.p95_ms for one in own if one.latency is not None]
    method = own[0].total.method
    return {
        "variant": name,
        "role": "",
        "levers": [],
        "quality": quality, "quality_low": quality_low, "quality_high": quality_high,
        "energy_j": energy["value"], "energy_low_j": energy["absolute_low"], "energy_high_j": energy["absolute_high"],
        "scatter_low_j": energy["low"], "scatter_high_j": energy["high"],
        "ratio": None, "ratio_low": None, "ratio_high": None,
        "p95_ms": float(np.mean(p95s)) if p95s else None, "p95_low_ms": None, "p95_high_ms": None,
        "on_frontier": False,
        "frontier_probability": None,
        "dominated_by": "",
        "dominated_reason": "",
        "kind": kind_of(method),
        "grade": Grade.worst(one.grade for one in own).value,
        "method": method.value,
        "source": energy["absolute_method"],
    }  # fmt: skip


def _quality(figures: Sequence[Quality]) -> tuple[float | None, float | None, float | None]:
    """Mean over rounds, each by its items, and its interval: the receipts' own where every round scored alike (the same
    items again say nothing new), Student's t on rounds where they differ, cut where a share ends."""
    if not figures:
        return None, None, None
    values = np.array([one.value for one in figures])
    mean = float(np.average(values, weights=[max(one.n, 1) for one in figures]))
    if np.ptp(values) == 0:
        bounds = figures[0].bounds
        return mean, bounds.low if bounds else None, bounds.high if bounds else None
    ends = score_interval(values, _CONFIDENCE) if not set(values.tolist()) <= {0.0, 1.0} else None
    if ends is None or ends["low"] is None or ends["high"] is None:
        return mean, None, None
    is_share = bool(np.all((values >= 0) & (values <= 1)))
    low, high = ends["low"], ends["high"]
    return (mean, max(low, 0.0), min(high, 1.0)) if is_share else (mean, low, high)


def _rank(variants: Sequence[dict[str, Any]]) -> None:
    """Mark what dominates what, each kind of figure by itself; a variant nobody scored is in no order."""
    for kind in {one["kind"] for one in variants}:
        own = [one for one in variants if one["kind"] == kind and one["quality"] is not None]
        points = [
            Point(one["variant"], one["quality"], one["energy_j"], Grade(one["grade"]), Method(one["method"]))
            for one in own
        ]
        beaten = {one.name: one for one in dominated_by(points)}
        for one in own:
            by = beaten.get(one["variant"])
            one["on_frontier"] = by is None
            one["dominated_by"], one["dominated_reason"] = (by.by, by.reason) if by else ("", "")
