"""What every lever promises, whatever it does."""

from __future__ import annotations

import inspect
import pickle
from pathlib import Path

import pytest

from outweigh.core.errors import LeverError, MissingExtra, OutweighError
from outweigh.core.variant import Variant
from outweigh.ports import DeviceLever, Lever, TaughtLever
from outweigh.registry import levers

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

DEVICE = ("clock", "power-cap")
TORCH_ONLY = ("distil", "prune:structured")
#: An argument with which each applies to the small models here, where it needs one.
ARGUMENTS = {"artefact": "", "batch": "4", "graph": "basic", "layers:drop": "1", "threads": "1"}


def test_the_levers_of_the_issue_are_there():
    assert set(levers.names()) >= {
        "artefact", "batch", "cast:bf16", "cast:fp16", "clock", "distil", "graph", "layers:drop", "power-cap",
        "prune:structured", "prune:unstructured", "quantize:int4-weights", "quantize:int8-dynamic",
        "quantize:int8-static", "quantize:int8-weights", "runtime", "threads",
    }  # fmt: skip


def pulled(name: str, variant: Variant, workdir: Path, task: object) -> Variant:
    kind, argument = levers.get(name), ARGUMENTS.get(name, "")
    return applied(kind(argument) if argument else kind(), variant, workdir, task)


def applied(lever: object, variant: Variant, workdir: Path, task: object) -> Variant:
    if isinstance(lever, TaughtLever):
        return lever.apply_taught(variant, workdir, task)
    return lever.apply(variant, workdir)


def attempted(name: str, variant: Variant, workdir: Path, task: object) -> tuple[Variant | None, OutweighError | None]:
    try:
        return pulled(name, variant, workdir, task), None
    except OutweighError as refusal:
        return None, refusal


@pytest.fixture
def variant(transformer) -> Variant:
    return Variant("base", str(transformer()), options=(("pooling", "cls"),), content_hash="f" * 64)


@pytest.mark.parametrize("name", levers.names())
class TestEveryLever:
    def test_it_keeps_a_port_and_its_probe_says_why_not_instead_of_raising(self, name):
        lever = levers.get(name)()

        found = lever.probe()

        assert isinstance(lever, Lever | TaughtLever | DeviceLever)
        assert found.name == lever.name == name
        assert found.usable or (found.reason and found.remedy)
        assert found.sees or not found.usable

    def test_its_documentation_says_what_it_does(self, name):
        assert len(inspect.getdoc(levers.get(name)).split()) > 20

    def test_it_applies_or_says_typed_why_not(self, name, variant, tmp_path, teaches):
        before = Path(variant.model).read_bytes()

        made, refusal = attempted(name, variant, tmp_path / "made", teaches(64))

        if made is None:
            assert isinstance(refusal, LeverError | MissingExtra)
            assert refusal.remedy
            assert str(pickle.loads(pickle.dumps(refusal))) == str(refusal)
            assert name in {*DEVICE, *TORCH_ONLY, "artefact", "cast:fp16", "cast:bf16"}
        else:
            assert (made.parent, made.content_hash) == ("base", "")
            assert len(made.levers) == 1
            assert made.levers[0].startswith(name)
            assert dict(made.options).items() >= {("pooling", "cls")}
            assert made.model != variant.model or made.options != variant.options
        assert Path(variant.model).read_bytes() == before
        made_here = tmp_path / "made"
        assert not [path for path in (made_here.iterdir() if made_here.exists() else ()) if path.name[0] == "."]

    def test_the_same_twice_gives_the_same_bytes(self, name, variant, tmp_path, teaches):
        (one, _), (two, _) = (attempted(name, variant, tmp_path / each, teaches(64)) for each in ("one", "two"))

        assert (one is None) == (two is None)
        if one is not None:
            assert Path(one.model).read_bytes() == Path(two.model).read_bytes()
            assert (one.options, one.levers) == (two.options, two.levers)

    def test_a_model_that_is_not_there_and_one_that_is_no_model_are_lever_errors(self, name, tmp_path, teaches):
        (tmp_path / "broken.onnx").write_bytes(b"not a model")
        missing = Variant("base", str(tmp_path / "none.onnx"))
        broken = Variant("base", str(tmp_path / "broken.onnx"))

        for each in (missing, broken):
            made, refusal = attempted(name, each, tmp_path / "made", teaches(8))

            # What only sets an option leaves the finding out to who loads the model.
            assert isinstance(refusal, LeverError | MissingExtra) or made.model == each.model


MAKES_FILES = (
    "layers:drop", "prune:unstructured", "quantize:int4-weights", "quantize:int8-dynamic", "quantize:int8-static",
    "quantize:int8-weights",
)  # fmt: skip


@pytest.mark.parametrize("name", MAKES_FILES)
def test_what_is_made_still_takes_any_number_of_items(name, variant, tmp_path, teaches):
    import onnxruntime

    made = pulled(name, variant, tmp_path / "made", teaches(64))

    session = onnxruntime.InferenceSession(made.model, providers=["CPUExecutionProvider"])
    for items in (1, 5):
        (answer,) = session.run(None, {"x": teaches(5).inputs[:items]})
        assert answer.shape == (items, 64)


@pytest.mark.parametrize("name", MAKES_FILES)
def test_a_full_disk_is_said_and_leaves_nothing_half_made(name, variant, tmp_path, teaches, monkeypatch):
    def full(self: Path, target: Path) -> Path:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)

    with pytest.raises(LeverError, match="No space left on device") as caught:
        pulled(name, variant, tmp_path / "made", teaches(64))

    assert "Free some space" in caught.value.remedy
    assert list((tmp_path / "made").iterdir()) == []


@pytest.mark.parametrize(
    ("name", "argument"),
    [
        ("batch", "0"), ("batch", "many"), ("threads", "100000"), ("graph", "most"), ("layers:drop", "3"),
        ("prune:unstructured", "1.5"), ("runtime", "abacus"), ("runtime", "torch"), ("quantize:int8-static", "none"),
        ("artefact", "nowhere.onnx"), ("artefact", ""),
    ],
)  # fmt: skip
def test_an_argument_that_cannot_be_is_a_lever_error_with_a_remedy(name, argument, variant, tmp_path, teaches):
    lever = levers.get(name)(argument)

    with pytest.raises((LeverError, MissingExtra)) as caught:
        applied(lever, variant, tmp_path / "made", teaches(8))

    assert caught.value.remedy


@pytest.mark.parametrize(
    ("name", "argument", "option"),
    [
        ("batch", "", ("batch", 8)), ("batch", "32", ("batch", 32)), ("threads", "1", ("threads", 1)),
        ("graph", "", ("graph", "all")), ("graph", "disabled", ("graph", "disabled")),
        ("runtime", "", ("runtime", "onnxruntime")),
    ],
)  # fmt: skip
def test_levers_that_make_nothing_set_the_option_that_tasks_honour(name, argument, option, variant, tmp_path):
    made = levers.get(name)(argument).apply(variant, tmp_path / "made")

    assert option in made.options
    assert made.model == variant.model
    assert made.levers == ((f"{name}:{argument}" if argument else name),)
    assert not (tmp_path / "made").exists()
