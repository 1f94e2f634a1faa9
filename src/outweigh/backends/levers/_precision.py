"""ONNX models in 16-bit floats, where the runtime computes in them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from outweigh.backends.levers._making import (
    brief,
    heard,
    keep,
    levered,
    need,
    onnx_failures,
    onnx_file,
    opset,
    read_onnx,
    session,
)
from outweigh.core.errors import LeverError
from outweigh.core.variant import Variant

_COMPUTING = frozenset({"MatMul", "Gemm", "Conv", "FusedMatMul", "FusedConv", "FusedGemm", "Attention",
                        "MultiHeadAttention"})  # fmt: skip
_CASTS = ("InsertedPrecisionFreeCast_", "FusedBack_")  # names that ONNX Runtime gives
_OPENVINO = {"fp16": "FP16", "bf16": "BF16"}
#: Since when MatMul takes bfloat16 (ONNX operator changelog).
_LEAST_OPSET = {"fp16": 9, "bf16": 13}


def cast_onnx(variant: Variant, lever: str, workdir: Path, precision: str, version: int) -> Variant:
    """The variant's ONNX model with float32 weights and arithmetic in `precision` ("fp16" or "bf16").

    It still takes and gives float32.

    Raises:
        LeverError: the runtime has no kernels for it here, there is nothing to cast, or the folder cannot be written.
    """
    source = onnx_file(variant, lever)
    runtime = str(variant.option("runtime", "onnxruntime"))

    def make(scratch: Path) -> Path:
        model = read_onnx(source, lever, variant)
        if opset(model) < _LEAST_OPSET[precision]:
            remedy = f"Export it with opset {_LEAST_OPSET[precision]} or newer"
            raise LeverError(lever, variant.name, f"opset {opset(model)} has no {precision}", remedy)
        if lower(model, precision) == 0:
            raise LeverError(lever, variant.name, "it has no float32 weights", "Apply it to the float model")
        made = scratch / "made.onnx"
        need("onnx", lever).save(model, made)
        _check_kernels(made, runtime, precision, lever, variant, scratch)
        return made

    return levered(variant, lever, model=keep(lever, variant, workdir, f"{precision}-v{version}", ".onnx", make))


def lower(model: Any, precision: str) -> int:
    """Cast a model in place: weights, constants, casts and what lies between; returns how many weights there were.

    Inputs and outputs stay float32, with a Cast behind and before them. Where an operator asks for float32 (the scales
    of Resize, say), the model is refused when it is loaded, not repaired here.
    """
    onnx = need("onnx", "cast")
    helper, proto = onnx.helper, onnx.TensorProto
    full, low = proto.FLOAT, proto.FLOAT16 if precision == "fp16" else proto.BFLOAT16
    graph = model.graph
    del graph.value_info[:]
    weights = [tensor for tensor in graph.initializer if tensor.data_type == full]
    for tensor in weights:
        tensor.CopyFrom(_lowered(onnx, tensor, low))
    renamed: dict[str, str] = {}
    constants = {tensor.name for tensor in graph.initializer}
    first, last = [], []
    for given in graph.input:
        if given.type.tensor_type.elem_type == full and given.name not in constants:
            renamed[given.name] = f"{given.name}_{precision}"
            first.append(helper.make_node("Cast", [given.name], [renamed[given.name]], to=low))
    for output in graph.output:
        if output.type.tensor_type.elem_type == full:
            renamed[output.name] = f"{output.name}_{precision}"
            last.append(helper.make_node("Cast", [renamed[output.name]], [output.name], to=full))
    for node in graph.node:
        for names in (node.input, node.output):
            for place, name in enumerate(names):
                names[place] = renamed.get(name, name)
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.TENSOR and attribute.t.data_type == full:
                attribute.t.CopyFrom(_lowered(onnx, attribute.t, low))
            elif attribute.name in ("to", "dtype") and attribute.i == full:
                attribute.i = low
            elif node.op_type == "Constant" and attribute.name in ("value_float", "value_floats"):
                values = [attribute.f] if attribute.name == "value_float" else list(attribute.floats)
                shape = [] if attribute.name == "value_float" else [len(values)]
                plain = helper.make_tensor("", full, shape, values)
                attribute.CopyFrom(helper.make_attribute("value", _lowered(onnx, plain, low)))
    nodes = [*first, *graph.node, *last]
    kept = [type(node).FromString(node.SerializeToString()) for node in nodes]
    del graph.node[:]
    graph.node.extend(kept)
    return len(weights)


def _lowered(onnx: Any, tensor: Any, low: int) -> Any:
    values = onnx.numpy_helper.to_array(tensor).astype(np.float32)
    if low == onnx.TensorProto.FLOAT16:
        # What lies beyond the range would become infinite; masks of -3.4e38 are meant to be "very small".
        limit = float(np.finfo(np.float16).max)
        return onnx.numpy_helper.from_array(np.clip(values, -limit, limit).astype(np.float16), tensor.name)
    bits = np.ascontiguousarray(values).view(np.uint32)
    rounded = ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)  # to nearest, ties to even
    return onnx.helper.make_tensor(tensor.name, low, values.shape, rounded.tobytes(), raw=True)


def _check_kernels(made: Path, runtime: str, precision: str, lever: str, variant: Variant, scratch: Path) -> None:
    if runtime == "openvino":
        can = (
            need("openvino", lever, "Run: pip install 'outweigh[openvino]'")
            .Core()
            .get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        )
        if _OPENVINO[precision] not in can:
            problem = f"OpenVINO does not compute in {precision} on this processor (it can {', '.join(can)})"
            raise LeverError(lever, variant.name, problem, "Leave it in float32 here")
        return
    onnx, ort = need("onnx", lever), need("onnxruntime", lever)
    failures = onnx_failures(lever)
    optimised = scratch / "optimised.onnx"
    no_kernels = f"ONNX Runtime does not compute in {precision} on this processor"
    remedy = "Leave it in float32 here, or use a GPU"
    with heard():
        try:
            session(ort, made, optimized_model_filepath=str(optimised))
            loaded = onnx.load(optimised, load_external_data=False)
        except failures as err:
            raise LeverError(lever, variant.name, f"{no_kernels} ({brief(err)})", remedy) from err
    # Where it has no kernel ONNX Runtime casts to float32 and back, and drops pairs of casts that meet: what it then
    # computes in float32 reads or gives tensors that it named after a cast.
    computing = [node for node in loaded.graph.node if node.op_type in _COMPUTING]
    upcast = [node for node in computing if any(name.startswith(_CASTS) for name in (*node.input, *node.output))]
    if upcast:
        problem = f"{no_kernels}: {len(upcast)} of {len(computing)} products would be computed in float32 all the same"
        raise LeverError(lever, variant.name, problem, remedy)
