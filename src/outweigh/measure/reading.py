"""What a window measured: total, hum and work as measurements, with their uncertainty and grade derived.

Energy of a window is `total` = `hum` + `work`. The hum is the idle power times the window's length; it is
kept and owned, never subtracted away. Where no idle draw is known both hum and work are None.

Uncertainty after JCGM 100:2008: what holds for the meter (calibration, power curve) is relative and common to
hum and work; what holds for the window (reading age at the edges, counter step, course between samples) is in
joules. The grade is the meter's, one lower when part of the window was not seen or a second sensor of the same
device disagrees, and D when the energy is unusable.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from outweigh.core.intervals import Interval
from outweigh.core.measurement import (
    Factor,
    Grade,
    Measurement,
    Method,
    Scope,
    UncertaintyComponent,
)
from outweigh.core.quantities import Energy, Power
from outweigh.core.receipt import RunStatus
from outweigh.data.cpu_power import IDLE_INTERCEPT, INSTRUCTION_MIX
from outweigh.measure.integrating import Integrated
from outweigh.ports import Channel, ChannelKind

#: Component in joules from the spread of the idle power that was observed.
IDLE_SPREAD = "idle power"

#: Component in joules from what a sensor does not look at.
PART_TIME = "part-time sensor"

#: Two sensors of one device that differ by more than this share lower the grade.
DISAGREEMENT = 0.10

#: Windows shorter than this [s] are not cross-checked: boards report a one-second average (nvmlDeviceGetPowerUsage).
SHORTEST_CROSS_CHECK_S = 5.0


@dataclass(frozen=True, slots=True)
class HumPart:
    """Mean idle power of one channel [W]; `counted` as the channel is."""

    scope: Scope
    device: str
    counted: bool
    power_w: float


@dataclass(frozen=True, slots=True)
class HumReading:
    """Idle draw before the work.

    Attributes:
        power: mean idle power.
        standard_w: its standard uncertainty from the idle window itself, k = 1 [W]; 0 for a model's intercept.
        observed: True when it was measured, False when it is the constant of a model.
        seconds: how long was listened [s]; 0 for a model's constant.
        parts: the same by channel, counted and shown.
    """

    power: Power
    standard_w: float
    observed: bool
    seconds: float
    grade: Grade
    method: Method
    source: str
    note: str
    parts: tuple[HumPart, ...] = ()


@dataclass(frozen=True, slots=True)
class WindowReading:
    """What was drawn in one window.

    Attributes:
        total: hum + work, in the meter's scope; a lower bound when `status` is UNUSABLE.
        hum, work: the split; None when no idle draw is known.
        overlapping: other readings of the same joules, shown and never added.
        status: COMPLETED, or UNUSABLE when the samples do not carry the figure.
        notes: why it is unusable, and what else a reader has to know.
        coverage: share of the window that samples cover.
    """

    total: Measurement
    hum: Measurement | None
    work: Measurement | None
    overlapping: tuple[Measurement, ...]
    status: RunStatus
    notes: tuple[str, ...]
    coverage: float = 1.0

    @property
    def seconds(self) -> float:
        return self.total.interval.seconds


@dataclass(frozen=True, slots=True)
class About:
    """What the meter says of itself, taken once per session.

    Attributes:
        shortest_s: the shortest window it can be trusted with [s].
        seen_share: share of the time its sensor looks, in (0, 1]: 0.25 for boards that average a quarter of a period.
        owners: for each of the components, the channels it speaks of; empty when each speaks of all.
    """

    grade: Grade
    method: Method
    source: str
    factors: tuple[Factor, ...]
    components: tuple[UncertaintyComponent, ...]
    notes: tuple[str, ...]
    shortest_s: float = 0.0
    seen_share: float = 1.0
    owners: tuple[frozenset[str], ...] = ()


def lower(grade: Grade) -> Grade:
    """The next grade down; D stays D.

    >>> lower(Grade.B)
    <Grade.C: 'C'>
    """
    grades = list(Grade)
    return grades[min(grades.index(grade) + 1, len(grades) - 1)]


def common_scope(scopes: Sequence[Scope]) -> Scope:
    """The smallest scope that holds all of them: what adding this reading to another must be checked against.

    >>> common_scope([Scope.PACKAGE, Scope.DRAM])
    <Scope.PSYS: 'psys'>
    """
    holders = [s for s in Scope if all(s.contains(part) for part in scopes)]
    return next(s for s in holders if all(other.contains(s) for other in holders))


def hum_between(before: HumReading, after: HumReading) -> HumReading:
    """The idle draw during the work, from what was heard before and after it.

    The mean of both. Where it lay in between nobody knows: the difference counts as the full width of a uniform
    spread (JCGM 100:2008, 4.3.7), beside the scatter of the two.
    """
    before_w, after_w = before.power.watts, after.power.watts
    return HumReading(
        power=Power((before_w + after_w) / 2),
        standard_w=math.sqrt((before.standard_w**2 + after.standard_w**2) / 4 + (after_w - before_w) ** 2 / 12),
        observed=True,
        seconds=before.seconds + after.seconds,
        grade=Grade.worst((before.grade, after.grade)),
        method=after.method,
        source=after.source,
        note=f"idle draw observed before and after the work: {before_w:.4g} W and {after_w:.4g} W",
        parts=tuple(
            replace(one, power_w=(one.power_w + other.power_w) / 2)
            for one, other in zip(before.parts, after.parts, strict=False)
        ),
    )


def compose(
    about: About,
    parts: Sequence[tuple[Channel, Integrated]],
    interval: Interval,
    hum: HumReading | None,
    extra_notes: Sequence[str] = (),
    spoiled: bool = False,
) -> WindowReading:
    """Put the channels of one window together.

    Args:
        about: the meter.
        parts: every channel with its energy; those not `counted` are shown as overlapping.
        interval: when it was.
        hum: the idle draw, or None when unknown.
        extra_notes: what the session saw beyond the channels.
        spoiled: whether one of them makes the window unusable.
    """
    counted = [(c, i) for c, i in parts if c.counted]
    about = _weighted(about, counted)
    usable = not spoiled and all(i.usable for _, i in counted)
    coverage = min((i.coverage for _, i in counted), default=0.0)
    notes = [*extra_notes, *(reason for _, i in counted for reason in i.reasons)]
    notes += _disagreements(parts) if usable else []
    disagree = usable and any(n.startswith("sensors disagree") for n in notes)
    grade = Grade.D if not usable else about.grade
    if usable and (disagree or any(i.reasons for _, i in counted)):
        grade = lower(grade)
    scopes = [c.scope for c, _ in counted]
    scope = common_scope(scopes)
    if scope not in scopes:
        seen = " + ".join(dict.fromkeys(scopes))
        notes.append(f"counts {seen}, a part of {scope}; the label keeps it from being added to either")
    seconds = max(0.0, interval.seconds)
    if seconds < about.shortest_s:
        usable = False
        notes.append(
            f"{seconds:.3g} s is too short for this meter, which needs {about.shortest_s:g} s: repeat the work "
            f"{math.ceil(about.shortest_s / seconds) if seconds else 'several'} times in one window"
        )
        grade = Grade.D
    total_j = sum(i.energy_j for _, i in counted)
    window = (*_window_components(counted), *_part_time(about, parts, seconds))
    hum_j = hum.power.watts * seconds if hum is not None else None
    work_j = total_j - hum_j if hum_j is not None else None
    if work_j is not None and work_j < 0:
        notes.append("less was drawn than the idle draw before it: the work is below what can be told from the hum")

    def measured(value_j: float, components: tuple[UncertaintyComponent, ...]) -> Measurement:
        return Measurement(
            Energy(value_j), interval, scope, grade, about.method, about.source, components, about.factors
        )

    own_idle = any(c.name == IDLE_INTERCEPT for c in about.components)
    hum_m = work_m = None
    if hum is None or hum_j is None or work_j is None:
        total = measured(total_j, (*_common(about, total_j), *_only(about, INSTRUCTION_MIX, total_j), *window))
    else:
        mix = _only(about, INSTRUCTION_MIX, work_j)
        idle = (
            (UncertaintyComponent(IDLE_SPREAD, hum.standard_w * seconds, "scatter of the idle window"),)
            if hum.standard_w > 0
            else ()
        )
        # A model's curve is about what work adds, and its idle constant is doubted on its own; a counter's
        # calibration is one gain over everything it counts.
        if own_idle:
            intercept = _only(about, IDLE_INTERCEPT, hum_j)
            total = measured(total_j, (*_common(about, work_j), *mix, *intercept, *window))
            hum_m = measured(hum_j, (*intercept, *idle))
        else:
            total = measured(total_j, (*_common(about, total_j), *mix, *window))
            hum_m = measured(hum_j, (*_common(about, hum_j), *idle))
        work_m = measured(work_j, (*_common(about, work_j), *mix, *idle, *window))
    overlapping = tuple(
        Measurement(
            Energy(i.energy_j),
            interval,
            c.scope,
            lower(about.grade) if not i.usable else about.grade,
            Method.INTEGRATED if c.kind is ChannelKind.POWER and about.method.is_measured else about.method,
            f"{about.source} {c.id}",
            (*_common(about, i.energy_j), *_own_components(i)),
            about.factors,
        )
        for c, i in parts
        if not c.counted
    )
    return WindowReading(
        total=total,
        hum=hum_m,
        work=work_m,
        overlapping=overlapping,
        status=RunStatus.COMPLETED if usable else RunStatus.UNUSABLE,
        notes=tuple(dict.fromkeys((*about.notes, *notes))),
        coverage=coverage,
    )


def _weighted(about: About, counted: Sequence[tuple[Channel, Integrated]]) -> About:
    """Components that speak of some of the channels only, made relative to the sum of all."""
    total_j = sum(i.energy_j for _, i in counted)
    if not about.owners or total_j <= 0:
        return about
    shares = [sum(i.energy_j for c, i in counted if c.id in owned) / total_j for owned in about.owners]
    return replace(
        about,
        components=tuple(
            replace(component, standard=component.standard * share)
            for component, share in zip(about.components, shares, strict=True)
        ),
    )


def _part_time(
    about: About, parts: Sequence[tuple[Channel, Integrated]], seconds: float
) -> tuple[UncertaintyComponent, ...]:
    """What a sensor that looks a part of the time leaves open, by how its readings scatter.

    A look of a share q of each refresh A is a sample of what was drawn then: it misses the mean by s·sqrt(1 - q)
    (JCGM 100:2008, 4.2.3, of a finite population), and T/A refreshes on their own make s·sqrt(A·T·(1 - q)) of a
    counter fed by it. Where the readings themselves are integrated, their scatter is between the samples already, and
    only where in its refresh the sensor looks is left: the course is late by up to (1 - q)·A, all values alike.

    A draw that swings in step with the sensor shows no scatter and cannot be told from a steady one.
    """
    unseen, variance_j2 = 1 - about.seen_share, 0.0
    counters = {c.device for c, _ in parts if c.kind is ChannelKind.ENERGY and c.counted}
    for channel, part in parts:
        if channel.kind is ChannelKind.POWER:
            if channel.device in counters:
                variance_j2 += part.scatter_w**2 * channel.update_s * seconds * unseen
            else:
                variance_j2 += (part.swing_w * unseen * channel.update_s) ** 2 / 12
    if variance_j2 <= 0:
        return ()
    return (UncertaintyComponent(PART_TIME, math.sqrt(variance_j2), "what the readings scatter by x unseen share"),)


def _common(about: About, value_j: float) -> tuple[UncertaintyComponent, ...]:
    """Relative components that hold for any energy of the meter, as joules of this one."""
    return tuple(
        UncertaintyComponent(c.name, abs(c.standard * value_j), c.source)
        for c in about.components
        if c.name not in (INSTRUCTION_MIX, IDLE_INTERCEPT)
    )


def _only(about: About, name: str, value_j: float) -> tuple[UncertaintyComponent, ...]:
    return tuple(
        UncertaintyComponent(c.name, abs(c.standard * value_j), c.source) for c in about.components if c.name == name
    )


def _window_components(counted: Sequence[tuple[Channel, Integrated]]) -> tuple[UncertaintyComponent, ...]:
    """Joules of uncertainty of the counted channels, independent of each other."""
    found = (
        ("reading age at the edges", math.hypot(*(i.edge_j for _, i in counted)), "update period x power"),
        ("counter step", math.hypot(*(i.resolution_j for _, i in counted)), "step / sqrt(6)"),
        ("between samples", math.hypot(*(i.sampling_j for _, i in counted)), "(dP x dt)^2 / 12 per step"),
    )
    return tuple(UncertaintyComponent(name, standard, source) for name, standard, source in found if standard > 0)


def _own_components(part: Integrated) -> tuple[UncertaintyComponent, ...]:
    standard = math.hypot(part.edge_j, part.resolution_j, part.sampling_j)
    return (UncertaintyComponent("window", standard, "edges, step and course"),) if standard > 0 else ()


def _disagreements(parts: Sequence[tuple[Channel, Integrated]]) -> list[str]:
    """Counted and shown sensors of one device and scope that tell different stories."""
    notes = []
    for counted, one in parts:
        for shown, other in parts:
            if (
                counted.counted
                and not shown.counted
                and (counted.device, counted.scope) == (shown.device, shown.scope)
                and one.usable
                and other.usable
                and one.duration_s >= SHORTEST_CROSS_CHECK_S
                and one.energy_j > 0
                and abs(other.energy_j / one.energy_j - 1) > DISAGREEMENT
            ):
                notes.append(
                    f"sensors disagree: {counted.id} gives {one.energy_j:.6g} J, {shown.id} {other.energy_j:.6g} J"
                )
    return notes
