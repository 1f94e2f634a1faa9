"""A fleet that is asked: by owner, over time, node by node. Every answer comes from the roll-ups or one day's minutes.

fleet = Fleet.open(fleet_folder(Path()))
hum = fleet.hum_by_owner(fleet.state().known.window)
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from outweigh.core.errors import LedgerError, UsageError
from outweigh.core.intervals import Interval
from outweigh.ledger.fleet.answers import (
    Coverage,
    FleetState,
    Floats,
    HumByOwner,
    Known,
    Latest,
    PowerOverTime,
    Split,
    TopNodes,
    Trace,
    UsedOverTime,
)
from outweigh.ledger.fleet.engine import Engine, Vanished
from outweigh.ledger.fleet.looking import Now, filled
from outweigh.ledger.fleet.minutes import DAY_S, MINUTE_S
from outweigh.ledger.fleet.presence import Presence
from outweigh.ledger.fleet.rollups import (
    DAYS,
    HOURS,
    NODE_DAYS,
    POWER,
    POWER_BOTH,
    POWER_OWNER,
    POWER_SITE,
    Look,
    Progress,
    look,
)
from outweigh.ledger.fleet.segments import day_name, days_of

POINTS, MOST_POINTS = 1_000, 100_000
STEPS_S = (60, 120, 300, 600, 900, 1_800, 3_600, 7_200, 10_800, 21_600, 43_200, 86_400)
LONGEST_TRACE_S = 7 * DAY_S
RANKED = {"hum": "hum_j", "energy": "energy_j", "work": "energy_j - hum_j - unsplit_j", "peak": "max_w"}
_HOUR_S = 3_600
_EPOCH, _MINUTE = datetime(1970, 1, 1, tzinfo=UTC), timedelta(seconds=MINUTE_S)
_CALENDAR_ENDS_S = int(datetime(9999, 12, 31, tzinfo=UTC).timestamp())  # widened to days, a window stays within it
_LOOK_AGAIN = 20  # times files may vanish under a reader
_PARTS = ("energy_j", "hum_j", "hum_low_j", "hum_high_j", "unsplit_j")
_FIGURES = ("node_minutes", "idle_node_minutes", *_PARTS)
_SUM_PARTS = ", ".join(f"sum({part}) AS {part}" for part in _PARTS)
_BY_OWNER_OF_DAYS = f"""
SELECT owner, sum(node_minutes) AS node_minutes, sum(idle_node_minutes) AS idle_node_minutes, {_SUM_PARTS}
FROM read_parquet(?::VARCHAR[]) WHERE (? = '' OR site = ?) GROUP BY owner
"""
_BY_OWNER_OF_MINUTES = """
SELECT owner, sum(nodes) AS node_minutes, sum(idle_nodes) AS idle_node_minutes, 60 * sum(power_w) AS energy_j,
       60 * sum(hum_w) AS hum_j, 60 * sum(hum_low_w) AS hum_low_j, 60 * sum(hum_high_w) AS hum_high_j,
       60 * sum(unsplit_w) AS unsplit_j
FROM read_parquet(?::VARCHAR[]) WHERE t_s >= ? AND t_s < ? AND (? = '' OR site = ?) GROUP BY owner
"""
_STEPS = """
SELECT t_s // ? * ? AS at_s, count(*) AS minutes, sum(power_w) AS power_w, min(power_w) AS min_w,
       max(power_w) AS max_w, sum(hum_w) AS hum_w, sum(unsplit_w) AS unsplit_w, sum(nodes) AS nodes
FROM read_parquet(?::VARCHAR[]) WHERE t_s >= ? AND t_s < ? {of}
GROUP BY at_s ORDER BY at_s
"""
_STEPS_OF_NODE = """
SELECT t_s // ? * ? AS at_s, sum(minutes) AS minutes, sum(energy_j) / 60 AS power_w, min(min_w) AS min_w,
       max(max_w) AS max_w, sum(hum_j) / 60 AS hum_w, sum(unsplit_j) / 60 AS unsplit_w, sum(minutes) AS nodes
FROM read_parquet(?::VARCHAR[]) WHERE t_s >= ? AND t_s < ? AND node = ?
GROUP BY at_s ORDER BY at_s
"""
_TOP = f"""
WITH hour AS (
    SELECT * FROM read_parquet(?::VARCHAR[])
    WHERE t_s >= ? AND t_s < ? AND (? = '' OR site = ?) AND (?::VARCHAR IS NULL OR owner = ?)
), by_owner AS (
    SELECT node, owner, arg_max(site, t_s) AS site, max(gpus) AS gpus, sum(minutes) AS minutes,
           sum(idle_minutes) AS idle_minutes, {_SUM_PARTS}, max(max_w) AS max_w
    FROM hour GROUP BY node, owner
), of_node AS (
    SELECT node, arg_max(owner, energy_j) AS owner, arg_max(site, energy_j) AS site, max(gpus) AS gpus,
           sum(minutes) AS minutes, sum(idle_minutes) AS idle_minutes, {_SUM_PARTS}, max(max_w) AS max_w
    FROM by_owner GROUP BY node
)
SELECT *, count(*) OVER () AS total FROM of_node ORDER BY {{rank}} DESC, node LIMIT ?
"""
_USED = f"""
SELECT period, owner, {_SUM_PARTS}, sum(node_minutes) AS node_minutes
FROM (SELECT file.period, found.* FROM read_parquet(?::VARCHAR[], filename = 'named') AS found
      JOIN file ON file.named = found.named)
WHERE (? = '' OR site = ?) GROUP BY period, owner ORDER BY period, owner
"""

_Answer = TypeVar("_Answer")


class Fleet:
    """The samples of a fleet, ready to be asked. Threads may ask at once; each process opens its own.

    What other processes append is seen within `look_again_s`; the first question after that makes the stale roll-ups
    again (about a second of work for a day of 600 nodes), and questions of other threads are answered from what was
    there before.

    Args:
        folder: where it lies, `fleet_folder(...)`.
        threads: of one question.
        look_again_s: least time between two looks at the folder [s].
        progress: told what is being made when it opens.

    Raises:
        UsageError: there is no fleet in the folder.
        MissingExtra: DuckDB is not installed.
        LedgerCorrupt: a segment is damaged; it is named.
        LedgerError: the folder cannot be read, or roll-ups are missing and it cannot be written.
    """

    def __init__(
        self, folder: Path, *, threads: int = 2, look_again_s: float = 1.0, progress: Progress | None = None
    ) -> None:
        self.folder = folder
        self._look_again_s = look_again_s
        self._engine = Engine(threads)
        self._lock = threading.Lock()
        self._looked_s = -float("inf")
        self._now: Now | None = None
        self._refresh(progress)

    @classmethod
    def open(cls, folder: Path, *, progress: Progress | None = None) -> Self:
        return cls(folder, progress=progress)

    def close(self) -> None:
        self._engine.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    # --- questions ------------------------------------------------------------------------------------

    @property
    def synthetic(self) -> bool:
        """Made up by a program: say so wherever it is shown."""
        return self.state().known.synthetic

    def state(self) -> FleetState:
        """What there is."""
        return self._answered(self._state)

    def hum_by_owner(self, window: Interval, *, site: str = "") -> HumByOwner:
        """Who held how much hum and work in a window.

        Raises:
            UsageError: the fleet has no such site.
        """
        return self._answered(lambda now: self._hum_by_owner(now, window, site))

    def power(
        self,
        window: Interval,
        *,
        owner: str | None = None,
        site: str = "",
        node: str = "",
        points: int = POINTS,
    ) -> PowerOverTime:
        """Power over time in at most `points` steps, of the fleet or of an owner ("" is nobody), a site, or a node.

        Steps are multiples of their length since the epoch; the first and last hold the window's part of them.

        Raises:
            UsageError: the fleet has no such owner, site or node; a node with an owner or site; fewer than 2 or
                more than `MOST_POINTS` points.
        """
        if not 2 <= points <= MOST_POINTS:
            raise UsageError(f"{points} points are no course that can be shown", f"Ask for 2 to {MOST_POINTS}")
        if node and (site or owner is not None):
            raise UsageError("a node's power is asked with an owner or a site", "Give one of them")
        return self._answered(lambda now: self._power(now, window, owner, site, node, points))

    def top_nodes(
        self, window: Interval, *, by: str = "hum", limit: int = 20, owner: str | None = None, site: str = ""
    ) -> TopNodes:
        """The nodes with the most `by`: "hum", "energy", "work" or "peak".

        Raises:
            UsageError: no such site or owner, an unknown `by`, a limit below 1.
        """
        if by not in RANKED:
            raise UsageError(f"nodes are not ranked by {by!r}", f"Give one of {', '.join(RANKED)}")
        if limit < 1:
            raise UsageError(f"a list of {limit} nodes is empty", "Ask for 1 or more")
        return self._answered(lambda now: self._top_nodes(now, window, by, limit, owner, site))

    def trace(self, node: str, window: Interval) -> Trace:
        """One node minute by minute.

        Raises:
            UsageError: no such node (the nearest are named), or a window of more than a week.
        """
        if window.seconds > LONGEST_TRACE_S:
            raise UsageError(
                f"{window.seconds / DAY_S:.3g} days are too many for single minutes", "Ask for a week or less"
            )
        return self._answered(lambda now: self._trace(now, node, window))

    def used_by_month(self, window: Interval, *, site: str = "") -> UsedOverTime:
        """Who used what by calendar month in UTC ("2026-11"). Raises UsageError: no such site."""
        return self._answered(lambda now: self._used(now, window, site, lambda day_s: day_name(day_s)[:7]))

    def used_by_day(self, window: Interval, *, site: str = "") -> UsedOverTime:
        """Who used what by day in UTC ("2026-11-01"). Raises UsageError: no such site."""
        return self._answered(lambda now: self._used(now, window, site, day_name))

    def latest(self) -> Latest:
        """The last minute read."""
        return self._answered(self._latest)

    # --- looking --------------------------------------------------------------------------------------

    def refresh(self, progress: Progress | None = None) -> None:
        """Look at the folder now, and make what roll-ups are stale. Raises as the class."""
        with self._lock:
            self._looked_s = -float("inf")
        self._refresh(progress)

    def _refresh(self, progress: Progress | None = None) -> Now:
        # While one thread makes roll-ups, the others answer from what was there.
        if self._lock.acquire(blocking=self._now is None):
            try:
                self._look_now(progress)
            finally:
                self._lock.release()
        if self._now is None:
            raise LedgerError(str(self.folder), "it cannot be read yet", "Ask again")
        return self._now

    def _look_now(self, progress: Progress | None) -> None:
        now_s = time.monotonic()
        if self._now is not None and now_s - self._looked_s < self._look_again_s:
            return
        for _ in range(_LOOK_AGAIN):
            listed = days_of(self.folder)
            if not listed:
                raise UsageError(
                    f"there are no samples of a fleet in {self.folder}",
                    "Bring some in: outweigh ledger fleet import FILE",
                )
            if self._now is None or listed != self._now.seen.listed or not _all_there(self._now.seen):
                try:
                    seen = look(self._engine, self.folder, listed, progress)
                except Vanished:
                    continue
                self._now = Now(self._engine, seen, Presence(seen.nodes))
            self._looked_s = now_s
            return
        raise _busy(self.folder)

    def _answered(self, answer: Callable[[Now], _Answer]) -> _Answer:
        for _ in range(_LOOK_AGAIN):
            try:
                return answer(self._refresh())
            except Vanished:  # another process made them again, or another thread is about to have done so
                with self._lock:
                    self._looked_s = -float("inf")
        raise _busy(self.folder)

    # --- answers --------------------------------------------------------------------------------------

    def _state(self, now: Now) -> FleetState:
        owners = now.owners()
        first_s, end_s = now.presence.span_s
        return FleetState(
            now.known(first_s, end_s, now.presence.read_all, ""),
            len(now.presence.names),
            int(now.presence.gpus.sum()),
            owners,
            now.presence.sites,
            now.presence.read_all,
        )

    def _hum_by_owner(self, now: Now, window: Interval, site: str) -> HumByOwner:
        now.check_site(site)
        start_s, end_s = _minutes(window)
        whole, parts = now.cut(start_s, end_s)
        found: dict[str, NDArray[Any]] = {}
        if whole:
            found = _added(found, now.engine.ask(_BY_OWNER_OF_DAYS, [now.files(DAYS, whole), site, site]))
        if parts:
            asked = [now.files(POWER_BOTH, parts), start_s, end_s, site, site]
            # Whole days are answered for above, and lie within the window too.
            found = _added(found, now.engine.ask(_BY_OWNER_OF_MINUTES, asked))
        owners = sorted(found, key=lambda name: (-found[name][_FIGURES.index("hum_j")], name))
        table = np.array([found[name] for name in owners]).reshape(len(owners), len(_FIGURES))
        columns = dict(zip(_FIGURES, table.T, strict=True))
        minutes = columns["node_minutes"].astype(np.int64)
        return HumByOwner(
            now.known(start_s, end_s, int(minutes.sum()), site),
            tuple(owners),
            Split(*(columns[part] for part in _PARTS)),
            minutes,
            columns["idle_node_minutes"].astype(np.int64),
        )

    def _power(self, now: Now, window: Interval, owner: str | None, site: str, node: str, points: int) -> PowerOverTime:
        now.check_site(site)
        now.check_owner(owner)
        start_s, end_s = _minutes(window)
        step_s = _step(start_s, end_s, points)
        if node and step_s >= _HOUR_S:
            start_s, end_s = _whole(start_s, end_s, _HOUR_S)
        first_s = start_s // step_s * step_s
        t_s = np.arange(first_s, end_s, step_s, dtype=np.int64)
        edges_s = np.clip(np.append(t_s, t_s[-1] + step_s) if len(t_s) else np.array([start_s]), start_s, end_s)
        if node:
            now.check_node(node)
            steps = self._of_node(now, node, start_s, end_s, step_s, t_s)
            expected = now.presence.expected(edges_s, node=node)
            read = int(np.nansum(steps["minutes"]))
        else:
            steps = self._of_sums(now, start_s, end_s, step_s, t_s, owner, site)
            expected = now.presence.expected(edges_s, site=site)
            read = int(np.nansum(steps["all_nodes"]))
        minutes = steps["minutes"]
        lasting = np.maximum(np.diff(edges_s) / MINUTE_S, 1.0) if len(t_s) else np.empty(0)
        coverage = Coverage(read, round(float(expected.sum())))
        with np.errstate(invalid="ignore", divide="ignore"):
            return PowerOverTime(
                now.known(start_s, end_s, read, site, coverage=coverage),
                t_s,
                step_s,
                steps["min_w"],
                steps["power_w"] / minutes,
                steps["max_w"],
                steps["hum_w"] / minutes,
                steps["unsplit_w"] / minutes,
                steps["nodes"] / minutes,
                expected / lasting if owner is None else np.full(len(t_s), np.nan),
            )

    def _of_sums(
        self, now: Now, start_s: int, end_s: int, step_s: int, t_s: NDArray[np.int64], owner: str | None, site: str
    ) -> dict[str, Floats]:
        days = now.days(start_s, end_s)

        def asked(kind: str, of: str, *given: str) -> dict[str, Floats]:
            if not days:
                return {name: np.full(len(t_s), np.nan) for name in _STEP_COLUMNS}
            parameters = [step_s, step_s, now.files(kind, days), start_s, end_s, *given]
            return _on_steps(now.engine.ask(_STEPS.format(of=of), parameters), t_s, step_s)

        every = asked(POWER_SITE, "AND site = ?", site) if site else asked(POWER, "")
        if owner is None:
            return {**every, "all_nodes": every["nodes"]}
        if site:
            of_owner = asked(POWER_BOTH, "AND owner = ? AND site = ?", owner, site)
        else:
            of_owner = asked(POWER_OWNER, "AND owner = ?", owner)
        # In a minute that was read and has no row of this owner, the owner held nothing: 0 W, and no gap.
        held = np.nan_to_num(of_owner["minutes"])
        there = ~np.isnan(every["minutes"])
        sums = {name: np.where(there, np.nan_to_num(of_owner[name]), np.nan) for name in _SUMMED}
        least = np.where(held == every["minutes"], of_owner["min_w"], np.where(there, 0.0, np.nan))
        most = np.where(there, np.nan_to_num(of_owner["max_w"]), np.nan)
        return {**sums, "minutes": every["minutes"], "min_w": least, "max_w": most, "all_nodes": every["nodes"]}

    def _of_node(
        self, now: Now, node: str, start_s: int, end_s: int, step_s: int, t_s: NDArray[np.int64]
    ) -> dict[str, Floats]:
        days = now.days(start_s, end_s)
        if step_s >= _HOUR_S and days:
            asked = [step_s, step_s, now.files(HOURS, days), start_s, end_s, node]
            return _on_steps(now.engine.ask(_STEPS_OF_NODE, asked), t_s, step_s)
        minutes = now.minutes_of(node, start_s, end_s)
        power_w, hum_w = minutes["power_w"], now.hum_of(node, minutes["t_s"], minutes["power_w"])
        unsplit_w = np.where(np.isnan(hum_w), power_w, 0.0)
        place = (minutes["t_s"] - t_s[0]) // step_s if len(t_s) else np.empty(0, np.int64)
        found = {name: np.full(len(t_s), np.nan) for name in _STEP_COLUMNS}
        seen, first = np.unique(place, return_index=True)  # rows are in order of time
        if len(seen):
            found["minutes"][seen] = found["nodes"][seen] = np.diff(np.append(first, len(place)))
            for name, column, add in (
                ("power_w", power_w, np.add), ("hum_w", np.nan_to_num(hum_w), np.add),
                ("unsplit_w", unsplit_w, np.add), ("min_w", power_w, np.minimum), ("max_w", power_w, np.maximum),
            ):  # fmt: skip
                found[name][seen] = add.reduceat(column, first)
        return found

    def _top_nodes(self, now: Now, window: Interval, by: str, limit: int, owner: str | None, site: str) -> TopNodes:
        now.check_site(site)
        now.check_owner(owner)
        start_s, end_s = _minutes(window)
        start_s, end_s = _whole(start_s, end_s, _HOUR_S)
        whole, parts = now.cut(start_s, end_s)
        if not whole and not parts:
            return _no_nodes(now.known(start_s, end_s, 0, site))
        # The day of a whole one lies in the window as its hours do, so one query adds up both.
        files = now.files(NODE_DAYS, whole) + now.files(HOURS, parts)
        found = now.engine.ask(_TOP.format(rank=RANKED[by]), [files, start_s, end_s, site, site, owner, owner, limit])
        if not len(found["node"]):
            return _no_nodes(now.known(start_s, end_s, 0, site))
        nodes = tuple(map(str, found["node"]))
        return TopNodes(
            now.known(start_s, end_s, now.read(start_s, end_s, site), site),  # of all nodes, not of the listed ones
            nodes,
            tuple(map(str, found["site"])),
            tuple(map(str, found["owner"])),
            found["gpus"].astype(np.int64),
            Split(*(np.asarray(found[part], dtype=float) for part in _PARTS)),
            found["minutes"].astype(np.int64),
            found["idle_minutes"].astype(np.int64),
            np.asarray(found["max_w"], dtype=float),
            np.array([now.idle_w(node, end_s) for node in nodes]),
            int(found["total"][0]),
        )

    def _trace(self, now: Now, node: str, window: Interval) -> Trace:
        now.check_node(node)
        start_s, end_s = _minutes(window)
        t_s = np.arange(start_s, end_s, MINUTE_S, dtype=np.int64)
        found = now.minutes_of(node, start_s, end_s)
        place = (found["t_s"] - start_s) // MINUTE_S
        power_w, hum_w, busy = (np.full(len(t_s), np.nan) for _ in range(3))
        power_w[place] = found["power_w"]
        hum_w[place] = now.hum_of(node, found["t_s"], found["power_w"])
        busy[place] = found["busy"]
        owners: list[str | None] = [None] * len(t_s)
        sites: list[str | None] = [None] * len(t_s)
        for at, owner, site in zip(place.tolist(), found["owner"], found["site"], strict=True):
            owners[at], sites[at] = str(owner), str(site)
        expected = now.presence.expected(np.array([start_s, end_s]), node=node)
        known = now.known(start_s, end_s, len(place), "", coverage=Coverage(len(place), round(float(expected.sum()))))
        gpus = int(found["gpus"][-1]) if len(place) else now.presence.gpus_of(node)
        return Trace(known, node, t_s, power_w, hum_w, busy, tuple(owners), tuple(sites), gpus)

    def _used(self, now: Now, window: Interval, site: str, period_of: Callable[[int], str]) -> UsedOverTime:
        now.check_site(site)
        start_s, end_s = _minutes(window)
        start_s, end_s = _whole(start_s, end_s, DAY_S)
        days = now.days(start_s, end_s)
        if days:  # periods before and after all samples are none
            start_s, end_s = max(start_s, days[0]), min(end_s, days[-1] + DAY_S)
        periods = sorted({period_of(day_s) for day_s in range(start_s, end_s, DAY_S)}) if days else []
        found: dict[str, Any] = {name: np.empty(0) for name in ("period", "owner", "node_minutes", *_PARTS)}
        if days:
            table = {
                "named": np.array([now.path(DAYS, day_s) for day_s in days], dtype=object),
                "period": np.array([period_of(day_s) for day_s in days], dtype=object),
            }
            found = now.engine.ask(_USED, [now.files(DAYS, days), site, site], tables={"file": table})
        owners = sorted({str(name) for name in found["owner"]})
        rows = np.array([periods.index(str(period)) for period in found["period"]], dtype=np.int64)
        columns = [owners.index(str(name)) for name in found["owner"]]
        parts = []
        for part in _PARTS:
            grid = np.zeros((len(periods), len(owners)))
            grid[rows, columns] = found[part]
            parts.append(grid)
        read, expected = np.zeros(len(periods)), np.zeros(len(periods))
        np.add.at(read, rows, found["node_minutes"])
        for day_s in range(start_s, end_s, DAY_S) if days else ():
            edges = np.array([day_s, day_s + DAY_S])
            expected[periods.index(period_of(day_s))] += now.presence.expected(edges, site=site)[0]
        return UsedOverTime(
            now.known(start_s, end_s, int(read.sum()), site),
            tuple(periods),
            tuple(owners),
            Split(*parts),
            tuple(Coverage(int(a), round(float(b))) for a, b in zip(read, expected, strict=True)),
        )

    def _latest(self, now: Now) -> Latest:
        end_s = now.presence.span_s[1]
        at_s = end_s - MINUTE_S
        day_s = at_s // DAY_S * DAY_S
        found = now.engine.ask(
            "SELECT owner, power_w, hum_w, unsplit_w, nodes, idle_nodes FROM read_parquet(?::VARCHAR[]) "
            "WHERE t_s = ? ORDER BY power_w DESC, owner",
            [now.files(POWER_OWNER, [day_s]), at_s],
        )
        nodes = found["nodes"].astype(np.int64)
        return Latest(
            now.known(at_s, end_s, int(nodes.sum()), ""),
            tuple(map(str, found["owner"])),
            np.asarray(found["power_w"], dtype=float),
            np.asarray(found["hum_w"], dtype=float),
            np.asarray(found["unsplit_w"], dtype=float),
            nodes,
            found["idle_nodes"].astype(np.int64),
        )


_SUMMED = ("power_w", "hum_w", "unsplit_w", "nodes")
_STEP_COLUMNS = ("minutes", "power_w", "min_w", "max_w", "hum_w", "unsplit_w", "nodes")


def _busy(folder: Path) -> LedgerError:
    return LedgerError(str(folder), "its files keep changing while they are read", "Ask again")


def _all_there(seen: Look) -> bool:
    return all(path.exists() for path in seen.sums.values())


def _minutes(window: Interval) -> tuple[int, int]:
    """The minutes whose start lies in the window [s, Unix epoch], half-open; the last day of the calendar has none."""
    start_s, end_s = (
        min(-(-(stamp - _EPOCH) // _MINUTE) * MINUTE_S, _CALENDAR_ENDS_S) for stamp in (window.start, window.end)
    )
    return start_s, end_s


def _whole(start_s: int, end_s: int, step_s: int) -> tuple[int, int]:
    """The window, widened to whole steps."""
    return start_s // step_s * step_s, -(-end_s // step_s) * step_s


def _step(start_s: int, end_s: int, points: int) -> int:
    """The shortest step that gives no more than so many; days on end where none of ours does."""
    whole_days = max(1, (end_s - start_s) // (DAY_S * points))
    for step_s in itertools.chain(STEPS_S, itertools.count(whole_days * DAY_S, DAY_S)):
        if -(-end_s // step_s) - start_s // step_s <= points:
            break
    return step_s


def _on_steps(found: dict[str, NDArray[Any]], t_s: NDArray[np.int64], step_s: int) -> dict[str, Floats]:
    place = (found["at_s"].astype(np.int64) - t_s[0]) // step_s if len(t_s) else np.empty(0, np.int64)
    spread = {}
    for name in _STEP_COLUMNS:
        column = np.full(len(t_s), np.nan)
        column[place] = filled(found[name], float)
        spread[name] = column
    return spread


def _added(so_far: dict[str, NDArray[Any]], found: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Figures by owner, added to those there."""
    table = np.stack([np.asarray(found[name], dtype=float) for name in _FIGURES], axis=1)
    for owner, row in zip(map(str, found["owner"]), table, strict=True):
        so_far[owner] = so_far[owner] + row if owner in so_far else row
    return so_far


def _no_nodes(known: Known) -> TopNodes:
    none, whole = np.empty(0), np.empty(0, np.int64)
    return TopNodes(known, (), (), (), whole, Split(*(none,) * 5), whole, whole, none, none, 0)
