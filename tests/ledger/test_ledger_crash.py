"""The benchmark of crashes, in small; `python benchmarks/ledger_crash.py` is the whole of it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "ledger_crash.py"


@pytest.mark.skipif(sys.platform == "win32", reason="forks and kills")
def test_a_dozen_killed_writers_lose_and_double_nothing():
    done = subprocess.run(
        [sys.executable, str(BENCHMARK), "--json", "--kills", "12"],
        capture_output=True, text=True, check=False, timeout=240,
    )  # fmt: skip

    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(done.stdout)
    held = [row for row in found["rows"] if row["goal"]]
    assert sum(row["case"].startswith("sqlite") and row["holds"] for row in held) == 6
    if os.environ.get("CI") == "true":  # elsewhere PostgreSQL may be absent, and the row says so
        assert all(row["holds"] for row in held)
    assert all(row["holds"] or row["note"] for row in held)
