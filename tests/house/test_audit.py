"""`make audit`: every lock file is looked at, a fault fails, and silence is not taken for health."""

from __future__ import annotations

import importlib.util
import json
import subprocess
from pathlib import Path
from types import ModuleType

import pytest

pytest.importorskip("requests")

ROOT = Path(__file__).parents[2]


@pytest.fixture
def audit() -> ModuleType:
    spec = importlib.util.spec_from_file_location("audit", ROOT / "scripts" / "audit.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def answering(monkeypatch: pytest.MonkeyPatch, audit: ModuleType, *packages: dict) -> list[str]:
    """PyPI answers, and pip-audit says that of every lock file; the names of those it is asked about."""
    asked: list[str] = []

    def run(command, **_):
        asked.append(Path(command[-1]).name)
        return subprocess.CompletedProcess(command, 0, json.dumps({"dependencies": packages, "fixes": []}), "")

    monkeypatch.setattr(audit, "why_not", lambda: "")
    monkeypatch.setattr(audit.subprocess, "run", run)
    return asked


SOUND = {"name": "fastapi", "version": "1.0", "vulns": []}
FAULTY = {"name": "starlette", "version": "0.1", "vulns": [{"id": "PYSEC-1", "fix_versions": ["0.2"], "aliases": []}]}


def test_every_lock_file_is_looked_at_and_the_server_is_in_them(audit, monkeypatch):
    asked = answering(monkeypatch, audit, SOUND)

    assert audit.main([]) == 0
    assert asked == sorted(path.name for path in ROOT.glob("requirements*.lock"))
    held = "\n".join((ROOT / name).read_text() for name in asked)
    for name in ("fastapi", "starlette", "uvicorn", "psycopg", "duckdb", "limits", "httpx"):
        assert f"\n{name}==" in held


def test_a_known_vulnerability_fails_offline_or_not_and_says_where_it_is_mended(audit, monkeypatch, capsys):
    answering(monkeypatch, audit, SOUND, FAULTY)

    assert audit.main(["--offline-ok"]) == audit.main([]) == 1
    assert "starlette 0.1 has PYSEC-1; mended in 0.2" in capsys.readouterr().err


def test_a_package_that_was_skipped_is_named(audit, monkeypatch, capsys):
    answering(monkeypatch, audit, SOUND, {"name": "ours", "version": "1", "skip_reason": "not found on PyPI"})

    assert audit.main([]) == 0
    assert "not looked up: ours" in capsys.readouterr().out


def test_no_index_is_said_and_fails_no_run_that_allows_it(audit, monkeypatch, capsys):
    # A port that nobody listens at.
    monkeypatch.setattr(audit, "INDEX", "http://127.0.0.1:9/pypi/pip/json")

    assert audit.main([]) == 2
    assert audit.main(["--offline-ok"]) == 0
    assert capsys.readouterr().err.count("NOTHING was looked up") == 2


def test_an_index_that_knows_none_of_the_packages_is_no_pass(audit, monkeypatch, capsys):
    answering(monkeypatch, audit, {"name": "ours", "version": "1", "skip_reason": "not found on PyPI"})

    assert audit.main([]) == 2
    assert "NOTHING was looked up" in capsys.readouterr().err


def test_a_failure_of_pip_audit_itself_is_no_pass(audit, monkeypatch):
    answering(monkeypatch, audit)
    monkeypatch.setattr(
        audit.subprocess, "run", lambda command, **_: subprocess.CompletedProcess(command, 1, "", "cannot parse")
    )

    with pytest.raises(SystemExit, match="cannot parse"):
        audit.main(["--offline-ok"])


def test_continuous_integration_audits():
    assert "\nmake audit\n" in (ROOT / ".ci" / "run").read_text()
