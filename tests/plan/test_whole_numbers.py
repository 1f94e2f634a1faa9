"""Choices in whole numbers, against trying all of them."""

import itertools

import numpy as np
import pytest
from scipy.sparse import csr_array

from outweigh.plan.highs import whole_numbers


def best_of_all(cost, rows, low, high, most):
    tried = (np.array(x) for x in itertools.product(range(most + 1), repeat=len(cost)))
    fits = [x for x in tried if (rows @ x >= low - 1e-9).all() and (rows @ x <= high + 1e-9).all()]
    return min((float(cost @ x) for x in fits), default=None)


@pytest.mark.parametrize("seed", range(30))
def test_the_choice_is_the_best_of_all_and_the_bound_is_below_it(seed):
    chance = np.random.default_rng(seed)
    cost, rows = chance.normal(size=6), chance.integers(-2, 4, size=(3, 6)).astype(float)
    low, high = np.array([-np.inf, 1.0, -2.0]), np.array([5.0, np.inf, 4.0])

    found = whole_numbers(cost, csr_array(rows), low, high, most=2.0)

    best = best_of_all(cost, rows, low, high, 2)
    if best is None:
        assert found.x is None
    else:
        assert found.x is not None
        assert float(cost @ found.x) == pytest.approx(best, abs=1e-6)
        assert found.bound <= best + 1e-6


def test_where_nothing_fits_there_is_no_choice():
    found = whole_numbers(np.ones(2), csr_array(np.ones((1, 2))), np.array([5.0]), np.array([5.0]), most=1.0)

    assert found.x is None


def test_nothing_is_printed(capfd):
    chance = np.random.default_rng(0)
    rows = csr_array(chance.random((12, 60)))

    whole_numbers(-chance.random(60), rows, np.full(12, -np.inf), np.full(12, 8.0), most=1.0, seconds=5.0)

    assert capfd.readouterr() == ("", "")
