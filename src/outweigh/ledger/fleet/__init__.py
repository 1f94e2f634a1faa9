"""What the nodes of a fleet drew, minute by minute: kept in Parquet, rolled up, asked by the dashboard.

`append_minutes` and `synthetic.make` write; `Fleet` answers. A name is imported when it is first asked for (PEP 562).
"""

from __future__ import annotations

# Not from typing, whose import alone costs; type checkers know the name.
TYPE_CHECKING = False

if TYPE_CHECKING:
    from outweigh.ledger.fleet.answers import (
        Coverage,
        FleetState,
        HumByOwner,
        Known,
        Latest,
        PowerOverTime,
        TopNodes,
        Trace,
        UsedOverTime,
    )
    from outweigh.ledger.fleet.asking import Fleet
    from outweigh.ledger.fleet.minutes import HowKnown, Labels, Minutes
    from outweigh.ledger.fleet.segments import append_minutes, fleet_folder, has_fleet

_HOMES = {
    "answers": (
        "Coverage",
        "FleetState",
        "HumByOwner",
        "Known",
        "Latest",
        "PowerOverTime",
        "TopNodes",
        "Trace",
        "UsedOverTime",
    ),
    "asking": ("Fleet",),
    "minutes": ("HowKnown", "Labels", "Minutes"),
    "segments": ("append_minutes", "fleet_folder", "has_fleet"),
}


def __getattr__(name: str) -> object:
    from importlib import import_module

    for home, words in _HOMES.items():
        if name in words:
            word: object = getattr(import_module(f"{__name__}.{home}"), name)
            globals()[name] = word
            return word
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


__all__ = [
    "Coverage",
    "Fleet",
    "FleetState",
    "HowKnown",
    "HumByOwner",
    "Known",
    "Labels",
    "Latest",
    "Minutes",
    "PowerOverTime",
    "TopNodes",
    "Trace",
    "UsedOverTime",
    "append_minutes",
    "fleet_folder",
    "has_fleet",
]
