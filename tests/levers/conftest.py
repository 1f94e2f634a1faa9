from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

NETWORK = """
import torch
from torch import nn


class Blocks(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.into = nn.Linear(64, 64)
        self.layers = nn.ModuleList([nn.Sequential(nn.Linear(64, 64), nn.ReLU()) for _ in range(3)])
        self.out = nn.Linear(64, 4)

    def forward(self, x):
        x = self.into(x)
        for layer in self.layers:
            x = x + layer(x)
        return self.out(x)


def blocks():
    return Blocks()


def thin():
    return nn.Sequential(nn.Linear(64, 4))


def fails():
    raise RuntimeError("no such luck")


def number():
    return 3
"""


class Teaches:
    """A task's training split: four classes of 64 numbers, told apart by where they are large."""

    def __init__(self, n: int = 256, seed: int = 0, name: str = "x") -> None:
        chance = np.random.default_rng(seed)
        self.targets = chance.integers(0, 4, n).astype(np.int64)
        self.inputs = chance.normal(size=(n, 64)).astype(np.float32)
        self.inputs.reshape(n, 4, 16)[np.arange(n), self.targets] += 1.5
        self.content_hash, self._name = f"squares {n} {seed}", name

    def feeds(self, variant: Any, n: int) -> Iterator[Mapping[str, Any]]:
        for row in self.inputs[:n]:
            yield {self._name: row[np.newaxis]}

    def examples(self) -> tuple[Any, Any]:
        return self.inputs, self.targets


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


@pytest.fixture
def transformer(tmp_path: Path) -> Callable[..., Path]:
    """Writes an ONNX model of three numbered residual blocks, (b, 64) -> (b, 64): y = x + x @ W_k in each."""
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")

    def make(blocks: int = 3, name: str = "transformer.onnx", numbered: bool = True) -> Path:
        helper, floats = onnx.helper, onnx.TensorProto.FLOAT
        chance = np.random.default_rng(5)
        nodes, weights, into = [], [], "x"
        for number in range(blocks):
            path = f"encoder.layer.{number}.dense" if numbered else f"dense_{number}_"
            weights.append(
                onnx.numpy_helper.from_array(chance.normal(size=(64, 64)).astype(np.float32) / 8, f"{path}.weight")
            )
            nodes.append(helper.make_node("MatMul", [into, f"{path}.weight"], [f"product_{number}"]))
            nodes.append(helper.make_node("Add", [into, f"product_{number}"], [f"sum_{number}"]))
            into = f"sum_{number}"
        nodes.append(helper.make_node("Tanh", [into], ["y"]))
        graph = helper.make_graph(
            nodes,
            "blocks",
            [helper.make_tensor_value_info("x", floats, ["b", 64])],
            [helper.make_tensor_value_info("y", floats, ["b", 64])],
            weights,
        )
        path = tmp_path / name
        onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
        return path

    return make


@pytest.fixture
def network_file(tmp_path: Path) -> Path:
    """A Python file of torch networks."""
    path = tmp_path / "network.py"
    path.write_text(NETWORK)
    return path


@pytest.fixture(autouse=True)
def own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Journals of device settings go nowhere else."""
    monkeypatch.setenv("OUTWEIGH_STATE", str(tmp_path / "state"))
    return tmp_path / "state"


@pytest.fixture
def teaches() -> type[Teaches]:
    """A task's training split of made-up items, to be built with a number of them."""
    return Teaches
