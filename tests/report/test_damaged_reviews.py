"""A review.json that was cut short or edited by hand is refused with the place, and never ends in a traceback."""

import contextlib
import copy
import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from outweigh.app.files import read_review, rewrite_report
from outweigh.core.errors import UsageError
from outweigh.report import review_document


def places(value, path=()):
    """Every place in a document, as a path of keys and indices; of a list the first two entries."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield (*path, key)
            yield from places(inner, (*path, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value[:2]):
            yield (*path, index)
            yield from places(inner, (*path, index))


@pytest.fixture
def document(make_facts):
    return json.loads(json.dumps(review_document(make_facts())))


def written(tmp_path, document):
    path = tmp_path / "review.json"
    path.write_text(json.dumps(document), encoding="utf-8")
    return path


def test_a_whole_review_is_read_as_it_was_written(tmp_path, document):
    assert read_review(written(tmp_path, document)) == document


def test_a_review_written_before_a_key_was_added_is_still_read(tmp_path, document):
    for one in document["variants"]:
        del one["frontier_probability"]

    assert rewrite_report(written(tmp_path, document), tmp_path / "out")


def test_a_review_without_a_key_that_a_report_shows_is_refused_with_its_place(tmp_path, document):
    del document["variants"][1]["quality"]["ceiling"]

    with pytest.raises(UsageError, match=r"variants\[1\]\.quality lacks ceiling"):
        read_review(written(tmp_path, document))


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("outcome", "maybe", "verdict.outcome is 'maybe', not one of pass, fail, inconclusive"),
        ("eta", "0.15", "verdict.eta is '0.15', not a number"),
        ("eta", float("inf"), "verdict.eta is inf, not a number"),
        ("parts", None, "verdict.parts is no list"),
    ],
)
def test_a_value_of_another_kind_is_refused_with_its_place(tmp_path, document, key, value, said):
    document["verdict"][key] = value

    with pytest.raises(UsageError) as refused:
        read_review(written(tmp_path, document))

    assert said in str(refused.value)


GONE = object()
WRONG = (GONE, None, "", "x", 0, -1, 1e308, 1e-300, True, [], {}, [None])


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.integers(0, 10_000), wrong=st.integers(0, len(WRONG) - 1))
def test_whatever_is_damaged_a_report_is_written_or_refused(tmp_path, document, place, wrong):
    document = copy.deepcopy(document)
    known = sorted(places(document), key=str)
    *outer, last = known[place % len(known)]
    inside = document
    for key in outer:
        inside = inside[key]
    if WRONG[wrong] is GONE:
        del inside[last]
    else:
        inside[last] = copy.deepcopy(WRONG[wrong])

    with contextlib.suppress(UsageError):
        rewrite_report(written(tmp_path, document), tmp_path / "out")
