"""Which of several slots holds for a time: puts laid over one another, the newest word on top.

A put is one series as it was retrieved at one moment. For a time that several puts speak of, what was beats what was
expected, which beats a figure of another time that stands in, and the newest issue beats an older one. `missing` is no
word of the provider: it never covers a value. `null` and `invalid` are: a later one withdraws an earlier value, and a
forecast may then stand in, marked as one.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import NamedTuple, TypeVar

from outweigh.core.errors import InvalidQuantity
from outweigh.core.intervals import Bounds, Interval
from outweigh.core.series import CarbonMeaning, CarbonSeries, DataQuality, Gap, Origin, PriceMeaning, PriceSeries
from outweigh.data.grid_archive.layout import Meaning, SlotKind, micros, micros_of, told_by

_SOURCES_NAMED = 3


@dataclass(frozen=True, slots=True)
class Put:
    """One series as it was retrieved at one moment.

    Attributes:
        id: digest of all of it; the same series put again is the same put.
        interval: the span of its slots.
        slots: how many.
        backend: the grid source that fetched it; "" where nobody said.
    """

    id: str
    provider: str
    issued_at: datetime | None
    retrieved_at: datetime
    interval: Interval
    slots: int
    kinds: frozenset[SlotKind]
    backend: str
    origin: Origin

    @property
    def order(self) -> tuple[datetime, datetime, str]:
        """What makes one put newer than another: its issue (or, untold, its retrieval), its retrieval, its digest."""
        return (self.issued_at or self.retrieved_at, self.retrieved_at, self.id)


class Row(NamedTuple):
    """A slot of a put, times in [us since 1970-01-01T00:00Z]."""

    start_us: int
    end_us: int
    value: float | Gap
    quality: DataQuality
    kind: SlotKind
    bounds: Bounds | None
    put: str


class Piece(NamedTuple):
    """A stretch of time and the row that holds in it."""

    start_us: int
    end_us: int
    row: Row


def rows_of(series: CarbonSeries | PriceSeries, put: str) -> list[Row]:
    """The slots of a series as rows. Raises InvalidQuantity for an edge that is no whole microsecond."""
    told = [told_by(quality) for quality in series.qualities]
    known = {kind for value, kind in zip(series.values, told, strict=True) if not isinstance(value, Gap)}
    # The quality of a gap says nothing: in a series that only looks ahead, its gaps are gaps of the forecast.
    of_gaps = next((kind for kind in SlotKind if kind in known), SlotKind.ACTUAL)
    edges = [micros_of(edge) for edge in series.edges_s]
    rows = []
    for i, value in enumerate(series.values):
        kind = of_gaps if isinstance(value, Gap) else told[i]
        bounds = series.bounds[i] if series.bounds else None
        rows.append(Row(edges[i], edges[i + 1], value, series.qualities[i], kind, bounds, put))
    return rows


def touching(rows: Iterable[Row], puts: dict[str, Put], window: Interval) -> list[Row]:
    """Those of these puts and this window that can be on top: of slots with the very same span, the newest word."""
    start_us, end_us = micros(window.start), micros(window.end)
    best: dict[tuple[int, int, SlotKind], Row] = {}
    for row in rows:
        if row.start_us >= end_us or row.end_us <= start_us or row.put not in puts:
            continue
        span = (row.start_us, row.end_us, row.kind)
        other = best.get(span)
        if other is None or (other.put != row.put and _word(row, puts) > _word(other, puts)):
            best[span] = row
    return list(best.values())


def _word(row: Row, puts: dict[str, Put]) -> tuple[bool, datetime, datetime, str]:
    return (row.value is not Gap.MISSING, *puts[row.put].order)


def known_pieces(rows: Sequence[Row], puts: dict[str, Put], *, forecasts: bool) -> list[Piece]:
    """What is known of each time: the newest word on what was; where there is no value, the newest forecast, and
    where there is none of that either, the newest figure that stands in."""
    actual, *others = (_newest([row for row in rows if row.kind is kind], puts) for kind in SlotKind)
    if not forecasts or not any(others):
        return actual
    ranked = [(_standing(piece.row), piece) for pieces in (actual, *others) for piece in pieces]
    return _laid([(piece.start_us, piece.end_us, (rank,), piece.row) for rank, piece in ranked])


def forecast_pieces(rows: Sequence[Row], puts: dict[str, Put]) -> list[Piece]:
    """The newest forecast of each time, of those that say when they were issued."""
    said = [row for row in rows if row.kind is SlotKind.FORECAST and puts[row.put].issued_at is not None]
    return _newest(said, puts)


def _newest(rows: Sequence[Row], puts: dict[str, Put]) -> list[Piece]:
    return _laid([(row.start_us, row.end_us, _word(row, puts), row) for row in rows])


def _standing(row: Row) -> int:
    if row.value is Gap.MISSING:
        return 0
    kinds = list(SlotKind)  # the best first
    below = len(kinds) - kinds.index(row.kind)
    return below if isinstance(row.value, Gap) else len(kinds) + below


K = TypeVar("K", bound=tuple[object, ...])


class _Down:
    """Turns an order round, for a heap that gives the least first."""

    __slots__ = ("key",)

    def __init__(self, key: tuple[object, ...]) -> None:
        self.key = key

    def __lt__(self, other: _Down) -> bool:
        return self.key > other.key


def _laid(ranked: list[tuple[int, int, K, Row]]) -> list[Piece]:
    """Pieces that do not overlap, in the order of time: at every moment the highest rank. O(n log n)."""
    ranked.sort(key=lambda one: (one[0], one[1]))
    if all(before[1] <= after[0] for before, after in pairwise(ranked)):
        return [Piece(start, end, row) for start, end, _, row in ranked]
    edges = sorted({edge for start, end, *_ in ranked for edge in (start, end)})
    found: list[Piece] = []
    heap: list[tuple[_Down, int, int, Row]] = []
    at = 0
    for start, end in pairwise(edges):
        while at < len(ranked) and ranked[at][0] <= start:
            _, until, rank, row = ranked[at]
            heapq.heappush(heap, (_Down(rank), at, until, row))
            at += 1
        while heap and heap[0][2] <= start:
            heapq.heappop(heap)
        if not heap:
            continue
        row = heap[0][3]
        if found and found[-1].end_us == start and found[-1].row is row:
            found[-1] = Piece(found[-1].start_us, end, row)
        else:
            found.append(Piece(start, end, row))
    return found


def known_us(pieces: Iterable[Piece], window: Interval, kinds: frozenset[SlotKind]) -> int:
    """How much of the window has a value, of slots of these kinds [us]."""
    start, end = micros(window.start), micros(window.end)
    return sum(
        max(0, min(piece.end_us, end) - max(piece.start_us, start))
        for piece in pieces
        if piece.row.kind in kinds and not isinstance(piece.row.value, Gap)
    )


def series_from(
    pieces: Sequence[Piece], window: Interval, meaning: Meaning, zone: str, puts: dict[str, Put]
) -> tuple[CarbonSeries | PriceSeries, tuple[Put, ...]]:
    """The pieces as one series over exactly the window, and the puts that have a slot in it, oldest first: all of
    `puts` where none has.

    Prediction intervals are kept where every slot has one.
    """
    if window.seconds <= 0:
        raise InvalidQuantity("window", str(window), "give it a length above zero")
    start, end = micros(window.start), micros(window.end)
    edges, values, qualities = [start], list[float | Gap](), list[DataQuality]()
    bounds: list[Bounds | None] = []
    used: dict[str, Put] = {}

    def put(until: int, row: Row | None) -> None:
        edges.append(until)
        values.append(Gap.MISSING if row is None else row.value)
        qualities.append(DataQuality.ESTIMATED if row is None else row.quality)
        bounds.append(None if row is None else row.bounds)

    for piece in pieces:
        first, last = max(piece.start_us, start), min(piece.end_us, end)
        if last <= first:
            continue
        if first > edges[-1]:
            put(first, None)
        put(last, piece.row)
        used.setdefault(piece.row.put, puts[piece.row.put])
    if edges[-1] < end:
        put(end, None)
    seen = tuple(sorted((used or puts).values(), key=lambda one: one.order))
    origin = _origin_of(seen, zone)
    edges_s = tuple(edge / 1e6 for edge in edges)
    kept = tuple(bounds) if any(bounds) else ()
    if isinstance(meaning, PriceMeaning):
        return PriceSeries(meaning, edges_s, tuple(values), tuple(qualities), origin, kept), seen
    if not isinstance(meaning, CarbonMeaning):
        raise TypeError(f"{meaning!r} is no question of a grid")
    return CarbonSeries(meaning, edges_s, tuple(values), tuple(qualities), origin, kept), seen


def _origin_of(puts: Sequence[Put], zone: str) -> Origin:
    if len(puts) == 1:
        return puts[0].origin
    origins = [put.origin for put in puts]
    issued = [origin.issued_at for origin in origins if origin.issued_at is not None]
    return Origin(
        provider=origins[0].provider,
        zone=_joined(origin.zone for origin in origins) or zone,
        source=_joined(origin.source for origin in origins),
        licence=_joined(origin.licence for origin in origins),
        method=_joined(origin.method for origin in origins),
        issued_at=max(issued, default=None),
        retrieved_at=max(put.retrieved_at for put in puts),
        vintage=_joined(origin.vintage for origin in origins),
    )


def _joined(texts: Iterable[str]) -> str:
    every = list(dict.fromkeys(text for text in texts if text))
    if len(every) <= _SOURCES_NAMED:
        return "; ".join(every)
    return "; ".join([*every[-_SOURCES_NAMED:], f"and {len(every) - _SOURCES_NAMED} more"])
