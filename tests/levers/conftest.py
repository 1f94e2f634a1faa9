from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest


@pytest.fixture
def dense_model(tmp_path: Path) -> Callable[..., Path]:
    """Writes an ONNX model: one dense layer, float32, (b, 64) -> (b, `outputs`). `constant=False` takes the weights as
    an input instead, so that there is nothing to quantise."""
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")

    def make(name: str = "dense.onnx", outputs: int = 32, constant: bool = True, seed: int = 3) -> Path:
        weights = np.random.default_rng(seed).normal(size=(64, outputs)).astype(np.float32)
        helper, floats = onnx.helper, onnx.TensorProto.FLOAT
        inputs = [helper.make_tensor_value_info("x", floats, ["b", 64])]
        if not constant:
            inputs.append(helper.make_tensor_value_info("weights", floats, [64, outputs]))
        graph = helper.make_graph(
            [helper.make_node("MatMul", ["x", "weights"], ["y"])],
            "dense",
            inputs,
            [helper.make_tensor_value_info("y", floats, ["b", outputs])],
            [onnx.numpy_helper.from_array(weights, "weights")] if constant else [],
        )
        path = tmp_path / name
        onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
        return path

    return make
