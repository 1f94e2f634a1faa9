"""Receipts on their way to a server, over real HTTP on loopback."""

import importlib.util
import json
import logging
import os
import ssl
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest

from outweigh.cli.main import run
from outweigh.core.errors import MissingExtra, ServerUnavailable, UsageError
from outweigh.ledger import open_ledger
from outweigh.ledger.pushing import PushQueue, push
from outweigh.ledger.pushing.http import Address, HttpReceiver

pytest.importorskip("httpx_retries", reason="extra: agent")

SCRIPT = Path(__file__).with_name("receiving.py")


@pytest.fixture(scope="session")
def receiving():
    spec = importlib.util.spec_from_file_location("receiving", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def remote(tmp_path):
    remote = open_ledger(tmp_path / "remote.sqlite")
    yield remote
    remote.close()


@pytest.fixture
def serving(receiving, remote):
    """Starts the server: its arguments are those of ReceiptServer."""

    @contextmanager
    def start(**options):
        with receiving.ReceiptServer(remote, **options) as server:
            yield server

    return start


@pytest.fixture
def filled(tmp_path, store, made_receipt):
    """A local ledger of twelve receipts and the queue of it; their addresses."""
    addresses = list(store.append_all([made_receipt(number) for number in range(12)]))
    with PushQueue(tmp_path / "queue.sqlite") as queue:
        queue.fill(store)
        yield queue, addresses


def kept_in(ledger):
    from outweigh.ports import ReceiptFilter

    return [address for address, _ in ledger.receipts(ReceiptFilter())]


def sent(queue, url, token, *, patience_s=5.0, ca=None):
    with HttpReceiver(Address.checked(url), token, patience_s=patience_s, ca=ca) as receiver:
        return push(queue, receiver)


# --- what goes right ----------------------------------------------------------------------------------


def test_everything_that_waits_arrives_in_its_order(serving, receiving, filled, remote):
    queue, addresses = filled
    with serving() as server:
        done = sent(queue, server.url, receiving.TOKEN)

    assert (done.sent, done.already, done.aside) == (12, 0, 0)
    assert kept_in(remote) == addresses
    assert remote.verify() == 12
    assert queue.counts().waiting == 0


def test_an_answer_that_is_lost_neither_loses_nor_doubles_anything(serving, receiving, filled, remote):
    queue, addresses = filled
    with serving(trouble=["drop"]) as server:
        done = sent(queue, server.url, receiving.TOKEN)
        keys = [key for key, _, _ in server.seen]

    assert done.sent == 12
    assert kept_in(remote) == addresses
    assert len(keys) == 2
    assert len(set(keys)) == 1, "the batch that was tried again had a key of its own"


def test_what_the_server_had_before_is_counted_and_not_doubled(serving, receiving, filled, remote, made_receipt):
    queue, addresses = filled
    remote.append(made_receipt(5))
    with serving() as server:
        done = sent(queue, server.url, receiving.TOKEN)

    assert (done.sent, done.already) == (12, 1)
    assert sorted(kept_in(remote)) == sorted(addresses)


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_a_busy_server_is_asked_again_after_the_pause_it_asks_for(serving, receiving, filled, remote, status):
    queue, addresses = filled
    asked = {"Retry-After": "1"} if status == 429 else {}
    with serving(trouble=[(status, asked, "later")]) as server:
        assert sent(queue, server.url, receiving.TOKEN, patience_s=10.0).sent == 12

    assert kept_in(remote) == addresses


def test_a_pause_longer_than_our_patience_is_not_sat_out(serving, receiving, filled):
    queue, _ = filled
    with (
        serving(trouble=[(429, {"Retry-After": "3600"}, "")]) as server,
        pytest.raises(ServerUnavailable) as caught,
    ):
        sent(queue, server.url, receiving.TOKEN)

    assert caught.value.retry_after_s == 3600
    assert queue.counts().waiting == 12


# --- what the server will not have --------------------------------------------------------------------


def test_a_refused_receipt_is_set_aside_with_the_reason_and_the_others_go_on(
    serving, receiving, filled, remote, made_receipt
):
    queue, addresses = filled
    remote.append(made_receipt(4, joules=1.0))
    bad = {4: "kept already with other content", 9: "no such project"}
    with serving(refuses=lambda r: bad[9] if r.run_id == "run-000009" else "") as server:
        done = sent(queue, server.url, receiving.TOKEN)

    aside = {one.address: one for one in queue.aside()}
    assert (done.sent, done.aside) == (10, 2)
    assert set(aside) == {addresses[4], addresses[9]}
    assert bad[4] in aside[addresses[4]].reason
    assert (aside[addresses[9]].status, aside[addresses[9]].reason) == (409, bad[9])
    assert set(kept_in(remote)) >= set(addresses) - set(aside)


def test_a_server_that_refuses_everything_is_not_offered_the_rest(serving, receiving, filled):
    from outweigh.core.errors import LedgerError

    queue, _ = filled
    with (
        serving(refuses=lambda _: "closed for the season") as server,
        pytest.raises(LedgerError, match="every receipt"),
    ):
        sent(queue, server.url, receiving.TOKEN)

    assert queue.counts().waiting == 2
    assert queue.counts().aside == 10


def test_a_batch_too_large_for_the_server_is_halved_until_it_fits(serving, receiving, filled, remote):
    queue, addresses = filled
    with serving(most_bytes=6_000) as server:
        assert sent(queue, server.url, receiving.TOKEN).sent == 12
        assert max(n for _, n, _ in server.seen) < 6

    assert kept_in(remote) == addresses


def test_a_server_that_acknowledges_something_else_is_not_believed(serving, receiving, filled):
    from outweigh.core.errors import LedgerError

    queue, _ = filled
    answer = json.dumps({"addresses": ["0" * 64], "kept": 1, "already": 0})
    with serving(trouble=[(201, {}, answer)]) as server, pytest.raises(LedgerError, match="other receipts"):
        sent(queue, server.url, receiving.TOKEN)

    assert queue.counts().waiting == 12


@pytest.mark.parametrize(
    "answer", ["", "<html>sign in</html>", "[]", '{"addresses": 3}', '{"addresses": [1], "already": 0}']
)
def test_an_answer_that_is_none_is_said_and_nothing_is_taken_as_sent(serving, receiving, filled, answer):
    queue, _ = filled
    with serving(trouble=[(200, {}, answer)]) as server, pytest.raises(UsageError, match="not as an outweigh server"):
        sent(queue, server.url, receiving.TOKEN)

    assert queue.counts().waiting == 12


# --- what cannot work ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "headers", "words"),
    [
        (401, {}, "token is wrong"),
        (403, {}, "may not write"),
        (404, {}, "address that `outweigh serve` printed"),
        (302, {"Location": "https://login.example/?next=x"}, "sends us on to https://login.example"),
    ],
)
def test_what_waiting_would_not_mend_is_said_at_once(serving, receiving, filled, status, headers, words):
    queue, _ = filled
    with serving(trouble=[(status, headers, "no")]) as server, pytest.raises(UsageError) as caught:
        sent(queue, server.url, receiving.TOKEN)

    assert words in str(caught.value)
    assert queue.counts().waiting == 12


def test_no_network_leaves_everything_waiting(filled, receiving):
    queue, _ = filled

    with pytest.raises(ServerUnavailable, match="no connection") as caught:
        sent(queue, "http://127.0.0.1:9", receiving.TOKEN, patience_s=0.0)

    assert caught.value.exit_code == 3
    assert queue.counts().waiting == 12


def certificate(folder):
    made = subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1",
         "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", folder / "key.pem", "-out", folder / "cert.pem"],
        capture_output=True, check=False,
    )  # fmt: skip
    if made.returncode != 0:
        pytest.skip("there is no openssl here")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    return context, folder / "cert.pem"


def test_a_certificate_nobody_vouches_for_is_refused_at_once_and_a_named_authority_is_trusted(
    tmp_path, serving, receiving, filled, remote
):
    queue, addresses = filled
    context, ca = certificate(tmp_path)
    with serving(tls=context) as server:
        with pytest.raises(UsageError, match="cannot be trusted"):
            sent(queue, server.url, receiving.TOKEN, patience_s=60.0)
        assert queue.counts().waiting == 12
        assert sent(queue, server.url, receiving.TOKEN, ca=ca).sent == 12

    assert kept_in(remote) == addresses


@pytest.mark.parametrize(
    "url",
    ["energy.example", "ftp://energy.example", "https://", "https://u:hidden1@energy.example", "https://e.example:x/",
     "https://energy.example/?token=hidden1", "http://energy.example"],
)  # fmt: skip
def test_an_address_that_would_not_do_is_refused_and_not_repeated(url):
    with pytest.raises(UsageError) as caught:
        Address.checked(url)

    assert "hidden1" not in str(caught.value)


def test_an_address_may_have_a_path_and_may_name_the_api_itself():
    assert Address.checked("https://e.example/energy/").url == "https://e.example/energy"
    assert Address.checked("http://127.0.0.1:8080/api/v1/receipts").url == "http://127.0.0.1:8080"
    assert Address.checked("http://e.example", plain_http=True).url == "http://e.example"


def test_without_the_extra_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "httpx_retries", None)

    with pytest.raises(MissingExtra, match=r"outweigh\[agent\]"):
        HttpReceiver(Address.checked("http://127.0.0.1:1"))


def test_the_token_is_in_no_log_no_message_and_no_file(tmp_path, serving, receiving, filled, caplog):
    queue, _ = filled
    wrong = "owt_another-secret"
    with (
        caplog.at_level(logging.DEBUG),
        serving(trouble=[(503, {}, "later")]) as server,
        pytest.raises(UsageError) as caught,
    ):
        sent(queue, server.url, wrong)

    assert "***" in str(caught.value)
    assert wrong not in str(caught.value) + caplog.text + repr(caught.value.args)
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and wrong.encode() in path.read_bytes()]


# --- the command --------------------------------------------------------------------------------------


@pytest.fixture
def typed(tmp_path, store, made_receipt, receiving, monkeypatch):
    """Three receipts in a ledger, and `outweigh ledger push URL --ledger ...` as it is typed; its exit code."""
    store.append_all([made_receipt(number) for number in range(3)])
    monkeypatch.setenv("OUTWEIGH_TOKEN", receiving.TOKEN)
    monkeypatch.chdir(tmp_path)

    def push(url, *options):
        return run(["ledger", "push", url, "--ledger", str(tmp_path / "ledger.sqlite"), "--patience", "0", *options])

    return push


def test_push_sends_what_is_new_and_says_how_it_stands(typed, serving, store, made_receipt, capsys):
    with serving() as server:
        assert typed(server.url, "--json") == 0
        store.append(made_receipt(9))
        assert typed(server.url, "--json") == 0
        assert typed(server.url) == 0

    rows = capsys.readouterr().out.splitlines()
    assert [json.loads(row)["sent"] for row in rows[:2]] == [3, 1]
    assert rows[2] == "0 receipts sent, 0 of them were there, 0 wait"


def test_push_takes_the_token_from_a_file_and_warns_when_others_can_read_it(
    tmp_path, typed, serving, receiving, monkeypatch, capsys
):
    monkeypatch.delenv("OUTWEIGH_TOKEN")
    file = tmp_path / "token"
    file.write_text(receiving.TOKEN + "\n")
    file.chmod(0o644)
    with serving() as server:
        assert typed(server.url) == 2
        assert typed(server.url, "--token-file", str(file)) == 0

    err = capsys.readouterr().err
    assert "chmod 600" in err
    assert receiving.TOKEN not in err


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (["--token-file", "no-such-file"], 2, "cannot be read"),
        (["--ca", "no-such-file"], 2, "certificates"),
        (["--ledger", "no-such-ledger"], 3, "no such file"),
        (["--queue-size", "0"], 2, "--queue-size"),
        (["--follow", "--every", "nan"], 2, "--every"),
        (["--follow", "--every", "inf"], 2, "--every"),
        (["--follow", "--every", "0"], 2, "--every"),
        (["--patience", "nan"], 2, "--patience"),
    ],
)
def test_push_says_what_was_typed_wrong(typed, capsys, options, code, words):
    assert typed("http://127.0.0.1:9", *options) == code

    err = capsys.readouterr().err
    assert words in err
    assert "Traceback" not in err


def test_push_ends_with_3_when_the_server_is_away_or_refuses_some_and_lists_them(typed, serving, capsys):
    assert typed("http://127.0.0.1:9") == 3
    with serving(refuses=lambda r: "not today" if r.run_id == "run-000001" else "") as server:
        assert typed(server.url) == 3
        capsys.readouterr()
        assert typed(server.url, "--status") == 0
        said = capsys.readouterr().out
        server.refuses = lambda _: ""
        assert typed(server.url, "--retry-refused") == 0

    assert "0 wait, 1 set aside, 2 sent so far" in said
    assert "409  not today" in said


def test_push_with_a_small_queue_sends_everything_all_the_same(typed, serving, remote, capsys):
    with serving() as server:
        assert typed(server.url, "--queue-size", "1") == 0

    assert remote.verify() == 3
    assert capsys.readouterr().err.count("the queue is full") == 1


def test_push_takes_along_a_run_that_was_cut_off(tmp_path, typed, serving, remote, monkeypatch):
    journal = tmp_path / "ledger.sqlite.running"
    writer = (
        "import sys, os; from pathlib import Path; from outweigh.ledger import RunJournal;"
        "from outweigh.core import Phase, Scope, Grade, Method;"
        "RunJournal(Path(sys.argv[1]), 'cut-off', project='p', phase=Phase.TRAINING, meter='m', scope=Scope.NODE,"
        " grade=Grade.B, method=Method.REPLAYED, source='synthetic'); os._exit(9)"
    )
    subprocess.run([sys.executable, "-c", writer, str(journal)], check=False)

    with serving() as server:
        assert typed(server.url) == 0

    assert remote.verify() == 4


# --- following ----------------------------------------------------------------------------------------


class Enough(Exception):
    pass


def test_a_follower_waits_for_the_first_ledger_and_for_a_server_that_is_away_and_then_sends(
    tmp_path, serving, receiving, remote, made_receipt
):
    from outweigh.app import pushing

    outgoing = pushing.Outgoing.named("http://127.0.0.1:9", str(tmp_path / "late.sqlite"))
    said, waits = [], []
    with serving(trouble=[(503, {}, "database away")]) as server:
        outgoing = pushing.Outgoing.named(server.url, str(tmp_path / "late.sqlite"))

        def sleep(seconds):
            waits.append(seconds)
            if len(waits) == 1:
                late = open_ledger(tmp_path / "late.sqlite")
                late.append(made_receipt(0))
                late.close()
            if len(waits) == 3:
                raise Enough

        with (
            pushing.open_receiver(outgoing, receiving.TOKEN, ca=None, patience_s=0.0) as receiver,
            pytest.raises(Enough),
        ):
            pushing.follow(outgoing, receiver, pushing.Told(said.append), every_s=0.5, sleep=sleep)

    assert remote.verify() == 1
    assert "there is no ledger yet" in said[0]
    assert "database away" in said[1]
    assert "answers again" in said[2]
    assert len(said) == 3


def test_a_follower_notices_that_another_ledger_took_the_place_of_the_one_it_reads(
    tmp_path, serving, receiving, remote, made_receipt
):
    from outweigh.app import pushing

    path = tmp_path / "node.sqlite"

    def write(*numbers):
        node = open_ledger(path)
        node.append_all([made_receipt(number) for number in numbers])
        node.close()

    said, waits = [], []
    write(0, 1)
    with serving() as server:

        def sleep(seconds):
            waits.append(seconds)
            if len(waits) == 1:
                for file in tmp_path.glob("node.sqlite*"):
                    if file.is_file():
                        file.unlink()
                write(7, 8, 9)
            if len(waits) == 2:
                raise Enough

        outgoing = pushing.Outgoing.named(server.url, str(path))
        with (
            pushing.open_receiver(outgoing, receiving.TOKEN, ca=None, patience_s=0.0) as receiver,
            pytest.raises(Enough),
        ):
            pushing.follow(outgoing, receiver, pushing.Told(said.append), every_s=0.5, sleep=sleep)

    assert remote.verify() == 5
    assert "another ledger" in said[0]


def test_a_follower_that_is_told_to_stop_ends_well_and_keeps_what_waits(tmp_path, store, made_receipt, receiving):
    import signal

    store.append(made_receipt(0))
    env = {**os.environ, "OUTWEIGH_TOKEN": receiving.TOKEN}
    command = [str(Path(sys.executable).with_name("outweigh")), "ledger", "push", "http://127.0.0.1:9", "--follow",
               "--patience", "0", "--ledger", str(tmp_path / "ledger.sqlite")]  # fmt: skip
    with subprocess.Popen(command, env=env, stderr=subprocess.PIPE, text=True) as follower:
        for line in follower.stderr:
            if "tried again and again" in line:
                break
        follower.send_signal(signal.SIGTERM)
        rest = follower.stderr.read()

    assert follower.returncode == 0
    assert "Traceback" not in rest
    assert run(["ledger", "push", "http://127.0.0.1:9", "--ledger", str(tmp_path / "ledger.sqlite"), "--status"]) == 0
