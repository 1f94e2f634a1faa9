"""Forecasts: laws that hold whatever the history, days on which clocks change, and claims on slices of real ones."""

from __future__ import annotations

import csv
import gzip
import math
import os
import pickle
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from outweigh.core.errors import GapsTooLarge, InvalidQuantity, MissingExtra, SeriesMismatch
from outweigh.core.intervals import Interval
from outweigh.core.quantities import CarbonScope
from outweigh.core.series import (
    Accounting,
    CarbonKind,
    CarbonMeaning,
    CarbonSeries,
    DataQuality,
    Gap,
    Market,
    Origin,
    PriceMeaning,
    PriceSeries,
)
from outweigh.grid import open_source
from outweigh.grid.forecasting import CONFIDENCE, Forecaster, Method, backtest, fit, forecast
from outweigh.grid.forecasting.combining import TRUST_DAYS, shares
from outweigh.grid.forecasting.conformal import shift

START = datetime(2026, 1, 5, tzinfo=UTC)
DAYS = 60
END = START + timedelta(days=DAYS)
ORIGIN = Origin("test", "DE", "made here", "CC0")
CARBON = CarbonMeaning(CarbonKind.AVERAGE, CarbonScope.LIFECYCLE, Accounting.CONSUMPTION)
EUR = PriceMeaning("EUR", Market.DAY_AHEAD, taxes=False)


def made(days: int = DAYS, seed: int = 1, noise: float = 20.0) -> np.ndarray:
    """Hours with a daily and a weekly shape, and weather that comes and goes."""
    chance = np.random.default_rng(seed)
    hour = np.arange(24 * days)
    weather = np.zeros(len(hour))
    for at in range(1, len(hour)):
        weather[at] = 0.97 * weather[at - 1] + chance.normal(0, noise * math.sqrt(1 - 0.97**2))
    return (
        300 + 80 * np.sin(2 * np.pi * hour / 24) + 30 * (hour // 24 % 7 > 4) + weather + chance.normal(0, 3, len(hour))
    )


def carbon(values: np.ndarray | list[float | Gap], start: datetime = START, step_s: float = 3600.0) -> CarbonSeries:
    known: list[float | Gap] = [value if isinstance(value, Gap) else float(value) for value in values]
    return CarbonSeries.regular(start, step_s, known, DataQuality.MEASURED, CARBON, ORIGIN)


def prices(values: np.ndarray) -> PriceSeries:
    return PriceSeries.regular(START, 3600.0, [float(v) for v in values], DataQuality.MEASURED, EUR, ORIGIN)


def next_hours(hours: float, issue: datetime = END) -> Interval:
    return Interval.starting(issue, 3600 * hours)


@pytest.fixture(scope="module", params=list(Method))
def model(request: pytest.FixtureRequest) -> Forecaster[CarbonSeries]:
    if request.param is Method.BOOSTED:
        pytest.importorskip("sklearn")
    return fit(carbon(made()), method=request.param)


def test_a_forecast_says_all_that_a_figure_has_to(model: Forecaster[CarbonSeries]):
    said = model.predict(END, next_hours(48))

    assert said.interval == next_hours(48)
    assert len(said) == len(said.bounds) == 48
    assert set(said.qualities) == {DataQuality.FORECAST}
    assert said.meaning == CARBON
    assert said.origin.issued_at == END
    assert said.origin.method.startswith(f"{model.method}-2, fitted on outcomes up to {END:%Y-%m-%d}")
    assert "made here" in said.origin.source
    assert {bounds.confidence for bounds in said.bounds} == {CONFIDENCE}


@pytest.mark.parametrize("hours", [1, 24, 25, 168])
def test_bounds_bracket_the_point_at_every_horizon(model: Forecaster[CarbonSeries], hours: int):
    said = model.predict(END, next_hours(hours))

    assert len(said) == hours
    assert all(bounds.low <= value <= bounds.high for value, bounds in zip(said.values, said.bounds, strict=True))


def test_the_same_history_gives_the_same_forecast_to_the_last_digit(model: Forecaster[CarbonSeries]):
    one, other = (fit(carbon(made()), method=model.method, reach_h=24) for _ in range(2))

    assert one.predict(END, next_hours(24)) == other.predict(END, next_hours(24))
    assert model.predict(END, next_hours(24)).values == one.predict(END, next_hours(24)).values


def test_a_forecaster_survives_the_way_to_a_worker(model: Forecaster[CarbonSeries]):
    there = pickle.loads(pickle.dumps(model))

    assert there.predict(END, next_hours(12)) == model.predict(END, next_hours(12))


# --- nobody looks ahead ---------------------------------------------------------------------------------


@given(after=st.lists(st.floats(0, 2_000), min_size=10 * 24, max_size=10 * 24), minutes=st.sampled_from([0, 1, 20, 59]))
@settings(max_examples=8, deadline=None)
def test_whatever_comes_after_the_issue_changes_nothing_of_the_forecast(after: list[float], minutes: int):
    as_it_was, issue = made(), END - timedelta(days=10) + timedelta(minutes=minutes)
    altered = as_it_was.copy()
    altered[-10 * 24 :] = after
    window = next_hours(48, END - timedelta(days=10))

    one, other = (forecast(carbon(values), issue, window, method=Method.SEASONAL) for values in (as_it_was, altered))

    assert one == other


def test_nor_does_the_trees_forecast_look_ahead():
    pytest.importorskip("sklearn")
    issue = END - timedelta(days=5)
    altered = made()
    altered[-5 * 24 :] = 0.0

    one, other = (forecast(carbon(values), issue, next_hours(20, issue)) for values in (made(), altered))

    assert one == other


def test_nor_does_a_fitted_model_that_knows_more(model: Forecaster[CarbonSeries]):
    longer = made(DAYS + 10)
    longer[: 24 * DAYS] = made()
    altered = longer.copy()
    altered[24 * (DAYS + 5) :] = 0.0
    issue = END + timedelta(days=5)

    one, other = (model.knowing(carbon(values)).predict(issue, next_hours(24, issue)) for values in (longer, altered))

    assert one == other


def test_an_issue_before_the_end_of_what_was_fitted_is_refused(model: Forecaster[CarbonSeries]):
    with pytest.raises(InvalidQuantity, match="has seen outcomes up to"):
        model.predict(END - timedelta(hours=1), next_hours(4))
    with pytest.raises(InvalidQuantity, match="has seen outcomes up to"):
        backtest(model, Interval(START, END))


def test_a_window_before_its_issue_is_refused(model: Forecaster[CarbonSeries]):
    with pytest.raises(InvalidQuantity, match="after its issue"):
        model.predict(END + timedelta(hours=2), next_hours(4))


def test_horizons_count_from_the_last_known_hour(model: Forecaster[CarbonSeries]):
    late = END + timedelta(hours=30)

    said = model.predict(late, next_hours(10, late))

    assert said.values == model.predict(END, next_hours(40)).values[30:]
    with pytest.raises(GapsTooLarge, match="reach is 168 h"):
        model.predict(late, next_hours(168, late))


# --- histories as they come -----------------------------------------------------------------------------


def test_a_short_history_is_refused_with_what_to_do():
    with pytest.raises(GapsTooLarge, match="42 days") as refused:
        fit(carbon(made(41)), method=Method.SEASONAL)

    assert "outweigh grid fetch" in refused.value.remedy


def test_without_the_library_the_boosted_one_says_what_to_do_and_the_seasonal_one_works(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.ensemble", None)

    with pytest.raises(MissingExtra, match="--method seasonal"):
        fit(carbon(made()), method=Method.BOOSTED, reach_h=24)

    assert len(fit(carbon(made()), method=Method.SEASONAL, reach_h=24).predict(END, next_hours(24))) == 24


@given(seed=st.integers(0, 1000), share=st.floats(0, 0.2))
@settings(max_examples=10, deadline=None)
def test_gaps_are_no_values_and_do_not_stop_a_forecast(seed: int, share: float):
    chance = np.random.default_rng(seed)
    values: list[float | Gap] = [Gap.MISSING if chance.random() < share else float(value) for value in made(seed=seed)]
    known = [value for value in values if not isinstance(value, Gap)]

    said = fit(carbon(values), method=Method.SEASONAL, reach_h=24).predict(END, next_hours(20))

    assert all(isinstance(value, float) and math.isfinite(value) for value in said.values)
    assert min(known) - 200 < min(v for v in said.values if isinstance(v, float))


def test_a_fortnight_missing_in_the_middle_and_a_day_at_the_end_are_passed_over():
    values: list[float | Gap] = [float(value) for value in made(90)]
    values[40 * 24 : 54 * 24] = [Gap.MISSING] * (14 * 24)
    values[-24:] = [Gap.NULL] * 24
    end = START + timedelta(days=90)

    said = fit(carbon(values), method=Method.SEASONAL).predict(end, next_hours(24, end))

    came = made(90)[-24:]
    assert np.abs(np.array(said.values) - came).max() < 60


def test_intervals_are_no_narrower_for_a_gap_of_three_weeks_before_the_last_hours():
    values: list[float | Gap] = [float(value) for value in made(100)]
    end = START + timedelta(days=100)
    gap = [*values[: -21 * 24], *([Gap.MISSING] * (21 * 24 - 3)), *values[-3:]]

    whole, torn = (fit(carbon(each), method=Method.SEASONAL, reach_h=24) for each in (values, gap))
    widths = [sum(b.high - b.low for b in each.predict(end, next_hours(24, end)).bounds) for each in (whole, torn)]

    assert widths[1] > 0.8 * widths[0]


def test_filled_and_foretold_slots_teach_nothing():
    measured = carbon(made())
    doubtful = CarbonSeries(
        measured.meaning,
        measured.edges_s,
        tuple(4_000.0 if 900 <= i < 950 else value for i, value in enumerate(measured.values)),
        tuple(
            (DataQuality.FILLED if i % 2 else DataQuality.FORECAST) if 900 <= i < 950 else quality
            for i, quality in enumerate(measured.qualities)
        ),
        measured.origin,
    )
    gaps: list[float | Gap] = [Gap.MISSING if 900 <= i < 950 else v for i, v in enumerate(measured.values)]

    one, other = (fit(each, method=Method.SEASONAL, reach_h=24) for each in (doubtful, carbon(gaps)))

    assert one.predict(END, next_hours(24)).values == other.predict(END, next_hours(24)).values


def test_figures_that_stand_in_for_days_are_no_history():
    typical = open_source("typical").carbon("US-CAL-CISO", Interval(START, END))

    with pytest.raises(InvalidQuantity, match="learns from days that were"):
        fit(typical, method=Method.SEASONAL)


@pytest.mark.parametrize(("step_s", "problem"), [(7200.0, "an hour or less"), (2400.0, "across a full hour")])
def test_steps_that_hours_do_not_hold_are_refused(step_s: float, problem: str):
    with pytest.raises(InvalidQuantity, match=problem):
        fit(carbon(made(), step_s=step_s), method=Method.SEASONAL)


def test_quarter_hours_are_averaged_to_hours():
    hours = made()
    quarters = np.repeat(hours, 4) + np.tile([-3.0, 3.0, -1.0, 1.0], len(hours))

    one, other = (
        fit(series, method=Method.SEASONAL, reach_h=24).predict(END, next_hours(24))
        for series in (carbon(hours), carbon(quarters, step_s=900.0))
    )

    assert np.allclose(one.values, other.values, atol=1e-6)


@pytest.mark.parametrize("level", [0.0, 35.0, 700.0])
def test_a_constant_history_is_forecast_as_that_constant(model: Forecaster[CarbonSeries], level: float):
    said = fit(carbon(np.full(24 * DAYS, level)), method=model.method, reach_h=24).predict(END, next_hours(24))

    assert said.values == pytest.approx((level,) * 24, abs=1e-6)
    assert all(bounds.high - bounds.low < 1e-3 * max(1.0, level) for bounds in said.bounds)


def test_an_average_intensity_is_never_forecast_below_zero():
    values = np.maximum(0.0, made(noise=120.0) - 280)

    said = fit(carbon(values), method=Method.SEASONAL).predict(END, next_hours(168))

    assert min(bounds.low for bounds in said.bounds) >= 0
    assert min(value for value in said.values if isinstance(value, float)) >= 0


def test_negative_prices_are_forecast_where_they_come_every_noon():
    hour = np.arange(24 * DAYS) % 24
    values = np.where((hour >= 11) & (hour < 15), -0.04, 0.08) + np.random.default_rng(2).normal(0, 0.005, 24 * DAYS)

    model = fit(prices(values), method=Method.SEASONAL, reach_h=24)
    said = model.predict(END, next_hours(24))

    assert isinstance(said, PriceSeries)
    assert [i for i, value in enumerate(said.values) if isinstance(value, float) and value < 0] == [11, 12, 13, 14]


def test_a_price_has_no_percentage_error():
    values = 0.01 * made() / 100
    model = fit(prices(values), method=Method.SEASONAL, reach_h=24).held_back()

    skill = backtest(model, Interval(model.hours.start_of(model.fitted_until), END))

    assert (skill.model.mape_percent, skill.persistence.mape_percent) == (None, None)
    assert skill.model.mae > 0


def test_newer_outcomes_of_another_question_or_beginning_are_refused(model: Forecaster[CarbonSeries]):
    other = CarbonMeaning(CarbonKind.AVERAGE, CarbonScope.DIRECT, Accounting.CONSUMPTION)
    values = [float(value) for value in made()]

    with pytest.raises(SeriesMismatch):
        model.knowing(CarbonSeries.regular(START, 3600.0, values, DataQuality.MEASURED, other, ORIGIN))
    with pytest.raises(InvalidQuantity, match="append to the fitted one"):
        model.knowing(carbon(made(), start=START + timedelta(days=1)))


# --- clocks that change ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("clocks", "changes"),
    [
        ("Europe/Berlin", "2026-03-29"),
        ("Europe/Berlin", "2026-10-25"),
        ("Europe/London", "2026-03-29"),
        ("Europe/London", "2026-10-25"),
        ("America/New_York", "2026-03-08"),
        ("America/New_York", "2026-11-01"),
        ("Australia/Sydney", "2026-04-05"),
        ("Australia/Sydney", "2026-10-04"),
        ("Australia/Adelaide", "2026-04-05"),
        ("Australia/Adelaide", "2026-10-04"),
    ],
)
def test_a_day_that_is_longer_or_shorter_follows_the_clocks_of_the_zone(clocks: str, changes: str):
    zone = ZoneInfo(clocks)
    day = datetime.fromisoformat(changes).replace(tzinfo=zone)
    whole = Interval(day.astimezone(UTC), (day + timedelta(days=1)).astimezone(UTC))
    hours = round(whole.seconds / 3600)
    start = (whole.start - timedelta(days=70)).replace(minute=0)
    count = 24 * 70

    # People get up by the clock on the wall: what an hour is worth follows from what the clock shows.
    def by_the_clock(first: datetime, n: int) -> np.ndarray:
        shown = [(first + timedelta(hours=i)).astimezone(zone) for i in range(n)]
        return np.array([200.0 + 10 * (at.hour + at.minute / 60) for at in shown])

    history = carbon(by_the_clock(start, count), start=start)
    issue = start + timedelta(hours=count)
    told, in_utc = (
        fit(history, method=Method.SEASONAL, clocks=each, reach_h=48).predict(
            issue, Interval.starting(issue, 3600 * 30)
        )
        for each in (zone, UTC)
    )
    came = by_the_clock(issue, 30)

    assert hours in (23, 25)
    assert np.abs(np.array(told.values) - came).mean() < 3
    assert np.abs(np.array(told.values) - came).mean() < 0.5 * np.abs(np.array(in_utc.values) - came).mean()


# --- intervals ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("n", "at"), [(19, 19), (39, 38), (99, 95), (10, 10)])
def test_the_quantile_is_that_of_split_conformal_where_all_scores_weigh_the_same(n: int, at: int):
    # Romano, Patterson, Candes 2019, equation 8: the ceil((n + 1)(1 - alpha))-th smallest; the largest where there is
    # none such.
    scores = np.random.default_rng(n).permutation(np.arange(1.0, n + 1))

    assert shift(scores, np.zeros(n), 0.05) == at


def test_old_scores_fade():
    scores = np.concatenate([np.full(200, 10.0), np.full(200, 1.0)])
    age = np.concatenate([np.full(200, 600.0), np.zeros(200)])

    assert shift(scores, age, 0.05) == 1.0
    assert shift(scores, np.zeros(400), 0.05) == 10.0


def test_intervals_hold_what_they_promise_on_a_year_of_made_weather():
    values = made(365, seed=5)
    end = START + timedelta(days=365)
    model = fit(carbon(values[: 120 * 24]), method=Method.SEASONAL, reach_h=24).knowing(carbon(values))

    skill = backtest(model, Interval(START + timedelta(days=120), end))

    assert skill.days == 245
    assert skill.better
    assert 0.87 <= skill.coverage <= 0.93


# --- skill ----------------------------------------------------------------------------------------------


DAYS_AGO = np.repeat(np.arange(60.0), 24)
ONES = np.ones(60 * 24)


def test_the_one_that_was_right_gets_all_the_share_but_what_the_model_has_on_trust():
    came = np.random.default_rng(3).normal(300, 50, 60 * 24)
    off = came + np.random.default_rng(4).normal(0, 50, (3, 60 * 24))
    for right in range(3):
        said = off.copy()
        said[right] = came

        share = shares(said, came, 50 * ONES, DAYS_AGO, 60)

        trust = TRUST_DAYS / (60 + TRUST_DAYS)
        assert share == pytest.approx(np.eye(3)[right] * (1 - trust) + np.array([trust, 0, 0]))


def test_where_all_say_the_same_the_model_keeps_its_share():
    came = np.random.default_rng(3).normal(300, 50, 60 * 24)

    assert shares(np.stack([came + 7.3] * 3), came, 50 * ONES, DAYS_AGO, 60) == pytest.approx([1, 0, 0])


def test_a_few_hours_at_a_hundred_times_the_usual_do_not_choose():
    chance = np.random.default_rng(5)
    came = chance.normal(30, 1, 60 * 24)
    model, yesterday = came + chance.normal(6, 1, 60 * 24), came + chance.normal(0, 3, 60 * 24)
    spikes = chance.choice(60 * 24, 8, replace=False)
    yesterday[spikes] += 6000  # it repeats a spike on the day after; the model does not

    assert shares(np.stack([model, yesterday, model]), came, 5 * ONES, DAYS_AGO, 60)[1] > 0.6


@given(seed=st.integers(0, 10_000), days=st.integers(1, 40))
@settings(deadline=None)
def test_shares_are_shares_and_do_not_depend_on_the_unit(seed: int, days: int):
    chance = np.random.default_rng(seed)
    came, said = chance.normal(0, 1, days * 24), chance.normal(0, 1, (3, days * 24))
    age, spread = np.repeat(np.arange(float(days)), 24), np.ones(days * 24)

    share = shares(said, came, spread, age, days)

    assert share.sum() == pytest.approx(1)
    assert (share >= 0).all()
    assert share == pytest.approx(shares(1e3 * said, 1e3 * came, 1e3 * spread, age, days))


def test_where_nothing_can_be_foretold_it_says_so():
    # Every day is yesterday and one coin: yesterday's value is the best there is.
    steps = np.random.default_rng(3).normal(0, 5, 200).cumsum()
    values = np.repeat(500 + steps, 24)
    model = fit(carbon(values), method=Method.SEASONAL, reach_h=24).held_back()

    skill = backtest(model, Interval(model.hours.start_of(model.fitted_until), START + timedelta(days=200)))

    assert not skill.better
    assert "no better than yesterday's value" in str(skill)


def test_the_rivals_are_yesterday_and_the_week_before():
    values = np.arange(24.0 * 60)
    model = fit(carbon(values), method=Method.SEASONAL, reach_h=24).held_back()

    skill = backtest(model, Interval(model.hours.start_of(model.fitted_until), END))

    assert (skill.persistence.mae, skill.last_week.mae) == (24.0, 168.0)


@pytest.mark.parametrize(("zone", "clocks"), [("US-CAL-CISO", "America/Los_Angeles"), ("DE", "Europe/Berlin")])
def test_a_real_half_year_is_foretold_better_than_by_yesterday(zone: str, clocks: str):
    """Electricity Maps, lifecycle, 2021: fitted on January to July, issued daily from August on."""
    root = Path(os.environ.get("OUTWEIGH_SHARED_DATA", Path(__file__).parents[3] / "shared" / "data"))
    path = root / "grid" / "carbon" / f"{zone}.csv.gz"
    if not path.is_file():
        pytest.skip(f"no reference data at {root}: set OUTWEIGH_SHARED_DATA")
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        values = np.array([float(row["ci_lca"]) for _, row in zip(range(8760), csv.DictReader(lines), strict=False)])
    start, since = datetime(2021, 1, 1, tzinfo=UTC), datetime(2021, 8, 1, tzinfo=UTC)
    known = carbon(values, start=start)
    model = fit(known.window(Interval(start, since)), method=Method.SEASONAL, clocks=ZoneInfo(clocks), reach_h=24)

    skill = backtest(model.knowing(known), Interval(since, datetime(2022, 1, 1, tzinfo=UTC)))

    assert skill.better
    assert skill.lead > 0.1
    # 153 days of which neighbours go together: the share within scatters by about two points.
    assert abs(skill.coverage - CONFIDENCE) < 0.06
