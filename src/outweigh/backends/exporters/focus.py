"""FOCUS rows as CSV: columns by the specification, energy and carbon in `x_` columns."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from outweigh.backends.exporters._atomic import write_text
from outweigh.backends.exporters.sheet_csv import cell
from outweigh.registry import exporters


@exporters.register("focus")
class FocusExporter:
    """`model["rows"]` under `model["columns"]`. FOCUS's null is an empty cell."""

    name: ClassVar[str]

    def text(self, model: Mapping[str, Any]) -> str:
        """The rows as text. Decimals are written without an exponent, as the specification's numeric format asks."""
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(model["columns"])
        for row in model["rows"]:
            writer.writerow([_value(row[column]) for column in model["columns"]])
        return out.getvalue()

    def write(self, model: Mapping[str, Any], path: Path) -> None:
        """Raises OutputError when the file cannot be written."""
        write_text(path, self.text(model))


def _value(value: Any) -> Any:
    return plain(value) if isinstance(value, float) else cell(value)


def plain(value: float) -> str:
    """A float to its last digit, without an exponent.

    >>> plain(1.25e-7), plain(3.0)
    ('0.000000125', '3.0')
    """
    from decimal import Decimal

    return format(Decimal(repr(value)), "f")
