"""A page of ours: one file that works offline, with its charts, data and style inside, and loads nothing."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any

from outweigh.data.web import web_file

if TYPE_CHECKING:
    from markupsafe import Markup

_UNIT = re.compile(r"(?<=\d) (?=(?:%|[mkMGTµn]?(?:J|W|Wh|g|B|s)|[A-Z]{3})(?![\w]))")


def compose(template: str, *drawing: str, doc: Mapping[str, Any], data: Mapping[str, Any], **context: object) -> str:
    """The page as text.

    Args:
        template: of `_templates`; it extends `_base.html.j2`.
        drawing: scripts of `_assets`, run in this order; they draw with d3, Observable Plot and what charts.js shares.
        doc: what the template shows.
        data: what the script draws, in the page as JSON under the id "page-data".
    """
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
    # Ours and the vendor's, fixed when the package is built: the only text that is trusted as it stands.
    scripts = [web_file("d3.min.js"), web_file("plot.umd.min.js"), *map(_asset, ("charts.js", *drawing))]
    return environment.get_template(template).render(
        doc=doc,
        data=data,
        style=Markup(_asset("report.css")),
        scripts=[Markup(text) for text in scripts],
        script_hashes=" ".join(f"'sha256-{_digest(text)}'" for text in scripts),
        licences=web_file("LICENSES.txt"),
        **context,
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


@cache
def _asset(name: str) -> str:
    return resources.files("outweigh.backends.exporters").joinpath("_assets", name).read_text(encoding="utf-8")


def _digest(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
