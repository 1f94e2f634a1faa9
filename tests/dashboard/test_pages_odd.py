"""Odd figures and odd fields: a page is a page whatever the ledger holds and whatever its address asks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

import httpx
import pytest

from outweigh.app.serving.served import Served
from outweigh.core import Energy, Receipt, Scope

pytest.importorskip("fastapi")

NOW = datetime(2026, 1, 2, tzinfo=UTC)

Make = Callable[..., Receipt]
Folder = Callable[..., Served]
Client = Callable[[Served], httpx.Client]


@pytest.mark.parametrize("joules", [1.7e308, 1e300], ids=["sum", "quotient"])
def test_figures_that_grow_out_of_all_numbers_are_missing_and_say_why_while_the_page_stands(
    joules: float, served_folder: Folder, page_client: Client, made_receipt: Make
) -> None:
    odd = [made_receipt(index) for index in range(2)]
    odd = [replace(one, total=replace(one.total, value=Energy(joules)), units=1e-300) for one in odd]
    client = page_client(served_folder("", *odd, now=NOW))

    answers = {path: client.get(path) for path in ("/runs", "/evidence", "/runs.csv", "/api/v1/pages/runs")}

    assert {path: one.status_code for path, one in answers.items()} == dict.fromkeys(answers, 200)
    row = answers["/api/v1/pages/runs"].json()["tables"]["runs"]["rows"][0]
    assert row["per_unit_j"] is None
    assert row["per_unit_why"] == "it is no finite number"


def test_energies_of_two_scopes_stand_side_by_side_and_are_never_added(
    served_folder: Folder, page_client: Client, made_receipt: Make
) -> None:
    machine = (("machine", "m1"),)
    node = made_receipt(1, joules=1000.0, scope=Scope.NODE, labels=machine)
    package = made_receipt(2, joules=600.0, scope=Scope.PACKAGE, labels=machine, start=node.interval.start)
    client = page_client(served_folder("", node, package, now=NOW))

    runs = client.get("/api/v1/pages/runs").json()["figures"]
    grades = client.get("/api/v1/pages/evidence").json()["tables"]["grades"]["rows"]

    energies = {one["label"]: one["value_j"] for one in runs if one["kind"] == "energy"}
    assert energies == {"energy of runs, scope node": 1000.0, "energy of runs, scope package": 600.0}
    known = {(row["scope"], row["grade"]): (row["energy_j"], row["share"]) for row in grades if row["energy_j"]}
    assert known == {("node", "B"): (1000.0, 1.0), ("package", "B"): (600.0, 1.0)}


EDGES = ("0001-01-01", "0001-01-02T00:00", "0050-01-01", "1969-12-31", "2200-01-01", "9999-12-31T23:59:59Z")


@pytest.mark.parametrize("path", ["/api/v1/pages/hum", "/api/v1/pages/runs", "/api/v1/pages/places"])
def test_a_time_at_which_nothing_ran_is_refused_at_its_field_and_the_ends_of_what_is_taken_hold(
    path: str, served_folder: Folder, page_client: Client, made_receipt: Make
) -> None:
    client = page_client(served_folder("", made_receipt(0), now=NOW))
    takes_until = "places" not in path

    for text in EDGES:
        for field in ("since", "until") if takes_until else ("since",):
            answer = client.get(path, params={field: text})
            assert (answer.status_code, answer.json()["field"]) == (400, field), text
    if takes_until:
        assert client.get(path, params={"until": "1970-01-01"}).status_code == 200
        assert client.get(path, params={"since": "1970-01-01", "until": "2199-12-31T23:59:59Z"}).status_code == 200
