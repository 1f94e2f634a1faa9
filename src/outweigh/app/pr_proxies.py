"""What can be counted without a meter: operations and bytes of the graph, bytes on disk, tokens, CPU instructions.

None of it is energy. A proxy can warn; it never fails a pull request.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from outweigh.app.pr_instructions import CountedInstructions
from outweigh.app.sitting import Sat
from outweigh.compare.evidence import Evidence
from outweigh.core.errors import MeterUnavailable
from outweigh.core.variant import Variant
from outweigh.data.onnx_counts import NOMINAL_LENGTH, graph_counts

#: Growth from which a proxy warns; counts are exact, and this leaves room for what is started and loaded beside them.
WARN_ABOVE = 1.02
#: Items that instructions are counted over.
_COUNTED_ITEMS = 16


@dataclass(frozen=True, slots=True)
class Proxy:
    """One count of both sides, in `unit`."""

    name: str
    unit: str
    base: float
    head: float
    how: str

    @property
    def ratio(self) -> float | None:
        """Head over base; None where the base has none of it."""
        return self.head / self.base if self.base > 0 else None

    @property
    def warns(self) -> bool:
        return self.head > WARN_ABOVE * self.base


def proxies(sat: Sat, base: str, head: str) -> tuple[tuple[Proxy, ...], tuple[str, ...]]:
    """What is counted of two variants of a sitting, and why each of the others is not."""
    found: list[Proxy] = []
    missing: list[str] = []
    ours, theirs = sat.comparison.evidence[base], sat.comparison.evidence[head]
    for one, other in zip(_still(ours.variant), _still(theirs.variant), strict=True):
        name, unit, how, value = one
        if value is None or other[3] is None:
            missing.append(f"{name}: not an ONNX graph whose shapes are known on both sides")
        else:
            found.append(Proxy(name, unit, value, other[3], how))
    tokens = _tokens(ours, theirs)
    if tokens is not None:
        found.append(tokens)
    else:
        missing.append("tokens: this task counts none")
    try:
        found.append(_instructions(sat, ours.variant, theirs.variant))
    except MeterUnavailable as err:
        missing.append(f"{err.meter}: {err.reason}")
    return tuple(found), tuple(missing)


def _still(variant: Variant) -> Iterator[tuple[str, str, str, float | None]]:
    """What needs no run: (name, unit, how it is counted, value)."""
    graph = graph_counts(Path(variant.model))
    length = f"{NOMINAL_LENGTH} for every open axis, a batch of one"
    yield "operations", "FLOP", f"2 x multiply-adds of matrix products and convolutions, {length}", graph and graph[0]
    yield "weights", "B", "bytes of all constants of the graph", graph and graph[1]
    yield "model on disk", "B", "bytes of the file", _size(Path(variant.model))


def _size(path: Path) -> float | None:
    return float(path.stat().st_size) if path.is_file() else None


def _tokens(base: Evidence, head: Evidence) -> Proxy | None:
    names = [name for name in ("tokens_in", "tokens_out") if name in base.counts and name in head.counts]
    if not names:
        return None
    ours, theirs = (_total(one, names) / float(one.units.sum()) for one in (base, head))
    return Proxy("tokens", "per unit", ours, theirs, "read and written, as the task counts them")


def _total(evidence: Evidence, names: list[str]) -> float:
    return sum(float(evidence.counts[name].sum()) for name in names)


def _instructions(sat: Sat, base: Variant, head: Variant) -> Proxy:
    """User-mode instructions of a few items; the model is loaded and fitted inside, once with the items and once not.

    Raises:
        MeterUnavailable: nothing counts them here.
    """
    items = range(min(_COUNTED_ITEMS, sat.task.n_items))
    ours, theirs = (_counted(sat, variant, items) / len(items) for variant in (base, head))
    how = f"user-mode, over {len(items)} items, loading and fitting taken off"
    return Proxy("CPU instructions", "per item", ours, theirs, how)


def _counted(sat: Sat, variant: Variant, items: range) -> float:
    with CountedInstructions() as all_of_it:
        # Its threads are counted only if they start while we count, so it is loaded in here, and that is taken off.
        with CountedInstructions() as without:
            runner = sat.task.runner(variant)
            runner.fit()
        try:
            runner.run(items)
        finally:
            runner.close()
    return float(max(0, all_of_it.value - without.value))
