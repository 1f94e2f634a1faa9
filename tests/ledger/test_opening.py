import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from outweigh.core.errors import LedgerError, UsageError
from outweigh.ledger import default_path, open_ledger


def test_the_default_ledger_makes_its_own_folder_in_the_project(tmp_path, made_receipt):
    path = default_path(tmp_path)

    with closing(open_ledger(path)) as store:
        store.append(made_receipt(1))

    assert path == tmp_path / ".outweigh" / "ledger.sqlite"
    assert path.is_file()


def test_no_folder_but_our_own_is_made(tmp_path):
    with pytest.raises(LedgerError, match="there is no folder"):
        open_ledger(tmp_path / "typo" / "ledger.sqlite")
    with pytest.raises(LedgerError, match="its folder cannot be made"):
        open_ledger(default_path(tmp_path / "no-project"))

    assert list(tmp_path.iterdir()) == []


def test_reading_leaves_no_trace_where_there_is_no_ledger(tmp_path):
    with pytest.raises(LedgerError, match=r"no folder|no such file"):
        open_ledger(default_path(tmp_path), create=False)

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("shape", ["{}", "sqlite:///{}", "SQLite:///{}"])
def test_one_ledger_opens_by_path_and_by_url(tmp_path, made_receipt, shape):
    path = tmp_path / "a b?c#d%20.sqlite"
    with closing(open_ledger(path)) as store:
        store.append(made_receipt(1))

    with closing(open_ledger(shape.format(path), create=False)) as store:
        assert store.verify() == 1

    assert [found.name for found in tmp_path.iterdir()] == [path.name]


def test_a_relative_url_starts_from_the_working_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    open_ledger("sqlite:///ledger.sqlite").close()

    assert Path("ledger.sqlite").is_file()


def test_an_unknown_scheme_names_what_is_there_and_keeps_the_password_to_itself():
    with pytest.raises(UsageError, match="sqlite") as caught:
        open_ledger("oracle+driver://me:secret@host/ledger")

    assert "oracle://" in str(caught.value)
    assert "secret" not in str(caught.value)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///", "sqlite://ledger.sqlite"])
def test_a_url_without_a_file_is_refused(url):
    with pytest.raises(UsageError, match="names no file"):
        open_ledger(url)


LOADED = """
import sys
import outweigh.ledger, outweigh.backends.stores.sqlite
before = {"sqlalchemy", "alembic"} & set(sys.modules)
outweigh.ledger.open_ledger(sys.argv[1]).close()
print(sorted(before), "alembic" in sys.modules)
"""


def test_databases_are_loaded_when_a_ledger_opens_and_migrations_when_it_is_new_or_old(tmp_path):
    path = str(tmp_path / "ledger.sqlite")

    new, again = (
        subprocess.run([sys.executable, "-c", LOADED, path], capture_output=True, text=True, check=True).stdout.strip()
        for _ in range(2)
    )

    assert new == "[] True"
    assert again == "[] False"
