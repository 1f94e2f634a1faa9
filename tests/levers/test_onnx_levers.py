"""What each lever on ONNX models does to the numbers."""

from __future__ import annotations

import contextlib
import hashlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from outweigh.backends.levers._weights_only import int4_blocks, int8_by_channel
from outweigh.core.errors import LeverError
from outweigh.core.variant import Variant
from outweigh.registry import levers

onnx = pytest.importorskip("onnx")
runtime = pytest.importorskip("onnxruntime")

X = np.random.default_rng(0).normal(size=(6, 64)).astype(np.float32)


def answers(model: str | Path, x=X):
    options = runtime.SessionOptions()
    options.log_severity_level = 4
    return runtime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"]).run(None, {"x": x})[0]


def graph(model: str | Path):
    return onnx.load(model).graph


# --- weights in few bits ----------------------------------------------------------------------------

weights = arrays.arrays(
    np.float32, st.tuples(st.integers(1, 6), st.integers(1, 70)), elements=st.floats(-4, 4, width=32)
)


@given(weights)
def test_int8_is_never_further_off_than_half_a_step_of_its_channel(values):
    stored, scales = int8_by_channel(values, 0)

    assert np.all(np.abs(stored * scales[:, None] - values) <= 0.5001 * scales[:, None])


@given(weights)
def test_int4_is_never_further_off_than_a_step_of_its_block(values):
    packed, scales = int4_blocks(values)
    low, high = packed & 15, packed >> 4
    numbers = np.stack([low, high], axis=-1).reshape(len(values), scales.shape[1], 32).astype(np.float32) - 8
    back = (numbers * scales[:, :, None]).reshape(len(values), -1)

    # Half a step, but for the end that the furthest value does not lie on: 7 steps there, for a value of 8.
    steps = np.repeat(np.abs(scales), 32, axis=1)[:, : values.shape[1]]
    assert np.all(np.abs(back[:, : values.shape[1]] - values) <= 1.0001 * steps)
    assert np.all(back[:, values.shape[1] :] == 0)


@pytest.mark.parametrize("tiny", [1e-45, 1e-40, 1e-37])
def test_weights_too_small_for_a_scale_become_zero(tiny):
    values = np.array([[tiny, -tiny, 0.0]], dtype=np.float32)

    stored, scales = int8_by_channel(values, 0)
    packed, block_scales = int4_blocks(values)

    assert np.array_equal(stored, np.zeros((1, 3)))
    assert np.array_equal(packed, np.full((1, 1, 16), 0x88))
    assert scales.tolist() == [1.0]
    assert block_scales.tolist() == [[1.0]]


def test_weights_in_8_bits_are_a_quarter_of_the_size_and_computed_with_as_floats(dense_model, tmp_path):
    source = dense_model(outputs=2048)
    made = levers.get("quantize:int8-weights")().apply(Variant("base", str(source)), tmp_path / "made").model

    assert Path(made).stat().st_size < 0.3 * source.stat().st_size
    assert [node.op_type for node in graph(made).node] == ["DequantizeLinear", "MatMul"]
    # A weight is off by a uniform error of one step, s / sqrt(12) with s = 2 x 4 / 255 of its deviation at most;
    # 64 of them add up at random over inputs of deviation 1.
    assert np.std(answers(made) - answers(source)) < 2 * np.sqrt(64) * (8 / 255) / np.sqrt(12)


def test_weights_in_4_bits_are_read_by_the_runtime_as_they_were_packed(dense_model, tmp_path):
    source = dense_model(outputs=64)
    made = levers.get("quantize:int4-weights")().apply(Variant("base", str(source)), tmp_path / "made").model
    table = onnx.numpy_helper.to_array(graph(source).initializer[0])
    packed, scales = int4_blocks(table.T)
    numbers = np.stack([packed & 15, packed >> 4], axis=-1).reshape(64, 2, 32).astype(np.float32) - 8
    expected = X @ (numbers * scales[:, :, None]).reshape(64, 64).T

    assert [node.op_type for node in graph(made).node] == ["MatMulNBits"]
    assert answers(made) == pytest.approx(expected, rel=1e-3, abs=1e-3)


def test_an_old_opset_is_refused_with_the_one_it_takes(tmp_path):
    helper, floats = onnx.helper, onnx.TensorProto.FLOAT
    table = onnx.numpy_helper.from_array(np.ones((64, 64), dtype=np.float32), "w")
    made = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])], "old", [helper.make_tensor_value_info("x", floats, ["b", 64])],
        [helper.make_tensor_value_info("y", floats, ["b", 64])], [table],
    )  # fmt: skip
    onnx.save(helper.make_model(made, opset_imports=[helper.make_opsetid("", 11)], ir_version=6), tmp_path / "o.onnx")

    with pytest.raises(LeverError, match="opset 11") as caught:
        levers.get("quantize:int8-weights")().apply(Variant("base", str(tmp_path / "o.onnx")), tmp_path / "made")

    assert "opset 13" in caught.value.remedy


# --- static int8 ------------------------------------------------------------------------------------


def test_static_int8_takes_its_ranges_from_the_training_items(transformer, teaches, tmp_path):
    variant = Variant("base", str(transformer()))

    made = levers.get("quantize:int8-static")("64").apply_taught(variant, tmp_path / "made", teaches(128))

    assert made.levers == ("quantize:int8-static:64",)
    kinds = {node.op_type for node in graph(made.model).node}
    assert {"QuantizeLinear", "DequantizeLinear"} <= kinds
    x = teaches(128).inputs
    assert np.std(answers(made.model, x) - answers(variant.model, x)) < 0.1 * np.std(answers(variant.model, x))


def test_other_training_items_make_another_file_and_the_same_ones_do_not(transformer, teaches, tmp_path):
    variant, lever = Variant("base", str(transformer())), levers.get("quantize:int8-static")()

    one, again, other = (lever.apply_taught(variant, tmp_path / "made", teaches(32, seed)).model for seed in (0, 0, 1))

    assert one == again
    assert one != other


def test_a_task_without_training_items_cannot_calibrate(transformer, teaches, tmp_path):
    with pytest.raises(LeverError, match="no training items"):
        levers.get("quantize:int8-static")().apply_taught(
            Variant("base", str(transformer())), tmp_path / "made", teaches(0)
        )


def test_items_that_the_model_does_not_take_are_a_lever_error(transformer, teaches, tmp_path):
    task = teaches(16, name="z")

    with pytest.raises(LeverError, match="cannot be quantised"):
        levers.get("quantize:int8-static")().apply_taught(Variant("b", str(transformer())), tmp_path / "made", task)


# --- 16 bits ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_a_cast_is_refused_where_the_runtime_would_cast_back(precision, transformer, tmp_path):
    from outweigh.backends.levers import _precision

    lever, variant = levers.get(f"cast:{precision}")(), Variant("base", str(transformer()))
    has_kernels = False
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_precision, "_check_kernels", lambda *_: None)
        unchecked = lever.apply(variant, tmp_path / "unchecked").model
    with contextlib.suppress(Exception):
        has_kernels = not cast_back(unchecked, tmp_path)

    if has_kernels:
        assert answers(lever.apply(variant, tmp_path / "made").model) == pytest.approx(answers(variant.model), abs=0.05)
    else:
        with pytest.raises(LeverError, match=f"does not compute in {precision}"):
            lever.apply(variant, tmp_path / "made")
        assert list((tmp_path / "made").iterdir()) == []


def cast_back(model: str, folder: Path) -> bool:
    """Whether ONNX Runtime multiplies floats of 32 bits in a model of 16, as its own dump of the graph shows."""
    options = runtime.SessionOptions()
    options.log_severity_level, options.optimized_model_filepath = 4, str(folder / "dump.onnx")
    runtime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    shown = onnx.shape_inference.infer_shapes(onnx.load(folder / "dump.onnx")).graph
    kinds = {value.name: value.type.tensor_type.elem_type for value in shown.value_info}
    kinds |= {tensor.name: tensor.data_type for tensor in shown.initializer}
    products = [node for node in shown.node if "MatMul" in node.op_type or "Gemm" in node.op_type]
    return any(kinds.get(name) == onnx.TensorProto.FLOAT for node in products for name in node.input)


@pytest.mark.parametrize(("precision", "step"), [("fp16", 2**-11), ("bf16", 2**-8)])
def test_what_is_cast_computes_the_same_within_the_precision(precision, step, transformer, tmp_path):
    from outweigh.backends.levers._precision import lower

    reference = pytest.importorskip("onnx.reference")
    model = onnx.load(transformer())
    expected = reference.ReferenceEvaluator(model).run(None, {"x": X})[0]

    assert lower(model, precision) == 3
    onnx.checker.check_model(model)
    found = reference.ReferenceEvaluator(model).run(None, {"x": X})[0]

    assert found.dtype == np.float32
    # Three products of 64 terms and sums between them, each rounded: tens of steps at random, no more.
    assert np.abs(found - expected).max() < 40 * step
    assert np.abs(found - expected).max() > 0


# --- layers and zeros -------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 2])
def test_dropping_blocks_leaves_the_model_of_the_blocks_before(count, transformer, tmp_path):
    source = transformer()
    made = levers.get("layers:drop")(str(count)).apply(Variant("base", str(source)), tmp_path / "made").model

    shorter = transformer(blocks=3 - count, name="shorter.onnx")

    assert answers(made) == pytest.approx(answers(shorter), rel=1e-5, abs=1e-6)
    assert len(graph(made).initializer) == 3 - count


def test_blocks_without_numbers_in_their_names_are_refused(transformer, tmp_path):
    source = transformer(numbered=False)

    with pytest.raises(LeverError, match="no row of numbered blocks"):
        levers.get("layers:drop")().apply(Variant("base", str(source)), tmp_path / "made")


@pytest.mark.parametrize("zeros", [0.25, 0.8])
def test_zeros_are_the_asked_share_and_the_smallest(zeros, dense_model, tmp_path):
    source = dense_model()
    lever = levers.get("prune:unstructured")(f"{zeros:g}")
    made = lever.apply(Variant("base", str(source)), tmp_path / "made").model

    before, after = (onnx.numpy_helper.to_array(graph(model).initializer[0]) for model in (source, made))

    assert np.mean(after == 0) == pytest.approx(zeros, abs=1 / after.size)
    assert np.abs(before[after == 0]).max() <= np.abs(after[after != 0]).min()
    assert np.array_equal(after[after != 0], before[after != 0])
    assert Path(made).stat().st_size == pytest.approx(source.stat().st_size, rel=0.02)


# --- artefact ---------------------------------------------------------------------------------------


def test_an_artefact_is_pinned_by_its_hash(dense_model, tmp_path):
    base, brought = dense_model("base.onnx"), dense_model("brought.onnx", seed=9)
    digest = hashlib.sha256(brought.read_bytes()).hexdigest()
    variant = Variant("base", str(base))

    made = levers.get("artefact")(f"{brought}#sha256={digest}").apply(variant, tmp_path)

    assert made.model == str(brought)
    assert made.levers == (f"artefact:brought.onnx#sha256={digest}",)
    assert levers.get("artefact")(str(brought)).apply(variant, tmp_path) == made
    with pytest.raises(LeverError, match=f"not what was pinned: its SHA-256 is {digest}"):
        levers.get("artefact")(f"{brought}#sha256={'0' * 64}").apply(variant, tmp_path)


def test_a_folder_is_pinned_by_names_and_contents_of_all_its_files(tmp_path):
    def folder(name: str, **files: str) -> str:
        for file, content in files.items():
            (tmp_path / name / "inside").mkdir(parents=True, exist_ok=True)
            (tmp_path / name / "inside" / file).write_text(content)
        made = levers.get("artefact")(str(tmp_path / name)).apply(Variant("base", "x"), tmp_path)
        return made.levers[0].partition("#")[2]

    one = folder("one", a="1", b="2")

    assert one == folder("two", b="2", a="1")
    assert one != folder("three", a="1", b="3")
    assert one != folder("four", a="1", c="2")
