"""What every store promises. A new store joins by one entry in OPENERS."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

from outweigh import registry
from outweigh.core.errors import LedgerError, UsageError
from outweigh.core.intervals import Interval
from outweigh.ports import KeepsViews, ReceiptFilter, Store, View, ViewKind

# name -> where a new, empty ledger of that store is, asked of pytest's request
OPENERS = {
    "postgresql": lambda request: request.getfixturevalue("new_database")(),
    "sqlite": lambda request: request.getfixturevalue("tmp_path") / "ledger.sqlite",
}


@pytest.fixture(params=sorted(OPENERS))
def opened(request):
    """Call it for another connection to one and the same new ledger."""
    location, stores = OPENERS[request.param](request), []

    def open_again():
        stores.append(registry.stores.get(request.param).open(location))
        return stores[-1]

    yield open_again
    for store in stores:
        store.close()


@pytest.fixture
def store(opened):
    return opened()


def test_every_registered_store_keeps_this_contract():
    assert set(OPENERS) == set(registry.stores.names())


def test_a_store_keeps_the_port(store):
    assert isinstance(store, Store)
    assert type(store).probe().usable


def test_a_new_ledger_is_empty_and_whole(store):
    assert list(store.receipts(ReceiptFilter())) == []
    assert store.verify() == 0


def test_the_address_of_a_receipt_is_its_content_hash(store, made_receipt):
    receipt = made_receipt(1)

    assert store.append(receipt) == receipt.content_hash


def test_what_was_appended_is_read_back_the_same(store, made_receipt):
    receipt = made_receipt(1)

    address = store.append(receipt)

    assert store.get(address) == receipt
    assert list(store.receipts(ReceiptFilter())) == [(address, receipt)]


def test_what_was_appended_is_there_for_another_connection_after_closing(opened, made_receipt):
    first = opened()
    address = first.append(made_receipt(1))
    first.close()

    assert opened().get(address) == made_receipt(1)


def test_the_same_receipt_twice_is_kept_once(store, made_receipt):
    addresses = {store.append(made_receipt(1)) for _ in range(3)}

    assert len(addresses) == 1
    assert store.verify() == 1


def test_a_run_is_never_kept_with_two_contents(store, made_receipt):
    store.append(made_receipt(1, joules=5.0))

    with pytest.raises(LedgerError, match="kept already"):
        store.append(made_receipt(1, joules=4.0))

    assert store.verify() == 1


def test_a_receipt_that_json_cannot_hold_is_refused_and_nothing_is_kept(store, made_receipt):
    with pytest.raises(LedgerError, match="JSON"):
        store.append(made_receipt(1, variant="half a pair: \ud800"))

    assert store.verify() == 0


def test_a_nul_character_is_kept_as_it_is_or_refused_and_never_altered(store, made_receipt):
    receipts = [made_receipt(index, **{field: f"a{chr(0)}b"}) for index, field in enumerate(("batch", "variant"))]
    receipts.append(made_receipt(9, labels=(("note", f"a{chr(0)}b"),)))
    kept, refused = [], []
    for receipt in receipts:
        try:
            kept.append(store.append(receipt))
        except LedgerError as error:
            refused.append(str(error))

    assert set(kept) <= {receipt.content_hash for receipt in receipts}
    assert receipts[-1].content_hash in kept
    assert all("NUL" in said for said in refused)
    assert store.verify() == len(kept)
    assert len(list(store.receipts(ReceiptFilter(batch=f"a{chr(0)}b")))) <= 1
    assert len(list(store.receipts(ReceiptFilter(run_id=f"a{chr(0)}b")))) <= 1


def test_numbers_come_back_to_the_last_bit(store, made_receipt):
    joules = [0.1 + 0.2, 5e-324, 1.7976931348623157e308, -0.0, 1 / 3]
    for index, value in enumerate(joules):
        store.append(made_receipt(index, joules=value))

    assert [receipt.total.value.joules for _, receipt in store.receipts(ReceiptFilter())] == joules
    assert store.verify() == len(joules)


def test_a_receipt_is_found_by_the_start_of_its_address_in_either_case(store, made_receipt):
    address = store.append(made_receipt(1))

    assert store.get(address[:8]).content_hash == address
    assert store.get(address[:8].upper()).content_hash == address


def test_a_prefix_of_two_addresses_is_refused(store, made_receipt):
    addresses = [store.append(made_receipt(index)) for index in range(17)]  # more than there are hex digits
    first_digits = [address[0] for address in addresses]
    shared = next(digit for digit in first_digits if first_digits.count(digit) > 1)

    with pytest.raises(UsageError, match="Give more digits"):
        store.get(shared)


@pytest.mark.parametrize("address", ["", "%", "xyz", "0" * 65, "a' OR 1=1"])
def test_what_is_no_address_is_refused(store, made_receipt, address):
    store.append(made_receipt(1))

    with pytest.raises(UsageError, match="not a receipt's address"):
        store.get(address)


def test_an_unknown_address_is_refused(store):
    with pytest.raises(UsageError, match="no receipt"):
        store.get("0" * 64)


def test_receipts_come_in_the_order_they_were_written(store, made_receipt):
    order = [5, 1, 9, 3]
    for index in order:
        store.append(made_receipt(index))

    assert [receipt.run_id for _, receipt in store.receipts(ReceiptFilter())] == [f"run-{i:06d}" for i in order]


def test_a_limit_keeps_the_latest_in_the_same_order(store, made_receipt):
    for index in range(5):
        store.append(made_receipt(index, batch="even" if index % 2 == 0 else "odd"))

    def listed(**fields):
        return [int(receipt.run_id[-1]) for _, receipt in store.receipts(ReceiptFilter(**fields))]

    assert listed(limit=2) == [3, 4]
    assert listed(limit=2, batch="even") == [2, 4]
    assert listed(limit=99) == [0, 1, 2, 3, 4]
    assert listed(limit=0) == []


def test_filters_hold_together(store, made_receipt):
    store.append(made_receipt(0, batch="a", project="p", phase="inference"))
    store.append(made_receipt(1, batch="a", project="q", phase="inference"))
    store.append(made_receipt(2, batch="b", project="p", phase="training"))

    def listed(**fields):
        return [int(receipt.run_id[-1]) for _, receipt in store.receipts(ReceiptFilter(**fields))]

    assert listed(batch="a") == [0, 1]
    assert listed(project="p") == [0, 2]
    assert listed(phase="training") == [2]
    assert listed(batch="a", project="p") == [0]
    assert listed(run_id="run-000001") == [1]
    assert listed(run_id="run-00000") == []
    assert listed(batch="no such") == []


def test_an_interval_is_half_open_on_both_sides(store, made_receipt):
    noon = datetime(2026, 3, 1, 12, tzinfo=UTC)
    second = timedelta(seconds=1)
    starts = {
        "ends-at-noon": (noon - 10 * second, 10),
        "over-noon": (noon - 5 * second, 10),
        "at-noon": (noon, 0),
        "last-instant": (noon + 60 * second - timedelta(microseconds=1), 10),
        "at-the-end": (noon + 60 * second, 0),
        "after": (noon + 60 * second, 10),
        "around": (noon - 60 * second, 600),
    }
    for run_id, (start, seconds) in starts.items():
        store.append(made_receipt(run_id=run_id, start=start, seconds=seconds))

    def listed(within):
        return [receipt.run_id for _, receipt in store.receipts(ReceiptFilter(within=within))]

    assert listed(Interval(noon, noon + 60 * second)) == ["over-noon", "at-noon", "last-instant", "around"]
    assert listed(Interval(noon, noon)) == []


def test_receipts_written_while_others_are_read_do_not_join_the_list(store, made_receipt):
    for index in range(3):
        store.append(made_receipt(index))

    seen = 0
    for seen, _ in enumerate(store.receipts(ReceiptFilter()), start=1):
        store.append(made_receipt(100 + seen))

    assert seen == 3
    assert store.verify() == 6


def test_a_list_longer_than_a_page_is_complete(store, made_receipt):
    for index in range(1003):
        store.append(made_receipt(index, batch="b" if index % 2 else ""))

    assert len({address for address, _ in store.receipts(ReceiptFilter())}) == 1003
    assert len(list(store.receipts(ReceiptFilter(batch="b", limit=500)))) == 500
    assert store.verify() == 1003


def test_threads_may_share_a_store(store, made_receipt):
    with ThreadPoolExecutor(4) as pool:
        addresses = list(pool.map(store.append, [made_receipt(index) for index in range(40)]))

    assert len(set(addresses)) == store.verify() == 40


# --- views ------------------------------------------------------------------------------------------


@pytest.fixture
def view(made):
    def make(receipt, factor_set="a" * 64, kind=ViewKind.CARBON, computed_at="2026-01-01T00:00:00.000000Z"):
        return View(receipt, kind, factor_set, (made.FACTOR,), (("carbon_g", 1.5),), "made up 1", computed_at)

    return make


def test_a_store_keeps_views(store):
    assert isinstance(store, KeepsViews)


def test_views_come_back_the_same_and_in_order_and_leave_receipts_as_they_were(opened, made_receipt, view):
    store = opened()
    one, two = (store.append(made_receipt(index)) for index in range(2))
    views = [view(one), view(two), view(one, kind=ViewKind.COST), view(one, factor_set="b" * 64)]

    assert store.append_views(views) == 4

    again = opened()
    assert list(again.views()) == views
    assert list(again.views(one)) == [views[0], views[2], views[3]]
    assert again.verify() == 2
    assert again.get(one) == made_receipt(0)


def test_the_same_view_twice_is_kept_once_with_its_first_stamp(store, made_receipt, view):
    address = store.append(made_receipt(1))
    store.append_views([view(address)])

    assert store.append_views([view(address, computed_at="2027-01-01T00:00:00.000000Z"), view(address)]) == 0

    assert list(store.views()) == [view(address)]


def test_a_view_of_no_receipt_is_refused_and_nothing_of_its_batch_is_kept(store, made_receipt, view):
    address = store.append(made_receipt(1))

    with pytest.raises(UsageError, match="no receipt"):
        store.append_views([view(address), view("f" * 64)])

    assert list(store.views()) == []
    assert store.verify() == 1


def test_more_views_than_a_page_are_complete(store, made_receipt, view):
    address = store.append(made_receipt(1))

    assert store.append_views([view(address, factor_set=f"{number:064x}") for number in range(501)]) == 501

    assert len({found.factor_set for found in store.views(address)}) == 501
    assert store.verify() == 1
