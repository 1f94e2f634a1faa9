"""`compare`, `shrink` and `plan`: the parts of a review one can ask for alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from outweigh.app.compared import COLUMNS, Compared, compared_of, compared_rows, energy_columns, energy_rows
from outweigh.app.keeping import keep_sitting
from outweigh.app.projecting import PROJECTED_COLUMNS, apart, projected_rows, projections, without
from outweigh.app.review import with_rounds
from outweigh.app.sitting import Progress, Sat, silent, sit
from outweigh.app.sweeping import SWEEP_COLUMNS, parse_sweep, swept, with_elasticity
from outweigh.app.weighing import next_month, sites_of
from outweigh.config import load_project
from outweigh.core.errors import UsageError
from outweigh.core.project import Project, VariantSpec
from outweigh.core.quantities import Money
from outweigh.core.rounding import si, significant
from outweigh.core.units import parse_energy, parse_share
from outweigh.data.hardware import device
from outweigh.ledger import default_path, open_ledger
from outweigh.plan import plan_serving
from outweigh.registry import levers as lever_registry
from outweigh.shrink import usable_levers

__all__ = [
    "COLUMNS", "PROJECTED_COLUMNS", "SWEEP_COLUMNS", "Compared", "PlannedMonth", "compare", "compared_rows",
    "energy_columns", "energy_rows",
    "plan_month", "projected_rows", "shrink",
]  # fmt: skip


def compare(
    project_path: Path, names: Sequence[str] = (), *, ledger: Path | str | None = None, meter: str | None = None,
    rounds: int | None = None, progress: Progress = silent, sweep: str = "", precision: str = "",
    allow_device_settings: bool = False, devices: Sequence[str] = (),
) -> Compared:  # fmt: skip
    """Measure variants against each other; all declared ones without names.

    Args:
        sweep: "batch=1,2,4,8" turns an option of the one variant named; "bytes" or an option's name fits the exponent
            over variants that differ in it.
        precision: stop early once every energy ratio is decided or known to within this share ("2%"); the project's by
            default.
        allow_device_settings: whether levers may change settings of a device while their variant runs.
        devices: of the hardware table, such as "nvidia-l4"; each measured variant is projected on each.

    Raises:
        OutweighError: with the exit code and remedy of what went wrong. What was measured before is in the ledger.
    """
    project = with_rounds(load_project(project_path), rounds)
    for key in devices:
        device(key)
    if precision:
        project = replace(project, protocol=replace(project.protocol, precision=parse_share(precision)))
    chosen = list(dict.fromkeys(names)) or [variant.name for variant in project.variants]
    chosen, elsewhere = apart(_declaring(project, chosen), chosen)
    project = without(project, elsewhere)
    turned = parse_sweep(sweep) if sweep else None
    if turned is not None:
        project, chosen = swept(_declaring(project, chosen), chosen, turned)
    sat = _sat(project, chosen, ledger, meter, progress, allow_device_settings)
    done = compared_of(sat)
    projected, said = projections(sat, elsewhere, devices)
    done = replace(done, projected=projected, notes=[*done.notes, *said])
    return done if turned is None else with_elasticity(done, sat, turned)


def shrink(
    project_path: Path, name: str, lever_names: Sequence[str] = (), *, ledger: Path | str | None = None,
    meter: str | None = None, rounds: int | None = None, progress: Progress = silent,
    allow_device_settings: bool = False,
) -> Compared:  # fmt: skip
    """Make one variant per lever from `name` and measure them against it.

    A lever may take an argument ("batch:8"). Levers that are named are tried or refused; of all of them, those that do
    not apply here are left out and named.

    Raises:
        UnknownBackend: no lever has that name.
        UsageError: no lever is usable here.
    """
    project = _declaring(with_rounds(load_project(project_path), rounds), [name])
    chosen = list(dict.fromkeys(lever_names)) or list(usable_levers())
    for lever in chosen:
        lever_registry.named(lever)
    if not chosen:
        raise UsageError("no lever is usable here", "`outweigh doctor` says why not for each")
    new = tuple(VariantSpec(f"{name}+{lever}", parent=name, levers=(lever,)) for lever in chosen)
    project = replace(project, variants=(*project.variants, *new))
    sat = _sat(project, [name, *(spec.name for spec in new)], ledger, meter, progress, allow_device_settings)
    return compared_of(sat)


def _declaring(project: Project, names: Sequence[str]) -> Project:
    """The project, which declares all of these. Raises UsageError."""
    declared = [variant.name for variant in project.variants]
    for name in names:
        if name not in declared:
            raise UsageError(f"{project.source} declares no variant {name!r}", f"It declares: {', '.join(declared)}")
    return project


def _sat(
    project: Project, names: Sequence[str], ledger: Path | str | None, meter: str | None, progress: Progress,
    allow_device_settings: bool,
) -> Sat:  # fmt: skip
    sites = sites_of(project)
    where = ledger if ledger is not None else default_path(Path(project.root))
    store = open_ledger(where)
    try:
        sat = sit(
            project,
            names,
            home=sites[0] if sites else None,
            store=store,
            meter=meter,
            progress=progress,
            allow_device_settings=allow_device_settings,
        )
    finally:
        store.close()
    return keep_sitting(where, sat)


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
