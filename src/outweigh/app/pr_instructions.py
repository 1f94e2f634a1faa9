"""CPU instructions of a stretch of this process, where the kernel and the machine count them.

Virtual machines, hosted runners among them, mostly do not. Only user-mode instructions are asked for, of this thread
and of every thread started while counting, which perf_event_paranoid = 2 (the usual setting) allows.

Source: perf_event_open(2): PERF_TYPE_HARDWARE, PERF_COUNT_HW_INSTRUCTIONS, the bits `inherit`, `exclude_kernel` and
`exclude_hv`, pid = 0 and cpu = -1; arch/x86/entry/syscalls/syscall_64.tbl (298), and the generic table (241).
"""

from __future__ import annotations

import os
import struct
from types import TracebackType
from typing import Self

from outweigh.core.errors import MeterUnavailable

_SYSCALL = {"x86_64": 298, "aarch64": 241}
_ATTRIBUTES = struct.Struct("=IIQQQQQIIQ")  # perf_event_attr in its first edition, 64 bytes, which every kernel takes
_INHERIT, _EXCLUDE_KERNEL, _EXCLUDE_HV = 1 << 1, 1 << 5, 1 << 6
_CLOSE_ON_EXEC = 8
INSTRUCTIONS = (0, 1)  # PERF_TYPE_HARDWARE, PERF_COUNT_HW_INSTRUCTIONS


class CountedInstructions:
    """`with CountedInstructions() as counted: ...`, then `counted.value`.

    Threads that ran before are not seen: load what is to be counted inside.

    Args:
        event: (type, config) of perf; CPU instructions by default.

    Raises:
        MeterUnavailable: on entering, where nothing counts them, with the kernel's reason.
    """

    def __init__(self, event: tuple[int, int] = INSTRUCTIONS) -> None:
        self._event = event
        self._file = -1
        self.value = 0

    def __enter__(self) -> Self:
        import ctypes  # here: most runs never come to this

        number = _SYSCALL.get(os.uname().machine) if hasattr(os, "uname") else None
        if number is None or os.uname().sysname != "Linux":
            raise MeterUnavailable("CPU instructions", "they are counted on Linux alone", "Weigh on a Linux machine")
        kind, config = self._event
        flags = _INHERIT | _EXCLUDE_KERNEL | _EXCLUDE_HV
        attributes = _ATTRIBUTES.pack(kind, _ATTRIBUTES.size, config, 0, 0, 0, flags, 0, 0, 0)
        kernel = ctypes.CDLL(None, use_errno=True)
        kernel.syscall.restype = ctypes.c_long
        self._file = kernel.syscall(
            ctypes.c_long(number), attributes, ctypes.c_int(0), ctypes.c_int(-1), ctypes.c_int(-1),
            ctypes.c_ulong(_CLOSE_ON_EXEC),
        )  # fmt: skip
        if self._file < 0:
            reason = f"the kernel does not count them here ({os.strerror(ctypes.get_errno())})"
            remedy = "Weigh on a machine of your own; on it, kernel.perf_event_paranoid = 2 or less"
            raise MeterUnavailable("CPU instructions", reason, remedy)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        try:
            self.value = int.from_bytes(os.read(self._file, 8), "little")
        finally:
            os.close(self._file)
