"""A report as one page that works offline: every table, and bars of those that have some."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from outweigh.backends.exporters._atomic import write_text
from outweigh.backends.exporters._page import compose
from outweigh.backends.exporters.sheet_markdown import beyond
from outweigh.registry import exporters

_WIDE = 6  # columns from which a table scrolls by itself on a narrow page
_MOST_BARS = 40


@exporters.register("sheet-html")
class SheetHtmlExporter:
    """A page of a document of schema outweigh.report/1. Loads nothing: a content security policy forbids it."""

    name: ClassVar[str]

    def text(self, model: Mapping[str, Any]) -> str:
        """The page as text."""
        sections = [
            {
                **section,
                "cells": [row["cells"] for row in section["rows"][: section["most"]]],
                "beyond": beyond(section),
                "words": sorted({0, *section["text"]}),
                "drawn": bool(section["bar"]) and 1 < len(_bars(section)) <= _MOST_BARS,
                "kind": "wide" if len(section["columns"]) >= _WIDE else "",
            }
            for section in model["sections"]
            if section["rows"] or section["empty"]
        ]
        charts = [
            {"id": f"chart-{one['name']}", "label": one["bar_label"], "bars": _bars(one)}
            for one in sections
            if one["drawn"]
        ]
        return compose("sheet.html.j2", "sheet.js", doc=model, data={"charts": charts}, sections=sections)

    def write(self, model: Mapping[str, Any], path: Path) -> None:
        """Raises OutputError when the file cannot be written."""
        write_text(path, self.text(model))


def _bars(section: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Name, value and shown text of the rows whose figure is known."""
    return [
        {"name": row["cells"][0], "value": row["figures"][section["bar"]]}
        for row in section["rows"]
        if isinstance(row["figures"].get(section["bar"]), int | float)
    ]
