"""OpenTelemetry: `hw.energy` [J, counter] and `hw.power` [W, gauge] of a live meter.

Names, units and attributes are those of the semantic conventions for hardware metrics
(https://opentelemetry.io/docs/specs/semconv/hardware/common/). They ask that the energy of a whole host goes by
`hw.host.energy` and `hw.host.power` instead, so that it is not added to that of its parts; a meter of node scope
does so. The convention knows energy of a component and not of a process: figures that are modelled for a process
tree carry `outweigh.scope = "cpu-threads"`.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import Any

from outweigh.core.errors import MissingExtra
from outweigh.core.measurement import Scope
from outweigh.core.receipt import RunStatus
from outweigh.integrations.live import Live

_HOST = (Scope.FACILITY, Scope.RACK, Scope.NODE)
_TYPE = {Scope.GPU: "gpu", Scope.DRAM: "memory", Scope.PSYS: "enclosure"}


def instrument(live: Live, provider: Any = None) -> None:
    """Register the instruments of a live meter with a meter provider (the global one when None).

    `hw.power` is the mean since the last collection; the first one has none to give.

    Raises:
        MissingExtra: the OpenTelemetry API is not installed.
    """
    try:
        from opentelemetry import metrics
    except ImportError as err:
        raise MissingExtra("opentelemetry-api", "OpenTelemetry export", "pip install 'outweigh[otel]'") from err
    from outweigh import __version__

    meter = (provider or metrics.get_meter_provider()).get_meter("outweigh", __version__)
    scope = live.reading().total.scope
    prefix = "hw.host" if scope in _HOST else "hw"
    lock = threading.Lock()
    last: list[tuple[float, float]] = []

    def attributes() -> dict[str, str]:
        total = live.reading().total
        told = {
            "outweigh.project": live.project,
            "outweigh.phase": live.phase.value,
            "outweigh.scope": total.scope.value,
            "outweigh.grade": total.grade.value,
            "outweigh.method": total.method.value,
        }
        if prefix == "hw":
            told |= {"hw.id": f"{live.meter}:{total.scope.value}", "hw.type": _TYPE.get(total.scope, "cpu")}
        return told

    def energy(_: Any) -> Iterable[metrics.Observation]:
        reading = live.reading()
        if reading.status is not RunStatus.UNUSABLE:
            yield metrics.Observation(reading.total.value.joules, attributes())

    def power(_: Any) -> Iterable[metrics.Observation]:
        reading = live.reading()
        with lock:
            before = last[-1] if last else None
            last[:] = [(reading.seconds, reading.total.value.joules)]
        if before is not None and reading.seconds > before[0] and reading.status is not RunStatus.UNUSABLE:
            watts = (reading.total.value.joules - before[1]) / (reading.seconds - before[0])
            yield metrics.Observation(watts, attributes())

    meter.create_observable_counter(f"{prefix}.energy", [energy], unit="J", description="Energy drawn")
    meter.create_observable_gauge(f"{prefix}.power", [power], unit="W", description="Instantaneous power drawn")
