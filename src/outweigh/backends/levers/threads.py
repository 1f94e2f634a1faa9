"""How many threads compute."""

from __future__ import annotations

import os
from pathlib import Path
from typing import ClassVar

from outweigh.backends.levers._making import levered, spelled, whole
from outweigh.core.errors import LeverError
from outweigh.core.variant import Variant
from outweigh.ports import Availability
from outweigh.registry import levers

_NAME = "threads"


@levers.register(_NAME)
class Threads:
    """Let the runtime use N threads ("threads:2"; without a number, all that this process may use).

    Nothing is made: the variant's option `threads` is set. More threads end sooner and share the hum over less time;
    they also wait for each other, and that waiting draws power.
    """

    name: ClassVar[str] = _NAME

    def __init__(self, threads: str = "") -> None:
        self._threads = threads

    @classmethod
    def probe(cls) -> Availability:
        return Availability(_NAME, usable=True, sees=f"any variant; up to {_available()} threads here")

    def apply(self, variant: Variant, workdir: Path) -> Variant:
        """Raises LeverError when the argument is no whole number from 1 to the threads there are."""
        there_are = _available()
        threads = whole(self._threads, _NAME, variant, 1, otherwise=there_are)
        if threads > there_are:
            problem = f"there are {there_are} threads here, not {threads}"
            raise LeverError(_NAME, variant.name, problem, f"Give {_NAME}:{there_are} or less")
        return levered(variant, spelled(_NAME, self._threads), options={"threads": threads})


def _available() -> int:
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not every system has it
        return os.cpu_count() or 1
