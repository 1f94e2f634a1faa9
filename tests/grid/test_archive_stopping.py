"""Signals while the archive's engine is at work."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

pytest.importorskip("duckdb")

BUSY = """
import os
import click
from outweigh.cli import main
from outweigh.data.grid_archive.parquet import Engine

@click.command()
def busy():
    engine = Engine()
    engine.connection()
    os.write(1, b"ready\\n")
    engine.run("SELECT count(*) FROM range(1000000000000) AS r(n) WHERE n % 7 = 3")

main.cli = busy  # stands in for any verb
main.main([])
"""


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_in_the_middle_of_a_query_ends_with_its_own_code(sent: signal.Signals, code: int):
    with subprocess.Popen([sys.executable, "-c", BUSY], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as busy:
        assert busy.stdout is not None
        assert busy.stdout.readline() == b"ready\n"
        os.kill(busy.pid, sent)
        _, said = busy.communicate(timeout=60)

    assert busy.returncode == code
    assert b"Traceback" not in said
