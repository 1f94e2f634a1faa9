"""What a search has measured, kept at once: one SQLite file a search, beside the sampler's own tables in it.

A part of a look is written in one transaction when it is whole, so a kill leaves it out or leaves it in. What a kill
cut short has its receipts in the ledger all the same.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from outweigh.core.errors import LedgerError, UsageError
from outweigh.shrink.search_series import Series, from_plain, to_plain
from outweigh.shrink.search_space import Combination

HELD_OUT = -1  # the rung of the verdict

_SCHEMA = """
create table if not exists outweigh_meta (key text primary key, value text not null);
create table if not exists outweigh_part (
    combination text not null, rung integer not null, part integer not null, base text not null, own text not null,
    primary key (combination, rung, part));
create table if not exists outweigh_failure (combination text primary key, reason text not null, dead text not null);
create table if not exists outweigh_step (combination text primary key, energy_j real not null);
create table if not exists outweigh_leg (id integer primary key, seconds real not null, energy_j real not null);
"""


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a combination cannot be had. `dead`: whatever begins with these levers fails alike."""

    combination: Combination
    reason: str
    dead: Combination


class Kept:
    """The file of one search. Raises LedgerError when it cannot be used."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = _locked(path)
        with self._told():
            self._db = sqlite3.connect(path, timeout=30.0, isolation_level=None)
            self._db.execute("pragma journal_mode = wal")
            self._db.execute("pragma synchronous = full")
            self._db.executescript(_SCHEMA)
            self._leg = int(
                self._db.execute("insert into outweigh_leg (seconds, energy_j) values (0, 0) returning id").fetchone()[
                    0
                ]
            )

    def close(self) -> None:
        self._db.close()
        if self._lock is not None:
            self._lock.close()

    def pin(self, key: str, value: str) -> str:
        """The value kept under a key: this one, where there was none."""
        with self._told():
            self._db.execute("insert or ignore into outweigh_meta values (?, ?)", (key, value))
            row = self._db.execute("select value from outweigh_meta where key = ?", (key,)).fetchone()
        return str(row[0])

    def add_part(
        self, rung: int, part: int, base: Series, own: Mapping[Combination, Series], steps: Mapping[Combination, float]
    ) -> None:
        """One part of a look at one or more combinations, and what making them drew [J] where it was made now."""
        beside = json.dumps(to_plain(base))
        with self._told(), self._transaction():
            self._db.executemany(
                "insert or ignore into outweigh_part values (?, ?, ?, ?, ?)",
                [(_text(one), rung, part, beside, json.dumps(to_plain(series))) for one, series in own.items()],
            )
            self._add_steps(steps)

    def add_failure(self, failure: Failure, steps: Mapping[Combination, float]) -> None:
        with self._told(), self._transaction():
            self._db.execute(
                "insert or ignore into outweigh_failure values (?, ?, ?)",
                (_text(failure.combination), failure.reason, _text(failure.dead)),
            )
            self._add_steps(steps)

    def _add_steps(self, steps: Mapping[Combination, float]) -> None:
        # The first time counts: later an artefact lies there already, and looking at it is not making it.
        self._db.executemany(
            "insert or ignore into outweigh_step values (?, ?)", [(_text(one), joules) for one, joules in steps.items()]
        )

    def has(self, combination: Combination, rung: int, part: int) -> bool:
        found = "select 1 from outweigh_part where combination = ? and rung = ? and part = ?"
        with self._told():
            return self._db.execute(found, (_text(combination), rung, part)).fetchone() is not None

    def parts(self, combination: Combination, first: int = 0, last: int = 2**31) -> list[tuple[Series, Series]]:
        """(base, own) of every part that was looked at in the rungs from `first` to `last`."""
        query = "select base, own from outweigh_part where combination = ? and rung between ? and ? order by rung, part"
        with self._told():
            rows = self._db.execute(query, (_text(combination), first, last)).fetchall()
        return [(from_plain(json.loads(base)), from_plain(json.loads(own))) for base, own in rows]

    def measured(self, rung: int = 0) -> list[Combination]:
        """Combinations with a part of that rung, in the order first looked at."""
        query = "select combination from outweigh_part where rung = ? group by combination order by min(rowid)"
        with self._told():
            return [_combination(row[0]) for row in self._db.execute(query, (rung,))]

    def failures(self) -> list[Failure]:
        with self._told():
            rows = self._db.execute("select combination, reason, dead from outweigh_failure order by rowid").fetchall()
        return [Failure(_combination(one), reason, _combination(dead)) for one, reason, dead in rows]

    def steps(self) -> dict[Combination, float]:
        """Energy [J] of applying the last lever of each chain, the first time it was applied."""
        with self._told():
            rows = self._db.execute("select combination, energy_j from outweigh_step").fetchall()
        return {_combination(one): joules for one, joules in rows}

    def tick(self, seconds: float, energy_j: float) -> None:
        """What this leg has taken until now [s] and drawn [J]."""
        with self._told():
            self._db.execute(
                "update outweigh_leg set seconds = ?, energy_j = ? where id = ?", (seconds, energy_j, self._leg)
            )

    @property
    def earlier(self) -> tuple[float, float]:
        """What the legs before this one took [s] and drew [J]."""
        query = "select coalesce(sum(seconds), 0), coalesce(sum(energy_j), 0) from outweigh_leg where id != ?"
        with self._told():
            seconds, energy_j = self._db.execute(query, (self._leg,)).fetchone()
        return float(seconds), float(energy_j)

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._db:
            self._db.execute("begin immediate")
            yield

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as err:
            raise LedgerError(
                str(self.path), f"the search cannot be kept ({err})", "Check the disk, or remove the file to start anew"
            ) from err


def _text(combination: Combination) -> str:
    return "+".join(combination)


def _combination(text: str) -> Combination:
    return tuple(text.split("+"))


def _locked(path: Path) -> IO[str] | None:
    """Held while this process searches; the system lets go of it when the process ends, however it does."""
    try:
        import fcntl
    except ImportError:  # Windows: two at once are not told of each other
        return None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        stream = path.with_suffix(".lock").open("w")
    except OSError as err:
        raise LedgerError(str(path), f"it cannot be written ({err.strerror})", "Choose another folder") from err
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as err:
        stream.close()
        raise UsageError("this search is running in another process", "Wait for it, or stop it and ask again") from err
    return stream
