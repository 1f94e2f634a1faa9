"""Published figures that the kernels must give from the published inputs; the inputs are in the team's data folder."""

from __future__ import annotations

import gzip
import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def reproductions(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    spec = importlib.util.spec_from_file_location("reproductions", BENCHMARKS / "reproductions.py")
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "reproductions", module)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def published(reproductions):
    """The benchmark, where its inputs are; the tests hold figures, the benchmark times as well."""
    if not reproductions.ROOT.is_dir():
        pytest.skip(f"no reference data at {reproductions.ROOT}: set OUTWEIGH_SHARED_DATA")
    return reproductions


def figures(rows):
    return {row.case: row.value for row in rows if row.unit != "s"}


# Wiesner et al., Middleware 2021, scenario II, recomputed with their code: savings [%], not interruptible and
# interruptible, for the next workday and twice a week.
@pytest.mark.parametrize(
    ("zone", "next_workday", "semi_weekly"),
    [
        ("DE", (5.93, 8.16), (14.13, 18.50)),
        ("GB", (6.57, 9.23), (14.75, 20.00)),
        ("FR", (4.79, 6.22), (11.15, 13.86)),
    ],
)
def test_lets_wait_awhile_scenario_two_is_met_to_the_digits_printed(published, zone, next_workday, semi_weekly):
    found = figures(published.lets_wait_awhile())

    for window, pair in (("next workday", next_workday), ("semi-weekly", semi_weekly)):
        for how, percent in zip(("in one piece", "interruptible"), pair, strict=True):
            assert found[f"Let's Wait Awhile II, {zone}, {window}, {how}"] == pytest.approx(percent, abs=0.0051)


def test_the_jobs_of_lets_wait_awhile_are_those_of_its_generator(reproductions):
    jobs = reproductions.training_jobs()

    assert (len(jobs.release), len(jobs.work)) == (3387, 3387)
    assert (np.diff(jobs.release // 48) >= 0).all()
    assert set(jobs.release % 48) <= set(range(18, 34))  # 9:00 to 16:30
    assert (jobs.work.min(), jobs.work.max()) == (8, 179)


@pytest.mark.slow
def test_eurosys_bounds_are_met_for_every_zone_and_case(published):
    # Sukprasert et al., EuroSys 2024, artefact: 115 zones x 8 cases
    found = figures(published.eurosys_bounds())

    assert found["EuroSys 2024 bounds, zones x cases"] == 920
    assert found["EuroSys 2024 bounds, largest relative error"] <= 1e-6


def test_the_hour_that_the_intensities_lack_is_found_from_sums_that_hold_it(reproductions):
    rng = np.random.default_rng(11)
    whole = np.round(rng.uniform(20, 600, (4, 300)), 2)
    whole[0, -1], whole[1, -1] = 5.0, 599.99  # one that every window takes, and one that hardly any does
    keys = {(1, 24): 299, (6, 24): 294, (24, 48): 276}
    sums = {key: reproductions.bounds_of(whole, *key, starts) for key, starts in keys.items()}

    found = reproductions.last_hour(whole[:, :-1], sums, keys)

    np.testing.assert_allclose(np.delete(found, 1), np.delete(whole[:, -1], 1), atol=0.011)
    again = np.column_stack([whole[:, :-1], found])
    for key, starts in keys.items():
        for name, theirs in sums[key].items():
            np.testing.assert_allclose(reproductions.bounds_of(again, *key, starts)[name], theirs, rtol=1e-6)


def test_gaia_figure_eight_is_met_to_six_digits(published):
    # Hanafy et al., ASPLOS 2024, figure 8, Wait Awhile: their code gives 0.546196 of no wait
    assert figures(published.gaia())["GAIA figure 8, Wait Awhile over no wait"] == pytest.approx(0.546196, abs=5e-7)


@pytest.mark.parametrize(("deadline_h", "percent", "within"), [(24, 40.1, 0.2), (36, 47.0, 0.05), (48, 53.0, 0.05)])
def test_carbon_scaler_n_body_is_met(published, deadline_h, percent, within):
    # The figure for 24 h is 0.17 points from what every start of the year gives, and the benchmark says so. 0.2 holds
    # ours in place; it is no tolerance of theirs.
    found = figures(published.carbon_scaler())

    assert found[f"CarbonScaler N-body, CA-ON 2022, 24 h of work in {deadline_h} h"] == pytest.approx(
        percent, abs=within
    )


@pytest.mark.parametrize(
    ("zone", "saving", "share"),
    [("CISO", 30.7, 98), ("DE", 16.6, 92), ("ERCO", 7.9, 69), ("PJM", 3.9, 86), ("SE", 3.2, 45)],
)
def test_forecasts_save_what_forecasts_save(published, zone, saving, share):
    found = figures(published.forecasts())

    assert found[f"forecast of the day before, {zone}, 6 h in 24 h, saving"] == pytest.approx(saving, abs=1)
    assert found[f"forecast of the day before, {zone}, 6 h in 24 h, of oracle"] == pytest.approx(share, abs=1)


def test_without_the_data_every_row_says_so_and_nothing_is_judged(reproductions, monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(reproductions, "ROOT", tmp_path / "nowhere")
    monkeypatch.setattr(sys, "argv", ["reproductions.py"])

    assert reproductions.main() == 0
    assert capsys.readouterr().out.count("could not run") == 5


def test_a_figure_that_is_off_is_missed_by_so_much(reproductions):
    row = reproductions.judged("case", 39.93, "%", 40.1, 0.05)

    assert (row.holds, row.note) == (False, "off by -0.17")


def test_inputs_are_read_packed_or_not(reproductions, monkeypatch, tmp_path):
    monkeypatch.setattr(reproductions, "ROOT", tmp_path)
    (tmp_path / "a.csv").write_text("utc,ci\n1,2.5\n", encoding="utf-8")
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(b"utc,ci\n1,2.5\n"))

    assert reproductions.read("a.csv") == reproductions.read("a.csv.gz") == [{"utc": "1", "ci": "2.5"}]
    assert reproductions.numbers("a.csv", "ci").tolist() == [2.5]
