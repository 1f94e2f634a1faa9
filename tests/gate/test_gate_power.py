import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

from outweigh.core.errors import InvalidQuantity
from outweigh.gate.power import (
    Spread,
    gain_standard_error,
    items_for_gain,
    more_items,
    more_rounds,
    smallest_gain,
)


def test_gain_standard_error_is_what_simulated_pairs_scatter_by():
    # Two variants that err on 20 % of 2,000 items and share 45 % of the correlation that identical errors would have.
    n, error, correlation = 2000, 0.2, 0.45
    both_wrong = error * error + correlation * error * (1 - error)
    one_wrong = error - both_wrong
    rng = np.random.default_rng(1)
    counts = rng.multinomial(n, [1 - both_wrong - 2 * one_wrong, one_wrong, one_wrong, both_wrong], 20_000)
    g = np.log(counts[:, 1] + counts[:, 3]) - np.log(counts[:, 2] + counts[:, 3])

    assert np.std(g) == pytest.approx(gain_standard_error(n, error, correlation), rel=0.02)


def test_items_for_gain_is_the_inverse_of_smallest_gain():
    n = items_for_gain(0.08, 0.1, correlation=0.6)

    assert smallest_gain(n, 0.1, correlation=0.6) <= 0.08 < smallest_gain(n - 1, 0.1, correlation=0.6)


@given(n=st.integers(10, 100_000), error=st.floats(0.01, 0.9), correlation=st.floats(0, 0.95))
def test_more_items_detect_smaller_gains(n, error, correlation):
    assert smallest_gain(2 * n, error, correlation=correlation) < smallest_gain(n, error, correlation=correlation)


@pytest.mark.parametrize(("n", "error", "correlation"), [(0, 0.2, 0.5), (10, 0.0, 0.5), (10, 1.0, 0.5), (10, 0.2, 1.0)])
def test_power_refuses_what_cannot_be(n, error, correlation):
    with pytest.raises(InvalidQuantity):
        gain_standard_error(n, error, correlation)


def test_more_items_settle_a_part_at_the_number_where_its_bound_reaches_the_threshold():
    gap, spread, n = 0.05, Spread(items=0.002, rounds=1e-5), 500

    more = more_items(gap, spread, n, 0.05)

    def bound(total):
        return gap - norm.isf(0.05) * math.sqrt(spread.items * n / total + spread.rounds)

    assert more is not None
    assert bound(n + more) >= 0 > bound(n + more - 1)


def test_no_number_of_items_settles_what_the_meter_leaves_open():
    assert more_items(0.05, Spread(items=0.002, fixed=0.01), 500, 0.05) is None
    assert more_rounds(0.05, Spread(items=0.002, rounds=0.1, fixed=0.01), 5, 0.05) is None


def test_an_estimate_on_the_threshold_is_settled_by_nothing():
    assert more_items(0.0, Spread(items=0.002), 500, 0.05) is None
    assert more_rounds(0.0, Spread(rounds=0.002), 5, 0.05) is None


def test_more_rounds_settle_a_part_that_energy_noise_leaves_open():
    more = more_rounds(0.02, Spread(rounds=0.0004), 5, 0.05)

    assert more is not None
    assert 5 <= more <= 40


def test_energy_noise_is_not_cured_by_items():
    assert more_items(0.02, Spread(rounds=0.0004), 500, 0.05) is None
