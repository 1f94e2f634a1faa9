"""The replay meter: what it plays is what was written."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outweigh.backends.meters.replay import ReplayMeter
from outweigh.core.errors import MeterUnavailable
from outweigh.measure import FakeClock, MeterSession
from outweigh.ports import ChannelKind


def test_a_ramp_and_a_step_are_played_to_the_joule():
    clock = FakeClock()
    meter = ReplayMeter([(0.0, 50.0), (10.0, 150.0), (10.0, 20.0), (20.0, 20.0)], now=clock.monotonic_s)
    with MeterSession(meter, clock) as session, session.window() as window:
        clock.sleep(20.0)
    assert window.reading.total.value.joules == pytest.approx(1_000.0 + 200.0)
    assert window.reading.total.method == "replayed"


@given(st.lists(st.floats(0, 500), min_size=2, max_size=20), st.floats(0.01, 0.99))
def test_energy_does_not_depend_on_where_the_trace_is_cut(powers_w, cut):
    meter = ReplayMeter(list(enumerate(powers_w)))
    end_s = len(powers_w) - 1
    first = meter.energy_j(cut * end_s)
    assert 0 <= first <= meter.energy_j(end_s) + 1e-9
    assert meter.energy_j(end_s) == pytest.approx(sum((a + b) / 2 for a, b in itertools.pairwise(powers_w)))


@pytest.mark.parametrize(
    ("text", "expected_j"),
    [("t_s,power_w\n0,100\n10,100\n", 1_000.0), ("# made\nt_s,energy_j\n0,7\n10,1007\n", 1_000.0)],
)
def test_a_file_says_its_unit_in_its_header(tmp_path, text, expected_j):
    path = tmp_path / "trace.csv"
    path.write_text(text)
    clock = FakeClock()
    with MeterSession(ReplayMeter(path, now=clock.monotonic_s), clock) as session, session.window() as window:
        clock.sleep(10.0)
    assert window.reading.total.value.joules == pytest.approx(expected_j)
    assert str(tmp_path) not in window.reading.total.source


@pytest.mark.parametrize("text", ["t_s,power\n0,1\n", "t,power_w\n0,1\n", "t_s,power_w\n0,much\n", ""])
def test_a_file_without_its_unit_or_with_words_for_numbers_is_refused(tmp_path, text):
    path = tmp_path / "trace.csv"
    path.write_text(text)
    with pytest.raises(MeterUnavailable):
        ReplayMeter(path)


def test_a_missing_file_an_empty_trace_and_a_shuffled_one_are_refused(tmp_path):
    with pytest.raises(MeterUnavailable, match="cannot be read"):
        ReplayMeter(tmp_path / "none.csv")
    with pytest.raises(MeterUnavailable, match="no trace"):
        ReplayMeter().open()
    with pytest.raises(MeterUnavailable, match="out of order"):
        ReplayMeter([(1.0, 5.0), (0.0, 5.0)]).open()


def test_a_sensor_that_stops_answering_leaves_a_hole_and_not_a_zero():
    clock = FakeClock()
    trace = [(0.0, 100.0), (4.0, 100.0), (4.0, None), (8.0, None), (8.0, 100.0), (10.0, 100.0)]
    meter = ReplayMeter(trace, now=clock.monotonic_s, kind=ChannelKind.POWER)
    with MeterSession(meter, clock) as session, session.window() as window:
        clock.sleep(10.0)
    assert window.reading.status == "unusable"
    assert window.reading.coverage == pytest.approx(0.6, abs=0.05)
