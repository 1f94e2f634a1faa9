"""What is around a run, on its receipt: a late sensor's doubt, other runs, and nothing that is not known."""

import json
import math
import os
import subprocess
import sys
from datetime import UTC, datetime

import pytest

from outweigh.app import surroundings
from outweigh.app.surroundings import SENSOR_LAG, Surroundings
from outweigh.backends.meters.replay import ReplayMeter
from outweigh.core.budget import Phase
from outweigh.core.measurement import Grade, Method, Scope
from outweigh.data.calibration import Calibration, keep_calibration, processor_key
from outweigh.ledger import in_flight, open_ledger
from outweigh.measure import FakeClock, MeterSession, receipt_for
from outweigh.measure.attribution import MachineTime, share_note
from outweigh.ports import ChannelKind

linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="processes are told apart by /proc")


def sensor(clock, update_s=0.5):
    """A power sensor on hardware, as far as anybody can see: 40 W of it idle."""
    meter = ReplayMeter(
        [(0.0, 100.0)], now=clock.monotonic_s, kind=ChannelKind.POWER, scope=Scope.NODE, grade=Grade.B,
        update_s=update_s, hum_w=40.0,
    )  # fmt: skip
    meter.method = Method.INTEGRATED
    return meter


def calibrated(monkeypatch, tmp_path, lag_s, reference="replay"):
    """This machine was calibrated against that meter, which lags so much."""
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text("processor : 0\nvendor_id : GenuineIntel\ncpu family : 6\nmodel : 85\nstepping : 7\n")
    monkeypatch.setattr(surroundings, "_CPUINFO", cpuinfo)
    monkeypatch.setenv("OUTWEIGH_CALIBRATION", str(tmp_path / "calibration.json"))
    keep_calibration(
        Calibration(
            key=processor_key(cpuinfo), at=datetime.now(UTC).isoformat(), reference=reference,
            reference_grade=Grade.B, reference_scope="node", reference_relative=0.03, idle_w=40.0,
            idle_standard_w=1.0, per_thread_w=5.0, per_thread_standard_w=0.1, bend_w_per_thread=0.0, bend_idle_w=0.0,
            curvature_w=0.0, curvature_standard_w=0.1, straight=True, residual_sd_w=0.5, residual_max_w=1.0,
            r_squared=0.99, steps=20, seconds=120.0, seed=1, lag_s=lag_s, update_s=0.5, other_threads=0.0,
            method="made",
        )
    )  # fmt: skip


def measured(clock, folder, seconds=20.0):
    with MeterSession(sensor(clock), clock) as session:
        around = Surroundings(session, folder, phase=Phase.TRAINING)
        around.begin()
        with session.window() as window:
            clock.sleep(seconds)
        around.end()
        return around.on(receipt_for(window.reading, meter="replay", project="p", phase=Phase.TRAINING))


def lag_of(measurement):
    return [part.standard for part in measurement.components if part.name == SENSOR_LAG]


def test_a_sensor_that_was_found_to_lag_makes_total_and_work_more_doubtful_and_says_so(monkeypatch, tmp_path):
    calibrated(monkeypatch, tmp_path, lag_s=2.5)

    receipt = measured(FakeClock(), tmp_path)

    # 60 W of work for the 2 s of lag beyond the refresh of 0.5 s, as a rectangular half-width
    assert lag_of(receipt.total) == lag_of(receipt.work) == [pytest.approx(60.0 * 2.0 / math.sqrt(3))]
    assert lag_of(receipt.hum) == []
    assert receipt.total.value.joules == pytest.approx(2_000.0)
    assert any("shows power 2.5 s late" in note for note in receipt.notes)


@pytest.mark.parametrize(("lag_s", "reference"), [(0.4, "replay"), (2.5, "ipmi")])
def test_a_lag_within_the_refresh_or_of_another_sensor_is_none_of_this_window(monkeypatch, tmp_path, lag_s, reference):
    calibrated(monkeypatch, tmp_path, lag_s=lag_s, reference=reference)

    assert lag_of(measured(FakeClock(), tmp_path).total) == []


def test_a_node_alone_has_no_parts_that_anybody_knows(tmp_path):
    receipt = measured(FakeClock(), tmp_path)

    assert receipt.hum is not None
    assert receipt.hum_split is None
    assert receipt.schema == 1


OTHER = """
import sys
from pathlib import Path
from outweigh.core import Grade, Method, Phase, Scope
from outweigh.ledger import RunJournal
with RunJournal(Path(sys.argv[1]), "0therrun1234", project="theirs", phase=Phase.TRAINING, meter="m",
                scope=Scope.NODE, grade=Grade.B, method=Method.COUNTER, source="made"):
    print("begun", flush=True)
    sys.stdin.readline()
"""


@linux
def test_a_run_of_another_process_in_the_same_ledger_is_told_with_its_name(tmp_path):
    folder = tmp_path / "running"
    with subprocess.Popen(
        [sys.executable, "-c", OTHER, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout.readline() == "begun\n"
        assert [flight.pid for flight in in_flight(folder)] == [other.pid]

        receipt = measured(FakeClock(), folder)

        other.stdin.close()
        other.wait(60)
    # It is our child: what it measured lies inside what we did.
    assert any("holds another measured run, run 0therrun of theirs" in note for note in receipt.notes)


def test_a_run_that_came_and_went_between_two_looks_is_found_in_the_ledger(tmp_path):
    clock = FakeClock()
    store = open_ledger(tmp_path / "ledger.sqlite")
    with MeterSession(sensor(clock), clock) as session:
        around = Surroundings(session, tmp_path / "running", phase=Phase.TRAINING)
        around.begin()
        with session.window() as whole:
            with session.window() as other:
                clock.sleep(20.0)
            store.append(receipt_for(other.reading, meter="m", project="p", phase=Phase.TRAINING, run_id="0ther"))
        around.end()
        receipt = receipt_for(whole.reading, meter="m", project="p", phase=Phase.TRAINING)

        met = around.met(around.on(receipt), store)

    store.close()
    assert "1 other measured run(s) began and ended meanwhile (0ther): joules may be in both" in met.notes


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="needs a terminal")
def test_on_a_narrow_terminal_doctor_shows_entries_of_whole_words(tmp_path):
    import pty

    parent, child = pty.openpty()
    environment = {**os.environ, "COLUMNS": "72", "OUTWEIGH_CALIBRATION": str(tmp_path / "none.json")}
    process = subprocess.Popen(
        [sys.executable, "-m", "outweigh", "doctor"], stdout=child, stderr=subprocess.DEVNULL, env=environment
    )
    os.close(child)
    shown = b""
    while True:
        try:
            part = os.read(parent, 65536)
        except OSError:  # the terminal is gone with its last writer
            break
        if not part:
            break
        shown += part
    os.close(parent)
    assert process.wait(60) == 0
    lines = shown.decode().splitlines()
    assert max(len(line) for line in lines) <= 72
    assert any(line.startswith("meters  name: rapl  ") for line in lines)
    assert any(line.startswith("samples  name: parquet  ") for line in lines)


def test_without_duckdb_doctor_says_once_that_power_over_time_is_not_kept(tmp_path):
    (tmp_path / "duckdb.py").write_text("raise ImportError('not here')\n")
    done = subprocess.run(
        [sys.executable, "-m", "outweigh", "doctor", "--json"], capture_output=True, text=True, check=True,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
    )  # fmt: skip

    rows = [json.loads(line) for line in done.stdout.splitlines()]
    (row,) = [row for row in rows if row["kind"] == "samples"]
    assert not row["usable"]
    assert "receipts are whole" in row["reason"]
    assert "outweigh[samples]" in row["remedy"]


@linux
@pytest.mark.parametrize(
    ("told", "kept"),
    [
        (share_note(MachineTime(100.0, 0.0, 0.0), MachineTime(110.0, 4.0, 0.0)), 0),
        ("attribution: process tree by cgroup cpu.stat", 1),
    ],
)
def test_what_other_programs_had_is_told_once_by_the_attribution_where_there_is_one(told, kept, tmp_path, monkeypatch):
    clock = FakeClock()
    busy = "other programs used 60% of the processors during the run"
    monkeypatch.setattr("outweigh.measure.conditions.changes", lambda *edges, **known: (busy,))
    with MeterSession(sensor(clock), clock) as session:
        around = Surroundings(session, tmp_path, phase=Phase.TRAINING)
        around.begin()
        with session.window() as window:
            clock.sleep(20.0)
        around.end()

        receipt = around.on(
            receipt_for(window.reading, meter="replay", project="p", phase=Phase.TRAINING, notes=[told])
        )

    assert receipt.notes.count(busy) == kept
    assert told in receipt.notes
