"""An ONNX text encoder on ONNX Runtime: one text in, one embedding out, on as many threads as were asked for."""

from __future__ import annotations

import hashlib
import importlib
import json
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from outweigh.core.errors import MissingExtra, ModelError
from outweigh.core.variant import Option, Variant

NEEDED_BY = "text-classification"
REMEDY = "Run: pip install 'outweigh[onnx]'"

POOLINGS = ("mean", "cls", "none")
_INTEGERS: dict[str, type[np.signedinteger[Any]]] = {"tensor(int64)": np.int64, "tensor(int32)": np.int32}
_FEEDABLE = ("input_ids", "attention_mask", "token_type_ids")
_BAD_MODEL = "Give a text encoder in ONNX format, whole and unaltered"
_MISFIT = (
    "Check that the tokenizer is the model's own and that `max_tokens` is no more than it has positions; "
    "a model exported for one fixed length needs a dynamic sequence axis"
)

Floats = NDArray[np.float64]


def need(module: str, package: str) -> ModuleType:
    """The module of an extra, imported now. Raises MissingExtra."""
    try:
        return importlib.import_module(module)
    except ImportError as err:
        raise MissingExtra(package, NEEDED_BY, REMEDY) from err


@dataclass(frozen=True, slots=True)
class Tokens:
    """A tokenizer file and how many tokens of a text it may give. Two of equal fields cut texts the same way."""

    file: bytes
    max_tokens: int

    @property
    def digest(self) -> str:
        return hashlib.sha256(self.file).hexdigest()

    def tokenizer(self) -> Any:
        """A `tokenizers.Tokenizer` that truncates and never pads. Raises ValueError when the file is none."""
        tokenizer = need("tokenizers", "tokenizers").Tokenizer.from_buffer(self.file)
        tokenizer.no_padding()  # batch of one: padding would be paid for and tell nothing
        tokenizer.enable_truncation(self.max_tokens)
        return tokenizer


class TextEncoder:
    """An ONNX model, loaded.

    Args:
        variant: model file and the options `output` and `pooling`.
        tokens: how texts become token numbers.
        threads: threads ONNX Runtime may use.

    `output` is the index or name of the model's output to take. Without it: the first of rank 3 whose last dimension
    is fixed (token embeddings), else the first of rank 2 whose last dimension is fixed (a ready embedding), else the
    first of rank 3, else the first of rank 2. `pooling` makes one embedding of token embeddings: "mean", "cls" (the
    first token) or "none" for an output that is one already.

    Raises:
        ModelError: the file is missing or no ONNX model, asks for other inputs, or has no such output.
        MissingExtra: onnxruntime or tokenizers is not installed.
    """

    def __init__(self, variant: Variant, tokens: Tokens, threads: int) -> None:
        self._name = variant.name
        self._runtime = need("onnxruntime", "onnxruntime")
        self._failures = _failures()
        self._tokenizer = tokens.tokenizer()
        self._session = self._open(Path(variant.model), threads)
        self._inputs = self._checked_inputs()
        self._output, rank = self._chosen_output(variant.option("output", ""))
        self._pooling = self._chosen_pooling(variant.option("pooling", ""), rank)
        self.content_hash = _content_hash(
            Path(variant.model),
            {
                "output": self._output,
                "pooling": self._pooling,
                "tokenizer": tokens.digest,
                "max_tokens": tokens.max_tokens,
                "threads": threads,
            },
        )

    def embed(self, text: str) -> Floats:
        """Embedding of one text, shape (d,). Raises ModelError when the model fails on it or gives no finite one."""
        encoding = self._tokenizer.encode(text)
        filled = {
            "input_ids": encoding.ids,
            "attention_mask": encoding.attention_mask,
            "token_type_ids": [0] * len(encoding.ids),
        }
        feed = {name: np.array([filled[name]], dtype=kind) for name, kind in self._inputs.items()}
        try:
            (raw,) = self._session.run([self._output], feed)
        except self._failures as err:
            raise ModelError(
                self._name, f"it fails on a text of {len(encoding.ids)} tokens ({_brief(err)})", _MISFIT
            ) from err
        found = np.asarray(raw)
        if found.ndim != (2 if self._pooling == "none" else 3) or found.shape[0] != 1 or 0 in found.shape:
            shape = " × ".join(map(str, found.shape))
            raise self._wrong(f"output {self._output!r} is {shape}, which pooling {self._pooling!r} cannot use")
        if self._pooling == "mean":
            embedding = found[0].mean(axis=0, dtype=np.float64)  # one text, never padded: every token counts
        else:
            embedding = found[0, 0] if self._pooling == "cls" else found[0]
        if not np.issubdtype(embedding.dtype, np.floating) or not np.isfinite(embedding).all():
            raise ModelError(
                self._name,
                "its embedding is not finite (NaN or infinite)",
                "The model is damaged or overflows at its precision: check the file, or the lever that made it",
            )
        return np.asarray(embedding, dtype=np.float64)

    def _open(self, path: Path, threads: int) -> Any:
        if not path.is_file():
            raise ModelError(self._name, f"{path} does not exist", "Check the path of the model")
        self._runtime.disable_telemetry_events()
        options = self._runtime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = threads
        # Waiting threads would otherwise spin, and their waiting would be charged to the model.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.add_session_config_entry("session.inter_op.allow_spinning", "0")
        options.log_severity_level = 4  # what goes wrong is raised, not logged
        try:
            return self._runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except self._failures as err:
            raise ModelError(self._name, f"{path.name} is not a usable ONNX model ({_brief(err)})", _BAD_MODEL) from err

    def _checked_inputs(self) -> dict[str, type[np.signedinteger[Any]]]:
        declared = {given.name: given.type for given in self._session.get_inputs()}
        strange = [
            f"{name} {kind}" for name, kind in declared.items() if name not in _FEEDABLE or kind not in _INTEGERS
        ]
        if strange or "input_ids" not in declared:
            problem = f"it wants {', '.join(strange) or 'no input_ids'}"
            raise ModelError(self._name, problem, f"A text encoder takes {', '.join(_FEEDABLE)}, as integers")
        return {name: _INTEGERS[kind] for name, kind in declared.items()}

    def _chosen_output(self, wanted: Option) -> tuple[str, int]:
        outputs = self._session.get_outputs()
        shapes = [list(output.shape or ()) for output in outputs]
        if isinstance(wanted, int) and not isinstance(wanted, bool) and 0 <= wanted < len(outputs):
            place = wanted
        elif wanted != "" and wanted in (names := [output.name for output in outputs]):
            place = names.index(str(wanted))
        elif wanted != "":
            raise self._wrong(f"it has no output {wanted!r}")
        else:
            place = self._guessed_output(shapes)
        return outputs[place].name, len(shapes[place])

    def _guessed_output(self, shapes: list[list[object]]) -> int:
        for fixed in (True, False):
            for rank in (3, 2):
                for place, shape in enumerate(shapes):
                    if len(shape) == rank and (not fixed or isinstance(shape[-1], int)):
                        return place
        raise self._wrong("none of its outputs is an embedding")

    def _chosen_pooling(self, wanted: Option, rank: int) -> str:
        if wanted == "":
            return "none" if rank == 2 else "mean"
        if wanted not in POOLINGS:
            raise ModelError(self._name, f"pooling {wanted!r} is not known", f"Choose one of {', '.join(POOLINGS)}")
        return str(wanted)

    def _wrong(self, problem: str) -> ModelError:
        outputs = "; ".join(
            f"{place}: {output.name} [{', '.join(map(str, output.shape or ('?',)))}]"
            for place, output in enumerate(self._session.get_outputs())
        )
        return ModelError(self._name, problem, f"Set the options `output` and `pooling`. It gives {outputs}")


def _failures() -> tuple[type[Exception], ...]:
    """What ONNX Runtime raises: its own classes, which share no base, as its status codes name them."""
    state = need("onnxruntime.capi.onnxruntime_pybind11_state", "onnxruntime")
    codes = ("EPFail", "Fail", "InvalidArgument", "InvalidGraph", "InvalidProtobuf", "NoModel", "NoSuchFile",
             "NotImplemented", "RuntimeException")  # fmt: skip
    return tuple(getattr(state, code) for code in codes)


def _brief(err: Exception) -> str:
    text = " ".join(str(err).split())
    return text if len(text) <= 200 else text[:199] + "…"


def _content_hash(model: Path, options: dict[str, object]) -> str:
    """SHA-256 of what decides behaviour and cost: the model's bytes and the options in force, whatever their names."""
    digest = hashlib.sha256(json.dumps(options, sort_keys=True).encode())
    for file in (model, *_external_data(model)):
        with file.open("rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()


def _external_data(model: Path) -> list[Path]:
    """Files beside the model that hold its large weights, each once, by name."""
    onnx = need("onnx", "onnx")
    helper = need("onnx.external_data_helper", "onnx")
    graph = onnx.load(model, load_external_data=False).graph
    outside = [tensor for tensor in graph.initializer if helper.uses_external_data(tensor)]
    return sorted({model.parent / helper.ExternalDataInfo(tensor).location for tensor in outside})
