"""Requests that are wrong: each a 400 that names the field, and whatever is sent, never a crash."""

from __future__ import annotations

import json
import string
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from outweigh.backends.grid.static import FixedGrid
from outweigh.core.quantities import CarbonScope
from outweigh.core.series import Accounting, CarbonKind, CarbonMeaning, CarbonSeries, DataQuality, Origin
from outweigh.grid import Sources

Serve = Callable[..., httpx.Client]
START = datetime(2022, 7, 19, 13, tzinfo=UTC)
MEANING = CarbonMeaning(CarbonKind.AVERAGE, CarbonScope.DIRECT, Accounting.CONSUMPTION)


@pytest.fixture
def client(serve: Serve) -> httpx.Client:
    origin = Origin("made", "IE", "made in this test", "CC0", issued_at=START)
    ahead = CarbonSeries.regular(START, 3600.0, [5.0, None, 3.0, 4.0] * 6, DataQuality.FORECAST, MEANING, origin)
    grid = FixedGrid(carbon={"IE": ahead}, forecasts={"IE": ahead})
    return serve(Sources(live=[grid], files=[grid]))


def refusal(response: httpx.Response) -> dict[str, Any]:
    assert response.status_code == 400, response.text
    assert response.headers["content-type"].startswith("application/problem+json")
    body = response.json()
    assert (body["status"], bool(body["title"]), bool(body["detail"])) == (400, True, True)
    assert "Traceback" not in response.text
    return body


NOON = "2022-07-19T12:00Z"
ONE = "2022-07-19T13:00Z"


@pytest.mark.parametrize(
    ("asked", "field", "says"),
    [
        ("/emissions/bylocation", "location", "required"),
        ("/emissions/bylocation?location=", "location", "required"),
        ("/emissions/bylocation?location=IE&location=FR", "location", "bylocations takes several"),
        ("/emissions/bylocation?location=useast", "location", "eastus"),
        ("/emissions/bylocation?location=de", "location", "DE (Germany)"),
        (
            "/emissions/bylocations?" + "&".join(f"location=X{n}" for n in range(101)),
            "location",
            "",
        ),
        ("/emissions/bylocation?location=IE&time=yesterday", "time", "ISO 8601"),
        ("/emissions/bylocation?location=IE&time=2022-02-30", "time", "ISO 8601"),
        ("/emissions/bylocation?location=IE&time=1658232000", "time", "ISO 8601"),
        ("/emissions/bylocation?location=IE&time=2022-07-19T12:00:00+02:00", "time", "%2B"),
        ("/emissions/bylocation?location=IE&time=0001-01-01T00:00%2B14:00", "time", "no"),
        ("/emissions/bylocation?location=IE&time=9999-12-31T23:59Z", "time", "between 1990 and 2100"),
        (f"/emissions/bylocation?location=IE&toTime={ONE}", "time", "toTime"),
        (f"/emissions/bylocation?location=IE&time={ONE}&toTime={NOON}", "toTime", "after time"),
        (f"/emissions/bylocation?location=IE&time={ONE}&toTime={ONE}", "toTime", "after time"),
        ("/emissions/bylocation?location=IE&time=2001-01-01&toTime=2022-01-01", "toTime", "366 days"),
        ("/emissions/average-carbon-intensity?location=IE", "startTime", "required"),
        (f"/emissions/average-carbon-intensity?location=IE&startTime={NOON}", "endTime", "required"),
        (f"/emissions/average-carbon-intensity?location=IE&startTime={ONE}&endTime={NOON}", "endTime", "after"),
        ("/emissions/forecasts/current", "location", "required"),
        ("/emissions/forecasts/current?location=IE&windowSize=ten", "windowSize", "whole number"),
        ("/emissions/forecasts/current?location=IE&windowSize=1.5", "windowSize", "whole number"),
        ("/emissions/forecasts/current?location=IE&windowSize=0", "windowSize", "above 0"),
        ("/emissions/forecasts/current?location=IE&windowSize=-60", "windowSize", "above 0"),
        ("/emissions/forecasts/current?location=IE&windowSize=999999", "windowSize", "no whole window"),
        (f"/emissions/forecasts/current?location=IE&dataStartAt={NOON}", "dataStartAt", "the forecast covers"),
        ("/emissions/forecasts/current?location=IE&dataEndAt=2022-08-19", "dataEndAt", "the forecast covers"),
        (
            "/emissions/forecasts/current?location=IE&dataStartAt=2022-07-19T16:00Z&dataEndAt=2022-07-19T15:00Z",
            "dataEndAt",
            "after dataStartAt",
        ),
    ],
)
def test_a_wrong_request_is_refused_with_the_field_and_what_is_wrong(
    client: httpx.Client, asked: str, field: str, says: str
):
    body = refusal(client.get(asked))

    assert list(body["errors"]) == [field]
    assert says in body["errors"][field][0]


MEAN = {"location": "IE", "startTime": "2022-07-19T13:00Z", "endTime": "2022-07-19T14:00Z"}
AHEAD = {"location": "IE", "requestedAt": "2022-07-19T13:01Z"}


@pytest.mark.parametrize(
    ("path", "sent", "field"),
    [
        ("average-carbon-intensity/batch", "", "$"),
        ("average-carbon-intensity/batch", "{not json", "$"),
        ("average-carbon-intensity/batch", "[" * 100_000, "$"),
        ("average-carbon-intensity/batch", json.dumps({"location": "IE"}), "$"),
        ("average-carbon-intensity/batch", json.dumps([1]), "0"),
        ("average-carbon-intensity/batch", json.dumps([MEAN] * 101), "$"),
        ("average-carbon-intensity/batch", " " * 300_000 + "[]", "$"),
        ("average-carbon-intensity/batch", json.dumps([MEAN, {**MEAN, "location": 7}]), "1.location"),
        ("average-carbon-intensity/batch", json.dumps([{"location": "IE"}]), "0.startTime"),
        ("average-carbon-intensity/batch", json.dumps([{**MEAN, "startTime": "soon"}]), "startTime"),
        ("forecasts/batch", json.dumps([{"location": "IE"}]), "0.requestedAt"),
        ("forecasts/batch", json.dumps([{**AHEAD, "requestedAt": "2022-07-19T23:00Z"}]), "requestedAt"),
        ("forecasts/batch", json.dumps([{**AHEAD, "windowSize": "30"}]), "0.windowSize"),
        ("forecasts/batch", json.dumps([{**AHEAD, "windowSize": True}]), "0.windowSize"),
        ("forecasts/batch", json.dumps([{**AHEAD, "windowSize": 10**40}]), "windowSize"),
        ("forecasts/batch", json.dumps([{**AHEAD, "windowSize": -5}]), "windowSize"),
        ("forecasts/batch", json.dumps([{**AHEAD, "location": "Eire"}]), "location"),
    ],
)
def test_a_wrong_body_is_refused_with_the_item_and_what_is_wrong(
    client: httpx.Client, path: str, sent: str, field: str
):
    body = refusal(client.post(f"/emissions/{path}", content=sent))

    assert list(body["errors"]) == [field]


def test_what_is_not_part_of_the_api_says_so_in_the_same_shape(client: httpx.Client):
    for response, status in ((client.get("/emissions/byplanet"), 404), (client.delete("/locations"), 405)):
        assert response.status_code == status
        assert response.json()["status"] == status
        assert response.headers["content-type"].startswith("application/problem+json")


STAMPS = st.one_of(
    st.datetimes(datetime(2022, 7, 18), datetime(2022, 7, 22)).map(lambda stamp: stamp.isoformat() + "Z"),  # noqa: DTZ001
    st.datetimes().map(lambda stamp: stamp.isoformat()),
    st.text(string.printable, max_size=30),
)
VALUES = {
    "location": st.one_of(st.sampled_from(["IE", "eastus", "NA", "gcp:us-east4"]), st.text(max_size=20)),
    "windowSize": st.one_of(st.integers(-5, 3000).map(str), st.integers().map(str), st.text(max_size=8)),
}
GETS = {
    "bylocation": ("location", "time", "toTime"),
    "bylocations": ("location", "time", "toTime"),
    "bylocations/best": ("location", "time", "toTime"),
    "average-carbon-intensity": ("location", "startTime", "endTime"),
    "forecasts/current": ("location", "dataStartAt", "dataEndAt", "windowSize"),
}
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10) | STAMPS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)
BODY_FIELDS = ("location", "startTime", "endTime", "requestedAt", "dataStartAt", "dataEndAt", "windowSize")


@st.composite
def asked_for(draw: st.DrawFn) -> tuple[str, list[tuple[str, str]]]:
    path = draw(st.sampled_from(sorted(GETS)))
    given_ = [
        (name, draw(VALUES.get(name, STAMPS))) for name in GETS[path] if draw(st.booleans()) or name == "location"
    ]
    return path, given_ + draw(st.lists(st.tuples(st.text(max_size=8), st.text(max_size=8)), max_size=2))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(asked=asked_for())
def test_no_query_at_all_makes_it_fail(client: httpx.Client, asked: tuple[str, list[tuple[str, str]]]):
    path, parameters = asked

    response = client.get(f"/emissions/{path}", params=parameters)

    # 501: a location nobody forecasts for, which is an answer of the contract.
    assert response.status_code in {200, 204, 400, *([501] if path == "forecasts/current" else [])}, response.text
    if response.status_code == 400:
        refusal(response)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    path=st.sampled_from(["forecasts/batch", "average-carbon-intensity/batch"]),
    items=st.one_of(
        ANYTHING,
        st.lists(
            st.fixed_dictionaries(
                {"location": st.sampled_from(["IE", "eastus"])},
                optional=dict.fromkeys(BODY_FIELDS[1:], STAMPS | ANYTHING),
            ),
            max_size=3,
        ),
    ),
)
def test_no_body_at_all_makes_it_fail(client: httpx.Client, path: str, items: object):
    response = client.post(f"/emissions/{path}", content=json.dumps(items))

    assert response.status_code in {200, 400, *([501] if path == "forecasts/batch" else [])}, response.text


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(sent=st.binary(max_size=200))
def test_no_bytes_at_all_make_it_fail(client: httpx.Client, sent: bytes):
    assert client.post("/emissions/forecasts/batch", content=sent).status_code in {200, 400}
