"""`outweigh grid forecast`: what it says, what it hands on, and what it refuses."""

from __future__ import annotations

import csv
import io
import json
import math
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

OUTWEIGH = str(Path(sys.executable).with_name("outweigh"))
START = datetime(2026, 1, 5, tzinfo=UTC)
DAYS = 70


def outweigh(*args: str, verb: str = "forecast") -> subprocess.CompletedProcess[str]:
    done = subprocess.run([OUTWEIGH, "grid", verb, *args], capture_output=True, text=True, timeout=180, check=False)
    assert "Traceback" not in done.stderr, done.stderr
    return done


def write(folder: Path, days: int = DAYS, price: bool = False) -> str:
    """A daily and a weekly shape with a week-long swell, every hour but one known."""
    head = "zone,start,end,value,unit,kind,scope,accounting,market,taxes,quality"
    says = "EUR/MWh,,,,day-ahead,out,measured" if price else "gCO2e/kWh,average,direct,production,,,measured"
    lines = [head]
    for hour in range(24 * days):
        at = START + timedelta(hours=hour)
        value = 300 + 80 * math.sin(hour * math.pi / 12) + 40 * math.sin(hour / 30) + 20 * (at.weekday() > 4)
        shown = "" if hour == 500 else f"{value - 320 * price:.3f}"
        lines.append(f"DE,{at.isoformat()},{(at + timedelta(hours=1)).isoformat()},{shown},{says}")
    path = folder / "own.csv"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return str(path)


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write(tmp_path_factory.mktemp("history"))


def test_people_see_method_skill_rivals_and_intervals(history: str):
    done = outweigh("DE", "--file", history, "--hours", "24", "--method", "seasonal", "--clocks", "Europe/Berlin")

    assert done.returncode == 0
    assert "seasonal-2, fitted on outcomes up to 2026-03-16T00:00Z" in done.stdout
    assert "better than yesterday's value by" in done.stdout
    assert all(words in done.stdout for words in ("yesterday ", "last week ", "90 % interval", "grade C", "g/kWh"))
    assert "Mon 2026-03-16 01:00 +0100" in done.stdout
    assert "the history ends at 2026-03-16T00:00Z" in done.stderr
    assert "% of the history is missing" in done.stderr


def test_json_has_full_precision_units_in_keys_and_the_skill(history: str):
    body = json.loads(outweigh("DE", "--file", history, "--hours", "6", "--method", "seasonal", "--json").stdout)

    assert len(body["slots"]) == 6
    first = body["slots"][0]
    assert first["low_intensity_g_per_kwh"] <= first["intensity_g_per_kwh"] <= first["high_intensity_g_per_kwh"]
    assert (body["quality"], body["grade"], body["confidence"]) == ("forecast", "C", 0.9)
    assert body["issued_at"] == "2026-03-16T00:00:00+00:00"
    assert body["skill"]["this"]["mae"] < body["skill"]["persistence"]["mae"]
    assert body["skill"]["better_than_persistence"] is True


def test_an_issue_in_the_past_knows_nothing_later(history: str, tmp_path: Path):
    cut = tmp_path / "cut.csv"
    lines = Path(history).read_text(encoding="utf-8").splitlines()
    cut.write_text("\n".join(lines[: 1 + 24 * 55]) + "\n", encoding="utf-8")
    args = ("--issued", "2026-03-01T00:00Z", "--hours", "12", "--method", "seasonal", "--json")

    one, other = (json.loads(outweigh("DE", "--file", str(path), *args).stdout) for path in (history, cut))

    assert one["slots"] == other["slots"]
    assert one["skill"] == other["skill"]


def test_lines_of_csv_are_a_file_that_other_verbs_read(history: str, tmp_path: Path):
    done = outweigh("DE", "--file", history, "--hours", "24", "--method", "seasonal", "--csv")
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    own = tmp_path / "ahead.csv"
    own.write_text(done.stdout, encoding="utf-8")

    from outweigh.core.intervals import Interval
    from outweigh.grid import open_source

    series = open_source(f"file:{own}").forecast("DE", Interval.starting(START + timedelta(days=DAYS), 24 * 3600))

    assert len(rows) == 24
    assert series.missing_share == 0
    assert series.values[0] == float(rows[0]["value"])
    assert series.origin.issued_at == START + timedelta(days=DAYS)


def test_prices_are_told_per_mwh_with_their_sign(tmp_path: Path):
    done = outweigh("DE", "--file", write(tmp_path, price=True), "--price", "--hours", "24", "--method", "seasonal")

    assert done.returncode == 0
    assert "EUR/MWh MAE" in done.stdout
    assert "MAPE" not in done.stdout
    assert "-" in done.stdout.split("90 % interval ")[-1]


@pytest.mark.parametrize(
    ("args", "code", "says"),
    [
        (("DE",), 2, "say where the history is"),
        (("DE", "--hours", "500"), 2, "out of reach"),
        (("DE", "--clocks", "Berlin/Europe"), 2, "no clocks called"),
        (("DE", "--clocks", "../../etc/passwd"), 2, "no clocks called"),
        (("DE", "--issued", "2026-03-01T00:00"), 2, "how far it is from UTC"),
        (("DE", "--issued", "soon"), 2, "not an ISO 8601 time"),
        (("DE", "--issued", "2026-01-20T00:00Z"), 4, "42 days"),
        (("DE", "--issued", "2027-01-20T00:00Z"), 4, "reach is 168 h"),
        (("DE", "--issued", "2020-01-20T00:00Z"), 4, "lacks 100 %"),
        (("FR",), 2, "FR"),
        (("DE", "--price"), 4, "electricity price"),
        (("Germny",), 2, "DE"),
    ],
)
def test_what_cannot_be_done_says_why(history: str, args: tuple[str, ...], code: int, says: str):
    extra = () if args == ("DE",) else ("--file", history)

    done = outweigh(*args, *extra, "--method", "seasonal")

    assert (done.returncode, done.stdout) == (code, "")
    assert says in done.stderr


def test_typical_days_are_refused_as_a_history():
    done = outweigh("US-CAL-CISO", "--source", "typical", "--method", "seasonal")

    assert (done.returncode, done.stdout) == (2, "")
    assert "learns from days that were" in done.stderr
