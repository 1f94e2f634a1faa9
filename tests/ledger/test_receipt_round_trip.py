"""Receipts survive every door they pass: JSON, the store, JSON lines."""

import json
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from outweigh.core import (
    Bounds,
    Energy,
    Factor,
    Grade,
    HumSplit,
    Interval,
    Latency,
    Measurement,
    MeterCost,
    Method,
    Phase,
    Quality,
    Receipt,
    RunStatus,
    Scope,
    UncertaintyComponent,
)
from outweigh.core.errors import UsageError
from outweigh.ledger import export_jsonl, import_jsonl, open_ledger

number = st.floats(allow_nan=False, allow_infinity=False)
positive = st.floats(0, 1e300)
text = st.text(max_size=12)
moments = st.integers(0, 7 * 10**15).map(lambda us: datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=us))
intervals = st.tuples(moments, moments).map(lambda ends: Interval(min(ends), max(ends)))
factors = st.builds(Factor, text, number, text, text, text, text, text, st.sampled_from(Grade))
measurements = st.builds(
    Measurement,
    value=st.builds(Energy, number),
    interval=intervals,
    scope=st.sampled_from(Scope),
    grade=st.sampled_from(Grade),
    method=st.sampled_from(Method),
    source=text,
    components=st.lists(st.builds(UncertaintyComponent, text, st.floats(0, 1e100), text), max_size=2).map(tuple),
    factors=st.lists(factors, max_size=2).map(tuple),
)
bounds = st.tuples(number, number).map(lambda ends: Bounds(min(ends), max(ends)))
pairs = st.dictionaries(text, text, max_size=3).map(lambda found: tuple(sorted(found.items())))
receipts = st.builds(
    Receipt,
    run_id=text,
    project=text,
    phase=st.sampled_from(Phase),
    status=st.sampled_from(RunStatus),
    total=measurements,
    hum=st.none() | measurements,
    work=st.none() | measurements,
    batch=text,
    variant=text,
    variant_hash=text,
    round_index=st.none() | st.integers(0, 10**6),
    units=st.none() | positive,
    unit=text,
    quality=st.lists(st.builds(Quality, text, number, st.integers(0, 10**9), st.none() | bounds), max_size=2).map(
        tuple
    ),
    latency=st.none() | st.builds(Latency, positive, positive, positive, st.integers(0, 10**9)),
    meter=text,
    meter_cost=st.none() | st.builds(MeterCost, positive, st.none() | number),
    overlapping=st.lists(measurements, max_size=1).map(tuple),
    exit_code=st.none() | st.integers(-255, 255),
    versions=pairs,
    labels=pairs,
    notes=st.lists(text, max_size=2).map(tuple),
    hum_split=st.none() | st.builds(HumSplit, *[st.none() | st.builds(Energy, number)] * 4),
)


@given(receipts)
def test_a_receipt_comes_back_from_json_with_the_same_content_and_address(receipt):
    again = Receipt.from_dict(json.loads(json.dumps(receipt.to_dict())))

    assert again == receipt
    assert again.content_hash == receipt.content_hash


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(found=st.lists(receipts, max_size=4, unique_by=lambda receipt: receipt.run_id))
def test_receipts_come_back_from_the_store_and_from_json_lines_with_the_same_addresses(tmp_path_factory, found):
    folder = tmp_path_factory.mktemp("ledgers")
    with closing(open_ledger(folder / "one.sqlite")) as one, closing(open_ledger(folder / "two.sqlite")) as two:
        addresses = [one.append(receipt) for receipt in found]

        assert import_jsonl(two, list(export_jsonl(one))) == (len(found), 0)

        assert addresses == [receipt.content_hash for receipt in found]
        assert [two.get(address) for address in addresses] == found
        assert one.verify() == two.verify() == len(found)
        assert list(export_jsonl(two)) == list(export_jsonl(one))


def test_a_newer_receipt_schema_says_to_upgrade(made_receipt):
    with pytest.raises(UsageError, match="Upgrade"):
        Receipt.from_dict({**made_receipt(1).to_dict(), "schema": 99})


def test_a_receipt_from_before_the_split_of_the_hum_reads_and_keeps_its_address(made_receipt):
    old = made_receipt(1)

    body = old.to_dict()

    assert body["schema"] == 1
    assert "hum_split" not in body
    assert Receipt.from_dict(body).content_hash == old.content_hash


def test_a_split_hum_says_its_unit_and_what_is_unknown_and_asks_older_readers_to_upgrade(made_receipt):
    split = replace(made_receipt(1), hum_split=HumSplit(allocated=Energy(3.0), unallocated=Energy(1.0)))

    body = split.to_dict()

    assert body["hum_split"] == {"allocated_j": 3.0, "unallocated_j": 1.0, "host_j": None, "cooling_j": None}
    assert body["schema"] == 2
    assert split.content_hash != made_receipt(1).content_hash
