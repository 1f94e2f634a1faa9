"""What the kernel keeps of processes: CPU time of a tree of them, from /proc (Linux) and rusage.

Sources: proc_pid_stat(5), fields 4 (ppid), 14 to 17 (utime, stime, cutime, cstime) and 22 (starttime); getrusage(2).
"""

from __future__ import annotations

import os
import select
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from outweigh.core.errors import UsageError

PROC = Path("/proc")

_POLL_S = 0.2  # only where the kernel gives no descriptor of a process (before Linux 5.3)
_LOOKING = 0.001  # most of one core that looking through all of /proc may take
_LOOK_S = (0.1, 5.0)  # shortest and longest time between two looks at the whole of /proc
_AT_ONCE, _SURELY_ENDED = 65_536, 2_048  # the kernel gives these files a page at a time, and a short one at once
_TRIES = 5  # readings of a tree in which processes come and go, until one holds together


@dataclass(frozen=True, slots=True)
class Process:
    """One process at one reading. `own` is its CPU time, `reaped` that of the children it has waited for [ticks]."""

    parent: int
    started: int
    own: int
    reaped: int
    state: str
    name: str

    @property
    def ended(self) -> bool:
        """Whether it only waits to be waited for; its CPU time can still be read."""
        return self.state in ("Z", "X")


def tick_s() -> float:
    """Length of a clock tick, the unit of CPU time in /proc [s]."""
    return 1 / os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 0.01


def waited_s() -> float:
    """CPU time of the children this process has waited for, and of theirs [s]; 0 on Windows, which keeps no account."""
    if sys.platform == "win32":
        return 0.0
    import resource

    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return children.ru_utime + children.ru_stime


def read_process(pid: int, proc: Path = PROC) -> Process | None:
    """A process as /proc tells it now; None when there is none."""
    text = _text(f"{proc}/{pid}/stat")
    # The name, field 2, may hold spaces and brackets: what follows its last bracket is regular.
    head, _, rest = text.rpartition(b")")
    fields = rest.split()
    if len(fields) < 20:
        return None
    return Process(
        parent=int(fields[1]),
        started=int(fields[19]),
        own=int(fields[11]) + int(fields[12]),
        reaped=int(fields[13]) + int(fields[14]),
        state=fields[0].decode("ascii", "replace"),
        name=head.partition(b"(")[2].decode("utf-8", "replace"),
    )


class _Tree:
    """Processes that descend from one, followed from reading to reading.

    A descendant whose parent has ended stays followed. CPU time of one that has ended is in the figure of the parent
    that waited for it, however short it lived; where nobody did it is kept as it was last seen.
    """

    def __init__(self, root: int, proc: Path, *, root_counts: bool) -> None:
        self.root = root
        self._proc = proc
        self._tick_s = tick_s()
        self._root_counts = root_counts
        self._lock = threading.Lock()
        self._tracked: dict[int, Process] = {}
        self._strangers: dict[int, Process] = {}
        self._waited_ticks = 0.0
        self._gone_ticks = 0.0
        self._last_ticks = 0.0
        self._look_at_s = 0.0

    def cpu_s(self) -> float:
        """CPU time of the tree so far [s]; never falls.

        Who is known is read every time, with the children of their main threads. All of /proc is looked through as
        often as a tenth of a percent of one core allows, and what is found then is counted from its birth; `look`
        makes the next reading do so.
        """
        with self._lock:
            full = time.monotonic() >= self._look_at_s
            for _ in range(_TRIES):
                now, waited_ticks, torn = self._snapshot(full)
                if not torn:
                    break
            self._gone_ticks += self._unaccounted(now, waited_ticks, torn)
            self._note_adopted(now)
            self._tracked, self._waited_ticks = now, waited_ticks
            ticks = self._gone_ticks + waited_ticks + sum(one.own + one.reaped for one in now.values())
            self._last_ticks = max(self._last_ticks, ticks)
            return self._last_ticks * self._tick_s

    def look(self) -> None:
        """Let the next reading look for new processes, whatever it costs."""
        self._look_at_s = 0.0

    def living(self) -> dict[int, Process]:
        """The processes of the tree that are alive, as far as they are known, by id."""
        self.cpu_s()
        with self._lock:
            return {pid: one for pid, one in self._tracked.items() if not one.ended}

    def _snapshot(self, full: bool) -> tuple[dict[int, Process], float, set[int]]:
        """The tree now; and who was waited for while we read, so that nobody can tell whose figure holds it."""
        known = self._everyone() if full else self._nearby()
        members = {
            pid: one for pid, one in known.items() if pid in self._tracked and one.started == self._tracked[pid].started
        }
        order = list(members)
        tops = {self.root, *members}
        for pid, one in self._strangers.items():
            found = known.get(pid) if full else self._read(pid)
            if found is not None and found.started == one.started:
                self._strangers[pid] = found
        grown = True
        while grown:
            # A child is of the tree when its parent is; the parent of an orphan is not, so it is known from before.
            new = {
                pid: one
                for pid, one in known.items()
                if pid not in members and pid != self.root and one.parent in tops and not self._is_stranger(pid, one)
            }
            members |= new
            order += new
            tops |= new.keys()
            grown = bool(new)
        # Parents before their children: one that is waited for in between is then missing for one reading, and never
        # counted with its parent and by itself.
        waited_ticks = self._waited_for()
        torn = set()
        now = {}
        for pid in sorted(order, key=lambda pid: _depth(pid, members)):
            again = self._read(pid)
            if again is not None and again.started == members[pid].started:
                now[pid] = again
            else:
                torn.add(pid)
        return now, waited_ticks, torn

    def _waited_for(self) -> float:
        return 0.0

    def _note_adopted(self, now: dict[int, Process]) -> None:
        """What a tree does about orphans that have become its root's children."""

    def _is_stranger(self, pid: int, one: Process) -> bool:
        stranger = self._strangers.get(pid)
        return stranger is not None and stranger.started == one.started

    def _unaccounted(self, now: dict[int, Process], waited_ticks: float, torn: set[int]) -> float:
        """CPU time of processes that have ended and that no living process of the tree has waited for [ticks]."""
        ended: dict[int | None, float] = {}
        for pid, one in self._tracked.items():
            if pid in now or pid in torn:
                continue
            holder: int | None = one.parent
            while holder is not None and holder not in now and holder != self.root:
                holder = self._tracked[holder].parent if holder in self._tracked else None
            ended[holder] = ended.get(holder, 0.0) + one.own + one.reaped
        missing = 0.0
        for holder, ticks in ended.items():
            before = self._tracked.get(holder) if holder is not None else None
            taken = 0.0
            if holder in now and holder is not None and before is not None:
                taken = now[holder].reaped - before.reaped
            elif holder == self.root and not self._root_counts:
                taken = waited_ticks - self._waited_ticks
            missing += max(0.0, ticks - taken)
        return missing

    def _nearby(self) -> dict[int, Process]:
        """Who is known, and the children that their main threads have started (proc_pid_tid_children(5))."""
        found = {pid: one for pid in self._tracked if (one := self._read(pid))}
        parents = [self.root, *found]
        for parent in parents:  # grows while we go
            for pid in _children(parent, self._proc):
                if pid not in found and (one := self._read(pid)) is not None:
                    found[pid] = one
                    parents.append(pid)
        return found

    def _everyone(self) -> dict[int, Process]:
        begun_s = time.monotonic()
        found = {}
        for folder in self._proc.iterdir():
            if folder.name.isdigit():
                one = self._read(int(folder.name))
                if one is not None:
                    found[int(folder.name)] = one
        now_s = time.monotonic()
        shortest_s, longest_s = _LOOK_S
        self._look_at_s = now_s + min(longest_s, max(shortest_s, (now_s - begun_s) / _LOOKING))
        return found

    def _read(self, pid: int) -> Process | None:
        return read_process(pid, self._proc)


class ProcessTree(_Tree):
    """A process that is not ours, with its descendants, followed until the process ends.

    CPU time is utime + stime + cutime + cstime over the living processes of the tree, and what `_Tree` says of the
    others. CPU time after the last reading before an end is not seen, unless the end's own reading catches it.

    Raises:
        UsageError: there is no such process, or this platform has no /proc.
    """

    def __init__(self, pid: int, proc: Path = PROC) -> None:
        super().__init__(pid, proc, root_counts=True)
        if not (proc / "self").exists():
            raise UsageError("another process can be measured on Linux only", "Start it with `outweigh measure -- CMD`")
        root = self._read(pid)
        if root is None:
            raise UsageError(f"there is no process {pid}", "`ps -e` lists what runs; give the id of a running process")
        self._tracked = {pid: root}

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait for the end of the process itself; True when it has ended."""
        root = self._tracked.get(self.root)
        try:
            handle = os.pidfd_open(self.root)
        except (AttributeError, OSError):
            return self._has_ended(root) or self._wait_by_looking(root, timeout_s)
        try:
            if self._has_ended(root):
                return True
            return bool(select.select([handle], [], [], timeout_s)[0])
        finally:
            os.close(handle)

    def threads(self) -> float | None:
        """Hardware threads the process may use by its affinity; None where the platform does not say."""
        try:
            return float(len(os.sched_getaffinity(self.root)))
        except (AttributeError, OSError):
            return None

    def _wait_by_looking(self, root: Process | None, timeout_s: float | None) -> bool:
        until_s = None if timeout_s is None else time.monotonic() + timeout_s
        while not self._has_ended(root):
            if until_s is not None and time.monotonic() >= until_s:
                return False
            time.sleep(_POLL_S)
        return True

    def _has_ended(self, root: Process | None) -> bool:
        one = self._read(self.root)
        return root is None or one is None or one.started != root.started or one.ended


class Descendants(_Tree):
    """What this process has started: the living by /proc, those that were waited for by rusage.

    Where there is no /proc only the latter are seen, when they are waited for.

    Args:
        newcomers_only: count from now, and leave out the children that are already there.
        waited: CPU time of the children that were waited for so far [s].
    """

    def __init__(
        self,
        proc: Path = PROC,
        *,
        newcomers_only: bool = False,
        root: int | None = None,
        waited: Callable[[], float] = waited_s,
    ) -> None:
        super().__init__(os.getpid() if root is None else root, proc, root_counts=False)
        self._waited = waited
        self._adopted: set[int] = set()
        self._has_proc = (proc / str(self.root) / "stat").exists()
        self._waited_from_s = waited() if newcomers_only else 0.0
        self._waited_ticks = self._waited_for()
        if newcomers_only and self._has_proc:
            self._strangers = {pid: one for pid, one in self._everyone().items() if one.parent == self.root}
            self.look()

    @property
    def sees_living(self) -> bool:
        """Whether processes are seen while they live, and not only when they are waited for."""
        return self._has_proc

    def reap_adopted(self) -> None:
        """Wait for orphans that became ours and have ended, so that none stays a zombie.

        Only those that were seen under another parent before: a child that somebody else in this process has started
        is theirs to wait for.
        """
        for pid in self._adopted:
            # ChildProcessError: it went to another reaper, or was waited for already.
            with suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)
        self._adopted.clear()

    def _note_adopted(self, now: dict[int, Process]) -> None:
        for pid, one in now.items():
            before = self._tracked.get(pid)
            if before is not None and before.parent != self.root and one.parent == self.root:
                self._adopted.add(pid)

    def _waited_for(self) -> float:
        strangers = [one for pid, one in self._strangers.items() if not self._is_there(pid, one)]
        # One of ours from before that has ended since is in rusage with its whole life, which is not the run's.
        theirs = sum(one.own + one.reaped for one in strangers)
        return max(0.0, (self._waited() - self._waited_from_s) / self._tick_s - theirs)

    def _is_there(self, pid: int, one: Process) -> bool:
        found = self._read(pid)
        return found is not None and found.started == one.started

    def _everyone(self) -> dict[int, Process]:
        return super()._everyone() if self._has_proc else {}


def _children(pid: int, proc: Path) -> list[int]:
    """Children of a main thread; none where the kernel was built without this list."""
    return [int(word) for word in _text(f"{proc}/{pid}/task/{pid}/children").split()]


def _text(path: str) -> bytes:
    """A file of /proc, as cheaply as can be, for they are many; empty where there is none."""
    try:
        handle = os.open(path, os.O_RDONLY)
    except OSError:
        return b""
    try:
        text = b""
        while part := os.read(handle, _AT_ONCE):
            text += part
            if len(part) < _SURELY_ENDED:
                break
        return text
    except OSError:  # it ended in between
        return b""
    finally:
        os.close(handle)


def _depth(pid: int, members: dict[int, Process]) -> int:
    depth = 0
    while pid in members and depth <= len(members):
        pid, depth = members[pid].parent, depth + 1
    return depth
