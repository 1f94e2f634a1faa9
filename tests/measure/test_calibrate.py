"""Calibrating: a machine of known power, a sensor that lags, holds and errs, and what comes out of the fit."""

from __future__ import annotations

import itertools
import json
import math
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from outweigh.core.errors import ConfigError, MeterUnavailable, OutputError, UnusableMeasurement, UsageError
from outweigh.core.measurement import Grade, Method, Scope, UncertaintyComponent
from outweigh.data.calibration import (
    STRAIGHTNESS,
    ProcessorKey,
    calibration_path,
    find_calibration,
    keep_calibration,
    kept_calibrations,
    processor_key,
)
from outweigh.data.cpu_power import IDLE_INTERCEPT, POWER_CURVE
from outweigh.measure import FakeClock
from outweigh.measure.calibrate import (
    LEVELS,
    calibrate,
    calibration_state,
    plan_staircase,
    reference_meter,
)
from outweigh.measure.fitting import fit_line, newey_west_variance, student_t
from outweigh.measure.load import BusyChildren
from outweigh.ports import Channel, ChannelKind, Sample

KEY = ProcessorKey("Made cpu family 1 model 2 stepping 3", 8, "0x1")


class MadeMachine:
    """A machine under a clock of its own, and a sensor on it.

    Args:
        curve: watts as a function of busy threads.
        lag_s, update_s: the sensor shows what was `lag_s` ago, and a new value every `update_s`.
        noise_w: scatter of the sensor, alike from one refresh to the next by `alike` (a first-order autoregression).
        others: threads that other programs keep busy, on average.
    """

    name = "made"
    grade = Grade.B
    method = Method.COUNTER
    source = "made"
    factors = ()

    def __init__(
        self,
        curve=lambda busy: 40.0 + 9.0 * busy,
        *,
        threads=8,
        lag_s=0.6,
        update_s=0.25,
        noise_w=0.8,
        alike=0.7,
        others=0.05,
        kind=ChannelKind.POWER,
        seed=0,
        wrap_j=None,
        scope=Scope.PACKAGE,
        gain=1.0,
    ):
        self.clock = FakeClock()
        self.threads, self._curve, self._others = threads, curve, others
        self._lag_s, self._update_s, self._gain, self._kind = lag_s, update_s, gain, kind
        self._noise_w, self._alike = noise_w, alike
        self._chance = random.Random(seed)
        self._changes = [(0.0, 0.0)]  # (from when, level)
        self._busy_s = self._own_s = self._until_s = 0.0
        self._shown_s = self._error_w = self._energy_j = self._power_w = 0.0
        self._wrap_j, self._scope = wrap_j, scope
        self.fault_at_s = math.inf
        self.closed = False

    # the bench
    def drive(self, busy_threads):
        self._account()
        self._changes.append((self.clock.monotonic_s(), busy_threads))

    def machine_s(self):
        self._account()
        return self._busy_s

    def own_s(self):
        return self._own_s

    def _account(self):
        now_s = self.clock.monotonic_s()
        dt_s, self._until_s = now_s - self._until_s, now_s
        level = self._changes[-1][1]
        self._own_s += level * dt_s
        self._busy_s += min(self.threads, level + self._others) * dt_s

    # the sensor
    @property
    def channels(self):
        most_w = 10 * self._gain * self._curve(self.threads)
        return (Channel("made", "made", self._scope, self._kind, self._wrap_j, update_s=0.1, max_power_w=most_w),)

    def open(self):
        self._shown_s = self.clock.monotonic_s()

    def read(self):
        now_s = self.clock.monotonic_s()
        if now_s >= self.fault_at_s:
            return self.fault(now_s)
        while self._shown_s + self._update_s <= now_s + 1e-9:
            start_s = self._shown_s - self._lag_s
            self._shown_s += self._update_s
            fresh = self._chance.gauss(0, self._noise_w * math.sqrt(1 - self._alike**2))
            self._error_w = self._alike * self._error_w + fresh
            mean_w = self._mean_w(start_s, start_s + self._update_s)
            self._power_w = self._gain * (mean_w + self._error_w)
            self._energy_j += self._power_w * self._update_s
        value = self._power_w if self._kind is ChannelKind.POWER else self._energy_j
        return Sample(now_s, (value % self._wrap_j if self._wrap_j else value,))

    def _mean_w(self, start_s, end_s):
        total, spans = 0.0, [*self._changes, (math.inf, 0.0)]
        for (from_s, level), (to_s, _) in itertools.pairwise(spans):
            held_s = min(end_s, to_s) - max(start_s, from_s if from_s > 0 else -math.inf)
            if held_s > 0:
                total += held_s * self._curve(min(self.threads, level + self._others))
        return total / (end_s - start_s)

    def components(self):
        return (UncertaintyComponent("calibration", 0.01, "made"),)

    def close(self):
        self.closed = True

    def calibration(self, **options):
        options = {"seconds": 60.0, **options}
        return calibrate(self, self, KEY, clock=self.clock, **options)


# The mean delay is the lag, half the update interval for a mean over it, and as much again while a value is held.
@pytest.mark.parametrize(("kind", "late_s"), [(ChannelKind.POWER, 0.25), (ChannelKind.ENERGY, 0.125)])
def test_idle_slope_and_lag_come_back_within_what_is_stated_of_them(kind, late_s):
    held = {"idle": 0, "slope": 0, "lag": 0}
    for seed in range(100):
        lag_s = 0.1 + 0.01 * seed
        found = MadeMachine(kind=kind, seed=seed, lag_s=lag_s).calibration(seed=seed)
        held["idle"] += abs(found.idle_w - 40.0) <= 2 * found.idle_standard_w
        held["slope"] += abs(found.per_thread_w - 9.0) <= 2 * found.per_thread_standard_w
        held["lag"] += abs(found.lag_s - lag_s - late_s) <= 0.25
    assert min(held["idle"], held["slope"]) >= 90, held
    assert held["lag"] >= 95, held


def test_a_curve_that_bends_is_told_and_the_interval_holds_every_slope_of_it():
    straight, bent = MadeMachine(), MadeMachine(lambda busy: 40.0 + 9.0 * busy - 0.3 * busy**2)
    assert straight.calibration().straight
    found = bent.calibration()
    assert not found.straight
    assert found.curvature_w == pytest.approx(-0.3, abs=2 * found.curvature_standard_w)
    half_w = 2 * math.hypot(found.per_thread_standard_w, found.bend_w_per_thread)
    for slope_w in (9.0, 9.0 - 2 * 0.3 * 8):  # beside idle, and beside full load
        assert abs(slope_w - found.per_thread_w) <= half_w
    assert abs(found.idle_w - 40.0) <= 2 * math.hypot(found.idle_standard_w, found.bend_idle_w)
    assert STRAIGHTNESS in {component.name for component in found.components()}


@settings(max_examples=12, deadline=None)
@given(gain=st.floats(0.01, 100), seed=st.integers(0, 99))
def test_scaling_what_the_reference_shows_scales_the_fit_and_nothing_else(gain, seed):
    plain = MadeMachine(seed=seed).calibration(seconds=30.0)
    scaled = MadeMachine(seed=seed, gain=gain).calibration(seconds=30.0)
    for name in ("idle_w", "idle_standard_w", "per_thread_w", "per_thread_standard_w", "curvature_w", "residual_sd_w"):
        assert getattr(scaled, name) == pytest.approx(gain * getattr(plain, name), rel=1e-6)
    assert scaled.lag_s == pytest.approx(plain.lag_s, abs=1e-6)
    assert (scaled.straight, scaled.steps) == (plain.straight, plain.steps)


def test_a_counter_that_wraps_gives_the_same_curve():
    plain = MadeMachine(kind=ChannelKind.ENERGY).calibration()
    wrapping = MadeMachine(kind=ChannelKind.ENERGY, wrap_j=500.0).calibration()
    assert wrapping.per_thread_w == pytest.approx(plain.per_thread_w)


def test_the_order_of_the_steps_is_drawn_anew_each_round_and_repeats_with_the_seed():
    plan = plan_staircase(0.1, 60.0, seed=3)
    rounds = [plan.levels[start : start + 5] for start in range(0, len(plan.levels), 5)]
    assert all(sorted(each) == list(LEVELS) for each in rounds)
    assert len(set(rounds)) > 1
    assert plan == plan_staircase(0.1, 60.0, seed=3)
    assert plan != plan_staircase(0.1, 60.0, seed=4)
    assert plan_staircase(2.0, None, seed=1).step_s >= 12.0  # a slow reference takes longer by itself


@pytest.mark.parametrize("seconds", [1.0, math.nan, -5.0, math.inf])
def test_a_time_that_is_too_short_is_refused_with_the_time_it_needs(seconds):
    with pytest.raises(UsageError, match="--seconds 15"):
        plan_staircase(0.1, seconds, seed=1)


def _lower(made, now_s):
    made.fault_at_s = math.inf
    made._energy_j = 0.0
    return made.read()


def _silent(made, now_s):
    return Sample(now_s, (None,))


def _asleep(made, now_s):
    made.fault_at_s = math.inf
    made.clock.suspend(60.0)
    return made.read()


@pytest.mark.parametrize(
    ("fault", "told"), [(_lower, "counter fell"), (_silent, "did not answer"), (_asleep, "the machine slept")]
)
def test_a_reference_that_fails_on_the_way_ends_it_and_leaves_the_machine_idle(fault, told):
    made = MadeMachine(kind=ChannelKind.ENERGY)
    made.fault_at_s, made.fault = 20.0, lambda now_s: fault(made, now_s)
    if fault is _silent:
        # A silence at the end leaves no gap between two readings: let it speak once more.
        made.fault = lambda now_s: _silent(made, now_s) if now_s < 40.0 else _lower_never(made)
    with pytest.raises(UnusableMeasurement, match=told):
        made.calibration()
    assert made._changes[-1][1] == 0.0
    assert made.closed


def _lower_never(made):
    made.fault_at_s = math.inf
    return made.read()


@pytest.mark.parametrize(
    ("made", "told"),
    [
        (MadeMachine(lambda busy: 40.0), "power does not rise|may be nothing"),
        (MadeMachine(lambda busy: 40.0 - busy), "power does not rise|may be nothing"),
        (MadeMachine(lambda busy: 40.0, noise_w=0.0), "did not change"),
        (MadeMachine(others=8.0), "other programs or a quota|power does not rise"),
        (MadeMachine(lag_s=9.0), "lags the load|power does not rise|may be nothing"),
    ],
    ids=["blind", "upside-down", "stuck", "crowded", "late"],
)
def test_power_that_does_not_follow_the_load_makes_no_calibration(made, told):
    with pytest.raises(UnusableMeasurement, match=told):
        made.calibration(seconds=40.0)


def test_a_meter_that_sees_no_processor_or_is_a_model_itself_is_no_reference():
    with pytest.raises(MeterUnavailable, match="sees gpu"):
        MadeMachine(scope=Scope.GPU).calibration()
    model = MadeMachine()
    model.grade = Grade.C
    with pytest.raises(MeterUnavailable, match="grade C"):
        model.calibration()
    with pytest.raises(MeterUnavailable, match="the least that was asked for"):
        reference_meter("cpu-model")


# --- the arithmetic ---------------------------------------------------------------------------------


def test_the_line_is_that_of_least_squares_and_its_errors_those_of_newey_and_west():
    chance = np.random.default_rng(5)
    x = np.tile(np.arange(5.0), 6)
    y = 20 + 3 * x + chance.normal(size=30)
    fit = fit_line(list(x), list(y))
    slope, intercept = np.polyfit(x, y, 1)
    assert (fit.slope, fit.intercept) == pytest.approx((slope, intercept))
    assert fit.curvature == pytest.approx(np.polyfit(x, y, 2)[0])
    # (X'X)^-1 S (X'X)^-1 with Bartlett weights, Newey and West 1987, eq. 5.
    design = np.column_stack([np.ones(30), x])
    residuals, bread, lags = y - design @ [intercept, slope], np.linalg.inv(design.T @ design), 3
    scores = design * residuals[:, None]
    middle = scores.T @ scores
    for lag in range(1, lags + 1):
        gamma = scores[lag:].T @ scores[:-lag]
        middle += (1 - lag / (lags + 1)) * (gamma + gamma.T)
    covariance = bread @ middle @ bread
    weights = (x - x.mean()) / ((x - x.mean()) ** 2).sum()
    assert newey_west_variance(list(weights), list(residuals), lags) == pytest.approx(covariance[1, 1])


@pytest.mark.parametrize("freedom", [4, 8, 18, 28, 100])
def test_students_t_is_that_of_scipy(freedom):
    from scipy import stats

    assert student_t(freedom) == pytest.approx(stats.t.ppf(0.975, freedom), abs=0.002)


@pytest.mark.parametrize(("x", "y"), [([1.0] * 8, [1.0] * 8), ([1.0, 2.0], [1.0, 2.0]), ([1.0] * 8, [1.0])])
def test_a_line_needs_points_and_a_load_that_varies(x, y):
    with pytest.raises(ValueError):
        fit_line(x, y)


# --- the kept file ----------------------------------------------------------------------------------


@pytest.fixture
def cpuinfo(tmp_path):
    path = tmp_path / "cpuinfo"
    head = "vendor_id\t: GenuineIntel\ncpu family\t: 6\nmodel\t\t: 143\nmodel name\t: A Xeon\nstepping\t: 8\n"
    path.write_text("\n".join(f"processor\t: {n}\n{head}microcode\t: 0x2b\n" for n in range(4)))
    return path


@pytest.fixture
def calibration(cpuinfo):
    made = MadeMachine(threads=4)
    found = made.calibration(seconds=30.0, note="22 °C")
    return replace(found, key=processor_key(cpuinfo), at=datetime.now(UTC).isoformat())


def test_what_is_kept_comes_back_whole_and_names_no_host(tmp_path, calibration):
    path = tmp_path / "made" / "calibration.json"
    keep_calibration(calibration, path)
    assert kept_calibrations(path) == (calibration,)
    assert os.uname().nodename not in path.read_text() or len(os.uname().nodename) < 4
    assert [file.name for file in path.parent.iterdir()] == ["calibration.json"]


def test_a_new_calibration_takes_the_place_of_the_same_processors_and_leaves_others(tmp_path, calibration):
    path = tmp_path / "calibration.json"
    other = replace(calibration, key=KEY)
    for one in (other, calibration, replace(calibration, idle_w=1.0)):
        keep_calibration(one, path)
    assert [(one.key, one.idle_w) for one in kept_calibrations(path)] == [
        (KEY, other.idle_w),
        (calibration.key, 1.0),
    ]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        '{"schema": 1}',
        '{"schema": 99, "calibrations": []}',
        '{"schema": 1, "calibrations": [{}]}',
        "\x00",
    ],
)
def test_a_broken_file_is_a_typed_error_a_reason_and_never_overwritten(tmp_path, calibration, cpuinfo, text):
    path = tmp_path / "calibration.json"
    path.write_text(text)
    with pytest.raises(ConfigError, match="calibration"):
        kept_calibrations(path)
    with pytest.raises(ConfigError):
        keep_calibration(calibration, path)
    assert path.read_text() == text
    found = find_calibration(cpuinfo, datetime.now(UTC), path)
    assert found.calibration is None
    assert "not used" in found.reason


@pytest.mark.parametrize(
    ("field", "value"),
    [("idle_w", "5"), ("per_thread_w", -1.0), ("steps", True), ("at", "yesterday"), ("at", "2026-01-01")],
)
def test_a_row_with_a_value_that_cannot_be_is_refused(tmp_path, calibration, field, value):
    path = keep_calibration(calibration, tmp_path / "calibration.json")
    body = json.loads(path.read_text())
    body["calibrations"][0][field] = value
    path.write_text(json.dumps(body))
    with pytest.raises(ConfigError):
        kept_calibrations(path)


def test_a_folder_that_cannot_be_written_is_a_typed_error(tmp_path, calibration):
    (tmp_path / "file").write_text("")
    with pytest.raises((OutputError, ConfigError)):
        keep_calibration(calibration, tmp_path / "file" / "calibration.json")


def test_the_file_is_where_the_user_says_or_in_the_configuration_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("OUTWEIGH_CALIBRATION", str(tmp_path / "mine.json"))
    assert calibration_path() == tmp_path / "mine.json"
    monkeypatch.delenv("OUTWEIGH_CALIBRATION")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert calibration_path() == tmp_path / "outweigh" / "calibration.json"
    monkeypatch.setenv("XDG_CONFIG_HOME", "relative")  # "must be absolute ... should consider the path invalid"
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert calibration_path() == tmp_path / "home" / ".config" / "outweigh" / "calibration.json"


def test_cpu_model_goes_by_a_calibration_of_this_processor(tmp_path, calibration, cpuinfo):
    from outweigh.backends.meters.cpu_model import CpuModelMeter

    path = keep_calibration(calibration, tmp_path / "calibration.json")
    meter = CpuModelMeter(cpuinfo=cpuinfo, threads=2, calibration=path)
    assert f"calibrated against made (package) on {calibration.at[:10]}" in meter.source
    assert meter.grade is Grade.C
    assert meter.channels[0].hum_w == pytest.approx(calibration.idle_w / 4 * 2)
    assert meter.factors[1].value - meter.factors[0].value == pytest.approx(calibration.per_thread_w)
    assert all("calibrated against made" in factor.source for factor in meter.factors)
    components = {component.name: component.standard for component in meter.components()}
    assert components[POWER_CURVE] == pytest.approx(calibration.per_thread_standard_w / calibration.per_thread_w)
    assert components[IDLE_INTERCEPT] >= 0.01  # at least what the reference says of itself
    assert components["reference meter"] == pytest.approx(0.01)
    assert components["instruction mix"] == 0.12


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"at": (datetime.now(UTC) - timedelta(days=400)).isoformat()}, "400 days old, and 365 is the most"),
        ({"at": (datetime.now(UTC) + timedelta(days=30)).isoformat()}, "yet to come"),
        ({"key": KEY}, "of another machine"),
        ({"key": ProcessorKey("GenuineIntel cpu family 6 model 143 stepping 8 (A Xeon)", 4, "0x1")}, "'0x1' then"),
    ],
    ids=["old", "future", "other", "microcode"],
)
def test_a_calibration_that_does_not_hold_is_not_used_and_says_why(tmp_path, calibration, cpuinfo, change, why):
    from outweigh.backends.meters.cpu_model import CpuModelMeter

    path = keep_calibration(replace(calibration, **change), tmp_path / "calibration.json")
    meter = CpuModelMeter(cpuinfo=cpuinfo, calibration=path)
    assert "calibrated" not in meter.source
    assert any(why in note for note in meter.notes)
    state, one = calibration_state(datetime.now(UTC), path, cpuinfo)
    assert one is None
    assert why in state.reason


def test_the_doctor_shows_the_calibration_in_use_and_where_none_is(tmp_path, calibration, cpuinfo):
    path = keep_calibration(calibration, tmp_path / "calibration.json")
    state, one = calibration_state(datetime.now(UTC), path, cpuinfo)
    assert state.usable
    assert "calibrated against made" in state.sees
    assert one == calibration
    state, one = calibration_state(datetime.now(UTC), tmp_path / "none", cpuinfo)
    assert not state.usable
    assert "never calibrated" in state.reason
    assert "--calibrate" in state.remedy


def test_the_command_line_says_what_would_do_and_shows_the_state():
    outweigh = [sys.executable, "-m", "outweigh", "doctor"]
    lines = subprocess.run([*outweigh, "--json"], capture_output=True, text=True, check=True).stdout.splitlines()
    assert [json.loads(line)["name"] for line in lines if json.loads(line)["kind"] == "calibration"] == ["cpu-model"]
    done = subprocess.run(
        [*outweigh, "--calibrate", "--against", "cpu-model"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 3
    assert "grade B is the least" in done.stderr
    assert done.stdout == ""


# --- the load, for real -----------------------------------------------------------------------------

linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the machine's CPU time is read from /proc")


@linux
def test_the_cpu_seconds_of_the_children_follow_the_staircase():
    with BusyChildren(threads=2) as load:
        time.sleep(0.3)  # the interpreters start
        spent = []
        for level in (0.0, 0.5, 2.0, 0.0):
            load.drive(level)
            time.sleep(0.05)  # a child looks up once a period
            own_s, machine_s, start_s = load.own_s(), load.machine_s(), time.monotonic()
            time.sleep(0.6)
            took_s = time.monotonic() - start_s
            spent.append((load.own_s() - own_s) / took_s)
            assert load.machine_s() - machine_s >= load.own_s() - own_s - 0.1
    # Other programs may take time from the children, never give them any; a tick is 10 ms.
    assert spent[0] <= 0.05
    assert spent[3] <= 0.05
    assert 0.1 <= spent[1] <= 0.6
    assert spent[1] < spent[2] <= 2.1
    assert load.pids == ()


_PARENT = """
import sys, time
from outweigh.measure.load import BusyChildren
with BusyChildren(threads=2) as load:
    load.drive(2.0)
    print(*load.pids, flush=True)
    time.sleep(60)
"""


@linux
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_no_child_outlives_its_parent_however_that_ends(how):
    parent = subprocess.Popen([sys.executable, "-c", _PARENT], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    pids = [int(pid) for pid in parent.stdout.readline().split()]
    parent.send_signal(how)
    parent.wait(timeout=10)
    parent.stdout.close()
    end_s = time.monotonic() + 10
    while any(_runs(pid) for pid in pids) and time.monotonic() < end_s:
        time.sleep(0.02)
    assert len(pids) == 2
    assert not any(_runs(pid) for pid in pids)


def _runs(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


@linux
def test_a_machine_that_hides_what_it_does_is_told_before_anything_is_started(tmp_path):
    with (
        pytest.raises(MeterUnavailable, match="does not say what the machine does"),
        BusyChildren(stat=tmp_path / "no"),
    ):
        pass
