"""`outweigh serve` as a process: several workers on PostgreSQL, a wider address, and what it leaves in its output."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from outweigh.app.serving.tokens import make_token
from outweigh.backends.stores.sqlite import SqliteStore
from outweigh.cli.main import run
from outweigh.ports.serving import Role

OUTWEIGH = str(Path(sys.executable).with_name("outweigh"))


@contextmanager
def serving(*args: str, cwd: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """`outweigh serve`, and where it listens."""
    command = [OUTWEIGH, "serve", "--port", "0", "--json", *args]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=cwd) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert line, process.stderr.read() if process.stderr else ""
            yield process, json.loads(line)["url"]
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
                try:
                    process.wait(20)
                except subprocess.TimeoutExpired:
                    process.kill()


def answered(client: httpx.Client, path: str, seconds: float = 200) -> httpx.Response:
    """The first answer of a server that is starting."""
    until = time.monotonic() + seconds
    while True:
        try:
            return client.get(path)
        except httpx.TransportError:
            if time.monotonic() > until:
                raise
            time.sleep(0.1)


def children(pid: int) -> list[int]:
    command = ["ps", "-ww", "-o", "pid=", "-o", "args=", "--ppid", str(pid)]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    return [int(line.split()[0]) for line in found.stdout.splitlines() if "spawn_main" in line]


def test_a_client_that_never_reads_does_not_keep_the_server_from_stopping(tmp_path: Path):
    with serving("--ledger", str(tmp_path / "ledger.sqlite"), cwd=tmp_path) as (process, url), socket.socket() as mute:
        port = int(url.rsplit(":", 1)[1])
        mute.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        mute.connect(("127.0.0.1", port))
        mute.sendall(f"GET /static/d3.min.js HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode() * 40)
        assert mute.recv(9) == b"HTTP/1.1 "
        time.sleep(0.5)
        process.send_signal(signal.SIGTERM)

        said = process.communicate(timeout=15)[1]

    assert process.returncode == 0
    assert said == "it listens there; Ctrl-C ends it\n"


@pytest.mark.slow
def test_two_workers_on_postgresql_share_keys_tokens_and_receipts_and_a_dead_one_is_replaced(
    database: Any, tmp_path: Path, made_receipt: Any
):
    from datetime import UTC, datetime

    from outweigh.backends.stores.postgresql import PostgresqlStore

    url = database.url()
    with closing(PostgresqlStore.open(url)) as store:
        _, secret = make_token(store, "agent", Role.WRITER, now=datetime.now(UTC))
        with serving("--ledger", url, "--workers", "2", "--per-minute", "0", "--host", "0.0.0.0", cwd=tmp_path) as (
            process,
            wide,
        ):
            address = wide.replace("0.0.0.0", "127.0.0.1")
            headers = {"Authorization": f"Bearer {secret}", "Connection": "close"}
            with httpx.Client(base_url=address, headers=headers, timeout=60, trust_env=False) as client:
                assert answered(client, "/api/v1/me").status_code == 200
                assert httpx.get(f"{address}/api/v1/me", timeout=60, trust_env=False).status_code == 401
                body = {"receipts": [made_receipt(index).to_dict() for index in range(5)]}

                def push(key: int) -> str:
                    answer = client.post("/api/v1/receipts", json=body, headers={"Idempotency-Key": f"k{key % 3}"})
                    assert answer.status_code == 201, answer.text
                    return f"{key % 3} {answer.text}"

                with ThreadPoolExecutor(8) as pool:
                    told = set(pool.map(push, range(24)))
                assert len(told) == 3  # one answer a key, whoever gave it
                assert sum(json.loads(text.split(" ", 1)[1])["kept"] for text in told) == 5
                assert store.verify() == 5

                workers = children(process.pid)
                assert len(workers) == 2
                os.kill(workers[0], signal.SIGKILL)
                until = time.monotonic() + 60
                while len(set(children(process.pid)) - set(workers)) < 1 and time.monotonic() < until:
                    time.sleep(0.1)
                assert len(set(children(process.pid)) - set(workers)) == 1
                assert answered(client, "/healthz").status_code == 200
            process.send_signal(signal.SIGTERM)
            out, told_err = process.communicate(timeout=60)
    assert process.returncode == 0
    assert secret not in out + told_err
    assert "Traceback" not in told_err


@pytest.mark.parametrize("door", [("--host", "0.0.0.0"), ("--behind", "127.0.0.1"), ("--name", "energy.example")])
def test_whatever_lets_others_in_asks_for_a_token_first(tmp_path: Path, store: SqliteStore, capsys, door):
    code = run(["serve", *door, "--port", "0", "--ledger", str(tmp_path / "ledger.sqlite")])

    out, told = capsys.readouterr()
    assert (code, out) == (2, "")
    assert f"{door[0]} " in told
    assert "no token was made" in told


def test_who_only_asks_for_carbon_starts_no_ledger(tmp_path: Path):
    with serving(cwd=tmp_path) as (_, address), httpx.Client(trust_env=False, timeout=60) as client:
        assert client.get(f"{address}/emissions/bylocation?location=DE").status_code == 200

    assert list(tmp_path.iterdir()) == []


def test_settings_of_workers_lie_where_only_their_user_reads_them(tmp_path: Path):
    from outweigh.app.serving import Settings

    settings = Settings(folder=str(tmp_path), ledger="postgresql://u:secret@h/d", names=("a.example",))
    settings.keep(tmp_path / "settings.json")

    assert (tmp_path / "settings.json").stat().st_mode & 0o777 == 0o600
    assert Settings.kept(tmp_path / "settings.json") == settings
