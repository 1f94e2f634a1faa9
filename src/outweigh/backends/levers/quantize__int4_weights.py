"""Weights stored in 4 bits and computed with as floats."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from outweigh.backends.levers._making import is_torch, needs_onnx, reweighted
from outweigh.backends.levers._weights_only import rewritten, to_int4
from outweigh.core.errors import LeverError
from outweigh.core.variant import Variant
from outweigh.ports import Availability
from outweigh.registry import levers

_NAME = "quantize:int4-weights"
_VERSION = 1


@levers.register(_NAME)
class Int4Weights:
    """Store the weights of an ONNX model's matrix products in 4 bits, 32 values a scale, as MatMulNBits.

    The product becomes about six times smaller, and ONNX Runtime multiplies from the packed form. That pays where
    reading weights is what takes the time (one token after another of a language model), and costs where arithmetic
    is (many tokens or items at once). MatMulNBits is ONNX Runtime's own operator: other runtimes may not know it.
    Tables that are looked up and convolutions stay as they are.

    A torch model is quantised by torchao whenever it is loaded, where that is installed and there is a GPU.
    """

    name: ClassVar[str] = _NAME

    @classmethod
    def probe(cls) -> Availability:
        return needs_onnx(_NAME, "ONNX models with constant float matrix products; torch models on a GPU")

    def apply(self, variant: Variant, workdir: Path) -> Variant:
        """Rewrite the model into `workdir`.

        Raises:
            LeverError: the model is no ONNX, older than opset 13, or has no large constant float weights; it is torch
                and there is no GPU or torchao; or `workdir` cannot be written.
            MissingExtra: onnx or onnxruntime is not installed.
        """
        if is_torch(variant):
            return _torch(variant, workdir)
        return rewritten(variant, _NAME, workdir, f"int4-weights-v{_VERSION}", 13, to_int4)


def _torch(variant: Variant, workdir: Path) -> Variant:
    from outweigh.backends.levers._torch_made import has_torchao, in_precision

    if not has_torchao(_NAME):
        problem = "on a torch model it needs torchao and a GPU, and there is none"
        raise LeverError(_NAME, variant.name, problem, "Apply the lever runtime:onnxruntime before it")
    return reweighted(variant, _NAME, in_precision(variant, _NAME, workdir, "torchao-int4-weights"))
