"""Runs in flight: what a measuring process has seen so far, kept where a killed process leaves it behind.

Each run has a file `running/RUN_ID.jsonl` of its own. Its first line says who writes (process, boot, machine); every
line holds a whole receipt of the run as it would be if the process died now. Only the last whole line counts, so a line
torn by a crash costs one entry. `recover` closes the files of dead writers.

    with RunJournal(folder, run_id, project="triage", ...) as journal:
        ...
        journal.seen(total, hum, work)      # as often as you like: written every few seconds
        address = journal.finish(store, receipt)

**What is flushed**: the file and its name when the run begins, and every entry (fsync) before `seen` returns. A kill
loses what was drawn since the last entry, at most `every_s` seconds; so does a power cut, where the disk honours a
flush. `finish` writes the final receipt here first, so that a kill between the two costs nothing.

**When the disk fills up meanwhile**: `RUN_ID.reserve` beside it holds the room that the final receipt will need, and is
given up for it. The ledger may then refuse the receipt, and the next start with room brings it in.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import re
import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from outweigh.core.budget import Phase
from outweigh.core.errors import LedgerError, UsageError
from outweigh.core.intervals import Interval
from outweigh.core.measurement import Grade, Measurement, Method, Scope
from outweigh.core.quantities import Energy
from outweigh.core.receipt import Receipt, RunStatus
from outweigh.ledger.opening import FOLDER
from outweigh.ports import Store

FORMAT = 1
SUFFIX = ".jsonl"
RESERVE = ".reserve"
_RESERVE_B = 64 * 1024
_RUN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_MAKE_ROOM = "Free some space, or make the folder writable; the measurement itself goes on"


def running_folder(root: Path) -> Path:
    """Where the runs in flight of the project in folder `root` are kept.

    >>> running_folder(Path("triage")).as_posix()
    'triage/.outweigh/running'
    """
    return root / FOLDER / "running"


class RunJournal:
    """The journal of one run, open from its first second to its receipt. Thread-safe; silent in a forked child.

    Args:
        folder: `running_folder(...)`; made when it is missing, its parent must exist.
        run_id: the id the receipt will have; letters, digits, dot, dash and underscore.
        started: when the run began; the clock's time when None.
        every_s: least time between two entries [s].

    The other arguments are the receipt's fields, as they hold for an interrupted run.

    Raises:
        UsageError: the run id cannot be a file name.
        LedgerError: the file is there already or cannot be written. Nothing was measured yet.
    """

    def __init__(
        self,
        folder: Path,
        run_id: str,
        *,
        project: str,
        phase: Phase,
        meter: str,
        scope: Scope,
        grade: Grade,
        method: Method,
        source: str,
        batch: str = "",
        variant: str = "",
        variant_hash: str = "",
        round_index: int | None = None,
        unit: str = "",
        labels: Mapping[str, str] | None = None,
        versions: Iterable[tuple[str, str]] = (),
        started: datetime | None = None,
        every_s: float = 5.0,
    ) -> None:
        self.path = file_of(folder, run_id)
        self.run_id = run_id
        self.trouble: LedgerError | None = None
        self._every_s = every_s
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._next_s = time.monotonic() + every_s
        begun = started or datetime.now(UTC)
        unseen = Measurement(Energy(0.0), Interval(begun, begun), scope, grade, method, source)
        self._receipt = Receipt(
            run_id=run_id,
            project=project,
            phase=phase,
            # Nothing was read yet, and an energy nobody saw is not zero.
            status=RunStatus.UNUSABLE,
            total=unseen,
            hum=None,
            work=None,
            batch=batch,
            variant=variant,
            variant_hash=variant_hash,
            round_index=round_index,
            unit=unit,
            meter=meter,
            versions=tuple(sorted(versions)),
            labels=tuple(sorted((labels or {}).items())),
            notes=("the measuring process was gone before its first reading",),
        )
        self._handle = self._begin()

    def seen(
        self,
        total: Measurement,
        hum: Measurement | None = None,
        work: Measurement | None = None,
        *,
        units: float | None = None,
        notes: tuple[str, ...] = (),
    ) -> bool:
        """Note what the run has drawn since it began; True when it was written and flushed.

        Between two entries it returns at once. A full disk does not stop the run: `trouble` says what went wrong,
        the entry before stays, and the next call tries again.
        """
        now_s = time.monotonic()
        if now_s < self._next_s or os.getpid() != self._pid:
            return False
        said = f"the measuring process was gone; energy up to its last note, made every {self._every_s:g} s"
        entry = replace(
            self._receipt,
            status=RunStatus.INTERRUPTED,
            total=total,
            hum=hum,
            work=work,
            units=units,
            notes=(*notes, said),
        )
        with self._lock:
            self._next_s = now_s + self._every_s
            try:
                self._write({"receipt": entry.to_dict()})
            except LedgerError as err:
                self.trouble = err
                return False
            self.trouble = None
        return True

    def finish(self, store: Store, receipt: Receipt) -> str:
        """Keep the final receipt in the ledger and take the journal away; returns its address.

        Raises:
            UsageError: the receipt is of another run.
            LedgerError: the ledger did not take it. The journal stays, and `recover` will bring the receipt in.
        """
        if receipt.run_id != self.run_id:
            raise UsageError(
                f"the receipt is of run {receipt.run_id}, the journal of {self.run_id}",
                "Give the receipt the journal's run id",
            )
        with self._lock:
            try:
                self._write_final(receipt)
            except LedgerError as err:
                self.trouble = err  # the ledger itself comes next, and it may be on another disk
            else:
                self.trouble = None
        address = store.append(receipt)
        self.close()
        return address

    def close(self) -> None:
        """Take the journal away: the run's receipt is in the ledger, or there is none to be."""
        if os.getpid() != self._pid:
            return
        with self._lock:
            self._let_go()
            self._give_up_reserve()
            self.path.unlink(missing_ok=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        # The file stays unless `finish` or `close` took it: somebody's energy is in it.
        if os.getpid() == self._pid:
            with self._lock:
                self._let_go()

    # --- the file -----------------------------------------------------------------------------------

    def _begin(self) -> int:
        try:
            self.path.parent.mkdir(exist_ok=True)
            handle = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o644)
        except FileExistsError as err:
            raise LedgerError(str(self.path), "a run of this id is in flight or was cut off", "Use a new id") from err
        except OSError as err:
            raise LedgerError(
                str(self.path), f"the run cannot be journalled ({err.strerror})", f"Make {self.path.parent} writable"
            ) from err
        lock(handle)
        self._handle = handle
        try:
            head = {"outweigh_running": FORMAT, "every_s": self._every_s, **writer()}
            self._write({**head, "receipt": self._receipt.to_dict()})
            sync_folder(self.path.parent)
        except LedgerError:
            self._let_go()
            self.path.unlink(missing_ok=True)
            raise
        self._reserve()
        return handle

    def _reserve(self) -> None:
        """Hold the room of the final receipt. A disk that has none left has none to reserve: the run goes on."""
        with contextlib.suppress(OSError):
            self.path.with_suffix(RESERVE).write_bytes(bytes(_RESERVE_B))

    def _give_up_reserve(self) -> None:
        with contextlib.suppress(OSError):
            self.path.with_suffix(RESERVE).unlink(missing_ok=True)

    def _write_final(self, receipt: Receipt) -> None:
        try:
            self._write({"final": receipt.to_dict()})
        except LedgerError:
            self._give_up_reserve()
            self._write({"final": receipt.to_dict()})

    def _write(self, entry: Mapping[str, Any]) -> None:
        line = json.dumps(entry, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode() + b"\n"
        if self._handle < 0:
            raise LedgerError(str(self.path), "the journal is closed", "Open one for each run")
        try:
            before = os.fstat(self._handle).st_size
            try:
                if os.write(self._handle, line) < len(line):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                os.fsync(self._handle)
            except OSError:
                # Half a line would spoil the next one as well.
                with contextlib.suppress(OSError):
                    os.ftruncate(self._handle, before)
                raise
        except OSError as err:
            raise LedgerError(str(self.path), f"the run cannot be journalled ({err.strerror})", _MAKE_ROOM) from err

    def _let_go(self) -> None:
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1


def file_of(folder: Path, run_id: str, suffix: str = SUFFIX) -> Path:
    """The file of a run in `folder`. Raises UsageError for an id that cannot be a file name."""
    if not _RUN_ID.fullmatch(run_id):
        raise UsageError(
            f"{run_id[:40]!r} cannot name a file", "Make run ids of letters, digits, dot, dash, underscore"
        )
    return folder / f"{run_id}{suffix}"


def sync_folder(folder: Path) -> None:
    """A new name outlives a power cut only when the folder it stands in is flushed too."""
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


# --- who writes ---------------------------------------------------------------------------------------


def writer(pid: int | None = None) -> dict[str, Any]:
    """What tells this process from any other: pid, its start, its boot and pid namespace, and the machine (hashed)."""
    pid = os.getpid() if pid is None else pid
    namespace = ""
    with contextlib.suppress(OSError):
        namespace = str(Path(f"/proc/{pid}/ns/pid").readlink())
    machine = _text("/etc/machine-id")
    return {
        "pid": pid,
        "started_ticks": started_ticks(pid),
        "boot": _text("/proc/sys/kernel/random/boot_id"),
        "pid_namespace": namespace,
        "machine": hashlib.sha256(machine.encode()).hexdigest()[:16] if machine else "",
    }


def started_ticks(pid: int) -> int | None:
    """When a process started [clock ticks since boot]; None when there is none, or only what its parent has not reaped.

    A pid is used again, but not with the same start. Source: proc_pid_stat(5), fields 3 and 22.
    """
    found = _text(f"/proc/{pid}/stat")
    # The name, field 2, may hold spaces and brackets: what follows its last bracket is regular.
    fields = found.rpartition(")")[2].split()
    return None if len(fields) < 20 or fields[0] in ("Z", "X") else int(fields[19])


def lock(handle: int) -> bool:
    """Take the file for this process, which holds it until it ends; False when another one has it.

    Where there are no such locks (not POSIX, some network file systems) it is nobody's, and False too.
    """
    try:
        import fcntl
    except ImportError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _text(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""
