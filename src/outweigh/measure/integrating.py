"""From samples to joules: counters that wrap and reset, power that is sampled, and what neither can tell.

Pure functions of their arguments and one running sum; no clock, no meter, no thread.

A cumulative counter that reads lower than before has either wrapped, and then what it counted is
`now + range - before`, or was reset, and then nobody knows what was lost. The two are told apart by what the
device can draw at most: a wrap that would take more than that was a reset. The sign is never thrown away and
the range is never added on faith; what cannot be known makes the window unusable, with its energy as a lower
bound. A counter that could have wrapped once more unseen is refused too, which is why the session reads it at
least every `heartbeat_s`.

A reading is older than the moment it is read, by anything up to one refresh. What that does to a window is known:
its mean is corrected, and what is left has the shape of two unlike uniform spreads (`edge_uncertainty_j`).

Records here are named tuples: they are made at every edge, and a frozen dataclass takes five times as long.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from outweigh.ports import Channel

#: How far above its stated maximum a device may read before we call it a fault.
MARGIN = 1.2

#: A counter is touched at least this often [s], whatever its range.
LONGEST_HEARTBEAT_S = 30.0

#: Share of a window that must be covered by samples for its energy to be usable.
MIN_COVERAGE = 0.95

#: A window of fewer refreshes than this is refused: its two edges alone leave it uncertain by a sixth (k = 2).
SHORTEST_UPDATES = 5

_SLACK = 1e-6  # a window of just so many refreshes is not refused over the last bit of a float
_KEPT_EVENTS = 1_000

# The value of ChannelKind.ENERGY, a StrEnum: comparing with it spares importing every port.
_ENERGY = "energy"

# The power beside an edge is learnt over this many refreshes, so that one refresh more or less is a fifth of it.
_LEARNING_UPDATES = 5


class What(StrEnum):
    """What went on between two samples, other than nothing."""

    WRAP = "wrap"  # harmless
    RESET = "reset"
    AMBIGUOUS = "ambiguous"  # the counter may have gone round once more
    IMPLAUSIBLE = "implausible"
    GAP = "gap"
    SUSPEND = "suspend"
    LOST = "lost"  # the meter did not answer


class Event(NamedTuple):
    """Something between `start_s` and `end_s` [s, monotonic] that a reader of the energy has to know."""

    what: What
    start_s: float
    end_s: float
    detail: str

    @property
    def spoils(self) -> bool:
        """Whether the energy around it is only a lower bound, or anyone's guess."""
        return self.what in (What.RESET, What.AMBIGUOUS, What.IMPLAUSIBLE, What.SUSPEND)


class Step(NamedTuple):
    """Energy between two samples [J], its variance [J²] from sampling alone, and what happened, if anything."""

    energy_j: float
    variance_j2: float = 0.0
    what: What | None = None
    detail: str = ""

    @property
    def covered(self) -> bool:
        return self.what in (None, What.WRAP)


def counter_step(
    before_j: float,
    now_j: float,
    dt_s: float,
    *,
    wrap_j: float | None = None,
    max_power_w: float | None = None,
    update_s: float = 0.0,
) -> Step:
    """Energy a cumulative counter counted between two readings.

    Args:
        before_j, now_j: the readings [J].
        dt_s: time between them [s].
        wrap_j: where the counter starts again at 0 [J]; None when it never does.
        max_power_w: the most the device can draw [W]; None when nobody says, and then a falling counter is a reset.
        update_s: how old a reading can be [s].

    Returns:
        Step with the energy drawn; never negative. Where a reset or a second wrap cannot be ruled out, the
        energy is what was surely drawn, and `what` says so.

    >>> counter_step(262_100.0, 57.0, 10.0, wrap_j=262_143.0, max_power_w=200.0).energy_j
    100.0
    >>> counter_step(262_100.0, 57.0, 10.0, wrap_j=262_143.0, max_power_w=5.0).what
    <What.RESET: 'reset'>
    """
    # Two reads may straddle one refresh more than their distance, and refreshes are not regular: twice the period.
    most_j = math.inf if max_power_w is None else max_power_w * MARGIN * (dt_s + 2 * update_s)
    if now_j >= before_j:
        delta_j, what = now_j - before_j, None
    elif wrap_j is None or max_power_w is None or now_j + wrap_j - before_j > most_j:
        return Step(0.0, 0.0, What.RESET, f"the counter fell from {before_j:.6g} J to {now_j:.6g} J in {dt_s:.3g} s")
    else:
        delta_j, what = now_j + wrap_j - before_j, What.WRAP
    if delta_j > most_j:
        return Step(
            0.0, 0.0, What.IMPLAUSIBLE, f"{delta_j:.6g} J in {dt_s:.3g} s is more than {max_power_w:g} W can be"
        )
    if wrap_j is not None and max_power_w is not None and delta_j + wrap_j <= most_j:
        rounds = int((most_j - delta_j) / wrap_j)
        return Step(
            delta_j,
            0.0,
            What.AMBIGUOUS,
            f"unread for {dt_s:.4g} s, the counter may have gone round up to {rounds} more times: "
            f"{delta_j:.6g} J + n × {wrap_j:.6g} J",
        )
    return Step(delta_j, 0.0, what, "the counter went round" if what else "")


def power_step(before_w: float, now_w: float, dt_s: float, *, max_gap_s: float) -> Step:
    """Energy under two samples of power, by the trapezoid rule.

    Between two samples a monotonic course lies within ± |Δp|·dt/2 of the trapezoid; taken as rectangular,
    its variance is (Δp·dt)²/12 (JCGM 100:2008, 4.3.7). A gap longer than `max_gap_s` is not bridged.

    >>> power_step(100.0, 120.0, 0.5, max_gap_s=1.0).energy_j
    55.0
    """
    if dt_s > max_gap_s:
        return Step(0.0, 0.0, What.GAP, f"no power sample for {dt_s:.3g} s, {max_gap_s:.3g} s is the longest we bridge")
    return Step((before_w + now_w) / 2 * dt_s, ((now_w - before_w) * dt_s) ** 2 / 12)


def heartbeat_s(channels: Sequence[Channel]) -> float | None:
    """How often counters must be read so that none can wrap twice unseen [s]; None when none wraps.

    Half the time a full range lasts at the highest draw, and never more than 30 s.
    """
    periods = [
        LONGEST_HEARTBEAT_S if c.max_power_w is None else min(LONGEST_HEARTBEAT_S, c.wrap_j / (2 * c.max_power_w))
        for c in channels
        if c.kind == _ENERGY and c.wrap_j is not None
    ]
    return min(periods, default=None)


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


class Mark(NamedTuple):
    """State of one channel's running sum at one moment: a window is the difference of two marks.

    Attributes:
        variance_j2: sum of (dP·dt)²/12 of the power steps so far [J²].
        cross_j2: sum of -5/6·dP·dP'·dt·dt' of neighbouring steps [J²].
        scatter_w2s: sum of dP²·dt/2 [W²·s].
        power_w: power lately, None while it is not known yet.
        change_w: by how much that was another power before [W].
        age_s: how old the latest reading is, in the mean [s].
        spread_s: over how wide a span its age is spread, all values alike [s].
    """

    t_s: float
    energy_j: float
    covered_s: float
    variance_j2: float
    cross_j2: float
    scatter_w2s: float
    power_w: float | None
    change_w: float
    age_s: float
    spread_s: float


class Integrated(NamedTuple):
    """Energy of one channel over one window.

    Attributes:
        energy_j: energy drawn [J], corrected for the mean age of the readings; a lower bound when not usable.
        edge_j: standard uncertainty from how old a reading can be at the two ends [J].
        resolution_j: standard uncertainty from the counter's step, at both ends [J].
        sampling_j: standard uncertainty from what happened between samples [J].
        coverage: share of the window that samples cover, in [0, 1].
        reasons: why it is not usable, or what to know although it is.
        scatter_w: how far successive power samples lie apart, as a standard deviation [W].
    """

    energy_j: float
    duration_s: float
    edge_j: float
    resolution_j: float
    sampling_j: float
    coverage: float
    longest_gap_s: float
    usable: bool
    reasons: tuple[str, ...]
    scatter_w: float = 0.0


class Running:
    """Running sum of one channel, fed one sample at a time; memory does not grow with the run."""

    __slots__ = (
        "_anchor_j",
        "_anchor_s",
        "_change_w",
        "_counts",
        "_covered_s",
        "_cross_j2",
        "_energy_j",
        "_last_s",
        "_last_step",
        "_last_value",
        "_learn_s",
        "_most_w",
        "_power_w",
        "_powers",
        "_scatter_w2s",
        "_slack_s",
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
        self._counts = channel.kind == _ENERGY
        bounded = channel.max_power_w is not None and channel.wrap_j is not None
        self._most_w = math.inf if channel.max_power_w is None else channel.max_power_w * MARGIN
        self._slack_s = 2 * channel.update_s
        self._wrap_j = channel.wrap_j if bounded else None
        self._learn_s = _LEARNING_UPDATES * channel.update_s
        self._last_s: float | None = None
        self._last_value = 0.0
        self._energy_j = self._covered_s = self._variance_j2 = 0.0
        self._power_w: float | None = None
        self._change_w = 0.0
        self._cross_j2 = self._scatter_w2s = 0.0
        self._last_step = 0.0
        self._anchor_s = self._anchor_j = 0.0
        self._powers: deque[tuple[float, float]] = deque(maxlen=_KEPT_EVENTS)

    def feed(self, t_s: float, value: float | None) -> None:
        """Take a sample: joules or watts by the channel's kind, None when it did not answer."""
        last_s = self._last_s
        if value is None or (last_s is not None and t_s < last_s):
            return
        if last_s is None:
            self._anchor_s, self._anchor_j = t_s, self._energy_j
        elif t_s > last_s or value != self._last_value:
            self._advance(last_s, self._last_value, t_s, value)
        self._last_s, self._last_value = t_s, value
        if not self._counts:
            self._learn(value)

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
        update_s = self.channel.update_s
        power = self if self.beside is None or self.beside._last_s is None else self.beside
        if refreshed is None:
            # A counter stood there at its refresh; a power reading is the mean of the time since the one before.
            age_s, spread_s = update_s / 2 if self._counts else update_s, update_s
        else:
            age_s, spread_s = t_s - sum(refreshed) / 2, refreshed[1] - refreshed[0]
        return Mark(
            t_s,
            self._energy_j,
            self._covered_s,
            self._variance_j2,
            self._cross_j2,
            self._scatter_w2s,
            power._power_w,
            power._change_w,
            age_s,
            spread_s,
        )

    def between(self, start: Mark, end: Mark) -> Integrated:
        """Energy of a window, with what is uncertain about it and why it may not be usable."""
        channel, duration_s = self.channel, end.t_s - start.t_s
        energy_j = end.energy_j - start.energy_j
        covered_s = end.covered_s - start.covered_s
        coverage = min(1.0, covered_s / duration_s) if duration_s > 0 else 0.0
        mean_w = energy_j / covered_s if covered_s > 0 else 0.0
        # What a stale reading holds back was drawn before the edge: power before it, or the nearest that is known.
        before_w = start.power_w
        if before_w is None:
            before_w = next((w for t, w in self._powers if t > start.t_s), mean_w)
        after_w = mean_w if end.power_w is None else end.power_w
        # The power beside an edge is a mean over some refreshes; the piece held back may have had another. Two means in
        # a row that differ by d are each d / sqrt(2) from the power between them.
        edge_j = math.hypot(
            edge_uncertainty_j(before_w * start.spread_s, after_w * end.spread_s),
            *(m.change_w / math.sqrt(2) * math.hypot(m.age_s, m.spread_s / math.sqrt(12)) for m in (start, end)),
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
        )

    def _learn_from(self, t_s: float, span_s: float) -> None:
        power_w = (self._energy_j - self._anchor_j) / span_s
        self._learn(power_w)
        self._powers.append((t_s, power_w))
        self._anchor_s, self._anchor_j = t_s, self._energy_j

    def _learn(self, power_w: float) -> None:
        if power_w != self._power_w:  # a sensor that has not refreshed says nothing of how much the draw changes
            self._change_w = 0.0 if self._power_w is None else power_w - self._power_w
            self._power_w = power_w

    def _advance(self, before_s: float, before: float, t_s: float, value: float) -> None:
        dt_s = t_s - before_s
        channel = self.channel
        if self._counts:
            # By far the most common case is looked at first: the counter rose by what it can, and has no wrap to hide.
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
            if span_s > 0 and span_s >= self._learn_s:
                self._learn_from(t_s, span_s)
        else:
            self._anchor_s, self._anchor_j = t_s, self._energy_j
        if step.what is not None:
            self.events.append(Event(step.what, before_s, t_s, step.detail))


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
    start = running.mark(samples[0][0])
    for t_s, value in samples:
        running.feed(t_s, value)
    return running.between(start, running.mark(samples[-1][0]))
