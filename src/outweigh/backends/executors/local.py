"""Run a command on this machine: as if it had been typed, or as a job that outlives the question.

Typed as `local`, `local:se,fr` or `local:se=8,fr=8`: sites that are only names on this machine, for a plan to be tried
on, with the hardware threads that jobs may hold at each.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from types import FrameType
from typing import ClassVar, Self

from outweigh.backends.executors._options import system_now
from outweigh.backends.executors._places import places
from outweigh.backends.executors._process_jobs import ProcessJobs
from outweigh.core.errors import CommandNotRun, UsageError
from outweigh.data.processes import ProcessTree
from outweigh.ports import Availability, Completed
from outweigh.registry import executors

_NAME = "local"
_FORWARDED = ("SIGINT", "SIGTERM")
# Python ignores these for itself; a child expects them as a shell leaves them.
_RESTORED = ("SIGPIPE", "SIGXFSZ")


@executors.register(_NAME)
class LocalExecutor(ProcessJobs):
    """A child process that has our standard input, output and error; and, by keys, jobs that have not.

    It leads a process group of its own, so that SIGINT and SIGTERM reach all it started, once. From a terminal it
    stays in ours: there the terminal signals the whole foreground group itself, and a group of its own could not read
    what is typed. A forwarded signal does not end us; the child decides, and we report how it ended.
    """

    name: ClassVar[str] = _NAME
    simulated: ClassVar[bool] = False

    def __init__(
        self,
        sites: Mapping[str, int | None] | None = None,
        *,
        folder: Path | None = None,
        now: Callable[[], datetime] = system_now,
    ) -> None:
        super().__init__(sites, folder=folder, now=now)
        self._received: _Received | None = None

    @classmethod
    def make(cls, argument: str = "", *, folder: Path | None = None, now: Callable[[], datetime] | None = None) -> Self:
        """Sites, each with or without the hardware threads jobs may hold there: "se=8,fr"."""
        return cls(places(_NAME, argument), folder=folder, now=now or system_now)

    @classmethod
    def probe(cls) -> Availability:
        usable = hasattr(os, "posix_spawnp") and hasattr(os, "wait4")
        return Availability(
            name=_NAME,
            usable=usable,
            sees="one command on this machine, with the CPU time of its tree; jobs that outlive us",
            reason="" if usable else f"{sys.platform} has no POSIX processes",
            remedy="" if usable else "Run outweigh on Linux or macOS, or in WSL",
        )

    def run(self, command: Sequence[str]) -> Completed:
        """Run it and wait for its end.

        Args:
            command: program and arguments; the program is looked up on PATH.

        Returns:
            Exit code (128 + n when signal n ended it) and CPU time, user and system, of the command and of those of
            its descendants that were waited for [s]; what a daemon does that outlives it is not in it.
            `interrupted` is true when SIGINT or SIGTERM came in meanwhile, or ended it.

        Raises:
            CommandNotRun: there is no such command (127), or it cannot be executed (126).
            UsageError: no command was given, or this platform cannot run one.

        Source: exit codes as in POSIX.1-2017, XCU 2.8.2 (Exit Status for Commands) and GNU env; CPU time from wait4(2).
        """
        availability = self.probe()
        if not availability.usable:
            raise UsageError(f"the executor {_NAME} cannot run here: {availability.reason}", availability.remedy)
        if not command or not command[0]:
            raise UsageError(
                "there is no command to run", "Put it after --, as in: outweigh measure -- python train.py"
            )
        own_group = not _from_terminal()
        with _forwarding(own_group) as received:
            received.child = _spawn(command, own_group)
            self._received = received
            received.pass_on()
            _, status, usage = os.wait4(received.child, 0)
            received.child = None
            self._received = None
        code = os.waitstatus_to_exitcode(status)
        return Completed(
            exit_code=code if code >= 0 else 128 - code,
            cpu_s=usage.ru_utime + usage.ru_stime,
            interrupted=received.any or -code in (signal.SIGINT, signal.SIGTERM),
        )

    def signal(self, number: int) -> bool:
        """Send a signal to the command that runs and to all it started, from another thread; the run is interrupted.

        From a terminal it shares our group: there the processes that descend from it are found one by one, which
        takes /proc; elsewhere the command alone gets it.

        Returns:
            Whether there was anybody to send it to.
        """
        received = self._received
        return received is not None and received.send(number)


class _Received:
    """Signals that came in while the child ran; those from before it was there are kept for it."""

    def __init__(self, own_group: bool) -> None:
        self.child: int | None = None
        self.any = False
        self._own_group = own_group
        self._waiting: list[int] = []

    def handle(self, number: int, frame: FrameType | None) -> None:
        self.any = True
        self._waiting.append(number)
        self.pass_on()

    def pass_on(self) -> None:
        if self.child is None:
            return
        while self._waiting:
            number = self._waiting.pop(0)
            try:
                if self._own_group:
                    os.killpg(self.child, number)
                elif number != signal.SIGINT:  # the terminal has sent that one to the child already
                    os.kill(self.child, number)
            except ProcessLookupError:
                return  # it ended in between, and is about to be waited for

    def send(self, number: int) -> bool:
        """A signal of our own to the child and all it started. True when the child got it."""
        child = self.child
        if child is None:
            return False
        others = [] if self._own_group else _descendants(child)
        try:
            if self._own_group:
                os.killpg(child, number)
            else:
                os.kill(child, number)
        except ProcessLookupError:
            return False
        self.any = True
        for pid in others:
            with suppress(ProcessLookupError):
                os.kill(pid, number)
        return True


def _descendants(pid: int) -> list[int]:
    try:
        return [one for one in ProcessTree(pid).living() if one != pid]
    except UsageError:  # no /proc here, or it has just ended
        return []


@contextmanager
def _forwarding(own_group: bool) -> Iterator[_Received]:
    received = _Received(own_group)
    if threading.current_thread() is not threading.main_thread():
        yield received  # Python handles signals in the main thread only
        return
    before = {number: signal.signal(number, received.handle) for number in _numbers(_FORWARDED)}
    try:
        yield received
    finally:
        for number, handler in before.items():
            # None: a handler that was not set from Python cannot be put back.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)


def _spawn(command: Sequence[str], own_group: bool) -> int:
    arguments = list(command)
    default = _numbers(_RESTORED)
    # What we write must not come after what the child writes.
    sys.stdout.flush()
    sys.stderr.flush()
    try:
        if own_group:
            return os.posix_spawnp(arguments[0], arguments, os.environ, setpgroup=0, setsigdef=default)
        return os.posix_spawnp(arguments[0], arguments, os.environ, setsigdef=default)
    except FileNotFoundError as err:
        remedy = "Check the spelling and PATH, and the interpreter that a script's first line names"
        raise CommandNotRun(arguments[0], "command not found", 127, remedy) from err
    except OSError as err:
        problem = f"it cannot be executed ({err.strerror})"
        raise CommandNotRun(arguments[0], problem, 126, "Check that it is an executable file for this machine") from err
    except ValueError as err:  # an argument with a NUL
        raise CommandNotRun(arguments[0], f"it cannot be executed ({err})", 126, "Check its arguments") from err


def _numbers(names: Sequence[str]) -> list[signal.Signals]:
    return [signal.Signals[name] for name in names if hasattr(signal, name)]


def _from_terminal() -> bool:
    """Whether standard input is the terminal that has us in the foreground."""
    try:
        return os.tcgetpgrp(0) == os.getpgrp()
    except OSError:
        return False
