"""Warm-up and windows."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outweigh.backends.meters.replay import ReplayMeter
from outweigh.compare.settling import drift, is_level, settle
from outweigh.compare.windows import MOST_REPEATS, repeats_for, shortest_window_s
from outweigh.core.errors import UnusableMeasurement
from outweigh.core.project import Protocol
from outweigh.core.variant import Variant
from outweigh.measure.clock import FakeClock
from outweigh.ports import ItemResults


class Warming:
    """Takes `first_s` an item at the first block and comes down to 10 ms, closer by the same share each block."""

    def __init__(self, clock, first_s, keeps=0.3):
        self.variant, self.clock, self.keeps = Variant("a", "a.onnx"), clock, keeps
        self.extra_s, self.blocks = first_s - 0.01, []

    def run(self, items):
        self.clock.sleep(len(items) * (0.01 + self.extra_s))
        self.extra_s *= self.keeps
        self.blocks.append(len(items))
        return ItemResults(tuple(items), {}, (1.0,) * len(items))


def test_a_variant_that_warms_up_is_run_until_its_blocks_are_level():
    clock = FakeClock()
    slow = Warming(clock, first_s=0.1)

    settled = settle(slow, range(100), Protocol(warmup_most=30), clock)

    assert settled.level
    assert 5 <= settled.blocks <= 12
    assert abs(settled.drift) <= 0.02
    assert settled.item_s == pytest.approx(0.01, rel=0.02)


def test_one_that_never_settles_stops_at_the_cap_and_says_so():
    clock = FakeClock()
    settled = settle(Warming(clock, first_s=0.1, keeps=0.9), range(100), Protocol(warmup_most=6), clock)

    assert (settled.level, settled.blocks) == (False, 6)
    assert settled.drift < -0.02


def test_blocks_of_slow_items_are_cut_to_about_a_second():
    clock = FakeClock()
    slow = Warming(clock, first_s=0.5, keeps=1.0)

    settle(slow, range(100), Protocol(), clock)

    assert slow.blocks == [8, 2, 2, 2, 2]


def test_no_warm_up_is_none_at_all():
    clock = FakeClock()
    idle = Warming(clock, first_s=0.1)
    assert settle(idle, range(100), Protocol(warmup=0), clock).item_s is None
    assert idle.blocks == []


@given(st.lists(st.floats(1e-3, 1e3), min_size=4, max_size=8), st.floats(1e-3, 1e3))
def test_whether_blocks_are_level_does_not_depend_on_the_unit_of_time(blocks, factor):
    scaled = [factor * block for block in blocks]
    # Right at the threshold the last bit decides.
    if abs(abs(drift(blocks)) - 0.02) > 1e-6:
        assert drift(scaled) == pytest.approx(drift(blocks), abs=1e-9)


def test_scatter_without_a_trend_is_level_and_a_trend_without_scatter_is_not():
    assert is_level([1.2, 0.9, 1.15, 0.88])
    assert not is_level([1.30, 1.31, 1.20, 1.21])


@given(round_s=st.floats(1e-3, 10), needed_s=st.floats(0, 5), wanted_s=st.floats(0, 5))
def test_repeats_make_every_round_long_enough_and_none_much_longer(round_s, needed_s, wanted_s):
    repeats = repeats_for("a", round_s, needed_s, wanted_s)
    longest_s = max(needed_s, wanted_s)

    assert repeats * round_s >= longest_s
    assert repeats == 1 or (repeats - 1) * round_s <= 1.25 * longest_s


def test_a_round_that_no_repeats_make_long_enough_for_the_meter_is_refused_with_a_remedy():
    with pytest.raises(UnusableMeasurement, match="a round of tiny") as caught:
        repeats_for("tiny", 1e-6, needed_s=1.0)
    assert "more items" in caught.value.remedy
    assert repeats_for("tiny", 1e-6, needed_s=0.0, wanted_s=1.0) == MOST_REPEATS


def test_the_shortest_window_is_five_refreshes_of_the_slowest_counted_channel():
    meter = ReplayMeter([(0.0, 1.0), (1.0, 1.0)], now=FakeClock().monotonic_s)
    update_s = max(channel.update_s for channel in meter.channels)
    assert shortest_window_s(meter) == pytest.approx(max(5 * update_s, getattr(meter, "shortest_s", 0.0)))
