"""What a store promises a server: texts, documents, tokens, sessions, the audit log and answers by key."""

from __future__ import annotations

import threading

import pytest

from outweigh import registry
from outweigh.core.errors import UsageError
from outweigh.core.measurement import Scope
from outweigh.core.receipt import content_hash
from outweigh.ports import ReceiptFilter
from outweigh.ports.serving import Access, Answered, AuditLine, Documents, KeepsTexts, Role, Token

OPENERS = {
    "postgresql": lambda request: request.getfixturevalue("new_database")(),
    "sqlite": lambda request: request.getfixturevalue("tmp_path") / "ledger.sqlite",
}
AT, LATER, LATEST = (f"2026-01-0{day}T00:00:00.000000Z" for day in (1, 2, 3))


@pytest.fixture(params=sorted(OPENERS))
def store(request):
    opened = registry.stores.get(request.param).open(OPENERS[request.param](request))
    yield opened
    opened.close()


def token(number=0, role=Role.READER, **given):
    return Token(f"{number:08x}", f"token {number}", role, f"{number:064x}", AT, **given)


def test_a_store_that_can_be_served_from_keeps_these_ports(store):
    assert isinstance(store, KeepsTexts)
    assert isinstance(store, Documents)
    assert isinstance(store, Access)


def test_the_text_of_a_receipt_is_what_its_address_is_of(store, made_receipt):
    import json

    receipts = [made_receipt(index) for index in range(3)]
    kept = store.append_new([*receipts[:2], receipts[0]])
    again = store.append_new(receipts)

    assert [new for _, new in kept] == [True, True, False]
    assert [new for _, new in again] == [False, False, True]
    texts = store.texts(ReceiptFilter(), limit=10)
    assert [one.number for one in texts] == [1, 2, 3]
    assert [one.address for one in texts] == [content_hash(json.loads(one.text)) for one in texts]
    assert [one.number for one in store.texts(ReceiptFilter(), limit=2, newest=True)] == [3, 2]
    assert [one.number for one in store.texts(ReceiptFilter(), after=2, limit=2, newest=True)] == [1]
    assert store.text(texts[0].address[:10]) == texts[0]


def test_energy_is_summed_scope_by_scope_and_goes_on_where_it_stopped(store, made_receipt):
    def drawn():
        return [(scope, runs, energy_j) for _, _, _, scope, runs, energy_j in store.drawn()]

    store.append_new([made_receipt(index) for index in range(2)])
    before = drawn()
    store.append_new([made_receipt(2), made_receipt(3, scope=Scope.NODE)])

    assert before == [("package", 2, 201.0)]  # 100 + 101 J
    assert drawn() == [("node", 1, 103.0), ("package", 3, 303.0)]


def test_a_token_is_found_by_its_digest_until_it_is_over(store):
    store.make_token(token(1, Role.OWNER, expires_at=LATER))
    store.make_token(token(2))

    assert store.token_of(f"{1:064x}") == token(1, Role.OWNER, expires_at=LATER)
    assert store.token_of("0" * 63 + "f") is None
    assert (token(1, expires_at=LATER).holds(AT), token(1, expires_at=LATER).holds(LATER)) == (True, False)
    assert store.revoke_token(f"{2:08x}", at=LATER)
    assert store.revoke_token(f"{2:08x}", at=LATEST)
    assert store.tokens()[1].revoked_at == LATER
    assert not store.revoke_token("nobody", at=AT)
    assert (store.any_token(at=AT), store.any_token(at=LATER)) == (True, False)


def test_a_session_ends_with_its_time_and_with_its_token(store):
    store.make_token(token(1))
    for digest in ("a", "b", "c"):
        store.begin_session(digest, f"{1:08x}", at=AT, until=LATER if digest == "a" else LATEST)

    assert store.session_of("a", at=AT) == token(1)
    assert store.session_of("a", at=LATER) is None
    store.end_session("b")
    assert store.session_of("b", at=AT) is None
    store.revoke_token(f"{1:08x}", at=AT)
    assert store.session_of("c", at=AT) is None


def test_the_audit_log_comes_newest_first_page_by_page(store):
    for number in range(5):
        store.note(AuditLine(AT, "me", "owner", "127.0.0.1", "POST", f"/{number}", 201, "x"))

    first = store.audit(limit=3)
    rest = store.audit(after=first[-1].number, limit=3)

    assert [line.path for line in first + rest] == ["/4", "/3", "/2", "/1", "/0"]


def test_a_key_is_entered_once_answered_once_and_forgotten(store):
    def ask(request="r", at=AT, forget=""):
        return store.asked_before("me", "k", request, at=at, forget=forget)

    assert ask() == Answered("r", 0, "")
    assert ask("other") == Answered("r", 0, "")
    assert store.answered("me", "k", 201, "first") == Answered("r", 201, "first")
    assert store.answered("me", "k", 201, "second") == Answered("r", 201, "first")
    assert ask() == Answered("r", 201, "first")
    assert store.asked_before("you", "k", "x", at=AT, forget="") == Answered("x", 0, "")
    assert ask("new", at=LATEST, forget=LATER) == Answered("new", 0, "")


def test_of_many_at_once_all_see_one_key_and_one_document(store):
    seen, kept = [], []

    def go(number):
        seen.append(store.asked_before("me", "k", f"request {number}", at=AT, forget="").request)
        kept.append(store.keep_document("plan", "{}", named="p", project="", at=AT)[1])

    threads = [threading.Thread(target=go, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(seen) == len(kept) == 8
    assert len(set(seen)) == 1
    assert sum(kept) == 1


def test_a_document_is_found_by_the_start_of_its_address(store):
    address, _ = store.keep_document("verdict", '{"a":1}', named="v", project="p", at=AT)

    assert store.document("verdict", address[:8]).body == '{"a":1}'
    for wrong in ("zz", "", "0" * 64, f"{address}0"):
        with pytest.raises(UsageError):
            store.document("verdict", wrong)
    with pytest.raises(UsageError):
        store.document("plan", address)
