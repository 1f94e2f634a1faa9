"""The user's own file: what it may say, what is refused and where, and days that clocks make longer or shorter."""

from __future__ import annotations

import gzip
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from outweigh.backends.grid.file import FileGrid
from outweigh.core.errors import FactorMissing, GapsTooLarge, GridDataInvalid, UsageError
from outweigh.core.intervals import Interval
from outweigh.core.quantities import CarbonScope
from outweigh.core.series import Accounting, CarbonKind, CarbonMeaning, DataQuality, Gap, Market, PriceMeaning

HEADER = "zone,start,end,value,unit,kind,scope,accounting,market,taxes,quality,issued_at"
HOUR = "2026-01-01T00:00Z,2026-01-01T01:00Z"
CARBON = "average,lifecycle,production,,,measured,"
WINDOW = Interval.starting(datetime(2026, 1, 1, tzinfo=UTC), 3600)
LIFECYCLE = CarbonMeaning(CarbonKind.AVERAGE, CarbonScope.LIFECYCLE, Accounting.PRODUCTION)


def grid(folder: Path, *lines: str, header: str = HEADER, name: str = "own.csv") -> FileGrid:
    (folder / name).write_text("\n".join([header, *lines]) + "\n", encoding="utf-8")
    return FileGrid(folder / name)


# The pound is 0.45359237 kg: 1000 lb/MWh are 453.59237 kg/MWh, which are as many g/kWh.
@pytest.mark.parametrize(
    ("value", "unit", "g_per_kwh"),
    [
        (230, "gCO2e/kWh", 230),
        (230, "gCO2eq/kWh", 230),
        (230, "kgCO2e/MWh", 230),
        (0.23, "kgCO2e/kWh", 230),
        (0.23, "tCO2/MWh", 230),
        (1000, "lbCO2/MWh", 453.59237),
    ],
)
def test_units_are_converted_exactly_and_always_said(tmp_path: Path, value: float, unit: str, g_per_kwh: float):
    source = grid(tmp_path, f"DE,{HOUR},{value},{unit},{CARBON}")

    assert source.carbon("DE", WINDOW).mean_value() == pytest.approx(g_per_kwh, rel=1e-15)


def test_two_columns_of_one_name_are_refused_and_none_is_taken(tmp_path: Path):
    twice = grid(tmp_path, f"DE,{HOUR},100,gCO2e/kWh,{CARBON},999", header=f"{HEADER},value")
    unnamed = grid(tmp_path, f"DE,{HOUR},100,gCO2e/kWh,{CARBON},,", header=f"{HEADER},,", name="spreadsheet.csv")

    with pytest.raises(GridDataInvalid, match=r"own.csv:1: the header has value more than once"):
        twice.carbon("DE", WINDOW)
    assert unnamed.carbon("DE", WINDOW).values == (100.0,)


def test_prices_keep_money_market_taxes_and_sign(tmp_path: Path):
    source = grid(tmp_path, f"GB,{HOUR},-42.5,GBP/MWh,,,,retail,in,measured,")

    series = source.prices("GB", WINDOW)

    assert series.meaning == PriceMeaning("GBP", Market.RETAIL, taxes=True)
    assert series.values == (-0.0425,)


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (f"DE,{HOUR},230", "has not the 12 fields"),
        (f"DE,{HOUR},230,gCO2e/kWh,{CARBON},,,", "has not the 12 fields"),
        (f"DE,{HOUR},high,gCO2e/kWh,{CARBON}", "'high' is no number"),
        (f"DE,{HOUR},nan,gCO2e/kWh,{CARBON}", "'nan' is no number"),
        (f"DE,{HOUR},1e999,gCO2e/kWh,{CARBON}", "is no number"),
        (f"DE,{HOUR},230,,{CARBON}", "unit of carbon intensity"),
        (f"DE,{HOUR},230,g/mile,{CARBON}", "unit of carbon intensity"),
        (f"DE,{HOUR},230,XQZ/kWh,,,,retail,out,measured,", "currency"),
        (f"DE,{HOUR},0.1,EUR/kWh,,,,retail,some,measured,", "taxes is 'some'"),
        (f"DE,{HOUR},0.1,EUR/kWh,,,,bazaar,out,measured,", "market is 'bazaar'"),
        (f"DE,{HOUR},230,gCO2e/kWh,mean,lifecycle,production,,,measured,", "kind is 'mean'"),
        (f"DE,{HOUR},230,gCO2e/kWh,average,,production,,,measured,", "scope is ''"),
        (f"DE,{HOUR},230,gCO2e/kWh,average,lifecycle,production,,,guessed,", "quality is 'guessed'"),
        (f"DE,{HOUR},230,gCO2e/kWh,average,lifecycle,production,,,forecast,", "when it was issued"),
        (f",{HOUR},230,gCO2e/kWh,{CARBON}", "the zone is empty"),
        (f"DE,2026-01-01T01:00Z,2026-01-01T01:00Z,230,gCO2e/kWh,{CARBON}", "not after"),
        (f"DE,yesterday,2026-01-01T01:00Z,230,gCO2e/kWh,{CARBON}", "not an ISO 8601 time"),
        (f"DE,2026-10-25T02:30,2026-10-25T02:45,230,gCO2e/kWh,{CARBON}", "distance from UTC"),
        (f'DE,{HOUR},"230,gCO2e/kWh,{CARBON}', "unexpected end of data"),
    ],
)
def test_a_bad_line_refuses_the_file_and_is_named(tmp_path: Path, line: str, problem: str):
    source = grid(tmp_path, f"FR,{HOUR},40,gCO2e/kWh,{CARBON}", line)

    with pytest.raises(GridDataInvalid) as caught:
        source.carbon("FR", WINDOW)

    assert problem in str(caught.value)
    assert "own.csv:3" in caught.value.where
    assert caught.value.exit_code == 4


def test_a_value_in_the_wrong_unit_is_refused_where_it_is_impossible(tmp_path: Path):
    source = grid(tmp_path, f"DE,{HOUR},353100,gCO2e/kWh,{CARBON}")

    with pytest.raises(GridDataInvalid, match="Check the unit"):
        source.carbon("DE", WINDOW)


def test_a_header_without_what_is_needed_names_what_it_lacks(tmp_path: Path):
    with pytest.raises(GridDataInvalid, match="lacks end, unit"):
        grid(tmp_path, "DE,x,1", header="zone,start,value").zones()


@pytest.mark.parametrize("content", [b"", HEADER.encode(), b"\xff\xfe\x00zone", b"PK\x03\x04"])
def test_a_file_without_figures_or_of_another_kind_is_refused(tmp_path: Path, content: bytes):
    (tmp_path / "own.csv").write_bytes(content)

    with pytest.raises(GridDataInvalid):
        FileGrid(tmp_path / "own.csv").zones()


def test_a_file_that_is_not_there_or_a_folder_is_a_slip_of_the_one_who_typed_it(tmp_path: Path):
    for path in (tmp_path / "none.csv", tmp_path, tmp_path / "none.parquet"):
        with pytest.raises(UsageError, match="cannot be read"):
            FileGrid(path).zones()
    (tmp_path / "torn.csv.gz").write_bytes(gzip.compress(b"zone" * 1000)[:20])
    with pytest.raises(UsageError, match="cannot be read"):
        FileGrid(tmp_path / "torn.csv.gz").zones()


def test_a_damaged_parquet_is_refused(tmp_path: Path):
    pytest.importorskip("duckdb")
    (tmp_path / "own.parquet").write_bytes(b"PAR1 and nothing more")

    with pytest.raises(GridDataInvalid, match="no Parquet"):
        FileGrid(tmp_path / "own.parquet").zones()


def test_parquet_with_real_times_and_numbers_reads_like_the_csv(tmp_path: Path):
    duckdb = pytest.importorskip("duckdb")
    with duckdb.connect(":memory:") as connection:
        connection.execute(
            "COPY (SELECT 'NA' AS zone, make_timestamptz(1767225600000000) AS start, "
            "make_timestamptz(1767229200000000) AS \"end\", 56.5 AS value, 'gCO2e/kWh' AS unit, 'average' AS kind, "
            "'lifecycle' AS scope, 'production' AS accounting, 'measured' AS quality) "
            f"TO '{tmp_path / 'own.parquet'}' (FORMAT parquet)"
        )

    series = FileGrid(tmp_path / "own.parquet").carbon("NA", WINDOW)

    assert (series.values, series.interval) == ((56.5,), WINDOW)


def test_parquet_with_times_that_know_no_zone_is_refused(tmp_path: Path):
    duckdb = pytest.importorskip("duckdb")
    with duckdb.connect(":memory:") as connection:
        connection.execute(
            "COPY (SELECT 'DE' AS zone, TIMESTAMP '2026-10-25 02:30:00' AS start, TIMESTAMP '2026-10-25 02:45:00' "
            "AS \"end\", 1.0 AS value, 'gCO2e/kWh' AS unit) "
            f"TO '{tmp_path / 'own.parquet'}' (FORMAT parquet)"
        )

    with pytest.raises(GridDataInvalid, match="distance from UTC"):
        FileGrid(tmp_path / "own.parquet").zones()


def test_namibia_is_a_zone_and_an_empty_value_is_a_gap(tmp_path: Path):
    source = grid(
        tmp_path,
        f"NA,{HOUR},56,gCO2e/kWh,{CARBON}",
        f"NA,2026-01-01T01:00Z,2026-01-01T02:00Z,,gCO2e/kWh,{CARBON}",
    )

    assert source.zones() == ("NA",)
    assert source.carbon("NA", Interval.starting(WINDOW.start, 7200)).values == (56.0, Gap.NULL)


def test_gaps_over_a_tenth_of_the_window_refuse_its_mean(tmp_path: Path):
    lines = [
        f"DE,{WINDOW.start + timedelta(hours=i)},{WINDOW.start + timedelta(hours=i + 1)},100,gCO2e/kWh,{CARBON}"
        for i in range(24)
        if i not in (5, 6, 7)
    ]

    series = grid(tmp_path, *lines).carbon("DE", Interval.starting(WINDOW.start, 86400))

    assert series.missing_share == pytest.approx(3 / 24)
    with pytest.raises(GapsTooLarge, match="13 %"):
        series.mean()


def test_steps_may_change_from_hours_to_quarters_within_a_day(tmp_path: Path):
    # European day-ahead auctions went from hours to quarter hours for delivery from 2025-10-01 on.
    quarters = [
        f"DE,2026-01-01T01:{m:02}Z,2026-01-01T{1 + (m == 45)}:{(m + 15) % 60:02}Z".replace("T2:", "T02:").replace(
            "T1:", "T01:"
        )
        + f",{value},EUR/MWh,,,,day-ahead,out,measured,"
        for m, value in ((0, 10), (15, 20), (30, 30), (45, 40))
    ]
    source = grid(tmp_path, f"DE,{HOUR},100,EUR/MWh,,,,day-ahead,out,measured,", *quarters)

    series = source.prices("DE", Interval.starting(WINDOW.start, 7200))

    assert series.steps_s == (900.0, 3600.0)
    assert series.resample(3600).values == (0.1, pytest.approx(0.025))


def test_two_values_for_one_time_are_refused(tmp_path: Path):
    source = grid(tmp_path, *(f"DE,{HOUR},{value},gCO2e/kWh,{CARBON}" for value in (1, 2)))

    with pytest.raises(GridDataInvalid, match="two values"):
        source.carbon("DE", WINDOW)


def test_two_kinds_in_one_file_stay_apart(tmp_path: Path):
    source = grid(
        tmp_path,
        f"DE,{HOUR},300,gCO2e/kWh,{CARBON}",
        f"DE,{HOUR},700,gCO2e/kWh,marginal,direct,production,,,estimated,",
    )
    marginal = CarbonMeaning(CarbonKind.MARGINAL, CarbonScope.DIRECT, Accounting.PRODUCTION)

    assert source.carbon("DE", WINDOW).mean_value() == 300
    assert source.carbon("DE", WINDOW, marginal).mean_value() == 700
    with pytest.raises(FactorMissing, match="publishes"):
        source.carbon("DE", WINDOW, CarbonMeaning(CarbonKind.AVERAGE, CarbonScope.DIRECT, Accounting.PRODUCTION))


def test_of_two_forecasts_the_later_is_taken_whole(tmp_path: Path):
    later = "2026-01-01T01:00Z,2026-01-01T02:00Z"
    source = grid(
        tmp_path,
        *(
            f"DE,{span},{value},gCO2e/kWh,average,lifecycle,production,,,forecast,{issued}"
            for span, value, issued in (
                (HOUR, 100, "2025-12-31T06:00Z"),
                (later, 110, "2025-12-31T06:00Z"),
                (HOUR, 200, "2025-12-31T18:00Z"),
            )
        ),
    )

    series = source.forecast("DE", Interval.starting(WINDOW.start, 7200))

    assert series.values == (200.0, Gap.MISSING)
    assert series.origin.issued_at == datetime(2025, 12, 31, 18, tzinfo=UTC)
    assert series.worst_quality is DataQuality.FORECAST


# The days on which clocks change in 2026, and how many quarter hours they have.
@pytest.mark.parametrize(
    ("zone", "day", "quarters"),
    [
        ("Europe/Berlin", date(2026, 3, 29), 92),
        ("Europe/Berlin", date(2026, 10, 25), 100),
        ("Europe/London", date(2026, 3, 29), 92),
        ("Europe/London", date(2026, 10, 25), 100),
        ("America/New_York", date(2026, 3, 8), 92),
        ("America/New_York", date(2026, 11, 1), 100),
        ("Australia/Sydney", date(2026, 10, 4), 92),
        ("Australia/Sydney", date(2026, 4, 5), 100),
        ("Australia/Adelaide", date(2026, 10, 4), 92),
        ("Australia/Adelaide", date(2026, 4, 5), 100),
        ("Europe/Berlin", date(2026, 6, 1), 96),
    ],
)
def test_a_day_of_changing_clocks_is_whole_when_read_from_local_times(
    tmp_path: Path, zone: str, day: date, quarters: int
):
    local = ZoneInfo(zone)
    start, end = (datetime.combine(day + timedelta(days=n), datetime.min.time(), local).astimezone(UTC) for n in (0, 1))
    edges = [start + timedelta(minutes=15 * i) for i in range(quarters + 1)]
    lines = [
        f"XX,{a.astimezone(local).isoformat()},{b.astimezone(local).isoformat()},{i},gCO2e/kWh,{CARBON}"
        for i, (a, b) in enumerate(pairwise(edges))
    ]

    series = grid(tmp_path, *reversed(lines)).carbon("XX", Interval(start, end))

    assert edges[-1] == end
    assert series.missing_share == 0
    assert series.values == tuple(float(i) for i in range(quarters))
    assert series.resample(3600).mean_value() == pytest.approx((quarters - 1) / 2)
