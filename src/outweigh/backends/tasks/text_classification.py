"""Text classification: a text encoder under a logistic head, judged on texts the head has not seen."""

from __future__ import annotations

import hashlib
import json
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from outweigh.backends.tasks._engine import ENGINE_OPTIONS, Setup, missing_packages, rooted, setup_of
from outweigh.backends.tasks._labelled_text import Labelled, read_labelled
from outweigh.backends.tasks._options import choice, task_options, variant_options, whole
from outweigh.backends.tasks._scoring import accuracy_and_recalls, batches
from outweigh.backends.tasks._splitting import Split, listed, shuffle_labels, split_labelled
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
    "batch": 1,
    "text_column": "text",
    "label_column": "label",
    "control": "",
}
_VARIANT_OPTIONS = (*ENGINE_OPTIONS, "max_tokens", "output", "pooling", "tokenizer")
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
    tokenising, embedding and predicting; with `batch` above 1, that of the batch it was in, since no text of a batch
    is answered before the last one is.

    Task options: `tokenizer` (a tokenizer.json, required unless each variant names its own), `max_tokens` (256),
    `train` (600), `seed` (0), `threads` (1), `batch` (1), `text_column` ("text"), `label_column` ("label"), and
    `control = "shuffled-labels"`, a negative control: labels are matched to texts at random, so quality must fall to
    chance.
    Variant options: `output` (index or name), `pooling` ("mean", "cls", "none"), `runtime`, `graph`, `device`,
    `weights` of a torch model, and `tokenizer`, `max_tokens`, `threads` and `batch` where they differ from the task's.
    """

    name: ClassVar[str] = _NAME

    def __init__(self) -> None:
        self._root = Path()
        self._options = dict(_TASK_OPTIONS)
        self._split: Split[Labelled] | None = None
        self._content_hash = ""

    @classmethod
    def probe(cls) -> Availability:
        missing = missing_packages(_PACKAGES)
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
        self._root, self._options = root, task_options(_NAME, spec.options, _TASK_OPTIONS)
        choice(_NAME, self._options, "control", ("", _SHUFFLED))
        path = self._resolve(spec.dataset, "data set")
        items = read_labelled(path, _NAME, str(self._options["text_column"]), str(self._options["label_column"]))
        train, seed = whole(_NAME, self._options, "train", 2), whole(_NAME, self._options, "seed", 0)
        if self._options["control"] == _SHUFFLED:
            items = shuffle_labels(items, seed)
        split = split_labelled(items, train, seed, _NAME)
        tokens = self._tokens({})
        self._split = split
        self._content_hash = _pinned(split, seed, tokens, whole(_NAME, self._options, "max_tokens", _LEAST_TOKENS))

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
        variant, setup, encoder = self._encoder(variant)
        known = replace(variant, content_hash=encoder.content_hash)
        seed = whole(_NAME, self._options, "seed", 0)
        return TextClassificationRunner(known, encoder, self._loaded, self.classes, setup, seed)

    def feeds(self, variant: Variant, n: int) -> Iterator[Mapping[str, NDArray[Any]]]:
        """Up to `n` training texts as the variant's model takes them, shape (1, tokens); `ports.TeachesLevers`."""
        _, _, encoder = self._encoder(variant)
        for item in self._loaded.train[:n]:
            yield encoder.feed([item.text])[0]

    def examples(self) -> tuple[NDArray[Any], NDArray[Any]]:
        """All training texts as token numbers of the task's tokenizer, shape (N, longest), int64, padded with 0; and
        the places of their classes among the sorted names, shape (N,), int64; `ports.TeachesLevers`.

        Raises:
            TaskError: the task names no tokenizer.
        """
        train, tokens = self._loaded.train, self._tokens({})
        if tokens is None:
            raise TaskError(_NAME, "there is no tokenizer for the task", "Set the task option `tokenizer`")
        ids = [one.ids for one in tokens.tokenizer().encode_batch([item.text for item in train])]
        padded = np.zeros((len(ids), max(map(len, ids))), dtype=np.int64)
        for row, numbers in enumerate(ids):
            padded[row, : len(numbers)] = numbers
        place = {label: number for number, label in enumerate(sorted({item.label for item in train}))}
        return padded, np.array([place[item.label] for item in train], dtype=np.int64)

    def _encoder(self, variant: Variant) -> tuple[Variant, Setup, TextEncoder]:
        _ = self._loaded
        variant = rooted(variant, self._root)
        own = variant_options(variant, _VARIANT_OPTIONS)
        setup = setup_of(variant, dict(ENGINE_OPTIONS) | self._options | own)
        tokens = self._tokens(own)
        if tokens is None:
            remedy = "Set the task option `tokenizer` to the tokenizer.json of the models"
            raise TaskError(_NAME, f"there is no tokenizer for {variant.name}", remedy)
        return variant, setup, TextEncoder(variant, tokens, setup)

    @property
    def _loaded(self) -> Split[Labelled]:
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
        reference, max_tokens = str(options["tokenizer"]), whole(_NAME, options, "max_tokens", _LEAST_TOKENS)
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
        self, variant: Variant, encoder: TextEncoder, split: Split[Labelled], classes: tuple[str, ...], setup: Setup,
        seed: int,
    ) -> None:  # fmt: skip
        self.variant = variant
        self._encoder: TextEncoder | None = encoder
        self._split, self._classes, self._seed = split, classes, seed
        self._setup = setup
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
        embeddings = np.concatenate(
            [encoder.embed_all([item.text for item in few]) for few in batches(texts, self._setup.batch)]
        )
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
        """Classify evaluation items, `batch` at a time: one by one, as a service would, unless told otherwise."""
        encoder, head = self._open, self._head
        if head is None:
            raise UsageError(f"{self.variant.name} has no head yet", "Call fit() before run()")
        chosen = [self._split.evaluation[item] for item in items]
        answers: list[str] = []
        latency_ms: list[float] = []
        with self._limited():
            for few in batches(chosen, self._setup.batch):
                began_s = time.perf_counter()
                found = head.predict(encoder.embed_all([item.text for item in few]))
                took_ms = (time.perf_counter() - began_s) * 1e3
                answers += map(str, found)
                latency_ms += [took_ms] * len(few)
        scores = accuracy_and_recalls(answers, [item.label for item in chosen], self._classes)
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
        limits: AbstractContextManager[object] = self._pools.limit(limits=self._setup.threads)
        return limits


def _pinned(split: Split[Labelled], seed: int, tokens: Tokens | None, max_tokens: int) -> str:
    pinned = {
        "task": _NAME,
        "train": listed(split.train),
        "evaluation": listed(split.evaluation),
        "seed": seed,
        "tokenizer": tokens.digest if tokens else "",
        "max_tokens": max_tokens,
    }
    return hashlib.sha256(json.dumps(pinned, sort_keys=True).encode()).hexdigest()
