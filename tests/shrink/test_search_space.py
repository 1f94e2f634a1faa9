import numpy as np
import pytest

from outweigh.core.errors import UnknownBackend
from outweigh.shrink.search_space import Space, name_of, space_of

SPACE = Space((("quantize", ("quantize:a", "quantize:b")), ("threads", ("threads:2",)), ("batch", ("batch:8",))))


def test_a_combination_has_at_most_one_lever_of_a_family():
    found = list(SPACE.combinations())

    assert len(found) == len(set(found)) == SPACE.size == 11
    assert all(len({lever.partition(":")[0] for lever in one}) == len(one) for one in found)
    assert [len(one) for one in found] == sorted(len(one) for one in found)


def test_choices_and_combinations_are_two_ways_to_write_one_thing():
    for combination in SPACE.combinations():
        assert SPACE.from_choices(SPACE.as_choices(combination)) == combination


def test_a_drawn_combination_is_one_of_the_space_and_reproduced_by_the_seed():
    drawn = [SPACE.drawn(np.random.default_rng(seed)) for seed in range(50)]

    assert set(drawn) <= set(SPACE.combinations())
    assert drawn == [SPACE.drawn(np.random.default_rng(seed)) for seed in range(50)]


def test_levers_are_applied_in_an_order_in_which_they_can_be():
    pytest.importorskip("onnxruntime")
    space = space_of(("threads:2", "batch:8", "quantize:int8-dynamic"))

    assert [family for family, _ in space.families] == ["quantize", "threads", "batch"]


def test_what_changes_the_device_is_not_searched_unless_asked_and_the_reason_is_given():
    space = space_of()

    assert not {lever.partition(":")[0] for lever in space.levers} & {"power-cap", "clock", "artefact"}
    assert all(left_out.reason for left_out in space.left_out)


def test_an_unknown_lever_is_refused_with_the_nearest_name():
    with pytest.raises(UnknownBackend, match="quantize:int8-dynamic"):
        space_of(("quantize:int8-dynamik",))


def test_a_combination_is_called_by_its_base_and_its_levers():
    assert name_of("l3", ("a", "b:2")) == "l3+a+b:2"
