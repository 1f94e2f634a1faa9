"""A load of known size: busy children that calibrating drives up and down, and what the machine says it did.

Linux only: the CPU seconds of the whole machine come from /proc/stat.
"""

from __future__ import annotations

import contextlib
import math
import os
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Protocol

from outweigh.core.errors import MeterUnavailable, UnusableMeasurement

# How long a child may take to end by itself before it is made to [s].
_PATIENCE_S = 2.0

# One byte on standard input sets the duty in percent; when the input ends, so does the child. That is also how it
# learns that its parent was killed: nothing is left running. Periods are drawn from 10 to 30 ms, so that
# they do not beat with the kernel's tick, by which /proc/stat counts.
_CHILD = """
import os, random, select, sys, time
chance, duty = random.Random(int(sys.argv[1])), 0
while True:
    if select.select([0], [], [], None if duty == 0 else 0)[0]:
        told = os.read(0, 64)
        if not told:
            break
        duty = told[-1]
    period_s = chance.uniform(0.01, 0.03)
    until_s, value = time.perf_counter() + period_s * duty / 100, 1.0
    while time.perf_counter() < until_s:
        for _ in range(50):
            value = (value * 1.000001 + 0.5) % 1000.0
    if 0 < duty < 100:
        time.sleep(period_s * (100 - duty) / 100)
"""


class Bench(Protocol):
    """The machine under calibration: something to drive, and a count of what it did.

    `threads` is how many hardware threads can be kept busy. Every call may raise MeterUnavailable.
    """

    @property
    def threads(self) -> int: ...

    def drive(self, busy_threads: float) -> None:
        """Keep so many hardware threads busy from now on, in [0, threads]."""

    def machine_s(self) -> float:
        """CPU seconds of the whole machine so far, all threads and all programs [s]."""

    def own_s(self) -> float:
        """The part of it that `drive` caused [s]."""


class BusyChildren:
    """Keeps threads of this machine busy with child processes; a context manager, and nothing outlives it.

    A level of 1.25 threads is one child always busy and one a quarter of the time. The children sit in sessions of
    their own, so that Ctrl-C at the terminal reaches the parent alone, which then ends them.

    Args:
        threads: how many; None for those this process may run on.
        stat: the kernel's account of CPU time.
        seed: of the lengths of the duty periods.
    """

    def __init__(self, threads: int | None = None, *, stat: Path = Path("/proc/stat"), seed: int = 1) -> None:
        if threads is None:
            threads = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        self.threads = threads
        self._stat, self._seed = stat, seed
        self._children: list[subprocess.Popen[bytes]] = []
        self._duties: list[int] = []

    def __enter__(self) -> BusyChildren:
        self.machine_s()  # before anything is started: without it there is nothing to fit
        try:
            for number in range(self.threads):
                self._children.append(
                    subprocess.Popen(
                        [sys.executable, "-I", "-S", "-c", _CHILD, str(self._seed + number)],
                        stdin=subprocess.PIPE,
                        stdout=subprocess.DEVNULL,
                        stderr=subprocess.DEVNULL,
                        start_new_session=True,
                    )
                )
        except OSError as err:
            self.close()
            raise MeterUnavailable(
                "the load", f"child {len(self._children) + 1} was not started ({err.strerror})", "Allow more processes"
            ) from err
        self._duties = [0] * self.threads
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def pids(self) -> tuple[int, ...]:
        return tuple(child.pid for child in self._children)

    def drive(self, busy_threads: float) -> None:
        wanted = [round(100 * min(1.0, max(0.0, busy_threads - number))) for number in range(len(self._children))]
        for number, (child, duty) in enumerate(zip(self._children, wanted, strict=True)):
            if duty == self._duties[number]:
                continue
            try:
                assert child.stdin is not None
                child.stdin.write(bytes([duty]))
                child.stdin.flush()
            except OSError as err:
                raise UnusableMeasurement(
                    "the calibration", "a child that makes the load has ended", "Run it again, and let it run"
                ) from err
            self._duties[number] = duty

    def machine_s(self) -> float:
        try:
            line = self._stat.read_text(encoding="ascii").partition("\n")[0].split()
            # proc(5): user nice system idle iowait irq softirq steal guest guest_nice, in ticks. User holds guest;
            # idle and iowait are idle; stolen time was another machine's.
            user, nice, system, _idle, _iowait, irq, softirq = (int(ticks) for ticks in line[1:8])
        except (OSError, ValueError) as err:
            raise MeterUnavailable(
                "the load",
                f"{self._stat} does not say what the machine does, and calibrating needs to know",
                "Calibrate on Linux, outside sandboxes that hide /proc",
            ) from err
        return (user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK")

    def own_s(self) -> float:
        return math.fsum(_cpu_s(child.pid) for child in self._children)

    def close(self) -> None:
        for child in self._children:
            if child.stdin is not None:
                with contextlib.suppress(BrokenPipeError):  # it has ended already, which is all that is wanted
                    child.stdin.close()
        for child in self._children:
            try:
                child.wait(timeout=_PATIENCE_S)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
        self._children = []


def _cpu_s(pid: int) -> float:
    """CPU time of one process, all its threads [s]; 0 when it is gone."""
    try:
        # proc(5): the name in brackets may hold blanks; utime and stime are fields 14 and 15.
        after = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        return (int(after[11]) + int(after[12])) / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError):
        return 0.0
