"""Weights stored in 8 bits and computed with as floats."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from outweigh.backends.levers._making import is_torch, needs_onnx, reweighted
from outweigh.backends.levers._weights_only import rewritten, to_int8
from outweigh.core.errors import LeverError
from outweigh.core.variant import Variant
from outweigh.ports import Availability
from outweigh.registry import levers

_NAME = "quantize:int8-weights"
_VERSION = 1


@levers.register(_NAME)
class Int8Weights:
    """Store the weights of an ONNX model as int8, one scale a channel, behind DequantizeLinear.

    The file becomes about four times smaller. What is computed does not become cheaper: the runtime turns the weights
    back into floats on every run, which adds work. It is for models that memory or a download holds back; whether it
    saves energy is measured.

    A torch model is quantised by torchao whenever it is loaded, where that is installed and there is a GPU.
    """

    name: ClassVar[str] = _NAME

    @classmethod
    def probe(cls) -> Availability:
        return needs_onnx(_NAME, "ONNX models with large constant float weights; torch models on a GPU")

    def apply(self, variant: Variant, workdir: Path) -> Variant:
        """Rewrite the model into `workdir`.

        Raises:
            LeverError: the model is no ONNX, older than opset 13, or has no large constant float weights; it is torch
                and there is no GPU or torchao; or `workdir` cannot be written.
            MissingExtra: onnx or onnxruntime is not installed.
        """
        if is_torch(variant):
            return _torch(variant, workdir)
        return rewritten(variant, _NAME, workdir, f"int8-weights-v{_VERSION}", 13, to_int8)


def _torch(variant: Variant, workdir: Path) -> Variant:
    from outweigh.backends.levers._torch_made import has_torchao, in_precision

    if not has_torchao(_NAME):
        problem = "on a torch model it needs torchao and a GPU, and there is none"
        raise LeverError(_NAME, variant.name, problem, "Apply the lever runtime:onnxruntime before it")
    return reweighted(variant, _NAME, in_precision(variant, _NAME, workdir, "torchao-int8-weights"))
