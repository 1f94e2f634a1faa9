"""Filling the archive from a provider on this machine: only what is missing, and nothing that came is lost."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from outweigh.app.grid_fetch import Fetched, compact, fetch, without
from outweigh.backends.grid.static import FixedGrid
from outweigh.cli.grid_fetch import fetch as fetch_command
from outweigh.core.errors import (
    FactorMissing,
    GapsTooLarge,
    GridBusy,
    GridDataInvalid,
    GridUnavailable,
    OutweighError,
    UnknownZone,
    UsageError,
)
from outweigh.core.intervals import Interval
from outweigh.core.quantities import CarbonScope
from outweigh.core.series import (
    Accounting,
    CarbonKind,
    CarbonMeaning,
    CarbonSeries,
    DataQuality,
    Market,
    PriceMeaning,
    Slot,
)
from outweigh.grid.archive import Archive
from outweigh.ports import Offer, SourceLimits

for needed in ("duckdb", "httpx", "hishel", "httpx_retries"):
    pytest.importorskip(needed)

OUTWEIGH = str(Path(sys.executable).with_name("outweigh"))
DIRECT = CarbonMeaning(CarbonKind.AVERAGE, CarbonScope.DIRECT, Accounting.CONSUMPTION)
MAY = datetime(2026, 5, 1, tzinfo=UTC)
NOW = datetime(2026, 7, 1, tzinfo=UTC)
HEADER = "zone,start,end,value,unit,kind,scope,accounting,market,taxes,quality,issued_at"


def neso(path: str) -> dict[str, Any]:
    """What NESO answers for the half-hours of a request, in its documented shape; the value is the hour of the day."""
    start, end = (datetime.fromisoformat(part) for part in path.split("/")[2:4])
    rows = []
    while start < end:
        upto = start + timedelta(minutes=30)
        said = {"forecast": 500, "actual": start.hour + 100, "index": "low"}
        rows.append({"from": f"{start:%Y-%m-%dT%H:%MZ}", "to": f"{upto:%Y-%m-%dT%H:%MZ}", "intensity": said})
        start = upto
    return {"data": rows}


@pytest.fixture
def api(provider: Any, answer: Any) -> Any:
    """A provider that answers every request for half-hours."""
    return provider.stands_in_for("neso").on("/intensity", lambda asked: answer(neso(asked.path)))


@pytest.fixture
def filled(tmp_path: Path, api: Any) -> Callable[..., Fetched]:
    """Fetches May of Great Britain."""

    def run(**options: Any) -> Fetched:
        given = {"start": "2026-05-01", "end": "2026-06-01", "into": tmp_path / "grid", "now": lambda: NOW}
        return fetch(["GB"], "neso", **(given | options))

    return run


def test_a_month_comes_in_windows_that_the_source_takes_and_is_answered_from_the_archive(
    filled: Callable[..., Fetched], tmp_path: Path, api: Any
):
    done = filled()

    assert [asked.path.split("/")[2] for asked in api.asked] == [
        "2026-05-01T00:00Z", "2026-05-15T00:00Z", "2026-05-29T00:00Z",
    ]  # fmt: skip
    [row] = done.rows()
    assert (done.exit_code, row["there_s"], row["came_s"], row["gap_s"]) == (0, 0.0, 31 * 86400.0, 0.0)
    series = Archive(tmp_path / "grid").known("GB", DIRECT, Interval.starting(MAY, 86400))
    assert series.values[::2] == tuple(float(hour + 100) for hour in range(24))
    assert series.origin.licence == "CC BY 4.0"


def test_a_second_fetch_asks_for_nothing_that_is_settled(filled: Callable[..., Fetched], api: Any):
    filled()
    before = len(api.asked)

    done = filled(end="2026-06-03")

    assert len(api.asked) == before + 1
    assert api.asked[-1].path.startswith("/intensity/2026-06-01T00:00Z/")
    assert done.zones[0].there_s == 31 * 86400.0


def test_what_may_have_been_revised_is_asked_for_again(tmp_path: Path, api: Any, answer: Any):
    into = tmp_path / "grid"
    # The clock of this machine dates what is retrieved, so the window ends with it.
    hour = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    week = {"start": f"{hour - timedelta(days=7):%Y-%m-%dT%H:%MZ}", "end": f"{hour:%Y-%m-%dT%H:%MZ}", "into": into}
    fetch(["GB"], "neso", **week)
    before = len(api.asked)

    done = fetch(["GB"], "neso", **week, settled_after_h=24.0, now=lambda: datetime.now(UTC) + timedelta(hours=2))

    assert len(api.asked) > before
    assert done.zones[0].came_s / 3600 == pytest.approx(24, abs=1)


def test_an_outage_midway_keeps_what_came_and_says_what_is_missing(
    filled: Callable[..., Fetched], tmp_path: Path, api: Any, answer: Any
):
    api.on("/intensity/2026-05-15", answer({"error": {"code": "500", "message": "oops"}}, 400))

    done = filled()

    assert isinstance(done.zones[0].failure, GridUnavailable)
    assert done.exit_code == 4
    assert (done.zones[0].came_s, done.zones[0].left_s) == (14 * 86400.0, 17 * 86400.0)
    assert Archive(tmp_path / "grid").known("GB", DIRECT, Interval.starting(MAY, 14 * 86400.0)).missing_share == 0

    api.on("/intensity/2026-05-15", lambda asked: answer(neso(asked.path)))
    again = filled()
    assert (again.exit_code, again.zones[0].there_s, again.zones[0].came_s) == (0, 14 * 86400.0, 17 * 86400.0)


class Busy(FixedGrid):
    """A source that asks for pauses before it answers."""

    def __init__(self, *pauses_s: int) -> None:
        super().__init__(carbon={"GB": 100.0})
        self.pauses_s = list(pauses_s)

    def carbon(self, zone: str, window: Interval, meaning: CarbonMeaning | None = None) -> CarbonSeries:
        if self.pauses_s:
            raise GridBusy("static", self.pauses_s.pop(0), "Wait")
        return super().carbon(zone, window, meaning)


@pytest.mark.parametrize(
    ("pauses_s", "slept_s", "code"), [((60, 50), [60, 50], 0), ((60, 70), [60], 4), ((500,), [], 4), ((), [], 0)]
)
def test_a_source_that_is_busy_is_waited_for_within_our_patience(
    filled: Callable[..., Fetched],
    monkeypatch: pytest.MonkeyPatch,
    pauses_s: tuple[int, ...],
    slept_s: list[int],
    code: int,
):
    monkeypatch.setattr("outweigh.app.grid_fetch.open_source", lambda _: Busy(*pauses_s))
    slept: list[float] = []

    done = filled(sleep=slept.append, patience_s=120.0)

    assert (done.exit_code, slept) == (code, slept_s)
    assert isinstance(done.zones[0].failure, GridBusy) == (code == 4)


class ShortMemory(FixedGrid):
    """A source that can be asked for the last week alone."""

    @property
    def limits(self) -> SourceLimits:
        return replace(super().limits, back_s=7 * 86400.0)


def test_what_a_source_does_not_reach_back_to_is_said_to_be_missing(
    filled: Callable[..., Fetched], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("outweigh.app.grid_fetch.open_source", lambda _: ShortMemory(carbon={"GB": 100.0}))

    done = filled(now=lambda: datetime(2026, 6, 1, tzinfo=UTC))

    assert (done.zones[0].left_s, done.zones[0].came_s) == (24 * 86400.0, 7 * 86400.0)
    assert done.exit_code == 4


class Holed(FixedGrid):
    """A source that has nothing of some time, and remembers what it was asked for."""

    def __init__(self, *holes: Interval) -> None:
        super().__init__(carbon={"GB": 100.0})
        self.holes = list(holes)
        self.asked: list[Interval] = []

    def carbon(self, zone: str, window: Interval, meaning: CarbonMeaning | None = None) -> CarbonSeries:
        self.asked.append(window)
        flat = super().carbon(zone, window, meaning)
        slots = (Slot(one.start, one.end, 100.0, DataQuality.ESTIMATED) for one in without(window, self.holes))
        return CarbonSeries.of(slots, window, flat.meaning, flat.origin)


def days_of_may(first: int, last: int) -> Interval:
    return Interval(MAY + timedelta(days=first - 1), MAY + timedelta(days=last - 1))


@pytest.fixture
def holed(monkeypatch: pytest.MonkeyPatch) -> Holed:
    source = Holed(days_of_may(10, 12))
    monkeypatch.setattr("outweigh.app.grid_fetch.open_source", lambda _: source)
    return source


def test_a_hole_in_settled_time_is_asked_for_again_and_filled(
    filled: Callable[..., Fetched], tmp_path: Path, holed: Holed
):
    first = filled()
    hole = holed.holes.pop()
    second = filled(now=lambda: NOW + timedelta(days=1))

    assert (first.zones[0].gap_s, second.zones[0].there_s) == (2 * 86400.0, 29 * 86400.0)
    assert holed.asked[1:] == [hole]
    assert (second.zones[0].came_s, second.zones[0].gap_s, second.exit_code) == (2 * 86400.0, 0.0, 0)
    [one] = Archive(tmp_path / "grid").held("GB")
    assert Archive(tmp_path / "grid").known("GB", one.meaning, days_of_may(1, 32)).missing_share == 0


def test_a_hole_that_stays_one_is_asked_for_three_times_and_then_told(filled: Callable[..., Fetched], holed: Holed):
    runs = [filled(now=lambda n=n: NOW + timedelta(days=n)) for n in range(5)]

    assert len(holed.asked) == 3
    assert [one.zones[0].there_gap_s for one in runs] == [0.0, 0.0, 0.0, 2 * 86400.0, 2 * 86400.0]
    assert runs[-1].zones[0].there_s == 31 * 86400.0
    filled(again=True, now=lambda: NOW + timedelta(days=6))
    assert len(holed.asked) == 4


def test_holes_that_lie_near_one_another_are_one_request(filled: Callable[..., Fetched], holed: Holed):
    holed.holes[:] = [days_of_may(3, 4), days_of_may(6, 7), days_of_may(25, 26)]
    filled()

    filled(now=lambda: NOW + timedelta(days=1))

    assert holed.asked[1:] == [days_of_may(3, 7), days_of_may(25, 26)]


def test_a_file_is_read_for_its_holes_every_time(tmp_path: Path):
    path, into = own_file(tmp_path), tmp_path / "grid"
    whole = path.read_text().splitlines(keepends=True)
    options = {"start": "2026-05-01", "end": "2026-05-03", "into": into, "now": lambda: NOW}

    for day in range(1, 7):
        path.write_text("".join(whole[:1] + whole[1 + 2 * day :]), encoding="utf-8")
        fetch(["DE"], f"file:{path}", known_since=f"2026-06-{day:02}", **options)
    path.write_text("".join(whole), encoding="utf-8")
    done = fetch(["DE"], f"file:{path}", known_since="2026-06-10", **options)

    assert (done.zones[0].there_gap_s, done.zones[0].gap_s) == (0.0, 0.0)
    assert Archive(into).known("DE", DIRECT, Interval.starting(MAY, 2 * 86400)).missing_share == 0


class Spoilt(Holed):
    """A source whose answer for some time cannot be read, or that has none of it."""

    def __init__(self, failing: OutweighError, *holes: Interval) -> None:
        super().__init__(*holes)
        self.failing = failing

    def carbon(self, zone: str, window: Interval, meaning: CarbonMeaning | None = None) -> CarbonSeries:
        if any(window.overlap_s(hole) for hole in self.holes):
            raise self.failing
        return super().carbon(zone, window, meaning)


@pytest.mark.parametrize(
    "failing",
    [
        FactorMissing("carbon intensity", "GB", (), "Take another source"),
        GapsTooLarge("carbon intensity of GB", "[2026-06-01, 2026-07-01)", 100, "Take another source"),
        GridDataInvalid("static", "GB 2026-06-03T01:15Z", "9999 gCO2e/kWh", "Check the unit"),
    ],
)
def test_a_month_without_data_keeps_no_later_month_from_coming(
    filled: Callable[..., Fetched], monkeypatch: pytest.MonkeyPatch, failing: OutweighError
):
    june = Interval(datetime(2026, 6, 3, tzinfo=UTC), datetime(2026, 6, 4, tzinfo=UTC))
    monkeypatch.setattr("outweigh.app.grid_fetch.open_source", lambda _: Spoilt(failing, june))

    done = filled(end="2026-08-02", now=lambda: datetime(2026, 9, 1, tzinfo=UTC))
    again = filled(end="2026-08-02", now=lambda: datetime(2026, 9, 2, tzinfo=UTC))

    [zone], month = done.zones, Interval(datetime(2026, 6, 1, tzinfo=UTC), datetime(2026, 7, 2, tzinfo=UTC))
    assert (zone.came_s, zone.left_s) == (62 * 86400.0, 31 * 86400.0)
    assert zone.failures == [(month, failing)]
    assert (done.exit_code, again.exit_code) == (4, 4)
    assert done.rows()[0]["failures"][0]["start"] == "2026-06-01T00:00:00+00:00"
    assert (again.zones[0].there_s, again.zones[0].requests) == (62 * 86400.0, 1)


def test_a_provider_that_is_down_is_not_asked_for_the_next_zone(tmp_path: Path, api: Any, answer: Any):
    api.on("/intensity", answer({}, 403)).on("/regional", answer({}, 403))

    done = fetch(["GB", "GB-C"], "neso", start="2026-05-01", end="2026-05-02", into=tmp_path, now=lambda: NOW)

    assert len(api.asked) == 1
    assert [one.left_s for one in done.zones] == [86400.0, 86400.0]
    assert done.exit_code == 4


def test_ctrl_c_keeps_what_came(filled: Callable[..., Fetched], tmp_path: Path):
    def interrupt(what: str, share: float) -> None:
        if share > 0.4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        filled(progress=interrupt)

    series = Archive(tmp_path / "grid").known("GB", DIRECT, Interval.starting(MAY, 14 * 86400.0))
    assert series.missing_share == 0


def test_each_forecast_is_an_issue_of_its_own(tmp_path: Path, provider: Any, answer: Any):
    said = neso("/intensity/2026-05-01T00:00Z/2026-05-03T00:00Z")
    provider.stands_in_for("neso").on("/intensity", answer(said))

    done = fetch(["GB"], "neso", start="2026-05-01", end="2026-05-03", what=Offer.FORECAST, into=tmp_path)

    archive = Archive(tmp_path)
    window = Interval.starting(MAY, 2 * 86400.0)
    assert done.exit_code == 0
    assert set(archive.forecast_as_of("GB", DIRECT, window).values) == {500.0}
    [put] = archive.vintages("GB", DIRECT)
    assert put.issued_at is not None


def own_file(folder: Path, value: float = 300.0) -> Path:
    path = folder / "year.csv"
    rows = [HEADER]
    for n in range(48):
        span = f"{MAY + timedelta(hours=n):%Y-%m-%dT%H:%MZ},{MAY + timedelta(hours=n + 1):%Y-%m-%dT%H:%MZ}"
        rows.append(f"DE,{span},{value + n},gCO2e/kWh,average,direct,consumption,,,measured,")
        rows.append(f"DE,{span},{n - 20},EUR/MWh,,,,day-ahead,out,measured,")
    path.write_text("\n".join(rows), encoding="utf-8")
    return path


def test_a_file_of_ones_own_becomes_a_vintage_known_since_it_was_downloaded(tmp_path: Path):
    path, into = own_file(tmp_path), tmp_path / "grid"
    options = {"start": "2026-05-01", "end": "2026-05-03", "into": into, "now": lambda: NOW}

    fetch(["DE"], f"file:{path}", known_since="2026-05-10", **options)
    own_file(tmp_path, value=200.0)
    fetch(["DE"], f"file:{path}", known_since="2026-06-10", again=True, **options)
    fetch(["DE"], f"file:{path}", what=Offer.PRICES, known_since="2026-06-10", **options)

    archive, first = Archive(into), Interval.starting(MAY, 3600)
    assert archive.known("DE", DIRECT, first, at=datetime(2026, 6, 1, tzinfo=UTC)).values == (300.0,)
    assert archive.known("DE", DIRECT, first).values == (200.0,)
    auction = PriceMeaning("EUR", Market.DAY_AHEAD, taxes=False)
    assert archive.known("DE", auction, first).values == (-0.02,)


def test_a_file_is_known_since_its_own_time_and_is_put_once(tmp_path: Path):
    path, into = own_file(tmp_path), tmp_path / "grid"
    since = datetime(2026, 5, 20, tzinfo=UTC)
    os.utime(path, (since.timestamp(), since.timestamp()))
    options = {"start": "2026-05-01", "end": "2026-05-03", "into": into, "now": lambda: NOW}

    fetch(["DE"], f"file:{path}", **options)
    again = fetch(["DE"], f"file:{path}", again=True, **options)

    [put] = Archive(into).vintages("DE", DIRECT)
    assert put.retrieved_at == since
    assert again.zones[0].puts == [put.id]


def test_a_window_that_the_source_knows_nothing_of_leaves_nothing_and_ends_with_4(tmp_path: Path):
    done = fetch(["DE"], f"file:{own_file(tmp_path)}", start="2020-01-01", end="2020-01-02", into=tmp_path / "grid")

    assert done.exit_code == 4
    assert done.zones[0].has_nothing
    assert not (tmp_path / "grid").exists()


@pytest.mark.parametrize(
    ("options", "refused"),
    [
        ({"zones": ["GB-XX"]}, UnknownZone),
        ({"what": Offer.PRICES}, FactorMissing),
        ({"start": "noon"}, UsageError),
        ({"start": "2026-05-01T00:00"}, UsageError),
        ({"start": "0001-01-01"}, UsageError),
        ({"start": "2026-05-02", "end": "2026-05-01"}, UsageError),
        ({"known_since": "2199-01-01"}, UsageError),
        ({"settled_after_h": float("nan")}, UsageError),
        ({"patience_s": -1.0}, UsageError),
        ({"source": "file:none.csv"}, UsageError),
    ],
)
def test_a_slip_is_told_before_anything_is_asked(tmp_path: Path, api: Any, options: dict[str, Any], refused: type):
    given = {"zones": ["GB"], "source": "neso", "start": "2026-05-01", "end": "2026-05-02", "into": tmp_path / "grid"}

    with pytest.raises(refused):
        fetch(**(given | options))

    assert api.asked == []
    assert not (tmp_path / "grid").exists()


def test_merging_says_how_many_files_there_are(filled: Callable[..., Fetched], tmp_path: Path):
    filled()

    done = compact(tmp_path / "grid", lambda _what, _share: None)

    assert (done["files_before"], done["files_after"]) == (3, 1)
    with pytest.raises(UsageError):
        compact(tmp_path / "none", lambda _what, _share: None)


# --- at the command line ------------------------------------------------------------------------------


def outweigh(*args: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run([OUTWEIGH, "grid", *args], capture_output=True, text=True, timeout=120, check=False)
    assert "Traceback" not in done.stderr, done.stderr
    return done


def test_from_a_file_to_what_was_known_at_a_moment(tmp_path: Path):
    path, into = str(own_file(tmp_path)), str(tmp_path / "grid")

    done = outweigh(
        "fetch", "DE", "--source", f"file:{path}", "--from", "2026-05-01", "--to", "2026-05-03", "--into", into,
        "--known-since", "2026-05-10", "--json",
    )  # fmt: skip
    shown = outweigh(
        "show", "DE", "--archive", into, "--as-of", "2026-05-11T00:00Z", "--at", "2026-05-01T05:00Z", "--json"
    )
    early = outweigh("show", "DE", "--archive", into, "--as-of", "2026-05-09T00:00Z", "--at", "2026-05-01T05:00Z")
    plain = outweigh("show", "DE", "--archive", into, "--at", "2026-05-01T05:00Z")

    assert done.returncode == 0
    assert json.loads(done.stdout)["came_s"] == 2 * 86400.0
    body = json.loads(shown.stdout)
    assert (body["intensity_g_per_kwh"], body["level"], body["backend"]) == (305.0, "file", "archive")
    assert body["retrieved_at"] == "2026-05-10T00:00:00+00:00"
    assert (early.returncode, early.stdout) == (4, "")
    assert "fetch" in early.stderr
    assert "305 gCO2e/kWh" in plain.stdout


def test_the_summary_names_a_part_that_did_not_come_and_a_gap_that_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def day(n: int) -> Interval:
        return Interval.starting(datetime(2020, 1, n, tzinfo=UTC), 86400)

    holed = Holed(day(5))
    spoilt = Spoilt(GridDataInvalid("static", "GB", "9999 gCO2e/kWh", "Check the unit"), day(9))
    args = ["GB", "--source", "neso", "--from", "2020-01-01", "--to", "2020-01-11", "--into", str(tmp_path / "grid")]

    monkeypatch.setattr("outweigh.app.grid_fetch.open_source", lambda _: holed)
    runs = [CliRunner().invoke(fetch_command, args, standalone_mode=False) for _ in range(4)]
    monkeypatch.setattr("outweigh.app.grid_fetch.open_source", lambda _: spoilt)
    bad = CliRunner().invoke(fetch_command, [*args, "--again"], standalone_mode=False)

    assert [one.return_value for one in (*runs, bad)] == [0, 0, 0, 0, 4]
    assert "of what was there 24 h are gaps that neso was asked for often enough" in runs[3].stderr
    assert "often enough" not in runs[2].stderr
    assert "GB 2020-01-01 to 2020-01-11: grid source static, GB: 9999 gCO2e/kWh" in bad.stderr


def test_nothing_else_is_asked_what_it_once_said(tmp_path: Path):
    (tmp_path / "grid").mkdir()

    done = outweigh("show", "DE", "--archive", str(tmp_path / "grid"), "--as-of", "2026-05-11T00:00Z", "--live")

    assert done.returncode == 2
    assert "archive alone" in done.stderr


@pytest.mark.parametrize(
    "args", [(), ("DE",), ("--source", "tables"), ("DE", "--source", "nowhere"), ("--compact", "--into", "/nowhere")]
)
def test_a_fetch_of_nothing_ends_with_2(args: tuple[str, ...]):
    done = outweigh("fetch", *args)

    assert (done.returncode, done.stdout) == (2, "")


def test_ctrl_c_at_the_command_line_tells_what_came_and_ends_with_130(tmp_path: Path, provider: Any, answer: Any):
    provider.stands_in_for("neso").on("/intensity", lambda asked: answer(neso(asked.path)))
    provider.on("/intensity/2026-05-15", answer(hold=True))
    process = subprocess.Popen(
        [OUTWEIGH, "grid", "fetch", "GB", "--source", "neso", "--from", "2026-05-01", "--to", "2026-06-01",
         "--into", str(tmp_path / "grid"), "--json"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    while len(provider.asked) < 2:
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)

    assert process.returncode == 130, err
    assert "Traceback" not in err
    row = json.loads(out)
    assert (row["came_s"], row["left_s"]) == (14 * 86400.0, 17 * 86400.0)
    assert Archive(tmp_path / "grid").known("GB", DIRECT, Interval.starting(MAY, 86400)).missing_share == 0
