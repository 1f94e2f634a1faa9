"""Clocks: the real one ticks in the background, the made one when told."""

from __future__ import annotations

import threading
from datetime import UTC

from outweigh.measure import FakeClock, SystemClock


def test_the_system_clock_calls_in_the_background_until_it_is_stopped():
    called = threading.Event()
    ticker = SystemClock().every(0.001, called.set)
    assert called.wait(5.0)
    ticker.stop()
    assert ticker.cpu_s >= 0
    called.clear()
    assert not called.wait(0.05)


def test_a_stopped_ticker_of_the_made_clock_stays_silent():
    clock, seen = FakeClock(), []
    ticker = clock.every(1.0, lambda: seen.append(clock.monotonic_s()))
    clock.sleep(2.5)
    ticker.stop()
    ticker.stop()
    clock.sleep(5.0)
    assert seen == [1.0, 2.0]


def test_stamps_are_in_utc_and_sleep_of_the_machine_shows_in_boot_time_alone():
    clock = FakeClock()
    start = clock.utc()
    clock.suspend(60.0)
    assert clock.utc().tzinfo is UTC
    assert (clock.utc() - start).total_seconds() == 60.0
    assert clock.monotonic_s() == 0.0
    assert clock.boottime_s() == 60.0
    assert SystemClock().utc().tzinfo is UTC
