"""Measuring: windows on a meter, the hum, receipts.

Standard library only, and quick to import: registries and package metadata are read when they are asked for.
"""

from outweigh.data.cpu_power import IDLE_INTERCEPT, INSTRUCTION_MIX, POWER_CURVE
from outweigh.measure.choose import choose_meter
from outweigh.measure.clock import Clock, FakeClock, SystemClock
from outweigh.measure.command import measure_command
from outweigh.measure.doctor import probe_all
from outweigh.measure.integrate import Integrated, integrate
from outweigh.measure.reading import HumReading, WindowReading
from outweigh.measure.receipts import receipt_for
from outweigh.measure.session import MeterSession, Window

__all__ = [
    "IDLE_INTERCEPT",
    "INSTRUCTION_MIX",
    "POWER_CURVE",
    "Clock",
    "FakeClock",
    "HumReading",
    "Integrated",
    "MeterSession",
    "SystemClock",
    "Window",
    "WindowReading",
    "choose_meter",
    "integrate",
    "measure_command",
    "probe_all",
    "receipt_for",
]
