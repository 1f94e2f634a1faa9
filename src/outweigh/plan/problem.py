"""What is to be planned, in arrays: jobs that may wait or move, and places over time steps.

Time is counted in steps from the start of the horizon, as floats: 2.5 is the middle of the third step. Windows are
half-open. All steps have one length; a step is a stretch of absolute time, so a day on which clocks change has 23 or
25 of them and nothing here needs to know.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from outweigh.core.errors import InvalidQuantity, PlanInfeasible, UsageError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

G_PER_TONNE = 1e6
# A work or window this close to what is there is taken as equal: times come in as floats of seconds.
ROUNDING_STEPS = 1e-9


@dataclass(frozen=True, slots=True)
class Level:
    """One way to run a job: work done per hour relative to speed 1, and the IT power it draws [W]."""

    speed: float
    power_w: float

    def __post_init__(self) -> None:
        if not 0 < self.speed < np.inf:
            raise InvalidQuantity("speed of a level", str(self.speed), "give a finite number above 0")
        if not 0 < self.power_w < np.inf:
            raise InvalidQuantity("power of a level", f"{self.power_w} W", "give a finite number above 0")


@dataclass(frozen=True, slots=True)
class Job:
    """One job (or one class of like jobs: `count`).

    Attributes:
        release: earliest start; aware. deadline: latest end; aware.
        work_h: hours it takes at speed 1, > 0.
        levels: ways to run it; one level is a job that cannot be sped up.
        preemptible: may pause and go on later.
        home: where it runs if nobody plans.
        movable: may run elsewhere than at home; where it starts it stays.
        sites: where it may run, if movable; empty is anywhere.
        checkpoint_h: time run without progress at every resumption (saving and restoring) [h], >= 0.
        checkpoint_kwh: IT energy of every resumption beyond that time at the first level [kWh], >= 0.
        data_gb: to move when it runs elsewhere than at home [GB].
        work_quantiles: (probability, hours) where the duration is not certain, both increasing; see `work_at`.
        count: how many such jobs there are, >= 1.
        devices: it holds at its highest level, >= 0; at lower ones in proportion to their power. Only a capacity in
            devices asks.
        run_factor, power_factor: what earlier receipts have multiplied the declared run time and powers by, > 0.
    """

    name: str
    release: datetime
    deadline: datetime
    work_h: float
    levels: tuple[Level, ...]
    preemptible: bool = False
    home: str = ""
    movable: bool = True
    sites: frozenset[str] = frozenset()
    checkpoint_h: float = 0.0
    checkpoint_kwh: float = 0.0
    data_gb: float = 0.0
    work_quantiles: tuple[tuple[float, float], ...] = ()
    count: int = 1
    devices: float = 0.0
    run_factor: float = 1.0
    power_factor: float = 1.0

    def __post_init__(self) -> None:
        what = f"of job {self.name!r}"
        for name in ("release", "deadline"):
            stamp: datetime = getattr(self, name)
            if stamp.tzinfo is None:
                raise InvalidQuantity(f"{name} {what}", stamp.isoformat(), "give it a time zone; we keep UTC")
            object.__setattr__(self, name, stamp.astimezone(UTC))
        if not 0 < self.work_h < np.inf:
            raise InvalidQuantity(f"work {what}", f"{self.work_h} h", "give a finite number above 0")
        if not self.levels:
            raise InvalidQuantity(f"levels {what}", "none", "give at least one speed with its power")
        for low, high in pairwise(self.levels):
            if not low.speed < high.speed:
                raise InvalidQuantity(f"levels {what}", f"{low.speed}, {high.speed}", "speeds increase strictly")
        for name in ("checkpoint_h", "checkpoint_kwh", "data_gb", "devices"):
            if not 0 <= getattr(self, name) < np.inf:
                raise InvalidQuantity(f"{name} {what}", str(getattr(self, name)), "give a finite number, 0 or more")
        if not self.movable and not self.home:
            raise UsageError(f"job {self.name!r} cannot move and has no home", "Name its site as home")
        if self.count < 1:
            raise InvalidQuantity(f"count {what}", str(self.count), "give 1 or more")
        for p, hours in self.work_quantiles:
            if not (0 <= p <= 1 and 0 < hours < np.inf):
                given = f"({p}, {hours})"
                raise InvalidQuantity(f"quantile {what}", given, "give a probability from 0 to 1 and hours above 0")
        for (p, hours), (q, more) in pairwise(self.work_quantiles):
            if not (p < q and hours <= more):
                raise InvalidQuantity(f"quantiles {what}", f"({p}, {hours}), ({q}, {more})", "both increase")

    def work_at(self, probability: float) -> float:
        """Hours of work [h] not exceeded with this probability: linear between the quantiles, flat outside them.

            >>> from dataclasses import replace
        >>> job = Job("a", *(datetime(2026, 1, d, tzinfo=UTC) for d in (1, 2)), 3, (Level(1, 300),))
            >>> job.work_at(0.9), replace(job, work_quantiles=((0.5, 3.0), (0.9, 5.0))).work_at(0.7)
            (3, 4.0)
        """
        if not self.work_quantiles:
            return self.work_h
        probabilities, hours = zip(*self.work_quantiles, strict=True)
        return float(np.interp(probability, probabilities, hours))


@dataclass(frozen=True, slots=True, eq=False)
class Jobs:
    """Jobs as arrays. J jobs, L levels, S sites; times and work in steps.

    Attributes:
        release: earliest start [steps], shape (J,).
        deadline: latest end [steps], shape (J,).
        work: run time at speed 1 [steps], > 0, shape (J,).
        speed: shape (J, L), increasing; jobs with fewer levels repeat their last one.
        power_w: IT power [W] at each level, shape (J, L).
        preemptible: shape (J,).
        allowed: where each may run, shape (J, S).
        resume_steps: steps run without progress at every resumption, shape (J,).
        resume_kwh: IT energy of every resumption beyond that [kWh], shape (J,).
        entry_cost: of running at a site at all (moving data there) [currency], shape (J, S).
        count: like jobs each row stands for, shape (J,).
        home: site where each runs if nobody plans; -1 where none is named, shape (J,).
        devices: held at the highest level, shape (J,).
        cut: whose deadline was beyond the horizon and is now its end, shape (J,).
    """

    names: tuple[str, ...]
    release: Floats
    deadline: Floats
    work: Floats
    speed: Floats
    power_w: Floats
    preemptible: Bools
    allowed: Bools
    resume_steps: Floats
    resume_kwh: Floats
    entry_cost: Floats
    count: Ints
    home: Ints
    devices: Floats
    cut: Bools

    def __len__(self) -> int:
        return len(self.names)

    def take(self, rows: Ints | Bools) -> Jobs:
        """The jobs of these rows, in this order."""
        index = np.arange(len(self))[rows]
        return Jobs(
            tuple(self.names[i] for i in index),
            *(getattr(self, name)[index] for name in self.__dataclass_fields__ if name != "names"),
        )


@dataclass(frozen=True, slots=True, eq=False)
class Places:
    """Sites over steps. K scenarios, S sites, T steps; a point forecast is one scenario.

    Attributes:
        names: of the sites, length S.
        start: of step 0; aware.
        step_s: length of every step [s].
        price: of electricity [currency/kWh], shape (K, S, T); negative is a price.
        carbon: intensity [gCO2e/kWh], shape (K, S, T).
        pue: facility over IT power at the load planned for, >= 1, shape (S,) or (S, T).
        probability: of each scenario, shape (K,), sums to 1; empty is all alike.
        capacity_kw: IT power the site can give our jobs [kW], shape (S, T); empty is no limit.
        move_cost_per_gb: of bringing a GB to the site [currency/GB], shape (S,); empty is nothing.

    Raises:
        InvalidQuantity: shapes that do not fit, probabilities that do not sum to 1, negative capacity, PUE below 1.
    """

    names: tuple[str, ...]
    start: datetime
    step_s: float
    price: Floats
    carbon: Floats
    pue: Floats
    probability: Floats = field(default_factory=lambda: np.empty(0))
    capacity_kw: Floats = field(default_factory=lambda: np.empty(0))
    move_cost_per_gb: Floats = field(default_factory=lambda: np.empty(0))

    def __post_init__(self) -> None:
        if self.start.tzinfo is None:
            raise InvalidQuantity("start of the horizon", self.start.isoformat(), "give it a time zone; we keep UTC")
        if not 0 < self.step_s < np.inf:
            raise InvalidQuantity("step", f"{self.step_s} s", "give a length above 0")
        if self.price.ndim != 3 or self.price.shape != self.carbon.shape or 0 in self.price.shape:
            given = f"price {self.price.shape}, carbon {self.carbon.shape}"
            raise InvalidQuantity("forecast", given, "give both as (scenarios, sites, steps), on the same steps")
        scenarios, sites, steps = self.price.shape
        if len(self.names) != sites or len(set(self.names)) != sites:
            raise InvalidQuantity("names of sites", ", ".join(self.names), f"give {sites} different ones")
        if self.pue.shape not in ((sites,), (sites, steps)) or not np.all(self.pue >= 1):
            raise InvalidQuantity("PUE", str(self.pue.shape), "give 1 or more, by site or by site and step")
        chance = self.probability
        if chance.size and (chance.shape != (scenarios,) or np.any(chance < 0) or abs(chance.sum() - 1) > 1e-9):
            raise InvalidQuantity("probabilities", str(chance.tolist()), "one a scenario, 0 or more, summing to 1")
        if self.capacity_kw.size and (self.capacity_kw.shape != (sites, steps) or not np.all(self.capacity_kw >= 0)):
            raise InvalidQuantity("capacity", str(self.capacity_kw.shape), "give 0 or more kW by site and step")
        if self.move_cost_per_gb.size and self.move_cost_per_gb.shape != (sites,):
            raise InvalidQuantity("cost of moving", str(self.move_cost_per_gb.shape), "give one a site")

    @property
    def steps(self) -> int:
        return int(self.price.shape[2])

    @property
    def step_h(self) -> float:
        return self.step_s / 3600

    def rate(self, carbon_price_per_tonne: float) -> Floats:
        """Expected cost of IT energy: PUE x (price + carbon x price of carbon) [currency/kWh], shape (S, T).

        The objective is linear in the energy of a step, so the plan for the expected rate is the best one for the
        scenarios together. A gap (NaN) in any scenario that can happen is a gap here.

        >>> one = Places(
        ...     ("a",),
        ...     datetime(2026, 1, 1, tzinfo=UTC),
        ...     3600,
        ...     np.array([[[0.10]]]),
        ...     np.array([[[400.0]]]),
        ...     np.array([1.5]),
        ... )
        >>> round(one.rate(100).item(), 9)  # 1.5 x (0.10 + 400 / 1e6 x 100)
        0.21
        """
        if not 0 <= carbon_price_per_tonne < np.inf:
            raise InvalidQuantity("price of carbon", str(carbon_price_per_tonne), "give 0 or more per tonne")
        chance = self.probability if self.probability.size else np.full(len(self.price), 1 / len(self.price))
        possible = chance > 0
        both = self.price[possible] + self.carbon[possible] * (carbon_price_per_tonne / G_PER_TONNE)
        pue = self.pue if self.pue.ndim == 2 else self.pue[:, np.newaxis]
        return np.asarray(pue * np.tensordot(chance[possible], both, axes=1))

    def jobs(self, jobs: Sequence[Job], *, work_quantile: float = 0.5) -> Jobs:
        """The jobs as arrays on these steps. Deadlines beyond the horizon become its end and are marked `cut`.

        Args:
            work_quantile: which quantile of an uncertain duration is planned for.

        Raises:
            UsageError: a site no place goes by, or two jobs of one name.
            PlanInfeasible: a job longer than its window at its highest speed, or released before the horizon begins.
        """
        names = tuple(job.name for job in jobs)
        if len(set(names)) < len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise UsageError(f"two jobs are called {twice!r}", "Give every job a name of its own")
        origin_s = self.start.timestamp()

        def steps(stamp: datetime) -> float:
            exact = (stamp.timestamp() - origin_s) / self.step_s
            return float(round(exact)) if abs(exact - round(exact)) < ROUNDING_STEPS else exact

        levels = max((len(job.levels) for job in jobs), default=1)
        padded = [job.levels + job.levels[-1:] * (levels - len(job.levels)) for job in jobs]
        deadline = np.array([steps(job.deadline) for job in jobs], dtype=np.float64)
        cost_per_gb = self.move_cost_per_gb if self.move_cost_per_gb.size else np.zeros(len(self.names))
        away = np.array([[name != job.home for name in self.names] for job in jobs], dtype=np.float64)
        gb = np.array([job.data_gb for job in jobs], dtype=np.float64)
        place = {name: number for number, name in enumerate(self.names)}
        built = Jobs(
            names,
            release=np.array([steps(job.release) for job in jobs], dtype=np.float64),
            deadline=np.minimum(deadline, self.steps),
            work=np.array([job.work_at(work_quantile) / self.step_h for job in jobs], dtype=np.float64),
            speed=np.array([[level.speed for level in row] for row in padded], dtype=np.float64).reshape(-1, levels),
            power_w=np.array([[level.power_w for level in row] for row in padded], dtype=np.float64).reshape(
                -1, levels
            ),
            preemptible=np.array([job.preemptible for job in jobs], dtype=np.bool_),
            allowed=np.array([self._allowed(job) for job in jobs], dtype=np.bool_).reshape(-1, len(self.names)),
            resume_steps=np.array([job.checkpoint_h / self.step_h for job in jobs], dtype=np.float64),
            resume_kwh=np.array([job.checkpoint_kwh for job in jobs], dtype=np.float64),
            entry_cost=away.reshape(len(jobs), len(self.names)) * gb[:, np.newaxis] * cost_per_gb,
            count=np.array([job.count for job in jobs], dtype=np.int64),
            home=np.array([place.get(job.home, -1) for job in jobs], dtype=np.int64),
            devices=np.array([job.devices for job in jobs], dtype=np.float64),
            cut=deadline > self.steps,
        )
        self._check_windows(built)
        return built

    def _allowed(self, job: Job) -> list[bool]:
        wanted = {job.home} if not job.movable else set(job.sites) or set(self.names)
        unknown = wanted - set(self.names)
        if unknown:
            raise UsageError(
                f"job {job.name!r} may run at {', '.join(sorted(unknown))}, which is no site of this plan",
                f"The sites are {', '.join(self.names)}",
            )
        return [name in wanted for name in self.names]

    def _check_windows(self, jobs: Jobs) -> None:
        for i in np.flatnonzero(jobs.release < 0)[:1]:
            raise PlanInfeasible(
                f"job {jobs.names[i]!r} is released before the horizon begins",
                f"{-jobs.release[i] * self.step_h:.3g} h",
                "Start the horizon at the first release, or release the job at the start of the horizon",
            )
        short = jobs.work / jobs.speed[:, -1] - (jobs.deadline - jobs.release)
        for i in np.flatnonzero(short > ROUNDING_STEPS)[:1]:
            why = "what is known ends before it can be done" if jobs.cut[i] else "it is longer than its window"
            raise PlanInfeasible(
                f"job {jobs.names[i]!r} cannot be done in time even at its highest speed: {why}",
                f"{short[i] * self.step_h:.3g} h",
                "Move its deadline, release it earlier, or extend the forecast",
            )
