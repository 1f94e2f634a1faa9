"""The ledger's verbs that take more than the ledger: foreign files, factors of a place, runs that were cut off."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from outweigh.app.files import find_ledger, opened
from outweigh.app.keeping import Kept
from outweigh.core.budget import Phase
from outweigh.core.errors import FactorMissing, UsageError
from outweigh.core.intervals import Interval
from outweigh.core.rounding import si, significant
from outweigh.ports import ReceiptFilter, View, ViewKind
from outweigh.registry import grid_sources

_OWN = "jsonl"


def import_records(
    file: Path, *, kind: str = "", project: str = "", phase: str = "development", ledger: Path | str | None = None
) -> tuple[int, int, tuple[str, ...]]:
    """Take in our own export or another tool's records.

    Args:
        kind: "jsonl", one of `ledger.imports.FORMATS`, or "" to guess.
        project, phase: of foreign records; where they say nothing of their end, the file's own time stamp is taken.

    Returns:
        (new, known, sentences on records left out).
    """
    from outweigh.ledger import import_jsonl
    from outweigh.ledger.imports import About, import_foreign

    try:
        text = file.read_text(encoding="utf-8")
        changed = datetime.fromtimestamp(file.stat().st_mtime, UTC)
    except (OSError, UnicodeDecodeError) as err:
        raise UsageError(f"{file} cannot be read as text ({err})", "Name a file of receipts or records") from err
    own = kind == _OWN or (not kind and text.lstrip().startswith('{"receipt":'))
    with opened(ledger, create=True) as store:
        if own:
            new, known = import_jsonl(store, text.splitlines(), source=str(file))
            return new, known, ()
        about = About(str(file), project=project, phase=Phase(phase), ended=changed)
        return import_foreign(store, text, about, kind)


def recompute_views(
    zone: str, *, region: str = "", batch: str = "", phase: str = "", ledger: Path | str | None = None
) -> tuple[list[dict[str, Any]], list[str]]:
    """Carbon and money of receipts under a zone's factors; every version is kept.

    Returns:
        Rows (full figures, unit in the key, `shown` for people), and sentences on factors that are not known.

    Raises:
        FactorMissing: the zone or region is unknown.
    """
    from outweigh.ledger import recompute

    source = grid_sources.get("tables")()
    which = ReceiptFilter(batch=batch, phase=phase)
    pue = source.pue(region) if region else None
    missing: list[str] = []
    with opened(ledger) as store:
        found = list(recompute(store, which, source.intensity(zone), pue=pue))
        try:
            found += recompute(store, which, source.price(zone), pue=pue)
        except FactorMissing as err:
            missing.append(f"no cost: {err}")
    return [_row(view) for view in found], missing


def _row(view: View) -> dict[str, Any]:
    value = dict(view.value)
    if view.kind is ViewKind.COST:
        shown = f"{significant(float(value['cost']))} {value['currency']}"
    else:
        shown = f"{si(float(value['carbon_g']), 'g')} CO2e ({value['basis']}, {value['scope']})"
    factor = view.factors[0]
    return {
        "receipt": view.receipt, "kind": view.kind.value, **value, "shown": shown,
        "factor": f"{factor.name}, {factor.issued}", "factor_set": view.factor_set, "method": view.method,
        "computed_at": view.computed_at,
    }  # fmt: skip


def recover_runs(ledger: Path | str | None = None) -> list[str]:
    """Close runs that were cut off; one sentence each."""
    told: list[str] = []
    Kept(find_ledger(ledger), told.append).close()
    return told


def hum_rows(days: float, *, ledger: Path | str | None = None, now: datetime | None = None) -> list[dict[str, Any]]:
    """Who owned the hum of the last days, largest first, with an action for each.

    Raises:
        UsageError: `days` is not above zero.
    """
    from outweigh.measure.hum import hum_view

    if not 0 < days < 36_525:
        raise UsageError(f"{days:g} days are no period", "Give --days above 0, such as 30")
    end = now or datetime.now(UTC)
    period = Interval(end - timedelta(days=days), end)
    with opened(ledger) as store:
        rows = hum_view((receipt for _, receipt in store.receipts(ReceiptFilter(within=period))), period)
    return [
        {
            "owner": row.owner, "hum_j": row.hum.joules, "work_j": row.work.joules, "share_of_hum": row.share,
            "runs": row.runs, "runs_without_hum": row.unknown, "energy_without_hum_j": row.unknown_energy.joules,
            "action": row.action,
        }
        for row in rows
    ]  # fmt: skip
