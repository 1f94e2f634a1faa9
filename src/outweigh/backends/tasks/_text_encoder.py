"""A text encoder on any engine: texts in, one embedding each out."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from outweigh.backends.tasks._engine import TOKEN_INPUTS, Setup, content_hash, finite, open_engine
from outweigh.backends.tasks._options import need as needed
from outweigh.core.errors import ModelError
from outweigh.core.variant import Option, Variant

NEEDED_BY = "text-classification"
REMEDY = "Run: pip install 'outweigh[onnx]'"

POOLINGS = ("mean", "cls", "none")
_MISFIT = (
    "Check that the tokenizer is the model's own and that `max_tokens` is no more than it has positions; "
    "a model exported for one fixed length needs a dynamic sequence axis"
)

Floats = NDArray[np.float64]
Integers = NDArray[np.signedinteger[Any]]


def need(module: str, package: str) -> ModuleType:
    """The module of an extra, imported now. Raises MissingExtra."""
    return needed(module, package, NEEDED_BY, REMEDY)


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
    """A model, loaded.

    Args:
        variant: model file and the options `output` and `pooling`.
        tokens: how texts become token numbers.
        setup: what it runs on.

    `output` is the index or name of the model's output to take. Without it: the first of rank 3 whose last dimension
    is fixed (token embeddings), else the first of rank 2 whose last dimension is fixed (a ready embedding), else the
    first of rank 3, else the first of rank 2. `pooling` makes one embedding of token embeddings: "mean", "cls" (the
    first token) or "none" for an output that is one already.

    Raises:
        ModelError: the file is missing or no model, asks for other inputs, or has no such output.
        MissingExtra: the runtime or tokenizers is not installed.
    """

    def __init__(self, variant: Variant, tokens: Tokens, setup: Setup) -> None:
        self._name = variant.name
        self._tokenizer = tokens.tokenizer()
        self._engine = open_engine(variant, setup, NEEDED_BY)
        self._inputs = self._checked_inputs()
        if setup.batch > 1 and "attention_mask" not in self._inputs:
            problem = f"it takes no attention_mask, so texts of a batch of {setup.batch} cannot be padded"
            raise ModelError(self._name, problem, "Leave its `batch` at 1")
        self._output, rank = self._chosen_output(variant.option("output", ""))
        self._pooling = self._chosen_pooling(variant.option("pooling", ""), rank)
        options = {
            "output": self._output, "pooling": self._pooling, "tokenizer": tokens.digest,
            "max_tokens": tokens.max_tokens, **setup.plain(),
        }  # fmt: skip
        self.content_hash = content_hash(variant, options, NEEDED_BY)

    def embed(self, text: str) -> Floats:
        """Embedding of one text, shape (d,). Raises ModelError when the model fails on it or gives no finite one."""
        embedding: Floats = self.embed_all([text])[0]
        return embedding

    def embed_all(self, texts: Sequence[str]) -> Floats:
        """Embeddings of one batch, shape (n, d). Shorter texts are padded to the longest, and their padding is masked.

        Raises:
            ModelError: the model fails on them, or gives an embedding that is not finite.
        """
        feed, mask = self.feed(texts)
        try:
            (found,) = self._engine.run([self._output], feed)
        except ModelError as err:
            raise ModelError(
                self._name, f"it fails on a text of {mask.shape[1]} tokens: {err.problem}", _MISFIT
            ) from err
        if found.ndim != (2 if self._pooling == "none" else 3) or found.shape[0] != len(texts) or 0 in found.shape:
            shape = " × ".join(map(str, found.shape))
            raise self._wrong(f"output {self._output!r} is {shape}, which pooling {self._pooling!r} cannot use")
        if self._pooling == "none":
            embedding = found
        elif self._pooling == "cls":
            embedding = found[:, 0]
        elif found.shape[1] != mask.shape[1]:
            raise self._wrong(f"output {self._output!r} has {found.shape[1]} places for {mask.shape[1]} tokens")
        elif mask.all():
            embedding = found.mean(axis=1, dtype=np.float64)
        else:
            weight = mask[..., np.newaxis].astype(np.float64)
            embedding = (found * weight).sum(axis=1) / weight.sum(axis=1)
        if not np.issubdtype(found.dtype, np.floating):
            raise self._wrong(f"output {self._output!r} is not finite floats but {found.dtype}")
        return np.asarray(finite(self._name, "its embedding is", embedding), dtype=np.float64)

    def feed(self, texts: Sequence[str]) -> tuple[dict[str, Integers], Integers]:
        """The model's named inputs for one batch, each of shape (n, longest), and the mask of real tokens."""
        encoded = self._tokenizer.encode_batch(list(texts)) if len(texts) > 1 else [self._tokenizer.encode(texts[0])]
        longest = max(len(one.ids) for one in encoded)
        ids, mask = np.zeros((2, len(encoded), longest), dtype=np.int64)
        for row, one in enumerate(encoded):
            ids[row, : len(one.ids)], mask[row, : len(one.ids)] = one.ids, one.attention_mask
        filled = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
        return {name: filled[name].astype(kind, copy=False) for name, kind in self._inputs.items()}, mask

    def _checked_inputs(self) -> dict[str, type[np.signedinteger[Any]]]:
        kinds = {slot.name: slot.dtype for slot in self._engine.inputs}
        whole: dict[str, type[np.signedinteger[Any]]] = {
            name: kind
            for name, kind in kinds.items()
            if name in TOKEN_INPUTS and kind is not None and issubclass(kind, np.signedinteger)
        }
        strange = [f"{slot.name} {slot.kind}" for slot in self._engine.inputs if slot.name not in whole]
        if strange or "input_ids" not in whole:
            problem = f"it wants {', '.join(strange) or 'no input_ids'}"
            raise ModelError(self._name, problem, f"A text encoder takes {', '.join(TOKEN_INPUTS)}, as integers")
        return whole

    def _chosen_output(self, wanted: Option) -> tuple[str, int]:
        outputs = self._engine.outputs
        shapes = [list(output.shape) for output in outputs]
        if shapes == [[]]:  # torch says nothing of its output before it has run
            (found,) = self._engine.run([outputs[0].name], self.feed([""])[0])
            shapes = [list(found.shape)]
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
            f"{place}: {slot.name} [{', '.join('?' if axis is None else str(axis) for axis in slot.shape or (None,))}]"
            for place, slot in enumerate(self._engine.outputs)
        )
        return ModelError(self._name, problem, f"Set the options `output` and `pooling`. It gives {outputs}")
