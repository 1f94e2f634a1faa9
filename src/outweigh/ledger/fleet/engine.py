"""DuckDB as the fleet's room uses it: in memory, fetching nothing from anywhere, its troubles told as ours."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from outweigh.core.errors import LedgerCorrupt, LedgerError, MissingExtra


class Vanished(Exception):
    """A file that was listed is not there any more: look again. Never leaves this room."""


class Engine:
    """One database in memory for a process; every question takes a cursor of its own, so threads may ask at once.

    Args:
        threads: of one question.

    Raises:
        MissingExtra: DuckDB is not installed.
    """

    def __init__(self, threads: int = 2) -> None:
        self._threads = threads
        self._lock = threading.Lock()
        self._held: tuple[int, Any] | None = None
        load_duckdb()

    def ask(
        self, query: str, parameters: Sequence[Any] = (), *, tables: Mapping[str, Mapping[str, Any]] | None = None
    ) -> dict[str, Any]:
        """The columns of an answer as NumPy arrays, masked where null.

        Args:
            tables: name -> columns, to be found in the query under that name.

        Raises:
            Vanished, LedgerCorrupt, LedgerError.
        """
        columns: dict[str, Any] = self._run(query, parameters, tables, lambda cursor: cursor.fetchnumpy())
        return columns

    def do(
        self,
        statements: Sequence[tuple[str, Sequence[Any]]],
        *,
        tables: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> None:
        """Statements one after the other on one cursor. Raises as `ask`."""
        *before, (last, parameters) = statements
        self._run(last, parameters, tables, lambda _: None, before)

    def close(self) -> None:
        with self._lock:
            if self._held is not None:
                self._held[1].close()
                self._held = None

    def _cursor(self) -> Any:
        with self._lock:
            if self._held is None or self._held[0] != os.getpid():  # a connection does not live on in a forked child
                settings: dict[str, Any] = {
                    "threads": self._threads, "autoinstall_known_extensions": False,
                    "autoload_known_extensions": False, "temp_directory": "",
                }  # fmt: skip
                connection = load_duckdb().connect(":memory:", config=settings)
                connection.execute("SET parquet_metadata_cache = true")
                self._held = (os.getpid(), connection)
            return self._held[1].cursor()

    def _run(
        self,
        query: str,
        parameters: Sequence[Any],
        tables: Mapping[str, Mapping[str, Any]] | None,
        fetch: Any,
        before: Sequence[tuple[str, Sequence[Any]]] = (),
    ) -> Any:
        duckdb = load_duckdb()
        cursor = self._cursor()
        try:
            for name, columns in (tables or {}).items():
                cursor.register(name, dict(columns))
            for statement, given in before:
                cursor.execute(statement, given)
            cursor.execute(query, parameters)
            return fetch(cursor)
        except RuntimeError as err:
            # DuckDB 2.0 swallows the KeyboardInterrupt that a signal raised and throws this in its place.
            if str(err) != "Query interrupted":
                raise
            raise KeyboardInterrupt from err
        except duckdb.Error as err:
            raise _told(err, [*parameters, *(each for _, given in before for each in given)]) from err
        finally:
            cursor.close()


def _told(err: Exception, parameters: Sequence[Any]) -> Exception:
    duckdb = load_duckdb()
    text = str(err).splitlines()[0]
    files = [Path(unescaped(name)) for given in parameters if isinstance(given, list) for name in given]
    if "No files found" in text or "No such file" in text or not all(path.exists() for path in files):
        return Vanished(text)
    for path in files:
        try:
            with duckdb.connect(":memory:", config={"threads": 1}) as connection:
                connection.execute("SELECT count(COLUMNS(*)) FROM read_parquet(?)", [literal(path)])
        except duckdb.Error as of_file:
            return LedgerCorrupt(
                str(path), f"the file is damaged ({str(of_file).splitlines()[0]})",
                "Restore it from a backup, or move it away to read the others",
            )  # fmt: skip
    where = str(files[0].parent) if files else "fleet"
    return LedgerError(
        where, f"samples cannot be read or written ({text})", "Make room, and the folder readable and writable"
    )


def literal(path: Path) -> str:
    """The path as a name and no pattern."""
    return re.sub(r"([\[*?])", r"[\1]", str(path))


def unescaped(name: str) -> str:
    return re.sub(r"\[([\[*?])\]", r"\1", name)


def quoted(text: str) -> str:
    """A text as SQL writes it."""
    return "'" + text.replace("'", "''") + "'"


def load_duckdb() -> Any:
    try:
        import duckdb
    except ImportError as err:
        raise MissingExtra("duckdb", "a fleet's samples", "pip install 'outweigh[samples]'") from err
    return duckdb
