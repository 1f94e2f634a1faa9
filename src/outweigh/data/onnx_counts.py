"""What an ONNX graph says of its own work: operations and bytes of weights, counted without running it."""

from __future__ import annotations

import math
import tempfile
from pathlib import Path
from typing import Any

#: What an open axis of a graph's input is taken to be; the first one is the batch, of one item.
NOMINAL_LENGTH = 128


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
    operations = _counted(loaded)
    if operations is None and (folded := _folded(loaded)) is not None:
        operations = _counted(folded)
    if operations is None:
        return None
    # Of the file as it is: folding turns weights of a few bits into floats.
    return operations, float(sum(_constant_bytes(tensor, onnx) for tensor in loaded.graph.initializer))


def _counted(model: Any) -> float | None:
    """Operations of all its nodes; None when a shape stays unknown."""
    import onnx

    try:
        graph = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    except onnx.shape_inference.InferenceError:
        return None
    shapes = _shapes(graph)
    operations = 0.0
    for node in graph.node:
        try:
            operations += _operations(node, shapes)
        except (KeyError, IndexError):
            return None
    return operations


def _folded(model: Any) -> Any | None:
    """The graph with all that its closed axes decide worked out, shapes of reshapes above all; by ONNX Runtime."""
    try:
        import onnx
        import onnxruntime
        from onnxruntime.capi import onnxruntime_pybind11_state as refusals
    except ImportError:
        return None
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.log_severity_level = 3
    with tempfile.TemporaryDirectory() as folder:
        options.optimized_model_filepath = str(Path(folder) / "folded.onnx")
        try:
            onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        except (
            refusals.Fail, refusals.InvalidArgument, refusals.InvalidGraph, refusals.NotImplemented,
            refusals.RuntimeException,
        ):  # fmt: skip
            return None
        return onnx.load(options.optimized_model_filepath)


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
