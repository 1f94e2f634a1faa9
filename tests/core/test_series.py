"""Series of carbon and price: gaps never win, means are kept, and different questions do not mix."""

from __future__ import annotations

import pickle
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outweigh.core.errors import GapsTooLarge, GridDataInvalid, InvalidQuantity, SeriesMismatch
from outweigh.core.intervals import Bounds, Interval
from outweigh.core.measurement import Grade
from outweigh.core.quantities import CarbonBasis, CarbonIntensity, CarbonScope, Price
from outweigh.core.series import (
    Accounting,
    CarbonKind,
    CarbonMeaning,
    CarbonSeries,
    DataQuality,
    Fill,
    Gap,
    Market,
    Origin,
    PriceMeaning,
    PriceSeries,
    Series,
    Slot,
    align,
    check_same_question,
)

START = datetime(2026, 3, 1, tzinfo=UTC)
ORIGIN = Origin("test", "DE", "made here", "CC0")
AVERAGE = CarbonMeaning(CarbonKind.AVERAGE, CarbonScope.LIFECYCLE, Accounting.PRODUCTION)
MARGINAL = replace(AVERAGE, kind=CarbonKind.MARGINAL)
EUR = PriceMeaning("EUR", Market.DAY_AHEAD, taxes=False)
MEASURED = DataQuality.MEASURED


def carbon(*values: float | Gap | None, step_s: float = 3600.0, start: datetime = START) -> CarbonSeries:
    return CarbonSeries.regular(start, step_s, values, MEASURED, AVERAGE, ORIGIN)


def prices(*values: float | Gap | None) -> PriceSeries:
    return PriceSeries.regular(START, 3600.0, values, MEASURED, EUR, ORIGIN)


def hours(n: float, length: float) -> Interval:
    return Interval.starting(START + timedelta(hours=n), 3600 * length)


maybe = st.one_of(st.floats(0, 1000), st.sampled_from(Gap))


def test_a_gap_has_no_order_so_it_cannot_win_a_minimum():
    with pytest.raises(TypeError):
        min(Gap.MISSING, 3.0)  # type: ignore[type-var]


def test_the_lowest_slot_passes_over_gaps_and_fills():
    series = carbon(300.0, None, 200.0, Gap.MISSING).filled(Fill.HOLD)

    assert series.values == (300.0, 300.0, 200.0, 200.0)
    assert series.lowest() == Slot(START + timedelta(hours=2), START + timedelta(hours=3), 200.0, MEASURED)


@given(st.lists(maybe, min_size=1, max_size=30).filter(lambda v: any(isinstance(x, float) for x in v)))
def test_whatever_is_filled_the_lowest_stays_what_was_known_to_be_lowest(values):
    series = carbon(*values)

    for fill in Fill:
        assert series.filled(fill).lowest() == series.lowest()
        assert series.filled(fill).filled_share == pytest.approx(series.missing_share)


def test_a_fill_is_marked_and_a_worst_fill_is_the_highest_known():
    series = carbon(300.0, None, 200.0).filled()

    assert series.values[1] == 300.0
    assert series.qualities == (MEASURED, DataQuality.FILLED, MEASURED)
    assert series.worst_quality.grade is Grade.D


def test_not_a_number_is_refused_because_it_would_hide_a_gap():
    for value in (float("nan"), float("inf")):
        with pytest.raises(InvalidQuantity, match="Gap"):
            carbon(1.0, value)


def test_a_mean_weighs_by_time_and_not_by_slot():
    series = CarbonSeries.of(
        [
            Slot(START, START + timedelta(minutes=15), 100.0, MEASURED),
            Slot(START + timedelta(minutes=15), START + timedelta(hours=1), 200.0, MEASURED),
        ],
        hours(0, 1),
        AVERAGE,
        ORIGIN,
    )

    assert series.mean() == CarbonIntensity(175.0, CarbonBasis.LOCATION, CarbonScope.LIFECYCLE)


def test_a_mean_over_more_than_a_tenth_missing_is_refused_and_over_a_tenth_is_not():
    ten_of_hundred = carbon(*[50.0] * 90, *[None] * 10)
    eleven_of_hundred = carbon(*[50.0] * 89, *[None] * 11)

    assert ten_of_hundred.mean_value() == 50.0
    with pytest.raises(GapsTooLarge) as caught:
        eleven_of_hundred.mean_value()
    assert caught.value.missing_percent == 11
    assert caught.value.exit_code == 4


def test_time_outside_a_series_counts_as_missing():
    with pytest.raises(GapsTooLarge, match="50 %"):
        carbon(100.0).mean(hours(0, 2))


def test_a_window_cuts_slots_at_its_ends_and_shows_what_is_not_there():
    series = carbon(100.0, 200.0).window(hours(0.5, 2))

    assert series.interval == hours(0.5, 2)
    assert series.values == (100.0, 200.0, Gap.MISSING)
    assert series.steps_s == (1800.0, 3600.0)


def test_a_window_before_and_one_after_the_series_is_all_gap():
    for window in (hours(-5, 2), hours(7, 2)):
        series = carbon(100.0, 200.0).window(window)

        assert series.values == (Gap.MISSING,)
        assert series.interval == window


@given(values=st.lists(maybe, min_size=1, max_size=20), start=st.floats(-3, 22), length=st.floats(0.01, 30))
def test_a_window_is_exactly_as_long_as_asked(values, start, length):
    window = hours(start, length)
    cut = carbon(*values).window(window)

    assert cut.interval == window
    assert cut.seconds == pytest.approx(window.seconds)


@given(st.lists(st.floats(0, 1000), min_size=1, max_size=60), st.sampled_from([15, 30, 60, 180, 1440]))
def test_resampling_keeps_the_mean(values, minutes):
    fine = carbon(*values, step_s=300.0, start=START + timedelta(minutes=35))

    assert fine.resample(60.0 * minutes).mean_value() == pytest.approx(fine.mean_value())


@given(st.lists(maybe, min_size=2, max_size=40), st.lists(st.floats(0, 1000), min_size=1, max_size=20))
def test_aligning_splits_slots_and_changes_no_value(one, other):
    left, right = align(carbon(*one), carbon(*other, step_s=5400.0))

    assert left.edges_s == right.edges_s
    for slot in left.slots():
        assert slot.value == carbon(*one).at(slot.start) or isinstance(slot.value, Gap)
    for slot in right.slots():
        assert slot.value == carbon(*other, step_s=5400.0).at(slot.start)


def test_resampling_to_finer_steps_is_refused_because_it_would_make_data_up():
    with pytest.raises(InvalidQuantity, match="3600 s"):
        carbon(1.0, 2.0).resample(900.0)


def test_a_coarse_step_with_a_gap_in_it_is_a_gap_unless_a_share_is_allowed():
    series = carbon(100.0, None, 300.0, 300.0, step_s=900.0)

    assert series.resample(3600.0).values == (Gap.NULL,)
    assert series.resample(3600.0, max_gap=0.25).values == (pytest.approx(700 / 3),)


def test_coarse_steps_begin_at_round_times_and_the_ends_may_be_shorter():
    series = carbon(*[float(i) for i in range(6)], step_s=1800.0, start=START + timedelta(minutes=30))

    assert series.resample(3600.0).values == (0.0, 1.5, 3.5, 5.0)


def test_slots_come_in_any_order_twice_and_of_mixed_steps():
    slots = [
        Slot(START + timedelta(hours=1), START + timedelta(hours=1, minutes=15), 3.0, DataQuality.ESTIMATED),
        Slot(START, START + timedelta(hours=1), 2.0, MEASURED),
        Slot(START, START + timedelta(hours=1), 2.0, MEASURED),
    ]

    series = CarbonSeries.of(slots, hours(0, 2), AVERAGE, ORIGIN)

    assert series.values == (2.0, 3.0, Gap.MISSING)
    assert series.missing_share == pytest.approx(0.375)
    assert series.worst_quality is DataQuality.ESTIMATED


def test_what_a_provider_sends_that_is_no_number_becomes_a_gap_that_says_why():
    odd = [None, float("nan"), float("inf"), Gap.MISSING]
    slots = [Slot(START + timedelta(hours=i), START + timedelta(hours=i + 1), v, MEASURED) for i, v in enumerate(odd)]

    series = CarbonSeries.of(slots, hours(0, 4), AVERAGE, ORIGIN)

    assert series.values == (Gap.NULL, Gap.INVALID, Gap.INVALID, Gap.MISSING)


def test_two_values_for_one_time_are_refused():
    slots = [Slot(START, START + timedelta(hours=1), v, MEASURED) for v in (2.0, 3.0)]

    with pytest.raises(GridDataInvalid, match="two values for the same time"):
        CarbonSeries.of(slots, hours(0, 1), AVERAGE, ORIGIN)


@pytest.mark.parametrize(
    "other",
    [
        MARGINAL,
        replace(AVERAGE, scope=CarbonScope.DIRECT),
        replace(AVERAGE, accounting=Accounting.CONSUMPTION),
    ],
)
def test_another_kind_scope_or_basis_is_a_type_error_and_not_a_warning(other):
    one, two = carbon(1.0), replace(carbon(1.0), meaning=other)

    for mixing in (align, check_same_question):
        with pytest.raises(TypeError) as caught:
            mixing(one, two)
        assert isinstance(caught.value, SeriesMismatch)
        assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


@pytest.mark.parametrize(
    "other",
    [PriceMeaning("USD", Market.DAY_AHEAD, False), replace(EUR, market=Market.RETAIL), replace(EUR, taxes=True)],
)
def test_prices_in_other_money_on_another_market_or_with_taxes_do_not_mix(other):
    with pytest.raises(SeriesMismatch):
        align(prices(0.1), replace(prices(0.1), meaning=other))


def test_carbon_lies_beside_price_but_never_compares_with_it():
    left, right = align(carbon(100.0, 200.0), prices(0.1, -0.05, 0.2))

    assert (left.values, right.values) == ((100.0, 200.0), (0.1, -0.05))
    with pytest.raises(SeriesMismatch):
        check_same_question(left, right)


def test_a_negative_price_is_a_price_and_can_be_the_lowest():
    # DE-LU day-ahead, 2023-07-02T12:00Z: -500.00 EUR/MWh, the harmonised minimum.
    series = prices(0.08, PriceSeries.per_mwh(-500.0), None)

    assert series.lowest().value == -0.5
    assert prices(-0.5).mean() == Price(-0.5, "EUR")


def test_an_average_intensity_is_not_negative_but_a_marginal_one_may_be():
    with pytest.raises(GridDataInvalid):
        carbon(-1.0)

    assert replace(carbon(1.0), meaning=MARGINAL, values=(-1.0,)).mean().g_per_kwh == -1.0


def test_a_value_in_other_units_is_refused():
    with pytest.raises(GridDataInvalid, match="Check the unit"):
        carbon(353_100.0)  # g/MWh


def test_what_was_fetched_before_it_happened_was_not_measured():
    fetched = replace(ORIGIN, retrieved_at=START + timedelta(minutes=30))

    assert replace(carbon(100.0), origin=fetched)
    with pytest.raises(GridDataInvalid, match="clock"):
        replace(carbon(100.0, 200.0), origin=fetched)
    assert replace(carbon(100.0, 200.0), qualities=(MEASURED, DataQuality.FORECAST), origin=fetched)


def test_a_provider_whose_clock_is_ahead_of_ours_is_noticed():
    with pytest.raises(GridDataInvalid, match="clocks"):
        replace(ORIGIN, issued_at=START + timedelta(minutes=20), retrieved_at=START)


def test_a_plain_series_is_of_nothing():
    with pytest.raises(TypeError):
        Series(AVERAGE, (0.0, 1.0), (1.0,), (MEASURED,), ORIGIN)


def test_prediction_intervals_stay_with_their_slots_and_go_where_values_are_averaged():
    series = replace(carbon(1.0, 2.0, 3.0), bounds=(Bounds(0, 2, 0.9), Bounds(1, 3, 0.9), Bounds(2, 4, 0.9)))

    assert series.window(hours(1, 2)).bounds == (Bounds(1, 3, 0.9), Bounds(2, 4, 0.9))
    assert series.resample(7200.0).bounds == ()


def test_padding_with_gaps_takes_no_prediction_interval_away():
    series = replace(carbon(1.0, 2.0), bounds=(Bounds(0, 2, 0.9), Bounds(1, 3, 0.9)))

    padded = series.window(hours(-1, 4))

    assert padded.values == (Gap.MISSING, 1.0, 2.0, Gap.MISSING)
    assert padded.bounds == (None, Bounds(0, 2, 0.9), Bounds(1, 3, 0.9), None)
    assert carbon(1.0, 2.0).window(hours(-1, 4)).bounds == ()


def test_the_factor_of_a_series_names_its_source_vintage_and_grade():
    series = replace(carbon(100.0), origin=replace(ORIGIN, vintage="2024", licence="CC BY 4.0"))

    factor = replace(series, qualities=(DataQuality.YEARLY_DEFAULT,)).factor()

    assert (factor.value, factor.unit, factor.issued, factor.licence) == (100.0, "gCO2e/kWh", "2024", "CC BY 4.0")
    assert factor.grade is Grade.D
