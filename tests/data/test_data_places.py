"""The tables of places: complete rows, figures as printed, and names that lead somewhere."""

from __future__ import annotations

import csv
import gzip
import os
from importlib import resources
from pathlib import Path

import pytest

from outweigh.core.measurement import Grade
from outweigh.data.places import (
    cloud_regions,
    country_years,
    governance,
    typical_days,
    wholesale_years,
    zone_names,
)
from outweigh.data.tables import zone_intensities

SHARED = Path(os.environ.get("OUTWEIGH_SHARED_DATA", Path(__file__).parents[3] / "shared" / "data")) / "regions"


def rows(name: str) -> list[dict[str, str]]:
    text = resources.files("outweigh.data").joinpath(name).read_text(encoding="utf-8")
    return list(csv.DictReader(text.splitlines()))


@pytest.mark.parametrize(
    "name",
    [
        "cloud_region.csv",
        "country_electricity.csv",
        "governance.csv",
        "region_factor.csv",
        "typical_day.csv",
        "wholesale_price.csv",
    ],
)
def test_every_row_says_its_unit_year_source_licence_and_grade(name: str) -> None:
    for row in rows(name):
        assert all(row[column] for column in ("unit", "year", "source", "licence", "retrieved", "grade")), row
        assert Grade(row["grade"]) is Grade.D
        assert "ODbL" not in str(row)
        assert "NC" not in row["licence"]


def test_all_tables_together_stay_small_in_the_wheel() -> None:
    import zlib

    folder = resources.files("outweigh.data")
    packed = sum(len(zlib.compress(f.read_bytes())) for f in folder.iterdir() if f.name.endswith(".csv"))

    assert packed < 150_000


def test_namibia_has_its_years_and_the_world_has_none() -> None:
    assert {row.name for row in country_years()["NA"].values()} == {"Namibia"}
    assert not {"", "WORLD", "OWID_WRL"} & set(country_years())


def test_the_latest_year_of_a_country_is_the_one_in_the_table_of_zones() -> None:
    for zone, years in country_years().items():
        latest = years[max(years)]

        assert zone_intensities()[zone].value.g_per_kwh == latest.g_per_kwh
        assert zone_intensities()[zone].provenance.year == str(latest.year)


def test_the_mix_of_a_country_adds_up_to_all_of_it() -> None:
    for years in country_years().values():
        for row in years.values():
            if "other" in row.mix_pct:
                # Ember's figures come to 0.01 TWh: eight of them, each off by half a step.
                rounding = 100 * 8 * 0.005 / row.generation_twh + 0.5
                assert sum(row.mix_pct.values()) == pytest.approx(100, abs=rounding)


def test_france_is_mostly_nuclear_and_poland_mostly_coal() -> None:
    # SDES, Bilan energetique de la France pour 2023, 3.4.1: nuclear 320 TWh of 503 TWh net, 63.7 %.
    assert country_years()["FR"][2023].mix_pct["nuclear"] == pytest.approx(63.7, abs=2)
    # PSE, January to October 2023: plants on hard coal 62.0 and on lignite 28.5 TWh of 133.3 TWh. That is a count by
    # plant and ours is one by fuel, so only the order is claimed.
    mix = country_years()["PL"][2023].mix_pct
    assert max(mix, key=lambda fuel: mix[fuel]) == "coal"
    assert mix["coal"] > 55


def test_a_renamed_zone_leads_to_one_that_is_not_renamed_itself() -> None:
    for row in zone_names().values():
        if row.now:
            assert row.note
            assert row.source
            assert row.now in zone_names() or row.now in country_years()
            assert not (row.now in zone_names() and zone_names()[row.now].now)


def test_a_zone_lies_in_a_country_with_figures_or_is_one_that_says_why_it_has_none() -> None:
    for row in zone_names().values():
        if row.zone == row.country:
            assert row.zone not in country_years()
            assert row.note
        else:
            assert row.country in country_years()


@pytest.mark.parametrize(
    ("zone", "name"),
    [
        ("BR-CS", "Central Brazil"),
        ("IT-CSO", "Central South Italy"),
        ("MY-EM", "Borneo"),
        ("NO-NO1", "Southeast Norway"),
        ("SE-SE2", "North Central Sweden"),
        ("US-CAR-SC", "South Carolina Public Service Authority"),
        ("US-NW-BPAT", "Bonneville Power Administration"),
    ],
)
def test_zones_are_called_what_those_who_made_the_keys_call_them(zone: str, name: str) -> None:
    # Electricity Maps' names as shipped in the Green Web Foundation's grid-aware web component.
    assert zone_names()[zone].name == name


def test_every_cloud_region_lies_in_a_zone_we_have_a_name_for_or_says_that_it_has_none() -> None:
    for row in cloud_regions().values():
        assert row.zone == "" or row.zone in zone_names() or row.zone in country_years(), row
        assert bool(row.zone) == bool(row.zone_basis)
        assert row.latitude is None or -90 <= row.latitude <= 90
        assert row.longitude is None or -180 <= row.longitude <= 180
        for quantity, (value, known) in row.factors.items():
            assert value <= 1 if quantity == "CFE" else value < 10
            assert known.year


def test_the_three_clouds_are_there_with_zones() -> None:
    for provider, at_least in (("aws", 30), ("azure", 50), ("gcp", 40)):
        found = [row for key, row in cloud_regions().items() if key.startswith(f"{provider}:") and row.zone]

        assert len(found) >= at_least


def test_governance_scores_lie_on_the_banks_scale() -> None:
    # World Bank WGI 2023: Switzerland and Norway lie in the top ten percent of rule of law, Somalia at the bottom.
    assert governance()["CH"]["rule of law"].percentile > 90
    assert governance()["SO"]["rule of law"].percentile < 10
    for by_name in governance().values():
        for row in by_name.values():
            assert -4 < row.score < 4


def test_the_day_ahead_price_of_germany_in_2024_is_the_printed_one() -> None:
    # Bundesnetzagentur, smard.de, "Der Strommarkt im Jahr 2024" (2025-01-02): 78.51 EUR/MWh on average, and "Der
    # Strommarkt im Jahr 2023" (2024-01-02): 95.18.
    assert wholesale_years()["DE"][2024].value.amount_per_kwh * 1e3 == pytest.approx(78.51, abs=0.05)
    assert wholesale_years()["DE"][2023].value.amount_per_kwh * 1e3 == pytest.approx(95.18, abs=0.05)


def test_a_typical_day_has_twelve_months_of_twenty_four_hours_and_the_sun_shows_in_california() -> None:
    for months in typical_days().values():
        assert sorted(months) == list(range(1, 13))
        assert {len(row.hours) for row in months.values()} == {24}
    june = typical_days()["US-CAL-CISO"][6].hours
    assert min(june) == min(june[15:24])  # 20:00Z is noon in California


def test_a_typical_hour_is_the_one_that_ends_at_the_stamp_of_eia_930() -> None:
    # EIA-930 names an hour by its end (PUDL data dictionary, core_eia930__hourly_net_generation_by_energy_source).
    path = SHARED / "us_ba_hourly_2022.csv.gz"
    if not path.is_file():
        pytest.skip("no reference data: set OUTWEIGH_SHARED_DATA")
    stamped: list[list[float]] = [[] for _ in range(24)]
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        for row in csv.DictReader(lines):
            if row["ba"] == "ERCO" and row["timestamp_utc"].startswith("2022-06") and row["solar_mwh"]:
                stamped[int(row["timestamp_utc"][11:13])].append(float(row["carbon_intensity_gco2_kwh"]))

    june = typical_days()["US-TEX-ERCO"][6].hours

    # Only the hour over midnight of the month's ends differs, and figures are rounded to 0.1.
    for hour in range(23):
        assert june[hour] == pytest.approx(sum(stamped[hour + 1]) / len(stamped[hour + 1]), abs=0.15)
