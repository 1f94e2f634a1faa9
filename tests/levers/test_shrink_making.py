from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outweigh.core.errors import InvalidQuantity, LeverError, ModelError, UnknownBackend, UsageError
from outweigh.core.project import GateSpec, PrimaryMetric, Project, TaskSpec, VariantSpec
from outweigh.core.quantities import Energy
from outweigh.registry import levers
from outweigh.shrink import break_even_units, make_variants

INT8 = "quantize:int8-dynamic"


def project(root: Path, *variants: VariantSpec) -> Project:
    task = TaskSpec("text-classification", "data", PrimaryMetric("accuracy"))
    return Project("p", "item", 1.0, 1.0, 12.0, task, variants, GateSpec("base", "int8"), root=str(root))


class Bench:
    """Counts the stretches of work that were metered; its readings are their numbers."""

    def __init__(self) -> None:
        self.opened = 0

    def __call__(self):
        bench = self

        class Stretch:
            reading = None

            def __enter__(self):
                bench.opened += 1
                return self

            def __exit__(self, *error):
                self.reading = bench.opened

        return Stretch()


@pytest.fixture
def base(dense_model):
    return VariantSpec("base", str(dense_model("base.onnx")), options=(("pooling", "cls"), ("threads", 1)))


def test_a_declared_model_is_found_from_the_root_and_not_metered(tmp_path, base):
    bench = Bench()

    (made,) = make_variants(project(tmp_path, replace(base, model="base.onnx")), tmp_path / "made", measure=bench)

    assert made.variant.model == str(tmp_path / "base.onnx")
    assert (made.applying, made.reused, bench.opened) == (None, False, 0)
    assert not (tmp_path / "made").exists()


def test_each_variant_is_charged_with_its_own_levers_and_its_parent_is_made_once(tmp_path, base):
    specs = (
        VariantSpec("quick", parent="int8", options=(("threads", 2),)),
        VariantSpec("int8", parent="base", levers=(INT8,)),
        base,
    )
    bench = Bench()

    quick, int8, founder = make_variants(project(tmp_path, *specs), tmp_path / "made", measure=bench)

    assert bench.opened == 1
    assert (int8.applying, quick.applying, founder.applying) == (1, None, None)
    assert (int8.variant.name, int8.variant.parent, int8.variant.levers) == ("int8", "base", (INT8,))
    assert (quick.variant.parent, quick.variant.levers, quick.variant.model) == ("int8", (INT8,), int8.variant.model)
    assert dict(quick.variant.options) == {"pooling": "cls", "threads": 2}
    assert founder.variant.model == base.model


def test_a_second_making_says_that_it_reused_the_first(tmp_path, base):
    plan = project(tmp_path, base, VariantSpec("int8", parent="base", levers=(INT8,)))

    first, again = (make_variants(plan, tmp_path / "made", names=["int8"])[0] for _ in range(2))

    assert (first.reused, again.reused) == (False, True)
    assert first.variant == again.variant


def test_levers_are_applied_in_their_order_and_the_name_stays_the_declared_one(tmp_path, base, monkeypatch):
    class Renames:
        def __init__(self, name: str) -> None:
            self.name = name

        def apply(self, variant, workdir):
            return replace(variant, parent="lever", levers=(*variant.levers, self.name))

    for name in ("one", "two"):
        monkeypatch.setitem(levers._classes, name, lambda name=name: Renames(name))
    plan = project(tmp_path, base, VariantSpec("both", parent="base", levers=("one", "two")))

    (made,) = make_variants(plan, tmp_path / "made", names=["both"])

    assert made.variant.levers == ("one", "two")
    assert made.variant.parent == "base"


def test_what_cannot_be_made_is_a_typed_error_that_names_it(tmp_path, base):
    plan = project(
        tmp_path,
        base,
        VariantSpec("gone", "gone.onnx"),
        VariantSpec("a", parent="b"),
        VariantSpec("b", parent="a"),
        VariantSpec("odd", parent="base", levers=("quantize:int8-dynamo",)),
        VariantSpec("int8", parent="base", levers=(INT8,)),
    )
    (tmp_path / "file").write_text("")

    with pytest.raises(ModelError, match=r"variant gone: 'gone.onnx' does not exist"):
        make_variants(plan, tmp_path / "made", names=["gone"])
    with pytest.raises(UsageError, match="made from each other: a from b from a"):
        make_variants(plan, tmp_path / "made", names=["a"])
    with pytest.raises(UsageError, match="no variant 'nobody'"):
        make_variants(plan, tmp_path / "made", names=["nobody"])
    with pytest.raises(UnknownBackend, match=INT8):
        make_variants(plan, tmp_path / "made", names=["odd"])
    with pytest.raises(LeverError, match="cannot be made"):
        make_variants(plan, tmp_path / "file" / "made", names=["int8"])


# --- arguments, teaching, files ---------------------------------------------------------------------


def test_a_lever_takes_its_argument_from_its_name(tmp_path, base):
    plan = project(tmp_path, base, VariantSpec("many", parent="base", levers=("batch:32", "threads:1")))

    (made,) = make_variants(plan, tmp_path / "made", names=["many"])

    assert dict(made.variant.options) == {"batch": 32, "pooling": "cls", "threads": 1}
    assert made.variant.levers == ("batch:32", "threads:1")


def test_an_argument_for_a_lever_that_takes_none_is_refused(tmp_path, base):
    plan = project(tmp_path, base, VariantSpec("odd", parent="base", levers=(f"{INT8}:3",)))

    with pytest.raises(LeverError, match="takes no argument, and got '3'"):
        make_variants(plan, tmp_path / "made", names=["odd"])


def test_a_lever_that_learns_is_taught_by_the_task_or_says_what_it_lacks(tmp_path, base, teaches):
    plan = project(tmp_path, base, VariantSpec("static", parent="base", levers=("quantize:int8-static",)))
    bench = Bench()

    (made,) = make_variants(plan, tmp_path / "made", names=["static"], measure=bench, task=teaches())

    assert made.variant.model != base.model
    assert (made.applying, made.reused) == (1, False)
    for task in (None, object()):
        with pytest.raises(LeverError, match="learns from training items, and the task gives none") as caught:
            make_variants(plan, tmp_path / "made", names=["static"], task=task)
        assert "training split" in caught.value.remedy


def test_variants_that_a_lever_refuses_can_be_left_out_and_said(tmp_path, base, dense_model):
    bare = VariantSpec("bare", str(dense_model("bare.onnx", constant=False)))
    plan = project(tmp_path, base, bare, *(
        VariantSpec(f"{parent}-int8", parent=parent, levers=(INT8,)) for parent in ("bare", "base")
    ))  # fmt: skip
    refused = {}

    made = make_variants(plan, tmp_path / "made", on_refusal=refused.__setitem__)

    assert [one.variant.name for one in made] == ["base", "bare", "base-int8"]
    assert "nothing to quantise" in str(refused["bare-int8"])


def test_an_artefact_is_looked_up_from_the_folder_of_the_project(tmp_path, base, dense_model):
    dense_model("brought.onnx", seed=8)
    plan = project(
        tmp_path, base, VariantSpec("own", parent="base", levers=("artefact:brought.onnx",)),
        VariantSpec("gone", parent="base", levers=("artefact:gone.onnx",)),
    )  # fmt: skip

    (made,) = make_variants(plan, tmp_path / "made", names=["own"])

    assert made.variant.model == str(tmp_path / "brought.onnx")
    assert made.variant.levers[0].startswith("artefact:brought.onnx#sha256=")
    with pytest.raises(LeverError, match="does not exist"):
        make_variants(plan, tmp_path / "made", names=["gone"])


def test_a_torch_model_and_its_weights_are_found_from_the_root(tmp_path, network_file):
    (tmp_path / "weights.pt").write_bytes(b"")
    spec = VariantSpec("net", f"{network_file.name}:blocks", options=(("weights", "weights.pt"),))

    (made,) = make_variants(project(tmp_path, spec), tmp_path / "made")

    assert made.variant.model == f"{network_file}:blocks"
    assert dict(made.variant.options) == {"weights": str(tmp_path / "weights.pt")}
    for odd in (replace(spec, model="none.py:blocks"), replace(spec, options=(("weights", "none.pt"),))):
        with pytest.raises(ModelError, match="does not exist"):
            make_variants(project(tmp_path, odd), tmp_path / "made")


# --- break-even -------------------------------------------------------------------------------------

joules = st.floats(1e-6, 1e9)


@given(applying=joules, saving=joules)
def test_at_break_even_what_was_saved_is_what_applying_took(applying, saving):
    units = break_even_units(Energy(applying), Energy(saving))

    assert units * saving == pytest.approx(applying)


@given(applying=joules, loss=st.floats(-1e9, 0.0))
def test_a_lever_that_saves_nothing_never_pays_back(applying, loss):
    assert math.isinf(break_even_units(Energy(applying), Energy(loss)))


def test_negative_energy_of_applying_is_refused():
    with pytest.raises(InvalidQuantity, match="not a valid energy of applying"):
        break_even_units(Energy(-1.0), Energy(1.0))
