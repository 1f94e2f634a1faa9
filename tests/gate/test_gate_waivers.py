"""Waivers: who may go ahead against a verdict, for how long, and on whose word."""

from datetime import UTC, datetime, timedelta

import pytest

from outweigh.core.budget import Budget, Phase
from outweigh.core.errors import InvalidQuantity
from outweigh.core.quantities import Energy
from outweigh.core.verdict import Outcome
from outweigh.core.waiver import Waiver
from outweigh.gate import BudgetLine, Contenders, under_waivers, verdict_id, weigh

NOW = datetime(2026, 11, 23, tzinfo=UTC)
CONTENT = "0123456789abcdef" * 4


def waiver(**fields):
    given = {
        "proposal": "bigger",
        "content": CONTENT[:12],
        "verdict": "f" * 12,
        "owner": "ada",
        "reason": "launch week",
        "expires": NOW + timedelta(days=1),
    }
    return Waiver(**(given | fields))


@pytest.fixture
def failed(bench):
    """A verdict refuted by a budget line alone."""
    base, bigger = bench.cells(8_000, 1_500, 100, 400)
    contenders = Contenders(bench.evidence("base", base), bench.evidence("bigger", bigger, 11.0))
    line = BudgetLine(Budget("serve", Phase.INFERENCE, per_unit=Energy(5.0)))
    verdict = weigh(contenders, bench.terms(budgets=[line]), seed=1)
    assert verdict.outcome is Outcome.FAIL
    return verdict


def test_a_waiver_lets_the_proposal_go_ahead_and_the_verdict_still_says_fail(failed):
    under = under_waivers(failed, CONTENT, [waiver()], NOW)

    assert under.waived
    assert under.exit_code == 0
    assert under.verdict.outcome is Outcome.FAIL


def test_an_expired_waiver_stops_counting_on_its_day_and_is_still_shown(failed):
    under = under_waivers(failed, CONTENT, [waiver(expires=NOW)], NOW)

    assert not under.waived
    assert under.exit_code == 1
    assert len(under.expired) == 1


def test_a_waiver_of_another_content_is_a_waiver_of_another_proposal(failed):
    assert not under_waivers(failed, "f" * 64, [waiver()], NOW).waived
    assert not under_waivers(failed, "", [waiver()], NOW).waived


def test_a_waiver_of_one_part_leaves_the_others_open(failed):
    covers = under_waivers(failed, CONTENT, [waiver(parts=("caps: serve",))], NOW)
    misses = under_waivers(failed, CONTENT, [waiver(parts=("proportion",))], NOW)

    assert covers.waived
    assert misses.open_parts == ("caps: serve",)
    assert misses.exit_code == 1


def test_every_waiver_that_is_declared_is_accounted_for_once(failed):
    declared = [waiver(), waiver(expires=NOW), waiver(proposal="another"), waiver(content="f" * 12)]

    under = under_waivers(failed, CONTENT, declared, NOW)

    assert (*under.applied, *under.expired, *under.others) == tuple(declared)
    assert len(under.others) == 2


@pytest.mark.parametrize("missing", ["owner", "reason", "proposal"])
def test_a_waiver_without_owner_reason_or_proposal_is_refused(missing):
    with pytest.raises(InvalidQuantity, match=missing):
        waiver(**{missing: " "})


def test_a_waiver_that_links_no_verdict_is_refused():
    with pytest.raises(InvalidQuantity, match="verdict"):
        waiver(verdict="")


def test_the_id_of_a_verdict_changes_with_what_was_weighed(failed):
    assert verdict_id(failed, CONTENT) == verdict_id(failed, CONTENT)
    assert verdict_id(failed, CONTENT) != verdict_id(failed, "f" * 64)
