"""`doctor --calibrate`: fit this machine's own power curve against a meter that really sees it.

    P(t) = idle + per thread x busy threads(t - lag)

A staircase of load (nothing, a quarter, a half, three quarters, all of the threads; every round in another random
order, so that warming up is not mistaken for load) is driven while a reference meter and the machine's CPU seconds
are read. How late the sensor is comes from where power and load correlate best; what lies within that, a refresh and a
settling time of each step is left out; the rest is one point a step, and a line is fitted (`measure.fitting`).
What the fit becomes of grade C: it is a model still, whatever it was fitted to.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from outweigh.core.errors import MeterUnavailable, OutweighError, UnusableMeasurement, UsageError
from outweigh.core.measurement import Grade, Scope, combine, utc
from outweigh.core.rounding import si
from outweigh.data.calibration import (
    Calibration,
    ProcessorKey,
    find_calibration,
    processor_key,
)
from outweigh.measure.clock import Clock
from outweigh.measure.fitting import Course, LineFit, fit_line, lag_between
from outweigh.measure.load import Bench
from outweigh.measure.stepping import What, counter_step
from outweigh.ports import Availability, Channel, ChannelKind, Meter

if TYPE_CHECKING:
    from outweigh.measure.stepping import Step

#: Share of the threads kept busy, per step of the staircase.
LEVELS = (0.0, 0.25, 0.5, 0.75, 1.0)

#: How long the staircase takes where the reference allows [s].
USUAL_S = 120.0

_FEWEST_ROUNDS = 3
_STEP_S = 4.0  # a step, where there is time
_SHORTEST_STEP_S = 1.0
_UPDATES_A_STEP = 6.0  # fewer refreshes than this, and too little of a step is left beside lag and settling
_CHANGES_A_STEP = 2  # fewer, and they are the load's and not the sensor's
_FASTEST_READ_S, _SLOWEST_READ_S = 0.1, 1.0
_SUSPEND_S = 0.5
_NEVER_A_REFERENCE = ("cpu-model", "replay")
_LAST_REMEDY = "Calibrate while nothing else runs, with a longer --seconds, or --against another meter"
_METHOD = "line by least squares, standard errors after Newey and West 1987"

Told = Callable[[str, float], None]


class Plan(NamedTuple):
    """The staircase: shares of the threads in order, how long each is held [s], how often the meter is read [s]."""

    levels: tuple[float, ...]
    step_s: float
    read_s: float


def plan_staircase(update_s: float, seconds: float | None, seed: int) -> Plan:
    """Rounds of all levels, each in its own random order.

    Args:
        update_s: how often the reference says it refreshes [s].
        seconds: how long it may take [s]; None for USUAL_S, or longer where the reference needs it.

    Raises:
        UsageError: too short for three rounds of steps that hold six refreshes each.
    """
    shortest_s = max(_SHORTEST_STEP_S, _UPDATES_A_STEP * update_s)
    least_s = _FEWEST_ROUNDS * len(LEVELS) * shortest_s
    if seconds is None:
        seconds = max(USUAL_S, least_s)
    if not math.isfinite(seconds) or seconds < least_s * (1 - 1e-9):
        raise UsageError(
            f"{seconds:g} s is too short: the reference refreshes every {update_s:g} s, and {_FEWEST_ROUNDS} rounds of "
            f"{len(LEVELS)} steps need {math.ceil(least_s)} s",
            f"Give --seconds {math.ceil(least_s)} or more, or --against a faster meter",
        )
    rounds = max(_FEWEST_ROUNDS, int(seconds / (len(LEVELS) * max(_STEP_S, shortest_s))))
    chance = random.Random(seed)
    levels = tuple(level for _ in range(rounds) for level in chance.sample(LEVELS, len(LEVELS)))
    return Plan(levels, seconds / len(levels), min(_SLOWEST_READ_S, max(_FASTEST_READ_S, update_s / 4)))


def reference_meter(against: str | None = None) -> Meter:
    """A meter to calibrate against, not yet open: of grade A or B, and seeing the processor.

    Args:
        against: its name; None for the best of those that can be used here.

    Raises:
        MeterUnavailable: there is none, or the named one will not do.
        UnknownBackend: no meter has that name.
    """
    from outweigh.measure.doctor import probe_one
    from outweigh.registry import meters

    if against is not None:
        return _fit_reference(against)
    names = [name for name in meters.names() if name not in _NEVER_A_REFERENCE]
    probed = [found for found in (probe_one("meters", name) for name in names) if found.usable]
    unfit = []
    for found in sorted(probed, key=lambda f: (f.grade or Grade.D, f.name)):
        try:
            return _fit_reference(found.name)
        except OutweighError as err:
            unfit.append(str(err))
    raise MeterUnavailable(
        "a reference",
        "; ".join(unfit) or "no meter of grade A or B that sees the processor works here",
        "rapl, hwmon, battery, ipmi, redfish or prometheus would do, and `outweigh doctor` says what each lacks; a "
        "virtual machine passes no counter through, so calibrate on a machine of your own",
    )


def _fit_reference(name: str) -> Meter:
    from outweigh.measure.choose import choose_meter

    # Some know what they see only once they are open, and nothing says that a closed one can be opened again.
    trial, _ = choose_meter(name, minimum=Grade.B)
    trial.open()
    try:
        _reference_channels(trial)
    finally:
        trial.close()
    return choose_meter(name, minimum=Grade.B)[0]


def calibrate(
    reference: Meter,
    bench: Bench,
    key: ProcessorKey,
    *,
    clock: Clock,
    seconds: float | None = None,
    seed: int = 1,
    note: str = "",
    conditions: str = "",
    told: Told = lambda _what, _fraction: None,
) -> Calibration:
    """Drive the staircase, read the reference, fit. Opens and closes the meter; the bench goes back to idle.

    Args:
        reference: a meter that `reference_meter` would give.
        bench: the machine, already prepared.
        key: what the calibration will speak of; `key.threads` are the machine's.
        told: called with what is being done and the share of it that is done.

    Raises:
        MeterUnavailable: the reference will not do, or stopped answering.
        UsageError: too little time.
        UnusableMeasurement: it was read, and carries no curve: a counter reset, a suspend, a load that did not reach
            the machine, power that does not follow it.
    """
    reference.open()
    try:
        channels = _reference_channels(reference)
        declared_s = max(channel.update_s for _, channel in channels)
        plan = plan_staircase(declared_s, seconds, seed)
        record = _drive(reference, channels, bench, clock, plan, told)
        # Only now: a meter may learn how well it reads from what it finds when it is opened.
        relative = combine(reference.components())
    finally:
        try:
            bench.drive(0.0)
        finally:
            reference.close()
    update_s = max(declared_s, _update_interval_s(record))
    lag_s = _lag_s(record, plan, update_s)
    busy, watts, longest_s = _points(record, plan, lag_s, update_s)
    fit = _line(busy, watts, bench.threads)
    return Calibration(
        key=key,
        at=utc(clock.utc()),
        reference=reference.name,
        reference_grade=reference.grade,
        reference_scope=" + ".join(dict.fromkeys(str(channel.scope) for _, channel in channels)),
        reference_relative=relative,
        idle_w=fit.intercept,
        idle_standard_w=fit.intercept_standard,
        per_thread_w=fit.slope,
        per_thread_standard_w=fit.slope_standard,
        bend_w_per_thread=fit.bend_slope,
        bend_idle_w=fit.bend_intercept,
        curvature_w=fit.curvature,
        curvature_standard_w=fit.curvature_standard,
        straight=fit.straight,
        residual_sd_w=fit.residual_sd,
        residual_max_w=fit.residual_max,
        r_squared=fit.r_squared,
        steps=fit.points,
        seconds=plan.step_s * len(plan.levels),
        seed=seed,
        lag_s=lag_s,
        update_s=update_s,
        other_threads=record.other_threads,
        method=f"{_METHOD}, {longest_s:.1f} s of each step",
        conditions=conditions,
        note=note,
    )


def calibrate_this_machine(
    against: str | None = None,
    *,
    seconds: float | None = None,
    seed: int = 1,
    note: str = "",
    told: Told = lambda _what, _fraction: None,
) -> Calibration:
    """Calibrate the machine this runs on; nothing is left running, also when it is interrupted.

    Raises what `reference_meter` and `calibrate` raise.
    """
    from outweigh.measure.clock import SystemClock
    from outweigh.measure.load import BusyChildren

    reference = reference_meter(against)
    key = processor_key()
    if key is None:
        raise MeterUnavailable(
            "the processor", "/proc/cpuinfo does not name it here", "Calibrate on Linux, on x86 or Arm"
        )
    with BusyChildren(seed=seed) as bench:
        return calibrate(
            reference,
            bench,
            key,
            clock=SystemClock(),
            seconds=seconds,
            seed=seed,
            note=note,
            conditions=_conditions(Path("/sys/devices/system/cpu")),
            told=told,
        )


def calibration_state(
    now: datetime, path: Path | None = None, cpuinfo: Path = Path("/proc/cpuinfo")
) -> tuple[Availability, Calibration | None]:
    """What the doctor says about the kept calibration, and the calibration when it is in use."""
    found = find_calibration(cpuinfo, now, path)
    one = found.calibration
    if one is None:
        return Availability(
            "cpu-model",
            usable=False,
            reason=found.reason or "this machine was never calibrated: cpu-model goes by published curves",
            remedy=""
            if found.reason
            else "`outweigh doctor --calibrate`, where a meter of grade A or B sees the machine",
        ), None
    bend = "" if one.straight else "; the curve bends, and the interval is wider for it"
    return Availability(
        "cpu-model",
        usable=True,
        sees=f"{one.told}: {one.idle_w:.4g} W idle, {one.per_thread_w:.4g} W a busy thread{bend}",
        grade=Grade.C,
    ), one


def calibration_facts(one: Calibration) -> dict[str, object]:
    """A calibration for machines to read: full precision, the unit in the key."""
    return {
        "processor": one.key.processor,
        "threads": one.key.threads,
        "microcode": one.key.microcode,
        "calibrated_at": one.at,
        "reference": one.reference,
        "reference_grade": one.reference_grade.value,
        "reference_scope": one.reference_scope,
        "reference_relative": one.reference_relative,
        "idle_w": one.idle_w,
        "idle_standard_w": one.idle_standard_w,
        "per_thread_w": one.per_thread_w,
        "per_thread_standard_w": one.per_thread_standard_w,
        "straight": one.straight,
        "curvature_w_per_thread2": one.curvature_w,
        "curvature_standard_w_per_thread2": one.curvature_standard_w,
        "bend_w_per_thread": one.bend_w_per_thread,
        "bend_idle_w": one.bend_idle_w,
        "residual_sd_w": one.residual_sd_w,
        "residual_max_w": one.residual_max_w,
        "r_squared": one.r_squared,
        "steps": one.steps,
        "seconds": one.seconds,
        "seed": one.seed,
        "lag_s": one.lag_s,
        "update_s": one.update_s,
        "other_threads": one.other_threads,
        "method": one.method,
        "conditions": one.conditions,
        "note": one.note,
    }


def calibration_lines(one: Calibration) -> list[tuple[str, str]]:
    """A calibration for people to read: (what, figure with its 95 % half-width), uncertainty to two digits."""
    idle_w = 2 * one.idle_relative * one.idle_w
    thread_w = 2 * one.per_thread_relative * one.per_thread_w
    bend = f"{one.curvature_w:.2g} ± {2 * one.curvature_standard_w:.1g} W per thread²"
    lines = [
        ("processor", f"{one.key.processor}, {one.key.threads} threads, microcode {one.key.microcode or 'unknown'}"),
        ("reference", f"{one.reference}, grade {one.reference_grade}, sees {one.reference_scope}"),
        ("idle", si(one.idle_w, "W", idle_w)),
        ("a busy thread adds", si(one.per_thread_w, "W", thread_w)),
        ("curve", f"straight (bend {bend})" if one.straight else f"not straight: bend {bend}; the intervals are wider"),
        ("left over", f"{one.residual_sd_w:.2g} W, at most {one.residual_max_w:.2g} W, over {one.steps} steps"),
        ("sensor", f"lags {one.lag_s:.2g} s, refreshes every {one.update_s:.2g} s or faster"),
        ("other programs", f"{one.other_threads:.2g} threads busy"),
        ("method", one.method),
    ]
    lines += [(name, text) for name, text in (("conditions", one.conditions), ("note", one.note)) if text]
    return lines


# --- reading ----------------------------------------------------------------------------------------


class _Record(NamedTuple):
    """What was read: sums over time, when each step began, when the reference was seen to change."""

    energy: Course
    busy: Course
    begun_s: tuple[float, ...]
    changes_s: tuple[float, ...]
    other_threads: float


def _reference_channels(meter: Meter) -> tuple[tuple[int, Channel], ...]:
    """Index and channel of what is added up: everything that is counted, boards with their own meter left out."""
    counted = [(n, c) for n, c in enumerate(meter.channels) if c.counted and c.scope is not Scope.GPU]
    sees = any(c.scope in (Scope.NODE, Scope.PSYS, Scope.PACKAGE) for _, c in counted)
    if not meter.grade.at_least(Grade.B):
        reason = f"it reads at grade {meter.grade}: a model cannot be fitted to less than a measurement"
    elif not sees:
        scopes = ", ".join(dict.fromkeys(str(c.scope) for c in meter.channels)) or "nothing"
        reason = f"it sees {scopes}, and calibrating needs the package or the whole machine"
    else:
        return tuple(counted)
    raise MeterUnavailable(meter.name, reason, "Calibrate --against rapl, hwmon, battery, ipmi, redfish or prometheus")


def _drive(
    reference: Meter,
    channels: Sequence[tuple[int, Channel]],
    bench: Bench,
    clock: Clock,
    plan: Plan,
    told: Told,
) -> _Record:
    started_s, slept_s = clock.monotonic_s(), _slept_s(clock)
    adding = _Adding(channels)
    busy_t, busy = [started_s], [bench.machine_s()]
    first = reference.read()
    adding.take(first.t_s, first.values)
    own_s, begun = bench.own_s(), list[float]()
    # At even distances, or at every change of the load, reads would beat with the refreshes of the sensor and see each
    # at the same age: they come at random distances, and the staircase goes on beside them.
    chance = random.Random(len(plan.levels))
    read_s = started_s + plan.read_s
    for number, level in enumerate(plan.levels):
        told(f"step {number + 1} of {len(plan.levels)}: {level:.0%} load", number / len(plan.levels))
        bench.drive(level * bench.threads)
        begun.append(clock.monotonic_s())
        # From the schedule and not from now, so that slow reads do not stretch the staircase.
        until_s = started_s + (number + 1) * plan.step_s
        while read_s < until_s:
            clock.sleep(max(0.0, read_s - clock.monotonic_s()))
            sample = reference.read()
            adding.take(sample.t_s, sample.values)
            busy_t.append(clock.monotonic_s())
            busy.append(bench.machine_s())
            read_s = clock.monotonic_s() + plan.read_s * chance.uniform(0.5, 1.5)
        clock.sleep(max(0.0, until_s - clock.monotonic_s()))
        busy_t.append(clock.monotonic_s())
        busy.append(bench.machine_s())
    told("fitting", 1.0)
    begun.append(clock.monotonic_s())
    if _slept_s(clock) - slept_s > _SUSPEND_S:
        raise UnusableMeasurement("the calibration", "the machine slept meanwhile", "Keep it awake and run it again")
    longest_s = max((b - a for a, b in pairwise(adding.read_s)), default=math.inf)
    if longest_s > max(5 * plan.read_s, plan.step_s / 3):
        raise UnusableMeasurement(
            "the calibration", f"{reference.name} did not answer for {longest_s:.1f} s", _LAST_REMEDY
        )
    others = (busy[-1] - busy[0] - (bench.own_s() - own_s)) / max(1e-9, busy_t[-1] - busy_t[0])
    return _Record(
        Course(adding.t_s, adding.energy_j),
        Course(busy_t, busy),
        tuple(begun),
        tuple(adding.changes_s),
        max(0.0, others),
    )


class _Adding:
    """Adds the channels of the reference up to one sum of joules."""

    def __init__(self, channels: Sequence[tuple[int, Channel]]) -> None:
        self._channels = channels
        # The slowest channel's changes are those of the reference.
        self._watched = max(range(len(channels)), key=lambda n: channels[n][1].update_s)
        # Between two refreshes a counter stands still and then jumps: only the jumps say how much by when.
        self._jumps = channels[self._watched][1].kind is ChannelKind.ENERGY
        self._last: list[float] = []
        self._sum_j = 0.0
        self.t_s: list[float] = []
        self.energy_j: list[float] = []
        self.read_s: list[float] = []
        self.changes_s: list[float] = []

    def take(self, t_s: float, values: Sequence[float | None]) -> None:
        """A read in which one channel did not answer is none: the sum would be of unlike parts."""
        now = [value for index, _ in self._channels if (value := values[index]) is not None]
        if len(now) < len(self._channels) or (self.read_s and t_s <= self.read_s[-1]):
            return
        if self.read_s:
            dt_s = t_s - self.read_s[-1]
            self._sum_j += math.fsum(
                _joules(channel, before, value, dt_s)
                for (_, channel), before, value in zip(self._channels, self._last, now, strict=True)
            )
        changed = not self.read_s or now[self._watched] != self._last[self._watched]
        if changed and self.read_s:
            self.changes_s.append(t_s)
        if changed or not self._jumps:
            self.t_s.append(t_s)
            self.energy_j.append(self._sum_j)
        self.read_s.append(t_s)
        self._last = now


def _joules(channel: Channel, before: float, now: float, dt_s: float) -> float:
    if channel.kind is ChannelKind.POWER:
        return (before + now) / 2 * dt_s
    step: Step = counter_step(
        before, now, dt_s, wrap_j=channel.wrap_j, max_power_w=channel.max_power_w, update_s=channel.update_s
    )
    if step.what not in (None, What.WRAP):
        raise UnusableMeasurement("the calibration", f"{channel.id}: {step.detail}", "Run it again")
    return step.energy_j


def _slept_s(clock: Clock) -> float:
    boot_s = clock.boottime_s()
    return 0.0 if boot_s is None else boot_s - clock.monotonic_s()


# --- working it out ---------------------------------------------------------------------------------


def _update_interval_s(record: _Record) -> float:
    """How often the reference was seen to change [s]; how often it was read, when it changed every time.

    A sensor of coarse steps shows some refreshes as none: the shorter quarter of the distances tells the interval,
    and what lies about it makes the mean. One that hardly moves but with the load shows no interval at all: 0.
    """
    apart = sorted(b - a for a, b in pairwise(record.changes_s))
    if len(apart) < len(LEVELS):
        raise UnusableMeasurement(
            "the calibration", "the reference did not change while the load did", "Calibrate --against another meter"
        )
    if len(apart) < _CHANGES_A_STEP * len(record.begun_s):
        return 0.0
    single = [gap_s for gap_s in apart if gap_s <= 1.5 * apart[len(apart) // 4]]
    return math.fsum(single) / len(single)


def _lag_s(record: _Record, plan: Plan, update_s: float) -> float:
    longest_s = plan.step_s / 2
    lag_s = lag_between(
        record.energy,
        record.busy,
        longest_s=longest_s,
        window_s=max(update_s, plan.read_s),
        step_s=max(plan.read_s, plan.step_s / 40),
    )
    if lag_s is None:
        raise UnusableMeasurement("the calibration", "power does not rise with the load", _LAST_REMEDY)
    if lag_s > 0.95 * longest_s:
        raise UnusableMeasurement(
            "the calibration",
            f"the reference lags the load by {longest_s:.1f} s or more, half a step of the staircase",
            f"Give --seconds {math.ceil(3 * plan.step_s * len(plan.levels))} or more",
        )
    return lag_s


def _points(record: _Record, plan: Plan, lag_s: float, update_s: float) -> tuple[list[float], list[float], float]:
    """Busy threads and watts of each step once it had settled, and how much of a step that is [s].

    A sensor that averages comes up over about as long again as it lags: half of that, or a quarter of the step where
    that is more, is settling.
    """
    unsettled_s = lag_s + update_s + max(plan.step_s / 4, lag_s / 2)
    used_s = plan.step_s - unsettled_s - plan.read_s
    if used_s < 0.15 * plan.step_s:
        raise UnusableMeasurement(
            "the calibration",
            f"of each step of {plan.step_s:.1f} s, {unsettled_s:.1f} s pass before the reference has settled",
            f"Give --seconds {math.ceil(2 * plan.step_s * len(plan.levels))} or more",
        )
    busy, watts = [], []
    for start_s, end_s in pairwise(record.begun_s):
        from_s, to_s = start_s + unsettled_s, end_s - plan.read_s  # what is read after the end may be the next step's
        if to_s - from_s < 0.1 * plan.step_s:
            continue  # a slow read ran into the step
        watts.append(record.energy.rate(from_s, to_s))
        busy.append(record.busy.rate(from_s - lag_s, to_s - lag_s))
    return busy, watts, used_s


def _line(busy: Sequence[float], watts: Sequence[float], threads: int) -> LineFit:
    if len(busy) < _FEWEST_ROUNDS * len(LEVELS) * 0.8:
        raise UnusableMeasurement(
            "the calibration", f"only {len(busy)} steps of the staircase could be read in time", _LAST_REMEDY
        )
    reached = max(busy) - min(busy)
    if reached < threads / 2:
        raise UnusableMeasurement(
            "the calibration",
            f"the load moved {reached:.2f} of {threads} threads: other programs or a quota keep it from the machine",
            _LAST_REMEDY,
        )
    found = fit_line(busy, watts)
    if found.slope <= 2 * found.slope_standard:
        raise UnusableMeasurement(
            "the calibration",
            f"a busy thread adds {found.slope:.3g} ± {2 * found.slope_standard:.2g} W: that may be nothing",
            _LAST_REMEDY,
        )
    if found.intercept < 0:
        raise UnusableMeasurement(
            "the calibration", f"the line meets no load at {found.intercept:.3g} W, below nothing", _LAST_REMEDY
        )
    return found


def _conditions(cpus: Path) -> str:
    """What the machine says of how it runs: the frequency governor, and whether turbo is on, where it tells."""
    told = []
    for name, file in (
        ("governor", cpus / "cpu0/cpufreq/scaling_governor"),
        ("boost", cpus / "cpufreq/boost"),
        ("no_turbo", cpus / "intel_pstate/no_turbo"),
    ):
        try:
            told.append(f"{name} {file.read_text(encoding='ascii').strip()}")
        except (OSError, UnicodeDecodeError):
            continue
    return ", ".join(told)
