"""Who may ask for what: every route, every role, and nobody."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from outweigh.dashboard.application import routed
from outweigh.dashboard.guard.asking import Askers
from outweigh.ports.serving import Role

NOBODY, READER, WRITER, OWNER = None, Role.READER, Role.WRITER, Role.OWNER
ALL = (NOBODY, READER, WRITER, OWNER)
READS, WRITES, OWNS = (READER, WRITER, OWNER), (WRITER, OWNER), (OWNER,)

# Every route there is, and who may pass the gate to it. A route that is missing here fails a test below.
TABLE: dict[tuple[str, str], tuple[Role | None, ...]] = {
    ("GET", "/health"): ALL,
    ("GET", "/healthz"): ALL,
    ("GET", "/login"): ALL,
    ("POST", "/login"): ALL,
    ("GET", "/static/{name}"): ALL,
    ("GET", "/favicon.ico"): ALL,
    ("POST", "/logout"): READS,
    ("GET", "/openapi.json"): READS,
    ("GET", "/metrics"): READS,
    ("GET", "/locations"): READS,
    ("GET", "/emissions/bylocation"): READS,
    ("GET", "/emissions/bylocations"): READS,
    ("GET", "/emissions/bylocations/best"): READS,
    ("GET", "/emissions/forecasts/current"): READS,
    ("POST", "/emissions/forecasts/batch"): READS,
    ("GET", "/emissions/average-carbon-intensity"): READS,
    ("POST", "/emissions/average-carbon-intensity/batch"): READS,
    ("GET", "/api/v1/me"): READS,
    ("GET", "/api/v1/receipts"): READS,
    ("GET", "/api/v1/receipts/{address}"): READS,
    ("POST", "/api/v1/receipts"): WRITES,
    ("GET", "/api/v1/verdicts"): READS,
    ("GET", "/api/v1/verdicts/{address}"): READS,
    ("POST", "/api/v1/verdicts"): WRITES,
    ("GET", "/api/v1/plans"): READS,
    ("GET", "/api/v1/plans/{address}"): READS,
    ("POST", "/api/v1/plans"): WRITES,
    ("GET", "/api/v1/budgets"): READS,
    ("GET", "/api/v1/tokens"): OWNS,
    ("POST", "/api/v1/tokens"): OWNS,
    ("DELETE", "/api/v1/tokens/{id}"): OWNS,
    ("GET", "/api/v1/audit"): OWNS,
}
_AT = {"name": "none.js", "address": "a" * 64, "id": "00000000"}


def routes(standing: Any) -> set[tuple[str, str]]:
    askers = Askers(standing.served.access, wide=False, now=standing.clock)
    found: set[tuple[str, str]] = set()
    waiting = list(routed(standing.served, askers).routes)
    while waiting:
        route: Any = waiting.pop()
        # FastAPI keeps what a router brought in a route of its own.
        inner = getattr(route, "original_router", None) or getattr(route, "router", None)
        if inner is not None and not hasattr(route, "methods"):
            waiting += inner.routes
            continue
        found |= {(method, route.path) for method in route.methods - {"HEAD"}}
    return found


def is_page(path: str) -> bool:
    """A page of the dashboard, its JSON or a table of it: all of them only read."""
    return (
        path.startswith("/api/v1/pages/") or path.endswith(".csv") or path.count("/") == 1 or path.startswith("/runs/")
    )


def test_every_route_is_in_the_table_and_the_table_has_no_other(standing):
    found = routes(standing)
    pages = {(method, path) for method, path in found - set(TABLE) if is_page(path)}

    assert len(found) > 30
    assert {method for method, _ in pages} <= {"GET"}
    assert found - pages == set(TABLE)


@pytest.mark.parametrize("role", ALL, ids=str)
@pytest.mark.parametrize(("method", "path"), TABLE, ids=lambda part: part)
def test_the_gate_lets_through_whom_the_table_names_and_nobody_else(
    roles: dict[Role | None, httpx.Client], role: Role | None, method: str, path: str
):
    answer = roles[role].request(method, path.format_map(_AT))

    if role in TABLE[method, path]:
        assert answer.status_code != 403
        assert answer.status_code != 401 or path == "/login"
        assert answer.status_code < 500
    else:
        assert answer.status_code == (401 if role is NOBODY else 403)
        assert answer.json()["remedy"]


def test_all_pages_ask_for_a_reader(standing, roles: dict[Role | None, httpx.Client]):
    pages = [path for method, path in routes(standing) - set(TABLE)]

    for path in pages:
        assert roles[NOBODY].get(path.format_map(_AT)).status_code == 401
        assert roles[READER].get(path.format_map(_AT)).status_code not in (401, 403)


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "POST", "TRACE", "MADEUP"])
@pytest.mark.parametrize("path", ["/", "/nothing", "/api/v1/receipts/aaaaaa", "/static/x"])
def test_a_write_that_is_no_route_is_for_owners_and_then_is_none(
    roles: dict[Role | None, httpx.Client], method: str, path: str
):
    statuses = [roles[role].request(method, path).status_code for role in ALL]

    refused = [401, 403, 403] if not path.startswith("/static") else statuses[:3]
    assert statuses[:3] == refused
    assert statuses[3] in (404, 405)
    assert roles[OWNER].request(method, path).headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    "path",
    [
        "/API/v1/tokens",
        "//api/v1/tokens",
        "/api/v1/tokens/",
        "/api%2fv1%2ftokens",
        "/static/../api/v1/tokens",
        "/static/%2e%2e/api/v1/tokens",
        "/static/..%2fapi%2fv1%2ftokens",
        "/health/../api/v1/tokens",
        "/login/../api/v1/audit",
        "/api/v1/./tokens",
        "/emissions/../api/v1/tokens",
    ],
)
def test_no_spelling_of_an_owners_path_gets_a_reader_there(standing, roles, path: str):
    # Past httpx, which would tidy the path up.
    found = roles[READER].send(
        httpx.Request("GET", standing.url, headers=roles[READER].headers, extensions={"target": path.encode()})
    )

    assert found.status_code in (403, 404)
    assert "made_at" not in found.text
