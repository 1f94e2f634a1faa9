"""`slurm`: jobs of a Slurm cluster. A site is a node feature; whoever may submit may use it.

Typed as `slurm`, or with options: `slurm:partition=eco,account=lab,qos=low,sites=se+fr,licence=watts`.

    sites     features that are sites; all of them where it is not given
    licence   name of a licence that counts watts: a job asks for as many as it draws (`-L watts:700`), and what would
              go beyond the cluster's waits; only for jobs that say what they draw

A key is the last word of the job's comment, behind its user's own, so a submit whose answer was lost is found again.
Beside it the executor keeps a folder (`jobs/slurm` in the folder for state) that must be on a file system the nodes
share: there a job leaves its begin and its end, turn by turn. They outlast what Slurm keeps (MinJobAge, without
slurmdbd), and they are believed before it: a controller that is killed brings ended jobs back as running, for minutes,
and starts some anew that run (`_slurm_turns`).

A pause is by checkpoint where the job declares one: the signal goes to the batch script, which holds itself in the
queue when the job has saved; not where its script says `--no-requeue`, for that starts it again. Else `scontrol
suspend`, which most clusters keep to their operators (NotPermitted). After a requeue Slurm waits two minutes; a resume
takes that away, but for the second in which slurmd still refuses the job.

What a job draws is not said here: run it under `outweigh measure --meter slurm`, or import `sacct`.

Source: sbatch(1), scontrol(1), squeue(1), scancel(1), slurm.conf(5); seen on Slurm 22.05.8.
"""

from __future__ import annotations

import contextlib
import math
import re
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import ClassVar, Final, Self

from outweigh.backends.executors._options import known_site, options, system_now
from outweigh.backends.executors._records import Record, Records
from outweigh.backends.executors._slurm_following import Following
from outweigh.backends.executors._slurm_script import batch_script, taken_apart
from outweigh.backends.executors._slurm_tools import NAME, NodeKind, SlurmJob, SlurmTools
from outweigh.core.errors import ExecutorError, ExecutorUnavailable, JobOver, JobRefused, JobUnknown, NotOffered
from outweigh.core.jobs import Ability, JobRequest, JobState, JobStatus, Stint
from outweigh.ports import Availability
from outweigh.registry import executors

_OPTIONS: Final = ("partition", "account", "qos", "sites", "licence")
_COMMENT: Final = "outweigh:"
_OURS: Final = re.compile(rf"(?:^|\s){_COMMENT}(\S+)\s*$")
_PROBES_S: Final = 5.0
_APART: Final = timedelta(seconds=1)  # Slurm counts in these
_LATELY: Final = timedelta(seconds=10)
_MOMENT_S: Final = 5.0
#: What was seen so lately is not looked up again for a step that Slurm itself refuses where it no longer fits: else a
#: hundred releases read the whole queue a hundred times.
_SEEN_LATELY: Final = timedelta(seconds=15)
#: A submission that has to be made again is tried again so long after it got no answer, or was refused.
_NEXT_LOOK, _PATIENCE = timedelta(seconds=_MOMENT_S), timedelta(seconds=60)


@executors.register(NAME)
class SlurmExecutor:
    """Jobs of the cluster that SLURM_CONF, or Slurm's own default, names.

    Args:
        partition, account, qos: as sbatch's; empty is the cluster's choice.
        sites: features that are sites; empty is all.
        licence: name of the licence that counts watts; empty where power is not capped.
        folder: of records, on a file system that the nodes share.
        now: the time in UTC; begin times are given to Slurm relative to it.
        environment: for Slurm's commands.
        timeout_s: for each of them [s].
    """

    name: ClassVar[str] = NAME
    simulated: ClassVar[bool] = False

    def __init__(
        self,
        *,
        partition: str = "",
        account: str = "",
        qos: str = "",
        sites: Sequence[str] = (),
        licence: str = "",
        folder: Path | None = None,
        now: Callable[[], datetime] = system_now,
        environment: Mapping[str, str] | None = None,
        timeout_s: float = 30.0,
    ) -> None:
        self._submit_options = [
            f"--{name}={value}"
            for name, value in (("partition", partition), ("account", account), ("qos", qos))
            if value
        ]
        self._wanted_sites, self._licence = frozenset(sites), licence
        self._records = Records(NAME, folder)
        self._now = now
        self._tools = SlurmTools(environment, timeout_s=timeout_s)
        self._look = Following(self._records, self._tools, now)
        self._seen: dict[str, datetime] = {}
        self._again_from: dict[str, datetime] = {}
        self._silent_until: datetime | None = None
        self._nodes_seen: tuple[float, list[NodeKind]] | None = None
        self._jobs_seen: tuple[float, dict[str, list[SlurmJob]]] | None = None

    @classmethod
    def probe(cls) -> Availability:
        try:
            sites = cls(timeout_s=_PROBES_S).sites()
        except ExecutorError as err:
            return Availability(name=NAME, usable=False, reason=err.reason, remedy=err.remedy)
        return Availability(
            name=NAME,
            usable=True,
            sees=f"a cluster with the node features {', '.join(sites)}" if sites else "a cluster without node features",
            improve="" if sites else "Give nodes of each site a Feature in slurm.conf, so that jobs can be placed",
        )

    @classmethod
    def make(cls, argument: str = "", *, folder: Path | None = None, now: Callable[[], datetime] | None = None) -> Self:
        given = options(NAME, argument, _OPTIONS)
        return cls(
            partition=given.get("partition", ""),
            account=given.get("account", ""),
            qos=given.get("qos", ""),
            sites=[site for site in given.get("sites", "").split("+") if site],
            licence=given.get("licence", ""),
            folder=folder,
            now=now or system_now,
        )

    @property
    def abilities(self) -> frozenset[Ability]:
        found = frozenset(Ability) - {Ability.POWER_CAP, Ability.ENERGY}
        return found | {Ability.POWER_CAP} if self._licence else found

    def sites(self) -> tuple[str, ...]:
        """Features of nodes that are up."""
        features = {feature for kind in self._tools.nodes() if kind.up for feature in kind.features}
        return tuple(sorted(features & self._wanted_sites if self._wanted_sites else features))

    def submit(self, request: JobRequest) -> JobStatus:
        with self._records.locked():
            record = self._records.get(request.key)
            if record is None or not (record.handle or record.launched):
                # One that was asked for before is looked for now; of a new one nothing can have come since the last.
                found = self._of_comment(fresh=record is not None).get(request.key, [])
                if record is None or not found:  # nor was it taken before: what is asked now counts
                    if not found:
                        self._must_fit(request)
                    record = self._record_of(request)
                    self._records.put(record)  # before it is asked for: an answer that is lost is looked for by its key
                if found:
                    record.handle = str(found[-1].array)
                else:
                    try:
                        record.handle = self._sbatch(record)
                    except JobRefused:
                        self._records.drop(record.key)
                        self._copy(record.key).unlink(missing_ok=True)
                        raise
                record.launched = self._now()
                self._records.put(record)
                if not found:
                    return record.status()
            known = self._bring_up_to_date((request.key,))
            return (known.get(request.key) or record).status()

    def find(self, key: str) -> JobStatus | None:
        return self.observe((key,)).get(key)

    def hold(self, key: str) -> None:
        with self._records.locked():
            record = self._open(key)
            if record.state is JobState.WAITING:
                self._tell(record, "scontrol", "uhold", record.handle)
                record.state = JobState.HELD
                self._records.put(record)
            elif record.state is not JobState.HELD:
                raise NotOffered(NAME, f"job {key} has started", "Pause it")

    def release(self, key: str, *, begin: datetime | None = None) -> None:
        with self._records.locked():
            record = self._open(key, lately=True)
            if record.state in (JobState.HELD, JobState.WAITING):
                self._let_go(record, begin)

    def pause(self, key: str) -> None:
        with self._records.locked():
            record = self._open(key)
            if record.state is JobState.RUNNING:
                checkpoint = record.request.checkpoint
                if checkpoint is None:
                    self._look.suspend(record)
                    return
                record.state, record.asked = JobState.PAUSING, self._now()
                self._records.put(record)
                self._tools.run("scancel", "--batch", f"--signal={checkpoint.signal}", record.handle, key=key)
            elif record.state not in (JobState.PAUSING, JobState.PAUSED):
                raise NotOffered(NAME, f"job {key} does not run", "Hold it")

    def resume(self, key: str) -> None:
        with self._records.locked():
            record = self._open(key, lately=True)
            if record.state is not JobState.PAUSED:
                return
            if record.in_place:
                self._tools.run("scontrol", "resume", record.handle, key=key)
                record.state, record.in_place = JobState.RUNNING, False
                record.stints.append(Stint(record.site, self._now(), None, record.stints[-1].nodes))
                self._records.put(record)
            else:
                self._let_go(record, None)

    def move(self, key: str, site: str) -> None:
        known_site(NAME, site, self._all_sites())
        with self._records.locked():
            record = self._open(key, lately=True)
            if record.state.draws or record.in_place:
                where = record.site or "its site"
                raise NotOffered(NAME, f"job {key} is in place at {where}", "Pause it by its checkpoint")
            asked = taken_apart(record.request, self._copy(key))
            features = _constraint(asked.constraint, site)
            self._tell(record, "scontrol", "update", f"jobid={record.handle}", f"Features={features}")
            record.site = site
            self._records.put(record)

    def cancel(self, key: str) -> None:
        with self._records.locked():
            record = self._known(key)
            if record.state.over:
                return
            record.cancelled, record.asked = True, self._now()
            if not record.handle:  # it was to be submitted again
                record.over(JobState.CANCELLED, self._now(), None)
            self._records.put(record)
            self._tell(record, "scancel", record.handle)

    def observe(self, keys: Collection[str] | None = None) -> Mapping[str, JobStatus]:
        with self._records.locked():
            return {key: record.status() for key, record in self._bring_up_to_date(keys).items()}

    def close(self) -> None:
        """Nothing is held open."""

    def _tell(self, record: Record, *command: str) -> None:
        """Of one that is to be submitted again Slurm knows nothing yet: what the record says is what it will be."""
        if record.handle:
            self._tools.run(*command, key=record.key)

    def _known(self, key: str, *, lately: bool = False) -> Record:
        """
        Args:
            lately: as it was seen a moment ago will do.
        """
        seen = self._seen.get(key)
        if lately and seen is not None and self._now() - seen <= _SEEN_LATELY:
            record = self._records.get(key)
        else:
            record = self._bring_up_to_date((key,)).get(key)
        if record is None:
            raise JobUnknown(NAME, key, "it is not there", "Submit it")
        return record

    def _open(self, key: str, *, lately: bool = False) -> Record:
        record = self._known(key, lately=lately)
        if record.state.over:
            raise JobOver(NAME, key, f"it has ended ({record.state})", "Leave it out of the plan")
        return record

    def _must_fit(self, request: JobRequest) -> None:
        """Slurm would take it and let it wait for ever."""
        # A site that is not up waits for its nodes: after a restart of the controller none is, for some seconds.
        known_site(NAME, request.site, self._all_sites())
        nodes = self._nodes()
        fitting = sum(
            kind.count
            for kind in nodes
            if kind.cpus >= request.cpus and (not request.site or request.site in kind.features)
        )
        if fitting < request.nodes:
            raise JobRefused(
                NAME,
                request.key,
                f"{request.nodes} nodes with {request.cpus} CPUs are asked for, and {fitting} are there",
                "Ask for less, or for another site",
            )

    def _copy(self, key: str) -> Path:
        return self._records.prefix(key).with_suffix(".script")

    def _record_of(self, request: JobRequest) -> Record:
        state = JobState.HELD if request.hold else JobState.WAITING
        barred = request.checkpoint is not None and taken_apart(request, self._copy(request.key)).requeue is False
        asked = replace(request, checkpoint=None) if barred else request
        record = Record(asked, self._now(), state, request.site, request.begin)
        if barred:
            record.note("it says --no-requeue, and its checkpoint would start it again: it is not paused by that")
        return record

    def _sbatch(self, record: Record) -> str:
        request, prefix = record.request, self._records.prefix(record.key)
        asked = taken_apart(request, self._copy(record.key))
        typed = request.command[0] == "sbatch" or request.command[0].endswith("/sbatch")
        words = ["sbatch", "--parsable", *self._submit_options, *asked.options]
        if not typed:  # one that is typed says itself what it needs
            words += [f"--job-name={request.name or request.key}", f"--nodes={request.nodes}", "--ntasks-per-node=1"]
            words.append(f"--cpus-per-task={request.cpus}")
            words += [f"--gpus-per-node={request.gpus}"] if request.gpus else []
            output = request.output or f"{prefix}.out".replace("%", "%%")
            words += [f"--output={output}"]
        elif request.output:
            words.append(f"--output={request.output}")
        words += [f"--comment={f'{asked.comment} {_COMMENT}{request.key}'.strip()}"]
        words += ["--open-mode=append"] if not asked.open_mode else []  # a later start keeps what an earlier one said
        words += ["--requeue"] if request.checkpoint is not None and asked.requeue is None else []
        constraint = _constraint(asked.constraint, record.site)
        words += [f"--constraint={constraint}"] if record.site else []
        words += [f"--begin={self._in(record.begin)}"] if record.begin is not None else []
        words += ["--hold"] if record.state is JobState.HELD else []
        words += [f"--time={math.ceil(request.limit_s / 60)}"] if request.limit_s is not None else []
        if self._licence and request.power_w:
            words.append(f"--licenses={self._licence}:{math.ceil(request.power_w)}")
        words += [f"--chdir={request.cwd}"] if request.cwd else []
        said = self._tools.run(*words, key=request.key, stdin=batch_script(request, asked, prefix))
        handle = said.strip().partition(";")[0]
        if not handle.isdecimal():
            raise ExecutorUnavailable(NAME, f"sbatch said {said.strip()!r}", "Look with `squeue` what came of it")
        return handle

    def _submit_again(self, record: Record) -> None:
        """Ask for one that has to begin once more. Where that fails a later look tries again, for that one and no
        other is kept from being seen by it; one whose answer was lost is found by its key before.
        """
        record.handle = ""
        self._records.put(record)  # before it is asked for, as at first
        now = self._now()
        if any(at is not None and now < at for at in (self._silent_until, self._again_from.get(record.key))):
            return
        try:
            record.handle = self._sbatch(record)
        except ExecutorUnavailable as err:
            self._silent_until, record.reason = now + _NEXT_LOOK, err.reason
            return
        except ExecutorError as err:
            self._again_from[record.key], record.reason = now + _PATIENCE, err.reason
            record.note(f"it could not be submitted again ({err.reason}); that is tried every minute")
            return
        record.launched, record.reason = now, ""
        with contextlib.suppress(ValueError):  # a controller that was killed may give a number twice
            record.spent.remove(record.handle)

    def _in(self, begin: datetime | None) -> str:
        """A time as Slurm takes it; relative, for its absolute times are local and an hour a year is there twice."""
        ahead_s = 0 if begin is None else math.ceil((begin - self._now()).total_seconds())
        return f"now+{ahead_s}" if ahead_s > 0 else "now"

    def _let_go(self, record: Record, begin: datetime | None) -> None:
        # A requeue has given it a begin two minutes ahead; a hold is taken away last, so that none starts too early.
        # Nor in the second in which it ended: slurmd takes such a launch for the one that it was told to kill.
        soonest = self._now() + _APART if self._just_ended(record) else None
        start = self._in(max(begin, soonest) if begin and soonest else begin or soonest)
        self._tell(record, "scontrol", "update", f"jobid={record.handle}", f"StartTime={start}")
        if record.state is not JobState.WAITING:
            self._tell(record, "scontrol", "release", record.handle)
        record.state, record.begin, record.asked = JobState.WAITING, begin, None
        self._records.put(record)

    def _just_ended(self, record: Record) -> bool:
        end = record.stints[-1].end if record.stints else None
        return end is not None and self._now() - end < _LATELY

    def _nodes(self) -> list[NodeKind]:
        """As they were a moment ago: what they have does not change between the submits of many jobs."""
        if self._nodes_seen is None or time.monotonic() - self._nodes_seen[0] > _MOMENT_S:
            self._nodes_seen = (time.monotonic(), self._tools.nodes())
        return self._nodes_seen[1]

    def _all_sites(self) -> tuple[str, ...]:
        """Features of nodes, up or not."""
        features = {feature for kind in self._nodes() for feature in kind.features}
        return tuple(sorted(features & self._wanted_sites if self._wanted_sites else features))

    def _of_comment(self, *, fresh: bool = True) -> dict[str, list[SlurmJob]]:
        if not fresh and self._jobs_seen is not None and time.monotonic() - self._jobs_seen[0] <= _MOMENT_S:
            return self._jobs_seen[1]
        found: dict[str, list[SlurmJob]] = defaultdict(list)
        for job in sorted(self._tools.jobs(), key=lambda each: each.id):
            if ours := _OURS.search(job.comment):
                found[ours[1]].append(job)
        self._jobs_seen = (time.monotonic(), found)
        return found

    def _bring_up_to_date(self, keys: Collection[str] | None = None) -> dict[str, Record]:
        """Records of these keys (None: all) as Slurm and their own marks have them now."""
        wanted = self._records.keys() if keys is None else keys
        known = {key: found for key in wanted if (found := self._records.get(key)) is not None}
        if all(record.state.over for record in known.values()):
            return known
        jobs = self._of_comment()
        for key, record in list(known.items()):
            if record.state.over:
                continue
            before = record.summary()
            tasks = _attempt(record, jobs.get(key, []))
            if tasks:
                record.handle, record.launched = str(tasks[0].array), record.launched or self._now()
                if self._look.follow(record, tasks):
                    record.spent.append(record.handle)
                    self._submit_again(record)
            elif not record.handle and record.launched is None:  # its submit was never answered, and never heard
                del known[key]
                continue
            elif not record.handle or self._look.forgotten(record, self._seen.get(key)):
                self._submit_again(record)
            self._seen[key] = self._now()
            if record.summary() != before:
                self._records.put(record)
        return known


def _attempt(record: Record, jobs: Sequence[SlurmJob]) -> list[SlurmJob]:
    """The job of a record, or all tasks of it, among those that bear its key, by their ids. Where its handle is not
    known it is the last one that was not given up before.
    """
    handle = record.handle or next((str(job.array) for job in reversed(jobs) if str(job.array) not in record.spent), "")
    return [job for job in jobs if str(job.array) == handle]


def _constraint(theirs: str, site: str) -> str:
    """What a job asks of nodes already, and the site.

    >>> _constraint("a100|h100", "se")
    '(a100|h100)&se'
    """
    if not theirs or not site:
        return theirs or site
    return f"({theirs})&{site}" if "|" in theirs else f"{theirs}&{site}"
