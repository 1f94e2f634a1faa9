"""What a plan under shared capacity says."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from outweigh.core.plan import Certificate
from outweigh.plan.problem import Floats, Ints
from outweigh.plan.shared.capacity import CapacityPrices


@dataclass(frozen=True, slots=True, eq=False)
class Runs:
    """A runs, each of one or more like jobs: M entries in the order of runs, then steps.

    Attributes:
        job: position in the jobs planned, shape (A,).
        site: position in the names of the places, shape (A,).
        count: jobs that run like this, >= 1, shape (A,).
        start, end: of the run [steps from the start of the horizon]; a run that pauses is not on all the time between,
            shape (A,).
        offset: where the entries of each run begin, and where the last end, shape (A + 1,).
        step: shape (M,).
        work: done in the step by one job [steps at speed 1], shape (M,).
        energy_kwh: IT energy of one job in the step [kWh], shape (M,).
    """

    job: Ints
    site: Ints
    count: Ints
    start: Floats
    end: Floats
    offset: Ints
    step: Ints
    work: Floats
    energy_kwh: Floats

    def __len__(self) -> int:
        return len(self.job)

    @property
    def of_entry(self) -> Ints:
        """Which run each entry is of, shape (M,)."""
        return np.repeat(np.arange(len(self)), np.diff(self.offset))

    def it_kwh(self, sites: int, steps: int) -> Floats:
        """IT energy of all jobs [kWh], shape (S, T)."""
        of = self.of_entry
        total = np.bincount(self.site[of] * steps + self.step, self.energy_kwh * self.count[of], sites * steps)
        return total.reshape(sites, steps).astype(np.float64)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a policy comes to.

    Attributes:
        policy: in words.
        cost: expected, of energy, moved data and peaks [currency].
        carbon_g: expected [gCO2e].
        objective: cost + carbon x price of carbon [currency].
        late: jobs that it could not place in time, and whose energy is not in the figures.
    """

    policy: str
    cost: float
    carbon_g: float
    objective: float
    late: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Schedule:
    """Jobs under shared capacity: what runs where and when, and how far from the best that can be.

    Attributes:
        names: of the jobs planned, in their order.
        sites: names of the places, in their order.
        runs: what runs where and when.
        outcome: of this plan.
        baseline: start now, at home, in the order of release, waiting where there is no room.
        best_constant: the best policy that does not look at the hour.
        alone: start now, at home, as if there were room for all.
        it_energy_kwh: IT energy of all jobs [kWh].
        carbon_price_per_tonne: [currency/t].
        certificate: objective, a bound no plan can beat, and the gap.
        prices: what capacity is worth; the bound follows from them, and the next plan may start from them.
        notes: what a reader must know before acting, in sentences.
    """

    names: tuple[str, ...]
    sites: tuple[str, ...]
    runs: Runs
    outcome: Outcome
    baseline: Outcome
    best_constant: Outcome
    alone: Outcome
    it_energy_kwh: float
    carbon_price_per_tonne: float
    certificate: Certificate
    prices: CapacityPrices
    notes: tuple[str, ...] = ()

    @property
    def cost(self) -> float:
        """Expected [currency]."""
        return self.outcome.cost

    @property
    def carbon_g(self) -> float:
        """Expected [gCO2e]."""
        return self.outcome.carbon_g

    @property
    def objective(self) -> float:
        """Cost + carbon x price of carbon [currency]."""
        return self.outcome.objective

    def of_job(self, position: int) -> Ints:
        """The runs of the job at this position, as rows of `runs`."""
        return np.flatnonzero(self.runs.job == position)
