import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outweigh.compare.frontier import NotRankable, Point, dominated_by, frontier
from outweigh.core.measurement import Grade, Method


def point(name, quality, energy_j, grade=Grade.B, method=Method.COUNTER):
    return Point(name, quality, energy_j, grade, method)


figures = st.sampled_from([0.5, 1.0, 2.0, 3.0])
clouds = st.lists(st.tuples(figures, figures, st.sampled_from(Grade)), min_size=1, max_size=8).map(
    lambda rows: [point(f"v{i}", q, e, g) for i, (q, e, g) in enumerate(rows)]
)


@given(clouds, figures, figures, st.sampled_from(Grade))
def test_adding_a_dominated_variant_never_changes_the_frontier(cloud, quality, energy_j, grade):
    added = point("added", quality, energy_j, grade)
    together = [*cloud, added]
    if any(found.name == "added" for found in dominated_by(together)):
        assert frontier(together) == frontier(cloud)


@given(clouds)
def test_the_frontier_is_never_empty_and_nothing_on_it_is_dominated(cloud):
    beaten = {found.name for found in dominated_by(cloud)}
    names = {kept.name for kept in frontier(cloud)}

    assert names
    assert names | beaten == {p.name for p in cloud}
    assert not names & beaten


@given(clouds)
def test_whatever_dominates_is_itself_on_the_frontier_or_dominated_by_one_that_is(cloud):
    names = {kept.name for kept in frontier(cloud)}
    assert all(found.by in names for found in dominated_by(cloud))


def test_the_reason_names_the_cheapest_that_dominates_with_both_figures():
    cloud = [point("int8", 0.95, 9.5), point("fp32", 0.95, 17.6), point("weight-only", 0.94, 38.0)]

    worst = dominated_by(cloud)[-1]

    assert (worst.name, worst.by) == ("weight-only", "int8")
    assert worst.reason == (
        "int8 takes 75 % less energy per unit (9.5 against 38 J) at higher quality (0.95 against 0.94)"
    )


def test_a_better_variant_at_the_same_energy_dominates_and_says_so():
    assert "the same energy per unit (2 J) at higher quality" in (
        dominated_by([point("a", 0.9, 2.0), point("b", 0.8, 2.0)])[0].reason
    )


def test_twins_share_the_frontier():
    assert len(frontier([point("a", 0.9, 2.0), point("b", 0.9, 2.0)])) == 2


def test_the_frontier_is_given_cheapest_first():
    assert [p.name for p in frontier([point("b", 0.95, 3.0), point("a", 0.9, 1.0)])] == ["a", "b"]


def test_grade_d_never_outranks_a_better_grade():
    nameplate = point("nameplate", 0.99, 0.1, Grade.D, Method.MODELLED)
    fitted = point("fitted", 0.9, 5.0, Grade.C, Method.MODELLED)

    assert set(frontier([nameplate, fitted])) == {nameplate, fitted}
    assert dominated_by([nameplate, point("other", 0.9, 5.0, Grade.D, Method.MODELLED)])[0].by == "nameplate"


@pytest.mark.parametrize("other", [Method.MODELLED, Method.DECLARED, Method.REPLAYED])
def test_measured_and_other_energy_are_refused_in_one_ranking(other):
    with pytest.raises(NotRankable, match="counted and other cannot be ranked together") as caught:
        frontier([point("counted", 0.9, 1.0), point("other", 0.9, 2.0, Grade.D, other)])
    assert caught.value.remedy
    assert caught.value.exit_code == 3
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


def test_counters_and_integrated_power_are_both_measured():
    assert len(frontier([point("a", 0.9, 1.0), point("b", 0.95, 2.0, Grade.A, Method.INTEGRATED)])) == 2
