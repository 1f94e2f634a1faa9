"""Sets of all kinds of jobs together: levels, pauses for nothing and at a price, one piece, fractions of steps."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from outweigh.plan.problem import Job, Level, Places
from outweigh.plan.shared import Capacity, CapacityPrices, CapacityUnit, plan_jobs, verify
from outweigh.plan.shared.classes import Shapes
from outweigh.plan.shared.pricing import Field, LocalPricer
from outweigh.plan.shared.smooth import Smooth

START = datetime(2026, 3, 2, tzinfo=UTC)
HOUR = timedelta(hours=1)
SITES, STEPS = 3, 60


def mixed(count: int, seed: int) -> tuple[list[Job], Places]:
    rng = np.random.default_rng(seed)
    daily = 0.12 + 0.05 * np.sin(2 * np.pi * (np.arange(STEPS) + rng.uniform(0, 24, (SITES, 1))) / 24)
    price = daily + 0.02 * rng.random((SITES, STEPS))
    names = tuple(f"site {n}" for n in range(SITES))
    places = Places(names, START, 3600.0, price[None], np.full((1, SITES, STEPS), 200.0), np.full(SITES, 1.2))
    return [_job(n, rng, names) for n in range(count)], places


def _job(number: int, rng: np.random.Generator, names: tuple[str, ...]) -> Job:
    kind = ("pauses", "levels", "resumes", "one piece", "one piece at levels", "fractions")[number % 6]
    kw, work, wait = float(rng.choice([0.2, 0.4])), float(rng.integers(2, 9)), float(rng.integers(4, 20))
    release = float(rng.integers(0, STEPS - 30))
    if kind in ("fractions", "one piece", "levels"):
        release, work = release + float(rng.random()), work + float(rng.random())
    faster = (Level(1.0, 1000 * kw), Level(1.8, 2000 * kw))
    return Job(
        f"{kind} {number}", START + release * HOUR, START + (release + work + wait) * HOUR, work,
        faster if "levels" in kind else faster[:1], preemptible=not kind.startswith("one piece"), home=names[0],
        checkpoint_h=1.0 if kind == "resumes" else 0.0, checkpoint_kwh=0.02 if kind == "resumes" else 0.0,
    )  # fmt: skip


def field_of(places: Places, limit_kw: float) -> Field:
    shape = places.price.shape[1:]
    return Field(places.rate(100), 1.0, np.full(shape, limit_kw), np.full(shape, 1.2), np.empty(0), np.empty((0, 0)))


def test_the_slope_of_the_smoothed_dual_is_the_use_it_says_for_all_kinds():
    jobs, places = mixed(30, seed=1)
    field, shapes = field_of(places, 2.0), Shapes.of(places.jobs(jobs), CapacityUnit.KW)
    smooth, rng = Smooth(shapes, field), np.random.default_rng(2)
    at, way = rng.uniform(0, 0.05, field.rate.shape), rng.standard_normal(field.rate.shape)
    smooth.learn(CapacityPrices(at))

    def value(step: float) -> float:
        return smooth.answer(CapacityPrices(at + step * way), 0.005).value

    slope = float((smooth.answer(CapacityPrices(at), 0.005).use_kw.sum(axis=0) * way).sum())

    assert (value(1e-6) - value(-1e-6)) / 2e-6 == pytest.approx(slope, rel=1e-5)


def test_the_smoothed_dual_cools_down_to_the_exact_one_for_all_kinds():
    jobs, places = mixed(30, seed=3)
    field, shapes = field_of(places, 2.0), Shapes.of(places.jobs(jobs), CapacityUnit.KW)
    prices = CapacityPrices(np.random.default_rng(4).uniform(0, 0.1, field.rate.shape))
    smooth = Smooth(shapes, field)
    smooth.learn(prices)
    exact = float(shapes.weight_kw @ LocalPricer(shapes, field).price(prices).best)

    values = [smooth.answer(prices, heat).value for heat in (1e-2, 1e-3, 1e-4, 1e-5)]

    assert values == sorted(values)
    assert values[-1] <= exact + 1e-9
    assert values[-1] == pytest.approx(exact, rel=1e-3)


@pytest.mark.parametrize("seed", range(3))
def test_a_set_of_all_kinds_is_planned_within_two_per_cent_of_its_bound(seed):
    jobs, places = mixed(150, seed)
    kwh = sum(one.work_h * one.levels[0].power_w / 1000 for one in jobs)
    capacity = Capacity(np.full(SITES, 2.0 * kwh / (SITES * (STEPS - 20))))

    plan = plan_jobs(jobs, places, capacity, carbon_price_per_tonne=100, goal_gap=0.02)

    assert plan.certificate.gap <= 0.02
    assert verify(plan, jobs, places, capacity) == ()
