"""How late things come, and the distance that is kept from a deadline for it."""

from datetime import UTC, datetime, timedelta

import pytest

from outweigh.run.deciding import Rules
from outweigh.run.lags import Lags

DAY = datetime(2026, 12, 1, tzinfo=UTC)


def at(seconds):
    return DAY + timedelta(seconds=seconds)


@pytest.fixture
def lags():
    return Lags()


def test_a_silence_is_remembered_though_many_looks_have_come_after_it(lags):
    lags.acted(at(0))
    lags.acted(at(400))  # nobody answered in between
    for second in range(405, 3600, 5):
        lags.acted(at(second))

    assert lags.longest_s(at(3600)) == 400.0


def test_a_silence_is_forgotten_after_a_day(lags):
    lags.acted(at(0))
    lags.acted(at(400))
    lags.acted(at(86_400 + 300))
    lags.acted(at(86_400 + 305))

    assert lags.longest_s(at(86_400 + 401)) == 86_400 + 300 - 400.0
    assert lags.longest_s(at(3 * 86_400)) == 2 * 86_400 - 305.0  # one that lasts counts as it grows


def test_a_start_after_its_time_counts_and_one_before_it_is_no_credit(lags):
    lags.started(due=at(0), at=at(30))
    lags.started(due=at(100), at=at(70))

    assert lags.longest_s(at(200)) == 30.0


def test_the_guard_grows_by_the_longest_lag_and_no_further_than_a_slip(lags):
    rules = Rules(guard_s=120, slip_s=900)
    lags.started(due=at(0), at=at(100))

    assert lags.guarded(rules, at(0)).guard_s == 220.0

    lags.started(due=at(0), at=at(5000))
    assert lags.guarded(rules, at(0)).guard_s == 1020.0


def test_a_begin_time_is_not_set_anew_for_every_second_of_a_lag(lags):
    rules = Rules(lead_s=120)
    leads = []
    for lag in (1, 2, 5, 20, 50, 70, 100, 130):
        lags.started(due=at(0), at=at(lag))
        leads.append(lags.guarded(rules, at(0)).lead_s)

    assert leads == [120, 120, 120, 120, 120, 240, 240, 240]
