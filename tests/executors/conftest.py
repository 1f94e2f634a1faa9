"""One case an executor: how to make it, what a job of it looks like, and how its time goes by."""

from __future__ import annotations

import itertools
import runpy
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest

from outweigh.core.jobs import Checkpoint, JobRequest, JobState, JobStatus
from outweigh.ports import JobExecutor
from outweigh.registry import job_executors

slurm = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("slurm_cluster.py"))))
PATIENCE_S = 60.0  # for a loaded machine; no test waits that long where things work

# A job of a second and more that keeps how far it is in a file, saves when told, and goes on from there.
SAVING = """
n=$(cat "$1" 2>/dev/null || echo 0)
trap 'echo $n > "$1"; exit 85' USR1
while [ $n -lt $2 ]; do sleep 0.1; n=$((n + 1)); done
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


CASES: dict[str, type[Case]] = {"simulated": Simulated, "local": Local, "slurm": Slurm}


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator:
    with slurm.slurm_cluster(tmp_path_factory.mktemp("slurm") / "c") as running:
        yield running


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Case]:
    kind = CASES[request.param]
    made = kind(tmp_path, request.getfixturevalue("cluster")) if kind is Slurm else kind(tmp_path)
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
