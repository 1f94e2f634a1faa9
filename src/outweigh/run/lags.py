"""How late things come: what a start took of late, and how long nobody could act. The guard before a deadline grows
with them."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from outweigh.run.deciding import Rules

#: Starts that say how long after its time one comes.
_STARTS: Final = 30
#: So long a silence is remembered [plan s]: what fell silent once may again.
_MEMORY: Final = timedelta(hours=24)


class Lags:
    """Times are plan time; a lag is never negative."""

    def __init__(self) -> None:
        self._starts_s: deque[float] = deque(maxlen=_STARTS)
        # Only those that no later one exceeds, the longest first.
        self._silences: deque[tuple[datetime, float]] = deque()
        self._acted: datetime | None = None

    def started(self, due: datetime, at: datetime) -> None:
        """A job has started that was due then."""
        self._starts_s.append(max((at - due).total_seconds(), 0.0))

    def acted(self, now: datetime) -> None:
        """The scheduler and the database both answered, and what was to be done was asked. Not told of a cycle in
        which one was silent: the time from the last to the next is what a silence cost."""
        if self._acted is not None:
            silent_s = (now - self._acted).total_seconds()
            while self._silences and self._silences[-1][1] <= silent_s:
                self._silences.pop()
            self._silences.append((now, silent_s))
        self._acted = now

    def longest_s(self, now: datetime) -> float:
        """The longest delay of the last starts, or silence of the last day, the one that lasts included."""
        while self._silences and now - self._silences[0][0] > _MEMORY:
            self._silences.popleft()
        lasting_s = 0.0 if self._acted is None else (now - self._acted).total_seconds()
        silent_s = self._silences[0][1] if self._silences else 0.0
        return max(max(self._starts_s, default=0.0), silent_s, lasting_s)

    def guarded(self, rules: Rules, now: datetime) -> Rules:
        """The rules, with their distances from the last moment widened by the longest lag.

        A job that waits for room for long is a slip, and no lag: the limit is `slip_s`. A begin time that a scheduler
        keeps is widened in steps, so that it is not set anew for every second.
        """
        lag_s = min(self.longest_s(now), rules.slip_s)
        step_s = max(rules.lead_s, 1.0)
        return replace(
            rules, guard_s=rules.guard_s + lag_s, lead_s=rules.lead_s + step_s * math.ceil(lag_s / step_s - 0.5)
        )
