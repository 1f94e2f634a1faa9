"""Electricity Maps: the zone that was asked and no other, what is estimated, and which factors count."""

from __future__ import annotations

import importlib.util
import json
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from outweigh.backends.grid.electricity_maps import ElectricityMapsGrid
from outweigh.core.errors import FactorMissing, GridDataInvalid, GridUnavailable, UnknownZone
from outweigh.core.intervals import Interval
from outweigh.core.quantities import CarbonScope
from outweigh.core.series import DataQuality, Gap

pytest.importorskip("hishel")

spec = importlib.util.spec_from_file_location("keyed_providers", Path(__file__).with_name("keyed_providers.py"))
keyed = importlib.util.module_from_spec(spec)
spec.loader.exec_module(keyed)
DAY, HOUR, NOW = keyed.DAY, keyed.HOUR, keyed.NOW
BASE = "/v3/carbon-intensity/"
LIFECYCLE, DIRECT = ElectricityMapsGrid().limits.meanings


def says(provider, endpoint: str, body: object, now: datetime = NOW) -> ElectricityMapsGrid:
    provider.says(BASE + endpoint, body)
    return keyed.at_work("electricity-maps", provider, now)


def past(provider, *rows, zone="DE") -> ElectricityMapsGrid:
    return says(provider, "past-range", {"zone": zone, "data": list(rows)})


# --- what it answers --------------------------------------------------------------------------------


def test_the_recorded_range_of_a_day_is_read_with_its_missing_hours_as_gaps(provider, sample):
    source = says(provider, "past-range", sample("electricitymaps_past_range.json"))

    series = source.carbon("US-CAR-DUK", Interval.starting(datetime(2023, 7, 13, tzinfo=UTC), 86400))

    assert (series.values[0], series.values[1], series.values[-1]) == (369.0, 365.0, 386.0)
    assert series.missing_share == pytest.approx(21 / 24)
    assert series.worst_quality is DataQuality.MEASURED
    assert series.meaning == LIFECYCLE
    assert series.origin.issued_at == datetime(2023, 12, 20, 22, 15, 38, 617000, tzinfo=UTC)


def test_the_recorded_latest_figure_fills_the_hour_that_history_lacks_and_is_estimated(provider, sample):
    now = datetime(2025, 3, 29, 18, 10, tzinfo=UTC)
    rows = [keyed.em_row("US-CAR-DUK", now.replace(minute=0) - n * HOUR, 140) for n in range(1, 24)]
    provider.says(BASE + "latest", sample("electricitymaps_latest.json"))
    source = says(provider, "history", {"zone": "US-CAR-DUK", "history": rows}, now)

    series = source.carbon("US-CAR-DUK", Interval(now - 3 * HOUR, now + timedelta(minutes=20)))

    assert series.at(now) == 144.0
    assert series.qualities[-1] is DataQuality.ESTIMATED
    assert series.missing_share == 0


def test_the_documented_forecast_says_when_it_was_made(provider, sample):
    source = says(
        provider, "forecast", sample("electricitymaps_forecast_shape.json"), datetime(2026, 1, 10, 8, 30, tzinfo=UTC)
    )

    series = source.forecast("DE", Interval.starting(datetime(2026, 1, 10, 9, tzinfo=UTC), 3 * 3600))

    assert series.values == (326.0, 318.0, Gap.MISSING)
    assert series.worst_quality is DataQuality.FORECAST
    assert series.origin.issued_at == datetime(2026, 1, 10, 8, 1, 12, tzinfo=UTC)


def test_a_null_in_a_forecast_is_a_gap_that_cannot_be_the_lowest(provider):
    points = [
        {"datetime": f"2026-03-30T0{h}:00:00.000Z", "carbonIntensity": v} for h, v in ((7, 300), (8, None), (9, 200))
    ]
    source = says(provider, "forecast", {"zone": "DE", "updatedAt": "2026-03-30T06:00:00Z", "forecast": points})

    series = source.forecast("DE", Interval.starting(datetime(2026, 3, 30, 7, tzinfo=UTC), 3 * 3600))

    assert series.values == (300.0, Gap.NULL, 200.0)
    assert series.lowest().value == 200.0


def test_what_does_not_say_that_it_is_measured_is_estimated(provider):
    row = keyed.em_row("DE", DAY.start)
    del row["isEstimated"]

    assert past(provider, row).carbon("DE", Interval.starting(DAY.start, 3600)).worst_quality is DataQuality.ESTIMATED


def test_direct_factors_are_asked_for_by_name_and_give_a_series_of_that_kind(provider):
    source = keyed.electricity_maps(provider)

    series = source.carbon("DE", DAY, DIRECT)

    assert series.meaning.scope is CarbonScope.DIRECT
    assert provider.asked[0].query["emissionFactorType"] == "direct"


def test_a_direct_forecast_that_does_not_say_that_it_is_direct_is_refused(provider):
    with pytest.raises(FactorMissing, match="does not say which scope"):
        keyed.electricity_maps(provider).forecast("DE", Interval(NOW, NOW + 6 * HOUR), DIRECT)


def test_of_two_rows_for_an_hour_the_one_revised_last_counts(provider):
    first = keyed.em_row("DE", DAY.start, 300, updatedAt="2026-03-29T02:00:00.000Z")
    revised = keyed.em_row("DE", DAY.start, 310, updatedAt="2026-03-29T20:00:00.000Z")

    series = past(provider, revised, first).carbon("DE", Interval.starting(DAY.start, 3600))

    assert series.values == (310.0,)
    assert series.origin.issued_at == datetime(2026, 3, 29, 20, tzinfo=UTC)


# --- what it is asked -------------------------------------------------------------------------------


def test_every_request_names_its_zone_and_forbids_a_look_at_the_callers_address(provider):
    source = keyed.electricity_maps(provider)

    source.carbon("DE", DAY)
    source.carbon("DE", Interval(NOW - 3 * HOUR, NOW))
    source.forecast("DE", Interval(NOW, NOW + 30 * HOUR))

    assert {asked.path.rpartition("/")[2] for asked in provider.asked} == {"past-range", "history", "forecast"}
    for asked in provider.asked:
        assert asked.query["zone"] == "DE"
        assert asked.query["disableCallerLookup"] == "true"
        assert asked.headers["auth-token"] == keyed.KEY
    assert provider.asked[-1].query["horizonHours"] == "48"


@pytest.mark.parametrize("zone", ["", "world", "OWID_WRL", "de", "DE&zone=FR"])
def test_what_is_no_zone_is_refused_before_anybody_is_asked(provider, zone):
    with pytest.raises(UnknownZone):
        keyed.electricity_maps(provider).carbon(zone, DAY)

    assert not provider.asked


def test_namibia_is_a_zone_and_not_a_missing_value(provider):
    series = keyed.electricity_maps(provider).carbon("NA", DAY)

    assert series.origin.zone == "NA"
    assert provider.asked[0].query["zone"] == "NA"


def test_windows_of_more_than_ten_days_are_asked_for_in_pieces(provider):
    source = keyed.electricity_maps(provider)
    window = Interval(NOW - timedelta(days=25), NOW - timedelta(days=1))

    assert source.carbon("DE", window).missing_share == 0
    spans = [(asked.query["start"], asked.query["end"]) for asked in provider.asked]
    assert len(spans) == 3
    assert all(before[1] == after[0] for before, after in pairwise(spans))


def test_the_last_day_is_asked_for_where_every_plan_may_ask(provider):
    keyed.electricity_maps(provider).carbon("DE", Interval(NOW - 20 * HOUR, NOW - 2 * HOUR))

    assert provider.asked[0].path == BASE + "history"


# Clocks changed at 2026-03-08T07:00Z in New York; in Sydney and Adelaide they went back on 2026-04-05, at 16:00Z and
# 16:30Z of the day before, and go on on 2026-10-04 (IANA time zone database 2025b).
@pytest.mark.parametrize(
    ("zone", "place", "day", "hours"),
    [
        ("US-NY-NYIS", "America/New_York", (2026, 3, 8), 23),
        ("US-NY-NYIS", "America/New_York", (2026, 11, 1), 25),
        ("AU-NSW", "Australia/Sydney", (2026, 4, 5), 25),
        ("AU-NSW", "Australia/Sydney", (2026, 10, 4), 23),
        ("AU-SA", "Australia/Adelaide", (2026, 4, 5), 25),
        ("AU-SA", "Australia/Adelaide", (2026, 10, 4), 23),
    ],
)
def test_a_local_day_on_which_clocks_change_is_whole(provider, zone, place, day, hours):
    start = datetime(*day, tzinfo=ZoneInfo(place))
    local_day = Interval(start, (start + timedelta(days=1)).replace(hour=0))
    source = keyed.electricity_maps(provider, (zone,), now=local_day.end + timedelta(days=3))

    series = source.carbon(zone, local_day)

    assert series.seconds == hours * 3600
    assert series.missing_share == 0
    # Adelaide is half an hour off: its first and last slots are cut, none is moved.
    assert series.steps_s == ((1800.0, 3600.0) if place.endswith("Adelaide") else (3600.0,))


# --- what goes wrong --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"zone": "FR"}, "'FR', and 'DE' was asked"),
        ({"emissionFactorType": "direct"}, "'direct', not 'lifecycle'"),
        ({"temporalGranularity": "daily"}, "'daily', not hourly"),
        ({"estimationMethod": "SANDBOX_MODE_DATA"}, "test key"),
        ({"carbonIntensity": "369"}, "'369'"),
        ({"carbonIntensity": True}, "True"),
        ({"carbonIntensity": 0.369}, "kgCO2/kWh"),
        ({"carbonIntensity": 369000}, "369000|unit"),
        ({"carbonIntensity": -5}, "-5"),
        ({"datetime": "2026-03-29T00:00:00"}, "UTC"),
        ({"datetime": None}, "None"),
        ({"datetime": "9999-12-31T23:30:00Z"}, "shape"),
    ],
)
def test_a_row_that_cannot_be_right_is_refused_and_says_why(provider, change, said):
    with pytest.raises(GridDataInvalid, match=said) as caught:
        past(provider, {**keyed.em_row("DE", DAY.start), **change}).carbon("DE", DAY)

    assert caught.value.remedy


def test_an_answer_for_another_zone_is_refused_even_where_its_rows_do_not_say_so(provider):
    row = keyed.em_row("DE", DAY.start)
    del row["zone"]

    with pytest.raises(GridDataInvalid, match="'US-CAL-CISO'"):
        past(provider, row, zone="US-CAL-CISO").carbon("DE", DAY)


@pytest.mark.parametrize("body", ["[]", "null", "3", '{"data": 3}', '{"data": [3]}', "{}"])
def test_an_answer_of_another_shape_is_a_typed_refusal(provider, body):
    with pytest.raises(GridDataInvalid):
        says(provider, "past-range", json.loads(body)).carbon("DE", DAY)


def test_a_zone_that_its_plan_does_not_open_is_told_with_the_keys_remedy(provider, answer):
    provider.on(BASE, answer({"error": "Your token does not have access to zone FR"}, 403))

    with pytest.raises(GridUnavailable, match=r"does not have access.*OUTWEIGH_ELECTRICITY_MAPS_KEY"):
        keyed.at_work("electricity-maps", provider).carbon("FR", DAY)


def test_a_zone_without_recent_data_is_missing_and_one_that_nobody_knows_is_unknown(provider):
    source = keyed.electricity_maps(provider)

    with pytest.raises(FactorMissing, match="no recent data") as known:
        source.carbon("FR", DAY)
    with pytest.raises(UnknownZone) as unknown:
        source.carbon("AU-NSWW", DAY)

    assert not isinstance(known.value, UnknownZone)
    assert any("AU-NSW" in near for near in unknown.value.nearest)


def test_a_zone_that_changed_its_name_lists_the_one_of_today(provider):
    with pytest.raises(UnknownZone) as caught:
        keyed.electricity_maps(provider).carbon("AUS-NSW", DAY)

    assert any("AU-NSW" in near for near in caught.value.nearest)


def test_what_is_still_to_come_is_asked_of_the_forecast(provider):
    with pytest.raises(FactorMissing, match="forecast"):
        keyed.electricity_maps(provider).carbon("DE", Interval(NOW + HOUR, NOW + 2 * HOUR))

    assert not provider.asked
