"""Laws of the archive, for any puts in any order, held against a reading of the rules slot by slot."""

from __future__ import annotations

import importlib.util
import itertools
import tempfile
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from outweigh.core.errors import FactorMissing
from outweigh.core.series import Gap
from outweigh.grid.archive import Archive, Asked

pytest.importorskip("duckdb")
spec = importlib.util.spec_from_file_location("archiving", Path(__file__).with_name("archiving.py"))
archiving = importlib.util.module_from_spec(spec)
spec.loader.exec_module(archiving)
DIRECT, after, hours = archiving.DIRECT, archiving.after, archiving.hours

HOURS = 6
few = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
values = st.one_of(st.floats(0, 999, allow_nan=False), st.sampled_from(list(Gap)))


@st.composite
def puts(draw: st.DrawFn) -> list[tuple[object, object]]:
    """(series, retrieved_at) of what was, what was expected and what stands in; no two are of one moment."""
    made = []
    for n in range(draw(st.integers(1, 5))):
        first = draw(st.integers(0, HOURS - 1))
        told = draw(st.lists(values, min_size=1, max_size=HOURS - first))
        retrieved = after(draw(st.integers(0, 20)) + n / 10)
        issued = retrieved - timedelta(hours=draw(st.integers(0, 9)))
        untold = draw(st.sampled_from([issued, None]))
        one = draw(st.sampled_from(["was", "ahead", "stands in"]))
        if one == "was":
            made.append((archiving.said(told, first, issued=untold), retrieved))
        elif one == "ahead":
            made.append((archiving.expected(told, issued, first), retrieved))
        else:
            made.append((archiving.standing_in(told, first, issued=untold), retrieved))
    return made


@contextmanager
def archive_of(made: list[tuple[object, object]]):
    with tempfile.TemporaryDirectory() as folder:
        archive = Archive(Path(folder))
        for series, retrieved in made:
            archive.put(series, retrieved_at=retrieved)
        yield archive


def answer(archive: Archive, at: object = None, **options: object):
    try:
        return archive.look("DE", DIRECT, hours(0, HOURS), at, **options)
    except FactorMissing:
        return None


def by_hand(made: list[tuple[object, object]], at: object, hour: int) -> float | Gap:
    """The rules, read for one hour: the newest word on what was; without a value, the newest forecast; without that,
    the newest that stands in; else a gap."""
    kinds = ("estimated", "forecast", "typical day")
    words: dict[str, list[tuple[object, object, float | Gap]]] = {kind: [] for kind in kinds}
    for series, retrieved in made:
        value = series.at(after(hour))
        inside = series.interval.contains(after(hour))
        if retrieved <= at and inside and value is not Gap.MISSING:
            # A forecast of gaps alone is no forecast: there is nothing in it that says so.
            kind = series.qualities[0].value if any(not isinstance(v, Gap) for v in series.values) else "estimated"
            words[kind].append((series.origin.issued_at or retrieved, retrieved, value))
    newest = [max(words[kind], key=lambda word: word[:2], default=(0, 0, None))[2] for kind in kinds]
    for word in newest:
        if word is not None and not isinstance(word, Gap):
            return word
    return next((word for word in newest if word is not None), Gap.MISSING)


@few
@given(puts(), st.integers(-1, 25))
def test_every_slot_is_what_the_rules_say_of_it(made, moment):
    with archive_of(made) as archive:
        look = answer(archive, after(moment))
        if look is not None:
            for hour in range(HOURS):
                assert look.series.at(after(hour)) == by_hand(made, after(moment), hour)


@few
@given(puts(), st.randoms(use_true_random=False))
def test_the_order_of_puts_does_not_matter(made, dice):
    shuffled = list(made)
    dice.shuffle(shuffled)
    with archive_of(made) as one, archive_of(shuffled) as other:
        for moment in (3, 12, 30):
            assert answer(one, after(moment)) == answer(other, after(moment))
        assert one.vintages("DE", DIRECT) == other.vintages("DE", DIRECT)


@few
@given(puts(), st.integers(-1, 25))
def test_as_of_never_sees_the_future_and_revisions_never_alter_older_answers(made, moment):
    before = [(series, retrieved) for series, retrieved in made if retrieved <= after(moment)]
    with archive_of(before) as then, archive_of(made) as now:
        assert answer(then, after(moment)) == answer(now, after(moment))
        seen = answer(now, after(moment))
        assert seen is None or all(put.retrieved_at <= after(moment) for put in seen.puts)


@few
@given(puts(), st.integers(0, 25), st.sampled_from(list(Asked)))
def test_what_was_seen_replays_bit_for_bit_whatever_comes_later(made, moment, asked):
    with archive_of([one for one in made if one[1] <= after(moment)]) as archive:
        if asked is Asked.FORECAST:
            try:
                look = archive.look_ahead("DE", DIRECT, hours(0, HOURS), after(moment))
            except FactorMissing:
                look = None
        else:
            look = answer(archive, after(moment), forecasts=asked is Asked.KNOWN)
        for series, retrieved in made:
            archive.put(series, retrieved_at=retrieved)
        archive.put(archiving.said([1.0] * HOURS), retrieved_at=after(99))
        archive.compact()
        if look is not None:
            ids = [put.id for put in look.puts]
            again = archive.replay("DE", DIRECT, hours(0, HOURS), ids, asked=asked)
            assert again == look.series
            assert repr(again) == repr(look.series)


@few
@given(puts())
def test_merging_files_changes_nothing(made):
    with archive_of(made) as archive:
        before = [answer(archive, after(moment)) for moment in range(0, 25, 3)]
        archive.compact()
        assert [answer(archive, after(moment)) for moment in range(0, 25, 3)] == before


@few
@given(st.lists(st.tuples(st.integers(0, 5), st.integers(1, 6), st.sampled_from([900.0, 1800.0, 3600.0])), min_size=2))
def test_slots_of_any_length_lie_over_one_another_and_nothing_is_counted_twice(spans):
    made = [
        (replace(archiving.said([float(n)] * length, first, step_s=step_s)), after(20 + n))
        for n, (first, length, step_s) in enumerate(spans[:5])
    ]
    with archive_of(made) as archive:
        series = archive.known("DE", DIRECT, hours(0, 12))
        for quarter in range(4 * 12):
            moment = after(quarter / 4)
            said = [one.at(moment) for one, _ in made if one.interval.contains(moment)]
            assert series.at(moment) == (said[-1] if said else Gap.MISSING)
        assert all(before < later for before, later in itertools.pairwise(series.edges_s))
