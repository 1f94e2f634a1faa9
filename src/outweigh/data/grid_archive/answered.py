"""What a grid source has answered so far for a window, so that it is asked for what is missing, and not without end."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from itertools import pairwise

from outweigh.core.intervals import Interval
from outweigh.core.series import Gap
from outweigh.data.grid_archive.layout import SlotKind, micros, stamp_of
from outweigh.data.grid_archive.overlay import Put, Row


@dataclass(frozen=True, slots=True)
class Answered:
    """A stretch of time that a source was asked for long enough after it, and how often it had a word and none.

    `null` is a word: the provider says that it does not know. `missing` is none, and neither is a forecast of what is
    over by then.
    """

    interval: Interval
    words: int
    empty: int


def answered(rows: Iterable[Row], puts: dict[str, Put], window: Interval, settles: timedelta) -> Iterator[Answered]:
    """Stretches of the window in order of time, of what was retrieved at least `settles` after its time."""
    counts: dict[int, list[int]] = defaultdict(lambda: [0, 0])
    ahead = frozenset({SlotKind.FORECAST})
    window_start, window_end = micros(window.start), micros(window.end)
    for row in {(row.put, row.start_us, row.end_us): row for row in rows}.values():  # while files are merged, twice
        put = puts.get(row.put)
        if put is None or put.kinds == ahead:
            continue
        start = max(row.start_us, window_start)
        end = min(row.end_us, window_end, micros(put.retrieved_at - settles))
        if end > start:
            which = int(row.value is Gap.MISSING or row.kind is SlotKind.FORECAST)
            counts[start][which] += 1
            counts[end][which] -= 1
    words = empty = 0
    for start, end in pairwise(sorted(counts)):
        words, empty = words + counts[start][0], empty + counts[start][1]
        if words or empty:
            yield Answered(Interval(stamp_of(start), stamp_of(end)), words, empty)
