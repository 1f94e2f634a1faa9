"""Ray nodes on loopback, one a site, each a child of the benchmark."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from outweigh.registry import job_executors

_SCRIPT = "import sys; from ray.scripts.scripts import main; sys.exit(main())"
_PATIENCE_S = 120.0


@contextmanager
def nodes(sites: Sequence[str], cpus: int) -> Iterator[str]:
    """The address of a Ray whose nodes have the resources `site:NAME`."""
    os.environ.update(RAY_USAGE_STATS_ENABLED="0", RAY_AUTH_MODE="disabled", RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO="0")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    folder = Path(tempfile.mkdtemp(prefix="ray"))  # sockets have short names
    common = ("--node-ip-address=127.0.0.1", f"--num-cpus={cpus}", "--object-store-memory=100000000", "--block")
    head = ("--head", f"--port={address.rpartition(':')[2]}", "--include-dashboard=false", f"--temp-dir={folder}")
    started: list[subprocess.Popen[bytes]] = []
    try:
        for site in sites:
            place = head if not started else (f"--address={address}",)
            command = (
                sys.executable,
                "-c",
                _SCRIPT,
                "start",
                *place,
                *common,
                f'--resources={{"site:{site}": {cpus}}}',
            )
            started.append(subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
            _until_answering(address)
        executor = job_executors.get("ray").make(f"address={address}", folder=folder / "jobs")
        end_s = time.monotonic() + _PATIENCE_S
        while set(executor.sites()) != set(sites):
            if time.monotonic() > end_s:
                raise TimeoutError(f"Ray has {executor.sites()}")
            time.sleep(0.2)
        executor.close()
        yield address
    finally:
        for node in reversed(started):
            node.terminate()
        for node in started:
            node.wait(30)
        shutil.rmtree(folder, ignore_errors=True)


def _until_answering(address: str) -> None:
    host, _, port = address.partition(":")
    end_s = time.monotonic() + _PATIENCE_S
    while True:
        try:
            socket.create_connection((host, int(port)), 1).close()
        except OSError:
            if time.monotonic() > end_s:
                raise
            time.sleep(0.2)
        else:
            return
