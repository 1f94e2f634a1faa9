"""`battery`: what a portable machine draws from its battery, while nothing else feeds it.

`power_now` is in microwatts; where a battery gives current and voltage instead, their product is taken. The kernel
documents discharging current as negative and many drivers give its size alone, so the size is read and the direction
is taken from `status`. With mains connected part of the draw passes the battery by: the meter refuses, also when
mains is plugged in during a run. What is seen is the whole machine, screen and charging circuit with it.

A fuel gauge is slow: powerstat(8) reads it every 10 s, which is taken as the update interval. Neither the kernel nor
the drivers state an accuracy, hence grade C.

Sources: Linux Documentation/ABI/testing/sysfs-class-power and Documentation/power/power_supply_class.rst (names,
µW, µA, µV, sign); powerstat(8).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

from outweigh.backends._files import number_of, text_of
from outweigh.backends._probing import probed
from outweigh.core.errors import MeterUnavailable
from outweigh.core.measurement import Factor, Grade, Method, Scope, UncertaintyComponent
from outweigh.ports import Availability, Channel, ChannelKind, Sample
from outweigh.registry import meters

POWER_SUPPLY = Path("/sys/class/power_supply")

_PER_MICRO = 1e-6
_UPDATE_S = 10.0
_MAX_POWER_W = 500.0  # a plausibility bound, not a rating

_UNPLUG = "Unplug it for the run, or use another meter"


@meters.register("battery")
class BatteryMeter:
    """Power drawn from the batteries of this machine [W]. Grade C; only while discharging.

    Args:
        root: the power-supply tree.
        now: monotonic time [s].
    """

    name: ClassVar[str] = "battery"

    def __init__(self, *, root: Path | str = POWER_SUPPLY, now: Callable[[], float] = time.monotonic) -> None:
        self._root, self._now = Path(root), now
        self._batteries: tuple[Path, ...] = ()
        self._open = False
        self.grade = Grade.C
        self.method = Method.INTEGRATED
        self.source = "battery"
        self.factors: tuple[Factor, ...] = ()
        self.notes: tuple[str, ...] = ()

    @classmethod
    def probe(cls, root: Path | str = POWER_SUPPLY) -> Availability:
        return probed(cls(root=root), lambda: "the whole machine, on battery")

    @property
    def channels(self) -> tuple[Channel, ...]:
        return tuple(
            Channel(
                id=battery.name,
                device=battery.name,
                scope=Scope.NODE,
                kind=ChannelKind.POWER,
                update_s=_UPDATE_S,
                resolution=_PER_MICRO,
                max_power_w=_MAX_POWER_W,
            )
            for battery in self._batteries
        )

    def open(self) -> None:
        """Find the batteries. Raises MeterUnavailable without one, or with mains connected."""
        supplies = sorted(self._root.iterdir()) if self._root.is_dir() else []
        # scope "Device" is the battery of a mouse or a headset.
        found = [s for s in supplies if text_of(s / "type") == "Battery" and text_of(s / "scope") != "Device"]
        if not found:
            raise MeterUnavailable("battery", "this machine has no battery", "Use another meter")
        self._batteries, self._open = tuple(found), True
        self.source = f"battery: {' + '.join(b.name for b in found)}"
        self.notes = (
            "a fuel gauge is read every 10 s at best and states no accuracy: windows of minutes, not seconds",
        )
        try:
            self.read()
        except MeterUnavailable:
            self.close()
            raise

    def read(self) -> Sample:
        if not self._open:
            raise MeterUnavailable("battery", "it is not open", "Call open() first")
        now_s = self._now()
        states = [text_of(battery / "status") for battery in self._batteries]
        if "Charging" in states or "Discharging" not in states:
            told = ", ".join(f"{b.name} is {s or 'silent'}" for b, s in zip(self._batteries, states, strict=True))
            raise MeterUnavailable("battery", f"the machine does not run on battery alone ({told})", _UNPLUG)
        # 2 is a supply whose voltage can be programmed, such as USB PD.
        fed = (s for s in self._root.iterdir() if text_of(s / "type") in ("Mains", "USB"))
        if any(text_of(s / "online") in ("1", "2") for s in fed):
            raise MeterUnavailable("battery", "mains is connected, and what it gives is not seen", _UNPLUG)
        # Of two batteries one rests while the other feeds the machine.
        values = tuple(
            _power_w(battery) if state == "Discharging" else 0.0
            for battery, state in zip(self._batteries, states, strict=True)
        )
        if any(v is None for v in values):
            raise MeterUnavailable(
                "battery", "it says neither power nor current and voltage", "Use another meter: this one cannot tell"
            )
        return Sample(now_s, values)

    def components(self) -> tuple[UncertaintyComponent, ...]:
        return ()

    def close(self) -> None:
        self._open = False


def _power_w(battery: Path) -> float | None:
    power_uw = number_of(battery / "power_now")
    if power_uw is not None:
        return abs(power_uw) * _PER_MICRO
    current_ua, voltage_uv = number_of(battery / "current_now"), number_of(battery / "voltage_now")
    if current_ua is None or voltage_uv is None:
        return None
    return abs(current_ua) * _PER_MICRO * voltage_uv * _PER_MICRO
