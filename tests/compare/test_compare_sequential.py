"""Stopping early: the boundaries against printed ones, and the error by simulation."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from outweigh.compare import sequential
from outweigh.compare.energy import log_ratio
from outweigh.compare.sequential import FIRST_LOOK, Looks
from outweigh.core.errors import InvalidQuantity


def test_four_equal_looks_have_the_boundaries_that_are_printed_for_this_spending_function(monkeypatch):
    # Printed for one-sided 0.05 by PharmCat/SeqBounds.jl (its README, bounds([0.25, 0.5, 0.75, 1.0], 0.05)): 3.74955,
    # 2.53993, 2.01604, 1.72014. Crossing the one side after the other is too rare to show at two-sided 0.10.
    monkeypatch.setattr(sequential, "FIRST_LOOK", 1)
    levels = sequential._levels.__wrapped__(4, 0.90)

    z = [stats.norm.isf((1 - level) / 2) for level in levels]

    assert z == pytest.approx([3.74955, 2.53993, 2.01604, 1.72014], abs=5e-4)


def false_alarms(rounds, trials, seed, draw):
    rng, looks = np.random.default_rng(seed), Looks(rounds)
    logs = draw(rng, (trials, rounds))
    called = np.zeros(trials, dtype=bool)
    for look in range(FIRST_LOOK, rounds + 1):
        t = logs[:, :look].mean(axis=1) / (logs[:, :look].std(axis=1, ddof=1) / np.sqrt(look))
        called |= np.abs(t) > stats.t.ppf((1 + looks.level(look)) / 2, look - 1)
    return called.mean()


@pytest.mark.parametrize("rounds", [4, 5, 8, 12, 20])
def test_looking_after_every_round_calls_one_difference_in_twenty_where_there_is_none(rounds):
    # Four standard errors of 0.05 in 20,000 trials are 0.006.
    assert false_alarms(rounds, 20_000, 7, lambda rng, n: rng.normal(size=n)) == pytest.approx(0.05, abs=0.006)


def test_scatter_with_heavy_tails_calls_no_more():
    assert false_alarms(12, 20_000, 7, lambda rng, n: rng.standard_t(3, n)) <= 0.05


def test_the_same_looks_without_spending_would_call_more_than_twice_as_many():
    rng = np.random.default_rng(7)
    logs = rng.normal(size=(5_000, 12))
    called = np.zeros(5_000, dtype=bool)
    for look in range(FIRST_LOOK, 13):
        t = logs[:, :look].mean(axis=1) / (logs[:, :look].std(axis=1, ddof=1) / np.sqrt(look))
        called |= np.abs(t) > stats.t.ppf(0.975, look - 1)
    assert called.mean() > 0.10


def stopped(looks, logs, precision):
    for look in range(2, logs.size + 1):
        ratio = log_ratio(np.exp(logs[:look]), np.ones(look))
        reason = looks.settled(ratio, precision)
        if reason:
            break
    return ratio, reason


@pytest.mark.parametrize("true", [0.0, 0.05, 0.3])
def test_the_interval_at_the_stop_covers_the_truth_as_often_as_asked_for(true):
    rng, looks, trials = np.random.default_rng(11), Looks(12), 600
    covered = 0
    for _ in range(trials):
        ratio, _ = stopped(looks, rng.normal(true, 0.1, 12), precision=0.08)
        covered += ratio.bounds(looks.level(ratio.rounds)).contains(true)
    # One-sided: it may cover more often, since most stops do not use up what may be spent.
    assert covered / trials >= 0.95 - 3 * np.sqrt(0.05 * 0.95 / trials)


def test_a_large_difference_is_decided_in_half_the_rounds_and_a_quiet_pair_is_narrow():
    rng = np.random.default_rng(3)

    large, why_large = stopped(Looks(20), rng.normal(-0.8, 0.05, 20), precision=0.001)
    quiet, why_quiet = stopped(Looks(20), rng.normal(0.0, 0.0005, 20), precision=0.02)

    assert (why_large, why_quiet) == ("decided", "narrow")
    assert large.rounds <= 10
    assert quiet.rounds <= 10


# The first call for a plan simulates it.
@settings(deadline=None, max_examples=12)
@given(rounds=st.integers(2, 16), confidence=st.sampled_from([0.9, 0.95, 0.99]))
def test_every_look_asks_for_more_than_the_whole_and_less_as_rounds_go_by(rounds, confidence):
    looks = Looks(rounds, confidence)
    levels = [looks.level(look) for look in range(1, rounds + 1)]

    assert all(confidence - 1e-9 <= level < 1 for level in levels)
    # With the error of two neighbouring looks nearly the same, the last may ask for a hair more.
    assert all(later <= earlier + 0.002 for earlier, later in itertools.pairwise(levels))


@pytest.mark.parametrize(("rounds", "confidence"), [(1, 0.95), (12, 1.0)])
def test_a_plan_without_rounds_or_with_certainty_is_refused(rounds, confidence):
    with pytest.raises(InvalidQuantity):
        Looks(rounds, confidence)
