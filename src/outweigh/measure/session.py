"""A meter in use: windows whose edges are read by the caller, and a sampler that keeps counters honest.

A counter read at both edges of a window costs microseconds and has no helper to wait for, so windows read the
meter in the calling thread. In the background a sampler touches the meter often enough that no counter can wrap
twice unseen, integrates power where there is no counter, and keeps a power trace of bounded length.

    with MeterSession(meter) as session:
        session.hum(3.0)
        with session.window() as window:
            work()
    window.reading.work

A session belongs to the process that opened it. In a forked child its thread is gone and its windows are
somebody else's: opening or reading one there is a UsageError, leaving one is silent.

On a virtual machine nothing of this is measured: no hypervisor in common use passes the processor's energy
counters through, and where one shows them they count the host's other guests too. The `cpu-model` meter then
models the energy from CPU seconds, says so in the method and the grade, and never claims more.
"""

from __future__ import annotations

import itertools
import os
import threading

from outweigh.core.errors import MeterUnavailable, OutweighError, UnusableMeasurement, UsageError
from outweigh.measure.clock import SystemClock
from outweigh.measure.integrating import SHORTEST_UPDATES, Mark, Running
from outweigh.measure.stepping import What, heartbeat_s

# What composes a reading out of two edges is imported when the first one is composed: taking the edges needs none of
# it, and a program that measures should not have to wait for words it may never say.
# Not from typing, whose import would cost more than all the rest; type checkers take any name like this as true.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType
    from typing import Self

    from outweigh.core.receipt import MeterCost
    from outweigh.measure.clock import Clock, Ticker
    from outweigh.measure.reading import About, HumReading, WindowReading
    from outweigh.ports import Channel, Meter, Sample

_TRACE_POINTS = 4_096
_SUSPEND_S = 1.0  # boot time and monotonic time are read one after the other: less than this is noise
_CLOCK_STEP_S = 1.0
_HUM_SLICES = 10
_GAP_PERIODS = 5
_ALIGN_FROM_S = 5e-3  # counters that refresh faster than this are read as they are
_ALIGN_UNASKED_S = 0.25  # and those that do so more slowly than this are waited for only when that is asked for
_ALIGN_STEPS = 50  # looks per refresh
_ALIGN_REFRESHES = 6  # how long to wait for one that does not come


class Window:
    """One measured stretch of work; a context manager. `reading` is there once it has ended."""

    __slots__ = ("_end", "_hum", "_reading", "_session", "_slow", "_start")

    def __init__(self, session: MeterSession, slow: tuple[Running, ...] = ()) -> None:
        self._session = session
        self._slow = slow  # the counters whose next refresh is waited for at both edges
        self._start: _Edge | None = None
        self._end: _Edge | None = None
        self._hum: HumReading | None = None
        self._reading: WindowReading | None = None

    def __enter__(self) -> Self:
        self._session._check_open()
        self._start = self._session._edge(self._slow)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._session._is_ours():
            self._end = self._session._edge(self._slow, leaving=True)
            self._hum = self._session.latest_hum

    @property
    def reading(self) -> WindowReading:
        """What the window drew, worked out on first use so that leaving the window stays cheap."""
        self._session._check_process()
        if self._start is None or self._end is None:
            raise UsageError("the window has not ended yet", "Read it after the `with` block")
        if self._reading is None:
            self._reading = self._session._compose(self._start, self._end, self._hum)
        return self._reading

    def so_far(self) -> WindowReading:
        """What the window has drawn up to now, while it goes on; its `reading` once it has ended.

        For a look from the side (a journal, a progress bar), from any thread: the meter is read once, no refresh is
        waited for and no device synchronised, so the edge at the end is as doubtful as the counter is old. A meter
        that no longer answers gives what was seen of it.

        Raises:
            UsageError: the window has not begun, or belongs to another process.
        """
        self._session._check_process()
        if self._start is None:
            raise UsageError("the window has not begun", "Ask inside the `with` block")
        if self._end is not None:
            return self.reading
        with self._session._lock:
            self._session._read(leaving=True)
            now = _Edge(self._session, self._session._t_s, ())
        return self._session._compose(self._start, now, self._session.latest_hum)

    def listen_after(self, seconds: float) -> HumReading:
        """Listen to the idle draw once more, now that the work is done; the split is made by both.

        Without an idle draw before it, the one after it is taken. A model's constant stays what it is.

        Raises:
            UsageError: the window has not ended.
            UnusableMeasurement: the idle window itself cannot be used; the one before it still holds.
        """
        from outweigh.measure.reading import hum_between

        if self._end is None:
            raise UsageError("the window has not ended yet", "Listen after the `with` block")
        before = self._hum
        after = self._session.hum(seconds)
        self._hum = after if before is None or not after.observed else hum_between(before, after)
        self._reading = None
        return self._hum

    def _energies_j(self) -> list[tuple[Channel, float]]:
        if self._start is None or self._end is None:
            return []
        marks = zip(self._session._running, self._start.marks, self._end.marks, strict=True)
        return [(running.channel, running.between(before, after).energy_j) for running, before, after in marks]

    def _mean_w(self) -> float:
        if self._start is None or self._end is None or self._end.t_s <= self._start.t_s:
            return 0.0
        counted = [
            after.energy_j - before.energy_j
            for running, before, after in zip(self._session._running, self._start.marks, self._end.marks, strict=True)
            if running.channel.counted
        ]
        return sum(counted) / (self._end.t_s - self._start.t_s)


class _Edge:
    """All channels at one moment, with the three clocks."""

    __slots__ = ("marks", "slept_s", "t_s", "utc")

    def __init__(self, session: MeterSession, t_s: float, refreshed: tuple[tuple[float, float] | None, ...]) -> None:
        self.t_s, self.slept_s = t_s, session._slept_s
        self.utc = session.clock.utc()
        self.marks: tuple[Mark, ...] = (
            tuple([running.mark(t_s, seen) for running, seen in zip(session._running, refreshed, strict=True)])
            if refreshed
            else tuple([running.mark(t_s) for running in session._running])
        )


class MeterSession:
    """A meter, open. Thread-safe; windows may nest and overlap.

    Args:
        meter: what to read.
        clock: where time comes from.
        sample_hz: background samples per second; 0 leaves only the heartbeat that counters need.
        synchronise: called before each edge is read, so that work handed to a device has been done by then
            (`torch.cuda.synchronize`); None when the work is done when its call returns.

    Raises:
        MeterUnavailable: on entering, when the meter cannot be opened or read.
        OverlappingScopes: the meter counts the same joules twice.
    """

    def __init__(
        self,
        meter: Meter,
        clock: Clock | None = None,
        sample_hz: float = 10.0,
        synchronise: Callable[[], object] | None = None,
    ) -> None:
        self.meter = meter
        self.clock: Clock = clock if clock is not None else SystemClock()
        self.sample_hz = sample_hz
        self.synchronise = synchronise
        self.latest_hum: HumReading | None = None
        self._lock = threading.Lock()
        self._pid = os.getpid()
        self._open = False
        self._ticker: Ticker | None = None
        self._stopped_cpu_s = 0.0
        self._running: tuple[Running, ...] = ()
        self._counted: tuple[Running, ...] = ()
        self._slow: tuple[Running, ...] = ()
        self._slow_unasked: tuple[Running, ...] = ()
        self._about: About | None = None
        self._t0_s = self._t_s = self._slept_s = 0.0
        self._trace: list[tuple[float, float]] = []
        self._trace_stride = 1
        self._trace_skipped = 0

    def __enter__(self) -> Self:
        self._pid = os.getpid()
        self.meter.open()
        try:
            self._begin()
        except OutweighError:
            self.meter.close()
            raise
        self._open = True
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if not self._is_ours() or not self._open:
            return
        self._open = False
        if self._ticker is not None:
            self._ticker.stop()
            self._stopped_cpu_s, self._ticker = self._ticker.cpu_s, None
        self.meter.close()

    def window(self, align: bool | None = None) -> Window:
        """A stretch to measure: `with session.window() as window: ...`, then `window.reading`.

        A counter that refreshes every 20 to 100 ms (NVML) is up to that old when it is read: of a window of a second,
        some per cent. An aligned window waits at both edges until such counters have just refreshed, and lies between
        the two: its energy is then known to a fiftieth of a refresh, and each edge costs up to one refresh of time,
        which belongs to the window.

        Args:
            align: None to align with counters that refresh every 5 to 250 ms, and to read any other as it is (the
                edges of a processor's counter take microseconds); False never to wait, where latency matters more;
                True to wait for slower ones too. None is waited for longer than six refreshes.
        """
        if not self._open or self._pid != os.getpid():
            self._check_open()
        if align is None:
            return Window(self, self._slow_unasked)
        return Window(self, self._slow if align else ())

    def hum(self, seconds: float) -> HumReading:
        """Idle draw, to be measured while nobody works. Later windows split their energy by it.

        A model knows its own idle draw and is not listened to: its constant is returned at once and says so.

        Args:
            seconds: how long to listen [s]; a meter that refreshes slowly is listened to for as many refreshes as
                a window needs, if that is longer.

        Raises:
            UnusableMeasurement: the idle window itself cannot be used.
        """
        self._check_open()
        seconds = max(seconds, SHORTEST_UPDATES * self._slowest_s(), self._told().shortest_s)
        reading = self._constant_hum(self._told())
        if reading is None:
            reading = self._listen(seconds)
        self.latest_hum = reading
        return reading

    @property
    def started_s(self) -> float:
        """When the session began, in its clock's monotonic time [s]: what `trace` counts from."""
        return self._t0_s

    def trace(self) -> list[tuple[float, float]]:
        """Power over time: (seconds since the session began at the end of the step, mean power of the step [W])."""
        self._check_process()
        with self._lock:
            points = list(self._trace)
        return [
            (t1 - self._t0_s, (e1 - e0) / (t1 - t0)) for (t0, e0), (t1, e1) in itertools.pairwise(points) if t1 > t0
        ]

    def cost(self) -> MeterCost:
        """CPU time of the background sampler so far, and its joules where the meter has a power curve.

        A model of this process counts its own sampler among the work; the figure says how much of it that is.
        """
        cpu_s = self._ticker.cpu_s if self._ticker is not None else self._stopped_cpu_s
        from outweigh.core.receipt import MeterCost
        from outweigh.data.cpu_power import IDLE_FACTOR, MAX_FACTOR

        curve = {factor.name: factor.value for factor in self.meter.factors}
        if IDLE_FACTOR in curve and MAX_FACTOR in curve:
            return MeterCost(cpu_s, cpu_s * (curve[MAX_FACTOR] - curve[IDLE_FACTOR]))
        return MeterCost(cpu_s)

    def _begin(self) -> None:
        from outweigh.core.measurement import check_disjoint
        from outweigh.measure.reading import About

        channels = self.meter.channels
        check_disjoint((c.device, c.scope) for c in channels if c.counted)
        period_s = self._period_s()
        slowest_s = max((c.update_s for c in channels), default=0.0)
        max_gap_s = max(1.0, _GAP_PERIODS * max(period_s or 0.0, slowest_s))
        self._running = tuple(Running(channel, max_gap_s) for channel in channels)
        for running in self._running:
            running.beside = next((r for r in self._running if _is_beside(r.channel, running.channel)), None)
        self._counted = tuple(running for running in self._running if running.channel.counted)
        self._slow = tuple(
            r for r in self._counted if r.channel.kind == "energy" and r.channel.update_s >= _ALIGN_FROM_S
        )
        self._slow_unasked = tuple(r for r in self._slow if r.channel.update_s <= _ALIGN_UNASKED_S)
        sample, boot_s = self.meter.read(), self.clock.boottime_s()
        self._slept_s = 0.0 if boot_s is None else boot_s - sample.t_s
        self._feed(sample)
        self._about = About(
            grade=self.meter.grade,
            method=self.meter.method,
            source=self.meter.source,
            factors=self.meter.factors,
            components=self.meter.components(),
            notes=tuple(getattr(self.meter, "notes", ())),
            shortest_s=getattr(self.meter, "shortest_s", 0.0),
            seen_share=getattr(self.meter, "seen_share", 1.0),
            owners=tuple(getattr(self.meter, "owners", ())),
        )
        self.latest_hum = self._constant_hum(self._about)
        self._t0_s = self._t_s
        self._trace = [(self._t_s, 0.0)]
        if period_s is not None:
            self._ticker = self.clock.every(period_s, self._tick)

    def _constant_hum(self, about: About) -> HumReading | None:
        """The idle draw a model carries with it; None for a meter that has to be listened to."""
        from outweigh.core.quantities import Power
        from outweigh.measure.reading import HumPart, HumReading

        counted = [c for c in self.meter.channels if c.counted]
        constants = [c.hum_w for c in counted if c.hum_w is not None]
        if not counted or len(constants) < len(counted):
            return None
        return HumReading(
            power=Power(sum(constants)),
            standard_w=0.0,
            observed=False,
            seconds=0.0,
            grade=about.grade,
            method=about.method,
            source=about.source,
            note="idle draw is the model's constant, not observed",
            parts=tuple(HumPart(c.scope, c.device, True, c.hum_w or 0.0) for c in counted),
        )

    def _period_s(self) -> float | None:
        beat_s = heartbeat_s(self.meter.channels)
        wanted_s = 1 / self.sample_hz if self.sample_hz > 0 else None
        if wanted_s is None:
            return beat_s
        return wanted_s if beat_s is None else min(wanted_s, beat_s)

    def _is_ours(self) -> bool:
        return self._pid == os.getpid()

    def _check_process(self) -> None:
        if not self._is_ours():
            raise UsageError(
                "this session was opened by another process", "Open a MeterSession of its own in the forked child"
            )

    def _check_open(self) -> None:
        self._check_process()
        if not self._open:
            raise UsageError("the session is not open", "Use it inside `with MeterSession(meter) as session:`")

    def _told(self) -> About:
        if self._about is None:
            raise UsageError("the session is not open", "Use it inside `with MeterSession(meter) as session:`")
        return self._about

    def _feed(self, sample: Sample) -> None:
        """Under the lock: take one reading of all channels."""
        t_s, boot_s = sample.t_s, self.clock.boottime_s()
        if boot_s is not None:
            slept_s = boot_s - t_s
            if slept_s - self._slept_s > _SUSPEND_S:
                self._cut_sleep(slept_s - self._slept_s, t_s)
            self._slept_s = slept_s
        for running, value in zip(self._running, sample.values, strict=True):
            running.feed(t_s, value)
        if t_s > self._t_s:
            self._t_s = t_s

    def _cut_sleep(self, asleep_s: float, t_s: float) -> None:
        for running in self._running:
            running.cut(self._t_s, t_s, What.SUSPEND, f"the machine slept for {asleep_s:.3g} s")

    def _edge(self, slow: tuple[Running, ...], leaving: bool = False) -> _Edge:
        if self.synchronise is not None:
            self.synchronise()
        with self._lock:
            self._read(leaving)
            if not slow:
                return _Edge(self, self._t_s, ())
        refreshed = self._aligned(slow, leaving)
        with self._lock:
            return _Edge(self, self._t_s, refreshed)

    def _read(self, leaving: bool) -> bool:
        """Under the lock: take a reading, if there is one; a meter that is gone ends a window and begins none."""
        try:
            self._feed(self.meter.read())
        except MeterUnavailable as err:
            if not leaving:
                raise
            # What was seen up to now is kept: the window ends here, covered only as far as the samples go.
            self._lost(err)
            return False
        return True

    def _aligned(self, slow: tuple[Running, ...], leaving: bool) -> tuple[tuple[float, float] | None, ...]:
        """Wait until each slow counter has refreshed once: between which two moments it did [s]; None for the others.

        One that does not refresh while it is waited for did so last before the waiting began.
        """
        before = {r.channel.id: r.value for r in slow}
        seen: dict[str, tuple[float, float]] = {}
        longest_s = max(r.channel.update_s for r in slow)
        look_s = min(r.channel.update_s for r in slow) / _ALIGN_STEPS
        begin_s = self._t_s
        end_s = begin_s + _ALIGN_REFRESHES * longest_s
        while len(seen) < len(slow) and self._t_s < end_s:
            last_s = self._t_s
            self.clock.sleep(look_s)
            with self._lock:
                if not self._read(leaving):
                    break
                for running in slow:
                    if running.channel.id not in seen and running.value != before[running.channel.id]:
                        # A tick of the sampler may have looked in between; the wider span is the safe one.
                        seen[running.channel.id] = (last_s, self._t_s)
        for running in slow:
            seen.setdefault(running.channel.id, (begin_s - running.channel.update_s, begin_s))
        return tuple(seen.get(running.channel.id) for running in self._running)

    def _lost(self, err: MeterUnavailable) -> None:
        now_s = self.clock.monotonic_s()
        for running in self._running:
            running.cut(self._t_s, now_s, What.LOST, f"the meter stopped answering ({err.reason})")
        self._t_s = max(self._t_s, now_s)

    def _tick(self) -> None:
        # Ten times a second this runs with cold caches, where every call and every attribute is some microseconds: one
        # pass, few names. A forked child has no ticking thread, so nobody asks here whose session it is.
        with self._lock:
            try:
                self._feed(self.meter.read())
            except MeterUnavailable as err:
                self._lost(err)
                return
            self._trace_skipped += 1
            if self._trace_skipped < self._trace_stride:
                return
            self._trace_skipped = 0
            trace, energy_j = self._trace, 0.0
            for running in self._counted:
                energy_j += running._energy_j
            trace.append((self._t_s, energy_j))
            if len(trace) > _TRACE_POINTS:
                # Points are cumulative: every other one can go and the energy between the rest stays right.
                self._trace = trace[::2]
                self._trace_stride *= 2

    def _listen(self, seconds: float) -> HumReading:
        from outweigh.core.receipt import RunStatus
        from outweigh.measure.reading import HumPart, HumReading

        about = self._told()
        slices_w: list[float] = []
        with self.window() as whole:
            count = _HUM_SLICES if seconds / _HUM_SLICES > 10 * self._slowest_s() else 2
            for _ in range(count):
                with Window(self) as part:
                    self.clock.sleep(seconds / count)
                slices_w.append(part._mean_w())
        reading = whole.reading
        if reading.status is RunStatus.UNUSABLE:
            raise UnusableMeasurement(
                "the idle draw", "; ".join(reading.notes), "Measure the hum again while the machine is left alone"
            )
        power = reading.total.value.per(reading.seconds)
        # The mean of the slices scatters by s / sqrt(n) (JCGM 100:2008, 4.2.3); the edges add what they add.
        mean_w = sum(slices_w) / len(slices_w)
        variance = sum((w - mean_w) ** 2 for w in slices_w) / (len(slices_w) - 1)
        scatter_w = (variance / len(slices_w)) ** 0.5
        return HumReading(
            power=power,
            standard_w=scatter_w,
            observed=True,
            seconds=reading.seconds,
            grade=reading.total.grade,
            method=about.method,
            source=about.source,
            note=f"idle draw observed for {reading.seconds:.3g} s while nothing ran",
            parts=tuple(
                HumPart(channel.scope, channel.device, channel.counted, joules / reading.seconds)
                for channel, joules in whole._energies_j()
            ),
        )

    def _slowest_s(self) -> float:
        return max((c.update_s for c in self.meter.channels if c.counted), default=0.0)

    def _compose(self, start: _Edge, end: _Edge, hum: HumReading | None) -> WindowReading:
        from outweigh.core.intervals import Interval
        from outweigh.measure.reading import compose

        parts = [
            (running.channel, running.between(before, after))
            for running, before, after in zip(self._running, start.marks, end.marks, strict=True)
        ]
        notes: list[str] = []
        if hum is not None:
            notes.append(hum.note)
        # A stamp from the wall clock, a length from the monotonic one: setting the clock must not stretch a run.
        drift_s = (end.utc - start.utc).total_seconds() - (end.t_s - start.t_s) - (end.slept_s - start.slept_s)
        if abs(drift_s) > _CLOCK_STEP_S:
            notes.append(f"the wall clock was set by {drift_s:+.3g} s during the window; its length is not affected")
        interval = Interval.starting(start.utc, max(0.0, end.t_s - start.t_s))
        return compose(self._told(), parts, interval, hum, notes)


def _is_beside(sensor: Channel, counter: Channel) -> bool:
    return (
        counter.kind == "energy"
        and sensor.kind == "power"
        and (sensor.device, sensor.scope) == (counter.device, counter.scope)
    )
