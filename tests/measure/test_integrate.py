"""Joules out of samples: wraps, resets, gaps, and what is admitted not to be known."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from outweigh.core.measurement import Scope
from outweigh.measure.integrating import Running, edge_uncertainty_j, integrate
from outweigh.measure.stepping import What, counter_step, heartbeat_s, power_step
from outweigh.ports import Channel, ChannelKind

RANGE_J = 262_143.328850  # max_energy_range_uj of an Intel server
PACKAGE = Channel("package-0", "package-0", Scope.PACKAGE, ChannelKind.ENERGY, wrap_j=RANGE_J, max_power_w=400.0)
SENSOR = Channel("gpu-0", "gpu-0", Scope.GPU, ChannelKind.POWER)


@given(start_j=st.floats(0, RANGE_J - 1), drawn_j=st.floats(0, 4_000))
def test_a_wrap_loses_no_joule_wherever_the_counter_starts(start_j, drawn_j):
    step = counter_step(start_j, (start_j + drawn_j) % RANGE_J, 10.0, wrap_j=RANGE_J, max_power_w=400.0)
    assert step.energy_j == pytest.approx(drawn_j, abs=1e-6)


@given(before_j=st.floats(0, 2e5), now_j=st.floats(0, 2e5), dt_s=st.floats(1e-3, 100))
def test_energy_is_never_negative_and_never_more_than_the_device_can_draw(before_j, now_j, dt_s):
    step = counter_step(before_j, now_j, dt_s, wrap_j=RANGE_J, max_power_w=400.0)
    assert 0 <= step.energy_j <= 400.0 * 1.2 * dt_s + 1e-6


def test_a_reset_is_not_read_as_a_range():
    # CodeCarbon reports 252 kJ for a reset at 10 kJ
    step = counter_step(10_000.0, 3.0, 1.0, wrap_j=RANGE_J, max_power_w=400.0)
    assert step.energy_j == 0
    assert step.what is What.RESET


def test_a_falling_counter_that_never_wraps_was_reset():
    assert counter_step(100.0, 99.0, 1.0).what is What.RESET


def test_a_counter_left_alone_for_longer_than_its_range_lasts_is_ambiguous():
    step = counter_step(0.0, 100.0, 700.0, wrap_j=RANGE_J, max_power_w=400.0)
    assert step.what is What.AMBIGUOUS
    assert "n ×" in step.detail


def test_a_jump_no_machine_can_make_is_a_fault():
    # Kepler's ACPI source once gave 160 kW: sustainable-computing-io/kepler#1774
    assert counter_step(0.0, 160_000.0, 1.0, max_power_w=400.0).what is What.IMPLAUSIBLE


@pytest.mark.parametrize(
    ("wrap_j", "power_w", "expected_s"),
    [(262_143.3, 95.0, 30.0), (65_713.0, 2_000.0, 16.42825), (1_000.0, 100.0, 5.0)],
)
def test_counters_are_touched_twice_a_range_and_at_least_every_half_minute(wrap_j, power_w, expected_s):
    channel = Channel("c", "c", Scope.PACKAGE, ChannelKind.ENERGY, wrap_j=wrap_j, max_power_w=power_w)
    assert heartbeat_s([channel]) == pytest.approx(expected_s)


def test_what_never_wraps_needs_no_heartbeat():
    assert heartbeat_s([SENSOR]) is None


@given(
    powers_w=st.lists(st.floats(0, 1_000), min_size=2, max_size=50),
    cut=st.integers(0, 48),
)
def test_integrated_energy_does_not_depend_on_where_the_window_is_cut(powers_w, cut):
    assume(cut < len(powers_w) - 1)
    samples = [(i * 0.1, p) for i, p in enumerate(powers_w)]
    whole = integrate(samples, SENSOR).energy_j
    parts = integrate(samples[: cut + 1], SENSOR).energy_j + integrate(samples[cut:], SENSOR).energy_j
    assert parts == pytest.approx(whole, abs=1e-9)


def test_a_gap_is_not_bridged_and_lowers_the_coverage_until_the_window_is_unusable():
    steady = [(t / 10, 100.0) for t in range(101)]
    whole = integrate(steady, SENSOR)
    holed = integrate([s for s in steady if not 3.0 < s[0] < 7.0], SENSOR, max_gap_s=1.0)
    assert whole.usable
    assert whole.energy_j == pytest.approx(1_000.0)
    assert not holed.usable
    assert holed.coverage == pytest.approx(0.6)
    assert holed.longest_gap_s == pytest.approx(4.0)
    assert holed.energy_j == pytest.approx(600.0)


def test_a_missing_value_is_not_a_zero():
    samples = [(0.0, 100.0), (0.5, None), (1.0, 100.0)]
    assert integrate(samples, SENSOR, max_gap_s=2.0).energy_j == pytest.approx(100.0)


def test_a_counter_that_does_not_move_is_not_believed():
    frozen = Channel("f", "f", Scope.PACKAGE, ChannelKind.ENERGY, resolution=61e-6, update_s=1e-3)
    assert not integrate([(0.0, 5.0), (2.0, 5.0)], frozen).usable


def test_no_samples_and_one_sample_are_no_window():
    assert not integrate([], SENSOR).usable
    assert not integrate([(0.0, 1.0)], SENSOR).usable


def test_two_stale_readings_under_one_power_are_uncertain_by_a_triangle():
    # The sum of two uniform spreads of 10 J is a triangle of half-width 10 J, whose tails beyond x hold
    # (10 - x)² / 200 together at each end a half: 5 % lie beyond 10·(1 - sqrt(0.05)).
    channel = Channel("c", "c", Scope.PACKAGE, ChannelKind.ENERGY, update_s=0.1)
    found = integrate([(0.1 * i, 10.0 * i) for i in range(21)], channel)
    assert 2 * found.edge_j == pytest.approx(10.0 * (1 - math.sqrt(0.05)))


@given(start_j=st.floats(0.01, 100), end_j=st.floats(0.01, 100), seed=st.integers(0, 2**32))
@settings(max_examples=40, deadline=None)
def test_the_edge_term_holds_95_of_100_ages_whatever_the_powers(start_j, end_j, seed):
    rng = random.Random(seed)
    bound_j = 2 * edge_uncertainty_j(start_j, end_j)
    errors = [start_j * (rng.random() - 0.5) - end_j * (rng.random() - 0.5) for _ in range(2_000)]
    share = sum(abs(e) <= bound_j for e in errors) / len(errors)
    assert share == pytest.approx(0.95, abs=0.025)


def test_a_window_from_idle_into_work_is_corrected_for_the_mean_age_of_its_readings():
    # Idle at 10 W until 1 s, then 110 W; a reading is 50 ms old on average.
    channel = Channel("c", "c", Scope.GPU, ChannelKind.ENERGY, update_s=0.1)
    running = Running(channel, 1.0)

    def seen_j(t):
        return 10.0 * min(t - 0.05, 1.0) + 110.0 * max(0.0, t - 0.05 - 1.0)

    times = [0.1 * i + 0.1 for i in range(50)]
    for t in times[:10]:
        running.feed(t, seen_j(t))
    start = running.mark(1.0)
    for t in times[10:]:
        running.feed(t, seen_j(t))
    found = running.between(start, running.mark(5.0))
    assert found.energy_j == pytest.approx(440.0, abs=1e-6)


def test_samples_of_a_draw_that_jumps_about_scatter_on_their_own():
    """100 W of noise seen ten times a second for 60 s: s·dt·sqrt(n) = 100·0.1·sqrt(600) J."""
    rng = random.Random(3)
    errors, stated = [], []
    for _ in range(40):
        samples = [(0.1 * i, rng.gauss(500.0, 100.0)) for i in range(601)]
        found = integrate(samples, SENSOR)
        errors.append(found.energy_j - 30_000.0)
        stated.append(found.sampling_j)
    expected_j = 100.0 * 0.1 * math.sqrt(600)
    assert sum(stated) / len(stated) == pytest.approx(expected_j, rel=0.1)
    assert math.sqrt(sum(e * e for e in errors) / len(errors)) == pytest.approx(expected_j, rel=0.3)


def test_power_between_two_samples_is_a_trapezoid_with_its_own_doubt():
    step = power_step(0.0, 120.0, 1.0, max_gap_s=2.0)
    assert step.energy_j == pytest.approx(60.0)
    assert math.sqrt(step.variance_j2) == pytest.approx(120.0 / math.sqrt(12))


@pytest.mark.parametrize("jitter", [0.0, 0.2])
def test_a_stale_counter_with_nothing_beside_it_keeps_95_of_100_across_steps_of_the_draw(jitter):
    """A counter refreshed every 100 ms, read at random moments; the draw steps anywhere in the window."""
    rng = random.Random(7)
    held = 0
    channel = Channel("c", "c", Scope.GPU, ChannelKind.ENERGY, update_s=0.1)
    for _ in range(1_000):
        powers_w = [rng.uniform(20, 200), rng.uniform(200, 700)]
        rng.shuffle(powers_w)
        first_w, then_w = powers_w
        start_s, end_s = rng.uniform(0, 0.1), rng.uniform(2.0, 2.1)
        step_s, phase_s = rng.uniform(start_s, end_s), rng.uniform(0, 0.1)

        def energy_j(t, first_w=first_w, then_w=then_w, step_s=step_s):
            return first_w * min(t, step_s) + then_w * max(0.0, t - step_s) + 1_000.0

        running = Running(channel, 1.0)
        ticks = [start_s + 0.1 * (i + jitter * rng.uniform(-0.5, 0.5)) for i in range(-10, 21) if i]
        marks = []
        for t in sorted([*(t for t in ticks if t < end_s), start_s, end_s]):
            running.feed(t, energy_j((t - phase_s) // 0.1 * 0.1 + phase_s))
            marks += [running.mark(t)] if t in (start_s, end_s) else []
        found = running.between(*marks)
        held += abs(found.energy_j - (energy_j(end_s) - energy_j(start_s))) <= 2 * found.edge_j
    # Three standard deviations of a binomial to each side of 95 % are 93 and 97.
    assert 0.93 * 1_000 <= held <= 0.97 * 1_000


def test_a_stale_counter_read_at_the_edges_alone_does_not_claim_to_know_the_power_there():
    channel = Channel("c", "c", Scope.GPU, ChannelKind.ENERGY, update_s=0.1)
    sampled = integrate([(0.1 * i, 20.0 * i) for i in range(21)], channel)
    alone = integrate([(0.0, 0.0), (2.0, 400.0)], channel)
    assert alone.energy_j == pytest.approx(sampled.energy_j)
    assert alone.edge_j > sampled.edge_j


def test_the_delay_of_a_power_sensor_cancels_unless_the_window_ends_at_another_power():
    sensor = Channel("gpu-0", "gpu-0", Scope.GPU, ChannelKind.POWER, update_s=0.1)
    steady = integrate([(0.1 * i, 300.0) for i in range(51)], sensor)
    rising = integrate([(0.1 * i, 300.0 + 4.0 * i) for i in range(51)], sensor)
    assert steady.edge_j == pytest.approx(0.0, abs=1e-9)
    # 200 W more at the end, drawn for a delay anywhere within 100 ms.
    assert rising.edge_j >= 200.0 * 0.1 / math.sqrt(12)


def test_a_steady_window_is_as_doubtful_at_its_end_as_the_changes_before_it_were_large():
    sensor = Channel("gpu-0", "gpu-0", Scope.GPU, ChannelKind.POWER, update_s=0.1)
    running = Running(sensor, 1.0)
    for i in range(20):
        running.feed(0.1 * i, 100.0 if i < 10 else 300.0)
    start = running.mark(1.9)
    for i in range(20, 60):
        running.feed(0.1 * i, 300.0)
    assert running.between(start, running.mark(5.9)).edge_j > 0


def test_a_counter_that_stops_in_the_middle_is_not_believed():
    counter = Channel("f", "f", Scope.PACKAGE, ChannelKind.ENERGY, resolution=61e-6, update_s=1e-3)
    found = integrate([(0.1 * i, 5.0 * min(i, 20)) for i in range(51)], counter)
    assert not found.usable
    assert any("stood still for the last 3 s" in reason for reason in found.reasons)
