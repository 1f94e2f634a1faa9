"""Back-tests: what each policy would have saved, on what was known when it decided."""

from __future__ import annotations

import csv
import gzip
import json
import os
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from outweigh.app.backtesting import COLUMNS, SCHEMA, AsOf, backtest_document, backtest_file, repeated
from outweigh.backends.exporters.backtest_html import render
from outweigh.core.errors import FactorMissing, GapsTooLarge, InvalidQuantity, SeriesMismatch, UsageError
from outweigh.core.intervals import Interval
from outweigh.core.meaning import Accounting, CarbonKind, CarbonMeaning, DataQuality, Origin
from outweigh.core.quantities import CarbonScope
from outweigh.core.series import CarbonSeries
from outweigh.plan.backtest import backtest
from outweigh.plan.backtest_policies import BestConstant, Online, PlanOnce, PlanRolling, Threshold
from outweigh.plan.problem import Job, Jobs, Level, Places
from outweigh.plan.rolling import Rules
from outweigh.plan.rolling_outlook import Perfect, Persistence, Recorded
from outweigh.plan.sites import PlanSite, PlanSpec

SHARED = Path(os.environ.get("OUTWEIGH_SHARED_DATA", Path(__file__).parents[3] / "shared" / "data"))
START = datetime(2025, 1, 6, tzinfo=UTC)
few = settings(max_examples=12, deadline=None)


def places(rate=None, carbon=None, start=START):
    price = np.atleast_2d(np.asarray(rate if rate is not None else np.zeros_like(carbon), dtype=float))
    grams = np.atleast_2d(np.asarray(carbon if carbon is not None else np.zeros_like(price), dtype=float))
    names = tuple(f"s{i}" for i in range(len(price)))
    return Places(names, start, 3600.0, price[np.newaxis], grams[np.newaxis], np.ones(len(price)))


def hourly(release, work, window, *, sites=1, preemptible=False, resume_kwh=0.0):
    """Jobs of 1 kW released at these steps, at home at the first site."""
    n = len(release)
    release = np.asarray(release, dtype=float)
    return Jobs(
        tuple(f"j{i}" for i in range(n)),
        release=release,
        deadline=release + window,
        work=np.full(n, float(work)),
        speed=np.ones((n, 1)),
        power_w=np.full((n, 1), 1000.0),
        preemptible=np.full(n, preemptible),
        allowed=np.ones((n, sites), dtype=np.bool_),
        resume_steps=np.zeros(n),
        resume_kwh=np.full(n, resume_kwh),
        entry_cost=np.zeros((n, sites)),
        count=np.ones(n, dtype=np.int64),
        home=np.zeros(n, dtype=np.int64),
        devices=np.zeros(n),
        cut=np.zeros(n, dtype=np.bool_),
    )


def daily(days, *, noise=0.0, seed=1, sites=1):
    rng = np.random.default_rng(seed)
    hours = np.arange(24 * days)
    shape = 0.2 + 0.1 * np.sin(2 * np.pi * (hours + 6 * np.arange(sites)[:, np.newaxis]) / 24)
    return np.maximum(shape + noise * rng.normal(size=shape.shape), 0.01)


def every_policy(outlook):
    return [
        BestConstant(),
        Threshold(outlook),
        Threshold(outlook, percentile=None, adaptive=True),
        Online(),
        PlanOnce(outlook),
        PlanOnce(outlook, within_error=True),
        PlanRolling(outlook, Rules()),
    ]


# --- published figures ----------------------------------------------------------------------------------


# Maji et al., DACF, e-Energy 2022 (github.com/carbonfirst/DACF): forecasts of the day before, second half of 2021; a
# job of 6 h in one piece in a window of 24 h, started at every hour. Saving [%], and share of the oracle's [%].
@pytest.mark.parametrize(
    ("zone", "saving", "share"),
    [("CISO", 30.7, 98), ("DE", 16.6, 92), ("ERCO", 7.9, 69), ("PJM", 3.9, 86), ("SE", 3.2, 45)],
)
def test_a_plan_on_recorded_forecasts_saves_what_they_save(zone, saving, share):
    path = SHARED / f"grid/forecast/{zone}_2021H2.csv.gz"
    if not path.is_file():
        pytest.skip(f"no reference data at {SHARED}: set OUTWEIGH_SHARED_DATA")
    with gzip.open(path, "rt", encoding="utf-8") as file:
        rows = [(float(row["actual"]), float(row["forecast_dayahead"])) for row in csv.DictReader(file)]
    actual, forecast = np.array(rows).T
    came = places(carbon=actual)
    jobs = hourly(np.arange(len(actual) - 23), 6, 24)
    outlook = Recorded(places(carbon=forecast).rate(100), ahead=24, period=24)

    found = backtest(jobs, came, [PlanOnce(outlook)], carbon_price_per_tonne=100)

    plan = found.fared[1]
    assert 100 * plan.saving.value == pytest.approx(saving, abs=1)
    assert 100 * plan.of_oracle == pytest.approx(share, abs=1)
    assert plan.saving.low < plan.saving.value < plan.saving.high
    assert plan.late == 0


# --- laws -----------------------------------------------------------------------------------------------


@few
@given(st.integers(0, 10**6), st.integers(1, 5), st.integers(6, 24), st.booleans(), st.sampled_from([0.0, 0.05]))
def test_no_policy_beats_the_oracle_and_none_is_late(seed, work, window, preemptible, resume):
    rate = daily(6, noise=0.08, seed=seed, sites=2)
    jobs = hourly(np.arange(24, 100, 7), work, window, sites=2, preemptible=preemptible, resume_kwh=resume)

    found = backtest(jobs, places(rate), every_policy(Persistence(rate, 24)), carbon_price_per_tonne=0)

    best = found.of("oracle")
    for one in found.fared:
        assert one.late == 0
        assert (one.each >= best.each * (1 - 1e-9)).all(), one.name
        assert one.regret >= -1e-9


@few
@given(st.integers(0, 10**6), st.integers(30, 110))
def test_altering_what_comes_after_a_moment_changes_nothing_begun_before(seed, moment):
    rate = daily(6, noise=0.08, seed=seed)
    other = daily(6, noise=0.08, seed=seed + 1)
    altered = np.concatenate([rate[:, : moment + 1], other[:, moment + 1 :]], axis=1)
    jobs = hourly(np.arange(24, 100, 5), 3, 18, preemptible=True)

    def begun(came):
        policies = [one for one in every_policy(Persistence(came, 24)) if not isinstance(one, BestConstant)]
        found = backtest(jobs, places(came), policies, carbon_price_per_tonne=0)
        return {
            one.name: np.where(one.begun_at <= moment, one.begun_at, -1).tolist()
            for one in found.fared
            if one.name != "oracle"
        }

    assert begun(rate) == begun(altered)


def test_with_perfect_foresight_plans_are_the_oracle():
    rate = daily(8, noise=0.05, sites=3)
    jobs = hourly(np.arange(24, 150, 3), 4, 20, sites=3, preemptible=True, resume_kwh=0.1)
    perfect = Perfect(rate)

    found = backtest(jobs, places(rate), [PlanOnce(perfect), PlanRolling(perfect)], carbon_price_per_tonne=0)

    for one in found.fared[1:3]:
        assert one.of_oracle == pytest.approx(1)
        assert one.regret == pytest.approx(0, abs=1e-9)


def test_money_and_carbon_are_told_apart_and_the_objective_is_their_sum():
    price, carbon = daily(6, noise=0.02), 1000 * daily(6, noise=0.02, seed=5)
    came = places(price, carbon)
    jobs = hourly(np.arange(24, 100, 4), 3, 18)

    found = backtest(jobs, came, [PlanOnce(Perfect(came.rate(50)))], carbon_price_per_tonne=50)

    for one in found.fared:
        assert one.objective == pytest.approx(one.cost + one.carbon_g / 1e6 * 50)
        assert one.each.sum() == pytest.approx(one.objective)
        assert one.week.sum() == pytest.approx(one.objective)
    now = found.fared[0]
    assert now.cost == pytest.approx(sum(price[0, s : s + 3].sum() for s in range(24, 100, 4)))
    assert now.carbon_g == pytest.approx(sum(carbon[0, s : s + 3].sum() for s in range(24, 100, 4)))


def test_the_best_constant_is_an_hour_of_the_day():
    rate = daily(10)
    jobs = hourly(np.arange(24, 200, 24), 2, 24)
    policy = BestConstant()

    found = backtest(jobs, places(rate), [policy], carbon_price_per_tonne=0)

    assert set(found.fared[1].begun_at % 24) == {17}  # of a sine that is lowest at 18 h
    assert policy.what == "from 17:00 UTC, at home"
    assert found.fared[1].of_oracle == pytest.approx(1)


def test_a_forecast_that_is_noise_saves_nothing_and_is_called_noise():
    rng = np.random.default_rng(3)
    rate = 0.2 + 0.02 * rng.normal(size=(1, 24 * 90))
    wrong = 0.2 + 0.02 * rng.normal(size=rate.shape)
    jobs = hourly(np.arange(0, 24 * 88, 6), 3, 24)
    plan = PlanOnce(Recorded(wrong, 24, 24))

    found = backtest(jobs, places(rate), [plan], carbon_price_per_tonne=0)

    assert found.fared[1].noise
    assert found.fared[1].saving.low < 0 < found.of("oracle").saving.low


def test_a_saving_that_every_week_shows_is_not_noise():
    rate = daily(60, noise=0.02)
    jobs = hourly(np.arange(24, 24 * 58, 24), 3, 24)

    found = backtest(jobs, places(rate), [PlanOnce(Persistence(rate, 24))], carbon_price_per_tonne=0)

    assert not found.fared[1].noise
    assert found.fared[1].saving.low > 0


def test_fewer_than_four_weeks_have_no_interval():
    rate = daily(10)

    found = backtest(hourly([24, 48], 2, 12), places(rate), [], carbon_price_per_tonne=0)

    assert (found.fared[0].saving.low, found.fared[0].saving.high) == (None, None)


def test_expectations_below_their_own_error_start_now():
    rng = np.random.default_rng(8)
    rate = 0.2 + 0.02 * rng.normal(size=(1, 24 * 40))
    outlook = Recorded(0.2 + 0.001 * rng.normal(size=rate.shape), 24, 24)  # promises next to nothing
    jobs = hourly(np.arange(0, 24 * 38, 12), 3, 24)

    found = backtest(jobs, places(rate), [PlanOnce(outlook, within_error=True)], carbon_price_per_tonne=0)

    later = found.jobs.release > 48
    assert (found.fared[1].begun_at[later] == found.jobs.release[later]).all()
    assert found.fared[1].within_error > 0.9


def test_jobs_whose_window_holds_a_gap_are_left_out_and_named():
    rate = daily(6)
    rate[0, 60] = np.nan
    jobs = hourly([24, 50, 80], 2, 12)

    found = backtest(jobs, places(rate), [PlanOnce(Persistence(rate, 24))], carbon_price_per_tonne=0)

    assert found.left_out == ("j1",)
    assert found.jobs.names == ("j0", "j2")


def test_nothing_known_is_said():
    with pytest.raises(GapsTooLarge):
        backtest(hourly([0], 2, 12), places(np.full((1, 48), np.nan)), [], carbon_price_per_tonne=0)


def test_history_is_one():
    came = places(daily(3))
    two = replace(came, price=np.repeat(came.price, 2, axis=0), carbon=np.repeat(came.carbon, 2, axis=0))
    with pytest.raises(InvalidQuantity, match="history is one"):
        backtest(hourly([0], 2, 12), two, [], carbon_price_per_tonne=0)


# --- the document ---------------------------------------------------------------------------------------


def spec(**more):
    job = Job("train", START, START + timedelta(hours=20), 3, (Level(1, 1000),), home="here", movable=False)
    given_ = {"carbon_price": None, "work_quantile": 0.5, "sites": (PlanSite("here", "DE"),), "jobs": (job,)} | more
    return PlanSpec("jobs.toml", START, 24, 3600.0, **given_)


def test_jobs_repeat_at_their_hour_of_the_day_all_through_the_window():
    window = Interval(START - timedelta(days=30), START - timedelta(days=20))

    jobs, moved = repeated(spec(), window, 24)

    assert len(jobs) == 10
    assert {one.release.hour for one in jobs} == {START.hour}
    assert all(window.start <= one.release and one.deadline <= window.end for one in jobs)
    assert len({one.name for one in jobs}) == len(jobs)
    assert moved.start == jobs[0].release


@pytest.mark.parametrize(("hours", "every"), [(10, 24), (240, 0), (240, float("nan"))])
def test_a_window_too_short_or_a_distance_of_nothing_is_refused(hours, every):
    with pytest.raises(UsageError):
        repeated(spec(), Interval(START - timedelta(hours=hours), START), every)


def test_the_document_holds_plain_values_and_says_what_to_do():
    rate = daily(50, noise=0.02)
    came = places(rate)
    jobs = [
        Job(f"d{d}", START + timedelta(days=d), START + timedelta(days=d + 1), 3, (Level(1, 500),), home="s0")
        for d in range(2, 48)
    ]
    seen = []

    document = backtest_document(
        jobs, came, carbon_price_per_tonne=100, currency="EUR", outlook=Persistence(rate, 24),
        progress=lambda what, share: seen.append((what, share)),
    )  # fmt: skip

    assert json.loads(json.dumps(document, allow_nan=False)) == document
    assert document["schema"] == SCHEMA
    assert [document["policies"][i]["policy"] for i in (0, -1)] == ["start now", "oracle"]
    assert document["policies"][0]["noise"] is None
    assert len(document["hours"]) == 24 * len(document["policies"])
    assert "saved" in document["recommendation"]
    assert seen[-1] == ("done", 1.0)
    energy = {
        policy["policy"]: sum(row["energy_kwh"] for row in document["hours"] if row["policy"] == policy["policy"])
        for policy in document["policies"]
    }
    assert all(kwh == pytest.approx(46 * 1.5) for kwh in energy.values())


def test_where_planning_is_noise_the_document_says_start_at_once():
    rng = np.random.default_rng(4)
    rate = 0.2 + 0.02 * rng.normal(size=(1, 24 * 60))
    jobs = [
        Job(f"d{d}", START + timedelta(days=d), START + timedelta(days=d + 1), 3, (Level(1, 500),), home="s0")
        for d in range(2, 58)
    ]

    document = backtest_document(
        jobs, places(rate), carbon_price_per_tonne=0, currency="EUR", outlook=Persistence(rate, 24)
    )

    assert document["recommendation"].startswith(("Start at once", "Keep one rule"))


JOBS = """
[plan]
from = "2025-01-06T00:00Z"
horizon = "48 h"
carbon_price = "100 EUR/t"

[site.here]
zone = "DE"
pue = 1.2

[[job]]
name = "train"
work = "3 h"
within = "20 h"
power = "2 kW"
preemptible = true
"""


def history(path, days, noise=10.0):
    """A file of hourly carbon and prices that ends where the jobs begin."""
    rng = np.random.default_rng(2)
    lines = ["zone,start,end,value,unit,kind,scope,accounting,market,taxes,quality,issued_at,source,licence"]
    for hour in range(24 * days):
        at = START - timedelta(days=days) + timedelta(hours=hour)
        slot = f"DE,{at:%Y-%m-%dT%H:%MZ},{at + timedelta(hours=1):%Y-%m-%dT%H:%MZ}"
        level = 300 + 100 * np.sin(2 * np.pi * hour / 24) + noise * rng.normal()
        lines.append(f"{slot},{level:.2f},gCO2e/kWh,average,lifecycle,consumption,,,measured,,us,own")
        lines.append(f"{slot},{level / 4:.2f},EUR/MWh,,,,day-ahead,out,measured,,us,own")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@pytest.fixture
def jobs_file(tmp_path):
    path = tmp_path / "jobs.toml"
    path.write_text(JOBS, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("forecast", "days"),
    [("persistence", 70), ("perfect", 70), pytest.param("own", 130, marks=pytest.mark.slow)],
)
def test_a_file_of_jobs_is_played_over_a_file_of_history(jobs_file, tmp_path, forecast, days):
    if forecast == "own":
        pytest.importorskip("sklearn")
    past = history(tmp_path / "past.csv", days)
    window = Interval(START - timedelta(days=9 if forecast == "own" else 35), START)

    told = backtest_file(jobs_file, window=window, forecast=forecast, files=[past])

    policies = {one["policy"]: one for one in told.document["policies"]}
    plan = next(one for name, one in policies.items() if name.startswith("plan once"))
    assert told.document["jobs"] == (9 if forecast == "own" else 35)
    assert 0.3 < policies["oracle"]["saving_share"] < 0.6
    assert plan["oracle_share"] > (0.999 if forecast == "perfect" else 0.8)
    assert all(one["late"] == 0 for one in policies.values())
    assert all(len(row) == len(COLUMNS) for row in told.rows)
    assert told.notes[0] == told.document["recommendation"]


LIFECYCLE = CarbonMeaning(CarbonKind.AVERAGE, CarbonScope.LIFECYCLE, Accounting.CONSUMPTION)


def forecasts_kept(tmp_path, meaning=LIFECYCLE, prices=True):
    """A past, and an archive with a forecast and the prices of each of its last four days, as options."""
    pytest.importorskip("duckdb")
    from outweigh.data.grid_archive import Archive
    from outweigh.registry import grid_sources

    path = history(tmp_path / "past.csv", 40)
    past = grid_sources.get("file")(path)
    archive = Archive(tmp_path / "kept")
    begin = START - timedelta(days=4)
    for hour in range(0, 96, 24):
        at = begin + timedelta(hours=hour)
        day = Interval(at, at + timedelta(hours=48))
        if prices:
            archive.put(past.prices("DE", day), retrieved_at=at, zone="DE")
        values = [300 + 100 * np.sin(2 * np.pi * h / 24) for h in range(48)]
        origin = Origin("test", "DE", "test", "declared", issued_at=at)
        said = CarbonSeries.regular(at, 3600.0, values, DataQuality.FORECAST, meaning, origin)
        archive.put(said, retrieved_at=at, zone="DE")
    return {"window": Interval(begin, START), "forecast": f"archive:{archive.folder}", "files": [path]}


@pytest.mark.parametrize("zone", ["DE", "DEU"])
def test_an_archive_is_looked_through_as_it_was_at_each_moment(jobs_file, tmp_path, zone):
    jobs_file.write_text(JOBS.replace('zone = "DE"', f'zone = "{zone}"'), encoding="utf-8")

    told = backtest_file(jobs_file, **forecasts_kept(tmp_path))

    plan = next(one for one in told.document["policies"] if one["policy"].startswith("plan once"))
    assert plan["oracle_share"] > 0.8
    assert told.document["forecast"].startswith("archive")


def test_a_forecast_of_another_question_than_the_past_is_refused(jobs_file, tmp_path):
    direct = replace(LIFECYCLE, scope=CarbonScope.DIRECT)

    with pytest.raises(SeriesMismatch, match="direct"):
        backtest_file(jobs_file, **forecasts_kept(tmp_path, direct))


def test_a_price_that_the_archive_never_had_is_asked_for_and_not_passed_over(jobs_file, tmp_path):
    with pytest.raises(FactorMissing, match="fetch DE --source NAME --price"):
        backtest_file(jobs_file, **forecasts_kept(tmp_path, prices=False))


def test_a_zone_of_which_only_a_year_is_known_has_no_history_to_play(jobs_file):
    with pytest.raises(GapsTooLarge, match="Give the history as a file"):
        backtest_file(jobs_file, window=Interval(START - timedelta(days=9), START))


def test_a_mean_day_of_another_year_is_no_history_to_play(jobs_file):
    jobs_file.write_text(JOBS.replace('zone = "DE"', 'zone = "US-CAL-CISO"\nprice = "0.1 EUR/kWh"'), encoding="utf-8")

    with pytest.raises(GapsTooLarge, match="the mean day of another year is none"):
        backtest_file(jobs_file, window=Interval(START - timedelta(days=9), START), sources=["typical"])


@pytest.mark.parametrize("quality", ["measured", "estimated", "filled"])
def test_a_back_test_says_where_its_history_is_from_and_what_of_it_nobody_measured(jobs_file, tmp_path, quality):
    path = history(tmp_path / "history.csv", 45)
    rows = path.read_text(encoding="utf-8").splitlines()
    carbon = [row.replace(",measured,", f",{quality},") if "gCO2e" in row else row for row in rows]
    path.write_text("\n".join(carbon) + "\n", encoding="utf-8")

    told = backtest_file(jobs_file, window=Interval(START - timedelta(days=9), START), files=[path])

    said = [note for note in told.notes if note.startswith("NOT MEASURED")]
    assert told.document["notes"][: len(said)] == said
    if quality == "measured":
        assert said == []
    else:
        assert f"100% of the carbon intensity of here is {quality}" in said[0]
    site = told.document["sources"][0]
    assert (site["name"], site["carbon"]["quality"], site["price"]["quality"]) == ("here", quality, "measured")
    assert {"provider", "source", "licence", "grade", "vintage"} <= set(site["carbon"])
    assert "where they come from" in render(told.document)


def test_an_outlook_of_series_knows_only_what_they_knew():
    meaning = CarbonMeaning(CarbonKind.AVERAGE, CarbonScope.LIFECYCLE, Accounting.CONSUMPTION)
    came = places(carbon=np.full((1, 48), 300.0))
    asked = []

    def knowing(at, window):
        asked.append((at, window))
        origin = Origin("test", "DE", "test", "declared", issued_at=at)
        known = CarbonSeries.regular(at, 3600.0, [100.0] * 6, DataQuality.FORECAST, meaning, origin)
        return [(known, 0.0)]

    outlook = AsOf(came, 1000.0, knowing, "test", ahead=10)
    rates = outlook.rates(10, 20)

    np.testing.assert_allclose(rates[0, :6], 0.1)
    assert np.isnan(rates[0, 6:]).all()
    assert asked[0][0] == START + timedelta(hours=10)
    outlook.rates(10, 15)
    assert len(asked) == 1  # asked once a vintage


def test_what_is_no_forecast_is_refused(jobs_file):
    with pytest.raises(UsageError, match="crystal ball"):
        backtest_file(jobs_file, forecast="crystal ball")
