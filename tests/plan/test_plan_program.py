"""The linear programme: jobs x sites x steps, and a bound that holds whatever the multipliers."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from outweigh.core.errors import PlanInfeasible
from outweigh.plan.program import Program, lower_bound, solve


def brute_force(program: Program, parts: int) -> float:
    """The cheapest way to hand out every job in `parts` equal pieces; a feasible plan, so at least the optimum."""
    jobs, sites, steps = program.cost.shape
    cells = [(s, t) for s in range(sites) for t in range(steps)]
    ways = list(itertools.combinations_with_replacement(cells, parts))
    best = np.inf
    for choice in itertools.product(ways, repeat=jobs):
        drawn = np.zeros((sites, steps))
        cost = 0.0
        for job, way in enumerate(choice):
            for s, t in way:
                drawn[s, t] += program.power_w[job, s, t] / parts
                cost += program.cost[job, s, t] / parts
        if np.all(drawn <= program.capacity_w + 1e-12):
            best = min(best, cost)
    return best


@st.composite
def programs(draw: st.DrawFn) -> Program:
    shape = (draw(st.integers(1, 2)), draw(st.integers(1, 2)), draw(st.integers(1, 2)))

    def array(low: float, high: float, size: tuple[int, ...]) -> np.ndarray:
        count = int(np.prod(size))
        values = draw(st.lists(st.floats(low, high), min_size=count, max_size=count))
        return np.array(values).reshape(size)

    return Program(array(-5.0, 20.0, shape), array(0.5, 10.0, shape), array(0.0, 15.0, shape[1:]))


@given(program=programs(), seed=st.integers(0, 2**32 - 1))
def test_no_multipliers_lift_the_bound_above_a_plan_found_by_brute_force(program: Program, seed: int) -> None:
    best = brute_force(program, parts=3)
    anything = np.random.default_rng(seed).normal(0.0, 2.0, program.capacity_w.shape)

    assert lower_bound(program, anything) <= best + 1e-9
    assert lower_bound(program, np.zeros_like(anything)) <= best + 1e-9
    if np.isfinite(best):
        assert lower_bound(program, solve(program).multipliers) <= best + 1e-9


@given(program=programs())
def test_the_plan_meets_its_rows_and_the_bound_meets_the_plan(program: Program) -> None:
    try:
        solution = solve(program)
    except PlanInfeasible:
        assert not np.isfinite(brute_force(program, parts=2))
        return

    objective = float(np.sum(program.cost * solution.shares))
    drawn = np.sum(program.power_w * solution.shares, axis=0)
    assert np.all(solution.shares >= 0)
    assert np.sum(solution.shares, axis=(1, 2)) == pytest.approx(1.0)
    assert np.all(drawn <= program.capacity_w + 1e-8)
    assert lower_bound(program, solution.multipliers) == pytest.approx(objective, rel=1e-8, abs=1e-7)


def test_two_jobs_that_compete_for_one_step_are_split_by_hand() -> None:
    # One site, two steps. Step 0 costs 1 and gives 10 W, step 1 costs 2 and gives 20 W; two jobs of 10 W each.
    # One job's worth fits into step 0, the other goes to step 1: 1 + 2 = 3. The multiplier is 0.1 per W.
    cost = np.array([[[1.0, 2.0]], [[1.0, 2.0]]])
    program = Program(cost, np.full((2, 1, 2), 10.0), np.array([[10.0, 20.0]]))

    solution = solve(program)

    assert np.sum(cost * solution.shares) == pytest.approx(3.0)
    assert solution.multipliers == pytest.approx(np.array([[0.1, 0.0]]))
    assert lower_bound(program, solution.multipliers) == pytest.approx(3.0)


def test_the_shortfall_is_the_least_power_to_add() -> None:
    program = Program(np.ones((1, 2, 1)), np.array([[[1000.0], [2000.0]]]), np.array([[300.0], [200.0]]))

    with pytest.raises(PlanInfeasible, match=r"short by 0\.6 kW"):
        solve(program)
