"""Slurm's commands: what they say, and what their errors mean.

`squeue --json` is asked first (since Slurm 20.11, where it was built with JSON); `scontrol show job` where it is not.
Both list what the controller has in memory: jobs that have ended too, until MinJobAge.

Sources: squeue(1), scontrol(1), sbatch(1), sinfo(1); OpenAPI v0.0.38 (plain numbers, one state) and v0.0.39 and newer
(`{"set", "infinite", "number"}`, a list of states). Messages as seen on 22.05.8, or in slurm_errno.c.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from outweigh.core.errors import (
    ExecutorError,
    ExecutorUnavailable,
    JobOver,
    JobRefused,
    JobUnknown,
    NotOffered,
    NotPermitted,
    SiteUnknown,
)
from outweigh.data.host_lists import hosts

NAME: Final = "slurm"
_NO_VALUE: Final = 0xFFFFFFF0  # NO_VAL and INFINITE are just above
_HELD: Final = ("JobHeldUser", "JobHeldAdmin")
_NO_ANSWER: Final = re.compile(
    r"unable to contact|connection (refused|timed out|reset)|communication|socket timed out|zero bytes|standby"
    r"|transport endpoint|temporarily unable|protocol authentication|munge|no route|resource temporarily|failure to"
    r"|configuration source|fetch_config|slurm\.conf",
    re.IGNORECASE,
)
_FORBIDDEN: Final = re.compile(
    r"access/permission denied|permission denied|not permitted|invalid user|user not", re.IGNORECASE
)
_UNKNOWN: Final = re.compile(r"invalid job id", re.IGNORECASE)
_OVER: Final = re.compile(r"already completing or completed|already done|job has already finished", re.IGNORECASE)
_NO_FEATURE: Final = re.compile(r"invalid feature", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class SlurmJob:
    """A job, or a task of an array, as the controller has it. Times are UTC, None where there is none.

    `array` is the id of the whole, by which it is held and released; that of the job where it is none. `task` names its
    tasks; empty where it is none.
    """

    id: int
    array: int
    task: str
    comment: str
    state: str
    reason: str
    held: bool
    restarts: int
    features: str
    nodes: tuple[str, ...]
    submitted: datetime | None
    begin: datetime | None
    started: datetime | None
    ended: datetime | None
    suspended: datetime | None
    exit_code: int


@dataclass(frozen=True, slots=True)
class NodeKind:
    """Nodes alike: their features, how many, with how many hardware threads each, and whether they are up."""

    features: frozenset[str]
    count: int
    cpus: int
    up: bool


class SlurmTools:
    """Runs them.

    Args:
        environment: for the commands; SLURM_CONF names the cluster.
        timeout_s: for each [s]; the controller's own message timeout is shorter.
    """

    def __init__(self, environment: Mapping[str, str] | None = None, *, timeout_s: float = 30.0) -> None:
        self._environment = {**os.environ, **(environment or {}), "SLURM_TIME_FORMAT": "%s", "LC_ALL": "C"}
        self._timeout_s = timeout_s
        self._has_json = True

    def jobs(self) -> list[SlurmJob]:
        if self._has_json:
            try:
                body = json.loads(self.run("squeue", "--json", "--all"))
                if body.get("errors"):  # an empty list beside an error is not "no jobs"
                    raise ExecutorUnavailable(NAME, f"squeue said {body['errors']}"[:300], "Look again later")
                return [_of_json(job) for job in body["jobs"]]
            except (NotOffered, ValueError, KeyError, TypeError, AttributeError):
                self._has_json = False  # built without it, or in words we do not know
        text = self.run("scontrol", "--oneliner", "--all", "show", "job")
        return [_of_text(line) for line in text.splitlines() if line.startswith("JobId=")]

    def nodes(self) -> list[NodeKind]:
        found = []
        for line in self.run("sinfo", "--noheader", "--format=%f|%D|%c|%T").splitlines():
            features, count, cpus, state = [*line.split("|"), "", "", ""][:4]
            names = frozenset(re.split(r"[,&]", features)) - {"(null)", ""}
            up = not re.match(r"(down|drain|fail|unknown|future|power|reboot)", state) and not state.endswith("*")
            found.append(NodeKind(names, _number(count), _number(cpus), up))
        return found

    def run(self, *command: str, key: str = "", stdin: str | None = None) -> str:
        """What it says. Raises as `JobExecutor` does; `key` is of the job that it is about."""
        tool = shutil.which(command[0])
        if tool is None:
            raise ExecutorUnavailable(NAME, f"{command[0]} is not on the PATH", "Run it where Slurm's commands are")
        try:
            done = subprocess.run(
                [tool, *command[1:]],
                input=stdin,
                stdin=subprocess.DEVNULL if stdin is None else None,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=self._timeout_s,
                check=False,
                env=self._environment,
            )
        except subprocess.TimeoutExpired as err:
            raise ExecutorUnavailable(
                NAME, f"{command[0]} did not answer within {self._timeout_s:g} s", "See whether slurmctld is up"
            ) from err
        except (OSError, ValueError) as err:
            raise ExecutorUnavailable(NAME, f"{tool} cannot be run ({err})", "Mend it") from err
        if done.returncode != 0:
            raise _failure(command, done.stderr.strip() or done.stdout.strip(), key)
        return done.stdout


def _failure(command: Sequence[str], said: str, key: str) -> ExecutorError:
    """What the error of a command means."""
    said = " ".join(said.split()) or f"{command[0]} failed without a word"
    short = said[:300]
    if _NO_ANSWER.search(said):
        remedy = "See whether slurmctld is up (`scontrol ping`), and SLURM_CONF names its slurm.conf"
        return ExecutorUnavailable(NAME, short, remedy)
    if _FORBIDDEN.search(said):
        return NotPermitted(NAME, short, "Ask the cluster's operators, or do without")
    if _UNKNOWN.search(said):
        return JobUnknown(NAME, key, short, "Look with `squeue --all`; it may be gone from the controller's memory")
    if _OVER.search(said):
        return JobOver(NAME, key, short, "Leave it out of the plan")
    if _NO_FEATURE.search(said):
        return SiteUnknown(NAME, key, (), "`sinfo -o %f` lists the features")
    if command[0] == "sbatch":
        return JobRefused(NAME, key, short, "Change what it asks for, or where it is to run")
    return NotOffered(NAME, short, f"See the manual of {command[0]}")


def _of_json(job: Mapping[str, Any]) -> SlurmJob:
    state = job["job_state"]
    words = [str(word).upper() for word in state] if isinstance(state, list) else str(state).upper().split()
    code = job.get("exit_code", 0)
    if isinstance(code, dict):
        signal_of = code.get("signal") or {}
        exit_code = _number(code.get("return_code")) or _with_signal(_number(signal_of.get("id", signal_of)))
    else:
        exit_code = _of_wait_status(_number(code))
    number = _number(job["job_id"])
    reason = str(job.get("state_reason") or "")
    return SlurmJob(
        id=number,
        array=_number(job.get("array_job_id")) or number,
        task=_task(job),
        comment=_plain(job.get("comment")),
        state=words[0] if words else "",
        reason="" if reason == "None" else reason,
        held=reason in _HELD or (words[:1] == ["PENDING"] and _number(job.get("priority"), 1) == 0),
        restarts=_number(job.get("restart_cnt")),
        features=str(job.get("features") or ""),
        nodes=hosts(str(job.get("nodes") or "")),
        submitted=_moment(job.get("submit_time")),
        begin=_moment(job.get("eligible_time")),
        started=_moment(job.get("start_time")),
        ended=_moment(job.get("end_time")),
        suspended=_moment(job.get("suspend_time")),
        exit_code=exit_code,
    )


def _task(job: Mapping[str, Any]) -> str:
    """0 is a task; a job that is no array has neither a whole nor a task."""
    if not _number(job.get("array_job_id")):
        return ""
    task = job.get("array_task_id")
    return str(task.get("number") if isinstance(task, dict) else task or job.get("array_task_string") or 0)


def _plain(comment: Any) -> str:
    return str(comment.get("user", "") if isinstance(comment, dict) else comment or "")


def _of_text(line: str) -> SlurmJob:
    # A value ends where the next NAME= begins: comments and reasons hold blanks.
    told = {match[1]: match[2].strip() for match in re.finditer(r"(\S+?)=(.*?)(?=\s+\S+?=|$)", line)}
    number = _number(told.get("JobId"))
    reason = told.get("Reason", "")
    code, _, signal_of = told.get("ExitCode", "0:0").partition(":")
    return SlurmJob(
        id=number,
        array=_number(told.get("ArrayJobId")) or number,
        task=told.get("ArrayTaskId", ""),
        comment=told.get("Comment", ""),
        state=told.get("JobState", ""),
        reason="" if reason == "None" else reason,
        held=reason in _HELD or (told.get("JobState") == "PENDING" and told.get("Priority") == "0"),
        restarts=_number(told.get("Restarts")),
        features=told.get("Features", "").replace("(null)", ""),
        nodes=hosts(told.get("NodeList", "").replace("(null)", "")),
        submitted=_moment(told.get("SubmitTime")),
        begin=_moment(told.get("EligibleTime")),
        started=_moment(told.get("StartTime")),
        ended=_moment(told.get("EndTime")),
        suspended=_moment(told.get("SuspendTime")),
        exit_code=_number(code) or _with_signal(_number(signal_of)),
    )


def _number(given: Any, otherwise: int = 0) -> int:
    """
    >>> _number({"set": True, "infinite": False, "number": 5}), _number(None), _number("7+")
    (5, 0, 7)
    """
    if isinstance(given, dict):
        given = given.get("number") if given.get("set", True) and not given.get("infinite") else None
    if isinstance(given, str):
        digits = re.match(r"\d+", given)
        given = int(digits[0]) if digits else None
    return otherwise if not isinstance(given, int) or given >= _NO_VALUE else given


def _moment(given: Any) -> datetime | None:
    seconds = _number(given)
    return datetime.fromtimestamp(seconds, UTC) if seconds else None


def _of_wait_status(status: int) -> int:
    """As wait(2) gives it.

    >>> _of_wait_status(3 << 8), _of_wait_status(9)
    (3, 137)
    """
    return status >> 8 or _with_signal(status & 0x7F)


def _with_signal(number: int) -> int:
    return 128 + number if number else 0
