"""/openapi.json: what it says is what is answered, and nothing that is sent makes the server fail."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from outweigh.config import load_project
from outweigh.core.project import Project
from outweigh.ports.serving import Role

EXAMPLES = 12  # of each operation
_LARGE = {"POST /api/v1/receipts": 3}  # making one up takes a second


def test_every_route_of_the_api_is_described_with_its_refusals(roles):
    described = roles[Role.READER].get("/openapi.json").json()

    parts = described["components"]["schemas"]
    assert {"ReceiptIn", "ReceiptsIn", "MeasurementIn", "TokenIn", "Problem"} <= set(parts)
    for path, methods in described["paths"].items():
        for method, operation in methods.items():
            told = operation["responses"]
            assert {"401", "403", "421", "429", "503"} <= set(told), (method, path)
            for status, one in told.items():
                if int(status) >= 400:
                    assert list(one["content"]) == ["application/problem+json"], (method, path, status)
    assert operation_ids_are_unique(described)


def operation_ids_are_unique(described: dict[str, Any]) -> bool:
    ids = [one["operationId"] for methods in described["paths"].values() for one in methods.values()]
    return len(ids) == len(set(ids))


PROJECT = """
[project]
name = "synthetic"
unit = "ticket"
volume = { per_month = 1e6 }
[task]
adapter = "text-classification"
dataset = "eval"
primary = { metric = "accuracy" }
[variants.base]
model = "base.onnx"
[variants.larger]
model = "larger.onnx"
[gate]
incumbent = "base"
proposal = "larger"
[budget.serve]
phase = "inference"
total = { limit = "0 kWh", per = "month" }
owner = "team"
[budget.hum]
phase = "idle"
limit = "180 W"
owner = "team"
"""


@pytest.mark.slow
@pytest.mark.parametrize("text", ["", PROJECT], ids=["ledger alone", "project"])
def test_schemathesis_finds_no_answer_that_is_not_described_and_none_of_5xx(
    text: str, host, made_receipt, store, tmp_path
):
    schemathesis = pytest.importorskip("schemathesis")
    running = host(per_minute=0, project=declared(text, tmp_path))
    now = running.clock()
    store.append_all([made_receipt(index, start=now - timedelta(hours=index + 1)) for index in range(3)])
    headers = {"Authorization": f"Bearer {running.token(Role.OWNER)}"}
    schema = schemathesis.openapi.from_url(f"{running.url}/openapi.json", headers=headers)
    operations = [found.ok() for found in schema.get_all_operations()]

    for operation in operations:
        name = f"{operation.method.upper()} {operation.path}"
        try_out(operation, headers, _LARGE.get(name, EXAMPLES))

    assert len(operations) >= 20
    assert store.verify() >= 3


def declared(text: str, folder: Path) -> Project | None:
    if not text:
        return None
    (folder / "energy.toml").write_text(text, encoding="utf-8")
    return load_project(folder)


def test_a_line_that_allows_nothing_is_answered_without_a_share(host, made_receipt, store, tmp_path):
    running = host(project=declared(PROJECT, tmp_path))
    store.append(made_receipt(0, start=running.clock() - timedelta(seconds=60)))

    answer = running.client(Role.READER).get("/api/v1/budgets")

    assert answer.status_code == 200, answer.text
    serve = answer.json()["budgets"][0]
    assert (serve["state"], serve["share"]) == ("breached", None)
    assert serve["share_why"] == "it is no finite number"


def try_out(operation: Any, headers: dict[str, str], examples: int) -> None:
    from hypothesis import HealthCheck, Phase, given, settings
    from schemathesis.checks import not_a_server_error
    from schemathesis.specs.openapi import checks as described

    checks = [
        not_a_server_error,
        described.status_code_conformance,
        described.content_type_conformance,
        described.response_headers_conformance,
        described.response_schema_conformance,
    ]

    @given(case=operation.as_strategy())
    @settings(
        max_examples=examples,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    def holds(case: Any) -> None:
        case.call_and_validate(headers=headers, checks=checks, timeout=120)

    holds()
