"""From samples to joules: counters that wrap and reset, power that is sampled, and what neither can tell.

Pure functions of their arguments and one running sum; no clock, no meter, no thread.

What lies between two samples is `stepping`'s; what cannot be known makes the window unusable, with its energy as a
lower bound.

A reading is older than the moment it is read, by anything up to one refresh. What that does to a window is known:
its mean is corrected, and what is left has the shape of two unlike uniform spreads (`edge_uncertainty_j`).

Records here are plain classes with slots: they are made at every edge, where a frozen dataclass takes five times as
long, and a named tuple has to be compiled when this is imported.
"""

from __future__ import annotations

import math
from collections import deque

from outweigh.measure.stepping import ENERGY, MARGIN, What, counter_step, power_step

# Not from typing, whose import would cost more than all the rest; type checkers take any name like this as true.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from outweigh.ports import Channel

#: Share of a window that must be covered by samples for its energy to be usable.
MIN_COVERAGE = 0.95

#: A window of fewer refreshes than this is refused: its two edges alone leave it uncertain by a sixth (k = 2).
SHORTEST_UPDATES = 5

_SLACK = 1e-6  # a window of just so many refreshes is not refused over the last bit of a float
_KEPT_EVENTS = 1_000

# The power beside an edge is learnt over this many refreshes, so that one refresh more or less is a fifth of it.
_LEARNING_UPDATES = 5

# A counter that refreshes this slowly [s] or more, with no sensor beside it, keeps its samples around every edge: the
# power there is read off three refreshes to each side, where one more or less is an eighth (k = 1).
_SLOW_S = 5e-3
_NEAR_UPDATES = 3
_KEPT_SAMPLES = 32  # at four a refresh: two such stretches and some more

# A sensor that has shown one value for this many refreshes stands still; before, it may only not have refreshed.
_STEADY_UPDATES = 3


class Event:
    """Something between `start_s` and `end_s` [s, monotonic] that a reader of the energy has to know."""

    __slots__ = ("detail", "end_s", "start_s", "what")

    def __init__(
        self,
        what: What,
        start_s: float,
        end_s: float,
        detail: str,
    ) -> None:
        self.what = what
        self.start_s = start_s
        self.end_s = end_s
        self.detail = detail

    @property
    def spoils(self) -> bool:
        """Whether the energy around it is only a lower bound, or anyone's guess."""
        return self.what in (What.RESET, What.AMBIGUOUS, What.IMPLAUSIBLE, What.SUSPEND)


def edge_uncertainty_j(start_j: float, end_j: float) -> float:
    """Standard uncertainty from the age of the two readings at the ends of a window [J].

    An age anywhere in [0, A], all values alike, under power P, spreads the energy uniformly over P·A; two such
    spreads, unlike and independent, make a trapezoid. Its 95 % half-width is taken and divided by 2, so that the
    coverage factor of 2 under which it is combined and stated gives 95 % (JCGM 100:2008, 4.3.4 and G.2.3; for a
    single uniform spread k = 2 would cover everything, G.2.2).

    Args:
        start_j, end_j: P·A at the start and at the end [J].

    >>> round(edge_uncertainty_j(1.0, 0.0), 4)  # a uniform spread of 1 J: 95 % of ± 0.5 J, halved
    0.2375
    """
    narrow_j, wide_j = sorted((abs(start_j) / 2, abs(end_j) / 2))
    if narrow_j < 0.05 * wide_j:
        return 0.95 * wide_j / 2
    # Beyond the flat top the tail is (w1 + w2 - x)² / (8·w1·w2); it is set to 2.5 %.
    return (wide_j + narrow_j - math.sqrt(0.2 * wide_j * narrow_j)) / 2


class Mark:
    """State of one channel's running sum at one moment: a window is the difference of two marks.

    Attributes:
        variance_j2: sum of (dP·dt)²/12 of the power steps so far [J²].
        cross_j2: sum of -5/6·dP·dP'·dt·dt' of neighbouring steps [J²].
        scatter_w2s: sum of dP²·dt/2 [W²·s].
        near_w2s: the same of what tells the power at an edge: the sensor beside a counter, or the channel itself.
        power_w: power lately, None while it is not known yet.
        change_w: by how much that was another power before [W]; 0 when it has stood still since.
        age_s: how old the latest reading is, in the mean [s].
        spread_s: over how wide a span its age is spread, all values alike [s].
        moved_s: when the counter last rose [s].
        before, after: (time [s], energy [J]) of samples to both sides, of a slow counter without a sensor beside it.
    """

    __slots__ = (
        "after",
        "age_s",
        "before",
        "change_w",
        "covered_s",
        "cross_j2",
        "energy_j",
        "moved_s",
        "near_w2s",
        "power_w",
        "scatter_w2s",
        "spread_s",
        "t_s",
        "variance_j2",
    )

    def __init__(self, running: Running, t_s: float, refreshed: tuple[float, float] | None = None) -> None:
        """Of `running`, now; `refreshed` is given where its last refresh is known to lie between two moments [s]."""
        beside = running.beside
        power = running if beside is None or beside._last_s is None else beside
        update_s = running.channel.update_s
        self.t_s = t_s
        self.energy_j, self.covered_s = running._energy_j, running._covered_s
        self.variance_j2, self.cross_j2 = running._variance_j2, running._cross_j2
        self.scatter_w2s, self.near_w2s = running._scatter_w2s, power._scatter_w2s
        self.moved_s = running._moved_s
        self.power_w = power._power_w
        still = t_s - power._changed_s > _STEADY_UPDATES * power.channel.update_s
        self.change_w = 0.0 if still else power._change_w
        if refreshed is not None:
            self.age_s, self.spread_s = t_s - sum(refreshed) / 2, refreshed[1] - refreshed[0]
        else:
            # A counter stood there at its refresh; a power reading is the mean of the time since the one before.
            self.age_s, self.spread_s = update_s / 2 if running._counts else update_s, update_s
        self.before: tuple[tuple[float, float], ...] = ()
        self.after: list[tuple[float, float]] = []
        if running._slow and power is running:
            self.before = tuple(running._recent)
            running._trails.append((t_s + _NEAR_UPDATES * update_s, self.after))


class Integrated:
    """Energy of one channel over one window.

    Attributes:
        energy_j: energy drawn [J], corrected for the mean age of the readings; a lower bound when not usable.
        edge_j: standard uncertainty from how old a reading can be at the two ends [J].
        resolution_j: standard uncertainty from the counter's step, at both ends [J].
        sampling_j: standard uncertainty from what happened between samples [J].
        coverage: share of the window that samples cover, in [0, 1].
        reasons: why it is not usable, or what to know although it is.
        scatter_w: how far successive power samples lie apart, as a standard deviation [W].
        swing_w: how far the power at the end lies from that at the start [W].
    """

    __slots__ = (
        "coverage",
        "duration_s",
        "edge_j",
        "energy_j",
        "longest_gap_s",
        "reasons",
        "resolution_j",
        "sampling_j",
        "scatter_w",
        "swing_w",
        "usable",
    )

    def __init__(
        self,
        energy_j: float,
        duration_s: float,
        edge_j: float,
        resolution_j: float,
        sampling_j: float,
        coverage: float,
        longest_gap_s: float,
        usable: bool,
        reasons: tuple[str, ...],
        scatter_w: float = 0.0,
        swing_w: float = 0.0,
    ) -> None:
        self.energy_j = energy_j
        self.duration_s = duration_s
        self.edge_j = edge_j
        self.resolution_j = resolution_j
        self.sampling_j = sampling_j
        self.coverage = coverage
        self.longest_gap_s = longest_gap_s
        self.usable = usable
        self.reasons = reasons
        self.scatter_w = scatter_w
        self.swing_w = swing_w


class Running:
    """Running sum of one channel, fed one sample at a time; memory does not grow with the run."""

    __slots__ = (
        "_anchor_j",
        "_anchor_s",
        "_change_w",
        "_changed_s",
        "_counts",
        "_covered_s",
        "_cross_j2",
        "_energy_j",
        "_first_s",
        "_last_s",
        "_last_step",
        "_last_value",
        "_learn_s",
        "_most_w",
        "_moved_s",
        "_plain",
        "_power_w",
        "_powers",
        "_recent",
        "_scatter_w2s",
        "_slack_s",
        "_slow",
        "_trails",
        "_variance_j2",
        "_wrap_j",
        "beside",
        "channel",
        "events",
        "max_gap_s",
    )

    def __init__(self, channel: Channel, max_gap_s: float) -> None:
        self.channel, self.max_gap_s = channel, max_gap_s
        self.events: deque[Event] = deque(maxlen=_KEPT_EVENTS)
        #: A power sensor of the same device: what it shows at an edge is nearer than what the counter taught before.
        self.beside: Running | None = None
        self._counts = channel.kind == ENERGY
        bounded = channel.max_power_w is not None and channel.wrap_j is not None
        self._most_w = math.inf if channel.max_power_w is None else channel.max_power_w * MARGIN
        self._slack_s = 2 * channel.update_s
        self._wrap_j = channel.wrap_j if bounded else None
        self._plain = self._counts and channel.update_s < _SLOW_S
        self._learn_s = _LEARNING_UPDATES * channel.update_s
        self._slow = self._counts and channel.update_s >= _SLOW_S
        self._moved_s = 0.0
        self._first_s: float | None = None
        self._last_s: float | None = None
        self._last_value = 0.0
        self._energy_j = self._covered_s = self._variance_j2 = 0.0
        self._power_w: float | None = None
        self._change_w = self._changed_s = 0.0
        self._cross_j2 = self._scatter_w2s = 0.0
        self._last_step = 0.0
        self._anchor_s = self._anchor_j = 0.0
        self._powers: deque[tuple[float, float]] = deque(maxlen=_KEPT_EVENTS)
        self._recent: deque[tuple[float, float]] = deque(maxlen=_KEPT_SAMPLES)
        self._trails: list[tuple[float, list[tuple[float, float]]]] = []

    def feed(self, t_s: float, value: float | None) -> None:
        """Take a sample: joules or watts by the channel's kind, None when it did not answer."""
        last_s = self._last_s
        if value is None or (last_s is not None and t_s < last_s):
            return
        if self._plain and last_s is not None and t_s > last_s:
            # By far the most common case comes first, and here: the counter rose by what it can, and hides no wrap.
            drawn_j, dt_s = value - self._last_value, t_s - last_s
            most_j = self._most_w * (dt_s + self._slack_s)
            if 0.0 < drawn_j <= most_j and (self._wrap_j is None or drawn_j + self._wrap_j > most_j):
                self._energy_j += drawn_j
                self._covered_s += dt_s
                self._last_s = self._moved_s = t_s
                self._last_value = value
                if t_s - self._anchor_s >= self._learn_s:
                    self._learn_from(t_s, t_s - self._anchor_s)
                return
        if last_s is None:
            self._first_s = self._moved_s = self._anchor_s = t_s
            self._anchor_j = self._energy_j
        elif t_s > last_s or value != self._last_value:
            self._advance(last_s, self._last_value, t_s, value)
        self._last_s, self._last_value = t_s, value
        if not self._counts:
            self._learn(t_s, value)
        elif self._slow:
            self._remember(t_s)

    def cut(self, start_s: float, end_s: float, what: What, detail: str) -> None:
        """Record that something happened which the samples alone do not show."""
        self.events.append(Event(what, start_s, end_s, detail))

    @property
    def energy_j(self) -> float:
        """Energy so far, as the samples give it [J]."""
        return self._energy_j

    @property
    def value(self) -> float:
        """The latest reading, as the meter gave it."""
        return self._last_value

    def mark(self, t_s: float, refreshed: tuple[float, float] | None = None) -> Mark:
        """The state now. `refreshed` is given where the last refresh is known to lie between two moments [s]."""
        return Mark(self, t_s, refreshed)

    def between(self, start: Mark, end: Mark) -> Integrated:
        """Energy of a window, with what is uncertain about it and why it may not be usable."""
        channel, duration_s = self.channel, end.t_s - start.t_s
        energy_j = end.energy_j - start.energy_j
        covered_s = end.covered_s - start.covered_s
        coverage = min(1.0, covered_s / duration_s) if duration_s > 0 else 0.0
        mean_w = energy_j / covered_s if covered_s > 0 else 0.0
        # How unlike successive powers of this window are: what may have changed beside an edge without being seen.
        # One that has shown no change is judged by all that was seen before: no window is certain of its last refresh.
        unlike_w2 = max(0.0, end.near_w2s - start.near_w2s) / duration_s if duration_s > 0 else 0.0
        if unlike_w2 == 0.0 and self._first_s is not None and end.t_s > self._first_s:
            unlike_w2 = end.near_w2s / (end.t_s - self._first_s)
        before_w, before_doubt_w = self._power_at(start, mean_w, unlike_w2, begins=True)
        after_w, after_doubt_w = self._power_at(end, mean_w, unlike_w2, begins=False)
        if self._counts:
            # The piece held back has the power beside the edge for as long as the reading is old; that power has a
            # doubt of its own, and an age of mean square age² + spread²/12 to act for (JCGM 100:2008, 5.1.2).
            edge_j = math.hypot(
                edge_uncertainty_j(before_w * start.spread_s, after_w * end.spread_s),
                before_doubt_w * math.hypot(start.age_s, start.spread_s / math.sqrt(12)),
                after_doubt_w * math.hypot(end.age_s, end.spread_s / math.sqrt(12)),
            )
        else:
            # Readings that all come late by one delay move the course as a whole: what enters at one end leaves at the
            # other, and only the difference of the two powers is drawn for that long too much or too little.
            # A change that the last reading is too old to show is as large as those that were seen.
            edge_j = math.hypot(
                abs(after_w - before_w) * end.spread_s / math.sqrt(12),
                *(math.sqrt(unlike_w2) * math.hypot(m.age_s, m.spread_s / math.sqrt(12)) for m in (start, end)),
            )
        is_counter = self._counts
        # Two readings of a counter with step r, each rectangular over r: u² = 2 · r²/12.
        resolution_j = channel.resolution / math.sqrt(6) if is_counter else 0.0
        # Steps of a smooth course lie in a row and leave (dP·dt)²/12 each. Samples of a draw that jumps about faster
        # than it is sampled scatter on their own: s² of each, and the products of neighbouring steps are then -s².
        variance_j2 = max(0.0, end.variance_j2 - start.variance_j2)
        jumpy_j2 = variance_j2 + end.cross_j2 - start.cross_j2
        seen = [e for e in self.events if e.end_s > start.t_s and e.start_s < end.t_s]
        reasons = [f"{channel.id}: {e.detail}" for e in seen if e.what is not What.WRAP]
        usable = duration_s > 0 and not any(e.spoils for e in seen)
        if duration_s <= 0:
            reasons.append(f"{channel.id}: the window has no length")
        elif duration_s < (1 - _SLACK) * SHORTEST_UPDATES * channel.update_s:
            usable = False
            repeats = math.ceil(SHORTEST_UPDATES * channel.update_s / duration_s)
            reasons.append(
                f"{channel.id}: {duration_s:.3g} s is too short for a reading that is refreshed every "
                f"{channel.update_s:.3g} s; repeat the work {repeats} times or more in one window"
            )
        elif coverage < MIN_COVERAGE:
            usable = False
            reasons.append(f"{channel.id}: samples cover {coverage:.0%} of the window, {MIN_COVERAGE:.0%} is the least")
        if usable and energy_j > 0:
            # How old the readings are in the mean is known, and corrected for (JCGM 100:2008, 3.2.4).
            energy_j = max(0.0, energy_j + after_w * end.age_s - before_w * start.age_s)
        if is_counter and channel.resolution > 0 and energy_j <= 0 and duration_s > max(1.0, 10 * channel.update_s):
            usable = False
            reasons.append(f"{channel.id}: the counter did not move in {duration_s:.3g} s")
        elif is_counter and channel.resolution > 0 and end.t_s - end.moved_s > max(1.0, 10 * channel.update_s):
            usable = False
            reasons.append(f"{channel.id}: the counter stood still for the last {end.t_s - end.moved_s:.3g} s")
        return Integrated(
            energy_j=energy_j,
            duration_s=duration_s,
            edge_j=edge_j,
            resolution_j=resolution_j,
            sampling_j=math.sqrt(max(variance_j2, jumpy_j2)),
            coverage=coverage,
            longest_gap_s=max((e.end_s - e.start_s for e in seen if e.what is not What.WRAP), default=0.0),
            usable=usable,
            reasons=tuple(dict.fromkeys(reasons)),
            scatter_w=math.sqrt(max(0.0, end.scatter_w2s - start.scatter_w2s) / duration_s) if duration_s > 0 else 0.0,
            swing_w=abs(after_w - before_w),
        )

    def _power_at(self, mark: Mark, mean_w: float, unlike_w2: float, *, begins: bool) -> tuple[float, float]:
        """Power beside one edge of a window and its standard uncertainty [W].

        Args:
            mean_w: the window's mean.
            unlike_w2: half the mean square of what one power differs from the next, in the window [W²].
            begins: whether the window lies after the edge.
        """
        if mark.before or mark.after:
            return self._power_around(mark, mean_w, unlike_w2)
        # Two means in a row that differ by d are each d / sqrt(2) from the power between them.
        doubt_w = math.sqrt(max(mark.change_w**2 / 2, unlike_w2))
        if mark.power_w is not None:
            return mark.power_w, doubt_w
        near_w = next((w for t, w in self._powers if t > mark.t_s), None) if begins else None
        # Nothing but the mean of the window: anything from 0 to twice of it, all alike.
        return (mean_w, mean_w / math.sqrt(3)) if near_w is None else (near_w, doubt_w)

    def _power_around(self, mark: Mark, mean_w: float, unlike_w2: float) -> tuple[float, float]:
        update_s = self.channel.update_s
        near_s = _NEAR_UPDATES * update_s
        here = (mark.t_s - mark.age_s, mark.energy_j)
        # Every sample but the mark's own, whose age may be known, is half a refresh old in the mean.
        past = [(t - update_s / 2, j) for t, j in mark.before]
        middle = next((point for point in reversed(past) if point[0] <= here[0] - near_s), past[0] if past else here)
        far = next((p for p in reversed(past) if p[0] <= middle[0] - near_s), past[0] if past else here)
        ahead = (mark.after[-1][0] - update_s / 2, mark.after[-1][1]) if mark.after else here
        left_w, right_w, older_w = _slope_w(middle, here), _slope_w(here, ahead), _slope_w(far, middle)
        if left_w is None and right_w is None:
            return mean_w, mean_w / math.sqrt(3)
        seen_w, seen_s = (left_w, here[0] - middle[0]) if left_w is not None else (right_w or 0.0, ahead[0] - here[0])
        if seen_s > 2 * near_s:  # read too seldom to see the power beside the edge: from 0 to twice the mean, all alike
            return seen_w, math.sqrt(max(seen_w**2 / 3, unlike_w2))
        if left_w is None:
            return seen_w, math.sqrt(unlike_w2)
        before_w2 = 0.0 if older_w is None else (left_w - older_w) ** 2 / 2
        # A change that shows after the edge is most often the work that begins there. One that fell into the piece
        # held back, half a refresh long in the mean, looks the same from here.
        after_w2 = 0.0 if right_w is None else (right_w - left_w) ** 2 / (2 * _NEAR_UPDATES)
        return left_w, math.sqrt(max(before_w2 + after_w2, unlike_w2))

    def _remember(self, t_s: float) -> None:
        """Keep this sample for the edges it lies beside."""
        if not self._recent or t_s - self._recent[-1][0] >= self.channel.update_s / 4:
            self._recent.append((t_s, self._energy_j))
        for _, trail in self._trails:
            trail.append((t_s, self._energy_j))
        if self._trails:
            self._trails = [(until_s, trail) for until_s, trail in self._trails if t_s < until_s]

    def _learn_from(self, t_s: float, span_s: float) -> None:
        power_w = (self._energy_j - self._anchor_j) / span_s
        if self._power_w is not None:
            self._scatter_w2s += (power_w - self._power_w) ** 2 * span_s / 2
        self._learn(t_s, power_w)
        self._powers.append((t_s, power_w))
        self._anchor_s, self._anchor_j = t_s, self._energy_j

    def _learn(self, t_s: float, power_w: float) -> None:
        if power_w != self._power_w:  # a sensor that has not refreshed says nothing of how much the draw changes
            self._change_w = 0.0 if self._power_w is None else power_w - self._power_w
            self._power_w, self._changed_s = power_w, t_s

    def _advance(self, before_s: float, before: float, t_s: float, value: float) -> None:
        dt_s = t_s - before_s
        channel = self.channel
        if value != before:
            self._moved_s = t_s
        if self._counts:
            drawn_j, most_j = value - before, self._most_w * (dt_s + self._slack_s)
            if 0.0 <= drawn_j <= most_j and (self._wrap_j is None or drawn_j + self._wrap_j > most_j):
                self._energy_j += drawn_j
                self._covered_s += dt_s
                span_s = t_s - self._anchor_s
                if span_s >= self._learn_s and span_s > 0:
                    self._learn_from(t_s, span_s)
                return
            step = counter_step(
                before,
                value,
                dt_s,
                wrap_j=channel.wrap_j,
                max_power_w=channel.max_power_w,
                update_s=channel.update_s,
            )
        else:
            step = power_step(before, value, dt_s, max_gap_s=self.max_gap_s)
            rise_w = value - before if step.covered else 0.0
            self._cross_j2 -= 5 / 6 * rise_w * dt_s * self._last_step
            self._scatter_w2s += rise_w * rise_w * dt_s / 2
            self._last_step = rise_w * dt_s
        self._energy_j += step.energy_j
        self._variance_j2 += step.variance_j2
        if step.covered:
            self._covered_s += dt_s
            # Between reads closer than an update a counter shows nothing or a whole step: power is learnt over several.
            span_s = t_s - self._anchor_s
            if self._counts and span_s > 0 and span_s >= self._learn_s:
                self._learn_from(t_s, span_s)
        else:
            self._anchor_s, self._anchor_j = t_s, self._energy_j
        if step.what is not None:
            self.events.append(Event(step.what, before_s, t_s, step.detail))


def _slope_w(start: tuple[float, float], end: tuple[float, float]) -> float | None:
    """Mean power between two (time [s], energy [J]); None when no time lies between."""
    return (end[1] - start[1]) / (end[0] - start[0]) if end[0] > start[0] else None


def integrate(samples: Sequence[tuple[float, float | None]], channel: Channel, *, max_gap_s: float = 1.0) -> Integrated:
    """Energy of one channel from all samples of a window.

    Args:
        samples: (time [s, monotonic], joules or watts by `channel.kind`, None where it did not answer).
        max_gap_s: longest gap in power samples that is bridged [s].

    >>> from outweigh.core.measurement import Scope
    >>> from outweigh.ports import Channel, ChannelKind
    >>> gpu = Channel("gpu-0", "gpu-0", Scope.GPU, ChannelKind.POWER)
    >>> integrate([(0.0, 100.0), (0.5, 100.0), (1.0, 200.0)], gpu).energy_j
    125.0
    """
    running = Running(channel, max_gap_s)
    if not samples:
        nothing = running.mark(0.0)
        return running.between(nothing, nothing)
    running.feed(*samples[0])
    start = running.mark(samples[0][0])
    for t_s, value in samples[1:]:
        running.feed(t_s, value)
    return running.between(start, running.mark(samples[-1][0]))
