"""The files of the archive: written whole or not at all, never changed, read by DuckDB.

A row is a slot, and carries everything that was said of it. Its columns are those of a user's own file (docs/grid.md),
so any file of the archive can be read as `file:PATH`, and any Parquet reader opens them all:
`SELECT * FROM 'FOLDER/v1/carbon/*/DE/*.parquet'`.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import threading
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar

from outweigh.core.errors import GridDataInvalid, MissingExtra, OutputError
from outweigh.core.intervals import Bounds, Interval
from outweigh.core.series import CarbonMeaning, DataQuality, Gap, Origin
from outweigh.data.grid_archive.layout import File, Meaning, SlotKind, micros, stamp_of, told_by
from outweigh.data.grid_archive.overlay import Put, Row

TORN = ".torn"
_LOOK_AGAIN = 20  # times a file may vanish under a reader, into one that was merged

# What is the same in all slots of a put. `put` is its digest.
_OF_PUT = ("put", "provider", "of_zone", "source", "licence", "method", "vintage", "backend")
_SCHEMA = """
SELECT
    ?::VARCHAR AS zone,
    make_timestamptz(unnest(?::BIGINT[])) AS start, make_timestamptz(unnest(?::BIGINT[])) AS "end",
    unnest(?::DOUBLE[]) AS value, ?::VARCHAR AS unit,
    ?::VARCHAR AS kind, ?::VARCHAR AS scope, ?::VARCHAR AS accounting, ?::VARCHAR AS market, ?::VARCHAR AS taxes,
    unnest(?::VARCHAR[]) AS quality,
    CASE WHEN ?::BIGINT IS NULL THEN NULL ELSE make_timestamptz(?::BIGINT) END AS issued_at,
    make_timestamptz(?::BIGINT) AS retrieved_at,
    unnest(?::VARCHAR[]) AS gap, unnest(?::VARCHAR[]) AS tells,
    unnest(?::DOUBLE[]) AS low, unnest(?::DOUBLE[]) AS high, unnest(?::DOUBLE[]) AS confidence,
    ?::VARCHAR AS source, ?::VARCHAR AS licence, ?::VARCHAR AS provider, ?::VARCHAR AS of_zone, ?::VARCHAR AS method,
    ?::VARCHAR AS vintage, ?::VARCHAR AS backend, ?::VARCHAR AS put
"""
# Files of before there were stand-ins call them actual slots.
_GUESSES = ", ".join(f"'{quality}'" for quality in DataQuality if told_by(quality) is SlotKind.STAND_IN)
_TELLS = f"CASE WHEN tells = 'a' AND gap IS NULL AND quality IN ({_GUESSES}) THEN 's' ELSE tells END"
_FILES = "read_parquet(?::VARCHAR[], hive_partitioning = false, filename = true)"
_ROWS = f"""
SELECT filename, epoch_us(start), epoch_us("end"), value, quality, gap, {_TELLS}, low, high, confidence, put
FROM {_FILES} WHERE zone = ?
"""
_TOUCHING = 'AND start < make_timestamptz(?::BIGINT) AND "end" > make_timestamptz(?::BIGINT)'
_PUTS = f"""
SELECT filename, {", ".join(_OF_PUT)}, epoch_us(any_value(issued_at)), epoch_us(any_value(retrieved_at)),
       epoch_us(min(start)), epoch_us(max("end")), count(*), string_agg(DISTINCT {_TELLS}, '')
FROM {_FILES} WHERE zone = ? GROUP BY filename, {", ".join(_OF_PUT)}
"""


class Engine:
    """DuckDB in memory, one thread, fetching nothing from anywhere: one for each thread and process that asks.

    Starting it costs some 40 ms, so all archives of a thread share it; it holds nothing between two questions.
    """

    _local: ClassVar[threading.local] = threading.local()

    def connection(self) -> Any:
        held = getattr(self._local, "held", None)
        if held is not None and held[0] == os.getpid():
            return held[1]
        try:
            import duckdb
        except ImportError as err:
            raise MissingExtra("duckdb", "the archive of a grid", "pip install 'outweigh[live]'") from err
        settings: dict[str, Any] = {
            "threads": 1, "autoinstall_known_extensions": False, "autoload_known_extensions": False,
        }  # fmt: skip
        connection = duckdb.connect(":memory:", config=settings)
        connection.execute("SET TimeZone = 'UTC'")
        self._local.held = (os.getpid(), connection)
        return connection

    def run(self, query: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """All rows of a query. Raises duckdb.Error, and KeyboardInterrupt where it was interrupted."""
        try:
            found: list[tuple[Any, ...]] = self.connection().execute(query, parameters).fetchall()
        except RuntimeError as err:
            # DuckDB 2.0 swallows the KeyboardInterrupt that a signal raised and throws this in its place.
            if str(err) != "Query interrupted":
                raise
            self._local.held = None
            raise KeyboardInterrupt from err
        return found

    # --- writing --------------------------------------------------------------------------------------

    def write(
        self,
        final: Path,
        zone: str,
        meaning: Meaning,
        origin: Origin,
        known_us: int,
        backend: str,
        put: str,
        rows: Sequence[Row],
    ) -> None:
        """Write the slots of one put. When this returns, they outlive a power cut. Raises OutputError."""
        issued = None if origin.issued_at is None else micros(origin.issued_at)
        words = _words(meaning)
        parameters = [
            zone,
            [row.start_us for row in rows], [row.end_us for row in rows],
            [None if isinstance(row.value, Gap) else float(row.value) for row in rows],
            meaning.unit, *words,
            [str(row.quality) for row in rows],
            issued, issued, known_us,
            [row.value.value if isinstance(row.value, Gap) else None for row in rows],
            [str(row.kind) for row in rows],
            [row.bounds and row.bounds.low for row in rows],
            [row.bounds and row.bounds.high for row in rows],
            [row.bounds and row.bounds.confidence for row in rows],
            origin.source, origin.licence, origin.provider, origin.zone, origin.method, origin.vintage, backend, put,
        ]  # fmt: skip
        self._publish(final, _SCHEMA, parameters)

    def merge(self, final: Path, files: Sequence[File]) -> bool:
        """Write all rows of some files, the same ones once, as one file. False where one of them has vanished."""
        query = f'SELECT DISTINCT * EXCLUDE (filename) FROM {_FILES} ORDER BY start, put, "end"'
        try:
            self._publish(final, query, [[_literal(file.path) for file in files]])
        except OutputError:
            if all(file.path.exists() for file in files):
                raise
            return False
        return True

    def count(self, files: Sequence[File]) -> int | None:
        """How many different slots the files hold; None where one has vanished."""
        query = f"SELECT count(*) FROM (SELECT DISTINCT * EXCLUDE (filename) FROM {_FILES})"
        found = self._asked(query, [[_literal(file.path) for file in files]], files)
        return None if found is None else int(found[0][0])

    def _publish(self, final: Path, query: str, parameters: Sequence[Any]) -> None:
        self.connection()
        import duckdb

        torn = final.with_name(f".{final.stem[-32:]}-{os.getpid()}-{secrets.token_hex(4)}{TORN}")
        try:
            _make_folder(final.parent)
            # Not COPY (query): DuckDB takes no parameters there.
            self.run(f"CREATE OR REPLACE TEMP TABLE put_rows AS {query}", parameters)
            quoted = str(torn).replace("'", "''")
            self.run(f"COPY put_rows TO '{quoted}' (FORMAT parquet, COMPRESSION zstd)")
            self.run("DROP TABLE put_rows")
            _flush(torn, os.O_RDWR)
            torn.replace(final)
            _flush_folder(final.parent)
        except (OSError, duckdb.IOException) as err:
            with contextlib.suppress(OSError):
                torn.unlink(missing_ok=True)
            reason = (err.strerror if isinstance(err, OSError) else "") or str(err).splitlines()[0]
            raise OutputError(str(final.parent), reason, "Make room and the folder of the archive writable") from err

    # --- reading --------------------------------------------------------------------------------------

    def rows(self, files: Sequence[File], zone: str, window: Interval | None) -> dict[str, list[Row]] | None:
        """Slots by the name of their file: all of them, or those that touch a window. None where a file has vanished:
        list them again."""
        parameters: list[Any] = [[_literal(file.path) for file in files], zone]
        if window is not None:
            parameters += [micros(window.end), micros(window.start)]
        found = self._asked(_ROWS if window is None else _ROWS + _TOUCHING, parameters, files)
        if found is None:
            return None
        rows: dict[str, list[Row]] = {file.path.name: [] for file in files}
        name = ""
        try:
            for name, start, end, value, quality, gap, tells, low, high, confidence, put in found:
                told = value if gap is None else Gap(gap)
                bounds = None if confidence is None else Bounds(low, high, confidence)
                row = Row(start, end, told, DataQuality(quality), SlotKind(tells), bounds, put)
                rows[_base(name)].append(row)
        except ValueError as err:
            raise _spoilt(name, str(err)) from err
        return rows

    def puts(self, files: Sequence[File], zone: str) -> dict[str, list[Put]] | None:
        """Every put by the name of its file; None where a file has vanished."""
        found = self._asked(_PUTS, [[_literal(file.path) for file in files], zone], files)
        if found is None:
            return None
        puts: dict[str, list[Put]] = {file.path.name: [] for file in files}
        for name, put, provider, of_zone, source, licence, method, vintage, backend, *rest in found:
            issued, retrieved, start, end, slots, tells = rest
            issued_at, retrieved_at = None if issued is None else stamp_of(issued), stamp_of(retrieved)
            origin = Origin(provider, of_zone, source, licence, method, issued_at, retrieved_at, vintage)
            kinds = frozenset(SlotKind(letter) for letter in tells)
            span = Interval(stamp_of(start), stamp_of(end))
            puts[_base(name)].append(Put(put, provider, issued_at, retrieved_at, span, slots, kinds, backend, origin))
        return puts

    def _asked(self, query: str, parameters: list[Any], files: Sequence[File]) -> list[tuple[Any, ...]] | None:
        self.connection()
        import duckdb

        try:
            found = self.run(query, parameters)
        except duckdb.Error as err:
            if _vanished(err) or not all(file.path.exists() for file in files):
                return None
            raise self._damaged(files, err) from err
        return found

    def _damaged(self, files: Sequence[File], err: Exception) -> GridDataInvalid:
        import duckdb

        for file in files:
            try:
                for query in (_ROWS, _PUTS):  # its columns
                    self.run(query, [[_literal(file.path)], ""])
                self.run(f"SELECT count(COLUMNS(*)) FROM {_FILES}", [[_literal(file.path)]])  # every page of it
            except duckdb.Error as of_file:
                why, where = str(of_file).splitlines()[0], str(file.path)
                break
        else:
            why, where = str(err).splitlines()[0], str(files[0].path.parent)
        return _spoilt(where, why)


def looks_again() -> range:
    return range(_LOOK_AGAIN)


def sweep(folder: Path, older_than: datetime) -> None:
    """Remove what killed writers left half written, if it is older than that: a living one may still be at it."""
    for torn in folder.glob(f".*{TORN}"):
        with contextlib.suppress(OSError):
            if datetime.fromtimestamp(torn.stat().st_mtime, UTC) < older_than:
                torn.unlink()


def _words(meaning: Meaning) -> tuple[str | None, ...]:
    if isinstance(meaning, CarbonMeaning):
        return (str(meaning.kind), str(meaning.scope), str(meaning.accounting), None, None)
    return (None, None, None, str(meaning.market), "in" if meaning.taxes else "out")


def _literal(path: Path) -> str:
    """The path as a name and no pattern."""
    return re.sub(r"([\[*?])", r"[\1]", str(path))


def _spoilt(where: str, why: str) -> GridDataInvalid:
    return GridDataInvalid(
        "archive", where, f"the file is damaged ({why})", "Restore it from a backup, or move it away: a gap stays"
    )


def _base(path: str) -> str:
    return path.replace("\\", "/").rpartition("/")[2]


def _vanished(err: BaseException) -> bool:
    return "No files found" in str(err) or "No such file" in str(err)


def _make_folder(folder: Path) -> None:
    missing = [each for each in (folder, *folder.parents) if not each.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for each in missing:
        _flush_folder(each.parent)


def _flush(path: Path, how: int) -> None:
    handle = os.open(path, how)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _flush_folder(folder: Path) -> None:
    """A new name outlives a power cut only when the folder it stands in is flushed too."""
    if os.name == "posix":
        _flush(folder, os.O_RDONLY)
