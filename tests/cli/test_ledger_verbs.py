"""`outweigh ledger`: what the record is for, from the command line."""

import json
import shutil
import subprocess
import sys
from datetime import datetime
from pathlib import Path

import pytest

OUTWEIGH = str(Path(sys.executable).with_name("outweigh"))


def outweigh(*args, **kwargs):
    done = subprocess.run(
        [OUTWEIGH, *map(str, args)], capture_output=True, text=True, timeout=120, check=False, **kwargs
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done


@pytest.fixture
def ledger(tmp_path):
    """A ledger with two measured commands in it."""
    for code in ("0", "3"):
        outweigh("measure", "--hum", "0", "--project", "p", "--", "sh", "-c", f"exit {code}", cwd=tmp_path)
    return tmp_path / ".outweigh" / "ledger.sqlite"


def test_list_and_show_tell_of_the_same_receipts(ledger):
    rows = [json.loads(line) for line in outweigh("ledger", "list", "--json", "--ledger", ledger).stdout.splitlines()]

    assert [row["status"] for row in rows] == ["completed", "failed"]
    shown = json.loads(outweigh("ledger", "show", rows[1]["receipt"][:10], "--ledger", ledger).stdout)
    assert shown["receipt"] == rows[1]["receipt"]
    assert shown["exit_code"] == 3


def test_an_export_taken_into_another_ledger_keeps_every_address(ledger, tmp_path):
    lines = outweigh("ledger", "export", "--ledger", ledger).stdout
    (tmp_path / "receipts.jsonl").write_text(lines)
    other = tmp_path / "other.sqlite"

    first = outweigh("ledger", "import", tmp_path / "receipts.jsonl", "--ledger", other)
    again = outweigh("ledger", "import", tmp_path / "receipts.jsonl", "--ledger", other)

    assert first.stdout == "2 new receipts, 0 already here, 0 left out\n"
    assert again.stdout == "0 new receipts, 2 already here, 0 left out\n"
    assert outweigh("ledger", "export", "--ledger", other).stdout == lines


def test_a_codecarbon_file_is_taken_in_as_what_it_is(ledger, tmp_path):
    shutil.copy(Path(__file__).parents[1] / "ledger" / "foreign" / "codecarbon.csv", tmp_path / "emissions.csv")

    done = outweigh("ledger", "import", tmp_path / "emissions.csv", "--ledger", ledger)

    assert done.returncode == 0, done.stderr
    assert not done.stdout.startswith("0 new")


FOREIGN = Path(__file__).parents[1] / "ledger" / "foreign"


def imported(ledger, *arguments):
    """The receipts that an import brought into a new ledger."""
    done = outweigh("ledger", "import", *arguments, "--ledger", ledger, "--project", "theirs")
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in outweigh("ledger", "list", "--json", "--ledger", ledger).stdout.splitlines()]


def test_a_record_that_does_not_say_when_it_ended_is_told_so_on_the_command_line(tmp_path):
    (row,) = imported(tmp_path / "l.sqlite", FOREIGN / "trtllm.json", "--ended", "2026-03-01T13:00:00+01:00")

    assert row["end"] == "2026-03-01T12:00:00.000000Z"


def test_stamps_that_name_no_zone_are_read_in_the_one_that_is_given(tmp_path):
    starts = [
        imported(tmp_path / f"{len(zone)}.sqlite", FOREIGN / "codecarbon.csv", *zone)[0]["start"]
        for zone in ([], ["--timezone", "Asia/Tokyo"])
    ]

    utc, tokyo = (datetime.fromisoformat(start) for start in starts)
    assert (utc - tokyo).total_seconds() == 9 * 3600


def test_the_energy_plugin_of_a_cluster_decides_what_its_joules_are(tmp_path):
    plain = imported(tmp_path / "plain.sqlite", FOREIGN / "sacct.txt")
    rapl = imported(tmp_path / "rapl.sqlite", FOREIGN / "sacct.txt", "--plugin", "rapl")

    assert {(row["scope"], row["grade"]) for row in plain} == {("node", "C")}
    assert {(row["scope"], row["grade"]) for row in rapl} == {("package", "B")}


@pytest.mark.parametrize(
    "wrong", [("--timezone", "Mars/Olympus"), ("--ended", "yesterday"), ("--plugin", "crystal"), ("--format", "abacus")]
)
def test_an_import_option_that_means_nothing_is_refused_and_takes_nothing_in(tmp_path, wrong):
    done = outweigh("ledger", "import", FOREIGN / "sacct.txt", *wrong, "--ledger", tmp_path / "l.sqlite")

    assert done.returncode == 2
    assert wrong[1] in done.stderr


def test_recompute_keeps_every_version_and_adds_nothing_twice(ledger):
    def rows(zone):
        done = outweigh("ledger", "recompute", "--zone", zone, "--json", "--ledger", ledger)
        assert done.returncode == 0, done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]

    here, there, again = rows("US-CAL-CISO"), rows("US-NW-BPAT"), rows("US-CAL-CISO")

    assert here == again
    carbon = [[row["carbon_g"] for row in found if row["kind"] == "carbon"] for found in (here, there)]
    assert carbon[0] != carbon[1]
    assert outweigh("ledger", "verify", "--ledger", ledger).returncode == 0


def test_recompute_in_a_zone_nobody_knows_ends_with_4(ledger):
    done = outweigh("ledger", "recompute", "--zone", "ATLANTIS", "--ledger", ledger)

    assert done.returncode == 4


def test_a_ledger_that_is_not_there_ends_with_3_and_is_not_made(tmp_path):
    done = outweigh("ledger", "list", "--ledger", tmp_path / "none.sqlite")

    assert done.returncode == 3
    assert not (tmp_path / "none.sqlite").exists()


def test_recover_says_when_nothing_was_cut_off(ledger):
    assert outweigh("ledger", "recover", "--ledger", ledger).stdout == "no run was cut off\n"


def test_a_killed_run_is_found_at_the_next_start_and_closed_as_interrupted(ledger, tmp_path):
    import time

    running = tmp_path / ".outweigh" / "running"
    process = subprocess.Popen(
        [OUTWEIGH, "measure", "--hum", "0", "--project", "p", "--", "sleep", "15"],
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not any(b'"interrupted"' in file.read_bytes() for file in running.glob("*")):
        time.sleep(0.1)
    process.kill()
    process.wait()

    done = outweigh("ledger", "recover", "--ledger", ledger)

    assert "interrupted" in done.stdout, done.stdout + done.stderr
    rows = [json.loads(line) for line in outweigh("ledger", "list", "--json", "--ledger", ledger).stdout.splitlines()]
    assert [row["status"] for row in rows] == ["completed", "failed", "interrupted"]
    assert rows[-1]["energy_j"] > 0


def test_the_hum_of_a_period_has_an_owner_and_an_action(ledger):
    rows = [json.loads(line) for line in outweigh("ledger", "hum", "--json", "--ledger", ledger).stdout.splitlines()]

    assert [row["owner"] for row in rows] == ["p"]
    assert rows[0]["share_of_hum"] == 1.0
    assert rows[0]["action"]
    assert outweigh("ledger", "hum", "--days", "-1", "--ledger", ledger).returncode == 2
