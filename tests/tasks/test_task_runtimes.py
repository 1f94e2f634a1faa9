"""What a variant runs on: runtime, graph optimisation, threads and items a call."""

from __future__ import annotations

import importlib.util
import re

import numpy as np
import pytest

from outweigh.core.errors import MissingExtra, ModelError
from outweigh.core.variant import Variant
from outweigh.registry import tasks

pytest.importorskip("onnxruntime")

NETWORK = """
from torch import nn, zeros

def bands():
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 3, bias=False))
    weight = zeros(3, 64)
    for place, row in enumerate((0, 3, 6)):
        weight[place, row * 8 : (row + 2) * 8] = 1 / 16
    network[1].weight = nn.Parameter(weight)
    return network

def pairs():
    return type("Pairs", (nn.Module,), {"forward": lambda self, image: (image, image)})()
"""


def variant(model, **options):
    return Variant("v", str(model), options=Variant.freeze_options(options))


@pytest.fixture
def images(images_bench):
    task = tasks.get("image-classification")()
    task.load(images_bench.spec(), images_bench.root)
    return task


def answers(task, variant, n=40):
    runner = task.runner(variant)
    runner.fit()
    return runner.run(range(n))


@pytest.mark.parametrize(
    "options",
    [
        {"graph": "disabled"}, {"graph": "basic"}, {"graph": "extended"}, {"threads": 2}, {"batch": 7},
        {"runtime": "openvino"}, {"runtime": "openvino", "batch": 8, "threads": 2},
    ],
)  # fmt: skip
def test_what_it_runs_on_changes_the_cost_and_the_hash_but_not_the_answers(
    images, images_bench, options, needs_package
):
    if options.get("runtime") == "openvino":
        needs_package("openvino")
    model = images_bench.good.model

    usual, other = answers(images, variant(model)), answers(images, variant(model, **options))

    assert other.scores == usual.scores
    first, second = (images.runner(variant(model, **given)).variant.content_hash for given in ({}, options))
    assert first != second


def test_the_usual_way_said_aloud_is_the_same_variant(images, images_bench):
    said = variant(
        images_bench.good.model, runtime="onnxruntime", graph="all", threads=1, batch=1, device="cpu", output="scores"
    )

    assert images.runner(said).variant.content_hash == images.runner(variant(said.model)).variant.content_hash


def test_items_of_one_batch_share_its_latency(images, images_bench):
    results = answers(images, variant(images_bench.good.model, batch=4), n=10)

    latency_ms = results.latency_ms
    assert [len(set(latency_ms[start : start + 4])) for start in (0, 4, 8)] == [1, 1, 1]
    assert len(set(latency_ms)) == 3


def test_texts_of_a_batch_are_padded_without_changing_their_embeddings(texts_bench):
    task = tasks.get("text-classification")()
    task.load(texts_bench.spec(), texts_bench.root)
    texts = ["simmer the broth", "the", "yarn and dye with the loom under every old shuttle"]

    for pooling in ("mean", "cls"):
        _, _, one = task._encoder(variant(texts_bench.good.model, pooling=pooling))
        _, _, many = task._encoder(variant(texts_bench.good.model, pooling=pooling, batch=3))
        alone = np.stack([one.embed(text) for text in texts])

        assert many.embed_all(texts) == pytest.approx(alone, rel=1e-5, abs=1e-6)


def test_an_encoder_without_a_mask_cannot_take_texts_of_unlike_length(texts_bench, encoder):
    task = tasks.get("text-classification")()
    task.load(texts_bench.spec(), texts_bench.root)

    with pytest.raises(ModelError, match="no attention_mask"):
        task.runner(variant(encoder(inputs=("input_ids",), name="maskless.onnx"), batch=2))


def test_a_text_encoder_answers_alike_on_openvino(texts_bench, needs_package):
    needs_package("openvino")
    task = tasks.get("text-classification")()
    task.load(texts_bench.spec(), texts_bench.root)

    usual, other = (
        answers(task, variant(texts_bench.good.model, **given), 60) for given in ({}, {"runtime": "openvino"})
    )

    assert np.mean(other.scores["accuracy"]) == pytest.approx(np.mean(usual.scores["accuracy"]), abs=0.05)


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"graph": "al"}, "graph 'al' is not known"),
        ({"runtime": "tensorrt"}, "runtime 'tensorrt' is not known"),
        ({"runtime": "torch"}, "does not run images.onnx"),
        ({"runtime": "openvino", "graph": "basic"}, "ONNX Runtime's alone"),
        ({"runtime": "openvino", "device": "cuda"}, "does not run on CUDA"),
        ({"threads": 0}, "option threads is 0"),
        ({"batch": 1.5}, "option batch is 1.5"),
        ({"output": "nope"}, "no output 'nope'"),
    ],
)
def test_what_does_not_go_together_is_refused(images, images_bench, options, problem):
    with pytest.raises(ModelError, match=re.escape(problem)) as caught:
        images.runner(variant(images_bench.good.model, **options))

    assert caught.value.remedy


def test_a_gpu_that_is_not_there_is_said_and_never_replaced_by_the_processor(images, images_bench):
    import onnxruntime

    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("this ONNX Runtime has a GPU")
    with pytest.raises(ModelError, match="no CUDA provider"):
        images.runner(variant(images_bench.good.model, device="cuda"))


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_a_broken_file_is_a_model_error_and_nothing_goes_to_standard_output(
    images, tmp_path, capfd, runtime, needs_package
):
    needs_package(runtime)
    (tmp_path / "broken.onnx").write_bytes(b"not a model")

    with pytest.raises(ModelError, match=r"broken.onnx is not a usable ONNX model"):
        images.runner(variant(tmp_path / "broken.onnx", runtime=runtime))
    printed = capfd.readouterr()
    assert printed.out == ""
    # OpenVINO's readers of other formats, which it tries in turn, write to standard error from native code.
    assert printed.err == "" or runtime == "openvino"


def test_scores_for_another_number_of_classes_are_refused(images, image_model):
    with pytest.raises(ModelError, match="1 × 2 for 1 image"):
        answers(images, variant(image_model("two.onnx", classes=2)))


def test_without_torch_the_extra_is_named(images, tmp_path):
    if importlib.util.find_spec("torch") is not None:
        pytest.skip("torch is installed")
    (tmp_path / "net.py").write_text(NETWORK)

    with pytest.raises(MissingExtra, match=r"outweigh\[torch\]"):
        images.runner(variant(f"{tmp_path / 'net.py'}:bands"))


@pytest.mark.frameworks
def test_a_torch_network_answers_as_its_onnx_does(images, images_bench, tmp_path, needs_package):
    needs_package("torch")
    import torch

    (tmp_path / "net.py").write_text(NETWORK)
    reference = f"{tmp_path / 'net.py'}:bands"
    torch.save({"1.weight": torch.zeros(3, 64)}, tmp_path / "nought.pt")

    usual = answers(images, variant(images_bench.good.model))
    alike = answers(images, variant(reference, batch=4))
    nought = answers(images, variant(reference, weights="nought.pt"))

    assert alike.scores == usual.scores
    assert nought.scores != usual.scores
    with pytest.raises(ModelError, match="gives tuple, not a tensor"):
        answers(images, variant(f"{tmp_path / 'net.py'}:pairs"))


@pytest.mark.frameworks
@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_the_digits_example_trains_to_96_per_cent_and_answers_alike_on_every_runtime(tmp_path, needs_package):
    needs_package("torch", "onnxscript", "mlxtend", "openvino")
    from pathlib import Path

    from outweigh.config import load_project

    example = Path(__file__).parents[2] / "examples" / "digits"
    spec = importlib.util.spec_from_file_location("digits_build", example / "build.py")
    build = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(build)
    accuracy = build.build(tmp_path)
    task = tasks.get("image-classification")()
    task.load(load_project(example / "energy.toml").task, example)

    onnx, own = tmp_path / "cnn.onnx", f"{example / 'cnn.py'}:digits_cnn"
    ways = [
        variant(onnx), variant(onnx, runtime="openvino"), variant(onnx, batch=8), variant(onnx, graph="disabled"),
        variant(own, weights=str(tmp_path / "cnn.pt")),
    ]  # fmt: skip
    found = [np.array(answers(task, way, 400).scores["accuracy"]) for way in ways]

    assert accuracy > 0.96
    # OpenVINO computes in bf16 where the processor can, which tips an image here and there.
    assert all(np.mean(other != found[0]) < 0.02 for other in found)
