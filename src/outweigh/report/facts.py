"""What a review hands to the report: core objects, and the few groupings the other rooms have no name for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from outweigh.compare.evidence import Evidence
from outweigh.core.intervals import Bounds, Estimate
from outweigh.core.measurement import Factor, Grade, Measurement, Method, Missing, Scope
from outweigh.core.plan import Plan
from outweigh.core.project import Project
from outweigh.core.quantities import Energy
from outweigh.core.site import Site
from outweigh.core.verdict import Verdict
from outweigh.ports import Availability


class Role(StrEnum):
    INCUMBENT = "incumbent"
    PROPOSAL = "proposal"
    ALTERNATIVE = "alternative"


@dataclass(frozen=True, slots=True)
class VariantFacts:
    """One variant of the review.

    Attributes:
        model_bytes: size on disk [bytes]; None when it has no file.
        on_frontier: nothing measured is both cheaper and better.
        frontier_probability: that it is on the frontier, by resampling items and rounds; None when nobody asked.
        dominated_by: the variant that is, or "".
        dominated_reason: why it dominates, or why nobody can say, in a sentence.
    """

    evidence: Evidence
    role: Role
    model_bytes: int | None = None
    on_frontier: bool = False
    dominated_by: str = ""
    dominated_reason: str = ""
    frontier_probability: float | None = None


@dataclass(frozen=True, slots=True)
class ComparisonFacts:
    """Two variants held against each other, paired.

    Attributes:
        energy_ratio: energy per unit of candidate over that of `against`.
        quality_difference: primary metric of candidate minus that of `against`, as a fraction.
        quality_method: how its interval was made.
        equivalent: None when the data cannot tell.
    """

    candidate: str
    against: str
    energy_ratio: Estimate
    quality_difference: Estimate
    quality_method: str
    equivalent: bool | None
    statement: str = ""


@dataclass(frozen=True, slots=True)
class MeterFacts:
    """The meter that was used, and those passed over (`reason` and `remedy` of each say why not).

    Attributes:
        relative_standard_uncertainty: k = 1, of any energy it reads; None when nobody knows.
    """

    name: str
    grade: Grade
    method: Method
    scope: Scope
    sees: str
    source: str
    relative_standard_uncertainty: float | None
    passed_over: tuple[Availability, ...] = ()


@dataclass(frozen=True, slots=True)
class TraceMark:
    """What ran from `start_s` to `end_s` [s], on the clock of the trace. `label` is a variant's name, or "hum"."""

    start_s: float
    end_s: float
    label: str


@dataclass(frozen=True, slots=True, eq=False)
class Trace:
    """Power over the review.

    Attributes:
        t_s: seconds since the trace began, increasing, shape (n,).
        power_w: total power, shape (n,); None where the meter did not answer.
        method: how the power came about ("modelled: CPU seconds x power curve").
    """

    t_s: Sequence[float]
    power_w: Sequence[float | None]
    marks: tuple[TraceMark, ...]
    method: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class FactorUse:
    factor: Factor
    used_for: str


@dataclass(frozen=True, slots=True)
class ReviewCost:
    """What it cost to find out.

    Attributes:
        energy: of the whole review, hum included; its bounds are in joules.
        meter_cpu_s: CPU time of looking itself [s].
        levers, training: the parts of `energy` spent making cheaper variants and fitting what the task fits.
    """

    wall_s: float
    energy: Energy | Missing
    bounds_j: Bounds | None
    grade: Grade
    method: Method
    meter_cpu_s: float | None = None
    levers: Energy | None = None
    training: Energy | None = None


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class ReviewFacts:
    """Everything a review found out.

    Attributes:
        review_id: hex, the batch id of its receipts.
        created: timezone-aware.
        dataset_hash: SHA-256 over data, split and labels.
        hum: idle draw, or why it is not known.
        plan: or why there is none.
        planned_variant: the variant the plan serves; its interval is carried over to the plan's figures.
        sites: the sites of the plan, for zone, price and intensity.
        site_pue: site name -> the PUE the planner used; read from a flat curve where absent.
        trace: or why there is none.
        receipts: addresses of receipts that belong to no round (hum, levers), before those of the rounds.
        versions: name -> version of every method and library that shaped the figures.
    """

    review_id: str
    created: datetime
    outweigh_version: str
    project: Project
    dataset_hash: str
    variants: tuple[VariantFacts, ...]
    comparisons: tuple[ComparisonFacts, ...]
    verdict: Verdict
    meter: MeterFacts
    hum: Measurement | Missing
    plan: Plan | Missing
    trace: Trace | Missing
    cost: ReviewCost
    hum_owner: str = ""
    planned_variant: str = ""
    sites: tuple[Site, ...] = ()
    site_pue: Mapping[str, float] = field(default_factory=dict)
    factors: tuple[FactorUse, ...] = ()
    receipts: tuple[str, ...] = ()
    versions: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
