"""A project written to TOML loads back equal: no key is lost, rounded or confused with another."""

from __future__ import annotations

import json
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from outweigh.config import loads_project
from outweigh.core.budget import Budget, Period, Phase
from outweigh.core.measurement import Grade
from outweigh.core.project import (
    GateMode,
    GateSpec,
    Guard,
    PrimaryMetric,
    Project,
    Protocol,
    Serving,
    SiteSpec,
    TaskSpec,
    Value,
    VariantSpec,
)
from outweigh.core.quantities import Energy, Money, Power, Price
from outweigh.core.site import PueCurve

# --- a small writer of our own: values in base units, every key written out --------------------------


def toml(value: object) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{toml(key)} = {toml(inner)}" for key, inner in value.items()) + " }"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(toml(inner) for inner in value) + "]"
    if isinstance(value, bool | str):
        return json.dumps(value, ensure_ascii=False)
    return repr(value)


def joules(energy: Energy | None) -> str | None:
    return None if energy is None else f"{energy.joules!r} J"


def watts(power: Power | None) -> str | None:
    return None if power is None else f"{power.watts!r} W"


def money(amount: Money | None, per: str = "") -> str | None:
    return None if amount is None else f"{amount.amount!r} {amount.currency}{per}"


def table(header: str, /, **keys: object) -> str:
    """A table with the keys that are not None; a trailing underscore lets `from_` be written."""
    rows = [f"{key.rstrip('_')} = {toml(value)}" for key, value in keys.items() if value is not None]
    return "\n".join([f"[{header}]", *rows, ""])


def write(project: Project) -> str:
    task, gate, primary = project.task, project.gate, project.task.primary
    judged = {"metric": primary.metric, "ceiling": primary.ceiling, "equivalence": primary.equivalence}
    if primary.margin is not None:
        judged["margin"] = primary.margin
    parts = [
        table(
            "project",
            name=project.name,
            unit=project.unit,
            volume={"per_month": project.volume_per_month, "low": project.volume_low_per_month},
            horizon_months=project.horizon_months,
            carbon_price=money(project.carbon_price_per_tonne),
        ),
        table(
            "task",
            adapter=task.adapter,
            dataset=task.dataset,
            primary=judged,
            guards=[
                {"metric": g.metric, "margin": f"{round(g.margin * 100)}%" if g.relative else g.margin}
                for g in task.guards
            ],
            options=dict(task.options),
        ),
    ]
    parts += [
        table(
            f'variants."{variant.name}"',
            model=variant.model or None,
            from_=variant.parent or None,
            levers=variant.levers,
            options=dict(variant.options),
        )
        for variant in project.variants
    ]
    for line in project.budgets:
        total = None if line.period is None else {"limit": joules(line.total), "per": str(line.period)}
        parts.append(
            table(
                f'budget."{line.name}"',
                phase=str(line.phase),
                per_unit=joules(line.per_unit),
                total=total,
                limit=watts(line.hum),
                warn_at=line.warn_at,
                owner=line.owner,
            )
        )
    value = gate.value
    parts.append(
        table(
            "gate",
            incumbent=gate.incumbent,
            proposal=gate.proposal,
            mode=str(gate.mode),
            confidence=gate.confidence,
            min_grade=str(gate.min_grade),
            eta=gate.eta,
            alternatives=gate.alternatives,
            anchor=gate.anchor,
            value=value
            and {"per": value.per, "amount": money(value.amount), "owner": value.owner, "evidence": value.evidence},
        )
    )
    serving, protocol = project.serving, project.protocol
    parts.append(
        table(
            "serving",
            utilisation=serving.utilisation,
            min_replicas=serving.min_replicas,
            threads=serving.threads,
            hardware_price=money(serving.hardware_price, "/h"),
        )
    )
    parts.append(
        table(
            "protocol",
            rounds=protocol.rounds,
            warmup=protocol.warmup,
            seed=protocol.seed,
            hum=f"{protocol.hum_s!r} s",
            max_items=protocol.max_items,
        )
    )
    for site in project.sites:
        price = site.price
        parts.append(
            table(
                f'site."{site.name}"',
                zone=site.zone,
                capacity=watts(site.capacity),
                region=site.region,
                pue=site.pue and {"idle": site.pue.idle, "full": site.pue.full},
                price=price and f"{price.amount_per_kwh!r} {price.currency}/kWh",
            )
        )
    return "\n".join(parts)


# --- projects ----------------------------------------------------------------------------------------

NAMES = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.+-]{0,8}", fullmatch=True)
BACKENDS = st.from_regex(r"[a-z][a-z0-9-]{0,5}(:[a-z0-9][a-z0-9-]{0,5})?", fullmatch=True)
TEXTS = st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=12)
PATHS = TEXTS.filter(lambda text: not text.startswith("package:"))
POSITIVE = st.floats(1e-6, 1e12)
NOT_NEGATIVE = st.floats(0, 1e12)
SHARES = st.floats(1e-6, 1)
MONEY = st.builds(Money, NOT_NEGATIVE, st.sampled_from(["EUR", "USD", "JPY"]))
OPTIONS = st.dictionaries(
    NAMES, TEXTS | st.integers(-(2**63), 2**63 - 1) | st.floats(-1e9, 1e9) | st.booleans(), max_size=3
).map(lambda options: tuple(sorted(options.items())))
ENERGIES = st.builds(Energy, NOT_NEGATIVE)


@st.composite
def budgets(draw: st.DrawFn) -> tuple[Budget, ...]:
    lines = []
    for name in draw(st.lists(NAMES, unique=True, max_size=3)):
        phase = draw(st.sampled_from(Phase))
        per_unit = draw(st.none() | ENERGIES)
        period = draw(st.none() | st.sampled_from(Period))
        total = None if period is None else draw(ENERGIES)
        hum = draw(st.builds(Power, NOT_NEGATIVE)) if phase is Phase.IDLE else None
        if per_unit is None and total is None and hum is None:
            per_unit = draw(ENERGIES)
        lines.append(Budget(name, phase, per_unit, total, period, hum, draw(SHARES), draw(TEXTS)))
    return tuple(lines)


@st.composite
def variants(draw: st.DrawFn) -> tuple[VariantSpec, ...]:
    specs: list[VariantSpec] = []
    for name in draw(st.lists(NAMES, unique=True, min_size=1, max_size=4)):
        if specs and draw(st.booleans()):
            parent = draw(st.sampled_from(specs)).name
            levers = tuple(draw(st.lists(BACKENDS, max_size=2)))
            specs.append(VariantSpec(name, parent=parent, levers=levers, options=draw(OPTIONS)))
        else:
            specs.append(VariantSpec(name, model=draw(PATHS), options=draw(OPTIONS)))
    return tuple(draw(st.permutations(specs)))  # a parent may stand below its child


@st.composite
def projects(draw: st.DrawFn) -> Project:
    declared = draw(variants())
    names = st.sampled_from([variant.name for variant in declared])
    low = draw(POSITIVE)
    # Whole percents, so that writing them back is exact.
    margins = NOT_NEGATIVE.map(lambda margin: (margin, False)) | st.integers(0, 300).map(lambda pct: (pct / 100, True))
    metrics = draw(st.lists(TEXTS, unique=True, max_size=3))
    return Project(
        name=draw(TEXTS),
        unit=draw(TEXTS),
        volume_per_month=draw(st.floats(low, 1e13)),
        volume_low_per_month=low,
        horizon_months=draw(st.floats(0.01, 1e9)),
        task=TaskSpec(
            adapter=draw(BACKENDS),
            dataset=draw(PATHS),
            primary=PrimaryMetric(draw(TEXTS), draw(SHARES), draw(st.none() | st.floats(0, 1)), draw(SHARES)),
            guards=tuple(Guard(metric, *draw(margins)) for metric in metrics),
            options=draw(OPTIONS),
        ),
        variants=declared,
        gate=GateSpec(
            incumbent=draw(names),
            proposal=draw(st.just("") | names),
            mode=draw(st.sampled_from(GateMode)),
            confidence=draw(st.floats(0.51, 0.999)),
            min_grade=draw(st.sampled_from(Grade)),
            eta=draw(st.floats(0, 3)),
            alternatives=draw(st.integers(0, 5)),
            anchor=draw(st.just("") | names),
            value=draw(st.none() | st.builds(Value, TEXTS, MONEY, TEXTS, TEXTS)),
        ),
        budgets=draw(budgets()),
        serving=draw(
            st.builds(Serving, SHARES, NOT_NEGATIVE, st.integers(1, 256), hardware_price=st.none() | MONEY),
        ),
        sites=tuple(
            draw(
                st.builds(
                    SiteSpec,
                    st.just(name),
                    TEXTS,
                    st.builds(Power, NOT_NEGATIVE),
                    st.none() | st.builds(PueCurve, st.floats(1, 3), st.floats(1, 3)),
                    st.none() | st.builds(Price, st.floats(-10, 10), st.just("EUR")),
                    st.just("") | TEXTS,
                )
            )
            for name in draw(st.lists(NAMES, unique=True, max_size=3))
        ),
        protocol=draw(
            st.builds(
                Protocol,
                st.integers(2, 99),
                st.integers(0, 9),
                st.integers(0, 2**63 - 1),
                NOT_NEGATIVE,
                st.none() | st.integers(1, 10**6),
            )
        ),
        carbon_price_per_tonne=draw(st.none() | MONEY),
        root="here",
        source="here/energy.toml",
    )


@given(projects())
def test_a_project_written_as_toml_loads_back_equal(project: Project):
    assert loads_project(write(project), Path("here/energy.toml")) == project
