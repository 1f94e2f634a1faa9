"""A site of a plan as its owner declares it; what is None is looked up by zone."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from outweigh.core.quantities import CarbonIntensity, Money, Power, Price
from outweigh.core.site import PueCurve
from outweigh.plan.problem import Job


@dataclass(frozen=True, slots=True)
class PlanSite:
    """Where jobs of a plan may run.

    Attributes:
        zone: of the grid, as `grid.find_zone` knows it.
        pue: of the building; None where only a region tells.
        region: of a cloud ("aws:eu-central-1"), whose PUE is taken where none is declared.
        capacity: IT power the site can give these jobs; None without limit.
        price, intensity: flat, as declared; None where series of the zone are looked up.
        move_per_gb: of bringing a GB to the site.
        demand_charge: of each kW of the highest facility power within the plan, above `peak_so_far`.
        peak_so_far: highest facility power of the billing period before the plan begins.
    """

    name: str
    zone: str
    pue: PueCurve | None = None
    region: str = ""
    capacity: Power | None = None
    price: Price | None = None
    intensity: CarbonIntensity | None = None
    move_per_gb: Money | None = None
    demand_charge: Money | None = None
    peak_so_far: Power = field(default_factory=lambda: Power(0.0))


@dataclass(frozen=True, slots=True)
class Ask:
    """How a job is started; for `outweigh run`.

    Attributes:
        command: program and arguments; empty where the file names none.
        signal: sent to it to save its progress and stop ("USR1"); empty where it cannot, and a pause keeps its memory.
        grace_s: how long saving may take [s].
        cpus, gpus, nodes: what it needs of the scheduler; CPUs and GPUs on each node.
    """

    command: tuple[str, ...] = ()
    signal: str = ""
    grace_s: float = 30.0
    cpus: int = 1
    gpus: int = 0
    nodes: int = 1


@dataclass(frozen=True, slots=True)
class PlanSpec:
    """A file of jobs, read.

    Attributes:
        start: of the horizon.
        steps: of the horizon.
        step_s: length of each [s].
        carbon_price: of one tonne; None weighs money alone.
        work_quantile: of uncertain durations, planned for.
        asks: job -> how it is started; for `outweigh run`.
        mixed_prices: weigh prices that were looked up on different markets against one another.
    """

    source: str
    start: datetime
    steps: int
    step_s: float
    carbon_price: Money | None
    work_quantile: float
    sites: tuple[PlanSite, ...]
    jobs: tuple[Job, ...]
    asks: tuple[tuple[str, Ask], ...] = ()
    mixed_prices: bool = False
