"""Outweigh: energy as a first-class engineering budget for AI."""

from __future__ import annotations

__version__ = "0.1.0"

# Not from typing, whose import would cost more than all the rest; type checkers take any name like this as true.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from outweigh.app.blocks import EnergyBudgetWarning, Run, measured, measuring
    from outweigh.app.commanding import wait_for

__all__ = ["EnergyBudgetWarning", "Run", "__version__", "measured", "measuring", "wait_for"]


def __getattr__(name: str) -> object:
    # Imported when asked for: `import outweigh` itself costs a millisecond, in every program that has it.
    if name == "wait_for":
        from outweigh.app.commanding import wait_for

        return wait_for
    if name in __all__:
        from outweigh.app import blocks as room

        return getattr(room, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
