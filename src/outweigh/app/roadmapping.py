"""The roadmap: what each feature is to deliver and draw, quarter by quarter, measured where it can be."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from outweigh.app.files import find_ledger
from outweigh.app.weighing import sites_of
from outweigh.core.budget import Budget
from outweigh.core.constants import J_PER_WH, S_PER_MONTH
from outweigh.core.measurement import Grade
from outweigh.core.nesting import lineage
from outweigh.core.project import Project
from outweigh.core.quantities import Energy
from outweigh.core.receipt import Receipt, RunStatus
from outweigh.core.roadmap import Feature, Quarter
from outweigh.core.rounding import plus_minus, si, si_prefix, significant
from outweigh.core.site import Site
from outweigh.plan import planning_pue
from outweigh.ports import ReceiptFilter, Store
from outweigh.report.figures import energy_interval, score_interval

#: What a planned figure may be off by, either way. A convention: nobody has measured how good such figures are here;
#: the reconciliation of what shipped says it for one team.
ESTIMATE_FACTOR = 2.0
_MOST_QUARTERS = 12
_CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True)
class _Figure:
    """A value with its 95 % interval; ends are None where no interval is known."""

    value: float
    low: float | None
    high: float | None

    def times(self, factor: float) -> _Figure:
        return _Figure(self.value * factor, _scaled(self.low, factor), _scaled(self.high, factor))


@dataclass(frozen=True, slots=True)
class _Known:
    """What is known of a feature's variant: per unit [J], quality, p95 [ms]."""

    per_unit_j: _Figure
    quality: _Figure | None
    p95_ms: _Figure | None
    state: str  # "measured" or "estimate"
    grade: Grade
    method: str
    source: str


def roadmap_rows(
    project_path: Path, *, ledger: Path | str | None = None, now: datetime | None = None
) -> list[dict[str, Any]]:
    """Feature × quarter from this quarter on, a row each. Full precision, unit in the key; None is missing.

    Energy is IT energy, as receipts and budget totals have it. Money and carbon are of facility energy at the first
    site: its PUE, its price, its zone's yearly location-based intensity.

    Raises:
        ConfigError, UsageError: the project or its ledger cannot be read.
        FactorMissing: a site names what the tables do not know.
    """
    from outweigh.config import load_project
    from outweigh.ledger import open_ledger

    project = load_project(project_path)
    store = open_ledger(find_ledger(ledger, Path(project.root)))
    try:
        return roadmap_of(project, store, now or datetime.now(UTC))
    finally:
        store.close()


def roadmap_of(project: Project, store: Store, now: datetime) -> list[dict[str, Any]]:
    """As `roadmap_rows`, of a project that is read and a ledger that is open. Raises FactorMissing."""
    if not project.roadmap:
        return []
    sites = sites_of(project)
    receipts = [one for _, one in store.receipts(ReceiptFilter(project=project.name))]
    drafts = [
        (feature, quarter, _known(feature, project, receipts)) for feature, quarter in _in_force(project.roadmap, now)
    ]
    drawn = [(feature, quarter, _energy(feature, quarter, known)) for feature, quarter, known in drafts]
    home = sites[0] if sites else None
    return [_row(feature, quarter, known, project, home, drawn) for feature, quarter, known in drafts]


def _in_force(roadmap: Sequence[Feature], now: datetime) -> Iterator[tuple[Feature, Quarter]]:
    """Each feature's entry of each quarter, from the one `now` is in to the last that is written of."""
    if not roadmap:
        return
    quarter = Quarter(now.year, (now.month - 1) // 3 + 1)
    last = max(quarter, *(entry.quarter for entry in roadmap))
    names = tuple(dict.fromkeys(entry.feature for entry in roadmap))
    for _ in range(_MOST_QUARTERS):
        for name in names:
            entries = [entry for entry in roadmap if entry.feature == name and entry.quarter <= quarter]
            entry = max(entries, key=lambda one: one.quarter, default=None)
            if entry is not None and entry.volume_per_month > 0:
                yield entry, quarter
        if quarter == last:
            return
        quarter = quarter.next


def _known(feature: Feature, project: Project, receipts: Sequence[Receipt]) -> _Known | None:
    """What receipts know of the variant; else what was planned; None where its variant has no receipt yet."""
    measured = _measured(feature.variant, project, receipts) if feature.variant else None
    if measured is not None or feature.planned is None:
        return measured
    planned = feature.planned
    per_unit_j = planned.energy_per_unit.joules
    return _Known(
        _Figure(per_unit_j, per_unit_j / ESTIMATE_FACTOR, per_unit_j * ESTIMATE_FACTOR),
        None if planned.quality is None else _Figure(planned.quality, None, None),
        None if planned.p95_ms is None else _Figure(planned.p95_ms, None, None),
        "estimate",
        Grade.D,
        f"declared; the interval is a factor of {ESTIMATE_FACTOR:g} either way, by convention",
        planned.source,
    )


def _measured(variant: str, project: Project, receipts: Sequence[Receipt]) -> _Known | None:
    """From the rounds of the latest sitting that measured the variant: an earlier one may have had other content."""
    rounds = [
        one
        for one in receipts
        if one.variant == variant and one.round_index is not None and one.units and one.status is RunStatus.COMPLETED
    ]
    if not rounds:
        return None
    latest = max(rounds, key=lambda one: one.interval.end)
    rounds = [one for one in rounds if one.batch == latest.batch]
    per_unit = np.array([one.total.value.joules / (one.units or 1.0) for one in rounds])
    # Meters err alike from round to round: their relative uncertainty is that of the sum.
    relative = sum(one.total.standard_uncertainty.joules for one in rounds) / sum(
        one.total.value.joules for one in rounds
    )
    found = energy_interval(per_unit, _CONFIDENCE, relative)
    metric = project.task.primary.metric
    scores = [figure.value for one in rounds for figure in one.quality if figure.metric == metric]
    p95s = [one.latency.p95_ms for one in rounds if one.latency is not None]
    return _Known(
        _Figure(found["value"], found["absolute_low"], found["absolute_high"]),
        _over_rounds(scores),
        _over_rounds(p95s),
        "measured",
        Grade.worst(one.grade for one in rounds),
        f"{latest.total.method}, {len(rounds)} rounds",
        latest.total.source,
    )


def _over_rounds(values: Sequence[float]) -> _Figure | None:
    if not values:
        return None
    array = np.array([*values, 0.5])[:-1]  # of floats, also where all are whole
    ends = score_interval(array, _CONFIDENCE) if len(values) > 1 and not set(values) <= {0.0, 1.0} else None
    return _Figure(float(array.mean()), ends["low"] if ends else None, ends["high"] if ends else None)


def _units(feature: Feature, quarter: Quarter) -> float:
    return feature.volume_per_month * quarter.interval.seconds / S_PER_MONTH


def _energy(feature: Feature, quarter: Quarter, known: _Known | None) -> _Figure | None:
    return None if known is None else known.per_unit_j.times(_units(feature, quarter))


_Drawn = Sequence[tuple[Feature, Quarter, _Figure | None]]


def _row(
    feature: Feature, quarter: Quarter, known: _Known | None, project: Project, home: Site | None, drawn: _Drawn
) -> dict[str, Any]:
    energy = _energy(feature, quarter, known)
    facility = None if energy is None or home is None else energy.times(planning_pue(home))
    money = None if facility is None or home is None else (Energy(1.0) * home.price)
    carbon = None if facility is None or home is None else (Energy(1.0) * home.intensity)
    row: dict[str, Any] = {
        "feature": feature.feature,
        "quarter": str(quarter),
        "state": "not measured" if known is None else known.state,
        "variant": feature.variant or None,
        "units": _units(feature, quarter),
        **_figure("quality", None if known is None else known.quality),
        **_figure("p95", None if known is None else known.p95_ms, "_ms"),
        **_figure("energy_per_unit", None if known is None else known.per_unit_j, "_j"),
        **_figure("energy", energy, "_j"),
        "grade": None if known is None else str(known.grade),
        "method": "" if known is None else known.method,
        "source": "" if known is None else known.source,
        **_headroom(feature, quarter, project.budgets, drawn),
        **_figure("money", None if facility is None or money is None else facility.times(money.amount)),
        "currency": None if money is None else money.currency,
        **_figure("carbon", None if facility is None or carbon is None else facility.times(carbon.grams / 1000), "_kg"),
        "carbon_basis": None if home is None else f"{home.intensity.basis}, {home.intensity.scope}",
        "site": None if home is None else home.name,
        "factors": [] if home is None else [f"{one.name}: {one.source}, {one.issued}" for one in home.factors],
        **_reconciled(feature, known),
    }
    return row


def _headroom(feature: Feature, quarter: Quarter, budgets: Sequence[Budget], drawn: _Drawn) -> dict[str, Any]:
    """What the tightest line it draws has left over in the quarter once every feature on it is served [J]."""
    own = next((line for line in budgets if line.name == feature.budget), None)
    nothing = {"budget": feature.budget or None, "headroom_line": None, "headroom_j": None, "headroom_low_j": None}
    if own is None:
        return nothing
    found = []
    for line in lineage(own, budgets):
        limit = line.at(quarter.interval.start)
        if limit.total is None or limit.period is None:
            continue
        limit_j = limit.total.joules * quarter.interval.seconds / limit.period.seconds
        inside = {one.name for one in budgets if line in lineage(one, budgets)}
        loads = [energy for other, when, energy in drawn if when == quarter and other.budget in inside]
        if any(load is None for load in loads):
            return nothing | {"headroom_line": line.name}
        central_j = limit_j - sum(load.value for load in loads if load is not None)
        ends = [load.high for load in loads if load is not None]
        low_j = None if any(end is None for end in ends) else limit_j - sum(end for end in ends if end is not None)
        found.append((central_j, low_j, line.name))
    if not found:
        return nothing
    central_j, low_j, name = min(found, key=lambda one: one[0])
    return nothing | {"headroom_line": name, "headroom_j": central_j, "headroom_low_j": low_j}


def _reconciled(feature: Feature, known: _Known | None) -> dict[str, Any]:
    """What shipped against what was thought of it."""
    planned = feature.planned
    shipped = planned is not None and known is not None and known.state == "measured"
    thought_j = None if planned is None else planned.energy_per_unit.joules
    return {
        "planned_energy_per_unit_j": thought_j,
        "planned_source": "" if planned is None else planned.source,
        **_figure("measured_over_planned", known.per_unit_j.times(1 / thought_j) if shipped and known and thought_j else
                  None),
    }  # fmt: skip


def _figure(name: str, figure: _Figure | None, unit: str = "") -> dict[str, Any]:
    return {
        f"{name}{unit}": None if figure is None else figure.value,
        f"{name}_low{unit}": None if figure is None else figure.low,
        f"{name}_high{unit}": None if figure is None else figure.high,
    }


def _scaled(value: float | None, factor: float) -> float | None:
    return None if value is None else value * factor


# --- for people -------------------------------------------------------------------------------------

HEADINGS = (
    "feature", "quarter", "state", "quality", "p95", "per unit", "a quarter", "headroom", "money", "carbon", "grade",
)  # fmt: skip


def roadmap_table(rows: Sequence[Mapping[str, Any]]) -> list[tuple[str, ...]]:
    """The rows as text, in the order of HEADINGS; a dash is missing."""
    return [
        (
            row["feature"],
            row["quarter"],
            row["state"],
            _shown(row, "quality"),
            _shown(row, "p95", "_ms", " ms"),
            _in_units(row, "energy_per_unit", "_j", 1.0, "J"),
            _in_units(row, "energy", "_j", J_PER_WH, "Wh"),
            _headroom_shown(row),
            _shown(row, "money", unit=f" {row['currency']}"),
            _in_units(row, "carbon", "_kg", 1e-3, "g"),
            row["grade"] or "-",
        )
        for row in rows
    ]


def roadmap_sentences(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """What a reader has to know beside the table: estimates, what shipped against its plan, lines that do not hold."""
    said: dict[str, None] = {}
    for row in rows:
        name = row["feature"]
        if row["state"] == "estimate":
            said[f"{name}: an estimate of grade D, from {row['source']}; {row['method']}"] = None
        elif row["state"] == "not measured":
            said[f"{name}: {row['variant']} has no receipt and no planned figure; measure it: `outweigh compare`"] = (
                None
            )
        elif row["measured_over_planned"] is not None:
            ratio = plus_minus(*(row[f"measured_over_planned{end}"] for end in ("", "_low", "_high")))
            said[f"{name}: draws {ratio} times what was planned ({row['planned_source']})"] = None
        if row["headroom_j"] is not None and row["headroom_j"] < 0:
            short = si(-row["headroom_j"] / J_PER_WH, "Wh")
            said[f"{row['quarter']}: {row['headroom_line']} is short of {short} for what is planned on it"] = None
        elif row["headroom_low_j"] is not None and row["headroom_low_j"] < 0:
            said[f"{row['quarter']}: {row['headroom_line']} may not hold what is planned on it"] = None
    sites = {(row["site"], row["carbon_basis"], tuple(row["factors"])) for row in rows if row["site"]}
    for site, basis, factors in sorted(sites):
        said[f"money and carbon ({basis}) at {site}: {'; '.join(factors)}"] = None
    if rows and not sites:
        said["no site is declared, so there is neither money nor carbon"] = None
    return list(said)


def _shown(row: Mapping[str, Any], name: str, suffix: str = "", unit: str = "") -> str:
    value, low, high = (row[f"{name}{end}{suffix}"] for end in ("", "_low", "_high"))
    if value is None:
        return "-"
    return f"{plus_minus(value, low, high) if low is not None else significant(value)}{unit}"


def _in_units(row: Mapping[str, Any], name: str, suffix: str, per: float, unit: str) -> str:
    value, low, high = (row[f"{name}{end}{suffix}"] for end in ("", "_low", "_high"))
    if value is None:
        return "-"
    factor, letter = si_prefix(value / per)
    ends = [None if end is None else end / per / factor for end in (low, high)]
    return f"{plus_minus(value / per / factor, *ends)} {letter}{unit}"


def _headroom_shown(row: Mapping[str, Any]) -> str:
    if row["headroom_j"] is None:
        return "-"
    return f"{si(row['headroom_j'] / J_PER_WH, 'Wh')} of {row['headroom_line']}"
