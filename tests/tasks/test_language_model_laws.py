from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from outweigh.backends.tasks._prompts import read_passages
from outweigh.backends.tasks._steady import saturated
from outweigh.core.errors import TaskError


@given(text=st.text(max_size=400), chars=st.integers(20, 120))
def test_passages_are_of_about_one_length_and_hold_nothing_that_was_not_there(tmp_path_factory, text, chars):
    path = tmp_path_factory.mktemp("set") / "t.txt"
    path.write_text(text, encoding="utf-8", errors="surrogatepass", newline="")
    try:
        found = read_passages(path, "t", "text", chars)
    except TaskError:
        return

    # Reading text turns the ends of lines of other systems into ours.
    read = path.read_text(encoding="utf-8-sig")
    assert all(len(passage.text) <= chars and passage.text in read for passage in found)


@given(st.lists(st.tuples(st.floats(0, 50), st.floats(0.01, 20)), min_size=1, max_size=30), st.integers(1, 5))
def test_all_places_are_taken_all_through_the_saturated_stretch(queue, concurrency):
    # Requests of these lengths, each started as soon as a place is free.
    free, spans = [0.0] * concurrency, []
    for _, length in queue:
        place = free.index(min(free))
        spans.append((free[place], free[place] + length))
        free[place] += length

    found = saturated(spans, concurrency)

    if found is None:
        assert len(spans) <= concurrency
    else:
        middle = np.linspace(*found, 7)[1:-1]
        assert all(sum(a <= t <= b for a, b in spans) >= concurrency for t in middle)
        assert found[1] == pytest.approx(min(free))
