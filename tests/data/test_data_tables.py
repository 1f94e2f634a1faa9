"""The shipped tables: complete rows, the digests we say, and the bytes that the sources give."""

from __future__ import annotations

import csv
import hashlib
import importlib.util
import os
from importlib import resources
from pathlib import Path
from types import ModuleType

import pytest

from outweigh.core.measurement import Grade
from outweigh.data.tables import factor_drift, industrial_prices, region_pues, zone_intensities

ROOT = Path(__file__).resolve().parents[2]
TABLES = ("factor_drift.csv", "industrial_price.csv", "region_pue.csv", "zone_intensity.csv")
PLACES = (
    "cloud_region.csv",
    "country_electricity.csv",
    "governance.csv",
    "region_factor.csv",
    "typical_day.csv",
    "wholesale_price.csv",
    "zone_name.csv",
)
REQUIRED = ("value", "unit", "year", "source", "licence", "retrieved", "grade")


def shipped(name: str) -> bytes:
    return resources.files("outweigh.data").joinpath(name).read_bytes()


def rows(name: str) -> list[dict[str, str]]:
    return list(csv.DictReader(shipped(name).decode("utf-8").splitlines()))


def builder(name: str = "build_tables") -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / "scripts" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def sources() -> Path:
    """Where the source files lie, when they are here at all."""
    given = os.environ.get("OUTWEIGH_SHARED_DATA")
    return (Path(given) if given else ROOT.parent / "shared" / "data") / "regions"


@pytest.mark.parametrize("name", TABLES)
def test_every_row_says_its_value_unit_year_source_licence_and_grade(name: str) -> None:
    found = rows(name)

    assert found
    for row in found:
        assert all(row[column] for column in REQUIRED), row
        assert float(row["value"]) > 0
        assert Grade(row["grade"])


@pytest.mark.parametrize("name", [*TABLES, *PLACES])
def test_no_licence_forbids_shipping(name: str) -> None:
    allowed = {"CC BY 4.0", "US public domain", "facts published by the provider"}

    assert {row["licence"] for row in rows(name)} <= allowed


def test_the_shipped_tables_have_the_digests_that_stand_beside_them() -> None:
    stated = dict(reversed(line.split("  ")) for line in shipped("tables.sha256").decode().splitlines())

    assert {*TABLES, *PLACES} <= set(stated)
    assert stated == {name: hashlib.sha256(shipped(name)).hexdigest() for name in stated}


def test_rebuilding_from_the_sources_gives_the_same_bytes() -> None:
    if not sources().is_dir():
        pytest.skip("the source files are not here; OUTWEIGH_SHARED_DATA says where they are")

    built = builder().build(sources())
    placed = builder("build_grid_tables").build(sources(), sources().parent / "grid" / "price")

    assert built == {name: shipped(name) for name in TABLES}
    assert placed == {name: shipped(name) for name in PLACES}


def test_building_one_half_of_the_tables_leaves_the_digests_of_the_other(tmp_path: Path) -> None:
    (tmp_path / "tables.sha256").write_text("0" * 64 + "  other.csv\n")

    builder().write({"mine.csv": b"a,b\n"}, tmp_path)

    lines = (tmp_path / "tables.sha256").read_text().splitlines()
    assert lines == [f"{hashlib.sha256(b'a,b' + bytes([10])).hexdigest()}  mine.csv", "0" * 64 + "  other.csv"]


def test_keys_are_unique_and_no_alias_shadows_a_zone() -> None:
    found = rows("zone_intensity.csv")
    keys = [row["zone"] for row in found] + [row["alias"] for row in found]

    assert len(set(keys)) == len(keys)
    assert len({row["region"] for row in rows("region_pue.csv")}) == len(rows("region_pue.csv"))
    prices = [(row["zone"], row["year"]) for row in rows("industrial_price.csv")]
    assert len(set(prices)) == len(prices)


def test_namibia_is_a_country_and_not_a_missing_value() -> None:
    assert zone_intensities()["NA"].name == "Namibia"
    assert zone_intensities()["NAM"] is zone_intensities()["NA"]


def test_there_is_no_world_average_to_fall_back_on() -> None:
    assert not {"WORLD", "OWID_WRL", "WLD", ""} & set(zone_intensities())
    assert "World" not in {row.name for row in zone_intensities().values()}


def test_a_grid_whose_published_figure_is_mostly_rounding_is_left_out() -> None:
    # The Central African Republic's emissions round to 0.00 Mt: 0 g/kWh for a grid of hydro power at 24.
    assert "CF" not in zone_intensities()
    # Sierra Leone: 0.01 Mt over 0.21 TWh, so anything from 23 to 73 g/kWh.
    assert "SL" not in zone_intensities()


def test_a_state_price_never_answers_for_the_country_of_the_same_letters() -> None:
    prices = industrial_prices()

    assert prices["US-DE"][2024].name == "Delaware"
    assert prices["DE"][2024].name == "Germany"
    assert not {"CA", "IN", "GA", "NE", "PA"} & set(prices)


# Eurostat, nrg_pc_205 (updated 2025-10-22), band IE, excluding taxes and levies, EUR/kWh.
@pytest.mark.parametrize(
    ("zone", "first_2024", "second_2024", "first_2025"),
    [("FR", 0.1083, 0.1004, 0.0881), ("IE", 0.2051, 0.2086, 0.2109), ("GR", 0.1079, 0.1530, 0.1509)],
)
def test_the_industrial_price_of_a_european_country_is_eurostats(
    zone: str, first_2024: float, second_2024: float, first_2025: float
) -> None:
    years = industrial_prices()[zone]

    assert years[2024].value.amount_per_kwh == pytest.approx((first_2024 + second_2024) / 2)
    assert years[2025].value.amount_per_kwh == first_2025
    assert (years[2024].value.currency, years[2025].provenance.year) == ("EUR", "2025-S1")
    assert "band IE" in years[2025].kind


def test_all_of_the_union_has_a_price_and_a_country_whose_figures_are_old_or_nought_has_none() -> None:
    union = "AT BE BG CY CZ DE DK EE ES FI FR GR HR HU IE IT LT LU LV MT NL PL PT RO SE SI SK"

    assert {union[i : i + 2] for i in range(0, len(union), 3)} <= set(industrial_prices())
    # Eurostat's last of band IE: United Kingdom 2020-S1, Ukraine 2021-S1, Kosovo 2016-S2; Georgia reads 0.0000.
    assert not {"GB", "UA", "XK", "GE"} & set(industrial_prices())


def test_the_half_years_typed_off_agree_with_what_somebody_else_made_of_the_same_table() -> None:
    """The collected file has the mean of the two newest half-years of each country, to 0.0001."""
    collected = sources() / "industrial_price_eurostat.csv"
    if not collected.exists():
        pytest.skip("the source files are not here; OUTWEIGH_SHARED_DATA says where they are")
    tables = builder()
    typed: dict[str, dict[str, float]] = {}
    for row in tables.read(ROOT / "scripts" / "industrial_price_eurostat.csv"):
        zone = tables.EUROSTAT_CODES.get(row["geo"], row["geo"])
        typed.setdefault(zone, {})[row["time"]] = float(row["eur_per_kwh"])
    means = {tables.ALPHA_2.get(row["iso3"], "XK"): float(row["price_eur_kwh"]) for row in tables.read(collected)}

    for zone in set(typed) - {"GE"}:  # theirs passes over the zeros and takes 2023 in their place
        assert (typed[zone]["2024-S2"] + typed[zone]["2025-S1"]) / 2 == pytest.approx(means[zone], abs=0.000051), zone


# EIA, as printed in Statista 190680 (2024-03-18): industrial customers paid 8.3 US cents/kWh on average in 2022.
def test_the_industrial_price_of_the_united_states_in_2022_is_the_printed_one() -> None:
    assert round(100 * industrial_prices()["US"][2022].value.amount_per_kwh, 1) == 8.3


def test_generation_weighting_counts_an_hour_by_what_was_made_in_it() -> None:
    # IPCC AR5 WG3 Annex III, table A.III.2: coal 820, wind 11 g/kWh; 3 MWh of wind and 1 MWh of coal.
    totals = builder().Generation()

    totals.add("2022-01", {"wind": 3.0})
    totals.add("2022-02", {"coal": 1.0})

    assert totals.year == pytest.approx((3 * 11 + 820) / 4)
    assert totals.months == [11.0, 820.0]


def test_all_intensities_are_of_one_kind_so_that_they_can_be_ranked() -> None:
    found = set(zone_intensities().values())

    assert {(r.kind, r.value.basis, r.value.scope, r.accounting) for r in found} == {
        ("average", "location", "lifecycle", "production")
    }


def test_yearly_means_drift_further_the_older_they_are() -> None:
    for quantity in ("carbon intensity", "price"):
        by_lag = [factor_drift()[quantity, lag].value for lag in range(1, 9)]

        assert by_lag == sorted(by_lag)


def test_a_macro_region_pue_says_that_it_is_one() -> None:
    assert region_pues()["azure:westeurope"].basis == "macro-region EMEA FY25"
    assert region_pues()["aws:eu-central-1"].basis == "region"
