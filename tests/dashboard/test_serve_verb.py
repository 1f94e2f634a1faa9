"""`outweigh serve`: starts, says where, refuses what it must, and ends clean."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

pytest.importorskip("uvicorn")
pytest.importorskip("fastapi")

OUTWEIGH = str(Path(sys.executable).with_name("outweigh"))


def refused(*args: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run([OUTWEIGH, "serve", *args], capture_output=True, text=True, timeout=120, check=False)
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    return done


@pytest.fixture
def running() -> Iterator[tuple[subprocess.Popen[str], str]]:
    command = [OUTWEIGH, "serve", "--port", "0", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield process, json.loads(process.stdout.readline())["url"]
        process.kill()


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_it_says_where_it_listens_answers_and_ends_clean_when_told_to(
    running: tuple[subprocess.Popen[str], str], how: signal.Signals
):
    process, url = running

    (row,) = httpx.get(f"{url}/emissions/bylocation?location=DE", timeout=60, trust_env=False).json()
    process.send_signal(how)
    _, told = process.communicate(timeout=60)

    assert row["outweigh"]["source"].startswith("Ember")
    assert process.returncode == 0
    assert "Traceback" not in told


def test_a_port_that_is_taken_is_said_to_be():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        done = refused("--port", str(taken.getsockname()[1]))

    assert done.returncode == 2
    assert "is in use" in done.stderr
    assert "--port 0" in done.stderr


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.org", "127.0.0.1.example.org", ""])
def test_it_refuses_to_listen_where_others_could_ask(host: str):
    done = refused("--host", host, "--port", "0")

    assert done.returncode == 2
    assert "--host" in done.stderr


def test_a_file_that_cannot_be_read_is_told_at_the_start(tmp_path: Path):
    torn = tmp_path / "torn.csv"
    torn.write_text("zone,start\n", encoding="utf-8")

    assert refused("--file", str(torn), "--port", "0").returncode == 4
    assert refused("--file", str(tmp_path / "none.csv"), "--port", "0").returncode == 2
    assert refused("--source", "moon", "--port", "0").returncode == 2
    assert refused("--declare", "DE", "--port", "0").returncode == 2
    assert refused("--port", "70000").returncode == 2
