"""A Carbon Aware SDK as a client sees it: which kind it gives is declared, and its times and durations are .NET's."""

from __future__ import annotations

import importlib.util
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from outweigh.backends.grid.carbon_aware_sdk import CarbonAwareSdkGrid
from outweigh.core.errors import FactorMissing, GridDataInvalid, GridUnavailable, UnknownZone, UsageError
from outweigh.core.intervals import Interval
from outweigh.core.quantities import CarbonScope
from outweigh.core.series import Accounting, CarbonKind, DataQuality, Gap

pytest.importorskip("hishel")

spec = importlib.util.spec_from_file_location("keyed_providers", Path(__file__).with_name("keyed_providers.py"))
keyed = importlib.util.module_from_spec(spec)
spec.loader.exec_module(keyed)
DAY, HOUR, NOW = keyed.DAY, keyed.HOUR, keyed.NOW


def says(provider, path: str, body: object, status: int = 200, meaning: str = "average-direct") -> CarbonAwareSdkGrid:
    places = {"northeurope": {"Latitude": 53.3, "Longitude": -6.3, "Name": "northeurope"}, "eastus": {}}
    provider.says("/locations", places).on(path, keyed.answer(provider, body, status))
    return keyed.at_work("carbon-aware-sdk", provider, argument=meaning)


def observed(provider, *rows) -> CarbonAwareSdkGrid:
    return says(provider, "/emissions/bylocation", list(rows))


def row(start: datetime, rating: object = 416, **more: object) -> dict[str, object]:
    return {"location": "northeurope", "time": start.isoformat(), "rating": rating, **more}


def test_the_documented_forecast_is_read_with_minutes_as_its_durations(provider, sample):
    source = says(provider, "/emissions/forecasts/current", sample("carbon_aware_sdk_forecast_current.json"))
    start = datetime(2022, 7, 19, 14, tzinfo=UTC)

    series = source.forecast("northeurope", Interval.starting(start, 1200))

    assert series.values == (532.02293146, Gap.MISSING)
    assert series.edges_s[1] - series.edges_s[0] == 600
    assert series.origin.issued_at == datetime(2022, 7, 19, 13, 35, tzinfo=UTC)
    assert series.worst_quality is DataQuality.FORECAST
    # What lies outside of its forecast is an error there: only the place is asked for.
    assert provider.asked[-1].query == {"location": "northeurope"}


def test_a_recorded_answer_by_location_is_read_with_net_time_spans(provider):
    # As a server with Electricity Maps behind it answered for koreacentral on 2026-05-16, of 2026-04-01.
    ratings = [416, 502, 409, 539]
    rows = [
        {"location": "northeurope", "time": f"2026-03-29T0{hour}:00:00+00:00", "rating": rating, "duration": "01:00:00"}
        for hour, rating in enumerate(ratings)
    ]

    series = observed(provider, *rows).carbon("northeurope", Interval.starting(DAY.start, 4 * 3600))

    assert series.values == tuple(ratings)
    assert series.worst_quality is DataQuality.ESTIMATED
    assert provider.asked[-1].query["time"] == "2026-03-29T00:00:00Z"
    assert provider.asked[-1].query["toTime"] == "2026-03-29T04:00:00Z"


def test_rows_without_a_duration_last_to_their_neighbour_and_seven_digits_of_a_second_are_read(provider):
    first = row(DAY.start) | {"time": "2026-03-29T00:00:00.0000000+00:00"}
    series = observed(provider, first, row(DAY.start + HOUR, 300)).carbon(
        "northeurope", Interval.starting(DAY.start, 7200)
    )

    assert series.values == (416.0, 300.0)


def test_the_same_row_twice_is_one(provider):
    one = row(DAY.start, duration="01:00:00")

    assert observed(provider, one, one).carbon("northeurope", Interval.starting(DAY.start, 3600)).values == (416.0,)


@pytest.mark.parametrize(
    ("argument", "kind", "scope", "accounting"),
    [
        ("average-direct", CarbonKind.AVERAGE, CarbonScope.DIRECT, Accounting.CONSUMPTION),
        ("average-lifecycle-production", CarbonKind.AVERAGE, CarbonScope.LIFECYCLE, Accounting.PRODUCTION),
        ("marginal-direct", CarbonKind.MARGINAL, CarbonScope.DIRECT, Accounting.CONSUMPTION),
    ],
)
def test_its_kind_is_what_the_user_declares(argument, kind, scope, accounting):
    (meaning,) = CarbonAwareSdkGrid.make(argument).limits.meanings

    assert (meaning.kind, meaning.scope, meaning.accounting) == (kind, scope, accounting)


@pytest.mark.parametrize(
    "argument", ["", "average", "direct-average", "average-direct-here", "average-direct-production-x"]
)
def test_a_kind_that_is_not_declared_is_not_guessed(argument):
    with pytest.raises(UsageError, match="marginal-direct"):
        CarbonAwareSdkGrid.make(argument)


def test_without_an_address_it_says_which_to_set(monkeypatch):
    monkeypatch.delenv("OUTWEIGH_GRID_URL_CARBON_AWARE_SDK", raising=False)

    assert not CarbonAwareSdkGrid.probe().usable
    with pytest.raises(GridUnavailable, match="OUTWEIGH_GRID_URL_CARBON_AWARE_SDK"):
        CarbonAwareSdkGrid.make("average-direct").carbon("eastus", DAY)


def test_a_slip_in_a_location_lists_those_of_the_server(provider):
    with pytest.raises(UnknownZone) as caught:
        keyed.carbon_aware_sdk(provider).carbon("northeurop", DAY)

    assert caught.value.nearest == ("northeurope",)


def test_nothing_at_all_is_a_gap(provider):
    assert says(provider, "/emissions/bylocation", b"", 204).carbon("northeurope", DAY).missing_share == 1


def test_a_provider_without_forecasts_is_told(provider):
    source = says(provider, "/emissions/forecasts/current", {"title": "NotImplementedException"}, 501)

    with pytest.raises(FactorMissing, match="no forecasts"):
        source.forecast("northeurope", DAY)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"time": "2026-03-29T00:00:00"}, "UTC"),
        ({"rating": "416"}, "416"),
        ({"rating": 0.416}, "kgCO2/kWh"),
        ({"rating": -3}, "-3"),
        ({"duration": "an hour"}, "an hour"),
        ({"duration": "9999.00:00:00"}, "9999"),
    ],
)
def test_a_row_that_cannot_be_right_is_refused_and_says_why(provider, change, said):
    with pytest.raises(GridDataInvalid, match=said):
        observed(provider, row(DAY.start, duration="01:00:00") | change).carbon("northeurope", DAY)


@pytest.mark.parametrize("minutes", [0, -5, None, 1e9, "10"])
def test_a_forecast_that_does_not_say_how_long_a_figure_holds_is_refused(provider, minutes):
    body = [keyed.sdk_forecast("northeurope", [DAY.start], minutes)]

    with pytest.raises(GridDataInvalid):
        says(provider, "/emissions/forecasts/current", body).forecast("northeurope", DAY)


def test_a_forecast_for_another_place_is_refused(provider):
    body = [keyed.sdk_forecast("eastus", [DAY.start])]

    with pytest.raises(GridDataInvalid, match="eastus"):
        says(provider, "/emissions/forecasts/current", body).forecast("northeurope", DAY)


@pytest.mark.parametrize("body", ["{}", "null", "3", "[3]", '[{"location": "northeurope"}]', '"<html>"'])
@pytest.mark.parametrize("path", ["/emissions/bylocation", "/emissions/forecasts/current"])
def test_an_answer_of_another_shape_is_a_typed_refusal(provider, body, path):
    source = says(provider, path, json.loads(body))
    ask = source.carbon if path.endswith("bylocation") else source.forecast

    with pytest.raises(GridDataInvalid):
        ask("northeurope", Interval(NOW - timedelta(days=1), NOW))
