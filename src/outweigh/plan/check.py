"""An independent check of a plan: trusts neither the solver nor the arithmetic that made it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Final

from outweigh.core.intervals import Interval
from outweigh.core.plan import Plan
from outweigh.core.quantities import Energy, Money
from outweigh.core.site import Site

# Rounding of sums and the solver's own tolerance (1e-10), with room; far below anything that is printed.
_RELATIVE: Final = 1e-8


def check(plan: Plan, sites: Sequence[Site], energy_it: Energy, interval: Interval) -> tuple[str, ...]:
    """Everything that is wrong with a plan of `plan_serving`, as sentences; empty when it is sound.

    Re-adds shares, energy, money, carbon and capacity from the sites, and solves the problem again by hand: with
    one job and one step the cheapest site is filled first, then the next (the fractional knapsack of Dantzig 1957),
    so the certificate must lie between a bound below that optimum and a plan above it.
    """
    by_name = {site.name: site for site in sites}
    unknown = [a.site for a in plan.assignments if a.site not in by_name]
    if unknown:
        return tuple(f"{name} is not one of the sites" for name in unknown)
    return (
        *_assignment_faults(plan, by_name, energy_it, interval),
        *_total_faults(plan),
        *_certificate_faults(plan, sites, energy_it, interval),
    )


def _assignment_faults(plan: Plan, sites: dict[str, Site], energy_it: Energy, interval: Interval) -> Iterable[str]:
    total = math.fsum(a.share for a in plan.assignments)
    if not _close(total, 1.0, 1.0):
        yield f"the shares sum to {total!r}, not to 1"
    if len({a.site for a in plan.assignments}) < len(plan.assignments):
        yield "a site is assigned twice"
    for a in plan.assignments:
        site = sites[a.site]
        energy = energy_it * (_worst_pue(site) * a.share)
        if not 0 <= a.share <= 1 + _RELATIVE:
            yield f"{a.site}: the share {a.share!r} is not between 0 and 1"
        if a.interval != interval:
            yield f"{a.site}: the interval is not the one planned for"
        if not _close(a.energy.joules, energy.joules, energy.joules):
            yield f"{a.site}: {a.energy.joules!r} J is not the share of the energy, {energy.joules!r} J"
        cost, carbon = energy * site.price, energy * site.intensity
        if a.cost.currency != cost.currency or not _close(a.cost.amount, cost.amount, cost.amount):
            yield f"{a.site}: {a.cost} is not energy times price, {cost}"
        same_kind = (a.carbon.basis, a.carbon.scope) == (carbon.basis, carbon.scope)
        if not same_kind or not _close(a.carbon.grams, carbon.grams, carbon.grams):
            yield f"{a.site}: {a.carbon} is not energy times intensity, {carbon}"
        if a.energy.joules > site.capacity.watts * interval.seconds * (1 + _RELATIVE):
            mean = a.energy.per(interval.seconds)
            yield f"{a.site}: draws {mean.watts!r} W on average, over its capacity of {site.capacity.watts!r} W"


def _total_faults(plan: Plan) -> Iterable[str]:
    sums = (
        ("energy", plan.energy.joules, [a.energy.joules for a in plan.assignments]),
        ("cost", plan.cost.amount, [a.cost.amount for a in plan.assignments]),
        ("carbon", plan.carbon.grams, [a.carbon.grams for a in plan.assignments]),
    )
    for name, total, parts in sums:
        if not _close(total, math.fsum(parts), math.fsum(map(abs, parts))):
            yield f"the {name} of the plan is {total!r}, its assignments sum to {math.fsum(parts)!r}"


def _certificate_faults(plan: Plan, sites: Sequence[Site], energy_it: Energy, interval: Interval) -> Iterable[str]:
    stated, price = plan.certificate, plan.carbon_price_per_tonne
    objective = plan.cost.amount + plan.carbon.to_tonnes() * price
    unit = {s.name: _unit_cost(s, energy_it, price) for s in sites}
    size = max(map(abs, unit.values()))

    cheapest = sorted(sites, key=lambda s: unit[s.name])
    optimum = math.fsum(share * unit[name] for name, share in _fill(cheapest, energy_it, interval).items())
    if stated.currency != plan.cost.currency or not _close(stated.objective, objective, size):
        yield f"the certificate says {stated.objective!r} {stated.currency}, the plan comes to {objective!r}"
    if stated.lower_bound > stated.objective:
        yield f"the lower bound {stated.lower_bound!r} is above the objective {stated.objective!r}"
    if stated.lower_bound > optimum + _RELATIVE * size:
        yield f"the lower bound {stated.lower_bound!r} is above the optimum {optimum!r}"
    if objective < optimum - _RELATIVE * size:
        yield f"the plan comes to {objective!r}, below the optimum {optimum!r}"
    scale = abs(stated.objective) or abs(stated.lower_bound) or 1.0
    if not _close(stated.gap, (stated.objective - stated.lower_bound) / scale, 1.0):
        yield f"the gap {stated.gap!r} is not the distance of objective and bound"

    by_name = {site.name: site for site in sites}
    if plan.home not in by_name:
        yield f"home, {plan.home}, is not one of the sites"
        return
    home_first = [by_name[plan.home], *(site for site in sites if site.name != plan.home)]
    shares = _fill(home_first, energy_it, interval)
    facility = {name: energy_it * (_worst_pue(by_name[name]) * share) for name, share in shares.items()}
    cost = math.fsum((energy * by_name[name].price).amount for name, energy in facility.items())
    grams = math.fsum((energy * by_name[name].intensity).grams for name, energy in facility.items())
    if not _close(plan.baseline_cost.amount, cost, cost):
        yield f"the baseline costs {cost!r}, not {plan.baseline_cost.amount!r}"
    if not _close(plan.baseline_carbon.grams, grams, grams):
        yield f"the baseline emits {grams!r} g, not {plan.baseline_carbon.grams!r} g"


def _fill(order: Sequence[Site], energy_it: Energy, interval: Interval) -> dict[str, float]:
    """Shares when each site in turn takes as much as fits."""
    rest, shares = 1.0, {}
    for site in order:
        full_j = energy_it.joules * _worst_pue(site)
        shares[site.name] = rest if full_j == 0 else min(rest, site.capacity.watts * interval.seconds / full_j)
        rest -= shares[site.name]
    return shares


def _unit_cost(site: Site, energy_it: Energy, carbon_price: float) -> float:
    facility = energy_it * _worst_pue(site)
    return (
        facility * site.price + Money(carbon_price, site.price.currency) * (facility * site.intensity).to_tonnes()
    ).amount


def _worst_pue(site: Site) -> float:
    return max(site.pue.idle, site.pue.full)


def _close(a: float, b: float, size: float) -> bool:
    return abs(a - b) <= _RELATIVE * abs(size) + 1e-300
