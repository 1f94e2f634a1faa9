import json
from dataclasses import replace

import pytest

from outweigh.core import Energy, Grade, Phase, RunStatus
from outweigh.core.errors import UsageError
from outweigh.ledger import list_rows, show, summary, verify
from outweigh.ports import ReceiptFilter


def test_a_row_has_plain_json_types_and_units_in_its_keys(store, made_receipt):
    address = store.append(made_receipt(2))

    (row,) = list_rows(store)

    assert json.loads(json.dumps(row)) == row
    assert row["receipt"] == address
    assert row["start"] == "2026-01-01T00:02:00.000000Z"
    assert (row["duration_s"], row["energy_j"], row["hum_j"], row["work_j"]) == (10.0, 102.0, 25.5, 76.5)
    assert row["standard_uncertainty_j"] == 0.5
    assert row["grade"] == "B"


def test_what_is_not_known_is_none_and_never_zero(store, made_receipt):
    store.append(replace(made_receipt(1), hum=None, work=None, units=None))

    (row,) = list_rows(store)

    assert row["hum_j"] is None
    assert row["work_j"] is None
    assert row["units"] is None


def test_rows_come_oldest_first_and_a_limit_keeps_the_latest(store, made_receipt):
    for index in range(5):
        store.append(made_receipt(index))

    assert [row["run_id"] for row in list_rows(store, ReceiptFilter(limit=2))] == ["run-000003", "run-000004"]


def test_show_gives_the_whole_receipt_by_the_start_of_its_address(store, made_receipt):
    address = store.append(made_receipt(1))

    assert show(store, address[:10]) == {"receipt": address, **made_receipt(1).to_dict()}
    with pytest.raises(UsageError):
        show(store, "f" * 64)


def test_verify_counts_what_it_checked(store, made_receipt):
    for index in range(3):
        store.append(made_receipt(index))

    assert verify(store) == {"receipts": 3, "whole": True}


def test_the_summary_has_a_line_a_phase(store, made_receipt):
    store.append(made_receipt(1, joules=5.0, phase=Phase.INFERENCE))
    store.append(made_receipt(2, joules=7.0, phase=Phase.INFERENCE, status=RunStatus.FAILED, grade=Grade.C))
    store.append(made_receipt(3, joules=9.0, phase=Phase.INFERENCE, status=RunStatus.UNUSABLE))
    store.append(made_receipt(4, joules=1.0, phase=Phase.DEVELOPMENT))

    development, inference = summary(store)

    assert (development.phase, development.energy) == (Phase.DEVELOPMENT, Energy(1.0))
    assert inference.energy == Energy(12.0)
    assert (inference.receipts, inference.failed, inference.unusable) == (3, 1, 1)
    assert inference.grade is Grade.C
    assert inference.first == made_receipt(1).interval.start
    assert inference.last == made_receipt(3).interval.end
