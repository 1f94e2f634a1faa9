"""Serving over sites: laws that hold for every plan, an example by hand, and what is refused."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from datetime import UTC, datetime

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from outweigh.core.errors import InvalidQuantity, PlanInfeasible, UsageError
from outweigh.core.intervals import Interval
from outweigh.core.measurement import Factor, Grade
from outweigh.core.plan import Plan
from outweigh.core.project import SiteSpec
from outweigh.core.quantities import (
    CarbonBasis,
    CarbonIntensity,
    CarbonScope,
    Energy,
    LocationCarbon,
    Money,
    Power,
    Price,
)
from outweigh.core.site import PueCurve, Site
from outweigh.grid import resolve_site
from outweigh.plan import check, plan_serving
from outweigh.registry import grid_sources

MONTH = Interval.starting(datetime(2026, 1, 1, tzinfo=UTC), 730 * 3600.0)
LOAD = Energy.kwh(730.0)  # 1 kW of IT through the month
HUNDRED = Money(100.0, "USD")


def site(name: str, kw: float, usd: float, g: float, pue: float = 1.0, **given: object) -> Site:
    """A site with its own zone; capacity [kW], price [USD/kWh], intensity [g/kWh]."""
    made = Site(name, name, PueCurve(pue, pue), Power.kw(kw), CarbonIntensity(g), Price(usd, "USD"))
    return dataclasses.replace(made, **given)  # type: ignore[arg-type]


def shares(plan: Plan) -> dict[str, float]:
    return {a.site: a.share for a in plan.assignments}


THREE = (site("home", 9.0, 0.20, 400.0), site("east", 9.0, 0.10, 500.0), site("west", 0.4, 0.12, 50.0))


# By hand, with carbon at 100 USD/t adding 0.04, 0.05 and 0.005 USD/kWh: west (0.125) is cheapest and holds 0.4 of
# the 1 kW, east (0.15) takes the rest. Money: 730 (0.4 x 0.12 + 0.6 x 0.10) = 78.84 USD; carbon: 730 (0.4 x 50 +
# 0.6 x 500) = 233.6 kg; together 102.2 USD. Home alone: 146 USD and 292 kg.
def test_three_sites_by_hand() -> None:
    plan = plan_serving(THREE, LOAD, MONTH, "home", HUNDRED)

    assert shares(plan) == pytest.approx({"west": 0.4, "east": 0.6})
    assert plan.energy.to_kwh() == pytest.approx(730.0)
    assert plan.cost.amount == pytest.approx(78.84)
    assert plan.carbon.to_kg() == pytest.approx(233.6)
    assert plan.baseline_cost.amount == pytest.approx(146.0)
    assert plan.baseline_carbon.to_kg() == pytest.approx(292.0)
    assert plan.certificate.objective == pytest.approx(102.2)
    assert plan.certificate.lower_bound == pytest.approx(102.2)
    assert plan.certificate.gap == pytest.approx(0.0, abs=1e-9)
    assert check(plan, THREE, LOAD, MONTH) == ()


def test_a_high_price_of_carbon_moves_the_load_to_the_clean_site() -> None:
    roomy = (THREE[1], site("west", 9.0, 0.12, 50.0))

    free = plan_serving(roomy, LOAD, MONTH, "east", Money(0.0, "USD"))
    priced = plan_serving(roomy, LOAD, MONTH, "east", HUNDRED)

    assert shares(free) == {"east": 1.0}
    assert shares(priced) == {"west": 1.0}


def test_pue_multiplies_energy_cost_and_the_power_that_counts_against_capacity() -> None:
    sites = (site("home", 1.0, 0.10, 0.0, pue=2.0), site("away", 9.0, 0.30, 0.0))

    plan = plan_serving(sites, LOAD, MONTH, "home", HUNDRED)

    # 1 kW at home carries 0.5 kW of IT.
    assert shares(plan) == pytest.approx({"home": 0.5, "away": 0.5})
    assert plan.energy.to_kwh() == pytest.approx(730.0 * (0.5 * 2 + 0.5))


def test_a_pue_curve_is_taken_at_its_worst_end_and_the_plan_says_so() -> None:
    sites = (dataclasses.replace(THREE[0], pue=PueCurve(1.6, 1.2)),)

    plan = plan_serving(sites, LOAD, MONTH, "home", HUNDRED)

    assert plan.energy.to_kwh() == pytest.approx(730.0 * 1.6)
    assert any("PUE of home is taken at its worst, 1.60" in note for note in plan.notes)


def test_a_home_too_small_overflows_in_the_declared_order_and_the_plan_says_so() -> None:
    sites = (site("home", 0.25, 0.10, 100.0), site("dear", 9.0, 0.50, 100.0), site("cheap", 9.0, 0.20, 100.0))

    plan = plan_serving(sites, LOAD, MONTH, "home", Money(0.0, "USD"))

    assert plan.baseline_cost.amount == pytest.approx(730 * (0.25 * 0.10 + 0.75 * 0.50))
    assert any("room for 25% of the load" in note and "dear" in note for note in plan.notes)
    assert check(plan, sites, LOAD, MONTH) == ()


def test_a_tie_stays_at_home() -> None:
    twins = (site("away", 9.0, 0.1, 100.0), site("home", 9.0, 0.1, 100.0))

    plan = plan_serving(twins, LOAD, MONTH, "home", HUNDRED)

    assert shares(plan) == {"home": 1.0}
    assert plan.notes[0] == "No plan is cheaper than the baseline."


def test_serving_nothing_costs_nothing_and_has_no_gap() -> None:
    plan = plan_serving(THREE, Energy(0.0), MONTH, "home", HUNDRED)

    assert (plan.cost.amount, plan.carbon.grams, plan.certificate.gap) == (0.0, 0.0, 0.0)
    assert check(plan, THREE, Energy(0.0), MONTH) == ()


def test_negative_prices_are_planned_like_any_other() -> None:
    sites = (site("home", 9.0, 0.10, 0.0), site("windy", 0.5, -0.02, 0.0))

    plan = plan_serving(sites, LOAD, MONTH, "home", HUNDRED)

    assert shares(plan) == pytest.approx({"home": 0.5, "windy": 0.5})
    assert check(plan, sites, LOAD, MONTH) == ()


def test_an_infeasible_load_says_how_many_kilowatts_are_missing() -> None:
    # 0.3 + 0.2 kW at PUE 1 and 2 carry 0.4 kW of IT; the other 0.6 kW need at least 0.6 kW more at the PUE 1 site.
    sites = (site("home", 0.3, 0.1, 1.0), site("away", 0.2, 0.1, 1.0, pue=2.0))

    with pytest.raises(PlanInfeasible) as caught:
        plan_serving(sites, LOAD, MONTH, "home", HUNDRED)

    assert caught.value.missing == "0.6 kW"


def test_two_currencies_are_refused_and_never_converted() -> None:
    sites = (THREE[0], dataclasses.replace(THREE[1], price=Price(0.1, "EUR")))

    with pytest.raises(UsageError, match=r"EUR \(east\), USD"):
        plan_serving(sites, LOAD, MONTH, "home", HUNDRED)
    with pytest.raises(UsageError, match="mixes currencies"):
        plan_serving(THREE, LOAD, MONTH, "home", Money(100.0, "EUR"))


@pytest.mark.parametrize(
    "other",
    [
        CarbonIntensity(10.0, CarbonBasis.MARKET),
        CarbonIntensity(10.0, CarbonBasis.MARGINAL),
        CarbonIntensity(10.0, scope=CarbonScope.DIRECT),
    ],
)
def test_two_kinds_of_carbon_are_refused(other: CarbonIntensity) -> None:
    sites = (THREE[0], dataclasses.replace(THREE[1], intensity=other))

    with pytest.raises(UsageError, match="mixes kinds of carbon"):
        plan_serving(sites, LOAD, MONTH, "home", HUNDRED)


def test_what_cannot_be_planned_is_refused_with_a_remedy() -> None:
    with pytest.raises(UsageError, match="no site to plan over"):
        plan_serving((), LOAD, MONTH, "home", HUNDRED)
    with pytest.raises(UsageError, match="two sites are called 'home'"):
        plan_serving((THREE[0], THREE[0]), LOAD, MONTH, "home", HUNDRED)
    with pytest.raises(UsageError, match="Did you mean 'east'"):
        plan_serving(THREE, LOAD, MONTH, "eats", HUNDRED)
    with pytest.raises(InvalidQuantity, match="not negative"):
        plan_serving(THREE, Energy(-1.0), MONTH, "home", HUNDRED)
    with pytest.raises(InvalidQuantity, match="price of carbon"):
        plan_serving(THREE, LOAD, MONTH, "home", Money(-1.0, "USD"))
    with pytest.raises(InvalidQuantity, match="capacity of home"):
        plan_serving((site("home", -1.0, 0.1, 1.0),), LOAD, MONTH, "home", HUNDRED)
    with pytest.raises(InvalidQuantity, match="duration"):
        plan_serving(THREE, LOAD, Interval(MONTH.start, MONTH.start), "home", HUNDRED)


# --- laws -------------------------------------------------------------------------------------------


@st.composite
def site_lists(draw: st.DrawFn) -> tuple[Site, ...]:
    count = draw(st.integers(1, 5))
    kw = st.one_of(st.just(0.0), st.floats(0.01, 3.0), st.just(7e6))
    usd, g, pue = st.floats(-0.05, 0.6), st.floats(0.0, 1300.0), st.floats(1.0, 2.5)
    return tuple(site(f"s{i}", draw(kw), draw(usd), draw(g), draw(pue)) for i in range(count))


def planned(sites: Sequence[Site], load: Energy, home: str = "s0") -> Plan:
    try:
        return plan_serving(sites, load, MONTH, home, HUNDRED)
    except PlanInfeasible:
        assume(False)
        raise


@given(sites=site_lists(), scale=st.sampled_from([1e-6, 1.0, 1e6]))
def test_every_plan_passes_the_independent_check(sites: tuple[Site, ...], scale: float) -> None:
    # The scale is the size of the load: from a model that draws a milliwatt to a fleet that draws a gigawatt.
    scaled = tuple(dataclasses.replace(s, capacity=s.capacity * scale) for s in sites)

    plan = planned(scaled, LOAD * scale)

    assert check(plan, scaled, LOAD * scale, MONTH) == ()
    # Near an objective of zero a ratio says nothing: hold the distance against what the dearest site would cost.
    dearest = max(
        abs((LOAD * scale * s.pue.full).to_kwh()) * (abs(s.price.amount_per_kwh) + s.intensity.g_per_kwh / 1e4)
        for s in sites
    )
    assert plan.certificate.objective - plan.certificate.lower_bound <= 1e-8 * dearest + 1e-300


@given(sites=site_lists())
def test_shares_conserve_the_load_and_no_site_is_over_its_capacity(sites: tuple[Site, ...]) -> None:
    plan = planned(sites, LOAD)
    by_name = {s.name: s for s in sites}

    it_j = sum(a.energy.joules / by_name[a.site].pue.full for a in plan.assignments)
    assert it_j == pytest.approx(LOAD.joules)
    for a in plan.assignments:
        assert a.energy.per(MONTH.seconds).watts <= by_name[a.site].capacity.watts * (1 + 1e-9)


@given(sites=site_lists(), which=st.integers(0, 4), more=st.floats(0.0, 2.0))
def test_more_capacity_never_costs_more(sites: tuple[Site, ...], which: int, more: float) -> None:
    grown = list(sites)
    index = which % len(sites)
    grown[index] = dataclasses.replace(grown[index], capacity=grown[index].capacity + Power.kw(more))

    before, after = planned(sites, LOAD), planned(grown, LOAD)

    assert after.certificate.objective <= before.certificate.objective + 1e-7


@given(sites=site_lists())
def test_a_plan_never_costs_more_than_its_baseline(sites: tuple[Site, ...]) -> None:
    plan = planned(sites, LOAD)

    baseline = plan.baseline_cost.amount + plan.baseline_carbon.to_tonnes() * plan.carbon_price_per_tonne
    assert plan.certificate.objective <= baseline + 1e-9 * max(1.0, abs(baseline))


@given(sites=site_lists(), order=st.randoms(use_true_random=False))
def test_neither_the_names_nor_the_order_of_the_sites_matter(sites: tuple[Site, ...], order: object) -> None:
    renamed = [dataclasses.replace(s, name=f"other-{s.name}") for s in sites]
    order.shuffle(renamed)  # type: ignore[attr-defined]

    one, two = planned(sites, LOAD), planned(renamed, LOAD, home="other-s0")

    assert two.certificate.objective == pytest.approx(one.certificate.objective, rel=1e-9, abs=1e-9)


# --- the checker ------------------------------------------------------------------------------------


def certified(plan: Plan, **changes: float) -> Plan:
    return dataclasses.replace(plan, certificate=dataclasses.replace(plan.certificate, **changes))


def test_the_checker_finds_what_a_lying_solver_would_say() -> None:
    plan = plan_serving(THREE, LOAD, MONTH, "home", HUNDRED)
    west = next(a for a in plan.assignments if a.site == "west")
    east = next(a for a in plan.assignments if a.site == "east")
    all_west = dataclasses.replace(
        west,
        share=1.0,
        energy=west.energy / west.share,
        cost=west.cost / west.share,
        carbon=west.carbon * (1 / west.share),
    )
    lies = {
        "shares sum to 0.4": dataclasses.replace(plan, assignments=(west,)),
        "over its capacity": dataclasses.replace(plan, assignments=(all_west,)),
        "not one of the sites": dataclasses.replace(plan, assignments=(dataclasses.replace(west, site="moon"),)),
        "is not energy times price": dataclasses.replace(
            plan, assignments=(west, dataclasses.replace(east, cost=Money(1.0, "USD")))
        ),
        "is not energy times intensity": dataclasses.replace(
            plan, assignments=(west, dataclasses.replace(east, carbon=LocationCarbon(1.0)))
        ),
        "the energy of the plan": dataclasses.replace(plan, energy=plan.energy * 0.9),
        "above the optimum": certified(plan, objective=200.0, lower_bound=150.0),
        "above the objective": certified(plan, lower_bound=103.0),
        "the gap": certified(plan, gap=0.5),
        "the certificate says": certified(plan, objective=100.0),
        "the baseline costs": dataclasses.replace(plan, baseline_cost=Money(500.0, "USD")),
        "the baseline emits": dataclasses.replace(plan, baseline_carbon=LocationCarbon(5.0)),
        "home, moon": dataclasses.replace(plan, home="moon"),
    }

    for fault, lie in lies.items():
        found = check(lie, THREE, LOAD, MONTH)
        assert any(fault in sentence for sentence in found), (fault, found)


# --- noise ------------------------------------------------------------------------------------------


def yearly(value: float, unit: str, year: str) -> Factor:
    return Factor(unit, value, unit, "test", year, "", "", Grade.D)


def with_factors(made: Site, year: str = "2024") -> Site:
    factors = (
        yearly(made.intensity.g_per_kwh, "gCO2e/kWh", year),
        yearly(made.price.amount_per_kwh, "USD/kWh", year),
    )
    return dataclasses.replace(made, factors=factors)


def test_a_saving_inside_the_uncertainty_of_the_factors_is_called_noise() -> None:
    sites = (with_factors(site("home", 9.0, 0.100, 400.0)), with_factors(site("away", 9.0, 0.098, 400.0)))

    plan = plan_serving(sites, LOAD, MONTH, "home", HUNDRED)

    # Two prices of 0.1 USD/kWh, each known to 11.9 % after two years, differ by 0.002: noise.
    assert "is called noise" in plan.notes[0]


def test_a_saving_far_beyond_the_uncertainty_of_the_factors_stands() -> None:
    sites = (with_factors(site("home", 9.0, 0.30, 700.0)), with_factors(site("away", 9.0, 0.06, 50.0)))

    plan = plan_serving(sites, LOAD, MONTH, "home", HUNDRED)

    assert "larger than that" in plan.notes[0]
    # Drift after two years: price 0.119; intensity 0.160, with a month's own spread 0.159; k = 2.
    money = [730 * 0.119 * p for p in (0.30, 0.06)]
    carbon = [730 * math.hypot(0.160, 0.159) * g / 1e6 * 100 for g in (700, 50)]
    assert f"± {2 * math.hypot(*money, *carbon):.2g} USD" in plan.notes[0]


def test_sites_in_one_zone_share_the_error_of_their_grid() -> None:
    # Same factors, same zone: moving between them is sure, whatever the grid does; only PUE differs.
    home = with_factors(site("home", 9.0, 0.1, 400.0, pue=1.5, zone="DE"))
    away = with_factors(site("away", 9.0, 0.1, 400.0, pue=1.1, zone="DE"))

    plan = plan_serving((home, away), LOAD, MONTH, "home", HUNDRED)

    assert "larger than that" in plan.notes[0]


def test_the_plan_says_when_its_factors_are_of_different_years() -> None:
    sites = (with_factors(THREE[0], "2022"), with_factors(THREE[1], "2024"))

    plan = plan_serving(sites, LOAD, MONTH, "home", HUNDRED)

    assert any("different years (2022" in note for note in plan.notes)


def test_a_month_over_three_sites_of_the_embedded_tables_is_planned_and_checked() -> None:
    tables = grid_sources.get("tables")()
    specs = (
        SiteSpec("virginia", "US-MIDA-PJM", Power.kw(5.0), region="aws:us-east-1"),
        SiteSpec("oregon", "US-NW-BPAT", Power.kw(5.0), region="aws:us-west-2"),
        SiteSpec("california", "US-CAL-CISO", Power.kw(5.0), region="aws:us-west-1"),
    )
    sites = tuple(resolve_site(spec, tables) for spec in specs)

    plan = plan_serving(sites, LOAD, MONTH, "california", HUNDRED)

    assert shares(plan) == {"oregon": 1.0}
    assert check(plan, sites, LOAD, MONTH) == ()
    assert any("HHI" in note for note in plan.notes)
    assert any("When is not planned" in note for note in plan.notes)
