"""What a device's settings were before they were changed, written down first, so that no kill leaves them changed.

One small file for each lever that changes settings, `$OUTWEIGH_STATE` or `outweigh` below `$XDG_STATE_HOME`
(~/.local/state without it). Whoever changes a setting holds the file's lock until it is back as it was; a file that is
not empty and that nobody holds is what a killed run left behind.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import IO

_SCHEMA = 1


class JournalHeld(Exception):
    """Another process holds the journal: the setting is changed at this moment."""


def state_folder() -> Path:
    """Where what outlives a run is kept: OUTWEIGH_STATE, else outweigh in the user's folder for state."""
    given = os.environ.get("OUTWEIGH_STATE", "")
    if given:
        return Path(given)
    home = os.environ.get("XDG_STATE_HOME", "")
    # The XDG base directory specification: a relative path in the variable is to be ignored.
    base = Path(home) if home and Path(home).is_absolute() else Path.home() / ".local" / "state"
    return base / "outweigh"


def left_behind() -> tuple[str, ...]:
    """Levers whose journal is not empty: in force now, or left by a run that was killed."""
    try:
        found = sorted(state_folder().glob("device-*.json"))
        return tuple(each.stem.removeprefix("device-") for each in found if each.stat().st_size > 0)
    except (OSError, RuntimeError):  # no folder, or no home
        return ()


class DeviceJournal:
    """The journal of one lever, held by this process: board -> what its setting was.

    Use it as a context manager. Entering raises OSError where it cannot be opened or locked here, and JournalHeld
    where another process has it.
    """

    def __init__(self, lever: str) -> None:
        self._path = state_folder() / f"device-{lever}.json"
        self._file: IO[str] | None = None

    def __enter__(self) -> DeviceJournal:
        try:
            import fcntl
        except ImportError as err:
            raise OSError(None, "this system has no locks that end with their process") from err
        self._path.parent.mkdir(parents=True, exist_ok=True)
        file = self._path.open("a+", encoding="utf-8")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as err:
            file.close()
            raise JournalHeld(str(self._path)) from err
        except OSError:
            file.close()
            raise
        self._file = file
        return self

    def __exit__(self, *error: object) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def former(self) -> dict[str, int]:
        """What was written and not yet cleared. Raises OSError or ValueError when it cannot be read."""
        file = self._open
        file.seek(0)
        text = file.read()
        if not text:
            return {}
        held = json.loads(text)
        if held.get("schema") != _SCHEMA:
            raise ValueError(f"{self._path} is of another version")
        return {str(board): int(value) for board, value in held["former"].items()}

    def write(self, former: Mapping[str, int]) -> None:
        """Durable when it returns. Raises OSError."""
        self._replace(json.dumps({"schema": _SCHEMA, "former": dict(former)}) if former else "")

    def clear(self) -> None:
        """All is as it was. Raises OSError."""
        self._replace("")

    @property
    def path(self) -> Path:
        return self._path

    @property
    def _open(self) -> IO[str]:
        if self._file is None:
            raise OSError(None, "the journal is not open")
        return self._file

    def _replace(self, text: str) -> None:
        file = self._open
        file.seek(0)
        file.truncate()
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
