"""What is left to run of a job, by what was seen of it."""

import pytest

from outweigh.core.jobs import JobState, JobStatus, Stint
from outweigh.run.terms import Piece, Terms
from outweigh.run.tracked import Tracked

HOUR_S = 3600.0


@pytest.fixture
def left_h(day):
    """Hours left at `now`, of four, after stints of so many hours from and to."""

    def left(state, *stints, now, preemptible=False):
        terms = Terms(day.job(work_h=4.0, preemptible=preemptible), ("true",), None, 1, 0, 1)
        pieces = (Piece("fr", day.at(0), day.at(4), 1e4),)
        seen = JobStatus(
            "key", "7", state,
            stints=tuple(Stint("fr", day.at(a), None if b is None else day.at(b), ("n",)) for a, b in stints),
        )  # fmt: skip
        return Tracked("key", terms, 0, 0, pieces, pieces, seen=seen).left_s(day.at(now)) / HOUR_S

    return left


@pytest.mark.parametrize("preemptible", [False, True])
def test_what_its_scheduler_put_back_has_its_whole_work_before_it(left_h, preemptible):
    assert left_h(JobState.WAITING, (0, 1), now=1.5, preemptible=preemptible) == 4.0


def test_what_cannot_save_begins_anew_with_its_second_start(left_h):
    assert left_h(JobState.RUNNING, (0, 1), (2, None), now=2.5) == 3.5


def test_what_has_saved_goes_on_where_it_was(left_h):
    assert left_h(JobState.PAUSED, (0, 1), now=2, preemptible=True) == 3.0
    assert left_h(JobState.RUNNING, (0, 1), (2, None), now=2.5, preemptible=True) == 2.5
