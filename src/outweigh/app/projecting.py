"""Variants on devices that nobody measured: rows of grade D beside the measured ones, never among them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from outweigh.app.sitting import Sat
from outweigh.compare.evidence import Evidence
from outweigh.compare.projection import METHOD, project
from outweigh.core.errors import UsageError
from outweigh.core.measurement import Grade
from outweigh.core.project import Project, VariantSpec
from outweigh.core.rounding import plus_minus, si_prefix, significant
from outweigh.data.hardware import Device, device, devices
from outweigh.data.onnx_counts import NOMINAL_LENGTH, graph_counts

PROJECTED_COLUMNS = ("variant", "device", "J per unit", "grade", "at best", "bound by")


def apart(declared: Project, names: Sequence[str]) -> tuple[list[str], list[tuple[str, str, Device]]]:
    """Variants to measure, and those that name a device of the table: (name, the variant they are, device).

    Raises:
        UsageError: such a variant is not made `from` another by its device alone, or that one is not among `names`.
    """
    specs = {spec.name: spec for spec in declared.variants}
    measured = [name for name in names if _named(specs[name]) is None]
    elsewhere = []
    for name in names:
        found = _named(specs[name])
        if found is None:
            continue
        parent = specs[name].parent
        if parent not in measured or specs[name].levers:
            raise UsageError(
                f"{name} names {found.key}, which is not here, and is not another measured variant on that device",
                'Write it as { from = "…", options = { device = "…" } }, without levers, and compare it with that one',
            )
        elsewhere.append((name, parent, found))
    return measured, elsewhere


def _named(spec: VariantSpec) -> Device | None:
    return devices().get(str(dict(spec.options).get("device", "")))


def projections(
    sat: Sat, elsewhere: Sequence[tuple[str, str, Device]], keys: Sequence[str]
) -> tuple[list[dict[str, Any]], list[str]]:
    """Rows of what was asked for, and notes: `elsewhere` as declared, and every measured variant on each of `keys`."""
    evidence = sat.comparison.evidence
    wanted = [
        *((name, parent, found) for name, parent, found in elsewhere if parent in evidence),
        *((f"{name}@{key}", name, device(key)) for key in keys for name in evidence),
    ]
    rows, notes = [], []
    for name, parent, found in wanted:
        row = _row(name, evidence[parent], found)
        if row is None:
            notes.append(f"{name} cannot be projected: {parent} is no ONNX graph whose shapes are known")
        else:
            rows.append(row)
    if rows:
        notes.append(f"{METHOD}; {NOMINAL_LENGTH} for every open axis of a graph; hum and host are left out")
        notes.append("projected rows are never held against measured ones, and stand on no frontier")
        used = {one: None for _, _, found in wanted for one in [f"{found.key}: {found.source}, {found.year}"]}
        notes += list(used)
    return rows, notes


def _row(name: str, measured: Evidence, found: Device) -> dict[str, Any] | None:
    counted = graph_counts(Path(measured.variant.model))
    if counted is None:
        return None
    batch = max(1, int(dict(measured.variant.options).get("batch", 1)))
    projected = project(*counted, found, batch)
    return {
        "variant": name,
        "device": found.key,
        "projected": True,
        "energy_j_per_unit": projected.energy_j.value,
        "energy_j_per_unit_low": projected.energy_j.bounds.low,
        "energy_j_per_unit_high": projected.energy_j.bounds.high,
        "grade": Grade.D.value,
        "method": METHOD,
        "roofline_s_per_unit": projected.roofline_s,
        "bound_by": projected.bound_by,
        "operations_per_unit": counted[0],
        "weight_bytes": counted[1],
        "batch": batch,
        "factors": [
            {"name": f.name, "value": f.value, "unit": f.unit, "source": f.source, "issued": f.issued}
            for f in found.factors
        ],
    }  # fmt: skip


def projected_rows(rows: Sequence[dict[str, Any]]) -> Iterator[tuple[str, ...]]:
    """The rows as people read them."""
    for row in rows:
        factor, letter = si_prefix(row["energy_j_per_unit"])
        ends = [row[f"energy_j_per_unit{end}"] / factor for end in ("", "_low", "_high")]
        best, prefix = si_prefix(row["roofline_s_per_unit"])
        yield (
            row["variant"], row["device"], f"{plus_minus(*ends)} {letter}J", f"{row['grade']} (projected)",
            f"{significant(row['roofline_s_per_unit'] / best)} {prefix}s", row["bound_by"],
        )  # fmt: skip


def without(declared: Project, elsewhere: Sequence[tuple[str, str, Device]]) -> Project:
    """The project without the variants that cannot be run here."""
    gone = {name for name, _, _ in elsewhere}
    return replace(declared, variants=tuple(spec for spec in declared.variants if spec.name not in gone))
