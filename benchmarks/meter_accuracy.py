"""Energy on a known truth: simulated counters and sensors under a known power curve, read through the real meters.

A processor (a powercap tree of files) and two graphics boards (an NVML in memory) draw power along one made curve:
steps, ramps, spikes of 1 to 50 ms over noise of its own. Its integral is known exactly. The counters misbehave as
counters do: refreshed at uneven moments, a wrap in the middle, a reset, a stall, a sensor that lags and one that
looks 25 % of the time. Windows are taken by `MeterSession` on a made clock.

Goals: energy within 0.5 % for every window of 1 to 20 s (all gains exact); the stated interval holds the truth in
95 % ± 2 of 1,000 seeded trials, once for what the window adds alone and once for the whole of it, with a gain drawn
from what the calibration component states (its limits, all values alike); a reset, a starved or a standing counter
never gives a figure that is called usable. The intervals were derived with the first family of curves; the other two
are held out, and every run can take fresh seeds: `--seed N`. `--trials N` for fewer trials.

A sensor of power alone is held to its interval, not to 0.5 %. Its interval supposes readings that catch the draw by
chance: under the first family it must hold 95 % ± 2, under a draw that repeats itself (held out) 93 % or more, for
evenly spaced looks at a repeating course do better than chance ones. So does a sensor that averages over all of its
refresh, which a meter cannot know of it. A draw in step with a part-time sensor is shown without a goal: no reading
tells it from a steady one, and the interval does not hold it.
"""

from __future__ import annotations

import itertools
import random
import sys
import tempfile
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace

from outweigh.backends.meters.nvml import NvmlMeter
from outweigh.backends.meters.rapl import RaplMeter
from outweigh.core.measurement import half_width_95
from outweigh.measure import FakeClock, MeterSession, WindowReading
from outweigh.ports import Meter
from shape import Row, finish

TRIALS = 1_000
RANGE_UJ = 262_143_328_850  # as read from an Intel server: 32 bits of 61 µJ
STEP_UJ = 61
WARM_S = 1.0
GAIN_LIMIT = 0.05


class Curve:
    """Power linear between points, and its exact integral."""

    def __init__(self, points: list[tuple[float, float]]) -> None:
        self.times = [t for t, _ in points]
        self.watts = [w for _, w in points]
        self.joules = [0.0]
        for (t0, w0), (t1, w1) in itertools.pairwise(points):
            self.joules.append(self.joules[-1] + (w0 + w1) / 2 * (t1 - t0))

    def watts_at(self, t: float) -> float:
        i = max(1, min(bisect_right(self.times, t), len(self.times) - 1))
        t0, t1 = self.times[i - 1], self.times[i]
        w0, w1 = self.watts[i - 1], self.watts[i]
        return w0 + (w1 - w0) * min(1.0, max(0.0, (t - t0) / (t1 - t0))) if t1 > t0 else w1

    def joules_at(self, t: float) -> float:
        i = max(1, min(bisect_right(self.times, t), len(self.times) - 1))
        t0 = self.times[i - 1]
        return self.joules[i - 1] + (self.watts[i - 1] + self.watts_at(t)) / 2 * (t - t0)


def made_curve(rng: random.Random, seconds: float, top_w: float) -> Curve:
    """Idle, then pieces of 0.2 to 2 s that are flat or ramps, with spikes of 1 to 50 ms on a third of them."""
    low_w = top_w * rng.uniform(0.08, 0.2)
    points = [(-WARM_S, low_w), (rng.uniform(0.3, 0.6) * WARM_S, low_w)]
    t = points[-1][0]
    while t < seconds + 2.0:
        length_s = rng.uniform(0.2, 2.0)
        a_w = rng.uniform(low_w, top_w)
        b_w = a_w if rng.random() < 0.6 else rng.uniform(low_w, top_w)
        points.append((t + 1e-6, a_w))
        if rng.random() < 0.33:
            for _ in range(rng.randint(1, 4)):
                at_s = t + rng.uniform(0.05, 0.7) * length_s
                if at_s <= points[-1][0] + 1e-3:
                    continue
                wide_s = min(rng.uniform(1e-3, 50e-3), 0.2 * length_s)
                base_w = a_w + (b_w - a_w) * (at_s - t) / length_s
                points += [(at_s, base_w), (at_s + 1e-5, top_w), (at_s + wide_s, top_w), (at_s + wide_s + 1e-5, base_w)]
        t = max(t + length_s, points[-1][0] + 1e-3)
        points.append((t, b_w))
    return Curve(points)


def training_curve(rng: random.Random, seconds: float, top_w: float) -> Curve:
    """Held out: steps of 0.12 to 1.5 s that rise and fall off exponentially, with pauses for a checkpoint."""
    low_w, high_w = top_w * rng.uniform(0.1, 0.3), top_w * rng.uniform(0.6, 1.0)
    step_s, duty, settle_s = rng.uniform(0.12, 1.5), rng.uniform(0.5, 0.95), rng.uniform(3e-3, 60e-3)
    points, t, now_w = [(-WARM_S, low_w)], -WARM_S + rng.uniform(0.0, 1.5) * WARM_S, low_w
    points.append((t, low_w))

    def towards(target_w: float, length_s: float) -> None:
        nonlocal t, now_w
        start_s, start_w = t, now_w
        for part in range(1, 13):
            t = start_s + length_s * (part / 12) ** 2
            now_w = target_w + (start_w - target_w) * 2.718281828 ** (-(t - start_s) / settle_s)
            points.append((t, now_w))

    while t < seconds + 2.0:
        for _ in range(rng.randint(3, 20)):
            length_s = step_s * rng.uniform(0.9, 1.1)
            towards(high_w * rng.uniform(0.9, 1.1), duty * length_s)
            towards(low_w + 0.3 * (high_w - low_w), (1 - duty) * length_s)
        towards(low_w, rng.uniform(0.3, 2.0))
    return Curve(points)


def wandering_curve(rng: random.Random, seconds: float, top_w: float) -> Curve:
    """Held out: a draw that wanders back to its mean within 0.05 to 2 s and never stands still; serving under load."""
    mean_w, wide_w, memory_s = top_w * rng.uniform(0.3, 0.7), top_w * rng.uniform(0.05, 0.2), rng.uniform(0.05, 2.0)
    every_s = 7e-3
    keep = 2.718281828 ** (-every_s / memory_s)
    points, t, off_w = [], -WARM_S, rng.gauss(0.0, wide_w)
    while t < seconds + 2.0:
        points.append((t, min(top_w, max(0.05 * top_w, mean_w + off_w))))
        off_w = keep * off_w + wide_w * (1 - keep * keep) ** 0.5 * rng.gauss(0.0, 1.0)
        t += every_s
    return Curve(points)


def in_step_curve(rng: random.Random, seconds: float, top_w: float) -> Curve:
    """Swings every 98 to 102 ms: the worst for a sensor that looks for a quarter of every 100 ms."""
    period_s, low_w = rng.uniform(0.098, 0.102), 0.3 * top_w
    points, t = [(-WARM_S, low_w)], -WARM_S + rng.uniform(0.01, 0.1)
    while t < seconds + 2.0:
        half_s = period_s / 2
        points += [(t, low_w), (t + 1e-5, top_w), (t + half_s, top_w), (t + half_s + 1e-5, low_w)]
        t += period_s
    return Curve(points)


Draw = Callable[[random.Random, float, float], Curve]


class Refreshing:
    """Moments at which a source refreshes: every `period_s`, uneven by `jitter` of it, now and then late by some.

    Args:
        stalls: how often in a second it misses one to four refreshes in a row, and catches up.
    """

    def __init__(self, rng: random.Random, period_s: float, jitter: float, seconds: float, stalls: float = 0.0) -> None:
        self.times = []
        t = -WARM_S + rng.uniform(0.0, period_s)
        while t < seconds:
            self.times.append(t)
            missed = rng.randint(1, 4) if stalls and rng.random() < stalls * period_s else 0
            t += period_s * (1 + missed + rng.uniform(-jitter, jitter))

    def last(self, t: float) -> float:
        return self.times[max(0, bisect_right(self.times, t) - 1)]


class Processor:
    """A powercap tree whose counter file is refreshed when it is looked at, as the counter would have been."""

    def __init__(self, folder: Path, curve: Curve, moments: Refreshing, clock: FakeClock, gain: float) -> None:
        self.curve, self.moments, self.clock, self.gain = curve, moments, clock, gain
        self.offset_j, self.frozen_from_s, self.reset_at_s = 1_000.0, float("inf"), float("inf")
        zone = folder / "intel-rapl:0"
        zone.mkdir(parents=True, exist_ok=True)
        (zone / "name").write_text("package-0\n")
        (zone / "max_energy_range_uj").write_text(f"{RANGE_UJ}\n")
        self.file = zone / "energy_uj"
        self.cpuinfo = folder / "cpuinfo"
        self.cpuinfo.write_text("physical id\t: 0\nflags\t\t: fpu\n")
        self.folder = folder

    def refresh(self) -> None:
        t = self.moments.last(min(self.clock.monotonic_s(), self.frozen_from_s))
        joules = self.gain * self.curve.joules_at(t) + self.offset_j
        if t >= self.reset_at_s:
            joules = self.gain * (self.curve.joules_at(t) - self.curve.joules_at(self.reset_at_s))
        uj = int(joules * 1e6) // STEP_UJ * STEP_UJ % RANGE_UJ
        self.file.write_bytes(b"%d\n" % uj)

    def meter(self) -> Meter:
        clock = self.clock

        def now() -> float:
            self.refresh()
            return clock.monotonic_s()

        self.refresh()
        return RaplMeter(self.folder, cpuinfo=self.cpuinfo, now=now)


class NvmlError(Exception):
    pass


@dataclass
class Boards:
    """The part of NVML that the meter calls, for one board.

    Args:
        sees: share of each refresh that the power sensor looks at.
        lag_s: how much later than the truth its readings are.
    """

    curve: Curve
    moments: Refreshing
    clock: FakeClock
    gain: float
    counter: bool
    sees: float
    lag_s: float
    name: str
    frozen_from_s: float = float("inf")
    reset_at_s: float = float("inf")

    NVMLError = NvmlError
    NVML_SUCCESS = 0
    NVML_FI_DEV_POWER_INSTANT = 186

    def nvmlInit(self) -> None: ...  # noqa: N802
    def nvmlShutdown(self) -> None: ...  # noqa: N802

    def nvmlSystemGetDriverVersion(self) -> str:  # noqa: N802
        return "simulated"

    def nvmlDeviceGetCount(self) -> int:  # noqa: N802
        return 1

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:  # noqa: N802
        return index

    def nvmlDeviceGetUUID(self, handle: int) -> str:  # noqa: N802
        return "GPU-simulated"

    def nvmlDeviceGetName(self, handle: int) -> str:  # noqa: N802
        return self.name

    def nvmlDeviceGetEnforcedPowerLimit(self, handle: int) -> int:  # noqa: N802
        return 700_000

    def nvmlDeviceGetTotalEnergyConsumption(self, handle: int) -> int:  # noqa: N802
        if not self.counter:
            raise NvmlError("Not Supported")
        t = self.moments.last(min(self.clock.monotonic_s(), self.frozen_from_s)) - self.lag_s
        since_j = self.curve.joules_at(self.reset_at_s) if t >= self.reset_at_s else -1_000.0
        return int(self.gain * (self.curve.joules_at(t) - since_j) * 1e3)

    def nvmlDeviceGetPowerUsage(self, handle: int) -> int:  # noqa: N802
        t = self.moments.last(self.clock.monotonic_s()) - self.lag_s
        looked_s = self.sees * 0.1
        drawn_j = self.curve.joules_at(t) - self.curve.joules_at(t - looked_s)
        return int(self.gain * drawn_j / looked_s * 1e3)

    def nvmlDeviceGetFieldValues(self, handle: int, fields: list[int]) -> list[SimpleNamespace]:  # noqa: N802
        value = SimpleNamespace(uiVal=self.nvmlDeviceGetPowerUsage(handle))
        return [SimpleNamespace(nvmlReturn=0, value=value) for _ in fields]


@dataclass
class Trial:
    reading: WindowReading
    truth_j: float

    @property
    def error(self) -> float:
        return abs(self.reading.total.value.joules / self.truth_j - 1)

    def held(self, calibration: bool) -> bool:
        parts = [c for c in self.reading.total.components if calibration or c.name != "calibration"]
        wide_j = half_width_95(parts)
        return abs(self.reading.total.value.joules - self.truth_j) <= wide_j


Make = Callable[[random.Random, Curve, FakeClock, float, float, Path], Meter]


def rapl(rng: random.Random, curve: Curve, clock: FakeClock, seconds: float, gain: float, folder: Path) -> Meter:
    made = Processor(folder, curve, Refreshing(rng, 1e-3, 0.05, seconds + 3, stalls=0.5), clock, gain)
    if rng.random() < 0.3:  # a wrap somewhere in the window
        made.offset_j = RANGE_UJ * 1e-6 - gain * rng.uniform(0.2, 0.8) * curve.joules_at(seconds)
    return made.meter()


def nvml(
    counter: bool = True,
    period_s: float | None = 0.1,
    sees: float = 1.0,
    lag_s: float = 0.0,
    name: str = "NVIDIA L40S",
    stalls: float = 0.0,
) -> Make:
    """A board; `period_s` None for one that refreshes every 20 to 100 ms, drawn anew for each trial."""

    def make(rng: random.Random, curve: Curve, clock: FakeClock, seconds: float, gain: float, folder: Path) -> Meter:
        moments = Refreshing(rng, period_s or rng.uniform(0.02, 0.1), 0.05, seconds + 3, stalls)
        return NvmlMeter(nvml=Boards(curve, moments, clock, gain, counter, sees, lag_s, name), now=clock.monotonic_s)

    return make


def tried(
    make: Make,
    seed: int,
    folder: Path,
    *,
    gain: bool,
    align: bool | None = None,
    shortest_s: float = 1.0,
    draw: Draw = made_curve,
) -> Trial:
    """One window of 1 to 20 s at a random moment under a random curve."""
    rng = random.Random(seed)
    seconds = shortest_s * 20 ** rng.random()
    top_w = rng.uniform(150.0, 600.0)
    curve = draw(rng, seconds + 2 * WARM_S, top_w)
    clock = FakeClock()
    # Both meters state limits of ± 5 %, and nothing about where between them a device lies.
    factor = 1 + (rng.uniform(-GAIN_LIMIT, GAIN_LIMIT) if gain else 0.0)
    meter = make(rng, curve, clock, seconds + 2 * WARM_S, factor, folder)
    with MeterSession(meter, clock) as session:
        stated = next(c for c in meter.components() if c.name == "calibration")
        if not stated.rectangular or abs(stated.standard * 3**0.5 - GAIN_LIMIT) > 1e-9:
            raise SystemExit(f"the simulation draws ± {GAIN_LIMIT:.0%} all alike, the meter states {stated}")
        clock.sleep(WARM_S * rng.uniform(0.7, 1.0))
        window = session.window(align=align)
        with window:
            begin_s = clock.monotonic_s()
            clock.sleep(seconds)
        end_s = clock.monotonic_s()
    return Trial(window.reading, curve.joules_at(end_s) - curve.joules_at(begin_s))


def share(holds: list[bool]) -> float:
    return 100 * sum(holds) / len(holds)


def quantile(errors: list[float], part: float) -> float:
    """In per cent."""
    return 100 * sorted(errors)[min(len(errors) - 1, int(part * len(errors)))]


def within(case: str, trials: list[Trial], *, calibration: bool) -> Row:
    held = share([t.held(calibration) for t in trials])
    what = "the stated interval" if calibration else "what the window adds"
    return Row(f"{case}: truth within {what}", held, "%", 95.0, "93..97", 93 <= held <= 97)


def errors(case: str, trials: list[Trial], note: str = "") -> list[Row]:
    found = [t.error for t in trials]
    return [
        Row(f"{case}: error of {name} windows", quantile(found, part), "%", note=note)
        for name, part in (("half of the", 0.5), ("95 % of the", 0.95))
    ]


def accuracy(case: str, make: Make, seeds: range, folder: Path, draw: Draw = made_curve) -> list[Row]:
    """A counter, in windows as they are by default."""
    exact = [tried(make, seed, folder, gain=False, draw=draw) for seed in seeds]
    drawn = [tried(make, seed + len(seeds), folder, gain=True, draw=draw) for seed in seeds]
    worst = 100 * max(t.error for t in exact)
    usable = share([t.reading.status == "completed" for t in exact])
    return [
        *errors(case, exact),
        Row(f"{case}: largest error", worst, "%", goal="<= 0.5", holds=worst <= 0.5),
        within(case, exact, calibration=False),
        within(case, drawn, calibration=True),
        Row(f"{case}: windows called usable", usable, "%", goal="100", holds=usable == 100),
    ]


def without_waiting(case: str, make: Make, seeds: range, folder: Path, draw: Draw = made_curve) -> list[Row]:
    found = [tried(make, seed, folder, align=False, gain=False, draw=draw) for seed in seeds]
    return [*errors(case, found, "what aligning is for"), within(case, found, calibration=False)]


def sensor(
    case: str, make: Make, seeds: range, folder: Path, draw: Draw = made_curve, goal: str = "93..97"
) -> list[Row]:
    """Power alone, integrated over windows of 5 s and more."""
    found = [tried(make, seed, folder, gain=False, shortest_s=5.0, draw=draw) for seed in seeds]
    row = within(case, found, calibration=False)
    if goal != "93..97":
        held = row.value is not None and row.value >= 93
        row = replace(row, goal=goal or None, holds=held if goal else None)
    return [*errors(case, found), row]


Spoil = Callable[[Processor | Boards, random.Random, float], None]


def never_believed(case: str, spoil: Spoil, seeds: range, folder: Path, *, board: bool = False) -> Row:
    """Share of windows with a spoiled counter that are nevertheless called usable."""
    believed = []
    for seed in seeds:
        rng = random.Random(seed)
        clock, seconds = FakeClock(), rng.uniform(3.0, 10.0)
        curve = made_curve(rng, seconds + 2, 300.0)
        if board:
            moments = Refreshing(rng, rng.uniform(0.02, 0.1), 0.05, seconds + 3)
            boards = Boards(curve, moments, clock, 1.0, True, 1.0, 0.0, "NVIDIA L40S")
            spoil(boards, rng, seconds)
            meter: Meter = NvmlMeter(nvml=boards, now=clock.monotonic_s)
        else:
            made = Processor(folder, curve, Refreshing(rng, 1e-3, 0.05, seconds + 3), clock, 1.0)
            spoil(made, rng, seconds)
            meter = made.meter()
        with MeterSession(meter, clock) as session:
            clock.sleep(0.5)
            with session.window() as window:
                begin_s = clock.monotonic_s()
                clock.sleep(seconds)
            truth_j = curve.joules_at(clock.monotonic_s()) - curve.joules_at(begin_s)
        low = window.reading.total.value.joules <= 1.005 * truth_j
        believed.append(window.reading.status == "completed" or not low)
    wrong = share(believed)
    return Row(f"{case}: called usable, or above the truth", wrong, "%", goal="0", holds=wrong == 0)


def reset(made: Processor | Boards, rng: random.Random, seconds: float) -> None:
    made.reset_at_s = 0.5 + seconds * rng.uniform(0.1, 0.9)


def stall(made: Processor | Boards, rng: random.Random, seconds: float) -> None:
    """Stands still from some moment between before the window and 1.5 s before its end."""
    made.frozen_from_s = rng.uniform(0.3, 0.5 + seconds - 1.5)


FAMILIES: dict[str, Draw] = {
    "": made_curve,
    ", held out: training": training_curve,
    ", held out: wandering": wandering_curve,
}


def main(arguments: list[str]) -> int:
    def given(name: str, default: int) -> int:
        return int(arguments[arguments.index(name) + 1]) if name in arguments else default

    trials, first = given("--trials", TRIALS), given("--seed", 0) * 1_000_000
    seeds = range(first, first + trials)
    few = range(first, first + max(50, trials // 4))
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for family, draw in FAMILIES.items():
            rows += accuracy(f"rapl{family}", rapl, seeds, root, draw)
            rows += accuracy(f"nvml counter{family}", nvml(period_s=None, stalls=0.2), seeds, root, draw)
            rows += without_waiting(f"nvml counter, 100 ms, align=False{family}", nvml(), seeds, root, draw)
            part_time = nvml(counter=False, sees=0.25, name="NVIDIA H100 80GB HBM3")
            goal = ">= 93" if family else "93..97"
            rows += sensor(f"nvml power, 25 % of the time{family}", part_time, seeds, root, draw, goal)
            late = nvml(False, 0.1, 0.25, 0.05, "NVIDIA A100")
            rows += sensor(f"nvml power, 25 %, 50 ms late{family}", late, seeds, root, draw, goal)
            rows += sensor(f"nvml power, whole period{family}", nvml(counter=False), few, root, draw, ">= 93")
        rows += sensor("nvml power, 25 %, in step with the draw", part_time, few, root, in_step_curve, "")
        for device, board in (("rapl", False), ("nvml", True)):
            rows.append(never_believed(f"{device}: a reset", reset, few, root, board=board))
            rows.append(never_believed(f"{device}: a stalled counter", stall, few, root, board=board))
    return finish("meter_accuracy", rows)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
