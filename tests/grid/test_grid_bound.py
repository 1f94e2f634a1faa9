"""The most that shifting could save: worked by hand, as laws, and next to published sums."""

from __future__ import annotations

import csv
import gzip
import itertools
import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from outweigh.core.errors import GapsTooLarge, InvalidQuantity
from outweigh.core.quantities import CarbonScope
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
)
from outweigh.grid.bound import bound, bounds

START = datetime(2022, 1, 1, tzinfo=UTC)
ORIGIN = Origin("test", "DE", "made here", "CC0")
CARBON = CarbonMeaning(CarbonKind.AVERAGE, CarbonScope.LIFECYCLE, Accounting.CONSUMPTION)
EUR = PriceMeaning("EUR", Market.DAY_AHEAD, taxes=False)
OUTWEIGH = str(Path(sys.executable).with_name("outweigh"))
VALUES = st.lists(st.floats(1, 900), min_size=30, max_size=80)


def carbon(values: list[float | Gap], step_s: float = 3600.0) -> CarbonSeries:
    return CarbonSeries.regular(START, step_s, values, DataQuality.MEASURED, CARBON, ORIGIN)


def prices(values: list[float | Gap]) -> PriceSeries:
    return PriceSeries.regular(START, 3600.0, values, DataQuality.MEASURED, EUR, ORIGIN)


def test_a_worked_example_by_hand():
    # Windows of 3 h for a job of 2 h: [4 2 6] and [2 6 1]. At once 3 and 4; in one piece 3 and 3.5; with pauses 3 and
    # 1.5. Over both starts together: at once 7, in one piece 6.5, with pauses 4.5.
    found = bound(carbon([4.0, 2.0, 6.0, 1.0]), 2, 3)

    assert (found.starts, found.left_out, found.now) == (2, 0, 3.5)
    assert found.in_one_piece.share == pytest.approx(1 - 6.5 / 7)
    assert found.with_pauses.share == pytest.approx(1 - 4.5 / 7)
    assert found.with_pauses.mean == pytest.approx(2.5 / 2)
    assert found.in_one_piece.worth_share == 0.5


@given(values=VALUES, job=st.integers(1, 8), slack=st.integers(0, 12))
@settings(max_examples=60)
def test_it_is_what_trying_every_choice_gives(values: list[float], job: int, slack: int):
    window = job + slack

    found = bound(carbon(list(values)), job, window)

    at_once, one_piece, pauses = 0.0, 0.0, 0.0
    for start in range(len(values) - window + 1):
        inside = values[start : start + window]
        runs = [sum(inside[k : k + job]) for k in range(slack + 1)]
        at_once, one_piece, pauses = at_once + runs[0], one_piece + min(runs), pauses + sum(sorted(inside)[:job])
    assert found.in_one_piece.share == pytest.approx(1 - one_piece / at_once, abs=1e-9)
    assert found.with_pauses.share == pytest.approx(1 - pauses / at_once, abs=1e-9)


@given(values=VALUES, job=st.integers(1, 6))
@settings(max_examples=40)
def test_pauses_and_slack_never_hurt_and_a_full_window_saves_nothing(values: list[float], job: int):
    series = carbon(list(values))
    # The same starts for all, or the comparison would be of different days.
    sizes = [(job, job), (job, job + 4)]

    full, wide = bounds(series, sizes)

    assert full.in_one_piece.mean == 0
    assert full.with_pauses.mean == pytest.approx(0, abs=1e-9)
    assert wide.with_pauses.mean >= wide.in_one_piece.mean - 1e-9
    assert 0 <= (wide.in_one_piece.share or 0) < 1


@given(values=VALUES, gap=st.integers(0, 29))
@settings(max_examples=40)
def test_a_gap_never_wins(values: list[float], gap: int):
    dear = [*values[:gap], 5_000.0, *values[gap + 1 :]]
    unknown: list[float | Gap] = [*values[:gap], Gap.MISSING, *values[gap + 1 :]]

    with_gap = bound(carbon(unknown), 1, 20)
    with_worst = bound(carbon(list(dear)), 1, 20)

    assert with_gap.starts + with_gap.left_out == with_worst.starts
    assert with_gap.left_out == (1 if gap <= len(values) - 20 else 0)
    assert with_gap.with_pauses.share == pytest.approx(with_gap.in_one_piece.share)


def test_windows_with_more_than_a_tenth_missing_are_left_out_and_counted():
    # Hour 30 and the two after it are missing: of the windows of 20 h that hold two or more of them are starts 12 to 32
    # (two of 20 are a tenth and count); those with all three, 13 to 30, do not; nor does a job that starts on a gap.
    values: list[float | Gap] = [100.0 + hour % 24 for hour in range(100)]
    values[30:33] = [Gap.MISSING] * 3

    found = bound(carbon(values), 1, 20)

    all_three = set(range(33 - 20, 30 + 1))
    assert found.left_out == len(all_three | {30, 31, 32})
    assert found.starts == 100 - 20 + 1 - found.left_out


def test_nothing_known_enough_is_refused_with_the_share():
    values: list[float | Gap] = [100.0 if hour % 4 else Gap.MISSING for hour in range(100)]

    with pytest.raises(GapsTooLarge) as refused:
        bound(carbon(values), 1, 24)

    assert refused.value.missing_percent == 25


def test_filled_and_foretold_slots_are_no_outcomes():
    known = carbon([100.0, 90.0, 80.0] * 20)
    low = CarbonSeries(
        known.meaning,
        known.edges_s,
        tuple(1.0 if i == 7 else value for i, value in enumerate(known.values)),
        tuple(DataQuality.FORECAST if i == 7 else quality for i, quality in enumerate(known.qualities)),
        known.origin,
    )

    found = bound(low, 1, 12)

    assert found.with_pauses.mean <= 20
    assert found.left_out > 0


def test_negative_prices_have_a_saving_in_money_and_no_percentage():
    found = bound(prices([-0.05, 0.01, -0.09, 0.02] * 20), 1, 4)

    assert found.now < 0
    assert found.in_one_piece.share is None
    assert found.in_one_piece.mean > 0


def test_quarter_hours_take_jobs_of_quarter_hours_and_agree_with_hours_where_they_are_the_same():
    hours = [100.0 + 50 * np.sin(hour / 4) for hour in range(96)]
    quarters = list(itertools.chain.from_iterable([value] * 4 for value in hours))

    fine = bound(carbon(quarters, 900.0), 1.25, 24)

    assert fine.starts == 96 * 4 - 96 + 1
    with pytest.raises(InvalidQuantity, match="whole steps"):
        bound(carbon(list(hours)), 1.25, 24)


@pytest.mark.parametrize(
    ("job", "window", "problem"),
    [(5, 4, "at least its length"), (0, 4, "whole steps"), (float("nan"), 4, "whole steps"), (4, 9999, "series has")],
)
def test_lengths_that_cannot_be_are_refused(job: float, window: float, problem: str):
    with pytest.raises(InvalidQuantity, match=problem):
        bound(carbon([100.0] * 48), job, window)


def test_a_yearly_mean_has_no_bound():
    with pytest.raises(InvalidQuantity, match="hides what shifting gains"):
        bound(carbon([300.0, 310.0], 86400.0), 1, 24)


def test_germany_2022_is_what_was_published():
    """Sukprasert et al., EuroSys 2024, artefact: sums over the starts of 2022, window = job + slack."""
    root = Path(os.environ.get("OUTWEIGH_SHARED_DATA", Path(__file__).parents[3] / "shared" / "data")) / "grid"
    if not root.is_dir():
        pytest.skip(f"no reference data at {root}: set OUTWEIGH_SHARED_DATA")
    with gzip.open(root / "carbon_2022_115zones.csv.gz", "rt", encoding="utf-8") as lines:
        series = carbon([float(row["DE"]) for row in csv.DictReader(lines)])
    with (root / "expected_shift_bounds_2022.csv").open(encoding="utf-8") as lines:
        (row,) = (
            row
            for row in csv.DictReader(lines)
            if (row["zone"], float(row["job_h"]), float(row["slack_h"])) == ("DE", 6, 24)
        )

    found = bound(series, 6, 30)

    now = float(row["sum_now"])
    # They count the year's last 24 starts too, with windows that are cut short.
    assert found.in_one_piece.share == pytest.approx(1 - float(row["sum_contiguous"]) / now, abs=0.001)
    assert found.with_pauses.share == pytest.approx(1 - float(row["sum_interruptible"]) / now, abs=0.001)


# --- at the command line --------------------------------------------------------------------------------


def outweigh(*args: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run([OUTWEIGH, "grid", "bound", *args], capture_output=True, text=True, timeout=120, check=False)
    assert "Traceback" not in done.stderr, done.stderr
    return done


def write(folder: Path, days: int, zone: str = "DE") -> Path:
    path = folder / "own.csv"
    lines = ["zone,start,end,value,unit,kind,scope,accounting,quality"]
    for hour in range(24 * days):
        at = START + timedelta(hours=hour)
        value = 300 if hour % 24 < 12 else 200
        slot = f"{at.isoformat()},{(at + timedelta(hours=1)).isoformat()}"
        lines.append(f"{zone},{slot},{value},gCO2e/kWh,average,direct,production,measured")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_without_data_typical_days_are_an_example_and_say_so():
    size = ("US-CAL-CISO", "--job", "4h", "--window", "24h")

    told, body = outweigh(*size), json.loads(outweigh(*size, "--json").stdout)

    assert told.returncode == 0
    assert "no bound for your year" in told.stderr
    assert (body["job_h"], body["window_h"], body["example_only"], body["grade"]) == (4, 24, True, "D")
    assert any("no bound for your year" in note for note in body["notes"])


def test_a_file_gives_a_table_of_lengths_and_windows(tmp_path: Path):
    done = outweigh("DE", "--file", str(write(tmp_path, 30)))

    assert done.returncode == 0
    assert "perfect foresight" in done.stdout
    assert done.stdout.count(" h ") > 10
    assert "30 known days are not a year" in done.stderr


def test_half_of_the_starts_gain_a_third(tmp_path: Path):
    # 12 dear hours (300) and 12 cheap ones (200): 1 h in 24 h always ends in a cheap one. (250 - 200) / 250 = 0.2.
    done = outweigh("DE", "--file", str(write(tmp_path, 366)), "--job", "1h", "--window", "24h", "--json")

    body = json.loads(done.stdout)
    assert body["saved_in_one_piece_share"] == pytest.approx(0.2, abs=1e-3)
    assert body["starts_worth_it_share"] == pytest.approx(0.5, abs=1e-3)
    assert body["now_g_per_kwh"] == pytest.approx(250, abs=0.1)


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (("DE",), "no typical days of DE"),
        (("US-CAL-CISO", "--price"), "no prices"),
        (("US-CAL-CISO", "--job", "soon"), "not a length of time"),
        (("US-CAL-CISO", "--job", "nan"), "not a length of time"),
        (("US-CAL-CISO", "--job", "9h", "--window", "4h"), "does not fit a window"),
        (("US-CAL-CISO", "--year", "3022"), "no year of electricity data"),
        (("US-CAL-CISO", "--year", "2019"), "typical days here are of 2022, and --year asks for 2019"),
        (("US-CAL-CISO", "--source", "typical", "--year", "2019"), "--file PATH or --source NAME --year 2019"),
        (("US-CAL-CISO", "--source", "nobody"), "nobody"),
        (("US-CAL-CSO",), "US-CAL-CISO"),
    ],
)
def test_what_cannot_be_done_ends_with_2_and_says_what_to_do(args: tuple[str, ...], says: str):
    done = outweigh(*args)

    assert (done.returncode, done.stdout) == (2, "")
    assert says in done.stderr


def test_a_history_shorter_than_any_usual_window_is_refused_with_what_to_do(tmp_path: Path):
    history = write(tmp_path, 1)
    history.write_text("".join(history.read_text().splitlines(keepends=True)[:2]))

    done = outweigh("DE", "--file", str(history))

    assert (done.returncode, done.stdout) == (4, "")
    assert "a history of 1 h" in done.stderr
    assert "Give a longer one" in done.stderr


def test_on_a_narrow_terminal_no_figure_is_cut(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    from outweigh.cli.main import run

    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)

    assert run(["grid", "bound", "US-CAL-CISO", "--job", "4h", "--window", "24h"]) == 0

    said = capsys.readouterr().out
    assert "in one piece: 31.0 %\n" in said
    assert "\N{HORIZONTAL ELLIPSIS}" not in said
