"""Numbers for people: whatever a float holds can be written, and says how large it is."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outweigh.core.rounding import fixed, plus_minus, significant

ANY = st.floats(allow_nan=True, allow_infinity=True)


@given(value=ANY, decimals=st.integers(-320, 330))
def test_every_float_can_be_written_with_any_number_of_places(value, decimals):
    text = fixed(value, decimals)

    assert text
    assert len(text) <= 40


@given(value=st.floats(-1e308, 1e308))
def test_three_digits_of_a_figure_read_back_to_within_half_of_the_third(value):
    text = significant(value).replace(",", "").replace("\N{MINUS SIGN}", "-").replace(" × 10^", "e")

    assert float(text) == pytest.approx(value, rel=5.1e-3, abs=5e-324)


@given(value=ANY, low=ANY, high=ANY)
def test_an_interval_can_be_written_whatever_its_ends(value, low, high):
    assert plus_minus(value, low, high)


def test_what_is_not_known_is_not_called_zero():
    assert fixed(math.nan, 3) == significant(math.nan) == "not known"
