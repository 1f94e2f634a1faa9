"""What the tests of the ways in share: a real server or framework, or a reason why not."""

import contextlib
import importlib.util
import os
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request

import pytest

from outweigh.app import opened
from outweigh.backends.meters.replay import ReplayMeter
from outweigh.measure import MeterSession
from outweigh.ports import ReceiptFilter

# `make test-frameworks` says that everything has to be there.
ALL_HERE = os.environ.get("OUTWEIGH_TEST_FRAMEWORKS") == "1"


def _missing(reason):
    if ALL_HERE:
        pytest.fail(reason, pytrace=False)
    pytest.skip(f"{reason}; `make test-frameworks` has it")


@pytest.fixture
def needs_package():
    def check(*names):
        for name in names:
            if importlib.util.find_spec(name) is None:
                _missing(f"{name} is not installed")

    return check


@pytest.fixture
def needs_program():
    """The path of a system program; without it a test is skipped, and fails in continuous integration."""

    def check(name):
        found = shutil.which(name)
        if found is None:
            reason = f"{name} is not installed: apt-get install {name}"
            if os.environ.get("CI") == "true":
                pytest.fail(reason, pytrace=False)
            pytest.skip(reason)
        return found

    return check


@pytest.fixture
def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@pytest.fixture
def serving(tmp_path):
    """Start a server in the foreground, as our child, and wait until an address answers."""
    running = []

    def start(command, ready, env=None, patience_s=120):
        log = (tmp_path / "server.log").open("wb")
        server = subprocess.Popen(
            command, stdout=log, stderr=subprocess.STDOUT, cwd=tmp_path, env={**os.environ, **(env or {})},
            start_new_session=True,
        )  # fmt: skip
        running.append((server, log))
        until = time.monotonic() + patience_s
        while True:
            with contextlib.suppress(OSError, urllib.error.URLError), urllib.request.urlopen(ready, timeout=2):
                return server
            said = (tmp_path / "server.log").read_text(errors="replace")[-2000:]
            assert server.poll() is None, said
            assert time.monotonic() < until, said
            time.sleep(0.1)

    yield start
    for server, log in running:
        # A server of several processes: all of its group, which is ours alone.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(server.pid, 15)
        try:
            server.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(server.pid, 9)
            server.wait(20)
        log.close()


@pytest.fixture
def replayed():
    """A session that plays 100 W, 40 of them hum, in real time."""
    with MeterSession(ReplayMeter([(0.0, 100.0)], hum_w=40.0)) as session:
        yield session


@pytest.fixture
def kept(tmp_path):
    """The receipts in tmp_path/ledger.sqlite."""

    def read():
        with opened(tmp_path / "ledger.sqlite") as store:
            return [receipt for _, receipt in store.receipts(ReceiptFilter())]

    return read
