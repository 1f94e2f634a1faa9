"""A server is judged by the stretch in which it was saturated, and its receipts keep the whole."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outweigh.compare.steady import Step, saturated, steps_of
from outweigh.core.intervals import Interval
from outweigh.core.measurement import Grade, Measurement, Method, Scope, UncertaintyComponent
from outweigh.core.quantities import Energy
from outweigh.core.receipt import RunStatus
from outweigh.measure.reading import WindowReading
from outweigh.ports import Steady

BEGUN = datetime(2026, 11, 1, tzinfo=UTC)


def reading(total_j, hum_j, seconds):
    def part(energy_j):
        return Measurement(
            Energy(energy_j), Interval(BEGUN, BEGUN + timedelta(seconds=seconds)), Scope.PACKAGE, Grade.B,
            Method.COUNTER, "synthetic", (UncertaintyComponent("gain", 0.01 * abs(energy_j)),),
        )  # fmt: skip

    return WindowReading(part(total_j), part(hum_j), part(total_j - hum_j), (), RunStatus.COMPLETED, ())


def ramp(steps=100, step_s=0.1):
    """Filling up for 2 s at 20 W, 6 s at 100 W, running dry for 2 s at 40 W."""
    powers = [20.0 if i < 20 else 100.0 if i < 80 else 40.0 for i in range(steps)]
    return steps_of([((i + 1) * step_s, power) for i, power in enumerate(powers)], 50.0)


def test_filling_up_and_running_dry_are_left_out():
    found = saturated(reading(720.0, 100.0, 10.0), [Steady(52.0, 58.0, 30.0)], ramp(), BEGUN)
    assert found.total.value.joules == pytest.approx(600.0)
    assert found.hum.value.joules == pytest.approx(60.0)  # 10 W for 6 s
    assert found.work.value.joules == pytest.approx(540.0)
    assert found.seconds == pytest.approx(6.0)


def test_what_the_cut_is_uncertain_by_is_named():
    found = saturated(reading(720.0, 100.0, 10.0), [Steady(52.05, 57.95, 30.0)], ramp(), BEGUN)
    edges = next(one for one in found.total.components if one.name == "edges of the saturated stretch")
    assert edges.standard == pytest.approx((2 * (100.0 * 0.1) ** 2 / 12) ** 0.5)
    gain = next(one for one in found.total.components if one.name == "gain")
    assert gain.standard == pytest.approx(0.01 * found.total.value.joules)


@given(cut_s=st.floats(51.0, 57.0))
def test_two_stretches_that_meet_hold_what_the_two_together_hold(cut_s):
    whole = saturated(reading(720.0, 100.0, 10.0), [Steady(50.0, 60.0, 1.0)], ramp(), BEGUN)
    parts = saturated(reading(720.0, 100.0, 10.0), [Steady(50.0, cut_s, 1.0), Steady(cut_s, 60.0, 1.0)], ramp(), BEGUN)
    assert parts.total.value.joules == pytest.approx(whole.total.value.joules)
    assert whole.total.value.joules == pytest.approx(720.0)


def test_a_trace_too_coarse_or_with_a_hole_leaves_the_round_whole():
    stretch = [Steady(52.0, 58.0, 30.0)]
    assert saturated(reading(720.0, 100.0, 10.0), stretch, ramp(steps=4, step_s=2.5), BEGUN) is None
    assert saturated(reading(720.0, 100.0, 10.0), stretch, [*ramp()[:40], *ramp()[50:]], BEGUN) is None
    assert saturated(reading(720.0, 100.0, 10.0), [], ramp(), BEGUN) is None


def test_a_trace_becomes_steps_from_the_beginning_of_its_session():
    assert steps_of([(1.0, 5.0)], 10.0) == [Step(10.0, 11.0, 5.0)]
