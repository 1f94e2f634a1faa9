import importlib.util
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("made_receipts.py")


@pytest.fixture(scope="session")
def made():
    """The module of made-up receipts; it is a script too, so it is loaded by its path."""
    spec = importlib.util.spec_from_file_location("made_receipts", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def made_receipt(made):
    return made.made_receipt


@pytest.fixture
def writer():
    return SCRIPT
