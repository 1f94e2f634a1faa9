"""Levers on torch networks, and the files they are kept in."""

from __future__ import annotations

import importlib
import json
import os
import pickle
from dataclasses import replace
from pathlib import Path

import pytest

from outweigh.core.errors import LeverError, MissingExtra, ModelError
from outweigh.core.variant import Variant
from outweigh.data.torch_models import WEIGHTS, load_torch, torch_digest, torch_files, torch_reference
from outweigh.registry import levers

ALL_HERE = os.environ.get("OUTWEIGH_TEST_FRAMEWORKS") == "1"
pytestmark = pytest.mark.filterwarnings("default")  # torch's own deprecations are torch's to mend


@pytest.fixture
def torch():
    # `make test-frameworks` says that it has to be there.
    torch = importlib.import_module("torch") if ALL_HERE else pytest.importorskip("torch")
    torch.set_num_threads(1)
    return torch


@pytest.fixture
def variant(network_file) -> Variant:
    return Variant("base", f"{network_file}:blocks")


@pytest.fixture
def trained(torch, variant, teaches, tmp_path) -> Variant:
    """The network of three blocks, taught the four classes."""
    network, task = load_torch(variant).train(), teaches()
    inputs, targets = (torch.from_numpy(each) for each in task.examples())
    optimiser = torch.optim.Adam(network.parameters(), 3e-3)
    for _ in range(30):
        optimiser.zero_grad()
        torch.nn.functional.cross_entropy(network(inputs), targets).backward()
        optimiser.step()
    torch.save(network.state_dict(), tmp_path / "base.pt")
    return replace(variant, options=((WEIGHTS, str(tmp_path / "base.pt")),))


def right(torch, variant: Variant, task) -> float:
    inputs, targets = (torch.from_numpy(each) for each in task.examples())
    with torch.no_grad():
        return float((load_torch(variant)(inputs).argmax(1) == targets).float().mean())


def pulled(variant: Variant, workdir: Path, task, *names: str) -> Variant:
    for name in names:
        kind, argument = levers.named(name)
        lever = kind(argument) if argument else kind()
        taught = hasattr(lever, "apply_taught")
        variant = lever.apply_taught(variant, workdir, task) if taught else lever.apply(variant, workdir)
    return variant


# --- files ------------------------------------------------------------------------------------------


def test_a_torch_model_is_a_python_file_and_a_factory():
    assert torch_reference("a/net.py:make").factory == "make"
    assert [torch_reference(text) for text in ("net.py", "net.onnx", "net.py:not a name", "c:net.onnx")] == [None] * 4


def test_the_digest_changes_with_the_code_and_with_the_weights(variant, tmp_path):
    weights = tmp_path / "weights.pt"
    weights.write_bytes(b"one")
    heavy = replace(variant, options=((WEIGHTS, str(weights)),))
    before = torch_digest(variant), torch_digest(heavy)

    weights.write_bytes(b"two")

    assert torch_digest(variant) == before[0] != before[1]
    assert torch_digest(heavy) != before[1]
    assert torch_files(heavy)[1] == weights
    with pytest.raises(ModelError, match="cannot be read"):
        torch_digest(replace(variant, model=str(tmp_path / "none.py:blocks")))


def test_without_torch_the_extra_is_named(variant, tmp_path):
    try:
        import torch  # noqa: F401
    except ImportError:
        with pytest.raises(MissingExtra, match=r"outweigh\[torch\]"):
            load_torch(variant)
        with pytest.raises(MissingExtra, match="torch"):
            levers.get("cast:bf16")().apply(variant, tmp_path)


@pytest.mark.parametrize(
    ("factory", "why"),
    [("nobody", "nobody"), ("fails", "no such luck"), ("number", "returns int")],
)
def test_a_factory_that_does_not_give_a_network_is_a_model_error(torch, network_file, factory, why):
    with pytest.raises(ModelError, match=why):
        load_torch(Variant("base", f"{network_file}:{factory}"))


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_weights_are_read_as_data_and_never_as_code(torch, variant, tmp_path):
    class Harm:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "harm",))

    (tmp_path / "harm.pt").write_bytes(pickle.dumps(Harm()))
    torch.save({"x": Harm()}, tmp_path / "harm2.pt")

    for name in ("harm.pt", "harm2.pt"):
        with pytest.raises(ModelError, match="plain data"):
            load_torch(replace(variant, options=((WEIGHTS, str(tmp_path / name)),)))
    assert not (tmp_path / "harm").exists()


def test_weights_of_another_network_are_a_model_error(torch, variant, network_file, tmp_path):
    torch.save(load_torch(Variant("thin", f"{network_file}:thin")).state_dict(), tmp_path / "thin.pt")

    with pytest.raises(ModelError, match=r"thin.pt does not fit"):
        load_torch(replace(variant, options=((WEIGHTS, str(tmp_path / "thin.pt")),)))


# --- levers -----------------------------------------------------------------------------------------


def test_pruned_layers_are_narrower_by_sixteens_and_loaded_as_they_were_kept(torch, trained, teaches, tmp_path):
    pytest.importorskip("torch_pruning")
    task = teaches()

    made = pulled(trained, tmp_path / "made", task, "prune:structured:0.5")

    network = load_torch(made)
    assert network.into.out_features == network.out.in_features == 32
    assert network.out.out_features == 4
    assert {layer[0].out_features % 16 for layer in network.layers} == {0}
    assert sum(p.numel() for p in network.parameters()) < 0.5 * sum(p.numel() for p in load_torch(trained).parameters())
    assert right(torch, made, task) > right(torch, trained, task) - 0.05
    assert made.levers == ("prune:structured:0.5",)
    assert made.model == trained.model
    assert (
        json.loads(Path(str(made.option(WEIGHTS, ""))).with_suffix(".teacher.json").read_text())["model"] == made.model
    )


def test_pruning_twice_gives_the_same_bytes(torch, trained, teaches, tmp_path):
    pytest.importorskip("torch_pruning")

    one, two = (pulled(trained, tmp_path / each, teaches(), "prune:structured:0.5") for each in ("a", "b"))

    assert Path(one.option(WEIGHTS, "")).read_bytes() == Path(two.option(WEIGHTS, "")).read_bytes()


def test_a_network_too_narrow_to_prune_in_sixteens_is_a_lever_error(torch, network_file, teaches, tmp_path):
    pytest.importorskip("torch_pruning")

    with pytest.raises(LeverError, match="no layer is wide enough"):
        pulled(Variant("thin", f"{network_file}:thin"), tmp_path, teaches(), "prune:structured:0.5")


def test_items_that_the_network_does_not_take_are_a_lever_error(torch, trained, teaches, tmp_path):
    pytest.importorskip("torch_pruning")
    task = teaches()
    task.inputs = task.inputs[:, :7]

    with pytest.raises(LeverError) as caught:
        pulled(trained, tmp_path, task, "prune:structured:0.5")
    assert caught.value.remedy


def test_distilling_brings_back_what_a_lever_took_and_keeps_its_zeros(torch, trained, teaches, tmp_path):
    task = teaches()
    sparse = pulled(trained, tmp_path / "made", task, "prune:unstructured:0.9")

    taught = pulled(sparse, tmp_path / "made", task, "distil:20")

    assert right(torch, taught, task) > right(torch, sparse, task)
    before, after = (dict(load_torch(each).named_parameters()) for each in (sparse, taught))
    for name in before:
        if before[name].ndim > 1:
            assert bool((after[name][before[name] == 0] == 0).all())
    assert taught.levers == ("prune:unstructured:0.9", "distil:20")


def test_a_network_that_nobody_changed_has_no_teacher(torch, trained, teaches, tmp_path):
    with pytest.raises(LeverError, match="no network that it was made from"):
        pulled(trained, tmp_path, teaches(), "distil")


def test_dropped_blocks_stay_dropped_when_the_weights_are_loaded(torch, trained, teaches, tmp_path):
    made = pulled(trained, tmp_path / "made", teaches(), "layers:drop:2")

    network, whole = load_torch(made), load_torch(trained)
    assert len(network.layers) == 1
    x = torch.from_numpy(teaches(4).inputs)
    with torch.no_grad():
        expected = whole.out(whole.into(x) + whole.layers[0](whole.into(x)))
        assert torch.allclose(network(x), expected, atol=1e-6)


@pytest.mark.parametrize(("name", "off"), [("cast:bf16", 0.05), ("cast:fp16", 0.01), ("quantize:int8-dynamic", 0.05)])
def test_a_precision_is_applied_on_loading_and_answers_stay_float32(torch, trained, teaches, tmp_path, name, off):
    made = pulled(trained, tmp_path / "made", teaches(), name)

    x = torch.from_numpy(teaches(64).inputs)
    with torch.no_grad():
        before, after = load_torch(trained)(x), load_torch(made)(x)
    assert after.dtype == torch.float32
    assert float((after - before).abs().mean()) < off * float(before.abs().mean())
    assert not torch.equal(after, before)


def test_a_low_precision_comes_last(torch, trained, teaches, tmp_path):
    with pytest.raises(LeverError, match="made for bf16 already"):
        pulled(trained, tmp_path, teaches(), "cast:bf16", "quantize:int8-dynamic")


def test_an_exported_network_gives_the_same_answers_for_any_batch(torch, trained, teaches, tmp_path):
    runtime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")

    made = pulled(trained, tmp_path / "made", teaches(), "prune:unstructured:0.5", "runtime:onnxruntime")

    assert dict(made.options) == {"runtime": "onnxruntime"}
    session = runtime.InferenceSession(made.model, providers=["CPUExecutionProvider"])
    sparse = pulled(trained, tmp_path / "made", teaches(), "prune:unstructured:0.5")
    for items in (1, 3, 8):
        x = teaches(8).inputs[:items]
        with torch.no_grad():
            expected = load_torch(sparse)(torch.from_numpy(x)).numpy()
        assert session.run(None, {"x": x})[0] == pytest.approx(expected, rel=1e-4, abs=1e-5)


def test_without_a_task_a_torch_network_cannot_be_exported(torch, trained, tmp_path):
    pytest.importorskip("onnxruntime")

    with pytest.raises(LeverError, match="training item"):
        levers.get("runtime")().apply(trained, tmp_path)


@pytest.mark.gpu
@pytest.mark.parametrize("name", ["quantize:int8-weights", "quantize:int8-dynamic"])
def test_torchao_computes_in_few_bits_on_a_gpu(torch, trained, teaches, tmp_path, name):
    pytest.importorskip("torchao")
    if not torch.cuda.is_available():
        pytest.skip("no GPU")

    made = pulled(trained, tmp_path / "made", teaches(), name)

    x = torch.from_numpy(teaches(64).inputs).cuda()
    with torch.no_grad():
        before, after = load_torch(trained, "cuda")(x), load_torch(made, "cuda")(x)
    assert float((after - before).abs().mean()) < 0.1 * float(before.abs().mean())
