"""Pitfalls of measuring, one test each, that the other modules do not name."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from outweigh.backends.meters.replay import ReplayMeter
from outweigh.core.errors import UsageError
from outweigh.measure import FakeClock, MeterSession
from outweigh.ports import ChannelKind, Sample


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


def test_a_sensor_that_looks_part_of_the_time_has_a_shortest_window():
    clock = FakeClock()
    meter = playing([(0.0, 200.0)], clock, kind=ChannelKind.POWER)
    meter.seen_share, meter.shortest_s = 0.25, 5.0
    with MeterSession(meter, clock) as session:
        with session.window() as short:
            clock.sleep(3.0)
        with session.window() as long:
            clock.sleep(10.0)
    assert short.reading.status == "unusable"
    assert any("needs 5 s" in note for note in short.reading.notes)
    assert long.reading.status == "completed"


class _Board(ReplayMeter):
    """A counter, and beside it the power sensor that feeds it."""

    @property
    def channels(self):
        counter = super().channels[0]
        return counter, replace(counter, id="power", kind=ChannelKind.POWER, update_s=0.1, counted=False)

    def read(self):
        sample = super().read()
        return Sample(sample.t_s, (*sample.values, self._power_w(sample.t_s - self._opened_s)))


def test_a_counter_fed_by_a_sensor_that_looks_part_of_the_time_is_wider_by_what_it_did_not_see():
    found = {}
    for share in (1.0, 0.25):
        clock = FakeClock()
        meter = _Board([(0.3 * i, 100.0 if i % 2 else 300.0) for i in range(80)], now=clock.monotonic_s)
        meter.seen_share = share
        with MeterSession(meter, clock) as session, session.window() as window:
            clock.sleep(10.0)
        found[share] = {c.name: c.standard for c in window.reading.total.components}
    assert "part-time sensor" not in found[1.0]
    # 200 W in 0.3 s is 67 W from reading to reading, a scatter of 47 W: of a hundred refreshes, 75 % unseen.
    assert found[0.25]["part-time sensor"] == pytest.approx(47.1 * math.sqrt(0.1 * 10.0 * 0.75), rel=0.02)


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
    assert begin_s <= 0.61


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


def test_a_board_that_stalls_when_a_window_begins_is_known_to_be_that_much_older():
    clock = FakeClock()

    class Stalled(StaleMeter):
        def read(self):
            sample = super().read()
            if not 0.95 <= sample.t_s < 2.35:
                return sample
            return type(sample)(sample.t_s, (self.energy_j(0.9 - self._opened_s),))

    meter = Stalled([(0.0, 200.0)], now=clock.monotonic_s, update_s=0.1)
    with MeterSession(meter, clock) as session:
        clock.sleep(1.7)
        with session.window() as window:
            begin_s = clock.monotonic_s()
            clock.sleep(3.0)
        truth_j = 200.0 * (clock.monotonic_s() - begin_s)
    assert begin_s == pytest.approx(2.3, abs=0.01)
    assert window.reading.total.value.joules > truth_j  # what the counter caught up with was drawn before the window
    assert "reading age at the edges" in {c.name for c in window.reading.total.components}
