"""A day at two sites, jobs on it, and a supervisor over a simulation whose clock is moved by hand."""

from __future__ import annotations

import json
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import numpy as np
import pytest

from outweigh.backends.executors.simulated import SimulatedExecutor
from outweigh.backends.stores.sqlite import SqliteStore
from outweigh.core.receipt import Receipt
from outweigh.plan.planfile import SCHEMA, plan_body, plan_id
from outweigh.plan.problem import Job, Level, Places
from outweigh.plan.shared import Capacity, plan_jobs
from outweigh.plan.sites import Ask
from outweigh.run.clock import PlanClock
from outweigh.run.deciding import Rules
from outweigh.run.following import Following, begin
from outweigh.run.outlook import Outlook
from outweigh.run.reporting import run_document
from outweigh.run.settling import receipt_body
from outweigh.run.supervisor import Supervisor

DAY = datetime(2026, 12, 1, tzinfo=UTC)
# Invented: dirty by day at both sites, the second cleaner by night.
CARBON = np.array([[300.0] * 6 + [500.0] * 12 + [200.0] * 6, [400.0] * 6 + [600.0] * 12 + [50.0] * 6])


def at(hours):
    return DAY + timedelta(hours=hours)


def job(name="train", *, release=0.0, deadline=24.0, work_h=2.0, kw=10.0, **more):
    more.setdefault("home", "fr")
    return Job(name, at(release), at(deadline), work_h, (Level(1.0, 1e3 * kw),), **more)


def planned(jobs, *, carbon=CARBON, price=0.1, capacity_kw=np.inf, signal="", command=("true",)):
    """A plan file, as `outweigh plan` writes it."""
    carbon = np.asarray(carbon, dtype=float)
    places = Places(("fr", "se"), DAY, 3600.0, np.full((1, *carbon.shape), price), carbon[np.newaxis], np.ones(2))
    capacity = Capacity(np.full(2, float(capacity_kw)))
    schedule = plan_jobs(jobs, places, capacity, carbon_price_per_tonne=100.0, currency="EUR")
    asks = {each.name: Ask(tuple(command), signal) for each in jobs}
    document = {
        "schema": SCHEMA, "created": DAY.isoformat(), "currency": "EUR", "carbon_price_per_tonne": 100.0,
        "carbon_meaning": "invented", "source_name": "jobs.toml",
        **plan_body(jobs, places, capacity, schedule, asks),
    }  # fmt: skip
    return json.loads(json.dumps({**document, "plan_id": plan_id(document)}))


@dataclass
class World:
    """Everything a supervisor has, and a clock for all of it."""

    path: object
    stores: list = field(default_factory=list)
    now: datetime = DAY
    heard: list = field(default_factory=list)
    executor: object = None

    def __post_init__(self):
        self.executor = self.executor or SimulatedExecutor({"fr": None, "se": None}, now=lambda: self.now)
        self.store = self.open_store()

    def open_store(self):
        self.stores.append(SqliteStore.open(self.path))
        return self.stores[-1]

    def follow(self, document, **more):
        name, new = begin(
            self.store, document, "plan.json", on="simulated", clock={"plan": DAY.isoformat(),
            "wall": DAY.isoformat(), "factor": 1.0}, project="made-up", phase="training", **more,
        )  # fmt: skip
        assert new
        return name

    def supervise(self, name, *, look=None, rules=None, store=None, **more):
        """One that leads nothing yet."""
        store = store or self.store
        following, _ = Following.read(store, name)
        box = []
        supervisor = Supervisor(
            store, self.executor, following, PlanClock(DAY, DAY, read=lambda: self.now),
            Outlook(following.rates, self.now, look),
            settle=lambda jobs: [receipt_body(one, box[0].following, trial=True) for one in jobs],
            append=lambda bodies: store.append_all([Receipt.from_dict(dict(body)) for body in bodies]),
            rules=rules or Rules(), told=self.heard.append, **more,
        )  # fmt: skip
        box.append(supervisor)
        return supervisor

    def live(self, supervisor, hours, step_h=0.25):
        """Cycle on until that hour, or until all is over."""
        end = at(hours)
        while self.now < end:
            if supervisor.cycle().over:
                return
            self.now += timedelta(hours=step_h)

    def report(self, supervisor):
        return run_document(supervisor.following, supervisor.jobs.values(), self.now)


@pytest.fixture
def world(tmp_path):
    made = World(tmp_path / "ledger.sqlite")
    yield made
    for store in made.stores:
        with closing(store):
            pass


@pytest.fixture(scope="session")
def day():
    """Its start, a stamp by hour, jobs, and plans of them."""
    return SimpleNamespace(start=DAY, at=at, job=job, planned=planned, carbon=CARBON, world=World)
