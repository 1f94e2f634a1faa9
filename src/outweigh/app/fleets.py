"""A fleet's samples for the command line: made up, imported, shown."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from outweigh.core.errors import UsageError
from outweigh.core.intervals import Interval
from outweigh.core.measurement import utc
from outweigh.ledger.fleet import Fleet, append_minutes, fleet_folder
from outweigh.ledger.fleet.rollups import Progress

if TYPE_CHECKING:
    from outweigh.ledger.fleet import Known

_MOST_SERVERS, _MOST_DAYS = 100_000, 3_660


def folder_of(folder: Path | None) -> Path:
    """The fleet's folder: the one named, or the one beside the ledger found from here upwards."""
    if folder is not None:
        return folder
    from outweigh.app.files import find_ledger

    where = find_ledger(None)
    return fleet_folder(where.parent.parent if isinstance(where, Path) else Path())


def fleet_rows(folder: Path | None, progress: Progress | None = None) -> list[dict[str, Any]]:
    """What there is, in one row. Raises as `Fleet`."""
    with Fleet.open(folder_of(folder), progress=progress) as fleet:
        state, latest = fleet.state(), fleet.latest()
        row = {
            "folder": str(fleet.folder), "nodes": state.nodes, "gpus": state.gpus, "sites": list(state.sites),
            "owners": [name for name in state.owners if name], "samples": state.rows,
            "power_w": float(latest.power_w.sum()), "power_at": utc(latest.known.window.start),
        }  # fmt: skip
        return [row | _how(state.known)]


def hum_rows(
    folder: Path | None, *, days: float = 30.0, site: str = "", progress: Progress | None = None
) -> list[dict[str, Any]]:
    """Energy by owner in the last `days` of the samples, the largest hum first.

    Raises:
        UsageError: no fleet, no such site, days that are none.
    """
    with Fleet.open(folder_of(folder), progress=progress) as fleet:
        found = fleet.hum_by_owner(_last(fleet, days), site=site)
    split, known = found.split, found.known
    whole_j = float(split.hum_j.sum())
    rows = []
    for at, owner in enumerate(found.owners):
        bounds = known.bounds_of_hum(float(split.hum_low_j[at]), float(split.hum_high_j[at]))
        rows.append(
            {
                "owner": owner, "hum_j": float(split.hum_j[at]), "hum_low_j": bounds.low, "hum_high_j": bounds.high,
                "share_of_hum": float(split.hum_j[at]) / whole_j if whole_j else None,
                "work_j": float(split.work_j[at]), "unsplit_j": float(split.unsplit_j[at]),
                "energy_j": float(split.energy_j[at]), "node_hours": int(found.node_minutes[at]) / 60,
                "idle_node_hours": int(found.idle_node_minutes[at]) / 60,
            }
            | _how(known)
        )  # fmt: skip
    return rows


def node_rows(
    folder: Path | None,
    *,
    days: float = 30.0,
    by: str = "hum",
    limit: int = 20,
    owner: str | None = None,
    site: str = "",
    progress: Progress | None = None,
) -> list[dict[str, Any]]:
    """The nodes with the most `by` in the last `days` of the samples. Raises as `Fleet.top_nodes`."""
    with Fleet.open(folder_of(folder), progress=progress) as fleet:
        found = fleet.top_nodes(_last(fleet, days), by=by, limit=limit, owner=owner, site=site)
    split = found.split
    return [
        {
            "node": node, "site": found.sites[at], "owner": found.owners[at], "gpus": int(found.gpus[at]),
            "hum_j": float(split.hum_j[at]), "work_j": float(split.work_j[at]),
            "unsplit_j": float(split.unsplit_j[at]), "energy_j": float(split.energy_j[at]),
            "peak_w": float(found.max_w[at]), "idle_share": int(found.idle_minutes[at]) / int(found.minutes[at]),
            "hours": int(found.minutes[at]) / 60,
        }
        | _how(found.known)
        for at, node in enumerate(found.nodes)
    ]  # fmt: skip


def import_minutes(
    file: Path,
    folder: Path | None,
    *,
    metric: str = "",
    owner_labels: Sequence[str] = (),
    site: str = "",
    site_label: str = "",
) -> tuple[int, int, Path, tuple[str, ...]]:
    """Bring a Prometheus server's answer into a fleet.

    Returns:
        (samples, units that draw, the fleet's folder, a sentence for each thing left out).

    Raises:
        UsageError: the file cannot be read, or is no such answer.
    """
    from outweigh.ledger.fleet.incoming import read_prometheus
    from outweigh.ledger.imports import About

    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as err:
        raise UsageError(f"{file} cannot be read as text ({err})", "Name the answer to a range query") from err
    into = folder_of(folder)
    minutes, how, left_out = read_prometheus(
        text, About(str(file)), metric=metric, owner_labels=owner_labels, site=site, site_label=site_label
    )
    append_minutes(into, minutes, how)
    return len(minutes), len(minutes.node.names), into, left_out


def make_synthetic(
    folder: Path,
    *,
    servers: int,
    days: int,
    seed: int,
    start: str = "",
    progress: Progress | None = None,
) -> tuple[int, int]:
    """Make up a fleet: two thirds of the servers with 16 accelerators, the rest with 18, and roll it up.

    Args:
        folder: an empty one.
        start: the first day in UTC, "2026-10-01"; "" for that.

    Returns:
        (samples, accelerators).

    Raises:
        UsageError: the folder has samples, or a number or day that cannot be.
    """
    from outweigh.ledger.fleet import synthetic

    if not 1 <= servers <= _MOST_SERVERS or not 1 <= days <= _MOST_DAYS:
        raise UsageError(
            f"{servers} servers for {days} days cannot be made up",
            f"Give 1 to {_MOST_SERVERS} servers and 1 to {_MOST_DAYS} days",
        )
    if seed < 0:
        raise UsageError(f"{seed} is no seed", "Give 0 or more")
    first = synthetic.TEN_THOUSAND.start if not start else _day(start)
    large = servers // 3
    shape = synthetic.Shape(((servers - large, 16), (large, 18)), days, first, seed)
    tell = progress or (lambda _what, _fraction: None)
    rows = synthetic.make(folder, shape, progress=lambda what, share: tell(what, 0.7 * share))
    Fleet.open(folder, progress=lambda what, share: tell(what, 0.7 + 0.3 * share)).close()
    return rows, shape.gpus


def _day(text: str) -> datetime:
    from datetime import UTC, date

    try:
        found = date.fromisoformat(text)
    except ValueError as err:
        raise UsageError(f"{text!r} is no day", "Write it as 2026-10-01") from err
    if not 1970 <= found.year < 2190:
        raise UsageError(f"{text} is out of reach", "Give a day from 1970 to 2189")
    return datetime(found.year, found.month, found.day, tzinfo=UTC)


def _last(fleet: Fleet, days: float) -> Interval:
    if not 0 < days <= _MOST_DAYS:
        raise UsageError(f"{days:g} days cannot be looked back", f"Give more than 0 and up to {_MOST_DAYS}")
    whole = fleet.state().known.window
    return Interval(max(whole.start, whole.end - timedelta(days=days)), whole.end)


def _how(known: Known) -> dict[str, Any]:
    return {
        "start": utc(known.window.start), "end": utc(known.window.end), "coverage": known.coverage.share,
        "scope": str(known.scope), "grade": str(known.grade), "method": ", ".join(map(str, known.methods)),
        "source": "; ".join(known.sources), "doubt": known.doubt, "synthetic": known.synthetic,
    }  # fmt: skip
