"""Settings of NVIDIA boards: changed for a while, written down before, and put back whatever happens."""

from __future__ import annotations

import importlib
import importlib.util
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from outweigh.core.errors import LeverError, MissingExtra
from outweigh.data.device_journal import DeviceJournal, JournalHeld
from outweigh.ports import Availability

_REMEDY = "Run: pip install 'outweigh[nvidia]'"
_NOBODY = "a board"  # which variant, where the error is not about one


class Setting(Protocol):
    """One setting of a board. The functions raise the NVML module's NVMLError."""

    @property
    def name(self) -> str:
        """The lever's."""

    def read(self, nvml: Any, board: Any) -> int:
        """What it is now, as it is put back."""

    def check(self, nvml: Any, board: Any) -> str:
        """Why the wanted value cannot be set; "" when it can."""

    def change(self, nvml: Any, board: Any) -> None: ...

    def put_back(self, nvml: Any, board: Any, former: int) -> None: ...

    def by_hand(self, former: int) -> str:
        """The command that puts it back."""


@dataclass(frozen=True, slots=True)
class Board:
    handle: Any
    uuid: str


def probe_boards(name: str, sees: str, nvml: Any = None) -> Availability:
    """Whether there are boards whose settings could be changed; nothing is changed to find out."""
    try:
        with started(name, nvml) as module:
            boards = visible(module, name)
    except MissingExtra as err:
        return Availability(name, usable=False, reason=f"not installed: {err.package}", remedy=err.remedy)
    except LeverError as err:
        return Availability(name, usable=False, reason=err.problem, remedy=err.remedy)
    permission = "changes a setting of the device: only with --allow-device-settings, and mostly as root"
    return Availability(name, usable=True, sees=f"{len(boards)} board(s), {sees}", improve=permission)


@contextmanager
def started(lever: str, nvml: Any = None) -> Iterator[Any]:
    """The NVML module, started. Raises MissingExtra, or LeverError without a driver."""
    if nvml is None:
        if importlib.util.find_spec("pynvml") is None:
            raise MissingExtra("nvidia-ml-py", lever, _REMEDY)
        nvml = importlib.import_module("pynvml")
    try:
        nvml.nvmlInit()
    except nvml.NVMLError as err:
        problem = f"there is no NVIDIA driver to talk to ({err})"
        raise LeverError(lever, _NOBODY, problem, "Leave this lever out here") from err
    try:
        yield nvml
    finally:
        nvml.nvmlShutdown()


def visible(nvml: Any, lever: str) -> list[Board]:
    """The boards this process may use, as CUDA_VISIBLE_DEVICES says; all without it.

    Raises LeverError: none, one that is not there, or a part of a board (MIG), whose settings are its neighbours' too.
    """
    try:
        handles = [nvml.nvmlDeviceGetHandleByIndex(place) for place in range(nvml.nvmlDeviceGetCount())]
        boards = [Board(handle, _text(nvml.nvmlDeviceGetUUID(handle))) for handle in handles]
    except nvml.NVMLError as err:
        problem = f"the driver answers with an error ({err})"
        raise LeverError(lever, _NOBODY, problem, "See nvidia-smi") from err
    asked = os.environ.get("CUDA_VISIBLE_DEVICES")
    chosen = boards if asked is None else [_named(each.strip(), boards, lever) for each in asked.split(",") if each]
    if not chosen:
        raise LeverError(lever, _NOBODY, "no board is visible", "Set CUDA_VISIBLE_DEVICES, or leave this lever out")
    return chosen


def _named(asked: str, boards: list[Board], lever: str) -> Board:
    if asked.startswith("MIG-"):
        problem = f"{asked} is a part of a board, and the setting is the whole board's"
        raise LeverError(lever, _NOBODY, problem, "Use a whole board")
    if asked.isdigit() and int(asked) < len(boards):
        return boards[int(asked)]
    found = [board for board in boards if asked.startswith("GPU-") and board.uuid.startswith(asked)]
    if len(found) != 1:
        problem = f"CUDA_VISIBLE_DEVICES names {asked!r}, which is no board here"
        raise LeverError(lever, _NOBODY, problem, "See nvidia-smi -L")
    return found[0]


def check(setting: Setting, variant: str, nvml: Any = None) -> None:
    """Raises LeverError when the wanted value cannot be set on a visible board. Changes nothing."""
    with started(setting.name, nvml) as module:
        for board in visible(module, setting.name):
            try:
                why_not = setting.check(module, board.handle)
            except module.NVMLError as err:
                problem = f"{board.uuid} does not have this setting ({err})"
                raise LeverError(setting.name, variant, problem, "Leave this lever out here") from err
            if why_not:
                raise LeverError(setting.name, variant, why_not, "Give a value within its limits: nvidia-smi -q")


@contextmanager
def in_force(setting: Setting, nvml: Any = None) -> Iterator[None]:
    """The setting, on all visible boards; on leaving, what it was before.

    What it was is on disk before anything is changed. Should the process be killed, `restore` puts it back, as does the
    next one that changes this setting.

    Raises:
        LeverError: it cannot be written down, changed or put back; or another process holds it.
    """
    with started(setting.name, nvml) as module, _journal(setting.name) as journal:
        _restore(setting, module, journal)
        boards = visible(module, setting.name)
        try:
            former = {board.uuid: setting.read(module, board.handle) for board in boards}
        except module.NVMLError as err:
            problem = f"it cannot be read ({err})"
            raise LeverError(setting.name, _NOBODY, problem, "Leave this lever out here") from err
        _written(setting.name, journal, former)
        try:
            for place, board in enumerate(boards):
                _changed(setting, module, board, journal, {each.uuid: former[each.uuid] for each in boards[:place]})
            yield
        finally:
            _restore(setting, module, journal)


def restore(setting: Setting, nvml: Any = None) -> tuple[str, ...]:
    """Put back what a killed run left changed; says what was done. Nothing where another process holds it now."""
    try:
        with _journal(setting.name) as journal:
            if not _former(setting.name, journal):
                return ()
            with started(setting.name, nvml) as module:
                return _restore(setting, module, journal)
    except _InUse:
        return ()


class _InUse(LeverError):
    """Another process holds the setting."""


@contextmanager
def _journal(lever: str) -> Iterator[DeviceJournal]:
    with ExitStack() as stack:
        try:
            journal = stack.enter_context(DeviceJournal(lever))
        except JournalHeld as err:
            problem = "another process has this setting changed at the moment"
            raise _InUse(lever, _NOBODY, problem, "Wait for it to end") from err
        except (OSError, RuntimeError) as err:
            problem = f"what it was cannot be written down ({err})"
            raise LeverError(lever, _NOBODY, problem, "Name a folder in OUTWEIGH_STATE that can be written") from err
        yield journal


def _former(lever: str, journal: DeviceJournal) -> dict[str, int]:
    try:
        return journal.former()
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as err:
        problem = f"{journal.path} cannot be read ({err})"
        raise LeverError(lever, _NOBODY, problem, "Check the setting with nvidia-smi -q, then delete the file") from err


def _written(lever: str, journal: DeviceJournal, former: dict[str, int]) -> None:
    try:
        journal.write(former)
    except OSError as err:
        problem = f"what it was cannot be written down ({err.strerror or err}), so it is not changed"
        raise LeverError(lever, _NOBODY, problem, "Free some space, or name a folder in OUTWEIGH_STATE") from err


def _changed(setting: Setting, nvml: Any, board: Board, journal: DeviceJournal, changed: dict[str, int]) -> None:
    try:
        setting.change(nvml, board.handle)
    except nvml.NVMLError as err:
        # Who may not change it may not put it back either: only what was changed is to be put back.
        _written(setting.name, journal, changed)
        problem = f"{board.uuid} does not let it be changed ({err})"
        raise LeverError(setting.name, _NOBODY, problem, "It takes root, or a driver set to allow it") from err


def _restore(setting: Setting, nvml: Any, journal: DeviceJournal) -> tuple[str, ...]:
    """Put back every board that the journal names, even after one has failed; then clear it."""
    former = _former(setting.name, journal)
    if not former:
        return ()
    done, failed = [], []
    present: dict[str, Any] = {}
    try:
        handles = [nvml.nvmlDeviceGetHandleByIndex(place) for place in range(nvml.nvmlDeviceGetCount())]
        present = {_text(nvml.nvmlDeviceGetUUID(handle)): handle for handle in handles}
    except nvml.NVMLError as err:
        failed.append(f"the driver answers with an error ({err})")
    for uuid, value in former.items():
        try:
            if uuid in present:
                setting.put_back(nvml, present[uuid], value)
                done.append(f"{setting.name}: {uuid} is back at what it was ({setting.by_hand(value)})")
            else:
                failed.append(f"{uuid} is not here")
        except nvml.NVMLError as err:
            failed.append(f"{uuid}: {err}")
    if failed:
        commands = "; ".join(f"{uuid}: {setting.by_hand(value)}" for uuid, value in former.items())
        problem = f"what it was could not be put back ({'; '.join(failed)})"
        raise LeverError(setting.name, _NOBODY, problem, f"Put it back by hand, as root: {commands}")
    try:
        journal.clear()
    except OSError as err:
        problem = f"it is put back, but {journal.path} cannot be cleared ({err.strerror or err})"
        raise LeverError(setting.name, _NOBODY, problem, "Delete the file") from err
    return tuple(done)


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value
