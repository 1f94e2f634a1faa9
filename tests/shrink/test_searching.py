"""The loop of a search, on looks with made-up outcomes: which are asked for, what is concluded, what a stop loses."""

import math
from contextlib import closing

import pytest

from outweigh.core.errors import UsageError
from outweigh.core.project import Guard
from outweigh.gate.holm import holm
from outweigh.shrink.search_judging import Bar
from outweigh.shrink.search_kept import HELD_OUT, Kept
from outweigh.shrink.search_proposing import Proposer
from outweigh.shrink.search_space import Space
from outweigh.shrink.search_split import split_items
from outweigh.shrink.searching import Limits, Search, known_to, short_of

from .conftest import MadeUpSweep

pytest.importorskip("optuna")

SPACE = Space(
    (
        ("prune", ("prune:structured:0.5",)),
        ("quantize", ("quantize:int8", "quantize:int4")),
        ("threads", ("threads:2",)),
        ("batch", ("batch:8", "batch:32")),
    )
)
TABLE = {
    "prune:structured:0.5": (0.6, -0.002),
    "quantize:int8": (0.5, -0.003),
    "quantize:int4": (0.4, -0.3),
    "threads:2": (1.1, 0.0),
    "batch:8": (0.9, 0.0),
    "batch:32": None,
}
BEST = ("prune:structured:0.5", "quantize:int8", "batch:8")
BAR = Bar("accuracy", margin=0.02)


def searched(path, sweep, *, trials=12, bar=BAR, limits=None, n_items=1200, space=SPACE):
    with closing(Kept(path)) as kept, closing(Proposer(path, space, 0, known_to(kept))) as proposer:
        split = split_items(n_items, 0)
        search = Search("base", split, bar, limits or Limits(trials), kept, proposer, sweep, holm)
        return search.run()


def trials_of(found):
    return sorted([seen.combination for seen in found.seen] + [failure.combination for failure in found.failures])


def test_the_cheapest_combination_that_keeps_the_quality_is_chosen_and_shown_on_held_out_items(tmp_path):
    found = searched(tmp_path / "s.sqlite", MadeUpSweep(TABLE), trials=SPACE.size)

    assert found.chosen.combination == BEST
    assert found.chosen.energy_ratio.value == pytest.approx(0.6 * 0.5 * 0.9, rel=0.03)
    assert found.chosen.energy_ratio.bounds.high < 1
    assert found.chosen.seen.own.items.size == 600
    assert found.stopped in ("trials", "nothing left to try")


def test_only_the_verdict_sees_held_out_items_and_it_sees_nothing_else(tmp_path):
    sweep = MadeUpSweep(TABLE)
    searched(tmp_path / "s.sqlite", sweep)
    held_out = set(split_items(1200, 0).held_out)

    for order in sweep.looks:
        assert set(order.items) <= held_out if order.rung == HELD_OUT else not set(order.items) & held_out
    assert {order.rung for order in sweep.looks} == {0, 1, 2, HELD_OUT}


def test_few_combinations_are_looked_at_again_and_on_more_items_each_time(tmp_path):
    sweep = MadeUpSweep(TABLE)
    searched(tmp_path / "s.sqlite", sweep, trials=12)

    looked_at = {
        rung: {one for order in sweep.looks if order.rung == rung for one in order.combinations} for rung in (0, 1, 2)
    }
    items = {rung: len({i for o in sweep.looks if o.rung == rung for i in o.items}) for rung in (0, 1, 2)}
    assert len(looked_at[0]) > len(looked_at[1]) >= len(looked_at[2])
    assert looked_at[2] <= looked_at[1] <= looked_at[0]
    assert items[0] < items[1] < items[2]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """A search that nothing stopped: what it found, and the looks it asked for."""
    sweep = MadeUpSweep(TABLE)
    return searched(tmp_path_factory.mktemp("whole") / "s.sqlite", sweep), sweep.looks


@pytest.mark.parametrize("stop_after", [0, 1, 3, 5, 9, 13, 15, 18, 21])
def test_a_search_that_was_stopped_goes_on_as_if_it_had_not_been_and_asks_for_nothing_twice(
    tmp_path, undisturbed, stop_after
):
    expected, whole = undisturbed
    first, second = MadeUpSweep(TABLE, stop_after=stop_after), MadeUpSweep(TABLE)

    with pytest.raises(KeyboardInterrupt):
        searched(tmp_path / "s.sqlite", first)
    found = searched(tmp_path / "s.sqlite", second)

    assert first.looks + second.looks == whole
    assert trials_of(found) == trials_of(expected)
    assert found.chosen.combination == expected.chosen.combination
    assert found.chosen.quality == expected.chosen.quality


def test_workers_that_end_in_another_order_look_at_the_same_trials_and_find_the_same(tmp_path, undisturbed):
    one, _ = undisturbed
    many = searched(tmp_path / "many.sqlite", MadeUpSweep(TABLE, backwards=True))

    assert trials_of(many) == trials_of(one)
    assert [j.combination for j in many.judged] == [j.combination for j in one.judged]
    assert [j.quality for j in many.judged] == [j.quality for j in one.judged]


def test_a_finished_search_is_read_and_not_measured_again(tmp_path):
    first, second = MadeUpSweep(TABLE), MadeUpSweep(TABLE)
    before = searched(tmp_path / "s.sqlite", first)
    after = searched(tmp_path / "s.sqlite", second)

    assert second.looks == []
    assert after.chosen.combination == before.chosen.combination


def test_more_trials_go_on_from_those_there_are(tmp_path):
    first, second = MadeUpSweep(TABLE), MadeUpSweep(TABLE)
    searched(tmp_path / "s.sqlite", first, trials=6)
    found = searched(tmp_path / "s.sqlite", second, trials=12)

    assert len(trials_of(found)) == 12
    assert not {(o.combinations, o.rung, o.part) for o in first.looks} & {
        (o.combinations, o.rung, o.part) for o in second.looks
    }


def test_a_lever_that_does_not_apply_is_said_once_and_what_begins_with_it_is_not_tried(tmp_path):
    table = TABLE | {"prune:structured:0.5": None}
    found = searched(tmp_path / "s.sqlite", MadeUpSweep(table), trials=SPACE.size)

    assert [f.reason for f in found.failures if f.dead == ("prune:structured:0.5",)] == [
        "prune:structured:0.5 does not apply"
    ]
    assert all(seen.combination[0] != "prune:structured:0.5" for seen in found.seen)
    assert found.chosen.combination == ("quantize:int8", "batch:8")


def test_a_model_that_fails_when_it_is_looked_at_again_is_left_out_and_the_others_go_on(tmp_path):
    class Brittle(MadeUpSweep):
        def look(self, order):
            if order.rung >= 1 and BEST in order.combinations:
                from outweigh.shrink.search_bench import Done
                from outweigh.shrink.search_kept import Failure

                return Done(order, failure=Failure(BEST, "NaN", BEST))
            return super().look(order)

    found = searched(tmp_path / "s.sqlite", Brittle(TABLE), trials=SPACE.size)

    assert "NaN" in [failure.reason for failure in found.failures]
    assert found.chosen is not None
    assert found.chosen.combination != BEST


def test_a_bar_that_nothing_reaches_is_said_and_no_held_out_item_is_spent_on_it(tmp_path):
    sweep = MadeUpSweep(TABLE)
    bar = Bar("accuracy", margin=0.0, at_least=0.999)
    found = searched(tmp_path / "s.sqlite", sweep, bar=bar)

    assert found.chosen is None
    assert found.judged == ()
    assert "nothing reaches the bar (accuracy of at least 0.999)" in short_of(found, bar)
    assert HELD_OUT not in {order.rung for order in sweep.looks}


def test_where_no_lever_saves_nothing_is_chosen(tmp_path):
    table = dict.fromkeys(TABLE, (1.2, 0.0))
    found = searched(tmp_path / "s.sqlite", MadeUpSweep(table))

    assert found.chosen is None
    assert "saves energy" in short_of(found, BAR)


def test_few_held_out_items_leave_it_open_and_it_says_how_many_would_settle_it(tmp_path):
    bar = Bar("accuracy", margin=0.01)
    found = searched(tmp_path / "s.sqlite", MadeUpSweep(TABLE), bar=bar, n_items=60)

    assert found.chosen is None
    assert found.judged[0].weakest == "accuracy"
    assert found.judged[0].items_needed > 30


def test_a_latency_guard_keeps_out_what_is_too_slow(tmp_path):
    class Slow(MadeUpSweep):
        def look(self, order):
            done = super().look(order)
            for combination, own in done.own.items():
                if "batch:8" in combination:
                    own.latency_ms[:] *= 8
            return done

    bar = Bar("accuracy", margin=0.02, guards=(Guard("p95_latency_ms", 1.0, relative=True),))
    found = searched(tmp_path / "s.sqlite", Slow(TABLE), bar=bar, trials=SPACE.size)

    assert found.chosen.combination == ("prune:structured:0.5", "quantize:int8")


def test_seconds_and_joules_stop_the_trying_but_not_the_verdict(tmp_path):
    found = searched(tmp_path / "s.sqlite", MadeUpSweep(TABLE), limits=Limits(50, seconds=1e-6))

    assert found.stopped == "budget"
    assert len(trials_of(found)) == 4
    assert found.judged


def test_two_searches_of_one_question_do_not_run_at_once(tmp_path):
    with closing(Kept(tmp_path / "s.sqlite")), pytest.raises(UsageError, match="another process"):
        Kept(tmp_path / "s.sqlite")


def test_what_making_took_is_the_sum_over_its_levers(tmp_path):
    found = searched(tmp_path / "s.sqlite", MadeUpSweep(TABLE), trials=SPACE.size)

    assert found.making_j[BEST] == pytest.approx(15.0)
    assert all(math.isfinite(joules) for joules in found.making_j.values())
