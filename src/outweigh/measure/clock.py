"""Clocks: durations from the monotonic one, stamps in UTC, and a made one for tests.

Nothing in this room asks the time elsewhere, so a test with a `FakeClock` sees the same code as a run.
"""

from __future__ import annotations

import os
import select
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

# Not from typing, whose import would cost more than all the rest; type checkers take any name like this as true.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol
else:
    Protocol = object

# A meter that hangs must not hang the program that wants to end.
_JOIN_S = 5.0
_BOOTTIME: int | None = getattr(time, "CLOCK_BOOTTIME", None)  # Linux only


class Ticker(Protocol):
    """A repeated call, until it is stopped. `cpu_s` is the CPU time it has cost so far [s]."""

    @property
    def cpu_s(self) -> float: ...

    def stop(self) -> None: ...


class Clock(Protocol):
    """What measuring needs of time.

    `boottime_s` also counts the time the machine slept; None where the platform does not say. Its
    growth beyond `monotonic_s` is a suspend.
    """

    def monotonic_s(self) -> float: ...

    def boottime_s(self) -> float | None: ...

    def utc(self) -> datetime: ...

    def sleep(self, seconds: float) -> None: ...

    def every(self, period_s: float, call: Callable[[], None]) -> Ticker:
        """Call again and again, in the background. The first call comes one period from now."""


class SystemClock:
    """The machine's own clocks; `every` runs a daemon thread, which dies with the process."""

    def monotonic_s(self) -> float:
        return time.monotonic()

    def boottime_s(self) -> float | None:
        return None if _BOOTTIME is None else time.clock_gettime(_BOOTTIME)

    def utc(self) -> datetime:
        return datetime.now(UTC)

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)

    def every(self, period_s: float, call: Callable[[], None]) -> Ticker:
        return _ThreadTicker(period_s, call)


class _ThreadTicker:
    def __init__(self, period_s: float, call: Callable[[], None]) -> None:
        self._period_s, self._call = period_s, call
        self._cpu_s = 0.0
        self._stopped = False
        self._wait = _Bell()
        self._thread = threading.Thread(target=self._run, name="outweigh-sampler", daemon=True)
        self._thread.start()

    @property
    def cpu_s(self) -> float:
        return self._cpu_s

    def stop(self) -> None:
        if not self._stopped:
            self._stopped = True
            self._wait.ring()
        if self._thread is not threading.current_thread():
            self._thread.join(timeout=_JOIN_S)

    def _run(self) -> None:
        rung_within, call, period_s, monotonic = self._wait.rung_within, self._call, self._period_s, time.monotonic
        due, left_s = monotonic() + period_s, period_s
        while not rung_within(left_s):
            call()
            self._cpu_s = time.thread_time()
            # From the schedule and not from now, so that ticks do not drift; a missed tick is skipped, not made up.
            due += period_s
            now = monotonic()
            if due < now:
                due = now + period_s
            left_s = due - now


class _Bell:
    """Rung once, by another thread. Most of what sampling costs is waking up, so the cheapest wait is taken."""

    def __init__(self) -> None:
        # A wait for a lock costs a third more CPU time than one for a pipe; Windows cannot wait for pipes.
        self._ends = os.pipe() if hasattr(select, "poll") else None
        if self._ends is not None:
            self._poll = select.poll()
            self._poll.register(self._ends[0], select.POLLIN)
        self._lock = threading.Lock()
        self._lock.acquire()

    def ring(self) -> None:
        if self._ends is None:
            self._lock.release()
        else:
            os.write(self._ends[1], b"x")

    def rung_within(self, seconds: float) -> bool:
        if self._ends is None:
            return self._lock.acquire(timeout=seconds)
        return bool(self._poll.poll(seconds * 1e3))

    def __del__(self) -> None:
        for end in self._ends or ():
            os.close(end)


class FakeClock:
    """A clock that moves only when told: for tests of ours and of users.

    `sleep` advances it, and whatever was started with `every` is called on the way, at its due times.

    >>> clock, seen = FakeClock(), []
    >>> ticker = clock.every(0.4, lambda: seen.append(round(clock.monotonic_s(), 1)))
    >>> clock.sleep(1.0)
    >>> seen
    [0.4, 0.8]
    """

    def __init__(self, start: datetime = datetime(2026, 1, 1, tzinfo=UTC)) -> None:
        self._utc = start
        self._monotonic_s = 0.0
        self._slept_s = 0.0
        self._tickers: list[_FakeTicker] = []

    def monotonic_s(self) -> float:
        return self._monotonic_s

    def boottime_s(self) -> float | None:
        return self._monotonic_s + self._slept_s

    def utc(self) -> datetime:
        return self._utc

    def sleep(self, seconds: float) -> None:
        end_s = self._monotonic_s + seconds
        while due := [t for t in self._tickers if t.due_s <= end_s]:
            first = min(due, key=lambda ticker: ticker.due_s)
            self._move(first.due_s - self._monotonic_s)
            first.due_s += first.period_s
            first.call()
        self._move(end_s - self._monotonic_s)

    def stall(self, seconds: float) -> None:
        """Let time pass without a tick: what a starved background thread looks like."""
        self._move(seconds)
        for ticker in self._tickers:
            ticker.due_s = max(ticker.due_s, self._monotonic_s + ticker.period_s)

    def suspend(self, seconds: float) -> None:
        """Put the machine to sleep: wall and boot time go on, monotonic time does not."""
        self._slept_s += seconds
        self._utc += timedelta(seconds=seconds)

    def step_utc(self, seconds: float) -> None:
        """Set the wall clock, as a time server or a person does."""
        self._utc += timedelta(seconds=seconds)

    def every(self, period_s: float, call: Callable[[], None]) -> Ticker:
        ticker = _FakeTicker(self, period_s, call, self._monotonic_s + period_s)
        self._tickers.append(ticker)
        return ticker

    def _move(self, seconds: float) -> None:
        self._monotonic_s += seconds
        self._utc += timedelta(seconds=seconds)


class _FakeTicker:
    cpu_s = 0.0

    def __init__(self, clock: FakeClock, period_s: float, call: Callable[[], None], due_s: float) -> None:
        self._clock, self.period_s, self.call, self.due_s = clock, period_s, call, due_s

    def stop(self) -> None:
        if self in self._clock._tickers:
            self._clock._tickers.remove(self)
