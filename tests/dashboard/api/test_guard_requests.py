"""What the gate refuses of anybody: other hosts, other sites, too much, too slow, too often."""

from __future__ import annotations

import contextlib
import logging
import re
import socket
import time
from typing import Any

import pytest

from outweigh.dashboard.guard import asking, bodies, connections
from outweigh.ports.serving import Role

POST = {"Content-Type": "application/json"}


def raw(port: int, *parts: bytes, wait_s: float = 60.0) -> bytes:
    """What comes back when exactly these bytes are sent, and then nothing more."""
    with socket.create_connection(("127.0.0.1", port), timeout=wait_s) as sent:
        for part in parts:
            sent.sendall(part)
        found = b""
        with contextlib.suppress(ConnectionResetError):  # it hung up on what was still on its way
            while chunk := sent.recv(65536):
                found += chunk
    return found


# --- for whom it is, and from where -------------------------------------------------------------------


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.1:9", "localhost", "LOCALHOST:8080", "[::1]:80", "localhost."])
def test_a_request_for_this_machine_is_answered(roles, host: str):
    assert roles[Role.READER].get("/api/v1/me", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "host",
    ["rebound.example", "127.0.0.1.rebound.example", "localhost.rebound.example", "192.0.2.1", "0.0.0.0", "",
     "127.0.0.1@rebound.example", "127.0.0.1:80:80", "[::1", "2130706433", "localhost/../x"],
)  # fmt: skip
def test_a_name_that_was_made_to_point_here_gets_nothing(roles, host: str):
    # DNS rebinding: the page of another site asks its own name, which now leads to this machine.
    answer = roles[Role.READER].get("/api/v1/me", headers={"Host": host})

    assert answer.status_code == 421
    assert "who" not in answer.json()


def test_two_hosts_or_none_are_not_believed(standing):
    two = raw(
        standing.port, b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nHost: x.example\r\nConnection: close\r\n\r\n"
    )
    none = raw(standing.port, b"GET /healthz HTTP/1.0\r\n\r\n")

    assert two.split()[1] in (b"400", b"421")
    assert none.split()[1] == b"421"


def test_a_wider_server_answers_for_its_names_and_for_numbers_and_for_no_other_name(host):
    client = host(wide=True, names=("energy.example",)).client()

    statuses = {
        name: client.get("/healthz", headers={"Host": name}).status_code
        for name in ("energy.example", "ENERGY.example:443", "192.0.2.7", "other.example")
    }

    assert statuses == {"energy.example": 200, "ENERGY.example:443": 200, "192.0.2.7": 200, "other.example": 421}


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://elsewhere.example"},
        {"Origin": "null"},
        {"Origin": "http://localhost:1"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
    ids=str,
)
@pytest.mark.parametrize("path", ["/api/v1/receipts", "/api/v1/tokens", "/login", "/emissions/forecasts/batch"])
def test_a_page_of_another_site_cannot_write_here_whoever_it_gets_to_ask(roles, path: str, headers: dict[str, str]):
    answer = roles[Role.OWNER].post(path, content=b"{}", headers=POST | headers)

    assert answer.status_code == 403
    assert "another site" in answer.json()["detail"]


@pytest.mark.parametrize(
    "origin", ["https://energy.example", "https://energy.example:8443", "http://energy.example:81"]
)
def test_our_own_page_at_an_address_that_a_proxy_hides_is_refused_with_what_helps(host, origin: str):
    client = host(wide=True, names=("energy.example",)).client()
    said = {"Host": "energy.example", "Sec-Fetch-Site": "same-origin"}

    answer = client.post("/login", data={"token": "x"}, headers=said | {"Origin": origin})
    direct = client.post("/login", data={"token": "x"}, headers=said | {"Origin": "http://energy.example"})

    assert answer.status_code == 403
    assert f"it is at {origin}, and this server was asked by http://energy.example" in answer.json()["detail"]
    assert "--behind" in answer.json()["remedy"]
    assert direct.status_code == 401


def test_a_page_of_another_name_is_told_nothing_of_proxies(host):
    client = host(wide=True, names=("energy.example",)).client()
    said = {"Host": "energy.example", "Sec-Fetch-Site": "same-origin"}

    for headers in (said | {"Origin": "https://other.example"}, said | {"Sec-Fetch-Site": "cross-site"}):
        assert "--behind" not in client.post("/login", data={"token": "x"}, headers=headers).json()["remedy"]


def test_no_answer_lets_a_page_of_another_site_read_it(roles):
    answer = roles[Role.READER].get("/api/v1/me", headers={"Origin": "https://elsewhere.example"})

    assert not [name for name in answer.headers if name.startswith("access-control-")]
    assert answer.headers["cross-origin-resource-policy"] == "same-origin"


def test_head_is_get_without_the_body_and_asks_for_the_same_role(roles):
    whole, head = roles[Role.READER].get("/api/v1/me"), roles[Role.READER].head("/api/v1/me")

    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == whole.headers["content-length"]
    assert roles[None].head("/api/v1/me").status_code == 401


def test_a_form_can_send_nothing_that_is_read_as_json(roles):
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", ""):
        answer = roles[Role.WRITER].post("/api/v1/receipts", content=b'{"receipts":[]}', headers={"Content-Type": kind})

        assert answer.status_code == 415


@pytest.mark.parametrize(
    ("method", "path", "role"),
    [
        ("GET", "/healthz", None),
        ("GET", "/api/v1/me", None),
        ("GET", "/api/v1/me", Role.READER),
        ("GET", "/nothing", Role.READER),
        ("GET", "/login", None),
        ("POST", "/api/v1/receipts", Role.READER),
    ],
)
def test_every_answer_a_refusal_too_carries_the_strict_headers(roles, method: str, path: str, role: Role | None):
    headers = roles[role].request(method, path).headers

    policy = dict(part.strip().split(" ", 1) for part in headers["content-security-policy"].split(";"))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == "'self'"
    assert policy["frame-ancestors"] == policy["base-uri"] == "'none'"
    assert policy["form-action"] == "'self'"
    assert "unsafe-inline" not in policy["script-src"]
    assert "http" not in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cross-origin-opener-policy"] == "same-origin"
    assert headers["referrer-policy"] == "same-origin"


# --- too much, too slow, too often --------------------------------------------------------------------


def test_a_body_said_to_be_too_large_is_refused_before_its_first_byte(standing):
    token = standing.token(Role.WRITER)
    head = (
        f"POST /api/v1/receipts HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n"
        "Content-Type: application/json\r\nContent-Length: 9000000000\r\n\r\n"
    )

    answer = raw(standing.port, head.encode())

    assert answer.startswith(b"HTTP/1.1 413")
    assert b"KiB" in answer


def test_a_body_that_turns_out_too_large_is_refused_on_the_way(standing):
    token = standing.token(Role.WRITER)
    limit = bodies.limit_of("/api/v1/receipts")

    def chunks() -> Any:
        for _ in range(limit // 65536 + 2):
            yield b" " * 65536

    client = standing.client(token)

    assert client.post("/api/v1/receipts", content=chunks(), headers=POST).status_code == 413


def test_a_client_that_sends_first_and_reads_then_gets_its_refusal(standing):
    token = standing.token(Role.WRITER)
    body = b"[" + b" " * (bodies.limit_of("/api/v1/receipts") + 1_000_000) + b"]"

    answers = [standing.client(token).post("/api/v1/receipts", content=body, headers=POST) for _ in range(10)]

    assert {answer.status_code for answer in answers} == {413}
    assert all("KiB" in answer.json()["detail"] for answer in answers)


@pytest.mark.parametrize("length", ["-1", "1" * 5000, "abc", "1, 2"])
def test_a_length_that_is_none_is_refused(standing, length: str):
    token = standing.token(Role.WRITER)
    head = (
        f"POST /api/v1/receipts HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n"
        f"Content-Length: {length}\r\n\r\n"
    )

    assert raw(standing.port, head.encode()).split()[1] in (b"400", b"413")


def test_nobody_may_send_a_body_at_all(standing):
    head = b"POST /api/v1/receipts HTTP/1.1\r\nHost: localhost\r\nContent-Length: 8000000\r\n\r\n"

    assert raw(standing.port, head).startswith(b"HTTP/1.1 401")


def test_a_head_that_does_not_come_is_cut_off_and_others_are_served_meanwhile(standing, roles, monkeypatch):
    monkeypatch.setattr(connections, "HEAD_S", 0.8)
    with socket.create_connection(("127.0.0.1", standing.port), timeout=60) as slow:
        slow.sendall(b"GET /healthz HTTP/1.1\r\nHost: loc")
        assert roles[Role.READER].get("/healthz").status_code == 200
        answer = slow.recv(4096)
        assert answer.startswith(b"HTTP/1.1 408")
        while slow.recv(4096):
            pass


def test_a_connection_that_says_nothing_is_cut_off(standing, monkeypatch):
    monkeypatch.setattr(connections, "HEAD_S", 0.2)

    assert raw(standing.port).startswith(b"HTTP/1.1 408")


def test_a_second_head_on_the_same_connection_may_not_dawdle_either(standing, monkeypatch):
    monkeypatch.setattr(connections, "HEAD_S", 0.3)
    whole = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"

    answer = raw(standing.port, whole, whole[:20])

    assert answer.startswith(b"HTTP/1.1 200")
    assert b"HTTP/1.1 408" in answer


def test_a_body_that_does_not_come_is_given_up(standing, monkeypatch):
    monkeypatch.setattr(bodies, "READ_S", 0.3)
    token = standing.token(Role.WRITER)
    head = (
        f"POST /api/v1/receipts HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n"
        "Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{"
    )

    assert raw(standing.port, head.encode()).startswith(b"HTTP/1.1 408")


#: More than the kernel keeps for a reader: 11 MB.
LIBRARY = b"GET /static/d3.min.js HTTP/1.1\r\nHost: localhost\r\n\r\n"
MUCH = LIBRARY * 39 + LIBRARY.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")


def slow_reader(port: int) -> socket.socket:
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
    made.settimeout(60)
    made.connect(("127.0.0.1", port))
    made.sendall(MUCH)
    return made


def test_a_reader_that_takes_nothing_is_cut_off(standing, monkeypatch):
    monkeypatch.setattr(connections, "TAKEN_S", 0.3)
    with slow_reader(standing.port) as reader:
        time.sleep(2)
        found = b""
        with contextlib.suppress(ConnectionResetError):
            while chunk := reader.recv(1 << 20):
                found += chunk

    assert found.startswith(b"HTTP/1.1 200")
    assert found.count(b"HTTP/1.1 200") < 40


def test_a_reader_that_takes_its_time_gets_everything(standing, monkeypatch):
    # The kernel keeps megabytes for a reader, and takes more from the server only once a third of them is gone: for
    # this one that is longer than TAKEN_S.
    monkeypatch.setattr(connections, "TAKEN_S", 0.5)
    began, found = time.monotonic(), b""
    with slow_reader(standing.port) as reader:
        while chunk := reader.recv(1 << 16):
            found += chunk
            time.sleep(0.02)

    assert time.monotonic() - began > 4 * connections.TAKEN_S
    assert found.count(b"HTTP/1.1 200") == 40


def test_an_address_that_is_too_long_is_refused(roles):
    assert roles[Role.READER].get("/" + "a" * 5000).status_code == 400
    assert roles[Role.READER].get("/?q=" + "a" * 9000).status_code == 400


def test_a_head_that_is_too_large_is_refused(standing):
    answer = raw(standing.port, b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 1_000_000 + b"\r\n\r\n")

    assert b"200 OK" not in answer


def test_who_asks_too_often_is_told_when_to_come_back_and_others_are_not_held_up(host):
    running = host(per_minute=5)
    busy, other = running.client(Role.READER), running.client(Role.READER)

    statuses = [busy.get("/api/v1/me").status_code for _ in range(6)]
    last = busy.get("/api/v1/me")

    assert statuses == [200] * 5 + [429]
    assert 1 <= int(last.headers["retry-after"]) <= 60
    assert other.get("/api/v1/me").status_code == 200


def test_guessing_tokens_is_cut_off_and_a_token_that_holds_goes_on(host, monkeypatch):
    monkeypatch.setattr(asking, "REMEMBERED_S", 0.0)  # each request looks its token up
    running = host()
    good = running.client(Role.READER)
    assert good.get("/api/v1/me").status_code == 200

    statuses = [running.client(f"ow_guess{number}").get("/api/v1/me").status_code for number in range(25)]

    assert statuses[:20] == [401] * 20
    assert set(statuses[20:]) == {429}
    assert good.get("/api/v1/me").status_code == 200


# --- what is written down -----------------------------------------------------------------------------


def test_no_secret_is_written_into_any_log(host, store, caplog):
    running = host()
    secret = running.token(Role.OWNER)
    client = running.client(secret)
    with caplog.at_level(logging.DEBUG):
        made = client.post("/api/v1/tokens", json={"name": "n", "role": "reader"}).json()["token"]
        running.client("ow_wrong-but-secret").get("/api/v1/me")
        client.post("/login", data={"token": secret})
        client.post("/api/v1/receipts", content=b"{", headers=POST)
        store.drawn()

    lines = client.get("/api/v1/audit").text
    # Our own client's log of what it sends is no log of the server's.
    said = "\n".join(one.getMessage() for one in caplog.records if not one.name.startswith(("httpx", "httpcore")))
    dumped = "\n".join(map(str, store._ledger().engine.raw_connection().iterdump()))  # type: ignore[attr-defined]
    for one in (secret, made, "ow_wrong-but-secret"):
        assert one not in said
        assert one not in lines
        assert one not in dumped


def test_the_audit_log_says_who_did_what_and_what_came_of_it(host):
    running = host()
    owner, reader = running.client(Role.OWNER), running.client(Role.READER)
    me = owner.get("/api/v1/me").json()["who"]
    made = owner.post("/api/v1/tokens", json={"name": "ci", "role": "writer"}).json()
    reader.post("/api/v1/receipts", json={})
    owner.delete(f"/api/v1/tokens/{made['id']}")

    lines = owner.get("/api/v1/audit").json()["lines"]

    assert [(one["method"], one["path"], one["status"]) for one in lines] == [
        ("DELETE", f"/api/v1/tokens/{made['id']}", 204),
        ("POST", "/api/v1/receipts", 403),
        ("POST", "/api/v1/tokens", 201),
    ]
    assert (lines[0]["who"], lines[0]["role"], lines[0]["address"]) == (me, "owner", "127.0.0.1")
    assert made["id"] in lines[2]["detail"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:.]+Z", lines[0]["at"])


def test_nothing_that_is_sent_breaks_a_line_of_the_audit_log(host):
    owner = host().client(Role.OWNER)

    owner.delete("/api/v1/tokens/a%0d%0aowner%00made%1b[31m")

    (line,) = owner.get("/api/v1/audit").json()["lines"]
    assert line["path"].isprintable()


def test_what_cannot_be_written_down_is_not_answered_as_done(host, store, monkeypatch):
    from outweigh.core.errors import LedgerError

    owner = host().client(Role.OWNER)
    assert owner.get("/api/v1/me").status_code == 200

    def away(line: object) -> None:
        raise LedgerError("ledger", "it went away", "Start it")

    monkeypatch.setattr(type(store), "note", lambda self, line: away(line))
    answer = owner.post("/api/v1/tokens", json={"name": "ci", "role": "writer"})

    assert answer.status_code == 503
    assert "ow_" not in answer.text


def test_a_ledger_out_of_reach_is_503_with_a_time_to_come_back(host, store, monkeypatch):
    from outweigh.core.errors import LedgerError

    client = host().client(Role.READER)
    client.get("/api/v1/me")

    def away(*_: object, **__: object) -> None:
        raise LedgerError("ledger", "the server cannot be reached", "Start it and repeat")

    for name in ("texts", "head", "token_of"):
        monkeypatch.setattr(type(store), name, away)

    assert client.get("/api/v1/receipts").headers["retry-after"] == "5"
    assert client.get("/healthz").status_code == 503
    client.headers["Authorization"] = "Bearer ow_other"
    assert client.get("/api/v1/receipts").status_code == 503


def test_one_slow_reader_does_not_keep_the_server_from_others(standing, roles):
    with socket.create_connection(("127.0.0.1", standing.port), timeout=60) as slow:
        slow.sendall(b"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n")

        assert roles[Role.READER].get("/api/v1/me").status_code == 200
