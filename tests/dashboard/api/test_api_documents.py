"""Verdicts and plans over the API, budgets, and /metrics."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from outweigh.core.measurement import Scope
from outweigh.ports.serving import Role

PROJECT = """
[project]
name = "synthetic"
unit = "ticket"
volume = { per_month = 3.0e6, low = 1.8e6 }
[task]
adapter = "command"
dataset = "items.txt"
primary = { metric = "accuracy", ceiling = 0.97 }
[variants.base]
model = "model.sh"
[budget.serve]
phase = "inference"
total = { limit = "35 kWh", per = "year" }
owner = "team-support"
"""


def test_a_verdict_that_is_no_review_is_refused(roles):
    for body in ({}, {"kind": "outweigh.review", "schema": 1}, {"kind": "outweigh.review", "schema": 2}):
        answer = roles[Role.WRITER].post("/api/v1/verdicts", json=body)

        assert answer.status_code == 422
        assert "review" in answer.json()["detail"]


def test_a_plan_that_is_none_is_refused(roles):
    answer = roles[Role.WRITER].post("/api/v1/plans", json={"schema": "outweigh.plan/1", "jobs": 5})

    assert answer.status_code == 422
    assert answer.json()["remedy"]


def test_a_body_that_is_deeper_than_any_document_is_refused(roles):
    deep: Any = {}
    for _ in range(100):
        deep = {"a": deep}

    assert roles[Role.WRITER].post("/api/v1/plans", json=deep).status_code == 422
    raw = b'{"a":' + b"[" * 100_000
    answer = roles[Role.WRITER].post("/api/v1/plans", content=raw, headers={"Content-Type": "application/json"})
    assert answer.status_code == 400


def kept(store: Any, kind: str, count: int) -> list[str]:
    return [
        store.keep_document(kind, json.dumps({"n": n}), named=f"id-{n % 2}", project="p", at="2026-01-01T00:00:00Z")[0]
        for n in range(count)
    ]


@pytest.mark.parametrize("kind", ["verdict", "plan"])
def test_documents_come_out_newest_first_page_by_page_and_by_id(host, store, kind: str):
    client = host().client(Role.READER)
    addresses = kept(store, kind, 5)

    first = client.get(f"/api/v1/{kind}s", params={"limit": 3}).json()
    rest = client.get(f"/api/v1/{kind}s", params={"limit": 3, "after": first["next"]}).json()
    one = client.get(f"/api/v1/{kind}s/{addresses[2]}")

    assert [entry["address"] for entry in first[f"{kind}s"] + rest[f"{kind}s"]] == addresses[::-1]
    assert rest["next"] is None
    assert one.json()["body"] == {"n": 2}
    assert (
        client.get(f"/api/v1/{kind}s/{addresses[2]}", headers={"If-None-Match": one.headers["etag"]}).status_code == 304
    )
    named = client.get(f"/api/v1/{kind}s", params={"id": "id-1"}).json()[f"{kind}s"]
    assert [entry["body"]["n"] for entry in named] == [3, 1]
    assert client.get(f"/api/v1/{kind}s/{'0' * 64}").status_code == 404


def test_the_same_document_is_kept_once_and_kinds_are_apart(store):
    (first,) = kept(store, "verdict", 1)

    assert store.keep_document("verdict", '{"n": 0}', named="x", project="", at="2026") == (first, False)
    assert store.keep_document("plan", '{"n": 0}', named="x", project="", at="2026") == (first, True)
    assert store.document("verdict", first).id == "id-0"


@pytest.mark.parametrize("text", ["'; DROP TABLE receipts; --", "%", "_", "\\", "x' OR '1'='1", "\x00", "é\u202e"])
def test_what_is_searched_for_is_text_and_no_sql(host, store, made_receipt, text: str):
    client = host().client(Role.READER)
    store.append(made_receipt(0))
    kept(store, "verdict", 1)

    assert client.get("/api/v1/receipts", params={"project": text}).json()["receipts"] == []
    assert client.get("/api/v1/receipts", params={"batch": text}).json()["receipts"] == []
    assert client.get("/api/v1/verdicts", params={"id": text}).json()["verdicts"] == []
    assert client.get("/api/v1/verdicts", params={"project": text}).json()["verdicts"] == []
    assert store.verify() == 1


EVIL = "<script>alert(1)</script>'\"; DROP TABLE receipts; --"


def test_labels_are_text_wherever_they_come_out(host, store, made_receipt):
    running = host()
    writer = running.client(Role.WRITER)
    receipt = made_receipt(0, project=EVIL, variant=EVIL, labels=((EVIL, EVIL),))

    address = writer.post("/api/v1/receipts", json={"receipts": [receipt.to_dict()]}).json()["addresses"][0]

    assert writer.get(f"/api/v1/receipts/{address}").json()["receipt"]["labels"] == {EVIL: EVIL}
    assert store.verify() == 1
    for path in ("/", "/runs", f"/runs/{address}", "/frontier", "/budgets", "/places", "/whatif", "/evidence"):
        answer = writer.get(path, headers={"Accept": "text/html"})
        if answer.status_code == 404 and "problem" in answer.headers["content-type"]:
            continue  # no such page
        assert answer.status_code < 500, (path, answer.text)
        assert "<script>alert" not in answer.text, path


def test_metrics_hold_what_the_ledger_holds_with_names_escaped(host, store, made_receipt):
    from prometheus_client.parser import text_string_to_metric_families

    client = host().client(Role.READER)
    store.append_all([made_receipt(0), made_receipt(1), made_receipt(2, project='a"b\nc')])

    answer = client.get("/metrics")

    found = {
        (sample.name, sample.labels.get("project", "")): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }
    assert answer.headers["content-type"].startswith("text/plain")
    assert found["outweigh_ledger_receipts", ""] == 3
    assert found["outweigh_receipts_energy_joules_total", "synthetic"] == 201.0  # 100 J and 101 J
    assert found["outweigh_receipts_total", 'a"b\nc'] == 1


def test_metrics_never_add_the_energy_of_a_package_to_that_of_its_node(host, store, made_receipt):
    from prometheus_client.parser import text_string_to_metric_families

    labels = (("machine", "m1"),)
    store.append_all(
        [
            made_receipt(0, joules=1000.0, scope=Scope.NODE, labels=labels),
            made_receipt(1, joules=600.0, scope=Scope.PACKAGE, labels=labels),
        ]
    )

    answer = host().client(Role.READER).get("/metrics")

    energies = {
        sample.labels["scope"]: sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
        if sample.name == "outweigh_receipts_energy_joules_total"
    }
    assert energies == {"node": 1000.0, "package": 600.0}


def test_budgets_are_those_of_the_project_and_follow_the_ledger(host, store, made_receipt, tmp_path: Path):
    from outweigh.config import load_project

    (tmp_path / "energy.toml").write_text(PROJECT, encoding="utf-8")
    running = host(project=load_project(tmp_path))
    client = running.client(Role.READER)
    before = client.get("/api/v1/budgets")

    store.append(made_receipt(0, joules=3600.0, start=running.clock.moment.replace(microsecond=0)))
    running.clock.forward(minutes=5)
    after = client.get("/api/v1/budgets")

    (line,) = after.json()["budgets"]
    assert before.json()["budgets"][0]["drawn_j"] == 0.0
    assert (line["budget"], line["drawn_j"], line["limit_j"]) == ("serve", 3600.0, 35 * 3.6e6)
    assert client.get("/api/v1/budgets", headers={"If-None-Match": after.headers["etag"]}).status_code == 304


def test_without_a_project_there_are_no_budget_lines(host):
    assert host().client(Role.READER).get("/api/v1/budgets").json() == {"project": None, "budgets": []}


JOBS = """
[plan]
from = "2026-12-01T00:00Z"
horizon = "24 h"
carbon_price = "100 EUR/t"
[site.one]
zone = "DE"
pue = 1.2
capacity = "10 kW"
price = "0.10 EUR/kWh"
[[job]]
name = "training"
within = "20 h"
work = "6 h"
power = "8 kW"
"""


def test_a_real_plan_is_kept_and_one_that_was_changed_is_refused(host, tmp_path: Path):
    from outweigh.app.planning import plan_file

    client = host().client(Role.WRITER)
    jobs = tmp_path / "jobs.toml"
    jobs.write_text(JOBS, encoding="utf-8")
    plan = json.loads(json.dumps(plan_file(jobs, frontier=False).document))

    answers = [client.post("/api/v1/plans", json=plan, headers={"Idempotency-Key": "a"}) for _ in range(2)]
    cheaper = {**plan, "plan": {**plan["plan"], "cost": 0.0}}
    refused = client.post("/api/v1/plans", json=cheaper)

    assert [answer.status_code for answer in answers] == [201, 201]
    assert answers[0].json()["new"]
    assert answers[0].text == answers[1].text
    (entry,) = client.get("/api/v1/plans", params={"id": plan["plan_id"]}).json()["plans"]
    assert entry["body"] == plan
    assert refused.status_code == 422
    assert "changed after it was made" in refused.json()["detail"]


@pytest.mark.slow
@pytest.mark.example
def test_the_verdict_of_a_real_review_is_kept_and_found_by_its_project(host, real_ledger: Path):
    client = host().client(Role.WRITER)
    review = json.loads((real_ledger / "out" / "review.json").read_text(encoding="utf-8"))

    kept = client.post("/api/v1/verdicts", json=review)

    assert kept.status_code == 201, kept.text
    (entry,) = client.get("/api/v1/verdicts", params={"project": review["project"]["name"]}).json()["verdicts"]
    assert (entry["address"], entry["id"]) == (kept.json()["address"], review["review_id"])
    assert entry["body"] == review
    assert not client.post("/api/v1/verdicts", json=review).json()["new"]
