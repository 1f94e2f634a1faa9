"""Receipts as OpenTelemetry metrics in OTLP JSON: `hw.energy` [J], or `hw.host.energy` of a whole machine.

Sources: OpenTelemetry semantic conventions for hardware metrics (hw.energy is a counter in J with hw.id and hw.type;
the energy of a host goes by hw.host.energy, so that it is not added to that of its parts), status Development;
OTLP 1.x, ExportMetricsServiceRequest in the JSON encoding of its protocol buffers (64-bit integers as text).
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from outweigh.core.measurement import Scope
from outweigh.core.receipt import Receipt, RunStatus
from outweigh.report.totals import Addressed, total

_HOST = (Scope.FACILITY, Scope.RACK, Scope.NODE)
_TYPE = {Scope.GPU: "gpu", Scope.DRAM: "memory", Scope.PSYS: "enclosure"}
_DELTA = 1  # AGGREGATION_TEMPORALITY_DELTA: a point is the energy of its own interval


def otlp(receipts: Iterable[Addressed], version: str) -> dict[str, Any]:
    """An export request: a resource a project, a delta point a receipt. Those without a usable figure have no point.

    Raises:
        UsageError: no usable receipt.
    """
    kept = list(receipts)
    total(kept)
    resources: dict[str, dict[str, list[dict[str, Any]]]] = {}
    for address, one in kept:
        if one.status is RunStatus.UNUSABLE:
            continue
        name = "hw.host.energy" if one.total.scope in _HOST else "hw.energy"
        resources.setdefault(one.project, {}).setdefault(name, []).append(_point(address, one))
    return {
        "resourceMetrics": [
            {
                "resource": {"attributes": [_text("service.name", project or "unnamed")]},
                "scopeMetrics": [
                    {
                        "scope": {"name": "outweigh", "version": version},
                        "metrics": [
                            {
                                "name": name,
                                "description": "Energy drawn",
                                "unit": "J",
                                "sum": {"aggregationTemporality": _DELTA, "isMonotonic": True, "dataPoints": points},
                            }
                            for name, points in metrics.items()
                        ],
                    }
                ],
            }
            for project, metrics in resources.items()
        ]
    }


def _point(address: str, one: Receipt) -> dict[str, Any]:
    measured = one.total
    attributes = [
        _text("outweigh.receipt", address), _text("outweigh.phase", str(one.phase)),
        _text("outweigh.variant", one.variant), _text("outweigh.status", str(one.status)),
        _text("outweigh.grade", str(measured.grade)), _text("outweigh.method", str(measured.method)),
        _text("outweigh.scope", str(measured.scope)), _text("outweigh.source", measured.source),
        _number("outweigh.energy.standard_uncertainty_j", measured.standard_uncertainty.joules),
    ]  # fmt: skip
    if measured.scope not in _HOST:
        kind = _TYPE.get(measured.scope, "cpu")
        attributes += [_text("hw.id", f"{one.meter or 'meter'}:{measured.scope}"), _text("hw.type", kind)]
    for name, part in (("hum", one.hum), ("work", one.work)):
        if part is not None:
            attributes.append(_number(f"outweigh.energy.{name}_j", part.value.joules))
    return {
        "startTimeUnixNano": _nano(measured.interval.start),
        "timeUnixNano": _nano(measured.interval.end),
        "asDouble": measured.value.joules,
        "attributes": [one for one in attributes if one["value"] != {"stringValue": ""}],
    }


def _text(key: str, value: str) -> dict[str, Any]:
    return {"key": key, "value": {"stringValue": value}}


def _number(key: str, value: float) -> dict[str, Any]:
    return {"key": key, "value": {"doubleValue": value}}


def _nano(when: datetime) -> str:
    """Nanoseconds of the UTC epoch as text, without the rounding of a float."""
    whole = int(when.replace(microsecond=0).timestamp())
    return str(whole * 1_000_000_000 + when.microsecond * 1_000)
