"""The Grafana dashboard and the rules in the docs: their queries are PromQL, on metrics and labels that we export."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest

ROOT = Path(__file__).parents[2]
DASHBOARD = ROOT / "examples" / "grafana" / "outweigh.json"
RECIPE = ROOT / "docs" / "recipes" / "prometheus.md"


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """Metric name -> its labels, as the exporters that ship say them of a real ledger and a replayed meter."""
    client = pytest.importorskip("prometheus_client", reason="extra: serve or prometheus")
    pytest.importorskip("fastapi", reason="extra: serve")
    from outweigh.app import measured
    from outweigh.backends.meters.replay import ReplayMeter
    from outweigh.dashboard.api.metrics import _Kept
    from outweigh.integrations.live import Live
    from outweigh.integrations.prometheus import LiveCollector
    from outweigh.ledger import open_ledger
    from outweigh.measure import MeterSession

    ledger = tmp_path_factory.mktemp("grafana") / "ledger.sqlite"
    measured("work", meter="cpu-model", ledger=str(ledger), project="p")(lambda: sum(range(100_000)))()
    store = open_ledger(ledger)
    texts, _ = _Kept(SimpleNamespace(texts=store)).text()
    registry = client.CollectorRegistry()
    with (
        MeterSession(ReplayMeter([(0.0, 80.0)], hum_w=40.0)) as session,
        Live(project="p", phase="inference", session=session) as live,
    ):
        registry.register(LiveCollector(live))
        texts += client.generate_latest(registry)
    store.close()
    found = {}
    for name, labels in re.findall(r"^(outweigh_\w+)(\{[^}]*\})? ", texts.decode(), re.MULTILINE):
        found.setdefault(name, set()).update(re.findall(r"(\w+)=", labels))
    return found


def dashboard():
    return json.loads(DASHBOARD.read_text(encoding="utf-8"))


def queries():
    for panel in dashboard()["panels"]:
        for target in panel["targets"]:
            yield panel["title"], target["expr"]
    for found in re.finditer(r"expr: (?:>-\n((?: {10,}.*\n)+)|(.*)\n)", RECIPE.read_text(encoding="utf-8")):
        yield "rule", " ".join((found[1] or found[2]).split())


def test_the_dashboard_has_what_grafana_needs_and_no_two_panels_in_one_place():
    board = dashboard()

    assert board["title"]
    assert board["schemaVersion"] >= 39
    assert {panel["type"] for panel in board["panels"]} <= {"stat", "timeseries"}
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])
    taken = set()
    for panel in board["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken
        assert at["x"] + at["w"] <= 24
        taken |= cells
        assert panel["description"]
        assert panel["datasource"]["uid"] == "${source}"


def test_every_query_asks_for_metrics_and_labels_that_are_exported(exported):
    recorded = set(re.findall(r"record: (\S+)", RECIPE.read_text(encoding="utf-8")))
    for title, query in queries():
        names = set(re.findall(r"(?:project:)?outweigh_\w+", query))
        assert names, title
        assert names <= exported.keys() | recorded, title
        for name in names & exported.keys():
            asked = {label for by in re.findall(r"by \(([^)]*)\)", query) for label in re.split(r",\s*", by)}
            assert asked | set(re.findall(r"(\w+)=~", query)) <= exported[name] | {"instance"}, title


def test_the_table_of_the_recipe_names_what_is_exported_and_nothing_else(exported):
    table = RECIPE.read_text(encoding="utf-8").split("```", 1)[0]

    assert set(re.findall(r"`(outweigh_\w+)`", table)) == set(exported)


def test_every_query_is_promql(tmp_path):
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("there is no promtool here: apt-get install prometheus")
    rules = [
        {"record": f"check:query_{number}", "expr": re.sub(r"\$__rate_interval", "5m", query).replace("$project", ".*")}
        for number, (_, query) in enumerate(queries())
    ]
    (tmp_path / "rules.json").write_text(json.dumps({"groups": [{"name": "check", "rules": rules}]}))

    done = subprocess.run(
        [promtool, "check", "rules", tmp_path / "rules.json"], capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stdout + done.stderr


def test_no_query_sums_energy_over_scopes():
    for title, query in queries():
        for by in re.findall(r"sum( by \([^)]*\))? \((?:rate|increase)\(outweigh_\w*energy\w*", query):
            assert re.search(r"\bscope\b", by), (title, query)
        assert not re.search(r"\bsum\((?:rate|increase)\(outweigh_\w*energy", query), (title, query)
