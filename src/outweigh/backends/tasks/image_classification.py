"""Image classification: a network that gives a score per class, judged on images it was not trained on."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from outweigh.backends.tasks._engine import (
    ENGINE_OPTIONS,
    Engine,
    Setup,
    content_hash,
    finite,
    missing_packages,
    open_engine,
    rooted,
    setup_of,
)
from outweigh.backends.tasks._labelled_images import LabelledImage, read_images
from outweigh.backends.tasks._options import choice, number, task_options, variant_options, whole
from outweigh.backends.tasks._scoring import accuracy_and_recalls, batches
from outweigh.backends.tasks._splitting import Split, listed, natural, shuffle_labels, split_labelled
from outweigh.core.errors import ModelError, TaskError, UsageError
from outweigh.core.project import TaskSpec
from outweigh.core.variant import Option, Variant
from outweigh.data.artefacts import resolve_artefact
from outweigh.ports import Availability, ItemResults
from outweigh.registry import tasks

_NAME = "image-classification"
_LAYOUTS = ("NCHW", "NHWC")
_PREPARED: dict[str, Option] = {"scale": 255.0, "mean": 0.0, "std": 1.0, "layout": "NCHW"}
_TASK_OPTIONS: dict[str, Option] = {
    "train": 600, "seed": 0, "threads": 1, "batch": 1, "shape": "", "size": "", "control": "", **_PREPARED,
}  # fmt: skip
_VARIANT_OPTIONS = (*ENGINE_OPTIONS, *_PREPARED, "output")
_SHUFFLED = "shuffled-labels"

Floats = NDArray[np.float32]


@tasks.register(_NAME)
class ImageClassification:
    """Put each image into one of the classes of a labelled set.

    Data: a folder with one folder of images per class (needs pillow), a .npz file with `images` and `labels`, or a
    .csv or .csv.gz table of pixels with the label last. Exact duplicates are dropped. Of the rest, `train` images
    (each class by its share) are for levers that calibrate or fine-tune, and for whoever trains the model; all others
    are evaluation items, chosen by the pixels and `seed` alone.

    Metrics: "accuracy", and "recall_<class>" over the images of each class. The model's output is one score a class,
    shape (n, classes), in the order of the sorted class names (by value, where all are whole numbers). Latency is that
    of scaling and running one image; with `batch` above 1, of the batch it was in.

    Task options: `train` (600), `seed` (0), `shape` ("28x28" of a table's rows), `size` ("224x224" to resize a
    folder's images to), `scale` (255: pixels are divided by it), `mean` (0) and `std` (1) after that, `layout`
    ("NCHW" or "NHWC"), `threads` (1), `batch` (1), and `control = "shuffled-labels"`, a negative control.
    Variant options: the last six where they differ from the task's, `output` (a name, the first by default),
    `runtime`, `graph`, `device`, and `weights` of a torch model.
    """

    name: ClassVar[str] = _NAME

    def __init__(self) -> None:
        self._root = Path()
        self._options = dict(_TASK_OPTIONS)
        self._split: Split[LabelledImage] | None = None
        self._content_hash = ""

    @classmethod
    def probe(cls) -> Availability:
        missing = missing_packages({"onnxruntime": "onnxruntime", "onnx": "onnx"})
        return Availability(
            name=_NAME,
            usable=not missing,
            sees="accuracy, recall of each class, latency",
            reason=f"not installed: {', '.join(missing)}" if missing else "",
            remedy="Run: pip install 'outweigh[onnx]'" if missing else "",
        )

    def load(self, spec: TaskSpec, root: Path) -> None:
        """Read, deduplicate and split the data set.

        Raises:
            TaskError: data set missing or unreadable, one class, too few images, or an option that cannot be.
            MissingExtra: a folder of images without pillow.
        """
        options = task_options(_NAME, spec.options, _TASK_OPTIONS)
        choice(_NAME, options, "control", ("", _SHUFFLED))
        prepared = _Prepared.of(options)
        train, seed = whole(_NAME, options, "train", 2), whole(_NAME, options, "seed", 0)
        try:
            path = resolve_artefact(spec.dataset, root)
        except UsageError as err:
            raise TaskError(_NAME, f"data set: {err.problem}", err.remedy) from err
        images = read_images(path, _NAME, str(options["shape"]), str(options["size"]))
        if options["control"] == _SHUFFLED:
            images = shuffle_labels(images, seed)
        split = split_labelled(images, train, seed, _NAME, "images")
        self._root, self._options, self._split = root, options, split
        pinned = {
            "task": _NAME, "train": listed(split.train), "evaluation": listed(split.evaluation), "seed": seed,
            "prepared": prepared.plain(),
        }  # fmt: skip
        self._content_hash = hashlib.sha256(json.dumps(pinned, sort_keys=True).encode()).hexdigest()

    @property
    def n_items(self) -> int:
        return len(self._loaded.evaluation)

    @property
    def classes(self) -> tuple[str, ...]:
        """All classes, in the order of the model's scores."""
        return natural(item.label for half in (self._loaded.train, self._loaded.evaluation) for item in half)

    @property
    def metrics(self) -> tuple[str, ...]:
        held = {item.label for item in self._loaded.evaluation}
        return ("accuracy", *(f"recall_{label}" for label in self.classes if label in held))

    @property
    def content_hash(self) -> str:
        """SHA-256 over pixels and labels of all images, split, order, seed and how pixels are scaled."""
        _ = self._loaded
        return self._content_hash

    def runner(self, variant: Variant) -> ImageClassificationRunner:
        """Load a variant. Raises ModelError or MissingExtra."""
        loaded = self._loaded
        variant, options = self._in_force(variant)
        setup, prepared = setup_of(variant, options), _Prepared.of(options)
        engine = open_engine(variant, setup, _NAME, "ONNX model")
        output = _output(engine, variant, str(options.get("output", "")))
        in_force = {"output": output, **prepared.plain(), **setup.plain()}
        known = replace(variant, content_hash=content_hash(variant, in_force, _NAME))
        return ImageClassificationRunner(known, engine, setup, prepared, output, loaded, self.classes)

    def feeds(self, variant: Variant, n: int) -> Iterator[Mapping[str, NDArray[Any]]]:
        """Up to `n` training images as the variant's model takes them, shape (1, ...); `ports.TeachesLevers`."""
        loaded = self._loaded
        variant, options = self._in_force(variant)
        setup, prepared = setup_of(variant, options), _Prepared.of(options)
        name = open_engine(variant, setup, _NAME).inputs[0].name
        for image in loaded.train[:n]:
            yield {name: prepared(np.stack([image.pixels]))}

    def examples(self) -> tuple[NDArray[Any], NDArray[Any]]:
        """All training images, scaled and laid out by the task's options, shape (N, ...), and the places of their
        classes, shape (N,), int64; `ports.TeachesLevers`.
        """
        place = {label: number for number, label in enumerate(self.classes)}
        train = self._loaded.train
        pixels = _Prepared.of(self._options)(np.stack([image.pixels for image in train]))
        return pixels, np.array([place[image.label] for image in train], dtype=np.int64)

    def _in_force(self, variant: Variant) -> tuple[Variant, dict[str, Option]]:
        variant = rooted(variant, self._root)
        return variant, dict(ENGINE_OPTIONS) | self._options | variant_options(variant, _VARIANT_OPTIONS)

    @property
    def _loaded(self) -> Split[LabelledImage]:
        if self._split is None:
            raise UsageError("the task has no data yet", "Call load() first")
        return self._split


@dataclass(frozen=True, slots=True)
class _Prepared:
    """How pixels become what a network takes: (pixel / scale - mean) / std, channels first or last."""

    scale: float
    mean: float
    std: float
    layout: str

    @staticmethod
    def of(options: Mapping[str, Option]) -> _Prepared:
        return _Prepared(
            number(_NAME, options, "scale", 0.0),
            number(_NAME, options, "mean"),
            number(_NAME, options, "std", 0.0),
            choice(_NAME, options, "layout", _LAYOUTS),
        )

    def plain(self) -> dict[str, object]:
        return {"scale": self.scale, "mean": self.mean, "std": self.std, "layout": self.layout}

    def __call__(self, pixels: Floats) -> Floats:
        """Of shape (n, h, w, c), as read, to the layout of the network."""
        # One product and one sum: the same in float32 for one image and for many.
        scaled = pixels * np.float32(1 / (self.scale * self.std)) - np.float32(self.mean / self.std)
        ordered = scaled.transpose(0, 3, 1, 2) if self.layout == "NCHW" else scaled
        return np.ascontiguousarray(ordered, dtype=np.float32)


class ImageClassificationRunner:
    """One variant, loaded; keeps the promises of `ports.Runner`."""

    def __init__(
        self, variant: Variant, engine: Engine, setup: Setup, prepared: _Prepared, output: str,
        split: Split[LabelledImage], classes: tuple[str, ...],
    ) -> None:  # fmt: skip
        self.variant = variant
        self._engine: Engine | None = engine
        self._setup, self._prepared, self._output = setup, prepared, output
        self._split, self._classes = split, classes
        self._input = engine.inputs[0].name

    def fit(self) -> None:
        """Nothing: the model comes trained."""
        _ = self._open

    def run(self, items: Sequence[int]) -> ItemResults:
        """Classify evaluation items, `batch` at a time.

        Raises:
            ModelError: the model fails, gives scores that are not finite, or not one a class.
        """
        engine, classes = self._open, self._classes
        chosen = [self._split.evaluation[item] for item in items]
        answers: list[str] = []
        latency_ms: list[float] = []
        for few in batches(chosen, self._setup.batch):
            began_s = time.perf_counter()
            (scores,) = engine.run([self._output], {self._input: self._prepared(np.stack([i.pixels for i in few]))})
            found = self._checked(scores, len(few)).argmax(axis=1)
            took_ms = (time.perf_counter() - began_s) * 1e3
            answers += [classes[place] for place in found]
            latency_ms += [took_ms] * len(few)
        scored = accuracy_and_recalls(answers, [item.label for item in chosen], self._scored)
        return ItemResults(tuple(items), scored, tuple(latency_ms))

    def close(self) -> None:
        """Let the model go. Closing twice is allowed."""
        self._engine = None

    @property
    def _scored(self) -> tuple[str, ...]:
        held = {item.label for item in self._split.evaluation}
        return tuple(label for label in self._classes if label in held)

    def _checked(self, scores: NDArray[Any], n: int) -> NDArray[Any]:
        if scores.shape != (n, len(self._classes)):
            shape = " × ".join(map(str, scores.shape))
            problem = f"output {self._output!r} is {shape} for {n} image(s) of a set with {len(self._classes)} classes"
            raise ModelError(self.variant.name, problem, "Give a model with one score a class, or the option `output`")
        return finite(self.variant.name, "its scores are", scores)

    @property
    def _open(self) -> Engine:
        if self._engine is None:
            raise UsageError(f"{self.variant.name} was closed", "Ask the task for a new runner")
        return self._engine


def _output(engine: Engine, variant: Variant, wanted: str) -> str:
    names = [slot.name for slot in engine.outputs]
    if len(engine.inputs) != 1:
        problem = f"it takes {len(engine.inputs)} inputs"
        raise ModelError(variant.name, problem, "An image classifier takes one: the image")
    if engine.inputs[0].dtype is not np.float32:
        problem = f"its input {engine.inputs[0].name!r} is {engine.inputs[0].kind}"
        raise ModelError(variant.name, problem, "Export it with an input of float32")
    if wanted and wanted not in names:
        raise ModelError(variant.name, f"it has no output {wanted!r}", f"It gives {', '.join(names)}")
    return wanted or names[0]
