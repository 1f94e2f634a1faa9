"""Other people's chart code, as released, shipped so that pages work offline: d3, Observable Plot and uPlot.

Their licences are in LICENSES.txt beside them; docs/decisions/0002-charts.md says why these.
"""

from __future__ import annotations

from functools import cache
from importlib import resources


@cache
def web_file(name: str) -> str:
    """The text of "d3.min.js", "plot.umd.min.js", "uplot.min.js", "uplot.min.css" or "LICENSES.txt"."""
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")
