"""Placement over months: laws, examples by hand, an independent oracle, and what is refused."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping
from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from outweigh.core.errors import InvalidQuantity, PlanInfeasible, UsageError
from outweigh.core.intervals import Interval
from outweigh.core.quantities import CarbonIntensity, CarbonScope, Energy, Money, Power, Price
from outweigh.core.site import PueCurve, Site
from outweigh.plan.placement import (
    AS_NOW,
    CHEAPEST,
    HEDGED,
    Candidate,
    Caps,
    Change,
    Grouping,
    Placement,
    Question,
    Scenario,
    Shock,
    place_load,
    verify,
)
from outweigh.plan.placement.measures import concentration, cvar
from outweigh.plan.placement.program import Group, Program, objective
from outweigh.plan.placement.proof import leaf_bound, proven_bound
from outweigh.plan.placement.scenarios import program_of
from outweigh.plan.placement.solving import Solver

YEAR = Interval(datetime(2026, 1, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC))
LOAD = Energy.kwh(8760)  # 1 kW of IT
NO_CARBON = Money(0.0, "EUR")
AS_TODAY = (Scenario("as today", 1.0),)


def site(
    name: str, eur: float, kw: float = 9.0, g: float = 0.0, opening: float = 0.0, country: str = "", provider: str = ""
) -> Candidate:
    """A candidate with a zone of its own; price [EUR/kWh], capacity [kW], intensity [g/kWh]."""
    made = Site(name, name, PueCurve(1, 1), Power.kw(kw), CarbonIntensity(g), Price(eur, "EUR"))
    return Candidate(made, country, provider, Money(opening, "EUR") if opening else None)


def ask(*candidates: Candidate, scenarios: tuple[Scenario, ...] = AS_TODAY, **given: object) -> Question:
    asked = Question(candidates, LOAD, YEAR, candidates[0].site.name, NO_CARBON, scenarios, Price(9.0, "EUR"))
    return dataclasses.replace(asked, **given)  # type: ignore[arg-type]


def shares(found: Placement, way: str = HEDGED) -> Mapping[str, float]:
    return {name: share for name, share in found.way(way).shares.items() if share > 0}


# --- examples by hand -----------------------------------------------------------------------------------


# Sarykalin, Serraino and Uryasev, VaR vs. CVaR in risk management and optimization, INFORMS Tutorials 2008: six
# scenarios of equal odds; at 2/3, CVaR = (f5 + f6) / 2; at 7/12 it splits the atom: f4 / 5 + 2 f5 / 5 + 2 f6 / 5.
@pytest.mark.parametrize(
    ("tail", "weights"), [(2 / 3, (0, 0, 0, 0, 1 / 2, 1 / 2)), (7 / 12, (0, 0, 0, 1 / 5, 2 / 5, 2 / 5))]
)
def test_cvar_of_six_scenarios_is_that_of_the_published_example(tail: float, weights: tuple[float, ...]) -> None:
    losses = np.array([100.0, 200, 400, 800, 900, 1000])

    assert cvar(losses, np.full(6, 1 / 6), tail) == pytest.approx(float(np.dot(weights, losses)))


# By hand: 8,760 kWh. Cheap costs 876 EUR, and 2,628 where its price triples (1 in 10); dear always costs 1,051.2.
# Alone, cheap comes to 1,051.2 on average, so the mean is indifferent, and the tail wants dear.
def test_a_hedge_against_a_price_shock_by_hand() -> None:
    scenarios = (Scenario("as today", 0.9), Scenario("shock", 0.1, at={"cheap": Change(price_factor=3.0)}))
    found = place_load(ask(site("cheap", 0.10), site("dear", 0.13), scenarios=scenarios, risk_weight=1.0))

    assert shares(found, CHEAPEST) == {"cheap": 1.0}
    assert shares(found, HEDGED) == pytest.approx({"dear": 1.0})
    assert found.way(CHEAPEST).expected == pytest.approx(0.9 * 876 + 0.1 * 2628)
    assert found.way(CHEAPEST).tail == pytest.approx(2628)
    assert found.way(HEDGED).expected == pytest.approx(1138.8)
    assert found.premium == pytest.approx(1138.8 / 1051.2 - 1)
    assert found.tail_cut == pytest.approx(1 - 1138.8 / 2628)
    # Knowing beforehand: cheap in nine of ten years, dear (1,138.8) in the tenth.
    assert found.perfect_information == pytest.approx(1051.2 - (0.9 * 876 + 0.1 * 1138.8))
    assert [one.regret for one in found.declared] == pytest.approx([1138.8 - 876, 0.0])


def test_a_lost_site_moves_its_load_where_there_is_room_and_the_rest_goes_unserved() -> None:
    lost = (Scenario("lost", 0.5, at={"a": Change(lost=True)}), Scenario("as today", 0.5))
    asked = ask(site("a", 0.10), site("b", 0.12, kw=0.75), scenarios=lost, moving=Money(200.0, "EUR"), risk_weight=0.0)
    found = place_load(dataclasses.replace(asked, caps=Caps(site=0.5)))

    # Half and half. With a lost, b takes a quarter for 50 EUR, and a quarter runs nowhere at 9 EUR/kWh.
    # As today, b's half would be 87.60 EUR cheaper at a, which does not pay for moving it (100 EUR).
    way = found.way(CHEAPEST)
    assert shares(found, CHEAPEST) == pytest.approx({"a": 0.5, "b": 0.5})
    assert way.scenario_cost.tolist() == pytest.approx([8760 * (0.75 * 0.12 + 0.25 * 9) + 50, 8760 * 0.11])
    assert (way.moved, way.unserved) == pytest.approx((0.125, 0.125))


def test_a_duty_to_curtail_takes_its_hours_from_the_load_that_is_there() -> None:
    duty = (Scenario("duty", 1.0, at={"a": Change(duty=0.1)}),)
    found = place_load(ask(site("a", 0.10), scenarios=duty, risk_weight=0.0))

    assert found.way(CHEAPEST).unserved == pytest.approx(0.1)
    assert found.way(CHEAPEST).expected == pytest.approx(8760 * (0.9 * 0.10 + 0.1 * 9))


def test_opening_a_site_is_paid_once_and_only_where_it_is_worth_it() -> None:
    near = ask(site("home", 0.20), site("new", 0.10, opening=800.0), risk_weight=0.0)
    far = ask(site("home", 0.20), site("new", 0.10, opening=900.0), risk_weight=0.0)

    # The new site saves 876 EUR in the year.
    assert shares(place_load(near), CHEAPEST) == {"new": 1.0}
    assert shares(place_load(far), CHEAPEST) == {"home": 1.0}
    assert place_load(near).way(CHEAPEST).opening == 800.0


def test_what_is_done_now_is_the_first_row_and_says_which_caps_it_breaks() -> None:
    asked = ask(site("a", 0.1, country="DE"), site("b", 0.2, country="FR"), caps=Caps(country=0.6))
    found = place_load(asked)

    assert found.ways[0].name == AS_NOW
    assert shares(found, AS_NOW) == {"a": 1.0}
    assert any("country DE (100% of at most 60%)" in note for note in found.notes)
    assert found.ways[0].hhi[Grouping.COUNTRY] == 1.0


def test_concentration_counts_a_country_once_and_what_is_not_known_apart() -> None:
    assert concentration([("DE", 0.25), ("DE", 0.25), ("FR", 0.5)]) == pytest.approx(0.5)
    assert concentration([("", 0.5), ("", 0.5)]) == pytest.approx(0.5)


def test_the_range_of_a_probability_ends_where_the_choice_changes() -> None:
    # By hand: cheap costs 0.10 (1 + 2 p), dear 0.13: they break even at p = 0.15.
    scenarios = (Scenario("as today", 0.95), Scenario("shock", 0.05, at={"cheap": Change(price_factor=3.0)}))
    found = place_load(ask(site("cheap", 0.10), site("dear", 0.13), scenarios=scenarios, risk_weight=0.0))

    shock = next(one for one in found.probabilities if one.of == "probability of shock")
    assert shock.low == 0.0
    assert shock.high == pytest.approx(0.15, abs=0.95 / 64)
    assert shock.beyond_high == ("dear",)


def test_sampled_shocks_are_judged_by_a_fresh_draw_too() -> None:
    many = [site(f"s{n}", 0.1 + n / 1000) for n in range(12)]
    asked = ask(*many, shocks=(Shock("price", 0.05, Change(price_factor=2.5)),), samples=500, caps=Caps(site=0.4))
    found = place_load(asked, sensitivity=False)

    assert found.scenarios == 500
    assert found.fresh is not None
    assert found.fresh == pytest.approx((found.way(HEDGED).expected, found.way(HEDGED).tail), rel=0.1)
    assert verify(found) == ()


def test_a_latin_hypercube_shocks_each_site_as_often_as_its_probability_says() -> None:
    many = [site(f"s{n}", 0.1) for n in range(12)]
    program = program_of(ask(*many, shocks=(Shock("price", 0.05, Change(price_factor=2.5)),), samples=1000))

    shocked = (program.cost > 1.5 * 876).sum(axis=0)
    assert np.all(np.abs(shocked - 50) <= 1)


def test_few_shocks_are_listed_with_their_exact_odds() -> None:
    program = program_of(ask(site("a", 0.1), site("b", 0.1), shocks=(Shock("p", 0.1, Change(price_factor=2)),)))

    assert sorted(program.probability.tolist()) == pytest.approx(sorted([0.81, 0.09, 0.09, 0.01]))


# --- laws -----------------------------------------------------------------------------------------------

_COST = st.integers(1, 200)


@st.composite
def programs(draw: st.DrawFn, most_sites: int = 4, fixed: bool = True) -> Program:
    """Small programmes with whole numbers, so that the oracle sees what the solver sees."""
    sites, scenarios = draw(st.integers(2, most_sites)), draw(st.integers(1, 5))
    shape = (scenarios, sites)

    def grid(element: st.SearchStrategy[float]) -> np.ndarray:
        flat = draw(st.lists(element, min_size=scenarios * sites, max_size=scenarios * sites))
        return np.array(flat, dtype=np.float64).reshape(shape)

    odds = np.array(draw(st.lists(st.integers(1, 9), min_size=scenarios, max_size=scenarios)), dtype=np.float64)
    opening = draw(st.lists(st.sampled_from([0, 0, 5, 40] if fixed else [0]), min_size=sites, max_size=sites))
    cap = draw(st.sampled_from([0.5, 0.75, 1.0]))
    groups = (Group("g", np.arange(sites) % 2 == 0, 0.5),) if draw(st.booleans()) else ()
    assert sites * cap >= 1
    if groups and (sites // 2) * cap < 0.5:
        groups = ()
    return Program(
        cost=grid(_COST), room=grid(st.sampled_from([0.0, 0.25, 0.5, 1.0])),
        kept=grid(st.sampled_from([0.5, 0.9, 1.0])),
        probability=odds / odds.sum(), label=np.zeros(scenarios, dtype=np.int64), cap=np.full(sites, cap),
        opening=np.array(opening, dtype=np.float64), groups=groups,
        moving=draw(st.sampled_from([None, 0.0, 7.0])), unserved=float(draw(st.integers(50, 1000))),
        risk_weight=draw(st.sampled_from([0.0, 0.3, 1.0])), tail=draw(st.sampled_from([0.5, 0.9])),
    )  # fmt: skip


@given(programs())
@settings(max_examples=60, deadline=None)
def test_no_grid_of_placements_beats_the_bound_and_none_beats_the_plan_by_more_than_the_gap(program: Program) -> None:
    solved = Solver(program).solve()

    sites = program.shape[1]
    steps = [np.array(one) / 8 for one in itertools.product(range(9), repeat=sites) if sum(one) == 8]
    allowed = [
        x for x in steps
        if np.all(x <= program.cap + 1e-9) and all(x[g.members].sum() <= g.cap + 1e-9 for g in program.groups)
    ]  # fmt: skip
    least = min(objective(program, x, np.where(program.opening > 0, x > 0, True).astype(float)) for x in allowed)
    assert proven_bound(program, solved.leaves) == pytest.approx(solved.bound, rel=1e-9)
    assert solved.bound <= least + 1e-9 * abs(least)
    assert solved.objective <= least + 2e-3 * abs(least)
    assert solved.gap <= 1.1e-3


@given(programs())
@settings(max_examples=40, deadline=None)
def test_shares_sum_to_one_and_caps_hold(program: Program) -> None:
    solved = Solver(program).solve()

    assert solved.shares.sum() == pytest.approx(1.0)
    assert np.all(solved.shares <= program.cap + 1e-7)
    assert all(solved.shares[group.members].sum() <= group.cap + 1e-7 for group in program.groups)
    assert np.all(solved.opened[solved.shares > 0] == 1)


@given(programs(), st.randoms(use_true_random=False))
@settings(max_examples=30, deadline=None)
def test_bad_multipliers_loosen_the_bound_and_never_break_it(program: Program, chance: object) -> None:
    solved = Solver(program).solve()
    rng = np.random.default_rng(int(chance.random() * 1e9))  # type: ignore[attr-defined]

    for leaf in solved.leaves:
        spoilt = dataclasses.replace(
            leaf, weights=leaf.weights * rng.uniform(0, 3, len(leaf.weights)),
            prices=leaf.prices + rng.normal(0, 50, len(leaf.prices)), share=leaf.share + rng.normal(0, 20),
            groups=leaf.groups + rng.normal(0, 20, len(leaf.groups)), count=leaf.count + rng.normal(0, 20),
        )  # fmt: skip
        root = dataclasses.replace(spoilt, closed=frozenset(), opened=frozenset())
        assert leaf_bound(program, root) <= solved.objective + 1e-9 * abs(solved.objective)


def test_a_proof_that_leaves_a_case_out_proves_nothing() -> None:
    program = program_of(ask(site("a", 0.1, opening=50.0), site("b", 0.1, opening=60.0)))
    leaf = Solver(program).solve().leaves[0]

    half = [dataclasses.replace(leaf, closed=frozenset({0}), opened=frozenset())]
    assert proven_bound(program, half) == -np.inf
    assert proven_bound(program, [*half, dataclasses.replace(leaf, opened=frozenset({0}), closed=frozenset())]) > 0
    assert proven_bound(program, []) == -np.inf


@given(programs(fixed=False), st.integers(0, 3))
@settings(max_examples=30, deadline=None)
def test_relabelling_the_sites_changes_nothing(program: Program, turn: int) -> None:
    order = np.roll(np.arange(program.shape[1]), turn)
    turned = dataclasses.replace(
        program, cost=program.cost[:, order], room=program.room[:, order], kept=program.kept[:, order],
        cap=program.cap[order], opening=program.opening[order],
        groups=tuple(Group(g.name, g.members[order], g.cap) for g in program.groups),
    )  # fmt: skip

    assert Solver(turned).solve().objective == pytest.approx(Solver(program).solve().objective, rel=1e-3)


@given(programs())
@settings(max_examples=30, deadline=None)
def test_a_looser_cap_or_one_more_site_never_costs_more(program: Program) -> None:
    here = Solver(program).solve()
    looser = Solver(dataclasses.replace(program, cap=np.ones_like(program.cap), groups=())).solve()

    def more(array: np.ndarray, value: float) -> np.ndarray:
        return np.concatenate([array, np.full((*array.shape[:-1], 1), value)], axis=-1)

    wider = dataclasses.replace(
        program, cost=more(program.cost, 30.0), room=more(program.room, 1.0), kept=more(program.kept, 1.0),
        cap=more(program.cap, 1.0), opening=more(program.opening, 0.0),
        groups=tuple(Group(g.name, np.append(g.members, False), g.cap) for g in program.groups),
    )  # fmt: skip
    assert looser.objective <= here.objective * (1 + 1e-3) + 1e-9
    assert Solver(wider).solve().objective <= here.objective * (1 + 1e-3) + 1e-9


@given(st.lists(st.floats(-100, 100), min_size=1, max_size=20), st.floats(0, 0.99))
def test_the_tail_is_never_below_the_mean_nor_above_the_worst(costs: list[float], tail: float) -> None:
    odds = np.full(len(costs), 1 / len(costs))

    found = cvar(np.array(costs), odds, tail)
    assert np.mean(costs) - 1e-9 <= found <= max(costs) + 1e-9


def test_one_certain_scenario_is_the_deterministic_plan_whatever_the_weight_of_risk() -> None:
    sites = [site("a", 0.30, kw=0.25), site("b", 0.10, kw=0.5), site("c", 0.20)]

    for weight in (0.0, 0.5, 1.0):
        found = place_load(ask(*sites, risk_weight=weight))
        assert shares(found) == pytest.approx({"b": 0.5, "c": 0.5})
        assert found.way(HEDGED).expected == pytest.approx(found.way(HEDGED).tail)
        assert found.perfect_information == pytest.approx(0.0, abs=1e-6)
        assert found.stochastic_solution == pytest.approx(0.0, abs=1e-6)


def test_the_same_question_gives_the_same_answer_twice() -> None:
    many = [site(f"s{n}", 0.1 + n / 300) for n in range(12)]
    asked = ask(*many, shocks=(Shock("p", 0.05, Change(price_factor=2.5)),), samples=200, caps=Caps(site=0.4))

    one, two = place_load(asked, sensitivity=False), place_load(asked, sensitivity=False)
    assert one.way(HEDGED).shares == two.way(HEDGED).shares


@pytest.mark.parametrize("seed", range(40))
def test_an_independent_oracle_finds_no_cheaper_plan(seed: int) -> None:
    cvxpy = pytest.importorskip("cvxpy")
    rng = np.random.default_rng(seed)
    scenarios, sites = int(rng.integers(1, 8)), int(rng.integers(3, 6))
    moving = None if seed % 3 == 0 else float(rng.uniform(0, 30))
    program = Program(
        cost=rng.uniform(-20, 200, (scenarios, sites)), room=rng.uniform(0.2, 1.0, (scenarios, sites)),
        kept=rng.uniform(0.5, 1.0, (scenarios, sites)), probability=rng.dirichlet(np.ones(scenarios)),
        label=np.zeros(scenarios, dtype=np.int64), cap=np.full(sites, 0.6), opening=np.zeros(sites),
        groups=(Group("g", np.arange(sites) == 0, 0.3),), moving=moving, unserved=400.0,
        risk_weight=float(rng.uniform(0, 1)), tail=0.8,
    )  # fmt: skip

    x, var, excess = cvxpy.Variable(sites, nonneg=True), cvxpy.Variable(), cvxpy.Variable(scenarios, nonneg=True)
    limits = [cvxpy.sum(x) == 1, x <= program.cap, x[0] <= 0.3]
    costs = []
    for s in range(scenarios):
        runs, comes = cvxpy.Variable(sites, nonneg=True), cvxpy.Variable(sites, nonneg=True)
        nowhere = cvxpy.Variable(nonneg=True)
        limits += [cvxpy.sum(runs) + nowhere == 1, runs <= cvxpy.multiply(program.kept[s], program.room[s])]
        limits += [runs <= cvxpy.multiply(program.kept[s], x) + comes, *([comes == 0] if moving is None else [])]
        costs.append(program.cost[s] @ runs + (moving or 0.0) * cvxpy.sum(comes) + program.unserved * nowhere)
        limits.append(excess[s] >= costs[s] - var)
    p, w = program.probability, program.risk_weight
    mean = sum(p[s] * costs[s] for s in range(scenarios))
    whole = (1 - w) * mean + w * (var + p @ excess / (1 - program.tail))
    least = cvxpy.Problem(cvxpy.Minimize(whole), limits).solve(solver=cvxpy.HIGHS)

    solved = Solver(program, goal_gap=1e-7).solve()
    assert solved.objective == pytest.approx(least, rel=1e-6, abs=1e-6)
    assert solved.bound <= least + 1e-6


# --- checking -------------------------------------------------------------------------------------------


def test_verify_finds_a_share_too_large_a_cost_too_low_and_a_bound_too_high() -> None:
    scenarios = (Scenario("as today", 0.9), Scenario("shock", 0.1, at={"a": Change(price_factor=3.0)}))
    found = place_load(ask(site("a", 0.1), site("b", 0.12), scenarios=scenarios, caps=Caps(site=0.6)))
    assert verify(found) == ()

    hedged = found.way(HEDGED)
    crowded = dataclasses.replace(hedged, shares={"a": 0.9, "b": 0.1})
    cheap = dataclasses.replace(hedged, expected=hedged.expected * 0.9)
    bold = dataclasses.replace(found.certificate, lower_bound=found.certificate.objective * 1.01)
    assert any("site a has 90" in one for one in verify(_with(found, crowded)))
    assert any("the expected cost is" in one for one in verify(_with(found, cheap)))
    assert any("proof gives a bound" in one for one in verify(dataclasses.replace(found, certificate=bold)))


def _with(found: Placement, way: object) -> Placement:
    return dataclasses.replace(found, ways=(*found.ways[:2], way))  # type: ignore[arg-type]


# --- what is refused ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("scenarios", "says"),
    [
        ((Scenario("a", 0.5), Scenario("b", 0.4)), "sum to 0.9"),
        ((Scenario("a", 1.0, at={"a": Change(lost=True)}),), "a is lost in every scenario"),
        ((Scenario("x", 1.0, at={"aa": Change()}),), "Did you mean 'a'"),
        ((), "there is no scenario"),
        ((Scenario("a", 1.0, carbon_price=Money(100.0, "USD")),), "two currencies do not add"),
    ],
)
def test_scenarios_that_cannot_be_are_refused(scenarios: tuple[Scenario, ...], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        ask(site("a", 0.1), site("b", 0.2), scenarios=scenarios)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Scenario("x", 1.5),
        lambda: Scenario("x", float("nan")),
        lambda: Change(price_factor=float("nan")),
        lambda: Change(duty=1.0),
        lambda: Change(capacity_left=-0.1),
        lambda: Caps(site=0.0),
        lambda: ask(site("a", 0.1), risk_weight=2.0),
        lambda: ask(site("a", 0.1), tail=1.0),
        lambda: ask(site("a", 0.1), unserved=Price(0.0, "EUR")),
        lambda: ask(site("a", 0.1), energy_it=Energy(0.0)),
    ],
)
def test_numbers_that_cannot_be_are_refused(make: object) -> None:
    with pytest.raises(InvalidQuantity):
        make()  # type: ignore[operator]


def test_a_nan_price_never_reaches_a_question() -> None:
    with pytest.raises(InvalidQuantity):
        site("a", float("nan"))


def test_caps_that_leave_load_without_a_place_say_how_much_is_missing() -> None:
    with pytest.raises(PlanInfeasible, match=r"short by 20\.00% of the load"):
        place_load(ask(site("a", 0.1), site("b", 0.1), caps=Caps(site=0.4)))


def test_direct_and_lifecycle_carbon_are_not_placed_together() -> None:
    direct = CarbonIntensity(100.0, scope=CarbonScope.DIRECT)
    other = site("b", 0.1)
    other = dataclasses.replace(other, site=dataclasses.replace(other.site, intensity=direct))

    with pytest.raises(UsageError, match="two kinds"):
        ask(site("a", 0.1), other)
