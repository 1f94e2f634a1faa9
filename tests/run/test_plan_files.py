"""Plan files that cannot be carried out are refused before anything is begun, with the place in the file."""

import copy

import pytest

from outweigh.app.supervising import Options, run_plan
from outweigh.core.errors import UsageError
from outweigh.run.terms import read_plan


@pytest.fixture(scope="module")
def plan(day):
    return day.planned([day.job("a"), day.job("b", preemptible=True)])


def set_at(document, place, value):
    """`place` is keys and positions; a value of None takes the key away."""
    changed = copy.deepcopy(document)
    *path, last = place
    body = changed
    for step in path:
        body = body[step]
    if value is None:
        del body[last]
    else:
        body[last] = value
    return changed


@pytest.mark.parametrize(
    ("place", "value", "said"),
    [
        (("currency",), None, "currency is missing"),
        (("carbon_meaning",), None, "carbon_meaning is missing"),
        (("carbon_price_per_tonne",), "much", "carbon_price_per_tonne is 'much', and not a number"),
        (("created",), None, "created is missing"),
        (("horizon",), None, "horizon is missing"),
        (("horizon", "end"), "soon", "horizon.end is 'soon', and not a time with its zone"),
        (("horizon", "start"), "2026-12-01T00:00", "horizon.start is '2026-12-01T00:00', and not a time with its zone"),
        (("sites",), [], "sites is [], and not a list with something in it"),
        (("sites", 1, "pue"), None, "sites[1].pue is missing"),
        (("sites", 1, "name"), "fr", "sites[1].name is 'fr', as another one's"),
        (("sites", 0, "intensity_g_per_kwh"), None, "sites[0].intensity_g_per_kwh is missing"),
        (("sites", 0, "price_per_kwh"), [0.1], "sites[0].price_per_kwh has 1 values, and the horizon has 24 steps"),
        (("sites", 0, "capacity_kw"), ["big"], "sites[0].capacity_kw is not a list of numbers"),
        (("jobs", 0), 3, "jobs[0] is not a table"),
        (("jobs", 1, "levels", 0, "power_w"), -5, "jobs[1].levels[0].power_w is -5, and not a number above 0"),
        (("jobs", 1, "pieces", 0, "site"), "mars", "jobs[1].pieces[0].site is 'mars', which is no site of the plan"),
        (("jobs", 0, "allowed_sites"), ["mars"], "jobs[0].allowed_sites has 'mars', which is no site of the plan"),
        (("jobs", 0, "command"), "true", "jobs[0].command is 'true', and not a list of texts"),
        (("jobs", 0, "deadline"), None, "jobs[0].deadline is missing"),
    ],
)
def test_what_a_plan_lacks_is_named_with_its_place(plan, place, value, said, tmp_path):
    ledger = tmp_path / "ledger.sqlite"

    with pytest.raises(UsageError) as refused:
        run_plan(set_at(plan, place, value), "plan.json", Options(on="simulated:fr,se", ledger=ledger))

    assert f"plan.json cannot be carried out: {said}" in str(refused.value)
    assert not ledger.exists()


def test_a_plan_that_was_written_here_lacks_nothing(plan):
    assert len(read_plan(plan, "plan.json").pieces) == 2


def test_a_capacity_without_end_and_rates_that_are_not_known_are_no_fault(plan):
    document = set_at(plan, ("sites", 0, "capacity_kw"), [])
    document["sites"][1]["intensity_g_per_kwh"][3] = None
    document["sites"][1]["price_per_kwh"][3] = None

    assert len(read_plan(document, "plan.json").pieces) == 2
