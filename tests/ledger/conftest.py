import importlib.util
from pathlib import Path

import pytest

from outweigh.ledger import open_ledger

SCRIPT = Path(__file__).parents[1] / "stores" / "made_receipts.py"


@pytest.fixture(scope="session")
def made():
    """The made-up receipts of the store tests."""
    spec = importlib.util.spec_from_file_location("made_receipts_for_the_ledger", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def made_receipt(made):
    return made.made_receipt


@pytest.fixture
def store(tmp_path):
    store = open_ledger(tmp_path / "ledger.sqlite")
    yield store
    store.close()
