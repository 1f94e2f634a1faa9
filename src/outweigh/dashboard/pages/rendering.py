"""Pages as text: the templates, what they may call, and the tables as CSV."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any

from outweigh import __version__
from outweigh.app.pages.asked import Asked, FieldRefused
from outweigh.app.pages.shape import SUFFIXES
from outweigh.core.errors import OutweighError
from outweigh.dashboard.pages import shown
from outweigh.dashboard.pages.page import Page
from outweigh.data.web import web_file

if TYPE_CHECKING:
    from jinja2 import Environment

_OURS = resources.files("outweigh.dashboard.pages")
_BY_ENDING = {
    "js": "text/javascript; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "txt": "text/plain; charset=utf-8",
    "svg": "image/svg+xml",
}
_VENDOR = ("d3.min.js", "plot.umd.min.js", "uplot.min.js", "uplot.min.css", "LICENSES.txt")
_FORMULA = ("=", "+", "-", "@", "\t", "\r")  # what a spreadsheet would take for a formula


@dataclass(frozen=True, slots=True)
class Around:
    """What surrounds a page: where links lead, and when it was made.

    Attributes:
        href: path of the application, with its query -> the address to write.
        asset: name of a static file -> the address to write.
        copy: it is a file of a copy, not an answer of a server: nothing will be newer, and forms lead nowhere.
    """

    href: Callable[[str], str]
    asset: Callable[[str], str]
    now: datetime
    copy: bool = False


def served_around(now: datetime) -> Around:
    """The surroundings of a page that a server answers."""
    return Around(lambda path: path, lambda name: f"/static/{name}?v={asset_digest(name)}", now)


def page_text(page: Page, data: Mapping[str, Any], asked: Asked, around: Around, pages: Sequence[Page]) -> str:
    """The page as HTML."""
    template = _environment().get_template(page.template)
    return template.render(
        page=page,
        pages=[one for one in pages if one.in_navigation],
        data=data,
        doc=data,
        asked=asked,
        refused=data.get("refused"),
        around=around,
        href=around.href,
        asset=around.asset,
        address_of=lambda **changed: around.href(own_path(page, asked) + asked.query(**changed)),
        csv_of=lambda name: around.href(f"{csv_path(page, asked)}{asked.query(table=name)}"),
        version=__version__,
    )


def error_text(status: int, error: OutweighError, around: Around, pages: Sequence[Page]) -> str:
    """A page that says what is wrong and what to do."""
    remedy = error.remedy
    problem = str(error).removesuffix(remedy).rstrip(". ") if remedy else str(error)
    if isinstance(error, FieldRefused):
        problem = error.problem
    return (
        _environment()
        .get_template("error.html.j2")
        .render(
            pages=[one for one in pages if one.in_navigation],
            page=None,
            data={},
            status=status,
            problem=problem,
            remedy=remedy,
            around=around,
            href=around.href,
            asset=around.asset,
            version=__version__,
        )
    )


def own_path(page: Page, asked: Asked) -> str:
    """The path of the page itself."""
    return page.path.replace("{address}", asked.address)


def csv_path(page: Page, asked: Asked) -> str:
    """The path of its tables: "/hum.csv", "/runs.csv", "/runs/ADDRESS.csv"."""
    return f"/{page.name.replace('{address}', asked.address)}.csv"


def table_csv(table: Mapping[str, Any]) -> str:
    """A table at full precision, units in its headings; a missing figure is an empty cell, and why stands beside it.

    A text that a spreadsheet would take for a formula gets an apostrophe before it.
    """
    keys: dict[str, None] = {}
    for column in table["columns"]:
        if (end := SUFFIXES.get(column["kind"])) is None:
            keys[column["key"]] = None
        else:
            keys |= {f"{column['key']}{part}{end}": None for part in ("", "_low", "_high")}
            if column["kind"] == "money":
                keys[f"{column['key']}_currency"] = None
            keys[f"{column['key']}_why"] = None
    used = [key for key in keys if any(row.get(key) is not None for row in table["rows"])]
    kept = used or list(keys)
    written = io.StringIO()
    rows = csv.writer(written)
    rows.writerow(kept)
    for row in table["rows"]:
        rows.writerow(_cell(row.get(key)) for key in kept)
    return written.getvalue()


def _cell(value: object) -> object:
    if isinstance(value, list):
        value = "; ".join(str(one) for one in value)
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value


def digest(data: Mapping[str, Any]) -> str:
    """What tells one content of a page from another."""
    text = json.dumps(data, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(f"{__version__}\n{_own_digest()}\n{text}".encode()).hexdigest()[:24]


@cache
def _own_digest() -> str:
    names = sorted(one.name for folder in ("_templates", "_assets") for one in (_OURS / folder).iterdir())
    parts = [(_OURS / ("_templates" if name.endswith(".j2") else "_assets") / name).read_bytes() for name in names]
    return hashlib.sha256(b"\0".join(parts)).hexdigest()


@cache
def assets() -> tuple[str, ...]:
    """The names of the files under /static: ours, and other people's chart code with its licences."""
    return (*sorted(one.name for one in (_OURS / "_assets").iterdir() if one.is_file()), *_VENDOR)


@cache
def asset_text(name: str) -> str:
    """The text of one of `assets()`; KeyError for any other name."""
    if name not in assets():
        raise KeyError(name)
    return web_file(name) if name in _VENDOR else (_OURS / "_assets" / name).read_text(encoding="utf-8")


def asset_type(name: str) -> str:
    return _BY_ENDING[name.rpartition(".")[2]]


@cache
def asset_digest(name: str) -> str:
    return hashlib.sha256(asset_text(name).encode()).hexdigest()[:12]


@cache
def _environment() -> Environment:
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("outweigh.dashboard.pages", "_templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.policies["json.dumps_kwargs"] = {"allow_nan": False, "ensure_ascii": False, "separators": (",", ":")}
    environment.filters |= {
        "time": shown.time_text,
        "duration": shown.duration,
        "clip": shown.clip,
        "now": shown.now_text,
        "ticks": shown.ticks,
    }
    environment.globals |= {"figure_text": shown.figure_text, "suffixes": SUFFIXES, "grades": shown.GRADES}
    return environment
