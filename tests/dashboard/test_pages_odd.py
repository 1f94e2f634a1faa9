"""Odd figures and odd fields: a page is a page whatever the ledger holds and whatever its address asks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

import httpx
import pytest

from outweigh.app.serving.served import Served
from outweigh.core import Energy, Receipt

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
    assert row["per_unit_why"] == "it is too large to be a number"
