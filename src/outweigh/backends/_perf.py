"""Counting events of the kernel's perf subsystem: what sysfs says of a PMU, and the one system call a meter needs.

A counting event that is bound to a processor and to no process counts for the whole machine from the moment it is
opened. It needs CAP_PERFMON or perf_event_paranoid at 0 or below. The kernel extends the hardware's counter to 64
bits, so that it does not wrap.

Sources: perf_event_open(2) (attributes, PERF_ATTR_SIZE_VER0, permissions, eight bytes a read); Linux
Documentation/ABI/testing/sysfs-bus-event_source-devices-events (event, scale, unit), ...-devices-format, and
Documentation/admin-guide/perf-security.rst; arch/x86/entry/syscalls/syscall_64.tbl (298).
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from outweigh.backends._files import text_of

# type, size, config, sample_period, sample_type, read_format, flags, wakeup_events, bp_type, config1: the first and
# shortest edition of perf_event_attr, which every kernel takes. Without flags it counts at once, in every mode.
_ATTRIBUTES = struct.Struct("=IIQQQQQIIQ")
_COUNT = struct.Struct("=Q")
_SYSCALL = {"x86_64": 298, "aarch64": 241}
_CLOSE_ON_EXEC = 8  # PERF_FLAG_FD_CLOEXEC
_ANY, _NO_GROUP = -1, -1


@dataclass(frozen=True, slots=True)
class Event:
    """One event of a PMU; `scale` turns a count into `unit`."""

    name: str
    config: int
    scale: float
    unit: str


@dataclass(frozen=True, slots=True)
class Pmu:
    """A unit that counts. `cpus` are the processors its events are opened on, one for each place that counts."""

    type: int
    cpus: tuple[int, ...]
    events: tuple[Event, ...]


class Door(Protocol):
    """How an event is opened and read. A file descriptor of perf answers read() alone, not pread()."""

    def open(self, pmu: Pmu, event: Event, cpu: int) -> int:
        """A file descriptor. Raises OSError, of it PermissionError where the kernel does not let us."""

    def read(self, file: int) -> bytes:
        """Eight bytes, in the machine's order."""


class KernelDoor:
    """The system call itself."""

    def open(self, pmu: Pmu, event: Event, cpu: int) -> int:
        import ctypes  # here: most runs never come to this

        number = _SYSCALL.get(os.uname().machine)
        if number is None:
            raise OSError(f"the number of perf_event_open on {os.uname().machine} is not known")
        kernel = ctypes.CDLL(None, use_errno=True)
        kernel.syscall.restype = ctypes.c_long
        attributes = _ATTRIBUTES.pack(pmu.type, _ATTRIBUTES.size, event.config, 0, 0, 0, 0, 0, 0, 0)
        file = kernel.syscall(
            ctypes.c_long(number),
            attributes,
            ctypes.c_int(_ANY),
            ctypes.c_int(cpu),
            ctypes.c_int(_NO_GROUP),
            ctypes.c_ulong(_CLOSE_ON_EXEC),
        )
        if file < 0:
            failed = ctypes.get_errno()
            raise OSError(failed, os.strerror(failed), f"perf event {event.name} of processor {cpu}")
        return int(file)

    def read(self, file: int) -> bytes:
        return os.read(file, _COUNT.size)


def read_count(door: Door, file: int) -> int | None:
    """Counts since the event was opened; None when it does not answer (its processor was switched off)."""
    try:
        (count,) = _COUNT.unpack(door.read(file))
    except (OSError, struct.error):
        return None
    return int(count)


def find_pmu(folder: Path) -> Pmu | None:
    """The unit that `folder` describes; None when there is none, or it does not say where it counts."""
    kind, cpus = text_of(folder / "type"), _numbers(text_of(folder / "cpumask"))
    if not kind.isdigit() or not cpus:
        return None
    events = []
    for path in sorted((folder / "events").glob("*")):
        # event=0x02; an event of more terms than this one is not for us to put together.
        term, _, code = text_of(path).partition("=")
        scale = text_of(folder / "events" / f"{path.name}.scale")
        if "." in path.name or term != "event" or not scale:
            continue
        try:
            event = Event(path.name, int(code, 0), float(scale), text_of(folder / "events" / f"{path.name}.unit"))
        except ValueError:
            continue
        events.append(event)
    return Pmu(int(kind), cpus, tuple(events))


def _numbers(text: str) -> tuple[int, ...]:
    """
    >>> _numbers("0,18-19")
    (0, 18, 19)
    """
    found: list[int] = []
    for part in filter(None, text.split(",")):
        first, _, last = part.partition("-")
        if not first.isdigit() or not (last or first).isdigit():
            return ()
        found += range(int(first), int(last or first) + 1)
    return tuple(found)
