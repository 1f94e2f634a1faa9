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
_STARTED = "Ray runtime started"
_PATIENCE_S = 180.0
_ATTEMPTS = 5
_SETTINGS = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AUTH_MODE": "disabled",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}


@contextmanager
def nodes(places: Sequence[Sequence[str]], cpus: int) -> Iterator[str]:
    """The address of a Ray with a node for each of `places`, which is its sites: it has their resources `site:NAME`.

    Every job makes Ray start a process, which takes one to two seconds of a CPU: a fast clock makes hours of that where
    many start together on a small or busy machine. OUTWEIGH_BENCH_FACTOR=60 is for two cores.
    """
    import ray

    os.environ.update(_SETTINGS)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    folder = Path(tempfile.mkdtemp(prefix="ray"))  # sockets have short names
    common = ("--node-ip-address=127.0.0.1", "--object-store-memory=100000000", "--block")
    head = ("--head", f"--port={address.rpartition(':')[2]}", "--include-dashboard=false", f"--temp-dir={folder}")
    started: list[subprocess.Popen[bytes]] = []
    try:
        for number, place in enumerate(places):
            role = head if not started else (f"--address={address}",)
            resources = json.dumps({f"site:{site}": cpus for site in place})
            room = (f"--num-cpus={cpus}", f"--resources={resources}")
            command = (sys.executable, "-u", "-c", _SCRIPT, "start", *role, *common, *room)
            # One that joins a head that is not ready gives up.
            started.append(_started(command, folder / f"node-{number}.log"))
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


def _started(command: Sequence[str], log: Path) -> subprocess.Popen[bytes]:
    """A node that runs. Ray gives itself half a minute, which a busy machine may not have: then it is asked again."""
    for _ in range(_ATTEMPTS):
        with log.open("wb") as said:
            node = subprocess.Popen(command, stdout=said, stderr=subprocess.STDOUT)
        end_s = time.monotonic() + _PATIENCE_S
        while node.poll() is None and time.monotonic() < end_s:
            if _STARTED in log.read_text(errors="replace"):
                return node
            time.sleep(0.2)
        node.terminate()
        node.wait(60)
    raise TimeoutError(f"a Ray node does not start: {log.read_text(errors='replace')[-2000:]}")
