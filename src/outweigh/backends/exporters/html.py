"""`report.html`: one file that works offline, with its charts, data and style inside."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping
from functools import cache
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from outweigh.backends.exporters import _drawings, _tables, _words
from outweigh.backends.exporters._atomic import write_text
from outweigh.core.rounding import significant
from outweigh.registry import exporters

if TYPE_CHECKING:
    from markupsafe import Markup

# About two samples a pixel on a wide screen; review.json keeps every one.
MAX_TRACE_POINTS = 2_000

_UNIT = re.compile(r"(?<=\d) (?=(?:%|[mkMGTµn]?(?:J|W|Wh|g|B|s)|[A-Z]{3})(?![\w]))")


@exporters.register("html")
class HtmlExporter:
    """A report for people. Loads nothing from anywhere: a content security policy in the file forbids it."""

    name: ClassVar[str]

    def write(self, model: Mapping[str, object], path: Path) -> None:
        """Raises OutputError when the file cannot be written."""
        write_text(path, render(model))


def render(doc: Mapping[str, Any]) -> str:
    """The page as text; `doc` is a review document of schema 1."""
    import jinja2
    from markupsafe import Markup

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("outweigh.backends.exporters", "_templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["ticks"] = ticks
    environment.policies["json.dumps_kwargs"] = {"allow_nan": False, "ensure_ascii": False, "separators": (",", ":")}
    largest_j = max((v["energy_j_per_unit"]["value"] for v in doc["variants"]), default=0.0)
    # Ours and the vendor's, fixed when the package is built: the only text that is trusted as it stands.
    scripts = [_asset("vendor/d3.min.js"), _asset("vendor/plot.umd.min.js"), _asset("report.js")]
    return environment.get_template("report.html.j2").render(
        doc=doc,
        data=chart_data(doc),
        words=_words,
        tables=_tables,
        count=significant,
        weighing=_drawings.weighing,
        weigh_width=_drawings.WEIGH_WIDTH,
        split=lambda variant, width: _drawings.split_widths(variant, largest_j, width),
        style=Markup(_asset("report.css")),
        scripts=[Markup(script) for script in scripts],
        script_hashes=" ".join(f"'sha256-{_digest(script)}'" for script in scripts),
        licences=_asset("vendor/LICENSES.txt"),
    )


def ticks(text: str) -> Markup:
    """Escaped text, with `what stands between backticks` as code, and units kept on the line of their number.

    >>> str(ticks("run `outweigh gate` <now>"))
    'run <code>outweigh gate</code> &lt;now&gt;'
    """
    from markupsafe import Markup, escape

    text = _UNIT.sub("\N{NO-BREAK SPACE}", text)
    words = text.split("`")
    if len(words) % 2 == 0:  # a stray backtick: leave it as it is
        return escape(text)
    return Markup("").join(
        Markup("<code>{}</code>").format(word) if index % 2 else escape(word) for index, word in enumerate(words)
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
    return sum(known) / len(known) if len(known) == len(values) else None


@cache
def _asset(name: str) -> str:
    return resources.files("outweigh.backends.exporters").joinpath("_assets", name).read_text(encoding="utf-8")


def _digest(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
