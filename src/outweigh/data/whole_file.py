"""Writing a file whole or not at all."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path

from outweigh.core.errors import OutputError

_REMEDY = "Give a folder that exists, is writable and has room"


def make_folder(path: Path, remedy: str) -> None:
    """Make `path` and what it lies in. Raises OutputError."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as err:
        raise OutputError(str(path), err.strerror or type(err).__name__, remedy) from err


def write_whole(path: Path, text: str, *, mode: int = 0o600, remedy: str = _REMEDY) -> None:
    """Replace `path` by `text` (UTF-8) in one step: a reader sees the old file or the new one, never half of it.

    Raises:
        OutputError: the folder is missing, not writable or full; what was there before is untouched.
    """
    temporary: Path | None = None
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
        temporary = Path(name)
        with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(mode)
        temporary.replace(path)
        temporary = None
    except OSError as err:
        raise OutputError(str(path), err.strerror or type(err).__name__, remedy) from err
    finally:
        if temporary is not None:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
