"""Slurm's accounting: `sacct --parsable2` (or `--parsable`) with ConsumedEnergyRaw, or `sacct --json`. Joules.

Text needs the columns JobID, Start, End and ConsumedEnergyRaw; JobName, State, Cluster, ExitCode, NodeList and
AllocCPUS are used where they are. In JSON a step's energy is `statistics.energy.consumed`, and times are seconds since
the Unix epoch.

One receipt a job. Slurm meters nodes, and each step is given the whole of its nodes while it ran: steps that overlap
in time (extern, batch, and what batch starts) hold the same joules and are never added. The job's own figure is taken,
else that of extern, else of batch, else steps that follow one another are added; of steps side by side the largest is a
lower bound. 0 and blank mean that no energy plugin looked: such a job is left out. Two jobs on one node both hold it
whole: where the dump says nodes and CPUs, what several of its jobs were charged with is split among them (`_sharing`),
and a part is graded C. Jobs that are not in the dump are not known of.

What the plugin sees is not in the dump: give it as `About.plugin` (AcctGatherEnergyType without its prefix).

Source: sacct(1) (ConsumedEnergyRaw, formats), Slurm REST API v0.0.38 and newer (slurmdb job and step).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import Any

from outweigh.core.intervals import Interval
from outweigh.core.measurement import Grade, Method, Scope
from outweigh.core.receipt import RunStatus
from outweigh.data.host_lists import hosts
from outweigh.ledger.imports._foreign import (
    JOB,
    RAPL,
    About,
    Foreign,
    document,
    energy,
    mapping,
    moment,
    number,
    receipt,
    refuse,
    table,
)
from outweigh.ledger.imports._sharing import Claim, parts

REQUIRED = ("JobID", "Start", "End", "ConsumedEnergyRaw")
_NO_VALUE_J = 2.0**63  # NO_VAL64 and INFINITE64 are just below 2^64
_OF_SPLIT = (1.0, "from nothing to twice the share of the node's CPUs, rectangular")
_UNKNOWN_TIMES = ("", "Unknown", "None", "INVALID")
_PLUGINS = {
    "rapl": (Scope.PACKAGE, Grade.B, Method.COUNTER, RAPL),
    "ipmi": (Scope.NODE, Grade.B, Method.INTEGRATED, None),
    "xcc": (Scope.NODE, Grade.B, Method.INTEGRATED, None),
    "pm_counters": (Scope.NODE, Grade.B, Method.COUNTER, None),
    "gpu": (Scope.GPU, Grade.B, Method.INTEGRATED, None),
    "": (Scope.NODE, Grade.C, Method.INTEGRATED, None),
}


@dataclass(frozen=True, slots=True)
class _Entry:
    """A job (step "") or one of its steps. `joules` is None where no plugin looked."""

    line: int
    job: str
    step: str
    start: datetime | None
    end: datetime | None
    joules: float | None
    name: str = ""
    state: str = ""
    cluster: str = ""
    exit_code: int | None = None
    nodes: tuple[str, ...] = ()
    cpus: float = 0.0


def read(text: str, about: About) -> Foreign:
    """Receipts of jobs. Raises UsageError with the line of what cannot be read, and for a plugin that is unknown."""
    if about.plugin not in _PLUGINS:
        known = ", ".join(name for name in _PLUGINS if name)
        refuse(about, 0, f"{about.plugin!r} is no energy plugin outweigh knows", f"Give one of {known}, or none")
    entries = _json(text, about) if text.lstrip().startswith("{") else _text(text, about)
    jobs: dict[tuple[str, str], list[_Entry]] = defaultdict(list)
    for entry in entries:
        jobs[entry.cluster, entry.job].append(entry)
    found, left_out = [], []
    scope, grade, method, doubt = _PLUGINS[about.plugin]
    split = parts(_claims(jobs))
    for (cluster, job), group in jobs.items():
        head = next((entry for entry in group if not entry.step), group[0])
        taken, notes = _taken(group)
        if taken is None:
            left_out.append(f"job {job}: no energy was recorded (is AcctGatherEnergyType set?)")
            continue
        joules, interval = taken
        if interval is None or interval.seconds == 0:
            left_out.append(f"job {job}: it has not ended, or lasted no time")
            continue
        plugin = about.plugin or "unknown plugin"
        part = split.get(f"{cluster}/{job}")
        if part is None:
            total = energy(
                joules, interval, scope=scope, grade=grade, method=method, source=f"slurm ({plugin})", doubt=doubt
            )  # fmt: skip
            notes.append("the whole of its nodes: other jobs on them hold the same joules")
        else:
            total = energy(
                part, interval, scope=scope, grade=Grade.worst((grade, Grade.C)), method=Method.MODELLED,
                source=f"slurm ({plugin}), split by CPUs", doubt=_OF_SPLIT,
            )  # fmt: skip
            notes.append(f"its part of nodes that other jobs were on; Slurm charged it with all {joules:g} J of them")
        found.append(
            receipt(
                about,
                "sacct",
                # Not when: the same file read in another time zone is the same job.
                {"cluster": cluster, "job": job, "seconds": interval.seconds, "joules": joules},
                total,
                status=_status(head.state),
                exit_code=head.exit_code,
                labels={JOB: job, **({"job_name": head.name} if head.name else {})},
                notes=notes,
            )
        )
    return Foreign(tuple(found), tuple(left_out))


def _claims(jobs: Mapping[tuple[str, str], list[_Entry]]) -> dict[str, Claim]:
    """What each job was charged with, of those whose nodes and CPUs are known."""
    found = {}
    for (cluster, job), group in jobs.items():
        head = next((entry for entry in group if not entry.step), group[0])
        taken, _ = _taken(group)
        if taken is not None and taken[1] is not None and taken[1].seconds > 0 and head.nodes and head.cpus > 0:
            nodes = tuple(f"{cluster}/{node}" for node in head.nodes)
            found[f"{cluster}/{job}"] = Claim(nodes, head.cpus, taken[1], taken[0])
    return found


def _taken(group: list[_Entry]) -> tuple[tuple[float, Interval | None] | None, list[str]]:
    """The figure of a job and its time, and what to say of it."""
    with_energy = {entry.step: entry for entry in group if entry.joules}
    for step, said in (("", []), ("extern", ["the figure of its extern step"]), ("batch", ["of its batch step"])):
        if step in with_energy:
            return _figure(with_energy[step]), list(said)
    steps = [entry for entry in with_energy.values() if entry.start is not None and entry.end is not None]
    if not steps:
        return (_figure(next(iter(with_energy.values()))), []) if with_energy else (None, [])
    steps.sort(key=lambda entry: (entry.start, entry.end))
    figures = [(entry.joules or 0.0, interval) for entry in steps if (interval := _interval(entry))]
    apart = all(before.end <= after.start for (_, before), (_, after) in pairwise(figures))
    if not apart:
        largest = max(figures, key=lambda figure: figure[0])
        return largest, ["steps side by side hold the same joules: the largest is taken, a lower bound"]
    whole = Interval(figures[0][1].start, figures[-1][1].end)
    return (sum(joules for joules, _ in figures), whole), [f"{len(figures)} steps one after another, added"]


def _figure(entry: _Entry) -> tuple[float, Interval | None]:
    return entry.joules or 0.0, _interval(entry)


def _interval(entry: _Entry) -> Interval | None:
    if entry.start is None or entry.end is None or entry.end < entry.start:
        return None
    return Interval(entry.start, entry.end)


def _status(state: str) -> RunStatus:
    word = state.split(" ")[0].rstrip("+")
    if word in ("", "COMPLETED"):
        return RunStatus.COMPLETED
    cut_off = ("CANCELLED", "TIMEOUT", "PREEMPTED", "NODE_FAIL", "REQUEUED", "SUSPENDED", "RUNNING", "BOOT_FAIL")
    return RunStatus.INTERRUPTED if word in cut_off else RunStatus.FAILED


def _text(text: str, about: About) -> list[_Entry]:
    found = []
    for line, row in table(about, text, REQUIRED, delimiter="|"):
        job, _, step = row["JobID"].partition(".")
        code = row.get("ExitCode", "").partition(":")[0]
        found.append(
            _Entry(
                line,
                job,
                step,
                _time(about, line, "Start", row["Start"]),
                _time(about, line, "End", row["End"]),
                _joules(about, line, row["ConsumedEnergyRaw"]),
                row.get("JobName", ""),
                row.get("State", ""),
                row.get("Cluster", ""),
                int(code) if code.isdecimal() else None,
                _nodes(row.get("NodeList", "")),
                float(row["AllocCPUS"]) if row.get("AllocCPUS", "").isdecimal() else 0.0,
            )
        )
    return found


def _json(text: str, about: About) -> list[_Entry]:
    body = mapping(about, document(about, text), "the dump")
    if not isinstance(body.get("jobs"), list):
        refuse(about, 0, "it has no list of jobs", "Give the output of sacct --json")
    found = []
    for job in body["jobs"]:
        record = mapping(about, job, "a job")
        times = mapping(about, record.get("time"), "a job's time")
        state = mapping(about, record.get("state", {}), "a job's state").get("current", "")
        word = str(state[0] if isinstance(state, list) and state else state or "")
        number_, cluster = str(record.get("job_id", "")), str(record.get("cluster", ""))
        name = str(record.get("name", ""))
        start, end = _epoch(about, times.get("start")), _epoch(about, times.get("end"))
        nodes, cpus = _nodes(str(record.get("nodes") or "")), _cpus(about, record)
        found.append(_Entry(0, number_, "", start, end, None, name, word, cluster, None, nodes, cpus))
        for entry in record.get("steps", []):
            step = mapping(about, entry, "a step")
            its = mapping(about, step.get("time"), "a step's time")
            statistics = mapping(about, step.get("statistics", {}), "a step's statistics")
            consumed = mapping(about, statistics.get("energy", {}), "a step's energy").get("consumed")
            which = mapping(about, step.get("step", {}), "a step's id").get("name", "")
            found.append(
                _Entry(
                    0,
                    number_,
                    str(which) or "step",
                    _epoch(about, its.get("start")),
                    _epoch(about, its.get("end")),
                    _joules(about, 0, _plain(consumed)),
                    cluster=cluster,
                )
            )
    return found


def _nodes(text: str) -> tuple[str, ...]:
    return () if text in ("", "None assigned", "(null)") else hosts(text)


def _cpus(about: About, record: Mapping[str, Any]) -> float:
    """CPUs that a job held, by its trackable resources (tres)."""
    allocated = mapping(about, record.get("tres") or {}, "a job's tres").get("allocated") or []
    counts = [_plain(each.get("count")) for each in allocated if isinstance(each, dict) and each.get("type") == "cpu"]
    return float(counts[0]) if counts and isinstance(counts[0], int | float) else 0.0


def _plain(value: Any) -> Any:
    """Since v0.0.39 a number may come as {"set": true, "infinite": false, "number": 5}."""
    if isinstance(value, dict):
        return value.get("number") if value.get("set", True) and not value.get("infinite") else None
    return value


def _joules(about: About, line: int, given: Any) -> float | None:
    if given in (None, ""):
        return None
    joules = number(about, line, "ConsumedEnergyRaw", given, least=0.0)
    return joules if 0 < joules < _NO_VALUE_J else None


def _time(about: About, line: int, name: str, given: str) -> datetime | None:
    return None if given in _UNKNOWN_TIMES else moment(about, line, name, given)


def _epoch(about: About, given: Any) -> datetime | None:
    seconds = _plain(given)
    return moment(about, 0, "time", number(about, 0, "time", seconds)) if seconds else None
