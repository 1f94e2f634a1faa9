"""Power samples in Parquet segments, beside the ledger: many small numbers that no receipt needs to carry.

A run has a folder, `samples/RUN_ID/`, with segments `000001.parquet`, `000002.parquet`, ... of three columns: `t_s`
(double, seconds since the Unix epoch in UTC), `channel` (text) and `power_w` (double, drawn is positive). A segment is
written under another name, flushed, and only then given its own: who reads sees whole segments or none, and a killed
writer loses the one it had not finished. Any Parquet reader opens them: `SELECT * FROM 'samples/RUN_ID/*.parquet'`.
"""

from __future__ import annotations

import contextlib
import math
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from outweigh.core.errors import InvalidQuantity, LedgerCorrupt, LedgerError, MissingExtra
from outweigh.ledger.journal import file_of, sync_folder
from outweigh.ledger.opening import FOLDER
from outweigh.ports import Availability

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_SEGMENT = re.compile(r"(\d{6,})\.parquet")
_TORN = ".torn"


def samples_folder(root: Path) -> Path:
    """Where the samples of the project in folder `root` are kept.

    >>> samples_folder(Path("triage")).as_posix()
    'triage/.outweigh/samples'
    """
    return root / FOLDER / "samples"


@dataclass(frozen=True, slots=True)
class Samples:
    """Samples of one run in the order they were appended: time [s, Unix epoch], channel, power [W], each shape (n,)."""

    t_s: NDArray[np.float64]
    channel: NDArray[np.object_]
    power_w: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.t_s)


class SampleWriter:
    """Appends samples of one run. One writer a run at a time; a later one goes on after the last whole segment.

    Args:
        folder: `samples_folder(...)`; made when it is missing.
        run_id: the run's id; letters, digits, dot, dash and underscore.
        rows: samples a segment. At 10 Hz and two channels the default is a segment every seven minutes.
        longest_s: a segment is closed when its samples span this much, whatever their number [s]. It bounds what a
            kill can lose.
        about: texts kept in every segment's own metadata, such as the address of the receipt.

    Raises:
        MissingExtra: DuckDB is not installed.
        UsageError: the run id cannot be a folder name.
        LedgerError: the folder cannot be written.
    """

    def __init__(
        self,
        folder: Path,
        run_id: str,
        *,
        rows: int = 8192,
        longest_s: float = 60.0,
        about: Mapping[str, str] | None = None,
    ) -> None:
        _duckdb()
        self._about = dict(about or {})
        self.folder = file_of(folder, run_id, suffix="")
        self._rows, self._longest_s = max(1, rows), longest_s
        self._t_s: list[float] = []
        self._channel: list[str] = []
        self._power_w: list[float] = []
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            for torn in self.folder.glob(f"*{_TORN}"):  # of a writer that was killed
                torn.unlink()
            sync_folder(folder)
        except OSError as err:
            raise _cannot(self.folder, err) from err
        self._number = max((number for number, _ in _segments(self.folder)), default=0)

    def append(self, t_s: float, channel: str, power_w: float) -> None:
        """Add a sample; every so often this writes a segment, which takes milliseconds.

        Raises:
            InvalidQuantity: a time or power that is not a finite number. A missing reading is not appended.
            LedgerError: the segment cannot be written. Its samples are kept in memory for the next try.
        """
        if not (math.isfinite(t_s) and math.isfinite(power_w)):
            raise InvalidQuantity("sample", f"({t_s}, {power_w})", "leave out what was not read")
        self._t_s.append(t_s)
        self._channel.append(channel)
        self._power_w.append(power_w)
        if len(self._t_s) >= self._rows or t_s - self._t_s[0] >= self._longest_s:
            self.flush()

    def flush(self) -> None:
        """Write what is in memory as a segment of its own. Raises LedgerError."""
        if not self._t_s:
            return
        final = self.folder / f"{self._number + 1:06d}.parquet"
        torn = final.with_suffix(_TORN)
        try:
            with _open(self.folder) as connection:
                connection.execute("CREATE TABLE segment (t_s DOUBLE, channel VARCHAR, power_w DOUBLE)")
                connection.execute(
                    "INSERT INTO segment SELECT unnest(?::DOUBLE[]), unnest(?::VARCHAR[]), unnest(?::DOUBLE[])",
                    [self._t_s, self._channel, self._power_w],
                )
                pairs = ", ".join(f"{_quoted(key)}: {_quoted(text)}" for key, text in self._about.items())
                about = f", KV_METADATA {{{pairs}}}" if pairs else ""
                connection.execute(f"COPY segment TO {_quoted(str(torn))} (FORMAT parquet, COMPRESSION zstd{about})")
            _flush_file(torn)
            torn.rename(final)
            sync_folder(self.folder)
        except OSError as err:
            with contextlib.suppress(OSError):
                torn.unlink(missing_ok=True)
            raise _cannot(self.folder, err) from err
        self._number += 1
        self._t_s, self._channel, self._power_w = [], [], []

    def close(self) -> None:
        self.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


def read_samples(
    folder: Path,
    run_id: str,
    *,
    channels: Sequence[str] = (),
    start_s: float = -math.inf,
    end_s: float = math.inf,
) -> Samples:
    """Samples of a run in the half-open time [start_s, end_s), of some channels or all.

    What a killed writer left unfinished is passed over. A run without samples gives none.

    Raises:
        MissingExtra: DuckDB is not installed.
        LedgerCorrupt: a segment is damaged; it is named.
        LedgerError: the folder cannot be read.
    """
    import numpy as np

    of_run = file_of(folder, run_id, suffix="")
    parts: list[dict[str, Any]] = []
    with _open(of_run) as connection:
        for _, path in _segments(of_run):
            parts.append(_segment(connection, path, list(channels), start_s, end_s))
    if not parts:
        return Samples(np.empty(0), np.empty(0, dtype=object), np.empty(0))
    return Samples(*(np.concatenate([part[name] for part in parts]) for name in ("t_s", "channel", "power_w")))


def _segment(connection: Any, path: Path, channels: list[str], start_s: float, end_s: float) -> dict[str, Any]:
    import duckdb
    import numpy as np

    # The name is a name and no pattern, and no part of it is a column.
    name = re.sub(r"([\[*?])", r"[\1]", str(path))
    query = (
        "SELECT t_s, channel, power_w FROM read_parquet(?, hive_partitioning = false, file_row_number = true) "
        "WHERE t_s >= ? AND t_s < ? AND (len(?::VARCHAR[]) = 0 OR list_contains(?::VARCHAR[], channel)) "
        "ORDER BY file_row_number"
    )
    try:
        found = connection.execute(query, [name, start_s, end_s, channels, channels]).fetchnumpy()
    except duckdb.Error as err:
        raise LedgerCorrupt(
            str(path), "the segment is damaged", "Restore it from a backup, or move it away to read the others"
        ) from err
    return {column: np.asarray(found[column]) for column in ("t_s", "channel", "power_w")}


def has_samples(folder: Path, run_id: str) -> bool:
    """Whether a run has samples in `folder`; needs no DuckDB."""
    return bool(_segments(file_of(folder, run_id, suffix="")))


def about_samples(folder: Path, run_id: str) -> dict[str, str]:
    """What a run's first segment says of itself. Empty without samples. Raises as `read_samples`."""
    found = _segments(file_of(folder, run_id, suffix=""))
    if not found:
        return {}
    with _open(folder) as connection:
        rows = connection.execute("SELECT key, value FROM parquet_kv_metadata(?)", [str(found[0][1])]).fetchall()
    return {bytes(key).decode(): bytes(value).decode() for key, value in rows}


def samples_state() -> Availability:
    """Whether samples can be kept here, for `outweigh doctor`."""
    sees = "power over time of every run, as Parquet segments beside the ledger"
    try:
        _duckdb()
    except MissingExtra as err:
        lost = "DuckDB is not installed; receipts are whole without it, and no power over time is kept"
        return Availability("parquet", usable=False, sees=sees, reason=lost, remedy=err.remedy)
    return Availability("parquet", usable=True, sees=sees)


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _segments(folder: Path) -> list[tuple[int, Path]]:
    try:
        found = [(_SEGMENT.fullmatch(path.name), path) for path in folder.iterdir()]
    except FileNotFoundError:
        return []
    except OSError as err:
        raise _cannot(folder, err) from err
    return sorted((int(match[1]), path) for match, path in found if match)


def _flush_file(path: Path) -> None:
    handle = os.open(path, os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _cannot(folder: Path, err: OSError) -> LedgerError:
    return LedgerError(
        str(folder), f"samples cannot be kept there ({err.strerror or err})", "Make room and the folder writable"
    )


def _duckdb() -> Any:
    try:
        import duckdb
    except ImportError as err:
        raise MissingExtra("duckdb", "keeping samples", "pip install 'outweigh[samples]'") from err
    return duckdb


@contextmanager
def _open(folder: Path) -> Iterator[Any]:
    """An engine in memory, of one thread, that fetches nothing from anywhere; its troubles with files are OSErrors."""
    duckdb = _duckdb()
    settings = {"threads": 1, "autoinstall_known_extensions": False, "autoload_known_extensions": False}
    with closing(duckdb.connect(":memory:", config=settings)) as connection:
        try:
            yield connection
        except duckdb.IOException as err:
            raise OSError(None, str(err).splitlines()[0], str(folder)) from err
