"""What a server was started with, as plain data, so that each of several workers can open the same."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

#: The environment variable that tells a worker where its settings lie. They may hold a database's password, which an
#: environment would show to whoever may list processes: a file of mode 0600 does not.
VARIABLE = "OUTWEIGH_SERVE_SETTINGS"


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that a worker needs to know.

    Attributes:
        folder: of the project.
        ledger: path or URL; "" is the project's.
        fleet: folder of a fleet's samples; "" where there is none.
        sources, files, archive, declared, demo: as `open_answers`.
        wide: whether others than this machine can connect.
        names: host names that requests may be for, beside those of this machine.
        per_minute: requests a token or an address may make in a minute, of one worker; 0 without limit.
    """

    folder: str
    ledger: str = ""
    fleet: str = ""
    sources: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    archive: str = ""
    declared: tuple[str, ...] = ()
    demo: bool = False
    wide: bool = False
    names: tuple[str, ...] = ()
    per_minute: int = 1200

    def keep(self, path: Path) -> None:
        """Write them where only this user can read."""
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump(asdict(self), file)

    @staticmethod
    def kept(path: Path) -> Settings:
        body: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        read: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in body.items()
        }
        return Settings(**read)
