"""Budget lines of a project against its ledger."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from outweigh.app.files import find_ledger
from outweigh.core.constants import J_PER_WH, S_PER_DAY
from outweigh.core.intervals import Interval
from outweigh.core.rounding import si

if TYPE_CHECKING:
    from outweigh.core.project import Project
    from outweigh.core.receipt import Receipt
    from outweigh.ledger import Burn
    from outweigh.ports import Store

_HISTORY = timedelta(days=31)  # as far back as a forecast looks, and a day


def budget_rows(
    project: Path, *, ledger: Path | str | None = None, now: datetime | None = None
) -> list[dict[str, Any]]:
    """Every declared line as it stands: drawn, left, burn rates, forecast, state. Full precision, unit in the key.

    Raises:
        ConfigError, UsageError: the project or its ledger cannot be read.
        InvalidQuantity: lines that promise more than the whole they are part of.
    """
    from outweigh.config import load_project
    from outweigh.ledger import open_ledger

    declared = load_project(project)
    now = now or datetime.now(UTC)
    where = find_ledger(ledger, Path(declared.root))
    if isinstance(where, Path) and ledger is None and not where.exists():
        return rows_of(declared, (), now)  # who only looks starts no ledger, and there nothing is drawn yet
    with closing(open_ledger(where, create=False)) as store:
        return lines_of(declared, store, now)


def lines_of(project: Project, store: Store, now: datetime) -> list[dict[str, Any]]:
    """As `budget_rows`, of a project that is read and a ledger that is open. Raises InvalidQuantity."""
    return rows_of(project, receipts_for(project, store, now), now)


def rows_of(project: Project, receipts: Iterable[Receipt], now: datetime) -> list[dict[str, Any]]:
    """As `budget_rows`, of receipts that are read. Raises InvalidQuantity."""
    from outweigh.ledger import burn_down

    return [_row(burn) for burn in burn_down(project.budgets, receipts, now)]


def receipts_for(project: Project, store: Store, now: datetime) -> list[Receipt]:
    """The receipts that its lines and their forecasts rest on: of the periods that run, and of a month of history."""
    from outweigh.ports import ReceiptFilter

    begun = min([line.period.containing(now).start for line in project.budgets if line.period is not None], default=now)
    within = Interval(min(begun, now - _HISTORY), now)
    return [one for _, one in store.receipts(ReceiptFilter(project=project.name, within=within))]


def _row(burn: Burn) -> dict[str, Any]:
    line, forecast = burn.budget, burn.exhaustion
    return {
        "budget": line.name,
        "phase": str(line.phase),
        "owner": line.owner,
        "part_of": line.parent,
        "state": str(burn.state),
        "period_start": burn.period.start.isoformat(),
        "period_end": burn.period.end.isoformat(),
        "limit_j": None if line.total is None else line.total.joules,
        "limit_per_unit_j": None if line.per_unit is None else line.per_unit.joules,
        "limit_hum_w": None if line.hum is None else line.hum.watts,
        "drawn_j": burn.drawn.energy.joules,
        "drawn_low_j": burn.bounds_j.low,
        "drawn_high_j": burn.bounds_j.high,
        "left_j": None if burn.left is None else burn.left.joules,
        "share": burn.share,
        "per_unit_j": burn.per_unit_j,
        "hum_w": burn.hum_w,
        "burn_rates": [{"window_s": one.window.seconds, "rate": one.rate} for one in burn.rates],
        "exhausted_at": _stamp(forecast.at) if forecast else None,
        "exhausted_earliest": _stamp(forecast.earliest) if forecast else None,
        "exhausted_latest": _stamp(forecast.latest) if forecast else None,
        "exhausted_probability": forecast.probability if forecast else None,
        "forecast_rests_on_steps": forecast.steps if forecast else 0,
        "receipts": burn.drawn.receipts,
        "failed": burn.drawn.failed,
        "unusable": len(burn.drawn.unusable),
        "grade": None if burn.drawn.grade is None else str(burn.drawn.grade),
        "reasons": list(burn.reasons),
    }


def _stamp(when: datetime | None) -> str | None:
    return None if when is None else when.isoformat(timespec="minutes")


def budget_sentences(row: dict[str, Any]) -> Sequence[str]:
    """What a person has to know of a line: its forecast, and why it is not well."""
    found = [str(reason) for reason in row["reasons"]]
    if row["exhausted_at"] is not None and row["share"] is not None and row["share"] < 1:
        late = row["exhausted_latest"] or "after the period"
        found.append(
            f"used up about {row['exhausted_at'][:10]} (95 %: {row['exhausted_earliest'][:10]} to {late[:10]}), "
            f"by the last {row['forecast_rests_on_steps']} steps"
        )
    elif row["limit_j"] is not None and row["exhausted_probability"] is None:
        found.append("too little history to say when it will be used up: three days of receipts are needed")
    if row["unusable"]:
        found.append(f"{row['unusable']} runs left no usable figure; what they drew is missing here")
    return found


def limit_text(row: dict[str, Any]) -> str:
    """The limits of a line in words: "35.0 MWh a month", "1.2 Wh per unit", "180 W"."""
    days = (
        datetime.fromisoformat(row["period_end"]) - datetime.fromisoformat(row["period_start"])
    ).total_seconds() / S_PER_DAY
    limits = []
    if row["limit_j"] is not None:
        limits.append(f"{in_wh(row['limit_j'])} in {days:.0f} d")
    if row["limit_per_unit_j"] is not None:
        limits.append(f"{in_wh(row['limit_per_unit_j'])} per unit")
    if row["limit_hum_w"] is not None:
        limits.append(f"hum {si(row['limit_hum_w'], 'W')}")
    return ", ".join(limits)


def in_wh(joules: float, half_width_j: float | None = None) -> str:
    """Energy as budgets are written.

    >>> in_wh(1.26e11), in_wh(3.6e6, 3.6e4)
    ('35 MWh', '1.000 ± 0.010 kWh')
    """
    return si(joules / J_PER_WH, "Wh", None if half_width_j is None else half_width_j / J_PER_WH)
