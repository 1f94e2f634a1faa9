"""Minute samples of a fleet: what is kept, what of it is hum, and that nothing is made up or lost."""

from __future__ import annotations

import importlib.util
import math
import shutil
import subprocess
import sys
import threading
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

pytest.importorskip("duckdb")

from outweigh.core.errors import InvalidQuantity, LedgerCorrupt, MissingExtra, UsageError
from outweigh.core.intervals import Interval
from outweigh.core.measurement import Grade, Method, Scope
from outweigh.ledger.fleet import Fleet, HowKnown, Labels, Minutes, append_minutes, fleet_folder, has_fleet

_SPEC = importlib.util.spec_from_file_location("fleeting", Path(__file__).with_name("fleeting.py"))
fleeting = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(fleeting)
BMC, DAY_S, START, START_S = fleeting.BMC, fleeting.DAY_S, fleeting.START, fleeting.START_S
keep, rows, stretch, window = fleeting.keep, fleeting.rows, fleeting.stretch, fleeting.window


def opened(folder):
    return Fleet(folder, threads=1, look_again_s=0.0)


def by_owner(fleet, of, **asked):
    """(hum, work, unsplit) [J] of each owner."""
    found = fleet.hum_by_owner(of, **asked)
    parts = (found.split.hum_j, found.split.work_j, found.split.unsplit_j)
    return {owner: tuple(float(part[at]) for part in parts) for at, owner in enumerate(found.owners)}


# --- hum ------------------------------------------------------------------------------------------------


def test_the_hum_of_a_node_is_the_low_quantile_of_its_own_idle_minutes(tmp_path):
    idle = stretch("a", "", 0, 41, np.arange(100, 141), None)  # the 10 % quantile of 100, 101 ... 140 is 104
    keep(tmp_path, *idle, *stretch("a", "ann", 41, 10, 500.0, 0.9))
    with opened(tmp_path) as fleet:
        hum_j, work_j, unsplit_j = by_owner(fleet, window())["ann"]

    assert hum_j == pytest.approx(10 * 60 * 104.0)
    assert work_j == pytest.approx(10 * 60 * 396.0)
    assert unsplit_j == 0


def test_hum_is_never_above_what_is_drawn(tmp_path):
    keep(tmp_path, *stretch("a", "", 0, 40, 100.0, 0.0), *stretch("a", "ann", 40, 5, 70.0, 0.9))
    with opened(tmp_path) as fleet:
        assert by_owner(fleet, window())["ann"] == pytest.approx((5 * 60 * 70.0, 0.0, 0.0))


def test_a_held_node_that_does_nothing_hums_for_its_owner(tmp_path):
    keep(tmp_path, *stretch("a", "ann", 0, 60, 100.0, 0.0))
    with opened(tmp_path) as fleet:
        assert by_owner(fleet, window()) == {"ann": pytest.approx((60 * 60 * 100.0, 0.0, 0.0))}


def test_a_node_that_never_idled_has_no_hum_that_is_known(tmp_path):
    keep(tmp_path, *stretch("a", "ann", 0, 60, 500.0, 0.9), *stretch("b", "bob", 0, 29, 100.0, 0.0))
    with opened(tmp_path) as fleet:
        found = by_owner(fleet, window())

    assert found["ann"] == pytest.approx((0.0, 0.0, 60 * 60 * 500.0))
    assert found["bob"] == pytest.approx((0.0, 0.0, 29 * 60 * 100.0))  # fewer than half an hour of idling


def test_a_minute_is_idle_only_where_that_is_known(tmp_path):
    keep(tmp_path, *stretch("a", "ann", 0, 60, 100.0, None), *stretch("b", "", 0, 60, 100.0, None))
    with opened(tmp_path) as fleet:
        found = by_owner(fleet, window())

    assert found["ann"] == pytest.approx((0.0, 0.0, 60 * 60 * 100.0))
    assert found[""] == pytest.approx((60 * 60 * 100.0, 0.0, 0.0))


def test_a_day_without_idling_takes_the_idle_draw_of_the_latest_day_before_it_and_none_of_a_later_one(tmp_path):
    day = 1_440
    keep(tmp_path, *stretch("a", "ann", 0, 60, 500.0, 0.9))
    keep(tmp_path, *stretch("a", "", day, 60, 100.0, 0.0))
    keep(tmp_path, *stretch("a", "", 2 * day, 60, 120.0, 0.0))
    keep(tmp_path, *stretch("a", "ann", 3 * day, 60, 500.0, 0.9))
    with opened(tmp_path) as fleet:
        first, last = (by_owner(fleet, window(at))["ann"] for at in (0, 3 * day))

    assert first == pytest.approx((0.0, 0.0, 60 * 60 * 500.0))
    assert last == pytest.approx((60 * 60 * 120.0, 60 * 60 * 380.0, 0.0))


def test_the_interval_of_the_hum_holds_it(tmp_path):
    chance = np.random.default_rng(3)
    idle = chance.normal(100.0, 5.0, 300)
    keep(tmp_path, *stretch("a", "", 0, 300, idle, 0.0), *stretch("a", "ann", 300, 60, 500.0, 0.9))
    with opened(tmp_path) as fleet:
        found = fleet.hum_by_owner(window())

    at = found.owners.index("ann")
    low, hum, high = (float(part[at]) for part in (found.split.hum_low_j, found.split.hum_j, found.split.hum_high_j))
    assert low == pytest.approx(3_600 * np.quantile(idle, 0.02), rel=1e-6)
    assert high == pytest.approx(3_600 * np.quantile(idle, 0.50), rel=1e-6)
    bounds = found.known.bounds_of_hum(low, high)
    assert bounds.low == pytest.approx(0.9 * low)
    assert bounds.high == pytest.approx(1.1 * high)
    assert bounds.contains(hum)


minute = st.tuples(
    st.integers(0, 2 * 1_440 - 1),
    st.sampled_from("ab"),
    st.sampled_from(["", "ann", "bob"]),
    st.floats(0, 1e4, width=32),
    st.one_of(st.none(), st.floats(0, 1, width=32)),
)
minutes = st.lists(minute, min_size=1, max_size=120, unique_by=lambda each: each[:2])


@given(given_=minutes, idle=st.integers(0, 60), start=st.integers(0, 2_000), lasting=st.integers(0, 2_880))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_hum_and_work_and_what_is_not_split_are_the_energy_drawn(tmp_path, given_, idle, start, lasting):
    shutil.rmtree(tmp_path / "fleet", ignore_errors=True)
    taken = {each[:2] for each in given_}
    given_ = given_ + [each for each in stretch("a", "", 0, idle, 50.0, 0.0) if each[:2] not in taken]
    keep(tmp_path / "fleet", *given_)
    of = window(start, lasting)
    cut = of.start + (of.end - of.start) / 3
    with opened(tmp_path / "fleet") as fleet:
        found = fleet.hum_by_owner(of)
        parts = [fleet.hum_by_owner(part) for part in (Interval(of.start, cut), Interval(cut, of.end))]

    inside = [each for each in given_ if start <= each[0] < start + lasting]
    split = found.split
    assert set(found.owners) == {each[2] for each in inside}
    for at, owner in enumerate(found.owners):
        drawn_j = 60 * math.fsum(np.float32(each[3]) for each in inside if each[2] == owner)
        assert split.energy_j[at] == pytest.approx(drawn_j)
        assert split.hum_j[at] + split.work_j[at] + split.unsplit_j[at] == pytest.approx(drawn_j, abs=1e-6)
        assert 0 <= split.hum_low_j[at] <= split.hum_j[at] <= split.hum_high_j[at] <= drawn_j * (1 + 1e-9) + 1e-6
    assert found.known.coverage.read == len(inside)
    for name in ("energy_j", "hum_j", "unsplit_j"):
        whole = float(getattr(split, name).sum())
        assert math.fsum(float(getattr(part.split, name).sum()) for part in parts) == pytest.approx(whole, abs=1e-6)


# --- what is missing ------------------------------------------------------------------------------------


def test_a_minute_that_was_not_read_is_missing_and_never_nothing(tmp_path):
    keep(tmp_path, *stretch("a", "", 0, 60, 100.0, 0.0), *stretch("a", "", 90, 30, 100.0, 0.0))
    with opened(tmp_path) as fleet:
        found = fleet.power(window(0, 120))
        hum = fleet.hum_by_owner(window(0, 120))

    assert (hum.known.coverage.read, hum.known.coverage.expected) == (90, 120)
    assert np.isnan(found.mean_w[60:90]).all()
    assert (found.mean_w[:60] == 100).all()
    assert float(hum.split.energy_j.sum()) == pytest.approx(90 * 60 * 100.0)


def test_where_one_node_is_silent_the_sum_says_that_it_lacks_it(tmp_path):
    keep(tmp_path, *stretch("a", "", 0, 60, 100.0, 0.0), *stretch("b", "", 0, 20, 100.0, 0.0),
         *stretch("b", "", 40, 20, 100.0, 0.0))  # fmt: skip
    with opened(tmp_path) as fleet:
        found = fleet.power(window(0, 60))

    assert found.mean_w[30] == 100
    assert (found.nodes[30], found.expected_nodes[30]) == (1, 2)
    assert (found.nodes[50], found.expected_nodes[50]) == (2, 2)


def test_before_its_first_and_after_its_last_sample_a_node_is_not_expected(tmp_path):
    keep(tmp_path, *stretch("a", "", 0, 60, 100.0, 0.0), *stretch("b", "", 20, 20, 100.0, 0.0))
    with opened(tmp_path) as fleet:
        assert fleet.hum_by_owner(window()).known.coverage.share == 1.0
        assert fleet.hum_by_owner(window(60, 600)).known.coverage.share is None


def test_an_owner_who_held_nothing_drew_nothing_but_only_where_anything_was_read(tmp_path):
    keep(tmp_path, *stretch("a", "ann", 0, 20, 300.0, 0.9), *stretch("a", "bob", 20, 20, 200.0, 0.9),
         *stretch("a", "ann", 60, 20, 300.0, 0.9))  # fmt: skip
    with opened(tmp_path) as fleet:
        found = fleet.power(window(0, 80), owner="ann")

    assert found.mean_w[10] == 300
    assert found.mean_w[30] == 0
    assert np.isnan(found.mean_w[50])
    assert np.isnan(found.expected_nodes).all()


# --- segments -------------------------------------------------------------------------------------------


def test_of_two_words_on_one_minute_the_later_holds(tmp_path):
    keep(tmp_path, *stretch("a", "ann", 0, 60, 100.0, 0.0))
    with opened(tmp_path) as fleet:
        fleet.state()
        keep(tmp_path, *stretch("a", "bob", 10, 10, 150.0, 0.9))
        found = fleet.hum_by_owner(window())
        trace = fleet.trace("a", window(0, 60))

    assert found.known.coverage.read == 60
    assert found.split.energy_j.sum() == pytest.approx(60 * (50 * 100.0 + 10 * 150.0))
    assert trace.owners[9:11] == ("ann", "bob")
    assert trace.power_w[15] == 150


def test_a_segment_is_there_whole_or_not_at_all(tmp_path):
    (segment,) = keep(tmp_path, *stretch("a", "", 0, 60, 100.0, 0.0))
    (segment.parent / ".1-dead.torn").write_bytes(b"PAR1 half a segm")
    with opened(tmp_path) as fleet:
        assert fleet.state().rows == 60


def test_a_new_segment_makes_its_own_day_again_and_no_other_that_does_not_lean_on_it(tmp_path):
    day = 1_440
    for number in range(3):
        keep(tmp_path, *stretch("a", "", number * day, 60, 100.0, 0.0))
    keep(tmp_path, *stretch("a", "ann", 3 * day, 60, 500.0, 0.9))  # leans on the day before

    def made():
        return {path.parent.name: path.name for path in tmp_path.glob("rollups/v1/*/sums-*")}

    with opened(tmp_path) as fleet:
        before = made()
        keep(tmp_path, *stretch("a", "", day + 100, 60, 80.0, 0.0))
        fleet.refresh()
        middle = made()
        keep(tmp_path, *stretch("a", "", 2 * day + 100, 60, 80.0, 0.0))
        fleet.refresh()
        after = made()
        hum_j, *_ = by_owner(fleet, window(3 * day))["ann"]

    days = sorted(before)
    assert [day for day in days if before[day] != middle[day]] == [days[1]]
    assert [day for day in days if middle[day] != after[day]] == days[2:]
    assert hum_j == pytest.approx(60 * 60 * 80.0)


def test_roll_ups_can_be_thrown_away_while_they_are_read(tmp_path):
    keep(tmp_path, *stretch("a", "", 0, 60, 100.0, 0.0))
    with opened(tmp_path) as fleet:
        before = fleet.hum_by_owner(window())
        shutil.rmtree(tmp_path / "rollups")
        after = fleet.hum_by_owner(window())

    assert after.split.energy_j.tolist() == before.split.energy_j.tolist()


def test_a_damaged_segment_is_named(tmp_path):
    (segment,) = keep(tmp_path, *stretch("a", "", 0, 60, 100.0, 0.0))
    segment.write_bytes(segment.read_bytes()[:-40])

    with pytest.raises(LedgerCorrupt, match=segment.name):
        opened(tmp_path)


def test_a_damaged_roll_up_is_named(tmp_path):
    keep(tmp_path, *stretch("a", "", 0, 60, 100.0, 0.0))
    opened(tmp_path).close()
    (path,) = tmp_path.glob("rollups/v1/*/sums-*/power.parquet")
    path.write_bytes(b"not what it was")

    with opened(tmp_path) as fleet, pytest.raises(LedgerCorrupt, match=r"power\.parquet"):
        fleet.power(window())


def test_threads_ask_while_others_append(tmp_path):
    keep(tmp_path, *stretch("a", "", 0, 60, 100.0, 0.0))
    failed: list[BaseException] = []
    done = threading.Event()

    def ask(fleet):
        try:
            while not done.is_set():
                found = fleet.hum_by_owner(window())
                assert float(found.split.energy_j.sum()) == pytest.approx(found.known.coverage.read * 60 * 100.0)
        except BaseException as err:  # noqa: BLE001 - told below
            failed.append(err)

    with opened(tmp_path) as fleet:
        threads = [threading.Thread(target=ask, args=(fleet,)) for _ in range(3)]
        for thread in threads:
            thread.start()
        for number in range(1, 8):
            keep(tmp_path, *stretch("a", "", 60 * number, 60, 100.0, 0.0))
        done.set()
        for thread in threads:
            thread.join(60)
        fleet.refresh()
        assert fleet.state().rows == 480
    assert not failed


def test_processes_that_roll_up_at_once_answer_alike(tmp_path):
    for number in range(3):
        keep(tmp_path, *stretch("a", "", number * 1_440, 200, 100.0, 0.0))
    script = (
        "import sys; from pathlib import Path; from outweigh.ledger.fleet import Fleet; "
        "f = Fleet(Path(sys.argv[1])); w = f.state().known.window; print(f.hum_by_owner(w).split.hum_j.sum())"
    )
    running = [
        subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    said = [process.communicate(timeout=120)[0].strip() for process in running]

    assert [process.returncode for process in running] == [0, 0, 0]
    assert [float(text) for text in said] == pytest.approx([600 * 60 * 100.0] * 3)


def test_names_of_any_kind_are_only_names(tmp_path):
    folder = tmp_path / "it's [a] *fleet?"
    hostile = ["<script>alert(1)</script>", "'; DROP TABLE split; --", "\u202eevil", "é" * 500, 'quo"ted', "[*]?"]
    given_ = [row for at, name in enumerate(hostile) for row in stretch(name, name, at, 1, 10.0, 0.9)]
    append_minutes(folder, rows(*given_, site="s'it\"e <b>"), BMC)
    with opened(folder) as fleet:
        state = fleet.state()
        for name in hostile:
            assert fleet.trace(name, window(0, 10)).known.coverage.read == 1
            assert float(fleet.power(window(0, 6), owner=name, site="s'it\"e <b>").max_w.max()) == 10
            assert fleet.top_nodes(window(), owner=name).nodes == (name,)

    assert set(state.owners) == set(hostile)
    assert state.sites == ("s'it\"e <b>",)


@pytest.mark.parametrize(
    "changed",
    [
        {"t_s": [START_S + 30]},
        {"t_s": [-60]},
        {"t_s": [float("nan")]},
        {"t_s": [60, 120]},
        {"power_w": [-1.0]},
        {"power_w": [math.inf]},
        {"power_w": ["much"]},
        {"busy": [1.5]},
        {"gpus": [-1]},
        {"gpus": [1.5]},
        {"node": Labels.of([""])},
        {"owner": Labels.of(["nul\0"])},
        {"site": Labels.of(["x" * 513])},
        {"site": Labels.of(["\ud800"])},
        {"node": Labels(np.array([3], np.int32), ("a",))},
        {"node": Labels(np.array([0], np.int32), ("a", "a"))},
    ],
)
def test_a_sample_that_cannot_be_is_refused(changed):
    good = {
        "t_s": [START_S], "node": Labels.of(["a"]), "owner": Labels.of([""]), "site": Labels.of(["fra"]),
        "power_w": [1.0], "gpus": [8], "busy": [0.5],
    }  # fmt: skip
    Minutes(**good)
    with pytest.raises(InvalidQuantity):
        Minutes(**(good | changed))


def test_two_samples_of_one_minute_in_one_call_are_refused(tmp_path):
    with pytest.raises(InvalidQuantity, match="twice"):
        keep(tmp_path, *stretch("a", "", 0, 3, 1.0, 0.0), *stretch("a", "", 2, 3, 1.0, 0.0))
    assert not has_fleet(tmp_path)


def test_power_of_different_scopes_is_not_kept_together(tmp_path):
    keep(tmp_path, *stretch("a", "", 0, 3, 1.0, 0.0))

    with pytest.raises(UsageError, match="never added up"):
        keep(tmp_path, *stretch("a", "", 5, 3, 1.0, 0.0), how=HowKnown(Scope.GPU, Grade.B, Method.COUNTER, "x", 0.1))


def test_what_is_made_up_and_what_is_measured_are_not_kept_together(tmp_path):
    keep(tmp_path, *stretch("a", "", 0, 3, 1.0, 0.0))

    with pytest.raises(UsageError, match="made up"):
        keep(tmp_path, *stretch("a", "", 5, 3, 1.0, 0.0),
             how=HowKnown(Scope.NODE, Grade.D, Method.REPLAYED, "x", 0.1, synthetic=True))  # fmt: skip


def test_the_worst_of_what_is_known_stands_beside_every_answer(tmp_path):
    keep(tmp_path, *stretch("a", "", 0, 60, 100.0, 0.0))
    worse = HowKnown(Scope.NODE, Grade.C, Method.MODELLED, "a fitted curve", 0.5)
    keep(tmp_path, *stretch("b", "", 1_440, 60, 100.0, 0.0), how=worse)
    with opened(tmp_path) as fleet:
        first, both = fleet.hum_by_owner(window()).known, fleet.hum_by_owner(window(0, 2_880)).known

    assert (first.grade, first.doubt, first.sources) == (Grade.B, 0.1, ("a baseboard controller",))
    assert (both.grade, both.doubt, both.sources) == (Grade.C, 0.5, ("a baseboard controller", "a fitted curve"))
    assert not both.synthetic


def test_a_folder_without_samples_says_how_to_bring_some_in(tmp_path):
    with pytest.raises(UsageError, match="fleet import"):
        Fleet.open(tmp_path)


def test_without_duckdb_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "duckdb", None)

    with pytest.raises(MissingExtra, match=r"outweigh\[samples\]"):
        keep(tmp_path, *stretch("a", "", 0, 3, 1.0, 0.0))


def test_nothing_heavy_is_loaded_before_it_is_needed():
    said = subprocess.run(
        [sys.executable, "-c", "import sys, outweigh.ledger.fleet; print({'duckdb', 'numpy'} & set(sys.modules))"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert said.stdout.strip() == "set()"


def test_samples_lie_beside_the_ledger():
    assert fleet_folder(Path("p")) == Path("p/.outweigh/fleet")


def test_a_window_that_begins_within_a_minute_begins_with_the_next(tmp_path):
    keep(tmp_path, *stretch("a", "", 0, 60, 100.0, 0.0))
    with opened(tmp_path) as fleet:
        found = fleet.hum_by_owner(Interval(START + timedelta(seconds=1), START + timedelta(minutes=10, seconds=1)))

    assert found.known.coverage.read == 10  # minutes 1 to 10
    assert found.known.window == Interval(START + timedelta(minutes=1), START + timedelta(minutes=11))
