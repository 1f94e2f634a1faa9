"""Prometheus: energy as counters, so that `rate()` gives watts and `increase()` joules.

    from prometheus_client import REGISTRY, start_http_server
    with Live(project="triage", phase="inference") as live:
        REGISTRY.register(LiveCollector(live))
        start_http_server(9464, addr="127.0.0.1")
        serve_forever()

Series are never added over `scope`: a package is part of its node. A reading whose samples do not carry a figure is
left out of a scrape, for a gap is seen and a wrong number is not.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from outweigh.core.errors import MissingExtra
from outweigh.core.measurement import Measurement
from outweigh.core.receipt import RunStatus
from outweigh.integrations.live import Live
from outweigh.ports import ReceiptFilter, Store

_LABELS = ("project", "phase", "scope", "grade", "method")


class LiveCollector:
    """`outweigh_energy_joules_total` of a live meter, and its split `outweigh_hum_energy_joules_total` where known."""

    def __init__(self, live: Live) -> None:
        self._live = live

    def collect(self) -> Iterator[Any]:
        reading = self._live.reading()
        usable = reading.status is not RunStatus.UNUSABLE
        for name, told, measured in (
            ("outweigh_energy_joules", "Energy drawn, hum and work together", reading.total),
            ("outweigh_hum_energy_joules", "Energy of the idle draw, a part of the whole", reading.hum),
        ):
            family = _family("CounterMetricFamily", name, told)
            if usable and measured is not None:
                family.add_metric(self._labels(measured), measured.value.joules)
            yield family
        doubt = _family("GaugeMetricFamily", "outweigh_energy_standard_uncertainty_joules", "Of the energy, k = 1")
        if usable:
            doubt.add_metric(self._labels(reading.total), reading.total.standard_uncertainty.joules)
        yield doubt
        yield _family("GaugeMetricFamily", "outweigh_meter_usable", "1 while the samples carry a figure", float(usable))

    def _labels(self, measured: Measurement) -> list[str]:
        return [
            self._live.project,
            self._live.phase.value,
            measured.scope.value,
            measured.grade.value,
            measured.method.value,
        ]


class LedgerCollector:
    """`outweigh_receipts_energy_joules_total` and `outweigh_receipts_total`: the whole ledger."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def collect(self) -> Iterator[Any]:
        energy_j: dict[tuple[str, ...], float] = defaultdict(float)
        count: dict[tuple[str, ...], int] = defaultdict(int)
        for _, receipt in self._store.receipts(ReceiptFilter()):
            if receipt.status is RunStatus.UNUSABLE:
                continue
            total = receipt.total
            key = (receipt.project, receipt.phase.value, total.scope.value, total.grade.value, total.method.value)
            energy_j[key] += total.value.joules
            count[key] += 1
        energies = _family("CounterMetricFamily", "outweigh_receipts_energy_joules", "Energy of all receipts")
        counts = _family("CounterMetricFamily", "outweigh_receipts", "Receipts in the ledger that carry a figure")
        for labels, joules in energy_j.items():
            energies.add_metric(labels, joules)
            counts.add_metric(labels, count[labels])
        yield energies
        yield counts


def _family(kind: str, name: str, told: str, value: float | None = None) -> Any:
    try:
        from prometheus_client import core
    except ImportError as err:
        raise MissingExtra(
            "prometheus-client", "the Prometheus exporter", "pip install 'outweigh[prometheus]'"
        ) from err
    if value is not None:
        return getattr(core, kind)(name, told, value=value)
    return getattr(core, kind)(name, told, labels=_LABELS)
