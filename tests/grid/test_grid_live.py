"""The stated order of live sources, and `grid show --live`."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from outweigh.cli.main import run
from outweigh.data.places import zone_names
from outweigh.grid import live_order, open_live
from outweigh.ports import Offer
from outweigh.registry import grid_sources

pytest.importorskip("hishel")
pytest.importorskip("httpx_retries")

ZONES = ("GB", "GB-C", "DE", "FR", "DK-DK1", "NO-NO2", "US-CAL-CISO", "AU-NSW", "NA")


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every live source behind a port of this machine at which nobody listens."""
    for name in ("NESO", "ENERGY_CHARTS", "OCTOPUS", "AWATTAR", "ENERGINET", "EIA", "ENTSOE", "ELECTRICITY_MAPS"):
        monkeypatch.setenv(f"OUTWEIGH_GRID_URL_{name}", "http://127.0.0.1:9")
        monkeypatch.delenv(f"OUTWEIGH_{name}_KEY", raising=False)


@pytest.fixture
def show(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """`outweigh grid show` with these words: exit code, stdout, stderr."""

    def call(*words: str) -> tuple[int, str, str]:
        code = run(["grid", "show", *words])
        said = capsys.readouterr()
        return code, said.out, said.err

    return call


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("offer", [Offer.CARBON, Offer.PRICES])
def test_every_source_in_the_order_is_one_of_ours_and_those_without_a_key_come_first(zone, offer):
    order = live_order(zone, offer)

    assert set(order) <= set(grid_sources.names())
    needs_key = [grid_sources.get(name).make().limits.needs_key for name in order if name != "gridstatus"]
    assert needs_key == sorted(needs_key)


def test_the_order_is_the_one_the_documentation_states():
    page = (Path(__file__).parents[2] / "docs" / "grid-sources.md").read_text(encoding="utf-8")

    for zone in ("GB", "GB-C", "DE", "DK-DK1", "US-CAL-CISO"):
        for offer in (Offer.CARBON, Offer.PRICES):
            order = ", ".join(f"`{name}`" for name in live_order(zone, offer)) or "none"
            assert f"| {zone} | {offer} | {order} |" in page


def test_no_marginal_intensity_stands_in_for_an_average_one():
    assert not {"watttime", "carbon-aware-sdk"} & {name for zone in ZONES for name in live_order(zone)}


def test_the_regions_of_great_britain_have_the_names_of_the_clients():
    from outweigh.backends.grid._gb import REGIONS

    named = {row.zone: row.name for row in zone_names().values() if row.country == "GB" and row.zone[:3] == "GB-"}

    assert {**{zone: region.name for zone, region in REGIONS.items()}, "GB-NIR": "Northern Ireland"} == named
    for name in ("neso", "octopus"):
        assert set(REGIONS) <= set(grid_sources.get(name).make().zones())


def test_a_region_without_live_is_great_britains_mean_and_says_so(show):
    code, out, err = show("GB-C")

    assert code == 0
    assert out.startswith("GB-C (London)")
    assert "the mean of all of GB stands in for GB-C" in err


def test_only_sources_that_know_the_zone_are_opened_and_nobody_is_asked(provider):
    provider.stands_in_for("energy-charts")

    opened, _ = open_live("NO", Offer.PRICES)  # Norway has prices by zone, not as a whole

    assert [source.name for source in opened] in ([], ["energy-charts"])
    assert provider.asked == []


def test_live_gives_the_providers_figure_with_its_grade_and_when_it_was_fetched(provider, offline, show):
    rows = [
        {"from": f"2026-01-10T{h:02d}:{m:02d}Z", "to": end, "intensity": {"forecast": 190, "actual": 187}}
        for h, m, end in ((8, 0, "2026-01-10T08:30Z"), (8, 30, "2026-01-10T09:00Z"))
    ]
    provider.stands_in_for("neso").says("/intensity/", {"data": rows})

    code, out, _ = show("GB", "--live", "--at", "2026-01-10T08:00Z", "--json")

    figure = json.loads(out)
    assert code == 0
    assert (figure["intensity_g_per_kwh"], figure["level"], figure["backend"]) == (187.0, "live", "neso")
    assert (figure["grade"], figure["quality"], figure["scope"]) == ("C", "estimated", "direct")
    assert figure["retrieved_at"]


def test_live_without_a_network_answers_from_the_tables_and_tells_what_each_source_said(offline, show):
    code, out, err = show("DE", "--live")

    assert code == 0
    assert out.startswith("DE (Germany)")
    assert "answered by: tables" in out
    assert "no connection to 127.0.0.1:9" in err
    assert "OUTWEIGH_ENTSOE_KEY" in err


def test_live_falls_to_the_next_source_in_the_order(provider, offline, answer, show):
    provider.stands_in_for("energy-charts").on("/price", answer({"detail": "down"}, 500))
    row = {"start_timestamp": 1768032000000, "end_timestamp": 1768035600000, "marketprice": -7.5, "unit": "Eur/MWh"}
    provider.stands_in_for("awattar").says("/de/v1/marketdata", {"data": [row]})

    code, out, err = show("DE", "--live", "--price", "--at", "2026-01-10T08:00Z")

    assert code == 0
    assert "-7.50 EUR/MWh" in out
    assert "answered by: awattar" in out
    assert "energy-charts" in err
    assert "500" in err


def test_a_region_that_nobody_has_a_price_of_says_what_each_source_said(offline, show):
    code, _, err = show("GB-C", "--live", "--price")

    assert code == 4
    assert "octopus" in err


def test_a_zone_no_live_source_has_says_so_and_is_namibia(offline, show):
    code, out, err = show("NA", "--live", "--price", "--declare", "0.1 EUR/kWh")

    assert code == 0
    assert out.startswith("NA (Namibia)")
    assert "no live source is known to have it of NA" in err


def test_without_live_nothing_of_the_network_is_even_imported():
    script = (
        "import sys; sys.argv = ['outweigh', 'grid', 'show', 'DE']\n"
        "from outweigh.cli.main import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "print(sorted({'httpx', 'hishel', 'ssl', 'sqlite3'} & set(sys.modules)), file=sys.stderr)"
    )

    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)

    assert done.stderr.strip() == "[]"


def test_the_doctor_shows_every_live_source_and_asks_none(provider, monkeypatch):
    from outweigh.measure.doctor import probe_one

    names = ("neso", "energy-charts", "octopus", "awattar", "energinet")
    for name in names:
        provider.stands_in_for(name)
    found: list[Any] = [probe_one("grid", name) for name in names]

    assert all(one.usable and one.sees and one.grade for one in found)
    assert provider.asked == []


def test_a_declaration_that_is_no_figure_is_not_taken_for_a_price(show):
    code, out, err = show("DE", "--declare", "hello")

    assert (code, out) == (2, "")
    assert "'hello' is neither a carbon intensity nor a price" in err


# --- zones that only a source has a name for ------------------------------------------------------------


SDK_ANSWER = [{"location": "eastus", "time": "2026-06-01T00:00:00Z", "rating": 321.0, "duration": "01:00:00"}]


@pytest.mark.parametrize("asked", ["eastus", "azure:eastus"])
def test_a_carbon_aware_sdk_is_asked_by_its_own_name_of_a_region(asked, provider, offline, show):
    provider.stands_in_for("carbon-aware-sdk")
    provider.says("/locations", {"eastus": {"name": "eastus"}}).says("/emissions/bylocation", SDK_ANSWER)
    words = ("--source", "carbon-aware-sdk:average-direct", "--at", "2026-06-01T00:00Z", "--json")

    code, out, _ = show(asked, *words)

    assert code == 0
    body = json.loads(out)
    assert (body["intensity_g_per_kwh"], body["level"], body["of_zone"]) == (321.0, "live", "eastus")
    assert provider.asked[-1].query["location"] == "eastus"


def test_fetch_takes_a_name_that_only_the_source_knows(provider, offline, tmp_path, capsys):
    pytest.importorskip("duckdb")
    provider.stands_in_for("carbon-aware-sdk")
    provider.says("/locations", {"eastus": {"name": "eastus"}}).says("/emissions/bylocation", SDK_ANSWER)
    into = str(tmp_path / "archive")
    hour = ("--from", "2026-06-01T00:00Z", "--to", "2026-06-01T01:00Z")

    source = ("--source", "carbon-aware-sdk:average-direct")
    assert run(["grid", "fetch", "eastus", *source, *hour, "--into", into]) == 0
    capsys.readouterr()
    assert run(["grid", "show", "eastus", "--archive", into, "--at", "2026-06-01T00:00Z", "--json"]) == 0

    body = json.loads(capsys.readouterr().out)
    assert (body["intensity_g_per_kwh"], body["level"]) == (321.0, "file")


@pytest.mark.parametrize(
    ("zone", "source", "key"),
    [("ES-IB-MA", "electricity-maps", "a-key-of-nobody"), ("ERCOT_NORTHCENTRAL", "watttime", "name:a-password")],
)
def test_a_region_of_a_providers_own_reaches_it(zone, source, key, provider, offline, answer, show):
    provider.stands_in_for(source, key=key).on("/", answer({"error": "later"}, 500))

    _, _, said = show(zone, "--source", source)

    assert provider.asked
    assert "it answered 500" in said
    assert "no grid zone" not in said


def test_a_slip_is_refused_before_a_named_source_is_asked(provider, offline, show):
    provider.stands_in_for("electricity-maps", key="a-key-of-nobody")

    code, _, said = show("Germny", "--source", "electricity-maps")

    assert (code, provider.asked) == (2, [])
    assert "DE (Germany)" in said


def test_live_finds_a_zone_that_only_a_source_of_the_order_has_a_name_for(provider, offline, show):
    provider.stands_in_for("eia", key="a-key-of-nobody")

    code, _, said = show("US-FLA-TEC", "--live")

    assert provider.asked
    assert code == 0  # answered by the country's year, as the provider here knows nothing
    assert "stands in for US-FLA-TEC" in said


def test_without_its_key_a_zone_that_only_a_source_has_a_name_for_is_known_still(offline, show):
    code, _, said = show("US-FLA-TEC", "--live")

    assert code == 0
    assert "OUTWEIGH_EIA_KEY" in said


# --- which question --------------------------------------------------------------------------------------


@pytest.fixture
def two_questions(tmp_path: Path) -> str:
    """Direct of January, life-cycle of both January and February."""
    rows = ["zone,start,end,value,unit,kind,scope,accounting,quality"]
    for scope, month, value in (("direct", 1, 200), ("lifecycle", 1, 300), ("lifecycle", 2, 310)):
        span = f"DE,2026-{month:02}-01T00:00Z,2026-{month + 1:02}-01T00:00Z"
        rows.append(f"{span},{value},gCO2e/kWh,average,{scope},production,measured")
    path = tmp_path / "own.csv"
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return str(path)


@pytest.mark.parametrize(
    ("month", "question", "value", "level"),
    [
        ("01", "", 200.0, "file"),
        ("01", "lifecycle-production", 300.0, "file"),
        ("01", "production-lifecycle-average", 300.0, "file"),
        ("02", "", 310.0, "file"),  # its first question has nothing of February, and another one has
        ("02", "lifecycle-production", 310.0, "file"),
    ],
)
def test_a_question_can_be_chosen_and_without_one_it_is_one_that_covers_the_window(
    month, question, value, level, two_questions, show
):
    words = ("--question", question) if question else ()

    code, out, _ = show("DE", "--file", two_questions, "--at", f"2026-{month}-10T00:00Z", "--json", *words)

    body = json.loads(out)
    assert (code, body["intensity_g_per_kwh"], body["level"]) == (0, value, level)


def test_a_question_that_a_file_does_not_answer_is_not_answered_with_another(two_questions, show):
    code, _, said = show(
        "DE", "--file", two_questions, "--at", "2026-01-10T00:00Z", "--question", "marginal-direct-consumption"
    )

    assert code == 4
    assert "marginal" in said


@pytest.mark.parametrize("question", ["lifecycle", "production", "direct-lifecycle-production", "best"])
def test_what_is_no_question_says_how_one_is_written(question, show):
    code, _, said = show("DE", "--question", question)

    assert code == 2
    assert "lifecycle-production" in said


def test_a_question_of_a_price_is_refused(show):
    assert show("DE", "--price", "--question", "lifecycle-production")[0] == 2
