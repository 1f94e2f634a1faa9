"""Geometry of the small drawings inside table rows. Plain numbers; the template turns them into SVG.

They are drawn here and not in JavaScript so that the tables read the same without it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

WEIGH_WIDTH = 180.0
_HALF = WEIGH_WIDTH / 2
_REACH = 0.86 * _HALF


@dataclass(frozen=True, slots=True)
class Weighing:
    """A test as dot and interval, threshold in the middle, the passing side on the right [user units].

    `open_low` and `open_high` say that the interval runs on past the edge. `label` is the drawing in words.
    """

    dot: float
    low: float
    high: float
    open_low: bool
    open_high: bool
    has_interval: bool
    label: str


def weighing(part: Mapping[str, Any]) -> Weighing | None:
    """None when there is nothing to draw: no statistic or no threshold."""
    statistic, threshold = part["statistic"], part["threshold"]
    if statistic is None or threshold is None:
        return None
    bounds = part["bounds"] or {"low": statistic, "high": statistic}
    side = passing_side(part)
    first, last = (bounds["low"], bounds["high"]) if side > 0 else (bounds["high"], bounds["low"])
    offsets = [None if end is None else side * (end - threshold) for end in (first, statistic, last)]
    span = max((abs(offset) for offset in offsets if offset is not None), default=0.0) or 1.0
    places = [None if offset is None else _HALF + _REACH * offset / span for offset in offsets]
    low, dot, high = places
    where = "right of" if side * (statistic - threshold) > 0 else "left of"
    return Weighing(
        dot=_HALF if dot is None else dot,
        low=0.0 if low is None else low,
        high=WEIGH_WIDTH if high is None else high,
        open_low=low is None,
        open_high=high is None,
        has_interval=part["bounds"] is not None,
        label=f"{part['part']}: estimate {where} the threshold, outcome {part['outcome']}",
    )


def passing_side(part: Mapping[str, Any]) -> int:
    """+1 when the test holds above its threshold, -1 when it holds below; read off the outcome or the distance."""
    offset = part["statistic"] - part["threshold"]
    if part["outcome"] != "inconclusive" and offset:
        above = offset > 0
        return 1 if above == (part["outcome"] == "pass") else -1
    bounds, distance = part["bounds"], part["distance"]
    by_default = -1 if part["part"] == "caps" else 1
    if bounds is None or distance is None:
        return by_default
    ends = [end - part["threshold"] for end in (bounds["low"], bounds["high"]) if end is not None]
    above_misfit = min((abs(end - distance) for end in ends), default=0.0)
    below_misfit = min((abs(-end - distance) for end in ends), default=0.0)
    if above_misfit == below_misfit:
        return by_default
    return 1 if above_misfit < below_misfit else -1


def split_widths(variant: Mapping[str, Any], largest_j: float, width: float) -> tuple[tuple[str, float, float], ...]:
    """(part, x, width) of work, hum and amortised energy; `largest_j` fills `width`."""
    boxes, at = [], 0.0
    for part in ("work", "hum", "amortised"):
        size = max(variant[f"{part}_j_per_unit"], 0.0) / largest_j * width if largest_j > 0 else 0.0
        boxes.append((part, at, size))
        at += size
    return tuple(boxes)
