"""The embedded tables as a grid source, and sites resolved against them."""

from __future__ import annotations

import pickle

import pytest

from outweigh.core.errors import FactorMissing
from outweigh.core.measurement import Grade
from outweigh.core.project import SiteSpec
from outweigh.core.quantities import Power, Price
from outweigh.core.site import PueCurve
from outweigh.grid import DECLARED, resolve_site
from outweigh.ports import GridSource
from outweigh.registry import grid_sources


@pytest.fixture
def tables() -> GridSource:
    return grid_sources.get("tables")()


def spec(zone: str, **given: object) -> SiteSpec:
    fields: dict[str, object] = {"name": "fra-1", "zone": zone, "capacity": Power.kw(1.0)} | given
    return SiteSpec(**fields)  # type: ignore[arg-type]


def test_the_tables_are_a_grid_source_of_grade_d(tables: GridSource) -> None:
    probe = type(tables).probe()

    assert isinstance(tables, GridSource)
    assert (probe.name, probe.usable, probe.grade) == ("tables", True, Grade.D)
    assert all(len(text) > 10 for text in (probe.sees, probe.improve))


def test_every_listed_zone_has_an_intensity_with_its_provenance(tables: GridSource) -> None:
    for zone in tables.zones():
        value, factor = tables.intensity(zone)

        assert factor.value == value.g_per_kwh
        assert factor.unit == "gCO2e/kWh"
        assert factor.source
        assert factor.licence
        assert factor.issued.isdigit()
        assert factor.grade is Grade.D


def test_a_zone_goes_by_its_alias_too(tables: GridSource) -> None:
    assert tables.intensity("DEU") == tables.intensity("DE")
    assert tables.intensity("CISO") == tables.intensity("US-CAL-CISO")


def test_the_price_is_the_latest_year_and_says_which_state_stands_in(tables: GridSource) -> None:
    price, factor = tables.price("US-CAL-CISO")

    assert price.currency == "USD"
    assert factor.issued == "2024"
    assert "California stands in" in factor.name


@pytest.mark.parametrize(
    ("asked", "nearest"),
    [
        ("Germany", "DE (Germany)"),
        ("Germny", "DE (Germany)"),
        ("de", "DE (Germany)"),
        ("CA-QC", "CA (Canada)"),
        ("SE-SE3", "SE (Sweden)"),
        ("us-cal-ciso", "US-CAL-CISO (California ISO)"),
    ],
)
def test_an_unknown_zone_names_the_nearest_and_substitutes_none(tables: GridSource, asked: str, nearest: str) -> None:
    with pytest.raises(FactorMissing) as caught:
        tables.intensity(asked)

    assert nearest in caught.value.nearest
    assert caught.value.exit_code == 4
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


def test_an_empty_or_unheard_of_zone_is_refused_without_a_guess(tables: GridSource) -> None:
    for asked in ("", "world", "OWID_WRL"):
        with pytest.raises(FactorMissing) as caught:
            tables.intensity(asked)
        assert caught.value.nearest == ()


def test_germany_has_its_own_price_and_not_that_of_delaware(tables: GridSource) -> None:
    price, factor = tables.price("DE")

    assert price.currency == "EUR"
    assert (factor.issued, factor.source.partition(",")[0]) == ("2025-S1", "Eurostat")


def test_canada_has_no_price_although_california_does(tables: GridSource) -> None:
    with pytest.raises(FactorMissing, match="declare price"):
        tables.price("CA")


def test_a_region_without_its_provider_is_led_to_the_full_name(tables: GridSource) -> None:
    with pytest.raises(FactorMissing) as caught:
        tables.pue("eu-central-1")

    assert caught.value.nearest[0].startswith("aws:eu-central-1")


def test_what_is_declared_wins_over_the_tables(tables: GridSource) -> None:
    declared = spec("US-CAL-CISO", price=Price(0.09, "USD"), pue=PueCurve(1.6, 1.25), region="aws:us-west-1")

    site = resolve_site(declared, tables)

    assert site.price == Price(0.09, "USD")
    assert site.pue == PueCurve(1.6, 1.25)
    said = [factor for factor in site.factors if factor.source == DECLARED]
    assert [(factor.value, factor.unit, factor.grade) for factor in said] == [
        (0.09, "USD/kWh", "D"),
        (1.6, "1", "D"),
        (1.25, "1", "D"),
    ]


def test_what_is_not_declared_is_looked_up_and_keeps_its_source(tables: GridSource) -> None:
    site = resolve_site(spec("US-CAL-CISO", region="aws:us-west-1"), tables)

    assert site.pue == PueCurve(1.18, 1.18)
    assert site.price == tables.price("US-CAL-CISO")[0]
    assert site.factors == (
        tables.intensity("US-CAL-CISO")[1],
        tables.price("US-CAL-CISO")[1],
        tables.pue("aws:us-west-1")[1],
    )


def test_a_site_with_neither_pue_nor_region_is_missing_its_pue(tables: GridSource) -> None:
    with pytest.raises(FactorMissing, match="Declare pue") as caught:
        resolve_site(spec("US-CAL-CISO"), tables)

    assert caught.value.key == "fra-1"


def test_a_site_abroad_needs_its_price_declared(tables: GridSource) -> None:
    with pytest.raises(FactorMissing, match="no electricity price for 'JP'"):
        resolve_site(spec("JP", pue=PueCurve(1.2, 1.2)), tables)
