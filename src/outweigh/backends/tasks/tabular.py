"""Tabular: a model of rows of numbers, judged on rows it was not fitted on."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from outweigh.backends.tasks._engine import ENGINE_OPTIONS, Setup, missing_packages, open_engine, rooted, setup_of
from outweigh.backends.tasks._options import choice, task_options, variant_options, whole
from outweigh.backends.tasks._scoring import accuracy_and_recalls, batches
from outweigh.backends.tasks._splitting import Split, listed, natural, shuffle_labels, split_labelled, split_plain
from outweigh.backends.tasks._tables import Predictor, Row, canonical, open_predictor, read_table
from outweigh.core.errors import ModelError, TaskError, UsageError
from outweigh.core.project import TaskSpec
from outweigh.core.variant import Option, Variant
from outweigh.data.artefacts import resolve_artefact
from outweigh.ports import Availability, ItemResults
from outweigh.registry import tasks

_NAME = "tabular"
_KINDS = ("classification", "regression")
_SHUFFLED = "shuffled-labels"
_TASK_OPTIONS: dict[str, Option] = {
    "target": "target", "drop": "", "kind": "classification", "train": 600, "seed": 0, "threads": 1, "batch": 1,
    "control": "",
}  # fmt: skip
_VARIANT_OPTIONS = (*ENGINE_OPTIONS, "output", "trust", "unpickle")


@tasks.register(_NAME)
class Tabular:
    """Predict the target column of a table from its other columns.

    Data: a .csv or .csv.gz file with a heading; every column but `target` and those in `drop` is a feature, a number
    or empty (missing). Rows of equal features are kept once. `train` rows (of each class by its share) are for levers
    and for whoever fits the model; all others are evaluation items, chosen by the features and `seed` alone.

    Metrics: "accuracy" and "recall_<class>"; for `kind = "regression"`, "r2" (the mean over all evaluation items is
    the coefficient of determination: each item has 1 - its squared error over the mean squared deviation of the
    targets) and "negative_absolute_error", in the target's unit. Latency is that of predicting one row; with `batch`
    above 1, of the batch it was in.

    Models: ONNX as exported from scikit-learn, XGBoost, LightGBM and the like; .skops, where each type in it is known
    to be harmless or `trust = true` says that you looked; .joblib and .pkl only with `unpickle = true`, since reading
    one runs the code in it.

    Task options: `target` ("target"), `drop` (names with commas between), `kind` ("classification"), `train` (600),
    `seed` (0), `threads` (1), `batch` (1), and `control = "shuffled-labels"`, a negative control.
    Variant options: `output` (a name, the first by default), `runtime`, `graph`, `device`, `weights`, `trust`,
    `unpickle`, and `threads` and `batch` where they differ from the task's.
    """

    name: ClassVar[str] = _NAME

    def __init__(self) -> None:
        self._root = Path()
        self._options = dict(_TASK_OPTIONS)
        self._split: Split[Row] | None = None
        self._content_hash = ""

    @classmethod
    def probe(cls) -> Availability:
        missing = missing_packages({"onnxruntime": "onnxruntime", "onnx": "onnx"})
        skops = missing_packages({"skops": "skops"})
        return Availability(
            name=_NAME,
            usable=not missing,
            sees="accuracy, recall of each class, or errors of a number; latency",
            reason=f"not installed: {', '.join(missing)}" if missing else "",
            remedy="Run: pip install 'outweigh[onnx]'" if missing else "",
            improve="with skops also .skops models" if skops and not missing else "",
        )

    def load(self, spec: TaskSpec, root: Path) -> None:
        """Read, deduplicate and split the table.

        Raises:
            TaskError: file missing or unreadable, a column that is not there or no number, one class, too few rows, or
                an option that cannot be.
        """
        options = task_options(_NAME, spec.options, _TASK_OPTIONS)
        choice(_NAME, options, "control", ("", _SHUFFLED))
        kind = choice(_NAME, options, "kind", _KINDS)
        train, seed = whole(_NAME, options, "train", 2), whole(_NAME, options, "seed", 0)
        try:
            path = resolve_artefact(spec.dataset, root)
        except UsageError as err:
            raise TaskError(_NAME, f"data set: {err.problem}", err.remedy) from err
        drop = [name.strip() for name in str(options["drop"]).split(",") if name.strip()]
        table = read_table(path, str(options["target"]), drop)
        rows = shuffle_labels(table.rows, seed) if options["control"] == _SHUFFLED else list(table.rows)
        if kind == "regression":
            _check_numbers(rows, path)
            split = split_plain(rows, train, seed, _NAME, "rows")
        else:
            split = split_labelled(rows, train, seed, _NAME, "rows")
        self._root, self._options, self._split = root, options, split
        pinned = {
            "task": _NAME, "train": listed(split.train), "evaluation": listed(split.evaluation), "seed": seed,
            "kind": kind, "features": table.names,
        }  # fmt: skip
        self._content_hash = hashlib.sha256(json.dumps(pinned, sort_keys=True).encode()).hexdigest()

    @property
    def n_items(self) -> int:
        return len(self._loaded.evaluation)

    @property
    def classes(self) -> tuple[str, ...]:
        """All classes, in the order of a model's scores; none for regression."""
        if self._options["kind"] == "regression":
            return ()
        return natural(item.label for half in (self._loaded.train, self._loaded.evaluation) for item in half)

    @property
    def metrics(self) -> tuple[str, ...]:
        if self._options["kind"] == "regression":
            return ("r2", "negative_absolute_error")
        held = {item.label for item in self._loaded.evaluation}
        return ("accuracy", *(f"recall_{label}" for label in self.classes if label in held))

    @property
    def content_hash(self) -> str:
        """SHA-256 over features and targets of all rows, split, order, seed, kind and names of the features."""
        _ = self._loaded
        return self._content_hash

    def runner(self, variant: Variant) -> TabularRunner:
        """Load a variant. Raises ModelError or MissingExtra."""
        loaded = self._loaded
        variant, options = self._in_force(variant)
        setup = setup_of(variant, options)
        predictor = open_predictor(
            variant, setup, self.classes, str(options.get("output", "")),
            trust=options.get("trust") is True, unpickle=options.get("unpickle") is True,
        )  # fmt: skip
        known = replace(variant, content_hash=predictor.content_hash)
        return TabularRunner(known, predictor, setup, loaded, self.metrics)

    def feeds(self, variant: Variant, n: int) -> Iterator[Mapping[str, NDArray[Any]]]:
        """Up to `n` training rows as the variant's model takes them, shape (1, d); `ports.TeachesLevers`."""
        loaded = self._loaded
        variant, options = self._in_force(variant)
        slot = open_engine(variant, setup_of(variant, options), _NAME).inputs[0]
        for row in loaded.train[:n]:
            yield {slot.name: row.features[np.newaxis].astype(slot.dtype or np.float32)}

    def examples(self) -> tuple[NDArray[Any], NDArray[Any]]:
        """All training rows, shape (N, d), and their targets, shape (N,): numbers, or the places of their classes;
        `ports.TeachesLevers`.
        """
        train = self._loaded.train
        features = np.stack([row.features for row in train])
        if self._options["kind"] == "regression":
            return features, np.array([float(row.label) for row in train])
        place = {label: number for number, label in enumerate(self.classes)}
        return features, np.array([place[row.label] for row in train], dtype=np.int64)

    def _in_force(self, variant: Variant) -> tuple[Variant, dict[str, Option]]:
        variant = rooted(variant, self._root)
        return variant, dict(ENGINE_OPTIONS) | self._options | variant_options(variant, _VARIANT_OPTIONS)

    @property
    def _loaded(self) -> Split[Row]:
        if self._split is None:
            raise UsageError("the task has no data yet", "Call load() first")
        return self._split


class TabularRunner:
    """One variant, loaded; keeps the promises of `ports.Runner`."""

    def __init__(
        self, variant: Variant, predictor: Predictor, setup: Setup, split: Split[Row], metrics: tuple[str, ...]
    ) -> None:
        self.variant = variant
        self._predictor: Predictor | None = predictor
        self._setup, self._split, self._metrics = setup, split, metrics

    def fit(self) -> None:
        """Nothing: the model comes fitted."""
        _ = self._open

    def run(self, items: Sequence[int]) -> ItemResults:
        """Predict evaluation rows, `batch` at a time. Raises ModelError."""
        predictor = self._open
        chosen = [self._split.evaluation[item] for item in items]
        answers: list[Any] = []
        latency_ms: list[float] = []
        for few in batches(chosen, self._setup.batch):
            began_s = time.perf_counter()
            found = predictor.predict(np.stack([row.features for row in few]))
            took_ms = (time.perf_counter() - began_s) * 1e3
            answers += found
            latency_ms += [took_ms] * len(few)
        scores = self._errors(answers, chosen) if "r2" in self._metrics else self._hits(answers, chosen)
        return ItemResults(tuple(items), scores, tuple(latency_ms))

    def close(self) -> None:
        """Let the model go. Closing twice is allowed."""
        self._predictor = None

    def _hits(self, answers: Sequence[Any], chosen: Sequence[Row]) -> dict[str, tuple[float | None, ...]]:
        classes = [name.removeprefix("recall_") for name in self._metrics if name.startswith("recall_")]
        return accuracy_and_recalls([canonical(answer) for answer in answers], [row.label for row in chosen], classes)

    def _errors(self, answers: Sequence[Any], chosen: Sequence[Row]) -> dict[str, tuple[float | None, ...]]:
        try:
            found = np.array([float(answer) for answer in answers])
        except (TypeError, ValueError) as err:
            problem = f"it answers {answers[0]!r}, no number"
            raise ModelError(self.variant.name, problem, "Give a regressor, or kind = 'classification'") from err
        error = found - np.array([float(row.label) for row in chosen])
        targets = np.array([float(row.label) for row in self._split.evaluation])
        spread = float(np.mean((targets - targets.mean()) ** 2))
        return {
            "r2": tuple((1 - error**2 / spread).tolist()),
            "negative_absolute_error": tuple((-np.abs(error)).tolist()),
        }

    @property
    def _open(self) -> Predictor:
        if self._predictor is None:
            raise UsageError(f"{self.variant.name} was closed", "Ask the task for a new runner")
        return self._predictor


def _check_numbers(rows: Sequence[Row], path: Path) -> None:
    try:
        targets = np.array([float(row.label) for row in rows])
    except ValueError as err:
        raise TaskError(_NAME, f"{path.name}: a target is no number ({err})", "Set kind = 'classification'") from err
    if not np.isfinite(targets).all() or np.ptp(targets) == 0:
        raise TaskError(_NAME, f"{path.name}: targets are not finite, or all the same", "Give targets that vary")
