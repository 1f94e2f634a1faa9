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
_SETTLED_S = 60.0
_SETTINGS = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AUTH_MODE": "disabled",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}


@contextmanager
def nodes(places: Sequence[tuple[Sequence[str], int]]) -> Iterator[str]:
    """The address of a Ray with a node for each of `places`: the sites it is, as `site:NAME`, and its CPUs.

    Ray starts a worker for every CPU when the first driver comes. It is waited for them: a process takes seconds to
    start on a small machine, which on a fast clock are hours, and a cluster that is in use has them.
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
        for number, (place, cpus) in enumerate(places):
            role = head if not started else (f"--address={address}",)
            resources = json.dumps({f"site:{site}": cpus for site in place})
            room = (f"--num-cpus={cpus}", f"--resources={resources}")
            command = (sys.executable, "-u", "-c", _SCRIPT, "start", *role, *common, *room)
            # No driver comes before all nodes are there: it would have workers started beside the next node.
            started.append(_started(command, folder / f"node-{number}.log"))
        executor = job_executors.get("ray").make(f"address={address}", folder=folder / "jobs")
        wanted, end_s = {site for place, _ in places for site in place}, time.monotonic() + _PATIENCE_S
        while set(executor.sites()) != wanted:
            if time.monotonic() > end_s:
                raise TimeoutError(f"Ray has the sites {executor.sites()}")
            time.sleep(0.2)
        executor.close()
        _until_warm(sum(cpus for _, cpus in places))
        yield address
    finally:
        # A driver ends when its node does, and so would the benchmark.
        ray.shutdown()
        for node in reversed(started):
            node.terminate()
        for node in started:
            node.wait(30)
        shutil.rmtree(folder, ignore_errors=True)


def _until_warm(workers: int) -> None:
    """Until so many workers are idle, or no more come: a node may have had other reasons to start fewer."""
    idle, changed_s = 0, time.monotonic()
    while idle < workers and time.monotonic() - changed_s < _SETTLED_S:
        time.sleep(1.0)
        found = subprocess.run(["pgrep", "-fc", "^ray::IDLE"], capture_output=True, text=True, check=False)
        if int(found.stdout or 0) != idle:
            idle, changed_s = int(found.stdout or 0), time.monotonic()


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
