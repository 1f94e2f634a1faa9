"""Writers killed at any moment: what was acknowledged is there, whole, and nothing is half there."""

from __future__ import annotations

import importlib.util
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from outweigh.grid.archive import Archive

pytest.importorskip("duckdb")
HELPER = Path(__file__).with_name("archiving.py")
spec = importlib.util.spec_from_file_location("archiving", HELPER)
archiving = importlib.util.module_from_spec(spec)
spec.loader.exec_module(archiving)

WRITER = """
import importlib.util, os, sys
from pathlib import Path
spec = importlib.util.spec_from_file_location("archiving", sys.argv[1])
made = importlib.util.module_from_spec(spec)
spec.loader.exec_module(made)
from outweigh.grid.archive import Archive
archive, number = Archive(Path(sys.argv[2])), int(sys.argv[3])
archive._engine.connection()
os.write(1, b"ready\\n")
for n in range(10_000):
    series = made.said([float(number), float(n)], first=n % 24)
    digest = archive.put(series, retrieved_at=made.after(100 + n))
    os.write(1, f"{digest}\\n".encode())
    if n % 7 == 6:
        archive.compact()
"""


@pytest.mark.slow
def test_nothing_acknowledged_is_lost_and_nothing_is_half_there_when_writers_are_killed(tmp_path: Path):
    dice = random.Random(6)
    acknowledged: set[str] = set()
    killed = 0
    for batch in range(3):
        writers = [
            subprocess.Popen(
                [sys.executable, "-c", WRITER, str(HELPER), str(tmp_path), str(10 * batch + n)], stdout=subprocess.PIPE
            )
            for n in range(3)
        ]
        for writer in writers:
            assert writer.stdout.readline() == b"ready\n"
        for writer in writers:
            time.sleep(dice.uniform(0.02, 0.4))  # the moment of its death, not a wait for anything
            os.kill(writer.pid, signal.SIGKILL)
            said = writer.communicate()[0]
            killed += writer.returncode == -signal.SIGKILL
            # A line cut off by the kill was not heard, and so was not acknowledged.
            acknowledged |= {line.decode() for line in said.split(b"\n")[:-1]}

    archive = Archive(tmp_path)
    kept = {put.id: put for put in archive.vintages("DE", archiving.DIRECT)}

    assert killed == 9
    assert len(acknowledged) > 9
    assert acknowledged <= set(kept)
    assert {put.slots for put in kept.values()} == {2}
    archive.compact()
    assert {put.id for put in archive.vintages("DE", archiving.DIRECT)} == set(kept)
    for digest in sorted(acknowledged)[:20]:
        archive.replay("DE", archiving.DIRECT, archiving.hours(0, 26), [digest])
