"""One table of a report as CSV, at full precision, with the unit in every heading."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from outweigh.backends.exporters._atomic import write_text
from outweigh.core.errors import UsageError
from outweigh.registry import exporters

#: A spreadsheet takes a cell that begins so for a formula.
FORMULA = ("=", "+", "-", "@", "\t", "\r")


@exporters.register("sheet-csv")
class SheetCsvExporter:
    """The table that `model["table"]` names, by default the first with rows. What is missing is an empty cell."""

    name: ClassVar[str]

    def text(self, model: Mapping[str, Any]) -> str:
        """The table as text. Raises UsageError where the report has no such table, or it is empty."""
        asked = model.get("table", "")
        filled = [one for one in model["sections"] if one["rows"]]
        chosen = [one for one in filled if not asked or one["name"] == asked]
        if not chosen:
            names = ", ".join(one["name"] for one in filled) or "none"
            raise UsageError(f"the report has no rows in a table {asked!r}", f"Tables with rows: {names}")
        rows = [
            row["figures"] or dict(zip(chosen[0]["columns"], row["cells"], strict=True)) for row in chosen[0]["rows"]
        ]
        return table(rows)

    def write(self, model: Mapping[str, Any], path: Path) -> None:
        """Raises OutputError when the file cannot be written, UsageError as `text` does."""
        write_text(path, self.text(model))


def table(rows: list[dict[str, Any]]) -> str:
    """Rows as CSV under the union of their keys. None is an empty cell, a list is joined by "; ".

    Text that a spreadsheet would run as a formula is led by an apostrophe.

    >>> print(table([{"owner": "=1+1", "energy_j": -2.5}]), end="")
    owner,energy_j
    '=1+1,-2.5
    """
    out = io.StringIO()
    keys = list(dict.fromkeys(key for row in rows for key in row))
    writer = csv.DictWriter(out, fieldnames=keys, restval="", lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({key: cell(value) for key, value in row.items()})
    return out.getvalue()


def cell(value: Any) -> Any:
    """A value as a cell."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        value = "; ".join(map(str, value))
    if isinstance(value, str) and value.startswith(FORMULA):
        return f"'{value}"
    return value
