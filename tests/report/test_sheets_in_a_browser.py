"""A sheet in a real browser: it draws, loads nothing, fits, and axe finds no serious fault."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from outweigh.app.reporting import sheet_report
from outweigh.app.sheets import finance_sheet
from outweigh.report.sheet import Asked

pytest.importorskip("playwright")
axe = pytest.importorskip("axe_playwright_python.sync_playwright")

pytestmark = pytest.mark.slow

CASE = Path(__file__).parents[2] / "examples" / "finance" / "case.toml"
ARGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
        "--disable-component-update", "--disable-sync"]  # fmt: skip


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    found = shutil.which("chromium")
    if found is None:
        reason = "chromium is not installed: apt-get install chromium"
        if os.environ.get("CI") == "true":
            pytest.fail(reason, pytrace=False)
        pytest.skip(reason)
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=found, headless=True, args=ARGS)
        yield started
        started.close()


@pytest.fixture(scope="module")
def page_file(tmp_path_factory):
    asked = Asked("embodied carbon", "the score counts it", '[[embodied]]\nname = "server"')
    sheet = replace(finance_sheet(CASE, scenarios=20), missing=(asked,))
    path = tmp_path_factory.mktemp("sheet") / "case.html"
    sheet_report(sheet, "html", datetime(2026, 11, 23, tzinfo=UTC)).write(path)
    return path


@pytest.mark.parametrize(("width", "theme"), [(375, "dark"), (1440, "light")])
def test_a_sheet_draws_loads_nothing_fits_and_can_be_read_by_all(browser, page_file, width, theme):
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=theme)
    page, troubles, asked_for = context.new_page(), [], []
    page.on("console", lambda message: troubles.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: troubles.append(str(error)))
    page.on("request", lambda request: asked_for.append(request.url))

    page.goto(page_file.as_uri())
    page.wait_for_selector("#chart-ways svg")
    faults = axe.Axe().run(page).response["violations"]
    beyond = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    context.close()

    assert troubles == []
    assert asked_for == [page_file.as_uri()]
    assert [fault["id"] for fault in faults if fault["impact"] in ("serious", "critical")] == []
    assert beyond <= 0
