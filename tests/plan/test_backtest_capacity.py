"""Back-tests where the sites' capacity binds: one set of rules for every row, starting now and the oracle too."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from outweigh.app.backtesting import backtest_document
from outweigh.backends.exporters.backtest_html import render
from outweigh.core.errors import InvalidQuantity, PlanInfeasible, UsageError
from outweigh.plan.backtest import backtest
from outweigh.plan.backtest_capacity import (
    BestConstantWithin,
    OracleWithin,
    PlanOnceWithin,
    StartNow,
    ThresholdWithin,
)
from outweigh.plan.backtest_policies import BestConstant, Case, PlanOnce, PlanRolling
from outweigh.plan.problem import Job, Jobs, Level, Places
from outweigh.plan.rolling import Rules
from outweigh.plan.rolling_outlook import Perfect, Persistence

START = datetime(2025, 1, 6, tzinfo=UTC)
few = settings(max_examples=15, deadline=None)


def places(rate):
    rate = np.atleast_2d(np.asarray(rate, dtype=float))
    names = tuple(f"s{i}" for i in range(len(rate)))
    return Places(names, START, 3600.0, rate[np.newaxis], np.zeros((1, *rate.shape)), np.ones(len(rate)))


def hourly(release, work, window, *, sites=1, preemptible=False, resume_kwh=0.0, kw=1.0, count=1):
    n = len(release)
    release = np.asarray(release, dtype=float)
    return Jobs(
        tuple(f"j{i}" for i in range(n)),
        release=release,
        deadline=release + window,
        work=np.full(n, float(work)),
        speed=np.ones((n, 1)),
        power_w=np.full((n, 1), 1000.0 * kw),
        preemptible=np.full(n, preemptible),
        allowed=np.ones((n, sites), dtype=np.bool_),
        resume_steps=np.zeros(n),
        resume_kwh=np.full(n, resume_kwh),
        entry_cost=np.zeros((n, sites)),
        count=np.full(n, count, dtype=np.int64),
        home=np.zeros(n, dtype=np.int64),
        devices=np.zeros(n),
        cut=np.zeros(n, dtype=np.bool_),
    )


def wave(days, seed=1, sites=1, noise=0.05):
    rng = np.random.default_rng(seed)
    hours = np.arange(24 * days)
    shape = 0.3 + 0.1 * np.sin(2 * np.pi * (hours + 6 * np.arange(sites)[:, np.newaxis]) / 24)
    return np.maximum(shape + noise * rng.normal(size=shape.shape), 0.01)


def every_policy(outlook, limit):
    return [
        BestConstantWithin(),
        ThresholdWithin(outlook),
        ThresholdWithin(outlook, percentile=None, adaptive=True),
        PlanOnceWithin(outlook),
        PlanOnceWithin(outlook, within_error=True),
        PlanRolling(outlook, Rules(capacity_kw=limit)),
    ]


@few
@given(st.integers(0, 10**6), st.integers(1, 4), st.integers(6, 24), st.booleans(), st.sampled_from([0.0, 0.05]))
def test_every_policy_keeps_to_the_capacity_and_does_all_of_the_work(seed, work, window, preemptible, resume):
    rate = wave(7, seed, sites=2)
    jobs = hourly(np.arange(24, 110, 3), work, window, sites=2, preemptible=preemptible, resume_kwh=resume)
    limit = np.array([2.0, 1.2])
    most = np.repeat(limit[:, np.newaxis], rate.shape[1], axis=1)
    case = Case(jobs, rate, 1.0, np.zeros(len(jobs), dtype=np.int64), most)

    for policy in (StartNow(), *every_policy(Persistence(rate, 24), limit), OracleWithin()):
        runs, _ = policy.play(case)
        load = np.zeros(rate.shape)
        np.add.at(load, (runs.site, runs.step), runs.energy_kwh)

        assert (load <= most * (1 + 1e-6)).all(), policy.name
        assert np.bincount(runs.job, runs.work, minlength=len(jobs)) == pytest.approx(jobs.work), policy.name
        assert (runs.step >= jobs.release[runs.job]).all(), policy.name


@few
@given(st.integers(0, 10**6), st.integers(1, 4), st.booleans())
def test_no_policy_that_is_in_time_does_better_than_the_oracle_of_the_same_rules(seed, work, preemptible):
    rate = wave(8, seed, sites=2)
    jobs = hourly(np.arange(24, 130, 2), work, 16, sites=2, preemptible=preemptible)
    limit = np.array([2.0, 2.0])

    found = backtest(
        jobs, places(rate), every_policy(Persistence(rate, 24), limit), carbon_price_per_tonne=0, capacity_kw=limit
    )
    alone = backtest(jobs, places(rate), [], carbon_price_per_tonne=0)

    best = found.of("oracle")
    assert found.within_capacity
    assert not alone.within_capacity
    assert best.objective >= alone.of("oracle").objective * (1 - 1e-9)
    assert all(one.objective >= best.objective * (1 - 1e-9) for one in found.fared if not one.late and not one.undone)


def test_with_room_for_all_the_rules_make_no_difference():
    rate = wave(8, sites=2)
    jobs = hourly(np.arange(24, 150, 5), 3, 20, sites=2)
    outlook, limit = Persistence(rate, 24), np.array([1000.0, 1000.0])

    wide = backtest(
        jobs, places(rate), [BestConstantWithin(), PlanOnceWithin(outlook), PlanOnceWithin(outlook, within_error=True)],
        carbon_price_per_tonne=0, capacity_kw=limit,
    )  # fmt: skip
    free = backtest(
        jobs, places(rate), [BestConstant(), PlanOnce(outlook), PlanOnce(outlook, within_error=True)],
        carbon_price_per_tonne=0,
    )  # fmt: skip

    for one, other in zip(wide.fared, free.fared, strict=True):
        assert one.objective == pytest.approx(other.objective), one.name


def test_two_jobs_where_one_has_room_by_hand():
    # Rates 1, 2, 3, 9: both may run from 0 to 4, an hour each, one at a time. At once: 1 + 2. The second job alone is
    # in nobody's way, so the best is the same, and waiting for it saves nothing.
    jobs = hourly([0, 0], 1, 4)

    found = backtest(
        jobs, places([1, 2, 3, 9]), [PlanOnceWithin(Perfect(np.array([[1.0, 2, 3, 9]])))], carbon_price_per_tonne=0,
        capacity_kw=np.array([1.0]),
    )  # fmt: skip

    assert [one.objective for one in found.fared] == pytest.approx([3, 3, 3])


def test_like_jobs_count_as_many_with_a_capacity_and_without():
    rate = np.array([[4.0, 3, 2, 1, 5, 5, 5, 5]])
    jobs = hourly([0], 1, 6, count=3)

    free = backtest(jobs, places(rate), [], carbon_price_per_tonne=0)
    tight = backtest(jobs, places(rate), [], carbon_price_per_tonne=0, capacity_kw=np.array([1.0]))

    assert [one.objective for one in free.fared] == pytest.approx([12, 3])
    assert [one.objective for one in tight.fared] == pytest.approx([4 + 3 + 2, 1 + 2 + 3])


def test_a_job_without_room_in_time_runs_late_and_one_without_any_is_undone_and_not_compared():
    jobs = hourly([0, 0, 0], 2, 4, kw=1.0)

    late = backtest(jobs, places(np.ones(8)), [], carbon_price_per_tonne=0, capacity_kw=np.array([1.0]))
    undone = backtest(jobs, places(np.ones(5)), [], carbon_price_per_tonne=0, capacity_kw=np.array([1.0]))

    assert (late.fared[0].late, late.fared[0].undone) == (1, 0)
    assert (undone.fared[0].late, undone.fared[0].undone) == (0, 1)
    assert undone.fared[0].saving is None
    assert undone.fared[1].of_oracle is None


def test_a_job_that_fits_nowhere_capacities_of_another_shape_and_too_many_copies_are_refused():
    jobs = hourly([0], 2, 6, kw=5)
    with pytest.raises(PlanInfeasible, match=r"'j0' draws more.*4 kW"):
        backtest(jobs, places(np.ones(8)), [], carbon_price_per_tonne=0, capacity_kw=np.array([1.0]))
    with pytest.raises(InvalidQuantity, match="capacity"):
        backtest(jobs, places(np.ones(8)), [], carbon_price_per_tonne=0, capacity_kw=np.array([1.0, 2.0]))
    many = replace(jobs, count=np.array([60_000]))
    with pytest.raises(UsageError, match="60000 jobs"):
        backtest(many, places(np.ones(8)), [], carbon_price_per_tonne=0, capacity_kw=np.array([100.0]))


def test_the_document_the_table_and_the_page_say_which_rules_hold_for_all_rows():
    rate = wave(40)
    jobs = [
        Job(f"d{d}{x}", START + timedelta(days=d), START + timedelta(days=d + 1), 3, (Level(1, 1000),), home="s0")
        for d in range(2, 38)
        for x in "ab"
    ]
    ask = {"carbon_price_per_tonne": 0, "currency": "EUR", "outlook": Persistence(rate, 24)}

    tight = backtest_document(jobs, places(rate), capacity_kw=np.array([1.0]), **ask)
    free = backtest_document(jobs, places(rate), **ask)

    assert json.loads(json.dumps(tight, allow_nan=False)) == tight
    assert (tight["within_capacity"], free["within_capacity"]) == (True, False)
    assert "double threshold" not in [one["policy"] for one in tight["policies"]]
    assert any("Every policy keeps to the capacity" in note for note in tight["notes"])
    assert "within the capacity of the sites" in render(tight | {"source": "jobs.toml"})
    assert "as if the sites had room for all" in render(free | {"source": "jobs.toml"})
    energy = [
        sum(row["energy_kwh"] for row in tight["hours"] if row["policy"] == one["policy"]) for one in tight["policies"]
    ]
    assert energy == pytest.approx([2 * 36 * 3.0] * len(energy))
