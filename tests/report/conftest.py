"""A made-up review: invented numbers with the shape of real ones, drawn with a fixed seed. No figure is a finding."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest

from outweigh.compare.evidence import Evidence
from outweigh.core.budget import Phase
from outweigh.core.intervals import Bounds, Estimate, Interval
from outweigh.core.measurement import Factor, Grade, Measurement, Method, Missing, Scope, UncertaintyComponent
from outweigh.core.plan import Assignment, Certificate, Plan
from outweigh.core.project import GateSpec, PrimaryMetric, Project, Protocol, TaskSpec
from outweigh.core.quantities import CarbonIntensity, Energy, LocationCarbon, Money, Power, Price
from outweigh.core.receipt import Latency, Receipt, RunStatus, content_hash
from outweigh.core.site import PueCurve, Site
from outweigh.core.variant import Variant
from outweigh.core.verdict import Outcome, PartResult, Verdict
from outweigh.ports import Availability
from outweigh.report import (
    ComparisonFacts,
    FactorUse,
    MeterFacts,
    ReviewCost,
    ReviewFacts,
    Role,
    Trace,
    TraceMark,
    VariantFacts,
)

N_ITEMS, ROUNDS, HUM_W = 1400, 12, 2.4
START = datetime(2026, 11, 3, 9, 30, tzinfo=UTC)


def evidence(name: str, share_right: float, cpu_ms: float, seed: int, **variant: Any) -> Evidence:
    rng = np.random.default_rng(seed)
    units = np.full(ROUNDS, 117.0)
    work_j = units * cpu_ms * 1e-3 * 4.6 * rng.normal(1, 0.008, ROUNDS)
    service_s = units * cpu_ms * 1e-3 * rng.normal(1, 0.01, ROUNDS)
    hum_j = service_s * HUM_W
    amortised = 0.0011
    return Evidence(
        variant=Variant(name, f"models/{name}.onnx", content_hash=content_hash({"name": name}), **variant),
        items=np.arange(N_ITEMS),
        scores={
            "accuracy": (np.arange(N_ITEMS) < share_right * N_ITEMS).astype(float),
            "recall_sport": np.where(np.arange(N_ITEMS) % 5 == 0, 1.0, np.nan),
        },
        latency_ms=cpu_ms * rng.lognormal(0, 0.25, N_ITEMS),
        units=units,
        work_j=work_j,
        hum_j=hum_j,
        service_s=service_s,
        energy_j_per_unit=1.3 * (work_j + hum_j) / units + amortised,
        work_j_per_unit=float(np.mean(1.3 * work_j / units)),
        hum_j_per_unit=float(np.mean(1.3 * hum_j / units)),
        amortised_j_per_unit=amortised,
        grade=Grade.C,
        method=Method.MODELLED,
        receipts=tuple(content_hash({"name": name, "round": index}) for index in range(ROUNDS)),
    )


def verdict(proposal: str = "minilm-l6", incumbent: str = "minilm-l3") -> Verdict:
    def part(
        name: str,
        subject: str,
        outcome: Outcome,
        statistic: float | None,
        ends: tuple[float, float] | None,
        threshold: float | None,
        unit: str,
        distance: float | None,
        says: str,
        binding: bool = True,
    ) -> PartResult:
        bounds = Bounds(*ends, 0.90) if ends is not None else None
        return PartResult(name, subject, outcome, statistic, bounds, threshold, unit, distance, 0.3, 0.2, binding, says)

    return Verdict(
        outcome=Outcome.INCONCLUSIVE,
        provisional=True,
        grade=Grade.C,
        min_grade=Grade.B,
        may_block=False,
        incumbent=incumbent,
        proposal=proposal,
        confidence=0.95,
        eta=0.15,
        parts=(
            part(
                "proportion",
                "",
                Outcome.INCONCLUSIVE,
                -0.018,
                (-0.24, 0.21),
                0.0,
                "1",
                -0.24,
                "The error falls by about 9 %, and 10 % is asked for: 1,400 items cannot tell.",
            ),
            part(
                "caps",
                "serve per unit",
                Outcome.PASS,
                0.226,
                (0.171, 0.281),
                0.4,
                "J",
                0.119,
                "The upper bound of the energy per article stays inside the budget of 0.4 J.",
            ),
            part(
                "caps",
                "hum",
                Outcome.PASS,
                2.4,
                (1.9, float("inf")),
                180.0,
                "W",
                177.6,
                "The hum is far inside its budget.",
            ),
            part(
                "guards",
                "p95_latency_ms",
                Outcome.FAIL,
                1.12,
                (1.08, 1.16),
                0.10,
                "1",
                -0.98,
                "p95 latency grows by 112 %; the margin is 10 %.",
            ),
            part(
                "necessity",
                "minilm-l3-int8",
                Outcome.FAIL,
                -0.006,
                (-0.009, -0.003),
                -0.01,
                "1",
                0.001,
                "minilm-l3-int8 does as well within the margin on a quarter of the energy.",
            ),
            part("anchor", "", Outcome.PASS, None, None, None, "1", None, "No release is named as an anchor.", False),
            part(
                "gain",
                "",
                Outcome.INCONCLUSIVE,
                0.094,
                (-0.13, 0.31),
                0.0,
                "1",
                -0.13,
                "The gain in accuracy may be nothing: its lower bound is below zero.",
            ),
        ),
        decided_by="proportion",
        distance=-0.24,
        items_needed=21800,
        rounds_needed=None,
        cheapest_pass="minilm-l3-int8",
        advice="Propose minilm-l3-int8 instead: `outweigh gate --proposal minilm-l3-int8`.",
    )


def trace() -> Trace:
    rng = np.random.default_rng(7)
    marks, at = [TraceMark(0.0, 6.0, "hum")], 6.0
    for index in range(ROUNDS):
        length = {"minilm-l3": 2.1, "minilm-l6": 4.4, "minilm-l3-int8": 1.1}
        for name in rng.permutation(list(length)):
            marks.append(TraceMark(at, at + length[name], str(name)))
            at += length[name] + 0.15 + 0.2 * (index % 3)
    t_s = np.arange(0, at, 0.05)
    busy = np.zeros_like(t_s, dtype=bool)
    for mark in marks[1:]:
        busy |= (t_s >= mark.start_s) & (t_s < mark.end_s)
    power = HUM_W + rng.normal(0, 0.05, t_s.size) + busy * (4.6 + rng.normal(0, 0.25, t_s.size))
    return Trace(
        t_s=t_s.tolist(),
        power_w=power.tolist(),
        marks=tuple(marks),
        method="Modelled: CPU seconds of all cores times a power curve",
        note="Sampled every 50 ms.",
    )


SITES = (
    Site("fra-1", "DE", PueCurve(1.3, 1.3), Power.kw(7), CarbonIntensity(344.0), Price.per_kwh(0.19, "EUR")),
    Site("lul-1", "SE-SE1", PueCurve(1.15, 1.15), Power.kw(7), CarbonIntensity(19.0), Price.per_kwh(0.043, "EUR")),
    Site("cra-1", "PL", PueCurve(1.5, 1.4), Power.kw(7), CarbonIntensity(662.0), Price.per_kwh(0.16, "EUR")),
)


def plan() -> Plan:
    month = Interval(datetime(2026, 12, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC))
    shares = {"lul-1": 0.8, "fra-1": 0.2, "cra-1": 0.0}
    energy = Energy.kwh(0.19)
    rows = tuple(
        Assignment(
            "serve",
            site.name,
            month,
            shares[site.name],
            energy * shares[site.name],
            energy * shares[site.name] * site.price,
            energy * shares[site.name] * site.intensity,
        )
        for site in SITES
    )
    return Plan(
        assignments=rows,
        energy=energy,
        cost=Money(0.0138, "EUR"),
        carbon=LocationCarbon(15.96),
        home="fra-1",
        baseline_cost=Money(0.0361, "EUR"),
        baseline_carbon=LocationCarbon(65.4),
        carbon_price_per_tonne=100.0,
        certificate=Certificate(0.0154, 0.01539, 0.00065, "EUR", "dual of the linear programme, recomputed in floats"),
        notes=("Network transfer and its energy are not counted.", "Latency to the users is not considered."),
    )


FACTORS = (
    FactorUse(
        Factor(
            "cpu power per busy thread",
            4.6,
            "W",
            "invented for this test; https://example.org/power_curve",
            "2024",
            "2026-10-12",
            "CC-BY-4.0",
            Grade.C,
        ),
        "energy of every round",
    ),
    FactorUse(
        Factor(
            "grid intensity DE",
            344.0,
            "g/kWh",
            "invented for this test, yearly mean",
            "2025-01-31",
            "2026-10-12",
            "CC-BY-4.0",
            Grade.C,
        ),
        "carbon of the plan",
    ),
    FactorUse(
        Factor("price SE-SE1", 0.043, "EUR/kWh", "invented for this test, day-ahead mean", "2025", "", "", Grade.D),
        "cost of the plan",
    ),
)


@pytest.fixture
def make_facts():
    """Builds the made-up review; keyword arguments replace what the test is about."""

    def build(name: str = "minilm-l6", **changes: Any) -> ReviewFacts:
        hum = Measurement(
            Energy(HUM_W * 6),
            Interval.starting(START, 6.0),
            Scope.CPU_THREADS,
            Grade.C,
            Method.MODELLED,
            "made-up power curve",
            (UncertaintyComponent("curve", 0.15 * HUM_W * 6),),
        )
        facts: dict[str, Any] = {
            "review_id": content_hash({"review": 1})[:32],
            "created": START,
            "outweigh_version": "0.1.0",
            "project": Project(
                name="made-up-triage",
                unit="article",
                volume_per_month=3.0e6,
                volume_low_per_month=1.8e6,
                horizon_months=12,
                task=TaskSpec("text-classification", "eval.parquet", PrimaryMetric("accuracy", 0.99)),
                variants=(),
                gate=GateSpec("minilm-l3", name),
                protocol=Protocol(rounds=ROUNDS, seed=20261103),
            ),
            "dataset_hash": content_hash({"data": 1}),
            "variants": (
                VariantFacts(
                    evidence("minilm-l3", 0.951, 17.6, 1),
                    Role.INCUMBENT,
                    69_500_000,
                    False,
                    "minilm-l3-int8",
                    "as good within the margin on 46 % less energy",
                ),
                VariantFacts(
                    evidence(name, 0.956, 37.9, 2),
                    Role.PROPOSAL,
                    22_900_000,
                    True,
                    "",
                    "nothing measured is both cheaper and better",
                ),
                VariantFacts(
                    evidence("minilm-l3-int8", 0.950, 9.5, 3, levers=("quantize:int8-dynamic",), parent="minilm-l3"),
                    Role.ALTERNATIVE,
                    17_600_000,
                    True,
                ),
            ),
            "comparisons": (
                ComparisonFacts(
                    name,
                    "minilm-l3",
                    Estimate(2.152, Bounds(2.138, 2.166)),
                    Estimate(0.005, Bounds(-0.0058, 0.0159)),
                    "Tango score interval",
                    None,
                    "More than twice the energy; the data cannot tell the quality apart.",
                ),
                ComparisonFacts(
                    "minilm-l3-int8",
                    "minilm-l3",
                    Estimate(0.5403, Bounds(0.536, 0.5446)),
                    Estimate(-0.001, Bounds(-0.0071, 0.0052)),
                    "Tango score interval",
                    True,
                    "46 % less energy at the same quality within 1 point.",
                ),
            ),
            "verdict": verdict(name),
            "meter": MeterFacts(
                "cpu-model",
                Grade.C,
                Method.MODELLED,
                Scope.CPU_THREADS,
                "hardware threads of this machine",
                "CPU seconds × a made-up power curve",
                0.12,
                (
                    Availability(
                        "rapl",
                        False,
                        reason="/sys/class/powercap is empty: a virtual machine",
                        remedy="Run on bare metal",
                    ),
                    Availability("nvml", False, reason="no NVIDIA driver", remedy=""),
                ),
            ),
            "hum": hum,
            "hum_owner": "team-platform",
            "plan": plan(),
            "planned_variant": "minilm-l3-int8",
            "sites": SITES,
            "site_pue": {"cra-1": 1.43},
            "trace": trace(),
            "cost": ReviewCost(
                192.4, Energy(1180.0), Bounds(900.0, 1460.0), Grade.C, Method.MODELLED, 1.37, Energy(61.0), Energy(38.0)
            ),
            "factors": FACTORS,
            "receipts": (content_hash({"receipt": "hum"}),),
            "versions": {"python": "3.11.9", "onnxruntime": "1.20.1", "numpy": "2.1.3"},
            "notes": ("The numbers of this document are invented.",),
        }
        return ReviewFacts(**{**facts, **changes})

    return build


@pytest.fixture
def no_plan() -> Missing:
    return Missing("plan", "the project declares one site, and a plan needs two")


def _run(
    joules: float, *, start: datetime = START, seconds: float = 3600.0, phase: str = "inference", half_j: float = 0.0,
    scope: Scope = Scope.NODE, grade: Grade = Grade.A, method: Method = Method.COUNTER, units: float | None = None,
    unit: str = "", variant: str = "base", labels: tuple[tuple[str, str], ...] = (), status: str = "completed",
    batch: str = "", round_index: int | None = None, latency: Latency | None = None,
) -> Receipt:  # fmt: skip
    """An invented run; `half_j` is half of its 95 % interval [J]."""
    window = Interval(start, start + timedelta(seconds=seconds))
    doubt = (UncertaintyComponent("invented", half_j / 2),) if half_j else ()

    def seen(value: float) -> Measurement:
        return Measurement(Energy(value), window, scope, grade, method, "an invented meter", doubt)

    return Receipt(
        run_id=uuid.uuid5(uuid.NAMESPACE_OID, f"{start}{joules}{variant}{phase}{labels}").hex,
        project="support-triage", phase=Phase(phase), status=RunStatus(status), total=seen(joules),
        hum=seen(joules / 4), work=seen(joules * 3 / 4), batch=batch, variant=variant, round_index=round_index,
        units=units, unit=unit, latency=latency, meter="invented", labels=labels,
    )  # fmt: skip


@pytest.fixture
def made_run() -> Callable[..., Receipt]:
    return _run


@pytest.fixture
def addressed() -> Callable[..., list[tuple[str, Receipt]]]:
    """Receipts with their addresses, as a store gives them."""
    return lambda *runs: [(one.content_hash, one) for one in runs]
