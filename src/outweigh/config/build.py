"""From the validated tables to the frozen project of the core, with the checks that look at more than one key."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import PurePath

from outweigh.config.locate import Path
from outweigh.config.reading import guard
from outweigh.config.refusals import Refusal, dotted, unknown_name
from outweigh.config.tables import (
    BudgetChangeTable,
    BudgetTable,
    EnergyToml,
    FeatureTable,
    GateTable,
    PrimaryTable,
    VariantTable,
    WaiverTable,
)
from outweigh.core.budget import Budget, BudgetChange, Phase
from outweigh.core.errors import InvalidQuantity, UsageError
from outweigh.core.nesting import nesting_problems
from outweigh.core.project import (
    GateSpec,
    PrimaryMetric,
    Project,
    Protocol,
    Serving,
    SiteSpec,
    TaskSpec,
    Value,
    VariantSpec,
)
from outweigh.core.roadmap import Feature, Planned, Quarter
from outweigh.core.variant import Variant
from outweigh.core.waiver import Waiver
from outweigh.data.artefacts import parse_reference

# Names are typed on command lines and become file names; a leading "-" would read as an option.
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]*")
_EVER = datetime(1970, 1, 1, tzinfo=UTC)  # before any change
# Beyond these, arithmetic in floats or a resampling of ten thousand has nothing more to say.
_LEAST_MONTHS = 0.001
_MOST_CONFIDENCE = 0.9999
_MOST_ETA = 10.0  # half the error for 7 % more energy
_LEAST_EQUIVALENCE = 1e-6
_LEAST_UTILISATION = 1e-6
_MOST_MONEY = 1e12  # for one avoided error
# As the registry spells them: the file `quantize__int8_dynamic.py` is typed `quantize:int8-dynamic`.
_BACKEND = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+-]*(?::[A-Za-z0-9][A-Za-z0-9.+-]*)*")


def check(document: EnergyToml) -> list[Refusal]:
    """What no single key gives away: names that are not declared, circles, pairs that contradict each other."""
    return [
        *_check_names(document),
        *_check_project(document),
        *_check_task(document),
        *_check_variants(document),
        *_check_budgets(document),
        *_check_gate(document),
        *_check_serving(document),
        *_check_waivers(document),
        *_check_roadmap(document),
    ]


def build(document: EnergyToml, source: PurePath) -> Project:
    """The project of a document in which `check` finds nothing."""
    project = document.project
    return Project(
        name=project.name,
        unit=project.unit,
        volume_per_month=project.volume.per_month,
        volume_low_per_month=project.volume.per_month if project.volume.low is None else project.volume.low,
        horizon_months=project.horizon_months,
        task=TaskSpec(
            adapter=document.task.adapter,
            dataset=document.task.dataset,
            primary=_primary(document.task.primary),
            guards=tuple(guard(entry.metric, entry.margin) for entry in document.task.guards),
            options=Variant.freeze_options(document.task.options),
        ),
        variants=tuple(_variant(name, table) for name, table in document.variants.items()),
        gate=_gate(document.gate, document.variants),
        budgets=_budgets(document),
        serving=Serving(
            utilisation=document.serving.utilisation,
            min_replicas=document.serving.min_replicas,
            threads=document.serving.threads,
            hardware_price=document.serving.hardware_price,
        ),
        sites=tuple(
            SiteSpec(name, table.zone, table.capacity, table.pue, table.price, table.region)
            for name, table in document.site.items()
        ),
        protocol=Protocol(
            rounds=document.protocol.rounds,
            warmup=document.protocol.warmup,
            seed=document.protocol.seed,
            hum_s=document.protocol.hum,
            max_items=document.protocol.max_items,
            warmup_most=document.protocol.warmup_most,
            window_s=document.protocol.window,
            aa=document.protocol.aa,
            precision=document.protocol.precision,
        ),
        carbon_price_per_tonne=project.carbon_price,
        waivers=tuple(_waiver(table) for table in document.waiver),
        roadmap=tuple(_feature(table) for table in document.roadmap),
        root=str(source.parent),
        source=str(source),
    )


def _primary(table: PrimaryTable) -> PrimaryMetric:
    # A margin of 0 (no loss tolerated) cannot be an equivalence margin: no evidence shows a difference of exactly 0,
    # and the necessity test would never bind.
    equivalence = table.equivalence or table.margin or PrimaryMetric(table.metric).equivalence
    return PrimaryMetric(table.metric, table.ceiling, table.margin, equivalence)


def _variant(name: str, table: VariantTable) -> VariantSpec:
    return VariantSpec(
        name=name,
        model=table.model or "",
        parent=table.parent or "",
        levers=tuple(table.levers),
        options=Variant.freeze_options(table.options),
    )


def _gate(table: GateTable, variants: dict[str, VariantTable]) -> GateSpec:
    value = table.value
    return GateSpec(
        incumbent=table.incumbent or ("base" if "base" in variants else next(iter(variants))),
        proposal=table.proposal,
        mode=table.mode,
        confidence=table.confidence,
        min_grade=table.min_grade,
        eta=table.eta,
        alternatives=table.alternatives,
        anchor=table.anchor,
        value=None if value is None else Value(value.per, value.amount, value.owner, value.evidence),
    )


def _budgets(document: EnergyToml) -> tuple[Budget, ...]:
    return tuple(
        Budget(
            name=name,
            phase=table.phase,
            per_unit=table.per_unit,
            total=table.total.limit if table.total else None,
            period=table.total.per if table.total else None,
            hum=table.limit,
            warn_at=table.warn_at,
            owner=table.owner,
            parent=table.parent,
            changes=tuple(_change(change) for change in table.changes),
        )
        for name, table in document.budget.items()
    )


def _change(table: BudgetChangeTable) -> BudgetChange:
    return BudgetChange(table.since, table.reason, table.owner, table.per_unit, table.total, table.limit)


def _waiver(table: WaiverTable) -> Waiver:
    return Waiver(
        table.proposal, table.content, table.verdict, table.owner, table.reason, table.expires, tuple(table.parts)
    )


def _feature(table: FeatureTable) -> Feature:
    planned = None
    if table.energy_per_unit is not None:
        planned = Planned(table.energy_per_unit, table.source, table.quality, table.p95_ms)
    return Feature(table.feature, table.quarter, table.volume_per_month, table.variant, planned, table.budget)


def _check_names(document: EnergyToml) -> Iterator[Refusal]:
    tables: dict[str, Iterable[str]] = {
        "variants": document.variants,
        "budget": document.budget,
        "site": document.site,
    }
    for kind, names in tables.items():
        for name in names:
            if not _NAME.fullmatch(name):
                problem = f"{name!r} cannot be a name in [{kind}]"
                yield Refusal((kind, name), problem, "Use letters, digits, '.', '_', '+' and '-'")


def _check_project(document: EnergyToml) -> Iterator[Refusal]:
    horizon = document.project.horizon_months
    if horizon < _LEAST_MONTHS:
        problem = f"project.horizon_months is {horizon:g}: training would be written off within the hour"
        yield Refusal(("project", "horizon_months"), problem, f"Write at least {_LEAST_MONTHS:g}")
    volume = document.project.volume
    if volume.low is not None and volume.low > volume.per_month:
        problem = f"project.volume.low is {volume.low:g}, above per_month ({volume.per_month:g})"
        yield Refusal(("project", "volume", "low"), problem, "write at most per_month: low is the low case")
    for key, text in (("name", document.project.name), ("unit", document.project.unit)):
        # They are printed on terminals and in reports, where an escape code would run.
        if not text.isprintable() or not text.strip():
            yield Refusal(("project", key), f"project.{key} is not printable text", "Write it on one line")


def _check_task(document: EnergyToml) -> Iterator[Refusal]:
    task = document.task
    if not _BACKEND.fullmatch(task.adapter):
        problem = f"task.adapter: {task.adapter!r} cannot name an adapter"
        yield Refusal(("task", "adapter"), problem, "Write it as `outweigh doctor` lists it: 'text-classification'")
    yield from _check_reference(("task", "dataset"), task.dataset)
    seen: set[str] = set()
    for index, entry in enumerate(task.guards):
        if entry.metric in seen:
            path: Path = ("task", "guards", index, "metric")
            yield Refusal(path, f"{dotted(path)} guards {entry.metric!r} a second time", "Keep one guard per metric")
        seen.add(entry.metric)
    equivalence = task.primary.equivalence
    if equivalence is not None and equivalence < _LEAST_EQUIVALENCE:
        path = ("task", "primary", "equivalence")
        remedy = "no evidence shows a difference so small; write the smallest one that matters, such as 0.005"
        yield Refusal(path, f"task.primary.equivalence is {equivalence:g}", remedy)


def _check_variants(document: EnergyToml) -> Iterator[Refusal]:
    variants = document.variants
    if not variants:
        yield Refusal(("variants",), "[variants] declares no variant", "Add [variants.base] with model = …")
    for name, table in variants.items():
        path: Path = ("variants", name)
        if table.model is None and table.parent is None:
            yield Refusal(path, f"[{dotted(path)}] has neither a model nor a from", 'Add model = "…" or from = "…"')
        elif table.model is not None and table.parent is not None:
            remedy = "a variant has a model of its own or is made from another: keep one of the two"
            yield Refusal((*path, "from"), f"[{dotted(path)}] has both a model and a from", remedy)
        elif table.model is not None:
            yield from _check_reference((*path, "model"), table.model)
            if table.levers:
                problem = f"[{dotted(path)}] puts levers on a model of its own"
                yield Refusal((*path, "levers"), problem, "Declare the model as one variant and its levers `from` it")
        for index, lever in enumerate(table.levers):
            if not _BACKEND.fullmatch(lever):
                at = (*path, "levers", index)
                yield Refusal(at, f"{dotted(at)}: {lever!r} cannot name a lever", "Write it as 'quantize:int8-dynamic'")
        if table.parent is not None:
            yield from _check_parent(name, table.parent, variants)


def _check_parent(name: str, parent: str, variants: dict[str, VariantTable]) -> Iterator[Refusal]:
    path: Path = ("variants", name, "from")
    if parent not in variants:
        yield unknown_name(path, parent, "variant", (other for other in variants if other != name))
        return
    chain = [name]
    here: str | None = parent
    while here is not None and here in variants and here not in chain:
        chain.append(here)
        here = variants[here].parent
    # Only who stands in the circle is told; who merely leads into it has nothing to mend.
    if here == name:
        circle = " -> ".join((*chain, name))
        yield Refusal(path, f"{dotted(path)} runs in a circle: {circle}", "Give one of them a model of its own")


def _check_reference(path: Path, reference: str) -> Iterator[Refusal]:
    try:
        parse_reference(reference)
    except UsageError as err:
        yield Refusal(path, f"{dotted(path)}: {err.problem}", err.remedy)


def _check_budgets(document: EnergyToml) -> Iterator[Refusal]:
    for name, table in document.budget.items():
        path: Path = ("budget", name)
        if table.per_unit is None and table.total is None and table.limit is None:
            remedy = (
                'Add per_unit = "1.2 Wh", total = { limit = "35 MWh", per = "month" } or, for the hum, limit = "180 W"'
            )
            yield Refusal(path, f"[{dotted(path)}] sets no limit", remedy)
        if table.limit is not None and table.phase is not Phase.IDLE:
            problem = f"{dotted(path)}.limit is a power, which bounds the hum, but phase is {str(table.phase)!r}"
            yield Refusal((*path, "limit"), problem, 'Write phase = "idle", or bound energy with per_unit or total')
        if table.parent and table.parent not in document.budget:
            others = (other for other in document.budget if other != name)
            yield unknown_name((*path, "parent"), table.parent, "budget line", others)
        yield from _check_changes(path, table)
    yield from _check_nesting(document)


def _check_changes(path: Path, table: BudgetTable) -> Iterator[Refusal]:
    for index, change in enumerate(table.changes):
        at: Path = (*path, "changes", index)
        for key, new, line in (
            ("per_unit", change.per_unit, table.per_unit),
            ("total", change.total, table.total),
            ("limit", change.limit, table.limit),
        ):
            if new is not None and line is None:
                problem = f"{dotted((*at, key))} changes what [{dotted(path)}] does not limit"
                yield Refusal((*at, key), problem, f"Give the line a {key} to begin with, and the change its day")
        if change.per_unit is None and change.total is None and change.limit is None:
            yield Refusal(at, f"{dotted(at)} changes nothing", "Name the new per_unit, total or limit")
        yield from _sound(at, partial(_change, change))
    days = [change.since for change in table.changes]
    for index, day in enumerate(days):
        if day in days[:index]:
            at = (*path, "changes", index, "since")
            yield Refusal(at, f"{dotted(at)}: a second change of the same day", "Keep one change a day")


def _check_nesting(document: EnergyToml) -> Iterator[Refusal]:
    """What lines promise their parts, at the beginning and from every change on."""
    try:
        budgets = _budgets(document)
    except InvalidQuantity:
        return  # refused already, where it is written
    told: set[str] = set()
    for when in (_EVER, *sorted({change.since for budget in budgets for change in budget.changes})):
        for found in nesting_problems(budgets, when):
            named = found.what == "budget parent" and found.given == document.budget[found.line].parent
            if named or found.line in told:
                continue  # a parent that nobody declared is told where it is named
            told.add(found.line)
            path: Path = ("budget", found.line)
            since = "" if when == _EVER else f"from {when:%Y-%m-%d} on, "
            yield Refusal(path, f"[{dotted(path)}]: {since}{found.given} is not a valid {found.what}", found.remedy)


def _check_gate(document: EnergyToml) -> Iterator[Refusal]:
    gate = document.gate
    if gate.confidence > _MOST_CONFIDENCE:
        problem = f"gate.confidence is {gate.confidence:g}: resampling cannot tell so little doubt from none"
        yield Refusal(("gate", "confidence"), problem, f"Write at most {_MOST_CONFIDENCE:g}; 0.95 is usual")
    if gate.eta > _MOST_ETA:
        problem = f"gate.eta is {gate.eta:g}: that asks for half the error when the energy grows by 7 % or less"
        yield Refusal(("gate", "eta"), problem, f"Write at most {_MOST_ETA:g}; 0.15 is what scaling has bought")
    if gate.value is not None and gate.value.amount.amount > _MOST_MONEY:
        problem = f"gate.value.amount is {gate.value.amount.amount:g} {gate.value.amount.currency}"
        yield Refusal(("gate", "value", "amount"), problem, f"Write at most {_MOST_MONEY:g} for one avoided error")
    for key, name in (("incumbent", gate.incumbent), ("proposal", gate.proposal), ("anchor", gate.anchor)):
        if name and name not in document.variants:
            yield unknown_name(("gate", key), name, "variant", document.variants)


def _check_serving(document: EnergyToml) -> Iterator[Refusal]:
    utilisation = document.serving.utilisation
    if utilisation < _LEAST_UTILISATION:
        problem = f"serving.utilisation is {utilisation:g}: almost all of the hum would be idle replicas'"
        yield Refusal(("serving", "utilisation"), problem, f"Write at least {_LEAST_UTILISATION:g}, such as 0.35")


def _check_waivers(document: EnergyToml) -> Iterator[Refusal]:
    for index, table in enumerate(document.waiver):
        path: Path = ("waiver", index)
        # Its variant may be declared nowhere here: a base waives what a pull request is about to bring.
        yield from _sound(path, partial(_waiver, table))


def _check_roadmap(document: EnergyToml) -> Iterator[Refusal]:
    seen: set[tuple[str, Quarter]] = set()
    for index, table in enumerate(document.roadmap):
        path: Path = ("roadmap", index)
        if table.variant and table.variant not in document.variants:
            yield unknown_name((*path, "variant"), table.variant, "variant", document.variants)
        if table.budget and table.budget not in document.budget:
            yield unknown_name((*path, "budget"), table.budget, "budget line", document.budget)
        if table.energy_per_unit is None:
            for key in ("source", "quality", "p95_ms"):
                if getattr(table, key) not in ("", None):
                    problem = f"{dotted((*path, key))} is told of a figure that is not there"
                    yield Refusal((*path, key), problem, 'Add energy_per_unit = "1.1 Wh", or leave it out')
        if (table.feature, table.quarter) in seen:
            problem = f"{dotted(path)} is a second entry of {table.feature!r} for {table.quarter}"
            yield Refusal(path, problem, "Keep one entry a quarter")
        seen.add((table.feature, table.quarter))
        yield from _sound(path, partial(_feature, table))


def _sound(path: Path, make: Callable[[], object]) -> Iterator[Refusal]:
    """What the core says of a table that pydantic let through."""
    try:
        make()
    except InvalidQuantity as err:
        key = err.quantity.rpartition(" ")[2]
        yield Refusal((*path, key), f"{dotted(path)}: {err.given} is not a valid {err.quantity}", err.remedy)
