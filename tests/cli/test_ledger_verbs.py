"""`outweigh ledger`: what the record is for, from the command line."""

import json
import shutil
import subprocess
import sys
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
