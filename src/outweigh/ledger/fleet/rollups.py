"""Roll-ups of a fleet: what questions over weeks are answered from, kept beside the minutes, made again where stale.

    FOLDER/rollups/v1/2026-11-01/nodes-DIGEST.parquet       a row a node: when it was seen, how it idles
    FOLDER/rollups/v1/2026-11-01/sums-DIGEST/power.parquet  a row a minute: the fleet's sum
                                             power-site, power-owner, power-both     the same by site, owner, both
                                             hours          a row an hour, node, owner and site
                                             node-days      the same by day
                                             days           a row an owner and site

A digest is of what the file is made of: the names and sizes of the day's segments, and for `sums` the idle draws of
nodes that did not idle that day. A new segment therefore has its own day made again, and a later day only where that
leans on it. Roll-ups can be deleted at any time.

**Hum of a node** [W]: the `QUANTILE` quantile of its own idle minutes of the day; a minute is idle where its
accelerators worked less than `BUSY_FROM` of it, or where nobody knows how much and nobody holds the node. A day with
fewer than `LEAST_IDLE` idle minutes takes the figure of the latest earlier day that had them. A node that never idled
has no figure: what it draws is neither hum nor work but `unsplit`. In each minute the hum is this figure or the power
drawn, whichever is lower; work is the rest. `LOW` and `HIGH` quantiles in its place give the hum's interval.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from outweigh.core.errors import LedgerCorrupt
from outweigh.ledger.fleet.engine import Engine, literal, quoted
from outweigh.ledger.fleet.minutes import HowKnown
from outweigh.ledger.fleet.segments import (
    TORN,
    Segment,
    cannot,
    day_name,
    flush,
    how_known,
    publish,
)
from outweigh.ledger.journal import sync_folder

VERSION = "v1"
QUANTILE, LOW, HIGH = 0.10, 0.02, 0.50
BUSY_FROM = 0.05
LEAST_IDLE = 30
POWER, POWER_SITE, POWER_OWNER, POWER_BOTH = "power", "power-site", "power-owner", "power-both"
HOURS, NODE_DAYS, DAYS = "hours", "node-days", "days"

Progress = Callable[[str, float], None]

_IDLE = f"(busy < {BUSY_FROM} OR (busy IS NULL AND owner = ''))"
_ROWS = "SELECT t_s, node, owner, site, power_w, gpus, busy FROM read_parquet(?::VARCHAR[], filename = true) "
# Of two words on one minute of one node the later segment holds; a lone segment never says one twice.
_LATEST = "QUALIFY row_number() OVER (PARTITION BY node, t_s ORDER BY filename DESC) = 1"
_NODES = f"""
WITH given AS ({{rows}}), seen AS (
    SELECT node, arg_max(site, t_s) AS site, arg_max(gpus, t_s) AS gpus, min(t_s) AS first_s, max(t_s) AS last_s,
           count(*) AS minutes, count(*) FILTER (WHERE {_IDLE}) AS idle_minutes,
           quantile_cont(power_w::DOUBLE, [{LOW}, {QUANTILE}, {HIGH}]) FILTER (WHERE {_IDLE}) AS idle_w
    FROM given GROUP BY node
)
SELECT * EXCLUDE (idle_w),
       CASE WHEN idle_minutes >= {LEAST_IDLE} THEN idle_w[1] END AS low_w,
       CASE WHEN idle_minutes >= {LEAST_IDLE} THEN idle_w[2] END AS hum_w,
       CASE WHEN idle_minutes >= {LEAST_IDLE} THEN idle_w[3] END AS high_w
FROM seen ORDER BY node
"""
_CARRIED = """
SELECT day_s, node, site, gpus, first_s, last_s, minutes, idle_minutes, hum_w IS NOT NULL AS own,
       last_value(low_w IGNORE NULLS) OVER so_far AS low_w,
       last_value(hum_w IGNORE NULLS) OVER so_far AS hum_w,
       last_value(high_w IGNORE NULLS) OVER so_far AS high_w
FROM (SELECT file.day_s, found.* FROM read_parquet(?::VARCHAR[], filename = 'named') AS found
      JOIN file ON file.named = found.named)
WINDOW so_far AS (PARTITION BY node ORDER BY day_s ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW)
ORDER BY day_s, node
"""
_SPLIT = f"""
CREATE OR REPLACE TEMP TABLE split AS
SELECT t_s, given.node, owner, site, gpus, power_w::DOUBLE AS power_w, busy, {_IDLE} AS idle,
       -- least() passes over nulls; where no idle draw is known, there is no hum.
       CASE WHEN idles.hum_w IS NOT NULL THEN least(power_w::DOUBLE, idles.hum_w) END AS hum_w,
       CASE WHEN idles.hum_w IS NOT NULL THEN least(power_w::DOUBLE, idles.low_w) END AS hum_low_w,
       CASE WHEN idles.hum_w IS NOT NULL THEN least(power_w::DOUBLE, idles.high_w) END AS hum_high_w,
       CASE WHEN idles.hum_w IS NULL THEN power_w::DOUBLE ELSE 0 END AS unsplit_w
FROM ({{rows}}) AS given LEFT JOIN idles ON given.node = idles.node
"""
_SUMS = """
sum(power_w) AS power_w, coalesce(sum(hum_w), 0) AS hum_w, coalesce(sum(hum_low_w), 0) AS hum_low_w,
coalesce(sum(hum_high_w), 0) AS hum_high_w, sum(unsplit_w) AS unsplit_w
"""
_MINUTE = f"count(*)::INTEGER AS nodes, (count(*) FILTER (WHERE idle))::INTEGER AS idle_nodes, {_SUMS}"
# Joules of what is a sum of watts over minutes.
_ENERGY = """
60 * sum(power_w) AS energy_j, 60 * coalesce(sum(hum_w), 0) AS hum_j, 60 * coalesce(sum(hum_low_w), 0) AS hum_low_j,
60 * coalesce(sum(hum_high_w), 0) AS hum_high_j, 60 * sum(unsplit_w) AS unsplit_j
"""
_BY_NODE = f"""
SELECT t_s // {{step_s}} * {{step_s}} AS t_s, node, owner, site, max(gpus) AS gpus, count(*)::INTEGER AS minutes,
       (count(*) FILTER (WHERE idle))::INTEGER AS idle_minutes, {_ENERGY}, min(power_w) AS min_w, max(power_w) AS max_w
FROM split GROUP BY ALL ORDER BY node, t_s, owner, site
"""
_FILES = {
    POWER: f"SELECT t_s, {_MINUTE} FROM split GROUP BY t_s ORDER BY t_s",
    POWER_SITE: f"SELECT t_s, site, {_MINUTE} FROM split GROUP BY t_s, site ORDER BY site, t_s",
    POWER_OWNER: f"SELECT t_s, owner, {_MINUTE} FROM split GROUP BY t_s, owner ORDER BY owner, t_s",
    POWER_BOTH: f"SELECT t_s, owner, site, {_MINUTE} FROM split GROUP BY t_s, owner, site ORDER BY owner, site, t_s",
    HOURS: _BY_NODE.format(step_s=3600),
    NODE_DAYS: _BY_NODE.format(step_s=86400),
    DAYS: f"""
        SELECT owner, site, count(*) AS node_minutes, count(*) FILTER (WHERE idle) AS idle_node_minutes, {_ENERGY}
        FROM split GROUP BY owner, site ORDER BY owner, site
    """,
}
_ABANDONED_S = 3600.0


@dataclass(frozen=True, slots=True, eq=False)
class NodeDays:
    """What is known of each node on each day, in order of day and node; columns of shape (n,).

    `hum_w`, `low_w` and `high_w` [W] are NaN for a node that has not idled by then; `own` where it idled that day.
    """

    day_s: NDArray[np.int64]
    node: NDArray[np.object_]
    site: NDArray[np.object_]
    gpus: NDArray[np.int64]
    first_s: NDArray[np.int64]
    last_s: NDArray[np.int64]
    minutes: NDArray[np.int64]
    idle_minutes: NDArray[np.int64]
    own: NDArray[np.bool_]
    low_w: NDArray[np.float64]
    hum_w: NDArray[np.float64]
    high_w: NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Look:
    """A fleet as it lay on the disk at one moment: segments, roll-ups and nodes. Days [s, Unix epoch] are in order."""

    listed: dict[int, list[Segment]]
    sums: dict[int, Path]
    how: dict[int, tuple[HowKnown, ...]]
    nodes: NodeDays


def look(engine: Engine, folder: Path, listed: dict[int, list[Segment]], progress: Progress | None = None) -> Look:
    """Make what roll-ups are missing or stale.

    Raises:
        Vanished: files went meanwhile; list them again.
        LedgerCorrupt: a segment is damaged; it is named.
        LedgerError: the folder cannot be written.
    """
    root = folder / "rollups" / VERSION
    tell = progress or (lambda _what, _fraction: None)
    digests = {day_s: _digest(segments) for day_s, segments in listed.items()}
    node_files: dict[int, Path] = {}
    for number, (day_s, segments) in enumerate(listed.items()):
        final = root / day_name(day_s) / f"nodes-{digests[day_s]}.parquet"
        if not final.exists():
            tell(f"idle draws of {day_name(day_s)}", 0.3 * number / len(listed))
            _make_nodes(engine, final, segments)
        node_files[day_s] = final
    how = _how(engine, node_files)
    nodes = _carried(engine, node_files)
    sums: dict[int, Path] = {}
    for number, (day_s, segments) in enumerate(listed.items()):
        of_day = nodes.day_s == day_s
        final = root / day_name(day_s) / f"sums-{_leaning(digests[day_s], nodes, of_day)}"
        if not final.exists():
            tell(f"sums of {day_name(day_s)}", 0.3 + 0.7 * number / len(listed))
            _make_sums(engine, final, segments, nodes, of_day)
            _sweep(final.parent, keep=(node_files[day_s].name, final.name))
        sums[day_s] = final
    return Look(listed, sums, how, nodes)


def rows_of(segments: list[Segment], where: str = "", *, apart: bool = False) -> str:
    """The query of a day's samples, each minute of a node once. Its first parameter is `names_of(segments)`.

    Args:
        where: a condition on the rows.
        apart: no two of the segments tell of one minute.
    """
    return _ROWS + (f"WHERE {where} " if where else "") + (_LATEST if len(segments) > 1 and not apart else "")


def _rows_once(engine: Engine, segments: list[Segment]) -> str:
    """As `rows_of`, without looking for second words where none can be: samples mostly come in the order of time."""
    if len(segments) == 1:
        return rows_of(segments)
    span = "SELECT min(t_s) AS first_s, max(t_s) AS last_s FROM read_parquet(?::VARCHAR[], filename = true) "
    spans = engine.ask(span + "GROUP BY filename ORDER BY first_s", [names_of(segments)])
    return rows_of(segments, apart=bool((spans["first_s"][1:] > spans["last_s"][:-1]).all()))


def names_of(segments: list[Segment]) -> list[str]:
    return [literal(segment.path) for segment in segments]


def _digest(segments: list[Segment]) -> str:
    said = "\n".join(f"{segment.path.name} {segment.size_b}" for segment in segments)
    return hashlib.sha256(said.encode()).hexdigest()[:16]


def _leaning(digest: str, nodes: NodeDays, of_day: NDArray[np.bool_]) -> str:
    """The digest of a day's segments and of what its nodes took from earlier days."""
    carried = of_day & ~nodes.own
    columns = (nodes.node[carried], nodes.low_w[carried], nodes.hum_w[carried], nodes.high_w[carried])
    rows = zip(*(column.tolist() for column in columns), strict=True)
    said = [digest, *(f"{name} {low!r} {hum!r} {high!r}" for name, low, hum, high in rows)]
    return hashlib.sha256("\n".join(said).encode()).hexdigest()[:16]


def _make_nodes(engine: Engine, final: Path, segments: list[Segment]) -> None:
    pairs = ", ".join(
        f"{quoted(f'{number:06d} {key}')}: {quoted(text)}"
        for number, how in enumerate(how_known(engine, segments))
        for key, text in how.to_texts().items()
    )
    torn = final.with_name(f".{os.getpid()}-{secrets.token_hex(4)}{TORN}")
    try:
        final.parent.mkdir(parents=True, exist_ok=True)
        # COPY takes no parameters in its query, so the rows make a table first.
        engine.do(
            [
                (
                    f"CREATE TEMP TABLE nodes AS {_NODES.format(rows=_rows_once(engine, segments))}",
                    [names_of(segments)],
                ),
                (f"COPY nodes TO {quoted(str(torn))} (FORMAT parquet, KV_METADATA {{{pairs}}})", []),
            ]
        )
        publish(torn, final)
    except OSError as err:
        raise cannot(final.parent, err) from err
    finally:
        with contextlib.suppress(OSError):
            torn.unlink(missing_ok=True)


def _make_sums(
    engine: Engine, final: Path, segments: list[Segment], nodes: NodeDays, of_day: NDArray[np.bool_]
) -> None:
    idles = {"node": nodes.node[of_day]} | {
        name: np.ma.masked_invalid(getattr(nodes, name)[of_day]) for name in ("low_w", "hum_w", "high_w")
    }
    torn = final.with_name(f".{os.getpid()}-{secrets.token_hex(4)}{TORN}")
    try:
        torn.mkdir(parents=True)
        engine.do(
            [
                (_SPLIT.format(rows=_rows_once(engine, segments)), [names_of(segments)]),
                *(
                    (f"COPY ({query}) TO {quoted(str(torn / f'{name}.parquet'))} (FORMAT parquet)", [])
                    for name, query in _FILES.items()
                ),
            ],
            tables={"idles": idles},
        )
        for path in torn.iterdir():
            flush(path)
        with contextlib.suppress(OSError):  # another process was as quick, and what it made is the same
            torn.rename(final)
        if not final.exists():
            raise OSError(None, "the roll-ups cannot be given their name")
        sync_folder(final.parent)
    except OSError as err:
        raise cannot(final.parent, err) from err
    finally:
        shutil.rmtree(torn, ignore_errors=True)


def _how(engine: Engine, files: dict[int, Path]) -> dict[int, tuple[HowKnown, ...]]:
    said = engine.ask(
        "SELECT file_name, decode(key) AS key, decode(value) AS value FROM parquet_kv_metadata(?)",
        [[literal(path) for path in files.values()]],
    )
    texts: dict[str, dict[str, dict[str, str]]] = {}
    for name, key, value in zip(said["file_name"], said["key"], said["value"], strict=True):
        number, _, word = str(key).partition(" ")
        texts.setdefault(str(name), {}).setdefault(number, {})[word] = str(value)
    found = {}
    for day_s, path in files.items():
        try:
            found[day_s] = tuple(HowKnown.from_texts(each) for each in texts.get(str(path), {}).values())
        except (KeyError, ValueError) as err:
            raise _spoilt(path) from err
    return found


def _carried(engine: Engine, files: dict[int, Path]) -> NodeDays:
    table = {
        "day_s": np.array(list(files), dtype=np.int64),
        "named": np.array([str(path) for path in files.values()], dtype=object),
    }
    said = engine.ask(_CARRIED, [[literal(path) for path in files.values()]], tables={"file": table})
    kinds = {"node": object, "site": object, "own": np.bool_, "low_w": float, "hum_w": float, "high_w": float}
    columns = {
        name: np.ma.filled(column.astype(float), np.nan) if kinds.get(name) is float
        else np.asarray(column, dtype=kinds.get(name, np.int64))
        for name, column in said.items()
    }  # fmt: skip
    return NodeDays(**columns)


def _spoilt(path: Path) -> LedgerCorrupt:
    return LedgerCorrupt(str(path), "the roll-up is damaged", f"Delete the folder {path.parent}; it is made again")


def _sweep(folder: Path, keep: tuple[str, ...]) -> None:
    """Remove roll-ups that are no longer true, and what killed processes left behind."""
    for path in list(folder.iterdir()):
        with contextlib.suppress(OSError):
            torn = path.suffix == TORN
            if path.name in keep or (torn and time.time() - path.stat().st_mtime < _ABANDONED_S):
                continue
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink()
