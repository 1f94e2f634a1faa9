"""`outweigh measure` under bad conditions, by real processes: a clear answer, the exit code kept, nothing lost."""

import json
import math
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

OUTWEIGH = str(Path(sys.executable).with_name("outweigh"))
posix = pytest.mark.skipif(os.name != "posix", reason="uses a shell")
pytestmark = posix

# A counter of fixed width, written in place: as in sysfs, a reader never finds half of it.
SET = 'set_j() { printf "%015d\\n" $(($1 * 1000000)) 1<>"$COUNTER"; }; '


def outweigh(*args, **kwargs):
    done = subprocess.run(
        [OUTWEIGH, *map(str, args)], capture_output=True, text=True, timeout=120, check=False, **kwargs
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done


def listed(folder):
    done = outweigh("ledger", "list", "--json", cwd=folder)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def only_receipt(folder):
    (row,) = listed(folder)
    assert outweigh("ledger", "verify", cwd=folder).returncode == 0
    return json.loads(outweigh("ledger", "show", row["receipt"], cwd=folder).stdout)


@pytest.fixture
def powercap(tmp_path):
    """A powercap tree of one package, its counter at 1000 J."""
    zone = tmp_path / "powercap" / "intel-rapl:0"
    zone.mkdir(parents=True)
    (zone / "name").write_text("package-0\n")
    (zone / "max_energy_range_uj").write_text("262143328850\n")
    (zone / "energy_uj").write_text(f"{1_000_000_000:015d}\n")
    return zone.parent


def measure_with_counter(powercap, script, *options, **kwargs):
    counter = powercap / "intel-rapl:0" / "energy_uj"
    environment = {**os.environ, "COUNTER": str(counter)}
    return outweigh(
        "measure", "--hum", "0", "--meter", f"rapl:{powercap}", *options, "--", "sh", "-c", SET + script,
        cwd=powercap.parent, env=environment, **kwargs,
    )  # fmt: skip


def counted(receipt, joules):
    """Whether the figure is what the counter counted, within what the receipt says of this window's edges and steps."""
    doubts = [part["standard_j"] for part in receipt["total"]["components"] if part["name"] != "calibration"]
    return abs(receipt["total"]["energy_j"] - joules) <= 2 * math.hypot(*doubts) < 0.05 * joules


def test_a_counter_that_counts_up_is_measured(powercap, tmp_path):
    done = measure_with_counter(powercap, "for i in 1 2 3; do sleep 0.2; set_j $((1000 + i)); done; exit 7")

    assert done.returncode == 7
    receipt = only_receipt(tmp_path)
    assert (receipt["status"], receipt["exit_code"]) == ("failed", 7)
    assert counted(receipt, 3.0)


def test_a_counter_nobody_may_read_ends_with_125_says_how_to_mend_it_and_runs_nothing(powercap, tmp_path):
    (powercap / "intel-rapl:0" / "energy_uj").chmod(0)
    command = [OUTWEIGH, "measure", "--hum", "0", "--meter", f"rapl:{powercap}", "--", "touch", "ran"]
    if os.geteuid() == 0:
        # Root reads everything, by a capability: without it, it is refused like anybody.
        setpriv = shutil.which("setpriv")
        if setpriv is None:
            pytest.skip("root may read every file, and setpriv (util-linux) is not here to take that away")
        command = [setpriv, "--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-all", *command]

    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, cwd=tmp_path)

    assert done.returncode == 125, done.stderr
    assert "may not be read by this user" in done.stderr
    assert "give a group read access" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "vanish", ['rm -r "$(dirname "$COUNTER")"', ': > "$COUNTER"'], ids=["its files are removed", "it gives nothing"]
)
def test_a_meter_that_vanishes_in_the_middle_leaves_an_unusable_receipt_and_the_exit_code(powercap, tmp_path, vanish):
    done = measure_with_counter(powercap, f"sleep 0.3; set_j 1002; sleep 0.3; {vanish}; sleep 1.5; exit 4")

    assert done.returncode == 4, done.stderr
    receipt = only_receipt(tmp_path)
    assert receipt["exit_code"] == 4
    if vanish.startswith("rm"):
        # An open file outlives its name: what it had counted is still read, and is all there is.
        assert counted(receipt, 2.0)
        return
    assert receipt["status"] == "unusable"
    assert receipt["total"]["grade"] == "D"
    assert receipt["total"]["energy_j"] <= 2.1
    assert any("stopped answering" in note or "did not answer" in note for note in receipt["notes"]), receipt["notes"]
    assert "unusable" in done.stderr


def test_a_counter_that_falls_is_a_reset_and_neither_negative_nor_a_wrap(powercap, tmp_path):
    script = "for i in 1 2 3; do sleep 0.2; set_j $((1000 + i)); done; sleep 0.2; set_j 5; sleep 0.3; exit 5"

    done = measure_with_counter(powercap, script)

    assert done.returncode == 5, done.stderr
    receipt = only_receipt(tmp_path)
    assert receipt["status"] == "unusable"
    assert 0 <= receipt["total"]["energy_j"] < 10
    assert any("counter fell from 1003 J to 5 J" in note for note in receipt["notes"]), receipt["notes"]


def test_a_clock_that_is_set_by_an_hour_stretches_no_run(powercap, tmp_path):
    library = fake_clock()
    stamp = tmp_path / "faketimerc"
    stamp.write_text("+0")
    environment = {
        **os.environ,
        "COUNTER": str(powercap / "intel-rapl:0" / "energy_uj"),
        "LD_PRELOAD": library,
        "FAKETIME_TIMESTAMP_FILE": str(stamp),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }

    done = outweigh(
        "measure", "--hum", "0", "--meter", f"rapl:{powercap}", "--", "sh", "-c",
        f"{SET} sleep 0.3; set_j 1001; printf +3600 1<>'{stamp}'; sleep 0.3; set_j 1002; exit 3",
        cwd=tmp_path, env=environment,
    )  # fmt: skip

    assert done.returncode == 3, done.stderr
    receipt = only_receipt(tmp_path)
    assert receipt["status"] == "failed"
    assert counted(receipt, 2.0)
    (row,) = listed(tmp_path)
    assert 0.6 <= row["duration_s"] < 60
    assert any("wall clock was set by +3.6e+03 s" in note for note in receipt["notes"]), receipt["notes"]


def fake_clock():
    """The library of the Debian package faketime; without it a test is skipped, and fails in continuous integration."""
    faketime = shutil.which("faketime")
    if faketime is None:
        reason = "faketime is not installed: apt-get install faketime"
        if os.environ.get("CI") == "true":
            pytest.fail(reason, pytrace=False)
        pytest.skip(reason)
    done = subprocess.run([faketime, "-f", "+0", "env"], capture_output=True, text=True, check=True)
    return next(line.partition("=")[2] for line in done.stdout.splitlines() if line.startswith("LD_PRELOAD="))


@pytest.fixture
def small_disk(tmp_path):
    """A file system of a megabyte."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = shutil.which("mount")
    done = mount and subprocess.run(
        [mount, "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if not done or done.returncode != 0:
        pytest.skip("a full disk needs the right to mount a small one")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


FILL = "dd if=/dev/zero of=filler bs=512 2>/dev/null; exit 6"


def test_a_disk_that_fills_up_meanwhile_passes_the_exit_code_and_loses_no_receipt(small_disk):
    done = outweigh("measure", "--hum", "0", "--json", "--project", "p", "--", "sh", "-c", FILL, cwd=small_disk)

    assert done.returncode == 6, done.stderr
    assert json.loads(done.stdout)["exit_code"] == 6
    (small_disk / "filler").unlink()
    told = outweigh("ledger", "recover", cwd=small_disk)
    assert told.returncode == 0
    receipt = only_receipt(small_disk)
    assert receipt["receipt"] == json.loads(done.stdout)["receipt"]
    assert receipt["exit_code"] == 6
    if "not in the ledger" in done.stderr:
        assert "the next `outweigh measure`" in done.stderr
        assert "is now in the ledger" in told.stdout
    assert not any((small_disk / ".outweigh" / "running").iterdir())


def test_a_disk_that_is_full_already_ends_with_125_and_runs_nothing(small_disk):
    subprocess.run(["sh", "-c", FILL], cwd=small_disk, check=False)

    done = outweigh("measure", "--hum", "0", "--", "touch", "ran", cwd=small_disk)

    assert done.returncode == 125
    assert "ledger" in done.stderr
    assert not (small_disk / "ran").exists()


def test_a_command_that_does_not_exist_leaves_no_receipt_and_no_run_behind(tmp_path):
    done = outweigh("measure", "--hum", "0", "--", "no-such-command", cwd=tmp_path)

    assert done.returncode == 127
    assert "command not found" in done.stderr
    assert listed(tmp_path) == []
    assert not any((tmp_path / ".outweigh" / "running").iterdir())


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--hum", "nan", "--", "true"],
        ["--hum", "-1", "--", "true"],
        ["--hum", "inf", "--", "true"],
        ["--hum", "1e9", "--", "true"],
        ["--hum", "soon", "--", "true"],
        ["--hum-after", "nan", "--", "true"],
        ["--idle", "0"],
        ["--idle", "1", "--", "true"],
        ["--label", "nonsense", "--", "true"],
        ["--meter", "rapl,nvlm", "--", "true"],
        ["--nope"],
    ],
    ids=" ".join,
)
def test_what_measure_is_told_wrong_ends_with_125_and_one_clear_line(tmp_path, arguments):
    done = outweigh("measure", *arguments, cwd=tmp_path)

    assert done.returncode == 125, done.stderr
    assert done.stdout == ""
    last = done.stderr.rstrip().splitlines()[-1]
    assert last.startswith(("outweigh: ", "Error: "))


@pytest.fixture
def trace(tmp_path):
    path = tmp_path / "trace.csv"
    path.write_text("t_s,power_w\n0,100\n")
    return f"replay:{path}"


def test_two_runs_at_one_time_are_told_of_each_other(tmp_path, trace):
    waiting = 'touch started; while [ ! -e "done" ]; do sleep 0.05; done'
    first = subprocess.Popen(
        [OUTWEIGH, "measure", "--hum", "0", "--project", "first", "--meter", trace, "--", "sh", "-c", waiting],
        cwd=tmp_path, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        until = time.monotonic() + 60
        while not (tmp_path / "started").exists() and time.monotonic() < until:
            time.sleep(0.02)
        second = outweigh("measure", "--hum", "0", "--project", "second", "--meter", trace, "--", "true", cwd=tmp_path)
    finally:
        (tmp_path / "done").touch()
        _, told = first.communicate(timeout=60)

    assert first.returncode == second.returncode == 0
    assert "of first: what it drew is in this figure too" in second.stderr
    assert "1 other measured run(s) began and ended meanwhile" in told


def test_a_measured_program_that_measures_itself_is_told_not_to_be_added(tmp_path, trace):
    inner = f"{OUTWEIGH} measure --hum 0 --project inner --meter {trace} -- true"

    done = outweigh(
        "measure", "--hum", "0", "--project", "outer", "--meter", trace, "--", "sh", "-c", inner, cwd=tmp_path
    )

    assert done.returncode == 0, done.stderr
    assert "inside another measured run" in done.stderr


def test_idle_draw_has_a_receipt_of_its_own_with_an_owner_and_is_all_hum(tmp_path, trace):
    done = outweigh("measure", "--idle", "1", "--owner", "ops", "--meter", trace, "--json", cwd=tmp_path)

    assert done.returncode == 0, done.stderr
    receipt = json.loads(done.stdout)
    assert (receipt["phase"], receipt["labels"]["owner"], receipt["exit_code"]) == ("idle", "ops", None)
    assert receipt["hum"]["energy_j"] == receipt["total"]["energy_j"] == pytest.approx(100.0, rel=0.2)
    assert receipt["work"]["energy_j"] == 0
    split = receipt["hum_split"]
    assert split["allocated_j"] + split["unallocated_j"] == pytest.approx(receipt["hum"]["energy_j"])
    (row,) = [json.loads(line) for line in outweigh("ledger", "hum", "--json", cwd=tmp_path).stdout.splitlines()]
    assert (row["owner"], row["hum_j"]) == ("ops", receipt["hum"]["energy_j"])
    assert row["hum_allocated_j"] == split["allocated_j"]


def test_the_hum_after_a_command_is_heard_too(tmp_path, trace):
    done = outweigh("measure", "--hum", "0.2", "--hum-after", "0.2", "--meter", trace, "--", "true", cwd=tmp_path)

    assert done.returncode == 0, done.stderr
    assert "before and after the work: 100 W and 100 W" in done.stderr


def test_the_power_of_a_measured_command_is_kept_and_read_back(tmp_path, trace):
    pytest.importorskip("duckdb", reason="samples need the extra `samples`")
    done = outweigh("measure", "--hum", "0", "--meter", trace, "--json", "--", "sleep", "2", cwd=tmp_path)
    address = json.loads(done.stdout)["receipt"]

    shown = json.loads(outweigh("ledger", "show", address, cwd=tmp_path).stdout)
    rows = [
        json.loads(row) for row in outweigh("ledger", "samples", address, "--json", cwd=tmp_path).stdout.splitlines()
    ]

    assert list(Path(tmp_path / shown["samples"]).glob("*.parquet"))
    assert len(rows) > 5
    assert all(row["power_w"] == pytest.approx(100.0) for row in rows)
    assert [row["t_s"] for row in rows] == sorted(row["t_s"] for row in rows)
    assert rows[-1]["t_s"] <= 2.5
