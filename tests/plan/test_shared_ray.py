"""Pricing on Ray gives the numbers that pricing here gives."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from outweigh.plan.problem import Job, Level, Places
from outweigh.plan.shared import Capacity, plan_jobs, verify
from outweigh.plan.shared.ray import RayPricer

START = datetime(2026, 3, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)

pytestmark = pytest.mark.frameworks


@pytest.fixture
def ray():
    module = pytest.importorskip("ray")
    yield module
    module.shutdown()


def test_two_workers_price_the_same_plan_and_the_same_certificate(ray):
    rng = np.random.default_rng(3)
    there = Places(
        ("a", "b"), START, 3600.0, rng.uniform(0.05, 0.4, (1, 2, 24)), np.zeros((1, 2, 24)), np.array([1.1, 1.2])
    )
    jobs = [
        Job(f"j{n}", START + (n % 12) * HOUR, START + (n % 12 + 8) * HOUR, 1 + n % 4, (Level(1.0, 500.0 + 50 * n),),
            preemptible=n % 2 == 0)
        for n in range(30)
    ]  # fmt: skip
    capacity = Capacity(np.array([4.0, 4.0]))

    here = plan_jobs(jobs, there, capacity, carbon_price_per_tonne=0.0)
    shared = plan_jobs(
        jobs, there, capacity, carbon_price_per_tonne=0.0,
        pricer=lambda shapes, field: RayPricer(shapes, field, workers=2),
    )  # fmt: skip

    assert shared.certificate.lower_bound == pytest.approx(here.certificate.lower_bound, rel=1e-9)
    assert shared.objective == pytest.approx(here.objective, rel=1e-9)
    assert verify(shared, jobs, there, capacity) == ()
