"""EIA: generation by fuel as text, in pages, stamped with the end of the hour."""

from __future__ import annotations

import csv
import gzip
import importlib.util
import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from outweigh.backends.grid._mix import Generation, intensity_slots
from outweigh.backends.grid.eia import FUELS, EiaGrid
from outweigh.core.errors import FactorMissing, GridDataInvalid, GridUnavailable, UnknownZone
from outweigh.core.intervals import Interval
from outweigh.core.series import DataQuality, Gap
from outweigh.data.fuels import fuel_intensities
from outweigh.data.tables import zone_intensities

pytest.importorskip("hishel")

spec = importlib.util.spec_from_file_location("keyed_providers", Path(__file__).with_name("keyed_providers.py"))
keyed = importlib.util.module_from_spec(spec)
spec.loader.exec_module(keyed)
DAY, HOUR, NOW = keyed.DAY, keyed.HOUR, keyed.NOW
PATH = "/v2/electricity/rto/fuel-type-data/data/"
SHARED = Path(os.environ.get("OUTWEIGH_SHARED_DATA", Path(__file__).parents[3] / "shared" / "data"))
NEW_YEAR = datetime(2022, 1, 1, tzinfo=UTC)


def says(provider, *rows, total=None) -> EiaGrid:
    provider.says(PATH, keyed.eia_body(rows, total))
    return keyed.at_work("eia", provider)


# IPCC AR5 WG3 Annex III, table A.III.2, life-cycle medians [gCO2eq/kWh]; lignite from the World Nuclear Association,
# Comparison of Lifecycle Greenhouse Gas Emissions of Various Electricity Generation Sources (2011).
@pytest.mark.parametrize(
    ("fuel", "g_per_kwh"),
    [
        ("coal", 820),
        ("gas", 490),
        ("nuclear", 12),
        ("hydro", 24),
        ("wind", 11),
        ("wind-offshore", 12),
        ("solar", 41),
        ("geothermal", 38),
        ("biomass", 230),
        ("lignite", 1054),
    ],
)
def test_the_factor_of_a_fuel_is_the_published_median(fuel, g_per_kwh):
    row = fuel_intensities()[fuel]

    assert row.g_per_kwh == g_per_kwh
    assert all((row.basis, row.provenance.unit, row.provenance.year, row.provenance.source, row.provenance.licence))


def test_the_page_on_sources_shows_every_factor_as_it_is():
    page = (Path(__file__).parents[2] / "docs" / "grid-sources.md").read_text(encoding="utf-8")

    for fuel, row in fuel_intensities().items():
        name, figure = (
            ("wind", f"at sea {row.g_per_kwh:.0f}") if fuel == "wind-offshore" else (fuel, f"{row.g_per_kwh:,.0f}")
        )
        assert any(line.startswith(f"| {name}") and figure in line for line in page.splitlines()), fuel


def test_the_documented_answer_is_read_with_its_numbers_as_text_and_its_hour_ending_at_the_stamp(provider, sample):
    provider.says(PATH, sample("eia_fuel_type_data_shape.json"))
    source = keyed.at_work("eia", provider)

    series = source.carbon("US-CAL-CISO", Interval.starting(NEW_YEAR - HOUR, 2 * 3600))

    # 6,764 MWh of gas at 490 and 1,367 of sun at 41, in the hour before 00:00.
    assert series.values == (pytest.approx((6764 * 490 + 1367 * 41) / (6764 + 1367)), Gap.MISSING)
    assert series.qualities[0] is DataQuality.ESTIMATED
    assert provider.asked[0].query["start"] == "2021-12-31T00"  # a day before, to know what is late
    assert provider.asked[0].query["end"] == "2022-01-01T01"
    assert provider.asked[0].query["facets[respondent][]"] == "CISO"


def test_the_intensity_is_that_of_the_published_hours():
    path = SHARED / "regions" / "us_ba_hourly_2022.csv.gz"
    if not path.is_file():
        pytest.skip(f"no reference data at {path}")
    columns = {
        "WND": "wind",
        "SUN": "solar",
        "WAT": "hydro",
        "OIL": "oil",
        "NG": "gas",
        "COL": "coal",
        "NUC": "nuclear",
    }
    checked = 0
    with gzip.open(path, "rt") as lines:
        for i, row in enumerate(csv.DictReader(lines)):
            if i % 997:
                continue
            mwh = {code: row.get(f"{name}_mwh", "") for code, name in {**columns, "OTH": "other"}.items()}
            expected = row["carbon_intensity_gco2_kwh"]
            if not expected or "" in mwh.values():
                continue
            rows = [Generation(NEW_YEAR, NEW_YEAR + HOUR, code, float(value)) for code, value in mwh.items()]

            slot = intensity_slots(rows, FUELS, "eia", "US-CAL-CISO")[0]

            assert slot.value == pytest.approx(float(expected), abs=0.06)
            checked += 1
    assert checked > 50


def test_more_rows_than_a_page_holds_are_asked_for_page_by_page(provider):
    source = keyed.eia(provider)
    month = Interval(NOW - timedelta(days=40), NOW - timedelta(days=1))

    series = source.carbon("US-CAL-CISO", month)

    assert [asked.query["offset"] for asked in provider.asked] == ["0", "5000"]
    assert series.missing_share == 0
    assert series.mean_value() == pytest.approx(keyed.EIA_G_PER_KWH)


def test_a_page_that_ends_before_the_rows_it_promised_is_refused(provider):
    source = says(provider, total="7000")

    with pytest.raises(GridDataInvalid, match="7000 rows and gave 0"):
        source.carbon("US-CAL-CISO", DAY)


def test_the_second_ask_within_the_hour_makes_no_request(provider):
    source = keyed.eia(provider)

    first, second = (source.carbon("US-CAL-CISO", DAY) for _ in range(2))

    assert len(provider.asked) == 1
    assert first.values == second.values


@pytest.mark.parametrize("zone", ["US-CAL-CISO", "CISO"])
def test_a_zone_goes_by_its_name_or_its_authoritys_code(provider, zone):
    assert keyed.eia(provider).carbon(zone, DAY).origin.zone == "US-CAL-CISO"


def test_every_zone_of_the_embedded_tables_is_one_it_knows_by_the_same_name():
    ours = {zone for zone, row in zone_intensities().items() if zone.startswith("US-") and zone == row.zone}

    assert ours <= set(EiaGrid().zones())


# --- days when clocks change ------------------------------------------------------------------------


# Clocks in New York went on at 2026-03-08T07:00Z and go back at 2026-11-01T06:00Z (15 U.S.C. 260a).
@pytest.mark.parametrize(("day", "hours"), [((2026, 3, 8), 23), ((2026, 11, 1), 25)])
def test_a_local_day_of_23_or_25_hours_has_as_many_and_none_twice(provider, day, hours):
    new_york = ZoneInfo("America/New_York")
    start = datetime(*day, tzinfo=new_york)
    local_day = Interval(start, (start + timedelta(days=1)).replace(hour=0))
    source = keyed.eia(provider, until=local_day.end + HOUR)
    source._now = lambda: local_day.end + timedelta(days=2)

    series = source.carbon("US-NY-NYIS", local_day)

    assert len(series) == hours
    assert series.missing_share == 0
    assert series.steps_s == (3600.0,)


# --- what goes wrong --------------------------------------------------------------------------------


def hour(value_of, end=DAY.start + HOUR):
    return [keyed.eia_row(end, fuel, value) for fuel, value in value_of.items()]


def test_an_hour_in_which_a_fuel_that_matters_is_late_is_a_gap_and_not_a_cleaner_hour(provider):
    full = {"NG": "600", "NUC": "400"}
    source = says(provider, *hour(full), *hour({"NUC": "400"}, DAY.start + 2 * HOUR), *hour(full, DAY.start + 3 * HOUR))

    series = source.carbon("US-CAL-CISO", Interval.starting(DAY.start, 3 * 3600))

    assert series.values[1] is Gap.MISSING
    assert series.values[0] == series.values[2] == pytest.approx((600 * 490 + 400 * 12) / 1000)


def test_a_fuel_that_is_late_all_through_the_window_is_missed_because_it_ran_the_day_before(provider):
    source = says(
        provider,
        *hour({"NG": "600", "NUC": "400"}, DAY.start - 5 * HOUR),
        *hour({"NUC": "400"}, DAY.start + HOUR),
    )

    assert source.carbon("US-CAL-CISO", Interval.starting(DAY.start, 3600)).missing_share == 1


def test_an_hour_whose_value_is_null_is_a_gap(provider):
    source = says(provider, *hour({"NG": "600", "NUC": "400"}), *hour({"NG": None, "NUC": "400"}, DAY.start + 2 * HOUR))

    assert source.carbon("US-CAL-CISO", Interval.starting(DAY.start, 7200)).values[1] is Gap.MISSING


def test_a_fuel_of_less_than_a_hundredth_may_be_late(provider):
    source = says(provider, *hour({"NG": "1000", "OIL": "2"}), *hour({"NG": "1000"}, DAY.start + 2 * HOUR))

    assert source.carbon("US-CAL-CISO", Interval.starting(DAY.start, 7200)).values[1] == pytest.approx(490)


def test_what_storage_gives_or_takes_and_what_a_plant_draws_at_night_counts_for_nothing(provider):
    source = says(provider, *hour({"NG": "1000", "BAT": "-500", "PS": "900", "SUN": "-3"}))

    assert source.carbon("US-CAL-CISO", Interval.starting(DAY.start, 3600)).values == (pytest.approx(490),)


def test_an_hour_with_much_from_a_fuel_that_has_no_factor_has_no_intensity(provider):
    source = says(provider, *hour({"NG": "900", "XYZ": "100"}))

    with pytest.raises(FactorMissing, match="XYZ"):
        source.carbon("US-CAL-CISO", Interval.starting(DAY.start, 3600))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"value-units": "megawatts"}, "megawatts"),
        ({"respondent": "PJM"}, "PJM"),
        ({"period": "2026-03-29"}, "2026-03-29"),
        ({"value": "lots"}, "lots"),
        ({"value": {"mwh": 1}}, "mwh"),
    ],
)
def test_a_row_that_cannot_be_right_refuses_the_answer_and_says_what_stood_there(provider, change, said):
    source = says(provider, {**keyed.eia_row(DAY.start + HOUR, "NG", "600"), **change})

    with pytest.raises(GridDataInvalid, match=said) as caught:
        source.carbon("US-CAL-CISO", DAY)

    assert caught.value.remedy


def test_two_values_for_one_hour_and_fuel_are_refused_and_the_same_twice_is_one(provider):
    row = keyed.eia_row(DAY.start + HOUR, "NG", "600")
    window = Interval.starting(DAY.start, 3600)

    assert says(provider, row, row).carbon("US-CAL-CISO", window).values == (pytest.approx(490),)
    with pytest.raises(GridDataInvalid, match="two values"):
        keyed.at_work("eia", provider.says(PATH, keyed.eia_body([row, {**row, "value": "601"}]))).carbon(
            "US-CAL-CISO", Interval.starting(DAY.start, 7200)
        )


def test_a_value_revised_since_is_taken_when_it_is_fetched_anew(provider):
    row = keyed.eia_row(DAY.start + HOUR, "NG", "600")
    coal = keyed.eia_row(DAY.start + HOUR, "COL", "0")
    provider.says(PATH, keyed.eia_body([row, coal]), keyed.eia_body([row, {**coal, "value": "600"}]))
    source = keyed.at_work("eia", provider)
    window = Interval.starting(DAY.start, 3600)
    before = source.carbon("US-CAL-CISO", window)

    source._now = source._web.now = lambda: NOW + timedelta(days=2)
    source._web = None
    after = source.carbon("US-CAL-CISO", window)

    assert (before.values[0], after.values[0]) == (pytest.approx(490), pytest.approx((490 + 820) / 2))
    assert after.origin.retrieved_at > before.origin.retrieved_at


def test_without_a_key_it_says_where_one_is_and_asks_nobody(provider, monkeypatch):
    provider.stands_in_for("eia")
    monkeypatch.delenv("OUTWEIGH_EIA_KEY", raising=False)

    with pytest.raises(GridUnavailable, match=r"eia\.gov/opendata/register.*OUTWEIGH_EIA_KEY"):
        EiaGrid(now=lambda: NOW).carbon("US-CAL-CISO", DAY)

    assert not provider.asked
    assert not EiaGrid.probe().usable
    assert "OUTWEIGH_EIA_KEY" in EiaGrid.probe().remedy


def test_a_refused_key_is_told_with_where_to_get_one(provider, answer):
    body = {"error": {"code": "API_KEY_INVALID", "message": "An invalid api_key was supplied."}}
    provider.on(PATH, answer(body, 403))

    with pytest.raises(GridUnavailable, match=r"403.*eia\.gov/opendata/register"):
        keyed.at_work("eia", provider).carbon("US-CAL-CISO", DAY)


def test_a_slip_in_an_authoritys_name_lists_what_is_like_it():
    with pytest.raises(UnknownZone) as caught:
        EiaGrid().carbon("US-CAL-CISOO", DAY)

    assert any("US-CAL-CISO" in near for near in caught.value.nearest)


@pytest.mark.parametrize(
    "body", ["[]", "{}", '{"response": null}', '{"response": {"data": 3}}', "null", '{"response": []}']
)
def test_an_answer_of_another_shape_is_a_typed_refusal(provider, body):
    provider.says(PATH, json.loads(body))

    with pytest.raises(GridDataInvalid):
        keyed.at_work("eia", provider).carbon("US-CAL-CISO", DAY)


def test_show_gives_the_last_whole_day_of_a_source_that_comes_late_and_says_which(provider):
    from outweigh.app.grid import show_zone

    keyed.eia(provider, until=NOW - timedelta(hours=20))

    shown = show_zone("US-CAL-CISO", sources=("eia",), now=NOW)

    day = (NOW - timedelta(days=2)).replace(hour=0, minute=0, second=0, microsecond=0)
    assert (shown.document["start"], shown.document["end"]) == (day.isoformat(), (day + timedelta(days=1)).isoformat())
    assert (shown.document["level"], shown.document["backend"]) == ("live", "eia")
    assert shown.document["intensity_g_per_kwh"] == pytest.approx(keyed.EIA_G_PER_KWH)
    assert f"{day:%Y-%m-%d}T00:00Z for 24 h" in shown.lines[0]
    assert shown.notes[0] == "eia has nothing of the running hour yet: this is the last whole day that it has"


def test_a_time_that_was_asked_for_is_never_another_one(provider):
    from outweigh.app.grid import show_zone

    keyed.eia(provider, until=NOW - timedelta(hours=20))

    shown = show_zone("US-CAL-CISO", sources=("eia",), at=NOW.isoformat(), now=NOW)

    assert shown.document["level"] == "zone year"
    assert shown.document["start"] == NOW.isoformat()


def test_a_series_of_several_pages_was_known_when_the_last_came(provider):
    keyed.eia(provider)
    source = EiaGrid(now=lambda: NOW + len(provider.asked) * HOUR)  # an hour between two pages

    series = source.carbon("US-CAL-CISO", Interval(NOW - timedelta(days=40), NOW - timedelta(days=1)))

    assert len(provider.asked) == 2
    assert series.origin.retrieved_at == NOW + 2 * HOUR
