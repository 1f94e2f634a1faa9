"""energy.toml becomes frozen core objects."""

from __future__ import annotations

import dataclasses
import pickle
from pathlib import Path

import pytest

from outweigh.config import load_project, loads_project, starter
from outweigh.core.budget import Budget, Period, Phase
from outweigh.core.measurement import Grade
from outweigh.core.project import GateMode, Guard, PrimaryMetric, Project, Serving, SiteSpec, VariantSpec
from outweigh.core.quantities import Energy, Money, Power, Price
from outweigh.core.site import PueCurve

EXAMPLE = Path(__file__).with_name("design_example.toml")

SMALLEST = """\
[project]
name = "p"
unit = "u"
volume.per_month = 10
[task]
adapter = "text-classification"
dataset = "d"
primary.metric = "accuracy"
[variants.one]
model = "one.onnx"
"""


def loads(text: str) -> Project:
    return loads_project(text, Path("energy.toml"))


def test_the_example_of_the_design_loads_into_core_types():
    project = load_project(EXAMPLE)

    assert (project.name, project.unit) == ("support-triage", "ticket")
    assert (project.volume_per_month, project.volume_low_per_month, project.horizon_months) == (3.0e6, 1.8e6, 12.0)
    assert project.task.primary == PrimaryMetric("accuracy", ceiling=0.97)
    assert project.task.guards == (
        Guard("p95_latency_ms", 0.1, relative=True),
        Guard("recall_urgent", 0.01, relative=False),
    )
    assert project.variants == (
        VariantSpec("base", model="models/minilm.onnx"),
        VariantSpec("int8", parent="base", levers=("quantize:int8-dynamic",)),
    )
    assert project.budgets == (
        Budget("serve", Phase.INFERENCE, Energy.wh(1.2), Energy.mwh(35), Period.MONTH, owner="team-support"),
        Budget("hum", Phase.IDLE, hum=Power(180.0), warn_at=0.8),
    )
    assert project.gate.mode is GateMode.WARN
    assert project.gate.min_grade is Grade.B
    assert project.gate.value is not None
    assert project.gate.value.amount == Money(0.9, "EUR")
    assert project.sites == (
        SiteSpec("fra-1", "DE", Power.mw(7.0), PueCurve(1.6, 1.25), Price.per_kwh(0.12, "USD"), region=""),
    )


def test_a_folder_is_read_by_the_energy_toml_in_it(tmp_path: Path):
    (tmp_path / "energy.toml").write_text(SMALLEST)

    from_folder = load_project(tmp_path)

    assert from_folder == load_project(tmp_path / "energy.toml")
    assert (from_folder.root, from_folder.source) == (str(tmp_path), str(tmp_path / "energy.toml"))


def test_a_file_saved_with_a_byte_order_mark_and_windows_line_ends_loads_the_same(tmp_path: Path):
    (tmp_path / "energy.toml").write_bytes(b"\xef\xbb\xbf" + SMALLEST.replace("\n", "\r\n").encode())

    assert load_project(tmp_path).variants == loads(SMALLEST).variants


def test_what_is_left_out_has_the_defaults_of_the_core():
    project = loads(SMALLEST)

    assert project.volume_low_per_month == project.volume_per_month == 10.0
    assert project.serving == Serving()
    assert project.task.primary == PrimaryMetric("accuracy")
    assert project.carbon_price_per_tonne is None


def test_the_incumbent_is_base_where_there_is_one_and_the_first_variant_elsewhere():
    with_base = SMALLEST + '[variants.base]\nmodel = "base.onnx"\n'

    assert loads(SMALLEST).gate.incumbent == "one"
    assert loads(with_base).gate.incumbent == "base"
    assert loads(with_base).gate.proposal == ""


def test_an_incumbent_may_be_its_own_proposal_for_an_a_a_review():
    project = loads(SMALLEST + '[gate]\nincumbent = "one"\nproposal = "one"\n')

    assert project.gate.incumbent == project.gate.proposal == "one"


@pytest.mark.parametrize(
    ("keys", "margin", "equivalence"),
    [
        ("", None, 0.01),
        ("primary.margin = 0.02", 0.02, 0.02),
        ("primary.margin = 0.02\nprimary.equivalence = 0.005", 0.02, 0.005),
        # A margin of 0 would make the necessity test toothless if it were an equivalence margin too.
        ("primary.margin = 0", 0.0, 0.01),
    ],
)
def test_equivalence_follows_the_margin_unless_that_is_zero(keys: str, margin: float | None, equivalence: float):
    primary = loads(SMALLEST.replace('"accuracy"', f'"accuracy"\n{keys}')).task.primary

    assert (primary.margin, primary.equivalence) == (margin, equivalence)


def test_options_are_sorted_pairs_of_scalars():
    task = loads(SMALLEST + '[task.options]\ntrain = 600\ncontrol = "shuffled-labels"\nlower = true\n').task

    assert task.options == (("control", "shuffled-labels"), ("lower", True), ("train", 600))


@pytest.mark.parametrize(
    ("written", "price"),
    [
        ("0.12 USD/kWh", Price(0.12, "USD")),
        ("120 EUR / MWh", Price(0.12, "EUR")),
        ("-5 EUR/MWh", Price(-0.005, "EUR")),  # day-ahead markets clear below zero
    ],
)
def test_energy_prices_are_read_per_kwh_and_per_mwh(written: str, price: Price):
    sites = loads(SMALLEST + f'[site.a]\nzone = "DE"\ncapacity = "1 MW"\nprice = "{written}"\n').sites

    assert sites[0].price == price


def test_a_single_pue_holds_at_every_load():
    sites = loads(SMALLEST + '[site.a]\nzone = "DE"\ncapacity = "1 MW"\npue = 1.2\n').sites

    assert sites[0].pue == PueCurve(1.2, 1.2)


@pytest.mark.parametrize("written", ["100 USD", "100 USD/t", "100 USD / t"])
def test_the_price_of_carbon_is_per_tonne(written: str):
    project = loads(SMALLEST.replace('unit = "u"', f'unit = "u"\ncarbon_price = "{written}"'))

    assert project.carbon_price_per_tonne == Money(100.0, "USD")


def test_a_project_is_frozen_hashable_and_travels_to_a_worker():
    project = load_project(EXAMPLE)

    assert pickle.loads(pickle.dumps(project)) == project
    assert hash(project) == hash(load_project(EXAMPLE))
    with pytest.raises(dataclasses.FrozenInstanceError):
        project.__setattr__("name", "other")


@pytest.mark.parametrize("name", ["support-triage", 'say "hi" \\ {now}', "Größe µ"])
def test_the_starter_loads_as_it_is_written(name: str):
    project = loads(starter(name, "ticket"))

    assert (project.name, project.unit) == (name, "ticket")
    assert (project.gate.incumbent, project.gate.proposal) == ("base", "larger")


def test_the_starter_with_every_comment_switched_on_loads_too():
    lines = starter("p", "u").splitlines()
    # A comment that holds a key or a header is an offer; prose has neither form.
    offers = [line.removeprefix("# ") if line.startswith("# [") or " = " in line else line for line in lines]

    project = loads("\n".join(offers))

    assert [budget.name for budget in project.budgets] == ["serve", "hum"]
    assert project.sites[0].zone == "DE"
    assert project.carbon_price_per_tonne == Money(100.0, "USD")
    assert project.gate.value is not None
    assert project.task.option("seed", -1) == 0
