"""Power traces and runs in flight lie beside the ledger, wherever that is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from outweigh.app.keeping import Kept, keep_trace
from outweigh.app.pages.asked import Asked
from outweigh.app.pages.receipt import receipt as receipt_page
from outweigh.app.pages.runs import runs
from outweigh.app.serving import Settings, open_served
from outweigh.backends.meters.replay import ReplayMeter
from outweigh.core import Phase, Receipt
from outweigh.measure import MeterSession

pytest.importorskip("duckdb")


@pytest.mark.parametrize("ledger", ["", "elsewhere.sqlite"], ids=["own folder", "--ledger"])
def test_the_trace_of_a_run_and_a_run_in_flight_are_shown_from_beside_any_ledger(
    ledger: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, made_receipt: Callable[..., Receipt]
) -> None:
    monkeypatch.chdir(tmp_path)
    receipt = made_receipt(0)
    kept = Kept(ledger or None)
    kept.store.append(receipt)
    start_s = receipt.interval.start.timestamp()
    keep_trace(kept.samples, receipt.run_id, [(start_s + i, 50.0) for i in range(1, 10)], receipt.interval, {})

    with MeterSession(ReplayMeter([(0.0, 80.0)], hum_w=40.0)) as session:
        journal = kept.journal(session, "now", project="synthetic", phase=Phase.TRAINING)
        with session.window() as window:
            seen = window.so_far()
            journal.seen(seen.total, seen.hum, seen.work)
            served = open_served(Settings(folder=".", ledger=ledger))
            try:
                trace = receipt_page(served, Asked({}, receipt.content_hash))["trace"]
                running = runs(served, Asked())["tables"]["running"]["rows"]
            finally:
                served.close()
    kept.close()

    assert [one["name"] for one in trace["channels"]] == ["total"]
    assert [row["project"] for row in running] == ["synthetic"]
