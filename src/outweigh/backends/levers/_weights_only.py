"""ONNX models whose weights are stored in few bits and computed with as floats."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from outweigh.backends.levers._making import keep, levered, need, onnx_file, opset, read_onnx, write_onnx
from outweigh.core.errors import LeverError
from outweigh.core.variant import Variant

_LEAST_VALUES = 1_024  # a smaller table costs more in scales and nodes than it saves
_BLOCK = 32  # values that share a scale, as in the llama.cpp formats q4_0 and q8_0
# Weights that are all smaller count as zero: a scale for them would be no normal number, or none at all.
_LEAST = 256 * float(np.finfo(np.float32).tiny)

Floats = NDArray[np.float32]


def rewritten(
    variant: Variant, lever: str, workdir: Path, label: str, least_opset: int, rewrite: Callable[[Any], int]
) -> Variant:
    """The variant with its ONNX graph changed by `rewrite`, which says how many weights it found.

    Raises:
        LeverError: no ONNX, too old a one, nothing found, or the folder cannot be written.
    """
    source = onnx_file(variant, lever)

    def make(scratch: Path) -> Path:
        model = read_onnx(source, lever, variant)
        if opset(model) < least_opset:
            problem = f"it is written in opset {opset(model)}, which has no operator for it"
            raise LeverError(lever, variant.name, problem, f"Export it with opset {least_opset} or newer")
        if rewrite(model) == 0:
            problem = "it has no constant float weights of any size"
            raise LeverError(lever, variant.name, problem, "Apply it to the float model")
        return write_onnx(model, scratch / "made.onnx", lever, variant)

    return levered(variant, lever, model=keep(lever, variant, workdir, label, ".onnx", make))


def to_int8(model: Any) -> int:
    """Store each large weight as int8 with one scale a channel, brought back by DequantizeLinear; returns how many.

    The scale is the largest magnitude of the channel over 127, zero is 0. Channels are the outputs of matrix products
    and convolutions, and the rows of a table that is looked up.
    """
    onnx = need("onnx", "quantize:int8-weights")
    helper, numpy_helper = onnx.helper, onnx.numpy_helper
    held = {tensor.name: tensor for tensor in model.graph.initializer}
    added, done = [], set()
    for node in model.graph.node:
        place, axis = _channels(node, held)
        name = node.input[place] if place >= 0 else ""
        if name in done or name not in held or not _large(onnx, held[name]):
            continue
        values = numpy_helper.to_array(held[name])
        stored, scales = int8_by_channel(values, axis)
        held[name].CopyFrom(numpy_helper.from_array(stored, f"{name}_int8"))
        model.graph.initializer.append(numpy_helper.from_array(scales, f"{name}_scales"))
        added.append(
            helper.make_node("DequantizeLinear", [f"{name}_int8", f"{name}_scales"], [name], f"{name}_dequantise",
                             axis=axis)
        )  # fmt: skip
        done.add(name)
    _put_first(model, added)
    return len(added)


def int8_by_channel(values: Floats, axis: int) -> tuple[NDArray[np.int8], Floats]:
    """int8 values and one scale a channel along `axis`: values are about stored x scale.

    >>> stored, scales = int8_by_channel(np.array([[1.0, -2.0], [0.5, 2.0]], dtype=np.float32), axis=1)
    >>> stored.tolist(), [round(float(scale), 4) for scale in scales]
    ([[127, -127], [64, 127]], [0.0079, 0.0157])
    """
    others = tuple(each for each in range(values.ndim) if each != axis)
    largest = np.abs(values).max(axis=others)
    scales = np.where(largest > _LEAST, largest / 127, 1).astype(np.float32)
    shape = [-1 if each == axis else 1 for each in range(values.ndim)]
    return np.clip(np.rint(values / scales.reshape(shape)), -127, 127).astype(np.int8), scales


def to_int4(model: Any) -> int:
    """Store the weights of matrix products in 4 bits, by MatMulNBits of ONNX Runtime; returns how many."""
    onnx = need("onnx", "quantize:int4-weights")
    helper, numpy_helper = onnx.helper, onnx.numpy_helper
    held = {tensor.name: tensor for tensor in model.graph.initializer}
    found = 0
    for node in model.graph.node:
        if node.op_type != "MatMul" or node.input[1] not in held or not _large(onnx, held[node.input[1]]):
            continue
        weights = numpy_helper.to_array(held[node.input[1]])
        if weights.ndim != 2:
            continue
        name = f"{node.input[1]}_int4_{found}"
        packed, scales = int4_blocks(weights.T)
        model.graph.initializer.extend(
            [numpy_helper.from_array(packed, name), numpy_helper.from_array(scales, f"{name}_scales")]
        )
        made = helper.make_node(
            "MatMulNBits", [node.input[0], name, f"{name}_scales"], list(node.output), node.name or name,
            domain="com.microsoft", K=weights.shape[0], N=weights.shape[1], bits=4, block_size=_BLOCK,
        )  # fmt: skip
        node.CopyFrom(made)
        found += 1
    if found:
        _drop_unused(model)
        if not any(entry.domain == "com.microsoft" for entry in model.opset_import):
            model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    return found


def int4_blocks(rows: Floats) -> tuple[NDArray[np.uint8], Floats]:
    """Weights in 4 bits as MatMulNBits reads them: about (value - 8) x scale, the first of each pair in the low half.

    The scale puts the value of largest magnitude of each block of 32 on the end of the range that reaches furthest
    (-8), as llama.cpp's q4_0 does. A row that is no multiple of 32 is filled up with zeros.

    Args:
        rows: shape (n, k), one row an output.

    Returns:
        Packed, shape (n, ceil(k / 32), 16), and scales, shape (n, ceil(k / 32)).

    Source: ONNX Runtime contributed operators, com.microsoft.MatMulNBits.
    """
    n, k = rows.shape
    blocks = -(-k // _BLOCK)
    filled = np.zeros((n, blocks * _BLOCK), dtype=np.float32)
    filled[:, :k] = rows
    grouped = filled.reshape(n, blocks, _BLOCK)
    furthest = np.take_along_axis(grouped, np.abs(grouped).argmax(axis=2, keepdims=True), axis=2)
    scales = np.where(np.abs(furthest) > _LEAST, furthest / -8, 1).astype(np.float32)
    values = np.clip(np.rint(grouped / scales) + 8, 0, 15).astype(np.uint8)
    packed = values[:, :, 0::2] | (values[:, :, 1::2] << 4)
    return packed.astype(np.uint8), scales[:, :, 0]


def _channels(node: Any, held: Any) -> tuple[int, int]:
    """Which input of a node is a weight, and the axis of its channels; (-1, 0) for none."""
    if node.op_type == "Conv":
        return 1, 0
    if node.op_type == "Gather":
        return 0, 0
    if node.op_type == "Gemm":
        turned = any(each.name == "transB" and each.i for each in node.attribute)
        return 1, 0 if turned else 1
    if node.op_type == "MatMul" and node.input[1] in held:
        return 1, len(held[node.input[1]].dims) - 1
    return -1, 0


def _large(onnx: Any, tensor: Any) -> bool:
    return (
        tensor.data_type == onnx.TensorProto.FLOAT
        and len(tensor.dims) >= 2
        and int(np.prod(tensor.dims)) >= _LEAST_VALUES
    )


def _put_first(model: Any, nodes: list[Any]) -> None:
    """Nodes that read constants only, before all others: an ONNX graph is kept in the order it is run."""
    rest = list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend([*nodes, *rest])


def _drop_unused(model: Any) -> None:
    read = {name for node in model.graph.node for name in node.input} | {each.name for each in model.graph.output}
    kept = [tensor for tensor in model.graph.initializer if tensor.name in read]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)
