"""The clients that need no key, against recorded and documented answers: what each says, and what goes wrong."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from outweigh.core.errors import (
    FactorMissing,
    GapsTooLarge,
    GridDataInvalid,
    GridUnavailable,
    UnknownZone,
    UsageError,
)
from outweigh.core.intervals import Interval
from outweigh.core.measurement import Grade
from outweigh.core.quantities import CarbonScope
from outweigh.core.series import Accounting, CarbonKind, DataQuality, Gap, Market
from outweigh.grid import Sources, open_source, resolve_carbon
from outweigh.grid.arrays import local_days
from outweigh.registry import grid_sources

pytest.importorskip("hishel")
pytest.importorskip("httpx_retries")

BERLIN, LONDON = ZoneInfo("Europe/Berlin"), ZoneInfo("Europe/London")
KEYLESS = ("awattar", "energinet", "energy-charts", "neso", "octopus")


def at(text: str) -> datetime:
    return datetime.fromisoformat(text)


def span(start: str, hours: float = 24.0) -> Interval:
    return Interval.starting(at(start), 3600 * hours)


def local_day(text: str, zone: ZoneInfo) -> Interval:
    day = datetime.fromisoformat(text)
    start = day.replace(tzinfo=zone)
    end = (day + timedelta(days=1)).replace(tzinfo=zone)
    return Interval(start.astimezone(UTC), end.astimezone(UTC))


@pytest.fixture
def source(provider: Any) -> Callable[..., Any]:
    """Makes a source that asks the provider on this machine, at a present of the test's choice."""

    def make(name: str, now: str = "2026-01-10T12:00Z", *given: Any, **named: Any) -> Any:
        provider.stands_in_for(name)
        return grid_sources.get(name)(*given, now=lambda: at(now), **named)  # type: ignore[call-arg]

    return make


def half_hours(window: Interval, *, actual: Callable[[int], int | None], forecast: int | None = 100) -> dict[str, Any]:
    count = round(window.seconds / 1800)
    return {
        "data": [
            {
                "from": f"{window.start + timedelta(minutes=30 * i):%Y-%m-%dT%H:%MZ}",
                "to": f"{window.start + timedelta(minutes=30 * i + 30):%Y-%m-%dT%H:%MZ}",
                "intensity": {"forecast": forecast, "actual": actual(i), "index": "low"},
            }
            for i in range(count)
        ]
    }


def quarters(window: Interval, step_s: int = 900, *, first: float = 50.0) -> dict[str, Any]:
    starts = range(int(window.start.timestamp()), int(window.end.timestamp()), step_s)
    prices = [first - i for i, _ in enumerate(starts)]
    return {"license_info": "CC BY 4.0", "unix_seconds": list(starts), "price": prices, "unit": "EUR / MWh"}


# --- NESO -------------------------------------------------------------------------------------------


def test_neso_gives_what_its_documentation_shows(source, provider, sample):
    provider.says("/intensity/", sample("uk_intensity.json"))

    series = source("neso").carbon("GB", span("2018-01-20T12:00Z", 0.5))

    assert series.values == (263.0,)
    assert series.mean().g_per_kwh == 263.0
    meaning = series.meaning
    assert (meaning.kind, meaning.scope, meaning.accounting) == (
        CarbonKind.AVERAGE,
        CarbonScope.DIRECT,
        Accounting.CONSUMPTION,
    )
    assert series.worst_quality is DataQuality.ESTIMATED
    assert series.worst_quality.grade is Grade.C
    assert provider.asked[0].path == "/intensity/2018-01-20T12:00Z/2018-01-20T12:30Z"
    assert series.origin.source.endswith("/intensity/2018-01-20T12:00Z/2018-01-20T12:30Z")
    assert series.origin.licence == "CC BY 4.0"


def test_neso_forecasts_as_recorded_and_says_that_it_is_known_since_it_was_fetched(source, provider, sample):
    provider.says("/intensity/", sample("uk_intensity_fw24h.json"))

    series = source("neso", "2020-05-24T20:40Z").forecast("GB", span("2020-05-24T20:30Z", 6))

    assert series.values[:4] == (146.0, 148.0, 148.0, 144.0)
    assert series.worst_quality is DataQuality.FORECAST
    assert series.origin.issued_at == series.origin.retrieved_at == at("2020-05-24T20:40Z")
    assert provider.asked[0].path == "/intensity/2020-05-24T20:30Z/fw48h"


def test_a_null_actual_is_the_forecast_while_it_may_still_come_and_a_gap_afterwards(source, provider):
    window = span("2026-01-10T08:00Z", 6)  # now is 12:00
    provider.says("/intensity/", half_hours(window, actual=lambda i: 200 if i < 2 else None))

    series = source("neso").carbon("GB", window)

    assert series.values == (200.0, 200.0, Gap.NULL, Gap.NULL, *[100.0] * 8)
    assert set(series.qualities[4:]) == {DataQuality.FORECAST}


def test_a_null_forecast_is_a_gap(source, provider):
    window = span("2026-01-10T12:00Z", 2)
    provider.says("/intensity/", half_hours(window, actual=lambda _: None, forecast=None))

    assert source("neso").forecast("GB", window).values == (Gap.NULL,) * 4


@pytest.mark.parametrize("as_list", [False, True])
def test_a_region_is_all_forecast_and_goes_by_the_letter_of_its_group(as_list, source, provider):
    window = span("2026-01-10T08:00Z", 1)
    rows = half_hours(window, actual=lambda _: None, forecast=27)["data"]
    for row in rows:
        del row["intensity"]["actual"]  # regions have none
    region = {"regionid": 13, "shortname": "London", "data": rows}
    provider.says("/regional/", {"data": [region] if as_list else region})

    series = source("neso").carbon("GB-C", window)

    assert series.values == (27.0, 27.0)
    assert series.worst_quality is DataQuality.FORECAST
    assert provider.asked[0].path == "/regional/intensity/2026-01-10T08:00Z/2026-01-10T09:00Z/regionid/13"


def test_an_answer_for_another_region_is_refused(source, provider):
    provider.says("/regional/", {"data": {"regionid": 1, "data": []}})

    with pytest.raises(GridDataInvalid, match="region 1, not 13"):
        source("neso").carbon("GB-C", span("2026-01-10T08:00Z", 1))


def test_a_region_of_wind_alone_may_have_zero(source, provider):
    window = span("2026-01-10T08:00Z", 2)
    provider.says("/regional/", {"data": {"regionid": 1, "data": half_hours(window, actual=int, forecast=0)["data"]}})

    assert source("neso").carbon("GB-P", window).lowest().value == 0.0


def test_a_month_is_asked_for_in_windows_of_fourteen_days(source, provider, answer):
    def piece(asked: Any) -> Any:
        start, end = (at(part) for part in asked.path.split("/")[2:4])
        return answer(half_hours(Interval(start, end), actual=lambda _: 150))

    provider.on("/intensity/", piece)

    series = source("neso", "2026-03-01T00:00Z").carbon("GB", span("2026-01-01T00:10Z", 30 * 24))

    assert len(provider.asked) == 3
    assert series.missing_share == 0
    assert len(series) == 30 * 48 + 1  # the first and the last half-hour are cut


def test_nesos_own_failure_is_told_in_its_words(source, provider, answer, sample):
    provider.on("/", answer(sample("uk_error_500.json"), 500))

    with pytest.raises(GridUnavailable, match="Requested resource not found"):
        source("neso").carbon("GB", span("2026-01-10T08:00Z", 1))


@pytest.mark.parametrize(("day", "hours"), [("2026-03-29", 23), ("2026-10-25", 25)])
def test_days_on_which_clocks_change_in_london_have_46_and_50_half_hours(day, hours, source, provider):
    window = local_day(day, LONDON)
    provider.says("/intensity/", half_hours(window, actual=lambda i: i))

    series = source("neso", "2026-12-01T00:00Z").carbon("GB", window)

    assert len(series) == 2 * hours
    assert series.missing_share == 0
    assert len(series.onto(local_days(window, LONDON))) == 1


def test_a_revised_value_is_kept_apart_by_when_it_was_fetched(provider, answer):
    window = span("2026-01-10T08:00Z", 1)
    provider.stands_in_for("neso")
    said = [answer(half_hours(window, actual=lambda _, value=value: value)) for value in (200, 230)]
    provider.on("/intensity/", *said)
    clock = [at("2026-01-10T12:00Z")]
    neso = grid_sources.get("neso")(now=lambda: clock[0])  # type: ignore[call-arg]

    first = neso.carbon("GB", window)
    again = neso.carbon("GB", window)
    clock[0] = at("2026-01-10T12:30Z")
    revised = neso.carbon("GB", window)

    assert (first.values[0], again.values[0], revised.values[0]) == (200.0, 200.0, 230.0)
    assert first.origin.retrieved_at == again.origin.retrieved_at == at("2026-01-10T12:00Z")
    assert revised.origin.retrieved_at == at("2026-01-10T12:30Z")


def test_a_window_with_more_than_a_tenth_missing_has_no_mean(source, provider):
    window = span("2026-01-10T00:00Z", 5)
    provider.says("/intensity/", half_hours(window, actual=lambda i: None if i in (3, 4) else 200))

    series = source("neso").carbon("GB", window)

    with pytest.raises(GapsTooLarge, match="20 %"):
        series.mean()
    assert series.lowest().value == 200.0


# --- wrong answers, whoever gives them --------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [
        [],
        {},
        {"data": None},
        {"data": {"from": "x"}},
        {"data": [1, 2]},
        {"data": [{"from": "2026-01-10T08:00Z", "to": "2026-01-10T08:30Z", "intensity": 12}]},
        {"data": [{"from": "2026-01-10T08:00", "to": "2026-01-10T08:30", "intensity": {"forecast": 1, "actual": 1}}]},
        {"data": [{"from": "2026-01-10T08:00Z", "to": "never", "intensity": {"forecast": 1, "actual": 1}}]},
        {"data": [{"from": "2026-01-10T08:00Z", "to": "2026-01-10T09:00Z", "intensity": {"forecast": "1"}}]},
        {"data": [{"from": "2026-01-10T08:30Z", "to": "2026-01-10T08:00Z", "intensity": {"forecast": 1, "actual": 1}}]},
        {"error": {"code": "400 Bad Request", "message": "Please enter a valid from datetime"}},
    ],
)  # fmt: skip
def test_an_answer_of_another_shape_is_refused_with_the_address(body, source, provider):
    provider.says("/", body)

    with pytest.raises(GridDataInvalid) as caught:
        source("neso").carbon("GB", span("2026-01-10T08:00Z", 1))
    assert caught.value.remedy


GOOD = {
    "neso": half_hours(span("2026-01-10T08:00Z", 1), actual=lambda _: 200),
    "energy-charts": {
        "unix_seconds": [1768032000 + 900 * i for i in range(4)],
        "co2eq": [300.0] * 4,
        "co2eq_forecast": [310.0] * 4,
        "price": [50.0] * 4,
        "unit": "EUR / MWh",
    },
    "octopus": {
        "next": None,
        "results": [
            {"value_exc_vat": 18.2, "value_inc_vat": 19.1, "valid_from": "2026-01-10T08:00Z", "valid_to": None}
        ],
    },
    "awattar": {
        "data": [
            {
                "start_timestamp": 1768032000000,
                "end_timestamp": 1768035600000,
                "marketprice": 9.1,
                "unit": "Eur/MWh",
            }
        ]
    },
    "energinet": {
        "records": [
            {
                "Minutes5UTC": "2026-01-10T08:00:00",
                "TimeUTC": "2026-01-10T08:00:00",
                "PriceArea": "DK1",
                "CO2Emission": 74.0,
                "DayAheadPriceEUR": 33.0,
            }
        ]
    },
}
ZONES = {"awattar": "DE", "energinet": "DK-DK1", "energy-charts": "DE", "neso": "GB", "octopus": "GB-C"}
JUNK = [None, True, "", "x", "2026-01-10T08:00Z", [], {}, [[1]], 0, -1, 0.1, 1e308, 10**30, float("nan"), float("inf")]


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(deeper for key, one in inside for deeper in places(one, (*path, key)))]


def spoilt(body: Any, path: tuple[Any, ...], junk: Any) -> Any:
    if not path:
        return junk
    copy = json.loads(json.dumps(body))
    holder = copy
    for key in path[:-1]:
        holder = holder[key]
    holder[path[-1]] = junk
    return copy


@pytest.mark.parametrize("name", KEYLESS)
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_an_answer_spoilt_in_any_one_place_is_a_gap_or_a_failure_it_promised_and_nothing_else(
    name, data, source, provider, tmp_path_factory, monkeypatch
):
    monkeypatch.setenv("OUTWEIGH_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
    body = spoilt(GOOD[name], data.draw(st.sampled_from(places(GOOD[name]))), data.draw(st.sampled_from(JUNK)))
    provider.says("/", body)
    asked, window = source(name), span("2026-01-10T08:00Z", 1)

    for ask in (asked.carbon, asked.prices):
        try:
            series = ask(ZONES[name], window)
        except (GridDataInvalid, GridUnavailable, FactorMissing):
            continue
        assert series.interval == window


@pytest.mark.parametrize("name", KEYLESS)
def test_the_same_answer_unspoilt_is_read(name, source, provider):
    provider.says("/", GOOD[name])
    asked = source(name)

    series = (asked.carbon if asked.limits.meanings else asked.prices)(ZONES[name], span("2026-01-10T08:00Z", 1))

    assert series.lowest().value > 0


def test_kilograms_are_refused_and_not_taken_for_a_very_clean_grid(source, provider):
    starts = [int(at("2026-01-10T08:00Z").timestamp()) + 900 * i for i in range(8)]
    body = {"unix_seconds": starts, "co2eq": [0.412] * 8, "co2eq_forecast": [None] * 8}
    provider.says("/co2eq", body)

    with pytest.raises(GridDataInvalid, match="kgCO2"):
        source("energy-charts").carbon("DE", span("2026-01-10T08:00Z", 2))


def test_grams_a_megawatt_hour_are_refused(source, provider):
    rows = [{"Minutes5UTC": "2026-01-10T08:00:00", "PriceArea": "DK1", "CO2Emission": 74_000.0}]
    provider.says("/dataset/", {"records": rows})

    with pytest.raises(GridDataInvalid, match="Check the unit"):
        source("energinet").carbon("DK-DK1", span("2026-01-10T08:00Z", 1))


@pytest.mark.parametrize("unit", ["Eur/kg", "kg/MWh", "Usd/MWh", "", "Eur"])
def test_a_price_in_another_unit_is_refused(unit, source, provider, sample):
    body = sample("awattar_marketdata_shape.json")
    body["data"][0]["unit"] = unit
    provider.says("/de/", body)

    with pytest.raises(GridDataInvalid, match="unit"):
        source("awattar").prices("DE", span("2024-12-07T23:00Z", 2))


@pytest.mark.parametrize("name", KEYLESS)
def test_an_unknown_zone_is_refused_before_anybody_is_asked(name, source, provider):
    asked = source(name)

    for ask in (asked.carbon, asked.prices):
        with pytest.raises(FactorMissing):
            ask("NA", span("2026-01-10T08:00Z", 1))  # Namibia, and not "not available"
    assert provider.asked == []


@pytest.mark.parametrize("name", KEYLESS)
def test_a_probe_asks_nobody(name, provider):
    provider.stands_in_for(name)

    assert grid_sources.get(name).probe().usable
    assert provider.asked == []


def test_a_zone_that_changed_its_name_is_found_under_the_one_it_has_now(source, provider):
    window = span("2026-01-10T08:00Z", 1)
    provider.says("/intensity/", half_hours(window, actual=lambda _: 210))

    answer = resolve_carbon("UK", window, Sources(live=[source("neso")]))

    assert (answer.zone.key, answer.source, answer.series.mean_value()) == ("GB", "neso", 210.0)
    assert any("UK is now GB" in note for note in answer.notes)


def test_a_live_source_that_fails_is_passed_over_with_its_reason(source, provider, answer):
    provider.on("/", answer(None, 503))

    found = resolve_carbon("GB", span("2026-01-10T08:00Z", 1), Sources(live=[source("neso")]))

    assert found.source == "tables"
    assert "503" in found.passed_over[0].reason


# --- Energy-Charts ----------------------------------------------------------------------------------


def test_energy_charts_gives_the_recorded_carbon_and_its_forecast(source, provider, sample):
    provider.says("/co2eq", sample("energy_charts_co2eq.json"))
    window = Interval.starting(datetime.fromtimestamp(1783893600, UTC), 75 * 60)

    series = source("energy-charts", "2026-07-12T22:50Z").carbon("DE", window)

    assert series.values == (491.5, 497.4, 502.6, 505.0, 508.0)
    assert series.qualities == (*[DataQuality.ESTIMATED] * 3, *[DataQuality.FORECAST] * 2)
    assert series.steps_s == (900.0,)
    assert provider.asked[0].query == {"country": "de", "start": "2026-07-12T22:00Z", "end": "2026-07-13T00:00Z"}
    assert "the provider does not say" in series.origin.method


def test_energy_charts_forecast_is_its_own_column_and_null_stays_unknown(source, provider, sample):
    provider.says("/co2eq", sample("energy_charts_co2eq.json"))
    window = Interval.starting(datetime.fromtimestamp(1783893600, UTC), 75 * 60)

    series = source("energy-charts", "2026-07-12T22:50Z").forecast("DE", window)

    assert series.values == (Gap.NULL, Gap.NULL, Gap.NULL, 505.0, 508.0)


def test_what_the_intensity_is_taken_as_can_be_said(provider):
    provider.stands_in_for("energy-charts")

    assert open_source("energy-charts").limits.meanings[0].scope is CarbonScope.LIFECYCLE
    assert open_source("energy-charts:direct").limits.meanings[0].scope is CarbonScope.DIRECT
    with pytest.raises(UsageError, match="no scope"):
        open_source("energy-charts:market")


def test_energy_charts_gives_the_recorded_prices_with_the_licence_they_came_under(source, provider, sample):
    provider.says("/price", sample("energy_charts_price.json"))
    window = local_day("2024-12-08", BERLIN)

    series = source("energy-charts").prices("DE", window)

    assert len(series) == 24
    assert series.values[:2] == pytest.approx((0.09391, 0.08683))
    assert series.lowest().value == pytest.approx(0.07501)
    assert (series.meaning.currency, series.meaning.market, series.meaning.taxes) == ("EUR", Market.DAY_AHEAD, False)
    assert series.origin.licence.startswith("CC BY 4.0")
    assert provider.asked[0].query["bzn"] == "DE-LU"


def test_a_zone_whose_prices_are_for_private_use_says_so(source, provider):
    window = span("2026-01-10T08:00Z", 1)
    words = "The data provided herein is for private and internal use only."
    provider.says("/price", {**quarters(window), "license_info": words})

    assert source("energy-charts").prices("FI", window).origin.licence == words


def test_version_2_of_the_prices_is_read_where_version_1_is_gone(source, provider, answer):
    window = span("2026-01-10T08:00Z", 0.5)
    rows = [
        {"timestamp": "2026-01-10T09:00:00+01:00", "values": {"day_ahead_price": 61.2}},
        {"timestamp": "2026-01-10T09:15:00+01:00", "values": {"day_ahead_price": -3.4}},
    ]
    body = {"endpoint": "price", "bidding_zone": "DE-LU", "license": "CC BY 4.0", "unit": "EUR / MWh", "data": rows}
    provider.on("/price", answer({"detail": "gone"}, 410)).says("/v2/price", body)

    series = source("energy-charts").prices("DE", window)

    assert series.values == pytest.approx((0.0612, -0.0034))


def test_a_zone_energy_charts_has_nothing_of_is_missing_and_not_unavailable(source, provider, answer):
    provider.on("/", answer({"detail": "no data"}, 404))

    with pytest.raises(FactorMissing, match="404"):
        source("energy-charts").carbon("MT", span("2026-01-10T08:00Z", 1))
    with pytest.raises(FactorMissing, match="404"):
        source("energy-charts").prices("ME", span("2026-01-10T08:00Z", 1))


@pytest.mark.parametrize(("day", "count"), [("2026-03-29", 92), ("2026-06-01", 96), ("2026-10-25", 100)])
def test_days_of_92_96_and_100_quarter_hours_are_one_day_in_berlin(day, count, source, provider):
    window = local_day(day, BERLIN)
    provider.says("/price", quarters(window))

    series = source("energy-charts", "2026-12-01T00:00Z").prices("DE", window)

    assert len(series) == count
    assert series.missing_share == 0
    assert min(series.values) < 0  # negative prices are prices
    day_mean = series.onto(local_days(window, BERLIN))
    assert len(day_mean) == 1
    assert day_mean.values[0] == pytest.approx(sum(series.values) / count)


def test_an_answer_that_goes_from_hours_to_quarters_keeps_both(source, provider):
    turn = at("2025-09-30T22:00Z")
    hours = [int((turn - timedelta(hours=3 - i)).timestamp()) for i in range(3)]
    finer = [int((turn + timedelta(minutes=15 * i)).timestamp()) for i in range(4)]
    provider.says("/price", {"unix_seconds": hours + finer, "price": [10.0] * 7, "unit": "No Unit"})

    series = source("energy-charts").prices("DE", Interval(turn - timedelta(hours=3), turn + timedelta(hours=1)))

    assert [b - a for a, b in pairwise(series.edges_s)] == [3600.0] * 3 + [900.0] * 4
    assert series.missing_share == 0


def test_a_missing_quarter_is_a_gap_and_stretches_nothing(source, provider):
    window = span("2026-01-10T08:00Z", 2)
    body = quarters(window)
    del body["unix_seconds"][3], body["price"][3]
    provider.says("/price", body)

    series = source("energy-charts").prices("DE", window)

    assert series.at(at("2026-01-10T08:50Z")) is Gap.MISSING
    assert series.missing_share == pytest.approx(1 / 8)


def test_two_values_for_one_time_are_refused(source, provider):
    window = span("2026-01-10T08:00Z", 1)
    body = quarters(window)
    body["unix_seconds"][1] = body["unix_seconds"][0]
    provider.says("/price", body)

    with pytest.raises(GridDataInvalid, match="two values"):
        source("energy-charts").prices("DE", window)


def test_columns_of_unequal_length_are_refused(source, provider):
    provider.says("/co2eq", {"unix_seconds": [1, 2], "co2eq": [1.0], "co2eq_forecast": [None, None]})

    with pytest.raises(GridDataInvalid, match="2 times, 1 values"):
        source("energy-charts").carbon("DE", span("2026-01-10T08:00Z", 1))


def test_a_year_keeps_to_two_requests_a_minute_each_endpoint_for_itself(source, provider):
    window = span("2026-01-10T08:00Z", 1)
    starts = quarters(window)["unix_seconds"]
    provider.says("/price", quarters(window))
    provider.says("/co2eq", {"unix_seconds": starts, "co2eq": [300.0] * 4, "co2eq_forecast": [None] * 4})
    asked = source("energy-charts")

    for zone in ("DE", "FR"):
        asked.prices(zone, window)
        asked.carbon(zone, window)
    with pytest.raises(GridUnavailable, match="limit, which leaves room again in 60 s"):
        asked.prices("AT", window)


# --- Octopus ----------------------------------------------------------------------------------------


def test_octopus_gives_the_documented_rates_without_vat_unless_asked(source, provider, sample):
    provider.says("/v1/products/", sample("octopus_unit_rates_shape.json"))
    window = span("2026-01-10T22:30Z", 1)

    without = source("octopus").prices("GB-C", window)
    included = source("octopus", vat=True).prices("GB-C", window)

    assert without.values == pytest.approx((-0.015, 0.182))  # newest first in the answer, a negative one too
    assert included.values == pytest.approx((-0.01575, 0.1911))
    assert (without.meaning.taxes, included.meaning.taxes) == (False, True)
    assert (without.meaning.currency, without.meaning.market) == ("GBP", Market.RETAIL)
    assert provider.asked[0].path == (
        "/v1/products/AGILE-24-10-01/electricity-tariffs/E-1R-AGILE-24-10-01-C/standard-unit-rates/"
    )
    assert provider.asked[0].query["period_from"] == "2026-01-10T22:30Z"


def test_octopus_reads_every_page_newest_first_and_stays_with_its_host(source, provider, answer):
    window = span("2026-01-10T00:00Z", 2)
    rows = [
        {
            "value_exc_vat": float(i),
            "value_inc_vat": 1.05 * i,
            "valid_from": f"{window.start + timedelta(minutes=30 * i):%Y-%m-%dT%H:%M:%SZ}",
            "valid_to": f"{window.start + timedelta(minutes=30 * i + 30):%Y-%m-%dT%H:%M:%SZ}",
            "payment_method": None,
        }
        for i in reversed(range(4))
    ]

    def page(asked: Any) -> Any:
        second = asked.query.get("page") == "2"
        onward = None if second else "http://elsewhere.example/v1/products/?page=2"
        return answer({"count": 4, "next": onward, "results": rows[2:] if second else rows[:2]})

    provider.on("/v1/products/", page)

    assert source("octopus").prices("GB-C", window).values == pytest.approx((0.0, 0.01, 0.02, 0.03))
    assert len(provider.asked) == 2


def test_a_rate_without_an_end_holds_to_the_end_of_the_window_and_other_payers_rates_are_left_out(source, provider):
    row = {"value_exc_vat": 20.0, "value_inc_vat": 21.0, "valid_from": "2026-01-01T00:00:00Z", "valid_to": None}
    rows = [
        {**row, "payment_method": "DIRECT_DEBIT"},
        {**row, "value_exc_vat": 25.0, "payment_method": "NON_DIRECT_DEBIT"},
    ]
    provider.says("/v1/products/", {"next": None, "results": rows})

    assert source("octopus").prices("GB-C", span("2026-01-10T00:00Z", 5)).values == pytest.approx((0.2,))


def test_great_britain_as_a_whole_has_no_agile_price_and_the_regions_are_named(source):
    with pytest.raises(UnknownZone) as caught:
        source("octopus").prices("GB", span("2026-01-10T00:00Z", 1))
    assert any("GB-" in near for near in caught.value.nearest)


def test_the_product_and_its_vat_are_the_argument(provider):
    provider.stands_in_for("octopus").says("/", {"next": None, "results": []})

    octopus = open_source("octopus:AGILE-23-12-06,inc-vat")

    assert octopus.prices("GB-C", span("2026-01-10T00:00Z", 1)).meaning.taxes
    assert "AGILE-23-12-06" in provider.asked[0].path
    for wrong in ("A,B", "inc-vat,exc-vat", "../../accounts", "a b"):
        with pytest.raises(UsageError):
            open_source(f"octopus:{wrong}")


# --- aWATTar ----------------------------------------------------------------------------------------


def test_awattar_gives_the_documented_prices(source, provider, sample):
    provider.says("/de/v1/marketdata", sample("awattar_marketdata_shape.json"))

    series = source("awattar", "2024-12-08T00:00Z").prices("DE", span("2024-12-07T23:00Z", 2))

    assert series.values == pytest.approx((0.09391, 0.08683))
    assert provider.asked[0].query == {"start": "1733612400000", "end": "1733619600000"}


def test_germany_and_austria_are_asked_apart_behind_one_address_too(source, provider, sample):
    body = sample("awattar_marketdata_shape.json")
    dearer = json.loads(json.dumps(body))
    dearer["data"][0]["marketprice"] = -500.0
    provider.says("/de/v1/marketdata", body).says("/at/v1/marketdata", dearer)
    awattar = source("awattar")

    assert awattar.prices("DE", span("2024-12-07T23:00Z", 1)).values == pytest.approx((0.09391,))
    assert awattar.prices("AT", span("2024-12-07T23:00Z", 1)).values == pytest.approx((-0.5,))


def test_each_country_has_its_own_host(monkeypatch):
    monkeypatch.delenv("OUTWEIGH_GRID_URL_AWATTAR", raising=False)
    awattar = grid_sources.get("awattar").make()

    asked = {zone: web.base_url + path for zone, (web, path) in awattar._webs.items()}  # type: ignore[attr-defined]

    assert asked == {
        "AT": "https://api.awattar.at/v1/marketdata",
        "DE": "https://api.awattar.de/v1/marketdata",
    }


def test_quarter_hours_are_read_as_they_come(source, provider):
    rows = [
        {
            "start_timestamp": 1767225600000 + 900_000 * i,
            "end_timestamp": 1767225600000 + 900_000 * (i + 1),
            "marketprice": 10.0 * i,
            "unit": "Eur/MWh",
        }
        for i in range(4)
    ]
    provider.says("/at/", {"data": rows})

    series = source("awattar").prices("AT", Interval.starting(datetime.fromtimestamp(1767225600, UTC), 3600))

    assert series.steps_s == (900.0,)
    assert series.mean_value() == pytest.approx(0.015)


# --- Energinet --------------------------------------------------------------------------------------


def five_minutes(start: str, count: int, value: Callable[[int], float | None], area: str = "DK1") -> dict[str, Any]:
    first = at(start)
    return {
        "records": [
            {
                "Minutes5UTC": f"{first + timedelta(minutes=5 * i):%Y-%m-%dT%H:%M:%S}",
                "Minutes5DK": f"{first + timedelta(minutes=5 * i, hours=1):%Y-%m-%dT%H:%M:%S}",
                "PriceArea": area,
                "CO2Emission": value(i),
            }
            for i in range(count)
        ]
    }


def test_energinet_gives_the_documented_prognosis_every_five_minutes(source, provider, sample):
    provider.says("/dataset/CO2EmisProg", sample("energinet_co2emisprog_shape.json"))

    series = source("energinet", "2026-01-10T07:50Z").forecast("DK-DK1", span("2026-01-10T08:00Z", 1 / 6))

    assert series.values == (74.0, 73.0)
    assert series.steps_s == (300.0,)
    assert series.worst_quality is DataQuality.FORECAST
    assert provider.asked[0].query == {
        "start": "2026-01-10T08:00",
        "end": "2026-01-10T09:00",
        "timezone": "UTC",
        "filter": '{"PriceArea":["DK1"]}',
        "sort": "Minutes5UTC asc",
        "limit": "0",
    }


def test_what_was_metered_goes_before_what_was_expected(source, provider):
    provider.says("/dataset/CO2Emis", five_minutes("2026-01-10T11:00Z", 10, lambda _: 80.0))
    provider.says("/dataset/CO2EmisProg", five_minutes("2026-01-10T11:00Z", 24, lambda _: 60.0))

    series = source("energinet").carbon("DK-DK1", span("2026-01-10T11:00Z", 2))

    assert series.values == (*[80.0] * 10, *[60.0] * 14)
    assert series.qualities == (*[DataQuality.ESTIMATED] * 10, *[DataQuality.FORECAST] * 14)


def test_the_past_is_asked_of_one_data_set_only_and_its_null_is_a_gap(source, provider):
    body = five_minutes("2026-01-09T11:00Z", 12, lambda i: None if i == 5 else 90.0)
    provider.says("/dataset/CO2Emis", body)

    series = source("energinet").carbon("DK-DK1", span("2026-01-09T11:00Z", 1))

    assert series.values.count(Gap.NULL) == 1
    assert [asked.path for asked in provider.asked] == ["/dataset/CO2Emis"]


def test_an_answer_for_another_area_is_refused(source, provider):
    provider.says("/dataset/", five_minutes("2026-01-10T11:00Z", 2, lambda _: 80.0, area="DK2"))

    with pytest.raises(GridDataInvalid, match="'DK2', not DK1"):
        source("energinet").carbon("DK-DK1", span("2026-01-10T11:00Z", 1))


def test_prices_come_from_the_data_set_that_ended_and_from_its_successor_each_for_its_time(source, provider):
    hours = [
        {"HourUTC": f"2025-09-30T{hour}:00:00", "PriceArea": "DK1", "SpotPriceEUR": 40.0, "SpotPriceDKK": 298.4}
        for hour in (20, 21)
    ]
    finer = [
        {"TimeUTC": f"2025-09-30T22:{minute:02d}:00", "PriceArea": "DK1", "DayAheadPriceEUR": -8.0}
        for minute in (0, 15, 30, 45)
    ]
    provider.says("/dataset/Elspotprices", {"records": hours}).says("/dataset/DayAheadPrices", {"records": finer})

    series = source("energinet").prices("DK-DK1", span("2025-09-30T20:00Z", 3))

    assert series.values == pytest.approx((0.04, 0.04, *[-0.008] * 4))
    assert [asked.path for asked in provider.asked] == ["/dataset/Elspotprices", "/dataset/DayAheadPrices"]
    assert [asked.query["end"] for asked in provider.asked] == ["2025-09-30T22:00", "2025-09-30T23:00"]


def test_the_neighbours_prices_are_there_too_and_their_carbon_is_not(source, provider):
    row = {"TimeUTC": "2026-01-10T08:00:00", "PriceArea": "SE4", "DayAheadPriceEUR": 33.0}
    provider.says("/dataset/DayAheadPrices", {"records": [row]})
    energinet = source("energinet")

    assert energinet.prices("SE-SE4", span("2026-01-10T08:00Z", 0.25)).values == pytest.approx((0.033,))
    with pytest.raises(UnknownZone):
        energinet.carbon("SE-SE4", span("2026-01-10T08:00Z", 1))


# --- days, wherever they are ------------------------------------------------------------------------

# Days on which clocks change, and their hours: IANA time zone database.
CHANGES = [
    ("Europe/Berlin", "2026-03-29", 23),
    ("Europe/Berlin", "2026-10-25", 25),
    ("Europe/London", "2026-03-29", 23),
    ("Europe/London", "2026-10-25", 25),
    ("America/New_York", "2026-03-08", 23),
    ("America/New_York", "2026-11-01", 25),
    ("Australia/Sydney", "2026-10-04", 23),
    ("Australia/Sydney", "2026-04-05", 25),
    ("Australia/Adelaide", "2026-10-04", 23),
    ("Australia/Adelaide", "2026-04-05", 25),
]


@pytest.mark.parametrize(("name", "day", "hours"), CHANGES)
@pytest.mark.parametrize("minutes", [5, 15, 30, 60])
def test_a_day_on_which_clocks_change_is_whole_at_every_step_and_in_every_zone(
    name, day, hours, minutes, source, provider
):
    """Served through a client: UTC seconds make a day of 23 or 25 hours like any other, half-hour zones too."""
    window = local_day(day, ZoneInfo(name))
    provider.says("/price", quarters(window, 60 * minutes))

    series = source("energy-charts", "2026-12-01T00:00Z").prices("DE", window)

    assert window.seconds == 3600 * hours
    assert series.missing_share == 0
    whole = series.onto(local_days(window, ZoneInfo(name)))
    assert len(whole) == 1
    assert whole.mean_value() == pytest.approx(series.mean_value())
