"""The user's own figures: a CSV or Parquet file of ours, written as docs/grid.md says."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Self

from outweigh.backends.grid._answering import meaning_of, not_offered, plain_names, unknown_zone
from outweigh.core.errors import GridDataInvalid, InvalidQuantity, MissingExtra, UsageError
from outweigh.core.intervals import Interval
from outweigh.core.measurement import Grade
from outweigh.core.quantities import CarbonScope
from outweigh.core.rates import g_per_kwh_in, price_unit
from outweigh.core.series import (
    Accounting,
    CarbonKind,
    CarbonMeaning,
    CarbonSeries,
    DataQuality,
    Gap,
    Market,
    Origin,
    PriceMeaning,
    PriceSeries,
    Slot,
)
from outweigh.ports import Availability, Offer, SourceLimits
from outweigh.registry import grid_sources

_ALWAYS = ("zone", "start", "end", "value", "unit")
_CARBON = ("kind", "scope", "accounting")
_PRICE = ("market", "taxes")
_SAYS = {
    "kind": CarbonKind,
    "scope": CarbonScope,
    "accounting": Accounting,
    "market": Market,
    "quality": DataQuality,
}
_TAXES = {"in": True, "out": False}
_FORMAT = "docs/grid.md shows the columns"


class _Line(NamedTuple):
    number: int
    slot: Slot
    meaning: CarbonMeaning | PriceMeaning
    issued_at: datetime | None
    source: str
    licence: str
    put: str  # of an archive whose file this is; "" elsewhere


@dataclass(slots=True)
class _Held:
    """Everything a file says of one zone."""

    carbon: dict[CarbonMeaning, list[_Line]] = field(default_factory=dict)
    forecasts: dict[CarbonMeaning, list[_Line]] = field(default_factory=dict)
    prices: dict[PriceMeaning, list[_Line]] = field(default_factory=dict)


@grid_sources.register("file")
class FileGrid:
    """Series from one file, read once when first asked. One bad line refuses the whole file, and is named.

    Args:
        path: CSV (".csv", ".csv.gz"), or Parquet (".parquet") with the `samples` extra.
    """

    name: ClassVar[str]

    def __init__(self, path: Path) -> None:
        self._path = path
        self._zones: dict[str, _Held] | None = None

    @classmethod
    def probe(cls) -> Availability:
        return Availability(
            cls.name, usable=True, sees="your own carbon and prices: CSV, Parquet with outweigh[samples]", grade=Grade.B
        )

    @classmethod
    def make(cls, argument: str = "") -> Self:
        if not argument:
            raise UsageError("grid source file needs a path", "Write file:PATH, such as file:prices.csv")
        return cls(Path(argument))

    @property
    def limits(self) -> SourceLimits:
        held = self._held().values()
        offers = {
            Offer.CARBON: any(one.carbon for one in held),
            Offer.FORECAST: any(one.forecasts for one in held),
            Offer.PRICES: any(one.prices for one in held),
        }
        meanings = dict.fromkeys(meaning for one in held for meaning in (*one.carbon, *one.forecasts))
        return SourceLimits(frozenset(offer for offer, has in offers.items() if has), tuple(meanings))

    def zones(self) -> tuple[str, ...]:
        return tuple(sorted(self._held()))

    def carbon(self, zone: str, window: Interval, meaning: CarbonMeaning | None = None) -> CarbonSeries:
        held = self._of(zone).carbon
        return self._carbon_of(held, zone, window, meaning, "carbon intensity")

    def forecast(self, zone: str, window: Interval, meaning: CarbonMeaning | None = None) -> CarbonSeries:
        """The issue that is the latest in the file; earlier ones are not mixed in."""
        held = self._of(zone).forecasts
        latest = {
            of: [line for line in lines if line.issued_at == max(one.issued_at or _NEVER for one in lines)]
            for of, lines in held.items()
        }
        return self._carbon_of(latest, zone, window, meaning, "carbon forecast")

    def prices(self, zone: str, window: Interval) -> PriceSeries:
        """The file's first kind of price for that zone."""
        held = self._of(zone).prices
        if not held:
            not_offered(self.name, "electricity price", zone)
        of, lines = next(iter(held.items()))
        return PriceSeries.of((line.slot for line in lines), window, of, self._origin(zone, lines))

    def _carbon_of(
        self,
        held: Mapping[CarbonMeaning, list[_Line]],
        zone: str,
        window: Interval,
        meaning: CarbonMeaning | None,
        what: str,
    ) -> CarbonSeries:
        if not held:
            not_offered(self.name, what, zone)
        of = meaning_of(SourceLimits(frozenset(), tuple(held)), meaning, self.name, zone)
        return CarbonSeries.of((line.slot for line in held[of]), window, of, self._origin(zone, held[of]))

    def _origin(self, zone: str, lines: list[_Line]) -> Origin:
        issued = [line.issued_at for line in lines if line.issued_at is not None]
        return Origin(
            "user file",
            zone,
            "; ".join(dict.fromkeys(line.source for line in lines if line.source)) or self._path.name,
            "; ".join(dict.fromkeys(line.licence for line in lines if line.licence)) or "declared",
            issued_at=max(issued, default=None),
        )

    def _of(self, zone: str) -> _Held:
        held = self._held()
        if zone not in held:
            unknown_zone(f"{self.name}:{self._path}", zone, plain_names(held))
        return held[zone]

    def _held(self) -> dict[str, _Held]:
        if self._zones is None:
            self._zones = self._load()
        return self._zones

    def _load(self) -> dict[str, _Held]:
        found: dict[str, _Held] = {}
        n = 0  # the line reached, for a file that has none
        for n, row in self._rows():
            line = self._line(n, row)
            held = found.setdefault(row["zone"].strip(), _Held())
            if isinstance(line.meaning, PriceMeaning):
                held.prices.setdefault(line.meaning, []).append(line)
            elif line.slot.quality is DataQuality.FORECAST:
                held.forecasts.setdefault(line.meaning, []).append(line)
            else:
                held.carbon.setdefault(line.meaning, []).append(line)
        if not found:
            raise self._bad(n, "there are no figures in it", _FORMAT)
        for held in found.values():
            for lines in (*held.carbon.values(), *held.prices.values()):
                self._check_puts(lines)
        return found

    def _check_puts(self, lines: list[_Line]) -> None:
        """Refuse several words of an archive on one time: which of them holds is the archive's to say."""
        if len({line.put for line in lines}) < 2:
            return
        ordered = sorted(lines, key=lambda line: (line.slot.start, line.slot.end))
        for line, other in pairwise(ordered):
            if other.slot.start < line.slot.end and other.put != line.put:
                raise self._bad(
                    other.number,
                    f"it holds several vintages of an archive, which overlap at {other.slot.start:%Y-%m-%dT%H:%MZ}",
                    "Ask the archive itself: --archive FOLDER, or the source archive:FOLDER",
                )

    def _rows(self) -> Iterator[tuple[int, Mapping[str, str]]]:
        if self._path.suffix == ".parquet":
            yield from enumerate(_parquet(self._path, self.name), start=1)
            return
        try:
            text = _text(self._path)
        except (OSError, EOFError) as err:
            reason = (err.strerror if isinstance(err, OSError) else "") or str(err)
            raise UsageError(f"{self._path} cannot be read: {reason}", "Give the path of a readable file") from err
        except UnicodeDecodeError as err:
            raise self._bad(0, "it is not text in UTF-8", "Save it as UTF-8") from err
        reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
        try:
            header = reader.fieldnames or ()
            lacking = [name for name in _ALWAYS if name not in header]
            twice = sorted({name for name in header if name and list(header).count(name) > 1})
            if twice:
                raise self._bad(1, f"the header has {', '.join(twice)} more than once", "Keep one column of each name")
            if lacking:
                raise self._bad(1, f"the header lacks {', '.join(lacking)}", _FORMAT)
            for row in reader:
                # DictReader keeps what is too much under None, and what is too little as None.
                if None in row or None in row.values():
                    raise self._bad(reader.line_num, f"it has not the {len(header)} fields of the header", _FORMAT)
                yield reader.line_num, row
        except csv.Error as err:
            # The reader counts lines it has read; the torn record begins on the next.
            raise self._bad(reader.line_num + 1, str(err), "Mend the quoting") from err

    def _line(self, number: int, row: Mapping[str, str]) -> _Line:
        def of(column: str, default: str = "") -> str:
            return (row.get(column) or default).strip()

        if not of("zone"):
            raise self._bad(number, "the zone is empty", _FORMAT)
        start, end = self._time(number, "start", of("start")), self._time(number, "end", of("end"))
        if end <= start:
            raise self._bad(number, f"it ends at {of('end')}, not after {of('start')}", "Times are [start, end)")
        unit = of("unit")
        try:
            # Money per energy has a three-letter currency before the slash; a mass has not.
            is_price = len(unit.partition("/")[0].strip()) == 3 and unit[:3].isupper()
            if is_price:
                currency, kwh = price_unit(unit)
                value: float | Gap = self._value(number, of("value"), 1.0, kwh)
            else:
                value = self._value(number, of("value"), g_per_kwh_in(unit), 1.0)
        except InvalidQuantity as err:
            raise self._bad(number, f"{err.given} is no {err.quantity}", err.remedy) from err
        quality = self._word(number, "quality", of("quality", DataQuality.DECLARED.value))
        meaning: CarbonMeaning | PriceMeaning
        if is_price:
            taxes = of("taxes")
            if taxes not in _TAXES:
                raise self._bad(number, f"taxes is {taxes!r}", 'Write "in" or "out"')
            meaning = PriceMeaning(currency, self._word(number, "market", of("market")), _TAXES[taxes])
        else:
            kind, scope, accounting = (self._word(number, column, of(column)) for column in _CARBON)
            meaning = CarbonMeaning(kind, scope, accounting)
        issued = self._time(number, "issued_at", of("issued_at")) if of("issued_at") else None
        if quality is DataQuality.FORECAST and issued is None:
            raise self._bad(number, "a forecast does not say when it was issued", "Fill the column issued_at")
        return _Line(number, Slot(start, end, value, quality), meaning, issued, of("source"), of("licence"), of("put"))

    def _value(self, number: int, text: str, times: float, over: float) -> float | Gap:
        if not text:
            return Gap.NULL
        try:
            value = float(text) * times / over
        except ValueError:
            value = float("nan")
        if value != value or value in (float("inf"), float("-inf")):
            raise self._bad(number, f"{text!r} is no number", "Write a finite number, or leave it empty for a gap")
        return value

    def _time(self, number: int, column: str, text: str) -> datetime:
        try:
            stamp = datetime.fromisoformat(text)
        except ValueError as err:
            raise self._bad(number, f"{column} is {text!r}, not an ISO 8601 time", "Write 2026-10-25T02:30Z") from err
        if stamp.tzinfo is None:
            raise self._bad(
                number,
                f"{column} is {text!r}, without its distance from UTC",
                "Write 2026-10-25T02:30Z or +02:00: a local time alone happens twice when clocks go back",
            )
        return stamp.astimezone(UTC)

    def _word(self, number: int, column: str, text: str) -> Any:
        words = _SAYS[column]
        try:
            return words(text)
        except ValueError as err:
            known = ", ".join(repr(word.value) for word in words)
            raise self._bad(number, f"{column} is {text!r}", f"Write one of {known}") from err

    def _bad(self, number: int, problem: str, remedy: str) -> GridDataInvalid:
        where = f"{self._path}:{number}" if number else str(self._path)
        return GridDataInvalid(self.name, where, problem, remedy)


_NEVER = datetime.min.replace(tzinfo=UTC)


def _text(path: Path) -> str:
    if path.suffix == ".gz":
        import gzip
        import zlib

        try:
            return gzip.decompress(path.read_bytes()).decode("utf-8-sig")
        except zlib.error as err:
            raise OSError(None, f"the compressed data are damaged ({err})") from err
    return path.read_text(encoding="utf-8-sig")


def _parquet(path: Path, name: str) -> Iterator[Mapping[str, str]]:
    """Rows as text, in the file's order. Times that know their zone become UTC; others stay as written."""
    try:
        import duckdb
    except ImportError as err:
        raise MissingExtra("duckdb", "reading Parquet", "pip install 'outweigh[samples]'") from err
    if not path.is_file():
        raise UsageError(f"{path} cannot be read: no such file", "Give the path of a readable file")
    literal = str(path)
    for sign in "[*?":  # the path is a name and no pattern
        literal = literal.replace(sign, f"[{sign}]")
    settings: dict[str, Any] = {"threads": 1, "autoinstall_known_extensions": False, "autoload_known_extensions": False}
    connection = duckdb.connect(":memory:", config=settings)
    try:
        described = connection.execute("DESCRIBE SELECT * FROM read_parquet(?)", [literal]).fetchall()
        kinds = {str(column[0]): str(column[1]) for column in described}
        lacking = [column for column in _ALWAYS if column not in kinds]
        if lacking:
            raise GridDataInvalid(name, str(path), f"it lacks the columns {', '.join(lacking)}", _FORMAT)
        parts = [
            f'epoch_us("{column}")' if "TIME ZONE" in kind else f'CAST("{column}" AS VARCHAR)'
            for column, kind in kinds.items()
            if '"' not in column
        ]
        columns = [column for column in kinds if '"' not in column]
        query = f"SELECT {', '.join(parts)} FROM read_parquet(?, file_row_number = true) ORDER BY file_row_number"
        rows = connection.execute(query, [literal]).fetchall()
    except duckdb.Error as err:
        problem = str(err).splitlines()[0]
        raise GridDataInvalid(name, str(path), f"it is no Parquet we can read ({problem})", "Write it again") from err
    finally:
        connection.close()
    for row in rows:
        yield {
            column: datetime.fromtimestamp(cell / 1e6, UTC).isoformat() if isinstance(cell, int) else (cell or "")
            for column, cell in zip(columns, row, strict=True)
        }
