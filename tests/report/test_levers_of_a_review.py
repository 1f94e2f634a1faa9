"""The abatement curve over a review's measured variants, and its page."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from outweigh.app.files import write_reports
from outweigh.app.whatif_levers import Asked, levers
from outweigh.core.errors import UsageError
from outweigh.registry import exporters
from outweigh.report import review_document

from .test_report_exporters import ATTACK, Page

BASE = '[base]\nprice = "0.14 EUR/kWh"\nintensity = "350 gCO2e/kWh"\n'


@pytest.fixture
def review(make_facts, tmp_path: Path) -> Path:
    write_reports(review_document(make_facts()), tmp_path)
    return tmp_path / "review.json"


def asked(tmp_path: Path, review: Path, text: str = BASE, **more: Any) -> dict[str, Any]:
    (tmp_path / "levers.toml").write_text(text, encoding="utf-8")
    return levers(Asked(tmp_path / "levers.toml", review, **more)).document


def test_a_measured_variant_brings_its_ratio_grade_and_interval_and_the_reviews_volume(review, tmp_path):
    document = asked(tmp_path, review)
    kept = json.loads(review.read_text(encoding="utf-8"))
    incumbent = next(one for one in kept["variants"] if one["role"] == "incumbent")

    (step,) = document["steps"]

    # 0.5403 (0.536 to 0.5446), as the review says of minilm-l3-int8 against minilm-l3.
    assert (step["name"], step["energy_ratio"], step["energy_ratio_low"]) == ("minilm-l3-int8", 0.5403, 0.536)
    assert (step["measured"], step["grade"]) == (True, "C")
    assert document["base"]["energy_j"] == pytest.approx(
        incumbent["energy_j_per_unit"]["value"] * kept["project"]["volume_per_month"] * 12
    )
    assert step["command"].startswith("outweigh ")


def test_a_variant_that_draws_more_or_is_not_shown_to_keep_quality_is_left_out_with_its_reason(review, tmp_path):
    document = asked(tmp_path, review)

    assert {one["name"]: one["why"] for one in document["passed_over"]} == {
        "minilm-l6": "it is not shown to keep quality"
    }


def test_a_declared_cost_belongs_to_its_measured_variant_and_an_unknown_one_is_refused(review, tmp_path):
    text = BASE + '[lever.int8]\nvariant = "minilm-l3-int8"\ncapex = "300 EUR"\nlife = 3\n'

    (step,) = asked(tmp_path, review, text)["steps"]

    assert (step["name"], step["cost"], step["measured"]) == ("int8", 100.0, True)
    with pytest.raises(UsageError, match="Did you mean 'minilm-l3-int8'"):
        asked(tmp_path, review, text.replace("l3-int8", "l3-int9"))


def test_the_page_loads_nothing_and_shows_hostile_names_as_text(review, tmp_path):
    text = BASE + f'[lever.{json.dumps(ATTACK)}]\nenergy = "-5%"\ntry = {json.dumps(ATTACK)}\n'
    document = asked(tmp_path, review, text)

    exporters.get("levers-html")().write(document, tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    parsed = Page(page)

    assert parsed.open == []
    assert "default-src 'none'" in page
    assert not any(tag in ("img", "link", "iframe") or "src" in of for tag, of in parsed.tags)
    assert "evil.example" in parsed.text() or "evil.example" in " ".join(parsed.scripts)
    assert json.loads(parsed.scripts[0])["currency"] == "EUR"
    assert "minilm-l3-int8" in parsed.text()


def test_a_page_without_a_lever_that_counts_says_so(review, tmp_path):
    document = asked(tmp_path, review) | {"steps": [], "passed_over": []}

    exporters.get("levers-html")().write(document, tmp_path / "page.html")

    assert "Nothing counts" in (tmp_path / "page.html").read_text(encoding="utf-8")
