"""`report.html`: one file that works offline, with its charts, data and style inside."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from outweigh.backends.exporters import _drawings, _tables, _words
from outweigh.backends.exporters._atomic import write_text
from outweigh.backends.exporters._page import compose
from outweigh.core.rounding import significant
from outweigh.registry import exporters

# About two samples a pixel on a wide screen; review.json keeps every one.
MAX_TRACE_POINTS = 2_000


@exporters.register("html")
class HtmlExporter:
    """A report for people. Loads nothing from anywhere: a content security policy in the file forbids it."""

    name: ClassVar[str]

    def write(self, model: Mapping[str, object], path: Path) -> None:
        """Raises OutputError when the file cannot be written."""
        write_text(path, render(model))


def render(doc: Mapping[str, Any]) -> str:
    """The page as text; `doc` is a review document of schema 1."""
    largest_j = max((v["energy_j_per_unit"]["value"] for v in doc["variants"]), default=0.0)
    return compose(
        "report.html.j2",
        "report.js",
        doc=doc,
        data=chart_data(doc),
        words=_words,
        tables=_tables,
        count=significant,
        weighing=_drawings.weighing,
        weigh_width=_drawings.WEIGH_WIDTH,
        split=lambda variant, width: _drawings.split_widths(variant, largest_j, width),
    )


def chart_data(doc: Mapping[str, Any]) -> dict[str, Any]:
    """What the charts draw: variants as they are, the power trace at no more than MAX_TRACE_POINTS."""
    trace = doc["trace"]
    return {
        "unit": doc["project"]["unit"],
        "percent": _words.is_percent(doc),
        "variants": doc["variants"],
        "trace": None if trace is None else thinned(trace),
    }


def thinned(trace: Mapping[str, Any], most: int = MAX_TRACE_POINTS) -> dict[str, Any]:
    """The trace with neighbouring samples averaged, so that the area under it stays; a gap stays a gap.

    >>> thinned({"t_s": [0.0, 1.0, 2.0, 3.0], "power_w": [1.0, 3.0, None, 5.0]}, 2)["power_w"]
    [2.0, None]
    """
    t_s, power_w = trace["t_s"], trace["power_w"]
    step = -(-len(t_s) // most)
    if step <= 1:
        return dict(trace)
    chunks = [slice(start, start + step) for start in range(0, len(t_s), step)]
    return {**trace, "t_s": [_mean(t_s[chunk]) for chunk in chunks], "power_w": [_mean(power_w[c]) for c in chunks]}


def _mean(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known and len(known) == len(values) else None
