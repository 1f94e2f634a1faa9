"""What tables of facts are shipped: how many rows, of which years, from whom, under which licence, how fresh."""

from __future__ import annotations

import csv
import hashlib
import re
from dataclasses import dataclass
from datetime import date
from functools import cache
from importlib import resources

_MONTH = re.compile(r"(\d{4})-(\d{2})(?:-(\d{2}))?")


@dataclass(frozen=True, slots=True)
class TableFacts:
    """One table as it is shipped.

    Attributes:
        name: its file's, without the ending.
        sha256: of the file [hex].
        years: the first and the last its rows are of, as written, or None where they name none.
        sources, licences: each once, those with most rows first.
        retrieved: the oldest and the newest day its rows were taken from their sources; where only the month is
            written, its first day. None where no row says.
        grades: each once, the best first.
    """

    name: str
    sha256: str
    rows: int
    years: tuple[str, str] | None
    sources: tuple[str, ...]
    licences: tuple[str, ...]
    retrieved: tuple[date, date] | None
    grades: tuple[str, ...]


@cache
def shipped_tables() -> tuple[TableFacts, ...]:
    """Every table of facts in this package, by name.

    >>> [one.rows for one in shipped_tables() if one.name == "cpu_power"][0] > 10
    True
    """
    files = sorted(one.name for one in resources.files("outweigh.data").iterdir() if one.name.endswith(".csv"))
    return tuple(_facts(name) for name in files)


def _facts(name: str) -> TableFacts:
    raw = resources.files("outweigh.data").joinpath(name).read_bytes()
    rows = list(csv.DictReader(raw.decode("utf-8").splitlines()))
    years = sorted({year for row in rows for year in re.findall(r"\d{4}", row.get("year") or "")})
    days = sorted({day for row in rows if (day := _day(row.get("retrieved") or "")) is not None})
    return TableFacts(
        name=name.removesuffix(".csv"),
        sha256=hashlib.sha256(raw).hexdigest(),
        rows=len(rows),
        years=(years[0], years[-1]) if years else None,
        sources=_by_count(rows, "source"),
        licences=_by_count(rows, "licence"),
        retrieved=(days[0], days[-1]) if days else None,
        grades=tuple(sorted({row["grade"] for row in rows if row.get("grade")})),
    )


def _by_count(rows: list[dict[str, str]], column: str) -> tuple[str, ...]:
    counts: dict[str, int] = {}
    for row in rows:
        if text := (row.get(column) or "").strip():
            counts[text] = counts.get(text, 0) + 1
    return tuple(sorted(counts, key=lambda text: (-counts[text], text)))


def _day(text: str) -> date | None:
    found = _MONTH.fullmatch(text.strip())
    return date(int(found[1]), int(found[2]), int(found[3] or 1)) if found else None
