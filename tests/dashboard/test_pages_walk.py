"""A real browser walks every page of a real server, over real receipts and a made-up fleet."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from outweigh.app.carbon_aware import CarbonAnswers
from outweigh.app.serving.served import Served, serving
from outweigh.config import load_project
from outweigh.grid import Sources
from outweigh.ledger import default_path, open_ledger
from outweigh.ledger.fleet import Fleet

uvicorn = pytest.importorskip("uvicorn")
pytest.importorskip("fastapi")
pytest.importorskip("limits")
pytest.importorskip("playwright")
axe = pytest.importorskip("axe_playwright_python.sync_playwright")

from outweigh.dashboard.pages import PAGES  # noqa: E402
from outweigh.dashboard.pages.exporting import export, file_of  # noqa: E402
from outweigh.dashboard.pages.page import Page  # noqa: E402

pytestmark = [pytest.mark.slow, pytest.mark.example]

WIDTHS = (375, 1440)
THEMES = ("light", "dark")
#: Charts draw again when their room changes, in the frame after; the picture is taken in the one after that.
TWO_FRAMES = "new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"
ARGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
        "--disable-component-update", "--disable-sync"]  # fmt: skip


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium; without it a test is skipped, and fails in continuous integration."""
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
def shots(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where pictures go: the folder that the environment names, so that they outlive the run, or a temporary one."""
    named = os.environ.get("OUTWEIGH_SCREENSHOTS")
    folder = Path(named) if named else tmp_path_factory.mktemp("shots")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture(scope="module")
def served(real_ledger: Path, small_fleet: Path) -> Iterator[Served]:
    # `outweigh ledger fleet synthetic FOLDER` makes one of 10,000 GPUs over 30 days, to walk over that one instead.
    folder = Path(os.environ.get("OUTWEIGH_WALK_FLEET", small_fleet))
    with closing(open_ledger(default_path(real_ledger))) as store, Fleet.open(folder) as fleet:
        yield serving(
            store,
            folder=real_ledger,
            answers=CarbonAnswers(Sources()),
            project=load_project(real_ledger),
            fleet=fleet,
        )


@pytest.fixture(scope="module")
def hosted() -> Iterator[Callable[[Served], str]]:
    """Runs the whole application, gate and all, on a free port; its address."""
    from outweigh.dashboard.application import create

    running: list[tuple[Any, threading.Thread]] = []

    def start(served: Served) -> str:
        bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        bound.bind(("127.0.0.1", 0))
        bound.listen(64)
        config = uvicorn.Config(create(served, per_minute=0), log_level="error", ws="none", lifespan="off")
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]}, daemon=True)
        thread.start()
        running.append((server, thread))
        while not server.started and thread.is_alive():
            time.sleep(0.01)
        return f"http://127.0.0.1:{bound.getsockname()[1]}"

    yield start
    for server, _ in running:
        server.should_exit = True
    for _, thread in running:
        thread.join(timeout=20)
        assert not thread.is_alive()


@pytest.fixture(scope="module")
def url(served: Served, hosted: Callable[[Served], str]) -> str:
    """The address of the pages over real receipts."""
    return hosted(served)


Opened = Callable[..., Any]


@pytest.fixture
def opened(browser: Any) -> Iterator[Opened]:
    """Opens pages and notes what went wrong in them: `page.troubles`."""
    contexts = []

    def go(address: str, width: int = 1440, theme: str = "light", **given: Any) -> Any:
        context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=theme, **given)
        contexts.append(context)
        page = context.new_page()
        page.troubles = []
        page.asked = []
        page.on("console", lambda said: said.type in ("error", "warning") and page.troubles.append(said.text))
        page.on("pageerror", lambda error: page.troubles.append(str(error)))
        page.on("requestfailed", lambda request: page.troubles.append(f"failed: {request.url}"))
        page.on("request", lambda request: page.asked.append(request.url))
        page.goto(address)
        return page

    yield go
    for context in contexts:
        context.close()


def path_of(page: Page, served: Served) -> str:
    return page.path.replace("{address}", next(iter(page.instances(served)), ""))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.title)
def test_a_page_is_whole_for_every_eye_and_ear_at_both_widths_and_in_both_themes(page, served, url, opened, shots):
    name = re.sub(r"\W+", "-", page.title.lower())
    shown = opened(url + path_of(page, served), WIDTHS[0])
    for width in WIDTHS:
        shown.set_viewport_size({"width": width, "height": 900})
        for theme in THEMES:
            shown.emulate_media(color_scheme=theme)
            shown.evaluate(TWO_FRAMES)
            shown.screenshot(path=shots / f"{name}-{width}-{theme}.png", full_page=True)
            found = axe.Axe().run(shown).response["violations"]

            assert shown.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth"), width
            assert [
                (one["id"], one["nodes"][0]["target"]) for one in found if one["impact"] in ("serious", "critical")
            ] == []
    assert shown.troubles == []
    assert [one for one in shown.asked if not one.startswith((url, "data:", "blob:"))] == []
    assert shown.locator("h1").count() == 1
    # A chart without figures hides itself; one that shows has drawn something.
    assert (
        shown.locator("figure.chart:visible").count() == shown.locator("figure.chart:visible:has(svg, canvas)").count()
    )


def test_a_chart_is_taken_away_as_svg_png_and_csv_with_the_colours_it_is_shown_in(served, url, opened, tmp_path):
    shown = opened(url + "/", accept_downloads=True)
    figure = shown.locator("#figure-owners")
    taken = {}
    for kind in ("SVG", "PNG", "CSV"):
        with shown.expect_download() as begun:
            figure.locator(".take >> text=/^" + kind + "/").click()
        taken[kind] = tmp_path / kind
        begun.value.save_as(taken[kind])

    svg = taken["SVG"].read_text(encoding="utf-8")
    assert svg.startswith("<svg")
    assert "var(" not in svg
    assert "rgb(" in svg
    assert taken["PNG"].read_bytes().startswith(b"\x89PNG")
    assert len(taken["PNG"].read_bytes()) > 5_000
    heading = taken["CSV"].read_text(encoding="utf-8").splitlines()[0]
    assert heading.startswith("owner,hum_j,hum_low_j,hum_high_j")
    assert shown.troubles == []


def test_a_power_trace_on_a_canvas_is_taken_away_as_a_drawing_too(served, url, opened, tmp_path):
    with_trace = next(
        one for one in (f"/runs/{address}" for address in next(p for p in PAGES if "{" in p.path).instances(served))
        if "canvas" in opened(url + one).content()
    )  # fmt: skip
    shown = opened(url + with_trace, accept_downloads=True)
    with shown.expect_download() as begun:
        shown.locator("#figure-trace .take >> text=/^SVG/").click()
    begun.value.save_as(tmp_path / "trace.svg")

    assert "<path" in (tmp_path / "trace.svg").read_text(encoding="utf-8")


def test_the_keyboard_reaches_the_content_first_and_the_chosen_colours_stay(served, url, opened):
    shown = opened(url + "/runs", theme="light")
    shown.keyboard.press("Tab")
    assert shown.evaluate("document.activeElement.textContent") == "Skip to the content"
    shown.keyboard.press("Enter")
    assert shown.evaluate("document.activeElement.id") == "content"

    shown.locator("#theme").press("Enter")
    shown.locator("#theme").press("Enter")
    dark = shown.evaluate("getComputedStyle(document.body).backgroundColor")
    shown.goto(url + "/evidence")

    assert shown.evaluate("document.documentElement.dataset.theme") == "dark"
    assert shown.evaluate("getComputedStyle(document.body).backgroundColor") == dark == "rgb(21, 24, 27)"


def test_an_open_page_shows_a_new_receipt_without_being_loaded_again(served, url, opened):
    shown = opened(url + "/runs")
    assert shown.locator("#fresh").get_attribute("data-state") == "live"
    shown.evaluate("window.stayed = true")
    address = next(iter(next(p for p in PAGES if "{" in p.path).instances(served)))
    again = json.loads(served.texts.text(address).text) | {"run_id": "came-later", "variant": "came-later"}
    from outweigh.core.receipt import Receipt

    served.ledger.append(Receipt.from_dict(again))

    # As a browser does when somebody comes back to the page: it looks at once.
    shown.evaluate("document.dispatchEvent(new Event('visibilitychange'))")

    shown.wait_for_selector("#table-runs >> text=came-later", timeout=10_000)
    assert shown.evaluate("window.stayed") is True
    assert shown.troubles == []


def test_a_page_that_was_empty_fills_itself_when_the_first_receipt_comes(served_folder, made_receipt, hosted, opened):
    served = served_folder("")
    shown = opened(hosted(served) + "/runs")
    assert shown.locator("text=No run has been measured yet").count() == 1
    served.ledger.append(made_receipt(0))

    shown.evaluate("document.dispatchEvent(new Event('visibilitychange'))")

    shown.wait_for_selector("#table-runs >> text=synthetic", timeout=10_000)


def test_a_copy_opens_from_files_alone(served, opened, tmp_path):
    written = export(served, tmp_path / "copy")

    for page in PAGES:
        shown = opened((tmp_path / "copy" / file_of(path_of(page, served))).as_uri())
        assert shown.troubles == []
        assert [one for one in shown.asked if not one.startswith(("file:", "data:", "blob:"))] == []
        charts = shown.locator("figure.chart:visible")
        assert charts.count() == shown.locator("figure.chart:visible:has(svg, canvas)").count()
        assert "copy of" in shown.locator("#fresh").inner_text()
    links = re.compile(r'(?:href|src)="([^"#:?]+)[^"]*"')
    for file in (one for one in written if one.suffix == ".html"):
        for target in links.findall(file.read_text(encoding="utf-8")):
            assert (file.parent / target).exists(), f"{file.name} leads to {target}"
