"""Two samples of one channel, and the joules between them.

A cumulative counter that reads lower than before has either wrapped, and then what it counted is
`now + range - before`, or was reset, and then nobody knows what was lost. The two are told apart by what the
device can draw at most: a wrap that would take more than that was a reset. The sign is never thrown away and
the range is never added on faith. A counter that could have wrapped once more unseen is refused too, which is why
the session reads it at least every `heartbeat_s`.
"""

from __future__ import annotations

import math
from enum import StrEnum

# As in `integrating`: typing would cost more to import than all the rest.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from outweigh.ports import Channel

#: How far above its stated maximum a device may read before we call it a fault.
MARGIN = 1.2

#: A counter is touched at least this often [s], whatever its range.
LONGEST_HEARTBEAT_S = 30.0

#: The value of ChannelKind.ENERGY, a StrEnum: comparing with it spares importing every port.
ENERGY = "energy"


class What(StrEnum):
    """What went on between two samples, other than nothing."""

    WRAP = "wrap"  # harmless
    RESET = "reset"
    AMBIGUOUS = "ambiguous"  # the counter may have gone round once more
    IMPLAUSIBLE = "implausible"
    GAP = "gap"
    SUSPEND = "suspend"
    LOST = "lost"  # the meter did not answer


class Step:
    """Energy between two samples [J], its variance [J²] from sampling alone, and what happened, if anything."""

    __slots__ = ("detail", "energy_j", "variance_j2", "what")

    def __init__(
        self,
        energy_j: float,
        variance_j2: float = 0.0,
        what: What | None = None,
        detail: str = "",
    ) -> None:
        self.energy_j = energy_j
        self.variance_j2 = variance_j2
        self.what = what
        self.detail = detail

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
        if c.kind == ENERGY and c.wrap_j is not None
    ]
    return min(periods, default=None)
