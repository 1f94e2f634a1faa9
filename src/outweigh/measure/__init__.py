"""Measuring: windows on a meter, the hum, receipts.

Standard library only, and quick to import: a name is imported when it is first asked for (PEP 562), and registries
and package metadata are read when they are needed.
"""

from __future__ import annotations

# Not from typing, whose import would cost more than all the rest; type checkers take any name like this as true.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from outweigh.data.cpu_power import IDLE_INTERCEPT, INSTRUCTION_MIX, POWER_CURVE
    from outweigh.measure.choose import choose_meter
    from outweigh.measure.clock import Clock, FakeClock, SystemClock
    from outweigh.measure.combined import CombinedMeter
    from outweigh.measure.command import measure_command
    from outweigh.measure.doctor import probe_all
    from outweigh.measure.hum import HumRow, HumSplit, hum_view, split_hum
    from outweigh.measure.integrating import Integrated, integrate
    from outweigh.measure.merging import merge_receipts, node_labels
    from outweigh.measure.reading import HumReading, WindowReading
    from outweigh.measure.receipts import receipt_for
    from outweigh.measure.session import MeterSession, Window

_HOMES = {
    "outweigh.data.cpu_power": ("IDLE_INTERCEPT", "INSTRUCTION_MIX", "POWER_CURVE"),
    "outweigh.measure.choose": ("choose_meter",),
    "outweigh.measure.clock": ("Clock", "FakeClock", "SystemClock"),
    "outweigh.measure.combined": ("CombinedMeter",),
    "outweigh.measure.command": ("measure_command",),
    "outweigh.measure.doctor": ("probe_all",),
    "outweigh.measure.hum": ("HumRow", "HumSplit", "hum_view", "split_hum"),
    "outweigh.measure.integrating": ("Integrated", "integrate"),
    "outweigh.measure.merging": ("merge_receipts", "node_labels"),
    "outweigh.measure.reading": ("HumReading", "WindowReading"),
    "outweigh.measure.receipts": ("receipt_for",),
    "outweigh.measure.session": ("MeterSession", "Window"),
}


def __getattr__(name: str) -> object:
    from importlib import import_module

    for home, names in _HOMES.items():
        if name in names:
            found: object = getattr(import_module(home), name)
            globals()[name] = found
            return found
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


__all__ = [
    "IDLE_INTERCEPT",
    "INSTRUCTION_MIX",
    "POWER_CURVE",
    "Clock",
    "CombinedMeter",
    "FakeClock",
    "HumReading",
    "HumRow",
    "HumSplit",
    "Integrated",
    "MeterSession",
    "SystemClock",
    "Window",
    "WindowReading",
    "choose_meter",
    "hum_view",
    "integrate",
    "measure_command",
    "merge_receipts",
    "node_labels",
    "probe_all",
    "receipt_for",
    "split_hum",
]
