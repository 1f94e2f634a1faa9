"""How often a provider may be asked: its published limit, kept over all processes, and the pauses it asked for."""

from __future__ import annotations

import logging
import sqlite3
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from outweigh.core.meaning import CLOCK_SLACK_S

_FILE = "grid-manners.sqlite"
_TABLES = (
    "CREATE TABLE IF NOT EXISTS asked (provider TEXT NOT NULL, at_s REAL NOT NULL)",
    "CREATE INDEX IF NOT EXISTS asked_by_time ON asked (provider, at_s)",
    "CREATE TABLE IF NOT EXISTS pause (provider TEXT PRIMARY KEY, until_s REAL NOT NULL)",
)
_log = logging.getLogger("outweigh.grid")
_said: set[str] = set()


class Turn(NamedTuple):
    """How long to wait for it [s], 0 where it is now; `ours`: for our own limit, and not for a pause it asked for."""

    wait_s: float
    ours: bool


class Manners:
    """Remembers requests to one provider in a file that all processes of this user share.

    Where the file cannot be written each process remembers its own requests only.

    Args:
        provider: whom the limit protects: the address it is asked at.
        limits: (requests, within seconds) pairs, all of which hold.
        folder: where the file lies; None remembers in this process.
    """

    def __init__(
        self, provider: str, limits: Sequence[tuple[float, float]], folder: Path | None, now: Callable[[], datetime]
    ) -> None:
        self._provider, self._limits, self._now = provider, tuple(limits), now
        self._path = folder / _FILE if folder else None
        self._longest_s = max((seconds for _, seconds in limits), default=0.0)
        self._asked: deque[float] = deque()
        self._until_s = 0.0

    def ask(self) -> Turn:
        """Whether a request may go out now, which counts it; else how long to wait, which counts nothing."""
        if self._path is not None:
            try:
                return self._ask_shared(self._path)
            except (sqlite3.Error, OSError) as err:
                if self._limits:
                    say_once(f"requests cannot be counted in {self._path} ({err}); each process counts its own")
                self._path = None
        now_s = self._now().timestamp()
        while self._asked and self._asked[0] <= now_s - self._longest_s:
            self._asked.popleft()
        turn = self._turn(list(self._asked), self._until_s, now_s)
        if turn.wait_s == 0 and self._limits:
            self._asked.append(now_s)
        return turn

    def pause(self, seconds: float) -> None:
        """The provider wants no request for so long."""
        until_s = self._now().timestamp() + seconds
        self._until_s = max(self._until_s, until_s)
        if self._path is not None:
            try:
                with closing(self._open(self._path)) as connection:
                    connection.execute("REPLACE INTO pause VALUES (?, ?)", (self._provider, until_s))
            except (sqlite3.Error, OSError):
                self._path = None

    def _ask_shared(self, path: Path) -> Turn:
        with closing(self._open(path)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            # Only now: while we waited for our turn others have asked, and their times must not lie in our future.
            now_s = self._now().timestamp()
            # What does was written before a clock was put back: it would block for as long as that.
            connection.execute(
                "DELETE FROM asked WHERE provider = ? AND (at_s <= ? OR at_s > ?)",
                (self._provider, now_s - self._longest_s, now_s + CLOCK_SLACK_S),
            )
            rows = connection.execute("SELECT at_s FROM asked WHERE provider = ? ORDER BY at_s", (self._provider,))
            asked = [row[0] for row in rows]
            held = connection.execute("SELECT until_s FROM pause WHERE provider = ?", (self._provider,)).fetchone()
            turn = self._turn(asked, held[0] if held else 0.0, now_s)
            if turn.wait_s == 0 and self._limits:
                connection.execute("INSERT INTO asked VALUES (?, ?)", (self._provider, now_s))
            connection.execute("COMMIT")
        return turn

    def _turn(self, asked: Sequence[float], until_s: float, now_s: float) -> Turn:
        wait_s = pause_s = max(0.0, until_s - now_s)
        for requests, seconds in self._limits:
            recent = [at_s for at_s in asked if at_s > now_s - seconds]
            if len(recent) >= requests:
                wait_s = max(wait_s, recent[len(recent) - int(requests)] + seconds - now_s)
        return Turn(wait_s, ours=wait_s > pause_s)

    def _open(self, path: Path) -> sqlite3.Connection:
        path.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(path, timeout=5.0, isolation_level=None)
        # A lost count after a power cut is no harm; a disk's pause before every request would be.
        connection.execute("PRAGMA synchronous = OFF")
        for table in _TABLES:
            connection.execute(table)
        return connection


def say_once(text: str) -> None:
    """Something a person should know that stops nothing: one line, however often it happens in this process."""
    if text not in _said:
        _said.add(text)
        _log.warning("%s", text)
