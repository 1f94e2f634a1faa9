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
