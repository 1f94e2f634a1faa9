"""A report as Markdown, for a chat, an issue or a letter on Monday."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from outweigh.backends.exporters._atomic import write_text
from outweigh.backends.exporters.markdown import escape
from outweigh.registry import exporters


@exporters.register("sheet-markdown")
class SheetMarkdownExporter:
    """GitHub-flavoured Markdown of a document of schema outweigh.report/1; every word from outside is escaped."""

    name: ClassVar[str]

    def text(self, model: Mapping[str, Any]) -> str:
        """The report as text."""
        blocks = [f"# {escape(model['title'])}", escape(model["lead"])]
        if model["key"]:
            blocks.append("\n".join(f"- {escape(name)}: **{escape(value)}**" for name, value in model["key"]))
        for section in model["sections"]:
            blocks += _section(section)
        if model["missing"]:
            blocks.append("## Missing")
            blocks += [_missing(one) for one in model["missing"]]
        for title, lines in (("Notes", model["notes"]), ("Sources", model["sources"])):
            if lines:
                blocks += [f"## {title}", "\n".join(f"- {escape(line)}" for line in lines)]
        blocks.append(f"outweigh {escape(model['outweigh_version'])}, {model['created'][:10]}")
        return "\n\n".join(block for block in blocks if block) + "\n"

    def write(self, model: Mapping[str, Any], path: Path) -> None:
        """Raises OutputError when the file cannot be written."""
        write_text(path, self.text(model))


def _section(section: Mapping[str, Any]) -> list[str]:
    blocks = [f"## {escape(section['title'])}", escape(section["lead"])]
    if not section["rows"]:
        return [*blocks, escape(section["empty"])] if section["empty"] else []
    columns, words = section["columns"], {0, *section["text"]}
    lines = [
        _row([escape(column) for column in columns]),
        _row([":--" if index in words else "--:" for index in range(len(columns))]),
        *(_row([escape(cell) for cell in row["cells"]]) for row in section["rows"][: section["most"]]),
    ]
    return [*blocks, "\n".join(lines), escape(beyond(section))]


def beyond(section: Mapping[str, Any]) -> str:
    """What is said of rows that are not shown; "" where all are."""
    left = len(section["rows"]) - section["most"]
    return f"{left:,} more rows: `--format csv --table {section['name']}` has all." if left > 0 else ""


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _missing(one: Mapping[str, Any]) -> str:
    # A fence longer than any run of backticks in what it holds; the examples are ours and hold none.
    return f"**{escape(one['what'])}**: {escape(one['why'])}. For example:\n\n```toml\n{one['example']}\n```"
