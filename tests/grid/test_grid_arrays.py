"""Series as arrays, in which a gap never wins; days as clocks on the wall count them."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from outweigh.core.intervals import Interval
from outweigh.core.series import DataQuality, Fill, Gap, Market, Origin, PriceMeaning, PriceSeries
from outweigh.grid.arrays import as_arrays, local_days

START = datetime(2026, 3, 28, tzinfo=UTC)
ORIGIN = Origin("test", "DE", "made here", "CC0")
EUR = PriceMeaning("EUR", Market.DAY_AHEAD, taxes=False)


def prices(values: list[float | Gap]) -> PriceSeries:
    return PriceSeries.regular(START, 900.0, values, DataQuality.MEASURED, EUR, ORIGIN)


@given(st.lists(st.one_of(st.floats(-1, 5), st.sampled_from(Gap)), min_size=1, max_size=50))
def test_a_gap_never_wins_the_minimum_and_no_value_is_nan(values: list[float | Gap]):
    series = prices(values)
    arrays = as_arrays(series)
    known = [value for value in values if not isinstance(value, Gap)]

    assert not np.isnan(arrays.values).any()
    assert arrays.known.sum() == len(known)
    if known:
        assert arrays.values.min() == min(known) == series.lowest().value


def test_a_fill_counts_only_on_request():
    series = prices([0.3, Gap.MISSING, 0.1, Gap.MISSING]).filled(Fill.HOLD)

    assert as_arrays(series).values.tolist() == [0.3, np.inf, 0.1, np.inf]
    assert as_arrays(series, fills_count=True).values.tolist() == [0.3, 0.3, 0.1, 0.1]
    assert as_arrays(series, fills_count=True).known.tolist() == [True, False, True, False]


@pytest.mark.parametrize(
    ("zone", "month", "hours"),
    [
        ("Europe/Berlin", 3, [23.0]),
        ("Europe/London", 10, [25.0]),
        ("America/New_York", 3, [23.0]),
        ("America/New_York", 11, [25.0]),
        ("Australia/Sydney", 4, [25.0]),
        ("Australia/Adelaide", 10, [23.0]),
        ("Australia/Lord_Howe", 4, [24.5]),
    ],
)
def test_exactly_one_day_of_such_a_month_is_longer_or_shorter(zone: str, month: int, hours: list[float]):
    local = ZoneInfo(zone)
    whole = Interval(datetime(2026, month, 1, tzinfo=local), datetime(2026, month + 1, 1, tzinfo=local))

    lengths = np.diff(local_days(whole, local)) / 3600

    assert [length for length in lengths if length != 24] == hours


def test_daily_means_by_local_clocks_keep_the_mean_of_the_whole():
    berlin = ZoneInfo("Europe/Berlin")
    series = prices([float(i % 7) for i in range(96 + 92 + 96)])

    daily = series.onto(local_days(series.interval, berlin))

    assert daily.mean_value() == pytest.approx(series.mean_value())
