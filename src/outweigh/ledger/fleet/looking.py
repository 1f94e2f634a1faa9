"""One look at a fleet, and the small questions that answers are made of."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from outweigh.core.errors import UsageError
from outweigh.core.intervals import Interval
from outweigh.core.measurement import Grade
from outweigh.ledger.fleet.answers import Coverage, Floats, Known
from outweigh.ledger.fleet.engine import Engine, literal
from outweigh.ledger.fleet.minutes import DAY_S
from outweigh.ledger.fleet.presence import Presence
from outweigh.ledger.fleet.rollups import DAYS, POWER, POWER_SITE, Look, names_of, rows_of


class Now:
    """A fleet at one moment: what lies there, and which nodes there are."""

    def __init__(self, engine: Engine, seen: Look, presence: Presence) -> None:
        self.engine, self.seen, self.presence = engine, seen, presence
        self._owners: tuple[str, ...] | None = None

    def days(self, start_s: int, end_s: int) -> list[int]:
        """Days with samples that the window touches."""
        return [day_s for day_s in self.seen.sums if day_s < end_s and day_s + DAY_S > start_s]

    def cut(self, start_s: int, end_s: int) -> tuple[list[int], list[int]]:
        """Days that lie in the window, and those that it cuts."""
        touched = self.days(start_s, end_s)
        whole = [day_s for day_s in touched if start_s <= day_s and day_s + DAY_S <= end_s]
        return whole, [day_s for day_s in touched if day_s not in set(whole)]

    def path(self, kind: str, day_s: int) -> str:
        return str(self.seen.sums[day_s] / f"{kind}.parquet")

    def files(self, kind: str, days: Sequence[int]) -> list[str]:
        return [literal(Path(self.path(kind, day_s))) for day_s in days]

    def known(self, start_s: int, end_s: int, read: int, site: str, *, coverage: Coverage | None = None) -> Known:
        days = self.days(start_s, end_s) or list(self.seen.sums)
        how = list(dict.fromkeys(each for day_s in days for each in self.seen.how[day_s]))
        if coverage is None:
            expected = self.presence.expected(np.array([start_s, end_s]), site=site)
            coverage = Coverage(read, round(float(expected.sum())))
        return Known(
            interval(start_s, end_s),
            coverage,
            how[0].scope,
            Grade.worst(each.grade for each in how),
            tuple(sorted({each.method for each in how})),
            tuple(sorted({each.source for each in how})),
            max(each.doubt for each in how),
            any(each.synthetic for each in how),
        )

    def read(self, start_s: int, end_s: int, site: str) -> int:
        """Minutes of nodes that were read in a window."""
        if not (days := self.days(start_s, end_s)):
            return 0
        found = self.engine.ask(
            "SELECT coalesce(sum(nodes), 0) AS n FROM read_parquet(?::VARCHAR[]) WHERE t_s >= ? AND t_s < ? "
            + ("AND site = ?" if site else ""),
            [self.files(POWER_SITE if site else POWER, days), start_s, end_s, *([site] if site else [])],
        )
        return int(found["n"][0])

    def owners(self) -> tuple[str, ...]:
        """Everybody who ever held a node, and "" where one was held by nobody; in order."""
        if self._owners is None:
            found = self.engine.ask(
                "SELECT DISTINCT owner FROM read_parquet(?::VARCHAR[]) ORDER BY owner",
                [self.files(DAYS, list(self.seen.sums))],
            )
            self._owners = tuple(map(str, found["owner"]))
        return self._owners

    def check_site(self, site: str) -> None:
        if site and site not in self.presence.sites:
            raise UsageError(f"the fleet has no site {site!r}", f"It has {_listed(self.presence.sites, site)}")

    def check_owner(self, owner: str | None) -> None:
        if owner and owner not in (owners := self.owners()):
            raise UsageError(f"nobody called {owner!r} holds nodes", f"It has {_listed(owners, owner)}")

    def check_node(self, node: str) -> None:
        if not self.presence.has(node):
            raise UsageError(f"the fleet has no node {node!r}", f"It has {_listed(self.presence.names, node)}")

    def minutes_of(self, node: str, start_s: int, end_s: int) -> dict[str, NDArray[Any]]:
        """A node's own samples in order of time, each minute once; `busy` is NaN where unknown."""
        parts = []
        for day_s in self.days(start_s, end_s):
            segments = self.seen.listed[day_s]
            query = f"SELECT * FROM ({rows_of(segments, where='node = ?')}) WHERE t_s >= ? AND t_s < ? ORDER BY t_s"
            parts.append(self.engine.ask(query, [names_of(segments), node, start_s, end_s]))
        empty = {"t_s": np.int64, "power_w": float, "busy": float, "gpus": np.int64, "owner": object, "site": object}
        return {
            name: np.concatenate([np.empty(0, kind), *(filled(part[name], kind) for part in parts)])
            for name, kind in empty.items()
        }

    def hum_of(self, node: str, t_s: NDArray[np.int64], power_w: Floats) -> Floats:
        """The hum in each of a node's minutes [W]; NaN where it has not idled by then."""
        day_s, idle_w = self.presence.idle_of(node)
        at = np.searchsorted(day_s, t_s, side="right") - 1
        return np.minimum(power_w, idle_w[np.maximum(at, 0)])

    def idle_w(self, node: str, before_s: int) -> float:
        """A node's latest hum figure of the days that begin before a moment [W]; NaN without one."""
        day_s, idle_w = self.presence.idle_of(node)
        days = int(np.searchsorted(day_s, before_s))
        return float(idle_w[days - 1]) if days else float("nan")


def interval(start_s: int, end_s: int) -> Interval:
    return Interval(datetime.fromtimestamp(start_s, UTC), datetime.fromtimestamp(end_s, UTC))


def filled(column: NDArray[Any], kind: Any) -> NDArray[Any]:
    if kind is float:
        return np.ma.filled(column.astype(float), np.nan)
    return np.asarray(column, dtype=kind)


def _listed(known: Sequence[str], asked: str) -> str:
    near = difflib.get_close_matches(asked, known, n=3, cutoff=0.4) or known[:5]
    return ", ".join(repr(name) for name in near) + (" and others" if len(known) > len(near) else "")
