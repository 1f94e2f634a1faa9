"""A plan file: checked without what made it, replayed on what it saw, and weighed against the forecasts' own error."""

from __future__ import annotations

import copy
import json
import math
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from outweigh.app.checking_plans import check_file, replay_file
from outweigh.app.planning import plan_file
from outweigh.backends.exporters.plan_html import render
from outweigh.core.errors import GridDataInvalid, UsageError
from outweigh.core.intervals import Bounds
from outweigh.core.meaning import Accounting, CarbonKind, CarbonMeaning, DataQuality, Market, Origin, PriceMeaning
from outweigh.core.quantities import CarbonScope
from outweigh.core.series import CarbonSeries, PriceSeries
from outweigh.plan.plancheck import faults
from outweigh.plan.planfile import pieces, plan_id
from outweigh.plan.problem import Level
from outweigh.plan.saving_error import Moved, error_of_saving
from outweigh.plan.shared import Runs

START = datetime(2031, 6, 2, tzinfo=UTC)
MEANING = CarbonMeaning(CarbonKind.AVERAGE, CarbonScope.LIFECYCLE, Accounting.CONSUMPTION)
EDGES = START.timestamp() + 3600.0 * np.arange(25)

JOBS = """
[plan]
from = "2031-06-02T00:00Z"
horizon = "24 h"
carbon_price = "100 EUR/t"
[site.here]
zone = "DE"
pue = 1.2
capacity = "20 kW"
price = "0.10 EUR/kWh"
demand_charge = "2 EUR/kW"
peak_so_far = "12 kW"
[site.there]
zone = "FR"
pue = 1.1
capacity = "9 kW"
price = "0.12 EUR/kWh"
move = "0.01 EUR/GB"
[[job]]
name = "through"
within = "20 h"
work = "3 h"
power = "8 kW"
data_gb = 10
count = 3
[[job]]
name = "pausing"
within = "24 h"
work = "5 h"
power = "6 kW"
preemptible = true
checkpoint = { time = "20 min", energy = "1 kWh" }
quantiles = [{ p = 0.5, work = "5 h" }, { p = 0.9, work = "7 h" }]
[[job]]
name = "elastic"
release = "2031-06-02T02:30Z"
within = "20 h"
work = "6 h"
levels = [{ speed = 1.0, power = "4 kW" }, { speed = 1.8, power = "8 kW" }]
preemptible = true
"""


def carbon(zone: str, values, half_width: float | None, issued_at: datetime | None = None) -> CarbonSeries:
    origin = Origin("test", zone, "test", "declared", issued_at=issued_at)
    series = CarbonSeries.regular(START, 3600.0, list(values), DataQuality.FORECAST, MEANING, origin)
    if half_width is None:
        return series
    bounds = tuple(Bounds(value - half_width, value + half_width, 0.90) for value in values)
    return CarbonSeries(
        series.meaning, series.edges_s, series.values, series.qualities, series.origin, bounds
    )  # fmt: skip


def wave(lift: float, depth: float = 100.0) -> list[float]:
    return [lift + depth * math.sin(2 * math.pi * hour / 24) for hour in range(24)]


def archived(folder: Path, half_width: float | None, depth: float = 100.0) -> str:
    """An archive that holds one forecast of each zone, as a source."""
    pytest.importorskip("duckdb")
    from outweigh.grid.archive import Archive

    archive, at = Archive(folder), START - timedelta(hours=1)
    for zone, lift in (("DE", 300.0), ("FR", 260.0)):
        archive.put(carbon(zone, wave(lift, depth), half_width, at), retrieved_at=at, zone=zone)
    return f"archive:{folder}"


def jobs_file(folder: Path, text: str = JOBS) -> Path:
    path = folder / "jobs.toml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a plan made on an archive."""
    folder = tmp_path_factory.mktemp("kept")
    planned = plan_file(
        jobs_file(folder), sources=[archived(folder / "grid", 20.0)], frontier=False, now=START - timedelta(hours=1)
    )
    (folder / "plan.json").write_text(json.dumps(planned.document), encoding="utf-8")
    return folder


def document(folder: Path) -> dict:
    return json.loads((folder / "plan.json").read_text(encoding="utf-8"))


# --- checked --------------------------------------------------------------------------------------------


def test_a_plan_file_is_sound_as_it_was_written(kept: Path):
    found = check_file(kept / "plan.json")

    assert found.sound, found.lines
    assert found.document["faults"] == []


@pytest.mark.parametrize("part", ["plan", "sites", "jobs", "certificate", "saving", "against"])
def test_a_file_changed_after_it_was_made_is_known_by_its_id(kept: Path, part: str):
    body = document(kept)
    first = body[part][0] if isinstance(body[part], list) else body[part]
    key = next(key for key, value in first.items() if isinstance(value, float) and value)
    first[key] *= 1.01

    assert any("is not the digest" in fault for fault in faults(body, "plan.json"))


def cheaper(body):
    body["plan"]["cost"] *= 0.9


def higher_bound(body):
    body["certificate"]["lower_bound"] = body["certificate"]["objective"]
    body["certificate"]["gap"] = 0.0


def priced_capacity(body):
    body["sites"][0]["capacity_price_per_kwh"] = [-1.0] * 24


def longer_window(body):
    body["jobs"][0]["deadline"] = body["jobs"][0]["start"]


def less_capacity(body):
    body["sites"][0]["capacity_kw"] = [5.0] * 24


def one_copy_less(body):
    body["jobs"][0]["runs"][0]["count"] -= 1


def less_work(body):
    body["jobs"][1]["runs"][0]["steps"] = body["jobs"][1]["runs"][0]["steps"][:-1]


def elsewhere(body):
    body["jobs"][0]["allowed_sites"] = ["there"]


def another_price(body):
    body["sites"][0]["price_per_kwh"] = [0.01] * 24


def another_piece(body):
    body["jobs"][0]["pieces"][0]["energy_kwh"] *= 0.5


def better_than_now(body):
    body["against"][0]["objective"] *= 2
    body["saving"]["objective"] += body["against"][0]["objective"] / 2


def lower_load(body):
    body["sites"][0]["load_kw"] = [0.0] * 24


@pytest.mark.parametrize(
    "forge",
    [
        cheaper, higher_bound, priced_capacity, longer_window, less_capacity, one_copy_less, less_work, elsewhere,
        another_price, another_piece, better_than_now, lower_load,
    ],
)  # fmt: skip
def test_a_forged_file_with_an_id_made_to_fit_is_caught_by_what_it_says(kept: Path, forge):
    body = copy.deepcopy(document(kept))
    forge(body)
    body["plan_id"] = plan_id(body)

    found = faults(body, "plan.json")

    assert found
    assert not any("is not the digest" in fault for fault in found)


@settings(max_examples=80, deadline=None)
@given(st.data())
def test_whatever_is_taken_out_of_a_file_is_refused_or_found_and_never_a_traceback(kept: Path, data):
    body = copy.deepcopy(document(kept))
    at = body
    while isinstance(at, dict | list) and at:
        key = data.draw(st.sampled_from(sorted(at) if isinstance(at, dict) else list(range(len(at)))))
        if not isinstance(at[key], dict | list) or not at[key] or data.draw(st.booleans()):
            at[key] = data.draw(st.sampled_from([None, "x", -1, 1e999, [], {}]))
            break
        at = at[key]

    with suppress(UsageError):
        faults(body, "plan.json")


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"plan_id": 1}', '{"plan_id": "x", "schema": "other/1"}'])
def test_what_is_no_plan_file_is_said(tmp_path: Path, text: str):
    (tmp_path / "plan.json").write_text(text, encoding="utf-8")
    with pytest.raises(UsageError, match=r"plan\.json"):
        check_file(tmp_path / "plan.json")
    (tmp_path / "binary.json").write_bytes(bytes(range(256)))
    with pytest.raises(UsageError, match=r"binary\.json"):
        check_file(tmp_path / "binary.json")
    with pytest.raises(UsageError, match="cannot be read"):
        check_file(tmp_path)


# --- replayed -------------------------------------------------------------------------------------------


def test_a_plan_made_on_an_archive_names_its_vintages_and_is_replayed_after_the_archive_has_learnt_more(kept: Path):
    from outweigh.grid.archive import Archive

    later = START + timedelta(hours=30)
    Archive(kept / "grid").put(carbon("DE", wave(900.0), None, later), retrieved_at=later, zone="DE")

    again = replay_file(kept / "plan.json", into=kept / "grid")

    assert again.sound, again.lines
    assert [(one["site"], one["kind"]) for one in again.document["vintages"]] == [
        ("here", "carbon"), ("there", "carbon"),
    ]  # fmt: skip
    assert again.document["vintages"][0]["vintages"][0]["issued_at"] == "2031-06-01T23:00:00+00:00"


def test_what_is_read_back_from_a_file_is_planned_again_to_the_last_digit(kept: Path):
    body = document(kept)

    again = replay_file(kept / "plan.json", into=kept / "grid")

    assert again.document["objective_again"] == body["plan"]["objective"]
    assert [site["pue"] for site in body["sites"]] == [1.2, 1.1]


def test_a_series_in_the_file_that_is_not_its_vintage_is_found(kept: Path, tmp_path: Path):
    body = document(kept)
    body["sites"][0]["intensity_g_per_kwh"][5] = 1.0
    (tmp_path / "plan.json").write_text(json.dumps(body), encoding="utf-8")

    again = replay_file(tmp_path / "plan.json", into=kept / "grid")

    assert not again.sound
    assert any("carbon at here is not what the archive has" in line for line in again.lines)


def test_a_record_that_says_another_series_is_refused(kept: Path, tmp_path: Path):
    body = document(kept)
    body["sites"][0]["seen"]["carbon"]["series"] = "0" * 32
    (tmp_path / "plan.json").write_text(json.dumps(body), encoding="utf-8")

    with pytest.raises(GridDataInvalid, match="not what the decision saw"):
        replay_file(tmp_path / "plan.json", into=kept / "grid")


def test_answers_of_any_source_are_kept_where_a_folder_is_named(tmp_path: Path):
    pytest.importorskip("duckdb")
    text = JOBS.replace('"DE"', '"US-CAL-CISO"').replace('"FR"', '"US-TEX-ERCO"').replace("2031", "2030")
    planned = plan_file(jobs_file(tmp_path, text), sources=["typical"], frontier=False, into=tmp_path / "grid")
    (tmp_path / "plan.json").write_text(json.dumps(planned.document), encoding="utf-8")

    again = replay_file(tmp_path / "plan.json", into=tmp_path / "grid")

    assert again.sound, again.lines
    assert len(again.document["vintages"]) == 2


# --- weighed against the forecast's own error -----------------------------------------------------------


def test_a_forecast_is_asked_for_and_its_intervals_make_the_error_of_the_saving(kept: Path):
    body = document(kept)

    source = body["sites"][0]["sources"]["carbon"]
    assert (source["quality"], source["issued_at"]) == ("forecast", "2031-06-01T23:00:00+00:00")
    assert body["saving"]["error_objective"] > 0
    assert body["saving"]["noise"] is (body["saving"]["objective"] <= 2 * body["saving"]["error_objective"])
    assert not any("The rates are one forecast" in note for note in body["notes"])


def test_a_saving_below_the_forecasts_own_error_says_run_it_now_in_every_output(tmp_path: Path):
    text = JOBS.replace('demand_charge = "2 EUR/kW"\npeak_so_far = "12 kW"\n', "").replace("0.12 EUR", "0.10 EUR")
    text = text.replace("pue = 1.1", "pue = 1.2")
    source = archived(tmp_path / "grid", 250.0, depth=5.0)

    planned = plan_file(jobs_file(tmp_path, text), sources=[source], frontier=False, now=START)

    saving = planned.document["saving"]
    assert saving["noise"] is True
    assert 0 < saving["objective"] < 2 * saving["error_objective"]
    assert saving["statement"].endswith("run it now.")
    assert saving["statement"] in planned.notes
    page = render(planned.document)
    assert "Run it now" in page
    assert "band inconclusive" in page


def test_without_intervals_it_is_said_that_the_error_is_not_known(tmp_path: Path):
    source = archived(tmp_path / "grid", None)

    planned = plan_file(jobs_file(tmp_path), sources=[source], frontier=False, now=START)

    assert planned.document["saving"]["noise"] is None
    assert planned.document["saving"]["error_objective"] is None
    assert any("is not known: no interval comes with carbon at here (forecast)" in note for note in planned.notes)


@pytest.mark.parametrize("declared", [False, True])
def test_figures_are_called_measured_settled_or_declared_only_where_they_are(tmp_path: Path, declared: bool):
    figures = 'price = "0.1 EUR/kWh"\nintensity = "60 gCO2e/kWh"' if declared else ""
    text = (
        f'[plan]\nfrom = "2031-06-02T00:00Z"\nhorizon = "24 h"\n[site.fr]\nzone = "FR"\npue = 1.2\n{figures}\n'
        '[[job]]\nname = "a"\nwithin = "20 h"\nwork = "4 h"\npower = "40 kW"\n'
    )

    planned = plan_file(jobs_file(tmp_path, text), frontier=False, now=START)

    note = planned.document["saving"]["error_note"]
    assert planned.document["saving"]["objective"] == 0  # nothing moves, so no error of a figure is in it
    assert note.startswith("Carbon and prices are what was measured, settled or declared") is declared
    assert ("carbon at fr (yearly default), price at fr (yearly default)" in note) is not declared


def test_the_error_of_a_saving_by_hand():
    # 10 kWh go from the first step to the second; both are known to +-16.45 g at 90 %, so to 10 g (k = 1). At
    # 0.0001 EUR/g that is 0.01 EUR each. Independent errors add in squares, shared ones cancel: sqrt(2) x 0.01.
    half = 1.6448536269514722 * 10.0
    moved = np.zeros(24)
    moved[:2] = 10.0, -10.0
    series = carbon("DE", [300.0] * 24, half)

    assert error_of_saving([Moved("here", moved, series, 1e-4)], EDGES) == pytest.approx(0.01 * math.sqrt(2))


def test_energy_that_goes_to_another_zone_is_off_by_shared_errors_most():
    # 10 kWh in each of four steps go from one zone to another. Errors that last all through add up: 4 x 0.01 EUR in
    # each zone, and the zones in squares.
    half = 1.6448536269514722 * 10.0
    moved = np.zeros(24)
    moved[:4] = 10.0
    here, there = carbon("DE", [300.0] * 24, half), carbon("FR", [60.0] * 24, half)

    error = error_of_saving([Moved("here", moved, here, 1e-4), Moved("there", -moved, there, 1e-4)], EDGES)

    assert error == pytest.approx(0.04 * math.sqrt(2))


def test_what_was_measured_or_is_in_a_contract_has_no_error_and_a_flat_figure_none_over_time():
    origin = Origin("test", "DE", "test", "declared")
    meaning = PriceMeaning("EUR", Market.DAY_AHEAD, taxes=False)
    paid = PriceSeries.regular(START, 3600.0, [0.1] * 24, DataQuality.MEASURED, meaning, origin)
    flat = CarbonSeries.regular(START, 86400.0, [300.0], DataQuality.YEARLY_DEFAULT, MEANING, origin)
    shifted, gone = np.zeros(24), np.zeros(24)
    shifted[:2], gone[0] = (10.0, -10.0), 10.0

    assert error_of_saving([Moved("a", shifted, paid, 1.0), Moved("a", shifted, flat, 1e-4)], EDGES) == 0
    assert error_of_saving([Moved("a", gone, flat, 1e-4)], EDGES) == "carbon at a (yearly default)"


# --- pieces ---------------------------------------------------------------------------------------------


def run_of(step, work, kwh, start=None, end=None):
    """One run as a plan holds it."""
    return Runs(
        *(np.zeros(1, np.int64), np.zeros(1, np.int64), np.ones(1, np.int64)),
        np.array([float(step[0]) if start is None else start]),
        np.array([step[-1] + 1.0 if end is None else end]),
        np.array([0, len(step)]), np.array(step), np.array(work, float), np.array(kwh, float),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("step", "work", "kwh", "expected"),
    [
        # Three quarters of an hour at 40 kW are no hour at 30 kW.
        ([0, 1, 2, 5], [0.75, 1, 0.5, 0.25], [30, 40, 20, 10], [(0.25, 2.5, 90), (5.0, 5.25, 10)]),
        # Ten minutes of restoring come right before the work.
        ([0, 3, 4], [1, 0, 1], [40, 40 / 6, 40], [(0.0, 1.0, 40), (3 + 5 / 6, 5.0, 40 + 40 / 6)]),
    ],
)
def test_a_piece_is_as_long_as_the_job_is_on_at_a_power_that_it_has(step, work, kwh, expected):
    found = list(pieces(run_of(step, work, kwh), 0, (Level(1.0, 40e3),), 1.0))

    np.testing.assert_allclose(found, expected)


def test_between_two_levels_a_piece_has_the_mean_of_them():
    levels = (Level(1.0, 20e3), Level(2.0, 50e3))

    found = list(pieces(run_of([0, 1, 2], [1.5, 2.0, 0.5], [35, 50, 10]), 0, levels, 1.0))

    assert found == [(0.0, 1.0, 35.0), (1.0, 2.0, 50.0), (2.0, 2.5, 10.0)]
