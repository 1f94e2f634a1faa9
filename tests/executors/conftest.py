"""One case an executor: how to make it, what a job of it looks like, and how its time goes by."""

from __future__ import annotations

import importlib.util
import itertools
import os
import runpy
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest

from outweigh.core.jobs import Checkpoint, JobRequest, JobState, JobStatus
from outweigh.ports import JobExecutor
from outweigh.registry import job_executors

kubernetes_api = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("kubernetes_api.py"))))
slurm = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("slurm_cluster.py"))))
ALL_HERE = os.environ.get("OUTWEIGH_TEST_FRAMEWORKS") == "1"
PATIENCE_S = 180.0  # for a loaded machine; no test waits that long where things work

# A job of a second and more that keeps how far it is in a file, saves when told, and goes on from there.
SAVING = """
n=$(cat "$1" 2>/dev/null || echo 0)
trap 'echo $n > "$1"; exit 85' USR1
while [ $n -lt $2 ]; do sleep 0.1; n=$((n + 1)); done
echo done >> "$1.done"
"""
UNTIL_TOLD = """
until [ -e "$1.go" ]; do sleep 0.1; done
echo done >> "$1.done"
"""
DEAF = "trap '' USR1; n=0; while [ $n -lt $1 ]; do sleep 0.1; n=$((n + 1)); done"


class Case:
    """An executor under the contract.

    Attributes:
        sites: two that it has.
        folder: of the test.
    """

    sites = ("se", "fr")

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._keys = itertools.count(1)

    def make(self) -> JobExecutor:
        """Another one on the same jobs, as after a restart of who uses it."""
        raise NotImplementedError

    def now(self) -> datetime:
        return datetime.now(UTC)

    def later(self, seconds: float) -> None:
        time.sleep(seconds)

    def job(self, seconds: float = 0.5, code: int = 0, **asked) -> JobRequest:
        command = ("sh", "-c", f"sleep {seconds}; exit {code}")
        return JobRequest(self._key(), command, cwd=str(self.folder), work_s=seconds, **asked)

    def saving(self, ticks: int = 20, grace_s: float = 20.0, **asked) -> JobRequest:
        """A job that saves when told; it takes `ticks` tenths of a second."""
        key = self._key()
        command = ("sh", "-c", SAVING, "saving", str(self.folder / key), str(ticks))
        return JobRequest(key, command, checkpoint=Checkpoint(grace_s=grace_s), work_s=ticks / 10, **asked)

    def until_told(self, **asked) -> JobRequest:
        """A job that takes as long as `tell` lets it."""
        key = self._key()
        return JobRequest(key, ("sh", "-c", UNTIL_TOLD, "until", str(self.folder / key)), **asked)

    def tell(self, request: JobRequest) -> None:
        (self.folder / f"{request.key}.go").touch()

    def deaf(self, ticks: int = 30, grace_s: float = 0.3, **asked) -> JobRequest:
        """A job that ignores being told to save."""
        command = ("sh", "-c", DEAF, "deaf", str(ticks))
        return JobRequest(self._key(), command, checkpoint=Checkpoint(grace_s=grace_s), work_s=ticks / 10, **asked)

    def until(
        self, executor: JobExecutor, key: str, *states: JobState, also: Callable[[JobStatus], bool] | None = None
    ) -> JobStatus:
        end_s = time.monotonic() + PATIENCE_S
        while True:
            status = executor.observe((key,))[key]
            if status.state in states and (also is None or also(status)):
                return status
            assert time.monotonic() < end_s, f"still {status}"
            assert not status.state.over, f"over before it was {states}: {status}"
            self.later(0.1)

    def _key(self) -> str:
        return f"job-{next(self._keys)}"


class Simulated(Case):
    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.time = datetime(2026, 11, 2, tzinfo=UTC)
        self.codes: dict[str, int] = {}
        self.one = job_executors.get("simulated")(
            {"se": 4, "fr": 4}, now=self.now, exit_code=lambda request: self.codes.get(request.key, 0), save_s=0.1
        )

    def make(self) -> JobExecutor:
        return self.one

    def now(self) -> datetime:
        return self.time

    def later(self, seconds: float) -> None:
        self.time += timedelta(seconds=seconds)

    def job(self, seconds: float = 0.5, code: int = 0, **asked) -> JobRequest:
        request = super().job(seconds, code, **asked)
        self.codes[request.key] = code
        return request

    def deaf(self, ticks: int = 30, grace_s: float = 0.3, **asked) -> JobRequest:
        request = super().deaf(ticks, grace_s, **asked)
        self.one.faults.deaf.add(request.key)
        return request


class Local(Case):
    def make(self) -> JobExecutor:
        return job_executors.get("local").make("se=4,fr=4", folder=self.folder / "jobs")


class Slurm(Case):
    """On a cluster that all tests of a session share; every test has its own records, and keys of its own."""

    serial = itertools.count(1)

    def __init__(self, folder: Path, cluster) -> None:
        super().__init__(folder)
        self.cluster = cluster
        self._number = next(self.serial)

    def make(self) -> JobExecutor:
        kind = job_executors.get("slurm")
        return kind(folder=self.folder / "jobs", environment={"SLURM_CONF": str(self.cluster.conf)})

    def _key(self) -> str:
        return f"t{self._number}-{super()._key()}"


class Ray(Case):
    """On two nodes that all tests of a session share."""

    serial = itertools.count(1)

    def __init__(self, folder: Path, address: str) -> None:
        super().__init__(folder)
        self.address = address
        self._number = next(self.serial)

    def make(self) -> JobExecutor:
        return job_executors.get("ray").make(f"address={self.address}", folder=self.folder / "jobs")

    def _key(self) -> str:
        return f"r{self._number}-{super()._key()}"


class Kubernetes(Case):
    """On an API server that is made, whose pods are processes."""

    queue = ""

    def __init__(self, folder: Path, cluster) -> None:
        super().__init__(folder)
        self.cluster = cluster

    def make(self) -> JobExecutor:
        from kubernetes import client

        settings = client.Configuration(host=self.cluster.url)
        settings.retries = False
        return job_executors.get("kubernetes")(
            image="none", queue=self.queue, folder=self.folder / "jobs", api=client.ApiClient(settings)
        )


class Kueue(Kubernetes):
    queue = "team"


CASES: dict[str, type[Case]] = {
    "simulated": Simulated, "local": Local, "slurm": Slurm, "ray": Ray, "kubernetes": Kubernetes, "kueue": Kueue,
}  # fmt: skip
# What a case needs besides its folder: a fixture of that name.
GROUND = {"slurm": "cluster", "ray": "ray_nodes", "kubernetes": "api_server", "kueue": "kueue_server"}
NEEDS_A_FRAMEWORK = ("ray", "kubernetes", "kueue")


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator:
    with slurm.slurm_cluster(tmp_path_factory.mktemp("slurm") / "c") as running:
        yield running


def _must_have(package: str) -> None:
    """Skips where it is not installed; fails where all frameworks are said to be."""
    if importlib.util.find_spec(package) is None:
        reason = f"{package} is not installed"
        pytest.fail(reason, pytrace=False) if ALL_HERE else pytest.skip(reason)


@pytest.fixture(scope="session")
def ray_nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a Ray of two nodes on loopback, `site:se` and `site:fr`."""
    _must_have("ray")
    os.environ.update(RAY_USAGE_STATS_ENABLED="0", RAY_AUTH_MODE="disabled", RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO="0")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    folder = Path(tempfile.mkdtemp(prefix="ray", dir="/tmp"))  # sockets have short names
    common = ("--node-ip-address=127.0.0.1", "--num-cpus=4", "--object-store-memory=100000000", "--block")
    head = ("--head", f"--port={address.rpartition(':')[2]}", "--include-dashboard=false", f"--temp-dir={folder}")
    script = "import sys; from ray.scripts.scripts import main; sys.exit(main())"
    started: list[subprocess.Popen] = []
    try:
        for site, place in (("se", head), ("fr", (f"--address={address}",))):
            command = (sys.executable, "-c", script, "start", *place, *common, f'--resources={{"site:{site}": 1}}')
            started.append(subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
            _until_answering(address)
        executor = job_executors.get("ray").make(f"address={address}", folder=folder / "jobs")
        end_s = time.monotonic() + PATIENCE_S
        while set(executor.sites()) != {"se", "fr"}:
            assert time.monotonic() < end_s, "the second Ray node did not come"
            time.sleep(0.2)
        yield address
    finally:
        import ray

        ray.shutdown()
        for node in reversed(started):
            node.terminate()
        for node in started:
            node.wait(30)
        shutil.rmtree(folder, ignore_errors=True)


def _until_answering(address: str) -> None:
    host, _, port = address.partition(":")
    end_s = time.monotonic() + PATIENCE_S
    while True:
        try:
            socket.create_connection((host, int(port)), 1).close()
        except OSError:
            assert time.monotonic() < end_s, "Ray did not start"
            time.sleep(0.2)
        else:
            return


def _param(name: str):
    return pytest.param(name, marks=pytest.mark.frameworks) if name in NEEDS_A_FRAMEWORK else name


@pytest.fixture
def api_server() -> Iterator:
    _must_have("kubernetes")
    with kubernetes_api.Cluster() as running:
        yield running


@pytest.fixture
def kueue_server() -> Iterator:
    _must_have("kubernetes")
    with kubernetes_api.Cluster(kueue=True) as running:
        yield running


@pytest.fixture(params=[_param(name) for name in CASES])
def case(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Case]:
    ground = GROUND.get(request.param)
    made = CASES[request.param](tmp_path, *([request.getfixturevalue(ground)] if ground else []))
    yield made
    executor = made.make()
    for key, status in executor.observe().items():
        if not status.state.over:
            executor.cancel(key)
            made.until(executor, key, *(state for state in JobState if state.over))
    executor.close()


@pytest.fixture
def executor(case: Case) -> Iterator[JobExecutor]:
    made = case.make()
    yield made
    made.close()


@pytest.fixture
def on_slurm(tmp_path: Path, cluster) -> Slurm:
    return Slurm(tmp_path, cluster)


@pytest.fixture
def on_own_slurm(tmp_path: Path) -> Iterator[Slurm]:
    """A cluster of this test alone, whose daemons it may kill."""
    with slurm.slurm_cluster(tmp_path / "c") as running:
        yield Slurm(tmp_path, running)


@pytest.fixture
def kubernetes_case() -> type[Kubernetes]:
    return Kubernetes


@pytest.fixture
def slurm_case() -> type[Slurm]:
    return Slurm
