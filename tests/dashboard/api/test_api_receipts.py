"""Receipts over the API: in once whoever sends them and however often, out as they were kept."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from outweigh.backends.stores.sqlite import SqliteStore
from outweigh.core.receipt import Receipt
from outweigh.ports import ReceiptFilter
from outweigh.ports.serving import Role

Made = Callable[..., Receipt]


def body_of(*receipts: Receipt) -> dict[str, Any]:
    return {"receipts": [one.to_dict() for one in receipts]}


def refusal(answer: httpx.Response, status: int) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    found = answer.json()
    assert found["status"] == status
    assert found["detail"]
    assert found["remedy"]
    assert "Traceback" not in answer.text
    return found


def test_what_is_sent_is_kept_under_the_address_of_its_content_and_comes_back_the_same(host, store, made_receipt: Made):
    client = host().client(Role.WRITER)
    receipts = [made_receipt(0), made_receipt(1, labels=(("team", "search"),))]

    sent = client.post("/api/v1/receipts", json=body_of(*receipts))

    assert sent.status_code == 201
    assert sent.json() == {"addresses": [one.content_hash for one in receipts], "kept": 2, "already": 0}
    assert [one for _, one in store.receipts(ReceiptFilter())] == receipts
    assert store.verify() == 2
    one = client.get(f"/api/v1/receipts/{receipts[1].content_hash[:12]}").json()
    assert (one["address"], Receipt.from_dict(one["receipt"])) == (receipts[1].content_hash, receipts[1])


def test_the_same_receipt_is_kept_once_without_any_key(host, store, made_receipt: Made):
    client = host().client(Role.WRITER)
    client.post("/api/v1/receipts", json=body_of(made_receipt(0)))

    again = client.post("/api/v1/receipts", json=body_of(made_receipt(0), made_receipt(1)))

    assert (again.json()["kept"], again.json()["already"]) == (1, 1)
    assert store.verify() == 2


def test_the_same_key_with_the_same_body_is_answered_as_before_and_with_another_is_refused(host, made_receipt: Made):
    client = host().client(Role.WRITER)
    key = {"Idempotency-Key": "push-1"}
    first = client.post("/api/v1/receipts", json=body_of(made_receipt(0)), headers=key)

    same = client.post("/api/v1/receipts", json=body_of(made_receipt(0)), headers=key)
    other = client.post("/api/v1/receipts", json=body_of(made_receipt(1)), headers=key)

    assert (same.status_code, same.text) == (201, first.text)
    assert same.json()["kept"] == 1  # what the first was told, though it is there by now
    assert "another body" in refusal(other, 422)["detail"]


def test_keys_of_two_tokens_have_nothing_to_do_with_each_other(host, made_receipt: Made):
    running = host()
    key = {"Idempotency-Key": "push-1"}
    running.client(Role.WRITER).post("/api/v1/receipts", json=body_of(made_receipt(0)), headers=key)

    other = running.client(Role.WRITER).post("/api/v1/receipts", json=body_of(made_receipt(1)), headers=key)

    assert other.json()["kept"] == 1


def test_what_was_refused_binds_no_key(host, made_receipt: Made):
    client = host().client(Role.WRITER)
    key = {"Idempotency-Key": "push-1"}
    wrong = body_of(made_receipt(0))
    wrong["receipts"][0]["phase"] = "lunch"
    refusal(client.post("/api/v1/receipts", json=wrong, headers=key), 422)

    assert client.post("/api/v1/receipts", json=body_of(made_receipt(0)), headers=key).status_code == 201


def test_a_key_is_forgotten_after_a_day(host, made_receipt: Made):
    running = host()
    client = running.client(Role.WRITER)
    key = {"Idempotency-Key": "push-1"}
    client.post("/api/v1/receipts", json=body_of(made_receipt(0)), headers=key)
    running.clock.forward(hours=25)

    assert client.post("/api/v1/receipts", json=body_of(made_receipt(1)), headers=key).json()["kept"] == 1


def test_one_run_with_other_content_is_refused_and_nothing_of_the_batch_is_kept(host, store, made_receipt: Made):
    client = host().client(Role.WRITER)
    client.post("/api/v1/receipts", json=body_of(made_receipt(0)))

    answer = client.post("/api/v1/receipts", json=body_of(made_receipt(5), made_receipt(0, joules=1.0)))

    assert "with other content" in refusal(answer, 409)["detail"]
    assert store.verify() == 1


def test_pages_follow_each_other_without_a_gap_or_a_double_while_others_write(host, store, made_receipt: Made):
    client = host().client(Role.READER)
    store.append_all([made_receipt(index) for index in range(7)])
    seen: list[str] = []
    after: str | None = None

    for _ in range(4):
        page = client.get("/api/v1/receipts", params={"limit": 3} | ({"after": after} if after else {})).json()
        seen += [one["receipt"]["run_id"] for one in page["receipts"]]
        store.append(made_receipt(100 + len(seen)))
        after = page["next"]
        if after is None:
            break

    assert seen[:7] == [f"run-{index:06d}" for index in range(7)]
    assert len(seen) == len(set(seen))


def test_the_newest_come_first_when_asked_for_and_filters_hold(host, store, made_receipt: Made):
    client = host().client(Role.READER)
    store.append_all([made_receipt(0), made_receipt(1, project="other"), made_receipt(2)])

    def runs(**asked: Any) -> list[str]:
        return [one["receipt"]["run_id"][-1] for one in client.get("/api/v1/receipts", params=asked).json()["receipts"]]

    assert runs(order="newest") == ["2", "1", "0"]
    assert runs(project="other") == ["1"]
    assert runs(phase="training") == []
    assert runs(since="2026-01-01T00:01:00Z", until="2026-01-01T00:02:00Z") == ["1"]
    assert runs(order="newest", limit=1) == ["2"]


def test_an_answer_that_is_known_is_not_sent_again(host, store, made_receipt: Made):
    client = host().client(Role.READER)
    store.append(made_receipt(0))
    first = client.get("/api/v1/receipts")
    tag = {"If-None-Match": first.headers["etag"]}

    same = client.get("/api/v1/receipts", headers=tag)
    store.append(made_receipt(1))
    changed = client.get("/api/v1/receipts", headers=tag)

    assert (same.status_code, same.content, same.headers["etag"]) == (304, b"", first.headers["etag"])
    assert changed.status_code == 200
    assert changed.headers["etag"] != first.headers["etag"]


def test_a_receipt_by_its_whole_address_may_be_kept_for_ever_and_by_its_start_not(host, store, made_receipt: Made):
    client = host().client(Role.READER)
    address = store.append(made_receipt(0))

    assert "immutable" in client.get(f"/api/v1/receipts/{address}").headers["cache-control"]
    assert client.get(f"/api/v1/receipts/{address[:8]}").headers["cache-control"] == "private, no-cache"


def test_a_receipt_that_was_altered_in_the_ledger_is_not_handed_out(host, store, made_receipt: Made):
    client = host().client(Role.READER)
    address = store.append(made_receipt(0))
    with store._ledger().writing() as connection:
        connection.exec_driver_sql("DROP TRIGGER receipts_are_never_changed")
        connection.exec_driver_sql("UPDATE receipts SET body = replace(body, '100.0', '1.0')")

    assert "altered" in refusal(client.get(f"/api/v1/receipts/{address}"), 503)["detail"]
    refusal(client.get("/api/v1/receipts"), 503)


@pytest.mark.parametrize(
    ("path", "status", "says"),
    [
        ("?limit=0", 422, "limit"),
        ("?limit=501", 422, "limit"),
        ("?limit=many", 422, "limit"),
        ("?after=-1", 422, "after"),
        ("?after=" + "9" * 30, 422, "after"),
        ("?order=best", 422, "order"),
        ("?phase=lunch", 422, "training"),
        ("?since=yesterday", 422, "since"),
        ("?since=2026-01-01T00:00:00", 422, "distance from UTC"),
        ("?since=0001-01-01T00:00:00%2B14:00", 422, "no time"),
        ("?since=2026-01-02T00:00Z&until=2026-01-01T00:00Z", 422, "ends before"),
        ("/zzzzzz", 422, "address"),
        ("/" + "a" * 64, 404, "no receipt"),
        ("/abc", 422, "address"),
        ("/../../../etc/passwd", 404, ""),
        ("/..%2f..%2f..%2fetc%2fpasswd", 404, ""),
        ("/%00", 422, "address"),
    ],
)
def test_what_cannot_be_answered_says_which_field_and_what_to_do(roles, path: str, status: int, says: str):
    answer = roles[Role.READER].get(f"/api/v1/receipts{path}")

    assert says in refusal(answer, status)["detail"]


def mended(body: dict[str, Any], where: list[Any], value: Any) -> dict[str, Any]:
    inner: Any = body["receipts"][0]
    for step in where[:-1]:
        inner = inner[step]
    inner[where[-1]] = value
    return body


@pytest.mark.parametrize(
    ("where", "value"),
    [
        (["run_id"], ""),
        (["run_id"], 5),
        (["run_id"], "x" * 300),
        (["schema"], 3),
        (["phase"], "lunch"),
        (["total", "energy_j"], "much"),
        (["total", "energy_j"], True),
        (["total", "standard_uncertainty_j"], -1.0),
        (["total", "start"], "2026-01-01T00:00:00"),
        (["total", "start"], "0001-01-01T00:00:00+14:00"),
        (["total", "start"], "2027-01-01T00:00:00Z"),
        (["total", "grade"], "Z"),
        (["labels"], {"a": 1}),
        (["labels"], [["a", "b"]]),
        (["notes"], ["x" * 20_000]),
        (["surprise"], 1),
        (["quality", 0, "n"], 10**400),
        (["total", "end"], "2026-01-01T00:00:10Z"),
    ],
    ids=str,
)
def test_a_receipt_that_is_none_is_refused_and_nothing_is_kept(standing, roles, made_receipt: Made, where, value):
    body = mended(body_of(made_receipt(0)), where, value)

    answer = roles[Role.WRITER].post("/api/v1/receipts", json=body)

    refusal(answer, 422)
    assert standing.served.ledger.verify() == 0


@pytest.mark.parametrize(
    "raw",
    [b"", b"{", b"[]", b"null", b"\xff\xfe", b'{"receipts": NaN}', b'{"receipts": [' + b"[" * 5000, b'"\\ud800"'],
    ids=lambda raw: repr(raw[:20]),
)
def test_a_body_that_is_no_json_of_that_shape_is_refused(roles, raw: bytes):
    answer = roles[Role.WRITER].post("/api/v1/receipts", content=raw, headers={"Content-Type": "application/json"})

    assert answer.status_code in (400, 422)
    refusal(answer, answer.status_code)


def test_a_figure_that_is_not_finite_is_refused(roles, made_receipt: Made):
    client = roles[Role.WRITER]
    text = json.dumps(body_of(made_receipt(0))).replace("100.0", "1e999", 1)

    answer = client.post("/api/v1/receipts", content=text, headers={"Content-Type": "application/json"})

    refusal(answer, 422)


@pytest.mark.parametrize(
    ("where", "value"),
    [
        (["total", "energy_j"], 1e300),
        (["total", "energy_j"], -1e22),
        (["total", "components", 0, "standard_j"], 1e200),
        (["hum", "energy_j"], 1e22),
        (["units"], 1e-300),
        (["units"], 1e19),
        (["units"], -1.0),
        (["quality", 0, "value"], 1e31),
        (["total", "start"], "0001-01-01T00:00:00.000000Z"),
        (["total", "end"], "9999-12-31T23:00:00.000000Z"),
    ],
    ids=str,
)
def test_a_figure_that_cannot_be_is_refused_at_its_field(standing, roles, made_receipt: Made, where, value):
    body = mended(body_of(made_receipt(0)), where, value)

    answer = roles[Role.WRITER].post("/api/v1/receipts", json=body)

    assert ".".join(["receipts.0", *(str(step) for step in where)]) in refusal(answer, 422)["detail"]
    assert standing.served.ledger.verify() == 0


def test_a_run_that_delivered_nothing_is_kept_as_it_was_sent(roles, made_receipt: Made):
    sent = replace(made_receipt(0), units=0.0)

    answer = roles[Role.WRITER].post("/api/v1/receipts", json=body_of(sent))

    assert answer.status_code == 201
    assert answer.json()["addresses"] == [sent.content_hash]


def test_more_than_500_at_a_time_are_refused(host, made_receipt: Made):
    client = host().client(Role.WRITER)

    answer = client.post("/api/v1/receipts", json=body_of(*[made_receipt(index) for index in range(501)]))

    assert "500" in refusal(answer, 422)["detail"]


def test_two_servers_on_one_ledger_keep_what_is_sent_to_both_at_once_only_once(
    host, store, tmp_path: Path, made_receipt: Made
):
    body = body_of(*[made_receipt(index) for index in range(20)])
    with closing(SqliteStore.open(tmp_path / "ledger.sqlite")) as other:
        first, second = host(), host(other)
        secret = first.token(Role.WRITER)
        clients = [first.client(secret), second.client(secret)]
        answers: list[httpx.Response] = []

        def send(client: httpx.Client) -> None:
            answers.append(client.post("/api/v1/receipts", json=body, headers={"Idempotency-Key": "one"}))

        threads = [threading.Thread(target=send, args=(client,)) for client in clients]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert [answer.status_code for answer in answers] == [201, 201]
    assert answers[0].text == answers[1].text
    assert store.verify() == 20
