import json
from contextlib import closing

import pytest

from outweigh.core.errors import LedgerCorrupt, LedgerError, UsageError
from outweigh.ledger import export_jsonl, import_jsonl, open_ledger
from outweigh.ports import ReceiptFilter


@pytest.fixture
def lines(store, made_receipt):
    for index in range(4):
        store.append(made_receipt(index, batch="even" if index % 2 == 0 else "odd"))
    return list(export_jsonl(store))


@pytest.fixture
def other(tmp_path):
    with closing(open_ledger(tmp_path / "other.sqlite")) as other:
        yield other


def test_an_import_twice_adds_once(lines, other):
    assert import_jsonl(other, lines) == (4, 0)
    assert import_jsonl(other, [*lines, "", "\n"]) == (0, 4)
    assert other.verify() == 4


def test_an_import_goes_on_where_it_stopped(lines, other):
    import_jsonl(other, lines[:3])

    assert import_jsonl(other, lines) == (1, 3)


def test_an_export_takes_a_filter(lines, store):
    assert len(list(export_jsonl(store, ReceiptFilter(batch="odd")))) == 2


def test_a_line_tells_its_units_and_needs_no_escapes(lines):
    assert '"energy_j":100.0' in lines[0]
    assert "café, 37 °C" in lines[0]
    assert "\n" not in lines[0]


def test_an_altered_line_is_refused_and_nothing_of_the_file_is_kept(lines, other):
    lines[2] = lines[2].replace('"energy_j":102.0', '"energy_j":2.0')

    with pytest.raises(LedgerCorrupt, match=r"receipts\.jsonl, line 3"):
        import_jsonl(other, lines, source="receipts.jsonl")

    assert other.verify() == 0


def test_a_field_we_do_not_know_is_not_dropped_in_silence(lines, other):
    from outweigh.core.receipt import content_hash

    entry = json.loads(lines[0])
    entry["body"]["surprise"] = 1
    entry["receipt"] = content_hash(entry["body"])

    with pytest.raises(LedgerCorrupt):
        import_jsonl(other, [json.dumps(entry)])


@pytest.mark.parametrize(
    "line",
    ["{", "[]", "3", '"text"', "{}", '{"receipt": "x", "body": 3}', '{"receipt": "x", "body": {"schema": 1}}'],
)
def test_a_line_that_is_no_receipt_is_refused_by_number(lines, other, line):
    with pytest.raises(UsageError, match="line 5 is not an exported receipt"):
        import_jsonl(other, [*lines, line])

    assert other.verify() == 0


def test_a_run_that_is_here_with_other_content_is_refused(lines, other, made_receipt):
    other.append(made_receipt(1, joules=1.0))

    with pytest.raises(LedgerError, match="other content"):
        import_jsonl(other, lines)
