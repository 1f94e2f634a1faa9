"""Plans on real schedulers and databases, with kills on the way. Twenty-fold: benchmarks/supervisor_faults.py."""

import json
import os
import runpy
import signal
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

import pytest

from outweigh.backends.stores.sqlite import SqliteStore

TESTS = Path(__file__).parents[1]
slurm = SimpleNamespace(**runpy.run_path(str(TESTS / "executors" / "slurm_cluster.py")))
FACTOR = 1800.0  # plan seconds in a wall second: an hour in two seconds
PATIENCE_S = 200


class Follower:
    """`outweigh run` in a process of its own."""

    def __init__(self, folder, plan, on, ledger, environment=()):
        self.folder, self.plan, self.on, self.ledger = folder, plan, on, ledger
        self.environment = {**os.environ, **dict(environment), "OUTWEIGH_STATE": str(folder / "state")}
        self.start()

    def start(self):
        command = [
            sys.executable, "-m", "outweigh", "run", str(self.plan), "--on", self.on, "--json", "--clock-factor",
            str(FACTOR), "--every", "0.3", "--ledger", str(self.ledger),
        ]  # fmt: skip
        with (self.folder / "told").open("a") as told, (self.folder / "out.json").open("w") as out:
            self.process = subprocess.Popen(command, env=self.environment, stdout=out, stderr=told, cwd=self.folder)

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def report(self):
        self.process.wait(PATIENCE_S)
        text = (self.folder / "out.json").read_text()
        assert text, (self.folder / "told").read_text()
        return json.loads(text)


def until(holds):
    end_s = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < end_s, "it did not come"
        time.sleep(0.1)


@pytest.fixture
def six(tmp_path, day):
    """A plan of six jobs, each of which writes a line when it is done."""
    jobs = [day.job(f"train-{i}", work_h=1.0 + i % 3, deadline=20, release=i % 2) for i in range(6)]
    document = day.planned(jobs, capacity_kw=40)
    for i, one in enumerate(document["jobs"]):
        seconds = one["work_h"] * 3600 / FACTOR
        one["command"] = ["sh", "-c", f"sleep {seconds:.2f} && echo done >> {tmp_path}/job-{i}"]
    path = tmp_path / "plan.json"
    path.write_text(json.dumps(document))
    return path


def run_once(tmp_path):
    return [(tmp_path / f"job-{i}").read_text().count("done") for i in range(6)] == [1] * 6


def begun(tmp_path):
    return any((tmp_path / f"job-{i}").exists() for i in range(6))


def leaves_no_receipt(report, ledger):
    """It was a trial: what its jobs are said to have drawn is nobody's energy."""
    with closing(SqliteStore.open(ledger)) as store:
        return report["trial"] and not any(job["receipt"] for job in report["jobs"]) and store.verify() == 0


@pytest.fixture(scope="session")
def cluster(tmp_path_factory):
    folder = tmp_path_factory.mktemp("slurm") / "c"
    with slurm.slurm_cluster(folder, sites=("fr", "se"), cpus=8, settings="SelectTypeParameters=CR_CPU") as running:
        yield running


def test_a_plan_is_followed_here_though_its_supervisor_is_killed(tmp_path, six):
    ledger = tmp_path / "ledger.sqlite"
    follower = Follower(tmp_path, six, "local:fr,se", ledger)
    for _ in range(2):
        until(ledger.exists)
        time.sleep(2.0)
        follower.kill()
        follower.start()

    report = follower.report()

    assert report["counts"]["completed"] == 6
    assert run_once(tmp_path)
    assert leaves_no_receipt(report, ledger)


def test_a_zone_alone_is_no_place_on_a_slurm_whose_nodes_have_features(tmp_path, cluster):
    script = tmp_path / "train.sh"
    script.write_text(f"#!/bin/sh\n#SBATCH --output=/dev/null\necho done >> {tmp_path}/ran\nexit 3\n")
    environment = {
        **os.environ, **slurm.environment_of(cluster), "OUTWEIGH_STATE": str(tmp_path / "state"),
    }  # fmt: skip

    def outweigh(*zones):
        return subprocess.run(
            [sys.executable, "-m", "outweigh", "run", "--deadline", "72h", "--expect", "1min", "--on", "slurm", *zones,
             "--every", "0.3", "--offline", "--", "sbatch", "train.sh"],
            env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=PATIENCE_S, check=False,
        )  # fmt: skip

    alone = outweigh("--zone", "DE")
    named = outweigh("--zone", "se=SE")
    wrong = outweigh("--zone", "mars=DE")
    many = outweigh("--zone", "DE", "--zone", "FR")

    assert alone.returncode == 3, alone.stderr
    assert named.returncode == 3, named.stderr
    assert (tmp_path / "ran").read_text().count("done") == 2
    assert wrong.returncode == 125
    assert "mars" in wrong.stderr
    assert many.returncode == 125
    assert "--zone fr=ZONE" in many.stderr


@pytest.mark.slow
def test_a_plan_is_followed_on_slurm_though_its_supervisor_and_the_controller_are_killed(tmp_path, six, cluster):
    ledger = tmp_path / "ledger.sqlite"
    environment = slurm.environment_of(cluster)
    follower = Follower(tmp_path, six, "slurm", ledger, environment)
    until(lambda: "following" in (tmp_path / "told").read_text())
    time.sleep(3.0)
    follower.kill()
    follower.start()
    cluster.kill_controller()
    cluster.start_controller()
    until(lambda: begun(tmp_path))
    follower.kill()
    follower.start()

    report = follower.report()

    assert report["counts"]["completed"] == 6, (tmp_path / "told").read_text()
    assert run_once(tmp_path)
    assert leaves_no_receipt(report, ledger)


@pytest.mark.slow
def test_a_plan_is_followed_though_its_database_is_killed(tmp_path, six):
    postgres = runpy.run_path(str(TESTS / "stores" / "postgres_server.py"))
    if postgres["binaries"]() is None:
        if os.environ.get("CI") == "true":
            pytest.fail("there is no PostgreSQL server here: apt-get install postgresql-15")
        pytest.skip("there is no PostgreSQL server here")
    with postgres["serving"]() as server:
        server.sql("CREATE DATABASE ledger")
        follower = Follower(tmp_path, six, "local:fr,se", server.url("ledger"))
        until(lambda: "following" in (tmp_path / "told").read_text())
        time.sleep(2.0)
        server.kill()
        time.sleep(1.0)
        server.start()

        report = follower.report()

    assert report["counts"]["completed"] == 6, (tmp_path / "told").read_text()
    assert run_once(tmp_path)
