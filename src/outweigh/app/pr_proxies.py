"""What can be counted without a meter: operations and bytes of the graph, bytes on disk, tokens, CPU instructions.

None of it is energy. A proxy can warn; it never fails a pull request.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from outweigh.app.pr_instructions import CountedInstructions
from outweigh.app.sitting import Sat
from outweigh.compare.evidence import Evidence
from outweigh.core.errors import MeterUnavailable
from outweigh.core.variant import Variant

#: Growth from which a proxy warns; counts are exact, and this leaves room for what is started and loaded beside them.
WARN_ABOVE = 1.02
#: What an open axis of a graph's input is taken to be; the first one is the batch, of one item.
NOMINAL_LENGTH = 128
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


# --- the graph --------------------------------------------------------------------------------------


def graph_counts(model: Path) -> tuple[float, float] | None:
    """Floating or whole-number operations of one item, and bytes of the constants.

    2 x multiply-adds of every matrix product and convolution; everything else in a network is small beside them.
    None when it is no ONNX file, onnx is not installed, or a shape stays unknown: half a count would compare nothing.
    """
    if model.suffix != ".onnx" or not model.is_file():
        return None
    try:
        import onnx
        from google.protobuf.message import DecodeError
    except ImportError:
        return None
    try:
        loaded = onnx.load(str(model), load_external_data=False)
    except (DecodeError, OSError):
        return None
    _close_axes(loaded.graph)
    try:
        graph = onnx.shape_inference.infer_shapes(loaded, data_prop=True).graph
    except onnx.shape_inference.InferenceError:
        return None
    shapes = _shapes(graph)
    operations = 0.0
    for node in graph.node:
        try:
            operations += _operations(node, shapes)
        except (KeyError, IndexError):
            return None
    return operations, float(sum(_constant_bytes(tensor, onnx) for tensor in graph.initializer))


def _close_axes(graph: Any) -> None:
    constants = {tensor.name for tensor in graph.initializer}
    for given in graph.input:
        if given.name in constants:
            continue
        for place, axis in enumerate(given.type.tensor_type.shape.dim):
            if not axis.dim_value:
                axis.dim_value = 1 if place == 0 else NOMINAL_LENGTH


def _shapes(graph: Any) -> dict[str, tuple[int, ...]]:
    found = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    for value in (*graph.input, *graph.value_info, *graph.output):
        axes = value.type.tensor_type.shape.dim
        if value.type.tensor_type.HasField("shape") and all(axis.dim_value for axis in axes):
            found[value.name] = tuple(axis.dim_value for axis in axes)
    return found


#: Operator -> place of its weights among the inputs; the first input is what they are applied to.
_PRODUCTS = {"MatMul": 1, "MatMulInteger": 1, "QLinearMatMul": 3, "Gemm": 1}
_CONVOLUTIONS = {"Conv": 1, "ConvInteger": 1, "QLinearConv": 3}


def _operations(node: Any, shapes: dict[str, tuple[int, ...]]) -> float:
    """Raises KeyError for a shape that is not known."""
    if node.op_type in _PRODUCTS:
        transposed = node.op_type == "Gemm" and any(a.name == "transA" and a.i for a in node.attribute)
        shared = shapes[node.input[0]][0 if transposed else -1]
        return 2.0 * math.prod(shapes[node.output[0]]) * shared
    if node.op_type in _CONVOLUTIONS:
        kernel = shapes[node.input[_CONVOLUTIONS[node.op_type]]]
        # A kernel is (out, in / groups, ...): what one element of the output sums up.
        return 2.0 * math.prod(shapes[node.output[0]]) * math.prod(kernel[1:])
    if node.domain not in ("", "ai.onnx"):
        # A runtime's own operator (fused attention, say) may hold most of the work, and says nothing of it.
        raise KeyError(node.op_type)
    return 0.0


def _constant_bytes(tensor: Any, onnx: Any) -> float:
    bits = {onnx.TensorProto.INT4: 4, onnx.TensorProto.UINT4: 4}.get(tensor.data_type)
    if tensor.data_type == onnx.TensorProto.STRING:
        return float(sum(map(len, tensor.string_data)))
    size = bits / 8 if bits else onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize
    return float(math.prod(tensor.dims) * size)
