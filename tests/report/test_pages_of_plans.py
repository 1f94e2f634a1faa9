"""Pages of plans and back-tests: complete, offline, and safe against what a name may hold."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from outweigh.app.backtesting import backtest_document
from outweigh.app.planning import plan_file
from outweigh.plan.problem import Job, Level, Places
from outweigh.plan.rolling_outlook import Persistence
from outweigh.registry import exporters

from .test_report_exporters import ATTACK, Page

JOBS = """
[plan]
from = "2026-12-01T00:00Z"
horizon = "24 h"
carbon_price = "100 EUR/t"
[site.{site}]
zone = "DE"
pue = 1.2
capacity = "10 kW"
price = "0.10 EUR/kWh"
[[job]]
name = {job}
within = "20 h"
work = "6 h"
power = "8 kW"
"""


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    file = tmp_path_factory.mktemp("jobs") / "jobs.toml"
    file.write_text(JOBS.format(site=json.dumps(ATTACK), job=json.dumps(f"job {ATTACK}")), encoding="utf-8")
    return plan_file(file).document


@pytest.fixture(scope="module")
def backtest() -> dict[str, Any]:
    start = datetime(2026, 1, 1, tzinfo=UTC)
    hours = np.arange(24 * 40)
    rate = 0.2 + 0.1 * np.sin(2 * np.pi * hours / 24)
    came = Places((ATTACK,), start, 3600.0, rate[None, None], np.full((1, 1, hours.size), 300.0), np.array([1.2]))
    jobs = [
        Job(
            f"{day}", start + timedelta(days=day), start + timedelta(days=day + 1), 4.0, (Level(1.0, 5e3),), home=ATTACK
        )
        for day in range(8, 38)
    ]
    return backtest_document(
        jobs, came, carbon_price_per_tonne=50.0, currency="EUR", outlook=Persistence(came.rate(50.0), 24)
    )


def page(kind: str, document: dict[str, Any], folder: Path) -> tuple[str, Page]:
    path = folder / "page.html"
    exporters.get(kind)().write(document, path)
    text = path.read_text(encoding="utf-8")
    return text, Page(text)


@pytest.mark.parametrize("kind", ["plan-html", "backtest-html"])
def test_a_page_closes_its_tags_loads_nothing_and_shows_hostile_names_as_text(
    kind: str, plan: dict[str, Any], backtest: dict[str, Any], tmp_path: Path
):
    document = plan if kind == "plan-html" else backtest

    text, parsed = page(kind, document, tmp_path)

    assert parsed.open == []
    assert "default-src 'none'" in text
    assert not any(tag in ("img", "link", "iframe") or "src" in of for tag, of in parsed.tags)
    assert "evil.example" in parsed.text() or "evil.example" in " ".join(parsed.scripts)
    assert json.loads(parsed.scripts[0])["currency"] == "EUR"


def test_the_page_of_a_plan_holds_the_figures_of_its_file(plan: dict[str, Any], tmp_path: Path):
    _, parsed = page("plan-html", plan, tmp_path)

    # 6 h x 8 kW x 1.2
    assert "57.6 kWh" in parsed.text().replace("\N{NO-BREAK SPACE}", " ")
    assert f"{plan['certificate']['gap']:.2%}" in parsed.text()
    assert "Ember" in parsed.text()


def test_the_page_of_a_back_test_names_every_policy(backtest: dict[str, Any], tmp_path: Path):
    _, parsed = page("backtest-html", backtest, tmp_path)

    assert all(one["policy"] in parsed.text() for one in backtest["policies"])
