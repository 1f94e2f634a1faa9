"""Pushing to the server that ships: what it really answers is what an agent understands."""

import importlib.util
import json
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from outweigh.cli.main import run
from outweigh.ledger import open_ledger
from outweigh.ports import ReceiptFilter

pytest.importorskip("fastapi", reason="extra: serve")
pytest.importorskip("httpx_retries", reason="extra: agent")

OUTWEIGH = str(Path(sys.executable).with_name("outweigh"))


@pytest.fixture(scope="module")
def made_ones():
    spec = importlib.util.spec_from_file_location(
        "made_for_pushing", Path(__file__).parents[1] / "stores" / "made_receipts.py"
    )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.made_receipt


@pytest.fixture(scope="module")
def served(tmp_path_factory, made_ones):
    """(URL, path of its ledger, tokens by role) of `outweigh serve`, whose ledger has one run already."""
    folder = tmp_path_factory.mktemp("server")
    ledger = folder / "server.sqlite"
    with closing(open_ledger(ledger)) as store:
        store.append(made_ones(4, joules=1.0))
    tokens = {}
    for role in ("reader", "writer"):
        made = subprocess.run(
            [OUTWEIGH, "serve", "token", "create", role, "--role", role, "--ledger", ledger],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        tokens[role] = made.stdout.split()[-1]
    command = [OUTWEIGH, "serve", "--ledger", ledger, "--project", folder, "--port", "0", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        yield json.loads(process.stdout.readline())["url"], ledger, tokens
        process.terminate()


def pushed(url, ledger, token, monkeypatch, capsys):
    monkeypatch.setenv("OUTWEIGH_TOKEN", token)
    code = run(["ledger", "push", url, "--ledger", str(ledger), "--patience", "20", "--json"])
    said = capsys.readouterr()
    return code, said.out, said.err


def test_a_token_that_is_wrong_or_may_not_write_is_said_and_nothing_leaves_the_queue(
    served, tmp_path, made_ones, monkeypatch, capsys
):
    url, _, tokens = served
    with closing(open_ledger(tmp_path / "node.sqlite")) as node:
        node.append(made_ones(100))

    wrong = pushed(url, tmp_path / "node.sqlite", "ow_wrong", monkeypatch, capsys)
    reader = pushed(url, tmp_path / "node.sqlite", tokens["reader"], monkeypatch, capsys)
    writer = pushed(url, tmp_path / "node.sqlite", tokens["writer"], monkeypatch, capsys)

    assert (wrong[0], reader[0], writer[0]) == (2, 2, 0)
    assert "401" in wrong[2]
    assert "The token is wrong" in wrong[2]
    assert "403" in reader[2]
    assert "may not write" in reader[2]
    assert json.loads(writer[1])["sent"] == 1


def test_what_the_server_refuses_is_set_aside_and_everything_else_arrives_with_its_address(
    served, tmp_path, made_ones, monkeypatch, capsys
):
    url, ledger, tokens = served
    with closing(open_ledger(tmp_path / "node.sqlite")) as node:
        addresses = list(node.append_all([made_ones(number) for number in range(12)]))
        too_large = node.append(made_ones(12, labels=(("padding", "x" * 9_000_000),)))

    code, out, err = pushed(url, tmp_path / "node.sqlite", tokens["writer"], monkeypatch, capsys)
    run(["ledger", "push", url, "--ledger", str(tmp_path / "node.sqlite"), "--status", "--json"])
    refusals = {one["receipt"]: one for one in json.loads(capsys.readouterr().out)["refusals"]}

    assert code == 3
    assert json.loads(out)["sent"] == 11
    assert {address: one["status"] for address, one in refusals.items()} == {addresses[4]: 409, too_large: 413}
    assert "other content" in refusals[addresses[4]]["reason"]
    assert "Traceback" not in err
    with closing(open_ledger(ledger, create=False)) as kept:
        there = {address for address, _ in kept.receipts(ReceiptFilter())}
        kept.verify()
    assert set(addresses) - {addresses[4]} <= there
