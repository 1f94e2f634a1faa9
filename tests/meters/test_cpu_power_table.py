"""The table of power per hardware thread against the published rows it was taken from."""

from __future__ import annotations

import csv
import statistics
from collections import defaultdict
from pathlib import Path

import pytest

from outweigh.core.errors import FactorMissing
from outweigh.data.cpu_power import cpu_power_for, cpu_power_table, default_cpu_power, spread_between, spread_within

ROWS = Path(__file__).with_name("specpower_2026_03_09_rows.csv")


def published():
    groups = defaultdict(list)
    with ROWS.open(newline="") as file:
        for row in csv.DictReader(line for line in file if not line.startswith("#")):
            idle_w, full_w = float(row["watts_at_active_idle"]), float(row["watts_at_full_load"])
            groups[row["group"]].append((idle_w / int(row["threads"]), full_w / int(row["threads"])))
    return groups


@pytest.mark.parametrize("row", [r for r in cpu_power_table() if r.results], ids=lambda r: r.microarchitecture)
def test_a_row_is_the_mean_of_the_published_results(row):
    results = published()[row.microarchitecture]
    idle_w, full_w = zip(*results, strict=True)
    dynamic_w = [full - idle for idle, full in results]
    assert len(results) == row.results
    assert statistics.mean(idle_w) == pytest.approx(row.idle_w_per_thread, abs=5e-5)
    assert statistics.mean(full_w) == pytest.approx(row.max_w_per_thread, abs=5e-5)
    assert statistics.stdev(dynamic_w) / statistics.mean(dynamic_w) == pytest.approx(row.dynamic_relative_sd, abs=5e-4)


# Cloud Carbon Footprint, ccf-coefficients output/coefficients-aws-use.csv @ b0032d9: (min, max) watts
@pytest.mark.parametrize(
    ("microarchitecture", "idle_w", "full_w"),
    [("EPYC 2nd gen (Rome)", 0.47426, 1.69296), ("EPYC 3rd gen (Milan)", 0.45562, 1.95733)],
)
def test_our_means_of_the_same_rows_are_those_of_cloud_carbon_footprint(microarchitecture, idle_w, full_w):
    row = next(r for r in cpu_power_table() if r.microarchitecture == microarchitecture)
    assert row.idle_w_per_thread == pytest.approx(idle_w, abs=5e-5)
    assert row.max_w_per_thread == pytest.approx(full_w, abs=5e-5)


@pytest.mark.parametrize(
    ("vendor", "family", "model", "stepping", "expected"),
    [
        ("AuthenticAMD", 23, 49, 0, "EPYC 2nd gen (Rome)"),
        ("AuthenticAMD", 26, 2, 1, "EPYC 5th gen (Turin)"),
        ("AuthenticAMD", 26, 17, 0, "EPYC 5th gen, Zen 5c (Turin Dense)"),
        ("GenuineIntel", 6, 85, 4, "Skylake-SP"),
        ("GenuineIntel", 6, 85, 7, "Cascade Lake"),
        ("GenuineIntel", 6, 207, 2, "Emerald Rapids"),
    ],
)
def test_a_processor_finds_its_microarchitecture(vendor, family, model, stepping, expected):
    assert cpu_power_for(vendor, family, model, stepping).microarchitecture == expected


def test_an_unknown_processor_is_told_and_nothing_is_guessed():
    with pytest.raises(FactorMissing) as caught:
        cpu_power_for("GenuineIntel", 6, 85, 11)  # Cooper Lake
    assert "Skylake-SP" in caught.value.nearest


def test_every_row_has_its_source_year_and_licence_and_busy_is_above_idle():
    for row in cpu_power_table():
        assert row.source
        assert row.year
        assert row.licence
        assert 0 < row.idle_w_per_thread < row.max_w_per_thread < 20


def test_not_knowing_the_processor_costs_more_than_knowing_it():
    assert spread_between()[1] > spread_within()[1] > 0
    assert default_cpu_power().is_default
