"""Receipts: the immutable record of a run, content-addressed and recomputable when factors change.

A receipt holds no source code, prompts, environment or host names unless someone asks for them.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from enum import StrEnum
from typing import Any

from outweigh.core.budget import Phase
from outweigh.core.errors import UsageError
from outweigh.core.intervals import Bounds, Interval
from outweigh.core.measurement import Factor, Grade, Measurement, Method, Scope, UncertaintyComponent, utc
from outweigh.core.quantities import Energy

#: What this version reads. A receipt is written in the oldest of them that can hold it, so that one from before keeps
#: its address: 2 has the parts of the hum.
RECEIPT_SCHEMAS = (1, 2)


class RunStatus(StrEnum):
    COMPLETED = "completed"
    FAILED = "failed"  # the command failed; its energy was drawn all the same
    INTERRUPTED = "interrupted"  # stopped from outside; energy up to the last sample
    UNUSABLE = "unusable"  # the meter's samples do not carry the figure


@dataclass(frozen=True, slots=True)
class MeterCost:
    """What looking cost: CPU seconds of the meter itself, and their energy where a model gives it [J]."""

    cpu_s: float
    energy_j: float | None = None


@dataclass(frozen=True, slots=True)
class Quality:
    """One quality figure of a run, on `n` items."""

    metric: str
    value: float
    n: int
    bounds: Bounds | None = None


@dataclass(frozen=True, slots=True)
class Latency:
    """Latency of single units [ms]."""

    mean_ms: float
    p50_ms: float
    p95_ms: float
    n: int


@dataclass(frozen=True, slots=True)
class HumSplit:
    """What a hum is made of. A part that nobody measured or declared is None, never 0.

    Attributes:
        allocated: idle draw of what the run had for itself.
        unallocated: idle draw of the same devices that the run did not have.
        host: the rest of the machine: board, memory, fans.
        cooling: what the building adds, on top of IT energy (PUE - 1): not a part of the receipt's hum.
    """

    allocated: Energy | None = None
    unallocated: Energy | None = None
    host: Energy | None = None
    cooling: Energy | None = None


@dataclass(frozen=True, slots=True)
class Receipt:
    """The record of one run.

    Energy is IT energy in the meter's scope: `total` = `hum` + `work`. The hum is kept, never subtracted
    away; it is None where no idle draw was measured, and then `work` is None too.

    Attributes:
        run_id: unique id of this run (UUID4 hex).
        batch: id of the review, comparison or sweep it belongs to, or "".
        variant_hash: content hash of the variant, "" for plain commands.
        units: functional units delivered, in `unit`; None when nobody counted.
        overlapping: readings of scopes that `total` already contains; shown, never added.
        versions: (name, version) of every method and library that shaped the figures.
        labels: (key, value) pairs the user gave.
        hum_split: what the hum is made of, as far as it is known; None when nothing is.
    """

    run_id: str
    project: str
    phase: Phase
    status: RunStatus
    total: Measurement
    hum: Measurement | None
    work: Measurement | None
    batch: str = ""
    variant: str = ""
    variant_hash: str = ""
    round_index: int | None = None
    units: float | None = None
    unit: str = ""
    quality: tuple[Quality, ...] = ()
    latency: Latency | None = None
    meter: str = ""
    meter_cost: MeterCost | None = None
    overlapping: tuple[Measurement, ...] = ()
    exit_code: int | None = None
    versions: tuple[tuple[str, str], ...] = ()
    labels: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()
    hum_split: HumSplit | None = None

    @property
    def schema(self) -> int:
        return 1 if self.hum_split is None else 2

    @property
    def interval(self) -> Interval:
        return self.total.interval

    @property
    def grade(self) -> Grade:
        return self.total.grade

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types, unit in every key; `from_dict` inverts it exactly."""
        body = {f.name: _plain(getattr(self, f.name)) for f in fields(self)}
        body["versions"] = dict(self.versions)
        body["labels"] = dict(self.labels)
        body["schema"] = self.schema
        if self.hum_split is None:
            del body["hum_split"]
        return body

    @property
    def content_hash(self) -> str:
        """SHA-256 of the canonical JSON: the receipt's address."""
        return content_hash(self.to_dict())

    @staticmethod
    def from_dict(body: dict[str, Any]) -> Receipt:
        """The receipt a dictionary of `to_dict` describes. Raises UsageError for a newer schema."""
        if body.get("schema") not in RECEIPT_SCHEMAS:
            raise UsageError(
                f"receipt schema {body.get('schema')!r} is none of those this version reads, 1 and 2",
                "Upgrade outweigh, or migrate the ledger with `outweigh ledger migrate`",
            )
        latency, cost, split = body["latency"], body["meter_cost"], body.get("hum_split")
        return Receipt(
            run_id=body["run_id"],
            project=body["project"],
            phase=Phase(body["phase"]),
            status=RunStatus(body["status"]),
            total=_measurement(body["total"]),
            hum=_measurement(body["hum"]) if body["hum"] is not None else None,
            work=_measurement(body["work"]) if body["work"] is not None else None,
            batch=body["batch"],
            variant=body["variant"],
            variant_hash=body["variant_hash"],
            round_index=body["round_index"],
            units=body["units"],
            unit=body["unit"],
            quality=tuple(
                Quality(q["metric"], q["value"], q["n"], Bounds(**q["bounds"]) if q["bounds"] else None)
                for q in body["quality"]
            ),
            latency=Latency(**latency) if latency else None,
            meter=body["meter"],
            meter_cost=MeterCost(**cost) if cost else None,
            overlapping=tuple(_measurement(m) for m in body["overlapping"]),
            exit_code=body["exit_code"],
            versions=tuple(sorted(body["versions"].items())),
            labels=tuple(sorted(body["labels"].items())),
            notes=tuple(body["notes"]),
            hum_split=HumSplit(**{part: _energy(split[f"{part}_j"]) for part in _PARTS}) if split else None,
        )


def content_hash(body: dict[str, Any]) -> str:
    """SHA-256 [hex] of canonical JSON: sorted keys, no spaces, shortest round-trip floats, NaN refused."""
    text = json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


_PARTS = tuple(f.name for f in fields(HumSplit))


def _energy(joules: float | None) -> Energy | None:
    return None if joules is None else Energy(joules)


def _plain(value: Any) -> Any:
    if isinstance(value, Measurement):
        return {
            "energy_j": value.value.joules,
            "standard_uncertainty_j": value.standard_uncertainty.joules,
            "start": utc(value.interval.start),
            "end": utc(value.interval.end),
            "scope": value.scope.value,
            "grade": value.grade.value,
            "method": value.method.value,
            "source": value.source,
            "components": [{"name": c.name, "standard_j": c.standard, "source": c.source} for c in value.components],
            "factors": [{**asdict(f), "grade": f.grade.value} for f in value.factors],
        }
    if isinstance(value, HumSplit):
        parts = {part: getattr(value, part) for part in _PARTS}
        return {f"{part}_j": None if energy is None else energy.joules for part, energy in parts.items()}
    if isinstance(value, StrEnum):
        return value.value
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if isinstance(value, Quality | Latency | MeterCost):
        return asdict(value)
    return value


def _measurement(body: dict[str, Any]) -> Measurement:
    return Measurement(
        value=Energy(body["energy_j"]),
        interval=Interval(datetime.fromisoformat(body["start"]), datetime.fromisoformat(body["end"])),
        scope=Scope(body["scope"]),
        grade=Grade(body["grade"]),
        method=Method(body["method"]),
        source=body["source"],
        components=tuple(UncertaintyComponent(c["name"], c["standard_j"], c["source"]) for c in body["components"]),
        factors=tuple(Factor(**{**f, "grade": Grade(f["grade"])}) for f in body["factors"]),
    )
