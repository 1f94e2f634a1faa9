"""Hum: time that nobody read draws no 0 W, machines are added, and joules are never counted twice."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from outweigh.app.serving.served import Served
from outweigh.core import Grade, Method, Receipt, Scope

pytest.importorskip("fastapi")
pytest.importorskip("duckdb")

from outweigh.ledger.fleet import Fleet, HowKnown, Labels, Minutes, append_minutes

DAY = datetime(2026, 11, 2, tzinfo=UTC)
NOW = datetime(2026, 11, 27, tzinfo=UTC)
PDU = HowKnown(Scope.NODE, Grade.A, Method.INTEGRATED, "a rack meter", doubt=0.0)

Make = Callable[..., Receipt]
Folder = Callable[..., Served]
Client = Callable[[Served], httpx.Client]


def idle_minutes(at: np.ndarray, node: str, watts: float) -> Minutes:
    n = len(at)
    return Minutes(
        t_s=int(DAY.timestamp()) + 60 * at, node=Labels.same(node, n), owner=Labels.same("", n),
        site=Labels.same("fra", n), power_w=np.full(n, watts), gpus=np.full(n, 8), busy=np.zeros(n),
    )  # fmt: skip


def figures_of(client: httpx.Client, **fields: str) -> dict[str, dict[str, Any]]:
    found = client.get("/api/v1/pages/hum", params=fields)
    assert found.status_code == 200, found.text
    return {one["label"]: one for one in found.json()["figures"]}


@pytest.mark.parametrize(
    "asked",
    [
        {},
        {"since": "2026-11-02", "until": "2026-11-03"},
        {"since": "2026-11-02"},
        {"since": "2026-10-01", "until": "2026-11-30"},
    ],
    ids=str,
)
def test_a_node_of_1_kw_hums_at_1_kw_however_much_of_it_was_read_and_whatever_is_asked(
    asked: dict[str, str], served_folder: Folder, page_client: Client, tmp_path: Path
) -> None:
    day = np.arange(1440)
    append_minutes(tmp_path / "fleet", idle_minutes(day[(day < 200) | (day >= 1000)], "n1", 1000.0), PDU)

    with Fleet.open(tmp_path / "fleet") as fleet:
        found = figures_of(page_client(replace(served_folder("", now=NOW), fleet=fleet)), **asked)

    assert found["mean hum"]["value_w"] == pytest.approx(1000.0)
    assert found["mean hum"]["note"] == "of the 44.4% of it that was read"
    assert found["hum in this time"]["value_j"] == pytest.approx(640 * 60 * 1000.0)
    assert found["a month of it"]["value_j"] == pytest.approx(1000.0 * 365.2425 / 12 * 86_400)


def test_a_node_that_was_read_for_half_of_the_time_counts_whole_beside_one_that_was_read_always(
    served_folder: Folder, page_client: Client, tmp_path: Path
) -> None:
    day = np.arange(1440)
    append_minutes(tmp_path / "fleet", idle_minutes(day, "n1", 1000.0), PDU)
    append_minutes(tmp_path / "fleet", idle_minutes(day[(day < 360) | (day >= 1080)], "n2", 1000.0), PDU)

    with Fleet.open(tmp_path / "fleet") as fleet:
        found = figures_of(page_client(replace(served_folder("", now=NOW), fleet=fleet)))

    assert found["mean hum"]["value_w"] == pytest.approx(2000.0)


def test_a_time_of_which_a_fleet_has_no_samples_has_no_hum_and_not_one_of_nothing(
    served_folder: Folder, page_client: Client, tmp_path: Path
) -> None:
    append_minutes(tmp_path / "fleet", idle_minutes(np.arange(10), "n1", 1000.0), PDU)

    with Fleet.open(tmp_path / "fleet") as fleet:
        client = page_client(replace(served_folder("", now=NOW), fleet=fleet))
        found = figures_of(client, since="2026-11-10", until="2026-11-11")

    for label in ("mean hum", "hum in this time", "a month of it"):
        assert [value for key, value in found[label].items() if key in ("value_w", "value_j")] == [None], label
        assert found[label]["value_why"] == "nothing was read in this time"


@pytest.mark.parametrize(
    "labels",
    [[(("machine", "m1"),), (("machine", "m2"),)], [(), ()]],
    ids=["named", "unnamed"],
)
def test_two_machines_side_by_side_hum_at_the_sum_of_both(
    labels: list[tuple[tuple[str, str], ...]], served_folder: Folder, page_client: Client, made_receipt: Make
) -> None:
    start = NOW - timedelta(hours=1)
    both = [
        made_receipt(at, joules=4000.0, start=start, seconds=10.0, labels=own, batch=f"b{at}")
        for at, own in enumerate(labels)
    ]

    found = figures_of(page_client(served_folder("", *both, now=NOW)))

    # A quarter of each is hum.
    assert found["mean hum while runs were measured"]["value_w"] == pytest.approx(200.0)
    assert found["mean hum while runs were measured"]["note"].startswith("read for ")


def test_hum_that_two_receipts_counted_is_missing_and_says_which_they_are(
    served_folder: Folder, page_client: Client, made_receipt: Make
) -> None:
    start, machine = NOW - timedelta(hours=1), ("machine", "m1")
    node, package = (
        made_receipt(at, joules=joules, start=start, seconds=600.0, scope=scope, labels=(machine, ("owner", owner)))
        for at, (joules, scope, owner) in enumerate(((1000.0, Scope.NODE, "a"), (600.0, Scope.PACKAGE, "b")))
    )
    client = page_client(served_folder("", node, package, now=NOW))

    shown = client.get("/api/v1/pages/hum").json()

    figures = {one["label"]: one for one in shown["figures"]}
    assert figures["hum under these runs"]["value_j"] is None
    assert "already contains" in figures["hum under these runs"]["value_why"]
    assert shown["charts"]["trend"]["rows"] == []
    rows = {row["owner"]: row for row in shown["tables"]["owners"]["rows"]}
    assert (rows["a"]["hum_j"], rows["b"]["hum_j"]) == (250.0, 150.0)
    assert rows["a"]["share"] is None
    assert client.get("/").status_code == 200
