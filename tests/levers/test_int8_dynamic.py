from __future__ import annotations

import logging
import pickle
import sys
from pathlib import Path

import numpy as np
import pytest

from outweigh.core.errors import LeverError, MissingExtra
from outweigh.core.variant import Variant
from outweigh.ports import Lever
from outweigh.registry import levers

NAME = "quantize:int8-dynamic"

onnx = pytest.importorskip("onnx")
runtime = pytest.importorskip("onnxruntime")


@pytest.fixture
def lever():
    return levers.get(NAME)()


def test_the_lever_is_found_by_its_name_and_keeps_the_port(lever):
    assert isinstance(lever, Lever)
    assert lever.name == NAME
    assert lever.probe().usable


def test_the_made_variant_names_its_parent_and_its_lever_and_keeps_its_options(lever, dense_model, tmp_path):
    original = Variant("base", str(dense_model()), options=(("pooling", "cls"),), content_hash="f" * 64)

    made = lever.apply(original, tmp_path / "made")

    assert (made.parent, made.levers, made.options) == ("base", (NAME,), original.options)
    assert made.content_hash == ""
    assert made.model != original.model


def test_weights_become_int8_and_answers_stay_within_a_step_of_the_scale(lever, dense_model, tmp_path):
    source = dense_model(outputs=128)
    made = lever.apply(Variant("base", str(source)), tmp_path / "made").model
    x = np.random.default_rng(0).normal(size=(4, 64)).astype(np.float32)

    before, after = (
        runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"]).run(None, {"x": x})[0]
        for path in (source, made)
    )

    kinds = {tensor.data_type for tensor in onnx.load(made).graph.initializer}
    assert onnx.TensorProto.INT8 in kinds
    # Rounding errors are uniform over one step s: s / sqrt(12) each. Weights and inputs both reach about 4 standard
    # deviations, so s = 8 / 255 of one, and 64 products of two unit normals with both errors add up at random.
    assert np.std(after - before) < 2 * np.sqrt(64 * 2) * (8 / 255) / np.sqrt(12)
    assert np.std(after - before) > 0


def test_a_model_quantised_before_is_not_quantised_again(lever, dense_model, tmp_path):
    first = lever.apply(Variant("a", str(dense_model("a.onnx"))), tmp_path / "made")
    stamp = (tmp_path / "made").joinpath(first.model).stat().st_mtime_ns

    again = lever.apply(Variant("b", str(dense_model("b.onnx"))), tmp_path / "made")
    other = lever.apply(Variant("c", str(dense_model("c.onnx", seed=4))), tmp_path / "made")

    assert again.model == first.model
    assert (tmp_path / "made").joinpath(again.model).stat().st_mtime_ns == stamp
    assert other.model != first.model
    assert len(list((tmp_path / "made").iterdir())) == 2  # and nothing half-made is left behind


def test_the_same_model_quantised_twice_gives_the_same_bytes(lever, dense_model, tmp_path):
    original = Variant("base", str(dense_model()))

    made = [lever.apply(original, tmp_path / name).model for name in ("one", "two")]

    assert Path(made[0]).read_bytes() == Path(made[1]).read_bytes()


def test_nothing_is_printed_or_logged_and_logging_is_left_as_it_was(lever, dense_model, tmp_path, capfd):
    root = logging.getLogger()
    handlers, filters = list(root.handlers), list(root.filters)

    lever.apply(Variant("base", str(dense_model())), tmp_path / "made")

    assert capfd.readouterr() == ("", "")
    assert (root.handlers, root.filters) == (handlers, filters)


@pytest.mark.parametrize("content", [b"not a model", b"", b"\x08\x08"])
def test_a_file_that_is_not_onnx_is_a_lever_error_and_leaves_nothing_behind(lever, tmp_path, content):
    (tmp_path / "broken.onnx").write_bytes(content)

    with pytest.raises(LeverError, match=r"quantize:int8-dynamic on base: ") as caught:
        lever.apply(Variant("base", str(tmp_path / "broken.onnx")), tmp_path / "made")

    assert caught.value.remedy
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)
    assert list((tmp_path / "made").iterdir()) == []


def test_a_model_without_constant_float_weights_has_nothing_to_quantise(lever, dense_model, tmp_path):
    with pytest.raises(LeverError, match="nothing to quantise"):
        lever.apply(Variant("base", str(dense_model(constant=False))), tmp_path / "made")


def test_a_model_that_is_quantised_already_has_nothing_to_quantise(lever, dense_model, tmp_path):
    made = lever.apply(Variant("base", str(dense_model())), tmp_path / "made")

    with pytest.raises(LeverError, match="quantise"):
        lever.apply(made, tmp_path / "made")


def test_a_missing_model_and_an_unwritable_folder_are_lever_errors(lever, dense_model, tmp_path):
    with pytest.raises(LeverError, match="cannot be read"):
        lever.apply(Variant("base", str(tmp_path / "none.onnx")), tmp_path / "made")
    (tmp_path / "file").write_text("")
    with pytest.raises(LeverError, match="cannot be written"):
        lever.apply(Variant("base", str(dense_model())), tmp_path / "file" / "made")


def test_a_missing_package_is_named_with_the_extra_that_brings_it(lever, dense_model, tmp_path, monkeypatch):
    original = Variant("base", str(dense_model()))
    monkeypatch.setitem(sys.modules, "onnxruntime.quantization", None)

    with pytest.raises(MissingExtra, match=r"onnxruntime.*outweigh\[onnx\]"):
        lever.apply(original, tmp_path / "made")
