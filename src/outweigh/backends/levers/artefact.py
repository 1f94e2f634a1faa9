"""A variant that another tool made: Olive, NNCF, ModelOpt, llm-compressor, or people."""

from __future__ import annotations

import re
from pathlib import Path
from typing import ClassVar

from outweigh.backends.levers._making import digest, levered, without_weights
from outweigh.core.errors import LeverError
from outweigh.core.variant import Variant
from outweigh.ports import Availability
from outweigh.registry import levers

_NAME = "artefact"
_PIN = "#sha256="


@levers.register(_NAME)
class Artefact:
    """Put a file or folder in the model's place: "artefact:made/int8.onnx#sha256=<64 digits>".

    The path starts at the folder of energy.toml, or is `package:DISTRIBUTION/path/inside`. With a pin, another content
    is refused; without one, what was found is written into the variant's levers, from where it can be copied. A
    folder's SHA-256 is that of the names and digests of all its files. Nothing is copied and nothing is unpacked: what
    it took to make is not known here, so its charge is only that of looking, and its break-even leaves that out.
    """

    name: ClassVar[str] = _NAME
    #: The argument is a path: who knows the project's folder looks it up.
    takes_path: ClassVar[bool] = True
    needs_argument: ClassVar[bool] = True

    def __init__(self, path: str = "") -> None:
        self._path = path

    @classmethod
    def probe(cls) -> Availability:
        return Availability(_NAME, usable=True, sees="any file or folder that the task can run")

    def apply(self, variant: Variant, workdir: Path) -> Variant:
        """Raises LeverError when there is no path, nothing lies there, or it is not what was pinned."""
        path, _, pin = self._path.partition(_PIN)
        if not path:
            raise LeverError(_NAME, variant.name, "it has no path", "Write artefact:PATH")
        if pin and not re.fullmatch(r"[0-9a-f]{64}", pin):
            raise LeverError(_NAME, variant.name, f"{pin!r} is no SHA-256", "Give 64 hexadecimal digits, lower case")
        try:
            found = digest(Path(path))
        except OSError as err:
            problem = f"{path} cannot be read ({err.strerror})"
            raise LeverError(_NAME, variant.name, problem, "Check the path") from err
        if pin and found != pin:
            problem = f"{Path(path).name} is not what was pinned: its SHA-256 is {found}"
            raise LeverError(_NAME, variant.name, problem, "Bring the pinned one back, or pin this one knowingly")
        return levered(without_weights(variant), f"{_NAME}:{Path(path).name}{_PIN}{found}", model=Path(path))
