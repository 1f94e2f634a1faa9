"""Text classification: an ONNX text encoder under a logistic head, judged on texts the head has not seen."""

from __future__ import annotations

import difflib
import hashlib
import importlib.util
import json
import time
import warnings
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from outweigh.backends.tasks._labelled_text import Labelled, Split, read_labelled, shuffle_labels, split_labelled
from outweigh.backends.tasks._text_encoder import REMEDY, TextEncoder, Tokens, need
from outweigh.core.errors import ModelError, TaskError, UsageError
from outweigh.core.project import TaskSpec
from outweigh.core.variant import Option, Variant
from outweigh.data.artefacts import resolve_artefact
from outweigh.ports import Availability, ItemResults
from outweigh.registry import tasks

_NAME = "text-classification"
_PACKAGES = {"onnxruntime": "onnxruntime", "onnx": "onnx", "tokenizers": "tokenizers", "sklearn": "scikit-learn"}
_TASK_OPTIONS: dict[str, Option] = {
    "tokenizer": "",
    "max_tokens": 256,
    "train": 600,
    "seed": 0,
    "threads": 1,
    "text_column": "text",
    "label_column": "label",
    "control": "",
}
_VARIANT_OPTIONS = ("max_tokens", "output", "pooling", "threads", "tokenizer")
_LEAST_TOKENS = 8  # what is left of a text after the special tokens of every common encoder
_MAX_ITERATIONS = 5_000
_SHUFFLED = "shuffled-labels"


@tasks.register(_NAME)
class TextClassification:
    """Put each text into one of the classes of a labelled set.

    Data: a folder with one folder of text files per class, or CSV, JSON lines or Parquet with a text and a label
    column. Exact duplicates are dropped. Of the rest, `train` texts (each class by its share) fit a logistic head on
    the encoder's embeddings and all others are evaluation items, chosen by the texts and `seed` alone.

    Metrics: "accuracy", and "recall_<class>" over the texts of each class. Latency is that of one text on its own:
    tokenising, embedding and predicting.

    Task options: `tokenizer` (a tokenizer.json, required unless each variant names its own), `max_tokens` (256),
    `train` (600), `seed` (0), `threads` (1), `text_column` ("text"), `label_column` ("label"), and
    `control = "shuffled-labels"`, a negative control: labels are matched to texts at random, so quality must fall to
    chance.
    Variant options: `output` (index or name), `pooling` ("mean", "cls", "none"), and `tokenizer`, `max_tokens` and
    `threads` where they differ from the task's.
    """

    name: ClassVar[str] = _NAME

    def __init__(self) -> None:
        self._root = Path()
        self._options = dict(_TASK_OPTIONS)
        self._split: Split | None = None
        self._content_hash = ""

    @classmethod
    def probe(cls) -> Availability:
        missing = [package for module, package in _PACKAGES.items() if importlib.util.find_spec(module) is None]
        return Availability(
            name=_NAME,
            usable=not missing,
            sees="accuracy, recall of each class, latency",
            reason=f"not installed: {', '.join(missing)}" if missing else "",
            remedy=REMEDY if missing else "",
        )

    def load(self, spec: TaskSpec, root: Path) -> None:
        """Read, deduplicate and split the data set.

        Raises:
            TaskError: data set or tokenizer missing or unreadable, one class, too few texts, or an option that
                cannot be.
            MissingExtra: a Parquet file without pyarrow, or a tokenizer without tokenizers.
        """
        self._root, self._options = root, _task_options(spec)
        path = self._resolve(spec.dataset, "data set")
        items = read_labelled(path, _NAME, str(self._options["text_column"]), str(self._options["label_column"]))
        train, seed = _whole(self._options, "train", 2), _whole(self._options, "seed", 0)
        if self._options["control"] == _SHUFFLED:
            items = shuffle_labels(items, seed)
        split = split_labelled(items, train, seed, _NAME)
        tokens = self._tokens({})
        self._split = split
        self._content_hash = _pinned(split, seed, tokens, _whole(self._options, "max_tokens", _LEAST_TOKENS))

    @property
    def n_items(self) -> int:
        return len(self._loaded.evaluation)

    @property
    def classes(self) -> tuple[str, ...]:
        """Classes of the evaluation items, sorted."""
        return tuple(sorted({item.label for item in self._loaded.evaluation}))

    @property
    def metrics(self) -> tuple[str, ...]:
        return ("accuracy", *(f"recall_{label}" for label in self.classes))

    @property
    def content_hash(self) -> str:
        """SHA-256 over digests and labels of all texts, split, order, seed, tokenizer and `max_tokens`."""
        _ = self._loaded
        return self._content_hash

    def runner(self, variant: Variant) -> TextClassificationRunner:
        """Load a variant. Raises ModelError, TaskError for its tokenizer, or MissingExtra."""
        own = dict(variant.options)
        for name in own:
            if name not in _VARIANT_OPTIONS:
                raise ModelError(variant.name, f"unknown option {name!r}", _nearest(name, _VARIANT_OPTIONS))
        options = self._options | own
        tokens = self._tokens(own)
        if tokens is None:
            remedy = "Set the task option `tokenizer` to the tokenizer.json of the models"
            raise TaskError(_NAME, f"there is no tokenizer for {variant.name}", remedy)
        threads = _whole(options, "threads", 1)
        encoder = TextEncoder(variant, tokens, threads)
        known = replace(variant, content_hash=encoder.content_hash)
        return TextClassificationRunner(known, encoder, self._loaded, self.classes, threads, _whole(options, "seed", 0))

    @property
    def _loaded(self) -> Split:
        if self._split is None:
            raise UsageError("the task has no data yet", "Call load() first")
        return self._split

    def _resolve(self, reference: str, what: str) -> Path:
        try:
            return resolve_artefact(reference, self._root)
        except UsageError as err:
            raise TaskError(_NAME, f"{what}: {err.problem}", err.remedy) from err

    def _tokens(self, own: dict[str, Option]) -> Tokens | None:
        """The tokenizer in force, checked; None when nothing names one."""
        options = self._options | own
        reference, max_tokens = str(options["tokenizer"]), _whole(options, "max_tokens", _LEAST_TOKENS)
        if not reference:
            return None
        path = self._resolve(reference, "tokenizer")
        try:
            tokens = Tokens(path.read_bytes(), max_tokens)
            tokens.tokenizer()
        except OSError as err:
            raise TaskError(_NAME, f"tokenizer {path} cannot be read ({err.strerror})", "Check the file") from err
        except ValueError as err:
            raise TaskError(
                _NAME, f"{path.name} is not a tokenizer ({err})", "Give the model's tokenizer.json"
            ) from err
        return tokens


class TextClassificationRunner:
    """One variant, loaded; keeps the promises of `ports.Runner`."""

    def __init__(
        self, variant: Variant, encoder: TextEncoder, split: Split, classes: tuple[str, ...], threads: int, seed: int
    ) -> None:
        self.variant = variant
        self._encoder: TextEncoder | None = encoder
        self._split, self._classes, self._seed = split, classes, seed
        self._threads = threads
        # Linear algebra under the head takes all cores unless told otherwise. It is looked up once: that costs more
        # than predicting.
        need("sklearn.linear_model", "scikit-learn")
        self._pools = need("threadpoolctl", "threadpoolctl").ThreadpoolController()
        self._head: Any = None

    def fit(self) -> None:
        """Embed the training texts and fit the head; the same head each time.

        Raises:
            ModelError: the model fails, gives embeddings that are not finite, or none that a head can be fitted on.
        """
        encoder, texts = self._open, self._split.train
        embeddings = np.stack([encoder.embed(item.text) for item in texts])
        linear = need("sklearn.linear_model", "scikit-learn")
        gave_up: type[Warning] = need("sklearn.exceptions", "scikit-learn").ConvergenceWarning
        head = linear.LogisticRegression(max_iter=_MAX_ITERATIONS, random_state=self._seed)
        try:
            with warnings.catch_warnings(), self._limited():
                warnings.simplefilter("error", gave_up)
                head.fit(embeddings, [item.label for item in texts])
        except gave_up as err:
            raise ModelError(
                self.variant.name,
                f"the head does not settle on its embeddings in {_MAX_ITERATIONS:,} iterations",
                "Check `output` and `pooling`: embeddings of very unlike scales are seldom the ones meant",
            ) from err
        self._head = head

    def run(self, items: Sequence[int]) -> ItemResults:
        """Classify evaluation items one by one, as a service with a batch of one would."""
        encoder, head = self._open, self._head
        if head is None:
            raise UsageError(f"{self.variant.name} has no head yet", "Call fit() before run()")
        chosen = [self._split.evaluation[item] for item in items]
        answers: list[str] = []
        latency_ms: list[float] = []
        with self._limited():
            for item in chosen:
                began_s = time.perf_counter()
                answers.append(str(head.predict(encoder.embed(item.text)[np.newaxis])[0]))
                latency_ms.append((time.perf_counter() - began_s) * 1e3)
        right = [float(answer == item.label) for answer, item in zip(answers, chosen, strict=True)]
        scores: dict[str, tuple[float | None, ...]] = {"accuracy": tuple(right)}
        for label in self._classes:
            scores[f"recall_{label}"] = tuple(
                hit if item.label == label else None for hit, item in zip(right, chosen, strict=True)
            )
        return ItemResults(tuple(items), scores, tuple(latency_ms))

    def close(self) -> None:
        """Let the model go. Closing twice is allowed."""
        self._encoder = None

    @property
    def _open(self) -> TextEncoder:
        if self._encoder is None:
            raise UsageError(f"{self.variant.name} was closed", "Ask the task for a new runner")
        return self._encoder

    def _limited(self) -> AbstractContextManager[object]:
        limits: AbstractContextManager[object] = self._pools.limit(limits=self._threads)
        return limits


def _task_options(spec: TaskSpec) -> dict[str, Option]:
    given = dict(spec.options)
    for name in given:
        if name not in _TASK_OPTIONS:
            raise TaskError(_NAME, f"unknown option {name!r}", _nearest(name, tuple(_TASK_OPTIONS)))
    options = _TASK_OPTIONS | given
    if options["control"] not in ("", _SHUFFLED):
        raise TaskError(_NAME, f"unknown control {options['control']!r}", f"The one there is: {_SHUFFLED!r}")
    return options


def _whole(options: dict[str, Option], name: str, least: int) -> int:
    value = options[name]
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise TaskError(_NAME, f"option {name} is {value!r}", f"Give a whole number, {least} or more")
    return value


def _nearest(name: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    return f"Did you mean {near[0]!r}?" if near else f"Known: {', '.join(sorted(known))}"


def _pinned(split: Split, seed: int, tokens: Tokens | None, max_tokens: int) -> str:
    def listed(items: Sequence[Labelled]) -> list[tuple[str, str]]:
        return [(item.digest, item.label) for item in items]

    pinned = {
        "task": _NAME,
        "train": listed(split.train),
        "evaluation": listed(split.evaluation),
        "seed": seed,
        "tokenizer": tokens.digest if tokens else "",
        "max_tokens": max_tokens,
    }
    return hashlib.sha256(json.dumps(pinned, sort_keys=True).encode()).hexdigest()
