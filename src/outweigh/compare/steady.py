"""Rounds of a server: the energy of the stretch in which it was saturated, and not of filling up and running dry.

Source: J.-W. Chung et al., The ML.ENERGY Benchmark, arXiv:2505.06371: the energy of the steady state over the work done
in it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from outweigh.core.intervals import Interval
from outweigh.core.measurement import Measurement, UncertaintyComponent
from outweigh.core.quantities import Energy
from outweigh.measure.reading import WindowReading
from outweigh.ports import Steady

LEAST_STEPS = 5  # of the sampler within a stretch; below, its edges are most of it
_EDGES = "edges of the saturated stretch"


@dataclass(frozen=True, slots=True)
class Step:
    """One step of the power trace: mean power [W] between two times [s, monotonic]."""

    start_s: float
    end_s: float
    power_w: float


def steps_of(trace: Sequence[tuple[float, float]], started_s: float) -> list[Step]:
    """The session's trace, (seconds since it began at the end of a step, mean power), as steps.

    >>> steps_of([(1.0, 5.0), (2.0, 7.0)], 100.0)
    [Step(start_s=100.0, end_s=101.0, power_w=5.0), Step(start_s=101.0, end_s=102.0, power_w=7.0)]
    """
    ends = [started_s, *(started_s + t_s for t_s, _ in trace)]
    return [Step(start, end, power) for start, end, (_, power) in zip(ends, ends[1:], trace, strict=False)]


def saturated(
    reading: WindowReading, stretches: Sequence[Steady], steps: Sequence[Step], begun: datetime
) -> WindowReading | None:
    """What was drawn while the server was saturated; None where the trace does not carry it.

    Args:
        reading: of the whole round.
        stretches: of its repeats, in time.
        steps: of the session's power trace, around all of them.
        begun: when the first stretch began.

    Returns:
        The reading with the energies and the length of the stretches, put together. Hum is the round's mean idle
        draw over that length. What the cut is uncertain by (where in a step of the sampler it falls) is a component
        of its own.
    """
    if reading.hum is None or reading.work is None or not stretches:
        return None
    energy_j, variance_j2, seconds = 0.0, 0.0, 0.0
    for stretch in stretches:
        inside = [step for step in steps if step.end_s > stretch.start_s and step.start_s < stretch.end_s]
        covered_s = sum(_overlap_s(step, stretch) for step in inside)
        whole_s = stretch.end_s - stretch.start_s
        # The sampler's last step may end before the stretch does; more than a step is a hole.
        if len(inside) < LEAST_STEPS or whole_s - covered_s > max(step.end_s - step.start_s for step in inside):
            return None
        energy_j += sum(step.power_w * _overlap_s(step, stretch) for step in inside) * whole_s / covered_s
        # Power within a step may have been anything around its mean: the cut is even over the step.
        edges = (inside[0], inside[-1])
        variance_j2 += sum((abs(step.power_w) * (step.end_s - step.start_s)) ** 2 / 12 for step in edges)
        seconds += whole_s
    hum_j = reading.hum.value.joules / reading.seconds * seconds
    edge = UncertaintyComponent(_EDGES, math.sqrt(variance_j2), "rectangular over a step of the sampler")
    within = Interval(begun, begun + timedelta(seconds=seconds))
    return replace(
        reading,
        total=_cut(reading.total, energy_j, within, edge),
        hum=_cut(reading.hum, hum_j, within, None),
        work=_cut(reading.work, energy_j - hum_j, within, edge),
        overlapping=(),
        notes=(*reading.notes, f"energy of the {seconds:.3g} s in which the server was saturated"),
    )


def _overlap_s(step: Step, stretch: Steady) -> float:
    return max(0.0, min(step.end_s, stretch.end_s) - max(step.start_s, stretch.start_s))


def _cut(whole: Measurement, energy_j: float, within: Interval, edge: UncertaintyComponent | None) -> Measurement:
    """Components keep their share of the energy: gains and models doubt it in proportion."""
    share = energy_j / whole.value.joules if whole.value.joules else 0.0
    scaled = tuple(replace(one, standard=one.standard * abs(share)) for one in whole.components)
    return replace(
        whole, value=Energy(energy_j), interval=within, components=(*scaled, *([edge] if edge is not None else ()))
    )
