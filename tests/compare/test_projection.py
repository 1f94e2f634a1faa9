"""Devices that nobody measured: grade D, a wide interval, and never among the measured ones."""

import csv
from importlib import resources

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outweigh.app.projecting import apart, without
from outweigh.compare.projection import DRAWN, REACHED, project
from outweigh.config import loads_project
from outweigh.core.errors import UsageError
from outweigh.core.measurement import Grade
from outweigh.data.hardware import device, devices

PROJECT = """
[project]
name = "p"
unit = "item"
volume = { per_month = 1.0 }
[task]
adapter = "text-classification"
dataset = "d"
primary = { metric = "accuracy" }
[variants.base]
model = "base.onnx"
[variants.on-l4]
from = "base"
options = { device = "nvidia-l4" }
"""


def loaded(tmp_path, more=""):
    return loads_project(PROJECT + more, tmp_path / "energy.toml")


def test_every_device_says_its_source_year_and_licence_and_is_grade_d():
    rows = csv.DictReader(resources.files("outweigh.data").joinpath("hardware.csv").read_text().splitlines())
    for row in rows:
        assert all(row.values()), row
        assert row["licence"] == "facts published by the provider"
        assert "read " in row["checked"], row
    assert {factor.grade for one in devices().values() for factor in one.factors} == {Grade.D}


def test_the_roofline_of_an_h100_by_hand():
    # 989.4e12 operations a second and 3.35e12 bytes: 1e12 operations take 1.0107 ms, 1e8 bytes 0.02985 ms.
    found = project(1e12, 1e8, device("nvidia-h100-sxm"))
    assert found.bound_by == "arithmetic"
    assert found.roofline_s == pytest.approx(1.0107e-3, rel=1e-4)
    assert found.energy_j.bounds.low == pytest.approx(DRAWN[0] * 700 * 1.0107e-3 / REACHED[1], rel=1e-4)
    assert found.energy_j.bounds.high == pytest.approx(DRAWN[1] * 700 * 1.0107e-3 / REACHED[0], rel=1e-4)


@given(operations=st.floats(1e6, 1e15), size=st.floats(1e3, 1e12), batch=st.integers(1, 512))
def test_more_work_never_takes_less_and_a_larger_batch_never_more(operations, size, batch):
    for one in devices().values():
        here = project(operations, size, one, batch).energy_j.value
        assert project(2 * operations, size, one, batch).energy_j.value >= here
        assert project(operations, 2 * size, one, batch).energy_j.value >= here
        assert project(operations, size, one, 2 * batch).energy_j.value <= here


def test_a_variant_that_names_a_device_of_the_table_is_not_measured(tmp_path):
    project_ = loaded(tmp_path)
    measured, elsewhere = apart(project_, ["base", "on-l4"])
    assert measured == ["base"]
    assert [(name, parent, one.key) for name, parent, one in elsewhere] == [("on-l4", "base", "nvidia-l4")]
    assert [variant.name for variant in without(project_, elsewhere).variants] == ["base"]


def test_a_device_variant_without_its_measured_parent_is_refused(tmp_path):
    with pytest.raises(UsageError, match="is not another measured variant"):
        apart(loaded(tmp_path), ["on-l4"])


def test_a_device_nobody_knows_gets_the_nearest_name():
    with pytest.raises(UsageError, match="Did you mean nvidia-h100-sxm"):
        device("h100")
