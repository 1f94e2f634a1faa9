"""`report.md`: the review in short, for a pull-request comment or an issue."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar

from outweigh.backends.exporters import _tables, _words
from outweigh.backends.exporters._atomic import write_text
from outweigh.backends.exporters._tables import Cell, Table
from outweigh.registry import exporters

_WIDTH = 110
# Left whole: an address, and a short code span that holds nothing a table or HTML could trip over.
_WHOLE = re.compile(r"https?://[\w./:?=&%#~+,;-]+|`[^`<>&|\n]+`")
_SPECIAL = re.compile(r"([\\`*_{}\[\]|~#])")


@exporters.register("markdown")
class MarkdownExporter:
    """GitHub-flavoured Markdown; every word that came from outside is escaped."""

    name: ClassVar[str]

    def write(self, model: Mapping[str, object], path: Path) -> None:
        """Raises OutputError when the file cannot be written."""
        write_text(path, render(model))


def render(doc: Mapping[str, Any]) -> str:
    """The report as Markdown; `doc` is a review document of schema 1."""
    verdict, badge = doc["verdict"], _words.badge(doc)
    waived = ", waived" if doc.get("weighing", {}).get("waived") else ""
    blocks = [
        f"## {verdict['outcome'].upper()}{waived}: {escape(_words.title(doc))} · {escape(doc['project']['name'])}"
    ]
    if badge:
        blocks.append(_quote(f"**{escape(badge)}.** {escape(doc['evidence']['statement'])}"))
    blocks.append(_prose([_words.decided(doc)]))
    blocks += [_prose([text]) for text in _words.waived(doc)]
    blocks.append(_bullets([*_words.next_steps(doc), f"Cheapest measured way to pass: {_words.cheapest(doc)}"]))
    blocks.append(_prose([_words.blocking(doc)]))
    blocks += ["### Variants", _captioned(_tables.variants(doc))]
    if doc["comparisons"]:
        blocks.append(_captioned(_tables.comparisons(doc)))
    blocks += ["### The weighing", _prose([_words.rule(doc)]), _captioned(_tables.parts(doc))]
    if "weighing" in doc:
        if doc["weighing"]["waivers"]:
            blocks += ["### Waivers", _captioned(_tables.waivers(doc))]
        if doc["weighing"].get("ranking"):
            blocks += ["### By value", _captioned(_tables.ranking(doc))]
        hanging = [
            _prose([doc["weighing"]["sensitivity"][key] for key in ("statement", "power_statement")]),
            _captioned(_tables.settings(doc)),
        ]
        blocks.append(_fold("What the verdict hangs on", "\n\n".join(hanging)))
    blocks.append("### Where to run it")
    if doc["plan"] is None:
        blocks.append(_prose([f"No plan: {_words.sentence(doc, doc['plan_missing'], start=False)}"]))
    else:
        blocks += [_prose(_words.plan_sentences(doc)), _captioned(_tables.sites(doc))]
        if doc["plan"]["notes"]:
            blocks.append(_bullets(_words.sentence(doc, note) for note in doc["plan"]["notes"]))
    blocks += ["### How it was measured", _bullets(f"{term}: {text}" for term, text in _words.measured(doc))]
    if doc["trace"] is None:
        blocks.append(_prose([f"No power trace: {_words.sentence(doc, doc['trace_missing'], start=False)}"]))
    if not badge:
        blocks.append(_prose([doc["evidence"]["statement"]]))
    blocks.append(_prose(_words.cost_details(doc)))
    blocks.append(_fold("Rounds: work and hum", _captioned(_tables.rounds(doc))))
    if doc["meter"]["passed_over"]:
        blocks.append(_fold("Meters passed over", _captioned(_tables.passed_over(doc))))
    if doc["factors"]:
        blocks.append(_fold("Factors", _captioned(_tables.factors(doc))))
    if doc["notes"]:
        blocks.append(_fold("Notes", _bullets(_words.sentence(doc, note) for note in doc["notes"])))
    blocks.append(_fold(f"{len(doc['receipts'])} receipts", _bullets(doc["receipts"])))
    versions = [f"outweigh {doc['outweigh_version']}", *(f"{name} {v}" for name, v in doc["versions"].items())]
    blocks.append(_fold("Versions", _prose([", ".join(versions)])))
    return "\n\n".join(block for block in blocks if block) + "\n"


def table(model: Table) -> str:
    """A pipe table; what HTML draws is left out, and small print follows its figure.

    >>> print(table(Table("", (_tables.Column("a"), _tables.Column("b", numeric=True)), ((Cell("x|y"), Cell("1")),))))
    | a | b |
    | :-- | --: |
    | x\\|y | 1 |
    """
    shown = [index for index, column in enumerate(model.columns) if not column.html_only]
    lines = [
        _row(escape(model.columns[i].label) for i in shown),
        _row("--:" if model.columns[i].numeric else ":--" for i in shown),
    ]
    lines += [_row(_cell(row[i]) for i in shown) for row in model.rows]
    return "\n".join(lines)


def _captioned(model: Table) -> str:
    return f"{_prose([model.caption])}\n\n{table(model)}"


def escape(text: str) -> str:
    """Text as text: no markup, no HTML, no mention of a user; addresses and code are left whole.

    >>> escape("<b>l6_int8</b> @you | https://example.org/a_b")
    '&lt;b&gt;l6\\\\_int8&lt;/b&gt; &#64;you \\\\| https://example.org/a_b'
    """
    out, at = [], 0
    for match in _WHOLE.finditer(text):
        out += [_escape_plain(text[at : match.start()]), match[0]]
        at = match.end()
    return "".join([*out, _escape_plain(text[at:])])


def _escape_plain(text: str) -> str:
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    text = _SPECIAL.sub(r"\\\1", " ".join(re.split(r"[\r\n]+", text)))
    return text.replace("@", "&#64;")


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _cell(cell: Cell) -> str:
    text = f"**{escape(cell.text)}**" if cell.mark == "outcome" else escape(cell.text)
    return f"{text}<br><sub>{escape(cell.sub)}</sub>" if cell.sub else text


def _wrap(text: str, indent: str = "") -> str:
    return textwrap.fill(text, _WIDTH, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)


def _prose(sentences: Iterable[str]) -> str:
    return _wrap(escape(" ".join(sentences)))


def _bullets(lines: Iterable[str]) -> str:
    return "\n".join(f"- {_wrap(escape(line), '  ')}" for line in lines)


def _quote(text: str) -> str:
    return textwrap.indent(_wrap(text), "> ")


def _fold(summary: str, body: str) -> str:
    return f"<details><summary>{escape(summary)}</summary>\n\n{body}\n\n</details>"
