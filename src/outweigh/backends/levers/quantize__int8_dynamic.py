"""Dynamic int8 quantisation: weights stored as int8, activations quantised while running. Needs no calibration data."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import logging
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

from outweigh.core.errors import LeverError, MissingExtra
from outweigh.core.variant import Variant
from outweigh.ports import Availability
from outweigh.registry import levers

_NAME = "quantize:int8-dynamic"
# Raised when the same source would give another artefact: what lies in a work folder then no longer counts.
_VERSION = 1
_REMEDY = "Run: pip install 'outweigh[onnx]'"
_INTEGER_OPS = frozenset({"DynamicQuantizeLinear", "MatMulInteger", "ConvInteger", "DynamicQuantizeLSTM"})


@levers.register(_NAME)
class Int8Dynamic:
    """Quantise the weights of an ONNX model to int8, one scale a tensor.

    Scales by channel and ONNX Runtime's pre-processing were tried on a three-layer text encoder (600 texts, one
    thread): the same answers but for noise, and no CPU time saved, so neither is done. The whole int8 range is used,
    which can saturate on x86 processors without VNNI; that shows in quality, which is measured, not assumed.
    """

    name: ClassVar[str] = _NAME

    @classmethod
    def probe(cls) -> Availability:
        missing = [package for package in ("onnx", "onnxruntime") if importlib.util.find_spec(package) is None]
        return Availability(
            name=_NAME,
            usable=not missing,
            sees="ONNX models with float matrix products or convolutions",
            reason=f"not installed: {', '.join(missing)}" if missing else "",
            remedy=_REMEDY if missing else "",
        )

    def apply(self, variant: Variant, workdir: Path) -> Variant:
        """Quantise into `workdir`.

        The file's name carries a hash of the source, so a model that was quantised there before is not quantised again.

        Returns:
            The variant with `model` pointing at the new file, this lever appended, the variant it came from as its
            parent, and no content hash yet.

        Raises:
            LeverError: the model is missing, no ONNX, or has nothing that can be quantised; or `workdir` cannot be
                written.
            MissingExtra: onnx or onnxruntime is not installed.
        """
        source = Path(variant.model)
        try:
            artefact = workdir / f"{_digest(source)[:16]}-int8-dynamic-v{_VERSION}.onnx"
        except OSError as err:
            problem = f"{source} cannot be read ({err.strerror})"
            raise LeverError(_NAME, variant.name, problem, "Check the path of the model") from err
        if not artefact.exists():
            try:
                workdir.mkdir(parents=True, exist_ok=True)
                with tempfile.TemporaryDirectory(dir=workdir, prefix=".quantising-") as scratch:
                    made = _quantise(source, Path(scratch), variant.name)
                    made.replace(artefact)
            except OSError as err:
                problem = f"{workdir} cannot be written ({err.strerror or err})"
                raise LeverError(_NAME, variant.name, problem, "Free some space, or choose another folder") from err
        return replace(
            variant, model=str(artefact), levers=(*variant.levers, _NAME), parent=variant.name, content_hash=""
        )


def _quantise(source: Path, scratch: Path, variant: str) -> Path:
    """Quantise `source` to a file in `scratch` and check that something was quantised."""
    onnx, quantization = _need("onnx"), _need("onnxruntime.quantization")
    shapes = _need("onnxruntime.quantization.shape_inference")
    message, checker = _need("google.protobuf.message"), _need("onnx.checker")
    failures = (message.Error, checker.ValidationError, _need("onnx.shape_inference").InferenceError,
                ValueError, RuntimeError)  # fmt: skip
    prepared, made = scratch / "prepared.onnx", scratch / "quantised.onnx"
    with _heard() as said:
        try:
            # Marks the model as prepared, without which the quantiser warns; optimising it first gains nothing.
            shapes.quant_pre_process(source, prepared, skip_optimization=True, skip_symbolic_shape=True)
            quantization.quantize_dynamic(prepared, made, weight_type=quantization.QuantType.QInt8)
            before, after = (
                _integer_nodes(onnx.load(path, load_external_data=False).graph) for path in (prepared, made)
            )
        except failures as err:
            reason = "; ".join(filter(None, [_brief(err), *said[-1:]]))
            remedy = "Give a float ONNX model of less than 2 GB in one file"
            raise LeverError(_NAME, variant, f"it cannot be quantised ({reason})", remedy) from err
    if after <= before:
        raise LeverError(
            _NAME,
            variant,
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


def _need(module: str) -> ModuleType:
    try:
        return importlib.import_module(module)
    except ImportError as err:
        raise MissingExtra(module.partition(".")[0], _NAME, _REMEDY) from err


@contextmanager
def _heard() -> Iterator[list[str]]:
    """Collect what the quantiser logs, instead of letting it out.

    It logs through the root logger, which sets up logging for the whole program when nobody has. A handler of ours
    prevents that; a filter stops its records alone.
    """
    said: list[str] = []

    def is_not_theirs(record: logging.LogRecord) -> bool:
        theirs = "onnxruntime" in Path(record.pathname).parts
        if theirs:
            said.append(record.getMessage())
        return not theirs

    root, ours = logging.getLogger(), logging.NullHandler()
    root.addFilter(is_not_theirs)
    root.addHandler(ours)
    try:
        yield said
    finally:
        root.removeHandler(ours)
        root.removeFilter(is_not_theirs)


def _brief(err: Exception) -> str:
    text = " ".join(str(err).split()) or type(err).__name__
    return text if len(text) <= 200 else text[:199] + "…"


def _digest(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
