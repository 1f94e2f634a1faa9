import pytest
from hypothesis import given
from hypothesis import strategies as st

from outweigh.gate.holm import holm


# Wikipedia, "Holm–Bonferroni method", example: four hypotheses at 0.05, H1 and H4 are rejected, H2 and H3 are not.
def test_holm_rejects_the_first_and_fourth_of_the_textbook_example():
    p_values = (0.01, 0.04, 0.03, 0.005)

    rejected = [adjusted <= 0.05 for adjusted in holm(p_values)]

    assert rejected == [True, False, False, True]


def test_one_test_needs_no_correction():
    assert holm([0.04]) == (0.04,)


def test_no_test_gives_no_p_value():
    assert holm([]) == ()


@given(p_values=st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_lies_between_no_correction_and_bonferroni(p_values):
    for raw, adjusted in zip(p_values, holm(p_values), strict=True):
        assert raw <= adjusted <= 1
    smallest = min(p_values)
    assert min(holm(p_values)) == pytest.approx(min(1.0, len(p_values) * smallest))


@given(p_values=st.lists(st.floats(0, 1), min_size=2, max_size=12), data=st.data())
def test_holm_does_not_depend_on_the_order_of_the_tests(p_values, data):
    order = data.draw(st.permutations(range(len(p_values))))

    shuffled = holm([p_values[i] for i in order])

    assert shuffled == pytest.approx([holm(p_values)[i] for i in order])
