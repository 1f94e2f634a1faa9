"""The ledger's verbs that take more than the ledger: foreign files, factors of a place, runs that were cut off."""

from __future__ import annotations

import contextlib
import math
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path
from typing import TYPE_CHECKING, Any

from outweigh.app.files import find_ledger, opened
from outweigh.app.keeping import Kept, beside
from outweigh.core.budget import Phase
from outweigh.core.errors import FactorMissing, UsageError
from outweigh.core.intervals import Interval
from outweigh.core.measurement import utc
from outweigh.core.rounding import si, significant
from outweigh.ports import ReceiptFilter, View, ViewKind

if TYPE_CHECKING:
    from outweigh.core.receipt import Receipt

_OWN = "jsonl"


def import_records(
    file: Path,
    *,
    kind: str = "",
    project: str = "",
    phase: str = "development",
    timezone: str = "",
    ended: str = "",
    plugin: str = "",
    ledger: Path | str | None = None,
) -> tuple[int, int, tuple[str, ...]]:
    """Take in our own export or another tool's records.

    Args:
        kind: "jsonl", one of `ledger.imports.FORMATS`, or "" to guess.
        project, phase: of foreign records.
        timezone: of stamps that name none, "Europe/Berlin"; UTC when empty.
        ended: when a record ended that does not say so, ISO 8601; the file's own time stamp when empty.
        plugin: for sacct, the cluster's AcctGatherEnergyType.

    Returns:
        (new, known, sentences on records left out).

    Raises:
        UsageError: the file, the zone, the time or the plugin is none.
    """
    from outweigh.ledger import import_jsonl
    from outweigh.ledger.imports import About, import_foreign

    try:
        text = file.read_text(encoding="utf-8")
        changed = datetime.fromtimestamp(file.stat().st_mtime, UTC)
    except (OSError, UnicodeDecodeError) as err:
        raise UsageError(f"{file} cannot be read as text ({err})", "Name a file of receipts or records") from err
    zone = _zone(timezone)
    end = _moment(ended, zone) if ended else changed
    own = kind == _OWN or (not kind and text.lstrip().startswith('{"receipt":'))
    with opened(ledger, create=True) as store:
        if own:
            new, known = import_jsonl(store, text.splitlines(), source=str(file))
            return new, known, ()
        about = About(str(file), project=project, phase=Phase(phase), zone=zone, ended=end, plugin=plugin)
        return import_foreign(store, text, about, kind)


def _zone(name: str) -> tzinfo:
    from zoneinfo import ZoneInfo

    try:
        return ZoneInfo(name) if name else UTC
    except (KeyError, ValueError, OSError) as err:  # ZoneInfoNotFoundError is a KeyError
        raise UsageError(f"{name!r} is no time zone known here", "Give a name such as Europe/Berlin, or UTC") from err


def _moment(text: str, zone: tzinfo) -> datetime:
    try:
        found = datetime.fromisoformat(text)
    except ValueError as err:
        raise UsageError(f"{text!r} is no time", "Write it as 2026-11-23T14:05:00+01:00") from err
    return (found if found.tzinfo else found.replace(tzinfo=zone)).astimezone(UTC)


def samples_of(address: str, ledger: Path | str | None = None) -> tuple[Receipt, str, Path, str]:
    """A receipt with its address, and where its samples are: their folder and the run they were kept for.

    The samples are its own, or those of the sitting it belongs to (its batch); the run is "" when there are none.

    Raises:
        UsageError: no receipt's address starts so.
    """
    from outweigh.ledger.samples import has_samples

    where = find_ledger(ledger)
    with opened(where) as store:
        receipt = store.get(address)
    _, folder = beside(where)
    for run in (receipt.run_id, receipt.batch):
        with contextlib.suppress(UsageError):  # an id from elsewhere that cannot be a folder's name has no folder
            if run and has_samples(folder, run):
                return receipt, receipt.content_hash, folder, run
    return receipt, receipt.content_hash, folder, ""


def sample_rows(address: str, ledger: Path | str | None = None) -> list[dict[str, Any]]:
    """Power over time of one receipt, as far as it was kept.

    Raises:
        UsageError: no receipt's address starts so, or it has no samples.
        MissingExtra: DuckDB is not installed.
    """
    from outweigh.ledger.samples import read_samples

    receipt, whole, folder, run = samples_of(address, ledger)
    if not run:
        raise UsageError(
            f"receipt {whole[:12]} has no samples beside the ledger",
            "They are kept of runs of a second or more, where `outweigh doctor` says that parquet is ready",
        )
    start_s, end_s = receipt.interval.start.timestamp(), receipt.interval.end.timestamp()
    # The last step ends with the run, a step being the time up to its stamp.
    found = read_samples(folder, run, start_s=start_s, end_s=math.nextafter(end_s, math.inf))
    return [
        {"receipt": whole, "time": utc(datetime.fromtimestamp(t_s, UTC)), "t_s": t_s - start_s, "channel": str(channel),
         "power_w": power_w}
        for t_s, channel, power_w in zip(
            found.t_s.tolist(), found.channel.tolist(), found.power_w.tolist(), strict=True
        )
    ]  # fmt: skip


def recompute_views(
    zone: str, *, region: str = "", batch: str = "", phase: str = "", ledger: Path | str | None = None
) -> tuple[list[dict[str, Any]], list[str]]:
    """Carbon and money of receipts under a zone's factors; every version is kept.

    Returns:
        Rows (full figures, unit in the key, `shown` for people), and sentences on factors that are not known.

    Raises:
        FactorMissing: the zone or region is unknown.
    """
    from outweigh.grid import site_factors
    from outweigh.ledger import recompute

    source = site_factors()
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


def hum_rows(
    days: float, *, ledger: Path | str | None = None, now: datetime | None = None, project: str = ""
) -> list[dict[str, Any]]:
    """Who owned the hum of the last days, largest first, with an action for each; of all projects by default.

    Raises:
        UsageError: `days` is not above zero.
    """
    from outweigh.measure.hum import hum_view

    if not 0 < days < 36_525:
        raise UsageError(f"{days:g} days are no period", "Give --days above 0, such as 30")
    end = now or datetime.now(UTC)
    period = Interval(end - timedelta(days=days), end)
    which = ReceiptFilter(within=period, project=project)
    with opened(ledger) as store:
        rows = hum_view((receipt for _, receipt in store.receipts(which)), period)
    return [
        {
            "owner": row.owner, "hum_j": row.hum.joules, "work_j": row.work.joules, "share_of_hum": row.share,
            "runs": row.runs, "runs_without_hum": row.unknown, "energy_without_hum_j": row.unknown_energy.joules,
            **{
                f"hum_{part}_j": None if energy is None else energy.joules
                for part, energy in (
                    ("allocated", row.split.allocated), ("unallocated", row.split.unallocated),
                    ("host", row.split.host), ("cooling", row.split.cooling),
                )
            },
            "action": row.action,
        }
        for row in rows
    ]  # fmt: skip
