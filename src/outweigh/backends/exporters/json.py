"""`review.json`: the document itself, at full precision."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from outweigh.backends.exporters._atomic import write_text
from outweigh.registry import exporters


@exporters.register("json")
class JsonExporter:
    """The report document as it is: keys in reading order, two spaces, NaN refused (ValueError)."""

    name: ClassVar[str]

    def text(self, model: Mapping[str, object]) -> str:
        """The document as text."""
        return json.dumps(model, indent=2, allow_nan=False, ensure_ascii=False) + "\n"

    def write(self, model: Mapping[str, object], path: Path) -> None:
        """Raises OutputError when the file cannot be written."""
        write_text(path, self.text(model))
