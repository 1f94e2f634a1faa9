"""Rounds that are long enough for the meter: how often to run a round's items in one window."""

from __future__ import annotations

import math

from outweigh.core.errors import UnusableMeasurement
from outweigh.measure.integrating import SHORTEST_UPDATES
from outweigh.ports import Meter

MOST_REPEATS = 10_000
_MARGIN = 1.25  # a round is aimed to be this much longer than it has to be: items do not take equally long


def shortest_window_s(meter: Meter) -> float:
    """The shortest window the meter carries [s]: what it says itself, or so many refreshes of its slowest counter."""
    slowest_s = max((channel.update_s for channel in meter.channels if channel.counted), default=0.0)
    return float(max(SHORTEST_UPDATES * slowest_s, getattr(meter, "shortest_s", 0.0)))


def repeats_for(name: str, round_s: float, needed_s: float, wanted_s: float = 0.0) -> int:
    """How often to run the items of a round so that its window is long enough.

    Args:
        round_s: wall time of running them once [s].
        needed_s: what the meter cannot do without [s].
        wanted_s: what the protocol would like [s], as far as MOST_REPEATS reach.

    Raises:
        UnusableMeasurement: MOST_REPEATS do not make up what the meter needs.

    >>> repeats_for("small", 0.02, 0.5), repeats_for("small", 0.6, 0.5), repeats_for("small", 1e-9, 0.0, 0.1)
    (32, 1, 10000)
    """
    longest_s = max(needed_s, wanted_s)
    if round_s >= longest_s:
        return 1
    if round_s * MOST_REPEATS < needed_s:
        raise UnusableMeasurement(
            f"a round of {name}",
            f"it takes {round_s:.3g} s, and {MOST_REPEATS:,} repeats do not reach the {needed_s:.3g} s the meter needs",
            "Give the task more items or the protocol fewer rounds, or choose a faster meter with --meter",
        )
    return min(MOST_REPEATS, math.ceil(_MARGIN * longest_s / max(round_s, 1e-9)))
