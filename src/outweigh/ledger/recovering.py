"""Runs that were cut off: found at the next start and closed with the energy seen so far."""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from outweigh.core.errors import LedgerError, RunUnreadable, UsageError
from outweigh.core.quantities import Energy
from outweigh.core.receipt import Receipt, RunStatus
from outweigh.ledger.drawn import OF_JOB
from outweigh.ledger.journal import FORMAT, RESERVE, SUFFIX, file_of, lock, started_ticks, sync_folder, writer
from outweigh.ports import ReceiptFilter, Store

_PATIENCE_S = 60.0  # how long a writer that cannot be seen may be silent
_PATIENCE_PERIODS = 12


def recover(store: Store, folder: Path) -> list[Receipt]:
    """Close the runs in `folder` whose process is gone.

    A run is closed with the last receipt its process wrote down: `interrupted`, with the energy seen so far; as
    `unusable` when it was cut off before its first reading; or with its final receipt, when only the ledger had not got
    it yet. The receipt is what the file says and nothing else, so two starters that recover at once, or one that is
    killed half-way, keep it once. What was measured inside a job whose own receipt was written meanwhile, with
    energy on it, is shown and not counted again.

    A writer is dead when no process of its boot has its pid and its start. One in another container, on another machine
    or from an earlier boot cannot be asked: it is dead when nobody holds the lock on the file, and the machine was
    started anew since, or nothing was written for a minute (or twelve periods).

    Args:
        store: the ledger the runs belong to.
        folder: `running_folder(...)`; one that is not there holds nothing.

    Returns:
        The receipts brought in, in the order of their run ids. A file that is no journal is put aside under the
        ending `.unreadable`; one of a newer outweigh is left.

    Raises:
        LedgerError: the ledger cannot be written. What was not brought in stays for the next start.
        RunUnreadable: a file cannot be looked at; all others were.
    """
    found: list[Receipt] = []
    unreadable: list[RunUnreadable] = []
    for path in sorted(folder.glob(f"*{SUFFIX}")) if folder.is_dir() else ():
        try:
            receipt = _recover_one(store, path)
        except FileNotFoundError:  # its process, or another starter, was faster
            continue
        except OSError as err:
            problem = f"a run in flight cannot be looked at ({err.strerror})"
            unreadable.append(RunUnreadable(str(path), problem, "Make it and its folder readable and writable"))
            continue
        if receipt is not None:
            found.append(receipt)
    if unreadable:
        raise unreadable[0]
    return found


@dataclass(frozen=True, slots=True)
class InFlight:
    """A run that is being measured now, by the process `pid`; `here` when that is a pid among our own processes."""

    run_id: str
    project: str
    pid: int
    here: bool


def in_flight(folder: Path) -> tuple[InFlight, ...]:
    """The runs in `folder` that processes of this machine are measuring now, those of this process too.

    A run of another machine (a folder on a shared disk) is not listed, and one that cannot be looked at is passed over.
    """
    here = writer()
    found = []
    for path in sorted(folder.glob(f"*{SUFFIX}")) if folder.is_dir() else []:
        with contextlib.suppress(OSError):
            handle = os.open(path, os.O_RDONLY)
            try:
                head = _head(handle)
                if head.get("outweigh_running") != FORMAT or not here["boot"] or head.get("boot") != here["boot"]:
                    continue
                if _is_dead(head, handle):
                    continue
            finally:
                os.close(handle)
            receipt = head.get("receipt", {})
            same = head.get("pid_namespace") == here["pid_namespace"]
            found.append(InFlight(path.stem, str(receipt.get("project", "")), int(head.get("pid") or 0), same))
    return tuple(found)


def seen_so_far(folder: Path, run_id: str) -> Receipt | None:
    """What a run in flight has noted of itself so far; None when it is over, or of a newer outweigh."""
    try:
        entries = _entries(file_of(folder, run_id))
        return Receipt.from_dict(entries[-1].get("final") or entries[-1]["receipt"]) if entries else None
    except (OSError, UsageError):
        return None


def _recover_one(store: Store, path: Path) -> Receipt | None:
    handle = os.open(path, os.O_RDWR)
    try:
        head = _head(handle)
        if "outweigh_running" not in head:
            if lock(handle) and _silent_s(handle) > _PATIENCE_S:
                with contextlib.suppress(FileNotFoundError):
                    path.rename(path.with_suffix(".unreadable"))
            return None
        if head["outweigh_running"] != FORMAT or not _is_dead(head, handle):
            return None
        entries = _entries(path)  # of a writer that is gone: they are all there will be
        try:
            receipt = Receipt.from_dict(entries[-1].get("final") or entries[-1]["receipt"])
        except UsageError:  # of a newer outweigh, which will know what to do with it
            return None
        receipt = _beside_its_job(store, receipt)
        new = _bring_in(store, receipt)
        path.with_suffix(RESERVE).unlink(missing_ok=True)
        path.unlink(missing_ok=True)
        sync_folder(path.parent)
        return receipt if new else None
    finally:
        os.close(handle)


def _beside_its_job(store: Store, receipt: Receipt) -> Receipt:
    """What was measured inside a job that was charged meanwhile: shown, and not counted again."""
    key = dict(receipt.labels).get(OF_JOB)
    if key is None or receipt.status is RunStatus.UNUSABLE:
        return receipt
    own = next((kept for _, kept in store.receipts(ReceiptFilter(run_id=key))), None)
    if own is None or own.total.value <= Energy(0.0):
        return receipt
    said = f"its job was charged before this was found (receipt {own.content_hash[:12]})"
    nothing = replace(receipt.total, value=Energy(0.0), components=(), factors=(), source=said)
    return replace(
        receipt, total=nothing, hum=None, work=None, hum_split=None, units=None,
        overlapping=(receipt.total, *receipt.overlapping),
        notes=(*receipt.notes, f"{said}: shown, and not counted again"),
    )  # fmt: skip


def _bring_in(store: Store, receipt: Receipt) -> bool:
    try:
        store.get(receipt.content_hash)
    except UsageError:
        pass
    else:
        return False
    try:
        store.append(receipt)
    except LedgerError:
        # Its process got as far as the ledger and not as far as taking the journal away.
        if any(store.receipts(ReceiptFilter(run_id=receipt.run_id))):
            return False
        raise
    return True


def _head(handle: int) -> Mapping[str, Any]:
    """The first line, where it is whole; a run that is measured for long writes many more."""
    with os.fdopen(os.dup(handle), "rb") as file:
        file.seek(0)
        line = file.readline()
    return (_entry(line) if line.endswith(b"\n") else None) or {}


def _entries(path: Path) -> list[Mapping[str, Any]]:
    """The first and the last whole line, in that order; the last may be the first, and there may be none."""
    lines = path.read_bytes().split(b"\n")[:-1]  # what follows the last line end was cut off
    first = _entry(lines[0]) if lines else None
    if first is None:
        return []
    for line in reversed(lines[1:]):
        # A power cut may leave a stretch of zeros where a line was to be.
        if (last := _entry(line)) is not None:
            return [first, last]
    return [first]


def _entry(line: bytes) -> Mapping[str, Any] | None:
    try:
        entry = json.loads(line)
    except ValueError:
        return None
    return entry if isinstance(entry, dict) and ("receipt" in entry or "final" in entry) else None


def _is_dead(head: Mapping[str, Any], handle: int) -> bool:
    here = writer()
    knows = bool(here["boot"]) and bool(here["pid_namespace"])
    same_boot = knows and head.get("boot") == here["boot"]
    if same_boot and head.get("pid_namespace") == here["pid_namespace"]:
        pid = head.get("pid")
        return not isinstance(pid, int) or started_ticks(pid) != head.get("started_ticks")
    if not lock(handle):
        return False
    if knows and not same_boot and head.get("machine") == here["machine"] != "":
        return True
    every_s = head.get("every_s")
    patience_s = _PATIENCE_PERIODS * every_s if isinstance(every_s, int | float) else 0.0
    return _silent_s(handle) > max(_PATIENCE_S, patience_s)


def _silent_s(handle: int) -> float:
    return time.time() - os.fstat(handle).st_mtime
