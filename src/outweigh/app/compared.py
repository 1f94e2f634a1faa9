"""What one sitting says of each variant: rows for programs, tables and notes for people."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from outweigh.app.review import comparison_of, sitting_notes, within_noise
from outweigh.app.sitting import Sat
from outweigh.compare.energy import noise_floor
from outweigh.compare.evidence import Evidence
from outweigh.compare.figures import EnergyFigure, energy_figures
from outweigh.compare.frontier import Point, dominated_by
from outweigh.core.intervals import Estimate
from outweigh.core.quantities import Energy
from outweigh.core.rounding import plus_minus, si, significant
from outweigh.report.figures import energy_interval, finite, latency_figures, score_interval
from outweigh.shrink import break_even_units

COLUMNS = (
    "variant", "quality", "J per unit", "against the first", "p95", "grade", "pays off after", "on the frontier",
    "dominated by",
)  # fmt: skip
ENERGY_COLUMNS = ("variant", "net J per unit", "gross", "all-in", "all-in per correct", "mean power")
TOKEN_COLUMNS = ("gross per token read", "per token written")

_WAYS = ("net", "gross", "all_in")


@dataclass(frozen=True, slots=True, eq=False)
class Compared:
    """Rows with full figures for programs (unit in the key), and notes for people.

    Attributes:
        sweep: what a sweep found, as one more JSON object; empty without one.
        sweep_rows: the same as table rows.
        projected: variants on devices that were not measured, rows of a shape of their own.
    """

    rows: list[dict[str, Any]]
    notes: list[str]
    sweep: Mapping[str, Any] = field(default_factory=dict)
    sweep_rows: Sequence[tuple[str, ...]] = ()
    projected: Sequence[dict[str, Any]] = ()


def compared_of(sat: Sat) -> Compared:
    """Every variant of a sitting against the first."""
    project, evidence = sat.project, sat.comparison.evidence
    primary = project.task.primary.metric
    beaten = {d.name: d for d in dominated_by([Point.of(one, primary) for one in evidence.values()])}
    likely = sat.frontier_probability(primary)
    first = next(iter(evidence.values()))
    rows: list[dict[str, Any]] = []
    notes: list[str] = []
    for name, one in evidence.items():
        row = _row(sat, one, first, notes)
        row |= {
            "frontier_probability": likely[name],
            "dominated_by": beaten[name].by if name in beaten else None,
            "receipts": list(one.receipts),
        }
        rows.append(row)
        if name in beaten:
            notes.append(beaten[name].reason)
    notes += sitting_notes(sat)
    whole = sat.whole.total
    notes.append(
        f"energy is {whole.method}, grade {whole.grade}: {sat.meter.source}; finding out drew "
        f"{si(whole.value.joules, 'J', whole.bounds_j.half_width)}"
    )
    return Compared(rows, notes)


def _row(sat: Sat, one: Evidence, first: Evidence, notes: list[str]) -> dict[str, Any]:
    project, name = sat.project, one.variant.name
    primary, confidence = project.task.primary.metric, project.gate.confidence
    made = next(made for made in sat.made if made.variant.name == name)
    quality = score_interval(one.scores[primary], confidence)
    energy = energy_interval(one.energy_j_per_unit, confidence, sat.doubts.absolute)
    latency = latency_figures(one.latency_ms, confidence)
    against = comparison_of(sat, one, first) if one is not first else None
    lever = None if made.reused else made.applying
    if made.reused:
        notes.append(f"{name}: its artefact lay there from an earlier run, so what applying took is not known here")
    saving_j = (first.work_j_per_unit + first.hum_j_per_unit) - (one.work_j_per_unit + one.hum_j_per_unit)
    pays = None
    if lever is not None and against is not None:
        pays = break_even_units(Energy(lever.total.value.joules * sat.facility.pue), Energy(saving_j))
    lost = within_noise(sat, against) if against is not None else None
    if against is not None:
        notes.append(against.statement)
        if lost:
            notes.append(f"{name} and {first.variant.name} differ in energy by no more than the noise of this sitting")
    figures = energy_figures(one, primary, confidence)
    per_token = [
        pair for kind, figure in figures.per_token.items() for pair in _figure_keys(f"per_token_{kind}", figure)
    ]
    aa = sat.comparison.aa
    return {
        "variant": name,
        "metric": primary,
        "quality": one.metric(primary),
        "quality_low": quality["low"],
        "quality_high": quality["high"],
        "n_items": int(one.items.size),
        "rounds": int(one.units.size),
        "energy_j_per_unit": energy["value"],
        "energy_j_per_unit_low": energy["absolute_low"],
        "energy_j_per_unit_high": energy["absolute_high"],
        "energy_j_per_unit_scatter_low": energy["low"],
        "energy_j_per_unit_scatter_high": energy["high"],
        "work_j_per_unit": one.work_j_per_unit,
        "hum_j_per_unit": one.hum_j_per_unit,
        "amortised_j_per_unit": one.amortised_j_per_unit,
        **dict(_figure_keys("per_unit", figures.per_unit)),
        **dict(_figure_keys("per_correct", figures.per_correct)),
        **dict(per_token),
        "token_method": figures.token_method or None,
        "power_w": figures.power_w,
        "energy_ratio": against.energy_ratio.value if against else 1.0,
        "energy_ratio_low": against.energy_ratio.bounds.low if against else None,
        "energy_ratio_high": against.energy_ratio.bounds.high if against else None,
        "noise_floor": math.expm1(noise_floor(aa, confidence)) if aa is not None else None,
        "within_noise": lost,
        "quality_difference": against.quality_difference.value if against else 0.0,
        "quality_difference_low": against.quality_difference.bounds.low if against else None,
        "quality_difference_high": against.quality_difference.bounds.high if against else None,
        "equivalent": against.equivalent if against else None,
        "p95_latency_ms": latency["p95"],
        "grade": one.grade.value,
        "method": one.method.value,
        "applying_levers_j": lever.total.value.joules if lever is not None else None,
        "break_even_units": pays if pays is not None and math.isfinite(pays) else None,
        "never_pays": pays is not None and math.isinf(pays),
    }


def _figure_keys(per: str, figure: EnergyFigure | None) -> Iterator[tuple[str, float | None]]:
    for way in _WAYS:
        estimate: Estimate | None = None if figure is None else getattr(figure, way)
        key = f"{way}_j_{per}"
        yield key, None if estimate is None else estimate.value
        yield f"{key}_low", None if estimate is None else finite(estimate.bounds.low)
        yield f"{key}_high", None if estimate is None else finite(estimate.bounds.high)


def compared_rows(done: Compared) -> list[tuple[str, ...]]:
    """The rows as people read them."""
    return [
        (
            str(row["variant"]),
            f"{plus_minus(100 * row['quality'], _times(100, row['quality_low']), _times(100, row['quality_high']))} %",
            plus_minus(row["energy_j_per_unit"], row["energy_j_per_unit_low"], row["energy_j_per_unit_high"]),
            "-" if row["energy_ratio_low"] is None
            else f"x {plus_minus(row['energy_ratio'], row['energy_ratio_low'], row['energy_ratio_high'])}"
            + (" (noise)" if row["within_noise"] else ""),
            f"{significant(row['p95_latency_ms'])} ms",
            f"{row['grade']} ({row['method']})",
            "never" if row["never_pays"] else "-" if row["break_even_units"] is None
            else f"{significant(math.ceil(row['break_even_units']))} units",
            f"{row['frontier_probability']:.0%}",
            row["dominated_by"] or "-",
        )
        for row in done.rows
    ]  # fmt: skip


def energy_columns(done: Compared) -> tuple[str, ...]:
    """Headings of `energy_rows`: tokens only where somebody counted them."""
    return (*ENERGY_COLUMNS, *(TOKEN_COLUMNS if _counts_tokens(done) else ()))


def energy_rows(done: Compared) -> list[tuple[str, ...]]:
    """Energy three ways, as people read it; the intervals are the scatter of the rounds alone."""
    tokens = _counts_tokens(done)
    return [
        (
            str(row["variant"]),
            *(_shown(row, f"{way}_j_per_unit") for way in _WAYS),
            _shown(row, "all_in_j_per_correct"),
            f"{significant(row['power_w'])} W",
            *((_read(row), _shown(row, "gross_j_per_token_decode")) if tokens else ()),
        )
        for row in done.rows
    ]


def _read(row: Mapping[str, Any]) -> str:
    whole = _shown(row, "gross_j_per_token_tokens")
    return _shown(row, "gross_j_per_token_prefill") if whole == "-" else f"{whole} (read or written)"


def _counts_tokens(done: Compared) -> bool:
    return any(key.startswith("gross_j_per_token_") for row in done.rows for key in row)


def _shown(row: Mapping[str, Any], key: str) -> str:
    value = row.get(key)
    return "-" if value is None else plus_minus(value, row[f"{key}_low"], row[f"{key}_high"])


def _times(factor: float, value: float | None) -> float | None:
    return None if value is None else factor * value
