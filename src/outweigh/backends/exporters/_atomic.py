"""Writing a file whole or not at all."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path

from outweigh.core.errors import OutputError


def write_text(path: Path, text: str) -> None:
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
        # mkstemp makes it private to its owner; a report is meant to be read.
        temporary.chmod(0o644)
        temporary.replace(path)
    except OSError as err:
        if temporary is not None:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
        reason = err.strerror or type(err).__name__
        raise OutputError(str(path), reason, "Give a folder that exists, is writable and has room") from err
