"""What a variant might draw on a device that nobody measured: the roofline, with a wide interval, always grade D.

Source of the bound: Williams, Waterman and Patterson, Roofline, CACM 52(4), 2009: no device does work faster than its
arithmetic or its memory allows. How far real programs stay below it, and which part of the rated power they draw, is
not known before somebody measures: the interval is a convention, and wide.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from outweigh.core.intervals import Bounds, Estimate
from outweigh.data.hardware import Device

#: Share of the roofline that is reached, and of the rated power that is drawn. Conventions, not measurements.
REACHED = (0.05, 0.6)
DRAWN = (0.5, 1.0)
METHOD = (
    f"projected, not measured: roofline time at {REACHED[0]:.0%} to {REACHED[1]:.0%} of it, at {DRAWN[0]:.0%} to "
    f"{DRAWN[1]:.0%} of the rated power, a convention"
)


@dataclass(frozen=True, slots=True)
class Projection:
    """Energy per item on a device, and what bounds it ("arithmetic" or "memory")."""

    device: Device
    energy_j: Estimate
    roofline_s: float
    bound_by: str


def project(operations: float, weight_bytes: float, device: Device, batch: int = 1) -> Projection:
    """Energy of one item [J].

    Args:
        operations: floating-point operations of one item.
        weight_bytes: bytes that are read once a batch.
        batch: items computed together.

    >>> from outweigh.data.hardware import devices
    >>> found = project(2e9, 4e8, devices()["nvidia-l4"])
    >>> found.bound_by, round(found.roofline_s * 1e3, 2)
    ('memory', 1.33)
    >>> found.energy_j.bounds.low < found.energy_j.value < found.energy_j.bounds.high
    True
    """
    arithmetic_s, memory_s = operations / device.flop_per_s, weight_bytes / batch / device.bytes_per_s
    roofline_s = max(arithmetic_s, memory_s)
    low = DRAWN[0] * device.rated_w * roofline_s / REACHED[1]
    high = DRAWN[1] * device.rated_w * roofline_s / REACHED[0]
    bound_by = "arithmetic" if arithmetic_s >= memory_s else "memory"
    return Projection(device, Estimate(math.sqrt(low * high), Bounds(low, high, 0.95)), roofline_s, bound_by)
