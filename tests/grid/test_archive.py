"""The archive: what was put is kept as it was said, the newest word holds, and nothing of different meaning meets."""

from __future__ import annotations

import importlib.util
import os
import pickle
import signal
import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from outweigh.core.errors import FactorMissing, GridDataInvalid, InvalidQuantity, OutputError, UnknownZone, UsageError
from outweigh.core.intervals import Interval
from outweigh.core.series import CarbonSeries, DataQuality, Gap, Market, PriceMeaning
from outweigh.grid import open_source
from outweigh.grid.archive import Archive, default_folder

pytest.importorskip("duckdb")
spec = importlib.util.spec_from_file_location("archiving", Path(__file__).with_name("archiving.py"))
archiving = importlib.util.module_from_spec(spec)
spec.loader.exec_module(archiving)
AUCTION, DIRECT, LIFECYCLE, NOON = archiving.AUCTION, archiving.DIRECT, archiving.LIFECYCLE, archiving.NOON
after, hours, said, expected, paid = (
    archiving.after, archiving.hours, archiving.said, archiving.expected, archiving.paid,
)  # fmt: skip
standing_in = archiving.standing_in
GUESSES = (DataQuality.TYPICAL, DataQuality.YEARLY_DEFAULT, DataQuality.DECLARED, DataQuality.FILLED)


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    return Archive(tmp_path / "grid")


def test_a_series_comes_back_as_it_was_put_to_the_last_bit(archive: Archive):
    series = said([0.1 + 0.2, Gap.NULL, 5e-324, Gap.INVALID, Gap.MISSING, -0.0, 4999.999999999999], zone="a/b ü.")

    archive.put(series, retrieved_at=after(50))

    back = archive.known("a/b ü.", DIRECT, series.interval)
    assert back == replace(series, origin=replace(series.origin, retrieved_at=after(50)))
    assert str(back.values) == str(series.values)


def test_a_forecast_keeps_its_prediction_intervals_and_its_issue(archive: Archive):
    series = expected([100.0, 110.0], issued=after(-3), wide=7.5)

    archive.put(series, retrieved_at=after(-2))

    back = archive.forecast_as_of("DE", DIRECT, series.interval, after(0))
    assert back.bounds == series.bounds
    assert back.origin.issued_at == after(-3)
    assert back == replace(series, origin=replace(series.origin, retrieved_at=after(-2)))


def test_a_revised_value_holds_from_then_on_and_the_past_answers_as_it_did(archive: Archive):
    archive.put(said([300.0, 310.0]), retrieved_at=after(5))
    archive.put(said([250.0], first=1), retrieved_at=after(90))

    assert archive.known("DE", DIRECT, hours(0, 2), at=after(89)).values == (300.0, 310.0)
    assert archive.known("DE", DIRECT, hours(0, 2), at=after(90)).values == (300.0, 250.0)
    assert archive.known("DE", DIRECT, hours(0, 2)).values == (300.0, 250.0)


def test_an_older_issue_that_arrives_late_does_not_cover_a_newer_one(archive: Archive):
    archive.put(said([2.0], issued=after(3)), retrieved_at=after(4))
    archive.put(said([1.0], issued=after(2)), retrieved_at=after(9))

    assert archive.known("DE", DIRECT, hours(0, 1)).values == (2.0,)


def test_before_anything_was_known_there_is_no_answer(archive: Archive):
    archive.put(said([300.0]), retrieved_at=after(5))

    with pytest.raises(FactorMissing, match="by 2026-06-01T16:59:59Z"):
        archive.known("DE", DIRECT, hours(0, 1), at=after(5) - timedelta(seconds=1))
    assert archive.zones(at=after(4)) == ()
    assert archive.zones(at=after(5)) == ("DE",)


def test_what_was_beats_what_was_expected_however_new_the_forecast_is(archive: Archive):
    archive.put(said([300.0]), retrieved_at=after(2))
    archive.put(expected([200.0, 210.0], issued=after(3)), retrieved_at=after(3))

    series = archive.known("DE", DIRECT, hours(0, 3))

    assert series.values == (300.0, 210.0, Gap.MISSING)
    assert series.qualities[:2] == (DataQuality.ESTIMATED, DataQuality.FORECAST)
    assert archive.known("DE", DIRECT, hours(0, 2), forecasts=False).values == (300.0, Gap.MISSING)


def test_nothing_that_came_never_covers_a_value_but_a_provider_may_withdraw_one(archive: Archive):
    archive.put(said([300.0, 310.0]), retrieved_at=after(5))
    archive.put(said([Gap.MISSING, Gap.NULL]), retrieved_at=after(6))

    assert archive.known("DE", DIRECT, hours(0, 2)).values == (300.0, Gap.NULL)
    assert archive.known("DE", DIRECT, hours(0, 2), at=after(5)).values == (300.0, 310.0)


@pytest.mark.parametrize("quality", GUESSES)
def test_a_figure_that_stands_in_covers_neither_a_reading_nor_a_forecast_and_is_told_as_what_it_is(
    archive: Archive, quality: DataQuality
):
    archive.put(said([510.0]), retrieved_at=after(2))
    archive.put(expected([400.0, 410.0], issued=after(0)), retrieved_at=after(2))
    archive.put(standing_in([200.0] * 4, quality=quality), retrieved_at=after(9))

    series = archive.known("DE", DIRECT, hours(0, 4))

    assert series.values == (510.0, 410.0, 200.0, 200.0)
    assert series.qualities == (DataQuality.ESTIMATED, DataQuality.FORECAST, quality, quality)
    assert archive.known("DE", DIRECT, hours(0, 4), forecasts=False).values == (510.0, Gap.MISSING)


def test_a_provider_of_typical_days_is_not_preferred_to_readings_with_an_hour_late(archive: Archive):
    archive.put(standing_in([200.0] * 24, provider="a table"), retrieved_at=after(2))
    archive.put(said([510.0] * 23, provider="an operator"), retrieved_at=after(30))

    series = archive.known("DE", DIRECT, hours(0, 24))

    assert (series.origin.provider, series.values) == ("an operator", (510.0,) * 23 + (Gap.MISSING,))
    assert archive.known("DE", DIRECT, hours(0, 24), at=after(3)).origin.provider == "a table"


def test_readings_of_one_question_are_answered_before_the_guesses_of_another(archive: Archive):
    guess = replace(standing_in([200.0]), meaning=LIFECYCLE)
    archive.put(guess, retrieved_at=after(2))
    archive.put(said([510.0], meaning=DIRECT), retrieved_at=after(2))
    other = replace(standing_in([200.0], quality=DataQuality.YEARLY_DEFAULT), meaning=DIRECT)
    archive.put(replace(other, origin=replace(other.origin, zone="FR")), retrieved_at=after(2))
    archive.put(said([510.0], meaning=LIFECYCLE, zone="FR"), retrieved_at=after(2))

    source = open_source(f"archive:{archive.folder}")

    assert [source.carbon(zone, hours(0, 1)).values for zone in ("DE", "FR")] == [(510.0,), (510.0,)]


def test_a_file_of_before_there_were_stand_ins_tells_them_from_readings_by_their_quality(archive: Archive):
    import duckdb

    archive.put(standing_in([200.0]), retrieved_at=after(5))
    file = next(archive.folder.rglob("*.parquet"))
    with duckdb.connect(":memory:") as connection:
        connection.execute(f"CREATE TABLE rows AS SELECT * REPLACE ('a' AS tells) FROM '{file}'")
        connection.execute(f"COPY rows TO '{file}' (FORMAT parquet)")
    file.rename(file.with_name(file.name.replace("_s_", "_a_")))
    archive.put(expected([400.0], issued=after(0)), retrieved_at=after(2))

    assert archive.known("DE", DIRECT, hours(0, 1)).values == (400.0,)


def test_quarter_hours_may_revise_an_hour_and_the_rest_of_it_stays(archive: Archive):
    archive.put(said([300.0]), retrieved_at=after(5))
    archive.put(said([100.0], step_s=900.0), retrieved_at=after(6))

    series = archive.known("DE", DIRECT, hours(0, 1))

    assert series.values == (100.0, 300.0)
    assert series.steps_s == (900.0, 2700.0)


def test_questions_are_kept_apart(archive: Archive):
    retail = PriceMeaning("EUR", Market.RETAIL, taxes=True)
    archive.put(said([300.0]), retrieved_at=after(5))
    archive.put(said([400.0], meaning=LIFECYCLE), retrieved_at=after(6))
    archive.put(paid([-0.5]), retrieved_at=after(5))
    archive.put(paid([0.3], meaning=retail), retrieved_at=after(5))

    answers = [archive.known("DE", meaning, hours(0, 1)).values[0] for meaning in (DIRECT, LIFECYCLE, AUCTION, retail)]

    assert answers == [300.0, 400.0, -0.5, 0.3]
    assert [one.meaning for one in archive.held("DE")] == [DIRECT, LIFECYCLE, AUCTION, retail]
    with pytest.raises(FactorMissing):
        archive.known("DE", replace(AUCTION, currency="GBP"), hours(0, 1))


def test_two_providers_are_never_spliced(archive: Archive):
    archive.put(said([300.0, 310.0], provider="an operator"), retrieved_at=after(5))
    archive.put(said([1.0, 2.0, 3.0], provider="a modeller"), retrieved_at=after(9))

    whole = archive.known("DE", DIRECT, hours(0, 4))
    asked = archive.known("DE", DIRECT, hours(0, 4), provider="an operator")

    assert (whole.origin.provider, whole.values) == ("a modeller", (1.0, 2.0, 3.0, Gap.MISSING))
    assert (asked.origin.provider, asked.values) == ("an operator", (300.0, 310.0, Gap.MISSING))


def test_an_answer_of_several_puts_names_the_latest_of_them(archive: Archive):
    archive.put(said([300.0], issued=after(1)), retrieved_at=after(5))
    archive.put(said([310.0], first=1, issued=after(2)), retrieved_at=after(6))

    look = archive.look("DE", DIRECT, hours(0, 2))

    assert (look.series.origin.issued_at, look.series.origin.retrieved_at) == (after(2), after(6))
    assert [put.retrieved_at for put in look.puts] == [after(5), after(6)]


def test_a_window_without_slots_is_all_gap_and_still_says_whose(archive: Archive):
    archive.put(said([300.0]), retrieved_at=after(5))

    series = archive.known("DE", DIRECT, hours(100, 101))

    assert series.values == (Gap.MISSING,)
    assert series.origin.provider == "a provider"
    with pytest.raises(InvalidQuantity):
        archive.known("DE", DIRECT, hours(0, 0))


def test_the_same_put_twice_is_one_file(archive: Archive):
    first = archive.put(said([300.0]), retrieved_at=after(5))
    again = archive.put(said([300.0]), retrieved_at=after(5))
    other = archive.put(said([300.0]), retrieved_at=after(6))

    assert first == again != other
    assert len(list(archive.folder.rglob("*.parquet"))) == 2


def test_what_cannot_be_is_refused_and_leaves_nothing(archive: Archive):
    measured = replace(said([300.0]), qualities=(DataQuality.MEASURED,))

    with pytest.raises(InvalidQuantity, match="retrieved_at"):
        archive.put(said([300.0]))
    with pytest.raises(GridDataInvalid, match="fetched earlier"):
        archive.put(measured, retrieved_at=after(-5))
    with pytest.raises(InvalidQuantity, match="microsecond"):
        archive.put(said([1.0, 2.0, 3.0], step_s=1 / 3), retrieved_at=after(5))
    assert not archive.folder.exists()


def test_a_forecast_that_does_not_say_when_it_was_issued_fills_in_and_is_none_to_go_by(archive: Archive):
    ahead = expected([1.0], issued=after(0))

    archive.put(replace(ahead, origin=replace(ahead.origin, issued_at=None)), retrieved_at=after(1))

    assert archive.known("DE", DIRECT, hours(0, 1)).qualities == (DataQuality.FORECAST,)
    with pytest.raises(FactorMissing):
        archive.forecast_as_of("DE", DIRECT, hours(0, 1))


def test_a_folder_that_cannot_be_written_says_so(tmp_path: Path):
    (tmp_path / "file").write_text("in the way")

    with pytest.raises(OutputError):
        Archive(tmp_path / "file").put(said([300.0]), retrieved_at=after(5))
    with pytest.raises(OutputError):
        Archive(tmp_path / "grid").put(said([300.0], zone="Z" * 300), retrieved_at=after(5))


def test_a_damaged_file_is_named_and_not_passed_over(archive: Archive):
    archive.put(said([300.0]), retrieved_at=after(5))
    archive.put(said([310.0], first=1), retrieved_at=after(5))
    broken = sorted(archive.folder.rglob("*.parquet"))[1]
    broken.write_bytes(broken.read_bytes()[:100])

    with pytest.raises(GridDataInvalid) as caught:
        archive.known("DE", DIRECT, hours(0, 2))

    assert str(broken) in str(caught.value)


def test_a_file_with_a_word_that_we_do_not_know_is_named(archive: Archive):
    import duckdb

    archive.put(said([300.0]), retrieved_at=after(5))
    file = next(archive.folder.rglob("*.parquet"))
    with duckdb.connect(":memory:") as connection:
        connection.execute(f"CREATE TABLE rows AS SELECT * REPLACE ('hearsay' AS quality) FROM '{file}'")
        connection.execute(f"COPY rows TO '{file}' (FORMAT parquet)")

    with pytest.raises(GridDataInvalid, match="hearsay") as caught:
        archive.known("DE", DIRECT, hours(0, 1))

    assert file.name in str(caught.value)


def test_a_file_that_lacks_a_column_is_named(archive: Archive):
    import duckdb

    archive.put(said([300.0]), retrieved_at=after(5))
    file = next(archive.folder.rglob("*.parquet"))
    with duckdb.connect(":memory:") as connection:
        connection.execute(f"CREATE TABLE rows AS SELECT * EXCLUDE (tells) FROM '{file}'")
        connection.execute(f"COPY rows TO '{file}' (FORMAT parquet)")

    with pytest.raises(GridDataInvalid, match="tells") as caught:
        archive.known("DE", DIRECT, hours(0, 1))

    assert file.name in str(caught.value)


def test_ctrl_c_while_the_engine_works_is_ctrl_c(archive: Archive):
    endless = "SELECT count(*) FROM range(1000000000000) AS n WHERE n.range % 7 = 3"
    engine = archive._engine
    engine.connection()
    interrupt = threading.Timer(0.2, lambda: os.kill(os.getpid(), signal.SIGINT))
    interrupt.start()

    with pytest.raises(KeyboardInterrupt):
        engine.run(endless)

    interrupt.join()
    archive.put(said([300.0]), retrieved_at=after(5))
    assert archive.known("DE", DIRECT, hours(0, 1)).values == (300.0,)


def test_a_half_written_file_of_a_killed_writer_is_not_seen_and_goes_when_files_are_merged(archive: Archive):
    archive.put(said([300.0]), retrieved_at=after(5))
    folder = next(archive.folder.rglob("*.parquet")).parent
    torn = folder / ".0123-1-abcd.torn"
    torn.write_bytes(b"PAR1")

    assert archive.known("DE", DIRECT, hours(0, 1)).values == (300.0,)
    archive.compact()
    assert torn.exists()  # its writer may still be alive
    os.utime(torn, (0, 0))
    archive.compact()
    assert not torn.exists()


def test_merging_files_changes_no_answer_and_loses_no_vintage(archive: Archive):
    for n in range(6):
        archive.put(said([100.0 + n, 200.0 + n], first=n), retrieved_at=after(10 + n))
        archive.put(expected([50.0 + n] * 9, issued=after(n)), retrieved_at=after(n))
    moments = [after(n) for n in range(0, 18)]
    before = [archive.known("DE", DIRECT, hours(0, 9), at=at) for at in moments]
    vintages = archive.vintages("DE", DIRECT)

    went = archive.compact()

    assert went == 11
    assert len(list(archive.folder.rglob("*.parquet"))) == 1
    assert [archive.known("DE", DIRECT, hours(0, 9), at=at) for at in moments] == before
    assert archive.vintages("DE", DIRECT) == vintages
    assert archive.compact() == 0


def test_readers_and_writers_go_on_while_files_are_merged(archive: Archive):
    archive.put(said([300.0, 310.0]), retrieved_at=after(5))
    wrong: list[object] = []
    done = threading.Event()

    def read() -> None:
        reader = pickle.loads(pickle.dumps(archive))
        while not done.is_set():
            series = reader.known("DE", DIRECT, hours(0, 2), at=after(5))
            if series.values != (300.0, 310.0):
                wrong.append(series)

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    for n in range(15):
        archive.put(said([float(n)], first=n % 3), retrieved_at=after(20 + n))
        archive.compact()
    done.set()
    for reader in readers:
        reader.join()

    assert not wrong
    assert len(archive.vintages("DE", DIRECT)) == 16


def test_vintages_are_listed_oldest_first_with_who_fetched_them(archive: Archive):
    archive.put(said([310.0]), retrieved_at=after(9), backend="entsoe")
    archive.put(said([300.0]), retrieved_at=after(5))

    puts = archive.vintages("DE", DIRECT)

    assert [(put.retrieved_at, put.backend, put.slots) for put in puts] == [(after(5), "", 1), (after(9), "entsoe", 1)]
    assert archive.vintages("DE", DIRECT, at=after(5)) == puts[:1]
    assert archive.vintages("FR", DIRECT) == ()


def test_any_file_of_the_archive_is_a_file_of_ones_own(archive: Archive):
    archive.put(said([300.0, Gap.NULL]), retrieved_at=after(5))
    file = next(archive.folder.rglob("*.parquet"))

    series = open_source(f"file:{file}").carbon("DE", hours(0, 2))

    assert series.meaning == DIRECT
    assert series.values == (300.0, Gap.NULL)
    assert series.origin.licence == "CC BY 4.0"


def test_a_merged_file_is_one_only_as_long_as_nothing_in_it_was_revised(archive: Archive):
    archive.put(said([300.0]), retrieved_at=after(5))
    archive.put(said([310.0], first=1), retrieved_at=after(6))
    archive.compact()
    [merged] = archive.folder.rglob("*.parquet")
    assert open_source(f"file:{merged}").carbon("DE", hours(0, 2)).values == (300.0, 310.0)

    archive.put(said([250.0]), retrieved_at=after(90))
    archive.compact()

    [merged] = archive.folder.rglob("*.parquet")
    with pytest.raises(GridDataInvalid, match=r"several vintages.*overlap at 2026-06-01T12:00Z.*--archive"):
        open_source(f"file:{merged}").carbon("DE", hours(0, 2))


def test_the_folder_is_the_users_own_unless_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.delenv("OUTWEIGH_GRID_DIR", raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert default_folder() == tmp_path / "outweigh" / "grid"
    monkeypatch.setenv("OUTWEIGH_GRID_DIR", str(tmp_path / "own"))
    assert default_folder() == tmp_path / "own"


def test_a_later_version_of_the_archive_is_not_taken_for_an_empty_one(archive: Archive):
    (archive.folder / "v2").mkdir(parents=True)

    with pytest.raises(GridDataInvalid, match="another version"):
        archive.zones()


# --- as a grid source ---------------------------------------------------------------------------------


def filled(folder: Path) -> Path:
    archive = Archive(folder)
    archive.put(said([300.0] * 3), retrieved_at=after(3))
    archive.put(said([250.0] * 3), retrieved_at=after(99))
    archive.put(expected([200.0] * 48, issued=after(3)), retrieved_at=after(3))
    archive.put(paid([0.1] * 24), retrieved_at=after(3))
    return folder


def test_as_a_source_it_is_bound_to_a_moment(tmp_path: Path):
    folder = filled(tmp_path / "at@home")

    then = open_source(f"archive:{folder}@2026-06-02T00:00+02:00")
    now = open_source(f"archive:{folder}")

    assert then.carbon("DE", hours(0, 1)).values == (300.0,)
    assert now.carbon("DE", hours(0, 1)).values == (250.0,)
    assert then.carbon("DE", hours(2, 4)).qualities == (DataQuality.ESTIMATED, DataQuality.FORECAST)
    assert isinstance(then.forecast("DE", hours(4, 8)), CarbonSeries)
    assert then.prices("DE", hours(0, 24)).mean_value() == pytest.approx(0.1)


def test_as_a_source_it_knows_no_zone_before_its_time(tmp_path: Path):
    source = open_source(f"archive:{filled(tmp_path / 'grid')}@2026-06-01T14:00Z")

    assert source.zones() == ()
    with pytest.raises(UnknownZone):
        source.carbon("DE", hours(0, 1))


@pytest.mark.parametrize(
    "argument", ["@noon", "@2026-01-01T00:00", "@9999-12-31T23:59-10:00", "/nowhere", "/nowhere@2026-01-01T00:00Z"]
)
def test_a_slip_in_the_argument_is_told(argument: str):
    with pytest.raises(UsageError):
        open_source(f"archive:{argument}")


def test_an_archive_that_was_put_to_at_this_moment_answers_for_it(archive: Archive):
    now = datetime.now(UTC)
    series = said([300.0], meaning=LIFECYCLE)

    archive.put(series, retrieved_at=now)

    window = Interval(NOON, after(1))
    assert archive.known("DE", LIFECYCLE, window, at=now).values == (300.0,)
