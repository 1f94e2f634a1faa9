import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from outweigh.core.errors import InvalidQuantity, LedgerCorrupt, LedgerError, MissingExtra, UsageError
from outweigh.ledger.samples import (
    SampleWriter,
    about_samples,
    has_samples,
    read_samples,
    samples_folder,
    samples_state,
)

pytest.importorskip("duckdb", reason="samples need the extra `samples`")


def rows(samples):
    return list(zip(samples.t_s, samples.channel, samples.power_w, strict=True))


def write(folder, values, run_id="run", **options):
    with SampleWriter(folder, run_id, **options) as writer:
        for value in values:
            writer.append(*value)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    values=st.lists(
        st.tuples(st.floats(0, 4e9), st.text(max_size=5).filter(lambda text: "\0" not in text), st.floats(-1e6, 1e6)),
        max_size=30,
    ),
    segment=st.integers(1, 7),
)
def test_samples_come_back_as_they_were_appended_however_they_are_cut(tmp_path_factory, values, segment):
    folder = tmp_path_factory.mktemp("samples")

    write(folder, values, rows=segment, longest_s=float("inf"))

    assert rows(read_samples(folder, "run")) == values


def test_a_segment_has_the_rows_asked_for_and_the_rest_comes_at_the_end(tmp_path):
    write(tmp_path, [(float(t), "gpu-0", 100.0) for t in range(25)], rows=10)

    names = [path.name for path in sorted((tmp_path / "run").iterdir())]
    assert names == ["000001.parquet", "000002.parquet", "000003.parquet"]


def test_a_segment_is_closed_in_time_even_where_samples_are_few(tmp_path):
    writer = SampleWriter(tmp_path, "run", longest_s=60.0)
    for t_s in (0.0, 30.0, 60.0, 61.0):
        writer.append(t_s, "gpu-0", 1.0)

    assert len(read_samples(tmp_path, "run")) == 3  # and one in memory
    writer.close()
    assert len(read_samples(tmp_path, "run")) == 4


def test_a_time_and_channels_are_picked(tmp_path):
    write(tmp_path, [(float(t), f"gpu-{t % 3}", float(t)) for t in range(30)], rows=7)

    picked = read_samples(tmp_path, "run", channels=["gpu-0", "gpu-2"], start_s=6.0, end_s=12.0)

    assert picked.t_s.tolist() == [6.0, 8.0, 9.0, 11.0]  # half-open
    assert picked.power_w.dtype == np.float64


def test_a_run_without_samples_gives_none(tmp_path):
    assert rows(read_samples(tmp_path, "nobody")) == []
    write(tmp_path, [])
    assert rows(read_samples(tmp_path, "run")) == []


KILLED = """
import sys
from pathlib import Path
from outweigh.ledger.samples import SampleWriter
writer = SampleWriter(Path(sys.argv[1]), "run", rows=50)
for number in range(10**9):
    writer.append(number * 0.01, "gpu-0", float(number))
    if number % 50 == 49:
        print(number + 1, flush=True)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")
def test_a_killed_writer_loses_at_most_the_segment_it_had_not_finished(tmp_path):
    process = subprocess.Popen([sys.executable, "-c", KILLED, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    said = [int(process.stdout.readline()) for _ in range(5)]
    process.send_signal(signal.SIGKILL)
    said += [int(line) for line in process.communicate(timeout=60)[0].split()]

    samples = read_samples(tmp_path, "run")

    assert len(samples) in (said[-1], said[-1] + 50)
    assert samples.power_w.tolist() == [float(number) for number in range(len(samples))]


def test_what_a_killed_writer_left_is_passed_over_and_the_next_one_goes_on(tmp_path):
    write(tmp_path, [(1.0, "a", 1.0)])
    (tmp_path / "run" / "000002.torn").write_bytes(b"PAR1 half a segm")
    assert rows(read_samples(tmp_path, "run")) == [(1.0, "a", 1.0)]

    write(tmp_path, [(2.0, "a", 2.0)])

    assert rows(read_samples(tmp_path, "run")) == [(1.0, "a", 1.0), (2.0, "a", 2.0)]
    assert not list((tmp_path / "run").glob("*.torn"))


@pytest.mark.parametrize("damage", [b"", b"PAR1", b"a letter to a friend" * 20])
def test_a_damaged_segment_is_named_and_not_skipped(tmp_path, damage):
    write(tmp_path, [(float(t), "a", 1.0) for t in range(20)], rows=10)
    (tmp_path / "run" / "000001.parquet").write_bytes(damage)

    with pytest.raises(LedgerCorrupt, match=r"000001\.parquet"):
        read_samples(tmp_path, "run")


def test_a_folder_of_any_name_is_a_name_and_no_pattern(tmp_path):
    folder = tmp_path / "it's [a] *?" / "zone=DE"

    write(folder, [(1.0, "a", 1.0)])

    assert rows(read_samples(folder, "run")) == [(1.0, "a", 1.0)]


@pytest.mark.parametrize("sample", [(float("nan"), "a", 1.0), (1.0, "a", float("inf"))])
def test_a_sample_that_is_no_number_is_refused(tmp_path, sample):
    with SampleWriter(tmp_path, "run") as writer, pytest.raises(InvalidQuantity):
        writer.append(*sample)


def test_an_id_that_cannot_name_a_folder_is_refused(tmp_path):
    with pytest.raises(UsageError):
        SampleWriter(tmp_path, "../elsewhere")
    with pytest.raises(UsageError):
        read_samples(tmp_path, "a/b")


def test_a_disk_that_refuses_keeps_the_samples_in_memory_for_the_next_try(tmp_path, monkeypatch):
    writer = SampleWriter(tmp_path, "run")
    writer.append(1.0, "a", 1.0)

    def refuse(handle):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", refuse)
        with pytest.raises(LedgerError, match="No space left"):
            writer.close()
    assert list((tmp_path / "run").iterdir()) == []

    writer.close()
    assert len(read_samples(tmp_path, "run")) == 1


def test_a_folder_that_went_away_is_a_ledger_error(tmp_path):
    writer = SampleWriter(tmp_path, "run")
    writer.append(1.0, "a", 1.0)
    (tmp_path / "run").rmdir()

    with pytest.raises(LedgerError, match="cannot be kept"):
        writer.flush()


def test_without_duckdb_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "duckdb", None)

    with pytest.raises(MissingExtra, match=r"outweigh\[samples\]"):
        SampleWriter(tmp_path, "run")


def test_the_engine_is_loaded_only_where_samples_are_kept():
    said = subprocess.run(
        [sys.executable, "-c", "import sys, outweigh.ledger, outweigh.ledger.samples; print('duckdb' in sys.modules)"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert said.stdout.strip() == "False"


def test_samples_are_beside_the_ledger():
    assert samples_folder(Path("p")) == Path("p/.outweigh/samples")


def test_segments_say_whose_they_are(tmp_path):
    folder = samples_folder(tmp_path)
    write(folder, [(1.0, "total", 5.0)], about={"receipt": "8c1d", "who's": "it's"})

    assert about_samples(folder, "run") | {"receipt": "8c1d", "who's": "it's"} == about_samples(folder, "run")
    assert about_samples(folder, "another") == {}
    assert has_samples(folder, "run")
    assert not has_samples(folder, "another")


def test_without_duckdb_the_doctor_says_what_is_not_kept_and_how_to_mend_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "duckdb", None)

    state = samples_state()

    assert not state.usable
    assert "receipts are whole" in state.reason
    assert "outweigh[samples]" in state.remedy
