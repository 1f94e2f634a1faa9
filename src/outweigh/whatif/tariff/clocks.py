"""Local months, days and quarters of an hour of a regular load, and which period of a schedule each falls in."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from outweigh.core.errors import InvalidQuantity
from outweigh.whatif.tariff.terms import DAY_NAMES, EDGE_MINUTES, HOLIDAY, MINUTES_PER_DAY, Tariff, Window, clock

Schedule = NDArray[np.int16]
Month = tuple[int, int]
_SLOTS = MINUTES_PER_DAY // EDGE_MINUTES
_DAY_S, _MINUTE_S = 86_400, 60
_NOBODY = -1
_MONTH_NAMES = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]


@dataclass(frozen=True, slots=True)
class Calendar:
    """The local clock of n steps of a load.

    Attributes:
        months: (year, month) of each billing month, in order.
        starts: index of each month's first step, shape (len(months),).
        slot: flat index into a schedule of shape (12, 8, 96), shape (n,).
        local_s: the clock's seconds since its own 1970, shape (n,).
        days: days of each month that the load touches.
        whole: whether the load covers the month from its first to its last instant.
    """

    months: tuple[Month, ...]
    starts: NDArray[np.int64]
    slot: NDArray[np.int64]
    local_s: NDArray[np.int64]
    days: tuple[int, ...]
    whole: tuple[bool, ...]


def schedule(windows_of: Sequence[tuple[str, Sequence[Window]]], *, complete: bool) -> Schedule:
    """Which of the named periods each quarter of an hour belongs to; shape (12, 8, 96), -1 where none does.

    Raises:
        InvalidQuantity: two periods claim an hour, or with `complete` none does.
    """
    table: Schedule = np.full((12, 8, _SLOTS), _NOBODY, dtype=np.int16)
    for index, (name, windows) in enumerate(windows_of):
        for window in windows:
            hours = slice(window.start // EDGE_MINUTES, window.end // EDGE_MINUTES)
            part = np.ix_([month - 1 for month in sorted(window.months)], sorted(window.days), range(_SLOTS)[hours])
            taken = (table[part] != _NOBODY) & (table[part] != index)
            if taken.any():
                month, day, at = (int(one) for one in np.argwhere(taken)[0])
                other = windows_of[int(table[part][month, day, at])][0]
                where = _place(sorted(window.months)[month] - 1, sorted(window.days)[day], range(_SLOTS)[hours][at])
                remedy = f"{other!r} claims it too: each quarter of an hour has one period; move an edge"
                raise InvalidQuantity("time-of-use period", f"{name!r} on {where}", remedy)
            table[part] = index
    if complete and (holes := np.argwhere(table == _NOBODY)).size:
        month, day, at = (int(one) for one in holes[0])
        end = at
        while end < _SLOTS and table[month, day, end] == _NOBODY:
            end += 1
        remedy = "every hour needs a price: let a period cover it"
        if day == HOLIDAY:
            remedy += " (days = 'weekends' and 'all' hold public holidays, 'weekdays' does not)"
        given = f"a hole on {_place(month, day, at)} to {clock(end * EDGE_MINUTES)}"
        raise InvalidQuantity("time-of-use schedule", given, remedy)
    return table


def _place(month: int, day: int, at: int) -> str:
    return f"{DAY_NAMES[day]} in {_MONTH_NAMES[month]}, {clock(at * EDGE_MINUTES)}"


def grain_minutes(tariff: Tariff) -> int:
    """The longest step [min] that no edge of a window of the tariff cuts: 60, 30 or 15."""
    parts = [
        *(rate.windows for rate in tariff.energy),
        *(charge.windows for charge in tariff.demand),
        *(block.windows for block in tariff.blocks),
    ]
    edges = [edge for windows in parts for window in windows for edge in (window.start, window.end)]
    return math.gcd(60, *edges)


@lru_cache(maxsize=256)
def offsets(timezone: str, start_s: int, end_s: int) -> tuple[tuple[int, int], ...]:
    """(instant, offset from UTC) [s] of the clock from `start_s` on, and at each change before `end_s`."""
    zone = ZoneInfo(timezone)

    def offset(at_s: int) -> int:
        away = datetime.fromtimestamp(at_s, UTC).astimezone(zone).utcoffset()
        return int((away or timedelta()).total_seconds())

    found = [(start_s, offset(start_s))]
    for day in range(start_s, end_s, _DAY_S):
        until = min(day + _DAY_S, end_s)
        if offset(until) != found[-1][1]:
            found.append((_change(offset, day, until), offset(until)))
    return tuple(found)


def _change(offset: Callable[[int], int], low: int, high: int) -> int:
    """The instant in (low, high] at which the offset changes; clocks change on a whole minute."""
    before = offset(low)
    while high - low > _MINUTE_S:
        middle = low + (high - low) // (2 * _MINUTE_S) * _MINUTE_S
        low, high = (middle, high) if offset(middle) == before else (low, middle)
    return high


@lru_cache(maxsize=64)
def calendar(timezone: str, start_s: int, step_s: int, n: int, holidays: frozenset[date]) -> Calendar:
    """The local clock of `n` steps of `step_s` [s] from `start_s` [s, UTC epoch] on."""
    end_s = start_s + step_s * n
    changes = offsets(timezone, start_s, end_s)
    utc_s = start_s + step_s * np.arange(n, dtype=np.int64)
    which = np.searchsorted([at for at, _ in changes], utc_s, side="right") - 1
    local_s = utc_s + np.array([offset for _, offset in changes], dtype=np.int64)[which]
    day, second = np.divmod(local_s, _DAY_S)
    months_1970 = day.astype("datetime64[D]").astype("datetime64[M]").astype(np.int64)
    # 1970-01-01 was a Thursday.
    weekday = (day + 3) % 7
    if holidays:
        off = np.array([(one - date(1970, 1, 1)).days for one in holidays], dtype=np.int64)
        weekday = np.where(np.isin(day, off), HOLIDAY, weekday)
    slot = (months_1970 % 12 * 8 + weekday) * _SLOTS + second // (EDGE_MINUTES * _MINUTE_S)
    starts = np.flatnonzero(np.concatenate(([True], np.diff(months_1970) != 0)))
    ends = np.concatenate((starts[1:], [n]))
    months = tuple((1970 + int(m) // 12, int(m) % 12 + 1) for m in months_1970[starts])
    return Calendar(
        months=months,
        starts=starts,
        slot=slot,
        local_s=local_s,
        days=tuple(int(np.unique(day[a:b]).size) for a, b in zip(starts, ends, strict=True)),
        whole=tuple(
            start_s <= int(month_start(month, timezone).timestamp())
            and int(month_start(after(month), timezone).timestamp()) <= end_s
            for month in months
        ),
    )


def month_start(month: Month, timezone: str) -> datetime:
    """First instant of a local month."""
    return datetime(month[0], month[1], 1, tzinfo=ZoneInfo(timezone))


def after(month: Month, months: int = 1) -> Month:
    """
    >>> after((2026, 12)), after((2026, 1), -2)
    ((2027, 1), (2025, 11))
    """
    at = month[0] * 12 + month[1] - 1 + months
    return at // 12, at % 12 + 1


def label(month: Month) -> str:
    """
    >>> label((2026, 3))
    '2026-03'
    """
    return f"{month[0]}-{month[1]:02d}"
