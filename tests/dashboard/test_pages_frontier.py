"""Frontier: what beats what in a sitting, release by release; figures of two kinds are never in one ranking."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("fastapi")

from outweigh.app.pages.asked import Asked, FieldRefused
from outweigh.app.pages.frontier import frontier
from outweigh.app.sittings import of_receipts
from outweigh.core.intervals import Interval
from outweigh.core.measurement import Measurement, Method
from outweigh.core.quantities import Energy
from outweigh.core.receipt import Quality

START = datetime(2026, 11, 3, 9, tzinfo=UTC)


@pytest.fixture
def sitting(made_receipt):
    """Three rounds of each variant: name -> (joules of a unit, accuracy)."""

    def make(batch, variants, method=Method.COUNTER, start=START):
        found = []
        for round_index in range(3):
            for index, (name, (joules, accuracy)) in enumerate(variants.items()):
                begun = start + timedelta(minutes=10 * round_index + index)
                one = made_receipt(
                    joules=40 * joules * (1 + 0.01 * round_index), start=begun, seconds=30.0, batch=batch, variant=name,
                    run_id=f"{batch}-{name}-{round_index}",
                )  # fmt: skip
                found.append(
                    replace(
                        one, round_index=round_index, total=replace(one.total, method=method),
                        quality=(Quality("accuracy", accuracy, 100),),
                    )
                )  # fmt: skip
        return found

    return make


def rows_of(document):
    return {row["variant"]: row for row in document["tables"]["variants"]["rows"]}


def test_a_folder_without_sittings_says_how_to_make_one(served_folder):
    document = frontier(served_folder(), Asked())

    assert document["sitting"] is None
    assert "outweigh review" in document["commands"]


def test_a_beaten_variant_names_what_beats_it(served_folder, sitting):
    receipts = sitting("a" * 32, {"small": (1.0, 0.90), "large": (4.0, 0.95), "wasteful": (4.5, 0.92)})

    rows = rows_of(frontier(served_folder("", *receipts), Asked()))

    assert rows["small"]["on_frontier"]
    assert rows["large"]["on_frontier"]
    assert rows["wasteful"]["dominated_by"] == "large"
    assert rows["wasteful"]["state"] == "beaten by large"
    assert rows["small"]["energy_j"] == pytest.approx(1.01)
    assert rows["small"]["energy_low_j"] < 1.01 < rows["small"]["energy_high_j"]


def test_measured_and_modelled_figures_are_never_in_one_ranking(served_folder, sitting):
    batch = "b" * 32
    receipts = [
        *sitting(batch, {"counted": (4.0, 0.90), "counted-too": (5.0, 0.95)}),
        *sitting(batch, {"modelled": (1.0, 0.99)}, Method.MODELLED, START + timedelta(hours=1)),
    ]
    served = served_folder("", *receipts)

    measured, modelled = frontier(served, Asked()), frontier(served, Asked({"kind": "modelled"}))

    assert set(rows_of(measured)) == {"counted", "counted-too"}
    assert all(row["on_frontier"] for row in rows_of(measured).values())
    assert set(rows_of(modelled)) == {"modelled"}
    assert any("ranked by itself" in note for note in measured["notes"])


def test_a_release_is_chosen_by_the_start_of_its_id_and_the_latest_is_shown_unasked(served_folder, sitting):
    receipts = [
        *sitting("a" * 32, {"old": (2.0, 0.9), "older": (3.0, 0.9)}),
        *sitting("b" * 32, {"new": (1.0, 0.9), "newer": (1.5, 0.9)}, start=START + timedelta(days=1)),
    ]
    served = served_folder("", *receipts)

    latest, chosen = frontier(served, Asked()), frontier(served, Asked({"release": "aaaa"}))

    assert set(rows_of(latest)) == {"new", "newer"}
    assert set(rows_of(chosen)) == {"old", "older"}
    assert [row["id"] for row in latest["releases"]] == ["b" * 32, "a" * 32]
    assert {row["release"] for row in latest["tables"]["course"]["rows"]} == {"a" * 8, "b" * 8}
    with pytest.raises(FieldRefused):
        frontier(served, Asked({"release": "ffff"}))


def test_a_broken_review_is_left_out_and_named(served_folder, sitting, tmp_path):
    receipts = sitting("a" * 32, {"small": (1.0, 0.90), "large": (4.0, 0.95)})
    (tmp_path / "review.json").write_text(json.dumps({"kind": "outweigh.review", "schema": 1}), encoding="utf-8")

    document = frontier(served_folder("", *receipts), Asked())

    assert set(rows_of(document)) == {"small", "large"}
    assert any("review.json is no whole review" in note for note in document["notes"])


def test_a_name_that_is_html_is_shown_as_text(served_folder, sitting, page_client):
    receipts = sitting("a" * 32, {"<script>alert(1)</script>": (1.0, 0.90), "large\u202e": (4.0, 0.95)})

    answer = page_client(served_folder("", *receipts)).get("/frontier")

    assert answer.status_code == 200
    assert "<script>alert(1)" not in answer.text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in answer.text


def test_a_name_of_thousands_of_letters_does_not_stretch_a_heading(served_folder, sitting):
    receipts = [replace(one, unit="u" * 5000) for one in sitting("a" * 32, {"x" * 9000: (1.0, 0.9), "y": (4.0, 0.8)})]

    document = frontier(served_folder("", *receipts), Asked())

    table = document["tables"]["variants"]
    headings = [table["caption"], *(column["label"] for column in table["columns"])]
    headings += [one["label"] for one in document["figures"]] + [row["state"] for row in table["rows"]]
    assert max(len(text) for text in headings) < 120
    assert "x" * 9000 in rows_of(document)  # the data have it whole


def test_the_page_its_data_and_its_csv_have_the_same_figures(served_folder, sitting, page_client):
    client = page_client(served_folder("", *sitting("a" * 32, {"small": (1.0, 0.90), "large": (4.0, 0.95)})))

    data = client.get("/api/v1/pages/frontier").json()
    table = client.get("/frontier.csv", params={"table": "variants"}).text.splitlines()

    assert data["schema"] == "outweigh.page.frontier/1"
    row = dict(zip(table[0].split(","), table[1].split(","), strict=True))
    assert float(row["energy_j"]) == data["tables"]["variants"]["rows"][0]["energy_j"]


@settings(max_examples=60, deadline=None)
@given(points=st.lists(st.tuples(st.integers(1, 6), st.integers(0, 6)), min_size=2, max_size=6))
def test_on_the_frontier_is_exactly_what_no_other_dominates(points):
    receipts = []
    for index, (joules, tenths) in enumerate(points):
        receipts.append(("", _round(f"v{index}", float(joules), tenths / 10)))

    (found,) = of_receipts(receipts)

    for one in found["variants"]:
        beaten = [
            other
            for other in found["variants"]
            if other["energy_j"] <= one["energy_j"] and other["quality"] >= one["quality"]
            and (other["energy_j"] < one["energy_j"] or other["quality"] > one["quality"])
        ]  # fmt: skip
        assert one["on_frontier"] == (not beaten)
        assert bool(one["dominated_by"]) == bool(beaten)


def _round(variant, joules, accuracy):
    from outweigh.core.budget import Phase
    from outweigh.core.measurement import Grade, Scope
    from outweigh.core.receipt import Receipt, RunStatus

    total = Measurement(
        Energy(joules), Interval(START, START + timedelta(seconds=1)), Scope.NODE, Grade.A, Method.COUNTER, "made up"
    )
    return Receipt(
        run_id=variant, project="made-up", phase=Phase.INFERENCE, status=RunStatus.COMPLETED, total=total, hum=None,
        work=None, batch="c" * 32, variant=variant, round_index=0, units=1.0, unit="item",
        quality=(Quality("accuracy", accuracy, 10),),
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.example
def test_a_review_stands_for_the_batch_of_receipts_it_rests_on(real_ledger, served_folder, tmp_path):
    shutil.copytree(real_ledger / ".outweigh", tmp_path / ".outweigh")
    shutil.copytree(real_ledger / "out", tmp_path / "out")
    review = json.loads(Path(real_ledger / "out" / "review.json").read_text(encoding="utf-8"))

    document = frontier(served_folder((real_ledger / "energy.toml").read_text(encoding="utf-8")), Asked())

    assert [one["id"] for one in document["releases"]] == [review["review_id"]]
    assert document["sitting"]["from"] == "review"
    known = {one["name"]: one for one in review["variants"]}
    for name, row in rows_of(document).items():
        assert row["energy_j"] == known[name]["energy_j_per_unit"]["value"]
        assert row["dominated_by"] == known[name]["dominated_by"]
