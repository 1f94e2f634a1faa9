"""Cloud regions: every cell with its source, missing stays missing, ranks and spreads by hand, what is refused."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outweigh.core.errors import InvalidQuantity, PlanInfeasible, UsageError
from outweigh.core.measurement import Factor, Grade, Missing
from outweigh.core.quantities import Money
from outweigh.data.places import cloud_regions
from outweigh.plan.clouds import Criterion, GpuPrice, Region, Wanted, great_circle_km, rank, spread, survey
from outweigh.plan.clouds.survey import EU, UNIONS
from outweigh.plan.placement import Caps, Grouping

NOW = datetime(2026, 11, 1, tzinfo=UTC)
C, P, G = Criterion.CARBON, Criterion.PRICE, Criterion.GOVERNANCE


def region(key: str, country: str = "DE", zone: str = "", **values: float | None) -> Region:
    """A region with made-up figures; None is missing."""
    cells = {
        Criterion(name): Missing(name, "made up")
        if value is None
        else Factor(name, value, "1", "made up", "2025", "", "", Grade.D)
        for name, value in values.items()
    }  # fmt: skip
    return Region(key, key, country, zone or f"{country}-zone", 50.0, 8.0, cells)


def order(regions: list[Region], weights: Mapping[Criterion, float], **given: float) -> list[str]:
    return [one.region.key for one in rank(regions, weights, **given) if one.standing]  # type: ignore[arg-type]


# --- the survey -----------------------------------------------------------------------------------------


def test_every_embedded_region_has_every_cell_with_a_source_and_an_age_or_says_why_not() -> None:
    found = survey(Wanted(), NOW).regions

    assert len(found) == len(cloud_regions())
    for one in found:
        assert set(one.cells) == set(Wanted().criteria)
        for cell in one.cells.values():
            if isinstance(cell, Missing):
                assert cell.reason
            else:
                assert cell.source
                assert cell.unit
                assert cell.issued


def test_carbon_is_of_one_scope_for_all_regions() -> None:
    words = {
        "average life-cycle" if "life" in cell.name else cell.name
        for one in survey(Wanted(), NOW).regions
        if isinstance(cell := one.cells[C], Factor)
    }

    assert words == {"average life-cycle"}


def test_a_zone_without_a_figure_of_its_own_takes_its_countrys_and_says_so() -> None:
    tokyo = next(one for one in survey(Wanted(), NOW).regions if one.key == "aws:ap-northeast-1")

    cell = tokyo.cells[C]
    assert isinstance(cell, Factor)
    assert "the mean of all of JP stands in for JP-TK" in cell.name


def test_a_price_in_another_currency_stays_missing_until_a_rate_is_declared() -> None:
    without = survey(Wanted(currency="JPY"), NOW).regions
    with_rate = survey(Wanted(currency="JPY", rates={"USD": 150.0}), NOW).regions
    texas = [next(one for one in found if one.zone == "US-TEX-ERCO") for found in (without, with_rate)]

    assert isinstance(texas[0].cells[P], Missing)
    assert "--rate USD=" in texas[0].cells[P].reason
    dollars = next(one for one in survey(Wanted(), NOW).regions if one.zone == "US-TEX-ERCO").value(P)
    assert texas[1].value(P) == pytest.approx(150 * dollars)
    assert "as declared" in texas[1].cells[P].name  # type: ignore[union-attr]


def test_governance_is_the_mean_of_the_four_indicators_of_the_country() -> None:
    from outweigh.data.places import governance

    frankfurt = next(one for one in survey(Wanted(), NOW).regions if one.key == "aws:eu-central-1")

    assert frankfurt.value(G) == pytest.approx(sum(row.score for row in governance()["DE"].values()) / 4)


# Great-circle distances, e.g. Great Circle Mapper: London Heathrow (51.4775, -0.4614) to New York JFK
# (40.6398, -73.7789) is 5,540 km on the ellipsoid; a sphere is off by at most 0.5 %.
def test_the_great_circle_from_london_to_new_york_is_5540_km() -> None:
    assert great_circle_km((51.4775, -0.4614), (40.6398, -73.7789)) == pytest.approx(5540, rel=0.005)


@given(st.floats(-90, 90), st.floats(-180, 180), st.floats(-90, 90), st.floats(-180, 180))
def test_distance_is_the_same_both_ways_and_at_most_half_way_round(a: float, b: float, c: float, d: float) -> None:
    there, back = great_circle_km((a, b), (c, d)), great_circle_km((c, d), (a, b))

    assert there == pytest.approx(back)
    assert 0 <= there <= 20_016


def test_filters_leave_only_what_they_allow() -> None:
    found = survey(Wanted(countries=("EU",), providers=("gcp",), near=(50.1, 8.7), max_km=700), NOW).regions

    assert found
    assert all(one.country in EU and one.provider == "gcp" for one in found)
    assert all((one.value(Criterion.DISTANCE) or 0) <= 700 for one in found)
    assert UNIONS["EEA"] - EU == {"IS", "LI", "NO"}
    assert len(EU) == 27


def test_a_gpu_price_without_a_date_is_no_price() -> None:
    prices = [
        GpuPrice("aws:us-east-1", "H100", 4.0, "2026-09-06", "list"),
        GpuPrice("aws:us-east-1", "H100", 3.0, "2026-09-06", "list"),
        GpuPrice("aws:us-west-2", "H100", 1.0, "stored version", "list"),
    ]
    found = {one.key: one for one in survey(Wanted(gpu="H100", gpu_prices=prices), NOW).regions}

    assert found["aws:us-east-1"].value(Criterion.GPU) == 3.0
    assert found["aws:us-west-2"].cells[Criterion.GPU] == Missing("price of H100", "its price there has no date")


def test_the_newest_list_counts_however_cheap_an_older_one_was() -> None:
    prices = [
        GpuPrice("aws:us-east-1", "H100", 1.5, "2023-01-15", "old list"),
        GpuPrice("aws:us-east-1", "H100", 6.9, "2026-11-01", "new list"),
        GpuPrice("aws:us-east-1", "H100", 7.5, "2026-11-01T08:00+01:00", "another list of that day"),
    ]
    found = {one.key: one for one in survey(Wanted(gpu="H100", gpu_prices=prices), NOW).regions}

    assert found["aws:us-east-1"].value(Criterion.GPU) == 6.9


def test_data_costs_nothing_where_it_is_and_its_declared_price_elsewhere() -> None:
    asked = Wanted(data_gb=500.0, egress=Money(0.09, "USD"), data_at="aws:us-east-1")
    found = {one.key: one.value(Criterion.DATA) for one in survey(asked, NOW).regions}

    assert found["aws:us-east-1"] == 0.0
    assert found["gcp:europe-west3"] == pytest.approx(45.0)


# --- the ranking ----------------------------------------------------------------------------------------


# By hand: carbon 0, 50, 100 scales to 1, 0.5, 0; price 3, 2, 1 to 0, 0.5, 1. Carbon counts three times.
def test_a_ranking_by_hand() -> None:
    regions = [region("a", carbon=0, price=3), region("b", carbon=50, price=2), region("c", carbon=100, price=1)]

    ranked = rank(regions, {C: 3.0, P: 1.0})

    assert [(one.region.key, one.score) for one in ranked] == [("a", 0.75), ("b", 0.5), ("c", 0.25)]
    assert all(not one.dominated_by for one in ranked)


def test_what_is_missing_is_left_out_and_the_span_of_ranks_says_what_it_could_be() -> None:
    regions = [region("a", carbon=0, price=None), region("b", carbon=50, price=1), region("c", carbon=100, price=2)]

    a = next(one for one in rank(regions, {C: 1.0, P: 1.0}) if one.region.key == "a")

    assert (a.score, a.known) == (1.0, 0.5)
    assert a.standing is not None
    # With the worst price its score would be 0.5, below b's 0.75; with the best, 1.
    assert (a.standing.best, a.standing.rank, a.standing.worst) == (1, 1, 2)
    assert a.region.missing == (P,)


def test_a_region_of_which_too_little_is_known_is_not_ranked_however_good_that_little_is() -> None:
    regions = [region("bright", carbon=0, price=None, governance=None), region("b", carbon=9, price=1, governance=1)]

    ranked = rank(regions, {C: 1.0, P: 1.0, G: 1.0})

    assert [(one.region.key, one.standing is None) for one in ranked] == [("b", False), ("bright", True)]


def test_governance_is_better_when_it_is_higher() -> None:
    assert order([region("a", governance=0.1), region("b", governance=1.5)], {G: 1.0}) == ["b", "a"]


def test_a_region_that_is_nowhere_better_is_dominated_and_one_that_is_best_in_something_is_not() -> None:
    regions = [region("a", carbon=1, price=1), region("b", carbon=2, price=1), region("c", carbon=9, price=0.5)]

    dominated = {one.region.key: one.dominated_by for one in rank(regions, {C: 1.0, P: 1.0})}
    assert dominated == {"a": "", "b": "a", "c": ""}


def test_a_region_that_is_best_in_everything_stays_first_whatever_the_weights() -> None:
    regions = [region("best", carbon=1, price=1), *(region(f"r{n}", carbon=2 + n, price=2 + n) for n in range(6))]

    ranked = rank(regions, {C: 1.0, P: 1.0}, first=1)
    assert [one.standing.stays for one in ranked if one.standing] == [1.0, 0, 0, 0, 0, 0, 0]


@given(st.lists(st.tuples(st.integers(0, 500), st.integers(0, 50)), min_size=2, max_size=12), st.integers(0, 11))
def test_the_order_of_the_regions_does_not_matter(pairs: list[tuple[int, int]], turn: int) -> None:
    regions = [region(f"r{n:02}", carbon=carbon, price=price) for n, (carbon, price) in enumerate(pairs)]
    turned = regions[turn:] + regions[:turn]

    assert order(regions, {C: 2.0, P: 1.0}) == order(turned, {C: 2.0, P: 1.0})


def test_the_score_lies_between_zero_and_one_for_all_embedded_regions() -> None:
    regions = survey(Wanted(), NOW).regions
    for one in rank(regions, dict.fromkeys(Wanted().criteria, 1.0)):
        assert 0 <= one.score <= 1
        if one.standing:
            assert one.standing.best <= one.standing.rank <= one.standing.worst


# --- several at once ------------------------------------------------------------------------------------


def test_a_spread_takes_the_best_that_the_caps_allow() -> None:
    regions = [
        region("aws:1", "DE", carbon=1), region("aws:2", "DE", carbon=2), region("gcp:3", "FR", carbon=3),
        region("azure:4", "SE", carbon=4), region("aws:5", "PL", carbon=100),
    ]  # fmt: skip
    ranked = rank(regions, {C: 1.0})

    free = spread(ranked, 2, Caps())
    capped = spread(ranked, 2, Caps(country=0.5))
    wide = spread(ranked, 3, Caps(country=0.34, provider=0.34))
    assert [one.region.key for one in free.regions] == ["aws:1", "aws:2"]
    assert [one.region.key for one in capped.regions] == ["aws:1", "gcp:3"]
    assert [one.region.key for one in wide.regions] == ["aws:1", "gcp:3", "azure:4"]
    assert free.hhi[Grouping.COUNTRY] == pytest.approx(1.0)
    assert wide.hhi == pytest.approx(
        {Grouping.SITE: 1 / 3, Grouping.COUNTRY: 1 / 3, Grouping.GRID: 1 / 3, Grouping.PROVIDER: 1 / 3}
    )
    assert capped.score <= free.score <= free.bound + 1e-12


@given(st.lists(st.integers(0, 100), min_size=4, max_size=8), st.sampled_from([0.34, 0.5, 1.0]))
def test_no_other_set_under_the_caps_is_better(carbon: list[int], cap: float) -> None:
    from itertools import combinations

    countries = ["DE", "FR", "SE"]
    regions = [region(f"aws:{n}", countries[n % 3], carbon=c) for n, c in enumerate(carbon)]
    ranked = rank(regions, {C: 1.0})

    found = spread(ranked, 3, Caps(country=cap))
    most = int(cap * 3 + 1e-9)
    allowed = [
        sum(one.score for one in some) / 3
        for some in combinations(ranked, 3)
        if max([one.region.country for one in some].count(name) for name in countries) <= most
    ]
    assert found.score == pytest.approx(max(allowed))
    assert found.bound >= max(allowed) - 1e-9


@pytest.mark.parametrize(("count", "cap", "most"), [(2, 0.99, 1), (3, 0.34, 1), (50, 0.33, 16), (100, 0.29, 29)])
def test_a_cap_is_never_exceeded_as_it_was_typed(count: int, cap: float, most: int) -> None:
    best = [region(f"aws:{n}", "US", carbon=n) for n in range(count)]
    others = [region(f"gcp:{n}", f"country {n}", carbon=1000 + n) for n in range(count)]

    found = spread(rank([*best, *others], {C: 1.0}), count, Caps(country=cap))

    assert sum(one.region.country == "US" for one in found.regions) == most


# --- what is refused ------------------------------------------------------------------------------------


def test_caps_that_no_set_keeps_say_how_many_regions_they_allow() -> None:
    ranked = rank([region(f"aws:{n}", "DE", carbon=n) for n in range(4)], {C: 1.0})

    with pytest.raises(PlanInfeasible, match="the caps allow 1 of the 2 regions"):
        spread(ranked, 2, Caps(country=0.5))
    with pytest.raises(PlanInfeasible, match=r"allow 0 of the 3 regions asked for, of which each is 33\.3 %"):
        spread(ranked, 3, Caps(country=0.33))
    with pytest.raises(UsageError, match="9 regions are asked for and 4 are left"):
        spread(ranked, 9, Caps())


def test_a_region_whose_grid_is_not_known_keeps_to_the_cap_as_a_grid_of_its_own() -> None:
    unknown = [replace(region(f"aws:{n}", "US", carbon=n), zone="") for n in range(3)]
    ranked = rank(unknown, {C: 1.0})

    with pytest.raises(PlanInfeasible, match="the caps allow 0 of the 3 regions"):
        spread(ranked, 3, Caps(grid=0.01))
    assert spread(ranked, 3, Caps(grid=0.34)).hhi[Grouping.GRID] == pytest.approx(1 / 3)


@pytest.mark.parametrize(
    ("wanted", "says"),
    [
        (Wanted(countries=("Germany",)), "no cloud region has country 'Germany'"),
        (Wanted(providers=("amazon",)), "no cloud region has provider"),
        (Wanted(countries=("IS",)), "IS"),
        (Wanted(near=(-60.0, 0.0), max_km=100), "no region passes the filters"),
        (Wanted(gpu="H100", gpu_prices=[GpuPrice("x:y", "A100", 1.0, "2026-01-01", "")]), "They have: A100"),
    ],
)
def test_filters_that_leave_nothing_are_refused(wanted: Wanted, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        survey(wanted, NOW)


@pytest.mark.parametrize("weights", [{C: -1.0}, {C: float("nan")}, {C: 0.0}, {}])
def test_weights_that_weigh_nothing_are_refused(weights: dict[Criterion, float]) -> None:
    with pytest.raises(InvalidQuantity):
        rank([region("a", carbon=1)], weights)


def test_half_a_statement_about_data_is_refused() -> None:
    with pytest.raises(UsageError, match="its size, its price and where it is"):
        Wanted(data_gb=5.0)
    with pytest.raises(UsageError, match="priced in EUR"):
        Wanted(data_gb=5.0, egress=Money(0.1, "EUR"), data_at="aws:us-east-1")
