"""A ledger copied into another store: the same order, the same chain, or no copy."""

import importlib.util
import json
import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from outweigh.cli.main import run
from outweigh.core.errors import LedgerCorrupt, LedgerError, UsageError
from outweigh.ledger import open_ledger
from outweigh.ledger.copying import copy_ledger
from outweigh.ports import ReceiptFilter, View, ViewKind


@pytest.fixture
def target(tmp_path):
    with closing(open_ledger(tmp_path / "target.sqlite")) as target:
        yield target


def view_of(address, rate=230.0):
    return View(
        address, ViewKind.CARBON, f"{rate:g}", (), (("carbon_g", rate * 2), ("rate_g_per_kwh", rate)), "made up/1",
        "2026-01-01T00:00:00.000000Z",
    )  # fmt: skip


@pytest.fixture
def written(store, made_receipt):
    """Receipts in an order that is not that of their times, and views of two; the addresses."""
    addresses = store.append_all([made_receipt(number) for number in (4, 0, 3, 1, 2)])
    store.append_views([view_of(addresses[2]), view_of(addresses[0]), view_of(addresses[2], 300.0)])
    return list(addresses)


def kept_in(store):
    return [address for address, _ in store.receipts(ReceiptFilter())]


def test_a_copy_has_the_same_receipts_views_and_chain_in_the_same_order(store, written, target):
    done = copy_ledger(store, target)

    assert (done.receipts, done.receipts_before, done.views) == (5, 0, 3)
    assert target.head() == store.head() == (5, done.chain)
    assert kept_in(target) == written
    assert list(target.views()) == list(store.views())


def test_plans_and_verdicts_come_along_once(store, written, target):
    store.keep_document("plan", '{"a":1}', named="monday", project="p", at="2026-01-01T00:00:00.000000Z")
    store.keep_document("verdict", '{"b":2}', named="pr-7", project="p", at="2026-01-02T00:00:00.000000Z")

    assert copy_ledger(store, target).documents == 2
    assert copy_ledger(store, target).documents == 0
    assert [(one.id, one.body, one.kept_at) for one in target.documents("verdict")] == [
        ("pr-7", '{"b":2}', "2026-01-02T00:00:00.000000Z")
    ]


def test_a_copy_is_brought_up_to_date_and_one_that_is_whole_is_left(store, written, target, made_receipt):
    copy_ledger(store, target)
    store.append(made_receipt(9))

    assert copy_ledger(store, target).receipts == 1
    assert copy_ledger(store, target).receipts == 0
    assert target.head() == store.head()


def test_a_copy_that_was_cut_off_is_gone_on_with(store, written, target):
    class Cut(Exception):
        pass

    def cut(*_):
        raise Cut

    with pytest.raises(Cut):
        copy_ledger(store, target, told=cut)

    done = copy_ledger(store, target)
    assert done.receipts_before + done.receipts == 5
    assert target.head() == store.head()


@pytest.mark.parametrize("numbers", [(4, 0, 9), (9,), (4, 0, 3, 1, 2, 9)], ids=["differs", "other", "longer"])
def test_a_target_that_diverged_is_refused_by_the_first_receipt_that_differs_and_not_touched(
    store, written, target, made_receipt, numbers
):
    target.append_all([made_receipt(number) for number in numbers])
    before = target.head()

    with pytest.raises(UsageError, match=f"from receipt {numbers.index(9) + 1} on"):
        copy_ledger(store, target)

    assert target.head() == before


def test_a_target_with_views_of_its_own_is_refused(store, written, target):
    copy_ledger(store, target)
    target.append_views([view_of(written[1])])

    with pytest.raises(UsageError, match="from view 4 on"):
        copy_ledger(store, target)


def test_a_source_that_does_not_verify_is_not_copied(tmp_path, store, written, target):
    store.close()
    with sqlite3.connect(tmp_path / "ledger.sqlite") as raw:
        for (name,) in raw.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            raw.execute(f"DROP TRIGGER {name}")
        raw.execute("DELETE FROM receipts WHERE seq = 5")
    raw.close()

    with pytest.raises(LedgerCorrupt):
        copy_ledger(store, target)

    assert target.head()[0] == 0


def test_somebody_else_writing_to_the_target_is_noticed(store, written, target, made_receipt, monkeypatch):
    monkeypatch.setattr("outweigh.ledger.copying._PAGE", 2)

    with pytest.raises(LedgerError, match="somebody else wrote"):
        copy_ledger(store, target, told=lambda done, _: target.append(made_receipt(90 + done)))


def test_the_command_copies_and_says_where_both_chains_end(tmp_path, store, written, capsys):
    source, there = str(tmp_path / "ledger.sqlite"), str(tmp_path / "copy.sqlite")

    assert run(["ledger", "copy", source, there, "--json"]) == 0
    assert run(["ledger", "copy", source, there]) == 0

    first, second = capsys.readouterr().out.splitlines()
    assert json.loads(first)["receipts"] == 5
    assert json.loads(first)["chain"] == store.head()[1]
    assert second.startswith("0 receipts and 0 views copied, 5 receipts were there")


@pytest.mark.parametrize(
    ("source", "target", "code", "words"),
    [
        ("missing.sqlite", "copy.sqlite", 3, "no such file"),
        ("ledger.sqlite", "no/folder/copy.sqlite", 3, "no folder"),
        ("ledger.sqlite", "mysql://h/d", 2, "no store opens mysql"),
        ("ledger.sqlite", "postgresql://u:hidden1@127.0.0.1:9/d", 3, "cannot be reached"),
    ],
)
def test_what_cannot_be_copied_is_said_without_a_password(
    tmp_path, store, written, monkeypatch, capsys, source, target, code, words
):
    monkeypatch.chdir(tmp_path)

    assert run(["ledger", "copy", source, target]) == code

    err = capsys.readouterr().err
    assert words in err
    assert "hidden1" not in err


def test_a_ledger_goes_to_postgresql_and_back_with_the_same_chain(tmp_path, store, written):
    script = Path(__file__).parents[1] / "stores" / "postgres_server.py"
    spec = importlib.util.spec_from_file_location("postgres_for_copies", script)
    servers = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(servers)
    if servers.binaries() is None:
        remedy = "there is no PostgreSQL server here: apt-get install postgresql-15"
        pytest.fail(remedy) if os.environ.get("CI") == "true" else pytest.skip(remedy)
    store.keep_document("plan", '{"a":1}', named="monday", project="p", at="2026-01-01T00:00:00.000000Z")
    outweigh = str(Path(sys.executable).with_name("outweigh"))
    with servers.serving(durable=False) as server:
        legs = [(str(tmp_path / "ledger.sqlite"), server.url()), (server.url(), str(tmp_path / "back.sqlite"))]
        rows = []
        for leg in legs:
            command = [outweigh, "ledger", "copy", *leg, "--json"]
            rows.append(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))

    assert {row["chain"] for row in rows} == {store.head()[1]}
    assert [row["documents"] for row in rows] == [1, 1]
    with closing(open_ledger(tmp_path / "back.sqlite", create=False)) as back:
        assert kept_in(back) == written
        assert list(back.views()) == list(store.views())
