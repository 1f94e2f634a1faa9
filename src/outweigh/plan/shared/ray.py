"""Pricing shared over the machines of a Ray cluster: the same numbers, the same certificate.

What is shared out is the pricing step, which is all the work there is in a bound: every worker keeps its part of the
shapes and is sent nothing but prices. The bound is a sum over shapes, so it does not matter who adds which.
"""

from __future__ import annotations

import importlib
import os
from typing import Any

import numpy as np

from outweigh.core.errors import MissingExtra, OutweighError, UsageError
from outweigh.plan.problem import Floats, Ints
from outweigh.plan.shared.capacity import CapacityPrices
from outweigh.plan.shared.classes import Shapes
from outweigh.plan.shared.columns import Columns
from outweigh.plan.shared.pricing import Field, LocalPricer, Priced

_STORE_BYTES = 100 * 2**20  # of Ray's object store: what goes through it are prices and runs


class RayPricer:
    """Prices shapes on Ray: `plan_jobs(..., pricer=RayPricer)`. Joins the cluster of RAY_ADDRESS, else starts one here.

    Args:
        workers: how many; as many as the cluster has CPUs, at most one for 500 shapes, by default.

    Raises:
        MissingExtra: ray is not installed.
        UsageError: Ray cannot be started or reached, or a worker is lost.
    """

    def __init__(self, shapes: Shapes, field: Field, workers: int | None = None) -> None:
        self._ray = _need_ray()
        try:
            if not self._ray.is_initialized():
                _start(self._ray)
            cpus = int(self._ray.cluster_resources().get("CPU", 1))
            count = workers or max(1, min(cpus, len(shapes) // 500))
            # Every count-th shape, so that large and small windows are shared alike.
            self._rows: list[Ints] = [np.arange(part, len(shapes), count) for part in range(count)]
            made = self._ray.remote(_Worker)
            there = self._ray.put(field)
            self._workers = [made.remote(shapes.take(rows), there) for rows in self._rows]
        except (self._ray.exceptions.RayError, ConnectionError, RuntimeError, ValueError, OSError) as err:
            raise UsageError(f"Ray cannot price the plan ({_first_line(err)})", "Plan without Ray") from err

    def price(self, prices: CapacityPrices) -> Priced:
        at = self._ray.put(prices)
        try:
            answers = self._ray.get([worker.price.remote(at) for worker in self._workers])
        except self._ray.exceptions.RayTaskError as err:
            cause = getattr(err, "cause", None)
            if isinstance(cause, OutweighError):
                raise cause from err
            raise UsageError(f"a Ray worker failed ({_first_line(err)})", "Plan without Ray") from err
        except self._ray.exceptions.RayError as err:
            raise UsageError(f"a Ray worker was lost ({_first_line(err)})", "Plan again, or without Ray") from err
        best: Floats = np.empty(sum(map(len, self._rows)))
        parts = []
        for rows, answer in zip(self._rows, answers, strict=True):
            best[rows] = answer.best
            columns = answer.columns
            parts.append(
                Columns(
                    rows[columns.shape], columns.site, columns.cost, columns.offset, columns.step, columns.work,
                    columns.energy,
                )
            )  # fmt: skip
        joined = Columns.joined(parts)
        return Priced(best, joined.take(np.argsort(joined.shape, kind="stable")))


class _Worker:
    """A part of the shapes, in a process of its own."""

    def __init__(self, shapes: Shapes, field: Field) -> None:
        self._pricer = LocalPricer(shapes, field)

    def price(self, prices: CapacityPrices) -> Priced:
        return self._pricer.price(prices)


def _start(ray: Any) -> None:
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "error"}
    if os.environ.get("RAY_ADDRESS"):
        ray.init(address="auto", **quiet)
    else:
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        ray.init(num_cpus=max(2, cores), include_dashboard=False, object_store_memory=_STORE_BYTES, **quiet)


def _need_ray() -> Any:
    # Ray reads it when it is imported; a tool that measures does not report on its users.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        return importlib.import_module("ray")
    except ImportError as err:
        raise MissingExtra("ray", "planning on Ray", "Run: pip install 'outweigh[ray]'") from err


def _first_line(err: BaseException) -> str:
    text = str(err).strip() or type(err).__name__
    return text.splitlines()[-1][:200]
