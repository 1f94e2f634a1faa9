"""Rows of CSV files for what-ifs: each with its line, as the heading says, and times whose steps are of one length."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from zoneinfo import ZoneInfo

from outweigh.core.errors import ConfigError

FEWEST = 2  # rows that tell the length of a step
YEARS = (1900, 2200)  # of any time: clocks and months are known there

Row = tuple[int, dict[str, str]]
"""The line of a row in its file, and its cells by heading."""


def read_rows(path: Path) -> list[Row]:
    """The rows below the heading; none where there are none.

    Raises:
        ConfigError: the file cannot be read as text or as CSV, or a row has more cells than the heading.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            return list(_numbered(path, file))
    except (OSError, UnicodeDecodeError) as err:
        raise ConfigError(str(path), 0, "cannot be read", "Name a CSV file you may read") from err
    except csv.Error as err:
        raise ConfigError(str(path), 0, f"is no CSV: {err}", "Write one row a line, and cells between commas") from err


def _numbered(path: Path, file: Iterator[str]) -> Iterator[Row]:
    reader = csv.reader(file)
    heading = [name.strip() for name in next(reader, [])]
    if twice := sorted({name for name in heading if heading.count(name) > 1}):
        raise ConfigError(str(path), 1, f"two columns are called {twice[0]!r}", "Name each column once")
    for cells in reader:
        if not cells:
            continue
        if len(cells) > len(heading):
            problem = f"{len(cells)} cells under {len(heading)} headings"
            remedy = "Take the comma too many out, write a decimal point as a dot, or head each column"
            raise ConfigError(str(path), reader.line_num, problem, remedy)
        # A short row lacks its last cells; whoever needs one of them refuses the row.
        filled = [cell.strip() for cell in cells] + [""] * (len(heading) - len(cells))
        yield reader.line_num, dict(zip(heading, filled, strict=True))


def times(path: Path, rows: Sequence[Row], zone: ZoneInfo) -> tuple[float, float]:
    """First time [s, UTC epoch] and length of the steps [s] of a column `start`, of two rows or more.

    Args:
        zone: of times that name none.

    Raises:
        ConfigError: something is no time, or the steps are not of one length: a row is missing, twice there or astray.
    """
    starts = [(line, _time(path, line, row["start"], zone)) for line, row in rows]
    step_s = starts[1][1] - starts[0][1]
    for (_, before), (line, after) in pairwise(starts):
        if after - before != step_s or step_s <= 0:
            remedy = "Steps are of one length, without gaps; write times with their offset over changes of the clock"
            raise ConfigError(str(path), line, f"a step of {after - before:g} s among steps of {step_s:g} s", remedy)
    return starts[0][1], step_s


def _time(path: Path, line: int, text: str, zone: ZoneInfo) -> float:
    try:
        stamp = datetime.fromisoformat(text)
    except ValueError as err:
        remedy = "Write 2026-03-01T06:00, or 2026-03-01T06:00+01:00"
        raise ConfigError(str(path), line, f"{text!r} is not a time", remedy) from err
    if not YEARS[0] <= stamp.year < YEARS[1]:
        raise ConfigError(str(path), line, f"{text!r} is no year", f"Write one from {YEARS[0]} to {YEARS[1] - 1}")
    return (stamp if stamp.tzinfo is not None else stamp.replace(tzinfo=zone)).timestamp()
