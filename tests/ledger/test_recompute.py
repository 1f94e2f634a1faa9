from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outweigh.core import (
    CarbonBasis,
    CarbonIntensity,
    CarbonScope,
    Factor,
    Grade,
    LocationCarbon,
    MarginalCarbon,
    Money,
    Price,
    RunStatus,
    Scope,
)
from outweigh.core.errors import InvalidQuantity, UsageError
from outweigh.ledger import carbon_of, money_of, recompute, views
from outweigh.ports import ReceiptFilter, ViewKind

J_PER_KWH = 3_600_000.0
EVERY = ReceiptFilter()


def factor(value=230.0, unit="g/kWh", grade=Grade.C, issued="2025"):
    return Factor("intensity", value, unit, "made up", issued, "2026-11-01", "none", grade)


def test_a_view_is_energy_times_the_rate_with_the_factor_beside_it(store, made_receipt):
    address = store.append(made_receipt(1, joules=2 * J_PER_KWH))

    (carbon,) = recompute(store, EVERY, (CarbonIntensity(230.0), factor()))
    (cost,) = recompute(store, EVERY, (Price(0.25, "EUR"), factor(0.25, "EUR/kWh")))

    assert carbon_of(carbon) == LocationCarbon(460.0)
    assert money_of(cost) == Money(0.5, "EUR")
    assert carbon.receipt == address
    assert carbon.factors == (factor(),)
    assert dict(carbon.value)["grade"] == "C"  # the receipt's B and the factor's C
    assert dict(carbon.value)["carbon_standard_of_energy_g"] == pytest.approx(0.5 / J_PER_KWH * 230)


def test_new_factors_add_a_version_and_the_old_one_and_the_receipt_stay(store, made_receipt):
    address = store.append(made_receipt(1, joules=J_PER_KWH))
    body = store.get(address).to_dict()

    (old,) = recompute(store, EVERY, (CarbonIntensity(230.0), factor(issued="2024")))
    (new,) = recompute(store, EVERY, (CarbonIntensity(200.0), factor(200.0, issued="2025")))

    assert views(store, address[:10]) == (old, new)
    assert [carbon_of(view).grams for view in (old, new)] == [230.0, 200.0]
    assert store.get(address).to_dict() == body
    assert store.verify() == 1


def test_the_same_factors_twice_add_nothing_and_give_what_is_kept(store, made_receipt):
    for index in range(3):
        store.append(made_receipt(index))
    first = recompute(store, EVERY, (CarbonIntensity(230.0), factor()), now=datetime(2026, 1, 1, tzinfo=UTC))

    again = recompute(store, EVERY, (CarbonIntensity(230.0), factor()), now=datetime(2027, 1, 1, tzinfo=UTC))

    assert again == first
    assert len(first) == len(list(store.views())) == 3


def test_the_same_number_from_another_vintage_is_another_version(store, made_receipt):
    address = store.append(made_receipt(1))
    for issued in ("2024", "2025"):
        recompute(store, EVERY, (CarbonIntensity(230.0), factor(issued=issued)))

    assert len({view.factor_set for view in views(store, address)}) == 2


def test_kinds_of_carbon_are_kept_apart_and_never_add(store, made_receipt):
    address = store.append(made_receipt(1, joules=J_PER_KWH))
    for basis in CarbonBasis:
        for scope in CarbonScope:
            recompute(store, EVERY, (CarbonIntensity(100.0, basis, scope), factor(100.0)))

    found = [carbon_of(view) for view in views(store, address)]

    assert len({(carbon.basis, carbon.scope) for carbon in found}) == len(found) == 6
    with pytest.raises(TypeError, match="do not mix"):
        sum(found[1:], start=found[0])
    assert MarginalCarbon(100.0, CarbonScope.DIRECT) in found


def test_carbon_is_not_money(store, made_receipt):
    store.append(made_receipt(1))
    (carbon,) = recompute(store, EVERY, (CarbonIntensity(230.0), factor()))

    assert carbon.kind is ViewKind.CARBON
    with pytest.raises(TypeError, match="not a cost view"):
        money_of(carbon)


def test_a_pue_makes_it_energy_of_the_facility_once(store, made_receipt):
    store.append(made_receipt(1, joules=J_PER_KWH))
    store.append(made_receipt(2, joules=J_PER_KWH, scope=Scope.FACILITY))
    pue = Factor("PUE", 1.5, "1", "made up", "2025", "2026", "none", Grade.D)

    inside, around = recompute(store, EVERY, (CarbonIntensity(100.0), factor(100.0)), pue=(1.5, pue))

    assert (carbon_of(inside).grams, carbon_of(around).grams) == (150.0, 100.0)
    assert inside.factors == (factor(100.0), pue)
    assert dict(inside.value)["grade"] == "D"
    assert around.factors == (factor(100.0),)


@pytest.mark.parametrize("pue", [0.9, 0.0, -1.0, float("nan")])
def test_a_pue_below_one_is_refused(store, pue):
    with pytest.raises(InvalidQuantity):
        recompute(store, EVERY, (CarbonIntensity(100.0), factor()), pue=(pue, factor()))


def test_an_unusable_figure_has_no_carbon(store, made_receipt):
    store.append(made_receipt(1, status=RunStatus.UNUSABLE))
    store.append(made_receipt(2, status=RunStatus.FAILED))

    assert len(recompute(store, EVERY, (CarbonIntensity(230.0), factor()))) == 1


def test_only_the_receipts_asked_for_are_viewed(store, made_receipt):
    store.append(made_receipt(1, batch="a"))
    store.append(made_receipt(2, batch="b"))

    (view,) = recompute(store, ReceiptFilter(batch="b"), (Price(0.1, "EUR"), factor()))

    assert view.receipt == made_receipt(2, batch="b").content_hash


def test_more_receipts_than_a_batch_are_all_viewed_in_order(store, made_receipt):
    addresses = [store.append(made_receipt(index)) for index in range(501)]

    taken = recompute(store, EVERY, (CarbonIntensity(230.0), factor()))

    assert [view.receipt for view in taken] == addresses
    assert len(list(store.views())) == 501


def test_views_of_no_receipt_are_refused(store):
    with pytest.raises(UsageError, match="no receipt"):
        views(store, "f" * 64)


def test_a_store_without_views_says_so():
    class Bare:
        name = "bare"

    with pytest.raises(UsageError, match="keeps no views"):
        recompute(Bare(), EVERY, (CarbonIntensity(1.0), factor()))


@given(joules=st.floats(0, 1e12), intensity=st.floats(0, 2000), pue=st.floats(1, 3))
def test_a_view_is_linear_in_energy_rate_and_pue(made_receipt_of, joules, intensity, pue):
    from outweigh.ledger.recomputing import _view

    receipt = made_receipt_of(1, joules=joules)
    view = _view("a" * 64, receipt, (CarbonIntensity(intensity), factor()), (pue, factor(pue, "1")), "")

    assert carbon_of(view).grams == pytest.approx(joules / J_PER_KWH * intensity * pue, rel=1e-12)


@pytest.fixture(scope="session")
def made_receipt_of(made):
    return made.made_receipt
