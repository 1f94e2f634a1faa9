"""The command line's front door: every verb is there, errors teach, pipes work, nothing shows a traceback."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from outweigh.cli.main import run
from outweigh.cli.verbs import VERBS

OUTWEIGH = str(Path(sys.executable).with_name("outweigh"))
# DESIGN section 2, in its order.
DESIGNED = (
    "init doctor measure compare shrink gate review estimate grid plan run whatif budget ledger report serve".split()  # noqa: SIM905
)


def outweigh(*args, **kwargs):
    return subprocess.run([OUTWEIGH, *args], capture_output=True, text=True, timeout=60, **kwargs)


def test_every_verb_of_the_design_is_registered_in_its_order():
    assert [verb.name for verb in VERBS] == DESIGNED


def test_help_lists_every_verb_with_what_it_does(capsys):
    run(["--help"])
    shown = capsys.readouterr().out
    for verb in VERBS:
        line = next(line for line in shown.splitlines() if line.strip().startswith(verb.name + " "))
        assert verb.summary[:20] in line


@pytest.mark.parametrize("verb", VERBS, ids=lambda v: v.name)
def test_every_verb_has_help_with_an_example_to_paste(verb, capsys):
    assert run([verb.name, "--help"]) == 0
    assert f"outweigh {verb.name}" in capsys.readouterr().out.split("Example")[1]


def test_a_mistyped_verb_gets_the_nearest_one(capsys):
    assert run(["reveiw"]) == 2
    assert "'review'" in capsys.readouterr().err


def test_an_unknown_option_exits_2_without_a_traceback():
    done = outweigh("doctor", "--nope")
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


def test_a_reader_that_goes_away_is_no_error():
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run([OUTWEIGH, "doctor", "--json"], stdout=write, stderr=subprocess.PIPE, text=True, timeout=60)
    os.close(write)
    assert done.returncode == 0
    assert done.stderr == ""


def test_the_command_line_pages_are_those_of_help():
    script = Path(__file__).parents[2] / "scripts" / "write_cli_docs.py"
    done = subprocess.run([sys.executable, script, "--check"], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout


def test_importing_outweigh_imports_nothing_heavy():
    program = (
        "import outweigh, outweigh.measure, sys;"
        "heavy = {'numpy', 'scipy', 'pydantic', 'sqlalchemy', 'rich', 'click', 'jinja2', 'onnxruntime', 'torch'};"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"
