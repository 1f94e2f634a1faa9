"""Two Ray nodes on loopback, each a child of the benchmark, with the sites of a day between them."""

from __future__ import annotations

import json
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
_SETTINGS = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AUTH_MODE": "disabled",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    # As many workers as a node has CPUs would be started for the first driver: here they are only room for jobs.
    "RAY_prestart_worker_first_driver": "0",
}


@contextmanager
def nodes(places: Sequence[Sequence[str]], cpus: int) -> Iterator[str]:
    """The address of a Ray with one node for each of `places`, which has the resources `site:NAME` of its sites."""
    import ray

    os.environ.update(_SETTINGS)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    folder = Path(tempfile.mkdtemp(prefix="ray"))  # sockets have short names
    common = ("--node-ip-address=127.0.0.1", f"--num-cpus={cpus}", "--object-store-memory=100000000", "--block")
    head = ("--head", f"--port={address.rpartition(':')[2]}", "--include-dashboard=false", f"--temp-dir={folder}")
    started: list[subprocess.Popen[bytes]] = []
    try:
        for place in places:
            role = head if not started else (f"--address={address}",)
            resources = json.dumps({f"site:{site}": cpus for site in place})
            command = (sys.executable, "-c", _SCRIPT, "start", *role, *common, f"--resources={resources}")
            started.append(subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
            _until_answering(address, started)
        executor = job_executors.get("ray").make(f"address={address}", folder=folder / "jobs")
        wanted, end_s = {site for place in places for site in place}, time.monotonic() + _PATIENCE_S
        while set(executor.sites()) != wanted:
            if time.monotonic() > end_s:
                raise TimeoutError(f"Ray has the sites {executor.sites()}")
            time.sleep(0.2)
        executor.close()
        yield address
    finally:
        # A driver ends when its node does, and so would the benchmark.
        ray.shutdown()
        for node in reversed(started):
            node.terminate()
        for node in started:
            node.wait(30)
        shutil.rmtree(folder, ignore_errors=True)


def _until_answering(address: str, started: Sequence[subprocess.Popen[bytes]]) -> None:
    host, _, port = address.partition(":")
    end_s = time.monotonic() + _PATIENCE_S
    while True:
        ended = [node.returncode for node in started if node.poll() is not None]
        if ended or time.monotonic() > end_s:
            raise TimeoutError(f"Ray does not start: a node ended with {ended[0]}" if ended else "Ray does not start")
        try:
            socket.create_connection((host, int(port)), 1).close()
        except OSError:
            time.sleep(0.2)
        else:
            return
