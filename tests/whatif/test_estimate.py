"""Estimates: laws that hold for every input, hours that were printed, and receipts that move the next estimate."""

from __future__ import annotations

import csv
import json
import math
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outweigh.app.estimating_asked import parse_count, parse_range
from outweigh.cli.main import run as outweigh
from outweigh.core.budget import Phase
from outweigh.core.errors import InvalidQuantity, UnusableMeasurement, UsageError
from outweigh.core.intervals import Bounds, Interval
from outweigh.core.measurement import Grade, Measurement, Method, Missing, Scope, UncertaintyComponent
from outweigh.core.quantities import CarbonScope, Energy, LocationCarbon
from outweigh.core.receipt import Receipt, RunStatus
from outweigh.data.hardware import device
from outweigh.data.learned import Row, keep_rows, kept_rows
from outweigh.ledger import open_ledger
from outweigh.whatif.estimating import (
    DeviceHours,
    Observation,
    Place,
    Ranged,
    Serving,
    Training,
    estimate,
    learned_factor,
    power_of,
    propagate,
    reconcile,
    utilisation_of,
)
from outweigh.whatif.estimating.estimate import TDP_DOUBT, TRAINING_REACHED
from outweigh.whatif.estimating.work import Rates

SHARED = Path(os.environ.get("OUTWEIGH_SHARED_DATA", Path(__file__).parents[3] / "shared" / "data"))
H100 = device("nvidia-h100-sxm")
RATES = Rates(H100.flop_per_s, H100.bytes_per_s)
NOWHERE = Place(*(Missing(name, "nobody said") for name in ("PUE", "carbon intensity", "price", "WUE")))
counts = st.floats(1e3, 1e13)


def exactly(name, value, unit="1"):
    return Ranged.exactly(name, value, unit, "declared", Grade.D)


HERE = Place(
    exactly("PUE", 1.2),
    exactly("carbon intensity", 400.0),
    exactly("price", 0.2),
    exactly("WUE", 0.5),
    CarbonScope.LIFECYCLE,
    "EUR",
)


def energy_j(work, reached=None, **more):
    found = estimate(work, "d", RATES, power_of(H100), utilisation_of(work, reached), NOWHERE, **more)
    return found.it_energy.known


@given(parameters=counts, tokens=counts, times=st.floats(1.0, 1e3))
def test_more_parameters_or_tokens_never_take_less(parameters, tokens, times):
    here = energy_j(Training(parameters, tokens)).value

    assert energy_j(Training(times * parameters, tokens)).value >= here * (1 - 1e-12)
    assert energy_j(Training(parameters, times * tokens)).value >= here * (1 - 1e-12)


@given(
    parameters=st.floats(1e6, 1e12),
    prompt=st.floats(0, 1e5),
    output=st.floats(1, 1e5),
    batch=st.floats(1, 512),
    more=st.floats(1.0, 10.0),
)
def test_longer_requests_never_take_less_and_a_larger_batch_never_more(parameters, prompt, output, batch, more):
    here = Serving(parameters, 10, prompt, output, batch, kv_bytes_per_token=1e5)
    joules = energy_j(here).value

    for longer in (replace(here, prompt_tokens=more * prompt), replace(here, output_tokens=more * output),
                   replace(here, requests=more * 10)):  # fmt: skip
        assert energy_j(longer).value >= joules * (1 - 1e-9)
    assert energy_j(replace(here, batch=more * batch)).value <= joules * (1 + 1e-9)


@given(parameters=counts, tokens=counts, reached=st.floats(0.01, 1.0))
def test_what_the_device_could_do_at_best_is_a_lower_bound(parameters, tokens, reached):
    work = Training(parameters, tokens)

    best = energy_j(work, exactly("utilisation", 1.0)).value

    assert energy_j(work, exactly("utilisation", reached)).value >= best * (1 - 1e-12)


@given(parameters=counts, tokens=counts)
def test_every_interval_contains_its_middle_and_its_ends_are_in_order(parameters, tokens):
    found = estimate(Training(parameters, tokens), "d", RATES, power_of(H100), utilisation_of(Training(1, 1)), HERE)
    for figure in (found.device_s, found.it_energy, found.facility_energy, found.carbon, found.money, found.water):
        one = figure.known
        assert one.bounds.low <= one.value <= one.bounds.high


@pytest.mark.parametrize(
    "work", [Training(0, 1e12), Training(8e9, 0), Serving(8e9, 0, 10, 10), Serving(8e9, 10, 0, 0), DeviceHours(0)]
)
def test_no_work_takes_exactly_nothing_as_doing_nothing_does(work):
    found = estimate(work, "d", RATES, power_of(H100), utilisation_of(work), HERE)

    for figure in (found.device_s, found.it_energy, found.facility_energy, found.carbon, found.money, found.water):
        assert (figure.known.value, figure.known.bounds.low, figure.known.bounds.high) == (0, 0, 0)


def test_a_rated_power_is_thirty_percent_wide_and_grade_d():
    found = estimate(DeviceHours(10), "d", RATES, power_of(H100), (), NOWHERE)

    one = found.it_energy.known
    assert one.bounds.low == pytest.approx(one.value * (1 - TDP_DOUBT))
    assert one.bounds.high == pytest.approx(one.value * (1 + TDP_DOUBT))
    assert found.grade is Grade.D


def test_what_nobody_said_of_the_place_is_missing_with_its_reason_and_never_zero():
    found = estimate(DeviceHours(10), "d", RATES, power_of(H100), (), NOWHERE)

    for figure in (found.facility_energy, found.carbon, found.money, found.water):
        assert isinstance(figure.result, Missing)
        assert figure.result.reason == "nobody said"
        with pytest.raises(InvalidQuantity):
            _ = figure.known


def test_carbon_is_location_based_of_the_scope_of_its_factor_and_water_is_of_it_energy():
    # 1,000 h x 1 kW = 1 MWh; x 1.2 = 1.2 MWh; x 400 g = 480 kg; x 0.20 EUR = 240 EUR; 1,000 kWh x 0.5 L = 500 L.
    found = estimate(DeviceHours(1000), "d", RATES, exactly("power", 1000.0, "W"), (), HERE)

    assert isinstance(found.location_carbon, LocationCarbon)
    assert found.location_carbon.grams == pytest.approx(480_000.0)
    assert found.location_carbon.scope is CarbonScope.LIFECYCLE
    assert found.cost.amount == pytest.approx(240.0)
    assert found.water.known.value == pytest.approx(500.0)


def test_operations_are_those_that_were_printed():
    # Brown et al., 2020, table D.1: GPT-3 175B on 300e9 tokens takes 3.14e23 operations.
    assert Training(174.6e9, 300e9).operations == pytest.approx(3.14e23, rel=0.002)
    # Llama team, 2024, arXiv 2407.21783: 405B on 15.6e12 tokens takes 3.8e25.
    assert Training(405e9, 15.6e12).operations == pytest.approx(3.8e25, rel=0.005)


def test_recomputing_the_whole_forward_pass_adds_a_third():
    # Chowdhery et al., 2022, appendix B: 8 operations a parameter and token instead of 6.
    assert Training(1e9, 1e9, 1.0).operations == pytest.approx(8e18)
    with pytest.raises(InvalidQuantity):
        Training(1e9, 1e9, 1.5)


def test_writing_alone_is_bound_by_reading_the_weights_and_a_long_prompt_by_arithmetic():
    best = {"utilisation": 1.0, "memory utilisation": 1.0}
    alone = Serving(8e9, 1, 0, 1)
    # 16e9 bytes / 3.35e12 B/s = 4.776 ms for a token.
    assert alone.device_s(RATES, best) == pytest.approx(4.776e-3, rel=1e-3)
    prompt = Serving(8e9, 1, 10_000, 0)
    # 2 x 8e9 x 1e4 / 989.4e12 = 161.7 ms.
    assert prompt.phases_s(RATES, best)[0] == pytest.approx(0.1617, rel=1e-3)


def test_the_interval_of_serving_holds_what_was_measured_of_llama_8b_on_an_h100():
    # ML.ENERGY, LLM inference energy: a longitudinal analysis: Llama 3.1 8B on an H100 at a batch of 64 took 0.20 J a
    # token with vLLM 0.5.4 and 0.12 J with 0.11.1. Lengths of the requests are our assumption.
    one = energy_j(Serving(8e9, 1, 300, 700, 64, kv_bytes_per_token=131072))

    assert one.bounds.low / 700 < 0.12 < 0.20 < one.bounds.high / 700


def test_experts_that_no_token_of_a_batch_asks_for_are_not_read():
    best = {"utilisation": 1.0, "memory utilisation": 1.0}
    sparse = Serving(671e9, 1, 0, 100, active=37e9)

    assert sparse.device_s(RATES, best) == pytest.approx(Serving(37e9, 1, 0, 100).device_s(RATES, best))
    with pytest.raises(InvalidQuantity):
        Serving(1e9, 1, 1, 1, active=2e9)


@given(low=st.floats(0.01, 1), wide=st.floats(1, 100), other=st.floats(0.01, 100))
def test_a_product_of_two_ranges_is_as_wide_as_the_root_of_the_sum_of_their_squares(low, wide, other):
    # JCGM 100:2008, 5.1.6: relative variances of factors add, here of logarithms.
    a = Ranged.between("a", low, low * wide, "1", "", Grade.D)
    b = Ranged.between("b", other, other * wide, "1", "", Grade.D)

    found = propagate(lambda x: x["a"] * x["b"], [a, b])

    half = math.sqrt(2) * math.log(wide) / 2
    assert math.log(found.bounds.high / found.value) == pytest.approx(half, abs=1e-9)
    assert math.log(found.value / found.bounds.low) == pytest.approx(half, abs=1e-9)


def test_overheads_multiply_are_named_and_are_off_by_default():
    plain = estimate(DeviceHours(10), "d", RATES, power_of(H100), (), NOWHERE)
    more = estimate(
        DeviceHours(10), "d", RATES, power_of(H100), (), NOWHERE, overheads={"idle": 1.59, "development": 5.0}
    )

    assert more.energy.joules == pytest.approx(7.95 * plain.energy.joules)
    assert any(note.startswith("development: factor 5") for note in more.notes)
    assert any("--development adds" in note for note in plain.notes)
    with pytest.raises(InvalidQuantity):
        estimate(DeviceHours(10), "d", RATES, power_of(H100), (), NOWHERE, overheads={"host": 0.9})


def test_the_usual_utilisation_is_the_middle_of_what_was_published():
    # 6 x parameters x tokens over hours x dense arithmetic; hours from the model cards of Llama 2 and 3.1, tokens from
    # the same (2.0e12, ~15e12), GPT-3 as in table 4 of arXiv 2104.10350 (24.6 of 125 TFLOP/s).
    a100, h100 = device("nvidia-a100-sxm-80gb").flop_per_s, H100.flop_per_s
    runs = [(7e9, 2e12, 184_320, a100), (13e9, 2e12, 368_640, a100), (34e9, 2e12, 1_038_336, a100),
            (70e9, 2e12, 1_720_320, a100), (8e9, 15e12, 1.46e6, h100), (70e9, 15e12, 7.0e6, h100),
            (405e9, 15e12, 30.84e6, h100)]  # fmt: skip
    reached = [6 * n * d / (hours * 3600 * peak) for n, d, hours, peak in runs] + [24.6 / 125]

    assert min(reached) == pytest.approx(TRAINING_REACHED[0], abs=5e-4)
    assert math.exp(sum(map(math.log, reached)) / len(reached)) == pytest.approx(TRAINING_REACHED[1], abs=2e-3)


@pytest.mark.skipif(not SHARED.is_dir(), reason="the team's data folder is not here")
def test_published_runs_come_out_within_the_tolerance_of_their_row():
    rows = list(csv.DictReader((SHARED / "estimate" / "published_runs.csv").read_text(encoding="utf-8").splitlines()))
    assert len(rows) >= 14
    for row in rows:
        g = float(row["gco2_per_kwh"] or 0)
        place = replace(
            NOWHERE, pue=exactly("PUE", float(row["pue"])), intensity=exactly("carbon intensity", g) if g else
            Missing("carbon intensity", "none"),
        )  # fmt: skip
        power = exactly("power", float(row["watts"]), "W")

        found = estimate(DeviceHours(float(row["device_hours"])), row["device"], Rates(), power, (), place)

        within = float(row["tolerance_pct"]) / 100
        mwh = found.facility_energy.known.value / 3.6e9
        assert mwh == pytest.approx(float(row["published_mwh"]), rel=within), row["model"]
        if row["published_tco2e"]:
            assert found.location_carbon.to_tonnes() == pytest.approx(float(row["published_tco2e"]), rel=within)


# --- receipts ------------------------------------------------------------------------------------------


def seen(ratio, receipt="r", relative=0.01, grade=Grade.B, scope="gpu"):
    return Observation((receipt,), ratio, relative, grade, scope, "2026-01-01T00:00:00Z")


def test_one_run_moves_the_middle_and_narrows_nothing():
    work = Training(8e9, 1e12)
    inputs = (power_of(H100), utilisation_of(work))
    learned = learned_factor([seen(0.8)])

    before = estimate(work, "d", RATES, *inputs, NOWHERE).it_energy.known
    after = estimate(work, "d", RATES, *inputs, NOWHERE, learned=learned)

    assert after.energy.joules == pytest.approx(0.8 * before.value)
    width = before.bounds.high / before.bounds.low
    assert after.it_energy.known.bounds.high / after.it_energy.known.bounds.low == pytest.approx(width)
    assert after.grade is Grade.D
    assert any("learned from 1 receipt of 1 run" in note for note in after.notes)


def test_runs_that_agree_narrow_the_range_and_better_the_grade():
    work = Training(8e9, 1e12)
    runs = [seen(ratio, str(ratio)) for ratio in (0.79, 0.80, 0.81, 0.80)]
    learned = learned_factor(runs)

    before = estimate(work, "d", RATES, power_of(H100), utilisation_of(work), NOWHERE).it_energy.known
    after = estimate(work, "d", RATES, power_of(H100), utilisation_of(work), NOWHERE, learned=learned)

    now = after.it_energy.known.bounds
    assert now.high / now.low < before.bounds.high / before.bounds.low / 3
    assert after.grade is Grade.C
    assert (learned.runs, learned.receipts) == (4, 4)


def test_runs_that_scatter_widen_the_range_once_they_are_enough_to_show_it():
    work = Training(8e9, 1e12)
    inputs = (power_of(H100), utilisation_of(work))
    apart = [(0.2, 5.0)[index % 2] for index in range(8)]

    def width(ratios):
        learned = learned_factor([seen(ratio, str(index)) for index, ratio in enumerate(ratios)])
        found = estimate(work, "d", RATES, *inputs, NOWHERE, learned=learned)
        return found.it_energy.known.bounds.high / found.it_energy.known.bounds.low, found.notes[0]

    before = estimate(work, "d", RATES, *inputs, NOWHERE).it_energy.known.bounds
    few, told = width(apart[:7])
    many, _ = width(apart)

    assert few == pytest.approx(before.high / before.low)
    assert "too few runs (7 of 8)" in told
    assert many > (5.0 / 0.2) ** 2  # further apart than the runs themselves, on either side


def test_energy_that_was_learned_narrows_no_device_hours():
    work = Training(8e9, 1e12)
    learned = learned_factor([seen(ratio, str(ratio)) for ratio in (0.79, 0.80, 0.81, 0.80)])

    before = estimate(work, "d", RATES, power_of(H100), utilisation_of(work), NOWHERE)
    after = estimate(work, "d", RATES, power_of(H100), utilisation_of(work), NOWHERE, learned=learned)

    assert after.device_s == before.device_s
    assert after.device_s.grade is Grade.D


def test_receipts_of_grade_d_teach_no_better_grade():
    assert learned_factor([seen(1.0, grade=Grade.D), seen(1.01, "b", grade=Grade.D)]).grade is Grade.D
    assert learned_factor([]) is None


def test_the_prediction_of_two_runs_is_that_of_a_t_distribution_with_one_degree():
    # t(0.975, 1) = 12.706 (tables of the t distribution); s of ln 1 and ln e^0.02 is 0.02 / sqrt(2).
    learned = learned_factor([seen(1.0, relative=0.0), seen(math.exp(0.02), "b", relative=0.0)])

    half = 12.706 * 0.02 / math.sqrt(2) * math.sqrt(1.5)
    assert learned.factor == pytest.approx(math.exp(0.01))
    assert math.log(learned.bounds.high / learned.factor) == pytest.approx(half, rel=1e-4)


def test_scopes_are_not_mixed_and_nothing_is_reconciled_with_nothing():
    with pytest.raises(UnusableMeasurement):
        learned_factor([seen(1.0), seen(1.0, "b", scope="node")])
    with pytest.raises(UnusableMeasurement):
        reconcile(100.0, Bounds(90, 110), 100.0, [])
    with pytest.raises(UnusableMeasurement):
        reconcile(0.0, Bounds(0, 0), 0.0, [seen(1.0)])


def receipt(joules, run_id, status=RunStatus.COMPLETED, method=Method.COUNTER, scope=Scope.GPU):
    when = Interval.starting(datetime(2026, 1, 1, tzinfo=UTC), 3600)
    total = Measurement(
        Energy(joules), when, scope, Grade.B, method, "made for a test",
        (UncertaintyComponent("made", joules / 100),),
    )  # fmt: skip
    return Receipt(run_id, "synthetic", Phase.TRAINING, status, total, None, None)


@pytest.fixture
def learning(tmp_path, monkeypatch):
    """A folder of its own for what is learned, and a ledger."""
    monkeypatch.setenv("OUTWEIGH_CALIBRATION", str(tmp_path / "config" / "calibration.json"))
    store = open_ledger(tmp_path / "ledger.sqlite")
    yield store, tmp_path / "ledger.sqlite", tmp_path / "config" / "estimates.json"
    store.close()


def documents(capsys, *words):
    code = outweigh(["estimate", *words, "--json"])
    said = capsys.readouterr()
    assert code == 0, said.err
    return [json.loads(line) for line in said.out.splitlines()]


def refused(capsys, *words):
    code = outweigh(["estimate", *words])
    said = capsys.readouterr()
    assert "Traceback" not in said.err
    assert said.out == ""
    return code, said.err


ONE_HOUR = ["--device", "nvidia-h100-sxm", "--device-hours", "1"]


def test_receipts_are_held_against_the_estimate_and_move_the_next(capsys, learning):
    store, ledger, kept = learning
    addresses = [store.append(receipt(0.75 * 700 * 3600 * x, f"r{x}")) for x in (0.99, 1.0, 1.01)]
    words = [word for one in addresses for word in ("--reconcile", one[:12])]

    _, found = documents(capsys, *ONE_HOUR, *words, "--ledger", str(ledger))
    (after,) = documents(capsys, *ONE_HOUR)
    (fresh,) = documents(capsys, *ONE_HOUR, "--fresh")

    assert found["ratio"] == pytest.approx(0.75, rel=1e-3)
    assert found["ratio_low"] < 0.75 < found["ratio_high"]
    assert found["inside"]
    assert (found["learned_runs"], found["learned_grade"]) == (3, "C")
    assert after["it_energy_j"] == pytest.approx(0.75 * 700 * 3600, rel=1e-3)
    assert after["grade"] == "C"
    assert after["it_energy_j_high"] / after["it_energy_j_low"] < 1.15
    assert fresh["it_energy_j"] == pytest.approx(700 * 3600)
    assert str(kept.parent) not in kept.read_text()


def test_the_same_receipt_twice_is_one_run(capsys, learning):
    store, ledger, _ = learning
    address = store.append(receipt(0.7 * 700 * 3600, "r"))
    words = [*ONE_HOUR, "--reconcile", address, "--ledger", str(ledger)]

    documents(capsys, *words)
    again = documents(capsys, *words)[1]

    assert again["learned_runs"] == 1
    # The second estimate already knew: its ratio is to what it said, and what was learned stays.
    assert again["ratio"] == pytest.approx(1.0)
    assert again["learned_factor"] == pytest.approx(0.7)


def reconciled_with(ledger, store, joules, *words, scope=Scope.GPU):
    """Words that reconcile three receipts of about so many joules."""
    addresses = [store.append(receipt(joules * x, f"r{x} {scope}", scope=scope)) for x in (0.99, 1.0, 1.01)]
    return [*words, *(word for one in addresses for word in ("--reconcile", one)), "--ledger", str(ledger)]


TRAINING = ["--device", "nvidia-h100-sxm", "--parameters", "8B", "--tokens", "1B"]
SERVING = ["--device", "nvidia-h100-sxm", "--parameters", "8B", "--requests", "1000", "--prompt-tokens", "500",
           "--output-tokens", "300"]  # fmt: skip


def test_a_utilisation_that_was_declared_wrongly_teaches_the_default_estimate_nothing_wrong(capsys, learning):
    store, ledger, _ = learning
    truth = documents(capsys, *TRAINING)[0]["it_energy_j"]

    found = documents(capsys, *reconciled_with(ledger, store, truth, *TRAINING, "--utilisation", "0.9"))[1]
    (after,) = documents(capsys, *TRAINING)

    assert found["ratio"] == pytest.approx(0.9 / 0.292, rel=1e-2)
    assert found["learned_factor"] == pytest.approx(1.0, rel=1e-3)
    assert after["it_energy_j"] == pytest.approx(truth, rel=1e-3)
    assert after["grade"] == "C"


def test_what_was_learned_does_not_multiply_an_estimate_whose_utilisation_is_declared(capsys, learning):
    store, ledger, _ = learning
    (before,) = documents(capsys, *TRAINING, "--utilisation", "0.5")
    documents(capsys, *reconciled_with(ledger, store, 3 * before["it_energy_j"], *TRAINING))

    (after,) = documents(capsys, *TRAINING, "--utilisation", "0.5")

    assert after["it_energy_j"] == before["it_energy_j"]
    assert any("leave it out to use what receipts say" in note for note in after["notes"])


@pytest.mark.parametrize(
    ("base", "other"),
    [
        (SERVING, ["--batch", "64"]), (SERVING, ["--weight-bytes", "1"]), (SERVING, ["--kv-bytes-per-token", "131072"]),
        (SERVING, ["--memory-gb-s", "4000"]), (SERVING, ["--active-parameters", "2B"]),
        (TRAINING, ["--tflops", "1979"]), (TRAINING, ["--recompute", "1"]), (TRAINING, ["--host", "1.5"]),
    ],
)  # fmt: skip
def test_what_runs_of_another_setting_taught_leaves_this_one_as_it_was(capsys, learning, base, other):
    store, ledger, _ = learning
    (before,) = documents(capsys, *base)
    there = documents(capsys, *base, *other)[0]["it_energy_j"]
    scope = Scope.NODE if "--host" in other else Scope.GPU

    documents(capsys, *reconciled_with(ledger, store, 3 * there, *base, *other, scope=scope))

    assert documents(capsys, *base)[0]["it_energy_j"] == before["it_energy_j"]
    assert documents(capsys, *base, *other)[0]["it_energy_j"] == pytest.approx(3 * there, rel=1e-3)


@pytest.mark.parametrize(
    ("scope", "words", "says"),
    [
        (Scope.PACKAGE, [], "not the accelerator"), (Scope.CPU_THREADS, [], "not the accelerator"),
        (Scope.PSYS, ["--host", "1.5"], "not the accelerator"), (Scope.FACILITY, ["--host", "1.5"], "the facility"),
        (Scope.NODE, [], "--host"), (Scope.GPU, ["--host", "1.5"], "--host"),
    ],
)  # fmt: skip
def test_a_meter_that_sees_other_than_what_is_estimated_teaches_nothing(capsys, learning, scope, words, says):
    store, ledger, kept = learning

    code, said = refused(capsys, *reconciled_with(ledger, store, 7e4, *ONE_HOUR, *words, scope=scope))

    assert code == 3
    assert says in said
    assert not kept.exists()


def test_receipts_that_do_not_fit_those_kept_before_are_refused_and_not_written(capsys, learning):
    store, ledger, kept = learning
    node = [*ONE_HOUR, "--host", "1.5"]
    documents(capsys, *reconciled_with(ledger, store, 4e6, *node, scope=Scope.NODE))
    before = kept.read_text()

    code, said = refused(capsys, *reconciled_with(ledger, store, 4e6, *node, scope=Scope.RACK))

    assert (code, kept.read_text()) == (3, before)
    assert "different things" in said
    assert documents(capsys, *node)[0]["grade"] == "C"


def test_those_who_learn_at_once_lose_nothing_of_each_other(tmp_path):
    path = tmp_path / "estimates.json"

    def keep(number):
        runs = [f"{number}-{part}" for part in "ab"]
        keep_rows([Row("k", (run,), 1.0, 0.01, Grade.B, "gpu", "2026-01-01") for run in runs], path)

    # Each opens the lock anew, so threads shut each other out as processes do.
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(keep, range(40)))

    assert len(kept_rows(path)) == 80


def test_parts_of_one_run_are_added_and_no_keep_learns_nothing(capsys, learning, tmp_path):
    _, _, kept = learning
    words = [*ONE_HOUR]
    for name in ("a", "b"):
        (tmp_path / f"{name}.json").write_text(json.dumps(receipt(0.35 * 700 * 3600, name).to_dict()))
        words += ["--reconcile", str(tmp_path / f"{name}.json")]

    found = documents(capsys, *words, "--parts", "--no-keep")[1]

    assert found["ratio"] == pytest.approx(0.7)
    assert (found["runs"], found["receipts"], found["kept"]) == (1, 2, False)
    assert not kept.exists()


def test_receipts_that_were_not_measured_teach_nothing(capsys, learning, tmp_path):
    _, _, kept = learning
    (tmp_path / "r.json").write_text(json.dumps(receipt(1e6, "r", method=Method.MODELLED).to_dict()))

    found = documents(capsys, *ONE_HOUR, "--reconcile", str(tmp_path / "r.json"))[1]

    assert "nothing is learned" in found["note"]
    assert not kept.exists()


@pytest.mark.parametrize("text", ["{", "[]", '{"schema": 1}', '{"schema": 9}', ""])
def test_a_file_that_is_no_receipt_is_refused(capsys, learning, tmp_path, text):
    (tmp_path / "r.json").write_text(text)

    code, said = refused(capsys, *ONE_HOUR, "--reconcile", str(tmp_path / "r.json"))

    assert code == 2
    assert "receipt" in said


def test_a_run_that_failed_is_not_reconciled(capsys, learning, tmp_path):
    (tmp_path / "r.json").write_text(json.dumps(receipt(1e6, "r", RunStatus.FAILED).to_dict()))

    code, said = refused(capsys, *ONE_HOUR, "--reconcile", str(tmp_path / "r.json"))

    assert code == 3
    assert "went to their end" in said


@pytest.mark.parametrize("text", ["{", '{"schema": 2, "runs": []}', '{"schema": 1, "runs": [{"key": "x"}]}', "[]"])
def test_a_damaged_file_of_what_was_learned_is_named_and_left_alone(capsys, learning, text):
    _, _, kept = learning
    kept.parent.mkdir()
    kept.write_text(text)

    code, said = refused(capsys, *ONE_HOUR)

    assert code == 2
    assert str(kept) in said.replace("\n", "")
    assert kept.read_text() == text
    assert documents(capsys, *ONE_HOUR, "--fresh")


# --- the command line ----------------------------------------------------------------------------------

TRAIN = ["--parameters", "8B", "--tokens", "1T"]
SERVE = ["--parameters", "8B", "--requests", "10", "--output-tokens", "10"]


def test_the_columns_that_people_and_programs_read_name_scope_basis_grade_and_source(capsys):
    (found,) = documents(capsys, "--device", "nvidia-h100-sxm", *TRAIN, "--region", "aws:eu-central-1")

    assert (found["carbon_basis"], found["carbon_scope"]) == ("location", "lifecycle")
    assert found["carbon_g_low"] < found["carbon_g"] < found["carbon_g_high"]
    assert all(one["source"] and one["grade"] for one in found["inputs"])
    assert {one["name"] for one in found["inputs"]} >= {"power", "utilisation", "PUE", "carbon intensity", "WUE"}
    assert found["propagation"].startswith("GUM")
    assert found["currency"] == "EUR"


def test_without_a_place_everything_but_it_energy_is_null_with_a_reason(capsys):
    (found,) = documents(capsys, "--device", "nvidia-h100-sxm", *TRAIN)

    for name, key in (("facility_energy", "facility_energy_j"), ("carbon", "carbon_g"), ("water", "water_litres")):
        assert found[key] is None
        assert found[f"{name}_missing"]


def test_devices_are_compared_with_not_running_at_all_in_the_first_row(capsys):
    code = outweigh(["estimate", "--device", "nvidia-h100-sxm", "--device", "nvidia-l4", *SERVE, "--pue", "1.2"])
    said = capsys.readouterr()

    assert code == 0
    rows = [line.strip() for line in said.out.splitlines() if line.strip()]
    assert rows[2].startswith("not run (do nothing)")
    assert "missing" in said.out  # carbon, of no zone


def test_a_tariff_bills_the_run_and_says_so(capsys):
    site = Path(__file__).parents[2] / "examples" / "tariff" / "site.toml"
    words = ["--device-hours", "512", "--watts", "1000", "--pue", "1.0", "--tariff", str(site)]

    (found,) = documents(capsys, *words, "--start", "2026-03-02T09:00", "--count", "512")

    assert found["money"] > 0
    assert any("whatif tariff marginal" in note for note in found["notes"])
    code, said = refused(capsys, *words)
    assert code == 2
    assert "--start" in said


DEMAND = """
name = "demand"
currency = "EUR"
timezone = "Asia/Kathmandu"
[[energy]]
price = "0.10 EUR/kWh"
[[demand]]
name = "capacity"
price = "10 EUR/kW"
window = "{window}"
[[fixed]]
amount = "1000 EUR"
"""


@pytest.mark.parametrize(
    ("window", "start", "hours", "peak"),
    [
        ("15 min", "09:00", 1.00, 1.0), ("15 min", "09:00", 1.01, 1.0), ("15 min", "09:05", 1.01, 1.0),
        ("15 min", "09:10", 0.1, 0.1 / 0.25 * 5 / 6),  # 5 of its 6 minutes in the quarter that begins at 9
        ("1 h", "09:00", 0.50, 0.5), ("1 h", "09:15", 1.00, 0.75),
    ],
)  # fmt: skip
def test_a_run_is_billed_for_the_quarters_of_an_hour_it_draws_in(capsys, tmp_path, window, start, hours, peak):
    # 100 devices of 700 to 1,300 W: 1,000 a month, 10 a kW of the highest window and 0.10 a kWh.
    (tmp_path / "demand.toml").write_text(DEMAND.format(window=window))

    (found,) = documents(
        capsys, "--device-hours", f"{100 * hours}", "--watts", "700:1000:1300", "--pue", "1.0", "--count", "100",
        "--tariff", str(tmp_path / "demand.toml"), "--start", f"2026-03-02T{start}",
    )  # fmt: skip

    for key, kw in (("money_low", 70), ("money", 100), ("money_high", 130)):
        assert found[key] == pytest.approx(1000 + kw * (10 * peak + 0.1 * hours), abs=0.01), key


def test_a_run_that_may_be_slower_is_billed_for_more_hours_and_no_higher_demand(capsys, tmp_path):
    # 6 x 1e9 x 3e10 operations on 100 devices of 1e15 a second: an hour at 0.5 of that, half of one at 1, two at 0.25.
    (tmp_path / "demand.toml").write_text(DEMAND.format(window="15 min"))
    words = ["--parameters", "1B", "--tokens", "30B", "--tflops", "1000", "--utilisation", "0.25:1", "--pue", "1.0",
             "--count", "100", "--tariff", str(tmp_path / "demand.toml"), "--start", "2026-03-02T09:00"]  # fmt: skip

    (exact,) = documents(capsys, *words, "--watts", "1000")
    (found,) = documents(capsys, *words, "--watts", "500:1000:2000")

    for key, hours in (("money_low", 0.5), ("money", 1), ("money_high", 2)):
        assert exact[key] == pytest.approx(1000 + 100 * (10 + 0.1 * hours), abs=0.01), key
    # Both are known to a factor of two, so at an end each goes 1 / sqrt(2) of that way: 1.63 times.
    each = 2 ** (1 / math.sqrt(2))
    assert found["money_high"] == pytest.approx(1000 + 100 * (10 * each + 0.1 * each**2), rel=1e-6)


SITE = Path(__file__).parents[2] / "examples" / "tariff" / "site.toml"
BAD = {
    "unknown device": (["--device", "h100", *TRAIN], 2, "nvidia-h100-sxm"),
    "a device nothing is like": (["--device", "zzz", *TRAIN], 2, "--watts"),
    "no device": (TRAIN, 2, "--device"),
    "not a number of tokens": (["--device", "nvidia-l4", "--parameters", "8B", "--tokens", "nan"], 2, "tokens"),
    "negative": (["--device", "nvidia-l4", "--parameters", "-8B", "--tokens", "1T"], 2, "parameters"),
    "infinite": (["--device", "nvidia-l4", "--parameters", "8B", "--tokens", "inf"], 2, "tokens"),
    "empty": (["--device", "nvidia-l4", "--parameters", " ", "--tokens", "1T"], 2, "parameters"),
    "utilisation above one": (["--device", "nvidia-l4", *TRAIN, "--utilisation", "1.2"], 2, "at most 1"),
    "utilisation of nothing": (["--device", "nvidia-l4", *TRAIN, "--utilisation", "0"], 2, "utilisation"),
    "ends in the wrong order": (["--device", "nvidia-l4", *TRAIN, "--utilisation", "0.5:0.2"], 2, "utilisation"),
    "no range": (["--device", "nvidia-l4", *TRAIN, "--utilisation", "0.1:0.2:0.3:0.4"], 2, "utilisation"),
    "negative watts": (["--device-hours", "1", "--watts", "-5"], 2, "power"),
    "NaN watts": (["--device-hours", "1", "--watts", "nan"], 2, "power"),
    "pue below one": (["--device", "nvidia-l4", *TRAIN, "--pue", "0.9"], 2, "PUE"),
    "unknown zone": (["--device", "nvidia-l4", *TRAIN, "--zone", "XQ"], 2, "zone"),
    "two kinds of work": (["--device", "nvidia-l4", *TRAIN, "--device-hours", "5"], 2, "different kinds"),
    "no work": (["--device", "nvidia-l4", "--parameters", "8B"], 2, "how much work"),
    "no size": (["--device", "nvidia-l4", "--tokens", "1T"], 2, "--parameters"),
    "no answer": (["--device", "nvidia-l4", "--parameters", "8B", "--requests", "5"], 2, "--output-tokens"),
    "batch of none": (["--device", "nvidia-l4", *SERVE, "--batch", "0"], 2, "batch"),
    "NaN batch": (["--device", "nvidia-l4", *SERVE, "--batch", "nan"], 2, "batch"),
    "all development": (["--device", "nvidia-l4", *TRAIN, "--development", "100%"], 2, "development"),
    "host below one": (["--device", "nvidia-l4", *TRAIN, "--host", "nan"], 2, "host"),
    "recompute": (["--device", "nvidia-l4", *TRAIN, "--recompute", "nan"], 2, "recomputation"),
    "watts without speed": (["--watts", "300", *TRAIN], 2, "--tflops"),
    "a speed of nothing": (["--watts", "300", "--tflops", "0", *TRAIN], 2, "TFLOP/s"),
    "speed without memory": (["--watts", "300", "--tflops", "100", *SERVE], 2, "--memory-gb-s"),
    "price of nothing": (["--device", "nvidia-l4", *TRAIN, "--price", "0 EUR/kWh"], 2, "price"),
    "no money": (["--device", "nvidia-l4", *TRAIN, "--price", "1 XXX/kWh"], 2, "currency"),
    "too large": (["--device", "nvidia-l4", "--parameters", "1e300", "--tokens", "1e300"], 2, "beyond"),
    "a run of centuries": (
        ["--device", "nvidia-l4", "--parameters", "405B", "--tokens", "15T", "--pue", "1.2", "--tariff", str(SITE),
         "--start", "2026-03-02", "--count", "1"], 2, "years"),
    "no such file": (["--device", "nvidia-l4", *TRAIN, "--zone", "DE", "--file", "none.csv"], 4, "none.csv"),
    "more requests than there are": (
        ["--device", "nvidia-l4", "--parameters", "8B", "--requests", "1e300", "--output-tokens", "3"], 2, "1e30"),
    "a start that nothing is billed at": (["--device", "nvidia-l4", *TRAIN, "--start", "2026-03-02"], 2, "--tariff"),
    "a count that nothing is billed for": (["--device", "nvidia-l4", *TRAIN, "--count", "4"], 2, "--tariff"),
    "parts of nothing": (["--device", "nvidia-l4", *TRAIN, "--parts"], 2, "--reconcile"),
    "utilisation of declared hours": (
        ["--device", "nvidia-l4", "--device-hours", "5", "--utilisation", "0.4"], 2, "--watts"),
    "a tariff that is not there, and no PUE": (
        ["--device", "nvidia-l4", *TRAIN, "--tariff", "none.toml", "--start", "2026-03-02", "--count", "1"], 2,
        "none.toml"),
    "no receipt of that name": (["--device", "nvidia-l4", *TRAIN, "--reconcile", "none.json"], 2, "neither a file"),
    "intensity without its unit": (["--device", "nvidia-l4", *TRAIN, "--intensity", "400"], 2, "'400'"),
    "price without its unit": (["--device", "nvidia-l4", *TRAIN, "--price", "0.15"], 2, "'0.15'"),
}  # fmt: skip


@pytest.mark.parametrize(("words", "code", "says"), BAD.values(), ids=BAD)
def test_bad_input_is_refused_with_what_to_do(capsys, words, code, says):
    assert refused(capsys, *words)[0] in {code, 2}
    assert says in refused(capsys, *words)[1]


def test_an_unknown_device_with_watts_is_estimated_and_of_grade_d(capsys):
    (found,) = documents(capsys, "--device", "our-own-chip", "--watts", "250:300:400", "--tflops", "100", *TRAIN)

    assert (found["device"], found["grade"]) == ("our-own-chip", "D")
    assert found["it_energy_j_low"] < found["it_energy_j"] < found["it_energy_j_high"]


def test_zero_tokens_take_zero_joules_and_say_so(capsys):
    (found,) = documents(capsys, "--device", "nvidia-l4", "--parameters", "8B", "--tokens", "0", "--pue", "1.2")

    assert found["it_energy_j"] == found["facility_energy_j"] == 0


def test_counts_and_ranges_are_read_as_people_write_them():
    assert parse_count("1_000", "tokens") == 1000
    assert parse_range("1:2:4", "x", "1").central == 2
    for text in ("", "B", "8Q", "1e400", "-1"):
        with pytest.raises(InvalidQuantity):
            parse_count(text, "tokens")
    with pytest.raises(UsageError):
        Training(8e9, 1e9).device_s(Rates(), {"utilisation": 1.0})
