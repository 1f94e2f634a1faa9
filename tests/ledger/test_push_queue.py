import sqlite3

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from outweigh.core.errors import LedgerCorrupt, LedgerError
from outweigh.ledger import open_ledger
from outweigh.ledger.pushing import PushQueue, queue_path


@pytest.fixture
def queue(tmp_path):
    with PushQueue(tmp_path / "push" / "queue.sqlite") as queue:
        yield queue


def kept(store, made_receipt, *numbers):
    return list(store.append_all([made_receipt(number) for number in numbers]))


def test_what_the_ledger_has_waits_in_its_order_and_is_taken_once(queue, store, made_receipt):
    addresses = kept(store, made_receipt, 3, 1, 2)

    assert queue.fill(store).taken == 3
    assert queue.fill(store).taken == 0
    assert list(queue.next_batch().addresses) == addresses


def test_a_batch_keeps_its_key_and_its_receipts_over_restarts_until_it_is_done(tmp_path, store, made_receipt):
    kept(store, made_receipt, *range(5))
    with PushQueue(tmp_path / "queue.sqlite") as queue:
        queue.fill(store)
        first = queue.next_batch(most=3)
    kept(store, made_receipt, 5)

    with PushQueue(tmp_path / "queue.sqlite") as queue:
        queue.fill(store)
        again = queue.next_batch(most=100)
        queue.done(again, already=0)
        then = queue.next_batch(most=100)

    assert again == first
    assert again.body == first.body
    assert len(then.addresses) == 3
    assert then.key != first.key


def test_a_full_queue_says_so_drops_nothing_and_goes_on_when_there_is_room(tmp_path, store, made_receipt):
    addresses = kept(store, made_receipt, *range(7))
    sent = []
    with PushQueue(tmp_path / "queue.sqlite", most=3) as queue:
        while True:
            filled = queue.fill(store)
            assert queue.counts().waiting <= 3
            batch = queue.next_batch()
            sent += batch.addresses
            queue.done(batch, already=0)
            if not filled.full:
                break

    assert sent == addresses


def test_a_queue_is_full_by_bytes_too_and_one_receipt_is_sent_however_large(tmp_path, store, made_receipt):
    kept(store, made_receipt, 0, 1)
    with PushQueue(tmp_path / "queue.sqlite", most_bytes=2_500) as queue:
        filled = queue.fill(store)

        assert (filled.taken, filled.full) == (1, True)
        assert len(queue.next_batch(most_bytes=1).addresses) == 1


def test_halves_of_a_batch_have_keys_of_their_own_and_lose_nobody(queue, store, made_receipt):
    addresses = kept(store, made_receipt, *range(5))
    queue.fill(store)
    whole = queue.next_batch()

    queue.split(whole)
    halves = []
    while (half := queue.next_batch()) is not None:
        halves.append(half)
        queue.done(half, already=0)

    assert [each for half in halves for each in half.addresses] == addresses
    assert len({whole.key, *(half.key for half in halves)}) == 3


def test_what_is_refused_is_kept_with_its_reason_and_can_wait_again(queue, store, made_receipt):
    addresses = kept(store, made_receipt, 0, 1)
    queue.fill(store)
    queue.set_aside(queue.next_batch(most=1), 409, "kept with other content")

    (aside,) = queue.aside()
    assert (aside.address, aside.status, aside.reason) == (addresses[0], 409, "kept with other content")
    assert queue.counts().waiting == 1
    assert queue.take_back() == 1
    assert {*queue.next_batch(most=1).addresses, *addresses} == set(addresses)
    assert queue.counts().waiting == 2


@pytest.mark.parametrize("numbers", [(7,), (7, 8), (7, 8, 9)], ids=["shorter", "as long", "longer"])
def test_another_ledger_in_its_place_is_read_from_its_beginning(tmp_path, queue, store, made_receipt, numbers):
    kept(store, made_receipt, 0, 1)
    queue.fill(store)
    other = open_ledger(tmp_path / "other.sqlite")
    kept(other, made_receipt, *numbers)

    filled = queue.fill(other)
    other.close()

    assert filled.anew
    assert filled.taken == len(numbers)
    assert queue.counts().waiting == 2 + len(numbers)


def test_a_ledger_that_was_tampered_with_is_not_pushed(tmp_path, queue, store, made_receipt):
    kept(store, made_receipt, 0, 1, 2)
    store.close()
    with sqlite3.connect(tmp_path / "ledger.sqlite") as raw:
        raw.execute("DROP TRIGGER IF EXISTS receipts_are_never_changed")
        for (name,) in raw.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            raw.execute(f"DROP TRIGGER {name}")
        raw.execute("UPDATE receipts SET prev_chain = 'x' WHERE seq = 2")
    raw.close()

    with pytest.raises(LedgerCorrupt, match="does not follow"):
        queue.fill(store)


def test_two_processes_do_not_empty_one_queue(tmp_path):
    with PushQueue(tmp_path / "queue.sqlite") as one, PushQueue(tmp_path / "queue.sqlite") as other:
        assert one.alone()
        assert not other.alone()


@pytest.mark.parametrize(
    ("content", "words"), [(b"not a database, for sure" * 50, "damaged"), (b"", "")], ids=["damaged", "empty"]
)
def test_a_damaged_queue_says_that_it_may_be_moved_away(tmp_path, content, words):
    path = tmp_path / "queue.sqlite"
    path.write_bytes(content)
    if not words:
        PushQueue(path).close()
        return

    with pytest.raises(LedgerError, match=words) as caught:
        PushQueue(path)

    assert "Move it away" in caught.value.remedy


def test_somebody_elses_database_is_left_alone(tmp_path):
    with sqlite3.connect(tmp_path / "theirs.sqlite") as theirs:
        theirs.execute("CREATE TABLE cats (name TEXT)")
    theirs.close()

    with pytest.raises(LedgerError, match="not a queue of ours"):
        PushQueue(tmp_path / "theirs.sqlite")


def test_the_name_of_a_queue_tells_servers_apart_and_holds_no_path(tmp_path):
    urls = [
        "https://a.example",
        "https://a.example/x",
        "https://a.example:444",
        "http://a.example",
        "https://b.example",
    ]

    names = {queue_path(tmp_path, url).name for url in urls}

    assert len(names) == len(urls)
    assert all("/" not in name for name in names)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(st.sampled_from(["append", "fill", "send", "split", "aside", "back", "restart"]), max_size=25))
def test_whatever_happens_in_whatever_order_every_receipt_is_in_one_place(tmp_path_factory, made_receipt, steps):
    folder = tmp_path_factory.mktemp("law")
    store = open_ledger(folder / "ledger.sqlite")
    queue = PushQueue(folder / "queue.sqlite", most=4)
    written, sent = [], []
    for number, step in enumerate(steps):
        batch = queue.next_batch(most=3) if step in ("send", "split", "aside") else None
        if step == "append":
            written.append(store.append(made_receipt(number)))
        elif step == "fill":
            queue.fill(store)
        elif step == "back":
            queue.take_back()
        elif step == "restart":
            queue.close()
            queue = PushQueue(folder / "queue.sqlite", most=4)
        elif batch is not None and step == "send":
            sent += batch.addresses
            queue.done(batch, already=0)
        elif batch is not None and step == "split" and len(batch.addresses) > 1:
            queue.split(batch)
        elif batch is not None and step == "aside":
            queue.set_aside(batch, 409, "no")

    queue.take_back()
    while True:
        filled = queue.fill(store)
        while (batch := queue.next_batch()) is not None:
            sent += batch.addresses
            queue.done(batch, already=0)
        if not filled.full:
            break
    store.close()
    queue.close()

    assert sorted(sent) == sorted(written)
