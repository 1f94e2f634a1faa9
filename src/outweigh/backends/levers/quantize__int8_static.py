"""Static int8 quantisation: weights and activations in int8, activations by ranges found on training items."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

from outweigh.backends.levers._making import (
    keep,
    levered,
    need,
    needs_onnx,
    onnx_file,
    session,
    spelled,
    taught_by,
    telling,
    whole,
)
from outweigh.core.errors import LeverError
from outweigh.core.variant import Variant
from outweigh.ports import Availability, TeachesLevers
from outweigh.registry import levers

_NAME = "quantize:int8-static"
_VERSION = 1
_ITEMS = 128  # training items that ranges are found on, where the argument does not say
_QUANTISED = ("QuantizeLinear", "DequantizeLinear")


@levers.register(_NAME)
class Int8Static:
    """Quantise an ONNX model to int8 with QuantizeLinear and DequantizeLinear (QDQ) around what is computed in int8.

    Weights get one scale a channel, int8; activations one a tensor, uint8, spanning what they took on the training
    items (the smallest and largest value). "quantize:int8-static:64" finds them on 64 items instead of 128. Constants
    are folded first and normalisation is merged into convolutions, as ONNX Runtime would when it loads the float model.

    Rounding where values are passed on costs time as well: a small network can become slower, and does not get better
    for having been pruned. It is measured, not assumed.
    """

    name: ClassVar[str] = _NAME

    def __init__(self, items: str = "") -> None:
        self._items = items

    @classmethod
    def probe(cls) -> Availability:
        return needs_onnx(_NAME, "ONNX models, with a task that gives training items")

    def apply_taught(self, variant: Variant, workdir: Path, task: TeachesLevers) -> Variant:
        """Quantise into `workdir`, by training items of `task`.

        Raises:
            LeverError: the model is no ONNX, has nothing to quantise, fails on the items, or the task gives none; or
                `workdir` cannot be written.
            MissingExtra: onnx or onnxruntime is not installed.
        """
        source = onnx_file(variant, _NAME)
        items = whole(self._items, _NAME, variant, 1, otherwise=_ITEMS)
        made = keep(
            _NAME, variant, workdir, f"int8-static-v{_VERSION}", ".onnx",
            lambda scratch: _quantise(source, scratch, variant, task, items), str(items), taught_by(task),
        )  # fmt: skip
        return levered(variant, spelled(_NAME, self._items), model=made)


def _quantise(source: Path, scratch: Path, variant: Variant, task: TeachesLevers, items: int) -> Path:
    onnx, runtime = need("onnx", _NAME), need("onnxruntime", _NAME)
    quantization = need("onnxruntime.quantization", _NAME)
    shapes = need("onnxruntime.quantization.shape_inference", _NAME)
    prepared, made = scratch / "prepared.onnx", scratch / "quantised.onnx"
    feeds = list(task.feeds(variant, items))
    if not feeds:
        raise LeverError(_NAME, variant.name, "the task gives no training items", "Give the task a training split")
    with telling(_NAME, variant, "it cannot be quantised", "Give a float ONNX model of less than 2 GB in one file"):
        shapes.quant_pre_process(source, prepared, skip_symbolic_shape=True)
        quantization.quantize_static(
            prepared,
            made,
            _reader(quantization, feeds),
            quant_format=quantization.QuantFormat.QDQ,
            activation_type=quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8,
            per_channel=True,
        )
        before, after = (_quantised(onnx.load(path, load_external_data=False)) for path in (prepared, made))
        if after > before:
            session(runtime, made).run(None, dict(feeds[0]))
    if after <= before:
        problem = "there is nothing to quantise: no operator with constant float weights"
        raise LeverError(_NAME, variant.name, problem, "Apply it to the float model")
    return made


def _reader(quantization: Any, feeds: list[Mapping[str, Any]]) -> Any:
    class Reader(quantization.CalibrationDataReader):  # type: ignore[misc, name-defined, unused-ignore]
        def __init__(self) -> None:
            self._left: Iterator[Mapping[str, Any]] = iter(feeds)

        def get_next(self) -> dict[str, Any] | None:
            return next((dict(feed) for feed in self._left), None)

    return Reader()


def _quantised(model: Any) -> int:
    return sum(node.op_type in _QUANTISED for node in model.graph.node)
