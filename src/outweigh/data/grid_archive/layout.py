"""Where a series lies in the archive, and what the name of its file tells without opening it.

`FOLDER/v1/carbon/average-lifecycle-consumption/DE/START_END_KNOWN_a_DIGEST.parquet`: a table for each question, so
that two of different meaning never meet in a file; a folder for each zone; a file for each put. The name has the span
of its slots, the moment from which it was known, what it holds (actual slots a, forecasts f, figures that stand in s),
and a digest of the content. Times are UTC to the microsecond, so a query opens only what it needs, and never what it
may not see.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from functools import lru_cache
from pathlib import Path
from urllib.parse import quote, unquote

from outweigh.core.errors import GridDataInvalid, InvalidQuantity
from outweigh.core.quantities import CarbonScope
from outweigh.core.series import Accounting, CarbonKind, CarbonMeaning, DataQuality, Market, PriceMeaning

VERSION = "v1"
_TIME = r"(\d{8}T\d{12})"
_NAME = re.compile(rf"{_TIME}_{_TIME}_{_TIME}_(?=[afs])(a?f?s?)_([0-9a-f]{{32}})\.parquet")
_CURRENCY = re.compile(r"[A-Z]{3}")
_TAXES = {"taxed": True, "untaxed": False}

Meaning = CarbonMeaning | PriceMeaning


class SlotKind(StrEnum):
    """What a slot tells: what was, what somebody expected, or a figure of another time or place that stands in."""

    ACTUAL = "a"
    FORECAST = "f"
    STAND_IN = "s"


_TELLS = {
    DataQuality.MEASURED: SlotKind.ACTUAL,
    DataQuality.ESTIMATED: SlotKind.ACTUAL,
    DataQuality.FORECAST: SlotKind.FORECAST,
}


def told_by(quality: DataQuality) -> SlotKind:
    """What a value of that quality tells of its time.

    >>> told_by(DataQuality.TYPICAL).name
    'STAND_IN'
    """
    return _TELLS.get(quality, SlotKind.STAND_IN)


@dataclass(frozen=True, slots=True)
class File:
    """One file of the archive, as its name tells [us since 1970-01-01T00:00Z]."""

    path: Path
    start_us: int
    end_us: int
    known_us: int
    kinds: frozenset[SlotKind]
    digest: str


@dataclass(frozen=True, slots=True)
class Held:
    """A question the archive has slots of, for one zone."""

    zone: str
    meaning: Meaning
    kinds: frozenset[SlotKind]


def micros(stamp: datetime) -> int:
    """Whole microseconds since 1970-01-01T00:00Z; exact, as datetimes are."""
    since = stamp - _EPOCH
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def micros_of(seconds: float) -> int:
    """Whole microseconds of a slot edge [s, UTC epoch].

    Raises:
        InvalidQuantity: it does not lie on one, so it could not be given back as it was.
    """
    us = round(seconds * 1e6)
    if us / 1e6 != seconds:
        raise InvalidQuantity("slot edge", f"{seconds!r} s", "the archive keeps whole microseconds")
    return us


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def stamp_of(us: int) -> datetime:
    """The moment `us` microseconds after 1970-01-01T00:00Z; exact.

    >>> micros(stamp_of(1_767_225_600_000_001))
    1767225600000001
    """
    seconds, rest = divmod(us, 1_000_000)
    return datetime.fromtimestamp(seconds, UTC).replace(microsecond=rest)


def file_name(start_us: int, end_us: int, known_us: int, kinds: frozenset[SlotKind], digest: str) -> str:
    what = "".join(sorted(kinds))
    return f"{_text(start_us)}_{_text(end_us)}_{_text(known_us)}_{what}_{digest}.parquet"


def table_of(root: Path, meaning: Meaning) -> Path:
    """
    >>> table_of(Path("g"), PriceMeaning("EUR", Market.DAY_AHEAD, taxes=False)).as_posix()
    'g/v1/price/EUR-day-ahead-untaxed'
    """
    if isinstance(meaning, CarbonMeaning):
        return root / VERSION / "carbon" / f"{meaning.kind}-{meaning.scope}-{meaning.accounting}"
    taxes = "taxed" if meaning.taxes else "untaxed"
    return root / VERSION / "price" / f"{meaning.currency}-{meaning.market}-{taxes}"


def folder_of(root: Path, meaning: Meaning, zone: str) -> Path:
    return table_of(root, meaning) / _zone_folder(zone)


def files_of(folder: Path) -> list[File]:
    """The whole files in a zone's folder, in the order of their names; none where there is no such folder."""
    try:
        names = sorted(os.listdir(folder))  # noqa: PTH208, a query lists thousands of names
    except FileNotFoundError:
        return []
    except OSError as err:
        raise unreadable(folder, err) from err
    return [file for name in names if (file := _parsed(folder, name)) is not None]


def held_in(root: Path, at_us: int | None = None, zone: str = "") -> Iterator[Held]:
    """Every zone and question there is something of, known by `at_us`: by names alone, without DuckDB.

    Args:
        zone: only of this one; the folders of others are not looked into.

    Raises:
        GridDataInvalid: the archive is of a later version of outweigh, or cannot be listed.
    """
    try:
        later = [path.name for path in root.glob("v*") if re.fullmatch(r"v\d+", path.name) and path.name != VERSION]
        tables = sorted((root / VERSION).glob("*/*"))
    except OSError as err:
        raise unreadable(root, err) from err
    if later and not (root / VERSION).exists():
        raise GridDataInvalid(
            "archive", str(root), f"it is of another version ({', '.join(later)})", "Upgrade outweigh"
        )
    for table in tables:
        meaning = _meaning_of(table)
        if meaning is None:
            continue
        try:
            every = [table / _zone_folder(zone)] if zone else sorted(path for path in table.iterdir() if path.is_dir())
        except OSError as err:
            raise unreadable(table, err) from err
        for folder in every:
            kinds = frozenset[SlotKind]()
            for file in files_of(folder):
                if at_us is None or file.known_us <= at_us:
                    kinds |= file.kinds
            if kinds:
                yield Held(unquote(folder.name), meaning, kinds)


def unreadable(path: Path, err: OSError) -> GridDataInvalid:
    return GridDataInvalid(
        "archive", str(path), f"it cannot be read ({err.strerror or err})", "Make the folder readable"
    )


def meaning_fields(meaning: Meaning) -> dict[str, object]:
    """The question as a small dict, for files and rows; `meaning_from` reads it."""
    if isinstance(meaning, CarbonMeaning):
        return {"kind": str(meaning.kind), "scope": str(meaning.scope), "accounting": str(meaning.accounting)}
    return {"currency": meaning.currency, "market": str(meaning.market), "taxes": meaning.taxes}


def meaning_from(fields: Mapping[str, object]) -> Meaning:
    """The question that `meaning_fields` wrote. Raises GridDataInvalid."""
    try:
        if "currency" in fields:
            return PriceMeaning(str(fields["currency"]), Market(str(fields["market"])), bool(fields["taxes"]))
        return CarbonMeaning(
            CarbonKind(str(fields["kind"])), CarbonScope(str(fields["scope"])), Accounting(str(fields["accounting"]))
        )
    except (KeyError, ValueError) as err:
        raise GridDataInvalid(
            "archive", "meaning", f"{dict(fields)} is no question of ours", "Record it again"
        ) from err


def in_order(meaning: Meaning) -> tuple[int, int, int, str]:
    """Sorts questions: carbon before prices, average before marginal, day-ahead before retail, without taxes first."""
    if isinstance(meaning, CarbonMeaning):
        return (
            list(CarbonKind).index(meaning.kind),
            list(CarbonScope).index(meaning.scope),
            list(Accounting).index(meaning.accounting),
            "",
        )
    return (10 + list(Market).index(meaning.market), int(meaning.taxes), 0, meaning.currency)


def _meaning_of(table: Path) -> Meaning | None:
    first, _, rest = table.name.partition("-")
    middle, _, last = rest.rpartition("-")
    try:
        if table.parent.name == "carbon":
            return CarbonMeaning(CarbonKind(first), CarbonScope(middle), Accounting(last))
        if table.parent.name == "price" and last in _TAXES and _CURRENCY.fullmatch(first):
            return PriceMeaning(first, Market(middle), _TAXES[last])
    except ValueError:
        pass
    return None


def _zone_folder(zone: str) -> str:
    if not zone:
        raise InvalidQuantity("zone", "''", "name the zone")
    return quote(zone, safe="").replace(".", "%2E")  # a zone called ".." must not lead out of its table


@lru_cache(maxsize=65_536)
def _parsed(folder: Path, name: str) -> File | None:
    match = _NAME.fullmatch(name)
    if match is None:
        return None
    start, end, known, what, digest = match.groups()
    kinds = frozenset(SlotKind(letter) for letter in what)
    return File(folder / name, _number(start), _number(end), _number(known), kinds, digest)


def _text(us: int) -> str:
    stamp = stamp_of(us)
    return f"{stamp.year:04}{stamp:%m%dT%H%M%S%f}"


def _number(text: str) -> int:
    year, month, day = int(text[:4]), int(text[4:6]), int(text[6:8])
    hour, minute, second, us = int(text[9:11]), int(text[11:13]), int(text[13:15]), int(text[15:])
    return micros(datetime(year, month, day, hour, minute, second, us, tzinfo=UTC))
