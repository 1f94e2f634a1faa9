"""Tokens and sessions: made once, kept as hashes, good for as long as they hold."""

from __future__ import annotations

import hashlib
import json
import time
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from outweigh.app.serving.tokens import digest_of, make_token, revoke_token
from outweigh.cli.main import run
from outweigh.core.errors import UsageError
from outweigh.dashboard.guard import asking
from outweigh.ports.serving import Role


def test_on_this_machine_all_may_read_until_a_token_is_made_and_nobody_may_write(host):
    running = host()
    anyone = running.client()
    assert anyone.get("/api/v1/receipts").status_code == 200
    assert anyone.get("/api/v1/me").json() == {"who": "local", "role": "reader"}
    assert anyone.post("/api/v1/receipts", json={"receipts": []}).status_code == 401
    assert anyone.get("/api/v1/tokens").status_code == 401

    owner = running.client(Role.OWNER)
    owner.post("/api/v1/tokens", json={"name": "first", "role": "reader"})

    assert anyone.get("/api/v1/receipts").status_code == 401


@pytest.mark.parametrize("header", ["X-Forwarded-For", "X-Real-IP", "Forwarded", "Via"])
def test_who_comes_through_a_proxy_is_not_on_this_machine(host, header: str):
    assert host().client(**{header: "192.0.2.7"}).get("/api/v1/receipts").status_code == 401


def test_a_server_that_others_can_reach_answers_nobody_without_a_token(host):
    running = host(wide=True)

    assert running.client().get("/api/v1/receipts").status_code == 401
    assert running.client(Role.READER).get("/api/v1/receipts").status_code == 200


def test_a_token_is_shown_once_and_kept_as_its_hash(host, store):
    owner = host().client(Role.OWNER)

    made = owner.post("/api/v1/tokens", json={"name": "ci", "role": "writer", "expires": "90d"}).json()

    listed = owner.get("/api/v1/tokens").json()["tokens"]
    assert made["token"].startswith("ow_")
    assert len(made["token"]) >= 46  # 256 bits
    assert "token" not in listed[-1]
    assert (listed[-1]["name"], listed[-1]["role"], listed[-1]["state"]) == ("ci", "writer", "holds")
    kept = next(token for token in store.tokens() if token.id == made["id"])
    assert kept.digest == hashlib.sha256(made["token"].encode()).hexdigest()


def test_a_token_holds_until_it_expires(host):
    running = host()
    from datetime import timedelta

    client = running.client(running.token(Role.READER, lifetime=timedelta(hours=1)))
    assert client.get("/api/v1/me").status_code == 200

    running.clock.forward(hours=1)

    assert client.get("/api/v1/me").status_code == 401


def test_a_token_that_is_revoked_here_is_refused_at_once_and_elsewhere_when_it_is_forgotten(host, store, monkeypatch):
    monkeypatch.setattr(asking, "REMEMBERED_S", 0.3)
    here, elsewhere = host(), host()
    secret = here.token(Role.READER)
    clients = [here.client(secret), elsewhere.client(secret)]
    assert [client.get("/api/v1/me").status_code for client in clients] == [200, 200]
    revoked = next(token.id for token in store.tokens() if token.role is Role.READER)

    here.client(Role.OWNER).delete(f"/api/v1/tokens/{revoked}")

    assert clients[0].get("/api/v1/me").status_code == 401
    until = time.monotonic() + 20
    while clients[1].get("/api/v1/me").status_code == 200 and time.monotonic() < until:
        time.sleep(0.05)
    assert clients[1].get("/api/v1/me").status_code == 401


def test_whoever_goes_on_with_a_revoked_token_is_told_to_wait_and_does_not_fill_the_log(host, store):
    running = host()
    secret, owner = running.token(Role.READER), running.client(Role.OWNER)
    client = running.client(secret)
    assert client.get("/api/v1/me").status_code == 200
    revoked = next(token.id for token in store.tokens() if token.role is Role.READER)
    owner.delete(f"/api/v1/tokens/{revoked}")

    statuses = [client.get("/api/v1/me").status_code for _ in range(40)]

    assert statuses == [401] * 20 + [429] * 20
    lines = owner.get("/api/v1/audit", params={"limit": 100}).json()["lines"]
    assert sum(line["status"] == 401 for line in lines) == 20
    assert owner.get("/api/v1/me").status_code == 200


@pytest.mark.parametrize("path", ["/", "/runs.csv", "/api/v1/pages/runs", "/runs?limit=0"])
def test_what_only_some_may_see_is_kept_by_nobody_on_the_way(roles, path: str):
    answer = roles[Role.READER].get(path)

    assert answer.headers["cache-control"] == "private, no-cache"


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"name": "", "role": "reader"},
        {"name": "x", "role": "king"},
        {"name": "x", "role": "reader", "expires": "0d"},
        {"name": "x", "role": "reader", "expires": "soon"},
        {"name": "x", "role": "reader", "expires": "99999d"},
        {"name": "a\nb", "role": "reader"},
        {"name": "\u0000", "role": "reader"},
        {"name": "x" * 101, "role": "reader"},
        {"name": "x", "role": "reader", "digest": "0" * 64},
        {"name": ["x"], "role": "reader"},
    ],
    ids=str,
)
def test_a_token_that_cannot_be_is_not_made(standing, roles, body: dict[str, object]):
    before = len(standing.served.access.tokens())

    answer = roles[Role.OWNER].post("/api/v1/tokens", json=body)

    assert answer.status_code == 422
    assert answer.json()["remedy"]
    assert len(standing.served.access.tokens()) == before


@pytest.mark.parametrize("given", ["", "Bearer", "Basic b3c6b3c=", "Bearer a b", "bearer " + "x" * 5000])
def test_what_is_no_token_makes_nobody(roles, given: str):
    assert roles[None].get("/api/v1/me", headers={"Authorization": given}).status_code == 401


def test_a_secret_that_differs_in_one_letter_is_refused(store):
    from datetime import UTC, datetime

    _, secret = make_token(store, "x", Role.READER, now=datetime.now(UTC))

    assert store.token_of(digest_of(secret)) is not None
    assert store.token_of(digest_of(secret[:-1] + ("a" if secret[-1] != "a" else "b"))) is None


# --- browsers -----------------------------------------------------------------------------------------

HTML = {"Accept": "text/html"}


def logged_in(running, secret: str) -> httpx.Client:
    client = running.client()
    answer = client.post("/login", data={"token": secret}, headers={"Origin": running.url})
    assert answer.status_code == 303, answer.text
    return client


def test_a_browser_without_a_token_is_led_to_the_login_and_back(host):
    running = host(wide=True)
    client = running.client()

    led = client.get("/api/v1/receipts?limit=1", headers=HTML)
    back = client.post(led.headers["location"], data={"token": running.token(Role.READER)})

    assert (led.status_code, urlsplit(led.headers["location"]).path) == (303, "/login")
    assert back.headers["location"] == "/api/v1/receipts?limit=1"
    assert client.get(back.headers["location"], headers=HTML).status_code == 200


def test_a_session_lies_in_a_cookie_that_no_script_and_no_other_site_gets(host, store):
    running = host(wide=True)

    cookie = running.client().post("/login", data={"token": running.token(Role.READER)}).headers["set-cookie"]

    assert {"HttpOnly", "SameSite=strict", "Path=/"} <= {part.strip() for part in cookie.split(";")}
    secret = cookie.split("=", 1)[1].split(";")[0]
    with store._ledger().engine.connect() as connection:
        kept = [row[0] for row in connection.exec_driver_sql("SELECT digest FROM sessions")]
    assert kept == [hashlib.sha256(secret.encode()).hexdigest()]


def test_a_session_ends_by_logging_out_by_its_time_and_with_its_token(host, store):
    running = host(wide=True)
    secret = running.token(Role.READER)
    for end in ("logout", "time", "revoked"):
        client = logged_in(running, secret)
        assert client.get("/api/v1/me").json()["role"] == "reader"
        jar = dict(client.cookies)
        if end == "logout":
            client.post("/logout", headers={"Origin": running.url})
        elif end == "time":
            running.clock.forward(hours=13)
        else:
            revoke_token(store, store.tokens()[0].id, now=running.clock())
        asking_again = host(wide=True)
        asking_again.clock.moment = running.clock.moment
        again = asking_again.client()
        again.cookies.update(jar)
        assert again.get("/api/v1/me").status_code == 401, end


def test_a_session_may_write_only_from_a_page_of_this_server(host):
    running = host(wide=True)
    client = logged_in(running, running.token(Role.OWNER))
    body = {"name": "x", "role": "reader"}

    statuses = [
        client.post("/api/v1/tokens", json=body, headers=headers).status_code
        for headers in ({}, {"Origin": "https://elsewhere.example"}, {"Origin": running.url})
    ]

    assert statuses == [403, 403, 201]


@pytest.mark.parametrize(
    "following",
    ["//elsewhere.example", "https://elsewhere.example", "/\\elsewhere.example", "javascript:alert(1)", "", "/a\r\nb"],
)
def test_the_login_leads_nowhere_else(host, following: str):
    running = host(wide=True)

    answer = running.client().post("/login", params={"next": following}, data={"token": running.token(Role.READER)})

    assert answer.headers["location"] == "/"


def test_what_is_wrong_at_the_login_is_said_without_repeating_it(host):
    client = host(wide=True).client()

    answer = client.post("/login?next=%22%3E%3Cscript%3Ealert(1)%3C/script%3E", data={"token": "<script>alert(2)"})

    assert answer.status_code == 401
    assert "<script" not in answer.text
    assert "set-cookie" not in answer.headers


def test_guessing_at_the_login_is_cut_off(host):
    client = host(wide=True).client()

    statuses = [client.post("/login", data={"token": f"ow_{number}"}).status_code for number in range(22)]

    assert statuses == [401] * 20 + [429] * 2


# --- the command line ---------------------------------------------------------------------------------


def test_tokens_are_made_listed_and_revoked_from_the_command_line(tmp_path: Path, store, capsys):
    ledger = ("--ledger", str(tmp_path / "ledger.sqlite"))

    def outweigh(*args: str) -> tuple[int, str, str]:
        code = run(["serve", "token", *args, *ledger])
        return code, *capsys.readouterr()

    code, secret, told = outweigh("create", "ci", "--role", "writer", "--expires", "90d")
    (token,) = store.tokens()
    assert (code, token.digest) == (0, digest_of(secret.strip()))
    assert token.id in told
    code, listed, _ = outweigh("list", "--json")
    row = json.loads(listed)
    assert (row["name"], row["role"], row["state"]) == ("ci", "writer", "holds")
    assert secret.strip() not in listed
    assert outweigh("revoke", row["id"])[0] == 0
    assert store.tokens()[0].revoked_at is not None
    code, _, told = outweigh("revoke", "nobody")
    assert (code, "no token has the id" in told) == (2, True)


def test_a_lifetime_that_is_none_is_refused(store):
    from outweigh.app.serving.tokens import lifetime_of

    for text in ("", "90", "d", "-1d", "1w", "٣d"):
        with pytest.raises(UsageError):
            lifetime_of(text)
