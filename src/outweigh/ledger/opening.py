"""Where the ledger is, and which store opens it."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Protocol, cast

from outweigh.core.errors import LedgerError, UsageError
from outweigh.ports import Store
from outweigh.registry import stores

FOLDER = ".outweigh"


class _Opens(Protocol):
    def open(self, location: str, *, create: bool) -> Store: ...


def default_path(root: Path) -> Path:
    """Where the ledger of the project in folder `root` is kept.

    >>> default_path(Path("triage")).as_posix()
    'triage/.outweigh/ledger.sqlite'
    """
    return root / FOLDER / "ledger.sqlite"


def open_ledger(location: str | Path, *, create: bool = True) -> Store:
    """The ledger at a path (or `sqlite:///path`), or at the URL of a store whose name is the URL's scheme.

    Args:
        location: path or URL. Our own folder `.outweigh` is made when it is missing; any other folder must exist,
            so that a slip of the pen does not start a second ledger.
        create: start a ledger where there is none, and make sure at once that it can be written; False only reads.

    Raises:
        UsageError: no store has that scheme.
        LedgerError: it cannot be opened (missing, not writable, not a ledger, from a newer outweigh).
    """
    scheme, path = _split(location)
    known = stores.names()
    if scheme not in known:
        # The URL itself stays out of the message: it may hold a password.
        raise UsageError(
            f"no store opens {scheme}:// ledgers; there is {', '.join(known)}",
            "Give the path of a file, or install the store",
        )
    opener = cast("_Opens", stores.get(scheme))
    if scheme == "sqlite":
        if create:
            _make_own_folder(Path(path))
        return opener.open(path, create=create)
    return opener.open(str(location), create=create)


def _split(location: str | Path) -> tuple[str, str]:
    text = str(location)
    found = re.match(r"([A-Za-z][A-Za-z0-9.-]+)(\+[\w.-]+)?://(.*)", text) if isinstance(location, str) else None
    if found is None:
        return "sqlite", text
    scheme, rest = found[1].lower(), found[3]
    if scheme != "sqlite":
        return scheme, text
    if not rest.startswith("/") or rest == "/":
        raise UsageError(f"{text} names no file", "Write sqlite:///relative/path or sqlite:////absolute/path")
    return scheme, rest[1:]


def _make_own_folder(path: Path) -> None:
    folder = path.parent
    if folder.name != FOLDER or folder.exists():
        return
    try:
        folder.mkdir(exist_ok=True)
        # A new folder outlives a power cut only when the folder it stands in is flushed too.
        if os.name == "posix":
            handle = os.open(folder.parent, os.O_RDONLY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)
    except OSError as err:
        raise LedgerError(
            str(path),
            f"its folder cannot be made ({err.strerror})",
            f"Make {folder} writable, or keep the ledger elsewhere",
        ) from err
