"""Rules of the house that no linter knows."""

import re
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LOCKS = sorted(ROOT.glob("requirements*.lock"))


@pytest.mark.parametrize("lock", LOCKS, ids=lambda p: p.name)
def test_lock_files_hold_hashes_and_no_addresses(lock):
    text = lock.read_text()
    pins = re.findall(r"^[A-Za-z0-9].*==.*$", text, re.MULTILINE)
    assert pins
    assert text.count("--hash=sha256:") >= len(pins)
    assert not re.search(r"https?://|--(extra-)?index|--find-links|file:", text)


def test_the_base_install_is_light_and_free_of_torch():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert len(project["dependencies"]) <= 9
    heavy = re.compile(r"^(torch|tensorflow|nvidia-(cuda|cudnn|cublas)[a-z0-9-]*)==", re.MULTILINE)
    assert not [lock.name for lock in LOCKS if heavy.search(lock.read_text())]


def test_source_files_stay_readable_in_length():
    long = {
        str(path.relative_to(ROOT)): lines
        for path in (ROOT / "src").rglob("*.py")
        if (lines := path.read_text().count("\n")) > 650
    }
    assert not long


def test_every_back_end_file_registers_the_name_it_bears():
    from outweigh import registry

    for kind in (
        registry.meters, registry.grid_sources, registry.levers, registry.tasks, registry.executors, registry.stores,
        registry.exporters,
    ):  # fmt: skip
        for name in kind.names():
            assert kind.get(name).name == name


def test_nothing_tracked_names_this_machine_or_a_registry():
    done = subprocess.run(
        ["git", "grep", "-nIE", r"(--(extra-)?index-url[ =]|--find-links[ =]|\"resolved\": *\"http|/w[o]rk/)"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.stdout == ""
