"""A project as declared in energy.toml: what the model is for, what it may draw, how it is judged.

`config.py` builds these from the file; nothing here knows about files.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from outweigh.core.budget import Budget
from outweigh.core.measurement import Grade
from outweigh.core.quantities import Money, Power, Price
from outweigh.core.roadmap import Feature
from outweigh.core.site import PueCurve
from outweigh.core.variant import Option
from outweigh.core.waiver import Waiver


@dataclass(frozen=True, slots=True)
class PrimaryMetric:
    """How quality is judged. Higher is better.

    Attributes:
        ceiling: the best value the metric can reach on this data (label noise keeps it under 1).
        margin: loss of the primary metric that is tolerated as a guard; None when it is no guard.
        equivalence: difference within which two variants count as equally good in the necessity test;
            `margin` where that is set, else 0.01.
    """

    metric: str
    ceiling: float = 1.0
    margin: float | None = None
    equivalence: float = 0.01


@dataclass(frozen=True, slots=True)
class Guard:
    """A metric that must not get worse by more than `margin` (absolute, or a share when `relative`)."""

    metric: str
    margin: float
    relative: bool = False


@dataclass(frozen=True, slots=True)
class TaskSpec:
    """What the task adapter needs. `options` are adapter-specific, as sorted pairs."""

    adapter: str
    dataset: str
    primary: PrimaryMetric
    guards: tuple[Guard, ...] = ()
    options: tuple[tuple[str, Option], ...] = ()

    def option(self, name: str, default: Option) -> Option:
        return dict(self.options).get(name, default)


@dataclass(frozen=True, slots=True)
class VariantSpec:
    """A variant as declared: a model of its own, or levers applied to another variant."""

    name: str
    model: str = ""
    parent: str = ""
    levers: tuple[str, ...] = ()
    options: tuple[tuple[str, Option], ...] = ()


class GateMode(StrEnum):
    WARN = "warn"
    ENFORCE = "enforce"


@dataclass(frozen=True, slots=True)
class Value:
    """What one unit of benefit is worth, who says so, and on what evidence."""

    per: str
    amount: Money
    owner: str
    evidence: str


@dataclass(frozen=True, slots=True)
class GateSpec:
    """The weighing: incumbent against proposal.

    Attributes:
        eta: relative cut in error that a relative growth in energy must buy (0.15, Hoffmann et al. 2022).
        alternatives: how many measured cheaper alternatives the necessity test asks for.
        anchor: name of the variant of the last release, or "".
    """

    incumbent: str
    proposal: str
    mode: GateMode = GateMode.WARN
    confidence: float = 0.95
    min_grade: Grade = Grade.B
    eta: float = 0.15
    alternatives: int = 1
    anchor: str = ""
    value: Value | None = None


@dataclass(frozen=True, slots=True)
class Serving:
    """How the model is served, which decides the unit's share of the hum.

    Attributes:
        utilisation: share of provisioned thread-time that is busy at the low volume, in (0, 1].
        min_replicas: replicas that are always on.
        threads: hardware threads one replica reserves.
        hardware_price: price of one replica per hour, or None when not declared.
    """

    utilisation: float = 1.0
    min_replicas: float = 0.0
    threads: int = 1
    hardware_price: Money | None = None


@dataclass(frozen=True, slots=True)
class SiteSpec:
    """A site as declared; what is None is looked up in the tables by `zone` and `region`."""

    name: str
    zone: str
    capacity: Power
    pue: PueCurve | None = None
    price: Price | None = None
    region: str = ""


@dataclass(frozen=True, slots=True)
class Protocol:
    """How compare measures: interleaved rounds in random order.

    Attributes:
        warmup, warmup_most: least and most blocks of a few items that are run and thrown away first; in between, until
            their times are level. 0 as the least: none at all.
        window_s: least length of a round [s], reached by running its items again; the meter may need more.
        aa: measure the first variant twice a round, as the noise floor.
        precision: stop early once every energy ratio is decided or known to within this share; None runs all rounds.
    """

    rounds: int = 12
    warmup: int = 1
    seed: int = 0
    hum_s: float = 3.0
    max_items: int | None = None
    warmup_most: int = 12
    window_s: float = 0.1
    aa: bool = True
    precision: float | None = None


@dataclass(frozen=True, slots=True)
class Project:
    """Everything energy.toml says. `root` is the folder it lies in, `source` the file's path."""

    name: str
    unit: str
    volume_per_month: float
    volume_low_per_month: float
    horizon_months: float
    task: TaskSpec
    variants: tuple[VariantSpec, ...]
    gate: GateSpec
    budgets: tuple[Budget, ...] = ()
    serving: Serving = Serving()
    sites: tuple[SiteSpec, ...] = ()
    protocol: Protocol = Protocol()
    carbon_price_per_tonne: Money | None = None
    waivers: tuple[Waiver, ...] = ()
    roadmap: tuple[Feature, ...] = ()
    root: str = "."
    source: str = "energy.toml"

    def variant(self, name: str) -> VariantSpec:
        """The declared variant of that name. Raises KeyError."""
        return {v.name: v for v in self.variants}[name]
