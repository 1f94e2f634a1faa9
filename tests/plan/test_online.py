"""Pausing and resuming with prices that come one by one: published ratios, kept against whatever comes."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.special import lambertw

from outweigh.core.errors import InvalidQuantity, PlanInfeasible
from outweigh.plan.online import PauseResume, Player, cheapest, cost_of, play

unhurried = settings(deadline=None)
ROOM = 1 + 1e-9  # for the rounding of sums


@st.composite
def problems(draw):
    low = draw(st.sampled_from([0.5, 1.0, 4.0]))
    high = low * draw(st.sampled_from([1.0, 1.5, 3.0, 10.0, 60.0]))
    switch = (high - low) * draw(st.sampled_from([0.0, 0.1, 0.4, 0.9, 1.3]))
    first = draw(st.sampled_from([0.0, switch]))
    return PauseResume(draw(st.integers(1, 5)), low, high, switch, first)


def near_the_thresholds(player, picks, low, high, switch):
    """Prices an adversary would choose: the bounds, and what is just taken or just not."""
    reserve = player._reserve(player._taken, player.cost) if player.done < player.problem.steps else low
    edge = 1e-9 * high
    choices = (low, high, reserve - edge, reserve + edge, reserve + switch - edge, reserve + switch + edge)
    return min(max(choices[picks % 6], low), high)


def optimum(problem, prices):
    prices = np.array(prices)
    return cost_of(problem, prices, cheapest(problem, prices))


# --- published figures ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("low", "high"), [(1.0, 4.0), (2.0, 50.0)])
def test_one_step_is_searched_at_the_square_root_of_the_bounds(low, high):
    # El-Yaniv et al., Algorithmica 30, 2001: reservation price sqrt(mM), ratio sqrt(M/m)
    problem = PauseResume(1, low, high)

    assert problem.ratio == pytest.approx(math.sqrt(high / low))
    assert Player(problem).decide(math.sqrt(low * high) * 0.999, left=5)
    assert not Player(problem).decide(math.sqrt(low * high) * 1.001, left=5)


@pytest.mark.parametrize("theta", [2.0, 10.0, 100.0])
def test_many_steps_are_searched_at_the_limit_of_k_min_search(theta):
    # Lorenz, Panagiotou, Steger, Algorithmica 55, 2009: for k to infinity, 1 / (1 + W((1/theta - 1) / e))
    limit = 1 / (1 + lambertw((1 / theta - 1) / math.e).real)

    assert PauseResume(100_000, 1.0, theta).ratio == pytest.approx(limit, rel=1e-4)


@pytest.mark.parametrize(("k", "switch"), [(1, 1.0), (2, 1.0), (3, 2.0), (8, 0.5)])
def test_the_ratio_solves_the_published_equation(k, switch):
    # Lechowicz et al., Proc. ACM Meas. Anal. Comput. Syst. 7(3), 2023, section 3, with 2 beta = switch
    low, high = 2.0, 10.0
    alpha = PauseResume(k, low, high, switch, switch).ratio
    below = high * (1 - 1 / alpha) - switch * (1 - 1 / k + 1 / (k * alpha))

    assert (high - low - switch) / below == pytest.approx((1 + 1 / (k * alpha)) ** k)


def test_the_first_thresholds_are_the_published_ones():
    # Section 3: l_1 = U/alpha + 2 beta (1/(k alpha) - 1/k), then d_i+1 = d_i (1 + 1/(k alpha)), d = U - 2 beta - l
    k, low, high, switch = 4, 1.0, 10.0, 1.0
    problem = PauseResume(k, low, high, switch, switch)
    alpha = problem.ratio
    first = high / alpha + switch * (1 / (k * alpha) - 1 / k)
    player = Player(problem)

    for i in range(k):
        published = high - switch - (high - switch - first) * (1 + 1 / (k * alpha)) ** i
        assert player._reserve(player._taken, player.cost) == pytest.approx(published)
        player.running = False  # every step after a pause, at its threshold: the published worst case
        assert player.decide(published, left=100)


def test_thresholds_set_in_advance_lose_the_ratio_that_is_stated_for_them():
    # k = 2, prices within 1 to 10: after a first price of 1 the second threshold is 2.327, whatever was paid.
    problem = PauseResume(2, 1.0, 10.0)
    alpha = problem.ratio
    second = 10 - 10 * (1 - 1 / alpha) * (1 + 1 / (2 * alpha))
    prices = np.array([1.0, second + 1e-6, 10.0])
    in_advance = np.array([True, False, True])

    assert cost_of(problem, prices, in_advance) / optimum(problem, prices) > 1.1 * alpha
    assert play(problem, prices).cost / optimum(problem, prices) <= alpha * ROOM


# --- the guarantee --------------------------------------------------------------------------------------


@unhurried
@given(problems(), st.lists(st.integers(0, 5), min_size=5, max_size=10), st.floats(0, 1), st.data())
def test_the_cost_is_within_the_target_of_the_optimum_whatever_comes_and_whatever_is_wished(
    problem, picks, trust, data
):
    player, prices = Player(problem, trust), []
    for t, pick in enumerate(picks):
        prices.append(near_the_thresholds(player, pick, problem.low, problem.high, problem.switch))
        player.decide(prices[-1], len(picks) - t, data.draw(st.sampled_from([None, True, False])))

    assert player.done == problem.steps
    assert player.cost <= player.target * optimum(problem, prices) * ROOM


@unhurried
@given(problems(), st.lists(st.integers(0, 5), min_size=5, max_size=12))
def test_without_a_forecast_the_cost_is_within_the_competitive_ratio(problem, picks):
    player, prices = Player(problem), []
    for t, pick in enumerate(picks):
        prices.append(near_the_thresholds(player, pick, problem.low, problem.high, problem.switch))
        player.decide(prices[-1], len(picks) - t)

    assert player.cost <= problem.ratio * optimum(problem, prices) * ROOM


@unhurried
@given(problems(), st.lists(st.floats(0, 1), min_size=5, max_size=9))
def test_full_trust_in_a_forecast_that_comes_true_is_the_optimum(problem, shares):
    prices = problem.low + (problem.high - problem.low) * np.array(shares)

    played = play(problem, prices, trust=1, forecast=lambda t: prices[t + 1 :])

    assert played.cost == pytest.approx(optimum(problem, prices))


@unhurried
@given(problems(), st.lists(st.floats(0, 1), min_size=5, max_size=9), st.integers(0, 8))
def test_what_comes_later_changes_nothing_before(problem, shares, moment):
    prices = problem.low + (problem.high - problem.low) * np.array(shares)
    moment = min(moment, len(prices) - 1)
    other = prices.copy()
    other[moment + 1 :] = problem.high + problem.low - prices[moment + 1 :]

    one, two = play(problem, prices), play(problem, other)

    assert one.runs[: moment + 1].tolist() == two.runs[: moment + 1].tolist()


@unhurried
@given(problems(), st.lists(st.floats(0, 1), min_size=5, max_size=8))
@example(PauseResume(2, 1.0, 10.0, 4.0, 0.0), [0.1, 0.2, 0.0, 0.9, 0.05])
def test_the_dynamic_programme_finds_what_trying_all_finds(problem, shares):
    prices = problem.low + (problem.high - problem.low) * np.array(shares)
    best = math.inf
    for steps in itertools.combinations(range(len(prices)), problem.steps):
        runs = np.isin(np.arange(len(prices)), steps)
        best = min(best, cost_of(problem, prices, runs))

    assert optimum(problem, prices) == pytest.approx(best)


@unhurried
@given(problems())
def test_more_trust_promises_less(problem):
    targets = [problem.target(trust) for trust in (0, 0.25, 0.5, 1)]

    assert targets == pytest.approx(sorted(targets))
    assert targets[0] == problem.ratio


def test_a_run_that_cannot_pause_for_less_than_it_could_save_runs_through():
    problem = PauseResume(3, 1.0, 2.0, switch=5.0)

    played = play(problem, np.array([2.0, 2.0, 2.0, 1.0, 1.0, 1.0]))

    assert played.runs.tolist() == [True] * 3 + [False] * 3
    assert played.target == 2.0


# --- what is refused ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "given_", [{"steps": 0}, {"low": 0.0}, {"low": -1.0}, {"high": 0.5}, {"high": math.inf}, {"switch": -1.0}]
)
def test_a_problem_without_a_bounded_ratio_is_refused(given_):
    with pytest.raises(InvalidQuantity):
        PauseResume(**{"steps": 2, "low": 1.0, "high": 2.0} | given_)


def test_a_price_beyond_the_bounds_is_refused_since_the_guarantee_rests_on_them():
    with pytest.raises(InvalidQuantity, match="widen the bounds"):
        Player(PauseResume(2, 1.0, 2.0)).decide(2.5, left=4)


@pytest.mark.parametrize("trust", [-0.1, 1.1, math.nan])
def test_trust_is_a_share(trust):
    with pytest.raises(InvalidQuantity, match="trust"):
        Player(PauseResume(2, 1.0, 2.0), trust)


def test_too_few_steps_are_said_to_be_too_few():
    with pytest.raises(PlanInfeasible, match="1 steps"):
        Player(PauseResume(3, 1.0, 2.0)).decide(1.0, left=2)
    with pytest.raises(PlanInfeasible, match="2 steps"):
        cheapest(PauseResume(3, 1.0, 2.0), np.array([1.0]))
