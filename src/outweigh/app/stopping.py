"""A run held to its budget line while it goes on: looked at every second, warned of, and stopped if asked to."""

from __future__ import annotations

import signal
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self

from outweigh.app.lines import LineWatch
from outweigh.core.receipt import RunStatus

if TYPE_CHECKING:
    from outweigh.app.keeping import Watched
    from outweigh.measure import Clock

#: How often a run is looked at [s].
LOOK_S = 1.0
#: How long a command has after SIGTERM to write a checkpoint, before SIGKILL [s].
GRACE_S = 30.0
#: Exit code of a command that was stopped at its budget, as `timeout` ends for one it has stopped.
STOPPED_CODE = 124
#: Label of a receipt whose run was stopped at a budget: the line's name.
STOPPED_BY = "stopped_by_budget"

_POWER_OVER_S = 10.0  # the power to come is taken from as long
_UNSURE_FROM_S = 30.0  # so long a meter may take to make up its mind


class Signalled(Protocol):
    """What an executor offers beside `Executor`, when the command it runs can be sent a signal."""

    def signal(self, number: int) -> bool:
        """Send it from another thread; whether there was a command to send it to."""


class Held:
    """A context manager around the running command.

    The run is stopped when what it has drawn, and what it will draw at its present power until the next look and
    through the whole grace period, would overshoot the line: so that a checkpoint, too, is written within it.

    Args:
        watch: has begun.
        send: sends a signal to the run, and says whether there was a run to send it to; None only warns.
        grace_s: from SIGTERM to SIGKILL [s].

    Attributes:
        stopped, killed: whether the run was sent SIGTERM, and SIGKILL.
    """

    def __init__(
        self,
        watch: LineWatch,
        watched: Watched,
        clock: Clock,
        *,
        send: Callable[[int], bool] | None = None,
        grace_s: float = GRACE_S,
        told: Callable[[str], None],
    ) -> None:
        self._watch, self._watched, self._clock = watch, watched, clock
        self._send, self._grace_s, self._told = send, grace_s, told
        self._seen: deque[tuple[float, float]] = deque(maxlen=1 + round(_POWER_OVER_S / LOOK_S))
        self._kill_at_s = 0.0
        self._unsure = False
        self.stopped = self.killed = False

    def __enter__(self) -> Self:
        self._seen.append((self._clock.monotonic_s(), 0.0))
        self._ticker = self._clock.every(LOOK_S, self.look)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._ticker.stop()

    def look(self) -> None:
        """One look; from the ticker's thread."""
        now_s = self._clock.monotonic_s()
        if self.stopped:
            if not self.killed and now_s >= self._kill_at_s and self._send is not None:
                self.killed = self._send(signal.SIGKILL)
                if self.killed:
                    self._told(f"still running {self._grace_s:g} s later: killed (SIGKILL)")
            return
        reading = self._watched.so_far()
        if reading.status is RunStatus.UNUSABLE and reading.seconds > _UNSURE_FROM_S and not self._unsure:
            self._unsure = True
            self._told(f"the line is watched by a lower bound: {'; '.join(reading.notes)}")
        energy_j = reading.total.value.joules
        self._seen.append((now_s, energy_j))
        (then_s, then_j) = self._seen[0]
        power_w = (energy_j - then_j) / (now_s - then_s) if now_s > then_s else 0.0
        ahead_j = 0.0 if self._send is None else power_w * (LOOK_S + self._grace_s)
        over = self._watch.look(energy_j, self._clock.utc(), ahead_j=ahead_j)
        if over and self._send is not None and self._send(signal.SIGTERM):
            self.stopped = True
            self._kill_at_s = now_s + self._grace_s
            self._told(
                f"stopping before the line is overshot: SIGTERM now, SIGKILL in {self._grace_s:g} s; "
                f"at {power_w:.3g} W that leaves {ahead_j:.3g} J for it"
            )
