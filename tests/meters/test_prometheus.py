"""Prometheus: a real server scrapes a real small exporter, and the meter reads what it kept.

Where there is no `prometheus` the tests of the server are skipped, but never in CI.
"""

import contextlib
import json
import os
import runpy
import shutil
import socket
import subprocess
import time
import urllib.request
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import quote

import pytest

from outweigh.backends.meters.prometheus import TOKEN, PrometheusMeter, read_argument
from outweigh.core.errors import MeterUnavailable
from outweigh.core.measurement import Grade, Method, Scope
from outweigh.measure import MeterSession

further = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("further_meters.py"))))

WATTS = 200.0


class Exporter:
    """Counts 200 W since it was made, on two nodes; can be silenced and reset."""

    def __init__(self):
        self.start_s, self.silent = time.monotonic(), False

    def answer(self, _path, _headers):
        if self.silent:
            return 500, ""
        joules = WATTS * (time.monotonic() - self.start_s)
        return 200, (
            "# TYPE node_energy_joules_total counter\n"
            f'node_energy_joules_total{{node="n1"}} {joules}\nnode_energy_joules_total{{node="n2"}} {joules / 2}\n'
            f"# TYPE rack_power_kilowatts gauge\nrack_power_kilowatts {WATTS / 1e3}\n"
        )


@contextlib.contextmanager
def prometheus(folder, target, binary):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    config = {
        "global": {"scrape_interval": "1s", "scrape_timeout": "1s"},
        "scrape_configs": [{"job_name": "made", "static_configs": [{"targets": [target.removeprefix("http://")]}]}],
    }
    (folder / "p.yml").write_text(json.dumps(config))  # JSON is YAML
    with (folder / "log").open("w") as log:
        server = subprocess.Popen(
            [binary, f"--config.file={folder}/p.yml", f"--storage.tsdb.path={folder}/data",
             f"--web.listen-address=127.0.0.1:{port}"], stdout=log, stderr=log,
        )  # fmt: skip
    address = f"http://127.0.0.1:{port}"
    try:
        until(lambda: answers(f"{address}/-/ready"))
        until(lambda: series(address, "count_over_time(node_energy_joules_total[1m]) > 3"))
        yield address
    finally:
        server.terminate()
        server.wait(20)


def answers(url):
    try:
        with urllib.request.urlopen(url, timeout=2) as response:
            return response.read()
    except OSError:
        return b""


def series(address, query):
    return json.loads(answers(f"{address}/api/v1/query?query={quote(query)}") or "{}").get("data", {}).get("result")


def until(holds, limit_s=60.0):
    end_s = time.monotonic() + limit_s
    while not (found := holds()):
        assert time.monotonic() < end_s, "it never happened"
        time.sleep(0.05)
    return found


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    """(address, exporter) of a real Prometheus server."""
    binary = shutil.which("prometheus")
    if binary is None:
        remedy = "there is no Prometheus server here: apt-get install prometheus"
        if os.environ.get("CI") == "true":
            pytest.fail(remedy)
        pytest.skip(remedy)
    exporter = Exporter()
    with (
        further.serving(exporter.answer) as target,
        prometheus(tmp_path_factory.mktemp("prometheus"), target, binary) as address,
    ):
        yield address, exporter


def opened(address, query, **parameters):
    rest = "&".join(f"{key}={value}" for key, value in parameters.items())
    meter = PrometheusMeter(f"{address}?query={query}&{rest}")
    meter.open()
    return meter


def test_every_series_of_a_real_server_is_a_channel_refreshed_as_it_scrapes(real):
    meter = opened(real[0], "node_energy_joules_total", unit="J", scope="node")
    assert [c.id.partition("node=")[2] for c in meter.channels] == ["n1}", "n2}"]
    assert meter.channels[0].update_s == pytest.approx(2.0, abs=0.1)  # a scrape a second, asked once a second
    assert meter.channels[0].scope is Scope.NODE
    assert (meter.grade, meter.method) == (Grade.C, Method.COUNTER)


@pytest.mark.slow
def test_energy_of_a_window_on_a_real_server_lies_within_its_interval(real):
    meter = PrometheusMeter(f'{real[0]}?query=node_energy_joules_total{{node="n1"}}&unit=J&scope=node')
    with MeterSession(meter) as session, session.window() as window:
        time.sleep(12.0)  # the time that is measured
    reading = window.reading
    truth_j = WATTS * reading.seconds
    assert reading.status == "completed", reading.notes
    assert reading.total.bounds_j.low < truth_j < reading.total.bounds_j.high
    assert reading.total.value.joules == pytest.approx(truth_j, rel=0.25)


def test_a_gauge_in_kilowatts_is_read_in_watts(real):
    meter = opened(real[0], "rack_power_kilowatts", unit="kW", scope="rack", grade="A", accuracy="1%")
    assert meter.read().values == (pytest.approx(WATTS),)
    assert (meter.grade, meter.method) == (Grade.A, Method.INTEGRATED)
    (calibration,) = meter.components()
    assert calibration.standard == pytest.approx(0.01 / 3**0.5)


def test_an_expression_keeps_no_samples_and_takes_the_declared_or_default_refresh(real):
    query = "sum by (job) (rack_power_kilowatts) + 0"
    assert opened(real[0], query, unit="kW", scope="rack").channels[0].update_s == 61.0
    assert opened(real[0], query, unit="kW", scope="rack", every="5").channels[0].update_s == 6.0


def test_what_the_server_says_of_a_bad_query_is_passed_on(real):
    with pytest.raises(MeterUnavailable, match="parse error"):
        opened(real[0], "sum(", unit="J", scope="node")
    with pytest.raises(MeterUnavailable, match="gives no series"):
        opened(real[0], "no_such_metric", unit="J", scope="node")


@pytest.mark.slow
def test_a_dead_exporter_is_no_reading_although_the_server_looks_back_five_minutes(tmp_path, real):
    exporter = Exporter()
    binary = shutil.which("prometheus")
    with further.serving(exporter.answer) as target, prometheus(tmp_path, target, binary) as address:
        meter = opened(address, "node_energy_joules_total", unit="J", scope="node")
        exporter.silent = True
        until(lambda: not series(address, "up == 1"))
        now_s = time.monotonic() + 2.0
        meter._now = lambda: now_s
        with pytest.raises(MeterUnavailable, match="its series are gone"):
            meter.read()


def playing(age_s, value="5"):
    """A server whose newest sample is that old."""

    def answer(path, headers):
        if "%5B10m%5D" in path:
            return 400, json.dumps({"status": "error", "error": "ranges only allowed for vector selectors"})
        playing.authorization = headers["Authorization"]
        data = [
            {"metric": {"__name__": "e", "_is": "value"}, "value": [1000.0, value]},
            {"metric": {"_is": "stamp"}, "value": [1000.0, str(1000.0 - age_s)]},
        ]
        return 200, json.dumps({"status": "success", "data": {"resultType": "vector", "result": data}})

    return further.serving(answer)


def test_a_sample_older_than_three_refreshes_is_no_reading():
    with playing(age_s=29) as address:
        assert opened(address, "e", unit="J", scope="node", every="10").read().values == (5.0,)
    with playing(age_s=31) as address, pytest.raises(MeterUnavailable, match="31 s old"):
        opened(address, "e", unit="J", scope="node", every="10")


@pytest.mark.parametrize("value", ["NaN", "+Inf"])
def test_what_is_no_number_is_no_reading(value):
    with playing(0, value) as address, pytest.raises(MeterUnavailable):
        opened(address, "e", unit="J", scope="node")


def test_the_token_is_sent_and_is_in_no_message(monkeypatch):
    monkeypatch.setenv(TOKEN, "s3cret")
    with playing(0) as address:
        meter = opened(address, "e", unit="J", scope="node")
        assert playing.authorization == "Bearer s3cret"
    with further.serving(lambda *_: (401, "s3cret?")) as address, pytest.raises(MeterUnavailable) as caught:
        opened(address, "e", unit="J", scope="node")
    assert TOKEN in caught.value.remedy
    assert not any("s3cret" in text for text in (str(caught.value), repr(caught.value), meter.source, *meter.notes))


@pytest.mark.parametrize(
    ("argument", "why"),
    [
        ("", "is no http address"),
        ("127.0.0.1:9090?query=e&unit=J&scope=node", "is no http address"),
        ("http://h:9090?unit=J&scope=node", "query is missing"),
        ("http://h:9090?query=e&scope=node", "unit is missing"),
        ("http://h:9090?query=e&unit=J", "scope is missing"),
        ("http://h:9090?query=e&unit=BTU&scope=node", "is not a unit"),
        ("http://h:9090?query=e&unit=J&scope=server", "is not a scope"),
        ("http://h:9090?query=e&unit=J&scope=node&step=3", "'step' is not a parameter"),
        ("http://h:9090?query=e&unit=J&scope=node&every=soon", "is no positive number"),
        ("http://h:9090?query=e&unit=J&scope=node&grade=A", "without an accuracy"),
        ("http://h:9090?query=e&unit=J&scope=node&grade=S", "is not a grade"),
        ("http://user:pw@h:9090?query=e&unit=J&scope=node", "holds an account"),
    ],
)
def test_an_argument_that_leaves_something_open_is_refused(argument, why):
    with pytest.raises(MeterUnavailable, match=why) as caught:
        read_argument(argument)
    assert "pw" not in str(caught.value)


def test_promql_keeps_its_plus_signs_and_braces():
    asked = read_argument('http://h:9090/prom?query=a{x="1"} + b&unit=mJ&scope=gpu')
    assert asked.query == 'a{x="1"} + b'
    assert asked.per_unit == 1e-3
    assert read_argument("http://h?query=a%20%25%202&unit=W&scope=node").query == "a % 2"


def test_without_a_server_the_probe_says_how_to_name_one():
    found = PrometheusMeter.probe()
    assert not found.usable
    assert "unit=J" in found.remedy
    assert "does not answer" in PrometheusMeter.probe("http://127.0.0.1:1?query=e&unit=J&scope=node").reason
