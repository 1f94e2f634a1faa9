"""Every example in the README and the docs runs: Python blocks as doctests, console blocks as commands.

In a ```console block, each line that starts with `$ ` is run in one scratch folder that holds a copy of
`examples/`; the lines below it are compared with the output, where `...` matches anything. A block whose
fence says ```console main-job is the output of `make review`: its figures are checked where they are made
(tests/house/test_main_job.py), not run again here. A Python block below a comment `<!-- not run: REASON -->` is only
compiled. `test_docs_commands.py` looks at every command line that is shown without its output.
"""

import doctest
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
FENCE = re.compile(r"^```(\S+)([^\n]*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
NOT_RUN = re.compile(r"<!-- not run: \S[^\n]* -->\n\Z")


def blocks(language, *, run=True):
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for found in FENCE.finditer(text):
            wanted = found[1] == language and "main-job" not in found[2]
            if wanted and run is not bool(NOT_RUN.search(text[: found.start()])):
                line = text[: found.start()].count("\n") + 1
                yield pytest.param(found[3], id=f"{page.relative_to(ROOT)}:{line}")


def sessions():
    """The `>>>` examples of a page, one after the other: a later one may build on an earlier one."""
    for page in PAGES:
        found = [found[3] for found in FENCE.finditer(page.read_text(encoding="utf-8")) if found[1] == "python"]
        typed = [block for block in found if ">>>" in block]
        if typed:
            yield pytest.param("\n".join(typed), id=str(page.relative_to(ROOT)))


@pytest.mark.parametrize("session", list(sessions()))
def test_python_session_of_a_page_runs(session):
    test = doctest.DocTestParser().get_doctest(session, {}, "example", None, 0)
    assert doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(test).failed == 0


@pytest.mark.parametrize("block", [each for each in blocks("python") if ">>>" not in each.values[0]])
def test_python_example_runs(block):
    exec(compile(block, "example", "exec"), {"__name__": "example"})


@pytest.mark.parametrize("block", list(blocks("python", run=False)))
def test_python_example_that_is_not_run_is_python_all_the_same(block):
    compile(block, "example", "exec")


@pytest.mark.parametrize("block", list(blocks("console")))
def test_console_example_gives_what_the_page_shows(block, tmp_path):
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    bin_dir = str(Path(sys.executable).parent)
    env = {**os.environ, "PATH": f"{bin_dir}{os.pathsep}{os.environ['PATH']}", "COLUMNS": "100"}
    steps = re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]
    for step in steps:
        command, _, expected = step.partition("\n")
        done = subprocess.run(
            command, shell=True, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=120, check=False
        )
        got = "\n".join(line.rstrip() for line in (done.stdout + done.stderr).splitlines()).strip()
        pattern = ".*".join(re.escape(part) for part in expected.strip().split("..."))
        assert re.fullmatch(pattern, got, re.DOTALL), f"$ {command}\n{got}"
