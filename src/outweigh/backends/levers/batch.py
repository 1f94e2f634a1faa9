"""How many items are computed at once."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from outweigh.backends.levers._making import levered, spelled, whole
from outweigh.core.variant import Variant
from outweigh.ports import Availability
from outweigh.registry import levers

_NAME = "batch"
_OTHERWISE = 8


@levers.register(_NAME)
class Batch:
    """Let the task hand the model N items at once ("batch:8", which is the default).

    Nothing is made: the variant's option `batch` is set. Energy per item falls where a runtime shares out fixed work,
    and rises where short texts are padded to the longest; latency of an item becomes that of its batch.
    """

    name: ClassVar[str] = _NAME

    def __init__(self, items: str = "") -> None:
        self._items = items

    @classmethod
    def probe(cls) -> Availability:
        return Availability(_NAME, usable=True, sees="any variant; how many items are computed at once")

    def apply(self, variant: Variant, workdir: Path) -> Variant:
        """Raises LeverError when the argument is no whole number of 1 or more."""
        items = whole(self._items, _NAME, variant, 1, otherwise=_OTHERWISE)
        return levered(variant, spelled(_NAME, self._items), options={"batch": items})
