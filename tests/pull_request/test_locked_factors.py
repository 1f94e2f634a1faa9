"""Factors are locked to the baseline: a table that moves on never looks like a regression."""

import json
from dataclasses import replace

import pytest

from outweigh.app import factor_lock
from outweigh.app.factor_lock import FILE, lock_factors, lock_notes
from outweigh.app.weighing import sites_of
from outweigh.config import load_project
from outweigh.core.errors import ConfigError
from outweigh.grid import site_factors

pytestmark = pytest.mark.timeout(300)

LARGE, SMALL = 400, 0
SITE = '[site.here]\nzone = "US-TEX-ERCO"\nregion = "azure:southcentralus"\ncapacity = "1 kW"\n\n[protocol]'
PROJECT = f"""
[project]
name = "p"
unit = "item"
volume = {{ per_month = 1000.0 }}
[task]
adapter = "text-classification"
dataset = "items.csv"
primary = {{ metric = "accuracy" }}
[variants.base]
model = "base.onnx"
{SITE}
"""


class Doubled:
    """Tables of another year: every figure twice what it was."""

    def __init__(self):
        self.behind = site_factors()

    def zones(self):
        return self.behind.zones()

    def _twice(self, found):
        value, factor = found
        fields = {"g_per_kwh": 2.0} if hasattr(value, "g_per_kwh") else {"amount_per_kwh": 2.0}
        value = 2 * value if isinstance(value, float) else replace(value, **fields)
        return value, replace(factor, value=2 * factor.value)

    def intensity(self, zone):
        return self._twice(self.behind.intensity(zone))

    def price(self, zone):
        return self._twice(self.behind.price(zone))

    def pue(self, region):
        return self._twice(self.behind.pue(region))


@pytest.fixture
def project(tmp_path):
    (tmp_path / "energy.toml").write_text(PROJECT)
    return load_project(tmp_path)


def test_with_a_lock_a_new_table_changes_no_figure_of_any_site(project, monkeypatch):
    before = sites_of(project)
    lock_factors(project)
    monkeypatch.setattr(factor_lock, "site_factors", Doubled)

    after = sites_of(project)

    assert after == before


def test_without_a_lock_a_new_table_counts_at_once(project, monkeypatch):
    before = sites_of(project)
    monkeypatch.setattr(factor_lock, "site_factors", Doubled)

    assert sites_of(project)[0].pue.full == 2 * before[0].pue.full


def test_where_tables_have_moved_on_from_the_lock_the_report_says_so_with_both_figures(project, monkeypatch):
    assert list(lock_notes(project)) == []
    lock_factors(project)
    (still,) = lock_notes(project)
    monkeypatch.setattr(factor_lock, "site_factors", Doubled)
    pue = sites_of(project)[0].pue.full

    (moved,) = lock_notes(project)

    assert "moved on" not in still
    assert "moved on" in moved
    assert f"{pue:g}, now {2 * pue:g}" in moved


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"kind": "outweigh.factors", "schema": 2}', '{"kind": 1}'])
def test_a_lock_that_is_none_is_refused_and_never_passed_over(project, tmp_path, text):
    (tmp_path / FILE).write_text(text)

    with pytest.raises(ConfigError, match=r"energy\.factors\.json"):
        sites_of(project)


def test_a_head_that_locks_other_factors_is_weighed_with_the_bases_and_told(start):
    runner = start(("[protocol]", SITE), wasted=LARGE)
    assert runner.outweigh("gate", "lock-factors", ".").returncode == 0
    locked = json.loads((runner.clone / FILE).read_text())
    locked["pue"]["azure:southcentralus"]["value"] = 1.75
    locked["pue"]["azure:southcentralus"]["factor"]["value"] = 1.75
    (runner.clone / FILE).write_text(json.dumps(locked))
    runner.commit("lock what the tables said last year")
    runner.propose(wasted=SMALL)
    (runner.clone / FILE).unlink()
    runner.commit("and take today's")

    done = runner.gate("--base", "main", "--head", "HEAD")

    assert done.returncode == 0, done.stdout + done.stderr
    assert any("at PUE 1.75 of here" in note for note in runner.document["notes"])
    assert FILE in {one["key"] for one in runner.document["pull_request"]["policy_changes"]}
