"""Where to serve a model for a month: shares over sites, with a certificate."""

from __future__ import annotations

import difflib
import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from outweigh.core.errors import InvalidQuantity, UsageError
from outweigh.core.intervals import Interval
from outweigh.core.plan import Assignment, Certificate, Plan
from outweigh.core.quantities import Carbon, CarbonBasis, Energy, Money
from outweigh.core.site import Site
from outweigh.plan.noise import saving_uncertainty
from outweigh.plan.program import Program, lower_bound, solve

JOB = "serving"
METHOD = "Lagrangian dual of the capacity rows, in exact rational arithmetic; multipliers proposed by HiGHS"


def planning_pue(site: Site) -> float:
    """The worst end of the PUE curve: what else runs at the site, and so its load, is not ours to know."""
    return site.pue.worst


def plan_serving(
    sites: Sequence[Site], energy_it: Energy, interval: Interval, home: str, carbon_price_per_tonne: Money
) -> Plan:
    """Shares of continuous serving over sites that minimise money + carbon x price of carbon.

    The load is its mean over the interval; a site's capacity holds for the mean facility power (PUE included).
    The baseline is all at `home`, and where home is too small, the rest in the order the sites are given.
    A plan that saves nothing is the baseline.

    Args:
        sites: with prices in one currency and intensities of one basis and scope.
        energy_it: IT energy of the whole interval (before PUE), >= 0.
        interval: the month, longer than nothing.
        home: name of the site where it would run if nobody planned.
        carbon_price_per_tonne: >= 0, in the currency of the sites.

    Raises:
        UsageError: no site, two of one name, no such home, two currencies, two kinds of carbon.
        InvalidQuantity: negative energy, capacity or price of carbon, or an empty interval.
        PlanInfeasible: the sites cannot carry the load; says how many kW are missing.

    Example: 730 kWh in 730 h (1 kW) at PUE 1. East costs 0.10 USD/kWh at 500 g/kWh, west 0.12 at 50, home 0.20 at
    400; carbon at 100 USD/t adds 0.05, 0.005 and 0.04. West (0.125 USD/kWh) has room for 0.4 kW, east (0.15) takes
    the other 0.6: 730 x (0.4 x 0.125 + 0.6 x 0.15) = 102.2 USD.

    >>> from datetime import UTC, datetime
    >>> from outweigh.core import CarbonIntensity, Power, Price, PueCurve
    >>> def site(name: str, kw: float, usd: float, g: float) -> Site:
    ...     price, intensity = Price(usd, "USD"), CarbonIntensity(g)
    ...     return Site(name, name, PueCurve(1.0, 1.0), Power.kw(kw), intensity, price)
    >>> sites = [site("home", 9, 0.20, 400), site("east", 9, 0.10, 500), site("west", 0.4, 0.12, 50)]
    >>> month = Interval.starting(datetime(2026, 1, 1, tzinfo=UTC), 730 * 3600)
    >>> plan = plan_serving(sites, Energy.kwh(730), month, "home", Money(100, "USD"))
    >>> [(a.site, round(a.share, 9)) for a in plan.assignments], round(plan.certificate.lower_bound, 9)
    ([('east', 0.6), ('west', 0.4)], 102.2)
    """
    _check_input(sites, energy_it, home, carbon_price_per_tonne)
    work = _Work(tuple(sites), energy_it, interval, carbon_price_per_tonne)
    program = work.program()
    solution = solve(program)

    best = _Outcome.of(work, [float(share) for share in solution.shares[0, :, 0]])
    baseline = _Outcome.of(work, work.home_first(home))
    # Equal is not better: moving has costs that are not in here, so a tie stays at home.
    if baseline.objective <= best.objective + 1e-12 * abs(best.objective):
        best = baseline

    # A bound above the objective by a rounding of the shares is lowered to it: a lower bound is still a bound.
    bound = min(lower_bound(program, solution.multipliers), best.objective)
    scale = abs(best.objective) or abs(bound) or 1.0
    certificate = Certificate(
        best.objective, bound, (best.objective - bound) / scale, carbon_price_per_tonne.currency, METHOD
    )
    return Plan(
        assignments=best.assignments,
        energy=best.energy,
        cost=best.cost,
        carbon=best.carbon,
        home=home,
        baseline_cost=baseline.cost,
        baseline_carbon=baseline.carbon,
        carbon_price_per_tonne=carbon_price_per_tonne.amount,
        certificate=certificate,
        notes=_notes(work, best, baseline, home),
    )


@dataclass(frozen=True, slots=True)
class _Work:
    """What is to be served, and where it can be."""

    sites: tuple[Site, ...]
    energy_it: Energy
    interval: Interval
    carbon_price: Money

    def facility_energy(self, site: Site) -> Energy:
        return self.energy_it * planning_pue(site)

    def program(self) -> Program:
        def column(values: list[float]) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
            return np.asarray(values, dtype=np.float64).reshape(len(self.sites), 1)

        energies = [self.facility_energy(site) for site in self.sites]
        cost = [self.objective(e * s.price, e * s.intensity) for s, e in zip(self.sites, energies, strict=True)]
        power_w = [energy.per(self.interval.seconds).watts for energy in energies]
        capacity_w = [site.capacity.watts for site in self.sites]
        return Program(column(cost)[np.newaxis], column(power_w)[np.newaxis], column(capacity_w))

    def objective(self, cost: Money, carbon: Carbon) -> float:
        return cost.amount + carbon.to_tonnes() * self.carbon_price.amount

    def home_first(self, home: str) -> list[float]:
        """Shares by site, with as much as fits at home and the rest in the order the sites are given."""
        shares = [0.0] * len(self.sites)
        rest = 1.0
        for index in sorted(range(len(self.sites)), key=lambda i: self.sites[i].name != home):
            site = self.sites[index]
            power_w = self.facility_energy(site).per(self.interval.seconds).watts
            shares[index] = min(rest, site.capacity.watts / power_w) if power_w > 0 else rest
            rest -= shares[index]
        return shares


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What a set of shares comes to."""

    assignments: tuple[Assignment, ...]
    energy: Energy
    cost: Money
    carbon: Carbon
    objective: float

    @classmethod
    def of(cls, work: _Work, shares: Sequence[float]) -> _Outcome:
        assignments = []
        for site, share in zip(work.sites, shares, strict=True):
            if share > 0:
                energy = work.facility_energy(site) * share
                assignments.append(
                    Assignment(
                        JOB, site.name, work.interval, share, energy, energy * site.price, energy * site.intensity
                    )
                )
        energy = Energy(math.fsum(a.energy.joules for a in assignments))
        cost = Money(math.fsum(a.cost.amount for a in assignments), work.carbon_price.currency)
        kind = Energy(0.0) * work.sites[0].intensity
        carbon = sum((a.carbon for a in assignments), start=kind)
        return cls(tuple(assignments), energy, cost, carbon, work.objective(cost, carbon))

    def energy_at(self, site: str) -> Energy:
        return Energy(math.fsum(a.energy.joules for a in self.assignments if a.site == site))


def _check_input(sites: Sequence[Site], energy_it: Energy, home: str, carbon_price: Money) -> None:
    names = [site.name for site in sites]
    if not names:
        raise UsageError("there is no site to plan over", "Declare one under [site.NAME] in energy.toml")
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise UsageError(f"two sites are called {twice!r}", "Give every site a name of its own")
    if home not in names:
        near = difflib.get_close_matches(home, names, n=1)
        remedy = f"Did you mean {near[0]!r}?" if near else f"The sites are {', '.join(names)}"
        raise UsageError(f"no site is called {home!r}", remedy)
    if energy_it.joules < 0:
        raise InvalidQuantity(
            "energy to serve", f"{energy_it.to_kwh()} kWh", "serving draws energy, it is not negative"
        )
    if carbon_price.amount < 0:
        raise InvalidQuantity("price of carbon", str(carbon_price.amount), "give 0 or more per tonne")
    for site in sites:
        if site.capacity.watts < 0:
            raise InvalidQuantity(f"capacity of {site.name}", f"{site.capacity.watts} W", "give 0 or more")

    currencies = {carbon_price.currency: "the price of carbon"} | {s.price.currency: s.name for s in reversed(sites)}
    if len(currencies) > 1:
        which = ", ".join(f"{code} ({where})" for code, where in sorted(currencies.items()))
        raise UsageError(f"the plan mixes currencies: {which}", "Declare every price in one currency, at your own rate")
    kinds = {(s.intensity.basis, s.intensity.scope): s.name for s in reversed(sites)}
    if len(kinds) > 1:
        which = ", ".join(f"{basis}/{scope} ({where})" for (basis, scope), where in sorted(kinds.items()))
        raise UsageError(
            f"the plan mixes kinds of carbon: {which}", "Take every intensity from one source, of one basis and scope"
        )


def _notes(work: _Work, best: _Outcome, baseline: _Outcome, home: str) -> tuple[str, ...]:
    """What a reader must know before acting on the plan."""
    notes = [_saving_note(work, best, baseline)]
    away = [a for a in baseline.assignments if a.site != home]
    if away:
        fits = 1 - math.fsum(a.share for a in away)
        rest = ", ".join(a.site for a in away)
        notes.append(f"Home ({home}) has room for {fits:.0%} of the load; the baseline puts the rest at {rest}.")
    notes.append(
        "When is not planned, only where: the factors are means over a year, and the load is its mean over the month."
    )
    basis = work.sites[0].intensity.basis
    if basis is not CarbonBasis.MARGINAL:
        notes.append(
            f"Carbon is {basis}-based and an average: what each grid emits, not what moving this load would change."
        )
    vintages = _vintages(work.sites)
    if len(vintages) > 1:
        years = "; ".join(f"{year}: {', '.join(names)}" for year, names in sorted(vintages.items()))
        notes.append(f"The factors are of different years ({years}).")
    notes += [
        f"PUE of {site.name} is taken at its worst, {planning_pue(site):.2f}: its load is not known here."
        for site in work.sites
        if site.pue.idle != site.pue.full
    ]
    by_zone: dict[str, float] = defaultdict(float)
    zone_of = {site.name: site.zone for site in work.sites}
    for assignment in best.assignments:
        by_zone[zone_of[assignment.site]] += assignment.share
    by_site = math.fsum(a.share**2 for a in best.assignments)
    notes.append(
        f"Concentration (HHI, 1 is all in one place): {by_site:.2f} over sites, "
        f"{math.fsum(share**2 for share in by_zone.values()):.2f} over grid zones."
    )
    notes.append("Not considered: latency, data residency, the cost of moving, and the price of hardware.")
    return tuple(notes)


def _saving_note(work: _Work, best: _Outcome, baseline: _Outcome) -> str:
    saving = baseline.objective - best.objective
    if best is baseline:
        return "No plan is cheaper than the baseline."
    moved = {site.name: baseline.energy_at(site.name) - best.energy_at(site.name) for site in work.sites}
    sigma = saving_uncertainty(work.sites, moved, work.interval.start.year, work.carbon_price.amount)
    currency = work.carbon_price.currency
    if sigma == 0:
        return f"The saving of {saving:.3g} {currency} rests on factors whose uncertainty we do not know."
    stated = (
        f"{saving:.3g} {currency}, and the factors' own uncertainty is ± {2 * sigma:.2g} {currency} (k = 2, grade D)"
    )
    if abs(saving) <= 2 * sigma:
        return f"The saving is {stated}: a saving inside the factors' uncertainty is called noise. Stay at home."
    return f"The saving is {stated}: it is larger than that."


def _vintages(sites: Sequence[Site]) -> dict[str, list[str]]:
    """Year -> the factors of that year, by name, each once."""
    found: dict[str, dict[str, None]] = defaultdict(dict)
    for site in sites:
        for factor in site.factors:
            if factor.issued:
                found[factor.issued][factor.name] = None
    return {year: list(names) for year, names in found.items()}
