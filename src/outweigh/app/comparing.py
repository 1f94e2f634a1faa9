"""`compare`, `shrink` and `plan`: the parts of a review one can ask for alone."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from outweigh.app.review import comparison_of, with_rounds
from outweigh.app.sitting import Progress, Sat, silent, sit
from outweigh.app.weighing import next_month, sites_of
from outweigh.compare.frontier import Point, dominated_by
from outweigh.config import load_project
from outweigh.core.errors import UsageError
from outweigh.core.project import Project, VariantSpec
from outweigh.core.quantities import Energy, Money
from outweigh.core.rounding import plus_minus, si, significant
from outweigh.core.units import parse_energy
from outweigh.ledger import default_path, open_ledger
from outweigh.plan import plan_serving
from outweigh.registry import levers as lever_registry
from outweigh.report.figures import energy_interval, latency_figures, score_interval
from outweigh.shrink import break_even_units

COLUMNS = ("variant", "quality", "J per unit", "against the first", "p95", "grade", "pays off after", "dominated by")


@dataclass(frozen=True, slots=True, eq=False)
class Compared:
    """Rows with full figures for programs (unit in the key), and notes for people."""

    rows: list[dict[str, Any]]
    notes: list[str]


def compare(
    project_path: Path, names: Sequence[str] = (), *, ledger: Path | str | None = None, meter: str | None = None,
    rounds: int | None = None, progress: Progress = silent,
) -> Compared:  # fmt: skip
    """Measure variants against each other; all declared ones without names."""
    project = with_rounds(load_project(project_path), rounds)
    chosen = list(dict.fromkeys(names)) or [variant.name for variant in project.variants]
    return _compared(_sat(project, chosen, ledger, meter, progress))


def shrink(
    project_path: Path, name: str, lever_names: Sequence[str] = (), *, ledger: Path | str | None = None,
    meter: str | None = None, rounds: int | None = None, progress: Progress = silent,
) -> Compared:  # fmt: skip
    """Make one variant per lever from `name` and measure them against it.

    Raises:
        UnknownBackend: no lever has that name.
        UsageError: no lever is usable here.
    """
    project = with_rounds(load_project(project_path), rounds)
    if name not in [variant.name for variant in project.variants]:
        known = ", ".join(variant.name for variant in project.variants)
        raise UsageError(f"{project.source} declares no variant {name!r}", f"It declares: {known}")
    usable = [lever for lever in lever_registry.names() if lever_registry.get(lever).probe().usable]
    chosen = list(dict.fromkeys(lever_names)) or usable
    for lever in chosen:
        lever_registry.get(lever)
    if not chosen:
        raise UsageError("no lever is usable here", "`outweigh doctor` says why not for each")
    new = tuple(VariantSpec(f"{name}+{lever}", parent=name, levers=(lever,)) for lever in chosen)
    project = replace(project, variants=(*project.variants, *new))
    return _compared(_sat(project, [name, *(spec.name for spec in new)], ledger, meter, progress))


def _sat(
    project: Project, names: Sequence[str], ledger: Path | str | None, meter: str | None, progress: Progress
) -> Sat:
    sites = sites_of(project)
    store = open_ledger(ledger if ledger is not None else default_path(Path(project.root)))
    try:
        return sit(project, names, home=sites[0] if sites else None, store=store, meter=meter, progress=progress)
    finally:
        store.close()


def _compared(sat: Sat) -> Compared:
    project, evidence = sat.project, sat.comparison.evidence
    primary, confidence = project.task.primary.metric, project.gate.confidence
    first = next(iter(evidence.values()))
    beaten = {d.name: d for d in dominated_by([Point.of(one, primary) for one in evidence.values()])}
    applying = {made.variant.name: made.applying for made in sat.made}
    reused = {made.variant.name: made.reused for made in sat.made}
    rows: list[dict[str, Any]] = []
    notes = []
    for name, one in evidence.items():
        quality = score_interval(one.scores[primary], confidence)
        energy = energy_interval(one.energy_j_per_unit, confidence, sat.doubts.absolute)
        latency = latency_figures(one.latency_ms, confidence)
        against = comparison_of(sat, one, first) if one is not first else None
        lever = None if reused[name] else applying[name]
        if reused[name]:
            notes.append(f"{name}: its artefact lay there from an earlier run, so what applying took is not known here")
        saving_j = (first.work_j_per_unit + first.hum_j_per_unit) - (one.work_j_per_unit + one.hum_j_per_unit)
        pays = None
        if lever is not None and against is not None:
            spent = Energy(lever.total.value.joules * sat.facility.pue)
            pays = break_even_units(spent, Energy(saving_j))
        rows.append(
            {
                "variant": name,
                "metric": primary,
                "quality": one.metric(primary),
                "quality_low": quality["low"],
                "quality_high": quality["high"],
                "n_items": int(one.items.size),
                "energy_j_per_unit": energy["value"],
                "energy_j_per_unit_low": energy["absolute_low"],
                "energy_j_per_unit_high": energy["absolute_high"],
                "energy_j_per_unit_scatter_low": energy["low"],
                "energy_j_per_unit_scatter_high": energy["high"],
                "work_j_per_unit": one.work_j_per_unit,
                "hum_j_per_unit": one.hum_j_per_unit,
                "amortised_j_per_unit": one.amortised_j_per_unit,
                "energy_ratio": against.energy_ratio.value if against else 1.0,
                "energy_ratio_low": against.energy_ratio.bounds.low if against else None,
                "energy_ratio_high": against.energy_ratio.bounds.high if against else None,
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
                "dominated_by": beaten[name].by if name in beaten else None,
                "receipts": list(one.receipts),
            }
        )
        if against is not None:
            notes.append(against.statement)
        if name in beaten:
            notes.append(beaten[name].reason)
    whole = sat.whole.total
    notes.append(
        f"energy is {whole.method}, grade {whole.grade}: {sat.meter.source}; finding out drew "
        f"{si(whole.value.joules, 'J', whole.bounds_j.half_width)}"
    )
    return Compared(rows, notes)


def compared_rows(done: Compared) -> list[tuple[str, ...]]:
    """The rows as people read them."""
    return [
        (
            str(row["variant"]),
            f"{plus_minus(100 * row['quality'], _times(100, row['quality_low']), _times(100, row['quality_high']))} %",
            plus_minus(row["energy_j_per_unit"], row["energy_j_per_unit_low"], row["energy_j_per_unit_high"]),
            "-" if row["energy_ratio_low"] is None
            else f"x {plus_minus(row['energy_ratio'], row['energy_ratio_low'], row['energy_ratio_high'])}",
            f"{significant(row['p95_latency_ms'])} ms",
            f"{row['grade']} ({row['method']})",
            "never" if row["never_pays"] else "-" if row["break_even_units"] is None
            else f"{significant(math.ceil(row['break_even_units']))} units",
            row["dominated_by"] or "-",
        )
        for row in done.rows
    ]  # fmt: skip


def _times(factor: float, value: float | None) -> float | None:
    return None if value is None else factor * value


@dataclass(frozen=True, slots=True, eq=False)
class PlannedMonth:
    """A plan as JSON, as table rows, and its notes."""

    document: Mapping[str, Any]
    rows: list[tuple[str, ...]]
    notes: list[str]


def plan_month(project_path: Path, energy: str) -> PlannedMonth:
    """Plan next month's serving of so much IT energy ("20 MWh") over the project's sites."""
    project = load_project(project_path)
    sites = sites_of(project)
    if not sites:
        raise UsageError(f"{project.source} declares no site", "Add [site.NAME] tables to it")
    carbon_price = project.carbon_price_per_tonne or Money(0.0, sites[0].price.currency)
    plan = plan_serving(sites, parse_energy(energy), next_month(datetime.now(UTC)), sites[0].name, carbon_price)
    certificate = plan.certificate
    document = {
        "home": plan.home,
        "assignments": [
            {
                "site": a.site, "share": a.share, "energy_kwh": a.energy.to_kwh(), "cost": a.cost.amount,
                "currency": a.cost.currency, "carbon_kg": a.carbon.to_kg(), "carbon_basis": a.carbon.basis.value,
                "carbon_scope": a.carbon.scope.value,
            }
            for a in plan.assignments
        ],
        "cost": plan.cost.amount,
        "currency": plan.cost.currency,
        "carbon_kg": plan.carbon.to_kg(),
        "baseline_cost": plan.baseline_cost.amount,
        "baseline_carbon_kg": plan.baseline_carbon.to_kg(),
        "carbon_price_per_tonne": plan.carbon_price_per_tonne,
        "certificate": {
            "objective": certificate.objective, "lower_bound": certificate.lower_bound, "gap": certificate.gap,
            "currency": certificate.currency, "method": certificate.method,
        },
        "factors": [
            {"site": site.name, "name": f.name, "value": f.value, "unit": f.unit, "source": f.source,
             "issued": f.issued, "retrieved": f.retrieved, "licence": f.licence, "grade": f.grade.value}
            for site in sites for f in site.factors
        ],
        "notes": list(plan.notes),
    }  # fmt: skip
    rows: list[tuple[str, ...]] = [
        (
            a.site, f"{100 * a.share:.1f} %", si(a.energy.to_wh(), "Wh"),
            f"{significant(a.cost.amount)} {a.cost.currency}", f"{significant(a.carbon.to_kg())} kg",
        )
        for a in plan.assignments
    ]  # fmt: skip
    notes = [
        f"all at {plan.home}: {significant(plan.baseline_cost.amount)} {plan.cost.currency}, "
        f"{significant(plan.baseline_carbon.to_kg())} kg",
        f"certificate: no plan costs less than {significant(certificate.lower_bound)} {certificate.currency} "
        f"(gap {certificate.gap:.2%}); {certificate.method}",
        *plan.notes,
    ]
    return PlannedMonth(document, rows, notes)
