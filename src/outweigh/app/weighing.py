"""From a sitting to a verdict, and from a verdict to a plan."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from outweigh.app.factor_lock import factors_for
from outweigh.app.sitting import Sat, monthly_it_energy_j
from outweigh.compare.evidence import Evidence
from outweigh.compare.perunit import Facility, energy_per_unit
from outweigh.core.budget import Period
from outweigh.core.errors import InvalidQuantity, PlanInfeasible, UsageError
from outweigh.core.intervals import Bounds, Estimate, Interval
from outweigh.core.measurement import Missing
from outweigh.core.plan import Plan
from outweigh.core.project import Project
from outweigh.core.quantities import Energy, Money
from outweigh.core.site import Site
from outweigh.core.verdict import Outcome, Verdict
from outweigh.data.hardware import devices
from outweigh.gate import BudgetLine, Contenders, Sensitivity, Terms, ValueTerms, sensitivity, weigh
from outweigh.grid import resolve_site
from outweigh.ledger import add_up, charged
from outweigh.plan import plan_serving
from outweigh.ports import ReceiptFilter, Store


def sites_of(project: Project) -> tuple[Site, ...]:
    """The declared sites with every figure and its source; what is locked beside energy.toml wins over the tables.

    Raises FactorMissing, or ConfigError where the lock cannot be read.
    """
    if not project.sites:
        return ()
    source = factors_for(project)
    return tuple(resolve_site(spec, source) for spec in project.sites)


def contenders_named(project: Project) -> list[str]:
    """Incumbent, proposal, anchor, then every other declared variant as an alternative; each once."""
    gate = project.gate
    if not gate.proposal:
        raise UsageError(f"{project.source} names no proposal", 'Name one: [gate] proposal = "larger"')
    first = [gate.incumbent, gate.proposal, *([gate.anchor] if gate.anchor else [])]
    # What only names a device of the hardware table cannot be measured here, and is no evidence.
    here = [
        variant.name for variant in project.variants if str(dict(variant.options).get("device", "")) not in devices()
    ]
    return list(dict.fromkeys([*first, *here]))


def verdict_of(sat: Sat, terms: Terms) -> Verdict:
    """Weigh the project's proposal on the evidence of one sitting."""
    return weigh(contenders_of(sat), terms, seed=sat.project.protocol.seed)


def hangs_on(sat: Sat, terms: Terms) -> Sensitivity:
    """What the verdict would be with another eta, ceiling, or low volume."""
    return sensitivity(
        contenders_of(sat),
        terms,
        volume_low=sat.project.volume_low_per_month,
        at_volume=lambda volume: contenders_of(sat, replace(sat.facility, volume_low_per_month=volume)),
        seed=sat.project.protocol.seed,
    )


def contenders_of(sat: Sat, facility: Facility | None = None) -> Contenders:
    """Who is weighed; with another `facility`, each one's energy per unit is worked out for that."""
    gate, evidence = sat.project.gate, sat.comparison.evidence
    if facility is not None:
        evidence = {name: _served(one, sat, facility) for name, one in evidence.items()}
    apart = {gate.incumbent, gate.proposal, gate.anchor}
    return Contenders(
        incumbent=evidence[gate.incumbent],
        proposal=evidence[gate.proposal],
        alternatives=tuple(one for name, one in evidence.items() if name not in apart),
        anchor=evidence[gate.anchor] if gate.anchor else None,
    )


def _served(one: Evidence, sat: Sat, facility: Facility) -> Evidence:
    anew = energy_per_unit(
        one.work_j,
        one.units,
        one.service_s,
        hum_w=sat.comparison.hum.power.watts,
        amortised_j=one.amortised_j_per_unit * sat.facility.units_over_horizon,
        facility=facility,
    )
    return replace(
        one,
        energy_j_per_unit=anew.energy_j,
        hum_j_per_unit=float(anew.hum_j.mean()),
        amortised_j_per_unit=anew.amortised_j,
    )


def terms_of(sat: Sat, *, home: Site | None, store: Store) -> Terms:
    """What the proposal is held to."""
    project = sat.project
    hardware = project.serving.hardware_price
    return Terms(
        spec=project.gate,
        primary=project.task.primary,
        guards=project.task.guards,
        # Up to the start of this sitting: what it drew itself is the evidence, and is not held against it twice.
        budgets=budget_lines(project, store, sat.started),
        unit=project.unit,
        volume_per_month=project.volume_per_month,
        hum_w=facility_hum_w(sat),
        mix_standard=sat.doubts.ratio,
        absolute_standard=sat.doubts.absolute,
        prices=ValueTerms(
            electricity=home.price if home is not None else None,
            # Idle time is bought together with the busy time it waits between.
            hardware_per_hour=hardware / project.serving.utilisation if hardware is not None else None,
        ),
    )


def facility_hum_w(sat: Sat) -> Estimate:
    """Idle draw at the facility's meter [W] with its interval at k = 2."""
    hum, pue = sat.comparison.hum, sat.facility.pue
    standard_w = (hum.standard_w**2 + (hum.power.watts * sat.doubts.hum) ** 2) ** 0.5
    value_w = hum.power.watts * pue
    return Estimate(value_w, Bounds(value_w - 2 * standard_w * pue, value_w + 2 * standard_w * pue, 0.95))


def budget_lines(project: Project, store: Store, now: datetime) -> tuple[BudgetLine, ...]:
    """Each budget as it stands, with what receipts drew from it or its parts in the period, and the share ahead."""
    lines = []
    for declared in project.budgets:
        budget = declared.at(now)
        if budget.period is None:
            lines.append(BudgetLine(budget))
            continue
        period = budget.period.containing(now)
        so_far = Interval(period.start, now)
        receipts = store.receipts(ReceiptFilter(project=project.name, within=so_far))
        own = (receipt for _, receipt in receipts if charged(declared, project.budgets, receipt))
        lines.append(BudgetLine(budget, add_up(own, so_far).energy, (period.end - now) / (period.end - period.start)))
    return tuple(lines)


def next_month(now: datetime) -> Interval:
    """The calendar month after the one `now` falls in, in UTC.

    >>> from datetime import UTC
    >>> next_month(datetime(2026, 12, 31, tzinfo=UTC)).end.isoformat()
    '2027-02-01T00:00:00+00:00'
    """
    return Period.MONTH.containing(Period.MONTH.containing(now).end)


def variant_to_serve(verdict: Verdict) -> str:
    """Who serves next month: the proposal once it has passed, the incumbent until then."""
    return verdict.proposal if verdict.outcome is Outcome.PASS else verdict.incumbent


def plan_of(sat: Sat, verdict: Verdict, sites: Sequence[Site], now: datetime) -> Plan | Missing:
    """Next month's serving over the declared sites, or why there is no plan."""
    if not sites:
        return Missing("plan", "no site is declared; add [site.NAME] tables to energy.toml")
    energy = Energy(monthly_it_energy_j(sat, variant_to_serve(verdict)))
    # Without a declared price of carbon, money alone decides; the plan says so.
    carbon_price = sat.project.carbon_price_per_tonne or Money(0.0, sites[0].price.currency)
    try:
        return plan_serving(sites, energy, next_month(now), sites[0].name, carbon_price)
    except (PlanInfeasible, UsageError, InvalidQuantity) as err:
        # The verdict has been measured and stands without a plan.
        return Missing("plan", str(err))
