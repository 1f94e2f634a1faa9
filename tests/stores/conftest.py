import importlib.util
import itertools
import os
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("made_receipts.py")


def load(path):
    """A module that is a script too, by its path."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def made():
    """The module of made-up receipts."""
    return load(SCRIPT)


@pytest.fixture(scope="session")
def postgres_module():
    """How to run a real PostgreSQL server. Where there is none tests are skipped, but never in CI."""
    module = load(SCRIPT.with_name("postgres_server.py"))
    if module.binaries() is None:
        remedy = "there is no PostgreSQL server here: apt-get install postgresql-15"
        if os.environ.get("CI") == "true":
            pytest.fail(remedy)
        pytest.skip(remedy)
    return module


@pytest.fixture(scope="session")
def postgres(postgres_module):
    """A real PostgreSQL server of this test run's own, which is never killed and so need not flush."""
    with postgres_module.serving(durable=False) as server:
        yield server


_databases = itertools.count()


@pytest.fixture
def new_database(postgres):
    """Call it for the URL of a database that is empty."""

    def make():
        name = f"ledger_{next(_databases)}"
        postgres.sql(f"CREATE DATABASE {name}")
        return postgres.url(name)

    return make


@pytest.fixture
def made_receipt(made):
    return made.made_receipt


@pytest.fixture
def writer():
    return SCRIPT
