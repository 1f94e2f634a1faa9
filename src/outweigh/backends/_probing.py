"""How a meter is probed: opened, read once, and let go."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from outweigh.core.errors import MeterUnavailable, MissingExtra
from outweigh.ports import Availability, Meter


class NotedMeter(Meter, Protocol):
    """A meter that says in `notes`, once it is open, what a reader of its figures has to know."""

    notes: tuple[str, ...]


def probed(meter: NotedMeter, sees: Callable[[], str]) -> Availability:
    """What a probe of `meter` finds; it is closed afterwards. Raises nothing of the meter's own.

    Args:
        sees: what the meter sees, asked while it is open.
    """
    try:
        meter.open()
        meter.read()
        return Availability(meter.name, usable=True, sees=sees(), grade=meter.grade, improve="; ".join(meter.notes))
    except MissingExtra as err:
        reason = f"the package {err.package} is not installed"
        return Availability(meter.name, usable=False, reason=reason, remedy=err.remedy)
    except MeterUnavailable as err:
        return Availability(meter.name, usable=False, reason=err.reason, remedy=err.remedy)
    finally:
        meter.close()
