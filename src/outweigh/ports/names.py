"""Names of places that only asking tells: a provider's own regions."""

from __future__ import annotations

from typing import Protocol, runtime_checkable


@runtime_checkable
class TakesNames(Protocol):
    """A grid source that takes names beside those of its `zones()`."""

    def takes(self, name: str) -> bool:
        """Whether it may be one of the provider's own names, by its look. Never a request: the provider decides."""
