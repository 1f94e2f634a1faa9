"""The abatement curve: what its order and its total must keep, where its figures come from, and bad files."""

import json
import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from outweigh.app.levers_measured import of_ledger
from outweigh.app.whatif_levers import Asked
from outweigh.app.whatif_levers import levers as answer
from outweigh.cli.whatif_levers import levers
from outweigh.config.levers import load_levers
from outweigh.core import Energy, Grade, Interval, Measurement, Method, Phase, Receipt, RunStatus, Scope
from outweigh.core.errors import ConfigError, InvalidQuantity, UsageError
from outweigh.ledger import open_ledger
from outweigh.whatif.levers_curve import Base, Kind, Lever, Ratio, curve

EXAMPLE = Path(__file__).parents[2] / "examples" / "levers" / "levers.toml"
BASE = Base(1e6, 0.15, 400.0, "EUR", 50.0)


@st.composite
def ratios(draw, most=1.3):
    three = sorted(draw(st.tuples(*[st.floats(0.05, most)] * 3)))
    return Ratio(three[1], three[0], three[2])


@st.composite
def sets_of_levers(draw):
    return [
        Lever(
            f"lever {index}", draw(ratios()), draw(ratios()), draw(ratios()), draw(st.floats(0, 1e5)),
            measured=draw(st.booleans()), excludes=draw(st.sampled_from(["", "a", "b"])),
            kind=draw(st.sampled_from([None, *Kind])), together=draw(st.sampled_from(["", "s"])),
            keeps_quality=draw(st.sampled_from([True, False, None])),
        )
        for index in range(draw(st.integers(0, 6)))
    ]  # fmt: skip


@settings(max_examples=80, deadline=None)
@given(given_levers=sets_of_levers())
def test_the_total_is_the_joint_effect_of_the_counted_levers_and_never_their_sum(given_levers):
    found = curve(BASE, given_levers)

    counted = [step.lever for step in found.steps]
    left = math.prod(lever.energy.value * lever.intensity.value for lever in counted)
    assert found.tonnes == pytest.approx(BASE.tonnes * (1 - left))
    assert math.fsum(step.tonnes for step in found.steps) == pytest.approx(found.tonnes, abs=1e-9 * BASE.tonnes)
    assert math.fsum(step.kwh for step in found.steps) == pytest.approx(found.kwh, abs=1e-9 * BASE.kwh)
    assert math.fsum(step.saved for step in found.steps) == pytest.approx(found.money, abs=1e-9 * BASE.money)
    assert found.tonnes <= found.summed_tonnes * (1 + 1e-12) + 1e-12
    assert found.tonnes < BASE.tonnes
    assert found.low_tonnes <= found.tonnes * (1 + 1e-12) <= found.high_tonnes * (1 + 1e-9) + 1e-9


@settings(max_examples=80, deadline=None)
@given(given_levers=sets_of_levers())
def test_each_next_lever_costs_as_much_per_tonne_or_more_whatever_came_before(given_levers):
    found = curve(BASE, given_levers)

    # The order of the costs alone, and of the costs on what the levers before have left.
    alone = [step.lever.cost / (BASE.tonnes * (1 - step.lever.carbon.value)) for step in found.steps]
    assert all(before <= after for before, after in pairwise(alone))
    assert all(step.tonnes > 0 for step in found.steps)
    assert all(step.low_tonnes <= step.tonnes * (1 + 1e-12) <= step.high_tonnes * (1 + 1e-9) for step in found.steps)


@settings(max_examples=80, deadline=None)
@given(given_levers=sets_of_levers())
def test_every_lever_is_counted_or_left_out_with_a_reason_and_one_of_a_group_at_most(given_levers):
    found = curve(BASE, given_levers)

    counted = [step.lever for step in found.steps]
    names = [one.name for one in counted] + [one.name for one, _ in found.passed_over]
    assert sorted(names) == sorted(one.name for one in given_levers)
    groups = [one.excludes for one in counted if one.excludes]
    assert len(groups) == len(set(groups))
    assert all(why for _, why in found.passed_over)
    software = [one for one in counted if one.is_software]
    assert len(software) <= 1 or {one.together for one in software} == {"s"}
    assert not any(one.keeps_quality is False for one in counted)


def test_without_a_lever_the_year_stays_as_it_is():
    found = curve(BASE, [])

    assert (found.tonnes, found.kwh, found.money, found.cost) == (0, 0, 0, 0)
    assert BASE.with_levers([]) == (BASE.kwh, BASE.tonnes, BASE.money)


def test_two_halves_leave_a_quarter():
    half = Lever("one", Ratio(0.5, 0.5, 0.5), cost=100.0, kind=Kind.FACILITY)

    found = curve(BASE, [half, replace(half, name="two", cost=200.0)])

    # 400 t: the first takes 200 for 100 EUR, the second 100 of the 200 that are left, for 200 EUR.
    assert [step.tonnes for step in found.steps] == [200, 100]
    assert [step.gross_per_tonne for step in found.steps] == [0.5, 2.0]
    assert found.summed_tonnes == 400


QUARTER, HALF = Ratio(0.75, 0.75, 0.75), Ratio(0.5, 0.5, 0.5)


def names(found):
    return {step.lever.name for step in found.steps}


def test_software_levers_count_together_only_where_they_are_said_to_be_measured_together():
    int8, prune, cache = (Lever(name, HALF) for name in ("int8", "prune", "cache"))
    int4 = Lever("int4", Ratio(0.4, 0.4, 0.4))
    cooling, place = Lever("cooling", QUARTER, kind=Kind.FACILITY), Lever("place", Ratio(), HALF)

    apart = curve(BASE, [int8, prune, int4, cooling, place])
    stack = [replace(one, together="stack", kind=Kind.SOFTWARE) for one in (int8, prune)]
    joint = curve(BASE, [*stack, cache, int4, cooling, place])

    assert names(apart) == {"int4", "cooling", "place"}
    assert apart.tonnes == pytest.approx(400 * (1 - 0.4 * 0.75 * 0.5))
    assert names(joint) == {"int8", "prune", "cooling", "place"}
    assert joint.tonnes == pytest.approx(400 * (1 - 0.25 * 0.75 * 0.5))
    why = "not measured together with int8 with prune, which gains more; if it is not software, say its kind"
    assert {(lever.name, said) for lever, said in joint.passed_over} == {("int4", why), ("cache", why)}


def test_a_measured_variant_excludes_declared_software(ledger):
    # 40 % were measured of `small`; the file's cache declares 12 %, and nobody measured both.
    found = answer(Asked(EXAMPLE, ledger=ledger)).document

    assert "small" in {one["name"] for one in found["steps"]}
    (cache,) = [one for one in found["passed_over"] if one["name"] == "cache"]
    assert cache["why"] == "not measured together with small, which gains more"


def test_a_measured_saving_within_its_noise_is_not_counted_and_a_projection_with_such_a_range_is_one():
    noisy = Lever("noisy", Ratio(0.98, 0.95, 1.01), measured=True)

    found = curve(BASE, [noisy, replace(noisy, name="hoped", measured=False)])

    assert [step.lever.name for step in found.steps] == ["hoped"]
    assert found.passed_over[0][1] == "its saving is within the noise"


def test_levers_that_come_when_nothing_is_left_are_named_and_not_divided_by():
    tiny = Ratio(1e-6, 1e-6, 1e-6)

    found = curve(BASE, [Lever(f"lever {index}", Ratio(), tiny, cost=float(index)) for index in range(60)])

    assert 0 < len(found.steps) < 60
    assert {why for _, why in found.passed_over} == {"the levers before it leave nothing"}
    assert all(math.isfinite(step.gross_per_tonne) for step in found.steps)


def test_figures_that_cannot_be_and_one_name_twice_are_refused():
    with pytest.raises(InvalidQuantity, match="nothing to save"):
        Base(0.0, 0.1, 400.0, "EUR")
    with pytest.raises(InvalidQuantity, match="ratio of a lever"):
        Ratio(0.5, 0.6, 0.7)
    with pytest.raises(UsageError, match="two levers are called"):
        curve(BASE, [Lever("x"), Lever("x")])


# --- from a ledger ------------------------------------------------------------------------------------


def receipt(index, variant, joules, batch="b" * 8, units=10.0):
    start = datetime(2026, 11, 1, tzinfo=UTC) + timedelta(minutes=index)
    total = Measurement(
        Energy(joules),
        Interval(start, start + timedelta(seconds=10)),
        Scope.PACKAGE,
        Grade.B,
        Method.COUNTER,
        "made up",
    )
    return Receipt(
        run_id=f"{batch}-{variant}-{index}", project="made up", phase=Phase.DEVELOPMENT, status=RunStatus.COMPLETED,
        total=total, hum=None, work=None, batch=batch, variant=variant, round_index=index // 2, units=units,
        unit="item",
    )  # fmt: skip


@pytest.fixture
def ledger(tmp_path):
    store = open_ledger(tmp_path / "ledger.sqlite")
    for turn, drift in enumerate((1.0, 1.1, 0.9, 1.05)):
        store.append(receipt(2 * turn, "base", 100 * drift))
        store.append(receipt(2 * turn + 1, "small", 60 * drift))
    store.append(receipt(20, "base", 5.0, batch="alone"))
    store.close()
    return tmp_path / "ledger.sqlite"


def test_paired_rounds_of_a_ledger_give_the_ratio_of_a_variant_and_drift_cancels(ledger):
    found = of_ledger(ledger)

    small = found.levers["small"]
    assert found.incumbent == "base"
    assert small.energy.value == pytest.approx(0.6)
    assert (small.grade, small.measured, small.keeps_quality) == ("B", True, None)
    assert "4 rounds" in small.source


def test_a_ledger_without_such_a_sitting_or_variant_is_refused(ledger):
    with pytest.raises(UsageError, match="two measured variants"):
        of_ledger(ledger, batch="alone")
    with pytest.raises(UsageError, match="no variant of that sitting"):
        of_ledger(ledger, incumbent="large")


def test_the_command_line_prints_doing_nothing_first_and_the_joint_effect_last(ledger, tmp_path):
    words = [str(EXAMPLE), "--ledger", str(ledger), "--out", str(tmp_path / "curve.html")]
    shown = CliRunner().invoke(levers, words)
    document = json.loads(CliRunner().invoke(levers, [*words[:3], "--json"]).stdout)

    assert shown.exit_code == 0, shown.output
    table = [line for line in shown.output.splitlines() if line.startswith((" do nothing", " small", " all of them"))]
    assert [line.split()[0] for line in table] == ["do", "small", "all"]
    assert "measured, grade B" in table[1]
    assert (tmp_path / "curve.html").read_text().startswith("<!doctype html>")
    left = math.prod(one["carbon_ratio"] for one in document["steps"])
    assert document["total"]["carbon_g"] == pytest.approx(document["base"]["carbon_g"] * (1 - left))


def test_a_year_of_unknown_energy_and_options_that_contradict_are_refused(ledger, tmp_path):
    (tmp_path / "l.toml").write_text('[base]\nprice = "0.1 EUR/kWh"\nintensity = "400 g/kWh"\n')

    with pytest.raises(UsageError, match="energy of a year"):
        answer(Asked(tmp_path / "l.toml", ledger=ledger))
    with pytest.raises(UsageError, match="--review or from --ledger"):
        answer(Asked(tmp_path / "l.toml", review=EXAMPLE, ledger=ledger))
    with pytest.raises(UsageError, match="belong to --ledger"):
        answer(Asked(tmp_path / "l.toml", batch="b", energy="1 MWh"))


TEXT = EXAMPLE.read_text(encoding="utf-8")
BAD = {
    "an unknown key": (TEXT.replace("running", "runing", 1), "runing"),
    "a change without a sign": (TEXT.replace('"-3%"', '"3%"'), "with its sign"),
    "all of it": (TEXT.replace('value = "-12%", low = "-20%"', 'value = "-12%", low = "-100%"'), "above 0"),
    "a value outside its range": (TEXT.replace('value = "-9%"', 'value = "-1%"'), "within its interval"),
    "another currency": (TEXT.replace("24000 EUR", "24000 USD"), "lever.cold-plate.capex is in USD"),
    "nothing changed": (TEXT + '[lever.idle]\nrunning = "1 EUR"\n', "changes nothing"),
    "a measured change that is declared": (TEXT + '[lever.x]\nvariant = "v"\nenergy = "-1%"\n', "names a measured"),
    "a negative price": (TEXT.replace('"0.14 EUR/kWh"\nint', '"-0.14 EUR/kWh"\nint'), "negative"),
    "a kind that there is not": (TEXT.replace('kind = "hour"', 'kind = "time"'), "kind"),
    "a facility that is measured together": (
        TEXT.replace('kind = "facility"', 'kind = "facility"\ntogether = "x"'),
        "only software",
    ),
    "no life": (TEXT.replace("life = 10", "life = 0"), "above 0"),
    "a list": ("base = []", "table"),
}


@pytest.mark.parametrize(("text", "says"), BAD.values(), ids=BAD)
def test_a_file_of_levers_that_says_something_wrong_is_refused(tmp_path, text, says):
    (tmp_path / "levers.toml").write_text(text)

    with pytest.raises(ConfigError, match=says):
        load_levers(tmp_path / "levers.toml")


def test_a_measured_variant_without_a_measurement_is_refused(tmp_path):
    (tmp_path / "levers.toml").write_text(TEXT + '[lever.int8]\nvariant = "l3-int8"\n')

    with pytest.raises(UsageError, match="was measured somewhere"):
        answer(Asked(tmp_path / "levers.toml"))
