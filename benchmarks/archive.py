"""What the archive of vintages costs: to put, and to ask as of a moment, beside plain DuckDB on the same files.

Three years of hours in 20 zones, a put a month and one revision of it a month later, made up here. Every timing is the
median of repeated calls in this process; the plain query reads the same Parquet files with the same engine, filters
zone, window and time of retrieval and knows nothing of issues, gaps or providers. Growth: the same question with ever
more puts in the zone, before and after merging them.

`--years N` (default 3), `--zones N` (default 20).
"""

from __future__ import annotations

import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb

from outweigh.core.intervals import Interval
from outweigh.core.quantities import CarbonScope
from outweigh.core.series import Accounting, CarbonKind, CarbonMeaning, CarbonSeries, DataQuality, Origin
from outweigh.grid.archive import Archive
from shape import Row, finish

FIRST = datetime(2023, 1, 1, tzinfo=UTC)
MEANING = CarbonMeaning(CarbonKind.AVERAGE, CarbonScope.DIRECT, Accounting.CONSUMPTION)
WEEK = Interval.starting(FIRST + timedelta(days=200), 7 * 86400)


def hourly(zone: str, start: datetime, hours: int, shift: float = 0.0) -> CarbonSeries:
    """A day's swing on a level of its own; nothing in it is real."""
    level = 50.0 + 23.0 * (sum(zone.encode()) % 17) + shift
    values = [level + 40.0 * abs(12 - n % 24) / 12 + (n * 7919 % 101) / 10 for n in range(hours)]
    origin = Origin("synthetic", zone, "made in this benchmark", "CC0")
    return CarbonSeries.regular(start, 3600.0, values, DataQuality.ESTIMATED, MEANING, origin)


def seconds(call: Callable[[], object], times: int) -> float:
    took = []
    for _ in range(times):
        began = time.perf_counter()
        call()
        took.append(time.perf_counter() - began)
    return statistics.median(took)


def fill(archive: Archive, zones: list[str], years: int) -> int:
    """A put a month and its revision, through the archive's own door; returns slots."""
    slots = 0
    for zone in zones:
        at, end = FIRST, FIRST.replace(year=FIRST.year + years)
        while at < end:
            upto = (at + timedelta(days=32)).replace(day=1)
            hours = int((upto - at).total_seconds() // 3600)
            for shift, later in ((0.0, timedelta(days=1)), (3.0, timedelta(days=31))):
                archive.put(hourly(zone, at, hours, shift), retrieved_at=upto + later)
                slots += hours
            at = upto
    return slots


def plain(connection: duckdb.DuckDBPyConnection, files: list[str], zone: str, at: datetime) -> list[tuple[object, ...]]:
    return connection.execute(
        "SELECT epoch_us(start), value FROM read_parquet(?) "
        'WHERE zone = ? AND start < ? AND "end" > ? '
        "AND retrieved_at <= ? QUALIFY row_number() OVER (PARTITION BY start ORDER BY retrieved_at DESC) = 1 "
        "ORDER BY start",
        [files, zone, WEEK.end, WEEK.start, at],
    ).fetchall()


def asking(archive: Archive, zones: list[str]) -> list[Row]:
    connection = duckdb.connect(":memory:", config={"threads": 1})
    connection.execute("SET TimeZone = 'UTC'")
    at = WEEK.end + timedelta(days=40)
    every = [str(path) for path in archive.folder.rglob("*.parquet")]
    zone = zones[len(zones) // 2]
    of_zone = [name for name in every if f"/{zone}/" in name]
    expected = [value for _, value in plain(connection, every, zone, at)]
    answered = archive.known(zone, MEANING, WEEK, at=at)
    same = list(answered.values) == expected
    whole_s = seconds(lambda: plain(connection, every, zone, at), 5)
    zone_s = seconds(lambda: plain(connection, of_zone, zone, at), 15)
    cold_s = seconds(lambda: Archive(archive.folder).known(zone, MEANING, WEEK, at=at), 15)
    warm_s = seconds(lambda: archive.known(zone, MEANING, WEEK, at=at), 15)
    connection.close()
    case = f"a week as of a moment, {len(every):,} files"
    return [
        Row(f"{case}: same values as the plain query", float(same), "", reference="1", goal="== 1", holds=same),
        Row(f"{case}: plain DuckDB over all files", 1e3 * whole_s, "ms"),
        Row(f"{case}: plain DuckDB over the zone's files", 1e3 * zone_s, "ms"),
        Row(f"{case}: first look", 1e3 * cold_s, "ms", reference=1e3 * whole_s, goal="< ref", holds=cold_s < whole_s,
            note=f"{whole_s / cold_s:.1f} times quicker than over all files, {cold_s / zone_s:.1f} of the zone's own"),
        Row(f"{case}: again", 1e3 * warm_s, "ms", reference=1e3 * zone_s, goal="< ref", holds=warm_s < zone_s,
            note="files never change, so what was read stays"),
    ]  # fmt: skip


def growth(folder: Path) -> list[Row]:
    """Hourly issues of a day-ahead forecast: what a question costs as they grow in number, and after merging."""
    archive = Archive(folder)
    rows, put = [], 0
    for target in (50, 200, 800):
        while put < target:
            issued = WEEK.start + timedelta(hours=put)
            series = hourly("XX", issued, 24)
            origin = replace(series.origin, issued_at=issued)
            ahead = replace(series, qualities=(DataQuality.FORECAST,) * 24, origin=origin)
            archive.put(ahead, retrieved_at=issued)
            put += 1
        day = Interval.starting(WEEK.start + timedelta(hours=25), 86400)

        def ask(at: datetime = day.start, day: Interval = day) -> object:
            return Archive(folder).forecast_as_of("XX", MEANING, day, at=at)

        rows.append(Row(f"day-ahead as of a moment, {put} issues of one zone", 1e3 * seconds(ask, 9), "ms"))
    began = time.perf_counter()
    before = len(archive.vintages("XX", MEANING))
    went = archive.compact()
    took_s = time.perf_counter() - began
    kept = len(Archive(folder).vintages("XX", MEANING))
    rows.append(
        Row("the same after merging", 1e3 * seconds(ask, 9), "ms", note=f"{went} files went, in {took_s:.2f} s")
    )
    rows.append(
        Row("vintages lost by merging", float(before - kept), "", reference="0", goal="== 0", holds=before == kept)
    )
    return rows


def option(name: str, default: int) -> int:
    given = sys.argv[1:]
    return int(given[given.index(name) + 1]) if name in given else default


def main() -> int:
    root = Path(tempfile.mkdtemp(prefix="archive"))
    try:
        years, zones = option("--years", 3), [f"Z{n:02}" for n in range(option("--zones", 20))]
        archive = Archive(root / "years")
        archive.put(hourly("warm-up", FIRST, 24), retrieved_at=FIRST + timedelta(days=40))
        year = hourly("year", FIRST, 8760)
        moments = iter(range(1_000))
        put_s = seconds(lambda: archive.put(year, retrieved_at=FIRST + timedelta(days=400, hours=next(moments))), 9)
        day = hourly("day", FIRST, 24)
        day_s = seconds(lambda: archive.put(day, retrieved_at=FIRST + timedelta(days=9, hours=next(moments))), 15)
        rows = [
            Row("put a year of hours (8,760), flushed", 1e3 * put_s, "ms", note=f"{8760 / put_s:,.0f} slots a second"),
            Row("put a day of hours (24), flushed", 1e3 * day_s, "ms"),
        ]
        shutil.rmtree(archive.folder)
        began = time.perf_counter()
        slots = fill(archive, zones, years)
        took_s = time.perf_counter() - began
        size = sum(path.stat().st_size for path in archive.folder.rglob("*.parquet"))
        rows.append(
            Row(f"{years} years x {len(zones)} zones, each month put and revised", took_s, "s",
                note=f"{slots:,} slots, {size / slots:.1f} bytes a slot")
        )  # fmt: skip
        rows += asking(archive, zones)
        began = time.perf_counter()
        went = archive.compact()
        rows.append(Row("merge them", time.perf_counter() - began, "s", note=f"{went} files went"))
        rows += asking(Archive(archive.folder), zones)
        rows += growth(root / "issues")
    finally:
        shutil.rmtree(root, ignore_errors=True)
    return finish("archive", rows)


if __name__ == "__main__":
    sys.exit(main())
