"""Recording a provider's answers and replaying them offline: the same series, and no key on disk."""

from __future__ import annotations

import base64
import json
import re
import signal
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from outweigh.app.grid_serve_cache import PROVIDERS, Recorder, application, upstreams
from outweigh.core.errors import GridUnavailable, OutweighError
from outweigh.core.intervals import Interval
from outweigh.grid import open_source
from outweigh.registry import grid_sources

for needed in ("fastapi", "uvicorn", "httpx", "hishel", "httpx_retries"):
    pytest.importorskip(needed)

OUTWEIGH = str(Path(sys.executable).with_name("outweigh"))
MAY = datetime(2026, 5, 1, tzinfo=UTC)
DAY = Interval.starting(MAY, 86400)
KEY = "k3y-that-nobody-may-see"
Start = Callable[..., str]


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    """Serves on this machine, points the source at it, and returns its address; another one takes its place."""
    import uvicorn

    running: list[tuple[uvicorn.Server, threading.Thread]] = []

    def start(source: str, upstream: str = "") -> str:
        stop()
        made = application(Recorder(tmp_path / "kept"), upstreams(source, upstream, offline=not upstream))
        bound = socket.create_server(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{bound.getsockname()[1]}"
        server = uvicorn.Server(uvicorn.Config(made, log_level="warning", lifespan="off", ws="none"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]}, daemon=True)
        thread.start()
        running.append((server, thread))
        monkeypatch.setenv(f"OUTWEIGH_GRID_URL_{source.upper()}", url)
        # The source's own cache would answer in our place.
        monkeypatch.setenv("OUTWEIGH_CACHE_DIR", str(tmp_path / f"cache-{len(list(tmp_path.iterdir()))}"))
        return url

    def stop() -> None:
        while running:
            server, thread = running.pop()
            server.should_exit = True
            thread.join(30)

    yield start
    stop()


@pytest.fixture
def fixtures(tmp_path: Path) -> Callable[[], list[Path]]:
    return lambda: sorted((tmp_path / "kept").rglob("*.json"))


def half_hours(asked: Any) -> dict[str, Any]:
    start, end = (datetime.fromisoformat(part) for part in asked.path.split("/")[2:4])
    rows = []
    while start < end:
        upto = start + timedelta(minutes=30)
        said = {"forecast": 500, "actual": 100.25 + start.hour, "index": "low"}
        rows.append({"from": f"{start:%Y-%m-%dT%H:%MZ}", "to": f"{upto:%Y-%m-%dT%H:%MZ}", "intensity": said})
        start = upto
    return {"data": rows}


def fetched(url: str, headers: dict[str, str] | None = None, data: bytes | None = None) -> tuple[int, Any]:
    request = urllib.request.Request(url, headers=headers or {}, data=data)
    try:
        with urllib.request.urlopen(request, timeout=30) as response:
            return response.status, json.loads(response.read())
    except urllib.error.HTTPError as err:
        return err.code, json.loads(err.read() or b"null")


def test_what_was_recorded_gives_the_same_series_offline(
    stand_in: Start, provider: Any, answer: Any, fixtures: Callable[[], list[Path]]
):
    provider.on("/intensity", lambda asked: answer(half_hours(asked)))
    stand_in("neso", provider.url)
    live = open_source("neso").carbon("GB", DAY)
    asked = len(provider.asked)

    stand_in("neso")
    replayed = open_source("neso").carbon("GB", DAY)

    assert replayed.values == live.values
    assert replayed.values[0] == 100.25
    assert len(provider.asked) == asked
    [file] = fixtures()
    document = json.loads(file.read_text(encoding="utf-8"))
    assert document["request"]["method"] == "GET"
    assert document["request"]["path"].startswith("/intensity/2026-05-01T00:00Z/")
    assert document["response"]["status"] == 200
    assert datetime.fromisoformat(document["recorded_at"]).tzinfo is not None


def test_what_was_never_recorded_is_an_outage_and_not_a_guess(stand_in: Start, provider: Any, answer: Any):
    provider.on("/intensity", lambda asked: answer(half_hours(asked)))
    stand_in("neso", provider.url)
    open_source("neso").carbon("GB", DAY)
    url = stand_in("neso")

    status, said = fetched(f"{url}/intensity/2031-01-01T00:00Z/2031-01-02T00:00Z")
    with pytest.raises(GridUnavailable, match="504"):
        open_source("neso").carbon("GB", Interval.starting(datetime(2026, 5, 9, tzinfo=UTC), 86400))

    assert status == 504
    assert "never recorded: GET /intensity/2031-01-01T00:00Z" in said["error"]


def test_no_key_reaches_the_disk_and_every_key_reaches_the_provider(
    stand_in: Start, provider: Any, answer: Any, fixtures: Callable[[], list[Path]], tmp_path: Path
):
    password = base64.b64encode(f"someone:{KEY}".encode()).decode()
    provider.on("/v1", lambda asked: answer({"you_sent": asked.query | asked.headers, "value": 1.50}))
    provider.on("/login", answer({"token": f"{KEY}-fresh", "expires": 1800}))
    provider.on("/xml", answer(f"<k>{KEY}</k>".encode(), headers={"Content-Type": "text/xml"}))
    url = stand_in("neso", provider.url)

    for secret in ({"api_key": KEY}, {"securityToken": KEY}):
        [(name, value)] = secret.items()
        assert fetched(f"{url}/v1?zone=DE&{name}={value}")[1]["you_sent"][name] == KEY
    assert fetched(f"{url}/v1/a", {"auth-token": KEY})[1]["you_sent"]["auth-token"] == KEY
    assert fetched(f"{url}/v1/b", {"Authorization": f"Basic {password}"})[0] == 200
    assert fetched(f"{url}/login", {"Authorization": f"Basic {password}"})[1]["token"] == f"{KEY}-fresh"
    with urllib.request.urlopen(f"{url}/xml?api_key={KEY}", timeout=30) as response:
        assert KEY.encode() in response.read()

    assert len(fixtures()) == 5  # the two of /v1 differ in nothing but their keys
    for file in (path for path in tmp_path.rglob("*") if path.is_file()):
        held = file.read_bytes()
        assert KEY.encode() not in held, file
        assert password.encode() not in held, file
    url = stand_in("neso")
    assert fetched(f"{url}/v1?zone=DE&api_key=another")[0] == 200
    assert fetched(f"{url}/login", {"Authorization": "Basic bm9ib2R5Om5vdGhpbmc="})[1]["token"] == "REDACTED"


def test_a_providers_numbers_are_kept_digit_by_digit(
    stand_in: Start, provider: Any, answer: Any, fixtures: Callable[[], list[Path]]
):
    body = b'{ "value" : 1.500,  "token": "t0ken-of-the-provider", "big": 12345678901234567890 }'
    provider.on("/v1", answer(body))
    url = stand_in("neso", provider.url)

    fetched(f"{url}/v1")

    kept = json.loads(fixtures()[0].read_text(encoding="utf-8"))["response"]["text"]
    assert kept == body.decode().replace("t0ken-of-the-provider", "REDACTED")


def test_a_bad_moment_of_the_provider_is_passed_on_and_not_kept(
    stand_in: Start, provider: Any, answer: Any, fixtures: Callable[[], list[Path]]
):
    provider.on("/busy", answer({}, 429, {"Retry-After": "7"})).on("/down", answer({}, 500)).on("/no", answer({}, 403))
    provider.on("/none", answer({"error": "no data"}, 404))
    url = stand_in("neso", provider.url)

    assert [fetched(f"{url}/{path}")[0] for path in ("busy", "down", "no", "none")] == [429, 500, 403, 404]
    assert [json.loads(file.read_text(encoding="utf-8"))["request"]["path"] for file in fixtures()] == ["/none"]


def test_a_later_answer_takes_the_place_of_an_earlier_one(
    stand_in: Start, provider: Any, answer: Any, fixtures: Callable[[], list[Path]]
):
    provider.says("/v1", {"value": 1}, {"value": 2})
    url = stand_in("neso", provider.url)

    assert [fetched(f"{url}/v1")[1]["value"] for _ in range(2)] == [1, 2]
    url = stand_in("neso")
    assert fetched(f"{url}/v1")[1]["value"] == 2
    assert len(fixtures()) == 1


def test_it_answers_to_this_machines_names_alone_and_asks_no_other_host(
    stand_in: Start, provider: Any, answer: Any, fixtures: Callable[[], list[Path]]
):
    provider.on("/", answer({"here": True}))
    url = stand_in("neso", provider.url)

    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(urllib.request.Request(url, headers={"Host": "evil.example"}), timeout=30)
    caught.value.close()

    assert caught.value.code == 400
    assert fetched(f"{url}//elsewhere.example/v1")[1] == {"here": True}


def test_a_provider_that_is_away_is_a_502(stand_in: Start):
    url = stand_in("neso", "http://127.0.0.1:9")

    status, said = fetched(f"{url}/v1")

    assert (status, "cannot be asked" in said["error"]) == (502, True)


def test_a_damaged_fixture_is_named(stand_in: Start, provider: Any, answer: Any, fixtures: Callable[[], list[Path]]):
    provider.says("/v1", {"value": 1})
    fetched(stand_in("neso", provider.url) + "/v1")
    fixtures()[0].write_text("{", encoding="utf-8")

    status, said = fetched(stand_in("neso") + "/v1")

    assert status == 500
    assert fixtures()[0].name in said["error"]


def test_at_the_command_line_it_says_where_it_listens_and_ends_on_ctrl_c(tmp_path: Path, provider: Any, answer: Any):
    provider.says("/v1", {"value": 1})
    process = subprocess.Popen(
        [OUTWEIGH, "grid", "serve-cache", str(tmp_path), "--source", "neso", "--upstream", provider.url, "--json"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    where = json.loads(process.stdout.readline())
    fetched(f"{where['url']}/v1")
    process.send_signal(signal.SIGINT)
    out, said = process.communicate(timeout=60)

    assert (where["variable"], where["upstream"]) == ("OUTWEIGH_GRID_URL_NESO", [provider.url])
    assert (process.returncode, out) == (0, "")
    assert "1 answers kept, 0 replayed" in said
    assert len(list((tmp_path / "neso").glob("*.json"))) == 1


@pytest.mark.parametrize(
    "args",
    [
        ("--source", "nowhere"),
        ("--source", "neso", "--upstream", "ftp://x"),
        ("--source", "neso", "--upstream", "http://name:word@host"),
        ("--source", "neso", "--offline"),
        ("--source", "tables"),
        (),
    ],
)
def test_a_slip_ends_with_2_and_a_sentence(tmp_path: Path, args: tuple[str, ...]):
    done = subprocess.run(
        [OUTWEIGH, "grid", "serve-cache", str(tmp_path), *args], capture_output=True, text=True, timeout=60, check=False
    )

    assert (done.returncode, done.stdout) == (2, "")
    assert "Traceback" not in done.stderr
    assert done.stderr.strip()


@pytest.mark.parametrize("source", sorted(PROVIDERS))
def test_the_address_of_a_provider_is_the_one_its_source_asks(source: str):
    import inspect

    module = inspect.getsource(inspect.getmodule(grid_sources.get(source)))

    for address in PROVIDERS[source].values():
        # awattar writes its two as one with a country in it.
        pattern = re.escape(address).replace(re.escape(".de"), r"\.(de|\{country\})").replace(
            re.escape(".at"), r"\.(at|\{country\})"
        )  # fmt: skip
        assert re.search(pattern, module), address


def test_what_a_source_may_fail_with_offline_is_typed(stand_in: Start, provider: Any, answer: Any):
    provider.on("/intensity", lambda asked: answer(half_hours(asked)))
    stand_in("neso", provider.url)
    open_source("neso").carbon("GB", DAY)
    stand_in("neso")

    with pytest.raises(OutweighError):
        open_source("neso").forecast("GB", DAY)


def test_a_folder_that_cannot_be_written_to_is_told_before_anything_is_served(tmp_path: Path):
    from outweigh.app.grid_serve_cache import Recorder

    (tmp_path / "file").write_text("")

    with pytest.raises(OutweighError, match="cannot write"):
        Recorder(tmp_path / "file" / "neso").open()
