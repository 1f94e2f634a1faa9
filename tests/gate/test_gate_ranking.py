"""Ranking by value: what is gained for sure over what it may cost."""

import math

import pytest

from outweigh.core.project import Value
from outweigh.core.quantities import Money, Price
from outweigh.gate import Contenders, ValueTerms, ranking


def contenders(bench, **others):
    made = []
    for name, (cells, energy_j) in others.items():
        _, right = bench.cells(*cells)
        made.append(bench.evidence(name, right, energy_j))
    incumbent = bench.evidence("base", bench.cells(*next(iter(others.values()))[0])[0], 10.0)
    return Contenders(incumbent=incumbent, proposal=made[0], alternatives=tuple(made[1:]), anchor=None)


@pytest.fixture
def priced(bench):
    def make(amount="0.90"):
        value = Value("avoided error", Money(float(amount), "EUR"), "product", "a test")
        prices = ValueTerms(electricity=Price.per_kwh(0.20, "EUR"), hardware_per_hour=Money(0.05, "EUR"))
        return bench.terms(value=value, prices=prices)

    return make


def test_without_declared_money_nothing_is_ranked(bench):
    assert ranking(contenders(bench, more=((800, 60, 10, 130), 20.0)), bench.terms()) == ()


def test_a_gain_worth_more_than_it_costs_ranks_above_one_worth_less(bench, priced):
    one = (800, 60, 10, 130)
    found = ranking(contenders(bench, dear=(one, 4e6), cheap=(one, 2e6)), priced())
    assert [ranked.name for ranked in found] == ["cheap", "dear"]
    for ranked in found:
        assert ranked.ratio == pytest.approx(ranked.worth.benefit_low / ranked.worth.cost_high)


def test_what_is_cheaper_and_cannot_be_worse_has_nothing_to_lose_and_comes_first(bench, priced):
    found = ranking(contenders(bench, dear=((800, 60, 10, 130), 4e6), better=((800, 60, 10, 130), 1.0)), priced())
    assert found[0].name == "better"
    assert math.isinf(found[0].ratio)
