"""Whose energy: the processes of one run, their CPU time, and what of the machine was not theirs.

    with accounting() as account:
        follow(meter, account.cpu_s)
        ...                                 # start the command here
        account.look()
    account.left                            # what still lived when the command had ended

Linux, in this order:

- **a control group of the run's own** (cgroup v2), made below ours where we may: `usage_usec` of its `cpu.stat`, which
  holds every process that was ever in it, daemons and abandoned children included. We are in it ourselves while the
  run lasts, so that nothing is started outside it; our own CPU time is taken off.
- **the control group we are in**, where nobody else is but us and who started us (a container, a systemd scope, a
  Slurm step): the same file.
- **/proc and rusage**: living descendants by /proc, those that were waited for by RUSAGE_CHILDREN. A child whose
  parent ends would become init's and be lost to us (double fork, setsid): while the run lasts we are its subreaper
  (PR_SET_CHILD_SUBREAPER), so it becomes ours and is counted, and when it ends it is kept until we have read it.

Elsewhere children are counted when they are waited for. What asks a service to work for it (a container engine,
`systemd-run`, a database) has that work done in another tree, and it is not seen.

Sources: the kernel's Documentation/admin-guide/cgroup-v2.rst (cpu.stat; delegation; no internal processes),
PR_SET_CHILD_SUBREAPER(2const), proc_stat(5).
"""

from __future__ import annotations

import itertools
import os
import sys
import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast

from outweigh.core.measurement import Scope
from outweigh.data.processes import PROC, Descendants, Process, read_process, tick_s
from outweigh.ports import Meter

if TYPE_CHECKING:
    from outweigh.core.intervals import Interval
    from outweigh.core.measurement import Measurement

BY_OWN_GROUP = "process tree by cgroup cpu.stat, in a group of the run's own"
BY_GROUP = "process tree by cgroup cpu.stat of the group it was started in"
BY_PROC = "process tree by /proc and exited children"
BY_WAITING = "children that were waited for, by rusage"

#: Other processes are warned of when they had more than this share of the CPU time that the machine spent.
OTHERS_WARNED = 0.10

_USEC_S = 1e-6
_MOVES = 5  # rounds of moving what is left out of a group, while it may still fork
_FEWEST_TICKS = 20  # /proc/stat counts in ticks: below so many a share of them says nothing
_NAMED = 5
_PR_SET_CHILD_SUBREAPER, _PR_GET_CHILD_SUBREAPER = 36, 37  # linux/prctl.h
_serial = itertools.count(1)
_moving = threading.Lock()  # a process is in one control group at a time


@dataclass(frozen=True, slots=True)
class Left:
    """A process of the run that still lived when the command had ended. `cpu_s` is its time so far [s]."""

    name: str
    cpu_s: float


class FollowsRun(Protocol):
    """What a meter may offer beside `Meter`: to model one run alone."""

    def follow(self, cpu_seconds: Callable[[], float] | None) -> None:
        """Go by this CPU time from now on [s]; None for this process and its children, as before."""


class AllocatesShares(Protocol):
    """What a meter may offer beside `Meter`: to say which part of a shared device's energy fell to the run."""

    def watch(self, living: Callable[[], Collection[int]] | None) -> None:
        """Share out by these processes from now on; None to stop."""

    def allocated(self, interval: Interval) -> tuple[tuple[Measurement, ...], tuple[str, ...]]:
        """The run's shares since `watch`, allocated and not measured, and what a reader has to know."""


class Account:
    """The processes of one run; made by `accounting`.

    Attributes:
        how: how they are told from the rest, for a receipt.
        left: what still lived when the account was closed.
    """

    how = BY_WAITING

    def __init__(self) -> None:
        self.left: tuple[Left, ...] = ()

    def cpu_s(self) -> float:
        """CPU time of the run so far [s], ours not included; never falls."""
        raise NotImplementedError

    def living(self) -> dict[int, Process]:
        """The run's processes that are alive, by id."""
        return {}

    def look(self) -> None:
        """Let the next reading see every process, whatever looking costs."""

    def close(self) -> None:
        """Note what is left, and put everything back as it was."""
        tick = tick_s()
        self.left = tuple(Left(one.name, (one.own + one.reaped) * tick) for one in self.living().values())


class _TreeAccount(Account):
    """By /proc and rusage, with us as the subreaper."""

    def __init__(self, proc: Path) -> None:
        super().__init__()
        self._was_subreaper = _set_subreaper(True)
        self._tree = Descendants(proc, newcomers_only=True)
        self._proc = proc
        self.how = BY_PROC if self._tree.sees_living else BY_WAITING

    def cpu_s(self) -> float:
        return self._tree.cpu_s()

    def living(self) -> dict[int, Process]:
        return self._tree.living()

    def look(self) -> None:
        self._tree.look()

    def close(self) -> None:
        self.look()
        super().close()
        if self._was_subreaper is False:
            _set_subreaper(False)
        self._tree.reap_adopted()


class _GroupAccount(Account):
    """By cpu.stat of a control group that holds the run and us."""

    how = BY_GROUP

    def __init__(self, folder: Path, proc: Path) -> None:
        super().__init__()
        self._folder, self._proc = folder, proc
        self._ours = {os.getpid(), *_ancestors(proc)}
        self._begin()

    def _begin(self) -> None:
        self._own_from_s = time.process_time()
        self._from_s = _usage_s(self._folder) or 0.0
        self._last_s = 0.0

    def cpu_s(self) -> float:
        # Ours first: what we spend between the two readings then falls to the run, and the figure never falls for it.
        own_s = time.process_time() - self._own_from_s
        usage_s = _usage_s(self._folder)
        if usage_s is not None:  # a group that somebody removed says nothing more
            self._last_s = max(self._last_s, usage_s - self._from_s - own_s)
        return self._last_s

    def living(self) -> dict[int, Process]:
        found = {pid: read_process(pid, self._proc) for pid in _members(self._folder) if pid not in self._ours}
        return {pid: one for pid, one in found.items() if one is not None and not one.ended}


class _OwnGroupAccount(_GroupAccount):
    """By a group made for the run. Whoever is left in it goes back to where it would have been without us."""

    how = BY_OWN_GROUP

    def __init__(self, parent: Path, proc: Path) -> None:
        folder = parent / f"outweigh-{os.getpid()}-{next(_serial)}"
        self._parent = parent
        folder.mkdir()
        try:
            (folder / "cgroup.procs").write_text("0")  # the writer, with all its threads
            if _usage_s(folder) is None:
                raise FileNotFoundError(folder / "cpu.stat")
        except OSError:
            self._empty(folder)
            raise
        super().__init__(folder, proc)

    def close(self) -> None:
        self.cpu_s()
        super().close()
        self._empty(self._folder)

    def _empty(self, folder: Path) -> None:
        for _ in range(_MOVES):
            members = [(group, pid) for group in _groups(folder) for pid in _pids(group)]
            if not members:
                break
            for _, pid in members:
                with suppress(OSError):  # it ended in between, or may not be moved: then the group stays with it
                    (self._parent / "cgroup.procs").write_text(str(pid))
        for group in reversed(_groups(folder)):
            with suppress(OSError):  # still somebody there: the next account made here tries again
                group.rmdir()


@contextmanager
def accounting(proc: Path = PROC) -> Iterator[Account]:
    """Tell apart, from here to the end of the block, what this process starts from everything else.

    One at a time can have a control group of its own; others go by /proc.
    """
    held = _moving.acquire(blocking=False)
    try:
        account = _account(proc, may_move=held)
        try:
            yield account
        finally:
            account.close()
    finally:
        if held:
            _moving.release()


def follow(meter: Meter, cpu_seconds: Callable[[], float] | None) -> bool:
    """Let a meter go by the run's CPU time alone [s], or by what it went by before (None).

    Returns:
        Whether its energy is the run's; False for a meter that reads what the device counts.
    """
    followers = [part for part in _parts(meter) if hasattr(part, "follow")]
    for part in followers:
        cast("FollowsRun", part).follow(cpu_seconds)
    return bool(followers)


def watch(meter: Meter, living: Callable[[], Collection[int]] | None) -> None:
    """Let a meter of shared devices share them out by the run's processes, or stop (None)."""
    for part in _parts(meter):
        if hasattr(part, "watch"):
            cast("AllocatesShares", part).watch(living)


def allocated(meter: Meter, interval: Interval) -> tuple[tuple[Measurement, ...], tuple[str, ...]]:
    """What of shared devices fell to the run while it was watched: never part of a total, and labelled allocated."""
    found = [cast("AllocatesShares", p).allocated(interval) for p in _parts(meter) if hasattr(p, "allocated")]
    return tuple(m for shares, _ in found for m in shares), tuple(n for _, notes in found for n in notes)


def group_cpu_s(pid: int, proc: Path = PROC) -> Callable[[], float] | None:
    """CPU time [s] of a running process with all it starts, by its control group; None where others are in it too."""
    folder = _group_of(proc / str(pid) / "cgroup", proc)
    if folder is None or _is_root(folder):
        return None
    allowed = {pid, *_ancestors(proc, pid)}
    if any(not _descends(member, pid, proc) for member in _members(folder) if member not in allowed):
        return None
    begun_s = _usage_s(folder)
    if begun_s is None:
        return None
    last = [0.0]

    def cpu_s() -> float:
        usage_s = _usage_s(folder)
        if usage_s is not None:
            last[0] = max(last[0], usage_s - begun_s)
        return last[0]

    return cpu_s


def left_note(left: tuple[Left, ...]) -> str | None:
    """What a receipt says of processes that still live; None when there is none.

    >>> left_note((Left("worker", 1.5), Left("worker", 0.25))).partition(":")[0]
    '2 processes of the run still lived when it ended (worker, worker), with 1.75 CPU s so far'
    """
    if not left:
        return None
    names = ", ".join(one.name for one in left[:_NAMED]) + (", …" if len(left) > _NAMED else "")
    count = f"{len(left)} process{'es' if len(left) > 1 else ''}"
    spent_s = sum(one.cpu_s for one in left)
    return (
        f"{count} of the run still lived when it ended ({names}), with {spent_s:.3g} CPU s so far: "
        "what they do later is not in this receipt"
    )


@dataclass(frozen=True, slots=True)
class MachineTime:
    """CPU time at one moment [s]: of the whole machine, of the run, and our own."""

    machine_s: float
    run_s: float
    own_s: float

    @staticmethod
    def now(run_s: float, proc: Path = PROC) -> MachineTime | None:
        """None where the platform does not say what the machine has spent."""
        machine_s = machine_cpu_s(proc)
        return None if machine_s is None else MachineTime(machine_s, run_s, time.process_time())


def machine_cpu_s(proc: Path = PROC) -> float | None:
    """CPU time of all processes and the kernel since boot [s], neither idle nor stolen; None where nobody says."""
    try:
        first = (proc / "stat").read_text(encoding="ascii").partition("\n")[0].split()
    except (OSError, UnicodeDecodeError):
        return None
    if len(first) < 8 or first[0] != "cpu":
        return None
    # user, nice, system, idle, iowait, irq, softirq; guest time, further right, is in user already.
    user, nice, system, _, _, irq, softirq = (int(field) for field in first[1:8])
    return (user + nice + system + irq + softirq) * tick_s()


def share_note(before: MachineTime, after: MachineTime) -> str:
    """What part of the machine's CPU time was the run's own; a device counter's joules are never scaled by it.

    >>> share_note(MachineTime(100.0, 0.0, 0.0), MachineTime(110.0, 9.5, 0.1))
    'of 10 CPU s that this machine spent in the window the run had 95 %'
    >>> share_note(MachineTime(100.0, 0.0, 0.0), MachineTime(110.0, 4.0, 0.0)).partition(": ")[2]
    'other processes had 60 % of them, and their joules are in the figure too'
    """
    machine_s = after.machine_s - before.machine_s
    run_s = after.run_s - before.run_s
    own_s = after.own_s - before.own_s
    if machine_s < _FEWEST_TICKS * tick_s():
        return "too little CPU time in the window to tell the run's share of the machine's"
    # Ticks are drawn by lot and CPU time of a process is not: the sum may come out a little above the machine's.
    machine_s = max(machine_s, run_s + own_s)
    others = (machine_s - run_s - own_s) / machine_s
    told = f"of {machine_s:.3g} CPU s that this machine spent in the window the run had {100 * run_s / machine_s:.0f} %"
    if others <= OTHERS_WARNED:
        return told
    return f"{told}: other processes had {100 * others:.0f} % of them, and their joules are in the figure too"


def sees_processor(meter: Meter) -> bool:
    """Whether a meter measures joules of the processor, whoever spent them."""
    return any(
        channel.counted and (channel.scope is Scope.CORE or channel.scope.contains(Scope.CPU_THREADS))
        for part in _parts(meter)
        if part.method.is_measured
        for channel in part.channels
    )


def _parts(meter: Meter) -> Sequence[Meter]:
    """The meters that a combined one is made of, or itself."""
    parts: Sequence[Meter] = getattr(meter, "parts", (meter,))
    return parts


# --- control groups ---------------------------------------------------------------------------------


def _account(proc: Path, may_move: bool) -> Account:
    folder = _group_of(proc / "self" / "cgroup", proc) if may_move else None
    if folder is not None:
        _prune(folder, proc)
        # A group with controllers shares the machine out between its parts: a part of its own would change how the
        # run is scheduled, and a measurement should not.
        if _words(folder / "cgroup.subtree_control") == []:
            with suppress(OSError):
                return _OwnGroupAccount(folder, proc)
        ours = {os.getpid(), *_ancestors(proc)}
        if not _is_root(folder) and _members(folder) <= ours and _usage_s(folder) is not None:
            return _GroupAccount(folder, proc)
    return _TreeAccount(proc)


def _group_of(cgroup: Path, proc: Path) -> Path | None:
    """Folder of the version 2 control group that a /proc/PID/cgroup names; None where there is none to be seen."""
    try:
        lines = cgroup.read_text(encoding="utf-8").splitlines()
        mounts = (proc / "self" / "mountinfo").read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return None
    path = next((line[3:] for line in lines if line.startswith("0::")), None)
    if path is None or ".." in path.split("/"):
        return None
    for mount in mounts:
        before, _, after = mount.partition(" - ")
        fields = before.split()
        if after.split()[:1] != ["cgroup2"] or len(fields) < 5:
            continue
        root, where = (_unescaped(field).rstrip("/") for field in fields[3:5])
        if path == root or path.startswith(f"{root}/"):
            folder = Path(where + path[len(root) :])
            if (folder / "cgroup.procs").exists():
                return folder
    return None


def _unescaped(text: str) -> str:
    """A path of mountinfo, whose blanks are octal (proc_pid_mountinfo(5))."""
    for code, character in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        text = text.replace(code, character)
    return text


def _usage_s(folder: Path) -> float | None:
    try:
        text = (folder / "cpu.stat").read_text(encoding="ascii")
    except OSError:
        return None
    fields = dict(line.split(maxsplit=1) for line in text.splitlines() if " " in line)
    return int(fields["usage_usec"]) * _USEC_S if "usage_usec" in fields else None


def _is_root(folder: Path) -> bool:
    """Whether it is the machine's root group, which holds everything; only that one has no type."""
    return not (folder / "cgroup.type").exists()


def _words(path: Path) -> list[str] | None:
    try:
        return path.read_text(encoding="ascii").split()
    except OSError:
        return None


def _groups(folder: Path) -> list[Path]:
    """A group and those below it, parents first."""
    try:
        below = sorted(child for child in folder.iterdir() if child.is_dir())
    except OSError:
        return [folder]
    return [folder, *(group for child in below for group in _groups(child))]


def _pids(group: Path) -> list[int]:
    return [int(word) for word in _words(group / "cgroup.procs") or []]


def _members(folder: Path) -> set[int]:
    """Everybody in a group and below; 0 stands for a process outside our process namespace."""
    return {pid for group in _groups(folder) for pid in _pids(group)}


def _prune(parent: Path, proc: Path) -> None:
    """Remove the groups of runs that were killed; one that still has a process in it does not go."""
    for folder in parent.glob("outweigh-*-*"):
        maker = folder.name.split("-")[1]
        if maker.isdigit() and not (proc / maker).exists():
            for group in reversed(_groups(folder)):
                with suppress(OSError):
                    group.rmdir()


def _ancestors(proc: Path, pid: int | None = None) -> set[int]:
    found: set[int] = set()
    one = read_process(os.getpid() if pid is None else pid, proc)
    while one is not None and one.parent > 0 and one.parent not in found:
        found.add(one.parent)
        one = read_process(one.parent, proc)
    return found


def _descends(pid: int, root: int, proc: Path) -> bool:
    return pid == root or root in _ancestors(proc, pid)


def _set_subreaper(on: bool) -> bool | None:
    """Make us adopt orphans of our tree, or no longer; whether we did before. None where that is not to be had."""
    if not sys.platform.startswith("linux"):
        return None
    import ctypes

    try:
        prctl = ctypes.CDLL(None, use_errno=True).prctl
    except (OSError, AttributeError):
        return None
    was = ctypes.c_int(0)
    nothing = ctypes.c_ulong(0)
    if prctl(_PR_GET_CHILD_SUBREAPER, ctypes.byref(was), nothing, nothing, nothing) != 0:
        return None
    if prctl(_PR_SET_CHILD_SUBREAPER, ctypes.c_ulong(on), nothing, nothing, nothing) != 0:
        return None
    return bool(was.value)
