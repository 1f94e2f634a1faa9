import pytest
from hypothesis import given
from hypothesis import strategies as st

from outweigh.core.errors import UsageError
from outweigh.shrink.search_split import split_items


@given(n=st.integers(16, 3000), seed=st.integers(0, 10_000), share=st.floats(0.3, 0.7))
def test_search_and_held_out_items_are_disjoint_and_cover_the_task(n, seed, share):
    try:
        split = split_items(n, seed, share)
    except UsageError:
        assert n * min(share, 1 - share) < 9
        return

    assert not set(split.search) & set(split.held_out)
    assert sorted((*split.search, *split.held_out)) == list(range(n))


@given(n=st.integers(16, 3000), seed=st.integers(0, 100))
def test_rungs_look_at_every_search_item_once_and_at_nothing_else(n, seed):
    split = split_items(n, seed)

    looked_at = [item for rung in split.rungs for part in rung for item in part]
    assert looked_at == list(split.search)
    assert all(len(part) >= 4 for rung in split.rungs for part in rung)


def test_the_split_is_pinned_by_the_seed():
    assert split_items(500, 3) == split_items(500, 3)
    assert split_items(500, 3) != split_items(500, 4)


def test_twelve_examples_are_too_few_and_it_says_how_many_are_needed():
    with pytest.raises(UsageError, match="12 evaluation items are too few") as told:
        split_items(12, 0)
    assert "at least 16" in told.value.remedy


@pytest.mark.parametrize("share", [0.0, 1.0, -0.2, 1.5])
def test_a_held_out_share_outside_zero_and_one_is_refused(share):
    with pytest.raises(UsageError):
        split_items(100, 0, share)
