"""Dynamic int8 quantisation: weights stored as int8, activations quantised while running. Needs no calibration data."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from outweigh.backends.levers._making import (
    is_torch,
    keep,
    levered,
    need,
    needs_onnx,
    reweighted,
    telling,
)
from outweigh.core.errors import LeverError
from outweigh.core.variant import Variant
from outweigh.ports import Availability
from outweigh.registry import levers

_NAME = "quantize:int8-dynamic"
# Raised when the same source would give another artefact: what lies in a work folder then no longer counts.
_VERSION = 1
_INTEGER_OPS = frozenset({"DynamicQuantizeLinear", "MatMulInteger", "ConvInteger", "DynamicQuantizeLSTM"})


@levers.register(_NAME)
class Int8Dynamic:
    """Quantise the weights of an ONNX model to int8, one scale a tensor.

    Scales by channel and ONNX Runtime's pre-processing were tried on a three-layer text encoder (600 texts, one
    thread): the same answers but for noise, and no CPU time saved, so neither is done. The whole int8 range is used,
    which can saturate on x86 processors without VNNI; that shows in quality, which is measured, not assumed.

    A torch model keeps its float weights in the file and is quantised whenever it is loaded, linear layers only: by
    torch on a CPU, by torchao where that is installed and there is a GPU.
    """

    name: ClassVar[str] = _NAME

    @classmethod
    def probe(cls) -> Availability:
        return needs_onnx(_NAME, "ONNX models with float matrix products or convolutions; torch models")

    def apply(self, variant: Variant, workdir: Path) -> Variant:
        """Quantise into `workdir`.

        The file's name carries a hash of the source, so a model that was quantised there before is not quantised again.

        Returns:
            The variant with `model` pointing at the new file (a torch model: with `weights`), this lever appended,
            the variant it came from as its parent, and no content hash yet.

        Raises:
            LeverError: the model is missing, neither ONNX nor torch, or has nothing that can be quantised; or
                `workdir` cannot be written.
            MissingExtra: onnx or onnxruntime is not installed.
        """
        if is_torch(variant):
            return _torch(variant, workdir)
        source = Path(variant.model)
        made = keep(
            _NAME, variant, workdir, f"int8-dynamic-v{_VERSION}", ".onnx",
            lambda scratch: _quantise(source, scratch, variant),
        )  # fmt: skip
        return levered(variant, _NAME, model=made)


def _torch(variant: Variant, workdir: Path) -> Variant:
    # torch is heavy, and most models are ONNX.
    from outweigh.backends.levers._torch_made import float_network, has_torchao, in_precision

    network, _ = float_network(variant, _NAME)
    if not any(type(module).__name__ == "Linear" for module in network.modules()):
        problem, remedy = "there is nothing to quantise: torch quantises linear layers this way", "Try the ONNX form"
        raise LeverError(_NAME, variant.name, problem, remedy)
    precision = "torchao-int8-dynamic" if has_torchao(_NAME) else "int8-dynamic"
    return reweighted(variant, _NAME, in_precision(variant, _NAME, workdir, precision))


def _quantise(source: Path, scratch: Path, variant: Variant) -> Path:
    """Quantise `source` to a file in `scratch` and check that something was quantised."""
    onnx, quantization = need("onnx", _NAME), need("onnxruntime.quantization", _NAME)
    shapes = need("onnxruntime.quantization.shape_inference", _NAME)
    prepared, made = scratch / "prepared.onnx", scratch / "quantised.onnx"
    remedy = "Give a float ONNX model of less than 2 GB in one file"
    with telling(_NAME, variant, "it cannot be quantised", remedy):
        # Marks the model as prepared, without which the quantiser warns; optimising it first gains nothing.
        shapes.quant_pre_process(source, prepared, skip_optimization=True, skip_symbolic_shape=True)
        quantization.quantize_dynamic(prepared, made, weight_type=quantization.QuantType.QInt8)
        before, after = (_integer_nodes(onnx.load(path, load_external_data=False).graph) for path in (prepared, made))
    if after <= before:
        raise LeverError(
            _NAME,
            variant.name,
            "there is nothing to quantise: no matrix product or convolution with constant float weights",
            "Apply it to the float model; one whose weights are int8 already gains nothing",
        )
    return made


def _integer_nodes(graph: Any) -> int:
    """Nodes that compute with int8, those inside branches and loops included."""
    inner = [given for node in graph.node for attribute in node.attribute for given in _graphs(attribute)]
    return sum(node.op_type in _INTEGER_OPS for node in graph.node) + sum(_integer_nodes(given) for given in inner)


def _graphs(attribute: Any) -> list[Any]:
    return [*attribute.graphs, *([attribute.g] if attribute.HasField("g") else [])]
