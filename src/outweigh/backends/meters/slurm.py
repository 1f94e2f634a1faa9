"""`slurm`: energy of the job step we run in, as Slurm's own energy accounting counts it (ConsumedEnergyRaw).

Read by `sstat` for the running step, in joules since the step began. Steps of one job overlap (the batch step runs
while `srun` steps do) and each counts the same nodes, so only our own step is read and steps are never added. What
Slurm reads depends on the site: baseboard controllers and Cray counters see nodes, `rapl` packages and memory, `gpu`
boards. It counts whole nodes and splits nothing: two jobs on one node each see all of it. On a node that may be shared
we split it, by the CPUs of those that run there (`squeue`, asked as often as the energy): a model, so the grade is one
lower and the parts of all jobs add up to the node, not to twice the node. A job that has its node to itself gets all.
A finished job's total is in `sacct`; that is an import, not a meter.

Where no plugin gathers energy (`AcctGatherEnergyType = (null)` or `.../none`), Slurm shows 0 and the meter refuses.
The figure is refreshed as often as `JobAcctGatherFrequency=energy=` says, else as `AcctGatherNodeFreq`; a window must
be much longer. `sstat` asks the nodes over the network, so it is run at most every five seconds.

Sources: slurm.conf(5), AcctGatherEnergyType (node level; right only for exclusive jobs), AcctGatherNodeFreq,
JobAcctGatherFrequency; sstat(1) and sacct(1), ConsumedEnergyRaw (joules); slurm.h, NO_VAL64 (unknown). Seen on
Slurm 22.05: with energy=1 and a made-up 50 W counter, `sstat` gave 50 J more each second, and the step beside it too.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import ClassVar

from outweigh.backends._probing import probed
from outweigh.core.errors import MeterUnavailable
from outweigh.core.measurement import Factor, Grade, Method, Scope, UncertaintyComponent
from outweigh.ports import Availability, Channel, ChannelKind, Sample
from outweigh.registry import meters

# rapl adds packages and memory, which together are what psys would hold: the label keeps it from being added to either.
_SCOPES = {"rapl": Scope.PSYS, "gpu": Scope.GPU}

_STEP_J = 1.0
_DEFAULT_EVERY_S = 30.0
_ASK_EVERY_S = 5.0
_UNKNOWN_J = 2**63  # NO_VAL64 is just below 2^64
_SHARED = ("OK", "YES", "FORCE")

_CALIBRATION = 0.05 / 3**0.5
# What a job draws is anything from nothing to twice its share: CPUs say little of it.
_SPLIT = 1.0 / 3**0.5
_OF_SPLIT = "from nothing to twice the share of the node's CPUs, rectangular"
_OF_BMC = "ENERGY STAR Program Requirements for Computer Servers: +/- 5 % above 200 W, rectangular"
_OF_RAPL = "5 % limit, rectangular: Khan et al. 2018, doi:10.1145/3177754, through HongyuHe/energat#4"


@meters.register("slurm")
class SlurmMeter:
    """Energy of our own job step by Slurm's accounting [J]. Grade B on exclusive nodes, C on shared ones.

    Args:
        environment: where the job is named; None for this process's.
        now: monotonic time [s].
        timeout_s: how long to wait for Slurm [s].
    """

    name: ClassVar[str] = "slurm"

    def __init__(
        self,
        *,
        environment: Mapping[str, str] | None = None,
        now: Callable[[], float] = time.monotonic,
        timeout_s: float = 10.0,
    ) -> None:
        self._environment = environment if environment is not None else os.environ
        self._now, self._timeout_s = now, timeout_s
        self._step, self._open = "", False
        self._scope = Scope.NODE
        self._every_s = _DEFAULT_EVERY_S
        self._last: tuple[float, float] | None = None
        self._splits, self._node = False, ""
        self._whole: tuple[float, float] | None = None  # the nodes' joules, and our share, when they were last read
        self._ours_j, self._theirs_j = 0.0, 0.0
        self.grade = Grade.B
        self.method = Method.COUNTER
        self.source = "slurm"
        self.factors: tuple[Factor, ...] = ()
        self.notes: tuple[str, ...] = ()

    @classmethod
    def probe(cls) -> Availability:
        meter = cls()
        return probed(meter, lambda: f"job step {meter._step} ({meter._scope})")

    @property
    def channels(self) -> tuple[Channel, ...]:
        return (
            Channel(
                id=f"job step {self._step}",
                device=f"job step {self._step}",
                scope=self._scope,
                kind=ChannelKind.ENERGY,
                update_s=self._every_s + _ASK_EVERY_S,
                resolution=_STEP_J,
            ),
        )

    @property
    def spans(self) -> str:
        """What its figure holds, where it is more than this node: all nodes of the step, of one cluster."""
        return f"slurm {self._environment.get('SLURM_CLUSTER_NAME', '')} {self._step}" if self._open else ""

    def open(self) -> None:
        """Find our step and what is gathered. Raises MeterUnavailable with the way to mend it."""
        self._last = self._whole = None
        self._ours_j = self._theirs_j = 0.0
        job = self._environment.get("SLURM_JOB_ID", "")
        if not job:
            raise MeterUnavailable(
                "slurm",
                "this process is not in a Slurm job",
                "Use it inside sbatch, salloc or srun; else another meter",
            )
        settings = _settings(self._run("scontrol", "show", "config"))
        plugin = settings.get("AcctGatherEnergyType", "").rpartition("/")[2]
        if plugin in ("", "(null)", "none"):
            raise MeterUnavailable(
                "slurm",
                "this cluster gathers no energy (AcctGatherEnergyType is none)",
                "Ask its operators for acct_gather_energy/ipmi, rapl, gpu or pm_counters; else use another meter",
            )
        self._step = f"{job}.{self._environment.get('SLURM_STEP_ID', 'batch')}"
        self._open = True
        self._scope = _SCOPES.get(plugin, Scope.NODE)
        self._every_s = _every_s(settings)
        told = dict(pair.partition("=")[::2] for pair in self._run("scontrol", "show", "job", "-o", job).split())
        nodes = told.get("NumNodes", "1")
        shared = told.get("OverSubscribe", "OK").partition(":")[0] in _SHARED
        self.grade = Grade.C if shared else Grade.B
        self._splits, self._node = shared and nodes == "1", told.get("NodeList", "")
        self.method = Method.MODELLED if self._splits else Method.COUNTER
        self.source = f"slurm ConsumedEnergyRaw ({plugin}) of step {self._step}, {nodes} node(s)"
        notes = [f"refreshed every {self._every_s:g} s: windows much longer than that"]
        if shared:
            how = "we split it by CPUs" if self._splits else "nor do we for several nodes, whose parts it does not give"
            notes.append(
                f"the nodes may be shared with other jobs, and Slurm does not split their energy: {how}; "
                "ask for --exclusive to have it alone"
            )
        if plugin in _SCOPES:
            notes.append(f"Slurm's {plugin} plugin does not see the rest of the node")
        self.notes = tuple(notes)
        try:
            self.read()
        except MeterUnavailable:
            self.close()
            raise

    def read(self) -> Sample:
        if not self._open:
            raise MeterUnavailable("slurm", "it is not open", "Call open() first")
        now_s = self._now()
        if self._last is None or now_s - self._last[0] >= _ASK_EVERY_S:
            whole_j = self._ask()
            self._last = (now_s, self._part(whole_j) if self._splits else whole_j)
        return Sample(now_s, (self._last[1],))

    def components(self) -> tuple[UncertaintyComponent, ...]:
        if self._scope is Scope.GPU:  # no accuracy is stated for what its plugin reads
            return ()
        source = _OF_RAPL if self._scope is Scope.PSYS else _OF_BMC
        known = (UncertaintyComponent("calibration", _CALIBRATION, source),)
        return (*known, UncertaintyComponent("split", _SPLIT, _OF_SPLIT)) if self._theirs_j > 0 else known

    def close(self) -> None:
        self._open = False

    def _ask(self) -> float:
        job = self._step.partition(".")[0]
        text = self._run(
            "sstat", "--noheader", "--parsable2", "--allsteps", "--jobs", job, "--format", "JobID,ConsumedEnergyRaw"
        )
        rows = dict(line.split("|")[:2] for line in text.splitlines() if "|" in line)
        value = rows.get(self._step, "")
        if not value.isdigit() or int(value) >= _UNKNOWN_J:
            why = f"Slurm does not know its energy ({value})" if value else f"{', '.join(rows) or 'no step'} is there"
            raise MeterUnavailable(
                "slurm", f"step {self._step}: {why}", "Run inside a batch script or srun, with JobAcctGatherType set"
            )
        return float(value)

    def _part(self, whole_j: float) -> float:
        """Our part of the joules the node has used since the step began, at the share we held when they were used."""
        share = self._share()
        before_j, before = self._whole or (0.0, share)
        since_j = (whole_j - before_j) * (before + share) / 2
        self._ours_j += since_j
        self._theirs_j += whole_j - before_j - since_j
        self._whole = (whole_j, share)
        return self._ours_j

    def _share(self) -> float:
        """Our CPUs among those of all jobs that run on our node."""
        job = self._step.partition(".")[0]
        said = self._run(
            "squeue", "--noheader", "--array", "--states=RUNNING,COMPLETING", f"--nodelist={self._node}",
            "--format=%A|%C|%D",
        )  # fmt: skip
        rows = [line.strip().split("|") for line in said.splitlines() if line.count("|") == 2]
        cpus = [(row[0], float(row[1]) / float(row[2])) for row in rows if row[1].isdigit() and row[2].isdigit()]
        mine = sum(held for name, held in cpus if name == job)
        return mine / sum(held for _, held in cpus) if mine else 1.0

    def _run(self, *command: str) -> str:
        tool = shutil.which(command[0])
        if tool is None:
            raise MeterUnavailable("slurm", f"{command[0]} is not on the PATH", "Install Slurm's client commands there")
        try:
            done = subprocess.run(
                [tool, *command[1:]],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=self._timeout_s,
                check=False,
                env={**self._environment, "LC_ALL": "C", "PATH": os.environ.get("PATH", os.defpath)},
            )
        except subprocess.TimeoutExpired as err:
            raise MeterUnavailable(
                "slurm", f"{command[0]} did not answer within {self._timeout_s:g} s", "See whether slurmctld is up"
            ) from err
        except OSError as err:
            raise MeterUnavailable("slurm", f"{Path(tool).name} cannot be run ({err.strerror})", "Mend it") from err
        if done.returncode != 0:
            said = (done.stderr.strip() or f"exit code {done.returncode}").splitlines()[0]
            raise MeterUnavailable(
                "slurm", f"{command[0]} says: {said}", "See whether slurmctld is up and the job runs"
            )
        return done.stdout


def _settings(text: str) -> dict[str, str]:
    pairs = (line.partition("=") for line in text.splitlines() if "=" in line)
    return {key.strip(): value.strip() for key, _, value in pairs}


def _every_s(settings: Mapping[str, str]) -> float:
    """How often the energy is refreshed [s]: by the job's own setting, else the node's.

    >>> _every_s({"JobAcctGatherFrequency": "task=30,energy=10", "AcctGatherNodeFreq": "60 sec"})
    10.0
    """
    of_job = re.search(r"\benergy=(\d+)", settings.get("JobAcctGatherFrequency", ""))
    of_node = re.match(r"\d+", settings.get("AcctGatherNodeFreq", ""))
    for found in (of_job and of_job[1], of_node and of_node[0]):
        if found and int(found) > 0:
            return float(found)
    return _DEFAULT_EVERY_S
