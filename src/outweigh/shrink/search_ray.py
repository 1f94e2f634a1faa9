"""The same sweep on Ray: workers that measure, one at a time on each machine.

Two workers of one machine would be in each other's way, and a counter of the package would charge each with both. So
each node has one lock, an actor known by the node's name, that whoever measures there holds. Receipts go through a
mailbox to the process that searches, which alone writes to the ledger: none waits for the end of a look.

The search's folder must be the same on every node (a shared file system), as must be the model and the data.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from outweigh.core.errors import MissingExtra, OutweighError, UsageError
from outweigh.core.receipt import Receipt
from outweigh.shrink.search_bench import Bench, Done, Order, Setup

_POLL_S = 0.2
_STORE_BYTES = 100 * 2**20  # of Ray's object store: what goes through it are receipts and scores
_NAMESPACE = "outweigh"


@dataclass(frozen=True, slots=True)
class WorkerSetup:
    """What a worker opens for itself."""

    setup: Setup
    meter: str


class RaySweep:
    """Runs orders on Ray. Joins the cluster that RAY_ADDRESS names, else starts Ray on this machine.

    Args:
        keep: takes each receipt, here, as it arrives; returns its address.
        workers: how many; as many as the cluster has CPUs, at most 8, by default.

    Raises:
        MissingExtra: ray is not installed.
        UsageError: Ray cannot be started or reached.
    """

    def __init__(self, setup: WorkerSetup, keep: Callable[[Receipt], str], workers: int | None = None) -> None:
        self._ray = _need_ray()
        self._keep = keep
        self._own = not self._ray.is_initialized()
        if self._own:
            self._start()
        try:
            self._mailbox = self._ray.remote(_Mailbox).options(num_cpus=0).remote()
            count = workers or max(1, min(8, int(self._ray.cluster_resources().get("CPU", 1))))
            made = self._ray.remote(_Worker).options(num_cpus=1, scheduling_strategy="SPREAD")
            self._workers = [made.remote(setup, self._mailbox) for _ in range(count)]
        except self._ray.exceptions.RayError as err:
            self.close()
            raise UsageError(f"Ray cannot start its workers ({_first_line(err)})", "Search without --on ray") from err

    def run(self, orders: Sequence[Order]) -> Iterator[Done]:
        """Results as they are ready. Raises what a worker raised, and UsageError when one is lost."""
        idle, left = list(self._workers), list(orders)
        running: dict[Any, Any] = {}
        try:
            while left or running:
                while left and idle:
                    worker = idle.pop()
                    running[worker.look.remote(left.pop(0))] = worker
                ready, _ = self._ray.wait(list(running), timeout=_POLL_S)
                self._collect()
                for reference in ready:
                    idle.append(running.pop(reference))
                    done = self._ray.get(reference)
                    # What it measured last may have been posted after the look into the mailbox just now.
                    self._collect()
                    yield done
        except self._ray.exceptions.RayTaskError as err:
            cause = getattr(err, "cause", None)
            if isinstance(cause, OutweighError):
                raise cause from err
            raise UsageError(f"a Ray worker failed ({_first_line(err)})", "Search without --on ray") from err
        except self._ray.exceptions.RayError as err:
            raise UsageError(
                f"a Ray worker was lost ({_first_line(err)})", "Ask again: what was measured is kept"
            ) from err

    def _collect(self) -> None:
        for body in self._ray.get(self._mailbox.take.remote()):
            self._keep(Receipt.from_dict(body))

    def close(self) -> None:
        if self._own:
            self._ray.shutdown()

    def _start(self) -> None:
        quiet: dict[str, Any] = {"log_to_driver": False, "namespace": _NAMESPACE, "logging_level": "error"}
        try:
            if os.environ.get("RAY_ADDRESS"):
                self._ray.init(address="auto", **quiet)
            else:
                cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
                self._ray.init(
                    num_cpus=max(2, cores), include_dashboard=False, object_store_memory=_STORE_BYTES, **quiet
                )
        except (ConnectionError, RuntimeError, ValueError, OSError) as err:
            raise UsageError(f"Ray cannot be started ({_first_line(err)})", "Search without --on ray") from err


class _Mailbox:
    """Receipts on their way to the process that searches."""

    def __init__(self) -> None:
        self._bodies: list[dict[str, Any]] = []

    def put(self, body: dict[str, Any]) -> None:
        self._bodies.append(body)

    def take(self) -> list[dict[str, Any]]:
        taken, self._bodies = self._bodies, []
        return taken


class _Turn:
    """The lock of one node. One whose holder is gone is free."""

    def __init__(self) -> None:
        self._holder = ""

    def take(self, who: str) -> bool:
        if self._holder in ("", who) or not _lives(self._holder):
            self._holder = who
        return self._holder == who

    def give(self, who: str) -> None:
        if self._holder == who:
            self._holder = ""


def _lives(process: str) -> bool:
    """The lock lives on the node it is the lock of, so it can look for the process."""
    return Path(f"/proc/{process}").exists() if Path("/proc/self").exists() else True


class _Worker:
    """A bench in a process of its own."""

    def __init__(self, setup: WorkerSetup, mailbox: Any) -> None:
        import contextlib

        from outweigh.measure import MeterSession, choose_meter
        from outweigh.registry import tasks

        self._ray = _need_ray()
        self._mailbox = mailbox
        project = setup.setup.project
        self._turn = self._lock()
        self._stack = contextlib.ExitStack()
        with self._held():
            meter, _ = choose_meter(setup.meter)
            session = self._stack.enter_context(MeterSession(meter))
            task = tasks.get(project.task.adapter)()
            task.load(project.task, Path(project.root))
            session.hum(project.protocol.hum_s)
        self._bench = Bench(setup.setup, session, task, self._post)

    def look(self, order: Order) -> Done:
        with self._held():
            return self._bench.look(order)

    def _post(self, receipt: Receipt) -> str:
        self._ray.get(self._mailbox.put.remote(receipt.to_dict()))
        return receipt.content_hash

    def _lock(self) -> Any:
        """The lock actor of this node, made by whoever comes first, and kept on the node."""
        affinity = importlib.import_module("ray.util.scheduling_strategies").NodeAffinitySchedulingStrategy
        node = self._ray.get_runtime_context().get_node_id()
        return (
            self._ray.remote(_Turn)
            .options(
                name=f"outweigh-meter-{node}", namespace=_NAMESPACE, get_if_exists=True, num_cpus=0,
                lifetime="detached", scheduling_strategy=affinity(node, soft=False),
            )
            .remote()
        )  # fmt: skip

    def _held(self) -> Any:
        import contextlib
        import time

        @contextlib.contextmanager
        def held() -> Iterator[None]:
            who = str(os.getpid())
            while not self._ray.get(self._turn.take.remote(who)):
                time.sleep(_POLL_S / 4)
            try:
                yield
            finally:
                self._ray.get(self._turn.give.remote(who))

        return held()


def _need_ray() -> Any:
    # Ray reads it when it is imported; a tool that measures does not report on its users.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        return importlib.import_module("ray")
    except ImportError as err:
        raise MissingExtra("ray", "shrink --search --on ray", "Run: pip install 'outweigh[ray]'") from err


def _first_line(err: BaseException) -> str:
    text = str(err).strip() or type(err).__name__
    return text.splitlines()[-1][:200]
