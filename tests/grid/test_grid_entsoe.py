"""ENTSO-E: curves with points left out, several auctions and resolutions in one document, and no data at all."""

from __future__ import annotations

import importlib.util
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from outweigh.backends.grid import _entsoe_xml as xml
from outweigh.backends.grid._http import Reply
from outweigh.backends.grid.entsoe import EntsoeGrid
from outweigh.core.errors import FactorMissing, GridBusy, GridDataInvalid, GridUnavailable, OutweighError, UnknownZone
from outweigh.core.intervals import Interval
from outweigh.core.series import DataQuality, Gap, Market, PriceMeaning

pytest.importorskip("hishel")

spec = importlib.util.spec_from_file_location("keyed_providers", Path(__file__).with_name("keyed_providers.py"))
keyed = importlib.util.module_from_spec(spec)
spec.loader.exec_module(keyed)
DAY, HOUR, NOW = keyed.DAY, keyed.HOUR, keyed.NOW
QUARTER = timedelta(minutes=15)
XML = {"Content-Type": "text/xml"}
BERLIN, LONDON = ZoneInfo("Europe/Berlin"), ZoneInfo("Europe/London")


def says(provider, *documents: bytes, status: int = 200) -> EntsoeGrid:
    provider.on("/api", *(keyed.answer(provider, one, status, XML) for one in documents))
    return keyed.at_work("entsoe", provider)


def priced(provider, *series: str) -> EntsoeGrid:
    return says(provider, keyed.entsoe_prices(*series))


def curve(points, span=DAY, resolution="PT60M", kind="A03", **fields):
    return keyed.entsoe_series(keyed.price_fields(**fields), span, resolution, points, kind)


def plants(points, kind="B04", span=DAY, resolution="PT60M", way="inBiddingZone_Domain.mRID", curve_type="A03"):
    return keyed.entsoe_series(keyed.plant_fields(kind, way=way), span, resolution, points, curve_type)


def generated(provider, *series: str) -> EntsoeGrid:
    return says(provider, keyed.entsoe_generation(*series))


# --- A03: what is left out repeats ------------------------------------------------------------------


def test_in_the_documented_answer_a_point_that_is_left_out_repeats_the_one_before_it(provider, sample):
    source = says(provider, sample("entsoe_a44_a03_gap_shape.xml"))
    source._now = lambda: datetime(2026, 1, 11, 12, tzinfo=UTC)
    start = datetime(2026, 1, 10, 23, tzinfo=UTC)

    series = source.prices("DE", Interval.starting(start, 86400))

    # Positions 1, 5, 9 and 93 of 96 quarter hours [EUR/MWh]: 69.59, 57.42, 50 and 61.12.
    expected = [0.06959] * 4 + [0.05742] * 4 + [0.05] * 84 + [0.06112] * 4
    assert list(series.values) == pytest.approx(expected)
    assert series.steps_s == (900.0,)
    assert series.missing_share == 0
    assert series.meaning == PriceMeaning("EUR", Market.DAY_AHEAD, taxes=False)
    assert series.worst_quality is DataQuality.MEASURED
    assert series.origin.zone == "DE-LU"
    assert series.origin.issued_at == datetime(2026, 1, 10, 12, 5, 21, tzinfo=UTC)


def test_a_point_left_out_of_a_plain_curve_is_a_gap(provider):
    series = priced(provider, curve({1: 50, 3: 70}, Interval.starting(DAY.start, 3 * 3600), kind="A01")).prices(
        "DE", Interval.starting(DAY.start, 3 * 3600)
    )

    assert series.values == (0.05, Gap.MISSING, 0.07)


def test_before_the_first_point_of_a_curve_there_is_nothing_to_repeat(provider):
    window = Interval.starting(DAY.start, 3 * 3600)

    assert priced(provider, curve({2: 50}, window)).prices("DE", window).values == (Gap.MISSING, 0.05, 0.05)


def test_a_negative_price_stays_one(provider):
    window = Interval.starting(DAY.start, 3600)

    assert priced(provider, curve({1: -500.0}, window)).prices("DE", window).values == (-0.5,)


@settings(max_examples=30, deadline=None)
@given(st.dictionaries(st.integers(1, 96), st.integers(-500, 4000), min_size=1))
def test_a_curve_without_what_repeats_is_the_curve_with_it(points):
    first = min(points)
    full, last = {}, None
    for position in range(first, 97):
        last = points.get(position, last)
        full[position] = last
    short = {at: value for at, value in full.items() if at == first or full.get(at - 1) != value}

    def read(given, kind):
        body = keyed.entsoe_prices(curve(given, DAY, "PT15M", kind))
        return xml.read(Reply("entsoe", "here", 200, body, "text/xml", NOW, False)).curves[0].steps

    assert read(short, "A03") == read(full, "A01")


# --- several auctions and resolutions ---------------------------------------------------------------


def test_of_two_auctions_only_the_coupled_one_is_the_day_ahead_price(provider):
    window = Interval.starting(DAY.start, 3600)
    exaa, sdac = curve({1: 64.8}, window, sequence="2"), curve({1: 65.83}, window, sequence="1")

    assert priced(provider, exaa, sdac).prices("DE", window).values == (pytest.approx(0.06583),)


def test_while_the_coupled_auction_is_late_another_does_not_pass_for_it(provider):
    with pytest.raises(FactorMissing, match="coupled auction is not published yet"):
        priced(provider, curve({1: 64.8}, sequence="2")).prices("DE", DAY)


def test_an_intraday_contract_is_not_a_day_ahead_price(provider):
    window = Interval.starting(DAY.start, 3600)
    intraday = curve({1: 1.0}, window, **{"contract_MarketAgreement.type": "A07"})

    assert priced(provider, intraday, curve({1: 50}, window)).prices("DE", window).values == (0.05,)
    assert provider.asked[0].query["contract_MarketAgreement.type"] == "A01"


def test_a_market_that_went_from_hours_to_quarters_keeps_both(provider):
    # The coupled market went to quarter hours with the delivery day of 2025-10-01 (Berlin).
    change = datetime(2025, 9, 30, 22, tzinfo=UTC)
    hours, quarters = Interval(change - 2 * HOUR, change), Interval(change, change + HOUR)
    source = priced(
        provider, curve({1: 10, 2: 20}, hours), curve({1: 1, 2: 2, 3: 3, 4: 4}, quarters, resolution="PT15M")
    )

    series = source.prices("DE", Interval(hours.start, quarters.end))

    assert series.values == (0.01, 0.02, 0.001, 0.002, 0.003, 0.004)
    assert series.steps_s == (900.0, 3600.0)


def test_where_two_resolutions_cover_one_time_the_finer_holds_and_the_coarser_fills_the_rest(provider):
    window = Interval.starting(DAY.start, 2 * 3600)
    fine = curve({1: 1, 2: 2}, Interval.starting(DAY.start, 1800), resolution="PT15M")

    series = priced(provider, curve({1: 10, 2: 20}, window), fine).prices("DE", window)

    assert series.values == (0.001, 0.002, 0.01, 0.02)
    assert series.edges_s[2] - series.edges_s[0] == 1800


def test_two_values_for_one_time_and_resolution_are_refused(provider):
    with pytest.raises(GridDataInvalid, match="is 50 and 51"):
        priced(provider, curve({1: 50}), curve({1: 51})).prices("DE", DAY)


# --- days when clocks change ------------------------------------------------------------------------


# Clocks change at 01:00 UTC on the last Sundays of March and October (Directive 2000/84/EC).
@pytest.mark.parametrize("zone", [BERLIN, LONDON], ids=["Berlin", "London"])
@pytest.mark.parametrize(("day", "quarters"), [((2026, 3, 29), 92), ((2026, 6, 1), 96), ((2026, 10, 25), 100)])
def test_a_local_day_has_92_96_or_100_quarter_hours_and_each_price_at_its_time(provider, zone, day, quarters):
    start = datetime(*day, tzinfo=zone)
    local_day = Interval(start, (start + timedelta(days=1)).replace(hour=0))
    source = says(
        provider,
        keyed.entsoe_prices(
            curve({n: n for n in range(1, quarters + 1)}, local_day, "PT15M"), created=local_day.start - 12 * HOUR
        ),
    )
    source._now = lambda: local_day.end

    series = source.prices("DE", local_day)

    assert len(series) == quarters
    assert list(series.values) == pytest.approx([n / 1000 for n in range(1, quarters + 1)])
    assert series.at(local_day.end - QUARTER) == pytest.approx(quarters / 1000)


# --- generation -------------------------------------------------------------------------------------


def test_intensity_is_generation_by_type_times_its_factors_with_resolutions_mixed(provider):
    window = Interval.starting(DAY.start, 3600)
    source = generated(
        provider,
        plants({1: 500}, "B14", window),
        plants({1: 100, 2: 200, 3: 300, 4: 400}, "B16", window, "PT15M"),
        plants({1: 400}, "B02", window),
    )

    series = source.carbon("DE", window)

    # nuclear 12, lignite 1,054, solar 41 g/kWh (IPCC AR5 WG3 Annex III; World Nuclear Association 2011).
    expected = [(500 * 12 + 400 * 1054 + sun * 41) / (900 + sun) for sun in (100, 200, 300, 400)]
    assert list(series.values) == pytest.approx(expected)
    assert series.worst_quality is DataQuality.ESTIMATED
    assert provider.asked[0].query["documentType"] == "A75"


def test_a_plant_that_is_late_all_through_the_window_is_missed_because_it_ran_the_day_before(provider):
    window, before = Interval.starting(DAY.start, 3600), Interval.starting(DAY.start - 5 * HOUR, 3600)
    source = generated(
        provider, plants({1: 500}, "B02", before), plants({1: 500}, "B14", before), plants({1: 500}, "B14", window)
    )

    assert source.carbon("DE", window).missing_share == 1


def test_what_pumps_take_and_give_back_counts_for_nothing(provider):
    window = Interval.starting(DAY.start, 3600)
    source = generated(
        provider,
        plants({1: 500}, "B04", window),
        plants({1: 300}, "B10", window),
        plants({1: 200}, "B10", window, way="outBiddingZone_Domain.mRID"),
    )

    assert source.carbon("DE", window).values == (pytest.approx(490),)


def test_a_zone_that_burns_what_has_no_factor_is_refused_by_the_name_of_the_fuel(provider):
    window = Interval.starting(DAY.start, 3600)
    source = generated(
        provider,
        plants({1: 500}, "B07", window).replace("10Y1001A1001A82H", "10Y1001A1001A39I"),
        plants({1: 500}, "B16", window).replace("10Y1001A1001A82H", "10Y1001A1001A39I"),
    )

    with pytest.raises(FactorMissing, match="oil shale"):
        source.carbon("EE", window)


def test_luxembourg_has_a_price_and_its_own_generation_is_not_that_of_germany(provider):
    source = keyed.entsoe(provider)

    assert source.prices("LU", DAY).origin.zone == "DE-LU"
    with pytest.raises(FactorMissing):
        source.carbon("LU", DAY)


# --- no data, and what goes wrong -------------------------------------------------------------------


NOTHING = "No matching data found for Data item ENERGY_PRICES [12.1.D] (10Y1001A1001A82H, 10Y1001A1001A82H)"


def test_an_acknowledgement_without_data_is_missing_and_says_what_it_says(provider):
    source = says(provider, keyed.entsoe_acknowledgement(NOTHING))

    with pytest.raises(FactorMissing, match="No matching data found"):
        source.prices("DE", DAY)
    assert source.carbon("DE", DAY).missing_share == 1


def test_a_part_of_the_window_without_data_is_a_gap(provider):
    source = keyed.entsoe(provider, until=DAY.start + 6 * HOUR)
    window = Interval(DAY.start - timedelta(days=40), DAY.end)

    series = source.prices("DE", window)

    assert series.window(DAY).missing_share == 0.75
    assert len(provider.asked) == 2


@pytest.mark.parametrize("status", [200, 400])
def test_an_acknowledgement_of_a_bad_question_is_a_refusal_and_not_missing_data(provider, status):
    source = says(
        provider, keyed.entsoe_acknowledgement("The amount of requested data exceeds allowed limit"), status=status
    )

    with pytest.raises(GridUnavailable, match="exceeds allowed limit"):
        source.prices("DE", DAY)


def test_a_refused_token_is_told_with_where_to_get_one_and_is_not_shown(provider):
    source = says(provider, b"<html>Unauthorized. Missing or invalid security token</html>", status=401)

    with pytest.raises(GridUnavailable, match=r"transparency\.entsoe\.eu") as caught:
        source.prices("DE", DAY)

    assert keyed.KEY not in str(caught.value) + repr(caught.value)
    assert provider.asked[0].query["securityToken"] == keyed.KEY


def test_a_ban_of_ten_minutes_is_told_and_not_waited_for(provider):
    provider.on("/api", keyed.answer(provider, b"Max allowed requests per minute", 429, {"Retry-After": "600"}))

    with pytest.raises(GridBusy) as caught:
        keyed.at_work("entsoe", provider).prices("DE", DAY)

    assert caught.value.retry_after_s == 600


BOMB = b"""<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;">]>
<Publication_MarketDocument><createdDateTime>&b;</createdDateTime></Publication_MarketDocument>"""
OUTSIDE = b"""<?xml version="1.0"?><!DOCTYPE x SYSTEM "file:///etc/hostname"><Publication_MarketDocument/>"""


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (BOMB, "document type"),
        (OUTSIDE, "document type"),
        (b"<Publication_MarketDocument>", "not XML"),
        (b"", "not XML"),
        (b"<html><body/></html>", "not a market document"),
        (keyed.entsoe_prices(curve({25: 50})), "position 25 lies outside"),
        (keyed.entsoe_prices(curve({1: "n/a"})), "n/a"),
        (keyed.entsoe_prices(curve({1: "nan"})), "nan"),
        (keyed.entsoe_prices(curve({1: 50}, resolution="P1Y")), "P1Y"),
        (keyed.entsoe_prices(curve({1: 50}, kind="A04")), "A04"),
        (keyed.entsoe_prices(curve({1: 50}, Interval.starting(DAY.start, 5400))), "does not hold steps"),
        (
            keyed.entsoe_prices(
                curve({1: 50}).replace("<timeInterval>", "<other>").replace("</timeInterval>", "</other>")
            ),
            "timeInterval",
        ),
        (keyed.entsoe_prices(curve({1: 50}, **{"price_Measure_Unit.name": "KWH"})), "KWH"),
        (keyed.entsoe_prices(curve({1: 50}, area="10YFR-RTE------C")), "10YFR-RTE"),
        (keyed.entsoe_prices(curve({1: 50}), curve({1: 50}, **{"currency_Unit.name": "PLN"})), "EUR and PLN"),
    ],
)
def test_a_document_that_cannot_be_right_is_refused_and_says_why(provider, body, said):
    with pytest.raises(GridDataInvalid, match=said) as caught:
        says(provider, body).prices("DE", DAY)

    assert caught.value.remedy


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=60), st.integers(0, 900))
def test_a_damaged_document_is_read_or_refused_and_never_a_traceback(junk, at):
    body = keyed.entsoe_prices(curve({1: 50, 7: 60}))
    damaged = body[:at] + junk + body[at + len(junk) :]

    try:
        document = xml.read(Reply("entsoe", "here", 200, damaged, "text/xml", NOW, False))
    except OutweighError:
        return
    assert document.kind.endswith("MarketDocument")


def test_a_document_made_after_it_was_fetched_says_that_a_clock_is_wrong(provider):
    source = says(provider, keyed.entsoe_prices(curve({1: 50}), created=NOW + HOUR))

    with pytest.raises(GridDataInvalid, match="clock"):
        source.prices("DE", DAY)


def test_great_britain_is_not_in_its_list_and_a_slip_lists_what_is_like_it():
    for zone in ("GB", "SE-SE5"):
        with pytest.raises(UnknownZone) as caught:
            EntsoeGrid().prices(zone, DAY)
    assert any("SE-SE" in near for near in caught.value.nearest)
