"""A real Slurm of three sites on one host: slurmctld and one slurmd a node, each in the foreground, one a child of us.

Sites are node features. Every daemon can be killed and brought back on its own.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest

TOOLS = ("munged", "slurmctld", "slurmd", "sbatch", "scontrol", "squeue", "sinfo")
PATIENCE_S = 180.0

CONF = """ClusterName=t
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port}
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.sock
StateSaveLocation={folder}/ctld
SlurmdSpoolDir={folder}/spool.%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.%n.log
ProctrackType=proctrack/linuxproc
JobAcctGatherType=jobacct_gather/linux
SelectType=select/cons_tres
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=1,bf_interval=1,batch_sched_delay=0,sched_min_interval=0
SlurmdParameters=config_overrides
ReturnToService=2
SlurmdTimeout=10
KillWait=2
MailProg=/bin/true
Licenses=watts:1000
{more}
{nodes}
PartitionName=eco Nodes=ALL Default=YES MaxTime=INFINITE State=UP OverSubscribe=NO
"""


class SlurmCluster:
    """Use it as a context manager.

    Attributes:
        conf: path of its slurm.conf; commands find the cluster by SLURM_CONF.
        environment: for its commands.
    """

    def __init__(
        self, folder: Path, sites: Sequence[str] = ("se", "fr", "pl"), cpus: int = 4, settings: str = ""
    ) -> None:
        self.folder, self.sites = folder, tuple(sites)
        self.conf = folder / "slurm.conf"
        self.environment = {**os.environ, "SLURM_CONF": str(self.conf)}
        self._daemons: dict[str, subprocess.Popen[bytes]] = {}
        (folder / "ctld").mkdir(parents=True)
        (folder / "key").mkdir(mode=0o700)
        key = folder / "key" / "k"
        key.write_bytes(os.urandom(1024))
        key.chmod(0o600)
        host = socket.gethostname().split(".")[0]
        port, *ports = _free_ports(1 + len(sites))
        nodes = "\n".join(
            f"NodeName={site}1 NodeHostname={host} NodeAddr=127.0.0.1 Port={each} CPUs={cpus} RealMemory=2000 "
            f"Feature={site}"
            for site, each in zip(sites, ports, strict=True)
        )
        self.conf.write_text(CONF.format(folder=folder, host=host, port=port, nodes=nodes, more=settings))

    def __enter__(self) -> SlurmCluster:
        d = self.folder
        self._start(
            "munged",
            *("munged", "--foreground", "--force", f"--key-file={d}/key/k", f"--socket={d}/munge.sock"),
            *(f"--pid-file={d}/munged.pid", f"--log-file={d}/munged.log", f"--seed-file={d}/seed", "--num-threads=4"),
        )
        _until(lambda: (d / "munge.sock").exists(), "munged", d / "munged.log")
        self.start_controller()
        for site in self.sites:
            self.start_node(site)
        self.until_ready()
        return self

    def __exit__(self, *_: object) -> None:
        # A test may have left a daemon dead.
        with contextlib.suppress(subprocess.SubprocessError, TimeoutError):
            self.run("scancel", "--user=root")
            _until(lambda: not self.run("squeue", "-h", "-t", "running,completing").strip(), "the end of jobs", None, 8)
        for name in reversed(list(self._daemons)):
            self._end(name, signal.SIGTERM)

    def run(self, *command: str, timeout_s: float = 30.0) -> str:
        done = subprocess.run(
            command, env=self.environment, check=True, text=True, capture_output=True, timeout=timeout_s
        )
        return done.stdout

    def until_ready(self) -> None:
        """Every node has registered: idle or at work, and answering."""

        def ready() -> bool:
            with contextlib.suppress(subprocess.SubprocessError):
                states = self.run("sinfo", "-h", "-N", "-o", "%t").split()
                return len(states) == len(self.sites) and set(states) <= {"idle", "mix", "alloc", "comp"}
            return False

        _until(ready, "the nodes", self.folder / "slurmctld.log")

    def start_controller(self) -> None:
        self._start("slurmctld", "slurmctld", "-D", "-f", str(self.conf))

    def kill_controller(self) -> None:
        self._end("slurmctld", signal.SIGKILL)

    def start_node(self, site: str) -> None:
        self._start(f"slurmd {site}", "slurmd", "-D", "-N", f"{site}1", "-f", str(self.conf))

    def kill_node(self, site: str) -> None:
        self._end(f"slurmd {site}", signal.SIGKILL)

    def _start(self, name: str, *command: str) -> None:
        with (self.folder / "out").open("ab") as out:
            self._daemons[name] = subprocess.Popen(
                command, env=self.environment, stdout=out, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL
            )

    def _end(self, name: str, number: signal.Signals) -> None:
        daemon = self._daemons.pop(name)
        daemon.send_signal(number)
        try:
            daemon.wait(10)
        except subprocess.TimeoutExpired:
            daemon.kill()
            daemon.wait()


@contextlib.contextmanager
def slurm_cluster(folder: Path, **options: object) -> Iterator[SlurmCluster]:
    """A running one; skips where Slurm is not installed, and fails where CI says that it must be."""
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    if missing or os.geteuid() != 0:
        why = f"needs Slurm and root (not there: {', '.join(missing) or 'root'})"
        if os.environ.get("CI") == "true":
            pytest.fail(why)
        pytest.skip(why)
    with SlurmCluster(folder, **options) as cluster:
        yield cluster


def environment_of(cluster: SlurmCluster) -> Mapping[str, str]:
    return {"SLURM_CONF": str(cluster.conf)}


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def _until(holds, what: str, log: Path | None, patience_s: float = PATIENCE_S) -> None:
    end_s = time.monotonic() + patience_s
    while not holds():
        if time.monotonic() >= end_s:
            said = log.read_text(errors="replace")[-2000:] if log and log.exists() else ""
            raise TimeoutError(f"waited {patience_s:g} s for {what}\n{said}")
        time.sleep(0.1)
