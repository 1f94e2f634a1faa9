"""How live sources ask: against a real server on this machine that misbehaves as providers do."""

from __future__ import annotations

import json
import logging
import pickle
import socket
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from outweigh.backends.grid import _http, _manners
from outweigh.backends.grid._http import Web, cache_folder, fresh_until, key_of, probed
from outweigh.core.errors import (
    GridBusy,
    GridDataInvalid,
    GridHeldBack,
    GridUnavailable,
    MissingExtra,
    OutweighError,
    UsageError,
)
from outweigh.core.intervals import Interval
from outweigh.core.measurement import Grade

pytest.importorskip("hishel")
pytest.importorskip("httpx_retries")

NOON = datetime(2026, 3, 29, 12, tzinfo=UTC)
SECRET = "s3cret-Key/with+signs"


class Time:
    """A clock that stands still until somebody waits."""

    def __init__(self) -> None:
        self.now, self.waits = NOON, list[float]()

    def __call__(self) -> datetime:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.now += timedelta(seconds=seconds)


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def web(provider: Any, time: Time) -> Callable[..., Web]:
    def make(**given: Any) -> Web:
        return Web("neso", provider.url, **{"now": time, "sleep": time.sleep, **given})

    return make


@pytest.fixture
def unsaid(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a process that has said nothing yet."""
    monkeypatch.setattr(_manners, "_said", set())


# --- an answer, and its cache -----------------------------------------------------------------------


def test_an_answer_comes_with_the_time_it_came_and_the_address_it_came_from(web, provider, answer):
    provider.on("/intensity", answer({"data": [1]}))

    reply = web().get("/intensity/now", {"zone": "NA", "of": "a b"})

    assert reply.json() == {"data": [1]}
    assert (reply.retrieved_at, reply.from_cache) == (NOON, False)
    assert reply.where == f"{provider.url}/intensity/now?zone=NA&of=a+b"
    assert provider.asked[0].query == {"zone": "NA", "of": "a b"}
    assert provider.asked[0].headers["user-agent"] == "outweigh"


def test_the_second_ask_inside_the_interval_makes_no_request_and_after_its_end_it_does(web, provider, answer, time):
    provider.on("/", answer({"value": 1}), answer({"value": 2}))
    source, until = web(), NOON + timedelta(minutes=30)

    first = source.get("/", fresh_until=until)
    time.now = until - timedelta(seconds=1)
    kept = source.get("/", fresh_until=until)
    time.now = until
    anew = source.get("/", fresh_until=until + timedelta(minutes=30))

    assert (first.json(), kept.json(), anew.json()) == ({"value": 1}, {"value": 1}, {"value": 2})
    assert (kept.from_cache, anew.from_cache) == (True, False)
    assert (kept.retrieved_at, anew.retrieved_at) == (NOON, until)  # when it was said, not when it was read again
    assert len(provider.asked) == 2


def test_what_is_not_said_to_stay_fresh_is_not_kept(web, provider, answer):
    provider.on("/", answer({}))
    source = web()

    for until in (None, None, NOON, NOON - timedelta(hours=1)):
        source.get("/", fresh_until=until)

    assert len(provider.asked) == 4


def test_other_parameters_are_another_answer(web, provider, answer):
    provider.on("/", lambda asked: answer({"zone": asked.query["zone"]}))
    source, until = web(), NOON + timedelta(hours=1)

    zones = [source.json("/", {"zone": zone}, fresh_until=until)["zone"] for zone in ("DE", "NA", "DE")]

    assert zones == ["DE", "NA", "DE"]
    assert len(provider.asked) == 2


def test_two_processes_share_the_cache(provider, answer, tmp_path):
    provider.on("/", answer({"value": 7}))
    script = (
        "import sys; from datetime import UTC, datetime, timedelta; from outweigh.backends.grid._http import Web;"
        "web = Web('neso', sys.argv[1]); until = datetime.now(UTC) + timedelta(hours=1);"
        "reply = web.get('/', fresh_until=until); web.close(); print(reply.json()['value'], reply.from_cache)"
    )

    said = [
        subprocess.run(
            [sys.executable, "-W", "error", "-c", script, provider.url], capture_output=True, text=True, check=True
        )
        for _ in range(2)
    ]

    assert [one.stdout.strip() for one in said] == ["7 False", "7 True"]
    assert [one.stderr for one in said] == ["", ""]
    assert len(provider.asked) == 1


@pytest.mark.parametrize("reason", ["a file stands in its place", "not a database"])
def test_a_cache_that_cannot_be_used_is_no_failure_and_is_said_once(
    reason, web, provider, answer, tmp_path, caplog, unsaid
):
    folder = tmp_path / "elsewhere"
    if reason == "not a database":
        folder.mkdir()
        (folder / "grid-http.sqlite").write_bytes(b"no database at all, by any means" * 100)
    else:
        folder.write_text("")
    provider.on("/", answer({"value": 1}))
    caplog.set_level(logging.WARNING, logger="outweigh.grid")
    until = NOON + timedelta(hours=1)

    values = [web(cache=folder).json("/", fresh_until=until) for _ in range(3)]

    assert values == [{"value": 1}] * 3
    assert len([one for one in caplog.records if one.name == "outweigh.grid"]) == 1


def test_a_cache_that_is_full_is_no_failure_and_is_said_once(web, provider, answer, caplog, unsaid):
    provider.on("/", answer({"value": "x" * 200_000}))
    caplog.set_level(logging.WARNING, logger="outweigh.grid")
    source = web()
    source.json("/small?first", fresh_until=NOON + timedelta(hours=1))
    client = source._open()[0]
    storage = client._transport.config["storage"]  # type: ignore[attr-defined]
    storage.connection.execute("PRAGMA max_page_count = 1")  # SQLite takes the pages there are: it is full now

    values = [source.json(f"/{i}", fresh_until=NOON + timedelta(hours=1)) for i in range(3)]

    assert [len(one["value"]) for one in values] == [200_000] * 3
    said = [one.getMessage() for one in caplog.records if one.name == "outweigh.grid"]
    assert len(said) == 1
    assert "full" in said[0]


def test_the_folder_of_kept_answers_is_the_users_choice(monkeypatch, tmp_path):
    monkeypatch.delenv("OUTWEIGH_CACHE_DIR")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "outweigh"

    monkeypatch.setenv("OUTWEIGH_CACHE_DIR", "/mine")
    assert cache_folder() == Path("/mine")


def test_an_answer_of_today_holds_for_its_step_and_one_of_last_year_for_a_day():
    now = NOON + timedelta(minutes=7)

    assert fresh_until(Interval.starting(NOON, 86400), now, 1800) == NOON + timedelta(minutes=30)
    assert fresh_until(Interval.starting(NOON - timedelta(hours=25), 3600 * 2), now, 300) == NOON + timedelta(
        minutes=10
    )
    assert fresh_until(Interval.starting(NOON - timedelta(days=365), 86400), now, 300) == now + timedelta(days=1)


# --- "later" ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize(
    "header", ["4", "Sun, 29 Mar 2026 12:00:04 GMT", "Sunday, 29-Mar-26 12:00:04 GMT"], ids=["seconds", "date", "old"]
)
def test_a_short_pause_is_waited_for_and_then_asked_again(status, header, web, provider, answer, time):
    provider.on("/", answer(None, status, {"Retry-After": header}), answer({"value": 1}))

    assert web().json("/") == {"value": 1}

    assert time.waits == [4.0]
    assert len(provider.asked) == 2


def test_a_pause_up_to_a_date_is_counted_by_the_clock_of_who_asks_for_it(web, provider, answer, time):
    provider.date = lambda: NOON - timedelta(seconds=200)
    until = {"Retry-After": "Sun, 29 Mar 2026 11:56:45 GMT"}  # 5 s later there, long past here
    provider.on("/", answer(None, 429, until), answer({}))

    web().json("/")

    assert time.waits == [5.0]


@pytest.mark.parametrize("header", ["3600", "Sun, 29 Mar 2026 13:00:00 GMT"])
def test_a_long_pause_is_busy_at_once_with_the_time_and_nobody_asks_before_it_is_over(
    header, web, provider, answer, time
):
    provider.on("/", answer(None, 429, {"Retry-After": header}), answer({"value": 1}))

    with pytest.raises(GridBusy) as caught:
        web().json("/")
    time.now += timedelta(minutes=59)
    with pytest.raises(GridBusy) as again:
        web().json("/")  # another instance: the pause is kept for all of this user's processes
    time.now += timedelta(minutes=1)

    assert (caught.value.retry_after_s, again.value.retry_after_s) == (3600, 60)
    assert time.waits == []
    assert len(provider.asked) == 1
    assert web().json("/") == {"value": 1}
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


def test_who_is_busy_each_time_is_asked_three_times_and_no_longer_than_patience_lasts(web, provider, answer, time):
    provider.on("/", answer(None, 429, {"Retry-After": "6"}))

    with pytest.raises(GridBusy) as caught:
        web().json("/")

    assert caught.value.retry_after_s == 6
    assert len(provider.asked) <= 3
    assert sum(time.waits) <= 10


@pytest.mark.parametrize(("header", "pause_s"), [("4", 4), (None, 60)], ids=["stated", "not stated"])
def test_a_pause_that_outlasts_the_retries_is_remembered_by_all_processes(header, pause_s, web, provider, answer, time):
    provider.on("/", answer(None, 429, {} if header is None else {"Retry-After": header}))

    with pytest.raises(GridBusy) as caught:
        web().json("/")
    asked = len(provider.asked)
    for _ in range(3):
        with pytest.raises(GridBusy):
            web(patience_s=1).json("/")

    assert caught.value.retry_after_s == pause_s
    assert len(provider.asked) == asked <= 3
    time.now += timedelta(seconds=pause_s)
    provider.on("/", answer({"value": 1}))
    assert web().json("/") == {"value": 1}


def test_a_provider_known_to_ban_is_left_alone_at_the_first_refusal(web, provider, answer, time):
    provider.on("/", answer(None, 429))

    for _ in range(3):
        with pytest.raises(GridBusy) as caught:
            web(ban_s=300).json("/")

    assert (len(provider.asked), time.waits) == (1, [])
    assert caught.value.retry_after_s == 300


@pytest.mark.parametrize(("source", "zone", "ban_s"), [("energinet", "DK-DK1", 300), ("entsoe", "DE", 600)])
def test_those_that_publish_a_ban_are_left_alone_for_it(source, zone, ban_s, provider, answer):
    from outweigh.grid import open_source

    # Energi Data Service's guide: five minutes; ENTSO-E's API guide: ten.
    provider.on("/", answer(None, 429)).stands_in_for(source, key="a-key-of-nobody")

    for _ in range(3):
        with pytest.raises(GridBusy) as caught:
            open_source(source).carbon(zone, Interval.starting(NOON, 3600))

    assert len(provider.asked) == 1
    assert ban_s - 30 < caught.value.retry_after_s <= ban_s


def test_a_limit_of_ours_is_not_passed_off_as_a_pause_the_provider_asked_for(web, provider, answer):
    provider.on("/", answer({}))
    source = web(requests_per_hour=1)
    source.json("/")

    with pytest.raises(GridHeldBack) as caught:
        source.json("/")

    assert "we keep to its published limit" in str(caught.value)
    assert "asks for a pause" not in str(caught.value)
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


def test_without_a_pause_stated_retries_are_spread_by_chance(web, provider, answer, time):
    provider.on("/", answer(None, 502), answer(None, 504), answer({"value": 1}))

    assert web().json("/") == {"value": 1}

    assert len(time.waits) == 2
    assert all(0 <= wait_s <= 2 for wait_s in time.waits)


def test_the_published_limit_is_kept_on_our_side_by_all_processes_together(web, provider, answer, time):
    provider.on("/", answer({}))

    for _ in range(3):
        web(requests_per_hour=3).json("/")
    with pytest.raises(GridBusy) as caught:
        web(requests_per_hour=3).json("/")

    assert caught.value.retry_after_s == 3600
    assert len(provider.asked) == 3
    time.now += timedelta(hours=1)
    web(requests_per_hour=3).json("/")
    assert len(provider.asked) == 4


def test_many_at_once_keep_to_one_limit_together(provider, answer, tmp_path):
    provider.on("/", answer({}))
    said: list[str] = []

    def ask() -> None:
        web = Web("neso", provider.url, requests_per_hour=5)
        for _ in range(4):
            try:
                web.json("/")
                said.append("answered")
            except GridBusy:
                said.append("busy")
        web.close()

    people = [threading.Thread(target=ask) for _ in range(4)]
    for one in people:
        one.start()
    for one in people:
        one.join()

    assert (said.count("answered"), said.count("busy")) == (5, 11)
    assert len(provider.asked) == 5


def test_a_limit_that_is_soon_over_is_waited_for(web, provider, answer, time):
    provider.on("/", answer({}))
    source = web(requests_per_minute=2, patience_s=60)

    for _ in range(3):
        source.json("/")

    assert time.waits == [60.0]


def test_a_limit_is_kept_where_nothing_can_be_written_and_it_says_that_others_are_not_seen(
    web, provider, answer, tmp_path, caplog, unsaid
):
    (tmp_path / "file").write_text("")
    provider.on("/", answer({}))
    source = web(requests_per_hour=1, cache=tmp_path / "file")

    source.json("/")

    with pytest.raises(GridBusy):
        source.json("/")
    assert "each process counts its own" in caplog.text


def test_what_the_cache_answers_does_not_count_against_the_limit(web, provider, answer, time):
    provider.on("/", answer({}))
    source = web(requests_per_hour=1)

    for _ in range(3):
        source.json("/", fresh_until=NOON + timedelta(hours=1))

    assert len(provider.asked) == 1


# --- what breaks ------------------------------------------------------------------------------------


def test_a_half_closed_connection_is_asked_again_and_its_stump_is_never_taken_for_an_answer(web, provider, answer):
    provider.on("/", answer({"value": 1}, cut=True), answer({"value": 2}))

    assert web().json("/", fresh_until=NOON + timedelta(hours=1)) == {"value": 2}


def test_a_connection_that_always_breaks_off_says_so(web, provider, answer):
    provider.on("/", answer({"value": 1}, cut=True))

    with pytest.raises(GridUnavailable, match="broke off"):
        web().json("/")
    assert len(provider.asked) == 3


def test_a_provider_that_does_not_answer_is_left_after_the_time_allowed(web, provider, answer):
    provider.on("/", answer(hold=True))

    with pytest.raises(GridUnavailable, match=r"within 0\.3 s"):
        web(timeout_s=0.3).json("/")
    assert len(provider.asked) == 1


def test_nobody_at_the_address_is_said_at_once(time):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    with pytest.raises(GridUnavailable, match=r"no connection to 127\.0\.0\.1"):
        Web("neso", f"http://127.0.0.1:{port}", now=time, sleep=time.sleep).json("/")
    assert time.waits == []


@pytest.mark.parametrize(
    "body",
    [b"", b'{"data": [', b"{'a': 1}", b"\xff\xfe\x00", b"[" * 200_000, b"1" * 10_000],
    ids=["empty", "cut", "quotes", "bytes", "deep", "digits"],
)
def test_malformed_json_is_refused_and_not_kept(body, web, provider, answer):
    provider.on("/", answer(body), answer({"value": 2}))
    source, until = web(), NOON + timedelta(hours=1)

    with pytest.raises(GridDataInvalid):
        source.json("/", fresh_until=until)

    assert source.json("/", fresh_until=until) == {"value": 2}


def test_a_web_page_with_status_200_is_no_answer(web, provider, answer):
    page = b"<!doctype html><title>Sign in</title>"
    provider.on("/", answer(page, headers={"Content-Type": "text/html"}))

    with pytest.raises(GridDataInvalid, match="a page, not JSON"):
        web().json("/")


def test_a_failure_tells_the_providers_own_words(web, provider, answer, sample):
    provider.on("/", answer(sample("uk_error_500.json"), 500))

    with pytest.raises(GridUnavailable, match=r"500 .*: Requested resource not found"):
        web().json("/")
    assert len(provider.asked) == 1


def test_a_failure_without_words_is_one_too(web, provider, answer):
    provider.on("/", answer(b"<html>" + b"x" * 5000, 404))

    with pytest.raises(GridUnavailable, match="404"):
        web().json("/")


def test_a_failure_the_caller_wants_to_read_is_handed_over(web, provider, answer):
    provider.on("/", answer(b"<Acknowledgement/>", 400))

    reply = web().get("/", expects="text", allow=(400,))

    assert (reply.status, reply.text) == (400, "<Acknowledgement/>")


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_key_says_where_to_get_one(status, web, provider, answer):
    provider.on("/", answer({"error": "bad key"}, status))

    with pytest.raises(GridUnavailable, match="bad key") as caught:
        web(key_remedy="Get one at example.org").json("/")
    assert caught.value.remedy == "Get one at example.org"


def test_an_answer_that_is_packed_is_unpacked_now_and_from_the_cache(web, provider, answer):
    provider.on("/", answer({"value": list(range(1000))}, packed=True))
    source, until = web(), NOON + timedelta(hours=1)

    first, second = (source.get("/", fresh_until=until) for _ in range(2))

    assert first.json() == second.json() == {"value": list(range(1000))}
    assert second.from_cache


def test_what_is_said_to_be_packed_and_is_not_is_refused(web, provider, answer):
    provider.on("/", answer(b"not packed", headers={"Content-Encoding": "gzip"}))

    with pytest.raises(GridDataInvalid, match="unpacked"):
        web().json("/")


def test_an_answer_without_end_is_refused(web, provider, answer, monkeypatch):
    from outweigh.backends.grid import _transport

    monkeypatch.setattr(_transport, "_LARGEST_ANSWER", 1000)
    provider.on("/", answer({"value": "x" * 2000}, packed=True))

    with pytest.raises(GridDataInvalid, match="larger"):
        web().json("/")


def test_being_sent_on_within_the_same_host_is_followed_and_to_another_one_refused(web, provider, answer):
    provider.on("/old", answer(None, 301, {"Location": "/new"})).on("/new", answer({"value": 1}))
    provider.on("/away", answer(None, 302, {"Location": "http://elsewhere.example/new"}))
    provider.on("/round", answer(None, 302, {"Location": "/round"}))

    assert web().json("/old") == {"value": 1}
    with pytest.raises(GridUnavailable, match=r"elsewhere\.example"):
        web().json("/away")
    with pytest.raises(GridUnavailable, match="more than 3 times"):
        web().json("/round")


# --- clocks -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("minutes", "side"), [(-20, "ahead of"), (20, "behind")])
def test_a_clock_far_from_the_providers_is_an_error_that_says_which_way(minutes, side, web, provider, answer):
    provider.date = lambda: NOON + timedelta(minutes=minutes)
    provider.on("/", answer({}))

    with pytest.raises(GridDataInvalid, match=f"1200 s {side} its own"):
        web().json("/", fresh_until=NOON + timedelta(hours=1))


@pytest.mark.parametrize("seconds", [-299, 0, 299])
def test_clocks_a_little_apart_are_fine(seconds, web, provider, answer):
    provider.date = lambda: NOON + timedelta(seconds=seconds)
    provider.on("/", answer({"value": 1}))

    assert web().json("/") == {"value": 1}


def test_an_answer_that_lay_in_a_cache_on_the_way_is_as_old_as_it_says(web, provider, answer):
    provider.date = lambda: NOON - timedelta(hours=1)
    provider.on("/", answer({"value": 1}, headers={"Age": "3600"}))

    assert web().json("/") == {"value": 1}


# --- keys and addresses -----------------------------------------------------------------------------


def test_a_key_reaches_the_provider_and_nothing_else(web, provider, answer, tmp_path, caplog):
    caplog.set_level(logging.DEBUG)
    words = {"error": f"key {SECRET} is unknown, {'x' * 300}"}
    provider.on("/good", answer({"value": 1})).on("/bad", answer(words, 401)).on("/cut", answer({}, cut=True))
    provider.on("/page", answer(b"<html>"))
    source = web(headers={"auth-token": SECRET}, params={"api_key": SECRET})
    bearer = {"Authorization": f"Bearer {SECRET}"}

    reply = source.get("/good", {"zone": "DE"}, fresh_until=NOON + timedelta(hours=1), headers=bearer)
    failures = []
    for path in ("/bad", "/cut", "/page"):
        with pytest.raises(OutweighError) as caught:
            source.get(path, headers=bearer)
        failures.append("".join(traceback.format_exception(caught.value)) + repr(caught.value.args))

    asked = provider.asked[0]
    assert (asked.headers["auth-token"], asked.query["api_key"]) == (SECRET, SECRET)
    assert asked.headers["authorization"] == f"Bearer {SECRET}"
    kept = b"".join(path.read_bytes() for path in (tmp_path / "cache").iterdir())
    assert b"zone=DE" in kept
    for shown in (SECRET, "s3cret-Key%2Fwith%2Bsigns", "s3cret-Key/with%2Bsigns"):
        assert shown.encode() not in kept
        for text in (*failures, repr(source), repr(reply), reply.where, caplog.text):
            assert shown not in text


def test_a_key_does_not_follow_when_we_are_sent_to_another_port(web, provider, answer):
    provider.on("/", answer(None, 307, {"Location": "http://127.0.0.1:1/"}))

    with pytest.raises(GridUnavailable, match="sends us on"):
        web(params={"api_key": SECRET}).json("/")


def test_the_environment_may_put_a_mirror_in_the_place_of_a_source(provider, answer, time):
    provider.stands_in_for("energy-charts").on("/price", answer({"value": 1}))

    web = Web("energy-charts", "https://nowhere.example", now=time)

    assert web.json("/price") == {"value": 1}
    assert web.base_url == provider.url


@pytest.mark.parametrize("given", ["here", "ftp://host", "http://", "http://[::1", "http://host:x", "https://h/?q=1"])
def test_an_address_that_is_none_is_refused_with_the_variables_name(given, monkeypatch):
    monkeypatch.setenv("OUTWEIGH_GRID_URL_NESO", given)

    with pytest.raises(UsageError, match="OUTWEIGH_GRID_URL_NESO"):
        Web("neso", "https://nowhere.example")


def test_an_address_with_a_password_is_refused_without_showing_it(monkeypatch):
    monkeypatch.setenv("OUTWEIGH_GRID_URL_NESO", f"http://me:{SECRET}@mirror.example")

    with pytest.raises(UsageError) as caught:
        Web("neso", "https://nowhere.example")
    assert SECRET not in str(caught.value)


def test_a_key_comes_from_the_environment_and_its_absence_says_where_to_get_one(monkeypatch):
    monkeypatch.delenv("OUTWEIGH_CARBON_SDK_KEY", raising=False)
    with pytest.raises(GridUnavailable, match=r"Register at x\.example, then set OUTWEIGH_CARBON_SDK_KEY"):
        key_of("carbon-sdk", "Register at x.example")

    monkeypatch.setenv("OUTWEIGH_CARBON_SDK_KEY", f" {SECRET}\n")
    assert key_of("carbon-sdk", "") == SECRET

    monkeypatch.setenv("OUTWEIGH_CARBON_SDK_KEY", "geheim\nschlüssel")
    with pytest.raises(UsageError) as caught:
        key_of("carbon-sdk", "")
    assert "geheim" not in str(caught.value)


def test_a_probe_asks_nobody_and_says_what_is_missing(provider, monkeypatch):
    provider.stands_in_for("neso")
    monkeypatch.delenv("OUTWEIGH_NESO_KEY", raising=False)

    assert probed("neso", "things", Grade.C).usable
    without = probed("neso", "things", Grade.C, key=True, where_to_get="Ask them")
    assert (without.usable, without.reason) == (False, "it needs a key")
    assert "OUTWEIGH_NESO_KEY" in without.remedy
    assert provider.asked == []


def test_without_the_packages_it_says_what_to_install(monkeypatch, web):
    monkeypatch.setattr(_http, "_PACKAGES", ("no_such_package",))

    with pytest.raises(MissingExtra, match=r"outweigh\[live\]"):
        web().json("/")
    assert "outweigh[live]" in probed("neso", "things", Grade.C).remedy


def test_importing_a_live_source_does_not_import_what_it_asks_with():
    script = (
        "import outweigh.backends.grid._http, sys; print(json := [m for m in ('httpx', 'hishel') if m in sys.modules])"
    )

    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)

    assert json.loads(done.stdout.replace("'", '"')) == []
