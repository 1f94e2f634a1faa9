"""How far ONNX Runtime rewrites a graph when it loads it."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from outweigh.backends.levers._making import levered, needs_onnx, onnx_file, spelled
from outweigh.core.errors import LeverError
from outweigh.core.variant import Variant
from outweigh.ports import Availability
from outweigh.registry import levers

_NAME = "graph"
LEVELS = ("disabled", "basic", "extended", "all")


@levers.register(_NAME)
class Graph:
    """Set how far ONNX Runtime optimises the graph: "graph:disabled", "basic", "extended" or "all" (the default).

    Nothing is made: the variant's option `graph` is set, and each level holds what the one before it does. ONNX Runtime
    does "all" unless told otherwise, so the lower levels show what that is worth.
    """

    name: ClassVar[str] = _NAME

    def __init__(self, level: str = "") -> None:
        self._level = level

    @classmethod
    def probe(cls) -> Availability:
        return needs_onnx(_NAME, f"ONNX models on ONNX Runtime; levels {', '.join(LEVELS)}")

    def apply(self, variant: Variant, workdir: Path) -> Variant:
        """Raises LeverError for another level, a torch model, or a variant that runs elsewhere."""
        onnx_file(variant, _NAME)
        level = self._level or "all"
        if level not in LEVELS:
            raise LeverError(_NAME, variant.name, f"there is no level {level!r}", f"Give one of {', '.join(LEVELS)}")
        runtime = variant.option("runtime", "onnxruntime")
        if runtime != "onnxruntime":
            problem, remedy = f"it runs on {runtime}, which has no such levels", "Leave it out, or use onnxruntime"
            raise LeverError(_NAME, variant.name, problem, remedy)
        return levered(variant, spelled(_NAME, self._level), options={"graph": level})
