"""CSV files of hours for what-ifs: a column of times, columns of figures, steps of one length, nothing missing."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from outweigh.app.whatif_csv import FEWEST, read_rows, times
from outweigh.core.errors import ConfigError, UsageError

_MISSING = "What is missing stays missing: cut the file there, or fill it and say so"


@dataclass(frozen=True, slots=True, eq=False)
class Hours:
    """Columns of a file, shape (n,) each, over adjoining steps of `step_s` [s] from `start` (UTC) on."""

    path: Path
    start: datetime
    step_s: float
    columns: dict[str, NDArray[np.float64]]

    def column(self, name: str, *, least: float = -math.inf, most: float = math.inf) -> NDArray[np.float64]:
        """A column, held between limits.

        Raises:
            ConfigError: there is no such column, or a figure lies outside.
        """
        if name not in self.columns:
            known = ", ".join(self.columns)
            raise ConfigError(str(self.path), 1, f"there is no column {name!r}", f"It has start, {known}")
        values = self.columns[name]
        outside = np.flatnonzero((values < least) | (values > most))
        if outside.size:
            at = int(outside[0])
            bounds = f"between {least:g} and {most:g}" if math.isfinite(most) else f"{least:g} or more"
            # The heading is the first line.
            raise ConfigError(str(self.path), at + 2, f"{name} is {values[at]:g}", f"It must be {bounds}")
        return values

    def same_steps(self, other: Hours) -> None:
        """Raise ConfigError where two files do not have the same steps."""
        mine, theirs = ((one.start, one.step_s, next(iter(one.columns.values())).size) for one in (self, other))
        if mine != theirs:
            told = f"{theirs[2]} steps of {theirs[1]:g} s from {theirs[0]:%Y-%m-%dT%H:%MZ}"
            problem = f"it has other steps than {self.path.name}: {told}"
            remedy = f"Give {mine[2]} steps of {mine[1]:g} s from {mine[0]:%Y-%m-%dT%H:%MZ}"
            raise ConfigError(str(other.path), 0, problem, remedy)


def read_hours(path: Path, timezone: str = "UTC", *, wanted: Collection[str] = ()) -> Hours:
    """The columns of a CSV file with a column `start`.

    Args:
        timezone: of times that name none (IANA). Over changes of the clock write times with their offset: 02:30 is
            there twice in autumn and not at all in spring.
        wanted: columns it must have.

    Raises:
        ConfigError: it is unreadable, lacks a column or a figure, or its steps are not of one length.
        UsageError: an unknown time zone.
    """
    try:
        zone = ZoneInfo(timezone)
    except (KeyError, ValueError, OSError) as err:
        raise UsageError(f"no time zone is called {timezone!r}", "Write Europe/Berlin, or UTC") from err
    rows = read_rows(path)
    if len(rows) < FEWEST or "start" not in rows[0][1]:
        raise ConfigError(str(path), 1, "it is no series", f"Write start,{','.join(wanted) or 'figure'} and two rows")
    if lacking := [name for name in wanted if name not in rows[0][1]]:
        raise ConfigError(str(path), 1, f"there is no column {lacking[0]!r}", f"It has {', '.join(rows[0][1])}")
    first_s, step_s = times(path, rows, zone)
    names = [name for name in rows[0][1] if name != "start"]
    columns = {name: np.array([_figure(path, line, row, name) for line, row in rows]) for name in names}
    if not columns:
        raise ConfigError(str(path), 1, "it has times and no figures", "Add a column beside start")
    return Hours(path, datetime.fromtimestamp(first_s, UTC), step_s, columns)


def _figure(path: Path, line: int, row: dict[str, str], name: str) -> float:
    try:
        figure = float(row[name])
    except ValueError as err:
        raise ConfigError(str(path), line, f"{name} is {row[name]!r}, which is not a number", _MISSING) from err
    if not math.isfinite(figure):
        raise ConfigError(str(path), line, f"{name} is not finite", _MISSING)
    return figure
