"""Places and times: the week of each site, sites against each other, plans, and what one more run adds."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

pytest.importorskip("fastapi")

from outweigh.app.pages.asked import Asked, FieldRefused
from outweigh.app.pages.places import places

NOW = datetime(2026, 11, 18, 9, 30, tzinfo=UTC)  # a Wednesday
PROJECT = """
[project]
name = "synthetic"
unit = "ticket"
volume = { per_month = 1e6 }

[task]
adapter = "tabular"
dataset = "data.csv"
primary = { metric = "accuracy" }

[variants.base]
model = "base.onnx"

[gate]
incumbent = "base"

[site.west]
zone = "US-CAL-CISO"
pue = 1.2
capacity = "50 kW"
price = "0.20 USD/kWh"

[site.north]
zone = "US-NW-BPAT"
pue = 1.1
capacity = "20 kW"
price = "0.08 USD/kWh"

[site.hall]
zone = "DE"
pue = 1.3
capacity = "1 MW"
price = "0.05 EUR/kWh"
"""
RUN = {"tariff": "tariff/site.toml", "flat": "5 MW", "power": "650 kW", "lasting": "3 d", "start": "2026-12-01T09:00"}


def rows_of(document, table):
    return document["tables"][table]["rows"]


def test_a_folder_without_sites_and_plans_says_how_to_make_them(served_folder, page_client):
    answer = page_client(served_folder(now=NOW)).get("/places")

    assert answer.status_code == 200
    assert "No site is declared yet" in answer.text
    assert "outweigh plan jobs.toml --out plan.json" in answer.text


def test_where_only_a_year_is_known_the_strip_is_one_figure_and_says_so(served_folder):
    document = places(served_folder(PROJECT, now=NOW), Asked())

    carbon = rows_of(document, "carbon")
    assert document["week"]["start"].startswith("2026-11-16")  # the Monday
    assert document["flat"]
    assert len(carbon) == 3
    assert all(row["quality"] == "yearly default" and row["grade"] == "D" for row in carbon)


def test_a_typical_day_is_asked_for_and_named_as_one(served_folder):
    document = places(served_folder(PROJECT, now=NOW), Asked({"shape": "typical"}))

    west = [row for row in rows_of(document, "carbon") if row["site"] == "west"]
    assert len(west) == 7 * 24
    assert {row["quality"] for row in west} == {"typical day"}
    # A typical day is the same every day of a month; nobody made one for Germany.
    assert west[0]["carbon_g_per_kwh"] == west[24]["carbon_g_per_kwh"]
    assert [row["quality"] for row in rows_of(document, "carbon") if row["site"] == "hall"] == ["yearly default"]


def test_what_the_owner_declares_is_the_price(served_folder):
    price = {row["site"]: row for row in rows_of(places(served_folder(PROJECT, now=NOW), Asked()), "price")}

    assert price["west"]["price"] == pytest.approx(200.0)  # a MWh
    assert price["west"]["price_currency"] == "USD"
    assert price["west"]["meaning"] == "declared"


def test_a_site_in_another_currency_neither_beats_nor_is_beaten(served_folder):
    sites = {row["site"]: row for row in rows_of(places(served_folder(PROJECT, now=NOW), Asked()), "sites")}

    assert sites["west"]["state"] == "beaten by north"
    assert sites["hall"]["state"] == "on the frontier"
    # 1 MWh of IT at PUE 1.2 and 0.20 USD/kWh.
    assert sites["west"]["cost"] == pytest.approx(240.0)


def test_a_zone_that_nobody_knows_leaves_the_other_sites_standing(served_folder):
    text = PROJECT + '\n[site.moon]\nzone = "MOON"\npue = 1.1\ncapacity = "1 kW"\nprice = "1 USD/kWh"\n'

    document = places(served_folder(text, now=NOW), Asked())

    assert {row["site"] for row in rows_of(document, "carbon")} == {"west", "north", "hall"}
    assert any("carbon of moon is not known" in note for note in document["notes"])


@pytest.mark.parametrize("since", ["9999-12-31", "0001-01-01", "yesterday"])
def test_a_week_of_no_calendar_is_refused_at_its_field(served_folder, page_client, since):
    answer = page_client(served_folder(PROJECT, now=NOW)).get("/places", params={"since": since})

    assert answer.status_code == 400
    assert 'id="wrong-since"' in answer.text


def test_a_plan_of_the_folder_is_drawn_with_its_certificate(served_folder, tmp_path):
    from outweigh.app.planning import plan_file

    served = served_folder(PROJECT, copied=("plan/jobs.toml",), now=NOW)
    planned = plan_file(tmp_path / "plan" / "jobs.toml", sources=["typical"], frontier=False, goal_gap=0.05)
    (tmp_path / "plan.json").write_text(json.dumps(planned.document, indent=2), encoding="utf-8")

    document = places(served, Asked())

    assert document["plan"]["name"] == "plan.json"
    assert {row["job"] for row in rows_of(document, "jobs")} >= {"finetune", "sweep (24)"}
    gap = next(one for one in document["figures"] if "optimum" in one["label"])
    assert gap["value"] == planned.document["certificate"]["gap"]
    drawn_j = sum(row["energy_j"] for row in rows_of(document, "jobs"))
    assert drawn_j == pytest.approx(planned.document["it_energy_kwh"] * 3.6e6)


def test_what_only_says_it_is_a_plan_is_one_sentence(served_folder, tmp_path):
    (tmp_path / "plan.json").write_text('{"schema": "outweigh.plan/1", "horizon": 3}', encoding="utf-8")

    document = places(served_folder(PROJECT, now=NOW), Asked())

    assert document["plan"] is None
    assert any("plan.json is no whole plan" in note for note in document["notes"])


def test_a_plan_that_was_sent_in_is_offered_by_its_address(served_folder):
    served = served_folder(PROJECT, now=NOW)
    body = '{"horizon": 3, "schema": "outweigh.plan/1"}'
    address, _ = served.documents.keep_document("plan", body, named="x", project="synthetic", at="2026-11-18T00:00:00Z")

    assert places(served, Asked())["plans"] == [address[:12]]


def test_each_run_of_the_month_adds_its_parts_and_says_where_it_passes_the_contract(served_folder):
    served = served_folder(PROJECT, copied=("tariff/site.toml",), now=NOW)

    document = places(served, Asked({**RUN, "pue": "1.2", "runs": "5"}))

    rows = rows_of(document, "marginal")
    assert [row["run"] for row in rows] == [1, 2, 3, 4, 5]
    for row in rows:
        parts = sum(row[key] for key in ("energy", "demand", "rest", "cooling"))
        assert row["total"] == pytest.approx(parts, abs=0.011)  # each is rounded to the cent
    # 5 MW and three runs of 0.65 MW at a PUE of 1.2 are 7.34 MW, over a contract of 7 MW.
    assert [row["run"] for row in rows if row["crosses"]] == [3]
    assert document["marginal"]["contract_w"] == 7e6


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"flat": "5 MWh"}, "flat"),
        ({"flat": "", "load": ""}, "flat"),
        ({"power": ""}, "power"),
        ({"power": "-650 kW"}, "power"),
        ({"lasting": "3 parsecs"}, "lasting"),
        ({"start": "soon"}, "start"),
        ({"start": "3000-01-01"}, "start"),
        ({"runs": "0"}, "runs"),
        ({"runs": "61"}, "runs"),
        ({"runs": "2.5"}, "runs"),
        ({"pue": "0.9"}, "pue"),
        ({"pue": "nan"}, "pue"),
        ({"tariff": "../../../etc/passwd"}, "tariff"),
        ({"load": "energy.toml"}, "load"),
    ],
)
def test_a_bad_figure_is_told_at_its_field(served_folder, changed, field):
    served = served_folder(PROJECT, copied=("tariff/site.toml",), now=NOW)

    with pytest.raises(FieldRefused) as refused:
        places(served, Asked({name: text for name, text in {**RUN, **changed}.items() if text}))

    assert refused.value.field == field
    assert "--" not in str(refused.value)
    assert str(served.folder) not in str(refused.value)
