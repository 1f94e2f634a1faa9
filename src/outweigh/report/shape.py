"""The shape of `review.json`, schema 1. mypy holds the builder to it; readers of the file can rely on it.

Every number is at full precision and its unit is in the key (`_j`, `_w`, `_s`, `_ms`, `_kwh`, `_kg`, `_g_per_kwh`;
shares, ratios and scores have none). A number that is not known is null, and a `..._missing`, `..._reason` or
`method` beside it says why; it is never 0. `low` and `high` are the ends of an interval at the document's
`project.confidence` unless they carry a `confidence` of their own. Keys may be added within a schema, as NotRequired
ones, so that older files stay readable; none changes its meaning.
"""

from __future__ import annotations

from typing import NotRequired, TypedDict


class ProjectShape(TypedDict):
    name: str
    unit: str  # the functional unit
    volume_per_month: float
    volume_low_per_month: float
    horizon_months: float
    task: str  # task adapter
    dataset_hash: str
    n_items: int
    rounds: int
    seed: int
    confidence: float


class EvidenceShape(TypedDict):
    provisional: bool  # grade C or D: the verdict must not be read as a measurement
    grade: str
    method: str
    statement: str


class PassedOverShape(TypedDict):
    name: str
    reason: str
    remedy: str


class MeterShape(TypedDict):
    name: str
    grade: str
    method: str
    scope: str
    sees: str
    source: str
    relative_standard_uncertainty: float | None
    passed_over: list[PassedOverShape]


class HumShape(TypedDict):
    power_w: float | None
    low_w: float | None
    high_w: float | None
    grade: str | None
    method: str
    source: str
    seconds: float | None
    owner: str
    reason: str  # why it is not known, "" when it is


class QualityShape(TypedDict):
    metric: str
    value: float | None
    low: float | None
    high: float | None
    n: int
    ceiling: float
    method: str  # of the interval


class MetricIntervalShape(TypedDict):
    low: float | None
    high: float | None
    n: int
    method: str


class LatencyShape(TypedDict):
    mean: float
    p50: float
    p95: float
    p95_low: float | None
    p95_high: float | None


class EnergyShape(TypedDict):
    """`low` and `high` are the scatter between rounds, which is what two variants differ by on one testbed.
    `absolute_low` and `absolute_high` add the meter's own uncertainty: how well the joules themselves are known."""

    value: float
    low: float | None
    high: float | None
    method: str
    absolute_low: float | None
    absolute_high: float | None
    absolute_method: str


class VariantShape(TypedDict):
    name: str
    role: str  # incumbent | proposal | alternative
    parent: str
    levers: list[str]
    model_bytes: int | None
    content_hash: str
    quality: QualityShape
    metrics: dict[str, float | None]
    metric_intervals: dict[str, MetricIntervalShape]
    latency_ms: LatencyShape
    energy_j_per_unit: EnergyShape  # facility energy: work + share of the hum + amortised
    work_j_per_unit: float
    hum_j_per_unit: float
    amortised_j_per_unit: float
    service_ms_per_unit: float
    grade: str
    method: str
    on_frontier: bool
    frontier_probability: NotRequired[float | None]  # null: nobody resampled
    dominated_by: str
    dominated_reason: str


class BoundsShape(TypedDict):
    low: float | None  # null: the data do not bound it on that side
    high: float | None
    confidence: float


class RangeShape(TypedDict):
    value: float
    low: float | None
    high: float | None
    confidence: float


class DifferenceShape(RangeShape):
    method: str


class ComparisonShape(TypedDict):
    candidate: str
    against: str
    energy_ratio: RangeShape  # candidate over against
    quality_difference: DifferenceShape  # candidate minus against
    equivalent: bool | None
    statement: str


class PartShape(TypedDict):
    """One test of the gate; the words are those of `outweigh.core.verdict.PartResult`."""

    part: str
    subject: str
    outcome: str
    statistic: float | None
    bounds: BoundsShape | None
    threshold: float | None
    unit: str
    distance: float | None
    p_hold: float | None
    p_refute: float | None
    binding: bool
    explanation: str


class VerdictShape(TypedDict):
    outcome: str
    exit_code: int
    provisional: bool
    grade: str
    min_grade: str
    may_block: bool
    incumbent: str
    proposal: str
    confidence: float
    eta: float
    decided_by: str
    distance: float | None
    items_needed: int | None
    rounds_needed: int | None
    cheapest_pass: str
    advice: str
    parts: list[PartShape]


class AssignmentShape(TypedDict):
    job: str
    site: str
    zone: str | None
    start: str
    end: str
    share: float
    energy_kwh: float  # facility energy
    cost: float
    currency: str
    carbon_kg: float
    pue: float | None
    intensity_g_per_kwh: float | None
    price_per_kwh: float | None


class CertificateShape(TypedDict):
    objective: float
    lower_bound: float
    gap: float
    currency: str
    method: str


class PlanShape(TypedDict):
    home: str
    variant: str  # what it serves, "" when not said
    assignments: list[AssignmentShape]
    energy_kwh: float
    energy_low_kwh: float | None  # the variant's absolute interval carried over; the volume is taken as declared
    energy_high_kwh: float | None
    grade: str
    cost: float
    currency: str
    carbon_kg: float
    carbon_basis: str
    carbon_scope: str
    baseline_cost: float
    baseline_carbon_kg: float
    carbon_price_per_tonne: float
    certificate: CertificateShape
    notes: list[str]


class MarkShape(TypedDict):
    start_s: float
    end_s: float
    label: str


class TraceShape(TypedDict):
    t_s: list[float]
    power_w: list[float | None]
    hum_w: float | None
    marks: list[MarkShape]
    method: str
    note: str


class RoundShape(TypedDict):
    round: int
    variant: str
    receipt: str
    units: float
    work_j: float | None
    hum_j: float | None
    service_s: float


class FactorShape(TypedDict):
    name: str
    value: float
    unit: str
    source: str
    issued: str
    retrieved: str
    licence: str
    grade: str
    used_for: str


class CostShape(TypedDict):
    wall_s: float
    energy_j: float | None
    low_j: float | None
    high_j: float | None
    grade: str
    method: str
    meter_cpu_s: float | None
    levers_j: float | None
    training_j: float | None
    equals_units: float | None  # functional units the incumbent serves on the same energy
    statement: str


class WaiverShape(TypedDict):
    state: str  # "applied", "expired", or "other": it speaks of another proposal or another content
    proposal: str
    content: str
    verdict: str  # id of the verdict that is waived
    owner: str
    reason: str
    expires: str  # ISO 8601, Z; from then on it does not count
    parts: list[str]  # empty: all of them
    statement: str


class SettingShape(TypedDict):
    what: str  # "eta", "ceiling" or "low volume" (functional units a month)
    value: float
    outcome: str
    decided_by: str
    declared: bool  # the value the project declares
    turns: bool  # another outcome than the verdict's


class SensitivityShape(TypedDict):
    settings: list[SettingShape]
    eta_holds: list[float | None] | None  # [low, high) of the etas for which the proportion holds; null as high: any
    eta_refuted: list[float | None] | None
    smallest_gain: float | None  # relative cut in error that such an evaluation shows with a power of 80 %
    cut_asked: NotRequired[float | None]  # that eta asks for the growth in energy as measured; null where it falls
    items_for_cut_asked: NotRequired[int | None]  # evaluation items in all that show one so small, likewise
    statement: str
    power_statement: str


class RankedShape(TypedDict):
    variant: str
    benefit_low_per_month: float  # one-sided bound at project.confidence, in currency
    cost_high_per_month: float
    currency: str
    ratio: float | None  # what is gained for sure over what it may cost; null: nothing may be lost


class WeighingShape(TypedDict):
    verdict_id: str  # SHA-256 of what the verdict rests on and says
    content_hash: str  # of the proposal
    waived: bool  # may go ahead though it is no pass
    exit_code: int
    open_parts: list[str]  # did not hold, and nobody excused them
    waivers: list[WaiverShape]
    waiver_to_paste: str
    per_unit_limits_j: dict[str, float]
    sensitivity: SensitivityShape
    ranking: NotRequired[list[RankedShape]]  # by value, best first; empty where no money is declared


class ReviewDocument(TypedDict):
    schema: int
    kind: str  # "outweigh.review"
    review_id: str
    created: str  # ISO 8601, Z
    outweigh_version: str
    project: ProjectShape
    evidence: EvidenceShape
    meter: MeterShape
    hum: HumShape
    variants: list[VariantShape]
    comparisons: list[ComparisonShape]
    verdict: VerdictShape
    plan: PlanShape | None
    plan_missing: str
    trace: TraceShape | None
    trace_missing: str
    rounds: list[RoundShape]
    factors: list[FactorShape]
    cost_of_review: CostShape
    receipts: list[str]
    versions: dict[str, str]
    notes: list[str]
    weighing: NotRequired[WeighingShape]
