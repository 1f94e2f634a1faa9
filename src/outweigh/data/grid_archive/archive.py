"""The archive itself: put, ask what was known when, list vintages, merge files."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import partial
from itertools import groupby
from pathlib import Path

from outweigh.core.errors import FactorMissing, GridDataInvalid, InvalidQuantity
from outweigh.core.intervals import Interval
from outweigh.core.series import CarbonMeaning, CarbonSeries, Gap, PriceSeries
from outweigh.data.grid_archive.answered import Answered, answered
from outweigh.data.grid_archive.held import Shelf
from outweigh.data.grid_archive.layout import (
    File,
    Held,
    Meaning,
    SlotKind,
    file_name,
    files_of,
    folder_of,
    held_in,
    in_order,
    micros,
)
from outweigh.data.grid_archive.overlay import (
    Piece,
    Put,
    Row,
    forecast_pieces,
    known_pieces,
    known_us,
    rows_of,
    series_from,
    touching,
)
from outweigh.data.grid_archive.parquet import Engine, looks_again, sweep

AnySeries = CarbonSeries | PriceSeries

_EVER_US = micros(datetime(9999, 12, 31, tzinfo=UTC))
_LARGEST_B = 64 * 2**20  # a file above is not merged again
_LEFT_BEHIND = timedelta(hours=1)


def default_folder() -> Path:
    """Where the archive is when nobody says: OUTWEIGH_GRID_DIR, else `outweigh/grid` in the user's folder for data."""
    given = os.environ.get("OUTWEIGH_GRID_DIR", "")
    if given:
        return Path(given)
    home = os.environ.get("XDG_DATA_HOME", "")
    # The XDG base directory specification: a relative path in the variable is to be ignored.
    base = Path(home) if home and Path(home).is_absolute() else Path.home() / ".local" / "share"
    return base / "outweigh" / "grid"


class Asked(StrEnum):
    """What the archive was asked for."""

    KNOWN = "known"  # what was; where that is not known the newest forecast, and below it what stands in
    ACTUAL = "actual"  # what was, and nothing else
    FORECAST = "forecast"


_KINDS = {
    Asked.KNOWN: frozenset(SlotKind),
    Asked.ACTUAL: frozenset({SlotKind.ACTUAL}),
    Asked.FORECAST: frozenset({SlotKind.FORECAST}),
}
_PIECES: dict[Asked, Callable[[Sequence[Row], dict[str, Put]], list[Piece]]] = {
    Asked.KNOWN: partial(known_pieces, forecasts=True),
    Asked.ACTUAL: partial(known_pieces, forecasts=False),
    Asked.FORECAST: forecast_pieces,
}


@dataclass(frozen=True, slots=True)
class Look:
    """An answer of the archive and the puts it was made of, oldest first: what a decision has seen.

    `zone` is the one asked for, `at` the moment whose knowledge it is; None is all that was ever put.
    """

    zone: str
    at: datetime | None
    series: AnySeries
    puts: tuple[Put, ...]
    asked: Asked


class Archive:
    """An append-only archive of carbon and price series in a folder, for any number of readers and writers at once.

    Nothing that was put is changed by a later put: the past answers as it did. Questions are kept apart by meaning,
    zone and provider; two providers are never spliced. Handing it to another thread or process is fine.

    Args:
        folder: made at the first put; a folder without anything in it is an empty archive.

    Cost: a put is one file, flushed: tens of milliseconds for a day of hours, some 0.3 s for a year, and once 40 ms to
    start DuckDB. A question lists the names in the zone's folder and opens the files whose span and time of retrieval
    touch it: it grows with the puts of that zone and question, not with the archive. `compact` merges the puts of a
    month. See benchmarks/archive.py.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._engine = Engine()
        self._shelf = Shelf(self._engine)

    def __reduce__(self) -> tuple[type[Archive], tuple[Path]]:
        return (type(self), (self.folder,))

    # --- putting --------------------------------------------------------------------------------------

    def put(self, series: AnySeries, *, retrieved_at: datetime | None = None, zone: str = "", backend: str = "") -> str:
        """Keep a series as it was known from `retrieved_at` on; returns its digest, with which it can be replayed.

        When this returns, the series is whole on disk; a process killed before leaves nothing of it. The same series
        put again is the same put.

        Args:
            retrieved_at: default: what the series says of itself.
            zone: what was asked for, where the figures are of a larger one; default: the series' own.
            backend: the grid source that fetched it.

        Raises:
            InvalidQuantity: nobody says when it was retrieved, or an edge is no whole microsecond.
            GridDataInvalid: it has values measured after it was retrieved.
            OutputError: the folder cannot be written. MissingExtra: DuckDB is not installed.
        """
        known_from = retrieved_at or series.origin.retrieved_at
        if known_from is None:
            raise InvalidQuantity("retrieved_at", "None", "say from when on this was known")
        origin = replace(series.origin, retrieved_at=known_from.astimezone(UTC))
        series = replace(series, origin=origin)  # checks the clocks once more
        zone = zone or origin.zone
        rows = rows_of(series, "")
        kinds = frozenset(row.kind for row in rows)
        digest = digest_of(series, zone, backend)
        since_us = micros(known_from)
        name = file_name(rows[0].start_us, rows[-1].end_us, since_us, kinds, digest)
        final = folder_of(self.folder, series.meaning, zone) / name
        if not os.path.lexists(final):  # unlike Path.exists, no OSError for a name that is too long
            self._engine.write(final, zone, series.meaning, origin, since_us, backend, digest, rows)
        return digest

    # --- asking ---------------------------------------------------------------------------------------

    def known(
        self,
        zone: str,
        meaning: Meaning,
        window: Interval,
        at: datetime | None = None,
        *,
        forecasts: bool = True,
        provider: str = "",
    ) -> AnySeries:
        """What was known of the window at the moment `at`, slot by slot: the newest issue retrieved by then.

        Where nothing was known of what was, the newest forecast stands in and says so (`DataQuality.FORECAST`); where
        there is none, a figure of another time does (a typical day, a year, what was declared), and says so too.

        Args:
            at: default: now, with all that was ever put.
            forecasts: False leaves a gap instead of a forecast, or of what stands in.
            provider: default: the one that covers most of the window, with what was before what was expected, and both
                before what only stands in.

        Raises:
            FactorMissing: nothing of that zone and question was known at that moment.
            GridDataInvalid: a file is damaged; it is named.
        """
        return self.look(zone, meaning, window, at, forecasts=forecasts, provider=provider).series

    def forecast_as_of(
        self, zone: str, meaning: Meaning, window: Interval, at: datetime | None = None, *, provider: str = ""
    ) -> AnySeries:
        """The newest forecast of each slot that was known at `at`; raises as `known`."""
        return self.look_ahead(zone, meaning, window, at, provider=provider).series

    def look(
        self,
        zone: str,
        meaning: Meaning,
        window: Interval,
        at: datetime | None = None,
        *,
        forecasts: bool = True,
        provider: str = "",
    ) -> Look:
        """As `known`, with the puts it was made of."""
        asked = Asked.KNOWN if forecasts else Asked.ACTUAL
        return self._look(zone, meaning, window, at, provider, asked)

    def look_ahead(
        self, zone: str, meaning: Meaning, window: Interval, at: datetime | None = None, *, provider: str = ""
    ) -> Look:
        """As `forecast_as_of`, with the puts it was made of."""
        return self._look(zone, meaning, window, at, provider, Asked.FORECAST)

    def replay(
        self, zone: str, meaning: Meaning, window: Interval, puts: Sequence[str], *, asked: Asked = Asked.KNOWN
    ) -> AnySeries:
        """The same answer once more, from these puts alone, whatever came later.

        Raises:
            FactorMissing: one of the puts is not in this archive.
        """
        wanted = list(puts)
        start_us, end_us = micros(window.start), micros(window.end)
        nearby = True  # a window of gaps may have been answered by a put that lies beside it
        for _ in looks_again():
            files = files_of(folder_of(self.folder, meaning, zone))
            if nearby:
                files = [file for file in files if file.start_us < end_us and file.end_us > start_us]
            rows = self._shelf.rows(files, zone, window) if files else []
            every = self._shelf.puts(files, zone, _EVER_US) if files else {}
            if rows is None or every is None:
                continue
            lost = [put for put in wanted if put not in every]
            if lost and nearby:
                nearby = False
                continue
            if lost or not wanted:
                raise FactorMissing(
                    str(meaning), zone, (), f"The vintage {', '.join(lost) or 'it saw'} is not in {self.folder}"
                )
            held = {put: every[put] for put in wanted}
            pieces = _PIECES[asked](touching(rows, held, window), held)
            return series_from(pieces, window, meaning, zone, held)[0]
        raise self._restless()

    def vintages(self, zone: str, meaning: Meaning, at: datetime | None = None) -> tuple[Put, ...]:
        """Every put of that zone and question known at `at`, oldest first; none where there is none."""
        at_us = _EVER_US if at is None else micros(at)
        for _ in looks_again():
            files = [file for file in files_of(folder_of(self.folder, meaning, zone)) if file.known_us <= at_us]
            puts = self._shelf.puts(files, zone, at_us) if files else {}
            if puts is not None:
                return tuple(sorted(puts.values(), key=lambda put: put.order))
        raise self._restless()

    def answered(
        self, zone: str, meaning: Meaning, window: Interval, backend: str, settles: timedelta
    ) -> tuple[Answered, ...]:
        """What that grid source has answered for the window at least `settles` after its time, in order of time."""
        start_us, end_us = micros(window.start), micros(window.end)
        for _ in looks_again():
            every = files_of(folder_of(self.folder, meaning, zone))
            files = [file for file in every if file.start_us < end_us and file.end_us > start_us]
            rows = self._shelf.rows(files, zone, window) if files else []
            puts = self._shelf.puts(files, zone, _EVER_US) if files else {}
            if rows is not None and puts is not None:
                mine = {name: put for name, put in puts.items() if put.backend == backend}
                return tuple(answered(rows, mine, window, settles))
        raise self._restless()

    def held(self, zone: str = "", at: datetime | None = None) -> tuple[Held, ...]:
        """What zones and questions there is something of, known at `at`; from the names of files alone. Of a zone,
        questions that nothing but stand-ins answers come last."""
        found = held_in(self.folder, None if at is None else micros(at), zone)
        guessed = frozenset({SlotKind.STAND_IN})
        return tuple(sorted(found, key=lambda one: (one.zone, one.kinds == guessed, in_order(one.meaning))))

    def zones(self, at: datetime | None = None) -> tuple[str, ...]:
        return tuple(sorted({one.zone for one in self.held(at=at)}))

    # --- keeping it small -----------------------------------------------------------------------------

    def compact(self, progress: Callable[[str, float], None] | None = None) -> int:
        """Merge the puts of a zone, question and month into one file; every row stays. Returns files that went.

        Needs no lock: a merged file is whole and counted before what it was made of goes, and a row that is there
        twice is one. Who reads meanwhile looks again; who writes adds files that are not touched.
        """
        tables = self.held()
        gone = 0
        for number, one in enumerate(tables):
            if progress is not None:
                progress(f"{one.zone}", number / len(tables))
            folder = folder_of(self.folder, one.meaning, one.zone)
            sweep(folder, datetime.now(UTC) - _LEFT_BEHIND)
            for _, files in groupby(files_of(folder), key=lambda file: file.path.name[:6]):
                small = [file for file in files if _size(file) < _LARGEST_B]
                if len(small) > 1:
                    gone += self._merged(folder, small)
        return gone

    def _merged(self, folder: Path, files: list[File]) -> int:
        digest = hashlib.sha256("".join(sorted(file.digest for file in files)).encode()).hexdigest()[:32]
        name = file_name(
            min(file.start_us for file in files),
            max(file.end_us for file in files),
            min(file.known_us for file in files),
            frozenset().union(*(file.kinds for file in files)),
            digest,
        )
        final = folder / name
        if not self._engine.merge(final, files):
            return 0  # somebody else merges them
        whole = File(final, 0, 0, 0, frozenset(), digest)
        kept, owed = self._engine.count([whole]), self._engine.count(files)
        if kept is None or owed is None:
            return 0
        if kept != owed:
            raise GridDataInvalid("archive", str(final), "it has not all the rows it was made of", "Report this")
        for file in files:
            with contextlib.suppress(FileNotFoundError):
                file.path.unlink()
        return len(files) - 1

    # --- in private -----------------------------------------------------------------------------------

    def _look(
        self,
        zone: str,
        meaning: Meaning,
        window: Interval,
        at: datetime | None,
        provider: str,
        asked: Asked,
    ) -> Look:
        kinds, pieces_of = _KINDS[asked], _PIECES[asked]
        told = asked is not Asked.FORECAST  # what does not say when it was issued is no forecast to go by
        at_us = _EVER_US if at is None else micros(at)
        start_us, end_us = micros(window.start), micros(window.end)
        for _ in looks_again():
            every = files_of(folder_of(self.folder, meaning, zone))
            visible = [file for file in every if file.known_us <= at_us and file.kinds & kinds]
            if not visible:
                break
            files = [file for file in visible if file.start_us < end_us and file.end_us > start_us]
            rows = self._shelf.rows(files, zone, window) if files else []
            # Where nothing touches the window, an answer of gaps still says whose they are.
            puts = self._shelf.puts(files or visible[-1:], zone, at_us)
            if rows is None or puts is None:
                continue
            by_provider: dict[str, dict[str, Put]] = {}
            for put in puts.values():
                if put.kinds & kinds and provider in ("", put.provider) and (told or put.issued_at is not None):
                    by_provider.setdefault(put.provider, {})[put.id] = put
            if not by_provider:
                break
            laid = {name: pieces_of(touching(rows, held, window), held) for name, held in by_provider.items()}
            chosen = min(laid, key=lambda name: _preference(name, laid[name], window))
            series, seen = series_from(laid[chosen], window, meaning, zone, by_provider[chosen])
            return Look(zone, at, series, seen, asked)
        else:
            raise self._restless()
        when = "" if at is None else f" by {at:%Y-%m-%dT%H:%M:%SZ}"
        what = f"forecast of {meaning}" if asked is Asked.FORECAST else str(meaning)
        raise FactorMissing(
            what, zone, (), f"The archive {self.folder} holds none{when}; `outweigh grid fetch {zone}` fills it"
        )

    def _restless(self) -> GridDataInvalid:
        return GridDataInvalid(
            "archive", str(self.folder), "its files keep vanishing while they are read", "Let one process merge them"
        )


def _preference(provider: str, pieces: list[Piece], window: Interval) -> tuple[int, int, int, str]:
    actual, ahead, stand_in = (known_us(pieces, window, frozenset({kind})) for kind in SlotKind)
    return (-actual, -(actual + ahead), -stand_in, provider)


def digest_of(series: AnySeries, zone: str = "", backend: str = "") -> str:
    """A digest of all that a series says, to the last bit: the same on every machine. SHA-256, 32 hex digits of it."""
    origin, meaning = series.origin, series.meaning
    kind = "carbon" if isinstance(meaning, CarbonMeaning) else "price"
    said = [
        kind, str(meaning), zone, backend,
        origin.provider, origin.zone, origin.source, origin.licence, origin.method, origin.vintage,
        origin.issued_at and micros(origin.issued_at), origin.retrieved_at and micros(origin.retrieved_at),
        [edge.hex() for edge in map(float, series.edges_s)],
        [value.value if isinstance(value, Gap) else float(value).hex() for value in series.values],
        [str(quality) for quality in series.qualities],
        [b and [float(b.low).hex(), float(b.high).hex(), b.confidence] for b in series.bounds],
    ]  # fmt: skip
    return hashlib.sha256(json.dumps(said, separators=(",", ":")).encode()).hexdigest()[:32]


def _size(file: File) -> int:
    try:
        return file.path.stat().st_size
    except FileNotFoundError:
        return _LARGEST_B
