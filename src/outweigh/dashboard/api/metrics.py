"""Prometheus' /metrics, and /healthz for whoever restarts servers."""

from __future__ import annotations

import time
from collections.abc import Iterator
from threading import Lock
from typing import Any

from fastapi import APIRouter
from starlette.responses import Response

from outweigh.app.serving import Served
from outweigh.core.errors import MissingExtra
from outweigh.dashboard.api.answers import answered, dumped
from outweigh.dashboard.problems import documented

#: For so long a scrape is answered from the one before [s].
FRESH_S = 15.0


def router(served: Served) -> APIRouter:
    """`/metrics` and `/healthz`."""
    routes = APIRouter(tags=["health"])
    kept = _Kept(served)

    @routes.get(
        "/metrics",
        summary="What the ledger holds, for Prometheus",
        response_class=Response,
        responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}, **documented()},
    )
    def metrics() -> Response:
        body, media_type = kept.text()
        return Response(body, headers={"Content-Type": media_type})

    @routes.get(
        "/healthz",
        summary="Whether the ledger can be read",
        response_class=Response,
        responses={
            200: {
                "content": {
                    "application/json": {
                        "schema": {"type": "object", "properties": {"status": {"const": "ok"}}, "required": ["status"]}
                    }
                }
            },
            **documented(),
        },
    )
    def health() -> Response:
        served.texts.head()
        return answered(dumped({"status": "ok"}), None)

    return routes


class _Kept:
    """What is scraped, the same from every worker: it is all of the ledger, and of no worker's own memory."""

    def __init__(self, served: Served) -> None:
        self._served, self._lock = served, Lock()
        self._known: tuple[float, bytes] | None = None

    def text(self) -> tuple[bytes, str]:
        """Raises LedgerError, MissingExtra."""
        try:
            from prometheus_client import CollectorRegistry
            from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
        except ImportError as err:
            raise MissingExtra("prometheus-client", "/metrics", "Run: pip install 'outweigh[serve]'") from err
        with self._lock:
            if self._known is None or time.monotonic() - self._known[0] > FRESH_S:
                registry = CollectorRegistry(auto_describe=False)
                registry.register(self)
                self._known = time.monotonic(), generate_latest(registry)
            return self._known[1], CONTENT_TYPE_PLAIN_0_0_4

    def collect(self) -> Iterator[Any]:
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        labels = ("project", "phase", "scope", "grade")
        count, _ = self._served.texts.head()
        yield GaugeMetricFamily("outweigh_ledger_receipts", "Receipts that are kept", value=count)
        receipts = CounterMetricFamily("outweigh_receipts", "Receipts with a usable figure", labels=labels)
        energy = CounterMetricFamily(
            "outweigh_receipts_energy_joules",
            "IT energy of receipts by their meters' scope, never to be summed over it",
            labels=labels,
        )
        for project, phase, grade, scope, runs, energy_j in self._served.texts.drawn():
            receipts.add_metric((project, phase, scope, grade), runs)
            energy.add_metric((project, phase, scope, grade), energy_j)
        yield receipts
        yield energy
