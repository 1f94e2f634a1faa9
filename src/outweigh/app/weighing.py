"""From a sitting to a verdict, and from a verdict to a plan."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from outweigh.app.sitting import Sat, monthly_it_energy_j
from outweigh.core.budget import Period
from outweigh.core.errors import InvalidQuantity, PlanInfeasible, UsageError
from outweigh.core.intervals import Bounds, Estimate, Interval
from outweigh.core.measurement import Missing
from outweigh.core.plan import Plan
from outweigh.core.project import Project
from outweigh.core.quantities import Energy, Money
from outweigh.core.site import Site
from outweigh.core.verdict import Outcome, Verdict
from outweigh.gate import BudgetLine, Contenders, Terms, ValueTerms, weigh
from outweigh.grid import resolve_site
from outweigh.ledger import drawn
from outweigh.plan import plan_serving
from outweigh.ports import Store
from outweigh.registry import grid_sources


def sites_of(project: Project) -> tuple[Site, ...]:
    """The declared sites with every figure and its source. Raises FactorMissing."""
    if not project.sites:
        return ()
    source = grid_sources.get("tables")()
    return tuple(resolve_site(spec, source) for spec in project.sites)


def contenders_named(project: Project) -> list[str]:
    """Incumbent, proposal, anchor, then every other declared variant as an alternative; each once."""
    gate = project.gate
    if not gate.proposal:
        raise UsageError(f"{project.source} names no proposal", 'Name one: [gate] proposal = "larger"')
    first = [gate.incumbent, gate.proposal, *([gate.anchor] if gate.anchor else [])]
    return list(dict.fromkeys([*first, *(variant.name for variant in project.variants)]))


def verdict_of(sat: Sat, *, home: Site | None, store: Store, now: datetime) -> Verdict:
    """Weigh the project's proposal on the evidence of one sitting."""
    project, gate = sat.project, sat.project.gate
    evidence = sat.comparison.evidence
    apart = {gate.incumbent, gate.proposal, gate.anchor}
    contenders = Contenders(
        incumbent=evidence[gate.incumbent],
        proposal=evidence[gate.proposal],
        alternatives=tuple(one for name, one in evidence.items() if name not in apart),
        anchor=evidence[gate.anchor] if gate.anchor else None,
    )
    hardware = project.serving.hardware_price
    terms = Terms(
        spec=gate,
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
    return weigh(contenders, terms, seed=project.protocol.seed)


def facility_hum_w(sat: Sat) -> Estimate:
    """Idle draw at the facility's meter [W] with its interval at k = 2."""
    hum, pue = sat.comparison.hum, sat.facility.pue
    standard_w = (hum.standard_w**2 + (hum.power.watts * sat.doubts.hum) ** 2) ** 0.5
    value_w = hum.power.watts * pue
    return Estimate(value_w, Bounds(value_w - 2 * standard_w * pue, value_w + 2 * standard_w * pue, 0.95))


def budget_lines(project: Project, store: Store, now: datetime) -> tuple[BudgetLine, ...]:
    """Each budget with what receipts have drawn from it in the current period, and the share still ahead."""
    lines = []
    for budget in project.budgets:
        if budget.period is None:
            lines.append(BudgetLine(budget))
            continue
        period = current_period(budget.period, now)
        energy = drawn(store, budget.phase, Interval(period.start, now), project=project.name)
        ahead = (period.end - now).total_seconds() / period.seconds
        lines.append(BudgetLine(budget, energy, ahead))
    return tuple(lines)


def current_period(period: Period, now: datetime) -> Interval:
    """The calendar period in UTC that `now` falls in; weeks begin on Monday.

    >>> current_period(Period.QUARTER, datetime(2026, 11, 23, tzinfo=UTC)).start.isoformat()
    '2026-10-01T00:00:00+00:00'
    """
    day = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    if period is Period.DAY:
        return Interval(day, day + timedelta(days=1))
    if period is Period.WEEK:
        monday = day - timedelta(days=day.weekday())
        return Interval(monday, monday + timedelta(days=7))
    months = {Period.MONTH: 1, Period.QUARTER: 3, Period.YEAR: 12}[period]
    first = (day.month - 1) // months * months
    start = day.replace(month=first + 1, day=1)
    end_year, end_month = divmod(first + months, 12)
    return Interval(start, start.replace(year=start.year + end_year, month=end_month + 1))


def next_month(now: datetime) -> Interval:
    """The calendar month after the one `now` falls in, in UTC.

    >>> next_month(datetime(2026, 12, 31, tzinfo=UTC)).end.isoformat()
    '2027-02-01T00:00:00+00:00'
    """
    return current_period(Period.MONTH, current_period(Period.MONTH, now).end)


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
