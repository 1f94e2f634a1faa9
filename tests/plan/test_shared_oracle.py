"""The bound of shared capacity against an independent solver of the whole linear programme."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from outweigh.core.errors import PlanInfeasible
from outweigh.plan.problem import Job, Level, Places
from outweigh.plan.shared import Capacity, plan_jobs

START = datetime(2026, 10, 24, 20, tzinfo=UTC)  # clocks in Europe change on the next day
HOUR = timedelta(hours=1)


def drawn(seed):
    """Jobs of whole hours and one level at two or three sites, demand charges in every third instance."""
    rng = np.random.default_rng(seed)
    sites, steps = int(rng.integers(2, 4)), int(rng.integers(6, 13))
    names = tuple("abc"[:sites])
    there = Places(
        names, START, 3600.0, rng.uniform(-0.05, 0.4, (1, sites, steps)), rng.uniform(0, 500, (1, sites, steps)),
        rng.uniform(1, 1.5, sites),
    )  # fmt: skip
    jobs = []
    for number in range(int(rng.integers(2, 9))):
        work = int(rng.integers(1, 4))
        release = int(rng.integers(0, steps - work + 1))
        deadline = int(rng.integers(release + work, steps + 1))
        some = frozenset(name for name in names if rng.random() < 0.7)
        jobs.append(
            Job(
                f"j{number}", START + release * HOUR, START + deadline * HOUR, work,
                (Level(1.0, float(rng.integers(1, 5)) * 500),), preemptible=bool(rng.random() < 0.5), sites=some,
                count=int(rng.integers(1, 4)),
            )
        )  # fmt: skip
    charge = {"demand_rate": rng.uniform(0, 0.5, sites), "peak_kw": rng.uniform(0, 2, sites)} if seed % 3 == 0 else {}
    return jobs, there, Capacity(rng.uniform(2, 9, sites), **charge)


def optimum(jobs, there, capacity, carbon_price):
    """Least cost of parts of jobs, by cvxpy on every start and every step."""
    cvxpy = pytest.importorskip("cvxpy")
    rate, pue = there.rate(carbon_price), there.pue
    sites, steps = rate.shape
    load = [[0] * steps for _ in range(sites)]
    cost, rules = 0, []
    for one in jobs:
        first, end, need = (int(x) for x in ((one.release - START) / HOUR, (one.deadline - START) / HOUR, one.work_h))
        kw = one.levels[0].power_w / 1000 * one.count
        shares = []
        for site, name in enumerate(there.names):
            if one.sites and name not in one.sites:
                continue
            if one.preemptible:
                here, on = cvxpy.Variable(nonneg=True), cvxpy.Variable(end - first, nonneg=True)
                rules += [cvxpy.sum(on) == need * here, on <= here]
                shares.append(here)
                running = [on[t] for t in range(end - first)]
            else:
                starts = cvxpy.Variable(end - need - first + 1, nonneg=True)
                shares.append(cvxpy.sum(starts))
                running = [
                    cvxpy.sum(starts[max(0, t - need + 1) : min(t, end - need - first) + 1]) for t in range(end - first)
                ]
            for t, part in enumerate(running):
                load[site][first + t] += kw * part
                cost += kw * float(rate[site, first + t]) * part
        rules.append(sum(shares) == 1)
    for site in range(sites):
        rules += [
            load[site][t] <= float(capacity.limit[site]) for t in range(steps) if not isinstance(load[site][t], int)
        ]
        if capacity.charged:
            above = cvxpy.Variable(nonneg=True)
            rules += [
                float(pue[site]) * load[site][t] - float(capacity.peak_kw[site]) <= above
                for t in range(steps)
                if not isinstance(load[site][t], int)
            ]
            cost += float(capacity.demand_rate[site]) * above
    problem = cvxpy.Problem(cvxpy.Minimize(cost), rules)
    problem.solve(solver=cvxpy.HIGHS)
    return float(problem.value)


@pytest.mark.slow
@pytest.mark.parametrize("first", range(0, 200, 20))
def test_the_bound_is_the_optimum_of_the_linear_programme(first):
    for seed in range(first, first + 20):
        jobs, there, capacity = drawn(seed)
        expected = optimum(jobs, there, capacity, 80.0)

        try:
            plan = plan_jobs(jobs, there, capacity, carbon_price_per_tonne=80.0, goal_gap=0.0)
        except PlanInfeasible as err:
            # Parts of jobs may fit where whole ones do not; that parts do not fit must be true.
            if "at least" in err.missing:
                assert expected == np.inf
            continue

        size = (
            float(np.abs(there.rate(80.0)).mean()) * sum(j.count * j.work_h * j.levels[0].power_w for j in jobs) / 1000
        )
        assert plan.certificate.lower_bound == pytest.approx(expected, rel=1e-6, abs=1e-6 * size), seed
