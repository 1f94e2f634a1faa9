"""Hum: what do we burn doing nothing, and whose is it? From a fleet's samples, or from receipts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from outweigh.app.pages.asked import Asked, FieldRefused
from outweigh.app.pages.hum.of_fleet import DAYS, of_fleet
from outweigh.app.pages.hum.of_receipts import of_receipts
from outweigh.app.pages.hum.owners import trend_table
from outweigh.app.pages.runs import in_flight_receipts

if TYPE_CHECKING:
    from outweigh.app.serving import Served

TAKES = ("since", "until", "owner", "site", "of")
_RUNNING_S, _QUIET_S = 5, 60


def hum(served: Served, asked: Asked) -> dict[str, Any]:
    """Hum by owner over a window, its course, and what a month of it costs. Raises FieldRefused, LedgerError."""
    window = asked.window(served.now(), DAYS)
    options = ("fleet", "receipts") if served.fleet is not None else ("receipts",)
    of = asked.choice("of", options, options[0])
    if of == "fleet" and served.fleet is not None:
        found = of_fleet(served, served.fleet, asked, window)
    else:
        if asked.text("site"):
            raise FieldRefused("receipts are of no site", "site", "Leave it out")
        found = of_receipts(served, asked, window)
    if asked.text("table") == "trend":
        found = {**found, "tables": {**found["tables"], "trend": trend_table(found["charts"]["trend"]["rows"])}}
    running = len(in_flight_receipts(served))
    return {
        "schema": "outweigh.page.hum/1",
        "live": {"every_s": _RUNNING_S if running else _QUIET_S, "running": running},
        "of": of,
        "options": list(options),
        "since": window.start.isoformat(),
        "until": window.end.isoformat(),
        **found,
    }
