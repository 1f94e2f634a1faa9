"""The Carbon Aware SDK's Web API as its clients know it."""

from __future__ import annotations

import json
import math
import os
import threading
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from outweigh.backends.grid.static import FixedGrid
from outweigh.core.errors import FactorMissing, GridBusy, GridUnavailable, UnknownZone
from outweigh.core.intervals import Bounds, Interval
from outweigh.core.quantities import CarbonScope
from outweigh.core.series import (
    Accounting,
    CarbonKind,
    CarbonMeaning,
    CarbonSeries,
    DataQuality,
    Gap,
    Origin,
)
from outweigh.data.places import zone_names
from outweigh.grid import Sources
from outweigh.grid.archive import Archive
from outweigh.registry import grid_sources

Serve = Callable[..., httpx.Client]

DIRECT = CarbonMeaning(CarbonKind.AVERAGE, CarbonScope.DIRECT, Accounting.CONSUMPTION)
LIFECYCLE = CarbonMeaning(CarbonKind.AVERAGE, CarbonScope.LIFECYCLE, Accounting.PRODUCTION)
NOON = datetime(2022, 7, 19, 12, tzinfo=UTC)


def series(
    zone: str,
    values: Sequence[float | Gap | None],
    *,
    start: datetime = NOON,
    step_s: float = 3600.0,
    quality: DataQuality = DataQuality.FORECAST,
    meaning: CarbonMeaning = DIRECT,
    issued: datetime | None = NOON,
) -> CarbonSeries:
    origin = Origin("made", zone, "made in this test", "CC0", issued_at=issued)
    return CarbonSeries.regular(start, step_s, values, quality, meaning, origin)


def forecasting(zone: str, values: Sequence[float | Gap | None], **given: Any) -> Sources:
    return Sources(live=[FixedGrid(forecasts={zone: series(zone, values, **given)})])


def observing(**zones: CarbonSeries) -> Sources:
    return Sources(live=[FixedGrid(carbon={name.replace("_", "-"): one for name, one in zones.items()})])


def told(response: httpx.Response, status: int = 200) -> Any:
    assert response.status_code == status, response.text
    return response.json()


# --- the SDK's own documentation ----------------------------------------------------------------------


@pytest.fixture
def sample() -> dict[str, Any]:
    """The forecast in the SDK's documentation (carbon-aware-webapi.md, GET emissions/forecasts/current)."""
    root = Path(os.environ.get("OUTWEIGH_SHARED_DATA", Path(__file__).parents[3] / "shared" / "data"))
    path = root / "regions" / "api_samples" / "carbon_aware_sdk_forecast_current.json"
    if not path.exists():
        pytest.skip(f"no reference data at {root}: set OUTWEIGH_SHARED_DATA")
    return json.loads(path.read_text(encoding="utf-8"))[0]


def test_the_documented_forecast_comes_out_field_by_field_from_the_same_series(serve: Serve, sample: dict[str, Any]):
    # The page shows three of the means over 10 minutes and not the series; here the two slots of 5 minutes of each
    # hold its mean, and the others more than the highest.
    shown = [*sample["forecastData"], sample["optimalDataPoint"]]
    first, last = datetime(2022, 7, 19, 13, 35, tzinfo=UTC), datetime(2022, 7, 20, 4, 40, tzinfo=UTC)
    values = [600.0] * int((last - first) / timedelta(minutes=5))
    for point in shown:
        at = int((datetime.fromisoformat(point["timestamp"]) - first) / timedelta(minutes=5))
        values[at : at + 2] = [point["value"]] * 2
    issued = datetime.fromisoformat(sample["generatedAt"])
    client = serve(forecasting("IE", values, start=first, step_s=300.0, issued=issued))

    # Exactly as the page writes the request.
    (answer,) = told(
        client.get(
            "/emissions/forecasts/current?location=northeurope"
            "&dataStartAt=2022-07-19T14:00:00Z&dataEndAt=2022-07-20T04:38:00Z&windowSize=10"
        )
    )

    for field in ("requestedAt", "generatedAt", "dataStartAt", "dataEndAt"):
        assert datetime.fromisoformat(answer[field]) == datetime.fromisoformat(sample[field]), field
    assert (answer["location"], answer["windowSize"]) == (sample["location"], sample["windowSize"])
    points = answer["forecastData"]
    for got, documented in zip(
        (points[0], points[-1], answer["optimalDataPoint"], answer["optimalDataPoints"][0]),
        (*sample["forecastData"], sample["optimalDataPoint"], sample["optimalDataPoint"]),
        strict=True,
    ):
        assert {key: got[key] for key in documented if key != "value"} == {
            key: documented[key] for key in documented if key != "value"
        }
        assert got["value"] == pytest.approx(documented["value"], rel=1e-12)
    assert set(sample) <= set(answer)
    # 14:00 to 04:25 in steps of 5 minutes: the window that starts at 04:30 would end at 04:40, after 04:38.
    assert len(points) == 174


@pytest.mark.parametrize(
    "asked",
    [
        # carbon-aware-webapi.md, quickstart.md and the SDK's own collection of integration tests.
        "/emissions/bylocation?location=eastus&time=2022-01-01&toTime=2022-05-17",
        "/emissions/bylocation?location=westus&time=2022-08-23T14%3A00&toTime=2022-08-23T14%3A30",
        "/emissions/byLocation?location=eastus&time=2022-05-10T00:00:00.000Z&toTime=2022-05-11T00:00:00.000Z",
        "/emissions/bylocations?locations=eastus&locations=westus&time=2022-01-01&toTime=2022-05-17",
        "/emissions/bylocations/best?locations=eastus&locations=westus&time=2022-01-01&toTime=2022-05-17",
        "/emissions/bylocations/best?location=francecentral&location=westus&location=eastus&location=uksouth&",
    ],
)
def test_requests_as_the_sdk_writes_them_are_answered_with_no_network_at_all(serve: Serve, asked: str):
    rows = told(serve().get(asked))

    assert rows
    for row in rows:
        assert isinstance(row["rating"], float)
        assert datetime.fromisoformat(row["time"]).utcoffset() == timedelta(0)
        assert row["location"] in asked
        assert row["outweigh"]["quality"] == "yearly default"
        assert (row["outweigh"]["grade"], row["outweigh"]["level"]) == ("D", row["outweigh"]["level"])
        assert all(row["outweigh"][key] for key in ("kind", "scope", "accounting", "source", "licence", "zone"))


def test_the_documented_mean_has_its_four_fields_and_echoes_what_was_asked(serve: Serve):
    hours = [300.0, 340.0, 360.0, 381.736]
    client = serve(observing(US_MIDA_PJM=series("US-MIDA-PJM", hours, start=NOON + timedelta(hours=2))))

    row = told(
        client.get(
            "/emissions/average-carbon-intensity?location=eastus"
            "&startTime=2022-07-19T14:00:00Z&endTime=2022-07-19T18:00:00Z"
        )
    )

    assert row["location"] == "eastus"
    assert datetime.fromisoformat(row["startTime"]) == NOON + timedelta(hours=2)
    assert datetime.fromisoformat(row["endTime"]) == NOON + timedelta(hours=6)
    assert row["carbonIntensity"] == pytest.approx(345.434)  # the mean of the four, and the page's figure


def test_a_batch_of_means_answers_in_its_order_and_takes_times_without_offset_as_utc(serve: Serve):
    client = serve(observing(US_MIDA_PJM=series("US-MIDA-PJM", [10.0, 20.0, 30.0])))
    asked = [
        {"location": "eastus", "startTime": "2022-07-19T13:00:00", "endTime": "2022-07-19T15:00:00"},
        {"location": "eastus", "startTime": "2022-07-19T08:00:00-04:00", "endTime": "2022-07-19T09:00:00-04:00"},
    ]

    rows = told(client.post("/emissions/average-carbon-intensity/batch", json=asked))

    assert [row["carbonIntensity"] for row in rows] == [25.0, 10.0]


def test_a_batch_of_forecasts_knows_only_what_was_issued_by_then(serve: Serve):
    client = serve(forecasting("US-MIDA-PJM", [3.0, 1.0, 2.0]), now=NOON + timedelta(hours=1))
    asked = {"location": "eastus", "requestedAt": "2022-07-19T12:01:00Z"}
    early = asked | {"requestedAt": "2022-07-19T11:00:00Z"}

    # A live source is not asked for the past, so this one stands in as a file.
    assert told(client.post("/emissions/forecasts/batch", json=[asked]), 501)
    stored = forecasting("US-MIDA-PJM", [3.0, 1.0, 2.0])
    client = serve(Sources(files=stored.live), now=NOON + timedelta(hours=1))
    (answer,) = told(client.post("/emissions/forecasts/batch", json=[asked]))
    refused = told(client.post("/emissions/forecasts/batch", json=[early]), 501)

    assert answer["optimalDataPoint"]["value"] == 1.0
    assert "issued only at 2022-07-19T12:00" in refused["detail"]


def test_with_an_archive_a_batch_replays_what_was_known_at_each_moment(serve: Serve, tmp_path: Path):
    pytest.importorskip("duckdb")
    archive = Archive(tmp_path)
    for hours, values in ((0, [5.0, 4.0, 3.0]), (1, [1.0, 9.0, 9.0])):
        issued = NOON + timedelta(hours=hours)
        one = series("IE", values, start=NOON + timedelta(hours=2), issued=issued)
        archive.put(one, retrieved_at=issued + timedelta(minutes=1))
    client = serve(archive=tmp_path, now=NOON + timedelta(hours=3))
    asked = [
        {"location": "northeurope", "requestedAt": "2022-07-19T12:30:00Z", "windowSize": 60},
        {"location": "northeurope", "requestedAt": "2022-07-19T13:30:00Z", "windowSize": 60},
    ]

    early, late = told(client.post("/emissions/forecasts/batch", json=asked))

    assert (early["generatedAt"], early["optimalDataPoint"]["value"]) == ("2022-07-19T12:00:00+00:00", 3.0)
    assert (late["generatedAt"], late["optimalDataPoint"]["value"]) == ("2022-07-19T13:00:00+00:00", 1.0)


def test_locations_have_azure_names_bare_others_with_their_provider_and_zones(serve: Serve):
    found = told(serve().get("/locations"))

    assert found["eastus"]["Name"] == found["eastus"]["name"] == "eastus"
    assert found["northeurope"]["Latitude"] == pytest.approx(53.35, abs=0.01)  # Dublin
    assert found["aws:eu-central-1"]["latitude"] == pytest.approx(50.1, abs=0.2)  # Frankfurt am Main
    assert found["DE"]["Latitude"] is None
    assert {"US-CAL-CISO", "SE-SE3", "NA"} <= set(found)


def test_every_location_that_is_listed_is_one_that_can_be_asked_for(serve: Serve):
    client = serve()
    names = list(told(client.get("/locations")))

    for some in (names[i : i + 50] for i in range(0, len(names), 50)):
        assert client.get("/emissions/bylocations", params={"location": some}).status_code in (200, 204)


def test_health_is_the_word_that_probes_look_for(serve: Serve):
    response = serve().get("/health")

    assert (response.status_code, response.text) == (200, "Healthy")


# --- what was -----------------------------------------------------------------------------------------


def test_slots_that_overlap_the_time_asked_for_come_whole_and_in_order(serve: Serve):
    client = serve(observing(IE=series("IE", [1.0, 2.0, 3.0, 4.0], step_s=1800.0, quality=DataQuality.MEASURED)))

    rows = told(client.get("/emissions/bylocation?location=IE&time=2022-07-19T12:15Z&toTime=2022-07-19T13:30Z"))

    assert [row["rating"] for row in rows] == [1.0, 2.0, 3.0]
    assert rows[0]["time"] == "2022-07-19T12:00:00+00:00"
    assert {row["duration"] for row in rows} == {"00:30:00"}
    assert {row["outweigh"]["grade"] for row in rows} == {"B"}


def test_without_a_time_the_slot_that_holds_now_is_told(serve: Serve):
    client = serve(observing(IE=series("IE", [1.0, 2.0, 3.0, 4.0], step_s=1800.0)))

    (row,) = told(client.get("/emissions/bylocation?location=IE"))

    assert (row["time"], row["rating"]) == ("2022-07-19T13:30:00+00:00", 4.0)


def test_gaps_are_left_out_and_never_win(serve: Serve):
    values = [5.0, None, Gap.INVALID, 4.0]
    client = serve(observing(IE=series("IE", values)))
    asked = "location=IE&time=2022-07-19T12:00Z&toTime=2022-07-19T16:00Z"

    rows = told(client.get(f"/emissions/bylocation?{asked}"))
    best = told(client.get(f"/emissions/bylocations/best?{asked}"))

    assert [row["rating"] for row in rows] == [5.0, 4.0]
    assert [row["rating"] for row in best] == [4.0]


def test_no_data_is_204_with_the_reason_in_a_header(serve: Serve):
    nameless = next(row.zone for row in zone_names().values() if row.zone == row.country)

    response = serve().get("/emissions/bylocation", params={"location": nameless})

    assert response.status_code == 204
    assert f"no carbon intensity for '{nameless}'" in response.headers["outweigh-reason"]


def test_all_that_are_equally_good_are_told_the_first_first(serve: Serve):
    client = serve(observing(IE=series("IE", [7.0, 3.0, 3.0]), FR=series("FR", [3.0, 8.0, 9.0])))
    asked = "location=IE&location=FR&time=2022-07-19T12:00Z&toTime=2022-07-19T15:00Z"

    rows = told(client.get(f"/emissions/bylocations/best?{asked}"))

    assert [(row["location"], row["time"][11:13]) for row in rows] == [("IE", "13"), ("IE", "14"), ("FR", "12")]


def test_a_direct_figure_is_not_ranked_against_a_lifecycle_one(serve: Serve):
    # Ireland's is direct, and the tables have a lifecycle one of both: only those can be compared.
    client = serve(observing(IE=series("IE", [1.0] * 24, start=NOON - timedelta(hours=6))))

    (row,) = told(client.get("/emissions/bylocations/best?location=IE&location=FR"))

    assert (row["location"], row["outweigh"]["scope"]) == ("FR", "lifecycle")


def test_locations_with_no_question_in_common_are_refused(serve: Serve):
    marginal = CarbonMeaning(CarbonKind.MARGINAL, CarbonScope.DIRECT, Accounting.CONSUMPTION)
    client = serve(observing(X1=series("X1", [1.0] * 9), X2=series("X2", [2.0] * 9, meaning=marginal)))

    refused = told(client.get("/emissions/bylocations/best?location=X1&location=X2"), 400)

    assert refused["title"] == "SeriesMismatch"


def test_a_mean_over_too_much_that_is_missing_is_refused(serve: Serve):
    client = serve(observing(X1=series("X1", [1.0, None, 1.0, 1.0])))
    asked = "location=X1&startTime=2022-07-19T12:00Z&endTime=2022-07-19T16:00Z"

    refused = told(client.get(f"/emissions/average-carbon-intensity?{asked}"), 400)

    assert "25 %" in refused["detail"]


# --- what is to come ----------------------------------------------------------------------------------


def test_the_best_window_has_the_lowest_mean_and_not_the_lowest_slot(serve: Serve):
    # The examples beside the SDK's rolling average: means of 10 min over slots of 5.
    for values, means in (
        ([10.0, 20.0, 30.0, 40.0, 5.0], [15.0, 25.0, 35.0, 22.5]),
        ([5.0, 55.0, 10.0, 10.0, 10.0], [30.0, 32.5, 10.0, 10.0]),
        ([12.0, 11.0, 10.0, 12.0, 13.0], [11.5, 10.5, 11.0, 12.5]),
    ):
        client = serve(forecasting("IE", values, step_s=300.0), now=NOON)

        (answer,) = told(client.get("/emissions/forecasts/current?location=IE&windowSize=10"))

        assert [point["value"] for point in answer["forecastData"]] == pytest.approx(means)
        assert answer["optimalDataPoint"]["value"] == pytest.approx(min(means))


def test_a_window_with_anything_missing_in_it_is_left_out(serve: Serve):
    values = [50.0, None, 40.0, 1.0, Gap.INVALID, 60.0, 30.0]
    client = serve(forecasting("IE", values), now=NOON)

    (answer,) = told(client.get("/emissions/forecasts/current?location=IE&windowSize=120"))

    assert [point["timestamp"][11:13] for point in answer["forecastData"]] == ["14", "17"]
    assert answer["optimalDataPoint"]["value"] == pytest.approx(20.5)


def test_without_a_window_the_slots_themselves_are_told_with_their_intervals(serve: Serve):
    known = series("IE", [5.0, 4.0, 6.0])
    sure = tuple(Bounds(value - 1, value + 2, 0.9) for value in (5.0, 4.0, 6.0))
    of = CarbonSeries(known.meaning, known.edges_s, known.values, known.qualities, known.origin, sure)
    exactly = type("Held", (FixedGrid,), {"name": "held", "forecast": lambda *_: of})(forecasts={"IE": of})
    client = serve(Sources(live=[exactly]), now=NOON)

    (answer,) = told(client.get("/emissions/forecasts/current?location=IE"))

    assert answer["windowSize"] == 60
    assert [point["outweigh"]["interval_g_per_kwh"] for point in answer["forecastData"]] == [
        [4.0, 7.0],
        [3.0, 6.0],
        [5.0, 8.0],
    ]
    best = answer["optimalDataPoint"]["outweigh"]
    assert (best["grade"], best["interval_confidence"]) == ("C", 0.9)


def test_a_yearly_mean_is_not_passed_off_as_a_forecast(serve: Serve):
    refused = told(serve().get("/emissions/forecasts/current?location=DE"), 501)

    assert refused["status"] == 501
    assert "A yearly mean is no forecast" in refused["detail"]


def test_a_demonstration_shows_a_typical_day_and_says_so(serve: Serve):
    client = serve(demo=True)

    (answer,) = told(client.get("/emissions/forecasts/current?location=eastus&windowSize=60"))

    assert answer["outweigh"]["level"] == "demo"
    assert answer["outweigh"]["quality"] == "typical day"
    assert "not a forecast" in answer["outweigh"]["notes"][0]
    assert told(client.get("/emissions/forecasts/current?location=DE"), 501)


def test_a_forecast_that_has_ended_is_none(serve: Serve):
    client = serve(forecasting("IE", [1.0, 2.0]), now=NOON + timedelta(days=2))

    refused = told(client.get("/emissions/forecasts/current?location=IE"), 501)

    assert "says nothing of the time after" in refused["detail"]


def test_files_and_declared_figures_answer_too(serve: Serve, tmp_path: Path):
    from outweigh.app.serving import open_answers
    from outweigh.dashboard.application import carbon_aware_alone

    path = tmp_path / "own.csv"
    path.write_text(
        "zone,start,end,value,unit,kind,scope,accounting,quality,issued_at\n"
        "DE,2022-07-19T13:00Z,2022-07-19T14:00Z,312,gCO2e/kWh,average,direct,consumption,measured,\n"
        "DE,2022-07-19T14:00Z,2022-07-19T15:00Z,300,gCO2e/kWh,average,direct,consumption,forecast,2022-07-19T13:00Z\n",
        encoding="utf-8",
    )
    answers = open_answers(files=[path], declared=["GG=40 gCO2e/kWh"])
    assert carbon_aware_alone(answers)

    (row,) = answers.observed(["DE"], datetime(2022, 7, 19, 13, tzinfo=UTC), None).points

    assert (row.g_per_kwh, row.said.level) == (312.0, "file")


# --- what we add --------------------------------------------------------------------------------------


def days_of_waves(n: int, end: datetime) -> CarbonSeries:
    """A day whose noon is clean, every day, and every fifth hour of the first week unknown."""
    values = [300.0 + 150.0 * math.cos(2 * math.pi * (hour % 24) / 24) for hour in range(24 * n)]
    holes = [None if hour < 168 and hour % 5 == 0 else value for hour, value in enumerate(values)]
    return series("IE", holes, start=end - timedelta(days=n), quality=DataQuality.MEASURED, issued=None)


def test_where_no_provider_forecasts_ours_comes_from_the_history_with_its_interval(serve: Serve):
    history = FixedGrid(carbon={"IE": days_of_waves(70, NOON.replace(hour=0))})
    client = serve(Sources(files=[history]), now=NOON)

    (answer,) = told(client.get("/emissions/forecasts/current?location=northeurope"))

    assert answer["outweigh"]["notes"][0] == "our own forecast, from the history in static"
    assert "seasonal" in answer["outweigh"]["method"]
    assert answer["optimalDataPoint"]["timestamp"][11:13] == "12"
    for point in answer["forecastData"]:
        low, high = point["outweigh"]["interval_g_per_kwh"]
        assert low <= point["value"] <= high
        assert point["outweigh"]["interval_confidence"] == 0.9


def test_a_short_history_gives_no_forecast_and_says_how_long_it_must_be(serve: Serve):
    history = FixedGrid(carbon={"IE": days_of_waves(20, NOON.replace(hour=0))})

    refused = told(serve(Sources(files=[history]), now=NOON).get("/emissions/forecasts/current?location=IE"), 501)

    assert "42 days" in refused["detail"]


def test_a_yearly_mean_over_months_comes_by_the_day_and_the_best_of_it_once(serve: Serve):
    client = serve()
    asked = "location=DE&time=2022-01-01T06:00Z&toTime=2022-01-03T12:00Z"

    rows = told(client.get(f"/emissions/bylocation?{asked}"))
    best = told(client.get(f"/emissions/bylocations/best?{asked}"))

    assert [(row["time"][:13], row["duration"]) for row in rows] == [
        ("2022-01-01T06", "18:00:00"),
        ("2022-01-02T00", "1.00:00:00"),
        ("2022-01-03T00", "12:00:00"),
    ]
    assert len(best) == 1


def test_more_points_than_anybody_reads_are_refused(serve: Serve):
    zones = {f"X{n}": series(f"X{n}", [1.0] * 3000, step_s=300.0) for n in range(20)}
    client = serve(Sources(files=[FixedGrid(carbon=zones)]))
    asked = "&".join(f"location={zone}" for zone in zones)

    response = client.get(f"/emissions/bylocations?{asked}&time=2022-07-19T12:00Z&toTime=2022-07-29T22:00Z")

    assert response.status_code == 400
    assert list(response.json()["errors"]) == ["toTime"]


def test_our_own_client_of_the_sdk_reads_back_what_we_serve(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    pytest.importorskip("hishel")
    monkeypatch.setenv("OUTWEIGH_CACHE_DIR", str(tmp_path))
    hours = series("US-MIDA-PJM", [300.0, 310.0, 320.0], quality=DataQuality.MEASURED)
    ahead = series("US-MIDA-PJM", [90.0, 80.0, 70.0, 60.0])
    server = serve(Sources(live=[FixedGrid(carbon={"US-MIDA-PJM": hours}, forecasts={"US-MIDA-PJM": ahead})]), now=NOON)
    monkeypatch.setenv("OUTWEIGH_GRID_URL_CARBON_AWARE_SDK", str(server.base_url))
    client = grid_sources.get("carbon-aware-sdk").make("average-direct")

    was = client.carbon("eastus", Interval.starting(NOON, 3 * 3600))
    will_be = client.forecast("eastus", Interval.starting(NOON, 4 * 3600))
    by_default = client.carbon("westeurope", Interval.starting(NOON, 3 * 86400))

    assert was.values == (300.0, 310.0, 320.0)
    assert will_be.values == (90.0, 80.0, 70.0, 60.0)
    assert will_be.origin.issued_at == NOON
    assert by_default.missing_share == 0
    with pytest.raises(UnknownZone):
        client.carbon("atlantis", Interval.starting(NOON, 3600))
    with pytest.raises(FactorMissing):
        client.forecast("westeurope", Interval.starting(NOON, 3600))


# --- sources that cannot be asked now, and slow ones ----------------------------------------------------


class Failing(FixedGrid):
    """A live source that is down, or asks for a pause."""

    name = "failing"

    def __init__(self, failure: GridUnavailable) -> None:
        super().__init__()
        self._failure = failure

    def carbon(self, *_: object) -> CarbonSeries:
        raise self._failure

    forecast = carbon


BUSY = GridBusy("failing", 120, "Ask again in 120 s")
DOWN = GridUnavailable("failing", "no connection", "Check the network")


def test_where_nobody_else_forecasts_a_busy_source_is_503_with_its_pause(serve: Serve):
    client = serve(Sources(live=[Failing(DOWN), Failing(BUSY)]))

    refused = client.get("/emissions/forecasts/current?location=DE")

    assert told(refused, 503)["title"] == "GridBusy"
    assert refused.headers["Retry-After"] == "120"


def test_where_nobody_else_forecasts_a_source_that_is_down_is_503(serve: Serve):
    refused = serve(Sources(live=[Failing(DOWN)])).get("/emissions/forecasts/current?location=DE")

    assert "no connection" in told(refused, 503)["detail"]


def test_a_forecast_of_another_source_says_who_was_passed_over(serve: Serve):
    ahead = FixedGrid(forecasts={"IE": series("IE", [5.0, 1.0, 3.0])})
    client = serve(Sources(live=[Failing(BUSY), ahead]))

    (answer,) = told(client.get("/emissions/forecasts/current?location=IE"))

    (passed,) = answer["outweigh"]["passed_over"]
    assert (passed["level"], passed["backend"]) == ("live", "failing")
    assert "pause of 120 s" in passed["reason"]


@pytest.mark.parametrize(
    "asked",
    [
        "bylocation?location=DE",
        "bylocations/best?location=DE",
        "average-carbon-intensity?location=DE&startTime=2022-07-19T00:00Z&endTime=2022-07-19T12:00Z",
    ],
)
def test_a_yearly_mean_in_the_place_of_a_busy_source_says_so(serve: Serve, asked: str):
    answer = told(serve(Sources(live=[Failing(BUSY)])).get(f"/emissions/{asked}"))

    said = (answer[0] if isinstance(answer, list) else answer)["outweigh"]
    assert said["level"] == "country year"
    assert said["passed_over"][0] == {"level": "live", "backend": "failing", "reason": str(BUSY)}


@pytest.mark.parametrize(
    "asked",
    [
        "bylocation?location=CF",
        "bylocations/best?location=CF",
        "average-carbon-intensity?location=CF&startTime=2022-07-19T00:00Z&endTime=2022-07-19T12:00Z",
    ],
)
def test_where_a_busy_source_is_all_there_is_a_client_is_told_to_come_back(serve: Serve, asked: str):
    # The Central African Republic has no yearly figure that says more than how it was rounded.
    refused = serve(Sources(live=[Failing(BUSY)])).get(f"/emissions/{asked}")

    assert told(refused, 503)["status"] == 503
    assert refused.headers["Retry-After"] == "120"


def test_a_slow_source_keeps_nobody_waiting_who_asks_for_names_or_another_source(serve: Serve):
    class Slow(FixedGrid):
        asked, over = threading.Event(), threading.Event()

        def carbon(self, zone: str, *_: object) -> CarbonSeries:
            if zone == "DE":
                self.asked.set()
                assert self.over.wait(20)
            return super().carbon(zone, *_)

    slow = Slow(carbon={"DE": series("DE", [1.0] * 24)})
    quick = FixedGrid(carbon={"IE": series("IE", [7.0] * 24)})
    client = serve(Sources(live=[quick, slow]))
    answered: list[httpx.Response] = []
    base = str(client.base_url)
    waiting = threading.Thread(
        target=lambda: answered.append(httpx.get(f"{base}/emissions/bylocation?location=DE", timeout=30))
    )
    waiting.start()
    try:
        assert slow.asked.wait(20)

        assert "DE" in told(client.get("/locations", timeout=5))
        assert told(client.get("/emissions/bylocation?location=IE", timeout=5))[0]["rating"] == 7.0
        assert not answered
    finally:
        slow.over.set()
        waiting.join(20)
    assert told(answered[0])[0]["rating"] == 1.0


def test_one_forecast_that_is_being_fitted_keeps_no_other_zone_waiting(monkeypatch: pytest.MonkeyPatch):
    from outweigh.app.own_forecasts import OwnForecasts
    from outweigh.grid import forecasting

    fitting, over = threading.Event(), threading.Event()

    def fit(history: CarbonSeries, *_: object, **__: object) -> CarbonSeries:
        if history.origin.zone == "DE":
            fitting.set()
            assert over.wait(20)
        return history

    monkeypatch.setattr(forecasting, "forecast", fit)
    own, german, irish = OwnForecasts(), series("DE", [1.0] * 24), series("IE", [1.0] * 24)
    waiting = threading.Thread(target=own.forecast, args=("DE", german, NOON))
    waiting.start()
    try:
        assert fitting.wait(20)
        assert own.forecast("IE", irish, NOON).origin.zone == "IE"
        assert waiting.is_alive()
    finally:
        over.set()
        waiting.join(20)


def test_a_location_that_only_a_named_source_knows_is_asked_by_that_name(serve: Serve):
    class Sdk(FixedGrid):
        def zones(self) -> tuple[str, ...]:
            return ()

        def takes(self, name: str) -> bool:
            return True

        def carbon(self, zone: str, *_: object) -> CarbonSeries:
            return series(zone, [3.0] * 24)

        forecast = carbon

    client = serve(Sources(live=[Sdk()]))

    (row,) = told(client.get("/emissions/bylocation?location=eastus"))
    (ahead,) = told(client.get("/emissions/forecasts/current?location=their-own-region"))

    assert (row["rating"], row["outweigh"]["zone"]) == (3.0, "azure:eastus")
    assert ahead["outweigh"]["zone"] == "their-own-region"
