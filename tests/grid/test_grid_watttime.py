"""WattTime: marginal, in pounds per megawatt-hour, behind a token that ends."""

from __future__ import annotations

import base64
import importlib.util
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from outweigh.backends.grid.watttime import WattTimeGrid
from outweigh.core.errors import (
    FactorMissing,
    GridDataInvalid,
    GridUnavailable,
    SeriesMismatch,
    UnknownZone,
    UsageError,
)
from outweigh.core.intervals import Interval
from outweigh.core.quantities import CarbonBasis, CarbonScope
from outweigh.core.series import CarbonKind, DataQuality, Gap, check_same_question
from outweigh.registry import grid_sources

pytest.importorskip("hishel")

spec = importlib.util.spec_from_file_location("keyed_providers", Path(__file__).with_name("keyed_providers.py"))
keyed = importlib.util.module_from_spec(spec)
spec.loader.exec_module(keyed)
DAY, HOUR, NOW = keyed.DAY, keyed.HOUR, keyed.NOW
ZONE = "US-CAL-CISO"
FIVE = timedelta(minutes=5)


def says(provider, path: str, body: object, now: datetime = NOW) -> WattTimeGrid:
    provider.says("/login", {"token": "t0ken-0ne"}).says(path, body)
    return keyed.at_work("watttime", provider, now)


def logins(provider) -> int:
    return sum(asked.path == "/login" for asked in provider.asked)


def test_the_documented_forecast_is_pounds_per_mwh_as_exact_grams(provider, sample):
    source = says(
        provider, "/v3/forecast", sample("watttime_forecast_shape.json"), datetime(2026, 5, 3, 10, 1, tzinfo=UTC)
    )

    series = source.forecast(ZONE, Interval.starting(datetime(2026, 5, 3, 10, tzinfo=UTC), 900))

    # 1 lb = 0.45359237 kg exactly (NIST SP 811, appendix B.8).
    assert series.values == (
        pytest.approx(412.5 * 0.45359237, rel=1e-15),
        pytest.approx(409.1 * 0.45359237, rel=1e-15),
        Gap.MISSING,
    )
    assert series.steps_s == (300.0,)
    assert series.origin.issued_at == datetime(2026, 5, 3, 10, tzinfo=UTC)
    assert series.origin.zone == "CAISO_NORTH"
    assert "2026-03-01" in series.origin.method


def test_it_is_marginal_and_direct_and_does_not_compare_with_an_average(provider):
    series = keyed.watttime(provider).carbon(ZONE, DAY)
    average = grid_sources.get("tables").make().carbon(ZONE, DAY)

    assert (series.meaning.kind, series.meaning.scope) == (CarbonKind.MARGINAL, CarbonScope.DIRECT)
    assert series.mean().basis is CarbonBasis.MARGINAL
    assert series.worst_quality is DataQuality.ESTIMATED
    with pytest.raises(SeriesMismatch):
        check_same_question(series, average)


def test_one_more_kilowatt_hour_may_take_carbon_away(provider):
    source = says(provider, "/v3/historical", keyed.wt_body("CAISO_NORTH", [DAY.start], -100))

    assert source.carbon(ZONE, Interval.starting(DAY.start, 300)).values == (pytest.approx(-45.359237),)


def test_a_null_is_a_gap(provider):
    source = says(provider, "/v3/historical", keyed.wt_body("CAISO_NORTH", [DAY.start], None))

    assert source.carbon(ZONE, Interval.starting(DAY.start, 300)).values == (Gap.NULL,)


def test_a_month_and_more_is_asked_for_in_pieces_that_overlap_in_nothing(provider):
    source = keyed.watttime(provider)
    window = Interval(NOW - timedelta(days=40), NOW - timedelta(days=1))

    series = source.carbon(ZONE, window)

    assert series.missing_share == 0
    assert sum(asked.path == "/v3/historical" for asked in provider.asked) == 2
    assert all(asked.query["signal_type"] == "co2_moer" for asked in provider.asked if asked.path == "/v3/historical")


def test_in_a_window_that_runs_on_what_is_to_come_is_the_forecast_and_says_so(provider):
    window = Interval(NOW - 2 * HOUR, NOW + 2 * HOUR)

    series = keyed.watttime(provider).carbon(ZONE, window)

    assert series.missing_share == 0
    assert series.window(Interval(window.start, NOW)).worst_quality is DataQuality.ESTIMATED
    ahead = series.window(Interval(NOW + FIVE, window.end))
    assert set(ahead.qualities) == {DataQuality.FORECAST}


# --- the token --------------------------------------------------------------------------------------


def test_it_logs_in_once_with_name_and_password_and_then_shows_the_token(provider):
    source = keyed.watttime(provider)

    source.carbon(ZONE, DAY)
    source.forecast(ZONE, Interval(NOW, NOW + HOUR))

    assert logins(provider) == 1
    assert (
        provider.asked[0].headers["authorization"] == "Basic " + base64.b64encode(f"me:{keyed.KEY}".encode()).decode()
    )
    assert {one.headers["authorization"] for one in provider.asked[1:]} == {"Bearer t0ken-0ne"}


def test_a_token_is_renewed_after_half_an_hour(provider):
    now = [NOW]
    source = keyed.watttime(provider)
    source._now = lambda: now[0]
    source.carbon(ZONE, DAY)

    now[0] = NOW + timedelta(minutes=31)
    source.carbon(ZONE, Interval(DAY.start - HOUR, DAY.start))

    assert logins(provider) == 2


def test_a_token_that_ends_before_its_time_is_renewed_once_and_the_question_asked_again(provider, answer):
    provider.says("/login", {"token": "t0ken-0ne"}, {"token": "t0ken-two"})

    def historical(asked):
        if asked.headers["authorization"] != "Bearer t0ken-two":
            return answer({"error": "token expired"}, 401)
        return answer(keyed.wt_body("CAISO_NORTH", [DAY.start]))

    provider.on("/v3/historical", historical)

    series = keyed.at_work("watttime", provider).carbon(ZONE, Interval.starting(DAY.start, 300))

    assert series.missing_share == 0
    assert logins(provider) == 2


def test_a_token_refused_twice_is_an_error_and_not_a_loop(provider, answer):
    provider.says("/login", {"token": "t0ken-0ne"}).on("/v3/", answer({"error": "no"}, 401))

    with pytest.raises(GridUnavailable, match="OUTWEIGH_WATTTIME_KEY"):
        keyed.at_work("watttime", provider).carbon(ZONE, DAY)

    assert len(provider.asked) == 4


def test_a_wrong_password_is_told_with_where_to_register_and_is_not_shown(provider, answer):
    provider.on("/login", answer({"error": "authentication failed"}, 403))

    with pytest.raises(GridUnavailable, match=r"docs\.watttime\.org.*NAME:PASSWORD") as caught:
        keyed.at_work("watttime", provider).carbon(ZONE, DAY)

    assert keyed.KEY not in str(caught.value)


def test_a_key_without_a_password_is_a_slip_of_the_person_who_set_it(provider, monkeypatch):
    source = keyed.watttime(provider)
    monkeypatch.setenv("OUTWEIGH_WATTTIME_KEY", "only-a-name-of-mine")

    with pytest.raises(UsageError, match="NAME:PASSWORD") as caught:
        source.carbon(ZONE, DAY)

    assert "only-a-name-of-mine" not in str(caught.value)


# --- zones, and what goes wrong ---------------------------------------------------------------------


def test_a_region_of_its_own_is_asked_for_by_its_own_name(provider):
    body = keyed.wt_body("ERCOT_NORTHCENTRAL", [DAY.start])

    assert says(provider, "/v3/historical", body).carbon("ERCOT_NORTHCENTRAL", DAY).origin.zone == "ERCOT_NORTHCENTRAL"


def test_a_region_beyond_the_plan_says_which_one_is_free(provider):
    with pytest.raises(GridUnavailable, match=r"CAISO_NORTH.*is free"):
        keyed.watttime(provider).carbon("DE", DAY)


def test_a_slip_lists_what_is_like_it(provider):
    with pytest.raises(UnknownZone) as caught:
        keyed.watttime(provider).carbon("US-CAL-CIS", DAY)

    assert any(ZONE in near for near in caught.value.nearest)
    assert not provider.asked


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"units": "kg_co2_per_mwh"}, "kg_co2_per_mwh"),
        ({"units": None}, "None"),
        ({"region": "PJM_DC"}, "PJM_DC"),
        ({"signal_type": "health_damage"}, "health_damage"),
        ({"data_point_period_seconds": 0}, "0"),
        ({"data_point_period_seconds": 1e300}, "shape"),
        ({"data_point_period_seconds": "soon"}, "soon"),
    ],
)
def test_an_answer_that_is_not_what_was_asked_is_refused_and_says_why(provider, change, said):
    source = says(provider, "/v3/historical", keyed.wt_body("CAISO_NORTH", [DAY.start], **change))

    with pytest.raises(GridDataInvalid, match=said):
        source.carbon(ZONE, DAY)


@pytest.mark.parametrize("body", ["[]", "{}", "null", '{"meta": 1}', '{"meta": {"region": "CAISO_NORTH"}, "data": 1}'])
def test_an_answer_of_another_shape_is_a_typed_refusal(provider, body):
    with pytest.raises(GridDataInvalid):
        says(provider, "/v3/historical", json.loads(body)).carbon(ZONE, DAY)


@pytest.mark.parametrize("body", ["[]", "{}", "null", '{"token": ""}', '{"token": 3}'])
def test_a_login_without_a_token_is_a_typed_refusal(provider, body):
    provider.says("/login", json.loads(body))

    with pytest.raises(GridDataInvalid):
        keyed.at_work("watttime", provider).carbon(ZONE, DAY)


def test_what_is_still_to_come_is_asked_of_the_forecast(provider):
    with pytest.raises(FactorMissing, match="forecast"):
        keyed.watttime(provider).carbon(ZONE, Interval(NOW + HOUR, NOW + 2 * HOUR))
