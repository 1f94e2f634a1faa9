"""`replay`: a recorded or made trace played back as a meter. Test data, and says so wherever it is read.

    meter = ReplayMeter([(0.0, 50.0), (10.0, 120.0)], now=clock.monotonic_s)

plays 50 W rising to 120 W over ten seconds. Time starts when the meter is opened and is the caller's: real, or
that of a `FakeClock`. By default it plays as an energy counter; as a power sensor with `kind=ChannelKind.POWER`;
with `wrap_j` and `reset_at_s` it misbehaves as counters do.

As a file: CSV with the columns `t_s,power_w`, or `t_s,energy_j` for a cumulative counter. The unit is in the name
and another name is refused. An empty power is a sensor that did not answer.
"""

from __future__ import annotations

import csv
import itertools
import time
from bisect import bisect_right
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import ClassVar

from outweigh.core.errors import MeterUnavailable
from outweigh.core.measurement import Factor, Grade, Method, Scope, UncertaintyComponent
from outweigh.ports import Availability, Channel, ChannelKind, Sample
from outweigh.registry import meters

Trace = Sequence[tuple[float, float | None]]

_COLUMNS = {"power_w": False, "energy_j": True}


@meters.register("replay")
class ReplayMeter:
    """Plays a trace.

    Args:
        trace: (time since opening [s], power [W]) pairs in order, linear in between and constant after the last;
            None where the sensor did not answer. Or the path of such a CSV.
        now: monotonic time [s].
        cumulative: the values are a counter's joules instead of watts.
        kind: whether it plays as a counter or as a power sensor.
        scope, grade, components, update_s, resolution, max_power_w, hum_w: what the meter is to say of itself.
        wrap_j: where the counter starts again at 0 [J].
        reset_at_s: times at which the counter falls to 0 for no good reason [s].
        vanish_at_s: time from which the meter cannot be read [s].
    """

    name: ClassVar[str] = "replay"

    def __init__(
        self,
        trace: Trace | str | Path = (),
        *,
        now: Callable[[], float] = time.monotonic,
        cumulative: bool = False,
        kind: ChannelKind = ChannelKind.ENERGY,
        scope: Scope = Scope.PACKAGE,
        grade: Grade = Grade.D,
        components: tuple[UncertaintyComponent, ...] = (),
        update_s: float = 0.0,
        resolution: float = 0.0,
        max_power_w: float | None = None,
        hum_w: float | None = None,
        wrap_j: float | None = None,
        reset_at_s: tuple[float, ...] = (),
        vanish_at_s: float | None = None,
    ) -> None:
        if isinstance(trace, str | Path):
            self._told = str(trace)
            trace, cumulative = _read(Path(trace))
        else:
            self._told = f"made trace of {len(trace)} points"
        self._points = [(float(t_s), value) for t_s, value in trace]
        self._cumulative = cumulative
        self._energy_j = _energies([(t, v or 0.0) for t, v in self._points]) if not cumulative else []
        self._now = now
        self._opened_s: float | None = None
        self._components = components
        self._reset_at_s, self._vanish_at_s = reset_at_s, vanish_at_s
        self.grade = grade
        self.method = Method.REPLAYED
        self.source = f"replay of a {self._told}" if self._told.startswith("made") else "replay of a recorded trace"
        self.factors: tuple[Factor, ...] = ()
        self.notes = ("replayed: test data, not a measurement of this run",)
        self._channel = Channel(
            id="replay",
            device="replay",
            scope=scope,
            kind=kind,
            wrap_j=wrap_j,
            update_s=update_s,
            resolution=resolution,
            max_power_w=max_power_w,
            hum_w=hum_w,
        )

    @classmethod
    def probe(cls) -> Availability:
        return Availability("replay", usable=True, sees="a trace you give (test data)", grade=Grade.D)

    @property
    def channels(self) -> tuple[Channel, ...]:
        return (self._channel,)

    def open(self) -> None:
        """Start playing. Raises MeterUnavailable without a trace, or with times out of order."""
        if not self._points:
            raise MeterUnavailable("replay", "there is no trace to play", "Name one: --meter replay:trace.csv")
        times = [t_s for t_s, _ in self._points]
        if times != sorted(times):
            raise MeterUnavailable("replay", "the trace's times are out of order", "Sort it by t_s")
        self._opened_s = self._now()

    def read(self) -> Sample:
        if self._opened_s is None:
            raise MeterUnavailable("replay", "it is not open", "Call open() first")
        now_s = self._now()
        at_s = now_s - self._opened_s
        if self._vanish_at_s is not None and at_s >= self._vanish_at_s:
            raise MeterUnavailable("replay", f"it vanished after {self._vanish_at_s:g} s", "This is what was asked for")
        if self._channel.kind is ChannelKind.POWER:
            return Sample(now_s, (self._power_w(at_s),))
        if self._value_at(at_s) is None:
            return Sample(now_s, (None,))
        energy_j = self.energy_j(at_s)
        for reset_s in self._reset_at_s:
            if at_s >= reset_s:
                energy_j = self.energy_j(at_s) - self.energy_j(reset_s)
        if self._channel.wrap_j is not None:
            energy_j %= self._channel.wrap_j
        if self._channel.resolution > 0:
            energy_j = energy_j // self._channel.resolution * self._channel.resolution
        return Sample(now_s, (energy_j,))

    def components(self) -> tuple[UncertaintyComponent, ...]:
        return self._components

    def close(self) -> None:
        self._opened_s = None

    def energy_j(self, at_s: float) -> float:
        """The truth: energy of the trace from its start to this time [J], before any wrap or reset."""
        if self._cumulative:
            return (self._value_at(at_s) or 0.0) - (self._points[0][1] or 0.0)
        index = max(0, bisect_right(self._points, at_s, key=lambda point: point[0]) - 1)
        before_s, before_w = self._points[index]
        if at_s <= before_s:
            return self._energy_j[index]
        return self._energy_j[index] + ((before_w or 0.0) + (self._value_at(at_s) or 0.0)) / 2 * (at_s - before_s)

    def _power_w(self, at_s: float) -> float | None:
        if not self._cumulative:
            return self._value_at(at_s)
        index = min(bisect_right(self._points, at_s, key=lambda point: point[0]), len(self._points) - 1)
        if index == 0:
            return None
        (t0, e0), (t1, e1) = self._points[index - 1 : index + 1]
        return None if e0 is None or e1 is None or t1 <= t0 else (e1 - e0) / (t1 - t0)

    def _value_at(self, at_s: float) -> float | None:
        """Linear between points, constant outside; None beside a point that did not answer."""
        index = bisect_right(self._points, at_s, key=lambda point: point[0])
        if index == 0:
            return self._points[0][1]
        before_s, before = self._points[index - 1]
        if index == len(self._points) or before is None:
            return before
        after_s, after = self._points[index]
        if after is None:
            return None if at_s > before_s else before
        return before + (after - before) * (at_s - before_s) / (after_s - before_s)


def _energies(points: Sequence[tuple[float, float]]) -> list[float]:
    """Energy from the first point to each [J], exact for power linear in between."""
    total_j, energies = 0.0, [0.0] if points else []
    for (t0, p0), (t1, p1) in itertools.pairwise(points):
        total_j += (p0 + p1) / 2 * (t1 - t0)
        energies.append(total_j)
    return energies


def _read(path: Path) -> tuple[list[tuple[float, float | None]], bool]:
    try:
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(line for line in file if not line.startswith("#"))
            column = next((name for name in reader.fieldnames or () if name in _COLUMNS), None)
            if column is None or "t_s" not in (reader.fieldnames or ()):
                raise MeterUnavailable(
                    "replay",
                    f"{path.name} has the columns {', '.join(reader.fieldnames or ()) or 'none'}",
                    "Name them t_s and power_w, or t_s and energy_j: the unit is in the name",
                )
            rows = [(float(row["t_s"]), float(row[column]) if row[column] else None) for row in reader]
    except OSError as err:
        raise MeterUnavailable("replay", f"{path} cannot be read ({err.strerror})", "Check the path") from err
    except ValueError as err:
        raise MeterUnavailable("replay", f"{path.name} holds something that is no number ({err})", "Mend it") from err
    return rows, _COLUMNS[column]
