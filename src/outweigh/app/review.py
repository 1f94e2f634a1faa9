"""`review`: doctor, hum, compare, shrink, gate and plan on one project, and one report."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from outweigh import __version__
from outweigh.app.factor_lock import lock_notes
from outweigh.app.files import check_writable, write_reports
from outweigh.app.judging import Judged, Weighed, sit_and_weigh
from outweigh.app.sitting import Progress, Sat, silent
from outweigh.app.weighing import contenders_named, plan_of, variant_to_serve
from outweigh.compare.energy import log_ratio, noise_floor
from outweigh.compare.evidence import Evidence
from outweigh.compare.frontier import Point, dominated_by
from outweigh.compare.quality import items_for_equivalence, paired_quality
from outweigh.config import load_project
from outweigh.core.errors import UsageError
from outweigh.core.intervals import Bounds, Estimate
from outweigh.core.measurement import Factor, Measurement, Missing, UncertaintyComponent
from outweigh.core.plan import Plan
from outweigh.core.project import Project
from outweigh.core.quantities import Energy
from outweigh.core.site import Site
from outweigh.core.verdict import Verdict
from outweigh.ledger import default_path
from outweigh.plan import planning_pue
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
    review_document,
)


@dataclass(frozen=True, slots=True, eq=False)
class Reviewed:
    """What a review gave: the verdict under its waivers, the document behind the report, and the files written."""

    judged: Judged
    document: Mapping[str, object]
    paths: tuple[Path, ...]
    ledger: str


def review(
    project_path: Path,
    *,
    out: Path | None = None,
    ledger: Path | str | None = None,
    meter: str | None = None,
    rounds: int | None = None,
    progress: Progress = silent,
    allow_device_settings: bool = False,
) -> Reviewed:
    """Measure, weigh and plan a project's proposal.

    Args:
        project_path: energy.toml or its folder.
        out: folder for report.html, report.md and review.json; None writes no files (`outweigh gate`).
        ledger: file or URL; `.outweigh/ledger.sqlite` beside energy.toml by default.
        meter: by name; the best that works here by default.
        rounds: overrides the project's number of rounds.
        allow_device_settings: whether levers may change settings of a device while their variant runs.

    Raises:
        OutweighError: with the exit code and remedy of what went wrong. What was measured before is in the ledger.
    """
    project = with_rounds(load_project(project_path), rounds)
    names = contenders_named(project)
    if out is not None:
        check_writable(out)
    where = ledger if ledger is not None else default_path(Path(project.root))
    weighed = sit_and_weigh(
        project, names, where, meter=meter, progress=progress, allow_device_settings=allow_device_settings
    )
    plan = plan_of(weighed.sat, weighed.verdict, weighed.sites, weighed.judged_at)
    document = document_of(weighed, plan)
    paths = write_reports(document, out) if out is not None else ()
    return Reviewed(weighed.judged, document, paths, str(where))


def document_of(weighed: Weighed, plan: Plan | Missing) -> dict[str, object]:
    """The document behind every report of a weighing."""
    facts = facts_of(weighed.sat, weighed.verdict, plan, weighed.sites, weighed.judged_at)
    return review_document(facts) | {"weighing": weighed.judged.weighing()}


def with_rounds(project: Project, rounds: int | None) -> Project:
    """The project with another number of rounds. Raises UsageError below 2."""
    if rounds is None:
        return project
    if rounds < 2:
        raise UsageError(f"{rounds} round(s) show no scatter", "Give --rounds 2 or more")
    return replace(project, protocol=replace(project.protocol, rounds=rounds))


def facts_of(sat: Sat, verdict: Verdict, plan: Plan | Missing, sites: Sequence[Site], now: datetime) -> ReviewFacts:
    """Everything the report shows, as core objects."""
    project = sat.project
    of_rounds = {address for one in sat.comparison.evidence.values() for address in one.receipts}
    return ReviewFacts(
        review_id=sat.batch,
        created=now,
        outweigh_version=__version__,
        project=project,
        dataset_hash=sat.task.content_hash,
        variants=tuple(_variants(sat, verdict)),
        comparisons=tuple(_comparisons(sat, verdict)),
        verdict=verdict,
        meter=_meter(sat),
        hum=_hum(sat),
        plan=plan,
        trace=_trace(sat),
        cost=_cost(sat),
        hum_owner=next((b.owner for b in project.budgets if b.hum is not None), ""),
        planned_variant=variant_to_serve(verdict),
        sites=tuple(sites),
        site_pue={site.name: planning_pue(site) for site in sites},
        factors=tuple(_factors(sat, sites)),
        receipts=tuple(address for address, _ in sat.receipts if address not in of_rounds),
        versions=dict(sat.versions),
        notes=tuple(_notes(sat, sites)),
    )


def _role(name: str, verdict: Verdict) -> Role:
    if name == verdict.incumbent:
        return Role.INCUMBENT
    return Role.PROPOSAL if name == verdict.proposal else Role.ALTERNATIVE


def _variants(sat: Sat, verdict: Verdict) -> Iterator[VariantFacts]:
    metric = sat.project.task.primary.metric
    evidence = sat.comparison.evidence
    beaten = {d.name: d for d in dominated_by([Point.of(one, metric) for one in evidence.values()])}
    likely = sat.frontier_probability(metric)
    for name, one in evidence.items():
        domination = beaten.get(name)
        yield VariantFacts(
            evidence=one,
            role=_role(name, verdict),
            model_bytes=_size(one.variant.model),
            on_frontier=domination is None,
            dominated_by=domination.by if domination else "",
            dominated_reason=domination.reason if domination else "",
            frontier_probability=likely[name],
        )


def _size(model: str) -> int | None:
    path = Path(model)
    return path.stat().st_size if model and path.is_file() else None


def _comparisons(sat: Sat, verdict: Verdict) -> Iterator[ComparisonFacts]:
    evidence = sat.comparison.evidence
    incumbent = evidence[verdict.incumbent]
    for name, one in evidence.items():
        if name != verdict.incumbent:
            yield comparison_of(sat, one, incumbent)


def comparison_of(sat: Sat, candidate: Evidence, against: Evidence) -> ComparisonFacts:
    """One variant held against another: energy ratio, quality difference, and whether they are equivalent."""
    primary, confidence = sat.project.task.primary, sat.project.gate.confidence
    same = candidate.variant.content_hash == against.variant.content_hash
    ratio = log_ratio(
        candidate.energy_j_per_unit, against.energy_j_per_unit, mix_standard=0.0 if same else sat.doubts.ratio
    ).ratio(sat.comparison.ratio_confidence(confidence))
    # Where the rounds were looked at as they came the level is higher, so that the interval covers as asked for.
    ratio = Estimate(ratio.value, Bounds(ratio.bounds.low, ratio.bounds.high, confidence))
    pair = paired_quality(against.scores[primary.metric], candidate.scores[primary.metric])
    bounds = pair.bounds(confidence)
    names = f"{candidate.variant.name} and {against.variant.name}"
    points = 100 * primary.equivalence
    margin = f"{points:g} point{'' if points == 1 else 's'}"
    equivalent: bool | None
    if pair.p_equivalent(primary.equivalence) <= 1 - confidence:
        equivalent, statement = True, f"{names} are equally good within {margin} (TOST)"
    elif bounds.low > primary.equivalence or bounds.high < -primary.equivalence:
        equivalent, statement = False, f"{names} differ by more than {margin}"
    else:
        needed = items_for_equivalence(pair, primary.equivalence, confidence)
        equivalent, statement = (
            None,
            (
                f"{pair.n} items cannot tell whether {names} differ by more than {margin}; if they are equally good, "
                f"about {needed:,} would show it"
            ),
        )
    return ComparisonFacts(
        candidate=candidate.variant.name,
        against=against.variant.name,
        energy_ratio=ratio,
        quality_difference=Estimate(pair.difference, bounds),
        quality_method="Tango score interval" if pair.is_binary else "paired t interval",
        equivalent=equivalent,
        statement=statement,
    )


def sitting_notes(sat: Sat) -> Iterator[str]:
    """What a reader has to know of how it was measured, a sentence each: noise floor, failures, stopping, warm-up."""
    comparison, confidence = sat.comparison, sat.project.gate.confidence
    first = next(iter(comparison.evidence))
    if comparison.aa is not None:
        itself = comparison.aa.ratio(confidence)
        floor = math.expm1(noise_floor(comparison.aa, confidence))
        yield (
            f"A/A: {first} against itself drew x {itself.value:.4g} ({itself.bounds.low:.4g} to "
            f"{itself.bounds.high:.4g}); differences below {100 * floor:.2g} % are within the noise"
        )
    for name, reason in sat.failed.items():
        yield f"{name} is left out: {reason}"
    if comparison.stopped is not None:
        yield _stopping_said(sat)
    yield from comparison.notes
    yield from sat.notes


def _stopping_said(sat: Sat) -> str:
    stopped = sat.comparison.stopped
    assert stopped is not None
    how = "the error is spent over the looks (Lan-DeMets, O'Brien-Fleming shape), so the intervals hold as they stand"
    if stopped.rounds == stopped.planned:
        return f"all {stopped.planned} rounds were run; {how}"
    first = next(iter(sat.comparison.evidence.values()))
    reasons = ", ".join(f"{name} is {reason}" for name, reason in stopped.reasons.items() if reason)
    return (
        f"stopped after {stopped.rounds} of {stopped.planned} rounds ({reasons}); {how}; quality is that of the "
        f"{first.items.size} items run by then"
    )


def within_noise(sat: Sat, found: ComparisonFacts) -> bool | None:
    """Whether an energy ratio is no further from 1 than the noise floor; None where no A/A pair was measured."""
    if sat.comparison.aa is None:
        return None
    return abs(math.log(found.energy_ratio.value)) <= noise_floor(sat.comparison.aa, sat.project.gate.confidence)


def _meter(sat: Sat) -> MeterFacts:
    probe = type(sat.meter).probe()
    return MeterFacts(
        name=sat.meter.name,
        grade=sat.meter.grade,
        method=sat.meter.method,
        scope=sat.scope,
        sees=probe.sees,
        source=sat.meter.source,
        relative_standard_uncertainty=sat.doubts.absolute,
        passed_over=sat.passed_over,
    )


def _hum(sat: Sat) -> Measurement | Missing:
    """The idle draw as energy over the review, which is what it cost to keep the machine on meanwhile."""
    return sat.whole.hum if sat.whole.hum is not None else Missing("hum", "no idle draw was observed")


def _trace(sat: Sat) -> Trace | Missing:
    if not sat.trace:
        return Missing("trace", "the review was over before the sampler saw anything")
    marks = tuple(
        TraceMark(
            (receipt.interval.start - sat.started).total_seconds(),
            (receipt.interval.end - sat.started).total_seconds(),
            receipt.variant,
        )
        for _, receipt in sat.receipts
        if receipt.round_index is not None
    )
    times, powers = zip(*sat.trace, strict=True)
    return Trace(t_s=times, power_w=powers, marks=marks, method=f"{sat.meter.method}: {sat.meter.source}")


def _cost(sat: Sat) -> ReviewCost:
    whole = sat.whole.total
    levers_j = sum(made.applying.total.value.joules for made in sat.made if made.applying is not None)
    training_j = sum(e.fit.value.joules for e in sat.comparison.evidence.values() if e.fit is not None)
    return ReviewCost(
        wall_s=whole.interval.seconds,
        energy=whole.value,
        bounds_j=whole.bounds_j,
        grade=whole.grade,
        method=whole.method,
        meter_cpu_s=sat.meter_cost.cpu_s,
        levers=Energy(levers_j),
        training=Energy(training_j),
    )


def _factors(sat: Sat, sites: Sequence[Site]) -> Iterator[FactorUse]:
    for factor in sat.meter.factors:
        yield FactorUse(factor, "energy of every run")
    for component in sat.meter.components():
        yield FactorUse(_component_factor(component, sat), "uncertainty of every energy")
    for site in sites:
        for factor in site.factors:
            yield FactorUse(factor, f"plan: {site.name}")


def _component_factor(component: UncertaintyComponent, sat: Sat) -> Factor:
    return Factor(
        name=f"{component.name} (relative standard uncertainty)", value=component.standard, unit="1",
        source=component.source, issued="", retrieved="", licence="", grade=sat.meter.grade,
    )  # fmt: skip


def _notes(sat: Sat, sites: Sequence[Site]) -> Iterator[str]:
    project = sat.project
    if sites:
        yield from lock_notes(project)
        yield f"Energy per {project.unit} is facility energy at PUE {sat.facility.pue:g} of {sites[0].name}."
    else:
        yield f"No site is declared: energy per {project.unit} is IT energy alone (PUE 1)."
    yield (
        f"A replica reserves {project.serving.threads} of {sat.facility.threads_total} hardware threads and is busy "
        f"{project.serving.utilisation:.0%} of the time it is provisioned: its share of the hum is charged to the "
        f"{project.unit}s it serves."
    )
    yield from sitting_notes(sat)
    yield from sat.whole.notes
