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


# South, west, north, east of each country, from an atlas, to the next degree outward and without far-off islands.
BOXES = {
    "AE": (22, 51, 27, 57), "AT": (46, 9, 50, 18), "AU": (-44, 112, -10, 154), "BE": (49, 2, 52, 7),
    "BH": (25, 50, 27, 51), "BR": (-34, -74, 6, -34), "CA": (41, -141, 84, -52), "CH": (45, 5, 48, 11),
    "CL": (-56, -76, -17, -66), "CN": (18, 73, 54, 135), "DE": (47, 5, 56, 16), "DK": (54, 8, 58, 16),
    "ES": (35, -10, 44, 4), "FI": (59, 19, 71, 32), "FR": (42, -6, 52, 9), "GB": (49, -9, 61, 2),
    "GR": (34, 19, 42, 29), "HK": (22, 113, 23, 115), "ID": (-11, 95, 6, 141), "IE": (51, -11, 56, -5),
    "IL": (29, 34.2, 34, 36), "IN": (6, 68, 36, 98), "IT": (35, 6, 48, 19), "JP": (24, 122, 46, 146),
    "KR": (33, 124, 39, 132), "MX": (14, -119, 33, -86), "MY": (0, 99, 8, 120), "NL": (50, 3, 54, 8),
    "NO": (57, 4, 72, 32), "NZ": (-48, 166, -34, 179), "PL": (49, 14, 55, 25), "QA": (24, 50, 27, 52),
    "SA": (16, 34, 33, 56), "SE": (55, 10, 70, 25), "SG": (1, 103, 2, 105), "TH": (5, 97, 21, 106),
    "TW": (21, 119, 26, 123), "US": (24, -125, 50, -66), "ZA": (-35, 16, -22, 33),
}  # fmt: skip
# Towns that a region's name, or its provider's own list, names, with their coordinates from GeoNames.
TOWNS = {
    "Cape Town": (-33.93, 18.42), "Hong Kong": (22.28, 114.17), "Tokyo": (35.69, 139.69), "Seoul": (37.57, 126.98),
    "Osaka": (34.69, 135.50), "Mumbai": (19.07, 72.88), "Hyderabad": (17.38, 78.46), "Singapore": (1.29, 103.85),
    "Sydney": (-33.87, 151.21), "Jakarta": (-6.21, 106.85), "Melbourne": (-37.81, 144.96), "Bangkok": (13.75, 100.50),
    "Calgary": (51.05, -114.09), "Beijing": (39.91, 116.40), "Frankfurt": (50.12, 8.68), "Zurich": (47.37, 8.55),
    "Zürich": (47.37, 8.55), "Stockholm": (59.33, 18.07), "Milan": (45.46, 9.19), "London": (51.51, -0.13),
    "Paris": (48.85, 2.35), "Tel Aviv": (32.08, 34.78), "São Paulo": (-23.55, -46.64), "Johannesburg": (-26.20, 28.04),
    "Delhi": (28.65, 77.23), "Warsaw": (52.23, 21.01), "Madrid": (40.42, -3.70), "Berlin": (52.52, 13.41),
    "Turin": (45.07, 7.69), "Eemshaven": (53.44, 6.83), "Doha": (25.29, 51.53), "Dammam": (26.43, 50.10),
    "Montréal": (45.51, -73.59), "Toronto": (43.71, -79.40), "Santiago": (-33.46, -70.65), "Columbus": (39.96, -83.00),
    "Dallas": (32.78, -96.81), "Los Angeles": (34.05, -118.24), "Salt Lake City": (40.76, -111.89),
    "Las Vegas": (36.17, -115.14), "Ohio": (39.96, -83.00), "Northern Virginia": (39.04, -77.49),
}  # fmt: skip


def test_every_cloud_region_lies_in_the_country_that_it_and_its_zone_are_said_to_be_of() -> None:
    for row in cloud_regions().values():
        assert row.latitude is not None, row.region
        assert row.longitude is not None, row.region
        south, west, north, east = BOXES[row.country]
        assert south <= row.latitude <= north, row
        assert west <= row.longitude <= east, row
        assert row.zone == "" or row.zone.partition("-")[0] == row.country, row


def test_a_cloud_region_named_after_a_town_lies_there_and_not_at_its_namesake() -> None:
    from outweigh.plan.clouds.survey import great_circle_km

    seen = set()
    for row in cloud_regions().values():
        for town in (name for name in TOWNS if name in row.name):
            assert row.latitude is not None
            assert row.longitude is not None
            # us-east-2 is of all Ohio: its table entry is Dayton's, 115 km from Columbus.
            assert great_circle_km((row.latitude, row.longitude), TOWNS[town]) < (120 if town == "Ohio" else 30), row
            seen.add(town)
    assert seen == set(TOWNS)


@pytest.mark.parametrize(
    ("region", "country", "zone"),
    [("gcp:me-central1", "QA", "QA"), ("aws:cn-north-1", "CN", "CN"), ("azure:westcentralus", "US", "")],
)
def test_a_region_is_in_the_land_its_town_is_in(region: str, country: str, zone: str) -> None:
    # Doha, Beijing and Cheyenne.
    assert (cloud_regions()[region].country, cloud_regions()[region].zone) == (country, zone)


def test_a_mean_of_all_of_a_provider_is_no_figure_of_a_region() -> None:
    # AWS's mean of 2023 is 0.18 L/kWh (Amazon Sustainability Report 2023); it publishes none of Cape Town or Ningxia.
    water = {key: row.factors["WUE"][0] for key, row in cloud_regions().items() if "WUE" in row.factors}

    assert 0.18 not in {value for key, value in water.items() if key.startswith("aws:")}
    assert not {"aws:af-south-1", "aws:cn-northwest-1"} & water.keys()
    assert water["aws:eu-central-1"] == 0.17


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
