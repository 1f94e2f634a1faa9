"""Pitfalls of measuring, one test each, that the other modules do not name."""

from __future__ import annotations

import math

import pytest

from outweigh.backends.meters.replay import ReplayMeter
from outweigh.core.errors import UsageError
from outweigh.measure import FakeClock, MeterSession
from outweigh.ports import ChannelKind


def playing(trace, clock, **options):
    return ReplayMeter(trace, now=clock.monotonic_s, **options)


class StaleMeter(ReplayMeter):
    """A counter that is refreshed every 100 ms and read in between."""

    def read(self):
        sample = super().read()
        stale_s = math.floor(sample.t_s / 0.1 + 1e-9) * 0.1
        return type(sample)(sample.t_s, (self.energy_j(stale_s - self._opened_s),))


def test_a_short_block_is_refused_with_the_repeats_that_would_do():
    clock = FakeClock()
    with MeterSession(playing([(0.0, 50.0)], clock, update_s=0.1), clock) as session, session.window() as window:
        clock.sleep(0.05)
    assert window.reading.status == "unusable"
    assert any("repeat the work 10 times or more" in note for note in window.reading.notes)


def test_a_sensor_that_looks_part_of_the_time_has_a_shortest_window_and_a_wider_interval():
    found = {}
    for share in (1.0, 0.25):
        clock = FakeClock()
        swinging = [(0.3 * i, 100.0 if i % 2 else 300.0) for i in range(80)]
        meter = playing(swinging, clock, kind=ChannelKind.POWER)
        meter.seen_share, meter.shortest_s = share, 5.0
        with MeterSession(meter, clock) as session:
            with session.window() as short:
                clock.sleep(3.0)
            with session.window() as long:
                clock.sleep(10.0)
        assert short.reading.status == "unusable"
        assert any("needs 5 s" in note for note in short.reading.notes)
        assert long.reading.status == "completed"
        found[share] = long.reading.total.standard_uncertainty.joules
    assert found[0.25] > 2 * found[1.0]


def test_work_handed_to_a_device_is_waited_for_at_both_edges():
    clock, waited = FakeClock(), []

    def synchronise():
        waited.append(clock.monotonic_s())
        clock.sleep(1.0)  # the queue drains

    session = MeterSession(playing([(0.0, 50.0)], clock), clock, synchronise=synchronise)
    with session, session.window() as window:
        clock.sleep(2.0)
    assert waited == [0.0, 3.0]
    assert window.reading.total.value.joules == pytest.approx(150.0)


def test_an_aligned_window_knows_a_slow_counter_fifty_times_better():
    stated, errors = {}, {}
    for align in (False, True):
        clock = FakeClock()
        meter = StaleMeter([(0.0, 200.0)], now=clock.monotonic_s, update_s=0.1)
        with MeterSession(meter, clock) as session:
            clock.sleep(1.033)
            window = session.window(align=align)
            with window:
                begin_s = clock.monotonic_s()
                clock.sleep(1.517)
            truth_j = 200.0 * (clock.monotonic_s() - begin_s)
        stated[align] = window.reading.total.standard_uncertainty.joules
        errors[align] = abs(window.reading.total.value.joules - truth_j)
    assert stated[True] < stated[False] / 40
    assert errors[True] <= 2 * stated[True] + 1e-9
    assert errors[False] <= 2 * stated[False]


@pytest.mark.parametrize(("update_s", "waits"), [(1e-3, False), (0.02, True), (0.1, True), (1.0, False)])
def test_unasked_a_window_waits_for_counters_of_boards_and_for_no_other(update_s, waits):
    clock = FakeClock()
    with MeterSession(playing([(0.0, 50.0)], clock, update_s=update_s), clock) as session:
        clock.sleep(1.0)
        begin_s = clock.monotonic_s()
        with session.window():
            assert (clock.monotonic_s() > begin_s) is waits
        end_s = clock.monotonic_s()
        with session.window(align=False):
            assert clock.monotonic_s() == end_s


def test_a_board_that_is_gone_when_a_window_ends_is_not_waited_for():
    clock = FakeClock()
    meter = playing([(0.0, 50.0)], clock, update_s=0.1, vanish_at_s=3.951)
    with MeterSession(meter, clock) as session, session.window() as window:
        clock.sleep(3.95 - clock.monotonic_s())
    assert clock.monotonic_s() < 4.0
    assert any("stopped answering" in note for note in window.reading.notes)


def test_a_counter_that_never_refreshes_does_not_hold_an_aligned_window_for_ever():
    clock = FakeClock()
    meter = playing([(0.0, 0.0)], clock, update_s=0.1)
    with MeterSession(meter, clock) as session, session.window(align=True):
        begin_s = clock.monotonic_s()
    assert begin_s <= 0.31


def test_the_idle_draw_is_heard_before_and_after_and_their_difference_is_doubt():
    clock = FakeClock()
    trace = [(0.0, 40.0), (5.0, 40.0), (5.0, 100.0), (15.0, 100.0), (15.0, 52.0)]
    with MeterSession(playing(trace, clock), clock) as session:
        session.hum(5.0)
        with session.window() as window:
            clock.sleep(10.0)
        with pytest.raises(UsageError):
            session.window().listen_after(1.0)
        before = window.reading.hum.value.joules
        hum = window.listen_after(5.0)
    assert before == pytest.approx(400.0)
    assert hum.power.watts == pytest.approx(46.0, rel=0.01)
    assert hum.standard_w == pytest.approx(12.0 / math.sqrt(12), rel=0.1)
    assert window.reading.hum.value.joules == pytest.approx(460.0, rel=0.01)
    assert any("before and after" in note for note in window.reading.notes)


def test_a_slow_meter_is_listened_to_for_as_long_as_a_window_needs():
    clock = FakeClock()
    with MeterSession(playing([(0.0, 40.0)], clock, update_s=2.0), clock) as session:
        hum = session.hum(3.0)
    assert hum.seconds == pytest.approx(10.0)


def test_falling_joules_of_a_counter_that_never_wraps_are_never_negative_energy():
    clock = FakeClock()
    falling = [(0.0, 500.0), (1.0, 550.0), (1.0, 540.0), (2.0, 590.0)]
    with MeterSession(playing(falling, clock, cumulative=True), clock) as session, session.window() as window:
        clock.sleep(2.0)
    assert window.reading.status == "unusable"
    assert 0 <= window.reading.total.value.joules <= 100.0


@pytest.mark.gpu
def test_the_counter_and_integrated_power_of_a_board_agree_within_their_intervals():
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("there is no NVIDIA board here")
    import time

    from outweigh.backends.meters.nvml import NvmlMeter

    matrix = torch.randn(8_192, 8_192, device="cuda")
    with MeterSession(NvmlMeter(), synchronise=torch.cuda.synchronize) as session:
        hum = session.hum(10.0)
        with session.window(align=True) as window:
            end_s = time.monotonic() + 30.0
            while time.monotonic() < end_s:
                for _ in range(20):
                    matrix = torch.nn.functional.normalize(matrix @ matrix)
                torch.cuda.synchronize()
    reading = window.reading
    assert reading.status == "completed"
    assert reading.work.value.joules > 0
    assert reading.hum.value.joules == pytest.approx(hum.power.watts * reading.seconds)
    power = reading.overlapping[0]
    wide_j = 2 * math.hypot(reading.total.standard_uncertainty.joules, power.standard_uncertainty.joules)
    assert abs(reading.total.value.joules - power.value.joules) <= wide_j
