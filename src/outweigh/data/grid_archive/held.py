"""What was read of files stays in memory: they never change, and a back-test looks at the same ones again and again."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence

from outweigh.core.intervals import Interval
from outweigh.data.grid_archive.layout import File, micros
from outweigh.data.grid_archive.overlay import Put, Row
from outweigh.data.grid_archive.parquet import Engine

_ROWS_KEPT = 100_000  # some 25 MB
_PUTS_KEPT = 50_000
_LONG = 8  # a file that spans so many times the window is read in part, and not kept


class Shelf:
    """Rows and puts of files, as far as they were read. Threads may share it."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._lock = threading.Lock()
        self._rows: OrderedDict[str, list[Row]] = OrderedDict()
        self._puts: dict[str, list[Put]] = {}
        self._size = 0

    def puts(self, files: Sequence[File], zone: str, at_us: int) -> dict[str, Put] | None:
        """Every put in the files that was known by `at_us`; None where a file has vanished."""
        with self._lock:
            fresh = [file for file in files if file.path.name not in self._puts]
        read = self._engine.puts(fresh, zone) if fresh else {}
        if read is None:
            return None
        with self._lock:
            if len(self._puts) > _PUTS_KEPT:
                self._puts.clear()
            self._puts |= read
            every = [put for file in files for put in self._puts.get(file.path.name, ())]
        return {put.id: put for put in every if micros(put.retrieved_at) <= at_us}

    def rows(self, files: Sequence[File], zone: str, window: Interval) -> list[Row] | None:
        """Slots of the files, at least those that touch the window; None where a file has vanished."""
        longest_us = _LONG * int(window.seconds * 1e6)
        with self._lock:
            kept = [self._take(file) for file in files]
        wanted = [file for file, rows in zip(files, kept, strict=True) if rows is None]
        long = [file for file in wanted if file.end_us - file.start_us > longest_us]
        short = [file for file in wanted if file.end_us - file.start_us <= longest_us]
        in_part = self._engine.rows(long, zone, window) if long else {}
        whole = self._engine.rows(short, zone, None) if short else {}
        if in_part is None or whole is None:
            return None
        with self._lock:
            for name, rows in whole.items():
                self._keep(name, rows)
        return [row for rows in (*kept, *whole.values(), *in_part.values()) if rows for row in rows]

    def _take(self, file: File) -> list[Row] | None:
        rows = self._rows.get(file.path.name)
        if rows is not None:
            self._rows.move_to_end(file.path.name)
        return rows

    def _keep(self, name: str, rows: list[Row]) -> None:
        if name in self._rows:
            return
        self._rows[name] = rows
        self._size += len(rows)
        while self._size > _ROWS_KEPT and len(self._rows) > 1:
            self._size -= len(self._rows.popitem(last=False)[1])
