"""The segments of a fleet: Parquet files of minute samples, one day each, written whole or not at all, never changed.

    FOLDER/minutes/2026-11-01/00000001-3fa2c1.parquet

Columns: `t_s` (bigint, start of the minute, seconds since the Unix epoch in UTC), `node`, `owner` ('' = nobody holds
it), `site`, `power_w` (float), `gpus` (integer), `busy` (float, null where unknown). A segment is written under another
name, flushed, renamed, and its folder flushed: who reads sees whole segments or none. Any number of processes may
append at once. Where two segments tell of one minute of one node, the later name holds. How its power is known stands
in each segment's own metadata. Any Parquet reader opens them: `SELECT * FROM 'FOLDER/minutes/*/*.parquet'`.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np

from outweigh.core.errors import InvalidQuantity, LedgerCorrupt, LedgerError, UsageError
from outweigh.ledger.fleet.engine import Engine, Vanished, literal, load_duckdb, quoted
from outweigh.ledger.fleet.minutes import DAY_S, HowKnown, Minutes
from outweigh.ledger.journal import sync_folder
from outweigh.ledger.opening import FOLDER

MINUTES = "minutes"
TORN = ".torn"
_SEGMENT = re.compile(r"(\d{8,})-[0-9a-f]{6}\.parquet")
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")
_WRITE = """
SELECT t_s, of_node.name AS node, of_owner.name AS owner, of_site.name AS site, power_w, gpus, busy
FROM given
JOIN of_node ON given.node = of_node.code JOIN of_owner ON given.owner = of_owner.code
JOIN of_site ON given.site = of_site.code
ORDER BY node, t_s
"""


def fleet_folder(root: Path) -> Path:
    """Where the fleet's samples of the project in folder `root` are kept.

    >>> fleet_folder(Path("triage")).as_posix()
    'triage/.outweigh/fleet'
    """
    return root / FOLDER / "fleet"


def has_fleet(folder: Path) -> bool:
    """Whether a fleet's samples lie in `folder`; needs no DuckDB."""
    return bool(days_of(folder))


@dataclass(frozen=True, slots=True)
class Segment:
    """One file. Segments of a day in the order of their names: the later one holds."""

    path: Path
    size_b: int


def append_minutes(folder: Path, minutes: Minutes, how: HowKnown) -> list[Path]:
    """Add samples to a fleet: one segment for each UTC day they touch. When this returns, they outlive a power cut.

    Args:
        folder: `fleet_folder(...)`, or any folder; made when it is missing.
        minutes: no more than one row of a node and minute. A later segment corrects an earlier one.

    Returns:
        The segments, in order of their days. An interrupted call leaves whole days or none.

    Raises:
        MissingExtra: DuckDB is not installed.
        InvalidQuantity: a node has two rows of one minute.
        UsageError: the fleet in the folder is of another scope, or made up where this is measured, or the reverse.
        LedgerError: the folder cannot be written.
    """
    load_duckdb()
    _check_once(minutes)
    _check_alike(folder, how)
    day_s = minutes.t_s // DAY_S * DAY_S
    return [
        _append_day(folder / MINUTES / day_name(each), minutes, day_s == each, how)
        for each in np.unique(day_s).tolist()
    ]


def days_of(folder: Path) -> dict[int, list[Segment]]:
    """Segments by day [s, Unix epoch], days and segments in order. Raises LedgerError."""
    found: dict[int, list[Segment]] = {}
    try:
        with os.scandir(folder / MINUTES) as entries:
            names = sorted(entry.name for entry in entries if _DAY.fullmatch(entry.name))
        for name in names:
            with contextlib.suppress(ValueError), os.scandir(folder / MINUTES / name) as entries:
                # A folder that names no day raises ValueError, and is not ours.
                start_s = day_of(name)
                sizes = {entry.name: entry.stat().st_size for entry in entries if _SEGMENT.fullmatch(entry.name)}
                if sizes:
                    found[start_s] = [
                        Segment(folder / MINUTES / name / segment, sizes[segment])
                        for segment in sorted(sizes, key=lambda each: (int(each.partition("-")[0]), each))
                    ]
    except FileNotFoundError:
        return {}
    except OSError as err:
        raise cannot(folder, err) from err
    return found


def how_known(engine: Engine, segments: list[Segment]) -> list[HowKnown]:
    """What segments say of themselves, each once. Raises LedgerCorrupt and `engine.Vanished`."""
    names = [literal(segment.path) for segment in segments]
    said = engine.ask(
        "SELECT file_name, decode(key) AS key, decode(value) AS value FROM parquet_kv_metadata(?)", [names]
    )
    texts: dict[str, dict[str, str]] = {name: {} for name in (str(segment.path) for segment in segments)}
    for name, key, value in zip(said["file_name"], said["key"], said["value"], strict=True):
        texts.setdefault(str(name), {})[str(key)] = str(value)
    found: dict[HowKnown, None] = {}  # in order, each once
    for name, of_file in texts.items():
        try:
            how = HowKnown.from_texts(of_file)
        except (KeyError, ValueError) as err:
            raise LedgerCorrupt(
                name, "it does not say how its power is known", "Append samples with outweigh, or move it away"
            ) from err
        found[how] = None
    return list(found)


def day_name(day_s: int) -> str:
    """
    >>> day_name(1_793_491_200)
    '2026-11-01'
    """
    return datetime.fromtimestamp(day_s, UTC).strftime("%Y-%m-%d")


def day_of(name: str) -> int:
    """The start of a day [s, Unix epoch]. Raises ValueError."""
    day = date.fromisoformat(name)
    return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp())


def cannot(folder: Path, err: OSError) -> LedgerError:
    return LedgerError(
        str(folder), f"a fleet's samples cannot be kept or read there ({err.strerror or err})",
        "Make room, and the folder readable and writable",
    )  # fmt: skip


def flush(path: Path) -> None:
    """When this returns, what is in the file outlives a power cut. Raises OSError."""
    handle = os.open(path, os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def publish(torn: Path, final: Path) -> None:
    """Give a finished file its name. Raises OSError."""
    flush(torn)
    torn.replace(final)
    sync_folder(final.parent)


def _append_day(folder: Path, minutes: Minutes, rows: np.ndarray, how: HowKnown) -> Path:
    given = {
        "t_s": minutes.t_s[rows], "power_w": minutes.power_w[rows], "gpus": minutes.gpus[rows],
        "busy": np.ma.masked_invalid(minutes.busy[rows]),
        "node": minutes.node.codes[rows], "owner": minutes.owner.codes[rows], "site": minutes.site.codes[rows],
    }  # fmt: skip
    tables = {"given": given}
    for name, labels in (("of_node", minutes.node), ("of_owner", minutes.owner), ("of_site", minutes.site)):
        codes = np.arange(len(labels.names), dtype=np.int32)
        tables[name] = {"code": codes, "name": np.array(labels.names, dtype=object)}
    pairs = ", ".join(f"{key}: {quoted(text)}" for key, text in how.to_texts().items())
    engine = Engine()
    torn = folder / f".{os.getpid()}-{secrets.token_hex(4)}{TORN}"
    try:
        _make_folder(folder)
        options = f"FORMAT parquet, COMPRESSION zstd, KV_METADATA {{{pairs}}}"
        engine.do([(f"COPY ({_WRITE}) TO {quoted(str(torn))} ({options})", [])], tables=tables)
        final = folder / f"{_next_number(folder):08d}-{secrets.token_hex(3)}.parquet"
        publish(torn, final)
    except Vanished as err:
        raise cannot(folder, OSError(None, str(err))) from err
    except OSError as err:
        raise cannot(folder, err) from err
    finally:
        engine.close()
        with contextlib.suppress(OSError):
            torn.unlink(missing_ok=True)
    return final


def _next_number(folder: Path) -> int:
    numbers = [int(match[1]) for path in folder.iterdir() if (match := _SEGMENT.fullmatch(path.name))]
    return max(numbers, default=0) + 1


def _make_folder(folder: Path) -> None:
    missing = [each for each in (folder, *folder.parents) if not each.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for each in missing:
        sync_folder(each.parent)


def _check_once(minutes: Minutes) -> None:
    if not len(minutes):
        return
    minute = minutes.t_s // 60
    both = (minute - minute.min()) * len(minutes.node.names) + minutes.node.codes
    ordered = np.sort(both)
    twice = ordered[1:] == ordered[:-1]
    if twice.any():
        row = int(np.flatnonzero(both == ordered[1:][int(np.argmax(twice))])[0])
        raise InvalidQuantity(
            "set of samples", f"node {minutes.node.names[minutes.node.codes[row]]!r}, twice at {minutes.t_s[row]} s",
            "give one sample of a node and minute",
        )  # fmt: skip


def _check_alike(folder: Path, how: HowKnown) -> None:
    days = days_of(folder)
    if not days:
        return
    engine = Engine()
    try:
        there = how_known(engine, days[max(days)][-1:])[0]
    finally:
        engine.close()
    if there.scope is not how.scope:
        raise UsageError(
            f"the fleet in {folder} is of scope {there.scope}, and these samples are of scope {how.scope}",
            "Keep them in a folder of their own: power of different scopes is never added up",
        )
    if there.synthetic is not how.synthetic:
        raise UsageError(
            f"the fleet in {folder} is {'made up' if there.synthetic else 'measured'}, and these samples are not",
            "Keep what is made up in a folder of its own",
        )
