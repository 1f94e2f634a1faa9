"""Weights and arithmetic in fp16."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from outweigh.backends.levers._making import is_torch, needs_onnx, reweighted
from outweigh.backends.levers._precision import cast_onnx
from outweigh.core.variant import Variant
from outweigh.ports import Availability
from outweigh.registry import levers

_NAME = "cast:fp16"
_VERSION = 1


@levers.register(_NAME)
class Fp16:
    """Halve the weights to IEEE half precision: 11 bits of mantissa, up to 65,504. Larger weights are held at that.

    An ONNX model is cast only where its runtime computes in fp16 on this processor. Elsewhere the runtime computes in
    float32 all the same, with casts between: that saves no arithmetic, so it is refused, and said. A torch
    model is cast whenever it is loaded; what comes in and goes out stays float32.
    """

    name: ClassVar[str] = _NAME

    @classmethod
    def probe(cls) -> Availability:
        return needs_onnx(_NAME, "ONNX models where the runtime has fp16 kernels; torch models")

    def apply(self, variant: Variant, workdir: Path) -> Variant:
        """Cast into `workdir`.

        Raises:
            LeverError: the runtime has no kernels for it here, there is nothing to cast, or `workdir` cannot be
                written.
            MissingExtra: onnx, onnxruntime or (for a torch model) torch is not installed.
        """
        if is_torch(variant):
            from outweigh.backends.levers._torch_made import in_precision

            return reweighted(variant, _NAME, in_precision(variant, _NAME, workdir, "fp16"))
        return cast_onnx(variant, _NAME, workdir, "fp16", _VERSION)
