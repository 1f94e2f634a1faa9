"""A made-up corpus, its tokenizer, and ONNX text encoders small enough to read."""

from __future__ import annotations

import random
import signal
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from outweigh.core.project import PrimaryMetric, TaskSpec
from outweigh.core.variant import Option, Variant

TOPICS = {
    "cooking": ["simmer", "whisk", "butter", "oven", "garlic", "recipe", "dough", "broth"],
    "sailing": ["harbour", "rudder", "mast", "tide", "anchor", "jib", "keel", "breeze"],
    "weaving": ["loom", "shuttle", "yarn", "warp", "weft", "thread", "fibre", "dye"],
}
PLAIN = ["the", "a", "of", "and", "with", "then", "under", "before", "every", "small", "old", "new"]
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *PLAIN, *(word for words in TOPICS.values() for word in words)]
WIDTH = 48


def made_texts(per_class: int = 40, seed: int = 1) -> list[tuple[str, str]]:
    """(text, class) pairs: mostly plain words, with a few that give the class away."""
    chance = random.Random(seed)
    return [
        (
            " ".join(chance.choices(PLAIN, k=12) + chance.choices(words, k=4) + [chance.choice(PLAIN)] * (number % 5)),
            topic,
        )
        for topic, words in TOPICS.items()
        for number in range(per_class)
    ]


def write_corpus(root: Path, texts: Sequence[tuple[str, str]]) -> Path:
    for number, (text, topic) in enumerate(texts):
        (root / topic).mkdir(parents=True, exist_ok=True)
        (root / topic / f"{number:03d}.txt").write_text(text, encoding="utf-8")
    return root


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    # Who asks for torch belongs to `make test-frameworks`, whatever room it is in.
    for item in items:
        if "torch" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.frameworks)


@pytest.fixture(autouse=True, scope="session")
def interruptible() -> None:
    """A suite started in the background of a shell ignores Ctrl-C, and so would every child it is to interrupt."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True, scope="session")
def uncalibrated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Whatever this user's `doctor --calibrate` found, tests go by the published curves."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OUTWEIGH_CALIBRATION", str(tmp_path_factory.mktemp("user") / "calibration.json"))
        yield


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    return write_corpus(tmp_path / "corpus", made_texts())


@pytest.fixture
def tokenizer_file(tmp_path: Path) -> Path:
    tokenizers = pytest.importorskip("tokenizers")
    vocabulary = {word: number for number, word in enumerate(WORDS)}
    tokenizer = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    tokenizer.post_processor = tokenizers.processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    # As in the published tokenizers of sentence encoders: padding that a batch of one must not pay for.
    tokenizer.enable_padding(length=64)
    path = tmp_path / "tokenizer.json"
    tokenizer.save(str(path))
    return path


@pytest.fixture
def encoder(tmp_path: Path) -> Callable[..., Path]:
    """Writes an ONNX encoder: a table of word vectors and one matrix product.

    Args of the factory: `outputs`, names among "tokens" (1, n, 48), "pooled" (1, 48) and "mask" (1, n), in order;
    `inputs`, the declared ones; `fill`, a value for all weights instead of random ones; `vocabulary`, its size;
    `name` of the file.
    """
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")

    def make(
        outputs: Sequence[str] = ("tokens",),
        inputs: Sequence[str] = ("input_ids", "attention_mask"),
        fill: float | None = None,
        vocabulary: int = len(WORDS),
        name: str = "encoder.onnx",
        kind: int = onnx.TensorProto.INT64,
    ) -> Path:
        chance = np.random.default_rng(7)
        table = chance.normal(size=(vocabulary, WIDTH)).astype(np.float32)
        product = chance.normal(size=(WIDTH, WIDTH)).astype(np.float32)
        if fill is not None:
            table, product = np.full_like(table, fill), np.full_like(product, fill)
        helper, numpy_helper, floats = onnx.helper, onnx.numpy_helper, onnx.TensorProto.FLOAT
        shapes = {"tokens": (floats, ["b", "n", WIDTH]), "pooled": (floats, ["b", WIDTH]), "mask": (kind, ["b", "n"])}
        nodes = [
            helper.make_node("Gather", ["table", inputs[0]], ["looked_up"]),
            helper.make_node("MatMul", ["looked_up", "product"], ["tokens"]),
            helper.make_node("ReduceMean", ["tokens"], ["pooled"], axes=[1], keepdims=0),
            helper.make_node("Identity", [inputs[0]], ["mask"]),
        ]
        graph = helper.make_graph(
            nodes,
            "encoder",
            [helper.make_tensor_value_info(given, kind, ["b", "n"]) for given in inputs],
            [helper.make_tensor_value_info(given, *shapes[given]) for given in outputs],
            [numpy_helper.from_array(table, "table"), numpy_helper.from_array(product, "product")],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        path = tmp_path / name
        onnx.save(model, path)
        return path

    return make


@pytest.fixture
def spec(tokenizer_file: Path) -> Callable[..., TaskSpec]:
    def make(dataset: str = "corpus", **options: Option) -> TaskSpec:
        given: dict[str, Option] = {"tokenizer": str(tokenizer_file), "train": 60, **options}
        return TaskSpec(
            "text-classification", dataset, PrimaryMetric("accuracy"), options=Variant.freeze_options(given)
        )

    return make
