"""CPU time of another process and all it started, from /proc (Linux)."""

from __future__ import annotations

import os
import select
from dataclasses import dataclass
from pathlib import Path

from outweigh.core.errors import UsageError

_POLL_S = 0.2  # only where the kernel gives no descriptor of a process (before Linux 5.3)


@dataclass(frozen=True, slots=True)
class _Seen:
    """One process at one reading. `own` is its CPU time, `reaped` that of the children it has waited for [ticks]."""

    parent: int
    started: int
    own: int
    reaped: int


class ProcessTree:
    """A process that is not ours, with its descendants, followed until the process ends.

    CPU time is utime + stime + cutime + cstime (proc_pid_stat(5), fields 14 to 17) over the living processes of the
    tree. A child that has ended is in the figure of the parent that waited for it, however short it lived; one that
    nobody of the tree waited for is kept as it was last seen. A descendant whose parent has ended stays followed.
    CPU time after the last reading before an end is not seen, unless the end's own reading catches it.

    Raises:
        UsageError: there is no such process, or this platform has no /proc.
    """

    def __init__(self, pid: int, proc: Path = Path("/proc")) -> None:
        self.pid = pid
        self._proc = proc
        self._tick_s = 1 / os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 0.01
        if not (proc / "self").exists():
            raise UsageError("another process can be measured on Linux only", "Start it with `outweigh measure -- CMD`")
        root = self._read(pid)
        if root is None:
            raise UsageError(f"there is no process {pid}", "`ps -e` lists what runs; give the id of a running process")
        self._tracked: dict[int, _Seen] = {pid: root}
        self._gone_ticks = 0
        self._last_ticks = 0

    def cpu_s(self) -> float:
        """CPU time of the tree so far [s]; never falls."""
        everyone = self._everyone()
        now = {
            pid: seen
            for pid, seen in everyone.items()
            if pid in self._tracked and seen.started == self._tracked[pid].started
        }
        grown = True
        while grown:
            # A child is of the tree when its parent is; the parent of an orphan is not, so it is known from before.
            new = {pid: seen for pid, seen in everyone.items() if pid not in now and seen.parent in now}
            now |= new
            grown = bool(new)
        self._gone_ticks += self._unaccounted(now)
        self._tracked = now
        ticks = self._gone_ticks + sum(seen.own + seen.reaped for seen in now.values())
        self._last_ticks = max(self._last_ticks, ticks)
        return self._last_ticks * self._tick_s

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait for the end of the process itself; True when it has ended."""
        root = self._tracked.get(self.pid)
        try:
            handle = os.pidfd_open(self.pid)
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
            return float(len(os.sched_getaffinity(self.pid)))
        except (AttributeError, OSError):
            return None

    def _wait_by_looking(self, root: _Seen | None, timeout_s: float | None) -> bool:
        import time

        until_s = None if timeout_s is None else time.monotonic() + timeout_s
        while not self._has_ended(root):
            if until_s is not None and time.monotonic() >= until_s:
                return False
            time.sleep(_POLL_S)
        return True

    def _has_ended(self, root: _Seen | None) -> bool:
        seen = self._read(self.pid)
        return root is None or seen is None or seen.started != root.started or self._is_zombie()

    def _is_zombie(self) -> bool:
        fields = _fields(self._proc / str(self.pid) / "stat")
        return not fields or fields[0] in ("Z", "X")

    def _unaccounted(self, now: dict[int, _Seen]) -> int:
        """CPU time of processes that have ended and that no living process of the tree has waited for [ticks]."""
        ended: dict[int | None, int] = {}
        for pid, seen in self._tracked.items():
            if pid in now:
                continue
            holder: int | None = seen.parent
            while holder is not None and holder not in now:
                holder = self._tracked[holder].parent if holder in self._tracked else None
            ended[holder] = ended.get(holder, 0) + seen.own + seen.reaped
        missing = 0
        for holder, ticks in ended.items():
            before = self._tracked.get(holder) if holder is not None else None
            taken = now[holder].reaped - before.reaped if holder is not None and before is not None else 0
            missing += max(0, ticks - taken)
        return missing

    def _everyone(self) -> dict[int, _Seen]:
        found = {}
        for folder in self._proc.iterdir():
            if folder.name.isdigit():
                seen = self._read(int(folder.name))
                if seen is not None:
                    found[int(folder.name)] = seen
        return found

    def _read(self, pid: int) -> _Seen | None:
        fields = _fields(self._proc / str(pid) / "stat")
        if len(fields) < 20:
            return None
        # Counted from the state, which is field 3 of proc_pid_stat(5).
        return _Seen(
            parent=int(fields[1]),
            started=int(fields[19]),
            own=int(fields[11]) + int(fields[12]),
            reaped=int(fields[13]) + int(fields[14]),
        )


def _fields(path: Path) -> list[str]:
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    # The name, field 2, may hold spaces and brackets: what follows its last bracket is regular.
    return text.rpartition(")")[2].split()
