"""A report as one plain document: sections of rows, each with its text for people and its figures for programs.

Whoever writes it (Markdown, HTML, CSV, JSON) knows this shape and nothing behind it. What is missing stands in a list
of its own, with why it is needed and an example of how to declare it: missing is missing, never 0.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

from outweigh.core.measurement import utc

SCHEMA = "outweigh.report/1"


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a section: `cells` as people read them, `figures` at full precision with the unit in the key."""

    cells: tuple[str, ...]
    figures: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Section:
    """A table.

    Attributes:
        name: what `--table` calls it; letters, digits and dashes.
        columns: headings of the cells.
        text: columns that hold words; all others after the first are figures and set right.
        empty: said where there are no rows.
        bar: key of the figure that a page draws as bars, "" for none; `bar_label` is its axis.
        most: rows that people are shown; CSV and JSON have all.
    """

    name: str
    title: str
    columns: tuple[str, ...]
    rows: Sequence[Row]
    lead: str = ""
    text: frozenset[int] = frozenset()
    empty: str = "Nothing to show."
    bar: str = ""
    bar_label: str = ""
    most: int = 100


@dataclass(frozen=True, slots=True)
class Asked:
    """Something nobody measured or declared: what, what it is needed for, and how to declare it."""

    what: str
    why: str
    example: str


@dataclass(frozen=True, slots=True)
class Sheet:
    """A report.

    Attributes:
        report: its name as it is typed ("sci").
        lead: what it says, in a sentence or two.
        key: figures on top, as (label, text).
        figures: what the report states, at full precision with the unit in the key.
        missing: facts without which a figure is not given.
        sources: the standard and its version; data beside it.
        complete: False where the figure the report is about could not be given.
        calm: False where something in it wants somebody to act.
    """

    report: str
    title: str
    lead: str
    key: tuple[tuple[str, str], ...]
    sections: tuple[Section, ...]
    figures: Mapping[str, Any] = field(default_factory=dict)
    missing: tuple[Asked, ...] = ()
    notes: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    complete: bool = True
    calm: bool = True

    def document(self, created: datetime, version: str) -> dict[str, Any]:
        """Plain JSON, `version` that of outweigh; a number that is not finite is null: JSON has no other word."""
        return {
            "schema": SCHEMA,
            "report": self.report,
            "title": self.title,
            "created": utc(created),
            "outweigh_version": version,
            "complete": self.complete,
            "calm": self.calm,
            "lead": self.lead,
            "key": [list(pair) for pair in self.key],
            "figures": finite(dict(self.figures)),
            "sections": [
                {
                    "name": one.name, "title": one.title, "lead": one.lead, "columns": list(one.columns),
                    "text": sorted(one.text), "empty": one.empty, "bar": one.bar, "bar_label": one.bar_label,
                    "most": one.most,
                    "rows": [{"cells": list(row.cells), "figures": finite(dict(row.figures))} for row in one.rows],
                }
                for one in self.sections
            ],
            "missing": [asdict(one) for one in self.missing],
            "notes": list(self.notes),
            "sources": list(self.sources),
        }  # fmt: skip


def finite(value: Any) -> Any:
    """The value with every number that is not finite taken out.

    >>> finite({"a": [1.0, float("inf")]})
    {'a': [1.0, None]}
    """
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [finite(inner) for inner in value]
    return value
