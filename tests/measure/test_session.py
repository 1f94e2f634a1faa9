"""Sessions and windows: the hum, the split, and everything that can go wrong in the middle."""

from __future__ import annotations

import itertools
import os
import threading
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from outweigh.backends.meters.replay import ReplayMeter
from outweigh.core.errors import MeterUnavailable, OverlappingScopes, UnusableMeasurement, UsageError
from outweigh.core.measurement import Grade, Scope, UncertaintyComponent
from outweigh.measure import FakeClock, MeterSession
from outweigh.ports import Channel, ChannelKind, Sample


def playing(trace, clock, **options):
    return ReplayMeter(trace, now=clock.monotonic_s, **options)


def test_the_hum_before_the_work_is_kept_and_the_rest_is_work():
    clock = FakeClock()
    meter = playing([(0.0, 40.0), (5.0, 40.0), (5.0, 100.0)], clock)
    with MeterSession(meter, clock) as session:
        hum = session.hum(5.0)
        with session.window() as window:
            clock.sleep(10.0)
    reading = window.reading
    assert hum.observed
    assert hum.power.watts == pytest.approx(40.0)
    assert reading.total.value.joules == pytest.approx(1_000.0)
    assert reading.hum.value.joules == pytest.approx(400.0)
    assert reading.work.value.joules == pytest.approx(600.0)


def test_an_unknown_hum_stays_unknown():
    clock = FakeClock()
    with MeterSession(playing([(0.0, 50.0)], clock), clock) as session, session.window() as window:
        clock.sleep(1.0)
    assert window.reading.hum is None
    assert window.reading.work is None
    assert window.reading.total.value.joules == pytest.approx(50.0)


@settings(max_examples=30, deadline=None)
@given(
    powers_w=st.lists(st.floats(1, 500), min_size=2, max_size=10),
    hum_w=st.floats(0.5, 100),
    kind=st.sampled_from(list(ChannelKind)),
)
def test_hum_and_work_always_add_up_to_the_total(powers_w, hum_w, kind):
    clock = FakeClock()
    trace = [(0.0, hum_w), (2.0, hum_w), *((2.0 + i, p) for i, p in enumerate(powers_w))]
    with MeterSession(playing(trace, clock, kind=kind), clock) as session:
        session.hum(2.0)
        with session.window() as window:
            clock.sleep(len(powers_w))
    reading = window.reading
    assert reading.hum.value.joules + reading.work.value.joules == pytest.approx(reading.total.value.joules)
    assert reading.total.bounds_j.contains(reading.total.value.joules)


def test_a_noisy_idle_draw_puts_its_scatter_on_hum_and_work():
    clock = FakeClock()
    noisy = [(i * 0.1, 50.0 + (10.0 if i % 20 < 10 else -10.0)) for i in range(200)]
    with MeterSession(playing(noisy, clock), clock) as session:
        hum = session.hum(9.5)
        with session.window() as window:
            clock.sleep(5.0)
    assert hum.standard_w > 0
    for part in (window.reading.hum, window.reading.work):
        idle = next(c for c in part.components if c.name == "idle power")
        assert idle.standard == pytest.approx(hum.standard_w * 5.0)


def test_a_sampled_sensor_gives_the_same_energy_as_its_counter():
    energies = []
    for kind in ChannelKind:
        clock = FakeClock()
        trace = [(0.0, 20.0), (3.0, 200.0), (6.0, 80.0), (10.0, 80.0)]
        with MeterSession(playing(trace, clock, kind=kind), clock) as session, session.window() as window:
            clock.sleep(10.0)
        energies.append(window.reading.total.value.joules)
    assert energies[0] == pytest.approx(energies[1], rel=5e-3)


def test_several_wraps_in_one_window_are_all_counted_by_the_heartbeat():
    clock = FakeClock()
    meter = playing([(0.0, 90.0)], clock, wrap_j=1_000.0, max_power_w=100.0)
    with MeterSession(meter, clock, sample_hz=0) as session, session.window() as window:
        clock.sleep(120.0)
    assert window.reading.total.value.joules == pytest.approx(10_800.0)
    assert window.reading.status == "completed"


def test_a_starved_heartbeat_makes_the_window_unusable_and_not_wrong():
    clock = FakeClock()
    meter = playing([(0.0, 90.0)], clock, wrap_j=1_000.0, max_power_w=100.0)
    with MeterSession(meter, clock) as session, session.window() as window:
        clock.sleep(1.0)
        clock.stall(60.0)
        clock.sleep(1.0)
    assert window.reading.status == "unusable"
    assert window.reading.total.grade is Grade.D
    assert any("gone round" in note for note in window.reading.notes)


def test_a_suspended_machine_makes_the_window_unusable():
    clock = FakeClock()
    with MeterSession(playing([(0.0, 50.0)], clock), clock) as session, session.window() as window:
        clock.sleep(1.0)
        clock.suspend(3_600.0)
        clock.sleep(1.0)
    reading = window.reading
    assert reading.status == "unusable"
    assert any("slept for 3.6e+03 s" in note for note in reading.notes)


def test_a_clock_set_by_an_hour_does_not_stretch_the_run():
    clock = FakeClock()
    with MeterSession(playing([(0.0, 50.0)], clock), clock) as session, session.window() as window:
        clock.sleep(1.0)
        clock.step_utc(3_600.0)
        clock.sleep(1.0)
    reading = window.reading
    assert reading.status == "completed"
    assert reading.total.interval.seconds == pytest.approx(2.0)
    assert any("+3.6e+03 s" in note for note in reading.notes)


def test_a_meter_that_vanishes_in_the_middle_leaves_what_was_seen():
    clock = FakeClock()
    with MeterSession(playing([(0.0, 50.0)], clock, vanish_at_s=2.0), clock) as session:
        with session.window() as window:
            clock.sleep(4.0)
        with pytest.raises(MeterUnavailable), session.window():
            pass
    assert window.reading.status == "unusable"
    assert window.reading.total.value.joules == pytest.approx(95.0, abs=1.0)
    assert any("stopped answering" in note for note in window.reading.notes)


def test_an_idle_draw_that_cannot_be_measured_stops_before_the_work():
    clock = FakeClock()
    meter = playing([(0.0, 50.0)], clock, reset_at_s=(1.0,))
    with MeterSession(meter, clock) as session, pytest.raises(UnusableMeasurement) as caught:
        session.hum(2.0)
    assert caught.value.exit_code == 3


def test_windows_nest_and_overlap():
    clock = FakeClock()
    with MeterSession(playing([(0.0, 10.0)], clock), clock) as session, session.window() as outer:
        clock.sleep(1.0)
        with session.window() as inner:
            clock.sleep(2.0)
        clock.sleep(1.0)
    assert outer.reading.total.value.joules == pytest.approx(40.0)
    assert inner.reading.total.value.joules == pytest.approx(20.0)


def test_an_open_window_tells_what_it_has_drawn_so_far_and_goes_on():
    clock = FakeClock()
    with MeterSession(playing([(0.0, 40.0), (5.0, 40.0), (5.0, 100.0)], clock), clock) as session:
        session.hum(5.0)
        window = session.window()
        with pytest.raises(UsageError):
            window.so_far()
        with window:
            clock.sleep(2.0)
            early = window.so_far()
            clock.sleep(3.0)
            late = window.so_far()
            clock.sleep(5.0)
    assert early.total.value.joules == pytest.approx(200.0)
    assert early.hum.value.joules == pytest.approx(80.0)
    assert late.total.value.joules == pytest.approx(500.0)
    assert window.reading.total.value.joules == pytest.approx(1_000.0)
    assert window.so_far() is window.reading


def test_a_look_from_the_side_neither_waits_for_a_refresh_nor_for_the_device():
    clock, waited = FakeClock(), []
    meter = playing([(0.0, 50.0)], clock, update_s=0.1)
    with (
        MeterSession(meter, clock, synchronise=lambda: waited.append(clock.monotonic_s())) as session,
        session.window(align=True) as window,
    ):
        clock.sleep(2.0)
        before_s, synchronised = clock.monotonic_s(), len(waited)
        window.so_far()
        assert clock.monotonic_s() == before_s
        assert len(waited) == synchronised


def test_a_look_at_a_meter_that_is_gone_gives_what_was_seen():
    clock = FakeClock()
    with MeterSession(playing([(0.0, 50.0)], clock, vanish_at_s=2.0), clock) as session, session.window() as window:
        clock.sleep(4.0)
        seen = window.so_far()
    assert seen.status == "unusable"
    assert seen.total.value.joules == pytest.approx(95.0, abs=1.0)


def test_a_calibration_error_is_one_gain_over_hum_and_work():
    clock = FakeClock()
    gain = UncertaintyComponent("calibration", 0.03, "made")
    meter = playing([(0.0, 40.0), (5.0, 40.0), (5.0, 100.0)], clock, components=(gain,))
    with MeterSession(meter, clock) as session:
        session.hum(5.0)
        with session.window() as window:
            clock.sleep(10.0)
    by_part = {
        name: next(c.standard for c in getattr(window.reading, name).components if c.name == "calibration")
        for name in ("total", "hum", "work")
    }
    assert by_part["total"] == pytest.approx(30.0)
    assert by_part["hum"] + by_part["work"] == pytest.approx(by_part["total"])


def test_a_long_trace_stays_short_and_keeps_its_energy():
    clock = FakeClock()
    with MeterSession(playing([(0.0, 20.0), (2_000.0, 220.0)], clock), clock) as session:
        clock.sleep(2_000.0)
        trace = session.trace()
    steps_s = [b[0] - a[0] for a, b in itertools.pairwise(trace)]
    energy_j = trace[0][0] * trace[0][1] + sum(dt * p for dt, (_, p) in zip(steps_s, trace[1:], strict=True))
    assert len(trace) <= 4_096
    assert energy_j == pytest.approx(240_000.0, rel=1e-3)
    assert trace[-1][1] > trace[0][1]


def test_a_reading_before_the_end_and_a_window_on_a_closed_session_are_refused():
    clock = FakeClock()
    session = MeterSession(playing([(0.0, 1.0)], clock), clock)
    with pytest.raises(UsageError):
        session.window()
    with session, session.window() as window, pytest.raises(UsageError):
        _ = window.reading


class _TwiceCounted:
    name, grade, method, source, factors = "twice", Grade.B, None, "made", ()
    closed = False
    channels = (
        Channel("psys", "psys", Scope.PSYS, ChannelKind.ENERGY),
        Channel("package-0", "package-0", Scope.PACKAGE, ChannelKind.ENERGY),
    )

    def open(self):
        pass

    def read(self):
        return Sample(0.0, (0.0, 0.0))

    def components(self):
        return ()

    def close(self):
        self.closed = True


def test_a_meter_that_counts_the_same_joules_twice_is_refused_and_closed():
    meter = _TwiceCounted()
    with pytest.raises(OverlappingScopes), MeterSession(meter):
        pass
    assert meter.closed


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_forked_child_cannot_use_the_session_and_does_not_disturb_it():
    with MeterSession(ReplayMeter([(0.0, 10.0)]), sample_hz=50) as session, session.window() as window:
        child = os.fork()
        if child == 0:
            code = 1
            try:
                window.so_far()
            except UsageError:
                code = 2
            try:
                session.window()
            except UsageError:
                session.__exit__(None, None, None)
                code -= 2
            finally:
                os._exit(code)
        _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert window.reading.status == "completed"


def test_windows_in_many_threads_agree_with_the_trace_that_was_played():
    readings = []
    with MeterSession(ReplayMeter([(0.0, 100.0)]), sample_hz=200) as session:

        def measure():
            for _ in range(20):
                with session.window() as window:
                    time.sleep(0.002)
                readings.append(window.reading)

        threads = [threading.Thread(target=measure) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(readings) == 80
    for reading in readings:
        assert reading.total.value.joules == pytest.approx(100.0 * reading.seconds, rel=1e-3, abs=1e-4)


def test_the_sampler_stops_with_the_session():
    with MeterSession(ReplayMeter([(0.0, 1.0)])):
        assert any(t.name == "outweigh-sampler" for t in threading.enumerate())
    assert not any(t.name == "outweigh-sampler" for t in threading.enumerate())
