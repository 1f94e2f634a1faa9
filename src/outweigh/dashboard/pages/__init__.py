"""The pages of the dashboard. A page hangs in this list; `page` says what one is, `routing` where it answers.

`app.pages` has what a page shows, `_templates` and `_assets` how. A new page is
- `app/pages/NAME.py` with `NAME(served, asked) -> dict`: {"schema": "outweigh.page.NAME/1", "tables": {...}}, tables
  made by `shape.table`, so that HTML and CSV come of themselves; "live": {"every_s": 5} asks for quicker updates;
  "synthetic": a sentence, puts the ribbon over it; "refused": {"field", "problem", "remedy"} makes the status 400;
- `_templates/NAME.html.j2`, which extends `base.html.j2`, imports `_parts.html.j2` with context, and fills the block
  `body` with `parts.figures`, `parts.form` and `parts.field`, `parts.chart`, `parts.table`;
- `_assets/NAME.js`, which draws with `ow.chart("NAME OF THE CHART", (holder, width) => Plot.plot(...))` from `ow.data`,
  read inside the function, since a newer answer takes its place;
- one line below.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from outweigh.app.pages.budgets import TAKES as BUDGETS
from outweigh.app.pages.budgets import budgets
from outweigh.app.pages.evidence import evidence
from outweigh.app.pages.frontier import TAKES as FRONTIER
from outweigh.app.pages.frontier import frontier
from outweigh.app.pages.hum import TAKES as HUM
from outweigh.app.pages.hum import hum
from outweigh.app.pages.places import TAKES as PLACES
from outweigh.app.pages.places import places
from outweigh.app.pages.receipt import receipt
from outweigh.app.pages.runs import TAKES as RUNS
from outweigh.app.pages.runs import newest, runs
from outweigh.app.pages.whatif import TAKES as WHATIF
from outweigh.app.pages.whatif import whatif
from outweigh.dashboard.pages.page import Page

if TYPE_CHECKING:
    from fastapi import APIRouter

    from outweigh.app.serving import Served

#: In the order of the navigation; one with "{address}" is reached from another.
PAGES: tuple[Page, ...] = (
    Page("/", "Hum", "What do we burn doing nothing, and whose is it?", hum, "hum.html.j2", "hum.js", HUM),
    Page("/runs", "Runs", "What did this cost, and how sure are we?", runs, "runs.html.j2", "runs.js", RUNS),
    Page(
        "/runs/{address}",
        "Receipt",
        "What did this run cost, from the device to the bill?",
        receipt,
        "receipt.html.j2",
        "receipt.js",
        libraries=("d3.min.js", "plot.umd.min.js", "uplot.min.js"),
        instances=newest,
    ),
    Page("/frontier", "Frontier", "What beats what?", frontier, "frontier.html.j2", "frontier.js", FRONTIER),
    Page("/budgets", "Budgets", "What is left, and for how long?", budgets, "budgets.html.j2", "budgets.js", BUDGETS),
    Page("/places", "Places & times", "Where and when should it run?", places, "places.html.j2", "places.js", PLACES),
    Page("/whatif", "What-if", "What would change?", whatif, "whatif.html.j2", "whatif.js", WHATIF),
    Page(
        "/evidence",
        "Evidence",
        "On what does this rest, and how fresh is it?",
        evidence,
        "evidence.html.j2",
        "evidence.js",
    ),
)


def routes(served: Served) -> APIRouter:
    """HTML, JSON and CSV of every page, and the files under /static."""
    from outweigh.dashboard.pages.routing import router

    return router(served, PAGES)
