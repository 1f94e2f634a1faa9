"""Many requests at once at a constant number, and the stretch in which the server was saturated."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Generic, TypeVar

from outweigh.ports import Steady

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Flown(Generic[T]):
    """One finished request: what came of it, and when it was in flight on time.monotonic [s]."""

    result: T
    start_s: float
    end_s: float


def flown(ask: Callable[[int], T], items: Sequence[int], concurrency: int) -> list[Flown[T]]:
    """Ask for all items, `concurrency` of them in flight until none is left; in the order of `items`.

    The first error is raised once what is in flight has ended; nothing more is asked for after it.
    """
    failed = threading.Event()

    def one(item: int) -> Flown[T] | None:
        if failed.is_set():
            return None
        with ExitStack() as undo:
            undo.callback(failed.set)
            start_s = time.monotonic()
            found = Flown(ask(item), start_s, time.monotonic())
            undo.pop_all()
        return found

    if concurrency == 1:
        return [found for item in items if (found := one(item)) is not None]
    with ThreadPoolExecutor(concurrency, thread_name_prefix="outweigh-requests") as pool:
        futures = [pool.submit(one, item) for item in items]
    for future in futures:
        future.result()
    return [found for future in futures if (found := future.result()) is not None]


def saturated(spans: Sequence[tuple[float, float]], concurrency: int) -> tuple[float, float] | None:
    """From when `concurrency` requests were in flight until one ended that no other took the place of.

    Args:
        spans: start and end of each request [s].

    Returns:
        Start and end [s]; None when so many never were, or only while none ended: then it never was more than a start.

    >>> saturated([(0, 2), (1, 4), (2, 6), (4, 5)], 2)
    (1, 5)
    >>> saturated([(0, 2), (1, 4)], 2) is None
    True
    """
    if len(spans) <= concurrency:
        return None
    starts, ends = sorted(start for start, _ in spans), sorted(end for _, end in spans)
    # All places are taken once the last of the first `concurrency` has started. Every end but the last `concurrency`
    # made room for a request that waited; the first of those leaves a place empty.
    full, last = starts[concurrency - 1], ends[-concurrency]
    return (full, last) if last > full else None


def steady(
    spans: Sequence[tuple[float, float]], tokens_at_s: Sequence[Sequence[float]], concurrency: int
) -> Steady | None:
    """The saturated stretch of a run and the items' worth of work in it.

    Work is counted in output tokens: those of the stretch over the mean number a request has. Where nothing was
    written, each request counts by the share of its own time that lies in the stretch.

    Source: J.-W. Chung et al., The ML.ENERGY Benchmark, arXiv:2505.06371.
    """
    stretch = saturated(spans, concurrency)
    if stretch is None:
        return None
    start, end = stretch
    written = sum(map(len, tokens_at_s))
    if written:
        inside = sum(start <= at < end for one in tokens_at_s for at in one)
        units = inside * len(spans) / written
    else:
        units = sum(max(0.0, min(end, b) - max(start, a)) / (b - a) for a, b in spans if b > a)
    return Steady(start, end, units) if units > 0 else None
