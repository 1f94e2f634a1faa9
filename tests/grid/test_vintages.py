"""Decisions replay on what they saw; regret under actuals, by hand and on a half-year of real forecasts; and two real
vintages of one year, which differ as printed."""

from __future__ import annotations

import csv
import gzip
import importlib.util
import json
import math
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from outweigh.app.grid_regret import regrets
from outweigh.core.errors import (
    FactorMissing,
    GapsTooLarge,
    GridDataInvalid,
    InvalidQuantity,
    SeriesMismatch,
    UsageError,
)
from outweigh.core.intervals import Interval
from outweigh.core.quantities import CarbonScope
from outweigh.core.series import (
    Accounting,
    CarbonKind,
    CarbonMeaning,
    CarbonSeries,
    DataQuality,
    Fill,
    Gap,
    Origin,
    Slot,
)
from outweigh.grid import open_source
from outweigh.grid.archive import Archive
from outweigh.grid.vintages import Noted, cheapest, mean_over, regret, replay, seen

pytest.importorskip("duckdb")
spec = importlib.util.spec_from_file_location("archiving", Path(__file__).with_name("archiving.py"))
archiving = importlib.util.module_from_spec(spec)
spec.loader.exec_module(archiving)
DIRECT, LIFECYCLE = archiving.DIRECT, archiving.LIFECYCLE
after, hours, said, expected, paid = (
    archiving.after, archiving.hours, archiving.said, archiving.expected, archiving.paid,
)  # fmt: skip
DATA = Path(os.environ.get("OUTWEIGH_SHARED_DATA", Path(__file__).parents[3] / "shared" / "data")) / "grid"
real = pytest.mark.skipif(not DATA.is_dir(), reason="the shared traces are not here (OUTWEIGH_SHARED_DATA)")


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    return Archive(tmp_path / "grid")


# --- replaying ----------------------------------------------------------------------------------------


def test_a_decision_replays_on_what_it_saw_after_a_revision(archive: Archive):
    archive.put(said([300.0, 310.0]), retrieved_at=after(3))
    archive.put(expected([200.0] * 6, issued=after(3)), retrieved_at=after(3))
    look = archive.look("DE", DIRECT, hours(0, 6), at=after(4))
    record = json.loads(json.dumps(seen(look)))

    archive.put(said([1.0] * 6), retrieved_at=after(9))
    archive.compact()

    assert replay(record, archive) == look.series
    assert archive.known("DE", DIRECT, hours(0, 6)) != look.series
    assert [one["retrieved_at"] for one in record["vintages"]] == [after(3).isoformat()] * 2


def test_a_forecast_replays_as_a_forecast(archive: Archive):
    archive.put(expected([200.0] * 6, issued=after(0), wide=9.0), retrieved_at=after(0))
    look = archive.look_ahead("DE", DIRECT, hours(1, 5), at=after(1))

    archive.put(expected([100.0] * 6, issued=after(2)), retrieved_at=after(2))

    assert replay(seen(look), archive) == look.series
    assert len(look.series.bounds) == 4


def test_a_record_of_another_archive_is_refused(archive: Archive, tmp_path: Path):
    archive.put(said([300.0]), retrieved_at=after(3))
    record = seen(archive.look("DE", DIRECT, hours(0, 1)))

    with pytest.raises(FactorMissing, match="is not in"):
        replay(record, Archive(tmp_path / "other"))


def test_a_record_that_was_changed_is_refused(archive: Archive):
    archive.put(said([300.0, 310.0]), retrieved_at=after(3))
    record = seen(archive.look("DE", DIRECT, hours(0, 2)))

    with pytest.raises(GridDataInvalid, match="not what the decision saw"):
        replay(record | {"end": after(1).isoformat()}, archive)
    for damage in ({"vintages": [{}]}, {"meaning": {}}, {"schema": 2}, {"start": "noon"}, {"asked": "oracle"}):
        with pytest.raises(GridDataInvalid):
            replay(record | damage, archive)


def test_what_a_live_source_answered_is_kept_and_replays(archive: Archive):
    source = Noted(open_source("static:DE=230 g/kWh,DE=0.15 EUR/kWh"), archive, now=lambda: after(0))

    carbon, price = source.carbon("DE", hours(0, 24)), source.prices("DE", hours(0, 24))

    assert [replay(record, archive).values for record in source.records] == [carbon.values, price.values]
    assert source.records[0]["at"] == after(0).isoformat()
    assert archive.vintages("DE", carbon.meaning)[0].backend == "static"


def test_what_an_archive_answered_is_noted_and_not_copied(archive: Archive):
    archive.put(said([300.0]), retrieved_at=after(3))
    source = Noted(open_source(f"archive:{archive.folder}@2026-06-02T00:00Z"), archive)

    series = source.carbon("DE", hours(0, 1))

    assert replay(source.records[0], archive) == series
    assert len(archive.vintages("DE", DIRECT)) == 1


# --- regret -------------------------------------------------------------------------------------------


def test_without_a_forecast_kept_nothing_is_named_as_nearest_to_itself(tmp_path: Path):
    Archive(tmp_path).put(said([1.0, 2.0]), retrieved_at=after(100))

    with pytest.raises(FactorMissing) as refused:
        regrets("DE", start="2026-01-01", end="2026-01-02", archive=tmp_path)

    assert "grid fetch DE --forecast" in str(refused.value)
    assert "nearest: DE" not in str(refused.value)


def test_regret_takes_a_zone_by_any_of_its_names(archive: Archive):
    archive.put(said([3.0, 1.0, 2.0]), retrieved_at=after(100))
    archive.put(expected([3.0, 1.0, 2.0], issued=after(-1)), retrieved_at=after(-1))

    found = regrets(
        "DEU", start="2026-06-01T12:00Z", end="2026-06-01T13:00Z", job_h=1, window_h=3, archive=archive.folder
    )

    assert (found.zone, found.mean("best"), found.passed_over) == ("DE", 1.0, 0)


def test_regret_is_of_the_question_asked(archive: Archive):
    lifecycle = replace(DIRECT, scope=CarbonScope.LIFECYCLE)
    for meaning, values in ((DIRECT, [3.0, 1.0, 2.0]), (lifecycle, [6.0, 9.0, 5.0])):
        for series, known in ((said(values), after(100)), (expected(values, issued=after(-1)), after(-1))):
            archive.put(replace(series, meaning=meaning), retrieved_at=known)
    given = {"start": "2026-06-01T12:00Z", "end": "2026-06-01T13:00Z", "job_h": 1, "window_h": 3}

    found = regrets("DE", **given, archive=archive.folder, question=f"lifecycle-{lifecycle.accounting}")

    assert (found.meaning, found.mean("best")) == (lifecycle, 5.0)
    with pytest.raises(FactorMissing, match="marginal"):
        regrets("DE", **given, archive=archive.folder, question="marginal-direct-consumption")


def test_regret_by_hand():
    # Two hours of six. At once: (5+4)/2 = 4.5; best in one piece: (1+2)/2 = 1.5; chosen: (2+9)/2 = 5.5.
    actual = said([5.0, 4.0, 9.0, 1.0, 2.0, 9.0])

    found = regret([hours(4, 6)], actual, forecast=said([5.0] * 4 + [1.0] * 2))

    assert (found.chosen, found.best, found.now, found.promised) == (5.5, 1.5, 4.5, 1.0)
    assert found.absolute == 4.0
    assert found.share == pytest.approx(4 / 3)
    assert found.realised == pytest.approx(-1 / 3)
    assert found.unit == "gCO2e/kWh"


def test_a_job_that_may_pause_is_held_against_the_cheapest_hours():
    actual = said([5.0, 1.0, 9.0, 1.0, 9.0, 9.0])

    in_pieces = regret([hours(0, 1), hours(3, 4)], actual)
    in_one = regret([hours(0, 2)], actual)

    assert (in_pieces.best, in_one.best) == (1.0, 3.0)


def test_where_there_was_nothing_to_save_there_is_no_share():
    found = regret([hours(0, 1)], said([1.0, 2.0]))

    assert (found.absolute, found.share, found.realised) == (0.0, None, None)


def test_a_job_may_start_between_slots():
    # Half an hour of the dear slot less on the left, half more on the right: starting at 0.5 h takes all of slot 1.
    actual = said([9.0, 1.0, 3.0])

    assert cheapest(actual, hours(0, 3), 1800.0 * 3) == (Interval(after(1), after(2.5)),)
    assert cheapest(actual, Interval(after(0.5), after(2.25)), 3600.0) == (hours(1, 2),)


def test_gaps_and_fills_are_never_chosen_and_prices_below_zero_are():
    holey = said([9.0, Gap.NULL, 8.0, 7.0])

    assert cheapest(holey, hours(0, 4), 7200.0) == (hours(2, 4),)
    assert cheapest(holey.filled(Fill.HOLD), hours(0, 4), 3600.0, pausable=True) == (hours(3, 4),)
    assert cheapest(paid([0.1, -0.5, 0.0]), hours(0, 3), 3600.0) == (hours(1, 2),)
    with pytest.raises(GapsTooLarge, match="3 h long"):
        cheapest(holey, hours(0, 4), 3 * 3600.0)


def test_a_choice_that_cannot_be_is_refused():
    actual = said([1.0, 2.0, 3.0])

    for chosen in ([], [hours(0, 2), hours(1, 3)], [hours(2, 4)]):
        with pytest.raises(InvalidQuantity):
            regret(chosen, actual)
    with pytest.raises(InvalidQuantity):
        cheapest(actual, hours(0, 3), 4 * 3600.0)
    with pytest.raises(SeriesMismatch):
        regret([hours(0, 1)], actual, forecast=said([1.0] * 3, meaning=LIFECYCLE))
    with pytest.raises(GapsTooLarge):
        regret([hours(0, 1)], said([Gap.NULL, 1.0]))


@settings(deadline=None)
@given(st.lists(st.integers(0, 50), min_size=2, max_size=12), st.data())
def test_regret_is_never_negative_and_pausing_never_costs(values, data):
    actual = said([float(value) for value in values])
    length = data.draw(st.integers(1, len(values)))
    start = data.draw(st.integers(0, len(values) - length))
    chosen = [hours(start, start + length)]

    one, pieces = regret(chosen, actual), regret(chosen, actual, pausable=True)

    assert one.absolute >= -1e-9
    assert pieces.best <= one.best + 1e-9
    best_hourly = min(sum(values[i : i + length]) / length for i in range(len(values) - length + 1))
    assert one.best == pytest.approx(best_hourly)
    assert pieces.best == pytest.approx(sum(sorted(values)[:length]) / length)


# --- real vintages ------------------------------------------------------------------------------------

YEAR = Interval(datetime(2022, 1, 1, tzinfo=UTC), datetime(2023, 1, 1, tzinfo=UTC))
TRACED = CarbonMeaning(CarbonKind.AVERAGE, CarbonScope.LIFECYCLE, Accounting.CONSUMPTION)
# The moments are made up, in their order: the paper that kept the older download appeared in April 2024.
OLDER, NEWER = datetime(2023, 6, 1, tzinfo=UTC), datetime(2025, 6, 1, tzinfo=UTC)


def rows(name: str) -> Iterator[dict[str, str]]:
    with gzip.open(DATA / name, "rt", encoding="utf-8", newline="") as file:
        yield from csv.DictReader(file)


def hourly(found: Iterator[tuple[str, str]], zone: str, scope: CarbonScope = CarbonScope.LIFECYCLE) -> CarbonSeries:
    slots = []
    for stamp, value in found:
        start = datetime.fromisoformat(stamp)
        slots.append(Slot(start, start + timedelta(hours=1), float(value) if value else None, DataQuality.ESTIMATED))
    span = Interval(slots[0].start, slots[-1].end)
    origin = Origin("Electricity Maps", zone, "yearly download", "ODbL 1.0")
    return CarbonSeries.of(slots, span, replace(TRACED, scope=scope), origin)


# shared/data/grid/PROVENANCE.md: mean absolute difference between the two downloads of 2022, of the newer one's mean.
@real
@pytest.mark.parametrize(
    ("zone", "percent", "correlation"), [("GB", 6.7, None), ("KR", 8.5, 0.36), ("DE", 1.1, None), ("AU-NSW", 0.0, None)]
)
def test_two_downloads_of_one_year_differ_as_printed_and_each_moment_has_its_own(
    archive: Archive, zone: str, percent: float, correlation: float | None
):
    old = hourly(((row["utc"], row[zone]) for row in rows("carbon_2022_115zones.csv.gz")), zone)
    new = hourly(
        ((row["utc"], row["ci_lca"]) for row in rows(f"carbon/{zone}.csv.gz") if row["utc"][:4] == "2022"), zone
    )
    archive.put(new, retrieved_at=NEWER)
    archive.put(old, retrieved_at=OLDER)

    then = archive.known(zone, TRACED, YEAR, at=OLDER + timedelta(days=1))
    today = archive.known(zone, TRACED, YEAR)

    assert then == replace(old.window(YEAR), origin=replace(old.origin, retrieved_at=OLDER))
    assert today.values == new.values
    pairs = np.array(
        [(a, b) for a, b in zip(then.values, today.values, strict=True) if not isinstance(a, Gap)], dtype=float
    )
    assert len(pairs) == 8759
    difference = 100 * np.abs(pairs[:, 0] - pairs[:, 1]).mean() / pairs[:, 1].mean()
    assert difference == pytest.approx(percent, abs=0.05)  # printed to a tenth
    if correlation is not None:
        assert round(float(np.corrcoef(pairs.T)[0, 1]), 2) == correlation


@real
def test_the_same_choice_has_another_regret_on_another_vintage(archive: Archive):
    zone, day = "KR", Interval.starting(datetime(2022, 1, 4, tzinfo=UTC), 86400)
    old = hourly(((row["utc"], row[zone]) for row in rows("carbon_2022_115zones.csv.gz")), zone)
    new = hourly(
        ((row["utc"], row["ci_lca"]) for row in rows(f"carbon/{zone}.csv.gz") if row["utc"][:4] == "2022"), zone
    )
    archive.put(old, retrieved_at=OLDER)
    archive.put(new, retrieved_at=NEWER)
    then, today = (archive.known(zone, TRACED, day, at=at) for at in (OLDER, NEWER))

    chosen = cheapest(then, day, 4 * 3600.0)

    assert regret(chosen, then).absolute == 0
    assert regret(chosen, today).absolute > 0


def half_year(archive: Archive, zone: str) -> tuple[np.ndarray, np.ndarray]:
    """Puts each day's forecast as issued at its midnight and the actual half-year; returns both, (184, 24), NaN gaps.

    No issue time is published: "one forecast a calendar day, made the day before"; its midnight is the latest that
    allows.
    """
    table = list(rows(f"forecast/{zone}_2021H2.csv.gz"))
    actual = hourly(((row["utc"], row["actual"]) for row in table), zone, CarbonScope.DIRECT)
    archive.put(actual, retrieved_at=datetime(2022, 3, 1, tzinfo=UTC))
    forecast = hourly(((row["utc"], row["forecast_dayahead"]) for row in table), zone, CarbonScope.DIRECT)
    forecast = replace(forecast, qualities=(DataQuality.FORECAST,) * len(forecast))
    for n in range(184):
        midnight = actual.interval.start + timedelta(days=n)
        day = forecast.window(Interval.starting(midnight, 86400))
        archive.put(replace(day, origin=replace(day.origin, issued_at=midnight)), retrieved_at=midnight)
    return tuple(
        np.array([float(row[column] or math.nan) for row in table]).reshape(184, 24)
        for column in ("actual", "forecast_dayahead")
    )


@real
def test_regret_over_a_real_half_year_is_what_counting_hour_by_hour_gives(archive: Archive):
    actual, forecast = half_year(archive, "CISO")
    direct = replace(TRACED, scope=CarbonScope.DIRECT)
    truth = archive.known("CISO", direct, Interval.starting(datetime(2021, 7, 1, tzinfo=UTC), 184 * 86400))
    found = []
    for n in range(184):
        day = Interval.starting(datetime(2021, 7, 1, tzinfo=UTC) + timedelta(days=n), 86400)
        ahead = archive.forecast_as_of("CISO", direct, day, at=day.start)
        found.append(regret(cheapest(ahead, day, 4 * 3600.0), truth, within=day, forecast=ahead))

    def means(hours_of_day: np.ndarray) -> np.ndarray:
        return np.array([hours_of_day[:, i : i + 4].mean(axis=1) for i in range(21)]).T

    chosen = means(actual)[np.arange(184), means(forecast).argmin(axis=1)]
    best = means(actual).min(axis=1)
    assert [one.chosen for one in found] == pytest.approx(list(chosen))
    assert [one.best for one in found] == pytest.approx(list(best))
    assert [one.now for one in found] == pytest.approx(list(means(actual)[:, 0]))
    assert mean_over(truth, [Interval.starting(datetime(2021, 7, 1, tzinfo=UTC), 86400)]) == pytest.approx(
        actual[0].mean()
    )


# DESIGN section 9, of these files: a better forecast is not a better decision. MAPE there: DE 9.1, SE 6.5 %.
@real
@pytest.mark.slow
def test_sweden_has_the_better_forecast_and_germany_the_better_decisions(archive: Archive):
    saved, mape = {}, {}
    for zone in ("DE", "SE"):
        actual, forecast = half_year(archive, zone)
        mape[zone] = 100 * np.nanmean(np.abs(forecast - actual) / actual)
        saved[zone] = regrets(zone, start="2021-07-01", end="2022-01-01", archive=archive.folder).document()

    assert mape["DE"] == pytest.approx(9.1, abs=0.05)
    assert mape["SE"] == pytest.approx(6.5, abs=0.05)
    assert saved["DE"]["decisions"] == saved["SE"]["decisions"] == 184
    assert saved["SE"]["saved_share"] < saved["DE"]["saved_share"]


def test_a_decision_without_a_whole_forecast_is_passed_over_and_counted(archive: Archive):
    archive.put(said([5.0, 1.0, 3.0, 4.0] * 3), retrieved_at=after(99))
    archive.put(expected([1.0, 2.0, 3.0, 4.0], issued=after(0)), retrieved_at=after(0))
    archive.put(expected([9.0, 1.0, 3.0], issued=after(4), first=4), retrieved_at=after(4))
    archive.put(expected([9.0, 1.0, 3.0, 4.0], issued=after(8), first=8), retrieved_at=after(9))

    done = regrets("DE", start="2026-06-01T12:00Z", end="2026-06-02T00:00Z", job_h=1.0, window_h=4.0, every_h=4.0,
                   archive=archive.folder)  # fmt: skip

    assert (len(done.found), done.passed_over) == (1, 2)
    assert (done.found[0][1].chosen, done.found[0][1].best) == (5.0, 1.0)
    assert done.document()["regret_share"] == 1.0


@pytest.mark.parametrize(
    ("options", "refused"),
    [
        ({"job_h": 0.0}, UsageError),
        ({"job_h": 5.0, "window_h": 4.0}, UsageError),
        ({"every_h": float("nan")}, UsageError),
        ({"every_h": 1e-13}, UsageError),
        ({"end": "2026-06-01"}, UsageError),
        ({"zone": "FR"}, FactorMissing),
        ({"price": True}, FactorMissing),
        ({"archive": Path("/nowhere")}, UsageError),
    ],
)
def test_what_makes_no_decision_is_refused(archive: Archive, options: dict[str, object], refused: type):
    archive.put(expected([1.0, 2.0], issued=after(0)), retrieved_at=after(0))
    given = {"zone": "DE", "start": "2026-06-01", "end": "2026-06-02", "archive": archive.folder}

    with pytest.raises(refused):
        regrets(**(given | options))


def test_regret_at_the_command_line_shows_what_was_saved_and_passed_over(archive: Archive):
    archive.put(said([5.0, 1.0, 3.0, 4.0] * 3), retrieved_at=after(99))
    archive.put(expected([3.0, 2.0, 1.0, 4.0], issued=after(0)), retrieved_at=after(0))
    command = [
        str(Path(sys.executable).with_name("outweigh")), "grid", "regret", "DE", "--archive", str(archive.folder),
        "--from", "2026-06-01T12:00Z", "--to", "2026-06-01T20:00Z", "--job", "1", "--window", "4", "--every", "4",
    ]  # fmt: skip

    shown, told = (
        subprocess.run([*command, *more], capture_output=True, text=True, timeout=60, check=False)
        for more in ((), ("--json",))
    )

    # Chosen 3, best 1, at once 5: half of what foresight saves.
    body = json.loads(told.stdout)
    assert (body["regret_mean"], body["saved_share"], body["decisions"], body["passed_over"]) == (2.0, 0.5, 1, 1)
    assert "saved    50 %" in shown.stdout
    assert "1 decisions passed over" in shown.stderr
    assert shown.returncode == told.returncode == 0
