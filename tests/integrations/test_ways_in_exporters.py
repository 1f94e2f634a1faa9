"""Live metrics: a real Prometheus server scrapes them, and the OpenTelemetry SDK collects them."""

import json
import time
import urllib.parse
import urllib.request

import pytest

from outweigh.app import opened
from outweigh.backends.meters.replay import ReplayMeter
from outweigh.core.measurement import Scope
from outweigh.integrations.live import Live
from outweigh.measure import FakeClock, MeterSession

pytestmark = pytest.mark.frameworks

WATTS = 87.5


@pytest.fixture
def fake():
    clock = FakeClock()

    def session(**options):
        return MeterSession(ReplayMeter([(0.0, WATTS)], now=clock.monotonic_s, **options), clock)

    return clock, session


def ask(port, query):
    address = f"http://127.0.0.1:{port}/api/v1/query?{urllib.parse.urlencode({'query': query})}"
    with urllib.request.urlopen(address, timeout=10) as answer:
        return json.load(answer)["data"]["result"]


@pytest.mark.slow
def test_the_rate_a_real_prometheus_sees_is_the_watts_that_were_played(
    needs_package, needs_program, serving, free_port, tmp_path
):
    needs_package("prometheus_client")
    program = needs_program("prometheus")
    from prometheus_client import CollectorRegistry, start_http_server

    from outweigh.integrations.prometheus import LiveCollector

    registry = CollectorRegistry()
    with (
        MeterSession(ReplayMeter([(0.0, WATTS)], hum_w=40.0)) as session,
        Live(project="p", phase="inference", session=session) as live,
    ):
        registry.register(LiveCollector(live))
        server, thread = start_http_server(0, addr="127.0.0.1", registry=registry)
        (tmp_path / "p.yml").write_text(
            "global: {scrape_interval: 1s}\nscrape_configs:\n"
            f"- job_name: outweigh\n  static_configs: [{{targets: ['127.0.0.1:{server.server_port}']}}]\n"
        )
        serving(
            [program, "--config.file=p.yml", f"--storage.tsdb.path={tmp_path / 'tsdb'}",
             f"--web.listen-address=127.0.0.1:{free_port}"],
            f"http://127.0.0.1:{free_port}/-/ready",
        )  # fmt: skip
        until = time.monotonic() + 60
        while True:
            seen = ask(free_port, "count_over_time(outweigh_energy_joules_total[1m])")
            if seen and float(seen[0]["value"][1]) >= 8:
                break
            assert time.monotonic() < until, seen
            time.sleep(0.5)
        (drawn,) = ask(free_port, "rate(outweigh_energy_joules_total[5s])")
        (hum,) = ask(free_port, "rate(outweigh_hum_energy_joules_total[5s])")
        server.shutdown()
        server.server_close()
        thread.join()
    assert float(drawn["value"][1]) == pytest.approx(WATTS, rel=0.01)
    assert float(hum["value"][1]) == pytest.approx(40.0, rel=0.01)
    labels = {k: drawn["metric"][k] for k in ("project", "phase", "scope", "grade", "method")}
    assert labels == {"project": "p", "phase": "inference", "scope": "package", "grade": "D", "method": "replayed"}


def scraped(collector):
    from prometheus_client import CollectorRegistry, generate_latest

    registry = CollectorRegistry()
    registry.register(collector)
    lines = generate_latest(registry).decode().splitlines()
    return {line.partition("{")[0].split()[0]: float(line.split()[-1]) for line in lines if line[0] != "#"}


def test_a_reading_that_carries_no_figure_is_left_out_of_the_scrape(needs_package, fake):
    needs_package("prometheus_client")
    from outweigh.integrations.prometheus import LiveCollector

    clock, session = fake
    with session(reset_at_s=(5.0,), hum_w=0.0) as opened_session, Live(session=opened_session) as live:
        clock.sleep(2.0)
        before = scraped(LiveCollector(live))
        clock.sleep(10.0)
        after = scraped(LiveCollector(live))
    assert before["outweigh_energy_joules_total"] == pytest.approx(2 * WATTS)
    assert (before["outweigh_meter_usable"], after["outweigh_meter_usable"]) == (1, 0)
    assert "outweigh_energy_joules_total" not in after


def test_the_ledger_is_exported_by_project_phase_scope_and_grade(needs_package, fake, tmp_path):
    needs_package("prometheus_client")
    import outweigh
    from outweigh.integrations.prometheus import LedgerCollector

    clock, session = fake
    ledger = tmp_path / "ledger.sqlite"
    with session() as opened_session:
        for _ in range(3):
            with outweigh.measuring(phase="training", project="p", session=opened_session, ledger=ledger):
                clock.sleep(1.0)
    with opened(ledger) as store:
        seen = scraped(LedgerCollector(store))
    assert seen["outweigh_receipts_energy_joules_total"] == pytest.approx(3 * WATTS)
    assert seen["outweigh_receipts_total"] == 3


def collected(reader):
    data = reader.get_metrics_data()
    return {
        metric.name: (metric.unit, point.value, dict(point.attributes))
        for resource in data.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
        for point in metric.data.data_points
    }


@pytest.mark.parametrize(
    ("scope", "prefix"), [(Scope.PACKAGE, "hw"), (Scope.GPU, "hw"), (Scope.NODE, "hw.host")], ids=str
)
def test_opentelemetry_collects_joules_and_watts_under_the_convention_s_names(needs_package, fake, scope, prefix):
    needs_package("opentelemetry", "opentelemetry.sdk")
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader

    from outweigh.integrations.otel import instrument

    clock, session = fake
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader], shutdown_on_exit=False)
    with session(scope=scope) as opened_session, Live(project="p", session=opened_session) as live:
        instrument(live, provider)
        clock.sleep(4.0)
        first = collected(reader)
        clock.sleep(2.0)
        second = collected(reader)
    provider.shutdown()
    assert f"{prefix}.power" not in first
    unit, joules, attributes = second[f"{prefix}.energy"]
    assert (unit, joules) == ("J", pytest.approx(6 * WATTS))
    assert attributes["outweigh.scope"] == scope.value
    assert ("hw.type" in attributes) == (prefix == "hw")
    unit, watts, _ = second[f"{prefix}.power"]
    assert (unit, watts) == ("W", pytest.approx(WATTS))
